"""Results against parameters: drawn with characters for a terminal, or as a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hpcjobs.errors import UsageError
from hpcjobs.sweep.results import as_number, as_text
from hpcjobs.sweep.tables import replacing
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hpcjobs.sweep.results import ResultTable
    from hpcjobs.sweep.values import Value

_ASCII_MARKS = "*o+x#@%&abcdefghijklmnpqrstuvwyz"
_UNICODE_MARKS = "●○■□▲△◆◇▼▽★☆" + _ASCII_MARKS[8:]
# What is nearer than this is one value; what is below, 0: their differences have no digits left to write.
_NEAR = 1e-9
_LEAST = 1e-200
# Labels from here on, and those of finer steps, are written with an exponent.
_LARGE, _FINE = 1e6, 1e-5
# Decades from which a log axis has ticks at powers of ten only.
_DECADES = 2
# Characters of a plot, across and up, that it has on the smallest terminal.
_LEAST_CELLS = 4

# The colours that people with any colour vision tell apart: Okabe and Ito, "Color Universal Design", 2008.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_MARKERS = "os^Dvp"
# Lines of a legend, and characters of a line, that a picture has room for.
_LONGEST_LEGEND, _LONGEST_LABEL = 16, 40
# Points of a series from which they are drawn small.
_MANY = 500
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 11,
    "grid.color": "#dddddd",
    "svg.fonttype": "none",
    # Without it, names in the file are random: the same data would not be the same file.
    "svg.hashsalt": "hpcjobs",
}


@dataclass(frozen=True)
class Series:
    """Points of one kind in the order of x, and how many could not be drawn."""

    x: list[float]
    y: list[float]
    label: str
    left_out: int = 0


def series(
    table: ResultTable, x: str, y: str, by: str = "", *, log_x: bool = False, log_y: bool = False
) -> list[Series]:
    """The points of two columns, one series for each value of a third.

    A point without a number in one of the two, or with one that is not above 0 on a log axis, is left out.

    Raises:
        UsageError: there is no such column, or there would be more series than can be told apart.
    """
    for name in (x, y, *([by] if by else [])):
        if name not in table.columns:
            raise UsageError(f"the table has no column {name!r}", hint=nearest(name, table.columns))
    kinds = table.columns[by] if by else [None] * len(table.columns[x])
    found: dict[str, list[tuple[float, float]]] = {}
    left_out: dict[str, int] = {}
    for kind, across, up in zip(kinds, table.columns[x], table.columns[y], strict=True):
        label = f"{by}={as_text(kind)}" if by else y
        points = found.setdefault(label, [])
        h, v = _place(across, log=log_x), _place(up, log=log_y)
        if h is None or v is None:
            left_out[label] = left_out.get(label, 0) + 1
        else:
            points.append((h, v))
    if len(found) > len(_ASCII_MARKS):
        raise UsageError(
            f"{by} has {len(found)} values: more than {len(_ASCII_MARKS)} series cannot be told apart",
            hint="leave out --by, or name a column of few values",
        )
    made = []
    for label, points in found.items():
        points.sort(key=lambda point: point[0])
        made.append(Series([h for h, _ in points], [v for _, v in points], label, left_out.get(label, 0)))
    return made


def _place(value: Value | None, *, log: bool) -> float | None:
    number = as_number(value)
    return None if number is None or (log and number < _LEAST) else number


def _refuse_nothing(series: Sequence[Series], x: str, y: str) -> None:
    if not any(each.x for each in series):
        raise UsageError(
            f"nothing to draw: no point has a number in {x} and in {y}",
            hint="hpcjob sweep results shows the table; log axes need numbers above 0",
        )


# ----------------------------------------------------------------------------------------- characters


@dataclass(frozen=True)
class _Axis:
    cells: int  # characters
    low: float  # of a log axis, the exponents of ten
    high: float
    ticks: tuple[tuple[float, str], ...]  # place and label
    log: bool = False

    @property
    def widest(self) -> int:
        """Characters of the longest label."""
        return max(len(label) for _, label in self.ticks)

    def cell(self, value: float, parts: int = 1) -> int:
        """The cell of a value, counted from the low end; `parts` to a character."""
        return self.cell_at(math.log10(value) if self.log else value, parts)

    def cell_at(self, place: float, parts: int = 1) -> int:
        """The same for a place on the axis."""
        return round((place - self.low) / (self.high - self.low) * (self.cells * parts - 1))


# Column and row of a character, counted from the top left: it, and the number of its series.
_Cells: TypeAlias = "dict[tuple[int, int], tuple[str, int]]"


def draw_text(
    series: Sequence[Series],
    *,
    width: int = 80,
    height: int = 20,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    unicode: bool = False,
    colour: Callable[[str, int], str] | None = None,
) -> str:
    """A plot of `height` lines of at most `width` characters, but not less than it needs.

    One series of many points is drawn in braille dots if `unicode` is set; of few, a dot is hard to see. Several have
    marks of their own, and a legend.
    `colour` paints a character of the series of a number. Log axes need numbers above 0, as `series` leaves them.

    Raises:
        UsageError: there is no point to draw.
    """
    _refuse_nothing(series, x, y)
    several = len(series) > 1
    rows = max(height - 4 - (len(series) if several else 0), _LEAST_CELLS)
    up = _axis([v for each in series for v in each.y], rows, max(rows // 4, 2), log=log_y)
    columns = max(width - up.widest - 2, _LEAST_CELLS)
    across = _axis([h for each in series for h in each.x], columns, max(columns // 12, 2), log=log_x)
    marks = _UNICODE_MARKS if unicode else _ASCII_MARKS
    dense = unicode and not several and 2 * len(series[0].x) > columns
    cells = _dotted(series[0], across, up) if dense else _marked(series, across, up, marks)
    paint = colour or (lambda text, _: text)
    grid = ["".join(paint(*cells[c, r]) if (c, r) in cells else " " for c in range(columns)) for r in range(rows)]
    lines = [_fit(y, width), *_framed(grid, across, up, unicode=unicode)]
    lines.append(f"{'':{up.widest + 2}}{_fit(x, columns):^{columns}}")
    if several:
        named = enumerate(_fit(each.label, width - 4) for each in series)
        lines += [f"  {paint(marks[number % len(marks)], number)} {label}" for number, label in named]
    return "\n".join(line.rstrip() for line in lines)


def _fit(text: str, room: int) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:room])


def _marked(series: Sequence[Series], across: _Axis, up: _Axis, marks: str) -> _Cells:
    return {
        (across.cell(h), up.cells - 1 - up.cell(v)): (marks[number % len(marks)], number)
        for number, each in enumerate(series)
        for h, v in zip(each.x, each.y, strict=True)
    }


def _dotted(one: Series, across: _Axis, up: _Axis) -> _Cells:
    """Braille characters, which have 2 x 4 dots each (The Unicode Standard, Braille Patterns, U+2800)."""
    bits = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
    cells: dict[tuple[int, int], int] = {}
    for h, v in zip(one.x, one.y, strict=True):
        column, row = across.cell(h, 2), 4 * up.cells - 1 - up.cell(v, 4)
        place = (column // 2, row // 4)
        cells[place] = cells.get(place, 0x2800) | bits[column % 2][row % 4]
    return {place: (chr(code), 0) for place, code in cells.items()}


def _framed(grid: Sequence[str], across: _Axis, up: _Axis, *, unicode: bool) -> Iterator[str]:
    """The axes around the lines of a plot."""
    side, tick, corner, floor, stop = "│┤└─┬" if unicode else "|++-+"
    left = up.widest
    labels = {up.cells - 1 - up.cell_at(place): label for place, label in up.ticks}
    for row, line in enumerate(grid):
        yield f"{labels.get(row, ''):>{left}} {tick if row in labels else side}{line}"
    stops = {across.cell_at(place): label for place, label in across.ticks}
    yield f"{'':{left}} {corner}{''.join(stop if c in stops else floor for c in range(across.cells))}"
    text = ""
    for column, label in sorted(stops.items()):
        # Below its tick, but not beyond the edge; where there is no room, not at all.
        start = max(left + 2 + min(column - len(label) // 2, across.cells - len(label)), 0)
        if start > len(text) or not text:
            text = f"{text:{start}}{label}"
    yield text


def _axis(values: Sequence[float], cells: int, most: int, *, log: bool) -> _Axis:
    """An axis from tick to tick around the values, with about `most` ticks."""
    low, high = min(values), max(values)
    ticks = _log_ticks(math.log10(low), math.log10(high), most) if log else _ticks(low, high, most)
    return _Axis(cells, ticks[0][0], ticks[-1][0], tuple(ticks), log)


def _ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    if high - low < max(_NEAR * max(abs(low), abs(high)), _LEAST):
        pad = abs(low) / 2 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power > raw * (1 - _NEAR))
    first, last = math.floor(low / step + _NEAR), math.ceil(high / step - _NEAR)
    ticks = [number * step for number in range(first, last + 1)]
    return [(tick, _label(tick, step, ticks)) for tick in ticks]


def _label(tick: float, step: float, ticks: Sequence[float]) -> str:
    """The tick in as many digits as the step needs."""
    largest = max(abs(ticks[0]), abs(ticks[-1]))
    last_digit = math.floor(math.log10(step) + _NEAR)
    if largest < _LARGE and step > _FINE * (1 - _NEAR):
        return f"{tick:.{max(-last_digit, 0)}f}"
    mantissa, _, exponent = f"{tick:.{math.floor(math.log10(largest)) - last_digit}e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if tick else "0"


def _log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    if high - low > _DECADES:
        first, last = math.floor(low + _NEAR), math.ceil(high - _NEAR)
        stride = math.ceil((last - first) / most)
        return [(float(exponent), _power(1, exponent)) for exponent in range(first, last + stride, stride)]
    near = range(math.floor(low) - 1, math.ceil(high) + 2)
    ticks = [(exponent + math.log10(factor), _power(factor, exponent)) for exponent in near for factor in (1, 2, 5)]
    first = max(index for index, (place, _) in enumerate(ticks) if place < low + _NEAR)
    last = min(index for index, (place, _) in enumerate(ticks) if place > high - _NEAR)
    alone = first == last
    return ticks[first - alone : last + alone + 1]


def _power(factor: int, exponent: int) -> str:
    short = math.log10(_FINE) < exponent < math.log10(_LARGE)
    return f"{factor * 10.0**exponent:g}" if short else f"{factor}e{exponent}"


# ------------------------------------------------------------------------------------------- pictures


def save_picture(
    series: Sequence[Series],
    path: Path,
    *,
    x: str,
    y: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """Draw a picture with matplotlib, PNG or SVG by the suffix; the same series make the same file.

    The points of a series are joined if each has an x of its own.

    Raises:
        UsageError: another suffix, no point to draw, or matplotlib is not installed.
        StoreError: the file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "svg"):
        raise UsageError(
            f"{path}: {path.suffix or 'no suffix'} names no kind of picture", hint="end it in .png or .svg"
        )
    _refuse_nothing(series, x, y)
    try:
        from matplotlib import style
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(
            f"{path}: to draw it needs matplotlib, which is not installed",
            hint="pip install 'hpcjobs[plot]', or leave out --to to see it in the terminal",
        ) from None
    # Of the person's own settings none is kept, for the same reason as the salt.
    with style.context(["default", _STYLE]), replacing(path) as temporary:
        figure = Figure(figsize=(7 + _beside(series), 4.5), layout="constrained")
        axes = figure.subplots()
        _draw(axes, series)
        axes.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
        # A $ in a name is no formula.
        axes.set_xlabel(_fit(x, _LONGEST_LABEL), parse_math=False)
        axes.set_ylabel(_fit(y, _LONGEST_LABEL), parse_math=False)
        axes.set_title(_fit(title, 2 * _LONGEST_LABEL), parse_math=False)
        if len(series) > 1:
            _add_legend(figure, series)
        figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)


def _draw(axes: Axes, series: Sequence[Series]) -> None:
    for number, each in enumerate(series):
        joined = len(set(each.x)) == len(each.x)
        axes.plot(
            each.x,
            each.y,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5 if len(each.x) < _MANY else 2,
            linestyle="-" if joined else "none",
            linewidth=1.2,
            gid=f"series-{number}",
        )


def _beside(series: Sequence[Series]) -> float:
    """Inches for the legend."""
    longest = max(len(each.label[:_LONGEST_LABEL]) for each in series)
    return 0.1 * longest * _legend_columns(series) if len(series) > 1 else 0.0


def _legend_columns(series: Sequence[Series]) -> int:
    return -(-len(series) // _LONGEST_LEGEND)


def _add_legend(figure: Figure, series: Sequence[Series]) -> None:
    # matplotlib leaves out labels that begin with _, if it is given them.
    numbers = [str(number) for number in range(len(series))]
    columns = _legend_columns(series)
    legend = figure.legend(numbers, loc="outside right upper", frameon=False, ncols=columns)
    for text, each in zip(legend.get_texts(), series, strict=True):
        text.set(text=_fit(each.label, _LONGEST_LABEL), parse_math=False)
