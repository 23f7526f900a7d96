"""What the points of a study wrote, gathered into one table.

A program is free to write rubbish, or nothing: that is a problem of its point, told in words beside it, and
never an error of the whole table.
"""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from hpcjobs.errors import UsageError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from hpcjobs.sweep.values import Value

Row: TypeAlias = "dict[str, Value | None]"

OWN_COLUMNS = ("point", "state", "exit_code", "seconds", "attempts", "row", "problem")

# Bytes of a file that is still read: results are numbers, not fields.
_LARGEST = 64 << 20
# Columns of one file, and of a table: a program that writes its whole memory must not fill ours.
_MOST_COLUMNS = 1000
_LONGEST_LIST = 20
# Numbers beyond it cannot be drawn: their differences would overflow.
_GREATEST = 1e200

_NAME = re.compile(r"[^\W\d][\w.-]*")
_IN_FILE = re.compile(r"(?P<file>.+?):/(?P<regex>.*)/", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(?P<name>[^\W\d]\w*)(?::(?P<format>[^{}]*))?\}")
_INTEGER = re.compile(r"[+-]?\d{1,300}", re.ASCII)
# D is Fortran's exponent of a double.
_FLOAT = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[ed][+-]?\d+)?|nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE)
_HINT = r"write out.json, out.csv, out.tsv, 'drag=Cd: (\S+)' or 'drag=log.txt:/Cd: (\S+)/'"


@dataclass(frozen=True)
class ResultSpec:
    """One thing to gather from each point."""

    text: str  # as it was asked for
    kind: Literal["json", "csv", "tsv", "regex"]
    file: str = ""  # below the point's folder; empty = what the point printed
    name: str = ""  # of the column, for a regex
    pattern: re.Pattern[str] = re.compile("")


@dataclass(frozen=True)
class Found:
    """What one point wrote: no row if nothing could be read."""

    rows: list[Row] = field(default_factory=list)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class PointInfo:
    """One point of a study, and where its files are."""

    number: int
    parameters: Mapping[str, Value]
    state: str
    exit_code: int | None
    seconds: float | None
    attempts: int
    folder: Path
    log: Path


@dataclass(frozen=True)
class ResultTable:
    """The points of a study with their parameters and results: columns of one length."""

    columns: dict[str, list[Value | None]]


class _UnreadableError(Exception):
    """A result that a point did not write, or not as asked."""


def parse_result(text: str, parameters: Collection[str] = ()) -> ResultSpec:
    """Read what `--result` takes: FILE.json, FILE.csv, FILE.tsv, NAME=REGEX or NAME=FILE:/REGEX/.

    A file may be named by the point's parameters: `out-{point}.json`, `out-{re:.3f}.csv`. A regex is one of
    Python's `re`, in which ^ and $ stand for the ends of a line.

    Raises:
        UsageError: it is none of these, the regex is wrong, or the name is taken.
    """
    name, equals, rest = text.partition("=")
    suffix = PurePath(text).suffix.lower().lstrip(".")
    if equals and _NAME.fullmatch(name):
        spec = _regex(text, name, rest, parameters)
    elif suffix in ("json", "csv", "tsv"):
        spec = ResultSpec(text, suffix, text)  # type: ignore[arg-type]  # one of the three
    else:
        raise UsageError(f"result {text!r} is neither a JSON, CSV or TSV file nor NAME=REGEX", hint=_HINT)
    for match in _PLACEHOLDER.finditer(spec.file):
        if match["name"] != "point" and match["name"] not in parameters:
            hint = nearest(match["name"], ["point", *parameters])
            raise UsageError(f"result {text!r}: there is no parameter {match['name']!r}", hint=hint)
    return spec


def _regex(text: str, name: str, rest: str, parameters: Collection[str]) -> ResultSpec:
    if name in parameters or name in OWN_COLUMNS:
        raise UsageError(
            f"result {text!r}: the table has a column {name} already", hint=f"choose another name: {name}_result=…"
        )
    match = _IN_FILE.fullmatch(rest)
    file, regex = (match["file"], match["regex"]) if match else ("", rest)
    if not regex:
        raise UsageError(f"result {text!r}: the regex is empty", hint=_HINT)
    try:
        return ResultSpec(text, "regex", file, name, re.compile(regex, re.MULTILINE))
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"result {text!r}: {regex!r} is no regex: {error}",
            hint=r"write it as in Python; before a character that is meant as it is stands a \, as in \(",
        ) from None


