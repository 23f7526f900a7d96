"""A request and a site become a plan, or a refusal that says what would work. Pure: nothing is run or read."""

from __future__ import annotations

import os.path
import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from hpcjobs import capabilities, containers, shell
from hpcjobs.containers import below
from hpcjobs.errors import PlanError, UsageError
from hpcjobs.model import (
    ContainerRequest,
    HostFacts,
    ImageCheck,
    ImageFacts,
    Invocation,
    JobSpec,
    Launch,
    LauncherConfig,
    NodeShape,
    Note,
    Partition,
    Plan,
    RuntimeConfig,
    Shape,
    Site,
)
from hpcjobs.mpi.decide import MODES
from hpcjobs.mpi.settle import Job, Settled, offered, settle
from hpcjobs.placement import Placement, Request, place
from hpcjobs.units import Memory, nearest, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.model import Launcher, Runtime, ServiceSpec
    from hpcjobs.mpi.settle import Known
    from hpcjobs.shell import Shell

# What to type for each field; also the fields of one line of text, which end in directives and tables.
_OPTION = {
    "name": "-J", "partition": "-p", "account": "-A", "qos": "--qos", "constraint": "-C", "licenses": "-L",
    "reservation": "--reservation", "gpu_type": "--gpu-type", "array": "-a", "dependency": "-d",
    "workdir": "-D", "output": "-o", "error": "-e",
}  # fmt: skip
_PATHS = ("workdir", "output", "error")
_REQUIRED = {
    **_OPTION, "time": "-t", "nodes": "-N", "ntasks": "-n", "ntasks_per_node": "--ntasks-per-node",
    "cpus_per_task": "-c", "gpus_per_node": "--gpus-per-node", "mem": "--mem", "mem_per_cpu": "--mem-per-cpu",
    "image": "--image",
}  # fmt: skip
_LONGEST_NAME = 200  # bytes; slurmdbd keeps 255

# Directives that hpcjob writes or needs for itself, and what to use instead.
_OWN = {
    "--job-name": "-J", "--tasks": "-n", "--tasks-per-node": "--ntasks-per-node",
    "--nodes": "-N", "--ntasks": "-n", "--ntasks-per-node": "--ntasks-per-node",
    "--cpus-per-task": "-c", "--gpus-per-node": "--gpus-per-node", "--mem": "--mem", "--mem-per-cpu": "--mem-per-cpu",
    "--time": "-t", "--partition": "-p", "--account": "-A", "--qos": "--qos", "--constraint": "-C",
    "--reservation": "--reservation", "--licenses": "-L", "--hold": "--hold", "--requeue": "--requeue",
    "--no-requeue": "--no-requeue", "--array": "-a", "--dependency": "-d", "--chdir": "-D", "--output": "-o",
    "--error": "-e", "--comment": "", "--wrap": "", "--parsable": "", "--test-only": "", "--wait": "",
    "--export": "", "--export-file": "", "--clusters": "", "--help": "", "--usage": "", "--version": "",
}  # fmt: skip
_DIRECTIVE = re.compile(r"(--[a-z][a-z0-9-]*)(?:=(.*))?", re.DOTALL)

# Variables that bash sets itself, or that would change how the script runs, whatever they are set to.
_BASH_OWN = frozenset({
    "_", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID", "FUNCNAME", "FUNCNEST", "GROUPS", "HISTCMD", "IFS",
    "LINENO", "OLDPWD", "OPTARG", "OPTIND", "PIPESTATUS", "POSIXLY_CORRECT", "PPID", "PWD", "RANDOM", "SECONDS",
    "SHELLOPTS", "SHLVL", "SRANDOM", "UID",
})  # fmt: skip

# What the embedded scheduler of one machine cannot express, and what means nothing there.
_NOT_LOCAL = ("constraint", "reservation", "licenses", "directives")
_MOOT_LOCAL = ("partition", "account", "qos")


# -------------------------------------------------------------------------------------- choices


def with_defaults(spec: JobSpec, site: Site) -> JobSpec:
    """The request with the site's defaults where it says nothing; variables of both, the request's winning."""
    empty = {f.name: f.default for f in fields(JobSpec)}
    chosen = {
        name: value for name, value in site.defaults.items() if name != "env" and getattr(spec, name) == empty[name]
    }
    return replace(spec, **chosen, env={**site.defaults.get("env", {}), **spec.env})


