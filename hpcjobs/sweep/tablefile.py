"""Tables of points in files: CSV, TSV, JSON, JSON lines and Parquet."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import NotFoundError, UsageError
from hpcjobs.sweep.design import Table
from hpcjobs.sweep.values import parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from typing import TextIO

    from hpcjobs.sweep.values import Value

    Columns = dict[str, list[Value]]

_NAN_HINT = "give it a number, or leave the row out"


def read_table(path: Path) -> Table:
    """The rows of a file, by its suffix: .csv, .tsv, .json (a list of objects), .jsonl or .parquet.

    A column of a CSV or TSV file holds integers if all its cells are such, else numbers, else true and false, else
    text. Spaces around a cell do not belong to it.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it cannot be read as such a table; names the file and the line.
    """
    read = _READERS.get(path.suffix.lower())
    if not read:
        raise UsageError(f"{path}: the suffix {path.suffix!r} is none of a table", hint=f"use {', '.join(_READERS)}")
    try:
        columns = read(path)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", hint="check the path") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}", hint="check the path") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text", hint="save the file as UTF-8") from None
    if not any(columns.values()):
        raise UsageError(f"{path} has no rows", hint="write a header and a line for each point")
    try:
        return Table(columns, str(path))
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint) from None


# ------------------------------------------------------------------------------------------- CSV and TSV


def _csv(path: Path) -> Columns:
    return _delimited(path, ",")


def _tsv(path: Path) -> Columns:
    return _delimited(path, "\t")


def _delimited(path: Path, delimiter: str) -> Columns:
    import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            names = _header(path, [name.strip() for name in next(rows, [])])
            columns = _cells(path, names, ((rows.line_num, row) for row in rows if row))
        except csv.Error as error:
            raise UsageError(f"{path}:{rows.line_num}: {error}", hint="check the quotes on this line") from None
    return {name: _typed(path, name, cells) for name, cells in zip(names, columns, strict=True)}


def _header(path: Path, names: list[str]) -> list[str]:
    if not names:
        raise UsageError(f"{path} is empty", hint="write the names of the parameters in its first line")
    if "" in names:
        raise UsageError(f"{path}:1: column {names.index('') + 1} has no name", hint="name each column")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path}:1: two columns are called {name}", hint="rename or remove one")
        if parse_number(name) is not None:
            raise UsageError(f"{path}:1: {name} is no name", hint="write the names of the parameters in the first line")
    return names


def _cells(path: Path, names: list[str], rows: Iterable[tuple[int, list[str]]]) -> list[list[str]]:
    columns: list[list[str]] = [[] for _ in names]
    known: dict[str, str] = {}  # a text that occurs a thousand times is kept once
    for line, row in rows:
        if len(row) != len(names):
            raise UsageError(
                f"{path}:{line}: the header has {len(names)} cells, and this line {len(row)}",
                hint="quote a cell that holds the separator",
            )
        for name, column, cell in zip(names, columns, row, strict=True):
            text = cell.strip()
            if not text:
                raise UsageError(f"{path}:{line}: {name} is empty", hint="give it a value, or leave the row out")
            if text.lower() == "nan":
                raise UsageError(f"{path}:{line}: {name} is NaN", hint=_NAN_HINT)
            column.append(known.setdefault(text, text))
    return columns


def _typed(path: Path, name: str, cells: list[str]) -> list[Value]:
    values: dict[str, Any]
    try:
        values = {cell: parse_number(cell) for cell in set(cells)}
    except UsageError as error:
        raise UsageError(f"{path}: {name}: {error.message}", hint="take a smaller number") from None
    if values.keys() <= {"true", "false"}:
        values = {cell: cell == "true" for cell in values}
    elif None in values.values():
        return [*cells]
    elif not all(isinstance(number, int) for number in values.values()):
        values = {cell: float(number) for cell, number in values.items()}
    return [values[cell] for cell in cells]


# ----------------------------------------------------------------------------------- JSON and JSON lines


def _json(path: Path) -> Columns:
    import json

    with path.open(encoding="utf-8-sig") as file:
        try:
            rows = json.load(file, object_pairs_hook=tuple)
        except ValueError as error:
            raise UsageError(f"{path} is not JSON: {error}", hint='write [{"x": 1}, {"x": 2}]') from None
    if not isinstance(rows, list):
        raise UsageError(f"{path} is not a list", hint='write [{"x": 1}, {"x": 2}]')
    return columns_of((f"{path}: row {number}", row) for number, row in enumerate(rows, 1))


def _jsonl(path: Path) -> Columns:
    with path.open(encoding="utf-8-sig") as file:
        return columns_of(_json_lines(path, file))


def _json_lines(path: Path, file: TextIO) -> Iterator[tuple[str, Any]]:
    import json

    decode = json.JSONDecoder(object_pairs_hook=tuple).decode
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield f"{path}:{number}", decode(line)
            except ValueError as error:
                raise UsageError(f"{path}:{number}: not JSON: {error}", hint='write {"x": 1}') from None


def columns_of(rows: Iterable[tuple[str, Any]]) -> Columns:
    """The columns of rows that are tuples of (name, value); with each row, where it stands.

    Raises:
        UsageError: the rows differ in their names, or a value is none that a parameter can have.
    """
    columns: Columns = {}
    for where, row in rows:
        # No dict: it would hide a key that is given twice.
        if not isinstance(row, tuple):
            raise UsageError(f"{where}: not an object", hint='write {"x": 1}')
        values = dict(row)
        columns = columns or {name: [] for name in values}
        if len(values) != len(row) or values.keys() != columns.keys():
            wrong = values.keys() ^ columns.keys() or {name for name, _ in row if [n for n, _ in row].count(name) > 1}
            raise UsageError(
                f"{where}: {', '.join(sorted(wrong))} is not there exactly once, as in the first row",
                hint="give all rows the same keys",
            )
        for name, value in values.items():
            columns[name].append(_checked(f"{where}: {name}", value))
    return columns


def _checked(where: str, value: Any) -> Value:
    if not isinstance(value, (int, float, str)):
        kind = {type(None): "nothing", list: "a list", tuple: "an object"}.get(type(value), f"a {type(value).__name__}")
        raise UsageError(f"{where} is {kind}", hint="values are numbers, texts, true or false")
    if isinstance(value, float) and isnan(value):
        raise UsageError(f"{where} is NaN", hint=_NAN_HINT)
    return value


# ----------------------------------------------------------------------------------------------- Parquet


def _parquet(path: Path) -> Columns:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError("Parquet files need pyarrow", hint="pip install 'hpcjobs[parquet]'") from None
    try:
        table = parquet.read_table(path)
    except pa.ArrowException as error:
        raise UsageError(f"{path} is not a Parquet file: {error}", hint="write it anew") from None
    names = _header(path, table.column_names)
    return {name: _column(f"{path}: {name}", table.column(name).to_pylist()) for name in names}


def _column(where: str, values: list[Any]) -> list[Value]:
    for row, value in enumerate(values, 1):
        _checked(f"{where} in row {row}", value)
    return values


_READERS: dict[str, Callable[[Path], Columns]] = {
    ".csv": _csv, ".tsv": _tsv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet,
}  # fmt: skip
