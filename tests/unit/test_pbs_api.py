"""PBS by its library: the real program over a compiled stand-in of libpbs, and over a stand-in of pbs-python."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from hpcjobs import process
from hpcjobs.errors import RefusedError, UnreachableError
from hpcjobs.process import Completed
from hpcjobs.record import JobRecord, JobState
from hpcjobs.schedulers import api, pbs_api, pbs_status
from hpcjobs.schedulers.pbs import Pbs
from tests.pbs_recorded import recordings

DATA = Path(__file__).parent.parent / "data/pbs/library"
JOBS = (DATA / "library.txt").read_text("utf-8")
BY_COMMAND = (DATA / "qstat.txt").read_text("utf-8")
STATES = {
    "3095": (JobState.FAILED, 7),
    "3096": (JobState.HELD, None),
    "3097": (JobState.CANCELLED, None),
    "3098": (JobState.RUNNING, None),
    "3099": (JobState.PENDING, None),
    "3100": (JobState.DONE, 0),
}
SCRIPT = """\
#!/bin/bash
#PBS -N solve
#PBS -q workq
#PBS -l select=2:ncpus=8:mpiprocs=4:mem=1024mb+1:ncpus=8
#PBS -l place=scatter
#PBS -l walltime=00:10:00,filesystems=home
#PBS -h
#PBS -r y
#PBS -J 0-9%2
#PBS -W depend=afterok:12.pbshead:13.pbshead
#PBS -j oe
#PBS -o /dev/null
set -eu
#PBS -N too-late
"""


def job(native_id: str, **more: object) -> JobRecord:
    values: dict[str, object] = {
        "id": 1, "tag": "0123456789ab", "name": "n", "site": "s", "scheduler": "pbs", "folder": "/f", "workdir": "/w",
        "output": "/o", "error": "/e", "created": 100.0, "native_id": native_id,
    }  # fmt: skip
    return JobRecord(**{**values, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PBS_EXEC of a PBS whose library answers from files."""
    if not shutil.which("gcc"):
        pytest.skip("the PBS library is NOT TESTED: gcc is not installed")
    folder = tmp_path_factory.mktemp("pbs")
    (folder / "lib").mkdir()
    source = Path(__file__).parent.parent / "stubs/libpbs.c"
    command = ["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(folder / "lib/libpbs.so.0"), str(source)]
    subprocess.run(command, check=True)
    return folder


@dataclass
class Server:
    """What the library answers, what it was asked, and the commands that were run instead."""

    folder: Path
    answers: dict[str, Completed] = field(default_factory=dict)
    commands: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, argv: Sequence[str], **more: Any) -> Completed:
        """The `Runner`."""
        if argv[0] == sys.executable:
            return process.run(argv, **more)
        self.commands.append(tuple(argv))
        return self.answers[argv[0]]

    def fail(self, function: str, number: int, text: str = "") -> None:
        """Let a function of the library fail from now on."""
        with (self.folder / "errors").open("a") as file:
            file.write(f"{function} {number} {text}\n")

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def pbs(self, **extra: object) -> Pbs:
        return Pbs({"driver": "api", "extra": {"dialect": "openpbs", "api": "", **extra}}, self.run)


