"""Points by the values of their parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpcjobs.sweep.results import PointInfo
from hpcjobs.sweep.summary import Summary, summarise, text_summary

HERE = Path("/s")


def point(number: int, state: str = "done", seconds: float | None = 1.0, **parameters: Any) -> PointInfo:
    return PointInfo(number, parameters, state, 0, seconds, 1, HERE, HERE / "log")


def counts(summaries: list[Summary]) -> list[tuple[str, str, int]]:
    return [(each.parameter, each.value, each.count) for each in summaries]


def test_failures_and_times_of_each_value() -> None:
    points = [
        point(0, seconds=1.0, re=200, method="sor"),
        point(1, seconds=2.0, re=200, method="cg"),
        point(2, seconds=6.0, re=100, method="sor"),
        point(3, "failed", 0.5, re=100, method="cg"),
        point(4, "timeout", 60.0, re=100, method="sor"),
        point(5, "running", None, re=100, method="cg"),
        point(6, "cancelled", None, re=100, method="cg"),
    ]
    both = {"done": 3, "failed": 1, "timeout": 1, "running": 1, "cancelled": 1}
    assert summarise(iter(points), ["re", "method"]) == [
        Summary("", "", 7, both, 2, 2.0, 3.0, 6.0),
        Summary("re", "100", 5, {"cancelled": 1, "done": 1, "failed": 1, "running": 1, "timeout": 1}, 2, 6.0, 6.0, 6.0),
        Summary("re", "200", 2, {"done": 2}, 0, 1.5, 1.5, 2.0),
        Summary("method", "sor", 3, {"done": 2, "timeout": 1}, 1, 3.5, 3.5, 6.0),
        Summary("method", "cg", 4, {"cancelled": 1, "done": 1, "failed": 1, "running": 1}, 1, 2.0, 2.0, 2.0),
    ]
    assert list(summarise(points, [])[0].states) == sorted(both)


def test_values_that_differ_as_text_are_different() -> None:
    points = [point(0, x=1), point(1, x=1.0), point(2, x=True), point(3, x="1"), point(4, x=1)]
    assert counts(summarise(points, ["x"]))[1:] == [("x", "1", 3), ("x", "1.0", 1), ("x", "true", 1)]


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ([0, 1, 2, 3], [("0", 1), ("1", 1), ("2", 1), ("3", 1)]),
        ([10, 9, 2.5], [("2.5", 1), ("9", 1), ("10", 1)]),
        (range(11), [("[0, 2)", 2), ("[2, 4)", 2), ("[4, 6)", 2), ("[6, 8)", 2), ("[8, 10]", 3)]),
        (
            [-1e199, *range(4), 1e199],
            [("[-1e+199, -6e+198)", 1), ("[-6e+198, -2e+198)", 0), ("[-2e+198, 2e+198)", 4), ("[2e+198, 6e+198)", 0), ("[6e+198, 1e+199]", 1)],
        ),
        (
            [1 + n * 1e-9 for n in range(6)],
            [("[1, 1.000000001)", 1), ("[1.000000001, 1.000000002)", 1), ("[1.000000002, 1.000000003)", 1), ("[1.000000003, 1.000000004)", 1), ("[1.000000004, 1.000000005]", 2)],
        ),
        # Beyond what a float tells apart.
        ([10**17 + n for n in range(6)], [("[1e+17, 1e+17)", 0)] * 4 + [("[1e+17, 1e+17]", 6)]),
        (list("abcdef"), []),
        ([1, 2, 3, 4, 5, "six"], []),
        ([1, 2, 3, 4, 5, 10**400], []),
        ([True, False], [("true", 1), ("false", 1)]),
        ([7], [("7", 1)]),
        ([], []),
    ],
)  # fmt: skip
def test_many_numbers_are_cut_into_ranges(values: Any, groups: list[tuple[str, int]]) -> None:
    found = summarise([point(number, x=value) for number, value in enumerate(values)], ["x"], most=5)
    assert counts(found) == [("", "", len(values)), *(("x", *group) for group in groups)]


def test_nothing_ran() -> None:
    assert summarise([point(0, "pending", None)], []) == [Summary("", "", 1, {"pending": 1}, 0, None, None, None)]


def test_text() -> None:
    points = [point(0, seconds=1.0, x=1), point(1, seconds=2.25, x=1), point(2, "failed", None, x=2)]
    assert text_summary(summarise(points, ["x"])) == (
        ["parameter", "value", "points", "failed", "median s", "mean s", "max s", "states"],
        [
            ["all", "", "3", "1", "1.62", "1.62", "2.25", "2 done, 1 failed"],
            ["x", "1", "2", "0", "1.62", "1.62", "2.25", "2 done"],
            ["x", "2", "1", "1", "", "", "", "1 failed"],
        ],
    )
