"""What packing costs: the time of a core, for each point of a study, beside the point's own program.

Two ways. Points that do nothing, run by as many copies of the script as there are cores, are timed in turn with a bare
loop of the same program (A B A B …), and the medians compared. And 10,000 points of one second, which need no core
while they sleep, on 400 copies, against the 25 seconds that they last: what is over, times the cores, shared out.
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

from hpcjobs import __version__, render
from hpcjobs.sweep import command
from hpcjobs.sweep.pointscript import PointScript

RUNS = 7
POINTS = 2000
SECOND_POINTS, COPIES = 10_000, 400
LIMIT = 10.0  # milliseconds of a core, for a point
CORES = os.cpu_count() or 1
BARE = 'for ((i = 0; i < $1; i++)); do "${@:2}"; done'


def study(folder: Path, program: Sequence[str], points: int) -> Path:
    """The script of a study of so many points, with one parameter that nobody reads."""
    for name in ("ends", "skip"):
        (folder / name).mkdir(parents=True)
    table = folder / "points-1.tsv"
    table.write_text("point\tx\n" + "".join(f"{point}\t{point / 7!r}\n" for point in range(points)))
    script = PointScript(
        folder=str(folder), workdir=str(folder), launch=(tuple(program),),
        env={"x": command.value(1)}, pack=points,
    )  # fmt: skip
    file = folder / "point-1.sh"
    file.write_text(render.render_points(script))
    return file


def packed(script: Path, points: int, copies: int) -> float:
    """Seconds that the points take; all must end well."""
    ends = script.parent / "ends" / os.uname().nodename
    ends.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as claims:
        environment = {**os.environ, "HPCJOB_TAG": "bench", "HPCJOB_CLAIMS": claims}
        begin = time.perf_counter()
        table = script.with_name("points-1.tsv")
        subprocess.run(["bash", script, table, "0", str(points), str(copies)], check=True, env=environment)
        taken = time.perf_counter() - begin
    lines = [line.split(" ") for line in ends.read_text().splitlines()]
    done = {int(fields[2]) for fields in lines if fields[0] == "p" and fields[3] == "0"}
    assert done == set(range(points)), f"{points - len(done)} points did not end well"
    return taken


def bare(program: Sequence[str], points: int) -> float:
    """Seconds that the same number of runs of the program takes in loops of bash, one a core."""
    begin = time.perf_counter()
    loops = [subprocess.Popen(["bash", "-c", BARE, "bare", str(points // CORES), *program]) for _ in range(CORES)]
    assert not any(loop.wait() for loop in loops)
    return time.perf_counter() - begin


def nothing(work: Path) -> tuple[str, float, str]:
    """Points that do nothing, and the bare loop."""
    program = ("/bin/true",)
    script = study(work / "nothing", program, POINTS)
    pairs = [(packed(script, POINTS, CORES), bare(program, POINTS)) for _ in range(RUNS)]
    ours, base = (statistics.median(times) * CORES * 1000 / POINTS for times in zip(*pairs, strict=True))
    detail = f"{ours:.2f} ms a point, bare loop {base:.2f} ms, ratio {ours / base:.2f}"
    return f"packing, {POINTS} points of nothing on {CORES} cores", ours - base, detail


def seconds(work: Path) -> tuple[str, float, str]:
    """Points of a second on many more copies than there are cores."""
    script = study(work / "seconds", ("sleep", "1"), SECOND_POINTS)
    lasted = -(-SECOND_POINTS // COPIES)
    taken = packed(script, SECOND_POINTS, COPIES)
    detail = f"{taken:.1f} s, of which the points last {lasted} s, ratio {taken / lasted:.2f}"
    over = (taken - lasted) * CORES * 1000 / SECOND_POINTS
    return f"packing, {SECOND_POINTS} points of one second on {COPIES} copies", over, detail


def main() -> int:
    """Print the table."""
    shell = subprocess.run(["bash", "--version"], check=True, capture_output=True, text=True).stdout.split("\n")[0]
    print(f"hpcjobs {__version__}, Python {platform.python_version()}, {CORES} cores, {shell}")
    over = 0
    with tempfile.TemporaryDirectory() as folder:
        for step in (nothing, seconds):
            what, measured, detail = step(Path(folder))
            verdict = "ok" if measured <= LIMIT else "OVER"
            over += measured > LIMIT
            print(f"{what:<58}{measured:>8.3g}  limit {LIMIT:<5g}{verdict:<6}{detail}", flush=True)
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
