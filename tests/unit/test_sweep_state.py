"""Where points are, from what they and their tasks wrote and from what the scheduler says of the tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.record import JobRecord, JobState, Tasks
from hpcjobs.sweep import state
from hpcjobs.sweep.record import Round, StudyRecord
from hpcjobs.sweep.state import Ends, causes, end_words, merge, parse_ends, read_ends

S = JobState


def study(points: int = 4, *later: Round) -> StudyRecord:
    design = Round(f"0-{points - 1}", "design", 1.0)
    return StudyRecord(
        id=1, tag="5" * 12, name="n", site="s", site_file="", folder="/f", workdir="/w", created=1.0, names=("x",),
        kinds=("int",), points=points, spec={}, rounds=(design, *later),
    )  # fmt: skip


def job(number: int = 1, rows: int = 4, **more: object) -> JobRecord:
    values: dict[str, object] = {
        "id": number, "tag": f"a{number}", "name": "n", "site": "s", "scheduler": "slurm", "folder": f"/f/c{number}",
        "workdir": "/w", "output": "/o", "error": "/e", "created": 1.0, "study": 1, "round": 1, "rows": rows,
        "state": S.RUNNING, "native_id": "7",
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


def ends(text: str) -> dict[str, Ends]:
    found: dict[str, Ends] = {}
    parse_ends(text, found)
    return found


# ------------------------------------------------------------------------------------ what was written


def test_lines_of_points_and_tasks() -> None:
    found = ends(
        "b a1 17 100.5\n"
        "p a1 17 3 100.5 101.25\n"
        "p a1 18 cancelled 102 102\n"
        "t a1 0 137 0 100 103 1 12[].server\n"
        "t a2 4 0 15 100 103 0 -\n"
    )
    assert found["a1"].points == {17: ["17", "3", "100.5", "101.25"], 18: ["18", "cancelled", "102", "102"]}
    assert found["a1"].begun == {17}
    task = found["a1"].task(0)
    assert task is not None
    assert (task.state, task.exit_code, task.signal, task.started, task.ended, task.restarts) == (
        S.FAILED, 137, 9, 100.0, 103.0, 1,
    )  # fmt: skip
    assert found["a1"].task(1) is None
    assert (found["a1"].native_id, found["a2"].native_id) == ("12[].server", "")
    other = found["a2"].task(4)
    assert other is not None
    assert (other.state, other.signal) == (S.DONE, 15)


@pytest.mark.parametrize("name", ["p a1 5 {} {} {}", "t a1 5 {} 0 {} {} 0 12"])
def test_of_several_ends_the_last_counts(name: str) -> None:
    first, last = name.format(143, 100, "999.5"), name.format(0, 1000, "1001.25")
    for text in (f"{first}\n{last}\n", f"{last}\n{first}\n"):
        found = ends(text)["a1"]
        assert (found.points or found.tasks)[5][1] == "0"


@pytest.mark.parametrize(
    "line",
    [
        "p a1 17b a1 18 100.5\n",  # a full disk tore the first of two lines
        "t a1 3 0 0 10b a1 5 100\n",
        "p a1 1.2 0 1 2\n", "p a1 1 0 1.2.3 2\n", "p a1 1 x 1 2\n", "p a1 1 0 1 2 3\n", "x a1 1 0 1 2\n",
        "t a1 1 0 0 1 2 0 \n",
        "b a1 1\n", "\n", "p a1 1 0 1 2\r\n", "\ufffd\n",
    ],
)  # fmt: skip
def test_what_is_no_whole_line_is_left(line: str) -> None:
    assert ends(line) == {}
    assert list(ends(f"{line}p a2 1 0 1 2\n")) == ["a2"]


def test_a_line_that_is_being_written_is_not_read_yet() -> None:
    assert ends("t a1 1 0 0 1 2 0 12") == {}


@given(st.text(alphabet="pbt a019.-\n", max_size=200))
def test_no_text_is_too_torn(text: str) -> None:
    for found in ends(text).values():
        assert [found.task(index) for index in found.tasks].count(None) == 0


def test_a_file_a_node(tmp_path: Path) -> None:
    (tmp_path / "n1").write_text("p a1 1 0 1 2\n")
    (tmp_path / "n2").write_bytes(b"\xff\xfe\np a1 2 0 1 2\n")
    assert sorted(read_ends(tmp_path)["a1"].points) == [1, 2]
    assert read_ends(tmp_path / "missing") == {}


# ------------------------------------------------------------------------------------------- states


def states(found: state.Points) -> str:
    return " ".join(str(each) for each in found.states)


def test_points_follow_their_tasks_and_their_own_ends() -> None:
    tasks = Tasks({"done": "0", "failed": "1", "running": "2", "pending": "3"})
    text = "p a1 0 0 10 12.5\np a1 1 7 10 11\n"
    found = merge(study(), [job(tasks=tasks)], ends(text))
    assert states(found) == "done failed running pending"
    assert [found.exit_code(n) for n in range(4)] == [0, 7, None, None]
    assert [found.seconds(n) for n in range(4)] == [2.5, 1.0, None, None]
    assert found.jobs[2] == (1, 2)
    assert found.counts()[S.DONE] == 1
    assert found.some(state.FAILED) == (1,)


def test_points_without_a_job() -> None:
    assert states(merge(study(), [], {})) == "created created created created"
    assert states(merge(study(), [job(raw="NOT_SUBMITTED", state=S.FAILED)], {})) == "created created created created"
    assert states(merge(study(), [job(rows=2, first=1, state=S.PENDING)], {})) == "created pending pending created"
    assert states(merge(study(), [job(state=S.CREATED, native_id="")], {})) == "created created created created"


def test_a_task_that_ended_well_without_a_word_of_its_point() -> None:
    assert states(merge(study(1), [job(rows=1, state=S.DONE)], {})) == "unknown"


@pytest.mark.parametrize(
    ("code", "task", "alone", "in_a_pack"),
    [
        ("0", "timeout", "done", "done"),
        ("3", "failed", "failed", "failed"),
        ("124", "running", "failed", "timeout"),  # timeout(1) ends a point of a pack alone
        ("143", "timeout", "timeout", "timeout"),
        ("137", "oom", "oom", "oom"),
        ("143", "cancelled", "cancelled", "cancelled"),
        ("143", "node_fail", "node_fail", "node_fail"),
        ("3", "timeout", "timeout", "failed"),
        ("139", "timeout", "timeout", "failed"),  # it crashed by itself, before the walltime of the pack was over
        ("cancelled", "done", "cancelled", "cancelled"),
    ],
)
def test_why_a_point_ended(code: str, task: str, alone: str, in_a_pack: str) -> None:
    written = ends(f"p a1 0 {code} 10 12\n")
    tasks = Tasks({task: "0"})
    assert states(merge(study(1), [job(rows=1, tasks=tasks)], written)) == alone
    assert states(merge(study(1), [job(rows=1, tasks=tasks, pack=8)], written)) == in_a_pack
    assert merge(study(1), [job(rows=1)], written).exit_code(0) == (int(code) if code != "cancelled" else None)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("pending", "done pending pending pending"),
        ("running", "done running pending pending"),
        ("timeout", "done timeout created created"),
        ("done", "done unknown unknown unknown"),
    ],
)
def test_points_of_a_pack_have_their_turn(task: str, expected: str) -> None:
    written = ends("b a1 0 10\np a1 0 0 10 12\nb a1 1 12\n") if task != "pending" else ends("p a1 0 0 1 2\n")
    found = merge(study(), [job(pack=4, tasks=Tasks({task: "0"}))], written)
    assert states(found) == expected
    assert {found.jobs[n] for n in range(4)} == {(1, 0)}


def test_a_later_round_counts_and_earlier_attempts_are_counted() -> None:
    again = Round("1,3", "failed", 2.0)
    text = "p a1 0 0 1 2\np a1 1 1 1 2\np a1 2 0 1 2\np a1 3 1 1 2\np a2 1 0 5 9\n"
    first, second = job(state=S.DONE), job(2, 2, round=2, tasks=Tasks({"done": "0", "running": "1"}))
    found = merge(study(4, again), [first, second], ends(text))
    assert states(found) == "done done done running"
    assert found.attempts == [1, 2, 1, 2]
    assert found.jobs[3] == (2, 1)
    assert 3 not in found.ends
    assert states(merge(study(4, again), [first], ends(text))) == "done created done created"


def test_points_that_are_skipped_have_no_turn_any_more() -> None:
    text = "b a1 0 10\np a1 0 0 10 12\nb a1 1 12\n"
    found = merge(study(), [job(pack=4, tasks=Tasks({"running": "0"}))], ends(text), [0, 1, 2])
    assert states(found) == "done running cancelled pending"
    assert merge(study(2), [], {}, [1]).some(state.MISSING) == (0, 1)


def test_the_rate_is_that_of_late() -> None:
    text = "".join(f"p a1 {n} 0 1 {end}\n" for n, end in enumerate((100, 990, 1000, 1020)))
    found = merge(study(), [job()], ends(text))
    assert found.rate(1020.0) == pytest.approx(3 / 30)
    assert found.rate(5000.0) == 0
    assert found.rate(1020.5) == pytest.approx(3 / 30.5)


# ------------------------------------------------------------------------------------------- causes


def caused(one: JobRecord, text: str = "", skipped: tuple[int, ...] = ()) -> dict[int, str]:
    return causes(merge(study(), [one], ends(text), skipped), [one])


def test_causes_in_the_words_of_retry() -> None:
    tasks = Tasks({"timeout": "0", "oom": "1", "node_fail": "2", "cancelled": "3"})
    assert caused(job(tasks=tasks)) == {0: "timeout", 1: "oom", 2: "node_fail", 3: "preempted"}
    assert caused(job(), "p a1 2 3 1 2\n") == {2: "failed"}
    assert set(state.CAUSES) == {"failed", "timeout", "oom", "node_fail", "preempted"}


def test_what_its_owner_cancelled_was_not_preempted() -> None:
    tasks = Tasks({"cancelled": "0-3"})
    assert caused(job(tasks=tasks, cancelled=5.0)) == {}
    assert caused(job(tasks=tasks, cancelled_tasks="1-2")) == {0: "preempted", 3: "preempted"}
    assert caused(job(tasks=Tasks({"pending": "0-3"})), skipped=(1,)) == {}
    assert caused(job(tasks=Tasks({"done": "0-3"})), "p a1 1 cancelled 5 5\n") == {}
    # It ran beside others and could not be ended alone; then its node failed.
    text = "b a1 1 12\n"
    assert caused(job(pack=4, tasks=Tasks({"node_fail": "0"})), text, (1,)) == dict.fromkeys((0, 2, 3), "node_fail")


def test_points_without_a_turn_were_kept_from_it_by_what_ended_their_task() -> None:
    lost = job(pack=4, tasks=Tasks({"timeout": "0"}))
    assert caused(lost, "p a1 0 0 1 2\nb a1 1 2\n") == {1: "timeout", 2: "timeout", 3: "timeout"}
    preempted = job(pack=4, state=S.CANCELLED)
    assert caused(preempted, "p a1 0 0 1 2\n") == dict.fromkeys((1, 2, 3), "preempted")
    assert caused(job(state=S.CREATED, native_id="")) == {}


@pytest.mark.parametrize(("code", "words"), [(3, "exit 3"), (139, "SIGSEGV"), (137, "SIGKILL"), (255, "exit 255")])
def test_an_end_in_a_word(code: int, words: str) -> None:
    assert end_words(code) == words


def test_a_job_of_another_round_is_no_attempt_of_this_one() -> None:
    later = study(6, Round("4-5", "extend", 2.0))
    found = merge(replace(later, points=6), [job(2, 2, round=2, state=S.PENDING)], {})
    assert found.attempts == [0, 0, 0, 0, 1, 1]
