"""Recordings of PBS as a backend meets them: as answers of a runner, and recorded JSON in the form that is read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState, JobStatus
from hpcjobs.schedulers.pbs import Pbs
from tests.pbs_recorded import recording

US = "\x1f"


def job(native_id: str = "12.pbshead", **more: object) -> JobRecord:
    """A job of these tests, tracked."""
    values: dict[str, object] = {
        "id": 1, "tag": "t", "name": "n", "site": "s", "scheduler": "pbs", "folder": "/f", "workdir": "/w",
        "output": "/o", "error": "/e", "created": 100.0, "native_id": native_id,
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


def at(day_and_clock: str) -> float:
    """`20 23:59:36` -> the Unix time of that second in November 2026, when all was recorded."""
    when = datetime.strptime(f"2026-11-{day_and_clock}", "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - set in the next line
    return when.replace(tzinfo=timezone.utc).timestamp()


def wait(raw: str, reason: str, restarts: int = 0) -> JobStatus:
    """A job that waits."""
    return JobStatus(JobState.PENDING, raw, reason, restarts=restarts)


def held(raw: str, reason: str, restarts: int = 0) -> JobStatus:
    """A job that is held."""
    return JobStatus(JobState.HELD, raw, reason, restarts=restarts)


def runs(state: JobState, raw: str, since: str, nodes: str) -> JobStatus:
    """A job that has begun; since when, as `at` reads it."""
    return JobStatus(state, raw, started=at(since) if since else 0.0, nodes=nodes)


def answer(case: str, program: str = "", server: str = "openpbs") -> Completed:
    """What the (first) command of a recording answered: the shell's `echo rc=$?` is its exit status, not its output."""
    recorded = recording(case, server)
    out, *shell = re.split(r"^rc=(-?\d+)\n", recorded.out, maxsplit=1, flags=re.MULTILINE)
    lines = recorded.err.splitlines(keepends=True)
    own = [line for line in lines if not program or not re.match(r"q\w+: ", line) or line.startswith(f"{program}: ")]
    return Completed((program,), int(shell[0]) if shell else recorded.code, out, "".join(own))


class Script:
    """A runner that answers each program with what was recorded, and keeps what was asked."""

    def __init__(self, **answers: Completed | Sequence[Completed]) -> None:
        self._answers = {
            name: [given] if isinstance(given, Completed) else list(given) for name, given in answers.items()
        }
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str], **_: object) -> Completed:
        """The next answer of that program; the last one again and again."""
        self.calls.append(tuple(argv))
        left = self._answers[argv[0]]
        return left.pop(0) if len(left) > 1 else left[0]


def pbs(script: Script, dialect: str = "openpbs") -> Pbs:
    """OpenPBS, or another dialect, as the script plays it."""
    return Pbs({"extra": {"dialect": dialect}}, script)


# ------------------------------------------------------------------------------- recorded JSON


def document(case: str) -> Any:
    """The recorded JSON. Raises ValueError where it is none."""
    data = answer(case).out.encode("utf-8", "surrogateescape")
    return json.loads(data.decode())


def as_dsv(case: str, section: str = "Jobs", head: str = "Job Id: ") -> str:
    """A recorded JSON document as `qstat -F dsv` writes the same."""
    found = document(case).get(section, {})
    return "".join(US.join((f"{head}{name}", *_dotted("", value))) + "\n" for name, value in found.items())


def _dotted(name: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _dotted(f"{name}.{key}" if name else key, inner)]
    return [f"{name}={value}".replace("\n", "\\n")]


def fragments(case: str) -> dict[str, str]:
    """The attributes in lines of JSON that a grep has left over; the host, which it left out, from the comment."""
    lines = re.findall(r'^(?:\d+:)?\s*"(\w+)":\s*(".*"|-?\d+),?$', recording(case).out, re.MULTILINE)
    found = {name: str(json.loads(value)) for name, value in lines}
    if host := re.search(r"Job run at .* on \((\w+):", found.get("comment", "")):
        found["exec_host"] = f"{host[1]}/0"
    return found