def choose_runtime(
    spec: JobSpec, site: Site, image: ImageFacts, *, files: frozenset[str] = frozenset()
) -> RuntimeConfig:
    """The runtime that was asked for, or the site's first that takes such an image and can do what the job needs.

    `files` are the sources of the job's binds that are files.

    Raises:
        PlanError: there is none; says which there are, or what is the nearest.
    """
    spec = with_defaults(spec, site)
    asked = spec.runtime
    needs = containers.wanted(spec, site.gpu.kind if spec.gpus_per_node else "none", image, files)
    if image.kind == "none":
        if asked not in ("", "none"):
            raise PlanError(f"there is no image to run with {asked}", hint="name one: --image FILE, or --runtime none")
        if "bind" in needs:
            raise PlanError(f"there is no container for {needs['bind']}", hint="leave out --bind, or give an --image")
        capabilities.refuse("none", needs, ())
        return RuntimeConfig(kind="none")
    if asked == "none":
        raise PlanError(
            f"--runtime none runs on the bare host, and the image {image.path} was given",
            hint="leave out one of the two",
        )
    kinds = [runtime.kind for runtime in site.runtimes]
    if asked and asked not in kinds:
        raise PlanError(f"site {site.name} has no runtime {asked!r}", hint=nearest(asked, kinds))
    taking = [
        runtime
        for runtime in site.runtimes
        if asked in ("", runtime.kind) and not capabilities.lacks(runtime.kind, [image.kind])
    ]
    if not taking:
        raise _takes_no_such_image(site, kinds, asked, image)
    able = [runtime for runtime in taking if not capabilities.lacks(runtime.kind, needs)]
    if not able:
        capabilities.refuse(taking[0].kind, needs, kinds)
    return able[0]


def _takes_no_such_image(site: Site, kinds: list[str], asked: str, image: ImageFacts) -> PlanError:
    shown = {"directory": "image folder", "reference": "image by name"}.get(image.kind, f"{image.kind} image")
    message = f"no runtime of site {site.name} runs the {shown} {image.path}"
    if asked:
        message = f"{asked} cannot run the {shown} {image.path}"
    able = [kind for kind in kinds if not capabilities.lacks(kind, [image.kind])]
    forms = {"squashfs": "app.sqfs", "sif": "app.sif", "directory": "app"}
    into = [name for form, name in forms.items() for kind in ([asked] if asked else kinds)
            if not capabilities.lacks(kind, [form])]  # fmt: skip
    if not kinds:
        return PlanError(message, hint="add a runtime to the site file: runtimes")
    convert = f"hpcjob image convert {shell.quote(image.path)} {into[0]}" if into else ""
    if able:
        hint = f"leave out --runtime: {able[0]} runs it" + (f"; or convert it: {convert}" if convert else "")
    else:
        hint = f"convert it: {convert}" if convert else "push it to a registry, and give its name: docker://…"
    return PlanError(message, hint=hint)


def choose_launcher(spec: JobSpec, site: Site) -> LauncherConfig:
    """The launcher that was asked for, or the site's.

    Raises:
        PlanError: the site has no such launcher.
    """
    spec = with_defaults(spec, site)
    asked = spec.launcher
    if spec.mpi == "container":
        if asked not in ("", "none"):
            raise PlanError(f"--mpi container uses the launcher in the image, not {asked}", hint="leave out --launcher")
        return LauncherConfig(kind="none")
    known = {"none": LauncherConfig(kind="none")}
    known.update((config.kind, config) for config in (*reversed(site.launchers), site.launcher))
    if asked and asked not in known:
        raise PlanError(f"site {site.name} has no launcher {asked!r}", hint=nearest(asked, known))
    return known[asked or site.launcher.kind]


def image_targets(spec: JobSpec, site: Site, workdir: str) -> tuple[str, ...]:
    """Paths that should exist in the image, for `images.facts.inspect` to look for."""
    binds = containers.binds(site, with_defaults(spec, site).bind, workdir)
    return (*(bind.target for bind in binds if "$" not in bind.target), workdir, *(f"/mnt/{n}" for n in range(10)))


# ------------------------------------------------------------------------------------- the plan


