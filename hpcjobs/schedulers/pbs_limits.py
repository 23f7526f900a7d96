"""What PBS tells of limits and of what is free: from attributes of queues, servers and nodes to values.

Sources: pbs_queue_attributes(7B), pbs_server_attributes(7B), pbs_node_attributes(7B) and pbs_resources(7B) of OpenPBS
23.06, the manual of TORQUE 6.1 (queue attributes, node states), and what real servers answered (tests/data/pbs).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcjobs.limits import Access, Caps, Rules
from hpcjobs.schedulers import Free

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcjobs.schedulers.pbs_status import Attributes

_RESOURCES = {"ncpus": "cpu", "nodect": "node", "mem": "mem", "ngpus": "gres/gpu"}
_YES = {"true", "yes", "t", "y", "1"}


@dataclass(frozen=True)
class Person:
    """Who submits."""

    user: str
    groups: tuple[str, ...]


def parse_rules(queues: Mapping[str, Attributes], server: Attributes, person: Person, *, default: str = "") -> Rules:
    """The limits of queues and server, and who may use which queue."""
    return Rules(
        scheduler="PBS",
        enforced=("limits",),
        user=person.user,
        groups=person.groups,
        partition=default,
        partitions={name: _access(settings, person) for name, settings in queues.items()},
        caps=_caps(server, person),
    )


def _access(settings: Attributes, person: Person) -> Access:
    closed = "it is filled by routing queues alone" if _yes(settings.get("from_route_only", "")) else ""
    users = _acl(settings, "user", person.user)
    groups = _acl(settings, "group", *person.groups)
    return Access(users=users, groups=groups, closed=closed, caps=_caps(settings, person))


def _acl(settings: Attributes, kind: str, *mine: str) -> tuple[str, ...]:
    """Whom the queue is for, if it is not for these; `+` may stand before a name, `@host` behind it."""
    listed = settings.get(f"acl_{kind}s", "")
    if not _yes(settings.get(f"acl_{kind}_enable", "")) or not listed:
        return ()
    names = [name.strip().partition("@")[0] for name in listed.split(",")]
    allowed = tuple(name.lstrip("+") for name in names if not name.startswith("-"))
    return () if "*" in allowed or {*mine} & {*allowed} else allowed


def _caps(settings: Attributes, person: Person) -> Caps:
    user = {slurm: _run_limit(settings, name, "u", person) for name, slurm in _RESOURCES.items()}
    group = {slurm: _run_limit(settings, name, "o", person) for name, slurm in _RESOURCES.items()}
    return Caps(
        time=seconds(settings.get("resources_max.walltime", "")),
        job=_of("resources_max", settings),
        least=_of("resources_min", settings),
        user={name: most for name, most in user.items() if most is not None},
        group={name: most for name, most in group.items() if most is not None},
        tasks=_most(settings.get("max_queued", ""), "u", person)
        if "[" in settings.get("max_queued", "")
        else _number(settings.get("max_user_queuable", "")),
        group_tasks=_most(settings.get("max_queued", ""), "o", person),
    )


def _of(kind: str, settings: Attributes) -> dict[str, int]:
    found = {slurm: _amount(settings.get(f"{kind}.{name}", "")) for name, slurm in _RESOURCES.items()}
    return {name: most for name, most in found.items() if most is not None}


def _run_limit(settings: Attributes, resource: str, kind: str, person: Person) -> int | None:
    return _most(settings.get(f"max_run_res.{resource}", ""), kind, person)


def _most(text: str, kind: str, person: Person) -> int | None:
    """`[u:PBS_GENERIC=8], [u:pat=16]`: what holds for this person; `[o:PBS_ALL=64]`: for all together."""
    found = dict(re.findall(r"\[([ugpo]:[^=\]]+)=([^\]]+)\]", text))
    names = (f"u:{person.user}", "u:PBS_GENERIC") if kind == "u" else ("o:PBS_ALL",)
    return next((_amount(found[name]) for name in names if name in found), None)


def _amount(text: str) -> int | None:
    """A number, or bytes: `8`, `512mb`, `64gb`."""
    match = re.fullmatch(r"(\d{1,18})(?:([kmgt]?)b)?", text.strip().lower(), re.ASCII)
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2] or ""] if match else None


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def seconds(text: str) -> int | None:
    """`HH:MM:SS`, or seconds."""
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts):
        return None
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return total


def _yes(text: str) -> bool:
    return text.strip().lower() in _YES


# ------------------------------------------------------------------------------------ what is free


def parse_free(queues: Mapping[str, Attributes], nodes: Mapping[str, Attributes]) -> dict[str, Free]:
    """What is free on the nodes of each queue; a node that names a queue serves that one alone, the others all.

    Nodes that are parts of one host count each by itself.
    """
    return {
        name: _free(settings, [node for node in nodes.values() if node.get("queue", name) == name])
        for name, settings in queues.items()
        if _yes(settings.get("enabled", "True"))
    }


def _free(settings: Attributes, nodes: list[Attributes]) -> Free:
    states = Counter(_state(node) for node in nodes)
    usable = [node for node in nodes if _state(node) in ("idle", "mixed")]
    started = _yes(settings.get("started", "True"))
    return Free(
        state="up" if started else "stopped",
        nodes=len(nodes),
        idle=states["idle"],
        mixed=states["mixed"],
        cores=sum(max(0, _has(node, "ncpus", "np") - _used(node, "ncpus")) for node in usable) if nodes else None,
        gpus=sum(_has(node, "ngpus", "gpus") for node in nodes),
        free_gpus=sum(max(0, _has(node, "ngpus", "gpus") - _used(node, "ngpus")) for node in usable),
        max_time=seconds(settings.get("resources_max.walltime", "")) or 0,
    )


def _state(node: Attributes) -> str:
    words = {word.strip().lower() for word in node.get("state", "").split(",")}
    # `state = free` in the words of Slurm's look-alike, whose own word stands in the status.
    if match := re.search(r"\bslurmstate=(\w+)", node.get("status", "")):
        words = {"free"} if match[1] in ("idle", "mixed") else {match[1]}
    if words != {"free"}:
        return "other"
    return "mixed" if _used(node, "ncpus") or re.search(r"\bslurmstate=mixed", node.get("status", "")) else "idle"


def _has(node: Attributes, *names: str) -> int:
    values = (node.get(f"resources_available.{name}") or node.get(name, "") for name in names)
    return next((int(value) for value in values if value.isdecimal()), 0)


def _used(node: Attributes, resource: str) -> int:
    """Of OpenPBS's node what is assigned; of TORQUE's the cores in its jobs: `0/12.host, 1-3/13.host`."""
    if assigned := node.get(f"resources_assigned.{resource}"):
        return int(assigned) if assigned.isdecimal() else 0
    if resource != "ncpus" or "np" not in node:
        return 0
    cores = re.findall(r"(?:^|[\s,])(\d+)(?:-(\d+))?/", node.get("jobs", ""))
    return sum(int(last or first) - int(first) + 1 for first, last in cores)
