"""The values of parameters: as people type them, as text for programs, and as they stand in a study's table."""

from __future__ import annotations

import re
from math import inf, isnan, lcm
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

Value = int | float | str | bool

MAX_POINTS = 10_000_000
_NAN_HINT = "write a number; for the text, quote it: 'nan'"
# A number that begins with 0 and another digit is rather a name (case 007): it stays text.
_INT = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,3999})")
_FLOAT = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf")
_PIECE = re.compile(
    r"""\s*('[^']*'|"[^"]*"|[A-Za-z_]\w*\s*\((?:'[^']*'|"[^"]*"|[^()'"])*\)|[^,]*?)\s*(?:,|$)""", re.DOTALL
)
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\((.*)\)", re.DOTALL)


def text(value: Value) -> str:
    """What a program gets for a value: `true`, `false`, digits, the shortest number that is the same float, or itself.

    Raises:
        UsageError: the value is NaN, or an integer of more digits than Python writes.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if isnan(value):
            raise UsageError("NaN is not a value", hint=_NAN_HINT)
        return float.__repr__(value)  # NumPy's floats have another
    try:
        return str(value)
    except ValueError:  # sys.set_int_max_str_digits
        raise UsageError("a whole number with thousands of digits", hint="use 1.0 for 1, and so on") from None


def parse_number(text: str) -> int | float | None:
    """The number that the text is, or None. A NaN is None; digits after a leading 0 are a name, and None.

    Raises:
        UsageError: it is larger than any float.
    """
    if _INT.fullmatch(text):
        return int(text)
    if not _FLOAT.fullmatch(text):
        return None
    number = float(text)
    if abs(number) == inf and not text.endswith("inf"):
        raise UsageError(f"{text[:40]} is too large for a number", hint=f"quote it, if it is a text: '{text[:40]}'")
    return number


def parse_value(text: str) -> Value:
    """Read one value: `100`, `0.5`, `true`, `'a text'`, or bare text.

    Raises:
        UsageError: it is empty, NaN, has an open quote, or parentheses without quotes.
    """
    text = text.strip()
    if not text:
        raise UsageError("an empty value", hint="write '' for an empty text")
    if text[0] in "'\"":
        if len(text) < 2 or text[0] in text[1:-1] or text[-1] != text[0]:  # noqa: PLR2004 - a pair of quotes
            raise UsageError(f"the quotes of {text[:40]} do not match", hint="write 'a text' or \"it's\"")
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    if text.lower() == "nan":
        raise UsageError("NaN is not a value", hint=_NAN_HINT)
    if "(" in text or ")" in text:
        raise UsageError(
            f"{text[:40]} is neither a value nor a list of values",
            hint=f"quote it: '{text[:40]}'; between YAML's {{ }}, quote range(0,10) as well",
        )
    number = parse_number(text)
    return text if number is None else number


def parse_values(text: str) -> list[Value]:
    """Read values with commas between them, each a value or one of these.

    `range(a,b,step)` ends before b, as Python's, and takes decimals; `linspace(a,b,n)` and `logspace(a,b,n)` are n
    values from a to b, at equal distances or ratios. They are worked out exactly and rounded to the nearest float at
    the end. Whole numbers stay such if all that is given and all that comes out is whole.

    Raises:
        UsageError: it is none of these, or more than ten million values.
    """
    values: list[Value] = []
    for piece in split(text):
        found = call(piece)
        values += _generated(*found) if found else [parse_value(piece)]
    check_count(len(values))
    return values


def split(text: str) -> list[str]:
    """The text's parts between commas, but for commas in quotes and in the parentheses of `name(…)`."""
    parts, position, more = [], 0, True
    while more and (match := _PIECE.match(text, position)):
        parts.append(match[1])
        position, more = match.end(), match.group().endswith(",")
    return parts


def call(text: str) -> tuple[str, list[str]] | None:
    """`name(a, b)` as the name and the texts of its arguments; None if the text is something else."""
    match = _CALL.fullmatch(text.strip())
    return (match[1], split(match[2])) if match else None


def numbers(name: str, arguments: list[str], wanted: str) -> list[int | float]:
    """The numbers that stand in `name(…)`; `wanted` is how it is written: `range(a,b,step)`.

    Raises:
        UsageError: one is no finite number.
    """
    found: list[int | float] = []
    for each in arguments:
        number = parse_number(each)
        if number is None or abs(number) > _LARGEST:
            raise UsageError(f"{name}: {each!r} is not a number that can be used", hint=f"write {wanted}")
        found.append(number)
    return found


_LARGEST = 10**308


def check_count(count: int) -> None:
    """Refuse more points, or values, than can be.

    Raises:
        UsageError: there are more than ten million.
    """
    if count > MAX_POINTS:
        raise UsageError(f"{count} points are more than ten million", hint="make several studies of it")


