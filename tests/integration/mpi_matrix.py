"""Every host MPI with every container MPI, by each launcher and runtime: what hpcjob plans, and what happens then.

A cell is planned by hpcjob, and its script is run as it is, by bash, with the guard in it. What was refused is run all
the same as its user would have without hpcjob: the ranks must not find each other, and the guard must say so.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hpcjobs import mpi_service
from hpcjobs.errors import PlanError
from hpcjobs.image_service import QUIET
from hpcjobs.model import JobSpec, LauncherConfig, Site
from hpcjobs.mpi.facts import MpiHost
from hpcjobs.mpi_service import Mpi
from hpcjobs.process import run as really_run
from hpcjobs.service import Service
from hpcjobs.site import mpilock

CLUSTER = Path(__file__).parent.parent / "cluster"
# All below a folder that the second Slurm sees too; what is made there is kept between sessions.
TOP = Path("/var/tmp")
HOSTS, IMAGES, SLURM = TOP / "hpcjobs-mpi-hosts", TOP / "hpcjobs-mpi-images", TOP / "hpcjobs-mpi-slurm"

# The host's MPI: the beginning of its name in the lock file, and its own launcher.
HOST_MPIS = {
    "MPICH 4.0 (Debian)": ("mpich-4.0", "mpiexec", "/usr/bin/mpiexec.mpich"),
    "MPICH 4.3": ("mpich-4.3", "mpiexec", f"{HOSTS}/mpich-4.3/bin/mpiexec"),
    "MPICH 5.0": ("mpich-5.0", "mpiexec", f"{HOSTS}/mpich-5.0/bin/mpiexec"),
    "Intel MPI 2021": ("impi", "mpiexec", f"{HOSTS}/impi/bin/mpiexec.hydra"),
    "Open MPI 4.1 (Debian)": ("openmpi-4.1.4", "mpirun", "/usr/bin/mpirun.openmpi"),
    "Open MPI 4.1": ("openmpi-4.1.8", "mpirun", f"{HOSTS}/openmpi-4.1/bin/mpirun"),
    "Open MPI 5.0": ("openmpi-5.0", "mpirun", f"{HOSTS}/openmpi-5.0/bin/mpirun"),
}
CONTAINER_MPIS = {
    "trixie-mpich": "MPICH 4.2", "bookworm-mpich": "MPICH 4.0", "bullseye-mpich": "MPICH 3.4, glibc 2.31",
    "trixie-openmpi": "Open MPI 5.0", "bookworm-openmpi": "Open MPI 4.1.4",
    "bullseye-openmpi": "Open MPI 4.1.0, glibc 2.31", "abi": "MPI 5 ABI, none inside",
}  # fmt: skip
LAUNCHERS = {"own": "its own launcher", "pmi2": "srun --mpi=pmi2", "pmix": "srun --mpi=pmix"}
RUNTIMES = ("apptainer", "charliecloud")
PROGRAM = "/opt/mpihello"
_RANK = re.compile(r"rank (\d+) of (\d+) on (\S+), (.*), sum (\d+)")


@dataclass(frozen=True)
class Cell:
    """One combination."""

    host: str
    container: str
    launcher: str
    runtime: str

    @property
    def name(self) -> str:
        return "-".join(re.sub(r"\W+", "", part) for part in (self.host, self.container, self.launcher, self.runtime))

    @property
    def on_second_slurm(self) -> bool:
        """Only the newer Slurm has a PMIx that works."""
        return self.launcher == "pmix"


@dataclass(frozen=True)
class Prepared:
    """A cell's script, and what the plan says will happen."""

    cell: Cell
    mode: str  # bind, hybrid, refused
    why: str
    planned: str  # the library, in words
    script: str
    ranks: int
    nodes: int
    type: str = ""


@dataclass(frozen=True)
class Outcome:
    """What happened."""

    prepared: Prepared
    code: int
    output: str
    errors: str

    @property
    def problem(self) -> str:
        """How it differs from the plan; empty if it does not."""
        one = self.prepared
        if one.mode == "refused":
            if self.code != 76:
                return f"refused ({one.why}), and it ended with {self.code}: {self._tail}"
            return ""
        if self.code:
            return f"planned {one.mode}, and it ended with {self.code}: {self._tail}"
        seen = [match.groups() for match in map(_RANK.fullmatch, self.output.splitlines()) if match]
        ranks = sorted(int(rank) for rank, *_ in seen)
        if ranks != list(range(one.ranks)) or {size for _, size, *_ in seen} != {str(one.ranks)}:
            return f"planned {one.mode}, and the ranks did not find each other: {self._tail}"
        if len({host for _, _, host, *_ in seen}) != one.nodes:
            return f"not on {one.nodes} nodes: {self._tail}"
        product, _, version = one.planned.rpartition(" ")
        said = re.compile(f"{product.replace(' ', '.* ')}.*{re.escape(version)}", re.IGNORECASE)
        wrong = {text for *_, text, _ in seen if not said.search(text)}
        return f"planned {one.planned}, and {wrong.pop()} ran" if wrong else ""

    @property
    def _tail(self) -> str:
        return " | ".join([*self.output.splitlines()[-2:], *self.errors.splitlines()[-4:]])


