"""The programs of a host that start ranks: whose each is, its version, and the kinds of wire-up that srun offers."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from hpcjobs.errors import UnreachableError
from hpcjobs.mpi.facts import HostLauncher

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcjobs.mpi.facts import Flavour, HostMpi
    from hpcjobs.mpi.tree import Tree
    from hpcjobs.process import Runner

# Seconds. `srun --mpi=list` reads Slurm's configuration, which may come over the network.
_TIMEOUT = 15.0
# On PATH, and those of the MPI that Debian's alternatives do not point at.
ON_PATH = re.compile(r"srun|mpirun|mpiexec|mpiexec\.hydra|(?:mpirun|mpiexec)\.(?:mpich|openmpi)")
# What `--version` of each says; the order matters: Intel's is a Hydra too.
_FLAVOURS: tuple[tuple[Flavour, re.Pattern[str]], ...] = (
    ("slurm", re.compile(r"^slurm(?:-wlm)? (\d[\w.-]*)", re.MULTILINE)),
    ("intel", re.compile(r"Intel\(R\) MPI Library\b.*?\bVersion (\d[\d.]*)", re.DOTALL)),
    ("hydra", re.compile(r"HYDRA build details:.*?Version:\s+(\d[\w.]*)", re.DOTALL)),
    ("openmpi", re.compile(r"\((?:Open MPI|OpenRTE)\) (\d[\w.]*)")),
    ("prrte", re.compile(r"(?:\(PRRTE\)|\bPRRTE\b|prterun).*?(\d+\.\d[\w.]*)", re.DOTALL)),
    ("pals", re.compile(r"^(?:mpiexec|PALS)\b.*?version:? (\d[\d.]*)", re.MULTILINE | re.IGNORECASE)),
)  # fmt: skip
_TYPE = re.compile(r"[a-z][a-z0-9_]*")
# Words of headings that are no kinds: "MPI types are...".
_NO_TYPES = frozenset({"list", "error", "fatal"})


def parse_version(text: str) -> tuple[Flavour, str]:
    """Whose a launcher is and its version, from what `--version` printed; both empty where that is not known."""
    for flavour, pattern in _FLAVOURS:
        if match := pattern.search(text):
            number = match[1].rstrip(".")
            # mpirun of Open MPI 5 is a mask of PRRTE's prterun.
            newer = flavour == "openmpi" and int(re.split(r"\D", number)[0]) >= 5  # noqa: PLR2004
            return ("prrte" if newer else flavour), number
    return "", ""


def parse_types(text: str) -> tuple[str, ...]:
    """The kinds of `srun --mpi=list`.

    Since 22.05 they stand one a line below "MPI plugin types are...", with "specific pmix plugin versions available:
    pmix_v4" below; before, each line was on stderr and began with "srun:".
    """
    found: list[str] = []
    listed = False
    for line in text.splitlines():
        words = re.sub(r"^srun: ", "", line).strip()
        if re.match(r"MPI (?:plugin )?types are", words):
            listed = True
        elif match := re.match(r"specific .* plugin versions available: (.*)", words):
            found += [word for word in re.split(r"[,\s]+", match[1]) if _TYPE.fullmatch(word)]
        elif listed and _TYPE.fullmatch(words) and words not in _NO_TYPES:
            found.append(words)
    return tuple(dict.fromkeys(found))


def parse_default(text: str) -> str:
    """MpiDefault of `scontrol show config`; slurm.conf(5)."""
    match = re.search(r"^MpiDefault\s*=\s*(\S+)", text, re.MULTILINE)
    return match[1] if match and match[1] != "(null)" else ""


def ask(
    runner: Runner, kind: str, command: str, environment: Mapping[str, str]
) -> tuple[HostLauncher | None, list[str]]:
    """A launcher by what it says of itself, and notes; None if it says nothing at all."""
    # Intel's mpirun is a script that starts the mpiexec.hydra of PATH.
    env = {**environment, "PATH": f"{posixpath.dirname(command)}:{environment.get('PATH', '')}"}
    text, notes = _output(runner, (command, "--version"), env)
    if text is None:
        return None, notes
    flavour, version = parse_version(text)
    if flavour != "slurm":
        notes += [] if flavour else [f"{command} --version does not say whose it is"]
        return HostLauncher(kind=kind, command=command, flavour=flavour, version=version), notes
    listed, more = _output(runner, (command, "--mpi=list"), env)
    types = parse_types(listed or "")
    if not types and not more:
        more = [f"{command} --mpi=list names no kind: {_short(listed or '')}"]
    # A kind whose library is missing is listed like the others; only a line besides says so.
    more += [line.strip() for line in (listed or "").splitlines() if types and line.startswith("srun: error:")]
    default = ""
    if types:
        configuration, _ = _output(runner, (f"{posixpath.dirname(command)}/scontrol", "show", "config"), env)
        default = parse_default(configuration or "")
    found = HostLauncher(kind=kind, command=command, flavour=flavour, version=version, types=types, default=default)
    return found, [*notes, *more]


def _output(runner: Runner, argv: Sequence[str], env: Mapping[str, str]) -> tuple[str | None, list[str]]:
    try:
        answer = runner(argv, timeout=_TIMEOUT, env=env)
    except UnreachableError as error:
        return None, [error.message]
    return f"{answer.out}\n{answer.err}", []


def _short(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no answer")[:200]


def candidates(
    tree: Tree, on_path: Iterable[str], prefixes: Iterable[str], named: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Kinds and commands to ask, each program once: those that the site names, PATH's, those of each prefix."""
    found: dict[tuple[str, str], str] = {}
    paths = [*on_path]
    for prefix in prefixes:
        names = ("mpiexec", "mpirun") if tree.executable(f"{prefix}/bin/mpiexec") else ("mpiexec.hydra", "mpirun")
        paths += [f"{prefix}/bin/{name}" for name in names]
    for kind, command in (*named, *((kind_of(path), path) for path in paths)):
        if tree.executable(command):
            found.setdefault((kind, _place(tree, command)), command)
    return [(kind, command) for (kind, _), command in found.items()]


def kind_of(command: str) -> str:
    """`mpiexec` of /usr/bin/mpiexec.hydra."""
    return posixpath.basename(command).partition(".")[0]


def _place(tree: Tree, command: str) -> str:
    # Open MPI's mpirun and mpiexec are one file, and so are Hydra's: which one does not matter for one kind.
    return tree.real(command)


def owner(tree: Tree, launcher: HostLauncher, mpis: Sequence[HostMpi]) -> str:
    """The name of the MPI that a launcher belongs to: it lies in its prefix, or is the system's of that family."""
    real = tree.real(launcher.command)
    inside = [mpi for mpi in mpis if mpi.prefix and real.startswith(f"{tree.real(mpi.prefix)}/")]
    if inside:
        return max(inside, key=lambda mpi: len(mpi.prefix)).name
    families = {"hydra": "mpich", "openmpi": "openmpi", "prrte": "openmpi"}
    wanted = families.get(launcher.flavour)
    if not wanted or not real.startswith("/usr/"):
        return ""
    fitting = [mpi for mpi in mpis if not mpi.prefix and mpi.family == wanted]
    return next((mpi.name for mpi in fitting if mpi.version == launcher.version), fitting[0].name if fitting else "")
