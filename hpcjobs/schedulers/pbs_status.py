"""What PBS answers: parsers from text to attributes, and from attributes to statuses. Pure functions.

Sources: qstat(1B) and pbs_job_attributes(7B) of OpenPBS 23.06, job.h and qstat.c there, the manual of TORQUE 6.1, and
what real servers answered (tests/data/pbs).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import ends, paths
from hpcjobs.record import JobState, JobStatus, Tasks
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE, WRAPPER, arrange
from hpcjobs.schedulers.pbs_words import OPENPBS_ENDS, TORQUE_ENDS
from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcjobs.model import NodeShape, Partition
    from hpcjobs.record import JobRecord
    from hpcjobs.seen import NodeKind

UNIT = "\x1f"
"""What stands between attributes in `qstat -F dsv`: no name and no value has it."""
_ID = re.compile(r"(\d{1,18})(\[(\d{0,18})\])?(?:\.[\w.-]+)?", re.ASCII)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

Attributes = dict[str, str]
Key = tuple[int, "int | None"]
"""A job, or a task of an array: the number, and the index that PBS gave it."""


def parse_version(text: str) -> str:
    """The dialect, from what `qstat --version` wrote; empty if it is none that is known."""
    if "pbs_version" in text:
        return OPENPBS
    if "Unknown option: version" in text:
        return WRAPPER
    return TORQUE if re.search(r"^version: ", text, re.MULTILINE | re.IGNORECASE) else ""


def parse_submit(text: str) -> str:
    """The id in qsub's answer (`12.server`, `12[].server`, `12`), which may stand below a banner; empty if none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines and _ID.fullmatch(lines[-1]) else ""


def parse_key(native_id: str) -> Key | None:
    """`12.server` -> (12, None), `12[3].server` -> (12, 3), `12[].server` -> (12, None); None if it is no id."""
    match = _ID.fullmatch(native_id)
    return (int(match[1]), int(match[3]) if match[3] else None) if match else None


def parse_dsv(text: str) -> dict[Key, Attributes]:
    """Read `qstat -f -F dsv -D US`: a line a job, every value a string."""
    return _by_key(lines_of(text, "Job Id: "))


def lines_of(text: str, head: str) -> dict[str, Attributes]:
    """Records of `-F dsv -D US`, by the name behind `head`: jobs, queues, nodes, servers."""
    found = {}
    for line in text.split("\n"):
        if line.startswith(head):
            name, *parts = line.removeprefix(head).split(UNIT)
            found[name] = dict(part.partition("=")[::2] for part in parts)
    return found


def parse_text(text: str) -> dict[Key, Attributes]:
    """Read `qstat -f`: an attribute a line, continued on lines that begin with a tab (Slurm's: all begin with one)."""
    return _by_key(blocks_of(text, "Job Id:"))


def blocks_of(text: str, head: str) -> dict[str, Attributes]:
    """Records of `qstat -f`, by the name behind `head`: jobs, queues, servers."""
    found: dict[str, Attributes] = {}
    block: Attributes = {}
    last, tabs = "", False
    for line in text.split("\n"):
        if line.startswith(head):
            tabs = line.startswith(head + "\t")
            block = found.setdefault(line.removeprefix(head).strip(), {})
        elif line.startswith("\t") and not tabs:
            if last:
                block[last] += line[1:]
        elif match := re.match(r"\s+([\w.]+) = (.*)", line, re.ASCII):
            last = match[1]
            block[last] = match[2]
    return found


def _by_key(found: Mapping[str, Attributes]) -> dict[Key, Attributes]:
    keyed = ((parse_key(native_id), attributes) for native_id, attributes in found.items())
    return {key: attributes for key, attributes in keyed if key}


def parse_tags(text: str, tags: Iterable[str]) -> dict[str, str]:
    """Which of the tags stand in which job's record; a record begins with its id."""
    wanted = set(tags)
    found: dict[str, str] = {}
    for record in re.split(r"^Job Id:\s*", text, flags=re.MULTILINE)[1:]:
        native_id = re.split(rf"[\s{UNIT}]", record, maxsplit=1)[0]
        # A value may be broken anywhere, and goes on in the next line.
        for tag in re.findall(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])", record.replace("\n\t", "")):
            if tag in wanted and parse_key(native_id):
                # Of a Slurm array's tasks, which all have the tag, the first has the array's id.
                found[tag] = min(found.get(tag, native_id), native_id, key=lambda one: (parse_key(one) or (0, None))[0])
    return found


# ---------------------------------------------------------------------------------------------- states

