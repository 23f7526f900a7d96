"""What a decision makes of a job: folders, variables, words around the program, and the guard."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import Any

import pytest

from hpcjobs.errors import PlanError
from hpcjobs.model import Canary, MpiPlan
from hpcjobs.mpi.decide import Decision, Option, Question, decide, override
from hpcjobs.mpi.facts import HostMpi, MpiImage
from hpcjobs.mpi.netstack import LINKS, Mount
from hpcjobs.mpi.wiring import Surroundings, Wiring, files, key, wire
from tests.mpi_facts import (
    BOOKWORM,
    BOOKWORM_OMPI,
    CRAY,
    CRAY_MPICH,
    DEBIAN,
    HYDRA,
    IMAGE_OMPI4,
    IMAGE_OMPI5,
    INTEL_MPI,
    LIB,
    MPICH5,
    MPICH42,
    MUSL,
    OMPI4,
    OMPI5,
    PALS,
    RPATH,
    SCRIPT,
    STATIC,
    TRIXIE,
    TRIXIE_OMPI,
    WHEEL,
    ask,
    host,
    program,
    srun,
    starter,
)  # fmt: skip

PMI2 = srun("pmi2")
PMIX = srun("pmix")


def wired(question: Question, asked: str = "auto", **around: Any) -> Wiring:
    decision = decide(question) if asked == "auto" else override(question, asked)
    return wire(decision, question, Surroundings(**{"ntasks": 8, "ntasks_per_node": 4, **around}))


def guard(question: Question, asked: str = "auto", **around: Any) -> Canary:
    found = wired(question, asked, **around).guard
    assert found is not None
    return found


# -------------------------------------------------------------------------------------------- bind


def test_bound_the_folder_of_links_comes_with_the_host_s_folders() -> None:
    made = wired(ask(TRIXIE, host(MPICH5)))
    assert made.mounts == (Mount("", LINKS), Mount(WHEEL, WHEEL))
    assert made.env["LD_LIBRARY_PATH"].startswith(f"{LINKS}/front:")
    assert (made.before, made.program, made.warnings) == ((), (), ())


def test_bound_a_program_with_dt_rpath_gets_the_library_first() -> None:
    assert wired(ask(RPATH, host(MPICH5))).env["LD_PRELOAD"] == f"{LINKS}/front/libmpi.so.12"


def test_bound_too_few_places_are_told_with_a_way_out() -> None:
    with pytest.raises(PlanError, match="too few folders") as caught:
        wired(ask(TRIXIE, host(CRAY_MPICH)), spare=("/mnt/1", "/mnt/2"))
    assert "--mpi hybrid" in caught.value.hint


def test_bound_gpu_jobs_get_the_library_for_gpu_memory() -> None:
    gtl = "/opt/cray/pe/gtl/lib/libmpi_gtl_cuda.so.0"
    made = wired(ask(TRIXIE, host(CRAY_MPICH)), gpu_library=gtl)
    assert (made.env["LD_PRELOAD"], made.env["MPICH_GPU_SUPPORT_ENABLED"]) == (gtl, "1")
    assert "MPICH_GPU_SUPPORT_ENABLED" not in wired(ask(TRIXIE_OMPI, host(OMPI5)), "bind", gpu_library=gtl).env


GTL = "/opt/cray/pe/mpich/8.1.27/gtl/lib/libmpi_gtl_hsa.so.0"
WITH_GTL = replace(CRAY_MPICH, gpu_libraries={"libmpi_gtl_hsa.so.0": f"{GTL}.0.0"})


def test_bound_the_library_for_gpu_memory_is_found_beside_the_mpi_by_its_name() -> None:
    made = wired(ask(TRIXIE, host(WITH_GTL)), gpu_library="libmpi_gtl_hsa.so.0")
    assert (made.env["LD_PRELOAD"], made.env["MPICH_GPU_SUPPORT_ENABLED"]) == (f"{GTL}.0.0", "1")
    folder = GTL.rpartition("/")[0]
    assert Mount(folder, folder) in made.mounts
    assert made.warnings == ()
    # Open MPI has none beside it, and needs none.
    other = wired(ask(TRIXIE_OMPI, host(OMPI5)), "bind", gpu_library="libmpi_gtl_hsa.so.0")
    assert ("LD_PRELOAD" in other.env, other.warnings) == (False, ())


def test_bound_a_library_for_gpu_memory_that_is_not_there_is_told() -> None:
    made = wired(ask(TRIXIE, host(WITH_GTL)), gpu_library="libmpi_gtl_cuda.so.0")
    assert not {"LD_PRELOAD", "MPICH_GPU_SUPPORT_ENABLED"} & set(made.env)
    assert made.warnings == (
        "libmpi_gtl_cuda.so.0 (mpi.gpu_library) is not beside Cray MPICH 8.1.27 as hpcjob mpi host saw it: "
        "MPI takes no GPU memory",
    )


def test_a_recipe_leads_to_the_library_for_gpu_memory_if_it_binds_it() -> None:
    question = ask(replace(TRIXIE, program=program("libmpi_gnu_123.so.12")), host(WITH_GTL))
    named: dict[str, Any] = {
        "gpu_library": "libmpi_gtl_hsa.so.0",
        "env": {"LD_LIBRARY_PATH": "/x", "LD_PRELOAD": "/y.so"},
    }
    made = wired(question, recipe=(Mount("/opt/cray", "/host/cray"), RECIPE[1]), **named)
    assert made.env["LD_PRELOAD"] == f"{GTL.replace('/opt', '/host')}.0.0:/y.so"
    without = wired(question, recipe=(Mount(CRAY, CRAY),), **named)
    assert without.env["LD_PRELOAD"] == "/y.so"
    assert without.warnings[-1] == (
        f"the site's recipe (mpi.bind): it does not bind {GTL}.0.0: MPI takes no GPU memory"
    )


def test_bound_variables_of_the_site_win_and_what_is_loaded_first_is_all_of_both() -> None:
    env = {"LD_PRELOAD": "/opt/x.so", "MPICH_GPU_SUPPORT_ENABLED": "0", "MPICH_OFI_NIC_POLICY": "GPU"}
    made = wired(ask(TRIXIE, host(WITH_GTL)), gpu_library="libmpi_gtl_hsa.so.0", env=env)
    assert made.env["LD_PRELOAD"] == f"{GTL}.0.0:/opt/x.so"
    assert (made.env["MPICH_GPU_SUPPORT_ENABLED"], made.env["MPICH_OFI_NIC_POLICY"]) == ("0", "GPU")
    assert made.env["LD_LIBRARY_PATH"] == wired(ask(TRIXIE, host(WITH_GTL))).env["LD_LIBRARY_PATH"]


def test_bound_without_knowing_what_there_is_nothing() -> None:
    decision = Decision(chosen=Option(mode="bind", why="asked for"))
    assert wire(decision, ask(TRIXIE), Surroundings()).mounts == ()


# ------------------------------------------------------------------------- one user namespace a rank


@pytest.mark.parametrize(
    ("what", "mpi", "asked", "wanted"),
    [
        (TRIXIE, DEBIAN, "hybrid", {"UCX_POSIX_USE_PROC_LINK", "UCX_TLS"}),
        (TRIXIE, DEBIAN, "bind", {"UCX_POSIX_USE_PROC_LINK", "UCX_TLS"}),
        (TRIXIE, INTEL_MPI, "bind", set()),
        (replace(BOOKWORM, mpis=(replace(MPICH42, ucx=False),)), DEBIAN, "hybrid", set()),
        (TRIXIE_OMPI, OMPI5, "hybrid", {"OMPI_MCA_btl_vader_single_copy_mechanism", "OMPI_MCA_smsc"}),
        (TRIXIE_OMPI, OMPI5, "bind", {"OMPI_MCA_btl_vader_single_copy_mechanism", "OMPI_MCA_smsc"}),
        (
            replace(TRIXIE_OMPI, mpis=(replace(IMAGE_OMPI5, ucx=True),)), OMPI5, "hybrid",
            {"OMPI_MCA_btl_vader_single_copy_mechanism", "OMPI_MCA_smsc", "UCX_POSIX_USE_PROC_LINK", "UCX_TLS"},
        ),
    ],
)  # fmt: skip
def test_trap_one_user_namespace_a_rank(what: MpiImage, mpi: HostMpi, asked: str, wanted: set[str]) -> None:
    question = ask(what, host(mpi))
    ours = ("UCX_", "OMPI_MCA_")
    found = {name for name in wired(question, asked).env if name.startswith(ours)}
    assert found == wanted
    for around in ({"shares": True}, {"ntasks_per_node": 1}):
        assert not any(name.startswith(ours) for name in wired(question, asked, **around).env)


# ---------------------------------------------------------------------------- hybrid, container, none


def test_hybrid_open_mpi_does_not_hear_where_the_host_s_is() -> None:
    launcher = starter("mpirun", "prrte", "openmpi-5.0.11", "5.0.11")
    made = wired(ask(TRIXIE_OMPI, host(OMPI5, launchers=(launcher,)), launcher="mpirun"))
    assert made.before[:3] == ("env", "-u", "OPAL_PREFIX")
    assert set(made.before[2::2]) >= {"OPAL_PREFIX", "PMIX_PREFIX", "PRTE_PREFIX"}
    # Nor from a module, where srun starts it.
    assert wired(ask(TRIXIE_OMPI, host(OMPI5))).before == made.before
    assert wired(ask(TRIXIE_OMPI, host(OMPI5)), "bind").before == ()
    assert wired(ask(BOOKWORM, host(launchers=(HYDRA,)), launcher="mpiexec")).before == ()


def test_hybrid_shows_the_folder_of_the_guard_only() -> None:
    question = ask(TRIXIE, host())
    assert wired(question).mounts == (Mount("", LINKS),)
    assert wired(question, spare=("/mnt/1", "/mnt/2")).mounts == (Mount("", "/mnt/1"),)
    assert wired(question, check=False).mounts == ()
    assert wired(question, ntasks=1).guard is None


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (TRIXIE, ("/usr/bin/mpirun", "-n", "8")),
        (TRIXIE_OMPI, ("/usr/bin/mpirun", "-n", "8", "--oversubscribe", "--bind-to", "none")),
    ],
)
def test_a_launcher_in_the_image_does_not_see_the_batch_system(what: MpiImage, words: tuple[str, ...]) -> None:
    question = ask(replace(what, mpirun="/usr/bin/mpirun"), host(), nodes=1)
    made = wired(question, "container", check=False)
    assert made.program == words
    env = {
        "PATH": "/usr/bin:/bin",
        "SLURM_JOB_ID": "1",
        "PMI_RANK": "0",
        "PMIX_RANK": "0",
        "OPAL_PREFIX": "/opt",
        "A": "b",
    }
    left = subprocess.run([*made.before, "env"], env=env, capture_output=True, text=True, check=True).stdout
    assert "A=b" in left.splitlines()
    assert not any(line.startswith(("SLURM_", "PMI", "OPAL_")) for line in left.splitlines())
    assert wired(ask(what, host(), nodes=1), "container", check=False).program[0] == "mpirun"


def test_none_and_the_site_s_way_change_nothing() -> None:
    assert wired(ask(TRIXIE, host(DEBIAN)), "none") == Wiring()
    made = wired(ask(TRIXIE, host(DEBIAN), flag="--mpi", runtime="sarus"))
    assert (made.env, made.before, made.mounts) == ({}, (), (Mount("", LINKS),))


# ----------------------------------------------------------------------------------------- Wi4MPI


def test_wi4mpi_gets_the_variables_of_its_own_command() -> None:
    made = wired(ask(TRIXIE_OMPI, host(DEBIAN, launchers=(PMI2,)), wi4mpi=True), wi4mpi="/opt/wi4mpi")
    c, fortran = f"{LINKS}/front/libmpich.so.12", f"{LINKS}/front/libmpichfort.so.12"
    assert made.env["WI4MPI_ROOT"] == "/opt/wi4mpi"
    assert (made.env["WI4MPI_FROM"], made.env["WI4MPI_TO"]) == ("OMPI", "MPICH")
    assert (made.env["WI4MPI_RUN_MPI_C_LIB"], made.env["WI4MPI_RUN_MPI_F_LIB"]) == (c, fortran)
    assert made.env["LD_PRELOAD"] == f"/opt/wi4mpi/libexec/wi4mpi/libwi4mpi_OMPI_MPICH.so:{c}:{fortran}"
    first = "/opt/wi4mpi/libexec/wi4mpi/fakelibOMPI:/opt/wi4mpi/libexec/wi4mpi/fakelibCXX:"
    assert made.env["LD_LIBRARY_PATH"].startswith(f"{first}{LINKS}/front:")
    assert Mount("/opt/wi4mpi", "/opt/wi4mpi") in made.mounts


def test_wi4mpi_where_it_is_shown_and_with_the_library_for_gpu_memory() -> None:
    question = ask(TRIXIE_OMPI, host(INTEL_MPI, launchers=(PMI2,)), wi4mpi=True)
    spare = tuple(f"/mnt/{number}" for number in range(1, 10))
    made = wired(question, wi4mpi="/opt/wi4mpi/", spare=spare, gpu_library="/opt/gtl/libgtl.so")
    place = next(each.target for each in made.mounts if each.source == "/opt/wi4mpi")
    assert place in spare
    assert (made.env["WI4MPI_ROOT"], made.env["WI4MPI_TO"]) == (place, "INTEL")
    assert made.env["LD_PRELOAD"].startswith(f"{place}/libexec/wi4mpi/libwi4mpi_OMPI_INTEL.so:")
    assert made.env["LD_PRELOAD"].endswith("/libgtl.so")
    # In the host's MPI's own prefix it is shown with that.
    inside = wired(question, wi4mpi=f"{INTEL_MPI.prefix}/wi4mpi", spare=spare)
    assert inside.env["WI4MPI_ROOT"] == inside.env["I_MPI_ROOT"] + "/wi4mpi"


def test_wi4mpi_from_mpich_to_open_mpi_has_one_library_for_c_and_fortran() -> None:
    made = wired(ask(BOOKWORM, host(OMPI5, launchers=(PMIX,)), wi4mpi=True), wi4mpi="/opt/wi4mpi")
    assert (made.env["WI4MPI_FROM"], made.env["WI4MPI_TO"]) == ("MPICH", "OMPI")
    assert made.env["WI4MPI_RUN_MPI_F_LIB"] == made.env["WI4MPI_RUN_MPI_C_LIB"] == f"{LINKS}/front/libmpi.so.40"


# ------------------------------------------------------------------------------------- the recipe


RECIPE = (Mount("/opt/cray", "/opt/cray"), Mount("/usr/lib64/libcxi.so.1", "/usr/lib64/libcxi.so.1"))


def test_a_recipe_is_taken_as_it_is_and_what_it_leaves_out_is_told() -> None:
    question = ask(replace(TRIXIE, program=program("libmpi_gnu_123.so.12")), host(CRAY_MPICH))
    path = {"LD_LIBRARY_PATH": f"{CRAY}/lib-abi-mpich"}
    made = wired(question, recipe=RECIPE, env=path)
    assert made.mounts == (Mount("", LINKS), *RECIPE)
    assert (made.env, made.warnings) == (path, ())
    assert made.stack is not None
    assert {each.path for each in made.stack.files} == set(CRAY_MPICH.libraries)
    assert made.stack.needed == ("/opt/cray", "/usr/lib64/libcxi.so.1")
    less = wired(question, recipe=RECIPE[:1]).warnings
    assert less == (
        "the site's recipe (mpi.bind): it sets no LD_LIBRARY_PATH (mpi.env), so the image's own libraries come first",
        "the site's recipe (mpi.bind): it does not bind libcxi.so.1, which Cray MPICH 8.1.27 needs",
    )


def test_a_recipe_with_other_names_than_the_program_asks_for() -> None:
    question = ask(TRIXIE, host(DEBIAN))
    elsewhere = wired(question, recipe=(Mount("/opt", "/opt"),), env={"LD_LIBRARY_PATH": "/opt"}).warnings
    assert len(elsewhere) == 2
    assert "nothing that it binds is called libmpich.so.12, so the program would keep" in elsewhere[0]
    assert "libucp.so.0, libfabric.so.1 and 1 more, which MPICH 4.0.2 needs" in elsewhere[1]
    # A file under the name that is asked for.
    alias = Mount(f"{LIB}/libmpich.so.12.2.2", "/host/libmpich.so.12")
    named = wired(question, recipe=(alias, Mount(LIB, "/host/lib")), env={"LD_LIBRARY_PATH": "/host"})
    assert named.warnings == ()
    nothing = wired(ask(replace(SCRIPT, program=None), host(DEBIAN)), recipe=(Mount(LIB, "/host/lib"),))
    assert len(nothing.warnings) == 1


def test_a_recipe_s_folders_with_variables_are_not_looked_for() -> None:
    made = wired(ask(TRIXIE, host(DEBIAN)), recipe=(Mount("$HOME/mpi", "/mpi", expand=True), Mount(LIB, "/host/lib")))
    assert made.stack is not None
    assert made.stack.needed == (LIB,)


# -------------------------------------------------------------------------------------- the guard


@pytest.mark.parametrize(
    ("what", "mpi", "asked", "pattern", "planned"),
    [
        (TRIXIE, MPICH5, "bind", "*MPICH*5.0.1*", "MPICH 5.0.1"),
        (TRIXIE, INTEL_MPI, "bind", "*Intel*MPI*2021.19*", "Intel MPI 2021.19"),
        (TRIXIE, CRAY_MPICH, "bind", "*CRAY MPICH*8.1.27*", "Cray MPICH 8.1.27"),
        (TRIXIE, DEBIAN, "hybrid", "*MPICH*4.2.1*", "MPICH 4.2.1"),
        (TRIXIE_OMPI, OMPI4, "bind", "*Open MPI*v4.1.4*", "Open MPI 4.1.4"),
        (TRIXIE_OMPI, OMPI4, "hybrid", "*Open MPI*v5.0.7*", "Open MPI 5.0.7"),
        (TRIXIE, replace(DEBIAN, version=""), "bind", "", "MPICH"),
    ],
)
def test_the_guard_knows_what_the_library_says_of_itself(
    what: MpiImage, mpi: HostMpi, asked: str, pattern: str, planned: str
) -> None:
    found = guard(ask(what, host(mpi)), asked)
    assert (found.pattern, found.planned) == (pattern, planned)
    assert found.loader == "/lib64/ld-linux-x86-64.so.2"
    assert what.program is not None
    assert (found.soname, found.family) == (what.program.needed[0], what.program.family)


def test_the_guard_looks_where_the_program_looks() -> None:
    assert guard(ask(RPATH, host(MPICH5))).rpath == "/opt/mpich/lib"
    assert guard(ask(TRIXIE, host(MPICH5))).rpath == ""


def test_the_guard_of_an_image_with_two_does_not_guess() -> None:
    two = (MPICH42, replace(MPICH42, version="3.4.1", path="/opt/old/libmpich.so.12"))
    found = guard(ask(replace(TRIXIE, mpis=two), host()))
    assert (found.pattern, found.planned) == ("", "")
    # The one of the program's name is the one.
    other = (replace(MPICH42, version="3.4.1", soname="libmpi.so.12"), MPICH42)
    assert guard(ask(replace(TRIXIE, mpis=other), host())).planned == "MPICH 4.2.1"


def test_the_guard_of_the_site_s_way_takes_any_library() -> None:
    found = guard(ask(TRIXIE, host(), flag="--mpi", runtime="sarus"))
    assert (found.pattern, found.planned) == ("", "")


def test_the_guard_of_a_script_is_for_the_image_s_mpi() -> None:
    assert guard(ask(SCRIPT, host(DEBIAN))).soname == "libmpich.so.12"
    assert guard(ask(replace(SCRIPT, program=None, libc=""), host(DEBIAN))).loader == "/lib64/ld-linux-x86-64.so.2"
    fortran_first = replace(TRIXIE, program=program("libmpichfort.so.12", "libmpich.so.12"))
    assert guard(ask(fortran_first, host(DEBIAN))).soname == "libmpich.so.12"
    fortran_alone = replace(TRIXIE, program=program("libmpichfort.so.12"))
    assert guard(ask(fortran_alone, host(DEBIAN))).soname == "libmpich.so.12"


def test_the_guard_under_musl_has_musl_s_loader() -> None:
    assert guard(ask(MUSL, host())).loader == "/lib/ld-musl-x86_64.so.1"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (STATIC, "the program has its MPI inside (static), which nothing else can load"),
        (replace(SCRIPT, mpis=(MPICH42, IMAGE_OMPI4)), "it is not known which MPI library the program loads"),
        (replace(TRIXIE, arch="riscv64"), "there is none for riscv64"),
        (replace(TRIXIE, arch=""), ""),
    ],
)
def test_where_there_is_no_guard_it_is_said_why(what: MpiImage, why: str) -> None:
    riscv = replace(host(), arch="riscv64") if what.arch == "riscv64" else host()
    made = wired(ask(what, riscv))
    assert (made.unguarded, made.guard is None) == (why, bool(why))
    # Without a host neither is known.
    unknown = wired(ask(replace(what, arch=""), types=("pmi2",), default="pmi2"))
    assert unknown.guard is None


# -------------------------------------------------------------------------------------- its folder


def test_the_folder_has_what_the_plan_needs_and_its_name_follows() -> None:
    one = guard(ask(BOOKWORM_OMPI, host()))
    assert set(files(MpiPlan())) == set()
    assert set(files(MpiPlan(checks=("there - - /x",)))) == {"check"}
    both = MpiPlan(checks=("there - - /x",), canary=one, links={"front/a": "/b"})
    made = files(both)
    assert set(made) == {"check", "judge", "canary"}
    assert b"hpcjob_canary()" in made["judge"]
    assert key(both) == key(replace(both, why="another"))
    keys = {key(each) for each in (both, replace(both, checks=()), replace(both, canary=None), replace(both, links={}))}
    assert len(keys) == 4


# -------------------------------------------------------------------- what the host's network needs

DATA = ("/etc/libibverbs.d", "/run/munge", "/var/spool/slurmd")


def shown(made: Wiring) -> set[str]:
    return {each.source for each in made.mounts if each.source == each.target}


def test_a_bound_mpi_sees_what_its_network_reads_at_fixed_places() -> None:
    made = wired(ask(TRIXIE, host(DEBIAN)), data=DATA)
    assert shown(made) == {"/etc/libibverbs.d"}
    assert made.stack is not None
    assert "/etc/libibverbs.d" in made.stack.needed


def test_a_bound_mpi_sees_what_its_ranks_talk_to() -> None:
    pmix = ask(TRIXIE_OMPI, host(OMPI5, launchers=(PMIX,)))
    assert set(DATA) <= shown(wired(pmix, "bind", data=DATA))
    pals = ask(TRIXIE, host(CRAY_MPICH, launchers=(PALS,)), launcher="mpiexec")
    assert "/run/palsd" in shown(wired(pals, data=("/run/palsd",)))


def test_the_image_s_own_mpi_sees_only_what_pmix_talks_to() -> None:
    pmix = ask(TRIXIE_OMPI, host(OMPI5, launchers=(PMIX,)))
    assert shown(wired(pmix, data=DATA)) == {"/run/munge", "/var/spool/slurmd"}
    pmi2 = ask(TRIXIE, host(DEBIAN, launchers=(PMI2,)))
    assert shown(wired(pmi2, "hybrid", data=DATA)) == set()


def test_without_a_place_for_it_there_is_no_guard() -> None:
    made = wired(ask(TRIXIE, host(DEBIAN)), "hybrid", spare=())
    assert (made.guard, made.mounts) == (None, ())
    assert "no folder (/mnt/1)" in made.unguarded
    with pytest.raises(PlanError, match="too few folders"):
        wired(ask(TRIXIE, host(DEBIAN)), "bind", spare=())


def test_a_recipe_gets_the_library_for_gpu_memory_too() -> None:
    made = wired(ask(TRIXIE, host(DEBIAN)), recipe=(Mount(LIB, "/host/lib"),), gpu_library="/opt/gtl.so.0", shares=True)
    assert (made.env["LD_PRELOAD"], made.env["MPICH_GPU_SUPPORT_ENABLED"]) == ("/opt/gtl.so.0", "1")


def test_a_recipe_is_doubted_where_the_program_has_its_own_path() -> None:
    made = wired(ask(RPATH, host(DEBIAN)), recipe=(Mount(LIB, "/host/lib"),))
    assert any("DT_RPATH" in text for text in made.warnings)


def test_a_recipe_that_leads_to_the_host_s_libc_is_doubted() -> None:
    made = wired(ask(TRIXIE, host(DEBIAN)), recipe=(Mount(LIB, "/host/lib"),), env={"LD_LIBRARY_PATH": "/x:/host/lib"})
    assert any(f"LD_LIBRARY_PATH leads to {LIB} of the host, whose libc" in text for text in made.warnings)
