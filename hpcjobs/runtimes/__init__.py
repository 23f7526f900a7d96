"""Container runtimes: the table of those there are, and what they share.

A new one is a module here with a class that follows `hpcjobs.model.Runtime` and a line in `BUILT_IN`; or the
same in another package behind the entry-point group `hpcjobs.runtimes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hpcjobs import shell
from hpcjobs.errors import NotFoundError
from hpcjobs.model import Bind
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcjobs.model import ContainerRequest, ImageFacts, Runtime, RuntimeConfig
    from hpcjobs.shell import Shell

BUILT_IN = {
    "none": "hpcjobs.runtimes.none:Bare",
    "apptainer": "hpcjobs.runtimes.apptainer:Apptainer",
    "singularity": "hpcjobs.runtimes.apptainer:Singularity",
    "charliecloud": "hpcjobs.runtimes.charliecloud:Charliecloud",
    "podman": "hpcjobs.runtimes.podman:Podman",
    "podman-hpc": "hpcjobs.runtimes.podman:PodmanHpc",
    "docker": "hpcjobs.runtimes.podman:Docker",
    "shifter": "hpcjobs.runtimes.shifter:Shifter",
    "sarus": "hpcjobs.runtimes.sarus:Sarus",
    "pyxis": "hpcjobs.runtimes.pyxis:Pyxis",
    "ce": "hpcjobs.runtimes.ce:ContainerEngine",
}

# Variables that ranks need to find each other, as patterns of a shell.
LAUNCHER_VARIABLES = (
    "SLURM*", "PMI*", "PMIX*", "PALS*", "OMPI*", "PRTE*", "OPAL*", "MPI*", "MPIR*", "MPICH*", "HYDRA*", "I_MPI*",
    "FI_*", "UCX*", "PSM*", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "GPU_DEVICE_ORDINAL",
)  # fmt: skip


def names() -> list[str]:
    """The kinds there are, plug-ins included."""
    return sorted({*BUILT_IN, *_plugins()})


def get(config: RuntimeConfig) -> Runtime:
    """The runtime that the site's `config` describes.

    Raises:
        NotFoundError: there is none of that kind.
    """
    return cast("Runtime", load(config.kind)(config))


def load(kind: str) -> Any:
    """The class of that kind, imported now."""
    from importlib import import_module

    target = BUILT_IN.get(kind) or _plugins().get(kind)
    if not target:
        raise NotFoundError(f"there is no container runtime {kind!r}", hint=nearest(kind, names()))
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def program(config: RuntimeConfig) -> str:
    """The program that must be on PATH for it; empty if there is none."""
    return config.command or getattr(load(config.kind), "program", "")


def store_name(image: ImageFacts) -> str:
    """What an image is called in the runtime's own store: the reference, without `docker://`."""
    return image.path.partition("://")[2]


def with_workdir(request: ContainerRequest) -> tuple[Bind, ...]:
    """The binds, the working directory among them."""
    if any(bind.target == request.workdir for bind in request.binds):
        return request.binds
    return (*request.binds, Bind(request.workdir, request.workdir))


def entered(request: ContainerRequest, inside: str = "") -> str | Shell:
    """The folder of the container in which the program begins; `inside` is what the working directory is there."""
    workdir = inside or request.workdir
    if request.prompt and not request.container_workdir:
        return shell.expand(workdir)
    if request.container_workdir or not request.below:
        return request.container_workdir or workdir
    return joined(workdir.rstrip("/") + "/", request.below)


def terminal(request: ContainerRequest) -> tuple[str | Shell, ...]:
    """The options of `docker run` and its like that hand on a person's input, and their terminal if it is one."""
    return ("--interactive", shell.Shell("${hpcjob_terminal:+--tty}")) if request.prompt else ()


# Sets what `terminal` needs.
IS_TERMINAL = shell.Shell("[[ ! -t 0 || ! -t 1 ]] || hpcjob_terminal=yes")


def joined(start: str, value: str | Shell) -> str | Shell:
    """One word, which is text unless the value is known on the node only."""
    return shell.concat(start, value) if isinstance(value, shell.Shell) else start + value


def covers(folders: Iterable[str], path: str) -> bool:
    """Whether `path` is one of the folders, or below one."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def _plugins() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group="hpcjobs.runtimes")}
