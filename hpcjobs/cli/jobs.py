"""Jobs as rows of a table, as JSON, and as words."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from hpcjobs import ends
from hpcjobs.cli import out
from hpcjobs.errors import UsageError
from hpcjobs.record import JobState
from hpcjobs.units import DAY, HOUR, MINUTE, age, format_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hpcjobs.errors import HpcjobError
    from hpcjobs.record import JobRecord, Tasks
    from hpcjobs.service import Failure, Refreshed, Selected, Service
    from hpcjobs.studies import Known

HEADER = ("ID", "NAME", "STATE", "NODES", "TIME/LIMIT", "SITE", "NATIVE", "REASON")

# A state that was last known for sure longer ago than this is shown with its age.
_STALE = 120.0

_COLOURS = {
    JobState.DONE: "green",
    JobState.RUNNING: "cyan",
    JobState.COMPLETING: "cyan",
    JobState.CREATED: "yellow",
    JobState.PENDING: "yellow",
    JobState.HELD: "yellow",
    JobState.UNKNOWN: "yellow",
}


def colour(state: JobState) -> str:
    """The colour of a state: red if it is a bad end."""
    return _COLOURS.get(state, "red")


def table(selected: Sequence[Selected]) -> None:
    """Print jobs, a row each; of an array with chosen tasks, a row a task."""
    for line in table_lines(selected):
        out.say(line)


def table_lines(selected: Sequence[Selected], more: Sequence[tuple[Sequence[str], str]] = ()) -> list[str]:
    """The lines of `table`, and below them others in their colours."""
    rows: list[Sequence[str]] = []
    colours = []
    now = out.now()
    for chosen in selected:
        for row, state in _task_rows(chosen) if chosen.indices else [_row(chosen.record, now)]:
            rows.append(row)
            colours.append(colour(state))
    return out.table_lines(HEADER, [*rows, *(row for row, _ in more)], [*colours, *(painted for _, painted in more)])


def _row(record: JobRecord, now: float) -> tuple[tuple[str, ...], JobState]:
    row = (
        record.label,
        record.name,
        state_words(record, now),
        f"{record.nodes}({record.ntasks})",
        f"{clock(elapsed(record, now))}/{clock(record.time_limit or None)}",
        record.site,
        record.native_id,
        reason(record),
    )
    return row, record.state


def _task_rows(chosen: Selected) -> list[tuple[tuple[str, ...], JobState]]:
    """A row a task; the times and reasons of single tasks are not kept."""
    record = chosen.record
    known = record.tasks.each() if record.tasks else {}
    codes = record.tasks.codes if record.tasks else {}
    rows: list[tuple[tuple[str, ...], JobState]] = []
    for index in chosen.indices:
        state = known.get(index, record.state)
        code = f"exit {codes[str(index)]}" if str(index) in codes else ""
        shape = f"{record.nodes}({record.ntasks})"
        limit = f"-/{clock(record.time_limit or None)}"
        native = f"{record.native_id}_{index}"
        rows.append(
            ((f"{record.label}[{index}]", record.name, str(state), shape, limit, record.site, native, code), state)
        )
    return rows


def state_words(record: JobRecord, now: float) -> str:
    """The state, the counts of an array, and how old the news is if it is old."""
    words = _counts(record.tasks) if record.tasks else str(record.state)
    known = record.seen or record.created
    stale = record.state is JobState.UNKNOWN or (not record.state.final and now - known > _STALE)
    return f"{words} ({age(now - known)})" if stale else words


def _counts(tasks: Tasks) -> str:
    counts = tasks.counts()
    total, done = sum(counts.values()), counts.pop(JobState.DONE, 0)
    if len(counts) == 1 and not done:
        (state,) = counts
        return f"{total} {state}"
    counts.pop(JobState.PENDING, None)  # what is left
    return ", ".join([f"{done}/{total} done", *(f"{count} {state}" for state, count in counts.items())])


def reason(record: JobRecord) -> str:
    """Why it is where it is, in a word or two."""
    if record.state is JobState.FAILED and not record.array:
        if record.signal:
            return f"signal {record.signal}"
        if record.exit_code:
            return f"exit {record.exit_code}"
    return "" if record.state in {JobState.DONE, JobState.RUNNING} else record.reason


def elapsed(record: JobRecord, now: float) -> float | None:
    """Seconds that it ran or has been running; None if it has not started."""
    return max(0.0, (record.ended or now) - record.started) if record.started else None


def clock(seconds: float | None) -> str:
    """`0:42`, `2:00:00`, `1-12:00:00`; `-` for None."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    days, hours, minutes = whole // DAY, whole % DAY // HOUR, whole % HOUR // MINUTE
    if days:
        return f"{days}-{hours:02d}:{minutes:02d}:{whole % MINUTE:02d}"
    short = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{short}:{whole % MINUTE:02d}"


def shape(record: JobRecord) -> str:
    """`4 nodes, 8 ranks`."""
    return f"{plural(record.nodes, 'node')}, {plural(record.ntasks, 'rank')}"


