from __future__ import annotations

from typing import Any

import pytest

from hpcjobs.errors import PlanError
from hpcjobs.model import NodeShape, Shape
from hpcjobs.placement import Placement, Request, place

EIGHT = NodeShape(cores=8)
GPUS = NodeShape(cores=64, gpus=4)
UNKNOWN = NodeShape()


@pytest.mark.parametrize(
    ("asked", "node", "shape", "nodes_asked"),
    [
        ({}, EIGHT, Shape(1, 1, 1), False),
        ({}, UNKNOWN, Shape(1, 1, 1), False),
        ({"cpus_per_task": 4}, EIGHT, Shape(1, 1, 1, 4), False),
        ({"nodes": 4}, EIGHT, Shape(4, 32, 8), True),
        ({"nodes": 4}, UNKNOWN, Shape(4, 4, 1), True),
        ({"nodes": 2, "cpus_per_task": 3}, EIGHT, Shape(2, 4, 2, 3), True),
        ({"nodes": 2, "gpus_per_node": 4}, GPUS, Shape(2, 8, 4, 1, 4), True),
        ({"nodes": 2, "gpus_per_node": 4, "cpus_per_task": 32}, GPUS, Shape(2, 4, 2, 32, 4), True),
        ({"ntasks": 20}, EIGHT, Shape(3, 20, 7), False),
        ({"ntasks": 20}, UNKNOWN, Shape(1, 20, 20), False),
        ({"ntasks": 4, "cpus_per_task": 8}, EIGHT, Shape(4, 4, 1, 8), False),
        ({"nodes": 2, "ntasks": 5}, EIGHT, Shape(2, 5, 3), True),
        ({"nodes": 2, "ntasks_per_node": 3}, EIGHT, Shape(2, 6, 3), True),
        ({"ntasks_per_node": 3}, UNKNOWN, Shape(1, 3, 3), True),
        ({"ntasks": 7, "ntasks_per_node": 3}, UNKNOWN, Shape(3, 7, 3), True),
        ({"nodes": 2, "ntasks": 5, "ntasks_per_node": 3}, EIGHT, Shape(2, 5, 3), True),
        ({"gpus_per_node": 0}, EIGHT, Shape(1, 1, 1), False),
    ],
)
def test_place(asked: dict[str, int], node: NodeShape, shape: Shape, nodes_asked: bool) -> None:
    placement = place(Request(**asked), node)
    assert (placement.shape, placement.nodes_asked) == (shape, nodes_asked)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"nodes": 1}, "they fill the nodes"),
        ({"nodes": 1, "cpus_per_task": 2}, "they fill the nodes with 2 cores each"),
        ({"nodes": 1, "gpus_per_node": 2}, "one for each GPU"),
        ({"nodes": 1, "ntasks": 2}, ""),
    ],
)
def test_place_says_why(asked: dict[str, int], why: str) -> None:
    assert place(Request(**asked), GPUS).why == why


def test_nodes_are_not_filled_without_a_launcher() -> None:
    assert place(Request(nodes=1), EIGHT, fill=False) == Placement(Shape(1, 1, 1), nodes_asked=True)


@pytest.mark.parametrize(
    ("asked", "node", "message", "hint"),
    [
        ({"nodes": 0}, EIGHT, "-N is 0", "-N 1"),
        ({"gpus_per_node": -1}, EIGHT, "--gpus-per-node is -1", "--gpus-per-node 0"),
        ({"gpus_per_node": 5}, GPUS, "4 GPUs, and 5", "--gpus-per-node 4"),
        ({"cpus_per_task": 9}, EIGHT, "8 cores, and each rank asks for 9", "-c 8"),
        ({"ntasks_per_node": 5, "cpus_per_task": 2}, EIGHT, "8 cores, and 5 ranks of 2 need 10", "--ntasks-per-node 4"),
        ({"nodes": 2, "ntasks": 17}, EIGHT, "hold 16 ranks of 1, and 17", "-n 16 is the most there, or -N 3"),
        ({"nodes": 4, "ntasks": 3}, UNKNOWN, "3 ranks cannot use 4 nodes", "-N 3 is the most for them, or -n 4"),
        (
            {"nodes": 2, "ntasks": 9, "ntasks_per_node": 4},
            UNKNOWN,
            r"9 ranks do not fit on 2 nodes with 4 on each \(8\)",
            "-n 8, or -N 3",
        ),
    ],
)
def test_place_refuses(asked: dict[str, Any], node: NodeShape, message: str, hint: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        place(Request(**asked), node)
    assert hint in caught.value.hint
