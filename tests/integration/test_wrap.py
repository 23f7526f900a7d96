"""Images as commands: what goes through a wrapper byte for byte, in pipes, under srun, and as commands of modules."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration import person as people
from tests.integration.images import CLUSTER, tool
from tests.integration.images import IMAGES as SMALL
from tests.integration.person import Installed, Person

pytestmark = pytest.mark.integration
installed, person = people.installed, people.person
IMAGES = Path("/var/tmp/hpcjobs-jupyter-images")
MPI_IMAGES = Path("/var/tmp/hpcjobs-mpi-images")
TESTBED = Path(os.environ.get("HPCJOBS_TESTBED", "/var/lib/hpcjobs-testbed"))
FORMS = ["python.sif", "python", "python.sqfs", "podman"]
# Repeats input and arguments as they came, NULs between; ends as the first argument says.
REPEAT = """\
import os, shutil, sys
sys.stdout.buffer.write(b"\\0".join(map(os.fsencode, sys.argv[2:])) + b"\\0")
sys.stdout.buffer.flush()
shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
sys.exit(int(sys.argv[1]))
"""
# Says which signal came, and ends as it says.
CATCH = """\
import os, signal, time
def caught(number, frame):
    os.write(1, b"caught %d\\n" % number)
    os._exit(40 + number)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, caught)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="session")
def images(slurm: Callable[..., str]) -> Path:
    """The images; they are kept between sessions."""
    tool(CLUSTER / "jupyter-images", IMAGES)
    return IMAGES


@pytest.fixture(scope="session")
def own(installed: Installed, images: Path) -> Path:
    """A folder image that is hpc's: Podman changes its owners."""
    tool("cp", "-a", images / "python", installed.folder / "own-python")
    tool("chown", "-R", "hpc:", installed.folder / "own-python")
    return installed.folder / "own-python"


@pytest.fixture
def wrapped(person: Person, images: Path, request: pytest.FixtureRequest) -> list[str]:
    """How the person calls the Python of an image, wrapped."""
    tool("chown", "hpc:", person.folder)
    person.write("repeat.py", REPEAT)
    person.write("catch.py", CATCH)
    words = [f"{name}={value}" for name, value in person.env.items()]
    if request.param == "podman":
        own = request.getfixturevalue("own")
        person("wrap", own, "--runtime", "podman", "--command", "python3", "--to", "bin")
        return [str(CLUSTER / "podman"), "hpc", "env", *words, "./bin/python3"]
    person("wrap", images / request.param, "--command", "python3", "--to", "bin")
    return ["setpriv", "--reuid=hpc", "--regid=hpc", "--init-groups", "env", "-i", *words, "./bin/python3"]


