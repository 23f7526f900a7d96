"""Submit one job and be killed at a point of choice: what the fault tests run as a process of its own.

python crash.py POINT [...]     one submission, SIGKILL at POINT
python crash.py random ROUNDS   children that are killed at random moments around the submission

CRASH_SITE names the site, if it is not the test cluster; with CRASH_HOLD the jobs are held.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hpcjobs import paths
from hpcjobs.model import JobSpec
from hpcjobs.process import run
from hpcjobs.service import Service
from hpcjobs.store import Store

SPEC = JobSpec(command=("true",), runtime="none", ntasks=1, hold="CRASH_HOLD" in os.environ)
SITE = os.environ.get("CRASH_SITE", "testbed")
SUBMIT = {"sbatch", "qsub"}
POINTS = ("folder", "reserved", "sbatch-started", "sbatch-ended", "record-written", "committed")


def die(*_: object) -> None:
    """Be gone, as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> Service:
    """A service that dies at the point."""
    service = Service(runner=run)
    write, reserve, commit = paths.write_private, Store.reserve, Store.commit

    def reserve_and_die(self: Store, *args: Any) -> Any:
        record = reserve(self, *args)
        die()
        return record

    def write_and_die(path: Path, text: str) -> None:
        write(path, text)
        if path.name == ("job.sh" if point == "folder" else "record.json") and (
            point == "folder" or '"native_id"' in text
        ):
            die()

    def run_and_die(argv: Any, **options: Any) -> Any:
        if argv[0] in SUBMIT and point == "sbatch-started":
            # The child goes on without its parent.
            if os.fork() == 0:
                run(argv, **options)
                os._exit(0)
            die()
        answer = run(argv, **options)
        if argv[0] in SUBMIT:
            die()
        return answer

    def commit_and_die(self: Store, *args: Any) -> Any:
        commit(self, *args)
        die()

    if point in {"folder", "record-written"}:
        paths.write_private = write_and_die
    elif point == "reserved":
        setattr(Store, "reserve", reserve_and_die)  # noqa: B010 - mypy
    elif point == "committed":
        setattr(Store, "commit", commit_and_die)  # noqa: B010 - mypy
    else:
        service = Service(runner=run_and_die)
    return service


def random_rounds(rounds: int) -> None:
    """Fork a child that submits, and kill it after a random time; the imports are paid once."""
    service = Service(runner=run)
    begin = time.monotonic()
    service.submit(SPEC, site=SITE)
    usual = time.monotonic() - begin
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            Service(runner=run).submit(SPEC, site=SITE)
            os._exit(0)
        time.sleep(random.uniform(0, 1.2 * usual))  # noqa: S311 - chance, not secrecy
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    if sys.argv[1] == "random":
        random_rounds(int(sys.argv[2]))
    else:
        arm(sys.argv[1]).submit(SPEC, site=SITE)
