"""The real Slurm: found running or started, and a home for the jobs of each test."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fake_pbs.control import FakePbs

# On whatever PBS is on PATH, as an ordinary user.
ON_REAL_PBS = bool(os.environ.get("HPCJOBS_TEST_PBS"))
# Kinds of real schedulers, and the site file of a test for each: Slurm by its own commands and by those of Debian's
# slurm-wlm-torque (a real qsub, qstat and qdel); a PBS by its commands and by its library.
SITE_FILES = {
    "slurm": "extends: testbed",
    "slurm-torque": "extends: pbs\nscheduler: {poll_interval: 1}",
    "pbs": "extends: pbs\nscheduler: {poll_interval: 2}",
    "pbs-api": "extends: pbs\nscheduler: {poll_interval: 2, driver: api}",
}
CLUSTER = Path(__file__).parent.parent / "cluster"


def real(*kinds: str) -> list[Any]:
    """Parameters for those of the kinds that are there: a PBS of somebody's, or the test cluster."""
    marks = {kind: (pytest.mark.integration, *([pytest.mark.pbs] if kind.startswith("pbs") else ())) for kind in kinds}
    return [pytest.param(kind, marks=marks[kind]) for kind in kinds if kind.startswith("pbs") is ON_REAL_PBS]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On somebody's PBS, only what is meant for it."""
    here = Path(__file__).parent
    for item in items if ON_REAL_PBS else ():
        if here in item.path.parents and not item.get_closest_marker("pbs"):
            item.add_marker(pytest.mark.skip("NOT TESTED: HPCJOBS_TEST_PBS asks for the tests on a real PBS alone"))


def write_site(kind: str, folder: Path) -> Path:
    """The site file for a kind of scheduler."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"its-{kind}.yaml"
    file.write_text(SITE_FILES[kind] + "\n")
    return file


def cluster(*args: str) -> str:
    """Run tests/cluster/slurm; its output."""
    done = subprocess.run([CLUSTER / "slurm", *args], check=True, capture_output=True, text=True, timeout=120)
    return done.stdout


@pytest.fixture(scope="session")
def slurm() -> Callable[..., str]:
    """The test cluster, up; call it with a verb of tests/cluster/slurm.

    Needs root on Debian. In CI its absence is a failure, never a skip.
    """
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("the real Slurm is NOT TESTED: starting it needs root (see tests/cluster/README.md)")
    cluster("up")
    for name, value in re.findall(r"export (\w+)=(\S+)", cluster("env")):
        os.environ[name] = value.strip("'\"")
    return cluster


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own for the jobs of one test; on somebody's PBS in their home, which all nodes see."""
    folder = Path(tempfile.mkdtemp(prefix=".hpcjobs-test.", dir=Path.home())) if ON_REAL_PBS else tmp_path
    monkeypatch.setenv("HPCJOBS_HOME", str(folder / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.chdir(folder)
    yield folder
    if ON_REAL_PBS:
        shutil.rmtree(folder, ignore_errors=True)


FakePbsMaker = Callable[..., FakePbs]


@pytest.fixture
def make_fake_pbs(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePbsMaker]:
    """Make a PBS of programs first on PATH, and a site `fake-pbs` that is asked without pauses."""
    made = []

    def make(dialect: str = "openpbs", *, timeout: float = 20, **settings: object) -> FakePbs:
        user = pwd.getpwuid(os.getuid()).pw_name
        fake = FakePbs(home / "pbs", dialect, **{"user": user, "real": True, "kill_delay": 1, **settings})
        made.append(fake)
        monkeypatch.setenv("PATH", f"{fake.bin}:{os.environ['PATH']}")
        sites = home / ".hpcjobs/sites"
        sites.mkdir(parents=True)
        text = f"extends: pbs\nscheduler: {{poll_interval: 0, timeout: {timeout}, submit_timeout: {timeout}}}\n"
        (sites / "fake-pbs.yaml").write_text(text)
        return fake

    yield make
    for fake in made:
        fake.close()


Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def cli(home: Path) -> Iterator[Cli]:
    """Run `hpcjob` as a person would, in an empty folder."""

    def run(
        *args: str, code: int | None = 0, timeout: float = 120, under: Sequence[str] = (), **env: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*under, sys.executable, "-m", "hpcjobs", *args],
            capture_output=True, text=True, timeout=timeout, cwd=home, env={**os.environ, **env}, check=False,
        )  # fmt: skip
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    yield run
    if (home / "home/jobs.sqlite3").exists():
        run("cancel", "active", code=None)
