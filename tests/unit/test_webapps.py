"""Web applications in jobs: what is asked for, the script that a real bash runs, and how one gets there."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import launchers, plan, runtimes, webapps
from hpcjobs.errors import HpcjobError, JobFailedError, PlanError, UnreachableError, UsageError, WaitTimeoutError
from hpcjobs.model import AppPlan, HostFacts, ImageFacts, JobSpec, LauncherConfig, RuntimeConfig, SchedulerConfig, Site
from hpcjobs.process import Completed
from hpcjobs.units import Duration
from hpcjobs.webapps import App
from hpcjobs.wrapping import Wrapping
from tests.unit.test_images import sif
from tests.unit.test_script import run
from tests.unit.test_service import Lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SITE = Site(
    name="cluster",
    scheduler=SchedulerConfig(kind="slurm"),
    launcher=LauncherConfig(kind="srun"),
    runtimes=(RuntimeConfig(kind="apptainer", version="1.4.5"),),
)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - nothing listens
LOCAL = Site(name="local", launcher=LauncherConfig(kind="none"))


def refused(call: Callable[[], object], kind: type[HpcjobError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return f"{caught.value.message} | {caught.value.hint}"


# ------------------------------------------------------------------------------------- what is asked


def planned(site: Site = SITE, **asked: Any) -> AppPlan | None:
    spec = JobSpec(**{"command": ("./app",), **asked})
    host = HostFacts(cwd="/run", home="/home/ada", user="ada", arch="x86_64", folder="/jobs/1", umask="0022", tag="1")
    return plan.resolve(
        spec, site, ImageFacts(""), host, runtime=runtimes.get(RuntimeConfig()), launcher=launchers.get(site.launcher)
    ).app


def test_a_job_without_a_port_is_no_web_application() -> None:
    assert planned() is None


def test_an_application_listens_for_the_network_and_on_one_s_own_machine_for_nobody_else() -> None:
    assert planned(port="auto", idle=Duration(1800)) == AppPlan(0, EVERYWHERE, 1800)
    assert planned(LOCAL, port="8888") == AppPlan(8888, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"idle": Duration(60)}, "--idle is about a web application, and there is none | add --port auto"),
        ({"port": "auto", "array": "0-3"}, "a web application is one program, not an array | leave out -a, -N and -n"),
        ({"port": "auto", "ntasks": 4}, "a web application is one program, not 4 ranks | leave out -a, -N and -n"),
        ({"port": "auto", "nodes": 2}, "a web application is one program, not 2 ranks | leave out -a, -N and -n"),
        *(
            ({"port": port}, f"--port {port!r} is no port | write --port auto, or a number from 1024 to 65535")
            for port in ("1023", "65536", "-1", "http", "80a", " 8888", "Auto")
        ),
    ],
)  # fmt: skip
def test_applications_that_cannot_be(asked: dict[str, Any], said: str) -> None:
    assert refused(lambda: planned(**asked), PlanError) == said


@pytest.mark.parametrize("port", ["1024", "65535"])
def test_the_least_and_the_highest_port(port: str) -> None:
    assert planned(port=port) == AppPlan(int(port), EVERYWHERE, 0)


def test_what_jupyterlab_is_started_with() -> None:
    spec = webapps.jupyter(JobSpec(image="lab.sif"), None)
    assert (spec.command[:2], spec.command[3:], spec.name, spec.port) == (("sh", "-c"), ("jupyter",), "jupyter", "auto")
    idle = webapps.jupyter(JobSpec(image="lab.sif", name="mine", port="8888"), Duration(3600))
    assert (idle.name, idle.port) == ("mine", "8888")
    assert idle.command[4:] == (
        "--ServerApp.shutdown_no_activity_timeout=3600",
        "--MappingKernelManager.cull_idle_timeout=3600",
        "--MappingKernelManager.cull_connected=True",
        "--MappingKernelManager.cull_interval=300",
        "--TerminalManager.cull_inactive_timeout=3600",
    )


@pytest.mark.parametrize(("seconds", "interval"), [(1, 1), (10, 5), (7200, 300)])
def test_idle_kernels_are_looked_for_often_enough(seconds: int, interval: int) -> None:
    words = webapps.jupyter(JobSpec(image="lab.sif"), Duration(seconds)).command
    assert f"--MappingKernelManager.cull_interval={interval}" in words


@pytest.mark.parametrize("asked", [{"command": ("a",)}, {"notebook": "a.ipynb"}])
def test_jupyterlab_and_another_program(asked: dict[str, Any]) -> None:
    assert refused(lambda: webapps.jupyter(JobSpec(image="lab.sif", **asked), None), UsageError) == (
        "JupyterLab is the program of this job | leave out the command; hpcjob serve runs another program"
    )


def test_jupyterlab_without_an_image() -> None:
    said = "there is no image with JupyterLab | hpcjob jupyter --image lab.sif"
    assert refused(lambda: webapps.jupyter(JobSpec(), None), UsageError) == said


SAYS = '#!/bin/sh\nprintf "%s|" "${0##*/}" "$JUPYTER_TOKEN" "$@"; [ -w "$HOME" ] && echo writable\n'


@pytest.mark.parametrize("home", ["", "/nowhere"])
@pytest.mark.parametrize(
    ("program", "said"), [("jupyter-lab", "jupyter-lab|s3|"), ("python3", "python3|s3|-m|jupyterlab|")]
)
def test_jupyterlab_is_told_its_port_and_has_its_secret_in_the_environment(
    tmp_path: Path, program: str, said: str, home: str
) -> None:
    (tmp_path / program).write_text(SAYS)
    (tmp_path / program).chmod(0o755)
    env = {"HPCJOB_ADDRESS": EVERYWHERE, "HPCJOB_PORT": "8888", "HPCJOB_TOKEN": "s3"}
    command = webapps.jupyter(JobSpec(image="lab.sif"), Duration(60)).command
    (tmp_path / "mktemp").symlink_to("/bin/mktemp")
    done = subprocess.run(
        ["/bin/sh", *command[1:]], env={**env, "PATH": str(tmp_path), "HOME": home or str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(
        f"{said}--no-browser|--ip=0.0.0.0|--port=8888|--ServerApp.port_retries=0|--ServerApp.shutdown_no_activity"
    )
    assert done.stdout.endswith("|writable\n")


@pytest.mark.parametrize("answer", [0, 1, 255, None])
def test_an_image_that_may_have_jupyterlab_is_taken(tmp_path: Path, answer: int | None) -> None:
    calls = check(tmp_path, answer)
    assert "command -v jupyter-lab >/dev/null || python3 -c" in calls[0][2]


def test_an_image_without_jupyterlab_is_refused(tmp_path: Path) -> None:
    assert refused(lambda: check(tmp_path, 44), PlanError) == (
        f"there is no JupyterLab in the image {tmp_path}/lab.sif | add it where the image is made: RUN pip install jupyterlab"
    )


def check(home: Path, code: int | None) -> list[Sequence[str]]:
    """Look into an image whose program ends so; None: it cannot be run on this machine."""
    (home / "lab.sif").write_bytes(sif(b"02"))
    calls: list[Sequence[str]] = []

    def runner(argv: Sequence[str], **_: object) -> Completed:
        calls.append(argv)
        if code is None:
            raise UnreachableError("bash did not answer within 180 s")
        return Completed(tuple(argv), code, "", "")

    loaded: Any = SimpleNamespace(site=SITE, file=home / "cluster.yaml")
    wrapping = Wrapping(loaded, runner, jobs_folder=home)
    webapps.check_jupyter(JobSpec(image=str(home / "lab.sif"), command=("a",)), wrapping, runner)
    return calls


# ----------------------------------------------------------------------------------------- the script

SERVER = """
import os, socket, sys
with socket.create_server((os.environ["HPCJOB_ADDRESS"], int(os.environ["HPCJOB_PORT"]))) as server:
    server.setblocking(False)
    while not os.path.exists("app"):
        try:
            server.accept()[0].close()
        except BlockingIOError:
            pass
    print(os.environ["HPCJOB_PORT"], os.environ["HPCJOB_TOKEN"], open("token").read() == os.environ["HPCJOB_TOKEN"])
    print(open("app").read(), end="", flush=True)
    BODY
