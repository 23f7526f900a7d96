"""`hpcjob sweep`: parameter studies."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths, studies
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out, progress
from hpcjobs.cli import studies as lines
from hpcjobs.cli import submit as submission
from hpcjobs.cli.like import like
from hpcjobs.errors import NotFoundError, UsageError
from hpcjobs.record import JobState
from hpcjobs.service import Service
from hpcjobs.units import HOUR, Duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcjobs.cli.options import (
        Derive,
        Grid,
        InputFiles,
        Json,
        LatinHypercube,
        LogX,
        LogY,
        MaxRunning,
        Pack,
        Picture,
        PlotBy,
        PlotX,
        PlotY,
        PointFolder,
        PointLog,
        RandomDesign,
        ResultFiles,
        Retry,
        Seed,
        SobolDesign,
        StudyFile,
        StudyName,
        TableFiles,
        To,
        WaitForStudy,
        Where,
        Workers,
        Zip,
    )
    from hpcjobs.sweep.record import StudyRecord
    from hpcjobs.sweep.results import ResultTable
    from hpcjobs.sweep.spec import StudySpec
    from hpcjobs.sweep_service import PreparedStudy, Sent, Sweeps

# Points that a dry run shows.
_SAMPLE = 8
# Characters of a column that was made narrow, and of the last one.
_LEAST, _LAST = 6, 10


def _design(
    study_file: StudyFile = "",
    *,
    grid: Grid = None,
    zip: Zip = None,  # noqa: A002 - the option's name
    table: TableFiles = None,
    random: RandomDesign = None,
    lhs: LatinHypercube = None,
    sobol: SobolDesign = None,
    derive: Derive = None,
    where: Where = None,
    seed: Seed = None,
) -> None:
    """The options that make points."""


def _running(
    *,
    input: InputFiles = None,  # noqa: A002 - the option's name
    result: ResultFiles = None,
    folder: PointFolder = "",
    output: PointLog = "",
    pack: Pack = None,
    workers: Workers = None,
    max_running: MaxRunning = None,
    retry: Retry = "",
    wait: WaitForStudy = False,
) -> None:
    """The options about how points run."""


def run(**options: Any) -> int:
    """Run a job at many points of a space of parameters.

    Prints the study's id. {name} in the command stands for a point's value, which is also a variable of its
    environment. Points are sent as job arrays, as few as the scheduler takes. --dry-run shows how many there are, what
    they cost, and the script.

    hpcjob sweep --grid re=100,200,400 --grid 'x=linspace(0,1,11)' --image app.sif -- solve --re {re} --x {x}
    """
    service = Service(telling=progress.telling())
    sweeps = _sweeps(service)
    spec, own_site = study_spec(options)
    site = options["site"] or ("" if options["site_file"] else own_site)
    seconds = submission.seconds_to_wait(options["timeout"], wait=options["wait"])
    if options["dry_run"]:
        return _show_plan(sweeps.prepare(spec, site=site, site_file=options["site_file"]), json=options["json"])
    study, sent = sweeps.submit(spec, site=site, site_file=options["site_file"])
    if not options["json"]:
        out.say(study.label)
        sys.stdout.flush()
        _tell_submitted(study, sent, follow=not options["wait"])
    if options["wait"]:
        return lines.wait(service, [study.label], seconds, json=options["json"])
    return lines.dump([studies.known(service, study)]) if options["json"] else 0


run.__wrapped__ = like(  # type: ignore[attr-defined]
    _design, _running, submission.submit,
    without=frozenset({"job_file"}),
)  # fmt: skip
# They are refused, and by a better reason than that there are no such options.
run.hidden = {"array", "error"}  # type: ignore[attr-defined]


def extend(**options: Any) -> int:
    """Add points to a study.

    Those that it has already are not run again.

    hpcjob sweep extend s4 --grid re=800,1600 --grid 'x=linspace(0,1,11)'
    """
    service = Service(telling=progress.telling())
    record = one(service, options["study"])
    from hpcjobs.service import spec_from_json
    from hpcjobs.sweep.spec import StudySpec

    loaded = _loaded(options["study_file"])
    spec = StudySpec(
        job=spec_from_json(record.spec),
        design=_points(options, loaded),
        derive={**record.derive, **_assignments(options["derive"])},
        where=(*record.where, *(options["where"] or ())),
        seed=record.seed if options["seed"] is None else options["seed"],
    )
    before = record.points
    record, sent, known = _sweeps(service).extend(record, spec)
    if options["json"]:
        return lines.dump([studies.known(service, record)])
    out.say(record.label)
    if known:
        out.tell(f"{record.label} has {known} of these points already")
    out.tell(f"{record.label}: {words.plural(record.points - before, 'point')} more, {record.points} in all")
    tell_sent(record, sent)
    return 0


def _extend_options(study: StudyName, *, json: Json = False) -> None:
    """What `extend` has besides a design."""


extend.__wrapped__ = like(_extend_options, _design)  # type: ignore[attr-defined]


def resume(study: StudyName, *, json: Json = False) -> int:
    """Send what is not sent yet, and run again what --retry says.

    After an interruption, or when the queue took only a part. It may be called at any time, by cron too.
    """
    service = Service(telling=progress.telling())
    record = one(service, study)
    if record.stopped:
        out.tell(f"{record.label} was cancelled: what is not sent stays so")
        out.hint(f"hpcjob resubmit {record.label} --missing sends it all the same")
    now, sent = _sweeps(service).tend(record)
    if json:
        return lines.dump([now])
    tell_sent(now.study, sent)
    lines.say(now)
    lines.tell_advice(now)
    return lines.tell_errors(now.errors)


def list_(*, json: Json = False) -> int:
    """List studies, the newest last."""
    service = Service()
    fresh, found = studies.refresh(service, [], [record.id for record in service.store.studies()])
    if json:
        return lines.dump(found, fresh.errors)
    if found:
        colours = [words.colour_of(lines.overall(now)) for now in found]
        out.table(lines.STUDY_HEADER, [lines.row(now) for now in found], colours)
    else:
        out.tell("there is no study")
        out.hint("hpcjob sweep run --help makes one")
    return lines.tell_errors(fresh.errors)


def show(study: StudyName, *, json: Json = False) -> int:
    """Show everything about a study.

    Its design, its rounds and their jobs, and where its files are.
    """
    service = Service()
    return lines.show(service, [one(service, study).label], json=json)


def results(study: StudyName, *, to: To = "", json: Json = False) -> int:
    """Gather what points left into one table with their parameters.

    Without --to, the table is printed: aligned on a terminal, tab-separated elsewhere.
    """
    from hpcjobs.sweep import tables

    service = Service()
    now, found = _gathered(service, study)
    bad = [str(problem) for problem in found.columns.get("problem", ()) if problem]
    if json:
        columns = {name: [*map(lines.finite, values)] for name, values in found.columns.items()}
        out.dump(study=now.study.label, columns=columns)
    elif to:
        tables.write_table(found, Path(to))
        out.tell(f"{to}: {words.plural(len(found.columns['point']), 'row')}, {len(found.columns)} columns")
    else:
        header, rows = tables.text_table(found)
        shown = _columns_that_fit(header, rows) if sys.stdout.isatty() else range(len(header))
        picked = ([each[place] for place in shown] for each in (header, *rows))
        for line in lines.table_lines(next(picked), picked):
            out.say(line)
        if left_out := len(header) - len(shown):
            out.tell(f"{words.plural(left_out, 'column')} left out: --to table.csv has all")
    if not json:
        if bad:
            out.warn(f"the results of {words.plural(len(bad), 'point')} cannot be read, such as: {out.clean(bad[0])}")
        if missing := now.study.points - now.points.counts()[JobState.DONE]:
            out.tell(f"{words.plural(missing, 'point')} of {now.study.points} not done: {lines.in_words(now)}")
    return 1 if bad else 0


def _columns_that_fit(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    """The places of the columns for which a terminal has room: hpcjob's own go first, then those on the right."""
    widths = [max(map(len, map(lines.brief, column))) for column in zip(header, *rows, strict=True)]
    widths[-1] = min(widths[-1], _LAST)  # it is the first to be made narrow
    shown = list(range(len(header)))
    for name in ("attempts", "exit_code", "seconds"):
        if sum(widths[place] + 2 for place in shown) - 2 > out.width():
            shown.remove(header.index(name))
    while sum(min(widths[place], _LEAST) + 2 for place in shown) - 2 > out.width():
        shown.pop()
    return shown


