"""From a study to its jobs: the table and script of a round, and the plan of each job. Writes nothing."""

from __future__ import annotations

import numbers
import re
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import destination, launchers, paths, render, runtimes, service, shell
from hpcjobs.errors import NotFoundError, PlanError, UsageError
from hpcjobs.model import ImageFacts, JobSpec, LauncherConfig, Plan, RuntimeConfig, StudyPart
from hpcjobs.record import JobState
from hpcjobs.sweep import command, inputs, pointscript, state, table
from hpcjobs.sweep.cut import Cut, Lane, gaps
from hpcjobs.sweep.pointscript import PointFile, PointScript
from hpcjobs.sweep.record import NEW, Round, StudyRecord
from hpcjobs.sweep.results import parse_result
from hpcjobs.sweep.values import escape
from hpcjobs.units import Duration, Memory, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hpcjobs.record import JobRecord
    from hpcjobs.service import Prepared, Ready
    from hpcjobs.sweep.points import Points
    from hpcjobs.sweep.spec import StudySpec
    from hpcjobs.sweep.values import Value

_KINDS = {bool: "bool", int: "int", float: "float", str: "str"}
# Runtimes that are options of srun.
_THROUGH_SRUN = ("pyxis", "ce")
_TAKEN = ("array", "error")
# Seconds that a pack gets for the beginning and the end of its points: their time is for what is in between.
_SLACK = 60
# srun(1): a worker that has found nothing left to do, or died, ends no other.
_APART = ("--wait=0", "--kill-on-bad-exit=0")
FULL = "the queue takes no more jobs of yours now"


# ------------------------------------------------------------------------------------- the request


def expand(spec: StudySpec) -> Points:
    """The points of the request.

    Raises:
        UsageError: the design or an expression is wrong, or no point is left.
    """
    from hpcjobs.sweep.design import expand as expanded

    return expanded(
        spec.design, where=spec.where, derive=spec.derive, seed=spec.seed, compile_expression=render.compile_expression
    )


def draft(spec: StudySpec, points: Points, *, tag: str, now: float) -> StudyRecord:
    """The row of a study that is about to be submitted; its place and site are not known yet.

    Raises:
        UsageError: an option of a job makes no sense in a study, or options contradict each other.
    """
    job = spec.job
    for name in _TAKEN:
        if getattr(job, name):
            hint = "the design says which points there are" if name == "array" else "-o names the log of each point"
            raise UsageError(f"--{name} is not for a study", hint=f"leave it out: {hint}")
    _check_packing(spec)
    if unknown := sorted(set(spec.retry) - set(state.CAUSES)):
        raise UsageError(f"--retry {unknown[0]!r} is no cause", hint=nearest(unknown[0], state.CAUSES))
    results = [parse_result(each, points.columns) for each in spec.results]
    files = any(each.file for each in results)
    name = spec.name or job.name or Path(job.command[0]).name
    return StudyRecord(
        id=0,
        tag=tag,
        name=name,
        site="",
        site_file="",
        folder="",
        workdir=paths.absolute(job.workdir or "."),
        created=now,
        names=tuple(points.columns),
        kinds=tuple(map(_kind, points.columns.values())),
        points=len(points),
        spec=service.spec_to_json(replace(job, name=name, output="")),
        rounds=(Round(f"0-{len(points) - 1}", "design", now),),
        pack=spec.pack,
        workers=spec.workers,
        max_running=spec.max_running,
        retry=spec.retry,
        results=spec.results,
        inputs=tuple(map(_absolute_input, spec.inputs)),
        place=spec.folder or (f"{paths.slug(name)}-{tag}/{{point}}" if spec.inputs or files else ""),
        log=job.output,
        derive=spec.derive,
        where=spec.where,
        seed=spec.seed,
    )


def _check_packing(spec: StudySpec) -> None:
    counts = {"--pack": spec.pack - 1, "--workers": spec.workers, "--max-running": spec.max_running}
    for option, count in counts.items():
        if count < 0:
            raise UsageError(f"{option}: less than one is not possible", hint=f"write {option} 1, or more")
    if spec.workers > spec.pack == 1:
        raise UsageError("--workers is about points of a pack, and --pack is not there", hint="add --pack 32")
    if spec.workers > spec.pack:
        raise UsageError(
            f"--workers {spec.workers} is more than the {spec.pack} points of a pack",
            hint=f"write --pack {spec.workers}, or --workers {spec.pack}",
        )


