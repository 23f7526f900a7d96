"""The fake Slurm is held against what a real one printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpcjobs.errors import UnreachableError
from hpcjobs.schedulers import slurm, slurm_limits
from hpcjobs.testing import Clock, FakeSlurm

DATA = Path(__file__).parent.parent / "data/slurm/22.05"


@pytest.fixture
def fake(tmp_path: Path) -> FakeSlurm:
    """With the jobs of the recording: a mixed array, a held array with a limit, a single job."""
    fake = FakeSlurm(Clock(1795225317.0))
    for header in ("#SBATCH --array=0-9", "", "#SBATCH --array=1-30:3%2\n#SBATCH --hold"):
        script = tmp_path / "j.sh"
        script.write_text(f"#!/bin/bash\n{header}\ntrue\n")
        fake(("sbatch", "--parsable", "--comment=hpcjob:aaaa00000001", str(script)), timeout=1)
    for index in range(10):
        if index == 5:
            fake.start("1", 5)
        else:
            fake.finish("1", "FAILED" if index in {3, 4} else "COMPLETED", index=index)
    fake.finish("2")
    return fake


def shapes(text: str) -> set[str]:
    """The lines with numbers, node names and free text blotted out."""
    blotted = {re.sub(r"\d+", "9", line.rsplit("|", 1)[0]) for line in text.splitlines()}
    return {re.sub(r"^9\|9[-:,%9]*\|", "9|T|", re.sub(r"n9|n\[9-9\]", "N", line)) for line in blotted}


def ask(fake: FakeSlurm, *argv: str) -> str:
    return fake(argv, timeout=1).out


def test_queue_lines_have_the_shape_of_real_ones(fake: FakeSlurm) -> None:
    answer = ask(fake, "squeue", f"--format={slurm._QUEUE_FORMAT}")
    assert shapes(answer) <= shapes((DATA / "squeue.txt").read_text())
    assert len(answer.splitlines()) == 12


def test_accounting_lines_have_the_shape_of_real_ones(fake: FakeSlurm) -> None:
    answer = ask(fake, "sacct", f"--format={slurm._ACCOUNTING_FORMAT}", "--jobs=1,2")
    real = shapes((DATA / "sacct.txt").read_text())
    assert shapes(answer) <= real


def test_tags_are_where_real_ones_are(fake: FakeSlurm) -> None:
    assert slurm.parse_tags(ask(fake, "squeue", "--format=%F|%k"), ["aaaa00000001"])
    assert slurm.parse_tags(ask(fake, "sacct", "--format=JobID,Comment,SubmitLine"), ["aaaa00000001"])


def test_scancel_complains_as_the_real_one(fake: FakeSlurm) -> None:
    answer = fake(("scancel", "--verbose", "2", "999999"), timeout=1)
    real = (DATA / "scancel-mixed.err").read_text().splitlines()
    for line in answer.err.splitlines():
        assert line.replace(" 2:", " 24:") in real


def test_hold_complains_as_the_real_one(fake: FakeSlurm) -> None:
    answer = fake(("scontrol", "hold", "999999"), timeout=1)
    assert answer.err.splitlines()[0] in (DATA / "scontrol-hold-unknown.err").read_text().splitlines()


def test_limits_are_told_as_by_the_real_one(fake: FakeSlurm) -> None:
    fake.max_array, fake.max_submit = 20001, 20
    told = slurm.parse_config(ask(fake, "scontrol", "show", "config"))
    real = slurm.parse_config((DATA / "config.txt").read_text())
    assert told["MaxArraySize"] == real["MaxArraySize"]
    assert set(told) <= set(real)
    answers = [ask(fake, "sacctmgr", "show", "associations")]
    fake.max_submit = 0
    answers.append(ask(fake, "sacctmgr", "show", "associations"))
    assert sorted("".join(answers).split("\n")) == sorted((DATA / "sacctmgr-limits.txt").read_text().split("\n"))


def test_an_array_that_is_too_long_is_refused_as_by_the_real_one(fake: FakeSlurm, tmp_path: Path) -> None:
    script = tmp_path / "long.sh"
    script.write_text("#!/bin/bash\n#SBATCH --array=0-99999\n")
    fake.max_array = 99_999
    answer = fake(("sbatch", "--parsable", str(script)), timeout=1)
    real = (DATA / "sbatch-refusals.err").read_text().splitlines()
    assert answer.code == 1
    assert f"[-a 0-99999] {answer.err.strip()}" in real
    fake.max_array, fake.max_submit = 100_000, 100_000
    assert fake(("sbatch", "--parsable", str(script)), timeout=1).code == 1, "with what is in the queue"
    fake.max_submit += 100
    assert fake(("sbatch", "--parsable", str(script)), timeout=1).code == 0


def test_a_program_that_is_not_there(fake: FakeSlurm) -> None:
    with pytest.raises(UnreachableError):
        fake(("nosuch",), timeout=1)


def test_what_is_free_is_told_as_by_the_real_one(fake: FakeSlurm) -> None:
    real = (DATA / "sinfo-free.txt").read_text().splitlines()
    blotted = {re.sub(r"\d+", "9", line) for line in real}
    answer = ask(fake, "sinfo", f"--Format={slurm_limits.FREE_FORMAT}")
    assert {re.sub(r"\d+", "9", line) for line in answer.splitlines()} <= blotted
    assert set(slurm_limits.parse_free(answer)) == {"debug"}


def test_a_start_is_forecast_as_by_the_real_one(fake: FakeSlurm) -> None:
    real = re.findall(r"^test-only\| (.*)$", (DATA / "limits.txt").read_text(), re.MULTILINE)
    blotted = {re.sub(r"\d+", "9", line) for line in real}
    fake.starts = {"long": 60, "gpu": "Invalid qos specification"}
    for name in ("debug", "gpu"):
        script = f"#!/bin/bash\n#SBATCH --partition={name}\n"
        answer = fake(("sbatch", "--test-only"), timeout=1, stdin=script)
        assert re.sub(r"\d+", "9", answer.err.strip()) in blotted
    assert len(fake.jobs) == 21, "none more"
    assert slurm_limits.parse_forecast(
        fake(("sbatch", "--test-only"), timeout=1, stdin="#SBATCH --partition=long\n").err
    ).start


def test_limits_of_the_person_are_told_as_by_the_real_one(fake: FakeSlurm) -> None:
    fake.enforced = "associations,limits,qos"
    fake.users, fake.accounts = (DATA / "sacctmgr-user.txt").read_text(), (DATA / "sacctmgr-accounts.txt").read_text()
    fake.qos, fake.partitions = (DATA / "sacctmgr-qos.txt").read_text(), (DATA / "scontrol-partition.txt").read_text()
    rules = slurm.Slurm({}, fake).rules()
    assert (rules.account, rules.partition, len(rules.qos)) == ("test", "debug", 6)
    assert rules.partitions["paid"].accounts == ("lim_sub", "lim_other")
