"""Slurm by pyslurm, in the shapes of pyslurm 25.11, which no Slurm of Debian has."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from hpcjobs import process
from hpcjobs.errors import UnreachableError
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState
from hpcjobs.schedulers import slurm, slurm_api
from hpcjobs.schedulers.slurm import Slurm

DATA = Path(__file__).parent.parent / "data/slurm/22.05"
ME = os.getuid()
CONFIG = "ClusterName             = alps\nSLURM_VERSION           = 24.11.5\n"


def job(number: int, **more: Any) -> SimpleNamespace:
    """A `pyslurm.Job`: what is not set is None, and so is number 0 of an array."""
    values: dict[str, Any] = {
        "id": number, "user_id": ME, "array_id": None, "array_task_id": None, "array_tasks_waiting": None,
        "state": "PENDING", "state_reason": "Priority", "start_time": None, "end_time": None, "allocated_nodes": None,
        "comment": None,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **more})


# As the queue in tests/data/slurm/22.05/squeue.txt.
RAN: dict[str, Any] = {"start_time": 1795225318, "end_time": 1795225318, "allocated_nodes": "n4", "state_reason": None}
JOBS = [
    job(24, state="COMPLETED", comment="hpcjob:0123456789ab", **RAN),
    job(31, array_id=23, state="COMPLETED", **RAN),
    job(32, array_id=23, array_task_id=1, state="FAILED", **RAN),
    job(23, array_id=23, array_tasks_waiting="2,5-9"),
    job(27, state="RUNNING", state_reason="None", start_time=1795225319, end_time=1795228919, allocated_nodes="n[1-4]"),
    job(99, user_id=ME + 1),
]


def record(native_id: str, **more: object) -> JobRecord:
    values: dict[str, object] = {
        "id": 1, "tag": "0123456789ab", "name": "n", "site": "s", "scheduler": "slurm", "folder": "/f", "workdir": "/w",
        "output": "/o", "error": "/e", "created": 100.0, "native_id": native_id,
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def pyslurm(mocker: MockerFixture) -> Any:
    module = mocker.Mock(__version__="24.11.0", RPCError=type("RPCError", (Exception,), {}))
    module.Jobs.load.return_value = {one.id: one for one in JOBS}
    mocker.patch.dict(sys.modules, {"pyslurm": module})
    return module


@pytest.fixture
def answers(capfdbinary: pytest.CaptureFixture[bytes], pyslurm: Any) -> Any:
    """A `Runner` that runs the program in this process, over the stand-in; other commands are answered with nothing."""

    def run(argv: Sequence[str], **_: object) -> Completed:
        if argv[0] != sys.executable:
            return Completed(tuple(argv), 0, CONFIG if argv[0] == "scontrol" else "", "")
        code = slurm_api.main(argv[4:])
        out, err = capfdbinary.readouterr()
        return Completed(tuple(argv), code, out.decode(), err.decode())

    return run


def scheduler(run: Any, **extra: str) -> Slurm:
    return Slurm({"driver": "api", "extra": extra}, run)


USED = {"release": "24.11.5", "api": ""}


def test_the_queue(answers: Any) -> None:
    found = scheduler(answers, **USED).poll([record("23", array="0-9"), record("24"), record("27"), record("99")])
    assert sorted(found) == ["23", "24", "27"]
    tasks = found["23"].tasks
    assert tasks is not None
    assert tasks.states == {"done": "0", "failed": "1", "pending": "2,5-9"}
    recorded = slurm.parse_queue((DATA / "squeue.txt").read_text(), {"24", "27"})
    assert {"24": found["24"], "27": found["27"]} == recorded


def test_find(answers: Any) -> None:
    assert scheduler(answers, **USED).find({"0123456789ab": 1.0}) == {"0123456789ab": "24"}


def test_explain(answers: Any) -> None:
    assert scheduler(answers, **USED).explain(record("23")).words == "other jobs are before it in the queue"


def test_it_is_used(answers: Any) -> None:
    assert not scheduler(answers).identified
    assert scheduler(answers).identify() == USED
    assert scheduler(answers, **USED).identified
    assert scheduler(answers, **USED).diagnose().details["driver"] == "api"


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("24.11.0", ""),
        ("24.5.1", "pyslurm 24.5.1 is not of the cluster's release, Slurm 24.11.5"),
        ("25.11.2", "pyslurm 25.11.2 is not of the cluster's release, Slurm 24.11.5"),
    ],
)
def test_releases(answers: Any, pyslurm: Any, version: str, why: str) -> None:
    pyslurm.__version__ = version
    diagnosis = scheduler(answers).diagnose()
    assert diagnosis.warning == (why and f"the commands are used: {why}")


def test_releases_are_written_in_two_ways(pyslurm: Any) -> None:
    pyslurm.__version__ = "23.2.3"
    assert slurm_api._load("23.02.7") is pyslurm


def test_the_old_interface(answers: Any, pyslurm: Any) -> None:
    del pyslurm.Jobs
    assert "pyslurm 24.11.0 is too old: 23.2 or later is needed" in scheduler(answers).diagnose().warning


def test_an_error_of_slurm_is_the_commands_to_tell(answers: Any, pyslurm: Any) -> None:
    pyslurm.Jobs.load.side_effect = pyslurm.RPCError("Unable to contact slurm controller (connect failure)")

    def down(argv: Sequence[str], **more: object) -> Completed:
        if argv[0] != "squeue":
            return answers(argv, **more)  # type: ignore[no-any-return]
        return Completed(
            tuple(argv), 1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
        )

    with pytest.raises(UnreachableError, match="Unable to contact slurm controller"):
        scheduler(down, **USED).poll([record("24")])


def test_words_that_it_does_not_know_are_squeues(pyslurm: Any) -> None:
    with pytest.raises(slurm_api.UnusableError, match="squeue --steps --format=%i"):
        slurm_api._squeue(pyslurm, ["--steps", "--format=%i"])


def test_without_pyslurm_the_commands_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package was built for another Slurm: it says so when it is imported."""
    text = "raise RuntimeError('Slurm version mismatch: requires Slurm 25.11, found 26.5')\n"
    (tmp_path / "pyslurm.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    queue = (DATA / "squeue.txt").read_text()

    def run(argv: Sequence[str], **more: Any) -> Completed:
        if argv[0] == sys.executable:
            return process.run(argv, **more)
        return Completed(tuple(argv), 0, CONFIG if argv[0] == "scontrol" else queue, "")

    problem = "pyslurm does not load: RuntimeError: Slurm version mismatch: requires Slurm 25.11, found 26.5"
    assert scheduler(run).identify() == {"release": "24.11.5", "api": problem}
    for extra in (USED, {**USED, "api": problem}):
        assert scheduler(run, **extra).poll([record("24")])["24"].state is JobState.DONE


def test_the_command_driver_asks_nothing_of_the_kind() -> None:
    plain = Slurm({}, lambda *_, **__: Completed((), 1, "", "asked"))
    assert plain.identified
    assert plain.identify() == {}
