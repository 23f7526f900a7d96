"""Values of parameters: what people type, and what programs get."""

from __future__ import annotations

from math import inf, nan

import pytest

from hpcjobs.errors import UsageError
from hpcjobs.sweep.values import (
    Value,
    call,
    check_count,
    escape,
    parse_number,
    parse_value,
    parse_values,
    split,
    text,
    unescape,
)


class Strange(float):
    """A float that writes itself in another way, as NumPy's do."""

    def __repr__(self) -> str:
        return "strange"


def refusal(typed: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        parse_values(typed)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, "1"), (-3, "-3"), (0.1, "0.1"), (1.0, "1.0"), (-0.0, "-0.0"), (1e22, "1e+22"), (inf, "inf"), (-inf, "-inf"),
        (True, "true"), (False, "false"), ("a b", "a b"), ("", ""), (Strange(0.5), "0.5"),
    ],
)  # fmt: skip
def test_text(value: Value, expected: str) -> None:
    assert text(value) == expected


def test_values_without_a_text() -> None:
    with pytest.raises(UsageError, match="NaN is not a value"):
        text(nan)
    with pytest.raises(UsageError, match="a whole number with thousands of digits"):
        text(10**5000)


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("100", 100), (" 100 ", 100), ("+5", 5), ("-5", -5), ("0", 0), ("9" * 30, int("9" * 30)),
        ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-3", -0.0015), ("1e-999", 0.0), ("inf", inf), ("-inf", -inf),
        ("true", True), ("false", False), ("True", "True"), ("007", "007"), ("00.5", "00.5"), ("1_000", "1_000"), ("1e", "1e"),
        ("mesh-3.vtk", "mesh-3.vtk"), ("a b", "a b"), ("it's", "it's"), ("'100'", "100"), ('"it\'s"', "it's"), ("''", ""), ("'nan'", "nan"),
        ("nano", "nano"), ("a=b", "a=b"), ("{x}", "{x}"),
    ],
)  # fmt: skip
def test_parses_a_value(typed: str, value: Value) -> None:
    found = parse_value(typed)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("", "an empty value"),
        ("nan", "NaN is not a value"),
        ("NaN", "NaN is not a value"),
        ("'a", "the quotes of 'a do not match"),
        ("'", "the quotes of ' do not match"),
        ("'a'b", "the quotes of 'a'b do not match"),
        ("'a'b'", "the quotes of 'a'b' do not match"),
        ("range(0", "range(0 is neither a value nor a list of values"),
        ("3)", "3) is neither a value nor a list of values"),
        ("1e999", "1e999 is too large for a number"),
        ("9" * 5000, f"{'9' * 40} is too large for a number"),
    ],
)
def test_refuses_a_value(typed: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_value(typed)
    assert caught.value.message == message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("typed", "values"),
    [
        ("100,200,400", [100, 200, 400]),
        (" 1 , 2.0, x ,'a,b', \"c\" ,true", [1, 2.0, "x", "a,b", "c", True]),
        ("range(0,4)", [0, 1, 2, 3]),
        ("range(5,0,-2)", [5, 3, 1]),
        ("range(0,3.0)", [0.0, 1.0, 2.0]),
        ("range(0,1,0.1)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("range(0.7,0.1,-0.2)", [0.7, 0.5, 0.3]),
        ("range( 1e-3 , 3e-3 , 1e-3 )", [0.001, 0.002]),
        ("1,range(2,4),x", [1, 2, 3, "x"]),
        ("linspace(0,1,11)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("linspace(0,10,3)", [0, 5, 10]),
        ("linspace(10,0,3)", [10, 5, 0]),
        ("linspace(0,10,4)", [0.0, 3.3333333333333335, 6.666666666666667, 10.0]),
        ("linspace(0.0,10,3)", [0.0, 5.0, 10.0]),
        ("linspace(-1e307,1e307,3)", [-1e307, 0.0, 1e307]),
        ("logspace(1,1000,4)", [1, 10, 100, 1000]),
        ("logspace(1000,1,4)", [1000, 100, 10, 1]),
        ("logspace(1,10,3)", [1.0, 3.1622776601683795, 10.0]),
        ("logspace(1.0,100,3)", [1.0, 10.0, 100.0]),
        ("logspace(0.001,0.1,3)", [0.001, 0.01, 0.1]),
        ("logspace(3,7,5)", [3.0, 3.7077927510673407, 4.58257569495584, 5.663746980991548, 7.0]),
    ],
)
def test_parses_values(typed: str, values: list[Value]) -> None:
    found = parse_values(typed)
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in values]


def test_the_last_of_a_long_logspace_is_as_exact_as_the_first() -> None:
    found = parse_values("logspace(1e-5,1e5,100001)")
    assert (found[10_000], found[50_000], found[90_000], found[-1]) == (0.0001, 1.0, 10000.0, 100000.0)


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("", "an empty value", "write ''"),
        ("1,,2", "an empty value", "write ''"),
        ("1,", "an empty value", "write ''"),
        ("range()", "range with 1 numbers", "write range(a,b) or range(a,b,step)"),
        ("range(5)", "range with 1 numbers", "write range(a,b) or range(a,b,step)"),
        ("range(0,x)", "range: 'x' is not a number that can be used", "write range(a,b)"),
        ("range(0,inf)", "range: 'inf' is not a number that can be used", "write range(a,b)"),
        (f"range(0,1{'0' * 400})", f"range: '1{'0' * 400}' is not a number that can be used", "write range(a,b)"),
        ("range(0,5,0)", "range: a step of 0", "range(0,10,2)"),
        ("range(5,5)", "range(5,5,1) has no values", "range(0,3) is 0,1,2"),
        ("range(0,100000000)", "100000000 points are more than ten million", "several studies"),
        ("range(0,1e300,1e-300)", "points are more than ten million", "several studies"),
        ("linspace(0,1,1e7)", "linspace: 10000000.0 values", "two or more"),
        ("linspace(0,1,1)", "linspace: 1 values", "two or more: linspace(1,10,4)"),
        ("linspace(0,1,10000001)", "10000001 points are more than ten million", "several studies"),
        ("linspace(0,1)", "linspace with 2 numbers", "write linspace(a,b,n)"),
        ("logspace(0,1,3)", "logspace(0,1,3) has a value that is not above 0", "logspace(1,1000,4)"),
        ("logspace(1,-1,3)", "logspace(1,-1,3) has a value that is not above 0", "logspace(1,1000,4)"),
        ("uniform(0,1)", "uniform(…) gives no values", "distributions belong to random, lhs and sobol"),
        ("f(x)", "f(…) gives no values", "quote a text: 'f(…)'"),
    ],
)
def test_refuses_values(typed: str, message: str, hint: str) -> None:
    found = refusal(typed)
    assert found[0].endswith(message)
    assert hint in found[1]


