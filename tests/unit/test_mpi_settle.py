"""From a request, a site and what is known to the plan of a job's MPI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcjobs import runtimes
from hpcjobs.errors import PlanError
from hpcjobs.model import (
    Bind,
    ImageFacts,
    JobSpec,
    LauncherConfig,
    MpiConfig,
    MpiPlan,
    Note,
    Runtime,
    RuntimeConfig,
    Shape,
    Site,
)  # fmt: skip
from hpcjobs.mpi.facts import MpiHost, MpiImage
from hpcjobs.mpi.netstack import LINKS
from hpcjobs.mpi.settle import Job, Known, Settled, question, runtime_option, settle
from tests.mpi_facts import (
    DEBIAN,
    HYDRA,
    INTEL_MPI,
    LIB,
    MPICH5,
    OMPI5,
    PYTHON,
    RPATH,
    TRIXIE,
    TRIXIE_OMPI,
    WHEEL,
    host,
    program,
    srun,
)  # fmt: skip

FOLDER = "/home/u/.cache/hpcjobs/mpi"
IMAGE = ImageFacts("/images/app.sif", "sif", "x86_64", digest="sha256:1234")
TWO = Shape(nodes=2, ntasks=8, ntasks_per_node=4)
APPTAINER = RuntimeConfig(kind="apptainer", version="apptainer version 1.3.4")


def job(
    *,
    kind: str = "srun",
    runtime: RuntimeConfig = APPTAINER,
    image: ImageFacts = IMAGE,
    shape: Shape = TWO,
    even: bool = True,
    config: MpiConfig | None = None,
    **asked: Any,
) -> Job:
    launcher = LauncherConfig(kind=kind)
    site = Site(name="alps", launcher=LauncherConfig(kind="srun"), mpi=config or MpiConfig(), modules=("site-module",))
    made: Runtime = runtimes.get(runtime)
    return Job(JobSpec(command=("/opt/app/solve",), **asked), site, image, made, launcher, shape, even)


def known(image: MpiImage = TRIXIE, on: MpiHost | None = None, **more: Any) -> Known:
    return Known(**{"image": image, "host": on or host(DEBIAN), "folder": FOLDER, **more})


def settled(seen: MpiImage = TRIXIE, on: MpiHost | None = None, **more: Any) -> Settled:
    return settle(job(**more), known(seen, on))


# ------------------------------------------------------------------------------------ the question


def test_the_question_has_what_site_and_job_say() -> None:
    config = MpiConfig(
        default="pmix", types=("pmi2", "pmix"), host="mpich", runtime_option="--module=mpich", wi4mpi="/opt/w"
    )
    shifter = job(config=config, runtime=RuntimeConfig(kind="shifter"), modules=("mpich",))
    asked = question(shifter, known())
    assert (asked.runtime, asked.launcher, asked.default, asked.types) == ("shifter", "srun", "pmix", ("pmi2", "pmix"))
    assert (asked.nodes, asked.ntasks, asked.host_mpi, asked.flag) == (2, 8, "mpich", "--module=mpich")
    assert (asked.modules, asked.wi4mpi, asked.can_mount) == (("site-module", "mpich"), True, True)
    # Kinds are those of the site's own launcher.
    other = question(job(config=config, kind="mpiexec"), known())
    assert (other.default, other.types) == ("", ())


# ---------------------------------------------------------------------------------------- the plan


def test_bound_the_plan_has_folders_links_variables_checks_and_a_guard() -> None:
    made = settled()
    plan = made.plan
    assert (plan.mode, plan.type, plan.host) == ("bind", "pmi2", "mpich-4.0.2")
    assert plan.folder.startswith(f"{FOLDER}/")
    assert plan.binds == (Bind(plan.folder, LINKS), Bind(LIB, f"/hpcjob/host{LIB}"))
    assert plan.links["front/libmpich.so.12"] == f"/hpcjob/host{LIB}/libmpich.so.12.2.2"
    assert plan.env["LD_LIBRARY_PATH"] == f"{LINKS}/front:{LINKS}/tail"
    assert plan.checks[0].startswith("id 624 8a8a")
    assert plan.canary is not None
    assert plan.proven.startswith(f"{FOLDER}/proven-")
    assert made.together
    assert made.notes[0] == Note("mpi", "bind (pmi2)", plan.why)
    assert list(plan.others) == ["hybrid", "container"]


def test_hybrid_the_plan_shows_only_the_guard_s_folder() -> None:
    plan = settled(on=host()).plan
    assert (plan.mode, plan.links, plan.checks) == ("hybrid", {}, ())
    assert plan.binds == (Bind(plan.folder, LINKS),)


def test_the_kind_of_srun_s_is_of_no_use_to_other_launchers() -> None:
    plan = settled(on=host(launchers=(HYDRA,)), kind="mpiexec", config=MpiConfig()).plan
    assert (plan.mode, plan.type) == ("hybrid", "")


def refusal(seen: MpiImage, **more: Any) -> PlanError:
    with pytest.raises(PlanError) as caught:
        settled(seen, **more)
    return caught.value


def test_where_no_way_is_open_each_is_told_and_what_would_open_one() -> None:
    error = refusal(TRIXIE_OMPI, on=host(DEBIAN, launchers=(srun("pmi2"),)))
    lines = error.message.splitlines()
    assert "8 copies of the program would run" in lines[0]
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["hybrid", "bind", "container"]
    assert "rebuild the image with" in error.hint


def test_what_cannot_be_done_is_refused_even_if_asked_for() -> None:
    error = refusal(TRIXIE_OMPI, on=host(DEBIAN), mpi="bind")
    assert error.message.splitlines()[0] == "the host has no Open MPI, which the program is built with"
    assert "rebuild the image with" in error.hint


def test_wi4mpi_that_the_site_does_not_have_is_refused() -> None:
    error = refusal(TRIXIE, on=host(DEBIAN, launchers=(srun("none"),)), mpi="translate")
    assert error.message.splitlines()[0] == "the site has no Wi4MPI"


def test_what_is_asked_for_is_done_and_warned_of() -> None:
    made = settled(mpi="pmix")
    assert (made.plan.mode, made.plan.type) == ("hybrid", "pmix")
    assert [note.subject for note in made.notes] == ["mpi", "warning"]
    assert settled(mpi="none").together is False


def test_a_program_that_takes_either_is_wired_for_the_family_that_is_there() -> None:
    both = replace(program("libmpi.so.12", "libmpi.so.40", family="", symbols=()), kind="python", either=True)
    made = settled(replace(PYTHON, mpis=(), program=both), host(MPICH5))
    assert made.plan.env["LD_LIBRARY_PATH"].split(":")[1] == f"{WHEEL}/lib"
    assert made.plan.canary is not None
    assert (made.plan.canary.soname, made.plan.canary.family) == ("libmpi.so.12", "mpich")


# ----------------------------------------------------------------------------------- surroundings


def test_trap_one_user_namespace_a_rank_is_known_by_runtime_version_and_shape() -> None:
    def apart(**more: Any) -> bool:
        return "UCX_POSIX_USE_PROC_LINK" in settled(**more).plan.env

    assert not apart()
    assert apart(runtime=replace(APPTAINER, version="apptainer version 1.2.5"))
    assert apart(runtime=RuntimeConfig(kind="podman"), image=ImageFacts("/i/app", "directory"))
    charliecloud = RuntimeConfig(kind="charliecloud", version="0.38")
    assert not apart(runtime=charliecloud)
    assert apart(runtime=charliecloud, even=False)
    assert not apart(runtime=replace(APPTAINER, version="apptainer version 1.2.5"), shape=Shape(nodes=2, ntasks=2))


def test_charliecloud_s_spare_places_are_used_where_it_makes_none() -> None:
    old = RuntimeConfig(kind="charliecloud", version="0.31")
    plan = settled(runtime=old, image=replace(IMAGE, kind="squashfs", missing=("/mnt/2",))).plan
    assert [each.target for each in plan.binds] == ["/mnt/1", "/mnt/3"]


def test_the_recipe_of_the_site_is_taken_and_doubted() -> None:
    config = MpiConfig(bind=("/opt/mpi", "/usr/lib64:/host/lib64:ro"), env={"LD_LIBRARY_PATH": "/host/lib64"})
    made = settled(config=config)
    assert [(each.source, each.target) for each in made.plan.binds[1:]] == [
        ("/opt/mpi", "/opt/mpi"), ("/usr/lib64", "/host/lib64"),
    ]  # fmt: skip
    assert made.plan.env == {"LD_LIBRARY_PATH": "/host/lib64"}
    assert [note.subject for note in made.notes].count("warning") == 3


def test_the_library_for_gpu_memory_is_for_jobs_with_gpus() -> None:
    config = MpiConfig(gpu_library="/opt/gtl/libgtl.so")
    assert "LD_PRELOAD" not in settled(config=config).plan.env
    assert settled(config=config, shape=replace(TWO, gpus_per_node=1)).plan.env["LD_PRELOAD"] == "/opt/gtl/libgtl.so"


def test_wi4mpi_of_the_site_is_used() -> None:
    config = MpiConfig(wi4mpi="/opt/wi4mpi")
    plan = settled(TRIXIE_OMPI, host(INTEL_MPI, launchers=(srun("pmi2"),)), config=config).plan
    assert (plan.mode, plan.env["WI4MPI_ROOT"]) == ("translate", "/opt/wi4mpi")


# ---------------------------------------------------------------------------- the job's own variables


def test_variables_of_the_job_win_but_for_paths_of_libraries() -> None:
    made = settled(RPATH, host(INTEL_MPI), env={"LD_LIBRARY_PATH": "/mine"})
    assert made.plan.env["LD_LIBRARY_PATH"].split(":")[-2] == "/mine"
    merged = made.merged({"LD_LIBRARY_PATH": "/mine", "LD_PRELOAD": "/my.so", "I_MPI_ROOT": "/x", "A": "b"})
    assert merged["LD_LIBRARY_PATH"] == made.plan.env["LD_LIBRARY_PATH"]
    assert merged["LD_PRELOAD"] == f"{LINKS}/front/libmpi.so.12:/my.so"
    assert (merged["I_MPI_ROOT"], merged["A"]) == ("/x", "b")
    assert made.merged({})["LD_PRELOAD"] == f"{LINKS}/front/libmpi.so.12"
    own = {"LD_LIBRARY_PATH": "/mine", "LD_PRELOAD": "/my.so"}
    assert Settled().merged(own) == own


# ------------------------------------------------------------------------------- what was seen to work


def proof(seen: MpiImage = TRIXIE, on: MpiHost | None = None, **more: Any) -> str:
    return settled(seen, on, **more).plan.proven.rpartition("/")[2]


def test_what_was_seen_to_work_is_not_looked_at_again() -> None:
    plan = settle(job(), known(proven=frozenset({proof()}))).plan
    assert (plan.canary, plan.proven) == (None, "")
    assert plan.links
    assert plan.folder
    # Hybrid nothing is left to be shown then.
    hybrid = settle(job(), known(on=host(), proven=frozenset({proof(on=host())}))).plan
    assert (hybrid.folder, hybrid.binds) == ("", ())


def test_what_was_seen_to_work_is_for_that_image_way_and_launcher() -> None:
    rebuilt = replace(host(DEBIAN), libraries=tuple(replace(each, build_id="99") for each in host().libraries))
    names = [
        proof(), proof(image=replace(IMAGE, digest="sha256:9")), proof(on=rebuilt), proof(mpi="hybrid"),
        proof(kind="mpiexec", on=host(DEBIAN, launchers=(HYDRA,))), proof(env={"LD_LIBRARY_PATH": "/x"}),
        proof(replace(TRIXIE, program=replace(program("libmpich.so.12"), path="/other"))),
        proof(runtime=replace(APPTAINER, kind="singularity")),
    ]  # fmt: skip
    assert len(set(names)) == len(names)
    assert proof(time=None) == proof()


@pytest.mark.parametrize(
    ("more", "looked"),
    [
        ({"mpi_check": "always"}, True), ({"config": MpiConfig(check="always")}, True), ({"mpi_check": "never"}, False),
        ({"config": MpiConfig(check="never")}, False), ({"image": replace(IMAGE, digest="")}, True),
    ],
)  # fmt: skip
def test_it_is_looked_at_always_or_never_if_wanted(more: dict[str, Any], looked: bool) -> None:
    plan = settle(job(**more), known(proven=frozenset({proof()}))).plan
    assert (plan.canary is not None, plan.proven) == (looked, "")


def test_a_recipe_of_files_that_are_looked_at_needs_its_folder_without_a_guard() -> None:
    config = MpiConfig(bind=(LIB,), env={"LD_LIBRARY_PATH": "/x"}, check="never")
    plan = settled(config=config).plan
    assert plan.folder
    # Nothing in it is for the container.
    assert plan.binds == (Bind(LIB, LIB),)


def test_without_a_guard_it_is_said_why() -> None:
    static = replace(TRIXIE, mpis=(), program=program(static=True))
    made = settled(static, host())
    assert made.notes[-1].subject == "check"
    assert "static" in made.notes[-1].why
    assert made.plan.folder == ""


def test_nothing_known_nothing_changed() -> None:
    assert Settled().plan == MpiPlan()
    assert not Settled().together


# --------------------------------------------------------------------------------- the site's own ways


def test_an_image_by_name_is_left_to_the_option_of_the_runtime() -> None:
    config = MpiConfig(runtime_option="--module=mpich", default="pmi2")
    shifter = RuntimeConfig(kind="shifter")
    by_name = ImageFacts("docker://app:1.0", "reference", source="docker://app:1.0")
    unseen = Known(MpiImage(path="docker://app:1.0"), None, FOLDER)
    made = settle(job(runtime=shifter, image=by_name, config=config), unseen)
    assert (made.plan.mode, made.plan.type) == ("site", "pmi2")
    assert made.plan.warnings == ("whether the program is built with MPICH, as that needs, was not seen",)


def test_the_option_is_of_runtimes_that_have_one() -> None:
    config = MpiConfig(runtime_option="--mpi")
    assert question(job(config=config), known()).flag == ""
    assert question(job(config=config, runtime=RuntimeConfig(kind="sarus")), known()).flag == "--mpi"


@pytest.mark.parametrize(
    ("own", "gpus", "option"),
    [
        ({}, 0, "--module=mpich"),
        ({"mpi_option": "--module=m2"}, 0, "--module=m2"),
        ({"mpi_option": "--module=m2"}, 1, "--module=m2"),
        ({"mpi_gpu_option": "--module=cuda-mpich"}, 0, "--module=mpich"),
        ({"mpi_option": "--module=m2", "mpi_gpu_option": "--module=cuda-mpich"}, 1, "--module=cuda-mpich"),
    ],
)
def test_the_option_of_the_runtime_wins_over_the_site_s(own: dict[str, str], gpus: int, option: str) -> None:
    shifter = RuntimeConfig(kind="shifter", **own)  # type: ignore[arg-type]
    config = MpiConfig(runtime_option="--module=mpich")
    made = job(config=config, runtime=shifter, shape=replace(TWO, gpus_per_node=gpus))
    assert question(made, known()).flag == option
    assert runtime_option(made.site, replace(shifter, kind="apptainer"), gpus=gpus > 0) == ""


def test_what_was_proven_with_one_option_is_not_proven_with_another() -> None:
    shifter = RuntimeConfig(kind="shifter", mpi_option="--module=mpich", mpi_gpu_option="--module=cuda-mpich")
    on_gpus = replace(TWO, gpus_per_node=1)
    assert proof(runtime=shifter) != proof(runtime=shifter, shape=on_gpus)
    assert proof() == proof(shape=on_gpus)


def test_variables_of_the_site_come_with_the_host_s_mpi_alone() -> None:
    config = MpiConfig(
        env={"MPICH_SMP_SINGLE_COPY_MODE": "NONE", "I_MPI_ROOT": "/mine", "LD_LIBRARY_PATH": "/opt/rocm/lib"}
    )
    bound = settled(RPATH, host(INTEL_MPI), config=config).plan.env
    assert (bound["MPICH_SMP_SINGLE_COPY_MODE"], bound["I_MPI_ROOT"]) == ("NONE", "/mine")
    ours = settled(RPATH, host(INTEL_MPI)).plan.env["LD_LIBRARY_PATH"].split(":")
    assert bound["LD_LIBRARY_PATH"].split(":") == [*ours[:-1], "/opt/rocm/lib", ours[-1]]
    assert "MPICH_SMP_SINGLE_COPY_MODE" not in settled(on=host(), config=config).plan.env
    # The job's own win.
    made = settled(RPATH, host(INTEL_MPI), config=config)
    assert made.merged({"MPICH_SMP_SINGLE_COPY_MODE": "CMA"})["MPICH_SMP_SINGLE_COPY_MODE"] == "CMA"


def test_the_kinds_that_the_site_names_win_over_those_that_srun_lists() -> None:
    pmix = host(DEBIAN, launchers=(srun("none", "pmi2", "pmix"),))
    assert settled(TRIXIE, pmix, config=MpiConfig(types=("pmi2",))).plan.type == "pmi2"
    with pytest.raises(PlanError, match="srun offers pmi2"):
        settled(TRIXIE_OMPI, pmix, config=MpiConfig(types=("pmi2",)))


def test_a_program_that_is_nowhere_is_told_of() -> None:
    made = settled(replace(TRIXIE, program=replace(program(), path="./nosuch", kind="missing", family="")))
    assert "./nosuch is not found in the image or in what is shown there" in made.plan.warnings[0]


def test_what_was_proven_on_one_node_is_not_proven_on_two() -> None:
    one = Shape(nodes=1, ntasks=4, ntasks_per_node=4)
    assert settled().plan.proven != settled(shape=one).plan.proven


def test_a_recipe_keeps_its_variables_and_what_is_read_only() -> None:
    config = MpiConfig(bind=("$MPI_ROOT:/mpi:ro", LIB), env={"LD_LIBRARY_PATH": "/mpi/lib"})
    binds = settled(config=config).plan.binds
    assert Bind("$MPI_ROOT", "/mpi", readonly=True, expand=True) in binds
    assert Bind(LIB, LIB) in binds


def test_the_launcher_does_not_see_where_a_bound_mpi_is_inside() -> None:
    from hpcjobs import containers
    from hpcjobs.model import ContainerRequest

    made = settled(TRIXIE_OMPI, host(OMPI5), mpi="bind")
    names = frozenset(made.plan.env)
    assert {"LD_LIBRARY_PATH", "OPAL_PREFIX"} <= names
    for kind in ("charliecloud", "podman"):
        asked = ContainerRequest(IMAGE, ("./solve",), "/work", env=made.merged({"A": "1"}), inside=names)
        wrapped = containers.wrap(runtimes.get(RuntimeConfig(kind=kind, version="0.38")), asked)
        assert set(wrapped.env) == {"A"}
