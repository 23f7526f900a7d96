"""`hpcjob logs`: what a job writes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.cli.wait import going_on
from hpcjobs.errors import NotFoundError, UsageError, WaitTimeoutError
from hpcjobs.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hpcjobs.cli.options import ErrorFile, Follow, Lines, Selector
    from hpcjobs.record import JobRecord

# Seconds between two looks at the files, and looks between two questions whether the job has ended.
_PAUSE, _LOOKS = 0.5, 4
_BLOCK = 1 << 16


def logs(job: Selector, *, follow: Follow = False, error: ErrorFile = False, lines: Lines = None) -> int:
    """Print what a job has written.

    Byte for byte; with -f, until it ends. Of an array, name a task: j3[7]; of a study, a point: s4[17].
    """
    service = Service()
    if words.about_studies([job]):
        from hpcjobs.cli import studies

        return studies.logs(service, job, follow=follow, lines=lines)
    chosen = words.one(service.select([job]), "logs")
    if len(chosen.indices) > 1:
        raise UsageError(
            f"{job} is {len(chosen.indices)} tasks, and each has files of its own",
            hint=f"name one: hpcjob logs '{chosen.record.label}[{chosen.indices[0]}]'",
        )
    record = service.refresh([chosen.record]).records[0]
    file = service.log_file(record, "error" if error else "output", chosen.indices[0] if chosen.indices else None)
    tail = Tail(file, sys.stdout.buffer)
    if lines is not None:
        tail.skip_to_last(lines)
    if follow:
        with going_on([record]):
            words.tell_state(follow_files(service, record, [tail]))
    elif not tail.copy() and not file.exists():
        _explain_absence(service, record, file, *chosen.indices)
    return 0


def _explain_absence(service: Service, record: JobRecord, file: Path, task: int = 0) -> None:
    """Say why there is no such file.

    Raises:
        NotFoundError: there should be one.
    """
    if record.study:
        from hpcjobs import studies

        study = service.store.study(record.study)
        first = studies.points_of(study, record, task)[0]
        raise NotFoundError(
            f"{record.label}[{task}] runs points of {study.label}, and they write files of their own",
            hint=f"hpcjob logs '{study.label}[{first}]'",
        )
    if not record.state.final:
        out.tell(f"{record.label} is {record.state} and has written nothing yet")
        out.hint(f"hpcjob logs -f {record.label} waits for it")
        return
    raise NotFoundError(f"{file} does not exist", hint=f"hpcjob show {record.label} says how the job ended")


class Tail:
    """A growing file, copied to a stream bit by bit.

    The file is opened anew at each look: an NFS client learns of new bytes when it opens a file (close-to-open
    consistency, nfs(5)).
    """

    def __init__(self, file: Path, stream: BinaryIO) -> None:
        self.file = file
        self.stream = stream
        self.offset = 0

    def skip_to_last(self, lines: int) -> None:
        """Start at the last `lines` lines of what is there."""
        try:
            with self.file.open("rb") as source:
                self.offset = _start_of_last(source, lines)
        except FileNotFoundError:
            return

    def copy(self) -> int:
        """Copy what is new; the number of bytes."""
        begin = self.offset
        try:
            with self.file.open("rb") as source:
                if os.fstat(source.fileno()).st_size < self.offset:
                    self.offset = begin = 0  # a requeued job starts its file anew
                source.seek(self.offset)
                while block := source.read(_BLOCK):
                    self.stream.write(block)
                    self.offset += len(block)
        except FileNotFoundError:
            return 0
        self.stream.flush()
        return self.offset - begin


def _start_of_last(source: BinaryIO, lines: int) -> int:
    """The offset at which the last `lines` lines begin."""
    end = source.seek(0, os.SEEK_END)
    found, position = b"", end
    # The newline that ends the last line begins none.
    while position and found[:-1].count(b"\n") < lines:
        position = max(0, position - _BLOCK)
        source.seek(position)
        found = source.read(end - position)
    kept = b"".join(found.splitlines(keepends=True)[-lines:]) if lines else b""
    return end - len(kept)


def follow_files(
    service: Service,
    record: JobRecord,
    tails: Sequence[Tail],
    *,
    timeout: float | None = None,
) -> JobRecord:
    """Copy what a job writes until it has ended; the job as it ended.

    Raises:
        WaitTimeoutError: `timeout` seconds are over.
    """
    begin, looks = out.now(), 0
    while True:
        if looks % _LOOKS == 0:
            record = service.refresh([record]).records[0]
        over = words.is_over(record)
        for tail in tails:
            tail.copy()
        if over:
            return record
        if timeout is not None and out.now() - begin >= timeout:
            raise WaitTimeoutError(
                f"{record.label} has not ended after {timeout:g} s", hint=f"it goes on: hpcjob wait {record.label}"
            )
        looks += 1
        out.sleep(_PAUSE)
