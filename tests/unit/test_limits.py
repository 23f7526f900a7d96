"""Limits of the person who submits: held against what a real Slurm did with the same jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from hpcjobs import limits
from hpcjobs.errors import PlanError
from hpcjobs.limits import Access, Account, Association, Caps, QosRules, Rules
from hpcjobs.model import JobSpec, NodeShape, Partition, Plan, Shape, Site, StudyPart
from hpcjobs.process import Completed
from hpcjobs.schedulers import Forecast, Free, slurm, slurm_limits, slurm_words
from hpcjobs.units import Duration, Memory

DATA = Path(__file__).parent.parent / "data/slurm/22.05"
PLAN = Plan(
    tag="0", name="a", site="s", scheduler="slurm", template="", folder="/", workdir="/", output="o", error="e",
    shape=Shape(), launch=(),
)  # fmt: skip


def recorded(name: str) -> str:
    return (DATA / name).read_text()


def cluster(**more: object) -> Rules:
    """The rules of the recorded cluster, as the scheduler's module reads them."""
    answers = {
        "config": "config-limits.txt", "user": "sacctmgr-user.txt", "associations": "sacctmgr-accounts.txt",
        "qos": "sacctmgr-qos.txt", "partition": "scontrol-partition.txt",
    }  # fmt: skip

    def run(argv: Sequence[str], **_: object) -> Completed:
        return Completed(tuple(argv), 0, recorded(next(answers[word] for word in argv if word in answers)), "")

    return replace(slurm.Slurm({}, run).rules(), user="hpc", **more)  # type: ignore[arg-type]


