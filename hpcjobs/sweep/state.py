"""Where the points of a study are: what tasks and points wrote when they ended, and what the scheduler says of tasks.

The order of trust is that of jobs (`ends`): a point's own record; then the state of its task, which knows why a task
was ended (walltime, memory, node). Of a study of 100,000 points this reads as many lines, so it keeps to plain loops.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcjobs.record import JobState, JobStatus
from hpcjobs.units import parse_indices

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from hpcjobs.record import JobRecord
    from hpcjobs.sweep.record import StudyRecord

# What timeout(1) ends with when the time of a point in a pack was over.
TIMED_OUT = 124
CANCELLED = "cancelled"
# bash(1), EXIT STATUS: 128 + signal.
SIGNALLED = 128
# By these a task is told to end (point.sh); by others a program ends itself.
_STOPPED = frozenset(map(str, (129, 130, 137, 138, 140, 143, 152)))
_TIME = r"\d+(?:\.\d+)?"
# A full disk tears lines, and the next one goes on where it was torn: a line is one only as a whole.
_LINES = {
    "b": rf"b \w+ \d+ {_TIME}",
    "p": rf"p \w+ \d+ (?:\d+|cancelled) {_TIME} {_TIME}",
    "t": rf"t \w+ \d+ \d+ \d+ {_TIME} {_TIME} \d+ \S+",
}
# Ends of a task for which the scheduler knows a better reason than the code of a program that was stopped by it.
_OVERRULE = frozenset({JobState.TIMEOUT, JobState.OOM, JobState.NODE_FAIL, JobState.CANCELLED})
FAILED = frozenset({JobState.FAILED, JobState.TIMEOUT, JobState.OOM, JobState.NODE_FAIL})
# Points that have no end and that nobody will bring to one: CREATED are those in no queue.
MISSING = frozenset({JobState.CREATED, JobState.CANCELLED, JobState.UNKNOWN})
# Seconds of the past from which the rate is computed.
_WINDOW = 300.0


@dataclass
class Ends:
    """What one job's tasks and points wrote; the fields of a line each, as text."""

    points: dict[int, list[str]] = field(default_factory=dict)  # number: POINT CODE START END
    begun: set[int] = field(default_factory=set)
    tasks: dict[int, list[str]] = field(default_factory=dict)  # index: INDEX CODE SIGNAL START END RESTARTS ID

    @property
    def native_id(self) -> str:
        """The scheduler's id, as the tasks knew it; empty before the first end."""
        return next((parts[6] for parts in self.tasks.values() if parts[6] != "-"), "")

    def task(self, index: int) -> JobStatus | None:
        """The end that a task wrote; None while there is none."""
        if index not in self.tasks:
            return None
        _, code, number, start, end, restarts, _ = self.tasks[index]
        return JobStatus(
            JobState.DONE if code == "0" else JobState.FAILED,
            exit_code=int(code),
            signal=int(number) or (int(code) - SIGNALLED if int(code) > SIGNALLED else 0),
            started=float(start),
            ended=float(end),
            restarts=int(restarts),
        )


TASKS, POINTS = "t", "bp"


def parse_ends(
    text: str, into: dict[str, Ends], kinds: str = TASKS + POINTS, tags: Container[str] | None = None
) -> None:
    """Read the lines that one node wrote; `into` is by the jobs' tags. Lines that are torn or of other shape are left.

    Of several ends of a point or task, as after a requeue, the last counts. `kinds` are the letters of the lines that
    are wanted, `tags` the jobs.
    """
    wanted = "|".join(_LINES[kind] for kind in kinds)
    for line in re.findall(rf"^(?:{wanted})(?=\n)", text, re.MULTILINE | re.ASCII):
        kind, tag, *parts = line.split(" ")
        if tags is not None and tag not in tags:
            continue
        ends = into.get(tag) or into.setdefault(tag, Ends())
        number = int(parts[0])
        if kind == "p":
            _keep_last(ends.points, number, parts, 3)
        elif kind == "t":
            _keep_last(ends.tasks, number, parts, 4)
        else:
            ends.begun.add(number)


def _keep_last(known: dict[int, list[str]], number: int, parts: list[str], end: int) -> None:
    before = known.get(number)
    if before is None or float(before[end]) <= float(parts[end]):
        known[number] = parts


def read_ends(folder: Path, kinds: str = TASKS + POINTS, tags: Container[str] | None = None) -> dict[str, Ends]:
    """What was written to the files of that folder, one a node, by the tags of jobs."""
    found: dict[str, Ends] = {}
    for file in sorted(folder.glob("*")):
        parse_ends(file.read_text("ascii", "replace"), found, kinds, tags)
    return found


