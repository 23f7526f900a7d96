"""Logging of what the program does: `-v`, `-vv`, HPCJOBS_LOG."""

from __future__ import annotations

import logging
from pathlib import Path

from hpcjobs.errors import UsageError

_LOGGER = logging.getLogger("hpcjobs")
_handlers: list[logging.Handler] = []
_FORMAT = "%(asctime)s.%(msecs)03d %(name)s[%(process)d] %(message)s"


def to_stderr(verbosity: int) -> None:
    """Show scheduler commands and how long they took (1), and all that they answered (2)."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))
    _add(handler, logging.INFO if verbosity == 1 else logging.DEBUG)


def to_file(name: str) -> None:
    """Append everything to a file."""
    try:
        handler = logging.FileHandler(Path(name).expanduser(), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(
            f"HPCJOBS_LOG={name} cannot be written: {error.strerror}", hint="name another file, or unset HPCJOBS_LOG"
        ) from error
    handler.setFormatter(logging.Formatter(_FORMAT, "%Y-%m-%d %H:%M:%S"))
    _add(handler, logging.DEBUG)


def close() -> None:
    """Stop logging; for a process that runs several command lines."""
    for handler in _handlers:
        _LOGGER.removeHandler(handler)
        handler.close()
    _handlers.clear()
    _LOGGER.setLevel(logging.NOTSET)


def _add(handler: logging.Handler, level: int) -> None:
    handler.setLevel(level)
    _LOGGER.setLevel(min(level, _LOGGER.level or level))
    _LOGGER.addHandler(handler)
    _handlers.append(handler)
