"""What Slurm says, in words that tell what to do: refusals, pending reasons, silence.

Sources: squeue(1), JOB REASON CODES; the messages of slurm_errno.c as sbatch prints them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcjobs.errors import RefusedError
from hpcjobs.record import JobState, JobStatus
from hpcjobs.schedulers import Explanation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.process import Completed

# What the clients print when slurmctld does not answer (slurm_errno.c, slurm_protocol_api.c).
_NO_ANSWER = re.compile(
    r"Unable to contact slurm controller[^\n]*|Socket timed out[^\n]*|Zero Bytes were transmitted[^\n]*"
    r"|Connection refused|Connection timed out|Communication connection failure|Transport endpoint[^\n]*"
    r"|Unable to establish (?:control machine address|configuration source)[^\n]*|Slurm backup controller[^\n]*"
    r"|Unable to connect to (?:database|the database)[^\n]*|Failed to open persistent connection[^\n]*"
    r"|Resource temporarily unavailable|Connection reset by peer|Broken pipe",
    re.IGNORECASE,
)

# Types may begin with a digit: 2080ti, and the slices 1g.10gb.
_GPUS = re.compile(r"(?:^|,)gpu:(?:([\w.+-]+|\(null\)):)?(\d+)(?=[(,]|$)", re.ASCII)


def number(text: str) -> int:
    """The number that a text begins with (`4+`); 0 if it begins otherwise."""
    match = re.match(r"\d+", text, re.ASCII)
    return int(match.group()) if match else 0


def gpus_of(gres: str) -> list[tuple[str, int]]:
    """The GPUs of sinfo's GRES, by type: `gpu:a100:4(S:0-1),gpu:1g.10gb:7,nvme:1` -> 4 of a100, 7 of 1g.10gb."""
    return [("" if kind == "(null)" else kind, int(count)) for kind, count in _GPUS.findall(gres)]


def unreachable(stderr: str) -> str:
    """The words that say that Slurm did not answer; empty if it did."""
    match = _NO_ANSWER.search(stderr)
    return match.group().rstrip(".") if match else ""


def message(text: str) -> str:
    """What a Slurm command complained of: its error lines without the prefix, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        re.sub(r"^\w+: (?:fatal|error): ", "", line) for line in lines if re.match(r"\w+: (?:fatal|error): ", line)
    ]
    return "; ".join(errors) if errors else (lines[-1] if lines else "")


_REFUSALS = (
    ("Invalid account", "name an account that may use this partition: -A ACCOUNT (sacctmgr show assoc user=$USER)"),
    ("Invalid partition", "name a partition: -p PARTITION (sinfo lists them)"),
    ("Invalid qos", "name a quality of service that you may use: -q QOS (sacctmgr show qos)"),
    ("Invalid --time", "write the time as 30 (minutes), 02:00:00 or 1-12:00:00"),
    ("Requested time limit is invalid", "ask for less time: -t TIME (sinfo -o '%P %l' shows the limits)"),
    (
        "MaxSubmit",
        "wait for other jobs of yours to end, or send fewer tasks: -a (hpcjob sweep sends what there is room for)",
    ),
    (
        "GrpSubmit",
        "wait for jobs of your group to end, or send fewer tasks: -a (hpcjob sweep sends what there is room for)",
    ),
    ("MaxWallDuration", "ask for less time: -t TIME (sacctmgr show qos format=name,maxwall; sacctmgr show assoc)"),
    ("MaxNodePerJob", "ask for fewer nodes: -N (sacctmgr show qos format=name,maxtres; sacctmgr show assoc)"),
    ("MaxCpuPer", "ask for fewer cores: -n, -c (sacctmgr show qos format=name,maxtres; sacctmgr show assoc)"),
    ("User's group not permitted", "choose another partition: -p (hpcjob site partitions)"),
    ("Required partition not available", "choose another partition: -p (hpcjob site partitions)"),
    ("violates accounting/QOS policy", "ask for less, or wait for your other jobs to end (sacctmgr show qos)"),
    ("node configuration is not available", "ask for less on each node: fewer -n/-c, --mem or GPUs (sinfo -Nel)"),
    ("More processors requested than permitted", "ask for fewer nodes or ranks: -N, -n"),
    ("Node count specification invalid", "ask for fewer nodes: -N (sinfo shows how many there are)"),
    ("Invalid job array", "the highest index must be below MaxArraySize (scontrol show config | grep MaxArraySize)"),
    ("Job dependency problem", "a job it waits for is unknown to Slurm: check -d"),
    ("Invalid feature specification", "name a feature that nodes have: -C FEATURE (sinfo -o '%P %f')"),
    ("Requested reservation", "check --reservation (scontrol show reservation)"),
    ("Invalid license", "check -L (scontrol show licenses)"),
    ("unrecognized option", "check --directive and the site's directives"),
)


def refusal_hint(problem: str) -> str:
    """What to do about sbatch's refusal."""
    lowered = problem.lower()
    return next(
        (hint for words, hint in _REFUSALS if words.lower() in lowered), "hpcjob submit --dry-run shows the script"
    )


def per_id(targets: Sequence[str], answer: Completed) -> dict[str, str]:
    """Why not, for each id that a command's error names; empty for the others.

    Raises:
        RefusedError: it failed and named none of them.
    """
    problems = dict.fromkeys(targets, "")
    for line in answer.err.splitlines():
        # "scancel: error: Kill job error on job id 12: Invalid job id specified" and, from scontrol,
        # "Job has already finished for job 12".
        if match := re.search(r" error on job id (\S+): (.*)", line):
            job, why = match[1], match[2]
        elif match := re.search(r"(.*) for job (\S+)$", line):
            job, why = match[2], match[1]
        else:
            continue
        if job in problems:
            problems[job] = why
    if answer.code and not any(problems.values()):
        if len(targets) == 1:
            return {targets[0]: message(answer.err)}
        raise RefusedError(f"{answer.argv[0]}: {message(answer.err)}", hint="try the jobs one by one")
    return problems