@dataclass
class Points:
    """The state of each point of a study, and its last end if it wrote one."""

    states: list[JobState]
    ends: dict[int, list[str]]
    attempts: list[int]
    jobs: dict[int, tuple[int, int]]  # number: the job that ran it last, and the task
    skipped: frozenset[int] = frozenset()  # those whose owner wants no end of them

    def counts(self) -> Counter[JobState]:
        """How many points are in each state."""
        return Counter(self.states)

    def some(self, wanted: frozenset[JobState]) -> tuple[int, ...]:
        """The numbers of the points in these states."""
        return tuple(number for number, state in enumerate(self.states) if state in wanted)

    def exit_code(self, number: int) -> int | None:
        """What a point ended with."""
        end = self.ends.get(number)
        return int(end[1]) if end and end[1] != CANCELLED else None

    def seconds(self, number: int) -> float | None:
        """How long a point ran."""
        end = self.ends.get(number)
        return max(0.0, round(float(end[3]) - float(end[2]), 6)) if end else None

    def rate(self, now: float) -> float:
        """Points a second that ended of late; 0 if none did."""
        recent = [end for end in (float(parts[3]) for parts in self.ends.values()) if end > now - _WINDOW]
        return len(recent) / max(1.0, now - min(recent)) if recent else 0.0


def merge(
    study: StudyRecord, jobs: Sequence[JobRecord], ends: Mapping[str, Ends], skipped: Iterable[int] = ()
) -> Points:
    """The state of every point, from the jobs as they are known and from what was written.

    Points of a round that no job has yet are CREATED, and so are those of a pack whose task ended before their turn.
    Points that are `skipped` will not be begun any more.
    """
    found = Points([JobState.CREATED] * study.points, {}, [0] * study.points, {}, frozenset(skipped))
    rounds = [each.numbers() for each in study.rounds]
    last = [0] * study.points
    for number, members in enumerate(rounds, 1):
        for point in members:
            last[point] = number
    for job in jobs:
        if job.raw == "NOT_SUBMITTED":
            continue
        members = rounds[job.round - 1][job.first : job.first + job.rows]
        _merge_job(found, job, members, ends.get(job.tag) or Ends(), last)
    for point in found.skipped:
        if found.states[point] in _WAITING:
            found.states[point] = JobState.CANCELLED
    return found


def _merge_job(found: Points, job: JobRecord, members: Sequence[int], ends: Ends, last: Sequence[int]) -> None:
    tasks = job.tasks.each() if job.tasks else {}
    # Names of this function are found faster than attributes, of which there would be a million.
    states, attempts, jobs, written, begun = found.states, found.attempts, found.jobs, ends.points, ends.begun
    pack, overall, number = job.pack, job.state, job.round
    for row, point in enumerate(members):
        attempts[point] += 1
        if last[point] > number:
            continue
        task = row // pack
        jobs[point] = (job.id, task)
        state = tasks.get(task, overall)
        end = written.get(point)
        if end is not None:
            found.ends[point] = end
            states[point] = JobState.DONE if end[1] == "0" else _ended(end[1], state, pack=pack > 1)
        elif state is JobState.DONE:
            states[point] = JobState.UNKNOWN  # its record may come later, over NFS
        elif pack > 1 and point not in begun and state not in _WAITING:
            running = state in {JobState.RUNNING, JobState.COMPLETING}
            states[point] = JobState.PENDING if running else JobState.CREATED
        else:
            states[point] = state


_WAITING = frozenset({JobState.PENDING, JobState.HELD, JobState.CREATED, JobState.UNKNOWN})


def _ended(code: str, task: JobState, *, pack: bool) -> JobState:
    if code == CANCELLED:
        return JobState.CANCELLED
    if pack and int(code) == TIMED_OUT:
        return JobState.TIMEOUT
    stopped = not pack or code in _STOPPED
    return task if stopped and task in _OVERRULE else JobState.FAILED


def causes(points: Points, jobs: Sequence[JobRecord]) -> dict[int, str]:
    """Why points did not end well, in the words of `--retry`: {number: cause}.

    What was cancelled without its owner's wish was preempted: the scheduler has no other word for a task. Those of a
    pack whose turn did not come were kept from it by what ended the task.
    """
    tasks = {job.id: job.tasks.each() if job.tasks else {} for job in jobs}
    whole = {job.id: job for job in jobs}
    wished = {job.id: parse_indices(job.cancelled_tasks) if job.cancelled_tasks else () for job in jobs}
    found = {}
    for number, (job, task) in points.jobs.items():
        state = points.states[number]
        if state is JobState.CREATED:
            state = tasks[job].get(task, whole[job].state)
        if number in points.skipped or (number in points.ends and points.ends[number][1] == CANCELLED):
            continue
        if state in FAILED:
            found[number] = state.value
        elif state is JobState.CANCELLED and not (whole[job].cancelled or task in wished[job]):
            found[number] = PREEMPTED
    return found


PREEMPTED = "preempted"
CAUSES = (*(state.value for state in JobState if state in FAILED), PREEMPTED)


def end_words(code: int) -> str:
    """An exit code in a word or two: `exit 3`, `SIGKILL`."""
    number = code - SIGNALLED
    if number in set(signal.Signals):
        return signal.Signals(number).name
    return f"exit {code}"
