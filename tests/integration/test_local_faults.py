"""The local scheduler under kill -9, a reboot, a crowd, and programs that will not end."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hpcjobs.errors import UnreachableError
from hpcjobs.model import JobSpec
from hpcjobs.record import JobRecord, JobState, Tasks
from hpcjobs.schedulers.local_queue import Job, Queue
from hpcjobs.schedulers.local_supervisor import carriers, process
from hpcjobs.service import Selected, Service
from hpcjobs.store import Store
from tests.integration.conftest import Cli

S = JobState


def supervisors(home: Path) -> list[int]:
    """Process ids of the supervisors of this test's queue.

    A task that was forked and has not yet called exec still has its parent's command line: it is left out.
    """
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        mine = any(word.startswith(str(home)) for word in words)
        if mine and "hpcjobs.schedulers.local_supervisor" in words and "setsid" not in words[0]:
            found[int(folder.name)] = parent
    return [pid for pid, parent in found.items() if parent not in found]


def kill(pid: int) -> bool:
    """Kill -9; whether there was something to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def lives(pid: int) -> bool:
    found = process(pid)
    return found is not None and found.alive


def holds(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Fail unless the condition comes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def service(home: Path) -> Iterator[Service]:
    service = Service()
    yield service
    service.cancel([Selected(record) for record in service.active()])
    for pid in supervisors(home):
        kill(pid)
    service.store.close()


def submit(service: Service, *command: str, **more: object) -> JobRecord:
    spec = JobSpec(command=command, runtime="none", ntasks=1, **more)  # type: ignore[arg-type]
    return service.submit(spec, site="local")


def queue(home: Path) -> Queue:
    return Queue(home / "home/local" / os.uname().nodename)


def state(service: Service, record: JobRecord) -> JobState:
    return service.refresh([record], force=True).records[0].state


def test_walltime(service: Service) -> None:
    record = submit(service, "sleep", "300", time=1)
    (record,) = service.wait([record], timeout=60)
    assert (record.state, record.signal) == (S.TIMEOUT, 15)
    failure = service.failure(record)
    assert failure is not None
    assert failure.words == "it was ended when its walltime was over (00:00:01)"


def test_cancel_ends_the_whole_tree_even_what_ignores_it_and_what_ran_away(service: Service, home: Path) -> None:
    script = "trap '' TERM; setsid sh -c \"trap '' TERM; sleep 301\" & sleep 302"
    record = submit(service, "bash", "-c", script)
    marker = f"{record.tag}.0.0"
    holds(lambda: len(list(carriers(marker))) >= 4)
    service.cancel([Selected(record)])
    (record,) = service.wait([record], timeout=60)
    assert record.state is S.CANCELLED
    assert list(carriers(marker)) == []


def test_what_a_job_leaves_in_the_background_ends_with_it(service: Service) -> None:
    record = submit(service, "bash", "-c", "setsid sleep 300 & exit 0")
    assert service.wait([record], timeout=60)[0].state is S.DONE
    holds(lambda: not list(carriers(f"{record.tag}.0.0")))


def test_the_supervisor_may_be_killed_at_any_time(service: Service, home: Path) -> None:
    """Sixty tasks that note that they ran, and a supervisor that is killed again and again meanwhile."""
    noted = home / "noted"
    noted.mkdir()
    script = f'mkdir "{noted}/$HPCJOB_ARRAY_INDEX" || exit 99; sleep 0.1'
    record = submit(service, "bash", "-c", script, array="0-59")
    kills = 0
    while not state(service, record).final:
        time.sleep(random.uniform(0, 0.4))  # noqa: S311 - chance, not secrecy
        for pid in supervisors(home):
            kills += kill(pid)
    record = service.refresh([record], force=True).records[0]
    assert kills > 5
    assert len(list(noted.iterdir())) == 60, "a task was lost"
    assert record.tasks is not None
    assert record.tasks == Tasks({"done": "0-59"}), "a task ran twice (99), or its end was lost"


def test_jobs_outlive_the_supervisor_and_are_taken_over(service: Service, home: Path) -> None:
    record = submit(service, "bash", "-c", "until [ -e go ]; do sleep 0.05; done; exit 4")
    holds(lambda: state(service, record) is S.RUNNING)
    for pid in supervisors(home):
        kill(pid)
    holds(lambda: not supervisors(home))
    assert state(service, record) is S.RUNNING
    holds(lambda: bool(supervisors(home)))
    (home / "go").touch()
    (ended,) = service.wait([record], timeout=60)
    assert (ended.state, ended.exit_code) == (S.FAILED, 4)


@pytest.mark.parametrize(("requeue", "end"), [(False, S.NODE_FAIL), (True, S.DONE)])
def test_a_reboot(service: Service, home: Path, requeue: bool, end: JobState) -> None:
    script = "[ -e second ] && exit 0; touch second; sleep 300"
    record = submit(service, "bash", "-c", script, requeue=requeue)
    waiting = submit(service, "true", dependency=f"afterany:{record.label}")
    holds((home / "second").exists)
    for pid in [*supervisors(home), *carriers(f"{record.tag}.0.0")]:
        kill(pid)
    holds(lambda: not supervisors(home))
    found = queue(home)
    with found.lock():
        job = found.load(int(record.native_id))
        assert job is not None
        job.running[0].boot = "another boot"
        found.save(job)
    one, two = service.wait([record, waiting], timeout=60)
    assert (one.state, two.state) == (end, S.DONE)
    assert one.restarts == (1 if requeue else 0)


def test_fifty_submissions_at_once(service: Service, home: Path) -> None:
    def one(_: int) -> JobRecord:
        mine = Service(store=Store())
        try:
            return submit(mine, "true")
        finally:
            mine.store.close()

    with ThreadPoolExecutor(10) as pool:
        records = list(pool.map(one, range(50)))
    assert len({record.native_id for record in records}) == 50
    assert {record.state for record in service.wait(records, timeout=120)} == {S.DONE}
    holds(lambda: len(supervisors(home)) <= 1)


def test_the_supervisor_goes_when_there_is_nothing_to_do(service: Service, home: Path) -> None:
    service.wait([submit(service, "true")], timeout=60)
    holds(lambda: len(supervisors(home)) == 1)
    holds(lambda: not supervisors(home))
    assert service.wait([submit(service, "true")], timeout=60)[0].state is S.DONE


def test_cores_are_counted(service: Service, home: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    first = submit(service, "bash", "-c", "until [ -e go ]; do sleep 0.05; done", cpus_per_task=cores)
    second = submit(service, "true")
    holds(lambda: state(service, first) is S.RUNNING)
    assert service.explain(second).reason == "Resources"
    (home / "go").touch()
    assert {record.state for record in service.wait([first, second], timeout=60)} == {S.DONE}


def test_a_job_that_cannot_start_says_why(service: Service, home: Path) -> None:
    gone = home / "gone"
    gone.mkdir()
    record = submit(service, "true", workdir=str(gone), hold=True)
    gone.rmdir()
    service.release([Selected(record)])
    (record,) = service.wait([record], timeout=60)
    failure = service.failure(record)
    assert failure is not None
    assert failure.tail == (f"hpcjob: the job cannot start: No such file or directory: {gone}",)


def test_a_queue_that_cannot_be_written(service: Service, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Queue, job: Job) -> None:
        raise OSError(28, "No space left on device", str(self.root))

    monkeypatch.setattr(Queue, "save", full)
    with pytest.raises(UnreachableError, match="No space left on device"):
        submit(service, "true")
    assert service.history() == []


def test_no_secret_is_kept_after_the_end(service: Service, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET_TOKEN", "hunter2-secret")
    record = submit(service, "bash", "-c", '[ -n "$MY_SECRET_TOKEN" ]')
    assert service.wait([record], timeout=60)[0].state is S.DONE
    files = [file for file in (home / "home").rglob("*") if file.is_file()]
    assert [file for file in files if b"hunter2-secret" in file.read_bytes()] == []
    assert [file for file in files if file.stat().st_mode & 0o077 and file.parent.name != os.uname().nodename] == []


def test_through_the_command_line(cli: Cli, service: Service) -> None:
    done = cli("submit", "--site", "local", "--runtime", "none", "--wait", "--", "sh", "-c", "echo hi; exit 3", code=1)
    assert done.stdout == "j1\n"
    assert "the program returned exit code 3" in done.stderr
    assert cli("logs", "j1").stdout == "hi\n"
    assert cli("wait", "j1", code=1).stdout == ""


def test_a_job_may_start_the_supervisor_and_end_without_it(service: Service, home: Path) -> None:
    """The supervisor then carries the job's mark in its environment, and must not end itself with the job."""
    script = f"touch began; until [ -e go ]; do sleep 0.05; done; {sys.executable} -m hpcjobs explain j2"
    first = submit(service, "bash", "-c", script)
    second = submit(service, "true", dependency=f"afterany:{first.label}")
    holds((home / "began").exists)
    for pid in supervisors(home):
        os.kill(pid, signal.SIGKILL)
    holds(lambda: not supervisors(home))
    (home / "go").touch()
    holds((queue(home).over / f"{second.native_id}.json").exists)


def test_signals_reach_a_job_whatever_its_submitter_ignored(service: Service, home: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        record = submit(service, "bash", "-c", "kill -INT $$; kill -HUP $$; exit 0")
    finally:
        signal.signal(signal.SIGINT, before)
    (record,) = service.wait([record], timeout=60)
    assert (record.state, record.exit_code) == (S.FAILED, 128 + signal.SIGINT)


def test_each_job_has_the_umask_of_its_submission(service: Service, home: Path) -> None:
    records = []
    for mask in (0o077, 0o002):
        before = os.umask(mask)
        try:
            records.append(submit(service, "sh", "-c", f"umask >{mask}", output=f"{home}/out.{mask}"))
        finally:
            os.umask(before)
    service.wait(records, timeout=60)
    assert [(home / str(mask)).read_text() for mask in (0o077, 0o002)] == ["0077\n", "0002\n"]
    assert [(home / f"out.{mask}").stat().st_mode & 0o777 for mask in (0o077, 0o002)] == [0o600, 0o664]


def test_what_a_container_without_the_mark_leaves_behind_is_ended(service: Service, home: Path) -> None:
    """Containers clear the environment, and so the mark."""
    forever = "trap '' TERM; echo $$ >tmp.$0; mv tmp.$0 pid.$0; for _ in $(seq 900); do sleep 0.1; done"
    script = 'env -i sh -c "$1" same & env -i sh -c "$1" other & until [ -e pid.same ] && [ -e pid.other ]; do :; done'
    record = submit(service, "bash", "-c", script, "bash", forever)
    assert service.wait([record], timeout=60)[0].state is S.DONE
    pids = [int((home / f"pid.{name}").read_text()) for name in ("same", "other")]
    holds(lambda: not any(lives(pid) for pid in pids))


def test_cancel_ends_what_left_session_and_mark_behind(service: Service, home: Path) -> None:
    forever = "trap '' TERM; echo $$ >pid; for _ in $(seq 900); do sleep 0.1; done"
    record = submit(service, "bash", "-c", 'env -i setsid --wait sh -c "$1"', "bash", forever)
    holds(lambda: (home / "pid").exists() and (home / "pid").read_text().endswith("\n"))
    pid = int((home / "pid").read_text())
    service.cancel([Selected(record)])
    assert service.wait([record], timeout=60)[0].state is S.CANCELLED
    holds(lambda: not lives(pid))


def test_a_folder_that_is_gone_fails_the_job_once(service: Service, home: Path) -> None:
    record = submit(service, "true", hold=True, output=f"{home}/out")
    shutil.rmtree(record.folder)
    service.release([Selected(record)])
    (record,) = service.wait([record], timeout=60)
    assert record.state is S.FAILED
    assert "No such file or directory" in (home / "out").read_text()


def test_exclusive_leaves_no_room(service: Service, home: Path) -> None:
    first = submit(service, "bash", "-c", "until [ -e go ]; do sleep 0.05; done", exclusive=True)
    second = submit(service, "true")
    holds(lambda: state(service, first) is S.RUNNING)
    assert service.explain(second).reason == "Resources"
    (home / "go").touch()
    assert {record.state for record in service.wait([first, second], timeout=60)} == {S.DONE}
