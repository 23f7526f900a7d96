"""A site file for a machine that was looked at: complete, valid, with the reasons beside the values. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hpcjobs.site.loading import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import NodeShape, Partition
    from hpcjobs.seen import NodeKind, SeenMachine, SeenScheduler

_BARE = re.compile(r"[A-Za-z0-9$/_.][A-Za-z0-9$/_.+@=-]*( [A-Za-z0-9(/_.+@=-][A-Za-z0-9/_.+@=()-]*)*")
# hpcjob's own reader takes these for nothing, or another reader of YAML for something else.
_OTHERWISE = re.compile(r"null|true|false|yes|no|on|off|y|n", re.IGNORECASE)
# What a line of /proc/mounts may hold, and `bind` does not.
_NO_BIND = re.compile(r"[:$]")
_NODES_OF_PBS = "$PBS_NODEFILE::optional"  # which site-configs/pbs.yaml binds
_WIDTH = 110  # of a comment
_MOST = 4  # kinds of nodes that a comment tells of


def write(seen: SeenMachine) -> str:
    """The text of the site file."""
    sections = (
        _head(seen), _scheduler(seen), _requirements(seen.scheduler), _partitions(seen.scheduler), _qos(seen.scheduler),
        _gpu(seen), _launch(seen), _runtimes(seen), _mpi(seen), _folders(seen),
    )  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def _head(seen: SeenMachine) -> Iterator[str]:
    scheduler = seen.scheduler
    version = f" {scheduler.version}" if scheduler.version else ""
    name, host = _clean(seen.name), _clean(seen.host)
    yield f"# {name}, as hpcjob saw it on {seen.day} from {host}. Look through it: comments say where a"
    yield "# value comes from and what is open. `hpcjob site validate` compares it with the scheduler at any time."
    for problem in seen.unanswered:
        yield from _comment(f"Not learnt: {problem}")
    yield f"extends: {scheduler.kind}"
    yield f"description: {_text(f'{seen.name} ({_title(scheduler.kind)}{version})')}"
    yield f"checked: {seen.day}"
    yield ""
    if seen.detect:
        yield f"detect: {_flow(seen.detect)}"


def _title(kind: str) -> str:
    return {"slurm": "Slurm", "pbs": "PBS"}.get(kind, kind)


def _scheduler(seen: SeenMachine) -> Iterator[str]:
    scheduler = seen.scheduler
    yield "scheduler:"
    if scheduler.partitions:
        yield "  limits: site   # those below; `ask` lets each user's hpcjob ask the scheduler, once an hour"
    if not scheduler.accounting:
        yield "  accounting: false   # the scheduler keeps no history"
    if scheduler.extra:
        yield f"  extra: {_flow(scheduler.extra)}"


def _requirements(scheduler: SeenScheduler) -> Iterator[str]:
    if scheduler.accounts:
        whose = ", ".join(scheduler.accounts[:_MOST])
        yield from _comment(f"Accounts of the person who made this file: {whose}.")
    needed = ["account"] if scheduler.account_needed else []
    if scheduler.partitions and not any(found.default for found in scheduler.partitions.values()):
        yield "# The scheduler has no default partition; `defaults: {partition: NAME}` would give it one."
        needed.append("partition")
    if needed:
        yield f"require: {_flow(needed)}"
    elif scheduler.accounts:
        yield "# require: [account]   # if people should always say which account pays"


def _partitions(scheduler: SeenScheduler) -> Iterator[str]:
    if not scheduler.partitions:
        return
    if kinds := scheduler.kinds.get("", ()):
        yield from _comment(f"PBS does not say which queue has which nodes. There are {_shapes(kinds)}.")
    yield "partitions:"
    for name, found in scheduler.partitions.items():
        yield f"  {_text(name)}:"
        for remark in scheduler.remarks.get(name, ()):
            yield from _comment(remark, indent="    ")
        kinds = scheduler.kinds.get(name, ())
        if len(kinds) > 1:
            yield from _comment(f"unlike nodes: {_shapes(kinds)}", indent="    ")
        if any(any(kind.reserved) for kind in kinds):
            yield "    # what the system keeps of the nodes for itself is left out"
        yield from (f"    {line}" for line in _partition(found))


def _shapes(kinds: tuple[NodeKind, ...]) -> str:
    shown = [f"{kind.count} with {_shape(kind.node)}" + (f" ({kind.features})" if kind.features else "")
             for kind in kinds[:_MOST]]  # fmt: skip
    return "; ".join(shown) + ("; and others" if len(kinds) > _MOST else "")


def _shape(node: NodeShape) -> str:
    memory = f", {node.memory}" if node.memory else ""
    gpus = f", {node.gpus} GPUs {node.gpu_type}".rstrip() if node.gpus else ""
    return f"{node.cores} cores{memory}{gpus}"


def _partition(found: Partition) -> Iterator[str]:
    if found.default:
        yield "default: true"
    for key in ("max_time", "nodes", "min_nodes", "max_nodes"):
        value = getattr(found, key)
        if value and not (key == "min_nodes" and value == 1):
            # More than there are is no limit, or one that no job can keep.
            beyond = key.endswith("_nodes") and found.nodes and value > found.nodes
            yield f"# {key}: {value}, and there are {found.nodes}" if beyond else f"{key}: {plain(value)}"
    node = {key: value for key, value in plain(found.node).items() if value and (key, value) != ("threads", 1)}
    yield f"node: {_flow(node)}" if node else "node: {}   # not known"


def _qos(scheduler: SeenScheduler) -> Iterator[str]:
    limited = {
        name: {key: value for key, value in plain(found).items() if value} for name, found in scheduler.qos.items()
    }
    if not limited:
        return
    if not any(limited.values()):
        yield from _comment(f"QOS of the person who made this file, without limits for one job: {', '.join(limited)}.")
        return
    yield "# Those that the person who made this file may use, with what they allow one job."
    yield "qos:"
    yield from (f"  {_text(name)}: {_flow(limits)}" for name, limits in limited.items())


def _gpu(seen: SeenMachine) -> Iterator[str]:
    with_gpus = [name for name, found in seen.scheduler.partitions.items() if found.node.gpus]
    if not with_gpus:
        return
    lines = []
    if seen.gpu_kind != "none":
        lines.append(f"  kind: {seen.gpu_kind}   # {_clean(seen.gpu_why)}")
    if seen.scheduler.gpu_request:
        lines.append(f"  request: {seen.scheduler.gpu_request}   # the scheduler took it")
    default = next((found for found in seen.scheduler.partitions.values() if found.default), None)
    if default is None or not default.node.gpus:
        lines.append(f"  defaults: {_flow({'partition': with_gpus[0]})}   # where jobs with GPUs go")
    # A kind that is written is meant, `none` too; `site validate` warns of one that is not.
    if seen.gpu_kind == "none":
        lines.insert(0, f"  # kind:   # {_clean(seen.gpu_why)}")
    yield "gpu:" if len(lines) > (seen.gpu_kind == "none") else "gpu: {}"
    yield from lines


def _launch(seen: SeenMachine) -> Iterator[str]:
    if not seen.launchers:
        return
    first, *others = seen.launchers
    yield f"launcher: {_flow({'kind': first})}"
    if others:
        yield "launchers:"
        yield from (f"  - {_flow({'kind': kind, 'single': False})}" for kind in others)


def _runtimes(seen: SeenMachine) -> Iterator[str]:
    if seen.runtimes:
        yield "# The first that takes the image is used."
        yield "runtimes:"
        for config, why in seen.runtimes:
            words = {"kind": config.kind} | ({"modules": list(config.modules)} if config.modules else {})
            yield f"  - {_flow(words)}   # {_clean(why)}"
    else:
        yield "# No container runtime was found on this node; the compute nodes may have one."
        yield "runtimes: []"
    if seen.modules:
        yield from _comment(f"Modules of containers and MPI: {', '.join(seen.modules[:24])}.")


def _mpi(seen: SeenMachine) -> Iterator[str]:
    if seen.mpis:
        yield from _comment(f"MPI of this node: {'; '.join(seen.mpis[:8])}.")
    yield from _comment(
        "hpcjob looks at it when the first MPI job is submitted; `hpcjob mpi host --on-node` looks at a compute node,"
        " once for all users."
    )
    values: dict[str, Any] = {}
    if default := _kind(seen):
        values["default"] = default
    if seen.mpi_types:
        values["types"] = list(seen.mpi_types)
    if values:
        yield "mpi:"
        yield from (f"  {key}: {_flow(value)}" for key, value in values.items())


def _kind(seen: SeenMachine) -> str:
    """The kind of srun's for programs of which nothing is known, where srun has no default and all MPIs want one."""
    if seen.scheduler.mpi_default not in ("", "none") or "srun" not in seen.launchers:
        return ""
    wanted = {"pmix" if "Open MPI" in name else "pmi2" for name in seen.mpis}
    return wanted.pop() if len(wanted) == 1 and wanted <= set(seen.mpi_types) else ""


