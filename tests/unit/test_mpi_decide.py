"""Which way of running MPI is chosen: each row of the table, each trap, and that nothing makes it fail."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcjobs.mpi import facts, netstack
from hpcjobs.mpi.decide import MODES, Decision, Option, decide, one_of, override, provider
from hpcjobs.mpi.facts import HostMpi, MpiHost, MpiImage, Program, interface, is_libc, is_mpi_symbol, restore
from tests import mpi_facts as given_facts
from tests.mpi_facts import (
    ABI,
    BOOKWORM,
    BOOKWORM_OMPI,
    BULLSEYE,
    CRAY_MPICH,
    CRAY_SRUN,
    DEBIAN,
    HYDRA,
    IMAGE_OMPI4,
    INTEL_MPI,
    MPICH5,
    MPICH42,
    MUSL,
    OMPI4,
    OMPI5,
    PALS,
    PYTHON,
    RPATH,
    SCRIPT,
    SRUN,
    STATIC,
    TRIXIE,
    TRIXIE_OMPI,
    ask,
    host,
    image,
    program,
    srun,
    starter,
)  # fmt: skip


def way(decision: Decision) -> str:
    """`bind mpich-4.0.2`, `hybrid pmix`, `refused`."""
    chosen = decision.chosen
    if not chosen.open:
        return "refused"
    return " ".join(filter(None, (chosen.mode, chosen.host_mpi.name if chosen.host_mpi else "", chosen.type)))


def closed(decision: Decision, mode: str) -> str:
    """Why a way was not taken."""
    return next(each.why for each in decision.others if each.mode == mode and not each.open)


# --------------------------------------------------------------------------------- the table's rows


def test_row_0_an_image_for_another_cpu_is_refused() -> None:
    decision = decide(ask(replace(TRIXIE, arch="aarch64"), host(DEBIAN)))
    assert way(decision) == "refused"
    assert decision.chosen.why == "the image is made for aarch64, and the host is x86_64"
    assert decision.advice == ("build or pull it for x86_64",)
    # The older programs of a CPU run on the newer one.
    assert way(decide(ask(replace(TRIXIE, arch="i686"), host(DEBIAN)))) != "refused"


@pytest.mark.parametrize(("ntasks", "warned"), [(1, False), (8, True)])
def test_row_1_a_program_without_mpi_runs_as_copies(ntasks: int, warned: bool) -> None:
    decision = decide(ask(image(MPICH42, runs=program(family="", symbols=())), host(DEBIAN), ntasks=ntasks))
    assert (way(decision), bool(decision.warnings)) == ("none", warned)
    script = image(runs=Program(path="/usr/bin/dash", kind="script"))
    assert decide(ask(script, host(DEBIAN))).chosen.why == "the image has no MPI"


def test_row_2_a_launcher_in_the_image_only_if_asked_for() -> None:
    inside = replace(BOOKWORM_OMPI, mpirun="/usr/bin/mpirun")
    one = ask(inside, host(DEBIAN, launchers=(srun("pmi2"),)), nodes=1)
    assert way(decide(one)) == "refused"
    assert "--mpi container, on one node" in decide(one).advice
    assert way(override(one, "container")) == "container"
    assert override(one, "container").warnings == ()
    assert closed(decide(replace(one, image=BOOKWORM_OMPI)), "container") == "the image has no mpirun"
    assert "reaches one node" in closed(decide(replace(one, nodes=2)), "container")
    two = override(replace(one, nodes=2), "container")
    assert two.warnings == ("a launcher in the image reaches one node, not 2",)
    none = override(replace(one, image=BOOKWORM_OMPI), "container")
    assert none.warnings == ("the image has no mpirun",)


@pytest.mark.parametrize("mpi", [MPICH5, INTEL_MPI], ids=["libmpi_abi.so.0", "libmpi_abi.so.1"])
@pytest.mark.parametrize("needed", ["libmpi_abi.so.0", "libmpi_abi.so.1"])
def test_row_3_libmpi_abi_so_0_and_so_1_are_one_interface(mpi: HostMpi, needed: str) -> None:
    decision = decide(ask(image(runs=program(needed, family="abi")), host(mpi)))
    assert way(decision) == f"bind {mpi.name} pmi2"


def test_row_3_a_host_without_the_standard_abi_starts_the_image_s_own() -> None:
    decision = decide(ask(ABI, host(DEBIAN)))
    assert way(decision) == "hybrid pmi2"
    assert closed(decision, "bind") == "the host has no MPI with the standard ABI, which the program is built with"


@pytest.mark.parametrize("mpi", [DEBIAN, MPICH5, INTEL_MPI, CRAY_MPICH], ids=lambda mpi: mpi.name)
def test_row_4_mpich_s_abi_is_bound_whatever_the_library_is_called(mpi: HostMpi) -> None:
    for needed in ("libmpich.so.12", "libmpi.so.12", "libmpi_gnu_123.so.12"):
        decision = decide(ask(replace(TRIXIE, program=program(needed)), host(mpi)))
        assert way(decision) == f"bind {mpi.name} pmi2"
        assert provider(mpi, needed) is not None


def test_row_5_an_older_glibc_in_the_image_leaves_its_own_library() -> None:
    decision = decide(ask(BULLSEYE, host(DEBIAN)))
    assert way(decision) == "hybrid pmi2"
    assert closed(decision, "bind").endswith("of the host needs glibc 2.34, and the image has 2.31")
    # PyPI's need so little that they fit everywhere.
    assert way(decide(ask(BULLSEYE, host(DEBIAN, MPICH5)))) == "bind mpich-5.0.1 pmi2"


def test_row_5_plug_ins_need_a_glibc_too() -> None:
    old = replace(BOOKWORM_OMPI, provides={"GLIBC": "2.36"})
    newer = replace(OMPI5, folders=(replace(OMPI5.folders[0], needs={"GLIBC": "2.38"}),))
    decision = decide(ask(old, host(newer)))
    assert closed(decision, "bind") == (
        "a plug-in in /opt/openmpi-5.0.11 of the host needs glibc 2.38, and the image has 2.36"
    )


def test_row_5_plug_ins_that_the_image_is_too_old_for_are_passed_over_and_told_of() -> None:
    """Libraries that only plug-ins need do not decide."""
    optional = replace(DEBIAN, optional=DEBIAN.libraries)
    decision = decide(ask(BULLSEYE, host(optional, fabric="verbs")))
    assert way(decision) == "bind mpich-4.0.2 pmi2"
    assert decision.warnings[0].startswith("plug-ins that need libmpich.so.12, libmpichfort.so.12, libucp.so.0, ")
    assert decide(ask(BULLSEYE, host(optional))).warnings == ()


def test_row_5_an_image_whose_glibc_is_not_known_is_not_refused() -> None:
    assert way(decide(ask(replace(BULLSEYE, provides={}, libc_version=""), host(DEBIAN)))) == "bind mpich-4.0.2 pmi2"
    assert way(decide(ask(BULLSEYE, host(replace(DEBIAN, libraries=()))))) == "bind mpich-4.0.2 pmi2"


def test_row_6_functions_that_the_host_lacks_are_named() -> None:
    names = tuple(f"MPI_New_{letter}" for letter in "abcdefg")
    decision = decide(ask(replace(TRIXIE, program=program("libmpich.so.12", symbols=names)), host(DEBIAN)))
    assert way(decision) == "hybrid pmi2"
    told = "MPI_New_a, MPI_New_b, MPI_New_c, MPI_New_d, MPI_New_e and 2 more, which the program uses"
    assert closed(decision, "bind") == f"MPICH 4.0.2 of the host lacks {told}"
    few = decide(ask(replace(TRIXIE, program=program("libmpich.so.12", symbols=names[:1])), host(DEBIAN)))
    assert "lacks MPI_New_a, which" in closed(few, "bind")


def test_row_6_a_profiling_name_is_there_where_the_function_is() -> None:
    uses = program("libmpich.so.12", symbols=("PMPI_Send", "pmpi_send_"))
    assert way(decide(ask(replace(TRIXIE, program=uses), host(DEBIAN)))) == "bind mpich-4.0.2 pmi2"


@pytest.mark.parametrize(
    ("launcher", "wanted"),
    [
        (SRUN, "hybrid pmix"),
        (starter("mpirun", "openmpi", "openmpi-4.1.4", "4.1.4"), "hybrid"),
        (starter("mpirun", "prrte", "openmpi-5.0.11", "5.0.11"), "hybrid"),
    ],
    ids=["srun", "4", "5"],
)
def test_row_7_open_mpi_is_hybrid_by_default(launcher: facts.HostLauncher, wanted: str) -> None:
    question = ask(TRIXIE_OMPI, host(OMPI4, OMPI5, launchers=(launcher,)), launcher=launcher.kind)
    assert way(decide(question)) == wanted
    assert way(override(question, "bind")).startswith(f"bind {launcher.mpi or 'openmpi-4.1.4'}")


def test_open_mpi_4_and_5_have_the_same_soname_and_the_program_s_version_is_told() -> None:
    question = ask(TRIXIE_OMPI, host(OMPI4))
    assert override(question, "bind").warnings == (
        "the program is built with Open MPI 5.0.7, and Open MPI 4.1.4 is older",
    )
    assert override(replace(question, image=BOOKWORM_OMPI), "bind").warnings == ()
    assert override(ask(BOOKWORM_OMPI, host(OMPI5)), "bind").warnings == ()


def test_open_mpi_5_s_launcher_does_not_start_open_mpi_4() -> None:
    launcher = starter("mpirun", "prrte", "openmpi-5.0.11", "5.0.11")
    decision = decide(ask(BOOKWORM_OMPI, host(OMPI5, launchers=(launcher,)), launcher="mpirun"))
    # Its library can take the place of the older one, though.
    assert way(decision) == "bind openmpi-5.0.11"
    assert closed(decision, "hybrid") == "mpirun of Open MPI 5.0.11 does not start ranks of Open MPI 4.1.4"
    assert "rebuild the image with Open MPI 5" in decision.advice


def test_row_8_srun_s_pmi2_starts_mpich_and_older_open_mpi() -> None:
    slurm = host(launchers=(srun("none", "pmi2"),))
    assert way(decide(ask(BOOKWORM, slurm))) == "hybrid pmi2"
    with_pmi2 = replace(IMAGE_OMPI4, wires=("pmix", "pmi2"))
    assert way(decide(ask(replace(BOOKWORM_OMPI, mpis=(with_pmi2,)), slurm))) == "hybrid pmi2"
    refused = decide(ask(TRIXIE_OMPI, slurm))
    assert way(refused) == "refused"
    assert closed(refused, "hybrid") == "srun offers pmi2, and Open MPI 5.0.7 speaks pmix"
    assert "a Slurm with --mpi=pmix, or rebuild the image with MPICH" in refused.advice


def test_row_8_the_host_s_fabric_is_not_used_by_the_image_s_library() -> None:
    slurm = host(launchers=(srun("pmi2"),), fabric="verbs")
    assert decide(ask(BOOKWORM, slurm)).warnings == ("the image's own network library is used, not the host's",)


def test_row_9_srun_s_pmix_starts_open_mpi_mpich_with_pmix_and_musl() -> None:
    slurm = host(launchers=(srun("none", "pmix", "pmix_v4"),))
    assert way(decide(ask(TRIXIE_OMPI, slurm))) == "hybrid pmix"
    with_pmix = replace(MPICH42, wires=("pmix",))
    assert way(decide(ask(replace(TRIXIE, mpis=(with_pmix,)), slurm))) == "hybrid pmix"
    assert way(decide(ask(replace(MUSL, mpis=(with_pmix,)), slurm))) == "hybrid pmix"
    refused = decide(ask(TRIXIE, slurm))
    assert way(refused) == "refused"
    assert closed(refused, "hybrid") == "srun offers pmix, pmix_v4, and MPICH 4.2.1 speaks pmi2"


def test_the_site_s_default_is_preferred_and_a_version_only_then() -> None:
    assert way(decide(ask(TRIXIE_OMPI, host(), default="pmix_v4"))) == "hybrid pmix_v4"
    assert way(decide(ask(TRIXIE_OMPI, host(launchers=(srun("pmix_v4", "pmix"),))))) == "hybrid pmix"


def test_row_11_pals_takes_cray_s_library_and_nothing_else() -> None:
    for name in ("mpiexec", "pals"):  # its program, and hpcjob's launcher of its options
        cray = ask(TRIXIE, host(CRAY_MPICH, launchers=(PALS,)), launcher=name)
        assert way(decide(cray)) == "bind cray-mpich-8.1.27"
    plain = decide(ask(TRIXIE, host(DEBIAN, launchers=(PALS,)), launcher="mpiexec"))
    assert way(plain) == "refused"
    assert closed(plain, "bind") == "mpiexec of PALS 1.3.4 does not start ranks of MPICH"
    # As Argonne builds it.
    pmix = replace(DEBIAN, wires=("pmix",))
    assert way(decide(ask(TRIXIE, host(pmix, launchers=(PALS,)), launcher="mpiexec"))) == "bind mpich-4.0.2"
    refused = decide(ask(TRIXIE_OMPI, host(CRAY_MPICH, launchers=(PALS,)), launcher="mpiexec"))
    assert way(refused) == "refused"
    assert "rebuild the image with MPICH" in refused.advice


@pytest.mark.parametrize("flavour", ["hydra", "intel"])
def test_row_12_hydra_starts_any_mpich_that_has_pmi1(flavour: Any) -> None:
    slurm = host(launchers=(starter("mpiexec", flavour, version="4.0.2"),))
    for each in (TRIXIE, BOOKWORM, BULLSEYE, MUSL, STATIC):
        assert way(decide(ask(each, slurm, launcher="mpiexec"))) == "hybrid"
    only = replace(TRIXIE, mpis=(replace(MPICH42, wires=("pmix",)),))
    assert way(decide(ask(only, slurm, launcher="mpiexec"))) == "refused"


def test_row_13_the_runtime_s_own_option_comes_first_for_mpich() -> None:
    shifter = {"runtime": "shifter", "flag": "--module=mpich", "default": "cray_shasta"}
    assert way(decide(ask(TRIXIE, host(DEBIAN), **shifter))) == "site cray_shasta"
    assert way(decide(ask(TRIXIE, host(DEBIAN, launchers=(HYDRA,)), launcher="mpiexec", **shifter))) == "site"
    ompi = decide(ask(TRIXIE_OMPI, host(DEBIAN), **shifter))
    assert way(ompi) == "hybrid pmix"
    assert closed(ompi, "site").startswith("--module=mpich of shifter is for programs built with MPICH, and this one")
    assert "static" in closed(decide(ask(STATIC, host(DEBIAN), **shifter)), "site")
    assert "musl" in closed(decide(ask(MUSL, host(DEBIAN), **shifter)), "site")


def test_row_14_wi4mpi_where_families_differ_and_the_site_has_it() -> None:
    slurm = host(DEBIAN, launchers=(srun("pmi2"),))
    assert way(decide(ask(TRIXIE_OMPI, slurm, wi4mpi=True))) == "translate mpich-4.0.2 pmi2"
    assert way(decide(ask(TRIXIE_OMPI, slurm))) == "refused"
    other = host(OMPI5, launchers=(srun("pmix"),))
    assert way(decide(ask(BOOKWORM, other, wi4mpi=True))) == "translate openmpi-5.0.11 pmix"
    none = decide(ask(TRIXIE_OMPI, host(launchers=(srun("pmi2"),)), wi4mpi=True))
    assert closed(none, "translate") == "the host has no MPICH for Wi4MPI to translate to"
    unheard = decide(ask(BOOKWORM, host(OMPI5, launchers=(srun("cray"),)), wi4mpi=True))
    assert closed(unheard, "translate") == "the host has no Open MPI for Wi4MPI to translate to"
    standard = decide(ask(ABI, host(OMPI5, launchers=(srun("pmix"),)), wi4mpi=True))
    assert closed(standard, "translate") == "Wi4MPI translates between MPICH and Open MPI"
    inside = decide(ask(STATIC, other, wi4mpi=True))
    assert closed(inside, "translate") == "the program has its MPI inside (static)"
    started = host(DEBIAN, MPICH5, launchers=(replace(HYDRA, mpi="mpich-5.0.1"),))
    assert way(decide(ask(TRIXIE_OMPI, started, launcher="mpiexec", wi4mpi=True))) == "translate mpich-5.0.1"


def test_row_15_copies_of_rank_0_are_refused_with_what_to_rebuild() -> None:
    decision = decide(ask(TRIXIE_OMPI, host(DEBIAN, launchers=(HYDRA,)), launcher="mpiexec"))
    assert way(decision) == "refused"
    assert decision.chosen.why == (
        "8 copies of the program would run, each as rank 0 of 1, and end with exit code 0: "
        "mpiexec of hydra 4.0.2 and the program's Open MPI do not speak the same"
    )
    assert decision.advice == ("rebuild the image with MPICH",)
    assert closed(decision, "bind") == "mpiexec of hydra 4.0.2 starts no Open MPI, which the program is built with"


def test_row_15_a_launcher_of_the_host_that_would_do_is_named() -> None:
    both = host(launchers=(srun("pmi2"), starter("mpirun", "openmpi")))
    told = decide(ask(TRIXIE_OMPI, both, launchers=("srun", "mpirun"))).advice
    assert "--launcher mpirun; or rebuild the image with MPICH" in told
    entry = "--launcher mpirun, with `launchers: [{kind: mpirun, command: /usr/bin/mpirun}]` in the site's file"
    assert any(text.startswith(entry) for text in decide(ask(TRIXIE_OMPI, both)).advice)
    reverse = host(launchers=(starter("mpirun", "openmpi"), HYDRA))
    decision = decide(ask(TRIXIE, reverse, launcher="mpirun", launchers=("mpirun", "mpiexec")))
    assert closed(decision, "hybrid") == "mpirun of Open MPI does not speak with MPICH 4.2.1"
    assert "--launcher mpiexec; or rebuild the image with Open MPI" in decision.advice


def test_row_15_one_rank_finds_itself() -> None:
    decision = decide(ask(TRIXIE_OMPI, host(launchers=(HYDRA,)), launcher="mpiexec", nodes=1, ntasks=1))
    assert way(decision) == "hybrid"


def test_one_rank_of_open_mpi_is_not_started_by_an_srun_that_it_cannot_ask() -> None:
    asked = ask(TRIXIE_OMPI, host(), types=("none", "pmi2"), nodes=1, ntasks=1)
    assert decide(asked).chosen.alone
    assert not decide(replace(asked, ntasks=2)).chosen.open
    # Nobody looked at the host: what srun offers is not asked for.
    unseen = replace(asked, host=None)
    assert [decide(replace(unseen, types=types)).chosen.alone for types in ((), ("pmix",), ("pmi2",))] == [True] * 3
    assert not decide(replace(unseen, image=TRIXIE)).chosen.alone
    assert not decide(replace(unseen, launcher="mpirun")).chosen.alone
    assert not decide(ask(TRIXIE, host(), types=("none",), nodes=1, ntasks=1)).chosen.alone


def test_row_16_a_static_program_is_never_bound() -> None:
    decision = decide(ask(STATIC, host(DEBIAN)))
    assert way(decision) == "hybrid pmi2"
    assert closed(decision, "bind") == "the program has its MPI inside (static)"
    openmpi = image(runs=program(family="openmpi", static=True))
    assert way(decide(ask(openmpi, host()))) == "hybrid pmix"
    mpirun = host(launchers=(starter("mpirun", "prrte", version="5.0.11"),))
    assert way(decide(ask(openmpi, mpirun, launcher="mpirun"))) == "hybrid"
    # Whose it is may not be known: then nothing is said for sure.
    unknown = decide(ask(image(runs=program(family="", static=True)), host(DEBIAN)))
    assert (way(unknown), unknown.sure) == ("hybrid", False)


def test_row_17_musl_is_never_bound() -> None:
    decision = decide(ask(MUSL, host(DEBIAN)))
    assert way(decision) == "hybrid pmi2"
    assert closed(decision, "bind") == "the image's libc is musl, and the host's libraries need glibc"


# --------------------------------------------------------------------------------------- the traps


def test_trap_debian_s_libmpich_so_12_is_mpich_s_abi() -> None:
    assert interface("libmpich.so.12") == ("mpich", "c")
    assert way(decide(ask(BOOKWORM, host(MPICH5)))) == "bind mpich-5.0.1 pmi2"


def test_trap_intel_s_12_0_0_is_not_older_since_it_has_all_functions() -> None:
    question = ask(replace(BOOKWORM, mpis=(replace(MPICH42, version="4.3.2"),)), host(INTEL_MPI))
    decision = decide(question)
    assert way(decision) == "bind intel-mpi-2021.19 pmi2"
    assert "it has all 2 functions that the program uses" in decision.chosen.why
    lacks = decide(replace(question, host=host(replace(INTEL_MPI, exports=("MPI_Init",)))))
    assert closed(lacks, "bind") == "Intel MPI 2021.19 of the host lacks MPI_Send, which the program uses"


def test_trap_cray_s_name_has_the_compiler_in_it() -> None:
    assert interface("libmpi_gnu_123.so.12") == ("mpich", "c")
    decision = decide(ask(TRIXIE, host(CRAY_MPICH, launchers=(CRAY_SRUN,))))
    assert way(decision) == "bind cray-mpich-8.1.27 cray_shasta"
    # A program that was built with it, on a machine without.
    built = replace(TRIXIE, program=program("libmpi_gnu_123.so.12"))
    assert way(decide(ask(built, host(DEBIAN)))) == "bind mpich-4.0.2 pmi2"


def test_trap_cray_has_no_fortran_library_of_that_name() -> None:
    fortran = replace(TRIXIE, program=program("libmpich.so.12", "libmpichfort.so.12"))
    decision = decide(ask(fortran, host(CRAY_MPICH)))
    assert closed(decision, "bind") == "Cray MPICH 8.1.27 of the host has nothing in the place of libmpichfort.so.12"


def test_trap_open_mpi_s_abis_do_not_replace_each_other() -> None:
    old = replace(BOOKWORM_OMPI, program=program("libmpi.so.20", family="openmpi"))
    decision = decide(ask(old, host(OMPI4)))
    assert closed(decision, "bind") == "Open MPI 4.1.4 of the host has nothing in the place of libmpi.so.20"
    assert provider(OMPI4, "libc.so.6") is None


def test_trap_dt_rpath_of_the_program_asks_for_preloading() -> None:
    assert decide(ask(RPATH, host(MPICH5))).chosen.preload
    assert not decide(ask(TRIXIE, host(MPICH5))).chosen.preload


@pytest.mark.parametrize("launcher", ["mpiexec", "pals"])
def test_trap_pals_is_no_hydra(launcher: str) -> None:
    assert way(decide(ask(BOOKWORM, host(launchers=(PALS,)), launcher=launcher))) == "refused"


# ------------------------------------------------------------------------------- which of the host's


def test_the_launcher_s_own_mpi_is_bound_unless_the_site_names_another() -> None:
    both = host(DEBIAN, MPICH5, launchers=(replace(HYDRA, mpi="mpich-4.0.2"),))
    question = ask(TRIXIE, both, launcher="mpiexec")
    assert way(decide(question)) == "bind mpich-4.0.2"
    assert way(decide(replace(question, host_mpi="mpich-5"))) == "bind mpich-5.0.1"
    wrong = decide(replace(question, host_mpi="mvapich"))
    assert closed(wrong, "bind") == "the host has no MPICH called mvapich, which the program is built with"


def test_the_mpi_of_the_job_s_modules_comes_first_and_one_of_others_last() -> None:
    both = host(INTEL_MPI, DEBIAN)
    assert way(decide(ask(TRIXIE, both))) == "bind mpich-4.0.2 pmi2"
    assert way(decide(ask(TRIXIE, both, modules=("intel-mpi/2021.19",)))) == "bind intel-mpi-2021.19 pmi2"


def test_a_library_that_srun_cannot_start_is_not_bound() -> None:
    decision = decide(ask(TRIXIE, host(replace(DEBIAN, wires=()), launchers=(srun("none"),))))
    assert way(decision) == "refused"
    assert closed(decision, "bind") == "srun offers nothing that is known, and MPICH speaks none of Slurm's kinds"
    assert "a Slurm with --mpi=pmi2, or rebuild the image with MPICH" in decision.advice


def test_an_image_without_an_mpi_can_be_given_the_host_s() -> None:
    bare = image(runs=program("libmpi.so.12", symbols=()))
    decision = decide(ask(bare, host(MPICH5)))
    assert way(decision) == "bind mpich-5.0.1 pmi2"
    assert decision.chosen.why == (
        "MPICH 5.0.1 of the host takes the place of the MPI that the image does not have: it has all that is known to "
        "be needed and the image's glibc suffices"
    )
    assert closed(decision, "hybrid") == "the image has no MPICH of its own"


# ---------------------------------------------------------------------------------- what is not known


@pytest.mark.parametrize(("default", "why"), [("pmi2", "the site's default"), ("", "the way of the site's launcher")])
def test_where_nothing_is_known_the_launcher_does_what_it_does(default: str, why: str) -> None:
    decision = decide(ask(TRIXIE, default=default))
    assert (way(decision), decision.sure) == (f"hybrid {default}".strip(), False)
    assert decision.chosen.why == f"{why}: the host's MPI is not known"
    assert decision.warnings == ("the host's MPI is not known: whether ranks find each other shows when the job runs",)
    assert decide(ask(TRIXIE, default=default, ntasks=1)).warnings == ()
    both = replace(SCRIPT, mpis=(MPICH42, IMAGE_OMPI4))
    assert "the program's MPI could not be seen" in decide(ask(both, host())).chosen.why
    assert "could not be seen" in decide(ask(image(runs=Program(path="x", kind="missing")), host())).chosen.why


def test_a_script_is_taken_for_a_program_of_the_image_s_only_mpi() -> None:
    decision = decide(ask(SCRIPT, host(DEBIAN)))
    assert (way(decision), decision.sure) == ("bind mpich-4.0.2 pmi2", False)
    assert decide(ask(TRIXIE, host(DEBIAN))).sure
    assert way(decide(ask(replace(SCRIPT, program=None), host(DEBIAN)))) == "bind mpich-4.0.2 pmi2"
    assert way(decide(ask(replace(SCRIPT, program=None, libc="musl"), host(DEBIAN)))) == "hybrid pmi2"


def test_a_host_that_was_not_probed_has_the_launcher_of_the_site() -> None:
    question = ask(TRIXIE, types=("pmi2",))
    assert way(decide(question)) == "hybrid pmi2"
    assert closed(decide(question), "bind") == "the host's MPI is not known"
    assert "hpcjob mpi host, once for each site" in decide(question).advice
    assert way(decide(replace(question, launcher="mpiexec"))) == "hybrid"
    assert way(decide(replace(question, launcher="mpirun"))) == "refused"
    assert way(decide(replace(question, launcher="jsrun"))) == "refused"
    assert way(decide(replace(question, image=TRIXIE_OMPI, launcher="mpirun"))) == "hybrid"


def test_a_launcher_by_its_path_is_that_one_or_none() -> None:
    other = replace(HYDRA, command="/opt/hydra/bin/mpiexec", flavour="pals")
    both = host(launchers=(HYDRA, other))
    assert way(decide(ask(BOOKWORM, both, launcher="mpiexec"))) == "hybrid"
    assert way(decide(ask(BOOKWORM, both, launcher="mpiexec", command="/opt/hydra/bin/mpiexec"))) == "refused"
    # Of one that the lock does not have, only the kind is known; of a bare name, the first is meant.
    assert way(decide(ask(BOOKWORM, both, launcher="mpiexec", command="/elsewhere/mpiexec"))) == "hybrid"
    assert way(decide(ask(BOOKWORM, both, launcher="mpiexec", command="mpiexec"))) == "hybrid"


def test_a_launcher_that_nobody_knows_is_left_to_the_host_s_library() -> None:
    unknown = host(DEBIAN, launchers=(starter("mpiexec", ""),))
    assert way(decide(ask(TRIXIE, unknown, launcher="mpiexec"))) == "bind mpich-4.0.2"


def test_a_launcher_of_the_other_family_does_not_start_the_host_s_library() -> None:
    mixed = host(DEBIAN, launchers=(starter("mpirun", "openmpi"),))
    decision = decide(ask(TRIXIE, mixed, launcher="mpirun"))
    assert closed(decision, "bind") == "mpirun of Open MPI does not start ranks of MPICH"


def test_a_runtime_that_cannot_mount_binds_nothing() -> None:
    decision = decide(ask(TRIXIE, host(DEBIAN), can_mount=False, runtime="odd"))
    assert closed(decision, "bind") == "odd cannot show the host's folders in the container"


# ------------------------------------------------------------------------------------- what is asked for


def test_none_is_taken_without_a_word() -> None:
    decision = override(ask(TRIXIE, host(DEBIAN)), "none")
    assert (way(decision), decision.asked, decision.warnings) == ("none none", True, ())
    assert [each.mode for each in decision.others] == ["bind", "hybrid", "container"]
    assert override(ask(TRIXIE_OMPI, host(launchers=(HYDRA,)), launcher="mpiexec"), "none").chosen.open


def test_what_speaks_against_what_is_asked_for_is_a_warning() -> None:
    decision = override(ask(BULLSEYE, host(DEBIAN)), "bind")
    assert way(decision) == "bind mpich-4.0.2 pmi2"
    assert decision.warnings[0].endswith("needs glibc 2.34, and the image has 2.31")
    assert override(ask(TRIXIE, host(DEBIAN)), "hybrid").warnings == ()


def test_what_is_bound_against_the_table_is_still_preloaded_and_started_right() -> None:
    lacking = replace(RPATH, provides={"GLIBC": "2.10"})
    chosen = override(ask(lacking, host(MPICH5)), "bind").chosen
    assert (chosen.preload, chosen.type) == (True, "pmi2")


def test_a_kind_of_srun_s_is_taken_and_one_that_nobody_speaks_is_warned_of() -> None:
    question = ask(TRIXIE, host(DEBIAN))
    assert (way(override(question, "pmi2")), override(question, "pmi2").warnings) == ("hybrid pmi2", ())
    wrong = override(question, "pmix")
    assert way(wrong) == "hybrid pmix"
    assert wrong.warnings == (
        "pmix is not what ranks and launcher have in common: MPICH 4.2.1 of the image and srun both speak pmi2",
    )
    none = override(ask(TRIXIE, host(launchers=(srun("cray"),))), "pmix")
    assert none.warnings == ("srun offers cray, and MPICH 4.2.1 speaks pmi2",)


@pytest.mark.parametrize(
    ("what", "asked", "why"),
    [
        (MUSL, "bind", "the image's libc is musl, and the host's libraries need glibc"),
        (TRIXIE_OMPI, "bind", "the host has no Open MPI, which the program is built with"),
        (TRIXIE, "translate", "the site has no Wi4MPI"),
    ],
    ids=["musl", "no such MPI", "no Wi4MPI"],
)
def test_what_cannot_be_done_at_all_is_refused_even_if_asked_for(what: MpiImage, asked: str, why: str) -> None:
    decision = override(ask(what, host(DEBIAN)), asked)
    assert (way(decision), decision.chosen.why) == ("refused", why)


def test_the_site_s_way_needs_an_option_of_the_runtime() -> None:
    assert override(ask(TRIXIE, host(DEBIAN)), "site").warnings == ("the site names no option of apptainer for it",)


# ---------------------------------------------------------------------------------------- mpi4py


WHEEL = replace(
    PYTHON, mpis=(), program=replace(
        program("libmpi.so.12", "libmpi.so.40", "libmpi_abi.so.0", family=""), kind="python", either=True,
        symbols=("MPI_Init", "ompi_mpi_comm_world"),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("mpi", "types", "family"),
    [(DEBIAN, ("pmi2",), "mpich"), (OMPI5, ("pmix",), "openmpi")],
    ids=["MPICH", "Open MPI"],
)
def test_a_program_that_takes_either_gets_the_family_that_is_there(
    mpi: HostMpi, types: tuple[str, ...], family: str
) -> None:
    decision = decide(ask(WHEEL, host(mpi, launchers=(srun(*types),))))
    assert (decision.chosen.mode, decision.family) == ("bind", family)
    assert decision.chosen.host_mpi == mpi


def test_a_program_that_takes_either_is_that_of_its_family_then() -> None:
    assert WHEEL.program is not None
    one = one_of(WHEEL.program, "mpich")
    assert (one.needed, one.symbols, one.either) == (("libmpi.so.12",), ("MPI_Init",), False)
    other = one_of(replace(WHEEL.program, needed=("libmpi.so.40", "libodd.so")), "openmpi")
    assert (other.needed, other.symbols) == (("libmpi.so.40",), ("MPI_Init", "ompi_mpi_comm_world"))
    refused = decide(ask(WHEEL, host(launchers=(srun("none"),))))
    assert (way(refused), refused.family) == ("refused", "mpich")
    known = replace(WHEEL, program=replace(WHEEL.program, family="openmpi"))
    assert decide(ask(known, host(OMPI5))).family == "openmpi"


def test_a_program_that_takes_either_gets_the_family_that_what_is_asked_for_fits_best() -> None:
    openmpi = host(DEBIAN, OMPI5, launchers=(srun("pmix"),))
    asked = override(ask(WHEEL, openmpi), "bind")
    assert (way(asked), asked.family, asked.warnings) == ("bind openmpi-5.0.11 pmix", "openmpi", ())
    assert override(ask(WHEEL, openmpi), "none").family == ""
    own = replace(WHEEL, mpis=(MPICH42,))
    hybrid = override(ask(own, openmpi), "pmi2")
    assert (way(hybrid), hybrid.family) == ("hybrid pmi2", "mpich")


def test_python_itself_is_taken_for_a_program_of_the_image_s_mpi() -> None:
    assert way(decide(ask(PYTHON, host(DEBIAN)))) == "bind mpich-4.0.2 pmi2"
    bare = image(runs=Program(path="/usr/bin/python3", kind="python"))
    assert decide(ask(bare, host(DEBIAN))).chosen.why == "the program has no MPI"


# ----------------------------------------------------------------------------------------- facts


@pytest.mark.parametrize(
    ("soname", "wanted"),
    [
        ("libmpi_abi.so.0", ("abi", "c")), ("libmpifort_abi.so.1", ("abi", "fortran")),
        ("libmpich_gnu_71.so.3", ("mpich", "c")), ("libmpifort_cray.so.12", ("mpich", "fortran")),
        ("libmpichfort.so.12", ("mpich", "fortran")), ("libmpichcxx.so.12", ("mpich", "cxx")),
        ("libmpi.so.40", ("openmpi", "c")), ("libmpi_usempif08.so.40", ("openmpi", "fortran")),
        ("libmpi_cxx.so.40", ("openmpi", "cxx")), ("libmpi.so", None), ("libm.so.6", None),
    ],
)  # fmt: skip
def test_whose_interface_a_name_is(soname: str, wanted: tuple[str, str] | None) -> None:
    assert interface(soname) == wanted


def test_what_is_of_libc_and_of_mpi() -> None:
    assert all(map(is_libc, ("libc.so.6", "ld-linux-x86-64.so.2", "libnss_files.so.2", "libpthread-2.31.so")))
    assert not any(map(is_libc, ("libcxi.so.1", "libmpi.so.12", "libcrypto.so.3", "librdmacm.so.1")))
    assert all(map(is_mpi_symbol, ("MPI_Init", "PMPI_Init", "mpi_init_", "ompi_mpi_int", "MPIX_Query_cuda_support")))
    assert not any(map(is_mpi_symbol, ("main", "MPL_trmem", "simpi_x")))


@pytest.mark.parametrize(
    "data",
    [
        None, {"odd": 1}, {"path": 1}, {"path": "x", "mpis": {}}, {"path": "x", "gpu": [1]}, {"path": "x", "provides": []},
        {"path": "x", "provides": {"GLIBC": 1}}, {"path": "x", "program": []}, {"path": "x", "pmi2": "yes"}, {},
    ],
)  # fmt: skip
def test_what_is_damaged_is_not_restored(data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        restore(MpiImage, data)


# ------------------------------------------------------------------------------------- properties

MPIS = (DEBIAN, MPICH5, INTEL_MPI, CRAY_MPICH, OMPI4, OMPI5)
LAUNCHERS = (
    SRUN, CRAY_SRUN, srun("none"), srun("none", "pmi2"), srun("pmix_v4"), HYDRA, PALS, starter("mpiexec", ""),
    starter("mpirun", "openmpi", "openmpi-4.1.4", "4.1.4"), starter("mpirun", "prrte", "openmpi-5.0.11", "5.0.11"),
    starter("mpiexec", "intel", "intel-mpi-2021.19"),
)  # fmt: skip
SONAMES = ("libmpich.so.12", "libmpi.so.12", "libmpi_gnu_123.so.12", "libmpi.so.40", "libmpi_abi.so.0",
           "libmpi_abi.so.1", "libmpichfort.so.12", "libmpi.so.20")  # fmt: skip

hosts = st.builds(
    lambda mpis, launchers, fabric: host(*mpis, launchers=launchers, fabric=fabric),
    st.lists(st.sampled_from(MPIS), unique_by=lambda mpi: mpi.name),
    st.lists(st.sampled_from(LAUNCHERS), max_size=3),
    st.sampled_from(["none", "verbs", "cxi"]),
)
programs = st.builds(
    Program,
    path=st.just("/opt/app/solve"),
    kind=st.sampled_from(["program", "python", "script", "missing"]),
    needed=st.lists(st.sampled_from(SONAMES), unique=True, max_size=3).map(tuple),
    symbols=st.lists(st.sampled_from(["MPI_Init", "PMPI_Send", "MPI_New", "ompi_mpi_int"]), max_size=3).map(tuple),
    rpath=st.sampled_from([(), ("/opt/mpich/lib",)]),
    static=st.booleans(),
    family=st.sampled_from(["", "mpich", "openmpi", "abi"]),
    libc=st.sampled_from(["", "glibc", "musl"]),
    either=st.booleans(),
)
images = st.builds(
    MpiImage,
    path=st.just("/images/app.sif"),
    arch=st.sampled_from(["", "x86_64", "aarch64"]),
    libc=st.sampled_from(["", "glibc", "musl"]),
    libc_version=st.sampled_from(["", "2.31", "2.41"]),
    provides=st.sampled_from([{}, {"GLIBC": "2.31"}, {"GLIBC": "2.41", "GLIBCXX": "3.4.28"}]),
    mpis=st.lists(
        st.sampled_from([MPICH42, IMAGE_OMPI4, given_facts.IMAGE_OMPI5, given_facts.IMAGE_ABI]), max_size=3
    ).map(tuple),
    mpirun=st.sampled_from(["", "/usr/bin/mpirun"]),
    ld_library_path=st.sampled_from(["", "/opt/lib:/opt/more"]),
    program=st.none() | programs,
)
questions = st.builds(
    ask,
    images,
    st.none() | hosts,
    launcher=st.sampled_from(["srun", "mpirun", "mpiexec", "none"]),
    command=st.sampled_from(["", "mpiexec", "/usr/bin/mpiexec"]),
    types=st.sampled_from([(), ("pmi2",), ("pmix",)]),
    default=st.sampled_from(["", "pmi2", "pmix"]),
    nodes=st.integers(1, 3),
    ntasks=st.integers(1, 9),
    host_mpi=st.sampled_from(["", "mpich", "openmpi-5"]),
    flag=st.sampled_from(["", "--mpi"]),
    wi4mpi=st.booleans(),
    can_mount=st.booleans(),
)


def sound(chosen: Option) -> bool:
    return chosen.open == bool(chosen.open) and bool(chosen.why)


@settings(max_examples=300, deadline=None)
@given(questions)
def test_something_is_always_decided_and_a_chosen_bind_can_be_built(question: Any) -> None:
    decision = decide(question)
    assert sound(decision.chosen)
    assert all(map(sound, decision.others))
    for asked in (*MODES, "pmi2", "pmix"):
        assert sound(override(question, asked).chosen)
    if not decision.chosen.open:
        assert decision.chosen.mode == "none"
    if decision.chosen.mode != "bind":
        return
    mpi, used = decision.chosen.host_mpi, question.image
    assert mpi is not None
    if decision.family:
        used = replace(used, program=one_of(used.program, decision.family))
    stack = netstack.build(mpi, question.host, used, preload=decision.chosen.preload)
    for soname in used.program.needed if used.program else ():
        assert f"front/{soname}" in stack.links
    assert not any(is_libc(name.partition("/")[2]) for name in stack.links)
    for target in stack.links.values():
        assert any(target.startswith(f"{mount.target}/") for mount in stack.mounts), target
    assert f":{used.ld_library_path}:" in f":{stack.env['LD_LIBRARY_PATH']}:" or not used.ld_library_path


@settings(max_examples=100, deadline=None)
@given(hosts, images)
def test_facts_come_back_from_json_as_they_were(known: MpiHost, seen: MpiImage) -> None:
    assert restore(MpiHost, json.loads(json.dumps(asdict(known)))) == known
    assert restore(MpiImage, json.loads(json.dumps(asdict(seen)))) == seen