def test_too_many_values_in_all() -> None:
    with pytest.raises(UsageError, match="10000001 points"):
        check_count(10_000_001)
    check_count(10_000_000)


@pytest.mark.parametrize(
    ("typed", "number"), [("1", 1), ("1.5", 1.5), ("nan", None), ("true", None), ("01", None), ("1 ", None), ("", None)]
)
def test_numbers(typed: str, number: float | None) -> None:
    assert parse_number(typed) == number


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("", [""]), ("a", ["a"]), ("a,b", ["a", "b"]), ("a,", ["a", ""]), ("f(a,b),c", ["f(a,b)", "c"]),
        ("f ('),',b) , 'c,d'", ["f ('),',b)", "'c,d'"]), ("'a,b", ["'a", "b"]), ("f(a,g(b,c))", ["f(a", "g(b", "c))"]),
    ],
)  # fmt: skip
def test_split(typed: str, parts: list[str]) -> None:
    assert split(typed) == parts


def test_call() -> None:
    assert call(" uniform (0, 1) ") == ("uniform", ["0", "1"])
    assert call("'f(x)'") is None
    assert call("1") is None


def test_escapes() -> None:
    assert escape("a\\b\tc\nd\re\x01f\x7fg é") == r"a\\b\tc\nd\re\0001f\0177g é"
    assert unescape(r"a\\b\tc\nd\re\0001f\0177g é") == "a\\b\tc\nd\re\x01f\x7fg é"
    assert unescape(escape(r"\0101\t")) == r"\0101\t"


def test_a_nul_is_refused() -> None:
    with pytest.raises(UsageError, match="NUL byte"):
        escape("a\0b")