@pytest.mark.parametrize("wrapped", FORMS, indirect=True)
def test_everything_goes_through(person: Person, wrapped: list[str]) -> None:
    chance = random.Random(4711)  # noqa: S311 - any bytes will do
    odd = ["", " ", "a b", "$HOME", "`id`", "*", "\n", "é", "'", '"', "\\", "-n", "--", "a\tb", "!", "#", "~", "{a,b}"]
    # Apptainer and Podman themselves write U+FFFD for bytes that are no UTF-8.
    last = b"\xff\xfe not UTF-8" if "ch-run" in (person.folder / "bin/python3").read_text() else b"last"
    arguments = [os.fsencode(word) for word in (odd * 60)[:999]] + [last]
    data = chance.randbytes(3_000_000)
    argv = [os.fsencode(word) for word in [*wrapped, "repeat.py", "7"]] + arguments
    done = subprocess.run(argv, input=data, capture_output=True, cwd=person.folder, check=False)
    assert (done.returncode, done.stderr) == (7, b"")
    same = done.stdout == b"\0".join(arguments) + b"\0" + data  # three megabytes are not to be shown as a difference
    assert same


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
@pytest.mark.parametrize("wrapped", FORMS, indirect=True)
def test_signals_reach_the_program(person: Person, wrapped: list[str], number: signal.Signals) -> None:
    process = subprocess.Popen([*wrapped, "catch.py"], cwd=person.folder, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == f"caught {number.value}\n"
        assert process.wait(30) == 40 + number


@pytest.mark.parametrize("wrapped", FORMS, indirect=True)
def test_in_a_pipe(person: Person, wrapped: list[str]) -> None:
    start = " ".join(f"'{word}'" for word in wrapped)
    line = f"set -o pipefail; seq 100000 | {start} -c 'import sys; sys.stdout.writelines(sys.stdin)' | head -2"
    done = subprocess.run(["bash", "-c", line], cwd=person.folder, capture_output=True, text=True, check=False)
    assert done.stdout == "1\n2\n"  # and whoever writes too much is told: its end is not 0


@pytest.mark.parametrize("wrapped", ["python.sif", "python"], indirect=True)
def test_in_the_folder_that_it_is_called_in(person: Person, wrapped: list[str]) -> None:
    person.write("deep/er/file.txt", "found\n")
    (person.folder / "link").symlink_to(person.folder / "deep/er")
    command = [*wrapped[:-1], str(person.folder / "bin/python3")]
    for folder in ("deep/er", "link"):
        read = "import os; print(open('file.txt').read().strip()); open('made.txt', 'w').write('by the image')"
        where = person.folder / folder
        done = subprocess.run([*command, "-c", read], cwd=where, capture_output=True, text=True, check=False)
        # A shell knows by PWD through which link it came.
        assert (done.stdout, done.stderr) == ("found\n", "")
        assert (person.folder / "deep/er/made.txt").read_text() == "by the image"
        (person.folder / "deep/er/made.txt").unlink()


@pytest.mark.parametrize("wrapped", FORMS, indirect=True)
def test_it_is_called_by_name_where_its_folder_is_shown(person: Person, wrapped: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        command = shutil.copy(person.folder / "bin/python3", folder)
        Path(folder).chmod(0o755)
        first = f"PATH={folder}:{os.environ['PATH']}"
        argv = [*wrapped[:-1], first, Path(command).name, "-c", "print(6 * 7)"]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("42\n", "")


@pytest.mark.parametrize("folder", ["/", "/usr", "/etc"])
@pytest.mark.parametrize("wrapped", ["python.sif"], indirect=True)
def test_the_image_keeps_its_own_folders(person: Person, wrapped: list[str], folder: str) -> None:
    command = [*wrapped[:-1], str(person.folder / "bin/python3")]
    read = "import os; print(os.getcwd(), open('/etc/os-release').read().count('bookworm') > 0)"
    done = subprocess.run([*command, "-c", read], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout == "/tmp True\n"
    assert f"{folder} of this machine is not shown" in done.stderr


def test_what_an_image_runs_by_itself(person: Person, slurm: Callable[..., str]) -> None:
    tool(CLUSTER / "images", SMALL)
    tool("chown", "hpc:", person.folder)
    said = person("wrap", SMALL / "scif.sif", "--to", "bin").stdout
    assert said == f"{person.folder}/bin/scif\n"
    assert person.run("bin/scif", "a", "b c").stdout == "runscript: a b c\n"
    assert person("image", "run", SMALL / "scif.sif", "--", "x", "$y").stdout == "runscript: x $y\n"
    assert person("wrap", SMALL / "scif.sif", "--app", "hello", "--to", "apps").stdout.endswith("apps/scif\n")
    assert person.run("apps/scif", "you").stdout == "hello: you (world, from-image)\n"


def test_under_srun_and_as_ranks_of_mpi(person: Person, slurm: Callable[..., str], images: Path) -> None:
    tool(CLUSTER / "mpi", "images", MPI_IMAGES)
    tool("chown", "hpc:", person.folder)
    person("wrap", images / "python.sif", "--command", "python3", "--to", "bin")
    say = "import os; print(os.environ['SLURM_PROCID'], os.uname().nodename)"
    done = person.run("srun", "-N2", "-n4", "-t5", "bin/python3", "-c", say)
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"0", "1", "2", "3"}
    assert len({line.split()[1] for line in done.stdout.splitlines()}) == 2

    told = person("wrap", MPI_IMAGES / "bookworm-mpich.sif", "--command", "/opt/mpihello", "--to", "bin").stderr
    assert "mpi: " in told, told
    kind = told.split("--mpi=")[1].split()[0].rstrip(",)")
    done = person.run("srun", f"--mpi={kind}", "-N2", "-n4", "-t5", "bin/mpihello")
    assert sorted(line.split(" on ")[0] for line in done.stdout.splitlines()) == [f"rank {n} of 4" for n in range(4)]


MODULE_SYSTEMS = {
    "lmod": (f". {TESTBED}/lmod/usr/share/lmod/lmod/init/bash", "lua"),
    "environment-modules": (". /usr/share/modules/init/bash", "tcl"),
}


@pytest.mark.parametrize("system", MODULE_SYSTEMS)
def test_commands_of_a_module(person: Person, images: Path, system: str) -> None:
    tool("chown", "hpc:", person.folder)
    options = ("--command", "python3", "--command", "/usr/bin/env", "--name", "inside/3.11", "--to", "modules")
    tool(CLUSTER / "lmod", TESTBED / "lmod")
    person("module", images / "python.sif", *options)
    init, _ = MODULE_SYSTEMS[system]
    lines = [
        init, "module use $PWD/modules", "module avail 2>&1", "module load inside", "type -P python3 env",
        "python3 -c 'print(open(\"/etc/os-release\").read())' | head -1", "module whatis inside 2>&1",
        "module help inside 2>&1", "module unload inside", "type -P python3 || echo gone",
    ]  # fmt: skip
    script = person.write("try.sh", "\n".join(lines) + "\n")
    done = person.run("bash", "--noprofile", "--norc", script, PATH="/usr/bin:/bin")
    assert "inside/3.11" in done.stdout
    assert f"{person.folder}/modules/.commands/inside/3.11/python3" in done.stdout
    assert 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"' in done.stdout
    assert "inside 3.11 in a container: env python3" in done.stdout
    assert done.stdout.splitlines()[-1] == "/usr/bin/python3"
    assert done.stderr == ""


def test_nobody_s_file_is_replaced(person: Person, images: Path) -> None:
    tool("chown", "hpc:", person.folder)
    person.write("python3", "mine\n")
    done = person("wrap", images / "python.sif", "--command", "python3", code=3)
    assert "that hpcjob did not write" in done.stderr
    assert (person.folder / "python3").read_text() == "mine\n"
    person("wrap", images / "python.sif", "--command", "python3", "--force")
    person("wrap", images / "python", "--command", "python3")  # its own it replaces
    assert "ch-run" in (person.folder / "python3").read_text()
