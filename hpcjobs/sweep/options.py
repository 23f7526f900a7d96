"""Designs from the options of the command line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import UsageError
from hpcjobs.sweep.design import Grid, LatinHypercube, Random, Sobol, Zip, multiplied
from hpcjobs.sweep.distributions import parse_distribution
from hpcjobs.sweep.values import parse_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hpcjobs.sweep.design import Design, Table


def from_options(
    *,
    grid: Sequence[str] = (),
    zip: Sequence[str] = (),  # noqa: A002 - the option's name
    table: Sequence[Table] = (),
    random: Sequence[tuple[int, str]] = (),
    lhs: Sequence[tuple[int, str]] = (),
    sobol: Sequence[tuple[int, str]] = (),
) -> Design:
    """The design that the options ask for together: everything that is given, multiplied.

    `grid` and `zip` are texts such as `re=100,200`, the random ones such as `(100, "x=uniform(0,1)")`. All of one kind
    belong together, but for tables.

    Raises:
        UsageError: one cannot be read, nothing is asked for, or what is asked for cannot be.
    """
    parts: list[Design] = []
    for option, kind, given in (("--grid", Grid, grid), ("--zip", Zip, zip)):
        if given:
            parameters = _parameters(option, "re=100,200,400", given, parse_values)
            with _named(option):
                parts.append(kind(parameters))
    parts += table
    for option, sample, asked in (
        ("--random", Random, random),
        ("--lhs", LatinHypercube, lhs),
        ("--sobol", Sobol, sobol),
    ):
        if asked:
            parts.append(_sample(option, sample, asked))
    if not parts:
        raise UsageError("a study of nothing", hint="say what varies: --grid 're=100,200,400'")
    return multiplied(*parts)


def _sample(option: str, kind: type[Random], asked: Sequence[tuple[int, str]]) -> Design:
    count = asked[0][0]
    for other, text in asked:
        if other != count:
            raise UsageError(
                f"{option} with {count} points and with {other}: its parameters are drawn together",
                hint=f"write {option} {count} '{text}', or a study file with a product",
            )
    parameters = _parameters(f"{option} {count}", "x=uniform(0,1)", [text for _, text in asked], parse_distribution)
    with _named(option):
        return kind(count, parameters)


def _parameters(option: str, example: str, given: Sequence[str], parse: Callable[[str], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, equals, rest = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"{option} {text!r} does not name a parameter", hint=f"write {option} '{example}'")
        if name in found:
            raise UsageError(f"{option} gives {name} twice", hint=f"give it once: {option} '{example}'")
        with _named(f"{option} {name}"):
            found[name] = parse(rest)
    return found


@contextmanager
def _named(option: str) -> Iterator[None]:
    """Errors say which option they are about."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from None
