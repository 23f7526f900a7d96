"""What PBS says, in words that tell what to do: refusals, comments of waiting jobs, silence.

Sources: pbs_error.h and pbs_messages.c of OpenPBS 23.06 (a client's exit status is the error's number, cut to eight
bits), job.h (the negative exit statuses), pbs_ifl.h and pbs_job.h of TORQUE 6.1.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from hpcjobs.errors import RefusedError
from hpcjobs.record import JobState, JobStatus
from hpcjobs.schedulers import Explanation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.process import Completed

# What the clients print when no server answered.
_NO_ANSWER = re.compile(
    r"cannot connect to server[^\n]*|Couldn't connect to cluster[^\n]*|Connection refused|Connection timed out"
    r"|Failed to recv data from background qsub|pbs_iff: [^\n]*|all reserved ports in use[^\n]*"
    r"|Unable to communicate with[^\n]*|No Permission\.[^\n]*trqauthd[^\n]*|Communication failure[^\n]*"
    r"|could not connect to trqauthd[^\n]*|Unable to contact slurm controller[^\n]*|Problem loading \w+\.",
    re.IGNORECASE,
)
# Nothing was sent: the connection itself was refused.
_NOT_SENT = re.compile(
    r"cannot connect to server|Couldn't connect to cluster|Connection refused|\(connect failure\)", re.IGNORECASE
)

UNKNOWN_JOB = "Unknown Job Id"
_UNKNOWN = 153  # its number, which TORQUE's qhold and qrls return without a word
FINISHED_JOB = "Job has finished"
NO_HISTORY = "PBS is not configured to maintain job history"


def after_waiting(answer: Completed) -> Completed:
    """The answer without the complaint of a client that found no reserved port, waited for a minute, and worked."""
    rest = re.sub(r"^pbs_iff: all reserved ports in use[^\n]*\n?", "", answer.err, flags=re.MULTILINE)
    return replace(answer, err=rest) if rest.strip() or not answer.code else answer


def unreachable(stderr: str) -> str:
    """The words that say that the server did not answer; empty if it did."""
    match = _NO_ANSWER.search(stderr)
    return match.group().strip() if match else ""


def nothing_sent(stderr: str) -> bool:
    """Whether it is certain that the server never got the request."""
    return bool(_NOT_SENT.search(stderr))


def unreachable_hint(stderr: str) -> str:
    """What to do when the server did not answer: wait, or go where there is one."""
    if re.search(r"Unknown Host|pbsconf error", stderr, re.IGNORECASE):
        return "there is no such PBS server: check PBS_SERVER, /etc/pbs.conf and -p, or use another login node"
    return "the PBS server is down or busy: nothing was changed; try again in a minute"


_SPEAKER = re.compile(r"^(?:q\w+|sbatch): +(?:error: +)?(?:Batch job submission failed: +)?")


def message(text: str) -> str:
    """What a PBS command complained of, in one line: a hook may have written several, and a usage text may follow."""
    # Slurm's qsub shows the command that it ran, and then in quotes what that said.
    text = re.sub(r"There was an error running the Slurm.*\nand the output was:\n'(.*)'", r"\1", text, flags=re.DOTALL)
    text, *usage = re.split(r"^usage:", text, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
    lines = [re.sub(r"^\[(.*)\]$", r"\1", line.strip()) for line in text.splitlines()]
    lines = [_SPEAKER.sub("", line) for line in lines]
    return "; ".join(line for line in lines if line) or ("it only said how it is used" if usage else "")


# The exit status, where it is one of a kind; the numbers from 1 to 122 stand for several errors and need the words too.
_BY_CODE = {
    32: "a rule of the site: do what it says, or ask the site's support",
    153: "a job it waits for is unknown to PBS: check -d",
    154: "check --directive and the site's directives",
    155: "check --directive and the site's directives",
    159: "ask the site's support whether you may use that queue: -p",
    160: "this machine may not talk to the PBS server: ask the site's support",
    166: "check -t, --mem and what the site adds (hpcjob submit --dry-run shows the script)",
    170: "name a queue: -p QUEUE (qstat -Q lists them)",
    173: "the queue takes no jobs now: name another with -p (qstat -Q lists them)",
    174: "you may not use the queue: name another with -p",
    175: "PBS runs no jobs of this user: log in as an ordinary user",
    187: "the site's PBS has no such resource: check -C, -L, --directive and the site's directives",
    188: "ask for less, or another queue: -t, -N, --mem, -p (qstat -Qf QUEUE shows the limits)",
    197: "you are not in that group: check the site's directives",
    198: "wait for your other jobs to end, or make them one array: -a",
    201: "name an account that you may charge: -A ACCOUNT",
}
_BY_WORDS = (
    ("exceeds server or queue size limit", "split the array: qstat -B -f shows max_array_size"),
    ("per-user limit", "wait for your other jobs to end, or make them one array: -a"),
    ("feasible nodes", "no nodes have that much: ask for fewer -N, -n, -c or GPUs (pbsnodes -a shows what there is)"),
    ("invalid time limit", _BY_CODE[166]),
    ("limit", "ask for less, or wait for your other jobs to end (qstat -Qf, qstat -B -f)"),
    ("illegal -N value", "choose another name: -J NAME"),
    ("name is too long", "choose a shorter name: -J NAME"),
    ("illegal -W value", "check -d"),
    ("invalid job dependency", _BY_CODE[153]),
    ("Illegal attribute or resource value", _BY_CODE[166]),
    ("Unknown resource", _BY_CODE[187]),
    ("Unknown queue", _BY_CODE[170]),
    ("Queue is not enabled", _BY_CODE[173]),
    ("Undefined attribute", _BY_CODE[154]),
    ("not a valid option", _BY_CODE[154]),
    ("Unauthorized Request", _BY_CODE[159]),
    ("Bad UID", _BY_CODE[175]),
    ("Bad GID", _BY_CODE[197]),
    ("account", _BY_CODE[201]),
    # sbatch
    ("dependency problem", "check -d"),
    ("node configuration is not available", "ask for less of each node: -n, -c, --mem, --gpus-per-node; or another -p"),
    ("feature specification", "the site has no such nodes: check -C"),
    ("unrecognized option", _BY_CODE[154]),
    ("invalid partition", _BY_CODE[170]),
    ("directive error", _BY_CODE[154]),
    ("cannot be used with", _BY_CODE[154]),
    ("cannot send environment", "PBS cannot take over every variable: leave export: all out of the site file"),
    ("illegally formed", "check -p, -d and the site's directives"),
)


def refusal_hint(code: int, problem: str) -> str:
    """What to do about qsub's refusal."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    lowered = problem.lower()
    return next(
        (hint for words, hint in _BY_WORDS if words.lower() in lowered), "hpcjob submit --dry-run shows the script"
    )


