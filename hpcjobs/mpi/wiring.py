"""What a decision means for the script: folders to show, variables, words around the program, the guard. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hpcjobs.errors import PlanError
from hpcjobs.model import Canary
from hpcjobs.mpi import canary, decide, netstack
from hpcjobs.mpi.facts import interface
from hpcjobs.mpi.netstack import LINKS, Mount, NetStack
from hpcjobs.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcjobs.model import MpiPlan
    from hpcjobs.mpi.decide import Decision, Option, Question
    from hpcjobs.mpi.facts import HostMpi, MpiHost, MpiImage

# What a relocated Open MPI tells its ranks about its own place, which is not that of the one in an image.
_PLACES = ("OPAL_PREFIX", "PMIX_PREFIX", "PMIX_INSTALL_PREFIX", "PMIX_PARAM_FILE_PASSED", "PRTE_PREFIX")
# A launcher in the container must not take itself for one of the batch system, whose tools are not there.
_FORGET = (
    'unset "${!SLURM@}" "${!PMI@}" "${!PBS@}" "${!PALS@}" "${!OMPI@}" "${!OPAL@}" "${!PRTE@}" "${!HYDRA@}"; exec "$@"'
)
# How each product names itself in MPI_Get_library_version, whatever version it is.
_WORDS = {
    "MPICH": "*MPICH*", "Intel MPI": "*Intel*MPI*", "Open MPI": "*Open MPI*v", "MVAPICH": "*MVAPICH*",
    "Cray MPICH": "*CRAY MPICH*",
}  # fmt: skip
_FAMILIES = {"mpich": "MPICH", "openmpi": "OMPI"}
# Against what user namespaces forbid: Open MPI's copies from one rank to another, UCX's files of shared memory.
_NO_CMA = {"OMPI_MCA_btl_vader_single_copy_mechanism": "none", "OMPI_MCA_smsc": "^cma"}
# Its long messages take CMA, which must be left out too, unless somebody has chosen otherwise.
_NO_LINK = {"UCX_POSIX_USE_PROC_LINK": "n", "UCX_TLS": Shell('"${UCX_TLS:-^cma}"')}


@dataclass(frozen=True)
class Wiring:
    """Everything that a decision changes in a job."""

    mounts: tuple[Mount, ...] = ()  # of the folder of links, its source is not known yet: empty
    env: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()  # words before the runtime's
    program: tuple[str, ...] = ()  # words before the program's, inside
    stack: NetStack | None = None
    folder: str = LINKS  # where the folder of links and canary is in the container
    guard: Canary | None = None
    unguarded: str = ""  # why there is no guard
    warnings: tuple[str, ...] = ()


# Five minutes, since MPI on thousands of nodes takes one to start.
_RUN = """
# hpcjob_canary SEEN TASKS NODES PATTERN PLANNED PROVEN COMMAND...
# Run the canary by COMMAND and judge it: what it wrote stays in SEEN.out and SEEN.err, and if all is well, the file
# PROVEN (unless that is empty) tells the jobs to come.
hpcjob_canary() {
  local seen=$1 wrong
  timeout --kill-after=10 300 "${@:7}" >"$seen.out" 2>"$seen.err" </dev/null || true
  if ! wrong=$(hpcjob_judge "$seen.out" "$seen.err" "${@:2:4}"); then
    printf 'hpcjob: %s\\n' "$wrong" >&2
    exit 76
  fi
  [[ -z $6 ]] || touch "$6"
}
"""


def files(plan: MpiPlan) -> dict[str, bytes]:
    """The files of the folder that a plan's container sees, besides its links."""
    found = {}
    if plan.checks:
        found["check"] = netstack.check_script(plan.checks).encode()
    if one := plan.canary:
        found["judge"] = (canary.judge_text() + _RUN).encode()
        found["canary"] = canary.make(
            one.arch, one.soname, one.loader, family=one.family, rpath=one.rpath, runpath=one.runpath
        )
    return found


