"""A site's own recipe on the real Slurm, and what happens without the guard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcjobs.image_service import QUIET
from hpcjobs.model import Site
from hpcjobs.mpi.facts import MpiHost
from hpcjobs.mpi_service import Mpi
from hpcjobs.process import run as really_run
from hpcjobs.site import mpilock
from tests.integration import mpi_matrix
from tests.integration import person as people
from tests.integration.images import CLUSTER, tool
from tests.integration.person import Done, Person

pytestmark = pytest.mark.integration
installed, person = people.installed, people.person

IMAGES = mpi_matrix.IMAGES
TWO_BY_TWO = ("-N", "2", "--ntasks-per-node", "2")
SITE = "extends: testbed\nruntimes: [{kind: apptainer}, {kind: charliecloud}]\n"


@pytest.fixture(scope="session", autouse=True)
def mpi_images(slurm: Callable[..., str]) -> None:
    tool(CLUSTER / "mpi", "hosts", mpi_matrix.HOSTS)
    tool(CLUSTER / "mpi", "images", IMAGES)


@pytest.fixture(scope="session")
def host(slurm: Callable[..., str]) -> MpiHost:
    """This machine."""
    return Mpi(Site(name="here"), None, really_run, QUIET).probe()


@pytest.fixture
def site(person: Person, host: MpiHost) -> Path:
    """The test cluster's, with its lock file beside it."""
    person.write("site.mpi.lock.yaml", mpilock.dump(host))
    return person.write("site.yaml", SITE)


def submit(person: Person, site: Path, image: str, *args: str | Path, code: int | None = 0) -> Done:
    return person("submit", "--site-file", site, "--wait", "--image", IMAGES / image, *args, code=code)


def output(person: Person) -> list[str]:
    return person("logs", "last").stdout.splitlines()


def test_without_the_guard_they_are_copies_that_end_well(person: Person, site: Path) -> None:
    options = (*TWO_BY_TWO, "--mpi", "pmi2", "--mpi-check", "never")
    submit(person, site, "trixie-openmpi.sif", *options, "--", "/opt/mpihello")
    assert len([line for line in output(person) if line.startswith("rank 0 of 1 ")]) == 4


@pytest.fixture
def only_on_n1(slurm: Callable[..., str]) -> Iterator[Path]:
    """A folder in memory that the login node and n1 have, each its own, and n2 has not."""
    place = Path("/dev/shm") / f"hpcjobs-test-mpi-{os.getpid()}"
    on_n1 = ("nsenter", "--mount", "--target", slurm("pid", "n1").strip())
    try:
        for enter in ((), on_n1):
            tool(*enter, "install", "-d", "-m", "755", place)
        yield place
    finally:
        for enter in ((), on_n1):
            tool(*enter, "rm", "-rf", place)


def test_a_node_that_lacks_what_a_recipe_binds_is_named(person: Person, host: MpiHost, only_on_n1: Path) -> None:
    person.write("site.mpi.lock.yaml", mpilock.dump(host))
    recipe = f"mpi: {{bind: ['{only_on_n1}:/extra'], env: {{LD_LIBRARY_PATH: /extra}}}}\n"
    site = person.write("site.yaml", SITE + recipe)
    options = (*TWO_BY_TWO, "--directive=--nodelist=n1,n2", "--mpi", "bind")
    done = submit(person, site, "trixie-mpich.sif", *options, "--", "/opt/mpihello", code=1)
    assert "warning: the site's recipe (mpi.bind): nothing that it binds is called libmpich.so.12" in done.stderr
    assert f"hpcjob: there is no {only_on_n1}, which the host's MPI needs, on node n2" in done.stderr
