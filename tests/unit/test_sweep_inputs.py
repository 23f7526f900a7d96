from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from hpcjobs.errors import TemplateError, UsageError
from hpcjobs.render import InputTemplate
from hpcjobs.sweep import inputs
from hpcjobs.sweep.command import value
from hpcjobs.sweep.inputs import Factored, factor
from hpcjobs.sweep.pointscript import PointFile


def put_together(factored: Factored, point: int) -> str:
    return "".join(part if isinstance(part, str) else factored.columns[part][point] for part in factored.parts)


@pytest.mark.parametrize(
    ("texts", "factored"),
    [
        ([""], Factored(())),
        (["a\nb\n"], Factored(("a\nb\n",))),
        (["a\nb\n", "a\nb\n"], Factored(("a\nb\n",))),
        (["a\nb\n", "a\nc\n"], Factored(("a\n", 0, "\n"), (["b", "c"],), (2,))),
        (["b\na", "c\na", "b\nd"], Factored((0, "\n", 1), (["b", "c", "b"], ["a", "a", "d"]), (1, 2))),
        (["a\nx\nb\ny", "a\nx\nb\nz"], Factored(("a\nx\nb\n", 0), (["y", "z"],), (4,))),
        (["a\nb", "a\nb\n"], Factored((0,), (["a\nb", "a\nb\n"],), (0,))),
        (["1\r\n2\r\n", "1\r\n3\r\n"], Factored(("1\r\n", 0, "\n"), (["2\r", "3\r"],), (2,))),
    ],
)
def test_lines_that_vary_become_columns(texts: list[str], factored: Factored) -> None:
    assert factor(lambda: texts) == factored
    assert [put_together(factored, point) for point in range(len(texts))] == texts


def test_texts_are_asked_for_again_only_where_their_lines_are_not_as_many() -> None:
    asked = []

    def texts(*those: str) -> Iterator[str]:
        asked.append(those)
        yield from those

    factor(lambda: texts("a\nb", "a\nc"))
    assert len(asked) == 1
    factor(lambda: texts("a\nb", "a\nc", "a"))
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        ("in.nml.j2", "in.nml.j2", "in.nml"),
        ("../a/in.nml.j2", "../a/in.nml.j2", "in.nml"),
        ("mesh.dat", "mesh.dat", "mesh.dat"),
        ("mesh.dat:grid", "mesh.dat", "grid"),
        ("in.j2:run/re{re:.1f}.nml", "in.j2", "run/re{re:.1f}.nml"),
    ],
)
def test_what_is_asked_for(text: str, source: str, target: str) -> None:
    assert (inputs.source(text), inputs.target(text)) == (source, target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no file"),
        (":x", "names no file"),
        ("a:/b", "is not in the folder"),
        ("a:x/../../b", "is not in the folder"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        inputs.target(text)
    assert caught.value.hint


def test_the_files_of_a_round() -> None:
    def render(file: str) -> Iterable[str]:
        assert file in ("/w/in.nml.j2", "/data/other.j2")
        return ["a\n1\nb\n", "a\n2\nb\n"] if file == "/w/in.nml.j2" else ["x", "y\nz"]

    asked = ["in.nml.j2", "../data/mesh", "/data/other.j2:o"]
    made = inputs.make(asked, ["in.nml", "mesh", "o"], render, cwd="/w", first=4)
    assert made.files == (
        PointFile("in.nml", ("a\n", value(4), "\nb\n")),
        PointFile("mesh", link="/data/mesh"),
        PointFile("o", (value(5),)),
    )
    assert made.header == ("in.nml:2", "o")
    assert made.columns == (["1", "2"], ["x", "y\nz"])


# ---------------------------------------------------------------------------------- the templates


def template(folder: Path, source: str | bytes) -> InputTemplate:
    path = folder / "in.nml.j2"
    path.write_bytes(source if isinstance(source, bytes) else source.encode())
    return InputTemplate(path)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("re = {{ re }}\n", "re = 100\n"),
        ("{% for i in range(2) %}{{ i }} {{ dt | round(1) }}{% endfor %}", "0 0.31 0.3"),
        ("{% if fast %}\nyes\n{% endif %}\n{{ fast }}", "\nyes\n\ntrue"),
        ("<{{ '&' }}>\r\n{{ point }}\r\n", "<&>\r\n7\r\n"),
        ("{{ undefined | default('none') }}", "none"),
    ],
)
def test_all_of_the_language(tmp_path: Path, source: str, text: str) -> None:
    assert template(tmp_path, source).render({"re": 100, "dt": 0.26, "fast": True, "point": 7}) == text


def test_bytes_that_are_no_utf_8_and_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "head.txt").write_text("head {{ re }}\n")
    text = template(tmp_path, b"{% include 'head.txt' %}! caf\xe9\n").render({"re": 1})
    assert text.encode("utf-8", "surrogateescape") == b"head 1\n! caf\xe9\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{{ rey }}\n", r"/in.nml.j2:2: 'rey' is undefined"),
        ("a\n\n{% if %}\n", r"/in.nml.j2:3: Expected an expression"),
        ("{{ 1 // 0 }}", r"/in.nml.j2:1: .*by zero"),
        ("{{ ''.__class__ }}{{ ''.__class__.__mro__ }}", r"/in.nml.j2:1: .*unsafe"),
        ("{% include 'gone' %}", r"there is no .*/gone"),
    ],
)
def test_what_is_wrong_with_a_template(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message) as caught:
        template(tmp_path, source).render({"re": 1})
    assert caught.value.hint


def test_a_template_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TemplateError, match=r"there is no /nowhere/in\.j2"):
        InputTemplate("/nowhere/in.j2")
    (tmp_path / "in.j2").mkdir()
    with pytest.raises(TemplateError, match=r"there is no .*/in\.j2"):
        InputTemplate(tmp_path / "in.j2")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(TemplateError, match=r"in\.nml\.j2: Permission denied"):
        template(tmp_path, "")
