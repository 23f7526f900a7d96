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
HERE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Peer:
    """A package, what starts its command line, and what a program imports of it."""

    package: str
    imports: str
    command: tuple[str, ...] = ()
    submit: str = ""  # Python that submits one job of four nodes with the stub of sbatch
    status: str = ""  # Python that asks for the states of a thousand jobs with the stubs of squeue and sacct


PEERS = (
    Peer(
        str(HERE),
        "from hpcjobs import Job, submit",
        ("hpcjob", "--help"),
        'from hpcjobs import *; submit(Job(command=("./app",), nodes=4, runtime="none"), site="testbed")',
        "from hpcjobs import status; assert len(status('active')) >= 1000",
    ),
    Peer(
        "psij-python",
        "from psij import Job, JobExecutor",
        submit="from psij import Job, JobSpec, ResourceSpecV1, JobExecutor; import os; "
        "spec = JobSpec(executable='./app', resources=ResourceSpecV1(node_count=4)); "
        "JobExecutor.get_instance('slurm').submit(Job(spec)); os._exit(0)",
    ),
    Peer(
        "submitit",
        "from submitit import AutoExecutor",
        submit="import submitit; e = submitit.SlurmExecutor('logs'); e.update_parameters(nodes=4); e.submit(print)",
        status="from submitit import SlurmJob; "
        "assert {SlurmJob('logs', str(n)).state for n in range(1, 1001)} == {'RUNNING'}",
    ),
    Peer(
        "simple_slurm",
        "from simple_slurm import Slurm",
        submit="from simple_slurm import Slurm; Slurm(nodes=4).sbatch('./app')",
    ),
    Peer("myqueue", "from myqueue.task import task", ("mq", "--help")),
    Peer("srunx", "import srunx", ("srunx", "--help")),
    Peer("executorlib", "from executorlib import SlurmClusterExecutor"),
    Peer("dask-jobqueue", "from dask_jobqueue import SLURMCluster"),
)


def environment(peer: Peer, cache: Path) -> Path:
    """The folder of the programs of the peer's environment, made if need be."""
    folder = cache / Path(peer.package).name
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", peer.package],
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
        (folder / "ready").touch()
    return folder / "bin"


def ratio(command: list[str], python: str) -> tuple[float, float]:
    """Median over the bare interpreter's median, and the median in milliseconds."""

    def seconds(words: list[str]) -> float:
        begin = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True, timeout=60)
        return time.perf_counter() - begin

    seconds(command)
    pairs = [(seconds(command), seconds([python, "-c", "pass"])) for _ in range(RUNS)]
    ours, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    return ours / bare, ours * 1000


def stubs(folder: Path) -> None:
    """Programs that answer as Slurm's do for a thousand running jobs."""
    folder.mkdir(parents=True)
    jobs = range(1, 1001)
    (folder / "squeue.txt").write_text("".join(f"{n}|N/A|RUNNING|1700000000|1800000000|n1|None\n" for n in jobs))
    (folder / "sacct.txt").write_text("JobID|State|NodeList\n" + "".join(f"{n}|RUNNING|n1\n" for n in jobs))
    # hpcjobs asks for the bare id; the others read sbatch's sentence.
    sbatch = 'case "$*" in *--parsable*) echo 1001;; *) echo Submitted batch job 1001;; esac'
    for name, body in (
        ("squeue", f"cat {folder}/squeue.txt"),
        ("sacct", f"cat {folder}/sacct.txt"),
        ("sbatch", sbatch),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)


def track(python: str) -> None:
    """Make a thousand jobs known to hpcjobs, as its own benchmark does."""
    code = f"import sys; sys.path.insert(0, {str(HERE / 'benchmarks')!r}); import run, pathlib, os; "
    code += "run.track(pathlib.Path(os.environ['HPCJOBS_HOME']), 1000)"
    subprocess.run([python, "-c", code], check=True, capture_output=True)


def cell(command: list[str], python: str) -> str:
    """`2.1 (25 ms)`, or why not."""
    try:
        times, milliseconds = ratio(command, python)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"fails: {last[-1][:60] if last else error.returncode}"
    return f"{times:.1f} ({milliseconds:.0f} ms)"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "hpcjobs-peers")
    cache: Path = parser.parse_args().cache
    work = Path(tempfile.mkdtemp(prefix="hpcjobs-peers-"))
    stubs(work / "bin")
    os.environ.update(PATH=f"{work}/bin:{os.environ['PATH']}", HPCJOBS_HOME=str(work / "home"), HOME=str(work))
    os.chdir(work)
    titles = ("package", "version", "`--help`", "import", "submit one job", "states of 1,000 jobs")
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for peer in PEERS:
        name = Path(peer.package).name if peer.package == str(HERE) else peer.package
        try:
            programs = environment(peer, cache)
        except subprocess.CalledProcessError as error:
            print(f"| {name} | does not install: {error.stderr.strip().splitlines()[-1][:80]} | | | | |")
            continue
        python = str(programs / "python")
        asked = "hpcjobs" if peer.package == str(HERE) else peer.package
        version = subprocess.run(
            [python, "-c", f"from importlib.metadata import version; print(version({asked!r}))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        start = cell([str(programs / peer.command[0]), *peer.command[1:]], python) if peer.command else "-"
        if peer.package == str(HERE):
            track(python)
        codes = (peer.imports, peer.submit, peer.status)
        cells = [cell([python, "-c", code], python) if code else "-" for code in codes]
        print(f"| {asked} | {version} | {start} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
