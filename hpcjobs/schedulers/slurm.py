"""Slurm, by its commands: 22.05 and later.

The parsers are functions from text to values. Sources: sbatch(1), squeue(1), sacct(1), scancel(1), sinfo(1) and
the job state codes of squeue(1).
"""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hpcjobs.errors import RefusedError, UnreachableError, UsageError
from hpcjobs.record import JobState, JobStatus, Tasks
from hpcjobs.schedulers import LOGINS, Diagnosis, Explanation, Limits
from hpcjobs.schedulers.api import Library, asked_for, diagnosed
from hpcjobs.schedulers.slurm_words import (
    CONFIGURING,
    explain_reason,
    gpus_of,
    message,
    number,
    per_id,
    refusal_hint,
    unreachable,
)
from hpcjobs.seen import SeenScheduler, remarks
from hpcjobs.units import Duration, Memory, format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hpcjobs.limits import Rules
    from hpcjobs.model import Partition, Plan
    from hpcjobs.process import Completed, Runner
    from hpcjobs.record import JobRecord
    from hpcjobs.schedulers import Forecast, Free

# squeue(1), JOB STATE CODES. A suspended job keeps its allocation, a configuring one waits for its nodes.
STATES = {
    "BOOT_FAIL": JobState.NODE_FAIL,
    "CANCELLED": JobState.CANCELLED,
    "COMPLETED": JobState.DONE,
    "COMPLETING": JobState.COMPLETING,
    "CONFIGURING": JobState.PENDING,
    "DEADLINE": JobState.TIMEOUT,
    "FAILED": JobState.FAILED,
    "NODE_FAIL": JobState.NODE_FAIL,
    "OUT_OF_MEMORY": JobState.OOM,
    "PENDING": JobState.PENDING,
    "PREEMPTED": JobState.CANCELLED,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.HELD,
    "RESIZING": JobState.RUNNING,
    "RESV_DEL_HOLD": JobState.HELD,
    "REVOKED": JobState.CANCELLED,
    "RUNNING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "SPECIAL_EXIT": JobState.HELD,
    "STAGE_OUT": JobState.COMPLETING,
    "STOPPED": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
    "TIMEOUT": JobState.TIMEOUT,
}
_HELD_REASONS = {"JobHeldUser", "JobHeldAdmin", "JobHoldMaxRequeue", "job requeued in held state"}

# Variables that would quietly change what the client commands do; those that say where the cluster is are kept.
_SCRUB = ("SBATCH_", "SLURM_", "SRUN_", "SALLOC_", "SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_", "SCONTROL_")
_KEEP = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT"}

_SEPARATOR = "|"
# The reason stands last: it is the one field with free text.
_QUEUE_FORMAT = _SEPARATOR.join(("%F", "%K", "%T", "%S", "%e", "%N", "%r"))
_QUEUE_FIELDS = 7
_ACCOUNTING_FORMAT = "JobID,State,ExitCode,Start,End,NodeList,Reason"
# Short enough for any command line, and what loaded accounting databases still answer quickly.
_CHUNK = 500
# Seconds for which a submission waits for an answer that it can do without.
_SHORT = 10.0


