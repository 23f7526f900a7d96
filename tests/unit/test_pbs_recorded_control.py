"""What qdel, qhold, qrls and qselect answered, and the errors of qstat (tests/data/pbs)."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace

import pytest

from hpcjobs.errors import RefusedError, UnreachableError
from hpcjobs.process import Completed
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_words import per_id
from tests.pbs_answers import US, Script, answer, job, pbs
from tests.pbs_recorded import recording

BUSY = "the PBS server is down or busy: nothing was changed; try again in a minute"
ELSEWHERE = "there is no such PBS server: check PBS_SERVER, /etc/pbs.conf and -p, or use another login node"


def listing(*native_ids: str) -> Completed:
    """What qstat says of jobs that are there."""
    return Completed(("qstat",), 0, "".join(f"Job Id: {one}{US}job_state=R\n" for one in native_ids), "")


# ------------------------------------------------------------------------------------------------ qdel

REST = [f"{number}.pbshead" for number in (*range(71, 83), 84, 88, 92, 98, 100, 101, 102, 105, 107, 109, 111, 112)]
# Each target, and why it was not cancelled.
DELETED: dict[str, dict[str, str]] = {
    "qdel_list_two_held": {"68.pbshead": "", "69.pbshead": ""},
    "qdel_one_held": {"70.pbshead": ""},
    "qdel_list_held_waiting": {"22.pbshead": "", "23.pbshead": ""},
    "qdel_list_queued2": {"47.pbshead": "", "48.pbshead": ""},
    "qdel_list_arrays": {"90[].pbshead": "", "91[].pbshead": ""},
    "qdel_list_rest": dict.fromkeys(REST, ""),
    "qdel_queued": {"138.pbshead": ""},
    "qdel_running": {"131.pbshead": ""},
    "qdel_running_trap": {"132.pbshead": ""},
    "qdel_held": {"139.pbshead": ""},
    "qdel_waiting": {"140.pbshead": ""},
    "qdel_subjob_held": {"149[2].pbshead": ""},
    "qdel_subjob_range": {"149[1-2].pbshead": ""},
    "qdel_subjob_running": {"153[2].pbshead": ""},
    "qdel_subjob_again": {"153[2].pbshead": "Request invalid for state of job"},
    "qdel_array_running": {"153[].pbshead": ""},
    "qdel_then_poll": {"303.pbshead": ""},
    "qdel_force": {"304.pbshead": ""},
    "qdel_twice": {"305.pbshead": ""},
    "qdel_trap": {"307.pbshead": ""},
    "qdel_finished": {"300.pbshead": "Job has finished"},
    "qdel_finished_x": {"300.pbshead": ""},
    "qdel_unknown": {"999999.pbshead": "Unknown Job Id"},
    "qdel_mixed_unknown": {"301.pbshead": "", "999999.pbshead": "Unknown Job Id", "302.pbshead": ""},
    "qdel_other_user": {"308.pbshead": "Unauthorized Request"},
    "qdel_shortid": {"309": ""},
    "hist_off_qdel": {"4.pbshead": ""},
}


@pytest.mark.parametrize("case", DELETED)
def test_qdel_says_of_each_job_why_not(case: str) -> None:
    targets = list(DELETED[case])
    jobs = [target.replace("[1-2]", "[]").replace("[2]", "[]") for target in targets]
    script = Script(qstat=listing(*jobs), qdel=replace(answer(case, "qdel"), out=""))  # qdel writes no output
    assert pbs(script).cancel(targets) == DELETED[case]
    assert script.calls[0] == ("qstat", "-E", "-f", "-F", "dsv", "-D", US, *jobs)
    assert script.calls[1:] == [("qdel", *targets)]


# What no native id is, and no option that hpcjob gives; here PBS's own words have to do.
MISUSED = {
    "qdel_malformed": ("abc", "illegally formed job identifier"),
    "qdel_malformed2": ("12x", "illegally formed job identifier"),
    "qdel_other_server": ("310.elsewhere", "illegally formed job identifier"),
    "qdel_invalid_option": ("1", "invalid option -- 'Z'"),
    "qdel_none": ("1", "it only said how it is used"),
    # It hung until `timeout` ended it: an end without a word is no success.
    "qdel_suppress_one": ("71.pbshead", "it ended with code 124 and without a word"),
}


@pytest.mark.parametrize("case", MISUSED)
def test_qdel_misused(case: str) -> None:
    target, words = MISUSED[case]
    assert per_id([target], answer(case, "qdel")) == {target: words}
    with pytest.raises(RefusedError) as caught:
        per_id(["8.pbshead", "9.pbshead"], answer(case, "qdel"))
    assert caught.value.message.startswith("qdel: ")


def test_a_job_that_pbs_does_not_list_is_not_deleted_again() -> None:
    script = Script(qstat=answer("qstat_one_unknown_master", "qstat"))
    assert pbs(script).cancel(["999999.pbshead"]) == {"999999.pbshead": "PBS no longer has it in its queues"}
    assert [call[0] for call in script.calls] == ["qstat"]


# ------------------------------------------------------------------------------------------------ hold, release

HELD = {
    "qhold_queued": ("qhold", "315.pbshead", ""),
    "qhold_again": ("qhold", "315.pbshead", ""),
    "qhold_running": ("qhold", "316.pbshead", ""),
    "qhold_system": ("qhold", "315.pbshead", "Unauthorized Request"),
    "qhold_unknown": ("qhold", "999999.pbshead", "Unknown Job Id"),
    "qhold_finished": ("qhold", "302.pbshead", "Job has finished"),
    "qrls": ("qrls", "315.pbshead", ""),
    "qrls_notheld": ("qrls", "315.pbshead", ""),
    "qrls_array": ("qrls", "149[].pbshead", ""),
    "qrls_unknown": ("qrls", "999999.pbshead", "Unknown Job Id"),
}


@pytest.mark.parametrize("case", HELD)
def test_hold_and_release(case: str) -> None:
    program, target, problem = HELD[case]
    script = Script(**{program: answer(case, program)})
    call = pbs(script).hold if program == "qhold" else pbs(script).release
    assert call([target]) == {target: problem}
    assert script.calls == [(program, target)]


# ------------------------------------------------------------------------------------------------ qselect

# The ids that the (first) qselect gave, of which qstat is asked then.
SELECTED = {
    "array_qselect": ["134.pbshead", "135.pbshead", "141[].pbshead"],
    "tag_qselect-N": ["373.pbshead", "374.pbshead", "376[].pbshead"],
    "tag_qselect-A": ["373.pbshead", "374.pbshead", "376[].pbshead"],
    "tag_qselect-P": ["373.pbshead", "374.pbshead", "376[].pbshead"],
    "tag_qselect_prefix": [],
    "tag_qselect_none": [],
    "tag_qselect_long": [],
    "tag_qselect_combined": ["375.pbshead"],
    "tag_qselect_tc": [
        "365.pbshead", "366.pbshead", "367.pbshead", "368.pbshead", "369[].pbshead", "370.pbshead", "371.pbshead",
        "372.pbshead", "373.pbshead", "374.pbshead", "375.pbshead", "376[].pbshead",
    ],
    "tag_qselect_other_user": ["373.pbshead", "374.pbshead", "375.pbshead", "376[].pbshead"],
    "tag_qselect_T": [
        "373.pbshead", "374.pbshead", "375.pbshead", "376[1].pbshead", "376[2].pbshead", "376[3].pbshead",
    ],
}  # fmt: skip
TAG = "3f9c2a71b2c4"


def tagged(native_id: str) -> Completed:
    return Completed(("qstat",), 0, f"Job Id: {native_id}{US}Submit_arguments=-f /jobs/x-{TAG}/job.sh\n", "")


@pytest.mark.parametrize("case", SELECTED)
def test_jobs_are_found_among_those_that_qselect_gives(case: str) -> None:
    ids = SELECTED[case]
    given = answer(case, "qselect")
    chosen = Completed(given.argv, given.code, given.out.partition("--\n")[0], "")
    script = Script(qselect=chosen, qstat=tagged(ids[-1] if ids else "1"))
    assert pbs(script).find({TAG: 1.0, "3f9c2a71b2c5": 1.0}) == ({TAG: ids[-1]} if ids else {})
    assert script.calls[0] == ("qselect", "-x", "-u", getpass.getuser())
    questions = [("qstat", "-E", "-x", "-f", "-F", "dsv", "-D", US, *ids)] if ids else []
    assert script.calls[1:] == questions


SELECT_REFUSED = {
    "tag_qselect_bad": "invalid option -- 'Z'",
    "tag_v_only_search": "invalid option -- 'v'",
}


@pytest.mark.parametrize("case", SELECT_REFUSED)
def test_an_error_of_qselect_is_no_empty_answer(case: str) -> None:
    with pytest.raises(RefusedError) as caught:
        pbs(Script(qselect=answer(case, "qselect"))).find({TAG: 1.0})
    assert caught.value.message == f"qselect: {SELECT_REFUSED[case]}"


# ------------------------------------------------------------------------------------------------ history off

NO_HISTORY = [
    "hist_off_qstat_x", "hist_off_qstat_x_plain", "hist_off_qstat_running_x", "hist_off_qstat_x_all",
    "hist_off_qstat_x_unknown",
]  # fmt: skip


@pytest.mark.parametrize("case", NO_HISTORY)
def test_without_a_history_nothing_is_known_of_what_ended(case: str) -> None:
    assert answer(case).code == 0
    assert pbs(Script(qstat=answer(case, "qstat"))).accounting([job("4.pbshead")]) == {}


def test_without_a_history_jobs_are_looked_for_in_the_queue() -> None:
    script = Script(
        qselect=[answer("hist_off_qselect_x", "qselect"), answer("tag_qselect-N", "qselect")],
        qstat=[answer("hist_off_qstat_x_all", "qstat"), tagged("374.pbshead")],
    )
    assert pbs(script).find({TAG: 1.0}) == {TAG: "374.pbshead"}
    assert [call[:4] for call in script.calls] == [
        ("qselect", "-x", "-u", getpass.getuser()),
        ("qselect", "-u", getpass.getuser()),
        ("qstat", "-E", "-x", "-f"),
        ("qstat", "-E", "-f", "-F"),
    ]


# ------------------------------------------------------------------------------------------------ errors of qstat

# Jobs that PBS no longer has in its queues are absent, and that is all.
GONE = [
    "array_qstat_subjob_outofrange", "array_nobrackets", "array_qstat_F_t_json_nox", "hist_off_qstat",
    "qstat_finished_no_x", "qstat_finished_no_x_plain", "qdel_finished_x", "qdel_mixed_unknown", "hist_off_qdel",
]  # fmt: skip


@pytest.mark.parametrize("case", GONE)
def test_a_job_that_is_gone_is_absent(case: str) -> None:
    recorded = recording(case)
    err = "".join(line for line in recorded.err.splitlines(keepends=True) if line.startswith("qstat: "))
    told = pbs(Script(qstat=Completed(("qstat",), recorded.code or 153, recorded.out, err))).poll([job("114.pbshead")])
    assert told == {}


STAT_REFUSED = {
    "json_name_+5_master": "Unknown queue destination None",
    "json_name_+5_v23.06.06": "Unknown queue destination None",
    "json_name_+5_v22.05.11": "Unknown queue destination None",
    "qstat_Q_unknown": "Unknown queue nosuchq",
    "qstat_bad_format": "it only said how it is used",
    "qstat_malformed_id": "Unknown queue destination abc",
    "qstat_malformed_id2": "illegally formed job identifier: 12abc",
    "qstat_json_without_f": "conflicting options.",
    "qstat_json_u": "conflicting options.",
    "qstat_E_malformed": "Express option can only be used with job ids",
}


@pytest.mark.parametrize("case", STAT_REFUSED)
def test_an_error_of_qstat_is_no_empty_answer(case: str) -> None:
    with pytest.raises(RefusedError) as caught:
        pbs(Script(qstat=answer(case, "qstat"))).poll([job()])
    assert caught.value.message == f"qstat: {STAT_REFUSED[case]}"


# ------------------------------------------------------------------------------------------------ server down

Question = Callable[[Pbs], object]
POLL: Question = lambda scheduler: scheduler.poll([job("5008.pbshead")])  # noqa: E731 - a column of the table
DOWN: dict[str, tuple[str, Question, str]] = {
    "server_down_qstat": ("qstat", POLL, BUSY),
    "server_down_qstat_json": ("qstat", POLL, BUSY),
    "server_down_qstat_E": ("qstat", lambda scheduler: scheduler.accounting([job("5008.pbshead")]), BUSY),
    "server_down_qstat_B": ("qstat", lambda scheduler: scheduler.diagnose(), BUSY),
    "server_down_qdel": ("qdel", lambda scheduler: scheduler.cancel(["5008.pbshead"]), BUSY),
    "server_down_qselect": ("qselect", lambda scheduler: scheduler.find({TAG: 1.0}), BUSY),
    "server_down_pbsnodes": ("pbsnodes", lambda scheduler: scheduler.partitions(), BUSY),
    "qstat_err_PBS_SERVER_noserver": ("qstat", POLL, BUSY),
    "qstat_err_PBS_SERVER_env": ("qstat", POLL, ELSEWHERE),
}


@pytest.mark.parametrize("case", DOWN)
def test_silence_is_not_an_answer(case: str) -> None:
    program, ask, hint = DOWN[case]
    answers = {"qstat": listing("5008.pbshead"), program: answer(case, program)}
    with pytest.raises(UnreachableError) as caught:
        ask(pbs(Script(**answers)))
    words = "cannot connect to server nosuchhost (errno=15008)" if hint == ELSEWHERE else "Connection refused"
    assert (caught.value.message, caught.value.hint) == (f"{program}: {words}", hint)


READ = {
    *DELETED, *MISUSED, *HELD, *SELECTED, *SELECT_REFUSED, *NO_HISTORY, "hist_off_qselect_x", *GONE, *STAT_REFUSED, *DOWN,
}  # fmt: skip
