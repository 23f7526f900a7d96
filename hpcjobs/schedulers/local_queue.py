"""The queue of the embedded scheduler: jobs as files, and who may start next.

A job is one JSON file, an array too. Files are replaced as a whole and only under the queue's lock, by clients
(submit, cancel, hold) and by the supervisor alike; so each sees what the other did, and kill -9 at any point
leaves a queue that can be read.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpcjobs import paths
from hpcjobs.record import JobState
from hpcjobs.units import format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

log = logging.getLogger("hpcjobs.local")

# Nanoseconds after which a file that is replaced is sure to get another time: kernels count in ticks of 1 to 10 ms.
_SETTLED = 1_000_000_000


@dataclass(frozen=True)
class Need:
    """What one task takes, and what a machine has: cores, bytes of memory (0 = not asked for), GPUs."""

    cores: int = 1
    memory: int = 0
    gpus: int = 0

    def lacks(self, free: Need) -> str:
        """Which of the three is not there; empty if all are."""
        names = ("cores", "memory", "gpus")
        return next((name for name in names if getattr(self, name) > getattr(free, name)), "")

    def minus(self, other: Need) -> Need:
        """What is left."""
        return Need(self.cores - other.cores, self.memory - other.memory, self.gpus - other.gpus)


@dataclass
class Run:
    """A task that was started. A process is known by its id, its start time and the boot of the machine."""

    pid: int
    start_ticks: int
    boot: str
    started: float
    gpus: list[int] = field(default_factory=list)
    stop: str = ""  # the state it is to end in: cancelled or timeout, once it was told to end
    kill_at: float = 0.0


@dataclass
class End:
    """How a task ended."""

    state: str
    code: int | None = None
    signal: int = 0
    started: float = 0.0
    ended: float = 0.0


@dataclass
class Job:
    """A job in the queue. A single job is an array of one task, 0, that does not show its index."""

    id: int
    tag: str
    name: str
    folder: str
    script: str
    workdir: str
    output: str
    error: str
    user_wants: Need
    umask: int = 0o077
    time_limit: int = 0
    array: str = ""
    limit: int = 0
    dependency: str = ""
    requeue: bool = False
    restarts: int = 0
    held: bool = False
    reason: str = ""
    cancel: set[int] = field(default_factory=set)  # tasks whose end was asked for
    waiting: set[int] = field(default_factory=lambda: {0})  # tasks that have not started
    done: set[int] = field(default_factory=set)  # tasks that ended well
    running: dict[int, Run] = field(default_factory=dict)
    ended: dict[int, End] = field(default_factory=dict)  # those that did not end well, and of a single job its end
    last: float = 0.0  # when the last task ended

    @property
    def over(self) -> bool:
        """Whether no task is left."""
        return not self.waiting and not self.running

    def states(self) -> dict[int, JobState]:
        """The state of every task."""
        waits = JobState.HELD if self.held else JobState.PENDING
        return {
            **dict.fromkeys(self.waiting, waits),
            **dict.fromkeys(self.running, JobState.RUNNING),
            **dict.fromkeys(self.done, JobState.DONE),
            **{index: JobState(end.state) for index, end in self.ended.items()},
        }

    def finish(self, index: int, end: End) -> None:
        """Note the end of a task."""
        self.running.pop(index, None)
        self.waiting.discard(index)
        self.last = max(self.last, end.ended)
        if end.state == JobState.DONE and self.array:
            self.done.add(index)
        else:
            self.ended[index] = end

    def marker(self, index: int) -> str:
        """What the processes of a task carry in their environment, wherever they have gone."""
        return f"{self.tag}.{index}.{self.restarts}"

    def to_json(self) -> str:
        """Text that `from_json` reads back; sets of tasks are written as ranges."""
        data = {**vars(self), "user_wants": vars(self.user_wants)}
        data |= {key: format_indices(data[key]) for key in _SETS}
        data |= {key: {index: vars(value) for index, value in data[key].items()} for key in ("running", "ended")}
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse of `to_json`."""
        data: dict[str, Any] = json.loads(text)
        data["user_wants"] = Need(**data["user_wants"])
        data |= {key: set(parse_indices(data[key])) if data[key] else set() for key in _SETS}
        data["running"] = {int(index): Run(**run) for index, run in data["running"].items()}
        data["ended"] = {int(index): End(**end) for index, end in data["ended"].items()}
        return cls(**data)


_SETS = ("cancel", "waiting", "done")


# ------------------------------------------------------------------------------------------- the files


