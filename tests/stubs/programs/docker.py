"""A stub of `docker`.

Grammar: `docker COMMAND --help` of Docker 28.2.2, docs.docker.com/reference/cli/docker, docker/cli opts/mount.go.
A run of an image that is not there pulls it, as the real one does; "created" marks folders that -v would make.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images, oci
from tests.stubs.grammar import Parsed, Refusal, flags, guard, run, valued

ENGINE = oci.Engine(podman=False)
COMMANDS = {
    "run": oci.DOCKER_RUN,
    "pull": (*flags("--all-tags,-a --disable-content-trust --quiet,-q"), *valued("--platform")),
    "save": valued("--output,-o --platform"),
    "load": (*flags("--quiet,-q"), *valued("--input,-i --platform")),
    "images": (*flags("--all,-a --digests --no-trunc --quiet,-q --tree"), *valued("--filter,-f --format")),
    "image inspect": valued("--format,-f --platform"),
}
_NEEDS = {"pull": "1 argument", "save": "at least 1 argument", "image inspect": "at least 1 argument"}


def _pull(given: Parsed, environ: Mapping[str, str]) -> int:
    name = given.rest[0]
    ENGINE.reference(name)
    if not images.pullable(environ, name):
        raise Refusal(f"Error response from daemon: manifest for {name} not found: manifest unknown: manifest unknown")
    images.record(environ, "docker", name)
    sys.stdout.write(f"{images.normal(name)}\n")
    return 0


def _local(names: list[str], environ: Mapping[str, str]) -> None:
    for name in names:
        if not images.has(environ, "docker", name):
            raise Refusal(f"Error response from daemon: No such image: {name}")


def _save(given: Parsed, environ: Mapping[str, str]) -> int:
    _local(given.rest, environ)
    if not given.has("output"):
        raise Refusal("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    output = Path(given.last("output"))
    if not output.parent.is_dir():
        raise Refusal(f'invalid output path: directory "{output.parent}" does not exist')
    manifest = json.dumps([{"Config": "config.json", "RepoTags": given.rest, "Layers": []}]).encode()
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    with tarfile.open(output, "w") as archive:
        for name, data in (("manifest.json", manifest), ("config.json", config)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return 0


def _load(given: Parsed, environ: Mapping[str, str]) -> int:
    source = given.last("input")
    if not source:
        raise Refusal("requested load from stdin, but stdin is empty")
    try:
        with tarfile.open(source) as archive:
            member = archive.extractfile("manifest.json")
            names = json.loads(member.read())[0]["RepoTags"] if member else []
    except (OSError, KeyError, tarfile.TarError):
        raise Refusal(f"open {source}: no such file or directory") from None
    for name in names:
        images.record(environ, "docker", name)
        sys.stdout.write(f"Loaded image: {name}\n")
    return 0


def _inspect(given: Parsed, environ: Mapping[str, str]) -> int:
    _local(given.rest, environ)
    sys.stdout.write(f"{oci.inspected(given.rest)}\n")
    return 0


def _images(given: Parsed, environ: Mapping[str, str]) -> int:
    for name in sorted(images.stored(environ, "docker")):
        sys.stdout.write(f"{name}\n")
    return 0


def _run(given: Parsed, environ: Mapping[str, str]) -> int:
    return ENGINE.run(given, environ)


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    if argv[:1] in (["--version"], ["-v"]):
        sys.stdout.write("Docker version 28.2.2, build stub\n")
        return 0
    command = " ".join(argv[:2]) if argv[:1] == ["image"] else " ".join(argv[:1])
    aliases = {"image pull": "pull", "image save": "save", "image load": "load", "image ls": "images"}
    words, command = command.split(), aliases.get(command, command)
    if command not in COMMANDS:
        raise Refusal(f"docker: unknown command: docker {command}\n\nRun 'docker --help' for more information")
    usage = f"\nUsage:  docker {command} [OPTIONS]\n\nRun 'docker {command} --help' for more information"
    given = oci.grammar(COMMANDS[command], usage, 125).parse(argv[len(words) :])
    wanted = _NEEDS.get(command, "")
    if wanted and (not given.rest or (wanted[0] == "1" and len(given.rest) > 1)):
        raise Refusal(f"docker: 'docker {command}' requires {wanted}\n{usage}")
    steps = {"run": _run, "pull": _pull, "save": _save, "load": _load, "images": _images, "image inspect": _inspect}
    return steps[command](given, environ)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be docker."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