def _folders(seen: SeenMachine) -> Iterator[str]:
    if seen.folders:
        yield "# File systems of the network, which containers should see:"
        yield from (f"#   {_clean(path)} ({kind})" for path, kind in seen.folders)
        # A list replaces what the file of all such schedulers has.
        own = [_NODES_OF_PBS] if seen.scheduler.kind == "pbs" else []
        yield f"bind: {_flow([*own, *(path for path, _ in seen.folders if not _NO_BIND.search(path))])}"
    if seen.scratch:
        yield f"scratch: ${seen.scratch}"


# ----------------------------------------------------------------------------------------- YAML


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else _text(str(value))


def _text(value: str) -> str:
    """A scalar, in quotes where YAML would read it otherwise."""
    if _BARE.fullmatch(value) and not _OTHERWISE.fullmatch(value):
        return value
    # YAML has JSON's escapes, and wants them for more.
    return "".join(map(_escaped, json.dumps(_of_bytes(value), ensure_ascii=False)))


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


def _of_bytes(text: str) -> str:
    """Bytes that were no UTF-8 cannot be written."""
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def _clean(text: str) -> str:
    """What a comment may hold: one line, without control characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def _comment(text: str, indent: str = "") -> Iterator[str]:
    line = f"{indent}#"
    for word in _clean(text).split():
        if len(line) + len(word) >= _WIDTH and not line.endswith("#"):
            yield line
            line = f"{indent}#"
        line += f" {word}"
    yield line
