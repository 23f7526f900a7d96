"""`hpcjob watch`: the table of `status`, kept up to date."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hpcjobs.cli import jobs as words
from hpcjobs.cli import out
from hpcjobs.cli.wait import going_on
from hpcjobs.service import Selected, Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.cli.options import Interval, Selectors
    from hpcjobs.errors import HpcjobError


def watch(jobs: Selectors = None, *, interval: Interval = 2.0) -> int:
    """Show jobs until all have ended.

    On a terminal in place, elsewhere a line a change. Without a selector: those that have not ended.
    A scheduler is asked no more often than its site allows.
    """
    service = Service()
    if words.about_studies(jobs):
        from hpcjobs.cli import studies

        return studies.watch(service, jobs or (), interval)
    if not jobs:
        return _active(service, interval)
    selected = service.select(jobs)
    screen = Screen()
    with going_on([chosen.record for chosen in selected]):
        while True:
            fresh = service.refresh([chosen.record for chosen in selected])
            selected = [Selected(record, old.indices) for record, old in zip(fresh.records, selected, strict=True)]
            screen.draw(words.table_lines(selected), fresh.errors)
            if all(words.is_over(chosen.record) for chosen in selected):
                return 0
            out.sleep(max(0.2, interval))


def _active(service: Service, interval: float) -> int:
    """What plain `watch` shows; a study is a row, and not one for each of its jobs."""
    records = service.active()
    if not records:
        out.tell("no job is active")
        out.hint("hpcjob history lists all")
        return 0
    screen = Screen()
    with going_on(records):
        while True:
            fresh, known = words.refresh(service, records)
            records = fresh.records
            screen.draw(words.overview(fresh, known), fresh.errors)
            if all(map(words.is_over, records)):
                return 0
            out.sleep(max(0.2, interval))


class Screen:
    """The lines that were last drawn, and how to draw the next ones."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def draw(self, lines: Sequence[str], errors: Sequence[HpcjobError]) -> None:
        """Replace what was drawn on a terminal; elsewhere print the lines that are new."""
        if sys.stdout.isatty():
            shown = [*_that_fit(lines), *(f"not up to date: {error.message}"[: out.width() - 1] for error in errors)]
            # ECMA-48: cursor to the start of the line n up (CPL), erase to the end of the screen (ED).
            back = f"\x1b[{len(self.lines)}F\x1b[J" if self.lines else ""
            sys.stdout.write(back + "".join(line + "\n" for line in shown))
            self.lines = shown
        else:
            for line in lines:
                if line not in self.lines:
                    out.say(line)
            self.lines = list(lines)
        sys.stdout.flush()


def _that_fit(lines: Sequence[str]) -> list[str]:
    """The header and the newest rows, as many as the terminal has lines for."""
    from shutil import get_terminal_size

    room = get_terminal_size().lines - 2
    if len(lines) <= room:
        return list(lines)
    left = len(lines) - room + 1
    return [lines[0], f"… {left} more above", *lines[left + 1 :]]
