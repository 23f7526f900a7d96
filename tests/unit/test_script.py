"""The scripts themselves, run by a real bash."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import containers, render
from hpcjobs.model import ImageCheck, ServicePlan, StudyPart
from hpcjobs.record import JobState, JobStatus, parse_exit_file
from hpcjobs.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path


def run(
    where: Path, *command: str, template: str = "builtin/local", given: dict[str, str] | None = None, **fields: Any
) -> subprocess.CompletedProcess[str]:
    """Run a job of one command in the folder `where`, with `given` in its environment."""
    plan = replace(
        render.sample_plan(full=False),
        **{"folder": str(where), "workdir": str(where), "launch": (command,), **fields},
    )
    script = where / "job.sh"
    script.write_text(render.render(plan, template=template).text, "utf-8")
    # As a scheduler starts it: a signal that is ignored here (by nohup, say) is not ignored there.
    line = ["env", "--default-signal", "bash", str(script)]
    return subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, **(given or {})})


def end(folder: Path, name: str = "exit") -> JobStatus:
    status = parse_exit_file((folder / name).read_text())
    assert status
    return status


@pytest.mark.parametrize(
    ("command", "code", "number"),
    [
        (("true",), 0, 0),
        (("sh", "-c", "exit 3"), 3, 0),
        (("no-such-program",), 127, 0),
        (("/",), 126, 0),
        (("sh", "-c", "kill -9 $$"), 137, 9),
        # The scheduler's signals reach the script too, whatever the program makes of them.
        (("sh", "-c", "kill -TERM $PPID; exit 0"), 143, 15),
        (("sh", "-c", "kill -USR1 $PPID; exit 0"), 138, 10),
        (("sh", "-c", "kill -USR2 $PPID; exit 0"), 140, 12),
        (("sh", "-c", "kill -XCPU $PPID; exit 0"), 152, 24),
        (("sh", "-c", "kill -HUP $PPID; exit 0"), 129, 1),
        (("sh", "-c", "kill -INT $PPID; kill -INT $$"), 130, 2),
    ],
)
def test_end_is_written(tmp_path: Path, command: tuple[str, ...], code: int, number: int) -> None:
    done = run(tmp_path, *command)
    status = end(tmp_path)
    assert (done.returncode, status.exit_code, status.signal) == (code, code, number)
    assert status.state is (JobState.FAILED if code else JobState.DONE)
    assert status.nodes
    assert 0 < status.started <= status.ended
    assert sorted(file.name for file in tmp_path.iterdir()) == ["exit", "job.sh"]
    assert (tmp_path / "exit").stat().st_mode & 0o777 == 0o600


def test_program_killed_by_the_group_s_signal(tmp_path: Path) -> None:
    plan = replace(
        render.sample_plan(full=False),
        folder=str(tmp_path),
        workdir=str(tmp_path),
        launch=(("sh", "-c", "echo ready; exec sleep 60"),),
    )
    script = tmp_path / "job.sh"
    script.write_text(render.render(plan, template="builtin/local").text)
    with subprocess.Popen(["bash", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait() == 143
    assert (end(tmp_path).exit_code, end(tmp_path).signal) == (143, 15)


def test_variable_of_the_site_that_is_not_set(tmp_path: Path) -> None:
    done = run(tmp_path, "true", site_env={"A": "$NOT_SET_ANYWHERE"})
    assert "NOT_SET_ANYWHERE: unbound variable" in done.stderr
    assert end(tmp_path).exit_code == done.returncode == 1


def test_environment_that_breaks_programs_does_not_break_the_end(tmp_path: Path) -> None:
    done = run(tmp_path, "/bin/sh", "-c", "exit 4", env={"PATH": "/nowhere", "LD_PRELOAD": "/no/such.so"})
    assert end(tmp_path).exit_code == done.returncode == 4


def test_end_of_an_array_s_task_has_its_index(tmp_path: Path) -> None:
    run(tmp_path, "true", array="0-9", given={"HPCJOB_ARRAY_INDEX": "7", "HPCJOB_RESTARTS": "2"})
    assert end(tmp_path, "exit.7").restarts == 2


def task(where: Path, *command: str, pack: int = 3, **fields: Any) -> tuple[int, list[str]]:
    """Run task 7 of a study's job, its output in a log of its own; its exit code and the line of its end."""
    study = where / "study"
    (study / "ends").mkdir(parents=True)
    (where / "log").mkdir()
    plan = replace(
        render.sample_plan(full=False),
        **{
            "folder": str(where / "log"), "workdir": str(where), "launch": (command,), "array": "0-9",
            "output": str(where / "log/task.%a.log"), "error": str(where / "log/task.%a.log"),
            "study": StudyPart(str(study), 4, 0, pack, 10 * pack), **fields,
        },
    )  # fmt: skip
    script = where / "job.sh"
    script.write_text(render.render(plan, template="builtin/local").text, "utf-8")
    given = {"HPCJOB_ARRAY_INDEX": "7", "HPCJOB_RESTARTS": "1", "HPCJOB_NATIVE_ID": "12", "TMPDIR": str(where)}
    given["HOSTNAME"] = "login"
    with (where / "log/task.7.log").open("wb") as log:
        done = subprocess.run(
            ["env", "--default-signal", "bash", script],
            env={**os.environ, **given},
            stdout=log,
            stderr=log,
            check=False,
        )
    host = Path("/proc/sys/kernel/hostname").read_text().strip()
    written = study / "ends" / host
    return done.returncode, written.read_text().splitlines() if written.exists() else []