def per_id(targets: Sequence[str], answer: Completed) -> dict[str, str]:
    """Why not, for each id that a command's error names; empty for the others.

    Raises:
        RefusedError: it failed and named none of them.
    """
    problems = dict.fromkeys(targets, "")
    named = False
    for line in (answer.err + answer.out).splitlines():
        text = re.sub(r"^q\w+: ", "", line.strip())
        for target in targets:
            # TORQUE and Slurm's qdel name the id first or in between, OpenPBS last: "Unknown Job Id 12.pbshead".
            if any(re.search(rf"(^|\s){re.escape(name)}(?=$|[\s:])", text) for name in _names(target)):
                named = True
                problems[target] = _without(text, target) or text
    if answer.code and not named:
        silence = UNKNOWN_JOB if answer.code == _UNKNOWN else f"it ended with code {answer.code} and without a word"
        problem = message(answer.err + answer.out) or silence
        if len(targets) == 1:
            return {targets[0]: problem}
        raise RefusedError(f"{answer.argv[0]}: {problem}", hint="try the jobs one by one")
    return problems


def _names(target: str) -> tuple[str, ...]:
    """How a command may call what a target names: the words that were given, and the id without its server."""
    return tuple(dict.fromkeys(name for word in target.split() for name in (word, word.partition(".")[0])))


def _without(text: str, target: str) -> str:
    for name in sorted(_names(target), key=len, reverse=True):
        text = re.sub(rf"\s*{re.escape(name)}(?=$|[\s:]):?\s*", " ", text)
    return " ".join(text.split()).rstrip(":")


