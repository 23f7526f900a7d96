"""What every scheduler must do, run on each: the real Slurm, the embedded local one, the PBS in both its dialects."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs import schedulers
from hpcjobs.errors import RefusedError
from hpcjobs.model import JobSpec
from hpcjobs.record import JobRecord, JobState
from hpcjobs.service import Selected, Service
from tests.integration.conftest import ON_REAL_PBS, SITE_FILES, FakePbsMaker, real, write_site

S = JobState
Make = Callable[..., JobRecord]


# A PBS of the test's own, in each dialect.
FAKES = {"pbs-openpbs": "openpbs", "pbs-torque": "torque"}
KINDS = [*real("slurm", "slurm-torque", "pbs", "pbs-api"), *([] if ON_REAL_PBS else ["local", *FAKES])]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, home: Path) -> str:
    """Which of them this is."""
    if request.param.startswith("slurm"):
        request.getfixturevalue("slurm")
    return str(request.param)


@pytest.fixture
def site(kind: str, home: Path) -> str:
    """The name of its site file."""
    if kind in SITE_FILES:
        return write_site(kind, home / ".hpcjobs/sites").stem
    return "fake-pbs" if kind in FAKES else kind


@pytest.fixture
def service(kind: str, make_fake_pbs: FakePbsMaker) -> Service:
    return Service(sleep=make_fake_pbs(FAKES[kind]).pause) if kind in FAKES else Service()


@pytest.fixture
def make(site: str, service: Service) -> Make:
    def submit(*command: str, **more: object) -> JobRecord:
        spec = JobSpec(command=command, runtime="none", ntasks=1, **more)  # type: ignore[arg-type]
        return service.submit(spec, site=site)

    return submit


def ended(service: Service, *records: JobRecord) -> list[JobRecord]:
    return service.wait(records, timeout=90)


def reaches(service: Service, record: JobRecord, state: JobState) -> JobRecord:
    """The record once it is in that state; fails if it ends otherwise."""
    for _ in range(500):
        record = service.refresh([record], force=True).records[0]
        if record.state is state:
            return record
        assert not record.state.final, record
    raise AssertionError(f"it is never {state}: {record}")


@pytest.mark.parametrize(
    ("script", "state", "code"),
    [
        ("exit 0", S.DONE, 0),
        ("exit 7", S.FAILED, 7),
        ("exec /no/such/program", S.FAILED, 127),
        ("kill -9 $$", S.FAILED, 137),
    ],
)
def test_ends(service: Service, make: Make, script: str, state: JobState, code: int) -> None:
    (record,) = ended(service, make("bash", "-c", script))
    assert (record.state, record.exit_code) == (state, code)
    assert record.started <= record.ended
    assert record.node_list


def test_output_goes_where_it_was_asked_for(service: Service, make: Make, home: Path) -> None:
    record = make("bash", "-c", "echo out; echo err >&2", output="results of %x/%j.out", error="err.log", name="my job")
    ended(service, record)
    number = re.match(r"\d+", record.native_id)[0]  # type: ignore[index]
    assert (home / f"results of my job/{number}.out").read_text() == "out\n"
    assert (home / "err.log").read_text() == "err\n"
    assert service.log_file(record, "output") == home / f"results of my job/{number}.out"


def test_output_alone_takes_both(service: Service, make: Make, home: Path) -> None:
    ended(service, make("bash", "-c", "echo out; echo err >&2", output="both.log"))
    assert sorted((home / "both.log").read_text().split()) == ["err", "out"]


def test_cancel(service: Service, make: Make) -> None:
    record = reaches(service, make("bash", "-c", "trap '' TERM; sleep 300 & wait"), S.RUNNING)
    assert [outcome.problem for outcome in service.cancel([Selected(record)])] == [""]
    (record,) = ended(service, record)
    assert record.state is S.CANCELLED
    failure = service.failure(record)
    assert failure is not None
    assert failure.words == "it was cancelled"


def test_hold_and_release(service: Service, make: Make) -> None:
    record = reaches(service, make("true", hold=True), S.HELD)
    assert service.explain(record).words == "its owner holds it"
    assert [outcome.problem for outcome in service.release([Selected(record)])] == [""]
    assert ended(service, record)[0].state is S.DONE


def test_requeue(kind: str, service: Service, make: Make) -> None:
    record = reaches(service, make("sleep", "300", requeue=True), S.RUNNING)
    (outcome,) = service.requeue([Selected(record)])
    if kind == "slurm":
        assert not outcome.problem
        assert reaches(service, record, S.PENDING).started == 0
    else:  # PBS leaves it to operators
        why = ("Unauthorized Request", "the local queue starts no job again", "Slurm's qrerun does not work")
        assert outcome.problem.startswith(why)
        assert service.refresh([record], force=True).records[0].state is S.RUNNING
    assert [outcome.problem for outcome in service.cancel([Selected(record)])] == [""]
    (record,) = ended(service, record)
    assert record.state is S.CANCELLED


def test_array(service: Service, make: Make) -> None:
    script = 'echo "task $HPCJOB_ARRAY_INDEX"; exit $((HPCJOB_ARRAY_INDEX == 4 ? 9 : 0))'
    (record,) = ended(service, make("bash", "-c", script, array="1-9:3,5%2"))
    assert record.tasks is not None
    assert (record.state, record.tasks.states) == (S.FAILED, {"done": "1,5,7", "failed": "4"})
    assert record.tasks.codes == {"4": 9}
    assert service.log_file(record, "output", 7).read_text() == "task 7\n"
    (again,) = service.resubmit(service.select([f"{record.label}[failed]"]))
    assert again.array == "4"
    ended(service, again)


def test_cancel_of_tasks(kind: str, service: Service, make: Make) -> None:
    record = make("true", array="0-5", hold=True)
    if kind == "slurm-torque":
        with pytest.raises(RefusedError, match="cancels an array as a whole only"):
            service.cancel([Selected(record, (2, 3))])
        assert [outcome.problem for outcome in service.cancel([Selected(record)])] == [""]
        return
    service.cancel([Selected(record, (2, 3))])
    service.release([Selected(record)])
    (record,) = ended(service, record)
    assert record.tasks is not None
    assert record.tasks.states == {"cancelled": "2-3", "done": "0-1,4-5"}


@pytest.mark.parametrize(
    ("word", "code", "runs"), [("afterok", 0, True), ("afternotok", 1, True), ("afterany", 1, True)]
)
def test_dependencies(service: Service, make: Make, word: str, code: int, runs: bool) -> None:
    first = make("bash", "-c", f"exit {code}", hold=True)
    second = make("true", dependency=f"{word}:{first.label}")
    assert reaches(service, second, S.PENDING).reason in {"", "None", "Dependency", "Priority"}
    service.release([Selected(first)])
    one, two = ended(service, first, second)
    assert one.exit_code == code
    assert (two.state is S.DONE) is runs
    assert two.started >= one.ended - 1


def test_environment_and_arguments_arrive_byte_for_byte(service: Service, make: Make, home: Path) -> None:
    words = ["a b", "$(id)", "`id`", "'", '"', "\\", "new\nline", "ü€", "-n", "--", "*", "", "!", "x" * 100_000]
    show = "import sys, os; sys.stdout.write(repr((sys.argv[1:], os.environ['VALUE'])))"
    record = make("python3", "-c", show, *words, env={"VALUE": "\n".join(words[:-1])}, name="na me $(id) 'ü'")
    (record,) = ended(service, record)
    assert record.state is S.DONE, service.failure(record)
    assert service.log_file(record, "output").read_text() == repr((words, "\n".join(words[:-1])))


def test_a_working_directory_of_any_name(service: Service, make: Make, home: Path) -> None:
    folder = home / "we ird $(id) 'dir' %j ü"
    folder.mkdir()
    record = make("pwd", workdir=str(folder))
    assert ended(service, record)[0].state is S.DONE, service.failure(record)
    assert service.log_file(record, "output").read_text() == f"{folder}\n"


def test_an_unknown_id_is_reported(site: str, service: Service, make: Make) -> None:
    record = make("true", hold=True)
    scheduler = schedulers.get(record.scheduler, record.options, service.runner)
    answers = scheduler.cancel([record.native_id, "999999"])
    assert not answers[record.native_id]
    assert answers["999999"]


def test_a_refusal_leaves_nothing(kind: str, service: Service, make: Make) -> None:
    # Too many tasks for Slurm's MaxArraySize and for the local scheduler. (A TORQUE without a limit would take them.)
    of_pbs = kind.startswith("pbs")
    asked: dict[str, object] = {"directives": ("-l nosuch=1",)} if of_pbs else {"array": "0-2000000"}
    with pytest.raises(RefusedError):
        make("true", **asked)
    assert service.history() == []


def test_find_by_tag(service: Service, make: Make) -> None:
    record = make("true", hold=True)
    scheduler = schedulers.get(record.scheduler, record.options, service.runner)
    assert scheduler.find({record.tag: record.created, "nosuchtag": record.created}) == {record.tag: record.native_id}
    service.cancel([Selected(record)])


def test_diagnosis_and_partitions(site: str, service: Service, make: Make) -> None:
    record = make("true")
    scheduler = schedulers.get(record.scheduler, record.options, service.runner)
    assert scheduler.diagnose().version
    assert any(partition.node.cores > 0 for partition in scheduler.partitions().values())
    ended(service, record)


def test_what_is_free_and_where_a_job_would_start(kind: str, site: str, service: Service) -> None:
    _, plain = service.partitions(site=site)
    assert sum(row.free.nodes for row in plain if row.free) > 0
    _, rows = service.partitions(JobSpec(ntasks=1), site=site)
    assert {row.name for row in rows} == {row.name for row in plain}
    assert rows[0].open, "the first one takes it"
    assert rows[0].forecast is not None
    assert bool(rows[0].forecast.start) is (kind == "slurm")
    assert rows[0].forecast.start or rows[0].forecast.why, "what is not known is said"
    assert service.history() == [], "nothing is queued"


def test_a_partition_that_is_chosen(service: Service, make: Make) -> None:
    record = make("true", partition="auto")
    assert record.partition != "auto"
    assert ended(service, record)[0].state is S.DONE


def test_limits_of_the_person_are_known_or_it_is_said_why_not(site: str, service: Service, make: Make) -> None:
    record = make("true")
    scheduler = schedulers.get(record.scheduler, record.options, service.runner)
    assert not scheduler.rules().unknown
    ended(service, record)
