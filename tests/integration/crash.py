"""Submit one job and be killed at a point of choice: what the fault tests run as a process of its own.

python crash.py POINT [...]     one submission, SIGKILL at POINT
python crash.py random ROUNDS   children that are killed at random moments around the submission
python crash.py study POINT     a study of ten points, SIGKILL at POINT of its second job

CRASH_SITE names the site, if it is not the test cluster; with CRASH_HOLD the jobs are held; CRASH_SCRIPT is what the
points of a study run.
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
from hpcjobs.schedulers.local import Local
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.slurm import Slurm
from hpcjobs.service import Service
from hpcjobs.store import Store
from hpcjobs.sweep.design import Grid
from hpcjobs.sweep.spec import StudySpec
from hpcjobs.sweep_service import Sweeps

SPEC = JobSpec(command=("true",), runtime="none", ntasks=1, hold="CRASH_HOLD" in os.environ)
SITE = os.environ.get("CRASH_SITE", "testbed")
SUBMIT = {"sbatch", "qsub"}
POINTS = ("folder", "reserved", "sbatch-started", "sbatch-ended", "record-written", "committed")
STUDY_POINTS = ("study-reserved", "jobs-reserved", "job-sent", "job-noted", "jobs-committed")


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

    def write_and_die(path: Path, text: str, *, sync: bool = True) -> None:
        write(path, text, sync=sync)
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


def send_study(point: str) -> None:
    """Submit a study, and die at the point."""
    sent = 0

    def after(function: Any, ready: Any = lambda *_: True) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            answer = function(*args, **options)
            if ready(*args):
                die()
            return answer

        return call

    def second(*_: Any) -> bool:
        nonlocal sent
        sent += 1
        return sent == 2

    if point == "job-sent":
        for each in (Slurm, Pbs, Local):
            setattr(each, "submit", after(each.submit, second))  # noqa: B010 - mypy
    else:
        name = {"study-reserved": "reserve_study", "jobs-reserved": "reserve_all", "job-noted": "note_id"}
        method = name.get(point, "commit_all")
        setattr(Store, method, after(getattr(Store, method), second if point == "job-noted" else lambda *_: True))
    job = JobSpec(command=("bash", "-c", os.environ["CRASH_SCRIPT"]), runtime="none", ntasks=1)
    Sweeps(Service(runner=run)).submit(StudySpec(job=job, design=Grid({"i": list(range(10))})), site=SITE)


if __name__ == "__main__":
    if sys.argv[1] == "random":
        random_rounds(int(sys.argv[2]))
    elif sys.argv[1] == "study":
        send_study(sys.argv[2])
    else:
        arm(sys.argv[1]).submit(SPEC, site=SITE)
