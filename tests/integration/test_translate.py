"""What is written for Slurm is what a real sbatch takes, and what it makes of it is what PBS was asked for."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from hpcjobs.translate import translate

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration

SCRIPTS = {
    "a select": (
        "#PBS -N wing -l select=2:ncpus=2:mpiprocs=1:ompthreads=2:mem=1gb -l place=scatter:excl\n#PBS -l walltime=00:10:30\n"
        "#PBS -j oe -m abe -M ada@example.org -r n -a 203001020304.05 -p -20 -v CASE=wing -W block=true\n",
        r"4 processors on nodes n\[",
    ),
    "chunks anywhere": ("#PBS -l select=4:ncpus=1:mem=200mb,walltime=90\n", r"4 processors on nodes n\["),
    "one node": (
        "#PBS -l select=2:ncpus=1:mpiprocs=1 -l place=pack\n#PBS -o out/ -e b.err\n",
        r"2 processors on nodes n\d ",
    ),
    "TORQUE": ("#PBS -l nodes=3:ppn=2,mem=3gb\n#PBS -t 1-4,9%2 -S /bin/sh -V -h\n", r"6 processors on nodes n\["),
    "GPUs": (
        "#PBS -q gpu -l select=1:ncpus=1:ngpus=2\n#PBS -J 0-9:3%2\n",
        r"1 processors on nodes n[34] in partition gpu",
    ),
    "a day": (
        "#PBS -q long -l walltime=24:00:00 -a 12312359\n#PBS -N x.y+z -A test\n",
        r"1 processors on nodes n\d in partition long",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_sbatch_takes_it(slurm: Callable[..., str], name: str) -> None:
    directives, expected = SCRIPTS[name]
    script = translate(f"#!/bin/bash\n{directives}cd $PBS_O_WORKDIR\ntrue\n", "slurm").script
    done = subprocess.run(
        ["sbatch", "--test-only"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, script + done.stderr
    assert re.search(expected, done.stderr), done.stderr
