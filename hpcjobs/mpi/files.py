"""Reads files out of images that nobody runs: folders, SIF and squashfs by unsquashfs(1); and through a runtime.

An image is foreign: its links are followed inside of it only, by hand; what it calls a library may be huge, a pipe, or
not there at all. Nothing of it is executed, except the shell that `RuntimeFiles` has to ask.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from hpcjobs.errors import HpcjobError, PlanError
from hpcjobs.images import facts, sif

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from hpcjobs.process import Runner

MOST = 256 << 20
"""Bytes of the largest file that is read; MPI libraries with all their fabrics inside have 50 to 80 MB."""
_MOST_AT_ONCE = 512 << 20
# Seconds. Listing 50,000 files takes 0.2.
_TIMEOUT = 120.0
_HOPS = 40  # Linux's own limit of symbolic links in one path (path_resolution(7))
# Libraries, programs, and what tells the loader where libraries are: ld.so(8); musl: ldso/dynlink.c.
_WORTH = (
    r"(?:/(?:[^\n]*/)?(?:[^/\n]*\.so(?:\.[^/\n]*)?|s?bin/[^/\n]+)"
    r"|/etc/ld\.so\.conf(?:\.d/[^/\n]+)?|/etc/ld-musl-[^/\n]+\.path|/(?:usr/)?lib/apk/db/installed)"
)
_WORTH_PATH = re.compile(_WORTH)
# `-rwxr-xr-x 0/0    555 2026-11-21 07:27 /bin/sh` and `lrwxrwxrwx 0/0  7 2026-11-21 07:27 /bin -> usr/bin`:
# unsquashfs(1), -lln.
_LISTED = re.compile(rf"^-\S{{9}} \S+ +(\d+) \S+ \S+ ({_WORTH})$", re.MULTILINE)
_LINKED = re.compile(r"^l\S{9} \S+ +\d+ \S+ \S+ (/.*) -> (.*)$", re.MULTILINE)
# unsquashfs takes patterns (fnmatch(3)) and options: names that could be one are not asked for.
_PLAIN = re.compile(r"/(?!-)[\w./+@:=,~% -]+", re.ASCII)
# Folders of an unpacked image in which no library is, and which may be large or not files at all.
_SKIPPED = frozenset((
    "proc", "sys", "dev", "run", "tmp", "share", "include", "src", "doc", "man", "locale", "__pycache__",
))  # fmt: skip
# NVIDIA's HPC SDK has its MPI ten folders deep.
_DEPTH = 12
_MANY = 300_000


class Files(Protocol):
    """Files of an image. Paths are absolute, as in the container."""

    notes: list[str]
    """What could not be seen, in words."""

    @property
    def names(self) -> Collection[str]:
        """The files that are worth knowing, links left out: libraries, programs, the loader's configuration."""

    @property
    def links(self) -> Mapping[str, str]:
        """The links that are known, and their targets as they are written."""

    def target(self, path: str) -> str:
        """What a link is written to lead to; empty if the path is none. Folders of the path are no links."""

    def resolve(self, path: str) -> str:
        """Where `path` leads to through the image's links, never out of the image; it may not exist."""

    def has(self, path: str) -> bool:
        """Whether a library is there, links followed."""

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """What is in those files, by the path that was asked for; what is no file, or too large, is left out."""


class _Linked:
    """Follows links."""

    notes: list[str]

    @property
    def names(self) -> Collection[str]:
        """The files that are worth knowing."""
        raise NotImplementedError

    def has(self, path: str) -> bool:
        """Whether a library is there, links followed."""
        return self.resolve(path) in self.names

    def target(self, path: str) -> str:
        """What a link is written to lead to; empty if the path is none. Folders of the path are no links."""
        raise NotImplementedError

    def resolve(self, path: str) -> str:
        """Where `path` leads to through the image's links, as in path_resolution(7) with the image as root."""
        ahead, done, hops = path.split("/")[::-1], list[str](), 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            target = self.target("/" + "/".join([*done, part]))
            if target and hops >= _HOPS:
                return "/"  # a loop leads to no file
            if target:
                hops += 1
                done = [] if target.startswith("/") else done
                ahead += target.split("/")[::-1]
            else:
                done.append(part)
        return "/" + "/".join(done)