def plot(
    study: StudyName,
    *,
    x: PlotX = "",
    y: PlotY = "",
    by: PlotBy = "",
    to: Picture = "",
    log_x: LogX = False,
    log_y: LogY = False,
) -> int:
    """Draw a result over a parameter, here or as a picture.

    hpcjob sweep plot s4 --x re --y drag --by mesh --to drag.svg
    """
    from hpcjobs.sweep import plot as plotting

    if not (x and y):
        raise UsageError("what shall be drawn?", hint=f"hpcjob sweep plot {study} --x PARAMETER --y RESULT")
    now, found = _gathered(Service(), study)
    chosen = plotting.series(found, x, y, by, log_x=log_x, log_y=log_y)
    if left_out := sum(each.left_out for each in chosen):
        out.tell(f"{words.plural(left_out, 'point')} without a number that can be drawn")
    if to:
        title = f"{now.study.label} {now.study.name}"
        plotting.save_picture(chosen, Path(to), x=x, y=y, title=title, log_x=log_x, log_y=log_y)
        out.tell(f"{to}: {y} over {x}")
        return 0
    if by:
        chosen = [replace(each, label=f"{by}={lines.brief(each.label.removeprefix(f'{by}='))}") for each in chosen]
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = plotting.draw_text(
        chosen, width=min(out.width(), 100), x=x, y=y, log_x=log_x, log_y=log_y, unicode=utf8 and sys.stdout.isatty()
    )
    out.say(text)
    return 0


