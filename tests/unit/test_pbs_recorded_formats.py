"""Why qstat is read in dsv with a separator of its own: what its other forms lose, in three releases (tests/data/pbs)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from hpcjobs.process import Completed
from hpcjobs.record import JobState, JobStatus
from hpcjobs.schedulers.pbs_status import Key, parse_dsv, parse_text, read_status
from tests.pbs_answers import US, Script, answer, as_dsv, document, job, pbs
from tests.pbs_recorded import recording

WAITS = JobStatus(JobState.PENDING, "Q", "Not Running: Queue not started.")
OLD = ("v23.06.06", "v22.05.11")
NOT_JSON, NOT_UTF8 = "Expecting", "codec can't decode"
"""How reading the document ends."""

# ------------------------------------------------------------------------------------------------ a job's variable

# The id; what comes out for the variable V in dsv, in text, in the JSON of the master, and in that of the releases.
VALUES: dict[str, tuple[int, str, str, Any, Any]] = {
    "plain": (154, "bar", "bar", "bar", "bar"),
    "empty": (155, "", "", "", ",PBS_O_QUEUE=stoppedq"),
    "space": (156, "a b", "a b", "a b", "a b"),
    "backslash": (157, "a\\\\\\\\\\\\\\\\b", "a\\\\\\\\b", "a\\\\\\\\b", "a\\\\b"),
    "backslash_end": (158, "a\\\\\\\\\\\\\\", "a\\\\\\\\", "a\\\\\\,PBS_O_QUEUE=stoppedq", "a\\,PBS_O_QUEUE=stoppedq"),
    "backslash_n": (159, "a\\\\\\\\\\\\\\\\nb", "a\\\\\\\\nb", "a\\\\\\\\nb", "a\\\\nb"),
    "newline": (160, "a\\nb", "a", "a\nb", "a\nb"),
    "tab": (161, "a\tb", "a\tb", "a\tb", "a\tb"),
    "comma": (162, "a\\,b", "a\\,b", "a,b", "a,b"),
    "comma_end": (163, "a\\,", "a\\", "a,", "a,"),
    "escaped_comma": (164, "a\\\\\\\\\\,b", "a\\\\\\,b", "a\\\\,b", "a\\,b"),
    "eq": (165, "a=b", "a=b", "a=b", "a=b"),
    "sci": (166, "1e5", "1e5", 100000, 100000.0),
    "zeros": (167, "007", "007", 7, "007"),
    "inf": (168, "Infinity", "Infinity", "Infinity", math.inf),
    "neg_inf": (169, "-Infinity", "-Infinity", "-Infinity", -math.inf),
    "nan": (170, "NaN", "NaN", "NaN", math.nan),
    "hugeexp": (171, "1e999", "1e999", None, math.inf),
    "bigint": (172, "12345678901234567890", "12345678901234567890", 1.2345678901234567e+19, 12345678901234567890),
    "dec": (173, "1.10", "1.10", 1.1, 1.1),
    "hex": (174, "0x10", "0x10", "0x10", "0x10"),
    "true": (175, "true", "true", True, "true"),
    "null": (176, "null", "null", None, "null"),
    "obj": (177, "{\\\\\\\\a\\\\\\\\: 1}", "{\\\\a\\\\: 1}", "{\\\\a\\\\: 1}", "{\\a\\: 1}"),
    "arr1": (178, "[1]", "[1]", [1], "[1]"),
    "arr2": (179, "[1\\,2]", "[1\\,2]", [1, 2], "[1,2]"),
    "quoted": (180, "\\\\\\\\q\\\\\\", "\\\\q\\\\", "\\\\q\\,PBS_O_QUEUE=stoppedq", "\\q,PBS_O_QUEUE=stoppedq"),
    "plus": (181, "+5", "+5", "+5", NOT_JSON),
    "neg": (182, "-5", "-5", -5, -5),
    "dotnum": (183, ".5", ".5", ".5", NOT_JSON),
    "numdot": (184, "5.", "5.", 5, NOT_JSON),
    "num_space": (185, "5", "5", 5, 5),
    "unicode": (186, "ü€😀", "ü€😀", "ü€😀", NOT_UTF8),
    "ctrl": (187, "a^Ab", "a^Ab", "a\u0001b", "a^Ab"),
    "esc": (188, "a^[[31mb", "a^[[31mb", "a\u001b[31mb", "a^[[31mb"),
    "latin1": (189, "\udce9t\udce9", "\udce9t\udce9", NOT_UTF8, "^)t^)"),
    "del": (190, "a\u007fb", "a\u007fb", "a\u007fb", "a\u007fb"),
    "pct": (191, "100%s", "100%s", "100%s", "100%s"),
    "amp": (192, "a&b<c>", "a&b<c>", "a&b<c>", "a&b<c>"),
    "dollar": (193, "$HOME `x`", "$HOME `x`", "$HOME `x`", "$HOME `x`"),
    "semi": (194, "a;b|c", "a;b|c", "a;b|c", "a;b|c"),
    "cr": (195, "a^Mb", "a^Mb", "a\rb", "a\rb"),
    "long": (196, "x" * 5000, "x" * 5000, "x" * 5000, "x" * 5000),
    "json_str_nl": (197, "\\\\\\\\a\\\\\\\\\\\\\\\\nb\\\\\\", "\\\\a\\\\\\\\nb\\\\", "\\\\a\\\\\\\\nb\\,PBS_O_QUEUE=stoppedq", "\\a\\\\nb,PBS_O_QUEUE=stoppedq"),
    "underscore_num": (198, "1_000", "1_000", "1_000", "1_000"),
    "empty_obj": (199, "{}", "{}", {}, "{}"),
}  # fmt: skip
# Bytes that no release but the master leaves alone in dsv.
BROKEN_BYTES = {186: '^\x03^\udcfc^"^\udcc2^\udcec^0^\udcdf^\udcd8^\udcc0', 189: "^)t^)"}


def value(variables: str) -> str:
    return variables.partition(",V=")[2].removesuffix(",PBS_O_HOST=pbslogin").removesuffix(",PBS_O_QUEUE=stoppedq")


JSON_VALUES = [
    *((f"json_env_{name}_master", number, given) for name, (number, _, _, given, _) in VALUES.items()),
    *((f"json_env_{name}_{old}", number, given) for name, (number, *_, given) in VALUES.items() for old in OLD),
]


@pytest.mark.parametrize(("case", "number", "expected"), JSON_VALUES)
def test_json_changes_values_or_breaks(case: str, number: int, expected: object) -> None:
    if expected in (NOT_JSON, NOT_UTF8):
        with pytest.raises(ValueError, match=str(expected)):
            document(case)
        return
    found = document(case)["Jobs"][f"{number}.pbshead"]["Variable_List"]["V"]
    assert (type(found), repr(found)) == (type(expected), repr(expected))
    statuses = {key: read_status(attributes) for key, attributes in parse_dsv(as_dsv(case)).items()}
    assert statuses == {(number, None): WAITS}


@pytest.mark.parametrize("name", VALUES)
def test_text_breaks_lines(name: str) -> None:
    ((_, attributes),) = parse_text("Job Id: 1.pbshead\n" + recording(f"text_env_{name}").out).items()
    assert value(attributes["Variable_List"]) == VALUES[name][2]
    assert attributes["comment"] == "Not Running: Queue not started."


IDS = [135, *range(154, 200), *range(290, 298), 299]
SEPARATORS = {"pipe": "|", "us": US, "multi": "<|>"}


@pytest.mark.parametrize("release", ["master", "v23.06.06"])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_dsv_keeps_every_job(separator: str, release: str) -> None:
    out = recording(f"dsv_{separator}_{release}").out
    found = parse_dsv(out.replace(SEPARATORS[separator], US))
    assert list(found) == [(number, None) for number in IDS]
    assert all(read_status(attributes) == WAITS for attributes in found.values())
    expected = {number: given for number, given, *_ in VALUES.values()}
    if release != "master":
        expected |= BROKEN_BYTES
    if separator == "pipe":
        expected[194] = "a;b\\"  # the value itself has the separator, and ends there
    assert {number: value(found[number, None]["Variable_List"]) for number in expected} == expected


def test_dsv_keeps_names_that_look_like_numbers() -> None:
    found = parse_dsv(recording("dsv_us_v23.06.06").out)
    for number, (name, _) in zip(IDS[-9:], NAMES.items(), strict=True):
        assert [found[number, None][key] for key in ("Job_Name", "Account_Name", "project")] == [name] * 3


# ------------------------------------------------------------------------------------------------ names

# A job's name, account and project, and what the JSON of the releases makes of each.
NAMES: dict[str, object] = {
    "007": "007", "1e5": 100000.0, "Infinity": math.inf, "NaN": math.nan, "null": "null", "1.10": 1.1,
    "12345678901234567890": 12345678901234567890, "-5": -5, "5.": NOT_JSON,
}  # fmt: skip
JSON_NAMES = [
    *((f"json_name_{name}_master", name) for name in NAMES),
    *((f"json_name_{name}_{old}", given) for name, given in NAMES.items() for old in OLD),
]


@pytest.mark.parametrize(("case", "expected"), JSON_NAMES)
def test_json_changes_names_or_breaks(case: str, expected: object) -> None:
    if expected == NOT_JSON:
        with pytest.raises(ValueError, match=NOT_JSON):
            document(case)
        return
    ((_, attributes),) = document(case)["Jobs"].items()
    for key in ("Job_Name", "Account_Name", "project"):
        assert (type(attributes[key]), repr(attributes[key])) == (type(expected), repr(expected))
    (found,) = parse_dsv(as_dsv(case)).values()
    assert read_status(found) == WAITS


# ------------------------------------------------------------------------------------------------ several ids

# What each call shows of the jobs 290, 291 and 292: in the JSON of the master, and in all else.
CALLS = {
    "qstat_multi": ([290], [290, 291, 292]),
    "qstat_multi_x": ([290], [290, 291, 292]),
    "qstat_multi_E": ([290, 291, 292], [290, 291, 292]),
    "qstat_multi_E_unknown": ([290, 291], [290, 291]),
    "qstat_multi_unknown": ([290], [290, 291]),
    "qstat_multi_unknown_first": ([290], [290, 291]),
    "qstat_multi_E_unknown_first": ([290, 291], [290, 291]),
    "qstat_multi_E_all_unknown": ([], []),
    "qstat_multi_E_fin_nox": ([290], [290]),  # -E leaves out what has ended, without a word
    "qstat_one_unknown": ([], []),
    "qstat_multi_dsv": ([290, 291, 292], [290, 291, 292]),
    "qstat_multi_dsv_unknown": ([290, 291], [290, 291]),
}
SEVERAL = [
    *((f"{call}_master", shown) for call, (shown, _) in CALLS.items()),
    *((f"{call}_{old}", shown) for call, (_, shown) in CALLS.items() for old in OLD),
]


@pytest.mark.parametrize(("case", "shown"), SEVERAL)
def test_what_is_not_shown_is_unknown_and_no_error(case: str, shown: list[int]) -> None:
    given = answer(case, "qstat")
    out = given.out.replace("|", US) if "dsv" in case else as_dsv(case)
    asked = [job(f"{number}.pbshead") for number in (290, 291, 292, 999998, 999999)]
    told = pbs(Script(qstat=replace(given, out=out))).poll(asked)
    assert told == {f"{number}.pbshead": WAITS for number in shown}


# One line a job in the server's order, not in that of the question; an unknown id is left out, one may come twice.
EXPRESS: dict[str, list[Key]] = {
    "qstat_E_mixed": [(5218, None), (5219, None), (5219, 1), (5219, 2), (5219, 3), (5220, None)],
    "qstat_E_mixed_not": [(5218, None), (5219, None), (5220, None)],
    "qstat_E_dup": [(5220, None)],
    "qstat_E_shortids": [(5218, None), (5219, None), (5220, None)],
}


@pytest.mark.parametrize("case", EXPRESS)
def test_express_lines(case: str) -> None:
    assert list(parse_dsv(answer(case).out.replace("|", US))) == EXPRESS[case]


def test_json_has_as_many_jobs_as_dsv_has_lines() -> None:
    assert int(recording("qstat_E_json_mixed").out) == len(EXPRESS["qstat_E_mixed"]) == 6


def test_a_line_of_the_tasks_is_found_by_its_index() -> None:
    out = answer("qstat_E_mixed").out.replace("|", US)
    told = pbs(Script(qstat=Completed(("qstat",), 0, out, ""))).poll([job("5219[].pbshead", array="1-3")])
    # The lines were cut before the state: nothing is known of the tasks, but that they are there.
    assert told["5219[].pbshead"].state is JobState.UNKNOWN


READ = {
    *(case for case, *_ in (*JSON_VALUES, *JSON_NAMES, *SEVERAL)), *(f"text_env_{name}" for name in VALUES),
    *(f"dsv_{separator}_{release}" for separator in SEPARATORS for release in ("master", "v23.06.06")), *EXPRESS,
    "qstat_E_json_mixed",
}  # fmt: skip
