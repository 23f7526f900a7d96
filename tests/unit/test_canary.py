"""The canary: its slots are filled rightly, and the words that bash has for what it wrote. It runs in tests/integration."""

from __future__ import annotations

import io
import os
import platform
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from hpcjobs.errors import PlanError
from hpcjobs.mpi import canary

HERE = Path(canary.__file__).parent
GLIBC = canary.LOADERS["x86_64", "glibc"]


def elf(image: bytes) -> ELFFile:
    return ELFFile(io.BytesIO(image))


def dynamic(image: bytes) -> dict[str, str | int]:
    section = elf(image).get_section_by_name(".dynamic")
    assert isinstance(section, DynamicSection)
    names = {"DT_NEEDED": "needed", "DT_RUNPATH": "runpath", "DT_RPATH": "rpath"}
    return {
        tag.entry.d_tag: getattr(tag, names.get(tag.entry.d_tag, ""), tag.entry.d_val) for tag in section.iter_tags()
    }


def interpreter(image: bytes) -> str:
    (found,) = (segment for segment in elf(image).iter_segments() if isinstance(segment, InterpSegment))
    # pyelftools takes all that is in the segment; loaders stop at the first NUL.
    return str(found.get_interp_name()).rstrip("\0")


@pytest.mark.parametrize("arch", canary.ARCHITECTURES)
@pytest.mark.parametrize("libc", ["glibc", "musl"])
def test_the_names_of_the_program_are_those_of_the_canary(arch: str, libc: str) -> None:
    loader = canary.LOADERS[arch, libc]
    image = canary.make(arch, "libmpi_gnu_123.so.12", loader)
    found = dynamic(image)
    assert elf(image).get_machine_arch() == {"x86_64": "x64", "aarch64": "AArch64"}[arch]
    assert found["DT_NEEDED"] == "libmpi_gnu_123.so.12"
    assert interpreter(image) == loader
    # Both kinds of hash table: loaders differ in what they read.
    assert {"DT_HASH", "DT_GNU_HASH"} <= found.keys()
    assert not {"DT_RPATH", "DT_RUNPATH", "DT_VERNEED"} & found.keys()
    assert elf(image)["e_type"] == "ET_DYN"


@pytest.mark.parametrize("arch", canary.ARCHITECTURES)
def test_it_takes_nothing_but_mpi_and_the_start_of_libc(arch: str) -> None:
    symbols = elf(canary.make(arch, "libmpi.so.12", GLIBC)).get_section_by_name(".dynsym")
    assert isinstance(symbols, SymbolTableSection)
    found = {symbol.name: symbol["st_info"]["bind"] for symbol in symbols.iter_symbols() if symbol.name}
    must = {"Init", "Comm_rank", "Comm_size", "Barrier", "Allreduce", "Sendrecv", "Finalize"}
    may = {"MPI_Get_library_version", "ompi_mpi_comm_world", "ompi_mpi_int", "ompi_mpi_op_sum", "__libc_start_main"}
    assert found == {**{f"MPI_{name}": "STB_GLOBAL" for name in must}, **dict.fromkeys(may, "STB_WEAK")}


@pytest.mark.parametrize(("arch", "page"), [("x86_64", 4096), ("aarch64", 65536)])
def test_its_parts_can_be_mapped_with_the_largest_pages_and_no_stack_is_code(arch: str, page: int) -> None:
    segments = list(elf((HERE / arch).read_bytes()).iter_segments())
    loads = [segment for segment in segments if segment["p_type"] == "PT_LOAD"]
    assert all((load["p_vaddr"] - load["p_offset"]) % page == 0 for load in loads)
    first, second = loads
    assert (first["p_vaddr"] + first["p_memsz"] - 1) // page < second["p_vaddr"] // page
    (stack,) = (segment for segment in segments if segment["p_type"] == "PT_GNU_STACK")
    assert not stack["p_flags"] & 1


@pytest.mark.parametrize("arch", canary.ARCHITECTURES)
def test_nothing_but_the_slots_changes(arch: str) -> None:
    before = (HERE / arch).read_bytes()
    after = canary.make(arch, "libmpich.so.12", GLIBC, runpath="/opt/mpi/lib")
    slots = {b"library": 63, b"loader": 255, b"search": 1023, b"family": 22}
    allowed: set[int] = set()
    for name, room in slots.items():
        mark = b"hpcjob-canary-" + name + b"="
        assert before.count(mark) == 1
        at = before.index(mark)
        allowed |= set(range(at, at + room))
    assert len(after) == len(before) < 8192
    assert {at for at in range(len(before)) if before[at] != after[at]} <= allowed