def summary(study: StudyName, *, json: Json = False) -> int:
    """Count failures and times by the values of parameters."""
    from hpcjobs.sweep.summary import summarise, text_summary

    service = Service()
    now = studies.known(service, one(service, study))
    found = summarise(studies.infos(now), now.study.names)
    if json:
        out.dump(study=now.study.label, summary=[_summary_json(each) for each in found])
        return 0
    for line in lines.table_lines(*text_summary(found)):
        out.say(line)
    return 0


COMMANDS = {
    "run": run,
    "list": list_,
    "show": show,
    "results": results,
    "plot": plot,
    "summary": summary,
    "extend": extend,
    "resume": resume,
}


# ------------------------------------------------------------------------------------- the request


def _sweeps(service: Service) -> Sweeps:
    from hpcjobs.sweep_service import Sweeps

    return Sweeps(service)


def _loaded(study_file: str) -> Any:
    from hpcjobs.site import studyfile

    return studyfile.load_study(study_file) if study_file else None


def study_spec(options: Mapping[str, Any]) -> tuple[StudySpec, str]:
    """The request and the site of its file, from the options of `sweep run` by their names.

    Raises:
        UsageError: an option is not understood, or there is no command or no design.
    """
    from hpcjobs.sweep.spec import StudySpec

    loaded = _loaded(options["study_file"])
    asked = dict(loaded.job) if loaded else {}
    job, site = submission.request(options, need_command=False, asked=asked)
    if not (job.command or job.notebook):
        raise UsageError("there is no command to run", hint="hpcjob sweep --grid re=100,200 -- ./solve --re {re}")
    name = options["name"] or (loaded.name if loaded else "")
    spec = StudySpec(
        job=job,
        design=_points(options, loaded),
        derive={**(loaded.derive if loaded else {}), **_assignments(options["derive"])},
        where=(*(loaded.where if loaded else ()), *(options["where"] or ())),
        seed=_first(options["seed"], loaded and loaded.seed, 0),
        name=name,
        pack=_first(options["pack"], loaded and loaded.pack, 1),
        workers=_first(options["workers"], loaded and loaded.workers, 0),
        max_running=_first(options["max_running"], loaded and loaded.max_running, 0),
        retry=_retry(options["retry"]) or (loaded.retry if loaded else {}),
        results=(*(loaded.results if loaded else ()), *(options["result"] or ())),
        inputs=(*(loaded.input if loaded else ()), *(options["input"] or ())),
        folder=options["folder"] or (loaded.folder if loaded else ""),
    )
    return spec, (loaded.site if loaded else "") or site


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _points(options: Mapping[str, Any], loaded: Any) -> Any:
    """The design of the file and of the options, multiplied."""
    from hpcjobs.sweep import options as design
    from hpcjobs.sweep.design import multiplied

    kinds = ("grid", "zip", "table", "random", "lhs", "sobol")
    if not any(options[kind] for kind in kinds):
        if loaded is None or loaded.design is None:
            raise UsageError("there are no points", hint="add --grid re=100,200,400 (or --table, --lhs, --zip)")
        return loaded.design
    own = design.from_options(
        grid=options["grid"] or (),
        zip=options["zip"] or (),
        table=[_table(file) for file in options["table"] or ()],
        random=options["random"] or (),
        lhs=options["lhs"] or (),
        sobol=options["sobol"] or (),
    )
    return multiplied(loaded.design, own) if loaded is not None and loaded.design is not None else own


