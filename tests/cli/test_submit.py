from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcjobs.service import Service

if TYPE_CHECKING:
    from tests.cli.session import Session


def test_the_id_alone_is_on_stdout(session: Session) -> None:
    session.check(r"""
$ hpcjob submit --nodes 2 -n 4 --time 10 -J run1 -- ./solve in.nml
out| j1
err| j1 run1: submitted to cluster as slurm job 1
err|   shape   2 nodes, 4 ranks, 00:10:00
err|   script  ~/data/jobs/2023-11-14-run1-000000000001/job.sh
err|   follow  hpcjob logs -f j1
$ hpcjob submit -H -- ./solve
out| j2
err| j2 solve: submitted to cluster as slurm job 2
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000002/job.sh
err|   held    hpcjob release j2 lets it start
$ hpcjob submit -a 0-9%2 -- ./solve
out| j3
err| j3 solve: submitted to cluster as slurm job 3
err|   shape   1 node, 1 rank, array 0-9, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000003/job.sh
err|   follow  hpcjob watch j3
$ hpcjob submit --json -- ./solve
out| {"version": 1, "jobs": [{"id": "j4", "native_id": "4", "name": "solve", "state": "pending", "final": false, "scheduler_state": null, "reason": null, "exit_code": null, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 1, "ntasks": 1, "node_list": null, "time_limit": 1800.0, "elapsed": null, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:13:20Z", "submitted": "2023-11-14T22:13:20Z", "started": null, "ended": null, "seen": "2023-11-14T22:13:20Z", "image": null, "image_digest": null, "command": ["./solve"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-solve-000000000004", "output": "/home/data/jobs/2023-11-14-solve-000000000004/stdout.log", "error": "/home/data/jobs/2023-11-14-solve-000000000004/stderr.log"}]}
""")


def test_the_command_is_taken_byte_for_byte(session: Session) -> None:
    session.run("hpcjob submit -N 1 -- ./solve --help -N 3 -- '' 'a b' '$HOME'")
    (record,) = Service().history()
    assert record.command == ("./solve", "--help", "-N", "3", "--", "", "a b", "$HOME")


def test_modules_are_names_and_commands(session: Session) -> None:
    text = session.run("hpcjob submit --dry-run --module purge --module gcc/13 --module 'swap gcc intel' -- ./solve")
    begin = text.index("module purge ||")
    lines = [line.partition(" || ")[0].removeprefix("out| ") for line in text[begin:].splitlines()]
    assert lines[:3] == ["module purge", "module load gcc/13", "module swap gcc intel"]
    session.check(r"""
$ hpcjob submit --module 'module swap gcc intel' -- ./solve
err| error: the module command 'module swap gcc intel' is not known
err|
err| hint: write swap gcc intel
exit 3
""")


def test_mistakes_say_what_to_type(session: Session) -> None:
    session.check(r"""
$ hpcjob submit
err| error: there is no command to run
err|
err| hint: hpcjob submit --nodes 4 --image app.sif -- ./solve in.nml
exit 2
$ hpcjob submit -N 2 --
err| error: there is no command to run
err|
err| hint: hpcjob submit --nodes 4 --image app.sif -- ./solve in.nml
exit 2
$ hpcjob submit -N 2 ./solve -n 3 in.nml
err| error: the command begins with './solve', before --
err|
err| hint: type: hpcjob submit -N 2 -- ./solve -n 3 in.nml
exit 2
$ hpcjob submit -N 2 ./solve -- in.nml
err| error: the command begins with './solve', before --
err|
err| hint: type: hpcjob submit -N 2 -- ./solve in.nml
exit 2
$ hpcjob submit ./job.yaml extra -- ./solve
err| error: the command begins with 'extra', before --
err|
err| hint: type: hpcjob submit ./job.yaml -- extra ./solve
exit 2
$ hpcjob submit --nodse 2 -- ./solve
err| error: there is no option --nodse
err|
err| hint: did you mean --nodes?
exit 2
$ hpcjob submit -N two -- ./solve
err| error: invalid value for '-N' / '--nodes': 'two' is not a whole number
err|
err| hint: hpcjob submit --help says what there is
exit 2
$ hpcjob submit -N
err| error: option '-N' requires an argument
err|
err| hint: hpcjob submit --help says what there is
exit 2
$ hpcjob submit -t soon -- ./solve
err| error: 'soon' is not a time
err|
err| hint: write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 (days-hours:minutes:seconds)
exit 2
$ hpcjob submit --mem lots -- ./solve
err| error: 'lots' is not an amount of memory
err|
err| hint: write 512M, 4G or 1.5T (powers of 1024)
exit 2
$ hpcjob submit --mem 1G --mem-per-cpu 1G -- ./solve
err| error: --mem and --mem-per-cpu say the same thing twice
err|
err| hint: leave out one of them
exit 2
$ hpcjob submit --gpus-per-node a100 -- ./solve
err| error: --gpus-per-node 'a100' is not a number of GPUs
err|
err| hint: write 4, or a100:4
exit 2
$ hpcjob submit --env NOT_SET_HERE -- ./solve
err| error: --env NOT_SET_HERE: it is not set here
err|
err| hint: write --env NOT_SET_HERE=VALUE, or export it first
exit 2
$ hpcjob submit --timeout 5 -- ./solve
err| error: --timeout is about --wait, which is not there
err|
err| hint: add --wait, or leave out --timeout
exit 2
$ hpcjob submit --wait --timeout soon -- ./solve
err| error: 'soon' is not a time
err|
err| hint: write 90 (seconds), 5m or 1h
exit 2
$ hpcjob submit --site clutser -- ./solve
err| error: there is no site 'clutser'
err|
err| hint: did you mean cluster? (see them with: hpcjob site list)
exit 6
$ hpcjob submit missing.yaml
err| error: there is no file missing.yaml
err|
err| hint: check the path
exit 6
$ hpcjob submit -p gpu -N 9 -- ./solve
err| error: site cluster has no partition 'gpu'
err|
err| hint: there is debug
exit 3
$ hpcjob submit -N 9 --json -- ./solve
out| {"version": 1, "error": {"message": "partition debug has 4 nodes for one job, and 9 are needed", "hint": "-N 4 is the most there", "code": 3}}
exit 3
""")
    assert Service().history() == []


