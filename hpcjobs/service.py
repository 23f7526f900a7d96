"""The use cases: what the command line and the Python API call."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpcjobs import ends, paths, schedulers, symptoms
from hpcjobs.errors import (
    HpcjobError,
    NotFoundError,
    PlanError,
    RefusedError,
    SiteError,
    StoreError,
    UnreachableError,
    UsageError,
    WaitTimeoutError,
)
from hpcjobs.record import JobRecord, JobState, JobStatus, Tasks
from hpcjobs.store import Store, submission_lock, submission_under_way
from hpcjobs.units import format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hpcjobs.image_service import Telling
    from hpcjobs.limits import Rules
    from hpcjobs.model import (
        HostFacts,
        ImageFacts,
        JobSpec,
        Launcher,
        Note,
        Partition,
        Plan,
        Runtime,
        Script,
        ServiceSpec,
        Site,
    )
    from hpcjobs.mpi.settle import Known
    from hpcjobs.partitions import Row
    from hpcjobs.process import Runner
    from hpcjobs.schedulers import Explanation, Scheduler
    from hpcjobs.site import LoadedSite


@dataclass(frozen=True)
class Prepared:
    """A job that is planned and rendered, and not yet anywhere."""

    spec: JobSpec
    site: Site
    plan: Plan
    script: Script
    site_file: str = ""  # if the site was given as a file


@dataclass(frozen=True)
class Ready:
    """A request with all that a plan is made from: what was found out of the site, the images, the host."""

    spec: JobSpec
    site: Site
    image: ImageFacts
    host: HostFacts
    runtime: Runtime
    launcher: Launcher
    services: tuple[tuple[ServiceSpec, ImageFacts, Runtime], ...]
    dependency: str
    mpi: Known | None
    scheduler: Scheduler
    notes: tuple[Note, ...]
    site_file: str
    rules: Rules | None = None  # None = not asked for

    def decide(self) -> Plan:
        """The plan, but for what the scheduler's module spells.

        Raises:
            PlanError: the job cannot run there.
        """
        from hpcjobs import plan

        decided = plan.resolve(
            self.spec,
            self.site,
            self.image,
            self.host,
            runtime=self.runtime,
            launcher=self.launcher,
            services=self.services,
            dependency=self.dependency,
            mpi=self.mpi,
        )
        return replace(decided, notes=(*decided.notes, *self.notes))


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


# Seconds after which a reservation that neither queue nor accounting knows is taken to have never arrived.
# squeue sees a job within milliseconds of its acceptance, sacct within a second (more on a loaded database).
_NEVER_ARRIVED = 30.0
# Seconds for which such a job is looked for all the same: a controller that hung may take it up when it wakes.
_LATE = 3600.0
# Seconds for which partitions and limits that a scheduler reported are believed.
_LIMITS_AGE = 3600.0
# Seconds within which nobody changes a limit and submits again.
_JUST_NOW = 10.0
# Seconds for which it is believed that the limits of a person cannot be asked.
_SILENCE = 60.0
_LONGEST_PAUSE = 30.0
# What stands for the program where none was named.
ANY_PROGRAM = "PROGRAM"


class Service:
    """The use cases over one job database. Cheap to make: nothing is opened or run before it is needed."""

    def __init__(
        self,
        *,
        runner: Runner | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        store: Store | None = None,
        telling: Telling | None = None,
    ) -> None:
        self._runner = runner
        self._telling = telling
        self._clock = clock
        self._sleep = sleep
        self.store = store or Store()

    # ---------------------------------------------------------------------------------- submission

    def now(self) -> float:
        """The time, in Unix seconds."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Wait; with `now`, the only clock of the use cases."""
        self._sleep(seconds)

    def prepare(self, spec: JobSpec, *, site: str = "", site_file: str = "", final: bool = False) -> Prepared:
        """Plan and render; nothing is written and nothing is queued (`render`, `submit --dry-run`).

        With `final`, what only a real submission needs is done too: an image is pulled, its digest is taken, and
        its signature is verified where that is required.

        Raises:
            SiteError: no site fits, or its file is wrong.
            PlanError: the job cannot run there.
            TemplateError: the template is wrong.
        """
        return self.write(self.ready(spec, site=site, site_file=site_file, final=final))

    def ready(self, spec: JobSpec, *, site: str = "", site_file: str = "", final: bool = False) -> Ready:
        """Find out all that a plan is made from.

        Raises:
            SiteError: no site fits, or its file is wrong.
            PlanError: the job cannot run there.
        """
        from hpcjobs import destination, launchers, plan
        from hpcjobs import site as sites
        from hpcjobs.image_service import QUIET, Images
        from hpcjobs.limits import lifted
        from hpcjobs.model import HostFacts, Note
        from hpcjobs.mpi import settle
        from hpcjobs.mpi_service import Mpi

        spec, noted = self.with_notebook(spec, site=site, site_file=site_file, final=final)
        loaded = sites.choose(site, site_file, cached=True)
        if final and loaded.site.retired:
            raise SiteError(
                f"site {loaded.site.name} is retired: {loaded.site.retired}",
                hint="hpcjob submit --dry-run still shows the script",
            )
        found, scheduler = self._found(loaded.site)
        spec, notes = self._with_partition(spec, found, site=site, site_file=site_file)
        elsewhere = not final and _is_elsewhere(loaded)
        rules = None if elsewhere else self._rules(loaded.site, scheduler)
        asked = destination.with_defaults(spec, found)
        if rules:
            found = lifted(found, asked, rules)
        workdir = paths.absolute(asked.workdir or ".")
        images = Images(found, self.runner, self._telling or QUIET)
        asked = replace(asked, workdir=workdir, image=paths.absolute_image(asked.image))
        image, runtime = images.choose(asked, final=final)
        services = [(one, *images.for_service(one, asked, image, runtime, final=final)) for one in asked.services]
        pinned = tuple(replace(one, image=images.pinned(one.image, facts)) for one, facts, _ in services)
        mpi = Mpi(found, loaded.file, self.runner, self._telling or QUIET)
        folder = self.jobs_folder(found)
        mpi_known, why = mpi.known(asked, image, folder / ".mpi", runtime.config, elsewhere=elsewhere)
        if not final and not spec.command:  # `mpi plan` of an image as such
            spec = replace(spec, command=(ANY_PROGRAM,))
        spec = replace(spec, workdir=workdir, image=images.pinned(asked.image, image), services=pinned)
        starter = plan.choose_launcher(spec, found)
        if mpi_known and mpi_known.host:
            starter = settle.understanding(starter, mpi_known.host)
        now, tag = self._clock(), paths.new_tag()
        name = spec.name or (Path(spec.command[0]).name if spec.command else "")
        host = HostFacts(
            cwd=workdir,
            home=str(Path.home()),
            user=os.environ.get("USER", ""),
            arch=os.uname().machine,
            folder=str(folder / paths.folder_name(tag, name, now)),
            tag=tag,
            files=images.bind_files(asked),
            key=images.key(asked),
            umask=paths.umask(),
        )
        notes += noted
        notes += [Note("mpi", "left to the launcher", why)] if why else []
        if unused := found.scheduler.extra.get("api"):
            notes.append(Note("driver", "commands", str(unused)))
        return Ready(
            spec,
            found,
            image,
            host,
            runtime,
            launchers.get(starter),
            tuple(services),
            self._dependency(spec.dependency, scheduler),
            mpi_known,
            scheduler,
            tuple(notes),
            str(loaded.file) if site_file else "",
            rules,
        )

    def with_notebook(
        self, spec: JobSpec, *, site: str = "", site_file: str = "", final: bool = False, names: Iterable[str] = ()
    ) -> tuple[JobSpec, list[Note]]:
        """The request with a command in the place of its notebook, if it has one; `names` are a study's parameters.

        Raises:
            UsageError, NotFoundError, PlanError: the notebook cannot be run so.
        """
        if not spec.notebook:
            if spec.parameters:
                raise UsageError("parameters are for a notebook, and there is none", hint="add --notebook nb.ipynb")
            return spec, []
        from hpcjobs import notebooks
        from hpcjobs import site as sites
        from hpcjobs.image_service import QUIET
        from hpcjobs.wrapping import Wrapping

        loaded = sites.choose(site, site_file, cached=True)
        telling = self._telling or QUIET
        made = Wrapping(loaded, self.runner, jobs_folder=self.jobs_folder(loaded.site), telling=telling)
        return notebooks.prepared(spec, made, self.runner, telling, final=final, names=names)

    def _found(self, site: Site) -> tuple[Site, Scheduler]:
        """The site with what its scheduler says of itself and of its partitions, and that scheduler."""
        scheduler = self._scheduler(site.scheduler.kind, asdict(site.scheduler))
        known = self._identified(site, scheduler)
        scheduler = self._scheduler(known.scheduler.kind, asdict(known.scheduler))
        return self._with_limits(known, scheduler), scheduler

    def write(self, ready: Ready, alter: Callable[[Plan], Plan] = lambda plan: plan) -> Prepared:
        """Decide and render; `alter` changes the plan before it is spelled for the scheduler.

        Raises:
            PlanError: the job cannot run there.
            TemplateError: the template is wrong.
        """
        from hpcjobs import render

        decided = alter(ready.decide())
        self._check_rules(decided, ready)
        decided = replace(decided, native=ready.scheduler.spell(decided))
        return Prepared(ready.spec, ready.site, decided, render.render(decided), site_file=ready.site_file)

    def submit(self, spec: JobSpec, *, site: str = "", site_file: str = "") -> JobRecord:
        """Plan, render, reserve, submit, commit.

        Raises:
            RefusedError: the scheduler said no; nothing is left behind.
            UnreachableError: it did not answer. If the job may have arrived all the same, its reservation
                stays and the next command looks for it.
        """
        self._try_to_reconcile()
        return self._send(self.prepare(spec, site=site, site_file=site_file, final=True))

    def resubmit(self, selected: Sequence[Selected]) -> list[JobRecord]:
        """Submit jobs again from their stored requests; of an array, the selected tasks.

        Raises:
            UsageError: one of them is a part of a study.
        """
        if part := next((chosen.record for chosen in selected if chosen.record.study), None):
            raise UsageError(
                f"{part.label} runs points of the study s{part.study}, which are resubmitted with it",
                hint=f"hpcjob resubmit s{part.study} --failed, --missing, or 's{part.study}[17]'",
            )
        self._try_to_reconcile()
        sent = []
        for chosen in selected:
            stored = _load(paths.JobFolder(Path(chosen.record.folder)).spec)
            spec = spec_from_json(stored["spec"])
            if chosen.indices:
                limit = spec.array.partition("%")[2]
                spec = replace(spec, array=format_indices(chosen.indices) + (f"%{limit}" if limit else ""))
            # What it waited for is over, or it would not be sent again.
            spec = replace(spec, dependency="", hold=False)
            try:
                sent.append(
                    self._send(self.prepare(spec, site=stored["site"], site_file=stored["site_file"], final=True))
                )
            except HpcjobError as error:
                if sent:
                    done = " ".join(record.label for record in sent)
                    error.message = f"{chosen.record.label}: {error.message} (sent before it: {done})"
                raise
        return sent

    def _send(self, prepared: Prepared) -> JobRecord:
        from hpcjobs import mpi_service

        plan = prepared.plan
        make_log_folders(plan)
        mpi_service.place(plan.mpi_plan)
        record = self.store.reserve(draft_record(prepared, self._clock()), job_files(prepared))
        scheduler = self._scheduler(record.scheduler, record.options)
        script = paths.JobFolder(Path(record.folder)).script
        with submission_lock(record) as descriptor:
            try:
                native_id = scheduler.submit(script, tag=record.tag, record=record, keep_fds=(descriptor,))
            except UnreachableError as error:
                if not error.maybe_done:
                    self._drop(record)
                    raise
                raise UnreachableError(
                    f"{error.message}; whether {record.label} was accepted is not known yet",
                    hint=f"do not submit it again: hpcjob status {record.label} finds out",
                    maybe_done=True,
                ) from error
            except HpcjobError:
                self._drop(record)
                raise
            try:
                return self.store.commit(record, native_id, self._clock())
            except StoreError as error:
                raise StoreError(
                    f"{record.label} was submitted as {record.scheduler} job {native_id}, which could not be recorded: "
                    f"{error.message}",
                    hint=f"do not submit it again: hpcjob status {record.label} finds it once that can be written",
                ) from error

    def _drop(self, record: JobRecord) -> None:
        with suppress(StoreError):  # what keeps it from being forgotten: the next command finds that it never arrived
            self.store.drop(record)

    def reconcile(self) -> list[JobRecord]:
        """Heal what a crash left between reservation and commit; the jobs that changed.

        A job that the scheduler has is committed; one that neither queue, accounting nor an exit file knows
        never arrived, and says so.
        """
        now = self._clock()
        waiting = [
            record
            for record in self.store.reserved(now - _LATE)
            if not submission_under_way(record, now, 2 * float(record.options.get("submit_timeout", 60)))
        ]
        changed = []
        for scheduler, records in self._by_cluster(waiting).values():
            found = scheduler.find({record.tag: record.created for record in records})
            for record in records:
                if native_id := found.get(record.tag) or ends.id_in_its_files(record):
                    changed.append(self.store.commit(record, native_id, self._clock()))
                elif not record.state.final and now - record.created > _NEVER_ARRIVED:
                    status = JobStatus(JobState.FAILED, raw="NOT_SUBMITTED", reason="never reached the scheduler")
                    changed += self.store.apply({record.id: status}, now).values()
        return changed

    def _try_to_reconcile(self) -> None:
        with suppress(UnreachableError, RefusedError):  # another job's past keeps no new one from being sent
            self.reconcile()

    def _identified(self, site: Site, scheduler: Scheduler) -> Site:
        """The site with what its scheduler says of itself, asked at most once an hour."""
        if scheduler.identified:
            return site
        told = self.remembered(f"scheduler-{site.scheduler.driver}", site, scheduler.identify)
        return replace(site, scheduler=replace(site.scheduler, extra={**site.scheduler.extra, **told}))

    def _with_limits(self, site: Site, scheduler: Scheduler) -> Site:
        if site.partitions or site.scheduler.limits == "site":
            return site
        return replace(site, partitions=self.asked_partitions(site, scheduler))

    def asked_partitions(self, site: Site, scheduler: Scheduler) -> dict[str, Partition]:
        """Partitions, limits and nodes as the scheduler reports them, asked at most once an hour."""
        from hpcjobs.model import Partition, restore

        told = self.remembered(
            "partitions", site, lambda: {name: asdict(found) for name, found in scheduler.partitions().items()}
        )
        return {name: restore(Partition, data) for name, data in told.items()}

    def remembered(
        self, what: str, site: Site, ask: Callable[[], dict[str, Any]], *, within: float = _LIMITS_AGE
    ) -> dict[str, Any]:
        """What `ask` returned within the last hour (or so many seconds), for this site on this machine."""
        cluster = "-".join(
            os.environ.get(name, "") for name in ("SLURM_CONF", "PBS_CONF_FILE", "PBS_SERVER", "PBS_DEFAULT")
        )
        key = re.sub(r"\W", "_", f"{os.uname().nodename}-{site.name}-{cluster.strip('-')}")
        file = paths.cache_home() / f"{what}-{key}.json"
        now = self._clock()
        try:
            cached = json.loads(file.read_text("utf-8"))
            if now - cached["at"] < within:
                return dict(cached[what])
        except (OSError, ValueError, KeyError):
            pass  # none, or not whole: asked anew
        told = ask()
        _cache(file, {"at": now, what: told})
        return told

    # ------------------------------------------------------------------------- limits of a person

    def _rules(self, site: Site, scheduler: Scheduler, *, anew: bool = False) -> Rules:
        """The rules as the scheduler told them, asked at most once an hour; after a silence, once a minute."""
        from hpcjobs.limits import rules_from_json

        def ask() -> dict[str, Any]:
            return asdict(scheduler.rules())

        found = rules_from_json(self.remembered("rules", site, ask, within=_JUST_NOW if anew else _LIMITS_AGE))
        if found.unknown:
            found = rules_from_json(self.remembered("rules", site, ask, within=_SILENCE))
        return found

    def _check_rules(self, decided: Plan, ready: Ready) -> None:
        """Refuse what is over a limit of the person's; never by what was true an hour ago.

        Raises:
            PlanError: the scheduler would not take the job, or never start it.
        """
        from hpcjobs.destination import partition_of
        from hpcjobs.limits import check

        if ready.rules is None:
            return
        named = partition_of(ready.spec, ready.site).queue != ""
        try:
            check(decided, ready.rules, named=named)
        except PlanError:
            check(decided, self._rules(ready.site, ready.scheduler, anew=True), named=named)

    # ------------------------------------------------------------------------------- partitions

    def partitions(self, spec: JobSpec | None = None, *, site: str = "", site_file: str = "") -> tuple[Site, list[Row]]:
        """The site and its partitions: what is free now and, with a request, where it would start first.

        Raises:
            SiteError: no site fits, or its file is wrong.
            UnreachableError: the scheduler does not answer.
        """
        from hpcjobs import site as sites
        from hpcjobs.model import Partition
        from hpcjobs.partitions import Row, in_order

        found, scheduler = self._found(sites.choose(site, site_file, cached=True).site)
        free = scheduler.free()
        known = found.partitions or self.asked_partitions(found, scheduler) or dict.fromkeys(free, Partition())
        rows = []
        for name, partition in known.items():
            here = free.get(name if partition.queue is None else partition.queue)
            most = int(partition.max_time or 0) or (here.max_time if here else 0)
            row = Row(name, partition.default, here, max_time=most)
            rows.append(row if spec is None else self._forecast(row, spec, scheduler, site=site, site_file=site_file))
        return found, rows if spec is None else in_order(rows)

    def _forecast(self, row: Row, spec: JobSpec, scheduler: Scheduler, *, site: str, site_file: str) -> Row:
        """The row with when the request would start there, or why it cannot go there."""
        from hpcjobs.partitions import probe

        try:
            prepared = self.prepare(probe(spec, row.name), site=site, site_file=site_file)
        except PlanError as error:
            return replace(row, refused=error.message)
        row = replace(row, nodes_needed=prepared.plan.shape.nodes)
        if row.free and row.free.state != "up":
            return row
        forecast = scheduler.forecast(prepared.script.text)
        return replace(row, forecast=forecast, refused=forecast.refused)

    def _with_partition(self, spec: JobSpec, found: Site, *, site: str, site_file: str) -> tuple[JobSpec, list[Note]]:
        """The request with a partition in the place of `auto`, and why this one.

        Raises:
            PlanError: no partition takes the job.
        """
        from hpcjobs.destination import with_defaults
        from hpcjobs.model import Note
        from hpcjobs.partitions import AUTO, choose

        asked = with_defaults(spec, found)
        if asked.partition != AUTO or AUTO in found.partitions:
            return spec, []
        if found.scheduler.kind == "local":
            return replace(spec, partition=next(iter(found.partitions), "local")), []
        _, rows = self.partitions(spec, site=site, site_file=site_file)
        choice = choose(rows, found.name, now=self._clock())
        return replace(spec, partition=choice.name), [Note("partition", choice.name, choice.why)]

    def jobs_folder(self, site: Site) -> Path:
        """Where the folders of jobs of that site are kept."""
        if not site.jobs_folder:
            return self.store.path.parent / "jobs"
        folder = os.path.expandvars(site.jobs_folder)
        if "$" in folder:
            raise PlanError(
                f"jobs_folder of site {site.name} is {site.jobs_folder}, and a variable in it is not set here",
                hint="set it (export NAME=…) or change the site file",
            )
        return Path(folder)

    def _dependency(self, text: str, scheduler: Scheduler) -> str:
        """Translate `afterok:j12:j13,singleton` to native ids; parents that are satisfied are left out."""
        parts = []
        for clause in filter(None, (part.strip() for part in text.split(","))):
            kind, *labels = clause.split(":")
            if kind not in _DEPENDENCIES or bool(labels) == (kind == "singleton"):
                raise UsageError(
                    f"{clause!r} is not a dependency", hint="write afterok:j12, afterany:j12:j13 or singleton"
                )
            parents = [chosen.record for chosen in self.select(labels)] if labels else []
            waits = [parent for parent in self.refresh(parents).records if not _satisfied(kind, parent)]
            if waits or not labels:
                parts.append(scheduler.dependency(kind, [_native(parent) for parent in waits]))
        return ",".join(parts)

    # ----------------------------------------------------------------------------------- selection

    def select(self, selectors: Sequence[str]) -> list[Selected]:
        """Jobs by selector: j12, a native id, j3-j9, last, all, active, failed, j12[3-5], j12[failed].

        Raises:
            UsageError: it is no selector.
            NotFoundError: it stands for no job.
        """
        found: dict[int, Selected] = {}
        for selector in selectors:
            for chosen in self._select_one(selector.strip()):
                before = found.get(chosen.record.id, chosen)
                whole = not (before.indices and chosen.indices)
                indices = () if whole else tuple(sorted({*before.indices, *chosen.indices}))
                found[chosen.record.id] = replace(chosen, indices=indices)
        return list(found.values())

    def _select_one(self, selector: str) -> list[Selected]:
        # PBS's ids are 12.server, 12[].server and 12[3].server.
        selector = re.sub(r"^(\d+(\[\d+\])?)(\[\])?(\.[A-Za-z][\w.-]*)?$", r"\1", selector, flags=re.ASCII)
        name, bracket, rest = selector.partition("[")
        if bracket:
            return self._select_tasks(name, rest.removesuffix("]"))
        if match := re.fullmatch(r"j(\d+)-j?(\d+)", name, re.ASCII):
            records = self.store.between(int(match[1]), int(match[2]))
        elif match := re.fullmatch(r"j(\d+)", name, re.ASCII):
            records = [self.store.get(int(match[1]))]
        elif match := re.fullmatch(r"(\d+)(?:_(\d+))?", name, re.ASCII):
            records = self.store.by_native_id(match[1])[:1]
            if records and match[2]:
                return self._select_tasks(records[0].label, match[2])
        elif name in _GROUPS:
            records = [record for record in self.store.history() if _GROUPS[name](record)]
            records = sorted(records, key=lambda r: r.id)[-1:] if name == "last" else records[::-1]
        else:
            raise UsageError(f"{selector!r} is not a job", hint=_SELECTOR_HINT)
        if not records:
            raise NotFoundError(f"no job is {selector!r}", hint="hpcjob history lists all jobs")
        return [Selected(record) for record in records]

    def _select_tasks(self, name: str, text: str) -> list[Selected]:
        (chosen,) = self._select_one(name)[:1]
        record = chosen.record
        if not record.array:
            raise UsageError(f"{record.label} is not an array", hint=f"write {record.label} alone")
        known = record.indices()
        if text == "failed":
            states = self.refresh([record]).records[0].tasks or Tasks()
            wanted = tuple(i for i, state in states.each().items() if state.final and state is not JobState.DONE)
        else:
            wanted = parse_indices(text)
        if not wanted or not set(wanted) <= set(known):
            raise NotFoundError(
                f"{record.label} has no task {text}", hint=f"its tasks are {record.array}: {record.label}[{known[0]}]"
            )
        return [Selected(record, wanted)]

    def active(self) -> list[JobRecord]:
        """Jobs that have not ended, oldest first."""
        return self.store.active()

    def recent(self, seconds: float) -> list[JobRecord]:
        """Active jobs, and those that ended within `seconds`, oldest first (what plain `status` shows)."""
        return self.store.recent(self._clock() - seconds)

    def history(self, *, limit: int = 0, since: float = 0.0, own: bool = False) -> list[JobRecord]:
        """All jobs, newest first; `own`: without those of studies."""
        return self.store.history(limit=limit, since=since, own=own)

    # ------------------------------------------------------------------------------------ tracking

    def refresh(self, records: Sequence[JobRecord], *, force: bool = False) -> Refreshed:
        """Ask the schedulers, one command each; within a site's poll interval what is known is returned."""
        errors: list[HpcjobError] = []
        fresh: dict[int, JobRecord] = {}
        unconfirmed = [record for record in records if not record.native_id and not record.state.final]
        if unconfirmed:
            try:
                self.reconcile()
            except (UnreachableError, RefusedError, StoreError) as error:
                errors.append(error)
            fresh.update({record.id: self.store.get(record.id) for record in unconfirmed})
        now_known = [fresh.get(record.id, record) for record in records]
        open_ones = [record for record in now_known if not record.state.final and record.native_id]
        for cluster, (scheduler, some) in self._by_cluster(open_ones).items():
            try:
                fresh.update(self._poll(cluster, scheduler, some, errors, force=force))
            except (UnreachableError, RefusedError) as error:  # noqa: PERF203 - one cluster must not silence the others
                errors.append(error)
        return Refreshed([fresh.get(record.id, record) for record in now_known], errors)

    def _poll(
        self,
        cluster: str,
        scheduler: Scheduler,
        records: list[JobRecord],
        errors: list[HpcjobError],
        *,
        force: bool,
    ) -> dict[int, JobRecord]:
        interval = 0.0 if force else float(records[0].options.get("poll_interval", 0))
        if not self._claims(cluster, interval, errors):
            # Somebody asked a moment ago, for all. A job that wrote that it ended well needs nobody's confirmation.
            now_known = self.store.some([record.id for record in records])
            written = {record.id: ends.clean_end(record) for record in now_known if not record.state.final}
            found = self._learn({key: end for key, end in written.items() if end}, now_known, errors)
            return {**{record.id: record for record in now_known}, **found}
        records = self._with_others(cluster, records)
        try:
            told = scheduler.poll(records)
            now = self._clock()
            tasks = ends.written_by_studies(records)
            news = {r.id: ends.settle(r, told.get(r.native_id), tasks.get(r.tag)) for r in records}
            lost = [record for record in records if ends.needs_accounting(record, told, news[record.id])]
            # The caller may not know yet that a job was cancelled.
            lost = self.store.some([record.id for record in lost]) if lost else []
        except HpcjobError:
            self._forget_poll(cluster)
            raise
        try:
            remembered = scheduler.accounting(lost) if lost else {}
            news.update({record.id: ends.settle_lost(record, news[record.id], remembered, now) for record in lost})
        except (UnreachableError, RefusedError) as error:  # what the queue said of the others holds
            errors.append(error)
            for record in lost:
                del news[record.id]
            self._forget_poll(cluster)
        known = {record.id: record for record in records}
        learnt = {key: status for key, status in news.items() if known[key].learns(status, now)}
        return self._learn(learnt, records, errors)

    def _with_others(self, cluster: str, records: list[JobRecord]) -> list[JobRecord]:
        """All open jobs of the cluster: one poll answers for them too, and others wait for its answer."""
        if self.store.count_open() <= len(records):
            return records
        mine = {record.id for record in records}
        others = [record for record in self.store.active() if record.native_id and record.id not in mine]
        return [*records, *(record for record in others if _cluster(record) == cluster)]

    def _claims(self, cluster: str, interval: float, errors: list[HpcjobError]) -> bool:
        try:
            return self.store.claim_poll(cluster, interval, self._clock())
        except StoreError as error:  # a full disk must keep nobody from seeing their jobs
            errors.append(error)
            return True

    def _learn(
        self, news: Mapping[int, JobStatus], records: list[JobRecord], errors: list[HpcjobError]
    ) -> dict[int, JobRecord]:
        """The records with the news in them; if they cannot be stored, the next command learns them anew."""
        now = self._clock()
        try:
            return self.store.apply(news, now)
        except StoreError as error:
            if error.message not in {known.message for known in errors}:
                errors.append(error)
            return {record.id: record.updated(news[record.id], now) for record in records if record.id in news}

    def _forget_poll(self, cluster: str) -> None:
        with suppress(StoreError):  # then the next command asks after the poll interval, and not at once
            self.store.release_poll(cluster)

    def wait(
        self,
        records: Sequence[JobRecord],
        *,
        timeout: float | None = None,
        on_change: Callable[[JobRecord], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> list[JobRecord]:
        """Wait until all have ended; a scheduler that does not answer is asked again.

        Raises:
            WaitTimeoutError: `timeout` seconds are over.
        """
        begin = self._clock()
        known = list(records)
        pause = 0.5
        while True:
            before = {record.id: (record.state, record.tasks) for record in known}
            known = self.refresh(known).records
            changed = [record for record in known if before[record.id] != (record.state, record.tasks)]
            if on_change:
                for record in changed:
                    on_change(record)
            if on_tick:
                on_tick()
            now = self._clock()
            waiting = [record for record in known if not ends.is_over(record, now)]
            if not waiting:
                return known
            if timeout is not None and now - begin >= timeout:
                labels = " ".join(record.label for record in waiting[:5])
                several = f"{len(waiting)} of {len(known)} jobs have"
                raise WaitTimeoutError(
                    f"{several if len(known) > 1 else f'{labels} has'} not ended after {timeout:g} s",
                    hint=f"{'they go' if len(waiting) > 1 else 'it goes'} on: hpcjob wait {labels}",
                )
            pause = 0.5 if changed else min(pause * 1.3, _LONGEST_PAUSE)
            left = _LONGEST_PAUSE if timeout is None else max(0.05, timeout - (now - begin))
            self._sleep(min(pause, left))

    # ------------------------------------------------------------------------------------- control

    def cancel(self, selected: Sequence[Selected]) -> list[Outcome]:
        """Cancel; one scheduler command a cluster. Jobs that have ended are reported, not an error."""
        chosen = self._reachable(selected)
        running = {one.record.id: one.indices for one in chosen if not one.record.state.final}
        unrecorded = None
        try:
            self.store.mark_cancelled(running, self._clock())
            self._stop_studies([one.record for one in chosen if not one.indices])
        except StoreError as error:
            unrecorded = error  # what fills the disk may be the very job, so it is cancelled all the same
        outcomes = self._control(chosen, "cancel")
        if unrecorded:
            done = " ".join(outcome.record.label for outcome in outcomes if not outcome.problem) or "nothing"
            raise StoreError(f"cancelled {done}, which could not be recorded: {unrecorded.message}")
        return outcomes

    def _stop_studies(self, records: Sequence[JobRecord]) -> None:
        """Of studies whose open jobs are all cancelled, what is not sent yet is not sent by itself any more."""
        whole = {record.id for record in records}
        for number in {record.study for record in records if record.study}:
            if all(job.id in whole for job in self.store.jobs_of(number) if not job.state.final):
                self.store.stop_study(number, stopped=True)

    def hold(self, selected: Sequence[Selected]) -> list[Outcome]:
        """Keep pending jobs from starting."""
        return self._control(self._reachable(selected), "hold")

    def release(self, selected: Sequence[Selected]) -> list[Outcome]:
        """Let held jobs start."""
        return self._control(self._reachable(selected), "release")

    def requeue(self, selected: Sequence[Selected]) -> list[Outcome]:
        """End running jobs and put them back into the queue, under the same id."""
        return self._control(self._reachable(selected), "requeue")

    def _reachable(self, selected: Sequence[Selected]) -> list[Selected]:
        """The jobs as they are after looking for those that the scheduler has not confirmed."""
        if not any(not chosen.record.native_id for chosen in selected):
            return list(selected)
        healed = {record.id: record for record in self.reconcile()}
        return [replace(chosen, record=healed.get(chosen.record.id, chosen.record)) for chosen in selected]

    def _control(
        self, selected: Sequence[Selected], action: Literal["cancel", "hold", "release", "requeue"]
    ) -> list[Outcome]:
        outcomes = {}
        for chosen in selected:
            if chosen.record.state.final:
                outcomes[chosen.record.id] = Outcome(chosen.record, f"it has ended ({chosen.record.state})")
            elif not chosen.record.native_id:
                problem = "whether the scheduler has it is not known yet: try again in half a minute"
                outcomes[chosen.record.id] = Outcome(chosen.record, problem)
        todo = {chosen.record.id: chosen for chosen in selected if chosen.record.id not in outcomes}
        for cluster, (scheduler, records) in self._by_cluster([c.record for c in todo.values()]).items():
            targets = {scheduler.target(record, todo[record.id].indices): record for record in records}
            answers = getattr(scheduler, action)(list(targets))
            outcomes.update({record.id: Outcome(record, answers.get(target, "")) for target, record in targets.items()})
            # What was known a moment ago no longer holds.
            self._forget_poll(cluster)
        return [outcomes[chosen.record.id] for chosen in selected]

    # ----------------------------------------------------------------------------------- answering

    def explain(self, record: JobRecord) -> Explanation:
        """Why it is not running, or how it ended."""
        record = self.refresh([record], force=True).records[0]
        if record.state.final or record.state is JobState.UNKNOWN:
            failed = self.failure(record)
            words = failed.words if failed else "it ended well"
            return schedulers.Explanation(record.reason, words, failed.advice if failed else "")
        if not record.native_id:
            return schedulers.Explanation(
                "", "it is reserved here, and the scheduler has not confirmed it", "ask again in half a minute"
            )
        return self._scheduler(record.scheduler, record.options).explain(record)

    def failure(self, record: JobRecord, *, lines: int = 10) -> Failure | None:
        """Why it ended badly; None if it did not."""
        if record.state is JobState.DONE or not (record.state.final or record.state is JobState.UNKNOWN):
            return None
        words, advice = ends.describe_end(record)
        index = _first_bad_task(record)
        if record.array and index is None:
            return Failure(words, advice)
        file, other = self.log_file(record, "error", index), self.log_file(record, "output", index)
        tail, more = tail_of(file, lines), tail_of(other, lines)
        code = record.exit_code if index is None or not record.tasks else record.tasks.codes.get(str(index))
        own = symptoms.of_script(code, tail)
        if own and (log := symptoms.service_log(own[0])):
            file = Path(record.folder) / (log if index is None else f"{log.removesuffix('.log')}.{index}.log")
            tail = (*tail, *tail_of(file, lines))
        elif not tail:
            file, tail = other, more
        words, advice = (None if record.array else own) or (
            words,
            symptoms.advice(tail) or symptoms.advice(more) or advice,
        )
        return Failure(words, advice, tail, str(file) if tail else "")

    def log_file(self, record: JobRecord, stream: Literal["output", "error"], index: int | None = None) -> Path:
        """Where the job writes; of an array, the task `index` is needed.

        Raises:
            UsageError: it is an array and no task was named.
        """
        if record.array and index is None:
            first = record.indices()[0]
            raise UsageError(
                f"{record.label} is an array: each task has files of its own",
                hint=f"name a task of {record.array}: '{record.label}[{first}]'",
            )
        pattern = record.output if stream == "output" else record.error
        return Path(paths.expand_pattern(pattern, native_id=record.native_id, index=index, name=record.name))

    def images_in_use(self, paths: Iterable[str]) -> set[str]:
        """Those of the image files that an active job names: as its own, or in its script, for a service."""
        paths = list(paths)
        found = set()
        for record in self.active():
            found.add(record.image)
            with suppress(NotFoundError):  # the job's folder was removed
                script = self.script_of(record)
                found.update(path for path in paths if path in script)
        return found

    def plan_of(self, record: JobRecord) -> dict[str, object]:
        """The stored plan (plan.json)."""
        return _load(paths.JobFolder(Path(record.folder)).plan)

    def script_of(self, record: JobRecord) -> str:
        """The script as submitted."""
        return _read_text(paths.JobFolder(Path(record.folder)).script)

    # ------------------------------------------------------------------------------------- helpers

    @property
    def runner(self) -> Runner:
        """What starts programs; imported when the first one is needed."""
        if self._runner is None:
            from hpcjobs.process import run

            self._runner = run
        return self._runner

    def _scheduler(self, kind: str, options: Mapping[str, Any]) -> Scheduler:
        return schedulers.get(kind, options, self.runner)

    def _by_cluster(self, records: Iterable[JobRecord]) -> dict[str, tuple[Scheduler, list[JobRecord]]]:
        """Jobs that one scheduler command can answer for, together with that scheduler."""
        groups: dict[str, tuple[Scheduler, list[JobRecord]]] = {}
        for record in records:
            key = _cluster(record)
            if key not in groups:
                groups[key] = (self._scheduler(record.scheduler, record.options), [])
            groups[key][1].append(record)
        return groups


# ------------------------------------------------------------------------------------------ submission


def _is_elsewhere(loaded: LoadedSite) -> bool:
    """Whether the site was named, and says itself that it is another machine: its script is only looked at here."""
    from hpcjobs import site as sites

    site = loaded.site
    named = loaded.chosen.startswith("--")
    return named and (bool(site.retired) or (site.detect is not None and not sites.is_here(site)))


def _cluster(record: JobRecord) -> str:
    """Equal for jobs that one scheduler command can answer for."""
    return f"{record.scheduler}:{record.site}:{record.options}"


_DEPENDENCIES = {"after", "afterany", "afterok", "afternotok", "aftercorr", "singleton"}


def _satisfied(kind: str, parent: JobRecord) -> bool:
    """Whether the wait for a parent is over.

    Raises:
        PlanError: it can never be.
    """
    if parent.state is JobState.UNKNOWN:  # PBS takes such a job, and removes it without a word
        raise PlanError(
            f"{kind}:{parent.label}: whether {parent.label} has ended, and how, is not known to the scheduler any more",
            hint=f"leave out -d if it ended as you need it: hpcjob show {parent.label}",
        )
    if not parent.state.final:
        return False
    good = parent.state is JobState.DONE
    if (kind in {"afterok", "aftercorr"} and not good) or (kind == "afternotok" and good):
        raise PlanError(
            f"the job would wait for ever: {kind}:{parent.label}, and {parent.label} is {parent.state}",
            hint=f"leave out -d, or wait for another job: hpcjob resubmit {parent.label}",
        )
    return True


def _native(record: JobRecord) -> str:
    if not record.native_id:
        raise PlanError(f"whether the scheduler has {record.label} is not known yet", hint="try again in half a minute")
    return record.native_id


def draft_record(prepared: Prepared, now: float) -> JobRecord:
    """The row of a job that is about to be submitted."""
    plan, site = prepared.plan, prepared.site
    return JobRecord(
        id=0,
        tag=plan.tag,
        name=plan.name,
        site=site.name,
        scheduler=site.scheduler.kind,
        folder=plan.folder,
        workdir=plan.workdir,
        output=plan.output,
        error=plan.error,
        created=now,
        options=asdict(site.scheduler),
        array=plan.array,
        nodes=plan.shape.nodes,
        ntasks=plan.shape.ntasks,
        time_limit=int(plan.time or 0),
        image=plan.image,
        image_digest=plan.image_source.partition("@")[2] or plan.image_digest,
        command=plan.command,
        partition=plan.partition,
    )


def job_files(prepared: Prepared) -> dict[str, str]:
    """The files of the job's folder, by name."""
    names = paths.JobFolder(Path())
    # A template that is not built in may be found from this folder only: it is named for `resubmit`.
    own = not prepared.script.template.startswith(str(paths.packaged("templates")))
    spec = replace(prepared.spec, template=prepared.script.template) if own else prepared.spec
    request = {
        "spec": spec_to_json(spec),
        "site": "" if prepared.site_file else prepared.site.name,
        "site_file": prepared.site_file,
    }
    # Made here, the logs stay private: Slurm would make them as the umask says. Those of an array are too many; its
    # tasks do it.
    logs = () if prepared.plan.array else prepared.plan.private_logs.values()
    return {
        **prepared.plan.files,
        **dict.fromkeys(logs, ""),
        names.spec.name: json.dumps(request, indent=1),
        names.plan.name: json.dumps(asdict(prepared.plan), indent=1),
        names.script.name: prepared.script.text,
    }


def spec_to_json(spec: JobSpec) -> dict[str, Any]:
    """What a request asks for. What is left out is as in an empty one, where a False may be another thing than None."""
    empty = asdict(type(spec)())
    return {name: value for name, value in asdict(spec).items() if value != empty[name]}


def spec_from_json(data: Mapping[str, Any]) -> JobSpec:
    """The inverse of `spec_to_json`."""
    from hpcjobs.model import JobSpec, restore

    return restore(JobSpec, data)


def make_log_folders(plan: Plan) -> None:
    """Make the folders of the output files: Slurm would fail the job without a word if they were missing."""
    for pattern in {plan.output, plan.error}:
        parent = str(Path(pattern).parent)
        if re.search(r"%\d*[jAa]", parent.replace("%%", "")):
            raise PlanError(
                f"the folder of {pattern} has a name that is known only after the submission, too late to make it",
                hint="use %x or %u in folders, and %j, %A or %a in the file's own name",
            )
        folder = Path(paths.expand_pattern(parent, native_id="", name=plan.name))
        if str(folder) == plan.folder:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PlanError(
                f"the output folder {folder} cannot be made: {error.strerror}", hint="choose another with -o"
            ) from error


def _cache(file: Path, data: Mapping[str, Any]) -> None:
    """Keep for later; a home that cannot be written shows at the reservation, with a better message."""
    try:
        paths.make_private(file.parent)
        paths.write_private(file, json.dumps(data))
    except OSError:
        return


# ------------------------------------------------------------------------------------------- selection

_GROUPS: dict[str, Callable[[JobRecord], bool]] = {
    "all": lambda _: True,
    "last": lambda _: True,
    "active": lambda record: not record.state.final,
    "failed": lambda record: record.state.final and record.state is not JobState.DONE,
}
_SELECTOR_HINT = "write j12, j3-j9, j12[0-4], the scheduler's own id, last, active, failed or all"


def _first_bad_task(record: JobRecord) -> int | None:
    if not record.array or not record.tasks:
        return None
    bad = [i for i, state in record.tasks.each().items() if state.final and state is not JobState.DONE]
    return min(bad, default=None)


def tail_of(file: Path, lines: int) -> tuple[str, ...]:
    """The last lines of a file; empty if it is not there."""
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - 4096 - 200 * lines))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])


def _read_text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}", hint="was the job's folder removed?") from error


def _load(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(_read_text(file)))
    except ValueError as error:
        raise NotFoundError(f"{file} is damaged: {error}", hint="submit the job anew") from error
