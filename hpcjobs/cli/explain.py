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
    answers = []
    for chosen in service.select(words.need(jobs, "explain")):
        answer = service.explain(chosen.record)
        answers.append((service.store.get(chosen.record.id), answer))
    if json:
        out.dump(explanations=[_to_json(record, answer) for record, answer in answers])
    else:
        for record, answer in answers:
            _say(record, answer)
    return 0


def _say(record: JobRecord, answer: Explanation) -> None:
    state = out.paint(str(record.state), words.colour(record.state), sys.stdout)
    code = f" ({answer.reason})" if answer.reason else ""
    out.say(f"{record.label} {out.clean(record.name)} is {state}{code}: {answer.words}")
    if answer.expected_start:
        out.say(f"expected to start {out.local(answer.expected_start)}")
    if answer.advice:
        out.hint(answer.advice)


def _to_json(record: JobRecord, answer: Explanation) -> dict[str, object]:
    return {
        "id": record.label,
        "state": str(record.state),
        "reason": answer.reason or None,
        "words": answer.words,
        "advice": answer.advice or None,
        "expected_start": out.iso(answer.expected_start),
    }
