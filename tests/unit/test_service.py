"""The use cases over a Slurm in memory: nothing lost, nothing twice, one command a poll."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import schedulers
from hpcjobs.errors import (
    NotFoundError,
    PlanError,
    RefusedError,
    StoreError,
    UnreachableError,
    UsageError,
    WaitTimeoutError,
)
from hpcjobs.model import JobSpec, Plan, SchedulerConfig, Script, Shape, Site
from hpcjobs.paths import JobFolder
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState
from hpcjobs.service import Failure, Prepared, Selected, Service, job_files, spec_from_json, spec_to_json
from hpcjobs.store import Store, submission_lock
from hpcjobs.testing import Clock, FakeSlurm
from hpcjobs.units import Duration, Memory

S = JobState


class Lab:
    """A service, its fake Slurm, and a way to submit without a site file."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = Clock()
        self.slurm = FakeSlurm(self.clock)
        self.service = self.another()
        self.count = 0

    def another(self) -> Service:
        """A second process."""
        return Service(
            runner=self.slurm, clock=self.clock, sleep=self.clock.sleep, store=Store(self.home / "jobs.sqlite3")
        )

    def prepared(self, array: str = "", *, accounting: bool = True, dependency: str = "") -> Prepared:
        self.count += 1
        folder = self.home / f"jobs/t{self.count}"
        error = folder / ("stderr.%a.log" if array else "stderr.log")
        plan = Plan(
            tag=f"tag{self.count}", name="solve", site="fake", scheduler="slurm", template="slurm", folder=str(folder),
            workdir="/tmp", output=str(error), error=str(error), shape=Shape(), launch=(("true",),), array=array,
            time=Duration(600), dependency=dependency,
        )  # fmt: skip
        scheduler = SchedulerConfig(kind="slurm", poll_interval=5, accounting=accounting)
        header = f"#SBATCH --array={array}\n" if array else ""
        return Prepared(
            JobSpec(command=("true",), array=array, workdir="/tmp"),
            Site(name="fake", scheduler=scheduler),
            plan,
            Script(f"#!/bin/bash\n{header}true\n", "slurm"),
        )

    def submit(self, array: str = "", *, accounting: bool = True) -> JobRecord:
        return self.service._send(self.prepared(array, accounting=accounting))

    def write_exit(self, record: JobRecord, code: int = 0, index: int | None = None, signal: str = "") -> None:
        text = f"code={code}\nsignal={signal}\nstart={self.clock() - 9}\nend={self.clock()}\nhost=n1\nid={record.native_id or 1}\n"
        JobFolder(Path(record.folder)).exit_file(index).write_text(text)

    def status(self, record: JobRecord) -> JobRecord:
        """As known after the poll interval."""
        self.clock.sleep(10)
        (found,) = self.service.refresh([self.service.store.get(record.id)]).records
        return found


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


# ----------------------------------------------------------------------------------------- submission


def test_a_submission_is_one_command(lab: Lab) -> None:
    record = lab.submit()
    assert (record.label, record.native_id, record.state) == ("j1", "1", S.PENDING)
    assert [call[:3] for call in lab.slurm.calls] == [("sbatch", "--parsable", "--comment=hpcjob:tag1")]


def test_a_refusal_leaves_nothing_behind(lab: Lab) -> None:
    lab.slurm.refuse = "Invalid account or account/partition combination specified"
    with pytest.raises(RefusedError, match="Invalid account") as caught:
        lab.submit()
    assert "-A" in caught.value.hint
    assert lab.service.history() == []
    assert list((lab.home / "jobs").iterdir()) == []


def test_a_dead_controller_leaves_nothing_behind(lab: Lab) -> None:
    lab.slurm.down = True
    with pytest.raises(UnreachableError, match="Unable to contact"):
        lab.submit()
    assert lab.service.history() == []