def resolve(
    spec: JobSpec,
    site: Site,
    image: ImageFacts,
    host: HostFacts,
    *,
    runtime: Runtime,
    launcher: Launcher,
    services: Sequence[tuple[ServiceSpec, ImageFacts, Runtime]] = (),
    dependency: str = "",
    mpi: Known | None = None,
) -> Plan:
    """Everything decided, before anything is queued. `dependency` is in the scheduler's own ids.

    Each service comes with the facts of its image and its runtime. `mpi` is what is known of the MPI of host and
    image; without it, ranks are left to what site and launcher do by themselves.

    Raises:
        PlanError: the job cannot run there so; the message names the limit, the hint what would work.
    """
    spec = with_defaults(spec, site)
    _check_text(spec)
    _check_command(spec, launcher.name)
    notes = list(_check_scheduler(spec, site))
    name, partition = _partition(spec, site)
    _check_required(spec, site, name, partition)
    inside = spec.mpi == "container"
    placement = _placement(spec, site, name, fill=launcher.name != "none" or inside)
    if launcher.name not in ("none", "srun"):
        placement = _fixed(placement, site, partition, launcher.name)
    _check_memory(spec)
    shape = placement.shape
    if image.arch and host.arch and image.arch != host.arch:
        raise PlanError(
            f"the image {image.path} is made for {image.arch}, and this machine is {host.arch}",
            hint=f"build or pull it for {host.arch}",
        )
    even = (placement.nodes_asked or site.scheduler.kind == "local") and (
        shape.ntasks == shape.nodes * shape.ntasks_per_node
    )
    settled = _settled(Job(spec, site, image, runtime, launcher.config, shape, even), mpi)
    kind = settled.plan.type if settled.plan.mode else _mpi(spec, site, launcher.name)
    array, limit = _array(spec.array)
    workdir = below(host.cwd, spec.workdir)
    job = spec.name or _default_name(spec.command)
    output, error = _logs(spec, host, workdir, job)
    if placement.why:
        notes.append(Note("ranks", f"{shape.ntasks_per_node} on each node", placement.why))
    if kind and spec.mpi == "auto" and not settled.notes:
        notes.append(Note("mpi", kind, f"the default of site {site.name}"))
    notes += settled.notes

    choose_runtime(replace(spec, runtime=runtime.name), site, image, files=host.files)
    containers.check_services(spec.services)
    _check_trust(site, image, host)
    if spec.container_workdir and not spec.container_workdir.startswith("/"):
        hint = f"--container-workdir /{spec.container_workdir}"
        raise PlanError(f"{spec.container_workdir} is not a path from the root of the container", hint=hint)
    layers = containers.overlays(spec, workdir)
    containers.check_overlays(spec, layers, shape.ntasks)
    request = ContainerRequest(
        image=image,
        program=(*settled.wiring.program, *spec.command),
        workdir=workdir,
        binds=(*containers.binds(site, spec.bind, workdir), *settled.plan.binds),
        env=settled.merged(_environment(spec, site, shape)),
        inside=frozenset(settled.plan.env),
        gpu=site.gpu.kind if shape.gpus_per_node else "none",
        mpi=kind,
        nodes=shape.nodes,
        ntasks=1 if inside else shape.ntasks,
        ntasks_per_node=1 if inside else shape.ntasks_per_node,
        even=even,
        container_workdir=spec.container_workdir,
        clean_env=spec.clean_env,
        entrypoint=spec.entrypoint,
        writable=spec.writable,
        overlays=layers,
        app=spec.app,
        key=host.key,
        folder=host.folder,
        below=host.below,
        launcher=launcher.name,
        mpi_option=site.mpi.runtime_option if settled.plan.mode == "site" else "",
        together=settled.together,
        passed=_passed(site, spec),
    )
    contained = containers.contain(request, runtime, services, site, array=bool(spec.array))
    invocation = contained.invocation
    launched = Shape() if inside else shape
    if settled.plan.alone and not invocation.launcher_args:
        launch = Launch((), notes=("not used: Open MPI would ask it for other ranks, and end",))
    else:
        offered = _mpi(spec, site, launcher.name) if settled.plan.alone else kind
        launch = launcher.command(launched, mpi=offered, extra=invocation.launcher_args)
    canary = _canary(settled, request, runtime, launch)
    return Plan(
        tag=host.tag,
        name=job,
        site=site.name,
        scheduler=site.scheduler.kind,
        template=spec.template or site.template or f"{site.scheduler.kind}.sh.j2",
        folder=host.folder,
        workdir=workdir,
        output=output,
        error=error,
        shape=shape,
        launch=_words(launch.argv, invocation, settled.wiring.before),
        image=image.path,
        image_digest=image.digest,
        image_source=image.source,
        images=_image_checks(spec, site, (image, *(facts for _, facts, _ in services))),
        needed=containers.needed(spec, host, image, workdir),
        runtime=runtime.name,
        launcher=launcher.name,
        mpi=kind,
        mpi_plan=replace(settled.plan, launch=canary),
        command=spec.command,
        nodes_asked=placement.nodes_asked,
        mem=spec.mem,
        mem_per_cpu=spec.mem_per_cpu,
        time=spec.time,
        partition=spec.partition,
        account=spec.account,
        qos=spec.qos,
        constraint=spec.constraint,
        reservation=spec.reservation,
        licenses=spec.licenses,
        gpu_kind=site.gpu.kind if shape.gpus_per_node else "none",
        gpu_type=spec.gpu_type,
        gpu_request=site.gpu.request,
        exclusive=spec.exclusive,
        hold=spec.hold,
        requeue=spec.requeue,
        array=array,
        array_limit=limit,
        dependency=dependency,
        export=site.scheduler.exported,
        umask=host.umask,
        each_node=_one_on_each_node(launcher, launched),
        directives=(*site.directives, *invocation.directives, *spec.directives),
        module_init=site.module_init,
        modules=(*site.modules, *contained.modules, *spec.modules),
        site_env=site.env,
        env={**invocation.env, **launch.env},
        scratch=site.scratch,
        kept_env=_kept_env(spec, host, runtime),
        setup=contained.setup,
        functions=contained.functions,
        services=contained.services,
        cleanup=contained.cleanup,
        files=contained.files,
        notes=(*notes, *_as_notes(runtime.name, invocation.notes), *_as_notes(launcher.name, launch.notes)),
    )


