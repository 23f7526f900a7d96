"""Study files: `hpcjob sweep study.yaml`. A job, the parameters that it is run with, and how.

The table, the job file and the input files that it names are relative to the file itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from hpcjobs.errors import HpcjobError, UsageError
from hpcjobs.site import yamlfile
from hpcjobs.site.jobfile import job_fields, load_job
from hpcjobs.site.problems import Finding, as_error, build
from hpcjobs.site.yamlfile import Plain
from hpcjobs.sweep.design import (
    Chain,
    Grid,
    LatinHypercube,
    Product,
    Random,
    Sobol,
    Table,
    Zip,
    ZipOf,
    check_name,
    multiplied,
)
from hpcjobs.sweep.distributions import Distribution, parse_distribution
from hpcjobs.sweep.tablefile import columns_of, read_table
from hpcjobs.sweep.values import Value, parse_value, parse_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcjobs.site.yamlfile import Loc
    from hpcjobs.sweep.design import Design

_STRICT: dict[str, Any] = {"extra": "forbid"}


# --------------------------------------------------------------------------------------- what YAML holds


class _ReadBy:
    """How pydantic reads a field: by a function of ours, which raises UsageError."""

    def __init__(self, read: Callable[[Any], Any], schema: dict[str, Any]) -> None:
        self.read = read
        self.schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        def validate(value: object) -> Any:
            try:
                return self.read(value)
            except UsageError as error:
                raise ValueError(f"{error.message}; {error.hint}") from None

        return core_schema.no_info_plain_validator_function(validate)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return self.schema.copy()


def _scalar(value: object) -> Value:
    if not isinstance(value, str):
        raise UsageError("a value is missing, or is a list", hint="write one value; '' is an empty text")
    return parse_value(value) if isinstance(value, Plain) else value


def _values(value: object) -> list[Value]:
    return parse_values(value) if isinstance(value, str) else [_scalar(item) for item in _items(value)]


def _texts(value: object) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(_scalar(item)) for item in _items(value))


def _items(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError("neither a text nor a list", hint="write [a, b]")
    return value


def _row(value: object) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise UsageError("not a mapping", hint="write {re: 100, dt: 0.1}")
    return {name: _scalar(item) for name, item in value.items()}


def _distribution(value: object) -> Distribution:
    return parse_distribution(value if isinstance(value, str) else "")


_VALUE = {"type": ["string", "number", "boolean"]}
_Values = Annotated[
    Sequence[Value], _ReadBy(_values, {"anyOf": [{"type": "string"}, _VALUE, {"type": "array", "items": _VALUE}]})
]
_Texts = Annotated[
    tuple[str, ...],
    _ReadBy(_texts, {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "default": []}),
]
_Row = Annotated[dict[str, Value], _ReadBy(_row, {"type": "object", "additionalProperties": _VALUE})]
_Distribution = Annotated[Distribution, _ReadBy(_distribution, {"type": "string"})]


# ------------------------------------------------------------------------------------------------ its keys


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Points that are drawn at random."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    count: int = 0
    """Number of points."""
    parameters: dict[str, _Distribution] = field(default_factory=dict)
    """Parameters and their distributions."""


@dataclass(frozen=True, kw_only=True)
class DesignKeys:
    """Several of these keys side by side are multiplied, in this order; what comes last changes fastest."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    grid: dict[str, _Values] = field(default_factory=dict)
    """Parameters and their values, of which every combination is a point."""
    zip: dict[str, _Values] = field(default_factory=dict)
    """Parameters and as many values of each: the first ones are a point, the second ones, and so on."""
    table: str = ""
    """A file whose rows are points: .csv, .tsv, .json, .jsonl or .parquet."""
    list: tuple[_Row, ...] = ()
    """Points, written one by one: {re: 100, dt: 0.1}."""
    random: Sampling | None = None
    """Independent random points."""
    lhs: Sampling | None = None
    """A Latin hypercube: each of as many equal parts of every parameter has one point."""
    sobol: Sampling | None = None
    """Points of Sobol's sequence, shifted at random; needs SciPy (`pip install 'hpcjobs[sobol]'`)."""
    product: tuple[DesignKeys, ...] = ()
    """Designs, of which every point is combined with every point of the others."""
    chain: tuple[DesignKeys, ...] = ()
    """Designs with the same parameters, of which the points follow each other."""
    zip_of: tuple[DesignKeys, ...] = ()
    """Designs of as many points, of which the first belong together, the second, and so on."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a study file says besides its job and its design."""

    name: str = ""
    """Name of the study; by default the job's."""
    derive: dict[str, str] = field(default_factory=dict)
    """More parameters and the expressions that give them, of parameters and of those above: dx: 1/n."""
    where: _Texts = ()
    """Conditions that a point must meet, as expressions: re*dt < 1; one, or a list."""
    seed: int | None = None
    """Where random numbers begin: the same study with the same seed has the same points."""
    input: tuple[str, ...] = ()
    """Files that each point finds in a folder of its own: FILE or FILE:NAME; one that ends in .j2 is a template."""
    folder: str = ""
    """The folder of a point below the working directory: runs/re{re}-{point}."""
    pack: int | None = None
    """Number of points that one task of a job array runs."""
    workers: int | None = None
    """Number of points of a task that run at the same time."""
    max_running: int | None = None
    """Number of tasks that may run at the same time."""
    retry: dict[str, int] = field(default_factory=dict)
    """How often a point is run again, by cause: {node_fail: 3, timeout: 1}."""
    results: tuple[str, ...] = ()
    """Where the results of a point are: out.json, out.csv, NAME=REGEX."""
    site: str = ""
    """Site to run on, by its name; by default the one that this machine is."""


