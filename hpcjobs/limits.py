"""What the scheduler grants the person who submits, and whether a planned job is within it. Pure.

Slurm takes a job that is over a limit of its QOS, account or partition, and leaves it pending for ever; here it is
refused before. Sources: sacctmgr(1), slurm.conf(5), resource_limits.html (which limit counts where several are set:
the partition's QOS, the job's QOS, the association, the partition), pbs_queue_attributes(7B); and what Slurm 22.05 did
(tests/data/slurm/22.05/limits.txt).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import PlanError
from hpcjobs.units import Duration, Memory, nearest, parse_indices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from hpcjobs.model import JobSpec, Partition, Plan, Site

Amounts = dict[str, int]
"""By Slurm's names of resources: cpu, node, mem (bytes), gres/gpu, gres/gpu:TYPE."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The limits of one holder; what is absent is not limited. A limit of 0 is one."""

    time: int | None = None  # seconds
    job: Amounts = field(default_factory=dict)  # of one job
    node: Amounts = field(default_factory=dict)  # of a job on each node
    user: Amounts = field(default_factory=dict)  # of all jobs of the user together
    group: Amounts = field(default_factory=dict)  # of all jobs together
    least: Amounts = field(default_factory=dict)  # that a job must ask for
    tasks: int | None = None  # of the user in the queue, each task of an array counted
    group_tasks: int | None = None  # of all users


@dataclass(frozen=True, kw_only=True)
class Association:
    """An account that the user may name, perhaps on one partition alone."""

    account: str
    partition: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    caps: Caps = field(default_factory=Caps)


@dataclass(frozen=True, kw_only=True)
class Account:
    """What the jobs of an account, and of those below it, share."""

    parent: str = ""
    caps: Caps = field(default_factory=Caps)


@dataclass(frozen=True, kw_only=True)
class QosRules:
    """A quality of service."""

    flags: tuple[str, ...] = ()
    caps: Caps = field(default_factory=Caps)


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may use a partition (queue), and its own limits; empty is everybody."""

    accounts: tuple[str, ...] = ()
    not_accounts: tuple[str, ...] = ()
    allowed_qos: tuple[str, ...] = ()
    not_qos: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    qos: str = ""  # whose limits hold for all of its jobs
    closed: str = ""  # why nobody submits to it
    caps: Caps = field(default_factory=Caps)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a scheduler told of the limits of one person; by default nothing is known, and nothing is checked."""

    scheduler: str = ""  # as it is named in messages
    enforced: tuple[str, ...] = ()  # of associations, limits, qos
    # Whether a plug-in of the site may put another account, QOS or partition in the place of what was asked for.
    rewritten: bool = False
    user: str = ""
    groups: tuple[str, ...] = ()
    account: str = ""  # the default
    partition: str = ""  # the default
    associations: tuple[Association, ...] = ()
    accounts: dict[str, Account] = field(default_factory=dict)
    qos: dict[str, QosRules] = field(default_factory=dict)
    partitions: dict[str, Access] = field(default_factory=dict)
    caps: Caps = field(default_factory=Caps)  # of the whole cluster
    unknown: str = ""  # why nothing is known


def rules_from_json(data: Mapping[str, Any]) -> Rules:
    """What `asdict` of the rules was, after JSON."""
    made: dict[str, Callable[[Any], Any]] = {
        "associations": lambda items: tuple(_made(Association, item) for item in items),
        "accounts": lambda items: {name: _made(Account, item) for name, item in items.items()},
        "qos": lambda items: {name: _made(QosRules, item) for name, item in items.items()},
        "partitions": lambda items: {name: _made(Access, item) for name, item in items.items()},
        "caps": lambda item: Caps(**item),
    }
    return Rules(**{key: made.get(key, _tuples)(value) for key, value in data.items()})


def _made(cls: type, item: Mapping[str, Any]) -> Any:
    return cls(**{key: Caps(**value) if key == "caps" else _tuples(value) for key, value in item.items()})


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------- the check


def check(plan: Plan, rules: Rules, *, named: bool = True) -> None:
    """Refuse what the scheduler would refuse, or take and never start.

    `named` says whether the scheduler is told the partition at all.

    Raises:
        PlanError: names the limit and whose it is; the hint, what to type.
    """
    job = _Job(plan, rules, named=named)
    if closed := next(_closed(job), None):
        raise closed
    error = next(_too_large(job), None)
    if error is None:
        return
    for option, other in _others(plan, rules, named=named):
        if next(_refusals(other, rules, named=named), None) is None:
            raise PlanError(error.message, hint=f"{error.hint}; or {option}, which takes it")
    raise error


