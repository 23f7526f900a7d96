"""`hpcjob jupyter` and `hpcjob serve`: web applications in jobs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from hpcjobs import process, webapps
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out, progress
from hpcjobs.cli import submit as submission
from hpcjobs.cli.like import like
from hpcjobs.cli.wait import going_on
from hpcjobs.cli.wrap import wrapping_of
from hpcjobs.errors import UsageError
from hpcjobs.service import Service
from hpcjobs.units import Duration

if TYPE_CHECKING:
    from hpcjobs.cli.options import Idle, NoWait, Port, ServedJob
    from hpcjobs.model import JobSpec
    from hpcjobs.record import JobRecord

# What of `submit` makes no sense for a program that one talks to.
_WITHOUT = frozenset(
    {"wait", "notebook", "parameters", "array", "ntasks", "ntasks_per_node", "nodes", "mpi", "mpi_check"}
)
_DEFAULTS = {"ntasks": None, "ntasks_per_node": None, "nodes": None, "mpi_check": "", "command": None, "job_file": ""}


def _about(*, port: Port = "", idle: Idle = "", no_wait: NoWait = False, job: ServedJob = "") -> None:
    """The options that both have."""


def jupyter(**options: Any) -> int:
    """Run JupyterLab in a job, and say how to get there.

    The job is submitted; once JupyterLab answers, the ssh command and the address for your browser are shown. The
    token that it asks for is in a file that only you can read. The job ends at its walltime, by hpcjob cancel, or when
    no kernel has worked for the time of --idle.

    hpcjob jupyter --image lab.sif --gpus 1 -c 8 -t 4h --idle 1h
    """
    if options["job"]:
        return _show(Service(), options)
    idle = Duration.parse(options["idle"]) if options["idle"] else None
    spec, site = submission.request({**_DEFAULTS, **options}, need_command=False)
    from dataclasses import replace

    spec = webapps.jupyter(replace(spec, ntasks=1, port=options["port"] or "auto"), idle)
    if not options["dry_run"]:
        named = options["site"] or ("" if options["site_file"] else site)
        webapps.check_jupyter(spec, wrapping_of(named, options["site_file"]), process.run)
    return _submit(spec, site, options, path="lab")


def serve(**options: Any) -> int:
    """Run a web application in a job, and say how to get there.

    The program listens on --port; with auto, on the free one in its variable HPCJOB_PORT. HPCJOB_ADDRESS has the
    address to listen on, and HPCJOB_TOKEN a secret for it, if it wants one. --idle ends the job when nobody was
    connected for that time.

    hpcjob serve --image viz.sif --port 8050 --idle 30m -- python3 dashboard.py
    """
    if options["job"]:
        return _show(Service(), options)
    spec, site = submission.request({**_DEFAULTS, **options}, need_command=False)
    if not spec.command:
        asked = options["job_file"] or "--image viz.sif"
        raise UsageError("there is no application to run", hint=f"hpcjob serve {asked} -- ./dashboard")
    from dataclasses import replace

    idle = Duration.parse(options["idle"]) if options["idle"] else None
    port = options["port"] or spec.port or "auto"
    ranks = spec.ntasks if spec.ntasks or spec.nodes or spec.ntasks_per_node else 1  # a job file may have said
    return _submit(replace(spec, ntasks=ranks, port=port, idle=idle or spec.idle), site, options)


jupyter.__wrapped__ = like(_about, submission.submit, without=_WITHOUT | {"command", "job_file"})  # type: ignore[attr-defined]
serve.__wrapped__ = like(_about, submission.submit, without=_WITHOUT)  # type: ignore[attr-defined]


def _submit(spec: JobSpec, own_site: str, options: dict[str, Any], *, path: str = "") -> int:
    service = Service(telling=progress.telling())
    where = {"site": options["site"] or ("" if options["site_file"] else own_site), "site_file": options["site_file"]}
    if options["dry_run"]:
        return submission.show_script(service.prepare(spec, **where), json=options["json"])
    record = service.submit(spec, **where)
    if not options["json"]:
        out.say(record.label)
        sys.stdout.flush()
        submission.tell_submitted(record, {}, follow=options["no_wait"])
    if options["no_wait"]:
        if options["json"]:
            words.dump([record])
        else:
            out.hint(f"hpcjob {'jupyter' if path else 'serve'} --job {record.label} says where it is")
        return 0
    return _tell(service, record, options, path)


def _show(service: Service, options: dict[str, Any]) -> int:
    """Where a job that was submitted before is."""
    chosen = service.select([options["job"]])
    record = chosen[0].record
    if "HPCJOB_PORT" not in _script(record):
        raise UsageError(f"{record.label} is no web application", hint="hpcjob serve --port auto -- PROGRAM")
    return _tell(service, record, options, "lab" if record.name == "jupyter" else "")


def _nothing(_: JobRecord) -> None:
    pass


def _script(record: JobRecord) -> str:
    from pathlib import Path

    from hpcjobs.paths import JobFolder

    try:
        return JobFolder(Path(record.folder)).script.read_text("utf-8", "replace")
    except OSError:  # its folder was removed
        return ""


def _tell(service: Service, record: JobRecord, options: dict[str, Any], path: str) -> int:
    quiet = options["json"]
    seconds = submission.seconds_to_wait(options["timeout"], wait=True)
    with going_on([record]):
        app = webapps.wait(service, record, timeout=seconds, on_change=_nothing if quiet else words.tell_state)
    tunnel = webapps.tunnel(app, local=record.scheduler == "local", environ=os.environ)
    address = webapps.address(app, path)
    if quiet:
        told = {"host": app.host, "port": app.port, "address": address, "tunnel": tunnel, "token": str(app.token_file)}
        out.dump(job=record.label, **told)
        return 0
    if tunnel:
        out.tell(f"  tunnel  {tunnel}")
        out.tell("          (type that on your own computer, and leave it open)")
    out.tell(f"  open    {address}")
    out.tell(f"  token   cat {out.short(str(app.token_file))}")
    out.tell(f"  end     hpcjob cancel {record.label}")
    return 0
