"""The tables of rounds, read back with the kinds of values that they were made with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import NotFoundError
from hpcjobs.sweep import table
from hpcjobs.sweep.points import Points
from hpcjobs.sweep.record import Round, StudyRecord
from hpcjobs.sweep.values import Value


def study(folder: Path, kinds: tuple[str, ...], *rounds: Round) -> StudyRecord:
    points = max(max(each.numbers()) for each in rounds) + 1
    names = tuple(f"x{number}" for number in range(len(kinds)))
    return StudyRecord(
        id=1, tag="5" * 12, name="n", site="s", site_file="", folder=str(folder), workdir="/w", created=1.0,
        names=names, kinds=kinds, points=points, spec={}, rounds=rounds,
    )  # fmt: skip


def write(folder: Path, number: int, *lines: str) -> None:
    (folder / f"points-{number}.tsv").write_text("".join(f"{line}\n" for line in lines), "utf-8", "surrogateescape")


def test_values_have_their_kinds(tmp_path: Path) -> None:
    write(tmp_path, 1, "point\tx0\tx1\tx2\tx3\tx0:03d", "0\t1\t1.0\ttrue\t1\t001", "1\t-2\tinf\tfalse\ta\\tb\\\\\t-02")
    record = study(tmp_path, ("int", "float", "bool", "str"), Round("0-1", "design", 1.0))
    found = table.values(record, [1, 0])
    assert list(found) == [1, 0]
    assert list(found[0].values()) == [1, 1.0, True, "1"]
    assert list(found[1].values()) == [-2, float("inf"), False, "a\tb\\"]
    assert [type(value) for value in found[0].values()] == [int, float, bool, str]


def test_a_column_of_several_kinds_is_what_it_looks_like(tmp_path: Path) -> None:
    write(tmp_path, 1, "point\tx0", "0\t1", "1\t1.5", "2\ttrue", "3\tfalse", "4\tfast", "5\t007", "6\t")
    record = study(tmp_path, ("mixed",), Round("0-6", "design", 1.0))
    found = [values["x0"] for values in table.values(record, range(7)).values()]
    assert found == [1, 1.5, True, False, "fast", "007", ""]
    assert [type(value) for value in found] == [int, float, bool, bool, str, str, str]


def test_rows_are_those_of_the_round_that_brought_the_point(tmp_path: Path) -> None:
    write(tmp_path, 1, "point\tx0", "0\t10", "1\t11")
    write(tmp_path, 2, "point\tx0", "1\tof another round")
    write(tmp_path, 3, "point\tx0", "2\t12")
    rounds = (Round("0-1", "design", 1.0), Round("1", "failed", 2.0, script=1), Round("2", "extend", 3.0))
    record = study(tmp_path, ("int",), *rounds)
    assert table.rows(record, {1, 2}) == ("point\tx0", {1: "1\t11", 2: "2\t12"})
    (tmp_path / "points-3.tsv").unlink()
    assert table.rows(record, [0])[1] == {0: "0\t10"}, "a table that is not needed is not read"
    with pytest.raises(NotFoundError, match="No such file") as caught:
        table.rows(record, [2])
    assert "folder removed" in caught.value.hint


# Line ends of other kinds are text; what is no UTF-8 comes from the command line as lone surrogates.
@given(
    st.lists(st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"])), min_size=1, max_size=4, unique=True)
)
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("study")
    values: list[Value] = [*texts, "caf\udce9"]
    lines = [f"{number}\t{line}" for number, line in enumerate(Points({"x0": values}).lines())]
    write(folder, 1, "point\tx0", *lines)
    record = study(folder, ("str",), Round(f"0-{len(lines) - 1}", "design", 1.0))
    assert [found["x0"] for found in table.values(record, range(len(lines))).values()] == values
