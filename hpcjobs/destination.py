"""Where a job goes: its partition, what it gets there by default, and whether it fits. Pure."""

from __future__ import annotations

import re
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import PlanError, UsageError
from hpcjobs.model import JobSpec, NodeShape, Note, Partition, Qos, Shape, Site
from hpcjobs.mpi.decide import MODES
from hpcjobs.placement import Placement, Request, place
from hpcjobs.units import Memory, nearest, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterator

# What to type for each field; also the fields of one line of text, which end in directives and tables.
OPTIONS = {
    "name": "-J", "partition": "-p", "account": "-A", "qos": "--qos", "constraint": "-C", "licenses": "-L",
    "reservation": "--reservation", "gpu_type": "--gpu-type", "array": "-a", "dependency": "-d",
    "workdir": "-D", "output": "-o", "error": "-e",
}  # fmt: skip
_REQUIRED = {
    **OPTIONS, "time": "-t", "nodes": "-N", "ntasks": "-n", "ntasks_per_node": "--ntasks-per-node",
    "cpus_per_task": "-c", "gpus_per_node": "--gpus-per-node", "mem": "--mem", "mem_per_cpu": "--mem-per-cpu",
    "image": "--image",
}  # fmt: skip


def with_defaults(spec: JobSpec, site: Site) -> JobSpec:
    """The request with defaults where it says nothing: the partition's, those of jobs with GPUs, the site's.

    Variables of all are joined, the request's winning. A job that names no partition goes to the first of the site's
    `partition_order` that takes it.
    """
    if spec.partition or not site.partition_order or _gpu_defaults(spec, site).get("partition"):
        return _filled(spec, site)
    tried = [_filled(replace(spec, partition=name), site) for name in site.partition_order]
    able = [one for one in tried if _takes(one, site)]
    full = [one for one in able if _fills(one, site.partitions[one.partition])]
    if able:
        return (full or able)[0]
    # The refusal is of the one that comes nearest, but not for a QOS that it does not have.
    open_to = [one for one in tried if one.partition in (site.qos.get(one.qos, Qos()).partitions or (one.partition,))]
    return max(open_to or tried, key=lambda one: _room(one, site.partitions[one.partition]))


def _room(spec: JobSpec, partition: Partition) -> tuple[int, int]:
    """How much of the job a partition would take: of its nodes, then of its walltime."""
    nodes = partition.max_nodes or partition.nodes or sys.maxsize
    return min(spec.nodes or 1, nodes), int(partition.max_time or sys.maxsize)


def _fills(spec: JobSpec, partition: Partition) -> bool:
    """Whether the job is no waste there: where nodes are whole, it asks for one at least."""
    cores = (spec.ntasks or spec.ntasks_per_node or 1) * (spec.cpus_per_task or 1)
    return not partition.whole or bool(spec.nodes or spec.exclusive) or cores >= partition.node.cores


def _filled(spec: JobSpec, site: Site) -> JobSpec:
    empty = {f.name: f.default for f in fields(JobSpec)}
    given = {**site.defaults, **_gpu_defaults(spec, site)}
    partition = spec.partition or given.get("partition", "") or _default_partition(site)
    here = site.partitions.get(partition, Partition())
    given |= here.defaults
    chosen = {name: value for name, value in given.items() if name != "env" and getattr(spec, name) == empty[name]}
    for field, other in (("mem", "mem_per_cpu"), ("mem_per_cpu", "mem")):
        if getattr(spec, other):  # the two exclude each other
            chosen.pop(field, None)
    if chosen.get("mpi") in MODES and not (spec.image or chosen.get("image")):
        del chosen["mpi"]  # a way for images
    filled = replace(spec, **chosen, env={**site.defaults.get("env", {}), **here.defaults.get("env", {}), **spec.env})
    return replace(filled, account=_suffixed(filled.account, here.account_suffix, site))


def _suffixed(account: str, suffix: str, site: Site) -> str:
    """The account as the partition wants it, which may have been given as another one does."""
    if not account or not suffix or account.endswith(suffix):
        return account
    others = [other.account_suffix for other in site.partitions.values() if other.account_suffix]
    ending = next((other for other in others if account.endswith(other)), "")
    return account.removesuffix(ending) + suffix


def _gpu_defaults(spec: JobSpec, site: Site) -> dict[str, Any]:
    """What jobs with GPUs get; not on a partition that was chosen otherwise, which may have other GPUs."""
    found = site.gpu.defaults
    elsewhere = spec.partition and spec.partition != found.get("partition", spec.partition)
    wanted = spec.gpus_per_node or (spec.gpus_per_node is None and site.defaults.get("gpus_per_node"))
    return found if wanted and not elsewhere else {}


