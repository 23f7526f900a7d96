"""The server of the fake PBS: jobs, queues, nodes and a clock, in one JSON file under a lock.

It works only while a command asks it something: each command lets time pass, looks which jobs have ended, and starts
those that may. Jobs are real processes (run.py), and end when those do.
"""

from __future__ import annotations

import fcntl
import json
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fake_pbs import run

Job = dict[str, Any]
Attributes = dict[str, Any]

OPENPBS, TORQUE = "openpbs", "torque"
# job.h of OpenPBS; TORQUE's are the same.
QUEUED, HELD, WAITS, TIMED, STARTING, RUNNING, EXITING, BEGUN = 10, 20, 22, 30, 41, 42, 51, 70
TERMINATED, FINISHED, FAILED = 91, 92, 93
OVER = {"F", "X"}  # both are C in TORQUE
# Seconds for which a server tries to deliver output to a folder that is not there.
_DELIVERY = 32
# Seconds after which a node tells of the job that it runs.
_FIRST_NEWS = 2
# Seconds for which TORQUE shows a job that has ended.
_KEEP_COMPLETED = 300

DEFAULT: dict[str, Any] = {
    "dialect": OPENPBS,
    "server": "pbshead",
    "host": "pbslogin",
    "user": "pat",
    "show": [],  # [folder of the test, what it is shown as]
    "clock": 0.0,
    "tick": 0.0,  # seconds that each command takes
    "real": False,  # the clock goes on by itself, and `clock` is what it is ahead of the machine's
    "address": "10.77.0.21",
    "next": 1,
    "default_queue": "workq",
    "history": True,
    "scheduling": True,
    "max_array_size": 10000,
    "max_queued": 0,  # a user's, 0 = no limit
    "kill_delay": 10,
    "queues": {
        "workq": {"queue_type": "Execution", "enabled": "True", "started": "True"},
        "shortq": {
            "queue_type": "Execution",
            "resources_max": {"walltime": "01:00:00"},
            "enabled": "True",
            "started": "True",
        },
        "stoppedq": {"queue_type": "Execution", "enabled": "True", "started": "False"},
        "disabledq": {"queue_type": "Execution", "enabled": "False", "started": "True"},
        "aclq": {
            "queue_type": "Execution",
            "acl_user_enable": "True",
            "acl_users": "quinn",
            "enabled": "True",
            "started": "True",
        },
        "routeq": {"queue_type": "Route", "route_destinations": "workq", "enabled": "True", "started": "True"},
    },
    "nodes": {
        "pbsn1": {"ncpus": 4, "mem": "24684096kb", "ngpus": 2},
        "pbsn2": {"ncpus": 4, "mem": "24684096kb"},
        "pbsn3": {"ncpus": 4, "mem": "24684096kb"},
    },
    "jobs": {},
    # Faults.
    "down": "",  # why
    "hang": [],  # commands that never answer
    "die": "",  # "before" or "after" the job is accepted, qsub is killed
    "hook": "",  # what a hook of the site says to each submission
    "ports": False,  # no reserved port is free: each command waits for 61 s
}

AS_TORQUE: dict[str, Any] = {
    **DEFAULT,
    "dialect": TORQUE,
    "server": "thead",
    "host": "thead",
    "user": "hpc",
    "default_queue": "batch",
    "queues": {
        "batch": {
            "queue_type": "Execution", "resources_max": {"walltime": "02:00:00"}, "mtime": 1795285467, "enabled": "True",
            "started": "True",
        }
    },
    "nodes": {"tn1": {"ncpus": 4}, "tn2": {"ncpus": 4}},
}  # fmt: skip


@contextmanager
def opened(root: Path) -> Iterator[Server]:
    """The server, locked; what was changed is kept, if nothing went wrong."""
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = Server(root, json.loads((root / "state.json").read_text("utf-8")))
        yield server
        server.save()


