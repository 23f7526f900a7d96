"""A stub of `srun`, with the options of Pyxis, of CSCS' Container Engine, and of Shifter's plugin.

Grammar: Slurm 22.05's `srun --help` and SchedMD/slurm src/common/slurm_opt.c (which option takes a value); srun(1) for
--cpu-bind, --export and numbers; messages and exit codes as seen from srun 22.05.8. `STUB_SPANK` names the plugins
the site has (default: "pyxis,ce,shifter"); an option of another one is unknown. `STUB_MPI` lists the --mpi types.
A program that is itself a stub is asked as well: what it understood is "inner", and what it refuses, srun returns.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import edf, pyxis
from tests.stubs.grammar import GETOPT, Grammar, Option, Parsed, Refusal, Value, accept, flags, guard, run, valued
from tests.stubs.install import PROGRAMS
from tests.stubs.programs import shifter

_CPU_BIND = (
    r"(q|quiet|v|verbose|no|none|rank|rank_ldom|sockets?|cores?|threads?|ldoms?|boards?|map_(cpu|ldom):[\dx,*]+|"
    r"mask_(cpu|ldom):[\da-fA-Fx,*]+)"
)
_MPI = "none,pmi2,pmix,pmix_v2,pmix_v3,pmix_v4,pmix_v5,cray_shasta,openmpi,list"


def _number(name: str, least: int) -> Option:
    names = tuple(name.split(","))

    def check(text: str) -> None:
        if not text.isdigit() or int(text) < least:
            raise Refusal(f'srun: error: Invalid numeric value "{text}" for {names[0]}.')

    return Option(names, check=check)


def _form(name: str, pattern: str, message: str, value: Value = "one") -> Option:
    def check(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise Refusal(f"srun: error: {message.format(text)}")

    return Option(tuple(name.split(",")), value, check=check)


def _cpu_bind(text: str) -> None:
    if not re.fullmatch(rf"{_CPU_BIND}(,{_CPU_BIND})*", text.lower()):
        raise Refusal(
            f'srun: error: unrecognized --cpu-bind argument "{text}"\nsrun: fatal: Failed to parse --cpu-bind= values.'
        )


_GPUS = r"([A-Za-z][\w.-]*:)?\d+(,([A-Za-z][\w.-]*:)?\d+)*"
_MEMORY = r"\d+[KMGTkmgt]?[Bb]?"
_GRES = "Invalid generic resource (gres) specification"
SHARED: tuple[Option, ...] = (
    _number("--ntasks,-n", 1),
    _number("--cpus-per-task,-c", 1),
    _number("--ntasks-per-node,--tasks-per-node", 0),
    _number("--ntasks-per-socket", 1),
    _number("--ntasks-per-core", 1),
    _number("--threads-per-core", 1),
    _number("--cpus-per-gpu", 1),
    _form("--nodes,-N", r"\d+[kKmM]?(-\d+[kKmM]?)?", '"{0}" is not a valid node count'),
    *(_form(name, _GPUS, _GRES) for name in ("--gpus,-G", "--gpus-per-node", "--gpus-per-socket", "--gpus-per-task")),
    *(_form(name, _MEMORY, "Invalid --mem specification: {0}") for name in ("--mem", "--mem-per-cpu", "--mem-per-gpu")),
    *valued("--account,-A --acctg-freq --bb --bbf --begin,-b --comment --cluster-constraint --clusters,-M"),
    *valued("--constraint,-C --container --core-spec,-S --cores-per-socket --cpu-freq --deadline --delay-boot"),
    *valued("--dependency,-d --chdir,-D --distribution,-m --error,-e --exclude,-x --export --extra-node-info,-B"),
    *valued("--gpu-bind --gpu-freq --gres --gres-flags --hint --input,-i --job-name,-J --licenses,-L --mail-type"),
    *valued("--mail-user --mcs-label --mem-bind --mincpus --network --nodelist,-w --open-mode --output,-o"),
    *valued("--partition,-p --power --priority --profile --qos,-q --reservation --signal --sockets-per-node"),
    *valued("--switches --thread-spec --time,-t --time-min --tmp --wckey"),
    *flags("--contiguous --hold,-H --overcommit,-O --oversubscribe,-s --quiet,-Q --reboot --spread-job"),
    *flags("--use-min-nodes --verbose,-v --help,-h --usage --version,-V"),
    *(Option(tuple(name.split(",")), "maybe") for name in ("--exclusive", "--nice", "--no-kill,-k", "--propagate")),
)
ONLY_SRUN: tuple[Option, ...] = (
    _form("--kill-on-bad-exit,-K", r"[01]?", 'Invalid numeric value "{0}" for --kill-on-bad-exit.', "maybe"),
    Option(("--cpu-bind", "--cpu_bind"), check=_cpu_bind),
    *valued("--mpi --bcast-exclude --epilog --het-group --jobid --prolog --relative,-r --slurmd-debug --task-epilog"),
    *valued("--task-prolog --threads,-T --wait,-W"),
    *flags(
        "--disable-status,-X --exact --label,-l --multi-prog --no-allocate,-Z --preserve-env,-E --quit-on-interrupt"
    ),
    *flags("--unbuffered,-u"),
    *(
        Option((name,), "maybe")
        for name in ("--bcast", "--compress", "--overlap", "--pty", "--resv-ports", "--send-libs")
    ),
    Option(("--immediate", "-I"), "maybe"),
)
ONLY_SBATCH: tuple[Option, ...] = (
    *valued("--array,-a --batch --export-file --gid --uid --wait-all-nodes --wrap"),
    *flags("--ignore-pbs --no-requeue --parsable --requeue --test-only --wait,-W"),
    Option(("--get-user-env",), "maybe"),
)
_SHIFTER = (
    *valued("--image,--shifter.image --volume,--shifter.volume --module,--shifter.module"),
    *flags("--ccm"),
)


def _grammar(own: tuple[Option, ...], environ: Mapping[str, str], program: str) -> Grammar:
    plugins = {"pyxis": pyxis.OPTIONS, "ce": edf.OPTIONS, "shifter": _SHIFTER}
    wanted = environ.get("STUB_SPANK", "pyxis,ce,shifter").split(",")
    added = tuple(option for name in wanted if name for option in plugins[name])
    style = replace(
        GETOPT,
        code=255,
        unknown=f"{program}: {GETOPT.unknown}",
        missing=f"{program}: {GETOPT.missing}",
        surplus=f"{program}: {GETOPT.surplus}",
        usage=f'Try "{program} --help" for more information',
    )
    return Grammar((*SHARED, *own, *added), style)


def exported(text: str) -> list[str]:
    """The words of --export: commas part them, but for those between single quotes."""
    return [word for word in re.findall(r"(?:'[^']*'|[^,])+", text) if word]


def _mpi(kind: str, environ: Mapping[str, str]) -> None:
    if kind and kind not in environ.get("STUB_MPI", _MPI).split(","):
        raise Refusal(
            f"srun: error: Couldn't find the specified plugin name for mpi/{kind} looking at all files\n"
            f"srun: error: Invalid MPI type '{kind}', --mpi=list for acceptable types"
        )


def _container(given: Parsed, environ: Mapping[str, str]) -> dict[str, Any]:
    container = pyxis.read(given, environ)
    if given.has("environment"):
        container = {**container, **edf.read(given.last("environment"), environ)}
    return container


def _inner(command: list[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """What the program understood, if it is a stub."""
    module = PROGRAMS.get(Path(command[0]).name)
    if not module or module == "srun":
        return {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = importlib.import_module(f"tests.stubs.programs.{module}").main(command[1:], environ)
    if code:
        raise Refusal(f"srun: error: node1: task 0: Exited with exit code {code}", code)
    text = said.getvalue()
    return dict(json.loads(text)) if text.startswith("{") else {"text": text}


def header(script: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a job whose script has these `#SBATCH` lines; an unknown option is refused.

    A # begins a comment, unless there is a backslash before it: images of enroot have one in their names.
    """
    lines = script.splitlines()
    end = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    words = [
        word for line in lines[:end] if line.startswith("#SBATCH ") for word in shlex.split(line[8:], comments=True)
    ]
    given = _grammar(ONLY_SBATCH, environ, "sbatch").parse(words)
    if given.rest:
        raise Refusal(f"sbatch: error: Invalid directive: {given.rest[0]}")
    _container(given, environ)
    return {**environ, **shifter.spank(given, environ)}


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    given = _grammar(ONLY_SRUN, environ, "srun").parse(argv)
    if given.has("version"):
        sys.stdout.write("slurm-wlm 22.05.8\n")
        return 0
    _mpi(given.last("mpi"), environ)
    if not given.rest:
        raise Refusal("srun: fatal: No command given to execute.")
    plugins = {option.key for option in (*pyxis.OPTIONS, *edf.OPTIONS, *_SHIFTER)}
    told = shifter.spank(given, environ)
    return accept(
        "srun",
        given.rest,
        slurm={key: values[-1] for key, values in given.values.items() if key not in plugins},
        export=exported(given.last("export")),
        shifter=told,
        inner=_inner(given.rest, {**environ, **told}),
        **_container(given, environ),
    )


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be srun."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
