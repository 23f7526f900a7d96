from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import process
from hpcjobs.errors import NotFoundError, PlanError, UnreachableError
from hpcjobs.images import facts as images
from hpcjobs.model import ImageFacts
from hpcjobs.process import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ELF_ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
ELF_S390 = b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x02\x00\x16"


def sif(arch: bytes) -> bytes:
    """A header without data objects (github.com/apptainer/sif, pkg/sif/sif.go)."""
    head = b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0" + b"01\0" + arch + b"\0" + bytes(16)
    return head + struct.pack("<8q", 0, 0, 1, 1, 128, 585, 713, 0) + bytes(585)


def test_no_image() -> None:
    assert images.inspect("") == ImageFacts("")


@pytest.mark.parametrize("name", ["docker://ubuntu:24.04", "oras://ghcr.io/a/b", "docker-archive://x"])
def test_reference_is_left_to_the_plan(name: str) -> None:
    assert images.inspect(name) == ImageFacts(name, "reference")


@pytest.mark.parametrize(("code", "arch"), [(b"02", "x86_64"), (b"04", "aarch64"), (b"06", "ppc64le"), (b"99", "")])
def test_sif(tmp_path: Path, code: bytes, arch: str) -> None:
    file = tmp_path / "app.sif"
    file.write_bytes(sif(code))
    facts = images.inspect(str(file))
    assert facts == ImageFacts(str(file), "sif", arch, stamp=f"713.{int(file.stat().st_mtime)}")


def test_what_is_cut_short_is_refused(tmp_path: Path) -> None:
    for name, content in (("app.sif", sif(b"02")[:-1]), ("app.sqfs", b"hsqs" + bytes(36) + b"\xff\1" + bytes(400))):
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(PlanError, match=f"{name} is cut short: "):
            images.inspect(str(file))


