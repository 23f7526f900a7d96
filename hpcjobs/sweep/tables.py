"""The table of a study's results as a file, and as text."""

from __future__ import annotations

import csv
import json
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import StoreError, UsageError
from hpcjobs.sweep.results import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hpcjobs.sweep.results import ResultTable
    from hpcjobs.sweep.values import Value

# The range of a column of integers: 64 bits.
_INTEGERS = range(-(1 << 63), 1 << 63)


def write_table(table: ResultTable, path: Path) -> None:
    """Write the table to a file, in the format that its suffix names; the file is whole, or as it was before.

    Values that are not known are empty in CSV and TSV, null elsewhere. JSON has no NaN and no infinity (RFC 8259,
    section 6): they are null too.

    Raises:
        UsageError: the suffix is none of csv, tsv, json, jsonl and parquet; or pyarrow is needed and not installed.
        StoreError: the file cannot be written.
    """
    write = _WRITERS.get(path.suffix.lower())
    if not write:
        raise UsageError(
            f"{path}: {path.suffix or 'no suffix'} names no kind of table",
            hint="let it end in .csv, .tsv, .json, .jsonl or .parquet",
        )
    with replacing(path) as temporary:
        write(table, temporary)


def text_table(table: ResultTable) -> tuple[list[str], list[list[str]]]:
    """The header and the rows as text; what is not known is empty."""
    return list(table.columns), [[as_text(value) for value in row] for row in _rows(table)]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of `path` once it is whole.

    Raises:
        StoreError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error}", hint=f"see: ls -ld {path.parent}"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _rows(table: ResultTable) -> Iterator[tuple[Value | None, ...]]:
    return zip(*table.columns.values(), strict=True)


def _write_separated(table: ResultTable, path: Path, delimiter: str) -> None:
    # Half of a surrogate pair, as a program's JSON may hold it, is no UTF-8.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows([as_text(value) for value in row] for row in _rows(table))


def _write_csv(table: ResultTable, path: Path) -> None:
    _write_separated(table, path, ",")


def _write_tsv(table: ResultTable, path: Path) -> None:
    _write_separated(table, path, "\t")


def _objects(table: ResultTable) -> Iterator[str]:
    for row in _rows(table):
        values = (None if isinstance(value, float) and not math.isfinite(value) else value for value in row)
        yield json.dumps(dict(zip(table.columns, values, strict=True)), allow_nan=False)


def _write_json(table: ResultTable, path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        separator = "[\n"
        for text in _objects(table):
            file.write(separator + text)
            separator = ",\n"
        file.write("\n]\n" if separator == ",\n" else "[]\n")


def _write_lines(table: ResultTable, path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        file.writelines(f"{text}\n" for text in _objects(table))


def _write_parquet(table: ResultTable, path: Path) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            f"{path}: to write Parquet needs pyarrow, which is not installed",
            hint="pip install 'hpcjobs[parquet]', or write .csv, .tsv, .json or .jsonl",
        ) from None
    columns = {_utf8(name): _column(pa, values) for name, values in table.columns.items()}
    parquet.write_table(pa.table(columns), path)


def _column(pa: Any, values: list[Value | None]) -> Any:
    """An array of the narrowest type that holds all of the values; text, if they are of several kinds."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds or kinds == {bool}:
        return pa.array(values, pa.bool_() if kinds else pa.null())
    small = all(value in _INTEGERS for value in values if isinstance(value, int))
    if small and kinds == {int}:
        return pa.array(values, pa.int64())
    if small and kinds <= {int, float}:
        return pa.array([value if value is None else float(value) for value in values], pa.float64())
    return pa.array([value if value is None else _utf8(as_text(value)) for value in values], pa.string())


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


_WRITERS: dict[str, Callable[[ResultTable, Path], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".json": _write_json,
    ".jsonl": _write_lines,
    ".parquet": _write_parquet,
}
