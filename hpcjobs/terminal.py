"""A shell on a node: what the scheduler's interactive jobs are asked for is what the batch script would have said.

Sources: salloc(1) and srun(1), "--pty" and "--overlap"; qsub(1B) of OpenPBS and TORQUE, "-I".
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hpcjobs import paths, render, shell
from hpcjobs.errors import PlanError
from hpcjobs.translate.script import PBS, SLURM, read
from hpcjobs.wrapper import SHELL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hpcjobs.model import JobSpec
    from hpcjobs.service import Prepared, Service
    from hpcjobs.wrapping import Wrapping

# Directives that are about files of a batch job, or that an interactive one does not know.
_NOT_SALLOC = re.compile(r"--(output|error|open-mode|requeue|no-requeue|export|array|hold)\b")
_NOT_QSUB = ("-o", "-e", "-j", "-k", "-r", "-J", "-t", "-c", "-S", "-h")
# One process on the job's first node, beside steps that are started from the shell (hpcjob image mpi).
_STEP = ("srun", "--pty", "--overlap", "--mem=0", "--nodes=1", "--ntasks=1", "--mpi=none", "--cpu-bind=none")


@dataclass(frozen=True)
class Terminal:
    """A command to be given the terminal."""

    argv: tuple[str, ...]
    # What is typed into it once it has said this: qsub -I takes no command.
    when: str = ""
    typed: str = ""
    # What is typed names this file, which the node sees: its path and text.
    file: Path | None = None
    text: str = ""


def opened(
    service: Service, wrapping: Wrapping, spec: JobSpec, *, site: str = "", site_file: str = "", final: bool = True
) -> Terminal:
    """What opens a shell on a node of the site, in the image if there is one.

    Raises:
        PlanError: the job cannot run there, or the scheduler has no interactive jobs that hpcjob knows.
    """
    if spec.array or spec.hold or spec.services or spec.notebook or spec.port:
        raise PlanError(
            "a shell is one job that starts at once", hint="leave out -a, -H, --service, --notebook, --port"
        )
    asked = replace(spec, command=SHELL if spec.image else ("bash",), name=spec.name or "shell", mpi="none")
    asked = replace(asked, ntasks_per_node=asked.ntasks_per_node or (None if asked.ntasks else 1))
    prepared = service.prepare(asked, site=site, site_file=site_file, final=final)
    kind = prepared.site.scheduler.kind
    if kind not in _KINDS:
        raise PlanError(f"{kind} has no interactive jobs that hpcjob knows", hint="hpcjob submit sends a batch job")
    if spec.image:
        text = render.render_wrapper(wrapping.wrapper(replace(asked, image=prepared.spec.image)))
    else:
        text = "exec bash\n"
    return _KINDS[kind](prepared, text)


def _salloc(prepared: Prepared, text: str) -> Terminal:
    words = [word for each in read(prepared.script.text, SLURM).directives for word in each.words]
    asked = [word for word in words if not _NOT_SALLOC.match(word)]
    command = prepared.site.launcher.command if prepared.site.launcher.kind == "srun" else ""
    return Terminal(("salloc", *asked, command or _STEP[0], *_STEP[1:], "bash", "-c", text))


def _qsub(prepared: Prepared, text: str) -> Terminal:
    asked: list[str] = []
    for each in read(prepared.script.text, PBS).directives:
        if not each.words[0].startswith(_NOT_QSUB):
            asked += each.words
    file = paths.data_home() / "shells" / f"{prepared.plan.tag}.sh"
    start = shell.lines(("cd", prepared.plan.workdir))
    return Terminal(
        ("qsub", "-I", *asked),
        when=r"qsub: job \S+ ready",
        # The first blank keeps it out of the history of a shell that leaves such out.
        typed=f" {start} && exec bash {shell.quote(str(file))}\n",
        file=file,
        text=text,
    )


def _here(_prepared: Prepared, text: str) -> Terminal:
    return Terminal(("bash", "-c", text))


_KINDS: dict[str, Callable[[Prepared, str], Terminal]] = {"slurm": _salloc, "pbs": _qsub, "local": _here}


@contextmanager
def kept(terminal: Terminal) -> Iterator[None]:
    """The file of a terminal that names one, as long as that is open."""
    if terminal.file is None:
        yield
        return
    paths.make_private(terminal.file.parent)
    paths.write_private(terminal.file, terminal.text)
    try:
        yield
    finally:
        terminal.file.unlink(missing_ok=True)