class Slurm:
    """The Slurm of this machine; `options` are the site's `scheduler` section."""

    name = "slurm"

    def __init__(self, options: Mapping[str, Any], runner: Runner) -> None:
        self._commands = runner
        self._api = asked_for(options)
        extra = options.get("extra") or {}
        self.identified = not self._api or "api" in extra
        usable = self._api and extra.get("api") == ""
        self._run = _library(runner, str(extra.get("release", ""))) if usable else runner
        self._timeout = float(options.get("timeout", 30))
        self._submit_timeout = float(options.get("submit_timeout", 60))
        self._accounting = bool(options.get("accounting", True))

    # ------------------------------------------------------------------------------------ commands

    def identify(self) -> dict[str, Any]:
        """All installations are alike; with `driver: api`, the release, and why pyslurm is not used (empty: it is)."""
        if not self._api:
            return {}
        release = parse_config(self._ask_all("scontrol", "show", "config")).get("SLURM_VERSION", "unknown")
        library = _library(self._commands, release)
        return {"release": release, "api": library.problem(timeout=self._timeout, env=environment(os.environ))}

    def spell(self, plan: Plan) -> dict[str, Any]:
        """Nothing: the template says it all."""
        del plan
        return {}

    def _ask(self, *argv: str) -> Completed:
        answer = self._run(argv, timeout=self._timeout, env=environment(os.environ))
        if answer.code and (problem := unreachable(answer.err)):
            raise UnreachableError(f"{argv[0]}: {problem}", hint=_UNREACHABLE_HINT)
        return answer

    def _ask_all(self, *argv: str) -> str:
        answer = self._ask(*argv)
        if answer.code:
            raise RefusedError(f"{argv[0]}: {message(answer.err)}", hint="hpcjob doctor looks closer")
        return answer.out

    def submit(self, script: Path, *, tag: str, record: JobRecord, keep_fds: Sequence[int] = ()) -> str:
        """`sbatch`; the tag goes into the job's comment, which queue and accounting keep."""
        answer = self._run(
            ("sbatch", "--parsable", f"--comment=hpcjob:{tag}", str(script)),
            timeout=self._submit_timeout,
            env=environment(os.environ),
            keep_fds=keep_fds,
        )
        if answer.code == 0:
            if native_id := parse_submit(answer.out):
                return native_id
            raise UnreachableError(
                f"sbatch succeeded but named no job: {message(answer.out) or 'no output'}",
                hint=f"{record.label} is kept; the next hpcjob command looks for it in the queue",
                maybe_done=True,
            )
        problem = message(answer.err)
        if cause := unreachable(answer.err):
            # Only a refused connection proves that nothing was sent.
            raise UnreachableError(
                f"sbatch: {cause}", hint=_UNREACHABLE_HINT, maybe_done="connect failure" not in answer.err
            )
        if answer.code < 0 or not problem:
            raise UnreachableError(
                f"sbatch ended with code {answer.code} and without a word", hint=_UNREACHABLE_HINT, maybe_done=True
            )
        raise RefusedError(f"Slurm refused the job: {problem}", hint=refusal_hint(problem))

    def poll(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """One `squeue` for all jobs of this user, those that ended a short while ago (MinJobAge) included."""
        # Asking for single ids fails as soon as one of them is gone.
        text = self._ask_all("squeue", "--me", "--noheader", "--states=all", f"--format={_QUEUE_FORMAT}")
        found = parse_queue(text, {job.native_id for job in jobs})
        return {job.native_id: _requeued(found[job.native_id], job) for job in jobs if job.native_id in found}

    def accounting(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """`sacct` for jobs that left the queue, five hundred a command."""
        found: dict[str, JobStatus] = {}
        if not self._accounting:
            return found
        for start in range(0, len(jobs), _CHUNK):
            some = jobs[start : start + _CHUNK]
            since = min(job.submitted or job.created for job in some) - 60
            answer = self._ask(
                "sacct",
                "--allocations",
                "--noheader",
                "--parsable2",
                f"--starttime=uts{int(since)}" if since > 0 else "--starttime=1970-01-02",
                f"--format={_ACCOUNTING_FORMAT}",
                "--jobs=" + ",".join(job.native_id for job in some),
            )
            if _NO_ACCOUNTING in answer.err:
                return found
            if answer.code:
                raise UnreachableError(f"sacct: {message(answer.err)}", hint=_NO_ACCOUNTING_HINT)
            found.update(parse_accounting(answer.out))
        return found

    def target(self, record: JobRecord, indices: Sequence[int]) -> str:
        """`12`, or `12_[3-4]` for tasks of an array."""
        return f"{record.native_id}_[{format_indices(indices)}]" if indices else record.native_id

    def cancel(self, targets: Sequence[str]) -> dict[str, str]:
        """One `scancel` for all."""
        return per_id(targets, self._ask("scancel", "--verbose", *targets))

    def hold(self, targets: Sequence[str]) -> dict[str, str]:
        """`scontrol hold`."""
        return per_id(targets, self._ask("scontrol", "hold", ",".join(targets)))

    def release(self, targets: Sequence[str]) -> dict[str, str]:
        """`scontrol release`."""
        return per_id(targets, self._ask("scontrol", "release", ",".join(targets)))

    def requeue(self, targets: Sequence[str]) -> dict[str, str]:
        """`scontrol requeue`."""
        return per_id(targets, self._ask("scontrol", "requeue", ",".join(targets)))

    def find(self, tags: Mapping[str, float]) -> dict[str, str]:
        """By comment in the queue, then by comment or command line in the accounting."""
        text = self._ask_all("squeue", "--me", "--noheader", "--states=all", "--format=%F|%k")
        found = parse_tags(text, tags)
        if len(found) < len(tags) and self._accounting:
            since = int(min(tags.values())) - 60
            answer = self._ask(
                "sacct",
                "--allocations",
                "--noheader",
                "--parsable2",
                f"--starttime=uts{since}",
                "--format=JobID,Comment,SubmitLine",
            )
            if answer.code and _NO_ACCOUNTING not in answer.err:
                raise RefusedError(f"sacct: {message(answer.err)}", hint="hpcjob doctor looks closer")
            found = {**parse_tags(answer.out, tags), **found}
        return found

    def explain(self, job: JobRecord) -> Explanation:
        """The queue's own reason, in words."""
        answer = self._ask(
            "squeue", "--noheader", "--states=all", f"--jobs={job.native_id}", f"--format={_QUEUE_FORMAT}"
        )
        status = parse_queue(answer.out, {job.native_id}).get(job.native_id)
        if status is None:
            return Explanation("", "Slurm no longer knows the job", f"hpcjob status {job.label} finds its end")
        if status.raw != CONFIGURING:
            return explain_reason(status)
        states = self._ask("sinfo", "--all", "--noheader", f"--nodes={status.nodes}", "--format=%T").out.split()
        settings = parse_config(self._ask_all("scontrol", "show", "config"))
        return explain_reason(status, states, number(settings.get("ResumeTimeout", "")))

    def dependency(self, kind: str, native_ids: Sequence[str]) -> str:
        """Slurm's own syntax."""
        return ":".join((kind, *native_ids))

    def partitions(self) -> dict[str, Partition]:
        """What `sinfo` reports."""
        return parse_partitions(self._ask_all("sinfo", "--noheader", "--format=%P|%l|%D|%c|%m|%G|%s", "--exact"))

    def limits(self) -> Limits:
        """MaxArraySize and MaxJobCount (slurm.conf(5)), and the associations' MaxSubmitJobs (sacctmgr(1))."""
        settings = parse_config(self._ask_all("scontrol", "show", "config"))
        own = self._association_limits() if self._accounting else []
        counts = [count for count in (*own, number(settings.get("MaxJobCount", ""))) if count]
        return Limits(number(settings.get("MaxArraySize", "")), min(counts, default=0))

    def _association_limits(self) -> list[int]:
        user = pwd.getpwuid(os.getuid()).pw_name
        answer = self._ask(
            "sacctmgr", "--noheader", "--parsable2", "show", "associations", f"users={user}", "format=MaxSubmitJobs"
        )
        return [] if answer.code else [number(line) for line in answer.out.split()]

    def rules(self) -> Rules:
        """The user's associations, the QOSs, and who may use which partition, as far as the cluster enforces them."""
        from hpcjobs.limits import Rules

        try:
            return self._rules()
        except (UnreachableError, RefusedError) as error:
            return Rules(unknown=error.message)

    def _rules(self) -> Rules:
        from hpcjobs.limits import Rules
        from hpcjobs.schedulers import slurm_limits

        if not self._accounting:
            return Rules()
        settings = parse_config(self._told("scontrol", "show", "config"))
        enforced = slurm_limits.parse_enforced(settings)
        if "associations" not in enforced:
            return Rules()
        user = pwd.getpwuid(os.getuid()).pw_name
        cluster = f"cluster={settings.get('ClusterName', '')}"
        show = ("sacctmgr", "--noheader", "--parsable2", "--readonly", "show")
        mine = self._told(
            *show, "user", f"name={user}", "withassoc", "where", cluster, f"format={slurm_limits.USER_FORMAT}"
        )
        account, associations = slurm_limits.parse_associations(mine)
        accounts = self._told(*show, "associations", "users=", cluster, f"format={slurm_limits.ACCOUNT_FORMAT}")
        names = tuple(one.account for one in associations)
        qos = slurm_limits.parse_qos(self._told(*show, "qos", f"format={slurm_limits.QOS_FORMAT}"))
        partition, access = slurm_limits.parse_access(self._told("scontrol", "--oneliner", "show", "partition"))
        return Rules(
            scheduler="Slurm",
            enforced=enforced,
            rewritten=slurm_limits.parse_rewritten(settings),
            user=user,
            account=account,
            partition=partition,
            associations=associations,
            accounts=slurm_limits.ancestors(slurm_limits.parse_accounts(accounts), names),
            qos=qos,
            partitions=access,
        )

    def _told(self, *argv: str) -> str:
        """An answer that a submission can do without: it does not wait long for it."""
        answer = self._run(argv, timeout=min(self._timeout, _SHORT), env=environment(os.environ))
        if answer.code:
            raise UnreachableError(f"{argv[0]}: {message(answer.err)}")
        return answer.out

    def free(self) -> dict[str, Free]:
        """One `sinfo`."""
        from hpcjobs.schedulers import slurm_limits

        argv = ("sinfo", "--noheader", "--exact", f"--Format={slurm_limits.FREE_FORMAT}")
        return slurm_limits.parse_free(self._ask_all(*argv))

    def forecast(self, script: str) -> Forecast:
        """`sbatch --test-only`, which asks the controller and queues nothing; it knows the jobs that run."""
        from hpcjobs.schedulers import slurm_limits

        argv = ("sbatch", "--test-only")
        answer = self._run(argv, timeout=self._submit_timeout, env=environment(os.environ), stdin=script)
        if answer.code and (problem := unreachable(answer.err)):
            raise UnreachableError(f"sbatch: {problem}", hint=_UNREACHABLE_HINT)
        return slurm_limits.parse_forecast(answer.err)

    def survey(self) -> SeenScheduler:
        """All that a site file can say of the cluster: some ten commands, of which any may fail."""
        from hpcjobs.schedulers import slurm_survey as seen

        settings = parse_config(self._ask_all("scontrol", "show", "config"))
        listed = self._ask_all("sinfo", "--noheader", "--exact", f"--format={seen.NODE_FORMAT}")
        kinds = seen.parse_nodes(listed)
        firsts = sorted({kind.first for each in kinds.values() for kind in each})
        nodes = self._ask("scontrol", "--oneliner", "show", "node", ",".join(firsts)).out
        kinds = seen.without_reserved(kinds, seen.parse_reserved(nodes))
        partitions = seen.described(self.partitions(), kinds)
        rules = self.rules()
        request, refused = self._gpu_request([name for name, each in partitions.items() if each.node.gpus])
        return SeenScheduler(
            kind=self.name,
            version=settings.get("SLURM_VERSION", ""),
            cluster=settings.get("ClusterName", ""),
            partitions=partitions,
            kinds=kinds,
            remarks={name: tuple(remarks(access)) for name, access in rules.partitions.items()},
            qos=seen.qualities(rules),
            accounts=tuple(dict.fromkeys(one.account for one in rules.associations)),
            account_needed=bool(rules.associations) and not rules.account,
            # Slurm 23.11 and later have no accounting_storage/none: they show (null).
            accounting=settings.get("AccountingStorageType", "").rpartition("/")[2] not in ("", "none", "(null)"),
            gpu_request=request,
            mpi_default=settings.get("MpiDefault", "").replace("(null)", ""),
            unanswered=tuple(filter(None, (rules.unknown, refused))),
        )

    def _gpu_request(
        self, partitions: Sequence[str]
    ) -> tuple[Literal["", "gpus-per-node", "gres", "gpus-per-task"], str]:
        """The first way of asking for GPUs that is taken, or why none is."""
        from hpcjobs.schedulers import slurm_survey as seen

        refused = ""
        for name in partitions[:1]:
            for request in seen.REQUESTS:
                try:
                    told = self.forecast(seen.gpu_script(name, request))
                except UnreachableError as error:
                    return "", f"which request for GPUs it takes: {error.message}"
                if told.start:
                    return request, ""
                refused = refused or f"which request for GPUs it takes: {told.refused or told.why}"
        return "", refused

    def diagnose(self) -> Diagnosis:
        """What slurmctld says of itself, and whether pyslurm is used."""
        settings = parse_config(self._ask_all("scontrol", "show", "config"))
        wanted = ("ClusterName", "AccountingStorageType", "MpiDefault", "MaxArraySize", "TaskPlugin")
        found = Diagnosis(settings.get("SLURM_VERSION", ""), {key: settings[key] for key in wanted if key in settings})
        return diagnosed(found, self.identify()["api"]) if self._api else found


def _library(commands: Runner, release: str) -> Library:
    return Library(commands, "slurm_api.py", release, answers=("squeue",))


_UNREACHABLE_HINT = "Slurm's controller is down or busy: nothing was changed; try again in a minute"
_NO_ACCOUNTING = "accounting storage is disabled"  # what sacct says, and fails
_NO_ACCOUNTING_HINT = "if this cluster has no accounting, its site file says so with scheduler: {accounting: false}"


def environment(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would bend sbatch, squeue and friends.

    A job submitted from within another job must not inherit that one's shape (SLURM_CPU_BIND, …).
    """
    own = {key: value for key, value in caller.items() if key in _KEEP or not key.startswith(_SCRUB)}
    kept = {key: value for key, value in own.items() if key not in LOGINS}
    # Unix times, and array expressions that are never shortened (squeue(1)).
    return {**kept, "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0"}


# -------------------------------------------------------------------------------------------- parsers


def parse_submit(text: str) -> str:
    """The job id that `sbatch --parsable` printed (`12` or `12;cluster`); empty if there is none.

    Sites print banners; only a line that is nothing but an id counts, and of those the last.
    """
    ids = re.findall(r"^(\d+)(?:;[\w.-]+)?$", text, re.MULTILINE | re.ASCII)
    return ids[-1] if ids else ""


def job_state(word: str, reason: str = "") -> JobState:
    """The state that one of Slurm's words stands for; `CANCELLED by 1000` and `CANCELLED+` included."""
    state = STATES.get(word.replace("+", " ").strip().partition(" ")[0].upper(), JobState.UNKNOWN)
    return JobState.HELD if state is JobState.PENDING and reason in _HELD_REASONS else state


def parse_queue(text: str, wanted: Iterable[str]) -> dict[str, JobStatus]:
    """Read squeue's lines in `_QUEUE_FORMAT`; jobs that are not `wanted`, and lines of other shape, are skipped.

    An array comes as several lines: one for the tasks that have not started and one for each that has.
    """
    wanted = set(wanted)
    lines: dict[str, list[_QueueLine]] = {}
    for raw in text.splitlines():
        parts = raw.split(_SEPARATOR, _QUEUE_FIELDS - 1)
        if len(parts) == _QUEUE_FIELDS and parts[0] in wanted:
            lines.setdefault(parts[0], []).append(_QueueLine(*(part.strip() for part in parts)))
    return {native_id: _status(found) for native_id, found in lines.items()}


class _QueueLine(NamedTuple):
    job: str
    tasks: str
    state: str
    start: str
    end: str
    nodes: str
    reason: str

    def status(self) -> JobStatus:
        state = job_state(self.state, self.reason)
        begun = state.final or state in {JobState.RUNNING, JobState.COMPLETING}
        return JobStatus(
            state,
            raw=self.state,
            reason=self._why(),
            started=_time(self.start) if begun else 0.0,
            ended=_time(self.end) if state.final else 0.0,
            nodes=self.nodes,
        )

    def _why(self) -> str:
        """Slurm has no reason for a job whose nodes are not ready yet, which counts as pending."""
        if self.reason != "None":
            return self.reason
        return CONFIGURING if self.state == CONFIGURING else ""


def _status(lines: list[_QueueLine]) -> JobStatus:
    states: dict[int, JobState] = {}
    for line in lines:
        for index in _task_indices(line.tasks):
            states[index] = job_state(line.state, line.reason)
    if not states:
        return lines[-1].status()
    tasks = Tasks.build(states)
    overall = tasks.overall()
    line = next((line for line in lines if job_state(line.state, line.reason) is overall), lines[0])
    starts = [status.started for status in (line.status() for line in lines) if status.started]
    return replace(line.status(), state=overall, started=min(starts, default=0.0), tasks=tasks)


def _task_indices(text: str) -> tuple[int, ...]:
    """`7`, `[0-99%5]`, `0-99%5`; empty for `N/A`."""
    if text == "N/A":
        return ()
    try:
        return parse_indices(text.strip("[]").partition("%")[0])
    except UsageError:
        return ()


def parse_accounting(text: str) -> dict[str, JobStatus]:
    """Read sacct's lines in `_ACCOUNTING_FORMAT`, by job id; the tasks of an array are gathered under its id."""
    single: dict[str, JobStatus] = {}
    tasks: dict[str, dict[int, JobStatus]] = {}
    for raw in text.splitlines():
        parts = raw.split("|", 6)
        if len(parts) != 7:  # noqa: PLR2004 - the fields of _ACCOUNTING_FORMAT
            continue
        status = _accounting_status(*parts[1:])
        job, _, index = parts[0].partition("_")
        if not index:
            single[job] = status
        for task in _task_indices(index) if index else ():
            tasks.setdefault(job, {})[task] = status
    for job, found in tasks.items():
        gathered = Tasks.build(
            {index: status.state for index, status in found.items()},
            {index: status.exit_code or 0 for index, status in found.items()},
        )
        overall = gathered.overall()
        worst = next(status for status in found.values() if status.state is overall)
        single[job] = replace(
            worst,
            started=min((s.started for s in found.values() if s.started), default=0.0),
            ended=max(s.ended for s in found.values()) if overall.final else 0.0,
            tasks=gathered,
        )
    return single


def _accounting_status(  # noqa: PLR0917 - the fields of a line, in its order
    state: str, code: str, start: str, end: str, nodes: str, reason: str
) -> JobStatus:
    status, _, signal = code.partition(":")
    found = job_state(state)
    return JobStatus(
        found,
        raw=state,
        reason="" if reason == "None" else reason,
        exit_code=int(status) if found.final and status.isdecimal() else None,
        signal=int(signal) if signal.isdecimal() else 0,
        started=_time(start),
        ended=_time(end) if found.final else 0.0,
        nodes="" if nodes == "None assigned" else nodes,
    )


def parse_tags(text: str, tags: Iterable[str]) -> dict[str, str]:
    """Which of the tags stand in which job's line (`id|anything with hpcjob:TAG`)."""
    wanted = set(tags)
    found: dict[str, str] = {}
    for line in text.splitlines():
        job, _, rest = line.partition("|")
        for tag in re.findall(r"hpcjob:(\w+)", rest, re.ASCII):
            if tag in wanted and (number := re.match(r"\d+", job.strip(), re.ASCII)):
                found[tag] = number.group()
    return found


def parse_partitions(text: str) -> dict[str, Partition]:
    """Read `sinfo --format=%P|%l|%D|%c|%m|%G|%s`; of unlike nodes in one partition the largest counts."""
    from hpcjobs.model import NodeShape, Partition

    found: dict[str, Partition] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 7:  # noqa: PLR2004 - the fields of the format
            continue
        name, limit, nodes, cores, memory, gres, sizes = parts
        known = found.get(name.rstrip("*"), Partition())
        gpus, gpu_type = _gpus(gres)
        low, _, high = sizes.partition("-")
        found[name.rstrip("*")] = Partition(
            default=name.endswith("*"),
            max_time=_limit(limit),
            nodes=known.nodes + number(nodes),
            min_nodes=int(low) if low.isdecimal() else 0,
            max_nodes=int(high or low) if (high or low).isdecimal() else 0,
            node=NodeShape(
                cores=max(known.node.cores, number(cores)),
                memory=Memory(max(known.node.memory or 0, number(memory) << 20)) or None,
                gpus=max(known.node.gpus, gpus),
                gpu_type=gpu_type or known.node.gpu_type,
            ),
        )
    return found


def _limit(text: str) -> Duration | None:
    try:
        return Duration.parse(text)
    except UsageError:
        return None


def _gpus(gres: str) -> tuple[int, str]:
    """`gpu:a100:4(S:0-1),nvme:1` -> 4 of a100."""
    return next(((count, kind) for kind, count in gpus_of(gres)), (0, ""))


def parse_config(text: str) -> dict[str, str]:
    """Read the `Key = value` lines of `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _time(text: str) -> float:
    """Unix seconds; 0 for N/A, Unknown and None."""
    return float(text) if text.isdecimal() else 0.0


def _requeued(status: JobStatus, job: JobRecord) -> JobStatus:
    """Count a restart when a job that ran is waiting again: squeue's formats have no restart count."""
    ran = job.state in {JobState.RUNNING, JobState.COMPLETING} and not job.array
    waits = status.state in {JobState.PENDING, JobState.HELD}
    restarts = job.restarts + (ran and waits)
    return replace(status, restarts=restarts) if restarts else status
