"""How an image is built from a recipe: the commands, here or in a job."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.images.convert import FORMS, Form, form_of

if TYPE_CHECKING:
    from hpcjobs.images.convert import Tools

_DOCKERFILES = ("Dockerfile", "Containerfile")
# Builders of Dockerfiles that can write a docker archive, the preferred first.
_BUILDERS = ("podman", "docker")


@dataclass(frozen=True)
class Recipe:
    """The commands that build, and what they leave: `made`, which has the form `form`."""

    commands: tuple[tuple[str, ...], ...]
    made: str
    form: Form


def recipe(source: str, target: str, work: str, tools: Tools, *, fakeroot: bool = False) -> Recipe:
    """How to build `target` from a .def file, a Dockerfile, or a folder with one; what is between lies in `work`.

    Raises:
        NotFoundError: there is no such recipe.
        PlanError: nothing here can build it.
    """
    path = Path(source)
    if path.is_dir():
        path = next((path / name for name in _DOCKERFILES if (path / name).is_file()), path)
    if not path.is_file():
        raise NotFoundError(f"there is no recipe {source}", hint="give app.def, a Dockerfile, or a folder with one")
    if path.suffix in FORMS:
        raise PlanError(f"{source} is an image, and no recipe", hint=f"hpcjob image convert {source} {target}")
    if path.suffix == ".def":
        return _definition(path, target, work, tools, fakeroot=fakeroot)
    return _dockerfile(path, work, tools)


def _definition(path: Path, target: str, work: str, tools: Tools, *, fakeroot: bool) -> Recipe:
    if form_of(target) != "sif":
        raise PlanError(f"a .def file builds a SIF image, not {target}", hint="write -o app.sif, then convert it")
    made = f"{work}/{Path(target).name}"
    options = ("--fakeroot",) if fakeroot else ()
    return Recipe(((tools.apptainer("a .def file is built"), "build", *options, made, str(path)),), made, "sif")


def _dockerfile(path: Path, work: str, tools: Tools) -> Recipe:
    archive = f"{work}/image.tar"
    # A tag has at most 128 of these characters, and none of `.-` at its begin.
    name = re.sub(r"[^a-z0-9_.-]", "-", Path(work).name.lower())[-100:].lstrip(".-")
    tag = f"localhost/hpcjob-build:{name}"
    context = str(path.parent)
    for builder in _BUILDERS:
        if tools.which(builder):
            save = ("--format", "docker-archive") if builder == "podman" else ()
            return Recipe(
                (
                    (builder, "build", "--tag", tag, "--file", str(path), context),
                    (builder, "save", *save, "--output", archive, tag),
                    (builder, "rmi", tag),
                ),
                archive,
                "docker-archive",
            )
    if tools.which("ch-image") and tools.which("ch-convert"):
        folder = f"{work}/image"
        return Recipe(
            (
                ("ch-image", "build", "--tag", tag, "--file", str(path), context),
                ("ch-convert", "--in-fmt", "ch-image", "--out-fmt", "dir", tag, folder),
            ),
            folder,
            "directory",
        )
    raise PlanError(
        f"nothing here builds {path}: podman, docker and ch-image are not on PATH",
        hint="write a .def file for Apptainer, or build it elsewhere and pull it: hpcjob image pull docker://…",
    )
