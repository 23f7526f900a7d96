"""`hpcjob status` and `hpcjob history`: tables of jobs."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.errors import UsageError
from hpcjobs.service import Selected, Service
from hpcjobs.units import DAY, Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.cli.options import Json, Limit, Selectors, Since
    from hpcjobs.errors import HpcjobError


def status(jobs: Selectors = None, *, json: Json = False) -> int:
    """Show jobs as they are now.

    Without a selector: those that have not ended, and those that ended within a day. One scheduler command
    a cluster, however many jobs. If a scheduler does not answer, what was last known is shown, with its age.
    s4 is a study, 's4[17]' a point of it; without a selector, a study is one row.
    """
    service = Service()
    if words.about_studies(jobs):
        from hpcjobs.cli import studies

        return studies.status(service, jobs or (), json=json)
    if not jobs:
        return _recent(service, json=json)
    selected = service.select(jobs)
    fresh = service.refresh([chosen.record for chosen in selected])
    if json:
        words.dump(fresh.records, fresh.errors)
    else:
        words.table([Selected(record, chosen.indices) for record, chosen in zip(fresh.records, selected, strict=True)])
    return _tell_errors(fresh.errors, json=json)


def _recent(service: Service, *, json: bool) -> int:
    """What plain `status` shows; a study is a row, and not one for each of its jobs."""
    records = service.recent(DAY)
    fresh, known = words.refresh(service, records)
    if json:
        words.dump(fresh.records, fresh.errors, known)
    elif records:
        for line in words.overview(fresh, known):
            out.say(line)
    else:
        out.tell("no job is active, and none ended within a day")
        out.hint("hpcjob submit --help runs one, hpcjob history lists all")
    return _tell_errors(fresh.errors, json=json)


def _tell_errors(errors: Sequence[HpcjobError], *, json: bool) -> int:
    for error in () if json else errors:
        out.error(error)
    return max((error.exit_code for error in errors), default=0)


def history(jobs: Selectors = None, *, limit: Limit = 0, since: Since = "", json: Json = False) -> int:
    """List all jobs, the newest first.

    As last known: no scheduler is asked. Jobs of studies are left out (hpcjob sweep list), but not of --json.
    """
    service = Service()
    if jobs:
        records = [chosen.record for chosen in service.select(jobs)][::-1]
    else:
        records = service.history(limit=limit, since=_moment(since) if since else 0.0, own=not json)
    if json:
        words.dump(records)
        return 0
    count = 0 if jobs else service.store.count_studies()
    if records:
        words.table([Selected(record) for record in records])
    elif not count:
        out.tell("there is no job" + (f" since {since}" if since else " yet"))
        out.hint("hpcjob submit --help runs one")
    if count:
        out.tell(f"besides {count} {'study' if count == 1 else 'studies'}: hpcjob sweep list")
    return 0


def _moment(text: str) -> float:
    """Unix seconds of a date, a date and time, or so long ago."""
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        with suppress(ValueError, OverflowError):
            return time.mktime(time.strptime(text, form))
    with suppress(UsageError):
        if re.search(r"[dhms]", text):
            return out.now() - Duration.parse(text)
    raise UsageError(f"{text!r} is not a time", hint="write 2h, 3d, 2026-11-21 or 2026-11-21T08:00")
