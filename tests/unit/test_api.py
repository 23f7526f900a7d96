"""What the Python API does with images; its jobs are run by examples/python_api.py."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import HpcjobError, Job, api, image_service
from tests.unit.test_images import sif
from tests.unit.test_mpi_image import app, tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hpcjobs.images.reference import Reference

NAME = "docker://ghcr.io/lab/app:1"


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, ...]]:
    """What is asked of the images of the site `local`; nothing is downloaded."""
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path))
    calls: list[tuple[str, ...]] = []

    def fake(answer: str) -> Callable[..., Any]:
        def pull(self: image_service.Images, asked: Reference, *form: str) -> tuple[str, str]:
            calls.append((self._site.name, str(asked), *form))
            return answer, "sha256:0"

        return pull

    monkeypatch.setattr(image_service.Images, "pull", fake("/images/app"))
    monkeypatch.setattr(image_service.Images, "pull_for_site", fake("docker://ghcr.io/lab/app@sha256:0"))
    return calls


def test_an_image_is_pulled_as_the_site_s_runtime_takes_it(pulled: list[tuple[str, ...]]) -> None:
    assert api.pull_image(NAME, site="local") == "docker://ghcr.io/lab/app@sha256:0"
    assert api.pull_image(NAME, site="local", form="squashfs") == "/images/app"
    assert pulled == [("local", NAME), ("local", NAME, "squashfs")]


def test_an_image_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    image = tmp_path / "app.sif"
    image.write_bytes(sif(b"02"))
    seen = api.inspect_image(str(image))
    digest = f"sha256:{hashlib.sha256(image.read_bytes()).hexdigest()}"
    assert (seen.format, seen.arch, seen.digest) == ("sif", "x86_64", digest)
    with pytest.raises(HpcjobError, match="there is no image"):
        api.inspect_image(str(tmp_path / "none.sif"))


def test_how_mpi_would_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    image = tree(tmp_path / "app", {"opt/solve": app(undefined=())})
    site = tmp_path / "alps.yaml"
    site.write_text("scheduler: {kind: slurm}\nlauncher: {kind: srun}\nruntimes: [{kind: apptainer}]\n")
    job = Job(image=str(image), ntasks=2, command=("/opt/solve",))
    decided = api.mpi_plan(job, site_file=str(site))
    assert (decided.mode, decided.why) == ("none", "the program has no MPI")
    assert decided.warnings == ("the program has no MPI: 2 copies of it run",)
