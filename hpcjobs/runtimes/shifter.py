"""Shifter 22.02; shifter(1) and its Slurm integration (shifter.readthedocs.io).

Image and volumes stand in the header: the plug-in of Slurm then prepares the container once on each node. Other
options on the `shifter` command would prepare it again for each rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.errors import PlanError
from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import entered, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import Bind, ContainerRequest
    from hpcjobs.shell import Shell

# What a target must not begin with, as text: Shifter compares no whole names (shifter, src/shifter_core.c).
_FORBIDDEN = ("/etc", "/var", "/opt/udiImage", "/proc", "/dev")


@dataclass(frozen=True)
class Shifter:
    """`shifter` behind directives."""

    config: RuntimeConfig
    name: ClassVar[str] = "shifter"
    program: ClassVar[str] = "shifter"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """Homes and scratch are shown by the site; the host's environment passes through.

        Of an option that comes twice its plug-in keeps the last (shifterSpank.c), so each is written once.
        """
        modules = ("gpu",) if request.gpu == "nvidia" else ()
        # The folder of a person's prompt, which is known there only, is one that the site shows, or is not seen.
        binds = (bind for bind in request.binds if not (request.prompt and bind.target == request.workdir))
        volumes = ";".join(_volume(bind) for bind in binds)
        in_header = not (request.service or request.prompt)
        container = (
            f"--image=docker:{gateway_name(request.image.source or request.image.path)}",
            *((f"--volume={volumes}",) if volumes else ()),
            *_with_modules(modules, request.mpi_option),
        )
        return Invocation(
            argv=(
                self.config.command or self.program,
                # The header is about the job's own container.
                *(() if in_header else container),
                joined("--workdir=", entered(request)),
                *_environment(request),
                *(("--entrypoint",) if request.entrypoint else ()),
                *self.config.options,
            ),
            program=request.program,
            directives=container if in_header else (),
            env=dict(request.env),
            notes=tuple(_doubts(request)),
        )


_MODULE = "--module="


def _with_modules(modules: tuple[str, ...], option: str) -> Iterator[str]:
    """The directive of all modules, and an option that names none."""
    named = option.removeprefix(_MODULE).split(",") if option.startswith(_MODULE) else []
    if found := ",".join(dict.fromkeys((*modules, *named))):
        yield f"{_MODULE}{found}"
    if option and not named:
        yield option


def _doubts(request: ContainerRequest) -> Iterator[str]:
    # Modules that are named take the place of all that the site loads by itself (udiRoot.conf, defaultModules).
    undecided = request.mpi != "none" and not request.together and not request.service
    if request.gpu == "nvidia" and request.ntasks > 1 and undecided:
        yield (
            "--module=gpu takes the place of the modules that the site loads by itself: if its MPI is one of them, "
            "the ranks do without, unless mpi_option of the runtime names it in the site's file"
        )


def _environment(request: ContainerRequest) -> Iterator[str | Shell]:
    # The image's variables win over the host's, so the job's own are given once more; an empty one it refuses.
    yield from (joined(f"--env={name}=", value) for name, value in request.env.items() if value)


def gateway_name(reference: str) -> str:
    """What its gateway calls an image: by tag, for it knows no digests, and on Docker Hub without the host.

    Raises:
        PlanError: the reference has no tag.
    """
    name = reference.partition("://")[2].partition("@")[0]
    if ":" not in name.rpartition("/")[2]:
        raise PlanError(f"Shifter gets images by tag, and {reference} has none", hint=f"add it: docker://{name}:TAG@…")
    return name.removeprefix("docker.io/")


def _volume(bind: Bind) -> str:
    if "$" in bind.source + bind.target:
        raise PlanError(
            f"Shifter's volumes stand in the header, where {bind.source} is not expanded",
            hint="write the path without a variable",
        )
    if bind.target.startswith(_FORBIDDEN) or bind.target == "/opt" or ".." in bind.target.split("/"):
        raise PlanError(f"Shifter cannot bind anything to {bind.target}", hint=f"bind it to /data: {bind.source}:/data")
    if any(char in bind.source + bind.target for char in ":;"):
        raise PlanError(f"Shifter cannot bind a path with a : or ; in it: {bind.source}", hint="use another folder")
    return f"{bind.source}:{bind.target}" + (":ro" if bind.readonly else "")
