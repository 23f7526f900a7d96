"""Studies and their points as lines, rows and JSON: what `status`, `sweep`, `wait` and `logs` have in common."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths, studies
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.errors import NotFoundError, RefusedError, UsageError
from hpcjobs.record import JobState
from hpcjobs.service import tail_of
from hpcjobs.sweep import state, table
from hpcjobs.sweep.values import Value, text
from hpcjobs.units import age, format_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcjobs.errors import HpcjobError
    from hpcjobs.schedulers import Explanation
    from hpcjobs.service import Service
    from hpcjobs.sweep.record import StudyRecord

POINT_HEADER = ("POINT", "JOB", "STATE", "EXIT", "TIME", "TRIES", "PARAMETERS")
STUDY_HEADER = ("ID", "NAME", "STATE", "SITE", "CREATED", "PARAMETERS")
_WIDTH = 30
# Lines of a log that are shown of a point that failed.
_LAST = 10
_ORDER = (
    JobState.DONE, JobState.FAILED, JobState.TIMEOUT, JobState.OOM, JobState.NODE_FAIL, JobState.CANCELLED,
    JobState.UNKNOWN, JobState.RUNNING, JobState.COMPLETING, JobState.PENDING, JobState.HELD, JobState.CREATED,
)  # fmt: skip


def word(each: JobState) -> str:
    """A point's state: what is in no queue is unsent."""
    return "unsent" if each is JobState.CREATED else str(each)


def counts(points: state.Points) -> dict[str, int]:
    """How many points are in each state, in the order in which people want to know."""
    found = points.counts()
    return {word(each): found[each] for each in _ORDER if found[each]}


def overall(now: studies.Known) -> str:
    """The state of a study in a word."""
    found = now.points.counts()
    if found[JobState.RUNNING] or found[JobState.COMPLETING]:
        return "running"
    if found[JobState.PENDING] or found[JobState.HELD]:
        return "pending"
    if found[JobState.CREATED]:
        return "stopped" if now.study.stopped else "unsent"
    return "done" if found[JobState.DONE] == now.study.points else "ended"


def in_words(now: studies.Known) -> str:
    """`450/1000 done, 3 failed, 64 running, 483 pending`."""
    found = counts(now.points)
    done = found.pop("done", 0)
    if len(found) == 1 and not done:
        return f"{now.study.points} {next(iter(found))}"
    return ", ".join([f"{done}/{now.study.points} done", *(f"{count} {name}" for name, count in found.items())])


def bar(now: studies.Known, width: int = _WIDTH) -> str:
    """The progress of a study: a bar, how many points ended of late, and how long the others will take."""
    total = now.study.points
    over = sum(count for each, count in now.points.counts().items() if each.final)
    full = over * width // max(1, total)
    text = f"[{'#' * full}{'.' * (width - full)}] {over / max(1, total):4.0%}"
    rate = now.points.rate(out.now())
    if not rate or over == total or studies.is_over(now, out.now()):
        return text
    speed = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
    return f"{text}  {speed}, {age((total - over) / rate)} left"


def title(now: studies.Known) -> str:
    """`s4 drag  450/1000 done`, in the colour of its state."""
    words_of = out.paint(in_words(now), words.colour_of(overall(now)), sys.stdout)
    return f"{out.paint(now.study.label, 'bold', sys.stdout)} {out.clean(now.study.name)}  {words_of}"


def say(now: studies.Known) -> None:
    """What `status s4` shows."""
    out.say(title(now))
    out.say(f"  {bar(now)}")


def advice(now: studies.Known) -> list[tuple[str, str]]:
    """What its owner may do now: what it is about, and what to type."""
    study, found = now.study, now.points.counts()
    lost = sum(found[each] for each in state.FAILED)
    lines = []
    if found[JobState.CREATED] and not study.stopped:
        lines.append(("unsent", f"hpcjob sweep resume {study.label}"))
    if studies.is_over(now, out.now()):
        if lost:
            lines.append(("failed", f"hpcjob status '{study.label}[failed]'"))
            lines.append(("again", f"hpcjob resubmit {study.label} --failed"))
        if found[JobState.CANCELLED] or (found[JobState.CREATED] and study.stopped):
            lines.append(("cancelled", f"hpcjob resubmit {study.label} --missing"))
        if study.results and found[JobState.DONE]:
            lines.append(("results", f"hpcjob sweep results {study.label}"))
    return lines


