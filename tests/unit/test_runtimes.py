from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hpcjobs import launchers, plan, render, runtimes, shell
from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.model import (
    Bind,
    ContainerRequest,
    HostFacts,
    ImageFacts,
    ImageKey,
    Invocation,
    JobSpec,
    LauncherConfig,
    Overlay,
    RuntimeConfig,
    SchedulerConfig,
    Site,
)
from hpcjobs.units import Memory

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_charliecloud_leaves_out_what_may_be_left_out() -> None:
    request = lacking("/d", "/work")
    binds = (Bind("/d", "/d", optional=True), Bind("$LIST", "$LIST", expand=True, optional=True))
    assert command("charliecloud", replace(request, binds=binds)) == f"ch-run -b /work:/mnt/0 -c /mnt/0 {CH_RUN}"
    newer = command("charliecloud", replace(request, binds=binds), version="0.38")
    assert newer == f"ch-run -W -b /d:/d -b /work:/work -c /work {CH_RUN}"


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
        "srun --ntasks=2 --cpu-bind=cores --container-image=/i/app.sqsh --container-mounts=/data:/d,/w:/w \\\n"
        "      --container-workdir=/w --container-env=OMP_NUM_THREADS,A \\\n    ./app ||"
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


# --------------------------------------------------------------- apptainer: layers, keys, instances

KEYED = replace(REQUEST, program=("./app",))


def wrapped(kind: str, request: ContainerRequest, **config: object) -> Invocation:
    return runtimes.get(replace(RuntimeConfig(kind=kind), **config)).wrap(request)  # type: ignore[arg-type]


def test_copies_without_mpi_have_a_container_each() -> None:
    ranks = replace(KEYED, key=None, ntasks=4, ntasks_per_node=4, launcher="srun")
    joined, apart = (wrapped("charliecloud", each).argv for each in (ranks, replace(ranks, apart=True)))
    assert "--join-ct=4" in joined
    assert not [word for word in apart if word.startswith("--join")]


def test_apptainer_with_everything() -> None:
    request = replace(
        KEYED,
        gpu="nvidia",
        app="solve",
        writable=True,
        container_workdir="/opt",
        entrypoint=True,
        overlays=(Overlay("/o", is_folder=True, readonly=True), Overlay("/b.img", readonly=True)),
    )
    assert command("apptainer", request, options=("--cleanenv",)) == (
        "apptainer run --nv --bind /work --pwd /opt --writable-tmpfs --overlay /o:ro --overlay /b.img:ro --app solve "
        "--cleanenv /i/app.sif ./app"
    )


@pytest.mark.parametrize(
    ("overlay", "line"),
    [
        (Overlay("/o'o", is_folder=True), "mkdir -p '/o'\"'\"'o'"),
        (Overlay("/o", is_folder=True, readonly=True), ""),
        (Overlay("/a.img"), "[[ -w /a.img ]] || hpcjob_stop 66 there is no overlay /a.img to write to"),
        (
            Overlay("/a.img", size=Memory.parse("2G")),
            "[[ -e /a.img ]] || apptainer overlay create --sparse --size 2048 /a.img",
        ),
        (
            Overlay("/a.img", size=Memory.parse("1M")),
            "[[ -e /a.img ]] || apptainer overlay create --sparse --size 64 /a.img",
        ),
    ],
)
def test_apptainer_makes_the_layer_that_is_missing(overlay: Overlay, line: str) -> None:
    setup = wrapped("apptainer", replace(KEYED, overlays=(overlay,))).setup
    assert setup == ((line,) if line else ())


@pytest.mark.parametrize(
    ("kind", "key", "env"),
    [
        ("apptainer", ImageKey("pem", file="/k.pem"), {"APPTAINER_ENCRYPTION_PEM_PATH": "/k.pem"}),
        ("singularity", ImageKey("pem", file="/k.pem"), {"SINGULARITY_ENCRYPTION_PEM_PATH": "/k.pem"}),
        ("apptainer", ImageKey("passphrase", file="/a b"), {"APPTAINER_ENCRYPTION_PASSPHRASE": "\"$(<'/a b')\""}),
        ("apptainer", ImageKey("passphrase", variable="P"),
         {"APPTAINER_ENCRYPTION_PASSPHRASE": '"${P:?it is to hold the passphrase of the image}"'}),
    ],
)  # fmt: skip
def test_the_script_has_the_place_of_a_key_and_never_the_key(kind: str, key: ImageKey, env: dict[str, str]) -> None:
    assert wrapped(kind, replace(KEYED, key=key)).env == env


