"""The embedded scheduler: a queue for one machine that needs no server and survives its clients.

Jobs are files (`local_queue`); a supervisor process (`local_supervisor`) of the user starts them, and ends when
the queue is empty. Polling reads files. Whoever finds work and no supervisor starts one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths
from hpcjobs.errors import RefusedError, UnreachableError
from hpcjobs.model import NodeShape, Partition
from hpcjobs.record import JobRecord, JobState, JobStatus, Tasks
from hpcjobs.schedulers import LOGINS, Diagnosis, Explanation, Forecast, Free, Limits
from hpcjobs.schedulers.local_queue import Job, Need, Queue, need
from hpcjobs.schedulers.slurm_words import explain_reason
from hpcjobs.units import Memory, format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from hpcjobs.limits import Rules
    from hpcjobs.model import Plan
    from hpcjobs.process import Runner

_MOST_TASKS = 100_000
# What belongs to a job that this one is submitted from.
_SCRUB = ("SLURM_", "SBATCH_", "SRUN_", "PBS_", "PMI_", "PMIX_", "OMPI_", "HYDRA_", "HPCJOB_")
# All that is kept of the environment with `export: none`.
_PLAIN = ("HOME", "USER", "LOGNAME", "PATH", "SHELL", "LANG", "TMPDIR")
_NO_JOB = "Invalid job id specified"
_ENDED = "Job has already finished"
_WHOLE = "the local scheduler holds an array as a whole"


class Local:
    """The queue of this user on this machine; `options["extra"]` may give `cores`, `memory` and `gpus`."""

    name = "local"
    identified = True

    def __init__(self, options: Mapping[str, Any], runner: Runner) -> None:
        del runner  # it starts no command but its supervisor
        self._extra = dict(options.get("extra") or {})
        self._export = options.get("export") or "all"
        self.queue = Queue(paths.data_home() / "local" / os.uname().nodename)

    def identify(self) -> dict[str, Any]:
        """Nothing: all installations are alike."""
        return {}

    def spell(self, plan: Plan) -> dict[str, Any]:
        """Nothing: the template says it all."""
        del plan
        return {}

    def submit(self, script: Path, *, tag: str, record: JobRecord, keep_fds: Sequence[int] = ()) -> str:
        """Put the job into the queue and see to it that somebody looks after it."""
        del keep_fds
        plan = json.loads(paths.JobFolder(Path(record.folder)).plan.read_text("utf-8"))
        wants = need(plan)
        self._check(record, wants)
        if plan["exclusive"]:
            wants = replace(wants, cores=capacity(self._extra).cores)
        with self._writing():
            job = Job(
                id=self.queue.next_id(),
                tag=tag,
                name=record.name,
                folder=record.folder,
                script=str(script),
                workdir=record.workdir,
                output=record.output,
                error=record.error,
                user_wants=wants,
                umask=int(paths.umask(), 8),
                time_limit=record.time_limit,
                array=record.array,
                limit=plan["array_limit"],
                dependency=plan["dependency"],
                requeue=bool(plan["requeue"]),
                held=plan["hold"],
                waiting=set(record.indices()) or {0},
            )
            environment = self.queue.environment(job.id)
            try:
                paths.write_private(environment, json.dumps(_environment(self._export)))
                self.queue.save(job)
            except BaseException:
                environment.unlink(missing_ok=True)
                raise
        self._wake()
        return str(job.id)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the queue, to change it."""
        try:
            self.queue.make()
            with self.queue.lock():
                yield
        except OSError as error:
            raise UnreachableError(
                f"the local queue {self.queue.root} cannot be written: {error.strerror}",
                hint="free some space there, or choose another folder: export HPCJOBS_HOME=/a/folder/of/yours",
            ) from error

    def _check(self, record: JobRecord, wants: Need) -> None:
        machine = capacity(self._extra)
        if record.nodes > 1:
            raise RefusedError(
                f"{record.nodes} nodes were asked for, and the local scheduler has this one machine",
                hint="ask for ranks instead (-n), or name a cluster with --site",
            )
        if lack := wants.lacks(machine):
            asked, there = getattr(wants, lack), getattr(machine, lack)
            if lack == "memory":
                asked, there = Memory(asked), Memory(there)
            raise RefusedError(f"the job needs {asked} {lack}, and this machine has {there}", hint=_FEWER[lack])
        if len(record.indices()) > _MOST_TASKS:
            raise RefusedError(
                f"the array has {len(record.indices())} tasks", hint=f"{_MOST_TASKS} is the most of the local scheduler"
            )

    def poll(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """Read the files of the jobs."""
        found = {record.native_id: self.queue.load(int(record.native_id)) for record in jobs}
        known = {native_id: job for native_id, job in found.items() if job}
        if any(not job.over for job in known.values()):
            self._wake()
        return {native_id: status(job) for native_id, job in known.items()}

    def accounting(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """Nothing that `poll` does not know."""
        del jobs
        return {}

    def target(self, record: JobRecord, indices: Sequence[int]) -> str:
        """`12`, or `12_[3-4]` for tasks of an array."""
        return f"{record.native_id}_[{format_indices(indices)}]" if indices else record.native_id

    def cancel(self, targets: Sequence[str]) -> dict[str, str]:
        """Ask the supervisor to end tasks."""

        def mark(job: Job, wanted: tuple[int, ...]) -> None:
            job.cancel |= set(wanted)

        return self._change(targets, mark)

    def hold(self, targets: Sequence[str]) -> dict[str, str]:
        """Keep jobs from starting."""
        return self._set_held(targets, held=True)

    def release(self, targets: Sequence[str]) -> dict[str, str]:
        """Let them start."""
        return self._set_held(targets, held=False)

    def _set_held(self, targets: Sequence[str], *, held: bool) -> dict[str, str]:
        whole = [target for target in targets if "_" not in target]
        answers = self._change(whole, lambda job, _: setattr(job, "held", held))
        return {target: answers.get(target, _WHOLE) for target in targets}

    def _change(self, targets: Sequence[str], change: Callable[[Job, tuple[int, ...]], None]) -> dict[str, str]:
        answers = {}
        with self._writing():
            for target in targets:
                number, _, tasks = target.partition("_")
                job = self.queue.load(int(number)) if number.isdecimal() else None
                if job is None or job.over:
                    answers[target] = _ENDED if job else _NO_JOB
                    continue
                open_ones = (*job.waiting, *job.running)
                wanted = parse_indices(tasks.strip("[]")) if tasks else open_ones
                if not set(wanted) & set(open_ones):
                    answers[target] = _ENDED
                    continue
                change(job, wanted)
                self.queue.save(job)
                answers[target] = ""
        self._wake()
        return answers

    def requeue(self, targets: Sequence[str]) -> dict[str, str]:
        """Nothing: whose machine it is can submit anew."""
        return dict.fromkeys(targets, "the local queue starts no job again: cancel it and resubmit it")

    def find(self, tags: Mapping[str, float]) -> dict[str, str]:
        """Look through all files."""
        found = {}
        for folder in (self.queue.active, self.queue.over):
            for file in folder.glob("*.json"):
                job = self.queue.load(int(file.stem))
                if job and job.tag in tags:
                    found[job.tag] = str(job.id)
        return found

    def explain(self, job: JobRecord) -> Explanation:
        """The supervisor's reason, in words."""
        known = self.queue.load(int(job.native_id))
        return explain_reason(status(known)) if known else Explanation("", "the local queue does not know the job")

    def dependency(self, kind: str, native_ids: Sequence[str]) -> str:
        """As Slurm writes it.

        Raises:
            RefusedError: it compares the tasks of two arrays one by one.
        """
        if kind == "aftercorr":
            raise RefusedError(
                "the local scheduler has no aftercorr: it does not match the tasks of two arrays",
                hint="wait for all of them with afterok, or do both steps in one task",
            )
        return ":".join((kind, *native_ids))

    def partitions(self) -> dict[str, Partition]:
        """This machine."""
        machine = capacity(self._extra)
        shape = NodeShape(cores=machine.cores, memory=Memory(machine.memory), gpus=machine.gpus)
        return {"local": Partition(default=True, description="this machine", nodes=1, max_nodes=1, node=shape)}

    def limits(self) -> Limits:
        """The longest array that its queue file holds with ease."""
        return Limits(_MOST_TASKS)

    def rules(self) -> Rules:
        """None: nobody pays, and the queue has no limits but the machine."""
        from hpcjobs.limits import Rules

        return Rules()

    def free(self) -> dict[str, Free]:
        """This machine, without what runs of its queue."""
        machine = capacity(self._extra)
        running = [job for job in self._jobs() if job.running]
        cores = machine.cores - sum(job.user_wants.cores * len(job.running) for job in running)
        gpus = machine.gpus - sum(len(run.gpus) for job in running for run in job.running.values())
        idle, mixed = int(not running), int(bool(running) and cores > 0)
        return {"local": Free("up", 1, idle, mixed, max(0, cores), machine.gpus, max(0, gpus))}

    def _jobs(self) -> list[Job]:
        found = (self.queue.load(int(file.stem)) for file in self.queue.active.glob("*.json"))
        return [job for job in found if job]

    def forecast(self, script: str) -> Forecast:
        """Not known: there is one queue, and who waits for what in it is not looked at."""
        del script
        return Forecast(why="this machine has one queue")

    def diagnose(self) -> Diagnosis:
        """What the machine has and whether the supervisor runs."""
        from hpcjobs import __version__

        machine = capacity(self._extra)
        details = {
            "cores": str(machine.cores),
            "memory": str(Memory(machine.memory >> 30 << 30)),
            "gpus": str(machine.gpus),
        }
        return Diagnosis(__version__, {**details, "supervisor": "runs" if self._supervised() else "not needed now"})

    def _supervised(self) -> bool:
        try:
            with self.queue.supervisor_lock.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _wake(self) -> None:
        """Tell the supervisor to look at the queue; start one if there is none."""
        if not self._supervised():
            from hpcjobs.process import spawn_python_daemon

            machine = json.dumps(self._extra)
            spawn_python_daemon(
                "hpcjobs.schedulers.local_supervisor",
                str(self.queue.root),
                machine,
                log_path=self.queue.root / "supervisor.log",
            )
            return
        try:
            pipe = os.open(self.queue.wake, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return  # it has just ended: then the queue was empty when it looked last, under the lock
        try:
            os.write(pipe, b"x")
        except OSError:
            return  # it was killed this moment, or many calls wait for it already
        finally:
            os.close(pipe)


_FEWER = {
    "cores": "ask for fewer ranks or cores: -n, -c",
    "memory": "ask for less: --mem",
    "gpus": "ask for fewer: --gpus-per-node (the site file can say how many there are: scheduler: extra: gpus)",
}


def status(job: Job) -> JobStatus:
    """A job of the queue as the service wants to see it."""
    states = job.states()
    reason = "JobHeldUser" if job.held else job.reason
    if job.array:
        tasks = Tasks.build(states, {index: end.code or 0 for index, end in job.ended.items()})
        starts = [run.started for run in job.running.values()] + [e.started for e in job.ended.values() if e.started]
        return JobStatus(
            tasks.overall(),
            reason=reason,
            started=min(starts, default=0.0),
            ended=job.last if job.over else 0.0,
            restarts=job.restarts,
            tasks=tasks,
        )
    state, node = states[0], os.uname().nodename
    if run := job.running.get(0):
        return JobStatus(state, raw="RUNNING", started=run.started, nodes=node, restarts=job.restarts)
    if end := job.ended.get(0):
        return JobStatus(
            state,
            raw=state.upper(),
            exit_code=end.code,
            signal=end.signal,
            started=end.started,
            ended=end.ended,
            nodes=node,
            restarts=job.restarts,
        )
    return JobStatus(state, raw="PENDING", reason=reason, restarts=job.restarts)


def capacity(extra: Mapping[str, Any]) -> Need:
    """What this machine offers to jobs: the site file's word, else what it has."""
    memory = Memory.parse(extra["memory"]) if "memory" in extra else _physical_memory()
    gpus = int(extra.get("gpus", len(list(Path("/dev").glob("nvidia[0-9]*")))))
    return Need(int(extra.get("cores", len(os.sched_getaffinity(0)))), memory, gpus)


def _physical_memory() -> int:
    match = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"))
    return int(match[1]) >> 10 << 20 if match else 0  # whole MiB, as people ask for it


def _environment(export: str) -> dict[str, str]:
    """The environment of the submission, for the job."""
    if export == "none":
        return {key: os.environ[key] for key in _PLAIN if key in os.environ}
    return {key: value for key, value in os.environ.items() if not key.startswith(_SCRUB) and key not in LOGINS}


def overall(job: Job) -> JobState:
    """The state of a job as others wait for it."""
    return status(job).state
