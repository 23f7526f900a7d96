"""Limits of accounts and QOSs on a real Slurm, and where a job would start: refused before it queues, or chosen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcjobs.record import JobState
from hpcjobs.service import Service
from tests.integration.conftest import Cli

pytestmark = pytest.mark.integration


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def queued() -> list[str]:
    return command("squeue", "--me", "--noheader", "--format=%i").split()


@pytest.fixture
def entities(slurm: Callable[..., str]) -> Iterator[None]:
    """QOSs and an account of this test alone, the user in it, with limits that Slurm lets jobs wait at for ever."""
    # Where QOSs are not enforced, as here, any may be named.
    change = ("sacctmgr", "--immediate", "--quiet")
    made = (
        ("add", "qos", "hj_short", "set", "MaxWall=5"),
        ("add", "qos", "hj_group", "set", "GrpTRES=node=2,cpu=3"),
        ("add", "account", "hj_small", "description=test", "organization=test"),
        ("modify", "account", "where", "name=hj_small", "set", "MaxTRES=cpu=2", "MaxSubmitJobs=3"),
        ("add", "user", "root", "account=hj_small"),
    )
    undo = (
        ("delete", "user", "where", "name=root", "account=hj_small"),
        ("delete", "account", "where", "name=hj_small"),
        ("delete", "qos", "where", "name=hj_short,hj_group"),
    )
    try:
        for words in made:
            subprocess.run([*change, *words], check=True, capture_output=True, timeout=60)
        yield
    finally:
        for words in undo:
            subprocess.run([*change, *words], check=False, capture_output=True, timeout=60)


@pytest.mark.usefixtures("entities")
@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ("-q hj_short -t 10", "QOS hj_short has MaxWall 00:05:00, and 00:10:00 were asked for", "-t 00:05:00 is the most there"),
        ("-q hj_group -N 3", "QOS hj_group has GrpTRES node=2, and the job needs 3: it would never start", "ask for less: -N"),
        ("-q hj_group -N 2 -n 4", "QOS hj_group has GrpTRES cpu=3, and the job needs 4: it would never start", "ask for less: -n, -c or -N"),
        ("-A hj_smal", "you are not in account hj_smal", "-A: did you mean hj_small?"),
        ("-A hj_small -N 2 -n 4", "account hj_small has MaxTRES cpu=2, and the job needs 4: it would never start", "which takes it"),
        ("-A hj_small -n 1 -a 0-3", "account hj_small has MaxSubmitJobs 3, and the job has 4 tasks", "send fewer at a time (-a)"),
    ],
)  # fmt: skip
def test_what_slurm_would_let_wait_for_ever_is_refused(cli: Cli, options: str, message: str, hint: str) -> None:
    before = queued()
    done = cli("submit", "--site", "testbed", *options.split(), "--", "true", code=3)
    assert message in done.stderr
    assert hint in done.stderr
    assert queued() == before
    # Slurm itself takes those that are not about names or numbers of tasks.
    if "-a" not in options and "smal " not in f"{options} ":
        command("sbatch", "--test-only", *options.replace("-q ", "--qos=").split(), "--wrap=true")


@pytest.mark.usefixtures("entities")
def test_what_is_within_the_limits_runs(cli: Cli) -> None:
    for options in ("-q hj_short -t 5 -n 1", "-q hj_group -N 2 -n 2", "-A hj_small -n 2 -a 0-1"):
        cli("submit", "--site", "testbed", *options.split(), "--wait", "--", "true")


@pytest.fixture
def full(slurm: Callable[..., str]) -> Iterator[None]:
    """All of the partition `gpu` is in use, for half an hour as far as Slurm knows."""
    number = command(
        "sbatch", "--parsable", "--partition=gpu", "--nodes=2", "--exclusive", "--time=30", "--output=/dev/null",
        "--wrap=sleep 300",
    ).strip()  # fmt: skip
    try:
        for _ in range(100):
            if command("squeue", "--noheader", f"--jobs={number}", "--format=%T").strip() == "RUNNING":
                break
            Service().sleep(0.1)
        else:
            raise AssertionError("it does not start")
        yield
    finally:
        command("scancel", number)


@pytest.mark.usefixtures("full")
def test_what_is_free_and_where_a_job_would_start(cli: Cli) -> None:
    free = {
        row["name"]: row
        for row in json.loads(cli("site", "partitions", "--site", "testbed", "--json").stdout)["partitions"]
    }
    assert (free["gpu"]["nodes"], free["gpu"]["idle"], free["gpu"]["free_cores"], free["gpu"]["free_gpus"]) == (
        2,
        0,
        0,
        0,
    )
    assert free["debug"]["idle"] == 2
    before = queued()
    asked = json.loads(cli("site", "partitions", "--site", "testbed", "-N", "2", "-t", "2h", "--json").stdout)
    rows = {row["name"]: row for row in asked["partitions"]}
    assert next(iter(rows)) == "long", "the only one that takes so long a job comes first"
    assert rows["long"]["start"]
    assert "allows 01:00:00" in rows["debug"]["refused"]
    assert queued() == before, "nothing is queued"
    shown = cli("site", "partitions", "--site", "testbed", "-n", "1", "-t", "5").stdout.splitlines()
    assert [line.split("\t")[0] for line in shown] == ["PARTITION", "debug*", "long", "gpu"]
    assert "\tin 2" in shown[-1] or "\tin 30m" in shown[-1]


@pytest.mark.usefixtures("full")
def test_auto_takes_the_partition_that_is_free(cli: Cli, home: Path) -> None:
    (home / "site.yaml").write_text(
        "extends: slurm\nscheduler: {limits: site, poll_interval: 1}\nlauncher: {kind: none}\npartitions:\n"
        "  busy: {queue: gpu, default: true, nodes: 2, max_time: 1h, node: {cores: 2}}\n"
        "  quiet: {queue: long, nodes: 4, max_time: 1d, node: {cores: 2}}\n"
    )
    done = cli("submit", "--site-file", "site.yaml", "-p", "auto", "-n", "1", "-t", "5", "--wait", "--", "true")
    assert "queue   quiet (would start now; busy in " in done.stderr
    (record,) = Service().history()
    assert (record.state, record.partition) == (JobState.DONE, "long")
    done = cli(
        "submit", "--site-file", "site.yaml", "-p", "auto", "-n", "1", "-a", "0-1", "-t", "5", "--wait", "--", "true"
    )
    assert "queue   quiet" in done.stderr
    done = cli("submit", "--site-file", "site.yaml", "-p", "auto", "-N", "9", "--", "true", code=3)
    assert "no partition of site site takes the job" in done.stderr


@pytest.mark.usefixtures("entities")
def test_the_accounting_does_not_answer(cli: Cli, slurm: Callable[..., str]) -> None:
    slurm("kill-dbd")
    try:
        cli("submit", "--site", "testbed", "-n", "1", "--hold", "--", "true")
    finally:
        slurm("start-dbd")
