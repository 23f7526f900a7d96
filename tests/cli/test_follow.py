"""status, history, show, explain, wait, watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hpcjobs.service import Service

if TYPE_CHECKING:
    from tests.cli.session import Session


@pytest.fixture
def jobs(session: Session) -> Session:
    """A job that is done, one that failed, one that runs, one that waits, an array half done."""
    for name, more in (("first", ""), ("second", "-t 20"), ("third", "-N 2 -n 8"), ("fourth", ""), ("five", "-a 0-3")):
        session.run(f"hpcjob submit -J {name} {more} -- ./solve in.nml")
    session.finish("1")
    session.finish("2", 3, error="reading in.nml\nno such file: in.nml\n")
    session.finish("5", index=0)
    session.finish("5", 1, index=1)
    session.slurm.start("3")
    session.slurm.clock.sleep(5)
    return session


def test_status_off_a_terminal_is_whole_and_tab_separated(jobs: Session) -> None:
    jobs.check(r"""
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	first	done	1(1)	1:05/30:00	cluster	1	-
out| j2	second	failed	1(1)	1:05/20:00	cluster	2	exit 3
out| j3	third	running	2(8)	0:05/30:00	cluster	3	-
out| j4	fourth	pending	1(1)	-/30:00	cluster	4	Priority
out| j5	five	1/4 done, 1 failed	1(1)	2:15/30:00	cluster	5	Priority
$ hpcjob status j1 5
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	first	done	1(1)	1:05/30:00	cluster	1	-
out| j5	five	1/4 done, 1 failed	1(1)	2:15/30:00	cluster	5	Priority
$ hpcjob status 'j5[0-2]'
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j5[0]	five	done	1(1)	-/30:00	cluster	5_0	-
out| j5[1]	five	failed	1(1)	-/30:00	cluster	5_1	exit 1
out| j5[2]	five	pending	1(1)	-/30:00	cluster	5_2	-
$ hpcjob status j1 --json
out| {"version": 1, "jobs": [{"id": "j1", "native_id": "1", "name": "first", "state": "done", "final": true, "scheduler_state": "COMPLETED", "reason": null, "exit_code": 0, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 1, "ntasks": 1, "node_list": "n1", "time_limit": 1800.0, "elapsed": 65.0, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:13:20Z", "submitted": "2023-11-14T22:13:20Z", "started": "2023-11-14T22:13:20Z", "ended": "2023-11-14T22:14:25Z", "seen": "2023-11-14T22:17:45Z", "image": null, "image_digest": null, "command": ["./solve", "in.nml"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-first-000000000001", "output": "/home/data/jobs/2023-11-14-first-000000000001/stdout.log", "error": "/home/data/jobs/2023-11-14-first-000000000001/stderr.log"}]}
""")


@pytest.mark.usefixtures("terminal")
def test_status_on_a_terminal_fits_it(jobs: Session) -> None:
    jobs.run("hpcjob submit -J a-name-that-takes-more-than-its-share-of-the-line -- ./solve")
    jobs.run("hpcjob hold last")
    jobs.check(r"""
$ hpcjob status
out| ID  NAME      STATE               NODES  TIME/LIMIT  SITE     NATIVE  REASON
out| j1  first     done                1(1)   1:05/30:00  cluster  1       -
out| j2  second    failed              1(1)   1:05/20:00  cluster  2       exit 3
out| j3  third     running             2(8)   0:05/30:00  cluster  3       -
out| j4  fourth    pending             1(1)   -/30:00     cluster  4       Priority
out| j5  five      1/4 done, 1 failed  1(1)   2:15/30:00  cluster  5       Priority
out| j6  a-name-…  held                1(1)   -/30:00     cluster  6       JobHeldUs…
""")


def test_colour_is_asked_for_or_for_terminals_only(jobs: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in jobs.run("hpcjob status j1")
    assert "\x1b[32mdone" in jobs.run("hpcjob show j1 --color always")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[32mdone" in jobs.run("hpcjob status j1")
    assert "\x1b" not in jobs.run("hpcjob status j1 --color never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in jobs.run("hpcjob status j1")


def test_nothing_to_show(session: Session) -> None:
    session.check(r"""