@pytest.fixture
def server(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    (tmp_path / "pbs.conf").write_text(f"PBS_SERVER=pbshead\nPBS_EXEC={library}\n")
    (tmp_path / "jobs").write_text(JOBS)
    for name in ("PBS_EXEC", "MAIL", "TZ"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PBS_CONF_FILE", str(tmp_path / "pbs.conf"))
    monkeypatch.setenv("STUB", str(tmp_path))
    monkeypatch.setenv("MALLOC_PERTURB_", "165")  # memory that was freed is overwritten: mallopt(3)
    return Server(tmp_path)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "it's <job>.sh"
    file.write_text(SCRIPT)
    return file


# ------------------------------------------------------------------------------------------------ status


def test_library_and_command_said_the_same_of_each_job() -> None:
    by_library, by_command = pbs_status.parse_dsv(JOBS), pbs_status.parse_dsv(BY_COMMAND)
    assert list(by_library) == list(by_command)
    assert len(by_library) == 10
    for key, attributes in by_library.items():
        assert pbs_status.read_status(attributes) == pbs_status.read_status(by_command[key])


def test_what_is_asked_of_the_library_is_all_that_is_read() -> None:
    texts = [JOBS, *(recording.out for recording in recordings().values())]
    seen = 0
    for attributes in (
        each for text in texts for read in (pbs_status.parse_dsv, pbs_status.parse_text) for each in read(text).values()
    ):
        wanted = {name: value for name, value in attributes.items() if name in pbs_api.WANTED}
        assert pbs_status.read_status(wanted) == pbs_status.read_status(attributes)
        seen += 1
    assert seen > 100


@pytest.mark.parametrize("older", [False, True], ids=["", "a server without one of the attributes"])
def test_status(server: Server, older: bool) -> None:
    if older:
        server.fail("statjob", 15002, "Undefined Attribute")
    jobs = [job(f"{number}.pbshead") for number in STATES]
    found = server.pbs().accounting(jobs)
    assert {native_id[:4]: (status.state, status.exit_code) for native_id, status in found.items()} == STATES
    ended = found["3095.pbshead"]
    assert (ended.started, ended.ended, ended.nodes) == (1795285950.0, 1795285951.0, "pbsn1")
    ids = ",".join(one.native_id for one in jobs)
    statements = [f"statjob 7 {ids} some x", f"statjob 7 {ids} all x"]
    assert server.asked == ["connect -", *statements[: 1 + older], "disconnect 7"]
    assert server.commands == []


def test_status_of_an_array(server: Server) -> None:
    found = server.pbs().poll([job("3094[].pbshead", array="2-4")])
    tasks = found["3094[].pbshead"].tasks
    assert tasks is not None
    assert (tasks.states, tasks.codes) == ({"failed": "2-4"}, {"2": 2, "3": 3, "4": 4})
    assert server.asked[1] == "statjob 7 3094[].pbshead some t"


def test_unknown_jobs_are_absent(server: Server) -> None:
    server.fail("statjob", 15001, "Unknown Job Id")
    assert server.pbs().poll([job("1.pbshead"), job("2.pbshead")]) == {}


def test_a_server_without_history(server: Server) -> None:
    server.fail("statjob", 15140, "PBS is not configured to maintain job history")
    assert server.pbs().accounting([job("3095.pbshead")]) == {}


def test_another_server_than_the_default_is_asked_for_its_jobs(server: Server) -> None:
    server.pbs().poll([job("3095.elsewhere")])
    assert server.asked[0] == "connect elsewhere"


def test_jobs_of_two_servers_are_the_commands(server: Server) -> None:
    server.answers["qstat"] = Completed((), 0, BY_COMMAND, "")
    found = server.pbs().poll([job("3095.pbshead"), job("3100.elsewhere")])
    assert [status.state for status in found.values()] == [JobState.FAILED, JobState.DONE]
    assert server.commands[0][0] == "qstat"


def test_a_library_that_crashes_is_replaced_by_the_command(server: Server) -> None:
    server.fail("statjob", -1)
    server.answers["qstat"] = Completed((), 0, BY_COMMAND, "")
    assert server.pbs().poll([job("3100.pbshead")])["3100.pbshead"].state is JobState.DONE


def test_a_server_that_is_down(server: Server) -> None:
    server.fail("connect", 15010)
    with pytest.raises(UnreachableError, match=r"qstat: cannot connect to server pbshead \(errno=15010\)") as raised:
        server.pbs().poll([job("3095.pbshead")])
    assert not raised.value.maybe_done


def test_a_server_that_hangs_is_called_by_the_commands_name() -> None:
    def hangs(argv: Sequence[str], *, timeout: float, **_: object) -> Completed:
        raise UnreachableError(f"{argv[0]} did not answer within {timeout:g} s", maybe_done=True)

    scheduler = Pbs({"driver": "api", "timeout": 30, "extra": {"dialect": "openpbs", "api": ""}}, hangs)
    with pytest.raises(UnreachableError) as raised:
        scheduler.poll([job("3095.pbshead")])
    assert raised.value.message == "qstat (by its library) did not answer within 30 s"


def test_values_stay_in_their_line() -> None:
    record = ("1.s", [("comment", "two\nlines\\")])
    assert pbs_api._dsv(record, "|") == "Job Id: 1.s|comment=two\\nlines\\\\\n"
    assert pbs_status.parse_text(pbs_api._text(record)) == {(1, None): {"comment": "twolines\\"}}


# ------------------------------------------------------------------------------------------------ submit


def test_submission(server: Server, script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(server.folder)
    for name in ("HOME", "LOGNAME", "PATH", "SHELL"):
        monkeypatch.setenv(name, f"/{name.lower()},x")
    monkeypatch.setenv("PWD", "/elsewhere")
    assert server.pbs().submit(script, tag="t", record=job("")) == "42.pbshead"
    quoted = str(script).replace("'", "&apos;").replace("<", "&lt;").replace(">", "&gt;")
    origin = [
        *(f"PBS_O_{name}=/{name.lower()}\\,x" for name in ("HOME", "LOGNAME", "PATH", "SHELL")),
        "PBS_O_LANG=C.UTF-8",
    ]
    origin = [*origin[:1], origin[4], *origin[1:4], f"PBS_O_WORKDIR={server.folder}", "PBS_O_SYSTEM=Linux"]
    assert server.asked == [
        "connect -",
        "statserver 7 default_qsub_arguments -",
        f"submit 7 {script} workq -",
        "  Job_Name - solve",
        "  Resource_List select 2:ncpus=8:mpiprocs=4:mem=1024mb+1:ncpus=8",
        "  Resource_List place scatter",
        "  Resource_List walltime 00:10:00",
        "  Resource_List filesystems home",
        "  Hold_Types - u",
        "  Rerunable - y",
        "  array_indices_submitted - 0-9",
        "  max_run_subjobs - 2",
        "  depend - afterok:12.pbshead:13.pbshead",
        "  Join_Path - oe",
        "  Output_Path - /dev/null",
        "  Checkpoint - u",
        "  Keep_Files - n",
        "  Mail_Points - a",
        "  Priority - 0",
        f"  Variable_List - {','.join(origin)}",
        f"  Submit_arguments - <jsdl-hpcpa:Argument>-f</jsdl-hpcpa:Argument><jsdl-hpcpa:Argument>{quoted}</jsdl-hpcpa:Argument>",
        "disconnect 7",
    ]
    assert server.commands == []


@pytest.mark.parametrize(
    ("failure", "said", "hint"),
    [
        (("submit", 15018, "Unknown queue"), "PBS refused the job: Unknown queue", "name a queue"),
        (("submit", 15136, "no account"), "PBS refused the job: no account", "a rule of the site"),
        (("submit", 15001, ""), "PBS refused the job: Unknown Job Id", "check -d"),
        (("Resource_List", 15035, "Unknown resource: nosuch"), "PBS refused the job: Unknown resource: nosuch", "no such resource"),
        (("Job_Name", 15014, "Illegal attribute"), "PBS refused the job: illegal -N value", "choose another name"),
        (("depend", 15014, "Illegal attribute"), "PBS refused the job: illegal -W value", "check -d"),
    ],
)  # fmt: skip
def test_a_refusal_is_in_qsubs_words(
    server: Server, script: Path, failure: tuple[str, int, str], said: str, hint: str
) -> None:
    server.fail(*failure)
    with pytest.raises(RefusedError) as raised:
        server.pbs().submit(script, tag="t", record=job(""))
    assert raised.value.message == said
    assert hint in raised.value.hint


@pytest.mark.parametrize(("function", "number", "maybe"), [("connect", 15010, False), ("submit", -1, True)])
def test_whether_a_job_may_have_arrived(server: Server, script: Path, function: str, number: int, maybe: bool) -> None:
    server.fail(function, number)
    with pytest.raises(UnreachableError) as raised:
        server.pbs().submit(script, tag="t", record=job(""))
    assert raised.value.maybe_done is maybe
    assert server.commands == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("#PBS -V", "#PBS -V is for qsub: option -V not recognized"),
        ("#PBS -v A=1", "option -v not recognized"),
        ("#PBS -N x", "-N stands twice"),
        ("#PBS -l walltime=1", "-l stands twice"),
        ("#PBS -l ncpus", "-l ncpus is for qsub"),
        ("#PBS -W block=true", "-W block=true is for qsub"),
        ("#PBS -W umask=027,depend=on:1", "is for qsub"),
        ("#PBS -P a\\ b", "a backslash"),
        ("#PBS -P 'a", "No closing quotation"),
        ("#PBS -P a b", "is for qsub: b"),
        ("#PBS -A x\r", "CR"),
    ],
)
def test_what_could_be_read_otherwise_is_qsubs(line: str, why: str) -> None:
    text = f"#!/bin/bash\n\n: first\n#PBS -N n -l walltime=2\n{line}\ntrue\n"
    with pytest.raises(pbs_api.UnusableError) as raised:
        pbs_api.request(text)
    assert why in str(raised.value)


def test_an_array_that_may_not_run_again_is_for_qsub_to_refuse() -> None:
    with pytest.raises(pbs_api.UnusableError, match="for qsub to refuse"):
        pbs_api.request("#PBS -r n\n#PBS -J 0-3\n")


def test_quotes_and_several_options_in_a_line() -> None:
    attributes, queue = pbs_api.request("#PBS -A 'a b' -P c\n#PBS -W group_list=g\n")
    assert queue == ""
    assert attributes[:3] == [("Account_Name", "a b", ""), ("project", "c", ""), ("group_list", "g", "")]


@pytest.mark.parametrize("case", ["directive", "defaults"])
def test_what_is_qsubs_is_left_to_it(server: Server, script: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    server.answers["qsub"] = Completed((), 0, "43.pbshead\n", "")
    if case == "directive":
        script.write_text("#!/bin/bash\n#PBS -V\n")
    else:
        monkeypatch.setenv("STUB_QSUB_ARGUMENTS", "-V")
    assert server.pbs().submit(script, tag="t", record=job("")) == "43.pbshead"
    assert server.commands == [("qsub", "-f", str(script))]
    asked = ["connect -", "statserver 7 default_qsub_arguments -", "disconnect 7"]
    assert (server.folder / "asked").exists() is (case == "defaults")
    assert case == "directive" or server.asked == asked


def test_a_script_that_cannot_be_read_is_qsubs_business(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    assert pbs_api.main(["libpbs", "qsub", "-f", "/no/such/job.sh"]) == 1
    assert capfd.readouterr().err == "the library is not used: /no/such/job.sh: No such file or directory\n"


def test_a_folder_that_is_gone_is_qsubs_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    monkeypatch.delenv("PWD", raising=False)
    with pytest.raises(pbs_api.UnusableError, match="the current folder is gone"):
        pbs_api._folder()


# ------------------------------------------------------------------------------------------------ cancel


def test_cancelling_asks_for_each_job_and_says_which_failed(server: Server) -> None:
    server.fail("3098.pbshead", 15001)
    server.fail("3094[2-3].pbshead", 15005, "Unauthorized Request")
    targets = ["3096.pbshead", "3094[2-3].pbshead 3094[4].pbshead", "3098.pbshead", "9.pbshead"]
    assert server.pbs().cancel(targets) == {
        "3096.pbshead": "",
        "3094[2-3].pbshead 3094[4].pbshead": "Unauthorized Request",
        "3098.pbshead": "Unknown Job Id",
        "9.pbshead": "PBS no longer has it in its queues",
    }
    assert {line for line in server.asked if line.startswith("deljob")} == {
        f"deljob 7 {word} -" for target in targets[:3] for word in target.split()
    }


# ------------------------------------------------------------------------------------------- the library


def test_a_library_that_loads_is_used(server: Server) -> None:
    scheduler = Pbs({"driver": "api", "extra": {"dialect": "pbspro"}}, server.run)
    assert not scheduler.identified
    assert scheduler.identify() == {"dialect": "openpbs", "api": ""}
    assert Pbs({"driver": "api", "extra": scheduler.identify()}, server.run).identified
    server.answers["qstat"] = Completed((), 0, "Server: pbshead\x1fpbs_version=23.06.06\n", "")
    diagnosis = server.pbs().diagnose()
    assert (diagnosis.version, diagnosis.details["driver"], diagnosis.warning) == ("23.06.06", "api", "")


def test_no_library(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PBS_CONF_FILE", "/no/such/file")
    server.answers["qstat"] = Completed((), 0, BY_COMMAND, "")
    problem = "the PBS library does not load: libpbs.so.0: cannot open shared object file: No such file or directory"
    diagnosis = server.pbs().diagnose()
    assert (diagnosis.details["driver"], diagnosis.warning) == ("commands", f"the commands are used: {problem}")
    # It was there when the job was submitted, or was not.
    for extra in ({}, {"api": problem}):
        assert server.pbs(**extra).poll([job("3100.pbshead")])["3100.pbshead"].state is JobState.DONE


def test_a_library_of_the_name_that_is_another_one(tmp_path: Path, server: Server) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "other.c").write_text("int *__pbs_errno_location(void) { return 0; }\n")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "lib/libpbs.so.0", tmp_path / "other.c"], check=True)
    (tmp_path / "pbs.conf").write_text(f"PBS_EXEC={tmp_path}\n")
    assert "undefined symbol: pbs_default" in server.pbs().identify()["api"]


def test_a_library_that_crashes_while_it_loads() -> None:
    crash = api.Library(lambda *_, **__: Completed((), -11, "", ""), "pbs_api.py", answers=())
    assert crash.problem(timeout=1, env={}) == "loading it ended with code -11"


def test_a_program_that_cannot_be_started() -> None:
    def nothing(argv: Sequence[str], **_: object) -> Completed:
        raise UnreachableError(f"{argv[0]} cannot be run here: No such file or directory")

    problem = api.Library(nothing, "pbs_api.py", answers=()).problem(timeout=1, env={})
    assert problem == "load (by its library) cannot be run here: No such file or directory"


def test_the_programs_and_what_starts_them_agree_on_a_word() -> None:
    from hpcjobs.schedulers import slurm_api

    assert api._UNUSABLE == pbs_api.UNUSABLE == slurm_api.UNUSABLE


def test_openpbss_own_module_shows_where_the_library_is(mocker: MockerFixture) -> None:
    mocker.patch.object(pbs_api, "_configured", return_value="")
    mocker.patch.dict("os.environ")
    mocker.patch.dict(sys.modules, {"_pbs_ifl": None})
    assert list(pbs_api._places()) == ["libpbs.so.0"]
    mocker.patch.dict(sys.modules, {"_pbs_ifl": ModuleType("_pbs_ifl")})
    assert list(pbs_api._places()) == ["libpbs.so.0", "libpbs.so.0"]


def test_slurms_look_alike_has_no_library() -> None:
    scheduler = Pbs({"driver": "api", "extra": {"dialect": "slurm-torque"}}, lambda *_, **__: Completed((), 0, "", ""))
    assert scheduler.identify()["api"] == "Slurm's look-alike of TORQUE has none: kind: slurm has"
    assert scheduler.diagnose().details["driver"] == "commands"


# ------------------------------------------------------------------------------------ TORQUE: pbs-python

Answers = Callable[[list[str]], tuple[int, str, str]]


def status(name: str, **attributes: str) -> SimpleNamespace:
    parts = ((*key.partition("__")[::2], value) for key, value in attributes.items())
    attribs = [SimpleNamespace(name=key, resource=resource or None, value=value) for key, resource, value in parts]
    return SimpleNamespace(name=name, attribs=attribs)


@pytest.fixture
def torque(mocker: MockerFixture) -> Any:
    """The module, in the shapes of pbs_python 4.4."""
    module = mocker.Mock()
    module.pbs_default.return_value = "head"
    module.pbs_connect.return_value = 3
    module.error.return_value = (0, "")
    jobs = {
        "7.head": [status("7.head", job_state="R", exec_host="n1/0", start_time="17", Resource_List__nodes="1")],
        "8[].head": [status("8[1].head", job_state="C", exit_status="0"), status("8[2].head", job_state="Q")],
    }

    def statjob(_: int, native_id: str, *__: str) -> list[SimpleNamespace]:
        found = [one for each in jobs.values() for one in each] if native_id == "NULL" else jobs.get(native_id, [])
        module.error.return_value = (0, "") if found else (15001, "Unknown Job Id")
        return found

    module.pbs_statjob.side_effect = statjob
    module.pbs_deljob.return_value = 0
    mocker.patch.dict(sys.modules, {"pbs": module})
    return module


@pytest.fixture
def ask(capfdbinary: pytest.CaptureFixture[bytes]) -> Answers:
    def run(words: list[str]) -> tuple[int, str, str]:
        code = pbs_api.main(["pbs-python", *words])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_torque_status(torque: Any, ask: Answers) -> None:
    code, out, err = ask(["qstat", "-f", "-t", "7.head", "8[].head", "9.head"])
    assert (code, err) == (0, "")
    assert pbs_status.parse_text(out) == {
        (7, None): {"job_state": "R", "exec_host": "n1/0", "start_time": "17", "Resource_List.nodes": "1"},
        (8, 1): {"job_state": "C", "exit_status": "0"},
        (8, 2): {"job_state": "Q"},
    }
    assert [call.args[1] for call in torque.pbs_statjob.call_args_list] == ["7.head", "8[].head", "9.head"]
    torque.pbs_connect.assert_called_once_with("head")
    torque.pbs_disconnect.assert_called_once_with(3)


def test_torque_status_of_all(torque: Any, ask: Answers) -> None:
    assert sorted(pbs_status.parse_text(ask(["qstat", "-f"])[1])) == [(7, None), (8, 1), (8, 2)]


def test_torque_refuses(torque: Any, ask: Answers) -> None:
    torque.pbs_statjob.side_effect = None
    torque.pbs_statjob.return_value = []
    torque.error.return_value = (15007, "Unauthorized Request")
    assert ask(["qstat", "-f", "7.head"]) == (159, "", "qstat: Unauthorized Request 7.head\n")


def test_torque_deletes(torque: Any, ask: Answers) -> None:
    torque.pbs_deljob.side_effect = [0, 15001]
    torque.error.return_value = (15001, "Unknown Job Id")
    assert ask(["qdel", "7.head", "9.head"]) == (153, "", "qdel: Unknown Job Id 9.head\n")


def test_torque_is_down(torque: Any, ask: Answers) -> None:
    torque.pbs_connect.return_value = -1
    torque.error.return_value = (15033, "No support")
    code, _, err = ask(["qstat", "-f", "7.head"])
    assert (code, err) == (185, "qstat: cannot connect to server head (errno=15033) No support\n")
    torque.pbs_disconnect.assert_not_called()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["qsub", "job.sh"], "TORQUE's qsub runs the site's submit filter"),
        (["qstat", "-Q", "-f"], "qstat: option -Q not recognized"),
    ],
)
def test_what_is_the_commands(torque: Any, ask: Answers, words: list[str], why: str) -> None:
    assert ask(words) == (1, "", f"the library is not used: {why}\n")


