"""What 100,000 points cost: `python -m benchmarks.sweep`.

sbatch, squeue and the others are stubs that answer at once, so that what is measured is hpcjobs and not Slurm; what the
stubs themselves take is measured beside it and taken off. Times are medians, also as ratios to `python -c pass`.
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
from collections.abc import Sequence
from pathlib import Path

from benchmarks.run import environment, hpcjob, seconds
from hpcjobs import __version__, paths
from hpcjobs.store import Store

RUNS = 5
POINTS, ARRAY = 100_000, 1001
GRID = ("--grid", "i=range(0,1000)", "--grid", "x=linspace(0,1,100)")
PROGRAM = ("--", "./solve", "--i", "{i}", "--x", "{x}")
# Seconds; MB; seconds; commands for each 10,000 tasks.
SEND, MEMORY, STATUS = 3.0, 200, 1.0

STUBS = {
    "sbatch": 'n=$(cat "{home}/last" 2>/dev/null || echo 0); n=$((n + 1)); echo $n >"{home}/last"; echo $n',
    "scontrol": f'echo "MaxArraySize = {ARRAY}"; echo "SLURM_VERSION = 22.05.8"',
    "sinfo": 'echo "debug*|1:00:00|4|8|3000|(null)|1-infinite"',
    "sacctmgr": ":",
    "sacct": ":",
    "squeue": 'echo squeue >>"{home}/calls"; cat "{home}/queue"',
}


def stubs(folder: Path) -> Path:
    """The commands of a Slurm that takes everything."""
    folder.mkdir()
    for name, body in STUBS.items():
        (folder / name).write_text(f"#!/bin/sh\n{body.format(home=folder)}\n")
        (folder / name).chmod(0o755)
    (folder / "queue").touch()
    return folder


def measured(command: Sequence[str], env: dict[str, str]) -> tuple[float, float]:
    """Wall time and the most memory (MB) of one run."""
    begin = time.perf_counter()
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, code, used = os.wait4(process.pid, 0)
        taken = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return taken, used.ru_maxrss / 1024


def of_the_stub(bin_folder: Path, env: dict[str, str], jobs: int) -> float:
    """Seconds that the scheduler's command itself takes for so many jobs."""
    begin = time.perf_counter()
    for _ in range(jobs):
        subprocess.run([bin_folder / "sbatch"], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def sending(work: Path) -> list[tuple[str, float, float, str]]:
    """Expand, write, submit in chunks and record."""
    bin_folder = stubs(work / "bin")
    command = [*hpcjob(), "sweep", *GRID, "-t", "1", *PROGRAM]
    runs = []
    for number in range(RUNS):
        home = work / f"home{number}"
        env = environment(home, bin_folder)
        runs.append(measured(command, env))
    bare = statistics.median(seconds([sys.executable, "-c", "pass"], env) for _ in range(RUNS))
    taken, memory = statistics.median(each[0] for each in runs), max(each[1] for each in runs)
    store = Store(home / "jobs.sqlite3")
    study = store.studies()[-1]
    jobs = store.jobs_of(study.id)
    assert sum(job.rows for job in jobs) == study.points == POINTS
    folder = Path(study.folder)
    files = sum(len(names) for _, _, names in os.walk(folder))
    stub = of_the_stub(bin_folder, env, len(jobs))
    detail = f"{taken:.2f} s in all, {stub:.2f} s of them {len(jobs)} sbatch, python {bare * 1000:.0f} ms"
    fill(study.folder, store, bin_folder)
    store.close()
    return [
        (f"sweep of {POINTS} points, seconds besides sbatch", taken - stub, SEND, detail),
        ("the same, as a ratio to python -c pass", (taken - stub) / bare, SEND / 0.015, "for comparison"),
        (f"sweep of {POINTS} points, memory in MB", memory, MEMORY, "the most of all runs"),
        ("files before a job runs, for each job", files / len(jobs), 5, f"{files} files, {len(jobs)} jobs"),
        *status(home, bin_folder, env, study.label),
    ]


def fill(folder: str, store: Store, bin_folder: Path) -> None:
    """Six tenths of the points have ended, two run, two wait."""
    ends, queue = [], []
    jobs = store.jobs_of(store.studies()[-1].id)
    for number, job in enumerate(jobs):
        tasks = range(job.rows)
        if number < len(jobs) * 6 // 10:
            ends += [
                f"p {job.tag} {job.first + i} {int(i % 97 == 0)} 1700000000.123456 1700000001.123456\n"
                f"t {job.tag} {i} {int(i % 97 == 0)} 0 1700000000 1700000001 0 {job.native_id}\n"
                for i in tasks
            ]
        elif number < len(jobs) * 8 // 10:
            queue += [f"{job.native_id}|{i}|RUNNING|1700000000|1800000000|n1|None\n" for i in tasks]
        else:
            queue.append(f"{job.native_id}|0-{job.rows - 1}|PENDING|N/A|N/A||Priority\n")
    hosts, study = 16, paths.StudyFolder(Path(folder))
    for host in range(hosts):
        (study.ends / f"n{host}").write_text("".join(ends[host::hosts]))
    (bin_folder / "queue").write_text("".join(queue))


def status(home: Path, bin_folder: Path, env: dict[str, str], label: str) -> list[tuple[str, float, float, str]]:
    """`status` of such a study, each time with a poll."""
    command = [*hpcjob(), "status", label]
    calls = bin_folder / "calls"
    runs = []
    for _ in range(RUNS):
        store = Store(home / "jobs.sqlite3")
        for job in store.jobs_of(store.studies()[-1].id)[:1]:
            store.release_poll(f"{job.scheduler}:{job.site}:{job.options}")
        store.close()
        calls.unlink(missing_ok=True)
        runs.append(measured(command, env))
    polls = len(calls.read_text().splitlines())
    text = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    taken = statistics.median(each[0] for each in runs)
    return [
        (f"status of {POINTS} points, seconds", taken, STATUS, text.splitlines()[0]),
        ("scheduler commands of it, for each 10,000 tasks", polls / (POINTS / 10_000), 1, f"{polls} in all"),
    ]


def main() -> int:
    """Print the table."""
    print(f"hpcjobs {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, {RUNS} runs each")
    over = 0
    with tempfile.TemporaryDirectory() as folder:
        for what, value, limit, detail in sending(Path(folder)):
            verdict = "ok" if value <= limit else "OVER"
            over += value > limit
            print(f"{what:<58}{value:>8.3g}  limit {limit:<5g}{verdict:<6}{detail}")
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
