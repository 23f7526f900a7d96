"""Finds the program of a job in an image or in what is bound into it, and the MPI that it really links to."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.mpi import elf, facts, linking
from hpcjobs.mpi.facts import Program
from hpcjobs.mpi.linking import Links, Loaded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    from hpcjobs.mpi.elf import Elf
    from hpcjobs.mpi.facts import Family, ImageMpi
    from hpcjobs.mpi.linking import View

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?")
# Programs that start another one, or read one: what that is, their own file does not tell.
_RUNS_OTHERS = frozenset((
    "sh", "bash", "dash", "ash", "ksh", "zsh", "csh", "tcsh", "fish", "busybox", "timeout", "nice", "ionice", "nohup",
    "time", "stdbuf", "setsid", "numactl", "taskset", "hwloc-bind", "strace", "ltrace", "gdb", "valgrind", "perf",
    "nsys", "ncu", "rocprof", "xargs", "perl", "ruby", "lua", "node", "java", "julia", "R", "Rscript", "octave",
    "matlab", "conda", "micromamba", "mamba", "tini", "dumb-init", "su-exec", "gosu",
))  # fmt: skip
_EXTENSION = re.compile(r"MPI(?:\.[^/]*)?\.so")
# Of mpi4py 4.1's wheels, which have one for each ABI and choose when they start.
_CHOICE = re.compile(r"MPI\.(?:mpich|openmpi|mpiabi|impi)\b.*")
_PACKAGES = re.compile(r"(.*)/lib(?:64)?/python(\d[\d.]*t?)/(?:site|dist)-packages/mpi4py/([^/]+)")
_HOPS = 40


@dataclass(frozen=True, kw_only=True)
class ProgramName:
    """A job's command, and what decides which file it is."""

    command: tuple[str, ...]
    cwd: str = ""  # the host's working folder, which is bound at its own path unless there is `workdir`
    workdir: str = ""  # the container's, if it is another one
    binds: tuple[tuple[str, str], ...] = ()  # the host's path, the container's

    @property
    def all_binds(self) -> tuple[tuple[str, str], ...]:
        """With the working folder, which whatever the runtime is bound."""
        own = ((self.cwd, self.cwd),) if not self.workdir and self.cwd.strip("/") else ()
        return (*self.binds, *own)


@dataclass(frozen=True)
class Identified:
    """A program, its CPU, and what is to be said of it."""

    program: Program
    arch: str = ""
    notes: tuple[str, ...] = ()


def identify(
    view: View, name: ProgramName, environment: Mapping[str, str], mpis: Sequence[ImageMpi], arch: str = ""
) -> Identified:
    """What the job runs; `mpis` and `arch` are the image's.

    Raises:
        PlanError, UnreachableError: as of the files' `read_many`.
    """
    words, environment = unwrap(name.command, environment)
    if not words:
        return Identified(Program(path="", kind="missing"))
    base = name.workdir or name.cwd or "/"
    path = _locate(view, words[0], base, environment)
    if not path:
        return Identified(Program(path=words[0], where="image", kind="missing"))
    where: Literal["image", "host"] = "host" if view.host(path) else "image"
    real, data = view.real(path), view.data(path) or b""
    interpreter = _interpreter(data)
    python = path if _PYTHON.fullmatch(_base(words[0])) else ""
    if interpreter and _PYTHON.fullmatch(_base(interpreter)):
        python = _locate(view, interpreter, base, environment) or interpreter
    if python:
        return _python(view, python, environment, mpis, Program(path=real, where=where, kind="python"))
    # A wrapper that is a name of busybox is one too, by the name that it is called by.
    if not (read := view.elf(path)) or _base(words[0]) in _RUNS_OTHERS:
        return Identified(Program(path=real, where=where, kind="script"), read.arch if read else "")
    links = linking.follow(view, Loaded(_origin(view, path), read), _system(view, read, environment))
    program = _linked(view, [links], read, Program(path=real, where=where), mpis)
    if not links.needed:
        program = _inside(data, read, program)
    notes = (f"the program is for {read.arch}, the image for {arch}",) if arch and read.arch != arch else ()
    return Identified(program, read.arch, notes)


