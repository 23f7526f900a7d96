"""squeue once more, by pyslurm: `driver: api`.

A program of its own (`python -I -S slurm_api.py RELEASE squeue --format=FIELDS`), as pbs_api.py is and for the same
reasons. It takes the words that `hpcjobs.schedulers.slurm` gives squeue and answers in its format. Submissions stay
sbatch's, for pyslurm drops `#SBATCH` options that it does not know, and cancelling scancel's, which takes arrays and
tasks of them in one request.

Sources: pyslurm 25.11 (core/job/job.pyx, core/error.pyx) and its reference of Jobs; squeue(1).
"""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSABLE = "the library is not used: "
"""How the one line begins that is written to stderr when the command has to do it."""


class UnusableError(Exception):
    """pyslurm does not load, is another release than the cluster, or was asked for what is the command's alone."""


def _load(release: str) -> Any:
    try:
        pyslurm: Any = import_module("pyslurm")
    except Exception as error:  # it looks at the libslurm of this machine, which may fail in any way
        raise UnusableError(f"pyslurm does not load: {type(error).__name__}: {error}") from error
    version = getattr(pyslurm, "__version__", "")
    if not hasattr(pyslurm, "Jobs"):
        raise UnusableError(f"pyslurm {version} is too old: 23.2 or later is needed")
    if _release(version) != _release(release):
        raise UnusableError(f"pyslurm {version} is not of the cluster's release, Slurm {release}")
    return pyslurm


def _release(version: str) -> list[int]:
    """`23.02.7` and `23.2.0` -> 23, 2: Slurm's programs and libraries fit together by the first two."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]


def _squeue(pyslurm: Any, words: Sequence[str]) -> str:
    given = {word.partition("=")[0].lstrip("-"): word.partition("=")[2] for word in words}
    if not given.keys() <= {"me", "noheader", "states", "format", "jobs"}:
        raise UnusableError(f"squeue {' '.join(words)}")
    jobs = pyslurm.Jobs.load().values()
    if "me" in given:
        jobs = [job for job in jobs if job.user_id == os.getuid()]
    if "jobs" in given:
        jobs = [job for job in jobs if given["jobs"] in {str(job.id), str(job.array_id)}]
    return "".join(_line(job, given["format"]) + "\n" for job in jobs)


def _line(job: Any, layout: str) -> str:
    """One job, or task of an array, in squeue's letters."""
    # An array's number 0 comes as None, as that of a job that is none.
    task = job.array_task_id or 0 if job.array_id else "N/A"
    values = {
        "%F": job.array_id or job.id,
        "%K": job.array_tasks_waiting or task,
        "%T": job.state,
        "%S": job.start_time or "N/A",
        "%e": job.end_time or "N/A",
        "%N": job.allocated_nodes or "",
        "%r": job.state_reason or "None",
        "%k": job.comment or "(null)",
    }
    return "|".join(str(values[field]) for field in layout.split("|"))


def main(words: Sequence[str]) -> int:
    """`RELEASE load|squeue WORD...`; the exit status."""
    release, command, *rest = words
    try:
        pyslurm = _load(release)
        if command == "squeue":
            text = _answer(pyslurm, rest)
            sys.stdout.buffer.write(os.fsencode(text))
            sys.stdout.flush()
    except UnusableError as why:
        sys.stderr.write(f"{UNUSABLE}{why}\n")
        return 1
    return 0


def _answer(pyslurm: Any, words: Sequence[str]) -> str:
    try:
        return _squeue(pyslurm, words)
    except pyslurm.RPCError as error:
        # Whatever it is, squeue says it in the words that are understood.
        raise UnusableError(f"pyslurm: {error}") from error


if __name__ == "__main__":
    sys.path[:] = os.environ.pop("HPCJOBS_SYS_PATH", "").split(os.pathsep)
    sys.exit(main(sys.argv[1:]))
