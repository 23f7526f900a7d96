"""`hpcjob site init`: look at a machine that no site file describes, as far as it answers."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcjobs import schedulers
from hpcjobs.errors import HpcjobError, NotFoundError
from hpcjobs.model import RuntimeConfig, SchedulerConfig, Site
from hpcjobs.mpi import search
from hpcjobs.mpi_service import Mpi
from hpcjobs.seen import SeenMachine, SeenScheduler
from hpcjobs.site.detect import EVIDENCE, matches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.image_service import Telling
    from hpcjobs.mpi.facts import MpiHost
    from hpcjobs.process import Runner
    from hpcjobs.site import LoadedSite, Machine, Problem

Maker = Literal["none", "nvidia", "amd", "intel"]

# A program that only this scheduler's users have; Slurm's look-alike of TORQUE has qselect too, so Slurm comes first.
_SCHEDULERS = {"sbatch": "slurm", "qselect": "pbs"}
# Container runtimes, the one first that people should get where there are several.
_RUNTIMES = ("apptainer", "singularity", "charliecloud", "podman-hpc", "shifter", "sarus", "pyxis", "podman")
_OF_INTEREST = re.compile(
    r"(^|/)(apptainer|singularity[\w-]*|charliecloud|podman[\w-]*|shifter|sarus|enroot|"
    r"openmpi[\w-]*|mpich[\w-]*|cray-mpich[\w-]*|mvapich[\w-]*|intel-?(oneapi-)?mpi|impi|hpcx[\w-]*)(/|$)",
    re.IGNORECASE,
)
# Types of GPUs as sites name them: products first, since `a100_intel` may be an A100 beside Intel's processors. Of
# NVIDIA's models the short ones are listed: `b1`, `node1` and AMD's V620 are none of them. A number of a slice (MIG)
# stands before its memory: 1g.10gb.
_PATTERNS: tuple[tuple[Maker, str], ...] = (
    ("amd", r"mi\d{2,3}[ax]?(?![0-9a-z])|gfx\d|instinct|radeon"),
    ("intel", r"pvc(?![a-z])|max[-_ ]?1\d{3}|flex[-_ ]?1\d0|arc[-_ ]?[ab]\d|ponte"),
    (
        "nvidia",
        r"nvidia|tesla|titan|quadro|geforce|rtx|gtx|\dg\.\d+gb|g[abhv]\d00(?!\d)|[abhprv]\d00(?!\d)|"
        r"(a(2|1[06]|[34]0|[1-6][05]00)|h20|k[1248]0|l(2|4|[24]0)|m(4|[146]0)|p(4|6|40)|t4|[1-5]0[5-9]0)"
        r"(?![0-9])(?!_?[kmg]i?b)",
    ),
    ("amd", "amd"),
    ("intel", "intel"),
)
_MAKERS = [(maker, re.compile(rf"(?<![a-z0-9])({pattern})", re.IGNORECASE)) for maker, pattern in _PATTERNS]
_TOOLS: dict[str, Maker] = {"nvidia-smi": "nvidia", "rocm-smi": "amd", "amd-smi": "amd", "xpu-smi": "intel"}
# proc(5), mounts: file systems that nodes share.
_NETWORK = re.compile(
    r"lustre|gpfs|beegfs\w*|ceph(-fuse)?|weka\w*|nfs4?|panfs|orangefs|pvfs2|glusterfs|afs|dvs|daos|vast"
)
_SYSTEM = re.compile(r"/(proc|sys|dev|run|boot|etc|usr|var|opt|snap|tmp)(/|$)|/$")
_SCRATCH = ("SCRATCH", "WORK", "PSCRATCH", "SCRATCHDIR", "WORKDIR", "MYSCRATCH")


def look(runner: Runner, machine: Machine, *, name: str = "", telling: Telling) -> SeenMachine:
    """All that can be learnt here without running a job.

    Raises:
        NotFoundError: there is no scheduler here.
        UnreachableError, RefusedError: it does not answer.
    """
    program = next((program for program in _SCHEDULERS if machine.which(program)), "")
    if not program:
        raise NotFoundError(
            "there is no scheduler here: neither sbatch (Slurm) nor qselect (PBS) is on PATH",
            hint="run this on a login node; on a machine without one, the site `local` serves",
        )
    kind = _SCHEDULERS[program]
    telling.say(f"asking {kind}")
    seen = schedulers.get(kind, {"kind": kind}, runner).survey()
    site = Site(name=name or _name(seen, machine), scheduler=SchedulerConfig(kind=kind))
    telling.say("looking at the MPI of this machine")
    host, why = _mpi(site, runner, telling)
    modules = tuple(_modules(runner))
    maker, why_maker = gpu_maker(seen, machine)
    return SeenMachine(
        name=site.name,
        day=datetime.now(timezone.utc).date().isoformat(),
        host=machine.full_hostname,
        scheduler=seen,
        detect=_detection(seen, machine),
        gpu_kind=maker,
        gpu_why=why_maker,
        launchers=tuple(_launchers(kind, host)),
        runtimes=tuple(_runtimes(machine, runner, modules)),
        modules=modules,
        mpis=tuple(_words(host)) if host else (),
        mpi_types=next((each.types for each in host.launchers if each.kind == "srun"), ()) if host else (),
        folders=tuple(network_folders(_mounts())),
        scratch=next((name for name in _SCRATCH if machine.env.get(name, "").startswith("/")), ""),
        unanswered=(*seen.unanswered, *((why,) if why else ())),
    )


def _name(seen: SeenScheduler, machine: Machine) -> str:
    text = seen.cluster.partition(".")[0] or machine.hostname.partition(".")[0].rstrip("0123456789-")
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-") or "mine"


def _detection(seen: SeenScheduler, machine: Machine) -> dict[str, str]:
    """By the cluster's name, if a site file's `detect` will find it where it looks; else by the host's."""
    if seen.cluster and machine.cluster == seen.cluster:
        return {"cluster": _exactly(seen.cluster)}
    return {"hostname": re.sub(r"\d+", r"\\d+", _exactly(machine.full_hostname))}


