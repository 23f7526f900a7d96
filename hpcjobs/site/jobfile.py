"""Job files: `hpcjob submit job.yaml`. The keys are the options, spelled with `_`.

As for the options, relative paths in it are relative to the folder where the command is typed, not to the file.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import UsageError
from hpcjobs.model import JobSpec
from hpcjobs.site import yamlfile
from hpcjobs.site.problems import Finding, as_error, build

if TYPE_CHECKING:
    from hpcjobs.site.yamlfile import Loc

# What a shell leaves alone: quoted text, and characters after a backslash.
_QUOTED = re.compile(r"""'[^']*'|"(?:[^"\\$`]|\\.)*"|\\.""", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=\S*\s")
_SHELL = re.compile(r"[|&;<>()$`*?\n]|(?:^|\s)[~#]")


def load_job(path: str | Path) -> dict[str, Any]:
    """The fields of a `JobSpec` that the file gives, validated; and `site`, the name of a site, if it gives one.

    Raises:
        UsageError: the file is wrong; tells all problems with their lines.
        NotFoundError: there is no such file.
    """
    document = yamlfile.read(Path(path), UsageError)
    findings: list[Finding] = []
    fields = job_fields(document.data, findings)
    if findings:
        problems = [each.at((document.path, document.line(each.loc))) for each in findings]
        raise as_error(problems, UsageError, then=f"hpcjob submit {path}")
    return fields


def job_fields(data: dict[str, Any], findings: list[Finding], at: Loc = ()) -> dict[str, Any]:
    """What `load_job` returns, of a mapping that stands at `at` in its file; and a finding for each thing wrong."""
    given = {key: value for key, value in data.items() if value is not None}
    site = given.pop("site", "")
    if not isinstance(site, str):
        findings.append(Finding((*at, "site"), "not the name of a site", "see them with: hpcjob site list"))
    if isinstance(given.get("command"), str):
        given["command"] = _split(given["command"], findings, (*at, "command"))
    spec = build(JobSpec, given, findings, at)
    fields = {key: getattr(spec, key) for key in given} if spec else {}
    return {**fields, "site": str(site)} if site else fields


def _split(text: str, findings: list[Finding], loc: Loc) -> list[str]:
    if found := _SHELL.search(_QUOTED.sub("", text.strip())):
        sign = found.group().strip() or "a second line"
        hint = "write it as a list; for a shell's work: [bash, -c, 'a | b']"
        findings.append(Finding(loc, f"{sign} has no meaning here, since no shell reads the command", hint))
        return []
    if found := _ASSIGNMENT.match(text.lstrip()):
        hint = f"write it under `env`: {{{found[1]}: …}}"
        findings.append(
            Finding(loc, f"{found.group().strip()} has no meaning here, since no shell reads the command", hint)
        )
        return []
    try:
        return shlex.split(text)
    except ValueError as error:
        findings.append(Finding(loc, f"{error}".lower(), "close the quotes, or write the command as a list"))
        return []
