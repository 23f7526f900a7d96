"""Existing scripts and what they become, as text to read: `CASE.slurm` or `CASE.pbs` is translated to each dialect.

`CASE.slurm.to-openpbs` is the script, and behind a line of dashes stands what was told. `pytest --bless` writes them.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcjobs.translate import translate

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent / "translate"
TARGETS = {".slurm": ("openpbs", "torque"), ".pbs": ("slurm",)}
CASES = [(file.name, target) for file in sorted(HERE.iterdir()) for target in TARGETS.get(file.suffix, ())]


def _translate(name: str, target: str) -> tuple[str, str]:
    text = (HERE / name).read_bytes().decode()
    found = translate(text, "slurm" if target == "slurm" else "pbs", "" if target == "slurm" else target)
    told = "".join(f"line {note.line}: {note.text}\n  {note.kind}: {note.advice}\n" for note in found.notes)
    return found.script, told


@pytest.mark.parametrize(("name", "target"), CASES)
def test_translate(golden: Callable[[Path, str], None], name: str, target: str) -> None:
    golden(HERE / f"{name}.to-{target}", "{}----\n{}".format(*_translate(name, target)))


@pytest.mark.parametrize(("name", "target"), [case for case in CASES if "python" not in case[0]])
def test_bash_reads_it(name: str, target: str) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=_translate(name, target)[0], text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_file_is_left_over() -> None:
    expected = {f"{name}.to-{target}" for name, target in CASES}
    assert {file.name for file in HERE.iterdir() if ".to-" in file.name} == expected
