"""The points of a study, column by column: 100,000 of them are a few lists, and no objects of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError
from hpcjobs.sweep.values import escape, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcjobs.sweep.values import Value


@dataclass(frozen=True)
class Points:
    """The values of each parameter, in the order of the points; and what to tell about how they came about."""

    columns: Mapping[str, Sequence[Value]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def row(self, index: int) -> dict[str, Value]:
        """The values of one point."""
        return {name: column[index] for name, column in self.columns.items()}

    def lines(self) -> list[str]:
        """Each point as it stands in the study's table: its values as text, escaped, with tabs between them.

        Raises:
            UsageError: a value has no text that a program can receive.
        """
        return list(map("\t".join, zip(*(_texts(*each) for each in self.columns.items()), strict=True)))


def _texts(name: str, column: Sequence[Value]) -> list[str]:
    """The text of each value; by object and not by value, since 1, 1.0 and True are equal."""
    try:
        distinct = dict(zip(map(id, column), column, strict=True))
        texts = {key: escape(value) if isinstance(value, str) else text(value) for key, value in distinct.items()}
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", hint=error.hint) from None
    return [texts[key] for key in map(id, column)]
