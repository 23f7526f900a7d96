"""The PBS backend where no recording tells: what it takes for an answer, and what not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs.errors import RefusedError, UnreachableError
from hpcjobs.model import NodeShape, Partition
from hpcjobs.process import Completed
from hpcjobs.record import Tasks
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_status import parse_queues
from hpcjobs.units import Memory
from tests.pbs_answers import US, job


def pbs(code: int = 0, out: str = "", err: str = "", dialect: str = "openpbs") -> Pbs:
    """A PBS that answers always the same."""
    return Pbs({"extra": {"dialect": dialect}}, lambda argv, **_: Completed(tuple(argv), code, out, err))


RUNS = f"Job Id: 12.pbshead{US}job_state=R{US}substate=42\n"


@pytest.mark.parametrize(("code", "out"), [(-9, ""), (-9, RUNS), (1, ""), (137, RUNS)])
def test_a_qstat_that_was_killed_says_nothing_of_the_jobs_that_it_did_not_name(code: int, out: str) -> None:
    with pytest.raises(UnreachableError, match=f"qstat ended with code {code} and without a word"):
        pbs(code, out).poll([job(), job("13.pbshead")])


@pytest.mark.parametrize("dialect", ["openpbs", "torque"])
@pytest.mark.parametrize("code", [-9, 1])
def test_nor_does_it_say_that_a_job_was_never_taken_or_is_gone(code: int, dialect: str) -> None:
    with pytest.raises(UnreachableError, match=f"ended with code {code} and without a word"):
        pbs(code, dialect=dialect).find({"3f9c2a7d41be": 100.0})
    with pytest.raises(UnreachableError, match=f"qstat ended with code {code} and without a word"):
        pbs(code, dialect=dialect).cancel(["12.pbshead"])


def test_a_qselect_that_answers_and_a_qstat_that_does_not() -> None:
    def run(argv: Sequence[str], **_: object) -> Completed:
        return Completed(tuple(argv), *((0, "12.pbshead\n", "") if argv[0] == "qselect" else (-15, "", "")))

    with pytest.raises(UnreachableError, match="qstat ended with code -15"):
        Pbs({"extra": {"dialect": "openpbs"}}, run).find({"3f9c2a7d41be": 100.0})


def test_a_qstat_that_complains_is_no_answer_although_it_named_some() -> None:
    with pytest.raises(RefusedError, match="qstat: illegally formed job identifier: abc"):
        pbs(1, RUNS, "qstat: illegally formed job identifier: abc\n").poll([job(), job("abc")])


@pytest.mark.parametrize("dialect", ["openpbs", "torque"])
def test_an_unknown_job_is_gone(dialect: str) -> None:
    gone = "qstat: Unknown Job Id 12.pbshead\nqstat: 13.pbshead Job has finished, use -x or -H to obtain it\n"
    assert pbs(153, "", gone, dialect).poll([job(), job("13.pbshead")]) == {}


def test_queues_have_the_largest_node_and_parts_of_a_host_are_one() -> None:
    nodes = {
        "n1[0]": {"resources_available.host": "n1", "resources_available.ncpus": "8", "resources_available.mem": "8gb"},
        "n1[1]": {"resources_available.host": "n1", "resources_available.ncpus": "8", "resources_available.mem": "8gb"},
        "n2": {"resources_available.host": "n2", "resources_available.ncpus": "12", "resources_available.ngpus": "4"},
    }
    queues: dict[str, dict[str, str]] = {"work": {}, "long": {"resources_max.nodect": "1"}, "old": {"enabled": "False"}}
    largest = NodeShape(cores=16, memory=Memory.parse("16G"), gpus=4)
    assert parse_queues(queues, nodes, "work") == {
        "work": Partition(default=True, nodes=2, node=largest),
        "long": Partition(nodes=2, max_nodes=1, node=largest),
    }
    assert parse_queues({"work": {}}, {}) == {"work": Partition()}


def test_tasks_that_torque_has_not_made_yet_wait_like_the_others(tmp_path: Path) -> None:
    held = "Job Id: 7[{}].s\n    job_state = {}\n    Hold_Types = u\n"
    listed = "Job Id: 7[].s\n    job_state = Q\n" + held.format(0, "H") + held.format(1, "R")
    array = job("7[].s", array="0-5", folder=str(tmp_path))
    (tmp_path / "exit.2").write_text("code=0\n")
    (status,) = pbs(out=listed, dialect="torque").poll([array]).values()
    assert status.tasks is not None
    assert status.tasks.states == {"held": "0,3-5", "running": "1"}
    # One that was seen to run, and is not listed any more, does not wait.
    seen = replace(array, tasks=Tasks({"running": "3", "held": "0,4-5"}))
    (status,) = pbs(out=listed, dialect="torque").poll([seen]).values()
    assert status.tasks is not None
    assert status.tasks.states == {"held": "0,4-5", "running": "1"}


def test_cancel_names_those_last_that_wait() -> None:
    lines = [
        f"Job Id: {number}.s{US}job_state={letter}\n" for number, letter in ((1, "Q"), (2, "R"), (3, "H"), (4, "E"))
    ]
    asked: list[list[str]] = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        asked.append(list(argv))
        return Completed(tuple(argv), 0, "".join(lines) if argv[0] == "qstat" else "", "")

    scheduler = Pbs({"extra": {"dialect": "openpbs"}}, run)
    answers = scheduler.cancel(["1.s", "2.s", "3.s", "4.s", "5.s"])
    assert asked[-1] == ["qdel", "2.s", "4.s", "1.s", "3.s"]
    assert list(answers.values()) == ["", "", "", "", "PBS no longer has it in its queues"]


def test_only_torque_gets_a_short_script_for_a_long_one(tmp_path: Path) -> None:
    script = tmp_path / "job 1.sh"
    script.write_text("#!/bin/bash\n#PBS -N long\n\nset -e\n" + "# x\n" * 20_000)
    asked: list[tuple[str, ...]] = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        asked.append(tuple(argv))
        return Completed(tuple(argv), 0, "12.server\n", "")

    for dialect in ("openpbs", "torque"):
        assert Pbs({"extra": {"dialect": dialect}}, run).submit(script, tag="t", record=job()) == "12.server"
    short = tmp_path / "submit.sh"
    assert asked == [("qsub", "-f", str(script)), ("qsub", str(short))]
    assert short.read_text() == f"#!/bin/bash\n#PBS -N long\n\nexec bash '{script}'\n"
