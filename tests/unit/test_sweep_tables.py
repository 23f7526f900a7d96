"""Tables of results as files and as text."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from hpcjobs.errors import StoreError, UsageError
from hpcjobs.sweep import tables
from hpcjobs.sweep.results import ResultTable
from hpcjobs.sweep.tables import text_table, write_table

TABLE = ResultTable({
    "point": [0, 1, 2],
    "re": [100, 0.1, None],
    "ok": [True, None, False],
    "who": ['a,"b"', "tab\tline\nend", ""],
    "drag": [math.nan, -math.inf, 1e-300],
})  # fmt: skip


def test_csv(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == (
        'point,re,ok,who,drag\n0,100,true,"a,""b""",nan\n1,0.1,,"tab\tline\nend",-inf\n2,,false,,1e-300\n'
    )


def test_tsv(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.TSV")
    assert (tmp_path / "t.TSV").read_text() == (
        'point\tre\tok\twho\tdrag\n0\t100\ttrue\t"a,""b"""\tnan\n1\t0.1\t\t"tab\tline\nend"\t-inf\n2\t\tfalse\t\t1e-300\n'
    )


OBJECTS = [
    {"point": 0, "re": 100, "ok": True, "who": 'a,"b"', "drag": None},
    {"point": 1, "re": 0.1, "ok": None, "who": "tab\tline\nend", "drag": None},
    {"point": 2, "re": None, "ok": False, "who": "", "drag": 1e-300},
]


def test_json(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.json")
    text = (tmp_path / "t.json").read_text()
    assert json.loads(text) == OBJECTS
    assert text.startswith('[\n{"point": 0, "re": 100,')
    assert text.endswith('"drag": 1e-300}\n]\n')
    write_table(ResultTable({"point": []}), tmp_path / "t.json")
    assert (tmp_path / "t.json").read_text() == "[]\n"


def test_json_lines(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path / "t.jsonl")
    assert [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()] == OBJECTS


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([1, None, -(2**63)], "int64", [1, None, -(2**63)]),
        ([1, None, 0.5], "double", [1.0, None, 0.5]),
        ([2**60 + 1, math.inf], "double", [2.0**60, math.inf]),
        ([True, None], "bool", [True, None]),
        (["a", None], "string", ["a", None]),
        ([1, "a", True, 0.5, None], "string", ["1", "a", "true", "0.5", None]),
        ([True, 2], "string", ["true", "2"]),
        ([2**63, 1], "string", [str(2**63), "1"]),
        ([10**400, 0.5], "string", [str(10**400), "0.5"]),
        ([None, None], "null", [None, None]),
        ([], "null", []),
        (["\ud800", "\udcff"], "string", ["\\ud800", "\\udcff"]),
    ],
)
def test_parquet_columns_have_types(tmp_path: Path, values: list[Any], kind: str, read: list[Any]) -> None:
    write_table(ResultTable({"x\udcff": values}), tmp_path / "t.parquet")
    found = parquet.read_table(tmp_path / "t.parquet")
    assert found.column_names == ["x\\udcff"]
    assert str(found.schema.field(0).type) == kind
    assert found.column(0).to_pylist() == read


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl"])
def test_text_that_is_no_unicode_is_written_as_an_escape(tmp_path: Path, suffix: str) -> None:
    write_table(ResultTable({"a": ["\ud800"]}), tmp_path / f"t.{suffix}")
    assert "\\ud800" in (tmp_path / f"t.{suffix}").read_text("utf-8")


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="needs pyarrow, which is not installed") as caught:
        write_table(TABLE, tmp_path / "t.parquet")
    assert caught.value.hint.startswith("pip install 'hpcjobs[parquet]'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "said"), [("t.xlsx", ".xlsx names"), ("csv", "no suffix names")])
def test_other_suffixes_are_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"{said} no kind of table") as caught:
        write_table(TABLE, tmp_path / name)
    assert caught.value.hint == "let it end in .csv, .tsv, .json, .jsonl or .parquet"


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(_: ResultTable, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "t.csv").write_text("as it was")
    monkeypatch.setitem(tables._WRITERS, ".csv", torn)
    with pytest.raises(StoreError, match=r"t\.csv cannot be written: No space left on device") as caught:
        write_table(TABLE, tmp_path / "t.csv")
    assert caught.value.hint == f"see: ls -ld {tmp_path}"
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("t.csv", "as it was")]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_a_folder_that_is_not_there(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(StoreError, match="cannot be written: "):
        write_table(TABLE, tmp_path / "no" / f"t.{suffix}")


def test_text() -> None:
    assert text_table(TABLE) == (
        ["point", "re", "ok", "who", "drag"],
        [
            ["0", "100", "true", 'a,"b"', "nan"],
            ["1", "0.1", "", "tab\tline\nend", "-inf"],
            ["2", "", "false", "", "1e-300"],
        ],
    )
