"""What was read and checked before: a submission need not pay for YAML and pydantic again.

An entry holds for exactly the site files that there were, by path, size and time of change: a file that is
changed, added (it may shadow another) or removed anywhere in the search path makes it worthless.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import __version__, paths
from hpcjobs.model import DetectConfig, Site, restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# An entry that is not there, half written or of another time: the files are read anew.
_MONTH = 30 * 86400.0  # seconds
_UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


def recall(path: Path, around: Iterable[Path]) -> Site | None:
    """The site in the file `path`, if it was kept and no file has changed since; `around`: all site files there are."""
    with suppress(*_UNUSABLE):
        kept = _read(_entry(path), [path, *around])
        if kept and kept["chain"] == _stamp(Path(file) for file, *_ in kept["chain"]):
            return restore(Site, kept["site"])
    return None


def keep(path: Path, site: Site, chain: Iterable[Path], around: Iterable[Path]) -> None:
    """Keep a site that was read from `path` and the files it extends (`chain`)."""
    with suppress(OSError):  # a file went away meanwhile
        kept = {"chain": _stamp(sorted(set(chain))), "site": dataclasses.asdict(site)}
        _write(_entry(path), [path, *around], kept)


def recall_detection(around: Sequence[Path]) -> dict[Path, DetectConfig | None]:
    """How each site is recognised, if that was kept and no file has changed since; else nothing."""
    with suppress(*_UNUSABLE):
        kept = _read(_detection(around), around) or {"sections": {}}
        return {Path(file): data and restore(DetectConfig, data) for file, data in kept["sections"].items()}
    return {}


def keep_detection(sections: Mapping[Path, DetectConfig | None]) -> None:
    """Keep how each site is recognised; the keys are all site files there are."""
    kept = {str(path): config and dataclasses.asdict(config) for path, config in sections.items()}
    _write(_detection(sections), sections, {"sections": kept})


def full_hostname(short: str) -> str:
    """The host's name with its domain: where no name server answers, asking takes many seconds."""
    entry = paths.cache_home() / f"hostname-{_key(short)}.json"
    with suppress(*_UNUSABLE):
        kept = json.loads(entry.read_text("utf-8"))
        if 0 <= time.time() - kept["at"] < _MONTH:
            return str(kept["name"])
    from socket import getfqdn

    name = getfqdn(short)
    with suppress(OSError):
        paths.make_private(entry.parent)
        paths.write_private(entry, json.dumps({"at": time.time(), "name": name}))
    return name


def _detection(around: Iterable[Path]) -> Path:
    # Named for the files: a project with sites of its own has an entry of its own.
    return paths.cache_home() / f"detect-{_key(os.pathsep.join(map(str, around)))}.json"


def _entry(path: Path) -> Path:
    return paths.cache_home() / f"site-{path.stem}-{_key(str(path))}.json"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _stamp(files: Iterable[Path]) -> list[list[str | int]]:
    stamps: list[list[str | int]] = []
    for file in files:
        status = file.stat()
        stamps.append([str(file), status.st_mtime_ns, status.st_size])
    return stamps


def _read(entry: Path, files: Iterable[Path]) -> dict[str, Any] | None:
    kept: dict[str, Any] = json.loads(entry.read_text("utf-8"))
    return kept if kept["version"] == __version__ and kept["around"] == _stamp(files) else None


def _write(entry: Path, files: Iterable[Path], kept: Mapping[str, Any]) -> None:
    try:
        text = json.dumps({"version": __version__, "around": _stamp(files), **kept})
        paths.make_private(entry.parent)
        paths.write_private(entry, text)
    except (OSError, TypeError):
        return  # a full or read-only home shows at the reservation, with a better message
