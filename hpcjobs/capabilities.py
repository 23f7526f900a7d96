"""What each container runtime can do, and how: a table to refuse by, and to print in the documentation.

A feature that a runtime has is a word or two on how it is done; one that is not in its row it cannot do. What the
table does not know (a plug-in) refuses by itself, in its `wrap`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcjobs.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Every feature: how the docs head its line, and what a refusal calls it.
FEATURES = {
    "launch": "how it is launched",
    "shared": "one container a node for all its ranks",
    "ranks": "several ranks",
    "nodes": "several nodes",
    "sif": "SIF images",
    "squashfs": "squashfs images",
    "directory": "image folders",
    "reference": "images by name (docker://…)",
    "bind": "bind mounts",
    "bind-file": "binds of single files",
    "bind-readonly": "read-only binds",
    "env": "environment variables",
    "clean": "a clean environment",
    "workdir": "a working directory of its own",
    "entrypoint": "the image's entrypoint",
    "nvidia": "NVIDIA GPUs",
    "amd": "AMD GPUs",
    "intel": "Intel GPUs",
    "writable": "a writable layer that is thrown away",
    "overlay-image": "overlay images",
    "overlay-folder": "overlay folders",
    "app": "SCIF apps",
    "verify": "signed images",
    "key": "encrypted images",
    "service": "services that run a command",
    "instance": "services by the image's own start script",
}

# What helps where a runtime lacks something and no other of the site has it either.
_INSTEAD = {
    "bind-file": "bind the folder that the file is in",
    "bind-readonly": "bind it without :ro",
    "sif": "convert it: hpcjob image convert",
    "squashfs": "convert it: hpcjob image convert",
    "directory": "convert it: hpcjob image convert",
    "entrypoint": "name the program that the entrypoint runs",
    "instance": "give it a command, in a job file: services: [{name: db, image: db.sqfs, command: [redis-server]}]",
    "ranks": "start the ranks inside the container: -n 1 ... -- mpirun -n 4 ./app",
    "nodes": "leave out -N",
}

_HOST = "the host's"
# How `clean` is done where the runtime would pass on the environment of the script.
BY_SCRIPT = "by the script"
_APPTAINER = {
    "launch": "prefix of the program", "shared": "--sharens, for MPI, from 1.3 on",
    "ranks": "a container a rank", "nodes": "yes",
    "sif": "yes", "squashfs": "yes", "directory": "yes", "reference": "pulled at submission, to SIF",
    "bind": "--bind", "bind-file": "--bind", "bind-readonly": "--bind SRC:DST:ro",
    "env": "APPTAINERENV_NAME", "clean": BY_SCRIPT, "workdir": "--pwd", "entrypoint": "apptainer run",
    "nvidia": "--nv", "amd": "--rocm", "intel": "/dev is shared",
    "writable": "--writable-tmpfs", "overlay-image": "--overlay", "overlay-folder": "--overlay",
    "app": "--app", "verify": "apptainer verify", "key": "APPTAINER_ENCRYPTION_…",
    "service": "exec in the background", "instance": "instance start",
}  # fmt: skip

TABLE: dict[str, dict[str, str]] = {
    "none": {"launch": "the program itself", "ranks": "yes", "nodes": "yes", "env": "yes", "clean": BY_SCRIPT,
             "nvidia": _HOST, "amd": _HOST, "intel": _HOST},
    "apptainer": _APPTAINER,
    "singularity": {**_APPTAINER, "env": "SINGULARITYENV_NAME",
                    "key": "SINGULARITY_ENCRYPTION_…"},
    "charliecloud": {
        "launch": "prefix of the program", "shared": "--join", "ranks": "yes", "nodes": "yes",
        "squashfs": "yes", "directory": "yes", "reference": "pulled at submission, to squashfs",
        "bind": "-b, to a place that the image has (any, from 0.38 on)", "bind-file": "-b",
        "env": "--set-env", "clean": BY_SCRIPT, "workdir": "-c",
        "amd": "/dev is shared", "intel": "/dev is shared", "writable": "-W, from 0.38 on",
        "service": "in the background",
    },
    "podman": {
        "launch": "prefix of the program", "ranks": "a container a rank", "nodes": "yes",
        "directory": "--rootfs", "reference": "pulled once on each node",
        "bind": "-v", "bind-file": "-v", "bind-readonly": "-v SRC:DST:ro",
        "env": "--env", "clean": "--env of what launcher and hpcjob need", "workdir": "-w", "entrypoint": "its default",
        "nvidia": "--device nvidia.com/gpu=all (CDI)", "amd": "--device /dev/kfd, /dev/dri",
        "intel": "--device /dev/dri", "writable": "always", "service": "in the background",
    },
    "podman-hpc": {
        "launch": "prefix of the program", "shared": "shared-run", "ranks": "yes", "nodes": "yes",
        "reference": "pulled at submission (podman-hpc pull)",
        "bind": "-v", "bind-file": "-v", "bind-readonly": "-v SRC:DST:ro",
        "env": "-e", "clean": "its default", "workdir": "-w", "entrypoint": "its default",
        "nvidia": "--gpu", "amd": "--device /dev/kfd, /dev/dri", "intel": "--device /dev/dri",
        "writable": "always", "service": "in the background",
    },
    "shifter": {
        "launch": "directives in the header, prefix of the program", "shared": "its plug-in, once a node",
        "ranks": "yes", "nodes": "yes",
        "reference": "pulled at submission (shifterimg pull)",
        "bind": "--volume, of folders, not below /etc or /var", "bind-readonly": "--volume=SRC:DST:ro",
        "env": "--env", "clean": BY_SCRIPT, "workdir": "--workdir", "entrypoint": "--entrypoint",
        "nvidia": "--module=gpu", "service": "in the background",
    },
    "sarus": {
        "launch": "prefix of the program", "ranks": "a container a rank", "nodes": "yes",
        "reference": "pulled at submission (sarus pull)",
        "bind": "--mount", "bind-file": "--mount", "bind-readonly": "--mount=…,readonly",
        "env": "-e", "clean": BY_SCRIPT, "workdir": "-w", "entrypoint": "its default",
        "nvidia": "by its hook", "amd": "by its hook", "writable": "always", "service": "in the background",
    },
    "pyxis": {
        "launch": "options of srun", "shared": "always", "ranks": "yes", "nodes": "yes",
        "squashfs": "yes", "reference": "pulled at submission, to squashfs",
        "bind": "--container-mounts", "bind-file": "--container-mounts", "bind-readonly": "SRC:DST:ro",
        "env": "--container-env", "clean": BY_SCRIPT, "workdir": "--container-workdir",
        "entrypoint": "--container-entrypoint", "nvidia": "by Enroot's hook", "writable": "--container-writable",
        "service": "in the background",
    },
    "ce": {
        "launch": "srun --environment, and a TOML file in the job's folder", "shared": "always", "ranks": "yes",
        "nodes": "yes", "squashfs": "yes", "reference": "pulled at submission, to squashfs",
        "bind": "mounts", "bind-file": "mounts", "bind-readonly": "SRC:DST:ro",
        "env": "[env]", "clean": BY_SCRIPT, "workdir": "workdir", "entrypoint": "entrypoint",
        "nvidia": "by its hook", "amd": "by its hook", "writable": "writable", "service": "in the background",
    },
    "docker": {
        "launch": "prefix of the program", "reference": "pulled at submission (docker pull)",
        "bind": "-v", "bind-file": "-v", "bind-readonly": "-v SRC:DST:ro",
        "env": "-e", "clean": "its default", "workdir": "-w", "entrypoint": "its default",
        "nvidia": "--gpus all", "amd": "--device /dev/kfd, /dev/dri", "intel": "--device /dev/dri",
        "writable": "always", "service": "in the background",
    },
}  # fmt: skip

# What a registry's image becomes on disk for runtimes that run files; the others keep images in a store of their own.
PULLED_TO = {
    "apptainer": "sif",
    "singularity": "sif",
    "charliecloud": "squashfs",
    "pyxis": "squashfs",
    "ce": "squashfs",
}


def lacks(kind: str, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted features that the runtime does not have."""
    row = TABLE.get(kind)
    return [] if row is None else [feature for feature in wanted if feature not in row]


