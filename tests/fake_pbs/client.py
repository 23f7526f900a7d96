"""The commands of the fake PBS: what OpenPBS's qsub, qstat, qselect, qdel, qhold, qrls, qrerun and pbsnodes answer.

Only what hpcjob asks is there, and what the recordings in tests/data/pbs show of it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fake_pbs import server as servers
from tests.fake_pbs.server import Attributes, Job, Server

VERSION = "23.06.06"
QSUB_USAGE = """\
usage: qsub [-a date_time] [-A account_string] [-c interval]
	[-C directive_prefix] [-e path] [-f ] [-h ] [-I [-X]] [-j oe|eo] [-J X-Y[:Z]]
	[-k keep] [-l resource_list] [-m mail_options] [-M user_list]
	[-N jobname] [-o path] [-p priority] [-P project] [-q queue] [-r y|n]
	[-R o|e|oe] [-S path] [-u user_list] [-W otherattributes=value...]
	[-v variable_list] [-V ] [-z] [script | -- command [arg1 ...]]
       qsub --version
"""
QDEL_USAGE = """\
usage:
	qdel [-W force|suppress_email=X] [-x] job_identifier...
	qdel --version
"""
QSELECT_USAGE = """\
usage: qselect [-a [op]date_time] [-A account_string] [-c [op]interval]
	[-h hold_list] [-H] [-J] [-l resource_list] [-N name] [-p [op]priority]
	[-q destination] [-r y|n] [-s states] [-t subopt[op]date_time] [-T] [-P project_name]
	[-x] [-u user_name]
       qselect --version
"""
# Longer lists of jobs to wait for made a server write beyond its buffer (OpenPBS, 2026).
_MOST_PARENTS = 250
_NAME = re.compile(r"[A-Za-z0-9_+.-]+")
_ID = re.compile(r"(\d+)(\[([\d-]*)\])?(?:\.([\w-]+))?")


class Refusal(Exception):  # noqa: N818 - it is an answer
    """A command's complaint, and its exit status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def main(root: Path, name: str, argv: list[str]) -> int:
    """Answer one command; the exit status."""
    with (root / "calls").open("a") as log:
        log.write(json.dumps([name, *argv]) + "\n")
    with servers.opened(root) as server:
        hangs = name in server.state["hang"]
        dies = server.state["die"] if name == "qsub" else ""
        if not hangs and dies != "before":
            server.state["clock"] += server.state["tick"]
            code, out, err = answer(server, name, argv)
    if hangs:
        signal.pause()
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdout.write(out)
    sys.stderr.write(err)
    return code


def answer(server: Server, name: str, argv: list[str]) -> tuple[int, str, str]:
    """Exit status, standard output and error."""
    if server.torque:
        from tests.fake_pbs import torque

        return torque.answer(server, name, argv)
    if argv == ["--version"]:
        return 0, f"pbs_version = {VERSION}\n", ""
    if server.state["down"]:
        return _down(server, name, argv)
    err = ""
    if server.state["ports"]:
        server.state["clock"] += 61
        err = "pbs_iff: all reserved ports in use\n"
    server.step()
    code, out, more = COMMANDS[name](server, argv)
    if not server.state["down"]:
        server.step()
    return code, out, err + more


def _down(server: Server, name: str, argv: list[str]) -> tuple[int, str, str]:
    host = server.state["server"]
    words = {
        "qdel": f"Couldn't connect to cluster: {host}",
        "pbsnodes": f"pbsnodes: cannot connect to server {host}, error=15010",
    }.get(name, f"{name}: cannot connect to server {host} (errno=15010)")
    out = _json({**_head(server)}) + "\n" if name == "qstat" and "json" in argv else ""
    return {"qstat": 255, "pbsnodes": 1}.get(name, 162), out, f"Connection refused\n{words}\n"


