from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.session import Session


def test_cancel(session: Session) -> None:
    for _ in range(5):
        session.run("hpcjob submit -- ./solve")
    session.run("hpcjob submit -a 0-9 -- ./solve")
    session.finish("2")
    session.run("hpcjob status")
    session.check(r"""
$ hpcjob cancel j1
err| cancelled j1
$ hpcjob cancel j2 j3-j4
err| cancelled j3-j4
err| ended already: j2
$ hpcjob cancel j2
err| ended already: j2
$ hpcjob cancel 'j6[3-5]' j5
err| cancelled j5 j6[3-5]
$ hpcjob cancel active --json
out| {"version": 1, "jobs": [{"id": "j1", "state": "cancelled", "problem": "Job/step already completing or completed"}, {"id": "j3", "state": "cancelled", "problem": "Job/step already completing or completed"}, {"id": "j4", "state": "cancelled", "problem": "Job/step already completing or completed"}, {"id": "j5", "state": "cancelled", "problem": "Job/step already completing or completed"}, {"id": "j6", "state": "pending", "problem": null}]}
$ hpcjob cancel
err| error: which job? hpcjob cancel needs one
err|
err| hint: hpcjob cancel last, or hpcjob cancel j12
exit 2
$ hpcjob cancel j77
err| error: there is no job j77
err|
err| hint: hpcjob history lists all jobs
exit 6
""")
    assert next(call for call in session.slurm.calls if call[0] == "scancel")[-1] == "1"


def test_hold_and_release(session: Session) -> None:
    session.run("hpcjob submit -- ./solve")
    session.check(r"""
$ hpcjob hold j1
err| held j1
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	solve	held	1(1)	-/30:00	cluster	1	JobHeldUser
$ hpcjob release j1
err| released j1
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	solve	pending	1(1)	-/30:00	cluster	1	-
$ hpcjob hold
err| error: which job? hpcjob hold needs one
err|
err| hint: hpcjob hold last, or hpcjob hold j12
exit 2
""")


def test_nobody_answers(session: Session) -> None:
    session.run("hpcjob submit -- ./solve")
    session.slurm.down = True
    session.check(r"""
$ hpcjob cancel j1
err| error: scancel: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
$ hpcjob hold j1 --json
out| {"version": 1, "error": {"message": "scontrol: Unable to contact slurm controller (connect failure)", "hint": "Slurm's controller is down or busy: nothing was changed; try again in a minute", "code": 5}}
exit 5
""")


def test_requeue(session: Session) -> None:
    session.run("hpcjob submit -- ./solve")
    session.slurm.start("1")
    session.check(r"""
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	solve	running	1(1)	0:00/30:00	cluster	1	-
$ hpcjob requeue j1
err| requeued j1
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	solve	pending	1(1)	-/30:00	cluster	1	-
$ hpcjob requeue j9
err| error: there is no job j9
err|
err| hint: hpcjob history lists all jobs
exit 6
""")