def as_number(value: Value | None) -> float | None:
    """The value as a finite number that can be drawn; None if it is none."""
    if value is None or isinstance(value, (bool, str)):
        return None
    return float(value) if -_GREATEST < value < _GREATEST else None


def as_text(value: Value | None) -> str:
    """The value as tables and people see it; empty for None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    return "" if value is None else str(value)


# ------------------------------------------------------------------------------------------ one point


def read_results(
    specs: Sequence[ResultSpec], folder: Path, log: Path, parameters: Mapping[str, Value] | None = None
) -> Found:
    """What a point wrote below its folder and to its log. Never raises for what a program may have written.

    A result of one row counts for each row of a result that has several.
    """
    problems = []
    tables = []
    texts: dict[Path, str] = {}
    for spec in specs:
        try:
            tables.append((spec, _rows(spec, folder, log, parameters or {}, texts)))
        except _UnreadableError as error:  # noqa: PERF203 - the others still count
            problems.append(str(error))
    rows: list[Row] = [{} for _ in range(max((len(table) for _, table in tables), default=0))]
    seen: set[str] = set()
    for spec, table in tables:
        if twice := sorted(seen & table[0].keys()):
            problems.append(f"{spec.file or spec.text}: {', '.join(twice[:5])} came before from another result")
        new = [name for name in table[0] if name not in seen]
        seen.update(new)
        for row, given in zip(rows, table * len(rows) if len(table) == 1 else table, strict=False):
            row.update((name, given[name]) for name in new)
    return Found(rows, tuple(problems))


def _rows(
    spec: ResultSpec, folder: Path, log: Path, parameters: Mapping[str, Value], texts: dict[Path, str]
) -> list[Row]:
    name = _filled(spec.file, parameters)
    path = folder / name if name else log
    shown = name or log.name
    if spec.kind == "regex":
        if path not in texts:
            texts[path] = _read(path, shown).decode("utf-8", "replace").replace("\r\n", "\n")
        return [{spec.name: _search(spec, texts[path], shown)}]
    content = _read(path, shown)
    rows = [_json(content, shown)] if spec.kind == "json" else _csv(content, shown, spec.kind)
    if len(rows[0]) > _MOST_COLUMNS:
        raise _UnreadableError(f"{shown}: it has {len(rows[0])} values, more than {_MOST_COLUMNS}")
    return rows


def _filled(name: str, parameters: Mapping[str, Value]) -> str:
    def value(match: re.Match[str]) -> str:
        given = parameters.get(match["name"])
        if given is None:
            return match[0]
        return format(given, match["format"]) if match["format"] else as_text(given)

    try:
        return _PLACEHOLDER.sub(value, name)
    except (ValueError, OverflowError) as error:
        raise _UnreadableError(f"{name}: {error}") from None


def _read(path: Path, shown: str) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for ever
            raise _UnreadableError(f"{shown}: it is no file")
        if found.st_size > _LARGEST:
            raise _UnreadableError(f"{shown}: it has {found.st_size >> 20} MB, more than {_LARGEST >> 20}")
        return path.read_bytes()
    except FileNotFoundError:
        raise _UnreadableError(f"{shown}: it is not there") from None
    except OSError as error:
        raise _UnreadableError(f"{shown}: {error.strerror}") from None
    except ValueError:  # a NUL in its name
        raise _UnreadableError(f"{shown!r}: no file can be called so") from None


def _search(spec: ResultSpec, text: str, shown: str) -> Value:
    last = deque(spec.pattern.finditer(text), maxlen=1)
    found = last[0][1 if spec.pattern.groups else 0] if last else None
    if found is None:
        raise _UnreadableError(f"{shown}: nothing in it matches {spec.pattern.pattern!r}")
    return _value(found)


def _value(text: str) -> Value:
    """A number if it looks like one."""
    word = text.strip()
    if _INTEGER.fullmatch(word):
        return int(word)
    return float(word.lower().replace("d", "e")) if _FLOAT.fullmatch(word) else text


def _json(content: bytes, shown: str) -> Row:
    try:
        document = json.loads(content)
        if not isinstance(document, dict):
            raise _UnreadableError(f"{shown}: it is no JSON object")
        return _named(_flat("", document), shown)
    except RecursionError:
        raise _UnreadableError(f"{shown}: it is nested too deep") from None
    except UnicodeDecodeError:
        raise _UnreadableError(f"{shown}: it is binary, no JSON") from None
    except ValueError as error:
        raise _UnreadableError(f"{shown}: it is no JSON: {error}") from None


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Value | None]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list):
        if 0 < len(value) <= _LONGEST_LIST and all(type(item) in (int, float) for item in value):
            yield from ((f"{prefix}.{index}", item) for index, item in enumerate(value))
        else:
            yield prefix, json.dumps(value)
    else:
        yield prefix, value


def _named(values: Iterable[tuple[str, Value | None]], shown: str) -> Row:
    row: Row = {}
    for name, value in values:
        if name in row:
            raise _UnreadableError(f"{shown}: two of its values are called {name!r}")
        row[name] = value
    return row


def _csv(content: bytes, shown: str, kind: str) -> list[Row]:
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:  # Python 3.10 refuses what later versions take for text
            raise _UnreadableError(f"{shown}: it is binary, no {kind.upper()}")
        delimiter = "," if kind == "csv" else "\t"
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if line]
    except UnicodeDecodeError:
        raise _UnreadableError(f"{shown}: it is binary, no {kind.upper()}") from None
    except csv.Error as error:
        raise _UnreadableError(f"{shown}: it is no {kind.upper()}: {error}") from None
    if len(lines) < 2:  # noqa: PLR2004 - a header and a row
        raise _UnreadableError(f"{shown}: it has no row below its header" if lines else f"{shown}: it is empty")
    header = [name.strip() for name in lines[0]]
    if "" in header:
        raise _UnreadableError(f"{shown}: its column {header.index('') + 1} has no name")
    ragged = next((n for n, line in enumerate(lines) if len(line) != len(header)), 0)
    if ragged:
        raise _UnreadableError(f"{shown}: row {ragged} has {len(lines[ragged])} values, its header {len(header)}")
    return [_named(zip(header, map(_cell, line), strict=True), shown) for line in lines[1:]]


def _cell(text: str) -> Value | None:
    return _value(text.strip()) if text.strip() else None


# -------------------------------------------------------------------------------------- all the points


def gather(points: Iterable[PointInfo], specs: Sequence[ResultSpec]) -> ResultTable:
    """One table of what the points wrote, with their parameters, ends and run times.

    A point has one row, or as many as the longest of its results. The files of points that are done or failed
    are read; that a failed one wrote no good results is no problem of its own. A result that is called like another
    column is NAME_result here, a parameter that is called like one of ours NAME_parameter.
    """
    lines: list[tuple[PointInfo, int, Row, list[str]]] = []
    for point in points:
        found = Found()
        if point.state in ("done", "failed"):
            found = read_results(specs, point.folder, point.log, {"point": point.number, **point.parameters})
        problems = list(found.problems) if point.state == "done" else []
        lines += [(point, number, row, problems) for number, row in enumerate(found.rows or [{}])]
    return ResultTable(_columns(lines))


def _columns(lines: list[tuple[PointInfo, int, Row, list[str]]]) -> dict[str, list[Value | None]]:
    points = [point for point, _, _, _ in lines]
    parameters = list(dict.fromkeys(name for point in points for name in point.parameters))
    columns: dict[str, list[Value | None]] = {"point": [point.number for point in points]}
    for name in parameters:
        column = f"{name}_parameter" if name in OWN_COLUMNS else name
        columns[column] = [point.parameters.get(name) for point in points]
    columns["state"] = [point.state for point in points]
    columns["exit_code"] = [point.exit_code for point in points]
    columns["seconds"] = [point.seconds for point in points]
    columns["attempts"] = [point.attempts for point in points]
    if any(number for _, number, _, _ in lines):
        columns["row"] = [number if row else None for _, number, row, _ in lines]
    for found, name in _result_names(lines, {*columns, *OWN_COLUMNS}).items():
        columns[name] = [row.get(found) for _, _, row, _ in lines]
    if any(problems for _, _, _, problems in lines):
        columns["problem"] = ["; ".join(problems) or None for _, _, _, problems in lines]
    return columns


def _result_names(lines: list[tuple[PointInfo, int, Row, list[str]]], taken: set[str]) -> dict[str, str]:
    """The results in the order first seen, and what their columns are called."""
    names: dict[str, str] = {}
    for _, number, row, problems in lines:
        new = [name for name in row if name not in names]
        room = _MOST_COLUMNS - len(names)
        names.update((name, name) for name in new[:room])
        if new[room:] and not number:
            problems.append(f"{len(new[room:])} of its values are left out: there are {_MOST_COLUMNS} columns")
    for name in names:
        column = name
        while column in taken or (column != name and column in names):
            column += "_result"
        names[name] = column
        taken.add(column)
    return names
