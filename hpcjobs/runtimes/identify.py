"""Which program a runtime's command really is, and of which version: asked once, then known until it changes."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths
from hpcjobs.errors import UnreachableError
from hpcjobs.runtimes import program

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcjobs.model import RuntimeConfig
    from hpcjobs.process import Runner

# Those for which it matters: under the name `singularity` there are three programs, and ch-run learnt to make places.
_ASKED = frozenset({"apptainer", "singularity", "charliecloud"})
_TIMEOUT = 10.0
_NAMED = re.compile(r"^(apptainer|singularity-ce|singularity-pro|SingularityPRO|singularity) version (\d[\w.+~-]*)")
_NUMBER = re.compile(r"\d+\.\d+")


def identify(config: RuntimeConfig, runner: Runner, which: Callable[[str], str | None]) -> RuntimeConfig:
    """The same with its `version` filled in: `apptainer 1.4.5`, `singularity-ce 4.1.2`, `0.31`.

    What the site says is believed, since it may be of the nodes; a program that is not on this machine, or that a
    module brings to the nodes, stays unknown.
    """
    if config.version or config.modules or config.kind not in _ASKED:
        return config
    found = which(program(config))
    if not found:
        return config
    file = Path(found)
    stamp = f"{file.resolve()} {file.stat().st_mtime_ns}"
    cache = paths.cache_home() / "runtimes.json"
    known = _read(cache)
    version = known.get(stamp) or _ask(found, runner)
    if version and stamp not in known:
        _write(cache, {**known, stamp: version})
    return replace(config, version=version)


def words(text: str) -> str:
    """The version in the answer to `--version`; empty if it tells none."""
    first = text.strip().splitlines()[0].strip() if text.strip() else ""
    if match := _NAMED.match(first):
        return f"{match[1]} {match[2]}"
    return first if _NUMBER.match(first) else ""


def _ask(command: str, runner: Runner) -> str:
    # ch-run tells nothing without USER, which cron and containers do not set.
    environment = {"USER": "nobody", **os.environ}
    try:
        done = runner((command, "--version"), timeout=_TIMEOUT, env=environment)
    except UnreachableError:
        return ""
    return "" if done.code else words(done.out or done.err)  # ch-run before 0.32 tells it on stderr


def _read(cache: Path) -> dict[str, str]:
    try:
        return dict(json.loads(cache.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _write(cache: Path, known: dict[str, str]) -> None:
    try:
        paths.make_private(cache.parent)
        paths.write_private(cache, json.dumps(known))
    except OSError:
        return  # asked again the next time
