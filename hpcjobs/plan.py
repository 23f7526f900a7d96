"""A request and a site become a plan, or a refusal that says what would work. Pure: nothing is run or read."""

from __future__ import annotations

import os.path
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcjobs import capabilities, containers, modules, shell
from hpcjobs.containers import below
from hpcjobs.destination import (
    OPTIONS,
    check_memory,
    check_required,
    directives,
    fixed,
    goes_to,
    placed,
    tasks,
    with_defaults,
)
from hpcjobs.destination import (
    notes as site_notes,
)
from hpcjobs.errors import PlanError
from hpcjobs.model import (
    AppPlan,
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
from hpcjobs.mpi.settle import WITH_OPTION, Job, Settled, offered, runtime_option, settle
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.model import Launcher, Runtime, ServiceSpec
    from hpcjobs.mpi.settle import Known
    from hpcjobs.shell import Shell

_PATHS = ("workdir", "output", "error")
_LEAST_PORT, _MOST_PORT = 1024, 65535
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

# Launchers of an MPI, which speak its own way with ranks; the others are Slurm's srun, and such as are plugged in.
_WITHOUT_KINDS = frozenset({"none", "mpirun", "mpiexec", "pals", "jsrun"})

# What the embedded scheduler of one machine cannot express, and what means nothing there.
_NOT_LOCAL = ("constraint", "reservation", "licenses", "directives")
_MOOT_LOCAL = ("partition", "account", "qos")


# -------------------------------------------------------------------------------------- choices


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
    asked, spec = spec, with_defaults(spec, site)
    _check_text(spec)
    _check_command(spec, launcher.name)
    notes = list(_check_scheduler(spec, site))
    name, partition = goes_to(spec, site)
    notes += site_notes(asked, spec, site, name)
    check_required(spec, site, name, partition)
    inside = spec.mpi == "container"
    placement = placed(spec, site, name, fill=launcher.name != "none" or inside)
    if launcher.name not in ("none", "srun"):
        placement = fixed(placement, site, partition, launcher.name)
    check_memory(spec)
    shape = placement.shape
    plain, launcher = launcher, _for_gpus(launcher, site, shape, partition.node)
    if image.arch and host.arch and image.arch != host.arch:
        raise PlanError(
            f"the image {image.path} is made for {image.arch}, and this machine is {host.arch}",
            hint=f"build or pull it for {host.arch}",
        )
    even = (placement.nodes_asked or site.scheduler.kind == "local") and (
        shape.ntasks == shape.nodes * shape.ntasks_per_node
    )
    on_partition = replace(site, modules=(*site.modules, *partition.modules))
    settled = _settled(Job(spec, on_partition, image, runtime, launcher.config, shape, even), mpi)
    kind = settled.plan.type if settled.plan.mode else mpi_kind(spec, site, launcher.name)
    array, limit = tasks(spec.array)
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
        mpi_option=_mpi_option(site, runtime, shape) if settled.plan.mode == "site" else "",
        together=settled.together,
        apart=settled.plan.mode == "none",
        passed=_passed(site, spec),
    )
    contained = containers.contain(request, runtime, services, site, array=bool(spec.array))
    invocation = contained.invocation
    launched = Shape() if inside else replace(shape, cpus_per_task=shape.cpus_per_task * _threads(launcher, partition))
    if settled.plan.alone and not invocation.launcher_args:
        launch = Launch((), notes=("not used: Open MPI would ask it for other ranks, and end",))
    else:
        offered = mpi_kind(spec, site, launcher.name) if settled.plan.alone else kind
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
        launch=_words(launch.argv, invocation, settled.wiring.before, _in_rank(site, launched) if launch.argv else ()),
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
        node=partition.node,
        mem=spec.mem,
        mem_per_cpu=spec.mem_per_cpu,
        time=spec.time,
        partition=spec.partition if partition.queue is None else partition.queue,
        account=spec.account,
        qos=spec.qos,
        constraint=spec.constraint,
        reservation=spec.reservation,
        licenses=spec.licenses,
        gpu_kind=site.gpu.kind if shape.gpus_per_node else "none",
        gpu_type=spec.gpu_type,
        gpu_request=site.gpu.request,
        whole_nodes=partition.whole,
        ranks_told=not shape.gpus_per_node or site.gpu.ranks == "directives",
        exclusive=spec.exclusive,
        hold=spec.hold,
        requeue=spec.requeue,
        array=array,
        array_limit=limit,
        dependency=dependency,
        export=site.scheduler.exported,
        umask=host.umask,
        each_node=_one_on_each_node(plain, launched),
        directives=(
            *directives(site, partition, spec),
            *runtime.config.directives,
            *invocation.directives,
            *spec.directives,
        ),
        module_init=site.module_init,
        modules=(*on_partition.modules, *contained.modules, *spec.modules),
        site_env=site.env,
        env={**invocation.env, **launch.env},
        scratch=site.scratch,
        kept_env=_kept_env(spec, host, runtime),
        setup=contained.setup,
        functions=contained.functions,
        services=contained.services,
        cleanup=contained.cleanup,
        files=contained.files,
        app=_app(spec, site, shape),
        notes=(*notes, *_as_notes(runtime.name, invocation.notes), *_as_notes(launcher.name, launch.notes)),
    )


