"""`hpcjob explain`: why a job is where it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.service import Service

if TYPE_CHECKING:
    from hpcjobs.cli.options import Json, Selectors
    from hpcjobs.record import JobRecord
    from hpcjobs.schedulers import Explanation


def explain(jobs: Selectors = None, *, json: Json = False) -> int:
    """Say why a job waits, or how it ended.

    In words, with what to do about it and, where the scheduler knows, when it is expected to start.
    """
    service = Service()
    selectors = words.need(jobs, "explain")
    if words.about_studies(selectors):
        from hpcjobs.cli import studies

        answers = studies.explain(service, selectors)
    else:
        answers = [_explain(service, chosen.record) for chosen in service.select(selectors)]
    if json:
        out.dump(explanations=[_to_json(*answer) for answer in answers])
    else:
        for answer in answers:
            _say(*answer)
    return 0


def _explain(service: Service, record: JobRecord) -> tuple[str, str, str, Explanation]:
    answer = service.explain(record)
    return record.label, record.name, str(service.store.get(record.id).state), answer


def _say(label: str, name: str, state: str, answer: Explanation) -> None:
    painted = out.paint(state, words.colour_of(state), sys.stdout)
    code = f" ({answer.reason})" if answer.reason else ""
    out.say(f"{label} {out.clean(name)} is {painted}{code}: {answer.words}")
    if answer.expected_start:
        out.say(f"expected to start {out.local(answer.expected_start)}")
    if answer.advice:
        out.hint(answer.advice)


def _to_json(label: str, _: str, state: str, answer: Explanation) -> dict[str, object]:
    return {
        "id": label,
        "state": state,
        "reason": answer.reason or None,
        "words": answer.words,
        "advice": answer.advice or None,
        "expected_start": out.iso(answer.expected_start),
    }
