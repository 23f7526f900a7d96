"""IBM's jsrun, of Job Step Manager; its jsrun(1), and OLCF's guide to Summit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.errors import PlanError
from hpcjobs.launchers import binding, no_kind_of_mpi
from hpcjobs.model import Launch, LauncherConfig

if TYPE_CHECKING:
    from hpcjobs.model import Shape
    from hpcjobs.shell import Shell

_BIND = {"cores": "packed", "none": "none"}


@dataclass(frozen=True)
class Jsrun:
    """`jsrun`, with a resource set for each rank; for each node where GPUs cannot be shared out to ranks."""

    config: LauncherConfig
    name: ClassVar[str] = "jsrun"
    program: ClassVar[str] = "jsrun"

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """`jsrun --nrs=N --rs_per_host=P --tasks_per_rs=1 --cpu_per_rs=C --gpu_per_rs=G --bind=packed:C`."""
        no_kind_of_mpi(self.name, mpi)
        if extra:
            raise PlanError("this container runtime works through srun only", hint="use --launcher srun")
        each = 1 if shape.gpus_per_node % shape.ntasks_per_node == 0 else shape.ntasks_per_node
        if shape.ntasks % each:
            raise PlanError("jsrun wants as many ranks on each node", hint="-n a multiple of the nodes")
        sets, on_node = shape.ntasks // each, shape.ntasks_per_node // each
        gpus = shape.gpus_per_node // on_node
        bind = binding(self.config, _BIND)
        words = (
            f"--nrs={sets}", f"--rs_per_host={on_node}", f"--tasks_per_rs={each}",
            f"--cpu_per_rs={each * shape.cpus_per_task}", *((f"--gpu_per_rs={gpus}",) if gpus else ()),
            f"--bind={bind}" + (f":{shape.cpus_per_task}" if bind == "packed" else ""),
        )  # fmt: skip
        return Launch((self.config.command or self.program, *words, *self.config.options))
