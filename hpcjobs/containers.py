"""What a job asks of a container, from text to values: binds, layers, services, and features of the runtime."""

from __future__ import annotations

import os.path
import re
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from hpcjobs import shell
from hpcjobs.errors import PlanError, UsageError
from hpcjobs.model import Bind, ContainerRequest, ImageFacts, Invocation, Overlay, ServicePlan
from hpcjobs.units import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.model import HostFacts, JobSpec, Runtime, ServiceSpec, Site
    from hpcjobs.shell import Shell

_SERVICE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}", re.ASCII)
_READ_ONLY_FILES = (".sif", ".sqfs", ".squashfs", ".sqsh")
_OVERLAY_FILES = (".img", ".ext3", *_READ_ONLY_FILES)


def below(base: str, path: str) -> str:
    """The path, from `base` if it is relative."""
    return os.path.normpath(os.path.join(base, path)) if path else base  # noqa: PTH118 - text, not a file


# -------------------------------------------------------------------------------- what is asked for


def wanted(spec: JobSpec, gpu: str, image: ImageFacts, files: frozenset[str] = frozenset()) -> dict[str, str]:
    """The features (`capabilities.FEATURES`) that the job needs of its runtime, and what of the job asks for each.

    `files` are the sources of binds that are files; `gpu` is the kind of GPU that it uses.
    """
    asked = dict(_of_image(spec, image))
    for text in spec.bind:
        bind = parse_bind(text, spec.workdir or "/", expand=False)
        asked["bind"] = f"--bind {text}"
        if bind.readonly:
            asked["bind-readonly"] = f"--bind {text}"
        if bind.source in files:
            asked["bind-file"] = f"--bind {text}"
    for service in (one for one in spec.services if not one.image):
        asked["service" if service.command else "instance"] = f"the service {service.name}"
    if gpu != "none" and image.kind != "none":
        asked[gpu] = "--gpus-per-node"
    if (spec.ntasks or 1) > 1 or (spec.ntasks_per_node or 1) > 1:
        asked["ranks"] = "-n" if spec.ntasks else "--ntasks-per-node"
    if (spec.nodes or 1) > 1:
        asked["nodes"] = f"-N {spec.nodes}"
    return asked


def _of_image(spec: JobSpec, image: ImageFacts) -> Iterator[tuple[str, str]]:
    if image.kind != "none":
        yield image.kind, f"--image {image.path}"
    for text, overlay in zip(spec.overlay, overlays(spec, "/"), strict=True):
        yield "overlay-folder" if overlay.is_folder else "overlay-image", f"--overlay {text}"
    options = {
        "app": ("app", f"--app {spec.app}"),
        "entrypoint": ("entrypoint", "--entrypoint"),
        "container_workdir": ("workdir", f"--container-workdir {spec.container_workdir}"),
        "writable": ("writable", "--writable"),
        "image_key": ("key", "--image-key"),
    }
    for field, (feature, option) in options.items():
        if getattr(spec, field):
            yield feature, option
    if spec.verify == "required":
        yield "verify", "the signature that is required"


# ---------------------------------------------------------------------------------- binds and layers


def parse_bind(text: str, base: str = "/", *, expand: bool) -> Bind:
    """Read `SRC`, `SRC:DST`, `SRC:DST:ro` or `SRC:DST:optional`; a relative source is below `base`.

    Raises:
        PlanError: it is none of them.
    """
    source, *rest = text.split(":")
    target, mode, *more = (*rest, "", "")
    if not source or any(more) or mode not in ("", "ro", "rw", "optional"):
        raise PlanError(f"bind {text!r} is not understood", hint="write SRC, SRC:DST or SRC:DST:ro")
    if target and not target.startswith(("/", "$")):
        raise PlanError(f"bind {text!r}: {target} is not a path from the root", hint=f"write {source}:/{target}")
    if not (expand and source.startswith("$")):
        source = below(base, source)
    return Bind(source, target or source, readonly=mode == "ro", expand=expand, optional=mode == "optional")


