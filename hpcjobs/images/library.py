"""The folder of pulled images: what is in it, under which name, and how it gets there whole.

A file's name holds the beginning of its digest, so that a name never stands for two images. Beside each lies
`NAME.json`, which says where it came from. What is being made lies in `.pull-USER-NAME`, and is moved to its name
when it is whole; a pull that was cut short is continued there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import StoreError
from hpcjobs.images.registry import storing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SUFFIXES = {"sif": ".sif", "squashfs": ".sqfs"}
_WORK = ".pull-"
_THREADS: dict[str, threading.Lock] = {}


@dataclass(frozen=True)
class Kept:
    """An image of the folder. `size` is bytes, `pulled` is Unix seconds."""

    path: str
    source: str  # the reference it came from, pinned to its digest
    digest: str
    size: int
    pulled: float
    by: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder of pulled images, shared perhaps."""

    root: Path

    def place(self, name: str) -> Path:
        """The file of that name."""
        return self.root / name

    def get(
        self, name: str, *, source: str, digest: str, make: Callable[[Path, Path], None], waiting: Callable[[], None]
    ) -> Path:
        """The image file `name`; if it is not there, `make(work folder, file to write)` makes it.

        One process at a time makes it, others wait for that (`waiting` is called once) and find it done.

        Raises:
            StoreError: the folder cannot be written.
            HpcjobError: whatever `make` raises; what it has left in the work folder is there the next time.
        """
        target = self.place(name)
        if target.is_file():
            return target
        with storing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            work = self.root / f"{_WORK}{os.getuid()}-{name}"
        with self._lock(name, waiting):
            if target.is_file():
                return target
            with storing(self.root):
                work.mkdir(mode=0o700, exist_ok=True)
            made = work / name
            made.unlink(missing_ok=True)
            make(work, made)
            self._keep(made, target, source, digest)
        shutil.rmtree(work, ignore_errors=True)
        return target

    def _keep(self, made: Path, target: Path, source: str, digest: str) -> None:
        size = made.stat().st_size
        about = Kept(str(target), source, digest, size, time.time(), os.environ.get("USER", ""))
        notes = made.with_name(f"{made.name}.json")
        with storing(self.root):
            notes.write_text(json.dumps(asdict(about), indent=1), "utf-8")
            made.chmod(0o644 & ~_umask())
            with made.open("rb") as file:
                os.fsync(file.fileno())
            notes.replace(target.with_name(f"{target.name}.json"))
            made.replace(target)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A work folder beside the images, gone at the end."""
        with storing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=f"{_WORK}{os.getuid()}-{name}-", dir=self.root))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """One maker of a file at a time. A file system without locks has none: then two make it, each whole."""
        path = self.root / f".lock-{name}"
        with storing(self.root):
            descriptor = _open_lock(path)
        with suppress(OSError):
            os.utime(descriptor)  # or `left_over` may take it for an old one
        # Locks of files are a process's: two threads of one would both have it.
        here = _THREADS.setdefault(str(path), threading.Lock())
        told = here.locked()
        if told:
            waiting()
        try:
            with here:
                try:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    if not told:
                        waiting()
                    fcntl.lockf(descriptor, fcntl.LOCK_EX)
                except OSError:
                    pass  # ENOLCK, ENOSYS: no locks on this file system
                yield
        finally:
            os.close(descriptor)

    def images(self) -> list[Kept]:
        """What is there, oldest first; a file whose notes are lost or damaged is described by itself."""
        try:
            there = [entry for entry in self.root.iterdir() if not entry.name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.root} cannot be read: {error.strerror}", hint=f"see: ls -ld {self.root}") from None
        files = [entry for entry in there if entry.suffix in _SUFFIXES.values() and entry.is_file()]
        return sorted(map(_described, files), key=lambda kept: (kept.pulled, kept.path))

    def left_over(self, before: float) -> list[Path]:
        """Work folders and locks of pulls that nobody has touched since `before` (Unix seconds)."""
        if not self.root.is_dir():
            return []
        found = [entry for entry in self.root.iterdir() if entry.name.startswith((_WORK, ".lock-"))]
        return sorted(entry for entry in found if entry.stat().st_mtime < before)

    def remove(self, path: Path) -> None:
        """Remove an image with its notes, or what a pull left.

        Raises:
            StoreError: it cannot be removed.
        """
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
                path.with_name(f"{path.name}.json").unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"{error.filename or path} cannot be removed: {error.strerror}", hint=f"see: ls -ld {self.root} {path}"
            ) from None


def suffix(form: str) -> str:
    """How the name of a `sif` or `squashfs` file ends."""
    return _SUFFIXES[form]


def _open_lock(path: Path) -> int:
    """A lock that everyone may take, whatever the umask of its maker."""
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        # Without O_CREAT, which Linux refuses for a file of somebody else in a sticky folder (fs.protected_regular).
        return os.open(path, flags)
    except FileNotFoundError:
        mask = os.umask(0)
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return os.open(path, flags)
        finally:
            os.umask(mask)


def _described(path: Path) -> Kept:
    status = path.stat()
    try:
        notes = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))
        source, digest, by = (str(notes[key]) for key in ("source", "digest", "by"))
        return Kept(str(path), source, digest, status.st_size, float(notes["pulled"]), by)
    except (OSError, ValueError, KeyError, TypeError):
        return Kept(str(path), "", "", status.st_size, status.st_mtime)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
