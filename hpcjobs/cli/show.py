"""`hpcjob show`: everything about a job."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.errors import HpcjobError
from hpcjobs.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcjobs.cli.options import Json, Selectors, ShowPlan, ShowScript
    from hpcjobs.record import JobRecord


def show(jobs: Selectors = None, *, script: ShowScript = False, plan: ShowPlan = False, json: Json = False) -> int:
    """Show everything about a job.

    Its times and files, every decision of its plan, and why it failed; of a study (s4) its design and rounds, of a
    point ('s4[17]') its values and the end of its log.
    """
    service = Service()
    if words.about_studies(jobs) and not (script or plan):
        from hpcjobs.cli import studies

        return studies.show(service, jobs or (), json=json)
    selected = words.select(service, words.need(jobs, "show"))
    if script:
        out.data(service.script_of(words.one(selected, "show --script").record))
        return 0
    if plan:
        out.say(json_module.dumps(service.plan_of(words.one(selected, "show --plan").record), indent=2))
        return 0
    fresh = service.refresh([chosen.record for chosen in selected])
    if json:
        values: dict[str, Any] = {"jobs": [_to_json(service, record) for record in fresh.records]}
        if fresh.errors:
            values["error"] = out.error_json(fresh.errors[0])
        out.dump(**values)
    else:
        for number, record in enumerate(fresh.records):
            if number:
                out.say()
            _say(service, record)
        for error in fresh.errors:
            out.error(error)
    return max((error.exit_code for error in fresh.errors), default=0)


def _to_json(service: Service, record: JobRecord) -> dict[str, Any]:
    return {
        **words.to_json(record),
        "script": str(paths.JobFolder(Path(record.folder)).script),
        "plan": _plan(service, record),
        "failure": words.failure_json(service.failure(record)),
    }


def _plan(service: Service, record: JobRecord) -> dict[str, Any] | None:
    """The stored plan; None, and a warning, if somebody removed it."""
    try:
        return dict(service.plan_of(record))
    except HpcjobError as error:
        out.warn(error.message)
        return None


def _say(service: Service, record: JobRecord) -> None:
    state = out.paint(words.state_words(record, out.now()), words.colour(record.state), sys.stdout)
    out.say(f"{out.paint(record.label, 'bold', sys.stdout)} {out.clean(record.name)}: {state}")
    for key, value in _facts(record):
        out.say(f"  {key:<10}{out.clean(value)}")
    plan = _plan(service, record) or {}
    if waits := plan.get("dependency"):
        out.say(f"  {'waits for':<10}{out.clean(waits)}")
    for beside in plan.get("services", ()):
        name = beside["name"]
        file = f"{record.folder}/service-{name}{'.INDEX' if record.array else ''}.log"
        out.say(f"  service   {name}, its output in {out.clean(out.short(file))}")
    if notes := plan.get("notes"):
        out.say("decisions")
        for note in notes:
            _say_note(note)
    if failure := service.failure(record):
        out.say(f"{out.paint('why it ended so', 'red', sys.stdout)}")
        out.say(f"  {failure.words}")
        if failure.tail:
            out.say(f"last lines of {out.clean(out.short(failure.file))}")
        for line in failure.tail:
            out.say(f"  {line}")
        if failure.advice:
            out.hint(failure.advice)


def _say_note(note: Mapping[str, str]) -> None:
    out.say(f"  {note['subject']:<9} {out.clean(note['decision'])}" + (f" ({note['why']})" if note["why"] else ""))


def _facts(record: JobRecord) -> Iterator[tuple[str, str]]:
    from hpcjobs.shell import join

    yield "command", join(record.command)
    if record.image:
        yield "image", out.short(record.image)
    if record.image_digest:
        yield "digest", record.image_digest
    native = f", id {record.native_id}" if record.native_id else ""
    partition = f", partition {record.partition}" if record.partition else ""
    if record.study:
        yield "study", f"s{record.study}: hpcjob show s{record.study}"
    yield "site", f"{record.site} ({record.scheduler}{native}{partition})"
    yield "shape", words.shape(record) + (f", array {record.array}" if record.array else "")
    if record.node_list:
        yield "nodes", record.node_list
    limit = f" of {words.clock(record.time_limit)}" if record.time_limit else ""
    yield "time", words.clock(words.elapsed(record, out.now())) + limit
    yield "submitted", out.local(record.submitted or record.created)
    if record.started:
        yield "started", out.local(record.started)
    if record.ended:
        yield "ended", out.local(record.ended)
    if record.restarts:
        yield "restarts", str(record.restarts)
    if record.reason:
        yield "reason", record.reason
    yield "workdir", out.short(record.workdir)
    yield "script", out.short(str(paths.JobFolder(Path(record.folder)).script))
    yield "output", out.short(record.output)
    if record.error != record.output:
        yield "error", out.short(record.error)