def key(plan: MpiPlan) -> str:
    """The same for the same folder."""
    told = {name: short_hash(data) for name, data in files(plan).items()}
    return short_hash(json.dumps([plan.links, told], sort_keys=True).encode())


def short_hash(data: bytes) -> str:
    """64 bits of a digest, in hexadecimal: enough to tell apart what one person's jobs need."""
    from hashlib import sha256  # loads a library of a megabyte

    return sha256(data).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What of site and job matters for the wiring."""

    spare: tuple[str, ...] | None = None  # folders of the image for binds; None where the runtime can make any
    data: tuple[str, ...] = ()  # what the host's network and launchers need at its own place
    shares: bool = False  # whether the ranks of a node share one container, or its namespaces
    ntasks: int = 1
    ntasks_per_node: int = 1
    gpu_library: str = ""  # that makes the MPI take GPU memory, if the job has GPUs: a path, or a name beside the MPI
    recipe: tuple[Mount, ...] = ()  # binds that the site documents
    env: Mapping[str, str] = field(default_factory=dict)  # that the site gives programs with the host's MPI
    wi4mpi: str = ""  # where it is installed
    library_path: str = ""  # LD_LIBRARY_PATH that the job asks for, in the place of the image's
    check: bool = True


def wire(decision: Decision, question: Question, around: Surroundings) -> Wiring:
    """The wiring.

    Raises:
        PlanError: the image has no place for what is to be shown.
    """
    chosen, image = decision.chosen, question.image
    if chosen.mode in ("bind", "translate") and chosen.host_mpi and question.host:
        made = _bound(chosen, chosen.host_mpi, question.host, question, around)
    elif chosen.mode == "container":
        made = Wiring(before=("bash", "-c", _FORGET, "hpcjob"), program=_inside(image, around.ntasks))
    elif chosen.mode == "hybrid":
        made = Wiring(env=_apart(image, around), before=_scrubbed(question), folder=_links(around.spare))
    else:
        made = Wiring(folder=_links(around.spare))
    made = _with_data(made, question, chosen, around)
    if not around.check or around.ntasks == 1:
        return made
    guard, why = _guard(decision, question)
    if guard and not made.folder:
        guard, why = None, "the image has no folder (/mnt/1) in which the container could see it"
    mounts = made.mounts or ((Mount("", made.folder),) if guard else ())
    return replace(made, guard=guard, unguarded=why, mounts=mounts)


def _links(spare: Sequence[str] | None) -> str:
    """Where the folder of links and canary is inside; empty if it has no place."""
    return LINKS if spare is None else next(iter(spare), "")


# What ranks that are wired up by PMIx, Cray's PMI or PALS talk to: the batch system's own.
_TALKED_TO = ("/var/spool/slurm", "/run/munge", "/var/run/munge", "/run/palsd", "/var/run/palsd", "/etc/pals")


def _with_data(made: Wiring, question: Question, chosen: Option, around: Surroundings) -> Wiring:
    """With what the host's library reads at fixed places, and what ranks talk to, if they do.

    Not more: a node that lacks what nobody asks for is no reason to stop a job.
    """
    found = decide.launcher(question)
    talks = chosen.type.startswith(("pmix", "cray")) or (found is not None and found.flavour == "pals")
    bound = chosen.mode in ("bind", "translate")
    shown = tuple(each for each in around.data if (talks if each.startswith(_TALKED_TO) else bound))
    if not shown:
        return made
    stack = made.stack or NetStack()
    return replace(
        made,
        mounts=(*made.mounts, *(Mount(each, each) for each in shown)),
        stack=replace(stack, needed=(*stack.needed, *shown)),
    )


def _bound(chosen: Option, mpi: HostMpi, host: MpiHost, question: Question, around: Surroundings) -> Wiring:
    if around.recipe:
        return _by_recipe(mpi, question, around)
    gpu_library, doubt = _gpu_library(mpi, around)
    own = around.library_path or question.image.ld_library_path
    try:
        stack = netstack.build(
            mpi,
            host,
            question.image,
            spare=around.spare,
            preload=chosen.preload,
            gpu_preload=gpu_library,
            library_path=":".join(filter(None, (around.env.get("LD_LIBRARY_PATH"), own))),
            also=(around.wi4mpi,) if chosen.mode == "translate" else (),
        )
    except netstack.NoPlaceError:
        raise PlanError(
            f"the image has too few folders (/mnt/1 to /mnt/9) to show {mpi.product} {mpi.version} of the host",
            hint="make the image with a newer Charliecloud (0.38), use --runtime apptainer, or --mpi hybrid",
        ) from None
    env = {**_apart_bound(mpi, around), **stack.env}
    if gpu_library and mpi.family == "mpich":
        env["MPICH_GPU_SUPPORT_ENABLED"] = "1"
    if chosen.mode == "translate":
        env |= _translated(mpi, stack, around.wi4mpi)
    # Their path of libraries is part of the stack's already, which leads to the host's.
    env = _with_the_site_s(env, {name: value for name, value in around.env.items() if name != "LD_LIBRARY_PATH"})
    mounts = (Mount("", stack.folder), *stack.mounts)
    return Wiring(mounts=mounts, env=env, stack=stack, folder=stack.folder, warnings=doubt)


def _gpu_library(mpi: HostMpi, around: Surroundings) -> tuple[str, tuple[str, ...]]:
    """The path of the library that lets the host's MPI take GPU memory, and what is to be told if there is none."""
    name = around.gpu_library
    if not name or "/" in name:
        return name, ()
    if mpi.family != "mpich":  # of Cray's: Open MPI has what it needs in itself
        return "", ()
    path = mpi.gpu_libraries.get(name, "")
    if not path:
        seen = f"{name} (mpi.gpu_library) is not beside {mpi.product} {mpi.version} as hpcjob mpi host saw it"
        return "", (f"{seen}: MPI takes no GPU memory",)
    if not around.recipe or _covered(path, around.recipe):
        return (_shown_at(path, around.recipe), ())
    return "", (f"the site's recipe (mpi.bind): it does not bind {path}: MPI takes no GPU memory",)


