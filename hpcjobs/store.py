"""The job database and the job folders: the only module that opens SQLite.

The database uses the rollback journal (write-ahead logging needs shared memory, which NFS and Lustre do not
give between hosts), a busy timeout and short transactions. Each job also has a folder with all that is needed to
rebuild its row. An intent to submit is a row in state `created`: it is on disk before the scheduler is called.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import sqlite3
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths
from hpcjobs.errors import NotFoundError, StoreError
from hpcjobs.record import JobRecord, JobState
from hpcjobs.units import format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcjobs.record import JobStatus
    from hpcjobs.sweep.record import StudyRecord

SCHEMA = 2

# `data` is the whole JobRecord as JSON; the columns beside it serve look-ups. AUTOINCREMENT: a number is never
# used again, also after its job was dropped.
_TABLES = (
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL UNIQUE, native_id TEXT NOT NULL, "
    "state TEXT NOT NULL, created REAL NOT NULL, ended REAL NOT NULL, data TEXT NOT NULL)",
    "CREATE INDEX jobs_state ON jobs (state)",
    "CREATE INDEX jobs_native ON jobs (native_id)",
    "CREATE TABLE polls (cluster TEXT PRIMARY KEY, at REAL NOT NULL)",
)
# What each version added to the one before it.
_NEWER: dict[int, tuple[str, ...]] = {
    2: (
        "ALTER TABLE jobs ADD COLUMN study INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX jobs_study ON jobs (study)",
        "CREATE TABLE studies (id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL UNIQUE, created REAL NOT NULL, "
        "data TEXT NOT NULL)",
    ),
}
_ACTIVE = tuple(state.value for state in JobState if not state.final)
_IN_ACTIVE = f"state IN ({','.join('?' * len(_ACTIVE))})"

# SQLite before 3.32 binds no more.
_MOST_VALUES = 999

# Seconds to wait for other processes' transactions before giving up.
_BUSY = 30.0


class Store:
    """The database at `path`; opened, and made if need be, at the first use."""

    def __init__(self, path: Path | None = None) -> None:
        self._open: sqlite3.Connection | None = None
        self.path = path or paths.database()

    # ------------------------------------------------------------------------------------- opening

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            with self._errors():
                self._open = self._connect()
        return self._open

    def _connect(self) -> sqlite3.Connection:
        make_private_folder(self.path.parent)
        if not self.path.exists():
            self.path.touch(mode=0o600)
        db = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)
        try:
            if _version(db) < SCHEMA:
                db.execute("BEGIN IMMEDIATE")
                # Another process may have done it meanwhile.
                for number in range(_version(db) + 1, SCHEMA + 1):
                    for statement in _NEWER.get(number, _TABLES):
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {number}")
                db.execute("COMMIT")
            self._check_version(_version(db))
        except BaseException:
            db.close()
            raise
        return db

    def _check_version(self, version: int) -> None:
        if version > SCHEMA:
            raise StoreError(
                f"{self.path} was written by a newer hpcjobs (format {version}, this one reads {SCHEMA})",
                hint="upgrade this hpcjobs, or keep its jobs apart: export HPCJOBS_HOME=~/.hpcjobs-old",
            )

    def close(self) -> None:
        """Close the database; the next use opens it again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __del__(self) -> None:
        """Close what nobody closed."""
        self.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{self.path}: {error}", hint=_hint(error)) from error
        except OSError as error:
            raise StoreError(f"{error.filename or self.path}: {error.strerror}", hint=_os_hint(error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        with self._errors():
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:  # a COMMIT too, that meets a reader: the lock must not outlive it
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _query(self, where: str, values: Iterable[object] = ()) -> list[JobRecord]:
        db = self._db
        with self._errors():
            # S608: `where` is text of this module, values are bound.
            rows = db.execute(f"SELECT data FROM jobs WHERE {where}", tuple(values)).fetchall()  # noqa: S608
        # One parse of all takes half the time of a thousand parses.
        return [JobRecord.from_json(data) for data in json.loads(f"[{','.join(data for (data,) in rows)}]")]

    # ------------------------------------------------------------------------------------- reading

    def get(self, job_id: int) -> JobRecord:
        """The job of that number.

        Raises:
            NotFoundError: there is none.
        """
        if found := self._query("id = ?", (job_id,)):
            return found[0]
        raise NotFoundError(f"there is no job j{job_id}", hint="hpcjob history lists all jobs")

    def between(self, first: int, last: int) -> list[JobRecord]:
        """The jobs numbered first to last, both included, that exist."""
        return self._query("id BETWEEN ? AND ? ORDER BY id", (first, last))

    def some(self, ids: Sequence[int]) -> list[JobRecord]:
        """The jobs of these numbers that exist."""
        return (
            self._query(f"id IN ({','.join('?' * len(ids))})", ids)
            if len(ids) <= _MOST_VALUES
            else [
                record
                for start in range(0, len(ids), _MOST_VALUES)
                for record in self.some(ids[start : start + _MOST_VALUES])
            ]
        )

    def count_open(self) -> int:
        """How many jobs the scheduler has confirmed and not ended."""
        db = self._db
        with self._errors():
            row = db.execute(f"SELECT count(*) FROM jobs WHERE {_IN_ACTIVE} AND native_id != ''", _ACTIVE).fetchone()  # noqa: S608
        return int(row[0])

    def by_native_id(self, native_id: str) -> list[JobRecord]:
        """Jobs with that id in their scheduler, newest first; `12` also stands for PBS's 12.server and 12[].server."""
        where = "(native_id = ? OR native_id GLOB ? OR native_id GLOB ?) ORDER BY id DESC"
        return self._query(where, (native_id, f"{native_id}.*", f"{native_id}[[]*"))

    def active(self) -> list[JobRecord]:
        """Jobs without an end, oldest first."""
        return self._query(f"{_IN_ACTIVE} ORDER BY id", _ACTIVE)

    def recent(self, since: float) -> list[JobRecord]:
        """Jobs without an end and those that ended after `since`, oldest first."""
        return self._query(f"{_IN_ACTIVE} OR ended >= ? ORDER BY id", (*_ACTIVE, since))

    def reserved(self, given_up_since: float = math.inf) -> list[JobRecord]:
        """Jobs that the scheduler has not confirmed; also those given up, if they were made since then."""
        where = "native_id = '' AND (state = 'created' OR (state = 'failed' AND created >= ?)) ORDER BY id"
        return self._query(where, (given_up_since,))

    def history(self, *, limit: int = 0, since: float = 0.0, own: bool = False) -> list[JobRecord]:
        """All jobs, newest first; `limit` 0 = all, `own` = without those of studies."""
        alone = " AND study = 0" if own else ""
        return self._query(f"created >= ?{alone} ORDER BY id DESC LIMIT ?", (since, limit or -1))

    def last(self) -> JobRecord | None:
        """The newest job."""
        return next(iter(self.history(limit=1)), None)

    # ------------------------------------------------------------------------------------- writing

    def reserve(self, draft: JobRecord, files: Mapping[str, str]) -> JobRecord:
        """Put the intent to submit on disk: the job's folder with `files`, then its row.

        Returns:
            The draft with its number.

        Raises:
            StoreError: it could not be written; nothing is left behind.
        """
        return self.reserve_all([(draft, files)])[0]

    def reserve_all(self, drafts: Sequence[tuple[JobRecord, Mapping[str, str]]]) -> list[JobRecord]:
        """The same for several jobs, in one transaction: all of them or none."""
        made: list[Path] = []
        records = []
        try:
            for draft, files in drafts:
                with self._errors():
                    self._make_folder(paths.JobFolder(Path(draft.folder)), draft, files, made)
            with self._transaction() as db:
                for draft, _ in drafts:
                    cursor = db.execute(
                        "INSERT INTO jobs (tag, native_id, state, created, ended, data) VALUES (?, '', ?, ?, 0, '')",
                        (draft.tag, draft.state.value, draft.created),
                    )
                    record = replace(draft, id=cursor.lastrowid or 0)
                    _write(db, record)
                    _keep(record)
                    records.append(record)
        except BaseException:
            import shutil

            for folder in made:
                shutil.rmtree(folder, ignore_errors=True)
                self._unlink(folder)
            raise
        return records

    def _make_folder(
        self, folder: paths.JobFolder, draft: JobRecord, files: Mapping[str, str], made: list[Path]
    ) -> None:
        make_private_folder(folder.root.parent)
        folder.root.mkdir(mode=0o700)
        made.append(folder.root)
        for name, text in files.items():
            paths.write_private(folder.root / name, text, sync=not draft.study)
        folder.submit_lock.touch(mode=0o600)
        if not draft.study:
            self._link(folder.root)

    def commit(self, record: JobRecord, native_id: str, now: float) -> JobRecord:
        """The scheduler has the job under `native_id`."""
        return self.commit_all([self.note_id(record, native_id, now)])[0]

    def note_id(self, record: JobRecord, native_id: str, now: float) -> JobRecord:
        """Write the id into the job's folder: should the database fail now, it is not lost."""
        submitted = replace(record, native_id=native_id, submitted=now)
        with self._errors():
            _keep(submitted)
        return submitted

    def commit_all(self, records: Sequence[JobRecord]) -> list[JobRecord]:
        """The scheduler has these jobs, whose ids were noted; one transaction."""
        found = []
        with self._transaction() as db:
            for record in records:
                current = _read(db, record.id) or record
                submitted = replace(current, native_id=record.native_id, submitted=record.submitted)
                if current.state is JobState.CREATED or current.raw == "NOT_SUBMITTED":
                    submitted = replace(submitted, state=JobState.PENDING, seen=record.submitted, reason="")
                _write(db, submitted)
                found.append(submitted)
        return found

    def drop(self, *records: JobRecord) -> None:
        """Forget reservations that never became jobs, folders and all."""
        import shutil

        with self._transaction() as db:
            delete = "DELETE FROM jobs WHERE id = ? AND native_id = ''"
            gone = [record for record in records if db.execute(delete, (record.id,)).rowcount]
        for record in gone:
            shutil.rmtree(record.folder, ignore_errors=True)
            self._unlink(Path(record.folder))

    # ------------------------------------------------------------------------------------- studies

    def reserve_study(self, draft: StudyRecord, files: Mapping[str, str]) -> StudyRecord:
        """Make a study: its folder with `files`, then its row; nothing is submitted.

        Returns:
            The draft with its number.

        Raises:
            StoreError: it could not be written; nothing is left behind.
        """
        import shutil

        folder = paths.StudyFolder(Path(draft.folder))
        with self._errors():
            make_private_folder(folder.root.parent)
            folder.root.mkdir(mode=0o700)
        try:
            with self._errors():
                for name in ("ends", "log", "skip"):
                    (folder.root / name).mkdir(mode=0o700)
                for name, text in files.items():
                    paths.write_private(folder.root / name, text)
                folder.lock.touch(mode=0o600)
                self._link(folder.root)
            with self._transaction() as db:
                cursor = db.execute(
                    "INSERT INTO studies (tag, created, data) VALUES (?, ?, '')", (draft.tag, draft.created)
                )
                study = replace(draft, id=cursor.lastrowid or 0)
                _write_study(db, study)
        except BaseException:
            shutil.rmtree(folder.root, ignore_errors=True)
            self._unlink(folder.root)
            raise
        return study

    def drop_study(self, study: StudyRecord) -> None:
        """Forget a study of which no job was ever sent, folder and all."""
        import shutil

        with self._transaction() as db:
            if db.execute("SELECT count(*) FROM jobs WHERE study = ?", (study.id,)).fetchone()[0]:
                return
            db.execute("DELETE FROM studies WHERE id = ?", (study.id,))
        shutil.rmtree(study.folder, ignore_errors=True)
        self._unlink(Path(study.folder))

    def add_round(self, before: StudyRecord, after: StudyRecord, files: Mapping[str, str]) -> StudyRecord:
        """Add a round to a study; `files` are written into its folder first.

        Raises:
            StoreError: it could not be written, or the study has other rounds than `before`; nothing was changed.
        """
        with self._transaction() as db:
            current = _read_study(db, before.id)
            if current.rounds != before.rounds:
                raise StoreError(f"{before.label} was changed by another command", hint="try again")
            for name, text in files.items():
                paths.write_private(Path(before.folder) / name, text)
            study = replace(after, stopped=current.stopped)
            _write_study(db, study)
        return study

    def stop_study(self, study_id: int, *, stopped: bool) -> StudyRecord:
        """Note whether what a study has not sent yet is to stay unsent."""
        with self._transaction() as db:
            study = replace(_read_study(db, study_id), stopped=stopped)
            _write_study(db, study)
        return study

    def study(self, number: int) -> StudyRecord:
        """The study of that number.

        Raises:
            NotFoundError: there is none.
        """
        db = self._db
        with self._errors():
            return _read_study(db, number)

    def studies(self) -> list[StudyRecord]:
        """All studies, oldest first."""
        db = self._db
        with self._errors():
            rows = db.execute("SELECT data FROM studies ORDER BY id").fetchall()
        return [_study(data) for (data,) in rows]

    def count_studies(self) -> int:
        """How many studies there are."""
        db = self._db
        with self._errors():
            count: int = db.execute("SELECT count(*) FROM studies").fetchone()[0]
        return count

    def jobs_of(self, study: int) -> list[JobRecord]:
        """The jobs of a study, oldest first."""
        return self._query("study = ? ORDER BY id", (study,))

    # ------------------------------------------------------------------------------------- learning

    def apply(self, news: Mapping[int, JobStatus], now: float) -> dict[int, JobRecord]:
        """Merge what was learnt of some jobs into their rows; the rows after it.

        The merge happens inside the transaction, so news that another process wrote meanwhile counts.
        """
        if not news:
            return {}
        merged = {}
        with self._transaction() as db:
            for job_id, status in news.items():
                if current := _read(db, job_id):
                    merged[job_id] = current.updated(status, now)
                    if merged[job_id] != current:
                        _write(db, merged[job_id])
        return merged

    def mark_cancelled(self, wanted: Mapping[int, tuple[int, ...]], now: float) -> None:
        """Note that their owner asked for the end of jobs: {job number: tasks, or none for the whole job}."""
        with self._transaction() as db:
            for job_id, indices in wanted.items():
                current = _read(db, job_id)
                if current and indices:
                    known = parse_indices(current.cancelled_tasks) if current.cancelled_tasks else ()
                    _write(db, replace(current, cancelled_tasks=format_indices((*known, *indices))))
                elif current:
                    _write(db, replace(current, cancelled=now))

    def claim_poll(self, cluster: str, interval: float, now: float) -> bool:
        """Whether this process shall poll the cluster now; if so, no other one does for `interval` seconds."""
        with self._transaction() as db:
            row = db.execute("SELECT at FROM polls WHERE cluster = ?", (cluster,)).fetchone()
            # A time in the future is another host's clock: do not wait for it.
            if row and 0 <= now - row[0] < interval:
                return False
            db.execute("INSERT OR REPLACE INTO polls VALUES (?, ?)", (cluster, now))
        return True

    def release_poll(self, cluster: str) -> None:
        """The poll failed: the next command may ask at once."""
        with self._transaction() as db:
            db.execute("DELETE FROM polls WHERE cluster = ?", (cluster,))

    # ------------------------------------------------------------------------------- care and repair

    def check(self) -> list[str]:
        """What SQLite finds wrong with the database; empty if nothing."""
        db = self._db
        with self._errors():
            return [row[0] for row in db.execute("PRAGMA quick_check") if row[0] != "ok"]

    def rebuild(self) -> tuple[Path | None, int]:
        """Put the database aside and make a new one from the job folders.

        Returns:
            Where the old one is now (None if there was none), and how many jobs were found.
        """
        self.close()
        aside = None
        with self._errors():
            if self.path.exists():
                aside = self.path.with_name(f"{self.path.name}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
                self.path.rename(aside)
                self.path.with_name(self.path.name + "-journal").unlink(missing_ok=True)
        # Of two folders with a number, one was left by a reservation that was not finished.
        known = sorted(self._records_on_disk(), key=lambda record: bool(record.native_id))
        found = {record.id: record for record in known}
        with self._transaction() as db:
            for record in sorted(found.values(), key=lambda r: r.id):
                db.execute(
                    "INSERT INTO jobs (id, tag, native_id, state, created, ended, data) "
                    "VALUES (?, ?, '', '', 0, 0, '')",
                    (record.id, record.tag),
                )
                _write(db, record)
            for study in self._studies_on_disk():
                db.execute(
                    "INSERT INTO studies (id, tag, created, data) VALUES (?, ?, ?, '')",
                    (study.id, study.tag, study.created),
                )
                _write_study(db, study)
        return aside, len(found)

    def _studies_on_disk(self) -> Iterator[StudyRecord]:
        for file in sorted(self._links().glob("*/study.json")):
            try:
                study = _study(file.read_text("utf-8"))
            except (OSError, ValueError, TypeError) as error:
                raise StoreError(
                    f"{file} cannot be read: {error}", hint=f"move {file.parent} away and try again"
                ) from error
            yield study

    def _records_on_disk(self) -> Iterator[JobRecord]:
        found = (self._links().glob(pattern) for pattern in ("*/record.json", "*/c*/record.json"))
        for file in sorted(file for files in found for file in files):
            try:
                record = JobRecord.from_json(json.loads(file.read_text("utf-8")))
            except (OSError, ValueError, TypeError) as error:
                raise StoreError(
                    f"{file} cannot be read: {error}", hint=f"move {file.parent} away and try again"
                ) from error
            # A record without a native id was written before the scheduler answered.
            yield replace(record, state=JobState.PENDING) if record.native_id else record

    def _links(self) -> Path:
        return self.path.parent / "jobs"

    def _link(self, folder: Path) -> None:
        """Make a folder that a site keeps elsewhere known beside the others."""
        if folder.parent != self._links():
            make_private_folder(self._links())
            (self._links() / folder.name).symlink_to(folder)

    def _unlink(self, folder: Path) -> None:
        link = self._links() / folder.name
        if link.is_symlink():
            link.unlink()


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _read(db: sqlite3.Connection, job_id: int) -> JobRecord | None:
    row = db.execute("SELECT data FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return JobRecord.from_json(json.loads(row[0])) if row else None


def _keep(record: JobRecord) -> None:
    """Write the row into the job's folder too. A study has many jobs, and its folder is on disk before them."""
    text = json.dumps(record.to_json())
    paths.write_private(paths.JobFolder(Path(record.folder)).record, text, sync=not record.study)


def _study(data: str) -> StudyRecord:
    from hpcjobs.sweep.record import StudyRecord

    return StudyRecord.from_json(json.loads(data))


def _read_study(db: sqlite3.Connection, number: int) -> StudyRecord:
    row = db.execute("SELECT data FROM studies WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no study s{number}", hint="hpcjob sweep list shows those there are")
    return _study(row[0])


def _write_study(db: sqlite3.Connection, study: StudyRecord) -> None:
    """The row, and the copy in the study's folder from which it can be rebuilt."""
    text = json.dumps(study.to_json(), separators=(",", ":"))
    paths.write_private(paths.StudyFolder(Path(study.folder)).record, text)
    db.execute("UPDATE studies SET data = ? WHERE id = ?", (text, study.id))


def _write(db: sqlite3.Connection, record: JobRecord) -> None:
    db.execute(
        "UPDATE jobs SET native_id = ?, state = ?, created = ?, ended = ?, study = ?, data = ? WHERE id = ?",
        (
            record.native_id,
            record.state.value,
            record.created,
            record.ended,
            record.study,
            json.dumps(record.to_json(), separators=(",", ":")),
            record.id,
        ),
    )


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, and its parents as usual."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def submission_lock(record: JobRecord) -> Iterator[int]:
    """Hold the job's submission lock; the descriptor is for the command that submits.

    The lock lives as long as any process has the descriptor open: if this one is killed and sbatch is not,
    the job counts as being submitted until sbatch has ended too.
    """
    path = paths.JobFolder(Path(record.folder)).submit_lock
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint=_os_hint(error)) from error
    try:
        for _ in range(100):
            if _lock(descriptor) is not False:  # who looks whether it is taken has it for a moment
                break
            time.sleep(0.01)
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - the standard library's signature
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock file; False if another process has it. Where the file system cannot lock, it counts as held."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", hint=_os_hint(error)) from error
    try:
        yield _lock(descriptor) is not False
    finally:
        os.close(descriptor)


def submission_under_way(record: JobRecord, now: float, patience: float) -> bool:
    """Whether somebody may still be submitting the job.

    Where the file system cannot lock, a reservation counts as under way for `patience` seconds.
    """
    path = paths.JobFolder(Path(record.folder)).submit_lock
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return now - record.created < patience
    try:
        locked = _lock(descriptor)
    finally:
        os.close(descriptor)
    return not locked if locked is not None else now - record.created < patience


def _lock(descriptor: int) -> bool | None:
    """Try to lock: True, False if somebody else has it, None if this file system cannot."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _hint(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return "hpcjob doctor --rebuild puts it aside and makes a new one from the job folders; no job is lost"
    if "full" in text:
        return "free some space (quota?), then try again; nothing was submitted or changed"
    if "readonly" in text or "unable to open" in text:
        return "make the folder writable, or choose another: export HPCJOBS_HOME=/a/folder/of/yours"
    if "locked" in text:
        return "another hpcjob is at work, or a lock was left on the file server: try again in a minute"
    return "hpcjob doctor looks closer"


def _os_hint(error: OSError) -> str:
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "free some space (quota?), then try again; nothing was submitted or changed"
    return "make the folder writable, or choose another: export HPCJOBS_HOME=/a/folder/of/yours"
