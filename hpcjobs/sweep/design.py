"""Designs: how the points of a study come about, and what points these are."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from itertools import compress
from math import prod
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import UsageError
from hpcjobs.sweep.distributions import parse_distribution
from hpcjobs.sweep.points import Points
from hpcjobs.sweep.values import check_count, text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from hpcjobs.sweep.distributions import Distribution
    from hpcjobs.sweep.values import Value

    Columns = dict[str, Sequence[Value]]
    Evaluate = Callable[[Mapping[str, Value]], Value]
    Compile = Callable[[str, Collection[str]], Evaluate]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN = frozenset({"point", "workdir"})
# Each parameter is a variable of the program too, and without these as they are few programs begin.
_ENVIRONMENT = frozenset({"HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "SHELL", "TMPDIR", "USER"})
_ROWS_KEPT = 1000
_SHOWN = 8  # values of a point in an error's message
_SOBOL_BITS = 30


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a parameter.

    Raises:
        UsageError: it is no identifier, hpcjob's own, or a variable that programs need.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:40]!r} cannot be the name of a parameter", hint="use letters, digits and _, and no digit first"
        )
    if name in _TAKEN or name.lower().startswith("hpcjob"):
        raise UsageError(f"a parameter cannot be called {name}: hpcjob uses the name itself", hint="call it otherwise")
    if name in _ENVIRONMENT:
        raise UsageError(
            f"a parameter cannot be called {name}: it would be that variable of the program", hint="call it otherwise"
        )


class Draw:
    """The random numbers of one expansion: each parameter has its own stream, so that one more changes no other."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.notes: list[str] = []
        self._blocks: Counter[str] = Counter()

    def stream(self, name: str) -> Callable[[], float]:
        """Numbers from 0 to below 1 for the next block that draws this parameter."""
        from random import Random

        block = self._blocks[name]
        self._blocks[name] += 1
        # random() of a seed is promised to stay the same in every Python; no other method of Random is.
        return Random(f"{self.seed}:{block}:{name}").random  # noqa: S311 - nothing is secret here


# --------------------------------------------------------------------------------------------- designs


class Design(ABC):
    """A part of a design; all that is wrong with it is told when it is made.

    Raises:
        UsageError: it has no points or too many, or its names or lengths do not fit.
    """

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Its parameters."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def build(self, draw: Draw) -> Columns:
        """The values of its points."""

    @abstractmethod
    def to_json(self) -> Any:
        """What `design_from_json` makes it of again."""


@dataclass(frozen=True)
class _OfValues(Design):
    parameters: Mapping[str, Sequence[Value]]

    def __post_init__(self) -> None:
        if not self.parameters:
            raise UsageError("no parameter", hint="give one: x=1,2,3")
        for name, values in self.parameters.items():
            check_name(name)
            if not values:
                raise UsageError(f"{name} has no values", hint=f"give one: {name}=1")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parameters)

    def to_json(self) -> Any:
        return {name: list(values) for name, values in self.parameters.items()}


@dataclass(frozen=True)
class Grid(_OfValues):
    """Every combination of the values; those of the last parameter change fastest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(prod(map(len, self.parameters.values())))

    def __len__(self) -> int:
        return prod(map(len, self.parameters.values()))

    def build(self, draw: Draw) -> Columns:  # noqa: ARG002 - nothing is drawn
        return _product([{name: values} for name, values in self.parameters.items()])


@dataclass(frozen=True)
class Zip(_OfValues):
    """The first values together, then the second ones, and so on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_lengths({name: len(values) for name, values in self.parameters.items()})
        check_count(len(self))

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def build(self, draw: Draw) -> Columns:  # noqa: ARG002 - nothing is drawn
        return dict(self.parameters)


@dataclass(frozen=True)
class Table(Zip):
    """The rows of a table, column by column; `source` is the file they are from, if any."""

    source: str = ""

    def to_json(self) -> Any:
        kept = {"columns": super().to_json()} if len(self) < _ROWS_KEPT or not self.source else {}
        return {"file": self.source, "rows": len(self), **kept}


@dataclass(frozen=True)
class Random(Design):
    """Independent random points. The first hundred of more are the same hundred."""

    count: int
    parameters: Mapping[str, Distribution]

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"{self.count} random points", hint="give the number of points: 1 or more")
        if not self.parameters:
            raise UsageError("random points without a parameter", hint="give one: x=uniform(0,1)")
        check_count(self.count)
        for name in self.parameters:
            check_name(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.parameters)

    def __len__(self) -> int:
        return self.count

    def build(self, draw: Draw) -> Columns:
        return {
            name: list(map(distribution.quantile, numbers))
            for (name, distribution), numbers in zip(self.parameters.items(), self.numbers(draw), strict=True)
        }

    def to_json(self) -> Any:
        return {"count": self.count, "parameters": {name: str(each) for name, each in self.parameters.items()}}

    def numbers(self, draw: Draw) -> Iterator[list[float]]:
        """For each parameter, a number from 0 to 1 for each point."""
        for name in self.parameters:
            random = draw.stream(name)
            yield [random() for _ in range(self.count)]