@pytest.mark.parametrize(
    ("command", "code", "number"),
    [("true", 0, 0), ("exit 3", 3, 0), ("kill -TERM $PPID", 143, 15), ("kill -9 $$", 137, 0)],
)
@pytest.mark.parametrize("pack", [1, 3])
def test_a_task_of_a_study_adds_a_line_when_it_ends(
    tmp_path: Path, command: str, code: int, number: int, pack: int
) -> None:
    ended, (line,) = task(tmp_path, "sh", "-c", command, pack=pack)
    kind, tag, index, *rest, start, end, restarts, native_id = line.split(" ")
    assert (ended, kind, tag, index, rest) == (code, "t", "3f9c2a71b2c4", "7", [str(code), str(number)])
    assert 0 < int(start) <= int(end)
    assert (restarts, native_id) == ("1", "12")
    assert (tmp_path / "study/ends" / os.uname().nodename).stat().st_mode & 0o777 == 0o600


def test_a_task_of_a_study_removes_its_log_unless_something_was_said(tmp_path: Path) -> None:
    task(tmp_path, "true")
    assert list((tmp_path / "log").iterdir()) == []
    task(tmp_path / "other", "echo", "hello")
    assert (tmp_path / "other/log/task.7.log").read_text() == "hello\n"


def test_a_pack_has_a_folder_on_the_node_where_a_failure_is_told(tmp_path: Path) -> None:
    fail = 'stat -c "%a %n" "$HPCJOB_CLAIMS" && : >"$HPCJOB_CLAIMS/failed"'
    code, (line,) = task(tmp_path, "bash", "-c", fail)
    assert (code, line.split(" ")[3]) == (1, "1")
    mode, folder = (tmp_path / "log/task.7.log").read_text().split()
    assert mode == "700"
    assert Path(folder).parent == tmp_path
    assert not Path(folder).exists()


def test_a_task_s_end_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    code, lines = task(tmp_path, "sh", "-c", "rm -r study; exit 3")
    assert (code, lines) == (3, [])
    assert "study/ends/" in (tmp_path / "log/task.7.log").read_text()
    assert "cannot be written" in (tmp_path / "log/task.7.log").read_text()


def test_slurm_s_variables_are_taken_over(tmp_path: Path) -> None:
    given = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "1"}
    command = ("sh", "-c", 'echo "$HPCJOB_NATIVE_ID $HPCJOB_ARRAY_INDEX"')
    done = run(tmp_path, *command, template="builtin/slurm", array="3", given=given)
    assert done.stdout == "12 3\n"
    assert end(tmp_path, "exit.3").restarts == 1


def test_environment_that_was_not_exported_is_exported_to_the_ranks(tmp_path: Path) -> None:
    command = ("sh", "-c", 'echo "${SLURM_EXPORT_ENV-unset}"')
    given = {"SLURM_EXPORT_ENV": "NONE"}
    assert run(tmp_path, *command, template="builtin/slurm", export="none", given=given).stdout == "unset\n"


def test_requeue_removes_the_earlier_end(tmp_path: Path) -> None:
    (tmp_path / "exit").write_text("code=1\n")
    done = run(tmp_path, "sh", "-c", "ls")
    assert done.stdout == "job.sh\n"


def test_code_of_the_job_is_kept_if_the_end_cannot_be_written(tmp_path: Path) -> None:
    gone = tmp_path / "no" / "folder"
    done = run(tmp_path, "sh", "-c", "exit 3", folder=str(gone))
    assert done.returncode == 3
    assert f"hpcjob: {gone}/exit cannot be written" in done.stderr


def test_full_disk_leaves_no_torn_end(tmp_path: Path) -> None:
    # A file size limit of 0 fails every write, as a full disk does; the program may still end.
    done = run(tmp_path, "sh", "-c", "exit 5", setup=(Shell("trap '' XFSZ; ulimit -f 0"),))
    assert done.returncode == 5
    assert "cannot be written" in done.stderr
    assert not (tmp_path / "exit").exists()


