"""Slurm's srun; srun(1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.launchers import binding
from hpcjobs.model import Launch, LauncherConfig

if TYPE_CHECKING:
    from hpcjobs.model import Shape
    from hpcjobs.shell import Shell

_BIND = {name: f"--cpu-bind={name}" for name in ("cores", "threads", "sockets", "none")} | {"": ""}


@dataclass(frozen=True)
class Srun:
    """`srun`: nodes and GPUs come from the allocation, cores a rank do not since Slurm 22.05."""

    config: LauncherConfig
    name: ClassVar[str] = "srun"
    program: ClassVar[str] = "srun"

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """`srun --ntasks=N [--cpus-per-task=C] --cpu-bind=cores [--mpi=KIND]`."""
        cpus = (f"--cpus-per-task={shape.cpus_per_task}",) if shape.cpus_per_task > 1 else ()
        kind = (f"--mpi={mpi}",) if mpi else ()
        # A site's own binding stands among its options.
        own = any(option.startswith("--cpu-bind") for option in self.config.options)
        bind = () if own else tuple(filter(None, (binding(self.config, _BIND),)))
        command = self.config.command or self.program
        return Launch((command, f"--ntasks={shape.ntasks}", *cpus, *bind, *kind, *extra, *self.config.options))
