"""Studies over a Slurm in memory: every point in one accepted job, whatever happens; and finished in the end."""

from __future__ import annotations

import math
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import paths, studies
from hpcjobs.errors import NotFoundError, PlanError, RefusedError, StoreError, UnreachableError, UsageError
from hpcjobs.model import JobSpec
from hpcjobs.mpi.settle import Known
from hpcjobs.mpi_service import Mpi
from hpcjobs.paths import StudyFolder
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState
from hpcjobs.service import Selected, Service
from hpcjobs.store import Store, locked
from hpcjobs.sweep import table
from hpcjobs.sweep.design import Grid
from hpcjobs.sweep.record import Round, StudyRecord
from hpcjobs.sweep.spec import StudySpec
from hpcjobs.sweep_service import Sent, Sweeps
from hpcjobs.testing import Clock, FakeSlurm
from hpcjobs.units import Duration, Memory
from tests import mpi_facts

S = JobState
SITE = """\
name: fake
scheduler: {kind: slurm, poll_interval: 5MORE}
partitions:
  debug: {default: true, nodes: 4, node: {cores: 4, memory: 16G}}
"""


class KilledError(BaseException):
    """What no code of ours handles: kill -9."""


@dataclass
class Runner:
    """Runs commands of the fake; dies at one of them, or looks over its shoulder."""

    slurm: FakeSlurm
    die: int = -1  # at the command of this number
    after: bool = False  # it was run
    watch: Callable[[], object] = lambda: None
    count: int = 0

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        keep_fds: Sequence[int] = (),
    ) -> Completed:
        number, self.count = self.count, self.count + 1
        if number == self.die and not self.after:
            raise KilledError
        self.watch()
        answer = self.slurm(argv, timeout=timeout, env=env, stdin=stdin, keep_fds=keep_fds)
        if number == self.die:
            raise KilledError
        return answer


@dataclass
class Lab:
    """A home, a site, a Slurm."""

    home: Path
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.slurm = FakeSlurm(self.clock)
        self.runner = Runner(self.slurm)
        self.site_file = self.home / "fake.yaml"
        self.set_site()
        self.service, self.sweeps = self.another()

    def set_site(self, more: str = "") -> None:
        """Options of its scheduler."""
        self.site_file.write_text(SITE.replace("MORE", f", {more}" if more else ""))

    def another(self) -> tuple[Service, Sweeps]:
        """A second process."""
        service = Service(
            runner=self.runner, clock=self.clock, sleep=self.clock.sleep, store=Store(self.home / "jobs.sqlite3")
        )
        return service, Sweeps(service)

    def spec(self, count: int = 10, first: int = 0, **more: Any) -> StudySpec:
        job = {
            name: more.pop(name)
            for name in ("time", "mem", "mem_per_cpu", "nodes", "ntasks", "ntasks_per_node", "env", "image", "hold")
            if name in more
        }
        asked = JobSpec(command=("solve", "{x}"), workdir=str(self.home), **job)
        return StudySpec(job=asked, design=Grid({"x": tuple(range(first, first + count))}), **more)

    def submit(self, count: int = 10, **more: Any) -> tuple[StudyRecord, Sent]:
        return self.sweeps.submit(self.spec(count, **more), site_file=str(self.site_file))

    def study(self, count: int = 10, **more: Any) -> StudyRecord:
        return self.submit(count, **more)[0]

    # ------------------------------------------------------------------------------- what Slurm has

    def accepted(self, study: StudyRecord) -> list[tuple[int, int, int, int]]:
        """The arrays that Slurm took: round, first row, rows of a task, tasks; from what their scripts say."""
        found = []
        for native_id in dict.fromkeys(job.id for job in self.slurm.jobs):
            tasks = [job for job in self.slurm.jobs if job.id == native_id]
            text = Path(tasks[0].script).read_text()
            match = re.search(r"points-(\d+)\.tsv[\s\\]+\"\$\(\((\d+) \+ HPCJOB_ARRAY_INDEX(?: \* (\d+))?\)\)", text)
            assert match, text
            found.append((int(match[1]), int(match[2]), int(match[3] or 1), len(tasks)))
            assert study.folder in text
        return found

    def runs(self, study: StudyRecord) -> Counter[int]:
        """How often each point is in what Slurm took."""
        record = self.service.store.study(study.id)
        found: Counter[int] = Counter()
        for number, first, pack, tasks in self.accepted(record):
            members = record.rounds[number - 1].numbers()
            found.update(members[first : first + pack * tasks])
        return found

    def each_once(self, study: StudyRecord) -> bool:
        return self.runs(study) == Counter(range(self.service.store.study(study.id).points))

    # ---------------------------------------------------------------------------------- what happens

    def end(self, study: StudyRecord, codes: Mapping[int, str], *, state: str = "") -> None:
        """Points run for 2 s and end with these codes, each in a task of its own, which ends with it."""
        now = self.known(study)
        jobs = {job.id: job for job in now.jobs}
        for number, code in codes.items():
            job, task = now.points.jobs[number]
            self.slurm.start(jobs[job].native_id, task)
            self.write(study, jobs[job], number, code)
            word = state or ("COMPLETED" if code == "0" else "FAILED")
            self.slurm.finish(jobs[job].native_id, word, index=task, code=f"{code}:0")

    def write(self, study: StudyRecord, job: JobRecord, number: int, code: str, node: str = "n1") -> None:
        begin = self.clock()
        with (StudyFolder(Path(study.folder)).ends / node).open("a") as file:
            file.write(f"p {job.tag} {number} {code} {begin} {begin + 2}\n")

    def begin(self, study: StudyRecord, job: JobRecord, *numbers: int) -> None:
        """Points of a pack begin."""
        with (StudyFolder(Path(study.folder)).ends / "n1").open("a") as file:
            file.writelines(f"b {job.tag} {number} {self.clock()}\n" for number in numbers)

    def known(self, study: StudyRecord) -> studies.Known:
        return studies.known(self.service, study, force=True)

    def states(self, study: StudyRecord) -> str:
        """As `0-4 done, 5 failed`."""
        from hpcjobs.units import format_indices

        by_state: dict[str, list[int]] = {}
        for number, state in enumerate(self.known(study).points.states):
            by_state.setdefault(str(state), []).append(number)
        return ", ".join(f"{format_indices(numbers)} {state}" for state, numbers in by_state.items())

    def jobs(self, study: StudyRecord) -> list[JobRecord]:
        return self.service.store.jobs_of(study.id)

    def tend(self, study: StudyRecord) -> Sent:
        """As `hpcjob wait` does again and again."""
        self.clock.sleep(10)
        return self.another()[1].tend(study)[1]

    def all_end_well(self, study: StudyRecord) -> int:
        """Let everything run, as one that waits does; how many rounds of the clock that took."""
        for turn in range(1, 200):
            open_points = [n for n, state in enumerate(self.known(study).points.states) if state is S.PENDING]
            self.end(study, dict.fromkeys(open_points, "0"))
            if not self.tend(study).jobs and self.states(study) == f"0-{study.points - 1} done":
                return turn
        raise AssertionError(self.states(study))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path))
    return Lab(tmp_path)


