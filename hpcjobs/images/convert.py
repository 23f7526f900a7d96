"""Images from one form into another, by the tools that are there.

Apptainer or Singularity make SIF; squashfs-tools make and open squashfs; layers of docker and OCI images are laid over
each other here (`flatten`), so that no daemon and no second runtime is needed for them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hpcjobs.errors import PlanError, StoreError
from hpcjobs.images import flatten, sif
from hpcjobs.images.storing import storing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hpcjobs.process import Runner

Form = Literal["sif", "squashfs", "directory", "docker-archive", "oci-layout"]
FORMS: dict[str, Form] = {
    ".sif": "sif", ".sqfs": "squashfs", ".sqsh": "squashfs", ".squashfs": "squashfs", ".tar": "docker-archive",
}  # fmt: skip
_NOT_MADE = frozenset({".img", ".ext3", ".gz", ".tgz", ".xz", ".zst", ".zip", ".iso"})
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Hours of work for a large image on a slow disk.
_TIMEOUT = 6 * 3600.0
# What runtimes mount over: in a read-only image nothing can be made later.
_PLACES = ("dev", "proc", "sys", "tmp", "run", "home", "root", "ch", "etc", *(f"mnt/{i}" for i in range(10)))
_FILES = ("etc/hosts", "etc/resolv.conf", "etc/localtime", "etc/passwd", "etc/group")


@dataclass(frozen=True)
class Tools:
    """What makes images on this machine."""

    runner: Runner
    which: Callable[[str], str | None] = shutil.which
    environ: Mapping[str, str] | None = None

    def apptainer(self, what: str = "SIF images are made") -> str:
        """Apptainer, or Singularity; `what` is done by it.

        Raises:
            PlanError: neither is here.
        """
        found = self.which("apptainer") or self.which("singularity")
        if not found:
            raise PlanError(
                f"{what} by apptainer or singularity, and neither is on PATH",
                hint="load its module (module avail), or do it on a machine that has it",
            )
        return found

    def need(self, *programs: str) -> None:
        """Refuse if one of the programs is not here.

        Raises:
            PlanError: names it.
        """
        for program in programs:
            if not self.which(program):
                raise PlanError(f"{program} is not on PATH", hint="install squashfs-tools, or load their module")

    def run(self, argv: Sequence[str], what: str, folder: Path, **more: str) -> str:
        """Run a tool to its end; its output.

        Raises:
            StoreError: no space left in `folder`, or in where the tool works.
            PlanError: it failed otherwise; tells its last words.
        """
        environment = {**(os.environ if self.environ is None else self.environ), **more}
        done = self.runner(argv, timeout=_TIMEOUT, env=environment)
        if done.code == 0:
            return done.out
        said = _COLOUR.sub("", done.err or done.out)
        words = [line.strip() for line in said.splitlines() if line.strip()]
        told = " | ".join(words[-2:]) or f"exit code {done.code}"
        # C programs begin with a capital, those in Go do not.
        if "no space left" in done.err.lower() or "disk quota exceeded" in done.err.lower():
            free = shutil.disk_usage(folder).free / 1e9
            raise StoreError(
                f"no space left for {what} in {folder} ({free:.1f} GB free): {told}",
                hint="remove old images (hpcjob image prune), or choose another folder",
            )
        raise PlanError(f"{what}: {Path(argv[0]).name} failed: {told}", hint="with -vv it tells all that it said")


def form_of(path: str) -> Form:
    """The form that a file to be written has, by its name; a name without a known ending is a folder.

    Raises:
        PlanError: it ends like a file of a form that is not made.
    """
    ending = Path(path).suffix.lower()
    if ending in _NOT_MADE:
        raise PlanError(
            f"{path} cannot be made: its name ends in {ending}", hint="write app.sif, app.sqfs, or a folder"
        )
    return FORMS.get(ending, "directory")


def convert(source: str, form: Form, target: Path, work: Path, tools: Tools, *, arch: str) -> None:
    """Make `target` (SIF, squashfs or a folder, by its name) from `source`, which has the form `form`.

    `work` is a folder for what lies between; `arch` (as of `uname -m`) chooses from an OCI layout of several.

    Raises:
        PlanError: a tool is missing, or the source cannot be read.
        StoreError: no space left.
    """
    wanted = form_of(str(target))
    if wanted == "sif":
        _to_sif(source, form, target, work, tools)
    elif wanted == "squashfs":
        tools.need("mksquashfs")
        folder = Path(source) if form == "directory" else work / "root"
        if form != "directory":
            shutil.rmtree(folder, ignore_errors=True)  # of a pull that was cut short
            unpack(source, form, folder, work, tools, arch=arch)
        pack(folder, target, tools)
        if form != "directory":
            shutil.rmtree(folder, ignore_errors=True)
    elif wanted == "directory":
        unpack(source, form, target, work, tools, arch=arch)
    else:
        raise PlanError(f"{target} cannot be made: {wanted}", hint="write app.sif, app.sqfs, or the name of a folder")


def _to_sif(source: str, form: Form, target: Path, work: Path, tools: Tools) -> None:
    if form == "sif":
        _readable(source)
    prefix = {"docker-archive": "docker-archive:", "oci-layout": "oci:"}.get(form, "")
    # Else its cache, in the home, would get a copy of all layers.
    options = ("--disable-cache",) if prefix else ()
    argv = (tools.apptainer(), "build", "--force", *options, str(target), f"{prefix}{source}")
    tools.run(argv, f"making {target.name}", work, APPTAINER_TMPDIR=str(work), SINGULARITY_TMPDIR=str(work))


def unpack(source: str, form: Form, target: Path, work: Path, tools: Tools, *, arch: str) -> None:
    """The image's files in the folder `target`.

    Raises:
        PlanError: a tool is missing, or the source cannot be read.
        StoreError: no space left.
    """
    if form == "directory":
        with storing(target.parent):
            shutil.copytree(source, target, symlinks=True)
    elif form in ("docker-archive", "oci-layout"):
        read = flatten.read_docker_archive if form == "docker-archive" else None
        config, layers = read(Path(source), work / "archive") if read else flatten.read_oci_layout(Path(source), arch)
        with storing(target.parent):
            flatten.flatten(layers, target, runner=tools.runner)
            _finish(target, config)
    else:
        tools.need("unsquashfs")
        offset = _offset(source) if form == "sif" else 0
        argv = ("unsquashfs", "-n", "-no-xattrs", "-f", "-o", str(offset), "-d", str(target), source)
        tools.run(argv, f"unpacking {source}", target.parent)


def _readable(source: str) -> sif.Sif:
    """What the header of a SIF file says.

    Raises:
        PlanError: it is encrypted.
    """
    found = sif.read(source)
    if found.encrypted:
        raise PlanError(f"{source} is encrypted", hint=f"apptainer build --sandbox FOLDER {source} asks for its key")
    return found


def _offset(source: str) -> int:
    """Where the file system begins in a SIF file, in bytes.

    Raises:
        PlanError: it is encrypted, or no squashfs.
    """
    found = _readable(source)
    if found.primary is None or found.primary.filesystem != "squashfs":
        raise PlanError(f"{source} holds no squashfs file system", hint="build it anew with a current Apptainer")
    return found.primary.offset


def pack(folder: Path, target: Path, tools: Tools) -> None:
    """The folder as a squashfs file, everything owned by root."""
    argv = ("mksquashfs", str(folder), str(target), "-noappend", "-quiet", "-no-progress", "-all-root", "-no-xattrs")
    tools.run(argv, f"making {target.name}", target.parent)


def _finish(root: Path, config: Mapping[str, Any]) -> None:
    """The places that runtimes mount over, and the image's variables where Charliecloud looks for them."""
    for name in _PLACES:
        if _is_inside(root, name):
            (root / name).mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        if _is_inside(root, name):
            (root / name).touch()
    lines = [f"{name}={value}\n" for name, value in flatten.environment(config).items() if "\n" not in value]
    for name in ("ch/environment", "etc/environment"):
        _write(root, name, "".join(lines))
    _write(root, "etc/rc", _start(config))


def _is_inside(root: Path, name: str) -> bool:
    """Whether no part of the name is a link of the image: one to `/etc` would lead to the host's."""
    parts = [root / name, *(root / name).parents]
    return not any(path.is_symlink() for path in parts[: parts.index(root)])


def _start(config: Mapping[str, Any]) -> str:
    """The script that Enroot runs for an image's entrypoint (github.com/NVIDIA/enroot, doc/image-format.md)."""
    inner = config.get("config") or {}
    entrypoint, command = shlex.join(inner.get("Entrypoint") or ()), shlex.join(inner.get("Cmd") or ())
    folder = shlex.quote(inner.get("WorkingDir") or "/")
    return (
        f"mkdir -p {folder} 2>/dev/null\ncd {folder} || exit 1\n"
        f'if [ $# -gt 0 ]; then exec {entrypoint} "$@"; fi\nexec {entrypoint} {command or "/bin/sh"}\n'
    )


def _write(root: Path, name: str, text: str) -> None:
    if _is_inside(root, name) and (root / name).parent.is_dir():
        (root / name).write_text(text, "utf-8", "surrogateescape")
