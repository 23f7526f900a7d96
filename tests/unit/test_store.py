"""The database and the job folders, on good days and bad ones."""

from __future__ import annotations

import fcntl
import json
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
from hpcjobs.store import SCHEMA, Store, locked, submission_lock, submission_under_way
from hpcjobs.sweep.record import Round, StudyRecord


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

    def refuse(path: Path, text: str, **_: object) -> None:
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

    def fill_up(path: Path, text: str, **_: object) -> None:
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


# ---------------------------------------------------------------------------------------------- studies


def study_draft(store: Store, tag: str = "555", **more: object) -> StudyRecord:
    values: dict[str, object] = {
        "id": 0, "tag": tag, "name": "n", "site": "s", "site_file": "", "workdir": "/w", "created": 100.0, "names": ("x",),
        "folder": str(store.path.parent / "jobs" / f"n-{tag}"), "kinds": ("int",), "points": 4, "spec": {"command": ["x"]},
        "rounds": (Round("0-3", "design", 100.0),),
    }  # fmt: skip
    return StudyRecord(**{**values, **more})  # type: ignore[arg-type]


def part(store: Store, study: StudyRecord, number: int) -> JobRecord:
    folder = str(paths.StudyFolder(Path(study.folder)).job(number))
    return draft(store, f"{study.tag}{number}", folder=folder, study=study.id, round=1, rows=2, array="0-1")


def test_a_study_is_kept_with_its_folder(store: Store) -> None:
    study = store.reserve_study(study_draft(store), {"points-1.tsv": "point\tx\n"})
    folder = Path(study.folder)
    assert study.label == "s1"
    assert Store(store.path).study(1) == study
    assert store.studies() == [study]
    assert sorted(path.name for path in folder.iterdir()) == [
        "ends", "log", "points-1.tsv", "skip", "study.json", "study.lock",
    ]  # fmt: skip
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert (stat.S_IMODE(folder.stat().st_mode), modes) == (0o700, {0o700, 0o600})
    with pytest.raises(NotFoundError, match="there is no study s2") as caught:
        store.study(2)
    assert "hpcjob sweep list" in caught.value.hint
    with pytest.raises(StoreError, match="File exists"):
        store.reserve_study(study_draft(store), {})
    assert folder.is_dir(), "it is the first one's"


def test_a_study_that_cannot_be_written_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paths.write_private

    def fill_up(path: Path, text: str, **_: object) -> None:
        if path.name == "study.json":
            raise OSError(28, "No space left on device", str(path))
        whole(path, text)

    monkeypatch.setattr(paths, "write_private", fill_up)
    elsewhere = str(store.path.parent.parent / "scratch/n-555")
    for more in ({}, {"folder": elsewhere}):
        with pytest.raises(StoreError, match="No space left"):
            store.reserve_study(study_draft(store, **more), {"points-1.tsv": ""})
    assert store.studies() == []
    assert list((store.path.parent / "jobs").iterdir()) == []
    assert not Path(elsewhere).exists()


def test_rounds_are_added_and_a_stop_stays(store: Store) -> None:
    first = store.reserve_study(study_draft(store), {})
    assert store.stop_study(1, stopped=True).stopped
    grown = replace(first, rounds=(*first.rounds, Round("4-5", "extend", 200.0)), points=6, kinds=("mixed",))
    after = store.add_round(first, grown, {"points-2.tsv": "table"})
    assert after == replace(grown, stopped=True)
    assert store.study(1) == after
    assert Path(first.folder, "points-2.tsv").read_text() == "table"
    with pytest.raises(StoreError, match="s1 was changed by another command"):
        store.add_round(first, grown, {"points-2.tsv": "of the loser"})
    assert Path(first.folder, "points-2.tsv").read_text() == "table"
    assert store.study(1) == after


def test_only_a_study_without_jobs_is_dropped(store: Store, tmp_path: Path) -> None:
    empty = store.reserve_study(study_draft(store, "1", folder=str(tmp_path / "scratch/n-1")), {})
    assert (store.path.parent / "jobs/n-1").is_symlink()
    store.drop_study(empty)
    assert not Path(empty.folder).exists()
    assert not (store.path.parent / "jobs/n-1").is_symlink()
    study = store.reserve_study(study_draft(store, "2"), {})
    assert study.id == 2
    (job,) = store.reserve_all([(part(store, study, 1), {})])
    store.drop_study(study)
    assert store.studies() == [study]
    store.drop(job)
    store.drop_study(study)
    assert store.studies() == []


def test_jobs_of_a_study_are_reserved_all_or_none(store: Store) -> None:
    study = store.reserve_study(study_draft(store), {})
    parts = [part(store, study, number) for number in (1, 2, 3)]
    jobs = store.reserve_all([(each, {"job.sh": ""}) for each in parts])
    assert [job.id for job in jobs] == [1, 2, 3]
    assert store.jobs_of(study.id) == jobs
    assert store.reserved() == jobs
    twice = [part(store, study, 4), replace(part(store, study, 5), tag=parts[0].tag)]
    with pytest.raises(StoreError, match="UNIQUE"):
        store.reserve_all([(each, {"job.sh": ""}) for each in twice])
    assert store.jobs_of(study.id) == jobs
    assert sorted(path.name for path in Path(study.folder).glob("c*")) == ["c0001", "c0002", "c0003"]
    noted = [store.note_id(job, str(job.id), 5.0) for job in jobs[:2]]
    assert [job.state for job in store.commit_all(noted)] == [JobState.PENDING, JobState.PENDING]
    assert store.reserved() == jobs[2:]