def planned(options: str) -> Plan:
    """The plan of `sbatch OPTIONS`, of those that were recorded."""
    words = {"N": "1", "n": "", "c": "1", "g": "0"} | {
        match[1]: match[2] for match in re.finditer(r"(?<!-)-([NnctAqpa]) ?(\S+)", options)
    }
    per_node = re.search(r"--ntasks-per-node=(\d+)", options)
    gpus = re.search(r"--gpus-per-node=(\d+)", options)
    nodes = int(words["N"])
    ntasks = int(words["n"] or nodes)
    shape = Shape(nodes, ntasks, -(-ntasks // nodes), int(words["c"]), int(gpus[1]) if gpus else 0)
    return replace(
        PLAN,
        shape=shape,
        nodes_asked=bool(per_node),
        time=Duration.parse(words["t"]) if "t" in words else None,
        account=words.get("A", ""),
        qos=words.get("q", ""),
        partition=words.get("p", ""),
        array=words.get("a", ""),
    )


def cases() -> list[tuple[str, str]]:
    """The options of each recorded job, and what became of it."""
    found = []
    for block in recorded("limits.txt").split("$ sbatch ")[1:]:
        options, _, rest = block.partition("\n")
        end = re.findall(r"^(?:queue|sbatch)\| (.*)$", rest, re.MULTILINE)
        found.append((options, end[-1]))
    return found


# What waits for other jobs only.
WAITS = {"PENDING QOSMaxJobsPerUserLimit"}


@pytest.mark.parametrize(("options", "end"), cases(), ids=lambda text: text[:40])
def test_what_never_started_is_refused_and_what_ran_is_not(options: str, end: str) -> None:
    if end.startswith("RUNNING") or end in WAITS:
        limits.check(planned(options), cluster())
        return
    with pytest.raises(PlanError) as caught:
        limits.check(planned(options), cluster())
    assert caught.value.hint


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ("-A lim_subs", "you are not in account lim_subs", "-A: did you mean lim_sub?"),
        ("-A test -q lim_shor", "account test may not use QOS lim_shor, which does not exist", "-q: did you mean lim_job?"),
        ("-A test -q lim_short -t 4", "account test may not use QOS lim_short", "-A lim_sub may"),
        ("-A lim_sub -q lim_short -t 10", "QOS lim_short has MaxWall 00:05:00, and 00:10:00 were asked for", "-t 00:05:00 is the most there; or -q lim_free, which takes it"),
        ("-A lim_sub -q normal -t 40", "account lim_sub has MaxWall 00:30:00, and 00:40:00 were asked for", "-t 00:30:00 is the most there; or -q lim_free, which takes it"),
        ("-A lim_sub -p gpu -t 20", "account lim_sub has MaxWall 00:10:00, and 00:20:00 were asked for", "-t 00:10:00 is the most there; or -A test, which takes it"),
        ("-q lim_grp -N 3", "QOS lim_grp has GrpTRES node=2, and the job needs 3: it would never start", "ask for less: -N; or -q lim_free, which takes it"),
        ("-q lim_grp -N 2 -n 4", "QOS lim_grp has GrpTRES cpu=3, and the job needs 4: it would never start", "ask for less: -n, -c or -N; or -q lim_free, which takes it"),
        ("-A lim_sub -q normal -N 4", "account lim_top has GrpTRES node=3, and the job needs 4: it would never start", "ask for less: -N; or -A test, which takes it"),
        ("-A lim_sub -N 1 -c 2", "account lim_sub has MaxTRESPerNode cpu=1, and the job needs 2 on a node: it would never start", "ask for less: -n, -c or -N; or -A test, which takes it"),
        ("-A lim_sub -p gpu --gpus-per-node=2", "account lim_top has GrpTRES gres/gpu=1, and the job needs 2: it would never start", "ask for less: --gpus-per-node or -N; or -A test, which takes it"),
        ("-q lim_job -a 0-5", "QOS lim_job has MaxSubmitJobs 3, and the job has 6 tasks", "send fewer at a time (-a), or a study, which is sent as there is room; or -q lim_free, which takes it"),
        ("-p paid", "partition paid is closed to account test (it is for lim_sub, lim_other)", "-A lim_sub, or another -p"),
        ("-p short -q normal", "partition short is closed to QOS normal (it is for lim_short, lim_job)", "-q lim_job, or another -p"),
        ("-p qpart -N 3", "QOS lim_grp of partition qpart has GrpTRES node=2, and the job needs 3: it would never start", "ask for less: -N"),
    ],
)  # fmt: skip
def test_a_refusal_says_whose_limit_it_is_and_what_to_type(options: str, message: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        limits.check(planned(options), cluster())
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_memory_is_counted_too() -> None:
    job = replace(planned("-A lim_sub -q normal -N 3"), mem=Memory.parse("5G"))
    with pytest.raises(PlanError, match="account lim_top has GrpTRES mem=12G, and the job needs 15G"):
        limits.check(job, cluster())
    limits.check(replace(job, mem=Memory.parse("4G")), cluster())
    with pytest.raises(PlanError, match="GrpTRES mem=12G"):
        limits.check(replace(job, mem=None, mem_per_cpu=Memory.parse("5G")), cluster())


def test_whole_nodes_count_with_all_of_their_cores() -> None:
    job = replace(planned("-q lim_grp -N 2"), exclusive=True, node=NodeShape(cores=2))
    with pytest.raises(PlanError, match="GrpTRES cpu=3, and the job needs 4"):
        limits.check(job, cluster())


@pytest.mark.parametrize("enforced", [(), ("associations",), ("associations", "limits"), ("associations", "qos")])
def test_only_what_the_cluster_enforces_is_checked(enforced: tuple[str, ...]) -> None:
    rules = cluster(enforced=enforced)
    jobs = {"associations": "-A nope", "qos": "-q lim_short -A test", "limits": "-A lim_sub -q normal -t 40"}
    for name, options in jobs.items():
        with pytest.raises(PlanError) if name in enforced else nullcontext():
            limits.check(planned(options), rules)


def test_where_the_site_rewrites_requests_names_are_left_to_it() -> None:
    """As at NERSC, where `-q regular` becomes another QOS."""
    rules = cluster(rewritten=True)
    for options in ("-A nope", "-A test -q nope", "-N 2", "-p short"):
        limits.check(planned(options), rules)
    with pytest.raises(PlanError, match="QOS lim_short has MaxWall"):
        limits.check(planned("-A lim_sub -q lim_short -t 10"), rules)


def test_a_study_is_cut_by_what_the_queue_takes() -> None:
    part = StudyPart("/", 1, 0, 1, 6)
    limits.check(replace(planned("-q lim_job -a 0-5"), study=part), cluster())


def test_a_partition_that_is_not_named_to_the_scheduler_is_not_looked_at() -> None:
    limits.check(planned("-p short -q normal"), cluster(), named=False)


def test_nothing_is_known_nothing_is_checked() -> None:
    limits.check(planned("-A nope -q nope -N 99 -t 99-0"), Rules(unknown="sacctmgr: no answer"))


def test_the_qos_of_the_partition_counts_before_that_of_the_job_unless_that_has_a_flag() -> None:
    one, other = Caps(time=60), Caps(time=600)
    rules = Rules(
        enforced=("associations", "limits"),
        account="a",
        partition="p",
        associations=(Association(account="a", caps=Caps(time=6000)),),
        qos={
            "of_p": QosRules(caps=one),
            "q": QosRules(caps=other),
            "over": QosRules(flags=("OverPartQOS",), caps=other),
        },
        partitions={"p": Access(qos="of_p")},
    )
    job = replace(PLAN, time=Duration(300), qos="q")
    with pytest.raises(PlanError, match="QOS of_p of partition p has MaxWall 00:01:00"):
        limits.check(job, rules)
    limits.check(replace(job, qos="over"), rules)
    limits.check(replace(job, time=Duration(3000)), replace(rules, partitions={}, qos={}))


def test_less_than_a_qos_asks_for() -> None:
    rules = Rules(
        enforced=("associations", "limits"), account="a", associations=(Association(account="a", qos=("big",)),),
        qos={"big": QosRules(caps=Caps(least={"node": 4}))},
    )  # fmt: skip
    with pytest.raises(PlanError, match="QOS big has MinTRES node=4, and the job asks for 1"):
        limits.check(PLAN, rules)


def test_accounts_in_a_circle_end_the_search() -> None:
    caps = Caps(group={"node": 9})
    accounts = {"a": Account(parent="b", caps=caps), "b": Account(parent="a", caps=caps)}
    rules = Rules(
        enforced=("associations", "limits"), account="a", associations=(Association(account="a"),), accounts=accounts
    )
    limits.check(PLAN, rules)
    assert set(slurm_limits.ancestors(accounts, ("a",))) == {"a", "b"}


def test_gpus_that_the_partition_brings_are_not_counted() -> None:
    asked = planned("-N 2 --gpus-per-node=2")
    assert [amounts["gres/gpu"] for amounts in limits.wanted(asked)] == [4, 2]
    assert [amounts.get("gres/gpu") for amounts in limits.wanted(replace(asked, gpu_request="none"))] == [None, None]


def test_flags_of_a_qos_lift_limits_of_partitions() -> None:
    site = Site(name="s", partitions={"debug": Partition(max_time=Duration(60), max_nodes=2, min_nodes=1)})
    rules = cluster()
    assert limits.lifted(site, JobSpec(qos="normal"), rules) is site
    (found,) = limits.lifted(site, JobSpec(qos="lim_free"), rules).partitions.values()
    assert found == Partition(max_nodes=2, min_nodes=1)
    assert limits.lifted(site, JobSpec(qos="lim_free"), replace(rules, enforced=())) is site


def test_rules_survive_their_file() -> None:
    rules = cluster()
    assert limits.rules_from_json(json.loads(json.dumps(asdict(rules)))) == rules


# ------------------------------------------------------------------------------------------- parsers


def test_rules_of_a_real_cluster() -> None:
    rules = cluster()
    assert rules.enforced == ("associations", "limits", "qos")
    assert (rules.account, rules.partition, rules.rewritten) == ("test", "debug", False)
    assert [(one.account, one.partition) for one in rules.associations] == [
        ("lim_sub", "gpu"), ("lim_sub", ""), ("test", ""),
    ]  # fmt: skip
    assert rules.associations[1].caps == Caps(time=1800, job={"cpu": 4}, node={"cpu": 1}, tasks=50)
    assert rules.accounts["lim_top"].caps.group == {"gres/gpu": 1, "mem": 12 << 30, "node": 3}
    assert set(rules.accounts) == {"lim_sub", "lim_top", "test", "root"}
    assert rules.qos["lim_job"].caps == Caps(
        job={"cpu": 2, "node": 1}, user={"cpu": 4}, least={"cpu": 1}, tasks=3
    )  # fmt: skip
    assert rules.partitions["paid"] == Access(accounts=("lim_sub", "lim_other"))
    assert rules.partitions["qpart"] == Access(not_accounts=("lim_top",), qos="lim_grp")


@pytest.mark.parametrize("failing", ["config", "user", "associations", "qos", "partition"])
def test_a_silent_database_keeps_nobody_from_submitting(failing: str) -> None:
    def run(argv: Sequence[str], **_: object) -> Completed:
        if failing in argv:
            return Completed(
                tuple(argv), 1, "", "sacctmgr: error: Problem talking to the database: Connection refused\n"
            )
        return Completed(tuple(argv), 0, recorded("config-limits.txt") if "config" in argv else "", "")

    rules = slurm.Slurm({}, run).rules()
    assert rules.unknown.endswith("Problem talking to the database: Connection refused")
    assert not rules.enforced


def test_without_accounting_nothing_is_asked() -> None:
    def run(argv: Sequence[str], **_: object) -> Completed:
        raise AssertionError(argv)

    assert slurm.Slurm({"accounting": False}, run).rules() == Rules()


def test_a_cluster_that_enforces_nothing_is_asked_once() -> None:
    calls = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        calls.append(argv)
        return Completed(tuple(argv), 0, "AccountingStorageEnforce = none\n", "")

    assert slurm.Slurm({}, run).rules() == Rules()
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("plugins", "rewritten"),
    [("(null)", False), ("lua", True), ("require_timelimit", False), ("throttle,lua", True), ("", False)],
)
def test_plugins_that_rewrite_requests(plugins: str, rewritten: bool) -> None:
    assert slurm_limits.parse_rewritten({"JobSubmitPlugins": plugins, "CliFilterPlugins": "(null)"}) is rewritten


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("cpu=4,mem=12G,node=2", {"cpu": 4, "mem": 12 << 30, "node": 2}),
        ("mem=1500M,billing=7,gres/gpu:a100=8,license/x=2", {"mem": 1500 << 20, "gres/gpu:a100": 8}),
        ("mem=2929687.50G,cpu=x", {"mem": round(2929687.5 * (1 << 30))}),
        ("mem=0,cpu=0", {"mem": 0, "cpu": 0}),
    ],
)
def test_amounts(text: str, expected: dict[str, int]) -> None:
    assert slurm_limits.amounts(text) == expected