def test_dry_run_and_render_print_the_script_and_queue_nothing(session: Session) -> None:
    dry = session.run("hpcjob submit --dry-run -N 2 -- ./solve 'in put'")
    rendered = session.run("hpcjob render -N 2 -- ./solve 'in put'")
    assert dry.replace("submit --dry-run", "render").replace("000000000001", "000000000002") == rendered
    assert "out| #!/bin/bash\n" in rendered
    assert "err| not submitted: solve for site cluster\n" in rendered
    assert {call[0] for call in session.slurm.calls} <= {"scontrol"}  # for limits
    assert Service().history() == []


@pytest.mark.parametrize(("site", "asked"), [("cluster", True), ("lumi", False), ("archer2", False)])
def test_nobody_here_is_asked_about_a_machine_elsewhere(session: Session, site: str, asked: bool) -> None:
    session.run(f"hpcjob submit --dry-run --site {site} -A ab12 -t 5 -N 1 -- ./solve")
    assert bool(session.slurm.calls) is asked


def test_nothing_is_submitted_to_a_retired_machine(session: Session) -> None:
    text = session.run("hpcjob submit --site summit -A ab12 -N 1 -- ./solve")
    assert "err| error: site summit is retired: since 2024-11-15" in text
    assert "err| hint: hpcjob submit --dry-run still shows the script\nexit 3" in text
    assert (session.slurm.calls, Service().history()) == ([], [])


def test_render_has_no_options_about_submissions(session: Session) -> None:
    session.check(r"""
$ hpcjob render --wait -- ./solve
err| error: there is no option --wait
err|
err| hint: did you mean --site?
exit 2
""")


def test_options_override_the_job_file_and_repeatable_ones_add_to_it(session: Session) -> None:
    (session.home / "work/job.yaml").write_text(
        "command: [./solve]\nnodes: 4\nmem: 2G\nenv: {A: file, B: file}\nmodules: [gcc]\nname: long\nexclusive: true\n"
    )
    text = session.run("hpcjob render job.yaml -N 2 --mem-per-cpu 1G --env A=option --module fftw -J short")
    assert "#SBATCH --nodes=2\n" in text
    assert "#SBATCH --mem-per-cpu=1G\n" in text
    assert "--mem=" not in text
    assert "A=option" in text
    assert "B=file" in text
    assert "module load gcc fftw" in text
    assert "--job-name=short" in text
    assert "--exclusive" in text


def test_requeue_can_be_refused(session: Session) -> None:
    assert "#SBATCH --no-requeue\n" in session.run("hpcjob render --no-requeue -- ./solve")
    assert "#SBATCH --requeue\n" in session.run("hpcjob render --requeue -- ./solve")


def test_env_without_a_value_takes_the_callers(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "a b")
    assert "MINE='a b'" in session.run("hpcjob render --env MINE -- ./solve")


def test_what_the_scheduler_refuses_leaves_nothing(session: Session) -> None:
    session.slurm.refuse = "Invalid account or account/partition combination specified"
    session.check(r"""
$ hpcjob submit -- ./solve
err| error: Slurm refused the job: Batch job submission failed: Invalid account or account/partition combination specified
err|
err| hint: name an account that may use this partition: -A ACCOUNT (sacctmgr show assoc user=$USER)
exit 4
$ hpcjob submit --json -- ./solve
out| {"version": 1, "error": {"message": "Slurm refused the job: Batch job submission failed: Invalid account or account/partition combination specified", "hint": "name an account that may use this partition: -A ACCOUNT (sacctmgr show assoc user=$USER)", "code": 4}}
exit 4
$ hpcjob history
err| there is no job yet
err| hint: hpcjob submit --help runs one
""")