def refuse(kind: str, wanted: Mapping[str, str], others: Iterable[str]) -> None:
    """Refuse what the runtime cannot do; `wanted` maps a feature to what of the job asks for it.

    Raises:
        PlanError: names the nearest that can: another runtime of the site (`others`), else another way.
    """
    missing = lacks(kind, wanted)
    if not missing:
        return
    first = missing[0]
    if kind == "none":
        raise PlanError(f"there is no container for {wanted[first]}", hint="leave it out, or give an --image")
    able = [other for other in others if other not in (kind, "none") and not lacks(other, wanted)]
    anywhere = [other for other in TABLE if other != "none" and not lacks(other, wanted)]
    if able:
        hint = f"use --runtime {able[0]}, which can"
    elif first in _INSTEAD:
        hint = _INSTEAD[first]
    else:
        hint = f"leave it out; {', '.join(anywhere[:3])} can, and this site has none of them"
    raise PlanError(f"{kind} cannot do what {wanted[first]} asks for: {FEATURES[first]}", hint=hint)


def markdown() -> str:
    """The table as the documentation shows it: a line a feature, a column a runtime."""
    kinds = [kind for kind in TABLE if kind not in ("none", "singularity")]
    lines = [f"| | {' | '.join(kinds)} |", "|-" * (len(kinds) + 1) + "|"]
    for feature, title in FEATURES.items():
        cells = (TABLE[kind].get(feature, "no").replace("|", "\\|") for kind in kinds)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