def test_a_job_that_was_found_meanwhile_keeps_its_folder(store: Store) -> None:
    record = store.reserve(draft(store), {})
    Store(store.path).commit(record, "7", 1.0)
    store.drop(record)
    assert Path(record.folder).is_dir()


def test_studies_are_rebuilt_with_their_jobs(store: Store, tmp_path: Path) -> None:
    near = store.reserve_study(study_draft(store, "1"), {})
    far = store.reserve_study(study_draft(store, "2", folder=str(tmp_path / "scratch/n-2")), {})
    alone = store.commit(store.reserve(draft(store, "a"), {}), "9", 1.0)
    jobs = store.reserve_all([(part(store, study, number), {}) for study in (near, far) for number in (1, 2)])
    noted = store.note_id(jobs[0], "7", 1.0)  # and the database was full
    # An interrupted reservation left a folder; its number went to another job.
    leftover = paths.StudyFolder(Path(near.folder)).job(3)
    leftover.mkdir()
    paths.write_private(
        leftover / "record.json", json.dumps(replace(jobs[0], tag="left", folder=str(leftover)).to_json())
    )
    store.close()
    store.path.unlink()
    assert store.rebuild() == (None, 5)
    assert store.studies() == [near, far]
    assert store.jobs_of(near.id) == [replace(noted, state=JobState.PENDING), jobs[1]]
    assert [job.folder for job in store.jobs_of(far.id)] == [job.folder for job in jobs[2:]]
    assert [job.native_id for job in store.jobs_of(0)] == [alone.native_id]
    assert store.reserve_study(study_draft(store, "3"), {}).id == 3
    Path(near.folder, "study.json").write_text("{}")
    with pytest.raises(StoreError, match=r"study\.json cannot be read") as caught:
        store.rebuild()
    assert "move" in caught.value.hint


# What version 1 made.
_OLD = """
    CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL UNIQUE, native_id TEXT NOT NULL,
        state TEXT NOT NULL, created REAL NOT NULL, ended REAL NOT NULL, data TEXT NOT NULL);
    CREATE INDEX jobs_state ON jobs (state);
    CREATE INDEX jobs_native ON jobs (native_id);
    CREATE TABLE polls (cluster TEXT PRIMARY KEY, at REAL NOT NULL);
    INSERT INTO jobs VALUES (7, 'old', '4711', 'running', 1.0, 0.0, '{"id": 7, "tag": "old", "name": "n", "site": "s",
        "scheduler": "slurm", "folder": "/f", "workdir": "/w", "output": "/o", "error": "/e", "created": 1.0,
        "native_id": "4711", "state": "running"}');
    PRAGMA user_version = 1;
"""


def old_database(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.executescript(_OLD)
    db.close()


def test_a_database_of_version_1_is_upgraded(store: Store) -> None:
    old_database(store.path)
    job = store.get(7)
    assert (job.native_id, job.state, job.study, job.pack) == ("4711", JobState.RUNNING, 0, 1)
    assert store.studies() == []
    assert store.jobs_of(0) == [job]
    study = store.reserve_study(study_draft(store), {})
    assert [each.id for each in store.reserve_all([(part(store, study, 1), {})])] == [8]
    assert [each.id for each in store.jobs_of(study.id)] == [8]
    with sqlite3.connect(store.path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    db.close()


def test_two_processes_upgrade_at_once(tmp_path: Path) -> None:
    for turn in range(5):
        path = tmp_path / f"home{turn}/jobs.sqlite3"
        old_database(path)

        def look(path: Path = path) -> tuple[int, list[StudyRecord]]:
            store = Store(path)
            try:
                return store.get(7).id, store.studies()
            finally:
                store.close()

        with ThreadPoolExecutor(4) as pool:
            assert [future.result() for future in [pool.submit(look) for _ in range(4)]] == [(7, [])] * 4


def test_who_comes_second_upgrades_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    old_database(store.path)
    versions = iter((1, SCHEMA, SCHEMA))  # another process did it between the look and the lock
    monkeypatch.setattr("hpcjobs.store._version", lambda _: next(versions))
    with pytest.raises(StoreError, match="no such table: studies"):
        store.studies()


def test_a_lock_is_held_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "study.lock"
    with locked(file) as mine, locked(file) as other:
        assert (mine, other) == (True, False)
    with locked(file) as mine:
        assert mine
    with pytest.raises(StoreError, match="No such file"), locked(tmp_path / "gone/study.lock"):
        pass

    def unsupported(_: int, __: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked(file) as mine:
        assert mine, "where nothing can be locked, work goes on"
