"""Open MPI's mpirun; mpirun(1), "Mapping, Ranking, and Binding"."""

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
class Mpirun:
    """`mpirun` of Open MPI 4 and 5. As root it needs `--allow-run-as-root`: an option for the site file."""

    config: LauncherConfig
    name: ClassVar[str] = "mpirun"
    program: ClassVar[str] = "mpirun"

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """`mpirun -np N --map-by ppr:P:node:PE=C --bind-to core`."""
        no_kind_of_mpi(self.name, mpi)
        if extra:
            raise PlanError("this container runtime works through srun only", hint="use --launcher srun")
        if shape.ntasks == 1 and not self.config.single:
            return Launch(())
        bind = binding(self.config, _BIND)
        cores = f":PE={shape.cpus_per_task}" if bind in ("core", "hwthread") else ""
        place = ("--map-by", f"ppr:{shape.ntasks_per_node}:node{cores}", "--bind-to", bind)
        return Launch((self.config.command or self.program, "-np", str(shape.ntasks), *place, *self.config.options))
