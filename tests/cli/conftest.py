"""Command lines are run in this process against a Slurm in memory, and compared as whole transcripts.

A transcript is a literal of `$ hpcjob …` lines, each followed by what it printed (`out| ` and `err| ` lines) and, if
it is not 0, its exit code. `pytest --bless` writes what comes out into the test file.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import ends, paths, process
from hpcjobs.__main__ import main
from hpcjobs.cli import out
from hpcjobs.service import Service
from hpcjobs.testing import FakeSlurm

if TYPE_CHECKING:
    from pathlib import Path

SITE = """\
description: a cluster for tests
detect: {}
scheduler: {kind: slurm, poll_interval: 0}
partitions:
  debug: {default: true, nodes: 4, max_time: 1h, node: {cores: 8, memory: 16G}}
defaults: {time: 30m}
launcher: {kind: srun}
"""


@dataclass
class Session:
    """Runs command lines in one home, with one Slurm."""

    home: Path
    slurm: FakeSlurm
    capsys: pytest.CaptureFixture[str]
    request: pytest.FixtureRequest

    def run(self, line: str) -> str:
        """The transcript of one command line."""
        self.capsys.readouterr()
        try:
            code: object = main(shlex.split(line.removeprefix("hpcjob")))
        except SystemExit as done:
            code = done.code
        printed, told = self.capsys.readouterr()
        text = "".join(_marked("out| ", printed) + _marked("err| ", told))
        return f"$ {line}\n{text.replace(str(self.home), '/home')}" + (f"exit {code}\n" if code else "")

    def check(self, transcript: str) -> None:
        """Run the `$` lines of a transcript and compare all that they print."""
        lines = [line[2:] for line in transcript.splitlines() if line.startswith("$ ")]
        found = "\n" + "".join(self.run(line) for line in lines)
        if self.request.config.getoption("--bless"):
            source = self.request.path.read_text("utf-8")
            before, test, after = source.partition(f"def {self.request.node.originalname}(")
            self.request.path.write_text(
                before + test + after.replace(f'r"""{transcript}"""', f'r"""{found}"""', 1), "utf-8"
            )
        else:
            assert found == transcript

    def finish(self, native_id: str, code: int = 0, *, index: int | None = None, error: str = "") -> None:
        """The job runs for 65 s and ends, as its script would write it."""
        self.slurm.start(native_id, index)
        begin = self.slurm.clock()
        self.slurm.clock.sleep(65)
        self.slurm.finish(native_id, "FAILED" if code else "COMPLETED", index=index, code=f"{code}:0")
        record = Service().store.by_native_id(native_id)[0]
        name = "exit" if index is None else f"exit.{index}"
        folder = self.home / "data/jobs" / record.folder.rpartition("/")[2]
        (folder / name).write_text(f"code={code}\nsignal=0\nstart={begin}\nend={self.slurm.clock()}\nhost=n1\n")
        if error:
            (folder / "stderr.log").write_text(error)


def _marked(mark: str, text: str) -> list[str]:
    return [f"{mark}{line}".rstrip() + "\n" for line in text.split("\n")[: None if text[-1:] not in {"\n", ""} else -1]]


@pytest.fixture
def session(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Session:
    for name in ("HPCJOBS_LOG", "HPCJOBS_SITE_PATH", "HPCJOBS_TEMPLATE_PATH", "NO_COLOR", "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPCJOBS_SITE", "cluster")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    (tmp_path / "work/.hpcjobs/sites").mkdir(parents=True)
    (tmp_path / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE)
    monkeypatch.chdir(tmp_path / "work")

    slurm = FakeSlurm()
    tags = count(1)
    monkeypatch.setattr(process, "run", slurm)
    monkeypatch.setattr(paths, "new_tag", lambda: f"{next(tags):012x}")
    defaults: Any = Service.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "clock", slurm.clock)
    monkeypatch.setitem(defaults, "sleep", slurm.clock.sleep)
    monkeypatch.setattr(ends, "time", SimpleNamespace(time=slurm.clock))
    monkeypatch.setattr(out, "now", slurm.clock)
    monkeypatch.setattr(out, "sleep", slurm.clock.sleep)
    return Session(tmp_path, slurm, capsys, request)


@pytest.fixture
def terminal(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the standard streams a terminal of 80 columns without colour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
