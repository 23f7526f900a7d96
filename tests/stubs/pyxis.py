"""The options that the SPANK plugin Pyxis adds to srun, and what it refuses.

Grammar: NVIDIA/pyxis 1075199 (0.21 and later, 2026-05): args.c, validate_mount_sources in pyxis_slurmstepd.c, README,
tests/invalid_args.bats and tests/mounts.bats; images and mounts go on to enroot (programs/enroot.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.stubs import images
from tests.stubs.grammar import Option, Parsed, Refusal, flags, squashfs, valued
from tests.stubs.programs import enroot

OPTIONS: tuple[Option, ...] = (
    *valued("--container-image --container-mounts --container-workdir --container-name --container-save"),
    *valued("--container-env --container-unshare"),
    *flags("--container-mount-home --no-container-mount-home --container-remap-root --no-container-remap-root"),
    *flags("--container-entrypoint --no-container-entrypoint --container-entrypoint-log"),
    *flags("--container-writable --container-readonly"),
)
_OPPOSITES = (
    ("container-mount-home", "no-container-mount-home"),
    ("container-remap-root", "no-container-remap-root"),
    ("container-entrypoint", "no-container-entrypoint"),
    ("container-writable", "container-readonly"),
)


def error(message: str) -> Refusal:
    """What the plugin says."""
    return Refusal(f"pyxis: {message}")


def mount(text: str) -> dict[str, str]:
    """SRC[:DST[:FLAG+FLAG...]]: paths begin with / or a dot, other sources are tmpfs and umount."""
    source, *rest = text.split(":", 2)
    target = rest[0] if rest else source
    if not source or not target:
        raise error(f"--container-mounts: invalid format: {text}")
    if not source.startswith((".", "/")) and source not in {"tmpfs", "umount"}:
        raise error('mount source must be a relative path, an absolute path, "tmpfs" or "umount"')
    if not target.startswith((".", "/")):
        raise error("mount target must be a relative path or an absolute path")
    given = rest[1].split("+") if len(rest) > 1 and rest[1] else []
    unknown = [flag for flag in given if flag not in enroot.FLAGS and source != "tmpfs"]
    if unknown:
        raise error(f"container start error: enroot-mount: unknown mount option {unknown[0]!r} in {text}")
    if source.startswith((".", "/")) and not Path(source).exists():
        raise error(f"--container-mounts: source path does not exist: {source}")
    return {"source": source, "target": target, **({"flags": "+".join(given)} if given else {})}


def image(name: str, environ: Mapping[str, str]) -> str:
    """A squashfs file, if it begins with / or ./, else the name of an image, which is pulled."""
    if name.startswith(("/", "./")):
        if not squashfs(name):
            what = "Invalid image format" if Path(name).is_file() else "No such file or directory"
            raise error(f"failed to create container filesystem for image: {name}\n[ERROR] {what}: {name}")
        return name
    uri = name if name.startswith(("docker://", "dockerd://")) else f"docker://{name}"
    plain = enroot.reference(uri)
    # A file's name without ./ is taken for an image of Docker Hub, which has none of that name.
    if not images.pullable(environ, plain) or plain.endswith((".sqsh", ".squashfs", ".sqfs", ".sif")):
        raise error(f"failed to import docker image: {name}\n[ERROR] URL https://registry-1.docker.io/v2/{plain}: 401")
    return name


def _once(given: Parsed, key: str) -> str:
    values = given.all(key)
    if any(not value for value in values):
        raise error(f"--{key}: argument required")
    if len(set(values)) > 1:
        raise error(f"--{key} specified multiple times")
    return values[0] if values else ""


def _list(given: Parsed, key: str) -> list[str]:
    found = [part for text in given.all(key) for part in text.split(",")]
    if "" in found:
        raise error(f"--{key}: invalid format: {given.last(key)}")
    return found


def _name(text: str) -> str:
    name, _, flag = text.partition(":")
    if text and not name:
        raise error("--container-name: empty name")
    if "/" in name:
        raise error(f"couldn't create container: Invalid argument: {name}")
    if flag not in {"", "auto", "create", "exec", "no_exec"}:
        raise error('--container-name: flag must be "auto", "create", "exec" or "no_exec"')
    return name


def read(given: Parsed, environ: Mapping[str, str]) -> dict[str, Any]:
    """The container that is asked for; empty if none is."""
    for on, off in _OPPOSITES:
        if given.has(on) and given.has(off):
            raise error(f"both --{on} and --{off} were specified")
    if given.has("container-mounts") and "" in given.all("container-mounts"):
        raise error("--container-mounts: argument required")
    if set(_list(given, "container-unshare")) - {"net", "ipc", "uts"}:
        raise error(f"--container-unshare: unknown namespace '{given.last('container-unshare')}'")
    if given.last("container-save").endswith("/"):
        raise error("--container-save: target is a directory")
    name, asked = _name(_once(given, "container-name")), _once(given, "container-image")
    # One container per node serves all of its mounts: a path with a comma or a colon cannot be said.
    mounts = [mount(part) for text in given.all("container-mounts") for part in text.split(",")]
    env = _list(given, "container-env")
    if not asked and not name:
        return {}
    if not asked and name not in images.recorded(environ, "enroot"):
        raise error(f'error: a container with name "{name}" does not exist, and --container-image is not set')
    return {
        "plugin": "pyxis",
        "image": image(asked, environ) if asked else "",
        "name": name,
        "mounts": mounts,
        "workdir": _once(given, "container-workdir"),
        "env": {key: environ.get(key, "") for key in env},
        "save": _once(given, "container-save"),
        "flags": [o.key for o in OPTIONS if o.value == "none" and given.has(o.key)],
    }