def test_torque_by_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a stock Python: the package is there, and does not load; the commands do it."""
    (tmp_path / "pbs.py").write_text("raise ImportError('libtorque.so.2: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    answer = Completed((), 0, "Job Id: 7.head\n    job_state = R\n", "")
    runs: list[str] = []

    def run(argv: Sequence[str], **more: Any) -> Completed:
        runs.append(argv[0])
        return process.run(argv, **more) if argv[0] == sys.executable else answer

    scheduler = Pbs({"driver": "api", "extra": {"dialect": "torque"}}, run)
    problem = scheduler.identify()["api"]
    assert problem == "pbs-python does not load: ImportError: libtorque.so.2: cannot open shared object file"
    scheduler = Pbs({"driver": "api", "extra": {"dialect": "torque", "api": ""}}, run)
    assert scheduler.poll([job("7.head")])["7.head"].state is JobState.RUNNING
    assert runs == [sys.executable, sys.executable, "qstat"]


def test_another_module_of_that_name(mocker: MockerFixture, ask: Answers) -> None:
    other = ModuleType("pbs")
    other.__file__ = "/here/pbs.py"
    mocker.patch.dict(sys.modules, {"pbs": other})
    assert ask(["load"])[2].endswith("the module pbs is another one than pbs-python's: /here/pbs.py\n")