def binds(site: Site, own: Sequence[str], workdir: str) -> tuple[Bind, ...]:
    """The site's, then the job's (or a service's) own."""
    return (
        *(parse_bind(text, expand=True) for text in site.bind),
        *(parse_bind(text, workdir, expand=False) for text in own),
    )


def overlays(spec: JobSpec, workdir: str) -> tuple[Overlay, ...]:
    """Read `FOLDER`, `FILE.img`, `FILE.img:2G`, and `:ro` behind each.

    Raises:
        PlanError: it is none of them, or several writers would share one.
    """
    return tuple(_overlay(text, workdir) for text in spec.overlay)


def _overlay(text: str, workdir: str) -> Overlay:
    path, *rest = text.split(":")
    readonly = rest[-1:] == ["ro"]
    size = [part for part in rest if part != "ro"]
    is_folder = not path.endswith(_OVERLAY_FILES)
    if not path or len(rest) != len(size) + readonly or len(size) > 1 or (size and (readonly or is_folder)):
        raise PlanError(
            f"overlay {text!r} is not understood", hint="write FOLDER, FILE.img:2G (made if missing) or FILE.img:ro"
        )
    try:
        wanted_size = Memory.parse(size[0]) if size else None
    except UsageError as error:
        raise PlanError(f"overlay {text!r}: {error.message}", hint=f"write {path}:2G") from None
    return Overlay(below(workdir, path), is_folder, readonly, wanted_size)


def check_overlays(spec: JobSpec, found: Sequence[Overlay], ranks: int) -> None:
    """A layer has one writer: it is a file system that two kernels' mounts, or two FUSE processes, would destroy.

    And a container has one writable layer (apptainer(1), "Overlays").

    Raises:
        PlanError: several ranks, or tasks of an array, would write to one; or there are several to write to.
    """
    written = [overlay.path for overlay in found if not overlay.readonly]
    if len(written) > 1:
        raise PlanError(
            f"a container writes to one overlay, and there are {' and '.join(written)}",
            hint=f"add :ro to all but one: --overlay {written[0]}:ro",
        )
    if written and spec.writable:
        raise PlanError(f"--writable is one layer to write to, and {written[0]} another", hint="leave out one of them")
    for overlay in found:
        if any(char in overlay.path for char in ",:"):
            raise PlanError(f"an overlay with a comma or colon in its path: {overlay.path}", hint="use another folder")
        if not overlay.readonly and overlay.path.endswith(_READ_ONLY_FILES):
            raise PlanError(f"{overlay.path} cannot be written to", hint=f"--overlay {overlay.path}:ro")
    writers = "tasks of an array" if spec.array else f"{ranks} ranks" if ranks > 1 else ""
    for overlay in found:
        if writers and not overlay.readonly:
            raise PlanError(
                f"{writers} cannot write to the one overlay {overlay.path}",
                hint=f"share it for reading: --overlay {overlay.path}:ro; or --writable, a layer for each in memory",
            )


def needed(spec: JobSpec, host: HostFacts, image: ImageFacts, workdir: str) -> tuple[str, ...]:
    """Files and folders without which the job cannot begin, for the script to look for before it starts anything."""
    sources = [parse_bind(text, workdir, expand=False).source for text in spec.bind]
    key = [host.key.file] if host.key and host.key.file else []
    read_only = [overlay.path for overlay in overlays(spec, workdir) if overlay.readonly]
    return tuple(dict.fromkeys([*sources, *key, *read_only])) if image.kind != "none" else ()


# --------------------------------------------------------------------------------- all of it together


@dataclass(frozen=True)
class Contained:
    """What a plan takes from the containers of a job: its own and those of its services."""

    invocation: Invocation
    services: tuple[ServicePlan, ...]
    modules: tuple[str, ...]
    setup: tuple[Shell, ...]
    functions: dict[str, Shell]
    files: dict[str, str]
    cleanup: tuple[tuple[str | Shell, ...], ...]


