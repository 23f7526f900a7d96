"""mpiexec of PALS, HPE's launcher on Cray EX machines with PBS (Polaris, Aurora, Derecho); its mpiexec(1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.errors import PlanError
from hpcjobs.launchers import binding, no_kind_of_mpi
from hpcjobs.model import Launch, LauncherConfig

if TYPE_CHECKING:
    from hpcjobs.model import Shape
    from hpcjobs.shell import Shell

_BIND = {"cores": "depth", "threads": "thread", "sockets": "socket", "none": "none"}


@dataclass(frozen=True)
class Pals:
    """`mpiexec` of PALS, which knows the job's nodes from PBS. Its depth counts hardware threads, as PBS's ncpus do."""

    config: LauncherConfig
    name: ClassVar[str] = "pals"
    program: ClassVar[str] = "mpiexec"

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """`mpiexec -n N --ppn P --depth C --cpu-bind depth`."""
        no_kind_of_mpi(self.name, mpi)
        if extra:
            raise PlanError("this container runtime works through srun only", hint="use --launcher srun")
        if shape.ntasks == 1 and not self.config.single:
            return Launch(())
        ranks = ("-n", str(shape.ntasks), "--ppn", str(shape.ntasks_per_node), "--depth", str(shape.cpus_per_task))
        # A site's own binding stands among its options.
        own = any(option.startswith("--cpu-bind") for option in self.config.options)
        bind = () if own else ("--cpu-bind", binding(self.config, _BIND))
        return Launch((self.config.command or self.program, *ranks, *bind, *self.config.options))
