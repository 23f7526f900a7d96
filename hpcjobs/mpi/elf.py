"""Reads ELF files with pyelftools; nothing is executed. elf(5), ld.so(8); symbol versions: the LSB's core part."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from hpcjobs.units import version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_ARCH = {
    "EM_X86_64": "x86_64", "EM_AARCH64": "aarch64", "EM_PPC64": "ppc64le", "EM_RISCV": "riscv64", "EM_S390": "s390x",
    "EM_386": "i686", "EM_ARM": "armv7l", "EM_LOONGARCH": "loongarch64",
}  # fmt: skip
# More than any file has; a damaged one may say any number, and pyelftools would count to it.
_MOST_PARTS, _MOST_TAGS, _MOST_SYMBOLS, _MOST_VERSIONS = 20_000, 10_000, 2_000_000, 20_000
_LONGEST = 65536  # C++ has names of some thousands of bytes
# GLIBC_2.34, GLIBCXX_3.4.30, CXXABI_1.3.13, GCC_4.2.0, GFORTRAN_8; not GLIBC_PRIVATE.
_NUMBERED = {"GLIBC_ABI_DT_RELR": "GLIBC_2.36"}  # which no older one has (glibc's NEWS for 2.36)
_VERSION = re.compile(r"([A-Z]+)_(\d+(?:\.\d+)*)")


@dataclass(frozen=True, kw_only=True)
class Elf:
    """What a program or shared library says of itself. Folders hold $ORIGIN as written."""

    arch: str
    interpreter: str = ""
    soname: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()
    needs: dict[str, str] = field(default_factory=dict)  # newest version of each family of symbols
    provides: dict[str, str] = field(default_factory=dict)
    exports: frozenset[str] = frozenset()  # names of functions and data
    undefined: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()  # those of `undefined` without which it starts too
    build_id: str = ""  # hexadecimal
    build_at: int = 0  # its offset in the file, in bytes
    dynamic: bool = True


class NotElfError(ValueError):
    """The file is no ELF file that can be understood."""


def read(file: BinaryIO, *, symbols: bool = True) -> Elf:
    """Read an open file; without `symbols` their names are left out, which saves most of the time.

    Raises:
        NotElfError: it is none, or is damaged.
    """
    return _guarded(file, lambda elf: _read(elf, symbols=symbols))


def defined(file: BinaryIO) -> frozenset[str]:
    """The functions and data that an open file has by its table of symbols for debuggers; none if it was stripped.

    Raises:
        NotElfError: it is none, or is damaged.
    """
    return _guarded(file, _defined)


def _defined(elf: Any) -> frozenset[str]:
    if elf.num_sections() > _MOST_PARTS:
        raise ValueError("too many parts")
    table = elf.get_section_by_name(".symtab")
    return frozenset(name for name, _, here in _rows(elf, table) if here) if table else frozenset()


def _guarded(file: BinaryIO, reading: Callable[[Any], T]) -> T:
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError
    from elftools.elf.elffile import ELFFile

    try:
        return reading(ELFFile(file))
    # A damaged file leads pyelftools anywhere.
    except (
        ELFError, ConstructError, AssertionError, KeyError, IndexError, ValueError, TypeError, AttributeError,
        OverflowError, OSError, MemoryError, RecursionError, StopIteration, struct.error, ZeroDivisionError,
        UnboundLocalError,
    ) as error:  # fmt: skip
        raise NotElfError(f"{type(error).__name__}: {error}") from None


def _read(elf: Any, *, symbols: bool) -> Elf:
    if max(elf.num_segments(), elf.num_sections()) > _MOST_PARTS:
        raise ValueError("too many parts")
    segments = list(elf.iter_segments())
    interpreter = next((s.get_interp_name() for s in segments if s["p_type"] == "PT_INTERP"), "")
    dynamic = next((s for s in segments if s["p_type"] == "PT_DYNAMIC"), None)
    tags = _tags(dynamic) if dynamic else {}
    build_id, build_at = _build(segments)
    exports, undefined, weak = _symbols(elf, dynamic) if dynamic and symbols else (set(), set(), set())
    return Elf(
        arch=_ARCH.get(elf["e_machine"], str(elf["e_machine"])),
        interpreter=interpreter,
        soname=next(iter(tags.get("DT_SONAME", ())), ""),
        needed=tuple(tags.get("DT_NEEDED", ())),
        rpath=_folders(tags.get("DT_RPATH", ())),
        runpath=_folders(tags.get("DT_RUNPATH", ())),
        needs=_newest(_versions(elf, _NEEDED)),
        provides=_newest(_versions(elf, _DEFINED)),
        exports=frozenset(exports),
        undefined=frozenset(undefined),
        weak=frozenset(weak),
        build_id=build_id,
        build_at=build_at,
        dynamic=dynamic is not None,
    )


_TEXT = {"DT_SONAME": "soname", "DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}


def _tags(dynamic: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for tag in islice(dynamic.iter_tags(), _MOST_TAGS):
        if name := _TEXT.get(tag.entry.d_tag):
            found.setdefault(tag.entry.d_tag, []).append(getattr(tag, name))
    return found


def _folders(texts: Any) -> tuple[str, ...]:
    return tuple(folder for text in texts for folder in text.split(":") if folder)


_LOCAL, _WEAK = 0, 2  # STB_LOCAL, STB_WEAK


def _symbols(elf: Any, dynamic: Any) -> tuple[set[str], set[str], set[str]]:
    # Stripped of its sections, a file still has the dynamic segment.
    table = elf.get_section_by_name(".dynsym")
    exports, undefined, weak = set(), set(), set()
    for name, binding, defined in _rows(elf, table) if table else _slow_rows(dynamic):
        if not name or binding == _LOCAL:
            continue
        if defined:
            exports.add(name)
            continue
        undefined.add(name)
        if binding == _WEAK:
            weak.add(name)
    return exports, undefined, weak


def _rows(elf: Any, table: Any) -> Iterator[tuple[str, int, bool]]:
    """Name, binding, and whether it is defined, of each symbol of a section: ten times as fast as pyelftools."""
    order = "<" if elf.little_endian else ">"
    layout = struct.Struct(order + ("IBBHQQ" if elf.elfclass == 64 else "IIIBBH"))  # noqa: PLR2004 - bits
    info, section = (1, 3) if elf.elfclass == 64 else (3, 5)  # noqa: PLR2004
    names = _bytes(elf, elf.get_section(table["sh_link"]))
    rows = _bytes(elf, table)
    for row in layout.iter_unpack(rows[: len(rows) // layout.size * layout.size]):
        yield _text(names, row[0]), row[info] >> 4, row[section] != 0


def _bytes(elf: Any, section: Any) -> bytes:
    """What is in a section, which in a damaged file may be said to be larger than the file."""
    end = elf.stream.seek(0, 2)
    elf.stream.seek(min(section["sh_offset"], end))
    return bytes(elf.stream.read(min(section["sh_size"], end)))


def _slow_rows(dynamic: Any) -> Iterator[tuple[str, int, bool]]:
    for symbol in islice(dynamic.iter_symbols(), _MOST_SYMBOLS):
        binding = {"STB_LOCAL": _LOCAL, "STB_WEAK": _WEAK}.get(symbol["st_info"]["bind"], 1)
        yield symbol.name, binding, symbol["st_shndx"] != "SHN_UNDEF"


# Where each record has its first part and its next one, and where each part has its name and its next one, in bytes,
# behind the start: Elf64_Verneed and Elf64_Vernaux, Elf64_Verdef and Elf64_Verdaux, whatever the class.
_NEEDED = (".gnu.version_r", 8, 12, 8, 12)
_DEFINED = (".gnu.version_d", 12, 16, 0, 4)


def _versions(elf: Any, kind: tuple[str, int, int, int, int]) -> Iterator[str]:
    """The names in a section of versions. Unlike pyelftools, it ends where the section does, whatever that says."""
    name, part_at, next_at, name_at, after_at = kind
    section = elf.get_section_by_name(name)
    if not section:
        return
    word = struct.Struct("<I" if elf.little_endian else ">I")
    data, names = _bytes(elf, section), _bytes(elf, elf.get_section(section["sh_link"]))

    def number(at: int) -> int:
        return int(word.unpack_from(data, at)[0])

    record, left = 0, _MOST_VERSIONS
    while left:
        part = record + number(record + part_at)
        while left:
            left -= 1
            yield _text(names, number(part + name_at))
            step = number(part + after_at)
            part += step
            if not step:
                break
        step = number(record + next_at)
        record += step
        if not step:
            return


def _text(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    return names[at:end].decode(errors="replace") if 0 <= end - at < _LONGEST else ""


def _newest(names: Iterator[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        if match := _VERSION.fullmatch(_NUMBERED.get(name, name)):
            family, number = match[1], match[2]
            if version(number) > version(found.get(family, "")):
                found[family] = number
    return found


def _build(segments: list[Any]) -> tuple[str, int]:
    for segment in segments:
        if segment["p_type"] != "PT_NOTE":
            continue
        for note in islice(segment.iter_notes(), _MOST_TAGS):
            if note["n_type"] == "NT_GNU_BUILD_ID":
                # Behind a header of three words and the name "GNU" with its NUL.
                return str(note["n_desc"]), int(note["n_offset"]) + 16
    return "", 0