def test_absent_working_directory(tmp_path: Path) -> None:
    done = run(tmp_path, "true", workdir="/no/such folder")
    assert done.returncode == end(tmp_path).exit_code == 72
    assert "hpcjob: there is no folder /no/such folder on node " in done.stderr


def test_absent_image(tmp_path: Path) -> None:
    done = run(tmp_path, "true", images=(ImageCheck("/no/app.sif"),))
    assert done.returncode == end(tmp_path).exit_code == 66
    assert "hpcjob: there is no image /no/app.sif on node " in done.stderr


def test_absent_files_that_the_job_needs(tmp_path: Path) -> None:
    done = run(tmp_path, "true", needed=("/no/data",))
    assert done.returncode == end(tmp_path).exit_code == 66
    assert "hpcjob: there is no /no/data on node " in done.stderr


@pytest.mark.parametrize(("refuse", "code"), [(True, 65), (False, 0)])
@pytest.mark.parametrize("stamp", ["", "1.2"])
def test_an_image_that_was_changed(tmp_path: Path, stamp: str, refuse: bool, code: int) -> None:
    image = tmp_path / "app.sif"
    image.write_bytes(b"other")
    check = ImageCheck(str(image), hashlib.sha256(b"first").hexdigest(), stamp, refuse=refuse)
    done = run(tmp_path, "true", images=(check,))
    assert done.returncode == end(tmp_path).exit_code == code
    assert f"the image {image} was changed since the submission" in done.stderr
    assert ("hpcjob: warning: " in done.stderr) is not refuse


def test_an_image_that_is_the_same(tmp_path: Path) -> None:
    image = tmp_path / "app.sif"
    image.write_bytes(b"first")
    same = ImageCheck(str(image), hashlib.sha256(b"first").hexdigest(), refuse=True)
    assert (run(tmp_path, "true", images=(same,)).returncode, end(tmp_path).exit_code) == (0, 0)
    # Of its size and time, it is not read again.
    stat = image.stat()
    stamped = replace(same, digest="0" * 64, stamp=f"{stat.st_size}.{int(stat.st_mtime)}")
    assert run(tmp_path, "true", images=(stamped,)).returncode == 0
    assert run(tmp_path, "true", images=(replace(stamped, stamp=""),)).returncode == 65


def test_a_clean_environment_is_cleaned_before_modules_and_the_site_s_variables(tmp_path: Path) -> None:
    given = {
        "OLD": "1",
        "PHRASE": "secret",
        "SLURM_X": "1",
        "LD_LIBRARY_PATH": "/x",
        "LOADEDMODULES": "a",
        "MODULEPATH": "/m",
    }
    done = run(
        tmp_path, "env", given=given, kept_env=("PHRASE",), module_init="module() { export BY_MODULE=$1; }",
        modules=("a",), site_env={"BY_SITE": "$BY_MODULE"}, env={"OWN": "1"},
    )  # fmt: skip
    told = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    # Not what is loaded, either: the variables that those modules had set are gone.
    assert not {"OLD", "LD_LIBRARY_PATH", "LOADEDMODULES"} & told.keys()
    assert {name: told[name] for name in ("PHRASE", "SLURM_X", "MODULEPATH", "BY_MODULE", "BY_SITE", "OWN")} == {
        "PHRASE": "secret", "SLURM_X": "1", "MODULEPATH": "/m", "BY_MODULE": "load", "BY_SITE": "load", "OWN": "1",
    }  # fmt: skip
    assert "OLD=1\n" in run(tmp_path, "env", given=given).stdout


def test_a_clean_environment_has_no_functions_of_the_submission_but_those_of_modules(tmp_path: Path) -> None:
    given = {"BASH_FUNC_which%%": "() { echo mine; }", "BASH_FUNC_module%%": "() { :; }"}

    def functions(**plan: Any) -> set[str]:
        done = run(tmp_path, "env", given=given, **plan)
        return {line.partition("=")[0] for line in done.stdout.splitlines() if line.startswith("BASH_FUNC_")}

    assert functions() == functions(kept_env=(), modules=("a",)) == given.keys()
    assert functions(kept_env=()) == set()


def test_functions_reach_programs(tmp_path: Path) -> None:
    done = run(tmp_path, "bash", "-c", 'hpcjob_x "$@"', "x", "a b", functions={"hpcjob_x": Shell('  echo "got $1"')})
    assert done.stdout == "got a b\n"


