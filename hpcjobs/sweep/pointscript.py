"""What runs points on the node: the values that templates/point.sh.j2 is rendered from, and how it is called."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpcjobs import shell
from hpcjobs.shell import Shell

if TYPE_CHECKING:
    from hpcjobs.model import StudyPart

    Word = str | Shell

# The folder in which a point begins, below the working directory, as the script exports it (`ContainerRequest.below`).
BELOW = Shell('"$HPCJOB_FOLDER"')
# Seconds that a program has, once it was told that its time is over.
_GRACE = 30
# Text of a file is quoted in pieces: a word that bash quotes has a limit, as an argument of a program has.
_PIECE = 30_000


@dataclass(frozen=True)
class PointFile:
    """A file in a point's folder: written from parts, or a link."""

    target: Word
    parts: tuple[Word, ...] = ()
    link: str = ""

    @property
    def words(self) -> tuple[Word, ...]:
        """The parts, in pieces that can be quoted."""
        return tuple(piece for part in self.parts for piece in _pieces(part)) or ("",)


@dataclass(frozen=True)
class PointScript:
    """What one point is, for the script of a round; Shell values are of the point (`command.value`)."""

    folder: str  # of the study
    workdir: str
    launch: tuple[tuple[Word, ...], ...]
    env: dict[str, Word] = field(default_factory=dict)  # of the program alone
    place: Word = ""  # its own folder below the working directory; empty = it runs there itself
    log: Word = ""  # relative to the working directory; empty = in its own folder, or the study's
    files: tuple[PointFile, ...] = ()
    pack: int = 1
    limited: bool = False  # whether a point of a pack has a time of its own, HPCJOB_LIMIT

    @property
    def command(self) -> tuple[tuple[Word, ...], ...]:
        """What a process becomes: env(1), since bash keeps some names for itself (UID, SECONDS); timeout(1)."""
        limit = ("timeout", f"--kill-after={_GRACE}", Shell('"$HPCJOB_LIMIT"')) if self.limited else ()
        values = tuple(shell.concat(f"{name}=", value) for name, value in self.env.items())
        return tuple(group for group in (limit, ("env", *values) if values else (), *self.launch) if group)

    @property
    def log_file(self) -> Word:
        """Where the program writes to."""
        if self.log or self.place:
            return self.log or shell.concat(BELOW, "/output.log")
        return shell.concat(f"{self.folder}/log/", Shell('"$((HPCJOB_POINT / 1000))/$HPCJOB_POINT.log"'))


def launch_words(script: str, table: str, part: StudyPart, *, workers: int = 0) -> tuple[Word, ...]:
    """What a task of the array runs: the script of the round, with its rows of the table.

    `workers` is how many copies of itself the script starts to run points at the same time; 0 where a launcher does.
    """
    if part.pack == 1:
        first, count = f"{part.first} + HPCJOB_ARRAY_INDEX", "1"
    else:
        first, count = f"{part.first} + HPCJOB_ARRAY_INDEX * {part.pack}", str(part.pack)
    words: tuple[Word, ...] = ("bash", script, table, Shell(f'"$(({first}))"'), count)
    if rest := part.rows % part.pack:
        last = part.rows // part.pack
        words = (*words[:-1], Shell(f'"$((HPCJOB_ARRAY_INDEX == {last} ? {rest} : {part.pack}))"'))
    return (*words, str(workers)) if workers else words


def _pieces(part: Word) -> list[Word]:
    if isinstance(part, Shell):
        return [part]
    return [part[start : start + _PIECE] for start in range(0, math.ceil(len(part) / _PIECE) * _PIECE, _PIECE)]
