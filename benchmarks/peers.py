"""The figures of `run.py` for hpcjobs and its peers, from one run: `python benchmarks/peers.py`.

Each peer is installed into an environment of its own (kept in `--cache`, by default a temporary folder) and timed in
turn with the bare interpreter of that environment; medians; ratios. What a peer has no counterpart of is left out.
"""

from __future__ import annotations

import argparse
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


PEERS = (
    Peer(str(HERE), "from hpcjobs import Job, submit", ("hpcjob", "--help")),
    Peer("psij-python", "from psij import Job, JobExecutor"),
    Peer("submitit", "from submitit import AutoExecutor"),
    Peer("simple_slurm", "from simple_slurm import Slurm"),
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
    print("| package | version | start of the command line | import of the library |\n|---|---|---|---|")
    for peer in PEERS:
        name = Path(peer.package).name if peer.package == str(HERE) else peer.package
        try:
            programs = environment(peer, cache)
        except subprocess.CalledProcessError as error:
            print(f"| {name} | does not install: {error.stderr.strip().splitlines()[-1][:80]} | | |")
            continue
        python = str(programs / "python")
        asked = "hpcjobs" if peer.package == str(HERE) else peer.package
        version = subprocess.run(
            [python, "-c", f"from importlib.metadata import version; print(version({asked!r}))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        start = cell([str(programs / peer.command[0]), *peer.command[1:]], python) if peer.command else "none"
        print(f"| {asked} | {version} | {start} | {cell([python, '-c', peer.imports], python)} |", flush=True)


if __name__ == "__main__":
    main()
