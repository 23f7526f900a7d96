from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from hpcjobs import units
from hpcjobs.errors import UsageError
from hpcjobs.units import Duration, Memory


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 5400),
        ("90", 5400),
        ("30:15", 1815),
        ("02:00:00", 7200),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:30:05", 131_405),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("1d 2h", 93_600),
        ("45s", 45),
        ("10min", 600),
        (Duration(7), 7),
    ],
)
def test_duration(text: str | int, seconds: int) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "1:2:3:4", "-5", "1-", "2x", "0h"])
def test_duration_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time") as caught:
        Duration.parse(text)
    assert "02:00:00" in caught.value.hint


@pytest.mark.parametrize(("seconds", "text"), [(61, "00:01:01"), (86_399, "23:59:59"), (90_061, "1-01:01:01")])
def test_duration_as_slurm_writes_it(seconds: int, text: str) -> None:
    assert str(Duration(seconds)) == text
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 << 30), ("512", 512 << 20), (512, 512 << 20), ("1.5k", 1536), ("4GiB", 4 << 30), (Memory(5), 5)],
)
def test_memory(text: str | int, size: int) -> None:
    assert Memory.parse(text) == size


@pytest.mark.parametrize("text", ["", "0", "much", "4X", "-1G"])
def test_memory_refuses(text: str) -> None:
    with pytest.raises(UsageError, match="is not an amount of memory"):
        Memory.parse(text)


@pytest.mark.parametrize(("size", "text"), [(4 << 30, "4G"), (1536 << 20, "1536M"), (1, "1K"), (0, "0K"), (1025, "2K")])
def test_memory_as_slurm_writes_it(size: int, text: str) -> None:
    assert str(Memory(size)) == text


def test_mebibytes_are_rounded_up() -> None:
    assert Memory((1 << 20) + 1).mebibytes == 2


def test_pydantic_reads_and_writes_them() -> None:
    adapter = TypeAdapter(Duration)
    assert adapter.validate_python("2h") == 7200
    assert adapter.dump_json(Duration(7200)) == b'"02:00:00"'
    assert "string" in adapter.json_schema()["type"]
    assert "4G" in TypeAdapter(Memory).json_schema()["examples"]


@pytest.mark.parametrize("value", [True, 1.5, "soon"])
def test_pydantic_refuses(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(value)


@pytest.mark.parametrize(
    ("text", "indices"),
    [("0-3", (0, 1, 2, 3)), ("7,1,1", (1, 7)), ("0-20:5", (0, 5, 10, 15, 20)), ("3, 5-6", (3, 5, 6))],
)
def test_indices(text: str, indices: tuple[int, ...]) -> None:
    assert units.parse_indices(text) == indices


@pytest.mark.parametrize("text", ["", "a", "3-1", "0-9:0", "1,,2", "0-99999999", "-1"])
def test_indices_refuse(text: str) -> None:
    with pytest.raises(UsageError, match="is not a set of indices"):
        units.parse_indices(text)


@pytest.mark.parametrize(("indices", "text"), [((0, 1, 2, 7), "0-2,7"), ((), ""), ((5,), "5"), ((3, 2), "2-3")])
def test_format_indices(indices: tuple[int, ...], text: str) -> None:
    assert units.format_indices(indices) == text


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("debgu", ["debug", "long"], "did you mean debug?"),
        ("x", [], "there is none"),
        ("x", ["debug"], "there is debug"),
        ("x", ["debug", "long"], "there are debug, long"),
        ("x", [f"partition{n:02}" for n in range(20)], "…"),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    assert units.nearest(name, known).endswith(hint)


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (200_000, "2d")])
def test_age(seconds: float, text: str) -> None:
    assert units.age(seconds) == text
