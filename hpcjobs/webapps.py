"""Web applications in jobs: JupyterLab, and whatever listens on a port.

The job's script chooses the port, makes a secret and writes both to files of the job's folder (templates/base.sh.j2);
here they are read, and it is said how to get there through ssh.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import render
from hpcjobs.errors import JobFailedError, PlanError, UnreachableError, UsageError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hpcjobs.model import JobSpec
    from hpcjobs.process import Runner
    from hpcjobs.record import JobRecord
    from hpcjobs.service import Service
    from hpcjobs.units import Duration
    from hpcjobs.wrapping import Wrapping

# By the environment, and not by an option, which stands in every list of processes (jupyter_server, IdentityProvider).
# A home that is not shown in the container, or cannot be written, is of no use to Jupyter.
_LAB = (
    '[ -w "$HOME" ] || { HOME=$(mktemp -d); export HOME; }; export JUPYTER_TOKEN="$HPCJOB_TOKEN"; '
    'set -- --no-browser --ip="$HPCJOB_ADDRESS" --port="$HPCJOB_PORT" --ServerApp.port_retries=0 "$@"; '
    'command -v jupyter-lab >/dev/null && exec jupyter-lab "$@"; exec python3 -m jupyterlab "$@"'
)
_PROBE = "command -v jupyter-lab >/dev/null || python3 -c 'import jupyterlab'"
_PROBE_TIMEOUT = 180.0
_LONGEST_PAUSE = 5.0


@dataclass(frozen=True)
class App:
    """A web application that answers."""

    host: str
    port: int
    token_file: Path


def jupyter(spec: JobSpec, idle: Duration | None) -> JobSpec:
    """The request with JupyterLab as its program; `idle` counts from the last work of its kernels.

    Raises:
        UsageError: there is a command, or no image.
    """
    if spec.command or spec.notebook:
        raise UsageError(
            "JupyterLab is the program of this job", hint="leave out the command; hpcjob serve runs another program"
        )
    if not spec.image:
        raise UsageError("there is no image with JupyterLab", hint="hpcjob jupyter --image lab.sif")
    options: tuple[str, ...] = ()
    if idle:
        seconds = int(idle)
        options = (
            f"--ServerApp.shutdown_no_activity_timeout={seconds}",
            f"--MappingKernelManager.cull_idle_timeout={seconds}",
            "--MappingKernelManager.cull_connected=True",
            f"--MappingKernelManager.cull_interval={max(1, min(300, seconds // 2))}",
            f"--TerminalManager.cull_inactive_timeout={seconds}",
        )
    return replace(
        spec, command=("sh", "-c", _LAB, "jupyter", *options), name=spec.name or "jupyter", port=spec.port or "auto"
    )


def check_jupyter(spec: JobSpec, wrapping: Wrapping, runner: Runner) -> None:
    """Refuse an image without JupyterLab; where images cannot be run on this machine, nothing is known.

    Raises:
        PlanError: it has none.
    """
    spec, image, runtime = wrapping.prepared(spec)
    made = wrapping.of(replace(spec, command=("sh", "-c", f"{_PROBE} || exit 44")), image, runtime)
    try:
        done = runner(("bash", "-c", render.render_wrapper(made), "hpcjob"), timeout=_PROBE_TIMEOUT)
    except UnreachableError:
        return
    if done.code == 44:  # noqa: PLR2004 - which no runtime ends with
        raise PlanError(
            f"there is no JupyterLab in the image {spec.image}",
            hint="add it where the image is made: RUN pip install jupyterlab",
        )


def find(record: JobRecord) -> App | None:
    """Where the job's application answers; None if it does not yet."""
    folder = Path(record.folder)
    try:
        text = (folder / "app").read_text("utf-8")
    except OSError:
        return None
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return App(told["host"], int(told["port"]), folder / "token")


def wait(
    service: Service,
    record: JobRecord,
    *,
    timeout: float | None = None,
    on_change: Callable[[JobRecord], None] = lambda _: None,
) -> App:
    """Wait until the application answers.

    Raises:
        JobFailedError: the job ended before.
        WaitTimeoutError: `timeout` seconds are over; the job goes on.
    """
    begin, pause = service.now(), 0.5
    while True:
        state = record.state
        (record,) = service.refresh([record]).records
        if record.state is not state:
            on_change(record)
        if not record.state.final and (app := find(record)):
            return app
        if record.state.final:
            raise JobFailedError(
                f"{record.label} does not answer: it is {record.state.value}",
                hint=f"see: hpcjob logs {record.label}",
            )
        if timeout is not None and service.now() - begin >= timeout:
            raise WaitTimeoutError(
                f"{record.label} does not answer after {timeout:g} s",
                hint=f"it goes on: hpcjob status {record.label}, hpcjob serve --job {record.label}",
            )
        service.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE)


def tunnel(app: App, *, local: bool, environ: Mapping[str, str], login: str = "") -> str:
    """What is typed on one's own computer to reach the application; empty if this is that computer."""
    if local and not environ.get("SSH_CONNECTION"):
        return ""
    user = environ.get("USER") or environ.get("LOGNAME") or "$USER"
    host = "localhost" if local else app.host
    return f"ssh -N -L {app.port}:{host}:{app.port} {user}@{login or os.uname().nodename}"


def address(app: App, path: str = "") -> str:
    """The address for the browser, at the near end of the tunnel."""
    return f"http://localhost:{app.port}/{re.sub('^/', '', path)}"