def cells(runtimes: Iterable[str] = RUNTIMES, launchers: Iterable[str] = tuple(LAUNCHERS)) -> list[Cell]:
    """All combinations."""
    return [
        Cell(host, container, launcher, runtime)
        for launcher in launchers
        for host in HOST_MPIS
        for container in CONTAINER_MPIS
        for runtime in runtimes
    ]


# --------------------------------------------------------------------------------------- the hosts


def look(folder: Path) -> dict[str, Path]:
    """Lock files, by launcher: the host as it is, and as it would be with a Slurm that has one kind of MPI alone."""
    starters = tuple(LauncherConfig(kind=kind, command=command) for _, kind, command in HOST_MPIS.values())
    site = Site(name="matrix", launchers=starters)
    service = Mpi(
        replace(site, mpi=replace(site.mpi, prefixes=tuple(map(str, sorted(HOSTS.glob("[a-z]*")))))),
        None,
        really_run,
        QUIET,
    )
    found = service.probe()
    made = {}
    for launcher in LAUNCHERS:
        made[launcher] = folder / f"{launcher}.mpi.lock.yaml"
        made[launcher].write_text(mpilock.dump(_only(found, launcher)))
    return made


def _only(found: MpiHost, launcher: str) -> MpiHost:
    if launcher == "own":
        return found
    starters = tuple(
        replace(each, types=("none", launcher)) if each.flavour == "slurm" else each for each in found.launchers
    )
    return replace(found, launchers=starters)


def _site(cell: Cell, lock: Path, *, root: bool) -> str:
    name, kind, command = HOST_MPIS[cell.host]
    options: list[str] = []
    if kind == "mpirun":
        options += ["--oversubscribe", *(["--allow-run-as-root"] if root else [])]
    slurm = cell.launcher != "own"
    starter = {"kind": "srun"} if slurm else {"kind": kind, "command": command, "options": options}
    userns = {"options": ["--userns"]} if root and cell.runtime == "apptainer" else {}
    return json.dumps({
        "scheduler": {"kind": "slurm" if slurm else "local"},
        "launcher": {**starter, "cpu_bind": "none"},
        "runtimes": [{"kind": cell.runtime, **userns}],
        "mpi": {"lock": str(lock), "host": name},
    })  # fmt: skip


# -------------------------------------------------------------------------------------- the scripts


def prepare(every: Sequence[Cell], folder: Path, locks: dict[str, Path], *, root: bool) -> Iterator[Prepared]:
    """Plan each cell, and write its script."""
    service = Service()
    for cell in every:
        file = folder / f"{cell.name}.yaml"
        file.write_text(_site(cell, locks[cell.launcher], root=root))
        nodes, per_node = (1, 2) if cell.launcher == "own" else (2, 1)
        suffix = ".sif" if cell.runtime == "apptainer" else ""
        spec = JobSpec(
            command=(PROGRAM,), image=f"{IMAGES}/{cell.container}{suffix}", nodes=nodes, ntasks_per_node=per_node,
            workdir=str(folder / "work"), mpi_check="always",
        )  # fmt: skip
        mode = why = ""
        try:
            made = service.prepare(spec, site_file=str(file), final=True)
        except PlanError as error:
            mode, why = "refused", error.message
            # As somebody would who knows nothing of all this.
            naive = "hybrid" if cell.launcher == "own" else cell.launcher
            made = service.prepare(replace(spec, mpi=naive), site_file=str(file), final=True)
        decided = made.plan.mpi_plan
        mpi_service.place(decided)
        Path(made.plan.folder).mkdir(parents=True)
        for name, text in made.plan.files.items():
            (Path(made.plan.folder) / name).write_text(text)
        script = folder / f"{cell.name}.sh"
        script.write_text(made.script.text)
        planned = decided.canary.planned if decided.canary else ""
        yield Prepared(
            cell, mode or decided.mode, why or decided.why, planned, str(script), nodes * per_node, nodes, decided.type
        )


# Each script with a limit and a job of its own; what one left behind must not keep the next one waiting.
_RUNNER = r"""
number=0
while read -r script; do
  number=$((number + 1))
  HPCJOB_NATIVE_ID=$$.$number timeout --kill-after=5 90 "$@" bash "$script" >"$script.out" 2>"$script.err" </dev/null
  echo "$?" >"$script.code"
done
"""


