"""What hpcjobs promises about MPI in containers: the look at the host, planning, starting ranks, messages.

    python -m benchmarks.mpi [PART...]      parts: host, plan, ranks, check, netpipe

Needs the images of `tests/cluster/mpi images /var/tmp/hpcjobs-mpi-images`, Debian's MPICH and Open MPI, NetPIPE for
both, Apptainer, Charliecloud and strace. As root the ranks run as the user `hpc`, if there is one. What is compared
is run in turn, in one run. Exits 1 if a number misses its promise.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import platform
import pwd
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import hpcjobs
from benchmarks.run import hpcjob, seconds
from hpcjobs import __version__, mpi_service, shell
from hpcjobs.image_service import QUIET
from hpcjobs.model import JobSpec, LauncherConfig, Site
from hpcjobs.mpi.facts import MpiHost
from hpcjobs.mpi.settle import settle
from hpcjobs.mpi_service import Mpi
from hpcjobs.process import run as really_run
from hpcjobs.service import Prepared, Service
from hpcjobs.site import mpilock

IMAGES = Path("/var/tmp/hpcjobs-mpi-images")
USER = "hpc"
HOST_RUNS = 7
PLAN_RUNS = 51
DRY_RUNS = 21
RANK_RUNS = 21
CHECK_RUNS = 21
ROUNDS = 21
PATIENCE = 3  # runs, until one is undisturbed
SLOW = 0.7  # of the host: the cores are far apart then, or shared
DISTURBED = 0.15  # of a core that others use

# Long enough that both ranks are there: who shares a container must find it alive.
IDLE = ("sleep", "0.5")

HOST_LIMIT = 3.0  # seconds
PLAN_LIMIT = 0.050
CHECK_LIMIT = 1.0
NETPIPE_LIMIT = 0.98  # of the bare host


RESULT = "np.out"


@dataclass(frozen=True)
class Sizes:
    """Messages of NetPIPE: from, to, in bytes, and how often each is sent, seven times over."""

    what: str
    least: int
    most: int
    times: int

    @property
    def options(self) -> tuple[str, ...]:
        """NetPIPE's; it takes the best of its seven."""
        span = ("-l", str(self.least), "-u", str(self.most), "-n", str(self.times))
        return ("-p", "0", *span, "-o", RESULT)

    def told(self, rate: float) -> str:
        """What the rate of the smallest size, in Mb/s, means."""
        microseconds = self.least * 8 / rate
        return f"{microseconds:.3g} us for {self.least} B, {rate / 1000:.3g} Gb/s"


SMALL = Sizes("latency (1 to 64 B)", 1, 64, 10000)
LARGE = Sizes("bandwidth (1 to 4 MiB)", 2**20, 2**22, 60)


@dataclass(frozen=True)
class Stack:
    """A host's MPI and an image with the same kind."""

    lock: str  # the beginning of its name in the lock file
    kind: str
    launcher: str
    netpipe: str
    package: str
    image: str


STACKS = (
    Stack("mpich-4.0", "mpiexec", "/usr/bin/mpiexec.mpich", "NPmpich2", "netpipe-mpich2", "trixie-mpich"),
    Stack("openmpi-4.1.4", "mpirun", "/usr/bin/mpirun.openmpi", "NPopenmpi", "netpipe-openmpi", "trixie-openmpi"),
)
RUNTIMES = {"apptainer": ".sif", "charliecloud": ""}
PACKAGES = {
    "mpiexec.mpich": "mpich", "mpirun.openmpi": "openmpi-bin", "ch-run": "charliecloud", "apptainer": "apptainer",
    "strace": "strace", **{each.netpipe: each.package for each in STACKS},
}  # fmt: skip


class FailedError(Exception):
    """A script ended with an error."""

    def __init__(self, script: Path, output: str) -> None:
        super().__init__(" | ".join(filter(None, output.splitlines()[-3:])))
        self.script = script


