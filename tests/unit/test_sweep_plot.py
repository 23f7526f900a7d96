"""Plots as text, letter by letter, and as pictures, which are read again."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.image import imread

from hpcjobs.errors import StoreError, UsageError
from hpcjobs.sweep.plot import Series, draw_text, save_picture, series
from hpcjobs.sweep.results import ResultTable

SOR = Series([100.0, 200.0, 400.0, 800.0], [2.4, 1.5, 0.9, 0.65], "method=sor")
CG = Series([100.0, 200.0, 400.0], [2.0, 1.2, 0.5], "method=cg")
TABLE = ResultTable({
    "re": [200, 100, 400, 800, 50],
    "drag": [2.0, 1, None, "inf", -1.5],
    "method": ["sor", "sor", "cg", True, None],
})  # fmt: skip
SVG = "{http://www.w3.org/2000/svg}"


def test_points_in_the_order_of_x() -> None:
    assert series(TABLE, "re", "drag") == [Series([50, 100, 200], [-1.5, 1, 2], "drag", left_out=2)]
    assert series(TABLE, "drag", "re", log_x=True) == [Series([1, 2], [100, 200], "re", left_out=3)]
    assert series(TABLE, "re", "drag", log_y=True) == [Series([100, 200], [1, 2], "drag", left_out=3)]
    assert series(ResultTable({"a": []}), "a", "a") == []


def test_a_series_for_each_value() -> None:
    assert series(TABLE, "re", "drag", "method") == [
        Series([100, 200], [1, 2], "method=sor"),
        Series([], [], "method=cg", left_out=1),
        Series([], [], "method=true", left_out=1),
        Series([50], [-1.5], "method="),
    ]


@pytest.mark.parametrize("words", [("rey", "drag"), ("re", "rey"), ("re", "drag", "rey")])
def test_a_column_that_is_not_there(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="the table has no column 'rey'") as caught:
        series(TABLE, *words)
    assert caught.value.hint == "did you mean re?"


def test_more_series_than_can_be_told_apart() -> None:
    table = ResultTable({"x": list(range(33))})
    with pytest.raises(UsageError, match="x has 33 values: more than 32 series cannot be told apart"):
        series(table, "x", "x", "x")
    assert len(series(ResultTable({"x": list(range(32))}), "x", "x", "x")) == 32


def drawn(text: str) -> str:
    """A drawing as it stands in a test: without the margin and the first line, which is empty."""
    return "\n".join(line[4:] for line in text.splitlines()[1:-1])


def test_a_plot() -> None:
    one = Series([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 4.0, 9.0, 16.0], "cost")
    assert draw_text([one], width=40, height=12, x="n", y="cost") == drawn("""
    cost
    20 +
       |                                   *
       |
    10 +
       |                          *
       |
       |                  *
     0 +*        *
       ++-----------------+----------------+
        0                 2                4
                         n
    """)


def test_series_have_marks_and_a_legend() -> None:
    assert draw_text([SOR, CG], width=44, height=14, x="re", y="drag") == drawn("""
    drag
    3 +
      |    *
    2 +    o
      |        *
      |        o
    1 +                *               *
      |                o
    0 +
      ++-------------------+-------------------+
       0                  500               1000
                          re
      * method=sor
      o method=cg
    """)


def test_marks_and_axes_in_unicode() -> None:
    text = draw_text([SOR, CG], width=44, height=14, x="re", y="drag", log_x=True, log_y=True, unicode=True)
    assert text == drawn("""
    drag
      5 ┤
        │
        │●
      2 ┤○
        │           ○
      1 ┤                       ●
        │                                  ●
    0.5 ┤                       ○
        └┬──────────┬───────────────┬──────────┬
        100        200             500      1000
                           re
      ● method=sor
      ○ method=cg
    """)


def test_few_points_have_marks_that_can_be_seen() -> None:
    few = Series([0.0, 1.0, 2.0], [0.0, 1.0, 4.0], "")
    assert draw_text([few], width=24, height=9, x="n", y="cost", unicode=True) == drawn("""
    cost
    4 ┤                    ●
      │
    2 ┤
      │          ●
    0 ┤●
      └┬─────────┬─────────┬
       0         1         2
                 n
    """)


def test_one_series_in_braille() -> None:
    times = [step / 10 for step in range(63)]
    wave = Series(times, [math.sin(time) for time in times], "")
    assert draw_text([wave], width=40, height=10, x="t", y="signal", unicode=True) == drawn("""
    signal
     1 ┤   ⡤⠚⠉⠙⠢⡄
       │ ⢀⠎     ⠈⢆
       │⡰⠁        ⠱⡀
     0 ┤           ⠘⠄        ⢠⠁
       │            ⠈⢆⡀     ⡔⠁
    -1 ┤              ⠑⠤⣀⣀⡤⠋
       └┬─────────────────┬────────────────┬
        0                 5               10
                         t
    """)


def test_many_decades() -> None:
    text = draw_text(
        [Series([1e-7, 1e-2, 1.0, 3e4], [1.0, 1e3, 1e6, 1e9], "")],
        width=60, height=16, x="dt", y="error", log_x=True, log_y=True,
    )  # fmt: skip
    assert text == drawn("""
    error
     1e9 +                                                   *
         |
         |
         |
     1e6 +                               *
         |
         |
    1000 +                      *
         |
         |
         |
       1 +*
         ++------------+------------+-------------+------------+
        1e-7        0.0001         0.1           100      100000
                                    dt
    """)


@pytest.mark.parametrize(
    ("log", "text"),
    [
        (False, """
    b
    15 +
       |
    10 +            *
       |
     5 +
       ++-----------+------------+
        0           5           10
                    a
    """),
        (True, """
    b
    20 +
       |
    10 +              *
       |
     5 +
       ++-------------+----------+
        2             5         10
                    a
    """),
    ],
)  # fmt: skip
def test_one_point_is_in_the_middle(log: bool, text: str) -> None:
    point = Series([5.0], [10.0], "")
    assert draw_text([point], width=30, height=9, x="a", y="b", log_x=log, log_y=log) == drawn(text)


def test_long_numbers_and_names_are_cut_to_fit() -> None:
    wide = Series([1.5e6, 3.5e6], [-2e-6, 3e-6], "")
    assert draw_text([wide], width=50, height=9, x="a\nb", y="b" * 60) == drawn("""
    bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
     5e-6 +
          |                                   *
        0 +
          |       *
    -5e-6 +
          ++-------------+-------------+-------------+
          1e6           2e6           3e6          4e6
                               a?b
    """)


def test_colours_are_those_of_the_series() -> None:
    text = draw_text([SOR, CG], width=44, height=14, x="re", y="drag", colour=lambda text, number: f"<{number}{text}>")
    assert text.count("<0*>") == 4 + 1
    assert text.count("<1o>") == 3 + 1
    assert "  <1o> method=cg" in text


# What a program may write: any finite number of at most 1e200.
NUMBERS = st.floats(-1e200, 1e200, exclude_min=True, exclude_max=True)
POSITIVE = st.floats(1e-200, 1e200, exclude_max=True)


@given(
    points=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=5)
    | st.lists(st.tuples(POSITIVE, POSITIVE), min_size=1, max_size=5),
    size=st.tuples(st.integers(40, 120), st.integers(10, 50)),
    log=st.booleans(),
    unicode=st.booleans(),
    twice=st.booleans(),
)
@example(points=[(0.0, 1.0), (5e-324, 1.0 + 2**-52)], size=(60, 20), log=False, unicode=True, twice=False)
@example(points=[(-1e200, 9.99e199), (9.99e199, 1e9)], size=(60, 20), log=False, unicode=True, twice=True)
@example(points=[(1e-200, 1e-200), (9.99e199, 9.99e199)], size=(40, 20), log=True, unicode=True, twice=False)
def test_any_points_fit_into_the_frame(
    points: list[tuple[float, float]], size: tuple[int, int], log: bool, unicode: bool, twice: bool
) -> None:
    table = ResultTable({"x": [x for x, _ in points], "y": [y for _, y in points]})
    found = [*series(table, "x", "y", log_x=log, log_y=log)] * (1 + twice)
    if not found[0].x:
        with pytest.raises(UsageError, match="nothing to draw"):
            draw_text(found, x="x", y="y", log_x=log, log_y=log)
        return
    marks: list[int] = []

    def note(text: str, number: int) -> str:
        marks.append(number)
        return text

    width, height = size
    text = draw_text(
        found, width=width, height=height, x="x", y="y", log_x=log, log_y=log, unicode=unicode, colour=note
    )
    assert max(map(len, text.split("\n"))) <= width
    assert len(text.split("\n")) == height
    assert len(marks) - (2 if twice else 0) in range(1, len(points) + 1)


@pytest.mark.parametrize("found", [[], [Series([], [], "a", left_out=3)], [Series([], [], "a"), Series([], [], "b")]])
def test_nothing_to_draw(found: list[Series], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to draw: no point has a number in re and in drag"):
        draw_text(found, x="re", y="drag")
    with pytest.raises(UsageError, match="nothing to draw"):
        save_picture(found, tmp_path / "a.png", x="re", y="drag")
    assert list(tmp_path.iterdir()) == []


BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)


def ink(path: Path, colour: tuple[int, int, int]) -> Any:
    """Where a picture has a colour."""
    pixels = imread(path)
    assert pixels.shape == (675, 1050, 4)
    return np.abs(pixels[:, :, :3] * 255 - np.array(colour)).max(axis=2) < 1


def test_ink_is_where_the_points_are(tmp_path: Path) -> None:
    apart = Series([0.0, 0.0, 1.0], [0.0, 0.0, 1.0], "")
    save_picture([apart], tmp_path / "a.png", x="re", y="drag")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    blue = ink(tmp_path / "a.png", BLUE)
    high, low = blue[:337], blue[337:]
    assert high[:, 525:].sum() == pytest.approx(low[:, :525].sum(), rel=0.2)
    assert high[:, 525:].sum() > 50
    # Two points have the same x: no line joins them to the third.
    assert (high[:, :525].sum(), low[:, 525:].sum()) == (0, 0)


def test_points_are_joined_if_each_has_an_x_of_its_own(tmp_path: Path) -> None:
    save_picture([Series([0.0, 1.0], [0.0, 1.0], "")], tmp_path / "a.png", x="re", y="drag")
    columns = ink(tmp_path / "a.png", BLUE).any(axis=0)
    first, last = columns.argmax(), len(columns) - columns[::-1].argmax() - 1
    assert columns[first : last + 1].mean() > 0.9
    assert last - first > 500


def test_an_svg_has_a_mark_for_each_point_and_says_what_they_are(tmp_path: Path) -> None:
    file = tmp_path / "a.svg"
    save_picture([SOR, CG], file, x="re $x_1", y="drag", title="_s4", log_x=True, log_y=True)
    root = ET.fromstring(file.read_text("utf-8"))  # noqa: S314 - it is ours
    groups = {group.get("id"): group for group in root.iter(f"{SVG}g")}
    assert [len(list(groups[f"series-{n}"].iter(f"{SVG}use"))) for n in (0, 1)] == [4, 3]
    words = {text.text for text in root.iter(f"{SVG}text")}
    assert {"re $x_1", "drag", "_s4", "method=sor", "method=cg"} <= words


def test_the_same_points_make_the_same_file(tmp_path: Path) -> None:
    for suffix in ("svg", "png"):
        for name in ("a", "b"):
            save_picture([SOR, CG], tmp_path / f"{name}.{suffix}", x="re", y="drag")
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_as_many_series_as_can_be_told_apart_have_room(tmp_path: Path) -> None:
    crowd = [Series([1.0, 2.0], [float(n), 1.0], f"_{n}" + "m" * 80) for n in range(32)]
    save_picture(crowd, tmp_path / "a.svg", x="re", y="drag")
    root = ET.fromstring((tmp_path / "a.svg").read_text("utf-8"))  # noqa: S314 - it is ours
    assert sum((text.text or "").startswith("_") for text in root.iter(f"{SVG}text")) == 32


def test_many_points_are_drawn_small(tmp_path: Path) -> None:
    for name, many in (("few", 499), ("many", 500)):
        save_picture([Series([1.0] * many, [1.0] * many, "")], tmp_path / f"{name}.png", x="re", y="drag")
    assert 0 < ink(tmp_path / "many.png", BLUE).sum() < ink(tmp_path / "few.png", BLUE).sum()


@pytest.mark.parametrize("log", [False, True])
def test_the_widest_ranges_and_odd_names(tmp_path: Path, log: bool) -> None:
    # A warning of matplotlib would be an error here.
    wide = Series([1e-200, 1.0, 9.99e199], [9.99e199, 1e-200, 1e-200], "")
    narrow = Series([0.0, 5e-324], [1.0, 1.0 + 2**-52], "")
    for number, each in enumerate([wide] if log else [wide, narrow]):
        save_picture([each], tmp_path / f"{number}.svg", x="a\n\0", y="b" * 99, title="\x1b[1m", log_x=log, log_y=log)
        words = {text.text for text in ET.parse(tmp_path / f"{number}.svg").iter(f"{SVG}text")}  # noqa: S314 - ours
        assert {"a??", "b" * 40, "?[1m"} <= words


@pytest.mark.parametrize(("name", "said"), [("a.pdf", ".pdf names"), ("png", "no suffix names")])
def test_other_pictures_are_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"{said} no kind of picture") as caught:
        save_picture([SOR], tmp_path / name, x="re", y="drag")
    assert caught.value.hint == "end it in .png or .svg"


def test_pictures_need_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="needs matplotlib, which is not installed") as caught:
        save_picture([SOR], tmp_path / "a.png", x="re", y="drag")
    assert caught.value.hint == "pip install 'hpcjobs[plot]', or leave out --to to see it in the terminal"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"a\.png cannot be written: No such file or directory"):
        save_picture([SOR], tmp_path / "no" / "a.png", x="re", y="drag")
