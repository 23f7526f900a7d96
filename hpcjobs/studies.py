"""Studies as they are now: their points, and what a selector of theirs stands for. Light enough for `status`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import ends, paths
from hpcjobs.errors import HpcjobError, NotFoundError, UsageError
from hpcjobs.record import JobRecord, JobState
from hpcjobs.schedulers import Explanation
from hpcjobs.service import Outcome, Refreshed, Selected, Service
from hpcjobs.sweep import command, state, table
from hpcjobs.units import nearest, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcjobs.sweep.record import StudyRecord
    from hpcjobs.sweep.results import PointInfo
    from hpcjobs.sweep.values import Value

_SELECTOR = re.compile(r"(?:sweep:)?s(\d+)(?:\[(.*)\])?", re.ASCII)
_STATES = {
    **{each.value: frozenset({each}) for each in JobState},
    "unsent": frozenset({JobState.CREATED}),
    "failed": state.FAILED,
    "missing": state.MISSING,
}


@dataclass(frozen=True)
class Known:
    """A study as it is now."""

    study: StudyRecord
    jobs: list[JobRecord]
    points: state.Points
    errors: list[HpcjobError] = field(default_factory=list)


@dataclass(frozen=True)
class Chosen:
    """What a selector stands for: a study, or some of its points."""

    study: StudyRecord
    numbers: tuple[int, ...] = ()  # empty = all of them


@dataclass(frozen=True)
class Cancelled:
    """What a cancellation of points did."""

    points: tuple[int, ...]  # those that will not run, or are ended
    running: tuple[int, ...]  # those that run in a pack beside others, and cannot be ended alone
    outcomes: list[Outcome]


def is_study(selector: str) -> bool:
    """Whether a selector is about a study: s4, sweep:s4, s4[17]."""
    return bool(_SELECTOR.fullmatch(selector))


def known(service: Service, study: StudyRecord, *, force: bool = False) -> Known:
    """Ask the scheduler, one command, and read what tasks and points wrote."""
    fresh = service.refresh(service.store.jobs_of(study.id), force=force)
    return _read(service, study.id, fresh)


def refresh(service: Service, records: Sequence[JobRecord], numbers: Iterable[int]) -> tuple[Refreshed, list[Known]]:
    """Jobs and studies as they are now, by one question to each scheduler."""
    members = {number: service.store.jobs_of(number) for number in numbers}
    fresh = service.refresh([*records, *(job for jobs in members.values() for job in jobs)])
    now = {job.id: job for job in fresh.records}
    found = [_read(service, number, Refreshed([now[job.id] for job in jobs])) for number, jobs in members.items()]
    return Refreshed([now[record.id] for record in records], fresh.errors), found


def _read(service: Service, number: int, fresh: Refreshed) -> Known:
    study = service.store.study(number)  # read last: it has the rounds of all of these jobs
    folder = paths.StudyFolder(Path(study.folder))
    written = state.read_ends(folder.ends, state.POINTS)
    skipped = [int(file.name) for file in folder.skip.glob("*")] if folder.skip.is_dir() else []
    return Known(study, fresh.records, state.merge(study, fresh.records, written, skipped), fresh.errors)


def is_over(now: Known, clock: float) -> bool:
    """Whether there is nothing to wait for: no point runs or waits in a queue, and no end may still come over NFS."""
    found = now.points.counts()
    if any(count for each, count in found.items() if not each.final and each not in _NOWHERE):
        return False
    return not found[JobState.UNKNOWN] or all(_is_settled(job, clock) for job in now.jobs)


_NOWHERE = frozenset({JobState.CREATED, JobState.UNKNOWN})


def select(service: Service, selector: str) -> Chosen:
    """The study, or the points of it, that a selector stands for.

    Raises:
        UsageError: it is none.
        NotFoundError: there is no such study or point.
    """
    match = _SELECTOR.fullmatch(selector)
    if not match:
        raise UsageError(f"{selector!r} is not a study", hint="write s4, or s4[17]; hpcjob sweep list shows them")
    study = service.store.study(int(match[1]))
    return Chosen(study, _numbers(service, study, match[2])) if match[2] is not None else Chosen(study)


def _numbers(service: Service, study: StudyRecord, text: str) -> tuple[int, ...]:
    if re.fullmatch(r"[a-z_]+", text):
        if text not in _STATES:
            raise UsageError(f"{text!r} is no state of a point", hint=nearest(text, _STATES))
        numbers = known(service, study).points.some(_STATES[text])
        if not numbers:
            raise NotFoundError(f"no point of {study.label} is {text}", hint=f"hpcjob status {study.label}")
        return numbers
    numbers = parse_indices(text)
    if numbers[-1] >= study.points:
        raise NotFoundError(
            f"{study.label} has no point {numbers[-1]}",
            hint=f"its points are 0-{study.points - 1}: {study.label}[{study.points - 1}]",
        )
    return numbers


def tasks_of(now: Known, numbers: Iterable[int]) -> list[Selected]:
    """The tasks that run these points and no others; those that run others too are left out."""
    wanted = set(numbers)
    members: dict[tuple[int, int], list[int]] = {}
    for number, place in now.points.jobs.items():
        members.setdefault(place, []).append(number)
    found: dict[int, list[int]] = {}
    for (job, task), points in sorted(members.items()):
        if wanted.issuperset(points):
            found.setdefault(job, []).append(task)
    jobs = {job.id: job for job in now.jobs}
    return [Selected(jobs[job], tuple(tasks)) for job, tasks in found.items()]


def _is_settled(job: JobRecord, clock: float) -> bool:
    """Whether no end of its points comes any more."""
    return ends.is_over(job, clock) and clock - job.ended > ends.LATE


def comes_to_nothing(now: Known, number: int, clock: float) -> bool:
    """Whether a point has ended, or nobody will bring it to an end: nothing more is to be waited for."""
    each, place = now.points.states[number], now.points.jobs.get(number)
    if each is JobState.UNKNOWN:
        job = next((job for job in now.jobs if place and job.id == place[0]), None)
        return job is None or _is_settled(job, clock)
    if each is JobState.CREATED:  # in no job, or one of a pack that ended before its turn
        return now.study.stopped or place is not None
    return each.final


def jobs_of(service: Service, selector: str) -> list[Selected]:
    """The jobs of a study, or the tasks that run some points of it.

    Raises:
        UsageError: points share their tasks with others, or are in no job.
    """
    chosen = select(service, selector)
    if not chosen.numbers:
        return [Selected(job) for job in service.store.jobs_of(chosen.study.id)]
    now = known(service, chosen.study)
    found = tasks_of(now, chosen.numbers)
    covered = {(one.record.id, task) for one in found for task in one.indices}
    for number in chosen.numbers:
        if now.points.jobs.get(number) not in covered:
            shared = "shares its task with others" if number in now.points.jobs else "is in no job yet"
            raise UsageError(
                f"point {number} of {chosen.study.label} {shared}",
                hint=f"take the whole study: {chosen.study.label}; hpcjob status '{chosen.study.label}[{number}]'",
            )
    return found


def points_of(study: StudyRecord, job: JobRecord, task: int | None = None) -> tuple[int, ...]:
    """The points that a job of a study runs, or one of its tasks."""
    members = study.rounds[job.round - 1].numbers()[job.first : job.first + job.rows]
    return members if task is None else members[task * job.pack : (task + 1) * job.pack]


def explain(service: Service, now: Known, number: int) -> Explanation:
    """Why a point is where it is, or how it ended."""
    each, code, label = now.points.states[number], now.points.exit_code(number), now.study.label
    job, task = now.points.jobs.get(number, (0, 0))
    if each is JobState.DONE:
        return Explanation("", "it ended well")
    if each in _ENDS:
        words, option = _ENDS[each]
        return Explanation("", words, f"hpcjob resubmit '{label}[{number}]'{option} runs it again")
    if each is JobState.CREATED:
        never = number not in now.points.jobs and not now.study.stopped
        verb = f"hpcjob sweep resume {label}" if never else f"hpcjob resubmit {label} --missing"
        return Explanation("", "it is in no queue", f"{verb} sends it")
    if each is JobState.RUNNING:
        return Explanation("", f"it runs, in task {task} of j{job}", f"hpcjob logs -f '{label}[{number}]'")
    if each is JobState.FAILED and code:
        words, advice = ends.describe_exit(code, max(0, code - state.SIGNALLED))
        return Explanation("", words, advice or f"hpcjob logs '{label}[{number}]' shows what it wrote")
    record = next(one for one in now.jobs if one.id == job)
    if each is JobState.PENDING and record.state is JobState.RUNNING:
        return Explanation("", f"its turn comes yet: others of j{job} run")
    return service.explain(record)


_ENDS = {
    JobState.TIMEOUT: ("its time was over", " --time x2"),
    JobState.OOM: ("it was killed for using more memory than it asked for", " --mem x2"),
    JobState.NODE_FAIL: ("a node failed under it", ""),
    JobState.CANCELLED: ("it was cancelled", ""),
}


def cancel_points(service: Service, study: StudyRecord, numbers: Sequence[int]) -> Cancelled:
    """Keep points from running, and end those that run: in a pack only such as do not share a task that goes on."""
    now = known(service, study, force=True)
    states = now.points.states
    alive = [number for number in numbers if not states[number].final]
    folder = paths.StudyFolder(Path(study.folder)).skip
    for number in alive:
        (folder / str(number)).touch(mode=0o600)
    over = [number for number, each in enumerate(states) if each.final]
    places = {now.points.jobs.get(number) for number in alive}
    whole = tasks_of(now, {*alive, *over})
    ending = [
        Selected(one.record, tasks)
        for one in whole
        if (tasks := tuple(task for task in one.indices if (one.record.id, task) in places))
    ]
    outcomes = service.cancel(ending)
    ended = {(one.record.id, task) for one in ending for task in one.indices}
    shared = tuple(n for n in alive if states[n] is JobState.RUNNING and now.points.jobs.get(n) not in ended)
    return Cancelled(tuple(n for n in alive if n not in shared), shared, outcomes)


def cancel(service: Service, study: StudyRecord) -> list[Outcome]:
    """End the whole study: its jobs, and what was not sent yet is not sent by itself any more."""
    service.store.stop_study(study.id, stopped=True)
    open_jobs = [job for job in service.store.jobs_of(study.id) if not job.state.final]
    return service.cancel([Selected(job) for job in open_jobs])


# ----------------------------------------------------------------------------------- a point's files


def folder_of(study: StudyRecord, number: int, parameters: Mapping[str, Value]) -> Path:
    """Where a point runs."""
    place = command.fill(study.place, {**parameters, "point": number}, workdir=study.workdir) if study.place else ""
    return Path(study.workdir) / place


def log_of(study: StudyRecord, number: int, parameters: Mapping[str, Value]) -> Path:
    """What a point writes."""
    if study.log:
        name = command.fill(study.log, {**parameters, "point": number}, workdir=study.workdir)
        return Path(study.workdir) / name
    if study.place:
        return folder_of(study, number, parameters) / "output.log"
    return paths.StudyFolder(Path(study.folder)).log(number)


def log_of_one(service: Service, selector: str) -> Path:
    """What the point writes that a selector stands for.

    Raises:
        UsageError: it stands for several.
    """
    chosen = select(service, selector)
    if len(chosen.numbers) != 1:
        raise UsageError(
            f"{selector} is many points, and each has a log of its own",
            hint=f"name one: hpcjob logs '{chosen.study.label}[{(chosen.numbers or (0,))[0]}]'",
        )
    (number,) = chosen.numbers
    return log_of(chosen.study, number, table.values(chosen.study, [number])[number])


def infos(now: Known) -> Iterator[PointInfo]:
    """What the results of each point are gathered from."""
    from hpcjobs.sweep.results import PointInfo

    study, points = now.study, now.points
    for number, parameters in table.values(study, range(study.points)).items():
        yield PointInfo(
            number=number,
            parameters=parameters,
            state="unsent" if points.states[number] is JobState.CREATED else str(points.states[number]),
            exit_code=points.exit_code(number),
            seconds=points.seconds(number),
            attempts=points.attempts[number],
            folder=folder_of(study, number, parameters),
            log=log_of(study, number, parameters),
        )
