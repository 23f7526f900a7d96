"""Finds the libraries that a program in a container would load, without starting it: ld.so(8); musl: ldso/dynlink.c."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hpcjobs.mpi import elf, facts
from hpcjobs.mpi.files import FolderFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcjobs.mpi.elf import Elf
    from hpcjobs.mpi.files import Files

TRIPLETS = {
    "x86_64": "x86_64-linux-gnu", "aarch64": "aarch64-linux-gnu", "ppc64le": "powerpc64le-linux-gnu",
    "riscv64": "riscv64-linux-gnu", "s390x": "s390x-linux-gnu", "i686": "i386-linux-gnu",
    "armv7l": "arm-linux-gnueabihf", "loongarch64": "loongarch64-linux-gnu",
}  # fmt: skip
# GPUs' own libraries: large, many, and none of them needs an MPI.
_ASIDE = re.compile(
    r"lib(?:cuda|cudart|cublas(?:Lt)?|cufft\w*|curand|cusolver\w*|cusparse\w*|cudnn\w*|cupti|nvrtc[\w-]*|nvJitLink"
    r"|nvToolsExt|nvidia-[\w-]+|npp\w+|amdhip64|hsa-runtime64|roc(?:blas|fft|solver|sparse|rand)|hip\w+|MIOpen)\.so.*"
)
# Whoever has none of these in its bytes has no MPI symbol.
_MARKS = (b"MPI_", b"MPIX_", b"mpi_", b"mpix_", b"mpifcmb", b"MPIR_F")
# More than any program loads: the 3000 libraries of a large MPI program in a loop of nonsense end here.
_MOST_LIBRARIES = 2000


class View:
    """A container's files: those of the image, and of the host's folders that are bound over them."""

    def __init__(self, files: Files, binds: Sequence[tuple[str, str]] = ()) -> None:
        """`binds` are folders or files: the host's path, then the container's."""
        self.files = files
        # The longest one that fits is the one that is seen.
        self._binds = sorted(((_clean(there), host) for host, there in binds), key=lambda bind: -len(bind[0]))
        self._host = FolderFiles("/")
        self._data: dict[str, bytes | None] = {}
        self._elves: dict[str, Elf | None] = {}

    def host(self, path: str) -> str:
        """Where `path` of the container is on the host; empty if it is the image's."""
        path = _clean(path)
        for there, host in self._binds:
            if path == there or path.startswith(there.rstrip("/") + "/"):
                return _clean(host + path[len(there.rstrip("/")) :])
        return ""

    def has(self, path: str) -> bool:
        """Whether a library is there."""
        if host := self.host(path):
            return self._host.has(host)
        return self.files.has(path)

    def real(self, path: str) -> str:
        """The file itself: a path of the host if it is bound, else of the image."""
        host = self.host(path)
        return self._host.resolve(host) if host else self.files.resolve(path)

    def target(self, path: str) -> str:
        """What a link is written to lead to; empty if it is none. Folders of the path are no links."""
        host = self.host(path)
        return self._host.target(host) if host else self.files.target(path)

    def fetch(self, paths: Iterable[str]) -> None:
        """Read files ahead, all in one go."""
        new = [path for path in dict.fromkeys(paths) if path not in self._data]
        hosts = {path: host for path in new if (host := self.host(path))}
        inside = self.files.read_many(path for path in new if path not in hosts)
        outside = self._host.read_many(hosts.values())
        for path in new:
            self._data[path] = outside.get(hosts[path]) if path in hosts else inside.get(path)

    def data(self, path: str) -> bytes | None:
        """What is in a file; None if it cannot be read."""
        self.fetch((path,))
        return self._data[path]

    def elf(self, path: str) -> Elf | None:
        """The program or library; None if it is none. Symbols are read where MPI is spoken of."""
        if path not in self._elves:
            data = self.data(path)
            self._elves[path] = _parsed(data) if data is not None else None
        return self._elves[path]

    def forget(self, path: str) -> None:
        """Keep no longer what was in a file."""
        if self._data.get(path):
            self._data[path] = b""


def _clean(path: str) -> str:
    return os.path.normpath("/" + path.lstrip("/"))


def _parsed(data: bytes) -> Elf | None:
    if not data.startswith(b"\x7fELF"):
        return None
    try:
        return elf.read(io.BytesIO(data), symbols=any(mark in data for mark in _MARKS))
    except elf.NotElfError:
        return None


@dataclass(frozen=True)
class Loaded:
    """A program or library as the loader has it: `path` is the container's, as it was found, links and all."""

    path: str
    elf: Elf
    loader: Loaded | None = None  # who needs it

    @property
    def origin(self) -> str:
        """$ORIGIN."""
        return self.path.rpartition("/")[0] or "/"


@dataclass
class Links:
    """What a program loads. MPI's interface libraries are found, and what only they need is not followed."""

    loaded: list[Loaded] = field(default_factory=list)  # the program first; no MPI library
    needed: dict[str, str] = field(default_factory=dict)  # SONAMEs of MPI: the container's path, empty if not found
    rpath: list[str] = field(default_factory=list)  # folders of DT_RPATH in which one of them was found