def test_where_the_program_looks_for_libraries_the_canary_does_too() -> None:
    run = dynamic(canary.make("x86_64", "libmpi.so.40", GLIBC, runpath="/a:/b"))
    assert run["DT_RUNPATH"] == "/a:/b"
    assert "DT_RPATH" not in run
    old = dynamic(canary.make("x86_64", "libmpi.so.40", GLIBC, rpath="/a"))
    assert old["DT_RPATH"] == "/a"
    assert "DT_RUNPATH" not in old
    # ld.so(8): DT_RPATH counts only when there is no DT_RUNPATH.
    both = dynamic(canary.make("x86_64", "libmpi.so.40", GLIBC, rpath="/a", runpath="/b"))
    assert both["DT_RUNPATH"] == "/b"
    assert "DT_RPATH" not in both


@pytest.mark.parametrize(
    ("soname", "family"),
    [
        ("libmpich.so.12", "mpich"), ("libmpi.so.12", "mpich"), ("libmpi.so.12.0.0", "mpich"), ("libmpich.so.10", "mpich"),
        ("libmpi_gnu_123.so.12", "mpich"), ("libmpi_cray.so.12", "mpich"), ("libmpich_gnu_71.so.3", "mpich"),
        ("/opt/mpi/lib/libmpi.so.12", "mpich"), ("libmpi.so.40", "openmpi"), ("libmpi.so.20", "openmpi"),
        ("libmpi.so.1", "openmpi"), ("libmpi_ibm.so.3", "openmpi"), ("libmpi_abi.so.1", "abi"), ("libmpi_abi.so.0", "abi"),
        ("libmpi.so", ""), ("libfoo.so.1", ""), ("libmpi.so.400", ""),
    ],
)  # fmt: skip
def test_the_family_is_known_by_the_name(soname: str, family: canary.Family) -> None:
    assert canary.family_of(soname) == family
    letter = {"": b"a", "mpich": b"m", "openmpi": b"o", "abi": b"s"}[family]
    assert b"hpcjob-canary-family=" + letter + b"\0" in canary.make("x86_64", soname, GLIBC)


def test_the_family_may_be_said() -> None:
    assert b"hpcjob-canary-family=o\0" in canary.make("x86_64", "libmpi.so.12", GLIBC, family="openmpi")


def test_the_longest_names_fit_and_no_longer_ones() -> None:
    longest = canary.make("x86_64", "l" * 63, "/" * 255, runpath="r" * 1023)
    assert dynamic(longest)["DT_NEEDED"] == "l" * 63
    assert dynamic(longest)["DT_RUNPATH"] == "r" * 1023
    assert interpreter(longest) == "/" * 255
    for soname, loader, runpath in [("l" * 64, "/l", ""), ("l", "/" * 256, ""), ("l", "/l", "r" * 1024)]:
        with pytest.raises(PlanError, match="is longer than the") as caught:
            canary.make("x86_64", soname, loader, runpath=runpath)
        assert "without the check" in caught.value.hint


@pytest.mark.parametrize(("soname", "loader"), [("", "/l"), ("l", ""), ("l\0m", "/l"), ("l", "/l\0")])
def test_what_is_no_name_is_refused(soname: str, loader: str) -> None:
    with pytest.raises(PlanError):
        canary.make("x86_64", soname, loader)


def test_there_is_none_for_other_cpus() -> None:
    with pytest.raises(PlanError, match="riscv64") as caught:
        canary.make("riscv64", "libmpi.so.12", "/lib/ld-linux-riscv64-lp64d.so.1")
    assert "x86_64 and aarch64" in caught.value.hint


@pytest.mark.parametrize("arch", canary.ARCHITECTURES)
def test_what_is_shipped_is_what_the_source_makes(arch: str, tmp_path: Path) -> None:
    """Byte for byte, where the compiler is the one that made it: Debian 12's, and its linker."""
    compiler = shutil.which(f"{arch}-linux-gnu-gcc")
    if compiler is None:
        pytest.skip(f"NOT COMPARED: {arch}-linux-gnu-gcc is not installed")
    versions = [
        subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        for tool in (compiler, f"{arch}-linux-gnu-ld")
    ]
    if not (versions[0].endswith(" 12.2.0") and versions[1].endswith(" 2.40")):
        pytest.skip(f"NOT COMPARED: shipped is what gcc 12.2.0 and ld 2.40 of Debian make, and here are {versions}")
    subprocess.run([HERE / "build", tmp_path, arch], check=True, timeout=60)
    assert (tmp_path / arch).read_bytes() == (HERE / arch).read_bytes()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="NOT CHECKED: shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    subprocess.run(["shellcheck", HERE / "build"], check=True)
    subprocess.run(["shellcheck", "--shell=bash", HERE / "judge.bash"], check=True)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT RUN: this machine is no x86_64")
def test_without_the_library_the_loader_says_so(tmp_path: Path) -> None:
    if not Path(GLIBC).exists():
        pytest.skip(f"NOT RUN: there is no {GLIBC}")
    program = tmp_path / "canary"
    program.write_bytes(canary.make("x86_64", "libnosuchmpi.so.12", GLIBC))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    (tmp_path / "out").write_text(done.stdout)
    (tmp_path / "err").write_text(done.stderr)
    assert done.returncode == 127
    words = judged(tmp_path, 4, 1)
    assert words.startswith("none of the 4 tasks could start MPI and report: ")
    assert "libnosuchmpi.so.12: cannot open shared object file" in words


