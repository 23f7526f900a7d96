"""Durations, amounts of memory, sets of indices: text to value and back.

`Duration` (whole seconds) and `Memory` (whole bytes) are ints that know how to read themselves from
what people and schedulers write. pydantic calls `__get_pydantic_core_schema__`; nothing here imports it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MINUTE, HOUR, DAY = 60, 3600, 86400

# sbatch(1), --time: "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours",
# "days-hours:minutes" and "days-hours:minutes:seconds".
_CLOCK = re.compile(r"(?:(?P<days>\d+)-)?(?P<a>\d+)(?::(?P<b>\d+))?(?::(?P<c>\d+))?")
_HUMAN = re.compile(r"(?:(\d+(?:\.\d+)?)(d|h|m|min|s)\s*)+")
_HUMAN_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|m|s)")
_HUMAN_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "min": MINUTE, "s": 1}

# Slurm's suffixes are powers of 1024 (sbatch(1), --mem); KiB and friends say the same more loudly.
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(i?B)?", re.IGNORECASE)
_MEMORY_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


class Duration(int):
    """A walltime in whole seconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | int) -> Duration:
        """Read `90` (minutes, as Slurm does), `30:00`, `2:00:00`, `1-12`, `1-12:30:00`, `2h`, `1h30m`.

        Raises:
            UsageError: the text is no duration, or is zero.
        """
        if isinstance(text, Duration):
            return text
        seconds = _seconds(str(text).strip())
        if not seconds:
            raise UsageError(
                f"{str(text)!r} is not a time",
                hint="write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 (days-hours:minutes:seconds)",
            )
        return cls(seconds)

    def __str__(self) -> str:
        """`HH:MM:SS`, with `D-` before it from one day on: Slurm's own form, which is never ambiguous."""
        days, rest = divmod(int(self), DAY)
        clock = f"{rest // HOUR:02d}:{rest % HOUR // MINUTE:02d}:{rest % MINUTE:02d}"
        return f"{days}-{clock}" if days else clock

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return _core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": ["string", "integer"], "examples": ["2h", "1-12:00:00", 30]}


def _seconds(text: str) -> int:
    if match := _CLOCK.fullmatch(text):
        parts = [int(part) for part in (match["a"], match["b"], match["c"]) if part is not None]
        if match["days"] is not None:
            units = (HOUR, MINUTE, 1)
        else:
            units = (HOUR, MINUTE, 1) if len(parts) == 3 else (MINUTE, 1, 0)  # noqa: PLR2004
        return int(match["days"] or 0) * DAY + sum(p * u for p, u in zip(parts, units, strict=False))
    if _HUMAN.fullmatch(text):
        return round(sum(float(n) * _HUMAN_UNITS[u] for n, u in _HUMAN_PART.findall(text)))
    return 0


class Memory(int):
    """An amount of memory in whole bytes."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str | int) -> Memory:
        """Read `4G`, `512M`, `1.5T`, `4GiB`; a bare number is MiB, as in Slurm.

        Raises:
            UsageError: the text is no amount of memory, or is zero.
        """
        if isinstance(text, Memory):
            return text
        match = _MEMORY.fullmatch(str(text).strip())
        value = float(match[1]) * _MEMORY_UNITS[match[2].upper() or "M"] if match else 0
        if value < 1:
            raise UsageError(
                f"{str(text)!r} is not an amount of memory", hint="write 512M, 4G or 1.5T (powers of 1024)"
            )
        return cls(round(value))

    def __str__(self) -> str:
        """The largest of K, M, G, T that loses nothing: `4G`, `1536M`."""
        for suffix in "TGMK":
            if self and self % _MEMORY_UNITS[suffix] == 0:
                return f"{int(self) // _MEMORY_UNITS[suffix]}{suffix}"
        return f"{-(-int(self) // _MEMORY_UNITS['K'])}K"

    @property
    def mebibytes(self) -> int:
        """MiB, rounded up."""
        return -(-int(self) // _MEMORY_UNITS["M"])

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return _core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": ["string", "integer"], "examples": ["4G", "512M"]}


def _core_schema(cls: type[Duration | Memory]) -> Any:
    from pydantic_core import core_schema

    def validate(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"{value!r} is neither text nor a whole number")  # noqa: TRY004 - pydantic's contract
        try:
            return cls.parse(value)
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None

    return core_schema.no_info_plain_validator_function(validate, serialization=core_schema.to_string_ser_schema())


def parse_indices(text: str) -> tuple[int, ...]:
    """Read a Slurm array specification without its `%` limit: `0-9`, `1,4,7`, `0-20:5`.

    Returns:
        The indices in ascending order, each once.

    Raises:
        UsageError: it is not one, or holds more than ten million indices.
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip(), re.ASCII)
        first = int(match[1]) if match else 0
        last = int(match[2]) if match and match[2] else first
        step = int(match[3]) if match and match[3] else 1
        if not match or last < first or not step or (last - first) // step > 10_000_000:  # noqa: PLR2004
            raise UsageError(f"{text!r} is not a set of indices", hint="write 0-9, 1,4,7 or 0-100:10")
        found.update(range(first, last + 1, step))
    return tuple(sorted(found))


def format_indices(indices: Iterable[int]) -> str:
    """The shortest `0-9,12` that stands for the indices; the inverse of `parse_indices`."""
    runs: list[list[int]] = []
    for index in sorted(set(indices)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean X?`, or the names there are, for an error's hint."""
    from difflib import get_close_matches

    names: Sequence[str] = sorted(known)
    folded = {each.lower(): each for each in names}
    if close := get_close_matches(name.lower(), folded, n=1):
        return f"did you mean {folded[close[0]]}?"
    if not names:
        return "there is none"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")  # noqa: PLR2004
    return f"there is {shown}" if len(names) == 1 else f"there are {shown}"


def age(seconds: float) -> str:
    """A rough age for people: `12s`, `4m`, `3h`, `2d`."""
    for unit, suffix in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)}{suffix}"
    return f"{max(0, int(seconds))}s"


def version(text: str) -> tuple[int, ...]:
    """`2.34`, or the numbers in `apptainer version 1.4.5`, as numbers that compare."""
    return tuple(int(part) for part in re.findall(r"\d+", text))
