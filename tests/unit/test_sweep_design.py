"""Designs and their points. The literals hold on every machine."""

from __future__ import annotations

import json
import sys
from math import inf, nan
from typing import Any

import pytest

from hpcjobs.errors import UsageError
from hpcjobs.render import compile_expression
from hpcjobs.sweep.design import (
    Chain,
    Design,
    Grid,
    LatinHypercube,
    Product,
    Random,
    Sobol,
    Table,
    Zip,
    ZipOf,
    design_from_json,
    design_to_json,
    expand,
    multiplied,
)
from hpcjobs.sweep.distributions import parse_distribution
from hpcjobs.sweep.points import Points
from hpcjobs.sweep.values import Value

AB = Grid({"a": [1, 2], "b": ["x", "y", "z"]})


def drawn(kind: type[Random], count: int, **parameters: str) -> Random:
    return kind(count, {name: parse_distribution(text) for name, text in parameters.items()})


def points(design: Design, where: tuple[str, ...] = (), seed: int = 0, **derive: str) -> Points:
    return expand(design, where=where, derive=derive, seed=seed, compile_expression=compile_expression)


def columns(design: Design, seed: int = 0) -> dict[str, list[Value]]:
    return {name: list(column) for name, column in points(design, seed=seed).columns.items()}


def refusal(design: Design, where: tuple[str, ...] = (), **derive: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        expand(design, where=where, derive=derive, seed=0, compile_expression=compile_expression)
    return caught.value.message, caught.value.hint


# ------------------------------------------------------------------------------------------ what is built


@pytest.mark.parametrize(
    ("design", "lines"),
    [
        (AB, ["1\tx", "1\ty", "1\tz", "2\tx", "2\ty", "2\tz"]),
        (Zip({"a": [1, 2], "b": ["x", "y"]}), ["1\tx", "2\ty"]),
        (Table({"a": [0.5, True], "b": ["x\ty", ""]}), ["0.5\tx\\ty", "true\t"]),
        (Product((Grid({"a": [1, 2]}), Zip({"b": [3, 4], "c": [5, 6]}))), ["1\t3\t5", "1\t4\t6", "2\t3\t5", "2\t4\t6"]),
        (Chain((Grid({"a": [1], "b": [2, 3]}), Zip({"b": [7], "a": [8]}))), ["1\t2", "1\t3", "8\t7"]),
        (ZipOf((Grid({"a": [1, 2], "b": [3, 4]}), Zip({"c": [5, 6, 7, 8]}))), ["1\t3\t5", "1\t4\t6", "2\t3\t7", "2\t4\t8"]),
    ],
)  # fmt: skip
def test_points(design: Design, lines: list[str]) -> None:
    found = points(design)
    assert found.lines() == lines
    assert (len(found), len(design), found.notes) == (len(lines), len(lines), ())
    assert tuple(found.columns) == design.names


def test_rows() -> None:
    assert points(AB).row(3) == {"a": 2, "b": "x"}
    assert len(Points({})) == 0
    assert Points({}).lines() == []


def test_equal_values_of_other_types_have_other_texts() -> None:
    assert Points({"a": [1, 1.0, True, -0.0, 0.0]}).lines() == ["1", "1.0", "true", "-0.0", "0.0"]


def test_a_value_without_a_text_is_told_by_name() -> None:
    with pytest.raises(UsageError, match=r"name: 'a.x00b' holds a NUL byte"):
        Points({"name": ["a\0b"]}).lines()


def test_one_design_is_its_own_product() -> None:
    assert multiplied(AB) is AB
    assert multiplied(AB, Grid({"c": [1]})) == Product((AB, Grid({"c": [1]})))


def test_repeated_points_are_left_out() -> None:
    found = points(Chain((Zip({"a": [1, 2, 1], "b": [1, "1", "1"]}), Zip({"a": [2, 3], "b": [1, 1]}))))
    assert found.lines() == ["1\t1", "2\t1", "3\t1"]
    assert found.notes == ("2 of 5 points repeat others and are left out",)


# ---------------------------------------------------------------------------------------------- at random


RANDOM = {
    "x": [0.6999292961728176, 0.899683326936328, 0.17690692197837854],
    "n": [72, 48, 77],
    "z": [0.41231975991384223, -0.39651742391650463, 0.5746561412196594],
}
LATIN = {
    "x": [0.9274859323667748, 0.043940789961511774, 0.39142081007813423],
    "y": [1.99000817805939, 2.331008074091135, 0.27527012155262875],
}
SOBOL = {
    "x": [0.6999292965047061, 0.19992929650470614, 0.44992929650470614, 0.9499292965047061],
    "y": [0.8670241911895573, 0.3670241911895573, 0.6170241911895573, 0.11702419118955731],
}


def test_random_points() -> None:
    assert columns(drawn(Random, 3, x="uniform(0,1)", n="integers(0,100)", z="normal(0,1)"), seed=7) == RANDOM


def test_a_latin_hypercube() -> None:
    assert columns(drawn(LatinHypercube, 3, x="uniform(0,1)", y="uniform(0,3)"), seed=7) == LATIN


def test_sobol() -> None:
    found = points(drawn(Sobol, 4, x="uniform(0,1)", y="uniform(0,1)"), seed=7)
    assert found.columns == SOBOL
    assert found.notes == ()


def test_another_seed_is_other_points() -> None:
    for kind in (Random, LatinHypercube, Sobol):
        design = drawn(kind, 4, x="uniform(0,1)")
        assert columns(design, seed=1) == columns(design, seed=1)
        assert columns(design, seed=1) != columns(design, seed=2)


@pytest.mark.parametrize("kind", [Random, LatinHypercube])
def test_one_more_parameter_changes_no_other(kind: type[Random]) -> None:
    x = columns(drawn(kind, 20, x="uniform(0,1)"))["x"]
    assert columns(drawn(kind, 20, y="normal(0,1)", x="uniform(0,1)"))["x"] == x
    more = Product((drawn(Random, 2, z="uniform(0,1)"), drawn(kind, 20, x="uniform(0,1)")))
    assert columns(more)["x"] == x * 2


def test_the_first_of_more_random_points_are_the_same() -> None:
    few, many = (columns(drawn(Random, n, x="normal(0,1)"))["x"] for n in (100, 200))
    assert many[:100] == few


def test_each_block_of_a_chain_is_drawn_anew() -> None:
    block = drawn(Random, 5, x="uniform(0,1)")
    both = columns(Chain((block, block)))["x"]
    assert both[:5] == columns(block)["x"]
    assert len(set(both)) == 10


@pytest.mark.parametrize("kind", [LatinHypercube, Sobol])
def test_every_part_has_one_point(kind: type[Random]) -> None:
    found = columns(drawn(kind, 64, x="uniform(0,64)", y="uniform(0,64)", z="uniform(0,64)"))
    for column in found.values():
        assert sorted(int(float(value)) for value in column) == list(range(64))
    assert found["x"] != found["y"]


def test_sobols_sequence_fills_every_square() -> None:
    found = columns(drawn(Sobol, 64, x="uniform(0,8)", y="uniform(0,8)"), seed=3)
    squares = {(int(float(x)), int(float(y))) for x, y in zip(found["x"], found["y"], strict=True)}
    assert len(squares) == 64


def test_sobol_with_another_count_has_a_note() -> None:
    assert points(drawn(Sobol, 100, x="uniform(0,1)")).notes == (
        "Sobol's sequence is most even with 64 or 128 points, not 100",
    )


def test_sobol_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    assert refusal(drawn(Sobol, 4, x="uniform(0,1)")) == (
        "Sobol's sequence needs SciPy", "pip install 'hpcjobs[sobol]'",
    )  # fmt: skip


def test_sobol_with_too_many_parameters() -> None:
    many = {f"x{i}": "uniform(0,1)" for i in range(21202)}
    message, hint = refusal(drawn(Sobol, 2, **many))
    assert "21201" in message
    assert hint == "take fewer parameters, or --lhs"


# ---------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Grid, [{}], "no parameter"),
        (Grid, [{"a": []}], "a has no values"),
        (Grid, [{"a b": [1]}], "'a b' cannot be the name of a parameter"),
        (Grid, [{"1a": [1]}], "'1a' cannot be the name of a parameter"),
        (Grid, [{"é": [1]}], "'é' cannot be the name of a parameter"),
        (Grid, [{"point": [1]}], "a parameter cannot be called point: hpcjob uses the name itself"),
        (Grid, [{"HPCJOB_X": [1]}], "a parameter cannot be called HPCJOB_X: hpcjob uses the name itself"),
        (Grid, [{name: range(10**4) for name in "abcde"}], f"{10**20} points are more than ten million"),
        (Zip, [{"a": [1, 2], "b": [1]}], "values that belong together differ in number: 2 of a; 1 of b"),
        (Zip, [{"a": range(10**7 + 1)}], "10000001 points are more than ten million"),
        (Random, [0, {"x": None}], "0 random points"),
        (Random, [5, {}], "random points without a parameter"),
        (Random, [5, {"workdir": None}], "a parameter cannot be called workdir: hpcjob uses the name itself"),
        (Sobol, [10**8, {"x": None}], "100000000 points are more than ten million"),
        (Product, [()], "no designs to put together"),
        (Product, [(AB, Grid({"b": [1]}))], "the parameter b is given twice"),
        (Product, [tuple(Grid({name: range(10**4)}) for name in "abcde")], f"{10**20} points are more than ten million"),
        (Chain, [()], "no designs to put together"),
        (Chain, [(AB, Grid({"b": [1], "c": [1]}))], "not every part of the chain has a, c"),
        (Chain, [(Grid({"a": range(6 * 10**6)}),) * 2], "12000000 points are more than ten million"),
        (ZipOf, [()], "no designs to put together"),
        (ZipOf, [(AB, Grid({"b": [1]}))], "the parameter b is given twice"),
        (ZipOf, [(AB, Grid({"c": [1]}))], "values that belong together differ in number: 6 of a, b; 1 of c"),
    ],
)  # fmt: skip
def test_refuses(kind: type, arguments: list[Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        kind(*arguments)
    assert caught.value.message == message
    assert caught.value.hint


# ----------------------------------------------------------------------------------------- expressions


def test_derived_parameters_and_constraints() -> None:
    found = points(AB, ("c < 6", "b != 'z' and d == 'x2'"), c="a*2 + 1", d="b + str(a)", e="1/c")
    assert found.lines() == ["2\tx\t5\tx2\t0.2"]
    assert found.notes == ("where c < 6: 6 of 6 left", "where b != 'z' and d == 'x2': 1 of 6 left")


def test_a_space_that_a_constraint_empties() -> None:
    assert refusal(AB, ("a > 1", "b == 'q'")) == (
        "where b == 'q' leaves none of 3 points", "make it less strict, or the design larger",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "derive", "message"),
    [
        (("a",), {}, "where a gives 1 for a=1, b=x"),
        (("1/(a-2) < 0",), {}, "where 1/(a-2) < 0: division by zero, for a=2, b=x"),
        (("b < 1",), {}, "where b < 1: '<' not supported between instances of 'str' and 'int', for a=1, b=x"),
        (("q < 1",), {}, "an expression names 'q', which is no parameter"),
        ((), {"c": "1/(a-2)"}, "c = 1/(a-2): division by zero, for a=2, b=x"),
        ((), {"c": "d", "d": "a"}, "an expression names 'd', which is no parameter"),
        ((), {"c": "[a]"}, "c = [a] gives a list for a=1, b=x"),
        ((), {"c": "float('nan')"}, "c = float('nan') gives NaN for a=1, b=x"),
        ((), {"c": "10**3000 * 10**3000"}, "c: a whole number with thousands of digits"),
        ((), {"a": "1"}, "the parameter a is given twice"),
        ((), {"point": "1"}, "a parameter cannot be called point: hpcjob uses the name itself"),
    ],
)
def test_expressions_that_fail(where: tuple[str, ...], derive: dict[str, str], message: str) -> None:
    found = refusal(AB, where, **derive)
    assert found[0] == message
    assert found[1]


def test_of_many_parameters_an_error_shows_the_first() -> None:
    design = Grid({name: [1] for name in "abcdefghij"})
    assert refusal(design, ("a",))[0] == "where a gives 1 for a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, …"


def test_a_nan_is_told_by_name_and_row() -> None:
    assert refusal(Zip({"a": [1.0, 2.0, nan], "b": [1, 2, 3]})) == (
        "a is NaN in row 3", "give it a number, or leave the row out",
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- JSON

EVERYTHING = Product((
    Grid({"a": [1, 1.0, True, "1", inf]}),
    Zip({"b": [1], "c": ["x"]}),
    Table({"d": [1, 2]}, "runs.csv"),
    Chain((drawn(Random, 2, e="normal(0,1)"), drawn(LatinHypercube, 2, e="choice(a,'b c')"), drawn(Sobol, 2, e="uniform(0,1)"))),
    ZipOf((Grid({"f": [1, 2]}), Table({"g": [3, 4]}))),
))  # fmt: skip


def test_a_design_comes_back_from_json() -> None:
    again = design_from_json(json.loads(json.dumps(design_to_json(EVERYTHING))))
    assert again == EVERYTHING
    assert points(again).lines() == points(EVERYTHING).lines()


def test_the_json_of_a_design_has_the_keys_of_a_study_file() -> None:
    assert design_to_json(Product((AB, drawn(Random, 2, x="normal(0,1)")))) == {
        "product": [
            {"grid": {"a": [1, 2], "b": ["x", "y", "z"]}},
            {"random": {"count": 2, "parameters": {"x": "normal(0.0,1.0)"}}},
        ]
    }


def test_a_large_table_stays_in_its_file() -> None:
    rows = {"a": list(range(1000))}
    assert design_to_json(Table(rows, "runs.csv")) == {"table": {"file": "runs.csv", "rows": 1000}}
    assert design_from_json(design_to_json(Table(rows))) == Table(rows)
    with pytest.raises(UsageError, match=r"the design does not hold the 1000 rows of runs\.csv"):
        design_from_json(design_to_json(Table(rows, "runs.csv")))
