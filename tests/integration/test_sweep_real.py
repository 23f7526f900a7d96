"""A parameter study of a real solver in a container on the real Slurm, as an ordinary person runs it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from pyarrow import parquet

from tests.integration import person as people
from tests.integration.images import CLUSTER, tool
from tests.integration.mpi_matrix import IMAGES
from tests.integration.person import Installed, Person

pytestmark = pytest.mark.integration
installed, person = people.installed, people.person

POINTS, PACK = 17 * 12, 17
# A Lennard-Jones fluid of 108 atoms in reduced units. One point begins with what its owner has prepared.
MELT = """\
units lj
include {{ "../../liquid.in" if (density, temperature) == (0.7, 1.0) else "lattice.in" }}
mass 1 1.0
velocity all create {{ temperature }} 87287
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0
fix thermostat all nvt temp {{ temperature }} {{ temperature }} 0.1
thermo 100
thermo_style custom step temp pe press
run 200
variable energy equal pe
variable pressure equal press
print "energy: ${energy}"
print '{"pressure": ${pressure}}' file result.json
"""
LATTICE = """\
lattice fcc ${density}
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
"""
RESULTS = ("--result", r"energy=log.lammps:/^energy: (\S+)/", "--result", "result.json")
COMMAND = ("lmp", "-in", "in.melt", "-var", "density", "{density}")


@pytest.fixture(scope="session")
def lammps(slurm: Callable[..., str]) -> Path:
    """The image; it is kept between sessions."""
    tool(CLUSTER / "mpi", "images", IMAGES)
    return IMAGES / "bookworm-lammps"


@pytest.fixture
def author(installed: Installed, person: Person) -> Person:
    """A person with the input files, and with what writes Parquet and draws."""
    people.add(installed, "pyarrow", "matplotlib")
    person.write("in.melt.j2", MELT)
    person.write("lattice.in", LATTICE)
    return person


def submit(author: Person, image: Path, grid: Sequence[str], *more: str) -> str:
    options = ("--site", "testbed", "--image", image, "-t", "1", "--input", "in.melt.j2", "--input", "lattice.in")
    designs = (word for each in grid for word in ("--grid", each))
    return author("sweep", *options, *designs, *RESULTS, *more, "--", *COMMAND).stdout.strip()


def ends(author: Person) -> list[list[str]]:
    """The ends of points that were recorded, as words."""
    files = (author.home / "jobs").glob("*/ends/*")
    return [line.split() for file in files for line in file.read_text().splitlines() if line.startswith("p ")]


def test_a_study_with_one_point_that_fails_has_all_results_after_resubmit(author: Person, lammps: Path) -> None:
    grid = ("density=linspace(0.1,0.7,17)", "temperature=linspace(1.0,2.1,12)")
    packing = ("--pack", str(PACK), "--workers", "2")
    assert submit(author, lammps.with_suffix(".sif"), grid, *packing) == "s1"
    author("wait", "s1", code=1)
    failed = json.loads(author("status", "s1[failed]", "--json").stdout)["points"]
    assert len(failed) == 1, "\n".join(author("logs", point["id"]).stdout for point in failed)
    assert f"{POINTS - 1}/{POINTS} done, 1 failed" in author("status", "s1").stdout
    (bad,) = failed
    assert bad["parameters"] == {"density": 0.7, "temperature": 1.0}
    assert bad["exit_code"] == 1
    assert "liquid.in" in author("logs", bad["id"]).stdout

    author.write("liquid.in", LATTICE + "displace_atoms all random 0.05 0.05 0.05 4711\n")
    author("resubmit", "s1", "--failed")
    author("wait", "s1")
    (study,) = json.loads(author("status", "s1", "--json").stdout)["studies"]
    assert (study["state"], study["states"]) == ("done", {"done": POINTS})
    assert len(study["jobs"]) == 2
    ran = sorted(int(words[2]) for words in ends(author))
    assert ran == sorted([*range(POINTS), bad["point"]])

    author("sweep", "results", "s1", "--to", "table.parquet")
    author("sweep", "results", "s1", "--to", "table.csv")
    table = parquet.read_table(author.folder / "table.parquet").to_pydict()
    assert table["point"] == list(range(POINTS))
    assert set(table["state"]) == {"done"}
    assert [n for n in range(POINTS) if table["attempts"][n] == 2] == [bad["point"]]
    assert not any(value is None for column in table.values() for value in column)
    with (author.folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["energy"]) for row in rows] == table["energy"]
    assert [float(row["pressure"]) for row in rows] == table["pressure"]

    def mean(result: str, by: str) -> list[float]:
        pairs = list(zip(table[by], table[result], strict=True))
        return [fmean(found for value, found in pairs if value == each) for each in sorted(set(table[by]))]

    assert all(after < before < 0 for before, after in pairwise(mean("energy", "density"))), "atoms attract each other"
    cold, *_, hot = mean("energy", "temperature")
    assert cold < hot
    cold, *_, hot = mean("pressure", "temperature")
    assert cold < hot

    axes = ("--x", "density", "--y", "energy")
    author("sweep", "plot", "s1", *axes, "--by", "temperature", "--to", "energy.png")
    assert (author.folder / "energy.png").read_bytes().startswith(b"\x89PNG")
    assert "density" in author("sweep", "plot", "s1", *axes).stdout
    assert author("sweep", "list").stdout.splitlines()[-1].startswith("s1")


@pytest.mark.parametrize("form", ["", ".sif"])
@pytest.mark.parametrize("packing", [(), ("--pack", "2")], ids=["unpacked", "packed"])
def test_input_files_are_seen_in_the_container(
    author: Person, lammps: Path, form: str, packing: tuple[str, ...]
) -> None:
    image = lammps.with_suffix(form)
    submit(author, image, ("density=0.2,0.3", "temperature=1.5"), *packing, "--wait")
    found = json.loads(author("sweep", "results", "s1", "--json").stdout)["columns"]
    assert found["energy"][1] < found["energy"][0] < 0
