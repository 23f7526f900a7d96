"""`hpcjob submit`, `render` and `resubmit`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out, progress
from hpcjobs.cli.logs import Tail, follow_files
from hpcjobs.cli.wait import going_on, parse_timeout, verdict
from hpcjobs.errors import UsageError
from hpcjobs.service import Service
from hpcjobs.units import Duration, Memory, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcjobs.cli.options import (
        Account,
        App,
        Array,
        Binds,
        CleanEnv,
        Command,
        Constraint,
        ContainerWorkdir,
        CpusPerTask,
        Dependency,
        Directives,
        DryRun,
        Entrypoint,
        Env,
        Error,
        Exclusive,
        FailedPoints,
        Gpus,
        GpusInAll,
        Hold,
        Image,
        ImageChanged,
        ImageKey,
        JobFile,
        JobName,
        Json,
        LauncherName,
        Licenses,
        Mem,
        MemPerCpu,
        MissingPoints,
        Modules,
        MoreMem,
        MoreTime,
        Mpi,
        MpiCheck,
        Nodes,
        Notebook,
        Ntasks,
        NtasksPerNode,
        Output,
        Overlays,
        Parameters,
        PartitionName,
        Qos,
        Requeue,
        Reservation,
        RuntimeName,
        Selectors,
        Services,
        SiteFile,
        SiteName,
        TemplateFile,
        Time,
        Timeout,
        Verify,
        Wait,
        Workdir,
        Writable,
    )
    from hpcjobs.model import JobSpec, ServiceSpec
    from hpcjobs.record import JobRecord
    from hpcjobs.service import Prepared


def submit(
    job_file: JobFile = "",
    command: Command = None,
    *,
    nodes: Nodes = None,
    ntasks: Ntasks = None,
    ntasks_per_node: NtasksPerNode = None,
    cpus_per_task: CpusPerTask = None,
    gpus_per_node: Gpus = "",
    gpus: GpusInAll = "",
    exclusive: Exclusive = False,
    mem: Mem = "",
    mem_per_cpu: MemPerCpu = "",
    time: Time = "",
    partition: PartitionName = "",
    account: Account = "",
    qos: Qos = "",
    constraint: Constraint = "",
    reservation: Reservation = "",
    licenses: Licenses = "",
    hold: Hold = False,
    requeue: Requeue = None,
    array: Array = "",
    dependency: Dependency = "",
    directives: Directives = None,
    image: Image = "",
    notebook: Notebook = "",
    parameters: Parameters = None,
    runtime: RuntimeName = "",
    launcher: LauncherName = "",
    mpi: Mpi = "",
    mpi_check: MpiCheck = "",
    env: Env = None,
    bind: Binds = None,
    modules: Modules = None,
    app: App = "",
    entrypoint: Entrypoint = False,
    clean_env: CleanEnv = False,
    container_workdir: ContainerWorkdir = "",
    writable: Writable = False,
    overlay: Overlays = None,
    verify: Verify = False,
    image_key: ImageKey = "",
    image_changed: ImageChanged = "",
    services: Services = None,
    name: JobName = "",
    workdir: Workdir = "",
    output: Output = "",
    error: Error = "",
    template: TemplateFile = "",
    site: SiteName = "",
    site_file: SiteFile = "",
    wait: Wait = False,
    timeout: Timeout = "",
    dry_run: DryRun = False,
    json: Json = False,
) -> int:
    """Submit a job and print its id.

    Everything after -- is the command, byte for byte; each rank runs it. Letters and meanings of the options are
    sbatch's. What cannot run on the site is refused before anything is queued.

    hpcjob submit --image app.sif --nodes 4 -- ./solve in.nml
    """
    asked = dict(locals())  # what was asked, by the names of the options
    spec, own_site = request(asked)
    site = site or ("" if site_file else own_site)
    seconds = seconds_to_wait(timeout, wait=wait)
    service = Service(telling=progress.telling())
    if dry_run:
        return show_script(service.prepare(spec, site=site, site_file=site_file), json=json)
    record = service.submit(spec, site=site, site_file=site_file)
    if not json:
        out.say(record.label)
        sys.stdout.flush()
        tell_submitted(record, _mpi_of(service, record), held=spec.hold, follow=not wait)
        if spec.partition in ("", "auto"):  # else it was named, and nothing was chosen
            _tell_partition(service, record)
    if wait:
        record = _wait(service, record, seconds, quiet=json)
    if json:
        words.dump([record])
    return verdict(service, [record], quiet=json) if wait else 0


def seconds_to_wait(timeout: str, *, wait: bool) -> float | None:
    """The seconds of --timeout; None without one.

    Raises:
        UsageError: it is no time, or there is no --wait.
    """
    seconds = parse_timeout(timeout)
    if seconds is not None and not wait:
        raise UsageError("--timeout is about --wait, which is not there", hint="add --wait, or leave out --timeout")
    return seconds


def render(**options: Any) -> int:
    """Print the batch script, and submit nothing."""
    return submit(**{**options, "dry_run": True})


# The options are submit's, without those that are about a submission.
render.__wrapped__ = submit  # type: ignore[attr-defined]
render.without = {"wait", "timeout", "dry_run"}  # type: ignore[attr-defined]


def resubmit(
    jobs: Selectors = None,
    *,
    failed: FailedPoints = False,
    missing: MissingPoints = False,
    time: MoreTime = "",
    mem: MoreMem = "",
    json: Json = False,
) -> int:
    """Submit jobs again, as they were asked for.

    hpcjob resubmit 'j12[failed]' runs the failed tasks of an array again, hpcjob resubmit s4 --failed --time x2 the
    failed points of a study, with twice the time.
    """
    service = Service(telling=progress.telling())
    if words.about_studies(jobs):
        from hpcjobs.cli import studies

        kinds = [name for name, given in (("failed", failed), ("missing", missing)) if given]
        return studies.resubmit(service, words.need(jobs, "resubmit"), kinds, time=time, mem=mem, json=json)
    if failed or missing or time or mem:
        raise UsageError(
            "--failed, --missing, --time and --mem are about points of a study",
            hint="name one: hpcjob resubmit s4 --failed; of an array the failed tasks are 'j12[failed]'",
        )
    records = service.resubmit(service.select(words.need(jobs, "resubmit")))
    if json:
        words.dump(records)
        return 0
    for record in records:
        out.say(record.label)
        tell_submitted(record, _mpi_of(service, record))
    return 0


# -------------------------------------------------------------------------------------- the request

# Options that are fields of a request as they are.
_SAME = (
    "nodes", "ntasks", "ntasks_per_node", "cpus_per_task", "exclusive", "partition", "account", "qos", "constraint",
    "reservation", "licenses", "hold", "requeue", "array", "dependency", "image", "runtime", "launcher", "mpi", "app",
    "entrypoint", "clean_env", "container_workdir", "writable", "image_key", "name", "workdir", "output", "error",
    "template", "notebook",
)  # fmt: skip


def request(
    options: Mapping[str, Any], *, need_command: bool = True, asked: Mapping[str, Any] | None = None
) -> tuple[JobSpec, str]:
    """The request and the site of its job file, from the options of `submit` by their names.

    `asked` are the fields of a job file that was read already.

    Raises:
        UsageError: an option is not understood, or there is no command.
    """
    given = {"requeue": None, **options}
    values: dict[str, Any] = {
        **{name: given[name] for name in _SAME if name in given},
        **_gpus(given["gpus_per_node"]),
        **_gpus_in_all(given.get("gpus", ""), given),
        **_memory(given["mem"], given["mem_per_cpu"]),
        "time": Duration.parse(given["time"]) if given["time"] else None,
        "env": environment(given["env"] or ()),
        **{name: tuple(given[name] or ()) for name in ("directives", "bind", "modules", "overlay", "command")},
        "verify": "required" if given["verify"] else "",
        "image_changed": _one_of("--image-changed", given["image_changed"], ("refuse", "warn", "ignore")),
        "mpi_check": _one_of("--mpi-check", given["mpi_check"], ("first", "always", "never")),
        "parameters": _parameters(given.get("parameters") or ()),
        "services": _services(given["services"] or ()),
    }
    job_file = "" if asked is not None else given["job_file"]
    loaded = dict(asked or ()) if not job_file else _load(job_file)
    return _spec(job_file, loaded, values, need_command=need_command)


def _spec(
    job_file: str, asked: dict[str, Any], options: Mapping[str, Any], *, need_command: bool
) -> tuple[JobSpec, str]:
    """The request and the site of the job file, overridden by the options; repeatable options add to it."""
    from hpcjobs.model import JobSpec

    given = {key: value for key, value in options.items() if value not in (None, "", (), {}, False)}
    if options["requeue"] is False:
        given["requeue"] = False
    for key in ("bind", "modules", "directives", "overlay", "services"):
        if key in given:
            given[key] = (*asked.get(key, ()), *given[key])
    for key in ("env", "parameters"):
        if key in given:
            given[key] = {**asked.get(key, {}), **given[key]}
    if {"mem", "mem_per_cpu"} & given.keys():
        asked = {key: value for key, value in asked.items() if key not in {"mem", "mem_per_cpu"}}
    site = asked.pop("site", "")
    spec = JobSpec(**{**asked, **given})
    if need_command and not (spec.command or spec.notebook):
        raise UsageError(
            f"{job_file} has no command, and none was given" if job_file else "there is no command to run",
            hint=f"hpcjob submit {job_file or '--nodes 4 --image app.sif'} -- ./solve in.nml",
        )
    return spec, site


def _load(job_file: str) -> dict[str, Any]:
    from hpcjobs.site import jobfile

    return jobfile.load_job(job_file)


def _gpus(text: str) -> dict[str, Any]:
    kind, _, count = text.rpartition(":")
    if not text:
        return {}
    if not count.isdecimal():
        raise UsageError(f"--gpus-per-node {text!r} is not a number of GPUs", hint="write 4, or a100:4")
    return {"gpus_per_node": int(count), "gpu_type": kind}


def _gpus_in_all(text: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """`--gpus`, of all nodes, as so many of each."""
    if not text:
        return {}
    if given["gpus_per_node"]:
        raise UsageError("--gpus and --gpus-per-node say the same thing twice", hint="leave out one of them")
    kind, _, count = text.rpartition(":")
    nodes = given["nodes"] or 1
    if not count.isdecimal() or int(count) % nodes:
        raise UsageError(
            f"--gpus {text}: that many GPUs cannot be shared out to {nodes} node{'s' * (nodes > 1)}",
            hint="write --gpus-per-node 4",
        )
    return {"gpus_per_node": int(count) // nodes, "gpu_type": kind}


def _memory(mem: str, mem_per_cpu: str) -> dict[str, Any]:
    if mem and mem_per_cpu:
        raise UsageError("--mem and --mem-per-cpu say the same thing twice", hint="leave out one of them")
    return {
        "mem": Memory.parse(mem) if mem else None,
        "mem_per_cpu": Memory.parse(mem_per_cpu) if mem_per_cpu else None,
    }


def _one_of(option: str, value: str, choices: Sequence[str]) -> str:
    if value and value not in choices:
        raise UsageError(f"{option} {value!r} is not known", hint=nearest(value, choices))
    return value


def _services(texts: Sequence[str]) -> tuple[ServiceSpec, ...]:
    """`NAME=IMAGE`, each started by its own start script."""
    from hpcjobs.model import ServiceSpec

    found = []
    for text in texts:
        name, equals, image = text.partition("=")
        if not (name and equals and image):
            raise UsageError(f"--service {text!r} is not understood", hint="write --service db=redis.sif")
        found.append(ServiceSpec(name=name, image=image))
    return tuple(found)


def _parameters(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise UsageError(f"--parameter {pair!r} is not understood", hint="write --parameter alpha=0.5")
        found[name] = value
    return found


def environment(pairs: Sequence[str]) -> dict[str, str]:
    """`K=V`, or `K` for the value that it has here."""
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals and key not in os.environ:
            raise UsageError(f"--env {key}: it is not set here", hint=f"write --env {key}=VALUE, or export it first")
        found[key] = value if equals else os.environ[key]
    return found


# --------------------------------------------------------------------------------------- the answer


def show_script(prepared: Prepared, *, json: bool) -> int:
    plan = prepared.plan
    if json:
        out.dump(script=prepared.script.text, template=prepared.script.template, plan=asdict(plan))
        return 0
    out.data(prepared.script.text)
    out.tell(f"not submitted: {out.clean(plan.name)} for site {plan.site}")
    for note in plan.notes:
        out.tell(f"  {note.subject:<9} {out.clean(note.decision)}" + (f" ({out.clean(note.why)})" if note.why else ""))
    for name, text in plan.files.items():
        out.tell(f"beside it, {name}:")
        out.tell(text.rstrip("\n"))
    return 0


def tell_submitted(record: JobRecord, mpi: Mapping[str, Any], *, held: bool = False, follow: bool = True) -> None:
    limit = f", {Duration(record.time_limit)}" if record.time_limit else ""
    array = f", array {record.array}" if record.array else ""
    native = f"{record.scheduler} job {record.native_id}"
    out.tell(f"{record.label} {out.clean(record.name)}: submitted to {record.site} as {native}")
    out.tell(f"  shape   {words.shape(record)}{array}{limit}")
    if mpi.get("mode") not in (None, "", "none"):
        kind = f", srun --mpi={mpi['type']}" if mpi.get("type") else ""
        whose = f" of {mpi['host']}" if mpi.get("host") else ""
        out.tell(f"  mpi     {mpi['mode']}{whose}{kind}")
    out.tell(f"  script  {out.clean(out.short(str(paths.JobFolder(Path(record.folder)).script)))}")
    if held:
        out.tell(f"  held    hpcjob release {record.label} lets it start")
    elif follow:
        out.tell(f"  follow  hpcjob {'watch' if record.array else 'logs -f'} {record.label}")
    for text in mpi.get("warnings") or ():
        out.warn(out.clean(text))


def _tell_partition(service: Service, record: JobRecord) -> None:
    """Which partition was chosen, and why."""
    notes: Any = service.plan_of(record).get("notes") or ()
    for note in notes:
        if note["subject"] == "partition" and note["why"]:
            out.tell(f"  queue   {out.clean(note['decision'])} ({out.clean(note['why'])})")


def _mpi_of(service: Service, record: JobRecord) -> Mapping[str, Any]:
    """How MPI runs in the image, and what is doubtful about it; nothing where there is no image."""
    if not record.image:
        return {}
    found: dict[str, Any] = dict(service.plan_of(record).get("mpi_plan") or {})  # type: ignore[call-overload]  # JSON
    return found


def _wait(service: Service, record: JobRecord, timeout: float | None, *, quiet: bool) -> JobRecord:
    """Wait for the job, its output on stderr meanwhile; an array has many files, so its counts are told instead."""
    with going_on([record]):
        if quiet:
            return service.wait([record], timeout=timeout)[0]
        if record.array:
            return service.wait([record], timeout=timeout, on_change=words.tell_state)[0]
        files = dict.fromkeys((service.log_file(record, "output"), service.log_file(record, "error")))
        ended = follow_files(service, record, [Tail(file, sys.stderr.buffer) for file in files], timeout=timeout)
    words.tell_state(ended)
    return ended