def _default_partition(site: Site) -> str:
    return next((name for name, found in site.partitions.items() if found.default), "")


def partition_of(spec: JobSpec, site: Site) -> Partition:
    """The limits of the partition that the job goes to, and the shape of its nodes; empty if nothing is known.

    Raises:
        PlanError: the site has no such partition.
    """
    return goes_to(with_defaults(spec, site), site)[1]


def goes_to(spec: JobSpec, site: Site) -> tuple[str, Partition]:
    """The partition whose limits hold, and its name; an empty name if nothing is known."""
    # A list made from documents may lack what only some projects may use; the scheduler refuses what is not there.
    if spec.partition and site.partitions and spec.partition not in site.partitions and not site.sources:
        raise PlanError(
            f"site {site.name} has no partition {spec.partition!r}", hint=nearest(spec.partition, site.partitions)
        )
    name = spec.partition or _default_partition(site)
    return name, site.partitions.get(name, Partition())


def notes(asked: JobSpec, spec: JobSpec, site: Site, name: str) -> Iterator[Note]:
    """What the site's file says to whoever submits, and what it decided for the request."""
    if site.retired:
        yield Note("site", f"{site.name} is retired", site.retired)
    yield from (Note("site", text, "") for text in site.notes)
    if spec.partition and site.partitions and spec.partition not in site.partitions:
        yield Note("partition", spec.partition, f"not in the file of site {site.name}: its limits are not checked")
    if site.gpu.defaults.get("partition") and spec.partition != asked.partition and spec.gpus_per_node:
        yield Note("partition", name, f"where jobs with GPUs go on {site.name}")
    elif not asked.partition and site.partition_order and name != site.partition_order[0]:
        first = site.partition_order[0]
        able = _takes(_filled(replace(asked, partition=first), site), site)
        yield Note("partition", name, f"{first} gives whole nodes" if able else f"{first} does not take the job")
    if asked.account and spec.account != asked.account:
        yield Note("account", spec.account, f"partition {name} wants this ending")


def directives(site: Site, partition: Partition, spec: JobSpec) -> Iterator[str]:
    """What the site's file puts into every script, with the job's account.

    Raises:
        PlanError: none was given.
    """
    for text in (*site.directives, *partition.directives):
        if "{account}" in text and not spec.account:
            raise PlanError(
                f"site {site.name} writes the account into {text}, and none was given", hint="add -A ACCOUNT"
            )
        yield text.replace("{account}", spec.account)


def check_required(spec: JobSpec, site: Site, name: str, partition: Partition) -> None:
    """Refuse a job without what the site or the partition wants.

    Raises:
        PlanError: it names the first field that is missing.
    """
    for who, names in ((f"site {site.name}", site.require), (f"partition {name}", partition.require)):
        for field in _missing(spec, names):
            raise PlanError(
                f"{who} needs {field.replace('_', ' ')}, and none was given",
                hint=f"add {_REQUIRED.get(field, '--' + field.replace('_', '-'))} {field.upper()}",
            )


def _missing(spec: JobSpec, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if getattr(spec, name) in (None, "", (), {})]


def placed(spec: JobSpec, site: Site, name: str, *, fill: bool) -> Placement:
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
        error.hint += _doubt(name, spec, site)
        for other in site.partitions:
            if other == name or (site.partitions[other].node.gpus and not spec.gpus_per_node):
                continue  # there it would keep others from the GPUs
            if _takes(replace(spec, partition=other), site, fill=fill):
                raise PlanError(error.message, hint=f"{error.hint}; or -p {other}, which takes it") from None
        for other in site.qos:
            if other != spec.qos and _takes(replace(spec, partition=name, qos=other), site, fill=fill):
                raise PlanError(error.message, hint=f"{error.hint}; or --qos {other}, which takes it") from None
        raise


def _doubt(name: str, spec: JobSpec, site: Site) -> str:
    """Words for a limit that the site's file has, and no document."""
    places = (f"partitions.{name}", f"qos.{spec.qos}")
    pairs = [(f"{path}.", f"{place}.") for path in site.unverified for place in places]
    if not any(path.startswith(place) or place.startswith(path) for path, place in pairs):
        return ""
    return f" (not all limits in the file of site {site.name} are documented: hpcjob site show {site.name})"


