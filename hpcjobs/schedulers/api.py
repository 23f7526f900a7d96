"""A library instead of some commands: `driver: api` (docs/adr/0016).

The library is called by a short program of its own, so that a call can be given a time limit, and that a library that
crashes takes no more with it. The program answers as the commands do.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hpcjobs.process import Completed, Runner
    from hpcjobs.schedulers import Diagnosis

# How the programs say that the command has to do it (pbs_api.py, slurm_api.py, which import nothing from here).
_UNUSABLE = "the library is not used: "


def asked_for(options: Mapping[str, Any]) -> bool:
    """Whether the site file says `driver: api`."""
    return options.get("driver") == "api"


def diagnosed(diagnosis: Diagnosis, problem: str) -> Diagnosis:
    """The diagnosis, with the driver that is in use and why it is not the one that was asked for."""
    details = {**diagnosis.details, "driver": "commands" if problem else "api"}
    return replace(diagnosis, details=details, warning=problem and f"the commands are used: {problem}")


class Library:
    """A `Runner` that lets a library answer some commands; the commands do the rest, and all that the library cannot.

    `program` is a file beside this one, which is given `words` before the command.
    """

    def __init__(self, commands: Runner, program: str, *words: str, answers: Sequence[str]) -> None:
        self._commands = commands
        self._program = (sys.executable, "-I", "-S", str(Path(__file__).with_name(program)), *words)
        self._answers = frozenset(answers)

    def problem(self, *, timeout: float, env: Mapping[str, str]) -> str:
        """Why the library cannot be used here; empty if it can."""
        try:
            answer = self._ask(("load",), timeout=timeout, env=env)
        except UnreachableError as error:
            return error.message
        if answer.code:
            words = answer.err.strip().rpartition("\n")[2].removeprefix(_UNUSABLE)
            return words or f"loading it ended with code {answer.code}"
        return ""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        keep_fds: Sequence[int] = (),
    ) -> Completed:
        """Run `argv`, through the library if it is one of those that it answers."""
        if argv[0] in self._answers:
            answer = self._ask(argv, timeout=timeout, env=env, keep_fds=keep_fds)
            # What a library that crashed was asked, the command may be asked again; but a job may have been accepted.
            crashed = answer.code < 0 and argv[0] != "qsub"
            if not crashed and _UNUSABLE not in answer.err:
                return answer
        return self._commands(argv, timeout=timeout, env=env, stdin=stdin, keep_fds=keep_fds)

    def _ask(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None, keep_fds: Sequence[int] = ()
    ) -> Completed:
        # What this Python finds, the program shall find, and nothing else: the current folder may have a pbs.py too.
        path = os.pathsep.join(filter(None, sys.path))
        environment = {**(os.environ if env is None else env), "HPCJOBS_SYS_PATH": path}
        try:
            return self._commands((*self._program, *argv), timeout=timeout, env=environment, keep_fds=keep_fds)
        except UnreachableError as error:
            error.message = error.message.replace(sys.executable, f"{argv[0]} (by its library)")
            raise
