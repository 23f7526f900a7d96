"""A program of an image as a command of the prompt: what templates/wrapper.sh.j2 is rendered from. Pure.

The script is what somebody who knows the runtime would type, with the site's modules and binds, and the folder in which
it is called. Arguments, input, output, signals and exit code go through untouched: the script becomes the runtime
(`exec`), but for one that has to stay beside the program because it serves the image's files.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from hpcjobs import containers, modules
from hpcjobs.errors import PlanError
from hpcjobs.model import Bind, ContainerRequest
from hpcjobs.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.model import ImageFacts, ImageKey, Invocation, JobSpec, Runtime, Site
    from hpcjobs.mpi.settle import Settled

    Word = str | Shell

# A shell with what people expect of one, if the image has it.
SHELL = ("sh", "-c", "if command -v bash >/dev/null; then exec bash; else exec sh; fi")
# What shows that a node has GPUs of that maker.
_DEVICES = {"nvidia": "/dev/nvidiactl", "amd": "/dev/kfd", "intel": "/dev/dri"}
# The folder in which a wrapper is called, as its script knows it.
HERE = "$hpcjob_here"


@dataclass(frozen=True)
class Wrapper:
    """A program of an image at the prompt: all that the template sees."""

    launch: tuple[tuple[Word, ...], ...]  # runtime, program: a line each
    arguments: tuple[Word, ...] = (Shell('"$@"'),)
    image: str = ""  # its file; empty if the runtime has it by name
    gpu_device: str = ""  # the file that shows that there is a GPU; empty if the site has none
    gpu: tuple[Word, ...] = ()  # the runtime's words for it
    ranks: tuple[Word, ...] = ()  # its words for one of several ranks of MPI, which reach each other's memory
    module_init: str = ""
    modules: tuple[str, ...] = ()
    site_env: dict[str, str] = field(default_factory=dict)  # $NAME is expanded
    env: dict[str, Word] = field(default_factory=dict)
    setup: tuple[Shell, ...] = ()
    functions: dict[str, Shell] = field(default_factory=dict)
    serves_files: bool = False  # whether the runtime stays beside the program, which alone is to get signals
    notes: tuple[str, ...] = ()

    @property
    def module_commands(self) -> tuple[tuple[Word, ...], ...]:
        """What the script runs for `modules`, a line each."""
        return modules.commands(self.modules)


@dataclass(frozen=True)
class Call:
    """What a wrapper runs, besides what is in the request."""

    binds: tuple[Bind, ...] = ()
    setup: tuple[Shell, ...] = ()  # before that of the runtime
    arguments: tuple[Word, ...] = (Shell('"$@"'),)


def wrap(
    spec: JobSpec,
    site: Site,
    image: ImageFacts,
    *,
    runtime: Runtime,
    call: Call | None = None,
    settled: Settled | None = None,
    key: ImageKey | None = None,
    workdir: str = "/",
) -> Wrapper:
    """The wrapper of `spec.command`; relative binds of the request are below `workdir`.

    Raises:
        PlanError: the runtime starts no containers at the prompt, or cannot do what is asked.
    """
    call = call or Call()
    request = ContainerRequest(
        image=image,
        program=spec.command,
        workdir=HERE,
        binds=(
            # What is there in jobs only ($PBS_NODEFILE) may be left out, as a site says.
            *(bind for bind in containers.binds(site, spec.bind, workdir) if not (bind.optional and bind.expand)),
            *call.binds,
            Bind(HERE, HERE, expand=True),
            *(settled.plan.binds if settled else ()),
        ),
        env=settled.merged(spec.env) if settled else dict(spec.env),
        inside=frozenset(settled.plan.env) if settled else frozenset(),
        container_workdir=spec.container_workdir,
        entrypoint=spec.entrypoint,
        writable=spec.writable,
        overlays=containers.overlays(spec, workdir),
        app=spec.app,
        key=key,
        clean_env=spec.clean_env,
        passed=tuple(site.env),
        prompt=True,
    )
    if settled:
        program = (*settled.wiring.program, *request.program)
        request = replace(request, program=program, mpi=settled.plan.type)
    plain = _invocation(runtime, request)
    gpu = site.gpu.kind if image.kind != "none" else "none"
    with_gpu = _invocation(runtime, replace(request, gpu=gpu))
    several = replace(request, together=True, ntasks=2, ntasks_per_node=2, even=False)
    as_rank = _invocation(runtime, several) if settled and settled.together else plain
    argv, words, ranks = _marked(plain.argv, with_gpu.argv, as_rank.argv)
    before = settled.wiring.before if settled else ()
    return Wrapper(
        launch=tuple(group for group in ((*before, *argv), plain.program) if group),
        arguments=call.arguments,
        image=image.path if image.path.startswith("/") else "",
        gpu_device=_DEVICES.get(gpu, "") if words else "",
        gpu=words,
        ranks=ranks,
        module_init=site.module_init,
        modules=(*site.modules, *runtime.config.modules, *spec.modules),
        site_env=site.env,
        env=dict(plain.env),
        setup=(*call.setup, *plain.setup),
        functions=plain.functions,
        serves_files=plain.serves_files,
        notes=plain.notes,
    )


def _invocation(runtime: Runtime, request: ContainerRequest) -> Invocation:
    invocation = containers.wrap(runtime, request)
    if invocation.launcher_args or invocation.directives:
        raise PlanError(
            f"{runtime.name} starts containers by the scheduler alone, not at the prompt",
            hint="type: hpcjob submit --image … -- PROGRAM; or choose a --runtime that the site has besides",
        )
    return invocation


def _marked(
    plain: Sequence[Word], with_gpu: Sequence[Word], as_rank: Sequence[Word]
) -> tuple[tuple[Word, ...], tuple[Word, ...], tuple[Word, ...]]:
    """The plain words with marks where those come that the others have besides, and these of each."""
    (gpu_at, gpu), (rank_at, rank) = _added(plain, with_gpu), _added(plain, as_rank)
    marked = list(plain)
    for at, words, mark in sorted(((gpu_at, gpu, "gpu"), (rank_at, rank, "ranks")), reverse=True):
        if words:
            marked.insert(at, Shell(f'"${{hpcjob_{mark}[@]}}"'))
    return tuple(marked), gpu, rank


def _added(plain: Sequence[Word], full: Sequence[Word]) -> tuple[int, tuple[Word, ...]]:
    """Where `full` has words that are not in `plain`, and which."""
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(plain, full, strict=False)))
    return start, tuple(full[start : start + len(full) - len(plain)])