def run(every: Sequence[Prepared], folder: Path, slurm_conf: str, *, user: str) -> list[Outcome]:
    """Run all scripts as `user`: side by side where they do not share an allocation."""
    _own(folder, user)
    as_user = ("/usr/sbin/runuser", "-u", user, "--") if user != "root" else ()
    own = {"PATH": "/usr/local/bin:/usr/bin:/bin", "USER": user, "HOME": str(folder / "work"), "LANG": "C.UTF-8"}
    first = {**own, "SLURM_CONF": slurm_conf}
    groups = [
        ([one for one in every if one.cell.launcher == "own"], (*as_user, *_loop()), own),
        ([one for one in every if one.cell.launcher == "pmi2"], (*as_user, *_loop(*_ALLOCATION)), first),
        ([one for one in every if one.cell.on_second_slurm],
         (CLUSTER / "mpi-slurm", "run", SLURM, "env", f"HOME={folder}/work", *_loop(*_ALLOCATION)), {**own, "HPCJOBS_AS": user}),
    ]  # fmt: skip
    running = [(_start(some, command, env, folder), some) for some, command, env in groups if some]
    for process, some in running:
        _, errors = process.communicate("".join(f"{one.script}\n" for one in some), timeout=3000)
        assert process.returncode == 0, errors
    return [_outcome(one) for one in every]


def _own(folder: Path, user: str) -> None:
    subprocess.run(["chown", "-R", f"{user}:", folder], check=True)


_ALLOCATION = ("salloc", "--quiet", "--nodes=2", "--ntasks-per-node=1", "--time=5")


def _loop(*under: str) -> tuple[str, ...]:
    return ("bash", "-c", _RUNNER, "runner", *under)


def _start(
    some: Sequence[Prepared], command: Sequence[str | Path], env: dict[str, str], folder: Path
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *command],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder / "work",
        start_new_session=True,
    )  # fmt: skip


def _outcome(one: Prepared) -> Outcome:
    def text(kind: str) -> str:
        return Path(f"{one.script}.{kind}").read_text(errors="replace")

    return Outcome(one, int(text("code")), text("out"), text("err"))


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    return folder


# ----------------------------------------------------------------------------------------- the table


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: one table a launcher, a row a host MPI, a column a container MPI."""
    modes: dict[tuple[str, str, str], set[str]] = {}
    for each in outcomes:
        cell = each.prepared.cell
        modes.setdefault((cell.launcher, cell.host, cell.container), set()).add(each.prepared.mode)
    parts = []
    for launcher, words in LAUNCHERS.items():
        head = f"| {words} | " + " | ".join(CONTAINER_MPIS.values()) + " |"
        rows = [
            f"| {host} | " + " | ".join("/".join(sorted(modes[launcher, host, name])) for name in CONTAINER_MPIS) + " |"
            for host in HOST_MPIS
        ]
        parts.append("\n".join([head, "|---" * (len(CONTAINER_MPIS) + 1) + "|", *rows]))
    return "\n\n".join(parts) + "\n"


def matrix(some: Sequence[Cell], users: Sequence[str], slurm_conf: str) -> dict[str, list[Outcome]]:
    """Plan and run the cells as each of the users; the servers are up, and images and hosts made."""
    homes = {user: fresh(TOP / f"hpcjobs-mpi-matrix-{user}") for user in users}
    before = os.environ.get("HPCJOBS_HOME")
    ready = {}
    try:
        locks = look(homes[users[0]])
        for user, folder in homes.items():
            os.environ["HPCJOBS_HOME"] = str(folder / "home")
            ready[user] = list(prepare(some, folder, locks, root=user == "root"))
    finally:
        os.environ.pop("HPCJOBS_HOME") if before is None else os.environ.update(HPCJOBS_HOME=before)
    with ThreadPoolExecutor(len(users)) as beside:
        running = {user: beside.submit(run, ready[user], homes[user], slurm_conf, user=user) for user in users}
        found = {user: future.result() for user, future in running.items()}
    return {user: list(_crashed_again(found[user], homes[user], slurm_conf, user)) for user in users}


# What a shell says of a program that was ended by SIGSEGV, and Slurm of a step of such.
_CRASHED = re.compile(r"[Ss]egmentation fault")
_HUNG = (124, 137)  # timeout(1)


def _crashed_again(done: Sequence[Outcome], folder: Path, slurm_conf: str, user: str) -> Iterator[Outcome]:
    """The outcomes, those of crashes and hangs by a second run, alone.

    Open MPI 5.0.7 under Slurm's PMIx crashes once in some hundred runs, and MPICH 4.0 sometimes hangs at its end.
    """
    for each in done:
        if each.problem and (_CRASHED.search(each.problem) or each.code in _HUNG):
            print(f"{each.prepared.cell.name} ({user}) is run again: {each.problem}", file=sys.stderr)  # noqa: T201
            yield run([each.prepared], folder, slurm_conf, user=user)[0]
        else:
            yield each


def main() -> None:
    """`python -m tests.integration.mpi_matrix USER,... [PART OF A CELL'S NAME...]`."""
    users, *parts = sys.argv[1:]
    some = [cell for cell in cells() if all(part in cell.name for part in parts)]
    for user, done in matrix(some, users.split(","), os.environ.get("SLURM_CONF", "")).items():
        for each in done:
            one = each.prepared
            print(each.problem or "ok", user, one.cell.name, one.mode, one.type, one.why, sep="\t")  # noqa: T201


if __name__ == "__main__":
    main()