def _one_on_each_node(launcher: Launcher, shape: Shape) -> tuple[str | Shell, ...]:
    """What starts one process, no rank of MPI, on each node of the job."""
    if shape.nodes == 1:
        return ()
    kind = "none" if launcher.name == "srun" else ""
    return launcher.command(Shape(nodes=shape.nodes, ntasks=shape.nodes), mpi=kind).argv


def _check_trust(site: Site, image: ImageFacts, host: HostFacts) -> None:
    """Refuse an image that only a key opens without one, and a key that could not reach the job."""
    if image.encrypted and not host.key:
        raise PlanError(
            f"the image {image.path} is encrypted, and no key was given",
            hint="add --image-key FILE (a private key, or a file with the passphrase), or --image-key env:NAME",
        )
    if host.key and host.key.variable and site.scheduler.exported == "none":
        raise PlanError(
            f"--image-key env:{host.key.variable}: on site {site.name} no variable of yours reaches the job",
            hint="put the passphrase into a file that only you can read, and give that: --image-key FILE",
        )


def _image_checks(spec: JobSpec, site: Site, images: Sequence[ImageFacts]) -> tuple[ImageCheck, ...]:
    """What the script looks at of each image file; one whose signature was verified is always read again."""
    verified = "required" in (spec.verify, site.image.verify)
    changed = spec.image_changed or site.image.changed
    found: dict[str, ImageCheck] = {}
    for image in images:
        if not image.path.startswith("/"):
            continue
        digest = image.digest.partition(":")[2] if verified or changed != "ignore" else ""
        stamp = "" if verified or not digest else image.stamp
        found.setdefault(image.path, ImageCheck(image.path, digest, stamp, refuse=verified or changed == "refuse"))
    return tuple(found.values())


def _kept_env(spec: JobSpec, host: HostFacts, runtime: Runtime) -> tuple[str, ...] | None:
    """The user's variables that a cleaned environment keeps; None where the script has none to clean."""
    by_script = capabilities.TABLE.get(runtime.name, {}).get("clean") == capabilities.BY_SCRIPT
    if not (spec.clean_env and by_script):
        return None
    return (host.key.variable,) if host.key and host.key.variable else ()


