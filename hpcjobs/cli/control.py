"""`hpcjob cancel`, `hold`, `release` and `requeue`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.errors import RefusedError
from hpcjobs.service import Outcome, Selected, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.cli.options import Json, Selectors


def cancel(jobs: Selectors = None, *, json: Json = False) -> int:
    """Cancel jobs, or tasks of an array.

    Several jobs are one scheduler command. Jobs that have ended already are named, and are no error. s4 cancels a
    study, 's4[100-200]' some of its points.
    """
    service = Service()
    if words.about_studies(jobs):
        from hpcjobs.cli import studies

        return studies.cancel(service, words.need(jobs, "cancel"), json=json)
    selected = service.select(words.need(jobs, "cancel"))
    return _report(selected, checked(service, service.cancel(selected)), "cancelled", json=json)


def hold(jobs: Selectors = None, *, json: Json = False) -> int:
    """Keep pending jobs from starting."""
    service = Service()
    selected = words.select(service, words.need(jobs, "hold"))
    return _report(selected, checked(service, service.hold(selected)), "held", json=json)


def release(jobs: Selectors = None, *, json: Json = False) -> int:
    """Let held jobs start."""
    service = Service()
    selected = words.select(service, words.need(jobs, "release"))
    return _report(selected, checked(service, service.release(selected)), "released", json=json)


def requeue(jobs: Selectors = None, *, json: Json = False) -> int:
    """Put running jobs back into the queue, under the same id.

    Sites may leave this to their operators (PBS does): hpcjob resubmit sends a new job.
    """
    service = Service()
    selected = words.select(service, words.need(jobs, "requeue"))
    return _report(selected, checked(service, service.requeue(selected)), "requeued", json=json)


def checked(service: Service, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes, those with a problem with the job as it is now: a refusal is no error if it has ended meanwhile."""
    doubtful = [outcome.record for outcome in outcomes if outcome.problem]
    now = {record.id: record for record in service.refresh(doubtful, force=True).records}
    return [Outcome(now.get(outcome.record.id, outcome.record), outcome.problem) for outcome in outcomes]


def _report(selected: Sequence[Selected], outcomes: Sequence[Outcome], done: str, *, json: bool) -> int:
    refused = [outcome for outcome in outcomes if outcome.problem and not outcome.record.state.final]
    if json:
        out.dump(jobs=[_to_json(outcome) for outcome in outcomes])
        return RefusedError.exit_code if refused else 0
    if good := [chosen for chosen, outcome in zip(selected, outcomes, strict=True) if not outcome.problem]:
        out.tell(f"{done} {_labels(good)}")
    if ended := [outcome.record for outcome in outcomes if outcome.problem and outcome.record.state.final]:
        out.tell(f"ended already: {words.labels(ended)}")
    for outcome in refused:
        out.error(RefusedError(f"{outcome.record.label} is not {done}: {outcome.problem}"))
    return RefusedError.exit_code if refused else 0


def _labels(selected: Sequence[Selected]) -> str:
    from hpcjobs.units import format_indices

    parts = [f"{c.record.label}[{format_indices(c.indices)}]" for c in selected if c.indices]
    return " ".join(filter(None, (words.labels(c.record for c in selected if not c.indices), *parts)))


def _to_json(outcome: Outcome) -> dict[str, object]:
    return {"id": outcome.record.label, "state": str(outcome.record.state), "problem": outcome.problem or None}
