"""What `hpcjob image inspect` promises for a SIF of 1 GB: a second when it is new, 30 ms when it is known.

Makes the image of random bytes (needs apptainer and mksquashfs, and 3 GB in TMPDIR, else in /var/tmp), and drops the
page cache before each cold look if it may. Each look is the whole command, timed in turn with `python -c pass`: the
promise is about what comes on top of that. Exits 1 if a number is over its limit.

    python -m benchmarks.images
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpcjobs import __version__

SIZE = 1_000_000_000
SMALL_FILES = 50_000
COLD_RUNS = 7
CACHED_RUNS = 21
COLD_LIMIT = 1.0
CACHED_LIMIT = 0.030


def build(work: Path) -> Path:
    """A SIF of one gigabyte that does not compress, and of many small files."""
    root, image = work / "root", work / "big.sif"
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text('PRETTY_NAME="Bench"\n')
    (root / "bin").mkdir()
    shutil.copy("/bin/sh", root / "bin/sh")
    for number in range(SMALL_FILES):
        folder = root / f"opt/python/lib/package{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"module{number}.py").write_text(f"{number}\n")
    with (root / "data").open("wb") as file:
        for _ in range(SIZE // 1_000_000):
            file.write(os.urandom(1_000_000))
    squash = ["--mksquashfs-args", "-comp zstd -Xcompression-level 1 -noD -noF"]
    subprocess.run(["apptainer", "build", *squash, image, root], check=True, capture_output=True)
    shutil.rmtree(root)
    return image


def forget(image: Path) -> str:
    """Drop the file from the page cache; how."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        with image.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return "posix_fadvise"
    return "drop_caches"


def seconds(*command: str | Path, **more: str) -> float:
    """Wall time of one run, which must succeed; with bytecode, as installed."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**environment, **more})
    return time.perf_counter() - begin


def look(image: Path, home: Path) -> float:
    """What the command takes on top of the bare interpreter, in seconds."""
    command = Path(sys.executable).with_name("hpcjob")
    whole = seconds(command, "image", "inspect", image, HPCJOBS_HOME=str(home))
    return whole - seconds(sys.executable, "-c", "pass")


def cold(image: Path, home: Path) -> tuple[list[float], list[float]]:
    """Reports of a file that nobody has read, and `sha256sum` of it, in turn."""
    reports, sums = [], []
    for _ in range(COLD_RUNS):
        shutil.rmtree(home, ignore_errors=True)
        forget(image)
        reports.append(look(image, home))
        forget(image)
        sums.append(seconds("sha256sum", image))
    return reports, sums


def line(what: str, times: list[float], limit: float, base: float) -> bool:
    """Print a row; whether its median is within the limit."""
    median = statistics.median(times)
    verdict = "ok" if median <= limit else "OVER"
    print(
        f"{what:<28}{median:>8.3f} s  limit {limit:<6g}{verdict:<5} {median / base:>6.3f} of sha256sum"
        f"  ({min(times):.3f} to {max(times):.3f} s, {len(times)} runs)"
    )
    return median <= limit


def main() -> int:
    """Print the table."""
    missing = [name for name in ("apptainer", "mksquashfs", "unsquashfs", "sha256sum") if not shutil.which(name)]
    if missing:
        print(f"missing: {', '.join(missing)}; on Debian: apt install apptainer squashfs-tools coreutils")
        return 2
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        image, home = build(Path(folder)), Path(folder, "home")
        how = forget(image)
        print(f"hpcjobs {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, cold by {how}")
        print(f"SIF of {image.stat().st_size / 1e9:.2f} GB with {SMALL_FILES} files")
        look(image, home)  # bytecode
        reports, sums = cold(image, home)
        base = statistics.median(sums)
        print(f"{'sha256sum, cold':<28}{base:>8.3f} s")
        fine = line("image inspect, cold", reports, COLD_LIMIT, base)
        known = [look(image, home) for _ in range(CACHED_RUNS)]
        fine &= line("image inspect, cached", known, CACHED_LIMIT, base)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