def test_an_instance_is_started_stopped_and_entered() -> None:
    invocation = wrapped("apptainer", replace(KEYED, program=(), instance="db_1"))
    assert invocation.argv == ("apptainer", "instance", "start", "--bind", "/work", "/i/app.sif", "db_1")
    assert invocation.stop == ("apptainer", "instance", "stop", "db_1")
    assert invocation.enter == ("apptainer", "exec", "instance://db_1")


@pytest.mark.parametrize(
    ("version", "prefix"), [("apptainer 1.3", "APPTAINER"), ("singularity-ce 4", "SINGULARITY"), ("", "SINGULARITY")]
)
def test_singularity_may_be_apptainer(version: str, prefix: str) -> None:
    assert wrapped("singularity", replace(KEYED, env={"A": "1"}), version=version).env == {f"{prefix}ENV_A": "1"}


def test_charliecloud_before_0_38_has_no_writable_layer() -> None:
    with pytest.raises(PlanError, match=r"ch-run before 0\.38 has no writable layer") as caught:
        command("charliecloud", replace(SQUASHFS, writable=True))
    assert "--runtime apptainer" in caught.value.hint
    with pytest.raises(PlanError, match=r"ch-run 0\.37 has no writable layer"):
        command("charliecloud", replace(SQUASHFS, writable=True), version="0.37")
    line = command("charliecloud", replace(SQUASHFS, writable=True, container_workdir="/opt"), version="0.39")
    assert line == f"ch-run -W -b /work:/work -c /opt {CH_RUN}"


# ------------------------------------------------------------------ podman, podman-hpc and docker

BY_NAME = replace(
    REQUEST,
    image=ImageFacts("docker://docker.io/library/a@sha256:12", "reference"),
    program=("./app",),
    folder="/jobs/7",
)
STORES = ("podman", "podman-hpc", "docker")


def words(kind: str, request: ContainerRequest = BY_NAME, **config: object) -> list[str]:
    """What stands before the program."""
    return [str(word) for word in wrapped(kind, request, **config).argv]


@pytest.mark.parametrize("kind", STORES)
def test_stores_are_given_the_name_and_the_working_directory(kind: str) -> None:
    found = words(kind, options=("--more",))
    assert found[-1] == "docker.io/library/a@sha256:12"
    assert found.index("--more") < len(found) - 1
    assert " ".join(found).count("-v /work:/work -w /work") == 1
    bound = replace(
        BY_NAME, binds=(Bind("/x", "/work"), Bind("/r", "/r", readonly=True), Bind("/s/$USER", "/s", expand=True))
    )
    line = " ".join(words(kind, bound))
    assert '-v /x:/work -v /r:/r:ro -v "/s/$USER:/s" -w /work' in line
    assert "-w /opt" in " ".join(words(kind, replace(BY_NAME, container_workdir="/opt")))


@pytest.mark.parametrize("kind", STORES)
def test_stores_cannot_bind_a_path_with_a_colon(kind: str) -> None:
    with pytest.raises(PlanError, match="a path with a colon cannot be bound: /a:b") as caught:
        words(kind, replace(BY_NAME, binds=(Bind("/a:b", "/c"),)))
    assert caught.value.hint == "use another folder"


@pytest.mark.parametrize("kind", STORES)
def test_variables_are_named_and_exported(kind: str) -> None:
    invocation = wrapped(kind, replace(BY_NAME, env={"A": "x, 'y'", "B": ""}))
    assert invocation.env == {"A": "x, 'y'", "B": ""}
    assert {"--env=A", "--env=B"} <= {str(word) for word in invocation.argv}
    assert not any("x, " in str(word) for word in invocation.argv)


@pytest.mark.parametrize("kind", STORES)
def test_the_entrypoint_of_the_image_is_emptied_unless_it_is_asked_for(kind: str) -> None:
    assert "--entrypoint=" in words(kind)
    assert "--entrypoint=" not in words(kind, replace(BY_NAME, entrypoint=True))


