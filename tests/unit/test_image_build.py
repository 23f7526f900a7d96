"""The commands that build an image from a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.images.build import Recipe, recipe
from hpcjobs.images.convert import Tools

if TYPE_CHECKING:
    from pathlib import Path

    from hpcjobs.process import Completed


def never(*_: Any, **__: Any) -> Completed:
    raise AssertionError("nothing is run to plan a build")


def tools(*there: str) -> Tools:
    return Tools(never, lambda name: f"/bin/{name}" if name in there else None)


@pytest.fixture
def definition(tmp_path: Path) -> str:
    (tmp_path / "app.def").write_text("Bootstrap: docker\nFrom: alpine\n")
    return str(tmp_path / "app.def")


@pytest.fixture
def dockerfile(tmp_path: Path) -> str:
    (tmp_path / "Dockerfile").write_text("FROM alpine\n")
    return str(tmp_path / "Dockerfile")


def test_a_definition_is_built_by_apptainer(definition: str) -> None:
    found = recipe(definition, "/out/app.sif", "/w", tools("apptainer"))
    assert found == Recipe((("/bin/apptainer", "build", "/w/app.sif", definition),), "/w/app.sif", "sif")
    fake = recipe(definition, "/out/app.sif", "/w", tools("singularity"), fakeroot=True)
    assert fake.commands == (("/bin/singularity", "build", "--fakeroot", "/w/app.sif", definition),)


def test_a_definition_builds_sif_only(definition: str) -> None:
    with pytest.raises(PlanError, match=r"a \.def file builds a SIF image, not /out/app\.sqfs") as caught:
        recipe(definition, "/out/app.sqfs", "/w", tools("apptainer"))
    assert caught.value.hint == "write -o app.sif, then convert it"


def test_podman_is_preferred_and_asked_for_a_docker_archive(dockerfile: str, tmp_path: Path) -> None:
    tag = "localhost/hpcjob-build:app.sif.x1"
    found = recipe(dockerfile, "/out/app.sif", "/o/.App.sif.x1", tools("docker", "podman", "ch-image"))
    assert found == Recipe(
        (
            ("podman", "build", "--tag", tag, "--file", dockerfile, str(tmp_path)),
            ("podman", "save", "--format", "docker-archive", "--output", "/o/.App.sif.x1/image.tar", tag),
            ("podman", "rmi", tag),
        ),
        "/o/.App.sif.x1/image.tar",
        "docker-archive",
    )


@pytest.mark.parametrize(
    ("work", "tag"), [("/o/.My App+ü.sif.a_", "my-app--.sif.a_"), ("/o/.-x", "x"), (f"/o/.{'y' * 200}", "y" * 100)]
)
def test_the_name_of_the_target_may_be_any(dockerfile: str, work: str, tag: str) -> None:
    assert recipe(dockerfile, "a.sif", work, tools("podman")).commands[2] == (
        "podman",
        "rmi",
        f"localhost/hpcjob-build:{tag}",
    )


def test_docker_saves_no_other(dockerfile: str) -> None:
    found = recipe(dockerfile, "/out/app.sif", "/w", tools("docker"))
    assert found.commands[1] == ("docker", "save", "--output", "/w/image.tar", "localhost/hpcjob-build:w")


def test_charliecloud_builds_a_folder(dockerfile: str, tmp_path: Path) -> None:
    found = recipe(dockerfile, "/out/app.sqfs", "/w", tools("ch-image", "ch-convert"))
    assert found == Recipe(
        (
            ("ch-image", "build", "--tag", "localhost/hpcjob-build:w", "--file", dockerfile, str(tmp_path)),
            ("ch-convert", "--in-fmt", "ch-image", "--out-fmt", "dir", "localhost/hpcjob-build:w", "/w/image"),
        ),
        "/w/image",
        "directory",
    )


@pytest.mark.parametrize("name", ["Dockerfile", "Containerfile"])
def test_a_folder_with_a_recipe(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("FROM alpine\n")
    assert recipe(str(tmp_path), "a.sif", "/w", tools("podman")).commands[0][-2:] == (
        str(tmp_path / name),
        str(tmp_path),
    )


@pytest.mark.parametrize("there", [(), ("ch-image",)])
def test_nothing_builds_it(dockerfile: str, there: tuple[str, ...]) -> None:
    with pytest.raises(PlanError, match=f"nothing here builds {dockerfile}: podman, docker and ch-image") as caught:
        recipe(dockerfile, "a.sif", "/w", tools("apptainer", *there))
    assert "hpcjob image pull" in caught.value.hint


@pytest.mark.parametrize("name", ["nothing", "."])
def test_there_is_no_recipe(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError, match="there is no recipe") as caught:
        recipe(str(tmp_path / name), "a.sif", "/w", tools("podman"))
    assert caught.value.hint == "give app.def, a Dockerfile, or a folder with one"


def test_a_definition_needs_apptainer(definition: str) -> None:
    with pytest.raises(PlanError, match="neither is on PATH"):
        recipe(definition, "a.sif", "/w", tools("podman"))


@pytest.mark.parametrize("name", ["app.sif", "app.sqfs", "app.tar"])
def test_an_image_is_no_recipe(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PlanError, match="is an image, and no recipe") as caught:
        recipe(str(tmp_path / name), "new.sif", "/work", Tools(never))
    assert caught.value.hint == f"hpcjob image convert {tmp_path / name} new.sif"
