"""Slurm's answers, as recorded from a real one, and its words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hpcjobs.errors import RefusedError, UnreachableError
from hpcjobs.model import NodeShape, Partition
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState, JobStatus
from hpcjobs.schedulers import LOGINS, Limits, local, slurm, slurm_words
from hpcjobs.units import Duration, Memory

DATA = Path(__file__).parent.parent / "data/slurm/22.05"


def recorded(name: str) -> str:
    return (DATA / name).read_text()


def job(native_id: str = "12", **more: object) -> JobRecord:
    values: dict[str, object] = {
        "id": 1, "tag": "t", "name": "n", "site": "s", "scheduler": "slurm", "folder": "/f", "workdir": "/w",
        "output": "/o", "error": "/e", "created": 100.0, "native_id": native_id,
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------- states


@pytest.mark.parametrize(
    ("word", "reason", "state"),
    [
        ("PENDING", "Priority", JobState.PENDING),
        ("PENDING", "JobHeldUser", JobState.HELD),
        ("CANCELLED by 1000", "", JobState.CANCELLED),
        ("CANCELLED+", "", JobState.CANCELLED),
        ("SUSPENDED", "", JobState.RUNNING),
        ("CONFIGURING", "", JobState.PENDING),
        ("RESIZING", "", JobState.RUNNING),
        ("SIGNALING", "", JobState.RUNNING),
        ("STAGE_OUT", "", JobState.COMPLETING),
        ("REQUEUE_HOLD", "", JobState.HELD),
        ("STOPPED", "", JobState.RUNNING),
        ("OUT_OF_MEMORY", "", JobState.OOM),
        ("SOMETHING_NEW", "", JobState.UNKNOWN),
        ("", "", JobState.UNKNOWN),
    ],
)
def test_every_word_has_a_state(word: str, reason: str, state: JobState) -> None:
    assert slurm.job_state(word, reason) is state


def test_no_state_of_a_live_job_counts_as_final() -> None:
    live = {"SUSPENDED", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "REQUEUE_HOLD", "STOPPED", "COMPLETING"}
    assert not [word for word in live if slurm.job_state(word).final]


# ------------------------------------------------------------------------------------------- squeue


def test_queue_of_a_real_cluster() -> None:
    found = slurm.parse_queue(recorded("squeue.txt"), {"23", "24", "25", "26", "27", "99"})
    assert sorted(found) == ["23", "24", "25", "26", "27"]
    assert found["23"].state is JobState.RUNNING
    assert found["23"].tasks is not None
    assert found["23"].tasks.states == {"done": "0-2,6-9", "failed": "3-4", "running": "5"}
    assert found["24"] == JobStatus(
        JobState.DONE, raw="COMPLETED", started=1795225318.0, ended=1795225318.0, nodes="n4"
    )
    assert found["25"].state is JobState.HELD
    assert found["25"].tasks is not None
    assert found["25"].tasks.states == {"held": "1,4,7,10,13,16,19,22,25,28"}
    assert (found["26"].state, found["26"].reason, found["26"].started) == (JobState.PENDING, "PartitionTimeLimit", 0.0)
    assert (found["27"].nodes, found["27"].started, found["27"].ended) == ("n[1-4]", 1795225319.0, 0.0)


def test_a_reason_of_many_words_and_bars_does_not_break_the_queue() -> None:
    text = "7|N/A|PENDING|N/A|N/A||ReqNodeNotAvail, UnavailableNodes:n[1|2] of three\n8|N/A|RUNNING|5|6|n1|None\n"
    found = slurm.parse_queue(text, {"7", "8"})
    assert found["7"].reason == "ReqNodeNotAvail, UnavailableNodes:n[1|2] of three"
    assert found["8"].state is JobState.RUNNING


@pytest.mark.parametrize("text", ["", "\n", "CLUSTER: alps\n", "slurm banner | of the day\n", "7|x\n"])
def test_lines_of_another_shape_are_skipped(text: str) -> None:
    assert slurm.parse_queue(text, {"7"}) == {}


def test_a_running_job_that_waits_again_was_requeued() -> None:
    answer = Completed((), 0, "12|N/A|PENDING|N/A|N/A||BeginTime\n", "")
    told = slurm.Slurm({}, lambda *_, **__: answer).poll([job(state=JobState.RUNNING)])
    assert told["12"].restarts == 1
    assert job(state=JobState.RUNNING).updated(told["12"], 5.0).state is JobState.PENDING


# -------------------------------------------------------------------------------------------- sacct


def test_accounting_of_a_real_cluster() -> None:
    found = slurm.parse_accounting(recorded("sacct.txt"))
    assert found["24"].state is JobState.DONE
    assert found["24"].exit_code == 0
    assert found["26"].state is JobState.PENDING
    assert found["27"].state is JobState.RUNNING
    array = found["23"]
    assert array.tasks is not None
    assert array.tasks.states == {"done": "0-2,6-9", "failed": "3-4", "running": "5"}
    assert array.tasks.codes == {"3": 7}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("5|CANCELLED by 0|0:0|None|17|None assigned|None", JobStatus(JobState.CANCELLED, "CANCELLED by 0", exit_code=0, ended=17.0)),
        ("5|OUT_OF_MEMORY|0:125|3|17|n1|None", JobStatus(JobState.OOM, "OUT_OF_MEMORY", exit_code=0, signal=125, started=3.0, ended=17.0, nodes="n1")),
        ("5|TIMEOUT|0:0|3|17|n1|None", JobStatus(JobState.TIMEOUT, "TIMEOUT", exit_code=0, started=3.0, ended=17.0, nodes="n1")),
    ],
)  # fmt: skip
def test_accounting_lines(line: str, expected: JobStatus) -> None:
    assert slurm.parse_accounting(line) == {"5": expected}


def test_pending_tasks_stand_in_one_line() -> None:
    found = slurm.parse_accounting("10_[0-20000]|PENDING|0:0|Unknown|Unknown|None assigned|None\n")
    assert found["10"].tasks is not None
    assert found["10"].tasks.states == {"pending": "0-20000"}


def test_accounting_is_asked_once_for_five_hundred_jobs() -> None:
    calls: list[tuple[str, ...]] = []

    def runner(argv: tuple[str, ...], **_: object) -> Completed:
        calls.append(argv)
        return Completed(argv, 0, "", "")

    slurm.Slurm({}, runner).accounting([job(str(n)) for n in range(501)])  # type: ignore[arg-type]
    assert len(calls) == 2
    assert slurm.Slurm({"accounting": False}, runner).accounting([job()]) == {}  # type: ignore[arg-type]
    assert len(calls) == 2


# ----------------------------------------------------------------------------------------- finding


def test_tags_are_found_in_the_queue_and_in_the_accounting() -> None:
    tags = ["aaaa00000001", "bbbb00000002", "cccc00000003"]
    expected = {"aaaa00000001": "23", "bbbb00000002": "24"}
    assert slurm.parse_tags(recorded("squeue-tags.txt"), tags) == expected
    assert slurm.parse_tags(recorded("sacct-tags.txt"), tags) == expected


@pytest.mark.parametrize(
    ("out", "native_id"),
    [
        ("12\n", "12"),
        ("12;alps\n", "12"),
        ("Welcome to Stampede3\nproject 4711 is low\n12\n", "12"),
        ("Submitted batch job 12\n", ""),
        ("", ""),
    ],
)
def test_only_a_line_that_is_an_id_is_one(out: str, native_id: str) -> None:
    assert slurm.parse_submit(out) == native_id


# ------------------------------------------------------------------------------------------- limits


def test_partitions_of_a_real_cluster() -> None:
    shape = NodeShape(cores=2, memory=Memory.parse("3000M"), gpus=2, gpu_type="fake")
    assert slurm.parse_partitions(recorded("sinfo.txt")) == {
        "debug": Partition(default=True, max_time=Duration(3600), nodes=4, min_nodes=1, node=shape),
        "long": Partition(max_time=Duration(86400), nodes=4, min_nodes=1, node=shape),
        "gpu": Partition(max_time=Duration(3600), nodes=2, min_nodes=1, node=shape),
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("big|infinite|2|64|1000", None),
        ("big|infinite|2+|64+|1000|gpu:4(S:0-1),nvme:1|2-8",
         Partition(nodes=2, min_nodes=2, max_nodes=8, node=NodeShape(cores=64, memory=Memory(1000 << 20), gpus=4))),
        ("old|infinite|1|8|0|gpu:2080ti:8(S:0)|1-infinite",
         Partition(nodes=1, min_nodes=1, node=NodeShape(cores=8, gpus=8, gpu_type="2080ti"))),
        ("mig|infinite|1|8|0|gpu:1g.10gb:7|1-infinite",
         Partition(nodes=1, min_nodes=1, node=NodeShape(cores=8, gpus=7, gpu_type="1g.10gb"))),
        ("one|30:00|1|8|0|(null)|1", Partition(max_time=Duration(1800), nodes=1, min_nodes=1, max_nodes=1, node=NodeShape(cores=8))),
    ],
)  # fmt: skip
def test_partition_lines(line: str, expected: Partition | None) -> None:
    found = slurm.parse_partitions(line)
    assert found == ({line.split("|", maxsplit=1)[0]: expected} if expected else {})


def test_version_and_settings() -> None:
    scheduler = slurm.Slurm({}, lambda *_, **__: Completed((), 0, recorded("config.txt"), ""))
    answer = scheduler.diagnose()
    assert answer.version == "22.05.8"
    assert answer.details["MaxArraySize"] == "20001"


@pytest.mark.parametrize(
    ("config", "associations", "options", "expected"),
    [
        ("config.txt", (0, "sacctmgr-limits.txt"), {}, Limits(20001, 20)),
        ("config.txt", (0, ""), {}, Limits(20001, 100_000)),
        ("config.txt", (1, "sacctmgr-limits.txt"), {}, Limits(20001, 100_000)),  # the database does not answer
        ("config.txt", (0, "sacctmgr-limits.txt"), {"accounting": False}, Limits(20001, 100_000)),
        ("", (0, ""), {}, Limits()),
    ],
)
def test_limits(config: str, associations: tuple[int, str], options: dict[str, bool], expected: Limits) -> None:
    calls = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        calls.append(argv[0])
        code, file = (0, config) if argv[0] == "scontrol" else associations
        return Completed(tuple(argv), code, recorded(file) if file else "", "")

    assert slurm.Slurm(options, run).limits() == expected
    assert calls == ["scontrol", "sacctmgr"][: 2 - len(options)]


# ------------------------------------------------------------------------------------ words and errors


def test_each_refusal_of_a_real_cluster_says_what_to_do() -> None:
    default = slurm_words.refusal_hint("something never seen")
    refusals: dict[str, str] = {}
    for line in recorded("sbatch-refusals.err").splitlines():
        option, _, text = line.partition("] ")
        refusals[option] = refusals.get(option, "") + text + "\n"
    assert len(refusals) == 10
    for text in refusals.values():
        assert slurm_words.refusal_hint(slurm_words.message(text) + text) != default, text


def test_outcomes_by_id() -> None:
    answer = Completed(("scancel",), 0, "", recorded("scancel-mixed.err"))
    assert slurm_words.per_id(["24", "25", "999999"], answer) == {
        "24": "Job/step already completing or completed",
        "25": "",
        "999999": "Invalid job id specified",
    }
    held = Completed(("scontrol",), 1, "", recorded("scontrol-hold-mixed.err"))
    assert slurm_words.per_id(["999999", "14"], held) == {
        "14": "Job has already finished",
        "999999": "Invalid job id specified",
    }


def test_a_failure_that_names_no_job_is_an_error() -> None:
    with pytest.raises(RefusedError, match="scancel: no such option"):
        slurm_words.per_id(["1", "2"], Completed(("scancel",), 1, "", "scancel: error: no such option"))


SILENCE = "squeue: error: slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"


def test_silence_is_not_an_answer() -> None:
    scheduler = slurm.Slurm({}, lambda *_, **__: Completed(("squeue",), 1, "", SILENCE))
    for call in (lambda: scheduler.poll([job()]), lambda: scheduler.cancel(["1"]), lambda: scheduler.find({"t": 1.0})):
        with pytest.raises(UnreachableError, match="Unable to contact slurm controller"):
            call()


@pytest.mark.parametrize(
    ("stderr", "maybe_done"),
    [
        ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", False),
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", True),
        ("sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received", True),
    ],
)
def test_a_submission_that_may_have_arrived_is_told_from_one_that_did_not(stderr: str, maybe_done: bool) -> None:
    scheduler = slurm.Slurm({}, lambda *_, **__: Completed(("sbatch",), 1, "", stderr))
    with pytest.raises(UnreachableError) as caught:
        scheduler.submit(Path("j.sh"), tag="t", record=job(""))
    assert caught.value.maybe_done is maybe_done


def test_a_success_without_an_id_is_looked_for_later() -> None:
    scheduler = slurm.Slurm({}, lambda *_, **__: Completed(("sbatch",), 0, "welcome to 3 clusters\n", ""))
    with pytest.raises(UnreachableError) as caught:
        scheduler.submit(Path("j.sh"), tag="t", record=job(""))
    assert caught.value.maybe_done


def test_the_callers_job_does_not_leak_into_the_new_one() -> None:
    caller = {
        "SLURM_CPU_BIND": "x", "SLURM_JOB_ID": "7", "SBATCH_PARTITION": "p", "SQUEUE_FORMAT": "%i", "HOME": "/h",
        "SLURM_CONF": "/c", "SLURM_JWT": "j", "SLURM_CLUSTERS": "a",
    }  # fmt: skip
    assert slurm.environment(caller) == {
        "HOME": "/h", "SLURM_CONF": "/c", "SLURM_JWT": "j", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "other jobs are before it in the queue"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "nodes that it needs are down, drained, reserved (a maintenance?) or being switched off"),
        ("QOSMaxJobsPerUserLimit", "a limit of the account or quality of service is reached (QOSMaxJobsPerUserLimit)"),
        ("AssocGrpCpuLimit", "a limit of the account or quality of service is reached (AssocGrpCpuLimit)"),
        ("Brand New", "Slurm says Brand New"),
        ("", "Slurm has not looked at it yet"),
    ],
)  # fmt: skip
def test_reasons_in_words(reason: str, words: str) -> None:
    said = slurm_words.explain_reason(JobStatus(JobState.PENDING, reason=reason))
    assert said.words == words
    assert said.advice


CLOUD = {
    "1": (JobState.CANCELLED, "", "it is cancelled"),
    "3": (
        JobState.PENDING,
        "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
        "nodes that it needs are down, drained or reserved; those of a cloud are reset and come back in some minutes",
    ),
    "4": (
        JobState.PENDING,
        "CONFIGURING",
        "its nodes are being started, which takes some minutes (ResumeTimeout 2100 s)",
    ),
    "5": (
        JobState.PENDING,
        "ReqNodeNotAvail, UnavailableNodes:cpu-dy-hpc7a-[1-4]",
        "nodes that it needs are down, drained, reserved (a maintenance?) or being switched off",
    ),
    "6": (
        JobState.PENDING,
        "CONFIGURING",
        "its nodes are being started, which takes some minutes (ResumeTimeout 2100 s)",
    ),
}


@pytest.mark.parametrize("native_id", CLOUD)
def test_jobs_of_a_cloud(native_id: str) -> None:
    asked = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        asked.append(" ".join(argv[:3]) if argv[0] == "scontrol" else argv[0])
        answers = {
            "squeue": recorded("squeue-cloud.txt"),
            "sinfo": "mixed#\n",
            "scontrol": "ResumeTimeout           = 2100 sec\n",
        }
        return Completed(tuple(argv), 0, answers[argv[0]], "")

    state, reason, words = CLOUD[native_id]
    scheduler = slurm.Slurm({}, run)
    told = scheduler.poll([job(native_id)])[native_id]
    assert (told.state, told.reason) == (state, reason)
    asked.clear()
    said = scheduler.explain(job(native_id))
    assert (said.reason, said.words) == (reason, words)
    # Most jobs have no nodes: nothing more is asked.
    assert asked == (["squeue", "sinfo", "scontrol show config"] if reason == "CONFIGURING" else ["squeue"])


@pytest.mark.parametrize(
    ("states", "timeout", "words"),
    [
        (["allocated#"], 2100, "its nodes are being started, which takes some minutes (ResumeTimeout 2100 s)"),
        (["idle~"], 0, "its nodes are being started, which takes some minutes"),
        (["allocated", "allocated#", "mixed%"], 60, "its nodes are being started, which takes some minutes (ResumeTimeout 60 s)"),
        (["allocated%", "allocated"], 60, "its nodes are being switched off, and start again after that"),
        (["allocated^"], 60, "its nodes are rebooting"),
        (["allocated*"], 60, "its nodes do not answer"),
        (["allocated", "mixed"], 60, "its nodes are being prepared"),
        ([], 60, "its nodes are being prepared"),
    ],
)  # fmt: skip
def test_nodes_that_are_not_ready_in_words(states: list[str], timeout: int, words: str) -> None:
    status = JobStatus(JobState.PENDING, raw="CONFIGURING", reason="CONFIGURING", nodes="n1")
    said = slurm_words.explain_reason(status, states, timeout)
    assert said.words == words
    assert said.advice


def test_a_cluster_without_accounting_finds_jobs_in_the_queue() -> None:
    def run(argv: Sequence[str], **_: object) -> Completed:
        if argv[0] == "squeue":
            return Completed(tuple(argv), 0, recorded("squeue-tags.txt"), "")
        return Completed(tuple(argv), 1, "", sacct)

    scheduler, tags = slurm.Slurm({}, run), {"aaaa00000001": 1.0, "ffff00000009": 1.0}
    sacct = "Slurm accounting storage is disabled\n"
    assert scheduler.find(tags) == {"aaaa00000001": "23"}
    sacct = "sacct: error: Unknown field\n"
    with pytest.raises(RefusedError, match="Unknown field"):
        scheduler.find(tags)


@pytest.mark.parametrize("name", sorted(LOGINS))
def test_logins_of_registries_reach_no_job(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name not in slurm.environment({name: "secret", "A": "1"})
    monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("A", "1")
    made = local._environment("all")
    assert name not in made
    assert made["A"] == "1"
    assert name not in local._environment("none")
