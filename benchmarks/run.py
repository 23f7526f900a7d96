"""The numbers that hpcjobs promises, as ratios to `python -c pass` in the same run: `make bench`.

Machines are shared and noisy, so every command is timed in turn with the bare interpreter (A B A B …) and the
median of each is compared. `squeue` is a stub that prints a thousand lines: what is measured is hpcjobs, not Slurm.
Exits 1 if a number is over its limit.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from hpcjobs import __version__
from hpcjobs.model import JobSpec, SchedulerConfig
from hpcjobs.paths import JobFolder
from hpcjobs.record import JobRecord
from hpcjobs.service import Service
from hpcjobs.store import Store
from hpcjobs.testing import FakeSlurm

RUNS = 21
JOBS = 1000


def hpcjob() -> list[str]:
    """What people run: the console script beside this interpreter."""
    script = Path(sys.executable).with_name("hpcjob")
    return [str(script)] if script.exists() else [sys.executable, "-m", "hpcjobs"]


def seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """Wall time of one run; the command must succeed."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - begin


def ratio(
    command: Sequence[str], environment: dict[str, str], before: Callable[[], object] = lambda: None
) -> tuple[float, float, float]:
    """Median of the command over median of the bare interpreter, and both medians in milliseconds.

    `before` is called before each run of the command, and not timed.
    """
    bare = [sys.executable, "-c", "pass"]
    seconds(command, environment)
    pairs = []
    for _ in range(RUNS):
        before()
        pairs.append((seconds(command, environment), seconds(bare, environment)))
    ours, base = (statistics.median(times) for times in zip(*pairs, strict=True))
    return ours / base, ours * 1000, base * 1000


def record(number: int, home: Path, array: str = "") -> JobRecord:
    """A job as `submit` would store it; polled at every call."""
    return JobRecord(
        id=0,
        tag=f"tag{number}",
        name=f"job{number}",
        site="testbed",
        scheduler="slurm",
        folder=str(home / "jobs" / f"job-{number}"),
        workdir="/tmp",
        output="/tmp/out",
        error="/tmp/err",
        created=time.time(),
        options=asdict(SchedulerConfig(kind="slurm", poll_interval=0)),
        array=array,
    )


def track(home: Path, count: int, array: str = "") -> None:
    """Put jobs into the database, the way `submit` does."""
    store = Store(home / "jobs.sqlite3")
    for number in range(1, count + 1):
        store.commit(store.reserve(record(number, home, array), {}), str(number), time.time())
    store.close()


def stub(folder: Path, lines: Sequence[str]) -> Path:
    """A `squeue` that prints the lines and counts its calls; its log."""
    folder.mkdir()
    (folder / "lines").write_text("".join(line + "\n" for line in lines))
    log = folder / "calls"
    program = folder / "squeue"
    program.write_text(f'#!/bin/sh\necho squeue >>"{log}"\nexec cat "{folder}/lines"\n')
    program.chmod(0o755)
    return log


