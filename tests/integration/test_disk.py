"""Disks that are full, and folders that cannot be written: real ones, on each scheduler."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpcjobs.record import JobState
from hpcjobs.schedulers.local_queue import Queue
from hpcjobs.service import Selected, Service
from tests.integration.conftest import Cli

PAGE = 4096  # what a tmpfs gives at a time
# Root, but without the right to write where the mode forbids it.
ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


@pytest.fixture(params=[pytest.param("testbed", marks=pytest.mark.integration, id="slurm"), "local"])
def site(request: pytest.FixtureRequest, home: Path) -> str:
    if request.param == "testbed":
        request.getfixturevalue("slurm")
    return str(request.param)


class Disk:
    """A small file system of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.root], check=True)

    def fill(self, *, leaving: int = 0) -> None:
        found = os.statvfs(self.root)
        (self.root / "ballast").write_bytes(bytes(found.f_bavail * found.f_frsize - leaving))

    def clear(self) -> None:
        (self.root / "ballast").unlink(missing_ok=True)


@pytest.fixture
def disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A tmpfs of half a megabyte that holds the jobs of one test."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("full disks and read-only file systems are NOT TESTED: mounting one needs root")
    root = home / "disk"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=700", "tmpfs", root], check=True)
    monkeypatch.setenv("HPCJOBS_HOME", str(root / "home"))
    disk = Disk(root)
    yield disk
    disk.remount("rw")
    disk.clear()
    service = Service()
    if active := service.active():
        service.cancel([Selected(record) for record in active])
    subprocess.run(["umount", "--lazy", root], check=True)


def queued(site: str, disk: Disk) -> list[str]:
    """The tags of the jobs that the scheduler has."""
    if site == "local":
        return [job.tag for job in Queue(disk.root / "home/local" / os.uname().nodename).load_active()]
    command = ["squeue", "--me", "--noheader", "--format=%k"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    mine = {record.tag for record in Service().history()}
    return [tag for line in lines if (tag := line.removeprefix("hpcjob:")) in mine]


def submit(site: str, *options: str) -> tuple[str, ...]:
    return ("submit", "--site", site, "--runtime", "none", "-n1", *options, "--")


def test_on_a_disk_that_is_nearly_full_a_job_is_submitted_or_refused(cli: Cli, disk: Disk, site: str) -> None:
    cli(*submit(site, "--hold"), "true")  # what is made once is there
    codes = []
    for free in range(0, 20 * PAGE, PAGE):
        disk.fill(leaving=free)
        done = cli(*submit(site, "--hold"), "true", code=None)
        disk.clear()
        codes.append(done.returncode)
        if done.returncode:
            assert "No space left on device" in done.stderr or "disk is full" in done.stderr
    assert codes[0] == 7
    assert codes[-1] == 0
    status = cli("status").stdout.splitlines()[1:]
    records = Service().history()
    assert len(status) == len(records) == 1 + codes.count(0)
    assert {record.state for record in records} == {JobState.HELD}
    assert sorted(queued(site, disk)) == sorted(record.tag for record in records)


@pytest.mark.parametrize("site", [pytest.param("testbed", marks=pytest.mark.integration)], indirect=True)
def test_a_disk_that_fills_up_while_the_job_is_accepted(cli: Cli, disk: Disk, site: str, home: Path) -> None:
    cli(*submit(site, "--hold"), "true")
    shim = home / "bin/sbatch"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n/usr/bin/sbatch "$@" && cat /dev/zero >{disk.root}/ballast 2>/dev/null\nexit 0\n')
    shim.chmod(0o755)
    done = cli(*submit(site, "--hold"), "true", code=7, PATH=f"{shim.parent}:{os.environ['PATH']}")
    assert "j2 was submitted as slurm job " in done.stderr
    assert "do not submit it again" in done.stderr
    assert "nothing was submitted" not in done.stderr
    shown = cli("status", code=7)
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == ["ID", "j1", "j2"]
    assert "No space left on device" in shown.stderr
    disk.clear()
    first, second = (line.split("\t") for line in cli("status").stdout.splitlines()[1:])
    assert [first[2], second[2]] == ["held", "held"]
    assert len(queued(site, disk)) == 2


def test_a_full_disk_hides_no_job_and_cancels_those_of_a_cluster(cli: Cli, disk: Disk, site: str, home: Path) -> None:
    cli(*submit(site, "-o", str(home / "out.log")), "sh", "-c", f"touch {home}/began; exec sleep 600")
    while not (home / "began").exists():
        pass
    disk.fill()
    shown = cli("status", code=7)
    assert shown.stdout.splitlines()[1].split("\t")[2].startswith("running")
    if site == "local":  # its queue is on that disk
        assert "No space left on device" in cli("cancel", "j1", code=5).stderr
        disk.clear()
        cli("cancel", "j1")
    else:
        assert "cancelled j1, which could not be recorded" in cli("cancel", "j1", code=7).stderr
        disk.clear()
    cli("wait", "j1", "--timeout", "60", code=1)
    assert cli("status").stdout.splitlines()[1].split("\t")[2].startswith("cancelled")


@pytest.mark.parametrize(
    ("site", "kind"),
    [
        pytest.param("testbed", "file system", marks=pytest.mark.integration),
        pytest.param("testbed", "folder", marks=pytest.mark.integration),
        ("local", "folder"),  # its supervisor has files open, and Linux makes no such file system read-only
    ],
    indirect=["site"],
)
def test_what_cannot_be_written_is_named_and_hides_no_job(cli: Cli, disk: Disk, site: str, kind: str) -> None:
    cli(*submit(site, "--hold"), "true")
    folders = [disk.root / "home", disk.root / "home/jobs", disk.root / "home/jobs.sqlite3"]
    if kind == "file system":
        problem = "ead-only file system"
        disk.remount("ro")
    else:
        problem = "Permission denied"
        for folder in folders:
            folder.chmod(0o500)
    refused = cli(*submit(site, "--hold"), "true", code=7, under=ORDINARY)
    assert problem in refused.stderr
    assert f"{disk.root}/home" in refused.stderr
    assert "HPCJOBS_HOME" in refused.stderr
    shown = cli("status", code=7, under=ORDINARY)
    assert shown.stdout.splitlines()[1].split("\t")[:3] == ["j1", "true", "held"]
    assert "HPCJOBS_HOME" in shown.stderr
    disk.remount("rw")
    for folder in folders:
        folder.chmod(0o700)
    assert cli("status", under=ORDINARY).stdout.count("held") == 1
    assert len(queued(site, disk)) == 1
