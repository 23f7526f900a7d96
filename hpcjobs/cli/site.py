"""`hpcjob site`: the machines there are site files for."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs.cli import out
from hpcjobs.errors import StoreError, UsageError
from hpcjobs.paths import config_home
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.cli.options import (
        Force,
        Json,
        NewSite,
        NewSiteOutput,
        Offline,
        Origin,
        SchemaKind,
        SiteArgument,
        SiteFile,
        SiteFiles,
    )
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
        settings = [
            {"path": s.path, "value": s.value, "origin": s.origin, "verified": not s.doubtful} for s in loaded.settings
        ]
        out.dump(name=loaded.site.name, file=str(loaded.file), origin=loaded.who, settings=settings)
    elif origin:
        rows = [
            (
                s.path,
                json_module.dumps(s.value, ensure_ascii=False),
                s.origin + (" (not verified)" if s.doubtful else ""),
            )
            for s in loaded.settings
        ]
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
        first = sorted(tried, key=lambda one: not one.matched)
        out.table(("NAME", "MATCHES", "WHY"), [(one.name, "yes" if one.matched else "no", one.why) for one in first])
    loaded = sites.choose()  # raises if none fits, or two fit equally well
    if not json:
        out.tell(f"{loaded.site.name} is used ({loaded.chosen})")
    return 0


def init(
    name: NewSite = "",
    *,
    output: NewSiteOutput = "",
    force: Force = False,
    json: Json = False,
) -> int:
    """Write a site file for this machine.

    Asks the scheduler for partitions, limits, nodes, GPUs and accounts, and looks for container runtimes, modules and
    MPI. The file is complete, and says where each value comes from. Nothing is queued.
    """
    from hpcjobs import process, survey
    from hpcjobs import site as sites
    from hpcjobs.cli import progress
    from hpcjobs.image_service import QUIET
    from hpcjobs.site import HERE, draft

    if json and output == "-":
        raise UsageError("-o - and --json both print to the terminal", hint="leave out one, or give a file: -o FILE")
    if name and not sites.is_name(name):
        raise UsageError(f"{name!r} cannot be the name of a site", hint="write letters, digits, _, . and -; or -o FILE")
    if output != "-" and (output or name):  # before the scheduler is asked
        _refuse_to_overwrite(_place(name, output), force=force)
    telling = progress.telling()
    seen = survey.look(process.run, HERE, name=name, telling=QUIET if json else telling)
    text = draft.write(seen)
    if output == "-":
        out.data(text)
        return 0
    file = _place(seen.name, output)
    _refuse_to_overwrite(file, force=force)
    _write(file, text)
    problems = [problem for problem in _check(str(file)) if problem.level == "error"]
    if json:
        out.dump(name=file.stem, file=str(file), unanswered=list(seen.unanswered))
        return int(bool(problems))
    out.say(str(file))
    for unanswered in seen.unanswered:
        out.warn(f"not learnt: {out.clean(unanswered)}")
    for line in _problem_lines(problems):
        out.tell(line)
    out.hint(f"look through it, then: hpcjob site validate {out.short(str(file))}")
    return int(bool(problems))


def _place(name: str, output: str) -> Path:
    return Path(output or config_home() / "sites" / f"{name}.yaml").absolute()


def _refuse_to_overwrite(file: Path, *, force: bool) -> None:
    if not force and file.exists():
        raise UsageError(f"there is a file {file}", hint="--force overwrites it; -o FILE writes another")


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}", hint="choose another: -o FILE") from error


def validate(names: SiteFiles = None, *, offline: Offline = False, json: Json = False) -> int:
    """Check site files, and whether the scheduler is still as they say.

    They are given as files or by name; by default, all that are not built in. A file is compared with the scheduler
    where this is the machine that it describes. The exit code is 1 if one is wrong.
    """
    from hpcjobs import site as sites

    targets = names or [str(one.path) for one in sites.available() if one.who not in {"built-in", "plug-in"}]
    problems: list[Problem] = []
    alone: dict[str, str] = {}
    for target in targets:
        found = _check(target)
        problems += found
        if not offline and not any(problem.level == "error" for problem in found):
            changed, alone[target] = _changes(target)
            problems += changed
    if json:
        compared = [target for target, why in alone.items() if not why]
        out.dump(checked=targets, compared=compared, problems=[_problem_json(problem) for problem in problems])
    else:
        for line in _problem_lines(problems):
            out.say(line)
        if not problems:
            out.tell(
                f"nothing is wrong with {' '.join(targets)}"
                if targets
                else "there is no site file but the built-in ones"
            )
        for target, why in alone.items():
            out.tell(
                f"{target} was not compared with a scheduler: {why}"
                if why
                else f"{target} was compared with the scheduler"
            )
    return int(any(problem.level == "error" for problem in problems))


def _check(target: str) -> Sequence[Problem]:
    from hpcjobs import site as sites

    return sites.check(*_named(target), known=_known())


def _changes(target: str) -> tuple[Sequence[Problem], str]:
    """Where the file and the scheduler differ, or why they were not compared."""
    from hpcjobs import process, survey
    from hpcjobs import site as sites

    return survey.changes(process.run, sites.HERE, sites.load(*_named(target), known=_known()))


def _named(target: str) -> tuple[str, str]:
    """The name of a site, or the file."""
    is_file = "/" in target or target.endswith((".yaml", ".yml")) or Path(target).is_file()
    return ("", target) if is_file else (target, "")


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


COMMANDS = {
    "list": list_,
    "show": show,
    "detect": detect,
    "init": init,
    "partitions": "hpcjobs.cli.partitions:partitions",
    "validate": validate,
    "schema": schema,
}
