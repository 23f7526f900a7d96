"""The table of a round: a line a point, of fields that are joined by tabs, the header first.

Control characters and backslashes in fields are escaped, so that bash's `printf %b` gives the bytes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths
from hpcjobs.errors import NotFoundError
from hpcjobs.sweep.record import NEW
from hpcjobs.sweep.values import parse_number, unescape

if TYPE_CHECKING:
    from collections.abc import Collection

    from hpcjobs.sweep.record import StudyRecord
    from hpcjobs.sweep.values import Value


def read(file: Path) -> list[str]:
    """The lines of a table, the header first.

    Raises:
        NotFoundError: it was removed.
    """
    try:
        return file.read_text("utf-8", "surrogateescape").split("\n")[:-1]
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}", hint="was the study's folder removed?") from error


def rows(study: StudyRecord, numbers: Collection[int]) -> tuple[str, dict[int, str]]:
    """The header, and the lines of these points by number."""
    folder = paths.StudyFolder(Path(study.folder))
    wanted, header, found = set(numbers), "", {}
    for place, each in enumerate(study.rounds, 1):
        members = each.numbers() if each.why in NEW else ()
        if not wanted.isdisjoint(members):
            header, *lines = read(folder.table(place))
            found.update({number: line for number, line in zip(members, lines, strict=True) if number in wanted})
    return header, found


def values(study: StudyRecord, numbers: Collection[int]) -> dict[int, dict[str, Value]]:
    """The parameters of these points, with the kinds of values that they were made with."""
    _, lines = rows(study, numbers)
    count = len(study.names)
    return {
        number: dict(zip(study.names, map(_value, lines[number].split("\t")[1 : 1 + count], study.kinds), strict=True))
        for number in numbers
    }


def _value(field: str, kind: str) -> Value:
    value = unescape(field)
    if kind == "str":
        return value
    if kind == "bool":
        return value == "true"
    if kind != "mixed":
        return int(value) if kind == "int" else float(value)
    return _guess(value)


def _guess(value: str) -> Value:
    """A value of a column of several kinds: what its text looks like."""
    if value in {"true", "false"}:
        return value == "true"
    number = parse_number(value)
    return value if number is None else number
