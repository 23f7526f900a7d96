"""States, tasks and exit files."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from hpcjobs.record import (
    JobRecord,
    JobState,
    JobStatus,
    Tasks,
    advance,
    dump_tasks,
    parse_exit_file,
    read_exit_file,
    summary,
)

S = JobState
RECORD = JobRecord(
    id=1, tag="t", name="n", site="s", scheduler="slurm", folder="/f", workdir="/w", output="/o", error="/e", created=100.0
)  # fmt: skip


@pytest.mark.parametrize(("old", "new"), list(product(JobState, JobState)))
def test_late_news_never_moves_a_job_backwards(old: JobState, new: JobState) -> None:
    state = advance(old, new)
    assert state in {old, new}
    if old.final:
        assert state is old
    if old is S.RUNNING and new in {S.CREATED, S.PENDING, S.HELD}:
        assert state is old


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        (S.PENDING, S.HELD, S.HELD),
        (S.HELD, S.PENDING, S.PENDING),
        (S.RUNNING, S.UNKNOWN, S.UNKNOWN),
        (S.DONE, S.UNKNOWN, S.DONE),
        (S.UNKNOWN, S.RUNNING, S.RUNNING),
        (S.CREATED, S.DONE, S.DONE),
    ],
)
def test_news(old: JobState, new: JobState, state: JobState) -> None:
    assert advance(old, new) is state


def test_a_requeue_goes_back() -> None:
    assert advance(S.RUNNING, S.PENDING, requeued=True) is S.PENDING
    ran = replace(RECORD, state=S.RUNNING, started=5.0, exit_code=None)
    again = ran.updated(JobStatus(S.PENDING, restarts=1), now=9.0)
    assert (again.state, again.started, again.restarts) == (S.PENDING, 0.0, 1)


def test_unknown_keeps_what_was_known_and_when() -> None:
    ran = replace(RECORD, state=S.RUNNING, seen=50.0, started=5.0)
    lost = ran.updated(JobStatus(S.UNKNOWN), now=90.0)
    assert (lost.state, lost.seen, lost.started) == (S.UNKNOWN, 50.0, 5.0)


def test_an_end_without_a_time_ended_now_at_the_latest() -> None:
    assert RECORD.updated(JobStatus(S.CANCELLED), now=9.0).ended == 9.0


def test_a_record_survives_json() -> None:
    record = replace(RECORD, state=S.OOM, command=("a", "b\udcff"), tasks=Tasks({"done": "0-3"}, {"2": 4}), exit_code=3)
    assert JobRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_keys_of_a_newer_version_are_ignored() -> None:
    assert JobRecord.from_json({**RECORD.to_json(), "colour": "blue"}) == RECORD


def test_tasks() -> None:
    tasks = Tasks.build({0: S.DONE, 1: S.DONE, 2: S.FAILED, 5: S.DONE}, {0: 0, 2: 9})
    assert tasks == Tasks({"done": "0-1,5", "failed": "2"}, {"2": 9})
    assert tasks.counts() == {S.DONE: 3, S.FAILED: 1}
    assert tasks.each() == {0: S.DONE, 1: S.DONE, 2: S.FAILED, 5: S.DONE}
    assert tasks.overall() is S.FAILED
    assert Tasks().overall() is S.UNKNOWN
    assert dump_tasks(tasks) == '{"states":{"done":"0-1,5","failed":"2"},"codes":{"2":9}}'
    assert not dump_tasks(None)


@pytest.mark.parametrize(
    ("states", "overall"),
    [([S.DONE, S.RUNNING, S.FAILED], S.RUNNING), ([S.DONE, S.OOM], S.OOM), ([S.DONE], S.DONE), ([], S.DONE)],
)
def test_the_worst_end_counts(states: list[JobState], overall: JobState) -> None:
    assert summary(states) is overall


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("code=0\nsignal=\nstart=5\nend=9\nhost=n1\nid=12\n", JobStatus(S.DONE, exit_code=0, started=5.0, ended=9.0, nodes="n1")),
        ("code=3\nsignal=0\nstart=5\nend=9\nhost=n1\nrestarts=2\n", JobStatus(S.FAILED, exit_code=3, started=5.0, ended=9.0, nodes="n1", restarts=2)),
        ("code=143\nsignal=15\nstart=5\nend=9\n", JobStatus(S.FAILED, exit_code=143, signal=15, started=5.0, ended=9.0)),
        ("code=137\nsignal=\nstart=5\nend=9\n", JobStatus(S.FAILED, exit_code=137, signal=9, started=5.0, ended=9.0)),
        ("code=255\nsignal=\nstart=5\nend=9\n", JobStatus(S.FAILED, exit_code=255, started=5.0, ended=9.0)),
        ("code=", None),
        ("", None),
        ("code=x\nstart=1\nend=2\n", None),
    ],
)  # fmt: skip
def test_exit_files(text: str, status: JobStatus | None) -> None:
    assert parse_exit_file(text) == status


def test_no_exit_file(tmp_path: Path) -> None:
    assert read_exit_file(tmp_path / "exit") is None
    (tmp_path / "exit").write_text("code=0\nstart=1\nend=2\n")
    assert read_exit_file(tmp_path / "exit") == JobStatus(S.DONE, exit_code=0, started=1.0, ended=2.0)


def test_label_and_indices() -> None:
    assert RECORD.label == "j1"
    assert RECORD.indices() == ()
    assert replace(RECORD, array="0-2,9").indices() == (0, 1, 2, 9)
    assert str(S.NODE_FAIL) == "node_fail"