@dataclass(frozen=True)
class System:
    """Where the loader of an image looks, apart from what a program says itself."""

    arch: str
    musl: bool
    library_path: tuple[str, ...] = ()  # LD_LIBRARY_PATH
    folders: tuple[str, ...] = ()  # configured ones, then its own

    def expand(self, folder: str, origin: str) -> Iterator[str]:
        """The folders that one with $ORIGIN, $LIB and $PLATFORM in it stands for."""
        folder = re.sub(r"\$(?:ORIGIN|\{ORIGIN\})", lambda _: origin, folder)
        folder = re.sub(r"\$(?:PLATFORM|\{PLATFORM\})", lambda _: self.arch, folder)
        if re.search(r"\$(?:LIB|\{LIB\})", folder):
            # What it is was decided when glibc was compiled.
            for lib in ("lib64", f"lib/{TRIPLETS.get(self.arch, 'none')}", "lib"):
                yield re.sub(r"\$(?:LIB|\{LIB\})", lib, folder)
        else:
            yield folder


def system(view: View, arch: str, *, musl: bool, library_path: str) -> System:
    """How the loader of the image is configured; its files are best fetched before."""
    own = [folder for folder in library_path.replace(";", ":").split(":") if folder]
    if musl:
        name = next((name for name in view.files.names if re.fullmatch(r"/etc/ld-musl-[^/]+\.path", name)), "")
        text = (view.data(name) or b"").decode(errors="surrogateescape") if name else ""
        return System(arch, musl, tuple(own), tuple(re.split(r"[:\n]+", text.strip())) if text.strip() else (
            "/lib", "/usr/local/lib", "/usr/lib",
        ))  # fmt: skip
    triplet = TRIPLETS.get(arch, "none")
    # The first ones are Debian's, whose loader has them built in.
    builtin = (f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
    return System(arch, musl, tuple(own), (*dict.fromkeys(_configured(view, "/etc/ld.so.conf")), *builtin))


def configuration(files: Files) -> list[str]:
    """The files that `system` reads."""
    return [name for name in files.names if re.fullmatch(r"/etc/(?:ld\.so\.conf(?:\.d/[^/]+)?|ld-musl-[^/]+)", name)]


def _configured(view: View, path: str, depth: int = 0) -> Iterator[str]:
    """The folders of a configuration file of ldconfig(8), and of those that it includes."""
    text = (view.data(path) or b"").decode(errors="surrogateescape") if depth < 5 else ""  # noqa: PLR2004 - a loop
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        if line.startswith("include"):
            for pattern in line.split()[1:]:
                pattern = pattern if pattern.startswith("/") else f"/etc/{pattern}"  # noqa: PLW2901
                for name in sorted(name for name in view.files.names if fnmatchcase(name, pattern)):
                    yield from _configured(view, name, depth + 1)
        elif line.startswith("/"):
            yield re.split(r"[=\s]", line)[0]


def follow(view: View, start: Loaded, where: System) -> Links:
    """All that a program loads, breadth first, as the loader does: a SONAME that is there is not looked for again."""
    found, known = Links([start]), set[str]()
    level = [start]
    while level and len(known) < _MOST_LIBRARIES:
        wanted: dict[str, Loaded] = {}
        for each in level:
            for soname in each.elf.needed:
                if soname not in known and "/" not in soname:
                    known.add(soname)
                    wanted[soname] = each
        level = _load(view, wanted, where, found)
        found.loaded += level
    return found


def _load(view: View, wanted: dict[str, Loaded], where: System, found: Links) -> list[Loaded]:
    """One round of libraries; those of MPI are only noted."""
    ahead: dict[str, list[tuple[str, str]]] = {}
    for soname, loader in wanted.items():
        if facts.interface(soname):
            found.needed[soname] = ""
        if not facts.is_libc(soname) and not _ASIDE.fullmatch(soname):
            ahead[soname] = [each for each in _candidates(soname, loader, where) if view.has(each[0])]
    view.fetch(places[0][0] for places in ahead.values() if places)
    level = []
    for soname, places in ahead.items():
        # A library for another CPU is passed over.
        for path, trap in places:
            read = view.elf(path)
            if not read or read.arch != where.arch:
                continue
            if facts.interface(soname):
                found.needed[soname] = path
                if trap and _clean(trap) not in found.rpath:
                    found.rpath.append(_clean(trap))
            else:
                view.forget(path)
                level.append(Loaded(path, read, wanted[soname]))
            break
    return level


def _candidates(soname: str, loader: Loaded, where: System) -> Iterator[tuple[str, str]]:
    """The paths at which a library is looked for, in order, each with the folder of DT_RPATH that it is in."""
    if where.musl:
        for folder in where.library_path:
            yield f"{folder}/{soname}", ""
        for folder in _inherited(loader, where, musl=True):
            yield f"{folder}/{soname}", ""
    else:
        if not loader.elf.runpath:
            for folder in _inherited(loader, where, musl=False):
                yield f"{folder}/{soname}", folder
        for written in (*where.library_path, *loader.elf.runpath):
            for folder in where.expand(written, loader.origin):
                yield f"{folder}/{soname}", ""
    for folder in where.folders:
        yield f"{folder}/{soname}", ""


def _inherited(loader: Loaded | None, where: System, *, musl: bool) -> Iterator[str]:
    """The folders of DT_RPATH of a library and of those that loaded it; musl has DT_RUNPATH do the same."""
    while loader:
        folders = loader.elf.runpath if musl and loader.elf.runpath else loader.elf.rpath
        if musl or not loader.elf.runpath:
            for written in folders:
                yield from where.expand(written, loader.origin)
        loader = loader.loader
