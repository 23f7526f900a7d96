"""A study whose points come one after the other: asked, and told as they end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcjobs.errors import NotFoundError, UsageError, WaitTimeoutError
from hpcjobs.model import JobSpec
from hpcjobs.record import JobState
from hpcjobs.service import Service
from hpcjobs.store import Store
from hpcjobs.sweep import Grid, Study, StudySpec
from hpcjobs.testing import Clock, FakeSlurm

JOB = JobSpec(command=("./solve", "{x}"), runtime="none", name="bowl")


class Lab:
    """A study over a Slurm in memory; its points end when they are told to."""

    def __init__(self, home: Path) -> None:
        self.clock = Clock()
        self.slurm = FakeSlurm(self.clock)
        self.store = Store(home / "jobs.sqlite3")
        self.service = Service(runner=self.slurm, clock=self.clock, sleep=self.sleep, store=self.store)
        self.study = Study(JOB, results=["y=y = (.*)"], site="testbed", service=self.service)
        self.ends: list[tuple[int, int]] = []  # what ends at the next look: point and code

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(max(seconds, 60))
        for point, code in self.ends:
            self.end(point, code)
        self.ends = []

    def end(self, point: int, code: int = 0) -> None:
        """The task of the point ends, and has written what such a task writes."""
        record = self.store.study(1)
        job = next(j for j in self.store.jobs_of(1) if point in record.rounds[j.round - 1])
        index = record.rounds[job.round - 1].numbers().index(point) - job.first
        lines = (
            f"p {job.tag} {point} {code} {self.clock()} {self.clock() + 2}\n"
            f"t {job.tag} {index} {code} 0 {int(self.clock())} {int(self.clock()) + 2} 0 {job.native_id}\n"
        )
        with (Path(record.folder) / "ends/n1").open("a") as file:
            file.write(lines)
        log = Path(record.folder) / f"log/0/{point}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(f"y = {point + 0.5}\n" if code == 0 else "no\n")
        self.slurm.finish(job.native_id, "FAILED" if code else "COMPLETED", index=index, code=f"{code}:0")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    lab = Lab(tmp_path / "home")
    yield lab
    lab.store.close()


def test_points_are_asked_in_rounds_and_told_as_they_end(lab: Lab) -> None:
    assert lab.study.label == ""
    assert lab.study.ask({"x": 1.5}, {"x": 2.5}) == [0, 1]
    assert lab.study.label == "s1"
    lab.ends = [(1, 0)]
    answers = lab.study.tell()
    first = next(answers)
    assert (first.number, first.parameters, first.state, first.exit_code) == (1, {"x": 2.5}, JobState.DONE, 0)
    assert (first.results, first.problems, first.done, first.seconds) == ({"y": 1.5}, (), True, 2.0)
    lab.ends = [(0, 3)]
    (second,) = list(answers)
    assert (second.number, second.state, second.exit_code, second.done) == (0, JobState.FAILED, 3, False)
    assert list(lab.study.tell()) == []

    # What was asked before is known, and not run again.
    assert lab.study.ask({"x": 2.5}, {"x": 4}) == [1, 2]
    lab.ends = [(2, 0)]
    assert [point.number for point in lab.study.tell()] == [1, 2]
    assert lab.slurm.count("sbatch") == 2
    assert [each.why for each in lab.store.study(1).rounds] == ["design", "ask"]


def test_a_study_is_opened_again(lab: Lab) -> None:
    lab.study.ask({"x": 1.5})
    again = Study.open("s1", service=lab.service)
    assert again.ask({"x": 1.5}, {"x": 7}) == [0, 1]
    lab.ends = [(0, 0), (1, 0)]
    assert {point.number: point.results["y"] for point in again.tell()} == {0: 0.5, 1: 1.5}
    with pytest.raises(NotFoundError, match="there is no study s9"):
        Study.open("s9", service=lab.service)


def test_a_wait_for_answers_may_end_before_they_come(lab: Lab) -> None:
    lab.study.ask({"x": 1}, {"x": 2})
    lab.ends = [(0, 0)]
    answers = lab.study.tell(timeout=90)
    assert next(answers).number == 0
    with pytest.raises(WaitTimeoutError, match="1 points of s1 have not ended after 90 s"):
        next(answers)
    lab.ends = [(1, 0)]
    assert [point.number for point in lab.study.tell(timeout=90)] == [1]


def test_a_result_that_cannot_be_read_is_told(lab: Lab) -> None:
    lab.study.ask({"x": 1})
    lab.end(0)
    (Path(lab.store.study(1).folder) / "log/0/0.log").write_text("garbage")
    (point,) = lab.study.tell()
    assert (point.state, point.done, dict(point.results)) == (JobState.DONE, False, {})
    assert "y" in point.problems[0]


def test_numbers_of_numpy_are_numbers(lab: Lab) -> None:
    import numpy as np

    assert lab.study.ask({"x": np.float64(0.1), "n": np.int64(3)}) == [0]
    assert lab.study.ask({"x": 0.1, "n": 3}) == [0]
    lab.ends = [(0, 0)]
    (point,) = lab.study.tell()
    assert (point.parameters, lab.store.study(1).kinds) == ({"x": 0.1, "n": 3}, ("float", "int"))


def test_a_whole_design_is_sent_at_once(lab: Lab) -> None:
    spec = StudySpec(job=JOB, design=Grid({"x": [1, 2, 3]}), results=("y=y = (.*)",))
    study = Study.submit(spec, site="testbed", service=lab.service)
    assert study.label == "s1"
    lab.ends = [(0, 0), (1, 3), (2, 0)]
    assert {point.number: point.done for point in study.tell()} == {0: True, 1: False, 2: True}
    assert study.results() == {
        "point": [0, 1, 2],
        "x": [1, 2, 3],
        "state": ["done", "failed", "done"],
        "exit_code": [0, 3, 0],
        "seconds": [2.0, 2.0, 2.0],
        "attempts": [1, 1, 1],
        "y": [0.5, None, 2.5],
    }
    assert lab.study.results() == {}


def test_points_have_all_the_same_parameters(lab: Lab) -> None:
    with pytest.raises(UsageError, match="there is nothing to ask"):
        lab.study.ask()
    with pytest.raises(UsageError, match="a point with the parameters y, where x are asked for"):
        lab.study.ask({"x": 1}, {"y": 1})
    lab.study.ask({"x": 1})
    with pytest.raises(UsageError, match="a point with the parameters x, z, where x are asked for"):
        lab.study.ask({"x": 1, "z": 2})


def test_the_name_is_loaded_when_it_is_used() -> None:
    import hpcjobs.sweep

    with pytest.raises(AttributeError, match="has no attribute 'Studio'"):
        getattr(hpcjobs.sweep, "Studio")  # noqa: B009 - mypy
    assert dir(hpcjobs.sweep)[:2] == ["Chain", "Grid"]