def line(rank: int, size: int, host: str = "n1", ok: str = "1", lib: str = "MPICH Version: 4.0.2") -> str:
    return f"hpcjob-canary rank={rank} size={size} host={host} ok={ok} lib={lib}\n"


def judged(folder: Path, *asked: int | str) -> str:
    """What bash says of the files out and err there, given tasks, nodes and the library; under the strictest options that a script may have."""
    # E, u, pipefail and ERR: the function stands in scripts that have them, and may not trip over them.
    text = (
        f'set -Eeuo pipefail\ntrap "echo TRAP" ERR\n{canary.judge_text()}\nif hpcjob_judge "$@"; then echo fine; fi\n'
    )
    done = subprocess.run(
        ["bash", "-c", text, "bash", folder / "out", folder / "err", *map(str, asked)],
        capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
    return done.stdout.rstrip("\n")


FOUR = "".join(line(rank, 4, f"n{rank // 2 + 1}") for rank in (2, 0, 3, 1))
CASES: dict[str, tuple[str, str, tuple[int | str, ...], str]] = {
    "all is well": (FOUR, "", (4, 2), "fine"),
    "one task": (line(0, 1), "", (1, 1), "fine"),
    "labels, a terminal, and other words": (
        "Loading mpi/4\n" + "".join(f"{rank}: " + line(rank, 2).replace("\n", "\r\n") for rank in range(2)), "", (2, 1, "MPICH*4.0.2"), "fine",
    ),
    "no newline at the end": (FOUR.rstrip("\n"), "", (4, 2), "fine"),
    "more nodes than tasks": (line(0, 2) + line(1, 2, "n2"), "", (2, 3), "fine"),
    "the library that was planned": (FOUR, "", (4, 2, "MPICH*4.0.2*", "MPICH 4.0.2"), "fine"),
    "each is alone": (
        line(0, 1) * 4, "", (4, 1),
        "the ranks did not find each other: 4 programs each say that they are rank 0 of 1 "
        "(the launcher and the MPI of the image, 'MPICH Version: 4.0.2', do not understand each other)",
    ),
    "another library": (
        FOUR, "", (4, 2, "MPICH*5.0.1*", "MPICH 5.0.1"),
        "the MPI in the container is 'MPICH Version: 4.0.2', and 'MPICH 5.0.1' was planned",
    ),
    "another library without a name for it": (
        FOUR, "", (4, 2, "Intel*"), "the MPI in the container is 'MPICH Version: 4.0.2', and 'Intel*' was planned",
    ),
    "one node": (
        "".join(line(rank, 4) for rank in range(4)), "", (4, 2), "all ranks ran on n1, and 2 nodes were asked for",
    ),
    "too few nodes": (FOUR, "", (4, 4), "the ranks ran on 2 nodes (n2, n1), and 4 were asked for"),
    "groups": (
        (line(0, 2) + line(1, 2)) * 2, "", (4, 1),
        "the ranks did not all find each other: there are groups of 2, and 4 tasks were asked for",
    ),
    "a rank twice": (
        line(0, 2) * 2, "", (2, 1), "the ranks did not all find each other: more than one says that it is rank 0 of 2",
    ),
    "too many": (
        line(0, 4) * 6, "", (4, 1), "6 programs reported, and 4 tasks were asked for: the launcher started too many",
    ),
    "a wrong message": (
        line(0, 2) + line(1, 2, ok="0"), "a\n\nb\nc\nd\n", (2, 1),
        "messages between the ranks did not arrive as they were sent (rank 1): b | c | d",
    ),
    "another family": (
        line(0, 0, ok="family", lib="Open MPI v4.1.4") * 2, "", (2, 1),
        "the program was built for another family of MPI than the one that it gets: 'Open MPI v4.1.4'",
    ),
    "some died": (
        line(0, 4) + line(2, 4), "Abort(1)\n", (4, 1), "only 2 of the 4 tasks could start MPI and report: Abort(1)",
    ),
    "none, and no words": ("", "", (4, 1), "none of the 4 tasks could start MPI and report"),
    "none, words where they do not belong": (
        "srun: no\n", " \n", (4, 1), "none of the 4 tasks could start MPI and report: srun: no",
    ),
    "the loader speaks first": (
        "", "x: error while loading shared libraries: libmpi.so.12: cannot open\n" + "srun: error: task 0 failed\n" * 5, (4, 1),
        "none of the 4 tasks could start MPI and report: x: error while loading shared libraries: libmpi.so.12: cannot open",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_words_for(case: str, tmp_path: Path) -> None:
    out, err, asked, words = CASES[case]
    (tmp_path / "out").write_text(out)
    (tmp_path / "err").write_text(err)
    assert judged(tmp_path, *asked) == words


def test_files_that_are_not_there_are_as_empty_ones(tmp_path: Path) -> None:
    assert judged(tmp_path, 2, 1) == "none of the 2 tasks could start MPI and report"
