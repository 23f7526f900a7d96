"""What can be seen of a container image without running it: its kind, its CPU, the folders it lacks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcjobs.errors import HpcjobError, NotFoundError, PlanError
from hpcjobs.model import ImageFacts
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hpcjobs.process import Runner

# The magic of the Singularity Image Format, after its launch script (github.com/apptainer/sif, pkg/sif/sif.go).
_SIF = b"SIF_MAGIC"
# ELF's e_machine (elf.h), for images that do not say what they are made for.
_ELF_ARCH = {
    0x03: "i686",
    0x15: "ppc64le",
    0x16: "s390x",
    0x28: "armv7l",
    0x3E: "x86_64",
    0xB7: "aarch64",
    0xF3: "riscv64",
}
# Where an image has its dynamic loader; with /lib a link, or without.
_LIB = ("lib", "lib64", "usr/lib", "usr/lib64")
# The same by the names of dynamic loaders, which each CPU's ABI gives (glibc: sysdeps/*/shlib-versions; musl: README).
LOADERS = {
    "ld-linux-x86-64.so.2": "x86_64",
    "ld-linux-aarch64.so.1": "aarch64",
    "ld64.so.2": "ppc64le",
    "ld-linux-riscv64-lp64d.so.1": "riscv64",
    "ld-musl-x86_64.so.1": "x86_64",
    "ld-musl-aarch64.so.1": "aarch64",
    "ld-musl-powerpc64le.so.1": "ppc64le",
    "ld-musl-riscv64.so.1": "riscv64",
    "ld-musl-s390x.so.1": "s390x",
    "ld-musl-armhf.so.1": "armv7l",
    "ld-musl-i386.so.1": "i686",
}
_LOADER_PATHS = {f"{folder}/{name}": arch for name, arch in LOADERS.items() for folder in _LIB}
_REFERENCE = re.compile(r"[a-z][a-z0-9+.-]*://.")
# What can only be the host of a registry, or a tag.
_NAME = re.compile(r".*(/[\w-]+(\.[\w-]+)+(:\d+)?/|:[\w.-]+$)")
_ROOTS = ("bin", "usr", "ch")
_LIST_TIMEOUT = 20.0
# `drwxr-xr-x root/root    27 2026-11-21 01:36 /ch`: unsquashfs(1), -ll.
_LISTED = re.compile(r"^([a-z-])\S{9}\s+\S+\s+\S+ \S+ \S+ (/.*)$", re.MULTILINE)


def inspect(image: str, *, targets: Iterable[str] = (), runner: Runner | None = None) -> ImageFacts:
    """What kind of image it is, for which CPU, and which of `targets` it does not have.

    Reads a few bytes; with `runner`, the names in a squashfs image are listed by `unsquashfs`, if it is there.

    Raises:
        NotFoundError: there is no such file; the hint names one like it.
        PlanError: it cannot be read, or is no image; says what it looks like.
    """
    if not image:
        return ImageFacts(path="")
    if _REFERENCE.match(image):
        return ImageFacts(path=image, kind="reference")
    path = Path(image)
    try:
        if path.is_dir():
            return _directory(path, targets)
        if path.exists() and not path.is_file():
            raise PlanError(f"{image} is no file and no folder", hint=f"see: ls -ld {image}")
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise _absent(path) from None
    except OSError as error:
        raise PlanError(
            f"the image {image} cannot be read: {error.strerror}", hint=f"see: ls -ld {path.parent} {image}"
        ) from None
    if head[32:41] == _SIF:
        return _sif(path)
    if head[:4] == b"hsqs":
        _check_whole(path, int.from_bytes(head[40:48], "little"))
        return replace(_squashfs(image, targets, runner), stamp=stamp(path))
    looks, advice = _looks_like(head, image)
    raise PlanError(f"{image} is not a container image: {looks}", hint=advice)


def stamp(path: Path) -> str:
    """Size and modification time, as `stat -L -c %s.%Y` prints them."""
    status = path.stat()
    return f"{status.st_size}.{int(status.st_mtime)}"


def _sif(path: Path) -> ImageFacts:
    from hpcjobs.images import sif

    found = sif.read(path)  # which also finds that it is cut short
    return ImageFacts(str(path), "sif", arch=found.arch, encrypted=found.encrypted, stamp=stamp(path))


def _check_whole(path: Path, needed: int) -> None:
    """The superblock of a squashfs tells its length in bytes (kernel: Documentation/filesystems/squashfs)."""
    size = path.stat().st_size
    if size < needed:
        raise PlanError(
            f"the image {path} is cut short: it has {size} of {needed} bytes",
            hint="was the copy or the pull interrupted? make it again",
        )


def _absent(path: Path) -> NotFoundError:
    if _NAME.match(path.as_posix()) and not path.parent.exists():
        return NotFoundError(f"there is no image {path}", hint="for a name in a registry, write docker:// before it")
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except FileNotFoundError:
        return NotFoundError(f"there is no image {path}", hint=f"there is no folder {path.parent} either")
    except OSError:
        return NotFoundError(f"there is no image {path}", hint=f"the folder {path.parent} cannot be read")
    found = nearest(path.name, beside) if beside else "it is empty"
    return NotFoundError(f"there is no image {path}", hint=f"in {path.parent}: {found}")


def _looks_like(head: bytes, image: str) -> tuple[str, str]:
    """What the file seems to be, and what to do about it."""
    if not head:
        return "it is empty", "was the copy or the build cut short? make it again"
    if head[257:262] == b"ustar":
        return "it is a tar archive", f"if it is a docker archive: hpcjob image convert {image} app.sif"
    if head[:2] == b"\x1f\x8b":
        return (
            "it is compressed with gzip",
            "if it is a docker archive: gunzip it, then hpcjob image convert",
        )
    if head[:4] == b"\x7fELF" or head[:2] == b"#!":
        return "it is a program", "give the program after --, and the image with --image"
    return "its first bytes are of no known kind", "images are .sif files, squashfs files, and directories"


def _directory(path: Path, targets: Iterable[str]) -> ImageFacts:
    if not any((path / name).exists() for name in _ROOTS):
        layout = (path / "oci-layout").is_file()
        raise PlanError(
            f"{path} is a folder, and not a container image: it has no {', '.join(_ROOTS)}",
            hint=f"it is an OCI layout: hpcjob image convert {path} app.sif"
            if layout
            else "name the image itself, or the root folder of an unpacked one",
        )

    def has(target: str) -> bool:
        # A link of the image points into the image, so that it counts as being there.
        return (path / target.lstrip("/")).exists() or (path / target.lstrip("/")).is_symlink()

    return _seen(path.as_posix(), "directory", targets, has, _first_program(path))


def _first_program(root: Path) -> str:
    """The CPU of the first program found in an unpacked image; empty if none tells."""
    for name in ("bin/sh", "usr/bin/env", "bin/busybox", "usr/bin/bash", "bin/cat"):
        program = root / name
        try:
            if program.is_symlink() and program.readlink().is_absolute():
                program = root / program.readlink().relative_to("/")
            with program.open("rb") as file:
                head = file.read(20)
        except OSError:
            continue
        if head[:4] == b"\x7fELF":
            return elf_arch(head)
    return ""


def elf_arch(head: bytes) -> str:
    """The CPU of a program, by its first 20 bytes (elf(5)); empty if it is none."""
    if head[:4] != b"\x7fELF":
        return ""
    return _ELF_ARCH.get(int.from_bytes(head[18:20], "little" if head[5:6] == b"\x01" else "big"), "")


def _squashfs(image: str, targets: Iterable[str], runner: Runner | None) -> ImageFacts:
    """Without a runner, or without unsquashfs, what the image lacks is not known."""
    from shutil import which

    if not runner or not which("unsquashfs"):
        return ImageFacts(path=image, kind="squashfs")
    targets = tuple(targets)
    wanted = sorted({target.strip("/") for target in (*targets, "ch/environment", *_LOADER_PATHS)})
    # Lists the named paths and what is below them: an image of a million files answers at once.
    try:
        done = runner(("unsquashfs", "-ll", "-n", "-d", "", image, *wanted), timeout=_LIST_TIMEOUT)
    except HpcjobError:
        return ImageFacts(path=image, kind="squashfs")
    if done.code:
        return ImageFacts(path=image, kind="squashfs")
    present, links = set(), []
    for kind, name in _LISTED.findall(done.out):
        present.add(name.partition(" -> ")[0])
        links += [name.partition(" -> ")[0] + "/"] if kind == "l" else []

    def has(target: str) -> bool:
        # What is below a link is not listed, so that it counts as being there.
        return target.rstrip("/") in present or target.startswith(tuple(links))

    archs = {arch for loader, arch in _LOADER_PATHS.items() if f"/{loader}" in present}
    # With the loaders of several, it is not known which CPU the programs are for.
    return _seen(image, "squashfs", targets, has, archs.pop() if len(archs) == 1 else "")


def _seen(
    path: str,
    kind: Literal["directory", "squashfs"],
    targets: Iterable[str],
    has: Callable[[str], bool],
    arch: str,
) -> ImageFacts:
    missing = tuple(target for target in targets if not has(target))
    return ImageFacts(path=path, kind=kind, arch=arch, missing=missing, environment=has("/ch/environment"))
