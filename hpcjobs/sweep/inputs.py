"""Input files of points: lines that all have in common stand once, those that vary become columns of the table."""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError
from hpcjobs.sweep.command import value
from hpcjobs.sweep.pointscript import PointFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hpcjobs.shell import Shell

SUFFIX = ".j2"


@dataclass(frozen=True)
class Factored:
    """A file of every point: literal text and, as numbers, columns, in their order."""

    parts: tuple[str | int, ...]
    columns: tuple[list[str], ...] = ()
    lines: tuple[int, ...] = ()  # that the columns are, counted from 1; 0 = the whole file


@dataclass(frozen=True)
class Made:
    """The input files of a round: what its script does, and the columns of its table that this needs."""

    files: tuple[PointFile, ...]
    header: tuple[str, ...]
    columns: tuple[list[str], ...]


def source(text: str) -> str:
    """FILE of `FILE[:NAME]`.

    Raises:
        UsageError: there is none.
    """
    file = text.partition(":")[0]
    if not file:
        raise UsageError(f"--input {text!r} names no file", hint="write FILE, FILE:NAME, or FILE.j2 for a template")
    return file


def target(text: str) -> str:
    """NAME of `FILE[:NAME]`, with its placeholders; by default the file's own, without `.j2`.

    Raises:
        UsageError: there is no file, or the name leads out of the point's folder.
    """
    file = source(text)
    name = text.partition(":")[2] or os.path.basename(file).removesuffix(SUFFIX)  # noqa: PTH119 - text, not a file
    if name.startswith("/") or ".." in name.split("/"):
        raise UsageError(
            f"--input {text}: {name} is not in the folder of the point", hint="write a name, or a path below it"
        )
    return name


def make(
    asked: Sequence[str],
    targets: Sequence[str | Shell],
    render: Callable[[str], Iterable[str]],
    *,
    cwd: str,
    first: int,
) -> Made:
    """What the script of a round does for its input files, and the columns that it needs from place `first` on.

    `targets` are the names as `command.words` gives them; `render` gives the texts of a template, one for each point.
    """
    files: list[PointFile] = []
    header: list[str] = []
    columns: list[list[str]] = []
    for text, name in zip(asked, targets, strict=True):
        file = os.path.normpath(os.path.join(cwd, source(text)))  # noqa: PTH118 - text, not a file
        if not file.endswith(SUFFIX):
            files.append(PointFile(name, link=file))
            continue
        factored = factor(lambda: render(file))  # noqa: B023 - called before the next turn
        before = first + len(columns)
        files.append(PointFile(name, tuple(p if isinstance(p, str) else value(before + p) for p in factored.parts)))
        header += [f"{target(text)}:{line}" if line else target(text) for line in factored.lines]
        columns += factored.columns
    return Made(tuple(files), tuple(header), tuple(columns))


def factor(texts: Callable[[], Iterable[str]]) -> Factored:
    """What the texts of all points have in common, and what varies.

    `texts` is called, and read from the first point to the last, once; and again if the points' numbers of lines
    differ.
    """
    first: list[str] = []
    varying: dict[int, list[str]] = {}
    for number, text in enumerate(texts()):
        lines = text.split("\n")
        first = first or lines
        if len(lines) != len(first):
            return Factored((0,), (list(texts()),), (0,))
        for index, line in enumerate(lines):
            if index in varying:
                varying[index].append(line)
            elif line != first[index]:
                varying[index] = [*[first[index]] * number, line]
    places = sorted(varying)
    return Factored(
        tuple(_parts(first, places)), tuple(varying[index] for index in places), tuple(index + 1 for index in places)
    )


def _parts(lines: Sequence[str], varying: Sequence[int]) -> Iterable[str | int]:
    text = ""
    for index, line in enumerate(lines):
        text += "\n" if index else ""
        if index not in varying:
            text += line
            continue
        if text:
            yield text
        yield varying.index(index)
        text = ""
    if text:
        yield text
