"""A home, a site, a Slurm in memory and a clock that only moves when told to."""

from __future__ import annotations

import sys
import time
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from hpcjobs import ends, paths, process
from hpcjobs.testing import FakeSlurm
from tests.cli.session import Session

if TYPE_CHECKING:
    from pathlib import Path

SITE = """\
description: a cluster for tests
detect: {}
scheduler: {kind: slurm, poll_interval: 0}
partitions:
  debug: {default: true, nodes: 4, max_time: 1h, node: {cores: 8, memory: 16G}}
defaults: {time: 30m}
launcher: {kind: srun}
"""


@pytest.fixture
def session(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> Session:
    for name in ("HPCJOBS_LOG", "HPCJOBS_SITE_PATH", "HPCJOBS_TEMPLATE_PATH", "NO_COLOR", "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPCJOBS_SITE", "cluster")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    (tmp_path / "work/.hpcjobs/sites").mkdir(parents=True)
    (tmp_path / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE)
    monkeypatch.chdir(tmp_path / "work")

    slurm = FakeSlurm()
    tags = count(1)
    monkeypatch.setattr(process, "run", slurm)
    monkeypatch.setattr(paths, "new_tag", lambda: f"{next(tags):012x}")
    monkeypatch.setattr(ends, "time", SimpleNamespace(time=slurm.clock))
    session = Session(tmp_path, slurm, capsys, request, monkeypatch)
    session.set_clock(slurm.clock, slurm.clock.sleep)
    return session


@pytest.fixture
def terminal(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the standard streams a terminal of 80 columns without colour."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda _: True)
