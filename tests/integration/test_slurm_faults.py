"""Faults on a real Slurm: nothing is lost, nothing is doubled, and what cannot be asked is not made up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs.errors import PlanError
from hpcjobs.model import JobSpec
from hpcjobs.record import JobRecord, JobState
from hpcjobs.service import Service
from tests.integration.conftest import Cli
from tests.integration.crash import POINTS

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("slurm", "home")]

CRASH = Path(__file__).with_name("crash.py")
SPEC = JobSpec(command=("true",), runtime="none", ntasks=1)
Slurm = Callable[..., str]


def in_half_a_minute() -> Service:
    """A service whose clock is past the time that a reservation is given."""
    return Service(clock=lambda: time.time() + 60)


def jobs_of(records: list[JobRecord]) -> Counter[str]:
    """How many jobs Slurm has, in queue and accounting, for each of our tags."""
    tags = {record.tag for record in records}
    text = subprocess.run(
        ["squeue", "--me", "-h", "-t", "all", "-o", "%F|%k"], check=True, capture_output=True, text=True
    ).stdout
    found = {(match[1], match[2]) for match in re.finditer(r"^(\d+)\|.*hpcjob:(\w+)", text, re.MULTILINE)}
    return Counter(tag for _, tag in found if tag in tags)


def crash(*args: str) -> None:
    subprocess.run([sys.executable, CRASH, *args], check=False, capture_output=True, timeout=300)


def until(service: Service, records: list[JobRecord]) -> list[JobRecord]:
    return service.wait(records, timeout=60)


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_reservation_and_commit(point: str) -> None:
    crash(point)
    service = in_half_a_minute()
    before = service.history()
    assert len(before) == (0 if point == "folder" else 1)
    # A submission that outlived its parent is left alone until it has ended.
    deadline = time.monotonic() + 30
    while any(not r.native_id and not r.state.final for r in service.refresh(service.history()).records):
        assert time.monotonic() < deadline
    after = service.history()
    tags = jobs_of(after)
    for record in after:
        assert tags[record.tag] == (1 if record.native_id else 0)
        assert bool(record.native_id) is (point != "reserved")


def test_two_hundred_random_kills() -> None:
    crash("random", "200")
    service = in_half_a_minute()
    deadline = time.monotonic() + 60
    while any(not r.native_id and not r.state.final for r in service.refresh(service.history(), force=True).records):
        assert time.monotonic() < deadline
    records = service.history()
    tags = jobs_of(records)
    assert len(records) > 20, "the kills must not all have come before the reservation"
    assert {record.tag for record in records if record.native_id} == set(tags), "lost or made up"
    assert set(tags.values()) == {1}, "doubled"
    sent = [record.native_id for record in records if record.native_id]
    assert len(sent) == len(set(sent))
    ended = until(service, [record for record in records if record.native_id])
    assert {record.state for record in ended} == {JobState.DONE}


def test_fifty_submissions_at_once(cli: Cli) -> None:
    def one(_: int) -> str:
        return cli("submit", "--site", "testbed", "--runtime", "none", "-n", "1", "--", "true").stdout.strip()

    with ThreadPoolExecutor(8) as pool:
        labels = list(pool.map(one, range(50)))
    assert sorted(labels, key=lambda label: int(label[1:])) == [f"j{n}" for n in range(1, 51)]
    service = Service()
    records = service.history()
    assert len({record.native_id for record in records}) == 50
    assert {record.state for record in until(service, records)} == {JobState.DONE}


# ---------------------------------------------------------------------------------- slurmctld, slurmdbd


def submitted() -> JobRecord:
    spec = JobSpec(command=("sleep", "60"), runtime="none", ntasks=1)
    return Service().submit(spec, site="testbed")


def test_controller_down(cli: Cli, slurm: Slurm) -> None:
    record = submitted()
    slurm("stop-ctld")
    try:
        refused = cli("submit", "--site", "testbed", "--runtime", "none", "--", "true", code=5)
        assert "Unable to contact slurm controller" in refused.stderr
        assert "\nhint: " in refused.stderr
        assert [r.label for r in Service().history()] == ["j1"], "no state changed"
        poll = cli("status", "j1", code=5)
        assert "j1" in poll.stdout, "what is known is shown all the same"
        assert "error: " in poll.stderr
        cancel = cli("cancel", "j1", code=5)
        assert "error: " in cancel.stderr
        assert Service().store.get(1).state is record.state
    finally:
        slurm("start-ctld")
    cli("status", "j1")
    cli("cancel", "j1")
    assert until(Service(), [record])[0].state is JobState.CANCELLED


@pytest.fixture
def hasty(home: Path) -> str:
    """A site file of the test cluster with short timeouts."""
    file = home / "hasty.yaml"
    file.write_text("name: hasty\nextends: testbed\nscheduler: {timeout: 2, submit_timeout: 2, poll_interval: 0}\n")
    return str(file)


def test_controller_hangs(cli: Cli, slurm: Slurm, hasty: str) -> None:
    cli("submit", "--site-file", hasty, "--runtime", "none", "-n1", "--", "sleep", "60")
    slurm("hang-ctld")
    try:
        lost = cli("submit", "--site-file", hasty, "--runtime", "none", "-n1", "--", "sleep", "60", code=5)
        assert "whether j2 was accepted is not known yet" in lost.stderr
        assert "did not answer within 2 s" in cli("status", "j1", code=5).stderr
        assert "did not answer within 2 s" in cli("cancel", "j1", code=5).stderr
    finally:
        slurm("resume-ctld")
    service = in_half_a_minute()
    # It may have reached the controller's socket before the client gave up: one job or none, and known which.
    deadline = time.monotonic() + 60
    while not (found := service.refresh(service.history(), force=True).records) or not all(
        record.native_id or record.state.final for record in found
    ):
        assert time.monotonic() < deadline
    tags = jobs_of(found)
    assert all(tags[record.tag] == (1 if record.native_id else 0) for record in found)


def test_controller_restarted_while_jobs_run(slurm: Slurm) -> None:
    service = Service()
    records = [service.submit(JobSpec(command=("sleep", "3"), runtime="none", ntasks=1), site="testbed")]
    slurm("restart-ctld")
    assert until(service, records)[0].state is JobState.DONE


def test_ends_are_known_without_accounting(slurm: Slurm) -> None:
    service = Service()
    slurm("stop-dbd")
    try:
        good = service.submit(SPEC, site="testbed")
        bad = service.submit(JobSpec(command=("bash", "-c", "exit 7"), runtime="none", ntasks=1), site="testbed")
        ended = until(service, [good, bad])
        assert [(r.state, r.exit_code) for r in ended] == [(JobState.DONE, 0), (JobState.FAILED, 7)]
    finally:
        slurm("start-dbd")


def test_nothing_of_the_environment_is_in_the_script(cli: Cli) -> None:
    cli(
        "submit",
        "--site",
        "testbed",
        "--runtime",
        "none",
        "-n1",
        "--wait",
        "--",
        "true",
        MY_SECRET_TOKEN="hunter2-secret",
    )
    (record,) = Service().history()
    for file in Path(record.folder).iterdir():
        assert "hunter2-secret" not in file.read_text(), file
        assert file.stat().st_mode & 0o077 == 0
    assert Path(record.folder).stat().st_mode & 0o077 == 0
    assert "hunter2-secret" not in json.dumps(record.to_json())
    assert b"hunter2-secret" not in Service().store.path.read_bytes()


def test_the_logs_of_array_tasks_are_private_and_those_elsewhere_are_as_the_umask_says(cli: Cli, home: Path) -> None:
    umask = os.umask(0o022)
    try:
        for logs in ((), ("-o", str(home / "%A_%a.log"))):
            cli("submit", "--site", "testbed", "--runtime", "none", "-n1", "-a", "0-2", *logs, "--wait", "--", "true")
    finally:
        os.umask(umask)
    own, elsewhere = Service().history()[::-1]
    modes = {file.name: file.stat().st_mode & 0o777 for file in Path(own.folder).iterdir()}
    assert set(modes.values()) == {0o600}
    assert {f"{stream}.{task}.log" for stream in ("stdout", "stderr") for task in range(3)} <= set(modes)
    assert [(home / f"{elsewhere.native_id}_{task}.log").stat().st_mode & 0o777 for task in range(3)] == [0o644] * 3


def test_submitting_from_within_a_job_inherits_nothing(cli: Cli) -> None:
    leak = {"SLURM_CPU_BIND": "none", "SBATCH_PARTITION": "nosuch", "SLURM_CLUSTERS": "nosuch", "SLURM_JOB_ID": "1"}
    done = cli("submit", "--site", "testbed", "--runtime", "none", "-n1", "--wait", "--", "true", **leak)
    assert done.stdout == "j1\n"


def test_ranks_that_fill_no_two_nodes_alike_are_spread_and_srun_has_no_complaint(cli: Cli) -> None:
    words = ("sh", "-c", "echo $SLURMD_NODENAME")
    cli("submit", "--site", "testbed", "--runtime", "none", "-N2", "-n3", "--wait", "--", *words)
    assert sorted(Counter(cli("logs", "last").stdout.split()).values()) == [1, 2]
    assert cli("logs", "last", "--error").stdout == ""


HOSTILE = ["a b", "$(id)", "`id`", "it's", 'say "hi"', "back\\slash\\", "#hash", "-lead", "--wrap=x", "ü€🙂", "%j%%", "a,b;c|d&e>f<g", "=x", "~", "*?[a]", "x" * 200]  # fmt: skip


def test_job_names_arrive_byte_for_byte_through_a_real_sbatch() -> None:
    service = Service()
    spec = JobSpec(command=("true",), runtime="none", ntasks=1, hold=True)
    records = [service.submit(replace(spec, name=name), site="testbed") for name in HOSTILE]
    text = subprocess.run(["squeue", "--me", "-h", "-o", "%i %j"], check=True, capture_output=True, text=True).stdout
    names = dict(line.split(" ", 1) for line in text.splitlines())
    assert [names[record.native_id] for record in records] == HOSTILE
    service.cancel(service.select(["active"]))


@pytest.mark.parametrize("field", ["name", "partition", "account", "qos", "constraint", "reservation", "licenses"])
def test_what_no_directive_can_hold_is_refused_before_submission(field: str) -> None:
    with pytest.raises(PlanError, match=field):
        Service().submit(replace(SPEC, **{field: "a\nb"}), site="testbed")  # type: ignore[arg-type]
    assert Service().history() == []
