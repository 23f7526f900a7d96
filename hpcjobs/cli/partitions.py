"""`hpcjob site partitions`: what is free now, and where a request would start first."""

from __future__ import annotations

import sys
import time as clock
from typing import TYPE_CHECKING, Any

from hpcjobs.cli import out
from hpcjobs.partitions import when
from hpcjobs.service import Service
from hpcjobs.units import Duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.cli.options import (
        Account,
        Array,
        Command,
        Constraint,
        CpusPerTask,
        Directives,
        Exclusive,
        Gpus,
        JobFile,
        Json,
        LauncherName,
        Licenses,
        Mem,
        MemPerCpu,
        Nodes,
        Ntasks,
        NtasksPerNode,
        Qos,
        Reservation,
        SiteFile,
        SiteName,
        Time,
    )
    from hpcjobs.model import JobSpec
    from hpcjobs.partitions import Row


def partitions(
    job_file: JobFile = "",
    command: Command = None,
    *,
    nodes: Nodes = None,
    ntasks: Ntasks = None,
    ntasks_per_node: NtasksPerNode = None,
    cpus_per_task: CpusPerTask = None,
    gpus_per_node: Gpus = "",
    exclusive: Exclusive = False,
    mem: Mem = "",
    mem_per_cpu: MemPerCpu = "",
    time: Time = "",
    account: Account = "",
    qos: Qos = "",
    constraint: Constraint = "",
    reservation: Reservation = "",
    licenses: Licenses = "",
    array: Array = "",
    directives: Directives = None,
    launcher: LauncherName = "",
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Show what is free now in each partition.

    With options of a job, or a job file, also where that job would start first, as far as the scheduler tells;
    nothing is queued. hpcjob submit --partition auto takes the first.

    hpcjob site partitions -N 4 -t 2h
    """
    asked = dict(locals())  # what was asked, by the names of the options
    asked = {key: value for key, value in asked.items() if key not in {"site", "site_file", "json"}}
    spec, own_site = _request(asked)
    where = site or ("" if site_file else own_site)
    found, rows = Service().partitions(spec, site=where, site_file=site_file)
    if json:
        out.dump(site=found.name, partitions=[_to_json(row) for row in rows])
        return 0
    header = ("PARTITION", "STATE", "IDLE/MIX/ALL", "CORES", "GPUS", "TIME", *(("START",) if spec else ()))
    out.table(header, [_cells(row, started=spec is not None) for row in rows])
    for line in _explained(rows) if spec else ():
        out.tell(line)
    return 0


def _request(asked: dict[str, Any]) -> tuple[JobSpec | None, str]:
    """The request, if there is one, and the site of its job file."""
    from hpcjobs.cli.submit import request

    if not any(asked.values()):
        return None, ""
    missing = dict.fromkeys(("env", "verify", "image_changed", "mpi_check", "services", "bind", "modules", "overlay"))
    return request({**missing, **asked, "verify": False, "image_changed": "", "mpi_check": ""}, need_command=False)


def _cells(row: Row, *, started: bool) -> tuple[str, ...]:
    free = row.free
    cells = (
        row.name + "*" * row.default,
        free.state if free else "",
        f"{free.idle}/{free.mixed}/{free.nodes}" if free else "",
        str(free.cores) if free and free.cores is not None else "",
        f"{free.free_gpus}/{free.gpus}" if free and free.gpus else "",
        str(Duration(row.max_time)) if row.max_time else "",
    )
    return (*cells, _start(row)) if started else cells


def _start(row: Row) -> str:
    """When it starts there; why not, a terminal has no room for."""
    if row.refused:
        return "refused" if sys.stdout.isatty() else f"refused: {row.refused}"
    if not row.forecast or not row.forecast.start:
        return "" if row.open else "not now"
    start, now = row.forecast.start, out.now()
    soon = when(start, now)
    day = "%H:%M" if start - now < 12 * 3600 else "%m-%d %H:%M"
    return soon if soon == "now" else f"{soon} ({clock.strftime(day, clock.localtime(start))})"


def _explained(rows: Sequence[Row]) -> list[str]:
    """What the scheduler does not tell, and the refusals that a terminal has no room for."""
    lines = [f"{row.name}: {row.refused}" for row in rows if row.refused] if sys.stdout.isatty() else []
    unknown = {row.forecast.why for row in rows if row.forecast and row.forecast.why}
    return [*lines, *(f"when it would start is not known ({why}); most free nodes first" for why in sorted(unknown))]


def _to_json(row: Row) -> dict[str, Any]:
    free, forecast = row.free, row.forecast
    return {
        "name": row.name,
        "default": row.default,
        "state": free.state if free else None,
        "nodes": free.nodes if free else None,
        "idle": free.idle if free else None,
        "mixed": free.mixed if free else None,
        "free_cores": free.cores if free else None,
        "gpus": free.gpus if free else None,
        "free_gpus": free.free_gpus if free else None,
        "max_time": row.max_time or None,
        "start": out.iso(forecast.start) if forecast else None,
        "start_nodes": (forecast.nodes or None) if forecast else None,
        "refused": row.refused or None,
    }
