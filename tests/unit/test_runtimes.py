from __future__ import annotations

from dataclasses import replace

import pytest

from hpcjobs import launchers, plan, render, runtimes, shell
from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.model import (
    Bind,
    ContainerRequest,
    HostFacts,
    ImageFacts,
    Invocation,
    JobSpec,
    LauncherConfig,
    RuntimeConfig,
    SchedulerConfig,
    Site,
)

REQUEST = ContainerRequest(ImageFacts("/i/app.sif", "sif"), ("./app", "a b"), "/work")


def command(kind: str, request: ContainerRequest, **config: object) -> str:
    invocation = runtimes.get(replace(RuntimeConfig(kind=kind), **config)).wrap(request)  # type: ignore[arg-type]
    return shell.join((*invocation.argv, *invocation.program))


def test_no_runtime_runs_the_program_itself() -> None:
    invocation = runtimes.get(RuntimeConfig()).wrap(
        replace(REQUEST, env={"A": "1"}, binds=(Bind("/s", "/s", expand=True),))
    )
    assert invocation == Invocation(argv=(), program=("./app", "a b"), env={"A": "1"})


def test_apptainer() -> None:
    assert command("apptainer", REQUEST) == "apptainer exec --bind /work --pwd /work /i/app.sif ./app 'a b'"


def test_singularity_is_the_same_by_another_name() -> None:
    config = RuntimeConfig(kind="singularity", command="/opt/singularity", options=("--no-home",))
    invocation = runtimes.get(config).wrap(replace(REQUEST, env={"A": "1,2"}))
    assert invocation.argv == (
        "/opt/singularity", "exec", "--bind", "/work", "--pwd", "/work", "--no-home", "/i/app.sif",
    )  # fmt: skip
    assert invocation.env == {"SINGULARITYENV_A": "1,2"}


@pytest.mark.parametrize(
    ("bind", "options"),
    [
        (Bind("/d", "/d"), "--bind /d"),
        (Bind("/d", "/e"), "--bind /d:/e"),
        (Bind("/d", "/d", readonly=True), "--bind /d:/d:ro"),
        (Bind("/s/$USER", "/s", expand=True), '--bind "/s/$USER:/s"'),
        (Bind("/s/$USER", "/s"), "--bind '/s/$USER:/s'"),
        (Bind("/a,b", "/a,b"), """--mount 'type=bind,"source=/a,b","destination=/a,b"'"""),
        (Bind("/a:b", "/c", readonly=True), "--mount type=bind,source=/a:b,destination=/c,ro"),
        (Bind('/a"b', "/c"), """--mount 'type=bind,"source=/a""b",destination=/c'"""),
    ],
)
def test_apptainer_binds(bind: Bind, options: str) -> None:
    line = command("apptainer", replace(REQUEST, binds=(bind,)))
    assert line == f"apptainer exec {options} --bind /work --pwd /work /i/app.sif ./app 'a b'"


def test_apptainer_does_not_bind_the_working_directory_twice() -> None:
    line = command("apptainer", replace(REQUEST, binds=(Bind("/work", "/work"),)))
    assert line.count("--bind") == 1


@pytest.mark.parametrize(("gpu", "option"), [("nvidia", " --nv "), ("amd", " --rocm "), ("intel", " "), ("none", " ")])
def test_apptainer_gpus(gpu: str, option: str) -> None:
    assert f"exec{option}--bind" in command("apptainer", replace(REQUEST, gpu=gpu))


# ------------------------------------------------------------------------------------ charliecloud

SQUASHFS = replace(REQUEST, image=ImageFacts("/i/app.sqfs", "squashfs"))
CH_RUN = "--unset-env=LD_LIBRARY_PATH /i/app.sqfs -- ./app 'a b'"


def lacking(*targets: str) -> ContainerRequest:
    return replace(SQUASHFS, image=replace(SQUASHFS.image, missing=targets))


def test_charliecloud() -> None:
    assert command("charliecloud", SQUASHFS) == f"ch-run -b /work:/work -c /work {CH_RUN}"


def test_charliecloud_sets_the_user_that_it_needs_and_passes_variables() -> None:
    invocation = runtimes.get(RuntimeConfig(kind="charliecloud")).wrap(replace(SQUASHFS, env={"A": "1"}))
    assert invocation.env == {"A": "1"}
    assert invocation.setup == ('export USER="${USER:-$(id -un)}"',)


@pytest.mark.parametrize("workdir", ["/tmp", "/tmp/run", "/data/run"])
def test_charliecloud_binds_what_is_not_there_already(workdir: str) -> None:
    request = replace(SQUASHFS, workdir=workdir, binds=(Bind("/d", "/data"), Bind("/tmp/x", "/tmp/x")))
    assert command("charliecloud", request) == f"ch-run -b /d:/data -c {workdir} {CH_RUN}"


def test_charliecloud_puts_the_working_directory_where_the_image_has_a_place() -> None:
    invocation = runtimes.get(RuntimeConfig(kind="charliecloud")).wrap(lacking("/work"))
    assert shell.join(invocation.argv).startswith("ch-run -b /work:/mnt/0 -c /mnt/0 ")
    assert invocation.notes == ("the working directory is /mnt/0 in the container, which has no /work",)


def test_charliecloud_makes_places_from_0_38_on() -> None:
    line = command("charliecloud", lacking("/work", "/mnt/0"), version="0.38")
    assert line == f"ch-run -W -b /work:/work -c /work {CH_RUN}"


