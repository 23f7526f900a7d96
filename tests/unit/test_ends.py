"""Ends of jobs whose scheduler keeps no history: what the files in the job's folder still tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs import ends
from hpcjobs.record import JobRecord, JobState, JobStatus, Tasks

S = JobState


@pytest.fixture
def record(tmp_path: Path) -> JobRecord:
    return JobRecord(
        id=1,
        tag="0" * 12,
        name="job",
        site="pbs",
        scheduler="pbs",
        folder=str(tmp_path),
        workdir="/w",
        output="/o",
        error="/e",
        native_id="12.server",
        created=1000.0,
    )  # fmt: skip, native_id="12.server", created=1000)


def test_a_job_without_an_end_is_known_by_where_it_began(record: JobRecord) -> None:
    assert ends.settle(record, None) == JobStatus(S.UNKNOWN)
    Path(record.folder, "start").write_text("id=12.server\nstart=1700\nhost=n7\n")
    assert ends.settle(record, None) == JobStatus(S.UNKNOWN, started=1700.0, nodes="n7")
    Path(record.folder, "start").write_text("start=17")  # torn, by a full disk
    assert ends.settle(record, None) == JobStatus(S.UNKNOWN, started=17.0)
    Path(record.folder, "exit").write_text("code=3\nsignal=0\nstart=1700\nend=1800\nhost=n7\nid=12.server\n")
    assert ends.settle(record, None).exit_code == 3


@pytest.mark.parametrize("name", ["exit", "start", "exit.4", "start.4"])
@pytest.mark.parametrize("native_id", ["12", "12.server", "12[].server", "12.login-1.example.org"])
def test_the_id_stands_in_its_files(record: JobRecord, name: str, native_id: str) -> None:
    assert not ends.id_in_its_files(record)
    Path(record.folder, name).write_text(f"code=0\nid={native_id}\n")
    assert ends.id_in_its_files(record) == native_id


@pytest.mark.parametrize(
    ("change", "words", "advice"),
    [
        (
            {"state": S.CANCELLED, "reason": "Dependency", "raw": "F 92"},
            "the job that it waited for did not end as asked",
            "hpcjob show j1 tells which",
        ),
        ({"state": S.CANCELLED, "raw": "F 91"}, "it was cancelled by the scheduler (F 91)", "hpcjob resubmit j1 runs it again"),
        (
            {"state": S.FAILED, "reason": "a hook of the site rejected it", "raw": "F -17"},
            "a hook of the site rejected it",
            "hpcjob resubmit j1 runs it again",
        ),
        ({"state": S.FAILED, "reason": "x", "exit_code": 7}, "the program returned exit code 7", ""),
        (
            {"state": S.FAILED, "exit_code": 1, "output": "/no/such/folder/of.log"},
            "the folder for its output is not there: /no/such/folder",
            "make it anew; hpcjob resubmit j1 runs it again",
        ),
        # Somebody may have removed it later.
        ({"state": S.FAILED, "exit_code": 7, "output": "/no/such/of.log"}, "the program returned exit code 7", ""),
    ],
)  # fmt: skip
def test_an_end_in_words(record: JobRecord, change: dict[str, object], words: str, advice: str) -> None:
    assert ends.describe_end(replace(record, **change)) == (words, advice)  # type: ignore[arg-type]


@pytest.mark.parametrize(("after", "state"), [(29, S.UNKNOWN), (31, S.CANCELLED)])
def test_a_cancelled_job_that_had_to_be_killed(record: JobRecord, after: float, state: JobState) -> None:
    running = replace(record, state=S.RUNNING, started=1700.0, cancelled=2000.0)
    assert ends.settle_lost(running, ends.settle(running, None), {}, 2000.0 + after).state is state
    untouched = replace(running, cancelled=0.0)
    assert ends.settle_lost(untouched, ends.settle(untouched, None), {}, 9999.0).state is S.UNKNOWN


def test_tasks_of_a_cancelled_array_that_were_ended_by_a_signal_did_not_fail(record: JobRecord) -> None:
    for index, end in enumerate(("code=143\nsignal=15", "code=0\nsignal=0", "code=7\nsignal=0")):
        Path(record.folder, f"exit.{index}").write_text(f"{end}\nstart=1700\nend=1800\nid=12.server\n")
    array = replace(record, array="0-3", state=S.RUNNING)
    for change, states in (
        ({"cancelled": 2000.0}, {"cancelled": "0,3", "done": "1", "failed": "2"}),
        ({"cancelled_tasks": "0"}, {"cancelled": "0", "done": "1", "failed": "2", "unknown": "3"}),
        ({}, {"done": "1", "failed": "0,2", "unknown": "3"}),
    ):
        tasks = ends.settle(replace(array, **change), None).tasks
        assert tasks is not None
        assert tasks.states == states


@pytest.mark.parametrize(("end", "state"), [(99, S.FAILED), (100, S.CANCELLED), (140, S.CANCELLED)])
def test_a_task_that_ends_after_its_cancellation_was_cancelled_whatever_its_code(
    record: JobRecord, end: int, state: JobState
) -> None:
    array = replace(record, array="0-1", cancelled=101.0)
    Path(record.folder, "exit.0").write_text(f"code=1\nsignal=0\nstart=1\nend={end}\nhost=n1\nid=12.server\n")
    for tasks in (Tasks({"failed": "0", "running": "1"}), Tasks({"running": "1"})):
        # A task that has left the queue, and one that the queue calls failed.
        found = ends.settle(array, JobStatus(S.RUNNING, tasks=tasks)).tasks
        assert found
        assert found.each() == {0: state, 1: S.RUNNING}
    left = JobStatus(S.CANCELLED, tasks=Tasks({"cancelled": "0-1"}))
    memory = JobStatus(S.FAILED, tasks=Tasks({"failed": "0", "timeout": "1"}))
    lost = ends.settle_lost(array, left, {"12.server": memory}, 200.0).tasks
    assert lost
    assert lost.each() == {0: S.CANCELLED, 1: S.TIMEOUT}
