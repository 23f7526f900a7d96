"""What Slurm tells of limits, of what is free, and of when a job would start: parsers from text to values.

Sources: sacctmgr(1), scontrol(1), sinfo(1), sbatch(1) (`--test-only`), slurm.conf(5); recorded in
tests/data/slurm/22.05.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError
from hpcjobs.limits import Access, Account, Association, Caps, QosRules
from hpcjobs.schedulers import Forecast, Free
from hpcjobs.schedulers.slurm_words import gpus_of, message
from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USER_FORMAT = (
    "DefaultAccount,Account,Partition,QOS,DefaultQOS,MaxWall,MaxTRES,MaxTRESPerNode,GrpTRES,GrpSubmitJobs,MaxSubmitJobs"
)
ACCOUNT_FORMAT = "Account,ParentName,GrpTRES,GrpSubmitJobs"
QOS_FORMAT = "Name,Flags,MaxWall,MaxTRES,MaxTRESPerNode,MaxTRESPerUser,GrpTRES,MinTRES,MaxSubmitJobsPU,GrpSubmitJobs"
FREE_FORMAT = "PartitionName:|,Available:|,StateLong:|,Nodes:|,CPUsState:|,GresUsed:|,Gres:|,Time:|"
# slurm.conf(5), JobSubmitPlugins: those that put no other account, QOS or partition in the place of the one asked for.
_HARMLESS = {"cray_aries", "cray/aries", "logging", "require_timelimit", "throttle"}


def parse_enforced(settings: Mapping[str, str]) -> tuple[str, ...]:
    """What `AccountingStorageEnforce` of `scontrol show config` says: associations, limits, qos; `safe` has limits."""
    return tuple(word.strip() for word in settings.get("AccountingStorageEnforce", "").split(",") if word.strip())


def parse_rewritten(settings: Mapping[str, str]) -> bool:
    """Whether a plug-in of the site may change what was asked for."""
    names = ",".join(settings.get(key, "") for key in ("JobSubmitPlugins", "CliFilterPlugins")).split(",")
    return any(name.strip() not in {"", "(null)", *_HARMLESS} for name in names)


def _rows(text: str, layout: str) -> Iterator[dict[str, str]]:
    names = layout.split(",")
    for line in text.splitlines():
        parts = line.split("|")
        if len(parts) == len(names):
            yield dict(zip(names, parts, strict=True))


def parse_associations(text: str) -> tuple[str, tuple[Association, ...]]:
    """The default account, and the user's associations, from `sacctmgr show user withassoc` in `USER_FORMAT`.

    Limits of an account that hold for each of its users, sacctmgr shows with the user.
    """
    default, found = "", []
    for row in _rows(text, USER_FORMAT):
        default = row["DefaultAccount"] or default
        if row["Account"]:
            caps = Caps(
                time=_seconds(row["MaxWall"]),
                job=amounts(row["MaxTRES"]),
                node=amounts(row["MaxTRESPerNode"]),
                group=amounts(row["GrpTRES"]),
                tasks=_count(row["MaxSubmitJobs"]),
                group_tasks=_count(row["GrpSubmitJobs"]),
            )
            qos = tuple(name.lstrip("+") for name in row["QOS"].split(",") if name and not name.startswith("-"))
            found.append(
                Association(
                    account=row["Account"],
                    partition=row["Partition"],
                    qos=qos,
                    default_qos=row["DefaultQOS"],
                    caps=caps,
                )
            )
    return default, tuple(found)


def parse_accounts(text: str) -> dict[str, Account]:
    """The accounts of `sacctmgr show associations users=` in `ACCOUNT_FORMAT`."""
    return {
        row["Account"]: Account(
            parent=row["ParentName"],
            caps=Caps(group=amounts(row["GrpTRES"]), group_tasks=_count(row["GrpSubmitJobs"])),
        )
        for row in _rows(text, ACCOUNT_FORMAT)
        if row["Account"]
    }


def ancestors(accounts: Mapping[str, Account], names: tuple[str, ...]) -> dict[str, Account]:
    """Those of the accounts, and those above them."""
    found: dict[str, Account] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in accounts and name not in found:
            found[name] = accounts[name]
            waiting.append(accounts[name].parent)
    return found


def parse_qos(text: str) -> dict[str, QosRules]:
    """The QOSs of `sacctmgr show qos` in `QOS_FORMAT`."""
    return {
        row["Name"]: QosRules(
            flags=tuple(filter(None, row["Flags"].split(","))),
            caps=Caps(
                time=_seconds(row["MaxWall"]),
                job=amounts(row["MaxTRES"]),
                node=amounts(row["MaxTRESPerNode"]),
                user=amounts(row["MaxTRESPerUser"]),
                group=amounts(row["GrpTRES"]),
                least=amounts(row["MinTRES"]),
                tasks=_count(row["MaxSubmitJobsPU"]),
                group_tasks=_count(row["GrpSubmitJobs"]),
            ),
        )
        for row in _rows(text, QOS_FORMAT)
        if row["Name"]
    }


def amounts(text: str) -> dict[str, int]:
    """`cpu=4,mem=12G,gres/gpu=2` -> the numbers; memory in bytes. What no job asks for is left out."""
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name == "mem":
            try:
                found[name] = 0 if value == "0" else int(Memory.parse(value))
            except UsageError:
                continue
        elif (name in ("cpu", "node") or name.startswith("gres/gpu")) and value.isdecimal():
            found[name] = int(value)
    return found


def _seconds(text: str) -> int | None:
    try:
        return int(Duration.parse(text))
    except UsageError:
        return None


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def parse_access(text: str) -> tuple[str, dict[str, Access]]:
    """The default partition, and who may use which, from `scontrol --oneliner show partition`."""
    default, found = "", {}
    for line in text.splitlines():
        values = dict(word.partition("=")[::2] for word in line.split())
        name = values.get("PartitionName", "")
        if not name:
            continue
        if values.get("Default") == "YES":
            default = name
        qos = values.get("QoS", "")
        found[name] = Access(
            accounts=_names(values.get("AllowAccounts", "")),
            not_accounts=_names(values.get("DenyAccounts", "")),
            allowed_qos=_names(values.get("AllowQos", "")),
            not_qos=_names(values.get("DenyQos", "")),
            qos="" if qos in ("N/A", "(null)") else qos,
        )
    return default, found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name and name not in ("ALL", "(null)", "N/A", "NONE"))


# ------------------------------------------------------------------------------------ what is free

# sinfo(1), NODE STATE CODES: letters behind a state. Nodes that do not answer (*), or are about to be taken away, are
# not there; those that are powered down (~, #, %) are powered up for a job.
_GONE = re.compile(r"[*$@^!-]$")


def parse_free(text: str) -> dict[str, Free]:
    """What of each partition is idle, from `sinfo --Format` in `FREE_FORMAT`: a line a group of like nodes."""
    found: dict[str, Free] = {}
    for line in text.splitlines():
        parts = [part.strip() for part in line.split("|")]
        if len(parts) < 8:  # noqa: PLR2004 - the fields of the format
            continue
        name, available, state, nodes, cores, used, gres, longest = parts[:8]
        before = found.get(name, Free(state=available, max_time=_seconds(longest) or 0))
        count = int(nodes) if nodes.isdecimal() else 0
        there = not _GONE.search(state)
        word = re.sub(r"\W", "", state)
        usable = there and word in ("idle", "mixed")
        gpus = _gpus(gres)
        found[name] = Free(
            state=before.state,
            max_time=before.max_time,
            nodes=before.nodes + count,
            idle=before.idle + count * (there and word == "idle"),
            mixed=before.mixed + count * (there and word == "mixed"),
            cores=(before.cores or 0) + (_idle(cores) if usable else 0),
            gpus=before.gpus + count * gpus,
            free_gpus=before.free_gpus + count * max(0, gpus - _gpus(used)) * usable,
        )
    return found


def _idle(cores: str) -> int:
    """The second of `allocated/idle/other/total`."""
    parts = cores.split("/")
    return int(parts[1]) if len(parts) == 4 and parts[1].isdecimal() else 0  # noqa: PLR2004 - as sinfo(1) has it


def _gpus(gres: str) -> int:
    """`gpu:a100:4(S:0-1),gpu:v100:2` -> 6."""
    return sum(count for _, count in gpus_of(gres))


_WOULD_START = re.compile(r"^sbatch: Job \d+ to start at (\S+) using (\d+) processors on nodes (\S+)", re.MULTILINE)


def parse_forecast(text: str) -> Forecast:
    """What `sbatch --test-only` wrote, with SLURM_TIME_FORMAT=%s; a refusal in Slurm's words."""
    if match := _WOULD_START.search(text):
        start = float(match[1]) if match[1].isdecimal() else 0.0
        return Forecast(start, nodes=match[3], why="" if start else f"Slurm says {match[1]}")
    lines = [line.strip().removeprefix("allocation failure: ") for line in text.splitlines() if line.strip()]
    return Forecast(refused=message("\n".join(lines)) or "sbatch --test-only said nothing")