$ hpcjob status
err| no job is active, and none ended within a day
err| hint: hpcjob submit --help runs one, hpcjob history lists all
$ hpcjob status --json
out| {"version": 1, "jobs": [], "studies": []}
$ hpcjob history
err| there is no job yet
err| hint: hpcjob submit --help runs one
$ hpcjob history --since 2h
err| there is no job since 2h
err| hint: hpcjob submit --help runs one
$ hpcjob watch
err| no job is active
err| hint: hpcjob history lists all
$ hpcjob status j7
err| error: there is no job j7
err|
err| hint: hpcjob history lists all jobs
exit 6
$ hpcjob status last
err| error: no job is 'last'
err|
err| hint: hpcjob history lists all jobs
exit 6
$ hpcjob status nonsense
err| error: 'nonsense' is not a job
err|
err| hint: write j12, j3-j9, j12[0-4], the scheduler's own id, last, active, failed or all
exit 2
$ hpcjob status j7 --json
out| {"version": 1, "error": {"message": "there is no job j7", "hint": "hpcjob history lists all jobs", "code": 6}}
exit 6
""")


def test_an_unreachable_scheduler_leaves_what_is_known(jobs: Session) -> None:
    jobs.run("hpcjob status")
    jobs.slurm.down = True
    jobs.slurm.clock.sleep(200)
    jobs.check(r"""
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	first	done	1(1)	1:05/30:00	cluster	1	-
out| j2	second	failed	1(1)	1:05/20:00	cluster	2	exit 3
out| j3	third	running (3m)	2(8)	3:25/30:00	cluster	3	-
out| j4	fourth	pending (3m)	1(1)	-/30:00	cluster	4	Priority
out| j5	five	1/4 done, 1 failed (3m)	1(1)	5:35/30:00	cluster	5	Priority
err| error: squeue: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
$ hpcjob status j4 --json
out| {"version": 1, "jobs": [{"id": "j4", "native_id": "4", "name": "fourth", "state": "pending", "final": false, "scheduler_state": "PENDING", "reason": "Priority", "exit_code": null, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 1, "ntasks": 1, "node_list": null, "time_limit": 1800.0, "elapsed": null, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:13:20Z", "submitted": "2023-11-14T22:13:20Z", "started": null, "ended": null, "seen": "2023-11-14T22:17:45Z", "image": null, "image_digest": null, "command": ["./solve", "in.nml"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-fourth-000000000004", "output": "/home/data/jobs/2023-11-14-fourth-000000000004/stdout.log", "error": "/home/data/jobs/2023-11-14-fourth-000000000004/stderr.log"}], "error": {"message": "squeue: Unable to contact slurm controller (connect failure)", "hint": "Slurm's controller is down or busy: nothing was changed; try again in a minute", "code": 5}}
exit 5
$ hpcjob show j4
out| j4 fourth: pending (3m)
out|   command   ./solve in.nml
out|   site      cluster (slurm, id 4)
out|   shape     1 node, 1 rank
out|   time      - of 30:00
out|   submitted 2023-11-14 22:13:20
out|   reason    Priority
out|   workdir   ~/work
out|   script    ~/data/jobs/2023-11-14-fourth-000000000004/job.sh
out|   output    ~/data/jobs/2023-11-14-fourth-000000000004/stdout.log
out|   error     ~/data/jobs/2023-11-14-fourth-000000000004/stderr.log
err| error: squeue: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
""")


def test_a_job_that_left_without_a_word_is_unknown_with_an_age(session: Session) -> None:
    session.run("hpcjob submit -- ./solve")
    session.slurm.jobs.clear()
    session.slurm.clock.sleep(180)
    session.check(r"""
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	solve	unknown (3m)	1(1)	-/30:00	cluster	1	-
$ hpcjob explain j1
out| j1 solve is unknown: it left the queue without a word; last seen 3m ago
err| hint: look at its files: hpcjob show j1
""")


def test_both_ways_to_a_verb_say_the_same(jobs: Session) -> None:
    # Names alone go around the parser.
    for verb in ("status", "show j2", "history", "explain j2", "cancel j1", "release j1", "hold j1", "status --json"):
        direct = jobs.run(f"hpcjob {verb}")
        assert jobs.run(f"hpcjob {verb} --color auto").replace(" --color auto", "") == direct


def test_history(jobs: Session) -> None:
    jobs.check(r"""
$ hpcjob history
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j5	five	pending (4m)	1(1)	-/30:00	cluster	5	-
out| j4	fourth	pending (4m)	1(1)	-/30:00	cluster	4	-
out| j3	third	pending (4m)	2(8)	-/30:00	cluster	3	-
out| j2	second	pending (4m)	1(1)	-/20:00	cluster	2	-
out| j1	first	pending (4m)	1(1)	-/30:00	cluster	1	-
$ hpcjob history -n 1
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j5	five	pending (4m)	1(1)	-/30:00	cluster	5	-
$ hpcjob history --since 1m
err| there is no job since 1m
err| hint: hpcjob submit --help runs one
$ hpcjob history --since 2023-11-15 --json
out| {"version": 1, "jobs": []}
$ hpcjob history --since yesterday
err| error: 'yesterday' is not a time
err|
err| hint: write 2h, 3d, 2026-11-21 or 2026-11-21T08:00
exit 2
$ hpcjob history --since 12
err| error: '12' is not a time
err|
err| hint: write 2h, 3d, 2026-11-21 or 2026-11-21T08:00
exit 2
""")


def test_show(jobs: Session) -> None:
    jobs.check(r"""
