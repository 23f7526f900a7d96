"""Runs command lines in this process against a Slurm in memory, and compares them as whole transcripts.

A transcript is a literal of `$ hpcjob …` lines, each followed by what it printed (`out| ` and `err| ` lines) and, if
it is not 0, its exit code. `pytest --bless` writes what comes out into the test file.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcjobs.__main__ import main
from hpcjobs.cli import out
from hpcjobs.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from hpcjobs.testing import FakeSlurm


@dataclass
class Session:
    """Runs command lines in one home, with one Slurm."""

    home: Path
    slurm: FakeSlurm
    capsys: pytest.CaptureFixture[str]
    request: pytest.FixtureRequest
    monkeypatch: pytest.MonkeyPatch

    def set_clock(self, now: Callable[[], float], sleep: Callable[[float], object]) -> None:
        """Let the service and the command line live by this clock."""
        defaults: Any = Service.__init__.__kwdefaults__
        self.monkeypatch.setitem(defaults, "clock", now)
        self.monkeypatch.setitem(defaults, "sleep", sleep)
        self.monkeypatch.setattr(out, "now", now)
        self.monkeypatch.setattr(out, "sleep", sleep)

    def meanwhile(self, *actions: Callable[[], object]) -> None:
        """Let the next of these happen at each pause of a command; after the last one, nothing."""
        left = list(actions)
        self.set_clock(self.slurm.clock, lambda _: left.pop(0)() if left else None)

    def interrupt(self) -> None:
        """Let Ctrl-C be typed at the first pause of a command."""

        def raise_it() -> None:
            raise KeyboardInterrupt

        self.meanwhile(raise_it)

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