# The beginning of a waiting job's comment: what it means, what to do. (OpenPBS, pbs_sched's messages.)
_COMMENTS = (
    (
        r"Can Never Run: (.*)",
        "it can never run: {}",
        "cancel it and submit it again with fewer -n, -c, --mem or GPUs on each node, or another -p",
    ),
    (r"Not Running: Queue not started", "its queue is stopped", "wait, or submit to another with -p"),
    (r"Not Running: (.*limit.*)", "a limit is reached: {}", "wait for other jobs to end"),
    (
        r"Not Running: Insufficient amount of resource:? (.*)",
        "it waits for resources: {}",
        "wait; fewer -N or a shorter -t may start sooner",
    ),
    (
        r"Not Running: Not enough (?:free nodes|total nodes|of the right type of nodes) (?:are )?available(.*)",
        "it waits for nodes to become free",
        "wait; fewer -N or a shorter -t may start sooner",
    ),
    (
        r"Not Running: (?:Job would conflict with reservation|Dedicated)(.*)",
        "nodes that it needs are reserved (a maintenance?)",
        "a shorter -t may end before that",
    ),
    (
        r"job held, too many failed attempts to run",
        "its start failed too often, and PBS holds it",
        "ask the site's support; hpcjob release tries once more",
    ),
    (r"Not Running: (.*)", "PBS says: {}", "wait"),
)


def explain_status(status: JobStatus) -> Explanation:
    """A waiting job's comment in words; for others what state they are in."""
    if status.state not in {JobState.PENDING, JobState.HELD}:
        return Explanation(status.reason, f"it is {status.state}")
    if status.reason == "Dependency":
        return Explanation(status.reason, "it waits for another job to end", "hpcjob show tells which")
    for pattern, words, advice in _COMMENTS:
        if match := re.match(pattern, status.reason):
            said = match[1].strip() if match.groups() else ""
            return Explanation(status.reason, words.format(said), advice)
    if status.state is JobState.HELD:
        if status.raw.endswith(("s", "o")):
            return Explanation(status.reason, "an administrator holds it", "ask the site's support")
        return Explanation(status.reason, "its owner holds it", "hpcjob release lets it go")
    if status.raw == "W":
        return Explanation(status.reason, "its start time is in the future", "wait")
    words = f"PBS says: {status.reason}" if status.reason else "PBS has not looked at it yet"
    return Explanation(status.reason, words, "wait a minute and ask again")


# job.h of OpenPBS (JOB_EXEC_*): why PBS itself ended a job, or could not start it.
OPENPBS_ENDS = {
    -1: "PBS could not start it",
    -2: "PBS could not start it (a prologue failed, or the home folder is missing on the node)",
    -3: "PBS could not start it, and tries again",
    -4: "the node's PBS was started anew",
    -10: "the user has no account on the node",
    -11: "it was sent back to the queue",
    -16: "a hook of the site sent it back to the queue",
    -17: "a hook of the site rejected it",
    -18: "a hook of the site sent it back to the queue",
    -19: "a hook of the site deleted it",
    -20: "a node was lost",
    -21: "its files in PBS's own folder on the node were not safe",
    -22: "a hook of the site failed",
    -23: "its Kerberos credentials were missing",
    -24: "it used more CPUs than it asked for",
    -25: "it used more CPUs than it asked for",
    -26: "it used more virtual memory than it asked for",
    -27: "it used more memory than it asked for",
    -28: "it used more CPU time than it asked for",
    -29: "it was ended when its walltime was over",
    -30: "its output and errors could not be joined",
}
# pbs_job.h of TORQUE 6.1.
TORQUE_ENDS = {
    -1: "TORQUE could not start it",
    -2: "TORQUE could not start it (a prologue failed, or the home folder is missing on the node)",
    -3: "TORQUE could not start it, and tries again",
    -4: "the node's TORQUE was started anew",
    -8: "its shell could not be run on the node",
    -9: "its output files could not be made on the node",
    -10: "it used more memory than it asked for",
    -11: "it was ended when its walltime was over",
    -12: "it used more CPU time than it asked for",
    -13: "its cgroups could not be made on the node",
}
