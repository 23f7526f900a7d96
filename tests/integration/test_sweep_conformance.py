"""What studies do on every scheduler: the real Slurm, the embedded local one, the PBS in both its dialects."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import paths, studies
from hpcjobs.errors import RefusedError
from hpcjobs.model import JobSpec
from hpcjobs.record import JobState
from hpcjobs.service import Service
from hpcjobs.studies import Chosen, Known
from hpcjobs.sweep.design import Grid
from hpcjobs.sweep.record import StudyRecord
from hpcjobs.sweep.spec import StudySpec
from hpcjobs.sweep_service import Sweeps
from tests.integration import test_conformance as jobs
from tests.integration.crash import STUDY_POINTS

kind, site, service = jobs.kind, jobs.site, jobs.service
S = JobState
CRASH = Path(__file__).with_name("crash.py")
# Leaves a file of its own; a second time it would fail with 99.
ONCE = 'set -C; mkdir -p ran; true >"ran/$HPCJOB_POINT" || exit 99; '
PACKINGS = pytest.mark.parametrize("packing", [{}, {"pack": 4, "workers": 2}], ids=["one", "pack"])


class Runner:
    """Studies of bash scripts on one site."""

    def __init__(self, service: Service, site: str, home: Path) -> None:
        self.service, self.site, self.home = service, site, home
        self.sweeps = Sweeps(service)

    def submit(self, script: str, count: int = 10, job: dict[str, Any] | None = None, **more: Any) -> StudyRecord:
        """A study of `count` points, in which the script knows its own as $i."""
        spec = JobSpec(command=("bash", "-c", script), runtime="none", ntasks=1, **(job or {}))
        return self.sweeps.submit(StudySpec(job=spec, design=Grid({"i": list(range(count))}), **more), site=self.site)[
            0
        ]

    def over(self, study: StudyRecord) -> Known:
        """The study once nothing of it runs or waits, looked after all the time."""
        while True:
            now, sent = self.sweeps.tend(study)
            waiting = [job for job in self.service.store.jobs_of(study.id) if not job.state.final]
            if not waiting and not sent.left:
                return now
            self.service.wait(waiting, timeout=120)

    def until(self, study: StudyRecord, number: int, state: JobState) -> None:
        """Wait until a point is in that state."""
        for _ in range(500):
            now = studies.known(self.service, study, force=True).points.states[number]
            if now is state:
                return
            assert not now.final, now
            self.service.sleep(0.1)
        raise AssertionError(f"it is never {state}")

    def ends(self, study: StudyRecord, kind: str = "p") -> Counter[tuple[int, str]]:
        """The points that recorded an end, with its code; or the tasks (`t`)."""
        files = paths.StudyFolder(Path(study.folder)).ends.glob("*")
        lines = [line.split() for file in files for line in file.read_text().splitlines()]
        return Counter((int(words[2]), words[3]) for words in lines if words[0] == kind)

    def ran(self) -> list[int]:
        """The points that ran, from the files that they left."""
        return sorted(int(file.name) for file in (self.home / "ran").glob("*"))


@pytest.fixture
def run(service: Service, site: str, home: Path) -> Runner:
    return Runner(service, site, home)


@pytest.fixture
def small(site: str, home: Path, service: Service) -> Runner:
    """On a site whose arrays have four tasks at most."""
    text = f"extends: {site}\nscheduler: {{max_array: 4}}\n"
    (home / ".hpcjobs/sites").mkdir(parents=True, exist_ok=True)
    (home / ".hpcjobs/sites/its-small.yaml").write_text(text)
    return Runner(service, "its-small", home)


@PACKINGS
def test_every_point_runs_once_and_its_end_is_recorded(run: Runner, packing: dict[str, Any]) -> None:
    study = run.submit(ONCE + "case $i in 3) exit 7 ;; 8) kill -9 $$ ;; esac", **packing)
    now = run.over(study)
    codes = {number: 7 if number == 3 else 137 if number == 8 else 0 for number in range(10)}
    assert now.points.states == [S.FAILED if code else S.DONE for code in codes.values()]
    assert {number: now.points.exit_code(number) for number in range(10)} == codes
    assert run.ends(study) == Counter((number, str(code)) for number, code in codes.items())
    assert run.ran() == list(range(10))
    assert now.points.attempts == [1] * 10
    assert {job.state for job in now.jobs} == {S.FAILED}


@PACKINGS
def test_a_study_longer_than_an_array_is_several(small: Runner, packing: dict[str, Any]) -> None:
    count = 10 * packing.get("pack", 1)
    study = small.submit(ONCE, count, **packing)
    now = small.over(study)
    assert [job.rows // packing.get("pack", 1) for job in now.jobs] == [4, 4, 2]
    assert now.points.states == [S.DONE] * count
    assert small.ran() == list(range(count))
    assert small.ends(study) == Counter((number, "0") for number in range(count))


def test_never_run_more_than_asked_for(small: Runner) -> None:
    # Each point sees how many run beside it.
    study = small.submit("mkdir run.$i; ls -d run.* | wc -l >seen.$i; sleep 0.1; rmdir run.$i", max_running=2)
    now = small.over(study)
    assert len(now.jobs) == 3
    assert now.points.states == [S.DONE] * 10
    assert max(int((small.home / f"seen.{number}").read_text()) for number in range(10)) <= 2


@PACKINGS
def test_what_failed_is_run_again(run: Runner, home: Path, packing: dict[str, Any]) -> None:
    study = run.submit("[[ $i != [37] || -e good ]]", **packing)
    now = run.over(study)
    assert now.points.some(frozenset({S.FAILED})) == (3, 7)
    (home / "good").touch()
    study, _, numbers = run.sweeps.resubmit(Chosen(study), ["failed"])
    assert numbers == (3, 7)
    now = run.over(study)
    assert now.points.states == [S.DONE] * 10
    assert [number for number, tries in enumerate(now.points.attempts) if tries == 2] == [3, 7]
    assert run.ends(study) == Counter([*((number, "0") for number in range(10)), (3, "1"), (7, "1")])


def test_a_point_of_a_pack_has_a_time_of_its_own(run: Runner, home: Path) -> None:
    study = run.submit("[[ $i != 1 || -e go ]] || exec sleep 300", 3, pack=3, workers=1, job={"time": 1})
    now = run.over(study)
    assert now.points.states == [S.DONE, S.TIMEOUT, S.DONE]
    (home / "go").touch()
    study, _, numbers = run.sweeps.resubmit(Chosen(study), ["failed"], time="x60")
    assert numbers == (1,)
    assert run.over(study).points.states == [S.DONE] * 3
    assert [each.time for each in study.rounds] == [0, 60]


def test_one_point_is_cancelled(kind: str, run: Runner) -> None:
    study = run.submit("[[ $i != 1 ]] || exec sleep 300", 3)
    run.until(study, 1, S.RUNNING)
    if kind == "slurm-torque":
        with pytest.raises(RefusedError, match="cancels an array as a whole only"):
            studies.cancel_points(run.service, study, [1])
        assert not any(outcome.problem for outcome in studies.cancel(run.service, study))
        return
    done = studies.cancel_points(run.service, study, [1])
    assert (done.points, [outcome.problem for outcome in done.outcomes]) == ((1,), [""])
    now = run.over(study)
    assert now.points.states == [S.DONE, S.CANCELLED, S.DONE]


def test_a_point_that_waits_in_a_pack_is_not_begun_any_more(run: Runner) -> None:
    study = run.submit(ONCE + "until [[ -e go ]]; do sleep 0.1; done", 3, pack=3, workers=1)
    run.until(study, 0, S.RUNNING)
    done = studies.cancel_points(run.service, study, [0, 2])
    assert (done.points, done.running) == ((2,), (0,))
    (run.home / "go").touch()
    now = run.over(study)
    assert now.points.states == [S.DONE, S.DONE, S.CANCELLED]
    assert run.ran() == [0, 1]


@PACKINGS
def test_the_whole_is_cancelled(small: Runner, packing: dict[str, Any]) -> None:
    study = small.submit("exec sleep 300", 20, **packing)
    small.until(study, 0, S.RUNNING)
    assert not any(outcome.problem for outcome in studies.cancel(small.service, study))
    now = small.over(study)
    assert {job.state for job in now.jobs} == {S.CANCELLED}
    assert set(now.points.states) <= {S.CANCELLED, S.CREATED}, "points of a pack that were not begun are in no queue"
    assert now.points.states[0] is S.CANCELLED


@pytest.mark.parametrize("point", STUDY_POINTS)
def test_killed_while_it_sends(kind: str, small: Runner, point: str) -> None:
    words = [sys.executable, str(CRASH), "study", point]
    env = {**os.environ, "CRASH_SITE": small.site, "CRASH_SCRIPT": ONCE}
    died = subprocess.run(words, check=False, timeout=120, env=env)
    assert died.returncode == -9
    # What a submission left is given some time before it is looked for.
    later = Service(sleep=small.service.sleep, clock=lambda: Service().now() + 60)
    run = Runner(later, small.site, small.home)
    (study,) = later.store.studies()
    run.sweeps.feed(study)
    now = run.over(study)
    assert now.points.states == [S.DONE] * 10, now.jobs
    assert run.ran() == list(range(10))
    assert run.ends(study) == Counter((number, "0") for number in range(10)), "doubled"
    assert sum(run.ends(study, "t").values()) == 10