$ hpcjob show j1
out| j1 first: done
out|   command   ./solve in.nml
out|   site      cluster (slurm, id 1)
out|   shape     1 node, 1 rank
out|   nodes     n1
out|   time      1:05 of 30:00
out|   submitted 2023-11-14 22:13:20
out|   started   2023-11-14 22:13:20
out|   ended     2023-11-14 22:14:25
out|   workdir   ~/work
out|   script    ~/data/jobs/2023-11-14-first-000000000001/job.sh
out|   output    ~/data/jobs/2023-11-14-first-000000000001/stdout.log
out|   error     ~/data/jobs/2023-11-14-first-000000000001/stderr.log
$ hpcjob show j2 j5
out| j2 second: failed
out|   command   ./solve in.nml
out|   site      cluster (slurm, id 2)
out|   shape     1 node, 1 rank
out|   nodes     n1
out|   time      1:05 of 20:00
out|   submitted 2023-11-14 22:13:20
out|   started   2023-11-14 22:14:25
out|   ended     2023-11-14 22:15:30
out|   workdir   ~/work
out|   script    ~/data/jobs/2023-11-14-second-000000000002/job.sh
out|   output    ~/data/jobs/2023-11-14-second-000000000002/stdout.log
out|   error     ~/data/jobs/2023-11-14-second-000000000002/stderr.log
out| why it ended so
out|   the program returned exit code 3
out| last lines of ~/data/jobs/2023-11-14-second-000000000002/stderr.log
out|   reading in.nml
out|   no such file: in.nml
out|
out| j5 five: 1/4 done, 1 failed
out|   command   ./solve in.nml
out|   site      cluster (slurm, id 5)
out|   shape     1 node, 1 rank, array 0-3
out|   time      2:15 of 30:00
out|   submitted 2023-11-14 22:13:20
out|   started   2023-11-14 22:15:30
out|   reason    Priority
out|   workdir   ~/work
out|   script    ~/data/jobs/2023-11-14-five-000000000005/job.sh
out|   output    ~/data/jobs/2023-11-14-five-000000000005/stdout.%a.log
out|   error     ~/data/jobs/2023-11-14-five-000000000005/stderr.%a.log
$ hpcjob show
err| error: which job? hpcjob show needs one
err|
err| hint: hpcjob show last, or hpcjob show j12
exit 2
$ hpcjob show j1 j2 --script
err| error: hpcjob show --script takes one job, and these are 2: j1-j2
err|
err| hint: type one of them: hpcjob show --script j2
exit 2
""")
    record = Service().store.get(1)
    script = jobs.run("hpcjob show j1 --script")
    assert script.startswith("$ hpcjob show j1 --script\nout| #!/bin/bash\n")
    assert f'out|   "name": "{record.name}",' in jobs.run("hpcjob show j1 --plan")


def test_a_job_whose_folder_is_gone(jobs: Session) -> None:
    for file in ("plan.json", "job.sh"):
        (jobs.home / "data/jobs" / Service().store.get(1).folder / file).unlink()
    jobs.check(r"""
$ hpcjob show j1
out| j1 first: done
out|   command   ./solve in.nml
out|   site      cluster (slurm, id 1)
out|   shape     1 node, 1 rank
out|   nodes     n1
out|   time      1:05 of 30:00
out|   submitted 2023-11-14 22:13:20
out|   started   2023-11-14 22:13:20
out|   ended     2023-11-14 22:14:25
out|   workdir   ~/work
out|   script    ~/data/jobs/2023-11-14-first-000000000001/job.sh
out|   output    ~/data/jobs/2023-11-14-first-000000000001/stdout.log
out|   error     ~/data/jobs/2023-11-14-first-000000000001/stderr.log
err| warning: /home/data/jobs/2023-11-14-first-000000000001/plan.json: No such file or directory
$ hpcjob show j1 --script
err| error: /home/data/jobs/2023-11-14-first-000000000001/job.sh: No such file or directory
err|
err| hint: was the job's folder removed?
exit 6
""")


def test_explain(jobs: Session) -> None:
    jobs.check(r"""
