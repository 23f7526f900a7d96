"""Put the stub programs on a PATH."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

PROGRAMS = {
    "shifter": "shifter",
    "shifterimg": "shifterimg",
    "sarus": "sarus",
    "srun": "srun",
    "enroot": "enroot",
    "docker": "docker",
    "podman-hpc": "podman_hpc",
    "singularity": "singularity",
}


def install(folder: Path) -> None:
    """Write a wrapper for each stub into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, module in PROGRAMS.items():
        stub = Path(__file__).resolve().parent / "programs" / f"{module}.py"
        wrapper = folder / name
        # -S: nothing of the site's packages is needed, and start-up is a third of the time.
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {shlex.quote(str(stub))} "$@"\n', "utf-8")
        wrapper.chmod(0o755)
