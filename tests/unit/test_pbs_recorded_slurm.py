"""What Slurm's look-alike of TORQUE answered (tests/data/pbs/slurm-torque), and what must be made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hpcjobs import paths, render
from hpcjobs.errors import PlanError, RefusedError, UnreachableError, UsageError
from hpcjobs.model import NodeShape, Partition, Shape
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState, JobStatus, Tasks
from hpcjobs.schedulers import Diagnosis, Explanation, Limits
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_request import WRAPPER, spell
from hpcjobs.schedulers.pbs_status import parse_tags, parse_text, parse_version, read_status
from hpcjobs.schedulers.pbs_words import message, per_id
from hpcjobs.units import Duration, Memory, parse_indices
from tests import pbs_answers
from tests.pbs_answers import Script, at, job, runs, wait
from tests.pbs_recorded import recording, recordings

S = JobState
BUSY = "the PBS server is down or busy: nothing was changed; try again in a minute"
GONE = "PBS no longer has it in its queues"


def answer(case: str, program: str = "") -> Completed:
    return pbs_answers.answer(case, program, WRAPPER)


def slurm(**answers: Completed | list[Completed]) -> tuple[Pbs, Script]:
    script = Script(**answers)
    return pbs_answers.pbs(script, WRAPPER), script


def listing(**letters: str) -> Completed:
    """What qstat says of jobs that are there; `_12="R"` is job 12."""
    return Completed(
        ("qstat",), 0, "".join(f"Job Id:\t{n[1:]}\n\tjob_state = {one}\n\n" for n, one in letters.items()), ""
    )


# ------------------------------------------------------------------------------------------------ qsub


def submit(given: Completed) -> str:
    scheduler, script = slurm(qsub=given)
    native_id = scheduler.submit(Path("/jobs/3f9c/job.sh"), tag="3f9c", record=job())
    assert script.calls == [("qsub", "-j", "oe", "-o", "/dev/null", "/jobs/3f9c/job.sh")]
    return native_id


ACCEPTED = {
    "qsub_ok": "1", "qsub_exit_7": "2", "qsub_kill_9": "3", "qsub_walltime": "4", "qsub_directives": "5",
    "qsub_directives_fit": "6", "qsub_directives_ranks": "7", "qsub_deadline": "8", "qsub_held": "9",
    "qsub_array_t": "10", "qsub_array_list": "11", "qsub_array_step": "12", "qsub_array_J": "13",
    "qsub_array_of_one": "14", "qsub_array_directive": "15", "qsub_afterok": "16", "qsub_afterok_directive": "17",
    "qsub_afterok_array": "18", "qsub_afternotok": "19", "qsub_afterok_unknown": "20", "qsub_depend_two": "22",
    "qsub_walltime_seconds": "23", "qsub_walltime_mmss": "24", "qsub_walltime_hours": "25",
    "qsub_walltime_hours_too_long": "29", "qsub_walltime_days_directive": "30", "qsub_too_many_nodes": "31",
    "qsub_too_many_cores": "32", "qsub_gpus": "34", "qsub_gpus_none": "35", "qsub_unknown_resource_directive": "37",
    "qsub_uneven": "38", "qsub_name_umlaut": "39", "qsub_name_slash": "40", "qsub_name_115": "41", "qsub_run": "42",
    "qsub_to_suspend": "43", "qsub_trap": "44", "qsub_wait": "45", "qsub_h2": "46",
}  # fmt: skip


@pytest.mark.parametrize("case", ACCEPTED)
def test_an_accepted_job_has_the_id_that_qsub_printed(case: str) -> None:
    assert submit(answer(case, "qsub")) == ACCEPTED[case]


LOOK = "hpcjob submit --dry-run shows the script"
CHECK = "check -t, --mem and what the site adds (hpcjob submit --dry-run shows the script)"
DIRECTIVES = "check --directive and the site's directives"
# PBS's words, the hint, and the cases.
REFUSED: dict[tuple[str, str], list[str]] = {
    ("Invalid job array specification", LOOK): ["qsub_array_reversed"],
    ("Job dependency problem", "check -d"): ["qsub_depend_malformed"],
    ("Invalid time limit specified (10m)", CHECK): ["qsub_walltime_minutes"],
    ("Invalid time limit specified (1-00:00:00)", CHECK): ["qsub_walltime_days"],
    ("Invalid time limit specified (abc)", CHECK): ["qsub_walltime_letters"],
    ("Invalid --time specification", LOOK): ["qsub_walltime_letters_directive"],
    (
        "invalid partition specified: nosuch; Invalid partition name specified",
        "name a queue: -p QUEUE (qstat -Q lists them)",
    ): ["qsub_queue_unknown"],
    (
        "Memory specification can not be satisfied; Requested node configuration is not available",
        "ask for less of each node: -n, -c, --mem, --gpus-per-node; or another -p",
    ): ["qsub_mem_too_much"],
    (
        "Invalid account or account/partition combination specified",
        "name an account that you may charge: -A ACCOUNT",
    ): ["qsub_account_unknown"],
    ("Invalid feature specification", "the site has no such nodes: check -C"): ["qsub_constraint_unknown"],
    ("Invalid node name specified", LOOK): ["qsub_feature"],
    ("Unknown option: nosuch", LOOK): ["qsub_unknown_option"],
    ("unrecognized option '--nosuch'; Unrecognized command line parameter ?", DIRECTIVES): ["qsub_bad_directive"],
    ("Unable to open file /no/such/script", LOOK): ["qsub_no_script"],
    ("it only said how it is used", LOOK): ["qsub_nothing"],
    (
        r"Batch script contains DOS line breaks (\r\n); instead of expected UNIX line breaks (\n).",
        LOOK,
    ): ["qsub_crlf"],
    ("Batch script is empty!", LOOK): ["qsub_empty"],
    (
        "This does not look like a batch script.  The first; line must start with #! followed by the path to an "
        "interpreter.; For instance: #!/bin/sh",
        LOOK,
    ): ["qsub_no_shebang"],
    ("Unable to open file b.e%A", LOOK): ["qsub_name_blank"],
    ("Invalid argument: b", LOOK): ["qsub_name_blank_directive"],
    ("Unable to open file b.sh.e%A", LOOK): ["qsub_path_blank"],
}


@pytest.mark.parametrize(
    ("case", "words", "hint"), [(case, *expected) for expected, cases in REFUSED.items() for case in cases]
)
def test_a_refusal_says_why_and_what_to_do(case: str, words: str, hint: str) -> None:
    with pytest.raises(RefusedError) as caught:
        submit(answer(case, "qsub"))
    assert (caught.value.message, caught.value.hint) == (f"PBS refused the job: {words}", hint)


def test_a_script_in_a_folder_with_blanks_is_refused_before_qsub_takes_it_for_two() -> None:
    scheduler, script = slurm()
    with pytest.raises(RefusedError, match="it takes a path with blanks for several") as caught:
        scheduler.submit(Path("/jobs/a b/job.sh"), tag="3f9c", record=job())
    assert "export HPCJOBS_HOME=/a/folder" in caught.value.hint
    assert script.calls == []


def test_a_job_that_was_never_sent_is_not_looked_for() -> None:
    with pytest.raises(UnreachableError) as caught:
        submit(answer("down_qsub", "qsub"))
    words = "qsub: Unable to contact slurm controller (connect failure)"
    assert (caught.value.message, caught.value.hint, caught.value.maybe_done) == (words, BUSY, False)
    with pytest.raises(UnreachableError) as caught:
        submit(Completed(("qsub",), 1, "sbatch: error: Unable to contact slurm controller (receive failure)\n", ""))
    assert caught.value.maybe_done


# ------------------------------------------------------------------------------------------ what hpcjob asks for

PLAN = replace(render.sample_plan(full=False), scheduler="pbs")


def options(**asked: object) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = list(spell(replace(PLAN, **asked), WRAPPER)["options"])  # type: ignore[arg-type]
    return found


# What hpcjob was asked for, and what it writes: lines that Slurm took.
TAKEN: dict[str, tuple[dict[str, object], list[tuple[str, str]]]] = {
    "qsub_directives_fit": (
        {
            "partition": "long", "shape": Shape(2, 4, 2), "mem": Memory.parse("100M"), "time": Duration(82_805),
            "requeue": False, "exclusive": True, "hold": True,
        },
        [
            ("-q", "long"), ("-l", "nodes=2:ppn=2"), ("-l", "mem=100mb"), ("-l", "walltime=23:00:05"),
            ("--no-requeue", ""), ("--exclusive", ""), ("-h", ""),
        ],
    ),
    "qsub_directives_ranks": (
        {"shape": Shape(3, 5, 2, 2), "nodes_asked": False, "hold": True},
        [("--ntasks", "5"), ("--cpus-per-task", "2"), ("-h", "")],
    ),
    "qsub_array_directive": ({"array": "1,5,9-10", "array_limit": 2, "hold": True}, [("-h", ""), ("-t", "1,5,9-10%2")]),
    "qsub_afterok_directive": ({"dependency": "afterok:9"}, [("-W", "depend=afterok:9")]),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_asked_for_is_written_as_slurm_took_it(case: str) -> None:
    asked, written = TAKEN[case]
    assert set(written) <= set(options(**asked))
    lines = {line.replace("=", " ") for line in recording(case, WRAPPER).files["s.sh"].splitlines()}
    for flag, value in written:
        word = "#SBATCH" if flag.startswith("--") else "#PBS"
        assert f"{word} {flag} {value}".rstrip().replace("=", " ") in lines


def test_what_slurm_understood() -> None:
    shown = parse_text(recording("array_mid_all", WRAPPER).out)
    sizes = {
        number: (shown[number, None]["Resource_List.nodect"], shown[number, None]["Resource_List.ncpus"])
        for number in (6, 38)
    }
    # Of two uneven nodes for three ranks it makes three for six: hpcjob writes --ntasks for those.
    assert sizes == {6: ("2", "4"), 38: ("3", "6")}
    assert ("--nodes", "2") in options(shape=Shape(2, 3, 2))
    assert ("--ntasks", "3") in options(shape=Shape(2, 3, 2))


def test_gpus_memory_constraint_and_licences_are_slurms_own() -> None:
    asked = options(
        shape=Shape(1, 2, 2, 1, 2), gpu_type="a100", mem_per_cpu=Memory.parse("1G"), constraint="a|b", licenses="x:2",
        requeue=True,
    )  # fmt: skip
    assert asked[1:-3] == [
        ("-l", "nodes=1:ppn=2"), ("--gpus-per-node", "a100:2"), ("--constraint", "a|b"), ("--licenses", "x:2"),
        ("--mem-per-cpu", "1024m"), ("--requeue", ""),
    ]  # fmt: skip


def test_the_name_ends_with_what_the_job_is_found_by() -> None:
    assert options(name="na me ü" + "x" * 200)[0] == ("-N", f"na_me__{'x' * 93}.3f9c2a71b2c4")
    assert len(f"{'n' * 100}.3f9c2a71b2c4") <= len("a" * 115)
    assert f"-N {'a' * 115} " in recording("qsub_name_115", WRAPPER).command


def test_lines_of_sbatch_stand_in_the_script_beside_those_of_pbs() -> None:
    plan = replace(PLAN, template="pbs.sh.j2", requeue=False, hold=True)
    text = render.render(replace(plan, native=spell(plan, WRAPPER))).text
    assert text.splitlines()[1:7] == [
        "#PBS -N solve.3f9c2a71b2c4", "#PBS -l nodes=1:ppn=1", "#PBS -h", "#SBATCH --no-requeue", "#PBS -V", "#PBS -j oe",
    ]  # fmt: skip


def test_a_range_that_is_none_is_refused_before() -> None:
    assert recording("qsub_array_reversed", WRAPPER).command == "qsub -h -t 9-0 s.sh"
    with pytest.raises(UsageError, match="is not a set of indices"):
        parse_indices("9-0")


@pytest.mark.parametrize(
    ("kind", "parents", "written"),
    [("afterok", ["9"], "afterok:9"), ("afternotok", ["1"], "afternotok:1"), ("afterok", ["11"], "afterok:11")],
)
def test_dependencies_are_those_of_slurm(kind: str, parents: list[str], written: str) -> None:
    assert slurm()[0].dependency(kind, parents) == written


# ------------------------------------------------------------------------------------------------ states

HOLD = JobStatus(S.HELD, "H")
# What ended is not told of: the job's own exit file has to say how.
STATES: dict[str, dict[str, JobStatus]] = {
    "C_ok": {}, "C_exit_7": {}, "C_kill_9": {}, "C_walltime": {}, "C_deleted": {}, "C_deleted_queued": {},
    "C_deleted_suspended": {}, "C_released": {}, "U_deadline": {}, "array_task_after_qdel": {},
    "array_step_after_qdel": {}, "array_deleted": {}, "unknown": {}, "unknown_no_host_name": {}, "malformed": {},
    "array_task": {}, "array_brackets": {}, "none": {},
    "Q_held": {"9": HOLD},
    "Q_held_directives": {"6": HOLD},
    "Q_held_ranks": {"7": HOLD},
    "Q_held_days": {"5": HOLD},
    "Q_depend_held": {"16": HOLD},
    "Q_depend_unknown": {"20": HOLD},
    "array_held": {"11": HOLD},
    "Q_depend": {"16": wait("Q", "")},
    "Q_depend_never": {"19": wait("Q", "")},
    "Q_wait": {"45": wait("Q", "")},
    "R": {"42": runs(S.RUNNING, "R", "21 19:02:55", "n2")},
    "R_two_nodes": {"44": runs(S.RUNNING, "R", "21 19:02:57", "n1,n4")},
    "S": {"43": runs(S.RUNNING, "S", "21 19:02:55", "n1")},
    "known_and_unknown": {"9": HOLD, "42": runs(S.RUNNING, "R", "21 19:02:55", "n2")},
    "unknown_first": {"42": runs(S.RUNNING, "R", "21 19:02:55", "n2")},
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_a_job_is_as_qstat_says(case: str) -> None:
    scheduler, script = slurm(qstat=answer(case, "qstat"))
    ids = [*STATES[case], *(str(number) for number in (1, 2, 3, 4, 8, 10, 12, 999999))]
    assert scheduler.poll([job(native_id) for native_id in ids]) == STATES[case]
    assert script.calls == [("qstat", "-f", *ids)]


@pytest.mark.parametrize(("case", "letter"), [("C_ok", "C"), ("U_deadline", "U")])
def test_an_end_has_no_more_than_a_letter(case: str, letter: str) -> None:
    (attributes,) = parse_text(recording(case, WRAPPER).out).values()
    status = read_status(attributes, WRAPPER)
    assert (status.state, status.raw, status.exit_code) == (S.UNKNOWN, letter, None)


def test_it_has_no_history() -> None:
    scheduler, script = slurm()
    assert scheduler.accounting([job("1")]) == {}
    assert script.calls == []


def array(folder: Path, *, begun: str = "", over: str = "") -> JobRecord:
    """The array of the recordings, and which of its tasks have written that they began and ended."""
    files = paths.JobFolder(folder)
    for index in parse_indices(begun) if begun else ():
        files.start_file(index).touch()
    for index in parse_indices(over) if over else ():
        files.exit_file(index).touch()
    return job("10", array="0-3", tag="3f9c2a71b2c6", folder=str(folder))


def test_tasks_are_jobs_of_the_same_name_and_go_on_when_the_last_has_ended(tmp_path: Path) -> None:
    (alone,) = parse_text(recording("array_mid", WRAPPER).out).values()
    assert (alone["Job_Name"], alone["job_state"]) == ("arr.3f9c2a71b2c6", "C")
    scheduler, script = slurm(qstat=answer("array_mid_all", "qstat"))
    status = scheduler.poll([array(tmp_path, begun="0-3", over="3")])["10"]
    assert (status.state, status.raw, status.tasks) == (S.RUNNING, "R", Tasks({"running": "0-2"}))
    assert status.started == at("21 19:02:54")
    assert script.calls == [("qstat", "-f")]


def test_tasks_of_a_study_end_in_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "ends").mkdir()
    (tmp_path / "c0001").mkdir()
    for lines, running in (("", "0-3"), ("t 3f9c2a71b2c6 3 0 0 1 2 0 10\nt other 1 0 0 1 2 0 11\n", "0-2")):
        (tmp_path / "ends/n1").write_text(lines)
        chunk = replace(array(tmp_path / "c0001", begun="0-3"), study=1)
        status = slurm(qstat=answer("array_mid_all", "qstat"))[0].poll([chunk])["10"]
        assert (status.state, status.tasks) == (S.RUNNING, Tasks({"running": running}))


def test_tasks_that_have_not_begun_wait_while_others_run(tmp_path: Path) -> None:
    text = recording("array_mid_all", WRAPPER).out
    head, master, rest = text.partition("Job Id:\t10\n")
    waits = head + master + rest.replace("job_state = C", "job_state = Q", 1)
    status = slurm(qstat=Completed(("qstat",), 0, waits, ""))[0].poll([array(tmp_path, begun="0-2", over="0")])["10"]
    assert (status.state, status.tasks) == (S.RUNNING, Tasks({"pending": "3", "running": "1-2"}))


def test_an_array_is_absent_when_all_its_tasks_have_ended(tmp_path: Path) -> None:
    scheduler, _ = slurm(qstat=answer("array_deleted_all", "qstat"))
    assert scheduler.poll([array(tmp_path, begun="0-3", over="3"), job("42")]) == {
        "42": runs(S.RUNNING, "R", "21 19:02:55", "n2")
    }


def test_an_array_of_one_task_is_as_its_job(tmp_path: Path) -> None:
    one = job("14", array="4", tag="3f9c2a71b2c7", folder=str(tmp_path))
    status = slurm(qstat=answer("array_mid_all", "qstat"))[0].poll([one])["14"]
    assert (status.state, status.tasks) == (S.HELD, Tasks({"held": "4"}))


def test_a_job_is_found_by_its_name_and_an_array_by_its_first_id() -> None:
    scheduler, script = slurm(qstat=answer("array_mid_all", "qstat"))
    tags = {"3f9c2a71b2c4": 1.0, "3f9c2a71b2c6": 1.0, "3f9c2a71b2c9": 1.0}
    assert scheduler.find(tags) == {"3f9c2a71b2c4": "5", "3f9c2a71b2c6": "10"}
    assert script.calls == [("qstat", "-f")]
    assert parse_tags(recording("array_deleted_all", WRAPPER).out, tags)["3f9c2a71b2c6"] == "10"


def test_why_a_job_waits_is_not_told() -> None:
    scheduler, _ = slurm(qstat=answer("Q_wait", "qstat"))
    assert scheduler.explain(job("45")) == Explanation(
        "", "Slurm's qstat does not say why it waits", "squeue -j 45 does"
    )
    scheduler, _ = slurm(qstat=answer("Q_held", "qstat"))
    assert scheduler.explain(job("9")).words == "its owner holds it"


# Forms that are not asked for: nothing is read out of them, or they are errors.
@pytest.mark.parametrize("case", ["plain", "user", "server"])
def test_other_forms_of_qstat_say_nothing(case: str) -> None:
    assert slurm(qstat=answer(case, "qstat"))[0].poll([job("42")]) == {}


def test_an_error_of_qstat_is_no_empty_answer() -> None:
    with pytest.raises(RefusedError, match="qstat: Unknown option: t"):
        slurm(qstat=answer("t", "qstat"))[0].poll([job("42")])


# ------------------------------------------------------------------------------------------------ the server


@pytest.mark.parametrize("case", ["version", "down_version"])
def test_it_says_what_it_is_even_where_slurm_is_down(case: str) -> None:
    recorded = recording(case, WRAPPER)
    assert parse_version(recorded.out + recorded.err) == WRAPPER
    assert Pbs({}, Script(qstat=answer(case, "qstat"))).identify() == {"dialect": "slurm-torque"}


def test_queues_and_nodes() -> None:
    node = NodeShape(cores=2, memory=None, gpus=2)
    queue = Partition(nodes=4, node=node)
    for case, names in (("queues", ["debug", "long", "gpu"]), ("queue_gpu", ["gpu"]), ("queue_unknown", [])):
        scheduler, script = slurm(qstat=answer(case, "qstat"), pbsnodes=answer("pbsnodes", "pbsnodes"))
        assert scheduler.partitions() == dict.fromkeys(names, queue)
        assert script.calls == [("qstat", "-Q", "-f"), ("pbsnodes", "-a")]


def test_limits() -> None:
    scheduler, script = slurm(qstat=answer("server", "qstat"))
    assert scheduler.limits() == Limits(1001), "what Slurm takes if it was not told otherwise: qstat cannot say"
    assert script.calls == []


@pytest.mark.parametrize("case", ["queues_brief", "queue_limits"])
def test_it_answers(case: str) -> None:
    scheduler, script = slurm(qstat=answer(case, "qstat"))
    assert scheduler.diagnose() == Diagnosis("Slurm's look-alike of TORQUE", {"dialect": "slurm-torque"})
    assert script.calls == [("qstat", "-Q")]


# ------------------------------------------------------------------------------------------------ control

# What qstat said before, and what came of qdel, which says nothing of jobs that have ended or never were.
DELETED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "qdel_queued": ({"_45": "Q"}, {"45": ""}),
    "qdel_running": ({"_42": "R"}, {"42": ""}),
    "qdel_trap": ({"_44": "R"}, {"44": ""}),
    "qdel_array": ({"_10": "C"}, {"10": ""}),  # its last task has ended, and others run
    "qdel_complete": ({"_1": "C"}, {"1": GONE}),
    "qdel_twice": ({"_42": "C"}, {"42": GONE}),
    "qdel_unknown": ({}, {"999999": GONE}),
    "qdel_mixed": ({"_43": "S", "_1": "C"}, {"999999": GONE, "43": "", "1": GONE}),
}


@pytest.mark.parametrize("case", DELETED)
def test_qdel_says_of_each_job_why_not(case: str) -> None:
    before, outcome = DELETED[case]
    scheduler, script = slurm(qstat=listing(**before), qdel=answer(case, "qdel"))
    assert scheduler.cancel(list(outcome)) == outcome
    questions = [call for call in script.calls if call[0] == "qdel"]
    assert questions == ([("qdel", *(target for target in outcome if f"_{target}" in before))] if before else [])


@pytest.mark.parametrize(("case", "program"), [("qdel_array_task", "11_5"), ("qdel_array_brackets", "12[0]")])
def test_qdel_of_a_task_which_would_cancel_the_whole_array_is_refused(case: str, program: str) -> None:
    assert recording(case, WRAPPER).command == f"qdel '{program}'"
    assert recording(case, WRAPPER).code == 0
    after = {"11_5": "array_task_after_qdel", "12[0]": "array_step_after_qdel"}[program]
    assert "\tjob_state = C\n" in recording(after, WRAPPER).out
    scheduler, script = slurm()
    with pytest.raises(RefusedError, match="cancels an array as a whole only"):
        scheduler.cancel([scheduler.target(job("11", array="1,5,9-10"), (5,))])
    assert script.calls == []


NEVER = "Error on job id Invalid job id specified"
ENDED = "Error on job id Job has already finished"
HELD = {
    "qhold_held": {"9": ""},
    "qhold_running": {"46": ""},
    "qhold_unknown": {"999999": NEVER},
    "qhold_complete": {"1": ENDED},
    "qhold_mixed": {"999999": NEVER, "9": ""},
    "qrls_depend": {"16": ""},  # a qhold
    "qrls": {"9": ""},
    "qrls_array": {"14": ""},
    "qrls_running": {"46": ""},
    "qrls_not_held": {"46": ""},
    "qrls_unknown": {"999999": NEVER},
    "qrls_complete": {"1": ENDED},
}


@pytest.mark.parametrize("case", HELD)
def test_hold_and_release(case: str) -> None:
    program, *targets = recording(case, WRAPPER).command.split()
    assert targets == list(HELD[case])
    scheduler, script = slurm(**{program: answer(case, program)})
    call = scheduler.hold if program == "qhold" else scheduler.release
    assert call(targets) == HELD[case]
    assert script.calls == [(program, *targets)]


def test_warnings_of_perl_name_no_job() -> None:
    warned = answer("qhold_held", "")
    assert "at /usr/bin/qhold line 97, <DATA> line 604." in recording("qhold_held", WRAPPER).err
    assert per_id(["97", "604"], warned) == {"97": "", "604": ""}


MISUSED = {
    "qdel_malformed": ("0", "Kill job error on job id Invalid argument"),
    "qdel_none": ("1", "it only said how it is used"),
    "qhold_none": ("1", "it only said how it is used"),
    "qrerun": ("46", "it only said how it is used"),  # the package's own fault
    "qrerun_unknown": ("999999", "it only said how it is used"),
}


@pytest.mark.parametrize("case", MISUSED)
def test_other_ways_of_control(case: str) -> None:
    target, words = MISUSED[case]
    assert per_id([target], answer(case, "")) == {target: words}


def test_its_qrerun_is_not_tried() -> None:
    scheduler, script = slurm()
    assert scheduler.requeue(["46"]) == {"46": "Slurm's qrerun does not work: use scontrol requeue"}
    assert script.calls == []


def test_there_is_no_qselect() -> None:
    assert recording("qselect", WRAPPER).code == 127
    assert "command not found" in message(recording("qselect", WRAPPER).err)


def test_slurm_has_no_singleton_here() -> None:
    with pytest.raises(PlanError, match="PBS has no dependency singleton"):
        slurm()[0].dependency("singleton", ["9"])


# ------------------------------------------------------------------------------------------------ controller down

CONNECT = "Unable to contact slurm controller (connect failure)"
LOADING = "Problem loading jobs."
Question = Callable[[Pbs], object]
DOWN: dict[str, tuple[str, Question]] = {
    "down_qstat": (f"qstat: {LOADING}", lambda scheduler: scheduler.poll([job("5")])),
    "down_qstat_all": (f"qstat: {LOADING}", lambda scheduler: scheduler.find({"3f9c2a71b2c4": 1.0})),
    "down_queues": (f"qstat: {LOADING}", lambda scheduler: scheduler.diagnose()),
    "down_pbsnodes": ("pbsnodes: Problem loading node.", lambda scheduler: scheduler.partitions()),
    "down_qdel": (f"qdel: {CONNECT}", lambda scheduler: scheduler.cancel(["5"])),
    "down_qdel_two": (f"qdel: {CONNECT}", lambda scheduler: scheduler.cancel(["5", "6"])),
    "down_qhold": (f"qhold: {CONNECT}", lambda scheduler: scheduler.hold(["5"])),
    "down_qrls": (f"qrls: {CONNECT}", lambda scheduler: scheduler.release(["5"])),
}


@pytest.mark.parametrize("case", DOWN)
def test_silence_is_not_an_answer(case: str) -> None:
    words, ask = DOWN[case]
    program = words.partition(":")[0]
    answers = {"qstat": listing(_5="R", _6="R"), program: answer(case, program)}
    with pytest.raises(UnreachableError) as caught:
        ask(slurm(**answers)[0])
    assert (caught.value.message, caught.value.hint) == (words, BUSY)


READ = {
    *ACCEPTED, *(case for cases in REFUSED.values() for case in cases), "down_qsub", *STATES, "array_mid",
    "array_mid_all", "array_deleted_all", "plain", "user", "server", "t", "version", "down_version", "queues",
    "queue_gpu", "queue_unknown", "queues_brief", "queue_limits", "pbsnodes", *DELETED, "qdel_array_task",
    "qdel_array_brackets", *HELD, *MISUSED, "qselect", *DOWN,
}  # fmt: skip


def test_every_recording_is_read() -> None:
    assert set(recordings(WRAPPER)) == READ
