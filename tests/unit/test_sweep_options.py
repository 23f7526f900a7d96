"""Designs from the options of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from hpcjobs.errors import UsageError
from hpcjobs.sweep.design import Grid, LatinHypercube, Product, Random, Sobol, Table, Zip
from hpcjobs.sweep.distributions import parse_distribution
from hpcjobs.sweep.options import from_options

TABLE = Table({"t": [1, 2]}, "runs.csv")
UNIFORM, NORMAL = parse_distribution("uniform(0,1)"), parse_distribution("normal(0,1)")


@pytest.mark.parametrize(
    ("options", "design"),
    [
        ({"grid": ["re=100,200", " i = range(0,2)"]}, Grid({"re": [100, 200], "i": [0, 1]})),
        ({"grid": ["flag=a=b,c"]}, Grid({"flag": ["a=b", "c"]})),
        ({"zip": ["a=1,2", "b=x,y"]}, Zip({"a": [1, 2], "b": ["x", "y"]})),
        ({"table": [TABLE]}, TABLE),
        ({"lhs": [(5, "x=uniform(0,1)"), (5, "y=normal(0,1)")]}, LatinHypercube(5, {"x": UNIFORM, "y": NORMAL})),
        (
            {
                "sobol": [(4, "s=uniform(0,1)")],
                "random": [(3, "r=uniform(0,1)")],
                "zip": ["z=1,2"],
                "table": [TABLE, Table({"u": [1]})],
                "grid": ["g=1"],
            },
            Product((
                Grid({"g": [1]}), Zip({"z": [1, 2]}), TABLE, Table({"u": [1]}), Random(3, {"r": UNIFORM}), Sobol(4, {"s": UNIFORM}),
            )),
        ),
    ],
)  # fmt: skip
def test_designs(options: dict[str, Any], design: object) -> None:
    assert from_options(**options) == design


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({}, "a study of nothing", "--grid 're=100,200,400'"),
        ({"grid": ["re"]}, "--grid 're' does not name a parameter", "write --grid 're=100,200,400'"),
        ({"grid": ["=1"]}, "--grid '=1' does not name a parameter", "write --grid 're=100,200,400'"),
        ({"zip": ["a=1", "a=2"]}, "--zip gives a twice", "give it once"),
        ({"grid": ["re="]}, "--grid re: an empty value", "''"),
        ({"grid": ["re=range(5,0)"]}, "--grid re: range(5,0,1) has no values", "range(0,3) is 0,1,2"),
        ({"grid": ["1x=1"]}, "--grid: '1x' cannot be the name of a parameter", "no digit first"),
        ({"zip": ["a=1,2", "b=1"]}, "--zip: values that belong together differ in number: 2 of a; 1 of b", "as many"),
        ({"lhs": [(5, "x")]}, "--lhs 5 'x' does not name a parameter", "write --lhs 5 'x=uniform(0,1)'"),
        ({"lhs": [(5, "x=1,2")]}, "--lhs 5 x: '1,2' is not a distribution", "uniform(0,1)"),
        ({"random": [(0, "x=uniform(0,1)")]}, "--random: 0 random points", "1 or more"),
        (
            {"sobol": [(4, "x=uniform(0,1)"), (8, "y=uniform(0,1)")]},
            "--sobol with 4 points and with 8: its parameters are drawn together",
            "write --sobol 4 'y=uniform(0,1)'",
        ),
        ({"grid": ["a=1"], "zip": ["a=1"]}, "the parameter a is given twice", "remove one"),
    ],
)
def test_refuses(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_options(**options)
    assert caught.value.message == message
    assert hint in caught.value.hint