def _for_gpus(launcher: Launcher, site: Site, shape: Shape, node: NodeShape) -> Launcher:
    """The launcher with the site's options for jobs with GPUs."""
    if not shape.gpus_per_node or launcher.name != site.launcher.kind:
        return launcher
    options: tuple[str, ...] = ()
    if site.gpu.ranks == "launcher":
        options += (f"--nodes={shape.nodes}", f"--ntasks-per-node={shape.ntasks_per_node}")
    if _one_gpu_a_rank(shape):
        options += site.gpu.rank_options
        if (shape.gpus_per_node, shape.cpus_per_task) == (node.gpus, node.gpu_cores):
            options += site.gpu.node_options
    if not options:
        return launcher
    options = (*launcher.config.options, *options)
    return type(launcher)(replace(launcher.config, options=options))  # type: ignore[call-arg]  # as its protocol says


def _threads(launcher: Launcher, partition: Partition) -> int:
    """How many CPUs of the scheduler's a core is, to its own launcher."""
    return partition.node.threads if launcher.name == "srun" else 1


def _one_gpu_a_rank(shape: Shape) -> bool:
    return shape.gpus_per_node > 0 and shape.gpus_per_node == shape.ntasks_per_node


def _in_rank(site: Site, shape: Shape) -> tuple[str, ...]:
    """What gives each rank its variables, of which only the rank knows the values."""
    if not site.gpu.rank_env or not _one_gpu_a_rank(shape):
        return ()
    given = "".join(f"{name}={shell.expand(value)} " for name, value in site.gpu.rank_env.items())
    return ("bash", "-c", f'{given}exec "$@"', "rank")


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
    app = ("HPCJOB_PORT", "HPCJOB_ADDRESS", "HPCJOB_TOKEN") if spec.port else ()
    return ("HPCJOB_NATIVE_ID", "HPCJOB_RESTARTS", *index, *app, *scratch, *services, *site.env, *site.gpu.rank_env)


def _app(spec: JobSpec, site: Site, shape: Shape) -> AppPlan | None:
    """The web application that the job is.

    Raises:
        PlanError: it cannot be one.
    """
    if not spec.port:
        if spec.idle:
            raise PlanError("--idle is about a web application, and there is none", hint="add --port auto")
        return None
    if spec.array or shape.ntasks > 1:
        what = "an array" if spec.array else f"{shape.ntasks} ranks"
        raise PlanError(f"a web application is one program, not {what}", hint="leave out -a, -N and -n")
    if spec.port != "auto" and not (spec.port.isdecimal() and _LEAST_PORT <= int(spec.port) <= _MOST_PORT):
        raise PlanError(f"--port {spec.port!r} is no port", hint="write --port auto, or a number from 1024 to 65535")
    # On a machine of one's own nobody else is to see it; the node of a cluster is reached over its network.
    address = "127.0.0.1" if site.scheduler.kind == "local" else "0.0.0.0"  # noqa: S104 - with a secret
    return AppPlan(0 if spec.port == "auto" else int(spec.port), address, int(spec.idle or 0))


def _as_notes(subject: str, notes: tuple[str, ...]) -> Iterator[Note]:
    return (Note(subject, note, "") for note in notes)


def _words(
    launcher: tuple[str | shell.Shell, ...], invocation: Invocation, before: tuple[str, ...], rank: tuple[str, ...] = ()
) -> tuple[tuple[str | shell.Shell, ...], ...]:
    inner = (*before, *invocation.argv)
    groups = tuple(group for group in (launcher, rank, inner, invocation.program) if group)
    return groups if len(groups) > 1 else (shell.program(invocation.program),)


# ------------------------------------------------------------------------------- text and names


def _check_text(spec: JobSpec) -> None:
    for field, option in OPTIONS.items():
        value = getattr(spec, field)
        shell.refuse_control(value, f"{field} ({option})")
        if field not in _PATHS and not _is_unicode(value):
            raise PlanError(f"{field} ({option}) is not UTF-8: {value[:60]!r}", hint="write it in UTF-8")
    if len(spec.name.encode()) > _LONGEST_NAME:
        raise PlanError(
            f"the job name has {len(spec.name.encode())} bytes: {spec.name[:40]}…", hint=f"{_LONGEST_NAME} is the most"
        )
    for module in spec.modules:
        modules.parse(module)


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
    mpi_kind(spec, job.site, job.launcher.kind)
    _check_kind(job, known)
    if spec.mpi == "site" and not _mpi_option(job.site, job.runtime, job.shape):
        hint = "choose another --mpi"
        if job.runtime.name in WITH_OPTION:
            hint = f"add mpi_option to {job.runtime.name} in the site's file, or {hint}"
        raise PlanError(f"site {job.site.name} names no option of {job.runtime.name} for MPI", hint=hint)
    if spec.mpi == "container" and job.shape.nodes > 1:
        raise PlanError("a launcher in the image reaches one node", hint="-N 1, or another --mpi")
    return settle(job, known)


def _mpi_option(site: Site, runtime: Runtime, shape: Shape) -> str:
    return runtime_option(site, runtime.config, gpus=shape.gpus_per_node > 0)


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


def mpi_kind(spec: JobSpec, site: Site, launcher: str) -> str:
    """The launcher's kind of MPI; empty for its own default."""
    if spec.mpi == "auto":
        return "" if launcher in _WITHOUT_KINDS else site.mpi.default
    known = ("auto", *MODES, *site.mpi.types)
    if site.mpi.types and spec.mpi not in known:
        raise PlanError(f"site {site.name} has no MPI of kind {spec.mpi!r}", hint=nearest(spec.mpi, known))
    return spec.mpi
