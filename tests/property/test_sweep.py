"""The table of a study: whatever a value is, bash has it back byte for byte."""

from __future__ import annotations

import os
import subprocess

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcjobs.sweep.points import Points
from hpcjobs.sweep.values import escape, text, unescape

CHARACTERS = st.one_of(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),  # bytes that are no UTF-8
    st.sampled_from("\\\\\\\t\n\r\x01\x1b\x7f01234567xuc%-'\"$` "),
)
TEXTS = st.text(CHARACTERS, max_size=20)
VALUES = st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.booleans())


@given(TEXTS)
def test_escaped_texts_come_back(value: str) -> None:
    escaped = escape(value)
    assert unescape(escaped) == value
    assert not any(char < " " or char == "\x7f" for char in escaped)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=20))
@example(["\\", "\\\\n", "\\0101", "\\c", "-n", "%s", "a\\", "\t\n\r\x01\x7f", "\udcff\udc80", ""])
def test_bash_has_them_back(values: list[str]) -> None:
    script = 'while IFS= read -r field; do printf "%b\\0" "$field"; done'
    lines = "".join(escape(value) + "\n" for value in values)
    out = subprocess.run(["bash", "-c", script], input=os.fsencode(lines), capture_output=True, check=True).stdout
    assert out == b"".join(os.fsencode(value) + b"\0" for value in values)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_lines_hold_the_texts(rows: list[tuple[int | float | str | bool, ...]]) -> None:
    columns = {f"x{i}": list(column) for i, column in enumerate(zip(*rows, strict=True))}
    lines = Points(columns).lines()
    assert [[unescape(cell) for cell in line.split("\t")] for line in lines] == [[text(v) for v in row] for row in rows]
