"""What qsub answered (tests/data/pbs): ids, refusals and silence, and what hpcjob asks for, which PBS must take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs import render
from hpcjobs.errors import PlanError, RefusedError, UnreachableError, UsageError
from hpcjobs.model import Plan, Shape
from hpcjobs.process import Completed
from hpcjobs.schedulers.pbs_request import OPENPBS, arrange, spell, walltime
from hpcjobs.schedulers.pbs_status import parse_submit
from hpcjobs.units import Duration, Memory, parse_indices
from tests.pbs_answers import Script, answer, fragments, job, pbs
from tests.pbs_recorded import recording


def submit(given: Completed) -> str:
    script = Script(qsub=given)
    native_id = pbs(script).submit(Path("/jobs/3f9c/job.sh"), tag="3f9c", record=job())
    assert script.calls == [("qsub", "-f", "/jobs/3f9c/job.sh")]
    return native_id


# ------------------------------------------------------------------------------------------------ accepted

ACCEPTED = {
    # accepted
    "qsub_full_directives": "5.pbshead", "qsub_stdin": "6.pbshead", "qsub_dashdash": "7.pbshead",
    "qsub_prefix_C": "9.pbshead", "qsub_empty_C": "10.pbshead", "qsub_cli_overrides": "11.pbshead",
    "qsub_directive_after_cmd": "12.pbshead", "qsub_dup_select": "13.pbshead", "qsub_old_nodes_ppn": "14.pbshead",
    "qsub_job_wide_ncpus": "15.pbshead", "qsub_gpu": "16.pbshead", "qsub_V": "17.pbshead", "qsub_k": "18.pbshead",
    "qsub_R": "19.pbshead", "qsub_hold": "22.pbshead", "qsub_at": "23.pbshead", "qsub_dep_a": "24.pbshead",
    "qsub_dep_f": "25.pbshead",
    # arrays
    "array_submit_0_9": "141[].pbshead", "array_submit_step": "142[].pbshead", "array_submit_pct": "143[].pbshead",
    "array_submit_outpat": "144[].pbshead", "array_submit_outdir": "145[].pbshead",
    "array_submit_outfile": "146[].pbshead", "array_submit_allfail": "147[].pbshead",
    "array_submit_allok": "148[].pbshead", "array_submit_held": "149[].pbshead", "array_submit_dep": "150.pbshead",
    "array_submit_dep_fail": "151.pbshead", "array_submit_arrayondep": "152[].pbshead",
    "array_submit_todel": "153[].pbshead",
    # background-qsub
    "qsub_bg_stale_error_3": "107.pbshead", "qsub_f_ok": "109.pbshead", "qsub_f_cwd_gone": "110.pbshead",
    "qsub_f_script_with_args": "113.pbshead",
    # control
    "ctl_submit_fin": "300.pbshead",
    # dependencies
    "qsub_depend_afterok": "26.pbshead", "qsub_depend_afterany_two": "27.pbshead",
    "qsub_depend_afternotok_bad": "28.pbshead", "qsub_depend_afterok_bad": "29.pbshead",
    "qsub_depend_two_types": "30.pbshead", "qsub_depend_on_finished_ok": "31.pbshead",
    "qsub_depend_on_finished_fail": "32.pbshead", "qsub_depend_afternotok_on_finished_ok": "33.pbshead",
    "qsub_depend_on_finished_any": "34.pbshead", "dep_array_nobrackets": "2000.pbshead", "dep_200": "2001.pbshead",
    "dep_454": "2002.pbshead", "dep2_unknown_1": "3000.pbshead", "dep2_unknown_3": "3001.pbshead",
    "dep2_array_nobr": "3002.pbshead", "dep2_fin_454": "3003.pbshead", "dep_afterany_forgotten": "5280.pbshead",
    # folders
    "wd_space": "1478.pbshead", "wd_comma": "1479.pbshead", "wd_quote": "1480.pbshead", "wd_dquote": "1481.pbshead",
    "wd_unicode": "1482.pbshead", "wd_backslash": "1483.pbshead", "wd_newline": "1484.pbshead",
    "wd_dollar": "1485.pbshead", "wd_eq": "1486.pbshead",
    # history-off
    "hist_off_qsub": "2.pbshead", "hist_off_run_qsub": "4.pbshead",
    # job-environment
    "env_submit_default": "362.pbshead", "env_submit_python": "363.pbshead", "env_submit_python_S": "364.pbshead",
    "env_submit_shebang_sh": "365.pbshead", "env_submit_S_bash": "366.pbshead", "env_submit_V": "367.pbshead",
    "env_submit_sandbox": "368.pbshead", "env_submit_array": "369[].pbshead", "env_submit_stdin_eof": "370.pbshead",
    "env_submit_setumask": "371.pbshead",
    # json-names
    "json_name_submit_007": "290.pbshead", "json_name_submit_1e5": "291.pbshead",
    "json_name_submit_Infinity": "292.pbshead", "json_name_submit_NaN": "293.pbshead",
    "json_name_submit_null": "294.pbshead", "json_name_submit_1.10": "295.pbshead",
    "json_name_submit_12345678901234567890": "296.pbshead", "json_name_submit_-5": "297.pbshead",
    "json_name_submit_5.": "299.pbshead",
    # names
    "qsub_err_name_len_15": "64.pbshead", "qsub_err_name_len_16": "65.pbshead", "qsub_err_name_len_229": "66.pbshead",
    "qsub_err_name_len_230": "67.pbshead", "qsub_err_name_digit": "68.pbshead", "qsub_err_name_dash": "69.pbshead",
    "qsub_err_name_dot": "70.pbshead", "qsub_err_name_under": "71.pbshead", "qsub_err_name_plus": "72.pbshead",
    "qsub_err_name_sci": "73.pbshead", "qsub_err_name_digits": "74.pbshead", "qsub_err_name_inf": "76.pbshead",
    "qsub_err_name_null": "77.pbshead", "qsub_err_name_true": "78.pbshead", "qsub_err_name_nan": "79.pbshead",
    "qsub_err_name_hexa": "80.pbshead", "qsub_err_name_neg1": "81.pbshead", "qsub_err_name_dotted": "82.pbshead",
    # output
    "out_live_submit": "1463.pbshead", "out_path_relative": "1466.pbshead", "out_path_space": "1467.pbshead",
    "out_path_comma": "1468.pbshead", "out_path_colon": "1469.pbshead", "out_path_host": "1470.pbshead",
    "out_path_quote": "1471.pbshead", "out_path_dquote": "1472.pbshead", "out_path_tilde": "1473.pbshead",
    "out_path_dollar": "1474.pbshead", "out_path_jobid": "1475.pbshead", "out_path_newdir": "1476.pbshead",
    "out_path_long": "1477.pbshead",
    # refused
    "qsub_err_no_walltime_shortq": "39.pbshead", "qsub_err_route_queue": "40.pbshead",
    "qsub_err_ncpus_zero": "42.pbshead", "qsub_err_select_huge": "47.pbshead",
    "qsub_err_select_toobig_node": "48.pbshead", "qsub_err_mem_G": "49.pbshead",
    "qsub_err_script_empty": "61.pbshead", "qsub_err_stdin_empty": "62.pbshead", "qsub_err_binary": "63.pbshead",
    "qsub_err_a_past": "83.pbshead", "qsub_err_a_past_hhmm": "84.pbshead", "qsub_err_dep_unknown": "85.pbshead",
    "qsub_err_dep_unknown_noserver": "86.pbshead", "qsub_err_dep_afterany_unknown": "87.pbshead",
    "qsub_err_dep_on": "88.pbshead", "qsub_err_J_pct0": "90[].pbshead", "qsub_err_J_pctbig": "91[].pbshead",
    "qsub_err_umask_9": "92.pbshead", "qsub_err_S_bad": "97.pbshead", "qsub_err_A_weird": "98.pbshead",
    "qsub_err_P_long": "100.pbshead", "qsub_err_A_long": "101.pbshead", "qsub_err_v_comma_end": "102.pbshead",
    "qsub_err_o_nodir": "103.pbshead",
    # sizes
    "size_script_1MB": "1487.pbshead", "size_script_10MB": "1488.pbshead", "size_env_100k": "1489.pbshead",
    "size_args_100k": "1490.pbshead",
    # submissions
    "state_submit_ok": "114.pbshead", "state_submit_exit3": "115.pbshead", "state_submit_exit255": "116.pbshead",
    "state_submit_exit300": "117.pbshead", "state_submit_cmdnotfound": "118.pbshead",
    "state_submit_badshebang": "119.pbshead", "state_submit_sig9": "120.pbshead", "state_submit_sig15": "121.pbshead",
    "state_submit_sigsegv": "122.pbshead", "state_submit_child9": "123.pbshead", "state_submit_exec9": "124.pbshead",
    "state_submit_badshell": "125.pbshead", "state_submit_nodir": "126.pbshead", "state_submit_rodir": "127.pbshead",
    "state_submit_walltime": "128.pbshead", "state_submit_walltime_trap": "129.pbshead",
    "state_submit_walltime_ignore": "130.pbshead", "state_submit_delrun": "131.pbshead",
    "state_submit_delrun_trap": "132.pbshead", "state_submit_memhog": "133.pbshead",
    "state_submit_big": "134.pbshead", "state_submit_stoppedq": "135.pbshead", "state_submit_fill1": "136.pbshead",
    "state_submit_wait": "137.pbshead", "state_submit_delq": "138.pbshead", "state_submit_hold": "139.pbshead",
    "state_submit_at": "140.pbshead",
    # tagging
    "tag_submit_queued": "373.pbshead", "tag_submit_running": "374.pbshead", "tag_submit_finishing": "375.pbshead",
    "tag_submit_array": "376[].pbshead",
    # walltime
    "qsub_err_walltime_colon": "50.pbshead", "qsub_err_walltime_sixty": "51.pbshead",
    "qsub_err_walltime_empty": "52.pbshead", "qsub_err_walltime_frac": "53.pbshead",
    "qsub_err_walltime_huge": "54.pbshead", "qsub_err_walltime_form_secs": "55.pbshead",
    "qsub_err_walltime_form_mmss": "56.pbshead", "qsub_err_walltime_form_zero": "57.pbshead",
    "qsub_err_walltime_form_hhmmss": "58.pbshead", "qsub_err_walltime_form_ms": "59.pbshead",
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_an_accepted_job_has_the_id_that_qsub_printed(case: str) -> None:
    assert submit(answer(case, "qsub")) == ACCEPTED[case]


# Lines of other commands stand below the ids.
AMONG_OTHERS = {
    "qsub_bg_ps": ["105.pbshead"],
    "qsub_bg_env": ["111.pbshead", "112.pbshead"],
    "env_profile_noise": ["372.pbshead"],
    "qstat_name_truncated": ["5232.pbshead"],
    "nested_qsub": ["5230.pbshead"],
}


@pytest.mark.parametrize("case", AMONG_OTHERS)
def test_an_id_is_a_line_of_its_own(case: str) -> None:
    lines = recording(case).out.splitlines(keepends=True)
    assert [line.strip() for line in lines if parse_submit(line)] == AMONG_OTHERS[case]


# ------------------------------------------------------------------------------------------------ refused

CHECK = "check -t, --mem and what the site adds (hpcjob submit --dry-run shows the script)"
DIRECTIVES = "check --directive and the site's directives"
LESS = "ask for less, or another queue: -t, -N, --mem, -p (qstat -Qf QUEUE shows the limits)"
LOOK = "hpcjob submit --dry-run shows the script"
NAME = "choose another name: -J NAME"
NO_RESOURCE = "the site's PBS has no such resource: check -C, -L, --directive and the site's directives"
NO_USER = "PBS runs no jobs of this user: log in as an ordinary user"
NO_VARIABLE = "PBS cannot take over every variable: leave export: all out of the site file"
OTHER_JOBS = "wait for your other jobs to end, or make them one array: -a"
SHORTER = "choose a shorter name: -J NAME"
SITE = "a rule of the site: do what it says, or ask the site's support"
ILLEGAL = "Illegal attribute or resource value"

REFUSED = {
    # BAD_REQUEST
    ("script contains cr, lf", LOOK): ["qsub_crlf"],
    ("it only said how it is used", LOOK): ["qsub_script_args", "qsub_err_two_scripts"],
    ("illegal -N value", NAME): [
        "qsub_err_name_space", "qsub_err_name_slash", "qsub_err_name_colon", "qsub_err_name_at", "qsub_err_name_unicode",
        "qsub_err_name_unicode2", "qsub_err_name_comma", "qsub_err_name_eq", "qsub_err_name_quote",
        "qsub_err_name_dquote", "qsub_err_name_back", "qsub_err_name_star", "qsub_err_name_paren", "qsub_err_name_brack",
        "qsub_err_name_tab", "qsub_err_name_newline", "qsub_err_name_empty", "qsub_err_name_hash", "qsub_err_name_semi",
        "qsub_err_name_dollar", "qsub_err_name_pct", "qsub_err_name_amp", "qsub_err_name_lt", "qsub_err_name_pipe",
        "qsub_err_name_tilde", "qsub_err_name_excl", "qsub_err_name_emoji", "qsub_err_name_spaces_only",
    ],
    ("Job name is too long", SHORTER): [
        "qsub_err_name_len_231", "qsub_err_name_len_236", "qsub_err_name_len_237", "qsub_err_name_len_300",
        "qsub_err_scriptname_long",
    ],
    ("illegal -o value", LOOK): ["out_path_unicode", "out_path_toolong"],
    ("illegal -W value", "check -d"): [
        "qsub_err_bad_W_noeq", "qsub_err_dep_unknown_otherserver", "qsub_err_dep_malformed",
        "qsub_err_dep_malformed2", "qsub_err_dep_malformed3", "qsub_err_h_bad",
    ],
    ("cannot have dependancy on subjob or range; illegal -W value", "check -d"): ["array_submit_dep_sub"],
    ("illegal -J value", LOOK): [
        "qsub_err_J_garbage", "qsub_err_J_list", "qsub_err_J_neg", "qsub_err_J_rev", "qsub_err_J_single",
        "qsub_err_J_zero", "qsub_err_J_empty", "qsub_err_J_float", "qsub_err_J_one",
    ],
    ("cannot submit non-rerunable Array Job", LOOK): ["qsub_err_J_rerun_n"],
    ("interactive and array job submission cannot be used together", LOOK): ["qsub_err_J_interactive"],
    ("illegal -a value", LOOK): ["qsub_err_a_bad", "qsub_err_a_bad2"],
    ("illegal -p value", LOOK): ["qsub_err_p_range", "qsub_err_p_bad"],
    ("illegal -r value", LOOK): ["qsub_err_r_bad"],
    ("illegal -m value", LOOK): ["qsub_err_m_bad"],
    ("illegal -j value", LOOK): ["qsub_err_j_bad"],
    ("illegal -k value", LOOK): ["qsub_err_k_bad"],
    ("illegal -M value", LOOK): ["qsub_err_M_bad"],
    ("invalid option -- 'Z'", LOOK): ["qsub_err_bad_option"],
    ("invalid option -- '-'", LOOK): ["qsub_err_bad_long_option"],
    ("invalid option -- '-'; directive error: --foo", DIRECTIVES): ["qsub_err_bad_directive"],
    ("invalid option -- 'Z'; directive error: -Z", DIRECTIVES): ["qsub_err_bad_directive2"],
    ("directive error: this is text", DIRECTIVES): ["qsub_err_directive_text"],
    ("script file:: No such file or directory", LOOK): ["qsub_err_script_missing"],
    ("script not a file", LOOK): ["qsub_err_script_dir"],
    ("opening script file:: Permission denied", LOOK): ["qsub_err_script_unreadable"],
    ("cannot send environment with the job", NO_VARIABLE): ["qsub_err_v_malformed", "qsub_err_v_unset"],
    ("illegally formed destination: averyveryverylongqueuename", "check -p, -d and the site's directives"): [
        "qsub_err_long_queue",
    ],
    ("Unknown queue", "name a queue: -p QUEUE (qstat -Q lists them)"): ["qsub_err_unknown_queue"],
    ("Unknown resource Resource_List.nosuch", NO_RESOURCE): ["qsub_err_unknown_resource"],
    ("Unknown resource: nosuch", NO_RESOURCE): ["qsub_err_select_unknown_res"],
    (ILLEGAL, CHECK): ["qsub_err_select_zero"],
    (f"{ILLEGAL} project", CHECK): ["json_name_submit_+5", "qsub_err_P_weird"],
    (f"{ILLEGAL} Resource_List.ncpus", CHECK): ["qsub_err_bad_resource_value", "qsub_err_ncpus_negative"],
    (f"{ILLEGAL} select.ncpus", CHECK): ["qsub_err_select_bad_value"],
    (f"{ILLEGAL} select.mem", CHECK): [
        "qsub_err_bad_mem", "qsub_err_bad_mem_unit", "qsub_err_mem_frac", "qsub_err_mem_GiB",
    ],
    (f"{ILLEGAL} Resource_List.select", CHECK): [
        "qsub_err_select_empty", "qsub_err_select_garbage", "qsub_err_select_no_equals", "qsub_err_select_neg",
        "qsub_err_select_float", "qsub_err_select_walltime_inside",
    ],
    (f"{ILLEGAL} Resource_List.+", CHECK): ["qsub_err_select_space"],
    (f"{ILLEGAL} Resource_List.place", CHECK): ["qsub_bg_stale_error_1", "qsub_f_stale_error_1", "qsub_err_bad_place"],
    (f"{ILLEGAL} Resource_List.walltime", CHECK): [
        "qsub_err_walltime_abc", "qsub_err_walltime_min", "qsub_err_walltime_hour", "qsub_err_walltime_four",
        "qsub_err_walltime_neg", "qsub_err_walltime_daydash", "qsub_err_walltime_form_days",
    ],
    ("Error (15014) submitting job", CHECK): ["qsub_err_J_pctneg"],
    ("Error (15002) submitting job", DIRECTIVES): ["qsub_f_stale_error_2"],
    # The words are those of the call before: this is why qsub is run with -f.
    (f"{ILLEGAL} Resource_List.place", DIRECTIVES): ["qsub_bg_stale_error_2", "qsub_err_bad_W_attr"],
    ('"-lresource=" cannot be used with "select" or "place", resource is: ncpus', DIRECTIVES): [
        "qsub_err_select_plus_ncpus",
    ],
    ("Invalid request", LOOK): ["size_dep_500"],
    # QUEUE_CLOSED
    ("Queue is not enabled", "the queue takes no jobs now: name another with -p (qstat -Q lists them)"): [
        "qsub_err_disabled_queue",
    ],
    # PERMISSION
    ("Unauthorized Request", "ask the site's support whether you may use that queue: -p"): ["qsub_err_acl_queue"],
    ("Cannot set attribute, read only or insufficient permission  comment", DIRECTIVES): ["tag_W_comment"],
    ("Bad UID for job execution", NO_USER): ["qsub_err_user_list_other", "qsub_err_user_list_nosuch", "qsub_err_root"],
    ("Bad GID for job execution", "you are not in that group: check the site's directives"): [
        "qsub_err_group_bad", "qsub_err_group_notmember",
    ],
    # LIMIT
    ("Job violates queue and/or server resource limits", LESS): [
        "qsub_err_over_max_walltime", "qsub_err_server_max", "qsub_err_queue_min",
    ],
    ("Array job exceeds server or queue size limit", "split the array: qstat -B -f shows max_array_size"): [
        "qsub_err_J_toobig",
    ],
    ("would exceed complex's per-user limit", OTHER_JOBS): ["qsub_err_max_queued_array"],
    # SITE_POLICY
    ("site policy: please set a project with -P; second line", SITE): ["qsub_err_hook_reject", "qsub_err_hook_reject_bg"],
    ("request rejected as filter hook 'sitepol' encountered an exception. Please inform Admin", SITE): [
        "qsub_err_hook_crash",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "words", "hint"), [(case, *expected) for expected, cases in REFUSED.items() for case in cases]
)
def test_a_refusal_says_why_and_what_to_do(case: str, words: str, hint: str) -> None:
    with pytest.raises(RefusedError) as caught:
        submit(answer(case, "qsub"))
    assert (caught.value.message, caught.value.hint) == (f"PBS refused the job: {words}", hint)


def test_a_limit_that_three_submissions_met() -> None:
    first = recording("qsub_err_max_queued").err.splitlines(keepends=True)[0]
    with pytest.raises(RefusedError, match="would exceed complex's per-user limit") as caught:
        submit(Completed(("qsub",), 38, "", first))
    assert caught.value.hint == OTHER_JOBS


# ------------------------------------------------------------------------------------------------ silence

BUSY = "the PBS server is down or busy: nothing was changed; try again in a minute"
ELSEWHERE = "there is no such PBS server: check PBS_SERVER, /etc/pbs.conf and -p, or use another login node"

# The words, what to do, and whether the job may be in the queue all the same.
SILENT = {
    "qsub_f_server_refused": ("qsub: Connection refused", BUSY, False),
    "qsub_err_PBS_SERVER_noserver": ("qsub: Connection refused", BUSY, False),
    "server_down_qsub_f": ("qsub: Connection refused", BUSY, False),
    "server_down_qsub": ("qsub: Connection refused", BUSY, False),
    "dep_unknown_3": ("qsub: Connection refused", BUSY, False),  # a long list of parents had crashed the server
    "qsub_f_server_unknown": ("qsub: cannot connect to server nosuchhost (errno=15008)", ELSEWHERE, False),
    "qsub_err_PBS_SERVER_env": ("qsub: cannot connect to server nosuchhost (errno=15008)", ELSEWHERE, False),
    "qsub_err_unknown_server": ("qsub: cannot connect to server pbshead (errno=15008)", ELSEWHERE, False),
    "qsub_f_no_conf": ("qsub: cannot connect to server  (errno=0)", ELSEWHERE, False),
    "qsub_err_no_conf": ("qsub: cannot connect to server  (errno=0)", ELSEWHERE, False),
    "qsub_bg_cwd_gone": ("qsub: Failed to recv data from background qsub", BUSY, True),
    "qsub_err_cwd_gone": ("qsub: Failed to recv data from background qsub", BUSY, True),
    "qsub_z": (
        "qsub succeeded but named no job: no output",
        "j1 is kept; the next hpcjob command looks for it in the queue",
        True,
    ),
    # It waited for the job, and ended as the job did: with a number that says nothing of the submission.
    "qsub_block_true": ("qsub ended with code 7 and without a word", BUSY, True),
    "qsub_block_true_signal": ("qsub ended with code 137 and without a word", BUSY, True),
}


@pytest.mark.parametrize("case", SILENT)
def test_silence_says_whether_the_job_may_be_there(case: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        submit(answer(case, "qsub"))
    assert (caught.value.message, caught.value.hint, caught.value.maybe_done) == SILENT[case]


@pytest.mark.parametrize("directive", ["-W block=true", "-z", "-f", "-I", "-C '#X'", "-S /bin/sh", "-J 1-2", "-r n"])
def test_directives_that_would_make_qsub_answer_otherwise_are_refused(directive: str) -> None:
    with pytest.raises(PlanError, match="is written by hpcjob itself"):
        options(replace(PLAN, directives=(directive,)))


# ------------------------------------------------------------------------------------ what hpcjob asks PBS for

PLAN = replace(render.sample_plan(full=False), scheduler="pbs")


def options(plan: Plan) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = list(spell(plan, OPENPBS)["options"])
    return found


NAMES_TAKEN = {
    "qsub_err_name_len_15": "n" * 15, "qsub_err_name_len_16": "n" * 16, "qsub_err_name_len_229": "n" * 229,
    "qsub_err_name_len_230": "n" * 230, "qsub_err_name_digit": "1abc", "qsub_err_name_dash": "-abc",
    "qsub_err_name_dot": ".abc", "qsub_err_name_under": "_abc", "qsub_err_name_plus": "a+b", "qsub_err_name_sci": "1e5",
    "qsub_err_name_digits": "007", "qsub_err_name_inf": "Infinity", "qsub_err_name_null": "null",
    "qsub_err_name_true": "true", "qsub_err_name_nan": "NaN", "qsub_err_name_hexa": "0x10", "qsub_err_name_neg1": "-1",
    "qsub_err_name_dotted": "v1.2-x",
}  # fmt: skip
# The name that was refused, and what hpcjob calls the job instead.
NAMES_REFUSED = {
    "qsub_err_name_len_231": ("n" * 231, "n" * 230), "qsub_err_name_len_236": ("n" * 236, "n" * 230),
    "qsub_err_name_len_237": ("n" * 237, "n" * 230), "qsub_err_name_len_300": ("n" * 300, "n" * 230),
    "qsub_err_name_space": ("a b", "a_b"), "qsub_err_name_slash": ("a/b", "a_b"), "qsub_err_name_colon": ("a:b", "a_b"),
    "qsub_err_name_at": ("a@b", "a_b"), "qsub_err_name_unicode": ("jöb", "j_b"),
    "qsub_err_name_unicode2": ("ジョブ", "___"), "qsub_err_name_comma": ("a,b", "a_b"), "qsub_err_name_eq": ("a=b", "a_b"),
    "qsub_err_name_quote": ("a'b", "a_b"), "qsub_err_name_dquote": ('a"b', "a_b"), "qsub_err_name_back": ("a\\b", "a_b"),
    "qsub_err_name_star": ("a*b", "a_b"), "qsub_err_name_paren": ("a(b)", "a_b_"), "qsub_err_name_brack": ("a[b]", "a_b_"),
    "qsub_err_name_tab": ("a\tb", "a_b"), "qsub_err_name_newline": ("a\nb", "a_b"), "qsub_err_name_empty": ("", "job"),
    "qsub_err_name_hash": ("a#b", "a_b"), "qsub_err_name_semi": ("a;b", "a_b"), "qsub_err_name_dollar": ("a$b", "a_b"),
    "qsub_err_name_pct": ("a%b", "a_b"), "qsub_err_name_amp": ("a&b", "a_b"), "qsub_err_name_lt": ("a<b", "a_b"),
    "qsub_err_name_pipe": ("a|b", "a_b"), "qsub_err_name_tilde": ("~ab", "_ab"), "qsub_err_name_excl": ("a!b", "a_b"),
    "qsub_err_name_emoji": ("a😀b", "a_b"), "qsub_err_name_spaces_only": ("   ", "___"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES_TAKEN)
def test_a_name_that_pbs_takes_stays(case: str) -> None:
    assert NAMES_TAKEN[case] in recording(case).command
    assert options(replace(PLAN, name=NAMES_TAKEN[case]))[0] == ("-N", NAMES_TAKEN[case])


@pytest.mark.parametrize("case", NAMES_REFUSED)
def test_a_name_that_pbs_refuses_is_changed(case: str) -> None:
    asked, written = NAMES_REFUSED[case]
    assert recording(case).code == 2
    assert options(replace(PLAN, name=asked))[0] == ("-N", written)


@given(st.text(max_size=300))
def test_any_name_becomes_one_that_pbs_takes(name: str) -> None:
    (flag, written), *_ = options(replace(PLAN, name=name))
    assert flag == "-N"
    assert re.fullmatch(r"[A-Za-z0-9_.+-]{1,230}", written)


# What the server showed of the walltime that it was given, which is how hpcjob writes it at once.
WALLTIMES = {
    "qsub_walltime_form_secs_qstat": (90, "00:01:30"),
    "qsub_walltime_form_mmss_qstat": (630, "00:10:30"),
    "qsub_walltime_form_hhmmss_qstat": (360_000, "100:00:00"),
    "qsub_walltime_form_ms_qstat": (2, "00:00:02"),
    "qsub_walltime_form_zero_qstat": (0, "00:00:00"),
}


@pytest.mark.parametrize("case", WALLTIMES)
def test_a_walltime_is_written_as_the_server_writes_it(case: str) -> None:
    seconds, shown = WALLTIMES[case]
    assert fragments(case)["walltime"] == shown
    assert walltime(Duration(seconds)) == shown


@given(st.integers(min_value=1, max_value=10**9))
def test_any_walltime_has_a_form_that_pbs_takes(seconds: int) -> None:
    hours, minutes, rest = walltime(Duration(seconds)).split(":")
    assert int(hours) * 3600 + int(minutes) * 60 + int(rest) == seconds
    assert re.fullmatch(r"[0-5]\d:[0-5]\d", f"{minutes}:{rest}")


# What was asked of qsub -J, and what hpcjob writes for the same tasks: nothing is an ordinary job.
RANGES_TAKEN = {
    "array_submit_0_9": ("0-9", 0, "0-9"),
    "array_submit_step": ("0-8:2", 0, "0-8:2"),
    "array_submit_pct": ("1-8", 2, "1-8%2"),
    "array_submit_todel": ("1-4", 0, "1-4"),
    "env_submit_array": ("7-9:2", 0, "7-9:2"),
    "qsub_err_J_pctbig": ("1-10", 100, "1-10%100"),
    "qsub_err_J_pct0": ("1-10", 0, "1-10"),  # PBS takes %0 too; hpcjob means no limit by it
    "qsub_err_J_list": ("1,3,6", 0, "0-2"),
    "qsub_err_J_single": ("5", 0, ""),
    "qsub_err_J_one": ("3-3", 4, ""),
}


@pytest.mark.parametrize("case", RANGES_TAKEN)
def test_tasks_are_asked_for_in_a_form_that_pbs_takes(case: str) -> None:
    tasks, limit, written = RANGES_TAKEN[case]
    assert dict(options(replace(PLAN, array=tasks, array_limit=limit))).get("-J", "") == written


# What no site and no person can make hpcjob ask for: a range that is none.
RANGES_REFUSED = {
    "qsub_err_J_garbage": "abc", "qsub_err_J_neg": "-1-5", "qsub_err_J_rev": "9-0", "qsub_err_J_zero": "0-9:0",
    "qsub_err_J_empty": "", "qsub_err_J_float": "1.5-2",
}  # fmt: skip


@pytest.mark.parametrize("case", RANGES_REFUSED)
def test_a_range_that_is_none_is_refused_before_pbs_sees_it(case: str) -> None:
    assert recording(case).code == 2
    with pytest.raises(UsageError, match="is not a set of indices"):
        parse_indices(RANGES_REFUSED[case])


@given(st.sets(st.integers(min_value=0, max_value=9999), min_size=1, max_size=40))
def test_any_set_of_tasks_has_a_range_that_pbs_takes(tasks: set[int]) -> None:
    indices = tuple(sorted(tasks))
    written, places = arrange(indices)
    assert len(places) == len(indices)
    if len(indices) == 1:
        assert written == ""
    else:
        assert re.fullmatch(r"\d+-\d+(:\d+)?", written)
        assert parse_indices(written) == places
        assert places in (indices, tuple(range(len(indices))))


def test_an_array_whose_tasks_must_not_start_again_is_refused_as_qsub_does() -> None:
    assert "cannot submit non-rerunable Array Job" in recording("qsub_err_J_rerun_n").err
    with pytest.raises(PlanError, match="must not start again"):
        options(replace(PLAN, array="0-3", requeue=False))
    assert ("-r", "n") in options(replace(PLAN, array="3", requeue=False))
    assert ("-r", "y") in options(replace(PLAN, array="0-3", requeue=True))


DEPENDENCIES = {
    "qsub_depend_afterok": ("afterok", ["24.pbshead"], "afterok:24.pbshead"),
    "qsub_depend_afterany_two": ("afterany", ["24.pbshead", "25.pbshead"], "afterany:24.pbshead:25.pbshead"),
    "qsub_depend_afternotok_bad": ("afternotok", ["24.pbshead"], "afternotok:24.pbshead"),
    "array_submit_arrayondep": ("afterany", ["143[].pbshead"], "afterany:143[].pbshead"),
}


@pytest.mark.parametrize("case", DEPENDENCIES)
def test_a_dependency_is_written_as_one_that_pbs_took(case: str) -> None:
    kind, parents, written = DEPENDENCIES[case]
    assert f"depend={written}" in recording(case).command
    assert pbs(Script()).dependency(kind, parents) == written


@pytest.mark.parametrize("case", ["size_dep_500", "dep2_fin_454", "dep_454", "dep_200"])
def test_long_lists_of_parents_which_have_crashed_servers_are_refused(case: str) -> None:
    parents = [f"{number}.pbshead" for number in range(1000, 1000 + int(re.findall(r"\d+", case)[-1]))]
    with pytest.raises(PlanError, match="are too many for PBS"):
        pbs(Script()).dependency("afterany", parents)


def test_the_chunks_are_those_that_the_server_makes_of_an_old_request() -> None:
    shown = fragments("qsub_old_nodes_ppn_qstat")
    plan = replace(PLAN, shape=Shape(2, 4, 2), nodes_asked=True)
    assert [value for flag, value in options(plan) if flag == "-l"] == [
        f"select={shown['select']}:ompthreads=1",
        f"place={shown['place']}",
    ]


def test_memory_has_a_unit_and_no_fraction() -> None:
    plan = replace(PLAN, mem=Memory.parse("1.5G"))
    assert ("-l", "select=1:ncpus=1:mpiprocs=1:ompthreads=1:mem=1536mb") in options(plan)


READ = {
    *ACCEPTED, *AMONG_OTHERS, *(case for cases in REFUSED.values() for case in cases), *SILENT, *WALLTIMES,
    "qsub_err_max_queued", "qsub_old_nodes_ppn_qstat",
}  # fmt: skip
