"""PBS as a person has it, on a real one: a PBS of somebody's (HPCJOBS_TEST_PBS=1), in CI Slurm's look-alike of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hpcjobs.record import JobState
from hpcjobs.service import Service
from tests.integration import images as made_images
from tests.integration import person as people
from tests.integration.conftest import ON_REAL_PBS, Cli, real, write_site
from tests.integration.crash import POINTS
from tests.integration.person import Done

made, installed, person = made_images.made, people.installed, people.person
Hpcjob = Callable[..., Done]

CRASH = Path(__file__).with_name("crash.py")
ONE = ("--runtime", "none", "-n", "1")
HELLO = r"""
#include <mpi.h>
#include <stdio.h>
int main(int argc, char **argv) {
  int rank, size, length;
  char host[MPI_MAX_PROCESSOR_NAME];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Get_processor_name(host, &length);
  printf("rank %d of %d on %s\n", rank, size, host);
  return MPI_Finalize();
}
"""


@pytest.fixture(params=real("slurm-torque", "pbs"))
def kind(request: pytest.FixtureRequest) -> str:
    """Whose PBS this is."""
    if request.param == "slurm-torque":
        request.getfixturevalue("slurm")
    return str(request.param)


@pytest.fixture
def folder(kind: str, request: pytest.FixtureRequest) -> Path:
    """Where the person works; all nodes see it."""
    if kind == "pbs":
        return Path(request.getfixturevalue("home"))
    return Path(request.getfixturevalue("person").folder)


@pytest.fixture
def hpcjob(kind: str, folder: Path, request: pytest.FixtureRequest) -> Hpcjob:
    """`hpcjob` as an ordinary person has it, with a site file for this PBS."""
    write_site(kind, folder / ".hpcjobs/sites")
    if kind == "pbs":
        cli: Cli = request.getfixturevalue("cli")
        return lambda *args, **env: cli(*map(str, args), **{"HPCJOBS_SITE": "its-pbs", **env})
    ordinary: people.Person = request.getfixturevalue("person")
    return lambda *args, **env: ordinary(*args, **{"HPCJOBS_SITE": "its-slurm-torque", **env})


def record(hpcjob: Hpcjob, job: str = "last") -> dict[str, object]:
    (found,) = json.loads(hpcjob("show", job, "--json").stdout)["jobs"]
    return dict(found)


def lines(hpcjob: Hpcjob, *args: str | Path) -> list[str]:
    """What a job writes, once it has ended well."""
    hpcjob("submit", "--wait", *args)
    return hpcjob("logs", "last").stdout.splitlines()


def test_a_job_from_submission_to_its_end(hpcjob: Hpcjob) -> None:
    assert hpcjob("submit", *ONE, "-t", "5", "--hold", "--", "sh", "-c", "echo out; echo err >&2").stdout == "j1\n"
    native = str(record(hpcjob)["native_id"])
    assert record(hpcjob, native)["state"] == "held"
    assert "its owner holds it" in hpcjob("explain", native).stdout
    assert hpcjob("release", native).stderr == "released j1\n"
    hpcjob("wait", native)
    found = record(hpcjob, native)
    assert (found["state"], found["exit_code"]) == ("done", 0)
    assert hpcjob("logs", native).stdout == "out\n"
    assert hpcjob("doctor").stdout


def test_cancel_by_the_scheduler_s_own_id(hpcjob: Hpcjob) -> None:
    hpcjob("submit", *ONE, "-a", "1-3", "--hold", "--", "true")
    native = str(record(hpcjob)["native_id"])
    assert hpcjob("cancel", native).stderr == "cancelled j1\n"
    hpcjob("wait", "j1", code=1)
    assert record(hpcjob)["state"] == "cancelled"


def test_mpi_over_two_nodes(hpcjob: Hpcjob, folder: Path) -> None:
    if not (shutil.which("mpicc") and shutil.which("mpiexec")):
        pytest.skip("MPI under PBS is NOT TESTED: there is no mpicc and mpiexec on PATH")
    (folder / "hello.c").write_text(HELLO)
    subprocess.run(["mpicc", "-o", folder / "hello", folder / "hello.c"], check=True, timeout=60)
    said = lines(hpcjob, "--runtime", "none", "-N", "2", "-n", "4", "-t", "5", "--", f"{folder}/hello")
    found = [match for match in map(re.compile(r"rank (\d) of 4 on (\S+)").fullmatch, said) if match]
    assert sorted(int(match[1]) for match in found) == [0, 1, 2, 3], said
    assert sorted(Counter(match[2] for match in found).values()) == [2, 2], said


def test_a_container_sees_the_list_of_nodes(kind: str, hpcjob: Hpcjob, request: pytest.FixtureRequest) -> None:
    image = (request.getfixturevalue("made") if kind == "slurm-torque" else made_images.IMAGES) / "app.sif"
    if not (image.exists() and shutil.which("apptainer") and shutil.which("mpiexec")):
        pytest.skip(
            f"containers under PBS are NOT TESTED: apptainer, mpiexec and {image} (tests/cluster/images) are needed"
        )
    show = "echo $(hostname) $(sort -u $PBS_NODEFILE | wc -l)"
    job = ("--image", image, "-N", "2", "-n", "2", "-t", "5", "--mpi-check", "never", "--", "sh", "-c", show)
    said = [line.split() for line in lines(hpcjob, *job)]
    assert [count for _, count in said] == ["2", "2"], said
    assert len({host for host, _ in said}) == 2, said


def test_a_refusal_names_the_queue(kind: str, hpcjob: Hpcjob) -> None:
    refused = hpcjob("submit", *ONE, "-p", "no-such-queue", "--", "true", code=3)
    assert "no-such-queue" in refused.stderr
    assert not json.loads(hpcjob("history", "--json").stdout)["jobs"]


def test_an_array_of_a_thousand(hpcjob: Hpcjob) -> None:
    hpcjob("submit", *ONE, "-a", "0-999", "--hold", "--", "true")
    found = record(hpcjob)
    assert (found["state"], found["tasks"]) == ("held", {"states": {"held": "0-999"}, "exit_codes": {}})
    assert hpcjob("cancel", "j1").stderr == "cancelled j1\n"
    hpcjob("wait", "j1", code=1)
    assert record(hpcjob)["tasks"] == {"states": {"cancelled": "0-999"}, "exit_codes": {}}


def test_a_folder_for_output_that_is_gone(hpcjob: Hpcjob, folder: Path) -> None:
    hpcjob("submit", *ONE, "-o", f"{folder}/out/of.log", "--hold", "--", "true")
    shutil.rmtree(folder / "out")
    hpcjob("release", "j1")
    hpcjob("wait", "j1", code=1)
    assert f"the folder for its output is not there: {folder}/out" in hpcjob("explain", "j1").stdout


if ON_REAL_PBS:  # Slurm's shortest is a minute

    def test_walltime(hpcjob: Hpcjob) -> None:
        hpcjob("submit", *ONE, "-t", "0:05", "--", "sleep", "300")
        hpcjob("wait", "j1", code=1)
        assert record(hpcjob)["state"] == "timeout"
        assert "it was ended when its walltime was over (00:00:05)" in hpcjob("explain", "j1").stdout


# ------------------------------------------------------------------------------------------- kill -9


@pytest.fixture
def crash(kind: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Service]:
    """Submit held jobs in a process that dies; a service whose clock is past the time that a reservation is given."""
    site = write_site(kind, home / ".hpcjobs/sites").stem

    def run(*args: str) -> Service:
        env = {**os.environ, "CRASH_SITE": site, "CRASH_HOLD": "1"}
        subprocess.run([sys.executable, CRASH, *args], check=False, capture_output=True, timeout=300, env=env)
        service = Service(clock=lambda: time.time() + 60)
        deadline = time.monotonic() + 60
        while any(
            not r.native_id and not r.state.final for r in service.refresh(service.history(), force=True).records
        ):
            assert time.monotonic() < deadline
        return service

    return run


def copies(service: Service) -> Counter[str]:
    """How many jobs PBS has for each of our tags."""
    text = subprocess.run(["qstat", "-f"], check=True, capture_output=True, text=True).stdout.replace("\n\t", "")
    found = Counter(tag for each in text.split("Job Id:") for tag in set(re.findall(r"[0-9a-f]{12}", each)))
    return Counter({one.tag: found[one.tag] for one in service.history() if one.tag in found})


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_reservation_and_commit(crash: Callable[..., Service], point: str) -> None:
    service = crash(point)
    (*found,) = service.history()
    assert [bool(each.native_id) for each in found] == {"folder": [], "reserved": [False]}.get(point, [True])
    assert copies(service) == {each.tag: 1 for each in found if each.native_id}
    service.cancel(service.select(["active"]) if service.active() else [])


def test_twenty_random_kills(crash: Callable[..., Service]) -> None:
    service = crash("random", "20")
    sent = [each for each in service.history() if each.native_id]
    assert len({each.native_id for each in sent}) == len(sent) > 0
    assert copies(service) == {each.tag: 1 for each in sent}, "lost, made up or doubled"
    service.cancel(service.select(["active"]))
    assert {each.state for each in service.wait(sent, timeout=90)} == {JobState.CANCELLED}
