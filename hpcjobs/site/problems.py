"""What is wrong with a file, in words: pydantic's findings rewritten, and checks that span several fields."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast

from hpcjobs import capabilities, containers, modules, plan, shell
from hpcjobs.errors import HpcjobError, PlanError
from hpcjobs.model import JobSpec, Partition, Site
from hpcjobs.mpi.settle import WITH_OPTION
from hpcjobs.site.yamlfile import dotted
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from pydantic import TypeAdapter

    from hpcjobs.site.yamlfile import Loc

T = TypeVar("T")
Level = Literal["error", "warning", "advice"]
Place = tuple["Path", int]
LEVELS: tuple[Level, ...] = ("error", "warning", "advice")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file; with level `advice`, one thing that could be better."""

    level: Level
    path: str  # partitions.debug.max_time; empty for the file as a whole
    message: str
    hint: str = ""
    file: str = ""
    line: int = 0  # 0 = not known

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(filter(None, (where, self.path, self.message)))


@dataclass(frozen=True)
class Known:
    """Names that exist in this installation; an empty collection is not checked against."""

    schedulers: Collection[str] = ()
    launchers: Collection[str] = ()
    runtimes: Collection[str] = ()
    templates: Collection[str] = ()


ANY_NAME = Known()


@dataclass(frozen=True)
class Finding:
    """A problem that has no place in a file yet."""

    loc: Loc
    message: str
    hint: str = ""
    level: Level = "error"

    def at(self, place: Place) -> Problem:
        """The problem, in its file and line."""
        return Problem(self.level, dotted(self.loc), self.message, self.hint, str(place[0]), place[1])


def as_error(problems: Iterable[Problem], error: type[HpcjobError], *, then: str) -> HpcjobError:
    """One error that tells all problems; `then` is what to type once they are corrected."""
    found = sorted(problems, key=lambda problem: (problem.file, problem.line))
    if len(found) == 1:
        return error(str(found[0]), hint=found[0].hint)
    rows = [f"  {problem}" + (f"; {problem.hint}" if problem.hint else "") for problem in found]
    return error("\n".join([f"{len(found)} problems:", *rows]), hint=f"correct them, then: {then}")


# ------------------------------------------------------------------------------------ field by field


@cache
def adapter(cls: Any) -> TypeAdapter[Any]:
    """The validator of a dataclass of the model; made once, since that takes time."""
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def build(cls: type[T], data: dict[str, Any], findings: list[Finding], at: Loc = ()) -> T | None:
    """The validated value, or None and a finding for each thing wrong; `at` is where `data` stands in its file."""
    from pydantic import ValidationError

    try:
        return cast("T", adapter(cast("Any", cls)).validate_python(data))
    except ValidationError as problem:
        for error in problem.errors(include_url=False):
            message, hint = _words(cls, error)
            loc = tuple(part for part in error["loc"] if part != "[key]")
            findings.append(Finding((*at, *loc), message, hint))
        return None


def _words(cls: type, error: Any) -> tuple[str, str]:
    kind, value = error["type"], error["input"]
    shown = _shown(value)
    if kind == "unexpected_keyword_argument":
        return "there is no such key", nearest(str(error["loc"][-1]), fields_at(cls, error["loc"][:-1]))
    if kind == "value_error":
        message, _, hint = str(error["ctx"]["error"]).partition("; ")
        return message, hint
    if kind == "literal_error":
        choices = [choice for choice in re.findall(r"'([^']*)'", error["ctx"]["expected"]) if choice]
        return f"{shown} is none of {', '.join(choices)}", nearest(str(value), choices)
    if kind == "tuple_type":
        return f"{shown} is not a list", f"write [{value}]" if isinstance(value, str) else "write [a, b]"
    if kind in {"dataclass_type", "dict_type"}:
        known = ", ".join(fields_at(cls, error["loc"])[:4])
        return f"{shown} is not a mapping", "write `key: value` lines below it" + (f" ({known})" if known else "")
    if isinstance(value, (dict, list)):
        return f"{shown} is not a single value", "write one value"
    message, hint = _EXPECTED.get(kind.split("_")[0], (f"{{}}: {error['msg']}", ""))
    return message.format(shown), hint