@dataclass(frozen=True)
class LatinHypercube(Random):
    """Random points of which each of as many equal parts of every parameter's distribution has one."""

    def numbers(self, draw: Draw) -> Iterator[list[float]]:
        """For each parameter, a number from 0 to 1 for each point."""
        for name in self.parameters:
            random = draw.stream(name)
            keys = [random() for _ in range(self.count)]
            # Sorted by random keys: shuffle() may become another one in a later Python.
            parts = sorted(range(self.count), key=keys.__getitem__)
            yield [(part + random()) / self.count for part in parts]


@dataclass(frozen=True)
class Sobol(Random):
    """Sobol's sequence, which leaves no gaps and no clusters, shifted at random."""

    def numbers(self, draw: Draw) -> Iterator[list[float]]:
        """For each parameter, a number from 0 to 1 for each point."""
        if self.count & (self.count - 1):
            less = 1 << (self.count.bit_length() - 1)
            draw.notes.append(f"Sobol's sequence is most even with {less} or {2 * less} points, not {self.count}")
        scale = 1 << _SOBOL_BITS
        for name, column in zip(self.parameters, _sobol(len(self.parameters), self.count), strict=True):
            shift = int(draw.stream(name)() * scale)
            yield [((number ^ shift) + 0.5) / scale for number in column]


def _sobol(dimensions: int, count: int) -> Iterator[list[int]]:
    """The first numbers of the sequence in each dimension, as integers of 30 bits."""
    import warnings

    try:
        from scipy.stats import qmc
    except ImportError:
        raise UsageError("Sobol's sequence needs SciPy", hint="pip install 'hpcjobs[sobol]'") from None
    with warnings.catch_warnings():  # that the count is no power of two, we say ourselves
        warnings.simplefilter("ignore", UserWarning)
        try:
            found = qmc.Sobol(dimensions, scramble=False, bits=_SOBOL_BITS).random(count)
        except ValueError as error:
            raise UsageError(f"Sobol's sequence: {error}", hint="take fewer parameters, or --lhs") from None
    for dimension in range(dimensions):
        yield (found[:, dimension] * (1 << _SOBOL_BITS)).astype("int64").tolist()


@dataclass(frozen=True)
class _OfParts(Design):
    parts: tuple[Design, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise UsageError("no designs to put together", hint="give a grid, say")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for part in self.parts for name in part.names)

    def to_json(self) -> Any:
        return [design_to_json(part) for part in self.parts]


@dataclass(frozen=True)
class Product(_OfParts):
    """Every point of each part with every point of the others; those of the last part change fastest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_once(self.names)
        check_count(prod(map(len, self.parts)))

    def __len__(self) -> int:
        return prod(map(len, self.parts))

    def build(self, draw: Draw) -> Columns:
        return _product([part.build(draw) for part in self.parts])


@dataclass(frozen=True)
class Chain(_OfParts):
    """The points of each part, one part after the other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(len(self))
        for part in self.parts:
            if other := set(part.names) ^ set(self.names):
                raise UsageError(
                    f"not every part of the chain has {', '.join(sorted(other))}",
                    hint="give all parts the same parameters; one value is enough: x=0",
                )

    @property
    def names(self) -> tuple[str, ...]:
        return self.parts[0].names

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def build(self, draw: Draw) -> Columns:
        built = [part.build(draw) for part in self.parts]
        return {name: [value for part in built for value in part[name]] for name in self.names}


