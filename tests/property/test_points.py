"""Whatever the values of a point are, the program gets them byte for byte: shown with a real bash."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcjobs.sweep import command
from hpcjobs.sweep.inputs import factor
from hpcjobs.sweep.pointscript import PointFile
from tests.property.test_bytes import CHARACTERS, NASTY, TEXT
from tests.studies import Study, values

# Arguments, one variable, and the file, each with a NUL behind it.
DUMP = """import os, sys
for text in (*sys.argv[1:], os.environ["value"]):
    sys.stdout.buffer.write(os.fsencode(text) + b"\\0")
sys.stdout.buffer.write(open("in put", "rb").read())
"""
WORD = values("value", "other")


def arrived(folder: Path, rows: list[tuple[str, str]], **environ: str) -> list[list[bytes]]:
    """What the program got for each of the points, which are a pack."""
    launch = ((sys.executable, "-S", "-c", DUMP, WORD("{value}"), WORD("'{other}\"$x{value}{{value}}"), "\\"),)
    files = (PointFile("in put", ("a\n$(id)", command.value(1), "'\\n", command.value(2))),)
    study = Study(folder, ["value", "other"], rows, launch=launch, place=WORD("p{point}"), files=files, pack=9)
    done = study.run(0, len(rows), **environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert study.ended() == [(point, "0") for point in range(len(rows))]
    return [(study.work / f"p{point}/output.log").read_bytes().split(b"\0") for point in range(len(rows))]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4))
@example(rows=[(text, text) for text in NASTY])
@example(rows=[("\t", ""), ("", "\t\t"), ("\\t", "\\0101"), ("\\c", "\\\\"), (" a  b ", "\x1f\x7f\x01"), ("%s%%", "*")])
@example(rows=[("x" * 50_000, "é'" * 20_000)])
def test_values_arrive_in_words_variables_and_files(locale: str, rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        found = arrived(Path(folder), rows, LC_ALL=locale)
    for (value, other), got in zip(rows, found, strict=True):
        texts = (value, f"'{other}\"$x{value}{{value}}", "\\", value, f"a\n$(id){value}'\\n{other}")
        assert got == [os.fsencode(text) for text in texts]


@settings(max_examples=20, deadline=None)
@given(st.text(CHARACTERS.filter(lambda c: c != "/"), min_size=1, max_size=20))
@example("-")
@example("~")
@example(" a\nb ")
def test_folders_arrive(name: str) -> None:
    show = (sys.executable, "-S", "-c", "import os, sys; sys.stdout.buffer.write(os.getcwdb())")
    with TemporaryDirectory() as temporary:
        folder = Path(os.path.realpath(temporary))
        study = Study(folder, ["name"], [[name]], launch=(show,), place=values("name")("{name}-{point}"))
        assert study.run().returncode == 0
        place = command.fill("{name}-{point}", {"point": 0, "name": name})
        got = os.fsencode(study.work / place)
        assert (study.work / place / "output.log").read_bytes() == got


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab\n\r"), max_size=12), min_size=1, max_size=5))
def test_factored_texts_are_the_texts(texts: list[str]) -> None:
    factored = factor(lambda: texts)
    for point, text in enumerate(texts):
        parts = (part if isinstance(part, str) else factored.columns[part][point] for part in factored.parts)
        assert "".join(parts) == text
