"""`hpcjob site`: the machines there are site files for."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs.cli import out
from hpcjobs.errors import UsageError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.cli.options import Json, Origin, SchemaKind, SiteArgument, SiteFile, SiteFiles
    from hpcjobs.site.problems import Known, Problem

_COLOURS = {"error": "red", "warning": "yellow", "advice": "cyan"}


def list_(*, json: Json = False) -> int:
    """List the sites there are."""
    from hpcjobs import site as sites

    found = sites.available()
    if json:
        out.dump(
            sites=[
                {
                    "name": one.name,
                    "description": one.description,
                    "origin": one.who,
                    "file": str(one.path),
                    "shadowed": one.shadowed,
                    "problem": one.problem or None,
                }
                for one in found
            ]
        )
        return 0
    rows = [
        (one.name, one.who + (", shadowed" if one.shadowed else ""), one.problem or one.description) for one in found
    ]
    out.table(("NAME", "ORIGIN", "DESCRIPTION"), rows, ["red" if one.problem else "" for one in found])
    return 0


def show(name: SiteArgument = "", *, site_file: SiteFile = "", origin: Origin = False, json: Json = False) -> int:
    """Show a site with all that it inherits.

    As one YAML file; with --origin, which file set each value.
    """
    from hpcjobs import site as sites

    loaded = sites.choose(name, site_file)
    if json:
        settings = [{"path": s.path, "value": s.value, "origin": s.origin} for s in loaded.settings]
        out.dump(name=loaded.site.name, file=str(loaded.file), origin=loaded.who, settings=settings)
    elif origin:
        rows = [(s.path, json_module.dumps(s.value, ensure_ascii=False), s.origin) for s in loaded.settings]
        out.table(("VALUE OF", "IS", "SET BY"), [row for row in rows if row[2] != "default"])
    else:
        out.say(f"# {loaded.file}")
        out.say(loaded.to_yaml().rstrip("\n"))
    return 0


def detect(*, json: Json = False) -> int:
    """Say which site this machine is, and why."""
    from hpcjobs import site as sites

    tried = sites.explain_detection()
    if json:
        out.dump(
            sites=[
                {"name": one.name, "matches": one.matched, "origin": one.who, "file": str(one.path), "why": one.why}
                for one in tried
            ]
        )
    else:
        out.table(("NAME", "MATCHES", "WHY"), [(one.name, "yes" if one.matched else "no", one.why) for one in tried])
    loaded = sites.choose()  # raises if none fits, or two fit equally well
    if not json:
        out.tell(f"{loaded.site.name} is used ({loaded.chosen})")
    return 0


def validate(names: SiteFiles = None, *, json: Json = False) -> int:
    """Check site files.

    They are given as files or by name; by default, all that are not built in. The exit code is 1 if one is wrong.
    """
    from hpcjobs import site as sites

    targets = names or [str(one.path) for one in sites.available() if one.who not in {"built-in", "plug-in"}]
    problems = [problem for target in targets for problem in _check(target)]
    if json:
        out.dump(checked=targets, problems=[_problem_json(problem) for problem in problems])
    else:
        for line in _problem_lines(problems):
            out.say(line)
        if not problems:
            out.tell(
                f"nothing is wrong with {' '.join(targets)}"
                if targets
                else "there is no site file but the built-in ones"
            )
    return int(any(problem.level == "error" for problem in problems))


def _check(target: str) -> Sequence[Problem]:
    from hpcjobs import site as sites

    is_file = "/" in target or target.endswith((".yaml", ".yml")) or Path(target).is_file()
    return sites.check("" if is_file else target, target if is_file else "", known=_known())


def _known() -> Known:
    from hpcjobs import launchers, render, runtimes, schedulers
    from hpcjobs.site import Known

    templates = [name for name, _, _ in render.list_templates()]
    return Known(schedulers.names(), launchers.names(), runtimes.names(), templates)


def _problem_lines(problems: Sequence[Problem]) -> Iterator[str]:
    import sys

    for problem in problems:
        yield f"{out.paint(problem.level + ':', _COLOURS[problem.level], sys.stdout)} {problem}"
        if problem.hint:
            yield f"    {out.paint('hint:', 'cyan', sys.stdout)} {problem.hint}"


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "level": problem.level,
        "path": problem.path or None,
        "message": problem.message,
        "hint": problem.hint or None,
        "file": problem.file or None,
        "line": problem.line or None,
    }


def schema(kind: SchemaKind = "site") -> int:
    """Print the JSON schema of site files or job files."""
    from hpcjobs.site.schema import job_schema, site_schema

    makers = {"site": site_schema, "job": job_schema}
    if kind not in makers:
        raise UsageError(f"there is no schema {kind!r}", hint=nearest(kind, makers))
    out.say(json_module.dumps(makers[kind](), indent=2))
    return 0


COMMANDS = {"list": list_, "show": show, "detect": detect, "validate": validate, "schema": schema}