class Queue:
    """The queue below `root`, a folder of one user on one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.active = root / "active"
        self.over = root / "over"
        self.wake = root / "wake"
        self.supervisor_lock = root / "supervisor.lock"
        self._cache: dict[int, tuple[tuple[int, int], Job]] = {}

    def make(self) -> None:
        """Make the folders and the pipe that wakes the supervisor."""
        for folder in (self.root, self.active, self.over):
            paths.make_private(folder)
        if not self.wake.exists():
            try:
                os.mkfifo(self.wake, 0o600)
            except FileExistsError:
                return

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the queue."""
        with (self.root / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def next_id(self) -> int:
        """A number that was never used; call it under the lock."""
        counter = self.root / "counter"
        number = int(counter.read_text()) + 1 if counter.exists() else 1
        paths.write_private(counter, str(number))
        return number

    def save(self, job: Job) -> None:
        """Write a job; one that is over goes where the supervisor does not look any more."""
        paths.write_private(self.active / f"{job.id}.json", job.to_json())
        if job.over:
            (self.active / f"{job.id}.json").replace(self.over / f"{job.id}.json")
            self.environment(job.id).unlink(missing_ok=True)

    def environment(self, job_id: int) -> Path:
        """The environment of the submission, kept while the job has tasks to start."""
        return self.root / f"{job_id}.environment"

    def load(self, job_id: int) -> Job | None:
        """The job of that number, wherever it is."""
        for folder in (self.active, self.over):
            if job := self._read(folder / f"{job_id}.json", job_id):
                return job
        # It moved between the two looks.
        return self._read(self.over / f"{job_id}.json", job_id)

    def load_active(self) -> list[Job]:
        """The jobs that are not over, first come first."""
        numbers = sorted(int(file.stem) for file in self.active.glob("*.json"))
        found = [self._read(self.active / f"{number}.json", number) for number in numbers]
        return [job for job in found if job]

    def prune(self, before: float) -> None:
        """Forget jobs that were over before that time, and what killed clients left; call it under the lock."""
        for file in self.over.glob("*.json"):
            if file.stat().st_mtime < before:
                file.unlink()
        for file in (*self.root.glob(".*"), *self.active.glob(".*")):
            file.unlink()
        for file in self.root.glob("*.environment"):
            if not (self.active / f"{file.stem}.json").exists():
                file.unlink()

    def forget(self) -> None:
        """Read every file anew."""
        self._cache.clear()

    def _read(self, file: Path, job_id: int) -> Job | None:
        try:
            status = file.stat()
            version = (status.st_ino, status.st_mtime_ns)
            known = self._cache.get(job_id)
            if known and known[0] == version:
                return known[1]
            job = Job.from_json(file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            log.warning("%s is damaged, and its job is left alone: %r", file, error)
            return None
        # A younger file may be replaced within the same tick, and an inode is soon used again.
        if time.time_ns() - status.st_mtime_ns > _SETTLED:
            self._cache[job_id] = (version, job)
        return job


# ------------------------------------------------------------------------------------------- decisions


@dataclass(frozen=True)
class Start:
    """A task that may begin now, with its GPUs."""

    job: Job
    index: int
    gpus: tuple[int, ...]


def decide(jobs: Iterable[Job], machine: Need, state_of: Callable[[str], JobState | None]) -> list[Start]:
    """Which tasks may start: first come, first served; sets every job's reason for waiting.

    A job that does not fit yet blocks those behind it, so that a wide one is never overtaken for ever. Jobs that
    are held, wait for others, or run as many tasks as they may, block nobody; nor do those that came when the
    machine offered more than it does now.
    """
    jobs = list(jobs)
    runs = [(job, run) for job in jobs for run in job.running.values()]
    free = machine
    for job, _ in runs:
        free = free.minus(job.user_wants)
    cards = [n for n in range(machine.gpus) if all(n not in run.gpus for _, run in runs)]
    starts: list[Start] = []
    blocked = ""
    for job in jobs:
        if not job.waiting:
            job.reason = ""
            continue
        too_large = "BadConstraints" if job.user_wants.lacks(machine) else ""
        job.reason = _waits(job, jobs, state_of) or too_large or blocked
        running = len(job.running)
        for index in () if job.reason else sorted(job.waiting):
            if job.limit and running >= job.limit:
                job.reason = "JobArrayTaskLimit"
                break
            if job.user_wants.lacks(free):
                job.reason, blocked = "Resources", "Priority"
                break
            free = free.minus(job.user_wants)
            given, cards = cards[: job.user_wants.gpus], cards[job.user_wants.gpus :]
            starts.append(Start(job, index, tuple(given)))
            running += 1
    return starts


def _waits(job: Job, jobs: list[Job], state_of: Callable[[str], JobState | None]) -> str:
    if job.held:
        return "JobHeldUser"
    answers = {_clause(clause, job, jobs, state_of) for clause in filter(None, job.dependency.split(","))}
    return next((word for word in ("DependencyNeverSatisfied", "Dependency") if word in answers), "")


def _clause(clause: str, job: Job, jobs: list[Job], state_of: Callable[[str], JobState | None]) -> str:
    """Why one clause of a dependency (`afterok:12:13`) keeps a job waiting; empty if it does not."""
    kind, *parents = clause.split(":")
    if kind == "singleton":
        return "Dependency" if any(o.name == job.name and o.id < job.id for o in jobs) else ""
    words = ""
    for parent in parents:
        state = state_of(parent)
        if state is None:
            # Forgotten long ago; hpcjob has left out those that it knows to be satisfied.
            if kind in {"after", "afterany"}:
                continue
            return "DependencyNeverSatisfied"
        if kind == "after":
            words = words or ("Dependency" if state in {JobState.PENDING, JobState.HELD} else "")
        elif not state.final:
            words = "Dependency"
        elif (kind == "afternotok") is (state is JobState.DONE) and kind != "afterany":
            return "DependencyNeverSatisfied"
    return words


def need(plan: Mapping[str, Any]) -> Need:
    """What a job needs, from its plan as JSON (memory in bytes)."""
    shape = plan["shape"]
    cores = shape["ntasks"] * shape["cpus_per_task"]
    memory = plan["mem"] or (plan["mem_per_cpu"] or 0) * cores
    return Need(cores, memory, shape["gpus_per_node"])