def _absolute_input(text: str) -> str:
    """`FILE:NAME` with the file's whole path: a study may be extended from another folder.

    Raises:
        NotFoundError: there is no such file.
    """
    file = inputs.source(text)
    if not Path(file).expanduser().exists():
        raise NotFoundError(f"there is no input file {file}", hint="write --input FILE, or --input FILE:NAME")
    return paths.absolute(file) + text.removeprefix(file)


def pinned(ready: Ready) -> dict[str, object]:
    """What of the request was decided when it was made ready: which images its names stand for."""
    asked = asdict(ready.spec)
    return {key: asked[key] for key in ("image", "services") if asked[key]}


def _kind(column: Sequence[object]) -> str:
    kinds = {_KINDS.get(kind, _number_kind(kind)) for kind in set(map(type, column))}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _number_kind(kind: type) -> str:
    """The kind of a number that is not Python's own, such as NumPy's."""
    return "int" if issubclass(kind, numbers.Integral) else "float" if issubclass(kind, numbers.Real) else "str"


# ---------------------------------------------------------------------------------- placeholders


def _texts(study: StudyRecord) -> tuple[str, ...]:
    """All texts with placeholders, in an order that never changes: the hidden columns follow it."""
    targets = map(inputs.target, study.inputs)
    return (*study.spec.get("command", ()), study.place, study.log, *targets)


def _words(study: StudyRecord) -> tuple[tuple[str | shell.Shell, ...], tuple[tuple[str, str], ...]]:
    return command.words(_texts(study), study.names, workdir=study.workdir)


def with_placeholders(study: StudyRecord, spec: JobSpec) -> JobSpec:
    """The job of one point, its values being what the script of the round reads from the table.

    Raises:
        UsageError: a placeholder names no parameter, or a parameter is a variable that the job sets otherwise.
    """
    if both := sorted({*study.names} & {*spec.env}):
        raise UsageError(f"{both[0]} is a parameter and a variable of the job (--env)", hint="leave out one of them")
    words, _ = _words(study)
    values = {name: command.value(place) for place, name in enumerate(study.names, 1)}
    return replace(spec, command=words[: len(spec.command)], env={**spec.env, **values}, output="")


def in_its_place(study: StudyRecord, ready: Ready) -> Ready:
    """The same with the folder in which a point begins."""
    if not study.place:
        return ready
    program = str(study.spec["command"][0])
    if "/" in program and not program.startswith(("/", "{")) and not ready.spec.image:
        raise PlanError(
            f"each point runs in a folder of its own ({study.place}), and there is no {program} in it",
            hint=f"name it from where you are: {{workdir}}/{program.removeprefix('./')}",
        )
    links = [inputs.source(each) for each in study.inputs if not inputs.source(each).endswith(inputs.SUFFIX)]
    shown = [study.workdir, *(bind.partition(":")[0] for bind in (*ready.site.bind, *ready.spec.bind))]
    unseen = tuple(link for link in links if ready.spec.image and not runtimes.covers(shown, link))
    spec = replace(ready.spec, bind=(*ready.spec.bind, *unseen))
    return replace(ready, spec=spec, host=replace(ready.host, below=pointscript.BELOW))


def check_places(study: StudyRecord, points: Points) -> None:
    """Refuse patterns of folders and logs by which two points would write to one; `points` are the study's newest.

    Raises:
        UsageError: says which.
    """
    before = study.points - len(points)

    def new() -> Iterator[dict[str, Value]]:
        return ({**points.row(place), command.POINT: before + place} for place in range(len(points)))

    if study.place:
        command.check_folder(study.place)
    if study.place and {"str", "mixed"} & set(study.kinds):
        command.check_folders(command.fill(study.place, row) for row in new())
    for pattern, what, option in ((study.place, "folder", "--folder"), (study.log, "log", "-o")):
        if pattern and not command.is_numbered(pattern, study.names):
            old = ({**row, command.POINT: n} for n, row in table.values(study, range(before)).items())
            command.check_apart((command.fill(pattern, row) for row in chain(old, new())), what, option)


# ---------------------------------------------------------------------------------------- packing