"""
PYTHON = (sys.executable, "-S", "-c")


def served(where: Path, body: str, **app: Any) -> subprocess.CompletedProcess[str]:
    told = AppPlan(**{"port": 0, "address": "127.0.0.1", **app})
    return run(where, *PYTHON, SERVER.replace("BODY", body), app=told, given={"HOSTNAME": "localhost"})


def test_an_application_is_told_its_port_and_its_secret_and_where_it_is_when_it_answers(tmp_path: Path) -> None:
    done = served(tmp_path, "mode = os.stat('app').st_mode, os.stat('token').st_mode; print(mode); sys.exit(3)")
    first, *rest = done.stdout.splitlines()
    port, token, same = first.split()
    assert 20000 <= int(port) < 32000
    assert (len(token), same) == (48, "True")
    private = stat.S_IFREG | 0o600
    assert rest == ["host=localhost", f"port={port}", str((private, private))]
    assert (done.returncode, done.stderr) == (3, "")
    assert not (tmp_path / "app").exists(), "nobody is sent to an application that has ended"


def test_a_secret_stays_the_same_when_the_job_starts_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine")
    done = served(tmp_path, "")
    assert done.stdout.split()[1:3] == ["mine", "True"]


def test_an_application_that_nobody_uses_is_ended_and_that_is_no_failure(tmp_path: Path) -> None:
    done = served(tmp_path, "import signal; signal.pause()", idle=1)
    assert done.returncode == 0
    assert done.stderr.startswith("hpcjob: nobody was connected for ")


def test_that_nobody_used_it_before_is_no_excuse_for_a_failure(tmp_path: Path) -> None:
    (tmp_path / "idle").touch()
    assert served(tmp_path, "sys.exit(4)", idle=600).returncode == 4


def test_an_application_that_never_answers_ends_as_it_ends(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", "exit 5", app=AppPlan(0, "127.0.0.1"))
    assert (done.returncode, done.stderr) == (5, "")


# -------------------------------------------------------------------------------------- how to get there


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path))
    return Lab(tmp_path)


def answer(folder: str) -> None:
    Path(folder, "app").write_text("host=n1\nport=23456\n")


def test_an_application_that_answers_is_found(lab: Lab) -> None:
    record = lab.submit()
    assert webapps.find(record) is None
    answer(record.folder)
    assert webapps.find(record) == App("n1", 23456, Path(record.folder, "token"))


def test_one_waits_until_it_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    record = lab.submit()
    pauses: list[float] = []
    seen: list[str] = []
    steps: Iterator[Callable[[], object]] = iter(
        [lambda: lab.slurm.start("1"), *[lambda: None] * 12, lambda: answer(record.folder)]
    )

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        lab.clock.sleep(10 + seconds)
        next(steps)()

    monkeypatch.setattr(lab.service, "sleep", sleep)
    app = webapps.wait(lab.service, record, on_change=lambda each: seen.append(each.state.value))
    assert (app.host, app.port) == ("n1", 23456)
    assert seen == ["running"]
    assert pauses[:2] == [0.5, 0.65]
    assert max(pauses) == pauses[-1] == 5.0


def test_a_job_that_ends_before_it_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    record = lab.submit()

    def sleep(seconds: float) -> None:
        lab.clock.sleep(10)
        lab.slurm.finish("1", "FAILED", code="3:0")
        lab.write_exit(record, 3)
        answer(record.folder)  # left over

    monkeypatch.setattr(lab.service, "sleep", sleep)
    assert refused(lambda: webapps.wait(lab.service, record), JobFailedError) == (
        "j1 does not answer: it is failed | see: hpcjob logs j1"
    )


def test_one_does_not_wait_for_ever(lab: Lab) -> None:
    record = lab.submit()
    assert refused(lambda: webapps.wait(lab.service, record, timeout=60), WaitTimeoutError) == (
        "j1 does not answer after 60 s | it goes on: hpcjob status j1, hpcjob serve --job j1"
    )


APP = App("n17", 23456, Path("/jobs/1/token"))


@pytest.mark.parametrize(
    ("local", "environ", "login", "line"),
    [
        (True, {}, "", ""),
        (True, {"SSH_CONNECTION": "1", "USER": "ada"}, "", "ssh -N -L 23456:localhost:23456 ada@HERE"),
        (False, {"USER": "ada"}, "", "ssh -N -L 23456:n17:23456 ada@HERE"),
        (False, {"LOGNAME": "bob"}, "login.example.org", "ssh -N -L 23456:n17:23456 bob@login.example.org"),
        (False, {}, "", "ssh -N -L 23456:n17:23456 $USER@HERE"),
    ],
)
def test_the_tunnel_that_is_typed_at_home(local: bool, environ: dict[str, str], login: str, line: str) -> None:
    assert webapps.tunnel(APP, local=local, environ=environ, login=login) == line.replace("HERE", os.uname().nodename)


@pytest.mark.parametrize(("path", "address"), [("", "/"), ("lab", "/lab"), ("/lab", "/lab")])
def test_the_address_for_the_browser(path: str, address: str) -> None:
    assert webapps.address(APP, path) == f"http://localhost:23456{address}"
