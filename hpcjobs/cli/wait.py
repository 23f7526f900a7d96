"""`hpcjob wait`, and waiting as `submit --wait` does it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.errors import JobFailedError, UsageError
from hpcjobs.record import JobState
from hpcjobs.service import Service
from hpcjobs.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.cli.options import Json, Selectors, Timeout
    from hpcjobs.record import JobRecord


def wait(jobs: Selectors = None, *, timeout: Timeout = "", json: Json = False) -> int:
    """Wait until jobs have ended.

    The exit code is 0 if all ended well, 1 if not (and why, on stderr), 124 if --timeout was over before.
    Ctrl-C ends the wait and not the jobs. While a study (s4) is waited for, what the queue had no room for is sent,
    and points are run again as --retry says.
    """
    service = Service()
    seconds = parse_timeout(timeout)
    if words.about_studies(jobs):
        from hpcjobs.cli import studies

        return studies.wait(service, words.need(jobs, "wait"), seconds, json=json)
    records = [chosen.record for chosen in service.select(words.need(jobs, "wait"))]
    with going_on(records):
        ended = service.wait(records, timeout=seconds, on_change=None if json else words.tell_state)
    if json:
        words.dump(ended)
    return verdict(service, ended, quiet=json)


def parse_timeout(text: str) -> float | None:
    """Seconds of `90`, `5m` or `1h`; None for no text."""
    if not text:
        return None
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else float(Duration.parse(text))
    except UsageError as error:
        raise UsageError(error.message, hint="write 90 (seconds), 5m or 1h") from None
    return seconds


def verdict(service: Service, ended: Sequence[JobRecord], *, quiet: bool = False) -> int:
    """The exit code of jobs that were waited for; unless quiet, why each bad one ended so."""
    bad = [record for record in ended if record.state is not JobState.DONE]
    for record in [] if quiet else bad:
        if failure := service.failure(record):
            words.tell_failure(record, failure)
    return JobFailedError.exit_code if bad else 0


@contextmanager
def going_on(records: Sequence[JobRecord]) -> Iterator[None]:
    """Say that the jobs go on if the wait for them is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        found = words.labels(records)
        out.tell()
        out.tell(f"{found} {'goes' if len(records) == 1 else 'go'} on")
        out.hint(f"hpcjob wait {found} waits again, hpcjob cancel {found} ends it")
        raise KeyboardInterrupt(found) from None
