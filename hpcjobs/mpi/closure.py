"""What a library loads, found as ld.so(8) finds it, without running anything."""

from __future__ import annotations

import hashlib
import posixpath
import struct
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from hpcjobs.mpi.facts import Library, is_libc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hpcjobs.mpi.elf import Elf
    from hpcjobs.mpi.tree import Tree

# struct cache_file_new and file_entry_new (glibc, sysdeps/generic/dl-cache.h); its offsets count from the magic,
# which the old format may stand before.
_MAGIC = b"glibc-ld.so.cache1.1"
_HEAD = struct.Struct("=20sII4xI12x")
_ENTRY = struct.Struct("=iIIIQ")
_ENDS = {2: "<", 3: ">"}  # cache_file_new_flags_endian_{little,big}
_MOST_ENTRIES = 1 << 20


def read_cache(data: bytes) -> dict[str, tuple[str, ...]]:
    """Names and files of /etc/ld.so.cache; empty if it is damaged, or none.

    Files for any CPU come before those for one that can do more (glibc-hwcaps): where the job runs is not known.
    """
    start = data.find(_MAGIC)
    if start < 0:
        return {}
    data = data[start:]
    if len(data) < _HEAD.size:
        return {}
    end = _ENDS.get(data[28] & 3, "=")
    count = struct.unpack_from(f"{end}I", data, 20)[0]
    entry = struct.Struct(end + _ENTRY.format[1:])
    room = (len(data) - _HEAD.size) // entry.size
    rows = (entry.unpack_from(data, _HEAD.size + entry.size * i) for i in range(min(count, room, _MOST_ENTRIES)))
    found: dict[str, list[str]] = {}
    for _, key, value, _, _ in sorted(rows, key=lambda row: bool(row[4])):
        name, path = _text(data, key), _text(data, value)
        if name and path.startswith("/"):
            found.setdefault(name, []).append(path)
    return {name: tuple(paths) for name, paths in found.items()}


def _text(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    return data[at:end].decode("utf-8", "surrogateescape") if 0 < at < end else ""


@dataclass(frozen=True)
class Wanted:
    """A library that a file names, and whose RPATHs count for it: its own, then those of what loaded it."""

    name: str
    by: str
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


@dataclass
class Closure:
    """What some files load. `paths` are real files in the order of finding, those files first."""

    paths: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # by which it was asked for -> the real file
    missing: dict[str, list[str]] = field(default_factory=dict)  # name -> who asks for it


class Loader:
    """Finds libraries as ld.so(8) does, for one architecture."""

    def __init__(self, tree: Tree, arch: str) -> None:
        self._tree = tree
        self._arch = arch

    @cached_property
    def cache(self) -> dict[str, tuple[str, ...]]:
        """The names that /etc/ld.so.cache has."""
        return read_cache(self._tree.read("/etc/ld.so.cache"))

    @cached_property
    def system(self) -> tuple[str, ...]:
        """The folders of the system: ld.so's defaults, and Debian's for this architecture."""
        triplet = f"{self._arch.replace('ppc64le', 'powerpc64le').replace('i686', 'i386')}-linux-gnu"
        names = (f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
        return tuple(name for name in names if self._tree.is_dir(name))

    def is_system(self, folder: str) -> bool:
        """Whether a folder is one of the system's own."""
        return self._tree.real(folder) in {self._tree.real(name) for name in self.system}

    def find(self, wanted: Wanted, library_path: Iterable[str] = ()) -> str:
        """The real file that would be loaded; empty if there is none."""
        if "/" in wanted.name:
            return self._fitting(wanted.name)
        for folder in (*wanted.rpath, *library_path, *wanted.runpath):
            if found := self._fitting(f"{folder}/{wanted.name}"):
                return found
        for path in self.cache.get(wanted.name, ()):
            if found := self._fitting(path):
                return found
        return next(filter(None, (self._fitting(f"{folder}/{wanted.name}") for folder in self.system)), "")

    def find_at(self, path: str) -> Elf | None:
        """The library that a file is, if it is one for this architecture."""
        real = self._tree.real(path)
        found = self._tree.elf(real) if self._tree.is_file(real) else None
        return found if found and found.arch == self._arch else None

    def _fitting(self, path: str) -> str:
        # ld.so goes on looking where it finds a library for another machine.
        return self._tree.real(path) if self.find_at(path) else ""

    def closure(self, seeds: Iterable[str], library_path: Iterable[str] = ()) -> Closure:
        """All that the seeds load, libc's family left out; a name that is loaded is not looked for again."""
        library_path = tuple(library_path)
        result, queue = Closure(), deque[tuple[str, tuple[str, ...]]]()
        for seed in dict.fromkeys(seeds):
            if found := self._tree.elf(seed):
                result.names.setdefault(found.soname or posixpath.basename(seed), seed)
                result.paths.append(seed)
                queue.append((seed, ()))
        while queue:
            path, inherited = queue.popleft()
            for wanted, passed in self._wants(path, inherited):
                if wanted.name in result.names or is_libc(posixpath.basename(wanted.name)):
                    continue
                if not (found_at := self.find(wanted, library_path)):
                    result.missing.setdefault(wanted.name, []).append(path)
                    continue
                result.names[wanted.name] = found_at
                if found_at not in result.paths:
                    result.paths.append(found_at)
                    queue.append((found_at, passed))
        return result

    def _wants(self, path: str, inherited: tuple[str, ...]) -> Iterator[tuple[Wanted, tuple[str, ...]]]:
        found = self._tree.elf(path)
        if not found:
            return
        # DT_RPATH is for what that loads in turn too, and DT_RUNPATH puts it out of force.
        own = () if found.runpath else self._expanded(found.rpath, path)
        rpath = () if found.runpath else (*own, *inherited)
        runpath = self._expanded(found.runpath, path)
        for name in found.needed:
            yield Wanted(name, path, rpath, runpath), (*own, *inherited)

    def _expanded(self, folders: tuple[str, ...], path: str) -> tuple[str, ...]:
        origin = posixpath.dirname(path)
        lib = next((name.removeprefix("/") for name in self.system), "lib")
        return tuple(
            posixpath.normpath(_replaced(folder, {"ORIGIN": origin, "LIB": lib, "PLATFORM": self._arch}))
            for folder in folders
        )


def _replaced(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return text


def library(tree: Tree, path: str) -> Library | None:
    """What the lock file holds of a library; None if it cannot be read."""
    found = tree.elf(path)
    if not found:
        return None
    return Library(
        name=found.soname or posixpath.basename(path),
        path=path,
        size=tree.size(path),
        build_id=found.build_id,
        build_at=found.build_at,
        sha256="" if found.build_id else sha256(tree, path),
        needs=dict(found.needs),
    )


def sha256(tree: Tree, path: str) -> str:
    """The SHA-256 of a file; empty if it cannot be read."""
    with tree.opened(path) as file:
        if file is None:
            return ""
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def newest(all_needs: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The newest version of each family of symbols that any of them needs."""
    from hpcjobs.units import version

    found: dict[str, str] = {}
    for needs in all_needs:
        for family, number in needs.items():
            if version(number) > version(found.get(family, "")):
                found[family] = number
    return dict(sorted(found.items()))
