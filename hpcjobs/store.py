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

SCHEMA = 1

# `data` is the whole JobRecord as JSON; the columns beside it serve look-ups. AUTOINCREMENT: a number is never
# used again, also after its job was dropped.
_TABLES = (
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, tag TEXT NOT NULL UNIQUE, native_id TEXT NOT NULL, "
    "state TEXT NOT NULL, created REAL NOT NULL, ended REAL NOT NULL, data TEXT NOT NULL)",
    "CREATE INDEX jobs_state ON jobs (state)",
    "CREATE INDEX jobs_native ON jobs (native_id)",
    "CREATE TABLE polls (cluster TEXT PRIMARY KEY, at REAL NOT NULL)",
    f"PRAGMA user_version = {SCHEMA}",
)
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
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                db.execute("BEGIN IMMEDIATE")
                if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _TABLES:
                        db.execute(statement)
                db.execute("COMMIT")
            self._check_version(version)
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

    def history(self, *, limit: int = 0, since: float = 0.0) -> list[JobRecord]:
        """All jobs, newest first; `limit` 0 = all."""
        return self._query("created >= ? ORDER BY id DESC LIMIT ?", (since, limit or -1))

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
        folder = paths.JobFolder(Path(draft.folder))
        with self._errors():
            make_private_folder(folder.root.parent)
            folder.root.mkdir(mode=0o700)
        try:
            with self._errors():
                for name, text in files.items():
                    paths.write_private(folder.root / name, text)
                folder.submit_lock.touch(mode=0o600)
                self._link(folder.root)
            with self._transaction() as db:
                cursor = db.execute(
                    "INSERT INTO jobs (tag, native_id, state, created, ended, data) VALUES (?, '', ?, ?, 0, '')",
                    (draft.tag, draft.state.value, draft.created),
                )
                record = replace(draft, id=cursor.lastrowid or 0)
                _write(db, record)
                paths.write_private(folder.record, json.dumps(record.to_json()))
        except BaseException:
            import shutil

            shutil.rmtree(folder.root, ignore_errors=True)
            self._unlink(folder.root)
            raise
        return record

    def commit(self, record: JobRecord, native_id: str, now: float) -> JobRecord:
        """The scheduler has the job under `native_id`."""
        # In the folder first: should the database fail now, the id is not lost.
        submitted = replace(record, native_id=native_id, submitted=now)
        with self._errors():
            paths.write_private(paths.JobFolder(Path(record.folder)).record, json.dumps(submitted.to_json()))
        with self._transaction() as db:
            current = _read(db, record.id) or record
            submitted = replace(current, native_id=native_id, submitted=now)
            if current.state is JobState.CREATED or current.raw == "NOT_SUBMITTED":
                submitted = replace(submitted, state=JobState.PENDING, seen=now, reason="")
            _write(db, submitted)
        return submitted

    def drop(self, record: JobRecord) -> None:
        """Forget a reservation that never became a job, folder and all."""
        import shutil

        with self._transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ? AND native_id = ''", (record.id,))
        shutil.rmtree(record.folder, ignore_errors=True)
        self._unlink(Path(record.folder))

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
        found = {record.id: record for record in self._records_on_disk()}
        with self._transaction() as db:
            for record in sorted(found.values(), key=lambda r: r.id):
                db.execute(
                    "INSERT INTO jobs (id, tag, native_id, state, created, ended, data) "
                    "VALUES (?, ?, '', '', 0, 0, '')",
                    (record.id, record.tag),
                )
                _write(db, record)
        return aside, len(found)

    def _records_on_disk(self) -> Iterator[JobRecord]:
        for file in sorted(self._links().glob("*/record.json")):
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


def _read(db: sqlite3.Connection, job_id: int) -> JobRecord | None:
    row = db.execute("SELECT data FROM jobs WHERE id = ?", (job_id,)).fetchone()
    return JobRecord.from_json(json.loads(row[0])) if row else None


def _write(db: sqlite3.Connection, record: JobRecord) -> None:
    db.execute(
        "UPDATE jobs SET native_id = ?, state = ?, created = ?, ended = ?, data = ? WHERE id = ?",
        (
            record.native_id,
            record.state.value,
            record.created,
            record.ended,
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