class NoFiles(_Linked):
    """An image into which nobody can look; `notes` says why."""

    def __init__(self, *notes: str) -> None:
        self.notes = list(notes)
        self.links: Mapping[str, str] = {}

    @property
    def names(self) -> Collection[str]:
        """None."""
        return ()

    def target(self, path: str) -> str:
        """The target of a link."""
        return self.links.get(path, "")

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Nothing."""
        del paths
        return {}


class FolderFiles(_Linked):
    """An unpacked image in the folder `root`; with `/`, and without asking for names, the host itself."""

    def __init__(self, root: str | Path) -> None:
        self.notes = list[str]()
        self._root = os.path.abspath(root)  # noqa: PTH100 - the person's own links in front of it are kept
        self._known: dict[str, str] = {}
        self._walked: set[str] | None = None

    @property
    def names(self) -> Collection[str]:
        """Every worthwhile file, the upper ones first."""
        if self._walked is None:
            self._walked = set(self._walk())
        return self._walked

    @property
    def links(self) -> Mapping[str, str]:
        """Those that were met."""
        _ = self.names
        return {path: target for path, target in self._known.items() if target}

    def target(self, path: str) -> str:
        """The target of a link."""
        if path not in self._known:
            try:
                self._known[path] = os.readlink(self._root + path)  # noqa: PTH115
            except (OSError, ValueError):
                self._known[path] = ""
        return self._known[path]

    def _walk(self) -> Iterator[str]:
        ahead, seen = deque([("", 0)]), 0
        while ahead and seen < _MANY:
            folder, depth = ahead.popleft()
            for entry in self._entries(folder):
                seen += 1
                name = f"{folder}/{entry.name}"
                if entry.is_symlink():
                    self.target(name)
                elif entry.is_dir(follow_symlinks=False):
                    if depth < _DEPTH and entry.name not in _SKIPPED:
                        ahead.append((name, depth + 1))
                elif _WORTH_PATH.fullmatch(name) and entry.is_file(follow_symlinks=False):
                    yield name
        if ahead:
            self.notes.append(f"only the first {_MANY} names of the folder were looked at")

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root + folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError:  # a folder that this user may not read has nothing that the job could read
            return []

    def has(self, path: str) -> bool:
        """Whether a library is there, also in a folder whose names were not looked at."""
        try:
            return stat.S_ISREG(os.lstat(self._root + self.resolve(path)).st_mode)
        except (OSError, ValueError):
            return False

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """What is in those files."""
        found = {path: self._read(self.resolve(path)) for path in paths}
        return {path: data for path, data in found.items() if data is not None}

    def _read(self, path: str) -> bytes | None:
        try:
            with open(self._open(path), "rb") as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or status.st_size > MOST:
                    return None
                return file.read(MOST)
        except (OSError, ValueError):
            return None

    def _open(self, path: str) -> int:
        """Open it one folder after the other: whoever puts links there meanwhile leads nobody out of the image."""
        at = os.open(self._root, os.O_PATH | os.O_DIRECTORY)
        *folders, name = path.strip("/").split("/")
        for folder in folders:
            try:
                into = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            finally:
                os.close(at)
            at = into
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=at)
        finally:
            os.close(at)


class SquashFiles(_Linked):
    """The squashfs at `offset` bytes of a file: listed once, then one `unsquashfs` for each round of files.

    Raises:
        PlanError: the listing failed; says what unsquashfs said.
        UnreachableError: there is no unsquashfs, or it did not end in time.
    """

    def __init__(self, path: str | Path, offset: int, runner: Runner) -> None:
        self.notes = list[str]()
        # -lln, since -ll looks up the owner of every file by name, which takes four times as long.
        self._source = ("-o", str(offset), os.path.abspath(path))  # noqa: PTH100
        self._runner = runner
        listed = runner(("unsquashfs", "-lln", "-n", "-d", "", *self._source), timeout=_TIMEOUT)
        if listed.code:
            raise PlanError(
                listed.err.strip().partition("\n")[0] or f"unsquashfs ended with {listed.code}",
                hint="is the image whole? compare: sha256sum; is squashfs-tools 4.4 or newer here? unsquashfs -version",
            )
        self._text = listed.out
        self._sizes = {name: int(size) for size, name in _LISTED.findall(listed.out)}
        self.links: Mapping[str, str] = dict(_LINKED.findall(listed.out))

    @property
    def names(self) -> Collection[str]:
        """Every worthwhile file."""
        return self._sizes.keys()

    def target(self, path: str) -> str:
        """The target of a link."""
        return self.links.get(path, "")

    def _size(self, path: str) -> int | None:
        if path not in self._sizes:
            # Programs may lie anywhere, and few are asked for.
            row = re.search(rf"^-\S{{9}} \S+ +(\d+) \S+ \S+ {re.escape(path)}$", self._text, re.MULTILINE)
            if not row:
                return None
            self._sizes[path] = int(row[1])
        return self._sizes[path]

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """What is in those files; files that an image has more of than a temporary folder takes are left out."""
        from tempfile import TemporaryDirectory

        asked = {path: self.resolve(path) for path in paths}
        wanted, room = list[str](), _MOST_AT_ONCE
        for path in dict.fromkeys(asked.values()):
            size = self._size(path) if _PLAIN.fullmatch(path) else None
            if size is not None and size <= min(MOST, room):
                wanted.append(path)
                room -= size
        if not wanted:  # without a name it would take out everything
            return {}
        try:
            # An image may hold folders that cannot be removed.
            with TemporaryDirectory(prefix="hpcjob-", ignore_cleanup_errors=True) as folder:
                root = os.path.join(folder, "root")  # noqa: PTH118
                # Unlike -cat (4.5), this is one call, and RHEL 9 has it. What it could not take out is missing in
                # what is read, so that its exit code says nothing more.
                names = [path[1:] for path in wanted]
                self._runner(("unsquashfs", "-n", "-no-xattrs", "-d", root, *self._source, *names), timeout=_TIMEOUT)
                found = FolderFiles(root).read_many(wanted) if os.path.isdir(root) else {}  # noqa: PTH112
        except OSError as error:
            raise PlanError(
                f"the image cannot be looked into: no temporary folder: {error.strerror}", hint="try: export TMPDIR=…"
            ) from None
        return {path: found[real] for path, real in asked.items() if real in found}


# Prints the names that are worth knowing, one a line, and links as `ls -l` does. POSIX sh; GNU's find or busybox'.
_LIST = r"""
l() { ls -ld "$1" 2>/dev/null || printf 'l- %s -> %s\n' "$1" "$(readlink "$1")"; }
if find / -prune >/dev/null 2>&1; then
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /run \) -prune -o \
    -type f \( -name '*.so' -o -name '*.so.*' -o -path '*bin/*' -o -path '/etc/ld*' -o -path '/*lib/apk/db/*' \) \
    -print -o -type l -exec ls -ld {} + 2>/dev/null
