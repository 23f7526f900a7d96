"""Pages and the help text are those of this program; `--bless` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcjobs.cli import reference

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).parents[2]
FILES = reference.files()


@pytest.mark.parametrize("name", FILES)
def test_a_generated_file_is_up_to_date(name: str, golden: Callable[[Path, str], None]) -> None:
    golden(PROJECT / name, FILES[name])


def test_no_schema_is_left_over() -> None:
    there = {f"docs/reference/json/{file.name}" for file in (PROJECT / "docs/reference/json").iterdir()}
    assert there == {name for name in FILES if name.startswith("docs/reference/json/")}


def test_help_fits_a_terminal() -> None:
    assert max(map(len, reference.help_text().splitlines())) <= 80
