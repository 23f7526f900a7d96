"""Batch systems: the protocol, and the table of those there are.

A new one is a module here with a class that follows `Scheduler`, a line in `BUILT_IN`, and a template of its
name; or the same in another package behind the entry-point group `hpcjobs.schedulers`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hpcjobs.errors import NotFoundError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcjobs.limits import Rules
    from hpcjobs.model import Partition, Plan
    from hpcjobs.process import Runner
    from hpcjobs.record import JobRecord, JobStatus
    from hpcjobs.seen import SeenScheduler

BUILT_IN = {
    "slurm": "hpcjobs.schedulers.slurm:Slurm",
    "pbs": "hpcjobs.schedulers.pbs:Pbs",
    "local": "hpcjobs.schedulers.local:Local",
    "lsf": "hpcjobs.schedulers.lsf:Lsf",
}

# Logins of registries, which are for the submission alone: they reach no job, and no file that a queue keeps.
LOGINS = frozenset({
    "HPCJOBS_REGISTRY_USER", "HPCJOBS_REGISTRY_PASSWORD", "APPTAINER_DOCKER_USERNAME", "APPTAINER_DOCKER_PASSWORD",
    "SINGULARITY_DOCKER_USERNAME", "SINGULARITY_DOCKER_PASSWORD", "CH_IMAGE_USERNAME", "CH_IMAGE_PASSWORD",
})  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """Why a job is where it is, in words, and what its owner can do."""

    reason: str  # the scheduler's own word
    words: str
    advice: str = ""
    expected_start: float = 0.0  # Unix seconds; 0 = the scheduler does not say


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` learnt of a scheduler."""

    version: str
    details: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""


@dataclass(frozen=True)
class Limits:
    """What the scheduler takes of one user; 0 = not known, or no limit."""

    max_array: int = 0  # tasks of one array
    max_submit: int = 0  # jobs in its queue, each task of an array counted


@dataclass(frozen=True)
class Free:
    """What of a partition is free at this moment."""

    state: str = "up"  # or the scheduler's own word for why no job starts there: down, drain, stopped
    nodes: int = 0  # in all
    idle: int = 0  # nodes on which nothing runs
    mixed: int = 0  # nodes of which a part is free
    cores: int | None = None  # free ones; None = not known
    gpus: int = 0  # in all
    free_gpus: int = 0
    max_time: int = 0  # seconds; 0 = not known, or no limit


@dataclass(frozen=True)
class Forecast:
    """When a job would start, if it were submitted now."""

    start: float = 0.0  # Unix seconds; 0 = not known
    refused: str = ""  # why the scheduler would not take it
    nodes: str = ""
    why: str = ""  # why it is not known


class Scheduler(Protocol):
    """A batch system. Constructors run nothing; every call is at most one scheduler command and has a timeout.

    Every method may raise UnreachableError (nothing is known) and RefusedError (the scheduler said no).
    """

    name: str
    identified: bool  # whether `identify` has nothing to ask

    def identify(self) -> dict[str, Any]:
        """What must be known of this very installation before a script is written; kept with each job (`extra`)."""

    def spell(self, plan: Plan) -> dict[str, Any]:
        """What only this module can write for its template, which finds it as `plan.native`.

        Raises:
            PlanError: it cannot express a field; says what is nearest.
        """

    def submit(self, script: Path, *, tag: str, record: JobRecord, keep_fds: Sequence[int] = ()) -> str:
        """Hand the script over; the native id. `keep_fds` stay open in the command that submits.

        An UnreachableError with `maybe_done` means that the job may be in the queue all the same.
        """

    def poll(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """The status of each job, by native id; an absent id is one that the scheduler no longer knows.

        For an array `JobStatus.tasks` holds the tasks that the scheduler still knows.
        """

    def accounting(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """What the scheduler remembers of jobs that left its queue, by native id; may be empty."""

    def target(self, record: JobRecord, indices: Sequence[int]) -> str:
        """What `cancel` takes for the job, or for some tasks of an array."""

    def cancel(self, targets: Sequence[str]) -> dict[str, str]:
        """Cancel what `target` named: {target: "" or why not}."""

    def hold(self, targets: Sequence[str]) -> dict[str, str]:
        """Keep pending jobs from starting: {id: "" or why not}."""

    def release(self, targets: Sequence[str]) -> dict[str, str]:
        """Let held jobs start: {id: "" or why not}."""

    def requeue(self, targets: Sequence[str]) -> dict[str, str]:
        """End running jobs and put them back into the queue: {id: "" or why not}."""

    def find(self, tags: Mapping[str, float]) -> dict[str, str]:
        """Native ids of the jobs submitted with these tags (tag: Unix time of the reservation).

        Looks in the queue and in the accounting, where there is one; a tag that is absent from the answer
        was never accepted.
        """

    def explain(self, job: JobRecord) -> Explanation:
        """Why the job is not running."""

    def dependency(self, kind: str, native_ids: Sequence[str]) -> str:
        """How the template writes that a job waits for others (`afterok:12:13`)."""

    def partitions(self) -> dict[str, Partition]:
        """The partitions and limits that the scheduler itself reports; empty if it does not."""

    def limits(self) -> Limits:
        """How long an array may be, and how many jobs a user may have; asked at most once an hour."""

    def rules(self) -> Rules:
        """What the person who submits may use, and how much of it; asked at most once an hour, never an error."""

    def free(self) -> dict[str, Free]:
        """What of each partition is free now, by the scheduler's own names."""

    def forecast(self, script: str) -> Forecast:
        """When a job of this script would start; nothing is queued."""

    def survey(self) -> SeenScheduler:
        """What a site file can say of the machine (`hpcjob site init`).

        Raises:
            UsageError: there is nothing to learn from this scheduler.
        """

    def diagnose(self) -> Diagnosis:
        """Whether it answers, and with which version."""


def names() -> list[str]:
    """The kinds there are, plug-ins included."""
    return sorted({*BUILT_IN, *_plugins()})


def get(kind: str, options: Mapping[str, Any], runner: Runner) -> Scheduler:
    """The scheduler of that kind; `options` are a site's `SchedulerConfig` as a dictionary.

    Raises:
        NotFoundError: there is none of that kind.
    """
    return load(kind)(options, runner)  # type: ignore[no-any-return]


def load(kind: str) -> Any:
    """The class of that kind, imported now."""
    from importlib import import_module

    target = BUILT_IN.get(kind) or _plugins().get(kind)
    if not target:
        raise NotFoundError(f"there is no scheduler {kind!r}", hint=nearest(kind, names()))
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _plugins() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group="hpcjobs.schedulers")}