@dataclass(frozen=True)
class ZipOf(_OfParts):
    """The first points of all parts together, then the second ones, and so on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_once(self.names)
        _check_lengths({", ".join(part.names): len(part) for part in self.parts})

    def __len__(self) -> int:
        return len(self.parts[0])

    def build(self, draw: Draw) -> Columns:
        return {name: column for part in self.parts for name, column in part.build(draw).items()}


def multiplied(*designs: Design) -> Design:
    """The product of the designs; of one, itself.

    Raises:
        UsageError: there is none, two have the same parameter, or there are too many points.
    """
    return designs[0] if len(designs) == 1 else Product(designs)


def _product(parts: Sequence[Columns]) -> Columns:
    lengths = [len(next(iter(part.values()))) for part in parts]
    inner, outer = prod(lengths), 1
    columns: Columns = {}
    for part, length in zip(parts, lengths, strict=True):
        inner //= length
        for name, column in part.items():
            columns[name] = [value for value in column for _ in range(inner)] * outer
        outer *= length
    return columns


def _check_lengths(lengths: Mapping[str, int]) -> None:
    if len(set(lengths.values())) > 1:
        told = "; ".join(f"{length} of {names}" for names, length in lengths.items())
        raise UsageError(f"values that belong together differ in number: {told}", hint="give each as many values")


def _check_once(names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise UsageError(f"the parameter {name} is given twice", hint="remove one, or put the two in a chain")


# ------------------------------------------------------------------------------------------- expansion


def expand(
    design: Design,
    *,
    where: Sequence[str] = (),
    derive: Mapping[str, str],
    seed: int,
    compile_expression: Compile,
) -> Points:
    """The points of a design: with derived parameters, without those that a constraint takes out, each once.

    The same arguments give the same points on any machine.

    Raises:
        UsageError: an expression is wrong or fails, a value is NaN, or no point is left.
    """
    draw = Draw(seed)
    columns = design.build(draw)
    for name, column in columns.items():
        _refuse_nan(name, column)
    columns = _once(columns, draw.notes)
    for name, expression in derive.items():
        check_name(name)
        _check_once([*columns, name])
        columns[name] = _derived(name, expression, columns, compile_expression)
    for expression in where:
        columns = _constrained(expression, columns, draw.notes, compile_expression)
    return Points(columns, tuple(draw.notes))


def _refuse_nan(name: str, column: Sequence[Value]) -> None:
    if row := next((row for row, value in enumerate(column, 1) if value != value), 0):  # noqa: PLR0124 - NaN alone
        raise UsageError(f"{name} is NaN in row {row}", hint="give it a number, or leave the row out")


def _once(columns: Columns, notes: list[str]) -> Columns:
    """The points without those that are there before, as programs see them."""
    lines = Points(columns).lines()
    repeated = len(lines) - len(set(lines))
    if not repeated:
        return columns
    notes.append(f"{repeated} of {len(lines)} points repeat others and are left out")
    seen: set[str] = set()
    first = [not (line in seen or seen.add(line)) for line in lines]  # type: ignore[func-returns-value]
    return {name: list(compress(column, first)) for name, column in columns.items()}


def _derived(name: str, expression: str, columns: Columns, compile_expression: Compile) -> list[Value]:
    values = _evaluated(f"{name} = {expression}", compile_expression(expression, columns), columns)
    for row, value in enumerate(values):
        wrong = not isinstance(value, (int, float, str))
        if wrong or value != value:  # noqa: PLR0124 - NaN alone
            gives = f"a {type(value).__name__}" if wrong else "NaN"
            raise UsageError(
                f"{name} = {expression} gives {gives} for {_shown(Points(columns).row(row))}",
                hint="it must give a number, a text, true or false",
            )
    Points({name: values}).lines()  # or one without a text would show only when the table is written
    return values


def _constrained(expression: str, columns: Columns, notes: list[str], compile_expression: Compile) -> Columns:
    kept = _evaluated(f"where {expression}", compile_expression(expression, columns), columns)
    for row, value in enumerate(kept):
        if not isinstance(value, bool):
            raise UsageError(
                f"where {expression} gives {str(value)[:40]} for {_shown(Points(columns).row(row))}",
                hint="write a condition, which is true or false: re*dt < 1",
            )
    left = kept.count(True)
    if not left:
        raise UsageError(
            f"where {expression} leaves none of {len(kept)} points", hint="make it less strict, or the design larger"
        )
    notes.append(f"where {expression}: {left} of {len(kept)} left")
    return {name: list(compress(column, kept)) for name, column in columns.items()}


def _evaluated(what: str, evaluate: Evaluate, columns: Columns) -> list[Value]:
    values: list[Value] = []
    try:
        for cells in zip(*columns.values(), strict=True):
            values.append(evaluate(dict(zip(columns, cells, strict=True))))  # noqa: PERF401 - it may stop half way
    except UsageError as error:
        row = Points(columns).row(len(values))
        raise UsageError(f"{what}: {error.message}, for {_shown(row)}", hint=error.hint) from None
    return values


def _shown(row: Mapping[str, Value]) -> str:
    cells = [f"{name}={text(value)[:40]}" for name, value in row.items()]
    return ", ".join(cells[:_SHOWN]) + (", …" if len(cells) > _SHOWN else "")


# ------------------------------------------------------------------------------------------------- JSON

_VALUES = {"grid": Grid, "zip": Zip}
_SAMPLES = {"random": Random, "lhs": LatinHypercube, "sobol": Sobol}
_PARTS: dict[str, type[Product | Chain | ZipOf]] = {"product": Product, "chain": Chain, "zip_of": ZipOf}
_KEYS = {kind: key for key, kind in (*_VALUES.items(), *_SAMPLES.items(), *_PARTS.items(), ("table", Table))}


def design_to_json(design: Design) -> dict[str, Any]:
    """The design with the keys of a study file; of a large table only the name of its file, for the points are kept."""
    return {_KEYS[type(design)]: design.to_json()}


def design_from_json(data: Mapping[str, Any]) -> Design:
    """The design that `design_to_json` was given.

    Raises:
        UsageError: it has a table whose rows were too many to be kept.
    """
    ((key, value),) = data.items()
    if key in _PARTS:
        return _PARTS[key](tuple(map(design_from_json, value)))
    if key in _SAMPLES:
        return _SAMPLES[key](value["count"], {n: parse_distribution(t) for n, t in value["parameters"].items()})
    if key in _VALUES:
        return _VALUES[key](value)
    if "columns" not in value:
        raise UsageError(
            f"the design does not hold the {value['rows']} rows of {value['file']}", hint="give the table again"
        )
    return Table(value["columns"], value["file"])
