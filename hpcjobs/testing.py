"""Fakes for tests of hpcjobs, of its plug-ins and of programs that use it.

`FakeSlurm` is a `Runner` that answers as Slurm's commands do, in the formats that `hpcjobs.schedulers.slurm` asks
for (held against recordings of a real Slurm in tests/unit/test_fake_slurm.py), with a clock that only moves when told
to. It can be down, hang after accepting a job, print banners, or be without accounting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import UnreachableError
from hpcjobs.process import Completed
from hpcjobs.schedulers.slurm_survey import NODE_FORMAT
from hpcjobs.units import format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED"}
_WALLTIME = 3600
_TOO_MANY = (
    "AssocMaxSubmitJobLimit",
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
)
_NO_CONTROLLER = "Unable to contact slurm controller (connect failure)"


@dataclass
class Clock:
    """Time that stands still: `clock()` reads it, `clock.sleep(s)` moves it on."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """The time, in Unix seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        self.now += seconds


@dataclass
class FakeJob:
    """One job, or one task of an array, of a `FakeSlurm`."""

    id: str
    index: int | None
    script: str
    comment: str
    command_line: str
    limit: str = ""  # %N of the array
    state: str = "PENDING"
    reason: str = "Priority"
    code: str = "0:0"
    start: float = 0.0
    end: float = 0.0
    purged: bool = False  # gone from the queue; the accounting remembers it


