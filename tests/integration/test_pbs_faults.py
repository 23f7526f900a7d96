"""Faults of PBS, over the fake one: nothing is lost, nothing is doubled, and what cannot be asked is not made up."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import process, schedulers
from hpcjobs.errors import PlanError, RefusedError, UnreachableError
from hpcjobs.model import JobSpec
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState
from hpcjobs.service import Selected, Service
from tests.fake_pbs.control import FakePbs
from tests.fake_pbs.server import parts
from tests.integration.conftest import Cli, FakePbsMaker
from tests.integration.crash import POINTS

S = JobState
CRASH = Path(__file__).with_name("crash.py")
SUBMIT = ("submit", "--site", "fake-pbs", "--runtime", "none", "-n", "1")
BOTH = pytest.mark.parametrize("dialect", ["openpbs", "torque"])


def submit(service: Service, *command: str, **more: object) -> JobRecord:
    spec = JobSpec(command=command, runtime="none", ntasks=1, **more)  # type: ignore[arg-type]
    return service.submit(spec, site="fake-pbs")


def later() -> Service:
    """A service whose clock is past the time that a reservation is given."""
    return Service(clock=lambda: time.time() + 60)


def now(service: Service, record: JobRecord) -> JobRecord:
    """What is known after asking once."""
    return service.refresh([record], force=True).records[0]


def ended(fake: FakePbs, record: JobRecord) -> JobRecord:
    return Service(sleep=fake.pause).wait([record], timeout=60)[0]


def tags_of(fake: FakePbs, records: list[JobRecord]) -> Counter[str]:
    """How many jobs PBS has for each of our tags."""
    arguments = [job["attr"]["Submit_arguments"] for job in fake.jobs()]
    return Counter(record.tag for record in records for text in arguments if record.tag in text)


# ------------------------------------------------------------------------------- the server is not there


@BOTH
def test_server_down(make_fake_pbs: FakePbsMaker, cli: Cli, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    cli(*SUBMIT, "--", "sleep", "300")
    fake.set(down="stopped")
    refused = cli(*SUBMIT, "--", "true", code=5)
    assert refused.stdout == ""
    assert {"openpbs": "error: qsub: Connection refused", "torque": "Unable to communicate with thead"}[
        dialect
    ] in refused.stderr
    assert "\nhint: the PBS server is down or busy: nothing was changed" in refused.stderr
    assert [record.label for record in Service().history()] == ["j1"], "what was certainly not sent leaves nothing"
    poll = cli("status", "j1", code=5)
    assert "j1" in poll.stdout, "what is known is shown all the same"
    assert "error: qstat: " in poll.stderr
    assert "error: qstat: " in cli("cancel", "j1", code=5).stderr
    assert not Service().store.get(1).state.final
    fake.set(down="")
    cli("cancel", "j1")
    assert ended(fake, Service().store.get(1)).state is S.CANCELLED


@BOTH
def test_server_hangs(make_fake_pbs: FakePbsMaker, cli: Cli, dialect: str) -> None:
    fake = make_fake_pbs(dialect, timeout=2)
    cli(*SUBMIT, "--", "sleep", "300")
    fake.set(hang=["qsub", "qstat"])
    lost = cli(*SUBMIT, "--", "true", code=5)
    assert "error: qsub did not answer within 2 s; whether j2 was accepted is not known yet" in lost.stderr
    assert "hint: do not submit it again: hpcjob status j2 finds out" in lost.stderr
    poll = cli("status", "j1", code=5)
    assert "qstat did not answer within 2 s" in poll.stderr
    fake.set(hang=[])
    service = later()
    first, second = service.refresh(service.history()[::-1], force=True).records
    assert (first.state, second.state, second.raw) == (S.RUNNING, S.FAILED, "NOT_SUBMITTED")
    assert tags_of(fake, [first, second]) == {first.tag: 1}


@BOTH
def test_server_restarted_while_jobs_run(make_fake_pbs: FakePbsMaker, home: Path, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    service = Service()
    first = submit(service, "bash", "-c", "until [ -e go ]; do sleep 0.05; done; exit 4")
    waiting = submit(service, "true", hold=True)
    first = now(service, first)
    fake.set(down="crashed")
    answer = service.refresh([first, waiting], force=True)
    assert [record.state for record in answer.records] == [S.RUNNING, S.PENDING]
    assert [type(error) for error in answer.errors] == [UnreachableError]
    (home / "go").touch()
    fake.wait("1")
    fake.set(down="", next=2000)  # after a crash the numbers jump
    first = ended(fake, first)
    assert (first.state, first.exit_code) == (S.FAILED, 4)
    assert submit(service, "true").native_id.startswith("2000.")
    assert now(service, waiting).state is S.HELD


def test_reserved_ports_used_up(make_fake_pbs: FakePbsMaker) -> None:
    """After a minute of waiting it works, with a complaint that is none."""
    fake = make_fake_pbs()
    fake.set(ports=True)
    before = fake.now()
    record = submit(Service(), "true")
    assert record.native_id == "1.pbshead"
    assert fake.now() - before > 60
    assert ended(fake, record).state is S.DONE


def test_a_refusal_below_that_complaint_is_one(make_fake_pbs: FakePbsMaker) -> None:
    make_fake_pbs(ports=True, hook="site policy: no")
    with pytest.raises(RefusedError, match=r"^PBS refused the job: site policy: no$"):
        submit(Service(), "true")
    assert Service().history() == []


# ----------------------------------------------------------------------------- submissions that break off


@pytest.fixture
def crash_site(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRASH_SITE", "fake-pbs")


def crash(*args: str) -> None:
    subprocess.run([sys.executable, CRASH, *args], check=False, capture_output=True, timeout=120)


def settled(fake: FakePbs) -> list[JobRecord]:
    """All records, when it is known of each whether it was submitted."""
    service = later()
    deadline = time.monotonic() + 30
    while any(not r.native_id and not r.state.final for r in service.refresh(service.history(), force=True).records):
        assert time.monotonic() < deadline
        fake.pause(0.1)
    return service.history()


@BOTH
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.usefixtures("crash_site")
def test_killed_between_reservation_and_commit(
    make_fake_pbs: FakePbsMaker, point: str, dialect: str, history: bool
) -> None:
    fake = make_fake_pbs(dialect, history=history)
    crash(point)
    records = settled(fake)
    assert len(records) == (0 if point == "folder" else 1)
    for record in records:
        assert bool(record.native_id) is (point != "reserved")
        assert fake.taken() == (1 if record.native_id else 0), "submitted once, or never"
        assert ended(fake, record).state is (S.DONE if record.native_id else S.FAILED)


@BOTH
@pytest.mark.usefixtures("crash_site")
def test_twenty_random_kills(make_fake_pbs: FakePbsMaker, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    crash("random", "20")
    records = settled(fake)
    assert len(records) > 5, "the kills must not all have come before the reservation"
    tags = tags_of(fake, records)
    assert {record.tag for record in records if record.native_id} == set(tags), "lost or made up"
    assert set(tags.values()) == {1}, "doubled"
    assert fake.taken() == len(tags), "PBS has no job of which nobody knows"


@BOTH
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("array", ["", "0-3"])
def test_qsub_killed_when_the_job_was_taken(
    make_fake_pbs: FakePbsMaker, cli: Cli, dialect: str, history: bool, array: str
) -> None:
    fake = make_fake_pbs(dialect, history=history, die="after")
    lost = cli(*SUBMIT, *(("-a", array) if array else ()), "--", "true", code=5)
    assert "whether j1 was accepted is not known yet" in lost.stderr
    fake.set(die="")
    fake.wait()
    (record,) = settled(fake)
    record = ended(fake, record)
    assert (record.state, fake.taken()) == (S.DONE, 1)
    assert ("[]" in record.native_id) is bool(array)


@BOTH
def test_qsub_killed_before_the_job_was_sent(make_fake_pbs: FakePbsMaker, dialect: str) -> None:
    fake = make_fake_pbs(dialect, die="before")
    with pytest.raises(UnreachableError, match="not known yet"):
        submit(Service(), "true")
    fake.set(die="")
    (record,) = settled(fake)
    assert (record.state, record.reason) == (S.FAILED, "never reached the scheduler")
    assert fake.taken() == 0


@BOTH
def test_submissions_at_once(make_fake_pbs: FakePbsMaker, cli: Cli, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    with ThreadPoolExecutor(6) as pool:
        labels = list(pool.map(lambda _: cli(*SUBMIT, "--", "true").stdout.strip(), range(12)))
    assert sorted(labels, key=lambda label: int(label[1:])) == [f"j{n}" for n in range(1, 13)]
    records = Service().history()
    assert tags_of(fake, records) == {record.tag: 1 for record in records}
    assert {record.state for record in Service(sleep=fake.pause).wait(records, timeout=60)} == {S.DONE}


# -------------------------------------------------------------------------------------- without a history


@pytest.mark.parametrize(("script", "state", "code"), [("true", S.DONE, 0), ("exit 7", S.FAILED, 7)])
def test_ends_are_known_without_history(make_fake_pbs: FakePbsMaker, script: str, state: JobState, code: int) -> None:
    fake = make_fake_pbs(history=False)
    record = ended(fake, submit(Service(), "bash", "-c", script))
    assert (record.state, record.exit_code, fake.jobs()) == (state, code, [])


def test_array_without_history(make_fake_pbs: FakePbsMaker) -> None:
    fake = make_fake_pbs(history=False)
    record = ended(fake, submit(Service(), "bash", "-c", "exit $((HPCJOB_ARRAY_INDEX == 4 ? 9 : 0))", array="1,4,9%1"))
    assert record.tasks is not None
    assert (record.tasks.states, record.tasks.codes) == ({"done": "1,9", "failed": "4"}, {"4": 9})


def test_walltime_and_cancel_without_history(make_fake_pbs: FakePbsMaker) -> None:
    fake = make_fake_pbs(history=False)
    service = Service()
    limited, cancelled = submit(service, "sleep", "300", time=1), submit(service, "sleep", "300")
    started(service, limited)
    service.cancel([Selected(started(service, cancelled))])
    fake.elapse(60)
    now(service, limited)
    fake.wait()
    # The job's own clock knows nothing of the minute that passed.
    file = Path(limited.folder) / "exit"
    file.write_text(re.sub(r"start=(\d+)", lambda match: f"start={int(match[1]) - 60}", file.read_text()))
    assert ended(fake, limited).state is S.TIMEOUT
    assert ended(fake, cancelled).state is S.CANCELLED
    assert fake.jobs() == []


def test_deleted_by_somebody_else_without_history(make_fake_pbs: FakePbsMaker, cli: Cli) -> None:
    """The server says nothing of it, and nothing is made up."""
    make_fake_pbs(history=False)
    cli(*SUBMIT, "--hold", "--", "true")
    subprocess.run(["qdel", "1"], check=True)
    shown = cli("status", "j1")
    assert "unknown" in shown.stdout
    assert "left the queue without a word" in cli("explain", "j1").stdout


# ------------------------------------------------------------------------------------------ how jobs end


def started(service: Service, record: JobRecord) -> JobRecord:
    """Wait until its script runs: a job that is killed before that writes no end."""
    while not (Path(record.folder) / "start").exists():
        record = now(service, record)
    return now(service, record)


ENDS = [
    ("openpbs", -29, S.TIMEOUT, "it was ended when its walltime was over"),
    ("openpbs", -27, S.OOM, "it was killed for using more memory than it asked for"),
    ("openpbs", -20, S.NODE_FAIL, "a node failed under it (pbsn1)"),
    ("openpbs", -2, S.FAILED, "PBS could not start it"),
    ("openpbs", 265, S.FAILED, "the program was ended by signal 9 (SIGKILL)"),
    ("openpbs", 271, S.FAILED, "the program was ended by signal 15 (SIGTERM)"),  # qsig
    ("torque", -11, S.TIMEOUT, "it was ended when its walltime was over"),
    ("torque", -10, S.OOM, "it was killed for using more memory than it asked for"),
    ("torque", -2, S.FAILED, "TORQUE could not start it"),
    ("torque", 271, S.CANCELLED, "it was cancelled by the scheduler (C 271)"),
]


@pytest.mark.parametrize(("dialect", "code", "state", "words"), ENDS)
def test_ends(make_fake_pbs: FakePbsMaker, cli: Cli, *, dialect: str, code: int, state: JobState, words: str) -> None:
    fake = make_fake_pbs(dialect)
    cli(*SUBMIT, "--", "sleep", "300")
    fake.end("1", code)
    assert f"\nj1\tsleep\t{state}\t" in cli("status", "j1").stdout
    assert words in cli("explain", "j1").stdout
    assert cli("wait", "j1", code=1).stdout == ""


@BOTH
def test_walltime(make_fake_pbs: FakePbsMaker, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    service = Service()
    record = started(service, submit(service, "sleep", "300", time=60))
    fake.elapse(61)
    record = ended(fake, record)
    assert (record.state, record.signal) == (S.TIMEOUT, 15), "its script wrote down that it was told to end"
    failure = service.failure(record)
    assert failure is not None
    assert failure.words == "it was ended when its walltime was over (00:01:00)"


@BOTH
def test_deleted_by_somebody_else(make_fake_pbs: FakePbsMaker, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    service = Service()
    running, held = submit(service, "sleep", "300"), submit(service, "true", hold=True)
    started(service, running)
    subprocess.run(["qdel", running.native_id, held.native_id], check=True)
    for record in (running, held):
        assert ended(fake, record).state is S.CANCELLED
        failure = service.failure(service.store.get(record.id))
        assert failure is not None
        assert failure.words.startswith("it was cancelled by the scheduler (")


@BOTH
def test_a_job_that_vanishes(make_fake_pbs: FakePbsMaker, cli: Cli, dialect: str) -> None:
    fake = make_fake_pbs(dialect)
    cli(*SUBMIT, "--", "sleep", "300")
    fake.vanish("1")
    assert "\nj1\tsleep\tunknown" in cli("status", "j1").stdout
    assert "it left the queue without a word" in cli("explain", "j1").stdout
    assert "PBS no longer has it in its queues" in cli("cancel", "j1", code=4).stderr
    assert fake.calls("qdel") == [], "an unknown id is never sent: it has crashed servers"


def test_a_node_was_lost_and_the_job_starts_again(make_fake_pbs: FakePbsMaker) -> None:
    """The exit status of the lost run (-20) is still shown while it waits, and means nothing then."""
    fake = make_fake_pbs()
    service = Service()
    record = started(
        service, submit(service, "bash", "-c", "[ -e second ] && exit 0; touch second; sleep 300", requeue=True)
    )
    while not Path("second").exists():
        fake.pause(0.05)
    fake.set(scheduling=False)
    fake.requeue("1")
    record = now(service, record)
    assert (record.state, record.restarts, record.exit_code) == (S.PENDING, 1, None)
    fake.set(scheduling=True)
    record = ended(fake, record)
    assert (record.state, record.restarts) == (S.DONE, 1)


@BOTH
def test_a_task_that_somebody_deleted_before_it_ran(make_fake_pbs: FakePbsMaker, dialect: str) -> None:
    """OpenPBS shows the exit status of the array for it: 0."""
    fake = make_fake_pbs(dialect)
    service = Service()
    record = submit(service, "true", array="0-3", hold=True)
    words = {"openpbs": ["1[2].pbshead"], "torque": ["-t", "2", "1[].thead"]}[dialect]
    subprocess.run(["qdel", *words], check=True)
    service.release([Selected(record)])
    record = ended(fake, record)
    assert record.tasks is not None
    assert record.tasks.states == {"cancelled": "2", "done": "0-1,3"}


@BOTH
def test_output_folder_removed_before_the_start(make_fake_pbs: FakePbsMaker, home: Path, dialect: str) -> None:
    """It ends at once, and PBS does not try for half a minute to deliver what nobody asked of it."""
    fake = make_fake_pbs(dialect)
    service = Service()
    record = submit(service, "true", hold=True, output=str(home / "logs/%j.out"))
    shutil.rmtree(home / "logs")
    service.release([Selected(record)])
    record = ended(fake, record)
    assert record.state.final
    assert all(one["attr"]["job_state"] != "E" for job in fake.jobs() for _, one in parts(job))


# ------------------------------------------------------------------------------------------- dependencies


def forgetful(fake: FakePbs) -> Service:
    """A service whose server forgets job 1 the moment before something is submitted."""

    def run(argv: Sequence[str], **options: Any) -> Completed:
        if argv[0] == "qsub":
            fake.vanish("1")
        return process.run(argv, **options)

    return Service(runner=run)


def test_a_parent_that_the_server_forgot_since_it_was_asked(make_fake_pbs: FakePbsMaker) -> None:
    """OpenPBS takes the job, and removes it without a word."""
    fake = make_fake_pbs()
    parent = submit(Service(), "true", hold=True)
    child = now(Service(), submit(forgetful(fake), "true", dependency=f"afterok:{parent.label}"))
    assert (child.state, child.reason) == (S.CANCELLED, "Dependency")
    assert fake.taken() == 2


def test_a_parent_that_torque_forgot_since_it_was_asked(make_fake_pbs: FakePbsMaker) -> None:
    fake = make_fake_pbs("torque")
    parent = submit(Service(), "true", hold=True)
    with pytest.raises(RefusedError, match="Invalid Job Dependency") as refusal:
        submit(forgetful(fake), "true", dependency=f"afterok:{parent.label}")
    assert refusal.value.hint == "a job it waits for is unknown to PBS: check -d"
    assert [record.label for record in Service().history()] == [parent.label]


@BOTH
def test_a_parent_that_was_forgotten_long_ago(make_fake_pbs: FakePbsMaker, dialect: str) -> None:
    """OpenPBS would take the job and remove it, also with afterany."""
    fake = make_fake_pbs(dialect)
    service = Service()
    known, lost = ended(fake, submit(service, "true")), submit(service, "true", hold=True)
    fake.vanish(known.native_id)
    fake.vanish(lost.native_id)
    child = submit(service, "true", dependency=f"afterany:{known.label}")
    assert ended(fake, child).state is S.DONE, "the end of the parent is known here"
    with pytest.raises(PlanError, match="is not known to the scheduler any more"):
        submit(service, "true", dependency=f"afterany:{lost.label}")


@BOTH
@pytest.mark.parametrize("history", [True, False])
def test_a_parent_that_fails(make_fake_pbs: FakePbsMaker, cli: Cli, dialect: str, history: bool) -> None:
    fake = make_fake_pbs(dialect, history=history)
    cli(*SUBMIT, "--hold", "--", "false")
    cli(*SUBMIT, "-d", "afterok:j1", "--", "true")
    cli("release", "j1")
    fake.wait()
    shown = cli("status", "j1", "j2").stdout
    assert "\nj1\tfalse\tfailed\t" in shown
    if dialect == "openpbs" and not history:
        assert "\nj2\ttrue\tunknown" in shown, "the server has not a word of it"
    else:
        assert "\nj2\ttrue\tcancelled\t" in shown
        assert "the job that it waited for did not end as asked" in cli("explain", "j2").stdout


def test_lists_that_would_crash_the_server_never_reach_it(make_fake_pbs: FakePbsMaker) -> None:
    fake = make_fake_pbs()
    service = Service()
    held = [submit(service, "true", hold=True) for _ in range(2)]
    scheduler = schedulers.get(held[0].scheduler, held[0].options, service.runner)
    with pytest.raises(PlanError, match="too many for PBS"):
        scheduler.dependency("afterany", [f"{number}.pbshead" for number in range(101)])
    fake.vanish(held[1].native_id)
    answers = scheduler.cancel([record.native_id for record in held])
    assert answers == {held[0].native_id: "", held[1].native_id: "PBS no longer has it in its queues"}
    assert scheduler.cancel(["999999"]) == {"999999": "PBS no longer has it in its queues"}
    assert fake.calls("qdel") == [["qdel", held[0].native_id]]
    with fake.opened() as server:
        assert server.state["down"] == ""


# ------------------------------------------------------------------------------- refusals, queues, arrays


def test_a_hook_that_refuses_in_several_lines(make_fake_pbs: FakePbsMaker, cli: Cli) -> None:
    make_fake_pbs(hook="site policy: please set a project with -P\nsecond line")
    refused = cli(*SUBMIT, "--", "true", code=4)
    assert refused.stdout == ""
    assert refused.stderr == (
        "error: PBS refused the job: site policy: please set a project with -P; second line\n\n"
        "hint: a rule of the site: do what it says, or ask the site's support\n"
    )
    assert Service().history() == []
    assert list((Service().store.path.parent / "jobs").glob("*true*")) == []


LIMITS = [
    ({"max_queued": 1}, {}, "would exceed complex's per-user limit", "wait for your other jobs to end"),
    ({}, {"partition": "disabledq"}, "disabledq", "workq"),
    ({"max_array_size": 3}, {"array": "0-9"}, "Array job exceeds server or queue size limit", "split the array"),
    (
        {},
        {"directives": ("-l nosuch=1",)},
        "Unknown resource Resource_List.nosuch",
        "the site's PBS has no such resource",
    ),
]


@pytest.mark.parametrize(("settings", "asked", "words", "hint"), LIMITS)
def test_limits(
    make_fake_pbs: FakePbsMaker, settings: dict[str, int], asked: dict[str, object], words: str, hint: str
) -> None:
    make_fake_pbs(**settings)
    service = Service()
    submit(service, "true", hold=True)
    with pytest.raises((RefusedError, PlanError), match=words) as refusal:
        submit(service, "true", **asked)
    assert hint in refusal.value.hint
    assert len(service.history()) == 1


def test_a_queue_that_routes(make_fake_pbs: FakePbsMaker, cli: Cli) -> None:
    fake = make_fake_pbs()
    cli(*SUBMIT, "-p", "routeq", "--", "bash", "-c", "echo $PBS_O_QUEUE $PBS_QUEUE")
    assert cli("wait", "j1").returncode == 0
    assert fake.job("1")["attr"]["queue"] == "workq"
    assert cli("logs", "j1").stdout == "routeq workq\n"


def test_an_array_of_ten_thousand(make_fake_pbs: FakePbsMaker) -> None:
    """One qstat a poll, whatever the size; one qdel in the end."""
    fake = make_fake_pbs()
    service = Service()
    record = submit(service, "true", array="1-10000", hold=True)
    before = len(fake.calls())
    record = now(service, record)
    assert record.tasks is not None
    assert (record.state, record.tasks.states) == (S.HELD, {"held": "1-10000"})
    assert [call[0] for call in fake.calls()[before:]] == ["qstat"]
    with fake.opened() as server:
        job = server.jobs["1"]
        job["attr"].update(job_state="B", Hold_Types="n", substate=70, stime=server.now)
        for index in range(1, 9001):
            attr = {**server.task(job, index), "job_state": "X", "substate": 92, "Exit_status": 0, "run_count": 1}
            attr.update(exec_host="pbsn1/0", stime=server.now, obittime=server.now)
            job["tasks"][str(index)] = {"attr": attr, "where": []}
        job["tasks"]["7"]["attr"].update(substate=93, Exit_status=3)
        server.state["scheduling"] = False
    record = now(service, record)
    assert record.tasks is not None
    assert record.tasks.states == {"done": "1-6,8-9000", "failed": "7", "pending": "9001-10000"}
    assert [call[0] for call in fake.calls()[before + 1 :]] == ["qstat"]
    assert [outcome.problem for outcome in service.cancel([Selected(record)])] == [""]
    assert len(fake.calls("qdel")) == 1
    record = now(service, record)
    assert record.tasks is not None
    assert record.tasks.states == {"cancelled": "9001-10000", "done": "1-6,8-9000", "failed": "7"}
