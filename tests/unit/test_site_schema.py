"""Schemas, reference pages and the guide agree with the model."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from hpcjobs import paths, site
from hpcjobs.errors import SiteError
from hpcjobs.model import JobSpec, Site
from hpcjobs.site.schema import generated, job_schema, site_schema, study_schema
from hpcjobs.site.studyfile import DesignKeys, StudyKeys, load_study
from hpcjobs.site.yamlfile import native, read

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = [(DOCS / "how-to" / name).read_text("utf-8") for name in ("add-a-site.md", "describe-a-site.md")]
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", "\n".join(GUIDES), re.DOTALL | re.MULTILINE)


def faults(schema: dict[str, Any], data: object) -> list[str]:
    return [error.json_path for error in Draft202012Validator(schema).iter_errors(data)]


@pytest.mark.parametrize("name", generated())
def test_the_generated_files_are_fresh(name: str) -> None:
    file = DOCS / "reference" / name
    assert file.is_file(), "run: python -m hpcjobs.site.schema docs/reference"
    assert file.read_text("utf-8") == generated()[name], "stale; run: python -m hpcjobs.site.schema docs/reference"


@pytest.mark.parametrize("schema", [site_schema(), job_schema(), study_schema()], ids=["site", "job", "study"])
def test_a_schema_is_one(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    assert {name for name in re.findall(r"#/\$defs/(\w+)", str(schema)) if name not in schema["$defs"]} == set()


@pytest.mark.parametrize("file", sorted(paths.packaged("sites").glob("*.yaml")), ids=lambda file: file.stem)
def test_the_built_in_files_follow_the_schema(file: Path) -> None:
    assert faults(site_schema(), native(read(file, SiteError).data)) == []


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"extends": "slurm", "scratch": None, "partitions": {"debug": None}, "env": {"A": None}}, []),
        ({"extends": "slurm", "mpi": None, "defaults": {"time": "1h", "nodes": 2}}, []),
        ({"schedular": {}}, ["$"]),
        ({"gpu": {"kind": "nvida"}}, ["$.gpu"]),
        ({"defaults": {"partitio": "x"}}, ["$.defaults"]),
        ({"partitions": {"debug": {"max_time": []}}}, ["$.partitions"]),
    ],
)
def test_the_site_schema_refuses_what_the_reader_refuses(data: object, paths: list[str]) -> None:
    assert faults(site_schema(), data) == paths


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"command": "./solve in.nml", "nodes": 4, "site": "slurm"}, []),
        ({"command": ["./solve", "in.nml"], "time": 30, "account": None}, []),
        ({"node": 4}, ["$"]),
        ({"nodes": "four"}, ["$.nodes"]),
    ],
)
def test_the_job_schema_refuses_what_the_reader_refuses(data: object, paths: list[str]) -> None:
    assert faults(job_schema(), data) == paths


STUDY = """
job: {command: ./solve}
grid: {a: [1, 2.5, x, true], b: 'range(0,3)', c: 4}
lhs: {count: 4, parameters: {h: 'uniform(0,1)'}}
list: [{l: 1, m: x}]
chain: [{grid: {k: 1}}, {zip: {k: 2}}]
where: a != 'x'
derive: {d: b + 1}
retry: {timeout: 1}
seed: 1
pack:
"""


def test_the_study_schema_takes_what_the_reader_takes(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY, "utf-8")
    assert load_study(tmp_path / "study.yaml").seed == 1
    assert faults(study_schema(), native(read(tmp_path / "study.yaml", SiteError).data)) == []


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"job": "job.yaml", "where": ["a < 1"]}, []),
        ({"job": {"comand": "./solve"}}, ["$.job"]),
        ({"gird": {}}, ["$"]),
        ({"grid": {"a": [[1]]}}, ["$.grid"]),
        ({"chain": [{"grd": {}}]}, ["$.chain"]),
        ({"lhs": {"counts": 4}}, ["$.lhs"]),
        ({"pack": "many"}, ["$.pack"]),
    ],
)
def test_the_study_schema_refuses_what_the_reader_refuses(data: object, paths: list[str]) -> None:
    assert faults(study_schema(), data) == paths


@pytest.mark.parametrize(
    ("schema", "cls"),
    [(site_schema(), Site), (job_schema(), JobSpec), (study_schema(), StudyKeys), (study_schema(), DesignKeys)],
    ids=["site", "job", "study", "design"],
)
def test_every_key_is_described(schema: dict[str, Any], cls: Any) -> None:
    assert {f.name for f in dataclasses.fields(cls)} <= schema["properties"].keys()
    for part in (schema, *schema.get("$defs", {}).values()):
        assert [key for key, value in part["properties"].items() if not value.get("description")] == []


@pytest.mark.parametrize("block", BLOCKS)
def test_the_guides_files_load(block: str, tmp_path: Path) -> None:
    file = tmp_path / "ada.yaml"
    file.write_text(block, "utf-8")
    assert [one for one in site.check(file=str(file)) if one.level != "advice"] == []
    assert site.load(file=str(file)).site.scheduler.kind == ("pbs" if "extends: pbs\n" in block else "slurm")
    assert faults(site_schema(), native(read(file, SiteError).data)) == []


def test_the_guides_show_files() -> None:
    assert len(BLOCKS) == 12


def test_the_short_guide_is_a_page() -> None:
    assert len(GUIDES[0].splitlines()) <= 70
