"""`hpcjob image inspect`: by itself, since a known image is told of at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hpcjobs import paths
from hpcjobs.cli import out
from hpcjobs.images import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.cli.options import ImageName, Json
    from hpcjobs.images.report import Library, Report
    from hpcjobs.process import Completed

_MB = 1_000_000


def inspect(image: ImageName, *, json: Json = False) -> int:
    """Show what an image is and what is in it.

    Format, CPU, operating system, digest, labels, entrypoint, signatures, MPI and GPU libraries; without running it.
    """
    found = _remote(image) if "://" in image else report.report(image, runner=_run, cache=paths.cache_home() / "images")
    if json:
        # Whether it is complete is the cache's business; `notes` say what is not known.
        out.dump(image={key: value for key, value in asdict(found).items() if key != "complete"})
    else:
        for key, value in _lines(found):
            out.say(f"{key:<12}{out.clean(value)}")
    return 0


def _remote(image: str) -> Report:
    from hpcjobs import process
    from hpcjobs.image_service import Images
    from hpcjobs.model import Site

    return Images(Site(name=""), process.run).report(image)  # which site it is changes nothing


def _run(*args: Any, **more: Any) -> Completed:
    from hpcjobs.process import run

    return run(*args, **more)


def _lines(found: Report) -> Iterator[tuple[str, str]]:
    """What is known, a line each."""
    size = f"{found.size / _MB:.1f} MB" if found.size else ""
    signed = ", ".join(f"{one.get('fingerprint', '')} ({one.get('hash', '')})".strip() for one in found.signatures)
    pairs = {
        "image": found.path,
        "format": found.format,
        "cpu": found.arch,
        "os": found.os,
        "libc": f"{found.libc} {found.libc_version}".strip(),
        "size": size,
        "digest": found.digest,
        "created": found.created,
        "encrypted": "yes" if found.encrypted else "",
        "signed by": signed,
        "entrypoint": found.entrypoint,
        "runscript": "yes" if found.runscript else "",
        "command": found.cmd,
        "workdir": found.workdir,
        "apps": ", ".join(found.apps),
        "mpi": _libraries(found.mpi),
        "gpu": _libraries(found.gpu),
        "fabric": _libraries(found.fabric),
    }
    yield from ((key, value) for key, value in pairs.items() if value)
    yield from (("label", f"{key}={value}") for key, value in sorted(found.labels.items()))
    yield from (("env", f"{key}={value}") for key, value in sorted(found.environment.items()))
    yield from (("note", note) for note in found.notes)


def _libraries(found: list[Library]) -> str:
    return ", ".join(f"{one.name} ({one.family}, {one.path})" for one in found)