def _others(plan: Plan, rules: Rules, *, named: bool) -> Iterator[tuple[str, Plan]]:
    """The same job with another QOS, or another account, that its owner may use."""
    job = _Job(plan, rules, named=named)
    if "qos" in rules.enforced and job.association:
        yield from ((f"-q {name}", replace(plan, qos=name)) for name in job.association.qos if name != job.qos)
    if "associations" in rules.enforced:
        for name in dict.fromkeys(one.account for one in rules.associations if one.account != job.account):
            yield f"-A {name}", replace(plan, account=name)


class _Job:
    """A planned job, as the rules see it."""

    def __init__(self, plan: Plan, rules: Rules, *, named: bool) -> None:
        sure = not rules.rewritten
        self.plan, self.rules = plan, rules
        self.account = plan.account or (rules.account if sure else "")
        self.partition = (plan.partition or (rules.partition if sure else "")) if named else ""
        self.access = rules.partitions.get(self.partition, Access())
        self.association = _association(rules, self.account, self.partition)
        default = _default_qos(self.association, rules) if self.association and sure else ""
        self.qos = plan.qos or default
        self.tasks = len(parse_indices(plan.array)) if plan.array else 1
        self.asked, self.on_node = wanted(plan)

    def of_qos(self) -> list[tuple[str, Caps]]:
        """The limits of the partition's QOS and the job's, the one that counts first."""
        found = [
            (self.rules.qos[name].flags, (f"QOS {name}{of}", self.rules.qos[name].caps))
            for name, of in ((self.access.qos, f" of partition {self.partition}"), (self.qos, ""))
            if name in self.rules.qos
        ]
        first = len(found) > 1 and "OverPartQOS" in found[1][0]
        return [caps for _, caps in (reversed(found) if first else found)]

    def above(self) -> list[tuple[str, Caps]]:
        """The limits that jobs share otherwise: of the user in the account, of the account and those above it."""
        found = [(f"queue {self.partition}", self.access.caps), ("the server", self.rules.caps)]
        if self.association:
            found.append((f"account {self.account}", self.association.caps))
        name, seen = self.account, set[str]()
        while name in self.rules.accounts and name not in seen:
            seen.add(name)
            found.append((f"account {name}", self.rules.accounts[name].caps))
            name = self.rules.accounts[name].parent
        return found

    def own(self) -> list[tuple[str, Caps]]:
        """The limits of one job, the one that counts first."""
        found = self.of_qos()
        if self.association:
            found.append((f"account {self.account}", self.association.caps))
        return [*found, (f"queue {self.partition}", self.access.caps), ("the server", self.rules.caps)]


def _association(rules: Rules, account: str, partition: str) -> Association | None:
    mine = [one for one in rules.associations if one.account == account.lower()]
    return next((one for each in (partition, "") for one in mine if one.partition == each), None)


def _default_qos(association: Association, rules: Rules) -> str:
    if association.default_qos:
        return association.default_qos
    if len(association.qos) == 1:
        return association.qos[0]
    return "normal" if "normal" in rules.qos else ""


def wanted(plan: Plan) -> tuple[Amounts, Amounts]:
    """The least that the job takes in all, and on a node."""
    shape, nodes = plan.shape, plan.shape.nodes
    each = shape.cpus_per_task * (plan.node.threads if plan.scheduler == "slurm" else 1)  # CPUs, as it counts them
    cores = shape.ntasks * each
    if plan.nodes_asked and plan.scheduler == "slurm":  # which counts --nodes times --ntasks-per-node
        cores = max(cores, nodes * shape.ntasks_per_node * each)
    here = (shape.ntasks_per_node if plan.nodes_asked else 1) * each
    if plan.exclusive:
        whole = plan.node.cores * each // shape.cpus_per_task
        cores, here = max(cores, nodes * whole), max(here, whole)
    job, node = {"node": nodes, "cpu": cores}, {"cpu": here}
    if plan.mem or plan.mem_per_cpu:
        job["mem"] = int(plan.mem) * nodes if plan.mem else int(plan.mem_per_cpu or 0) * cores
        node["mem"] = int(plan.mem) if plan.mem else int(plan.mem_per_cpu or 0) * here
    for name in ("gres/gpu", *([f"gres/gpu:{plan.gpu_type}"] if plan.gpu_type else [])):
        if shape.gpus_per_node and plan.gpu_request != "none":
            job[name], node[name] = shape.gpus_per_node * nodes, shape.gpus_per_node
    return job, node


