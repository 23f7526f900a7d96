"""A shell on a node: what the scheduler is asked for, and a terminal into which something is typed."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import process, terminal
from hpcjobs.errors import HpcjobError, PlanError, UnreachableError
from hpcjobs.model import JobSpec, LauncherConfig, RuntimeConfig, SchedulerConfig, ServiceSpec, Site
from hpcjobs.terminal import Terminal
from hpcjobs.units import Duration, Memory
from hpcjobs.wrapper import SHELL
from hpcjobs.wrapping import Wrapping
from tests.golden.test_golden import CLUSTER, LOCAL, OPENPBS, TORQUE, script
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcjobs.model import ImageFacts

STEP = ("srun", "--pty", "--overlap", "--mem=0", "--nodes=1", "--ntasks=1", "--mpi=none", "--cpu-bind=none")


class Lab:
    """A folder with an image; the requests that were planned."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.image = str(home / "app.sif")
        Path(self.image).write_bytes(sif(b"02"))
        self.asked: list[JobSpec] = []
        self.where: dict[str, Any] = {}

    def opened(self, site: Site = CLUSTER, *, final: bool = True, **asked: Any) -> Terminal:
        site = replace(site, runtimes=(RuntimeConfig(kind="apptainer", version="1.4.5"),))
        loaded: Any = SimpleNamespace(site=site, file=self.home / "cluster.yaml")
        wrapping = Wrapping(loaded, self.run, jobs_folder=self.home / "jobs")

        def prepare(spec: JobSpec, **where: Any) -> Any:
            self.asked.append(spec)
            self.where = where
            facts, _ = self.facts(wrapping, spec)
            made = script(site, spec, facts)
            return SimpleNamespace(
                spec=spec,
                site=site,
                script=made,
                plan=SimpleNamespace(tag="3f9c2a7d41be", workdir="/home/ada/it's run"),
            )

        service: Any = SimpleNamespace(prepare=prepare)
        return terminal.opened(service, wrapping, JobSpec(**asked), site="cluster", site_file="", final=final)

    def facts(self, wrapping: Wrapping, spec: JobSpec) -> tuple[ImageFacts, object]:
        from hpcjobs.model import ImageFacts

        return wrapping.prepared(spec)[1:] if spec.image else (ImageFacts(""), None)

    def run(self, *argv: object, **_: object) -> Any:
        raise AssertionError(argv)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)


def refused(call: Callable[[], object], kind: type[HpcjobError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return f"{caught.value.message} | {caught.value.hint}"


# -------------------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    "asked",
    [
        {"array": "0-3"},
        {"hold": True},
        {"services": (ServiceSpec(name="db"),)},
        {"notebook": "a.ipynb"},
        {"port": "auto"},
    ],
)
def test_what_a_shell_cannot_have(lab: Lab, asked: dict[str, Any]) -> None:
    assert refused(lambda: lab.opened(**asked), PlanError) == (
        "a shell is one job that starts at once | leave out -a, -H, --service, --notebook, --port"
    )
    assert lab.asked == []


def test_a_scheduler_whose_interactive_jobs_nobody_knows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_terminal.script", lambda *_: None)
    site = Site(name="old", scheduler=SchedulerConfig(kind="lsf"))
    assert refused(lambda: lab.opened(site), PlanError) == (
        "lsf has no interactive jobs that hpcjob knows | hpcjob submit sends a batch job"
    )


@pytest.mark.parametrize(
    ("asked", "per_node"), [({}, 1), ({"ntasks": 4}, None), ({"ntasks_per_node": 2, "nodes": 2}, 2)]
)
def test_a_shell_is_a_job_of_one_rank_a_node_unless_more_are_asked_for(
    lab: Lab, asked: dict[str, Any], per_node: int | None
) -> None:
    lab.opened(**asked, final=False)
    (spec,) = lab.asked
    assert (spec.ntasks_per_node, spec.ntasks, spec.name, spec.mpi) == (per_node, asked.get("ntasks"), "shell", "none")
    assert lab.where == {"site": "cluster", "site_file": "", "final": False}


def test_slurm_is_asked_for_what_the_batch_script_says_without_its_files(lab: Lab) -> None:
    found = lab.opened(
        nodes=2, gpus_per_node=1, partition="gpu", time=Duration(3600), mem=Memory.parse("8G"), name="a b", requeue=True,
        output="out.log", error="err.log", directives=("--mail-type=END",),
    )  # fmt: skip
    cut = found.argv.index("srun")
    assert found.argv[:cut] == (
        "salloc", "--job-name=a b", "--partition=gpu", "--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1",
        "--mem=8G", "--time=01:00:00", "--chdir=/home/ada/run", "--mail-type=END",
    )  # fmt: skip
    assert found.argv[cut:] == (*STEP, "bash", "-c", "exec bash\n")
    assert (found.when, found.typed, found.file) == ("", "", None)


@pytest.mark.parametrize("requeue", [True, False])
def test_no_word_is_left_that_salloc_does_not_know(lab: Lab, requeue: bool) -> None:
    words = lab.opened(requeue=requeue).argv
    known = "output", "error", "open-mode", "requeue", "no-requeue", "export", "array", "hold", "signal"
    assert [word for word in words if word.startswith(tuple(f"--{each}" for each in known))] == []


def test_a_shell_in_an_image_is_a_wrapper_on_the_node(lab: Lab) -> None:
    found = lab.opened(image=lab.image, bind=("/data:/in",))
    assert lab.asked[0].command == SHELL
    text = found.argv[-1]
    assert '--bind /data:/in --bind "$hpcjob_here" --pwd "$hpcjob_here" ' in text
    assert f" {lab.image} " in text
    assert "exec bash; else exec sh; fi" in text


@pytest.mark.parametrize(
    ("launcher", "srun"),
    [
        (LauncherConfig(kind="srun", command="/opt/slurm/bin/srun"), "/opt/slurm/bin/srun"),
        (LauncherConfig(kind="mpirun", command="/opt/mpi/bin/mpirun"), "srun"),
    ],
)
def test_the_shell_is_a_step_by_the_srun_of_the_site(lab: Lab, launcher: LauncherConfig, srun: str) -> None:
    words = lab.opened(replace(CLUSTER, launcher=launcher)).argv
    assert words[-len(STEP) - 3 : -3] == (srun, *STEP[1:])


@pytest.mark.parametrize("site", [OPENPBS, TORQUE], ids=["openpbs", "torque"])
def test_pbs_is_asked_for_an_interactive_job_into_which_the_shell_is_typed(lab: Lab, site: Site) -> None:
    found = lab.opened(
        site, nodes=1, partition="workq", account="ab12", time=Duration(3600), requeue=False, output="a.log",
        directives=("-m e",),
    )  # fmt: skip
    options = [word for word in found.argv if word.startswith("-")]
    assert found.argv[:2] == ("qsub", "-I")
    assert {"-q", "-A", "-N", "-l", "-m"} <= set(options)
    assert set(options) & {"-o", "-e", "-j", "-k", "-r", "-J", "-t", "-c", "-S", "-h"} == set()
    file = lab.home / "data/shells/3f9c2a7d41be.sh"
    assert (found.when, found.file, found.text) == (r"qsub: job \S+ ready", file, "exec bash\n")
    assert found.typed == f" cd '/home/ada/it'\"'\"'s run' && exec bash {file}\n"


def test_a_shell_of_this_machine_is_a_program_of_it(lab: Lab) -> None:
    found = lab.opened(LOCAL)
    assert found == Terminal(("bash", "-c", "exec bash\n"))


def test_the_file_of_a_terminal_is_there_as_long_as_that_is_open(tmp_path: Path) -> None:
    one = Terminal(("qsub", "-I"), file=tmp_path / "shells/1.sh", text="exec bash\n")
    assert one.file
    with terminal.kept(one):
        assert one.file.read_text() == "exec bash\n"
        assert one.file.stat().st_mode & 0o777 == 0o600
    assert not one.file.exists()
    with pytest.raises(KeyError), terminal.kept(one):
        raise KeyError
    assert not one.file.exists()


def test_a_terminal_without_a_file_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path))
    with terminal.kept(Terminal(("bash",))):
        assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------- programs at the terminal


