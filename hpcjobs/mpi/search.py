"""Where on a host an MPI may be: PATH, wrappers of compilers, known variables, modules, ld.so.cache, the site."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from hpcjobs import modules as module_system
from hpcjobs.errors import UnreachableError
from hpcjobs.mpi.facts import interface
from hpcjobs.shell import join

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcjobs.mpi.closure import Loader
    from hpcjobs.mpi.tree import Tree
    from hpcjobs.process import Completed, Runner

# Seconds.
_WRAPPER = 10.0
_MODULES = 40.0
_MOST_MODULES = 12
# Where below a prefix libraries of MPI are: Cray's for the common ABI first; oneAPI before 2021.11 has release/.
LIBRARY_FOLDERS = (
    "lib-abi-mpich", "lib", "lib64", "lib/release", "intel64/lib", "intel64/lib/release", "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
)  # fmt: skip
# That name a prefix: MPICH's, Intel's setvars.sh, Cray's, Open MPI's, EasyBuild's, Spack's and sites' modules.
_PREFIX_VARIABLES = (
    "CRAY_MPICH_DIR", "CRAY_MPICH_PREFIX", "MPICH_DIR", "I_MPI_ROOT", "OPENMPI_HOME", "OMPI_HOME", "OPAL_PREFIX",
    "MPI_HOME", "MPI_ROOT", "MPI_DIR", "MPIHOME", "MPICH_HOME", "MVAPICH2_HOME", "MVAPICH_HOME", "HPCX_MPI_DIR",
    "EBROOTOPENMPI", "EBROOTIMPI", "EBROOTMPICH", "EBROOTMVAPICH2", "OPENMPI_ROOT", "MPICH_ROOT",
)  # fmt: skip
_FOLDER_VARIABLES = ("CRAY_LD_LIBRARY_PATH", "LD_LIBRARY_PATH")
WRAPPERS = re.compile(r"mpi(?:i?cc|gcc|icx)(?:[._-][\w.-]+)?")
_PROGRAMS = re.compile(r"mpicc|mpiicc|mpiicx|mpiexec|mpirun")
# No sign of it is in a wrapper's words: -show only, and --showme where that is not known.
_SHOW = (("-show",), ("--showme",))
_A_LIBRARY = re.compile(r"lib(?:f?mpi|mpich)\w*\.so(?:\.[\d.]+)?")
_A_MODULE = re.compile(
    r"(?:^|/)(?:mpi|(?:[\w-]*-)?(?:mpich\d?|cray-mpich(?:-abi)?|openmpi\d?|open-?mpi|ompi|impi|intel-?mpi|intel-oneapi-mpi"
    r"|mvapich\d?|hpcx(?:-[\w-]+)?|psmpi|parastationmpi)(?:-[\w.]+)?)(?:/|$)",
    re.IGNORECASE,
)
_MARK = "hpcjob-module"


@dataclass(frozen=True)
class Lead:
    """Folders in which an MPI may be. `names` are what the linker is told (`mpich` of -lmpich); empty for any."""

    how: str
    folders: tuple[str, ...]
    names: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    library_path: tuple[str, ...] = ()  # LD_LIBRARY_PATH where it was found


@dataclass
class Found:
    """The C library of an MPI, by the file itself, and how it was found."""

    path: str
    how: list[str] = field(default_factory=list)
    modules: tuple[str, ...] = ()
    bare: bool = False  # whether it is there without any module
    folders: list[str] = field(default_factory=list)  # in which its links are
    library_path: tuple[str, ...] = ()


# ------------------------------------------------------------------------------- leads of an environment


def leads(tree: Tree, environment: Mapping[str, str]) -> Iterator[Lead]:
    """What PATH and the variables lead to; nothing is run."""
    library_path = split(environment.get("LD_LIBRARY_PATH", ""))
    for path, how in programs(tree, environment, _PROGRAMS):
        if prefix := _prefix_of(tree, path):
            yield Lead(how, below(prefix), library_path=library_path)
    for name in _PREFIX_VARIABLES:
        if prefix := environment.get(name, ""):
            yield Lead(f"${name}", below(prefix), library_path=library_path)
    for name in _FOLDER_VARIABLES:
        if folders := split(environment.get(name, "")):
            yield Lead(name, folders, library_path=library_path)


def split(text: str) -> tuple[str, ...]:
    """The folders of a variable such as PATH; those that are relative mean nothing here."""
    return tuple(dict.fromkeys(posixpath.normpath(part) for part in text.split(":") if part.startswith("/")))


def below(prefix: str) -> tuple[str, ...]:
    """Where libraries are below a prefix, and the folder itself: some name that."""
    prefix = posixpath.normpath(prefix)
    return (*(f"{prefix}/{folder}" for folder in LIBRARY_FOLDERS), prefix) if prefix.startswith("/") else ()


def _prefix_of(tree: Tree, program: str) -> str:
    # /usr/bin says nothing of where the library is: ld.so.cache does.
    prefix = posixpath.dirname(posixpath.dirname(tree.real(program)))
    return "" if prefix in ("/", "/usr", "/usr/local", "") else prefix


def programs(tree: Tree, environment: Mapping[str, str], pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Programs on PATH and how each was found in words; those that others hide come by their whole path."""
    seen: set[str] = set()
    for folder in dict.fromkeys(tree.real(folder) for folder in split(environment.get("PATH", ""))):
        for name in tree.names(folder):
            if pattern.fullmatch(name) and tree.executable(f"{folder}/{name}"):
                yield f"{folder}/{name}", f"{folder}/{name}" if name in seen else f"{name} on PATH"
                seen.add(name)


