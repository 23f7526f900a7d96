"""What images as commands promise: 10 ms on top of the bare runtime's command, and 50 ms on top of its kernel.

A wrapped command and the command that one would type are run in turn, and so are a kernel that hpcjob installed and one
whose kernel.json has the bare command; what counts is the median of the differences. Needs Apptainer and Charliecloud,
and as root makes the images (tests/cluster/jupyter-images); else IMAGES must be there. Exits 1 if a number is over its
limit.

    python -m benchmarks.prompt
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import zmq
from jupyter_client.manager import KernelManager

from hpcjobs import __version__

IMAGES = Path(os.environ.get("HPCJOBS_JUPYTER_IMAGES", "/var/tmp/hpcjobs-jupyter-images"))
COMMAND_RUNS, KERNEL_RUNS = 41, 25
COMMAND_LIMIT, KERNEL_LIMIT = 0.010, 0.050
# Root may lack capabilities in a VM or container; in a user namespace it needs none.
APPTAINER = ("apptainer", "exec", *(("--userns",) if os.geteuid() == 0 else ()))
SITE = f"""\
scheduler: {{kind: local}}
runtimes:
  - {{kind: apptainer, options: [{", ".join(APPTAINER[2:])}]}}
  - {{kind: charliecloud}}
"""  # the same modules and binds as the bare command: none


def bare(form: str) -> tuple[str, ...]:
    """What somebody types who knows the runtime."""
    image = str(IMAGES / form)
    return (*APPTAINER, image) if form.endswith(".sif") else ("ch-run", image, "--")


def seconds(*command: str | Path) -> float:
    """Wall time of one run, which must succeed."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def kernel_seconds(name: str) -> float:
    """From the start of a kernel to its first answer."""
    context = zmq.Context()
    context.reconnect_ivl = 1  # or a client looks for its kernel every 100 ms, and nothing shorter can be seen
    manager = KernelManager(kernel_name=name, context=context)
    begin = time.perf_counter()
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    took = time.perf_counter() - begin
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    context.destroy(linger=0)
    return took


def compared(ours: Callable[[], float], theirs: Callable[[], float], runs: int) -> tuple[float, float]:
    """The median of the differences, and that of theirs; each goes first every other time."""
    ours(), theirs()
    pairs = []
    for number in range(runs):
        first = ours() if number % 2 else None
        other = theirs()
        pairs.append((ours() if first is None else first, other))
    return statistics.median(one - other for one, other in pairs), statistics.median(other for _, other in pairs)


def hpcjob(*words: str | Path) -> None:
    subprocess.run([Path(sys.executable).with_name("hpcjob"), *words], check=True, capture_output=True)


def prepared(work: Path, form: str) -> tuple[Path, str, str]:
    """The wrapped command, our kernel and the bare one."""
    site = work / "bench.yaml"
    site.write_text(SITE)
    runtime = "apptainer" if form.endswith(".sif") else "charliecloud"
    options = ("--site-file", site, "--runtime", runtime)
    hpcjob("wrap", IMAGES / form, "--command", "true", "--to", work / runtime, *options)
    hpcjob("kernel", "install", IMAGES / form, "--name", f"ours {runtime}", *options)
    spec = {
        "argv": [*bare(form), "python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": f"bare {runtime}",
        "language": "python",
        "interrupt_mode": "message",
    }
    folder = work / f"jupyter/kernels/bare-{runtime}"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    return work / runtime / "true", f"ours-{runtime}", f"bare-{runtime}"


def main() -> int:
    if os.geteuid() == 0:
        subprocess.run(["tests/cluster/jupyter-images", IMAGES], check=True)
    print(f"hpcjobs {__version__}, Python {platform.python_version()}, on top of the bare runtime")
    bad = 0
    work = Path(tempfile.mkdtemp(prefix="hpcjobs-bench.", dir="/tmp"))
    os.environ.update(JUPYTER_DATA_DIR=str(work / "jupyter"), JUPYTER_RUNTIME_DIR=str(work / "runtime"))
    os.environ.update(HPCJOBS_HOME=str(work / "home"), USER=os.environ.get("USER", "root"))
    (work / "runtime").mkdir()
    os.chdir(work)
    try:
        for form in ("kernel.sif", "kernel"):
            command, ours, theirs = prepared(work, form)
            typed = (*bare(form), "true")
            name = "Apptainer" if form.endswith(".sif") else "Charliecloud"
            of_command = compared(partial(seconds, command), partial(seconds, *typed), COMMAND_RUNS)
            of_kernel = compared(partial(kernel_seconds, ours), partial(kernel_seconds, theirs), KERNEL_RUNS)
            numbers = (
                (f"command, {name}", COMMAND_LIMIT, COMMAND_RUNS, of_command),
                (f"kernel, {name}", KERNEL_LIMIT, KERNEL_RUNS, of_kernel),
            )
            for what, limit, runs, (more, whole) in numbers:
                verdict = "ok" if more <= limit else "OVER"
                bad += more > limit
                print(f"{what:<24} {more * 1000:+6.1f} ms  limit {limit * 1000:.0f}  {verdict:<4}"
                      f"  (bare {whole * 1000:.0f} ms, {runs} pairs)")  # fmt: skip
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
