"""From a request, a site and what is known of host and image to how MPI runs in the job. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from hpcjobs import capabilities, modules
from hpcjobs.containers import parse_bind
from hpcjobs.errors import PlanError
from hpcjobs.model import Bind, MpiPlan, Note
from hpcjobs.mpi import decide, netstack, wiring
from hpcjobs.mpi.netstack import Mount
from hpcjobs.mpi.wiring import Surroundings, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hpcjobs.model import ImageFacts, JobSpec, LauncherConfig, Runtime, RuntimeConfig, Shape, Site
    from hpcjobs.mpi.decide import Decision, Question
    from hpcjobs.mpi.facts import MpiHost, MpiImage

# Runtimes that have an option of their own for the host's MPI.
WITH_OPTION = ("shifter", "sarus", "podman-hpc")
# Those that cannot show a file or folder at any place.
_PARTICULAR = ("shifter", "sarus")
# Ways in which ranks find each other: what they share on a node matters.
_TOGETHER = ("bind", "hybrid", "site", "translate")


@dataclass(frozen=True)
class Known:
    """What was found out about MPI for one job."""

    image: MpiImage
    host: MpiHost | None = None
    folder: str = ""  # where folders of links are kept, absolute
    proven: frozenset[str] = frozenset()  # names of files in it that say what was seen to work


@dataclass(frozen=True)
class Settled:
    """How MPI runs in a job."""

    plan: MpiPlan = field(default_factory=MpiPlan)
    wiring: Wiring = field(default_factory=Wiring)
    notes: tuple[Note, ...] = ()

    @property
    def together(self) -> bool:
        """Whether the program's ranks are one MPI job, that goes through the launcher."""
        return self.plan.mode in _TOGETHER

    def merged(self, env: dict[str, str]) -> dict[str, str]:
        """The program's variables and those of MPI; the job's own win, but for a path of libraries, which holds it."""
        own = {name: value for name, value in env.items() if name != "LD_LIBRARY_PATH"}
        both = "LD_PRELOAD" in self.plan.env and "LD_PRELOAD" in own
        preload = {"LD_PRELOAD": f"{self.plan.env['LD_PRELOAD']}:{own['LD_PRELOAD']}"} if both else {}
        path = {name: env[name] for name in ("LD_LIBRARY_PATH",) if name in env and name not in self.plan.env}
        return {**self.plan.env, **own, **preload, **path}


@dataclass(frozen=True)
class Job:
    """What of a job decides how MPI runs in it."""

    spec: JobSpec
    site: Site
    image: ImageFacts
    runtime: Runtime
    launcher: LauncherConfig
    shape: Shape
    even: bool  # whether each node is sure to get as many ranks


def runtime_option(site: Site, runtime: RuntimeConfig, *, gpus: bool) -> str:
    """The option of the runtime that brings the host's MPI; empty where the site names none."""
    if runtime.kind not in WITH_OPTION:
        return ""
    return (runtime.mpi_gpu_option if gpus else "") or runtime.mpi_option or site.mpi.runtime_option


def understanding(config: LauncherConfig, host: MpiHost) -> LauncherConfig:
    """The launcher as the site says it, or by its path where its name alone would start another MPI's."""
    kinds = [each for each in host.launchers if each.kind == config.kind]
    fitting = decide.understanding(kinds)
    if config.command or not fitting or fitting[0] is kinds[0]:
        return config
    return replace(config, command=fitting[0].command)


def question(job: Job, known: Known) -> Question:
    """What is to be decided for a job."""
    site = job.site
    # With a launcher in the image, the other ways are those of the site's own.
    launcher = site.launcher if job.spec.mpi == "container" else job.launcher
    own = launcher.kind == site.launcher.kind
    return decide.Question(
        image=known.image,
        host=known.host,
        runtime=job.runtime.name,
        launcher=launcher.kind,
        command=launcher.command,
        types=site.mpi.types if launcher.kind == "srun" else (),
        launchers=(site.launcher.kind, *(each.kind for each in site.launchers)),
        default=site.mpi.default if own else "",
        nodes=job.shape.nodes,
        ntasks=job.shape.ntasks,
        prefer=site.mpi.prefer,
        host_mpi=site.mpi.host,
        modules=modules.brought((*site.modules, *job.runtime.config.modules, *job.spec.modules)),
        flag=runtime_option(site, job.runtime.config, gpus=job.shape.gpus_per_node > 0),
        wi4mpi=bool(site.mpi.wi4mpi),
        can_mount="bind" in capabilities.TABLE.get(job.runtime.name, {"bind": ""}),
    )


def offered(job: Job, known: Known) -> tuple[str, ...]:
    """The kinds of MPI that the launcher offers, as far as that is known (srun --mpi=list)."""
    return decide.offered(question(job, known))


def decided(job: Job, known: Known) -> Decision:
    """The way that the table chooses, or that was asked for."""
    asked, wanted = question(job, known), job.spec.mpi
    return decide.decide(asked) if wanted == "auto" else decide.override(asked, wanted)


