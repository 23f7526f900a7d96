"""Every recording of qsub, qstat, qselect and qdel is read by a test, and no text whatever makes a reader fail."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcjobs.errors import PlanError, RefusedError
from hpcjobs.process import Completed
from hpcjobs.record import JobState
from hpcjobs.schedulers import pbs_status
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE, WRAPPER
from hpcjobs.schedulers.pbs_words import explain_status, message, per_id, refusal_hint, unreachable
from tests.pbs_answers import US, job
from tests.pbs_recorded import recordings
from tests.unit import (
    test_pbs_recorded_control,
    test_pbs_recorded_formats,
    test_pbs_recorded_pieces,
    test_pbs_recorded_status,
    test_pbs_recorded_submit,
)

READ = (
    test_pbs_recorded_control.READ
    | test_pbs_recorded_formats.READ
    | test_pbs_recorded_pieces.READ
    | test_pbs_recorded_status.READ
    | test_pbs_recorded_submit.READ
)
# Why no test of what the four commands say reads a recording.
OTHERS = {
    "other programs: qsig, qalter, qrerun, qmsg, qterm, pbsnodes": {
        "qsig_usr1", "qsig_0", "qsig_bad", "qsig_num", "qsig_queued", "qsig_unknown", "qsig_suspend", "qalter_bad",
        "qalter_running_walltime_up", "qalter_running_walltime_down", "qalter_running_name", "qalter_running_comment",
        "qalter_finished", "qalter_unknown", "qalter_select_running", "qrerun_user", "qrerun_queued", "qrerun_unknown",
        "qrerun_not_rerunable", "qmsg", "server_stop", "server_down_qalter", "pbsnodes_json", "pbsnodes_one",
        "pbsnodes_unknown", "pbsnodes_aSj", "pbsnodes_down",
    },
    "what a job saw: its environment, its nodes": {
        "env_job_default", "env_job_python", "env_job_python_S", "env_job_shebang_sh", "env_job_S_bash", "env_job_V",
        "env_job_sandbox", "env_job_array", "env_job_stdin_eof", "env_job_setumask",
    },
    "what a job wrote, and where": {
        "array_outputs", "array_outputs2", "full_output_file", "out_live_during", "out_spooled_during",
        "out_spooled_after", "out_own_redirect_during", "out_devnull_after", "out_mem_kill", "out_walltime_kill",
    },
    "MPI in a job": {
        "mpi_ompi_info_tm", "mpi_version", "mpi_job_mpirun_plain", "mpi_job_mpirun_nonp", "mpi_job_mpirun_hostfile_nossh",
        "mpi_job_mpirun_hostfile_tmrsh", "mpi_job_mpirun_hostfile_tmrsh_nonp", "mpi_job_mpirun_ompi_env",
        "mpi_job_tmrsh", "mpi_job_pbsdsh", "mpi_job_pbsdsh_fail", "mpi_job_mpiexec_pbs", "mpi_job_wrapper",
        "mpi_job_wrapper_env", "mpi_job_singlenode", "mpi_job_tmrsh_args",
    },
}  # fmt: skip


def test_every_recording_is_read_by_a_test() -> None:
    others = set().union(*OTHERS.values())
    assert READ | others == set(recordings())
    assert READ & others == set()


def test_none_of_the_four_commands_is_left_out() -> None:
    commands = {
        case for case in recordings() if re.search(r"\b(qsub|qstat|qselect|qdel)\b", recordings()[case].command)
    }
    assert not commands - READ


# ------------------------------------------------------------------------------------------------ any text

DIALECTS = st.sampled_from([OPENPBS, TORQUE, WRAPPER])
# Any text, and such as looks like an answer, with numbers, dates and ids that are none.
WORDS = st.sampled_from([
    "Job Id: ", "Job Id:\t", "\n\t", "\n    ", " = ", "=", US, "\n", "12.pbshead", "12[3].pbshead", "12[].pbshead",
    "job_state", "substate", "Exit_status", "exec_host", "run_count", "stime", "Unknown Job Id ", "qdel: ", "9" * 5000,
    "Fri Nov 20 23:59:37 2026", "Fri Nov 99 99:99:99 9999", "Fri Nov 20 23:59:37 0000", "-", "[", "]", ".",
])  # fmt: skip
TEXT = st.lists(st.one_of(st.text(max_size=8), WORDS), max_size=30).map("".join)
NAMES = st.sampled_from([
    "job_state", "substate", "Exit_status", "exit_status", "comment", "Hold_Types", "exec_host", "run_count", "stime",
    "start_time", "mtime", "obittime", "comp_time", "array",
])  # fmt: skip
VALUES = st.one_of(TEXT, st.sampled_from(["Q", "H", "R", "F", "X", "C", "E", "True", "22", "91", "92", "93"]))


@given(TEXT, DIALECTS)
@example(f"Job Id: {'9' * 5000}.pbshead{US}job_state=R\n", OPENPBS)
@example(f"Job Id: 1[{'9' * 5000}].pbshead{US}job_state=R\n", OPENPBS)
def test_any_text_is_read(text: str, dialect: str) -> None:
    for parse in (pbs_status.parse_dsv, pbs_status.parse_text):
        for key, attributes in parse(text).items():
            assert pbs_status.parse_key(f"{key[0]}[{key[1]}]" if key[1] is not None else f"{key[0]}") == key
            pbs_status.read_status(attributes, dialect)
    assert pbs_status.parse_submit(text) in ("", text.strip().splitlines()[-1].strip() if text.strip() else "")
    assert set(pbs_status.parse_tags(text, ["3f9c2a71b2c4"])) <= {"3f9c2a71b2c4"}
    assert pbs_status.parse_version(text) in ("", OPENPBS, TORQUE, WRAPPER)
    assert unreachable(text) == "" or unreachable(text) in text


@given(st.dictionaries(NAMES, VALUES), DIALECTS)
@example({"job_state": "F", "exec_host": "n1/0", "Exit_status": "9" * 5000}, OPENPBS)
@example({"job_state": "R", "stime": "Fri Nov 20 23:59:37 0000"}, OPENPBS)
@example({"job_state": "R", "stime": "9" * 5000}, TORQUE)
@example({"job_state": "F", "array": "True", "Exit_status": "0", "substate": "17"}, OPENPBS)
def test_any_attributes_make_a_status(attributes: dict[str, str], dialect: str) -> None:
    status = pbs_status.read_status(attributes, dialect)
    assert status.raw.startswith(attributes.get("job_state", ""))
    assert 0 <= status.started < float("inf")
    assert explain_status(status).words


@given(st.text().filter(lambda letter: letter not in set("QWTHRBSUEFXC")), DIALECTS)
@example("M", OPENPBS)
@example("", TORQUE)
def test_an_unknown_letter_is_unknown_and_kept(letter: str, dialect: str) -> None:
    status = pbs_status.read_status({"job_state": letter, "Exit_status": "0", "run_count": "1"}, dialect)
    assert (status.state, status.raw, status.exit_code) == (JobState.UNKNOWN, letter, None)


@given(TEXT, TEXT, st.integers(-9, 255), st.lists(st.sampled_from(["12.pbshead", "12[3].pbshead", "7"]), unique=True))
def test_any_answer_has_an_outcome_for_each_job(out: str, err: str, code: int, targets: list[str]) -> None:
    assert refusal_hint(code, message(err))
    outcome: dict[str, str] = {}
    with contextlib.suppress(RefusedError):  # it failed, and named none of them
        outcome = per_id(targets, Completed(("qdel",), code, out, err))
    if outcome or not code or len(targets) == 1:
        assert list(outcome) == targets
        assert not code or any(outcome.values())


# ------------------------------------------------------------------------------------------------ codes never recorded


@pytest.mark.parametrize(
    ("attributes", "state", "code", "signal", "reason"),
    [
        ({"Exit_status": "-28"}, JobState.TIMEOUT, None, 0, "it used more CPU time than it asked for"),
        ({"Exit_status": "-26"}, JobState.OOM, None, 0, "it used more virtual memory than it asked for"),
        ({"Exit_status": "-1"}, JobState.FAILED, None, 0, "PBS could not start it"),
        ({"Exit_status": "-99"}, JobState.FAILED, None, 0, "PBS says -99"),
        ({"Exit_status": "256"}, JobState.FAILED, 256, 0, ""),
        ({"Exit_status": "128"}, JobState.FAILED, 128, 0, ""),
        ({"Exit_status": "192"}, JobState.FAILED, 192, 64, ""),
        ({"Exit_status": "193"}, JobState.FAILED, 193, 0, ""),
        ({"Exit_status": "one"}, JobState.FAILED, None, 0, ""),
        ({"Exit_status": "271", "substate": "91"}, JobState.CANCELLED, None, 0, ""),
        ({"Exit_status": "0", "array": "True", "substate": "17"}, JobState.UNKNOWN, None, 0, ""),
    ],
)
def test_ends_that_were_not_seen(
    attributes: dict[str, str], state: JobState, code: int | None, signal: int, reason: str
) -> None:
    status = pbs_status.read_status({"job_state": "F", "substate": "93", "exec_host": "n1/0", **attributes})
    assert (status.state, status.exit_code, status.signal, status.reason) == (state, code, signal, reason)


@pytest.mark.parametrize(
    ("attributes", "state", "code"),
    [
        ({"exit_status": "-11"}, JobState.TIMEOUT, None),
        ({"exit_status": "-10"}, JobState.OOM, None),
        ({"exit_status": "271"}, JobState.CANCELLED, None),
        ({"exit_status": "265"}, JobState.FAILED, 137),
        ({"exit_status": "0"}, JobState.DONE, 0),
        ({}, JobState.CANCELLED, None),
    ],
)
def test_ends_of_torque(attributes: dict[str, str], state: JobState, code: int | None) -> None:
    status = pbs_status.read_status({"job_state": "C", "exec_host": "n1/0", **attributes}, TORQUE)
    assert (status.state, status.exit_code) == (state, code)


def test_slurms_look_alike_does_not_say_how_a_job_ended() -> None:
    assert pbs_status.read_status({"job_state": "C"}, WRAPPER).state is JobState.UNKNOWN


def test_what_pbs_has_no_word_for_is_refused() -> None:
    scheduler = Pbs({"extra": {"dialect": "openpbs"}}, lambda *_, **__: Completed(("qstat",), 0, "", ""))
    with pytest.raises(PlanError, match="PBS has no dependency singleton"):
        scheduler.dependency("singleton", ["12.pbshead"])
    assert scheduler.poll([]) == {}
    assert scheduler.explain(job()).words == "PBS no longer knows the job"