def environment(home: Path, path: Path) -> dict[str, str]:
    """A user with a home of their own and the stub before everything else."""
    config = home / "config"
    site(config).parent.mkdir(parents=True)
    site(config).write_text("extends: testbed\ndetect: {file: /}\n")
    # As installed: with bytecode, which the first run writes.
    left_out = {"HPCJOBS_SITE", "PYTHONDONTWRITEBYTECODE"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    paths = {"HPCJOBS_HOME": str(home), "XDG_CONFIG_HOME": str(config), "PATH": f"{path}:{os.environ['PATH']}"}
    return {**kept, **paths}


def site(config: Path) -> Path:
    """The site file of that user; it is detected, as on a machine of theirs."""
    return config / "hpcjobs/sites/here.yaml"


def queue_lines(states: Sequence[tuple[int, str]]) -> list[str]:
    """Lines of squeue in the format that hpcjobs asks for."""
    return [f"{number}|{index}|RUNNING|1700000000|1800000000|n1|None" for number, index in states]


def timings(work: Path) -> list[tuple[str, float, float, str]]:
    """(what, measured, limit, detail)."""
    home = work / "home"
    track(home, JOBS)
    log = stub(work / "bin", queue_lines([(number, "N/A") for number in range(1, JOBS + 1)]))
    env = environment(home, work / "bin")
    rows = []
    dry_run = ["submit", "--dry-run", "--runtime", "none", "-N", "4", "--", "./app"]
    changed = site(Path(env["XDG_CONFIG_HOME"])).touch
    for what, words, limit, before in (
        ("hpcjob --help", ["--help"], 2.5, str),
        (f"hpcjob status, {JOBS} tracked jobs and one poll", ["status"], 10.0, str),
        ("hpcjob submit --dry-run", dry_run, 22.0, str),
        ("hpcjob submit --dry-run, once after a site file changed", dry_run, 26.0, changed),
    ):
        times, ours, base = ratio([*hpcjob(), *words], env, before)
        rows.append((what, times, limit, f"{ours:.0f} ms, python {base:.0f} ms"))
    log.unlink()
    seconds([*hpcjob(), "status"], env)
    calls = len(log.read_text().splitlines())
    rows.append((f"scheduler commands of status, {JOBS} jobs", calls, 1, "counted by the stub"))
    return rows


def array_counts(work: Path) -> list[tuple[str, float, float, str]]:
    """An array of ten thousand tasks: rows, commands, and how long its status takes."""
    home = work / "array"
    track(home, 1, array="0-9999")
    running = [(1, str(index)) for index in range(100)]
    log = stub(work / "array-bin", [*queue_lines(running), "1|100-9999%100|PENDING|N/A|N/A||Resources"])
    env = environment(home, work / "array-bin")
    seconds([*hpcjob(), "status"], env)
    calls = len(log.read_text().splitlines())
    lines = subprocess.run([*hpcjob(), "status"], check=True, capture_output=True, text=True, env=env).stdout
    rows = sum(line.startswith("j") for line in lines.splitlines())
    times, ours, base = ratio([*hpcjob(), "status"], env)
    return [
        ("scheduler commands of status, array of 10,000 tasks", calls, 1, "counted by the stub"),
        ("rows of status, array of 10,000 tasks", rows, 1, "lines of the table"),
        ("hpcjob status, array of 10,000 tasks", times, 10.0, f"{ours:.0f} ms, python {base:.0f} ms"),
    ]


def submission_counts(work: Path) -> list[tuple[str, float, float, str]]:
    """Commands of a submission, and processes of a rank's command line."""
    os.environ["HPCJOBS_HOME"] = str(work / "submit")
    slurm = FakeSlurm()
    os.chdir(work)  # below /tmp, which every container shares
    image = work / "image"
    (image / "bin").mkdir(parents=True)
    service = Service(runner=slurm, store=Store(work / "submit/jobs.sqlite3"))
    job = service.submit(JobSpec(command=("./app",), nodes=4, image=str(image)), site="testbed")
    service.store.close()
    script = JobFolder(Path(job.folder)).script.read_text()
    launch = script[script.rindex("\nsrun ") :].replace("\\\n", " ").split(" || ")[0].split()
    known = {"srun", "ch-run", "./app"}
    # A program is a word that starts a command: the first, the first behind srun's options, and the one behind --.
    programs = [launch[0], next(w for w in launch[1:] if not w.startswith("-")), launch[launch.index("--") + 1]]
    # ch-run is asked for its version, once until it changes.
    asked = sum(Path(call[0]).name not in {"sbatch", "ch-run"} for call in slurm.calls)
    return [
        ("scheduler commands of a submission beside sbatch", asked, 1, "counted"),
        ("processes of a rank beside launcher, runtime, app", len(set(programs) - known), 0, " ".join(programs)),
    ]


def main() -> int:
    """Print the table."""
    print(f"hpcjobs {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, {RUNS} runs each")
    over = 0
    steps: tuple[Callable[[Path], list[tuple[str, float, float, str]]], ...] = (
        timings,
        array_counts,
        submission_counts,
    )
    with tempfile.TemporaryDirectory() as folder:
        for step in steps:
            for what, measured, limit, detail in step(Path(folder)):
                verdict = "ok" if measured <= limit else "OVER"
                over += measured > limit
                print(f"{what:<58}{measured:>8.3g}  limit {limit:<5g}{verdict:<6}{detail}")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