# qstat(1B): the letters of job_state; E, F, X and C are looked at more closely.
_STATES = {
    "Q": JobState.PENDING,
    "W": JobState.PENDING,  # for its time (-a)
    "T": JobState.PENDING,  # on its way to another queue or server
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "B": JobState.RUNNING,  # an array with tasks that have begun
    "S": JobState.RUNNING,  # suspended, which keeps its nodes
    "U": JobState.RUNNING,  # suspended while somebody works at the machine
    "E": JobState.COMPLETING,
}
OVER = {"F", "X", "C"}
WAITING = {"Q", "H", "W"}
_OVER_IN_SLURM = {"C", "U"}  # it has no letter for some ends (out of memory, deadline)
# job.h: JOB_SUBSTATE_DEPNHOLD, _FINISHED, _FAILED, _TERMINATED.
_WAITS_FOR_JOB, _FINISHED, _FAILED, _TERMINATED = "22", "92", "93", "91"
_WAITS = re.compile(r"(^|,)(after|syncwith|on:)")  # TORQUE shows no substate
_WAITS_STILL = (JobState.PENDING, JobState.HELD)
_OF_ARRAYS = {_FINISHED: JobState.DONE, _FAILED: JobState.FAILED, _TERMINATED: JobState.CANCELLED}
_OF_OPENPBS = {
    -29: JobState.TIMEOUT,
    -28: JobState.TIMEOUT,
    -27: JobState.OOM,
    -26: JobState.OOM,
    -20: JobState.NODE_FAIL,
}
_OF_TORQUE = {-12: JobState.TIMEOUT, -11: JobState.TIMEOUT, -10: JobState.OOM}
# A job's process that was ended by a signal leaves 256 and its number, its shell 128 (pbs_job_attributes(7B)).
_BY_SIGNAL, _BY_SHELL, _SIGNALS = 256, 128, 64
_TERM = _BY_SIGNAL + 15


def read_status(attributes: Attributes, dialect: str = OPENPBS) -> JobStatus:
    """What the attributes of a job, or of a task of an array, say; an unknown word becomes `unknown` with the word."""
    letter = attributes.get("job_state", "")
    if dialect == WRAPPER and letter == "Q" and attributes.get("Priority") == "0":
        letter = "H"  # it has no letter for held jobs; Slurm gives them this priority
    comment = attributes.get("comment", "")
    runs = _number(attributes.get("run_count", "")) or 0
    nodes = _nodes(attributes.get("exec_host", ""))
    started = _time(_first(attributes, *(("mtime",) if dialect == WRAPPER else ("stime", "start_time"))))
    if letter in (_OVER_IN_SLURM if dialect == WRAPPER else OVER):
        ended = _time(_first(attributes, "obittime", "comp_time", "mtime"))
        end = _read_end(attributes, dialect)
        return replace(end, started=started if nodes else 0.0, ended=ended, nodes=nodes, restarts=max(runs - 1, 0))
    state = _STATES.get(letter, JobState.UNKNOWN)
    begun = state in {JobState.RUNNING, JobState.COMPLETING}
    reason, raw = "" if begun else comment, letter
    if letter == "H":
        holds = attributes.get("Hold_Types", "")
        raw = f"H {holds}".strip()
        if attributes.get("substate") == _WAITS_FOR_JOB or (
            holds == "s" and _WAITS.search(attributes.get("depend", ""))
        ):
            state, reason = JobState.PENDING, "Dependency"
    return JobStatus(
        state,
        raw=raw,
        reason=reason,
        started=started if begun else 0.0,
        nodes=nodes if begun else "",
        # A job that waits after a run has begun that often.
        restarts=max(runs - 1, 0) if begun else runs,
    )


def _read_end(attributes: Attributes, dialect: str) -> JobStatus:
    letter, substate = attributes.get("job_state", ""), attributes.get("substate", "")
    code = _number(_first(attributes, "Exit_status", "exit_status"))
    ran = bool(attributes.get("exec_host") or attributes.get("run_count"))
    if attributes.get("array") == "True" and code is not None:
        # An array shows the exit status of the task that ended last.
        return JobStatus(_OF_ARRAYS.get(substate, JobState.UNKNOWN), raw=f"{letter} {substate}".strip())
    if dialect == OPENPBS:
        # A task that was deleted before it ran shows the exit status and the substate of the whole array.
        if substate == _TERMINATED or not ran:
            never = "" if ran else "it never began"
            reason = "Dependency" if code is None and substate == _FINISHED and not ran else never
            return JobStatus(JobState.CANCELLED, raw=f"{letter} {substate}".strip(), reason=reason)
        known, words = _OF_OPENPBS, OPENPBS_ENDS
    else:
        if code is None and dialect == WRAPPER:  # which never tells
            return JobStatus(JobState.UNKNOWN, raw=letter)
        if code is None or code == _TERM:
            parent = "as result of dependency" in attributes.get("comment", "")
            return JobStatus(JobState.CANCELLED, raw=f"{letter} {code}", reason="Dependency" if parent else "")
        known, words = _OF_TORQUE, TORQUE_ENDS
    if code is None:
        return JobStatus(JobState.FAILED, raw=f"{letter} {substate}".strip())
    raw = f"{letter} {code}"
    if code < 0:
        return JobStatus(known.get(code, JobState.FAILED), raw=raw, reason=words.get(code, f"PBS says {code}"))
    signal = _signal(code)
    code = _BY_SHELL + signal if signal else code
    return JobStatus(JobState.FAILED if code else JobState.DONE, raw=raw, exit_code=code, signal=signal)


