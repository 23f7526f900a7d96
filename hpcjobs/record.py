"""What is known of a job after its submission; all that `status` needs.

States have a partial order: late or repeated news never moves a job backwards. Only a requeue does,
and it shows as a higher restart count.
"""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from hpcjobs.units import format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class JobState(str, Enum):
    """Where a job is. The value is what people, `--json` and the database see."""

    CREATED = "created"  # reserved here; the scheduler has not confirmed it
    PENDING = "pending"
    HELD = "held"
    RUNNING = "running"
    COMPLETING = "completing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    OOM = "oom"
    NODE_FAIL = "node_fail"
    UNKNOWN = "unknown"  # left the scheduler without a word; may still become anything

    def __str__(self) -> str:
        return self.value

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the job, save a requeue."""
        return self in _FINAL


_FINAL = frozenset({
    JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.TIMEOUT, JobState.OOM, JobState.NODE_FAIL,
})  # fmt: skip
_RANK = {
    JobState.CREATED: 0, JobState.PENDING: 1, JobState.HELD: 1, JobState.RUNNING: 2, JobState.COMPLETING: 3,
}  # fmt: skip
_FINAL_RANK = 4
# Seconds by which `seen` may lag behind the last poll.
_FRESH = 60.0


def advance(old: JobState, new: JobState, *, requeued: bool = False) -> JobState:
    """The state after the news `new` about a job in state `old`.

    `unknown` is not news: it replaces only a state that has no end yet. A requeue may go back.
    """
    if old is JobState.UNKNOWN or requeued:
        return new
    if new is JobState.UNKNOWN:
        return old if old.final else new
    if old.final:
        return old
    return new if _RANK.get(new, _FINAL_RANK) >= _RANK[old] else old


@dataclass(frozen=True)
class Tasks:
    """The tasks of a job array by state: `{"done": "0-8", "failed": "9"}`, and exit codes that are not 0."""

    states: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def build(cls, states: Mapping[int, JobState], codes: Mapping[int, int] | None = None) -> Tasks:
        """From a state and, where known, an exit code per index."""
        by_state: dict[str, list[int]] = {}
        for index, state in states.items():
            by_state.setdefault(state.value, []).append(index)
        return cls(
            {state: format_indices(found) for state, found in sorted(by_state.items())},
            {str(index): code for index, code in sorted((codes or {}).items()) if code},
        )

    def each(self) -> dict[int, JobState]:
        """The state of every task."""
        found: dict[int, JobState] = {}
        for state, text in self.states.items():
            found.update(dict.fromkeys(parse_indices(text), JobState(state)))
        return found

    def counts(self) -> dict[JobState, int]:
        """How many tasks are in each state."""
        return {JobState(state): len(parse_indices(text)) for state, text in self.states.items()}

    def overall(self) -> JobState:
        """The state of the array as one job: running while any task runs, else the worst end."""
        present = {JobState(state) for state in self.states}
        return next((state for state in _WORST_FIRST if state in present), JobState.UNKNOWN)


_WORST_FIRST = (
    JobState.RUNNING, JobState.COMPLETING, JobState.PENDING, JobState.HELD, JobState.CREATED, JobState.UNKNOWN,
    JobState.NODE_FAIL, JobState.OOM, JobState.TIMEOUT, JobState.FAILED, JobState.CANCELLED, JobState.DONE,
)  # fmt: skip


@dataclass(frozen=True)
class JobStatus:
    """What one poll, one exit file or the accounting says of one job. Times are Unix seconds, 0 = not known."""

    state: JobState
    raw: str = ""  # the scheduler's own word for the state
    reason: str = ""  # the scheduler's own reason
    exit_code: int | None = None
    signal: int = 0
    started: float = 0.0
    ended: float = 0.0
    nodes: str = ""
    restarts: int = 0
    tasks: Tasks | None = None  # set for arrays only


@dataclass(frozen=True)
class JobRecord:
    """One tracked job: a row of the database, and all that polling, cancelling and log reading need."""

    id: int  # shown as j12
    tag: str  # unique for ever; what the job is found by in the scheduler after a crash
    name: str
    site: str
    scheduler: str  # kind: slurm, local, …
    folder: str  # the job's own folder, absolute
    workdir: str
    output: str  # standard output; `{index}` stands for the array index
    error: str  # standard error; the same path as `output` when the two are joined
    created: float
    options: Mapping[str, Any] = field(default_factory=dict)  # the scheduler's, from the site file
    array: str = ""  # indices, e.g. 0-9 (without the limit)
    nodes: int = 1
    ntasks: int = 1
    time_limit: int = 0  # seconds; 0 = the scheduler's default
    image: str = ""
    image_digest: str = ""  # sha256:…, of the image that was submitted
    command: tuple[str, ...] = ()
    partition: str = ""
    native_id: str = ""
    state: JobState = JobState.CREATED
    raw: str = ""
    reason: str = ""
    exit_code: int | None = None
    signal: int = 0
    submitted: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    seen: float = 0.0  # when the state was last known for sure
    node_list: str = ""
    restarts: int = 0
    cancelled: float = 0.0  # when a cancel was asked for
    cancelled_tasks: str = ""  # indices of an array whose cancel was asked for
    tasks: Tasks | None = None
    study: int = 0  # the study that it runs points of; 0 = none
    round: int = 0  # the study's round, from 1
    first: int = 0  # the first row of the round's table that it runs
    rows: int = 0  # how many rows
    pack: int = 1  # rows of each task
    at_once: int = 0  # tasks that may run at once; 0 = any number
    lane: int = 0  # of the jobs of a lane, each waits for the one before it

    @property
    def label(self) -> str:
        """The name people type: `j12`."""
        return f"j{self.id}"

    def indices(self) -> tuple[int, ...]:
        """The array's indices; empty for a single job."""
        return parse_indices(self.array) if self.array else ()

    def updated(self, status: JobStatus, now: float) -> JobRecord:
        """This record after the news `status`, learnt at `now`."""
        if status.tasks and self.tasks:
            return self._updated_tasks(status, status.tasks, self.tasks, now)
        requeued = status.restarts > self.restarts
        state = advance(self.state, status.state, requeued=requeued)
        if state is not status.state or status.state is JobState.UNKNOWN:
            tasks = status.tasks if status.state is JobState.UNKNOWN else None
            return replace(self, state=state, reason=status.reason or self.reason, tasks=tasks or self.tasks)
        keep = JobStatus(state) if requeued else self
        return replace(
            self,
            state=state,
            raw=status.raw or self.raw,
            reason=status.reason,
            exit_code=status.exit_code if status.exit_code is not None else keep.exit_code,
            signal=status.signal or keep.signal,
            started=status.started or keep.started,
            ended=status.ended or keep.ended or (now if state.final else 0.0),
            node_list=status.nodes or self.node_list,
            restarts=max(status.restarts, self.restarts),
            tasks=status.tasks or self.tasks,
            seen=now,
        )

    def _updated_tasks(self, status: JobStatus, told: Tasks, known: Tasks, now: float) -> JobRecord:
        """An array whose tasks are known: each goes its own way, and the whole may wait again after it ran."""
        states = known.each()
        for index, state in told.each().items():
            old = states.get(index, state)
            states[index] = old if old.final and not state.final else state
        codes = {int(index): code for index, code in (*known.codes.items(), *told.codes.items())}
        tasks = Tasks.build(states, codes)
        overall = tasks.overall()
        return replace(
            self,
            state=overall,
            raw=status.raw or self.raw,
            reason=status.reason,
            exit_code=status.exit_code if status.exit_code is not None else self.exit_code,
            started=self.started or status.started,
            ended=(status.ended or self.ended or now) if overall.final else 0.0,
            node_list=status.nodes or self.node_list,
            tasks=tasks,
            seen=self.seen if overall is JobState.UNKNOWN else now,
        )

    def learns(self, status: JobStatus, now: float) -> bool:
        """Whether the news says more than is known, or the same for the first time in a minute.

        What tells nothing need not be written: a `status` of a thousand running jobs writes nothing.
        """
        told = (
            status.state,
            status.raw or self.raw,
            status.reason,
            self.exit_code if status.exit_code is None else status.exit_code,
            status.signal or self.signal,
            status.started or self.started,
            status.ended or self.ended,
            status.nodes or self.node_list,
            max(status.restarts, self.restarts),
            status.tasks or self.tasks,
        )
        known = (
            self.state,
            self.raw,
            self.reason,
            self.exit_code,
            self.signal,
            self.started,
            self.ended,
            self.node_list,
            self.restarts,
            self.tasks,
        )
        return told != known or now - self.seen > _FRESH

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads back; without what has its default value.

        So a default never changes: it would change the records that are stored.
        """
        values = {key: value for key, value in vars(self).items() if key in _REQUIRED or value != _DEFAULTS[key]}
        # A `status` reads a thousand of them: half the text is half the time, and asdict() copies deeply.
        return {**values, "state": self.state.value, **({"tasks": asdict(self.tasks)} if self.tasks else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> JobRecord:
        """The inverse of `to_json`; keys of a newer version are ignored."""
        known = cls.__dataclass_fields__.keys()
        values = dict(data) if data.keys() <= known else {key: data[key] for key in data.keys() & known}
        values["state"] = JobState(values.get("state", "created"))
        values["command"] = tuple(values.get("command", ()))
        if values.get("tasks"):
            values["tasks"] = Tasks(**values["tasks"])
        if not values.keys() >= _REQUIRED:
            return cls(**values)  # which says what is missing
        # What the __init__ of a frozen dataclass does, in a third of the time: a `status` reads a thousand records.
        record = object.__new__(cls)
        vars(record).update(_DEFAULTS, **values)
        return record


_FIELDS = fields(JobRecord)
_REQUIRED = {f.name for f in _FIELDS if f.default is MISSING and f.default_factory is MISSING}
_DEFAULTS: dict[str, Any] = {f.name: f.default for f in _FIELDS if f.default is not MISSING} | {"options": {}}


def parse_exit_file(text: str) -> JobStatus | None:
    """Read the `key=value` lines that a job's script writes when it ends; None if they are torn.

    `code` is the exit status of the script, `signal` the one that ended it (0 if none), `start` and `end`
    Unix seconds, `restarts` how often the scheduler had requeued it, `host` the node that wrote it.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    try:
        code, signal = int(values["code"]), int(values.get("signal") or 0)
        start, end = float(values["start"]), float(values["end"])
        restarts = int(values.get("restarts") or 0)
    except (KeyError, ValueError):
        return None
    return JobStatus(
        JobState.DONE if code == 0 else JobState.FAILED,
        exit_code=code,
        signal=signal or (code - 128 if 128 < code <= 192 else 0),  # noqa: PLR2004 - bash: 128 + signal
        started=start,
        ended=end,
        nodes=values.get("host", ""),
        restarts=restarts,
    )


def read_exit_file(path: Path, native_id: str = "") -> JobStatus | None:
    """The end that a job wrote to `path`; None while there is none.

    With `native_id`, the end of another job is none: somebody sent the same script by hand.
    """
    try:
        text = path.read_text("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    # The number alone: servers call themselves by several names (12.server, 12.server.domain).
    writer, owner = re.search(r"^id=(\d+)", text, re.MULTILINE | re.ASCII), re.match(r"\d+", native_id, re.ASCII)
    return None if owner and writer and writer[1] != owner[0] else parse_exit_file(text)


def dump_tasks(tasks: Tasks | None) -> str:
    """JSON for a database column; empty for None."""
    return json.dumps(asdict(tasks), separators=(",", ":")) if tasks else ""


def summary(states: Iterable[JobState]) -> JobState:
    """The overall state of several jobs, worst end last: what an exit code is made of."""
    present = set(states)
    return next((state for state in _WORST_FIRST if state in present), JobState.DONE)
