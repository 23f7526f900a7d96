"""The only place that starts programs.

Everything that talks to a scheduler takes a `Runner`, so that a test can hand in answers instead.
Every call has a timeout, runs in a session of its own (so that the whole group can be ended) and speaks
the C locale (so that its output can be read).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from hpcjobs.errors import UnreachableError

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Seconds between asking a program that ran out of time to end and killing it.
_GRACE = 2.0


@dataclass(frozen=True)
class Completed:
    """What a program answered. Bytes that are not UTF-8 survive as surrogates."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str


class Runner(Protocol):
    """Something that runs a command to its end."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        keep_fds: Sequence[int] = (),
    ) -> Completed:
        """Run `argv`, at most `timeout` seconds.

        `env` replaces the environment (the C locale is added); `keep_fds` stay open in the program.

        Raises:
            UnreachableError: the program does not exist, or did not end in time (`maybe_done`).
        """


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    keep_fds: Sequence[int] = (),
) -> Completed:
    """The `Runner` that really runs."""
    environment = {**(os.environ if env is None else env), "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}
    log = _log()
    if log:
        log.debug("run %s", argv)
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            pass_fds=tuple(keep_fds),
            start_new_session=True,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise UnreachableError(
            f"{argv[0]} cannot be run here: {error.strerror}",
            hint="is this machine a login node of the site, and is the program on PATH? try: hpcjob doctor",
        ) from error
    with process:
        try:
            out, err = process.communicate(stdin or None, timeout=timeout)
        except subprocess.TimeoutExpired:
            end_group(process.pid, process)
            raise UnreachableError(
                f"{argv[0]} did not answer within {timeout:g} s",
                hint="the scheduler may be busy: try again in a minute",
                maybe_done=True,
            ) from None
        except BaseException:
            end_group(process.pid, process)
            raise
    if log:
        log.info("%s: exit %d after %.2f s", shlex.join(argv), process.returncode, time.monotonic() - begin)
        log.debug("exit %d out %r err %r", process.returncode, out[:2000], err[:2000])
    return Completed(tuple(argv), process.returncode, out, err)


def foreground(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """Run a program at the terminal (its output goes to stderr) until it ends; its exit code.

    Raises:
        UnreachableError: the program does not exist.
    """
    if log := _log():
        log.info("%s", shlex.join(argv))
    try:
        return subprocess.run(list(argv), stdout=sys.stderr, env=env, check=False).returncode
    except OSError as error:
        raise UnreachableError(f"{argv[0]} cannot be run here: {error.strerror}", hint="is it on PATH?") from error


def become(argv: Sequence[str]) -> NoReturn:
    """Replace this process by a program, which has its input, output and signals from then on.

    Raises:
        UnreachableError: the program does not exist.
    """
    if log := _log():
        log.info("%s", shlex.join(argv))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606 - which is the point
    except OSError as error:
        raise UnreachableError(f"{argv[0]} cannot be run here: {error.strerror}", hint="is it on PATH?") from error


def in_terminal(argv: Sequence[str], *, when: str, typed: str) -> int:
    """Run a program in a terminal of its own, joined to this one; its exit code.

    When it has written what `when` (a regular expression) matches, `typed` is typed into it.

    Raises:
        UnreachableError: the program does not exist, or there is no terminal here.
    """
    import pty
    import re
    import shutil

    if not (os.isatty(0) and shutil.which(argv[0])):
        why = "there is no such program" if os.isatty(0) else "its input is no terminal"
        raise UnreachableError(f"{argv[0]} cannot be run here: {why}", hint="type it in a terminal of a login node")
    if log := _log():
        log.info("%s", shlex.join(argv))
    said = b""

    def relay(descriptor: int) -> bytes:
        nonlocal said, typed
        data = os.read(descriptor, 1024)
        said = (said + data)[-4096:]
        if typed and re.search(when.encode(), said):
            _same_size(descriptor)
            os.write(descriptor, typed.encode("utf-8", "surrogateescape"))
            typed = ""
        return data

    status = pty.spawn(list(argv), relay)
    return os.waitstatus_to_exitcode(status)


def _same_size(descriptor: int) -> None:
    """Give a terminal as many lines and columns as this one has, now and whenever that changes."""
    import fcntl
    import termios

    def copy(*_: object) -> None:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))

    copy()
    signal.signal(signal.SIGWINCH, copy)


def _log() -> logging.Logger | None:
    # Who listens has imported it; for the others the import would be a twentieth of `hpcjob status`.
    module = sys.modules.get("logging")
    return module.getLogger("hpcjobs.process") if module else None


def end_group(pid: int, process: subprocess.Popen[str]) -> None:
    """End a process group: ask, wait a little, kill."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            continue
        return


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | Path,
    stdout: int,
    stderr: int,
    keep_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and do not wait for it (the local scheduler's jobs)."""
    if log := _log():
        log.debug("spawn %s", argv)
    return subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=dict(env),
        cwd=cwd,
        pass_fds=tuple(keep_fds),
        start_new_session=True,
    )


def spawn_python_daemon(module: str, *args: str, log_path: Path) -> None:
    """Start `python -m module` detached from this process, terminal and session.

    Variables of a job that this process may be part of (`HPCJOB_…`) are not passed on.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HPCJOB_")}
    with log_path.open("ab") as out:
        # setsid(1) forks and ends at once, so that the daemon is nobody's child that waits to be reaped.
        subprocess.run(
            ["setsid", "--fork", sys.executable, "-m", module, *args],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            cwd="/",
            check=True,
        )