class Bench:
    """A folder with a site for each host MPI and runtime, and what was over its limit."""

    def __init__(self, folder: Path, user: str) -> None:
        self.folder, self.user = folder, user
        self.work = folder / "work"
        self.missed = 0
        self.lock = folder / "here.mpi.lock.yaml"
        self.numbers = itertools.count()
        self.work.mkdir()
        for stack in STACKS:
            shutil.copy(shutil.which(stack.netpipe) or "", self.work)
        self.home = folder / "home"
        os.environ["HPCJOBS_HOME"] = str(self.home)
        self.found = self._look()
        self.lock.write_text(mpilock.dump(self.found))
        self.own()

    def _look(self) -> MpiHost:
        launchers = tuple(LauncherConfig(kind=each.kind, command=each.launcher) for each in STACKS)
        return Mpi(Site(name="here", launchers=launchers), None, really_run, QUIET).probe()

    def own(self) -> None:
        """Give everything to the user."""
        if self.user:
            subprocess.run(["chown", "-R", f"{self.user}:", self.folder], check=True)

    def site(self, stack: Stack, runtime: str) -> Path:
        """A site file."""
        options = ["--oversubscribe"] if stack.kind == "mpirun" else []
        if os.geteuid() == 0 and not self.user and stack.kind == "mpirun":
            options.append("--allow-run-as-root")
        file = self.folder / f"{stack.lock}-{runtime}.yaml"
        file.write_text(json.dumps({
            "scheduler": {"kind": "local"},
            "launcher": {"kind": stack.kind, "command": stack.launcher, "options": options, "cpu_bind": "cores"},
            "runtimes": [{"kind": runtime}],
            "mpi": {"lock": str(self.lock), "host": stack.lock},
        }))  # fmt: skip
        return file

    def spec(self, stack: Stack, runtime: str, *command: str) -> JobSpec:
        """Two ranks on one node, with the host's MPI."""
        return JobSpec(
            command=command, image=self.image(stack, runtime), nodes=1, ntasks_per_node=2, workdir=str(self.work),
            mpi="bind", mpi_check="never",
        )  # fmt: skip

    def image(self, stack: Stack, runtime: str) -> str:
        """The image of a runtime."""
        return f"{IMAGES / stack.image}{RUNTIMES[runtime]}"

    def prepare(self, stack: Stack, runtime: str, *command: str) -> Prepared:
        """Plan a job, and make the folder that its container sees."""
        made = Service().prepare(
            self.spec(stack, runtime, *command), site_file=str(self.site(stack, runtime)), final=True
        )
        mpi_service.place(made.plan.mpi_plan)
        self.own()
        return made

    # ---------------------------------------------------------------------------------------- running

    def script(self, words: Iterable[object], env: Iterable[tuple[str, object]] = ()) -> Path:
        """A script that becomes the command."""
        file = self.folder / f"{next(self.numbers)}.sh"
        exports = "".join(f"export {name}={shell.quote(value)}\n" for name, value in env)
        file.write_text(f"cd {shell.quote(self.work)}\n{exports}exec {shell.join(words)}\n")
        return file

    def planned(self, made: Prepared, *program: str) -> Path:
        """The plan's own launch line, with this program."""
        launcher, runtime, _ = made.plan.launch
        return self.script((*launcher, *runtime, *program), made.plan.env.items())

    def command(self, script: Path, *before: str) -> list[str]:
        """How a script is run by the user, in a clean environment."""
        as_user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if self.user else []
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.work), "LANG": "C.UTF-8",
            "USER": self.user or pwd.getpwuid(os.geteuid()).pw_name,
            "HPCJOB_NATIVE_ID": f"{os.getpid()}.{next(self.numbers)}",
        }  # fmt: skip
        return [
            *as_user,
            "env",
            "-i",
            *(f"{name}={value}" for name, value in env.items()),
            *before,
            "bash",
            str(script),
        ]

    def run(self, script: Path, *before: str) -> str:
        """Run one; what it wrote."""
        done = subprocess.run(
            self.command(script, *before), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise FailedError(script, done.stdout)
        return done.stdout

    # --------------------------------------------------------------------------------------- printing

    def line(self, what: str, numbers: Sequence[float], unit: str, *, most: float = 0, least: float = 0) -> None:
        """A row: the median, the limit, and how far the numbers are apart."""
        median = statistics.median(numbers)
        fine = (not most or median <= most) and (not least or median >= least)
        limit = f"limit {most or least:<5g}{'ok' if fine else 'MISSED':<7}" if most or least else " " * 18
        self.missed += not fine
        spread = f"({min(numbers):.3g} to {max(numbers):.3g}, {len(numbers)} runs)" if len(numbers) > 1 else ""
        print(f"{what:<52}{median:>8.3g} {unit:<3} {limit} {spread}", flush=True)


def environment(home: Path) -> dict[str, str]:
    """As installed: with bytecode, and no site chosen."""
    left_out = {"HPCJOBS_SITE", "PYTHONDONTWRITEBYTECODE"}
    return {**{name: value for name, value in os.environ.items() if name not in left_out}, "HPCJOBS_HOME": str(home)}


def said(command: Iterable[object]) -> None:
    """The command line that is measured."""
    print(f"  $ {shell.join(command)}")


# ------------------------------------------------------------------------------------------ the host


def forget(files: Iterable[Path]) -> int:
    """Drop what the files hold from the page cache, as far as nobody has it mapped; how many files."""
    count = 0
    for file in files:
        try:
            with file.open("rb") as opened:
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            continue
        count += 1
    return count


def read_by_probe(found: MpiHost) -> Iterator[Path]:
    """Libraries, launchers, hpcjob itself and what Python packages it loads."""
    yield from (Path(each.path) for each in found.libraries)
    yield from (Path(each.command) for each in found.launchers)
    for mpi in found.mpis:
        for folder in (Path(each.path) for each in mpi.folders if each.same_place):
            yield from (file for file in folder.rglob("*") if file.is_file())
    for folder in {Path(hpcjobs.__file__).parent, *(Path(sysconfig.get_path(each)) for each in ("stdlib", "purelib"))}:
        yield from folder.glob("**/__pycache__/*.pyc")


def host(bench: Bench) -> None:
    """`hpcjob mpi host` in new processes."""
    site = bench.site(STACKS[0], "apptainer")
    command = [*hpcjob(), "mpi", "host", "--site-file", str(site)]
    said(["hpcjob", *command[1:]])
    env = environment(bench.folder / "host-home")
    names = ", ".join(f"{each.product} {each.version}" for each in bench.found.mpis)
    files = sorted(set(read_by_probe(bench.found)))
    print(
        f"  found: {names}; {len(bench.found.libraries)} libraries; {len(files)} files are forgotten before a cold run"
    )
    seconds(command, env)
    warm, cold, bare = [], [], []
    for _ in range(HOST_RUNS):
        bare.append(seconds([sys.executable, "-c", "pass"], env))
        warm.append(seconds(command, env))
        forget(files)
        cold.append(seconds(command, env))
    bench.line("python -c pass", bare, "s")
    bench.line("mpi host, files in memory", warm, "s", most=HOST_LIMIT)
    bench.line("mpi host, files forgotten (posix_fadvise)", cold, "s", most=HOST_LIMIT)


# -------------------------------------------------------------------------------------- the planning


class _Timed:
    """A function, and how long its calls took."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function, self.times = function, list[float]()

    def __call__(self, *args: object, **more: object) -> object:
        begin = time.perf_counter()
        try:
            return self.function(*args, **more)
        finally:
            self.times.append(time.perf_counter() - begin)


def planning(bench: Bench) -> None:
    """What `submit` does for MPI, in the process and as a whole."""
    for stack in STACKS:
        spec, site = bench.spec(stack, "apptainer", "/opt/mpihello"), str(bench.site(stack, "apptainer"))
        learn, decide = _Timed(Mpi.known), _Timed(settle)
        with (
            mock.patch.object(Mpi, "known", functools.partialmethod(learn)),
            mock.patch("hpcjobs.plan.settle", decide),
        ):
            for _ in range(PLAN_RUNS + 1):
                Service().prepare(replace(spec, mpi="auto", mpi_check=""), site_file=site)
        assert len(learn.times) == len(decide.times) == PLAN_RUNS + 1
        name = f"{stack.lock}, lock file of {bench.lock.stat().st_size / 1000:.0f} kB"
        read, made = ([1000 * each for each in times.times[1:]] for times in (learn, decide))
        bench.line(f"{name}: read what is known", read, "ms")
        bench.line(f"{name}: decide and wire", made, "ms")
        both = [a + b for a, b in zip(read, made, strict=True)]
        bench.line(f"{name}: both", both, "ms", most=1000 * PLAN_LIMIT)
        _dry_runs(bench, stack)


def _dry_runs(bench: Bench, stack: Stack) -> None:
    env = environment(bench.home)
    options = ["-N", "1", "--ntasks-per-node", "2", "--image", bench.image(stack, "apptainer")]
    words = ["submit", "--dry-run", "--site-file", str(bench.site(stack, "apptainer")), *options]
    bare = [sys.executable, "-c", "pass"]
    with_it = [*hpcjob(), *words, "--", "/opt/mpihello"]
    without = [*hpcjob(), *words, "--mpi", "none", "--", "/opt/mpihello"]
    said(["hpcjob", *words, "--", "/opt/mpihello"])
    for command in (with_it, without):
        seconds(command, env)
    rows = [tuple(seconds(command, env) for command in (bare, with_it, without)) for _ in range(DRY_RUNS)]
    bench.line("  the same, to python -c pass", [b / a for a, b, _ in rows], "x")
    bench.line("  with --mpi none, to python -c pass", [c / a for a, _, c in rows], "x")
    bench.line("  MPI's part of the whole command", [1000 * (b - c) for _, b, c in rows], "ms", most=1000 * PLAN_LIMIT)


# ----------------------------------------------------------------------------------------- the ranks


def ranks(bench: Bench) -> None:
    """Two ranks of a program that does nothing: by the plan's line, and by the runtime alone (its sleep taken off)."""
    for stack in STACKS:
        for runtime in RUNTIMES:
            made = bench.prepare(stack, runtime, "/opt/mpihello")
            launcher, words, _ = made.plan.launch
            alone: tuple[str, ...] = ("apptainer", "exec") if runtime == "apptainer" else ("ch-run",)
            end = ("--",) if runtime == "charliecloud" else ()
            plain = (*launcher, *alone, bench.image(stack, runtime), *end, *IDLE)
            name = f"{Path(stack.launcher).name}, {runtime}"
            said(plain)
            said((*launcher, *words, *IDLE))
            bare, ours = bench.script(plain), bench.planned(made, *IDLE)
            try:
                compare_starts(bench, name, bare, ours)
            except FailedError as error:
                bench.missed += 1
                print(f"{name}: MISSED, it does not run: {error}")


def compare_starts(bench: Bench, name: str, bare: Path, ours: Path) -> None:
    """Time, in turn; processes and programs, once."""
    pairs = [(timed(bench, bare), timed(bench, ours)) for _ in range(RANK_RUNS)]
    bench.line(f"{name}: bare", [1000 * a for a, _ in pairs], "ms")
    bench.line(f"{name}: planned", [1000 * b for _, b in pairs], "ms")
    bench.line(f"{name}: ratio", [b / a for a, b in pairs], "x")
    bench.line(f"{name}: difference", [1000 * (b - a) for a, b in pairs], "ms")
    forks, programs = counted(bench, bare)
    more_forks, more_programs = counted(bench, ours)
    print(f"  processes: {forks} bare, {more_forks} planned; programs: {' '.join(sorted(more_programs))}")
    beside = more_programs - programs
    bench.line(f"{name}: programs beside those of bare", [len(beside)], "", most=0.5)
    if beside:
        print(f"  {' '.join(sorted(beside))}")


def timed(bench: Bench, script: Path) -> float:
    """Wall time of a script."""
    begin = time.perf_counter()
    bench.run(script)
    return time.perf_counter() - begin - float(IDLE[1])


_EXEC = re.compile(r'execve\("([^"]+)".*= 0$', re.MULTILINE)
_FORK = re.compile(r"\b(?:clone3?|v?fork)\((?!.*CLONE_THREAD).*= [1-9]\d*$", re.MULTILINE)
_RESUMED = re.compile(r"<\.\.\. execve resumed>.*= 0$", re.MULTILINE)


def counted(bench: Bench, script: Path) -> tuple[int, set[str]]:
    """How many processes a script starts, and which programs they become."""
    log = bench.work / f"strace.{next(bench.numbers)}"
    bench.run(
        script,
        "strace",
        "-ff",
        "-qq",
        "-e",
        "trace=execve,clone,clone3,fork,vfork",
        "-e",
        "signal=none",
        "-o",
        str(log),
    )
    # One file a thread: no line is torn by another one.
    texts = [file.read_text(errors="replace") for file in log.parent.glob(f"{log.name}.*")]
    programs = {Path(found).name for text in texts for found in _EXEC.findall(text)}
    return sum(len(_FORK.findall(text)) for text in texts), programs


# ----------------------------------------------------------------------------------------- the check


def check(bench: Bench) -> None:
    """The script that looks at the host's files on a node before the job starts."""
    env = environment(bench.home)
    for stack in STACKS:
        made = bench.prepare(stack, "apptainer", "/opt/mpihello").plan.mpi_plan
        command = ["bash", f"{made.folder}/check"]
        said(command)
        name = f"{stack.lock}: {len(made.checks)} files"
        files = [Path(each.split(" ", 3)[3]) for each in made.checks]
        seconds(command, env)
        warm, cold = [], []
        for _ in range(CHECK_RUNS):
            warm.append(seconds(command, env))
            forget(file for file in files if file.is_file())
            cold.append(seconds(command, env))
        bench.line(f"{name}, in memory", warm, "s", most=CHECK_LIMIT)
        bench.line(f"{name}, forgotten (posix_fadvise)", cold, "s", most=CHECK_LIMIT)


# ----------------------------------------------------------------------------------------- NetPIPE


def netpipe(bench: Bench) -> None:
    """Messages between two ranks: on the bare host, and in containers with the host's MPI."""
    print("  `host again` is the same as `host`: how far apart two equal things are here")
    for stack in STACKS:
        plans = {runtime: bench.prepare(stack, runtime, f"./{stack.netpipe}") for runtime in RUNTIMES}
        launcher = next(iter(plans.values())).plan.launch[0]
        said((*launcher, f"./{stack.netpipe}", *SMALL.options))
        for made in plans.values():
            exports = [shell.concat(name, shell.Shell("="), value) for name, value in made.plan.env.items()]
            said((*exports, *launcher, *made.plan.launch[1], f"./{stack.netpipe}", *SMALL.options))
        for sizes in (SMALL, LARGE):
            words = (f"./{stack.netpipe}", *sizes.options)
            bare = bench.script((*launcher, *words))
            scripts = {"host": bare, "host again": bare}
            scripts |= {runtime: bench.planned(made, *words) for runtime, made in plans.items()}
            compare(bench, f"{stack.netpipe}, {sizes.what}", sizes, scripts)


def compare(bench: Bench, name: str, sizes: Sizes, scripts: dict[str, Path]) -> None:
    """All in turn, to and fro, as often as the machine was ours; each to the host."""
    try:
        for script in scripts.values():
            bench.run(script)
    except FailedError as error:
        bench.missed += 1
        print(f"{name}: MISSED, it does not run: {error}")
        working = {kind: script for kind, script in scripts.items() if script != error.script}
        if "host" in working and len(working) < len(scripts):
            compare(bench, name, sizes, working)
        return
    seen: dict[str, list[list[float]]] = {kind: [] for kind in scripts}
    again = 0
    for turn in range(ROUNDS):
        for kind in sorted(scripts, key=list(scripts).index, reverse=bool(turn % 2)):
            for _ in range(PATIENCE):
                others = alone(functools.partial(bench.run, scripts[kind]))
                if others < DISTURBED:
                    break
                again += 1
            # Bytes, megabits a second, seconds: the last has too few digits.
            lines = (bench.work / RESULT).read_text().splitlines()
            seen[kind].append([float(line.split()[1]) for line in lines])
    print(f"  {again} runs were done again, since others used more than {DISTURBED:.0%} of a core meanwhile")
    # Each size against the median of all the host's runs; then of all sizes of a run the middle.
    hosts = [run for kind, runs in seen.items() if kind.startswith("host") for run in runs]
    middle = [statistics.median(rates) for rates in zip(*hosts, strict=True)]
    peak = [max(rates) for rates in zip(*hosts, strict=True)]
    for kind, runs in seen.items():
        ratios = [statistics.median(rate / m for rate, m in zip(run, middle, strict=True)) for run in runs]
        best = [max(rates) for rates in zip(*runs, strict=True)]
        ratio = statistics.median(rate / h for rate, h in zip(best, peak, strict=True))
        first = statistics.median(run[0] for run in runs)
        slow = sum(each < SLOW for each in ratios)
        print(f"  {kind}: {sizes.told(first)}; {slow} slow runs (< {SLOW}); the best {ratio:.3f} of the host's best")
        bench.line(f"{name}, {kind}", ratios, "x", least=0 if kind.startswith("host") else NETPIPE_LIMIT)


def alone(run: Callable[[], object]) -> float:
    """Run something; how many cores others used meanwhile."""
    begin, spent, ours = time.perf_counter(), busy(), children()
    run()
    others = busy() - spent - (children() - ours)
    return others / (time.perf_counter() - begin)


def busy() -> float:
    """Seconds that all cores were busy, or taken from this machine."""
    user, nice, system, _, _, irq, soft, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def children() -> float:
    """Seconds of the processes that were waited for."""
    times = os.times()
    return times.children_user + times.children_system


PARTS = {"host": host, "plan": planning, "ranks": ranks, "check": check, "netpipe": netpipe}


def missing() -> list[str]:
    """What must be there and is not, as commands that bring it."""
    packages = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    lacking = [f"apt-get install {' '.join(packages)}"] if packages else []
    if not all((IMAGES / f"{each.image}.sif").exists() for each in STACKS):
        lacking.append(f"tests/cluster/mpi images {IMAGES}")
    return lacking


def main() -> int:
    """Print the table."""
    parts = sys.argv[1:] or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        print(f"there is no part {' '.join(unknown)}: {' '.join(PARTS)}", file=sys.stderr)
        return 2
    if lacking := missing():
        print("not all is there that this needs:", *lacking, sep="\n  ", file=sys.stderr)
        return 2
    user = USER if os.geteuid() == 0 and any(each.pw_name == USER for each in pwd.getpwall()) else ""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    print(
        f"hpcjobs {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" ranks of {user or 'this user'}"
    )
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hpcjobs-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        bench = Bench(folder, user)
        for part in parts:
            print(f"\n{part}: {PARTS[part].__doc__}")
            PARTS[part](bench)
    return int(bench.missed > 0)


if __name__ == "__main__":
    sys.exit(main())