def contain(
    request: ContainerRequest,
    runtime: Runtime,
    services: Sequence[tuple[ServiceSpec, ImageFacts, Runtime]],
    site: Site,
    *,
    array: bool,
) -> Contained:
    """Wrap the program and the services.

    Raises:
        PlanError: a runtime cannot do what is asked of it.
    """
    slurm = site.scheduler.kind == "slurm"
    own = wrap(runtime, request)
    used = (runtime, *(its for *_, its in services))
    made = [_service(one, request, image, its, site, array=array) for one, image, its in services]
    invocations = [own, *(invocation for _, invocation in made)]
    lines = [line for each in invocations for line in (*each.setup, *_on_each_node(each, request.nodes, slurm=slurm))]
    return Contained(
        invocation=own,
        services=tuple(plan for plan, _ in made),
        modules=tuple(chain.from_iterable(dict.fromkeys(each.config.modules for each in used))),
        setup=tuple(dict.fromkeys(lines)),
        functions={name: body for each in invocations for name, body in each.functions.items()},
        files={name: text for each in invocations for name, text in each.files.items()},
        cleanup=tuple(dict.fromkeys(each.cleanup for each in invocations if each.cleanup)),
    )


# Variables that would change what the script itself, the launcher or the runtime do.
OF_THE_HOST = re.compile(r"PATH|LD_\w+|BASH_ENV|ENV|SLURM\w*|SRUN_\w+", re.ASCII)


def only_inside(name: str, request: ContainerRequest) -> bool:
    """Whether a variable is for the program alone: with it in the script, the host's own tools would heed it."""
    return bool(OF_THE_HOST.fullmatch(name)) or name in request.inside


def wrap(runtime: Runtime, request: ContainerRequest) -> Invocation:
    """The invocation; variables that the host's tools would heed too are set inside, by `env`.

    Raises:
        PlanError: as of the runtime; or the image's entrypoint stands where `env` would.
    """
    invocation = runtime.wrap(request)
    inside = {name: value for name, value in request.env.items() if only_inside(name, request)}
    if not inside.keys() & invocation.env.keys():
        return invocation
    if request.entrypoint:
        raise PlanError(
            f"{next(iter(inside))} cannot be set for the entrypoint of an image by {runtime.name}",
            hint="name the program that the entrypoint runs, or use --runtime apptainer",
        )
    words = (
        shell.concat(f"{name}=", value) if isinstance(value, shell.Shell) else f"{name}={value}"
        for name, value in inside.items()
    )
    others = {name: value for name, value in request.env.items() if name not in inside}
    return runtime.wrap(replace(request, env=others, program=("env", *words, *request.program)))


def _on_each_node(invocation: Invocation, nodes: int, *, slurm: bool) -> Iterator[Shell]:
    """The runtime's preparations on every node of the job."""
    step = ("srun", *_ONE_A_NODE, "--mpi=none") if nodes > 1 and slurm else ()
    for command in invocation.node_setup:
        yield shell.Shell(shell.lines(step, command) + " >/dev/null || hpcjob_stop 69 the image could not be got")


_ALL = shell.Shell('"$SLURM_JOB_NUM_NODES"')
_ONE_A_NODE = (shell.concat("--nodes=", _ALL), shell.concat("--ntasks=", _ALL), "--ntasks-per-node=1")
_ONE = ("--nodes=1", "--ntasks=1", "--ntasks-per-node=1")


# ------------------------------------------------------------------------------------------ services


def check_services(services: Sequence[ServiceSpec]) -> None:
    """Refuse names that cannot be used, and twice the same: in HPCJOB_SERVICE_NAME they are in capitals.

    Raises:
        PlanError: says which.
    """
    capitals = [service.name.upper() for service in services]
    for service in services:
        name = service.name
        if not _SERVICE_NAME.fullmatch(name):
            raise PlanError(f"{name!r} cannot be the name of a service", hint="use letters, digits and _: db")
        if capitals.count(name.upper()) > 1:
            raise PlanError(f"two services are called {name}", hint="give each a name of its own")
        if ":" in (*service.command, *service.ready):
            raise PlanError(
                f"service {name}: srun reads the argument ':' as the beginning of another program",
                hint="pass a plain ':' by a script of yours",
            )


