"""`hpcjob doctor`: what is wrong here, and what to do about it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from hpcjobs import doctor as doctors
from hpcjobs.cli import out
from hpcjobs.service import Service

if TYPE_CHECKING:
    from hpcjobs.cli.options import Json, Rebuild, SiteFile, SiteName

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(*, site: SiteName = "", site_file: SiteFile = "", rebuild: Rebuild = False, json: Json = False) -> int:
    """Look for what is wrong here, and heal what a crash left.

    Looks at the job database, the folders, the site, its scheduler and its programs. The exit code is 1 if something
    is an error.
    """
    service = Service()
    findings = doctors.rebuild(service) if rebuild else []
    findings += doctors.examine(service, site=site, site_file=site_file)
    if json:
        out.dump(findings=[asdict(finding) for finding in findings])
    else:
        for found in findings:
            level = out.paint(f"{found.level:<8}", _COLOURS[found.level], sys.stdout)
            out.say(f"{level} {found.subject:<12} {out.clean(found.message)}")
            if found.hint:
                out.say(f"{'':<22}{out.paint('hint:', 'cyan', sys.stdout)} {found.hint}")
    return int(any(found.level == "error" for found in findings))