def plural(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def labels(records: Iterable[JobRecord]) -> str:
    """`j3`, `j3-j9 j12`: selectors for all of them."""
    ranges = format_indices(record.id for record in records).split(",")
    return " ".join("j" + part.replace("-", "-j") for part in ranges if part)


def to_json(record: JobRecord) -> dict[str, Any]:
    """The object that `--json` prints for a job: durations in seconds, times in UTC, null for what is not known."""
    now = out.now()
    return {
        "id": record.label,
        "native_id": record.native_id or None,
        "name": record.name,
        "state": str(record.state),
        "final": record.state.final,
        "scheduler_state": record.raw or None,
        "reason": record.reason or None,
        "exit_code": record.exit_code,
        "signal": record.signal or None,
        "study": f"s{record.study}" if record.study else None,
        "site": record.site,
        "scheduler": record.scheduler,
        "partition": record.partition or None,
        "nodes": record.nodes,
        "ntasks": record.ntasks,
        "node_list": record.node_list or None,
        "time_limit": float(record.time_limit) if record.time_limit else None,
        "elapsed": elapsed(record, now),
        "restarts": record.restarts,
        "array": record.array or None,
        "tasks": {"states": dict(record.tasks.states), "exit_codes": dict(record.tasks.codes)}
        if record.tasks
        else None,
        "created": out.iso(record.created),
        "submitted": out.iso(record.submitted),
        "started": out.iso(record.started),
        "ended": out.iso(record.ended),
        "seen": out.iso(record.seen),
        "image": record.image or None,
        "image_digest": record.image_digest or None,
        "command": list(record.command),
        "workdir": record.workdir,
        "folder": record.folder,
        "output": record.output,
        "error": record.error,
    }


def dump(
    records: Iterable[JobRecord], errors: Sequence[HpcjobError] = (), known: Sequence[Known] | None = None
) -> None:
    """Print the JSON of jobs, and of studies; with `error`, if a scheduler did not answer, beside what is known."""
    values: dict[str, Any] = {"jobs": [to_json(record) for record in records]}
    if known is not None:
        values["studies"] = _studies_json(known)
    if errors:
        values["error"] = out.error_json(errors[0])
    out.dump(**values)


def _studies_json(known: Sequence[Known]) -> list[dict[str, Any]]:
    if not known:
        return []
    from hpcjobs.cli import studies

    return [studies.to_json(now) for now in known]


def failure_json(failure: Failure | None) -> dict[str, Any] | None:
    """The JSON of why a job failed; None if it did not."""
    if failure is None:
        return None
    return {"words": failure.words, "advice": failure.advice, "tail": list(failure.tail), "file": failure.file or None}


def tell_state(record: JobRecord) -> None:
    """A line for the person who waits: the job and its state."""
    out.tell(f"{record.label} {out.clean(record.name)}: {state_words(record, out.now())}")


def tell_failure(record: JobRecord, failure: Failure) -> None:
    """Why it ended badly, the last lines of its error file and what to do, on stderr."""
    out.tell(f"{out.paint('error:', 'red', sys.stderr)} {record.label} {record.state}: {failure.words}")
    if failure.tail:
        out.tell(f"last lines of {out.clean(out.short(failure.file))}:")
        for line in failure.tail:
            out.tell(f"    {line}")
    if failure.advice:
        out.tell()
        out.hint(failure.advice)


def is_over(record: JobRecord) -> bool:
    """Whether there is nothing more to wait for."""
    return ends.is_over(record, out.now())


def one(selected: Sequence[Selected], verb: str) -> Selected:
    """The only job of a selection.

    Raises:
        UsageError: there are several.
    """
    if len(selected) > 1:
        found = labels(chosen.record for chosen in selected)
        raise UsageError(
            f"hpcjob {verb} takes one job, and these are {len(selected)}: {found}",
            hint=f"type one of them: hpcjob {verb} {selected[-1].record.label}",
        )
    return selected[0]


def colour_of(word: str) -> str:
    """The colour of a state by its word, also of those that only studies and points have."""
    known = {state.value: colour(state) for state in JobState}
    return {**known, "ended": "red", "stopped": "yellow", "unsent": "yellow"}[word]


def about_studies(selectors: Sequence[str] | None) -> bool:
    """Whether a selector is about a study (s4, s4[17]): only then what knows them is loaded."""
    return any(re.match(r"(sweep:)?s\d+(\[|$)", selector) for selector in selectors or ())


def refresh(service: Service, records: Sequence[JobRecord]) -> tuple[Refreshed, list[Known]]:
    """Jobs as they are now, and the studies that some of them are of: only then what knows studies is loaded."""
    numbers = sorted({record.study for record in records if record.study})
    if not numbers:
        return service.refresh(records), []
    from hpcjobs import studies

    return studies.refresh(service, records, numbers)


def overview(fresh: Refreshed, known: Sequence[Known]) -> list[str]:
    """The lines of a table in which a study is one row, in the place of its jobs."""
    from hpcjobs.service import Selected

    rows = []
    if known:
        from hpcjobs.cli import studies

        rows = [studies.job_row(now) for now in known]
    return table_lines([Selected(record) for record in fresh.records if not record.study], rows)


def select(service: Service, selectors: Sequence[str]) -> list[Selected]:
    """Jobs by selector; a study stands for its jobs, points of it for the tasks that run them.

    Raises:
        UsageError: it is no selector.
        NotFoundError: it stands for no job.
    """
    if not about_studies(selectors):
        return service.select(selectors)
    from hpcjobs import studies

    found: list[Selected] = []
    for selector in selectors:
        found += studies.jobs_of(service, selector) if about_studies([selector]) else service.select([selector])
    return found


def need(selectors: Sequence[str] | None, verb: str) -> Sequence[str]:
    """The selectors.

    Raises:
        UsageError: there are none.
    """
    if not selectors:
        raise UsageError(f"which job? hpcjob {verb} needs one", hint=f"hpcjob {verb} last, or hpcjob {verb} j12")
    return selectors
