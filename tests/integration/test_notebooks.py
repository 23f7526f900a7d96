"""Notebooks as jobs of the real Slurm: papermill of the image, or shown to it; cells that fail; studies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration import person as people
from tests.integration.images import CLUSTER, tool
from tests.integration.person import Person

pytestmark = pytest.mark.integration
installed, person = people.installed, people.person
IMAGES = Path("/var/tmp/hpcjobs-jupyter-images")


@pytest.fixture(scope="session")
def images(slurm: Callable[..., str]) -> Path:
    """The images; they are kept between sessions."""
    tool(CLUSTER / "jupyter-images", IMAGES)
    return IMAGES


def notebook(*cells: str, tagged: str = "x = 1") -> str:
    """A notebook as Jupyter writes it, which was last run with a kernel that the image does not know."""

    def cell(source: str, tags: list[str]) -> dict[str, Any]:
        return {
            "cell_type": "code",
            "source": source,
            "metadata": {"tags": tags},
            "outputs": [],
            "execution_count": None,
        }

    kernel = {"name": "pytorch-2.7", "display_name": "PyTorch 2.7", "language": "python"}
    every = [cell(tagged, ["parameters"]), *(cell(source, []) for source in cells)]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": every})


def outputs(path: Path) -> list[Any]:
    """The text that each cell with an output left."""
    cells = json.loads(path.read_text())["cells"]
    return [out.get("text") or out.get("ename") for cell in cells for out in cell.get("outputs", ())]


@pytest.fixture(autouse=True)
def index(person: Person) -> None:
    """Where this machine's pip gets its packages."""
    known = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or "_proxy" in name.lower()}
    person.env.update(known)


@pytest.mark.parametrize("image", ["lab.sif", "kernel.sif", "kernel"], ids=["its own", "shown", "shown in a folder"])
def test_a_notebook_is_a_job(person: Person, images: Path, image: str) -> None:
    person.write("work/nb.ipynb", notebook("import only_inside\nprint(only_inside.where, x * 2)"))
    tool("chown", "hpc:", person.folder)
    submitted = person("submit", "--image", images / image, "--notebook", "work/nb.ipynb", "-p", "x=21", "-t", "5")
    label = submitted.stdout.strip()
    person("wait", label)
    (job,) = json.loads(person("status", label, "--json").stdout)["jobs"]
    assert outputs(person.folder / f"nb-{job['native_id']}.ipynb") == [["the image 42\n"]]
    assert "the image 42" in person("logs", label, "--error").stdout + person("logs", label).stdout
    assert job["name"] == "nb"


def test_what_fails_leaves_the_notebook_too(person: Person, images: Path) -> None:
    person.write("nb.ipynb", notebook("print('before', x)", "1 / 0", "print('never')"))
    tool("chown", "hpc:", person.folder)
    person("submit", "--image", images / "lab.sif", "--notebook", "nb.ipynb", "-t", "5", "--wait", code=1)
    (left,) = person.folder.glob("nb-*.ipynb")
    assert ["before 1\n"] in outputs(left)
    assert "ZeroDivisionError" in outputs(left)
    assert ["never\n"] not in outputs(left)


def test_a_study_of_a_notebook(person: Person, images: Path) -> None:
    cells = "import json\nprint(x * n)\njson.dump({'y': x * n}, open('y.json', 'w'))"
    person.write("nb.ipynb", notebook(cells, tagged="x = 1\nn = 1"))
    tool("chown", "hpc:", person.folder)
    options = ("--image", images / "lab.sif", "--notebook", "nb.ipynb", "-t", "5", "--result", "y.json")
    person("sweep", *options, "--grid", "x=1,2,3", "-p", "n=7", "--folder", "runs/{point}", "--wait", timeout=300)
    found = json.loads(person("sweep", "results", "s1", "--json").stdout)["columns"]
    assert found["y"] == [7, 14, 21]
    assert [outputs(person.folder / f"runs/{point}/nb-{point}.ipynb") for point in range(3)] == [
        [[f"{7 * x}\n"]] for x in (1, 2, 3)
    ]