class Server:
    """All that the server knows; `state` is what is kept."""

    def __init__(self, root: Path, state: dict[str, Any]) -> None:
        self.root = root
        self.state = state
        self.torque = state["dialect"] == TORQUE

    def save(self) -> None:
        """Write the state, whole or not at all."""
        file = self.root / "state.json"
        new = file.with_suffix(".new")
        new.write_text(json.dumps(self.state), "utf-8")
        new.replace(file)

    @property
    def jobs(self) -> dict[str, Job]:
        """All jobs, by number."""
        return self.state["jobs"]  # type: ignore[no-any-return]

    @property
    def now(self) -> int:
        """Unix seconds, whole ones: PBS counts no fractions."""
        return int(self.state["clock"] + (time.time() if self.state["real"] else 0))

    @property
    def owner(self) -> str:
        """The user who asks, with the host."""
        return f"{self.state['user']}@{self.state['host']}"

    def name(self, job: Job, index: int | None = None) -> str:
        """`12.pbshead`, `12[].pbshead`, `12[3].pbshead`."""
        brackets = f"[{'' if index is None else index}]" if job["array"] else ""
        return f"{job['number']}{brackets}.{self.state['server']}"

    # ------------------------------------------------------------------------------------ what happens

    def step(self) -> None:
        """Look at everything once."""
        for job in list(self.jobs.values()):
            for index, one in parts(job):
                if one["attr"]["job_state"] in {"R", "E"}:
                    self._look(job, index, one)
        if self.torque:
            self._forget_completed()
        for job in list(self.jobs.values()):
            self._route(job)
            self._consider(job)
        if self.state["scheduling"]:
            for job in list(self.jobs.values()):
                self._start_what_may(job)

    def _forget_completed(self) -> None:
        for number, job in list(self.jobs.items()):
            if job["attr"]["job_state"] in OVER and self.now - job["attr"]["mtime"] > _KEEP_COMPLETED:
                del self.jobs[number]

    def _route(self, job: Job) -> None:
        queue = self.state["queues"][job["attr"]["queue"]]
        if queue["queue_type"] == "Route" and job["attr"]["job_state"] not in OVER:
            job["attr"].update(queue=queue["route_destinations"], qtime=self.now, mtime=self.now)

    def _consider(self, job: Job) -> None:
        """Holds and dependencies: may it be queued?"""
        attr = job["attr"]
        if attr["job_state"] not in {"H", "W"}:
            return
        verdict = self._verdict(job)
        if isinstance(verdict, int):
            self.abort(job, verdict)
            return
        waited = verdict == "yes" and "s" in attr["Hold_Types"]
        if waited:
            attr["Hold_Types"] = attr["Hold_Types"].replace("s", "") or "n"
            attr.pop("depend", None)
        if attr["Hold_Types"] != "n":
            attr.update(job_state="H", substate=HELD if verdict == "yes" else WAITS)
        elif attr.get("Execution_Time", 0) > self.now:
            attr.update(job_state="W", substate=TIMED)
        else:
            released = job["array"] and "etime" not in attr and not waited and attr["ctime"] < self.now
            attr.update(job_state="Q", substate=QUEUED, mtime=self.now)
            # An array that was held has none.
            attr.update({} if released else {"etime": self.now})

    def _verdict(self, job: Job) -> str | int:
        """Whether the jobs that it waits for let it run: yes, not yet, or the one because of which it never can."""
        waits = False
        for kind, numbers in job["needs"]:
            for number in numbers:
                parent = self.jobs.get(str(number))
                if parent is None:
                    return int(number)  # an unknown job never ends
                state = parent["attr"]["job_state"]
                if kind.startswith("after") and kind in {"after", "afterstartarray"}:
                    waits = waits or state in {"Q", "H", "W"}
                elif state not in OVER:
                    waits = True
                elif not self._lets(kind.removesuffix("array"), parent):
                    return int(number)
        return "not yet" if waits else "yes"

    def _lets(self, kind: str, parent: Job) -> bool:
        codes = [one["attr"].get("Exit_status", None) for _, one in parts(parent)] or [None]
        good = all(code == 0 for code in codes)
        return {"afterok": good, "afternotok": not good}.get(kind, True)

    def abort(self, job: Job, parent: int) -> None:
        """Remove a job that can never run; OpenPBS does so without a word."""
        attr = job["attr"]
        if self.torque:
            name = self.name(self.jobs[str(parent)])
            attr.update(Exit_status=271, comment=f"Job deleted as result of dependency on job {name}")
        attr.update(job_state="F", substate=FINISHED, mtime=self.now, history_timestamp=self.now)
        self._forget_without_history(job)

    def _forget_without_history(self, job: Job) -> None:
        if not self.state["history"] and not self.torque:
            del self.jobs[str(job["number"])]

    # --------------------------------------------------------------------------------------- running

    def _start_what_may(self, job: Job) -> None:
        attr = job["attr"]
        if attr["job_state"] not in {"Q", "B"}:
            return
        queue = self.state["queues"][attr["queue"]]
        if queue.get("started") != "True":
            attr["comment"] = "Not Running: Queue not started."
            return
        for index in waiting(job) if job["array"] else [None]:
            if job["array"] and job["limit"] and len(in_state(job, {"R", "E"})) >= job["limit"]:
                return
            where, why = self._place(job["select"], job["place"])
            if not where:
                if attr["job_state"] == "Q":
                    attr["comment"] = why
                return
            self._start(job, index, where)

    def _place(self, select: str, place: str) -> tuple[list[tuple[str, Attributes]], str]:
        """Which chunk goes where; if there is no room, why not."""
        total = {name: int(node["ncpus"]) for name, node in self.state["nodes"].items()}
        free = {name: count - sum(chunk["ncpus"] for chunk in self._on(name)) for name, count in total.items()}
        chunks: list[Attributes] = [
            {"ncpus": int(chunk.get("ncpus", 1)), "of": chunk}
            for count, chunk in read_select(select)
            for _ in range(count)
        ]
        apart = place.startswith("scatter")
        where: list[tuple[str, Attributes]] = []
        for chunk in chunks:
            taken = {name for name, _ in where} if apart else set()
            fits = [name for name in free if free[name] >= chunk["ncpus"] and name not in taken]
            if not fits and self.torque:
                return [], "Not Running: Not enough of the right type of nodes are available"
            if not fits:
                most = max(total.values())
                if all(chunk["ncpus"] > count for count in total.values()):
                    every = sum(total.values())
                    need = f"(R: {chunk['ncpus']} A: {every} T: {every})"
                    return [], f"Can Never Run: Insufficient amount of resource: ncpus {need}"
                if apart and chunk["ncpus"] <= most:
                    return [], "Not Running: Not enough free nodes available"
                left = f"(R: {chunk['ncpus']} A: {sum(free.values())} T: {sum(total.values())})"
                return [], f"Not Running: Insufficient amount of resource: ncpus {left}"
            free[fits[0]] -= chunk["ncpus"]
            where.append((fits[0], chunk))
        return where, ""

    def _on(self, node: str) -> list[Attributes]:
        return [
            chunk
            for job in self.jobs.values()
            for _, one in parts(job)
            if one["attr"]["job_state"] in {"R", "E"}
            for name, chunk in one["where"]
            if name == node
        ]

    def _start(self, job: Job, index: int | None, where: list[tuple[str, Attributes]]) -> None:
        one: Job = job
        if index is not None:
            self._begin_array(job)
            one = job["tasks"][str(index)] = {"attr": self.task(job, index)}
        hosts = "+".join(f"{name}/{self._seat(name, chunk)}" for name, chunk in where)
        one["where"] = where
        attr = one["attr"]
        vnodes = "+".join(f"({name}{_vnode(chunk['of'])})" for name, chunk in where)
        attr.update(
            job_state="R", substate=STARTING, exec_host=hosts, exec_vnode=vnodes, stime=self.now,
            mtime=self.now, run_count=int(attr.get("run_count", 0)) + 1,
            comment=f"Job started on {self._today}" if self.torque else f"Job run at {self._today} on {vnodes}",
        )  # fmt: skip
        one["pid"] = run.start(self, job, index, one)
        attr.update({"session_id": one["pid"]} if self.torque else {})

    @property
    def _today(self) -> str:
        return time.strftime("%a %b %d at %H:%M", time.localtime(self.now))

    def _seat(self, node: str, chunk: Attributes) -> str:
        """The place on the node: OpenPBS counts chunks, TORQUE cores."""
        taken = {slot for other in self._on(node) for slot in other.get("slots", ())}
        free = [slot for slot in range(10_000) if slot not in taken]
        chunk["slots"] = slots = free[: chunk["ncpus"] if self.torque else 1]
        if self.torque:
            return ranges(slots)
        return f"{slots[0]}" + (f"*{chunk['ncpus']}" if chunk["ncpus"] > 1 else "")

    def _begin_array(self, job: Job) -> None:
        if job["attr"]["job_state"] != "B":
            began = f"Job Array Began at {self._today}"
            job["attr"].update(job_state="B", substate=BEGUN, stime=self.now, mtime=self.now, comment=began)

    def task(self, job: Job, index: int) -> Attributes:
        """What a task that runs has for itself."""
        own = {key: value for key, value in job["attr"].items() if key not in _OF_PARENT}
        for stream in ("Output_Path", "Error_Path"):
            own[stream] = own[stream].replace("^array_index^", str(index))
        return {"etime": self.now, **own, "array_id": self.name(job), "array_index": index}

    def _look(self, job: Job, index: int | None, one: Job) -> None:
        """What has become of a job that runs."""
        attr = one["attr"]
        if attr["job_state"] == "E":
            if self.now >= one["until"]:
                self._finish(job, index, one, delivered=False)
            return
        # The node tells of a killed job a moment later.
        ended = None if one.get("term") == self.now else run.ended(self.root, job["number"], index)
        if ended is None and "forced" in one:
            run.kill(one, signal.SIGKILL)
            ended = 0
        if ended is None:
            self._limit(one)
            if not self.torque and attr["substate"] == STARTING and self.now >= attr["stime"] + _FIRST_NEWS:
                attr.update(
                    substate=RUNNING, mtime=attr["stime"] + _FIRST_NEWS, session_id=one["pid"], jobdir=job["home"],
                    resources_used=used(one, 0),
                )  # fmt: skip
            return
        run.kill(one, signal.SIGKILL)  # what it left behind
        attr.setdefault("jobdir", job["home"])
        attr["resources_used"] = {**used(one, self.now - attr["stime"]), **one.get("used", {})}
        attr.update({"Exit_status": self._code(job, one, ended), "mtime": self.now})
        if run.deliver(self.root, job, index, attr):
            self._finish(job, index, one, delivered=True)
        else:
            attr.update(job_state="E", substate=EXITING)
            one["until"] = self.now + _DELIVERY

    def _limit(self, one: Job) -> None:
        attr = one["attr"]
        limit = seconds(attr["Resource_List"].get("walltime", ""))
        if limit and self.now - attr["stime"] > limit and "term" not in one:
            self.tell_to_end(one, "walltime")
        elif "term" in one and self.now - one["term"] >= self.state["kill_delay"]:
            one["killed"] = True
            run.kill(one, signal.SIGKILL)

    def tell_to_end(self, one: Job, why: str) -> None:
        """SIGTERM, and later SIGKILL."""
        one.setdefault("term", self.now)
        one.setdefault("why", why)
        run.kill(one, signal.SIGTERM)

    def _code(self, job: Job, one: Job, ended: int) -> int:
        """The exit status as PBS tells it."""
        if "forced" in one:
            return int(one["forced"])
        if one.get("why") == "walltime":
            return -11 if self.torque else -29
        if one.get("why") == "deleted" and self.torque:
            return 256 + signal.SIGTERM
        if one.get("why") == "deleted":
            return 256 + (signal.SIGKILL if one.get("killed") else signal.SIGTERM)
        # The shell that a script runs under has codes of its own for signals; below `--` there is none.
        return ended if ended >= 0 else (256 if job["argv"] else 128) - ended

    def _finish(self, job: Job, index: int | None, one: Job, *, delivered: bool) -> None:
        attr = one["attr"]
        code = attr["Exit_status"]
        deleted = one.get("why") == "deleted"
        substate = TERMINATED if deleted else FAILED if code else FINISHED
        words = {-29: "and exceeded resource walltime", -27: "and exceeded resource mem"}
        end = words.get(code, f"and {'failed' if code else 'finished'}")
        attr.update(
            job_state="F" if index is None else "X", substate=substate, obittime=self.now, mtime=self.now,
            history_timestamp=self.now, Stageout_status=int(delivered),
        )  # fmt: skip
        if not deleted and not self.torque:
            attr["comment"] += f" {end}"
        if index is None:
            self._forget_without_history(job)
        else:
            self._end_array(job, attr)

    def _end_array(self, job: Job, last: Attributes) -> None:
        """A task has ended; was it the last one?"""
        code = last["Exit_status"]
        job["attr"].update({
            "mtime": self.now, "Stageout_status": last["Stageout_status"],
            "Exit_status": 0 if code == 0 else 1 if code > 0 else 2,
        })  # fmt: skip
        self.close_array(job)

    def close_array(self, job: Job) -> None:
        """The array ends with its last task."""
        if waiting(job) or in_state(job, {"R", "E"}):
            return
        attr = job["attr"]
        codes = [one["attr"].get("Exit_status", 0) for _, one in parts(job) if "where" in one]
        deleted = job.get("why") == "deleted"
        substate = TERMINATED if deleted else FAILED if any(codes) else FINISHED
        end = "terminated" if deleted else "failed" if any(codes) else "finished"
        if "comment" in attr:
            attr["comment"] += f" and {end}"
        attr.update(job_state="F", substate=substate, mtime=self.now, history_timestamp=self.now)
        if codes:
            attr["obittime"] = self.now
        for _, one in parts(job):
            one["attr"]["job_state"] = "F"
        self._forget_without_history(job)

    # ---------------------------------------------------------------------------------------- deletion

    def delete(self, job: Job) -> None:
        """End it wherever it is."""
        job["why"] = "deleted"
        for index in waiting(job) if job["array"] else []:
            job["tasks"][str(index)] = {"attr": {"job_state": "X"}}
        if not job["array"] and job["attr"]["job_state"] not in {"R", "E"}:
            attr = job["attr"]
            attr.update(job_state="F", substate=TERMINATED, mtime=self.now, history_timestamp=self.now)
            if "comment" in attr and not self.torque:
                attr["comment"] += " and terminated"
            self._forget_without_history(job)
            return
        for _, one in parts(job):
            if one["attr"]["job_state"] == "R":
                self._delete_running(one)
        if job["array"]:
            self.close_array(job)

    def delete_task(self, job: Job, index: int) -> bool:
        """End one task; whether there was something to end."""
        one = job["tasks"].get(str(index))
        if one is None:
            job["tasks"][str(index)] = {"attr": {"job_state": "X"}}
            job["attr"]["mtime"] = self.now
            self.close_array(job)
            return True
        if one["attr"]["job_state"] != "R":
            return False
        self._delete_running(one)
        return True

    def _delete_running(self, one: Job) -> None:
        if "term" not in one and not self.torque:
            one["attr"]["comment"] += f" and terminated by {self.owner}"
        self.tell_to_end(one, "deleted")