@pytest.mark.parametrize("hang", ["before", "after"])
def test_a_hanging_submission_is_looked_for_and_never_sent_twice(lab: Lab, hang: str) -> None:
    lab.slurm.hang = hang
    with pytest.raises(UnreachableError, match="whether j1 was accepted is not known yet") as caught:
        lab.submit()
    assert "do not submit it again" in caught.value.hint
    (record,) = lab.service.history()
    assert record.state is S.CREATED
    lab.slurm.hang = ""
    found = lab.another().refresh([record]).records[0]
    assert (found.state, found.native_id) == ((S.PENDING, "1") if hang == "after" else (S.CREATED, ""))
    lab.clock.sleep(60)
    found = lab.another().refresh([record]).records[0]
    assert found.state is (S.PENDING if hang == "after" else S.FAILED)
    assert len(lab.slurm.jobs) == (1 if hang == "after" else 0)
    if hang == "before":
        failure = lab.service.failure(found)
        assert failure is not None
        assert failure.words == "it never reached the scheduler: its submission was interrupted"


def test_a_job_that_ended_before_it_was_found_is_known_by_its_exit_file(lab: Lab) -> None:
    lab.slurm.hang = "after"
    with pytest.raises(UnreachableError):
        lab.submit()
    (record,) = lab.service.history()
    lab.write_exit(record)
    lab.slurm.jobs.clear()
    lab.clock.sleep(60)
    found = lab.status(record)
    assert (found.native_id, found.state) == ("1", S.DONE)


def test_a_submission_under_way_is_left_alone(lab: Lab) -> None:
    record = lab.service.store.reserve(_draft(lab), job_files(lab.prepared()))
    lab.clock.sleep(1000)
    with submission_lock(record):
        assert lab.another().reconcile() == []
    (healed,) = lab.another().reconcile()
    assert healed.state is S.FAILED


def _draft(lab: Lab) -> JobRecord:
    from hpcjobs.service import draft_record

    return draft_record(lab.prepared(), lab.clock())


def test_a_young_reservation_is_given_time(lab: Lab) -> None:
    lab.service.store.reserve(_draft(lab), {})
    lab.clock.sleep(10)
    assert lab.another().reconcile() == []
    assert [record.state for record in lab.service.history()] == [S.CREATED]


@pytest.mark.parametrize("banner", ["Welcome\n", "you have 3 jobs\n99 luftballons\n"])
def test_banners_are_no_ids(lab: Lab, banner: str) -> None:
    lab.slurm.banner = banner
    assert lab.submit().native_id == "1"


# ------------------------------------------------------------------------------------------- tracking


def test_a_life(lab: Lab) -> None:
    record = lab.submit()
    assert lab.status(record).state is S.PENDING
    lab.slurm.start("1")
    assert lab.status(record).state is S.RUNNING
    lab.write_exit(record)
    lab.slurm.finish("1")
    done = lab.status(record)
    assert (done.state, done.exit_code, done.node_list) == (S.DONE, 0, "n1")


def test_a_thousand_jobs_are_one_command(lab: Lab) -> None:
    for _ in range(200):
        lab.submit()
    lab.slurm.calls.clear()
    lab.clock.sleep(10)
    lab.service.refresh(lab.service.active())
    assert [call[0] for call in lab.slurm.calls] == ["squeue"]


def test_an_array_of_ten_thousand_is_one_row_and_one_command(lab: Lab) -> None:
    record = lab.submit("0-9999")
    assert len(lab.service.history()) == 1
    lab.slurm.calls.clear()
    assert lab.status(record).tasks is not None
    assert [call[0] for call in lab.slurm.calls] == ["squeue"]


