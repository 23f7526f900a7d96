"""`{name}` and `{name:FORMAT}` in a command, and in the names of files and folders, stand for a point's values.

`{point}` is its number and `{workdir}` the job's working directory; `{{name}}` is the text `{name}`. Braces around
anything that is no identifier are left alone (`{print $1}`, `{"a": 1}`), and so is `${name}`, which is the shell's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcjobs import shell
from hpcjobs.errors import UsageError
from hpcjobs.shell import Shell
from hpcjobs.sweep.values import text as as_text
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcjobs.sweep.values import Value

    Hidden = tuple[tuple[str, str], ...]

POINT, WORKDIR = "point", "workdir"
_VALUES = "hpcjob_values"
_PLACEHOLDER = re.compile(r"(?<!\$)(\{+)([A-Za-z_][A-Za-z0-9_]*)(?::([^{}]*))?(\}+)", re.ASCII)
# Formats that may make one text of two values: a number rounded, and text that is filled or cut.
_ROUNDS = re.compile(r"[.,_]|[ceEfFgGn%]$")


def words(
    command: Iterable[str], columns: Sequence[str], *, workdir: str, hidden: Hidden = ()
) -> tuple[tuple[str | Shell, ...], Hidden]:
    """The words as point.sh has them, and the columns of formatted values that they need.

    `columns` are the parameters in the table's order; the array `hpcjob_values` of point.sh has the point's number,
    then these, then the hidden columns. `hidden` are those there are already: they stay the first of what is returned.

    Raises:
        UsageError: a word names what is no parameter.
    """
    found = list(hidden)

    def word(text: str) -> str | Shell:
        parts = [part if isinstance(part, str) else stands_for(*part) for part in _parts(text, columns)]
        return shell.concat(*parts) if any(isinstance(part, Shell) for part in parts) else "".join(parts)

    def stands_for(name: str, spec: str) -> str | Shell:
        if name == WORKDIR:
            return workdir
        if not spec:
            return value((POINT, *columns).index(name))
        if (name, spec) not in found:
            found.append((name, spec))
        return value(1 + len(columns) + found.index((name, spec)))

    return tuple(word(text) for text in command), tuple(found)


def value(place: int) -> Shell:
    """The field of a point's row at that place of the table, in point.sh."""
    return Shell(f'"${{{_VALUES}[{place}]}}"')


def varies(word: object) -> bool:
    """Whether a word is another for each point."""
    return isinstance(word, Shell) and f"${{{_VALUES}[" in word


def fill(text: str, values: Mapping[str, Value], *, workdir: str = "") -> str:
    """The text for one point, as the program sees it; `values` are its parameters, and `point` its number.

    Raises:
        UsageError: the text names what is no parameter, or a format does not fit a value.
    """
    known = {**values, WORKDIR: workdir}
    parts = _parts(text, [name for name in values if name != POINT])
    return "".join(part if isinstance(part, str) else format_value(known[part[0]], part[1], part[0]) for part in parts)


def format_value(value: Value, spec: str, name: str) -> str:
    """The value of the parameter `name` by a format of Python (docs.python.org, "Format Specification Mini-Language").

    Raises:
        UsageError: there is no such format, or not for such a value.
    """
    if not spec:
        return as_text(value)
    try:
        return format(value, spec)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{{{name}:{spec}}}: the value {value!r} cannot be written so: {error}",
            hint=f"formats are Python's: {{{name}:05d}} for whole numbers, {{{name}:.3f}} for others; or {{{name}}}",
        ) from None


def format_column(name: str, spec: str, values: Iterable[Value]) -> list[str]:
    """All values of a parameter by a format.

    Raises:
        UsageError: as `format_value`.
    """
    return [format_value(value, spec, name) for value in values]


def is_numbered(pattern: str, columns: Sequence[str]) -> bool:
    """Whether a pattern has the number of the point in it, so that no two points get the same text.

    Raises:
        UsageError: it names what is no parameter.
    """
    parts = [part for part in _parts(pattern, columns) if not isinstance(part, str)]
    return any(name == POINT and not _ROUNDS.search(spec) for name, spec in parts)


def check_folder(pattern: str) -> None:
    """Refuse a pattern for the folders of points that leads elsewhere.

    Raises:
        UsageError: says so, and what to write.
    """
    if pattern.startswith(("/", "{workdir}")) or ".." in pattern.split("/"):
        raise UsageError(
            f"the folder {pattern} is not below the working directory",
            hint="write it relative to that, as runs/{point}; -D changes the working directory",
        )


def check_folders(folders: Iterable[str]) -> None:
    """Refuse folders of points, filled in, that lead elsewhere.

    Raises:
        UsageError: names the folder.
    """
    for folder in folders:
        if folder.startswith("/") or ".." in folder.split("/"):
            raise UsageError(
                f"the folder {folder} of a point is not below the working directory",
                hint="name folders by {point}, or by parameters without / and ..",
            )


def check_apart(texts: Iterable[str], what: str, option: str) -> None:
    """Refuse folders or logs of points, filled in, that are the same for two points.

    Raises:
        UsageError: names the first.
    """
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            raise UsageError(f"two points have the {what} {text}", hint=f"add {{point}} to {option}")
        seen.add(text)


def _parts(text: str, columns: Sequence[str]) -> Iterator[str | tuple[str, str]]:
    """Literal text, and (name, format) for each placeholder."""
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        opening, name, spec, closing = match.groups()
        pairs = min(len(opening), len(closing))
        # Two braces stand for one, and what one of them is left over for is a placeholder.
        yield text[end : match.end(1) - pairs] + "{" * (pairs // 2)
        if pairs % 2 == 0:
            yield text[match.end(1) : match.start(4)]
        elif name in (*columns, POINT, WORKDIR):
            yield name, spec or ""
        else:
            raise UsageError(
                f"the command names {{{name}}}, and there is no such parameter",
                hint=f"{nearest(name, (*columns, POINT, WORKDIR))}; write {{{{{name}}}}} for the text {{{name}}}",
            )
        yield "}" * (pairs // 2) + text[match.end(4) - (len(closing) - pairs) : match.end(4)]
        end = match.end()
    yield text[end:]
