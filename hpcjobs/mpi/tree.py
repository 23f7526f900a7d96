"""The files of a host, below a root that a test can give; what cannot be read is as if it were not there."""

from __future__ import annotations

import mmap
import os
import posixpath
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hpcjobs.mpi import elf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.mpi.elf import Elf

# Links in one path that Linux follows (path_resolution(7)).
_MOST_LINKS = 40
# A library with all of a vendor's fabrics in it has 80 MB; what is larger by far is none.
_MOST_BYTES = 1 << 30
_SCRIPT_BYTES = 4096


class Tree:
    """Files by their absolute names on the host. ELF files are read once."""

    def __init__(self, root: Path) -> None:
        self._root = "" if str(root) == "/" else str(root).rstrip("/")
        self._elves: dict[tuple[str, bool], Elf | None] = {}
        self._real: dict[str, str] = {}
        self._listed: dict[str, tuple[str, ...]] = {}

    def path(self, name: str) -> str:
        """Where a file is found by this process; links of it lead nowhere out of the root."""
        return self._root + self.real(name) if self._root else name

    def real(self, name: str) -> str:
        """The name of the file with its links resolved; a name that leads nowhere stays as it is."""
        if name not in self._real:
            self._real[name] = self._resolved(name) if self._root else _realpath(name)
        return self._real[name]

    def _resolved(self, name: str) -> str:
        rest, done, links = posixpath.normpath(name).strip("/").split("/")[::-1], "", 0
        while rest:
            part = rest.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = posixpath.dirname(done).rstrip("/")
                continue
            try:
                target = str(Path(f"{self._root}{done}/{part}").readlink())
            except OSError:
                done = f"{done}/{part}"
                continue
            if (links := links + 1) > _MOST_LINKS:
                return name
            done = "" if target.startswith("/") else done
            rest += target.split("/")[::-1]
        return done or "/"

    def link(self, name: str) -> str:
        """What a link says; empty if it is none."""
        try:
            return str(Path(self._root + name).readlink())
        except OSError:
            return ""

    def is_file(self, name: str) -> bool:
        """Whether it is a plain file that is there."""
        return self._is(name, stat.S_ISREG)

    def is_dir(self, name: str) -> bool:
        """Whether it is a folder."""
        return self._is(name, stat.S_ISDIR)

    def exists(self, name: str) -> bool:
        """Whether there is anything of that name."""
        return self._is(name, bool)

    def executable(self, name: str) -> bool:
        """Whether it is a program."""
        return self.is_file(name) and os.access(self.path(name), os.X_OK)

    def _is(self, name: str, kind: object) -> bool:
        try:
            return bool(kind(Path(self.path(name)).stat().st_mode))  # type: ignore[operator]
        except (OSError, ValueError):
            return False

    def size(self, name: str) -> int:
        """Bytes; -1 if it is not there."""
        try:
            return Path(self.path(name)).stat().st_size
        except (OSError, ValueError):
            return -1

    def names(self, folder: str) -> tuple[str, ...]:
        """What is in a folder, in order."""
        if folder not in self._listed:
            try:
                with os.scandir(self.path(folder)) as entries:
                    self._listed[folder] = tuple(sorted(entry.name for entry in entries))
            except (OSError, ValueError):
                self._listed[folder] = ()
        return self._listed[folder]

    def read(self, name: str) -> bytes:
        """All of a small file; empty if it cannot be read."""
        try:
            with self._open(name) as file:
                return file.read(1 << 24)
        except (OSError, ValueError):
            return b""

    def _open(self, name: str) -> BinaryIO:
        # A pipe of that name would hold the probe for ever.
        if not self.is_file(name):
            raise FileNotFoundError(name)
        return Path(self.path(name)).open("rb")

    @contextmanager
    def mapped(self, name: str) -> Iterator[mmap.mmap | bytes]:
        """The bytes of a file without reading them all; none if it cannot be read."""
        try:
            with self._open(name) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
                return
        except (OSError, ValueError):
            pass
        yield b""

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO | None]:
        """The open file; None if it cannot be read."""
        try:
            file = self._open(name)
        except (OSError, ValueError):
            yield None
            return
        with file:
            yield file

    def elf(self, name: str, *, symbols: bool = False) -> Elf | None:
        """What an ELF file says of itself; None if it is none, or damaged."""
        key = (self.real(name), symbols)
        if key not in self._elves:
            self._elves[key] = self._read_elf(name, symbols=symbols)
        return self._elves[key]

    def _read_elf(self, name: str, *, symbols: bool) -> Elf | None:
        if not symbols and (whole := self._elves.get((self.real(name), True))):
            return whole
        if not 0 < self.size(name) <= _MOST_BYTES:
            return None
        with self.opened(name) as file:
            try:
                return elf.read(file, symbols=symbols) if file else None
            except elf.NotElfError:
                return None

    def linked(self, name: str) -> str:
        """The real file of a linker's name: through links, and through a script `INPUT(libmpi.so.12)` of ld(1)."""
        real = self.real(name)
        if 0 < self.size(real) < _SCRIPT_BYTES:
            text = self.read(real).decode("utf-8", "replace")
            if match := re.search(r"\b(?:INPUT|GROUP)\s*\(\s*(?:AS_NEEDED\s*\(\s*)?([^\s()]+)", text):
                return self.real(posixpath.join(posixpath.dirname(real), match[1]))
        return real


def _realpath(name: str) -> str:
    try:
        return os.path.realpath(name)
    except (OSError, ValueError):
        return name
