"""The supervisor of the embedded scheduler: `python -m hpcjobs.schedulers.local_supervisor FOLDER LIMITS`.

It starts tasks, ends those whose time is over or whose end was asked for, and notes how they ended. Its own end
harms nobody: tasks go on without it, and the next one takes them over. A task waits at a pipe until it is
noted, with its process id, and leaves a mark when it is let through; so after kill -9 at any point it is known
whether a task began, and none begins twice.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hpcjobs import paths
from hpcjobs.process import spawn
from hpcjobs.record import JobState, JobStatus, read_exit_file
from hpcjobs.schedulers.local import capacity, overall
from hpcjobs.schedulers.local_queue import End, Job, Queue, Run, Start, decide
from hpcjobs.units import DAY

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

log = logging.getLogger("hpcjobs.local")

# Seconds between asking a task to end and killing it: a script gives its services ten of them. Slurm's KillWait is 30,
# but people at a desk wait less.
_GRACE = 12.0
# Seconds with an empty queue after which the supervisor ends.
_IDLE = 10.0
# Seconds after which it looks again although nothing happened.
_TICK = 20.0
_KEEP_DAYS = 30
# Seconds after which it tries again what the disk refused.
_RETRY = 5.0
# How often a task's processes are looked for and killed: they may be starting others meanwhile.
_ROUNDS = 50

# $1: the pipe to wait at, $2: the mark, $3: the script. The mark's folder is the job's.
_GATE = 'read -r _ <&"$1" || exit 1; : >"$2" || exit 1; eval "exec $1<&-"; exec bash "$3"'


class Supervisor:
    """One run of the supervisor over a queue."""

    def __init__(self, root: Path, extra: dict[str, Any], lock: IO[str]) -> None:
        self.queue = Queue(root)
        self.lock = lock
        self.machine = capacity(extra)
        self.boot = boot()
        self.idle_since = time.monotonic()
        self.children: dict[tuple[int, int], subprocess.Popen[bytes]] = {}  # by job and index
        self.watched: dict[int, int] = {}  # process id: pidfd
        # Marks of tasks that ended, by job and index; removed once their end is written down.
        self.spent: dict[tuple[int, int], Path] = {}
        self.pipe = os.open(self.queue.wake, os.O_RDWR | os.O_NONBLOCK)

    def run(self) -> None:
        """Look after the queue until it has been empty for a while."""
        with self.queue.lock():
            self.queue.prune(time.time() - _KEEP_DAYS * DAY)
        while True:
            try:
                jobs = self.look()
            except OSError as error:
                # A full disk, say. What is not on disk did not happen, so everything is read anew.
                log.warning("%s", error)
                if not self.queue.root.exists():
                    return  # removed with all that was in it: nobody will find this process again
                self.queue.forget()
                time.sleep(_RETRY)
                continue
            if jobs is None:
                return
            self.sleep(jobs)

    def look(self) -> list[Job] | None:
        """Do what is to be done; the jobs that are left, None once there have been none for a while."""
        with self.queue.lock():
            jobs = self.queue.load_active()
            for job in jobs:
                self.care_for(job)
            jobs = [job for job in jobs if not job.over]
            for start in decide(jobs, self.machine, self.state_of):
                self.start(start)
            for job in jobs:
                self.save(job)
            while self.spent:
                task, mark = self.spent.popitem()
                self.children.pop(task, None)
                mark.unlink(missing_ok=True)
            if jobs:
                self.idle_since = time.monotonic()
            elif time.monotonic() - self.idle_since > _IDLE:
                # Still under the queue's lock: whoever submits next finds the supervisor's lock free.
                fcntl.flock(self.lock, fcntl.LOCK_UN)
                return None
            return jobs

    def state_of(self, native_id: str) -> JobState | None:
        """The state of a job that another one waits for."""
        job = self.queue.load(int(native_id)) if native_id.isdecimal() else None
        return overall(job) if job else None

    def save(self, job: Job) -> None:
        """Write a job if it changed."""
        file = self.queue.active / f"{job.id}.json"
        if not file.exists() or file.read_text("utf-8") != job.to_json():
            self.queue.save(job)

    def sleep(self, jobs: list[Job]) -> None:
        """Until a client calls, a task ends, or a time is over."""
        now = time.time()
        times = [_TICK, *(self.deadline(job, run) - now for job in jobs for run in job.running.values())]
        if not jobs:
            times = [_IDLE + 0.1]
        unwatched = any(run.pid not in self.watched for job in jobs for run in job.running.values())
        timeout = min(*times, 0.5 if unwatched else _TICK)
        poll = select.poll()
        for descriptor in (self.pipe, *self.watched.values()):
            poll.register(descriptor, select.POLLIN)
        if any(descriptor == self.pipe for descriptor, _ in poll.poll(1000 * max(0.02, timeout))):
            os.read(self.pipe, 65536)

    @staticmethod
    def deadline(job: Job, run: Run) -> float:
        """When something is to be done about a running task."""
        if run.stop:
            return run.kill_at
        return run.started + job.time_limit if job.time_limit else float("inf")

    # ------------------------------------------------------------------------------ what runs already

    def care_for(self, job: Job) -> None:
        """Note ends, ask tasks to end, kill those that do not."""
        for index in job.cancel & job.waiting:
            job.finish(index, End(JobState.CANCELLED.value, ended=time.time()))
        restarts = False
        for index, run in list(job.running.items()):
            if not self.alive(run):
                restarts |= self.note_end(job, index, run)
            elif run.stop and time.time() >= run.kill_at:
                kill_all(run, job.marker(index))
                run.kill_at = time.time() + 1
            elif not run.stop and (index in job.cancel or time.time() >= self.deadline(job, run)):
                run.stop = (JobState.CANCELLED if index in job.cancel else JobState.TIMEOUT).value
                run.kill_at = time.time() + _GRACE
                self.queue.save(job)
                end_all(run, job.marker(index), signal.SIGTERM)
        # Once for all tasks that the machine's end took: the count is part of the names of their marks.
        job.restarts += restarts
        if job.over:
            self.queue.save(job)

    def alive(self, run: Run) -> bool:
        """Whether the task's first process is there; a process of another boot, or of another start, is not it."""
        found = process(run.pid) if run.boot == self.boot else None
        here = found is not None and found.alive and found.ticks == run.start_ticks
        if here:
            self.watch(run.pid)
        return here

    def watch(self, pid: int) -> None:
        """Be woken when the process ends."""
        if pid not in self.watched:
            try:
                self.watched[pid] = os.pidfd_open(pid)
            except (AttributeError, OSError):  # Linux before 5.3, or a Python that was built on one
                log.debug("process %d cannot be watched: it is looked at twice a second", pid)

    def note_end(self, job: Job, index: int, run: Run) -> bool:
        """Find out how a task ended: from its process, else from its exit file, else it was killed.

        Returns:
            Whether the machine went down under it and it starts again.
        """
        if run.pid in self.watched:
            os.close(self.watched.pop(run.pid))
        if run.boot == self.boot:
            kill_all(run, job.marker(index))  # what it left in the background
        # Only now is its process reaped: until then nobody else can have its number.
        child = self.children.get((job.id, index))
        code = child.wait() if child else None
        mark = self.mark(job, index)
        began = mark.exists()
        if not began and not run.stop and child is None:
            # It never passed the gate: the supervisor was killed before it could let it through.
            job.running.pop(index)
            job.waiting.add(index)
            return False
        self.spent[job.id, index] = mark
        written = _written(job, index, run, watched=child is not None and run.boot == self.boot)
        if run.boot != self.boot and not written:
            return self.lost(job, index, run)
        if child is None:
            code = written.exit_code if written else None
        elif not began:
            code = code or 1  # it was let through, and could not leave its mark
        number = written.signal if written else 0
        if code is not None and code < 0:
            code, number = 128 - code, -code
        state = run.stop or (JobState.DONE if code == 0 else JobState.FAILED).value
        ended = written.ended if written else time.time()
        job.finish(index, End(state, code, number, run.started, max(ended, run.started)))
        return False

    @staticmethod
    def lost(job: Job, index: int, run: Run) -> bool:
        """The machine went down under the task: start it again if that was asked for."""
        if job.requeue and not run.stop:
            job.running.pop(index)
            job.waiting.add(index)
            return True
        state = run.stop or JobState.NODE_FAIL.value
        job.finish(index, End(state, started=run.started, ended=time.time()))
        return False

    # ----------------------------------------------------------------------------------------- starting

    def mark(self, job: Job, index: int) -> Path:
        """The file that says that a task passed the gate."""
        return Path(job.folder) / f".began.{index}.{job.restarts}"

    def start(self, start: Start) -> None:
        """Start a task: its process first, held at the gate; then the note; then the gate."""
        job, index = start.job, start.index
        inside, gate = os.pipe()
        try:
            child = self._spawn(start, inside)
        except OSError as error:
            log.warning("job %d: %s", job.id, error)
            self._complain(job, index, error)
            job.finish(index, End(JobState.FAILED.value, 1, started=time.time(), ended=time.time()))
            os.close(gate)
            return
        finally:
            os.close(inside)
        found = process(child.pid)
        job.waiting.discard(index)
        job.running[index] = Run(child.pid, found.ticks if found else 0, self.boot, time.time(), list(start.gpus))
        try:
            with os.fdopen(gate, "wb", buffering=0) as through:
                self.queue.save(job)
                through.write(b"go\n")
        except BrokenPipeError:
            log.warning("job %d, task %d ended at the gate", job.id, index)
        except OSError:
            child.wait()  # it was not noted, so it is not let through
            raise
        self.children[job.id, index] = child
        self.watch(child.pid)

    def _spawn(self, start: Start, gate: int) -> subprocess.Popen[bytes]:
        job, index = start.job, start.index
        stored: dict[str, str] = json.loads(self.queue.environment(job.id).read_text("utf-8"))
        environment = {
            **stored,
            "HPCJOB_NATIVE_ID": str(job.id),
            "HPCJOB_RESTARTS": str(job.restarts),
            "HPCJOB_TASK": job.marker(index),
            **({"HPCJOB_ARRAY_INDEX": str(index)} if job.array else {}),
            **({"CUDA_VISIBLE_DEVICES": ",".join(map(str, start.gpus))} if job.user_wants.gpus else {}),
        }
        os.umask(job.umask)
        with files(job, index) as (out, err):
            return spawn(
                ["bash", "-c", _GATE, "hpcjob", str(gate), str(self.mark(job, index)), job.script],
                env=environment,
                cwd=job.workdir,
                stdout=out,
                stderr=err,
                keep_fds=(gate,),
            )

    @staticmethod
    def _complain(job: Job, index: int, error: OSError) -> None:
        """Say in the job's error file why it could not start, if that can be written."""
        try:
            with files(job, index) as (_, err):
                os.write(err, f"hpcjob: the job cannot start: {error.strerror}: {error.filename}\n".encode())
        except OSError as second:
            log.warning("job %d: %s", job.id, second)


