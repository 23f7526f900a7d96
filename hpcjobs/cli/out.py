"""What the command line prints: data on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from hpcjobs.errors import HpcjobError

JSON_VERSION = 1

# Colours mean the same everywhere: green done, red failed, yellow needs attention, cyan something to type.
_COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1"}


@dataclass
class Settings:
    """What the common options of the command line set."""

    color: str = "auto"


settings = Settings()


def now() -> float:
    """The time that ages and elapsed times are counted from, in Unix seconds."""
    return time.time()


def sleep(seconds: float) -> None:
    """Wait; with `now`, the only clock of the command line."""
    time.sleep(seconds)


def colourful(stream: TextIO) -> bool:
    """Whether the stream gets colour: `--color`, else only a terminal, and not if NO_COLOR is set."""
    if settings.color != "auto":
        return settings.color == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour, if the stream takes colour."""
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if colour and colourful(stream) else text


def clean(text: str) -> str:
    """The text with what would move the cursor or break a line written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def say(text: str = "") -> None:
    """A line of data."""
    sys.stdout.write(text + "\n")


def tell(text: str = "") -> None:
    """A line for the person, on stderr."""
    sys.stderr.write(text + "\n")


def hint(text: str) -> None:
    """What to do next, on stderr."""
    tell(f"{paint('hint:', 'cyan', sys.stderr)} {text}")


def warn(text: str) -> None:
    """Something that did not stop the command, on stderr."""
    tell(f"{paint('warning:', 'yellow', sys.stderr)} {text}")


def data(text: str) -> None:
    """Text of a file, byte for byte (surrogates are the bytes that were no UTF-8)."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def dump(**values: Any) -> None:
    """The one JSON value that `--json` prints."""
    document = {"version": JSON_VERSION, **values}
    say(json.dumps(document, indent=2 if sys.stdout.isatty() else None))


def error(problem: HpcjobError) -> None:
    """What happened and what to do, on stderr."""
    tell(f"{paint('error:', 'red', sys.stderr)} {problem.message}")
    if problem.hint:
        tell()
        hint(problem.hint)


def error_json(problem: HpcjobError) -> dict[str, Any]:
    """The same as a JSON object."""
    return {"message": problem.message, "hint": problem.hint, "code": problem.exit_code}


def iso(seconds: float) -> str | None:
    """ISO 8601 in UTC; None for a time that is not known."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if seconds else None


def local(seconds: float) -> str:
    """The time as people here read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "-"


def short(path: str) -> str:
    """The path as people write it, with `~` for their home."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() is no text
    return "~" + path[len(home) :] if path.startswith(home + "/") and home != "/" else path


def width() -> int:
    """Columns of the terminal."""
    from shutil import get_terminal_size

    return get_terminal_size().columns


def table(header: Sequence[str], rows: Iterable[Sequence[str]], colours: Sequence[str] = ()) -> None:
    """A table: aligned and fitted on a terminal, tab-separated and whole anywhere else.

    `colours` are those of the third column, row by row.
    """
    for line in table_lines(header, rows, colours):
        say(line)


def table_lines(header: Sequence[str], rows: Iterable[Sequence[str]], colours: Sequence[str] = ()) -> list[str]:
    """The lines of `table`."""
    cells = [[clean(cell) or "-" for cell in row] for row in rows]
    if not sys.stdout.isatty():
        return ["\t".join(row) for row in (header, *cells)]
    widths = _fit([max(map(len, column)) for column in zip(header, *cells, strict=True)], width())
    lines = []
    for row, colour in zip((header, *cells), ("bold", *(colours or [""] * len(cells))), strict=True):
        short = [_cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)]
        short[-1] = short[-1].rstrip()
        painted = range(len(short)) if colour == "bold" else range(2, 3)
        lines.append(
            "  ".join(paint(cell, colour, sys.stdout) if i in painted else cell for i, cell in enumerate(short))
        )
    return lines


def _fit(widths: list[int], room: int) -> list[int]:
    """Narrow the last column, the second, the third, then the others from the right, until the line fits."""
    for column, least in ((-1, 10), (1, 8), (2, 16), *((i, 6) for i in range(len(widths) - 1, 0, -1))):
        excess = sum(widths) + 2 * (len(widths) - 1) - room
        if excess > 0:
            widths[column] = min(widths[column], max(least, widths[column] - excess))
    return widths


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