def _first(attributes: Attributes, *names: str) -> str:
    return next((attributes[name] for name in names if attributes.get(name)), "")


def _signal(code: int) -> int:
    if code > _BY_SIGNAL:
        return code - _BY_SIGNAL
    return code - _BY_SHELL if _BY_SHELL < code <= _BY_SHELL + _SIGNALS else 0


def gather(found: Mapping[Key, Attributes], jobs: Sequence[JobRecord], dialect: str) -> dict[str, JobStatus]:
    """The status of each job that was found, by native id; of an array with its tasks."""
    statuses = {}
    for job in jobs:
        key = parse_key(job.native_id)
        if dialect == WRAPPER:
            single = _of_slurm(found, job, key)
        elif key and any(number == key[0] for number, _ in found):
            single = read_status(found[key], dialect) if key in found else JobStatus(JobState.UNKNOWN)
        else:
            single = None
        if key and single:
            statuses[job.native_id] = _array_status(found, job, key[0], single, dialect) if job.array else single
    return statuses


def _of_slurm(found: Mapping[Key, Attributes], job: JobRecord, key: Key | None) -> JobStatus | None:
    """What Slurm's look-alike says of a job, or of what is left of an array; it does not say how one ended."""
    name = f".{job.tag}"
    of_job = [
        read_status(attributes, WRAPPER)
        for one, attributes in found.items()
        if one == key or (job.array and attributes.get("Job_Name", "").endswith(name))
    ]
    left = [status for status in of_job if status.raw not in _OVER_IN_SLURM]
    # The tasks that have begun are known from their files.
    return next((status for status in left if status.state is not JobState.RUNNING), left[0] if left else None)


def _array_status(
    found: Mapping[Key, Attributes], job: JobRecord, number: int, whole: JobStatus, dialect: str
) -> JobStatus:
    indices = job.indices()
    places = arrange(indices)[1] if dialect == OPENPBS else indices
    each = {
        index: read_status(found[number, place], dialect)
        for index, place in zip(indices, places, strict=True)
        if (number, place) in found
    }
    if dialect == OPENPBS and whole.state in {JobState.HELD, JobState.PENDING}:
        # The tasks of a held array are queued, each by itself.
        each = {index: whole if status.state is JobState.PENDING else status for index, status in each.items()}
    if dialect == TORQUE and len(each) < len(indices):
        each |= _not_made_yet(job, each)
    if not each:
        each = {index: _unlisted(job, index, whole) for index in _not_ended(job)}
    tasks = Tasks.build(
        {index: status.state for index, status in each.items()},
        {index: status.exit_code or 0 for index, status in each.items()},
    )
    overall = tasks.overall() if each else whole.state
    shown = next((status for status in each.values() if status.state is overall), whole)
    return replace(
        shown,
        state=overall,
        started=min((status.started for status in each.values() if status.started), default=0.0),
        ended=max((status.ended for status in each.values()), default=0.0) if overall.final else 0.0,
        restarts=0,
        tasks=tasks,
    )


def _not_made_yet(job: JobRecord, listed: Mapping[int, JobStatus]) -> dict[int, JobStatus]:
    """TORQUE makes the tasks of a large array one after the other: those that nobody has seen wait like the others."""
    waits = next((status for status in listed.values() if status.state in _WAITS_STILL), None)
    seen = job.tasks.each() if job.tasks else {}
    unseen = [index for index in _not_ended(job) if index not in listed and seen.get(index) in {None, *_WAITS_STILL}]
    return dict.fromkeys(unseen, waits) if waits else {}


def _not_ended(job: JobRecord) -> list[int]:
    if job.study:
        written = ends.written_by_studies([job]).get(job.tag)
        return [index for index in job.indices() if not (written and index in written.tasks)]
    folder = paths.JobFolder(Path(job.folder))
    return [index for index in job.indices() if not folder.exit_file(index).exists()]


