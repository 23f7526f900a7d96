"""What directives ask for, in the terms of neither batch system, and how options become that.

A reader of one dialect fills a `Job`, the writer of the other spells it; what neither can do is a `Note`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from hpcjobs.errors import UsageError
from hpcjobs.units import parse_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

LOST, NEAR = "lost", "near"


@dataclass(frozen=True)
class Option:
    """One option of a directive: `--time` and `10`, or `-l walltime` and `00:10:00`."""

    name: str
    value: str
    line: int
    text: str  # as a directive of its own


@dataclass(frozen=True)
class Note:
    """What was lost (`lost`) or means not quite the same (`near`), and what to do."""

    line: int
    text: str
    kind: str
    advice: str


@dataclass(frozen=True)
class Chunk:
    """`count` alike pieces of the job, each on one node; None or 0 where nothing was said."""

    count: int = 1
    cpus: int = 1
    ranks: int = 1
    mem: int = 0  # bytes, of each
    gpus: int = 0

    @property
    def threads(self) -> int:
        """The cores of a rank, rounded up."""
        return -(-self.cpus // max(1, self.ranks))


@dataclass
class Job:
    """A job as both batch systems know it. File names are Slurm's patterns; `begin` is `[[CCYY]MMDD]hhmm[.SS]`."""

    name: str = ""
    queue: str = ""
    account: str = ""
    time: int = 0
    time_min: int = 0
    begin: str = ""
    hold: bool = False
    requeue: bool | None = None
    array: str = ""
    limit: int = 0
    dependency: tuple[tuple[str, tuple[str, ...]], ...] = ()
    output: str = ""
    error: str = ""  # empty: joined with the output
    mail: frozenset[str] | None = None  # of begin, end, fail, array
    mail_user: str = ""
    export: bool = False
    variables: str = ""
    nice: int = 0
    wait: bool = False
    chdir: str = ""
    licenses: str = ""
    features: tuple[str, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    place: str = "free"  # free, pack (on one node) or scatter (each chunk on another)
    exclusive: bool = False
    shell: str = field(default="", compare=False)  # -S of PBS, which is the first line of a script for Slurm
    at: dict[str, Option] = field(default_factory=dict, compare=False)
    """What said each field first."""


class Reading:
    """Options on the way to a `Job`: whatever nobody takes is lost, and told."""

    def __init__(self, options: Sequence[Option]) -> None:
        self.job = Job()
        self.notes: list[Note] = []
        self.left: dict[str, Option] = {}
        for option in options:
            if before := self.left.get(option.name):
                # The last word counts, but for the resources of PBS.
                kept, gone = (before, option) if option.name.startswith("-l ") else (option, before)
                self.near(gone, f"nothing to do: line {kept.line} says it too, and counts")
                self.left[option.name] = kept
            else:
                self.left[option.name] = option

    def take(self, into: str, name: str) -> Option | None:
        """The option, which is now done with; `into` is the field of the job that it is for."""
        option = self.left.pop(name, None)
        if option:
            self.job.at[into] = min(option, self.job.at.get(into, option), key=lambda each: each.line)
        return option

    def text(self, into: str, name: str) -> str:
        """The option's value; empty without it."""
        option = self.take(into, name)
        return option.value if option else ""

    def number(self, into: str, name: str) -> int:
        """The option's value as a whole number from 1 on; 0 without it.

        Raises:
            UsageError: it is none.
        """
        option = self.take(into, name)
        return whole(option, option.value) if option else 0

    def array(self, option: Option) -> None:
        """Indices and `%limit`, which all write alike.

        Raises:
            UsageError: they are none.
        """
        indices, percent, limit = option.value.replace(" ", "").partition("%")
        try:
            parse_indices(indices)
        except UsageError as error:
            raise bad(option, error.message, error.hint) from None
        self.job.array = indices
        self.job.limit = whole(option, limit) if percent else 0

    def lost(self, option: Option, advice: str) -> None:
        """Note that there is no equivalent."""
        self.notes.append(Note(option.line, option.text, LOST, advice))

    def near(self, option: Option, advice: str) -> None:
        """Note what is different."""
        self.notes.append(Note(option.line, option.text, NEAR, advice))


def whole(option: Option, text: str, least: int = 1) -> int:
    """A whole number.

    Raises:
        UsageError: it is none, or too small.
    """
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise bad(option, f"{text!r} is not a whole number" + (f" from {least} on" if least else ""))
    return int(text)


def bad(option: Option, why: str, hint: str = "mend the line: the batch system would refuse it too") -> UsageError:
    """The error about a directive that cannot be meant so."""
    return UsageError(f"line {option.line}: {option.text}: {why}", hint=hint)


def parsed(option: Option, parse: Callable[[str], T]) -> T:
    """The option's value, read by `parse`.

    Raises:
        UsageError: it cannot be read; names the line.
    """
    try:
        return parse(option.value)
    except UsageError as error:
        raise bad(option, error.message, error.hint) from None
