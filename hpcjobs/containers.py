"""What a job asks of a container, from text to values: binds, layers, services, and features of the runtime."""

from __future__ import annotations

import os.path
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcjobs import shell
from hpcjobs.errors import PlanError, UsageError
from hpcjobs.model import Bind, ContainerRequest, ImageFacts, Invocation, Overlay, ServicePlan
from hpcjobs.units import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.model import HostFacts, JobSpec, Runtime, ServiceSpec, Shape, Site
    from hpcjobs.shell import Shell

_SERVICE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}", re.ASCII)
_TELL_CHILD = '"$@" & trap "pkill -P $!" TERM; while kill -0 "$!" 2>/dev/null; do wait; done'
_OVERLAY_FILES = (".img", ".ext3", ".sif", ".sqfs", ".squashfs", ".sqsh")


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
    for service in spec.services:
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
    """Read `SRC`, `SRC:DST` or `SRC:DST:ro`; a relative source is below `base`.

    Raises:
        PlanError: it is none of them.
    """
    source, *rest = text.split(":")
    target, mode, *more = (*rest, "", "")
    if not source or any(more) or mode not in ("", "ro", "rw"):
        raise PlanError(f"bind {text!r} is not understood", hint="write SRC, SRC:DST or SRC:DST:ro")
    if target and not target.startswith(("/", "$")):
        raise PlanError(f"bind {text!r}: {target} is not a path from the root", hint=f"write {source}:/{target}")
    if not (expand and source.startswith("$")):
        source = below(base, source)
    return Bind(source, target or source, readonly=mode == "ro", expand=expand)


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


# ------------------------------------------------------------------------------------------ services


def check_services(services: Sequence[ServiceSpec]) -> None:
    """Refuse names that cannot be used, and twice the same: in HPCJOB_SERVICE_NAME they are in capitals.

    Raises:
        PlanError: says which.
    """
    capitals = [service.name.upper() for service in services]
    for name in (service.name for service in services):
        if not _SERVICE_NAME.fullmatch(name):
            raise PlanError(f"{name!r} cannot be the name of a service", hint="use letters, digits and _: db")
        if capitals.count(name.upper()) > 1:
            raise PlanError(f"two services are called {name}", hint="give each a name of its own")


def service_plan(
    service: ServiceSpec, request: ContainerRequest, runtime: Runtime, *, shape: Shape, slurm: bool, array: bool
) -> ServicePlan:
    """How a service is started beside the job, and stopped.

    With several nodes, and for runtimes that are options of srun, it is a step of its own (srun(1), --overlap).
    """
    invocation = runtime.wrap(request)
    per_node = service.per == "node" and shape.nodes > 1
    step = slurm and (per_node or bool(invocation.launcher_args))
    tell = ("bash", "-c", _TELL_CHILD, "hpcjob") if invocation.serves_files else ()
    words: tuple[tuple[str | Shell, ...], ...] = (tell, invocation.argv, invocation.program)
    if step:
        serve = ("bash", "-c", 'hpcjob_serve "$@"', "hpcjob", *invocation.stop, "--")
        words = (_step(shape.nodes if per_node else 1, invocation), serve, *words)
    index = shell.Shell('".$HPCJOB_ARRAY_INDEX"') if array else ""
    return ServicePlan(
        name=service.name,
        start=tuple(group for group in words if group),
        log=shell.concat(f"{request.folder}/service-{service.name}", index, ".log"),
        ready=_ready(service, request, runtime, invocation),
        stop=() if step else invocation.stop,
        env=dict(invocation.env),
        step=step,
        setup=invocation.setup,
        files=invocation.files,
        cleanup=invocation.cleanup,
    )


def _step(nodes: int, invocation: Invocation) -> tuple[str | Shell, ...]:
    count = (f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1")
    # --mem=0: of the memory that the program's step has; else the one that comes second is refused.
    return ("srun", "--overlap", "--mem=0", *count, "--cpu-bind=none", "--mpi=none", *invocation.launcher_args)


def _ready(
    service: ServiceSpec, request: ContainerRequest, runtime: Runtime, invocation: Invocation
) -> tuple[str | Shell, ...]:
    if not service.ready:
        return ()
    if invocation.enter:
        return (*invocation.enter, *service.ready)
    asking = runtime.wrap(replace(request, program=service.ready))
    step = _step(1, asking) if asking.launcher_args else ()
    return (*step, *asking.argv, *asking.program)