def _passed(site: Site, spec: JobSpec) -> tuple[str, ...]:
    """What hpcjob and the site tell a program in variables, for runtimes that pass on only what is named."""
    services = (f"HPCJOB_SERVICE_{service.name.upper()}" for service in spec.services)
    index = ("HPCJOB_ARRAY_INDEX",) if spec.array else ()
    if any(isinstance(value, shell.Shell) for value in spec.env.values()):  # parameters of a study's point
        index = (*index, "HPCJOB_STUDY", "HPCJOB_POINT", "HPCJOB_FOLDER")
    scratch = ("HPCJOB_SCRATCH",) if site.scratch else ()
    return ("HPCJOB_NATIVE_ID", "HPCJOB_RESTARTS", *index, *scratch, *services, *site.env)


def _as_notes(subject: str, notes: tuple[str, ...]) -> Iterator[Note]:
    return (Note(subject, note, "") for note in notes)


def _words(
    launcher: tuple[str | shell.Shell, ...], invocation: Invocation, before: tuple[str, ...]
) -> tuple[tuple[str | shell.Shell, ...], ...]:
    inner = (*before, *invocation.argv)
    groups = tuple(group for group in (launcher, inner, invocation.program) if group)
    return groups if len(groups) > 1 else (shell.program(invocation.program),)


# ------------------------------------------------------------------------------- text and names


def _check_text(spec: JobSpec) -> None:
    for field, option in _OPTION.items():
        value = getattr(spec, field)
        shell.refuse_control(value, f"{field} ({option})")
        if field not in _PATHS and not _is_unicode(value):
            raise PlanError(f"{field} ({option}) is not UTF-8: {value[:60]!r}", hint="write it in UTF-8")
    if len(spec.name.encode()) > _LONGEST_NAME:
        raise PlanError(
            f"the job name has {len(spec.name.encode())} bytes: {spec.name[:40]}…", hint=f"{_LONGEST_NAME} is the most"
        )
    for module in spec.modules:
        shell.refuse_control(module, "a module name")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_command(spec: JobSpec, launcher: str) -> None:
    if not spec.command or not spec.command[0]:
        raise PlanError("there is no command to run", hint="put it after --: hpcjob submit -N 2 -- ./app input")
    program = spec.command[0]
    if program.startswith("-"):
        raise PlanError(f"the program {program!r} would be read as an option", hint=f"write ./{program}")
    if "=" in program:
        name = program.partition("=")[0]
        raise PlanError(
            f"{program[:60]!r} would be read as an assignment to {name[:40]}, not as a program",
            hint=f"set variables with --env {program[:60]}, or write ./ before the name of a file",
        )
    if launcher != "none" and ":" in spec.command:
        raise PlanError(
            f"{launcher} reads the argument ':' as the beginning of another program",
            hint="jobs of several programs are not in this version; a plain ':' can be passed by a script of yours",
        )


