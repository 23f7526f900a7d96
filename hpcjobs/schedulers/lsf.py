"""IBM's LSF with jsrun, as Summit had it: scripts are written, to be read or moved; nothing is submitted.

Sources: bsub(1) of Spectrum LSF 10.1, and OLCF's guide to Summit ("LSF options").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from hpcjobs import paths
from hpcjobs.errors import PlanError, RefusedError
from hpcjobs.limits import Rules
from hpcjobs.schedulers import Forecast, Limits
from hpcjobs.units import MINUTE, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcjobs.model import Plan
    from hpcjobs.process import Runner

# What bsub calls the condition that a job waits for, and Slurm's word for it.
_CONDITIONS = {"after": "started", "afterok": "done", "afternotok": "exit", "afterany": "ended"}
# bsub(1), -o: the id and the index of a job; it has no pattern for the name.
_PATTERNS = {"j": "%J", "A": "%J", "a": "%I"}
_NOT_SAID = {
    "qos": "-q", "constraint": "-C", "licenses": "-L", "mem": "--mem", "mem_per_cpu": "--mem-per-cpu",
    "gpu_type": "--gpu-type",
}  # fmt: skip


class Lsf:
    """LSF, of which only the language of its scripts is known here."""

    name = "lsf"
    identified = True

    def __init__(self, options: Mapping[str, Any], runner: Runner) -> None:
        del options, runner

    def identify(self) -> dict[str, Any]:
        """Nothing is asked."""
        return {}

    def spell(self, plan: Plan) -> dict[str, Any]:
        """The `#BSUB` lines: `options`, each a flag and its value.

        Raises:
            PlanError: a field has no meaning where nodes are whole.
        """
        for field, option in _NOT_SAID.items():
            if getattr(plan, field):
                raise PlanError(f"LSF gives whole nodes here, and {option} was given", hint=f"leave out {option}")
        return {"options": tuple(_options(plan))}

    def dependency(self, kind: str, native_ids: Sequence[str]) -> str:
        """`done(12) && done(13)`."""
        if kind not in _CONDITIONS:
            raise PlanError(f"LSF has no condition {kind}", hint=f"use one of {', '.join(_CONDITIONS)}")
        return " && ".join(f"{_CONDITIONS[kind]}({native_id})" for native_id in native_ids)

    def partitions(self) -> dict[str, Any]:
        """None are asked for."""
        return {}

    def limits(self) -> Limits:
        """None are known."""
        return Limits()

    def rules(self) -> Rules:
        """None are known."""
        return Rules()

    def free(self) -> dict[str, Any]:
        """Nothing is asked."""
        return {}

    def forecast(self, script: str) -> Forecast:
        """Nothing is asked."""
        del script
        return Forecast(why="no LSF is talked to")

    def _only_written(self, *args: object, **named: object) -> NoReturn:
        """Refuse to talk to an LSF."""
        del args, named
        raise RefusedError(
            "hpcjob writes scripts for LSF, and does not talk to it", hint="hpcjob submit --dry-run shows the script"
        )

    submit = poll = accounting = target = cancel = hold = release = requeue = find = explain = diagnose = _only_written


def _options(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "-J", _name(plan)
    for flag, value in (("-q", plan.partition), ("-P", plan.account), ("-U", plan.reservation)):
        if value:
            yield flag, value
    yield "-nnodes", str(plan.shape.nodes)
    if plan.time:
        minutes = -(-int(plan.time) // MINUTE)
        yield "-W", f"{minutes // 60}:{minutes % 60:02d}"
    if plan.hold:
        yield "-H", ""
    if plan.requeue is not None:
        yield "-r" if plan.requeue else "-rn", ""
    if plan.dependency:
        yield "-w", plan.dependency
    if plan.export == "none":
        yield "-env", "none"
    yield "-cwd", plan.workdir
    yield "-o", _file(plan.output, plan.name)
    if plan.error != plan.output:
        yield "-e", _file(plan.error, plan.name)
    yield from (_directive(text) for text in plan.directives)


def _name(plan: Plan) -> str:
    name = re.sub(r"[^A-Za-z0-9_.+-]", "_", plan.name) or "job"
    if not plan.array:
        return name
    if 0 in parse_indices(plan.array):
        raise PlanError(f"LSF counts the tasks of an array from 1, and {plan.array} has 0", hint="-a 1-10")
    return f"{name}[{plan.array}]" + (f"%{plan.array_limit}" if plan.array_limit else "")


def _file(pattern: str, name: str) -> str:
    """The file with LSF's patterns, which pad no numbers."""

    def one(match: re.Match[str]) -> str:
        if match[1] and match[2] in "jAa":
            raise PlanError(f"LSF pads no numbers, and {match[0]} was asked for", hint=f"write %{match[2]}")
        return _PATTERNS.get(match[2]) or paths.expand_pattern(match[0], native_id="", name=name)

    return re.sub(r"%(\d{0,2})([%jAaxu])", one, pattern)


def _directive(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"""(-[A-Za-z_]+)(?:\s+(?:"([^"]*)"|'([^']*)'|(\S.*)))?""", text.strip())
    if not match:
        raise PlanError(f"the directive {text!r} is not understood", hint="write it as bsub has it: -alloc_flags smt1")
    # The template quotes what has to be.
    return match[1], match[2] or match[3] or match[4] or ""
