"""What the supervisor makes of tasks that ran without it, and of files that cannot be written."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from hpcjobs.process import spawn
from hpcjobs.schedulers import local_supervisor
from hpcjobs.schedulers.local_queue import Job, Need, Queue, Run
from hpcjobs.schedulers.local_supervisor import Supervisor

LOST = Run(pid=1 << 22, start_ticks=1, boot="another boot", started=1.0)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    root = tmp_path / "queue"
    Queue(root).make()
    with (root / "supervisor.lock").open("a") as lock:
        yield Supervisor(root, {"cores": 2, "memory": "1G", "gpus": 0}, lock)


def make(supervisor: Supervisor, tmp_path: Path, script: str = "", **more: Any) -> Job:
    (tmp_path / "job.sh").write_text(script)
    job = Job(
        id=1, tag="t", name="n", folder=str(tmp_path), script=str(tmp_path / "job.sh"), workdir=str(tmp_path),
        output=str(tmp_path / "log"), error=str(tmp_path / "log"), user_wants=Need(1), **more,
    )  # fmt: skip
    supervisor.queue.environment(1).write_text('{"PATH": "/usr/bin:/bin"}')
    supervisor.queue.save(job)
    return job


def test_a_supervisor_ends_when_its_queue_is_removed(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    root = supervisor.queue.root
    monkeypatch.setattr(Supervisor, "sleep", lambda *_: shutil.rmtree(root))
    supervisor.run()
    assert not root.exists()


def test_after_a_reboot_only_tasks_without_an_end_start_again(supervisor: Supervisor, tmp_path: Path) -> None:
    job = make(supervisor, tmp_path, array="0-2", waiting=set(), requeue=True, running=dict.fromkeys(range(3), LOST))
    for index in range(3):
        supervisor.mark(job, index).touch()
    (tmp_path / "exit.1").write_text("code=0\nsignal=0\nstart=1\nend=2\n")
    supervisor.care_for(job)
    assert (job.waiting, job.done, job.restarts) == ({0, 2}, {1}, 1)


def test_after_a_reboot_the_ends_of_a_study_s_tasks_are_where_they_all_are(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    chunk = tmp_path / "study/c0001"
    (chunk.parent / "ends").mkdir(parents=True)
    chunk.mkdir()
    (chunk.parent / "study.json").touch()
    lines = ("t t 0 0 0 50 60 0 1", "t t 1 143 15 50 99 0 1", "t t 2 3 0 90 101 1 1", "t other 3 0 0 100 200 0 2")
    (chunk.parent / "ends/n1").write_text("".join(f"{line}\n" for line in lines))
    lost = Run(pid=1 << 22, start_ticks=1, boot="another boot", started=100.5)
    older = Run(pid=1 << 22, start_ticks=1, boot="another boot", started=50.0)
    running = {0: older, 1: lost, 2: lost, 3: lost}
    job = make(supervisor, chunk, array="0-3", waiting=set(), requeue=True, running=running)
    for index in range(4):
        supervisor.mark(job, index).touch()
    supervisor.care_for(job)
    assert (job.waiting, job.done, job.restarts) == ({1, 3}, {0}, 1), "what 1 wrote was of an earlier start"
    assert (job.ended[2].state, job.ended[2].code) == ("failed", 3)


def test_a_full_disk_stops_nothing(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(supervisor, tmp_path, 'echo ran >>"$HPCJOB_NATIVE_ID"')
    full = [True] * 3
    save = Queue.save

    def sometimes(queue: Queue, job: Job) -> None:
        if full:
            raise OSError(28, "No space left on device", str(full.pop()))
        save(queue, job)

    monkeypatch.setattr(Queue, "save", sometimes)
    monkeypatch.setattr(local_supervisor, "_IDLE", 0.0)
    monkeypatch.setattr(local_supervisor, "_RETRY", 0.0)
    supervisor.run()
    assert full == []
    assert (tmp_path / "1").read_text() == "ran\n"
    ended = Queue(supervisor.queue.root).load(1)
    assert ended is not None
    assert ended.ended[0].state == "done"


def test_a_process_that_ends_at_the_gate_fails_its_task(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_at_once(argv: list[str], **more: Any) -> Popen[bytes]:
        child = spawn(["false"], **more)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        return child

    monkeypatch.setattr(local_supervisor, "spawn", ends_at_once)
    monkeypatch.setattr(local_supervisor, "_IDLE", 0.0)
    make(supervisor, tmp_path)
    supervisor.run()
    ended = Queue(supervisor.queue.root).load(1)
    assert ended is not None
    assert (ended.ended[0].state, ended.ended[0].code) == ("failed", 1)


def test_a_damaged_file_harms_only_its_job(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(supervisor, tmp_path, "exit 0")
    monkeypatch.setattr(local_supervisor, "_IDLE", 0.0)
    for number, text in enumerate(("", "[]", "{}", '{"id": 4'), start=2):
        (supervisor.queue.active / f"{number}.json").write_text(text)
    supervisor.run()
    ended = Queue(supervisor.queue.root).load(1)
    assert ended is not None
    assert ended.over
    assert ended.ended[0].state == "done"


def test_what_a_killed_client_left_is_removed(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_supervisor, "_IDLE", 0.0)
    queue = supervisor.queue
    left = [queue.environment(7), queue.active / ".7.json.12.abc", queue.root / ".7.environment.12.abc"]
    for file in left:
        file.write_text("secret")
    supervisor.run()
    assert [file for file in left if file.exists()] == []


def test_without_pidfds_processes_are_looked_at(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    supervisor.watch(os.getpid())
    assert supervisor.watched == {}


def test_one_supervisor(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with Path(supervisor.lock.name).open("a") as first, Path(supervisor.lock.name).open("a") as second:
        assert local_supervisor.only_one(first)
        assert not local_supervisor.only_one(second)
        fcntl.flock(first, fcntl.LOCK_UN)
        assert local_supervisor.only_one(second)


def test_what_serves_files_is_not_told_to_end_but_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {11: "app", 12: "squashfuse_ll", 13: "fuse-overlayfs", 14: ""}
    sent: list[tuple[int, int]] = []

    def send(pid: int, number: int) -> None:
        sent.append((pid, number))
        if pid == 11:
            raise ProcessLookupError

    monkeypatch.setattr(local_supervisor, "members", lambda *_: list(names))
    monkeypatch.setattr(local_supervisor, "_name", names.__getitem__)
    monkeypatch.setattr(os, "kill", send)
    assert local_supervisor.end_all(LOST, "", signal.SIGTERM)
    assert sent == [(11, signal.SIGTERM), (14, signal.SIGTERM)]
    sent.clear()
    assert local_supervisor.end_all(LOST, "", signal.SIGKILL)
    assert sent == [(pid, signal.SIGKILL) for pid in names]


def test_names_of_processes() -> None:
    assert local_supervisor._name(os.getpid()) == Path("/proc/self/comm").read_text().strip()
    assert local_supervisor._name(1 << 22) == ""
