"""Functions whose results are literals here, because they are the same on every machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.sweep import portable

ANGLES = st.floats(-1e6, 1e6)
TEXT: Any = "5"
POSITIVE = st.floats(1e-300, 1e300)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (portable.exp(1), 2.718281828459045),
        (portable.exp(-1000), 0.0),
        (portable.exp(0.3), 1.3498588075760032),
        (portable.log(10), 2.302585092994046),
        (portable.log(1), 0.0),
        (portable.log10(1000), 3.0),
        (portable.log2(8), 3.0),
        (portable.log2(0.1), -3.321928094887362),
        (portable.sin(1), 0.8414709848078965),
        (portable.sin(0), 0.0),
        (portable.sin(1e22), -0.8522008497671888),
        (portable.sin(math.pi), 1.2246467991473532e-16),
        (portable.cos(0), 1.0),
        (portable.cos(1e308), -0.8913089376870335),
        (portable.tan(0.5), 0.5463024898437905),
        (portable.power(2, 10), 1024),
        (portable.power(0, 10**9), 0),
        (portable.power(-3, 3), -27),
        (portable.power(2, -1), 0.5),
        (portable.power(2.0, 0.5), 1.4142135623730951),
        (portable.power(-2.0, 3), -8.0),
        (portable.power(0.0, 0.0), 1.0),
        (portable.power(0.0, 0.5), 0.0),
        (portable.power(True, 2), 1),
        (portable.power(1.1, 300), 2617010996188.4634),
    ],
)
def test_literals(found: float, expected: float) -> None:
    assert (found, type(found)) == (expected, type(expected))


def test_pi() -> None:
    assert str(portable.pi())[:52] == "3.14159265358979323846264338327950288419716939937510"
    assert len(str(portable.pi())) == 401


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: portable.exp(1000), OverflowError),
        (lambda: portable.exp(TEXT), TypeError),
        (lambda: portable.log(0), ValueError),
        (lambda: portable.log(-1.5), ValueError),
        (lambda: portable.log(TEXT), TypeError),
        (lambda: portable.sin(inf), ValueError),
        (lambda: portable.tan(TEXT), TypeError),
        (lambda: portable.power(10, 5000), OverflowError),
        (lambda: portable.power(9, 9**9), OverflowError),
        (lambda: portable.power(10.0, 309), OverflowError),
        (lambda: portable.power(-8, 0.5), ValueError),
        (lambda: portable.power(0, -1), ZeroDivisionError),
        (lambda: portable.power(TEXT, 2), TypeError),
    ],
)
def test_refuses(call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()


@given(ANGLES)
def test_angles_are_those_of_the_c_library_but_for_the_last_digit(x: float) -> None:
    assert portable.sin(x) == pytest.approx(math.sin(x), rel=1e-15)
    assert portable.cos(x) == pytest.approx(math.cos(x), rel=1e-15)
    assert portable.tan(x) == pytest.approx(math.tan(x), rel=2e-15)


@given(POSITIVE, st.floats(-50, 50))
def test_powers_are_those_of_the_c_library_but_for_the_last_digit(x: float, y: float) -> None:
    assert portable.log(x) == pytest.approx(math.log(x), rel=1e-15)
    assert portable.exp(y) == pytest.approx(math.exp(y), rel=1e-15)
    try:
        expected = x**y
    except OverflowError:
        expected = inf
    if expected == inf:
        with pytest.raises(OverflowError):
            portable.power(x, y)
    else:
        assert portable.power(x, y) == pytest.approx(expected, rel=1e-14, abs=1e-300)
