from __future__ import annotations

import pytest

from hpcjobs import launchers
from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.model import LauncherConfig, Shape

ONE, HYBRID = Shape(), Shape(2, 8, 4, 3)


@pytest.mark.parametrize(
    ("kind", "shape", "mpi", "command"),
    [
        ("none", ONE, "", ""),
        ("none", ONE, "none", ""),
        ("srun", ONE, "", "srun --ntasks=1 --cpu-bind=cores"),
        ("srun", HYBRID, "pmix", "srun --ntasks=8 --cpus-per-task=3 --cpu-bind=cores --mpi=pmix"),
        ("mpirun", ONE, "", "mpirun -np 1 --map-by ppr:1:node:PE=1 --bind-to core"),
        ("mpirun", HYBRID, "none", "mpirun -np 8 --map-by ppr:4:node:PE=3 --bind-to core"),
        ("mpiexec", ONE, "", "mpiexec -n 1 -ppn 1 -bind-to core:1"),
        ("mpiexec", HYBRID, "", "mpiexec -n 8 -ppn 4 -bind-to core:3"),
        ("pals", ONE, "", "mpiexec -n 1 --ppn 1 --depth 1 --cpu-bind depth"),
        ("pals", HYBRID, "", "mpiexec -n 8 --ppn 4 --depth 3 --cpu-bind depth"),
    ],
)
def test_command(kind: str, shape: Shape, mpi: str, command: str) -> None:
    launch = launchers.get(LauncherConfig(kind=kind)).command(shape, mpi=mpi)
    assert " ".join(launch.argv) == command


@pytest.mark.parametrize(
    ("kind", "bind", "command"),
    [
        ("srun", "threads", "srun --ntasks=8 --cpus-per-task=3 --cpu-bind=threads"),
        ("srun", "none", "srun --ntasks=8 --cpus-per-task=3 --cpu-bind=none"),
        ("mpirun", "none", "mpirun -np 8 --map-by ppr:4:node --bind-to none"),
        ("mpirun", "threads", "mpirun -np 8 --map-by ppr:4:node:PE=3 --bind-to hwthread"),
        ("mpiexec", "sockets", "mpiexec -n 8 -ppn 4 -bind-to socket"),
        ("pals", "threads", "mpiexec -n 8 --ppn 4 --depth 3 --cpu-bind thread"),
        ("mpiexec", "none", "mpiexec -n 8 -ppn 4 -bind-to none"),
    ],
)
def test_binding(kind: str, bind: str, command: str) -> None:
    launch = launchers.get(LauncherConfig(kind=kind, cpu_bind=bind)).command(HYBRID, mpi="")
    assert " ".join(launch.argv) == command


@pytest.mark.parametrize("kind", ["srun", "mpirun", "mpiexec", "pals"])
def test_site_gives_the_path_and_options(kind: str) -> None:
    argv = launchers.get(LauncherConfig(kind=kind, command="/opt/x", options=("--a b",))).command(ONE, mpi="").argv
    assert (argv[0], argv[-1]) == ("/opt/x", "--a b")


def test_srun_takes_the_options_of_a_runtime_before_the_site_s() -> None:
    srun = launchers.get(LauncherConfig(kind="srun", options=("--site",)))
    assert srun.command(ONE, mpi="", extra=("--container-image=x",)).argv[-2:] == ("--container-image=x", "--site")


@pytest.mark.parametrize("kind", ["none", "mpirun", "mpiexec", "pals"])
def test_other_launchers_refuse_options_of_srun(kind: str) -> None:
    with pytest.raises(PlanError, match="through srun only"):
        launchers.get(LauncherConfig(kind=kind)).command(ONE, mpi="", extra=("--container-image=x",))


@pytest.mark.parametrize("kind", ["none", "mpirun", "mpiexec", "pals"])
def test_kinds_of_mpi_are_srun_s(kind: str) -> None:
    with pytest.raises(PlanError, match="no kinds of MPI, and pmix was asked for") as caught:
        launchers.get(LauncherConfig(kind=kind)).command(ONE, mpi="pmix")
    assert "--launcher srun" in caught.value.hint


def test_ranks_need_a_launcher() -> None:
    with pytest.raises(PlanError, match="8 ranks need a launcher") as caught:
        launchers.get(LauncherConfig(kind="none")).command(HYBRID, mpi="")
    assert "--launcher" in caught.value.hint


@pytest.mark.parametrize("kind", ["srun", "mpirun", "mpiexec", "pals"])
def test_unknown_binding_is_refused(kind: str) -> None:
    with pytest.raises(PlanError, match=f"{kind} cannot bind ranks to core") as caught:
        launchers.get(LauncherConfig(kind=kind, cpu_bind="core")).command(ONE, mpi="")
    assert caught.value.hint == "did you mean cores?"


def test_unknown_launcher() -> None:
    with pytest.raises(NotFoundError, match="no launcher 'srum'") as caught:
        launchers.get(LauncherConfig(kind="srum"))
    assert caught.value.hint == "did you mean srun?"


def test_programs() -> None:
    found = {kind: launchers.program(LauncherConfig(kind=kind)) for kind in launchers.names()}
    assert found == {"none": "", "srun": "srun", "mpirun": "mpirun", "mpiexec": "mpiexec", "pals": "mpiexec"}
    assert launchers.program(LauncherConfig(kind="srun", command="/opt/srun")) == "/opt/srun"


@pytest.mark.parametrize(("kind", "program"), [("mpirun", "mpirun"), ("mpiexec", "mpiexec"), ("pals", "mpiexec")])
def test_one_rank_may_do_without_a_launcher(kind: str, program: str) -> None:
    launcher = launchers.get(LauncherConfig(kind=kind, single=False))
    assert launcher.command(ONE, mpi="").argv == ()
    assert launcher.command(HYBRID, mpi="").argv[0] == program
