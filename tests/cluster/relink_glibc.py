#!/usr/bin/env python3
"""Make a program that was linked on a newer Debian run with this machine's glibc.

    relink_glibc.py LIMIT FILE...      LIMIT is this machine's glibc version, such as 2.36

The linker binds each function to the newest version of it, and the loader refuses the whole program when glibc
lacks one such version. Apptainer of sid needs just two: __isoc23_strtol and __isoc23_strtoul of GLIBC_2.38, which
are strtol and strtoul but for "0b" numbers. This makes the file ask for the old functions instead.

Nothing moves in the file: the name of the old function is the tail of the new one's, and the version record that
was too new is made a second copy of the oldest one. Files that need nothing newer than LIMIT are left alone.

It is for Python 3.9 and later, without any package, since it runs before the project's environment exists.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import NamedTuple

# ELF's own numbers (elf.h).
SHT_DYNSYM, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 11, 0x6FFFFFFE, 0x6FFFFFFF
SECTION, SYMBOL, NEED, NEED_AUX = (struct.Struct(f"<{layout}") for layout in ("IIQQQQIIQQ", "IBBHQQ", "HHIII", "IHHII"))
# The high bit of a symbol's version index says "hidden"; it is no part of the number.
VERSION_MASK = 0x7FFF
# A function and its old twin: the same but for this prefix.
TWIN_PREFIX = "__isoc23_"


class RelinkError(Exception):
    """The file cannot be made to run with the older glibc."""


class Section(NamedTuple):
    kind: int
    offset: int
    size: int
    link: int


class Version(NamedTuple):
    """One version of a library that the file needs."""

    library: str
    name: str
    serial: int
    offset: int


def number(version: str) -> tuple[int, ...]:
    """The number of GLIBC_2.38; of names that have none, such as GLIBC_PRIVATE, an empty one."""
    parts = version.rpartition("_")[2].split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


class Elf:
    """The dynamic symbols of a 64-bit little-endian ELF file."""

    def __init__(self, data: bytearray) -> None:
        if data[:6] != b"\x7fELF\x02\x01":
            raise RelinkError("not a 64-bit little-endian ELF file")
        self.data = data
        (table,) = struct.unpack_from("<Q", data, 0x28)
        size, count = struct.unpack_from("<HH", data, 0x3A)
        self.sections = []
        for position in range(table, table + size * count, size):
            _, kind, _, _, offset, length, link, *_ = SECTION.unpack_from(data, position)
            self.sections.append(Section(kind, offset, length, link))
        self.symbols = self.section(SHT_DYNSYM)
        self.strings = self.sections[self.symbols.link].offset

    def section(self, kind: int) -> Section:
        for section in self.sections:
            if section.kind == kind:
                return section
        raise RelinkError("it has no dynamic symbols with versions")

    def string(self, offset: int) -> str:
        start = self.strings + offset
        return self.data[start : self.data.index(0, start)].decode()

    def versions(self) -> list[Version]:
        found = []
        need = self.section(SHT_GNU_VERNEED).offset
        while True:
            _, count, library, first, step = NEED.unpack_from(self.data, need)
            aux = need + first
            for _ in range(count):
                _, _, index, name, next_aux = NEED_AUX.unpack_from(self.data, aux)
                found.append(Version(self.string(library), self.string(name), index, aux))
                aux += next_aux
            if not step:
                return found
            need += step


def relink(data: bytearray, limit: tuple[int, ...]) -> list[str]:
    """Lower what the file needs of glibc to at most `limit`; the names of the functions that were exchanged."""
    elf = Elf(data)
    versions = [version for version in elf.versions() if version.name.startswith("GLIBC_") and number(version.name)]
    # The twins are as old as glibc itself on every architecture: libc.so.6 has them under its first version.
    oldest = {
        version.library: version for version in sorted(versions, key=lambda version: number(version.name), reverse=True)
    }
    too_new = {version.serial: version for version in versions if number(version.name) > limit}
    exchanged, impossible = [], []
    indices = elf.section(SHT_GNU_VERSYM).offset
    for count in range(elf.symbols.size // SYMBOL.size):
        (index,) = struct.unpack_from("<H", data, indices + 2 * count)
        version = too_new.get(index & VERSION_MASK)
        if version is None:
            continue
        record = elf.symbols.offset + SYMBOL.size * count
        (offset,) = struct.unpack_from("<I", data, record)
        name = elf.string(offset)
        old = oldest[version.library]
        if not name.startswith(TWIN_PREFIX) or number(old.name) > limit:
            impossible.append(f"{name}@{version.name} ({version.library})")
            continue
        struct.pack_into("<I", data, record, offset + len(TWIN_PREFIX))
        struct.pack_into("<H", data, indices + 2 * count, old.serial)
        exchanged.append(name)
    if impossible:
        raise RelinkError(
            f"needs glibc newer than {'.'.join(map(str, limit))} for functions with no known older twin: "
            + ", ".join(sorted(impossible))
        )
    # The loader checks the list of versions, used or not. The record keeps its place and its index.
    for version in too_new.values():
        old = oldest[version.library]
        if number(old.name) > limit:
            raise RelinkError(f"needs {version.name} of {version.library} and no older version of it")
        for field in (slice(0, 4), slice(8, 12)):  # hash and name
            start, stop = version.offset + field.start, version.offset + field.stop
            data[start:stop] = data[old.offset + field.start : old.offset + field.stop]
    return exchanged


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or not number(arguments[0]):
        sys.stderr.write("usage: relink_glibc.py LIMIT FILE...\n")
        return 2
    for path in map(Path, arguments[1:]):
        data = bytearray(path.read_bytes())
        before = bytes(data)
        try:
            exchanged = relink(data, number(arguments[0]))
        except (RelinkError, struct.error, ValueError) as error:
            sys.stderr.write(f"relink_glibc.py: {path}: {error}\n")
            return 1
        if data != before:
            path.write_bytes(data)
            sys.stderr.write(f"relink_glibc.py: {path}: {', '.join(sorted(exchanged))}: the older twin is used\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
