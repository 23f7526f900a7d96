"""How downloads and conversions are told of: a bar on a terminal's stderr, plain lines anywhere else."""

from __future__ import annotations

import signal
import sys

from hpcjobs.cli import out
from hpcjobs.image_service import Telling

_REDRAW = 0.1  # seconds
_WIDTH = 24
_MB = 1_000_000


class Bar:
    """One line that is drawn again and again."""

    def __init__(self) -> None:
        self._begin = self._drawn = 0.0
        self._first = 0
        self._open = False
        self._done = ""
        self._tty = sys.stderr.isatty()

    def progress(self, what: str, done: int, total: int) -> None:
        """Draw how many bytes of `total` are there."""
        if not self._tty or self._done == what:
            return
        now = out.now()
        if not self._open:
            self._begin, self._first, self._open = now, done, True
        if now - self._drawn < _REDRAW and done < total:
            return
        self._drawn = now
        sys.stderr.write("\r" + self.line(what, done, total, now - self._begin)[: out.width() - 1] + "\x1b[K")
        if done >= total:
            sys.stderr.write("\n")
            self._open, self._done = False, what
        sys.stderr.flush()

    def line(self, what: str, done: int, total: int, seconds: float) -> str:
        """The line, for `seconds` since the first one."""
        part = done / total if total else 1.0
        full = int(part * _WIDTH)
        rate = (done - self._first) / seconds / _MB if seconds > 0 else 0.0
        left = f" {(total - done) / _MB / rate:.0f} s left" if rate > 0 and done < total else ""
        size = f"{done / _MB:.0f}/{total / _MB:.0f} MB {rate:.0f} MB/s{left}"
        return f"{out.clean(what.rpartition('/')[2])} [{'#' * full}{'.' * (_WIDTH - full)}] {part:4.0%} {size}"

    def say(self, text: str) -> None:
        """A line of its own."""
        if self._open:
            sys.stderr.write("\n")
            self._open = False
        out.tell(out.clean(text))


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def telling() -> Telling:
    """A new bar. What is started meanwhile ends with this process, also if that is ended by a signal."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
            signal.signal(number, _end)
    bar = Bar()
    return Telling(bar.progress, bar.say)
