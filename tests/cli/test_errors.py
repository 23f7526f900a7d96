"""What goes wrong, and how it is told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from hpcjobs.record import JobRecord
    from tests.cli.session import Session


def test_no_such_verb(session: Session) -> None:
    session.check(r"""
$ hpcjob statsu
err| error: hpcjob has no command 'statsu'
err|
err| hint: did you mean status?
exit 2
$ hpcjob statsu --json
out| {"version": 1, "error": {"message": "hpcjob has no command 'statsu'", "hint": "did you mean status?", "code": 2}}
exit 2
$ hpcjob --nosuch
err| error: there is no option --nosuch
err|
err| hint: hpcjob --help says what there is
exit 2
$ hpcjob -v
err| error: missing command
err|
err| hint: hpcjob --help says what there is
exit 2
$ hpcjob status --color red
err| error: --color 'red' is not known
err|
err| hint: write auto, always or never
exit 2
$ hpcjob show j1 --color
err| error: option '--color' requires an argument
err|
err| hint: hpcjob show --help says what there is
exit 2
""")


@pytest.mark.parametrize("line", ["", "-h", "--help", "help"])
def test_help(session: Session, line: str) -> None:
    assert session.run(f"hpcjob {line}").startswith(f"$ hpcjob {line}\nout| Usage: hpcjob ")


def test_help_of_a_verb(session: Session) -> None:
    text = session.run("hpcjob help hold")
    assert text.replace("help hold", "hold --help") == session.run("hpcjob hold --help")
    session.check(r"""
$ hpcjob hold -h
out| Usage: hpcjob hold [OPTIONS] [JOB...]
out|
out|   Keep pending jobs from starting.
out|
out| Arguments:
out|   JOB...  Jobs: j12, j3-j9, j12[0-4], j12[failed], the scheduler's own id,
out|           last, active, failed, all; studies and their points: s4, s4[17],
out|           s4[failed].
out|
out| Options:
out|   --json         Print JSON (docs: reference/json).
out|   -v, --verbose  Show every scheduler command and its time; -vv: its answer
out|                  too.
out|   --color WHEN   auto, always or never; NO_COLOR is heeded.
out|   -h, --help     Show this message and exit.
$ hpcjob template
out| Usage: hpcjob template [OPTIONS] COMMAND [ARGS]...
out|
out|   Look at templates.
out|
out| Options:
out|   -v, --verbose  Show every scheduler command and its time; -vv: its answer
out|                  too.
out|   --color WHEN   auto, always or never; NO_COLOR is heeded.
out|   -h, --help     Show this message and exit.
out|
out| Commands:
out|   list   List the templates there are.
out|   show   Print a template.
out|   check  Check templates.
""")


def test_version(session: Session) -> None:
    from hpcjobs import __version__

    assert session.run("hpcjob --version") == f"$ hpcjob --version\nout| hpcjob {__version__}\n"


def test_a_bug_names_a_file_with_its_trace(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcjobs.service.Service.recent", lambda *_: 1 / 0)
    monkeypatch.setattr("os.getpid", lambda: 4711)
    session.check(r"""
$ hpcjob status
err| error: this is a bug in hpcjobs: ZeroDivisionError: division by zero
err|
err| hint: please report it together with /home/data/log/bug-1700000000-4711.txt
exit 70
$ hpcjob status --json
out| {"version": 1, "error": {"message": "this is a bug in hpcjobs: ZeroDivisionError: division by zero", "hint": "please report it together with /home/data/log/bug-1700000000-4711.txt", "code": 70}}
exit 70
""")
    (file,) = (session.home / "data/log").iterdir()
    assert "ZeroDivisionError" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    shown = session.run("hpcjob status -vv")
    assert "err| Traceback (most recent call last):\n" in shown
    assert shown.endswith("exit 70\n")


def test_a_bug_where_nothing_can_be_written(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCJOBS_HOME", "/proc/nowhere")
    monkeypatch.setattr("hpcjobs.service.Service.recent", lambda *_: 1 / 0)
    session.check(r"""
$ hpcjob status
err| error: this is a bug in hpcjobs: ZeroDivisionError: division by zero
err|
err| hint: please report it together with the output of the same command with -vv
exit 70
""")


def test_ctrl_c(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hpcjobs.service.Service.recent", interrupt)
    session.check(r"""
$ hpcjob status
err| interrupted
exit 130
""")


def test_a_home_that_cannot_be_written(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCJOBS_HOME", "/proc/nowhere")
    session.check(r"""
$ hpcjob status
err| error: /proc/nowhere: No such file or directory
err|
err| hint: make the folder writable, or choose another: export HPCJOBS_HOME=/a/folder/of/yours
exit 7
""")


def test_logging_is_off_unless_asked_for(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def recent(*_: object) -> list[JobRecord]:
        logging.getLogger("hpcjobs.process").info("squeue --me: exit 0 after 0.01 s")
        return []

    monkeypatch.setattr("hpcjobs.service.Service.recent", recent)
    mark = "hpcjobs.process"
    assert mark not in session.run("hpcjob status")
    assert session.run("hpcjob status -v").count(mark) == 1
    assert session.run("hpcjob -v status").count(mark) == 1
    log = session.home / "hpcjobs.log"
    monkeypatch.setenv("HPCJOBS_LOG", str(log))
    assert mark not in session.run("hpcjob status")
    assert log.read_text().count(mark) == 1
    assert mark not in log.read_text().partition("\n")[2]
    monkeypatch.setenv("HPCJOBS_LOG", "/proc/nowhere/log")
    session.check(r"""
$ hpcjob status
err| error: HPCJOBS_LOG=/proc/nowhere/log cannot be written: No such file or directory
err|
err| hint: name another file, or unset HPCJOBS_LOG
exit 2
""")


def _hpcjob(line: str, home: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HPCJOBS_HOME": str(home), "HPCJOB": f"{sys.executable} -m hpcjobs"}
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], env=environment, capture_output=True, check=False)


@pytest.mark.parametrize("verb", ["--help", "site schema", "history"])
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, verb: str) -> None:
    # `exec >&-` closes the reading end before the first byte.
    done = _hpcjob(f"$HPCJOB {verb} | exec true", tmp_path)
    assert done.stderr in (b"", b"there is no job yet\nhint: hpcjob submit --help runs one\n")


def test_the_output_of_a_pipe_is_no_terminal_and_has_no_colour(tmp_path: Path) -> None:
    done = _hpcjob("$HPCJOB status --color auto | cat", tmp_path)
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.startswith(b"no job is active")