def _single(spec: JobSpec) -> bool:
    """Whether a point is a program of one process, without GPUs; nodes without a number of ranks are filled."""
    fills = spec.nodes is not None and spec.ntasks is None and spec.ntasks_per_node is None
    ranks = spec.ntasks or (spec.nodes or 1) * (spec.ntasks_per_node or 1)
    return ranks == 1 and not fills and not spec.gpus_per_node


def _alone(study: StudyRecord, spec: JobSpec) -> bool:
    """Whether points of a pack can run at the same time."""
    return study.pack > 1 and _single(spec)


def workers(study: StudyRecord, ready: Ready) -> int:
    """How many points of a pack run at the same time.

    Raises:
        PlanError: how many a node has room for is not known, or it has no room for so many.
    """
    spec = destination.with_defaults(ready.spec, ready.site)
    if not _alone(study, spec):
        if study.workers > 1:
            raise PlanError(
                "points that use several ranks or GPUs run one after the other in a pack", hint="leave out --workers"
            )
        return 1
    node = destination.partition_of(spec, ready.site).node
    cores = spec.cpus_per_task or 1
    memory = int(spec.mem or 0) or int(spec.mem_per_cpu or 0) * cores
    rooms = [node.cores // cores if node.cores else 0, int(node.memory or 0) // memory if memory else 0]
    room = min(filter(None, rooms), default=0)
    if study.workers and room and study.workers > room:
        raise PlanError(
            f"a node has room for {room} points at a time, and --workers asks for {study.workers}",
            hint=f"--workers {room}",
        )
    if study.workers:
        return study.workers
    if not room:
        raise PlanError(
            f"site {ready.site.name} does not say how many cores a node has", hint="say how many points: --workers 8"
        )
    return min(room, study.pack)


def _with_more(spec: JobSpec, new: Round) -> JobSpec:
    """The request with what a round gives each point instead."""
    return replace(
        spec,
        time=Duration(new.time) if new.time else spec.time,
        mem=Memory(new.mem) if new.mem else spec.mem,
        mem_per_cpu=Memory(new.mem_per_cpu) if new.mem_per_cpu else spec.mem_per_cpu,
    )


def _point(study: StudyRecord, ready: Ready, new: Round) -> Ready:
    """What one point is. A single process needs no launcher, and a scheduler no step for each of a hundred thousand.

    Raises:
        PlanError: a way of MPI is asked for, for processes without a launcher.
    """
    spec = _with_more(ready.spec, new)
    asked = destination.with_defaults(spec, ready.site)
    plain = asked.mpi in ("auto", "none")
    free = plain and not asked.launcher and ready.runtime.name not in _THROUGH_SRUN
    if not (_single(asked) and (study.pack > 1 or free)):
        return replace(ready, spec=spec)
    if not plain:
        raise PlanError(
            f"--mpi {asked.mpi} is about what a launcher starts, and it starts no point of one process in a pack",
            hint="leave it out",
        )
    alone = launchers.get(LauncherConfig(kind="none"))
    return replace(ready, spec=replace(spec, mpi="auto"), launcher=alone, mpi=None)


def _task(study: StudyRecord, ready: Ready, new: Round, words: Sequence[str | shell.Shell]) -> Ready:
    """What a task of the scheduler is: as many copies of the round's script as points run at the same time."""
    spec = destination.with_defaults(_with_more(ready.spec, new), ready.site)
    spec = replace(
        spec,
        command=tuple(words),
        image="",
        env={},
        bind=(),
        services=(),
        mpi="none",
        mpi_check="",
        verify="",
        runtime="none",
        time=_pack_time(study, ready, spec),
        mem=Memory(spec.mem * study.workers) if spec.mem else None,
    )
    if _copies(study, ready) or study.workers == 1:
        return _bare(ready, replace(spec, cpus_per_task=(spec.cpus_per_task or 1) * study.workers))
    return _bare(ready, replace(spec, nodes=1, ntasks=study.workers, ntasks_per_node=None))


def _pack_time(study: StudyRecord, ready: Ready, spec: JobSpec) -> Duration | None:
    """What a pack needs if each of its points takes all of its time.

    Raises:
        PlanError: it is more than the partition allows.
    """
    if not spec.time:
        return None
    most = destination.partition_of(spec, ready.site).max_time
    turns = -(-study.pack // study.workers)
    if most and spec.time * turns > most:
        fits = most // spec.time * study.workers
        at_once = f", {study.workers} at a time," if study.workers > 1 else ""
        raise PlanError(
            f"a pack of {study.pack} points of {spec.time}{at_once} may take {Duration(spec.time * turns)}, "
            f"and {most} is the most there",
            hint=f"--pack {fits}" if fits > 1 else "leave out --pack",
        )
    wanted = Duration(spec.time * turns + _SLACK)
    return min(wanted, most) if most else wanted


def _bare(ready: Ready, spec: JobSpec) -> Ready:
    host = runtimes.get(RuntimeConfig(kind="none"))
    launcher = ready.launcher if (spec.ntasks or 1) > 1 else launchers.get(LauncherConfig(kind="none"))
    return replace(ready, spec=spec, image=ImageFacts(path=""), runtime=host, launcher=launcher, services=(), mpi=None)


def job(
    study: StudyRecord, ready: Ready, piece: Cut, lane: Lane, number: int, *, after: JobRecord | None
) -> tuple[Ready, Callable[[Plan], Plan]]:
    """One job of the study: what its plan is made from, and how that becomes the plan of an array of packs.

    Raises:
        PlanError: a pack takes more than a node or the partition has.
    """
    new = study.rounds[piece.round - 1]
    folder = paths.StudyFolder(Path(study.folder))
    own = paths.JobFolder(folder.job(number))
    tasks = piece.tasks(study.pack)
    host = replace(ready.host, folder=str(own.root), tag=paths.new_tag())
    dependency = ready.dependency
    if after:
        wait = ready.scheduler.dependency("afterany", [after.native_id])
        dependency = ",".join(filter(None, (dependency, wait)))
    point = destination.with_defaults(_with_more(ready.spec, new), ready.site)
    limit = int(point.time or 0) if study.pack > 1 else 0
    part = StudyPart(study.folder, study.id, piece.first, study.pack, piece.rows, limit)
    at_once = f"%{lane.limit}" if lane.limit else ""
    logs = str(own.root).replace("%", "%%") + "/task.%a.log"
    asked = replace(ready, host=host, dependency=dependency)
    one = _point(study, asked, new)
    # What waits for its owner is the study as it was asked for, not what is sent in its course.
    held = one.spec.hold and new.why == "design"
    one = replace(one, spec=replace(one.spec, hold=held, array=f"0-{tasks - 1}{at_once}", output=logs, error=logs))
    script, rows_of = folder.script(new.script or piece.round), folder.table(piece.round)
    words = pointscript.launch_words(str(script), str(rows_of), part, workers=_copies(study, ready))
    time = _pack_time(study, ready, point) if study.pack > 1 else point.time
    task = _task(study, asked, new, words).decide() if _alone(study, point) else None
    launch: tuple[tuple[str | shell.Shell, ...], ...] = (tuple(words),)
    if task and task.launcher == "srun":
        starter, *rest = task.launch
        launch = ((*starter, *_APART), *rest)

    def alter(decided: Plan) -> Plan:
        fixed = {name: value for name, value in decided.env.items() if not command.varies(value)}
        changed = replace(
            decided,
            command=tuple(study.spec["command"]),
            launch=launch,
            time=time,
            env=fixed,
            study=part,
        )
        if task is None:
            return changed
        return replace(
            changed,
            shape=task.shape,
            nodes_asked=task.nodes_asked,
            mem=task.mem,
            mem_per_cpu=task.mem_per_cpu,
            launcher=task.launcher,
            each_node=(),
        )

    return one, alter


def _copies(study: StudyRecord, ready: Ready) -> int:
    """How many copies of itself the script starts, 0 where srun does, which binds each to its cores.

    A launcher of MPI would bring nothing on one node, and might be another than its name says.
    """
    return study.workers if study.workers > 1 and ready.launcher.name != "srun" else 0


def job_draft(study: StudyRecord, prepared: Prepared, piece: Cut, lane: Lane, now: float) -> JobRecord:
    """The row of a job that is about to be submitted."""
    return replace(
        service.draft_record(prepared, now),
        name=study.name,
        study=study.id,
        round=piece.round,
        first=piece.first,
        rows=piece.rows,
        pack=study.pack,
        at_once=lane.limit,
        lane=lane.number,
    )


def job_files(prepared: Prepared) -> dict[str, str]:
    """The files of such a job's folder: what `resubmit` needs is the study's."""
    files = service.job_files(prepared)
    del files[paths.JobFolder(Path()).spec.name]
    return files


# --------------------------------------------------------------------------------- a round's files


def round_files(study: StudyRecord, ready: Ready, points: Points, base: int) -> dict[str, str]:
    """The table and the script of the study's last round, which brings new points, from number `base` on.

    Raises:
        UsageError: a value cannot be written as a format wants it.
        TemplateError: an input file cannot be made for a point.
    """
    number = len(study.rounds)
    folder = paths.StudyFolder(Path(study.folder))
    numbers = range(base, base + len(points))
    words, hidden = _words(study)
    files = inputs.make(
        study.inputs,
        words[len(words) - len(study.inputs) :],
        lambda file: _rendered(file, points, numbers),
        cwd="/",
        first=1 + len(study.names) + len(hidden),
    )
    header = ["point", *study.names, *(f"{name}:{spec}" for name, spec in hidden), *files.header]
    columns: list[Iterable[str]] = [map(str, numbers), points.lines()]
    for name, form in hidden:
        values: Sequence[Value] = numbers if name == command.POINT else points.columns[name]
        columns.append(map(escape, command.format_column(name, form, values)))
    columns += (map(escape, column) for column in files.columns)
    lines = map("\t".join, zip(*columns, strict=True))
    return {
        folder.table(number).name: "\n".join(["\t".join(header), *lines, ""]),
        folder.script(number).name: _script(study, ready, files.files),
    }


def _rendered(file: str, points: Points, numbers: range) -> Iterator[str]:
    template = render.InputTemplate(file)
    for place, number in enumerate(numbers):
        yield template.render({**points.row(place), command.POINT: number})


def _script(study: StudyRecord, ready: Ready, files: Sequence[PointFile]) -> str:
    """What runs a point of the round on the node."""
    host = replace(ready.host, folder=study.folder)
    decided = _point(study, replace(ready, host=host), study.rounds[-1]).decide()
    words, _ = _words(study)
    place, log, *_ = words[len(study.spec["command"]) :]
    return render.render_points(
        PointScript(
            folder=study.folder,
            workdir=study.workdir,
            place=place,
            log=log,
            env={name: value for name, value in decided.env.items() if command.varies(value)},
            launch=decided.launch,
            files=tuple(files),
            pack=study.pack,
            limited=study.pack > 1 and bool(decided.time),
        )
    )


def rows(study: StudyRecord, numbers: Sequence[int]) -> str:
    """The table of a round that runs these points again: their rows as they were."""
    header, found = table.rows(study, numbers)
    return "\n".join([header, *(found[number] for number in sorted(numbers)), ""])


# ----------------------------------------------------------------------------------- what is left


def by_script(study: StudyRecord, numbers: Iterable[int]) -> dict[int, list[int]]:
    """The points by the round that brought them, whose script runs them: what varies in input files is of a round."""
    found: dict[int, list[int]] = {}
    origins = [place for place, each in enumerate(study.rounds, 1) if each.why in NEW]
    for number in sorted(numbers):
        place = next(place for place in origins if number in study.rounds[place - 1])
        found.setdefault(place, []).append(number)
    return found


def unsent(study: StudyRecord, jobs: Sequence[JobRecord]) -> list[Cut]:
    """The rows that no job has."""
    found = []
    for number, each in enumerate(study.rounds, 1):
        taken = [(job.first, job.rows) for job in jobs if job.round == number and job.raw != "NOT_SUBMITTED"]
        found += gaps(number, len(each.numbers()), taken)
    return found


def waiting(study: StudyRecord, jobs: Sequence[JobRecord]) -> set[int]:
    """The points that no job has yet, in their last round."""
    rounds = [each.numbers() for each in study.rounds]
    return {
        number
        for gap in unsent(study, jobs)
        for number in rounds[gap.round - 1][gap.first : gap.first + gap.rows]
        if not any(number in later for later in study.rounds[gap.round :])
    }


def last_place(study: StudyRecord) -> int:
    """The highest number of the study's jobs: that of their folders, of which an interruption may leave some."""
    names = (folder.name.removeprefix("c") for folder in Path(study.folder).glob("c*"))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def open_tasks(job: JobRecord) -> int:
    """How many tasks of a job the queue holds."""
    if job.state.final or job.state is JobState.UNKNOWN:
        return 0
    if not job.tasks:
        return len(job.indices()) or 1
    return sum(count for each, count in job.tasks.counts().items() if not (each.final or each is JobState.UNKNOWN))


def within(cuts: Sequence[Cut], room: int, pack: int) -> tuple[list[Cut], str]:
    """As many of the cuts as fit into `room` tasks (-1 = any number), the last one shortened; and why not all."""
    if room < 0:
        return list(cuts), ""
    found: list[Cut] = []
    for each in cuts:
        if not room:
            return found, FULL
        rows_that_fit = min(each.rows, room * pack)
        found.append(replace(each, rows=rows_that_fit))
        room -= found[-1].tasks(pack)
    return found, "" if found == list(cuts) else FULL


def retries(study: StudyRecord, points: state.Points, jobs: Sequence[JobRecord]) -> dict[str, list[int]]:
    """The points to be run again by themselves, by the cause of their end."""
    found: dict[str, list[int]] = {}
    if not study.retry:
        return found
    for number, cause in state.causes(points, jobs).items():
        before = sum(each.why == f"retry {cause}" and number in each for each in study.rounds)
        if before < study.retry.get(cause, 0):
            found.setdefault(cause, []).append(number)
    return found


def revived(points: state.Points, jobs: Sequence[JobRecord], numbers: Iterable[int]) -> set[int]:
    """Those of the points that were cancelled, and whose turn comes yet: their task has not ended."""
    alive = {job.id: job.tasks.each() if job.tasks else {} for job in jobs if open_tasks(job)}
    found = set()
    for number in points.skipped.intersection(numbers):
        job, task = points.jobs.get(number, (0, 0))
        if number not in points.ends and job in alive and not alive[job].get(task, JobState.PENDING).final:
            found.add(number)
    return found


def again(study: StudyRecord, numbers: Iterable[int], new: Round, *, time: str, mem: str) -> Round:
    """The round with what its points get: as much as they had the last time, or more."""
    left, before = set(numbers), []
    for each in reversed(study.rounds):
        if not left.isdisjoint(members := each.numbers()):
            before.append(each)
            left.difference_update(members)

    def most(name: str) -> int:
        return max(getattr(each, name) or int(study.spec.get(name) or 0) for each in before)

    more_time = more(time, most("time"), Duration, "--time")
    if most("mem_per_cpu"):
        return replace(new, time=more_time, mem_per_cpu=more(mem, most("mem_per_cpu"), Memory, "--mem"))
    return replace(new, time=more_time, mem=more(mem, most("mem"), Memory, "--mem"))


def grown(study: StudyRecord, points: Points, why: str, now: float) -> StudyRecord:
    """The study with a round of new points."""
    new = Round(f"{study.points}-{study.points + len(points) - 1}", why, now)
    kinds = (
        known if known == _kind(column) else "mixed"
        for known, column in zip(study.kinds, points.columns.values(), strict=True)
    )
    return replace(study, rounds=(*study.rounds, new), points=study.points + len(points), kinds=tuple(kinds))


def more(text: str, before: int, kind: type[Duration | Memory], option: str) -> int:
    """An amount, or `x2` for twice as much as before; 0 for no text and nothing before.

    Raises:
        UsageError: it is neither, or there is nothing to multiply.
    """
    if not text:
        return before
    match = re.fullmatch(r"x(\d+(?:\.\d+)?)", text, re.ASCII)
    if not match:
        return int(kind.parse(text))
    if not before:
        raise UsageError(f"{option} {text}: the study asked for none, so there is nothing to multiply",
                         hint=f"give an amount: {option} {'2h' if kind is Duration else '8G'}")  # fmt: skip
    return round(before * float(match[1]))


def without_known(study: StudyRecord, points: Points) -> tuple[Points, int]:
    """The points that the study does not have yet, its parameters in its order; and how many it has."""
    folder = paths.StudyFolder(Path(study.folder))
    count = len(study.names)
    known = {
        tuple(line.split("\t")[1 : 1 + count])
        for place, each in enumerate(study.rounds, 1)
        if each.why in NEW
        for line in table.read(folder.table(place))[1:]
    }
    keep = [place for place, line in enumerate(points.lines()) if tuple(line.split("\t")) not in known]
    columns = {name: [points.columns[name][place] for place in keep] for name in study.names}
    return replace(points, columns=columns), len(points) - len(keep)