def _table(file: str) -> Any:
    from hpcjobs.sweep import tablefile

    return tablefile.read_table(Path(file))


def _assignments(texts: Any) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise UsageError(f"--derive {text!r} is not understood", hint="write --derive 'dt=0.1/re'")
        found[name.strip()] = value.strip()
    return found


def _retry(text: str) -> dict[str, int]:
    found = {}
    for part in filter(None, text.split(",")):
        cause, _, count = part.partition("=")
        if not count.isdecimal():
            raise UsageError(f"--retry {part!r} is not understood", hint="write --retry node_fail=3,timeout=1")
        found[cause.strip()] = int(count)
    return found


# --------------------------------------------------------------------------------------- the answer


def _gathered(service: Service, name: str) -> tuple[studies.Known, ResultTable]:
    """A study as it is now, and its table.

    Raises:
        UsageError: a result is not understood.
    """
    from hpcjobs.sweep.results import gather, parse_result

    now = studies.known(service, one(service, name))
    specs = [parse_result(text, now.study.names) for text in now.study.results]
    return now, gather(studies.infos(now), specs)


def one(service: Service, name: str) -> StudyRecord:
    """The study of that name; `last` is the newest.

    Raises:
        NotFoundError: there is none.
    """
    if name == "last":
        if found := service.store.studies():
            return found[-1]
        raise NotFoundError("there is no study", hint="hpcjob sweep run --help makes one")
    return studies.select(service, name).study


