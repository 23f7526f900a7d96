"""The test's side of the fake PBS: makes one, moves its clock, breaks it, and ends its jobs."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fake_pbs import run, server
from tests.fake_pbs.server import Job, Server

PROGRAM = Path(__file__).parent
COMMANDS = ("qsub", "qstat", "qselect", "qdel", "qhold", "qrls", "qrerun", "pbsnodes")


class FakePbs:
    """A PBS in a folder; `bin` belongs first on PATH."""

    def __init__(self, root: Path, dialect: str = server.OPENPBS, **settings: Any) -> None:
        self.root = root
        self.bin = root / "bin"
        self.bin.mkdir(parents=True)
        for name in COMMANDS:
            file = self.bin / name
            words = shlex.join([sys.executable, "-S", str(PROGRAM), name])
            file.write_text(f'#!/bin/sh\nFAKE_PBS={shlex.quote(str(root))} exec {words} "$@"\n')
            file.chmod(0o755)
        default = server.AS_TORQUE if dialect == server.TORQUE else server.DEFAULT
        (root / "state.json").write_text(json.dumps({**default, **settings}))
        os.mkfifo(root / "news")
        self._news = os.open(root / "news", os.O_RDONLY | os.O_NONBLOCK)

    @contextmanager
    def opened(self) -> Iterator[Server]:
        """The server, to look at or to change."""
        with server.opened(self.root) as found:
            yield found

    def set(self, **settings: Any) -> None:
        """Change settings, or break something: see server.DEFAULT."""
        assert set(settings) <= set(server.DEFAULT), settings
        with self.opened() as found:
            found.state.update(settings)

    def job(self, native_id: str) -> Job:
        """A job as it is now."""
        with self.opened() as found:
            return found.jobs[number(native_id)]

    def jobs(self) -> list[Job]:
        """All that the server knows."""
        with self.opened() as found:
            return list(found.jobs.values())

    def calls(self, name: str = "") -> list[list[str]]:
        """The commands that were called, or those of one name."""
        file = self.root / "calls"
        every = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [call for call in every if name in {"", call[0]}]

    def now(self) -> int:
        """The server's time."""
        with self.opened() as found:
            return found.now

    def taken(self) -> int:
        """How many jobs the server has ever taken, if its numbers did not jump."""
        with self.opened() as found:
            return int(found.state["next"]) - 1

    def elapse(self, seconds: float) -> None:
        """Let time pass for the server."""
        with self.opened() as found:
            found.state["clock"] += seconds

    def end(self, native_id: str, code: int) -> None:
        """PBS ends the running job with that exit status."""
        with self.opened() as found:
            found.jobs[number(native_id)]["forced"] = code

    def vanish(self, native_id: str) -> None:
        """The server forgets the job."""
        with self.opened() as found:
            job = found.jobs.pop(number(native_id))
        end_all(job)

    def requeue(self, native_id: str, code: int = -20) -> None:
        """Its node was lost, and the job waits again: what `-r y` does."""
        with self.opened() as found:
            job = found.jobs[number(native_id)]
            end_all(job)
            attr = job["attr"]
            for name in ("exec_host", "exec_vnode", "stime", "resources_used"):
                attr.pop(name, None)
            attr.update(job_state="Q", substate=server.QUEUED, obittime=found.now, mtime=found.now, Exit_status=code)

    def pause(self, seconds: float) -> None:
        """Sleep until a job ends, at most for so long."""
        ready, _, _ = select.select([self._news], [], [], seconds)
        if ready:
            os.read(self._news, 4096)

    def wait(self, *native_ids: str) -> None:
        """Wait until what runs, or these of it, has ended; the server has not seen it yet."""
        numbers = {int(number(native_id)) for native_id in native_ids}
        while any(
            run.ended(self.root, job["number"], index) is None
            for job in self.jobs()
            for index, one in server.parts(job)
            if one["attr"]["job_state"] == "R" and job["number"] in (numbers or {job["number"]})
        ):
            self.pause(10)

    def close(self) -> None:
        """End all processes."""
        os.close(self._news)
        for job in self.jobs():
            end_all(job)


def end_all(job: Job) -> None:
    """Kill what runs of a job."""
    for _, one in server.parts(job):
        if one["attr"]["job_state"] in {"R", "E"} and "pid" in one:
            run.kill(one, signal.SIGKILL)


def number(native_id: str) -> str:
    """The key of a job."""
    return native_id.partition(".")[0].partition("[")[0]