def unwrap(command: Sequence[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The words behind env(1), and the environment as it makes it."""
    words, made = list(command), dict(environment)
    while words and _base(words[0]) == "env":
        words = words[1:]
        while words and (words[0].startswith("-") or "=" in words[0]):
            word, words = words[0], words[1:]
            if word in ("-u", "--unset", "-C", "--chdir"):
                words = words[1:]
            elif word in ("-i", "-", "--ignore-environment"):
                made = {}
            elif not word.startswith("-"):
                key, _, made[key] = _assigned(word)
    return words, made


def _assigned(word: str) -> tuple[str, str, str]:
    return word.partition("=")


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _locate(view: View, word: str, folder: str, environment: Mapping[str, str]) -> str:
    """The container's path of a program; empty if there is none."""
    if "/" in word:
        path = os.path.join(folder, word)  # noqa: PTH118 - dots are the image's to resolve
        return path if view.data(path) is not None else ""
    paths = [f"{each}/{word}" for each in (environment.get("PATH") or _PATH).split(":") if each.startswith("/")]
    view.fetch(paths)
    return next((path for path in paths if view.data(path) is not None), "")


def _interpreter(data: bytes) -> str:
    """The word behind `#!` that says what reads a script: execve(2), env(1)."""
    if not data.startswith(b"#!"):
        return ""
    words = data[2:256].partition(b"\n")[0].decode(errors="surrogateescape").split()
    return next(iter(unwrap(words, {})[0]), "")


def _origin(view: View, path: str) -> str:
    """Where a program is by /proc/self/exe, which its $ORIGIN follows: links resolved, a path of the container."""
    return path if view.host(path) else view.files.resolve(path)


def _system(view: View, read: Elf, environment: Mapping[str, str]) -> linking.System:
    musl = "ld-musl" in read.interpreter
    return linking.system(view, read.arch, musl=musl, library_path=environment.get("LD_LIBRARY_PATH", ""))


def _linked(view: View, found: list[Links], main: Elf, program: Program, mpis: Sequence[ImageMpi]) -> Program:
    """What a program links to; of several ways to start it, any will do."""
    from dataclasses import replace

    needed = {soname: path for links in found for soname, path in links.needed.items()}
    families = {family for links in found if (family := _family(view, links))}
    if len(families) > 1:
        # It takes the one that is there.
        families &= {each.family for each in mpis}
    musl = "ld-musl" in main.interpreter
    return replace(
        program,
        needed=tuple(sorted(needed)),
        symbols=tuple(sorted({symbol for links in found for symbol in _symbols(links)})),
        rpath=tuple(dict.fromkeys(folder for links in found for folder in links.rpath)),
        family=families.pop() if len(families) == 1 else "",
        libc="musl" if musl else "glibc" if re.search(r"/ld-linux|/ld64", main.interpreter) else "",
        either=len(found) > 1,
    )


def _symbols(links: Links) -> set[str]:
    if not links.needed:
        return set()
    taken = {name for each in links.loaded for name in each.elf.undefined - each.elf.weak if facts.is_mpi_symbol(name)}
    # Names such as mpi_reduce_all may be the program's own.
    return taken - {name for each in links.loaded for name in each.elf.exports}


def _family(view: View, links: Links) -> Family | None:
    """Whose ABI it follows: by what it asks for, then by what it finds, then by names."""
    if any(name.startswith("ompi_mpi_") for each in links.loaded for name in each.elf.undefined) and links.needed:
        return "openmpi"
    for soname, path in sorted(links.needed.items()):
        read = view.elf(path) if path else None
        if read and "ompi_mpi_comm_world" in read.exports:
            return "openmpi"
        if named := facts.interface(soname):
            return named[0]
    return None


_STATIC = (b"MPI_Init\0", b"MPICH Version:", b"Open MPI v")


def _inside(data: bytes, read: Elf, program: Program) -> Program:
    """Whether a program that needs no MPI library has an MPI inside, and whose."""
    from dataclasses import replace

    if not any(mark in data for mark in _STATIC):
        return program
    if "MPI_Init" not in read.exports:
        try:
            names = elf.defined(io.BytesIO(data))
        except elf.NotElfError:
            names = frozenset()
        # One that was stripped of its names still can say its version.
        if "MPI_Init" not in names and (names or not any(mark in data for mark in _STATIC[1:])):
            return program
    family: Literal["", "mpich", "openmpi"] = (
        "openmpi" if b"Open MPI v" in data or b"ompi_mpi_" in data else "mpich" if b"MPICH" in data else ""
    )
    return replace(program, static=True, family=family)


# Python: what links to MPI is mpi4py's extension module.


def _python(
    view: View, python: str, environment: Mapping[str, str], mpis: Sequence[ImageMpi], program: Program
) -> Identified:
    main = view.elf(python)
    modules = sorted(_modules(view, python, environment))
    chosen = [path for path in modules if _CHOICE.fullmatch(_base(path))]
    # Of several that are not a choice, the first in sys.path is taken.
    modules = chosen or modules[:1]
    view.fetch(modules)
    found, start = list[Links](), Loaded(_origin(view, python), main) if main else None
    for path in modules:
        if read := view.elf(path):
            # Its libraries are looked for by its own folders, and by those of Python itself.
            where = _system(view, main or read, environment)
            found.append(linking.follow(view, Loaded(path, read, start), where))
    from dataclasses import replace

    if not found:
        libc = _linked(view, [], main, program, mpis).libc if main else ""
        return Identified(replace(program, libc=libc), main.arch if main else "")
    made = _linked(view, found, main or found[0].loaded[0].elf, program, mpis)
    return Identified(made, found[0].loaded[0].elf.arch)


def _modules(view: View, python: str, environment: Mapping[str, str]) -> Iterator[str]:
    """The files of mpi4py.MPI that this Python would import, by the folders that its site.py knows."""
    chain = _chain(view, python)
    prefixes = {os.path.dirname(os.path.dirname(path)) for path in chain}  # noqa: PTH120
    # Those of distributions look there too.
    prefixes |= {"/usr", "/usr/local"} if prefixes & {"", "/", "/usr"} else set()
    number = next((found[1] for path in chain if (found := re.fullmatch(r"\D+(\d+\.\d+)t?", _base(path)))), "")
    extra = [each.rstrip("/") for each in environment.get("PYTHONPATH", "").split(":") if each.startswith("/")]
    inside = {view.files.resolve(each): each for each in extra if not view.host(each)}
    for name in (*view.files.names, *_outside(view, prefixes, extra)):
        folder, _, base = name.rpartition("/")
        if not folder.endswith("/mpi4py") or not _EXTENSION.fullmatch(base):
            continue
        known = _PACKAGES.fullmatch(name)
        own = folder[: -len("/mpi4py")]
        if own in inside or own in extra or (known and known[1] in prefixes and _fits(known[2], base, number)):
            yield name


def _fits(packages: str, base: str, number: str) -> bool:
    """Whether a module is for Python `number`, by its folder (python3.11, or Debian's python3) and its name."""
    tag = re.search(r"\.(?:cpython-|pypy)(\d)(\d+)", base)
    if not number:
        return True
    return packages.rstrip("t") in (number, number.partition(".")[0]) and (not tag or f"{tag[1]}.{tag[2]}" == number)


def _chain(view: View, path: str) -> list[str]:
    """A program, and where its links lead to, one after the other; paths of the container."""
    found = [path]
    while len(found) < _HOPS:
        folder, _, name = path.rpartition("/")
        at = f"{view.files.resolve(folder).rstrip('/')}/{name}" if not view.host(path) else path
        target = view.target(at)
        if not target:
            return [*found, at]
        path = os.path.join(os.path.dirname(at), target)  # noqa: PTH118, PTH120
        found += [at, path]
    return found


def _outside(view: View, prefixes: set[str], extra: list[str]) -> Iterator[str]:
    """The files of mpi4py in folders that are bound; paths of the container."""
    folders = [(prefix, "lib*/python*/site-packages/mpi4py/MPI*.so") for prefix in sorted(prefixes)]
    for folder, pattern in (*folders, *((each, "mpi4py/MPI*.so") for each in extra)):
        if host := view.host(folder or "/"):
            try:
                yield from (f"{folder}{str(path)[len(host.rstrip('/')) :]}" for path in Path(host).glob(pattern))
            except OSError:
                continue
