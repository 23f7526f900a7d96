"""The database and the job folders, on good days and bad ones."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs import paths
from hpcjobs.errors import NotFoundError, StoreError
from hpcjobs.record import JobRecord, JobState, JobStatus, Tasks
from hpcjobs.store import SCHEMA, Store, submission_lock, submission_under_way


def draft(store: Store, tag: str = "abc", **more: object) -> JobRecord:
    values: dict[str, object] = {
        "id": 0, "tag": tag, "name": "n", "site": "s", "scheduler": "slurm",
        "folder": str(store.path.parent / "jobs" / f"n-{tag}"), "workdir": "/w", "output": "/o", "error": "/e",
        "created": 100.0,
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "home/jobs.sqlite3")
    yield store
    store.close()


def test_reserve_commit_and_read_back(store: Store) -> None:
    record = store.reserve(draft(store), {"job.sh": "echo\n"})
    assert record.id == 1
    assert store.reserved() == [record]
    done = store.commit(record, "4711", 101.0)
    assert (done.state, done.native_id, done.submitted) == (JobState.PENDING, "4711", 101.0)
    assert store.reserved() == []
    assert Store(store.path).get(1) == done
    assert store.by_native_id("4711") == [done]
    assert store.last() == done
    assert store.active() == [done]


def test_a_job_is_found_by_the_number_that_pbs_gave_it(store: Store) -> None:
    ids = ["12.pbs-1.example.org", "12[].pbs", "120.pbs", "12"]
    records = [store.commit(store.reserve(draft(store, str(i)), {}), native, 1.0) for i, native in enumerate(ids)]
    assert store.by_native_id("12") == [records[3], records[1], records[0]]
    assert store.by_native_id("12.pbs-1.example.org") == [records[0]]


def test_the_files_are_private(store: Store) -> None:
    record = store.reserve(draft(store), {"job.sh": "echo\n", "spec.json": "{}"})
    folder = Path(record.folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert sorted(file.name for file in folder.iterdir()) == ["job.sh", "record.json", "spec.json", "submit.lock"]


def test_numbers_are_never_used_again(store: Store) -> None:
    first = store.reserve(draft(store, "a"), {})
    store.drop(first)
    assert not Path(first.folder).exists()
    assert store.reserve(draft(store, "b"), {}).id == 2
    with pytest.raises(NotFoundError, match="there is no job j1"):
        store.get(1)


def test_a_committed_job_cannot_be_dropped(store: Store) -> None:
    record = store.reserve(draft(store), {})
    store.commit(record, "7", 1.0)
    store.drop(record)
    assert store.get(1).native_id == "7"


def test_the_same_tag_twice_leaves_one(store: Store) -> None:
    first = store.reserve(draft(store), {"job.sh": "1"})
    with pytest.raises(StoreError):
        store.reserve(draft(store), {"job.sh": "2"})
    assert store.history() == [first]
    assert Path(first.folder, "job.sh").read_text() == "1"


def test_fifty_at_once(tmp_path: Path) -> None:
    def one(number: int) -> int:
        store = Store(tmp_path / "jobs.sqlite3")
        try:
            return store.reserve(draft(store, f"t{number}"), {}).id
        finally:
            store.close()

    with ThreadPoolExecutor(50) as pool:
        assert sorted(pool.map(one, range(50))) == list(range(1, 51))


def test_news_is_merged_with_what_others_wrote_meanwhile(store: Store) -> None:
    record = store.commit(store.reserve(draft(store), {}), "7", 1.0)
    other = Store(store.path)
    other.apply({1: JobStatus(JobState.DONE, exit_code=0, ended=9.0)}, 9.0)
    late = store.apply({1: JobStatus(JobState.RUNNING)}, 10.0)
    assert late[1].state is JobState.DONE
    assert store.apply({99: JobStatus(JobState.DONE)}, 1.0) == {}
    assert store.apply({}, 1.0) == {}
    assert record.state is JobState.PENDING


def test_history_and_recent(store: Store) -> None:
    for number in range(4):
        store.commit(store.reserve(draft(store, f"t{number}", created=float(number)), {}), str(number), 1.0)
    store.apply({1: JobStatus(JobState.DONE, ended=50.0), 2: JobStatus(JobState.FAILED, ended=10.0)}, 60.0)
    assert [record.id for record in store.history()] == [4, 3, 2, 1]
    assert [record.id for record in store.history(limit=2)] == [4, 3]
    assert [record.id for record in store.history(since=2.0)] == [4, 3]
    assert [record.id for record in store.recent(20.0)] == [1, 3, 4]
    assert [record.id for record in store.between(2, 3)] == [2, 3]


def test_one_poll_an_interval_for_everybody(store: Store) -> None:
    other = Store(store.path)
    assert store.claim_poll("c", 5.0, 100.0)
    assert not other.claim_poll("c", 5.0, 104.0)
    assert other.claim_poll("d", 5.0, 104.0)
    assert other.claim_poll("c", 5.0, 105.0)
    store.release_poll("c")
    assert store.claim_poll("c", 5.0, 105.5)
    assert store.claim_poll("c", 5.0, 50.0), "a clock that is behind must not wait for the future"


def test_cancels_are_noted(store: Store) -> None:
    store.commit(store.reserve(draft(store, array="0-9"), {}), "7", 1.0)
    store.mark_cancelled({1: (3, 4), 99: ()}, 5.0)
    store.mark_cancelled({1: (5,)}, 6.0)
    assert (store.get(1).cancelled_tasks, store.get(1).cancelled) == ("3-5", 0.0)
    store.mark_cancelled({1: ()}, 7.0)
    assert store.get(1).cancelled == 7.0


# ------------------------------------------------------------------------------------------- bad days


def test_a_newer_database_is_not_touched(store: Store) -> None:
    store.reserve(draft(store), {})
    store.close()
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match="written by a newer hpcjobs"):
        store.history()
    assert store.path.read_bytes() == before


def test_a_corrupt_database_is_rebuilt_from_the_folders(store: Store, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "scratch/jobs/n-far")
    kept = [
        store.commit(store.reserve(draft(store, "a"), {}), "7", 1.0),
        store.commit(store.reserve(draft(store, "far", folder=elsewhere), {}), "8", 1.0),
        store.reserve(draft(store, "c"), {}),
    ]
    store.close()
    store.path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError) as caught:
        store.history()
    assert "doctor --rebuild" in caught.value.hint
    aside, count = store.rebuild()
    assert count == 3
    assert aside is not None
    assert aside.read_bytes().startswith(b"this is no database")
    assert [(r.id, r.native_id, r.state) for r in store.history()[::-1]] == [
        (1, "7", JobState.PENDING), (2, "8", JobState.PENDING), (3, "", JobState.CREATED),
    ]  # fmt: skip
    assert [r.folder for r in store.history()[::-1]] == [r.folder for r in kept]
    assert store.reserve(draft(store, "d"), {}).id == 4


def test_a_folder_that_cannot_be_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.history()

    def refuse(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(paths, "write_private", refuse)
    with pytest.raises(StoreError, match="Permission denied") as caught:
        store.reserve(draft(store), {"job.sh": ""})
    assert "HPCJOBS_HOME" in caught.value.hint
    assert store.history() == []
    assert list((store.path.parent / "jobs").iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    whole = paths.write_private

    def fill_up(path: Path, text: str) -> None:
        if path.name == "record.json":
            raise OSError(28, "No space left on device", str(path))
        written.append(path.name)
        whole(path, text)

    monkeypatch.setattr(paths, "write_private", fill_up)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        store.reserve(draft(store), {"job.sh": ""})
    assert written == ["job.sh"]
    assert "quota" in caught.value.hint
    assert store.history() == []
    assert list((store.path.parent / "jobs").iterdir()) == []


def test_a_private_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "f"
    paths.write_private(target, "old")

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        paths.write_private(target, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["f"]
    assert target.read_text() == "old"


def test_sqlite_errors_have_hints(store: Store) -> None:
    store.history()
    with sqlite3.connect(store.path) as db:
        db.execute("DROP TABLE jobs")
    db.close()
    with pytest.raises(StoreError, match="no such table"):
        store.history()


def test_check(store: Store) -> None:
    assert store.check() == []


# ------------------------------------------------------------------------------------- submission lock


def test_a_submission_is_under_way_while_its_lock_is_held(store: Store) -> None:
    record = store.reserve(draft(store), {})
    assert not submission_under_way(record, 100.0, 60.0)
    with submission_lock(record) as descriptor:
        assert submission_under_way(record, 1e9, 60.0)
        copy = os.dup(descriptor)  # as the command that submits has it
    assert submission_under_way(record, 1e9, 60.0)
    os.close(copy)
    assert not submission_under_way(record, 100.0, 60.0)


def test_who_only_looks_at_the_lock_does_not_keep_the_submitter_from_it(store: Store) -> None:
    record = store.reserve(draft(store), {})
    looking = os.open(Path(record.folder) / "submit.lock", os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_EX)
    timer = threading.Timer(0.1, os.close, (looking,))
    timer.start()
    with submission_lock(record):
        assert submission_under_way(record, 1e9, 60.0)
    timer.join()


def test_without_a_lock_file_patience_decides(store: Store) -> None:
    record = replace(draft(store), folder="/nowhere/at/all")
    assert submission_under_way(record, 130.0, 60.0)
    assert not submission_under_way(record, 170.0, 60.0)
    with pytest.raises(StoreError, match="No such file"), submission_lock(record):
        pass


def test_tasks_survive_the_database(store: Store) -> None:
    store.commit(store.reserve(draft(store, array="0-9"), {}), "7", 1.0)
    tasks = Tasks({"done": "0-8", "failed": "9"}, {"9": 3})
    store.apply({1: JobStatus(JobState.FAILED, tasks=tasks)}, 2.0)
    assert Store(store.path).get(1).tasks == tasks


def test_a_commit_that_meets_a_reader_lets_go_of_its_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcjobs.store._BUSY", 0.1)
    record = store.reserve(draft(store), {})
    store.close()
    reader = sqlite3.connect(store.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM jobs").fetchall()
    with pytest.raises(StoreError, match="locked"):
        store.apply({record.id: JobStatus(JobState.RUNNING)}, 2.0)
    assert Store(store.path).get(record.id).state is JobState.CREATED
    reader.close()
    assert store.apply({record.id: JobStatus(JobState.RUNNING)}, 2.0)[record.id].state is JobState.RUNNING


def test_some_are_found_however_many_are_asked_for(store: Store) -> None:
    kept = [store.reserve(draft(store, tag), {}).id for tag in "abc"]
    assert [record.id for record in store.some([*kept, *range(10, 3000)])] == kept