def python(code: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"from hpcjobs import process\n{code}"], **more)


def test_a_process_becomes_a_program() -> None:
    code = "print('said'); process.become(('sh', '-c', 'echo $$; cat; exit 3'))"
    with python(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        out, _ = one.communicate(b"typed\n")
    assert (out.decode(), one.returncode) == (f"said\n{one.pid}\ntyped\n", 3)


def test_a_program_that_nobody_can_become() -> None:
    assert refused(lambda: process.become(("/no/such/program",)), UnreachableError) == (
        "/no/such/program cannot be run here: No such file or directory | is it on PATH?"
    )


def test_what_a_process_becomes_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "hpcjobs"), pytest.raises(UnreachableError):
        process.become(("/no/such/program", "a b"))
    assert [record.message for record in caplog.records] == ["/no/such/program 'a b'"]


# `qsub -I` for the tests: it says who it is, when it is ready, and does what is typed.
QSUB = """#!/bin/sh
stty -echo
echo "qsub: waiting"
echo "qsub: job 7.pbs01 ready"
read -r line
echo "typed: $line"
stty size
read -r line
echo "then: $line"
exit 7
"""
CALL = "import sys; sys.exit(process.in_terminal(('qsub', '-I'), when='qsub: job \\\\S+ ready', typed='cd /x\\n'))"


def test_something_is_typed_into_a_terminal_when_it_is_ready(tmp_path: Path) -> None:
    (tmp_path / "qsub").write_text(QSUB)
    (tmp_path / "qsub").chmod(0o755)
    person, own = pty.openpty()
    ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with python(CALL, stdin=own, stdout=own, stderr=own, env=env, start_new_session=True) as one:
        os.close(own)
        said = b""
        while b"31 97" not in said:
            said += os.read(person, 1024)
        os.write(person, b"exit\n")
        while b"then: " not in said:
            said += os.read(person, 1024)
        code = one.wait()
    os.close(person)
    lines = said.decode().replace("\r", "").splitlines()
    assert lines[:4] == ["qsub: waiting", "qsub: job 7.pbs01 ready", "typed: cd /x", "31 97"]
    assert lines[-1].startswith("then: ")
    assert code == 7


@pytest.mark.parametrize(("at", "why"), [(False, "its input is no terminal"), (True, "there is no such program")])
def test_a_terminal_that_cannot_be(monkeypatch: pytest.MonkeyPatch, at: bool, why: str) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: at)
    monkeypatch.setenv("PATH", "/nowhere")
    assert refused(lambda: process.in_terminal(("qsub", "-I"), when="x", typed="y"), UnreachableError) == (
        f"qsub cannot be run here: {why} | type it in a terminal of a login node"
    )
