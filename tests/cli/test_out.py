from __future__ import annotations

import sys

import pytest

from hpcjobs.cli import out
from hpcjobs.cli.jobs import clock, labels
from hpcjobs.record import JobRecord


def job(number: int) -> JobRecord:
    return JobRecord(number, "tag", "solve", "site", "slurm", "/f", "/w", "/o", "/e", 1.0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("solve", "solve"), ("a\tb\n\x1b[2J", r"a\tb\n\x1b[2J"), ("ü 值", "ü 值"), ("\udcff", r"\udcff")],
)
def test_nothing_in_a_name_moves_the_cursor(text: str, shown: str) -> None:
    assert out.clean(text) == shown


def test_a_table_elsewhere_is_whole_and_has_no_empty_cells() -> None:
    assert out.table_lines(("A", "B"), [("1\t2", "x" * 300), ("", "y")]) == ["A\tB", r"1\t2" + "\t" + "x" * 300, "-\ty"]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_table_on_a_terminal_fits_it(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    row = (
        "j12",
        "a name of some length",
        "8/10 done, 2 failed",
        "4(32)",
        "1:00:00/2:00:00",
        "cluster",
        "4711",
        "Priority",
    )
    lines = out.table_lines(("ID", "NAME", "STATE", "NODES", "TIME", "SITE", "NATIVE", "REASON"), [row])
    # Below some width the columns keep a few letters each, and the terminal wraps.
    assert max(map(len, lines)) <= max(columns, 58)
    assert lines[1].startswith("j12  a nam")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0, "0:00"), (62.9, "1:02"), (3600, "1:00:00"), (90061, "1-01:01:01")],
)
def test_clock(seconds: float | None, shown: str) -> None:
    assert clock(seconds) == shown


def test_labels_are_selectors() -> None:
    assert labels([job(1), job(2), job(3), job(7)]) == "j1-j3 j7"


def test_times_that_are_not_known() -> None:
    assert (out.iso(0.0), out.local(0.0)) == (None, "-")
