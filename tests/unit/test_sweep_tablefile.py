"""Tables of points in files."""

from __future__ import annotations

import sys
from datetime import date
from math import inf, nan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from hpcjobs.errors import NotFoundError, UsageError
from hpcjobs.sweep.tablefile import read_table
from hpcjobs.sweep.values import Value

ROWS = {"re": [100, 200], "dt": [0.5, 1.0], "restart": [True, False], "case": ["a b", "007"]}
SAME = {
    "runs.csv": 're, dt ,restart,case\r\n100,.5,true,a b \r\n\r\n 200 ,1, false,"007"\r\n',
    "runs.tsv": "\ufeffre\tdt\trestart\tcase\n100\t0.5\ttrue\ta b\n200\t1e0\tfalse\t007\n",
    "runs.json": '[{"re": 100, "dt": 0.5, "restart": true, "case": "a b"},'
    ' {"dt": 1.0, "re": 200, "restart": false, "case": "007"}]',
    "RUNS.JSONL": '{"re": 100, "dt": 0.5, "restart": true, "case": "a b"}\n\n'
    '{"re": 200, "dt": 1.0, "restart": false, "case": "007"}\n',
}


def typed(columns: Any) -> dict[str, list[tuple[Value, type]]]:
    return {name: [(value, type(value)) for value in column] for name, column in columns.items()}


def refusal(path: Path) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        read_table(path)
    return caught.value.message.replace(f"{path.parent}/", ""), caught.value.hint


