"""Functions of numbers whose last digit is the same on every machine.

IEEE 754 fixes the results of + - * / and of the square root. What exp, sin or ** give is left to the C library, and
differs from release to release and from CPU to CPU. Here these are worked out with 20 digits by `decimal`, whose exp
and ln are correctly rounded (https://speleotrove.com/decimal/), and rounded to the nearest float at the end.
"""

from __future__ import annotations

from decimal import Context, Decimal, DivisionByZero, InvalidOperation, localcontext
from functools import cache
from math import isfinite, isinf

# An integer power with more bits than this could not be written down (Python writes 4300 digits).
_MAX_BITS = 14_000
_CONTEXT = Context(prec=20, traps=[InvalidOperation, DivisionByZero])
_PI_DIGITS = 400  # enough to take the period off the largest float, 1.8e308


def exp(x: float) -> float:
    """The exponential function.

    Raises:
        OverflowError: the result is too large for a float.
        TypeError: it is given a text.
    """
    return _float(_CONTEXT.exp(_decimal(x)))


def log(x: float) -> float:
    """The natural logarithm.

    Raises:
        ValueError: the number is not above 0.
        TypeError: it is given a text.
    """
    return _float(_CONTEXT.ln(_positive(x)))


def log10(x: float) -> float:
    """The logarithm to base 10; raises as `log`."""
    return _float(_CONTEXT.log10(_positive(x)))


def log2(x: float) -> float:
    """The logarithm to base 2; raises as `log`."""
    return _float(_CONTEXT.divide(_CONTEXT.ln(_positive(x)), _CONTEXT.ln(Decimal(2))))


def power(base: float, exponent: float) -> int | float:
    """`base ** exponent`; of integers exactly, if the exponent is not negative.

    Raises:
        OverflowError: the result is too large.
        ValueError: a negative number to a power that is not whole.
        ZeroDivisionError: zero to a negative power.
        TypeError: it is given a text.
    """
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if max(abs(base) - 1, 0).bit_length() * exponent > _MAX_BITS:
            raise OverflowError("the power has too many digits")
        return int(base**exponent)
    x, y = _decimal(base), _decimal(exponent)
    if not y:
        return 1.0
    if not x and y < 0:
        raise ZeroDivisionError("zero to a negative power")
    if x < 0 and y != y.to_integral_value():
        raise ValueError(f"{base} has no power {exponent}, since it is negative")
    return _float(_CONTEXT.power(x, y))


def sin(x: float) -> float:
    """The sine of an angle in radians.

    Raises:
        ValueError: the angle is infinite.
        TypeError: it is given a text.
    """
    return _float(_sine(_angle(x)))


def cos(x: float) -> float:
    """The cosine of an angle in radians; raises as `sin`."""
    return _float(_cosine(_angle(x)))


def tan(x: float) -> float:
    """The tangent of an angle in radians; raises as `sin`."""
    angle = _angle(x)
    return _float(_CONTEXT.divide(_sine(angle), _cosine(angle)))


@cache
def pi() -> Decimal:
    """The number pi with 400 digits: by Machin's formula, 4 (4 arctan 1/5 - arctan 1/239), in integers."""
    scale = 10 ** (_PI_DIGITS + 10)
    digits = 4 * (4 * _arctan_of_inverse(5, scale) - _arctan_of_inverse(239, scale))
    return Context(prec=_PI_DIGITS).divide(Decimal(digits), Decimal(scale))


def _decimal(x: float) -> Decimal:
    if isinstance(x, str):
        raise TypeError(f"{x!r} is not a number")
    return Decimal(float(x))


def _positive(x: float) -> Decimal:
    number = _decimal(x)
    if number <= 0:
        raise ValueError(f"{x} has no logarithm")
    return number


def _float(number: Decimal) -> float:
    result = float(number)
    if isinf(result):
        raise OverflowError("the result is too large")
    return result


def _angle(x: float) -> Decimal:
    """The angle without its whole turns."""
    number = _decimal(x)
    if not isfinite(number):
        raise ValueError(f"{x} is not an angle")
    with localcontext(Context(prec=_PI_DIGITS)):
        return number.remainder_near(2 * pi())


def _sine(angle: Decimal) -> Decimal:
    return _series(angle, angle, 1)


def _cosine(angle: Decimal) -> Decimal:
    return _series(Decimal(1), angle, 0)


def _series(term: Decimal, x: Decimal, n: int) -> Decimal:
    """Taylor's series from its first term, x**n / n!. No float but 0 has a sine so small that 70 digits lose it."""
    with localcontext(Context(prec=70)):
        square, total = -x * x, term
        while term and term.adjusted() > -_SERIES_DIGITS:
            term = term * square / ((n + 1) * (n + 2))
            total, n = total + term, n + 2
        return total


_SERIES_DIGITS = 75


def _arctan_of_inverse(n: int, scale: int) -> int:
    power, total, k = scale // n, 0, 1
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power, k = power // (n * n), k + 2
    return total
