"""The commands of TORQUE, where they answer otherwise than OpenPBS's: other errors, arrays, and text for qstat."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fake_pbs import client
from tests.fake_pbs import server as servers
from tests.fake_pbs.client import Refusal, split
from tests.fake_pbs.server import Attributes, Job, Server

VERSION = "Version: master\nCommit: 34ff845417cc0348dfe0a61a491e5e0f4adf6ef4\n"
QSUB_USAGE = """
usage: qsub [-a date_time] [-A account_string] [-b secs]
    [-c [ none | { enabled | periodic | shutdown |
    depth=<int> | dir=<path> | interval=<minutes>}... ]
    [-C directive_prefix] [-d path] [-D path]
    [-e path] [-h] [-I] [-j oe|eo|n] [-k {oe}] [-K <kill delay seconds>] \n\
    [-l resource_list] [-m n|{abe}] [-M user_list] [-N jobname] [-o path] \n\
    [-p priority] [-P proxy_user [-J <jobid]] [-q queue] [-r y|n] \n\
    [-S path] [-t number_to_submit] [-T type]  [-u user_list] [-w] path
    [-W additional_attributes] [-v variable_list] [-V ] [-x] [-X] [-z] [script]

"""
QDEL_USAGE = """\
usage: qdel [{ -a | -c | -p | -t | -W delay | -m message}] [-b retry_seconds] [<JOBID>[<JOBID>]|'all'|'ALL']...
       -a -c, -m, -p, -t, and -W are mutually exclusive
"""
QSELECT_USAGE = """\
usage: qselect                           [-a [op]date_time] [-A account_string] [-e] [-c [op]interval] \n\
                          [-h hold_list] [-l resource_list] [-N name] [-p [op]priority] \n\
                          [-q destination] [-r y|n] [-s states] [-u user_name]
"""
# What the server takes; a longer script had it say that it cannot locate the new job.
_LONGEST = 65_536


def answer(server: Server, name: str, argv: list[str]) -> tuple[int, str, str]:
    """Exit status, standard output and error."""
    if argv == ["--version"]:
        return 0, "", VERSION
    if server.state["down"]:
        return _down(server, name)
    server.step()
    try:
        code, out, err = COMMANDS[name](server, argv)
    except Refusal as refusal:
        code, out, err = refusal.code, "", refusal.text
    server.step()
    return code, out, err


def _down(server: Server, name: str) -> tuple[int, str, str]:
    host, address = server.state["server"], server.state["address"]
    once = f"\nUnable to communicate with {host}({address})\nCannot connect to specified server host '{host}'.\n"
    end = f"{name}: cannot connect to server {host} (errno=111) Connection refused\n"
    if name == "qstat":
        return 111, "", once * 3 + end + "qstat: Error (111 - Connection refused) \n"
    return 111, "", once + end


# ------------------------------------------------------------------------------------------------- qsub

_QSUB = "a:A:b:c:C:d:D:e:fFhIj:k:K:l:m:M:nN:o:p:P:q:r:S:t:T:u:v:Vw:W:xXz"


def qsub(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Take a job."""
    options, words = _options(argv)
    script = _script(words[0]) if words else sys.stdin.read()
    own = [option for line in _directive_lines(script) for option in _options(line.split())[0]]
    job = _accept(server, client.merge(options, own), argv, script, Path(words[0]).name if words else "STDIN")
    return 0, server.name(job) + "\n", ""


def _options(argv: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        return split("qsub", argv, _QSUB)
    except Refusal as refusal:
        dash = "'-'" in refusal.text
        raise Refusal(
            2, f"[{'a single - is not a valid option' if dash else refusal.text[:-1]}]\n{QSUB_USAGE}"
        ) from None


def _script(path: str) -> str:
    try:
        text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise Refusal(1, f"qsub: script file '{path}' cannot be loaded - {error.strerror}\n") from None
    if "\r\n" in text:
        raise Refusal(1, "qsub:  script is written in DOS/Windows text format\n")
    return text


def _directive_lines(script: str) -> list[str]:
    found = []
    for line in script.splitlines():
        if line.startswith("#PBS"):
            found.append(line.removeprefix("#PBS").strip())
        elif line.strip() and not line.startswith(("#", ":")):
            break
    return found


def _no(code: int, text: str) -> Refusal:
    return Refusal(code, f"qsub: submit error ({text})\n")


def _accept(server: Server, wanted: dict[str, Any], argv: list[str], script: str, name: str) -> Job:
    state = server.state
    name = wanted.get("N", name)
    if not name.isascii() or re.search(r"\s", name):
        raise Refusal(2, f"[qsub: illegal -N value]\n{QSUB_USAGE}")
    if abs(int(wanted.get("p", 0))) > 1024:
        raise Refusal(2, f"[qsub: illegal -p value]\n{QSUB_USAGE}")
    if not set(wanted["W"]) <= {"depend", "umask", "group_list", "x"}:
        raise _no(154, "Undefined attribute  MSG=detected presence of an unknown attribute")
    queue = wanted.get("q", state["default_queue"])
    if queue not in state["queues"]:
        raise _no(172, "Unknown queue MSG=requested queue not found")
    resources, select = _resources(server, wanted["l"], state["queues"][queue])
    array, limit = _array(wanted.get("t", ""))
    needs = _needs(server, wanted["W"].get("depend", ""))
    if len(script.encode("utf-8", "surrogateescape")) >= _LONGEST:
        raise _no(153, "Unknown Job Id Error MSG=cannot locate new job")
    number = state["next"]
    state["next"] += 1
    workdir = os.getcwd()  # noqa: PTH109 - the command of PBS does just that
    attr: Attributes = {
        "Job_Name": name, "Job_Owner": server.owner, "job_state": "H", "queue": queue, "server": state["server"],
        "Checkpoint": "u", "ctime": server.now, "Hold_Types": "u" if "h" in wanted else "n",
        "Join_Path": wanted.get("j", "n"), "Keep_Files": wanted.get("k", "n"), "Mail_Points": wanted.get("m", "a"),
        "mtime": server.now, "Priority": int(wanted.get("p", 0)), "qtime": server.now,
        "Rerunable": "False" if wanted.get("r") == "n" else "True", "Resource_List": resources, "substate": servers.HELD,
        "Variable_List": _variables(wanted, workdir, queue, state), "Submit_arguments": " ".join(argv),
        "Submit_Host": state["host"], "init_work_dir": workdir,
    }  # fmt: skip
    for letter, stream in (("o", "Output_Path"), ("e", "Error_Path")):
        suffix = f"{number}-^array_index^" if array else str(number)
        joined = attr["Join_Path"] == "oe" and letter == "e"
        path = client.path(
            wanted.get("o" if joined else letter, ""), workdir, state["host"], f"{name}.{letter}{suffix}"
        )
        attr[stream] = path
    if "A" in wanted:
        attr["Account_Name"] = wanted["A"]
    if "a" in wanted:
        attr["Execution_Time"] = _when(wanted["a"], server.now)
    if array:
        attr["array_indices_submitted"] = wanted["t"].partition("%")[0]
    job: Job = {
        "number": number, "attr": attr, "array": array, "limit": limit, "tasks": {}, "needs": needs, "argv": [],
        "script": client.keep(server.root, number, script), "select": select, "place": "scatter",
        "home": os.environ.get("HOME", "/"), "env": dict(os.environ) if "V" in wanted else {},
    }  # fmt: skip
    _bind(server, job)
    server.jobs[str(number)] = job
    return job


_FORMS = {"walltime": r"\d*(:\d+){0,3}", "cput": r"\d*(:\d+){0,3}", "mem": r"\d+[kmgt]?[bw]", "pmem": r"\d+[kmgt]?[bw]",
          "vmem": r"\d+[kmgt]?[bw]", "nodes": ".+", "procs": r"\d+", "software": ".*"}  # fmt: skip


def _resources(server: Server, asked: dict[str, str], queue: Attributes) -> tuple[Attributes, str]:
    """The Resource_List, and the same as a select."""
    for name, value in asked.items():
        if name not in _FORMS:
            raise _no(189, f"Unknown resource type  Resource_List.{name}")
        if not re.fullmatch(_FORMS[name], value.lower()):
            raise _no(168, f"Illegal attribute or resource value for Resource_List.{name}")
    found: Attributes = {name: value for name, value in asked.items() if value}
    if "walltime" in found:
        found["walltime"] = servers.clock(servers.seconds(found["walltime"]))
        most = queue.get("resources_max", {}).get("walltime", "")
        if most and servers.seconds(found["walltime"]) > servers.seconds(most):
            raise _no(190, "Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement")
    chunks = [_chunk(server, part) for part in asked.get("nodes", "1").split("+")]
    if sum(count for count, _ in chunks) > len(server.state["nodes"]):
        raise _too_much()
    if "nodes" in asked:
        found["nodect"] = sum(count for count, _ in chunks)
    return found, "+".join(f"{count}:ncpus={cores}:mpiprocs={cores}" for count, cores in chunks)


def _chunk(server: Server, text: str) -> tuple[int, int]:
    words = text.split(":")
    options = dict(word.partition("=")[::2] for word in words[1:])
    cores = int(options.pop("ppn", 1))
    if options or cores > max(int(node["ncpus"]) for node in server.state["nodes"].values()):
        raise _too_much()
    return int(words[0]), cores


def _too_much() -> Refusal:
    return _no(
        190,
        "Job exceeds queue resource limits MSG=cannot locate feasible nodes (nodes file is empty, all systems are busy, "
        "or no nodes have the requested feature)",
    )


def _array(text: str) -> tuple[list[int], int]:
    wanted, _, limit = text.partition("%")
    found: list[int] = []
    for part in wanted.split(",") if wanted else []:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            raise _no(235, "Bad Job Array Request")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found, int(limit or 0)


def _needs(server: Server, text: str) -> list[tuple[str, list[int]]]:
    needs = []
    for clause in text.split(",") if text else []:
        kind, *ids = clause.split(":")
        numbers = [int(match[0]) for one in ids if (match := re.match(r"\d+", one))]
        if any(str(number) not in server.jobs for number in numbers):
            raise _no(208, "Invalid Job Dependency")
        needs.append((kind, numbers))
    return needs


def _bind(server: Server, job: Job) -> None:
    attr = job["attr"]
    if not job["needs"]:
        server._consider(job)
        return
    attr["Hold_Types"] = attr["Hold_Types"].replace("n", "") + "s"
    for kind, numbers in job["needs"]:
        for number in numbers:
            parent = server.jobs[str(number)]
            if not parent["array"] and parent["attr"]["job_state"] not in servers.OVER:
                own = [clause for clause in parent["attr"].get("depend", "").split(",") if clause]
                own.append(f"{kind.replace('after', 'before')}:{server.name(job)}")
                parent["attr"]["depend"] = ",".join(own)
    clauses = ((kind, [server.name(server.jobs[str(number)]) for number in numbers]) for kind, numbers in job["needs"])
    attr["depend"] = ",".join(":".join([kind, *names]) for kind, names in clauses)


def _variables(wanted: dict[str, Any], workdir: str, queue: str, state: dict[str, Any]) -> dict[str, str]:
    names = ("HOME", "LOGNAME", "PATH", "SHELL", "TZ", "LANG")
    own = {f"PBS_O_{name}": os.environ[name] for name in names if name in os.environ}
    return {
        "PBS_O_QUEUE": queue, **own, **wanted["v"], "PBS_O_WORKDIR": workdir, "PBS_O_HOST": state["host"],
        "PBS_O_SERVER": state["server"],
    }  # fmt: skip


def _when(text: str, now: int) -> int:
    """`MMDDhhmm`, of this year."""
    return int(time.mktime(time.strptime(f"{time.localtime(now).tm_year}{text}", "%Y%m%d%H%M")))


# ------------------------------------------------------------------------------------------------ qstat

ORDER = [
    "Job_Name", "Job_Owner", "resources_used", "job_state", "queue", "server", "Account_Name", "Checkpoint", "ctime",
    "depend", "Error_Path", "exec_host", "Execution_Time", "Hold_Types", "Join_Path", "Keep_Files", "Mail_Points",
    "mtime", "Output_Path", "Priority", "qtime", "Rerunable", "Resource_List", "session_id", "Variable_List", "euser",
    "egroup", "queue_type", "comment", "etime", "exit_status", "submit_args", "job_array_request", "job_array_id",
    "start_time", "Walltime", "start_count", "fault_tolerant", "comp_time", "job_radix", "total_runtime",
    "submit_host", "init_work_dir", "request_version",
]  # fmt: skip
_NAMES = {
    "Exit_status": "exit_status", "Submit_arguments": "submit_args", "Submit_Host": "submit_host",
    "stime": "start_time", "run_count": "start_count", "obittime": "comp_time", "array_index": "job_array_id",
    "array_indices_submitted": "job_array_request",
}  # fmt: skip
_TIMES = {"ctime", "mtime", "qtime", "etime", "start_time", "comp_time", "Execution_Time"}
_WIDTH = 78


def qstat(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Show jobs, queues (-Q) or the server (-B)."""
    options, words = split("qstat", argv, "fn1tQBW:xu:eari")
    has = dict(options)
    if "Q" in has:
        return 0, "".join(_block("Queue", name, _queue(server, name)) for name in server.state["queues"]), ""
    if "B" in has:
        return 0, _block("Server", server.state["server"], _about(server)), ""
    found: list[tuple[Job, int | None]] = []
    errors, code = "", 0
    for word in words:
        some, problem, status = _asked(server, word, tasks="t" in has)
        found, errors, code = found + some, errors + problem, status or code
    if not words:
        found = _everything(server, tasks="t" in has)
    return code, "".join(_block("Job Id", server.name(*one), attributes(server, *one)) for one in found), errors


def _asked(server: Server, word: str, *, tasks: bool) -> tuple[list[tuple[Job, int | None]], str, int]:
    match = re.fullmatch(r"(\d+)(\[(\d*)\])?(?:\.(.+))?", word)
    if not match:
        return [], f"qstat: Unknown queue destination {word}\n", 172
    job = server.jobs.get(match[1])
    good = job is not None and bool(job["array"]) == bool(match[2]) and match[4] in {None, server.state["server"]}
    if job is None or not good or (match[3] and int(match[3]) not in job["array"]):
        return [], f"qstat: Unknown Job Id Error {_full(server, word)}\n", 153
    if match[3]:
        return [(job, int(match[3]))], "", 0
    if job["array"] and not tasks:
        return _everything(server, tasks=False), "", 0  # all that there is
    return [(job, index) for index in job["array"] or [None]], "", 0


def _everything(server: Server, *, tasks: bool) -> list[tuple[Job, int | None]]:
    return [(job, index) for job in server.jobs.values() for index in ((job["array"] if tasks else ()) or [None])]


def _full(server: Server, word: str) -> str:
    return word if "." in word else f"{word}.{server.state['server']}"


def attributes(server: Server, job: Job, index: int | None) -> Attributes:
    """What is shown of a job, an array or a task, in order."""
    one = job if index is None else job["tasks"].get(str(index), {"attr": {}})
    attr = {**job["attr"], **one["attr"]}
    if index is not None:
        attr = _task(server, job, index, attr, begun="where" in one)
    elif job["array"]:
        # The array as such is queued from its first second to its end.
        attr = {name: value for name, value in attr.items() if name not in {"qtime", "comment", "stime", "Exit_status"}}
        attr.update(job_state="F" if attr["job_state"] == "F" else "Q", etime=attr.get("etime", attr["ctime"]))
        attr = {**attr, **{name: attr[name].replace("-^array_index^", "") for name in ("Output_Path", "Error_Path")}}
    letter = attr["job_state"]
    attr["job_state"] = "C" if letter in servers.OVER else letter
    attr = {_NAMES.get(name, name): value for name, value in attr.items()}
    attr.update({
        "euser": server.state["user"], "egroup": server.state["user"], "queue_type": "E", "fault_tolerant": "False",
        "job_radix": 0, "request_version": 1,
    })  # fmt: skip
    if letter == "R" and "walltime" in attr["Resource_List"]:
        left = servers.seconds(attr["Resource_List"]["walltime"]) - (server.now - attr["start_time"])
        attr["Walltime"] = {"Remaining": left}
    if "comp_time" in attr and "start_time" in attr:
        attr["total_runtime"] = one.get("total_runtime", f"{attr['comp_time'] - attr['start_time']:.6f}")
    if "resources_used" in attr:
        known = ("cput", "vmem", "walltime", "mem", "energy_used")
        used = {name: attr["resources_used"].get(name, "0") for name in known}
        attr["resources_used"] = one.get("used") or used
    return {name: _shown(server, name, attr[name]) for name in ORDER if name in attr}


def _task(server: Server, job: Job, index: int, attr: Attributes, *, begun: bool) -> Attributes:
    held = job["attr"]["job_state"]
    own = {name: value for name, value in attr.items() if name not in {"array_indices_submitted", "depend"}}
    if not begun:
        own = {name: value for name, value in own.items() if name not in {"etime", "comment", "stime", "Exit_status"}}
        deleted = str(index) in job["tasks"]
        own["job_state"] = "F" if deleted else held if held in {"H", "W"} else "Q"
        own["mtime"] = job["tasks"][str(index)].get("deleted", server.now) if deleted else own["ctime"]
    else:
        own.pop("Hold_Types", None)
    for name in ("Output_Path", "Error_Path"):
        own[name] = own[name].replace("^array_index^", str(index))
    return {
        **own, "Job_Name": f"{own['Job_Name']}-{index}", "array_index": index,
        "Variable_List": {"PBS_ARRAYID": str(index), **own["Variable_List"]},
    }  # fmt: skip


def _shown(server: Server, name: str, value: Any) -> Any:
    if name in _TIMES:
        return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(value))
    if name == "Variable_List":
        return ",".join(f"{key}={_shown(server, key, one)}" for key, one in value.items())
    if isinstance(value, dict):
        return {key: _shown(server, key, one) for key, one in value.items()}
    text = str(value)
    for real, instead in server.state["show"]:
        text = text.replace(real, instead)
    return text


def _block(head: str, name: str, attr: Attributes) -> str:
    lines = [f"{head}: {name}\n"]
    for key, value in attr.items():
        if isinstance(value, dict):
            lines += [_folded(f"{key}.{one}", text) for one, text in value.items()]
        else:
            lines.append(_folded(key, str(value)))
    return "".join(lines) + "\n"


def _folded(name: str, value: str) -> str:
    """A line of at most 78 columns, broken after commas, or anywhere."""
    out = f"    {name} = "
    column, first = len(out), True
    for token in re.findall(r"[^,]*,|[^,]+$", value):
        if column + len(token) > _WIDTH and not first:
            out, column = out + "\n\t", 8
        first = False
        if column + len(token) <= _WIDTH and (column + len(token) < _WIDTH or token.endswith(",")):
            out, column = out + token, column + len(token)
            continue
        for letter in token:
            out, column = out + letter, column + 1
            if column == _WIDTH:
                out, column = out + "\n\t", 8
    return out + "\n"


def _queue(server: Server, name: str) -> Attributes:
    own = dict(server.state["queues"][name])
    mine = [job for job in server.jobs.values() if job["attr"]["queue"] == name]
    return {"queue_type": own.pop("queue_type"), "total_jobs": len(mine), "state_count": _counts(mine), **own}


def _counts(jobs: list[Job]) -> str:
    states = {
        "Transit": "T",
        "Queued": "Q",
        "Held": "H",
        "Waiting": "W",
        "Running": "R",
        "Exiting": "E",
        "Complete": "F",
    }
    return "".join(
        f"{word}:{sum(job['attr']['job_state'] == letter for job in jobs)} " for word, letter in states.items()
    )


def _about(server: Server) -> Attributes:
    state, jobs = server.state, list(server.jobs.values())
    host = state["server"]
    return {
        "server_state": "Active", "scheduling": str(state["scheduling"]), "total_jobs": len(jobs),
        "state_count": _counts(jobs), "acl_hosts": host, "managers": f"root@{host}", "operators": f"root@{host}",
        "default_queue": state["default_queue"], "log_events": 2047, "mail_from": "adm", "query_other_jobs": "True",
        "node_check_rate": 150, "tcp_timeout": 300, "job_stat_rate": 300, "poll_jobs": "True", "down_on_error": "True",
        "mom_job_sync": "True", "pbs_version": "master", "keep_completed": 300, "next_job_number": state["next"],
        "net_counter": "2 0 0", "moab_array_compatible": "True", "nppcu": 1, "timeout_for_job_delete": 120,
        "timeout_for_job_requeue": 120, "note_append_on_error": "True",
    }  # fmt: skip


# ---------------------------------------------------------------------------------------- other commands


def qselect(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Ids of the jobs that are as asked; of arrays, of their tasks."""
    try:
        has = dict(split("qselect", argv, "a:A:ec:h:l:N:p:q:r:s:u:")[0])
    except Refusal as refusal:
        return 2, "", refusal.text + QSELECT_USAGE
    lines = []
    for job, index in _everything(server, tasks=True):
        attr = attributes(server, job, index)
        good = has.get("N", attr["Job_Name"]) == attr["Job_Name"] and attr["job_state"] in has.get("s", "QHWRECTS")
        if good and attr["Job_Owner"].partition("@")[0] in has.get("u", server.state["user"]).split(","):
            lines.append(f"{server.name(job, index)}\n")
    return 0, "".join(lines), ""


_COMPLETE = "Request invalid for state of job MSG=invalid state for job - COMPLETE {}"


def _each(
    server: Server, command: str, words: list[str], unknown: str, act: Callable[[Job, int | None], tuple[int, str]]
) -> tuple[int, str, str]:
    code, errors = 0, ""
    for word in words:
        match = re.fullmatch(r"(\d+)(\[(\d*)\])?(?:\.[\w-]+)?", word)
        if not match:
            code, errors = 1, f"{errors}{command}: illegally formed job identifier: {word}\n"
            continue
        job = server.jobs.get(match[1])
        if job is None:
            code, errors = 153, errors + (f"{command}: {unknown.format(word)}\n" if unknown else "")
            continue
        problem, text = act(job, int(match[3]) if match[3] else None)
        if problem:
            code, errors = problem, f"{errors}{command}: {text.format(_full(server, word))}\n"
    return code, "", errors


def qdel(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """End jobs, or with -t tasks of an array."""
    options, words = split("qdel", argv, "acpt:W:m:b:")
    if not words:
        return 2, "", QDEL_USAGE
    some = dict(options).get("t", "")
    chosen = _array(some)[0] if some else []

    def delete(job: Job, index: int | None) -> tuple[int, str]:
        if job["attr"]["job_state"] in servers.OVER:
            return 170, _COMPLETE
        wanted = chosen if index is None else [index]
        for one in wanted:
            if one in job["array"]:
                server.delete_task(job, one)
                job["tasks"][str(one)].setdefault("deleted", server.now)
        if not wanted:
            server.delete(job)
        return 0, ""

    return _each(server, "qdel", words, "nonexistent job id: {}", delete)


def qhold(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Keep jobs from starting."""

    def hold(job: Job, _: int | None) -> tuple[int, str]:
        attr = job["attr"]
        if attr["job_state"] in servers.OVER:
            return 170, _COMPLETE
        if "u" not in attr["Hold_Types"]:
            attr["Hold_Types"] = "u" + attr["Hold_Types"].replace("n", "")
        if attr["job_state"] in {"Q", "W"}:
            attr.update(job_state="H", mtime=server.now)
        return 0, ""

    return _each(server, "qhold", split("qhold", argv, "h:t:")[1], "", hold)


def qrls(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Let jobs start that their owner held."""

    def release(job: Job, _: int | None) -> tuple[int, str]:
        attr = job["attr"]
        if attr["job_state"] in servers.OVER:
            return 170, _COMPLETE
        if "u" not in attr["Hold_Types"]:
            return 53, "The requested state or substate can't be set from the job's current state. {}"
        attr["Hold_Types"] = attr["Hold_Types"].replace("u", "") or "n"
        return 0, ""

    return _each(server, "qrls", split("qrls", argv, "h:t:")[1], "", release)


def qrerun(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Refuse: only managers may."""
    why = "Unauthorized Request  MSG=additional permissions required (ATR_DFLAG_MGWR | ATR_DFLAG_OPWR) {}"
    unknown = f"Unknown Job Id Error MSG=cannot locate job {{}}.{server.state['server']}"
    return _each(server, "qrerun", argv, unknown, lambda _job, _index: (159, why))


def pbsnodes(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Show the nodes."""
    del argv
    blocks = []
    for name, node in server.state["nodes"].items():
        status = f"     status = {node['status']}\n" if "status" in node else ""
        blocks.append(
            f"{name}\n     state = free\n     power_state = Running\n     np = {node['ncpus']}\n     ntype = cluster\n"
            f"{status}     mom_service_port = 15002\n     mom_manager_port = 15003\n\n"
        )
    return 0, "".join(blocks), ""


COMMANDS: dict[str, Callable[[Server, list[str]], tuple[int, str, str]]] = {
    "qsub": qsub, "qstat": qstat, "qselect": qselect, "qdel": qdel, "qhold": qhold, "qrls": qrls, "qrerun": qrerun,
    "pbsnodes": pbsnodes,
}  # fmt: skip
