"""What is kept of a study survives the database and its folder."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.sweep.record import Round, StudyRecord
from hpcjobs.units import format_indices

STUDY = StudyRecord(
    id=4, tag="5" * 12, name="n", site="s", site_file="/s.yaml", folder="/f", workdir="/w", created=1.5,
    names=("re", "dt"), kinds=("int", "float"), points=12, spec={"command": ["solve"], "time": 60},
    rounds=(Round("0-9", "design", 1.5), Round("3,5-6", "failed", 2.5, time=120, mem=1 << 30, script=1)), pack=2, workers=2,
    max_running=3, retry={"timeout": 1}, results=("out.json",), inputs=("/in.j2",), place="p/{point}", log="o-{point}",
    derive={"dt": "1/re"}, where=("re > 1",), seed=7, stopped=True,
)  # fmt: skip


def test_a_study_survives_json() -> None:
    assert StudyRecord.from_json(json.loads(json.dumps(STUDY.to_json()))) == STUDY
    assert STUDY.label == "s4"


def test_a_newer_version_is_read_and_an_older_one_too() -> None:
    data = {**STUDY.to_json(), "colour": "red"}
    data["rounds"] = [{**each, "colour": "red"} for each in data["rounds"]]
    assert StudyRecord.from_json(data) == STUDY
    old = {key: value for key, value in STUDY.to_json().items() if key not in {"rounds", "results", "log"}}
    assert StudyRecord.from_json(old) == replace(STUDY, rounds=(), results=(), log="")
    with pytest.raises(TypeError):
        StudyRecord.from_json({"id": 4})


@given(st.sets(st.integers(0, 60), min_size=1))
def test_a_round_has_its_points(numbers: set[int]) -> None:
    found = Round(format_indices(numbers), "failed", 1.0)
    assert found.numbers() == tuple(sorted(numbers))
    assert [number for number in range(62) if number in found] == sorted(numbers)
    # What is worked out once is no part of what is kept.
    assert StudyRecord.from_json(replace(STUDY, rounds=(found,)).to_json()).rounds == (found,)
