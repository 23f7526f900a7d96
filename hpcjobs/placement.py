"""Where ranks go: what was asked for, filled in from the shape of a node. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from hpcjobs.errors import PlanError
from hpcjobs.model import NodeShape, Shape


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; None where nothing was."""

    nodes: int | None = None
    ntasks: int | None = None
    ntasks_per_node: int | None = None
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None


@dataclass(frozen=True)
class Placement:
    """The shape, whether the scheduler must give exactly its nodes, and why it is so (empty: as asked)."""

    shape: Shape
    nodes_asked: bool
    why: str = ""


_OPTIONS = {
    "nodes": "-N",
    "ntasks": "-n",
    "ntasks_per_node": "--ntasks-per-node",
    "cpus_per_task": "-c",
    "gpus_per_node": "--gpus-per-node",
}


def place(request: Request, node: NodeShape, *, fill: bool = True) -> Placement:
    """Fill in what was not asked for.

    Nodes without ranks: ranks fill the nodes (one a GPU where GPUs are asked for, else one for each
    `cpus_per_task` cores), if `fill` and the node's cores are known, else one a node. Ranks without nodes:
    as many nodes as they need, which the scheduler may choose otherwise (`nodes_asked` False).

    Raises:
        PlanError: the numbers contradict each other or do not fit a node; names them and what would fit.
    """
    for name, option in _OPTIONS.items():
        value, least = getattr(request, name), int(name != "gpus_per_node")
        if value is not None and value < least:
            raise PlanError(f"{option} is {value}", hint=f"{least} is the least: {option} {least}")
    gpus = request.gpus_per_node or 0
    cpus = request.cpus_per_task or _share(request, node, gpus)
    per_node = _fits(request, node, cpus, gpus)
    if request.nodes is not None or request.ntasks_per_node is not None:
        return _on_nodes(request, per_node if fill else 0, cpus, gpus)
    ntasks = request.ntasks or 1
    nodes = -(-ntasks // per_node) if per_node else 1
    return Placement(Shape(nodes, ntasks, -(-ntasks // nodes), cpus, gpus), nodes_asked=False)


def _share(request: Request, node: NodeShape, gpus: int) -> int:
    """Cores of each rank: its share of those that go with the GPUs."""
    if request.ntasks_per_node:
        ranks = request.ntasks_per_node
    elif request.nodes:
        ranks = -(-request.ntasks // request.nodes) if request.ntasks else gpus
    else:  # the scheduler chooses the nodes: at most as many ranks on each as it has GPUs
        ranks = min(request.ntasks or 1, gpus)
    return max(1, node.gpu_cores * gpus // max(1, ranks))


def _fits(request: Request, node: NodeShape, cpus: int, gpus: int) -> int:
    """Ranks that one node can hold; 0 = not known."""
    if gpus > node.gpus > 0:
        raise PlanError(
            f"a node has {node.gpus} GPUs, and {gpus} were asked for", hint=f"--gpus-per-node {node.gpus} is the most"
        )
    if not node.cores:
        return 0
    if cpus > node.cores:
        raise PlanError(
            f"a node has {node.cores} cores, and each rank asks for {cpus}", hint=f"-c {node.cores} is the most there"
        )
    most = node.cores // cpus
    if (asked := request.ntasks_per_node or 0) > most:
        raise PlanError(
            f"a node has {node.cores} cores, and {asked} ranks of {cpus} need {asked * cpus}",
            hint=f"--ntasks-per-node {most} is the most there",
        )
    if request.nodes and (request.ntasks or 0) > request.nodes * most:
        raise PlanError(
            f"{request.nodes} nodes of {node.cores} cores hold {request.nodes * most} ranks of {cpus}, "
            f"and {request.ntasks} were asked for",
            hint=f"-n {request.nodes * most} is the most there, or -N {-(-(request.ntasks or 0) // most)}",
        )
    return most


def _on_nodes(request: Request, fill: int, cpus: int, gpus: int) -> Placement:
    """Nodes are asked for, or follow from ranks and ranks a node."""
    ntasks, per_node = request.ntasks, request.ntasks_per_node
    nodes = request.nodes or (-(-ntasks // per_node) if ntasks and per_node else 1)
    if ntasks is None and per_node is None:
        per_node, why = _filling(fill, cpus, gpus)
        return Placement(Shape(nodes, nodes * per_node, per_node, cpus, gpus), nodes_asked=True, why=why)
    if ntasks is None:
        ntasks = nodes * (per_node or 1)
    elif ntasks < nodes:
        raise PlanError(
            f"{ntasks} ranks cannot use {nodes} nodes", hint=f"-N {ntasks} is the most for them, or -n {nodes}"
        )
    elif per_node and ntasks > nodes * per_node:
        raise PlanError(
            f"{ntasks} ranks do not fit on {nodes} nodes with {per_node} on each ({nodes * per_node})",
            hint=f"-n {nodes * per_node}, or -N {-(-ntasks // per_node)}",
        )
    return Placement(Shape(nodes, ntasks, per_node or -(-ntasks // nodes), cpus, gpus), nodes_asked=True)


def _filling(fill: int, cpus: int, gpus: int) -> tuple[int, str]:
    """Ranks for each node where none were asked for, and why."""
    if not fill:
        return 1, ""
    if gpus:
        return min(gpus, fill), "one for each GPU"
    return fill, "they fill the nodes" if cpus == 1 else f"they fill the nodes with {cpus} cores each"
