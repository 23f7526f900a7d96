"""Launchers: the table of those there are.

A new one is a module here with a class that follows `hpcjobs.model.Launcher` and a line in `BUILT_IN`; or the
same in another package behind the entry-point group `hpcjobs.launchers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from hpcjobs.model import Launcher, LauncherConfig

BUILT_IN = {
    "none": "hpcjobs.launchers.none:Alone",
    "srun": "hpcjobs.launchers.srun:Srun",
    "mpirun": "hpcjobs.launchers.mpirun:Mpirun",
    "mpiexec": "hpcjobs.launchers.mpiexec:Mpiexec",
    "pals": "hpcjobs.launchers.pals:Pals",
    "jsrun": "hpcjobs.launchers.jsrun:Jsrun",
}


def names() -> list[str]:
    """The kinds there are, plug-ins included."""
    return sorted({*BUILT_IN, *_plugins()})


def get(config: LauncherConfig) -> Launcher:
    """The launcher that the site's `config` describes.

    Raises:
        NotFoundError: there is none of that kind.
    """
    return cast("Launcher", load(config.kind)(config))


def load(kind: str) -> Any:
    """The class of that kind, imported now."""
    from importlib import import_module

    target = BUILT_IN.get(kind) or _plugins().get(kind)
    if not target:
        raise NotFoundError(f"there is no launcher {kind!r}", hint=nearest(kind, names()))
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def program(config: LauncherConfig) -> str:
    """The program that must be on PATH for it; empty if there is none."""
    return config.command or getattr(load(config.kind), "program", "")


def binding(config: LauncherConfig, known: dict[str, str]) -> str:
    """The launcher's word for the site's `cpu_bind`.

    Raises:
        PlanError: the launcher cannot bind to that.
    """
    if config.cpu_bind not in known:
        raise PlanError(f"{config.kind} cannot bind ranks to {config.cpu_bind}", hint=nearest(config.cpu_bind, known))
    return known[config.cpu_bind]


def no_kind_of_mpi(name: str, mpi: str) -> None:
    """Refuse a kind of MPI where the launcher is the MPI's own.

    Raises:
        PlanError: one was asked for.
    """
    if mpi not in ("", "none"):
        raise PlanError(
            f"{name} has no kinds of MPI, and {mpi} was asked for", hint="use --mpi auto, or --launcher srun"
        )


def _plugins() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group="hpcjobs.launchers")}