# ------------------------------------------------------------------------------------------ sending


def test_a_study_is_one_array(lab: Lab) -> None:
    study, sent = lab.submit(10)
    assert [job.native_id for job in sent.jobs] == ["1"]
    assert (sent.left, sent.why) == (0, "")
    assert lab.accepted(study) == [(1, 0, 1, 10)]
    assert lab.states(study) == "0-9 pending"
    names = {path.name for path in Path(study.folder).iterdir()}
    assert {"study.json", "points-1.tsv", "point-1.sh", "c0001", "ends", "log"} <= names
    assert sorted(path.name for path in Path(study.folder, "c0001").iterdir()) == [
        "job.sh", "plan.json", "record.json", "submit.lock",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pack", "arrays"), [(1, [(1, 0, 1, 4), (1, 4, 1, 4), (1, 8, 1, 2)]), (2, [(1, 0, 2, 4), (1, 8, 2, 1)])]
)
def test_arrays_are_no_longer_than_slurm_takes(lab: Lab, pack: int, arrays: list[tuple[int, ...]]) -> None:
    lab.slurm.max_array = 4
    study = lab.study(10, pack=pack)
    assert lab.accepted(study) == arrays
    assert lab.each_once(study)
    assert lab.slurm.count("scontrol") == 2, "limits of arrays and of the user are asked for once an hour"


def test_the_site_file_may_know_the_limits(lab: Lab) -> None:
    lab.set_site("max_array: 3, max_submit: 5")
    study, sent = lab.submit(10)
    assert lab.accepted(study) == [(1, 0, 1, 3), (1, 3, 1, 2)]
    assert (sent.left, sent.why) == (5, "the queue takes no more jobs of yours now")
    assert lab.slurm.count("scontrol") == 1, "those of the user's account no file knows"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"array": "0-3"}, "array is not for a study"),
        ({"error": "e.log"}, "error is not for a study"),
        ({"output": "o.log"}, "two points have the log o.log"),
        ({"env": {"x": "1"}}, "x is a parameter and a variable of the job"),
        ({"command": ("solve", "{y}")}, "the command names {y}, and there is no such parameter"),
        ({"inputs": ("in.nml.j2",)}, "there is no input file in.nml.j2"),
        ({"folder": "runs"}, "two points have the folder runs"),
        ({"folder": "runs/{point}", "command": ("./solve",)}, "there is no ./solve in it"),
        ({"pack": 8, "workers": 6}, "a node has room for 4 points at a time, and --workers asks for 6"),
        ({"pack": 4, "workers": 2, "ntasks": 2}, "points that use several ranks or GPUs run one after the other"),
        ({"pack": 4, "mpi": "bind"}, "--mpi bind is about what a launcher starts"),
    ],
)  # fmt: skip
def test_what_no_study_can_be(lab: Lab, asked: dict[str, Any], message: str) -> None:
    spec = lab.spec(3)
    of_study = {name: asked[name] for name in asked if hasattr(spec, name)}
    job = replace(spec.job, **{name: value for name, value in asked.items() if name not in of_study})
    with pytest.raises((UsageError, PlanError, NotFoundError)) as caught:
        lab.sweeps.submit(replace(spec, job=job, **of_study), site_file=str(lab.site_file))
    assert message in caught.value.message
    assert caught.value.hint
    assert lab.service.store.studies() == []


@pytest.mark.parametrize(
    ("asked", "workers"),
    [
        ({}, 4), ({"pack": 3}, 3), ({"pack": 1}, 1), ({"mem": Memory(6 << 30)}, 2), ({"workers": 3}, 3),
        ({"mem_per_cpu": Memory(4 << 30)}, 4),
    ],
)  # fmt: skip
def test_as_many_of_a_pack_run_at_once_as_a_node_has_room_for(lab: Lab, asked: dict[str, Any], workers: int) -> None:
    assert (
        lab.sweeps.prepare(lab.spec(10, **{"pack": 8, **asked}), site_file=str(lab.site_file)).record.workers == workers
    )


@pytest.mark.parametrize("pack", [1, 8])
@pytest.mark.parametrize(
    ("asked", "srun"),
    [
        ({}, []), ({"ntasks": 1}, []), ({"nodes": 1, "ntasks": 1}, []), ({"nodes": 1, "ntasks_per_node": 1}, []),
        ({"ntasks_per_node": 1}, []),
        ({"nodes": 1}, ["4"]), ({"nodes": 2}, ["8"]), ({"ntasks": 2}, ["2"]), ({"nodes": 2, "ntasks_per_node": 1}, ["2"]),
    ],
)  # fmt: skip
def test_a_point_of_several_ranks_has_a_launcher(lab: Lab, asked: dict[str, int], srun: list[str], pack: int) -> None:
    lab.site_file.write_text(f"{lab.site_file.read_text()}launcher: {{kind: srun}}\n")
    study = lab.study(3, pack=pack, **asked)
    script = Path(study.folder, "point-1.sh").read_text()
    assert re.findall(r"\bsrun .*--ntasks=(\d+)", script) == srun
    assert study.workers == (1 if srun or pack == 1 else 4)
    (job,) = lab.service.store.jobs_of(study.id)
    places = re.findall(r"^#SBATCH --n\S+=(\d+)$", Path(job.folder, "job.sh").read_text(), re.MULTILINE)
    assert math.prod(map(int, places)) == int(srun[0] if srun else study.workers)


