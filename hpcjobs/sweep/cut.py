"""A round is cut into jobs: arrays no longer than the scheduler takes, of tasks of some points each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True)
class Cut:
    """Some rows of a round's table: one job array."""

    round: int  # from 1
    first: int
    rows: int

    def tasks(self, pack: int) -> int:
        """How many tasks of `pack` rows that is."""
        return -(-self.rows // pack)


def gaps(round_number: int, rows: int, taken: Iterable[tuple[int, int]]) -> list[Cut]:
    """The rows of a round that no job has: `taken` are (first, rows) of the jobs there are."""
    found, position = [], 0
    for first, count in sorted(taken):
        if first > position:
            found.append(Cut(round_number, position, first - position))
        position = max(position, first + count)
    if position < rows:
        found.append(Cut(round_number, position, rows - position))
    return found


def cut(gap: Cut, most: int) -> list[Cut]:
    """The gap in pieces of at most `most` rows."""
    end = gap.first + gap.rows
    return [Cut(gap.round, first, min(most, end - first)) for first in range(gap.first, end, most)]


@dataclass(frozen=True)
class Lane:
    """A chain of jobs of which each waits for the one before it, so that no two run at the same time."""

    limit: int  # how many tasks of its jobs may run at once; 0 = any number
    number: int = 0
    after: int = -1  # the place of the job that is waited for; -1 = none


def lanes(count: int, limit: int, running: Sequence[tuple[int, int]] = ()) -> list[Lane]:
    """Share a limit of tasks at once out to `count` new jobs, such that never more run.

    `running` are the lanes (number, limit) of the jobs that have not ended, oldest first; a place below how many they
    are is one of theirs, the others are those of the new jobs.
    """
    if not limit:
        return [Lane(0)] * count
    last = {number: place for place, (number, _) in enumerate(running)}
    limits = dict(running)
    free = max(0, limit - sum(limits.values()))
    width = min(count, free)
    unused = max(last, default=-1) + 1
    found: list[Lane] = []
    for place in range(len(running), len(running) + count):
        new = len(found)
        if new < width:
            lane = Lane(free // width + (new < free % width), unused + new)
        else:
            number = min(last, key=last.__getitem__)
            lane = Lane(limits[number], number, last[number])
        limits[lane.number], last[lane.number] = lane.limit, place
        found.append(lane)
    return found