CONFIGURING = "CONFIGURING"
"""What squeue calls a job that has nodes which are not ready for it."""

# squeue(1), JOB REASON CODES: what it means, what to do.
_REASONS = {
    "Priority": ("other jobs are before it in the queue", "wait; a shorter -t may let it fill a gap"),
    "Resources": ("it is next, and waits for nodes to become free", "wait; fewer -N or a shorter -t may start sooner"),
    "Dependency": ("it waits for another job to end", "hpcjob show tells which"),
    "DependencyNeverSatisfied": (
        "a job it waits for ended in a way that never lets it start",
        "cancel it, then submit it again without -d",
    ),
    "JobHeldUser": ("its owner holds it", "hpcjob release lets it go"),
    "JobHeldAdmin": ("an administrator holds it", "ask the site's support"),
    "JobHoldMaxRequeue": (
        "it was started again too often and is held now",
        "see its error file; hpcjob release tries once more",
    ),
    "BeginTime": ("its start time is in the future, or it was just requeued", "wait"),
    "PartitionTimeLimit": (
        "its walltime is over the partition's limit: it will never start",
        "cancel it and submit with a shorter -t, or another -p",
    ),
    "PartitionNodeLimit": (
        "it wants more nodes than the partition gives: it will never start",
        "cancel it and submit with fewer -N, or another -p",
    ),
    "PartitionDown": ("the partition is closed", "wait, or submit to another with -p"),
    "PartitionInactive": ("the partition is not active", "wait, or submit to another with -p"),
    "ReqNodeNotAvail": (
        "nodes that it needs are down, drained, reserved (a maintenance?) or being switched off",
        "a shorter -t may end before the maintenance",
    ),
    # The whole of it: … DOWN, DRAINED or reserved for jobs in higher priority partitions.
    "Nodes required for job are DOWN": (
        "nodes that it needs are down, drained or reserved; those of a cloud are reset and come back in some minutes",
        "wait; sinfo -R tells why nodes are down",
    ),
    "Reservation": ("it waits for its reservation", "wait"),
    "JobArrayTaskLimit": ("as many tasks of the array run as its % allows", "wait"),
    "Licenses": ("it waits for a licence", "wait"),
    "NodeDown": ("a node that it needs is down", "wait, or ask the site's support"),
    "BadConstraints": ("no node has what it asks for: it will never start", "cancel it and check -C, --mem and GPUs"),
    "AccountNotAllowed": ("the account may not use the partition", "cancel it and submit with another -A or -p"),
    "InvalidAccount": ("the account is not valid", "cancel it and submit with another -A"),
    "InvalidQOS": ("the quality of service is not valid", "cancel it and submit with another -q"),
    "QOSJobLimit": ("the quality of service allows no more jobs at once", "wait"),
    "AssociationJobLimit": ("the account allows no more jobs at once", "wait"),
    "launch failed requeued held": (
        "its start failed on the node; it is held",
        "ask the site's support, then hpcjob release",
    ),
}
_OF_ONE_JOB = re.compile(r"^(QOS|Assoc|Association)Max\w*(PerJob|PerNode)")
_LIMITS = re.compile(r"^(QOS|Assoc|Association)\w*?(Grp|Max)\w*")

# sinfo(1), NODE STATE CODES: what nodes of a job do that are not ready yet, by the last letter of their state; of
# several the first counts.
_STARTING = ("its nodes are being started, which takes some minutes", "wait; if they do not come, it is queued again")
_NODES = {
    "#": _STARTING,
    "~": _STARTING,
    "%": ("its nodes are being switched off, and start again after that", "wait some minutes"),
    "!": ("its nodes are being switched off, and start again after that", "wait some minutes"),
    "^": ("its nodes are rebooting", "wait some minutes"),
    "@": ("its nodes are about to reboot", "wait some minutes"),
    "*": ("its nodes do not answer", "wait; if they stay away, it is queued again"),
}


def explain_reason(status: JobStatus, node_states: Sequence[str] = (), resume_timeout: int = 0) -> Explanation:
    """A pending job's reason in words; for others what state they are in.

    Of a job that has its nodes and waits for them (CONFIGURING), `node_states` are theirs as sinfo prints them
    (`allocated#`), and `resume_timeout` the seconds after which Slurm gives up one that does not start.
    """
    if status.state not in {JobState.PENDING, JobState.HELD}:
        return Explanation(status.reason, f"it is {status.state}")
    if status.raw == CONFIGURING:
        suffixes = {state[-1] for state in node_states}
        words, advice = next(
            (said for suffix, said in _NODES.items() if suffix in suffixes), ("its nodes are being prepared", "wait")
        )
        limit = f" (ResumeTimeout {resume_timeout} s)" if resume_timeout and (words, advice) == _STARTING else ""
        return Explanation(status.reason, words + limit, advice)
    key = status.reason.partition(",")[0].strip("() ")
    words, advice = _REASONS.get(key, ("", ""))
    if not words and _OF_ONE_JOB.match(key):
        words, advice = (
            f"it is over a limit of the account or quality of service for one job ({key}): it will never start",
            "cancel it and ask for less",
        )
    if not words and _LIMITS.match(key):
        words, advice = (
            f"a limit of the account or quality of service is reached ({key})",
            "wait for other jobs to end",
        )
    if not words:
        words = f"Slurm says {status.reason}" if status.reason else "Slurm has not looked at it yet"
        advice = advice or "wait a minute and ask again"
    return Explanation(status.reason, words, advice)