def test_what_is_free_on_a_real_cluster() -> None:
    free = slurm_limits.parse_free(recorded("sinfo-free.txt"))
    assert free["debug"] == Free("up", 4, 2, 1, 5, 4, 3, 3600)
    assert free["gpu"] == Free("up", 2, 1, 1, 3, 4, 3, 3600)
    assert free["paid"] == Free("up", 2, 1, 0, 2, 0, 0, 0)
    assert free["closed"].state == "down"
    assert free["leaving"].state == "drain"


@pytest.mark.parametrize(
    ("state", "idle", "cores"), [("idle", 2, 6), ("idle*", 0, 0), ("idle~", 2, 6), ("planned", 0, 0), ("maint", 0, 0)]
)
def test_nodes_that_are_not_there(state: str, idle: int, cores: int) -> None:
    free = slurm_limits.parse_free(f"p|up|{state}|2|0/6/0/6|gpu:0|(null)|infinite|\nnoise\n")["p"]
    assert (free.nodes, free.idle, free.cores) == (2, idle, cores)


@pytest.mark.parametrize(
    ("used", "gres", "gpus"),
    [
        ("gpu:2080ti:3(IDX:0-2)", "gpu:2080ti:8", (8, 5)),
        ("gpu:1g.10gb:0(IDX:N/A)", "gpu:1g.10gb:7", (7, 7)),
        ("gpu:(null):1(IDX:0)", "gpu:4(S:0-1)", (4, 3)),
        ("gpu:a100:1(IDX:0,3),gpu:v100:2(IDX:1-2)", "gpu:a100:4,gpu:v100:2", (6, 3)),
    ],
)
def test_gpus_that_are_free(used: str, gres: str, gpus: tuple[int, int]) -> None:
    free = slurm_limits.parse_free(f"p|up|mixed|1|1/5/0/6|{used}|{gres}|infinite|\n")["p"]
    assert (free.gpus, free.free_gpus) == gpus


