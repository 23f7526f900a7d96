"""How a plan is asked for in PBS: chunks of a `select`, `nodes=…:ppn=…`, names, arrays. Pure functions.

Sources: qsub(1B), pbs_resources(7B) and the User's Guide of PBS Professional (chapter 4); the manual of TORQUE 6.1,
"Requesting resources"; sbatch's own reader of `#PBS` lines for Slurm's look-alikes.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcjobs import paths, shell
from hpcjobs.errors import PlanError
from hpcjobs.shell import Shell
from hpcjobs.units import HOUR, MINUTE, format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from hpcjobs.model import Plan, Shape
    from hpcjobs.units import Duration, Memory

OPENPBS, TORQUE, WRAPPER = "openpbs", "torque", "slurm-torque"
"""The dialects: OpenPBS and PBS Professional; TORQUE; Slurm's commands that look like TORQUE's."""

# The longest name that the oldest servers take; OpenPBS since 19.1 takes 230.
_NAME = {OPENPBS: 230, TORQUE: 15, WRAPPER: 100}


_FEATURE = r"[\w.-]+(=[\w./@-]+)?"
_FEATURES = re.compile(rf"{_FEATURE}(&{_FEATURE})*", re.ASCII)
_INDEX = {OPENPBS: "PBS_ARRAY_INDEX", TORQUE: "PBS_ARRAYID", WRAPPER: "SLURM_ARRAY_TASK_ID"}


@dataclass(frozen=True)
class Custom:
    """How this very server wants to be asked: `scheduler.extra` of the site."""

    chunk: str = ""  # what each chunk of a select gets besides
    account: str = "-A"  # the option that names it; "-W group_list=" is one too
    totals: bool = False  # whether there is no select: ncpus, mem and ngpus of the whole job


def spell(plan: Plan, dialect: str, custom: Custom = Custom()) -> dict[str, Any]:
    """What the template writes.

    `options` are the directives, each a flag and its value (one with two dashes is sbatch's own); `index` the variable
    with a task's number; `indices` the tasks of an array that PBS counts otherwise; `output` and `error` where the
    script writes to, as words of shell.

    Raises:
        PlanError: PBS cannot express a field; says what is nearest.
    """
    _refuse(plan, dialect)
    if custom.totals and dialect == OPENPBS:
        _refuse_totals(plan)
    return {
        "dialect": dialect,
        "options": tuple(_options(plan, dialect, custom)),
        "index": Shell(f"${_INDEX[dialect]}"),
        "indices": _listed(plan, dialect),
        "output": _file(plan.output, plan.name),
        "error": _file(plan.error, plan.name),
    }


def _options(plan: Plan, dialect: str, custom: Custom) -> Iterator[tuple[str, str]]:
    yield "-N", _job_name(plan, dialect)
    if plan.partition:
        yield "-q", plan.partition
    if plan.account:
        flag, _, name = custom.account.partition(" ")  # -A, or -W group_list=
        yield flag, name + plan.account
    yield from _resources(plan, dialect, custom)
    if plan.hold:
        yield "-h", ""
    if plan.requeue is not None and dialect == WRAPPER:  # sbatch does not take it from -r
        yield "--requeue" if plan.requeue else "--no-requeue", ""
    elif plan.requeue is None and dialect == OPENPBS and _array(plan, dialect):
        yield "-r", "y"  # its arrays must be, and a server's hook may have made jobs otherwise
    elif plan.requeue is not None:
        yield "-r", "y" if plan.requeue else "n"
    if array := _array(plan, dialect):
        yield "-J" if dialect == OPENPBS else "-t", array
    if plan.dependency:
        yield "-W", f"depend={plan.dependency}"
    if plan.export == "all":
        yield "-V", ""
    # The script writes where it was asked to by itself: at once, and to files of any name.
    yield "-j", "oe"
    yield "-o", "/dev/null"
    yield from _last_of_each(map(_directive, plan.directives))


def _array(plan: Plan, dialect: str) -> str:
    if not plan.array:
        return ""
    indices = parse_indices(plan.array)
    text = arrange(indices)[0] if dialect == OPENPBS else format_indices(indices)
    return text + (f"%{plan.array_limit}" if text and plan.array_limit else "")


def _listed(plan: Plan, dialect: str) -> tuple[int, ...]:
    """The tasks, where the script has to look them up."""
    if not plan.array or dialect != OPENPBS:
        return ()
    indices = parse_indices(plan.array)
    text, counted = arrange(indices)
    return indices if not text or counted != indices else ()


# What hpcjob writes itself, and how it is asked for.
_OWN = {
    "-N": "-J NAME", "-q": "-p QUEUE", "-A": "-A ACCOUNT", "-h": "--hold", "-r": "--requeue or --no-requeue",
    "-J": "-a", "-t": "-a", "-o": "-o FILE", "-e": "-e FILE", "-j": "-o FILE", "-k": "-o FILE", "-d": "-D FOLDER",
    "-V": "export: all in the site file", "-n": "--exclusive", "-l select": "-N, -n, -c, --mem and --gpus-per-node",
    "-l nodes": "-N, -n and -c", "-l place": "-N and --exclusive", "-l walltime": "-t TIME",
    "-l ncpus": "-n and -c", "-l mem": "--mem", "-l ngpus": "--gpus-per-node", "-W depend": "-d", "-f": "", "-z": "",
    "-I": "", "-X": "", "-W block": "--wait", "-C": "", "-S": "",
}  # fmt: skip


def _last_of_each(directives: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What was said last of each resource: PBS itself would take the first, which is the site's."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for flag, value in directives:
        about = value.partition("=")[0] if flag in ("-l", "-W") else value
        found.pop((flag, about), None)
        found[flag, about] = (flag, value)
    yield from found.values()


def _directive(text: str) -> tuple[str, str]:
    """The flag and the value of a site's or a person's own directive (`-l filesystems=home`, `-P project`)."""
    match = re.fullmatch(r"(-[A-Za-z])(?:\s*(\S.*))?", text)
    if not match:
        raise PlanError(
            f"the directive {text!r} is not understood", hint="write it as qsub has it: -l NAME=VALUE, -P NAME"
        )
    flag, value = match[1], match[2] or ""
    for own, instead in _OWN.items():
        letter, _, word = own.partition(" ")
        if letter == flag and (not word or re.search(rf"(^|,){word}=", value)):
            hint = f"use {instead}" if instead else "leave it out"
            raise PlanError(f"the directive {text} is written by hpcjob itself", hint=hint)
    return flag, value


def _file(pattern: str, name: str) -> Shell:
    """A file name with Slurm's patterns as a word of the script, which knows id and index."""
    parts: list[object] = []
    at = 0
    for match in re.finditer(r"%(\d*)([jAa])|%(.)", pattern):
        parts.append(pattern[at : match.start()])
        at = match.end()
        if match[2]:
            known = '"${HPCJOB_ARRAY_INDEX:-0}"' if match[2] == "a" else '"${HPCJOB_NATIVE_ID%%[.[]*}"'
            parts.append(Shell(f"$(printf %0{match[1]}d {known})" if match[1] else known))
        else:
            parts.append(paths.expand_pattern(match[0], native_id="", name=name))
    return shell.concat(*parts, pattern[at:])


def arrange(indices: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """The range that OpenPBS takes for an array, and the index there of each task.

    `qsub -J` takes one range, with a step, of two tasks or more; anything else is counted from 0, and the script has a
    list. One task is no array to PBS: the range is empty.
    """
    indices = tuple(indices)
    if len(indices) == 1:
        return "", (0,)
    steps = {after - before for before, after in itertools.pairwise(indices)}
    if len(steps) == 1:
        step = steps.pop()
        return f"{indices[0]}-{indices[-1]}" + (f":{step}" if step > 1 else ""), indices
    return f"0-{len(indices) - 1}", tuple(range(len(indices)))


def _refuse(plan: Plan, dialect: str) -> None:
    if plan.qos:
        raise PlanError(
            f"PBS has no quality of service, and {plan.qos} was asked for",
            hint="leave out -q; a site's own word for it goes into --directive='-l job_priority=…'",
        )
    if plan.gpu_type and dialect == TORQUE:
        raise PlanError(
            f"TORQUE knows no kinds of GPUs, and {plan.gpu_type} was asked for",
            hint="leave out the kind; -C FEATURE asks for nodes of a kind (pbsnodes -a shows their properties)",
        )
    if plan.reservation:
        raise PlanError(
            f"a reservation of PBS is a queue: {plan.reservation}",
            hint=f"-p {plan.reservation} instead of --reservation",
        )
    if dialect != WRAPPER and plan.constraint and not _FEATURES.fullmatch(plan.constraint):
        raise PlanError(
            f"PBS understands features that are all wanted, and {plan.constraint} was asked for",
            hint="write NAME, NAME=VALUE, or several with & between them: -C 'cpu_type=milan&big'",
        )
    if dialect == OPENPBS and plan.requeue is False and _array(plan, dialect):
        raise PlanError("PBS takes no array whose tasks must not start again", hint="leave out --no-requeue, or -a")


def _refuse_totals(plan: Plan) -> None:
    """What is said of a node, where nothing of single nodes is said."""
    asked = {"features": plan.constraint, "a kind of GPU": plan.gpu_type if _gpus(plan) else ""}
    for what, value in asked.items():
        if value:
            raise PlanError(
                f"PBS is asked for the whole job here, without {what}, and {value} was asked for",
                hint="leave it out, and choose the queue that has such nodes: -p QUEUE",
            )


def _job_name(plan: Plan, dialect: str) -> str:
    """The job's name; Slurm's look-alike finds the job by the tag in it."""
    name = job_name(plan.name, dialect)
    return f"{name}.{plan.tag}" if dialect == WRAPPER else name


def job_name(name: str, dialect: str) -> str:
    """The name in the letters that all versions take, cut to their length."""
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", name) or "job"
    if dialect == TORQUE and not name[0].isalpha():
        name = f"j{name}"
    return name[: _NAME[dialect]]


def _resources(plan: Plan, dialect: str, custom: Custom) -> Iterator[tuple[str, str]]:
    if dialect == WRAPPER:
        yield from _of_slurm(plan)
    else:
        yield from (("-l", resource) for resource in _of_pbs(plan, dialect, custom))
    if plan.exclusive and dialect == TORQUE:
        yield "-n", ""
    if plan.time:
        yield "-l", f"walltime={walltime(plan.time)}"


def _of_pbs(plan: Plan, dialect: str, custom: Custom) -> Iterator[str]:
    if dialect == OPENPBS and custom.totals:
        yield from _totals(plan)
    elif dialect == OPENPBS:
        yield f"select={'+'.join(_chunks(plan, custom.chunk))}"
        yield f"place={_place(plan)}"
    else:
        yield _nodes(plan)
        # Of the whole job.
        yield from [f"mem={_size(plan.mem * plan.shape.nodes)}"] if plan.mem else []
        yield from [f"pmem={_size(plan.mem_per_cpu)}"] if plan.mem_per_cpu else []
    for one in plan.licenses.split(",") if plan.licenses else ():
        name, _, count = one.partition(":")
        yield f"{name}={count or 1}"


def _gpus(plan: Plan) -> int:
    """GPUs of a node that are asked for; none where the queue brings them."""
    return plan.shape.gpus_per_node if plan.gpu_request != "none" else 0


def _of_slurm(plan: Plan) -> Iterator[tuple[str, str]]:
    """Sbatch takes even nodes and their memory from `#PBS` lines; it multiplies the ranks of others wrongly."""
    shape = plan.shape
    if plan.nodes_asked and shape.ntasks == shape.nodes * shape.ntasks_per_node:
        yield "-l", f"nodes={shape.nodes}:ppn={shape.ntasks_per_node}"
    else:
        yield from [("--nodes", str(shape.nodes))] if plan.nodes_asked else []
        yield "--ntasks", str(shape.ntasks)
    wanted = {
        "--cpus-per-task": shape.cpus_per_task if shape.cpus_per_task > 1 else "",
        "--gpus-per-node": ":".join(filter(None, (plan.gpu_type, str(_gpus(plan))))) if _gpus(plan) else "",
        "--constraint": plan.constraint,
        "--licenses": plan.licenses,
        "--mem-per-cpu": _size(plan.mem_per_cpu).removesuffix("b") if plan.mem_per_cpu else "",
    }
    yield from ((word, str(value)) for word, value in wanted.items() if value)
    yield from [("-l", f"mem={_size(plan.mem)}")] if plan.mem else []
    yield from [("--exclusive", "")] if plan.exclusive else []


def _chunks(plan: Plan, more: str) -> Iterator[str]:
    """`4:ncpus=8:mpiprocs=4:ompthreads=2:ngpus=1:mem=64gb`, one for each shape of node."""
    groups = _groups(plan.shape) if _by_node(plan) else [(plan.shape.ntasks, 1)]
    for count, ranks in groups:
        cpus = ranks * plan.shape.cpus_per_task
        asked = max(cpus, plan.node.cores) if plan.whole_nodes and _by_node(plan) else cpus
        parts = [str(count), f"ncpus={asked}", f"mpiprocs={ranks}"]
        parts += [f"ompthreads={plan.shape.cpus_per_task}"]
        parts += [f"ngpus={_gpus(plan)}"] if _gpus(plan) else []
        parts += [f"gpu_type={plan.gpu_type}"] if plan.gpu_type and _gpus(plan) else []
        memory = plan.mem or (plan.mem_per_cpu * cpus if plan.mem_per_cpu else 0)
        parts += [f"mem={_size(memory)}"] if memory else []
        parts += [more] if more else []
        parts += [part if "=" in part else f"{part}=True" for part in plan.constraint.split("&") if part]
        yield ":".join(parts)


def _totals(plan: Plan) -> Iterator[str]:
    """`ncpus=192`, `mem=…`, `ngpus=4`: what the whole job gets, from which the server makes nodes that are full.

    A job of several nodes has them whole, and GPUs come with their share of the cores (NCI's "PBS directives").
    """
    shape, node = plan.shape, plan.node
    asked = cores = shape.ntasks_per_node * shape.cpus_per_task
    if shape.nodes > 1 or plan.exclusive:
        cores = max(cores, node.cores)
    elif node.gpus:
        cores = max(cores, shape.gpus_per_node * node.cores // node.gpus)
    yield f"ncpus={shape.nodes * cores}"
    memory = plan.mem or (plan.mem_per_cpu * asked if plan.mem_per_cpu else 0)
    yield from [f"mem={_size(memory * shape.nodes)}"] if memory else []
    yield from [f"ngpus={_gpus(plan) * shape.nodes}"] if _gpus(plan) else []


def _groups(shape: Shape) -> list[tuple[int, int]]:
    """How many nodes have how many ranks."""
    full, rest = divmod(shape.ntasks - shape.nodes, shape.ntasks_per_node - 1) if shape.ntasks_per_node > 1 else (0, 0)
    if shape.ntasks == shape.nodes * shape.ntasks_per_node:
        return [(shape.nodes, shape.ntasks_per_node)]
    # As srun's block distribution fills nodes: each gets at least one rank.
    groups = [(full, shape.ntasks_per_node), (1 if rest else 0, rest + 1)]
    groups.append((shape.nodes - full - (1 if rest else 0), 1))
    return [(count, ranks) for count, ranks in groups if count]


def _by_node(plan: Plan) -> bool:
    """Whether the chunks are nodes: their number was asked for, or what each of them gives."""
    return bool(plan.nodes_asked or plan.mem or plan.shape.gpus_per_node)


def _place(plan: Plan) -> str:
    where = "free" if not _by_node(plan) else "scatter" if plan.shape.nodes > 1 else "pack"
    return where + (":excl" if plan.exclusive else "")


def _nodes(plan: Plan) -> str:
    """`nodes=4:ppn=8:gpus=1`: processors, not ranks. TORQUE counts hosts: `nodes=8` is refused where there are four."""
    parts = []
    for count, ranks in _groups(plan.shape):
        words = [str(count), f"ppn={ranks * plan.shape.cpus_per_task}"]
        words += [f"gpus={_gpus(plan)}"] if _gpus(plan) else []
        words += [part for part in plan.constraint.split("&") if part]
        parts.append(":".join(words))
    return "nodes=" + "+".join(parts)


def _size(amount: Memory | int) -> str:
    """Whole megabytes, rounded up: PBS takes no fractions, and its own unit is the kilobyte of 1024 bytes."""
    return f"{-(-int(amount) // (1 << 20))}mb"


def walltime(time: Duration) -> str:
    """`HH:MM:SS` with hours beyond a day: PBS takes no days."""
    seconds = int(time)
    return f"{seconds // HOUR:02d}:{seconds % HOUR // MINUTE:02d}:{seconds % MINUTE:02d}"
