"""The figures of `run.py` for hpcjobs and its peers, from one run: `python benchmarks/peers.py`.

Each peer is installed into an environment of its own (kept in `--cache`, by default a temporary folder) and timed in
turn with the bare interpreter of that environment; medians; ratios. What a peer has no counterpart of is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

RUNS = 11
JOBS = 1000
HERE = Path(__file__).parent.parent
TITLES = ("`--help`", "import", "dry run", "submit one job", f"states of {JOBS:,} jobs")

_TRACK = f"""\
import os, pathlib, sys
sys.path.insert(0, {str(HERE / "benchmarks")!r})
import run
run.track(pathlib.Path(os.environ["HPCJOBS_HOME"]), {JOBS})
"""
_MYQUEUE = f"""\
mkdir -p ~/.myqueue
echo "config = {{'scheduler': 'slurm', 'nodes': [('n', {{'cores': 4, 'memory': '8GB'}})]}}" >~/.myqueue/config.py
mq init
for n in $(seq {JOBS}); do mkdir -p tasks/$n; done
mq submit shell:true tasks/* -R 4:1h
"""
_PSIJ = """\
import os
from psij import Job, JobExecutor, JobSpec, ResourceSpecV1
spec = JobSpec(executable="./app", resources=ResourceSpecV1(node_count=4))
JobExecutor.get_instance("slurm").submit(Job(spec))
os._exit(0)
"""
_SUBMITIT = "import submitit; e = submitit.SlurmExecutor('logs'); e.update_parameters(nodes=4); e.submit(print)"
_SUBMITIT_STATES = f"""\
from submitit import SlurmJob
assert {{SlurmJob("logs", str(n)).state for n in range(1, {JOBS + 1})}} == {{"RUNNING"}}
"""
_FOUR_NODES = ("--runtime", "none", "-N", "4", "--", "./app")


@dataclass(frozen=True)
class Peer:
    """A package and the command lines that do what the columns say; the programs are those of its environment."""

    package: str
    imports: str  # what a program imports of it
    help: tuple[str, ...] = ()
    dry_run: tuple[str, ...] = ()
    submit: tuple[str, ...] = ()  # one job of four nodes, with a stub of sbatch
    states: tuple[str, ...] = ()  # with stubs of squeue and sacct
    prepare: tuple[str, ...] = ()  # makes the thousand jobs known to it

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """One for each of `TITLES`."""
        return self.help, ("python", "-c", self.imports), self.dry_run, self.submit, self.states


PEERS = (
    Peer(
        "hpcjobs",
        "from hpcjobs import Job, submit",
        help=("hpcjob", "--help"),
        dry_run=("hpcjob", "submit", "--site", "testbed", "--dry-run", *_FOUR_NODES),
        submit=("hpcjob", "submit", "--site", "testbed", *_FOUR_NODES),
        states=("hpcjob", "status"),
        prepare=("python", "-c", _TRACK),
    ),
    Peer("psij-python", "from psij import Job, JobExecutor", submit=("python", "-c", _PSIJ)),
    Peer(
        "submitit",
        "from submitit import AutoExecutor",
        submit=("python", "-c", _SUBMITIT),
        states=("python", "-c", _SUBMITIT_STATES),
    ),
    Peer(
        "simple_slurm",
        "from simple_slurm import Slurm",
        dry_run=("python", "-c", "from simple_slurm import Slurm; print(Slurm(nodes=4))"),
        submit=("python", "-c", "from simple_slurm import Slurm; Slurm(nodes=4).sbatch('./app')"),
    ),
    Peer(
        "myqueue",
        "from myqueue.task import task",
        help=("mq", "--help"),
        dry_run=("mq", "submit", "--dry-run", "shell:true", "-R", "16:1h"),
        # A task of the same name would be left out as queued already.
        submit=("sh", "-c", "mq submit shell:true -n task$$ -R 16:1h"),
        states=("sh", "-c", "mq sync && mq ls"),
        prepare=("sh", "-ec", _MYQUEUE),
    ),
    Peer(
        "srunx",
        "import srunx",
        help=("srunx", "--help"),
        submit=("srunx", "submit", "-N", "4", "--venv", "here", "./app"),
        states=("srunx", "list"),
    ),
    Peer("executorlib", "from executorlib import SlurmClusterExecutor"),
    Peer("dask-jobqueue", "from dask_jobqueue import SLURMCluster"),
)


def environment(package: str, cache: Path) -> Path:
    """The folder of the programs of the package's environment, made if need be."""
    folder = cache / package
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", HERE if package == "hpcjobs" else package],
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
        (folder / "ready").touch()
    return folder / "bin"


def ratio(command: tuple[str, ...]) -> tuple[float, float]:
    """Median over the bare interpreter's median, and the median in milliseconds."""

    def seconds(words: tuple[str, ...]) -> float:
        begin = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        return time.perf_counter() - begin

    seconds(command)
    pairs = [(seconds(command), seconds(("python", "-c", "pass"))) for _ in range(RUNS)]
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    return ours / bare, ours * 1000


def stubs(folder: Path) -> None:
    """Programs that answer as Slurm's do for a thousand running jobs."""
    folder.mkdir(parents=True)
    jobs = range(1, JOBS + 1)
    (folder / "fields").write_text("".join(f"{n}|N/A|RUNNING|1700000000|1800000000|n1|None\n" for n in jobs))
    table = "".join(f"{n} debug app user RUNNING 1:00 1:00:00 4 n1\n" for n in jobs)
    (folder / "table").write_text("JOBID PARTITION NAME USER STATE TIME TIME_LIMIT NODES NODELIST\n" + table)
    (folder / "accounting").write_text("JobID|State|NodeList\n" + "".join(f"{n}|RUNNING|n1\n" for n in jobs))
    # hpcjobs asks for fields, srunx for a table without a header, myqueue for the table.
    squeue = f"""\
case "$*" in
  *"|"*) cat {folder}/fields;;
  *--noheader*) tail -n +2 {folder}/table;;
  *) cat {folder}/table;;
esac"""
    # hpcjobs asks for the bare id; the others read sbatch's sentence.
    sbatch = f"""\
n=$(cat {folder}/last 2>/dev/null || echo 0)
echo $((n + 1)) >{folder}/last
case "$*" in *--parsable*) echo $((n + 1));; *) echo Submitted batch job $((n + 1));; esac"""
    for name, body in (("squeue", squeue), ("sacct", f"cat {folder}/accounting"), ("sbatch", sbatch)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)


def cell(command: tuple[str, ...]) -> str:
    """`2.1 (25 ms)`, or why not."""
    if not command:
        return "-"
    try:
        times, milliseconds = ratio(command)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"fails: {last[-1][:60] if last else error.returncode}"
    return f"{times:.1f} ({milliseconds:.0f} ms)"


def row(peer: Peer, cache: Path) -> list[str]:
    """The cells of a peer, measured in a home of its own."""
    try:
        programs = environment(peer.package, cache)
    except subprocess.CalledProcessError as error:
        return [peer.package, f"does not install: {error.stderr.strip().splitlines()[-1][:80]}"] + [""] * len(TITLES)
    home = Path(tempfile.mkdtemp(prefix=f"{peer.package}-"))
    stubs(home / "bin")
    inherited = os.environ.copy()
    os.environ.update(
        PATH=f"{home}/bin:{programs}:{inherited['PATH']}", HPCJOBS_HOME=str(home / "jobs"), HOME=str(home)
    )
    os.chdir(home)
    try:
        ask = f"from importlib.metadata import version; print(version({peer.package!r}))"
        version = subprocess.run(["python", "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
        if peer.prepare:
            subprocess.run(peer.prepare, check=True, capture_output=True)
            (home / "bin/last").write_text(str(JOBS))
        return [peer.package, version, *map(cell, peer.commands)]
    finally:
        os.environ.update({name: inherited[name] for name in ("PATH", "HOME")})


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "hpcjobs-peers")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    cache: Path = parser.parse_args().cache.absolute()
    print(f"| package | version | {' | '.join(TITLES)} |\n|" + "---|" * (len(TITLES) + 2))
    for peer in PEERS:
        print(f"| {' | '.join(row(peer, cache))} |", flush=True)


if __name__ == "__main__":
    main()
