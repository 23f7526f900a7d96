"""Study files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcjobs.errors import NotFoundError, UsageError
from hpcjobs.site.studyfile import StudyFile, load_study
from hpcjobs.sweep.design import Chain, Grid, LatinHypercube, Product, Random, Sobol, Table, Zip, ZipOf
from hpcjobs.sweep.distributions import parse_distribution
from hpcjobs.units import Duration

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, text: str) -> StudyFile:
    (folder / "study.yaml").write_text(text, "utf-8")
    return load_study(folder / "study.yaml")


def refusal(folder: Path, text: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    return caught.value.message.replace(f"{folder}/", ""), caught.value.hint.replace(f"{folder}/", "")


EVERYTHING = """
name: drag
job:
  command: ./solve --re {re} '--case={case}'
  nodes: 2
  time: 1h
  site: of-the-job
grid:
  re: 100,200,range(300,500,100)
  case: [a b, 007, 1.5, true, 'true', "range(0,3)"]
  n: 4
zip: {a: [1, 2], b: 'x,y'}
table: runs.csv
list:
  - {c: 1, d: x}
  - d: 0042
    c: 0.5
random:
  count: 3
  parameters: {r: 'uniform(0,1)'}
lhs:
  count: 4
  parameters:
    h: normal(0,1)
sobol:
  count: 8
  parameters:
    s: choice(a,b)
product:
  - grid: {p: 1}
  - zip: {q: 1}
    grid: {o: 1}
chain:
  - grid: {k: 1}
  - chain:
      - grid: {k: 2}
      - list: [{k: 3}]
zip_of:
  - grid: {u: 1}
  - grid: {v: 1}
derive:
  dx: 1/n
  twice: 2*dx
where:
  - re*dx < 1000
  - case != 'b'
seed: 7
input: [in.nml.j2, /abs/mesh.vtk:mesh]
folder: runs/{point}
pack: 32
workers: 8
max_running: 10
retry: {node_fail: 3, timeout: 1}
results: [out.json, 'drag=Total = (.*)']
"""


def test_every_key(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("t\n1\n2\n")
    uniform, normal, choice = map(parse_distribution, ("uniform(0,1)", "normal(0,1)", "choice(a,b)"))
    assert load(tmp_path, EVERYTHING) == StudyFile(
        name="drag",
        job={"command": ("./solve", "--re", "{re}", "--case={case}"), "nodes": 2, "time": Duration(3600)},
        design=Product((
            Grid({"re": [100, 200, 300, 400], "case": ["a b", "007", 1.5, True, "true", "range(0,3)"], "n": [4]}),
            Zip({"a": [1, 2], "b": ["x", "y"]}),
            Table({"t": [1, 2]}, str(tmp_path / "runs.csv")),
            Table({"c": [1, 0.5], "d": ["x", "0042"]}),
            Random(3, {"r": uniform}),
            LatinHypercube(4, {"h": normal}),
            Sobol(8, {"s": choice}),
            Product((Grid({"p": [1]}), Product((Grid({"o": [1]}), Zip({"q": [1]}))))),
            Chain((Grid({"k": [1]}), Chain((Grid({"k": [2]}), Table({"k": [3]}))))),
            ZipOf((Grid({"u": [1]}), Grid({"v": [1]}))),
        )),
        derive={"dx": "1/n", "twice": "2*dx"},
        where=("re*dx < 1000", "case != 'b'"),
        seed=7,
        input=(str(tmp_path / "in.nml.j2"), "/abs/mesh.vtk:mesh"),
        folder="runs/{point}",
        pack=32,
        workers=8,
        max_running=10,
        retry={"node_fail": 3, "timeout": 1},
        results=("out.json", "drag=Total = (.*)"),
        site="of-the-job",
    )  # fmt: skip


def test_a_job_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("command: [./solve]\nsite: a\n")
    study = load(tmp_path, "job: job.yaml\nsite: b\nwhere: a < 1\ngrid: {a: 0}\nseed:\n")
    assert study == StudyFile(
        job={"command": ("./solve",)}, site="b", where=("a < 1",), design=Grid({"a": [0]})
    )  # fmt: skip


def test_a_study_need_not_say_what_varies(tmp_path: Path) -> None:
    assert load(tmp_path, "job: {command: ./solve}\n").design is None
    assert load(tmp_path, "name: x\njob:\n").job == {}


def test_all_problems_are_told_with_their_lines(tmp_path: Path) -> None:
    text = """\
job:
  comand: ./solve
  nodes: four
  site: [a]
grid:
  a: [1, [2]]
  b: range(5)
  c: {x: 1}
zip: [1]
list:
  - 5
  - {a: }