def _written(job: Job, index: int, run: Run, *, watched: bool) -> JobStatus | None:
    """The end that a task wrote: in a file of its own; or, where no process tells, among those of its study."""
    study = paths.StudyFolder(Path(job.folder).parent)
    if not (job.array and study.record.exists()):
        return read_exit_file(paths.JobFolder(Path(job.folder)).exit_file(index if job.array else None))
    if watched:  # thousands of tasks need not be looked for, one by one
        return None
    from hpcjobs.sweep.state import TASKS, read_ends

    found = read_ends(study.ends, TASKS).get(job.tag)
    status = found.task(index) if found else None
    return status if status and status.ended >= int(run.started) else None


class files:  # noqa: N801 - used as a function
    """The descriptors of a task's output and error files."""

    def __init__(self, job: Job, index: int) -> None:
        names = {"native_id": str(job.id), "index": index if job.array else None, "name": job.name}
        self.names = [paths.expand_pattern(pattern, **names) for pattern in (job.output, job.error)]  # type: ignore[arg-type]
        self.folder = job.folder
        # A requeued job adds to what it wrote before.
        self.flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if job.restarts else os.O_TRUNC)
        self.open: list[int] = []

    def __enter__(self) -> tuple[int, int]:
        for name in dict.fromkeys(os.path.join(self.folder, name) for name in self.names):  # noqa: PTH118
            self.open.append(os.open(name, self.flags, 0o600 if name.startswith(self.folder) else 0o666))
        return self.open[0], self.open[-1]

    def __exit__(self, *_: object) -> None:
        for descriptor in self.open:
            os.close(descriptor)