# What an array has, and its tasks have not.
_OF_PARENT = {
    "Checkpoint", "Hold_Types", "Submit_arguments", "array", "array_indices_submitted", "max_run_subjobs", "comment", "stime",
    "Exit_status", "Stageout_status", "depend",
}  # fmt: skip


def parts(job: Job) -> list[tuple[int | None, Job]]:
    """What of it has a life of its own: the tasks that are known one by one, or the job."""
    if not job["array"]:
        return [(None, job)]
    return [(int(index), one) for index, one in job["tasks"].items()]


def waiting(job: Job) -> list[int]:
    """The tasks that have not begun."""
    return [index for index in job["array"] if str(index) not in job["tasks"]]


def in_state(job: Job, states: set[str]) -> list[int]:
    """The tasks in one of these states."""
    return [int(index) for index, one in job["tasks"].items() if one["attr"]["job_state"] in states]


def used(one: Job, walltime: int) -> Attributes:
    """What a job has used; the fake measures nothing."""
    cpus = sum(chunk["ncpus"] for _, chunk in one["where"])
    return {
        "cpupercent": 0, "cput": "00:00:00", "mem": "0kb", "ncpus": cpus, "vmem": "0kb", "walltime": clock(walltime),
    }  # fmt: skip


def ranges(some: list[int], step: int = 1) -> str:
    """`1,3-5`, or with a step `1,3-7:2`."""
    runs: list[list[int]] = []
    for index in some:
        if runs and index == runs[-1][-1] + step:
            runs[-1].append(index)
        else:
            runs.append([index])
    suffix = f":{step}" if step > 1 else ""
    return ",".join(f"{found[0]}-{found[-1]}{suffix}" if len(found) > 1 else str(found[0]) for found in runs)