@pytest.mark.parametrize("asked", [{}, {"nodes": 1, "ntasks": 1}])
def test_a_process_alone_has_its_images_own_mpi(
    lab: Lab, asked: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtimes = "runtimes: [{kind: apptainer, version: 1.3.4}]"
    lab.site_file.write_text(f"{lab.site_file.read_text()}launcher: {{kind: srun}}\n{runtimes}\n")
    (lab.home / "image/bin").mkdir(parents=True)
    found = Known(mpi_facts.TRIXIE, mpi_facts.host(mpi_facts.DEBIAN), str(lab.home / ".mpi"))
    monkeypatch.setattr(Mpi, "known", lambda *_, **__: (found, ""))
    one, two = (
        lab.study(2, image=str(lab.home / "image"), **asked),
        lab.study(2, image=str(lab.home / "image"), ntasks=2),
    )
    alone, together = (Path(study.folder, "point-1.sh").read_text() for study in (one, two))
    assert "apptainer exec" in alone
    assert not re.search(r"srun|hpcjob/", alone.partition("exec env")[2])
    assert re.search(r"srun .*\n.*hpcjob/", together.partition("exec env")[2])


def test_nodes_are_asked_about_where_the_site_is_silent(lab: Lab) -> None:
    lab.site_file.write_text("name: fake\nscheduler: {kind: slurm}\n")
    prepared = lab.sweeps.prepare(lab.spec(10, pack=8), site_file=str(lab.site_file))
    assert prepared.record.workers == 2, "sinfo says it"


def test_preparing_leaves_nothing(lab: Lab) -> None:
    lab.slurm.max_array = 4
    prepared = lab.sweeps.prepare(lab.spec(10, pack=2), site_file=str(lab.site_file))
    assert (prepared.jobs, prepared.tasks, prepared.record.workers) == (2, 5, 2)
    assert lab.service.store.studies() == []
    assert lab.slurm.count("sbatch") == 0


def test_what_slurm_refuses_leaves_nothing_behind(lab: Lab) -> None:
    lab.slurm.refuse = "Invalid account or account/partition combination specified"
    with pytest.raises(RefusedError, match="Invalid account"):
        lab.submit(10)
    assert lab.slurm.count("sbatch") == 1, "it is no limit that fewer tasks would keep"
    assert lab.service.store.studies() == []
    assert lab.service.history() == []
    assert list((lab.home / "jobs").iterdir()) == []


@pytest.mark.parametrize(
    ("why", "tries"),
    [
        ("QOSMaxSubmitJobPerUserLimit", 4),  # 8, 4, 2, 1 tasks
        ("Invalid job array specification", 4),
        ("QOSMaxWallDurationPerJobLimit; Job violates accounting/QOS policy (job submit limit, …)", 1),
        ("Requested time limit is invalid (missing or exceeds some limit)", 1),
        ("Memory specification can not be satisfied", 1),
    ],
)
def test_fewer_tasks_are_tried_where_that_may_help(lab: Lab, why: str, tries: int) -> None:
    lab.slurm.max_array = 8
    lab.slurm.refuse = why
    with pytest.raises(RefusedError):
        lab.submit(100)
    assert lab.slurm.count("sbatch") == tries


def test_a_dead_controller_leaves_nothing_behind(lab: Lab) -> None:
    lab.set_site("max_array: 5, max_submit: 1000")
    lab.slurm.down = True
    with pytest.raises(UnreachableError):
        lab.submit(10)
    assert lab.service.store.studies() == []
    assert list((lab.home / "jobs").iterdir()) == []


def test_a_folder_that_cannot_be_made(lab: Lab) -> None:
    (lab.home / "runs").write_text("")
    with pytest.raises(PlanError, match="runs cannot be made") as caught:
        lab.submit(3, folder="runs/{point}")
    assert "--folder" in caught.value.hint
    assert lab.service.store.studies() == []


def test_the_folder_of_the_points_folders_is_made(lab: Lab) -> None:
    lab.submit(3, folder="runs/of/{point}")
    assert list((lab.home / "runs/of").iterdir()) == []


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("accounting", [True, False])
def test_a_limit_of_jobs_is_filled_and_refilled(lab: Lab, *, accounting: bool) -> None:
    """Known from sacctmgr, or learnt by refusals."""
    lab.set_site("" if accounting else "accounting: false")
    lab.slurm.max_submit, lab.slurm.max_array = 20, 8
    study, sent = lab.submit(50)
    queued = sum(job.state == "PENDING" for job in lab.slurm.jobs)
    assert sent.left == 50 - queued
    assert (queued, "MaxSubmit" in sent.why) == ((20, False) if accounting else (16, True))
    assert [len(job.indices()) for job in lab.sweeps.feed(study).jobs] == ([] if accounting else [4])
    assert lab.all_end_well(study) < 8
    assert lab.each_once(study)
    assert len(lab.jobs(study)) <= 12


def test_room_for_a_task_or_two_is_not_worth_an_array(lab: Lab) -> None:
    lab.slurm.max_submit = 20
    study = lab.study(50)
    lab.end(study, {0: "0", 1: "0"})
    assert lab.tend(study).why == "the queue takes no more jobs of yours now"
    assert lab.slurm.count("sbatch") == 1
    lab.end(study, {2: "0", 3: "0"})
    assert [len(job.indices()) for job in lab.tend(study).jobs] == [4]
    assert lab.runs(study) == Counter(range(24))


def test_other_jobs_of_the_user_count(lab: Lab) -> None:
    lab.slurm.max_submit = 20
    first = lab.study(15)
    second, sent = lab.submit(10)
    assert sent.left == 5
    lab.end(first, dict.fromkeys(range(15), "0"))
    lab.clock.sleep(10)
    third, sent = lab.submit(10)
    assert sent.left == 0, "those that ended are asked about before they count"
    lab.end(second, dict.fromkeys(range(5), "0"))
    assert [job.first for job in lab.tend(second).jobs] == [5]
    assert lab.states(third) == "0-9 pending"


def test_a_full_queue_keeps_the_study_for_later(lab: Lab) -> None:
    lab.slurm.max_submit = 4
    other = lab.study(4)
    study, sent = lab.submit(3)
    assert (sent.jobs, sent.left, sent.why) == ([], 3, "the queue takes no more jobs of yours now")
    assert lab.states(study) == "0-2 created"
    lab.end(other, dict.fromkeys(range(4), "0"))
    assert len(lab.tend(study).jobs) == 1
    assert lab.states(study) == "0-2 pending"


def test_an_unknown_limit_that_others_fill(lab: Lab) -> None:
    lab.set_site("accounting: false, max_array: 8")
    study = lab.study(3)
    lab.end(study, dict.fromkeys(range(3), "1"))
    lab.slurm.refuse = "AssocMaxSubmitJobLimit"
    again, sent, _ = lab.sweeps.resubmit(studies.Chosen(study), ["failed"])
    assert (sent.jobs, sent.left) == ([], 3)
    assert "AssocMaxSubmitJobLimit" in sent.why
    lab.slurm.refuse = "Invalid account"
    with pytest.raises(RefusedError, match="Invalid account"):
        lab.sweeps.tend(again)
    lab.slurm.refuse = ""
    assert len(lab.tend(again).jobs) == 1


def test_a_dead_controller_ends_no_wait(lab: Lab) -> None:
    lab.slurm.max_submit = 5
    study = lab.study(10)
    lab.end(study, dict.fromkeys(range(5), "0"))
    lab.known(study)
    lab.slurm.hang = "before"
    known, sent = lab.sweeps.tend(study)
    assert sent.left == 5
    assert [type(error) for error in known.errors] == [UnreachableError]
    lab.slurm.hang = ""
    lab.clock.sleep(60)
    assert len(lab.tend(study).jobs) == 1
    assert lab.each_once(study)


# ------------------------------------------------------------------------------------------ crashes

CHUNKS = 4


def resume(lab: Lab) -> StudyRecord | None:
    """What the next command does after a crash, and once more when it is known what arrived."""
    lab.runner.die = -1
    for _ in range(2):
        service, sweeps = lab.another()
        for study in service.store.studies():
            sweeps.tend(study)
        lab.clock.sleep(60)
    return next(iter(lab.another()[0].store.studies()), None)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(3 + CHUNKS))
