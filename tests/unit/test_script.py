"""The scripts themselves, run by a real bash."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import render
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
    assert "hpcjob: no folder /no/such folder on node " in done.stderr


def test_absent_image(tmp_path: Path) -> None:
    done = run(tmp_path, "true", image="/no/app.sif")
    assert done.returncode == end(tmp_path).exit_code == 66
    assert "hpcjob: no image /no/app.sif on node " in done.stderr


def test_modules(tmp_path: Path) -> None:
    # Module systems use variables that are not set, and fail by their status.
    init = 'module() { echo "$NEVER_SET" "$@"; [[ $2 != no/* ]]; }'
    assert run(tmp_path, "true", module_init=init, modules=("a/1", "b")).stdout == " load a/1 b\n"
    done = run(tmp_path, "true", module_init=init, modules=("no/1",))
    assert done.returncode == end(tmp_path).exit_code == 69
    assert "the modules could not be loaded on node " in done.stderr


def test_scratch_is_made(tmp_path: Path) -> None:
    done = run(tmp_path, "sh", "-c", 'cd "$HPCJOB_SCRATCH" && pwd', scratch="$BASE/s x", given={"BASE": str(tmp_path)})
    assert done.stdout == f"{tmp_path}/s x\n"


def test_blocks_after_the_launch_run_even_if_it_failed(tmp_path: Path) -> None:
    template = tmp_path / "t.sh.j2"
    template.write_text('{% extends "builtin/local.sh.j2" %}\n{% block stage_out %}\necho kept\n{% endblock %}\n')
    done = run(tmp_path, "sh", "-c", "exit 6", template=str(template))
    assert (done.stdout, done.returncode, end(tmp_path).exit_code) == ("kept\n", 6, 6)