def show(runner: Runner, wrapper: str, how: str, environment: Mapping[str, str]) -> tuple[Lead | None, str]:
    """What a compiler wrapper links with, and what went wrong in words."""
    for option in _SHOW:
        try:
            answer = runner((wrapper, *option), timeout=_WRAPPER, env=environment)
        except UnreachableError as error:
            return None, error.message
        if answer.code == 0 and (lead := parse_show(answer.out, how)):
            return lead, ""
    return None, ""


def parse_show(text: str, how: str) -> Lead | None:
    """The folders and names in a wrapper's command line; None if it has none."""
    try:
        words = shlex.split(text.splitlines()[0] if text.strip() else "")
    except ValueError:
        return None
    flat = [part for word in words for part in (word[4:].split(",") if word.startswith("-Wl,") else [word])]
    folders = [word[2:] for word in flat if word.startswith("-L/")]
    folders += [after for word, after in pairwise(flat) if word in ("-rpath", "-R", "-L")]
    folders += [word.partition("=")[2] for word in flat if word.startswith(("-rpath=", "--rpath="))]
    names = [word[2:] for word in flat if re.fullmatch(r"-l(?:mpi|mpich)\w*", word)]
    names += [match[1] for word in flat if (match := re.fullmatch(r"/.*/lib((?:mpi|mpich)\w*)\.so(?:\.[\d.]+)?", word))]
    folders += [posixpath.dirname(word) for word in flat if re.fullmatch(r"/.*/lib(?:mpi|mpich)\w*\.so[\d.]*", word)]
    folders = [folder for folder in dict.fromkeys(folders) if folder.startswith("/")]
    return Lead(how, tuple(folders), tuple(dict.fromkeys(names))) if names else None


# ------------------------------------------------------------------------------------------ modules

_SHELL = ("bash", "--noprofile", "--norc", "-c")
_START = r"""
eval "$1" >/dev/null 2>&1
shift
if ! type module >/dev/null 2>&1; then
  for file in "$LMOD_PKG/init/bash" "$MODULESHOME/init/bash" /usr/share/lmod/lmod/init/bash \
    /usr/share/modules/init/bash /usr/share/Modules/init/bash; do
    [[ -r $file ]] && . "$file" >/dev/null 2>&1 && break
  done
fi
type module >/dev/null 2>&1 || exit 3
"""
# Lmod and the modules in Tcl list on stderr; `LMOD_PAGER` and `PAGER` would wait for a key.
_LIST = _START + 'eval "$1" >/dev/null 2>&1\nmodule -t avail 2>&1 </dev/null\n:'
_LOAD = (
    _START
    + rf"""
while (($#)); do
  ( eval "$2" </dev/null >/dev/null 2>&1 && printf '\0{_MARK}=%s\0' "$1" && env -0 )
  shift 2
done
:
"""
)


def modules(
    runner: Runner, environment: Mapping[str, str], init: str, wanted: Sequence[str]
) -> tuple[dict[tuple[str, ...], dict[str, str]], list[str]]:
    """The environment that each module that looks like an MPI makes, by its name, and notes.

    `wanted` is what the site loads, all at once; it comes first. Others are looked for where it says that modules are.
    Modules are functions of the shell: `init` is the line that defines them, where the environment does not bring them
    along.
    """
    loaded = module_system.brought(wanted)
    there = module_system.folders(wanted)
    asked = {loaded: _in_turn(wanted)} if loaded else {}
    try:
        answer = listed(runner, environment, init, there)
        if answer.code != 0 and not asked:
            return {}, []
        asked |= {(name,): _in_turn((*there, f"load {name}")) for name in likely(answer.out) if (name,) != loaded}
        if not asked:
            return {}, []
        pairs = [word for names, line in asked.items() for word in ("\n".join(names), line)]
        answer = runner((*_SHELL, _LOAD, "bash", init, *pairs), timeout=_MODULES, env=_without_pager(environment))
    except UnreachableError as error:
        return {}, [f"modules: {error.message}"]
    found = parse_environments(answer.out)
    return found, [f"module {' '.join(names)} does not load" for names in asked if names not in found]


