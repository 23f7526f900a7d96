"""The use cases of parameter studies: plan, submit, feed, finish. Jobs of a study are jobs like others (`service`).

A study is sent in jobs, each an array of tasks of some points. What is not sent yet is what no job has, so whoever
goes on after a crash, or after a limit of the queue, begins where the rows of the jobs there are end.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import mpi_service, paths, studies
from hpcjobs.destination import partition_of
from hpcjobs.errors import (
    HpcjobError,
    NotFoundError,
    PlanError,
    RefusedError,
    StoreError,
    UnreachableError,
    UsageError,
    WaitTimeoutError,
)
from hpcjobs.record import JobState
from hpcjobs.service import Prepared, Ready, Service, make_log_folders, spec_from_json
from hpcjobs.store import locked, submission_lock
from hpcjobs.sweep import build, state
from hpcjobs.sweep.cut import Cut, Lane, cut, lanes
from hpcjobs.sweep.design import design_to_json
from hpcjobs.sweep.record import Round, StudyRecord
from hpcjobs.units import format_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcjobs.record import JobRecord
    from hpcjobs.sweep.points import Points
    from hpcjobs.sweep.spec import StudySpec

# Jobs that are reserved, sent and committed together: so many files are locked at a time.
_BATCH = 50
# A refusal for the number of jobs or tasks, by Slurm (AssocMaxSubmitJobLimit, and no other of that kind), PBS and
# TORQUE; with fewer tasks, others would come again.
_LIMIT = re.compile(
    r"^(?!.*Max(?!Submit)[A-Z])"
    r".*(Submit\w*Limit|submit limit|[Aa]rray|[Mm]aximum number|per-user limit|limit on|in queue)"
)
_USUAL_ARRAY = 1000
# While jobs of a study are queued, more are sent when there is room for this part of them.
_PART = 4
_KINDS = {"failed": state.FAILED, "missing": state.MISSING}
_ALIVE = frozenset({JobState.PENDING, JobState.HELD, JobState.RUNNING, JobState.COMPLETING})


@dataclass(frozen=True)
class PreparedStudy:
    """A study that is planned and rendered, and not yet anywhere."""

    record: StudyRecord  # a draft
    points: Points
    files: Mapping[str, str]
    sample: Prepared  # its first job
    jobs: int  # how many there will be
    tasks: int


@dataclass(frozen=True)
class Sent:
    """What a feed did."""

    jobs: list[JobRecord] = field(default_factory=list)
    left: int = 0  # points that are in no job
    why: str = ""  # what kept them


class Sweeps:
    """The use cases over the jobs of a `Service`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._store = service.store

    # ----------------------------------------------------------------------------------- submission

    def prepare(self, spec: StudySpec, *, site: str = "", site_file: str = "", final: bool = False) -> PreparedStudy:
        """Expand, plan and render; nothing is written and nothing is queued.

        Raises:
            UsageError: the design, an expression or a placeholder is wrong, or no point is left.
            PlanError: a point cannot run on that site.
        """
        points = build.expand(spec)
        spec = self._with_notebook(spec, points, site=site, site_file=site_file, final=final)
        now, tag = self.service.now(), paths.new_tag()
        draft = build.draft(spec, points, tag=tag, now=now)
        ready = self._ready(draft, site=site, site_file=site_file, final=final)
        if ready.host.cwd != draft.workdir:  # the site has a default of its own
            draft = replace(draft, workdir=ready.host.cwd)
            ready = self._ready(draft, site=site, site_file=site_file, final=final)
        folder = self.service.jobs_folder(ready.site) / paths.folder_name(tag, draft.name, now)
        source = ready.site_file
        draft = replace(draft, folder=str(folder), workdir=ready.host.cwd, site=ready.site.name, site_file=source)
        # What an image's name stands for is decided once, as for other jobs: later rounds run the same. So is where
        # they run: packs are made for the nodes of one partition.
        chosen = {"partition": ready.spec.partition} if ready.spec.partition else {}
        draft = replace(draft, spec={**draft.spec, "workdir": ready.host.cwd, **build.pinned(ready), **chosen})
        draft = replace(draft, workers=build.workers(draft, self._with_nodes(draft, ready)))
        build.check_places(draft, points)
        asked = {"design": design_to_json(spec.design), "derive": spec.derive, "where": spec.where, "seed": spec.seed}
        design = json.dumps(asked, default=str)  # NumPy's numbers
        files = {**build.round_files(draft, ready, points, 0), paths.StudyFolder(folder).design.name: design}
        most = self._most_tasks(ready) * draft.pack
        cuts = cut(Cut(1, 0, len(points)), most)
        sample = self._write(draft, ready, cuts[0], Lane(draft.max_running), 1)
        return PreparedStudy(draft, points, files, sample, len(cuts), sum(each.tasks(draft.pack) for each in cuts))

    def submit(self, spec: StudySpec, *, site: str = "", site_file: str = "") -> tuple[StudyRecord, Sent]:
        """Plan, write, and send as many jobs as the scheduler takes.

        Raises:
            RefusedError: the scheduler took none of it; nothing is left behind.
            UnreachableError: it did not answer. What may have arrived is looked for by the next `feed`.
        """
        prepared = self.prepare(spec, site=site, site_file=site_file, final=True)
        study = self._store.reserve_study(prepared.record, prepared.files)
        try:
            self._make_place(study)
            return study, self.feed(study)
        except HpcjobError as error:
            if self._store.jobs_of(study.id):
                error.message += f"; {study.label} is not sent as a whole"
                error.hint = f"do not submit it again: hpcjob sweep resume {study.label} goes on"
            else:
                with contextlib.suppress(StoreError):  # an empty study is no loss
                    self._store.drop_study(study)
            raise

    def _make_place(self, study: StudyRecord) -> None:
        """Make the folder that those of the points are in, unless its name is of a point too.

        Raises:
            PlanError: it cannot be made.
        """
        fixed = study.place.partition("{")[0].rpartition("/")[0]
        if fixed:
            folder = Path(study.workdir) / fixed
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise PlanError(
                    f"the folder {folder} cannot be made: {error.strerror}", hint="choose another: --folder"
                ) from error

    def feed(self, study: StudyRecord) -> Sent:
        """Send what no job has yet, as far as the scheduler takes it. May be called at any time, by anybody.

        Raises:
            RefusedError: the scheduler takes no job of it at all.
            UnreachableError: the scheduler did not answer.
        """
        with self._locked(study) as mine:
            return self._feed(self._store.study(study.id)) if mine else self._another(study)

    def _locked(self, study: StudyRecord) -> contextlib.AbstractContextManager[bool]:
        return locked(paths.StudyFolder(Path(study.folder)).lock)

    def _another(self, study: StudyRecord) -> Sent:
        return Sent(left=self._unsent(study), why="another hpcjob sends it at this moment")

    def _feed(self, study: StudyRecord) -> Sent:
        # A number is not used again: what the scheduler takes up late finds its folder gone, and ends.
        number = build.last_place(study)
        jobs = self._healed(study)
        missing = build.unsent(study, jobs)
        if any(not job.native_id for job in jobs):
            return Sent(left=self._unsent(study), why="which of its jobs arrived is known in half a minute")
        if not missing:
            return Sent()
        ready = self._ready(study, site=study.site, site_file=study.site_file, final=True)
        most = self._most_tasks(ready)
        room = self._room(ready, sum(gap.tasks(study.pack) for gap in missing))
        # With jobs in the queue, a small part is not worth a job: it is sent when there is room for more.
        queued = sum(map(build.open_tasks, jobs))
        least = max(1, queued // _PART)
        if 0 <= room < least:
            return Sent(left=self._unsent(study), why=build.FULL)
        sent: list[JobRecord] = []
        why = ""
        while missing and not why:
            cuts = [piece for gap in missing for piece in cut(gap, most * study.pack)]
            cuts, why = build.within(cuts, room, study.pack)
            if not cuts:
                break
            running = [job for job in jobs if build.open_tasks(job)]
            shared = lanes(len(cuts), study.max_running, [(job.lane, job.at_once) for job in running])
            try:
                sent = self._send(study, ready, cuts, shared, running, number=number)
            except _Refused as refusal:
                sent, why = refusal.sent, refusal.error.message
                limited = bool(_LIMIT.search(why))
                most = min(most, cuts[0].tasks(study.pack)) // 2
                if not sent and limited and most >= least:
                    why = ""
                elif not (sent or (limited and jobs)):
                    raise refusal.error from None
            missing = build.unsent(study, [*jobs, *sent])
        return Sent(sent, sum(gap.rows for gap in missing), why)

    def _send(
        self,
        study: StudyRecord,
        ready: Ready,
        cuts: Sequence[Cut],
        shared: Sequence[Lane],
        running: Sequence[JobRecord],
        *,
        number: int,
    ) -> list[JobRecord]:
        """Send jobs in batches: reserved together, sent one by one, recorded together.

        Raises:
            _Refused: the scheduler took no more; what it took is in it.
        """
        pieces = list(zip(cuts, shared, range(number + 1, number + 1 + len(cuts)), strict=True))
        # One that waits for another needs its native id.
        size = 1 if any(lane.after >= 0 for lane in shared) else _BATCH
        sent: list[JobRecord] = []
        for begin in range(0, len(pieces), size):
            known = [*running, *sent]
            prepared = [
                self._write(study, ready, piece, lane, place, after=known[lane.after] if lane.after >= 0 else None)
                for piece, lane, place in pieces[begin : begin + size]
            ]
            for each in prepared:
                make_log_folders(each.plan)
            mpi_service.place(prepared[0].plan.mpi_plan)
            drafts = [
                (build.job_draft(study, each, piece, lane, self.service.now()), build.job_files(each))
                for each, (piece, lane, _) in zip(prepared, pieces[begin : begin + size], strict=True)
            ]
            sent += self._hand_over(self._store.reserve_all(drafts), ready, sent)
        return sent

    def _hand_over(self, records: Sequence[JobRecord], ready: Ready, before: list[JobRecord]) -> list[JobRecord]:
        """Give reserved jobs to the scheduler; those that it did not get are forgotten."""
        noted: list[JobRecord] = []
        tried = 0
        with contextlib.ExitStack() as locks:
            descriptors = [locks.enter_context(submission_lock(record)) for record in records]
            try:
                for record, descriptor in zip(records, descriptors, strict=True):
                    script = paths.JobFolder(Path(record.folder)).script
                    tried += 1
                    native_id = ready.scheduler.submit(script, tag=record.tag, record=record, keep_fds=(descriptor,))
                    noted.append(self._store.note_id(record, native_id, self.service.now()))
            except RefusedError as error:
                sent = self._store.commit_all(noted)
                self._store.drop(*records[len(noted) :])
                raise _Refused(error, [*before, *sent]) from None
            except HpcjobError as error:
                self._store.commit_all(noted)
                # Whether the last one arrived, the next feed finds out; those after it were never tried.
                arrived = isinstance(error, StoreError) or getattr(error, "maybe_done", False)
                self._store.drop(*records[tried if arrived else tried - 1 :])
                raise
            return self._store.commit_all(noted)

    def _write(
        self,
        study: StudyRecord,
        ready: Ready,
        piece: Cut,
        lane: Lane,
        number: int,
        *,
        after: JobRecord | None = None,
    ) -> Prepared:
        """One job of the study, planned and rendered."""
        one, alter = build.job(study, ready, piece, lane, number, after=after)
        return self.service.write(one, alter)

    def _with_notebook(self, spec: StudySpec, points: Points, *, site: str, site_file: str, final: bool) -> StudySpec:
        """The request with a command in the place of a notebook, which each point finds in its folder."""
        if not (notebook := spec.job.notebook):
            return spec
        inside = Path(notebook).name
        job, _ = self.service.with_notebook(
            spec.job, site="" if site_file else site, site_file=site_file, final=final, names=points.columns
        )
        words = [inside if word == notebook else word for word in job.command]
        return replace(spec, job=replace(job, command=tuple(words)), inputs=(*spec.inputs, notebook))

    def _ready(self, study: StudyRecord, *, site: str, site_file: str, final: bool) -> Ready:
        """All that is known of the job of one point, with placeholders where its values will be."""
        spec = build.with_placeholders(study, spec_from_json(study.spec))
        ready = self.service.ready(spec, site="" if site_file else site, site_file=site_file, final=final)
        return build.in_its_place(study, ready)

    # ----------------------------------------------------------------------------------- limits

    def _most_tasks(self, ready: Ready) -> int:
        """Tasks of one array."""
        told = ready.site.scheduler.max_array or int(self._limits(ready)["max_array"])
        return told or _USUAL_ARRAY

    def _room(self, ready: Ready, wanted: int) -> int:
        """Tasks that the queue takes besides those that are there; -1 = all that are wanted."""
        told = ready.site.scheduler.max_submit or int(self._limits(ready)["max_submit"])
        jobs = [job for job in self._store.active() if job.site == ready.site.name]
        if not told or sum(map(build.open_tasks, jobs)) + wanted <= told:
            return -1
        return max(0, told - sum(map(build.open_tasks, self.service.refresh(jobs).records)))

    def _with_nodes(self, study: StudyRecord, ready: Ready) -> Ready:
        """The same with the shape of the nodes, asked for where a pack depends on it and the site file is silent."""
        if study.pack == 1 or study.workers or partition_of(ready.spec, ready.site).node.cores:
            return ready
        asked = self.service.asked_partitions(ready.site, ready.scheduler)
        return replace(ready, site=replace(ready.site, partitions=asked)) if asked else ready

    def _limits(self, ready: Ready) -> dict[str, Any]:
        config = ready.site.scheduler
        if config.max_array and config.max_submit:
            return {"max_array": config.max_array, "max_submit": config.max_submit}
        return self.service.remembered("array-limits", ready.site, lambda: asdict(ready.scheduler.limits()))

    # ----------------------------------------------------------------------------------- tracking

    def _healed(self, study: StudyRecord) -> list[JobRecord]:
        """The jobs of the study, after looking for those whose submission was interrupted.

        Those that never arrived are forgotten: their rows are in no job again.
        """
        jobs = self._store.jobs_of(study.id)
        if any(not job.native_id for job in jobs):
            self.service.reconcile()
            jobs = self._store.jobs_of(study.id)
        never = [job for job in jobs if job.raw == "NOT_SUBMITTED"]
        if never:
            self._store.drop(*never)
        return [job for job in jobs if job not in never]

    def _unsent(self, study: StudyRecord) -> int:
        """How many points are in no job that the scheduler is known to have."""
        confirmed = [job for job in self._store.jobs_of(study.id) if job.native_id]
        return sum(gap.rows for gap in build.unsent(study, confirmed))

    def tend(self, study: StudyRecord) -> tuple[studies.Known, Sent]:
        """Look after a study: send what failed for a cause that is retried, and what the queue now has room for."""
        known = studies.known(self.service, study)
        study = known.study
        again = build.retries(study, known.points, known.jobs)
        if study.stopped or not (again or self._unsent(study)):
            return known, Sent()
        try:
            with self._locked(study) as mine:
                if not mine or self._store.study(study.id) != study:
                    return known, self._another(study)
                for cause, numbers in again.items():
                    study = self._again(study, numbers, f"retry {cause}")
                sent = self._feed(study)
        except (UnreachableError, RefusedError) as error:  # it is asked again, as for what became of jobs
            if isinstance(error, RefusedError) and not any(map(build.open_tasks, known.jobs)):
                raise  # by waiting, nothing will change
            return replace(known, errors=[*known.errors, error]), Sent(left=self._unsent(study), why=error.message)
        return studies.known(self.service, study), sent

    def wait(
        self,
        study: StudyRecord,
        *,
        timeout: float | None = None,
        interval: float = 2.0,
        on_look: Callable[[studies.Known], None] = lambda _: None,
    ) -> studies.Known:
        """Look after a study until nothing of it runs, waits, or can be sent.

        Raises:
            WaitTimeoutError: `timeout` seconds are over.
        """
        begin = self.service.now()
        while True:
            now, sent = self.tend(study)
            on_look(now)
            clock = self.service.now()
            if studies.is_over(now, clock) and not sent.jobs and (now.study.stopped or not sent.left):
                return now
            left = interval if timeout is None else begin + timeout - clock
            if left <= 0:
                over = sum(count for each, count in now.points.counts().items() if each.final)
                raise WaitTimeoutError(
                    f"{study.label} has not ended after {timeout:g} s: {over} of {now.study.points} points have",
                    hint=f"it goes on: hpcjob wait {study.label}",
                )
            self.service.sleep(min(interval, left))

    # ----------------------------------------------------------------------------------- finishing

    def resubmit(
        self, chosen: studies.Chosen, kinds: Sequence[str], *, time: str = "", mem: str = ""
    ) -> tuple[StudyRecord, Sent, tuple[int, ...]]:
        """Run points again: those chosen, or of the whole study the `failed` or `missing` ones.

        With more time or memory: an amount, or `x2` for twice as much as the last time. What no job has is sent too.
        Points that were cancelled before their turn, in a task that still waits or runs, have their turn again.

        Raises:
            UsageError: one of the chosen has not ended.
            NotFoundError: no point is of these kinds.
        """
        now = studies.known(self.service, chosen.study, force=True)
        study = now.study
        waiting = build.waiting(study, now.jobs)
        wanted = frozenset().union(*(_KINDS[kind] for kind in kinds))
        asked = chosen.numbers or now.points.some(wanted)
        revived = build.revived(now.points, now.jobs, asked)
        numbers = tuple(n for n in asked if n not in waiting and n not in revived)
        if alive := [n for n in numbers if now.points.states[n] in _ALIVE]:
            raise UsageError(
                f"{study.label}[{alive[0]}] is {now.points.states[alive[0]]}",
                hint=f"wait for its end, or cancel it: hpcjob cancel '{study.label}[{alive[0]}]'",
            )
        if not asked and not waiting:
            raise NotFoundError(
                f"no point of {study.label} is {' or '.join(kinds)}", hint=f"hpcjob status {study.label}"
            )
        grown = self._again(study, numbers, " ".join(kinds) or "chosen", time=time, mem=mem) if numbers else study
        for number in asked:
            (paths.StudyFolder(Path(study.folder)).skip / str(number)).unlink(missing_ok=True)
        return self._store.stop_study(study.id, stopped=False), self._feed_more(study, grown), numbers

    def _feed_more(self, before: StudyRecord, study: StudyRecord) -> Sent:
        """Send the study; rounds that it did not have `before`, and that cannot be sent, are taken back."""
        try:
            return self.feed(study)
        except HpcjobError:
            if all(job.round <= len(before.rounds) for job in self._store.jobs_of(study.id)):
                with contextlib.suppress(StoreError):  # another command has added more: it is too late
                    self._store.add_round(study, before, {})
                    self._store.stop_study(study.id, stopped=before.stopped)
            raise

    def _again(
        self, study: StudyRecord, numbers: Sequence[int], why: str, *, time: str = "", mem: str = ""
    ) -> StudyRecord:
        """Add rounds that run points again, one for each script that does.

        Raises:
            PlanError: with so much time or memory they cannot run; nothing was added.
        """
        new = build.again(study, numbers, Round("", why, self.service.now()), time=time, mem=mem)
        folder = paths.StudyFolder(Path(study.folder))
        ready = self._ready(study, site=study.site, site_file=study.site_file, final=False) if time or mem else None
        for script, members in build.by_script(study, numbers).items():
            one = replace(new, points=format_indices(members), script=script)
            grown = replace(study, rounds=(*study.rounds, one))
            if ready:
                self._write(grown, ready, Cut(len(grown.rounds), 0, len(members)), Lane(0), 1)
            files = {folder.table(len(grown.rounds)).name: build.rows(study, members)}
            study = self._store.add_round(study, grown, files)
        return study

    def extend(self, study: StudyRecord, spec: StudySpec, *, why: str = "extend") -> tuple[StudyRecord, Sent, int]:
        """Add points; those that the study has already are left out, and counted.

        Raises:
            UsageError: the new points have other parameters.
        """
        study = self._store.study(study.id)
        points = build.expand(spec)
        if set(points.columns) != set(study.names):
            raise UsageError(
                f"{study.label} has the parameters {', '.join(study.names)}, and these points have "
                f"{', '.join(points.columns)}",
                hint="give all of the study's parameters, and no others",
            )
        points = replace(points, columns={name: points.columns[name] for name in study.names})
        points, known = build.without_known(study, points)
        if not len(points):
            return study, Sent(), known
        ready = self._ready(study, site=study.site, site_file=study.site_file, final=True)
        grown = build.grown(study, points, why, self.service.now())
        build.check_places(grown, points)
        files = build.round_files(grown, ready, points, study.points)
        grown = self._store.add_round(study, grown, files)
        return grown, self._feed_more(study, grown), known


class _Refused(Exception):  # noqa: N818 - no error of the user's: it says how far a feed came
    def __init__(self, error: RefusedError, sent: list[JobRecord]) -> None:
        super().__init__(error.message)
        self.error, self.sent = error, sent
