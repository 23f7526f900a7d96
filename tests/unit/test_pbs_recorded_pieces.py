"""What qstat showed in pieces, in text and in tables, and of the server, its queues and tags (tests/data/pbs)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpcjobs.model import NodeShape, Partition
from hpcjobs.process import Completed
from hpcjobs.record import JobState, JobStatus
from hpcjobs.schedulers import Limits
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_status import (
    Attributes,
    blocks_of,
    parse_dsv,
    parse_key,
    parse_tags,
    parse_text,
    read_status,
)
from hpcjobs.units import Duration, Memory
from tests.pbs_answers import US, Script, answer, as_dsv, at, fragments, held, job, pbs, runs, wait
from tests.pbs_recorded import recording

S = JobState

# --------------------------------------------------------------------------------------- lines that a grep left

FRAGMENTS = {
    "qdel_running": JobStatus(S.RUNNING, "R", nodes="pbsn2"),
    "qdel_force": JobStatus(S.RUNNING, "R", nodes="pbsn1"),
    "qsig_usr1_after": JobStatus(S.FAILED, "F 266", exit_code=138, signal=10, nodes="pbsn1"),
    # TERM by qsig is no qdel.
    "qsig_15_after": JobStatus(S.FAILED, "F 271", exit_code=143, signal=15, nodes="pbsn1"),
    "qsig_suspend_root": JobStatus(S.RUNNING, "S", nodes="pbsn1"),
    "qsig_resume_root": JobStatus(S.RUNNING, "R"),
    "qhold_queued": held("H u", ""),
    "qrls": wait("Q", ""),
    "qhold_running": JobStatus(S.RUNNING, "R"),
    "qrerun_root": held("H", "Job held by pat on Sat Nov 21 00:09:04 2026", restarts=1),
    "dep_afterany_forgotten_qstat": JobStatus(S.CANCELLED, "F 92", "Dependency"),
    "qstat_comment_max_run": JobStatus(S.RUNNING, "R", nodes="pbsn1"),
    "qstat_sched_off": wait("Q", ""),
}


@pytest.mark.parametrize("case", FRAGMENTS)
def test_a_few_attributes_are_enough(case: str) -> None:
    assert read_status(fragments(case)) == FRAGMENTS[case]


ATTRIBUTES: dict[str, Attributes] = {
    "qsub_empty_C_qstat": {"Job_Name": "prefix2.sh"},
    "qsub_dup_select_qstat": {
        "select": "1:ncpus=1", "walltime": "00:01:00", "Submit_arguments": "-l select=1:ncpus=1 dup.sh",
    },
    "qsub_old_nodes_ppn_qstat": {
        "mpiprocs": "4", "nodect": "2", "nodes": "2:ppn=2", "place": "scatter", "select": "2:ncpus=2:mpiprocs=2",
        "comment": "Not Running: Not enough free nodes available", "Submit_arguments": "-l nodes=2:ppn=2",
    },
    "qsub_job_wide_qstat": {
        "exec_vnode": "(pbsn3:mem=51200kb:ncpus=2)", "exec_host": "pbsn3/0", "mem": "50mb", "ncpus": "2", "nodect": "1",
        "place": "pack", "select": "1:mem=50mb:ncpus=2",
        "comment": "Job run at Fri Nov 20 at 23:50 on (pbsn3:mem=51200kb:ncpus=2)",
        "Submit_arguments": "-l ncpus=2 -l mem=50mb",
    },
    "qalter_queued": {"Job_Name": "renamed", "Account_Name": "acc2", "walltime": "00:20:00", "project": "proj2"},
    "qstat_parent_depend_json": {
        "depend": "beforeok:26.pbshead@pbshead:30.pbshead@pbshead,beforeany:27.pbshead@pbshead,"
        "beforenotok:28.pbshead@pbshead",
    },
    "array_pct_mid": {
        "Error_Path": "pbslogin:/home/pat/w/arrp.e143.^array_index^", "max_run_subjobs": "2",
        "Output_Path": "pbslogin:/home/pat/w/arrp.o143.^array_index^", "array_indices_submitted": "1-8",
        "array_state_count": "Queued:4 Running:2 Exiting:0 Expired:2", "array_indices_remaining": "5-8",
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_attributes_come_through_as_strings(case: str) -> None:
    line = US.join(("Job Id: 1.pbshead", *(f"{name}={value}" for name, value in fragments(case).items())))
    assert parse_dsv(line + "\n") == {(1, None): ATTRIBUTES[case]}
    assert read_status(ATTRIBUTES[case]).state is S.UNKNOWN  # its state was not among them


# The states that were seen one after the other.
SEQUENCES = {
    "qdel_then_poll": [JobStatus(S.RUNNING, "R")] * 2 + [JobStatus(S.CANCELLED, "F 91")] * 4,
    "qdel_trap": [JobStatus(S.RUNNING, "R")] * 9 + [JobStatus(S.CANCELLED, "F 91")] * 7,
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_a_deleted_job_runs_on_for_a_while_and_is_cancelled_then(case: str) -> None:
    lines = recording(case).out.splitlines()
    states = [dict(word.split("=") for word in line.split() if "=" in word) for line in lines]
    # That it had begun was not among what the grep left.
    assert [read_status({"run_count": "1", **state}) for state in states] == SEQUENCES[case]


TIMES = {
    "time_tz_default": {"stime": "21 00:51:01", "obittime": "21 00:51:03"},
    "time_locale": {"ctime": "21 00:51:01"},
    "time_tz_utc_vs_ny": {"stime": "21 00:51:01"},
}


@pytest.mark.parametrize("case", TIMES)
def test_times_are_utc_because_qstat_is_run_so(case: str) -> None:
    found = dict(line.split("=", 1) for line in reversed(recording(case).out.splitlines()))
    for name, when in TIMES[case].items():
        assert read_status({"job_state": "R", "stime": found[name]}).started == at(when)


def test_in_another_time_zone_the_same_second_reads_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    new_york = recording("time_tz_utc_vs_ny").out.splitlines()[4].removeprefix("stime=")
    assert read_status({"job_state": "R", "stime": new_york}).started == at("20 19:51:01")
    monkeypatch.setenv("TZ", "America/New_York")
    asked: list[str] = []

    def runner(argv: object, *, env: dict[str, str], **_: object) -> Completed:
        asked.append(env["TZ"])
        return Completed(("qstat",), 0, "", "")

    pbs(runner).poll([job()])  # type: ignore[arg-type]
    assert asked == ["UTC"]


# ------------------------------------------------------------------------------------------------ tables, text

# For people: names cut to 15 letters, ids to 16. No job is read from them.
TABLES = [
    "array_qstat_mid_plain", "array_qstat_mid_t_plain", "qdel_subjob_held", "qdel_subjob_range", "qrls_array",
    "qdel_subjob_running", "qdel_array_running", "qmove", "qstat_Q_plain", "qstat_q_plain", "qstat_plain", "qstat_u",
    "qstat_u_wide", "qstat_a", "qstat_n1", "qstat_s", "qstat_u_nosuch", "qstat_x_u", "qstat_H_opt",
    "qstat_name_truncated", "array_noserver",
]  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_no_job_is_read_from_a_table_for_people(case: str) -> None:
    out = recording(case).out
    assert (parse_dsv(out), parse_text(out)) == ({}, {})


TEXT: Attributes = {
    "Job_Name": "plainr", "job_state": "R", "substate": "42", "exec_host": "pbsn1/0", "run_count": "1",
    "Resource_List.select": "1:ncpus=1", "comment": "Job run at Sat Nov 21 at 00:09 on (pbsn1:ncpus=1)",
    "Variable_List":
        "PBS_O_HOME=/home/pat,PBS_O_LANG=C.UTF-8,PBS_O_LOGNAME=pat,"
        "PBS_O_PATH=/opt/pbs/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin,"
        "PBS_O_SHELL=/bin/bash,PBS_O_INTERACTIVE_AUTH_METHOD=resvport,PBS_O_INTERACTIVE_ENCRYPT_METHOD=,"
        "PBS_O_WORKDIR=/home/pat/w,PBS_O_SYSTEM=Linux,PBS_O_QUEUE=workq,PBS_O_HOST=pbslogin",
}  # fmt: skip
FORMS = {"qstat_f_text": parse_text, "qstat_f_w_text": parse_text, "qstat_f_dsv": parse_dsv}


@pytest.mark.parametrize("case", FORMS)
def test_text_and_dsv_say_the_same(case: str) -> None:
    (found,) = FORMS[case](
        recording(case).out.replace("|", US) if case == "qstat_f_dsv" else recording(case).out
    ).items()
    assert found[0] == (319, None)
    assert {name: found[1][name] for name in TEXT} == TEXT
    assert read_status(found[1]) == runs(S.RUNNING, "R", "21 00:09:23", "pbsn1")


def test_text_of_a_job_that_was_cut_off() -> None:
    assert parse_text(recording("nested_qsub").out) == {
        (5229, None): {"Job_Name": "outer", "Job_Owner": "pat@pbslogin"}
    }
    (attributes,) = parse_text("Job Id: 5226.pbshead\n" + recording("qstat_comment_max_run").out).values()
    assert attributes["comment"] == "Not Running: User has reached queue workq running job limit."
    settings = blocks_of("Server: pbshead\n" + recording("qstat_sched_off").out, "Server:")
    assert settings == {"pbshead": {"server_state": "Active", "scheduling": "False"}}


def test_ids() -> None:
    assert parse_key("141[].pbshead") == (141, None)
    assert parse_key("141[77].pbshead") == (141, 77)
    assert parse_key("141[2-4].pbshead") is None
    assert parse_key("5.pbshead") == parse_key("5") == (5, None)
    assert parse_key("5.pbs-01.site.org") == (5, None)


# ------------------------------------------------------------------------------------------------ server, queues

VERSIONS = {"qsub_version": "openpbs", "pbs_version_probe": "openpbs", "slurm_torque_wrapper": "slurm-torque"}


@pytest.mark.parametrize("case", VERSIONS)
def test_which_pbs_it_is(case: str) -> None:
    assert Pbs({}, Script(qstat=answer(case))).identify() == {"dialect": VERSIONS[case]}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("", Limits(10_000)),
        ("max_queued=[u:PBS_GENERIC=2000],[o:PBS_ALL=9000]", Limits(10_000, 2000)),
        ("max_queued=[o:PBS_ALL=9000]", Limits(10_000)),
    ],
)
def test_limits(more: str, expected: Limits) -> None:
    told = as_dsv("qstat_B_json", "Server", "Server: ").rstrip("\n")
    script = Script(qstat=Completed(("qstat",), 0, f"{told}{US}{more}\n" if more else f"{told}\n", ""))
    assert pbs(script).limits() == expected
    assert [call[:4] for call in script.calls] == [("qstat", "-B", "-f", "-F")]


def test_what_the_server_says_of_itself() -> None:
    told = pbs(Script(qstat=Completed(("qstat",), 0, as_dsv("qstat_B_json", "Server", "Server: "), ""))).diagnose()
    assert told.version == "23.06.06"
    assert told.details == {
        "dialect": "openpbs", "server": "pbshead", "default_queue": "workq", "scheduling": "True",
        "job_history_enable": "True", "max_array_size": "10000",
    }  # fmt: skip
    assert fragments("pbs_version_probe") == {
        "pbs_version": "23.06.06", "server_host": "pbshead", "default_queue": "workq", "max_array_size": "10000",
        "job_history_enable": "True", "job_history_duration": "336:00:00",
    }  # fmt: skip


def test_queues_and_nodes() -> None:
    queues = Completed(("qstat",), 0, as_dsv("qstat_Q_json", "Queue", "Queue: "), "")
    nodes = Completed(("pbsnodes",), 0, as_dsv("pbsnodes_json", "nodes", "Name="), "")
    largest = NodeShape(cores=4, memory=Memory.parse("24684096K"), gpus=2)
    plain = Partition(nodes=3, node=largest)
    assert pbs(Script(qstat=queues, pbsnodes=nodes)).partitions() == {
        "workq": plain, "shortq": replace(plain, max_time=Duration(3600)), "stoppedq": plain, "aclq": plain, "routeq": plain,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ tags

TAGGED = {
    "tag_visible_queued": "373.pbshead", "tag_visible_running": "374.pbshead", "tag_visible_finished": "375.pbshead",
    "tag_visible_array": "376[].pbshead",
}  # fmt: skip


@pytest.mark.parametrize("case", TAGGED)
def test_a_tag_is_found_where_it_was_put(case: str) -> None:
    record = US.join((f"Job Id: {TAGGED[case]}", *(f"{name}={value}" for name, value in fragments(case).items())))
    assert parse_tags(record, ["b5c54263e42b", "b5c54263e42c"]) == {"b5c54263e42b": TAGGED[case]}
    arguments = f"Job Id: {TAGGED[case]}{US}Submit_arguments={fragments(case)['Submit_arguments']}"
    assert parse_tags(arguments, ["b5c54263e42b"]) == {"b5c54263e42b": TAGGED[case]}


READ = {
    *FRAGMENTS, *ATTRIBUTES, *SEQUENCES, *TIMES, *TABLES, *FORMS, *VERSIONS, *TAGGED, "nested_qsub", "qstat_B_json",
    "qstat_Q_json",
}  # fmt: skip
