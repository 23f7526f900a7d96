"""A batch script as lines: which are directives, where the commands begin, which shell runs it.

Sources: sbatch(1) and qsub(1B); `get_argument` of sbatch and `do_dir` of qsub, tried on Slurm 22.05 and OpenPBS 23.06.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from hpcjobs.errors import UsageError

SLURM, PBS = "#SBATCH", "#PBS"
_SHELLS = {"sh", "bash", "dash", "ksh", "zsh"}
_C_SHELLS = {"csh", "tcsh"}


@dataclass(frozen=True)
class Directive:
    """The words of one directive; PBS lets one go on over several lines."""

    first: int  # lines, counted from 1
    last: int
    words: tuple[str, ...]
    comment: str  # what sbatch leaves out: from a # on


@dataclass(frozen=True)
class Script:
    """The text, split."""

    lines: tuple[str, ...]
    prefix: str
    directives: tuple[Directive, ...]
    body: int  # the number of the first command's line; one after the last where there is none
    late: tuple[int, ...] = field(default=())  # lines that look like directives, behind the first command

    @property
    def shell(self) -> str:
        """Who reads it: `sh` (and all that are like it), `csh`, or the name of another interpreter."""
        match = re.match(r"#!\s*(\S+)(?:\s+(\S+))?", self.lines[0])
        if not match:
            return "sh"
        program = match[2] if match[1].endswith("/env") and match[2] else match[1]
        name = program.rpartition("/")[2]
        return "sh" if name in _SHELLS else "csh" if name in _C_SHELLS else name


def read(text: str, prefix: str) -> Script:
    """Split a script.

    Raises:
        UsageError: a directive has a quote without its partner, or none can be read.
    """
    lines = tuple(text.split("\n")[: -1 if text.endswith("\n") else None])
    directives: list[Directive] = []
    at = 1
    while at <= len(lines) and not _is_command(lines[at - 1], prefix):
        last, mine = at, _after(lines[at - 1], prefix)
        if mine is not None:
            while prefix == PBS and mine.endswith("\\") and last < len(lines):
                mine, last = f"{mine[:-1]} {lines[last]}", last + 1
            directives.append(_directive(mine, prefix, at, last))
        at = last + 1
    late = tuple(n for n, line in enumerate(lines[at:], at + 1) if _after(line, prefix) is not None)
    return Script(lines, prefix, tuple(directives), at, late)


def _is_command(line: str, prefix: str) -> bool:
    """Whether directives end here; a line that begins with a colon is a comment to qsub."""
    text = line.strip()
    return bool(text) and not text.startswith("#") and not (prefix == PBS and line.startswith(":"))


def _after(line: str, prefix: str) -> str | None:
    """What stands behind the prefix; None if it is no directive. qsub takes blanks before it, sbatch does not."""
    text = line.lstrip() if prefix == PBS else line
    return text[len(prefix) :] if text.startswith(prefix) else None


def _directive(text: str, prefix: str, first: int, last: int) -> Directive:
    try:
        words = _words(text, "#" if prefix == SLURM else "")
    except ValueError:
        raise UsageError(
            f"line {first}: {prefix}{text}: a quote is opened and not closed", hint="close the quote"
        ) from None
    comment = ""
    if prefix == SLURM and "#" in text:
        comment = next((text[at:] for at, char in enumerate(text) if char == "#" and _same(text[:at], words)), "")
    return Directive(first, last, tuple(words), comment)


def _words(text: str, comment: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split, lexer.commenters = True, comment
    return list(lexer)


def _same(text: str, words: list[str]) -> bool:
    try:
        return _words(text, "") == words
    except ValueError:
        return False
