"""The only place that turns values into shell text.

`Shell` is text that is already safe to stand in a bash script. It answers the `__html__` protocol,
so a template engine with autoescaping lets it through and quotes everything else: a value that
nobody thought about is quoted, by construction.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from hpcjobs.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable

_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|\{[A-Za-z_]\w*\})", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
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
        PlanError: the value holds a NUL byte, which no argument of a program can hold.
    """
    if isinstance(value, Shell):
        return value
    text = str(value)
    if "\0" in text:
        raise PlanError(
            f"{text[:40]!r} holds a NUL byte, which no program can receive",
            hint="remove it; pass binary data in a file",
        )
    return Shell(shlex.quote(text))


def join(words: Iterable[object]) -> Shell:
    """A simple command: the words quoted and separated by single spaces."""
    return Shell(" ".join(quote(word) for word in words))


def lines(*commands: Iterable[object]) -> Shell:
    """One command over several lines, a group of words a line (launcher, runtime, program)."""
    groups = [join(group) for group in commands]
    return Shell(" \\\n    ".join(group for group in groups if group))


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