# What a scalar should have been, by the first word of pydantic's error type.
_EXPECTED = {
    "int": ("{} is not a whole number", "write digits only: 4"),
    "float": ("{} is not a number", "write, say, 30 or 0.5"),
    "bool": ("{} is neither true nor false", "write true or false"),
    "string": ("{} is not text", "write a value; in quotes, if it is the word null"),
}


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value)
    return repr(text if len(text) <= 60 else text[:60] + "…")  # noqa: PLR2004 - a line of a terminal


def fields_at(cls: Any, loc: Iterable[str | int]) -> list[str]:
    """The keys of the mapping at `loc` below the dataclass; empty if they are free."""
    for part in loc:
        cls = _inside(cls, part)
    return [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _inside(annotation: Any, part: str | int) -> Any:
    if dataclasses.is_dataclass(annotation):
        found = typing.get_type_hints(annotation).get(str(part))
    else:
        found = next((a for a in reversed(typing.get_args(annotation)) if a is not ...), None)
    if typing.get_origin(found) in {Union, types.UnionType}:
        found = next(a for a in typing.get_args(found) if a is not type(None))
    return found


# ------------------------------------------------------------------------------ across several fields


def check_site(site: Site, known: Known = ANY_NAME) -> list[Finding]:
    """What is wrong with a site beyond its single fields; first errors, then warnings and advice."""
    rules: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: _numbers(site, ()),
        lambda: _partitions(site),
        lambda: _qos(site),
        lambda: _documented(site),
        lambda: _required(site),
        lambda: _written(site),
        lambda: _folders(site),
        lambda: _detection(site),
        lambda: _kinds(site, known),
        lambda: _suspicious(site),
    )
    found = [finding for rule in rules for finding in rule()]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def _numbers(value: Any, loc: Loc) -> Iterator[Finding]:
    if isinstance(value, (int, float)):
        if not math.isfinite(value) or value < 0:
            yield Finding(loc, f"{value} is not possible", "write 0 or more")
    elif dataclasses.is_dataclass(value):
        for f in dataclasses.fields(value):
            yield from _numbers(getattr(value, f.name), (*loc, f.name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, (*loc, key))


def _partitions(site: Site) -> Iterator[Finding]:
    default = [name for name, partition in site.partitions.items() if partition.default]
    for name in default[1:]:
        yield Finding(("partitions", name, "default"), f"{default[0]} is the default already", "keep one of the two")
    chosen = site.defaults.get("partition", "")
    if chosen and site.partitions and chosen not in site.partitions:
        yield Finding(("defaults", "partition"), f"there is no partition {chosen!r}", nearest(chosen, site.partitions))
    for index, name in enumerate(site.partition_order):
        if name not in site.partitions:
            yield Finding(("partition_order", index), f"there is no partition {name!r}", nearest(name, site.partitions))
    places: list[tuple[Loc, dict[str, Any]]] = [(("gpu", "defaults"), site.gpu.defaults)]
    places += [(("partitions", name, "defaults"), partition.defaults) for name, partition in site.partitions.items()]
    for loc, given in places:
        other = given.get("partition", "")
        if other and loc[0] == "partitions":
            hint = "write `queue`, if the scheduler has another name for it"
            yield Finding((*loc, "partition"), "a partition cannot choose another", hint)
        elif other and site.partitions and other not in site.partitions:
            yield Finding((*loc, "partition"), f"there is no partition {other!r}", nearest(other, site.partitions))
    for name, partition in site.partitions.items():
        yield from _sizes(("partitions", name), partition)


def _qos(site: Site) -> Iterator[Finding]:
    for name, qos in site.qos.items():
        for index, partition in enumerate(qos.partitions):
            if site.partitions and partition not in site.partitions:
                loc: Loc = ("qos", name, "partitions", index)
                yield Finding(loc, f"there is no partition {partition!r}", nearest(partition, site.partitions))
        if qos.max_nodes and qos.min_nodes > qos.max_nodes:
            yield Finding(("qos", name, "min_nodes"), f"{qos.min_nodes} is more than the most, {qos.max_nodes}",
                          "write a smaller number")  # fmt: skip


def _documented(site: Site) -> Iterator[Finding]:
    """Whether what the file says of itself can be so."""
    if site.checked and not _DAY.fullmatch(site.checked):
        yield Finding(("checked",), f"{site.checked!r} is not a day", "write 2026-11-22")
    for index, path in enumerate(site.unverified):
        if not _has(site, path.split(".")):
            hint = "write it as `hpcjob site show --origin` does: partitions.gpu.max_time"
            yield Finding(("unverified", index), f"there is no value {path!r}", hint, "warning")


_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def _has(value: Any, path: Sequence[str]) -> bool:
    """Whether a value is there, and was given: not empty."""
    if not path:
        return value not in (None, "", 0, (), {})
    for length in range(1, len(path) + 1):  # the name of a partition may hold a dot
        name = ".".join(path[:length])
        if isinstance(value, dict) and name in value:
            return _has(value[name], path[length:])
    if isinstance(value, dict) or not dataclasses.is_dataclass(value) or not hasattr(value, path[0]):
        return False
    return _has(getattr(value, path[0]), path[1:])


def _sizes(loc: Loc, partition: Partition) -> Iterator[Finding]:
    nodes, least, most = partition.nodes, partition.min_nodes, partition.max_nodes
    if nodes and most > nodes:
        yield Finding((*loc, "max_nodes"), f"{most} is more than the {nodes} nodes there are", f"write {nodes}")
    if least > (most or nodes or least):
        yield Finding((*loc, "min_nodes"), f"{least} is more than the most, {most or nodes}", "write a smaller number")


def _required(site: Site) -> Iterator[Finding]:
    known = [f.name for f in dataclasses.fields(JobSpec)]
    places: list[tuple[Loc, tuple[str, ...]]] = [(("require",), site.require)]
    places += [(("partitions", name, "require"), p.require) for name, p in site.partitions.items()]
    for loc, names in places:
        for index, name in enumerate(names):
            if name not in known:
                yield Finding((*loc, index), f"{name!r} is not a field of a job", nearest(name, known))


def _written(site: Site) -> Iterator[Finding]:
    """What would stop every job of the site, when its script is written."""
    checks: list[tuple[Loc, Callable[[], object]]] = [
        (("module_init",), partial(shell.line, site.module_init)),
        (("scratch",), partial(shell.expand, site.scratch)),
    ]
    checks += [(("env", name), partial(shell.variable_name, name)) for name in site.env]
    checks += [(("mpi", "env", name), partial(shell.variable_name, name)) for name in site.mpi.env]
    checks += [(("gpu", "rank_env", name), partial(shell.variable_name, name)) for name in site.gpu.rank_env]
    checks += [(loc, partial(modules.parse, item)) for loc, item in _modules(site)]
    checks += [(("bind", i), partial(containers.parse_bind, text, expand=True)) for i, text in enumerate(site.bind)]
    checks += [
        (("mpi", "bind", i), partial(containers.parse_bind, text, expand=True)) for i, text in enumerate(site.mpi.bind)
    ]
    if site.scheduler.kind == "slurm":
        check = partial(plan.check_directive, of_site=True)
        checks += [(("directives", i), partial(check, text)) for i, text in enumerate(site.directives)]
        for name, partition in site.partitions.items():
            at: Loc = ("partitions", name, "directives")
            checks += [((*at, i), partial(check, text)) for i, text in enumerate(partition.directives)]
    for loc, check_one in checks:
        try:
            check_one()
        except PlanError as error:  # noqa: PERF203 - everything that is wrong is told
            yield Finding(loc, error.message, error.hint)


def _modules(site: Site) -> Iterator[tuple[Loc, str]]:
    places: list[tuple[Loc, tuple[str, ...]]] = [((), site.modules)]
    places += [(("partitions", name), partition.modules) for name, partition in site.partitions.items()]
    places += [(("runtimes", index), runtime.modules) for index, runtime in enumerate(site.runtimes)]
    return (((*loc, "modules", index), item) for loc, items in places for index, item in enumerate(items))


def _folders(site: Site) -> Iterator[Finding]:
    folders: dict[Loc, str] = {("scratch",): site.scratch, ("jobs_folder",): site.jobs_folder}
    folders["image", "folder"] = site.image.folder
    folders["mpi", "wi4mpi"] = site.mpi.wi4mpi
    if "/" in site.mpi.gpu_library:
        folders["mpi", "gpu_library"] = site.mpi.gpu_library
    folders |= {("mpi", "prefixes", i): prefix for i, prefix in enumerate(site.mpi.prefixes)}
    for loc, folder in folders.items():
        if folder and not folder.startswith(("/", "$")):
            yield Finding(loc, f"{folder!r} is not a path from the root", f"write /{folder}, or $HOME/{folder}")


def _detection(site: Site) -> Iterator[Finding]:
    if not site.detect:
        return
    patterns: dict[Loc, str] = {("detect", key): getattr(site.detect, key) for key in ("hostname", "cluster")}
    patterns |= {("detect", "env", name): pattern for name, pattern in site.detect.env.items()}
    for loc, pattern in patterns.items():
        try:
            re.compile(pattern)
        except re.error as error:  # noqa: PERF203 - every bad pattern is told
            yield Finding(loc, f"{pattern!r} is not a regular expression: {error}", r"write, say, login\d+\.example")


def _kinds(site: Site, known: Known) -> Iterator[Finding]:
    named: list[tuple[Loc, str, Collection[str]]] = [
        (("scheduler", "kind"), site.scheduler.kind, known.schedulers),
        (("launcher", "kind"), site.launcher.kind, known.launchers and {*known.launchers, "auto"}),
        (("template",), "" if "/" in site.template else site.template, known.templates),
    ]
    named += [(("launchers", i, "kind"), one.kind, known.launchers) for i, one in enumerate(site.launchers)]
    named += [(("runtimes", i, "kind"), one.kind, known.runtimes) for i, one in enumerate(site.runtimes)]
    for loc, name, names in named:
        if name and names and name not in names:
            yield Finding(loc, f"{name!r} is not known", nearest(name, names))
    for index, one in enumerate(site.runtimes):
        for key in ("mpi_option", "mpi_gpu_option"):
            if getattr(one, key) and one.kind not in WITH_OPTION:
                hint = f"leave it out: it is for {', '.join(WITH_OPTION)}"
                yield Finding(("runtimes", index, key), f"{one.kind} has none", hint)
    if site.launcher.kind == "auto" and not site.launchers:
        yield Finding(("launcher", "kind"), "auto has nothing to choose from", "list them under `launchers`")
    mpi = site.mpi
    if mpi.default and mpi.types and mpi.default not in mpi.types:
        yield Finding(("mpi", "default"), f"{mpi.default!r} is not among the types", nearest(mpi.default, mpi.types))


def _suspicious(site: Site) -> Iterator[Finding]:
    gpus = [name for name, partition in site.partitions.items() if partition.node.gpus]
    if gpus and site.gpu.kind == "none":
        hint = "write nvidia, amd or intel, or containers will not see the GPUs"
        yield Finding(("gpu", "kind"), f"partition {gpus[0]} has GPUs, but their kind is not given", hint, "warning")
    if site.scheduler.kind == "slurm" and site.launcher.kind == "none":
        hint = "write `launcher: {kind: srun}`, or `extends: slurm`"
        yield Finding(("launcher", "kind"), "no launcher: every job runs one rank", hint, "warning")
    able = [one.kind for one in site.runtimes if not capabilities.lacks(one.kind, ["verify"])]
    if site.image.verify and not able:
        hint = "every job with an image will be refused: add apptainer to `runtimes`"
        yield Finding(("image", "verify"), "no runtime of the site can check signatures", hint, "warning")
    if not site.description:
        yield Finding(("description",), "no description", "one line for `hpcjob site list`", "advice")
    if not site.detect and not site.retired:
        hint = "tell how to recognise the machine, or people must type --site"
        yield Finding(("detect",), "not detected", hint, "advice")
    if not site.runtimes:
        yield Finding(("runtimes",), "no container runtime", "list what is installed, the preferred first", "advice")
    for name, partition in site.partitions.items():
        longest = partition.max_time or partition.time_by_nodes
        missing = [key for key, given in (("node.cores", partition.node.cores), ("max_time", longest))
                   if not given]  # fmt: skip
        if missing:
            hint = "jobs that ask for too much then fail in the queue, not before"
            yield Finding(("partitions", name), f"no {' and no '.join(missing)}", hint, "advice")