def test_a_scheduler_that_does_not_answer(session: Session) -> None:
    session.slurm.down = True
    session.check(r"""
$ hpcjob submit -- ./solve
err| error: sbatch: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
$ hpcjob history
err| there is no job yet
err| hint: hpcjob submit --help runs one
""")


def test_wait_ends_with_the_job(session: Session) -> None:
    session.meanwhile(lambda: session.finish("1"))
    session.check(r"""
$ hpcjob submit --wait -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err| j1 solve: done
""")


def test_wait_shows_what_the_job_writes_and_why_it_failed(session: Session) -> None:
    session.meanwhile(lambda: session.finish("1", 3, error="a\nno such file: in.nml\n"))
    session.check(r"""
$ hpcjob submit --wait -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err| a
err| no such file: in.nml
err| j1 solve: failed
err| error: j1 failed: the program returned exit code 3
err| last lines of ~/data/jobs/2023-11-14-solve-000000000001/stderr.log:
err|     a
err|     no such file: in.nml
exit 1
""")


def test_wait_with_json_prints_one_value(session: Session) -> None:
    session.meanwhile(lambda: session.finish("1", 3))
    session.check(r"""
$ hpcjob submit --wait --json -- ./solve
out| {"version": 1, "jobs": [{"id": "j1", "native_id": "1", "name": "solve", "state": "failed", "final": true, "scheduler_state": "FAILED", "reason": null, "exit_code": 3, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 1, "ntasks": 1, "node_list": "n1", "time_limit": 1800.0, "elapsed": 65.0, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:13:20Z", "submitted": "2023-11-14T22:13:20Z", "started": "2023-11-14T22:13:20Z", "ended": "2023-11-14T22:14:25Z", "seen": "2023-11-14T22:14:25Z", "image": null, "image_digest": null, "command": ["./solve"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-solve-000000000001", "output": "/home/data/jobs/2023-11-14-solve-000000000001/stdout.log", "error": "/home/data/jobs/2023-11-14-solve-000000000001/stderr.log"}]}
exit 1
""")


def test_wait_can_give_up(session: Session) -> None:
    session.check(r"""
$ hpcjob submit --wait --timeout 90 -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err| error: j1 has not ended after 90 s
err|
err| hint: it goes on: hpcjob wait j1
exit 124
""")


def test_wait_for_an_array_tells_its_counts(session: Session) -> None:
    session.meanwhile(lambda: session.finish("1", index=0), lambda: session.finish("1", 1, index=1))
    session.check(r"""
$ hpcjob submit --wait -a 0-1 -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, array 0-1, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err| j1 solve: 2 pending
err| j1 solve: 1/2 done
err| j1 solve: 1/2 done, 1 failed
err| error: j1 failed: of its 2 tasks, 1 failed
err|
err| hint: hpcjob resubmit 'j1[failed]' runs those again
exit 1
""")


def test_ctrl_c_ends_the_wait_and_not_the_job(session: Session) -> None:
    session.interrupt()
    session.check(r"""
$ hpcjob submit --wait -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err|
err| j1 goes on
err| hint: hpcjob wait j1 waits again, hpcjob cancel j1 ends it
exit 130
""")
    assert session.slurm.count("scancel") == 0


def test_resubmit(session: Session) -> None:
    session.run("hpcjob submit -N 2 -- ./solve")
    session.run("hpcjob submit -a 0-2 -- ./solve")
    for index, code in enumerate((0, 1, 1)):
        session.finish("2", code, index=index)
    session.check(r"""
$ hpcjob resubmit j1
out| j3
err| j3 solve: submitted to cluster as slurm job 3
err|   shape   2 nodes, 16 ranks, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000003/job.sh
err|   follow  hpcjob logs -f j3
$ hpcjob resubmit 'j2[failed]'
out| j4
err| j4 solve: submitted to cluster as slurm job 4
err|   shape   1 node, 1 rank, array 1-2, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000004/job.sh
err|   follow  hpcjob watch j4
$ hpcjob resubmit --json j1
out| {"version": 1, "jobs": [{"id": "j5", "native_id": "5", "name": "solve", "state": "pending", "final": false, "scheduler_state": null, "reason": null, "exit_code": null, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 2, "ntasks": 16, "node_list": null, "time_limit": 1800.0, "elapsed": null, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:16:35Z", "submitted": "2023-11-14T22:16:35Z", "started": null, "ended": null, "seen": "2023-11-14T22:16:35Z", "image": null, "image_digest": null, "command": ["./solve"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-solve-000000000005", "output": "/home/data/jobs/2023-11-14-solve-000000000005/stdout.log", "error": "/home/data/jobs/2023-11-14-solve-000000000005/stderr.log"}]}
$ hpcjob resubmit
err| error: which job? hpcjob resubmit needs one
err|
err| hint: hpcjob resubmit last, or hpcjob resubmit j12
exit 2
""")
