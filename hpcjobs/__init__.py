"""hpcjobs: run a container image on any HPC machine.

`from hpcjobs import Job, submit` is the Python API; the names below are loaded when they are first used, so
that the command line starts fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcjobs.api import cancel, dry_run, jobs, logs, resubmit, status, submit, wait
    from hpcjobs.errors import HpcjobError
    from hpcjobs.model import JobSpec as Job
    from hpcjobs.record import JobRecord, JobState

__version__ = "0.1.0"

_HOMES = {
    "HpcjobError": ("hpcjobs.errors", "HpcjobError"),
    "Job": ("hpcjobs.model", "JobSpec"),
    "JobRecord": ("hpcjobs.record", "JobRecord"),
    "JobState": ("hpcjobs.record", "JobState"),
    "cancel": ("hpcjobs.api", "cancel"),
    "dry_run": ("hpcjobs.api", "dry_run"),
    "inspect_image": ("hpcjobs.api", "inspect_image"),
    "jobs": ("hpcjobs.api", "jobs"),
    "logs": ("hpcjobs.api", "logs"),
    "mpi_plan": ("hpcjobs.api", "mpi_plan"),
    "pull_image": ("hpcjobs.api", "pull_image"),
    "resubmit": ("hpcjobs.api", "resubmit"),
    "status": ("hpcjobs.api", "status"),
    "submit": ("hpcjobs.api", "submit"),
    "wait": ("hpcjobs.api", "wait"),
}

__all__ = [
    "HpcjobError",
    "Job",
    "JobRecord",
    "JobState",
    "cancel",
    "dry_run",
    "inspect_image",
    "jobs",
    "logs",
    "mpi_plan",
    "pull_image",
    "resubmit",
    "status",
    "submit",
    "wait",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpcjobs' has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