@dataclass
class FakeSlurm:
    """A Slurm in memory; call it as a `Runner`. `calls` are the command lines it was given."""

    clock: Clock = field(default_factory=Clock)
    down: bool = False
    accounting_down: bool = False
    refuse: str = ""  # sbatch's complaint, if it shall refuse
    hang: str = ""  # before or after: sbatch hangs before or after the job is accepted
    banner: str = ""
    max_array: int = 100_001
    max_submit: int = 0  # of the user's association; 0 = none
    # What sacctmgr and scontrol tell of limits, in the formats of slurm_limits.py; nothing of it is enforced by itself.
    enforced: str = "none"
    users: str = ""
    accounts: str = ""
    qos: str = ""
    partitions: str = ""
    # What is free, as sinfo tells it, and when a job would start in a partition: seconds from now, or a refusal.
    free: str = "debug|up|idle|4|0/8/0/8|gpu:0|(null)|1:00:00|\n"
    starts: dict[str, float | str] = field(default_factory=dict)
    nodes: str = ""  # the kinds of nodes, in the format of slurm_survey.py
    scripts: list[str] = field(default_factory=list)  # that `sbatch --test-only` was given
    jobs: list[FakeJob] = field(default_factory=list)
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        keep_fds: Sequence[int] = (),
    ) -> Completed:
        """Answer one command."""
        self.calls.append(tuple(argv))
        name = Path(argv[0]).name
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            raise UnreachableError(f"{name} cannot be run here: No such file or directory")
        if self.down:
            return Completed(tuple(argv), 1, "", f"{name}: error: {_NO_CONTROLLER}\n")
        if name == "sbatch" and "--test-only" in argv:
            code, out, err = self._test(stdin)
        else:
            code, out, err = answer([*argv[1:]])
        return Completed(tuple(argv), code, out, err)

    def count(self, name: str) -> int:
        """How often a command was called."""
        return sum(call[0] == name for call in self.calls)

    # ------------------------------------------------------------------------------ what happens to jobs

    def start(self, native_id: str, index: int | None = None) -> None:
        """The job (or the task) begins."""
        for job in self._matching(native_id, index):
            job.state, job.reason, job.start = "RUNNING", "None", self.clock()

    def finish(self, native_id: str, state: str = "COMPLETED", *, index: int | None = None, code: str = "0:0") -> None:
        """The job (or the task) ends."""
        for job in self._matching(native_id, index):
            job.state, job.code, job.end = state, code, self.clock()
            job.start = job.start or self.clock()

    def purge(self) -> None:
        """MinJobAge is over: the queue forgets what has ended."""
        for job in self.jobs:
            job.purged = job.purged or job.state in _OVER

    def requeue(self, native_id: str) -> None:
        """A node failed, and the job waits again."""
        for job in self._matching(native_id, None):
            job.state, job.reason, job.start, job.end = "PENDING", "BeginTime", 0.0, 0.0

    def _matching(self, native_id: str, index: int | None) -> list[FakeJob]:
        return [job for job in self.jobs if job.id == native_id and index in {None, job.index}]

    # ------------------------------------------------------------------------------------- the commands

    def _sbatch(self, argv: list[str]) -> tuple[int, str, str]:
        if self.hang == "before":
            raise UnreachableError("sbatch did not answer within 60 s", maybe_done=True)
        if self.refuse:
            return 1, "", f"sbatch: error: Batch job submission failed: {self.refuse}\n"
        script = argv[-1]
        text = Path(script).read_text("utf-8", "surrogateescape")
        comment = next((word.partition("=")[2] for word in argv if word.startswith("--comment=")), "")
        array = re.search(r"^#SBATCH --array=(\S+)", text, re.MULTILINE)
        spec, _, limit = (array[1] if array else "").partition("%")
        held = re.search(r"^#SBATCH --hold", text, re.MULTILINE)
        indices = parse_indices(spec) if spec else (None,)
        if spec and max(parse_indices(spec)) >= self.max_array:
            return 1, "", "sbatch: error: Batch job submission failed: Invalid job array specification\n"
        if self.max_submit and len(indices) + sum(job.state not in _OVER for job in self.jobs) > self.max_submit:
            return 1, "", f"sbatch: error: {_TOO_MANY[0]}\nsbatch: error: Batch job submission failed: {_TOO_MANY[1]}\n"
        native_id = str(1 + int(self.jobs[-1].id) if self.jobs else 1)
        for index in indices:
            job = FakeJob(native_id, index, script, comment, "sbatch " + " ".join(argv), limit)
            job.reason = "JobHeldUser" if held else job.reason
            self.jobs.append(job)
        if self.hang == "after":
            raise UnreachableError("sbatch did not answer within 60 s", maybe_done=True)
        return 0, f"{self.banner}{native_id}\n", ""

    def _test(self, script: str) -> tuple[int, str, str]:
        self.scripts.append(script)
        named = re.search(r"^#SBATCH --partition=(\S+)", script, re.MULTILINE)
        partition = named[1] if named else "debug"
        start = self.starts.get(partition, 0.0)
        if isinstance(start, str):
            return 1, "", f"allocation failure: {start}\n"
        when = f"{int(self.clock() + start)} using 1 processors on nodes n1 in partition {partition}"
        return 0, "", f"sbatch: Job {1 + len(self.jobs)} to start at {when}\n"

    def _squeue(self, argv: list[str]) -> tuple[int, str, str]:
        wanted = next((word.partition("=")[2] for word in argv if word.startswith("--jobs=")), "")
        layout = next(word.partition("=")[2] for word in argv if word.startswith("--format="))
        shown = [job for job in self.jobs if not job.purged and wanted in {"", job.id}]
        if wanted and not shown:
            return 1, "", "slurm_load_jobs error: Invalid job id specified\n"
        return 0, "".join(_fill(layout, job, index) + "\n" for job, index in _rows(shown)), ""

    def _sacct(self, argv: list[str]) -> tuple[int, str, str]:
        if self.accounting_down:
            return 1, "", "sacct: error: Problem talking to the database: Connection refused\n"
        wanted = next((word.partition("=")[2].split(",") for word in argv if word.startswith("--jobs=")), [])
        fields = next(word.partition("=")[2] for word in argv if word.startswith("--format="))
        known = [job for job in self.jobs if not wanted or job.id in wanted]
        lines = []
        for job, index in _rows(known):
            name = job.id if index == "N/A" else f"{job.id}_{f'[{index}]' if job.state == 'PENDING' else index}"
            if fields.startswith("JobID,Comment"):
                lines.append(f"{name}||{job.command_line}")
                continue
            end = str(int(job.end)) if job.end else "Unknown"
            start = str(int(job.start)) if job.start else "Unknown"
            lines.append(f"{name}|{job.state}|{job.code}|{start}|{end}|n1|None")
        return 0, "".join(line + "\n" for line in lines), ""

    def _scancel(self, argv: list[str]) -> tuple[int, str, str]:
        errors = ""
        for target in (word for word in argv if not word.startswith("-")):
            native_id, _, tasks = target.partition("_")
            indices = parse_indices(tasks.strip("[]")) if tasks else (None,)
            found = [job for index in indices for job in self._matching(native_id, index)]
            live = [job for job in found if job.state not in _OVER]
            if not live:
                why = "Job/step already completing or completed" if found else "Invalid job id specified"
                errors += f"scancel: error: Kill job error on job id {target}: {why}\n"
            for job in live:
                job.purged = job.state == "PENDING" and job.index is not None
                job.state, job.end = "CANCELLED", self.clock()
        return 0, "", errors

    def _scontrol(self, argv: list[str]) -> tuple[int, str, str]:
        verb = argv[0]
        if argv[-1] == "partition":
            return 0, self.partitions, ""
        if verb == "show":
            enforced = f"AccountingStorageEnforce = {self.enforced}\nJobSubmitPlugins        = (null)\n"
            settings = f"MaxArraySize            = {self.max_array}\nMaxJobCount             = 10000\n"
            return 0, f"ClusterName             = fake\n{enforced}{settings}SLURM_VERSION           = 22.05.8\n", ""
        errors = ""
        for target in argv[1].split(","):
            found = self._matching(target, None)
            if not found:
                errors += f"Invalid job id specified for job {target}\n"
            for job in found:
                job.reason = "JobHeldUser" if verb == "hold" else "None"
                if verb == "requeue":
                    job.state, job.start = "PENDING", 0.0
        return int(bool(errors)), "", errors

    def _sacctmgr(self, argv: list[str]) -> tuple[int, str, str]:
        if self.accounting_down:
            return 1, "", "sacctmgr: error: Problem talking to the database: Connection refused\n"
        if "--readonly" in argv:
            known = {"user": self.users, "associations": self.accounts, "qos": self.qos}
            return 0, next(text for what, text in known.items() if what in argv), ""
        return 0, f"{self.max_submit or ''}\n", ""

    def _sinfo(self, argv: list[str]) -> tuple[int, str, str]:
        if any(word.startswith("--Format=") for word in argv):
            return 0, self.free, ""
        if f"--format={NODE_FORMAT}" in argv:
            return 0, self.nodes, ""
        return 0, "debug*|1:00:00|4|2|3000|(null)|1-infinite\n", ""