# What the schedulers call the limits, and resources where it is not Slurm's name.
_SLURM = {
    "time": "MaxWall", "job": "MaxTRES", "node": "MaxTRESPerNode", "user": "MaxTRESPerUser", "group": "GrpTRES",
    "least": "MinTRES", "tasks": "MaxSubmitJobs", "group_tasks": "GrpSubmitJobs",
}  # fmt: skip
_PBS = {
    "time": "resources_max.walltime", "job": "resources_max", "node": "", "user": "max_run_res", "group": "max_run_res",
    "least": "resources_min", "tasks": "max_queued", "group_tasks": "max_queued",
    "=cpu": "ncpus", "=gres/gpu": "ngpus", "=node": "nodect",
}  # fmt: skip
_FEWER = {"cpu": "-n, -c or -N", "node": "-N", "mem": "--mem", "gres/gpu": "--gpus-per-node or -N"}


def _refusals(plan: Plan, rules: Rules, *, named: bool) -> Iterator[PlanError]:
    job = _Job(plan, rules, named=named)
    yield from _closed(job)
    yield from _too_large(job)


def _closed(job: _Job) -> Iterator[PlanError]:
    """What the person may not use."""
    if not job.rules.rewritten:  # else sbatch, which refuses such names at once, knows better
        yield from _of_names(job)
    yield from _of_access(job)


def _too_large(job: _Job) -> Iterator[PlanError]:
    """What is over a limit."""
    words = _PBS if job.rules.scheduler == "PBS" else _SLURM
    if "limits" in job.rules.enforced:
        yield from _of_time(job, words)
        yield from _of_amounts(job, words)
        yield from _of_tasks(job, words)


def _of_names(job: _Job) -> Iterator[PlanError]:
    rules, account = job.rules, job.account
    mine = list(dict.fromkeys(one.account for one in rules.associations))
    if "associations" in rules.enforced and mine and account and not job.association:
        there = [one.partition for one in rules.associations if one.account == account.lower()]
        if there:
            yield PlanError(
                f"account {account} is yours on partition {' or '.join(there)}, and the job goes to {job.partition}",
                hint=f"-p {there[0]}, or another -A",
            )
        else:
            yield PlanError(f"you are not in account {account}", hint=f"-A: {nearest(account, mine)}")
    if "qos" in rules.enforced and job.plan.qos and job.association and job.plan.qos not in job.association.qos:
        there = [one.account for one in rules.associations if job.plan.qos in one.qos]
        hint = f"-q: {nearest(job.plan.qos, job.association.qos)}"
        unknown = "" if job.plan.qos in rules.qos else ", which does not exist"
        yield PlanError(
            f"account {account} may not use QOS {job.plan.qos}{unknown}",
            hint=f"-A {there[0]} may" if there else hint,
        )


def _of_access(job: _Job) -> Iterator[PlanError]:
    access, rules, name = job.access, job.rules, job.partition
    if access.closed:
        yield PlanError(f"queue {name} takes no jobs from you: {access.closed}", hint="choose another with -p")
    if access.users and rules.user not in access.users:
        yield PlanError(f"queue {name} is for {_some(access.users)}, and not for you", hint="choose another with -p")
    if access.groups and not {*rules.groups} & {*access.groups}:
        hint = "choose another with -p"
        yield PlanError(f"queue {name} is for the groups {_some(access.groups)}, and you are in none", hint=hint)
    account = job.account.lower()
    if "associations" in rules.enforced and account:
        usable = [one.account for one in rules.associations if _takes_account(access, one.account)]
        if not _takes_account(access, account):
            only = f" (it is for {_some(access.accounts)})" if access.accounts else ""
            yield PlanError(
                f"partition {name} is closed to account {job.account}{only}",
                hint=f"-A {usable[0]}, or another -p" if usable else "choose another with -p",
            )
    if "qos" in rules.enforced and job.qos:
        allowed = access.allowed_qos
        if (allowed and job.qos not in allowed) or job.qos in access.not_qos:
            usable = [one for one in (job.association.qos if job.association else ()) if one in (allowed or (one,))]
            usable = [one for one in usable if one not in access.not_qos]
            yield PlanError(
                f"partition {name} is closed to QOS {job.qos}" + (f" (it is for {_some(allowed)})" if allowed else ""),
                hint=f"-q {usable[0]}, or another -p" if usable else "choose another with -p",
            )


