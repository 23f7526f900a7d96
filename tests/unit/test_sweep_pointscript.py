"""What runs points on the node, run by a real bash."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hpcjobs.errors import PlanError
from hpcjobs.model import StudyPart
from hpcjobs.shell import Shell, concat
from hpcjobs.sweep import command
from hpcjobs.sweep.pointscript import BELOW, PointFile, launch_words
from tests.studies import TAG, Study, small, values

WORD = values("re", "dt")
SAY = ("bash", "-c", 'printf "%s " "$@" "$re" "$HPCJOB_POINT" "$HPCJOB_STUDY"', "say")
CODE = ("bash", "-c", "exit $code")


# ------------------------------------------------------------------------------------ one point


def test_a_point_gets_its_values_as_words_and_variables(tmp_path: Path) -> None:
    launch = ((*SAY, WORD("{re}"), WORD("x={dt}/{point}"), "a b"),)
    study = Study(tmp_path, ["re", "dt"], [["100", "0.1"], ["200", "$(id) '"]], launch=launch)
    done = study.run(1, 1)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert study.log(1) == "200 x=$(id) '/1 a b 200 1 s4 "
    assert study.ended() == [(1, "0")]
    assert not (study.folder / "log/0/0.log").exists()


def test_an_end_is_a_line_with_the_times(tmp_path: Path) -> None:
    study = Study(tmp_path, ["code"], [["3"]], launch=(CODE,))
    assert study.run().returncode == 3
    match = re.fullmatch(rf"p {TAG} 0 3 (\d+\.\d+) (\d+\.\d+)\n", study.ends.read_text())
    assert match
    assert float(match[1]) <= float(match[2])
    assert study.ends.stat().st_mode & 0o777 == 0o600
    assert (study.folder / "log/0/0.log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("launch", "code", "said"),
    [
        ((("no-such-program",),), 127, "no-such-program"),
        ((("/",),), 126, "/"),
        ((("sh", "-c", "kill -9 $$"),), 137, ""),
        ((("echo", "hello"),), 0, "hello"),
        ((("cat",),), 0, ""),
    ],
)
@pytest.mark.parametrize("names", [[], ["re"]])
def test_how_a_program_ended(tmp_path: Path, names: list[str], launch: object, code: int, said: str) -> None:
    study = Study(tmp_path, names, [["1"] * len(names)], launch=launch)
    done = study.run()
    assert (done.returncode, done.stdout, done.stderr, study.ended()) == (code, "", "", [(0, str(code))])
    assert said in study.log(0)


@pytest.mark.parametrize("copies", [(), ("2",)])
def test_the_program_has_the_user_s_umask(tmp_path: Path, copies: tuple[str, ...]) -> None:
    study = Study(tmp_path, [], [[]] * 2, launch=(("bash", "-c", "umask"),), pack=2)
    line = ["bash", "-c", 'umask 027; exec "$@"', "-", *study.line(0, 1, *copies)]
    subprocess.run(line, env=study.environ(), check=True)
    assert study.log(0) == "0027\n"


def test_whole_seconds_where_bash_has_no_others(tmp_path: Path) -> None:
    study = Study(tmp_path, [], [[]])
    study.script.write_text("unset EPOCHREALTIME\n" + study.script.read_text())
    assert study.run().returncode == 0
    assert re.fullmatch(rf"p {TAG} 0 0 \d+ \d+\n", study.ends.read_text())


NASTY = ["i", "IFS", "PS4", "OPTIND", "n", "HOME", "PATH_", "UID", "SECONDS", "RANDOM", "_", "LINENO", "BASHOPTS",
         "SHELLOPTS", "PPID", "EUID", "BASH_ENV", "ENV", "CDPATH", "GLOBIGNORE", "TMPDIR", "LC_ALL", "POSIXLY_CORRECT",
         "PWD", "HOSTNAME", "EPOCHREALTIME", "DIRSTACK", "FUNCNAME", "REPLY", "COLUMNS", "TIMEFORMAT"]  # fmt: skip


def test_names_that_mean_something_to_bash_are_names_like_others(tmp_path: Path) -> None:
    show = "import os; print([os.environ.get(name) for name in os.environ['names'].split()])"
    place = concat("p", command.value(0))
    study = Study(
        tmp_path, ["names", *NASTY], [[" ".join(NASTY), *(f"{name} is * $x" for name in NASTY)]] * 2,
        launch=((sys.executable, "-S", "-c", show),), place=place, pack=2, files=(PointFile("a", ("b",)),),
    )  # fmt: skip
    assert study.run(0, 2).stderr == ""
    assert study.ended() == [(0, "0"), (1, "0")]
    assert (study.work / "p1/output.log").read_text() == f"{[f'{name} is * $x' for name in NASTY]}\n"


def test_a_point_that_is_to_be_left_out(tmp_path: Path) -> None:
    study = Study(tmp_path, ["code"], [["3"]], launch=(CODE,))
    (study.folder / "skip/0").touch()
    assert study.run().returncode == 0
    assert study.ended() == [(0, "cancelled")]
    assert not (study.folder / "log").exists()


def test_a_table_that_is_not_there_or_too_short(tmp_path: Path) -> None:
    study = Study(tmp_path, [], [[]])
    done = study.run(0, 2)
    assert (done.returncode, study.ended()) == (66, [])
    assert f"hpcjob: not 2 lines from 0 on in {study.table} on node " in done.stderr
    study.table.unlink()
    assert study.run().returncode == 66
    study.work.rmdir()
    done = study.run()
    assert (done.returncode, f"hpcjob: there is no folder {study.work} on node " in done.stderr) == (72, True)


def test_an_end_that_cannot_be_written_is_said_and_is_a_bad_end(tmp_path: Path) -> None:
    study = Study(tmp_path, ["code"], [["0"], ["3"]], launch=(CODE,))
    study.ends.symlink_to("/dev/full")
    done = study.run(0, 1)
    assert done.returncode == 74
    assert re.search(
        rf"hpcjob: {study.ends} cannot be written, and this is lost: p {TAG} 0 0 [\d.]+ [\d.]+\n", done.stderr
    )
    assert study.run(1, 1).returncode == 3


# -------------------------------------------------------------------------- folders and input files


def in_folders(tmp_path: Path, *files: PointFile, **fields: object) -> Study:
    pwd = ("bash", "-c", 'pwd; cat -- * "$@"', "in")
    return Study(tmp_path, ["re", "dt"], [["100", ""], ["a b", "x\ny"]], place=WORD("runs/re{re}-{point}"), files=files,
                 launch=(pwd,), **fields)  # fmt: skip


def test_a_point_runs_in_its_folder_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "mesh").write_text("mesh\n")
    files = (
        PointFile("in.nml", ("&run\n re = ", WORD("{re}"), "\n", WORD("{dt}"), "\n/\n")),
        PointFile(WORD("-mesh {re}"), link=str(tmp_path / "mesh")),
        PointFile("deep/er/empty"),
    )
    study = in_folders(tmp_path, *files)
    for _ in range(2):  # again, as when it is resubmitted
        assert study.run(1, 1).stderr == ""
        folder = study.work / "runs/rea b-1"
        assert (folder / "in.nml").read_text() == "&run\n re = a b\nx\ny\n/\n"
        assert (folder / "-mesh a b").readlink() == tmp_path / "mesh"
        assert (folder / "deep/er/empty").read_text() == ""
        said = (folder / "output.log").read_text()
        assert said.startswith(f"{folder}\nmesh\n")
    assert not (study.work / "runs/re100-0").exists()


def test_a_link_to_a_file_below_the_working_directory_holds_where_that_has_another_name(tmp_path: Path) -> None:
    mesh = tmp_path / "work/my meshes/mesh"
    study = in_folders(tmp_path, PointFile("mesh", link=str(mesh)), PointFile("deep/er/mesh", link=str(mesh)))
    mesh.parent.mkdir()
    mesh.write_text("mesh\n")
    for _ in range(2):
        assert study.run().stderr == ""
    moved = study.work.rename(tmp_path / "mnt") / "runs/re100-0"
    assert [(moved / name).read_text() for name in ("mesh", "deep/er/mesh")] == ["mesh\n"] * 2


def test_a_file_of_somebody_else_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "mesh").write_text("mesh\n")
    study = in_folders(tmp_path, PointFile("mesh", link=str(tmp_path / "mesh")))
    own = study.work / "runs/re100-0/mesh"
    own.parent.mkdir(parents=True)
    own.write_text("own\n")
    assert study.run().returncode == 73
    assert (own.read_text(), study.ended()) == ("own\n", [(0, "73")])
    assert "File exists" in (own.parent / "output.log").read_text()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    study = in_folders(tmp_path)
    (study.work / "runs").write_text("")
    done = study.run()
    assert (done.returncode, study.ended()) == (73, [(0, "73")])
    assert "mkdir" in done.stderr


def test_logs_go_where_they_are_asked_for(tmp_path: Path) -> None:
    study = in_folders(tmp_path, log=WORD("logs/{re}.{point}.log"))
    study.run(1, 1)
    assert (study.work / "logs/a b.1.log").read_text().startswith(f"{study.work}/runs/rea b-1\n")


def test_input_files_may_be_long(tmp_path: Path) -> None:
    text = "it's a line of many\n" * 20_000
    study = Study(
        tmp_path, ["re"], [["1"]], place=WORD("p{point}"), files=(PointFile("long", (text, command.value(1))),)
    )
    assert study.run().returncode == 0
    assert (study.work / "p0/long").read_text() == text + "1"


def test_a_file_that_cannot_be_written_whole_ends_the_point(tmp_path: Path) -> None:
    study = Study(tmp_path, ["re"], [["1"]], place=WORD("p{point}"), files=(PointFile("long", ("x" * 5000,)),))
    line = [
        "bash",
        "-c",
        'ulimit -f 2; trap "" XFSZ; exec "$@"',
        "-",
        "bash",
        str(study.script),
        str(study.table),
        "0",
        "1",
    ]
    done = subprocess.run(line, env=study.environ(), check=False, capture_output=True)
    assert (done.returncode, study.ended()) == (73, [(0, "73")])


# ---------------------------------------------------------------------------------------- packs


def test_a_failed_point_does_not_stop_its_neighbours(tmp_path: Path) -> None:
    codes = ["0", "3", "0", "1", "0"]
    study = Study(tmp_path, ["code"], [[code] for code in codes], launch=(CODE,), pack=5)
    done = study.run(1, 4)
    # A launcher might end the other ranks where one ends badly; the job's script looks for the file.
    assert (done.returncode, done.stderr, (study.claims / "failed").exists()) == (0, "", True)
    assert study.ended() == [(1, "3"), (2, "0"), (3, "1"), (4, "0")]
    kinds = [line.split(" ")[0] for line in study.ends.read_text().splitlines()]
    assert kinds == ["b", "p"] * 4


def test_a_pack_without_a_failure(tmp_path: Path) -> None:
    study = Study(tmp_path, ["code"], [["0"]] * 3, launch=(CODE,), pack=3)
    assert study.run(0, 3).returncode == 0
    assert not (study.claims / "failed").exists()


def test_several_share_out_a_pack_and_each_point_is_run_once(tmp_path: Path) -> None:
    # Each point waits until two of them are there: only if both run at the same time, it ends.
    os.mkfifo(tmp_path / "meet")
    meet = (
        "bash",
        "-c",
        'if ((HPCJOB_POINT < 2)); then ((HPCJOB_POINT)) && : >"$0" || : <"$0"; fi',
        str(tmp_path / "meet"),
    )
    study = Study(tmp_path, ["i"], [[str(i)] for i in range(40)], launch=(meet,), pack=40)
    done = study.run(0, 40, "4")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(study.ended()) == [(i, "0") for i in range(40)]


def test_workers_that_a_launcher_started(tmp_path: Path) -> None:
    study = Study(tmp_path, ["i"], [[str(i)] for i in range(60)], pack=60)
    each = [subprocess.Popen(study.line(0, 60), env=study.environ()) for _ in range(5)]
    assert [worker.wait() for worker in each] == [0] * 5
    assert sorted(study.ended()) == [(i, "0") for i in range(60)]


def test_a_point_of_a_pack_does_not_take_itself_for_a_rank_of_srun_s(tmp_path: Path) -> None:
    ours = {"SLURM_JOB_ID": "7", "SLURM_TASKS_PER_NODE": "4"}
    step = {
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "1",
        "SLURM_NTASKS": "4",
        "PMI_RANK": "1",
    }
    study = Study(tmp_path, [], [[]], launch=(("env",),), pack=2)
    assert study.run(0, 1, **ours, **step).returncode == 0
    seen = dict(line.split("=", 1) for line in study.log(0).splitlines() if line.startswith(("SLURM_", "PMI")))
    assert seen.items() >= ours.items()
    assert not seen.keys() & step.keys()


def test_points_of_a_pack_have_no_folder_of_open_mpi_in_common(tmp_path: Path) -> None:
    study = Study(tmp_path, ["i"], [["0"], ["1"]], launch=(("env",),), pack=2)

    def folders(**env: str) -> list[str]:
        assert study.run(0, 2, **env).returncode == 0
        lines = (line for point in (0, 1) for line in study.log(point).splitlines())
        found = [line.partition("=")[2] for line in lines if line.startswith("OMPI_MCA_orte_tmpdir_base=")]
        for claim in study.claims.iterdir():
            claim.unlink()
        return found

    assert folders() == [f"{study.claims}/ompi.0", f"{study.claims}/ompi.1"]
    assert folders(OMPI_MCA_orte_tmpdir_base="/fast/mine") == ["/fast/mine.0", "/fast/mine.1"]


def test_claims_that_cannot_be_made_are_no_end_without_a_word(tmp_path: Path) -> None:
    study = Study(tmp_path, [], [[]], pack=2)
    study.claims.rmdir()
    done = study.run()
    assert (done.returncode, study.ended()) == (73, [])
    assert f"hpcjob: {study.claims}/0 cannot be made on node " in done.stderr


def test_after_a_requeue_only_what_had_not_ended_is_run(tmp_path: Path) -> None:
    study = Study(tmp_path, ["code"], [["0"]] * 6, launch=(CODE,), pack=6)
    (study.folder / "ends/other").write_text(
        f"b {TAG} 0 1\np {TAG} 0 0 1 2\nb {TAG} 1 2\np {TAG} 1 3 2 3\nb {TAG} 2 3\np {TAG} 2 143 3 4\n"
        f"b {TAG} 3 4\np another 4 0 1 2\np {TAG} 5 cancelled 1 1\n"
    )
    done = study.run(0, 6, HPCJOB_RESTARTS="1")
    # The second failed by itself; the third was stopped with the task, the fourth by what ended the node.
    assert (done.returncode, study.ended()) == (0, [(2, "0"), (3, "0"), (4, "0"), (5, "0")])
    assert (study.claims / "failed").exists()


def test_the_code_of_a_point_that_ended_before_a_requeue(tmp_path: Path) -> None:
    study = Study(tmp_path, ["code"], [["0"]], launch=(CODE,))
    study.ends.write_text(f"p {TAG} 0 3 1 2\n")
    assert study.run(HPCJOB_RESTARTS="2").returncode == 3
    study.ends.write_text(f"p {TAG} 0 0 1 2\n")
    assert study.run(HPCJOB_RESTARTS="2").returncode == 0
    assert study.ended() == [(0, "0")]


def test_a_point_has_a_time_of_its_own(tmp_path: Path) -> None:
    stay = ("bash", "-c", '[[ $way = deaf ]] && trap "" TERM; read -r _ <>"$0"', str(tmp_path / "never"))
    os.mkfifo(tmp_path / "never")
    study = Study(tmp_path, ["way"], [["slow"], ["deaf"]], launch=(stay,), pack=2, limited=True)
    script = study.script.read_text().replace(
        'timeout --kill-after=30 "$HPCJOB_LIMIT" ', "timeout --kill-after=0.01 0.1 "
    )
    study.script.write_text(script)
    assert study.run(0, 2, HPCJOB_LIMIT="0").stderr == ""
    assert study.ended() == [(0, "124"), (1, "124")]


# -------------------------------------------------------------------------------------- signals

CAUGHT = ["HUP", "INT", "USR1", "USR2", "TERM", "XCPU"]
# Says that it is there, then which signal it got; it ends well all the same.
LISTEN = """import os, signal, sys
def caught(number, frame):
    print(signal.Signals(number).name, flush=True)
    os._exit(0)