def _exactly(text: str) -> str:
    """A regular expression that fits this text, as people would write it: a hyphen needs no backslash."""
    return re.escape(text).replace(r"\-", "-")


# ------------------------------------------------------------------------------------ runtimes, MPI


def _mpi(site: Site, runner: Runner, telling: Telling) -> tuple[MpiHost | None, str]:
    try:
        return Mpi(site, Path(f"{site.name}.yaml"), runner, telling).probe(), ""
    except HpcjobError as error:
        return None, f"the MPI of this machine: {error.message}"


def _words(host: MpiHost) -> Iterator[str]:
    for mpi in host.mpis:
        where = f" (module {' '.join(mpi.modules)})" if mpi.modules else f" in {mpi.prefix}" if mpi.prefix else ""
        yield f"{mpi.product} {mpi.version}{where}"


def _launchers(scheduler: str, host: MpiHost | None) -> Iterator[str]:
    """Kinds of launchers, the site's own first."""
    flavours = [each.flavour for each in host.launchers] if host else []
    if scheduler == "slurm":
        yield "srun"
    if "pals" in flavours:
        yield "pals"
    if "openmpi" in flavours or "prrte" in flavours:
        yield "mpirun"
    if "hydra" in flavours or "intel" in flavours:
        yield "mpiexec"