def test_charliecloud_refuses_a_bind_without_a_place() -> None:
    with pytest.raises(PlanError, match="has no /work to bind /work to") as caught:
        command("charliecloud", lacking("/work", "/mnt/0"))
    assert "/mnt/0" in caught.value.hint


@pytest.mark.parametrize(
    ("bind", "message"),
    [(Bind("/d", "/e", readonly=True), "cannot bind /d read-only"), (Bind("/a:b", "/e"), "a path with a colon")],
)
def test_charliecloud_refuses(bind: Bind, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        command("charliecloud", replace(SQUASHFS, binds=(bind,)))
    assert caught.value.hint


def test_charliecloud_expands_binds_of_the_site() -> None:
    line = command("charliecloud", replace(SQUASHFS, binds=(Bind("/s/$USER", "/s", expand=True),)))
    assert '-b "/s/$USER:/s"' in line


def test_charliecloud_applies_the_environment_of_the_image_and_then_the_job_s() -> None:
    image = replace(SQUASHFS.image, environment=True)
    assert "--unset-env=LD_LIBRARY_PATH --set-env /i" in command("charliecloud", replace(SQUASHFS, image=image))
    line = command("charliecloud", replace(SQUASHFS, image=image, env={"LD_LIBRARY_PATH": "$a b"}))
    assert "--set-env --env-no-expand " in line
    assert shell.quote("--set-env=LD_LIBRARY_PATH='$a b'") in line
    assert "--unset-env" not in line


def test_charliecloud_keeps_a_library_path_of_the_job() -> None:
    assert "--unset-env" not in command("charliecloud", replace(SQUASHFS, env={"LD_LIBRARY_PATH": "/x"}))


def test_charliecloud_joins_the_ranks_of_a_node() -> None:
    line = command("charliecloud", replace(SQUASHFS, ntasks_per_node=4))
    assert '--join-ct=4 --join-tag="hpcjob.$HPCJOB_NATIVE_ID.${HPCJOB_ARRAY_INDEX:-}"' in line


def test_charliecloud_does_not_wait_for_ranks_that_may_not_come() -> None:
    invocation = runtimes.get(RuntimeConfig(kind="charliecloud")).wrap(replace(SQUASHFS, ntasks_per_node=4, even=False))
    assert "--join" not in shell.join(invocation.argv)
    assert "add -N" in invocation.notes[0]


# ---------------------------------------------------------------------------------------- registry


def test_unknown_runtime() -> None:
    with pytest.raises(NotFoundError, match="no container runtime 'apptainr'") as caught:
        runtimes.get(RuntimeConfig(kind="apptainr"))
    assert caught.value.hint == "did you mean apptainer?"


def test_programs() -> None:
    found = {kind: runtimes.program(RuntimeConfig(kind=kind)) for kind in runtimes.names()}
    assert found == {
        "none": "", "apptainer": "apptainer", "singularity": "singularity", "charliecloud": "ch-run", "podman": "podman",
        "podman-hpc": "podman-hpc", "docker": "docker", "shifter": "shifter", "sarus": "sarus", "pyxis": "", "ce": "",
    }  # fmt: skip
    assert runtimes.program(RuntimeConfig(kind="apptainer", command="/opt/apptainer")) == "/opt/apptainer"


# ---------------------------------------------------------------- runtimes that are not a prefix


def script(kind: str, image: ImageFacts, launcher: str = "srun") -> str:
    site = Site(
        name="s",
        scheduler=SchedulerConfig(kind="slurm"),
        launcher=LauncherConfig(kind=launcher),
        runtimes=(RuntimeConfig(kind=kind),),
    )
    spec = JobSpec(command=("./app",), nodes=2, bind=("/data:/d",), env={"A": "1"}, workdir="/w")
    runtime = runtimes.get(plan.choose_runtime(spec, site, image))
    made = plan.resolve(
        spec,
        site,
        image,
        HostFacts("/w", folder="/f"),
        runtime=runtime,
        launcher=launchers.get(plan.choose_launcher(spec, site)),
    )
    return render.render(made, template="builtin/slurm").text


SQSH = ImageFacts("/i/app.sqsh", "squashfs")
UBUNTU = ImageFacts("docker://ubuntu@sha256:12", "reference", source="docker://ubuntu:24.04@sha256:12")


def test_a_runtime_that_is_options_of_the_launcher() -> None:
    text = script("pyxis", SQSH)
    assert (
        "srun --ntasks=2 --cpu-bind=cores --container-image=/i/app.sqsh --container-mounts=/data:/d,/w:/w "
        "--container-workdir=/w --container-env=OMP_NUM_THREADS,A \\\n    ./app ||"
    ) in text
    assert "\nexport A=1\n" in text


def test_a_runtime_that_needs_srun_says_so() -> None:
    with pytest.raises(PlanError, match="through srun only"):
        script("pyxis", SQSH, "mpiexec")


def test_a_runtime_that_is_directives() -> None:
    text = script("shifter", UBUNTU)
    assert "#SBATCH --image=docker:ubuntu:24.04\n#SBATCH --volume=/data:/d\n" in text
    assert "\n    shifter --workdir=/w --env=OMP_NUM_THREADS=1 --env=A=1 \\\n    ./app ||" in text
    assert "[[ -r" not in text
