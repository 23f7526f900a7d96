"""`hpcjob shell` and `hpcjob image shell`, driven through a pseudo-terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration import person as people
from tests.integration.conftest import FakePbsMaker
from tests.integration.images import CLUSTER, tool
from tests.integration.person import Person
from tests.integration.typing_person import Typing

pytestmark = pytest.mark.integration
installed, person = people.installed, people.person
IMAGES = Path("/var/tmp/hpcjobs-jupyter-images")
PROMPT = r"[$>#] $"


@pytest.fixture(scope="session")
def images(slurm: Callable[..., str]) -> Path:
    """The images; they are kept between sessions."""
    tool(CLUSTER / "jupyter-images", IMAGES)
    return IMAGES


def at_terminal(person: Person, *args: str | Path) -> Typing:
    """The person types `hpcjob ARGS`."""
    env = {**person.env, "PYTHONPATH": str(person.installed.folder / "lib"), "TERM": "xterm", "PS1": "$ "}
    words = [f"{name}={value}" for name, value in env.items()]
    command = [person.installed.python, "-m", "hpcjobs", *map(str, args)]
    return Typing(["runuser", "-u", "hpc", "--", "env", "-i", *words, *command], person.folder)


def shells_of_hpc() -> str:
    return subprocess.run(
        ["squeue", "-h", "-u", "hpc", "-n", "shell"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("image", "gpus"), [("python.sif", 1), ("python", 0), ("python.sqfs", 0)], ids=["sif", "folder", "squashfs"]
)
def test_a_shell_in_the_image_on_a_node(person: Person, images: Path, image: str, gpus: int) -> None:
    tool("chown", "hpc:", person.folder)
    person.write("gpus.yaml", "extends: testbed\ngpu: {kind: nvidia, defaults: {partition: gpu}}\n")
    options = ("--site-file", "gpus.yaml", "--image", images / image, *(("--gpus", str(gpus)) if gpus else ()))
    with at_terminal(person, "shell", *options, "-N", "1", "-t", "5") as shell:
        shell.until(PROMPT)
        shell.type("tty && echo on $(uname -n) of $SLURM_JOB_PARTITION gpus $SLURM_GPUS_PER_NODE.\r")
        shell.until(r"/dev/pts/\d+")
        assert shell.until(r"on n\d of (\w+ gpus \d?)\.")[1] == ("gpu gpus 1" if gpus else "debug gpus ")
        shell.until(PROMPT)
        shell.type("stty size; cat /etc/os-release; ls -d /etc/slurm\r")
        shell.until(r"24 100")
        shell.until(r"ID=debian")
        shell.until(r"No such file")
        shell.until(PROMPT)
        if not image.endswith(".sqfs"):  # in a shell of a squashfs image ch-run 0.31 itself passes no Ctrl-C on
            shell.type("python3 -c 'import time; print(6 * 7, flush=True); time.sleep(99)'\r")
            shell.until(r"42\r")
            shell.type("\x03")
            shell.until(r"KeyboardInterrupt")
            shell.until(PROMPT)
        shell.type("exit 7\r")
        assert shell.ended() == 7
    assert shells_of_hpc() == ""


def test_a_shell_on_two_nodes_starts_ranks_of_an_image(person: Person, slurm: Callable[..., str], images: Path) -> None:
    tool(CLUSTER / "mpi", "images", "/var/tmp/hpcjobs-mpi-images")
    tool("chown", "hpc:", person.folder)
    image = Path("/var/tmp/hpcjobs-mpi-images/bookworm-mpich.sif")
    hpcjob = f"{person.installed.python} -m hpcjobs"
    with at_terminal(person, "shell", "-N", "2", "--ntasks-per-node", "2", "-t", "5") as shell:
        shell.until(PROMPT)
        shell.type(f"{hpcjob} image mpi -n 4 {image} -- /opt/mpihello\r")
        seen = {shell.until(r"rank (\d) of 4 on (n\d), MPICH")[1] for _ in range(4)}
        assert seen == {"0", "1", "2", "3"}
        shell.until(PROMPT)
        shell.type("exit\r")
        assert shell.ended() == 0


def test_ranks_need_a_job(person: Person, slurm: Callable[..., str]) -> None:
    image = Path("/var/tmp/hpcjobs-mpi-images/bookworm-mpich.sif")
    done = person("image", "mpi", "-n", "2", image, "--", "/opt/mpihello", code=3)
    assert "srun starts ranks in a job, and this shell is in none" in done.stderr


def test_a_shell_in_the_image_here(person: Person, images: Path) -> None:
    tool("chown", "hpc:", person.folder)
    with at_terminal(person, "image", "shell", images / "python.sif") as shell:
        shell.until(PROMPT)
        shell.type("echo in $PWD; exit 3\r")
        assert shell.until(r"in (/\S+)")[1] == str(person.folder)
        assert shell.ended() == 3


def test_a_shell_of_the_local_scheduler(person: Person, images: Path) -> None:
    tool("chown", "hpc:", person.folder)
    with at_terminal(person, "shell", "--site", "local", "--image", images / "python.sif") as shell:
        shell.until(PROMPT)
        shell.type("cat /etc/os-release; exit 4\r")
        shell.until(r"ID=debian")
        assert shell.ended() == 4


def test_a_shell_of_pbs(home: Path, make_fake_pbs: FakePbsMaker, images: Path) -> None:
    make_fake_pbs()
    (home / "work dir").mkdir()
    command = [
        sys.executable,
        "-m",
        "hpcjobs",
        "shell",
        "--site",
        "fake-pbs",
        "-D",
        "work dir",
        "-t",
        "5",
        "--mem",
        "1G",
    ]
    with Typing(command, home) as shell:
        shell.until("qsub: job [0-9]+[.][^ ]+ ready")
        shell.until("exec bash")
        shell.until(PROMPT)
        shell.resize(30, 90)
        shell.type("echo in $PWD; stty size; exit 5\r")
        assert shell.until(r"in (/.+)\r")[1] == str(home / "work dir")
        shell.until("30 90")
        assert shell.ended() == 5
    assert list((home / "home/shells").iterdir()) == []


def test_what_is_refused_is_no_job(person: Person, images: Path) -> None:
    done = person("shell", "--image", images / "python.sif", "-N", "9", "-t", "5", code=3)
    assert "9 are needed" in done.stderr
    assert json.loads(person("status", "--json").stdout)["jobs"] == []