@pytest.mark.parametrize(
    ("content", "looks", "advice"),
    [
        (b"", "it is empty", "make it again"),
        (bytes(257) + b"ustar\0" + bytes(300), "it is a tar archive", "hpcjob image convert "),
        (b"\x1f\x8b\x08" + bytes(600), "it is compressed with gzip", "hpcjob image convert"),
        (b"#!/bin/sh\n", "it is a program", "after --"),
        (ELF_ARM, "it is a program", "after --"),
        (b"hello", "no known kind", ".sif files, squashfs files, and directories"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, looks: str, advice: str) -> None:
    file = tmp_path / "app"
    file.write_bytes(content)
    with pytest.raises(PlanError, match=looks) as caught:
        images.inspect(str(file))
    assert advice in caught.value.hint


def test_absent_image_names_one_like_it(tmp_path: Path) -> None:
    (tmp_path / "solver.sif").touch()
    with pytest.raises(NotFoundError, match=r"there is no image .*/solvr\.sif") as caught:
        images.inspect(str(tmp_path / "solvr.sif"))
    assert caught.value.hint == f"in {tmp_path}: did you mean solver.sif?"


def test_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        images.inspect(str(tmp_path / "no" / "app.sif"))
    assert caught.value.hint == f"there is no folder {tmp_path / 'no'} either"


@pytest.mark.parametrize(
    ("image", "hint"),
    [
        ("ghcr.io/a/app:1", "for a name in a registry, write docker:// before it"),
        ("nothing/app.sif", "there is no folder nothing either"),
    ],
)
def test_an_absent_image_may_be_meant_as_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFoundError) as caught:
        images.inspect(image)
    assert caught.value.hint == hint


def test_a_folder_beside_it_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(NotFoundError) as caught:
        images.inspect(f"{tmp_path}/app.sif")
    assert caught.value.hint == f"the folder {tmp_path} cannot be read"


def test_a_device_is_no_image() -> None:
    with pytest.raises(PlanError, match="/dev/null is no file and no folder"):
        images.inspect("/dev/null")


def test_unreadable_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "app.sif"
    file.touch()

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(PlanError, match="cannot be read: Permission denied") as caught:
        images.inspect(str(file))
    assert caught.value.hint.startswith("see: ls -ld ")


# --------------------------------------------------------------------------------------- directories


def test_directory(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "ch").mkdir()
    (tmp_path / "ch/environment").touch()
    (tmp_path / "bin").symlink_to("/usr/bin")
    (tmp_path / "home").symlink_to("/nowhere")
    (tmp_path / "usr/bin/busybox").write_bytes(ELF_ARM)
    (tmp_path / "usr/bin/sh").symlink_to("/usr/bin/busybox")
    facts = images.inspect(str(tmp_path), targets=("/usr", "/data", "/home"))
    assert facts.kind == "directory"
    assert facts.missing == ("/data",)
    assert facts.environment


@pytest.mark.parametrize(("content", "arch"), [(ELF_ARM, "aarch64"), (ELF_S390, "s390x"), (b"#!/bin/x\n", "")])
def test_directory_tells_its_cpu(tmp_path: Path, content: bytes, arch: str) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(content)
    (tmp_path / "bin/sh").symlink_to("/bin/busybox")
    assert images.inspect(str(tmp_path)).arch == arch


def test_folder_that_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is a folder, and not a container image"):
        images.inspect(str(tmp_path))


# ------------------------------------------------------------------------------------------ squashfs

LISTING = """
drwxr-xr-x root/root                27 2026-11-21 01:36 /ch
-rw-r--r-- root/root                 0 2026-11-21 01:36 /ch/environment
drwxr-xr-x root/root                 3 2026-11-21 01:36 /mnt/0
lrwxrwxrwx root/root                 7 2026-11-21 01:36 /home -> usr/home
"""


def squashfs(tmp_path: Path) -> str:
    file = tmp_path / "app.sqfs"
    file.write_bytes(b"hsqs" + bytes(600))
    return str(file)


class Answer:
    """A runner that gives one answer and keeps what was asked."""

    def __init__(self, code: int = 0, out: str = "") -> None:
        self.code, self.out = code, out
        self.argv: tuple[str, ...] = ()

    def __call__(self, argv: Sequence[str], **_: Any) -> Completed:
        self.argv = tuple(argv)
        return Completed(self.argv, self.code, self.out, "")


@pytest.fixture
def unsquashfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/unsquashfs")


@pytest.mark.usefixtures("unsquashfs")
def test_squashfs_lists_what_is_asked_for(tmp_path: Path) -> None:
    image, runner = squashfs(tmp_path), Answer(out=LISTING)
    facts = images.inspect(image, targets=("/mnt/0", "/data", "/home/u"), runner=runner)
    assert replace(facts, stamp="") == ImageFacts(image, "squashfs", missing=("/data",), environment=True)
    assert runner.argv[:5] == ("unsquashfs", "-ll", "-n", "-d", "")
    asked, loaders = runner.argv[6:], ("lib/ld", "lib64/ld", "usr/lib/ld", "usr/lib64/ld")
    assert runner.argv[5] == image
    assert [name for name in asked if not name.startswith(loaders)] == ["ch/environment", "data", "home/u", "mnt/0"]


def _loader(*names: str) -> str:
    return "".join(f"lrwxrwxrwx 0/0 7 2026-11-21 01:36 /{name} -> elsewhere\n" for name in names)


@pytest.mark.usefixtures("unsquashfs")
@pytest.mark.parametrize(
    ("listing", "arch"),
    [
        (_loader("usr/lib64/ld-linux-x86-64.so.2"), "x86_64"),
        (_loader("lib/ld-linux-aarch64.so.1", "usr/lib/ld-linux-aarch64.so.1"), "aarch64"),
        (_loader("lib/ld-musl-aarch64.so.1"), "aarch64"),
        (_loader("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"), ""),
        ("", ""),
    ],
)
def test_squashfs_tells_its_cpu_by_the_dynamic_loader(tmp_path: Path, listing: str, arch: str) -> None:
    assert images.inspect(squashfs(tmp_path), runner=Answer(out=LISTING + listing)).arch == arch


@pytest.mark.usefixtures("unsquashfs")
def test_squashfs_that_cannot_be_listed_is_not_judged(tmp_path: Path) -> None:
    image = squashfs(tmp_path)

    def fail(*_: Any, **__: Any) -> Completed:
        raise UnreachableError("no answer")

    for runner in (None, Answer(code=134), fail):
        facts = images.inspect(image, targets=("/data",), runner=runner)
        assert replace(facts, stamp="") == ImageFacts(image, "squashfs")


def test_squashfs_without_unsquashfs_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert images.inspect(squashfs(tmp_path), runner=Answer(out=LISTING)).missing is None


def test_real_squashfs(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for folder in ("mnt/0", "bin", "a b", "usr/lib64"):
        (tree / folder).mkdir(parents=True)
    (tree / "lib64").symlink_to("usr/lib64")
    (tree / "usr/lib64/ld-linux-aarch64.so.1").touch()
    image = str(tmp_path / "app.sqfs")
    subprocess.run(["mksquashfs", str(tree), image, "-quiet", "-no-progress"], check=True, capture_output=True)
    facts = images.inspect(image, targets=("/mnt/0", "/a b", "/data"), runner=process.run)
    assert replace(facts, stamp="") == ImageFacts(image, "squashfs", arch="aarch64", missing=("/data",))
