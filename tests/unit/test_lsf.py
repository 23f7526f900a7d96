"""Scripts for LSF, which is written for and not talked to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcjobs import render, schedulers
from hpcjobs.errors import PlanError, RefusedError
from hpcjobs.limits import Rules
from hpcjobs.model import Plan, Shape
from hpcjobs.schedulers import Limits
from hpcjobs.schedulers.lsf import Lsf
from hpcjobs.units import Duration, Memory
from tests.pbs_answers import Script, job

PLAN = replace(render.sample_plan(full=False), scheduler="lsf", export="all")
LSF = Lsf({}, Script())


def options(**asked: Any) -> list[tuple[str, str]]:
    """The `#BSUB` lines but the folder, and the file that output goes to."""
    first, *rest = LSF.spell(replace(PLAN, **asked))["options"]
    assert first[0] == "-J"
    return [one for one in rest if one not in (("-cwd", "/home/u/run"), ("-o", "/home/u/run/out.log"))]


def text(**asked: Any) -> list[str]:
    """The `#BSUB` lines of a script, as they are written."""
    plan: Plan = replace(PLAN, template="builtin/lsf", **asked)
    script = render.render(replace(plan, native=LSF.spell(plan))).text
    return [line for line in script.splitlines() if line.startswith("#BSUB ")]


def test_the_least() -> None:
    assert text() == [
        "#BSUB -J solve",
        "#BSUB -nnodes 1",
        "#BSUB -cwd /home/u/run",
        "#BSUB -o /home/u/run/out.log",
    ]


def test_a_script_with_all_there_is() -> None:
    asked: dict[str, Any] = {
        "partition": "batch", "account": "ABC123", "reservation": "course", "time": Duration(5401), "hold": True,
        "requeue": False, "dependency": LSF.dependency("afterok", ["12", "13"]), "export": "none", "array": "1-9:2",
        "array_limit": 2, "shape": Shape(4, 24, 6, 7, 6), "output": "/r/%x-%A_%a.out", "error": "/r/a b.err",
        "directives": ("-alloc_flags smt1", '-R "select[mem>1] span[ptile=2]"', "-R  'x y'", "-B"),
    }  # fmt: skip
    assert text(**asked) == [
        "#BSUB -J solve[1-9:2]%2",
        "#BSUB -q batch",
        "#BSUB -P ABC123",
        "#BSUB -U course",
        "#BSUB -nnodes 4",
        "#BSUB -W 1:31",
        "#BSUB -H",
        "#BSUB -rn",
        '#BSUB -w "done(12) && done(13)"',
        "#BSUB -env none",
        "#BSUB -cwd /home/u/run",
        "#BSUB -o /r/solve-%J_%I.out",
        '#BSUB -e "/r/a b.err"',
        "#BSUB -alloc_flags smt1",
        '#BSUB -R "select[mem>1] span[ptile=2]"',
        '#BSUB -R "x y"',
        "#BSUB -B",
    ]


def test_the_script_knows_its_id_and_index() -> None:
    plan = replace(PLAN, template="builtin/lsf", array="1-3")
    script = render.render(replace(plan, native=LSF.spell(plan))).text
    assert "\nexport HPCJOB_NATIVE_ID=$LSB_JOBID\nexport HPCJOB_ARRAY_INDEX=$LSB_JOBINDEX\n" in script


@pytest.mark.parametrize(
    ("seconds", "written"), [(60, "0:01"), (1, "0:01"), (61, "0:02"), (3600, "1:00"), (86400, "24:00")]
)
def test_walltimes_are_minutes_rounded_up(seconds: int, written: str) -> None:
    assert options(time=Duration(seconds)) == [("-nnodes", "1"), ("-W", written)]


@pytest.mark.parametrize(("name", "written"), [("a b/ü", "a_b__"), ("", "job"), ("a[1]%2", "a_1__2")])
def test_names(name: str, written: str) -> None:
    assert LSF.spell(replace(PLAN, name=name))["options"][0] == ("-J", written)
    assert LSF.spell(replace(PLAN, name=name, array="1-3"))["options"][0] == ("-J", f"{written}[1-3]")


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        ("/r/%j.out", "/r/%J.out"), ("/r/%A_%a", "/r/%J_%I"), ("/r/%x", "/r/solve"), ("/r/%u", "/r/ada"),
        ("/r/100%%", "/r/100%"), ("/r/%%j", "/r/%j"), ("/r/50%", "/r/50%"), ("/r/%N-%q", "/r/%N-%q"),
    ],
)  # fmt: skip
def test_files_have_the_patterns_of_lsf(pattern: str, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ada")
    assert dict(LSF.spell(replace(PLAN, output=pattern, error=pattern))["options"])["-o"] == file


def test_a_job_may_start_again_or_not() -> None:
    assert options(requeue=True)[1:] == [("-r", "")]
    assert options(requeue=False)[1:] == [("-rn", "")]
    assert options()[1:] == []


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"qos": "high"}, "LSF gives whole nodes here, and -q was given", "leave out -q"),
    ({"constraint": "a"}, "and -C was given", "leave out -C"),
    ({"licenses": "a"}, "and -L was given", "leave out -L"),
    ({"mem": Memory(1)}, "and --mem was given", "leave out --mem"),
    ({"mem_per_cpu": Memory(1)}, "and --mem-per-cpu was given", "leave out --mem-per-cpu"),
    ({"gpu_type": "v100"}, "and --gpu-type was given", "leave out --gpu-type"),
    ({"array": "0-9"}, "LSF counts the tasks of an array from 1, and 0-9 has 0", "-a 1-10"),
    ({"output": "/r/%4a.out"}, "LSF pads no numbers, and %4a was asked for", "write %a"),
    ({"directives": ("alloc_flags smt1",)}, "'alloc_flags smt1' is not understood", "-alloc_flags smt1"),
    ({"directives": ("--qos=x",)}, "'--qos=x' is not understood", "-alloc_flags smt1"),
]


@pytest.mark.parametrize(("asked", "words", "hint"), REFUSED)
def test_what_lsf_cannot_do_is_refused(asked: dict[str, Any], words: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        options(**asked)
    assert words in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "condition"),
    [("after", "started(1)"), ("afterok", "done(1)"), ("afternotok", "exit(1)"), ("afterany", "ended(1)")],
)
def test_conditions(kind: str, condition: str) -> None:
    assert LSF.dependency(kind, ["1"]) == condition


def test_conditions_that_there_are_not() -> None:
    with pytest.raises(PlanError, match="LSF has no condition singleton") as caught:
        LSF.dependency("singleton", [])
    assert caught.value.hint == "use one of after, afterok, afternotok, afterany"


def test_nothing_is_asked() -> None:
    assert (LSF.identify(), LSF.partitions(), LSF.limits(), LSF.rules(), LSF.free()) == ({}, {}, Limits(), Rules(), {})
    assert LSF.forecast("").why == "no LSF is talked to"


@pytest.mark.parametrize(
    "verb",
    ["submit", "poll", "accounting", "target", "cancel", "hold", "release", "requeue", "find", "explain", "diagnose"],
)
def test_an_lsf_is_not_talked_to(verb: str) -> None:
    scheduler = schedulers.get("lsf", {}, Script())
    with pytest.raises(RefusedError, match="does not talk to it") as caught:
        getattr(scheduler, verb)([job("1")])
    assert "--dry-run" in caught.value.hint
