"""What all tests share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from hpcjobs.mpi.facts import MpiHost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# Under nohup; what the tests start would inherit it, and bash cannot change it.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write what comes out as what is expected (golden files)")


@pytest.fixture(autouse=True)
def _a_machine_without_mpi(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test plans must not depend on the MPIs of the machine it runs on; those that look at one say so."""
    if "integration" in request.path.parts or request.path.stem in ("test_mpi_host", "test_mpi_lock"):
        return
    bare = MpiHost(made="2026-11-21T12:00:00Z", node="login1", arch=os.uname().machine, glibc="2.36")
    monkeypatch.setattr("hpcjobs.mpi.host.probe", lambda *_, **__: bare)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a golden file; with --bless, write the file."""

    def check(file: Path, text: str) -> None:
        if request.config.getoption("--bless"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        assert file.is_file(), f"no {file.name}: look at it, then run pytest --bless"
        assert file.read_text("utf-8") == text

    return check
