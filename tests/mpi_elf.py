"""Makes small ELF files, so that tests of what reads them need no compiler. elf(5); versions: the LSB's core part.

    from tests.mpi_elf import build

    build(soname="libmpi.so.12", exports=["MPI_Init"], needed=["libc.so.6"], needs={"libc.so.6": ["GLIBC_2.34"]})

readelf(1) reads them without a complaint; nothing in them can run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MACHINES = {
    "x86_64": 62, "aarch64": 183, "ppc64le": 21, "riscv64": 243, "s390x": 22, "i686": 3, "armv7l": 40,
    "loongarch64": 258,
}  # fmt: skip
_NEEDED, _HASH, _STRTAB, _SYMTAB, _STRSZ, _SYMENT, _SONAME, _RPATH, _RUNPATH = 1, 4, 5, 6, 10, 11, 14, 15, 29
_VERSYM, _VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


class _Strings:
    """A table of texts that end with NUL."""

    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode(errors="surrogateescape") + b"\0"
        return at


@dataclass
class _Section:
    name: str
    kind: int
    data: bytes
    link: str = ""
    info: int = 0
    entry: int = 0
    at: int = 0


def build(
    *,
    soname: str = "",
    needed: Iterable[str] = (),
    exports: Iterable[str] = (),
    undefined: Iterable[str] = (),
    weak: Iterable[str] = (),
    rpath: str = "",
    runpath: str = "",
    needs: Mapping[str, Iterable[str]] | None = None,
    provides: Iterable[str] = (),
    interp: str = "",
    build_id: str = "",
    arch: str = "x86_64",
    extra: bytes = b"",
    symtab: Iterable[str] = (),
    dynamic: bool = True,
    sections: bool = True,
) -> bytes:
    """The bytes of an ELF64 file: a shared library, or with `interp` a program, or without `dynamic` a static one.

    `weak` are undefined symbols that may be missing; `needs` and `provides` are versions of symbols; `rpath` and
    `runpath` are written as they are, folders with `:` between; `build_id` is hexadecimal; `extra` is text of its
    .rodata; `symtab` are functions that only the table of symbols for debuggers has; without `sections` there is no
    table of sections, as in files that sstrip made small.
    """
    parts = [_Section(".rodata", 1, extra)]
    if interp:
        parts.append(_Section(".interp", 1, interp.encode() + b"\0"))
    if build_id:
        raw = bytes.fromhex(build_id)
        parts.append(
            _Section(
                ".note.gnu.build-id", 7, struct.pack("<III4s", 4, len(raw), 3, b"GNU\0") + raw + bytes(-len(raw) % 4)
            )
        )
    if names := tuple(symtab):
        strings = _Strings()
        table = _symbols(strings, names, (), ())
        parts += [_Section(".symtab", 2, table, ".strtab", 1, 24), _Section(".strtab", 3, strings.data)]
    if dynamic:
        strings = _Strings()
        tags = [(_NEEDED, strings.add(name)) for name in needed]
        tags += [
            (tag, strings.add(text)) for tag, text in ((_SONAME, soname), (_RPATH, rpath), (_RUNPATH, runpath)) if text
        ]
        parts += _dynamic_parts(
            strings, tags=tags, exports=tuple(exports), undefined=tuple(undefined), weak=tuple(weak),
            needs=needs or {}, provides=tuple(provides),
        )  # fmt: skip
    return _file(parts, MACHINES[arch], program=bool(interp) or not dynamic, sections=sections)


def _dynamic_parts(
    strings: _Strings, *, tags: list[tuple[int, int]], exports: tuple[str, ...], undefined: tuple[str, ...],
    weak: tuple[str, ...], needs: Mapping[str, Iterable[str]], provides: tuple[str, ...],
) -> list[_Section]:  # fmt: skip
    symbols = _symbols(strings, exports, undefined, weak)
    count = len(symbols) // 24
    parts = [
        _Section(".dynsym", 11, symbols, ".dynstr", 1, 24),
        # One bucket that is empty: whoever counts symbols by the table finds their number.
        _Section(".hash", 5, struct.pack(f"<{3 + count}I", 1, count, *[0] * (1 + count)), ".dynsym", entry=4),
    ]
    if needs or provides:
        parts.append(_Section(".gnu.version", 0x6FFFFFFF, struct.pack(f"<{count}H", *[1] * count), ".dynsym", entry=2))
    if needs:
        parts.append(_Section(".gnu.version_r", 0x6FFFFFFE, _needed(strings, needs), ".dynstr", len(needs)))
    if provides:
        parts.append(_Section(".gnu.version_d", 0x6FFFFFFD, _defined(strings, provides), ".dynstr", len(provides)))
    # Where the others are is filled in once that is known.
    entries = len(tags) + 5 + bool(needs or provides) + 2 * bool(needs) + 2 * bool(provides) + 1
    parts += [
        _Section(".dynstr", 3, strings.data),
        _Section(".dynamic", 6, b"".join(struct.pack("<QQ", *tag) for tag in tags).ljust(entries * 16, b"\0"), ".dynstr", entry=16),
    ]  # fmt: skip
    return parts


def _symbols(strings: _Strings, exports: Iterable[str], undefined: Iterable[str], weak: Iterable[str]) -> bytes:
    table = b"\0" * 24
    for names, info, section in ((exports, 0x12, 1), (undefined, 0x10, 0), (weak, 0x20, 0)):
        table += b"".join(struct.pack("<IBBHQQ", strings.add(name), info, 0, section, 64, 0) for name in names)
    return table


def _elf_hash(name: str) -> int:
    found = 0
    for byte in name.encode():
        found = (found << 4) + byte
        found = (found ^ (found >> 24 & 0xF0)) & 0x0FFFFFFF
    return found


def _needed(strings: _Strings, needs: Mapping[str, Iterable[str]]) -> bytes:
    table = b""
    for number, (file, versions) in enumerate(needs.items(), 1):
        names = tuple(versions)
        size = 16 * (1 + len(names))
        after = size if number < len(needs) else 0
        table += struct.pack("<HHIII", 1, len(names), strings.add(file), 16, after)
        for place, name in enumerate(names, 1):
            after = 16 if place < len(names) else 0
            table += struct.pack("<IHHII", _elf_hash(name), 0, 1 + place, strings.add(name), after)
    return table


def _defined(strings: _Strings, provides: tuple[str, ...]) -> bytes:
    table = b""
    for number, name in enumerate(provides, 1):
        after = 28 if number < len(provides) else 0
        table += struct.pack("<HHHHIII", 1, 0, 1 + number, 1, _elf_hash(name), 20, after)
        table += struct.pack("<II", strings.add(name), 0)
    return table


_TAGS = {
    ".hash": (_HASH, 0), ".dynstr": (_STRTAB, 0), ".dynsym": (_SYMTAB, 0), ".gnu.version": (_VERSYM, 0),
    ".gnu.version_r": (_VERNEED, _VERNEEDNUM), ".gnu.version_d": (_VERDEF, _VERDEFNUM),
}  # fmt: skip
# PT_INTERP, PT_DYNAMIC, PT_NOTE
_SEGMENTS = {".interp": 3, ".dynamic": 2, ".note.gnu.build-id": 4}


def _file(parts: list[_Section], machine: int, *, program: bool, sections: bool) -> bytes:
    segments = [part for part in parts if part.name in _SEGMENTS]
    # The program headers come first, then PT_LOAD's, which is the whole file: addresses are offsets.
    at = 64 + 56 * (1 + len(segments))
    for part in parts:
        at = part.at = (at + 15) // 16 * 16
        at += len(part.data)
    _fill_in(parts)
    names = _Strings()
    rows = [bytes(64)] + [_row(part, names.add(part.name), parts) for part in parts]
    table = (at + 7) // 8 * 8
    name = names.add(".shstrtab")
    end = table + 64 * (len(rows) + 1)
    rows.append(struct.pack("<IIQQQQIIQQ", name, 3, 0, 0, end, len(names.data), 0, 0, 1, 0))
    kind = 2 if program else 3  # ET_EXEC, ET_DYN
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, 64, table if sections else 0, 0, 64, 56, 1 + len(segments), 64,
        len(rows) if sections else 0, len(rows) - 1 if sections else 0,
    )  # fmt: skip
    head += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, at, at, 4096)
    for part in segments:
        size = len(part.data)
        head += struct.pack("<IIQQQQQQ", _SEGMENTS[part.name], 4, part.at, part.at, part.at, size, size, 8)
    made = head
    for part in parts:
        made = made.ljust(part.at, b"\0") + part.data
    return made.ljust(table, b"\0") + b"".join(rows) + names.data if sections else made


def _fill_in(parts: list[_Section]) -> None:
    """Write where the tables are into .dynamic, behind what is there."""
    dynamic = next((part for part in parts if part.name == ".dynamic"), None)
    if not dynamic:
        return
    entries = []
    for part in parts:
        where, count = _TAGS.get(part.name, (0, 0))
        entries += [(where, part.at)] if where else []
        entries += [(count, part.info)] if count else []
        entries += [(_STRSZ, len(part.data)), (_SYMENT, 24)] if part.name == ".dynstr" else []
    written = dynamic.data.rstrip(b"\0")
    kept = dynamic.data[: (len(written) + 15) // 16 * 16]
    more = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    dynamic.data = (kept + more).ljust(len(dynamic.data), b"\0")


def _row(part: _Section, name: int, parts: list[_Section]) -> bytes:
    link = next((number for number, other in enumerate(parts, 1) if other.name == part.link), 0)
    place = 0 if part.kind in (2, 3) and part.name != ".dynstr" else part.at
    flags = 2 if place else 0  # SHF_ALLOC
    return struct.pack(
        "<IIQQQQIIQQ", name, part.kind, flags, place, part.at, len(part.data), link, part.info, 4, part.entry
    )  # fmt: skip
