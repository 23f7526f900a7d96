"""`hpcjob`, also `python -m hpcjobs`."""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (by default the process's own); the exit code."""
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted (`| head`); the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return code


def _run(words: list[str]) -> int:
    # The two that scripts and people ask for most need nothing to be imported (docs/adr/0003).
    if words in ([], ["-h"], ["--help"], ["help"]) and "_HPCJOB_COMPLETE" not in os.environ:
        with open(__file__.removesuffix("__main__.py") + "cli/help.txt", encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 4 ms
            sys.stdout.write(file.read())
        return 0
    if words == ["--version"]:
        from hpcjobs import __version__

        sys.stdout.write(f"hpcjob {__version__}\n")
        return 0
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    # A command makes many objects, keeps them to its end, and ends soon: looking for cycles takes 3 % of its time.
    gc.set_threshold(100_000)
    from hpcjobs.cli.main import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
