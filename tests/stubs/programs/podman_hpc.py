"""A stub of `podman-hpc`.

Grammar: NERSC/podman-hpc 01b02d6 (1.1.4, 2026-04): podman_hpc/podman_hpc.py and etc/modules.d; the rest is Podman's,
of `podman COMMAND --help` 4.3.1. click reads a module's flag, and --help, wherever it stands, behind the image as
well, unless a `--` stands before it: the program never sees it, nor the first `--`. Modules that exclude each other
only draw a warning.
`STUB_MODULES` is a JSON list of the site's flags.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images, oci
from tests.stubs.grammar import Grammar, Parsed, Refusal, flags, guard, run, valued

ENGINE = oci.Engine(podman=True)
MODULES = (
    *("cfs", "cuda-mpi", "cvmfs", "gpu", "home", "jupyter", "mpi", "nccl", "openmpi-pmi2", "openmpi-pmix"),
    "scratch",
)
SHARED = ("cuda-mpi", "mpi", "openmpi-pmi2")
_MPI = ("cuda-mpi", "mpi", "openmpi-pmi2", "openmpi-pmix")
_OUTER = (*flags("--update-conf --help"), *valued("--additional-stores --squash-dir --log-level"))
_PULL = (
    *flags("--all-tags,-a --disable-content-trust --quiet,-q --tls-verify"),
    *valued("--arch --authfile --cert-dir --creds --os --platform --variant"),
)
_IMAGES = (
    *flags("--all,-a --digests --history --no-trunc --noheading,-n --quiet,-q"),
    *valued("--filter,-f --format --sort"),
)
_BUILD = (
    *flags("--all-platforms --compress --disable-compression,-D --force-rm --http-proxy --layers --no-cache --pull"),
    *flags("--quiet,-q --rm --squash --squash-all --stdin --tls-verify"),
    *valued("--add-host --annotation --arch --authfile --build-arg --build-context --cache-from --cap-add --cap-drop"),
    *valued("--creds --device --env --file,-f --format --from --ignorefile --isolation --jobs --label --memory,-m"),
    *valued("--network --os --output,-o --platform --secret --security-opt --shm-size --ssh --tag,-t --target"),
    *valued("--timestamp --ulimit --unsetenv --userns --variant --volume,-v"),
)


def _split(argv: list[str], environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Take the flags of the site's modules out, wherever they are."""
    known = {f"--{name}" for name in json.loads(environ.get("STUB_MODULES", "null")) or MODULES}
    end = argv.index("--") if "--" in argv else len(argv)
    asked = [word for word in argv[:end] if word in known]
    kept = [word for word in argv[:end] if word not in known]
    return [word.removeprefix("--") for word in asked], [*kept, *argv[end + 1 :]]


def _run(command: str, argv: list[str], environ: Mapping[str, str]) -> int:
    modules, words = _split(argv, environ)
    if "--help" in argv[: argv.index("--") if "--" in argv else len(argv)]:
        sys.stdout.write(f"Usage: podman-hpc {command} [options] IMAGE [COMMAND [ARG...]]\n")
        return 0
    given = oci.grammar(oci.PODMAN_RUN, "See 'podman run --help'").parse(words)
    clash = [name for name in modules if name in _MPI]
    if len(set(clash)) > 1:
        sys.stderr.write(f"WARNING: Module conflicts: {' '.join(clash)} cannot be used together.\n")
    return ENGINE.run(
        given, environ, modules=modules, shared=command == "shared-run" or any(name in SHARED for name in modules)
    )


def _pull(given: Parsed, environ: Mapping[str, str]) -> int:
    if len(given.rest) != 1:
        raise Refusal("Error: Missing argument 'IMAGE'.", 2)
    ENGINE.reference(given.rest[0])
    if not images.pullable(environ, given.rest[0]):
        raise Refusal("Error: initializing source: manifest unknown\nPull failed.", 125)
    images.record(environ, "podman-hpc", given.rest[0])
    sys.stdout.write("INFO: Migrating image to /scratch/storage\n")
    return 0


def _squashed(command: str, words: list[str], environ: Mapping[str, str]) -> int:
    given = Grammar((), oci.grammar((), "", 2).style).parse(words)
    if len(given.rest) != 1:
        raise Refusal("Error: Missing argument 'IMAGE'.", 2)
    if not images.has(environ, "podman-hpc", given.rest[0]):
        raise Refusal(f"Image {given.rest[0]} not found")
    images.record(environ, "podman-hpc", given.rest[0], present=command == "migrate")
    return 0


def _images(environ: Mapping[str, str]) -> int:
    sys.stdout.write("REPOSITORY  TAG  IMAGE ID  CREATED  SIZE  R/O\n")
    for name in sorted(images.stored(environ, "podman-hpc")):
        sys.stdout.write(f"{name.rpartition(':')[0]}  {name.rpartition(':')[2]}  0123456789ab  now  1 MB  true\n")
    return 0


def _build(given: Parsed, environ: Mapping[str, str]) -> int:
    context = given.rest[0] if given.rest else "."
    if not Path(context).is_dir():
        raise Refusal(f"Error: context must be a directory: {context!r}", 125)
    files = (
        [given.last("file")] if given.has("file") else [f"{context}/{name}" for name in ("Containerfile", "Dockerfile")]
    )
    if not any(Path(name).is_file() for name in files):
        raise Refusal("Error: no Containerfile or Dockerfile specified or found in context directory", 125)
    for name in given.all("tag"):
        images.record(environ, "podman-hpc", f"localhost/{name}")
    return 0


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    if "--version" in argv[:1]:
        sys.stdout.write("podman version 4.3.1\n")
        return 0
    outer = oci.grammar(_OUTER, "Try 'podman-hpc --help' for help.", 2).parse(argv)
    command, words = (outer.rest[0] if outer.rest else ""), outer.rest[1:]
    if command in {"run", "shared-run"}:
        return _run(command, words, environ)
    if command in {"migrate", "rmsqi"}:
        return _squashed(command, words, environ)
    usage = f"See 'podman {command} --help'"
    if command == "pull":
        return _pull(oci.grammar(_PULL, usage).parse(words), environ)
    if command == "images":
        oci.grammar(_IMAGES, usage).parse(words)
        return _images(environ)
    if command == "build":
        return _build(oci.grammar(_BUILD, usage).parse(words), environ)
    raise Refusal(f"Error: unrecognized command `podman {command}`\nTry 'podman --help' for more information", 125)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be podman-hpc."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