def clock(duration: int) -> str:
    """HH:MM:SS."""
    return f"{duration // 3600:02d}:{duration // 60 % 60:02d}:{duration % 60:02d}"


def seconds(text: str) -> int:
    """The number of seconds of HH:MM:SS."""
    total = 0
    for part in text.split(":") if text else []:
        total = total * 60 + int(part)
    return total


def read_select(text: str) -> list[tuple[int, dict[str, str]]]:
    """`2:ncpus=1:mem=1gb+1:ncpus=4` -> the chunks, how many of each."""
    found = []
    for part in text.split("+"):
        words = part.split(":")
        count = int(words.pop(0)) if words[0].isdigit() else 1
        found.append((count, dict(word.partition("=")[::2] for word in words)))
    return found


def kilobytes(text: str) -> int:
    """Of `100mb`."""
    match = re.fullmatch(r"(\d+)([kmgt]?)b?", text.lower())
    assert match, text
    return int(match[1]) << {"": 0, "k": 0, "m": 10, "g": 20, "t": 30}[match[2]]


def _vnode(chunk: dict[str, str]) -> str:
    shown = {"ncpus": "1", **chunk} if "ncpus" not in chunk else chunk
    parts_ = []
    for name, value in shown.items():
        if name in {"ncpus", "ngpus"}:
            parts_.append(f":{name}={value}")
        elif name == "mem":
            parts_.append(f":mem={kilobytes(value)}kb")
    return "".join(parts_)