@pytest.mark.parametrize(
    ("kind", "gpu", "options"),
    [
        ("podman", "nvidia", "--device nvidia.com/gpu=all"),
        ("podman-hpc", "nvidia", "--gpu"),
        ("docker", "nvidia", "--gpus all"),
        *((kind, "amd", "--device /dev/kfd --device /dev/dri") for kind in STORES),
        *((kind, "intel", "--device /dev/dri") for kind in STORES),
    ],
)
def test_gpus_of_stores(kind: str, gpu: str, options: str) -> None:
    assert f" {options} " in " ".join(words(kind, replace(BY_NAME, gpu=gpu)))
    assert " --gpu" not in " ".join(words(kind))
    assert "--device" not in words(kind)


def test_podman_gets_the_image_on_each_node_and_runs_folders() -> None:
    assert wrapped("podman", BY_NAME).node_setup == (("podman", "pull", "--quiet", "docker.io/library/a@sha256:12"),)
    assert wrapped("podman", BY_NAME, command="/opt/podman").node_setup[0][0] == "/opt/podman"
    folder = wrapped("podman", replace(BY_NAME, image=ImageFacts("/i/app", "directory")))
    assert folder.node_setup == ()
    assert folder.argv[-2:] == ("--rootfs", "/i/app:O")


def test_podman_shows_the_environment_of_the_host_unless_it_is_to_be_clean() -> None:
    assert "--env=LD_LIBRARY_PATH" in words("podman", replace(BY_NAME, env={"LD_LIBRARY_PATH": "/x"}))
    clean = replace(BY_NAME, clean_env=True)
    assert {"--env=SLURM*", "--env=PMIX*"} <= set(words("podman", clean))
    assert "compgen" not in wrapped("podman", clean).functions["hpcjob_podman"]


def test_podman_s_images_keep_their_own_path(tmp_path: Path) -> None:
    _, _, said = podman(tmp_path, "export LD_LIBRARY_PATH=/x NOTE='two\nlines'")
    named = re.findall(r" --env=(\S+)", said)
    assert {"NOTE", "HOME"} <= set(named)
    assert not {"PATH", "LD_LIBRARY_PATH"} & set(named)


@pytest.mark.parametrize("kind", ["apptainer", "singularity"])
def test_apptainer_refuses_another_home(kind: str) -> None:
    with pytest.raises(PlanError, match=f"{kind} sets HOME itself, and refuses another") as caught:
        wrapped(kind, replace(REQUEST, env={"HOME": "/opt"}))
    assert "options: [--home, /opt]" in caught.value.hint


def test_podman_passes_on_what_hpcjob_and_the_site_say_also_to_a_clean_environment() -> None:
    request = replace(BY_NAME, passed=("HPCJOB_NATIVE_ID", "SITE_LICENCE"), env={"A": "1"})
    clean = words("podman", replace(request, clean_env=True))
    assert {"--env=HPCJOB_*", "--env=SITE_LICENCE", "--env=A"} <= set(clean)
    assert "--env=HPCJOB_NATIVE_ID" not in clean
    assert "--env=SITE_LICENCE" not in words("podman", request), "it has all of the host's"


@pytest.mark.parametrize("kind", ["docker", "podman-hpc"])
def test_runtimes_that_pass_on_only_what_is_named(kind: str) -> None:
    found = words(kind, replace(BY_NAME, passed=("HPCJOB_NATIVE_ID", "SITE_LICENCE"), env={"A": "1"}))
    assert [word for word in found if word.startswith("--env=")] == [
        "--env=HPCJOB_NATIVE_ID", "--env=SITE_LICENCE", "--env=A",
    ]  # fmt: skip


# Says what it was given; the container of `run` reads the descriptor that ranks find each other by.
PODMAN = """#!/bin/sh
echo "$@" >>"$0.said"
if [ "$1" = run ]; then cat <&3; cat; exit 7; fi
[ "$1" != container ]
"""