def test_forecasts_of_a_real_cluster() -> None:
    said = [
        "\n".join(re.findall(r"^test-only\| (.*)$", block, re.MULTILINE))
        for block in recorded("limits.txt").split("$ sbatch ")[1:]
    ]
    found = [slurm_limits.parse_forecast(text) for text in said]
    assert found[0] == Forecast(1795321557.0, nodes="n[1-2]")
    assert found[1] == Forecast(refused="Invalid account or account/partition combination specified")
    assert {forecast.refused for forecast in found if forecast.refused} == {
        "Invalid account or account/partition combination specified", "Invalid qos specification",
        "QOSMaxNodePerJobLimit", "QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit",
    }  # fmt: skip
    assert slurm_limits.parse_forecast("").refused == "sbatch --test-only said nothing"
    assert slurm_limits.parse_forecast(
        "sbatch: Job 1 to start at N/A using 1 processors on nodes n1 in partition p"
    ).why


def test_each_refusal_of_the_recorded_jobs_says_what_to_do() -> None:
    default = slurm_words.refusal_hint("something never seen")
    said = re.findall(r"^sbatch\| sbatch: error: (\w*Limit)$", recorded("limits.txt"), re.MULTILINE)
    assert len(said) == 3
    hints = {
        slurm_words.refusal_hint(f"{word}; Batch job submission failed: Job violates accounting/QOS policy")
        for word in said
    }
    assert default not in hints
    assert len(hints) == 2, "one of a job's size, two of the number of jobs"