def test_a_service_sees_its_own_variables_and_the_program_does_not(tmp_path: Path) -> None:
    service = ServicePlan(
        name="db",
        start=(("bash", "-c", 'echo "$B ${A-unset}" >seen; echo >up; read -r _ <>never'),),
        log=str(tmp_path / "service-db.log"),
        ready=("cat", "up"),  # which waits for it
        env={"B": "2"},
    )
    os.mkfifo(tmp_path / "never")
    os.mkfifo(tmp_path / "up")
    done = run(
        tmp_path, "bash", "-c", 'echo "$A ${B-unset} $(cat seen)"; [[ $HPCJOB_SERVICE_DB ]]',
        services=(service,), env={"A": "1"},
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("1 unset 2 unset\n", 0)
    assert "hpcjob: warning" not in done.stderr


def test_a_service_that_does_not_start_or_ends_too_early(tmp_path: Path) -> None:
    log = str(tmp_path / "service-db.log")
    dead = ServicePlan(name="db", start=(("sh", "-c", "echo I cannot >&2; exit 1"),), log=log, ready=("false",))
    done = run(tmp_path, "echo", "no", services=(dead,))
    assert (done.stdout, done.returncode, end(tmp_path).exit_code) == ("", 69, 69)
    assert "hpcjob: service db ended before it was ready on node " in done.stderr
    assert Path(log).read_text() == "I cannot\n"
    instance = ServicePlan(name="db", start=(("false",),), log=log, stop=("touch", str(tmp_path / "stopped")))
    done = run(tmp_path, "echo", "no", services=(instance,))
    assert (done.stdout, done.returncode) == ("", 69)
    assert "hpcjob: service db did not start on node " in done.stderr
    assert (tmp_path / "stopped").exists()


def test_a_service_that_ended_before_the_program_did_is_told(tmp_path: Path) -> None:
    log = str(tmp_path / "service-db.log")
    short = ServicePlan(name="db", start=(("sh", "-c", "echo $$ >pid"),), log=log)
    done = run(
        tmp_path, "bash", "-c", "until [[ -s pid ]] && ! [[ -e /proc/$(<pid)/exe ]]; do :; done", services=(short,)
    )
    assert done.returncode == 0
    assert "hpcjob: warning: service db ended before the program did" in done.stderr


def test_modules(tmp_path: Path) -> None:
    # Module systems use variables that are not set, and fail by their status.
    init = 'module() { echo "$NEVER_SET" "$@"; [[ $2 != no/* ]]; }'
    assert run(tmp_path, "true", module_init=init, modules=("a/1", "b")).stdout == " load a/1 b\n"
    done = run(tmp_path, "true", module_init=init, modules=("no/1",))
    assert done.returncode == end(tmp_path).exit_code == 69
    assert "module load no/1 failed on node " in done.stderr


def test_scratch_is_made(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", 'cd "$HPCJOB_SCRATCH" && pwd', scratch="$BASE/s x", given={"BASE": str(tmp_path)})
    assert done.stdout == f"{tmp_path}/s x\n"


def test_blocks_after_the_launch_run_even_if_it_failed(tmp_path: Path) -> None:
    template = tmp_path / "t.sh.j2"
    template.write_text('{% extends "builtin/local.sh.j2" %}\n{% block stage_out %}\necho kept\n{% endblock %}\n')
    done = run(tmp_path, "sh", "-c", "exit 6", template=str(template))
    assert (done.stdout, done.returncode, end(tmp_path).exit_code) == ("kept\n", 6, 6)


def test_services_that_are_steps_end_when_the_script_closes_their_input(tmp_path: Path) -> None:
    # Each gets an end of input of its own, which no other keeps open.
    serve = 'trap "echo $0 ended >>ends; exit" TERM; echo >"up-$0"; read -r _ <>never'
    os.mkfifo(tmp_path / "never")
    steps = []
    for name in ("db", "web"):
        os.mkfifo(tmp_path / f"up-{name}")
        keeper = ("sh", "-c", containers._SERVE.format(end="kill $p"), "hpcjob")
        log = str(tmp_path / f"service-{name}.log")
        start = (keeper, ("bash", "-c", serve, name))
        steps.append(ServicePlan(name=name, start=start, log=log, ready=("cat", f"up-{name}"), step=True))
    done = run(tmp_path, "bash", "-c", "echo ran; exit 3", services=tuple(steps))
    assert (done.stdout, done.returncode, end(tmp_path).exit_code) == ("ran\n", 3, 3)
    assert sorted((tmp_path / "ends").read_text().splitlines()) == ["db ended", "web ended"]
    assert "hpcjob: warning" not in done.stderr


def test_a_step_that_ends_before_it_is_ready(tmp_path: Path) -> None:
    keeper = ("sh", "-c", containers._SERVE.format(end="kill $p"), "hpcjob")
    log = str(tmp_path / "service-db.log")
    step = ServicePlan(name="db", start=(("false",),), log=log, ready=("false",), step=True)
    for service in (step, replace(step, start=(keeper, ("false",)))):
        done = run(tmp_path, "echo", "no", services=(service,))
        assert (done.stdout, done.returncode) == ("", 69)
        assert "hpcjob: service db ended before it was ready on node " in done.stderr