def split(name: str, argv: Sequence[str], known: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Options and the words after them; `known` is getopt(3)'s: a colon after those with a value."""
    options: list[tuple[str, str]] = []
    left = list(argv)
    while left and re.match(r"-.", left[0]):
        word = left.pop(0)
        if word == "--":
            return options, ["--", *left]
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter == "-" or letter not in known.replace(":", ""):
                raise Refusal(2, f"{name}: invalid option -- '{letter}'\n")
            if f"{letter}:" in known:
                options.append((letter, letters or (left.pop(0) if left else "")))
                break
            options.append((letter, ""))
    return options, left


# ------------------------------------------------------------------------------------------------- qsub

_QSUB = "a:A:c:C:e:fhIj:J:k:l:m:M:N:o:p:P:q:r:R:S:u:v:VW:Xz"
# Those that come as often as there are values.
_MANY = {"l", "W", "v"}


def qsub(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Take a job."""
    try:
        if any(option == "I" for option, _ in _options(argv)[0]):
            return _interactive(server, argv)
        job = _job(server, argv)
    except Refusal as refusal:
        return refusal.code, "", refusal.text
    silent = any(option == "z" for option, _ in split("qsub", argv, _QSUB)[0])
    return 0, "" if silent else server.name(job) + "\n", ""


def _interactive(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """What a person sees of `qsub -I` (OpenPBS, src/cmds/qsub.c): two lines, then the shell of a login on the node."""
    wanted = merge(split("qsub", argv, _QSUB)[0], [])
    name = server.name(_accept(server, wanted, " ".join(argv), script="true\n", command=[], name="STDIN"))
    sys.stdout.write(f"qsub: waiting for job {name} to start\nqsub: job {name} ready\n\n")
    sys.stdout.flush()
    os.chdir(Path.home())
    os.execvp("bash", ["bash", "--norc", "-i"])  # noqa: S606 - as the node does


def _options(argv: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    try:
        return split("qsub", argv, _QSUB)
    except Refusal as refusal:
        raise Refusal(2, refusal.text + QSUB_USAGE) from None


def _job(server: Server, argv: list[str]) -> Job:
    options, words = _options(argv)
    command = words[1:] if words[:1] == ["--"] else []
    if not command and len(words) > 1:
        raise Refusal(2, QSUB_USAGE)
    script = "" if command else _script(words[0]) if words else sys.stdin.read()
    prefix = next((value for option, value in options if option == "C"), "#PBS")
    own = list(_directives(script, prefix)) if prefix else []
    wanted = merge(options, own)
    name = Path(words[0]).name if words and not command else "STDIN"
    name = Path(command[0]).name if command else name
    return _accept(server, wanted, " ".join(argv), script=script, command=command, name=name)


def _script(path: str) -> str:
    try:
        file = Path(path)
        if file.is_dir():
            raise Refusal(1, "qsub: script not a file\n")
        text = file.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        raise Refusal(1, "qsub: script file:: No such file or directory\n") from None
    except PermissionError:
        raise Refusal(8, "qsub: opening script file:: Permission denied\n") from None
    if "\r\n" in text:
        raise Refusal(1, "qsub: script contains cr, lf\n")
    return text


def _directives(script: str, prefix: str) -> Iterator[tuple[str, str]]:
    """The options in the script, before its first command."""
    for line in script.splitlines():
        if line.startswith(prefix):
            text = line.removeprefix(prefix).strip()
            try:
                options, rest = split("qsub", shlex.split(text), _QSUB)
            except Refusal as refusal:
                raise Refusal(1, f"{refusal.text}qsub: directive error: {text} \n") from None
            if rest:
                raise Refusal(1, f"qsub: directive error: {text} \n")
            yield from options
        elif line.strip() and not line.startswith(("#", ":")):
            return


def merge(options: list[tuple[str, str]], own: list[tuple[str, str]]) -> dict[str, Any]:
    """What the command line says wins over the script; of resources, one by one."""
    found: dict[str, Any] = {letter: {} for letter in _MANY}
    for letter, value in (*own, *options):
        if letter not in _MANY:
            found[letter] = value
            continue
        if letter == "W" and "=" not in value:
            raise _illegal("W")
        parts = value.split(",") if letter == "v" else [value] if letter == "W" else re.split(r",(?=\w+=)|\s+", value)
        for part in parts:
            key, equals, content = part.partition("=")
            if letter == "v" and not key:
                raise Refusal(1, "qsub: cannot send environment with the job\n")
            if letter == "v" and not equals:
                if key not in os.environ:
                    raise Refusal(1, "qsub: cannot send environment with the job\n")
                content = os.environ[key]
            found[letter].pop(key, None)
            found[letter][key] = content
    return found


def _illegal(letter: str, before: str = "") -> Refusal:
    return Refusal(2, f"{before}qsub: illegal -{letter} value\n{QSUB_USAGE}")


def _accept(
    server: Server, wanted: dict[str, Any], arguments: str, *, script: str, command: list[str], name: str
) -> Job:
    state = server.state
    name = wanted.get("N", name)
    array, limit = _array(server, wanted)
    _check_values(name, wanted)
    resources = _resources(wanted["l"])
    needs = _needs(wanted["W"].get("depend", ""))
    queue = _queue(server, wanted.get("q", state["default_queue"]), resources)
    if state["hook"]:
        raise Refusal(32, f"qsub: {state['hook']}\n")
    waiting = sum(job["attr"]["job_state"] not in servers.OVER for job in server.jobs.values())
    if state["max_queued"] and waiting + max(1, len(array)) > state["max_queued"]:
        raise Refusal(38, "qsub: would exceed complex's per-user limit\n")
    number = state["next"]
    state["next"] += 1
    workdir = os.getcwd()  # noqa: PTH109 - the command of PBS does just that
    suffix = f"{number}.^array_index^" if array else str(number)
    attr: Attributes = {
        "Job_Name": name, "Job_Owner": server.owner, "job_state": "H", "queue": queue, "server": state["server"],
        "Checkpoint": "u", "ctime": server.now, "Hold_Types": "u" if "h" in wanted else "n",
        "Join_Path": wanted.get("j", "n"), "Keep_Files": wanted.get("k", "n"), "Mail_Points": wanted.get("m", "a"),
        "mtime": server.now, "Priority": int(wanted.get("p", 0)), "qtime": server.now,
        "Rerunable": "False" if wanted.get("r") == "n" else "True", "Resource_List": resources, "substate": servers.HELD,
        "Variable_List": _variables(wanted, workdir, queue, state["host"]), "Submit_arguments": arguments,
        "project": wanted.get("P", "_pbs_project_default"), "Submit_Host": state["host"],
    }  # fmt: skip
    for letter, stream in (("o", "Output_Path"), ("e", "Error_Path")):
        attr[stream] = path(wanted.get(letter, ""), workdir, state["host"], f"{name}.{letter}{suffix}")
    given = {"A": "Account_Name", "S": "Shell_Path_List", "M": "Mail_Users"}
    attr.update({attribute: wanted[letter] for letter, attribute in given.items() if letter in wanted})
    attr.update({key: value for key, value in wanted["W"].items() if key in {"umask", "group_list"}})
    if "a" in wanted:
        attr["Execution_Time"] = _when(wanted["a"])
    if command:
        attr["executable"] = f"<jsdl-hpcpa:Executable>{command[0]}</jsdl-hpcpa:Executable>"
    if command[1:]:
        attr["argument_list"] = "".join(f"<jsdl-hpcpa:Argument>{word}</jsdl-hpcpa:Argument>" for word in command[1:])
    if array:
        attr.update({"array": "True", "array_indices_submitted": wanted["J"].partition("%")[0]})
        attr.update({"max_run_subjobs": limit} if limit else {})
    job: Job = {
        "number": number, "attr": attr, "array": array, "limit": limit, "tasks": {}, "needs": needs, "argv": command,
        "script": "", "select": resources["select"], "place": resources["place"], "home": os.environ.get("HOME", "/"), "env": dict(os.environ) if "V" in wanted else {},
    }  # fmt: skip
    if not command:
        job["script"] = keep(server.root, number, script)
    _bind(server, job)
    server.jobs[str(number)] = job
    return job


def keep(root: Path, number: int, script: str) -> str:
    (root / "spool").mkdir(exist_ok=True)
    file = root / "spool" / f"{number}.SC"
    file.write_bytes(script.encode("utf-8", "surrogateescape"))
    file.chmod(0o700)
    return str(file)


def _check_values(name: str, wanted: dict[str, Any]) -> None:
    if len(name) > 230:
        raise Refusal(2, "qsub: Job name is too long \n")
    if not _NAME.fullmatch(name):
        raise _illegal("N")
    allowed = {"j": "oe|eo|n", "r": "y|n", "p": r"-?\d{1,4}", "k": "[oedn]+", "m": "[abejn]+", "a": r"[\d.]+"}
    for letter, pattern in allowed.items():
        if letter in wanted and not re.fullmatch(pattern, wanted[letter]):
            raise _illegal(letter)
    if abs(int(wanted.get("p", 0))) > 1024:
        raise _illegal("p")
    for letter in "oe":
        if not wanted.get(letter, "").isascii():
            raise _illegal(letter)
    if "comment" in wanted["W"]:
        raise Refusal(155, "qsub: Cannot set attribute, read only or insufficient permission  comment\n")
    if not set(wanted["W"]) <= {"depend", "umask", "group_list", "block", "sandbox"}:
        raise Refusal(154, "qsub: Error (15002) submitting job\n")


def _array(server: Server, wanted: dict[str, Any]) -> tuple[list[int], int]:
    if "J" not in wanted:
        return [], 0
    text, percent, limit = wanted["J"].partition("%")
    match = re.fullmatch(r"(\d+)-(\d+)(?::(\d+))?", text)
    first, last, step = (int(match[1]), int(match[2]), int(match[3] or 1)) if match else (0, 0, 0)
    if "I" in wanted:
        words = "qsub: interactive and array job submission cannot be used together\n"
        raise Refusal(2, words + QSUB_USAGE)
    if not step or first >= last:
        raise _illegal("J")
    if wanted.get("r") == "n":
        raise Refusal(2, "qsub:  cannot submit non-rerunable Array Job\n" + QSUB_USAGE)
    if percent and not limit.isdigit():
        raise Refusal(166, "qsub: Error (15014) submitting job\n")
    found = range(first, last + 1, step)
    if len(found) > server.state["max_array_size"]:
        raise Refusal(3, "qsub: Array job exceeds server or queue size limit\n")
    return list(found), int(limit or 0)


# The resources of the recorded server, and what their values look like.
_SIZE = r"\d+([kmgt]?[bw]?|[KMGT][BW]?)"
_IN_CHUNK = {
    "ncpus": r"\d+", "mpiprocs": r"\d+", "ompthreads": r"\d+", "ngpus": r"\d+", "mem": _SIZE, "vmem": _SIZE,
    "host": ".+", "vnode": ".+", "arch": ".+",
}  # fmt: skip
_JOB_WIDE = {"walltime": r"\d*(:\d+){0,2}(\.\d+)?", "cput": r"\d+(:\d+){0,2}", "software": ".*"}


def _resources(asked: dict[str, str]) -> Attributes:
    """The Resource_List, sorted, with the totals of a select."""
    for name, value in asked.items():
        if name in {"select", "place", "nodes"}:
            continue
        pattern = {**_IN_CHUNK, **_JOB_WIDE}.get(name)
        if pattern is None:
            words = f"Unknown resource Resource_List.{name}"
            raise Refusal(166 if "+" in name else 187, f"qsub: {_bad(name)}\n" if "+" in name else f"qsub: {words}\n")
        if not re.fullmatch(pattern, value):
            raise Refusal(166, f"qsub: {_bad(name)}\n")
    found: Attributes = {name: value for name, value in asked.items() if name in _JOB_WIDE and value}
    if found.get("walltime"):
        found["walltime"] = servers.clock(int(-(-servers.seconds(found["walltime"].partition(".")[0]) // 1)))
    if "nodes" in asked:
        return dict(sorted({**found, **_old_nodes(asked["nodes"])}.items()))
    single = {name: asked[name] for name in _IN_CHUNK if name in asked}
    if single and ("select" in asked or "place" in asked):
        raise Refusal(
            5, f'qsub: "-lresource=" cannot be used with "select" or "place", resource is: {next(iter(single))}\n'
        )
    place = asked.get("place", "free" if "select" in asked else "pack")
    if not re.fullmatch(r"(free|pack|scatter|vscatter)?(:?(excl|exclhost|shared))?(:?group=\w+)?", place):
        raise Refusal(166, f"qsub: {_bad('place')}\n")
    words = ":".join(f"{name}={single[name]}" for name in sorted(single))
    select = asked.get("select", f"1:{words or 'ncpus=1'}")
    return dict(sorted({**found, "select": select, "place": place, **_totals(select)}.items()))


def _bad(name: str) -> str:
    return f"Illegal attribute or resource value Resource_List.{name}"


def _old_nodes(text: str) -> Attributes:
    match = re.fullmatch(r"(\d+)(?::ppn=(\d+))?", text)
    if not match:
        raise Refusal(166, f"qsub: {_bad('nodes')}\n")
    count, each = int(match[1]), int(match[2] or 1)
    return {
        "mpiprocs": count * each, "ncpus": count * each, "nodect": count, "nodes": text, "place": "scatter",
        "select": f"{count}:ncpus={each}:mpiprocs={each}",
    }  # fmt: skip


def _totals(select: str) -> Attributes:
    if select == "0":
        raise Refusal(166, "qsub: Illegal attribute or resource value\n")
    total: dict[str, int] = {}
    for part in select.split("+"):
        if not re.fullmatch(r"(\d+|\d+:[^:=]+=[^:]*|[^:=\d][^:=]*=[^:]*)(:[^:=]+=[^:]*)*", part) or part == "":
            raise Refusal(166, f"qsub: {_bad('select')}\n")
    for count, chunk in servers.read_select(select):
        for name, value in chunk.items():
            if name in _JOB_WIDE:
                raise Refusal(166, f"qsub: {_bad('select')}\n")
            if name not in _IN_CHUNK:
                raise Refusal(187, f"qsub: Unknown resource: {name}\n")
            if not re.fullmatch(_IN_CHUNK[name], value):
                raise Refusal(166, f"qsub: Illegal attribute or resource value select.{name}\n")
        counted = {"ncpus": "1", **chunk}
        for name in ("ncpus", "mpiprocs", "ngpus"):
            if name in counted:
                total[name] = total.get(name, 0) + count * int(counted[name])
        if "mem" in chunk:
            total["mem"] = total.get("mem", 0) + count * servers.kilobytes(chunk["mem"])
        total["nodect"] = total.get("nodect", 0) + count
    return {name: _size(value) if name == "mem" else value for name, value in total.items()}


def _size(amount: int) -> str:
    for unit in ("kb", "mb", "gb"):
        if amount % 1024 or unit == "gb":
            return f"{amount}{unit}"
        amount //= 1024
    raise AssertionError


def _queue(server: Server, name: str, resources: Attributes) -> str:
    if len(name) > 15:
        raise Refusal(2, f"qsub: illegally formed destination: {name}\n")
    queue = server.state["queues"].get(name)
    if queue is None:
        raise Refusal(170, "qsub: Unknown queue\n")
    if queue["enabled"] != "True":
        raise Refusal(173, "qsub: Queue is not enabled\n")
    if queue.get("acl_users", server.state["user"]) != server.state["user"]:
        raise Refusal(159, "qsub: Unauthorized Request \n")
    most = queue.get("resources_max", {}).get("walltime", "")
    if most:
        resources.setdefault("walltime", most)
        if servers.seconds(resources["walltime"]) > servers.seconds(most):
            raise Refusal(188, "qsub: Job violates queue and/or server resource limits\n")
    return name


def _needs(text: str) -> list[tuple[str, list[int]]]:
    needs = []
    for clause in text.split(",") if text else []:
        kind, *ids = clause.split(":")
        for one in ids:
            match = _ID.fullmatch(one)
            if match and match[3]:
                raise _illegal("W", "cannot have dependancy on subjob or range\n")
            if not match:
                raise _illegal("W")
        needs.append((kind, [int(re.match(r"\d+", one)[0]) for one in ids]))  # type: ignore[index]
    return needs


def _bind(server: Server, job: Job) -> None:
    """Note at both ends who waits for whom."""
    count = sum(len(numbers) for _, numbers in job["needs"])
    if count > _MOST_PARENTS:
        server.state["down"] = f"crashed by a list of {count} jobs to wait for"
    attr = job["attr"]
    if not job["needs"]:
        server._consider(job)
        return
    attr["Hold_Types"] = attr["Hold_Types"].replace("n", "") + "s"
    attr["substate"] = servers.WAITS
    own = []
    for kind, numbers in job["needs"]:
        names = []
        for number in numbers:
            parent = server.jobs.get(str(number))
            names.append(server.name(parent) if parent else f"{number}.{server.state['server']}")
            if parent and parent["attr"]["job_state"] not in servers.OVER:
                _wanted_by(parent, kind.replace("after", "before"), f"{server.name(job)}@{server.state['server']}")
        own.append(":".join([kind, *(f"{name}@{server.state['server']}" for name in names)]))
    attr["depend"] = ",".join(own)


def _wanted_by(parent: Job, kind: str, child: str) -> None:
    clauses = [clause for clause in parent["attr"].get("depend", "").split(",") if clause]
    for at, clause in enumerate(clauses):
        if clause.startswith(f"{kind}:"):
            clauses[at] = f"{clause}:{child}"
            break
    else:
        clauses.append(f"{kind}:{child}")
    parent["attr"]["depend"] = ",".join(clauses)


def _variables(wanted: dict[str, Any], workdir: str, queue: str, host: str) -> dict[str, str]:
    names = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL")
    own = {f"PBS_O_{name}": os.environ[name] for name in names if name in os.environ}
    return {
        **own, "PBS_O_INTERACTIVE_AUTH_METHOD": "resvport", "PBS_O_INTERACTIVE_ENCRYPT_METHOD": "",
        "PBS_O_WORKDIR": workdir, "PBS_O_SYSTEM": "Linux", **wanted["v"], "PBS_O_QUEUE": queue, "PBS_O_HOST": host,
    }  # fmt: skip


def path(asked: str, workdir: str, host: str, name: str) -> str:
    if not asked:
        return f"{host}:{workdir}/{name}"
    return asked if re.match(r"[\w.-]+:/", asked) else f"{host}:{os.path.join(workdir, asked)}"  # noqa: PTH118


def _when(text: str) -> int:
    digits, _, rest = text.partition(".")
    return int(time.mktime(time.strptime(digits + (rest or "00"), "%Y%m%d%H%M%S")))


# ------------------------------------------------------------------------------------------------ qstat

ORDER = [
    "Job_Name", "Job_Owner", "resources_used", "job_state", "queue", "server", "Account_Name", "Checkpoint", "ctime",
    "depend", "Error_Path", "exec_host", "exec_vnode", "group_list", "Execution_Time", "Hold_Types", "Join_Path",
    "Keep_Files", "Mail_Points", "Mail_Users", "mtime", "Output_Path", "Priority", "qtime", "Rerunable",
    "Resource_List", "stime", "obittime", "session_id", "Shell_Path_List", "jobdir", "substate", "Variable_List",
    "comment", "etime", "umask", "run_count", "Stageout_status", "Exit_status", "Submit_arguments", "executable",
    "argument_list", "array", "array_state_count", "array_indices_submitted", "array_indices_remaining", "array_id",
    "array_index", "history_timestamp", "project", "Submit_Host", "max_run_subjobs",
]  # fmt: skip
_TIMES = {"ctime", "mtime", "qtime", "stime", "obittime", "etime", "Execution_Time"}
_NO_HISTORY = "PBS is not configured to maintain job history"
_USE_X = "Job has finished, use -x or -H to obtain historical job information"


def qstat(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Show jobs, queues (-Q) or the server (-B)."""
    options, words = split("qstat", argv, "fF:D:ExtQBJu:")
    has = dict(options)
    form, delimiter = has.get("F", "text"), has.get("D", "|")
    if "Q" in has:
        return _show_queues(server, words, form, delimiter)
    if "B" in has:
        return 0, _layout(server, "Server", {server.state["server"]: _about(server)}, form, delimiter), ""
    if "x" in has and not server.state["history"]:
        errors = "".join(f"qstat: {_NO_HISTORY} {_full(server, word)}\n" for word in words or [""])
        return 0, _layout(server, "Jobs", {}, form, delimiter), errors
    found, errors, code = _find(server, words, past="x" in has, tasks="t" in has, express="E" in has)
    shown = [(server.name(job, index), attributes(server, job, index)) for job, index in found]
    if form == "dsv":
        return code, "".join(_dsv("Job Id: ", name, attr, delimiter) for name, attr in shown), errors
    return code, _layout(server, "Jobs", dict(shown), form, delimiter), errors


Found = list[tuple[Job, "int | None"]]


def _find(server: Server, words: list[str], *, past: bool, tasks: bool, express: bool) -> tuple[Found, str, int]:
    if not words:
        every = [job for job in server.jobs.values() if past or job["attr"]["job_state"] not in servers.OVER]
        return [one for job in every for one in _with_tasks(job, tasks=tasks)], "", 0
    found: Found = []
    errors, code, known = "", 0, False
    for word in words:
        match = _ID.fullmatch(word)
        if match is None or match[4] not in {None, server.state["server"]}:
            if express:
                return [], "qstat: Express option can only be used with job ids\n", 1
            queue = not word[0].isdigit()
            text = f"Unknown queue destination {word}" if queue else f"illegally formed job identifier: {word}"
            errors, code = f"{errors}qstat: {text}\n", 170 if queue else 1
            continue
        some = _one(server, match)
        over = bool(some) and some[0][0]["attr"]["job_state"] in servers.OVER
        if some and (past or not over):
            known = True
            job, index = some[0]
            found += _with_tasks(job, tasks=tasks) if index is None else some
        elif not express:
            text = f"{_full(server, word)} {_USE_X}" if some else f"Unknown Job Id {_full(server, word)}"
            errors, code = f"{errors}qstat: {text}\n", 35 if some else 153
    if express and not known:
        return [], f"qstat: Unknown Job Id {_full(server, words[-1])}\n", 153
    if express:
        found.sort(key=lambda one: one[0]["number"])
    return found, errors, code


def _with_tasks(job: Job, *, tasks: bool) -> Found:
    return [(job, None), *((job, index) for index in job["array"])] if tasks else [(job, None)]


def _one(server: Server, match: re.Match[str]) -> Found:
    """What an id stands for: a job, an array, a task or a range of tasks."""
    job = server.jobs.get(match[1])
    if job is None or bool(job["array"]) != bool(match[2]):
        return []
    if not match[3]:
        return [(job, None)]
    first, _, last = match[3].partition("-")
    return [(job, index) for index in range(int(first), int(last or first) + 1) if index in job["array"]]


def _full(server: Server, word: str) -> str:
    return word if not word or "." in word else f"{word}.{server.state['server']}"


def attributes(server: Server, job: Job, index: int | None) -> Attributes:
    """What is shown of a job or a task, in order."""
    attr = dict(job["attr"])
    if index is None and job["array"]:
        waiting, over = servers.waiting(job), attr["job_state"] == "F"
        gone = [one for one in servers.in_state(job, {"X", "F"}) if not (over and "where" in job["tasks"][str(one)])]
        counts = (len(waiting), len(servers.in_state(job, {"R"})), len(servers.in_state(job, {"E"})), len(gone))
        attr["array_state_count"] = "Queued:{} Running:{} Exiting:{} Expired:{}".format(*counts)
        attr["array_indices_remaining"] = servers.ranges(waiting, job["array"][1] - job["array"][0]) or "-"
    elif index is not None:
        one = job["tasks"].get(str(index))
        if one and "where" in one:
            attr = dict(one["attr"])
        else:
            attr = {key: value for key, value in attr.items() if key not in _ARRAY_ONLY}
            attr["job_state"] = one["attr"]["job_state"] if one else "Q"
            attr["substate"] = servers.QUEUED if attr["substate"] == servers.BEGUN else attr["substate"]
            attr.update({"comment": "Subjob finished"} if one else {})
    return {name: _shown(server, name, attr[name]) for name in ORDER if name in attr}


_ARRAY_ONLY = {
    "array", "array_indices_submitted", "max_run_subjobs", "history_timestamp", "project", "Submit_Host"
}  # fmt: skip


def _shown(server: Server, name: str, value: Any) -> Any:
    if name in _TIMES:
        return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(value))
    if isinstance(value, dict):
        return {key: _shown(server, key, one) for key, one in value.items()}
    text = str(value)
    for real, instead in server.state["show"]:
        text = text.replace(real, instead)
    return text


def _dsv(head: str, name: str, attr: Attributes, delimiter: str) -> str:
    parts = [f"{head}{name}"]
    for key, value in attr.items():
        if key == "Variable_List":
            value = ",".join(f"{one}={_escaped(text).replace(',', chr(92) + ',')}" for one, text in value.items())  # noqa: PLW2901
            parts.append(f"{key}={value}")
        elif isinstance(value, dict):
            parts += [f"{key}.{one}={_escaped(str(text))}" for one, text in value.items()]
        else:
            parts.append(f"{key}={_escaped(str(value))}")
    return delimiter.join(parts) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _layout(server: Server, what: str, found: dict[str, Attributes], form: str, delimiter: str) -> str:
    if form == "json":
        return _json({**_head(server), **({what: found} if found else {})}) + "\n"
    head = {"Jobs": "Job Id: ", "Queue": "Queue: ", "Server": "Server: ", "nodes": "Name="}[what]
    return "".join(_dsv(head, name, attr, delimiter) for name, attr in found.items())


def _head(server: Server) -> Attributes:
    return {"timestamp": server.now, "pbs_version": VERSION, "pbs_server": server.state["server"]}


# Whatever they look like.
_STRINGS = {"Job_Name", "Account_Name", "project", "pbs_version"}


def _json(value: Any, depth: int = 0, name: str = "") -> str:
    """As cJSON prints it, with what looks like a number as one."""
    if isinstance(value, dict):
        tabs = "\t" * (depth + 1)
        lines = [f"{tabs}{json.dumps(key)}:\t{_json(one, depth + 1, key)}" for key, one in value.items()]
        return "{\n" + "".join(f"{line},\n" for line in lines)[:-2] + ("\n" if lines else "") + "\t" * depth + "}"
    text = str(value)
    if re.fullmatch(r"-?\d+", text) and name not in _STRINGS:
        return str(int(text))
    return json.dumps(text, ensure_ascii=False)


def _show_queues(server: Server, words: list[str], form: str, delimiter: str) -> tuple[int, str, str]:
    queues = server.state["queues"]
    for word in words:
        if word not in queues:
            return 170, _layout(server, "Queue", {}, form, delimiter), f"qstat: Unknown queue {word}\n"
    found = {name: _queue_shown(server, name) for name in words or queues}
    return 0, _layout(server, "Queue", found, form, delimiter), ""


def _queue_shown(server: Server, name: str) -> Attributes:
    mine = [job for job in server.jobs.values() if job["attr"]["queue"] == name]
    own = dict(server.state["queues"][name])
    shown = {"queue_type": own.pop("queue_type"), "total_jobs": len(mine), "state_count": _counts(mine)}
    return {**shown, **own}


def _counts(jobs: list[Job]) -> str:
    states = {"Transit": "T", "Queued": "Q", "Held": "H", "Waiting": "W", "Running": "R", "Exiting": "E", "Begun": "B"}
    return "".join(
        f"{word}:{sum(job['attr']['job_state'] == letter for job in jobs)} " for word, letter in states.items()
    )


def _about(server: Server) -> Attributes:
    state, jobs = server.state, list(server.jobs.values())
    history = {"job_history_enable": "True", "job_history_duration": "336:00:00"} if state["history"] else {}
    return {
        "server_state": "Active", "server_host": state["server"], "scheduling": str(state["scheduling"]),
        "total_jobs": len(jobs), "state_count": _counts(jobs), "default_queue": state["default_queue"],
        "max_array_size": state["max_array_size"], "pbs_version": VERSION, **history,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------- other commands


def qselect(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Ids of the jobs that are as asked."""
    try:
        options, _words = split("qselect", argv, "a:A:c:h:HJl:N:p:q:r:s:t:TP:xu:")
    except Refusal as refusal:
        return 2, "", refusal.text + QSELECT_USAGE
    has = dict(options)
    if len(has.get("N", "n")) > 230 or not _NAME.fullmatch(has.get("N", "n")):
        return 2, "", f"qselect: illegal -N value\n{QSELECT_USAGE}"
    if "x" in has and not server.state["history"]:
        return 0, "", f"qselect: {_NO_HISTORY}\n"
    checks: dict[str, Callable[[Job], bool]] = {
        "N": lambda job: job["attr"]["Job_Name"] == has["N"],
        "A": lambda job: job["attr"].get("Account_Name") == has["A"],
        "P": lambda job: job["attr"]["project"] == has["P"],
        "q": lambda job: job["attr"]["queue"] == has["q"],
        "u": lambda job: job["attr"]["Job_Owner"].partition("@")[0] in has["u"].split(","),
        "s": lambda job: job["attr"]["job_state"] in has["s"],
        "J": lambda job: bool(job["array"]),
    }
    found = [
        job
        for job in server.jobs.values()
        if ("x" in has or job["attr"]["job_state"] not in servers.OVER)
        and all(check(job) for letter, check in checks.items() if letter in has)
    ]
    lines = []
    for job in found:
        each = job["array"] if "T" in has and job["array"] else [None]
        lines += [server.name(job, index) for index in each]
    return 0, "".join(f"{line}\n" for line in lines), ""


def _each(
    server: Server, command: str, words: list[str], act: Callable[[Job, int | None], tuple[int, str]]
) -> tuple[int, str, str]:
    """Do it to each of the words, and to what is left of a range; the last error is the exit status."""
    code, errors = 0, ""
    for word in words:
        match = _ID.fullmatch(word)
        if match is None or match[4] not in {None, server.state["server"]}:
            code, errors = 1, f"{errors}{command}: illegally formed job identifier: {word}\n"
            continue
        found = _one(server, match)
        if not found:
            code, errors = 153, f"{errors}{command}: Unknown Job Id {_full(server, word)}\n"
        for job, index in found:
            problem, text = act(job, index)
            if problem and len(found) == 1:
                code, errors = problem, f"{errors}{command}: {text.format(_full(server, word))}\n"
    return code, "", errors


def qdel(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """End jobs."""
    try:
        options, words = split("qdel", argv, "W:x")
    except Refusal as refusal:
        return 2, "", refusal.text + QDEL_USAGE
    if not words:
        return 2, "", QDEL_USAGE

    def delete(job: Job, index: int | None) -> tuple[int, str]:
        if job["attr"]["job_state"] in servers.OVER:
            if ("x", "") in options:
                del server.jobs[str(job["number"])]
                return 0, ""
            return 35, "Job has finished {}"
        if index is None:
            server.delete(job)
        elif not server.delete_task(job, index):
            return 168, "Request invalid for state of job {}"
        return 0, ""

    known = [bool((match := _ID.fullmatch(word)) and _one(server, match)) for word in words]
    if len(known) > 1 and any(known) and not known[-1]:
        server.state["down"] = f"crashed by qdel {' '.join(words)}"
        return _down(server, "qdel", argv)
    return _each(server, "qdel", words, delete)


def qhold(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Keep jobs from starting."""
    options, words = split("qhold", argv, "h:")

    def hold(job: Job, _: int | None) -> tuple[int, str]:
        attr = job["attr"]
        if attr["job_state"] in servers.OVER:
            return 35, "Job has finished"
        if ("h", "s") in options:
            return 159, "Unauthorized Request  {}"
        attr["Hold_Types"] = "u" + attr["Hold_Types"].replace("n", "").replace("u", "")
        if attr["job_state"] in {"Q", "W"}:
            attr.update(job_state="H", substate=servers.HELD, mtime=server.now)
        return 0, ""

    return _each(server, "qhold", words, hold)


def qrls(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Let jobs start that their owner held."""

    def release(job: Job, _: int | None) -> tuple[int, str]:
        attr = job["attr"]
        if attr["job_state"] in servers.OVER:
            return 35, "Job has finished"
        attr["Hold_Types"] = attr["Hold_Types"].replace("u", "") or "n"
        return 0, ""

    return _each(server, "qrls", split("qrls", argv, "h:")[1], release)


def qrerun(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Refuse: only managers may."""
    return _each(server, "qrerun", argv, lambda _job, _index: (159, "Unauthorized Request  {}"))


def pbsnodes(server: Server, argv: list[str]) -> tuple[int, str, str]:
    """Show the nodes."""
    has = dict(split("pbsnodes", argv, "aF:D:")[0])
    found = {
        name: {
            "Mom": name, "ntype": "PBS", "state": "free", "pcpus": 2,
            "resources_available": dict(sorted({"arch": "linux", "host": name, **node, "vnode": name}.items())),
            "resources_assigned": {}, "resv_enable": "True", "sharing": "default_shared", "license": "l",
        }
        for name, node in server.state["nodes"].items()
    }  # fmt: skip
    return 0, _layout(server, "nodes", found, has.get("F", "json"), has.get("D", "|")), ""


COMMANDS: dict[str, Callable[[Server, list[str]], tuple[int, str, str]]] = {
    "qsub": qsub, "qstat": qstat, "qselect": qselect, "qdel": qdel, "qhold": qhold, "qrls": qrls, "qrerun": qrerun,
    "pbsnodes": pbsnodes,
}  # fmt: skip
