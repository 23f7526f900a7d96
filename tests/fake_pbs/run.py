"""Jobs of the fake PBS as processes: a process group of its own, and a watcher that writes down how it ended."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fake_pbs.server import Job, Server

_FDS = 4096


def key(number: int, index: int | None) -> str:
    """A name for files."""
    return str(number) if index is None else f"{number}.{index}"


def start(server: Server, job: Job, index: int | None, one: Job) -> int:
    """Begin; its process group."""
    root, name = server.root, key(job["number"], index)
    for folder in ("ends", "spool", "aux", "tmp"):
        (root / folder).mkdir(exist_ok=True)
    (root / "ends" / name).unlink(missing_ok=True)
    nodefile = root / "aux" / server.name(job, index)
    nodefile.write_text("".join(f"{line}\n" for line in _nodefile(one)))
    environment = _environment(server, job, index, one, str(nodefile))
    Path(environment["TMPDIR"]).mkdir(mode=0o700, exist_ok=True)
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            os.setsid()
            _watch(root, name, job, environment, write)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        return int(told.read())


def _watch(root: Path, name: str, job: Job, environment: dict[str, str], tell: int) -> None:
    """Be the parent of the job until it ends. Nothing of the command that started it stays open."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    pid = os.fork()
    if pid == 0:
        try:
            _become(root, name, job, environment)
        finally:
            os._exit(126)
    with suppress(OSError):  # the child may have done it
        os.setpgid(pid, pid)
    os.write(tell, str(pid).encode())
    os.closerange(3, _FDS)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    temporary = root / "ends" / f".{name}"
    temporary.write_text(str(code))
    temporary.rename(root / "ends" / name)
    with suppress(OSError):  # nobody waits
        descriptor = os.open(root / "news", os.O_WRONLY | os.O_NONBLOCK)
        os.write(descriptor, b".")


def _become(root: Path, name: str, job: Job, environment: dict[str, str]) -> None:
    os.setpgid(0, 0)
    for number in range(1, signal.NSIG):
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
    os.umask(0o077)
    output = os.open(root / "spool" / f"{name}.OU", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    joined = job["attr"]["Join_Path"] != "n"
    error = output if joined else os.open(root / "spool" / f"{name}.ER", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(error, 2)
    os.closerange(3, _FDS)
    os.chdir(job["home"])
    argv = job["argv"] or [job["script"]]
    with suppress(OSError):
        os.execve(argv[0], argv, environment)  # noqa: S606 - it is the job
    # A file without #! is the shell's.
    os.execve("/bin/bash", ["bash", *argv], environment)  # noqa: S606


def _nodefile(one: Job) -> list[str]:
    return [name for name, chunk in one["where"] for _ in range(int(chunk["of"].get("mpiprocs", 1)))]


def _environment(server: Server, job: Job, index: int | None, one: Job, nodefile: str) -> dict[str, str]:
    """What a job finds: see job-environment.txt of the recordings."""
    attr: dict[str, Any] = job["attr"]
    name = server.name(job, index)
    chunk = one["where"][0][1]["of"]
    threads = str(chunk.get("ompthreads", chunk.get("ncpus", "1")))
    own = {
        "ENVIRONMENT": "BATCH", "HOME": job["home"], "LOGNAME": server.state["user"], "USER": server.state["user"],
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games", "SHELL": "/bin/bash",
        "PBS_ENVIRONMENT": "PBS_BATCH", "PBS_JOBID": name, "PBS_JOBNAME": attr["Job_Name"], "PBS_QUEUE": attr["queue"],
        "PBS_NODEFILE": nodefile, "PBS_NODENUM": "0", "PBS_TASKNUM": "1", "PBS_MOMPORT": "15003",
        "PBS_JOBCOOKIE": "0" * 32,
    }  # fmt: skip
    if server.torque:
        own.update({
            "PBS_VERSION": "TORQUE-6.1.3", "PBS_NUM_NODES": "1", "PBS_NUM_PPN": threads, "PBS_NP": threads,
            "PBS_O_HOME": job["home"],
        })  # fmt: skip
        if index is not None:
            own["PBS_ARRAYID"] = str(index)
    else:
        own.update({"NCPUS": threads, "OMP_NUM_THREADS": threads, "PBS_JOBDIR": job["home"]})
        if index is not None:
            own.update({"PBS_ARRAY_INDEX": str(index), "PBS_ARRAY_ID": server.name(job)})
    temporary = {"TMPDIR": str(server.root / "tmp" / f"pbs.{name}")}
    return {**job["env"], **attr["Variable_List"], **own, **temporary}


def ended(root: Path, number: int, index: int | None) -> int | None:
    """How the process ended: its exit code, or the negative number of a signal; None while it runs."""
    try:
        return int((root / "ends" / key(number, index)).read_text())
    except FileNotFoundError:
        return None


def kill(one: Job, number: int) -> None:
    """Send a signal to all of the job."""
    with suppress(ProcessLookupError):
        os.killpg(one["pid"], number)


def deliver(root: Path, job: Job, index: int | None, attr: dict[str, Any]) -> bool:
    """Bring the output to where it was asked for; whether there is such a place."""
    name, good = key(job["number"], index), True
    streams = [("OU", "Output_Path")] + ([("ER", "Error_Path")] if job["attr"]["Join_Path"] == "n" else [])
    for suffix, path in streams:
        target = Path(attr[path].partition(":")[2])
        if target.is_dir():
            target /= f"{name}.{suffix}"
        spooled = root / "spool" / f"{name}.{suffix}"
        if target == Path(os.devnull) or not spooled.exists():
            continue
        try:
            target.write_bytes(spooled.read_bytes())
            target.chmod(0o600)
        except OSError:
            good = False
    return good
