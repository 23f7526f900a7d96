"""The canary: a tiny MPI program that shows, inside any image, that the ranks of a job find each other.

The job's own launcher and runtime start it in place of the user's program, with the same environment, so
it gets the MPI library that the program will get. It needs nothing else of the image: canary.c says what it does,
`build` makes the two files that are shipped. Both have slots, which `make` fills for the program at hand.

What the ranks wrote is judged in the job itself, where no Python may be: by the bash function in `judge_text`.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from hpcjobs.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterator

Family = Literal["", "mpich", "openmpi", "abi"]

ARCHITECTURES: Final = ("x86_64", "aarch64")
"""The CPUs that there is a canary for, as `uname -m` calls them."""

LOADERS: Final = {
    ("x86_64", "glibc"): "/lib64/ld-linux-x86-64.so.2",
    ("x86_64", "musl"): "/lib/ld-musl-x86_64.so.1",
    ("aarch64", "glibc"): "/lib/ld-linux-aarch64.so.1",
    ("aarch64", "musl"): "/lib/ld-musl-aarch64.so.1",
}
"""The program interpreter by CPU and C library: the ABI supplements of glibc, and musl's dynlink.c."""

_HERE = Path(__file__).parent
_SLOT = re.compile(rb"hpcjob-canary-(library|loader|search)=X+")
_FAMILY = b"hpcjob-canary-family="
_LETTERS: dict[Family, bytes] = {"": b"a", "mpich": b"m", "openmpi": b"o", "abi": b"s"}
# elf(5): the values of p_type and d_tag.
_PT_DYNAMIC = 2
_DT_NULL, _DT_RPATH, _DT_RUNPATH = 0, 15, 29
# Open MPI: 1.0 to 1.6 and Fujitsu's, 1.7 and 1.8, 2, 3 to 5; and IBM's Spectrum MPI. Its 1.10 took the name that is
# now MPICH's, libmpi.so.12: whoever has a program of that time must say so.
_OPENMPI = re.compile(r"libmpi\.so\.(?:0|1|20|40)(?!\d)|libmpi_ibm\.so")
# The name by which MPICH's ABI goes, Cray's by compiler, MPICH's own at Debian and before 3.1.
_MPICH = re.compile(r"libmpi\.so\.12(?!\d)|libmpi_(?:cray|gnu|intel|nvidia|aocc|amd)\w*\.so|libmpich\w*\.so")


def family_of(soname: str) -> Family:
    """Which family of MPI a library's name belongs to; empty when the name does not tell.

    A file name and a path do too. The standard ABI is of MPI 5.0, chapter 20.
    """
    name = soname.rpartition("/")[2]
    if name.startswith("libmpi_abi.so"):
        return "abi"
    if _OPENMPI.match(name):
        return "openmpi"
    return "mpich" if _MPICH.match(name) else ""


def make(arch: str, soname: str, loader: str, *, family: Family = "", runpath: str = "", rpath: str = "") -> bytes:
    """The canary for a program.

    Args:
        arch: one of `ARCHITECTURES`.
        soname: the MPI library as the program's DT_NEEDED has it; a path is one too (ld.so(8)).
        loader: the program's interpreter (PT_INTERP), or the one of `LOADERS`.
        family: whose handles the program was compiled with; empty: what the name says, or else what is there.
        runpath: the program's DT_RUNPATH, $ORIGIN replaced: folders that are searched after LD_LIBRARY_PATH.
        rpath: its DT_RPATH: folders that are searched before; the loader heeds it only when there is no DT_RUNPATH.

    Raises:
        PlanError: there is none for that CPU, or a name is longer than its slot.
    """
    if arch not in ARCHITECTURES:
        raise PlanError(
            f"there is no program for {arch} to check with that the MPI ranks find each other",
            hint=f"it exists for {' and '.join(ARCHITECTURES)}; run the job without the check",
        )
    image = bytearray((_HERE / arch).read_bytes())
    values = {"library": soname, "loader": loader, "search": runpath or rpath}
    for slot in list(_SLOT.finditer(image)):
        which = slot[1].decode()
        image[slot.start() : slot.end()] = _padded(which, values[which], len(slot[0]))
    at = image.index(_FAMILY) + len(_FAMILY)
    image[at : at + 1] = _LETTERS[family or family_of(soname)]
    if not runpath:
        _retag(image, _DT_RPATH if rpath else _DT_NULL)
    return bytes(image)


def judge_text() -> str:
    """The bash function `hpcjob_judge`, which stands in the batch script; its comment says how to call it."""
    return (_HERE / "judge.bash").read_text(encoding="utf-8")


def _padded(which: str, value: str, room: int) -> bytes:
    """A value with NULs behind it: for loaders a string ends at the first one (elf(5))."""
    words = {"library": "the name of the MPI library", "loader": "the name of the loader", "search": "the search path"}
    text = value.encode()
    if which != "search" and not text:
        raise PlanError(f"{words[which]} is empty", hint="run the job without the check of MPI")
    if b"\0" in text or len(text) > room:
        raise PlanError(
            f"{words[which]} is longer than the {room} bytes that there are for it, or has a NUL: {value!r}",
            hint="run the job without the check of MPI",
        )
    return text.ljust(room, b"\0")


def _retag(image: bytearray, tag: int) -> None:
    """Make the DT_RUNPATH entry of the dynamic section another one, or with DT_NULL take it out.

    It is taken out because DT_NULL ends the section (elf(5)), and loaders need not take an empty path for none.
    """
    start, size = _dynamic(image)
    entries = list(struct.iter_unpack("<QQ", image[start : start + size]))
    if tag:
        entries = [(tag if name == _DT_RUNPATH else name, value) for name, value in entries]
    else:
        entries = [(name, value) for name, value in entries if name != _DT_RUNPATH]
    packed = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    image[start : start + size] = packed.ljust(size, b"\0")


def _dynamic(image: bytearray) -> tuple[int, int]:
    """Where the dynamic section lies in the file, and its size."""
    (start, size) = next((offset, size) for kind, offset, size in _segments(image) if kind == _PT_DYNAMIC)
    return start, size


def _segments(image: bytearray) -> Iterator[tuple[int, int, int]]:
    """Type, place in the file and size of each program header (elf(5), Elf64_Ehdr and Elf64_Phdr)."""
    (table,) = struct.unpack_from("<Q", image, 32)
    length, count = struct.unpack_from("<HH", image, 54)
    for number in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", image, table + number * length)
        yield kind, offset, size
