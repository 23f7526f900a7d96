"""What qstat showed of jobs in every state (tests/data/pbs), and what must be made of it.

The server of the recordings was asked in JSON, which is not read in production; here it is turned into the form that
is (`as_dsv`), so that what is tested is the way from qstat's line to the status.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs.process import Completed
from hpcjobs.record import JobState, JobStatus, Tasks
from hpcjobs.schedulers.pbs_status import parse_dsv, read_status
from hpcjobs.schedulers.pbs_words import explain_status
from tests.pbs_answers import US, Script, answer, as_dsv, at, held, job, pbs, runs, wait

S = JobState
STOPPED = "Not Running: Queue not started."
WALLTIME = "it was ended when its walltime was over"
START = "PBS could not start it (a prologue failed, or the home folder is missing on the node)"
NEVER = "it never began"


def ended(
    state: JobState,
    raw: str,
    nodes: str,
    began: str,
    end: str,
    *,
    code: int | None = None,
    signal: int = 0,
    reason: str = "",
) -> JobStatus:
    return JobStatus(state, raw, reason, exit_code=code, signal=signal, started=at(began), ended=at(end), nodes=nodes)


def never(raw: str, reason: str, end: str) -> JobStatus:
    return JobStatus(S.CANCELLED, raw, reason, ended=at(end))


def whole(state: JobState, raw: str, end: str) -> JobStatus:
    return JobStatus(state, raw, ended=at(end))


# -------------------------------------------------------------------------------------------- whole documents

DOCUMENTS = {
    # accepted
    "qsub_gpu_qstat": {"16.pbshead": ended(S.FAILED, "F 1", "pbsn1", "20 23:50:50", "20 23:50:51", code=1)},
    # arrays
    "array_qstat_early_parent_json": {"141[].pbshead": runs(S.RUNNING, "B", "21 00:01:58", "")},
    "array_qstat_mid_parent_json": {"141[].pbshead": runs(S.RUNNING, "B", "21 00:01:58", "")},
    "array_qstat_mid_t_json": {
        "141[].pbshead": runs(S.RUNNING, "B", "21 00:01:58", ""),
        "141[0].pbshead": ended(S.DONE, "X 0", "pbsn1", "21 00:01:58", "21 00:02:05", code=0),
        "141[1].pbshead": ended(S.FAILED, "X 1", "pbsn1", "21 00:01:58", "21 00:02:05", code=1),
        "141[2].pbshead": runs(S.RUNNING, "R", "21 00:01:59", "pbsn2"),
        "141[3].pbshead": runs(S.RUNNING, "R", "21 00:02:01", "pbsn2"),
        "141[4].pbshead": runs(S.RUNNING, "R", "21 00:01:58", "pbsn3"),
        "141[5].pbshead": runs(S.RUNNING, "R", "21 00:01:58", "pbsn3"),
        "141[6].pbshead": runs(S.RUNNING, "R", "21 00:02:05", "pbsn1"),
        "141[7].pbshead": runs(S.RUNNING, "R", "21 00:02:05", "pbsn1"),
        "141[8].pbshead": wait("Q", "Job Array Began at Sat Nov 21 at 00:01"),
        "141[9].pbshead": wait("Q", "Job Array Began at Sat Nov 21 at 00:01"),
    },
    "array_qstat_mid_subjob_json": {"141[1].pbshead": ended(S.FAILED, "X 1", "pbsn1", "21 00:01:58", "21 00:02:05", code=1)},
    "array_qstat_mid_subjob_X_json": {"141[0].pbshead": ended(S.DONE, "X 0", "pbsn1", "21 00:01:58", "21 00:02:05", code=0)},
    "array_qstat_mid_subjob_Q_json": {"141[9].pbshead": runs(S.RUNNING, "R", "21 00:02:08", "pbsn2")},
    "array_qstat_mid_range_json": {
        "141[2].pbshead": ended(S.FAILED, "X 2", "pbsn2", "21 00:01:59", "21 00:02:07", code=2),
        "141[3].pbshead": ended(S.DONE, "X 0", "pbsn2", "21 00:02:01", "21 00:02:08", code=0),
        "141[4].pbshead": runs(S.RUNNING, "R", "21 00:01:58", "pbsn3"),
    },
    "array_qstat_noid_json": {
        "134.pbshead": wait("Q", "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 12 T: 12)"),
        "135.pbshead": wait("Q", STOPPED),
        "141[].pbshead": runs(S.RUNNING, "B", "21 00:01:58", ""),
    },
    "array_qstat_noid_t_json": {
        "134.pbshead": wait("Q", "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 12 T: 12)"),
        "135.pbshead": wait("Q", STOPPED),
        "141[].pbshead": runs(S.RUNNING, "B", "21 00:01:58", ""),
        "141[0].pbshead": ended(S.DONE, "X 0", "pbsn1", "21 00:01:58", "21 00:02:05", code=0),
        "141[1].pbshead": ended(S.FAILED, "X 1", "pbsn1", "21 00:01:58", "21 00:02:05", code=1),
        "141[2].pbshead": ended(S.FAILED, "X 2", "pbsn2", "21 00:01:59", "21 00:02:07", code=2),
        "141[3].pbshead": ended(S.DONE, "X 0", "pbsn2", "21 00:02:01", "21 00:02:08", code=0),
        "141[4].pbshead": ended(S.FAILED, "X 1", "pbsn3", "21 00:01:58", "21 00:02:12", code=1),
        "141[5].pbshead": ended(S.FAILED, "X 2", "pbsn3", "21 00:01:58", "21 00:02:12", code=2),
        "141[6].pbshead": runs(S.RUNNING, "R", "21 00:02:05", "pbsn1"),
        "141[7].pbshead": runs(S.RUNNING, "R", "21 00:02:05", "pbsn1"),
        "141[8].pbshead": runs(S.RUNNING, "R", "21 00:02:07", "pbsn2"),
        "141[9].pbshead": runs(S.RUNNING, "R", "21 00:02:08", "pbsn2"),
    },
    "array_qstat_F_parent_json": {"141[].pbshead": whole(S.FAILED, "F 93", "21 00:02:21")},
    "array_qstat_F_t_json": {
        "141[].pbshead": whole(S.FAILED, "F 93", "21 00:02:21"),
        "141[0].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:01:58", "21 00:02:05", code=0),
        "141[1].pbshead": ended(S.FAILED, "F 1", "pbsn1", "21 00:01:58", "21 00:02:05", code=1),
        "141[2].pbshead": ended(S.FAILED, "F 2", "pbsn2", "21 00:01:59", "21 00:02:07", code=2),
        "141[3].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:01", "21 00:02:08", code=0),
        "141[4].pbshead": ended(S.FAILED, "F 1", "pbsn3", "21 00:01:58", "21 00:02:12", code=1),
        "141[5].pbshead": ended(S.FAILED, "F 2", "pbsn3", "21 00:01:58", "21 00:02:12", code=2),
        "141[6].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:05", "21 00:02:15", code=0),
        "141[7].pbshead": ended(S.FAILED, "F 1", "pbsn1", "21 00:02:05", "21 00:02:15", code=1),
        "141[8].pbshead": ended(S.FAILED, "F 2", "pbsn2", "21 00:02:07", "21 00:02:19", code=2),
        "141[9].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:08", "21 00:02:21", code=0),
    },
    "array_qstat_F_subjob_json": {"141[1].pbshead": ended(S.FAILED, "F 1", "pbsn1", "21 00:01:58", "21 00:02:05", code=1)},
    "array_held_parent": {"149[].pbshead": held("H u", "")},
    "array_F_step": {
        "142[].pbshead": whole(S.FAILED, "F 93", "21 00:02:36"),
        "142[0].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:22", "21 00:02:28", code=0),
        "142[2].pbshead": ended(S.FAILED, "F 2", "pbsn1", "21 00:02:22", "21 00:02:28", code=2),
        "142[4].pbshead": ended(S.FAILED, "F 1", "pbsn1", "21 00:02:22", "21 00:02:28", code=1),
        "142[6].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:22", "21 00:02:31", code=0),
        "142[8].pbshead": ended(S.FAILED, "F 2", "pbsn2", "21 00:02:22", "21 00:02:36", code=2),
    },
    "array_F_pct": {
        "143[].pbshead": whole(S.DONE, "F 92", "21 00:02:39"),
        "143[1].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:22", "21 00:02:28", code=0),
        "143[2].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:22", "21 00:02:28", code=0),
        "143[3].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:28", "21 00:02:30", code=0),
        "143[4].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:28", "21 00:02:31", code=0),
        "143[5].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:31", "21 00:02:36", code=0),
        "143[6].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:31", "21 00:02:36", code=0),
        "143[7].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:36", "21 00:02:39", code=0),
        "143[8].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:36", "21 00:02:39", code=0),
    },
    "array_F_outpat": {
        "144[].pbshead": whole(S.DONE, "F 92", "21 00:02:23"),
        "144[1].pbshead": ended(S.DONE, "F 0", "pbsn2", "21 00:02:22", "21 00:02:23", code=0),
        "144[2].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:22", code=0),
    },
    "array_F_outdir": {
        "145[].pbshead": whole(S.DONE, "F 92", "21 00:02:22"),
        "145[1].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:22", code=0),
        "145[2].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:22", code=0),
    },
    "array_F_outfile": {
        "146[].pbshead": whole(S.DONE, "F 92", "21 00:02:22"),
        "146[1].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:22", code=0),
        "146[2].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:22", code=0),
    },
    "array_F_allfail": {
        "147[].pbshead": whole(S.FAILED, "F 93", "21 00:02:22"),
        "147[1].pbshead": ended(S.FAILED, "F 1", "pbsn3", "21 00:02:22", "21 00:02:22", code=1),
        "147[2].pbshead": ended(S.FAILED, "F 1", "pbsn3", "21 00:02:22", "21 00:02:22", code=1),
    },
    "array_F_allok": {
        "148[].pbshead": whole(S.DONE, "F 92", "21 00:02:23"),
        "148[1].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:23", code=0),
        "148[2].pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:22", "21 00:02:23", code=0),
    },
    "array_F_held": {
        "149[].pbshead": whole(S.DONE, "F 92", "21 00:02:31"),
        "149[1].pbshead": never("F 92", NEVER, "21 00:02:31"),
        "149[2].pbshead": never("F 92", NEVER, "21 00:02:31"),
        "149[3].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:31", "21 00:02:31", code=0),
    },
    "array_F_dep": {"150.pbshead": ended(S.DONE, "F 0", "pbsn3", "21 00:02:23", "21 00:02:28", code=0)},
    "array_F_dep_fail": {"151.pbshead": never("F 92", "Dependency", "21 00:02:22")},
    "array_F_arrayondep": {
        "152[].pbshead": whole(S.DONE, "F 92", "21 00:02:39"),
        "152[1].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:39", "21 00:02:39", code=0),
        "152[2].pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:02:39", "21 00:02:39", code=0),
    },
    "array_F_deleted": {
        "153[].pbshead": whole(S.CANCELLED, "F 91", "21 00:02:48"),
        "153[1].pbshead": ended(S.CANCELLED, "F 91", "pbsn1", "21 00:02:44", "21 00:02:48"),
        "153[2].pbshead": ended(S.CANCELLED, "F 91", "pbsn1", "21 00:02:44", "21 00:02:48"),
        "153[3].pbshead": ended(S.CANCELLED, "F 91", "pbsn1", "21 00:02:44", "21 00:02:48"),
        "153[4].pbshead": ended(S.CANCELLED, "F 91", "pbsn1", "21 00:02:44", "21 00:02:48"),
    },
    "array_F_deleted_queued": {
        "5233[].pbshead": never("F 91", NEVER, "21 00:52:09"),
        "5233[1].pbshead": never("F 91", NEVER, "21 00:52:09"),
        "5233[2].pbshead": never("F 91", NEVER, "21 00:52:09"),
        "5233[3].pbshead": never("F 91", NEVER, "21 00:52:09"),
    },
    "array_deleted_subjob_queued": {
        "5234[].pbshead": wait("Q", STOPPED),
        "5234[1].pbshead": wait("Q", STOPPED),
        "5234[2].pbshead": never("X 10", NEVER, "21 00:52:10"),
        "5234[3].pbshead": wait("Q", STOPPED),
    },
    "array_deleted_subjob_queued_after": {
        "5234[].pbshead": wait("Q", STOPPED),
        "5234[1].pbshead": wait("Q", STOPPED),
        "5234[2].pbshead": never("X 10", NEVER, "21 00:52:11"),
        "5234[3].pbshead": wait("Q", STOPPED),
    },
    "array_F_walltime": {
        "5235[].pbshead": whole(S.FAILED, "F 93", "21 00:52:29"),
        "5235[1].pbshead": ended(S.TIMEOUT, "F -29", "pbsn1", "21 00:52:17", "21 00:52:29", reason=WALLTIME),
        "5235[2].pbshead": ended(S.TIMEOUT, "F -29", "pbsn1", "21 00:52:17", "21 00:52:29", reason=WALLTIME),
    },
    # failures
    "fail_prologue_1": {"5001.pbshead": ended(S.FAILED, "F -2", "pbsn2", "21 00:43:54", "21 00:43:54", reason=START)},
    "fail_prologue_2": {"5002.pbshead": held("H s", "job held, too many failed attempts to run", restarts=21)},
    "fail_nohome": {"5005.pbshead": ended(S.FAILED, "F -2", "pbsn1", "21 00:44:18", "21 00:44:19", reason=START)},
    "fail_node_down_json": {"5006.pbshead": wait("Q", "Not Running: Insufficient amount of resource: host ", restarts=1)},
    "fail_node_down_norerun_json": {"5007.pbshead": ended(S.NODE_FAIL, "F -20", "pbsn3", "21 00:44:27", "21 00:44:49", reason="a node was lost")},
    # folders
    "wd_space_qstat": {"1478.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:02", "21 00:28:03", code=0)},
    "wd_comma_qstat": {"1479.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:04", "21 00:28:05", code=0)},
    "wd_quote_qstat": {"1480.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:05", "21 00:28:06", code=0)},
    "wd_dquote_qstat": {"1481.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:07", "21 00:28:08", code=0)},
    "wd_unicode_qstat": {"1482.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:08", "21 00:28:09", code=0)},
    "wd_backslash_qstat": {"1483.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:10", "21 00:28:11", code=0)},
    "wd_newline_qstat": {"1484.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:11", "21 00:28:12", code=0)},
    "wd_dollar_qstat": {"1485.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:13", "21 00:28:14", code=0)},
    "wd_eq_qstat": {"1486.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:14", "21 00:28:15", code=0)},
    # history-off
    "hist_off_qstat_running": {"4.pbshead": runs(S.RUNNING, "R", "20 23:49:22", "pbsn1")},
    # names
    "qstat_name_digit": {"68.pbshead": held("H u", "")},
    "qstat_name_dash": {"69.pbshead": held("H u", "")},
    "qstat_name_dot": {"70.pbshead": held("H u", "")},
    "qstat_name_under": {"71.pbshead": held("H u", "")},
    "qstat_name_plus": {"72.pbshead": held("H u", "")},
    "qstat_name_sci": {"73.pbshead": held("H u", "")},
    "qstat_name_digits": {"74.pbshead": held("H u", "")},
    "qstat_name_inf": {"76.pbshead": held("H u", "")},
    "qstat_name_null": {"77.pbshead": held("H u", "")},
    "qstat_name_true": {"78.pbshead": held("H u", "")},
    "qstat_name_nan": {"79.pbshead": held("H u", "")},
    "qstat_name_hexa": {"80.pbshead": held("H u", "")},
    "qstat_name_neg1": {"81.pbshead": held("H u", "")},
    "qstat_name_dotted": {"82.pbshead": held("H u", "")},
    # output
    "out_path_relative_qstat": {"1466.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:45", "21 00:26:46", code=0)},
    "out_path_space_qstat": {"1467.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:47", "21 00:26:48", code=0)},
    "out_path_comma_qstat": {"1468.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:48", "21 00:26:49", code=0)},
    "out_path_colon_qstat": {"1469.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:50", "21 00:26:51", code=0)},
    "out_path_host_qstat": {"1470.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:52", "21 00:26:53", code=0)},
    "out_path_quote_qstat": {"1471.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:53", "21 00:26:54", code=0)},
    "out_path_dquote_qstat": {"1472.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:26:55", "21 00:26:56", code=0)},
    "out_path_tilde_qstat": {"1473.pbshead": runs(S.COMPLETING, "E", "21 00:26:56", "pbsn1")},
    "out_path_dollar_qstat": {"1474.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:27:27", "21 00:27:28", code=0)},
    "out_path_jobid_qstat": {"1475.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:27:29", "21 00:27:30", code=0)},
    "out_path_newdir_qstat": {"1476.pbshead": runs(S.COMPLETING, "E", "21 00:27:30", "pbsn1")},
    "out_path_long_qstat": {"1477.pbshead": ended(S.DONE, "F 0", "pbsn1", "21 00:28:01", "21 00:28:02", code=0)},
    # qstat
    "qstat_f_json_full_R": {"5.pbshead": runs(S.RUNNING, "R", "20 23:50:44", "pbsn1,pbsn2")},
    "qstat_xf_json_full_F": {"5.pbshead": ended(S.DONE, "F 0", "pbsn1,pbsn2", "20 23:50:44", "20 23:50:48", code=0)},
    "qstat_H_json": {"22.pbshead": held("H u", "")},
    "qstat_W_json": {"23.pbshead": wait("W", "")},
    "qstat_H_depend_json": {"26.pbshead": wait("H s", "Dependency")},
    "qstat_after_parent_afterok": {"26.pbshead": ended(S.DONE, "F 0", "pbsn1", "20 23:50:59", "20 23:51:00", code=0)},
    "qstat_after_parent_afterany": {"27.pbshead": ended(S.DONE, "F 0", "pbsn1", "20 23:50:59", "20 23:51:00", code=0)},
    "qstat_after_parent_afternotok_bad": {"28.pbshead": never("F 92", "Dependency", "20 23:50:59")},
    "qstat_after_parent_afterok_bad": {"29.pbshead": never("F 92", "Dependency", "20 23:50:59")},
    "qstat_after_parent_afterok_mixed": {"30.pbshead": ended(S.DONE, "F 0", "pbsn1", "20 23:51:00", "20 23:51:00", code=0)},
    "qstat_finished_no_x_mixed": {"135.pbshead": wait("Q", STOPPED)},
    "qstat_queue_as_id": {"319.pbshead": runs(S.RUNNING, "R", "21 00:09:23", "pbsn1")},
    "qstat_other_user": {"319.pbshead": runs(S.RUNNING, "R", "21 00:09:23", "pbsn1")},
    # server-down
    "server_back_qstat": {"5008.pbshead": runs(S.RUNNING, "R", "", "pbsn1")},
    # states
    "qstat_json_live_stoppedq": {"135.pbshead": wait("Q", STOPPED)},
    "qstat_json_live_big": {"134.pbshead": wait("Q", "Can Never Run: Insufficient amount of resource: ncpus (R: 64 A: 12 T: 12)")},
    "qstat_json_live_wait": {"137.pbshead": wait("Q", "Not Running: Not enough free nodes available")},
    "qstat_json_live_hold": {"139.pbshead": held("H u", "")},
    "qstat_json_live_at": {"140.pbshead": wait("W", "")},
    "qstat_json_live_R": {"136.pbshead": wait("Q", "Not Running: No available resources on nodes")},
    "qstat_json_F_ok": {"114.pbshead": ended(S.DONE, "F 0", "pbsn1", "20 23:59:36", "20 23:59:39", code=0)},
    "qstat_json_F_exit3": {"115.pbshead": ended(S.FAILED, "F 3", "pbsn1", "20 23:59:36", "20 23:59:36", code=3)},
    "qstat_json_F_exit255": {"116.pbshead": ended(S.FAILED, "F 255", "pbsn1", "20 23:59:36", "20 23:59:36", code=255)},
    "qstat_json_F_exit300": {"117.pbshead": ended(S.FAILED, "F 44", "pbsn1", "20 23:59:36", "20 23:59:37", code=44)},
    "qstat_json_F_cmdnotfound": {"118.pbshead": ended(S.FAILED, "F 127", "pbsn2", "20 23:59:36", "20 23:59:37", code=127)},
    "qstat_json_F_badshebang": {"119.pbshead": ended(S.FAILED, "F 127", "pbsn1", "20 23:59:36", "20 23:59:37", code=127)},
    "qstat_json_F_sig9": {"120.pbshead": ended(S.FAILED, "F 137", "pbsn1", "20 23:59:37", "20 23:59:37", code=137, signal=9)},
    "qstat_json_F_sig15": {"121.pbshead": ended(S.FAILED, "F 143", "pbsn2", "20 23:59:37", "20 23:59:37", code=143, signal=15)},
    "qstat_json_F_sigsegv": {"122.pbshead": ended(S.FAILED, "F 139", "pbsn1", "20 23:59:37", "20 23:59:37", code=139, signal=11)},
    "qstat_json_F_child9": {"123.pbshead": ended(S.FAILED, "F 137", "pbsn2", "20 23:59:37", "20 23:59:37", code=137, signal=9)},
    "qstat_json_F_exec9": {"124.pbshead": ended(S.FAILED, "F 265", "pbsn2", "20 23:59:37", "20 23:59:37", code=137, signal=9)},
    "qstat_json_F_badshell": {"125.pbshead": ended(S.FAILED, "F 254", "pbsn2", "20 23:59:37", "20 23:59:37", code=254)},
    "qstat_json_F_nodir": {"126.pbshead": ended(S.DONE, "F 0", "pbsn1", "20 23:59:37", "21 00:00:09", code=0)},
    "qstat_json_F_rodir": {"127.pbshead": ended(S.DONE, "F 0", "pbsn1", "20 23:59:37", "21 00:00:09", code=0)},
    "qstat_json_F_walltime": {"128.pbshead": ended(S.TIMEOUT, "F -29", "pbsn1", "20 23:59:37", "20 23:59:49", reason=WALLTIME)},
    "qstat_json_F_walltime_trap": {"129.pbshead": ended(S.TIMEOUT, "F -29", "pbsn2", "20 23:59:37", "21 00:00:00", reason=WALLTIME)},
    "qstat_json_F_walltime_ignore": {"130.pbshead": ended(S.TIMEOUT, "F -29", "pbsn2", "20 23:59:37", "21 00:00:00", reason=WALLTIME)},
    "qstat_json_F_delrun": {"131.pbshead": ended(S.CANCELLED, "F 91", "pbsn2", "20 23:59:37", "21 00:00:45")},
    "qstat_json_F_delrun_trap": {"132.pbshead": ended(S.CANCELLED, "F 91", "pbsn2", "20 23:59:37", "21 00:00:46")},
    "qstat_json_F_memhog": {"133.pbshead": ended(S.DONE, "F 0", "pbsn3", "20 23:59:37", "20 23:59:43", code=0)},
    "qstat_json_F_delq": {"138.pbshead": never("F 91", NEVER, "21 00:00:44")},
    "qstat_json_F_hold": {"139.pbshead": never("F 91", NEVER, "21 00:00:44")},
    "qstat_json_F_at": {"140.pbshead": never("F 91", NEVER, "21 00:00:44")},
    "qstat_json_S": {"314.pbshead": runs(S.RUNNING, "S", "21 00:08:58", "pbsn1")},
    "qstat_json_E": {"5009.pbshead": runs(S.COMPLETING, "E", "21 00:45:50", "pbsn1")},
    "qstat_json_F_mem": {"5010.pbshead": ended(S.OOM, "F -27", "pbsn2", "21 00:45:54", "21 00:46:06", reason="it used more memory than it asked for")},
    "qstat_json_F_cput": {"5011.pbshead": ended(S.FAILED, "F 265", "pbsn2", "21 00:46:07", "21 00:46:13", code=137, signal=9)},
}  # fmt: skip


def read(text: str) -> dict[tuple[int, int | None], JobStatus]:
    return {key: read_status(attributes) for key, attributes in parse_dsv(text).items()}


def keyed(statuses: dict[str, JobStatus]) -> dict[tuple[int, int | None], JobStatus]:
    found = {}
    for native_id, status in statuses.items():
        number, _, rest = native_id.removesuffix(".pbshead").partition("[")
        found[int(number), int(rest[:-1]) if rest.strip("]") else None] = status
    return found


@pytest.mark.parametrize("case", DOCUMENTS)
def test_each_job_of_a_document(case: str) -> None:
    assert read(as_dsv(case)) == keyed(DOCUMENTS[case])


SINGLE = [case for case, jobs in DOCUMENTS.items() if not any("[" in native_id for native_id in jobs)]


@pytest.mark.parametrize("case", SINGLE)
def test_one_qstat_tells_of_the_jobs_that_were_asked_for(case: str) -> None:
    script = Script(qstat=replace(answer(case), out=as_dsv(case)))
    asked = [*(job(native_id) for native_id in DOCUMENTS[case]), job("999999.pbshead")]
    assert pbs(script).poll(asked) == DOCUMENTS[case]
    assert pbs(script).accounting(asked) == DOCUMENTS[case]
    ids = [one.native_id for one in asked]
    form = ["-f", "-F", "dsv", "-D", US]
    assert script.calls == [("qstat", "-E", *form, *ids), ("qstat", "-E", "-x", *form, *ids)]


# Arrays as hpcjob submitted them: the indices, the whole, the tasks by state, the exit codes that are not 0.
ARRAYS = [
    ("array_qstat_mid_t_json", "141[]", "0-9", S.RUNNING, Tasks({"done": "0", "failed": "1", "pending": "8-9", "running": "2-7"}, {"1": 1})),
    ("array_qstat_noid_t_json", "141[]", "0-9", S.RUNNING, Tasks({"done": "0,3", "failed": "1-2,4-5", "running": "6-9"}, {"1": 1, "2": 2, "4": 1, "5": 2})),
    ("array_qstat_F_t_json", "141[]", "0-9", S.FAILED, Tasks({"done": "0,3,6,9", "failed": "1-2,4-5,7-8"}, {"1": 1, "2": 2, "4": 1, "5": 2, "7": 1, "8": 2})),
    # Indices that are no range: PBS counts the tasks from 0.
    ("array_qstat_F_t_json", "141[]", "1-8,10,20", S.FAILED, Tasks({"done": "1,4,7,20", "failed": "2-3,5-6,8,10"}, {"2": 1, "3": 2, "5": 1, "6": 2, "8": 1, "10": 2})),
    ("array_F_step", "142[]", "0-8:2", S.FAILED, Tasks({"done": "0,6", "failed": "2,4,8"}, {"2": 2, "4": 1, "8": 2})),
    ("array_F_pct", "143[]", "1-8", S.DONE, Tasks({"done": "1-8"})),
    ("array_F_outpat", "144[]", "1-2", S.DONE, Tasks({"done": "1-2"})),
    ("array_F_outdir", "145[]", "1-2", S.DONE, Tasks({"done": "1-2"})),
    ("array_F_outfile", "146[]", "1-2", S.DONE, Tasks({"done": "1-2"})),
    ("array_F_allfail", "147[]", "1-2", S.FAILED, Tasks({"failed": "1-2"}, {"1": 1, "2": 1})),
    ("array_F_allok", "148[]", "1-2", S.DONE, Tasks({"done": "1-2"})),
    # PBS says of the tasks that were deleted before they ran that they finished with 0.
    ("array_F_held", "149[]", "1-3", S.CANCELLED, Tasks({"cancelled": "1-2", "done": "3"})),
    ("array_F_arrayondep", "152[]", "1-2", S.DONE, Tasks({"done": "1-2"})),
    ("array_F_deleted", "153[]", "1-4", S.CANCELLED, Tasks({"cancelled": "1-4"})),
    ("array_F_deleted_queued", "5233[]", "1-3", S.CANCELLED, Tasks({"cancelled": "1-3"})),
    ("array_deleted_subjob_queued", "5234[]", "1-3", S.PENDING, Tasks({"cancelled": "2", "pending": "1,3"})),
    ("array_deleted_subjob_queued_after", "5234[]", "1-3", S.PENDING, Tasks({"cancelled": "2", "pending": "1,3"})),
    ("array_F_walltime", "5235[]", "1-2", S.TIMEOUT, Tasks({"timeout": "1-2"})),
]  # fmt: skip


@pytest.mark.parametrize(("case", "native_id", "indices", "state", "tasks"), ARRAYS)
def test_the_tasks_of_an_array(case: str, native_id: str, indices: str, state: JobState, tasks: Tasks) -> None:
    script = Script(qstat=Completed(("qstat",), 0, as_dsv(case), ""))
    told = pbs(script).accounting([job(f"{native_id}.pbshead", array=indices)])[f"{native_id}.pbshead"]
    assert (told.state, told.tasks) == (state, tasks)
    assert script.calls[0][:4] == ("qstat", "-E", "-x", "-t")


def test_an_array_that_is_listed_without_its_tasks_waits_or_runs_as_a_whole(tmp_path: Path) -> None:
    listed = Completed(("qstat",), 0, as_dsv("array_held_parent"), "")
    told = pbs(Script(qstat=listed)).poll([job("149[].pbshead", array="1-3", folder=str(tmp_path))])
    assert told["149[].pbshead"] == replace(held("H u", ""), tasks=Tasks({"held": "1-3"}))


# ------------------------------------------------------------------------------------------------ why a job waits

WHY = {
    "qstat_json_live_big": "it can never run: Insufficient amount of resource: ncpus (R: 64 A: 12 T: 12)",
    "qstat_json_live_stoppedq": "its queue is stopped",
    "qstat_json_live_wait": "it waits for nodes to become free",
    "qstat_json_live_R": "PBS says: No available resources on nodes",
    "qstat_json_live_hold": "its owner holds it",
    "qstat_json_live_at": "its start time is in the future",
    "qstat_H_depend_json": "it waits for another job to end",
    "fail_prologue_2": "its start failed too often, and PBS holds it",
    "fail_node_down_json": "it waits for resources: host",
    "qstat_f_json_full_R": "it is running",
}


@pytest.mark.parametrize("case", WHY)
def test_why_a_job_waits(case: str) -> None:
    (native_id,) = DOCUMENTS[case]
    told = pbs(Script(qstat=Completed(("qstat",), 0, as_dsv(case), ""))).explain(job(native_id))
    assert told.words == WHY[case]
    assert told.advice or case == "qstat_f_json_full_R"


def test_why_a_job_waits_that_has_a_limit_or_was_not_looked_at() -> None:
    limit = wait("Q", "Not Running: User has reached queue workq running job limit.")
    assert explain_status(limit).words == "a limit is reached: User has reached queue workq running job limit."
    assert explain_status(wait("Q", "")).words == "PBS has not looked at it yet"
    assert explain_status(held("H s", "")).words == "an administrator holds it"
    assert explain_status(wait("Q", "something new")).words == "PBS says: something new"


READ = {*DOCUMENTS}