def _generated(name: str, arguments: list[str]) -> list[Value]:
    if name not in _GENERATORS:
        raise UsageError(
            f"{name}(…) gives no values",
            hint="write range(a,b,step), linspace(a,b,n) or logspace(a,b,n); distributions belong to random, lhs and "
            f"sobol; quote a text: '{name}(…)'",
        )
    make, wanted, counts = _GENERATORS[name]
    if len(arguments) not in counts:
        raise UsageError(f"{name} with {len(arguments)} numbers", hint=f"write {wanted}")
    return make(*numbers(name, arguments, wanted))


def _range(start: float, stop: float, step: float = 1) -> list[Value]:
    if step == 0:
        raise UsageError("range: a step of 0", hint="write, say, range(0,10,2)")
    a, b, by = _fraction(start), _fraction(stop), _fraction(step)
    count = -((a - b) // by)
    if count < 1:
        raise UsageError(
            f"range({start},{stop},{step}) has no values",
            hint="it goes from its first number to before its second: range(0,3) is 0,1,2",
        )
    check_count(count)
    whole = all(isinstance(given, int) for given in (start, stop, step))
    scale = lcm(a.denominator, by.denominator)
    first, distance = int(a * scale), int(by * scale)
    # Division of integers is rounded correctly: 3/10 is 0.3, where 3*0.1 is not.
    return [n if whole else n / scale for n in range(first, first + count * distance, distance)]


def _linspace(start: float, stop: float, count: float) -> list[Value]:
    steps = _steps("linspace", count)
    a, b = _fraction(start), _fraction(stop)
    scale = lcm(a.denominator, b.denominator)
    first, distance = int(a * scale) * steps, int((b - a) * scale)
    scale *= steps
    found = [first + i * distance for i in range(steps + 1)]
    if isinstance(start, int) and isinstance(stop, int) and distance % steps == 0:
        return [n // scale for n in found]
    return [n / scale for n in found]


def _logspace(start: float, stop: float, count: float) -> list[Value]:
    from decimal import Context, Decimal

    steps = _steps("logspace", count)
    if start <= 0 or stop <= 0:
        raise UsageError(
            f"logspace({start},{stop},{count}) has a value that is not above 0",
            hint="logspace(1,1000,4) is 1,10,100,1000",
        )
    context = Context(prec=60)
    a, b = Decimal(str(start)), Decimal(str(stop))
    ratio = context.exp(context.divide(context.subtract(context.ln(b), context.ln(a)), Decimal(steps)))
    found = [a]
    for _ in range(steps - 1):
        found.append(context.multiply(found[-1], ratio))
    found.append(b)
    if isinstance(start, int) and isinstance(stop, int):
        whole = [int(value.to_integral_value()) for value in found]
        if all(abs(value - n) < Decimal("1e-20") for value, n in zip(found, whole, strict=True)):
            return [*whole]
    return [float(value) for value in found]


_GENERATORS: dict[str, tuple[Callable[..., list[Value]], str, tuple[int, ...]]] = {
    "range": (_range, "range(a,b) or range(a,b,step)", (2, 3)),
    "linspace": (_linspace, "linspace(a,b,n): n values from a to b", (3,)),
    "logspace": (_logspace, "logspace(a,b,n): n values from a to b", (3,)),
}


def _steps(name: str, count: float) -> int:
    if not isinstance(count, int) or count < 2:  # noqa: PLR2004 - both ends
        raise UsageError(f"{name}: {count} values", hint=f"write two or more: {name}(1,10,4)")
    check_count(count)
    return count - 1


def _fraction(number: float) -> Fraction:
    """The number as it was typed: 0.1 is a tenth, not the float next to it."""
    from fractions import Fraction

    return Fraction(repr(number))


# ---------------------------------------------------------------------------------- in a study's table

_SPECIAL = re.compile(r"[\x01-\x1f\x7f\\]")
_ESCAPE = re.compile(r"\\(?:0([0-7]{3})|(.))", re.DOTALL)
_SHORT = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_LONG = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def escape(text: str) -> str:
    r"""The text without tabs, newlines and other control characters, from which bash's `printf %b` makes it again.

    Raises:
        UsageError: it holds a NUL, which no program can receive.
    """
    if "\0" in text:
        raise UsageError(f"{text[:40]!r} holds a NUL byte, which no program can receive", hint="remove it")
    return _SPECIAL.sub(lambda match: _SHORT.get(match.group()) or f"\\0{ord(match.group()):03o}", text)


def unescape(text: str) -> str:
    """What `escape` was given."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)) if match[1] else _LONG[match[2]], text)
