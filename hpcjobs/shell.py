"""The only place that turns values into shell text.

`Shell` is text that is already safe to stand in a bash script. It answers the `__html__` protocol,
so a template engine with autoescaping lets it through and quotes everything else: a value that
nobody thought about is quoted, by construction.
"""

from __future__ import annotations

import itertools
import re
import shlex
from typing import TYPE_CHECKING

from hpcjobs.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Left out of the script as such: a terminal would act on them, and sbatch takes "\r\n" for a DOS file.
_CONTROL = re.compile(r"[\x01-\x08\x0b-\x1f\x7f]+")
_PLAIN_DIRECTIVE = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]&|*()!~^-]*", re.ASCII)
# execve(2): MAX_ARG_STRLEN, the longest single argument of a program, its final NUL included.
_LONGEST = 131_071
# Characters from which on a command is broken into lines.
_LINE = 90
# The longest line then, if its words allow it.
_FOLD = 110
# Built-in commands and reserved words of bash 5 (`compgen -bk`): as a command, bash itself would run them.
_BASH_WORDS = frozenset(re.findall(
    r"\S+",
    "! . : [ [[ ]] alias bg bind break builtin caller case cd command compgen complete compopt continue coproc "
    "declare dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function "
    "getopts hash help history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray "
    "readonly return select set shift shopt source suspend test then time times trap true type typeset ulimit "
    "umask unalias unset until wait while { }",
))  # fmt: skip
# Inside double quotes bash treats these four as its own (bash(1), QUOTING).
_SPECIAL = re.compile(r'([\\"$`])')


class Shell(str):
    """Text that is already quoted for bash."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def quote(value: object) -> Shell:
    """One word of bash that stands for `value`, byte for byte.

    Raises:
        PlanError: no argument of a program can hold the value: it has a NUL byte, is no text, or is too long.
    """
    if isinstance(value, Shell):
        return value
    text = str(value)
    if "\0" in text:
        raise PlanError(
            f"{text[:40]!r} holds a NUL byte, which no program can receive",
            hint="remove it; pass binary data in a file",
        )
    try:
        size = len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise PlanError(
            f"{text[:40]!r} holds half of a character (a lone surrogate)", hint="write the whole character"
        ) from None
    if size >= _LONGEST:
        raise PlanError(
            f"the value that begins {text[:20]!r} has {size} bytes; Linux passes at most {_LONGEST - 1} to a program",
            hint="put it into a file and pass the file's name",
        )
    return Shell(_CONTROL.sub(_escape, shlex.quote(text)))


def _escape(match: re.Match[str]) -> str:
    """Control characters, between the single quotes that shlex put around the value: out, escaped, in again."""
    return "'$'" + "".join(f"\\{ord(char):03o}" for char in match.group()) + "''"


def directive(value: object) -> Shell:
    """The value of an `#SBATCH` option, as sbatch's own parser reads it (Slurm, src/sbatch/opt.c, get_argument).

    Quotes may stand anywhere; a backslash takes the next character as it is, inside quotes too; outside
    of them a `#` begins a comment.

    Raises:
        PlanError: a newline or another control character, which no directive can hold.
    """
    text = str(value)
    refuse_control(text, "a directive")
    if _PLAIN_DIRECTIVE.fullmatch(text):
        return Shell(text)
    return Shell('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')


def line(value: object) -> Shell:
    """A line of shell as it was written, for the one field that is code: a site's `module_init`.

    Raises:
        PlanError: it holds a newline or another control character.
    """
    text = str(value)
    refuse_control(text, "a line of shell")
    return Shell(text)


def refuse_control(text: str, what: str) -> None:
    """Refuse a newline or another control character.

    Raises:
        PlanError: there is one; `what` names the thing in the message.
    """
    if found := re.search(r"[\x00-\x1f\x7f]", text):
        raise PlanError(
            f"{what} cannot hold the character {found.group()!r}: {text[:60]!r}",
            hint="write it on one line, without control characters",
        )


def program(words: Iterable[str]) -> tuple[str, ...]:
    """The words of a command that a script runs itself, such that bash starts a program.

    A name that bash would take for a word of its own (`exit`, `test`) gets `env` before it.
    """
    command = tuple(words)
    return ("env", *command) if command and command[0] in _BASH_WORDS else command


def join(words: Iterable[object]) -> Shell:
    """A simple command: the words quoted and separated by single spaces."""
    return Shell(" ".join(quote(word) for word in words))


def lines(*commands: Iterable[object]) -> Shell:
    """One command; if it is long, each group of words (launcher, runtime, program) begins a line."""
    groups = [group for group in ([quote(word) for word in words] for words in commands) if group]
    whole = " ".join(" ".join(group) for group in groups)
    if len(whole) < _LINE and "\n" not in whole:
        return Shell(whole)
    return Shell(" \\\n    ".join(_fold(group) for group in groups))


def _fold(words: Sequence[Shell]) -> str:
    """A group of words; a long one is folded, where an option is not parted from what may be its value."""
    folded: list[str] = [words[0]]
    for before, word in itertools.pairwise(words):
        together = before.startswith("-") and "=" not in before and not word.startswith("-")
        if together or len(folded[-1]) + len(word) < _FOLD:
            folded[-1] += " " + word
        else:
            folded.append(word)
    return " \\\n      ".join(folded)


def concat(*parts: object) -> Shell:
    """One word, of parts that are quoted each: what is `Shell` already stays as it is."""
    return Shell("".join(quote(part) for part in parts if isinstance(part, Shell) or part != ""))


def expand(value: object) -> Shell:
    """One word in which `$NAME` and `${NAME}` are expanded on the node and nothing else is.

    For the fields documented to allow variables (`bind`, `scratch`, `environment` of a site).
    Command substitution, arithmetic and backslashes stay literal.
    """
    text = str(value)
    if not _VARIABLE.search(text):
        return quote(value)
    quote(text)
    out, end = [], 0
    for match in _VARIABLE.finditer(text):
        out += [_SPECIAL.sub(r"\\\1", text[end : match.start()]), match.group()]
        end = match.end()
    out.append(_SPECIAL.sub(r"\\\1", text[end:]))
    return Shell('"' + "".join(out) + '"')


def variable_name(name: str) -> str:
    """The name itself, if bash accepts it as a variable.

    Raises:
        PlanError: it does not.
    """
    if not _NAME.fullmatch(name):
        raise PlanError(
            f"{name[:60]!r} cannot be the name of an environment variable",
            hint="use letters, digits and _, and no digit first",
        )
    return name