def settle(job: Job, known: Known) -> Settled:
    """Decide, and wire.

    Raises:
        PlanError: no way is open: the ranks would not find each other.
    """
    decision = decided(job, known)
    if not decision.chosen.open:
        raise refusal(decision)
    if decision.family and known.image.program:
        chosen = decide.one_of(known.image.program, decision.family)
        known = replace(known, image=replace(known.image, program=chosen))
    asked, site, shape = question(job, known), job.site, job.shape
    around = Surroundings(
        spare=_spare(job),
        data=known.host.data if known.host and _spare(job) is None and job.runtime.name not in _PARTICULAR else (),
        shares=_shares(job),
        ntasks=shape.ntasks,
        ntasks_per_node=shape.ntasks_per_node,
        gpu_library=site.mpi.gpu_library if shape.gpus_per_node else "",
        recipe=tuple(_recipe(site)),
        env=site.mpi.env,
        wi4mpi=site.mpi.wi4mpi,
        library_path=job.spec.env.get("LD_LIBRARY_PATH", ""),
        check=(job.spec.mpi_check or site.mpi.check) != "never" and decision.chosen.mode in _TOGETHER,
    )
    wired = wiring.wire(decision, asked, around)
    plan = _plan(decision, asked, wired)
    plan = _placed(plan, wired, known, _proof(plan, job, known))
    return Settled(plan, wired, tuple(_notes(plan, wired)))


def refusal(decision: Decision) -> PlanError:
    """Why no way is open, each by name, and what would open one."""
    ways = "".join(f"\n  {each.mode + ':':<11}{_not_taken(each)}" for each in decision.others)
    hint = "; or ".join(decision.advice) or "run it on one rank: -n 1"
    return PlanError(f"{decision.chosen.why}{ways}", hint=hint)


def _spare(job: Job) -> tuple[str, ...] | None:
    places: Callable[[ImageFacts], tuple[str, ...] | None] = getattr(job.runtime, "spare", lambda _: None)
    return places(job.image)


def _shares(job: Job) -> bool:
    # A runtime for which its version decides says so itself.
    row = capabilities.TABLE.get(job.runtime.name, {})
    can: bool = getattr(job.runtime, "shares", "shared" in row)
    return can and (job.even or job.runtime.name != "charliecloud")


def _recipe(site: Site) -> Iterator[Mount]:
    for text in site.mpi.bind:
        bind = parse_bind(text, expand=True)
        yield Mount(bind.source, bind.target, bind.readonly, expand="$" in bind.source + bind.target)


def _plan(decision: Decision, asked: Question, wired: Wiring) -> MpiPlan:
    chosen = decision.chosen
    stack = wired.stack
    return MpiPlan(
        mode=chosen.mode,
        type=chosen.type if asked.launcher == "srun" else "",
        why=chosen.why,
        alone=chosen.alone,
        host=chosen.host_mpi.name if chosen.host_mpi else "",
        others={each.mode: _not_taken(each) for each in decision.others},
        advice=decision.advice,
        warnings=(*decision.warnings, *wired.warnings, *_not_found(asked)),
        links=dict(stack.links) if stack else {},
        checks=netstack.checks(stack) if stack else (),
        env=dict(wired.env),
        canary=wired.guard,
    )


def _not_taken(option: decide.Option) -> str:
    return f"it would work too: {option.why}" if option.open else option.why


def _not_found(asked: Question) -> Iterator[str]:
    program = asked.image.program
    if program and program.kind == "missing":
        yield f"{program.path} is not found in the image or in what is shown there: planned by the image's own MPI"


def _proof(plan: MpiPlan, job: Job, known: Known) -> str:
    """The name of the file that says that this way was seen to work; empty where an image may change unseen."""
    if not job.image.digest or (job.spec.mpi_check or job.site.mpi.check) == "always":
        return ""
    told = [
        job.image.digest, job.site.name, plan.mode, plan.type, plan.host, plan.links, plan.checks, plan.env,
        asdict(job.runtime.config), asdict(job.launcher), plan.canary and plan.canary.soname,
        known.image.program and known.image.program.path, job.site.modules, job.spec.modules, job.shape.nodes > 1,
        job.shape.ntasks_per_node > 1, question(job, known).flag,
    ]  # fmt: skip
    return f"proven-{wiring.short_hash(json.dumps(told, sort_keys=True).encode())}"


def _placed(plan: MpiPlan, wired: Wiring, known: Known, proof: str) -> MpiPlan:
    """With its folder, unless nothing is needed of one; what was seen to work is not looked at again."""
    if plan.canary and proof in known.proven:
        plan = replace(plan, canary=None)
    mounts = wired.mounts if plan.canary or plan.links or plan.checks else ()
    folder = f"{known.folder}/{wiring.key(plan)}" if plan.canary or plan.links or plan.checks else ""
    shown = [each for each in mounts if each.source or plan.canary or plan.links]
    return replace(
        plan,
        folder=folder,
        binds=tuple(Bind(each.source or folder, each.target, each.readonly, each.expand) for each in shown),
        proven=f"{known.folder}/{proof}" if plan.canary and proof else "",
    )


def _notes(plan: MpiPlan, wired: Wiring) -> Iterator[Note]:
    kind = f" ({plan.type})" if plan.type else ""
    yield Note("mpi", f"{plan.mode}{kind}", plan.why)
    for text in plan.warnings:
        yield Note("warning", text, "")
    if wired.unguarded:
        yield Note("check", "the ranks are not looked at before the program starts", wired.unguarded)