def _show_plan(prepared: PreparedStudy, *, json: bool) -> int:
    study, plan = prepared.record, prepared.sample.plan
    hours = _node_hours(prepared)
    if json:
        out.dump(
            points=study.points,
            jobs=prepared.jobs,
            tasks=prepared.tasks,
            node_hours=hours,
            notes=list(prepared.points.notes),
            sample=[
                {name: lines.finite(value) for name, value in prepared.points.row(number).items()}
                for number in _sample(study.points)
            ],
            script=prepared.sample.script.text,
            point_script=prepared.files[lines.script_of(study).name],
        )
        return 0
    out.data(prepared.sample.script.text)
    script = lines.script_of(study).name
    out.tell(f"beside it, {script}, which runs a point:")
    out.tell(prepared.files[script].rstrip("\n"))
    out.tell(f"not submitted: study {out.clean(study.name)} for site {plan.site}")
    packing = f", {study.pack} points each, {study.workers} at a time" if study.pack > 1 else ""
    arrays = f"{words.plural(prepared.jobs, 'job')} of {words.plural(prepared.tasks, 'task')}"
    out.tell(f"  points    {study.points} in {arrays}{packing}")
    for said in prepared.points.notes:
        out.tell(f"            {said}")
    for number in _sample(study.points):
        out.tell(f"  [{number}]".ljust(12) + out.clean(lines.assigned(prepared.points.row(number))))
    if hours is None:
        out.tell("  cost      not known without a walltime: add -t")
    else:
        cost = f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"
        out.tell(f"  cost      at most {cost} node-hours ({Duration(plan.time or 0)} a task)")
    for note in plan.notes:
        out.tell(f"  {note.subject:<9} {out.clean(note.decision)}" + (f" ({out.clean(note.why)})" if note.why else ""))
    return 0


def _sample(count: int) -> list[int]:
    """The first points, and the last."""
    return list(range(count)) if count <= _SAMPLE else [*range(_SAMPLE - 1), count - 1]


def _node_hours(prepared: PreparedStudy) -> float | None:
    """What the study costs if every task takes all of its time; parts of a node count as such."""
    from hpcjobs.destination import partition_of

    plan = prepared.sample.plan
    if not plan.time:
        return None
    cores = partition_of(prepared.sample.spec, prepared.sample.site).node.cores
    used = plan.shape.ntasks_per_node * plan.shape.cpus_per_task
    share = min(1.0, used / cores) if cores and not plan.exclusive and plan.shape.nodes == 1 else 1.0
    return prepared.tasks * plan.shape.nodes * share * int(plan.time) / HOUR


def _tell_submitted(study: StudyRecord, sent: Sent, *, follow: bool) -> None:
    packing = f", {study.pack} a task, {study.workers} at a time" if study.pack > 1 else ""
    out.tell(f"{study.label} {out.clean(study.name)}: {words.plural(study.points, 'point')}{packing}, on {study.site}")
    tell_sent(study, sent)
    table = paths.StudyFolder(Path(study.folder)).table(1)
    out.tell(f"  points  {out.clean(out.short(str(table)))}")
    if study.place:
        place = str(Path(study.workdir) / study.place)
        out.tell(f"  folders {out.clean(out.short(place))}")
    if study.spec.get("hold"):
        out.tell(f"  held    hpcjob release {study.label} lets it start")
    elif follow:
        out.tell(f"  follow  hpcjob watch {study.label}")


def tell_sent(study: StudyRecord, sent: Sent) -> None:
    """Say which jobs were sent, and what was not."""
    if sent.jobs:
        natives = f"{sent.jobs[0].scheduler} {sent.jobs[0].native_id}"
        last = f" to {sent.jobs[-1].native_id}" if len(sent.jobs) > 1 else ""
        out.tell(f"  jobs    {words.labels(sent.jobs)} ({natives}{last})")
    if sent.left:
        out.warn(f"{words.plural(sent.left, 'point')} not sent: {out.clean(sent.why)}")
        out.hint(f"hpcjob wait {study.label} sends them as the queue empties, and so does hpcjob sweep resume")


def _summary_json(each: Any) -> dict[str, Any]:
    return {
        "parameter": each.parameter or None,
        "value": each.value or None,
        "points": each.count,
        "states": dict(each.states),
        "failures": each.failures,
        "median": each.median,
        "mean": each.mean,
        "longest": each.longest,
    }