# What keeps a service of a step: it ends when the input that the script holds open is closed, also because the script
# died (`kill` of srun would give it no time to end). In the language of every sh, since it may run in a container.
_SERVE = (
    'exec 3<&0; "$@" </dev/null & p=$!; trap "{end}" TERM INT; {{ cat <&3 >/dev/null; {end}; }} & '
    "while kill -0 $p 2>/dev/null; do wait $p; done"
)
# An instance ends with the step that started it, so the step stays.
_HOLD = 'name=$1; shift; "$@" </dev/null || exit; trap : TERM INT; cat >/dev/null; "$0" instance stop "$name"'
# What serves an image's files to the program, its child, is not to be told to end; the child is.
_TELL_CHILD = '"$@" & p=$!; trap "pkill -P $p" TERM INT; while kill -0 $p 2>/dev/null; do wait $p; done'


def _service(
    service: ServiceSpec, request: ContainerRequest, image: ImageFacts, runtime: Runtime, site: Site, *, array: bool
) -> tuple[ServicePlan, Invocation]:
    """How a service is started beside the job, and stopped.

    One on each node, and one of a runtime that is options of srun, is a step of its own (srun(1), --overlap).
    """
    slurm = site.scheduler.kind == "slurm"
    if service.per == "node" and request.nodes > 1 and not slurm:
        raise PlanError(f"{site.scheduler.kind} cannot start a service on each node", hint="write `per: job`")
    own = replace(
        request,
        image=image,
        program=service.command,
        binds=binds(site, service.bind, request.workdir),
        env=dict(service.env),
        gpu="none",
        mpi="",
        ntasks=1,
        ntasks_per_node=1,
        even=True,
        container_workdir="",
        entrypoint=False,
        writable=False,
        overlays=(),
        app="",
        key=None,
        instance="" if service.command else _instance_name(service.name),
        service=service.name,
        launcher="none",
        inside=frozenset(),
        together=False,
        mpi_option="",
    )
    invocation = wrap(runtime, own)
    where = _ONE_A_NODE if service.per == "node" else _ONE
    step = _step(where, invocation) if slurm and (service.per == "node" or invocation.launcher_args) else ()
    keeper = _keeper(invocation, own, step=bool(step))
    index = shell.Shell('".$HPCJOB_ARRAY_INDEX"') if array else ""
    plan = ServicePlan(
        name=service.name,
        start=tuple(group for group in (step, keeper, invocation.argv, invocation.program) if group),
        log=shell.concat(f"{request.folder}/service-{service.name}", index, ".log"),
        ready=_ready(service, own, runtime, invocation),
        stop=() if step else invocation.stop,
        env=dict(invocation.env),
        step=bool(step),
    )
    return plan, invocation


def _instance_name(service: str) -> Shell:
    """Unlike that of any other job on the node."""
    return shell.Shell(f'"hpcjob_${{HPCJOB_NATIVE_ID}}_${{HPCJOB_ARRAY_INDEX:-0}}_{service}"')


def _keeper(invocation: Invocation, request: ContainerRequest, *, step: bool) -> tuple[str | Shell, ...]:
    """What stands between a service and whoever ends it."""
    if step and request.instance:
        return ("sh", "-c", _HOLD, invocation.stop[0], request.instance)
    if step:
        return ("sh", "-c", _SERVE.format(end="pkill -P $p" if invocation.serves_files else "kill $p"), "hpcjob")
    return ("sh", "-c", _TELL_CHILD, "hpcjob") if invocation.serves_files else ()


def _step(where: tuple[str | Shell, ...], invocation: Invocation) -> tuple[str | Shell, ...]:
    # --mem=0: of the memory that the program's step has; else the one that comes second is refused.
    return ("srun", "--overlap", "--mem=0", *where, "--cpu-bind=none", "--mpi=none", *invocation.launcher_args)


def _ready(
    service: ServiceSpec, request: ContainerRequest, runtime: Runtime, invocation: Invocation
) -> tuple[str | Shell, ...]:
    if not service.ready:
        return ()
    if invocation.enter:
        return (*invocation.enter, *service.ready)
    asking = wrap(runtime, replace(request, program=service.ready))
    step = _step(_ONE, asking) if asking.launcher_args else ()
    return (*step, *asking.argv, *asking.program)