def _default_name(command: tuple[str, ...]) -> str:
    name = os.path.basename(command[0]).encode("utf-8", "replace").decode()  # noqa: PTH119 - text, not a file
    return re.sub(r"[\x00-\x1f\x7f]", "_", name)[: _LONGEST_NAME // 4] or "job"


def _environment(spec: JobSpec, site: Site, shape: Shape) -> dict[str, str]:
    """Variables for the program: the user's, and OMP_NUM_THREADS unless it is set or whole nodes are left to it.

    OMP_PLACES and OMP_PROC_BIND are left alone: where the launcher binds, threads stay in the rank's cores
    anyway, and where it does not, they would pin the threads of all ranks to the same cores.
    """
    for name in (*spec.env, *site.env, *(name for service in spec.services for name in service.env)):
        shell.variable_name(name)
        if name in _BASH_OWN or (name.startswith("BASH") and name != "BASH_ENV") or name.lower().startswith("hpcjob_"):
            raise PlanError(f"the variable {name} is not free to set in a job", hint="choose another name")
    told = {"OMP_NUM_THREADS"} & {*spec.env, *site.env}
    if told or (spec.exclusive and spec.cpus_per_task is None):
        return dict(spec.env)
    return {"OMP_NUM_THREADS": str(shape.cpus_per_task), **spec.env}


def _array(text: str) -> tuple[str, int]:
    """The indices and the limit of tasks at once (0 = none)."""
    indices, percent, limit = text.partition("%")
    if not text:
        return "", 0
    try:
        parse_indices(indices)
    except UsageError as error:
        raise PlanError(f"array {text!r}: {error.message}", hint=error.hint) from None
    if percent and not re.fullmatch(r"[1-9]\d*", limit, re.ASCII):
        raise PlanError(f"array {text!r}: {limit!r} is not a number of tasks", hint=f"write {indices}%10")
    return indices.replace(" ", ""), int(limit or 0)


# ----------------------------------------------------------------------------------- log files


def _logs(spec: JobSpec, host: HostFacts, workdir: str, name: str) -> tuple[str, str]:
    """Patterns for standard output and error; equal when they are joined."""
    folder = host.folder.replace("%", "%%")
    task = ".%a" if spec.array else ""
    output, error = spec.output or f"{folder}/stdout{task}.log", spec.error or f"{folder}/stderr{task}.log"
    if spec.output and not spec.error:
        error = output
    # The place is not a pattern, what is written below it is.
    base = workdir.replace("%", "%%")
    output, error = below(base, output), below(base, error)
    for option, pattern in (("-o", output), ("-e", error)):
        _check_pattern(option, pattern, name, array=bool(spec.array))
    return output, error


def _check_pattern(option: str, pattern: str, name: str, *, array: bool) -> None:
    shell.refuse_control(pattern, option)
    if "\\" in pattern:
        raise PlanError(
            f"{option}: Slurm expands no %j in a path with a backslash: {pattern}",
            hint="choose a path without one (the job's own folder is below $HPCJOBS_HOME)",
        )
    found = set(re.findall(r"%(.?)", pattern))
    if unknown := sorted(found - set("jAax%")):
        raise PlanError(
            f"{option}: %{unknown[0]} is not known: {pattern}",
            hint="%j is the job, %A_%a the array and its task, %x the name, %% a percent sign",
        )
    if array and "j" in found:
        raise PlanError(f"{option}: the %j of an array's task cannot be known: {pattern}", hint="write %A_%a")
    if array and "a" not in found:
        raise PlanError(f"{option}: all tasks of the array would write to {pattern}", hint="add %a, the task's index")
    if not array and found & {"A", "a"}:
        raise PlanError(f"{option}: %A and %a are for arrays: {pattern}", hint="write %j")
    if "x" in found and "/" in name:
        raise PlanError(f"{option}: the job name {name} holds a / and would be a folder", hint="choose another with -J")


# --------------------------------------------------------------------------- site and partition


def _check_scheduler(spec: JobSpec, site: Site) -> Iterator[Note]:
    if site.scheduler.kind == "pbs":
        return  # its module reads them
    if site.scheduler.kind != "local":
        for text in site.directives:
            check_directive(text, of_site=True)
        for text in spec.directives:
            check_directive(text)
        return
    for field in _NOT_LOCAL:
        if getattr(spec, field) or getattr(site, field, ()):
            raise PlanError(f"the local scheduler has no {field}", hint=f"leave out {field}, or choose another --site")
    if (spec.nodes or 1) > 1:
        raise PlanError(f"site {site.name} is one machine, and {spec.nodes} nodes were asked for", hint="-N 1")
    for field in _MOOT_LOCAL:
        if value := getattr(spec, field):
            yield Note(field, f"{value} is not used", "this machine has one queue, and nobody pays")


def check_directive(text: str, *, of_site: bool = False) -> None:
    """Refuse what hpcjob writes by itself: sbatch takes the last of two, and the job's own would be lost.

    Raises:
        PlanError: it cannot stand in the script.
    """
    shell.refuse_control(text, "a directive")
    match = _DIRECTIVE.fullmatch(text)
    if not match:
        word = text.split(maxsplit=1)[0] if text.strip() else text
        if word in ("hetjob", "packjob", ":"):
            raise PlanError("heterogeneous jobs are not in this version", hint="submit one job for each component")
        raise PlanError(f"the directive {text!r} is not understood", hint="write --name or --name=value")
    name, value = match[1], match[2] or ""
    if name == "--gres" and re.search(r"(^|,)gpu\b", value):
        raise PlanError(f"{text} is written by hpcjob itself", hint="use --gpus-per-node")
    own = name if name in _OWN else next((o for o in _OWN if o.startswith(name) and name != "--gpus"), "")
    if not own:
        return
    if not _OWN[own]:
        raise PlanError(f"hpcjob needs {own} for itself", hint="leave it out")
    key = own.removeprefix("--").replace("-", "_")
    hint = f"write it under `defaults`: {{{key}: {value or 'true'}}}" if of_site else f"use {_OWN[own]}"
    raise PlanError(f"the directive {text} is written by hpcjob itself", hint=hint)


def partition_of(spec: JobSpec, site: Site) -> Partition:
    """The limits of the partition that the job goes to, and the shape of its nodes; empty if nothing is known.

    Raises:
        PlanError: the site has no such partition.
    """
    return _partition(with_defaults(spec, site), site)[1]


def _partition(spec: JobSpec, site: Site) -> tuple[str, Partition]:
    """The partition whose limits hold, and its name; an empty name if nothing is known."""
    if spec.partition and site.partitions and spec.partition not in site.partitions:
        raise PlanError(
            f"site {site.name} has no partition {spec.partition!r}", hint=nearest(spec.partition, site.partitions)
        )
    default = next((name for name, found in site.partitions.items() if found.default), "")
    name = spec.partition or default
    return name, site.partitions.get(name, Partition())


def _check_required(spec: JobSpec, site: Site, name: str, partition: Partition) -> None:
    for who, names in ((f"site {site.name}", site.require), (f"partition {name}", partition.require)):
        for field in names:
            if getattr(spec, field) in (None, "", (), {}):
                raise PlanError(
                    f"{who} needs {field.replace('_', ' ')}, and none was given",
                    hint=f"add {_REQUIRED.get(field, '--' + field.replace('_', '-'))} {field.upper()}",
                )


def _placement(spec: JobSpec, site: Site, name: str, *, fill: bool) -> Placement:
    """Where ranks go on the partition `name`; where another partition would take the job, a refusal says so."""
    request = Request(**{f.name: getattr(spec, f.name) for f in fields(Request)})
    place(request, NodeShape(), fill=fill)  # what contradicts itself does so anywhere
    if spec.gpus_per_node and site.gpu.kind == "none":
        raise PlanError(f"site {site.name} has no GPUs", hint="leave out --gpus-per-node, or choose another --site")
    if spec.gpu_type and not spec.gpus_per_node:
        raise PlanError(f"a kind of GPU ({spec.gpu_type}) without a number", hint="add --gpus-per-node 1")
    try:
        return _on(name, site.partitions.get(name, Partition()), spec, site, request, fill=fill)
    except PlanError as error:
        for other, partition in site.partitions.items():
            if other != name and _takes(other, partition, spec, site, request, fill=fill):
                raise PlanError(error.message, hint=f"{error.hint}; or -p {other}, which takes it") from None
        raise


def _fixed(placement: Placement, site: Site, partition: Partition, launcher: str) -> Placement:
    """The same on exactly its nodes: a launcher that places ranks itself must know where the scheduler put them."""
    known = placement.nodes_asked or partition.node.cores or site.scheduler.kind == "local"
    if placement.shape.ntasks > 1 and not known:
        raise PlanError(
            f"{launcher} must be told how many ranks go on a node, and site {site.name} does not say how many fit",
            hint="add -N, or use --launcher srun",
        )
    return replace(placement, nodes_asked=True)


def _takes(name: str, partition: Partition, spec: JobSpec, site: Site, request: Request, *, fill: bool) -> bool:
    try:
        _on(name, partition, spec, site, request, fill=fill)
    except PlanError:
        return False
    return True


def _on(name: str, partition: Partition, spec: JobSpec, site: Site, request: Request, *, fill: bool) -> Placement:
    where = f"partition {name}" if name else f"site {site.name}"
    try:
        placement = place(request, partition.node, fill=fill)
    except PlanError as error:
        raise PlanError(f"{where}: {error.message}", hint=error.hint) from None
    _check_nodes(where, partition, placement)
    if partition.max_time and spec.time and spec.time > partition.max_time:
        raise PlanError(
            f"{where} allows {partition.max_time}, and {spec.time} were asked for",
            hint=f"-t {partition.max_time} is the most there",
        )
    _check_node_memory(where, partition.node, spec, placement.shape)
    _check_gpus(where, partition.node, spec, site, placement.shape)
    return placement


def _check_nodes(where: str, partition: Partition, placement: Placement) -> None:
    asked = placement.shape.nodes
    most = min(filter(None, (partition.max_nodes, partition.nodes)), default=asked)
    if asked > most:
        per_node = placement.shape.ntasks_per_node
        raise PlanError(
            f"{where} has {most} nodes for one job, and {asked} are needed",
            hint=f"-N {most} is the most there" if placement.nodes_asked else f"-n {most * per_node} is the most there",
        )
    if asked < partition.min_nodes:
        raise PlanError(
            f"{where} takes jobs of at least {partition.min_nodes} nodes, and this has {asked}",
            hint=f"-N {partition.min_nodes} is the least there",
        )


def _check_memory(spec: JobSpec) -> None:
    if spec.mem and spec.mem_per_cpu:
        raise PlanError("both --mem and --mem-per-cpu were given", hint="use one: --mem for a node")


def _check_node_memory(where: str, node: NodeShape, spec: JobSpec, shape: Shape) -> None:
    cores = shape.ntasks_per_node * shape.cpus_per_task
    asked = spec.mem or Memory((spec.mem_per_cpu or 0) * cores)
    if not node.memory or asked <= node.memory:
        return
    most = f"--mem {node.memory}"
    if not spec.mem:
        most = f"--mem-per-cpu {Memory(node.memory // cores >> 20 << 20)}"
    raise PlanError(f"{where}: a node has {node.memory} of memory, and {asked} are needed", hint=f"{most} is the most")


def _check_gpus(where: str, node: NodeShape, spec: JobSpec, site: Site, shape: Shape) -> None:
    gpus, ranks = shape.gpus_per_node, shape.ntasks_per_node
    if not gpus:
        return
    if node.cores and not node.gpus:
        raise PlanError(f"{where} has no GPUs", hint="leave out --gpus-per-node")
    if node.gpu_type and spec.gpu_type not in ("", node.gpu_type):
        raise PlanError(f"{where} has GPUs of kind {node.gpu_type}, not {spec.gpu_type}", hint="leave out the kind")
    if site.gpu.request == "gpus-per-task" and gpus % ranks:
        raise PlanError(
            f"{where} counts GPUs by rank, and {gpus} cannot be shared out to {ranks} ranks a node",
            hint=f"--gpus-per-node {ranks * max(1, gpus // ranks)}, or --ntasks-per-node {gpus}",
        )


def _settled(job: Job, known: Known | None) -> Settled:
    spec, image = job.spec, job.image
    if image.kind == "none" or known is None:
        if spec.mpi in MODES and spec.mpi != "none":
            raise PlanError(
                f"--mpi {spec.mpi} is about the MPI of an image, and "
                + ("there is none" if image.kind == "none" else f"what {image.path} has is not known"),
                hint="leave out --mpi, or name a kind of the launcher's: --mpi pmi2",
            )
        return Settled()
    _mpi(spec, job.site, job.launcher.kind)
    _check_kind(job, known)
    if spec.mpi == "site" and not job.site.mpi.runtime_option:
        hint = "add mpi.runtime_option to the site's file, or choose another --mpi"
        raise PlanError(f"site {job.site.name} names no option of {job.runtime.name} for MPI", hint=hint)
    if spec.mpi == "container" and job.shape.nodes > 1:
        raise PlanError("a launcher in the image reaches one node", hint="-N 1, or another --mpi")
    return settle(job, known)


def _check_kind(job: Job, known: Known) -> None:
    """Refuse a kind that neither the site nor the launcher knows: srun would, in the job."""
    asked, types = job.spec.mpi, offered(job, known)
    if asked not in ("auto", *MODES, *types) and types:
        raise PlanError(f"{job.launcher.kind} has no MPI of kind {asked!r}", hint=nearest(asked, (*MODES, *types)))


def _canary(
    settled: Settled, request: ContainerRequest, runtime: Runtime, launch: Launch
) -> tuple[tuple[str | shell.Shell, ...], ...]:
    """What starts the canary as the program will be started."""
    if not settled.plan.canary:
        return ()
    program = (f"{settled.wiring.folder}/canary",)
    own = containers.wrap(runtime, replace(request, program=program, entrypoint=False, app="", canary=True))
    return _words(launch.argv, own, settled.wiring.before)


def _mpi(spec: JobSpec, site: Site, launcher: str) -> str:
    """The launcher's kind of MPI; empty for its own default."""
    if spec.mpi == "auto":
        return site.mpi.default if launcher == site.launcher.kind else ""
    known = ("auto", *MODES, *site.mpi.types)
    if site.mpi.types and spec.mpi not in known:
        raise PlanError(f"site {site.name} has no MPI of kind {spec.mpi!r}", hint=nearest(spec.mpi, known))
    return spec.mpi