def tell_advice(now: studies.Known) -> None:
    """Say what its owner may do now."""
    for about, command in advice(now):
        out.tell(f"  {about:<10}{command}")


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]], colours: Sequence[str] = ()) -> list[str]:
    """The lines of a table; on a terminal, numbers have six digits."""
    if sys.stdout.isatty():
        rows = [[brief(cell) for cell in row] for row in rows]
    return out.table_lines(header, rows, colours)


def assigned(parameters: Mapping[str, Value]) -> str:
    """`re=100 dt=0.1`; on a terminal, numbers have six digits."""
    shown = brief if sys.stdout.isatty() else str
    return " ".join(f"{name}={shown(text(value))}" for name, value in parameters.items())


def brief(cell: str) -> str:
    """A number of many digits in six of them; other texts as they are."""
    return f"{float(cell):.6g}" if _LONG.fullmatch(cell) else cell


_LONG = re.compile(r"-?\d+\.\d{5,}(e[+-]\d+)?|-?\d\.\d+e[+-]\d+", re.ASCII)


def row(now: studies.Known) -> tuple[str, ...]:
    """The row of a study in the table of `sweep list`."""
    study = now.study
    return (study.label, study.name, in_words(now), study.site, out.local(study.created)[:10], " ".join(study.names))


def job_row(now: studies.Known) -> tuple[tuple[str, ...], str]:
    """The row of a study in the table of jobs, and its colour."""
    study, first = now.study, now.jobs[0]
    waiting = next((job for job in now.jobs if job.state in {JobState.PENDING, JobState.HELD}), None)
    more = f" +{len(now.jobs) - 1}" if len(now.jobs) > 1 else ""
    cells = (
        study.label,
        study.name,
        in_words(now),
        f"{first.nodes}({first.ntasks})",
        f"-/{words.clock(first.time_limit or None)}",
        study.site,
        f"{first.native_id}{more}",
        words.reason(waiting) if waiting else "",
    )
    return cells, words.colour_of(overall(now))


