"""Partitions side by side: what is free, where a request would start first, and which one `--partition auto` takes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from hpcjobs.errors import PlanError
from hpcjobs.units import age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.model import JobSpec
    from hpcjobs.schedulers import Forecast, Free

AUTO = "auto"
"""What `--partition` says for "the one where it starts first"."""
# Seconds between two starts that are taken for the same: answers come one after the other, for a clock that goes on.
_SAME = 60.0
# Fields of a request that decide when it starts; the program, its container and its files do not.
_DECISIVE = frozenset({
    "name", "nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "gpus_per_node", "gpu_type", "mem", "mem_per_cpu",
    "time", "partition", "account", "qos", "constraint", "reservation", "licenses", "exclusive", "array", "workdir",
    "launcher", "template", "directives",
})  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One partition."""

    name: str  # the site's
    default: bool = False
    free: Free | None = None  # None = the scheduler does not say
    forecast: Forecast | None = None  # None = there was no request, or it does not fit
    refused: str = ""  # why the request cannot go there
    max_time: int = 0  # seconds; 0 = not known, or no limit
    nodes_needed: int = 0  # of the request

    @property
    def open(self) -> bool:
        """Whether the request can go there and start without somebody opening the partition."""
        return not self.refused and (self.free is None or self.free.state == "up")


@dataclass(frozen=True)
class Choice:
    """The partition that was taken, and why."""

    name: str
    why: str


def probe(spec: JobSpec, name: str) -> JobSpec:
    """The request as far as it decides when it starts, on that partition."""
    plain = type(spec)(command=("true",))
    kept = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name in _DECISIVE}
    return replace(plain, **{**kept, "partition": name})


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The earliest start first, then the most free nodes, the default, the order of the site; refusals last."""
    starts = [row.forecast.start for row in rows if row.forecast and row.forecast.start]
    first = min(starts, default=0.0)

    def key(numbered: tuple[int, Row]) -> tuple[bool, bool, float, int, bool, int]:
        place, row = numbered
        if row.refused:
            return True, False, 0.0, 0, not row.default, place
        start = row.forecast.start if row.forecast else 0.0
        later = (start - first) // _SAME if start else float("inf")
        idle = 0 if start or not row.free else row.free.idle
        return False, not row.open, later, -idle, not row.default, place

    return [row for _, row in sorted(enumerate(rows), key=key)]


def choose(rows: Sequence[Row], site: str, *, now: float) -> Choice:
    """Where the request starts first; without estimates, where nodes enough are free, else the default.

    Raises:
        PlanError: no partition takes it.
    """
    fit = [row for row in rows if row.open]
    if not fit:
        raise PlanError(
            f"no partition of site {site} takes the job{_reasons(rows)}", hint="ask for less, or choose one with -p"
        )
    known = [(row.forecast.start, row) for row in fit if row.forecast and row.forecast.start]
    if not known:
        return _by_free_nodes(fit)
    first = min(start for start, _ in known)
    same = [row for start, row in known if start - first < _SAME]
    best = _default_first(same)
    start = best.forecast.start if best.forecast else first
    others = sorted((start, row.name) for start, row in known if row is not best)
    later = "".join(f"; {name} {when(start, now)}" for start, name in others[:3])
    return Choice(best.name, f"would start {when(start, now)}{later}")


def _by_free_nodes(fit: Sequence[Row]) -> Choice:
    room = [row for row in fit if row.free and row.free.idle >= max(1, row.nodes_needed)]
    if room:
        best = _default_first(room)
        return Choice(
            best.name, f"{best.free.idle if best.free else 0} nodes are free; the scheduler estimates no start"
        )
    why = "the default" if _default_first(fit).default else "the first that takes the job"
    return Choice(_default_first(fit).name, f"{why}; nowhere are nodes enough known to be free")


def _default_first(rows: Sequence[Row]) -> Row:
    return next((row for row in rows if row.default), rows[0])


def _reasons(rows: Sequence[Row]) -> str:
    reasons = [row.refused or f"partition {row.name} is {row.free.state if row.free else 'not known'}" for row in rows]
    return ": " + "; ".join(list(dict.fromkeys(reasons))[:4]) if reasons else ""


def when(start: float, now: float) -> str:
    """`now`, or `in 25m`."""
    return "now" if start - now < _SAME else f"in {age(start - now)}"
