"""Distributions of random parameters, by their inverse distribution functions.

The same quantile is the same float on every machine and Python: there is only + - * / and the square root, which
IEEE 754 fixes, and the functions of portable.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cache
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError
from hpcjobs.sweep import portable
from hpcjobs.sweep.values import call, parse_value, text
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcjobs.sweep.values import Value

# The quantiles of 0 and 1 may be infinite. What random() gives lies on a grid of 2**-53, with 0 and without 1.
_LEAST, _MOST = 2.0**-53, 1 - 2.0**-53
# Beyond this many standard deviations a float does not hold what is left of a normal distribution.
_FAR = 37
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Distribution:
    """A distribution as it was asked for; `parse_distribution` makes them."""

    name: str
    arguments: tuple[Value, ...]

    def __str__(self) -> str:
        """`normal(0.0,1.0)`, which `parse_distribution` reads."""
        return f"{self.name}({','.join(map(_written, self.arguments))})"

    def quantile(self, u: float) -> Value:
        """The value below which a fraction `u`, 0 to 1, of all values lies."""
        return KINDS[self.name].quantile(min(max(u, _LEAST), _MOST), *self.arguments)


@dataclass(frozen=True)
class Kind:
    """A kind of distribution."""

    written: str
    meaning: str
    counts: tuple[int, ...]
    """How many numbers it takes; none if any number of values."""
    quantile: Callable[..., Value]
    sensible: Callable[..., bool] = lambda *_: True


def parse_distribution(text: str) -> Distribution:
    """Read `uniform(0,1)`, `normal(0,1)`, `choice(a,b,c)` and the others of `KINDS`.

    Raises:
        UsageError: it is none, or its numbers make no sense.
    """
    found = call(text)
    if not found:
        raise UsageError(
            f"{text.strip()[:40]!r} is not a distribution",
            hint="write uniform(0,1), normal(0,1), choice(a,b) …; between YAML's { }, in quotes",
        )
    name, arguments = found
    if name not in KINDS:
        raise UsageError(f"there is no distribution {name!r}", hint=nearest(name, KINDS))
    kind, values = KINDS[name], [parse_value(argument) for argument in arguments]
    if kind.counts:
        values = _numbers(kind, values)
    if not kind.sensible(*values):
        raise UsageError(f"{text.strip()[:60]} makes no sense", hint=f"write {kind.written}: {kind.meaning}")
    return Distribution(name, tuple(values))


def _numbers(kind: Kind, values: Sequence[Value]) -> list[Value]:
    hint = f"write {kind.written}: {kind.meaning}"
    if len(values) not in kind.counts:
        raise UsageError(f"{kind.written} with {len(values)} numbers", hint=hint)
    for value in values:
        if isinstance(value, (str, bool)) or (isinstance(value, int) and abs(value) > _LARGEST):
            raise UsageError(f"{kind.written}: {text(value)[:40]!r} is not a number that can be used", hint=hint)
    return [*values] if kind.quantile is _integers else [float(value) for value in values]


_LARGEST = 10**300


def _written(value: Value) -> str:
    quote = '"' if isinstance(value, str) and "'" in value else "'"
    return f"{quote}{value}{quote}" if isinstance(value, str) else text(value)


# ------------------------------------------------------------------------------------------ the quantiles


def _uniform(u: float, low: float, high: float) -> float:
    return low + u * (high - low)


def _loguniform(u: float, low: float, high: float) -> float:
    first, last = _log(low), _log(high)
    return min(max(portable.exp(first + u * (last - first)), low), high)


_log = cache(portable.log)


def _normal(u: float, mean: float, deviation: float, low: float = -inf, high: float = inf) -> float:
    a, b = (low - mean) / deviation, (high - mean) / deviation
    # Close to 1, floats do not hold what is left of the upper tail: its mirror image is used.
    z = -_standard_normal(_between(1 - u, -b, -a)) if a > 0 else _standard_normal(_between(u, a, b))
    return min(max(mean + deviation * z, low), high)


def _between(u: float, a: float, b: float) -> float:
    below, above = _normal_below(a), _normal_below(b)
    return min(max(below + u * (above - below), _SMALLEST), _MOST)


@cache
def _normal_below(x: float) -> float:
    """The fraction of the standard normal distribution below `x`, by its series about 0."""
    if x > 0:
        return 1 - _normal_below(-x)
    if x < -_FAR:
        return 0.0
    with localcontext(Context(prec=400)):
        term = total = Decimal(x)
        square, k = term * term, 1
        while term and term.adjusted() > -_DIGITS:
            k += 2
            term = term * square / k
            total += term
        return float(Decimal("0.5") + total * (-square / 2).exp() / (2 * portable.pi()).sqrt())


_DIGITS = 390

# Wichura (1988), Algorithm AS 241: The percentage points of the normal distribution, PPND16; doi:10.2307/2347330.
# Numerator and denominator of each region, highest power first.
_CENTRE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_SIDE = (
    (7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_TAIL = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def _standard_normal(p: float) -> float:
    q = p - 0.5
    if abs(q) <= 0.425:  # noqa: PLR2004 - here and below, the borders of the algorithm's regions
        return q * _ratio(_CENTRE, 0.180625 - q * q)
    r = sqrt(-portable.log(min(p, 1 - p)))
    z = _ratio(_SIDE, r - 1.6) if r <= 5 else _ratio(_TAIL, r - 5)  # noqa: PLR2004
    return -z if q < 0 else z


def _ratio(coefficients: tuple[Sequence[float], Sequence[float]], r: float) -> float:
    above, below = (_polynomial(part, r) for part in coefficients)
    return above / below


def _polynomial(coefficients: Sequence[float], r: float) -> float:
    total = 0.0
    for coefficient in coefficients:
        total = total * r + coefficient
    return total


def _lognormal(u: float, mean: float, deviation: float) -> float:
    return portable.exp(_normal(u, mean, deviation))


def _integers(u: float, low: int, high: int) -> int:
    return low + min(int(u * (high - low)), high - low - 1)


def _choice(u: float, *values: Value) -> Value:
    return values[min(int(u * len(values)), len(values) - 1)]


def _exponential(u: float, mean: float) -> float:
    return -mean * portable.log(1 - u)


def _triangular(u: float, low: float, mode: float, high: float) -> float:
    width = high - low
    if u * width < mode - low:
        return low + sqrt(u * width * (mode - low))
    return high - sqrt((1 - u) * width * (high - mode))


def _sensible_normal(mean: float, deviation: float, low: float = -inf, high: float = inf) -> bool:
    if not (isfinite(mean) and 0 < deviation < inf and low < high):
        return False
    return low < mean + _FAR * deviation and high > mean - _FAR * deviation


KINDS = {
    "uniform": Kind(
        "uniform(a,b)", "from a to b", (2,), _uniform,
        lambda a, b: a < b and isfinite(b - a),
    ),
    "loguniform": Kind(
        "loguniform(a,b)", "from a to b, both above 0, and each factor of ten as likely as another", (2,), _loguniform,
        lambda a, b: 0 < a < b < inf,
    ),
    "normal": Kind(
        "normal(mean,deviation) or normal(mean,deviation,low,high)",
        "about the mean, with a standard deviation above 0; cut off at low and high", (2, 4), _normal, _sensible_normal,
    ),
    "lognormal": Kind(
        "lognormal(mean,deviation)", "the logarithm of the value is normal, and it is below 1e300", (2,), _lognormal,
        lambda mean, deviation: _sensible_normal(mean, deviation) and mean + 9 * deviation < 690,  # noqa: PLR2004
    ),
    "integers": Kind(
        "integers(a,b)", "whole numbers from a to b-1", (2,), _integers,
        lambda a, b: isinstance(a, int) and isinstance(b, int) and 0 < b - a <= 1 << 53,
    ),
    "choice": Kind(
        "choice(a,b,c)", "one of the values, which may be texts", (), _choice,
    ),
    "exponential": Kind(
        "exponential(mean)", "from 0, with a mean above 0", (1,), _exponential,
        lambda mean: 0 < mean < inf,
    ),
    "triangular": Kind(
        "triangular(a,mode,b)", "from a to b, most likely near the mode", (3,), _triangular,
        lambda a, mode, b: a <= mode <= b and a < b and isfinite(b - a),
    ),
}  # fmt: skip