@dataclass(frozen=True, kw_only=True)
class StudyKeys(DesignKeys, Settings):
    """A study: a job, the parameters that it is run with, and how."""


@dataclass(frozen=True, kw_only=True)
class StudyFile(Settings):
    """What a study file says, read and checked."""

    job: dict[str, Any]
    """The fields of a `JobSpec` that it gives."""
    design: Design | None
    """What varies; None if it does not say."""


def load_study(path: str | Path) -> StudyFile:
    """Read a study file.

    Raises:
        UsageError: the file is wrong; tells all problems with their lines.
        NotFoundError: there is no such file, or not the job file that it names.
    """
    document = yamlfile.read(Path(path), UsageError)
    folder = document.path.parent
    findings: list[Finding] = []
    given = {key: value for key, value in document.data.items() if value is not None}
    job = _job(given.pop("job", {}), folder, findings)
    keys = build(StudyKeys, given, findings)
    if keys:
        _check(keys, findings)
        design = _design(keys, folder, (), findings)
    if findings or not keys:
        problems = [each.at((document.path, document.line(each.loc))) for each in findings]
        raise as_error(problems, UsageError, then=f"hpcjob sweep {path}")
    settings = {each.name: getattr(keys, each.name) for each in fields(Settings)}
    settings["input"] = tuple(str(folder / file) for file in keys.input)
    of_job = job.pop("site", "")
    settings["site"] = keys.site or of_job
    return StudyFile(**settings, job=job, design=design)


def _job(given: object, folder: Path, findings: list[Finding]) -> dict[str, Any]:
    if isinstance(given, str):
        return load_job(folder / given)
    if isinstance(given, dict):
        return job_fields(given, findings, ("job",))
    findings.append(Finding(("job",), "neither the keys of a job nor a job file", "write command: … below it"))
    return {}


def _check(keys: StudyKeys, findings: list[Finding]) -> None:
    for key in ("pack", "workers", "max_running"):
        number = getattr(keys, key)
        if number is not None and number < 1:
            findings.append(Finding((key,), f"{number} is not possible", "write 1 or more"))
    for cause, times in keys.retry.items():
        if times < 0:
            findings.append(Finding(("retry", cause), f"{times} is not possible", "write 0 or more"))
    for name in keys.derive:
        try:
            check_name(name)
        except UsageError as error:  # noqa: PERF203 - everything that is wrong is told
            findings.append(Finding(("derive", name), error.message, error.hint))


def _design(keys: DesignKeys, folder: Path, loc: Loc, findings: list[Finding]) -> Design | None:
    parts: list[Design] = []

    def add(key: str, make: Callable[[], Design]) -> None:
        try:
            parts.append(make())
        except HpcjobError as error:
            findings.append(Finding((*loc, key), error.message, error.hint))

    before = len(findings)
    if keys.grid:
        add("grid", lambda: Grid(keys.grid))
    if keys.zip:
        add("zip", lambda: Zip(keys.zip))
    if keys.table:
        add("table", lambda: read_table(folder / keys.table))
    if keys.list:
        add("list", lambda: Table(columns_of((f"row {i}", tuple(row.items())) for i, row in enumerate(keys.list, 1))))
    for key, sample in (("random", Random), ("lhs", LatinHypercube), ("sobol", Sobol)):
        if asked := getattr(keys, key):
            add(key, lambda: sample(asked.count, asked.parameters))  # noqa: B023 - called at once
    for key, kind in (("product", Product), ("chain", Chain), ("zip_of", ZipOf)):
        nested = [_design(one, folder, (*loc, key, i), findings) for i, one in enumerate(getattr(keys, key))]
        whole = tuple(part for part in nested if part is not None)
        if nested and len(whole) == len(nested):
            add(key, lambda: kind(whole))  # noqa: B023 - called at once
    if not parts and loc and len(findings) == before:
        findings.append(Finding(loc, "nothing that varies", "write `grid:` and the like below it"))
    if len(findings) > before or not parts:
        return None
    try:
        return multiplied(*parts)
    except UsageError as error:
        findings.append(Finding(loc, error.message, error.hint))
        return None