def _rows(jobs: Sequence[FakeJob]) -> list[tuple[FakeJob, str]]:
    """A row a job; the pending tasks of an array share one, as in Slurm."""
    rows: list[tuple[FakeJob, str]] = []
    waiting: dict[tuple[str, str], list[FakeJob]] = {}
    for job in jobs:
        if job.index is None:
            rows.append((job, "N/A"))
        elif job.state == "PENDING":
            waiting.setdefault((job.id, job.reason), []).append(job)
        else:
            rows.append((job, str(job.index)))
    for tasks in waiting.values():
        limit = f"%{tasks[0].limit}" if tasks[0].limit else ""
        rows.append((tasks[0], format_indices(task.index for task in tasks if task.index is not None) + limit))
    return rows


def _fill(layout: str, job: FakeJob, index: str) -> str:
    values = {
        "%F": job.id,
        "%K": index,
        "%T": job.state,
        "%S": str(int(job.start)) if job.start else "N/A",
        # Of a running job squeue says when its time will be over.
        "%e": str(int(job.end or job.start + _WALLTIME)) if job.start or job.end else "N/A",
        "%N": "n1" if job.start else "",
        "%r": job.reason,
        "%k": job.comment or "(null)",
    }
    return "|".join(values[key] for key in layout.split("|"))