$ hpcjob explain j4
out| j4 fourth is pending (Priority): other jobs are before it in the queue
err| hint: wait; a shorter -t may let it fill a gap
$ hpcjob explain j1 j2 j3
out| j1 first is done: it ended well
out| j2 second is failed: the program returned exit code 3
out| j3 third is running: it is running
$ hpcjob explain j4 --json
out| {"version": 1, "explanations": [{"id": "j4", "state": "pending", "reason": "Priority", "words": "other jobs are before it in the queue", "advice": "wait; a shorter -t may let it fill a gap", "expected_start": null}]}
""")


def test_wait(jobs: Session) -> None:
    jobs.check(r"""
$ hpcjob wait j1
err| j1 first: done
$ hpcjob wait j1 j2
err| error: j2 failed: the program returned exit code 3
err| last lines of ~/data/jobs/2023-11-14-second-000000000002/stderr.log:
err|     reading in.nml
err|     no such file: in.nml
exit 1
$ hpcjob wait j2 --json
out| {"version": 1, "jobs": [{"id": "j2", "native_id": "2", "name": "second", "state": "failed", "final": true, "scheduler_state": "FAILED", "reason": null, "exit_code": 3, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 1, "ntasks": 1, "node_list": "n1", "time_limit": 1200.0, "elapsed": 65.0, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:13:20Z", "submitted": "2023-11-14T22:13:20Z", "started": "2023-11-14T22:14:25Z", "ended": "2023-11-14T22:15:30Z", "seen": "2023-11-14T22:17:45Z", "image": null, "image_digest": null, "command": ["./solve", "in.nml"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-second-000000000002", "output": "/home/data/jobs/2023-11-14-second-000000000002/stdout.log", "error": "/home/data/jobs/2023-11-14-second-000000000002/stderr.log"}]}
exit 1
$ hpcjob wait all --timeout 2m
err| error: 3 of 5 jobs have not ended after 120 s
err|
err| hint: they go on: hpcjob wait j3 j4 j5
exit 124
$ hpcjob wait j4 --timeout 5 --json
out| {"version": 1, "error": {"message": "j4 has not ended after 5 s", "hint": "it goes on: hpcjob wait j4", "code": 124}}
exit 124
""")
    jobs.meanwhile(lambda: jobs.finish("4"))
    jobs.check(r"""
$ hpcjob wait j4
err| j4 fourth: done
""")


def test_watch_prints_changes_off_a_terminal(jobs: Session) -> None:
    jobs.meanwhile(lambda: jobs.slurm.start("4"), lambda: None, lambda: jobs.finish("4", 1))
    jobs.check(r"""
$ hpcjob watch j1 j4
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	first	done	1(1)	1:05/30:00	cluster	1	-
out| j4	fourth	pending	1(1)	-/30:00	cluster	4	Priority
out| j4	fourth	running	1(1)	0:00/30:00	cluster	4	-
out| j4	fourth	failed	1(1)	1:05/30:00	cluster	4	exit 1
""")


@pytest.mark.usefixtures("terminal")
def test_watch_draws_in_place_on_a_terminal(jobs: Session) -> None:
    jobs.meanwhile(lambda: jobs.finish("4"))
    text = jobs.run("hpcjob watch j4")
    assert text.count("ID  NAME") == 2
    assert text.count("\x1b[2F\x1b[J") == 1


@pytest.mark.usefixtures("terminal")
def test_watch_shows_no_more_than_the_terminal_has_lines(jobs: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "5")
    for native_id, index in (("3", None), ("4", None), ("5", 2), ("5", 3)):
        jobs.finish(native_id, index=index)
    jobs.check(r"""
$ hpcjob watch all
out| ID  NAME    STATE               NODES  TIME/LIMIT  SITE     NATIVE  REASON
out| … 4 more above
out| j5  five    3/4 done, 1 failed  1(1)   2:10/30:00  cluster  5       -
""")


@pytest.mark.parametrize("line", ["wait j4", "watch j4", "logs -f j4"])
def test_ctrl_c_says_that_the_job_goes_on(jobs: Session, line: str) -> None:
    jobs.interrupt()
    text = jobs.run(f"hpcjob {line}")
    assert text.endswith(
        "err|\nerr| j4 goes on\nerr| hint: hpcjob wait j4 waits again, hpcjob cancel j4 ends it\nexit 130\n"
    )


def test_show_tells_what_a_job_waits_for(jobs: Session) -> None:
    jobs.run("hpcjob submit -d afterok:j3:j4 -- ./solve")
    shown = jobs.run("hpcjob show last").splitlines()
    assert "out|   waits for afterok:3:4" in shown
