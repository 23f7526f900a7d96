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
        """Homes and scratch are shown by the site; the host's environment passes through."""
        container = (
            f"--image=docker:{gateway_name(request.image.source or request.image.path)}",
            *(f"--volume={_volume(bind)}" for bind in request.binds),
            *(("--module=gpu",) if request.gpu == "nvidia" else ()),
            *((request.mpi_option,) if request.mpi_option else ()),
        )
        return Invocation(
            argv=(
                self.config.command or self.program,
                # The header is about the job's own container.
                *(container if request.service else ()),
                joined("--workdir=", entered(request)),
                *_environment(request),
                *(("--entrypoint",) if request.entrypoint else ()),
                *self.config.options,
            ),
            program=request.program,
            directives=() if request.service else container,
            env=dict(request.env),
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