def podman(tmp_path: Path, before: str = "") -> tuple[str, int, str]:
    """What comes out of the exported function, its exit code, and what podman was told."""
    tool = tmp_path / "podman"
    tool.write_text(PODMAN)
    tool.chmod(0o755)
    script = f'HOSTNAME=n1\n{functions()}{before}\nbash -c \'hpcjob_podman "$@"\' x "$0" run "a b"'
    done = subprocess.run(
        ["bash", "-c", script, str(tool)], input="in\n", capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stderr == ""
    return done.stdout, done.returncode, Path(f"{tool}.said").read_text()


def functions() -> str:
    """Those that a script with Podman defines."""
    found = wrapped("podman", BY_NAME).functions
    return "".join(f"{name}() {{\n{body}\n}}\nexport -f {name}\n" for name, body in found.items())


def test_podman_is_run_by_a_function_that_the_script_exports(tmp_path: Path) -> None:
    assert words("podman")[:5] == ["bash", "-c", 'hpcjob_podman "$@"', "hpcjob", "podman"]
    out, code, said = podman(tmp_path)
    assert (out, code) == ("in\n", 7)
    said = re.sub(r" --env=\w+", "", said)
    assert re.fullmatch(r"run --name hpcjob-\S+-\d+ --log-driver=passthrough --preserve-fds=1 a b\n", said)


def test_podman_hands_on_the_descriptor_by_which_ranks_find_each_other(tmp_path: Path) -> None:
    out, code, _ = podman(tmp_path, "exec 5< <(echo cmd=init); export PMI_FD=5")
    assert (out, code) == ("cmd=init\nin\n", 7)


def test_podman_copies_what_a_terminal_is_to_get_and_hands_on_all_other_streams(tmp_path: Path) -> None:
    tool = tmp_path / "podman"
    tool.write_text(PODMAN)
    tool.chmod(0o755)
    terminal = ["script", "--quiet", "--return", "--command", f'hpcjob_podman "{tool}" run', "/dev/null"]
    started = f'{functions()}exec "$@"'
    done = subprocess.run(
        ["bash", "-c", started, "x", *terminal], env={**os.environ, "SHELL": "/bin/bash"}, check=False
    )
    assert done.returncode == 7
    assert "--log-driver=none" in Path(f"{tool}.said").read_text()


# `run` starts a container and ends when it is told to; the container is there until `stop`, which ends the test.
LASTING = """#!/bin/sh
here=${0%/*}
case $1 in
  run) echo up && read -r code <"$here/end" && exit "$code" ;;
  container) exit "$(cat "$here/exists")" ;;
  stop | kill) echo "$@" >"$here/said" ;;
esac
"""


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A wrapper, in a group of its own, whose `podman run` waits for a word in the pipe "end"; "said" is a pipe too."""
    tool = tmp_path / "podman"
    tool.write_text(LASTING)
    tool.chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    for name in ("end", "said"):
        os.mkfifo(tmp_path / name)
    script = f'HOSTNAME=n1 PATH={tmp_path}:$PATH\n{functions()}hpcjob_podman "$0" run'
    with subprocess.Popen(
        ["bash", "-c", script, str(tool)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        while not _watched(str(tool)):  # or the end of all would find it on its way
            time.sleep(0.01)
        yield process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _watched(tool: str) -> bool:
    """Whether there is the process that waits for the end, in a session of its own."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[0] == "bash" and words[2:3] and words[2].startswith("read -r") and tool in words:
                return True
    return False


TOLD = r"stop --time 30 hpcjob-n1-\d+\n"


def test_podman_is_told_to_stop_its_container_by_who_is_no_child_of_the_job(
    lasting: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    lasting.terminate()
    assert re.fullmatch(TOLD, (tmp_path / "said").read_text())
    lasting.terminate()  # schedulers say it twice
    (tmp_path / "end").write_text("9\n")
    assert lasting.wait() == 9
    assert lasting.stdout
    assert lasting.stdout.read() == b""


@pytest.mark.parametrize("name", ["HUP", "USR1", "USR2"])
def test_podman_hands_on_a_signal_that_ends_nothing_by_itself(
    lasting: subprocess.Popen[bytes], tmp_path: Path, name: str
) -> None:
    lasting.send_signal(getattr(signal, f"SIG{name}"))
    assert re.fullmatch(rf"kill --signal={name} hpcjob-n1-\d+\n", (tmp_path / "said").read_text())
    (tmp_path / "exists").write_text("1\n")
    (tmp_path / "end").write_text("9\n")
    assert lasting.wait() == 9
    assert lasting.stdout
    assert lasting.stdout.read() == b""


def test_podman_is_told_so_also_when_nobody_could_hear_the_signal(
    lasting: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    os.killpg(lasting.pid, signal.SIGKILL)
    assert re.fullmatch(TOLD, (tmp_path / "said").read_text())


def test_podman_is_told_so_when_it_says_that_all_went_well_and_its_container_is_there(
    lasting: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (tmp_path / "exists").write_text("0\n")
    (tmp_path / "end").write_text("0\n")
    assert lasting.wait() == 0
    assert re.fullmatch(TOLD, (tmp_path / "said").read_text())


def test_docker_s_container_is_labelled_and_removed_at_the_end(tmp_path: Path) -> None:
    found = wrapped("docker", replace(BY_NAME, folder="/jobs/j7"))
    assert "--init" in found.argv
    assert '--label=hpcjob=j7".${HPCJOB_ARRAY_INDEX:-}"' in shell.join(found.argv)
    tool = tmp_path / "docker"
    tool.write_text('#!/bin/sh\necho "$@" >>"$0.said"\n[ "$1" != ps ] || [ "$5" != label=hpcjob=j7.3 ] || echo c1 c2\n')
    tool.chmod(0o755)
    for index in ("3", "4"):
        subprocess.run(
            ["bash", "-c", shell.join(found.cleanup)],
            check=True,
            env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HPCJOB_ARRAY_INDEX": index},
        )
    ps = "ps --all --quiet --filter label=hpcjob=j7"
    assert Path(f"{tool}.said").read_text() == f"{ps}.3\nrm --force c1 c2\n{ps}.4\n", "none of its own, none removed"


@pytest.mark.parametrize(
    ("mpi", "module"),
    [("pmi2", "--openmpi-pmi2"), ("pmix", "--openmpi-pmix"), ("cray_shasta", "--mpi"), ("", "--openmpi-pmi2")],
)
def test_podman_hpc_shares_one_container_a_node(mpi: str, module: str) -> None:
    found = words("podman-hpc", replace(BY_NAME, ntasks=4, launcher="srun", mpi=mpi))
    assert (found[1], module in found, "--" in found) == ("shared-run", True, False)
    alone = words("podman-hpc", replace(BY_NAME, mpi=mpi))
    assert (alone[1], module in alone, alone[-2]) == ("run", False, "--")


def test_docker_refuses_ranks_that_the_plan_did_not_count() -> None:
    with pytest.raises(PlanError, match="docker cannot do what 4 ranks asks for: several ranks") as caught:
        words("docker", replace(BY_NAME, ntasks=4))
    assert "mpirun" in caught.value.hint
    assert '"$(id -u):$(id -g)"' in words("docker")


# ----------------------------------------------------------------------- shifter, sarus, pyxis, ce

TAGGED = replace(BY_NAME, image=replace(BY_NAME.image, source="docker://docker.io/library/a:1@sha256:12"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("docker://docker.io/library/a:1@sha256:12", "library/a:1"),
        ("docker://ghcr.io/o/a:1", "ghcr.io/o/a:1"),
        ("docker://host:5000/a:1@sha256:12", "host:5000/a:1"),
    ],
)
def test_shifter_knows_images_by_tag(source: str, name: str) -> None:
    image = replace(TAGGED.image, source=source)
    assert wrapped("shifter", replace(TAGGED, image=image)).directives == (f"--image=docker:{name}",)


@pytest.mark.parametrize("source", ["docker://docker.io/library/a@sha256:12", "docker://host:5000/a@sha256:12"])
def test_shifter_refuses_a_digest_alone(source: str) -> None:
    with pytest.raises(PlanError, match="Shifter gets images by tag") as caught:
        wrapped("shifter", replace(TAGGED, image=replace(TAGGED.image, source=source)))
    assert ":TAG@" in caught.value.hint


def test_shifter_with_everything() -> None:
    request = replace(
        TAGGED, gpu="nvidia", binds=(Bind("/d", "/d", readonly=True),), env={"A": "1", "EMPTY": ""}, entrypoint=True
    )
    invocation = wrapped("shifter", request, command="/opt/shifter", options=("--clearenv",))
    assert invocation.directives == ("--image=docker:library/a:1", "--volume=/d:/d:ro", "--module=gpu")
    assert invocation.argv == ("/opt/shifter", "--workdir=/work", "--env=A=1", "--entrypoint", "--clearenv")
    assert invocation.env == {"A": "1", "EMPTY": ""}


def test_shifter_gets_each_option_once_for_it_keeps_the_last() -> None:
    two = replace(TAGGED, binds=(Bind("/d", "/d"), Bind("/e", "/f", readonly=True)))
    assert wrapped("shifter", two).directives[1:] == ("--volume=/d:/d;/e:/f:ro",)
    gpus = replace(TAGGED, gpu="nvidia", mpi_option="--module=mpich", ntasks=4, together=True)
    assert wrapped("shifter", gpus).directives[1:] == ("--module=gpu,mpich",)
    assert wrapped("shifter", replace(gpus, mpi_option="--module=mpich,gpu")).directives[1:] == ("--module=gpu,mpich",)
    assert wrapped("shifter", replace(gpus, gpu="none")).directives[1:] == ("--module=mpich",)
    assert wrapped("shifter", replace(gpus, mpi_option="--ccm")).directives[1:] == ("--module=gpu", "--ccm")


def test_shifter_s_module_for_gpus_takes_the_place_of_the_site_s() -> None:
    ranks = replace(TAGGED, gpu="nvidia", ntasks=4)
    (note,) = wrapped("shifter", ranks).notes
    assert note.startswith("--module=gpu takes the place of the modules that the site loads by itself")
    for sure in ({"ntasks": 1}, {"mpi": "none"}, {"together": True}, {"gpu": "none"}, {"service": "db"}):
        assert wrapped("shifter", replace(ranks, **sure)).notes == ()


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        (Bind("/s/$USER", "/s", expand=True), "stand in the header, where /s/\\$USER is not expanded"),
        (Bind("/d", "/var/x"), "cannot bind anything to /var/x"),
        (Bind("/d", "/opt"), "cannot bind anything to /opt"),
        (Bind("/d", "/a/../etc"), "cannot bind anything to /a/../etc"),
        (Bind("/a;b", "/c"), "cannot bind a path with a : or ; in it: /a;b"),
    ],
)
def test_shifter_s_volumes_that_are_refused(bind: Bind, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        wrapped("shifter", replace(TAGGED, binds=(bind,)))
    assert caught.value.hint


def test_sarus_with_everything() -> None:
    request = replace(
        TAGGED, binds=(Bind("/d", "/d", readonly=True), Bind("/s/$USER", "/work", expand=True)), env={"A": "a b"}
    )
    assert command("sarus", request, options=("--mpi",)) == (
        "sarus run --mount=type=bind,source=/d,destination=/d,readonly "
        '"--mount=type=bind,source=/s/$USER,destination=/work" '
        "--workdir=/work '--env=A=a b' --entrypoint '' --mpi library/a@sha256:12 ./app"
    )
    assert "--entrypoint" not in command("sarus", replace(TAGGED, entrypoint=True))


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        (Bind("/a,b", "/c"), "cannot bind a path with a comma or =: /a,b"),
        (Bind("/a", "/b=c"), "cannot bind a path with a comma or =: /a"),
        (Bind("/d", "/etcetera"), "cannot bind anything to /etcetera"),
        (Bind("/d", "/opt"), "cannot bind anything to /opt"),
        (Bind("/d", "/opt/sarus/x"), "cannot bind anything to /opt/sarus/x"),
    ],
)
def test_sarus_s_mounts_that_are_refused(bind: Bind, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        wrapped("sarus", replace(TAGGED, binds=(bind,)))
    assert caught.value.hint


ENROOT = replace(REQUEST, image=ImageFacts("/i/app.sqsh", "squashfs"), program=("./app",), folder="/jobs/7")


def test_pyxis_with_everything() -> None:
    request = replace(
        ENROOT,
        binds=(Bind("/d", "/d", readonly=True), Bind("/s/$USER", "/work", expand=True)),
        env={"A": "1", "B": "2"},
        container_workdir="/opt",
        entrypoint=True,
        writable=True,
    )
    invocation = wrapped("pyxis", request, options=("--container-remap-root",))
    assert (invocation.argv, invocation.program, invocation.env) == ((), ("./app",), {"A": "1", "B": "2"})
    assert shell.join(invocation.launcher_args) == (
        '--container-image=/i/app.sqsh --container-mounts=/d:/d:ro,"/s/$USER:/work" --container-workdir=/opt '
        "--container-env=A,B --container-entrypoint --container-writable --container-remap-root"
    )


@pytest.mark.parametrize("kind", ["pyxis", "ce"])
@pytest.mark.parametrize("path", ["/a,b", "/a:b"])
def test_enroot_s_mounts_that_are_refused(kind: str, path: str) -> None:
    with pytest.raises(PlanError, match=f"a path with a comma or colon cannot be bound: {path}") as caught:
        wrapped(kind, replace(ENROOT, binds=(Bind(path, "/c"),)))
    assert caught.value.hint == "use another folder"


def test_the_container_engine_reads_a_file() -> None:
    request = replace(
        ENROOT,
        binds=(Bind("/d", "/d", readonly=True), Bind("/s/$USER", "/s", expand=True)),
        env={"A": 'say "${HOME}"\x7f\n', "B": "ü"},
        writable=True,
    )
    invocation = wrapped("ce", request, options=("--x",))
    assert invocation.launcher_args == ("--environment=/jobs/7/container.toml", "--x")
    assert invocation.files["container.toml"] == (
        'image = "/i/app.sqsh"\n'
        'workdir = "/work"\n'
        'mounts = ["/d:/d:ro", "/s/${USER}:/s", "/work:/work"]\n'
        "entrypoint = false\n"
        "writable = true\n"
        "\n"
        "[env]\n"
        'A = "say \\"$${HOME}\\"\\u007f\\n"\n'
        'B = "ü"\n'
    )
    least = wrapped("ce", replace(ENROOT, entrypoint=True)).files["container.toml"]
    assert least.endswith("entrypoint = true\n")


def test_the_container_engine_s_hooks_are_switched_by_annotations() -> None:
    annotations = {"com.hooks.aws_ofi_nccl.enabled": "true", 'com.a b."c': 'x "y"', "com.é": "${A}"}
    text = wrapped("ce", replace(ENROOT, env={"A": "1"}), annotations=annotations).files["container.toml"]
    assert text.partition("entrypoint = false\n")[2] == (
        "\n"
        "[env]\n"
        'A = "1"\n'
        "\n"
        "[annotations]\n"
        'com.hooks.aws_ofi_nccl.enabled = "true"\n'
        'com."a b"."\\"c" = "x \\"y\\""\n'
        'com."\\u00e9" = "$${A}"\n'
    )


@pytest.mark.parametrize("gpu", ["none", "amd", "intel"])
def test_the_container_engine_shows_the_driver_of_nvidia_alone(gpu: str) -> None:
    assert "[env]" not in wrapped("ce", replace(ENROOT, gpu=gpu)).files["container.toml"]


def test_the_container_engine_shows_the_driver_to_images_that_say_so() -> None:
    text = wrapped("ce", replace(ENROOT, gpu="nvidia")).files["container.toml"]
    assert text.endswith('[env]\nNVIDIA_VISIBLE_DEVICES = "all"\nNVIDIA_DRIVER_CAPABILITIES = "all"\n')
    # What a person says of it counts.
    own = wrapped("ce", replace(ENROOT, gpu="nvidia", env={"NVIDIA_VISIBLE_DEVICES": "0"})).files["container.toml"]
    assert own.endswith('[env]\nNVIDIA_VISIBLE_DEVICES = "0"\nNVIDIA_DRIVER_CAPABILITIES = "all"\n')


# ------------------------------------------------------------------- what only the script knows

RE = shell.Shell('"${hpcjob_values[1]}"')
OF_A_POINT = replace(REQUEST, env={"re": RE, "A": "1"}, below=shell.Shell('"$HPCJOB_FOLDER"'), program=("./app", RE))
IMAGES = {
    "charliecloud": ImageFacts("/i/app.sqfs", "squashfs", environment=True),
    **dict.fromkeys(("podman", "podman-hpc", "docker", "sarus"), BY_NAME.image),
    "shifter": replace(BY_NAME.image, source="docker://docker.io/library/a:1"),
}


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("apptainer", "--pwd /work/{}"),
        ("charliecloud", "-c /work/{}"),
        ("podman", "-w /work/{}"),
        ("podman-hpc", "-w /work/{}"),
        ("docker", "-w /work/{}"),
        ("shifter", "--workdir=/work/{}"),
        ("sarus", "--workdir=/work/{}"),
        ("pyxis", "--container-workdir=/work/{}"),
    ],
)
def test_a_program_begins_in_a_folder_below_the_working_directory(kind: str, option: str) -> None:
    def line(**fields: object) -> str:
        request = replace(OF_A_POINT, image=IMAGES.get(kind, REQUEST.image), **fields)  # type: ignore[arg-type]
        invocation = wrapped(kind, request)
        return shell.join((*invocation.launcher_args, *invocation.argv)) + " "

    assert f" {option.format(OF_A_POINT.below)} " in " " + line()
    assert f" {option.format('a/b')} " in " " + line(below="a/b")
    assert f" {option.format('')} ".replace("/work/", "/opt") in " " + line(container_workdir="/opt")


