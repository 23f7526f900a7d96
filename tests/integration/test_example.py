"""The example of the documentation runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent.parent / "examples/python_api.py"


def test_the_python_example(home: Path) -> None:
    done = subprocess.run([sys.executable, EXAMPLE], check=True, capture_output=True, text=True, cwd=home)
    assert done.stdout == f"j1 is done: hello from {os.uname().nodename}\n"
