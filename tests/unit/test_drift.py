"""Where a site file and the live scheduler differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcjobs.model import NodeShape, Partition, Qos, Site
from hpcjobs.seen import NodeKind, SeenScheduler
from hpcjobs.site.drift import drift
from hpcjobs.units import Duration, Memory

HOUR = Duration(3600)
NODE = NodeShape(cores=8, memory=Memory(16 << 30), gpus=4, gpu_type="a100")
CPU = Partition(default=True, max_time=HOUR, nodes=4, max_nodes=2, node=NODE)
SITE = Site(name="s", partitions={"cpu": CPU}, qos={"long": Qos(max_time=HOUR, max_nodes=2)})
SEEN = SeenScheduler(kind="slurm", partitions=SITE.partitions, qos=SITE.qos)


def found(site: Site = SITE, seen: SeenScheduler = SEEN) -> list[str]:
    """Each finding on a line."""
    return [
        f"{one.level} {'.'.join(map(str, one.loc))}: {one.message} ({one.hint})" for one in drift(site, seen)
    ]  # fmt: skip


def test_a_file_that_is_right_has_no_findings() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ({"max_time": Duration(7200)}, "error partitions.cpu.max_time: the file says 02:00:00, and the scheduler 01:00:00 (write 01:00:00)"),
        ({"max_time": Duration(60)}, "warning partitions.cpu.max_time: the file says 00:01:00, and the scheduler 01:00:00 (write 01:00:00, unless it is meant to be less)"),
        ({"max_nodes": 3}, "error partitions.cpu.max_nodes: the file says 3, and the scheduler 2 (write 2)"),
        ({"max_nodes": 1}, "warning partitions.cpu.max_nodes: the file says 1, and the scheduler 2 (write 2, unless it is meant to be less)"),
        ({"nodes": 5}, "error partitions.cpu.nodes: the file says 5, and the scheduler 4 (write 4)"),
        ({"nodes": 3}, "advice partitions.cpu.nodes: the file says 3, and the scheduler 4 (write 4, unless it is meant to be less)"),
        ({"max_time": None, "nodes": 0, "max_nodes": 0}, ""),
    ],
)  # fmt: skip
def test_limits_of_a_partition(ours: dict[str, Any], words: str) -> None:
    assert found(replace(SITE, partitions={"cpu": replace(CPU, **ours)})) == ([words] if words else [])


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ({"cores": 16}, "error partitions.cpu.node.cores: the file says 16, and the scheduler 8 (write 8)"),
        ({"cores": 4}, "advice partitions.cpu.node.cores: the file says 4, and the scheduler 8 (write 8, unless it is meant to be less)"),
        ({"memory": Memory(17 << 30)}, "error partitions.cpu.node.memory: the file says 17G, and the scheduler 16G (write 16G)"),
        ({"gpus": 8}, "error partitions.cpu.node.gpus: the file says 8, and the scheduler 4 (write 4)"),
        ({"gpu_type": "h100"}, "error partitions.cpu.node.gpu_type: the file says h100, and the scheduler a100 (write a100)"),
        ({"cores": 0, "memory": None, "gpus": 0, "gpu_type": ""}, ""),
    ],
)  # fmt: skip
def test_shapes_of_nodes(ours: dict[str, Any], words: str) -> None:
    site = replace(SITE, partitions={"cpu": replace(CPU, node=replace(NODE, **ours))})
    assert found(site) == ([words] if words else [])


def test_what_the_scheduler_does_not_limit_is_the_files_own() -> None:
    seen = replace(SEEN, partitions={"cpu": Partition(default=True)}, qos={"long": Qos()})
    assert found(seen=seen) == []
    assert found(seen=replace(SEEN, partitions={}, qos={})) == []
    assert found(Site(name="s")) == []


def test_partitions_that_came_and_went_the_worst_first() -> None:
    site = replace(SITE, partitions={"cpu": CPU, "lang": Partition()})
    seen = replace(SEEN, partitions={"cpu": CPU, "long": Partition()})
    assert found(site, seen) == [
        "error partitions.lang: the scheduler has no partition lang (for you) (remove it; did you mean long?)",
        "advice partitions: the scheduler has a partition long too "
        "(jobs that name it are refused: add it, if people should use it)",
    ]


def test_a_partition_with_another_name_there() -> None:
    thin, fat = replace(CPU, queue="cpu"), Partition(queue="cpu", node=NodeShape(cores=4))
    # Two kinds of nodes in one: that one has less than the largest is meant.
    assert found(replace(SITE, partitions={"thin": thin, "fat": fat})) == []
    gone = replace(SITE, partitions={"cpu": CPU, "thin": Partition(queue="old")})
    assert found(gone) == [
        "error partitions.thin: the scheduler has no partition old (for you) (remove it; there is cpu)"
    ]
    # No partition is named to this scheduler.
    assert found(replace(SITE, partitions={"a": Partition(queue="")})) == []


def test_another_default() -> None:
    seen = replace(SEEN, partitions={"cpu": replace(CPU, default=False), "new": Partition(default=True)})
    words = (
        "error partitions.mine.default: the scheduler's default is new "
        "(mark it with `default: true`, or keep mine with `defaults: {partition: mine}`)"
    )
    mine = replace(SITE, partitions={"mine": replace(CPU, queue="cpu"), "new": Partition()})
    assert found(mine, seen) == [words]
    # What every job is told is not left to the scheduler.
    assert found(replace(mine, defaults={"partition": "mine"}), seen) == []


def test_qualities_of_service() -> None:
    site = replace(SITE, qos={"long": Qos(max_time=Duration(7200), max_nodes=1), "gone": Qos()})
    assert found(site) == [
        "error qos.long.max_time: the file says 02:00:00, and the scheduler 01:00:00 (write 01:00:00)",
        "warning qos.long.max_nodes: the file says 1, and the scheduler 2 (write 2)",
        "advice qos.gone: you have no QOS gone (others may have it; remove it if it is gone)",
    ]


def test_pbs_does_not_say_which_queue_has_which_nodes() -> None:
    seen = replace(SEEN, kind="pbs", kinds={"": (NodeKind(count=4, node=NODE),)})
    small = replace(CPU, nodes=1, node=NodeShape(cores=2))
    assert found(replace(SITE, partitions={"cpu": small}), seen) == []
    large = replace(CPU, node=NodeShape(cores=9))
    assert found(replace(SITE, partitions={"cpu": large}), seen) == [
        "error partitions.cpu.node.cores: the file says 9, and the scheduler 8 (write 8)"
    ]
