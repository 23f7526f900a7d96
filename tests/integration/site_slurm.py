"""A real slurmctld that has the partitions of a site: it has no nodes, but says whether it would take a job.

The nodes are those of a cloud that nobody has started yet, so that `sbatch --test-only` plans with them.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpcjobs.model import Partition
from hpcjobs.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hpcjobs.model import Site

# What a partition is taken to have where the site's file does not say.
_NODES, _CORES, _MEMORY = 64, 64, 256 << 10
_CONF = """\
ClusterName={name}
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=slurm
AuthType=auth/munge
AuthInfo=socket={top}/munge/socket
StateSaveLocation={top}/state
SlurmctldPidFile={top}/state/pid
SlurmctldLogFile={top}/state/log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
MailProg=/bin/true
AccountingStorageType=accounting_storage/none
SuspendProgram=/bin/true
ResumeProgram=/bin/true
SuspendTime=60
{licenses}
"""


def conf(site: Site, top: Path) -> str:
    """A slurm.conf with the partitions of that site."""
    licenses = [f"{name.partition(':')[0]}:100000" for name in site.defaults.get("licenses", "").split(",") if name]
    words = f"Licenses={','.join(licenses)}" if licenses else ""
    lines = [_CONF.format(name=re.sub(r"\W", "", site.name), port=_free_port(), top=top, licenses=words)]
    queues: dict[str, list[tuple[str, Partition]]] = {}
    for number, (key, partition) in enumerate((site.partitions or {"all": Partition(default=True)}).items()):
        nodes, line = _nodes(number, partition, site)
        lines.append(line)
        # Where no partition is named, all jobs go to one.
        queue = key if partition.queue is None else partition.queue or "routed"
        queues.setdefault(queue, []).append((nodes, partition))
    for queue, found in queues.items():
        default = queue == "routed" or any(partition.default for _, partition in found)
        lines.append(
            f"PartitionName={queue} Nodes={','.join(nodes for nodes, _ in found)} State=UP{_longest(found)}"
            + (" Default=YES" if default else "")
        )
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _nodes(number: int, partition: Partition, site: Site) -> tuple[str, str]:
    node = partition.node
    count = partition.nodes or max(partition.max_nodes, _NODES)
    names = f"p{number}n[1-{count}]"
    words = [f"NodeName={names} State=CLOUD Sockets=1 CoresPerSocket={node.cores or _CORES}"]
    # Where a site tells what to do with hardware threads, it has two a core.
    told = any(each.startswith(("--hint", "--threads-per-core")) for each in site.directives)
    words.append(f"ThreadsPerCore={2 if told else node.threads}")
    words.append(f"RealMemory={int(node.memory) >> 20 if node.memory else _MEMORY}")
    if node.gpus or (site.gpu.kind != "none" and not node.cores):
        kind = node.gpu_type or partition.defaults.get("gpu_type") or site.gpu.defaults.get("gpu_type", "")
        words.append(f"Gres=gpu:{f'{kind}:' if kind else ''}{node.gpus or 8}")
    wanted = [partition.defaults.get("constraint", ""), site.defaults.get("constraint", "")]
    if features := ",".join(filter(None, (re.sub(r"[&|*\[\]()]+", ",", one).strip(",") for one in wanted))):
        words.append(f"Features={features}")
    return names, " ".join(words)


def _longest(found: list[tuple[str, Partition]]) -> str:
    times = [time for _, each in found for time in (each.max_time, *each.time_by_nodes.values())]
    return f" MaxTime={Duration(max(filter(None, times)))}" if any(times) else ""


@contextmanager
def controller(site: Site, top: Path, munge: Path) -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands ask it."""
    top.mkdir(parents=True, exist_ok=True)
    (top / "state").mkdir()
    (top / "munge").symlink_to(munge)
    subprocess.run(["chown", "slurm", top / "state"], check=True)
    file = top / "slurm.conf"
    file.write_text(conf(site, top))
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_CONF": str(file)}
    with (
        (top / "out").open("w") as out,
        subprocess.Popen(["slurmctld", "-D", "-c", "-f", file], env=env, stdout=out, stderr=out) as daemon,
    ):
        try:
            until = time.monotonic() + 30
            while subprocess.run(["scontrol", "ping"], env=env, capture_output=True, check=False).returncode:
                assert daemon.poll() is None, (top / "out").read_text()
                assert time.monotonic() < until, (top / "out").read_text()
                time.sleep(0.05)
            yield env
        finally:
            daemon.kill()