def point_rows(now: studies.Known, numbers: Sequence[int]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Rows of points, and their colours."""
    parameters = table.values(now.study, numbers)
    rows: list[tuple[str, ...]] = []
    colours = []
    for number in numbers:
        each = now.points.states[number]
        code = now.points.exit_code(number)
        job, task = now.points.jobs.get(number, (0, 0))
        rows.append(
            (
                f"{now.study.label}[{number}]",
                f"j{job}[{task}]" if job else "",
                word(each),
                state.end_words(code) if code else "",
                words.clock(now.points.seconds(number)),
                str(now.points.attempts[number]),
                assigned(parameters[number]),
            )
        )
        colours.append(words.colour(each))
    return rows, colours


def to_json(now: studies.Known) -> dict[str, Any]:
    """The object that `--json` prints for a study."""
    study = now.study
    rate = now.points.rate(out.now())
    return {
        "id": study.label,
        "name": study.name,
        "state": overall(now),
        "points": study.points,
        "states": counts(now.points),
        "parameters": list(study.names),
        "pack": study.pack,
        "workers": study.workers,
        "site": study.site,
        "rate": rate,
        "jobs": [job.label for job in now.jobs],
        "rounds": [{"why": each.why, "points": each.points, "created": out.iso(each.created)} for each in study.rounds],
        "seed": study.seed,
        "created": out.iso(study.created),
        "folder": study.folder,
        "workdir": study.workdir,
        "command": list(study.spec.get("command", ())),
    }


def point_to_json(now: studies.Known, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The objects that `--json` prints for points."""
    found = []
    parameters = table.values(now.study, numbers)
    for number in numbers:
        job, task = now.points.jobs.get(number, (0, 0))
        found.append({
            "id": f"{now.study.label}[{number}]",
            "point": number,
            "state": word(now.points.states[number]),
            "final": now.points.states[number].final,
            "exit_code": now.points.exit_code(number),
            "seconds": now.points.seconds(number),
            "attempts": now.points.attempts[number],
            "job": f"j{job}" if job else None,
            "task": task if job else None,
            "parameters": {name: finite(value) for name, value in parameters[number].items()},
            "log": str(studies.log_of(now.study, number, parameters[number])),
            "folder": str(studies.folder_of(now.study, number, parameters[number])),
        })  # fmt: skip
    return found


def finite(value: Value | None) -> Value | None:
    """The value, or None for what JSON has no number for (RFC 8259, section 6)."""
    return None if isinstance(value, float) and not isfinite(value) else value


def dump(known: Sequence[studies.Known], errors: Sequence[HpcjobError] = (), **more: Any) -> int:
    """Print the JSON of studies; with `error`, if a scheduler did not answer. The exit code."""
    found = [*errors, *(error for now in known for error in now.errors)]
    values: dict[str, Any] = {"studies": [to_json(now) for now in known], **more}
    if found:
        values["error"] = out.error_json(found[0])
    out.dump(**values)
    return found[0].exit_code if found else 0


# ------------------------------------------------------------------------------- verbs over studies


def status(service: Service, selectors: Sequence[str], *, json: bool) -> int:
    """`hpcjob status s4` and `hpcjob status 's4[17]'`."""
    found = _chosen(service, selectors)
    known = [(studies.known(service, chosen.study), chosen.numbers) for chosen in found]
    if json:
        points = [each for now, numbers in known for each in point_to_json(now, numbers)]
        more = {"points": points} if points else {}
        return dump([now for now, _ in known], (), **more)
    for now, numbers in known:
        if numbers:
            rows, colours = point_rows(now, numbers)
            out.table(POINT_HEADER, rows, colours)
        else:
            say(now)
            tell_advice(now)
    return tell_errors([error for now, _ in known for error in now.errors])


def show(service: Service, selectors: Sequence[str], *, json: bool) -> int:
    """`hpcjob show s4` and `hpcjob show 's4[17]'`."""
    if json:
        return status(service, selectors, json=True)
    errors = []
    for place, chosen in enumerate(_chosen(service, selectors)):
        if place:
            out.say()
        now = studies.known(service, chosen.study)
        for row_number, number in enumerate(chosen.numbers):
            if row_number:
                out.say()
            _say_point(service, now, number)
        if not chosen.numbers:
            _say_study(now)
        errors += now.errors
    return tell_errors(errors)


def _say_study(now: studies.Known) -> None:
    say(now)
    for key, value in _facts(now):
        out.say(f"  {key:<12}{out.clean(value)}")
    out.say("rounds")
    for number, each in enumerate(now.study.rounds, 1):
        jobs = [job for job in now.jobs if job.round == number]
        out.say(f"  {number:<3}{each.why:<18} points {_short(each.points)}, {words.labels(jobs) or 'no job yet'}")
    tell_advice(now)


def _say_point(service: Service, now: studies.Known, number: int) -> None:
    each = now.points.states[number]
    parameters = table.values(now.study, [number])[number]
    log = studies.log_of(now.study, number, parameters)
    label = out.paint(f"{now.study.label}[{number}]", "bold", sys.stdout)
    out.say(f"{label} {out.clean(now.study.name)}: {out.paint(word(each), words.colour(each), sys.stdout)}")
    why = studies.explain(service, now, number)
    job, task = now.points.jobs.get(number, (0, 0))
    facts = {
        "parameters": " ".join(f"{name}={text(value)}" for name, value in parameters.items()),
        "job": f"j{job}, task {task}" if job else "",
        "time": words.clock(now.points.seconds(number)),
        "tries": str(now.points.attempts[number]),
        "folder": out.short(str(studies.folder_of(now.study, number, parameters))),
        "output": out.short(str(log)),
        "why": why.words,
    }
    for key, value in facts.items():
        if value:
            out.say(f"  {key:<12}{out.clean(value)}")
    if each in state.FAILED:
        for line in tail_of(log, _LAST):
            out.say(f"    {out.clean(line)}")
    if why.advice:
        out.hint(why.advice)


def _facts(now: studies.Known) -> list[tuple[str, str]]:
    from hpcjobs.shell import join

    study = now.study
    facts = [
        ("command", join(study.spec.get("command", ()))),
        ("image", out.short(str(study.spec.get("image", "")))),
        ("parameters", " ".join(study.names)),
        ("where", "; ".join(study.where)),
        ("derived", "; ".join(f"{name}={text}" for name, text in study.derive.items())),
        ("seed", str(study.seed)),
        ("packing", f"{study.pack} a task, {study.workers} at a time" if study.pack > 1 else ""),
        ("retry", " ".join(f"{cause}={count}" for cause, count in study.retry.items())),
        ("results", " ".join(study.results)),
        ("site", study.site),
        ("workdir", out.short(study.workdir)),
        ("folders", study.place),
        ("files", out.short(study.folder)),
    ]
    return [(key, value) for key, value in facts if value]


def _short(points: str) -> str:
    return points if len(points) <= 30 else points[:27] + "..."  # noqa: PLR2004 - columns


def _chosen(service: Service, selectors: Sequence[str]) -> list[studies.Chosen]:
    """The studies that were named.

    Raises:
        UsageError: one of the names is a job's.
    """
    if jobs := [selector for selector in selectors if not studies.is_study(selector)]:
        raise UsageError(f"{jobs[0]} is no study, and the others are", hint="name jobs and studies apart")
    return [studies.select(service, selector) for selector in selectors]


def _whole(service: Service, selectors: Sequence[str], verb: str) -> list[StudyRecord]:
    found = _chosen(service, selectors)
    if some := next((chosen.study.label for chosen in found if chosen.numbers), ""):
        raise UsageError(f"hpcjob {verb} takes a study, not points of it", hint=f"hpcjob {verb} {some}")
    return [chosen.study for chosen in found]


def wait(service: Service, selectors: Sequence[str], timeout: float | None, *, json: bool) -> int:
    """`hpcjob wait s4`: a bar on a terminal, a line a change elsewhere."""
    from hpcjobs.sweep_service import Sweeps

    sweeps = Sweeps(service)
    ended = []
    for study in _whole(service, selectors, "wait"):
        line = _Line()
        try:
            with _going_on(study):
                ended.append(sweeps.wait(study, timeout=timeout, on_look=(lambda _: None) if json else line.draw))
        finally:
            line.end()
    if json:
        dump(ended)
    else:
        for now in ended:
            tell_advice(now)
    return 0 if all(now.points.counts()[JobState.DONE] == now.study.points for now in ended) else 1


@contextmanager
def _going_on(study: StudyRecord) -> Iterator[None]:
    """Say that the study goes on if the wait for it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        out.tell()
        out.tell(f"{study.label} goes on")
        out.hint(f"hpcjob wait {study.label} waits again, hpcjob cancel {study.label} ends it")
        raise KeyboardInterrupt(study.label) from None


class _Line:
    """The progress of a study on stderr: one line that is drawn again on a terminal, a line a change elsewhere."""

    def __init__(self) -> None:
        self._last = ""
        self._tty = sys.stderr.isatty()

    def draw(self, now: studies.Known) -> None:
        """Show how far it is."""
        text = f"{now.study.label} {in_words(now)}"
        if self._tty:
            excess = max(0, len(text) + len(bar(now)) + 3 - out.width())
            text = f"{now.study.label} {bar(now, _WIDTH - excess)}  {in_words(now)}"
        if text == self._last:
            return
        self._last = text
        if self._tty:
            sys.stderr.write("\r" + text[: out.width() - 1] + "\x1b[K")
            sys.stderr.flush()
        else:
            out.tell(text)

    def end(self) -> None:
        """Leave the line as it is."""
        if self._tty and self._last:
            sys.stderr.write("\n")


def watch(service: Service, selectors: Sequence[str], interval: float) -> int:
    """`hpcjob watch s4`: what `status` shows, kept up to date."""
    from hpcjobs.cli.watch import Screen
    from hpcjobs.sweep_service import Sweeps

    sweeps = Sweeps(service)
    for study in _whole(service, selectors, "watch"):
        screen = Screen()

        def draw(now: studies.Known, screen: Screen = screen) -> None:
            screen.draw([title(now), f"  {bar(now)}"], now.errors)

        with _going_on(study):
            sweeps.wait(study, interval=max(0.2, interval), on_look=draw)
    return 0


def cancel(service: Service, selectors: Sequence[str], *, json: bool) -> int:
    """`hpcjob cancel s4` and `hpcjob cancel 's4[100-200]'`."""
    from hpcjobs.cli.control import checked

    done: list[dict[str, Any]] = []
    problems = []
    for chosen in _chosen(service, selectors):
        label = chosen.study.label
        if chosen.numbers:
            cancelled = studies.cancel_points(service, chosen.study, chosen.numbers)
            done.append({"study": label, "points": list(cancelled.points)})
            if cancelled.running:
                problems.append(
                    f"{label}[{format_indices(cancelled.running)}]: not ended, since what shares its task would end too"
                )
            outcomes = cancelled.outcomes
        else:
            outcomes = studies.cancel(service, chosen.study)
            done.append({"study": label, "points": None})
        bad = checked(service, outcomes)
        problems += [f"{o.record.label}: {o.problem}" for o in bad if o.problem and not o.record.state.final]
    if json:
        out.dump(cancelled=done, problems=problems)
    else:
        for each in done:
            out.tell(f"cancelled {_what(each['study'], each['points'])}")
        for problem in problems:
            out.error(RefusedError(problem))
    return RefusedError.exit_code if problems else 0


def _what(label: str, points: Sequence[int] | None) -> str:
    if points is None:
        return label
    return f"{words.plural(len(points), 'point')} of {label}" if points else f"no point of {label}: they have ended"


def logs(service: Service, selector: str, *, follow: bool, lines: int | None) -> int:
    """`hpcjob logs 's4[17]'`."""
    from hpcjobs.cli.logs import Tail

    file = studies.log_of_one(service, selector)
    chosen = studies.select(service, selector)
    study, (number,) = chosen.study, chosen.numbers
    label = f"{study.label}[{number}]"
    tail = Tail(file, sys.stdout.buffer)
    if lines is not None:
        tail.skip_to_last(lines)
    with _going_on(study):
        while True:
            each = studies.known(service, study).points.states[number]
            tail.copy()
            if not follow or each.final:
                break
            out.sleep(0.5)
    if follow:
        out.tell(f"{label} {out.clean(study.name)}: {word(each)}")
    elif not file.exists():
        if each.final:
            raise NotFoundError(f"{file} does not exist", hint=f"hpcjob explain '{label}' says how it ended")
        out.tell(f"{label} is {word(each)} and has written nothing yet")
        out.hint(f"hpcjob logs -f '{label}' waits for it")
    return 0


def explain(service: Service, selectors: Sequence[str]) -> list[tuple[str, str, str, Explanation]]:
    """What `hpcjob explain` says of studies and points: label, name, state, and why."""
    answers = []
    for chosen in _chosen(service, selectors):
        now = studies.known(service, chosen.study, force=True)
        name = now.study.name
        for number in chosen.numbers:
            label, each = f"{now.study.label}[{number}]", word(now.points.states[number])
            answers.append((label, name, each, studies.explain(service, now, number)))
        if not chosen.numbers:
            answers.append((now.study.label, name, overall(now), _explain_whole(service, now)))
    return answers


def _explain_whole(service: Service, now: studies.Known) -> Explanation:
    """The counts, and why the first job that waits does so; else what can be done."""
    from hpcjobs.schedulers import Explanation

    words_of = in_words(now)
    waiting = [job for job in now.jobs if job.state in {JobState.PENDING, JobState.HELD}]
    if waiting:
        why = service.explain(waiting[0])
        return replace(why, words=f"{words_of}; {waiting[0].label}: {why.words}")
    return Explanation("", words_of, next((command for _, command in advice(now)), ""))


def resubmit(
    service: Service, selectors: Sequence[str], kinds: Sequence[str], *, time: str, mem: str, json: bool
) -> int:
    """`hpcjob resubmit s4 --failed` and `hpcjob resubmit 's4[3,5]'`."""
    from hpcjobs.cli.sweep import tell_sent
    from hpcjobs.sweep_service import Sweeps

    sweeps = Sweeps(service)
    found = []
    for chosen in _chosen(service, selectors):
        if not chosen.numbers and not kinds:
            raise UsageError(
                f"which points of {chosen.study.label} shall run again?",
                hint=f"hpcjob resubmit {chosen.study.label} --failed, --missing, or '{chosen.study.label}[17]'",
            )
        study, sent, numbers = sweeps.resubmit(chosen, kinds, time=time, mem=mem)
        found.append(studies.known(service, study))
        if not json:
            out.say(study.label)
            out.tell(f"{study.label}: {words.plural(len(numbers), 'point')} again")
            tell_sent(study, sent)
    return dump(found) if json else 0


def tell_errors(errors: Sequence[HpcjobError]) -> int:
    """Say what went wrong with schedulers; the exit code."""
    for error in errors:
        out.error(error)
    return max((error.exit_code for error in errors), default=0)


def script_of(study: StudyRecord) -> Path:
    """What runs a point of the last round."""
    return paths.StudyFolder(Path(study.folder)).script(len(study.rounds))
