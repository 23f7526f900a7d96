"""Studies on a real Slurm when it goes wrong: limits, nodes that are lost, walltimes; and what points get to see."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.record import JobState
from hpcjobs.service import Service
from hpcjobs.studies import Chosen
from tests.integration import images as made_images
from tests.integration import person as people
from tests.integration import test_mpi as mpi
from tests.integration.conftest import Cli
from tests.integration.images import tool
from tests.integration.person import Installed, Person
from tests.integration.test_sweep_conformance import ONCE, Runner

pytestmark = pytest.mark.integration
made = made_images.made
installed, person = people.installed, people.person
images, looked_at, world = mpi.images, mpi.looked_at, mpi.world
S = JobState


@pytest.fixture
def run(slurm: Callable[..., str], home: Path) -> Runner:
    return Runner(Service(), "testbed", home)


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


# ------------------------------------------------------------------------------------------- limits


@pytest.fixture
def four_at_a_time(slurm: Callable[..., str]) -> Iterator[None]:
    """The user may have four tasks in the queue."""
    mine = ("sacctmgr", "--immediate", "modify", "user", "where", "name=root", "account=test", "set")
    command(*mine, "MaxSubmitJobs=4")
    yield
    command(*mine, "MaxSubmitJobs=-1")


@pytest.mark.usefixtures("four_at_a_time")
@pytest.mark.parametrize("asked", ["ask", "site"])
def test_a_limit_of_the_queue_is_reached_half_way(cli: Cli, home: Path, run: Runner, asked: str) -> None:
    site = home / "site.yaml"
    site.write_text(f"extends: testbed\nscheduler: {{limits: {asked}}}\n")
    options = ("--site-file", str(site), "--runtime", "none", "-n", "1", "--grid", "i=range(0,10)")
    done = cli("sweep", *options, "--", "bash", "-c", ONCE)
    assert "6 points not sent: " in done.stderr
    cli("wait", "s1", timeout=60)
    (study,) = run.service.store.studies()
    assert run.over(study).points.states == [S.DONE] * 10
    assert run.ran() == list(range(10))


# -------------------------------------------------------------------------------------------- nodes


@pytest.fixture
def lose_node(slurm: Callable[..., str]) -> Iterator[Callable[[str], None]]:
    """Say that a node is down; it comes back in the end."""

    def lose(name: str) -> None:
        command("scontrol", "update", f"nodename={name}", "state=down", "reason=test")

    yield lose
    slurm("up")


def put_back(run: Runner, task: str, lost: str) -> None:
    """Wait until Slurm has put a task back into the queue, and let it begin, which would be in two minutes.

    Not on the lost node, which is soon back: for these two minutes its slurmd takes the task for one that was killed.
    """
    for _ in range(600):
        if "Restarts=1" in command("scontrol", "show", "job", task):
            break
        run.service.sleep(0.1)
    else:
        raise AssertionError(f"{task} is not put back")
    command("scontrol", "update", f"jobid={task}", f"ExcNodeList={lost}", "StartTime=now")


@pytest.mark.parametrize("requeue", [False, True])
def test_a_node_is_lost(run: Runner, lose_node: Callable[[str], None], home: Path, requeue: bool) -> None:
    script = 'echo begun >>"begun.$i"; [[ $i != 2 || -e go ]] || exec sleep 300'
    retry = {} if requeue else {"node_fail": 1}
    study = run.submit(script, 4, pack=4, workers=1, retry=retry, job={"requeue": requeue})
    run.until(study, 2, S.RUNNING)
    (job,) = run.service.refresh(run.service.store.jobs_of(study.id), force=True).records
    (home / "go").touch()
    lose_node(job.node_list)
    if requeue:
        put_back(run, f"{job.native_id}_0", job.node_list)
    now = run.over(study)
    assert now.points.states == [S.DONE] * 4
    assert len(now.jobs) == (1 if requeue else 2)
    begun = {number: len((home / f"begun.{number}").read_text().split()) for number in range(4)}
    assert begun == {0: 1, 1: 1, 2: 2, 3: 1}, "what had ended is not run again"


# ----------------------------------------------------------------------------------------- walltime


def test_the_time_of_a_pack_is_over(run: Runner, home: Path) -> None:
    script = "[[ -e go || $i == 0 ]] || { trap '' TERM; sleep 300 & wait; wait; }"
    study = run.submit(script, 4, pack=4, workers=1, job={"time": 60})
    run.until(study, 1, S.RUNNING)
    (job,) = run.service.store.jobs_of(study.id)
    command("scontrol", "update", f"jobid={job.native_id}_0", "EndTime=now+1")
    now = run.over(study)
    assert now.points.states == [S.DONE, S.TIMEOUT, S.CREATED, S.CREATED]
    (home / "go").touch()
    study, _, numbers = run.sweeps.resubmit(Chosen(study), ["missing"])
    assert numbers == (2, 3)
    assert run.over(study).points.states == [S.DONE, S.TIMEOUT, S.DONE, S.DONE]
    study, _, numbers = run.sweeps.resubmit(Chosen(study), ["failed"], time="x2")
    assert run.over(study).points.states == [S.DONE] * 4
    assert [each.time for each in study.rounds] == [0, 60, 120]


# ------------------------------------------------------------------------------- what a point sees

NAMES = ("PS4", "BASH_ENV", "HOSTNAME", "LC_ALL", "SLURM_JOB_ID", "n", "i")
REFUSED = ("PATH", "IFS", "UID", "OPTIND", "SECONDS", "SHELLOPTS", "HPCJOB_POINT", "point")
VALUES = (
    "it's", 'say "hi"', "two\nlines", "\n", "ends in a line\n", "tab\there", "  spaces  ", "", "ü€🙂", "back\\slash\\",
    "\\n", "$HOME", "`id`", "$(id)", "*", "~", "#", "!", "%s%b", "-n", "a,b;c", "=", "\x01\x7f", "é" * 3000,
)  # fmt: skip
RUNTIMES = {"none": "", "charliecloud": "app", "apptainer": "app.sif", "podman": "own"}


@pytest.fixture(params=RUNTIMES)
def where(request: pytest.FixtureRequest, installed: Installed, made: Path) -> tuple[str | Path, ...]:
    """The options for a runtime, with an image in a form that it takes."""
    image = RUNTIMES[request.param]
    if image == "own" and not (installed.folder / "own").exists():  # Podman writes into it
        tool("cp", "-a", made / "app", installed.folder / "own")
        tool("chown", "-R", "hpc:", installed.folder / "own")
    folder = installed.folder if image == "own" else made
    named = ("--image", folder / image) if image else ()
    return ("--site", "testbed", "--runtime", str(request.param), *named)


@pytest.mark.parametrize("packing", [(), ("--pack", "2", "--workers", "2")], ids=["one", "pack"])
def test_parameters_may_be_called_like_variables_of_shells(
    person: Person, where: tuple[str | Path, ...], packing: tuple[str, ...]
) -> None:
    grid = [word for name in NAMES for word in ("--zip", f"{name}=3,4")]
    show = ("/bin/busybox", "env", *(f"WORD_{name}={{{name}}}" for name in NAMES))
    person("sweep", *where, *grid, *packing, "--folder", "{point}", "--wait", "--", *show)
    for number in range(2):
        lines = (person.folder / f"{number}/output.log").read_text().splitlines()
        for name in NAMES:
            assert f"{name}={number + 3}" in lines
            assert f"WORD_{name}={number + 3}" in lines


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_a_shell_keeps_for_itself_are_refused(person: Person, name: str) -> None:
    done = person("sweep", "--site", "testbed", "--grid", f"{name}=3,4", "--", "true", code=None)
    assert done.returncode in (2, 3)
    assert name in done.stderr
    assert "hint: " in done.stderr


def test_values_arrive_byte_for_byte(person: Person, where: tuple[str | Path, ...]) -> None:
    person.write("values.json", json.dumps([{"value": value} for value in VALUES]))
    script = 'printf %s "$1" >word; printf %s "$value" >variable'
    options: tuple[Any, ...] = (*where, "--table", "values.json", "--pack", "30", "--workers", "2")
    person("sweep", *options, "--folder", "{point}", "--wait", "--", "sh", "-c", script, "sh", "{value}")
    for number, value in enumerate(VALUES):
        for kind in ("word", "variable"):
            assert (person.folder / f"{number}/{kind}").read_bytes() == value.encode(), (kind, value)


# ---------------------------------------------------------------------------------------------- MPI


def test_points_of_several_ranks_run_one_after_the_other_in_a_pack(world: mpi.World) -> None:
    options = ("--site-file", world.site, "--image", world.images / "trixie-mpich.sif", "-n", "2", "-N", "1")
    world.person("sweep", *options, "--grid", "i=range(0,3)", "--pack", "3", "--wait", "--", mpi.HELLO)
    for number in range(3):
        lines = world.person("logs", f"s1[{number}]").stdout.splitlines()
        mpi.assert_found_each_other(lines, mpi.HOSTS_OWN, ranks=2, nodes=1)
    (study,) = json.loads(world.person("status", "s1", "--json").stdout)["studies"]
    assert (study["state"], len(study["jobs"])) == ("done", 1)
