"""What was seen of a machine that no site file describes: values that `survey` gathers and `site.draft` writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from hpcjobs.model import NodeShape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.limits import Access
    from hpcjobs.model import Partition, Qos, RuntimeConfig


@dataclass(frozen=True, kw_only=True)
class NodeKind:
    """Nodes of one shape in a partition."""

    count: int = 0
    node: NodeShape = field(default_factory=NodeShape)
    features: str = ""
    first: str = ""  # the name of one of them
    reserved: tuple[int, int] = (0, 0)  # cores and MB of memory that the system keeps for itself


@dataclass(frozen=True, kw_only=True)
class SeenScheduler:
    """What the scheduler itself tells."""

    kind: str
    version: str = ""
    cluster: str = ""
    partitions: dict[str, Partition] = field(default_factory=dict)
    kinds: dict[str, tuple[NodeKind, ...]] = field(default_factory=dict)  # of the nodes of each partition
    remarks: dict[str, tuple[str, ...]] = field(default_factory=dict)  # on partitions: who may use them
    qos: dict[str, Qos] = field(default_factory=dict)
    accounts: tuple[str, ...] = ()  # of the person who asks
    account_needed: bool = False  # whether that person has no account by default
    accounting: bool = True
    gpu_request: Literal["", "gpus-per-node", "gres", "gpus-per-task"] = ""  # the first that it took
    mpi_default: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    unanswered: tuple[str, ...] = ()  # what could not be learnt, and why


@dataclass(frozen=True, kw_only=True)
class SeenMachine:
    """All that goes into a new site file."""

    name: str
    day: str  # 2026-11-22
    host: str  # its full name
    scheduler: SeenScheduler
    detect: dict[str, str] = field(default_factory=dict)
    gpu_kind: Literal["none", "nvidia", "amd", "intel"] = "none"
    gpu_why: str = ""
    launchers: tuple[str, ...] = ()  # kinds, the site's own first
    runtimes: tuple[tuple[RuntimeConfig, str], ...] = ()  # and how each was found
    modules: tuple[str, ...] = ()  # such as have to do with containers and MPI
    mpis: tuple[str, ...] = ()  # in words
    mpi_types: tuple[str, ...] = ()
    folders: tuple[tuple[str, str], ...] = ()  # file systems of the network: where, and of which kind
    scratch: str = ""  # the variable that leads to one
    unanswered: tuple[str, ...] = ()


def remarks(access: Access) -> Iterator[str]:
    """Who may use a partition, in words."""
    if access.closed:
        yield access.closed
    for what, names in (("accounts", access.accounts), ("groups", access.groups), ("QOS", access.allowed_qos)):
        if names:
            yield f"only {what} {', '.join(names)}"
    if access.qos:
        yield f"its jobs are limited by the QOS {access.qos}"
