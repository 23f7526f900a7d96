"""What Slurm tells of a cluster that nobody described: nodes, partitions, and which request for GPUs it takes.

Sources: sinfo(1), scontrol(1), sacctmgr(1), slurm.conf(5) (CoreSpecCount, MemSpecLimit), sbatch(1) (`--test-only`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from hpcjobs.model import NodeShape, Partition, Qos
from hpcjobs.schedulers.slurm_words import gpus_of, number
from hpcjobs.seen import NodeKind
from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcjobs.limits import Rules

NODE_FORMAT = "%P|%D|%z|%c|%m|%G|%f|%N"
_FIELDS = 8
Request = Literal["gpus-per-node", "gres", "gpus-per-task"]
REQUESTS: tuple[Request, ...] = ("gpus-per-node", "gres", "gpus-per-task")


def parse_nodes(text: str) -> dict[str, tuple[NodeKind, ...]]:
    """The kinds of nodes of each partition, from `sinfo --exact --format` of `NODE_FORMAT`; the commonest first."""
    found: dict[str, list[NodeKind]] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) == _FIELDS:
            found.setdefault(parts[0].rstrip("*"), []).append(_kind(parts[1:]))
    return {name: tuple(sorted(kinds, key=lambda kind: -kind.count)) for name, kinds in found.items()}


def _kind(parts: Sequence[str]) -> NodeKind:
    count, sizes, cpus, memory, gres, features, names = parts
    sockets, cores, threads = (number(each) or 1 for each in f"{sizes}:1:1:1".split(":")[:3])
    counted = number(cpus)
    # CPUs are hardware threads where there are more of them than cores.
    smt = threads if counted > sockets * cores else 1
    gpus, gpu_type = parse_gpus(gres)
    node = NodeShape(
        cores=counted // smt, threads=smt, memory=Memory(number(memory) << 20) or None, gpus=gpus, gpu_type=gpu_type,
        gpu_cores=counted // smt // gpus if gpus else 0,
    )  # fmt: skip
    return NodeKind(
        count=number(count), node=node, features="" if features == "(null)" else features,
        first=first_host(names),
    )  # fmt: skip


def first_host(names: str) -> str:
    """The first of a hostlist: `n001` of `n[001-010,12],m1`, `r1n01` of `r[1-2]n[01-10]`."""
    match = re.match(r"(?:[^,\[]|\[[^]]*\])+", names)
    return re.sub(r"\[(\d+)[^]]*\]", r"\1", match.group()) if match else ""


def parse_gpus(gres: str) -> tuple[int, str]:
    """`gpu:a100:4(S:0-1),nvme:1` -> 4 of a100; of several types the number of all, and no type."""
    found = gpus_of(gres)
    types = {kind for kind, _ in found}
    return sum(count for _, count in found), types.pop() if len(types) == 1 else ""


def parse_reserved(text: str) -> dict[str, tuple[int, int]]:
    """Cores and MB that the system keeps on each node, from `scontrol --oneliner show node`."""
    found = {}
    for line in text.splitlines():
        words = dict(word.partition("=")[::2] for word in line.split())
        if name := words.get("NodeName"):
            found[name] = (number(words.get("CoreSpecCount", "")), number(words.get("MemSpecLimit", "")))
    return found


def without_reserved(
    kinds: Mapping[str, tuple[NodeKind, ...]], reserved: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[NodeKind, ...]]:
    """The same with what jobs may use of each node."""
    return {name: tuple(_reduced(kind, *reserved.get(kind.first, (0, 0))) for kind in each)
            for name, each in kinds.items()}  # fmt: skip


def _reduced(kind: NodeKind, cores: int, memory: int) -> NodeKind:
    node = kind.node
    left = node.cores - cores
    size = Memory(node.memory - (memory << 20)) if node.memory else None
    share = left // node.gpus if node.gpus else 0
    return replace(kind, node=replace(node, cores=left, memory=size, gpu_cores=share), reserved=(cores, memory))


def largest(kinds: tuple[NodeKind, ...]) -> NodeShape:
    """What no node of a partition has more of, so that nothing is refused that fits one; of cores a GPU, the fewest."""
    nodes = [kind.node for kind in kinds]
    types = {node.gpu_type for node in nodes if node.gpus}
    return NodeShape(
        cores=max((node.cores for node in nodes), default=0),
        threads=max((node.threads for node in nodes), default=1),
        memory=max((node.memory for node in nodes if node.memory), default=None),
        gpus=max((node.gpus for node in nodes), default=0),
        gpu_type=types.pop() if len(types) == 1 else "",
        gpu_cores=min((node.gpu_cores for node in nodes if node.gpus), default=0),
    )


def qualities(rules: Rules) -> dict[str, Qos]:
    """The QOSs that the person may use, with what limits a job in each."""
    allowed = {name for association in rules.associations for name in association.qos}
    found = {}
    for name, rule in rules.qos.items():
        if name in allowed:
            caps = rule.caps
            found[name] = Qos(
                max_time=Duration(caps.time) if caps.time else None,
                max_nodes=caps.job.get("node", 0),
                min_nodes=caps.least.get("node", 0),
            )
    return found


def gpu_script(partition: str, request: Request) -> str:
    """A script of a job with one GPU, to be asked about."""
    asked = {"gres": "--gres=gpu:1", "gpus-per-task": "--ntasks=1 --gpus-per-task=1"}.get(request, "--gpus-per-node=1")
    return f"#!/bin/bash\n#SBATCH --partition={partition} --nodes=1 --time=1 {asked}\ntrue\n"


def described(partitions: Mapping[str, Partition], kinds: Mapping[str, tuple[NodeKind, ...]]) -> dict[str, Partition]:
    """The partitions with the shape of their nodes."""
    return {name: replace(found, node=largest(kinds.get(name, ()))) for name, found in partitions.items()}