def _takes_account(access: Access, account: str) -> bool:
    return (not access.accounts or account in access.accounts) and account not in access.not_accounts


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:6]) + (", …" if len(shown) > 6 else "")  # noqa: PLR2004 - as many as fit a line


def _of_time(job: _Job, words: Mapping[str, str]) -> Iterator[PlanError]:
    holder, most = next(((holder, caps.time) for holder, caps in job.own() if caps.time is not None), ("", None))
    if most is not None and job.plan.time and job.plan.time > most:
        yield PlanError(
            f"{holder} has {words['time']} {Duration(most)}, and {job.plan.time} were asked for",
            hint=f"-t {Duration(most)} is the most there",
        )


def _of_amounts(job: _Job, words: Mapping[str, str]) -> Iterator[PlanError]:
    for kind, asked in (("job", job.asked), ("node", job.on_node), ("user", job.asked)):
        for name, amount in asked.items():
            found = ((holder, getattr(caps, kind).get(name)) for holder, caps in job.own())
            holder, most = next(((holder, most) for holder, most in found if most is not None), ("", None))
            if most is not None and amount > most:
                yield _too_much(f"{holder} has {words[kind]}", words, name, (amount, most), on_node=kind == "node")
    for name, amount in job.asked.items():
        of_qos = [(holder, caps.group[name]) for holder, caps in job.of_qos() if name in caps.group][:1]
        shared = of_qos or [(holder, caps.group[name]) for holder, caps in job.above() if name in caps.group]
        for holder, most in shared:
            if amount > most:
                yield _too_much(f"{holder} has {words['group']}", words, name, (amount, most))
        for holder, caps in job.own():
            if amount < caps.least.get(name, 0) and not job.plan.exclusive:
                least = _shown(name, caps.least[name])
                yield PlanError(
                    f"{holder} has {words['least']} {_spelled(name, words)}={least}, "
                    f"and the job asks for {_shown(name, amount)}",
                    hint=f"ask for more: {_fewer(name)}",
                )


def _too_much(
    whose: str, words: Mapping[str, str], name: str, numbers: tuple[int, int], *, on_node: bool = False
) -> PlanError:
    amount, most = (_shown(name, number) for number in numbers)
    where = " on a node" if on_node else ""
    return PlanError(
        f"{whose} {_spelled(name, words)}={most}, and the job needs {amount}{where}: it would never start",
        hint=f"ask for less: {_fewer(name)}",
    )


def _spelled(name: str, words: Mapping[str, str]) -> str:
    return words.get(f"={name}", name)


def _shown(name: str, amount: int) -> str:
    return str(Memory(amount)) if name == "mem" else str(amount)


def _fewer(name: str) -> str:
    return _FEWER["gres/gpu" if name.startswith("gres/gpu") else name]


def _of_tasks(job: _Job, words: Mapping[str, str]) -> Iterator[PlanError]:
    if job.plan.study:  # which is cut by what the queue takes
        return
    held = [(holder, caps.tasks, "tasks") for holder, caps in job.own()]
    held += [(holder, caps.group_tasks, "group_tasks") for holder, caps in (*job.of_qos(), *job.above())]
    for holder, most, kind in held:
        if most is not None and job.tasks > most:
            yield PlanError(
                f"{holder} has {words[kind]} {most}, and the job has {job.tasks} task{'s' * (job.tasks > 1)}",
                hint="send fewer at a time (-a), or a study, which is sent as there is room" if most else "-A or -q",
            )


# ------------------------------------------------------------------------- limits that do not hold


def lifted(site: Site, spec: JobSpec, rules: Rules) -> Site:
    """The site without those limits of its partitions that the job's QOS is free of (its flags, sacctmgr(1))."""
    association = _association(rules, spec.account or rules.account, spec.partition)
    name = spec.qos or (_default_qos(association, rules) if association and not rules.rewritten else "")
    flags = rules.qos[name].flags if name in rules.qos and "associations" in rules.enforced else ()
    free: dict[str, Any] = {}
    if "PartitionTimeLimit" in flags:
        free |= {"max_time": None, "time_by_nodes": {}}
    if "PartitionMaxNodes" in flags:
        free["max_nodes"] = 0
    if "PartitionMinNodes" in flags:
        free["min_nodes"] = 0
    if not free:
        return site
    partitions: dict[str, Partition] = {key: replace(each, **free) for key, each in site.partitions.items()}
    return replace(site, partitions=partitions)
