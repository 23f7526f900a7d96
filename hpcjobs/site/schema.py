"""JSON schemas for editors and the reference pages, both made from the model and its docstrings.

`python -m hpcjobs.site.schema docs/reference` writes them again; a test says when that is due.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import sys
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union

from hpcjobs import model
from hpcjobs.model import JobSpec, Site
from hpcjobs.site import studyfile
from hpcjobs.site.problems import adapter
from hpcjobs.site.studyfile import DesignKeys, Sampling, Settings, StudyKeys
from hpcjobs.sweep.distributions import KINDS
from hpcjobs.units import Duration, Memory

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_EXTENDS = "Site to inherit from: its name, or the path of a file relative to this one."
_COMMAND = "The program and its arguments, as a list or as one line without shell syntax; each rank runs it."
_JOB = "The keys of a job file, or the name of one."
_SITE = "Site to run on, by its name; by default the one that this machine is."


def site_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a site file."""
    schema = _described(Site)
    job = _described(JobSpec)
    schema["$defs"] |= job["$defs"]
    schema["$defs"]["JobSpec"] = {"type": "object", "properties": job["properties"], "additionalProperties": False}
    properties = schema["properties"]
    for each in (properties, *(schema["$defs"][name]["properties"] for name in ("Partition", "GpuConfig"))):
        each["defaults"] = {"$ref": "#/$defs/JobSpec", "description": each["defaults"]["description"]}
    schema["properties"] = {"extends": {"type": "string", "description": _EXTENDS}, **properties}
    del schema["required"]  # the name is the file's
    for each in (schema, *schema["$defs"].values()):
        each["properties"] = {key: _or_nothing(value) for key, value in each["properties"].items()}
    return {"$schema": _DRAFT, "title": "Site file of hpcjob", **schema}


def job_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a job file."""
    schema = _described(JobSpec)
    command = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": _COMMAND}
    site = {"type": "string", "description": _SITE}
    properties = {**schema["properties"], "command": command, "site": site}
    schema["properties"] = {key: _or_nothing(value) for key, value in properties.items()}
    return {"$schema": _DRAFT, "title": "Job file of hpcjob", **schema}


def study_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a study file."""
    schema = _described(StudyKeys)
    job = job_schema()
    schema["$defs"] |= job.pop("$defs")
    schema["$defs"]["JobSpec"] = {key: job[key] for key in ("type", "properties", "additionalProperties")}
    choices = [{"$ref": "#/$defs/JobSpec"}, {"type": "string"}]
    properties = {"job": {"anyOf": choices, "description": _JOB}, **schema["properties"]}
    schema["properties"] = {key: _or_nothing(value) for key, value in properties.items()}
    return {"$schema": _DRAFT, "title": "Study file of hpcjob", **schema}


def _described(cls: Any) -> dict[str, Any]:
    schema: dict[str, Any] = adapter(cls).json_schema()
    for name, each in {cls.__name__: schema, **schema.get("$defs", {})}.items():
        described = getattr(model, name, None) or getattr(studyfile, name)
        for key, words in _words(described).items():
            each["properties"][key].pop("title", None)
            each["properties"][key]["description"] = words
        each.pop("title", None)
        each["description"] = inspect.getdoc(described)
    return schema


