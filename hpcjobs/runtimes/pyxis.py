"""Enroot through Pyxis, its plug-in of Slurm: the container is a matter of srun's options (github.com/NVIDIA/pyxis).

One container a node, shared by its ranks. Its home and its hooks (GPUs, InfiniBand, PMIx) are the site's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs import shell
from hpcjobs.errors import PlanError
from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import entered, joined, with_workdir

if TYPE_CHECKING:
    from hpcjobs.model import Bind, ContainerRequest
    from hpcjobs.shell import Shell


@dataclass(frozen=True)
class Pyxis:
    """`srun --container-image=…`."""

    config: RuntimeConfig
    name: ClassVar[str] = "pyxis"
    program: ClassVar[str] = ""

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The image's variables win over the host's, except those that are named."""
        return Invocation(
            argv=(),
            program=request.program,
            launcher_args=(
                f"--container-image={request.image.path}",
                shell.concat("--container-mounts=", *mounts(request)),
                joined("--container-workdir=", entered(request)),
                *((f"--container-env={','.join(request.env)}",) if request.env else ()),
                *(("--container-entrypoint",) if request.entrypoint else ()),
                *(("--container-writable",) if request.writable else ()),
                *self.config.options,
            ),
            env=dict(request.env),
        )


def mounts(request: ContainerRequest) -> list[str | Shell]:
    """`SRC:DST[:ro]`, and commas between them."""
    words: list[str | Shell] = []
    for bind in with_workdir(request):
        words += ["," if words else "", shell.expand(mount(bind)) if bind.expand else mount(bind)]
    return words


def mount(bind: Bind) -> str:
    """`SRC:DST[:ro]`.

    Raises:
        PlanError: a path has a character that would end it.
    """
    if any(char in bind.source + bind.target for char in ",:"):
        raise PlanError(f"a path with a comma or colon cannot be bound: {bind.source}", hint="use another folder")
    return f"{bind.source}:{bind.target}" + (":ro" if bind.readonly else "")