def _runtimes(machine: Machine, runner: Runner, modules: Sequence[str]) -> Iterator[tuple[RuntimeConfig, str]]:
    """Those on PATH, then those that a module brings."""
    kinds: set[str] = set()
    paths: set[str] = set()
    for kind in _RUNTIMES:
        path = machine.which(EVIDENCE.get(kind, kind))
        # Apptainer brings a `singularity` that is itself.
        if path and os.path.realpath(path) not in paths and (kind != "pyxis" or _takes_containers(runner)):
            kinds.add(kind)
            paths.add(os.path.realpath(path))
            yield RuntimeConfig(kind=kind), path
    for kind in _RUNTIMES:
        named = [name for name in modules if re.search(rf"(^|/){kind}(/|$)", name, re.IGNORECASE)]
        if named and kind not in kinds:
            yield RuntimeConfig(kind=kind, modules=(named[-1],)), "module avail"


def _takes_containers(runner: Runner) -> bool:
    """Whether srun has the options of Pyxis."""
    try:
        return "--container-image" in runner(("srun", "--help"), timeout=20).out
    except HpcjobError:
        return False


def _modules(runner: Runner) -> Iterator[str]:
    """The modules that have to do with containers and MPI."""
    try:
        answer = search.listed(runner, os.environ)
    except HpcjobError:
        return
    yield from modules_of_interest(answer.out)


def modules_of_interest(text: str) -> list[str]:
    """Those of `module -t avail` that have to do with containers and MPI, marks like (default) left out."""
    names = (re.sub(r"\s*[(<].*$", "", line.strip()) for line in text.splitlines())
    # What a tool complains of has spaces, and folders of modules end with a colon.
    named = (name for name in names if not name.endswith((":", "/")) and not name.startswith("-") and " " not in name)
    return list(dict.fromkeys(name for name in named if _OF_INTEREST.search(name)))


# ------------------------------------------------------------------------------------ GPUs, folders


def gpu_maker(seen: SeenScheduler, machine: Machine) -> tuple[Maker, str]:
    """Who made the GPUs, by the scheduler's name for them, or a tool that is here; and how that is known."""
    types = [part.node.gpu_type for part in seen.partitions.values() if part.node.gpus]
    types += [kind.node.gpu_type for kinds in seen.kinds.values() for kind in kinds if kind.node.gpus]
    if not types:
        return "none", ""
    for name in filter(None, types):
        for maker, pattern in _MAKERS:
            if pattern.search(name):
                return maker, f"as the scheduler calls them {name}"
    for tool, maker in _TOOLS.items():
        if machine.which(tool):
            return maker, f"as {tool} is here"
    return "none", "not known: write nvidia, amd or intel, or containers will not see them"


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text("utf-8", "replace")
    except OSError:
        return ""


def network_folders(mounts: str) -> list[tuple[str, str]]:
    """Where file systems of the network are mounted, and of which kind; one below another is left out."""
    found: dict[str, str] = {}
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) > 2 and _NETWORK.fullmatch(words[2].removeprefix("fuse.")) and not _SYSTEM.match(words[1]):  # noqa: PLR2004 - its third field is the kind
            # Blanks and backslashes are written in octal (fstab(5)).
            path = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])
            found.setdefault(path, words[2])
    tops = [path for path in found if not any(path.startswith(f"{other}/") for other in found)]
    return [(path, found[path]) for path in sorted(tops)]


def changes(runner: Runner, machine: Machine, loaded: LoadedSite) -> tuple[list[Problem], str]:
    """Where the site's file and the live scheduler differ; or why they were not compared."""
    from hpcjobs.site.drift import drift

    site = loaded.site
    program = next((program for program, kind in _SCHEDULERS.items() if kind == site.scheduler.kind), "")
    if site.retired:
        return [], f"it is retired {site.retired}"
    if not program:
        return [], f"{site.scheduler.kind} tells no limits"
    if not machine.which(program):
        return [], f"{program} is not here"
    if site.detect and (why := matches(site.detect, machine)):
        return [], f"this machine is not {site.name}: {why}"
    try:
        seen = schedulers.get(site.scheduler.kind, asdict(site.scheduler), runner).survey()
    except HpcjobError as error:
        return [], error.message
    return [finding.at(loaded.layers.place(finding.loc)) for finding in drift(site, seen)], ""