def test_a_folder_below_where_the_working_directory_is_shown_elsewhere() -> None:
    request = replace(lacking("/work"), below=OF_A_POINT.below)
    assert ' -b /work:/mnt/0 -c /mnt/0/"$HPCJOB_FOLDER" ' in command("charliecloud", request)


@pytest.mark.parametrize("kind", [*IMAGES, "apptainer", "pyxis"])
def test_values_that_only_the_script_knows_are_variables_too(kind: str) -> None:
    invocation = wrapped(kind, replace(OF_A_POINT, image=IMAGES.get(kind, REQUEST.image)))
    name = "APPTAINERENV_re" if kind == "apptainer" else "re"
    assert invocation.env[name] is RE
    assert ("APPTAINER_NO_EVAL" in invocation.env) == (kind == "apptainer")
    assert invocation.program[1] is RE


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("shifter", '--env=re="${hpcjob_values[1]}"'),
        ("sarus", '--env=re="${hpcjob_values[1]}"'),
        ("charliecloud", "'--set-env=re='\"'\"''\"${hpcjob_values[1]}\"''\"'\"''"),
    ],
)
def test_values_that_stand_in_the_command(tmp_path: Path, kind: str, option: str) -> None:
    invocation = wrapped(kind, replace(OF_A_POINT, image=IMAGES[kind]))
    assert option in invocation.argv
    said = subprocess.run(
        ["bash", "-c", f"hpcjob_values=(0 'a  *$x'); printf %s {option}"], capture_output=True, text=True, check=True
    ).stdout
    quote = "'" if kind == "charliecloud" else ""
    assert said == f"{'--set-env' if quote else '--env'}=re={quote}a  *$x{quote}"