# -------------------------------------------------------------------------------------------- processes


@dataclass(frozen=True)
class Process:
    """What is needed of /proc/PID/stat (proc(5))."""

    pid: int
    alive: bool  # a zombie is not, but nobody else can have its number yet
    parent: int
    session: int
    ticks: int  # when it started, in clock ticks since boot


def process(pid: int) -> Process | None:
    """A process; None if there is none of that number."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = data.rpartition(b")")[2].split()
    return Process(pid, fields[0] not in {b"Z", b"X"}, int(fields[1]), int(fields[3]), int(fields[19]))


def boot() -> str:
    """Names this boot of the machine, and of the container if it is one: no process outlives either."""
    first = process(1)
    machine = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{machine}.{first.ticks if first else 0}"


def end_all(run: Run, marker: str, number: signal.Signals) -> bool:
    """Send a signal to all that belongs to a task; False if nothing does."""
    found = members(run, marker)
    # A container that is told to end needs its files to the last.
    told = found if number is signal.SIGKILL else [pid for pid in found if _name(pid) not in _FILE_SERVERS]
    for pid in told:
        try:
            os.kill(pid, number)
        except ProcessLookupError:  # noqa: PERF203 - one that is gone must not spare the others
            log.debug("process %d is gone", pid)
    return bool(found)


# What serves the files of an image to a container (FUSE).
_FILE_SERVERS = frozenset({"squashfuse", "squashfuse_ll", "fuse2fs", "fuse-overlayfs", "gocryptfs"})


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def kill_all(run: Run, marker: str) -> None:
    """Kill what belongs to a task until nothing is left."""
    for _ in range(_ROUNDS):
        if not end_all(run, marker, signal.SIGKILL):
            return
    log.warning("processes of %s cannot be killed", marker)


def members(run: Run, marker: str) -> list[int]:
    """What belongs to a task: its session, what carries its mark, and all that those started.

    Programs leave sessions, and containers clear the environment; what did both and lost its parent is not found.
    """
    table = {pid: one for pid in numbers() if pid != os.getpid() and (one := process(pid))}
    first = table.get(run.pid)
    ours = first is not None and first.ticks == run.start_ticks
    found = {pid for pid, one in table.items() if ours and one.session == run.pid}
    found |= set(carriers(marker)) & set(table)
    children: dict[int, list[int]] = {}
    for pid, one in table.items():
        children.setdefault(one.parent, []).append(pid)
    new = list(found)
    while new:
        new = [pid for parent in new for pid in children.get(parent, ()) if pid not in found]
        found.update(new)
    return [pid for pid in found if table[pid].alive]


def carriers(marker: str) -> Iterator[int]:
    """Processes whose environment has the task's mark."""
    wanted = f"HPCJOB_TASK={marker}".encode()
    for pid in numbers():
        try:
            if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                yield pid
        except OSError:  # noqa: PERF203 - processes come and go, and others' may not be read
            continue


def numbers() -> list[int]:
    """The processes there are."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]  # noqa: PTH208 - twice as fast


def only_one(lock: IO[str]) -> bool:
    """Take the supervisor's lock; False if somebody else is the supervisor.

    Clients that look whether it is taken hold it for a moment, so one refusal means nothing.
    """
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203 - trying again is the point
            time.sleep(0.05)
        else:
            return True
    return False


def main(root: str, extra: str) -> None:
    """Be the supervisor, unless there is one."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # What a submitter in the background or under nohup ignores, jobs would ignore too, and could not even trap.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with Path(root, "supervisor.lock").open("a") as lock:
        if only_one(lock):
            Supervisor(Path(root), json.loads(extra), lock).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
