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
        ("jsrun", ONE, "", "jsrun --nrs=1 --rs_per_host=1 --tasks_per_rs=1 --cpu_per_rs=1 --bind=packed:1"),
        ("jsrun", HYBRID, "none", "jsrun --nrs=8 --rs_per_host=4 --tasks_per_rs=1 --cpu_per_rs=3 --bind=packed:3"),
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
        ("srun", "", "srun --ntasks=8 --cpus-per-task=3"),
        ("jsrun", "none", "jsrun --nrs=8 --rs_per_host=4 --tasks_per_rs=1 --cpu_per_rs=3 --bind=none"),
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


@pytest.mark.parametrize(
    ("kind", "option", "command"),
    [
        ("srun", "--cpu-bind=map_cpu:0,8", "srun --ntasks=8 --cpus-per-task=3 --cpu-bind=map_cpu:0,8"),
        ("srun", "--cpu-bind=verbose,cores", "srun --ntasks=8 --cpus-per-task=3 --cpu-bind=verbose,cores"),
        ("srun", "--cpus-per-gpu=2", "srun --ntasks=8 --cpus-per-task=3 --cpu-bind=cores --cpus-per-gpu=2"),
        ("pals", "--cpu-bind=list:0:8", "mpiexec -n 8 --ppn 4 --depth 3 --cpu-bind=list:0:8"),
        ("pals", "--no-vni", "mpiexec -n 8 --ppn 4 --depth 3 --cpu-bind depth --no-vni"),
    ],
)
def test_a_site_s_own_binding_stands_among_its_options(kind: str, option: str, command: str) -> None:
    launch = launchers.get(LauncherConfig(kind=kind, options=(option,))).command(HYBRID, mpi="")
    assert " ".join(launch.argv) == command


def test_a_site_s_own_binding_may_be_two_words() -> None:
    pals = launchers.get(LauncherConfig(kind="pals", options=("--cpu-bind", "list:0:8")))
    assert " ".join(pals.command(ONE, mpi="").argv) == "mpiexec -n 1 --ppn 1 --depth 1 --cpu-bind list:0:8"


@pytest.mark.parametrize(
    ("shape", "sets"),
    [
        # A set for each rank, with its GPUs.
        (Shape(2, 12, 6, 7, 6), "--nrs=12 --rs_per_host=6 --tasks_per_rs=1 --cpu_per_rs=7 --gpu_per_rs=1 --bind=packed:7"),
        (Shape(2, 4, 2, 21, 6), "--nrs=4 --rs_per_host=2 --tasks_per_rs=1 --cpu_per_rs=21 --gpu_per_rs=3 --bind=packed:21"),
        (Shape(2, 7, 4), "--nrs=7 --rs_per_host=4 --tasks_per_rs=1 --cpu_per_rs=1 --bind=packed:1"),
        # GPUs that cannot be shared out are for all ranks of the node.
        (Shape(2, 8, 4, 3, 6), "--nrs=2 --rs_per_host=1 --tasks_per_rs=4 --cpu_per_rs=12 --gpu_per_rs=6 --bind=packed:3"),
        (Shape(1, 42, 42, 1, 6), "--nrs=1 --rs_per_host=1 --tasks_per_rs=42 --cpu_per_rs=42 --gpu_per_rs=6 --bind=packed:1"),
    ],
)  # fmt: skip
def test_resource_sets_of_jsrun(shape: Shape, sets: str) -> None:
    assert " ".join(launchers.get(LauncherConfig(kind="jsrun")).command(shape, mpi="").argv) == f"jsrun {sets}"


def test_jsrun_has_no_uneven_nodes_whose_gpus_are_shared() -> None:
    with pytest.raises(PlanError, match="as many ranks on each node") as caught:
        launchers.get(LauncherConfig(kind="jsrun")).command(Shape(2, 7, 4, 1, 6), mpi="")
    assert caught.value.hint == "-n a multiple of the nodes"


@pytest.mark.parametrize("kind", ["srun", "mpirun", "mpiexec", "pals", "jsrun"])
def test_site_gives_the_path_and_options(kind: str) -> None:
    argv = launchers.get(LauncherConfig(kind=kind, command="/opt/x", options=("--a b",))).command(ONE, mpi="").argv
    assert (argv[0], argv[-1]) == ("/opt/x", "--a b")


def test_srun_takes_the_options_of_a_runtime_before_the_site_s() -> None:
    srun = launchers.get(LauncherConfig(kind="srun", options=("--site",)))
    assert srun.command(ONE, mpi="", extra=("--container-image=x",)).argv[-2:] == ("--container-image=x", "--site")


@pytest.mark.parametrize("kind", ["none", "mpirun", "mpiexec", "pals", "jsrun"])
def test_other_launchers_refuse_options_of_srun(kind: str) -> None:
    with pytest.raises(PlanError, match="through srun only"):
        launchers.get(LauncherConfig(kind=kind)).command(ONE, mpi="", extra=("--container-image=x",))


@pytest.mark.parametrize("kind", ["none", "mpirun", "mpiexec", "pals", "jsrun"])
def test_kinds_of_mpi_are_srun_s(kind: str) -> None:
    with pytest.raises(PlanError, match="no kinds of MPI, and pmix was asked for") as caught:
        launchers.get(LauncherConfig(kind=kind)).command(ONE, mpi="pmix")
    assert "--launcher srun" in caught.value.hint


def test_ranks_need_a_launcher() -> None:
    with pytest.raises(PlanError, match="8 ranks need a launcher") as caught:
        launchers.get(LauncherConfig(kind="none")).command(HYBRID, mpi="")
    assert "--launcher" in caught.value.hint


@pytest.mark.parametrize("kind", ["srun", "mpirun", "mpiexec", "pals", "jsrun"])
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
    assert found == {
        "none": "",
        "srun": "srun",
        "mpirun": "mpirun",
        "mpiexec": "mpiexec",
        "pals": "mpiexec",
        "jsrun": "jsrun",
    }
    assert launchers.program(LauncherConfig(kind="srun", command="/opt/srun")) == "/opt/srun"


@pytest.mark.parametrize(("kind", "program"), [("mpirun", "mpirun"), ("mpiexec", "mpiexec"), ("pals", "mpiexec")])
def test_one_rank_may_do_without_a_launcher(kind: str, program: str) -> None:
    launcher = launchers.get(LauncherConfig(kind=kind, single=False))
    assert launcher.command(ONE, mpi="").argv == ()
    assert launcher.command(HYBRID, mpi="").argv[0] == program
