"""Jupyter starts kernels whose Python lives only in an image, as an ordinary person's Jupyter does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration import images
from tests.integration import person as people
from tests.integration.images import CLUSTER, tool
from tests.integration.person import Installed, Person

pytestmark = pytest.mark.integration
installed, person, made = people.installed, people.person, images.made
IMAGES = Path("/var/tmp/hpcjobs-jupyter-images")
DRIVER = Path(__file__).parent / "kernel_driver.py"
FORMS = ["kernel.sif", "kernel", "kernel.sqfs"]


@pytest.fixture(scope="session")
def jupyter_images(slurm: Callable[..., str]) -> Path:
    """The images; they are kept between sessions."""
    tool(CLUSTER / "jupyter-images", IMAGES)
    return IMAGES


@pytest.fixture
def author(installed: Installed, person: Person, jupyter_images: Path) -> Person:
    """A person with a Jupyter that has no kernel."""
    people.add(installed, "jupyter_client")
    person.write(".keep", "")
    person.env["JUPYTER_DATA_DIR"] = str(person.folder / "jupyter")
    person.env["JUPYTER_RUNTIME_DIR"] = str(person.folder / "runtime")
    return person


def drive(author: Person, kernel: str) -> dict[str, Any]:
    driver = author.write("driver.py", DRIVER.read_text())
    (author.folder / "runtime").mkdir(exist_ok=True)
    tool("chown", "-R", "hpc:", author.folder / "runtime")
    done = author.run(author.installed.python, driver, kernel, PYTHONPATH=str(author.installed.folder / "lib"))
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def processes(word: str) -> list[str]:
    """Command lines of the person's processes that hold the word."""
    done = subprocess.run(["pgrep", "-u", "hpc", "-af", word], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


@pytest.mark.parametrize("form", FORMS)
def test_jupyter_starts_interrupts_and_ends_a_kernel(author: Person, form: str) -> None:
    said = author("kernel", "install", IMAGES / form, "--name", "Only Inside 1.0")
    folder = author.folder / "jupyter/kernels/only-inside-1.0"
    assert said.stdout == f"{folder}\n"
    assert "ipykernel 7" in said.stderr
    told = drive(author, "only-inside-1.0")
    where, folder_inside = told["cell"]["said"].split(" /")
    assert (where, told["cell"]["status"]) == ("the image", "ok")
    assert f"/{folder_inside.strip()}" in (str(author.folder), "/mnt/0")
    assert told["interrupted"] == "KeyboardInterrupt"
    assert told["after"] == {"said": "2\n", "status": "ok", "error": ""}
    assert told["shutdown_was_asked"]
    assert processes("ipykernel_launcher") == []
    assert not Path(f"/proc/{told['launcher_pid']}").exists()


def test_kernels_are_listed_checked_and_removed(author: Person) -> None:
    tool("chown", "hpc:", author.folder)
    tool("cp", IMAGES / "kernel.sif", author.folder / "mine.sif")
    author("kernel", "install", "mine.sif", "--name", "Mine", "--prefix", "env")
    folder = author.folder / "env/share/jupyter/kernels/mine"
    assert author("kernel", "check", "--prefix", "env").stdout == "mine: well\n"
    assert author("kernel", "list", "--prefix", "env").stdout.splitlines()[1].split("\t")[0] == "mine"
    assert author("kernel", "list").stderr.startswith("0 kernels")
    (author.folder / "mine.sif").unlink()
    said = author("kernel", "check", "mine", "--prefix", "env", code=1).stdout
    assert said == f"mine: there is no image {author.folder}/mine.sif\n"
    assert author("kernel", "remove", "mine", "--prefix", "env").stdout == f"{folder}\n"
    assert not folder.exists()


def test_an_image_without_a_kernel_is_refused(author: Person, made: Path) -> None:
    done = author("kernel", "install", IMAGES / "python.sif", "--name", "No", code=3)
    assert "has Python 3.11.2 without ipykernel" in done.stderr
    assert "RUN pip install ipykernel" in done.stderr
    small = author("kernel", "install", made / "app.sif", "--name", "No", code=3)
    assert "there is no Python, R or Julia on the PATH of the image" in small.stderr
    assert not (author.folder / "jupyter/kernels").exists()
