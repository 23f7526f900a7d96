"""mpiexec of MPICH, Intel MPI and MVAPICH (hydra); its own `-help` and the Hydra manual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.errors import PlanError
from hpcjobs.launchers import binding, no_kind_of_mpi
from hpcjobs.model import Launch, LauncherConfig

if TYPE_CHECKING:
    from hpcjobs.model import Shape
    from hpcjobs.shell import Shell

_BIND = {"cores": "core", "threads": "hwthread", "sockets": "socket", "none": "none"}


@dataclass(frozen=True)
class Mpiexec:
    """`mpiexec` of hydra."""

    config: LauncherConfig
    name: ClassVar[str] = "mpiexec"
    program: ClassVar[str] = "mpiexec"

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """`mpiexec -n N -ppn P -bind-to core:C`."""
        no_kind_of_mpi(self.name, mpi)
        if extra:
            raise PlanError("this container runtime works through srun only", hint="use --launcher srun")
        if shape.ntasks == 1 and not self.config.single:
            return Launch(())
        bind = binding(self.config, _BIND)
        if bind in ("core", "hwthread"):
            bind += f":{shape.cpus_per_task}"
        ranks = ("-n", str(shape.ntasks), "-ppn", str(shape.ntasks_per_node))
        return Launch((self.config.command or self.program, *ranks, "-bind-to", bind, *self.config.options))
