"""A stub of `sarus`.

Grammar: eth-cscs/sarus 4a8fdc4 (1.7.0, 2024-10): options of src/cli/Command*.hpp, read by Boost's program_options in
unix_style; image names of src/cli/regex.cpp; mounts and devices of src/libsarus/{Mount,Device}Parser.cpp; forbidden
targets of doc/config/configuration_reference.rst. `STUB_MPI_TYPES` is a JSON list of the site's --mpi-type.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images
from tests.stubs.grammar import Grammar, Parsed, Refusal, Style, accept, assignment, flags, guard, run, valued


def _style(command: str) -> Style:
    return Style(
        unknown="unrecognised option '{0}'",
        missing="the required argument for option '{0}' is missing",
        surplus="option '{0}' does not take any arguments",
        repeated="option '{0}' cannot be specified more than once",
        usage=f"See 'sarus help {command}'",
        dashed=False,
        empty=False,
    )


_STORE = flags("--centralized-repository", repeat=False)
_ONCE = valued("--entrypoint --mpi-type --name,-n --workdir,-w", repeat=False)
COMMANDS = {
    "run": (
        *_STORE,
        *_ONCE,
        *flags("--glibc --init --mpi,-m --ssh --tty,-t", repeat=False),
        *valued("--pid", repeat=False, only=("host", "private")),
        *valued("--annotation --device --env,-e --mount"),
    ),
    "pull": (*_STORE, *flags("--login --password-stdin", repeat=False), *valued("--temp-dir --username,-u")),
    "load": (*_STORE, *valued("--temp-dir")),
    "images": (*_STORE, *flags("--digests")),
    "rmi": _STORE,
    "hooks": flags("--mpi,-m"),
}
_COUNTS = {"run": (1, None), "pull": (1, 1), "load": (2, 2), "images": (0, 0), "rmi": (1, 1), "hooks": (0, 0)}
# Beginnings of a path, not folders: /variable is refused as well.
_FORBIDDEN = ("/etc", "/var", "/opt/sarus")
_SPLIT = {"source": ("source", "src"), "destination": ("destination", "dst", "target")}


def reference(name: str) -> str:
    """The image's name, if it is one: no scheme, no `..`."""
    if ".." in name:
        raise Refusal(
            f"Invalid image reference '{name}'\nImage references are not allowed to contain the sequence '..'"
        )
    if not images.REFERENCE.fullmatch(name):
        raise Refusal(f"Invalid image reference '{name}'")
    return name


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        if not key or "=" in value or key in pairs:
            raise Refusal(f"Error parsing '{text}'. Invalid key-value pair '{part}'")
        pairs[key] = value
    return pairs


def _path(text: str, pairs: dict[str, str], end: str) -> str:
    found = [key for key in _SPLIT[end] if key in pairs]
    if len(found) != 1:
        what = f"no {end} specified" if not found else f"multiple formats used to specify mount {end}"
        raise Refusal(f"Invalid mount request '{text}': {what}")
    path = pairs.pop(found[0])
    if not path.startswith("/"):
        what = "must be an absolute path" if path else "is empty"
        raise Refusal(f"Invalid mount request '{text}': {end} {what}")
    return path


def mount(text: str) -> dict[str, str]:
    """type=bind,source=S,destination=D[,readonly][,bind-propagation=P]."""
    pairs = _pairs(text)
    kind = pairs.pop("type", "")
    if kind != "bind":
        what = f"'{kind}' is not a valid mount type" if kind else "'type' must be specified"
        raise Refusal(f"Invalid mount request '{text}': {what}")
    source, target = _path(text, pairs, "source"), _path(text, pairs, "destination")
    for key in pairs.keys() - {"readonly"}:
        raise Refusal(f"Invalid mount request '{text}': '{key}' is not a valid bind mount option")
    if target.startswith(_FORBIDDEN) or target == "/opt":
        raise Refusal(f"Invalid mount request '{text}': destination cannot be a subdirectory of '{target}'")
    if not Path(source).exists():
        raise Refusal(f"Failed to find real path for mount source: No such file or directory: {source}")
    return {"source": source, "target": target, **({"flags": "readonly"} if "readonly" in pairs else {})}


def device(text: str) -> str:
    """HOST[:CONTAINER][:ACCESS]; whether the host has it is not asked."""
    parts = text.split(":")
    access = parts[-1] if len(parts) == 3 or (len(parts) == 2 and not parts[1].startswith("/")) else "rwm"
    paths = [part for part in parts[:2] if part is not access]
    if len(parts) > 3 or any(not path.startswith("/") for path in paths):
        raise Refusal(f"Invalid device request '{text}': device path must be absolute")
    if not re.fullmatch(r"[rwm]{1,3}", access) or len(set(access)) != len(access):
        raise Refusal(f"Invalid device request '{text}': access must be a combination of 'rwm'")
    return text


