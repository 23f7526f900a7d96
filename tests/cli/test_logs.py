from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from hpcjobs.cli.logs import Tail
from hpcjobs.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.session import Session


@pytest.fixture
def job(session: Session) -> Session:
    session.run("hpcjob submit -o out.log -e err.log -- ./solve")
    (session.home / "work/out.log").write_text("one\ntwo\nthree\n")
    (session.home / "work/err.log").write_text("oops\n")
    return session


def test_logs(job: Session) -> None:
    job.check(r"""
$ hpcjob logs j1
out| one
out| two
out| three
$ hpcjob logs last -e
out| oops
$ hpcjob logs j1 -n 2
out| two
out| three
$ hpcjob logs j1 -n 0
$ hpcjob logs
err| error: missing argument 'JOB'
err|
err| hint: hpcjob logs --help says what there is
exit 2
$ hpcjob logs all
out| one
out| two
out| three
$ hpcjob logs j9
err| error: there is no job j9
err|
err| hint: hpcjob history lists all jobs
exit 6
""")


def test_bytes_are_not_changed(job: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) + b"\r\n\xff no end of line"
    (job.home / "work/out.log").write_bytes(content)
    stdout = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(stdout, "ascii"))
    job.run("hpcjob logs j1")
    assert stdout.getvalue() == content


def test_no_file_yet_and_no_file_any_more(session: Session) -> None:
    session.run("hpcjob submit -o out.log -- ./solve")
    session.check(r"""
$ hpcjob logs j1
err| j1 is pending and has written nothing yet
err| hint: hpcjob logs -f j1 waits for it
""")
    session.finish("1")
    session.check(r"""
$ hpcjob logs j1
err| error: /home/work/out.log does not exist
err|
err| hint: hpcjob show j1 says how the job ended
exit 6
""")


def test_an_array_needs_a_task(session: Session) -> None:
    session.run("hpcjob submit -a 3-5 -o out.%a -- ./solve")
    (session.home / "work/out.4").write_text("four\n")
    session.check(r"""
$ hpcjob logs j1
err| error: j1 is an array: each task has files of its own
err|
err| hint: name a task of 3-5: 'j1[3]'
exit 2
$ hpcjob logs 'j1[4]'
out| four
$ hpcjob logs 1_4
out| four
$ hpcjob logs 'j1[4-5]'
err| error: j1[4-5] is 2 tasks, and each has files of its own
err|
err| hint: name one: hpcjob logs 'j1[4]'
exit 2
$ hpcjob logs 'j1[9]'
err| error: j1 has no task 9
err|
err| hint: its tasks are 3-5: j1[3]
exit 6
""")


def test_follow_ends_with_the_job(session: Session) -> None:
    session.run("hpcjob submit -o out.log -- ./solve")
    file = session.home / "work/out.log"

    def write(text: str) -> None:
        with file.open("a") as stream:
            stream.write(text)

    session.meanwhile(
        lambda: session.slurm.start("1"),
        lambda: write("one\n"),
        lambda: write("tw"),
        lambda: write("o\n"),
        lambda: session.finish("1"),
        lambda: write("end\n"),
    )
    session.check(r"""
$ hpcjob logs -f j1
out| one
out| two
out| end
err| j1 solve: done
""")


def test_a_file_that_starts_anew_is_read_from_its_start(tmp_path: Path) -> None:
    file, copy = tmp_path / "out.log", io.BytesIO()
    tail = Tail(file, copy)
    for content in ("first run\n", "first run\nmore\n", "2nd\n"):
        file.write_text(content)
        tail.copy()
    assert copy.getvalue() == b"first run\nmore\n2nd\n"


@pytest.mark.parametrize("content", [b"", b"a", b"a\n", b"a\nb", b"a\nb\n", b"\n\n\n", b"a\n" * 100_000])
@pytest.mark.parametrize("lines", [0, 1, 2, 3, 99_999])
def test_the_last_lines_are_those_of_tail(tmp_path: Path, content: bytes, lines: int) -> None:
    file, copy = tmp_path / "out.log", io.BytesIO()
    file.write_bytes(content)
    tail = Tail(file, copy)
    tail.skip_to_last(lines)
    tail.copy()
    expected = content.splitlines(keepends=True)
    assert copy.getvalue() == b"".join(expected[-lines:] if lines else [])


def test_the_scheduler_is_not_asked_at_each_look(session: Session) -> None:
    session.run("hpcjob submit -o out.log -- ./solve")
    session.meanwhile(*[lambda: None] * 10, lambda: session.finish("1"))
    session.run("hpcjob logs -f j1")
    assert Service().store.get(1).state == "done"
    # Eleven looks at the file, a question at each fourth, and two commands for the end.
    assert session.slurm.count("squeue") <= 5
