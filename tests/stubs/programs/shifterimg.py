"""A stub of `shifterimg`.

Grammar: NERSC/shifter 84b7d34 (2026-06), src/shifterimg.c. Its help names -u and -g, which its parser does not know.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images
from tests.stubs.grammar import GETOPT, Grammar, Refusal, flags, guard, run, valued
from tests.stubs.programs import shifter

_USAGE = "Usage:\n shifterimg [options] <mode> <type:tag>"
GRAMMAR = Grammar((*flags("--help,-h --verbose,-v"), *valued("--user --group")), GETOPT)
MODES = ("images", "login", "lookup", "pull", "pullnb", "expire", "autoexpire")


def identifier(name: str) -> str:
    """An image's identifier, which a gateway would know."""
    return hashlib.sha256(name.encode()).hexdigest()


def _pull(kind: str, tag: str, environ: Mapping[str, str]) -> int:
    if kind != "docker" or not images.REFERENCE.fullmatch(tag) or not images.pullable(environ, tag):
        sys.stdout.write(f"2026-01-01T00:00:00 Pulling Image: {kind}:{tag}, status: FAILURE\n")
        return 0
    images.record(environ, "shifter", tag)
    sys.stdout.write(f"2026-01-01T00:00:00 Pulling Image: {kind}:{tag}, status: READY\n")
    return 0


def _lookup(kind: str, tag: str, environ: Mapping[str, str]) -> int:
    if not shifter.present(kind, tag, environ):
        raise Refusal("FAILED to lookup image")
    sys.stdout.write(f"{identifier(images.normal(tag))}\n")
    return 0


def _images(environ: Mapping[str, str]) -> int:
    for name in sorted(images.stored(environ, "shifter")):
        row = f"{'cluster':<10} {'docker':<10} {'READY':<8} {identifier(name)[:10]}   2026-01-01T00:00:00 {name:<30}"
        sys.stdout.write(f"{row}\n")
    return 0


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    given = GRAMMAR.parse(argv)
    if not given.rest:
        raise Refusal(f"Must specify mode (images, lookup, pull)!\n{_USAGE}")
    mode, *rest = given.rest
    if mode not in MODES:
        raise Refusal(f"Invalid mode specified\n{_USAGE}")
    if mode == "images":
        return _images(environ)
    if mode == "login":
        return 0
    if not rest:
        raise Refusal(f"FAILED to parse image descriptor.\n{_USAGE}")
    kind, tag = shifter.image(rest[0])
    if mode in {"pull", "pullnb"}:
        return _pull(kind, tag, environ)
    return _lookup(kind, tag, environ)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be shifterimg."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
