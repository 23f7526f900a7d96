"""`hpcjob shell`: a shell on a node."""

from __future__ import annotations

from typing import Any

from hpcjobs import process
from hpcjobs import shell as quoting
from hpcjobs.cli import out, progress
from hpcjobs.cli import submit as submission
from hpcjobs.cli.like import like
from hpcjobs.cli.wrap import wrapping_of
from hpcjobs.service import Service

_WITHOUT = frozenset({
    "job_file", "command", "wait", "timeout", "json", "array", "hold", "requeue", "dependency", "notebook",
    "parameters", "port", "idle", "output", "error", "services", "mpi", "mpi_check", "launcher", "template",
    "entrypoint",
})  # fmt: skip


def shell(**options: Any) -> int:
    """Open a shell on a node, in the image if one is given.

    Of the resources that are asked for; it waits in the queue like another job, and ends with the shell. In a shell
    without an image, `hpcjob image mpi` starts ranks on the nodes.

    hpcjob shell --image pytorch.sif --gpus 1 -c 8 -t 1h
    """
    from hpcjobs import terminal

    empty = {"mpi_check": "", "services": None, "command": None, "job_file": ""}
    spec, _ = submission.request({**empty, **options}, need_command=False)
    where = {"site": options["site"], "site_file": options["site_file"]}
    service = Service(telling=progress.telling())
    made = terminal.opened(service, wrapping_of(**where), spec, final=not options["dry_run"], **where)
    if options["dry_run"]:
        out.say(quoting.lines(made.argv))
        if made.typed:
            out.tell(f"and there:{made.typed.rstrip()}")
        return 0
    if not made.when:
        process.become(made.argv)
    with terminal.kept(made):
        return process.in_terminal(made.argv, when=made.when, typed=made.typed)


shell.__wrapped__ = like(submission.submit, without=_WITHOUT)  # type: ignore[attr-defined]
