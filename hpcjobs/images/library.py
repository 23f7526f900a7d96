"""The folder of pulled images: what is in it, under which name, and how it gets there whole.

A file's name holds the beginning of its digest, so that a name never stands for two images. Beside each lies
`NAME.json`, which says where it came from, and `.used-NAME`, whose age tells when it was used last. What is being made
lies in `.pull-USER-NAME`, and is moved to its name when it is whole; a pull that was cut short is continued there.

People who share a folder trust each other: whoever may write there may put anything under any name.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import StoreError
from hpcjobs.images.storing import storing

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
            return self._used(target, digest)
        with storing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with self._lock(name, waiting) as alone:
            if target.is_file():
                return self._used(target, digest)
            work = self.root / f"{_WORK}{os.getuid()}-{name}"
            if not alone:
                work = work.with_name(f"{work.name}-{os.uname().nodename}-{os.getpid()}")
            with storing(self.root):
                work.mkdir(mode=0o700, exist_ok=True)
                os.utime(work)  # or `left_over` may take it for an old one
            # What a killed pull has started may still write to the name it was given.
            made = work / str(os.getpid()) / name
            with storing(self.root):
                made.parent.mkdir(exist_ok=True)
            make(work, made)
            self._keep(made, target, source, digest)
        shutil.rmtree(work, ignore_errors=True)
        return self._used(target, digest)

    def _used(self, target: Path, digest: str) -> Path:
        """The image, marked as used now.

        Raises:
            StoreError: it is another image, or was not put there by hpcjobs.
        """
        known = _described(target)
        if known is None or known.digest != digest:
            raise StoreError(
                f"{target} is in the way: it is not the image {digest[:19]}…, or was not pulled by hpcjob",
                hint=f"remove it with its notes, then try again: rm {target} {target}.json",
            )
        with suppress(OSError):  # it then looks unused to `prune`, which is for who can write here
            descriptor = _open_lock(self._mark(target))
            os.utime(descriptor)
            os.close(descriptor)
        return target

    def _mark(self, path: Path) -> Path:
        return path.with_name(f".used-{path.name}")

    def last_used(self, kept: Kept) -> float:
        """When it was pulled, or used by a submission since (Unix seconds)."""
        try:
            return max(kept.pulled, self._mark(Path(kept.path)).stat().st_mtime)
        except OSError:
            return kept.pulled

    def _keep(self, made: Path, target: Path, source: str, digest: str) -> None:
        size = made.stat().st_size
        about = Kept(str(target), source, digest, size, time.time(), _user())
        notes = made.with_name(f"{made.name}.json")
        with storing(self.root):
            notes.write_text(json.dumps(asdict(about), indent=1), "utf-8")
            # Who may look into the folder may run what is in it, whatever the umask of who pulled it.
            made.chmod(0o600 | stat.S_IMODE(self.root.stat().st_mode) & 0o044)
            notes.chmod(made.stat().st_mode & 0o777)
            with made.open("rb") as file:
                os.fsync(file.fileno())
            notes.replace(target.with_name(f"{target.name}.json"))
            made.replace(target)

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A work folder beside the images, gone at the end."""
        from tempfile import mkdtemp

        with storing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            work = Path(mkdtemp(prefix=f"{_WORK}{os.getuid()}-{name}-", dir=self.root))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str, waiting: Callable[[], None]) -> Iterator[bool]:
        """One maker of a file at a time; False on a file system without locks, where there may be others."""
        alone = True
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
                    alone = False  # ENOLCK, ENOSYS: no locks on this file system
                yield alone
        finally:
            os.close(descriptor)

    def images(self) -> list[Kept]:
        """What was pulled to there, oldest first; files that hpcjobs did not make are none of its business."""
        try:
            there = [entry for entry in self.root.iterdir() if not entry.name.startswith(".")]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self.root} cannot be read: {error.strerror}", hint=f"see: ls -ld {self.root}") from None
        files = [entry for entry in there if entry.suffix in _SUFFIXES.values() and entry.is_file()]
        return sorted(filter(None, map(_described, files)), key=lambda kept: (kept.pulled, kept.path))

    def left_over(self, before: float) -> list[Path]:
        """Work folders and locks of pulls that nobody has touched since `before` (Unix seconds)."""
        if not self.root.is_dir():
            return []
        found = [entry for entry in self.root.iterdir() if entry.name.startswith((_WORK, ".lock-"))]
        found += [entry for entry in self.root.glob(".used-*") if not self.place(entry.name[len(".used-") :]).exists()]
        return sorted(entry for entry in found if _changed(entry) < before)

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
                self._mark(path).unlink(missing_ok=True)
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


def _described(path: Path) -> Kept | None:
    """What the notes say of a file; None if there are none, or damaged ones."""
    try:
        size = path.stat().st_size
        notes = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))
        source, digest, by = (str(notes[key]) for key in ("source", "digest", "by"))
        return Kept(str(path), source, digest, size, float(notes["pulled"]), by)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _changed(path: Path) -> float:
    """When it was changed last; what has gone meanwhile is as if it were new."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
