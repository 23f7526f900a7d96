"""Somebody at a terminal: a program in a pseudo-terminal, what it shows, and what is typed."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import Self


class Typing:
    """Run a program in a terminal of 24 lines and 100 columns."""

    def __init__(self, argv: Sequence[str | Path], cwd: Path) -> None:
        self.shown = ""
        self._terminal, theirs = os.openpty()
        self.resize(24, 100)
        # In a session of its own, whose terminal this is.
        command = ["setsid", "--ctty", "--wait", *argv]
        self._process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd)
        os.close(theirs)

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def until(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """What is shown up to the pattern; it is taken off."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.shown)):
            assert time.monotonic() < end, f"no {pattern!r} in: {self.shown!r}"
            assert self._read(1), f"it ended without {pattern!r}: {self.shown!r}"
        self.shown = self.shown[found.end() :]
        return found

    def ended(self, seconds: float = 30) -> int:
        """Its exit code, once it ends by itself."""
        end = time.monotonic() + seconds
        while self._read(0.2):
            assert time.monotonic() < end, f"it goes on: {self.shown!r}"
        return self._process.wait(10)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._terminal], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # Linux says so of a terminal that nobody has open any more
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, at: object) -> None:
        os.close(self._terminal)  # which hangs up
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            assert error, "it outlived its terminal"
