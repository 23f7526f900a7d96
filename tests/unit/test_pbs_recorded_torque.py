"""What a real TORQUE answered (tests/data/pbs/torque), and what must be made of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs import render
from hpcjobs.errors import PlanError, RefusedError, UnreachableError, UsageError
from hpcjobs.model import NodeShape, Partition, Shape
from hpcjobs.process import Completed
from hpcjobs.record import JobState, JobStatus, Tasks
from hpcjobs.schedulers import Diagnosis, Explanation, Limits
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_request import TORQUE, spell, walltime
from hpcjobs.schedulers.pbs_status import parse_key, parse_tags, parse_text, parse_version, read_status
from hpcjobs.schedulers.pbs_words import message, per_id
from hpcjobs.units import Duration, Memory, parse_indices
from tests import pbs_answers
from tests.pbs_answers import Script, at, held, job, runs, wait
from tests.pbs_recorded import recording, recordings

S = JobState
BUSY = "the PBS server is down or busy: nothing was changed; try again in a minute"


def answer(case: str, program: str) -> Completed:
    return pbs_answers.answer(case, program, TORQUE)


def torque(**answers: Completed | list[Completed]) -> tuple[Pbs, Script]:
    script = Script(**answers)
    return pbs_answers.pbs(script, TORQUE), script


def listing(*native_ids: str) -> Completed:
    """What qstat says of jobs that are there."""
    return Completed(("qstat",), 0, "".join(f"Job Id: {one}\n    job_state = R\n\n" for one in native_ids), "")


# ------------------------------------------------------------------------------------------------ qsub


def submit(given: Completed, folder: Path) -> str:
    (folder / "job.sh").write_text("#!/bin/bash\ntrue\n")
    scheduler, script = torque(qsub=given)
    native_id = scheduler.submit(folder / "job.sh", tag="3f9c", record=job())
    assert script.calls == [("qsub", str(folder / "job.sh"))]
    return native_id


ACCEPTED = {
    "qsub_ok": "146.thead", "qsub_exit_7": "147.thead", "qsub_kill_9": "148.thead", "qsub_walltime": "149.thead",
    "qsub_two_nodes": "150.thead", "qsub_array": "151[].thead", "qsub_array_list": "152[].thead",
    "qsub_array_of_one": "153[].thead", "qsub_held": "154.thead", "qsub_afterok": "155.thead",
    "qsub_afterokarray": "156.thead", "qsub_afterok_failed": "157.thead", "qsub_name_15": "160.thead",
    "qsub_name_16": "161.thead", "qsub_name_digit": "162.thead", "qsub_name_dash": "163.thead",
    "qsub_name_plus": "164.thead", "qsub_name_colon": "165.thead", "qsub_name_slash": "166.thead",
    "qsub_walltime_seconds": "170.thead", "qsub_walltime_none": "172.thead", "qsub_mem": "174.thead",
    "qsub_pmem": "175.thead", "qsub_array_limit_0": "182[].thead", "qsub_empty": "183.thead",
    "qsub_account": "187.thead", "qsub_variables": "189.thead", "qsub_exclusive": "313.thead", "qsub_procs": "315.thead",
    "qsub_nodes_uneven": "316.thead", "qsub_array_to_thin": "317[].thead",
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_an_accepted_job_has_the_id_that_qsub_printed(case: str, tmp_path: Path) -> None:
    assert submit(answer(case, "qsub"), tmp_path) == ACCEPTED[case]


DIRECTIVES = "check --directive and the site's directives"
CHECK = "check -t, --mem and what the site adds (hpcjob submit --dry-run shows the script)"
LOOK = "hpcjob submit --dry-run shows the script"
ILLEGAL = "submit error (Illegal attribute or resource value for Resource_List"
NODES = (
    "submit error (Job exceeds queue resource limits MSG=cannot locate feasible nodes (nodes file is empty, all systems "
    "are busy, or no nodes have the requested feature))"
)
LESS = "no nodes have that much: ask for fewer -N, -n, -c or GPUs (pbsnodes -a shows what there is)"

# PBS's words, the hint, and the cases: only words count, the numbers of its errors are not those of OpenPBS.
REFUSED: dict[tuple[str, str], list[str]] = {
    ("submit error (Invalid Job Dependency)", "a job it waits for is unknown to PBS: check -d"): [
        "qsub_afterok_unknown", "qsub_afterany_unknown",
    ],
    ("illegal -N value", "choose another name: -J NAME"): ["qsub_name_blank", "qsub_name_umlaut"],
    (f"{ILLEGAL}.walltime)", CHECK): ["qsub_walltime_minutes", "qsub_walltime_days", "qsub_walltime_letters"],
    (f"{ILLEGAL}.mem)", CHECK): ["qsub_mem_fraction"],
    (
        "submit error (Job exceeds queue resource limits MSG=cannot satisfy queue max walltime requirement)",
        "ask for less, or wait for your other jobs to end (qstat -Qf, qstat -B -f)",
    ): ["qsub_walltime_hours", "qsub_too_long"],
    (NODES, LESS): ["qsub_too_many_nodes", "qsub_too_many_cores", "qsub_gpus", "qsub_nodes_without_ppn"],
    (
        "submit error (Unknown queue MSG=requested queue not found)",
        "name a queue: -p QUEUE (qstat -Q lists them)",
    ): ["qsub_queue_unknown"],
    (
        "submit error (Unknown resource type  Resource_List.nosuch)",
        "the site's PBS has no such resource: check -C, -L, --directive and the site's directives",
    ): ["qsub_resource_unknown"],
    ("submit error (Bad Job Array Request)", LOOK): ["qsub_array_step"],
    ("a single - is not a valid option", DIRECTIVES): ["qsub_bad_directive", "qsub_unknown_option"],
    ("script file '/no/such/script' cannot be loaded - No such file or directory", LOOK): ["qsub_no_script"],
    ("script is written in DOS/Windows text format", LOOK): ["qsub_crlf"],
    ("submit error (Undefined attribute  MSG=detected presence of an unknown attribute)", DIRECTIVES): ["qsub_bad_W"],
    (
        "submit error (Bad UID for job execution MSG=root user root not allowed)",
        "PBS runs no jobs of this user: log in as an ordinary user",
    ): ["qsub_block_other_user"],
    (
        "submit error (Bad GID for job execution MSG=cannot locate group nosuch in server group file)",
        "you are not in that group: check the site's directives",
    ): ["qsub_group"],
    ("illegal -p value", LOOK): ["qsub_priority"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "words", "hint"), [(case, *expected) for expected, cases in REFUSED.items() for case in cases]
)
def test_a_refusal_says_why_and_what_to_do(case: str, words: str, hint: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        submit(answer(case, "qsub"), tmp_path)
    assert (caught.value.message, caught.value.hint) == (f"PBS refused the job: {words}", hint)


def test_an_end_without_a_word_is_no_refusal(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="qsub ended with code -9 and without a word") as caught:
        submit(Completed(("qsub",), -9, "", ""), tmp_path)
    assert caught.value.maybe_done


def test_a_script_that_is_too_long_for_the_server_is_run_by_a_short_one(tmp_path: Path) -> None:
    long = tmp_path / "job.sh"
    long.write_text("#!/bin/bash\n#PBS -N solve\n\n# more\n" + "true\n" * 20_000)
    scheduler, script = torque(qsub=answer("qsub_ok", "qsub"))
    assert scheduler.submit(long, tag="3f9c", record=job()) == "146.thead"
    assert script.calls == [("qsub", str(tmp_path / "submit.sh"))]
    assert (tmp_path / "submit.sh").read_text() == f"#!/bin/bash\n#PBS -N solve\n\nexec bash {long}\n"


# ------------------------------------------------------------------------------------ what hpcjob asks TORQUE for

PLAN = replace(render.sample_plan(full=False), scheduler="pbs")


def options(**asked: object) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = list(spell(replace(PLAN, **asked), TORQUE)["options"])  # type: ignore[arg-type]
    return found


# A name, and what hpcjob calls the job: what all TORQUEs take, and not only the newest, which took more.
NAMES = {
    "qsub_name_15": ("a23456789012345", "a23456789012345"),
    "qsub_name_16": ("a234567890123456", "a23456789012345"),
    "qsub_name_digit": ("1abc", "j1abc"),
    "qsub_name_dash": ("-abc", "j-abc"),
    "qsub_name_plus": ("a+b.c-d_e", "a+b.c-d_e"),
    "qsub_name_colon": ("a:b", "a_b"),
    "qsub_name_slash": ("a/b", "a_b"),
    "qsub_name_blank": ("a b", "a_b"),
    "qsub_name_umlaut": ("aü", "a_"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_job_has_a_name_that_torque_takes(case: str) -> None:
    asked, written = NAMES[case]
    assert asked in recording(case, TORQUE).command
    assert options(name=asked)[0] == ("-N", written)


# What hpcjob was asked for, and what it writes: words that the server took.
TAKEN: dict[str, tuple[dict[str, object], list[tuple[str, str]]]] = {
    "qsub_walltime": ({"time": Duration(5)}, [("-l", "walltime=00:00:05")]),
    "qsub_two_nodes": ({"shape": Shape(2, 4, 2), "time": Duration(300)}, [("-l", "nodes=2:ppn=2")]),
    "qsub_nodes_uneven": ({"shape": Shape(2, 5, 3)}, [("-l", "nodes=1:ppn=3+1:ppn=2")]),
    "qsub_mem": ({"mem": Memory.parse("100M")}, [("-l", "mem=100mb")]),
    "qsub_pmem": ({"mem_per_cpu": Memory.parse("100M")}, [("-l", "pmem=100mb")]),
    "qsub_array": ({"array": "0-3", "array_limit": 2}, [("-t", "0-3%2")]),
    "qsub_array_list": ({"array": "1,5,9-10", "hold": True}, [("-h", ""), ("-t", "1,5,9-10")]),
    "qsub_array_of_one": ({"array": "4", "hold": True}, [("-h", ""), ("-t", "4")]),
    "qsub_held": ({"hold": True}, [("-h", "")]),
    "qsub_account": ({"account": "acct1"}, [("-A", "acct1")]),
    "qsub_exclusive": ({"exclusive": True}, [("-n", "")]),
    "qsub_afterok": ({"dependency": "afterok:154.thead"}, [("-W", "depend=afterok:154.thead")]),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_asked_for_is_written_as_torque_took_it(case: str) -> None:
    asked, written = TAKEN[case]
    assert set(written) <= set(options(**asked))
    for flag, value in written:
        assert re.search(re.escape(f"{flag} {value}".strip()) + "[ ,]", recording(case, TORQUE).command)


def test_a_gpu_is_a_word_of_the_nodes() -> None:
    assert ("-l", "nodes=1:ppn=1:gpus=1") in options(shape=Shape(gpus_per_node=1))
    assert "-l nodes=1:ppn=1:gpus=1" in recording("qsub_gpus", TORQUE).command  # refused for want of GPUs alone
    with pytest.raises(PlanError, match="TORQUE knows no kinds of GPUs, and a100 was asked for"):
        options(shape=Shape(gpus_per_node=1), gpu_type="a100")


def test_ranks_without_nodes_are_packed_as_nodes_mean_hosts() -> None:
    """Two hosts with four processors each refused nodes=3, and procs=3 alone was never run."""
    assert recording("qsub_nodes_without_ppn", TORQUE).command == "qsub -h -l nodes=3 s.sh"
    assert ("-l", "nodes=1:ppn=3") in options(shape=Shape(1, 3, 3), nodes_asked=False)


def test_a_step_of_an_array_which_torque_refuses_becomes_a_list() -> None:
    assert recording("qsub_array_step", TORQUE).command == "qsub -h -t 0-8:2 s.sh"
    assert ("-t", "0,2,4,6,8") in options(array="0-8:2")


def test_a_reversed_array_which_crashes_the_server_is_refused_before() -> None:
    with pytest.raises(UsageError, match="'9-0' is not a set of indices"):
        parse_indices("9-0")


def test_a_limit_of_no_tasks_is_none() -> None:
    assert ("-t", "0-3") in options(array="0-3", array_limit=0)


def test_walltimes_are_written_in_hours() -> None:
    for case in ("qsub_walltime_minutes", "qsub_walltime_days", "qsub_walltime_letters"):
        assert recording(case, TORQUE).code == 168
    shown = parse_text(recording("all_text", TORQUE).out)[170, None]["Resource_List.walltime"]
    assert walltime(Duration(90)) == shown == "00:01:30"
    assert walltime(Duration.parse("4-04:00:00")) == "100:00:00"


@pytest.mark.parametrize(
    ("kind", "parents", "written"),
    [
        ("afterok", ["154.thead"], "afterok:154.thead"),
        ("afternotok", ["154.thead"], "afternotok:154.thead"),
        ("afterok", ["152[].thead"], "afterokarray:152[].thead"),
        ("after", ["152[].thead"], "afterstartarray:152[].thead"),
        ("afterany", ["1.thead", "2[].thead", "3.thead"], "afterany:1.thead:3.thead,afteranyarray:2[].thead"),
    ],
)
def test_arrays_are_waited_for_with_words_of_their_own(kind: str, parents: list[str], written: str) -> None:
    assert torque()[0].dependency(kind, parents) == written


# ------------------------------------------------------------------------------------------------ states


def over(state: JobState, raw: str, nodes: str, began: str, end: str, *, code: int | None = None) -> JobStatus:
    """A job that began and ended."""
    signal = 9 if code == 137 else 0
    return JobStatus(state, raw, exit_code=code, signal=signal, started=at(began), ended=at(end), nodes=nodes)


WAITS = "Not Running: Not enough of the right type of nodes are available"
STATES = {
    "C_ok": {"146.thead": over(S.DONE, "C 0", "tn1", "21 18:25:19", "21 18:25:20", code=0)},
    "C_exit_7": {"147.thead": over(S.FAILED, "C 7", "tn1", "21 18:25:21", "21 18:25:21", code=7)},
    "C_kill_9": {"148.thead": over(S.FAILED, "C 137", "tn2", "21 18:25:19", "21 18:25:20", code=137)},
    "C_two_nodes": {"150.thead": over(S.DONE, "C 0", "tn2,tn1", "21 18:25:21", "21 18:25:26", code=0)},
    "C_walltime": {
        "149.thead": replace(
            over(S.TIMEOUT, "C -11", "tn2", "21 18:25:19", "21 18:26:15"),
            reason="it was ended when its walltime was over",
        )
    },
    "C_deleted": {"190.thead": over(S.CANCELLED, "C 271", "tn1", "21 18:25:27", "21 18:25:28")},
    "C_deleted_trap": {"192.thead": over(S.CANCELLED, "C 271", "tn1", "21 18:25:27", "21 18:25:28")},
    "C_deleted_ignores_term": {"191.thead": over(S.CANCELLED, "C 271", "tn1", "21 18:25:27", "21 18:25:28")},
    "C_deleted_queued": {"193.thead": JobStatus(S.CANCELLED, "C None", ended=at("21 18:25:28"))},
    "after_parent_afterok": {"155.thead": over(S.DONE, "C 0", "tn1", "21 18:25:31", "21 18:25:32", code=0)},
    "after_parent_afternotok": {"157.thead": JobStatus(S.CANCELLED, "C 271", "Dependency", ended=at("21 18:25:31"))},
    "H_held": {"154.thead": held("H u", "")},
    "H_exclusive": {"313.thead": held("H u", "")},
    "H_depend": {"155.thead": wait("H s", "Dependency")},
    "H_depend_array": {"156.thead": wait("H s", "Dependency")},
    "R": {"190.thead": runs(S.RUNNING, "R", "21 18:25:27", "tn1")},
    # It stays so for a moment after qdel.
    "R_deleted": {"190.thead": runs(S.RUNNING, "R", "21 18:25:27", "tn1")},
    "E_deleted_ignores_term": {"191.thead": runs(S.RUNNING, "R", "21 18:25:27", "tn1")},
    "Q_big": {"193.thead": wait("Q", WAITS)},
    "W_late": {"194.thead": wait("W", "")},
    # of qstat itself
    "short_id": {"190.thead": runs(S.RUNNING, "R", "21 18:25:27", "tn1")},
    "known_and_unknown": {"190.thead": runs(S.RUNNING, "R", "21 18:25:27", "tn1"), "154.thead": held("H u", "")},
    "unknown_first": {"190.thead": runs(S.RUNNING, "R", "21 18:25:27", "tn1")},
    "unknown": {},
    "array_no_brackets": {},
    "other_server": {},
}


@pytest.mark.parametrize("case", STATES)
def test_a_job_is_as_qstat_says(case: str) -> None:
    scheduler, script = torque(qstat=answer(case, "qstat"))
    ids = [*STATES[case], "999999.thead"]
    assert scheduler.poll([job(native_id) for native_id in ids]) == STATES[case]
    assert script.calls == [("qstat", "-f", *ids)]


HELD_TASK = held("H u", "")
# The array's id and its tasks, and what is known of it as a whole.
ARRAYS = {
    "array_held_t": ("152[].thead", "1,5,9-10", S.HELD, {"held": "1,5,9-10"}, {}),
    "array_of_one_t": ("153[].thead", "4", S.HELD, {"held": "4"}, {}),
    "array_task": ("152[].thead", "5", S.HELD, {"held": "5"}, {}),
    "array_task_deleted_t": ("152[].thead", "1,5,9-10", S.HELD, {"cancelled": "5", "held": "1,9-10"}, {}),
    "array_thinned_t": ("317[].thead", "1-3", S.HELD, {"cancelled": "2", "held": "1,3"}, {}),
    "array_and_single_t": ("317[].thead", "1-3", S.HELD, {"cancelled": "2", "held": "1,3"}, {}),
    "array_C_t": ("151[].thead", "0-3", S.FAILED, {"done": "0-1,3", "failed": "2"}, {"2": 9}),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_an_array_is_as_its_tasks(case: str) -> None:
    native_id, array, state, states, codes = ARRAYS[case]
    scheduler, script = torque(qstat=answer(case, "qstat"))
    status = scheduler.poll([job(native_id, array=array)])[native_id]
    assert (status.state, status.tasks) == (state, Tasks(states, codes))
    assert script.calls == [("qstat", "-f", "-t", native_id)]


def test_an_array_that_ended_has_the_times_of_its_tasks() -> None:
    status = torque(qstat=answer("array_C_t", "qstat"))[0].poll([job("151[].thead", array="0-3")])["151[].thead"]
    assert (status.started, status.ended, status.exit_code) == (at("21 18:25:19"), at("21 18:25:21"), 9)


# What `qstat -f` shows of all jobs; it shows that too where one array is asked for without -t.
EARLY = {
    S.DONE: [146, *range(160, 167)],
    S.FAILED: [147, 148],
    S.CANCELLED: [57, 151],  # arrays as a whole, which have no exit status of their own
    S.RUNNING: [149, 150],
    S.PENDING: [152, 153, 155, 156, 157, 182],
    S.HELD: [154, 170, 172, 174, 175, 187, 189],
}
LATER = {
    **EARLY,
    S.DONE: [146, 150, *range(160, 167)],
    S.RUNNING: [149, 190, 191, 192],
    S.PENDING: [152, 153, 155, 156, 157, 182, 193, 194],
}


@pytest.mark.parametrize(("case", "expected"), [("array_held", EARLY), ("all_text", LATER)])
def test_all_jobs_are_read(case: str, expected: dict[JobState, list[int]]) -> None:
    states: dict[JobState, list[int]] = {}
    for (number, index), attributes in parse_text(recording(case, TORQUE).out).items():
        assert index is None
        states.setdefault(read_status(attributes, TORQUE).state, []).append(number)
    assert states == expected


def test_a_job_is_found_by_the_path_of_its_script_which_may_be_broken() -> None:
    listed = recording("all_text", TORQUE).out
    assert listed.count("submit_args = -N lst -h -t 1,5,9-10 s.sh") == 1
    broken = listed.replace("9-10 s.sh", "9-10 /home/u/jobs/2026-\n\t11-21-solve-3f9c2a7\n\t1b2c4/job.sh")
    assert parse_tags(broken, ["3f9c2a71b2c4", "3f9c2a71b2c5"]) == {"3f9c2a71b2c4": "152[].thead"}
    scheduler, script = torque(qstat=Completed(("qstat",), 0, broken, ""))
    assert scheduler.find({"3f9c2a71b2c4": 1.0}) == {"3f9c2a71b2c4": "152[].thead"}
    assert script.calls == [("qstat", "-f")]


def test_why_a_job_waits_in_words() -> None:
    scheduler, _ = torque(qstat=answer("Q_big", "qstat"))
    assert scheduler.explain(job("193.thead")) == Explanation(
        WAITS, "it waits for nodes to become free", "wait; fewer -N or a shorter -t may start sooner"
    )
    scheduler, _ = torque(qstat=answer("W_late", "qstat"))
    assert scheduler.explain(job("194.thead")).words == "its start time is in the future"


# Forms that are not asked for: nothing must be read out of them, or they are errors.
OTHER_FORMS = ["plain", "x"]
STAT_REFUSED = {"dsv": "invalid option -- 'F'", "malformed": "Unknown queue destination abc"}


@pytest.mark.parametrize("case", OTHER_FORMS)
def test_other_forms_of_qstat_say_nothing(case: str) -> None:
    assert torque(qstat=answer(case, "qstat"))[0].poll([job("190.thead")]) == {}


@pytest.mark.parametrize("case", STAT_REFUSED)
def test_an_error_of_qstat_is_no_empty_answer(case: str) -> None:
    with pytest.raises(RefusedError) as caught:
        torque(qstat=answer(case, "qstat"))[0].poll([job("190.thead")])
    assert caught.value.message == f"qstat: {STAT_REFUSED[case]}"


# ------------------------------------------------------------------------------------------------ the server


@pytest.mark.parametrize("case", ["version", "down_version"])
def test_torque_says_what_it_is_even_where_its_server_is_down(case: str) -> None:
    recorded = recording(case, TORQUE)
    assert parse_version(recorded.out + recorded.err) == TORQUE
    script = Script(qstat=answer(case, "qstat"))
    assert Pbs({}, script).identify() == {"dialect": "torque"}
    assert script.calls == [("qstat", "--version")]


def test_the_server_tells_its_settings() -> None:
    scheduler, script = torque(qstat=answer("server", "qstat"))
    details = {"dialect": "torque", "server": "thead", "default_queue": "batch", "scheduling": "True"}
    assert scheduler.diagnose() == Diagnosis("master", details)
    assert script.calls == [("qstat", "-B", "-f")]


def test_limits() -> None:
    scheduler, script = torque(qstat=answer("server", "qstat"))
    assert scheduler.limits() == Limits(1000), "its server names none, and has this one"
    assert script.calls == [("qstat", "-B", "-f")]
    told = recording("server", TORQUE).out + "    max_job_array_size = 5000\n"
    scheduler, _ = torque(qstat=Completed(("qstat",), 0, told, ""))
    assert scheduler.limits() == Limits(5000)


def test_queues_and_nodes() -> None:
    scheduler, script = torque(qstat=answer("queues", "qstat"), pbsnodes=answer("pbsnodes", "pbsnodes"))
    node = NodeShape(cores=4, memory=Memory(24_684_100 << 10), gpus=0)
    assert scheduler.partitions() == {"batch": Partition(max_time=Duration(7200), nodes=2, node=node)}
    assert script.calls == [("qstat", "-Q", "-f"), ("pbsnodes", "-a"), ("qstat", "-B", "-f")]


SELECTED = {
    "qselect_all": [
        *range(146, 151), *[151] * 4, *[152] * 4, 153, *range(154, 158), *range(160, 167), 170, 172, 174, 175, *[182] * 4,
        187, *range(189, 195),
    ],
    "qselect_user": [
        *range(146, 151), *[151] * 4, *[152] * 4, 153, *range(154, 158), *range(160, 167), 170, 172, 174, 175, *[182] * 4,
        187, *range(189, 195),
    ],
    "qselect_name": [190],
    "qselect_none": [],
}  # fmt: skip


@pytest.mark.parametrize("case", SELECTED)
def test_qselect_knows_no_job_that_qstat_does_not_show(case: str) -> None:
    """This is why `find` asks qstat alone."""
    keys = [parse_key(line) for line in recording(case, TORQUE).out.split()]
    assert [key[0] for key in keys if key] == SELECTED[case]
    assert set(SELECTED[case]) <= {number for number, _ in parse_text(recording("all_text", TORQUE).out)}


def test_qselect_knows_no_history() -> None:
    assert message(recording("qselect_x", TORQUE).err) == "invalid option -- 'x'"
    scheduler, script = torque()
    assert scheduler.accounting([job("146.thead")]) == {}
    assert script.calls == []


# ------------------------------------------------------------------------------------------------ control

NONE = "nonexistent job id"
ENDED = "Request invalid for state of job MSG=invalid state for job - COMPLETE"
DELETED = {
    "qdel_queued": {"193.thead": ""},
    "qdel_running": {"190.thead": ""},
    "qdel_ignores_term": {"191.thead": ""},
    "qdel_twice": {"191.thead": ""},
    "qdel_trap": {"192.thead": ""},
    "qdel_unknown": {"999999": NONE},
    "qdel_complete": {"146.thead": ENDED},
    "qdel_mixed": {"194.thead": "", "999999": NONE},
    "qdel_mixed_first": {"999999": NONE, "194.thead": ENDED},
    "qdel_task_by_id": {"317[2].thead": ""},
    "qdel_array": {"317[].thead": ""},
    "qdel_several": {"313.thead": "", "317[1].thead": ENDED},
}


@pytest.mark.parametrize("case", DELETED)
def test_qdel_says_of_each_job_why_not(case: str) -> None:
    targets = list(DELETED[case])
    jobs = [re.sub(r"\[\d\]", "[]", target) for target in targets]
    scheduler, script = torque(qstat=listing(*jobs), qdel=answer(case, "qdel"))
    assert scheduler.cancel(targets) == DELETED[case]
    tasks = ("-t",) if any("[" in job for job in jobs) else ()
    assert script.calls == [("qstat", "-f", *tasks, *jobs), ("qdel", *targets)]
    assert [re.sub("'", "", word) for word in recording(case, TORQUE).command.split()] == ["qdel", *targets]


def test_tasks_are_cancelled_by_their_ids() -> None:
    scheduler, _ = torque()
    record = job("317[].thead", array="1-3,7")
    assert scheduler.target(record, ()) == "317[].thead"
    assert scheduler.target(record, (2,)) == "317[2].thead"
    assert scheduler.target(record, (1, 7)) == "317[1].thead 317[7].thead"


def test_a_job_that_torque_does_not_list_is_not_deleted_again() -> None:
    scheduler, script = torque(qstat=answer("unknown", "qstat"))
    assert scheduler.cancel(["999999.thead"]) == {"999999.thead": "PBS no longer has it in its queues"}
    assert script.calls == [("qstat", "-f", "999999.thead")]


# What hpcjob does not write: its words are understood all the same.
MISUSED = {
    "qdel_malformed": ("abc", "illegally formed job identifier"),
    "qdel_none": ("1.thead", "it only said how it is used"),
    "qdel_task": ("152[].thead", ""),
    "qdel_tasks": ("152[].thead", ""),
    "qdel_task_unknown": ("152[].thead", ""),  # without a word
    "qdel_all": ("152[].thead", ""),
}


@pytest.mark.parametrize("case", MISUSED)
def test_other_ways_of_control(case: str) -> None:
    target, words = MISUSED[case]
    program = recording(case, TORQUE).command.split()[0]
    assert per_id([target], answer(case, program)) == {target: words}


NOW = "The requested state or substate can't be set from the job's current state."
HELD = {
    "qhold_held": ("195.thead", ""),
    "qhold_running": ("196.thead", ""),
    "qhold_array": ("317[].thead", ""),
    "qhold_unknown": ("999999", "Unknown Job Id"),
    "qhold_complete": ("146.thead", ENDED),
    "qrls": ("195.thead", ""),
    "qrls_array": ("152[].thead", ""),
    "qrls_parent": ("154.thead", ""),
    "qrls_unknown": ("999999", "Unknown Job Id"),
    "qrls_not_held": ("195.thead", NOW),
    "qrls_complete": ("146.thead", ENDED),
    "qrerun_user": (
        "196.thead",
        "Unauthorized Request MSG=additional permissions required (ATR_DFLAG_MGWR | ATR_DFLAG_OPWR)",
    ),
    "qrerun_unknown": ("999999", "Unknown Job Id Error MSG=cannot locate job 999999.thead"),
}


@pytest.mark.parametrize("case", HELD)
def test_hold_release_and_requeue(case: str) -> None:
    target, problem = HELD[case]
    program = case.partition("_")[0]
    scheduler, script = torque(**{program: answer(case, program)})
    calls = {"qhold": scheduler.hold, "qrls": scheduler.release, "qrerun": scheduler.requeue}
    assert calls[program]([target]) == {target: problem}
    assert script.calls == [(program, target)]


# ------------------------------------------------------------------------------------------------ server down

Question = Callable[[Pbs], object]
POLL: Question = lambda scheduler: scheduler.poll([job("5.thead")])  # noqa: E731 - a column of the table
DOWN: dict[str, tuple[str, Question]] = {
    "down_qstat": ("qstat", POLL),
    "down_qstat_all": ("qstat", lambda scheduler: scheduler.find({"3f9c2a71b2c4": 1.0})),
    "down_qdel": ("qdel", lambda scheduler: scheduler.cancel(["5.thead"])),
    "down_qhold": ("qhold", lambda scheduler: scheduler.hold(["5.thead"])),
    "no_trqauthd_qstat": ("qstat", POLL),
    "no_trqauthd_qdel": ("qdel", lambda scheduler: scheduler.cancel(["5.thead"])),
}


@pytest.mark.parametrize("case", DOWN)
def test_silence_is_not_an_answer(case: str) -> None:
    program, ask = DOWN[case]
    answers = {"qstat": listing("5.thead"), program: answer(case, program)}
    with pytest.raises(UnreachableError) as caught:
        ask(torque(**answers)[0])
    assert caught.value.message.startswith(f"{program}: ")
    assert re.search("thead|trqauthd", caught.value.message)
    assert caught.value.hint == BUSY


SILENT = {
    "down_qsub": "qsub: Unable to communicate with thead(10.77.0.21)",
    "no_trqauthd_qsub": "qsub: cannot connect to server (null) (errno=15137) could not connect to trqauthd",
}


@pytest.mark.parametrize("case", SILENT)
def test_a_job_that_was_never_sent_is_not_looked_for(case: str, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as caught:
        submit(answer(case, "qsub"), tmp_path)
    assert (caught.value.message, caught.value.hint, caught.value.maybe_done) == (SILENT[case], BUSY, False)


def test_qselect_is_silent_too() -> None:
    assert "cannot connect to server thead" in recording("down_qselect", TORQUE).err
    script = Script(qselect=answer("down_qselect", "qselect"))
    with pytest.raises(UnreachableError):
        pbs_answers.pbs(script).find({"3f9c2a71b2c4": 1.0})


READ = {
    *ACCEPTED, *(case for cases in REFUSED.values() for case in cases), *STATES, *ARRAYS, "array_held", "all_text",
    *OTHER_FORMS, *STAT_REFUSED, "version", "down_version", "server", "queues", "pbsnodes", *SELECTED, "qselect_x",
    *DELETED, *MISUSED, *HELD, *DOWN, *SILENT, "down_qselect",
}  # fmt: skip


def test_every_recording_is_read() -> None:
    assert set(recordings(TORQUE)) == READ