for name in sys.argv[2:]:
    signal.signal(signal.Signals["SIG" + name], caught)
open(sys.argv[1], "w").close()
while True:
    signal.pause()
"""


def told(study: Study, ready: Path, name: str, *more: str) -> int:
    """Run all points, and send a signal when the first is there."""
    with subprocess.Popen(study.line(0, 3, *more), env=study.environ()) as process:
        ready.read_text()  # waits for the program to open it
        process.send_signal(signal.Signals[f"SIG{name}"])
        return process.wait()


@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.parametrize("limited", [False, True])
def test_a_signal_is_passed_on_and_no_further_point_is_begun(tmp_path: Path, name: str, limited: bool) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    listen = ((sys.executable, "-S", "-c", LISTEN, str(ready), *CAUGHT),)
    study = Study(tmp_path, ["re"], [["1"]] * 3, launch=listen, pack=3, limited=limited)
    code = 128 + signal.Signals[f"SIG{name}"]
    assert told(study, ready, name) == code
    assert study.ended() == [(0, str(code))]
    assert study.log(0) == f"SIG{name}\n"


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_copies_pass_a_signal_on(tmp_path: Path, name: str) -> None:
    ready = tmp_path / "ready"
    for each in ("0", "1", "never"):
        os.mkfifo(tmp_path / f"ready.{each}")
    wait = ("bash", "-c", 'exec 3<>"$0.never"; : >"$0.$HPCJOB_POINT"; read -r -u 3', str(ready))
    study = Study(tmp_path, ["re"], [["1"]] * 3, launch=(wait,), pack=3)
    code = 128 + signal.Signals[f"SIG{name}"]
    with subprocess.Popen(study.line(0, 3, "2"), env=study.environ()) as process:
        for each in ("0", "1"):  # a program that is not there yet might miss the signal
            (tmp_path / f"ready.{each}").read_text()
        process.send_signal(signal.Signals[f"SIG{name}"])
        assert process.wait() == code
    assert sorted(study.ended()) == [(0, str(code)), (1, str(code))]


def test_a_copy_that_comes_too_late_begins_nothing(tmp_path: Path) -> None:
    study = Study(tmp_path, ["re"], [["1"]] * 3, pack=3)
    (study.claims / "stop").touch()
    assert study.run(0, 3).returncode == 0
    assert study.ended() == []


# ------------------------------------------------------------------------------------ what is asked


@pytest.mark.parametrize(
    ("part", "workers", "index", "said"),
    [
        (StudyPart("/s", 4, 0, 1, 10), 0, "3", "3 1"),
        (StudyPart("/s", 4, 100, 1, 10), 0, "3", "103 1"),
        (StudyPart("/s", 4, 100, 32, 70), 0, "1", "132 32"),
        (StudyPart("/s", 4, 100, 32, 70), 0, "2", "164 6"),
        (StudyPart("/s", 4, 0, 32, 64), 8, "1", "32 32 8"),
        (StudyPart("/s", 4, 0, 32, 20), 8, "0", "0 20 8"),
    ],
)
def test_a_task_gets_its_rows(part: StudyPart, workers: int, index: str, said: str) -> None:
    bash, script, table, *words = launch_words("/s/a b.sh", "/s/points-1.tsv", part, workers=workers)
    assert (bash, script, table) == ("bash", "/s/a b.sh", "/s/points-1.tsv")
    line = ["bash", "-c", f"echo {' '.join(words)}"]
    done = subprocess.run(line, env={"HPCJOB_ARRAY_INDEX": index}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{said}\n"


def test_the_folder_of_a_point_is_a_variable_that_is_exported(tmp_path: Path) -> None:
    show = ("bash", "-c", 'echo "$0 $HPCJOB_FOLDER"', concat("below ", BELOW))
    study = Study(tmp_path, ["re"], [["1"]], place=WORD("re{re}"), launch=(show,))
    study.run()
    assert (study.work / "re1/output.log").read_text() == "below re1 re1\n"


def test_text_with_a_nul_cannot_be_in_a_file() -> None:
    from hpcjobs import render

    with pytest.raises(PlanError, match="holds a NUL byte"):
        render.render_points(small(place=Shell('"$a"'), files=(PointFile("a", ("x\0",)),)))