def listed(runner: Runner, environment: Mapping[str, str], init: str = "", there: Sequence[str] = ()) -> Completed:
    """What `module -t avail` says, where `there` (`use` commands) has modules too; code 3 if there are no modules.

    Raises:
        UnreachableError: it took too long.
    """
    return runner((*_SHELL, _LIST, "bash", init, _in_turn(there)), timeout=_MODULES, env=_without_pager(environment))


def _without_pager(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, "LMOD_PAGER": "none", "MODULES_PAGER": "", "PAGER": "cat"}


def _in_turn(items: Sequence[str]) -> str:
    """A line of shell that does what the items say."""
    return " && ".join(join(command) for command in module_system.commands(items)) or ":"


def likely(text: str) -> list[str]:
    """The modules of `module -t avail` that look like an MPI: at most a dozen, the last version of each name first."""
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        name = re.sub(r"\s*[(<].*$", "", line.strip())
        plain = re.fullmatch(r"[\w.+][\w.+/-]*[\w.+-]", name, re.ASCII)
        if plain and _A_MODULE.search(name):
            names.setdefault(name.partition("/")[0], []).append(name)
    found: list[str] = []
    while len(found) < _MOST_MODULES and any(names.values()):
        found += [versions.pop() for versions in names.values() if versions]
    return list(dict.fromkeys(found))[:_MOST_MODULES]


def parse_environments(text: str) -> dict[tuple[str, ...], dict[str, str]]:
    """The environments that `env -0` printed, each behind the name of its modules."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    current: dict[str, str] = {}
    for entry in text.split("\0"):
        name, equals, value = entry.partition("=")
        if equals and name == _MARK:
            current = found.setdefault(tuple(value.split("\n")), {})
        elif equals:
            current[name] = value
    return found


def module_leads(
    tree: Tree, names: tuple[str, ...], environment: Mapping[str, str], base: Mapping[str, str]
) -> Iterator[Lead]:
    """What modules lead to that is not there without them."""
    before = {name: set(split(base.get(name, ""))) for name in ("PATH", *_FOLDER_VARIABLES)}
    own = {key: value for key, value in environment.items() if base.get(key) != value}
    for key, known in before.items():
        if key in own:
            own[key] = ":".join(part for part in split(own[key]) if part not in known)
    library_path = split(environment.get("LD_LIBRARY_PATH", ""))
    how = f"module {' '.join(names)}"
    for lead in leads(tree, own):
        yield Lead(how, lead.folders, lead.names, names, library_path)


# ------------------------------------------------------------------------------- from leads to libraries


def resolve(tree: Tree, loader: Loader, all_leads: Sequence[Lead]) -> list[Found]:
    """The C libraries of MPI that the leads lead to, and those of ld.so.cache, each file once."""
    found: dict[str, Found] = {}
    for lead in all_leads:
        for folder, path in _libraries(tree, loader, lead):
            _note(tree, found, path, folder, lead)
    for name, paths in loader.cache.items():
        if _is_c(name):
            for path in paths:
                lead = Lead("ld.so.cache", (posixpath.dirname(path),))
                if loader.find_at(path):
                    _note(tree, found, tree.real(path), lead.folders[0], lead)
    return list(found.values())


def _is_c(soname: str) -> bool:
    return (interface(soname) or ("", ""))[1] == "c"


def _libraries(tree: Tree, loader: Loader, lead: Lead) -> Iterator[tuple[str, str]]:
    folders = lead.folders or loader.system
    for folder in folders:
        for name in tree.names(folder):
            if not _A_LIBRARY.fullmatch(name):
                continue
            if lead.names and name.partition(".so")[0].removeprefix("lib") not in lead.names:
                continue
            path = tree.linked(f"{folder}/{name}")
            library = loader.find_at(path)
            if library and _is_c(library.soname or posixpath.basename(path)):
                # Wheels have copies where others have links.
                called = tree.real(f"{posixpath.dirname(path)}/{library.soname or name}")
                yield folder, called if tree.size(called) == tree.size(path) else path


def _note(tree: Tree, found: dict[str, Found], path: str, folder: str, lead: Lead) -> None:
    path = _for_common_abi(tree, path)
    each = found.setdefault(path, Found(path, modules=lead.modules, library_path=lead.library_path))
    if lead.how not in each.how:
        each.how.append(lead.how)
    if folder not in each.folders:
        each.folders.append(folder)
    each.bare |= not lead.modules
    if lead.modules and (not each.modules or len(lead.modules) < len(each.modules)):
        each.modules = lead.modules


def _for_common_abi(tree: Tree, path: str) -> str:
    """Cray's library for programs of other MPICHs, where it is beside the one for Cray's own compilers."""
    folder = posixpath.dirname(path)
    other = f"{posixpath.dirname(folder)}/lib-abi-mpich/libmpi.so.12"
    if posixpath.basename(folder) == "lib" and tree.is_file(other):
        return tree.real(other)
    return path
