"""Rounds are cut into jobs without a gap or an overlap, and never do more tasks run than a study allows."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.sweep.cut import Cut, Lane, cut, gaps, lanes


@given(st.integers(1, 200), st.integers(1, 50), st.integers(1, 9), st.data())
def test_the_jobs_of_a_round_are_its_rows(rows: int, most: int, pack: int, data: st.DataObject) -> None:
    pieces = cut(Cut(1, 0, rows), most * pack)
    assert [row for piece in pieces for row in range(piece.first, piece.first + piece.rows)] == list(range(rows))
    assert all(1 <= piece.tasks(pack) <= most for piece in pieces)
    sent = data.draw(st.lists(st.sampled_from(pieces), unique=True))
    left = gaps(1, rows, [(piece.first, piece.rows) for piece in sent])
    covered = {row for piece in (*sent, *left) for row in range(piece.first, piece.first + piece.rows)}
    assert covered == set(range(rows))
    assert sum(piece.rows for piece in (*sent, *left)) == rows


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ([], [Cut(2, 0, 10)]),
        ([(0, 10)], []),
        ([(7, 3), (2, 2)], [Cut(2, 0, 2), Cut(2, 4, 3)]),
        ([(0, 4), (2, 6)], [Cut(2, 8, 2)]),  # rows in two jobs, of which one was sent by hand
    ],
)
def test_gaps(taken: list[tuple[int, int]], left: list[Cut]) -> None:
    assert gaps(2, 10, taken) == left


def test_a_part_of_a_pack_is_a_task() -> None:
    assert [Cut(1, 0, rows).tasks(32) for rows in (1, 32, 33)] == [1, 1, 2]


@pytest.mark.parametrize(
    ("count", "limit", "running", "expected"),
    [
        (3, 0, [], [Lane(0), Lane(0), Lane(0)]),
        (2, 5, [], [Lane(3, 0), Lane(2, 1)]),
        (3, 2, [], [Lane(1, 0), Lane(1, 1), Lane(1, 0, 0)]),
        (2, 5, [(3, 2)], [Lane(2, 4), Lane(1, 5)]),
        # Two lanes of two jobs each: no third job waits for the first of a lane.
        (2, 4, [(0, 2), (1, 2), (0, 2), (1, 2)], [Lane(2, 0, 2), Lane(2, 1, 3)]),
    ],
)
def test_lanes(count: int, limit: int, running: list[tuple[int, int]], expected: list[Lane]) -> None:
    assert lanes(count, limit, running) == expected


class Queue:
    """Jobs that begin when what they wait for has ended, and run as many tasks as their limit says."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Lane, int]] = []  # and the tasks that are left
        self.waits: list[int] = []

    def open(self) -> list[int]:
        return [place for place, (_, left) in enumerate(self.jobs) if left]

    def send(self, count: int, limit: int, tasks: int) -> None:
        places = self.open()
        known = [(self.jobs[place][0].number, self.jobs[place][0].limit) for place in places]
        for lane in lanes(count, limit, known):
            places.append(len(self.jobs))
            self.waits.append(places[lane.after] if lane.after >= 0 else -1)
            self.jobs.append((lane, tasks))

    def running(self) -> list[int]:
        begun = [place for place in self.open() if self.waits[place] < 0 or not self.jobs[self.waits[place]][1]]
        return [place for place in begun for _ in range(min(self.jobs[place][0].limit, self.jobs[place][1]))]

    def end(self, place: int) -> None:
        lane, left = self.jobs[place]
        self.jobs[place] = (lane, left - 1)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(1, 6), st.integers(1, 5)), max_size=5), st.randoms())
def test_never_run_more_tasks_than_allowed(limit: int, feeds: list[tuple[int, int]], chance: random.Random) -> None:
    queue = Queue()
    while feeds or queue.open():
        if feeds and (not queue.open() or chance.random() < 0.3):
            count, tasks = feeds.pop()
            queue.send(count, limit, tasks)
        running = queue.running()
        assert 1 <= len(running) <= limit
        queue.end(chance.choice(running))
