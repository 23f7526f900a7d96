"""Programs of images as commands: the scripts, run by a real bash with runtimes that write down what they are told."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import render, runtimes, shell, wrapper
from hpcjobs.errors import PlanError
from hpcjobs.model import Bind, GpuConfig, ImageFacts, JobSpec, MpiPlan, RuntimeConfig, Site
from hpcjobs.mpi.settle import Settled
from hpcjobs.mpi.wiring import Wiring
from hpcjobs.wrapper import Call, Wrapper

SITE = Site(name="cluster", gpu=GpuConfig(kind="nvidia"))
SIF = ImageFacts("/i/app.sif", "sif")
FOLDER = ImageFacts("/i/app", "directory", missing=())
SQUASHFS = ImageFacts("/i/app.sqfs", "squashfs")
STORED = ImageFacts("docker://docker.io/library/a@sha256:12", "reference", source="docker://docker.io/library/a:1")
FORMS: dict[str, tuple[str, str, ImageFacts]] = {
    "apptainer": ("apptainer", "", SIF),
    "singularity": ("singularity", "", SIF),
    "charliecloud-0.31-folder": ("charliecloud", "0.31", FOLDER),
    "charliecloud-0.31-squashfs": ("charliecloud", "0.31", SQUASHFS),
    "charliecloud-0.40-folder": ("charliecloud", "0.40", FOLDER),
    "charliecloud-0.40-squashfs": ("charliecloud", "0.40", SQUASHFS),
    "podman": ("podman", "", STORED),
    "podman-folder": ("podman", "", FOLDER),
    "podman-hpc": ("podman-hpc", "", STORED),
    "docker": ("docker", "", STORED),
    "shifter": ("shifter", "", STORED),
    "sarus": ("sarus", "", STORED),
}
# Those that are shown the caller's folder; Shifter shows what its site says.
SHOWN = [form for form in FORMS if form != "shifter"]
# What `apptainer exec` and the like are for the tests: it writes down what it is told and where, and is the program.
TOOL = """#!/bin/bash
[[ $1 != container ]] || exit 1
printf '%s\\0' "$PWD" "$@" >"$0.told"
cat
echo oops >&2
exit 7
"""


def wrapped(form: str, site: Site = SITE, image: ImageFacts | None = None, **asked: Any) -> Wrapper:
    kind, version, usual = FORMS[form]
    given = {name: asked.pop(name) for name in ("call", "settled", "workdir") if name in asked}
    runtime = runtimes.get(RuntimeConfig(kind=kind, version=version))
    spec = JobSpec(**{"command": ("samtools",), **asked})
    return wrapper.wrap(spec, site, image or usual, runtime=runtime, **given)


def launched(made: Wrapper) -> str:
    return " ".join(shell.join(group) for group in made.launch)


class Here:
    """A folder with runtimes that write down what they are told, and a wrapper."""

    def __init__(self, tmp_path: Path) -> None:
        self.bin = tmp_path / "bin"
        self.bin.mkdir()
        self.workdir = tmp_path / "a folder"
        self.workdir.mkdir()
        for name in ("apptainer", "singularity", "ch-run", "podman", "podman-hpc", "docker", "shifter", "sarus"):
            self.put(name, TOOL)

    def put(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def write(self, made: Wrapper) -> Path:
        """The script, which finds its image."""
        script = self.bin / "samtools"
        if made.image:
            (self.bin / "image").touch()
            made = replace(made, image=str(self.bin / "image"))
        script.write_text(render.render_wrapper(made))
        script.chmod(0o755)
        return script

    def environ(self, **more: str) -> dict[str, str]:
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": "/home/ada", "USER": "ada", **more}

    def run(
        self, made: Wrapper, *arguments: str, folder: str | Path = "", text: str = "in\n", **env: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.write(made), *arguments],
            input=text, capture_output=True, text=True, check=False, env=self.environ(**env), cwd=folder or self.workdir,
        )  # fmt: skip

    @property
    def told(self) -> list[str]:
        """What the runtime was told, without where it was."""
        (file,) = self.bin.glob("*.told")
        return file.read_text().split("\0")[1:-1]


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


# ----------------------------------------------------------------------------------- what is written


def test_the_script_is_what_somebody_would_type() -> None:
    made = wrapped("apptainer", bind=("/data:/in:ro", "ref"), workdir="/home/ada", env={"A": "b c"})
    assert launched(made) == (
        'apptainer exec "${hpcjob_gpu[@]}" --bind /data:/in:ro --bind /home/ada/ref --bind "$hpcjob_here" '
        '--pwd "$hpcjob_here" /i/app.sif samtools'
    )
    assert made.env == {"APPTAINERENV_A": "b c"}
    assert (made.gpu_device, made.gpu) == ("/dev/nvidiactl", ("--nv",))
    assert made.notes == ()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", [("bash", "-n"), ("shellcheck", "--exclude=SC1091,SC2016")], ids=lambda c: c[0])
def test_the_script_of_each_runtime_passes(form: str, command: tuple[str, ...], tmp_path: Path) -> None:
    site = replace(SITE, modules=("gcc/13", "use $HOME/m"), env={"CACHE": "/scratch/$USER"}, bind=("/opt/cray",))
    made = wrapped(form, site, env={"MODE": 'it\'s "fast"'}, bind=("/data:/data",))
    (tmp_path / "script").write_text(render.render_wrapper(made))
    done = subprocess.run([*command, tmp_path / "script"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", ["pyxis", "ce"])
def test_runtimes_that_only_the_scheduler_starts_are_refused(kind: str) -> None:
    image = replace(SQUASHFS, missing=())
    with pytest.raises(PlanError, match=f"{kind} starts containers by the scheduler alone") as caught:
        wrapper.wrap(JobSpec(command=("a",)), SITE, image, runtime=runtimes.get(RuntimeConfig(kind=kind)))
    assert "--runtime" in caught.value.hint


@pytest.mark.parametrize(
    ("gpu", "form", "device", "words"),
    [
        ("nvidia", "apptainer", "/dev/nvidiactl", "--nv"),
        ("amd", "apptainer", "/dev/kfd", "--rocm"),
        ("intel", "apptainer", "", ""),
        ("none", "apptainer", "", ""),
        ("nvidia", "podman", "/dev/nvidiactl", "--device nvidia.com/gpu=all"),
        ("intel", "podman", "/dev/dri", "--device /dev/dri"),
        ("nvidia", "podman-hpc", "/dev/nvidiactl", "--gpu"),
        ("nvidia", "docker", "/dev/nvidiactl", "--gpus all"),
        ("nvidia", "shifter", "/dev/nvidiactl", "--module=gpu"),
        ("nvidia", "charliecloud-0.40-folder", "", ""),
    ],
)
def test_gpus_are_shown_where_there_is_one(gpu: str, form: str, device: str, words: str) -> None:
    made = wrapped(form, replace(SITE, gpu=GpuConfig(kind=gpu)))  # type: ignore[arg-type]
    assert (made.gpu_device, shell.join(made.gpu)) == (device, words)
    assert ('"${hpcjob_gpu[@]}"' in launched(made)) == bool(words)


def test_a_program_without_an_image_sees_gpus_anyway() -> None:
    runtime = runtimes.get(RuntimeConfig())
    made = wrapper.wrap(JobSpec(command=("exit",)), SITE, ImageFacts(""), runtime=runtime)
    assert (made.launch, made.gpu, made.image) == ((("exit",),), (), "")


def test_modules_are_the_site_s_then_the_runtime_s_then_one_s_own() -> None:
    runtime = runtimes.get(RuntimeConfig(kind="apptainer", modules=("apptainer/1.3",)))
    spec = JobSpec(command=("a",), modules=("swap x y",))
    made = wrapper.wrap(spec, replace(SITE, modules=("gcc",)), SIF, runtime=runtime)
    assert [shell.join(each) for each in made.module_commands] == [
        "module load gcc apptainer/1.3", "module swap x y",
    ]  # fmt: skip


def test_what_is_bound_in_a_call_comes_after_what_the_site_binds() -> None:
    call = Call((Bind("$kept", "$kept", expand=True),), (shell.Shell("kept=$1"),), (shell.Shell('"$2"'),))
    made = wrapped("apptainer", replace(SITE, bind=("/opt/cray",)), call=call)
    assert ' --bind /opt/cray --bind "$kept" --bind "$hpcjob_here" ' in launched(made)
    assert (made.setup, made.arguments) == (("kept=$1",), ('"$2"',))


def test_mpi_that_was_settled_is_what_the_rank_runs_with() -> None:
    settled = Settled(
        plan=MpiPlan(
            mode="bind",
            type="pmi2",
            binds=(Bind("/usr/lib/mpi", "/hpcjob/mpi"),),
            env={"LD_LIBRARY_PATH": "/hpcjob/mpi"},
        ),
        wiring=Wiring(before=("env", "A=1"), program=("sh", "/hpcjob/start")),
    )
    made = wrapped("apptainer", settled=settled)
    line = launched(made)
    assert line.startswith(
        'env A=1 apptainer exec "${hpcjob_gpu[@]}" --bind "$hpcjob_here" --bind /usr/lib/mpi:/hpcjob/mpi'
    )
    assert line.endswith("/i/app.sif sh /hpcjob/start samtools")
    assert made.env == {"APPTAINERENV_LD_LIBRARY_PATH": "/hpcjob/mpi"}


def test_an_entrypoint_has_no_program() -> None:
    made = wrapped("apptainer", command=(), entrypoint=True)
    assert [group[:2] for group in made.launch] == [("apptainer", "run")]


# -------------------------------------------------------------------------------------- what arrives

ARGUMENTS = ("view", "a b", "", "--", "$HOME", "`id`", "it's", "é\n", "*")


@pytest.mark.parametrize("form", FORMS)
def test_arguments_input_output_and_exit_code_go_through(here: Here, form: str) -> None:
    done = here.run(wrapped(form), *ARGUMENTS, text="1\n2")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n2", "oops\n", 7)
    assert here.told[-len(ARGUMENTS) - 1 :] == ["samtools", *ARGUMENTS]


@pytest.mark.parametrize("form", SHOWN)
def test_the_folder_of_the_caller_is_shown_and_entered(here: Here, form: str) -> None:
    here.run(wrapped(form))
    words = " ".join(here.told)
    folder = str(here.workdir)
    entered = [f"{option}{folder}" for option in ("--pwd ", "-c ", "-w ", "--workdir=")]
    assert any(each in words for each in entered)
    bound = [f"--bind {folder} ", f"-b {folder}:{folder} ", f"-v {folder}:{folder} ", f"source={folder},dest"]
    assert sum(words.count(each) for each in bound) == 1


def test_shifter_is_told_to_enter_the_folder_that_its_site_shows(here: Here) -> None:
    here.run(wrapped("shifter", bind=("/data:/in",)))
    assert f"--workdir={here.workdir}" in here.told
    assert [word for word in here.told if word.startswith(("--image", "--volume"))] == [
        "--image=docker:library/a:1", "--volume=/data:/in",
    ]  # fmt: skip


@pytest.mark.parametrize("folder", ["/", "/usr", "/usr/share", "/etc", "/proc", "/var", "/opt"])
@pytest.mark.parametrize("form", ["apptainer", "charliecloud-0.31-folder"])
def test_a_folder_that_the_image_has_itself_is_not_shown(here: Here, form: str, folder: str) -> None:
    done = here.run(wrapped(form), folder=folder)
    said = f"hpcjob: {folder} of this machine is not shown in the container; starting in /tmp\n"
    assert (done.returncode, done.stderr) == (7, f"{said}oops\n")
    assert here.told[here.told.index("--pwd" if form == "apptainer" else "-c") + 1] == "/tmp"


@pytest.mark.parametrize("name", ["a:b", "a,b", "a:"])
@pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])
def test_a_folder_that_no_runtime_could_bind_is_refused(here: Here, place: str, name: str) -> None:
    folder = Path(place, f"hpcjobs-test-{os.getpid()}-{name}")
    folder.mkdir()
    try:
        done = here.run(wrapped("apptainer"), folder=folder)
    finally:
        folder.rmdir()
    assert (done.returncode, done.stdout) == (72, "")
    assert (
        done.stderr
        == f"hpcjob: a folder with a colon or comma in its name cannot be shown in the container: {folder}\n"
    )
    assert not list(here.bin.glob("*.told"))


@pytest.fixture
def outside() -> Any:
    """A folder that is not below /tmp."""
    folder = Path(f"/var/tmp/hpcjobs-test-{os.getpid()}")
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("form", "inside"),
    [
        ("charliecloud-0.31-folder", "/mnt/0"),
        ("charliecloud-0.31-squashfs", "/mnt/0"),
        ("charliecloud-0.40-folder", ""),
        ("charliecloud-0.40-squashfs", ""),
        ("apptainer", ""),
    ],
)
def test_a_folder_for_which_the_image_has_no_place(here: Here, outside: Path, form: str, inside: str) -> None:
    here.run(wrapped(form), folder=outside)
    words = " ".join(here.told)
    if form == "apptainer":
        assert f"--bind {outside} --pwd {outside} " in words
    else:
        assert f"-b {outside}:{inside or outside} -c {inside or outside} " in words


def test_a_folder_for_which_the_image_has_a_place(here: Here, outside: Path, tmp_path: Path) -> None:
    root = tmp_path / "an image"
    (root / str(outside)[1:]).mkdir(parents=True)
    here.run(wrapped("charliecloud-0.31-folder", image=replace(FOLDER, path=str(root))), folder=outside)
    assert f"-b {outside}:{outside} -c {outside} " in " ".join(here.told)


def test_another_folder_may_be_entered(here: Here) -> None:
    here.run(wrapped("apptainer", container_workdir="/opt/run"))
    words = " ".join(here.told)
    assert f"--bind {here.workdir} " in words
    assert "--pwd /opt/run " in words


def test_an_image_that_is_gone_is_told(here: Here) -> None:
    script = here.write(wrapped("apptainer"))
    (here.bin / "image").unlink()
    done = subprocess.run([script], capture_output=True, text=True, check=False, env=here.environ())
    assert (done.returncode, done.stderr) == (66, f"hpcjob: there is no image {here.bin}/image\n")


@pytest.mark.parametrize("there", [True, False])
def test_gpu_words_are_given_where_the_device_is(here: Here, there: bool) -> None:
    device = here.bin / "nvidiactl"
    if there:
        device.touch()
    here.run(replace(wrapped("apptainer"), gpu_device=str(device)))
    assert here.told[:3] == ["exec", *(["--nv"] if there else []), "--bind", str(here.workdir)][:3]


def test_variables_of_the_site_are_expanded_and_one_s_own_are_not(here: Here) -> None:
    here.put("apptainer", '#!/bin/bash\nprintf "%s|%s" "$CACHE" "$APPTAINERENV_MODE"\n')
    made = wrapped("apptainer", replace(SITE, env={"CACHE": "/scratch/$USER"}), env={"MODE": "$USER 'x'"})
    assert here.run(made).stdout == "/scratch/ada|$USER 'x'"


@pytest.mark.parametrize(("module", "code"), [("gcc", 7), ("none", 69)])
def test_a_module_that_cannot_be_loaded_ends_the_command(here: Here, module: str, code: int) -> None:
    site = replace(SITE, module_init='module() { echo "module $*" >&2; [[ $2 != none ]]; }', modules=(module,))
    done = here.run(wrapped("apptainer", site))
    assert done.returncode == code
    assert done.stderr.splitlines()[0] == f"module load {module}"
    assert bool(list(here.bin.glob("*.told"))) == (code == 7)


def test_modules_without_a_line_of_the_site_are_found_by_their_home(here: Here, tmp_path: Path) -> None:
    init = tmp_path / "modules/init"
    init.mkdir(parents=True)
    (init / "bash").write_text('module() { echo "module $*" >&2; }\n')
    done = here.run(wrapped("apptainer", modules=("gcc",)), MODULESHOME=str(tmp_path / "modules"))
    assert done.stderr == "module load gcc\noops\n"


@pytest.mark.parametrize("form", ["podman", "podman-hpc", "docker", "sarus"])
@pytest.mark.parametrize("piped", [True, False])
def test_a_terminal_is_handed_on_if_it_is_one(here: Here, form: str, piped: bool) -> None:
    person, terminal = pty.openpty()
    os.write(person, b"\x04")  # the end of input
    script = here.write(wrapped(form))
    out = subprocess.PIPE if piped else terminal
    done = subprocess.run(
        [script],
        stdin=terminal,
        stdout=out,
        stderr=subprocess.DEVNULL,
        check=False,
        env=here.environ(),
        cwd=here.workdir,
    )
    os.close(person)
    os.close(terminal)
    assert done.returncode == 7
    assert ("--tty" in here.told) == (not piped)
    assert ("--interactive" in here.told) == (form != "sarus")


def test_no_label_of_a_job_is_on_a_container_of_the_prompt(here: Here) -> None:
    for form in ("podman", "podman-hpc", "docker"):
        assert "--label" not in launched(wrapped(form))


# Serves the image's files to its child, as ch-run does with squashfs; the child ends when it is told to.
SERVING = """#!/bin/bash
trap 'echo "ch-run was told"' HUP TERM USR1 USR2
trap '' INT QUIT # as ch-run 0.31
python3 -c '
import signal, sys
number = getattr(signal, "SIG" + sys.argv[1])
signal.signal(number, lambda *_: sys.exit(5))
print("up", signal.getsignal(signal.SIGINT) is signal.SIG_IGN, flush=True)
while True:
    signal.pause()
' "${@: -1}" &
wait "$!"
code=$?
echo "served to the end"
exit "$code"
"""


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"])
def test_a_signal_reaches_the_program_and_not_who_serves_its_files(here: Here, name: str) -> None:
    here.put("ch-run", SERVING)
    script = here.write(wrapped("charliecloud-0.40-squashfs"))
    with subprocess.Popen(
        [script, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=here.environ(), text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline().startswith("up")
        number = getattr(signal, f"SIG{name}")
        if name in ("INT", "QUIT"):  # a terminal sends them to the whole group, and ch-run ignores its own
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        rest = process.stdout.read()
    assert (rest, process.returncode) == ("served to the end\n", 5)


def test_who_serves_the_files_has_the_input_and_the_exit_code(here: Here) -> None:
    done = here.run(wrapped("charliecloud-0.31-squashfs"), text="a\nb\n")
    assert (done.stdout, done.returncode) == ("a\nb\n", 7)
