"""The example of the documentation runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples/python_api.py"


def test_the_python_example(home: Path) -> None:
    done = subprocess.run([sys.executable, EXAMPLE], check=True, capture_output=True, text=True, cwd=home)
    assert done.stdout == f"j1 is done: hello from {os.uname().nodename}\n"


def test_optuna_drives_a_study(home: Path) -> None:
    example = EXAMPLE.with_name("optuna_study.py")
    done = subprocess.run([sys.executable, example], check=True, capture_output=True, text=True, cwd=home)
    found = re.fullmatch(r"s1: 40 points, the lowest is (\S+) at \{'x': \S+, 'y': \S+\}\n", done.stdout)
    # Of 40 points that are drawn without looking, the best is below 1 in half of all cases; this asks for much less.
    assert found
    assert float(found[1]) < 5
