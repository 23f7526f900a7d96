"""Where a site file and the live scheduler differ. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcjobs.site.problems import LEVELS, Finding, Level
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import Partition, Site
    from hpcjobs.seen import SeenScheduler
    from hpcjobs.site.yamlfile import Loc

# What is in the file and larger than in the scheduler lets jobs queue that never run; the reverse refuses too much.
_LIMITS = ("max_time", "max_nodes", "nodes")
_SHAPE = ("cores", "memory", "gpus")


def drift(site: Site, seen: SeenScheduler) -> list[Finding]:
    """What has changed since the file was written; the worst first."""
    found = [*_partitions(site, seen), *_qos(site, seen)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _partitions(site: Site, seen: SeenScheduler) -> Iterator[Finding]:
    live = seen.partitions
    if not live or not site.partitions:
        return
    named = {key: key if found.queue is None else found.queue for key, found in site.partitions.items()}
    for key, name in named.items():
        if not name:  # no partition is named to the scheduler
            continue
        if name not in live:
            hint = f"remove it; {nearest(name, live)}"
            yield Finding(("partitions", key), f"the scheduler has no partition {name} (for you)", hint)
        else:
            # PBS does not say which queue has which nodes: what it has of them is that of all.
            alone = list(named.values()).count(name) == 1 and "" not in seen.kinds
            yield from _differences(("partitions", key), site.partitions[key], live[name], alone=alone)
    for name in live:
        if name not in named.values() and "" not in named.values():
            hint = "jobs that name it are refused: add it, if people should use it"
            yield Finding(("partitions",), f"the scheduler has a partition {name} too", hint, "advice")
    yield from _default(site, seen, named)


def _default(site: Site, seen: SeenScheduler, named: dict[str, str]) -> Iterator[Finding]:
    ours = next((key for key, found in site.partitions.items() if found.default), "")
    theirs = next((name for name, found in seen.partitions.items() if found.default), "")
    # One that every job is told is not left to the scheduler.
    if ours and theirs and theirs not in (ours, named[ours]) and not site.defaults.get("partition"):
        hint = f"mark it with `default: true`, or keep {ours} with `defaults: {{partition: {ours}}}`"
        yield Finding(("partitions", ours, "default"), f"the scheduler's default is {theirs}", hint)


def _differences(loc: Loc, ours: Partition, theirs: Partition, *, alone: bool) -> Iterator[Finding]:
    pairs = [((*loc, key), getattr(ours, key), getattr(theirs, key)) for key in _LIMITS]
    pairs += [((*loc, "node", key), getattr(ours.node, key), getattr(theirs.node, key)) for key in _SHAPE]
    for at, said, is_now in pairs:
        if not said or not is_now or said == is_now:
            continue
        if said > is_now:
            yield Finding(at, f"the file says {said}, and the scheduler {is_now}", f"write {is_now}")
        elif at[-1] not in ("nodes", *_SHAPE):
            hint = f"write {is_now}, unless it is meant to be less"
            yield Finding(at, f"the file says {said}, and the scheduler {is_now}", hint, "warning")
        elif alone:
            hint = f"write {is_now}, unless it is meant to be less"
            yield Finding(at, f"the file says {said}, and the scheduler {is_now}", hint, "advice")
    kind = theirs.node.gpu_type
    if kind and ours.node.gpu_type and kind != ours.node.gpu_type:
        at = (*loc, "node", "gpu_type")
        yield Finding(at, f"the file says {ours.node.gpu_type}, and the scheduler {kind}", f"write {kind}")


def _qos(site: Site, seen: SeenScheduler) -> Iterator[Finding]:
    for name, ours in site.qos.items() if seen.qos else ():
        if name not in seen.qos:
            hint = "others may have it; remove it if it is gone"
            yield Finding(("qos", name), f"you have no QOS {name}", hint, "advice")
            continue
        for key in ("max_time", "max_nodes"):
            said, is_now = getattr(ours, key), getattr(seen.qos[name], key)
            if said and is_now and said != is_now:
                level: Level = "error" if said > is_now else "warning"
                at = ("qos", name, key)
                yield Finding(at, f"the file says {said}, and the scheduler {is_now}", f"write {is_now}", level)