def test_the_container_engine_expands_what_only_the_script_knows() -> None:
    request = replace(ENROOT, env=OF_A_POINT.env, below=OF_A_POINT.below, workdir="/w ${x}")
    invocation = wrapped("ce", request)
    assert invocation.env == {"re": RE, "A": "1", "HPCJOB_ENV_re": RE}
    lines = invocation.files["container.toml"].splitlines()
    assert 'workdir = "/w $${x}/${HPCJOB_FOLDER}"' in lines
    assert lines[-2:] == ['re = "${HPCJOB_ENV_re}"', 'A = "1"']
    given = wrapped("ce", replace(request, container_workdir="/opt")).files["container.toml"].splitlines()
    assert 'workdir = "/opt"' in given


# ---------------------------------------------------------------------------------- what they share


def test_names_in_a_store_and_folders_that_cover() -> None:
    assert runtimes.store_name(BY_NAME.image) == "docker.io/library/a@sha256:12"
    assert runtimes.covers(("/tmp/", "/dev"), "/dev")
    assert runtimes.covers(("/tmp/",), "/tmp/x")
    assert not runtimes.covers(("/tmp", "/dev"), "/tmpfiles")


def test_a_runtime_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "_plugins", lambda: {"mine": "hpcjobs.runtimes.none:Bare"})
    assert "mine" in runtimes.names()
    assert runtimes.get(RuntimeConfig(kind="mine")).name == "none"
