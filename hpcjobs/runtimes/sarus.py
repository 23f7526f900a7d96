"""Sarus 1.7; its user guide (sarus.readthedocs.io). The host's environment passes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs import shell
from hpcjobs.errors import PlanError
from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import IS_TERMINAL, entered, joined, store_name, with_workdir

if TYPE_CHECKING:
    from hpcjobs.model import Bind, ContainerRequest
    from hpcjobs.shell import Shell

# What a target must not begin with, as text (Sarus's user guide, "Mounting custom files and directories").
_FORBIDDEN = ("/etc", "/var", "/opt/sarus")


@dataclass(frozen=True)
class Sarus:
    """`sarus run`. Its hooks show GPUs; `--mpi` is an option for the site file, or for part of the plan."""

    config: RuntimeConfig
    name: ClassVar[str] = "sarus"
    program: ClassVar[str] = "sarus"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The image's entrypoint is its default, so that it is emptied unless it was asked for."""
        return Invocation(
            argv=(
                *(self.config.command or self.program, "run"),
                *((shell.Shell("${hpcjob_terminal:+--tty}"),) if request.prompt else ()),
                *(_mount(bind) for bind in with_workdir(request)),
                joined("--workdir=", entered(request)),
                *(joined(f"--env={name}=", value) for name, value in request.env.items()),
                *(() if request.entrypoint else ("--entrypoint", "")),
                *((request.mpi_option,) if request.mpi_option else ()),
                *self.config.options,
                store_name(request.image).removeprefix("docker.io/"),
            ),
            program=request.program,
            env=dict(request.env),
            setup=(IS_TERMINAL,) if request.prompt else (),
        )


def _mount(bind: Bind) -> str | Shell:
    if any(char in bind.source + bind.target for char in ",="):
        raise PlanError(f"Sarus cannot bind a path with a comma or =: {bind.source}", hint="use another folder")
    if bind.target.startswith(_FORBIDDEN) or bind.target == "/opt":
        raise PlanError(f"Sarus cannot bind anything to {bind.target}", hint=f"bind it to /data: {bind.source}:/data")
    text = f"--mount=type=bind,source={bind.source},destination={bind.target}" + (",readonly" if bind.readonly else "")
    return shell.expand(text) if bind.expand else text
