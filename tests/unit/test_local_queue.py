"""Who may start next, and what a job of the local queue looks like from outside."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs import process
from hpcjobs.errors import RefusedError, UnreachableError
from hpcjobs.record import JobRecord, JobState, JobStatus
from hpcjobs.schedulers import Limits
from hpcjobs.schedulers.local import Local, capacity, status
from hpcjobs.schedulers.local_queue import End, Job, Need, Queue, Run, decide, need

S = JobState
MACHINE = Need(cores=4, memory=1000, gpus=2)


def job(number: int, wants: Need = Need(1), **more: object) -> Job:  # noqa: B008 - frozen
    values: dict[str, object] = {
        "id": number, "tag": f"t{number}", "name": f"n{number}", "folder": "/f", "script": "/f/job.sh",
        "workdir": "/w", "output": "/o", "error": "/e", "user_wants": wants,
    }  # fmt: skip
    return Job(**{**values, **more})  # type: ignore[arg-type]


def run(gpus: tuple[int, ...] = ()) -> Run:
    return Run(pid=1, start_ticks=1, boot="b", started=1.0, gpus=list(gpus))


def states(**known: JobState) -> Callable[[str], JobState | None]:
    return lambda native_id: known.get(f"j{native_id}")


NOBODY = states()


def started(jobs: list[Job], state_of: Callable[[str], JobState | None] = NOBODY) -> list[tuple[int, int]]:
    return [(start.job.id, start.index) for start in decide(jobs, MACHINE, state_of)]


def test_first_come_first_served() -> None:
    jobs = [job(1, Need(2)), job(2, Need(1)), job(3, Need(2)), job(4, Need(1))]
    assert started(jobs) == [(1, 0), (2, 0)]
    assert [one.reason for one in jobs] == ["", "", "Resources", "Priority"]


@pytest.mark.parametrize("wants", [Need(cores=4), Need(memory=600), Need(gpus=2)])
def test_what_runs_takes_its_share(wants: Need) -> None:
    busy = job(1, wants, waiting=set(), running={0: run((0, 1) if wants.gpus else ())})
    assert started([busy, job(2, wants)]) == []


def test_each_gpu_is_given_once() -> None:
    busy = job(1, Need(gpus=1), waiting=set(), running={0: run((0,))})
    (start,) = decide([busy, job(2, Need(gpus=1))], MACHINE, states())
    assert start.gpus == (1,)


def test_a_held_job_blocks_nobody() -> None:
    jobs = [job(1, held=True), job(2)]
    assert started(jobs) == [(2, 0)]
    assert jobs[0].reason == "JobHeldUser"


def test_an_array_starts_as_many_as_its_limit_allows() -> None:
    jobs = [job(1, array="0-9", waiting=set(range(10)), limit=2), job(2)]
    assert started(jobs) == [(1, 0), (1, 1), (2, 0)]
    assert jobs[0].reason == "JobArrayTaskLimit"
    wide = job(3, array="0-9", waiting=set(range(10)))
    assert started([wide]) == [(3, n) for n in range(4)]
    assert wide.reason == "Resources"


@pytest.mark.parametrize(
    ("dependency", "parent", "reason"),
    [
        ("afterok:1", S.DONE, ""),
        ("afterok:1", S.FAILED, "DependencyNeverSatisfied"),
        ("afterok:1", S.RUNNING, "Dependency"),
        ("afterok:1", None, "DependencyNeverSatisfied"),
        ("afternotok:1", S.FAILED, ""),
        ("afternotok:1", S.DONE, "DependencyNeverSatisfied"),
        ("afterany:1", S.FAILED, ""),
        ("afterany:1", S.DONE, ""),
        ("afterany:1", None, ""),
        ("afterany:1", S.PENDING, "Dependency"),
        ("after:1", S.PENDING, "Dependency"),
        ("after:1", S.RUNNING, ""),
        ("afterok:1,afterany:1", S.RUNNING, "Dependency"),
    ],
)
def test_dependencies(dependency: str, parent: JobState | None, reason: str) -> None:
    waiting = job(2, dependency=dependency)
    decide([waiting], MACHINE, lambda _: parent)
    assert waiting.reason == reason


def test_several_parents() -> None:
    waiting = job(3, dependency="afterok:1:2")
    decide([waiting], MACHINE, states(j1=S.DONE, j2=S.RUNNING))
    assert waiting.reason == "Dependency"
    decide([waiting], MACHINE, states(j1=S.DONE, j2=S.OOM))
    assert waiting.reason == "DependencyNeverSatisfied"


def test_singleton() -> None:
    jobs = [job(1, name="a"), job(2, name="a", dependency="singleton"), job(3, name="b", dependency="singleton")]
    assert started(jobs) == [(1, 0), (3, 0)]


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.make()
    queue.make()
    whole = job(
        7, Need(2, 3, 1), running={3: run((1,))}, ended={4: End("failed", 2)}, array="0-9", waiting=set(range(3))
    )
    queue.save(whole)
    assert Queue(tmp_path).load(7) == whole
    assert Queue(tmp_path).load(8) is None
    whole.finish(3, End("done", 0, ended=9.0))
    for index in range(3):
        whole.finish(index, End("cancelled", ended=9.0))
    queue.save(whole)
    assert queue.load_active() == []
    assert queue.load(7) == whole
    queue.prune(before=2e9)
    assert Queue(tmp_path).load(7) is None


def test_an_array_of_ten_thousand_stays_small() -> None:
    big = job(1, array="0-9999", waiting=set(range(10000)))
    for index in range(0, 9999, 2):
        big.finish(index, End("done", 0))
    for index in range(1, 9999, 2):
        big.finish(index, End("done", 0))
    assert big.done == set(range(9999))
    assert len(big.to_json()) < 500


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (job(1, reason="Resources"), JobStatus(S.PENDING, "PENDING", "Resources")),
        (job(1, held=True), JobStatus(S.HELD, "PENDING", "JobHeldUser")),
    ],
)
def test_status_of_what_waits(known: Job, expected: JobStatus) -> None:
    assert status(known) == expected


def test_status_of_what_runs_and_of_what_ended() -> None:
    running = status(job(1, waiting=set(), running={0: run()}))
    assert (running.state, running.started) == (S.RUNNING, 1.0)
    ended = status(job(1, waiting=set(), ended={0: End("timeout", 143, 15, 1.0, 9.0)}))
    assert (ended.state, ended.exit_code, ended.signal, ended.ended) == (S.TIMEOUT, 143, 15, 9.0)


def test_status_of_an_array() -> None:
    some = job(1, array="0-4", waiting=set(range(3, 5)), done={0}, running={2: run()}, ended={1: End("failed", 5)})
    found = status(some)
    assert found.tasks is not None
    assert found.tasks.states == {"done": "0", "failed": "1", "pending": "3-4", "running": "2"}
    assert found.tasks.codes == {"1": 5}


def test_what_a_plan_needs() -> None:
    shape = {"ntasks": 3, "cpus_per_task": 2, "gpus_per_node": 1}
    assert need({"shape": shape, "mem": None, "mem_per_cpu": 10}) == Need(6, 60, 1)
    assert need({"shape": shape, "mem": 100, "mem_per_cpu": None}) == Need(6, 100, 1)


def test_capacity() -> None:
    assert capacity({"cores": 3, "memory": "2G", "gpus": 1}) == Need(3, 2 << 30, 1)
    here = capacity({})
    assert here.cores >= 1
    assert here.memory > 1 << 28


@pytest.mark.parametrize(
    ("wants", "nodes", "message"),
    [
        (Need(cores=9), 1, "the job needs 9 cores, and this machine has 4"),
        (Need(memory=4 << 30), 1, "the job needs 4G memory, and this machine has 1G"),
        (Need(gpus=3), 1, "the job needs 3 gpus, and this machine has 2"),
        (Need(), 2, "2 nodes were asked for, and the local scheduler has this one machine"),
    ],
)
def test_what_never_fits_is_refused(wants: Need, nodes: int, message: str) -> None:
    local = Local({"extra": {"cores": 4, "memory": "1G", "gpus": 2}}, lambda *_, **__: pytest.fail("no command"))
    record = JobRecord(
        id=1, tag="t", name="n", site="s", scheduler="local", folder="/f", workdir="/w", output="/o", error="/e",
        created=1.0, nodes=nodes,
    )  # fmt: skip
    with pytest.raises(RefusedError) as caught:
        local._check(record, wants)
    assert caught.value.message == message
    assert caught.value.hint


def test_its_longest_array() -> None:
    local = Local({}, lambda *_, **__: pytest.fail("no command"))
    assert local.limits() == Limits(100_000)
    record = JobRecord(
        id=1, tag="t", name="n", site="s", scheduler="local", folder="/f", workdir="/w", output="/o", error="/e",
        created=1.0, array="0-100000",
    )  # fmt: skip
    with pytest.raises(RefusedError, match="the array has 100001 tasks") as caught:
        local._check(record, Need())
    assert caught.value.hint == "100000 is the most of the local scheduler"


def test_what_no_longer_fits_the_machine_blocks_nobody() -> None:
    jobs = [job(1, Need(9)), job(2)]
    assert started(jobs) == [(2, 0)]
    assert jobs[0].reason == "BadConstraints"


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    """Inode and time may be the same when it was replaced within one tick of the clock."""
    queue = Queue(tmp_path)
    queue.make()
    queue.save(job(7))
    file = queue.active / "7.json"
    stamp = file.stat().st_mtime_ns
    assert queue.load(7) == job(7)
    file.write_text(job(7, held=True).to_json())
    os.utime(file, ns=(stamp, stamp))
    assert queue.load(7) == job(7, held=True)


def submission(tmp_path: Path, **more: object) -> JobRecord:
    shape = {"ntasks": 1, "cpus_per_task": 1, "gpus_per_node": 0}
    plan = {"shape": shape, "mem": None, "mem_per_cpu": None, "array_limit": 0, "dependency": "", "requeue": None,
            "hold": False, "exclusive": False}  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    values: dict[str, object] = {
        "id": 1, "tag": "t", "name": "n", "site": "s", "scheduler": "local", "folder": str(tmp_path), "workdir": "/w",
        "output": "/o", "error": "/e", "created": 1.0,
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    """A client whose supervisor is never started."""
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(process, "spawn_python_daemon", lambda *_, **__: 0)
    return Local({}, lambda *_, **__: pytest.fail("no command"))


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device", "/f")


def test_a_full_disk_leaves_nothing_and_says_so(local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = submission(tmp_path)
    assert local.submit(tmp_path / "job.sh", tag="t", record=record) == "1"
    monkeypatch.setattr(Queue, "save", full_disk)
    with pytest.raises(UnreachableError, match="No space left on device"):
        local.submit(tmp_path / "job.sh", tag="u", record=record)
    for action in (local.cancel, local.hold, local.release):
        with pytest.raises(UnreachableError, match="No space left on device"):
            action(["1"])
    assert [file.name for file in local.queue.root.glob("*.environment")] == ["1.environment"]


def test_a_supervisor_that_does_not_read_does_not_stop_a_client(local: Local, tmp_path: Path) -> None:
    local.queue.make()
    with local.queue.supervisor_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pipe = os.open(local.queue.wake, os.O_RDWR | os.O_NONBLOCK)
        os.write(pipe, bytes(1 << 16))
        assert local.submit(tmp_path / "job.sh", tag="t", record=submission(tmp_path)) == "1"
        os.close(pipe)
        assert local.cancel(["1"]) == {"1": ""}


def test_tasks_are_cancelled_one_by_one_and_held_only_together(local: Local, tmp_path: Path) -> None:
    local.submit(tmp_path / "job.sh", tag="t", record=submission(tmp_path, array="0-9"))
    assert local.cancel(["1_[3-4]", "1_7", "1_[20]", "2", "x"]) == {
        "1_[3-4]": "", "1_7": "", "1_[20]": "Job has already finished", "2": "Invalid job id specified",
        "x": "Invalid job id specified",
    }  # fmt: skip
    known = local.queue.load(1)
    assert known is not None
    assert known.cancel == {3, 4, 7}
    assert local.hold(["1_[3-4]"]) == {"1_[3-4]": "the local scheduler holds an array as a whole"}
    assert local.hold(["1"]) == {"1": ""}


def test_aftercorr_is_refused(local: Local) -> None:
    assert local.dependency("afterok", ["1", "2"]) == "afterok:1:2"
    with pytest.raises(RefusedError, match="aftercorr"):
        local.dependency("aftercorr", ["1"])