def test_killed_at_any_command_nothing_is_lost_or_sent_twice(lab: Lab, call: int, *, after: bool) -> None:
    lab.slurm.max_array = 3
    lab.runner.die, lab.runner.after = call, after
    with pytest.raises(KilledError):
        lab.submit(3 * CHUNKS)
    study = resume(lab)
    assert (study is None) == (call < 3), "before the first sbatch the limits are asked for"
    if study:
        assert lab.each_once(study)
        assert lab.states(study) == "0-11 pending"
        lab.all_end_well(study)


def test_killed_with_any_file_half_written_nothing_is_lost_or_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, remove = paths.write_private, shutil.rmtree
    left, dead = 0, False

    def killed(path: Path, text: str, *, sync: bool = True) -> None:
        nonlocal left, dead
        if "cache" not in path.parts:
            left, dead = left - 1, dead or left == 0
        if dead:
            raise KilledError
        write(path, text, sync=sync)

    def no_cleaning(path: Path, *, ignore_errors: bool = False) -> None:
        if dead:
            raise KilledError
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(paths, "write_private", killed)
    monkeypatch.setattr("shutil.rmtree", no_cleaning)
    for number in range(100):
        monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / str(number)))
        (tmp_path / str(number)).mkdir()
        lab = Lab(tmp_path / str(number))
        lab.slurm.max_array = 3
        left, dead = number, False
        try:
            lab.submit(3 * CHUNKS)
        except KilledError:
            dead, left = False, -1
            study = resume(lab)
            assert study is None or lab.each_once(study), number
            for record in lab.service.store.studies():
                assert lab.states(record) == "0-11 pending", number
            continue
        assert number > 3 * CHUNKS
        return
    raise AssertionError("no end")


@pytest.mark.parametrize("hang", ["before", "after"])
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_an_sbatch_that_hangs_is_looked_for(lab: Lab, hang: str, chunk: int) -> None:
    lab.slurm.max_array = 3

    def watch() -> None:
        lab.slurm.hang = hang if lab.slurm.count("sbatch") >= chunk else ""

    lab.runner.watch = watch
    with pytest.raises(UnreachableError) as caught:
        lab.submit(3 * CHUNKS)
    assert caught.value.message == "sbatch did not answer within 60 s; s1 is not sent as a whole"
    assert "hpcjob sweep resume s1" in caught.value.hint
    lab.runner.watch, lab.slurm.hang = lambda: None, ""
    assert len(lab.jobs(lab.service.store.study(1))) == chunk + 1, "those after it were never tried"
    if hang == "before":
        sent = lab.sweeps.feed(lab.service.store.study(1))
        assert (sent.jobs, sent.why) == ([], "which of its jobs arrived is known in half a minute")
        assert sent.left == 3 * (CHUNKS - chunk)
    study = resume(lab)
    assert study
    assert lab.each_once(study)
    assert lab.states(study) == "0-11 pending"


def test_an_array_that_ended_before_it_was_found_is_known_by_its_lines(lab: Lab) -> None:
    lab.set_site("accounting: false")
    lab.slurm.hang = "after"
    with pytest.raises(UnreachableError):
        lab.submit(2)
    study = lab.service.store.study(1)
    (job,) = lab.jobs(study)
    now = lab.clock()
    lines = "".join(f"p {job.tag} {n} 0 {now} {now + 1}\nt {job.tag} {n} 0 0 {now} {now + 1} 0 1\n" for n in range(2))
    (StudyFolder(Path(study.folder)).ends / "n1").write_text(lines)
    lab.slurm.jobs.clear()
    lab.slurm.hang = ""
    lab.clock.sleep(60)
    assert lab.states(study) == "0-1 done"
    assert lab.tend(study) == Sent()
    assert [job.native_id for job in lab.jobs(study)] == ["1"]


