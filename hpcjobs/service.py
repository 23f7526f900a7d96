"""The use cases: what the command line and the Python API call."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from hpcjobs.errors import HpcjobError
    from hpcjobs.model import JobSpec, Plan, Script, Site
    from hpcjobs.process import Runner
    from hpcjobs.record import JobRecord
    from hpcjobs.schedulers import Explanation


@dataclass(frozen=True)
class Prepared:
    """A job that is planned and rendered, and not yet anywhere."""

    spec: JobSpec
    site: Site
    plan: Plan
    script: Script


@dataclass(frozen=True)
class Selected:
    """A job, or some tasks of an array: what a selector stands for."""

    record: JobRecord
    indices: tuple[int, ...] = ()  # empty = the whole job


@dataclass(frozen=True)
class Refreshed:
    """Jobs after a poll, in the order asked, and what went wrong with schedulers that did not answer."""

    records: list[JobRecord]
    errors: list[HpcjobError] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What a cancel, hold or release did to one job."""

    record: JobRecord
    problem: str = ""  # empty = done


@dataclass(frozen=True)
class Failure:
    """Why a job ended as it did, in words."""

    words: str  # "the program was killed by signal 9 (SIGKILL)"
    advice: str = ""
    tail: tuple[str, ...] = ()  # the last lines of its error file
    file: str = ""


@dataclass(frozen=True)
class Finding:
    """One line of `doctor`."""

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    hint: str = ""


class Service:
    """The use cases over one job database. Cheap to make: nothing is opened or run before it is needed."""

    def __init__(
        self,
        *,
        runner: Runner | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        raise NotImplementedError

    def prepare(self, spec: JobSpec, *, site: str = "", site_file: str = "") -> Prepared:
        """Plan and render; nothing is written and nothing is queued (`render`, `submit --dry-run`)."""

    def submit(self, spec: JobSpec, *, site: str = "", site_file: str = "") -> JobRecord:
        """Plan, render, reserve, submit, commit."""

    def resubmit(self, selected: Sequence[Selected]) -> list[JobRecord]:
        """Submit jobs again from their stored requests; of an array, the selected tasks."""

    def select(self, selectors: Sequence[str]) -> list[Selected]:
        """Jobs by selector: j12, a native id, j3-j9, last, all, active, failed, j12[3-5]."""

    def active(self) -> list[JobRecord]:
        """Jobs that have not ended, oldest first."""

    def recent(self, seconds: float) -> list[JobRecord]:
        """Active jobs, and those that ended within `seconds`, oldest first (what plain `status` shows)."""

    def history(self, *, limit: int = 0, since: float = 0.0) -> list[JobRecord]:
        """All jobs, newest first."""

    def refresh(self, records: Sequence[JobRecord], *, force: bool = False) -> Refreshed:
        """Ask the schedulers, one command each; within a site's poll interval what is known is returned."""

    def wait(
        self,
        records: Sequence[JobRecord],
        *,
        timeout: float | None = None,
        on_change: Callable[[JobRecord], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> list[JobRecord]:
        """Wait until all have ended. Raises WaitTimeoutError; a scheduler that does not answer is asked again."""

    def cancel(self, selected: Sequence[Selected]) -> list[Outcome]:
        """Cancel; one scheduler command a cluster. Jobs that have ended are reported, not an error."""

    def hold(self, selected: Sequence[Selected]) -> list[Outcome]:
        """Keep pending jobs from starting."""

    def release(self, selected: Sequence[Selected]) -> list[Outcome]:
        """Let held jobs start."""

    def explain(self, record: JobRecord) -> Explanation:
        """Why it is not running, or how it ended."""

    def failure(self, record: JobRecord, *, lines: int = 10) -> Failure | None:
        """Why it ended badly; None if it did not."""

    def log_file(self, record: JobRecord, stream: Literal["output", "error"], index: int | None = None) -> Path:
        """Where the job writes; of an array, the task `index` is needed."""

    def plan_of(self, record: JobRecord) -> dict[str, object]:
        """The stored plan (plan.json)."""

    def script_of(self, record: JobRecord) -> str:
        """The script as submitted."""

    def doctor(self, *, site: str = "", site_file: str = "") -> list[Finding]:
        """Check the database, the folders, the site, its scheduler, launcher and runtimes; heal what a crash left."""
