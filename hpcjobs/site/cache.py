"""Sites that were read and checked before: a submission need not pay for YAML and pydantic again.

An entry holds for exactly the site files that there were, by path, size and time of change: a file that is
changed, added (it may shadow another) or removed anywhere in the search path makes it worthless.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from hpcjobs import __version__, paths
from hpcjobs.model import Site, restore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def _stamp(files: Iterable[Path]) -> list[list[str | int]]:
    stamps: list[list[str | int]] = []
    for file in files:
        status = file.stat()
        stamps.append([str(file), status.st_mtime_ns, status.st_size])
    return stamps


def _entry(path: Path) -> Path:
    key = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return paths.cache_home() / f"site-{path.stem}-{key}.json"


def recall(path: Path, around: Iterable[Path]) -> Site | None:
    """The site in the file `path`, if it was kept and no file has changed since; `around`: all site files there are."""
    try:
        kept = json.loads(_entry(path).read_text("utf-8"))
        fresh = kept["version"] == __version__ and kept["around"] == _stamp([path, *around])
        if not fresh or kept["chain"] != _stamp(type(path)(file) for file, *_ in kept["chain"]):
            return None
        return restore(Site, kept["site"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, half written or of another time: it is read anew


def keep(path: Path, site: Site, chain: Iterable[Path], around: Iterable[Path]) -> None:
    """Keep a site that was read from `path` and the files it extends (`chain`)."""
    try:
        kept = {
            "version": __version__,
            "around": _stamp([path, *around]),
            "chain": _stamp(sorted(set(chain))),
            "site": dataclasses.asdict(site),
        }
        entry = _entry(path)
        paths.make_private(entry.parent)
        paths.write_private(entry, json.dumps(kept))
    except (OSError, TypeError):
        return  # a full or read-only home shows at the reservation, with a better message