def test_an_id_that_cannot_be_noted_is_found_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk after the scheduler took the job."""
    lab.slurm.max_array = 3

    def full(store: Store, record: JobRecord, native_id: str, now: float) -> JobRecord:
        raise StoreError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "note_id", full)
        with pytest.raises(StoreError) as caught:
            lab.submit(12)
    assert caught.value.message == "No space left on device; s1 is not sent as a whole"
    assert len(lab.slurm.jobs) == 3
    study = resume(lab)
    assert study
    assert lab.each_once(study)


def test_what_is_taken_up_late_finds_no_folder_of_its_own(lab: Lab) -> None:
    lab.slurm.max_array = 3
    study, _ = lab.submit(6)
    lab.slurm.hang = "before"
    with pytest.raises(UnreachableError):
        lab.sweeps.extend(study, lab.spec(3, first=6))
    late = lab.jobs(study)[-1].folder
    lab.slurm.hang = ""
    lab.clock.sleep(60)
    (job,) = lab.tend(study).jobs
    assert (Path(late).name, Path(job.folder).name) == ("c0003", "c0004")
    assert not Path(late).exists()


def test_two_feeds_at_once(lab: Lab) -> None:
    lab.slurm.max_submit = 5
    study = lab.study(10)
    lab.end(study, dict.fromkeys(range(5), "0"))
    lab.known(study)
    seen: list[Sent] = []
    lab.runner.watch = lambda: seen.append(lab.another()[1].feed(study)) if not seen else None
    sent = lab.sweeps.feed(study)
    assert [len(job.indices()) for job in sent.jobs] == [5]
    assert [(each.jobs, each.left, each.why) for each in seen] == [([], 5, "another hpcjob sends it at this moment")]
    assert lab.each_once(study)


def test_a_tend_beside_another(lab: Lab) -> None:
    study = lab.study(3, retry={"failed": 1})
    lab.end(study, {0: "1"})
    with locked(StudyFolder(Path(study.folder)).lock):
        sent = lab.tend(study)
    assert (sent.jobs, sent.why) == ([], "another hpcjob sends it at this moment")
    assert len(lab.service.store.study(study.id).rounds) == 1
    # Both saw the failure; the first one adds the round.
    lab.clock.sleep(10)
    other: list[Sent] = []
    lab.runner.watch = lambda: other.append(lab.another()[1].tend(study)[1]) if not other else None
    _, sent = lab.sweeps.tend(study)
    assert sum(len(each.jobs) for each in (sent, *other)) == 1
    assert lab.runs(study) == Counter({0: 2, 1: 1, 2: 1})


# -------------------------------------------------------------------------------------------- states


def test_points_are_where_their_tasks_are(lab: Lab) -> None:
    study = lab.study(9)
    for index, state in enumerate(("TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "CANCELLED")):
        lab.slurm.start("1", index)
        lab.slurm.finish("1", state, index=index)
    lab.end(study, {5: "0", 6: "3"})
    lab.slurm.start("1", 7)
    assert lab.states(study) == ("0 timeout, 1 oom, 2 node_fail, 3-4 cancelled, 5 done, 6 failed, 7 running, 8 pending")
    assert lab.known(study).points.exit_code(6) == 3
    lab.slurm.finish("1", index=7)
    assert "7 unknown" in lab.states(study), "it ended well, and its point has not said so yet"


def test_one_poll_for_a_study_of_many_arrays(lab: Lab) -> None:
    lab.slurm.max_array = 100
    study = lab.study(1000)
    lab.slurm.calls.clear()
    lab.known(study)
    assert [call[0] for call in lab.slurm.calls] == ["squeue"]


def test_a_study_that_another_command_has_grown(lab: Lab) -> None:
    before = lab.study(3)
    lab.another()[1].extend(before, lab.spec(6))
    assert studies.known(lab.service, before).study.points == 6


def test_packs(lab: Lab) -> None:
    study, sent = lab.submit(10, pack=4, time=Duration(60))
    (job,) = sent.jobs
    lab.slurm.start("1", 0)
    lab.slurm.start("1", 1)
    lab.begin(study, job, 0, 1, 4)
    lab.write(study, job, 0, "0")
    assert lab.states(study) == "0 done, 1,4 running, 2-3,5-9 pending"
    lab.slurm.finish("1", "NODE_FAIL", index=0)
    lab.write(study, job, 4, "124")
    assert lab.states(study) == "0 done, 1 node_fail, 2-3 created, 4 timeout, 5-9 pending"


# ------------------------------------------------------------------------------------------ finishing


def test_retries_by_cause_have_an_end(lab: Lab) -> None:
    study = lab.study(4, retry={"node_fail": 2, "timeout": 1, "preempted": 1})
    fates = {0: "NODE_FAIL", 1: "TIMEOUT", 2: "FAILED", 3: "PREEMPTED"}
    for _ in range(5):
        now = lab.known(study)
        native = {job.id: job.native_id for job in now.jobs}
        for number in now.points.some(frozenset({S.PENDING})):
            job, task = now.points.jobs[number]
            lab.slurm.finish(native[job], fates[number], index=task)
        lab.tend(study)
    assert lab.states(study) == "0 node_fail, 1 timeout, 2 failed, 3 cancelled"
    assert lab.runs(study) == Counter({0: 3, 1: 2, 2: 1, 3: 2})
    assert lab.known(study).points.attempts == [3, 2, 1, 2]
    rounds = [(each.points, each.why) for each in lab.service.store.study(study.id).rounds[1:]]
    assert sorted(rounds) == [("0", "retry node_fail")] * 2 + [("1", "retry timeout"), ("3", "retry preempted")]


def test_points_of_a_pack_that_had_no_turn_are_retried_with_it(lab: Lab) -> None:
    study, sent = lab.submit(4, pack=4, retry={"timeout": 1})
    lab.begin(study, sent.jobs[0], 0, 1)
    lab.write(study, sent.jobs[0], 0, "0")
    lab.slurm.finish("1", "TIMEOUT", index=0)
    lab.tend(study)
    assert lab.service.store.study(study.id).rounds[1].points == "1-3"
    assert lab.states(study) == "0 done, 1-3 pending"


def test_an_unknown_cause_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match="'nodefail' is no cause") as caught:
        lab.submit(3, retry={"nodefail": 1})
    assert caught.value.hint == "did you mean node_fail?"


def resubmit(
    lab: Lab, selector: str, *kinds: str, time: str = "", mem: str = ""
) -> tuple[StudyRecord, Sent, tuple[int, ...]]:
    return lab.sweeps.resubmit(studies.select(lab.service, selector), kinds, time=time, mem=mem)


def directive(job: JobRecord, name: str) -> str:
    match = re.search(rf"^#SBATCH --{name}=(\S+)", Path(job.folder, "job.sh").read_text(), re.MULTILINE)
    return match[1] if match else ""


@pytest.mark.parametrize("name", ["mem", "mem_per_cpu"])
def test_failed_points_get_more_and_yet_more(lab: Lab, name: str) -> None:
    option = name.replace("_", "-")
    study = lab.study(6, time=Duration(600), **{name: Memory(1 << 30)})
    lab.end(study, {0: "0", 1: "0", 2: "7", 3: "9"})
    _, sent, numbers = resubmit(lab, "s1", "failed", time="x2", mem="x1.5")
    assert numbers == (2, 3)
    assert [directive(job, "time") for job in sent.jobs] == ["00:20:00"]
    assert [directive(job, option) for job in sent.jobs] == ["1536M"]
    assert lab.states(study) == "0-1 done, 2-5 pending"
    lab.end(study, {2: "0", 3: "7"})
    _, sent, numbers = resubmit(lab, "s1", "failed", time="x2")
    assert numbers == (3,)
    assert [directive(job, "time") for job in sent.jobs] == ["00:40:00"]
    assert [directive(job, option) for job in sent.jobs] == ["1536M"], "what helped the last time is kept"
    lab.end(study, {3: "7", 4: "1"})
    _, sent, _ = resubmit(lab, "s1[4]", time="2h")
    assert [directive(job, "time") for job in sent.jobs] == ["02:00:00"]
    assert [directive(job, option) for job in sent.jobs] == ["1G"], "not what another point had"


def test_a_round_that_cannot_be_sent_is_taken_back(lab: Lab) -> None:
    study = lab.study(3, time=Duration(1800))
    lab.end(study, {0: "1"})
    before = lab.service.store.stop_study(study.id, stopped=True)
    with pytest.raises(PlanError, match="24G"):
        resubmit(lab, "s1", "failed", mem="24G")
    lab.slurm.refuse = "Requested time limit is invalid (missing or exceeds some limit)"
    with pytest.raises(RefusedError, match="Requested time limit"):
        resubmit(lab, "s1", "failed", time="x9")
    with pytest.raises(RefusedError, match="Requested time limit"):
        lab.sweeps.extend(study, lab.spec(5))
    assert lab.service.store.study(study.id) == before
    assert lab.states(study) == "0 failed, 1-2 pending"
    lab.slurm.refuse = ""
    lab.sweeps.extend(study, lab.spec(5))
    assert resubmit(lab, "s1", "failed", time="x1.5")[2] == (0,)
    assert lab.runs(study) == Counter({0: 2, 1: 1, 2: 1, 3: 1, 4: 1})


def test_a_retry_that_is_refused_ends_no_wait_while_others_run(lab: Lab) -> None:
    study = lab.study(3, retry={"failed": 1})
    lab.end(study, {0: "1"})
    lab.slurm.refuse = "Invalid account"
    lab.clock.sleep(10)
    known, sent = lab.sweeps.tend(study)
    assert (sent.left, [type(error) for error in known.errors]) == (1, [RefusedError])
    lab.end(study, {1: "0", 2: "0"})
    with pytest.raises(RefusedError, match="Invalid account"):
        lab.tend(study)


@pytest.mark.parametrize(("option", "example"), [("time", "2h"), ("mem", "8G")])
def test_twice_nothing_is_refused(lab: Lab, option: str, example: str) -> None:
    study = lab.study(2)
    lab.end(study, {0: "1"})
    with pytest.raises(UsageError, match="the study asked for none") as caught:
        resubmit(lab, "s1", "failed", **{option: "x2"})
    assert caught.value.hint == f"give an amount: --{option} {example}"
    assert len(lab.service.store.study(study.id).rounds) == 1


def test_missing_points(lab: Lab) -> None:
    study = lab.study(6, pack=2)
    job = lab.jobs(study)[0]
    lab.begin(study, job, 0)
    lab.slurm.finish("1", "CANCELLED", index=0)
    lab.slurm.finish("1", index=1)
    assert lab.states(study) == "0 cancelled, 1 created, 2-3 unknown, 4-5 pending"
    _, sent, numbers = resubmit(lab, "s1", "missing")
    assert numbers == (0, 1, 2, 3)
    assert [(job.round, job.rows) for job in sent.jobs] == [(2, 4)]
    with pytest.raises(NotFoundError, match="no point of s1 is missing"):
        resubmit(lab, "s1", "missing")
    with pytest.raises(NotFoundError, match="no point of s1 is failed or missing"):
        resubmit(lab, "s1", "failed", "missing")


def test_what_has_not_ended_is_not_sent_again(lab: Lab) -> None:
    lab.study(3)
    with pytest.raises(UsageError, match=r"s1\[1\] is pending") as caught:
        resubmit(lab, "s1[1-2]")
    assert "hpcjob cancel 's1[1]'" in caught.value.hint
    assert lab.runs(lab.service.store.study(1)) == Counter(range(3))


def test_an_extension_repeats_nothing(lab: Lab) -> None:
    study = lab.study(4)
    study, sent, known = lab.sweeps.extend(study, lab.spec(6))
    assert (known, study.points) == (4, 6)
    assert [(job.round, job.rows) for job in sent.jobs] == [(2, 2)]
    study, sent, known = lab.sweeps.extend(study, lab.spec(6))
    assert (known, sent.jobs, study.points, len(study.rounds)) == (6, [], 6, 2)
    assert lab.each_once(study)
    (values,) = table.values(study, [5]).values()
    assert values == {"x": 5}
    with pytest.raises(UsageError, match="s1 has the parameters x, and these points have y") as caught:
        lab.sweeps.extend(study, replace(lab.spec(), design=Grid({"y": (1,)})))
    assert "others" in caught.value.hint


def test_an_extension_by_values_of_another_kind(lab: Lab) -> None:
    study = lab.study(2)
    study, _, _ = lab.sweeps.extend(study, replace(lab.spec(), design=Grid({"x": (0.5, "fast")})))
    assert study.kinds == ("mixed",)
    assert [row["x"] for row in table.values(study, range(4)).values()] == [0, 1, 0.5, "fast"]


def test_points_of_two_scripts_are_two_rounds(lab: Lab) -> None:
    study = lab.study(2)
    study, _, _ = lab.sweeps.extend(study, lab.spec(4))
    lab.end(study, dict.fromkeys(range(4), "3"))
    study, sent, numbers = resubmit(lab, "s1", "failed")
    assert numbers == (0, 1, 2, 3)
    assert [(each.points, each.script) for each in study.rounds[2:]] == [("0-1", 1), ("2-3", 2)]
    scripts = [Path(job.folder, "job.sh").read_text() for job in sent.jobs]
    assert ["point-1.sh" in text for text in scripts] == [True, False]
    assert ["points-3.tsv" in text for text in scripts] == [True, False]
    assert ["point-2.sh" in text for text in scripts] == [False, True]
    assert (Path(study.folder) / "points-4.tsv").read_text() == "point\tx\n2\t2\n3\t3\n"
    assert lab.runs(study) == Counter(dict.fromkeys(range(4), 2))


def test_a_round_that_another_command_added_meanwhile(lab: Lab) -> None:
    study = lab.study(3)
    lab.service.store.add_round(study, replace(study, rounds=(*study.rounds, Round("0", "chosen", 1.0, script=1))), {})
    with pytest.raises(StoreError, match="s1 was changed by another command") as caught:
        lab.service.store.add_round(study, study, {"points-2.tsv": "of the loser"})
    assert caught.value.hint == "try again"
    assert not Path(study.folder, "points-2.tsv").exists()


# --------------------------------------------------------------------------------------- cancellation


def test_cancelled_points_do_not_run(lab: Lab) -> None:
    lab.slurm.max_submit = 6
    study = lab.study(10)
    done = studies.cancel_points(lab.service, study, (3, 4, 8))
    assert (done.points, done.running) == ((3, 4, 8), ())
    assert [outcome.problem for outcome in done.outcomes] == [""]
    assert [call[-1] for call in lab.slurm.calls if call[0] == "scancel"] == ["1_[3-4]"]
    assert lab.states(study) == "0-2,5 pending, 3-4,8 cancelled, 6-7,9 created"
    assert sorted(path.name for path in StudyFolder(Path(study.folder)).skip.iterdir()) == ["3", "4", "8"]
    assert studies.cancel_points(lab.service, study, (3,)).points == ()


def test_points_of_a_pack_cannot_all_be_ended(lab: Lab) -> None:
    study, sent = lab.submit(12, pack=4, retry={"preempted": 3, "node_fail": 1})
    (job,) = sent.jobs
    lab.slurm.start("1", 0)
    lab.begin(study, job, 0, 1, 2)
    lab.write(study, job, 0, "0")
    # One that ended, one that runs, one that waits in a running pack; in a waiting one; a whole pack.
    done = studies.cancel_points(lab.service, study, (0, 1, 3, 5, 8, 9, 10, 11))
    assert (done.points, done.running) == ((3, 5, 8, 9, 10, 11), (1,))
    assert [call[-1] for call in lab.slurm.calls if call[0] == "scancel"] == ["1_[2]"]
    assert lab.states(study) == "0 done, 1-2 running, 3,5,8-11 cancelled, 4,6-7 pending"
    assert lab.tend(study) == Sent(), "its owner wanted no end of them"
    lab.slurm.finish("1", "NODE_FAIL", index=0)
    lab.tend(study)
    assert lab.service.store.study(study.id).rounds[1].points == "2"
    # The rest of a running pack can be ended with those that are over.
    lab.slurm.start("1", 1)
    lab.begin(study, job, 4)
    done = studies.cancel_points(lab.service, study, (4, 6, 7))
    assert (done.points, done.running) == ((4, 6, 7), ())
    assert lab.states(study) == "0 done, 1 node_fail, 2 pending, 3-11 cancelled"


def test_a_cancelled_point_may_run_after_all(lab: Lab) -> None:
    lab.slurm.max_submit = 4
    study = lab.study(9, pack=2)
    studies.cancel_points(lab.service, study, (0, 2, 3, 8))
    assert lab.states(study) == "0,2-3,8 cancelled, 1,4-7 pending"
    # 0 waits in its pack for its turn; 2 and 3 were a pack; 8 is in no job yet.
    study, sent, numbers = resubmit(lab, "s1", "missing")
    assert numbers == (2, 3)
    assert [(job.first, job.rows) for job in sent.jobs] == [(8, 1)]
    assert lab.states(study) == "0-1,4-8 pending, 2-3 created"
    lab.all_end_well(study)
    assert lab.runs(study) == Counter({**dict.fromkeys(range(9), 1), 2: 2, 3: 2})


def test_a_cancelled_study_is_not_fed_until_resumed(lab: Lab) -> None:
    lab.slurm.max_submit = 4
    study = lab.study(10, retry={"failed": 5})
    lab.end(study, {0: "3"})
    assert [outcome.problem for outcome in studies.cancel(lab.service, study)] == [""]
    assert lab.tend(study) == Sent()
    assert lab.states(study) == "0 failed, 1-3 cancelled, 4-9 created"
    assert len(lab.service.store.study(study.id).rounds) == 1
    study, _, numbers = resubmit(lab, "s1", "missing")
    assert (study.stopped, numbers) == (False, (1, 2, 3))
    assert lab.runs(study)[4] == 1
    lab.all_end_well(study)


def test_all_open_jobs_of_a_study_are_the_study(lab: Lab) -> None:
    lab.set_site("max_array: 2, max_submit: 6")
    study = lab.study(10)
    one, *others = lab.service.store.jobs_of(study.id)
    lab.service.cancel([Selected(one, (0,)), *map(Selected, others)])
    assert not lab.service.store.study(study.id).stopped
    lab.service.cancel(lab.service.select(["active"]))
    assert lab.service.store.study(study.id).stopped
    assert lab.tend(study) == Sent()


def test_what_is_sent_in_the_course_of_a_held_study_is_not_held(lab: Lab) -> None:
    study = lab.study(2, hold=True)
    assert [job.reason for job in lab.slurm.jobs] == ["JobHeldUser"] * 2
    lab.end(study, {0: "3"})
    resubmit(lab, "s1", "failed")
    assert [job.reason for job in lab.slurm.jobs if job.id == "2"] == ["Priority"]


def test_folders_named_by_parameters_tell_points_apart_or_are_refused(lab: Lab) -> None:
    study = lab.study(3, folder="runs/{x:02d}")
    spec = replace(lab.spec(2, first=2), folder="runs/{x:02d}")
    assert lab.sweeps.extend(study, spec)[2] == 1  # one is known, and the other's folder is new
    with pytest.raises(UsageError, match=r"two points have the folder runs/1e\+01"):
        lab.study(3, first=10, folder="runs/{x:.0e}")
    other = lab.study(1, first=10, folder="runs/{x:.0e}")
    with pytest.raises(UsageError, match=r"two points have the folder runs/1e\+01"):
        lab.sweeps.extend(other, lab.spec(1, first=11))


def test_what_cannot_be_resubmitted_leaves_the_study_stopped(lab: Lab) -> None:
    study = lab.study(2, pack=2)
    lab.slurm.start("1", 0)
    lab.service.store.stop_study(study.id, stopped=True)
    with pytest.raises(UsageError):
        resubmit(lab, "s1[0]")
    assert lab.service.store.study(study.id).stopped


# -------------------------------------------------------------------------------------------- lanes


def test_never_run_more_tasks_than_asked_for(lab: Lab) -> None:
    lab.slurm.max_array = 4
    study = lab.study(40, max_running=3)
    arrays = [directive(job, "array") for job in lab.jobs(study)]
    assert arrays == ["0-3%1"] * 10
    waits = [directive(job, "dependency") for job in lab.jobs(study)]
    assert waits == ["", "", "", *(f"afterany:{number}" for number in range(1, 8))]
    # What comes later waits for the last of a lane.
    lab.end(study, dict.fromkeys(range(8), "0"))
    study, sent, _ = lab.sweeps.extend(study, lab.spec(48))
    assert [directive(job, "dependency") for job in sent.jobs] == ["afterany:8", "afterany:9"]
    assert [job.lane for job in lab.jobs(study)] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]


def test_one_array_has_the_whole_limit(lab: Lab) -> None:
    study = lab.study(10, max_running=3)
    assert directive(lab.jobs(study)[0], "array") == "0-9%3"
    lab.end(study, dict.fromkeys(range(10), "0"))
    lab.known(study)
    _, sent, _ = lab.sweeps.extend(study, lab.spec(20))
    assert [directive(job, "array") for job in sent.jobs] == ["0-9%3"]
    assert [directive(job, "dependency") for job in sent.jobs] == [""]


# ---------------------------------------------------------------------------------------- selection


@pytest.mark.parametrize(
    ("selector", "numbers"),
    [
        ("s1", ()),
        ("sweep:s1", ()),
        ("s1[17]", (17,)),
        ("sweep:s1[3-5,9]", (3, 4, 5, 9)),
        ("s1[failed]", (2, 4)),
        ("s1[oom]", (4,)),
        ("s1[unsent]", tuple(range(20, 30))),
        ("s1[missing]", tuple(range(20, 30))),
    ],
)
def test_selectors(lab: Lab, selector: str, numbers: tuple[int, ...]) -> None:
    lab.slurm.max_submit = 20
    study = lab.study(30)
    lab.end(study, {0: "0", 2: "3"})
    lab.slurm.finish("1", "OUT_OF_MEMORY", index=4)
    lab.clock.sleep(10)
    assert studies.is_study(selector)
    chosen = studies.select(lab.service, selector)
    assert (chosen.study.id, chosen.numbers) == (1, numbers)


@pytest.mark.parametrize(
    ("selector", "error", "message", "hint"),
    [
        ("s2", NotFoundError, "there is no study s2", "hpcjob sweep list"),
        ("s1[10]", NotFoundError, "s1 has no point 10", "its points are 0-9"),
        ("s1[faild]", UsageError, "'faild' is no state", "did you mean failed?"),
        ("s1[failed]", NotFoundError, "no point of s1 is failed", "hpcjob status s1"),
        ("s1[x-3]", UsageError, "'x-3' is not a set of indices", "write 0-9"),
        ("s1[]", UsageError, "'' is not a set of indices", "write 0-9"),
        ("study", UsageError, "'study' is not a study", "write s4"),
    ],
)
def test_bad_selectors(lab: Lab, selector: str, error: type[Exception], message: str, hint: str) -> None:
    lab.study(10)
    with pytest.raises(error) as caught:
        studies.select(lab.service, selector)
    assert str(caught.value).startswith(message) or message in caught.value.message  # type: ignore[attr-defined]
    assert hint in caught.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize("selector", ["j1", "4711", "last", "s", "sweep", "s1x", "solve"])
def test_what_is_no_study(selector: str) -> None:
    assert not studies.is_study(selector)


def test_the_jobs_and_tasks_of_points(lab: Lab) -> None:
    lab.slurm.max_submit = 3
    lab.study(8, pack=2)
    assert [(one.record.id, one.indices) for one in studies.jobs_of(lab.service, "s1")] == [(1, ())]
    assert [(one.record.id, one.indices) for one in studies.jobs_of(lab.service, "s1[0-1,4-5]")] == [(1, (0, 2))]
    with pytest.raises(UsageError, match="point 2 of s1 shares its task with others"):
        studies.jobs_of(lab.service, "s1[0-2]")
    with pytest.raises(UsageError, match="point 6 of s1 is in no job yet") as caught:
        studies.jobs_of(lab.service, "s1[6-7]")
    assert caught.value.hint == "take the whole study: s1; hpcjob status 's1[6]'"
