"""A study by its parameters: which values fail, and how long they take."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from hpcjobs.sweep.results import as_number, as_text
from hpcjobs.sweep.state import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hpcjobs.sweep.results import PointInfo
    from hpcjobs.sweep.values import Value

_BINS = 5


@dataclass(frozen=True)
class Summary:
    """The points that have one value of a parameter, or a value in a range. Times are those of points that are done."""

    parameter: str  # empty for all points
    value: str  # as text; a range as [0, 0.5), without its upper end, the last [0.5, 1] with it
    count: int
    states: Mapping[str, int]
    failures: int
    median: float | None
    mean: float | None
    longest: float | None


def summarise(infos: Iterable[PointInfo], names: Iterable[str], *, most: int = 12) -> list[Summary]:
    """All points, then those of each value of each named parameter.

    A parameter with more than `most` values is cut into five ranges of one width; if they are no numbers, it is
    left out.
    """
    points = list(infos)
    summaries = [_summary("", "", points)]
    for name in names:
        if group := _grouping({as_text(p.parameters[name]): p.parameters[name] for p in points}, most):
            labels, index = group
            groups: list[list[PointInfo]] = [[] for _ in labels]
            for point in points:
                groups[index(point.parameters[name])].append(point)
            summaries += [_summary(name, label, found) for label, found in zip(labels, groups, strict=True)]
    return summaries


def text_summary(summaries: Iterable[Summary]) -> tuple[list[str], list[list[str]]]:
    """The header and the rows as text; a time that is not known is empty."""
    header = ["parameter", "value", "points", "failed", "median s", "mean s", "max s", "states"]
    return header, [
        [
            each.parameter or "all",
            each.value,
            str(each.count),
            str(each.failures),
            *("" if time is None else _short(time) for time in (each.median, each.mean, each.longest)),
            ", ".join(f"{count} {state}" for state, count in each.states.items()),
        ]
        for each in summaries
    ]


def _short(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"  # noqa: PLR2004 - three digits


def _summary(parameter: str, value: str, points: Sequence[PointInfo]) -> Summary:
    from statistics import fmean, median

    states = Counter(point.state for point in points)
    times = [point.seconds for point in points if point.state == "done" and point.seconds is not None]
    return Summary(
        parameter,
        value,
        len(points),
        dict(sorted(states.items())),
        sum(states[each.value] for each in FAILED),
        median(times) if times else None,
        fmean(times) if times else None,
        max(times, default=None),
    )


def _grouping(values: Mapping[str, Value], most: int) -> tuple[list[str], Callable[[Value], int]] | None:
    """The labels of the groups, and which of them a value belongs to."""
    numbers = {text: number for text, value in values.items() if (number := as_number(value)) is not None}
    only_numbers = len(numbers) == len(values)
    if len(values) <= most:
        labels = sorted(values, key=lambda text: numbers[text]) if only_numbers else list(values)
        places = {text: place for place, text in enumerate(labels)}
        return labels, lambda value: places[as_text(value)]
    if not only_numbers:
        return None
    low, high = min(numbers.values()), max(numbers.values())
    edges = [low + (high - low) * (cut / _BINS) for cut in range(_BINS)] + [high]
    texts = _distinct(edges)
    ranges = [f"[{first}, {last})" for first, last in pairwise(texts[:-1])]
    return [*ranges, f"[{texts[-2]}, {texts[-1]}]"], lambda value: bisect_right(edges[1:-1], float(value))


def _distinct(edges: Sequence[float]) -> list[str]:
    """The edges in as few digits as tell them apart, but at least six."""
    for digits in range(6, 18):
        texts = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(texts)) == len(texts):
            break
    return texts
