"""A stub of `enroot`.

Grammar: NVIDIA/enroot 8ea147d (4.x, 2026-04): the loops over options in enroot.in, doc/cmd/*.md, the checks of
src/runtime.sh and src/docker.sh, mount options of bin/enroot-mount.c. Before 4.0 a wrong option printed the help and
returned 0; this is the newer one, which returns 1. Options are whole words: no -xv, no --ab for --abc, no empty value.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images
from tests.stubs.grammar import Grammar, Parsed, Refusal, Style, accept, assignment, flags, guard, run, squashfs, valued

COMMANDS = {
    "import": valued("--arch,-a --output,-o"),
    "create": (*valued("--name,-n"), *flags("--force,-f")),
    "start": (
        *valued("--conf,-c --env,-e --mount,-m --rc"),
        *flags("--root,-r --rw,-w --pid --net --ipc --uts"),
    ),
    "list": flags("--fancy,-f"),
    "remove": flags("--force,-f"),
    "version": (),
}
# bin/enroot-mount.c, mount_opts.
FLAGS = frozenset(
    [
        "async",
        "atime",
        "bind",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "iversion",
        "loud",
        "mand",
        "noatime",
        "nodev",
        "nodiratime",
        "noexec",
        "noiversion",
        "nomand",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "private",
        "rbind",
        "relatime",
        "remount",
        "ro",
        "rprivate",
        "rshared",
        "rslave",
        "runbindable",
        "rw",
        "shared",
        "silent",
        "slave",
        "strictatime",
        "suid",
        "sync",
        "unbindable",
        "lazytime",
        "nolazytime",
        "auto",
        "defaults",
        "group",
        "noauto",
        "nofail",
        "nogroup",
        "noowner",
        "nouser",
        "nousers",
        "owner",
        "user",
        "users",
        "x-create=dir",
        "x-create=file",
        "x-create=auto",
        "x-move",
        "x-detach",
    ]
)
_FILESYSTEMS = ("none", "tmpfs", "proc", "sysfs", "overlay", "squashfs")


def error(message: str) -> Refusal:
    """What enroot's own checks say."""
    return Refusal(f"[ERROR] {message}")


def mount(text: str) -> dict[str, str]:
    """SOURCE[:TARGET[:FLAGS|:TYPE[:FLAGS]]]; a source that is a path must be there, relative ones as well."""
    if not re.fullmatch(r"[^\s]+", text) or "" in text.split(":"):
        raise error(f"Invalid argument: {text}")
    source, *rest = text.split(":")
    target = rest[0] if rest else source
    third = rest[1] if len(rest) > 1 else ""
    if third in _FILESYSTEMS:
        rest.pop(1)
    options = rest[1] if len(rest) > 1 else ""
    if len(rest) > 2 or (options and source != "tmpfs" and set(options.split(",")) - FLAGS):
        raise error(f"enroot-mount: invalid mount options: {text}")
    if source not in {"tmpfs", "umount", "none", "proc", "sysfs"} and not Path(source).exists():
        raise Refusal(f"enroot-mount: failed to mount: {source} at {target}: No such file or directory")
    return {"source": source, "target": target, **({"flags": options} if options else {})}


def reference(uri: str) -> str:
    """The image of a docker:// or dockerd:// address."""
    scheme, found, name = uri.partition("://")
    if not found or scheme not in {"docker", "dockerd", "podman"}:
        raise error(f"Invalid argument: {uri}")
    matched = images.ENROOT.fullmatch(name)
    if not matched or (scheme != "docker" and (matched["user"] or matched["registry"] or matched["digest"])):
        raise error(f"Invalid image reference: {uri}")
    return re.sub(r"^[^@/#]+@(?!sha256:)", "", name)


def _import(given: Parsed, environ: Mapping[str, str]) -> int:
    uri = given.rest[0]
    name = reference(uri)
    _, _, plain = name.rpartition("#")
    output = Path(given.last("output") or plain.replace("/", "+").replace(":", "+") + ".sqsh")
    if output.exists():
        raise error(f"File already exists: {output.absolute()}")
    if not output.absolute().parent.is_dir():
        raise error(f"No such file or directory: {output}")
    local = uri.startswith(("dockerd://", "podman://"))
    if not (images.has(environ, "docker", name) if local else images.pullable(environ, name)):
        raise error(f"URL https://registry-1.docker.io/v2/{plain} returned error code: 401 Unauthorized")
    images.write_squashfs(output, name)
    return 0


def _create(given: Parsed, environ: Mapping[str, str]) -> int:
    image = given.rest[0]
    if not Path(image).is_file():
        raise error(f"No such file or directory: {image}")
    if not squashfs(image):
        raise error(f"Invalid image format: {image}")
    name = given.last("name") or Path(image).name.removesuffix(".sqsh")
    if "/" in name:
        raise error(f"Invalid argument: {name}")
    if name in images.recorded(environ, "enroot") and not given.has("force"):
        raise error(f"File already exists: {name}")
    images.record(environ, "enroot", name)
    return 0


def _start(given: Parsed, environ: Mapping[str, str]) -> int:
    image, *command = given.rest
    if not squashfs(image):
        if "/" in image:
            raise error(f"Invalid argument: {image}")
        if environ.get("STUB_STORE") and image not in images.recorded(environ, "enroot"):
            raise error(f"No such file or directory: {image}")
    env: dict[str, str] = {}
    for text in given.all("env"):
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*(=|$)", text):
            raise error(f"Invalid argument: {text}")
        env |= assignment(text, environ, error(f"Invalid argument: {text}"))
    for path in (*given.all("rc"), *given.all("conf")):
        if not Path(path).is_file():
            raise error(f"No such file or directory: {path}")
    mounts = [mount(text) for text in given.all("mount")]
    wanted = [key for key in ("root", "rw", "pid", "net", "ipc", "uts") if given.has(key)]
    return accept("enroot", command, image=image, mounts=mounts, env=env, flags=wanted)


def _named(command: str, given: Parsed, environ: Mapping[str, str]) -> int:
    if command == "version":
        sys.stdout.write("4.0.1\n")
    if command == "list":
        sys.stdout.write("".join(f"{name}\n" for name in sorted(images.recorded(environ, "enroot"))))
    for name in given.rest if command == "remove" else ():
        if "/" in name or name not in images.recorded(environ, "enroot"):
            raise error(f"No such file or directory: {name}")
        images.record(environ, "enroot", name, present=False)
    return 0


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    command = argv[0] if argv else ""
    usage = f"Usage: enroot {command if command in COMMANDS else 'COMMAND'} [options] [--] ..."
    if command not in COMMANDS:
        raise Refusal(usage)
    style = Style(unknown=usage, missing=usage, surplus=usage, sticky=False, empty=False)
    given = Grammar(COMMANDS[command], style).parse(argv[1:])
    if command in {"version", "list", "remove"}:
        return _named(command, given, environ)
    if not given.rest or (command != "start" and len(given.rest) > 1):
        raise Refusal(usage)
    return {"import": _import, "create": _create, "start": _start}[command](given, environ)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be enroot."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