def _unlisted(job: JobRecord, index: int, whole: JobStatus) -> JobStatus:
    """A task that PBS does not list (Slurm's look-alike lists none by its index): its start file tells."""
    if len(job.indices()) > 1 and paths.JobFolder(Path(job.folder)).start_file(index).exists():
        return replace(whole, state=JobState.RUNNING, reason="")
    return whole


def _nodes(exec_host: str) -> str:
    """`n1/0*2+n2/1*2` -> `n1,n2`."""
    return ",".join(dict.fromkeys(part.partition("/")[0] for part in exec_host.split("+") if part))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else None


def _time(text: str) -> float:
    """Unix seconds of `Fri Nov 20 23:59:37 2026` in UTC, or of a number; 0 for anything else."""
    import calendar

    match = re.fullmatch(r"\w{3} (\w{3}) +(\d\d?) (\d\d):(\d\d):(\d\d) ([1-9]\d{3})", text.strip(), re.ASCII)
    if match and match[1] in _MONTHS:
        day, hour, minute, second = (int(match[i]) for i in range(2, 6))
        return float(calendar.timegm((int(match[6]), _MONTHS.index(match[1]) + 1, day, hour, minute, second)))
    return float(max(_number(text) or 0, 0))


def parse_nodes(text: str) -> dict[str, Attributes]:
    """Read TORQUE's `pbsnodes -a`: a name, then lines `key = value`."""
    found: dict[str, Attributes] = {}
    block: Attributes = {}
    for line in text.splitlines():
        if line and not line[0].isspace():
            block = found.setdefault(line.strip(), {})
        elif match := re.match(r"\s+([\w.]+) = (.*)", line, re.ASCII):
            block[match[1]] = match[2]
    return found


def parse_kinds(nodes: Mapping[str, Attributes]) -> tuple[NodeKind, ...]:
    """The kinds of hosts there are, the commonest first; which queue has which, PBS does not say."""
    from hpcjobs.seen import NodeKind

    return tuple(NodeKind(count=count, node=node) for node, count in Counter(_hosts(nodes)).most_common())


def _hosts(nodes: Mapping[str, Attributes]) -> list[NodeShape]:
    """What each host has; OpenPBS may count parts of one as nodes of their own."""
    from hpcjobs.model import NodeShape

    hosts: dict[str, NodeShape] = {}
    for name, node in nodes.items():
        key = node.get("resources_available.host", name)
        one, known = _shape(node), hosts.get(key, NodeShape())
        memory = Memory((known.memory or 0) + (one.memory or 0)) or None
        hosts[key] = NodeShape(cores=known.cores + one.cores, memory=memory, gpus=known.gpus + one.gpus)
    return list(hosts.values())


def _shape(node: Attributes) -> NodeShape:
    from hpcjobs.model import NodeShape

    available = {key.rpartition(".")[2]: value for key, value in node.items() if key.startswith("resources_available.")}
    # TORQUE: `np = 4`, `gpus = 1`, and `status = …,physmem=3072000kb,…`.
    physical = re.search(r"\bphysmem=(\w+)", node.get("status", ""))
    return NodeShape(
        cores=_number(available.get("ncpus", "") or node.get("np", "")) or 0,
        memory=_memory(available.get("mem", "") or (physical[1] if physical else "")),
        gpus=_number(available.get("ngpus", "") or node.get("gpus", "")) or 0,
    )


def _memory(text: str) -> Memory | None:
    match = re.fullmatch(r"(\d{1,18})([kmgt]?)b?", text.lower(), re.ASCII)
    return Memory(int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2]]) if match else None


def parse_queues(
    found: Mapping[str, Attributes], nodes: Mapping[str, Attributes], default: str = ""
) -> dict[str, Partition]:
    """The queues that take jobs, with the limits that they have themselves, and what no host has more of."""
    from hpcjobs.model import NodeShape, Partition

    hosts = _hosts(nodes)
    largest = NodeShape(
        cores=max((host.cores for host in hosts), default=0),
        memory=max((host.memory for host in hosts if host.memory), default=None),
        gpus=max((host.gpus for host in hosts), default=0),
    )
    queues = {}
    for name, settings in found.items():
        if settings.get("enabled", "True").lower() not in {"true", "yes"}:
            continue
        queues[name] = Partition(
            default=name == default,
            max_time=_walltime(settings.get("resources_max.walltime", "")),
            max_nodes=_number(settings.get("resources_max.nodect", "")) or 0,
            nodes=len(hosts),
            node=largest,
        )
    return queues


def _walltime(text: str) -> Duration | None:
    seconds = 0
    for part in text.split(":"):
        number = _number(part)
        if number is None:
            return None
        seconds = seconds * 60 + number
    return Duration(seconds)