def _or_nothing(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, or null: an empty value stands for one that is not given, or takes an inherited one away."""
    if isinstance(values := schema.get("additionalProperties"), dict):
        schema = {**schema, "additionalProperties": _or_nothing(values)}
    choices = schema.get(
        "anyOf", [{key: value for key, value in schema.items() if key not in {"description", "default"}}]
    )
    if {"type": "null"} not in choices:
        choices = [*choices, {"type": "null"}]
    return {"anyOf": choices, **{key: schema[key] for key in ("default", "description") if key in schema}}


def _words(cls: type) -> dict[str, str]:
    """The text below each field of the class."""
    return {key: words for each in reversed(cls.__mro__) for key, words in _docstrings().get(each.__name__, {}).items()}


@cache
def _docstrings() -> dict[str, dict[str, str]]:
    """The text below each field of each class of the model, and of study files."""
    trees = [ast.parse(inspect.getsource(module)) for module in (model, studyfile)]
    return {each.name: _fields(each) for tree in trees for each in tree.body if isinstance(each, ast.ClassDef)}


def _fields(node: ast.ClassDef) -> dict[str, str]:
    found = {}
    for before, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and isinstance(after, ast.Expr):
            found[before.target.id] = inspect.cleandoc(ast.literal_eval(after.value))
    return found


# ------------------------------------------------------------------------------------ reference pages


def site_reference() -> str:
    """docs/reference/site.md."""
    parts = [
        "# Site files",
        _GENERATED,
        (
            "A site file describes one machine. Everything has a default, so a file says only what is special. "
            "[Add a site](../how-to/add-a-site.md) shows how to write one; `hpcjob site validate FILE` checks it, and "
            "`site.schema.json` beside this page lets editors complete and check it."
        ),
        (
            f"Besides the keys below there is `extends`. {_EXTENDS} Mappings are merged, anything else replaces what "
            "was inherited, and `null` takes it away. `description` and `detect` are "
            "inherited only from a file of the same name, which is hidden."
        ),
        _table(Site),
    ]
    for title, cls in _sections(Site, ""):
        parts += [f"## {title}", inspect.getdoc(cls) or "", _table(cls)]
    return "\n\n".join(parts) + "\n"


def job_reference() -> str:
    """docs/reference/job.md."""
    parts = [
        "# Job files",
        _GENERATED,
        (
            "`hpcjob submit job.yaml` reads a request from a file; an option given beside it wins. The keys are those "
            "of the options, with `_` for `-`. Relative paths are relative to the folder where you type the command. "
            "`job.schema.json` beside this page lets editors complete and check the file."
        ),
        (
            f"Besides the keys below there is `site`: {_SITE[0].lower()}{_SITE[1:]} `command` may also be one line of "
            "text, which is split into words and read by no shell."
        ),
        _table(JobSpec),
    ]
    for title, cls in _sections(JobSpec, ""):
        parts += [f"## {title}", inspect.getdoc(cls) or "", _table(cls)]
    return "\n\n".join(parts) + "\n"


def study_reference() -> str:
    """docs/reference/study.md."""
    distributions = ["| distribution | what it gives |", "|---|---|"]
    distributions += [f"| `{kind.written.replace(' or ', '` or `')}` | {kind.meaning} |" for kind in KINDS.values()]
    parts = [
        "# Study files",
        _GENERATED.replace("model.py", "site/studyfile.py"),
        (
            "`hpcjob sweep study.yaml` reads a study from a file. Paths in it are relative to the file. "
            "`study.schema.json` beside this page lets editors complete and check it."
        ),
        f"Besides the keys below there is `job`: {_JOB[0].lower()}{_JOB[1:]} See [Job files](job.md).",
        _table(Settings),
        "## What varies",
        inspect.getdoc(DesignKeys) or "",
        _table(DesignKeys),
        "## random, lhs, sobol",
        _table(Sampling),
        "\n".join(distributions),
        "## Values",
        _VALUES,
        "## Expressions",
        _EXPRESSIONS,
    ]
    return "\n\n".join(parts) + "\n"


_VALUES = """\
`grid` and `zip` take a list of values, or a text with commas between values and these:

| text | values |
|---|---|
| `range(a,b)`, `range(a,b,step)` | from a to before b; `range(0,1,0.1)` has 0.3 and not 0.30000000000000004 |
| `linspace(a,b,n)` | n from a to b, at equal distances |
| `logspace(a,b,n)` | n from a to b, at equal ratios: `logspace(1,1000,4)` is 1, 10, 100, 1000 |

A value without quotes is a whole number, a number, `true` or `false`, or else text. A number that begins with 0 is
text: `007`. Between YAML's `{ }` and `[ ]` a text with a comma needs quotes: `{x: 'range(0,10)'}`. NaN is no value."""
_EXPRESSIONS = """\
`derive` and `where` are written as in Python: numbers, texts in quotes, parameters, `+ - * / // % **`, comparisons,
`in`, `and`, `or`, `not`, `a if c else b`, the constants `pi`, `e`, `true`, `false`, and the functions `sqrt`, `exp`,
`log`, `log10`, `log2`, `sin`, `cos`, `tan`, `power`, `floor`, `ceil`, `abs`, `min`, `max`, `round`, `int`, `float`,
`str`, `len`. Their last digit is the same on every machine."""
_GENERATED = "<!-- Written by `python -m hpcjobs.site.schema docs/reference`; edit the docstrings in model.py. -->"


def _sections(cls: Any, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        inner, suffix = _inner(hints[field.name])
        if inner and inner not in [known for _, known in found]:
            title = f"{path}{field.name}{suffix}"
            found += [(title, inner), *_sections(inner, f"{title}.")]
    return found


def _inner(annotation: Any) -> tuple[Any, str]:
    """The dataclass inside an annotation, and how its keys are reached."""
    if dataclasses.is_dataclass(annotation):
        return annotation, ""
    suffix = {dict: ".NAME", tuple: "[]"}.get(typing.get_origin(annotation) or str, "")
    return next(((a, suffix) for a in typing.get_args(annotation) if dataclasses.is_dataclass(a)), (None, ""))


def _table(cls: Any) -> str:
    hints = typing.get_type_hints(cls)
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(cls):
        words = " ".join(_words(cls)[field.name].split()).replace("|", "\\|")
        rows.append(f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} | {words} |")
    return "\n".join(rows)


def _type(annotation: Any) -> str:
    simple = {str: "text", int: "number", float: "number", bool: "true or false", Duration: "time", Memory: "memory"}
    if annotation in simple:
        return simple[annotation]
    origin, choices = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in choices if choice)
    if origin in {Union, types.UnionType}:
        return _type(choices[0])
    if origin is tuple:
        return f"list of {_type(choices[0])}" + ("s" if dataclasses.is_dataclass(choices[0]) else "")
    return "mapping" if origin is dict or dataclasses.is_dataclass(annotation) else "anything"


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING or value is None or value in ("", ()):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def generated() -> dict[str, str]:
    """The files of docs/reference that are made from the model, by name."""
    return {
        "site.schema.json": json.dumps(site_schema(), indent=2, ensure_ascii=False) + "\n",
        "job.schema.json": json.dumps(job_schema(), indent=2, ensure_ascii=False) + "\n",
        "study.schema.json": json.dumps(study_schema(), indent=2, ensure_ascii=False) + "\n",
        "site.md": site_reference(),
        "job.md": job_reference(),
        "study.md": study_reference(),
    }


if __name__ == "__main__":
    for file, text in generated().items():
        (Path(sys.argv[1]) / file).write_text(text, "utf-8")
