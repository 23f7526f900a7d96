"""Every host MPI with every container MPI, launcher and runtime, as an ordinary user and as root: plan and run agree.

docs/reference/mpi-matrix.md is this test's own output: `pytest tests/integration/test_mpi_matrix.py --bless`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import mpi_matrix
from tests.integration.mpi_matrix import HOST_MPIS, LAUNCHERS, Outcome

pytestmark = pytest.mark.integration
DOCUMENT = Path(__file__).parents[2] / "docs/reference/mpi-matrix.md"
USERS = ("hpc", "root")
Outcomes = dict[str, list[Outcome]]


def tool(*args: str | Path) -> None:
    done = subprocess.run(args, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def outcomes(slurm: Callable[..., str]) -> Iterator[Outcomes]:
    """All cells, run; it takes minutes."""
    mpi = mpi_matrix.CLUSTER / "mpi"
    tool(mpi, "hosts", mpi_matrix.HOSTS)
    tool(mpi, "images", mpi_matrix.IMAGES)
    tool(mpi, "slurm-up", mpi_matrix.SLURM)
    try:
        yield mpi_matrix.matrix(mpi_matrix.cells(), USERS, os.environ["SLURM_CONF"])
    finally:
        tool(mpi, "slurm-down", mpi_matrix.SLURM)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("host", HOST_MPIS)
def test_what_is_planned_happens(outcomes: Outcomes, host: str, launcher: str, user: str) -> None:
    cells = [
        each for each in outcomes[user] if (each.prepared.cell.host, each.prepared.cell.launcher) == (host, launcher)
    ]
    assert len(cells) == len(mpi_matrix.CONTAINER_MPIS) * len(mpi_matrix.RUNTIMES)
    assert [f"{each.prepared.cell.name}: {each.problem}" for each in cells if each.problem] == []


def test_each_way_is_taken_by_some(outcomes: Outcomes) -> None:
    assert {each.prepared.mode for each in outcomes["hpc"]} == {"bind", "hybrid", "refused"}


def test_the_published_table_is_this_output(outcomes: Outcomes, request: pytest.FixtureRequest) -> None:
    text = f"{_HEAD}\n{mpi_matrix.table(outcomes['hpc'] + outcomes['root'])}"
    if request.config.getoption("--bless"):
        DOCUMENT.write_text(text)
    assert DOCUMENT.read_text() == text


_HEAD = """\
# Tested combinations

<!-- Written by `pytest tests/integration/test_mpi_matrix.py --bless`: each cell is planned and then run. -->

Each cell is planned by hpcjob and then run, with Apptainer and with Charliecloud, as an ordinary user and as root: 588 runs
in each run of the tests. Rows are the MPIs of the host, columns those of the image.

- **bind**: the host's library ran in the container, and all ranks found each other.
- **hybrid**: the image's own did.
- **refused**: nothing would have worked. Run all the same, as without hpcjob, the ranks did not find each other, or MPI did
  not start, and the guard stopped the job before the program.

MPICH and Intel MPI start their ranks with `mpiexec` (hydra), Open MPI with `mpirun`, two on one machine. srun is that of Slurm
22.05 for `pmi2` and of 24.11 for `pmix`, one rank on each of two nodes.
"""