@pytest.mark.parametrize("name", SAME)
def test_the_same_table_in_every_form(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(SAME[name], "utf-8")
    table = read_table(tmp_path / name)
    assert typed(table.parameters) == typed(ROWS)
    assert table.source == str(tmp_path / name)


def test_parquet(tmp_path: Path) -> None:
    parquet.write_table(pa.table(ROWS), tmp_path / "runs.parquet")
    assert typed(read_table(tmp_path / "runs.parquet").parameters) == typed(ROWS)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.0"], [1.0, 2.0]),
        (["-1", "inf"], [-1.0, inf]),
        (["true", "false"], [True, False]),
        (["true", "1"], ["true", "1"]),
        (["1", "01"], ["1", "01"]),
        (["1", "x"], ["1", "x"]),
        (["True", "False"], ["True", "False"]),
        (['"a,b"', '"c\nd"'], ["a,b", "c\nd"]),
        (["é", "1"], ["é", "1"]),
    ],
)
def test_types_of_columns(tmp_path: Path, cells: list[str], values: list[Value]) -> None:
    (tmp_path / "runs.csv").write_text("\n".join(["x", *cells]), "utf-8")
    assert typed(read_table(tmp_path / "runs.csv").parameters) == typed({"x": values})


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("r.xls", "", "r.xls: the suffix '.xls' is none of a table", "use .csv, .tsv, .json, .jsonl, .parquet"),
        ("r.csv", "", "r.csv is empty", "names of the parameters in its first line"),
        ("r.csv", "\n1,2\n", "r.csv is empty", "names of the parameters in its first line"),
        ("r.csv", "a,b\n", "r.csv has no rows", "a line for each point"),
        ("r.csv", "a,,b\n1,2,3\n", "r.csv:1: column 2 has no name", "name each column"),
        ("r.csv", "a,b,a\n1,2,3\n", "r.csv:1: two columns are called a", "rename or remove one"),
        ("r.csv", "1,2\n3,4\n", "r.csv:1: 1 is no name", "names of the parameters in the first line"),
        ("r.csv", "a;b\n3;4\n", "r.csv: 'a;b' cannot be the name of a parameter", "use letters"),
        ("r.csv", "point\n3\n", "r.csv: a parameter cannot be called point: hpcjob uses the name itself", "otherwise"),
        ("r.csv", "a,b\n1,2\n3\n", "r.csv:3: the header has 2 cells, and this line 1", "quote a cell"),
        ("r.csv", "a,b\n1,2,3\n", "r.csv:2: the header has 2 cells, and this line 3", "quote a cell"),
        ("r.csv", "a,b\n1,2\n3, \n", "r.csv:3: b is empty", "leave the row out"),
        ("r.csv", "a,b\n1,NaN\n", "r.csv:2: b is NaN", "leave the row out"),
        ("r.csv", 'a,b\n1,"x"y\n', "r.csv:2: ',' expected after '\"'", "check the quotes"),
        ("r.csv", "a\n1e999\n", "r.csv: a: 1e999 is too large for a number", "smaller"),
        ("r.tsv", "a\tb\n1\t\n", "r.tsv:2: b is empty", "leave the row out"),
        ("r.json", "", "r.json is not JSON: Expecting value: line 1 column 1 (char 0)", 'write [{"x": 1}, {"x": 2}]'),
        ("r.json", '{"a": 1}', "r.json is not a list", 'write [{"x": 1}, {"x": 2}]'),
        ("r.json", "[]", "r.json has no rows", "a line for each point"),
        ("r.json", "[{}]", "r.json has no rows", "a line for each point"),
        ("r.json", "[1]", "r.json: row 1: not an object", 'write {"x": 1}'),
        ("r.json", "[[1]]", "r.json: row 1: not an object", 'write {"x": 1}'),
        ("r.json", '[{"a": 1}, {"b": 1}]', "r.json: row 2: a, b is not there exactly once, as in the first row", "same keys"),
        ("r.json", '[{"a": 1, "a": 2}]', "r.json: row 1: a is not there exactly once, as in the first row", "same keys"),
        ("r.json", '[{"a": NaN}]', "r.json: row 1: a is NaN", "leave the row out"),
        ("r.json", '[{"a": null}]', "r.json: row 1: a is nothing", "numbers, texts, true or false"),
        ("r.json", '[{"a": [1]}]', "r.json: row 1: a is a list", "numbers, texts, true or false"),
        ("r.json", '[{"a": {}}]', "r.json: row 1: a is an object", "numbers, texts, true or false"),
        ("r.jsonl", '{"a": 1}\n{"a"\n', "r.jsonl:2: not JSON: Expecting ':' delimiter: line 2 column 1 (char 5)", 'write {"x": 1}'),
        ("r.jsonl", '{"a": 1}\n\n{"a": null}\n', "r.jsonl:3: a is nothing", "numbers, texts, true or false"),
        ("r.jsonl", "", "r.jsonl has no rows", "a line for each point"),
    ],
)  # fmt: skip
def test_refuses(tmp_path: Path, name: str, text: str, message: str, hint: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    found = refusal(tmp_path / name)
    assert found[0] == message
    assert hint in found[1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1.0, nan]}, "r.parquet: a in row 2 is NaN"),
        ({"a": [1, None]}, "r.parquet: a in row 2 is nothing"),
        ({"a": [date(2026, 1, 1)]}, "r.parquet: a in row 1 is a date"),
        ({"a": []}, "r.parquet has no rows"),
    ],
)
def test_refuses_parquet(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "r.parquet")
    assert refusal(tmp_path / "r.parquet")[0] == message


def test_what_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_bytes(b"PAR1 and no more")
    assert refusal(tmp_path / "r.parquet")[0].startswith("r.parquet is not a Parquet file: ")


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(tmp_path / "r.parquet") == ("Parquet files need pyarrow", "pip install 'hpcjobs[parquet]'")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file .*r\.csv"):
        read_table(tmp_path / "r.csv")
    (tmp_path / "r.csv").mkdir()
    assert refusal(tmp_path / "r.csv") == ("r.csv cannot be read: Is a directory", "check the path")
    (tmp_path / "l.csv").write_bytes(b"a\n\xe9\n")
    assert refusal(tmp_path / "l.csv") == ("l.csv is not UTF-8 text", "save the file as UTF-8")


def test_a_text_that_occurs_often_is_kept_once(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("a,b\n" + "1.5,long text\n" * 1000)
    table = read_table(tmp_path / "r.csv")
    assert [len({id(value) for value in column}) for column in table.parameters.values()] == [1, 1]
