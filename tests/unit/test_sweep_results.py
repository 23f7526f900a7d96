"""What points wrote, and what is made of it: good results, rubbish, and nothing."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hpcjobs.errors import UsageError
from hpcjobs.sweep.results import Found, PointInfo, as_number, as_text, gather, parse_result, read_results

MB = 1 << 20


def point(number: int, folder: Path, state: str = "done", **parameters: Any) -> PointInfo:
    return PointInfo(number, parameters, state, 0 if state == "done" else 1, 1.5, 1, folder, folder / f"{number}.log")


def read(folder: Path, *texts: str, parameters: dict[str, Any] | None = None) -> Found:
    return read_results([parse_result(text, parameters or {}) for text in texts], folder, folder / "7.log", parameters)


@pytest.mark.parametrize(
    ("text", "kind", "file", "name", "pattern"),
    [
        ("out.json", "json", "out.json", "", ""),
        ("sub/OUT.CSV", "csv", "sub/OUT.CSV", "", ""),
        ("a.tsv", "tsv", "a.tsv", "", ""),
        ("./a=b.json", "json", "./a=b.json", "", ""),
        (r"drag=Cd: (\S+)", "regex", "", "drag", r"Cd: (\S+)"),
        (r"drag=log.lammps:/Total energy *= *(\S+)/", "regex", "log.lammps", "drag", r"Total energy *= *(\S+)"),
        ("a.b=/x/", "regex", "", "a.b", "/x/"),
        ("drag=x=(1)", "regex", "", "drag", "x=(1)"),
        ("size=a:(b)", "regex", "", "size", "a:(b)"),
        ("n=out-{point}-{re:.3f}:/n{2}/", "regex", "out-{point}-{re:.3f}", "n", "n{2}"),
    ],
)
def test_what_is_asked_for(text: str, kind: str, file: str, name: str, pattern: str) -> None:
    spec = parse_result(text, ["re"])
    assert (spec.text, spec.kind, spec.file, spec.name, spec.pattern.pattern) == (text, kind, file, name, pattern)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "result '' is neither", "write out.json"),
        ("=x", "result '=x' is neither", "drag=Cd"),
        ("7x=y", "result '7x=y' is neither", "drag=Cd"),
        ("out.txt", "result 'out.txt' is neither a JSON, CSV or TSV file nor NAME=REGEX", "'drag=log.txt:/Cd"),
        ("re=x", "result 're=x': the table has a column re already", "re_result=…"),
        ("state=x", "a column state already", "state_result=…"),
        ("drag=", "the regex is empty", "drag=Cd"),
        ("drag=log://", "the regex is empty", "drag=Cd"),
        ("drag=(", r"'(' is no regex: missing ), unterminated subpattern at position 0", r"as in \("),
        ("drag=log:/*/", "'*' is no regex: nothing to repeat", r"as in \("),
        ("drag=a{99999999999}", "is no regex: the repetition number is too large", "as in Python"),
        ("out-{rey}.json", "result 'out-{rey}.json': there is no parameter 'rey'", "did you mean re?"),
    ],
)
def test_what_cannot_be_asked_for(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        parse_result(text, ["re"])
    assert hint in caught.value.hint


def test_an_object_becomes_columns(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text(
        '{"drag": 1.5, "n": 3, "ok": true, "who": "me", "none": null, "nan": NaN, "force": {"x": 1, "y": {"z": 2}},'
        ' "probe": [0.5, 2], "words": ["a", "b"], "flags": [true], "empty": [], "box": {},'
        f' "long": {list(range(21))}, "just": {list(range(20))}}}'
    )
    rows, problems = read(tmp_path, "out.json").rows, read(tmp_path, "out.json").problems
    assert problems == ()
    assert len(rows) == 1
    nan = rows[0].pop("nan")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert rows[0] == {
        "drag": 1.5, "n": 3, "ok": True, "who": "me", "none": None, "force.x": 1, "force.y.z": 2,
        "probe.0": 0.5, "probe.1": 2, "words": '["a", "b"]', "flags": "[true]", "empty": "[]",
        "long": json.dumps(list(range(21))), **{f"just.{index}": index for index in range(20)},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("out.csv", "drag,lift\n1.5,2\n", [{"drag": 1.5, "lift": 2}]),
        ("out.csv", "\ufeffdrag, lift\r\n\r\n 1.5 , two words\r\n", [{"drag": 1.5, "lift": "two words"}]),
        ("out.csv", 'a,b\n"x,y",\n', [{"a": "x,y", "b": None}]),
        ("out.tsv", "t\tu\n0\t1D-3\n1\t-.5\n", [{"t": 0, "u": 0.001}, {"t": 1, "u": -0.5}]),
    ],
)
def test_a_table_becomes_columns_and_rows(tmp_path: Path, name: str, text: str, rows: list[Any]) -> None:
    (tmp_path / name).write_text(text, "utf-8", newline="")
    assert read(tmp_path, name) == Found(rows)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-0", 0),
        ("1.50", 1.5),
        ("+1e3", 1000.0),
        ("2.5D+02", 250.0),
        ("-inf", -math.inf),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("1,5", "1,5"),
        ("9" * 400, math.inf),
        ("٣", "٣"),
        ("converged", "converged"),
    ],
)
def test_a_number_if_it_looks_like_one(tmp_path: Path, text: str, value: Any) -> None:
    (tmp_path / "7.log").write_text(f"x = {text}\n", "utf-8")
    assert read(tmp_path, r"x=x = (\S+)") == Found([{"x": value}])


def test_the_last_match_counts_its_group_or_all_of_it(tmp_path: Path) -> None:
    (tmp_path / "7.log").write_bytes(b"step 1 E=3\r\nstep 2 E=4\r\nend \xff\r\n")
    (tmp_path / "other.log").write_text("Loop time of 2.5 on 1 procs\n")
    found = read(tmp_path, r"e=E=(\S+)$", "last=step \\d", "end=^end (.)$", "loop=other.log:/Loop time of (\\S+)/")
    assert found == Found([{"e": 4, "last": "step 2", "end": "\ufffd", "loop": 2.5}])


def test_files_may_be_called_by_the_parameters(tmp_path: Path) -> None:
    (tmp_path / "7-0.50-true.json").write_text('{"drag": 1}')
    parameters = {"point": 7, "re": 0.5, "hot": True, "who": "me", "big": 10**400}
    assert read(tmp_path, "{point}-{re:.2f}-{hot}.json", parameters=parameters) == Found([{"drag": 1}])
    assert read(tmp_path, "{who:d}.json", "{big:.1f}.csv", parameters=parameters).problems == (
        "{who:d}.json: Unknown format code 'd' for object of type 'str'",
        "{big:.1f}.csv: int too large to convert to float",
    )
    unknown = read_results([parse_result("{re}.json", ["re"])], tmp_path, tmp_path / "7.log")
    assert unknown.problems == ("{re}.json: it is not there",)


def test_a_result_of_one_row_counts_for_each_row_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"drag": 1}')
    (tmp_path / "two.csv").write_text("t\n0\n1\n")
    (tmp_path / "three.csv").write_text("u\n5\n6\n7\n")
    assert read(tmp_path, "one.json", "two.csv", "three.csv").rows == [
        {"drag": 1, "t": 0, "u": 5},
        {"drag": 1, "t": 1, "u": 6},
        {"drag": 1, "u": 7},
    ]


def test_the_first_of_two_results_of_one_name_counts(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"drag": 1, "lift": 2}')
    (tmp_path / "b.csv").write_text("drag,n\n3,4\n")
    (tmp_path / "7.log").write_text("lift 9")
    assert read(tmp_path, "a.json", "b.csv", r"lift=lift (\d)") == Found(
        [{"drag": 1, "lift": 2, "n": 4}],
        ("b.csv: drag came before from another result", r"lift=lift (\d): lift came before from another result"),
    )


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("out.json", b"", "out.json: it is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("out.json", b'{"drag": 1', "out.json: it is no JSON: Expecting ',' delimiter: line 1 column 11 (char 10)"),
        ("out.json", b"[1, 2]", "out.json: it is no JSON object"),
        ("out.json", b"\x7fELF\x02\x01\xff\xff", "out.json: it is binary, no JSON"),
        ("out.json", b'{"a.b": 1, "a": {"b": 2}}', "out.json: two of its values are called 'a.b'"),
        ("out.json", b'{"a":' * 200_000, "out.json: it is nested too deep"),
        ("out.json", json.dumps({str(n): n for n in range(1001)}).encode(), "out.json: it has 1001 values, more than 1000"),
        ("out.csv", b"", "out.csv: it is empty"),
        ("out.csv", b"\n\n", "out.csv: it is empty"),
        ("out.csv", b"drag,lift\n", "out.csv: it has no row below its header"),
        ("out.csv", b"drag,lift\n1,2\n3\n", "out.csv: row 2 has 1 values, its header 2"),
        ("out.csv", b"drag,,lift\n1,2,3\n", "out.csv: its column 2 has no name"),
        ("out.csv", b"drag, drag\n1,2\n", "out.csv: two of its values are called 'drag'"),
        ("out.csv", b"drag\n\xff\n", "out.csv: it is binary, no CSV"),
        ("out.tsv", b"drag\n\0\n", "out.tsv: it is binary, no TSV"),
        ("out.csv", b"drag\n" + b"x" * 200_000, "out.csv: it is no CSV: field larger than field limit (131072)"),
        ("7.log", b"nothing", "7.log: nothing in it matches 'Cd: (.)?'"),
        ("7.log", b"Cd: ", "7.log: nothing in it matches 'Cd: (.)?'"),
    ],
)  # fmt: skip
def test_rubbish_is_a_problem_and_the_others_still_count(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.json").write_text('{"good": 1}')
    what = "cd=Cd: (.)?" if name == "7.log" else name
    assert read(tmp_path, what, "good.json") == Found([{"good": 1}], (problem,))


def test_what_is_no_file_that_can_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.csv").mkdir()
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(64 * MB + 1)
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert read(tmp_path, "no.json", "pipe.json", "folder.csv", "huge.json", "loop.json", "a\0.csv", "x=y") == Found(
        [],
        (
            "no.json: it is not there",
            "pipe.json: it is no file",
            "folder.csv: it is no file",
            "huge.json: it has 64 MB, more than 64",
            "loop.json: Too many levels of symbolic links",
            "'a\\x00.csv': no file can be called so",
            "7.log: it is not there",
        ),
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300) | st.text('{}[]":,.0123456789eEnaN \n\t\\', max_size=60).map(str.encode))
@example(b"\x00" * 4)
@example(b'{"a": "\\ud800"}')
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_no_bytes_raise(tmp_path: Path, content: bytes) -> None:
    for name in ("out.json", "out.csv", "out.tsv", "7.log"):
        (tmp_path / name).write_bytes(content)
    found = read(tmp_path, "out.json", "out.csv", "out.tsv", "n=(a+|.)$", "m=out.csv:/\\d/")
    table = gather([point(0, tmp_path)], [parse_result("out.json")])
    assert found.rows or len(found.problems) == 5
    assert {len(column) for column in table.columns.values()} == {1}


def test_one_table_of_all_points(tmp_path: Path) -> None:
    for number, text in enumerate(['{"drag": 1.5}', "rubbish", '{"lift": 2, "drag": 3}', "rubbish"]):
        (tmp_path / f"{number}.json").write_text(text)
    states = ["done", "done", "failed", "failed", "timeout", "pending"]
    points = [point(number, tmp_path, state, re=100 * number) for number, state in enumerate(states)]
    table = gather(points, [parse_result("{point}.json")])
    none = None
    assert table.columns == {
        "point": [0, 1, 2, 3, 4, 5],
        "re": [0, 100, 200, 300, 400, 500],
        "state": states,
        "exit_code": [0, 0, 1, 1, 1, 1],
        "seconds": [1.5] * 6,
        "attempts": [1] * 6,
        "drag": [1.5, none, 3, none, none, none],
        "lift": [none, none, 2, none, none, none],
        "problem": [none, "1.json: it is no JSON: Expecting value: line 1 column 1 (char 0)", none, none, none, none],
    }
    assert list(table.columns) == [
        "point",
        "re",
        "state",
        "exit_code",
        "seconds",
        "attempts",
        "drag",
        "lift",
        "problem",
    ]


def test_a_point_of_several_rows(tmp_path: Path) -> None:
    (tmp_path / "0.csv").write_text("t\n5\n6\n")
    (tmp_path / "1.csv").write_text("t\n7\n")
    table = gather([point(n, tmp_path, a=n) for n in range(3)], [parse_result("{point}.csv"), parse_result("no.csv")])
    gone = "no.csv: it is not there"
    assert table.columns["point"] == [0, 0, 1, 2]
    assert table.columns["a"] == [0, 0, 1, 2]
    assert table.columns["row"] == [0, 1, 0, None]
    assert table.columns["t"] == [5, 6, 7, None]
    assert table.columns["problem"] == [gone, gone, gone, f"2.csv: it is not there; {gone}"]


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "out.json").write_text('{"re": 1, "re_result": 2, "seconds": 3, "row": 4, "drag": 5}')
    table = gather([point(0, tmp_path, re=100, row=7)], [parse_result("out.json")])
    assert table.columns == {
        "point": [0], "re": [100], "row_parameter": [7], "state": ["done"], "exit_code": [0], "seconds": [1.5],
        "attempts": [1], "re_result_result": [1], "re_result": [2], "seconds_result": [3], "row_result": [4],
        "drag": [5],
    }  # fmt: skip


def test_a_program_that_invents_names_does_not_fill_the_table(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(
            ",".join(f"n{number}_{column}" for column in range(600)) + ("\n" + "1," * 599 + "1") * 2
        )
    table = gather([point(number, tmp_path) for number in range(3)], [parse_result("{point}.csv")])
    left = "of its values are left out: there are 1000 columns"
    assert table.columns["problem"] == [None, None, f"200 {left}", f"200 {left}", f"600 {left}", f"600 {left}"]
    assert len(table.columns) == 1000 + 7


def test_a_study_without_points_or_results() -> None:
    assert gather([], []).columns == {name: [] for name in ("point", "state", "exit_code", "seconds", "attempts")}


def test_no_file_is_read_twice_for_a_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "7.log").write_text("a 1 b 2 c 3")
    seen: list[Path] = []
    read_bytes = Path.read_bytes

    def note(path: Path) -> bytes:
        seen.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", note)
    assert read(tmp_path, r"a=a (\d)", r"b=b (\d)", r"c=c (\d)").rows == [{"a": 1, "b": 2, "c": 3}]
    assert seen == [tmp_path / "7.log"]


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        (3, 3.0, "3"),
        (0.1, 0.1, "0.1"),
        (True, None, "true"),
        (False, None, "false"),
        ("7", None, "7"),
        (None, None, ""),
        (math.nan, None, "nan"),
        (math.inf, None, "inf"),
        (10**400, None, str(10**400)),
    ],
)
def test_values_as_numbers_and_as_text(value: Any, number: float | None, text: str) -> None:
    assert (as_number(value), as_text(value)) == (number, text)