random: {count: many, parameters: {x: [1]}, seeds: 1}
lhs:
  parameters: {x: uniform(0,1)}
where: {a: 1}
chian: []
chain:
  - grd: {}
seed: x
"""
    assert refusal(tmp_path, text) == (
        """\
18 problems:
  study.yaml:2: job.comand: there is no such key; did you mean command?
  study.yaml:3: job.nodes: 'four' is not a whole number; write digits only: 4
  study.yaml:4: job.site: not the name of a site; see them with: hpcjob site list
  study.yaml:6: grid.a: a value is missing, or is a list; write one value; '' is an empty text
  study.yaml:7: grid.b: range with 1 numbers; write range(a,b) or range(a,b,step)
  study.yaml:8: grid.c: neither a text nor a list; write [a, b]
  study.yaml:9: zip: a list is not a mapping; write `key: value` lines below it
  study.yaml:11: list[0]: not a mapping; write {re: 100, dt: 0.1}
  study.yaml:12: list[1]: a value is missing, or is a list; write one value; '' is an empty text
  study.yaml:13: random.count: 'many' is not a whole number; write digits only: 4
  study.yaml:13: random.parameters.x: '' is not a distribution; write uniform(0,1), normal(0,1), choice(a,b) …; \
between YAML's { }, in quotes
  study.yaml:13: random.seeds: there is no such key; there are count, parameters
  study.yaml:15: lhs.parameters.x: 'uniform(0' is not a distribution; write uniform(0,1), normal(0,1), choice(a,b) …; \
between YAML's { }, in quotes
  study.yaml:15: lhs.parameters.1): '' is not a distribution; write uniform(0,1), normal(0,1), choice(a,b) …; \
between YAML's { }, in quotes
  study.yaml:16: where: neither a text nor a list; write [a, b]
  study.yaml:17: chian: there is no such key; did you mean chain?
  study.yaml:19: chain[0].grd: there is no such key; did you mean grid?
  study.yaml:20: seed: 'x' is not a whole number; write digits only: 4""",
        "correct them, then: hpcjob sweep study.yaml",
    )


def test_all_problems_beyond_single_values_are_told_too(tmp_path: Path) -> None:
    text = """\
job: [a]
grid: {a: 'range(0,10000000)', 1b: 1}
zip: {c: '1,2', d: 1}
table: runs.csv
list: [{e: 1}, {f: 1}]
random: {count: 5}
lhs: {parameters: {x: 'uniform(0,1)'}}
product:
  - {}
  - grid: {g: 1}
    zip: {g: 1}
chain:
  - grid: {h: 1}
  - grid: {i: 1}
derive: {point: 1}
pack: 0
retry: {timeout: -1}
"""
    assert refusal(tmp_path, text) == (
        """\
13 problems:
  study.yaml:1: job: neither the keys of a job nor a job file; write command: … below it
  study.yaml:2: grid: '1b' cannot be the name of a parameter; use letters, digits and _, and no digit first
  study.yaml:3: zip: values that belong together differ in number: 2 of c; 1 of d; give each as many values
  study.yaml:4: table: there is no file runs.csv; check the path
  study.yaml:5: list: row 2: e, f is not there exactly once, as in the first row; give all rows the same keys
  study.yaml:6: random: random points without a parameter; give one: x=uniform(0,1)
  study.yaml:7: lhs: 0 random points; give the number of points: 1 or more
  study.yaml:9: product[0]: nothing that varies; write `grid:` and the like below it
  study.yaml:10: product[1]: the parameter g is given twice; remove one, or put the two in a chain
  study.yaml:12: chain: not every part of the chain has h, i; give all parts the same parameters; one value is enough: \
x=0
  study.yaml:15: derive.point: a parameter cannot be called point: hpcjob uses the name itself; call it otherwise
  study.yaml:16: pack: 0 is not possible; write 1 or more
  study.yaml:17: retry.timeout: -1 is not possible; write 0 or more""",
        "correct them, then: hpcjob sweep study.yaml",
    )


def test_a_parameter_that_two_keys_give(tmp_path: Path) -> None:
    assert refusal(tmp_path, "grid: {a: 1}\nzip: {a: 1}\n") == (
        "study.yaml: the parameter a is given twice", "remove one, or put the two in a chain",
    )  # fmt: skip


def test_the_lines_of_a_job_file_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("a: 1\n")
    assert refusal(tmp_path, "job: job.yaml\n")[0] == "job.yaml:1: a: there is no such key"
    with pytest.raises(NotFoundError, match=r"there is no file .*gone\.yaml"):
        load(tmp_path, "job: gone.yaml\n")