else
  for d in /lib /lib64 /usr/lib /usr/lib64 /usr/local/lib /usr/local/lib64 /lib/*-linux-* /usr/lib/*-linux-* \
      /usr/lib/*/openmpi* /usr/lib64/*/lib /opt/*/lib /opt/*/*/lib /usr/local/*/lib \
      /bin /usr/bin /usr/local/bin /opt/*/bin /etc/ld.so.conf.d; do
    [ -d "$d" ] && [ ! -h "$d" ] && for f in "$d"/*; do
      if [ -h "$f" ]; then l "$f"; elif [ -f "$f" ]; then printf '%s\n' "$f"; fi
    done
  done
  for f in /bin /lib /lib64 /usr/lib64 /usr/bin; do [ -h "$f" ] && l "$f"; done
  for f in /etc/ld*.conf /etc/ld*.path /lib/apk/db/installed; do [ -f "$f" ] && printf '%s\n' "$f"; done
fi
echo '# done'
"""
# Prints each file behind its number. $1 is the largest size in bytes. A link to a busybox that was built without that
# command is found by `command -v` all the same, so that each one is tried.
_READ = r"""
most=$1; shift; n=0
h() { hexdump -v -e '1/1 "%02x"'; }
if base64 </dev/null >/dev/null 2>&1; then how='base64'
elif od -An -v -tx1 </dev/null >/dev/null 2>&1; then how='od -An -v -tx1'
elif h </dev/null >/dev/null 2>&1; then how=h
elif xxd -p </dev/null >/dev/null 2>&1; then how='xxd -p'
else echo 'it has no base64, od, hexdump or xxd' >&2; exit 3
fi
for f; do
  if [ -f "$f" ] && [ -r "$f" ] && [ "$(wc -c <"$f" || echo 0)" -le "$most" ]; then
    echo "@ $n"
    [ "$how" = base64 ] || echo x
    $how <"$f"
  fi
  n=$((n+1))
done
echo '@ done'
"""
_SHOWN = re.compile(r"^l\S+ [^/\n]*(/[^\n]*?) -> ([^\n]*)$", re.MULTILINE)
_AT_ONCE = 100


class RuntimeFiles(_Linked):
    """An image that only a container runtime has: `argv_prefix` is a command that runs a program in it.

    Raises:
        PlanError: the image has no shell, or the runtime does not run it; says what it said.
        UnreachableError: there is no such runtime, or it did not end in time.
    """

    def __init__(self, argv_prefix: Iterable[str], runner: Runner) -> None:
        self.notes = list[str]()
        self._prefix = tuple(argv_prefix)
        self._runner = runner
        listed = self._ask(_LIST)
        self._names = {name for name in listed.splitlines() if _WORTH_PATH.fullmatch(name)}
        self.links: Mapping[str, str] = dict(_SHOWN.findall(listed))

    @property
    def names(self) -> Collection[str]:
        """Every worthwhile file."""
        return self._names

    def _ask(self, script: str, *args: str) -> str:
        done = self._runner((*self._prefix, "sh", "-c", script, "sh", *args), timeout=_TIMEOUT)
        if done.out.rstrip().endswith(" done"):
            return done.out
        said = done.err.strip().rpartition("\n")[2] or f"{self._prefix[0]} ended with {done.code}"
        raise PlanError(
            f"the image cannot be looked into: {said}",
            hint="it takes a shell in the image; try it: " + " ".join([*self._prefix, "sh", "-c", "true"]),
        )

    def target(self, path: str) -> str:
        """The target of a link."""
        return self.links.get(path, "")

    def read_many(self, paths: Iterable[str]) -> dict[str, bytes]:
        """What is in those files."""
        asked = [path for path in dict.fromkeys(paths) if "\0" not in path]
        found = dict[str, bytes]()
        for start in range(0, len(asked), _AT_ONCE):
            some = asked[start : start + _AT_ONCE]
            parts = self._ask(_READ, str(MOST), *map(self.resolve, some)).split("@ ")
            for number, _, text in (part.partition("\n") for part in parts):
                if number.isdecimal() and int(number) < len(some) and (data := _decoded(text)) is not None:
                    found[some[int(number)]] = data
        return found


def _decoded(text: str) -> bytes | None:
    from base64 import b64decode

    try:
        return bytes.fromhex(text[2:]) if text.startswith("x\n") else b64decode(text)
    except ValueError:  # the shell was ended in between
        return None


@contextmanager
def open_files(image: str, runner: Runner) -> Iterator[Files]:
    """The files of an image that is a SIF, a squashfs file or a folder.

    An image that is encrypted, or of another file system, has none, and a note says so; so has one that
    `unsquashfs` does not read, or for which there is none here.

    Raises:
        NotFoundError: there is no such file.
        PlanError: it cannot be read, is no image, or is a name in a registry.
    """
    kind = facts.inspect(image).kind
    if kind == "directory":
        yield FolderFiles(image)
    elif kind in ("sif", "squashfs"):
        yield _squash(image, runner, sif.read(image).primary if kind == "sif" else None, is_sif=kind == "sif")
    else:
        raise PlanError(f"{image or 'an empty name'} is no file here", hint="pull it first: hpcjob image pull")


def _squash(image: str, runner: Runner, primary: sif.Descriptor | None, *, is_sif: bool) -> Files:
    if is_sif and not primary:
        return NoFiles("the image has no partition with an operating system: its contents are not seen")
    if primary and primary.filesystem != "squashfs":
        return NoFiles(f"the image's file system is {primary.filesystem}: its contents are not seen")
    try:
        return SquashFiles(image, primary.offset if primary else 0, runner)
    except HpcjobError as error:
        return NoFiles(
            f"the contents are not seen: {error.message}; it takes unsquashfs of squashfs-tools 4.4 or newer"
        )
