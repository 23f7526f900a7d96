"""The YAML reader: no guesses, no bombs, and the line of everything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import HpcjobError, NotFoundError, SiteError, UsageError
from hpcjobs.site import yamlfile
from hpcjobs.site.yamlfile import dotted, native, parse, read

FILE = Path("a.yaml")


def data(text: str) -> dict[str, Any]:
    return parse(FILE, text.encode(), SiteError).data


@pytest.mark.parametrize(
    "text", ["1:00:00", "1-12:00:00", "0042", "1.10", "no", "on", "true", "1_000", "0x10", "2026-11-21", "=", "1e5"]
)
def test_an_unquoted_scalar_stays_what_was_written(text: str) -> None:
    assert data(f"key: {text}\n") == {"key": text}


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL"])
def test_only_these_mean_nothing(text: str) -> None:
    assert data(f"key: {text}\n") == {"key": None}


def test_a_quoted_null_is_text() -> None:
    assert data("key: 'null'\n") == {"key": "null"}
    assert data("'null': 1\n'<<': 2\n") == {"null": "1", "<<": "2"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4), ("-4", -4), ("4.5", 4.5), ("1e3", 1000.0), (".5", 0.5), ("true", True), ("False", False),
        ("no", "no"), ("1:00:00", "1:00:00"), ("0x10", "0x10"), ("1_000", "1_000"), ("'4'", "4"), ('"true"', "true"),
        ("[1, 'a', {b: 2}]", [1, "a", {"b": 2}]),
    ],
)  # fmt: skip
def test_native_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    resolved = native(data(f"key: {text}\n"))["key"]
    assert (resolved, type(resolved)) == (value, type(value))


def test_every_key_and_item_has_its_line() -> None:
    document = parse(FILE, b"a:\n  b: 1\n  c:\n    - x\n    - y: 2\nd: 3\n", SiteError)
    assert document.lines == {
        ("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1): 5, ("a", "c", 1, "y"): 5, ("d",): 6,
    }  # fmt: skip
    assert document.where(("a", "c", 1, "z")) == "a.yaml:5"
    assert document.where(()) == "a.yaml"
    assert dotted(("a", "c", 1, "y")) == "a.c[1].y"


def test_an_alias_stands_for_its_value() -> None:
    assert data("a: &x {b: 1}\nc: *x\n") == {"a": {"b": "1"}, "c": {"b": "1"}}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "a.yaml is empty", "write at least one line of `key: value`"),
        ("# nothing\n", "a.yaml is empty", "write at least one line of `key: value`"),
        ("- a\n", "a.yaml is not a mapping", "write lines of `key: value`"),
        ("just text\n", "a.yaml is not a mapping", "write lines of `key: value`"),
        ("a: 1\nb:\n\t- x\n", "a.yaml:3: a tab", "indent YAML with spaces"),
        ("a: 1\nb: {c: 1,\n c: 2}\n", "a.yaml:3: b.c is given twice, first in line 2", "keep one of the two"),
        ("a: 1\n---\nb: 1\n", "a.yaml:2: a second document", "keep one document to a file: remove this ---"),
        ("a: &x [*x]\n", "a.yaml:1: *x is not defined before this line", "define it with & above"),
        ("a: !!python/name:os.system x\n", "a.yaml:1: the tag 'tag:yaml.org,2002:python/name:os.system'",
         "remove it: tags are not supported"),
        ("a: 1\n<<: *b\n", "a.yaml:2: << (merge) is not supported", "use an alias for the whole value, or `extends`"),
        ("? [a]\n: b\n", "a.yaml:1: a key that is not a word", "write `key: value`"),
        ("a: 1\nb: \x01\n", "a.yaml:2: a control character",
         "check indentation, colons and quotes on this line and the one before"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, message: str, hint: str) -> None:
    with pytest.raises(SiteError) as caught:
        data(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize("text", ["a: b: c\n", "a: [1, 2\nb: 3\n", "a:\n  b: 1\n c: 2\n", "a: 'x\n", "@a: b\n"])
def test_a_syntax_error_names_file_and_line(text: str) -> None:
    with pytest.raises(SiteError, match=r"^a\.yaml:\d: \w") as caught:
        data(text)
    assert caught.value.hint


def test_text_that_is_not_utf8_names_the_line() -> None:
    with pytest.raises(SiteError, match=r"^a\.yaml:2: not UTF-8 text$"):
        parse(FILE, b"a: 1\nb: \xff\n", SiteError)


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    assert parse(FILE, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", SiteError).data == {"a": "1", "b": "2"}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
)


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (LAUGHS, r"^a\.yaml:5: more than 20000 values$"),
        ("a: " + "[" * 300_000, r"^a\.yaml:1: nested more than 30 deep$"),
        ("a:\n" + "- " * 300_000, r"^a\.yaml:2: nested more than 30 deep$"),
        ("a: [" + "x, " * 200_000 + "]", r"^a\.yaml:1: more than 20000 values$"),
    ],
    ids=["laughs", "brackets", "dashes", "list"],
)
def test_a_bomb_is_refused_before_it_goes_off(bomb: str, message: str) -> None:
    with pytest.raises(SiteError, match=message):
        data(bomb)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * (yamlfile.MAX_BYTES + 1))
    with pytest.raises(UsageError, match=r"large\.yaml is larger than 1 MiB$"):
        read(file, UsageError)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^there is no file .*/none\.yaml$"):
        read(tmp_path / "none.yaml", SiteError)


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(HpcjobError, match=r" is not a file$"):
            read(path, SiteError)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "a.yaml"
    file.write_text("a: 1\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SiteError, match=r"/a\.yaml cannot be read: Permission denied$"):
        read(file, SiteError)