def test_ten_terminals_ask_once(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.calls.clear()
    lab.clock.sleep(10)
    for _ in range(10):
        lab.another().refresh([record])
        lab.clock.sleep(0.1)
    assert lab.slurm.count("squeue") == 1


def test_a_clean_end_is_seen_within_the_poll_interval(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.start("1")
    running = lab.status(record)
    lab.write_exit(record)
    assert lab.service.refresh([running]).records[0].state is S.DONE


def test_silence_is_not_failure(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.start("1")
    assert lab.status(record).state is S.RUNNING
    lab.slurm.down = True
    lab.clock.sleep(10)
    answer = lab.service.refresh([record])
    assert [type(error) for error in answer.errors] == [UnreachableError]
    assert lab.service.store.get(1).state is S.RUNNING
    lab.slurm.down = False
    assert lab.service.refresh([record]).errors == [], "the next command asks at once"


def test_gone_is_not_done(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.start("1")
    lab.status(record)
    seen = lab.service.store.get(1).seen
    lab.slurm.jobs.clear()
    lost = lab.status(record)
    assert (lost.state, lost.seen) == (S.UNKNOWN, seen)
    lab.write_exit(record)
    assert lab.status(record).state is S.DONE


def test_accounting_is_asked_once_for_all_that_left_without_a_word(lab: Lab) -> None:
    records = [lab.submit() for _ in range(20)]
    for record in records:
        lab.slurm.finish(record.native_id, "NODE_FAIL")
    lab.slurm.purge()
    lab.slurm.calls.clear()
    lab.clock.sleep(10)
    states = {record.state for record in lab.service.refresh(records).records}
    assert states == {S.NODE_FAIL}
    assert [call[0] for call in lab.slurm.calls] == ["squeue", "sacct"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [("OUT_OF_MEMORY", S.OOM), ("TIMEOUT", S.TIMEOUT), ("FAILED", S.FAILED), ("CANCELLED", S.CANCELLED)],
)
def test_the_scheduler_knows_why_the_job_knows_its_code(lab: Lab, state: str, expected: JobState) -> None:
    for purged in (False, True):
        record = lab.submit()
        lab.slurm.start(record.native_id)
        lab.write_exit(record, code=143, signal="15")
        lab.slurm.finish(record.native_id, state)
        if purged:
            lab.slurm.purge()
        ended = lab.status(record)
        assert (ended.state, ended.exit_code, ended.signal) == (expected, 143, 15)


def test_without_accounting_the_exit_file_says_it_all(lab: Lab) -> None:
    good, bad, late, cancelled = (lab.submit(accounting=False) for _ in range(4))
    lab.write_exit(good)
    lab.write_exit(bad, code=3)
    JobFolder(Path(late.folder)).exit_file().write_text("code=143\nsignal=15\nstart=1000\nend=1601\n")
    lab.write_exit(cancelled, code=143, signal="15")
    lab.service.store.mark_cancelled({cancelled.id: ()}, 1.0)
    for record in (good, bad, late, cancelled):
        lab.slurm.finish(record.native_id)
    lab.slurm.purge()
    lab.clock.sleep(10)
    records = lab.service.refresh(lab.service.active()).records
    assert [record.state for record in records] == [S.DONE, S.FAILED, S.TIMEOUT, S.CANCELLED]
    assert lab.slurm.count("sacct") == 0


def test_a_dead_accounting_changes_nothing_and_is_said(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.finish("1", "FAILED", code="1:0")
    lab.slurm.purge()
    lab.slurm.accounting_down = True
    lab.clock.sleep(10)
    answer = lab.service.refresh([record])
    assert answer.records[0].state is S.PENDING
    assert len(answer.errors) == 1
    lab.slurm.accounting_down = False
    assert lab.status(record).state is S.FAILED


def test_a_requeue_is_followed(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.start("1")
    lab.status(record)
    lab.slurm.requeue("1")
    again = lab.status(record)
    assert (again.state, again.restarts, again.started) == (S.PENDING, 1, 0.0)


def test_an_array(lab: Lab) -> None:
    record = lab.submit("0-3")
    lab.slurm.start("1", 0)
    running = lab.status(record)
    assert running.tasks is not None
    assert running.tasks.states == {"pending": "1-3", "running": "0"}
    for index, state in enumerate(("COMPLETED", "FAILED", "OUT_OF_MEMORY", "COMPLETED")):
        lab.slurm.finish("1", state, index=index)
        lab.write_exit(record, code=0 if state == "COMPLETED" else 7, index=index)
    ended = lab.status(record)
    assert ended.tasks is not None
    assert (ended.state, ended.tasks.states) == (S.OOM, {"done": "0,3", "failed": "1", "oom": "2"})
    assert ended.tasks.codes == {"1": 7, "2": 7}


def test_an_array_that_was_forgotten(lab: Lab) -> None:
    record = lab.submit("0-3")
    lab.write_exit(record, index=0)
    for index, state in enumerate(("COMPLETED", "TIMEOUT", "COMPLETED")):
        lab.slurm.finish("1", state, index=index)
    lab.slurm.purge()
    lab.slurm.jobs.pop()
    found = lab.status(record)
    assert found.tasks is not None
    assert found.tasks.states == {"done": "0,2", "timeout": "1", "unknown": "3"}


def test_wait(lab: Lab) -> None:
    record = lab.submit()
    seen: list[JobState] = []

    def tick() -> None:
        if lab.service.store.get(1).state is S.RUNNING:
            lab.write_exit(record)
            lab.slurm.finish("1")
        else:
            lab.slurm.start("1")

    (ended,) = lab.service.wait([record], on_change=lambda r: seen.append(r.state), on_tick=tick)
    assert ended.state is S.DONE
    assert seen == [S.RUNNING, S.DONE]


def test_wait_has_an_end(lab: Lab) -> None:
    record = lab.submit()
    with pytest.raises(WaitTimeoutError, match="j1 has not ended after 60 s"):
        lab.service.wait([record], timeout=60)
    lab.slurm.jobs.clear()
    (lost,) = lab.service.wait([record])
    assert lost.state is S.UNKNOWN


# -------------------------------------------------------------------------------------------- control


def test_cancel(lab: Lab) -> None:
    records = [lab.submit() for _ in range(3)]
    lab.slurm.finish("3")
    records[2] = lab.status(records[2])
    lab.slurm.calls.clear()
    outcomes = lab.service.cancel([Selected(record) for record in records])
    assert [outcome.problem for outcome in outcomes] == ["", "", "it has ended (done)"]
    assert [call[0] for call in lab.slurm.calls] == ["scancel"]
    assert [r.state for r in lab.service.refresh(records).records] == [S.CANCELLED, S.CANCELLED, S.DONE]


def test_cancel_while_the_controller_is_down(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.down = True
    with pytest.raises(UnreachableError):
        lab.service.cancel([Selected(record)])
    assert lab.service.store.get(1).state is S.PENDING
    lab.slurm.down = False
    assert [outcome.problem for outcome in lab.service.cancel([Selected(record)])] == [""]


def test_cancel_of_tasks(lab: Lab) -> None:
    lab.submit("0-9")
    lab.service.cancel(lab.service.select(["j1[3-5]"]))
    found = lab.status(lab.service.store.get(1))
    assert found.tasks is not None
    assert found.tasks.states == {"cancelled": "3-5", "pending": "0-2,6-9"}


def test_hold_and_release(lab: Lab) -> None:
    record = lab.submit()
    assert [outcome.problem for outcome in lab.service.hold([Selected(record)])] == [""]
    assert lab.status(record).state is S.HELD
    lab.service.release([Selected(record)])
    assert lab.status(record).state is S.PENDING


def test_control_of_a_job_that_is_not_confirmed(lab: Lab) -> None:
    lab.slurm.hang = "before"
    with pytest.raises(UnreachableError):
        lab.submit()
    lab.slurm.hang = ""
    (outcome,) = lab.service.cancel(lab.service.select(["j1"]))
    assert "not known yet" in outcome.problem


# ------------------------------------------------------------------------------------------ selection


@pytest.mark.parametrize(
    ("selectors", "labels"),
    [
        (["j2"], ["j2"]),
        (["j1-j2"], ["j1", "j2"]),
        (["j1-3"], ["j1", "j2", "j3"]),
        (["2"], ["j2"]),
        (["last"], ["j4"]),
        (["all"], ["j1", "j2", "j3", "j4"]),
        (["active"], ["j1", "j3", "j4"]),
        (["failed"], ["j2"]),
        (["j3", "j1", "j3"], ["j3", "j1"]),
    ],
)
def test_selectors(lab: Lab, selectors: list[str], labels: list[str]) -> None:
    for _ in range(4):
        lab.submit()
    lab.slurm.finish("2", "FAILED")
    lab.status(lab.service.store.get(2))
    assert [chosen.record.label for chosen in lab.service.select(selectors)] == labels


def test_task_selectors(lab: Lab) -> None:
    lab.submit("0-9")
    lab.slurm.finish("1", "FAILED", index=4)
    lab.clock.sleep(10)
    assert [c.indices for c in lab.service.select(["j1[3-5]"])] == [(3, 4, 5)]
    for native in ("1_7", "1[7]", "1[7].server-2.example.org"):
        assert [c.indices for c in lab.service.select([native])] == [(7,)]
    for native in ("1", "1[]", "1[].server", "1.server"):
        assert [(c.record.label, c.indices) for c in lab.service.select([native])] == [("j1", ())]
    assert [c.indices for c in lab.service.select(["j1[failed]"])] == [(4,)]


@pytest.mark.parametrize(
    ("selector", "error"),
    [
        ("nonsense", UsageError), ("j99", NotFoundError), ("4711", NotFoundError), ("failed", NotFoundError),
        ("j1[2]", UsageError), ("j2[77]", NotFoundError), ("j2[x]", UsageError), ("j2[failed]", NotFoundError),
    ],
)  # fmt: skip
def test_bad_selectors(lab: Lab, selector: str, error: type[Exception]) -> None:
    lab.submit()
    lab.submit("0-9")
    with pytest.raises(error):
        lab.service.select([selector])


# --------------------------------------------------------------------------------------- dependencies


def test_dependencies_are_translated_and_satisfied_ones_dropped(lab: Lab) -> None:
    records = [lab.submit() for _ in range(3)]
    lab.slurm.finish("1")
    lab.status(records[0])
    scheduler = schedulers.get("slurm", {}, lab.slurm)
    assert lab.service._dependency("afterok:j1:j2:3,singleton", scheduler) == "afterok:2:3,singleton"
    assert not lab.service._dependency("afterany:j1", scheduler)
    assert not lab.service._dependency("", scheduler)
    for text in ("afterok", "singleton:j1", "whenever:j1"):
        with pytest.raises(UsageError, match="is not a dependency"):
            lab.service._dependency(text, scheduler)
    lab.slurm.finish("2", "FAILED")
    lab.status(records[1])
    with pytest.raises(PlanError, match="would wait for ever"):
        lab.service._dependency("afterok:j2", scheduler)


def test_a_parent_that_its_scheduler_forgot_is_no_parent(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.jobs.clear()
    lab.clock.sleep(60)
    assert lab.status(record).state is S.UNKNOWN
    with pytest.raises(PlanError, match="afterany:j1: whether j1 has ended") as caught:
        lab.service._dependency("afterany:j1", schedulers.get("slurm", {}, lab.slurm))
    assert caught.value.hint == "leave out -d if it ended as you need it: hpcjob show j1"


# ------------------------------------------------------------------------------------------ answering


def test_why_it_failed(lab: Lab) -> None:
    record = lab.submit()
    Path(record.error).write_text("one\ntwo\nthree\n")
    lab.write_exit(record, code=127)
    lab.slurm.finish("1", "FAILED", code="127:0")
    failure = lab.service.failure(lab.status(record), lines=2)
    assert failure is not None
    assert failure.words == "exit code 127: the program, or a library of it, was not found"
    assert (failure.tail, failure.file) == (("two", "three"), record.error)


def failed(lab: Lab, code: int, error: str, output: str = "", log: str = "") -> Failure:
    record = lab.submit()
    written = f"{record.folder}/stdout.log"
    for path, text in ((record.error, error), (written, output), (f"{record.folder}/service-db.log", log)):
        Path(path).write_text(text)
    lab.write_exit(record, code=code)
    lab.slurm.finish("1", "FAILED", code=f"{code}:0")
    found = lab.service.failure(replace(lab.status(record), output=written))
    assert found
    return found


def test_a_script_that_ended_before_the_program_began(lab: Lab) -> None:
    failure = failed(lab, 66, "hpcjob: there is no image /i/app.sif on node n1\n", "from a module\n")
    assert failure.words == "it ended before the program began: there is no image /i/app.sif on node n1"
    assert failure.advice == "keep it on a file system that the nodes see"
    assert failure.tail == ("hpcjob: there is no image /i/app.sif on node n1",)


def test_the_log_of_a_service_that_did_not_start_is_shown(lab: Lab) -> None:
    told = "service db did not start on node n1"
    failure = failed(lab, 69, f"hpcjob: {told}\n", log="cannot listen\n")
    assert (failure.words, failure.advice) == (
        f"it ended before the program began: {told}",
        "the lines above tell more",
    )
    assert failure.tail == (f"hpcjob: {told}", "cannot listen")
    assert failure.file.endswith("/service-db.log")


def test_the_log_of_a_task_s_service(lab: Lab) -> None:
    record = lab.submit("0-2")
    Path(record.folder, "stderr.1.log").write_text("hpcjob: service db did not start on node n1\n")
    Path(record.folder, "service-db.1.log").write_text("cannot listen\n")
    for index, code in ((0, 0), (1, 69), (2, 137)):
        lab.write_exit(record, code=code, index=index)
        lab.slurm.finish("1", "FAILED" if code else "COMPLETED", index=index, code=f"{code}:0")
    failure = lab.service.failure(lab.status(record))
    assert failure
    assert failure.tail[-1] == "cannot listen"
    assert failure.file == f"{record.folder}/service-db.1.log"


def test_what_a_program_says_on_its_output_is_looked_at_too(lab: Lab) -> None:
    symptom = "touch: /x: Read-only file system\n"
    assert "--writable" in failed(lab, 1, "", symptom).advice


def test_output_is_looked_at_if_the_errors_tell_nothing(lab: Lab) -> None:
    failure = failed(lab, 1, "it went wrong\n", "touch: /x: Read-only file system\n")
    assert "--writable" in failure.advice
    assert failure.tail == ("it went wrong",)


@pytest.mark.parametrize(
    ("state", "code", "signal", "words"),
    [
        ("FAILED", 137, "9", "the program was ended by signal 9 (SIGKILL)"),
        ("FAILED", 139, "", "the program was ended by signal 11 (SIGSEGV)"),
        ("FAILED", 3, "", "the program returned exit code 3"),
        ("FAILED", 126, "", "exit code 126: the program is not executable"),
        ("TIMEOUT", 143, "15", "it was ended when its walltime was over (00:10:00)"),
        ("OUT_OF_MEMORY", 1, "", "it was killed for using more memory than it asked for"),
        ("NODE_FAIL", None, "", "a node failed under it (n1)"),
        ("CANCELLED", None, "", "it was cancelled by the scheduler (CANCELLED)"),
        ("FAILED", None, "", "it failed, and its exit code is not known"),
    ],
)
def test_ends_in_words(lab: Lab, state: str, code: int | None, signal: str, words: str) -> None:
    record = lab.submit()
    if code is not None:
        lab.write_exit(record, code=code, signal=signal)
    lab.slurm.start("1")
    lab.slurm.finish("1", state)
    failure = lab.service.failure(lab.status(record))
    assert failure is not None
    assert failure.words == words


def test_why_an_array_failed(lab: Lab) -> None:
    record = lab.submit("0-3")
    for index in range(4):
        lab.slurm.finish("1", "FAILED" if index == 2 else "COMPLETED", index=index)
    Path(record.folder, "stderr.2.log").write_text("boom\n")
    failure = lab.service.failure(lab.status(record))
    assert failure is not None
    assert (failure.words, failure.tail) == ("of its 4 tasks, 1 failed", ("boom",))
    assert failure.advice == "hpcjob resubmit 'j1[failed]' runs those again"
    with pytest.raises(UsageError, match="j1 is an array"):
        lab.service.log_file(record, "output")


def test_no_failure_while_it_runs_or_when_it_is_done(lab: Lab) -> None:
    record = lab.submit()
    assert lab.service.failure(record) is None
    lab.slurm.finish("1")
    assert lab.service.failure(lab.status(record)) is None


def test_explain(lab: Lab) -> None:
    record = lab.submit()
    assert lab.service.explain(record).words == "other jobs are before it in the queue"
    lab.slurm.finish("1")
    assert lab.service.explain(record).words == "it ended well"


def test_requests_survive_their_file() -> None:
    spec = JobSpec(
        command=("a", "b c\n\udcff"), nodes=2, mem=Memory.parse("4G"), time=Duration.parse("1h"), env={"A": "b"},
        bind=("/a",), requeue=False,
    )  # fmt: skip
    import json

    back = spec_from_json(json.loads(json.dumps(spec_to_json(spec))))
    assert back == spec
    assert (str(back.mem), str(back.time)) == ("4G", "01:00:00")


def test_a_folder_that_was_removed_under_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(PlanError, match="the current folder is gone"):
        Service().prepare(JobSpec(command=("true",)), site="local")


# ----------------------------------------------------------------- a database that cannot be written


def seal(lab: Lab) -> None:
    """Nothing can be written any more, as on a full disk."""
    lab.service.store._db.execute("PRAGMA query_only = ON")


def test_news_that_cannot_be_stored_are_shown_with_the_reason(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.start(record.native_id)
    seal(lab)
    fresh = lab.service.refresh([record], force=True)
    assert [found.state for found in fresh.records] == [S.RUNNING]
    assert [type(error) for error in fresh.errors] == [StoreError]
    assert lab.another().store.get(record.id).state is S.PENDING
    assert lab.another().refresh([record], force=True).records[0].state is S.RUNNING


def test_a_cancel_that_cannot_be_stored_is_done_and_says_so(lab: Lab) -> None:
    record = lab.submit()
    seal(lab)
    with pytest.raises(StoreError, match="cancelled j1, which could not be recorded"):
        lab.service.cancel([Selected(record)])
    assert lab.another().refresh([record], force=True).records[0].state is S.CANCELLED


def test_a_refusal_is_told_even_if_the_reservation_cannot_be_dropped(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = lab.service.store.reserve

    def fill_up(*args: Any) -> JobRecord:
        record = reserve(*args)
        seal(lab)
        return record

    monkeypatch.setattr(lab.service.store, "reserve", fill_up)
    lab.slurm.refuse = "Invalid account"
    with pytest.raises(RefusedError, match="Invalid account"):
        lab.submit()
    assert lab.another().history()[0].state is S.CREATED
    lab.clock.sleep(60)
    lab.another().reconcile()
    assert lab.another().history()[0].raw == "NOT_SUBMITTED"


# ------------------------------------------------------------------------ the past of other jobs


def test_an_open_reservation_keeps_no_new_job_from_being_sent(lab: Lab) -> None:
    """The accounting, which would tell whether the old one ever arrived, is down."""
    lab.service.store.reserve(_draft(lab), {})
    lab.clock.sleep(300)
    lab.slurm.accounting_down = True
    record = lab.service.submit(JobSpec(command=("true",), runtime="none", ntasks=1), site="slurm")
    assert record.native_id
    assert lab.service.history()[-1].state is S.CREATED


def test_a_job_cancelled_before_it_ran_is_cancelled_also_without_accounting(lab: Lab) -> None:
    record = lab.submit(accounting=False)
    lab.service.cancel([Selected(record)])
    lab.slurm.purge()
    # Asked with the record of before the cancellation, as programs do.
    assert lab.service.refresh([record], force=True).records[0].state is S.CANCELLED


def test_an_sbatch_that_was_killed_may_have_sent_the_job(lab: Lab) -> None:
    def killed(argv: Any, **options: Any) -> Completed:
        answer = lab.slurm(argv, **options)
        return replace(answer, code=-9, out="", err="") if argv[0] == "sbatch" else answer

    service = Service(runner=killed, clock=lab.clock, sleep=lab.clock.sleep, store=lab.service.store)
    with pytest.raises(UnreachableError, match="without a word; whether j1 was accepted is not known yet"):
        service._send(lab.prepared())
    assert [record.state for record in lab.another().history()] == [S.CREATED]
    (found,) = lab.another().reconcile()
    assert found.native_id == "1"


def test_selectors_of_one_array_add_up(lab: Lab) -> None:
    record = lab.submit("0-9")
    assert [chosen.indices for chosen in lab.service.select(["j1[0]", "j1[4-5]", "j1[0]"])] == [(0, 4, 5)]
    assert lab.service.select(["j1[0]", "j1"]) == lab.service.select(["j1", "j1[0]"]) == [Selected(record)]


def test_the_exit_file_of_another_job_is_not_this_ones(lab: Lab) -> None:
    """Somebody sent the script again by hand, and that job ended first."""
    record = lab.submit()
    lab.slurm.start("1")
    lab.status(record)
    lab.write_exit(replace(record, native_id="77"))
    assert lab.another().refresh([record]).records[0].state is S.RUNNING
    lab.slurm.finish("1", "FAILED", code="3:0")
    found = lab.status(record)
    assert (found.state, found.exit_code) == (S.FAILED, 3)


def test_tasks_that_left_the_queue_ended_as_the_accounting_says(lab: Lab) -> None:
    record = lab.submit("0-2")
    for index, state in enumerate(("TIMEOUT", "FAILED", "COMPLETED")):
        lab.slurm.finish("1", state, index=index)
        lab.write_exit(record, (143, 3, 0)[index], index)
    lab.slurm.purge()
    found = lab.status(record)
    assert found.tasks is not None
    assert found.tasks.states == {"timeout": "0", "failed": "1", "done": "2"}
    assert found.tasks.codes == {"0": 143, "1": 3}
    asked = lab.slurm.count("sacct")
    lab.status(record)
    assert lab.slurm.count("sacct") == asked


def test_an_array_may_wait_again_after_a_task_of_it_ran(lab: Lab) -> None:
    record = lab.submit("0-1")
    lab.slurm.start("1", 0)
    assert lab.status(record).state is S.RUNNING
    lab.write_exit(record, index=0)
    lab.slurm.finish("1", index=0)
    found = lab.status(record)
    assert found.tasks is not None
    assert (found.state, found.tasks.states) == (S.PENDING, {"done": "0", "pending": "1"})
    assert found.seen == lab.clock()


def test_one_poll_serves_all_who_wait(lab: Lab) -> None:
    first, second = lab.submit(), lab.submit()
    lab.slurm.finish("1", "FAILED", code="1:0")
    lab.slurm.finish("2", "FAILED", code="2:0")
    lab.clock.sleep(10)
    assert lab.service.refresh([first]).records[0].state is S.FAILED
    polls = lab.slurm.count("squeue")
    assert lab.another().refresh([second]).records[0].state is S.FAILED
    assert lab.slurm.count("squeue") == polls


def test_a_dead_accounting_does_not_silence_the_queue(lab: Lab) -> None:
    gone, there = lab.submit(), lab.submit()
    lab.slurm.finish("1", "FAILED")
    lab.slurm.purge()
    lab.slurm.start("2")
    lab.slurm.accounting_down = True
    lab.clock.sleep(10)
    fresh = lab.service.refresh([gone, there])
    assert [record.state for record in fresh.records] == [S.PENDING, S.RUNNING]
    assert "sacct" in str(fresh.errors[0])


def test_a_job_that_failed_without_an_exit_file_has_the_code_of_the_accounting(lab: Lab) -> None:
    record = lab.submit()
    lab.slurm.finish("1", "FAILED", code="0:9")
    found = lab.status(record)
    assert (found.state, found.signal) == (S.FAILED, 9)


def test_a_job_that_arrived_after_it_was_given_up_is_taken_back(lab: Lab) -> None:
    """The controller hung, and took up the request when it woke."""
    lab.slurm.hang = "before"
    with pytest.raises(UnreachableError):
        lab.submit()
    lab.clock.sleep(60)
    (given_up,) = lab.service.reconcile()
    assert given_up.raw == "NOT_SUBMITTED"
    lab.slurm.hang = ""
    script = str(JobFolder(Path(given_up.folder)).script)
    lab.slurm(["sbatch", "--parsable", f"--comment=hpcjob:{given_up.tag}", script], timeout=60)
    (found,) = lab.service.reconcile()
    assert (found.state, found.native_id) == (S.PENDING, "1")
    lab.slurm.finish("1")
    lab.write_exit(found)
    assert lab.status(found).state is S.DONE


def test_a_refusal_tells_what_was_sent_again_before_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [Selected(lab.submit()), Selected(lab.submit())]
    monkeypatch.setattr(lab.service, "prepare", lambda *_args, **_options: lab.prepared())
    send = lab.service._send

    def once(prepared: Prepared) -> JobRecord:
        record = send(prepared)
        lab.slurm.refuse = "Invalid account"
        return record

    monkeypatch.setattr(lab.service, "_send", once)
    with pytest.raises(RefusedError) as caught:
        lab.service.resubmit(chosen)
    assert caught.value.message.startswith("j2: Slurm refused the job: ")
    assert caught.value.message.endswith("Invalid account (sent before it: j3)")