def _run(given: Parsed, environ: Mapping[str, str]) -> int:
    name = reference(given.rest[0])
    env: dict[str, str] = {}
    for text in given.all("env"):
        wrong = Refusal(f"Error parsing environment variable requested from CLI '{text}': key is empty")
        env |= assignment(text, environ, wrong)
    for text in given.all("annotation"):
        if not text.partition("=")[0]:
            raise Refusal(f"Error parsing annotation from CLI '{text}': key is empty")
    _consistent(given, environ)
    mounts = [mount(text) for text in given.all("mount")]
    devices = [device(text) for text in given.all("device")]
    if not images.has(environ, "sarus", name):
        raise Refusal(f"Image {images.normal(name)} is not available")
    return accept(
        "sarus",
        given.rest[1:],
        image=name,
        mounts=mounts,
        devices=devices,
        env=env,
        workdir=given.last("workdir"),
        entrypoint=given.last("entrypoint") or ("(none)" if given.has("entrypoint") else ""),
        mpi=given.last("mpi-type") or given.has("mpi"),
        annotations=given.all("annotation"),
        flags=[key for key in ("glibc", "init", "ssh", "tty") if given.has(key)],
    )


def _consistent(given: Parsed, environ: Mapping[str, str]) -> None:
    if given.has("workdir") and not given.last("workdir").startswith("/"):
        raise Refusal(f"The working directory '{given.last('workdir')}' is invalid, it needs to be an absolute path.")
    if given.has("mpi-type") and not given.last("mpi-type"):
        raise Refusal("Empty value provided for --mpi-type option")
    types = json.loads(environ.get("STUB_MPI_TYPES", "null"))
    if given.has("mpi-type") and types is not None and given.last("mpi-type") not in types:
        raise Refusal(f"Failed to activate MPI hooks: type '{given.last('mpi-type')}' is not configured")
    if given.has("ssh") and given.last("pid") == "host":
        raise Refusal("The use of '--ssh' is incompatible with '--pid=host'.")


def _pull(given: Parsed, environ: Mapping[str, str]) -> int:
    name = reference(given.rest[0])
    if given.has("login") and given.has("password-stdin"):
        raise Refusal("The options '--password-stdin' and '--login' cannot be used together")
    if not images.pullable(environ, name):
        raise Refusal(f"Failed to pull image {images.normal(name)}\nError reading manifest: manifest unknown")
    images.record(environ, "sarus", name)
    sys.stdout.write(f"# image            : {images.normal(name)}\n> pulling image     : {name}\n")
    return 0


def _load(given: Parsed, environ: Mapping[str, str]) -> int:
    archive, name = given.rest[0], reference(given.rest[1])
    if not Path(archive).is_file():
        raise Refusal(f"Failed to load image: archive {archive} does not exist")
    if "@" in name:
        raise Refusal("Destination image reference must not contain a digest when loading the image from a file")
    images.record(environ, "sarus", f"load/library/{name}" if "/" not in name else f"load/{name}")
    return 0


def _rmi(given: Parsed, environ: Mapping[str, str]) -> int:
    name = reference(given.rest[0])
    if not images.has(environ, "sarus", name):
        raise Refusal(f"Cannot find image '{images.normal(name)}'")
    images.record(environ, "sarus", name, present=False)
    return 0


def _images(environ: Mapping[str, str]) -> int:
    sys.stdout.write("REPOSITORY   TAG   IMAGE ID   CREATED   SIZE   SERVER\n")
    for name in sorted(images.stored(environ, "sarus")):
        host, _, path = name.partition("/")
        repository, _, tag = path.replace("@", ":").partition(":")
        sys.stdout.write(f"{repository}   {tag}   0123456789ab   2026-01-01T00:00:00   1.00MB   {host}\n")
    return 0


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    outer = Grammar(flags("--help --version --debug --verbose"), _style("")).parse(argv)
    if outer.has("version") or outer.rest[:1] == ["version"]:
        sys.stdout.write("1.7.0\n")
        return 0
    command = outer.rest[0] if outer.rest else "help"
    if command not in COMMANDS:
        raise Refusal(f"'{command}' is not a Sarus command\nSee 'sarus help'")
    given = Grammar(COMMANDS[command], _style(command)).parse(outer.rest[1:])
    least, most = _COUNTS[command]
    if len(given.rest) < least or (most is not None and len(given.rest) > most):
        quantity = "few" if len(given.rest) < least else "many"
        raise Refusal(f"Too {quantity} arguments for command '{command}'\nSee 'sarus help {command}'")
    if command == "images":
        return _images(environ)
    if command == "hooks":
        sys.stdout.write("NAME   PATH   STAGES\n")
        return 0
    return {"run": _run, "pull": _pull, "load": _load, "rmi": _rmi}[command](given, environ)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be sarus."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