def _with_the_site_s(env: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The variables, those of the site before hpcjob's own; what is loaded first is all of both."""
    both = {name: f"{env[name]}:{given[name]}" for name in ("LD_PRELOAD",) if name in env and name in given}
    return {**env, **given, **both}


def _translated(mpi: HostMpi, stack: NetStack, root: str) -> dict[str, str]:
    """The variables that the `wi4mpi` command sets (github.com/cea-hpc/wi4mpi, src/resources/bin/wi4mpi)."""
    to = "INTEL" if mpi.product == "Intel MPI" else _FAMILIES[mpi.family]
    source = "MPICH" if mpi.family == "openmpi" else "OMPI"
    place = _shown_at(root.rstrip("/"), stack.mounts)
    own = {each.role: f"{stack.folder}/front/{each.soname}" for each in mpi.interfaces if each.family == mpi.family}
    c, fortran = own.get("c", ""), own.get("fortran", own.get("c", ""))
    libexec = f"{place}/libexec/wi4mpi"
    gpu = stack.env.get("LD_PRELOAD", "")
    return {
        "WI4MPI_ROOT": place, "WI4MPI_FROM": source, "WI4MPI_TO": to,
        "WI4MPI_RUN_MPI_C_LIB": c, "WI4MPI_RUN_MPI_F_LIB": fortran,
        "WI4MPI_RUN_MPIIO_C_LIB": c, "WI4MPI_RUN_MPIIO_F_LIB": fortran,
        "LD_PRELOAD": ":".join(filter(None, (f"{libexec}/libwi4mpi_{source}_{to}.so:{c}:{fortran}", gpu))),
        "LD_LIBRARY_PATH": f"{libexec}/fakelib{source}:{libexec}/fakelibCXX:{stack.env['LD_LIBRARY_PATH']}",
    }  # fmt: skip


def _shown_at(path: str, mounts: Sequence[Mount]) -> str:
    """Where a folder of the host is inside."""
    held = max((each for each in mounts if _covered(path, (each,))), key=lambda each: len(each.source), default=None)
    return held.target + path[len(held.source) :] if held else path


# ------------------------------------------------------------------------------- the site's recipe


def _by_recipe(mpi: HostMpi, question: Question, around: Surroundings) -> Wiring:
    """The binds that the site documents, as they are, and what can be seen to be wrong with them."""
    stack = NetStack(
        mounts=around.recipe,
        env=dict(around.env),
        files=tuple(
            each for each in decide.libraries(question.host, mpi) if _covered(each.path, around.recipe)
        ) if question.host else (),
        needed=tuple(each.source for each in around.recipe if not each.expand),
    )  # fmt: skip
    warnings = tuple(f"the site's recipe (mpi.bind): {text}" for text in _doubts(mpi, question, around))
    folder = _links(around.spare)
    gpu_library, doubt = _gpu_library(mpi, around)
    env = _apart_bound(mpi, around)
    if gpu_library:
        env |= {"LD_PRELOAD": gpu_library, "MPICH_GPU_SUPPORT_ENABLED": "1"}
    return Wiring(
        mounts=(Mount("", folder), *around.recipe), env=_with_the_site_s(env, stack.env), stack=stack, folder=folder,
        warnings=(*warnings, *doubt),
    )  # fmt: skip


def _covered(path: str, mounts: Sequence[Mount]) -> bool:
    return any(path == each.source or path.startswith(f"{each.source.rstrip('/')}/") for each in mounts)


_LISTED = 4
# Folders of a system's own libraries, libc among them.
_SYSTEM = re.compile(r"/(?:usr/)?lib(?:32|64)?(?:/[\w-]+-linux-gnu)?/?")


def _doubts(mpi: HostMpi, question: Question, around: Surroundings) -> Iterator[str]:
    """What a recipe leaves out of what the host's MPI needs, and names that no bound library has."""
    image = question.image
    shown = {each.soname for each in mpi.interfaces if _covered(each.path, around.recipe)}
    shown |= {PurePosixPath(each.target).name for each in around.recipe}
    for soname in image.program.needed if image.program else ():
        if soname not in shown:
            yield f"nothing that it binds is called {soname}, so the program would keep the image's own MPI"
    path = around.env.get("LD_LIBRARY_PATH", "").split(":")
    for each in around.recipe:
        if each.target in path and _SYSTEM.fullmatch(each.source):
            yield f"LD_LIBRARY_PATH leads to {each.source} of the host, whose libc does not go with the image's loader"
    if image.program and image.program.rpath:
        yield "the program has a DT_RPATH, by which it finds the image's own MPI all the same"
    if "LD_LIBRARY_PATH" not in around.env:
        yield "it sets no LD_LIBRARY_PATH (mpi.env), so the image's own libraries come first"
    stack = netstack.build(mpi, question.host, image) if question.host else NetStack()
    front = {PurePosixPath(link).name for link in stack.links if link.startswith("front/")}
    lacking = [each.name for each in stack.files if each.name in front and not _covered(each.path, around.recipe)]
    if lacking:
        more = f" and {len(lacking) - _LISTED} more" if len(lacking) > _LISTED else ""
        yield f"it does not bind {', '.join(lacking[:_LISTED])}{more}, which {mpi.product} {mpi.version} needs"


# ------------------------------------------------------------------------- what helps in containers


def _scrubbed(question: Question) -> tuple[str, ...]:
    found = decide.launcher(question)
    by_launcher = found is not None and found.flavour in ("openmpi", "prrte")
    # A module of the host's Open MPI may set them too.
    if not by_launcher and decide.family(question.image) != "openmpi":
        return ()
    return ("env", *(word for name in _PLACES for word in ("-u", name)))


def _apart(image: MpiImage, around: Surroundings) -> dict[str, str]:
    """For ranks in user namespaces of their own, which may not open each other's memory by /proc.

    UCX's posix transport and cross-memory attach (CMA) need that; sysv does not (github.com/openucx/ucx/issues/4224).
    """
    if around.shares or around.ntasks_per_node == 1:
        return {}
    openmpi = _NO_CMA if any(each.product == "Open MPI" for each in image.mpis) else {}
    return {**openmpi} | (_NO_LINK if any(each.ucx for each in image.mpis) else {})


def _apart_bound(mpi: HostMpi, around: Surroundings) -> dict[str, str]:
    if around.shares or around.ntasks_per_node == 1:
        return {}
    openmpi = {**_NO_CMA} if mpi.family == "openmpi" else {}
    uses = any(PurePosixPath(path).name.startswith("libucp.") for path in mpi.libraries)
    return openmpi | (_NO_LINK if uses else {})


def _inside(image: MpiImage, ntasks: int) -> tuple[str, ...]:
    """The launcher in the image."""
    openmpi = decide.family(image) == "openmpi"
    options = ("--oversubscribe", "--bind-to", "none") if openmpi else ()
    return (image.mpirun or "mpirun", "-n", str(ntasks), *options)


# ------------------------------------------------------------------------------------------- guard


def _guard(decision: Decision, question: Question) -> tuple[Canary | None, str]:
    """The canary for the program's MPI; or why there is none."""
    chosen, image = decision.chosen, question.image
    if chosen.mode == "none":
        return None, ""
    if image.program and image.program.static:
        return None, "the program has its MPI inside (static), which nothing else can load"
    soname = _soname(question)
    if not soname:
        return None, "it is not known which MPI library the program loads"
    arch = image.arch or (question.host.arch if question.host else "")
    libc = (image.program.libc if image.program else "") or image.libc or "glibc"
    loader = canary.LOADERS.get((arch, libc))
    if not loader:
        return None, f"there is none for {arch or 'an unknown CPU'}"
    family = decide.family(image)
    rpath = ":".join(image.program.rpath) if image.program else ""
    own = next((each for each in image.mpis if each.family == family), None)
    # Where a RUNPATH of the program may lead; what stands in LD_LIBRARY_PATH comes before it.
    runpath = "" if rpath or not own else str(PurePosixPath(own.path).parent)
    product, number = _planned(decision, question)
    pattern = f"{_WORDS[product]}{number}*" if product in _WORDS and number else ""
    return Canary(arch, soname, loader, family, rpath, runpath, pattern, f"{product} {number}".strip()), ""


def _soname(question: Question) -> str:
    """The C library that the program asks for."""
    image = question.image
    for soname in image.program.needed if image.program else ():
        found = interface(soname)
        if found and found[1] == "c":
            return soname
    family = decide.family(image)
    return next((each.soname for each in image.mpis if each.family == family), "")


def _planned(decision: Decision, question: Question) -> tuple[str, str]:
    """The library that the ranks should say they run: product and version."""
    if decision.chosen.host_mpi and decision.chosen.mode in ("bind", "translate"):
        return decision.chosen.host_mpi.product, decision.chosen.host_mpi.version
    if decision.chosen.mode == "site":
        return "", ""
    family, soname = decide.family(question.image), _soname(question)
    fitting = {(each.product, each.version) for each in question.image.mpis if each.family == family}
    named = {
        (each.product, each.version) for each in question.image.mpis if (each.family, each.soname) == (family, soname)
    }
    # Of several, nobody knows here which one the loader finds.
    found = named or fitting
    return found.pop() if len(found) == 1 else ("", "")