def fixed(placement: Placement, site: Site, partition: Partition, launcher: str) -> Placement:
    """The same on exactly its nodes: a launcher that places ranks itself must know where the scheduler put them."""
    known = placement.nodes_asked or partition.node.cores or site.scheduler.kind == "local"
    if placement.shape.ntasks > 1 and not known:
        raise PlanError(
            f"{launcher} must be told how many ranks go on a node, and site {site.name} does not say how many fit",
            hint="add -N, or use --launcher srun",
        )
    return replace(placement, nodes_asked=True)


def _takes(spec: JobSpec, site: Site, *, fill: bool = True) -> bool:
    name = spec.partition
    partition = site.partitions.get(name, Partition())
    if _missing(spec, partition.require):
        return False
    request = Request(**{f.name: getattr(spec, f.name) for f in fields(Request)})
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
    qos = _qos(name, spec, site)
    _check_nodes(where, partition, qos, placement)
    _check_tasks(where, partition, spec)
    _check_time(where, partition, qos, spec, placement.shape.nodes)
    _check_node_memory(where, partition.node, spec, placement.shape)
    _check_gpus(where, partition.node, spec, site, placement.shape)
    return placement


def _qos(name: str, spec: JobSpec, site: Site) -> Qos:
    """The limits of the quality of service that was asked for; none where the site has no word on it."""
    qos = site.qos.get(spec.qos, Qos())
    if name and qos.partitions and name not in qos.partitions:
        raise PlanError(
            f"qos {spec.qos} is for partition {' or '.join(qos.partitions)}, and the job goes to {name}",
            hint=f"-p {qos.partitions[0]}",
        )
    return qos


def _check_nodes(where: str, partition: Partition, qos: Qos, placement: Placement) -> None:
    asked = placement.shape.nodes
    # A QOS replaces the partition's limit, as Slurm has it, but makes no more nodes.
    most = min(filter(None, (qos.max_nodes or partition.max_nodes, partition.nodes)), default=asked)
    least = qos.min_nodes or partition.min_nodes
    if asked > most:
        per_node = placement.shape.ntasks_per_node
        raise PlanError(
            f"{where} has {most} nodes for one job, and {asked} are needed",
            hint=f"-N {most} is the most there" if placement.nodes_asked else f"-n {most * per_node} is the most there",
        )
    if asked < least:
        raise PlanError(
            f"{where} takes jobs of at least {least} nodes, and this has {asked}",
            hint=f"-N {least} is the least there",
        )


def _check_tasks(where: str, partition: Partition, spec: JobSpec) -> None:
    indices = tasks(spec.array)[0]
    if indices and partition.max_tasks and len(parse_indices(indices)) > partition.max_tasks:
        raise PlanError(
            f"{where} takes {partition.max_tasks} tasks of an array at once, and {spec.array} has more",
            hint="split the array, or choose another partition: -p",
        )


def _check_time(where: str, partition: Partition, qos: Qos, spec: JobSpec, nodes: int) -> None:
    bins = [limit for most, limit in sorted(partition.time_by_nodes.items()) if nodes <= most]
    longest = qos.max_time or (bins[0] if bins else partition.max_time)
    if not longest or not spec.time or spec.time <= longest:
        return
    job = (
        f" to a job of {nodes} nodes" if bins and not qos.max_time else f" with qos {spec.qos}" if qos.max_time else ""
    )
    raise PlanError(
        f"{where} allows {longest}{job}, and {spec.time} were asked for", hint=f"-t {longest} is the most there"
    )


def check_memory(spec: JobSpec) -> None:
    """Refuse memory of a node and of a core at once.

    Raises:
        PlanError: both were given.
    """
    if spec.mem and spec.mem_per_cpu:
        raise PlanError("both --mem and --mem-per-cpu were given", hint="use one: --mem for a node")


def _check_node_memory(where: str, node: NodeShape, spec: JobSpec, shape: Shape) -> None:
    cores = shape.ntasks_per_node * shape.cpus_per_task * node.threads  # as Slurm counts for --mem-per-cpu
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
    if site.gpu.request == "none" and spec.gpu_type not in ("", node.gpu_type):
        raise PlanError(
            f"{where} brings the GPUs that it has, and {spec.gpu_type} was asked for",
            hint="leave out the kind, or choose another partition",
        )
    if site.gpu.request == "gpus-per-task" and gpus % ranks:
        raise PlanError(
            f"{where} counts GPUs by rank, and {gpus} cannot be shared out to {ranks} ranks a node",
            hint=f"--gpus-per-node {ranks * max(1, gpus // ranks)}, or --ntasks-per-node {gpus}",
        )


def tasks(text: str) -> tuple[str, int]:
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
