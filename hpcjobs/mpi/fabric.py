"""The network between nodes that a host has, and the devices, files and folders that it needs in a container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from hpcjobs.mpi.tree import Tree

Fabric = Literal["none", "verbs", "cxi", "efa", "psm2"]

# Below /dev. knem(4), XPMEM: copies between processes of a node; kfd: AMD's GPUs, for MPIs that know them.
_DEVICES = re.compile(r"cxi\d+|hfi1(?:_\w+)?|xpmem|knem|kfd|gdrdrv|ipath\d*|ss\d+")
_INFINIBAND = re.compile(r"uverbs\d+|rdma_cm|umad\d+|issm\d+|hfi1_\d+")
# libibverbs reads its configuration and loads its providers from where it was built to (libibverbs(7)).
_VERBS_DATA = ("/etc/libibverbs.d", "/etc/rdma", "/etc/dat.conf")
_CXI_DATA = ("/run/cxi", "/var/run/cxi", "/etc/cxi")
# Where daemons speak with the ranks: slurmd's spool with PMIx and cray_shasta, MUNGE, PALS.
_SLURM_DATA = ("/var/spool/slurmd", "/var/spool/slurm", "/run/munge", "/var/run/munge")
_PALS_DATA = ("/run/palsd", "/var/run/palsd", "/etc/pals")


def fabric(tree: Tree) -> Fabric:
    """The fastest network: /sys/class of the kernel says which drivers have a device."""
    if tree.names("/sys/class/cxi") or any(name.startswith("cxi") for name in tree.names("/dev")):
        return "cxi"
    devices = tree.names("/sys/class/infiniband")
    if any(name.startswith("efa") or _driver(tree, name) == "efa" for name in devices):
        return "efa"
    if any(name.startswith("hfi1") for name in devices):
        return "psm2"
    return "verbs" if devices else "none"


def _driver(tree: Tree, device: str) -> str:
    # AWS' udev rules call EFA's devices rdmap0s6.
    return tree.real(f"/sys/class/infiniband/{device}/device/driver").rpartition("/")[2]


def devices(tree: Tree) -> tuple[str, ...]:
    """The devices that an MPI may open."""
    found = [f"/dev/{name}" for name in tree.names("/dev") if _DEVICES.fullmatch(name)]
    found += [f"/dev/infiniband/{name}" for name in tree.names("/dev/infiniband") if _INFINIBAND.fullmatch(name)]
    return tuple(sorted(found))


def data(tree: Tree, kind: Fabric, flavours: Collection[str], verbs: Iterable[str]) -> tuple[str, ...]:
    """Files and folders that must be in the container at their own place; `verbs` are folders of libibverbs."""
    found: dict[str, str] = {}
    for path in _wanted(kind, flavours, verbs):
        if tree.exists(path):
            found.setdefault(tree.real(path), path)
    return tuple(found.values())


def _wanted(kind: Fabric, flavours: Collection[str], verbs: Iterable[str]) -> Iterator[str]:
    if kind in ("verbs", "efa", "psm2"):
        yield from _VERBS_DATA
        yield from verbs
    if kind == "cxi":
        yield from _CXI_DATA
    if "slurm" in flavours:
        yield from _SLURM_DATA
    if "pals" in flavours:
        yield from _PALS_DATA
