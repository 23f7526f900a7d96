"""No launcher: the script starts the one rank itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.errors import PlanError
from hpcjobs.launchers import no_kind_of_mpi
from hpcjobs.model import Launch, LauncherConfig

if TYPE_CHECKING:
    from hpcjobs.model import Shape
    from hpcjobs.shell import Shell


@dataclass(frozen=True)
class Alone:
    """One rank, started by the script."""

    config: LauncherConfig
    name: ClassVar[str] = "none"
    program: ClassVar[str] = ""

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """Nothing."""
        no_kind_of_mpi("a job without a launcher", mpi)
        if shape.ntasks > 1:
            raise PlanError(
                f"{shape.ntasks} ranks need a launcher, and the launcher is none",
                hint="choose one, such as --launcher mpiexec, or leave out -n and --ntasks-per-node",
            )
        if extra:
            raise PlanError("this container runtime works through srun only", hint="use --launcher srun")
        return Launch(argv=())
