"""sweep, and the other verbs on studies and their points."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import api, paths, studies
from hpcjobs.cli import complete
from hpcjobs.errors import UsageError, WaitTimeoutError
from hpcjobs.service import Service

if TYPE_CHECKING:
    from tests.cli.session import Session


def end(session: Session, *points: int, code: int = 0, log: str = "", seconds: float = 65) -> None:
    """Points of s1 run and end, as the script of their round would write it, and so do their tasks."""
    service = Service()
    now = studies.known(service, service.store.study(1), force=True)
    jobs = {job.id: job for job in now.jobs}
    places = dict.fromkeys(now.points.jobs[point] for point in points)
    for job, task in places:
        session.slurm.start(jobs[job].native_id, task)
    begin = session.slurm.clock()
    session.slurm.clock.sleep(seconds)
    times = f"{begin} {session.slurm.clock()}"
    ends = paths.StudyFolder(Path(now.study.folder)).ends / "n1"
    for point in points:
        tag = jobs[now.points.jobs[point][0]].tag
        _append(ends, f"p {tag} {point} {code} {times}\n")
        _append(studies.log_of_one(service, f"s1[{point}]"), log.replace("POINT", str(point)))
    for job, task in places:
        native_id = jobs[job].native_id
        session.slurm.finish(native_id, "FAILED" if code else "COMPLETED", index=task, code=f"{code}:0")
        _append(ends, f"t {jobs[job].tag} {task} {code} 0 {times} 0 {native_id}\n")


def _append(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as stream:
        stream.write(text)


GRID = "--grid re=100,200,400 --grid dt=0.1,0.3333333333333333"


@pytest.fixture
def study(session: Session) -> Session:
    """s1 of six points: two are done, one failed, one runs, two wait."""
    session.run(f"hpcjob sweep -J drag {GRID} --result 'drag=drag=(.*)' -t 10 -- ./solve {{re}} {{dt}}")
    end(session, 0, 1, log="drag=0.POINT\n")
    end(session, 2, code=3, log="reading\nno such mesh\n")
    session.slurm.start("1", 3)
    session.slurm.clock.sleep(5)
    return session


@pytest.fixture
def ended(study: Session) -> Session:
    """The same when all of its points have ended; two failed."""
    end(study, 3, 4, log="drag=0.POINT\n")
    end(study, 5, code=137)
    return study


@pytest.fixture
def done(session: Session) -> Session:
    """s1 of three points, all done."""
    session.run("hpcjob sweep --grid x=1,2,3 --result 'y=y=(.*)' -- ./square {x}")
    end(session, 0, 1, 2, log="y=POINT.5\n")
    return session


# ------------------------------------------------------------------------------------- to ask for one


def test_the_id_alone_is_on_stdout(session: Session) -> None:
    work = session.home / "work"
    (work / "runs.csv").write_text("case,re\na,1\nb,2\n")
    (work / "in.nml.j2").write_text("re = {{ re }}\n")
    session.check(r"""
$ hpcjob sweep --grid re=100,200,400 --grid 'dt=linspace(0,1,4)' -t 10 -- ./solve {re} {dt}
out| s1
err| s1 solve: 12 points, on cluster
err|   jobs    j1 (slurm 1)
err|   points  ~/data/jobs/2023-11-14-solve-000000000001/points-1.tsv
err|   follow  hpcjob watch s1
$ hpcjob sweep run -J packed --zip a=1,2,3 --zip b=x,y,z --pack 2 --workers 2 --max-running 5 -- ./solve {a} {b}
out| s2
err| s2 packed: 3 points, 2 a task, 2 at a time, on cluster
err|   jobs    j2 (slurm 2)
err|   points  ~/data/jobs/2023-11-14-packed-000000000006/points-1.tsv
err|   follow  hpcjob watch s2
$ hpcjob sweep --table runs.csv --folder 'runs/{case}' --input in.nml.j2 --retry node_fail=3 --seed 7 -- /opt/solve in.nml
out| s3
err| s3 solve: 2 points, on cluster
err|   jobs    j3 (slurm 3)
err|   points  ~/data/jobs/2023-11-14-solve-00000000000b/points-1.tsv
err|   folders ~/work/runs/{case}
err|   follow  hpcjob watch s3
$ hpcjob sweep --grid x=1,2 --hold -- ./solve
out| s4
err| s4 solve: 2 points, on cluster
err|   jobs    j4 (slurm 4)
err|   points  ~/data/jobs/2023-11-14-solve-000000000010/points-1.tsv
err|   held    hpcjob release s4 lets it start
""")


def test_a_study_file_and_options_on_top_of_it(session: Session) -> None:
    (session.home / "work/study.yaml").write_text(
        "name: mesh\njob: {command: [./solve, '{re}'], time: 20m}\ngrid: {re: [1, 2]}\npack: 2\nresults: ['y=y=(.*)']\n"
    )
    session.check(r"""
$ hpcjob sweep study.yaml --grid x=1,2 --pack 4 --workers 2 -t 5
out| s1
err| s1 mesh: 4 points, 4 a task, 2 at a time, on cluster
err|   jobs    j1 (slurm 1)
err|   points  ~/data/jobs/2023-11-14-mesh-000000000001/points-1.tsv
err|   follow  hpcjob watch s1
$ hpcjob sweep show s1
out| s1 mesh  4 pending
out|   [..............................]   0%
out|   command     ./solve '{re}'
out|   parameters  re x
out|   seed        0
out|   packing     4 a task, 2 at a time
out|   results     y=y=(.*)
out|   site        cluster
out|   workdir     ~/work
out|   files       ~/data/jobs/2023-11-14-mesh-000000000001
out| rounds
out|   1  design             points 0-3, j1
$ hpcjob sweep study.yaml -J plain
out| s2
err| s2 plain: 2 points, 2 a task, 2 at a time, on cluster
err|   jobs    j2 (slurm 2)
err|   points  ~/data/jobs/2023-11-14-plain-000000000006/points-1.tsv
err|   follow  hpcjob watch s2
$ hpcjob sweep study.yaml extra
err| error: the command begins with 'extra', before --
err|
err| hint: type: hpcjob sweep run study.yaml -- extra
exit 2
""")


def _sample(session: Session, line: str) -> list[dict[str, Any]]:
    text = session.run(f"hpcjob sweep --dry-run --json {line} -- ./solve")
    (printed,) = (each for each in text.splitlines() if each.startswith("out| "))
    sample: list[dict[str, Any]] = json.loads(printed.removeprefix("out| "))["sample"]
    return sample


@pytest.mark.parametrize(
    ("line", "points"),
    [
        ("--grid 'i=range(0,2)' --grid a=x,y", "i=0 a=x, i=0 a=y, i=1 a=x, i=1 a=y"),
        ("--grid 'y=logspace(1,100,3)' --zip a=1,2 --zip b=u,v", "y=1 a=1 b=u, y=1 a=2 b=v, y=10 a=1 b=u, y=10 a=2 b=v, y=100 a=1 b=u, y=100 a=2 b=v"),
        ("--grid x=1,2,3 --derive 'y=2*x' --where 'y < 5'", "x=1 y=2, x=2 y=4"),
    ],
)  # fmt: skip
def test_options_of_the_design(session: Session, line: str, points: str) -> None:
    found = [" ".join(f"{name}={value}" for name, value in point.items()) for point in _sample(session, line)]
    assert ", ".join(found) == points


@pytest.mark.parametrize("kind", ["random", "lhs", "sobol"])
def test_random_designs_repeat_with_their_seed(session: Session, kind: str) -> None:
    line = f"--{kind} 4 'x=uniform(0,1)' --{kind} 4 'n=integers(1,9)'"
    first = _sample(session, f"{line} --seed 3")
    assert len(first) == 4
    assert all(0 <= point["x"] <= 1 and point["n"] in range(1, 10) for point in first)
    assert _sample(session, f"{line} --seed 3") == first
    assert _sample(session, f"{line} --seed 4") != first


def test_a_dry_run_shows_count_sample_cost_and_scripts_and_queues_nothing(session: Session) -> None:
    text = session.run("hpcjob sweep --dry-run --grid 'x=range(0,100)' --where 'x > 9' --pack 10 -t 6 -- ./solve {x}")
    assert "out| #SBATCH --array=0-8\n" in text
    assert (
        text[text.index("err| not submitted") :]
        == """\
err| not submitted: study solve for site cluster
err|   points    90 in 1 job of 9 tasks, 10 points each, 8 at a time
err|             where x > 9: 90 of 100 left
err|   [0]       x=10
err|   [1]       x=11
err|   [2]       x=12
err|   [3]       x=13
err|   [4]       x=14
err|   [5]       x=15
err|   [6]       x=16
err|   [89]      x=99
err|   cost      at most 1.9 node-hours (00:13:00 a task)
"""
    )
    assert session.slurm.count("sbatch") == 0
    assert Service().store.studies() == []
    shown = session.run("hpcjob sweep --dry-run --grid x=1 --site local -- ./solve {x}")
    assert "err|   cost      not known without a walltime: add -t\n" in shown


def test_what_the_queue_does_not_take_is_told(session: Session) -> None:
    session.slurm.max_submit = 4
    session.check(r"""
$ hpcjob sweep --grid 'x=range(0,6)' -- ./solve {x}
out| s1
err| s1 solve: 6 points, on cluster
err|   jobs    j1 (slurm 1)
err| warning: 2 points not sent: the queue takes no more jobs of yours now
err| hint: hpcjob wait s1 sends them as the queue empties, and so does hpcjob sweep resume
err|   points  ~/data/jobs/2023-11-14-solve-000000000001/points-1.tsv
err|   follow  hpcjob watch s1
$ hpcjob status s1
out| s1 solve  0/6 done, 4 pending, 2 unsent
out|   [..............................]   0%
err|   unsent    hpcjob sweep resume s1
$ hpcjob sweep resume s1
out| s1 solve  0/6 done, 4 pending, 2 unsent
out|   [..............................]   0%
err| warning: 2 points not sent: the queue takes no more jobs of yours now
err| hint: hpcjob wait s1 sends them as the queue empties, and so does hpcjob sweep resume
err|   unsent    hpcjob sweep resume s1
$ hpcjob sweep show s1
out| s1 solve  0/6 done, 4 pending, 2 unsent
out|   [..............................]   0%
out|   command     ./solve '{x}'
out|   parameters  x
out|   seed        0
out|   site        cluster
out|   workdir     ~/work
out|   files       ~/data/jobs/2023-11-14-solve-000000000001
out| rounds
out|   1  design             points 0-5, j1
err|   unsent    hpcjob sweep resume s1
""")


def test_mistakes_of_a_request_say_what_to_type(session: Session) -> None:
    session.check(r"""
$ hpcjob sweep -- ./solve
err| error: there are no points
err|
err| hint: add --grid re=100,200,400 (or --table, --lhs, --zip)
exit 2
$ hpcjob sweep --grid x=1,2
err| error: there is no command to run
err|
err| hint: hpcjob sweep --grid re=100,200 -- ./solve --re {re}
exit 2
$ hpcjob sweep nothing.yaml -- ./solve
err| error: there is no file nothing.yaml
err|
err| hint: check the path
exit 6
$ hpcjob sweep --grid x=1,2 ./solve {x}
err| error: the command begins with './solve', before --
err|
err| hint: type: hpcjob sweep run --grid x=1,2 -- ./solve '{x}'
exit 2
$ hpcjob sweep study.yaml ./solve -n 2
err| error: the command begins with './solve', before --
err|
err| hint: type: hpcjob sweep run study.yaml -- ./solve -n 2
exit 2
$ hpcjob sweep --grid re=1,2 -- ./solve {Re}
err| error: the command names {Re}, and there is no such parameter
err|
err| hint: did you mean re?; write {{Re}} for the text {Re}
exit 2
$ hpcjob sweep --grid x=1,2 --grid x=3 -- ./solve
err| error: --grid gives x twice
err|
err| hint: give it once: --grid 're=100,200,400'
exit 2
$ hpcjob sweep --grid x=1,2 --zip x=3 -- ./solve
err| error: the parameter x is given twice
err|
err| hint: remove one, or put the two in a chain
exit 2
$ hpcjob sweep --grid x=1,nan -- ./solve
err| error: --grid x: NaN is not a value
err|
err| hint: write a number; for the text, quote it: 'nan'
exit 2
$ hpcjob sweep --grid x= -- ./solve
err| error: --grid x: an empty value
err|
err| hint: write '' for an empty text
exit 2
$ hpcjob sweep --grid x -- ./solve
err| error: --grid 'x' does not name a parameter
err|
err| hint: write --grid 're=100,200,400'
exit 2
$ hpcjob sweep --grid 'x=linspace(0,1)' -- ./solve
err| error: --grid x: linspace with 2 numbers
err|
err| hint: write linspace(a,b,n): n values from a to b
exit 2
$ hpcjob sweep --grid 'x=spread(0,1,2)' -- ./solve
err| error: --grid x: spread(…) gives no values
err|
err| hint: write range(a,b,step), linspace(a,b,n) or logspace(a,b,n); distributions belong to random, lhs and sobol; quote a text: 'spread(…)'
exit 2
$ hpcjob sweep --zip x=1,2 --zip y=1,2,3 -- ./solve
err| error: --zip: values that belong together differ in number: 2 of x; 3 of y
err|
err| hint: give each as many values
exit 2
$ hpcjob sweep --grid x=1,2 --where 'x > 3' -- ./solve
err| error: where x > 3 leaves none of 2 points
err|
err| hint: make it less strict, or the design larger
exit 2
$ hpcjob sweep --grid x=1,2 --where 'y > 3' -- ./solve
err| error: an expression names 'y', which is no parameter
err|
err| hint: there is x
exit 2
$ hpcjob sweep --grid x=1,2 --where 'x >' -- ./solve
err| error: 'x >' is not an expression: invalid syntax
err|
err| hint: write it as in Python: re*dt < 1 and solver in ('cg', 'gmres')
exit 2
$ hpcjob sweep --grid x=1,2 --where '__import__("os")' -- ./solve
err| error: an expression calls __import__, which is no function
err|
err| hint: there are abs, ceil, cos, exp, float, floor, int, len, log, log10, log2, max, …
exit 2
$ hpcjob sweep --grid x=1,2 --derive y -- ./solve
err| error: --derive 'y' is not understood
err|
err| hint: write --derive 'dt=0.1/re'
exit 2
$ hpcjob sweep --grid x=1,2 --derive 'y=1/(x-1)' -- ./solve
err| error: y = 1/(x-1): division by zero, for x=1
err|
err| hint: an expression may avoid that: 1/dt if dt > 0 else 0
exit 2
$ hpcjob sweep --grid x=1,2 --derive x=2 -- ./solve
err| error: the parameter x is given twice
err|
err| hint: remove one, or put the two in a chain
exit 2
$ hpcjob sweep --lhs 3 'x=gauss(0,1)' -- ./solve
err| error: --lhs 3 x: there is no distribution 'gauss'
err|
err| hint: there are choice, exponential, integers, lognormal, loguniform, normal, triangular, uniform
exit 2
$ hpcjob sweep --lhs 3 -- ./solve
err| error: option '--lhs' requires 2 arguments
err|
err| hint: hpcjob sweep run --help says what there is
exit 2
$ hpcjob sweep --lhs ten 'x=uniform(0,1)' -- ./solve
err| error: invalid value for '--lhs': 'ten' is not a whole number
err|
err| hint: hpcjob sweep run --help says what there is
exit 2
$ hpcjob sweep --lhs 10 'x=uniform(0,1)' --lhs 20 'y=uniform(0,1)' -- ./solve
err| error: --lhs with 10 points and with 20: its parameters are drawn together
err|
err| hint: write --lhs 10 'y=uniform(0,1)', or a study file with a product
exit 2
$ hpcjob sweep --random 3 'x=uniform(1,0)' -- ./solve
err| error: --random 3 x: uniform(1,0) makes no sense
err|
err| hint: write uniform(a,b): from a to b
exit 2
$ hpcjob sweep --grid UID=1,2 -- ./solve
err| error: the variable UID is not free to set in a job
err|
err| hint: choose another name
exit 3
$ hpcjob sweep --grid PATH=1,2 -- ./solve
err| error: --grid: a parameter cannot be called PATH: it would be that variable of the program
err|
err| hint: call it otherwise
exit 2
$ hpcjob sweep --grid hpcjob_x=1,2 -- ./solve
err| error: --grid: a parameter cannot be called hpcjob_x: hpcjob uses the name itself
err|
err| hint: call it otherwise
exit 2
$ hpcjob sweep --grid point=1,2 -- ./solve
err| error: --grid: a parameter cannot be called point: hpcjob uses the name itself
err|
err| hint: call it otherwise
exit 2
$ hpcjob sweep --grid 2x=1,2 -- ./solve
err| error: --grid: '2x' cannot be the name of a parameter
err|
err| hint: use letters, digits and _, and no digit first
exit 2
$ hpcjob sweep --grid x=1,2 --env x=3 -- ./solve
err| error: x is a parameter and a variable of the job (--env)
err|
err| hint: leave out one of them
exit 2
$ hpcjob sweep --grid x=1,2 -- ./solve '{x:.3d}'
err| error: {x:.3d}: the value 1 cannot be written so: Precision not allowed in integer format specifier
err|
err| hint: formats are Python's: {x:05d} for whole numbers, {x:.3f} for others; or {x}
exit 2
$ hpcjob sweep --grid x=a,b -- ./solve '{x:.3f}'
err| error: {x:.3f}: the value 'a' cannot be written so: Unknown format code 'f' for object of type 'str'
err|
err| hint: formats are Python's: {x:05d} for whole numbers, {x:.3f} for others; or {x}
exit 2
""")


def test_mistakes_of_a_table_say_where(session: Session) -> None:
    work = session.home / "work"
    (work / "ragged.csv").write_text("x,y\n1,2\n3\n")
    (work / "empty.csv").write_text("x,y\n")
    (work / "runs.xlsx").write_text("")
    session.check(r"""
$ hpcjob sweep --table ragged.csv -- ./solve
err| error: ragged.csv:3: the header has 2 cells, and this line 1
err|
err| hint: quote a cell that holds the separator
exit 2
$ hpcjob sweep --table empty.csv -- ./solve
err| error: empty.csv has no rows
err|
err| hint: write a header and a line for each point
exit 2
$ hpcjob sweep --table nothing.csv -- ./solve
err| error: there is no file nothing.csv
err|
err| hint: check the path
exit 6
$ hpcjob sweep --table runs.xlsx -- ./solve
err| error: runs.xlsx: the suffix '.xlsx' is none of a table
err|
err| hint: use .csv, .tsv, .json, .jsonl, .parquet
exit 2
""")


def test_mistakes_of_what_runs_say_what_to_type(session: Session) -> None:
    session.check(r"""
$ hpcjob sweep --grid x=1,2 --pack 0 -- ./solve
err| error: --pack: less than one is not possible
err|
err| hint: write --pack 1, or more
exit 2
$ hpcjob sweep --grid x=1,2 --pack 2 --workers 3 -- ./solve
err| error: --workers 3 is more than the 2 points of a pack
err|
err| hint: write --pack 3, or --workers 2
exit 2
$ hpcjob sweep --grid x=1,2 --workers 2 -- ./solve
err| error: --workers is about points of a pack, and --pack is not there
err|
err| hint: add --pack 32
exit 2
$ hpcjob sweep --grid x=1,2 --pack 2 --workers 2 -n 2 -- ./solve
err| error: points that use several ranks or GPUs run one after the other in a pack
err|
err| hint: leave out --workers
exit 3
$ hpcjob sweep --grid x=1,2 --max-running -1 -- ./solve
err| error: --max-running: less than one is not possible
err|
err| hint: write --max-running 1, or more
exit 2
$ hpcjob sweep --grid x=1,2 --retry crash=1 -- ./solve
err| error: --retry 'crash' is no cause
err|
err| hint: there are failed, node_fail, oom, preempted, timeout
exit 2
$ hpcjob sweep --grid x=1,2 --retry timeout -- ./solve
err| error: --retry 'timeout' is not understood
err|
err| hint: write --retry node_fail=3,timeout=1
exit 2
$ hpcjob sweep --grid x=1,2 -a 0-3 -- ./solve
err| error: --array is not for a study
err|
err| hint: leave it out: the design says which points there are
exit 2
$ hpcjob sweep --grid x=1,2 -e err.log -- ./solve
err| error: --error is not for a study
err|
err| hint: leave it out: -o names the log of each point
exit 2
$ hpcjob sweep --grid x=1,2 -o out.log -- ./solve
err| error: two points have the log out.log
err|
err| hint: add {point} to -o
exit 2
$ hpcjob sweep --grid x=1,2 --folder runs -- /bin/solve
err| error: two points have the folder runs
err|
err| hint: add {point} to --folder
exit 2
$ hpcjob sweep --grid x=1,2 --folder /runs/{point} -- /bin/solve
err| error: the folder /runs/{point} is not below the working directory
err|
err| hint: write it relative to that, as runs/{point}; -D changes the working directory
exit 2
$ hpcjob sweep --grid x=1,2 --folder 'runs/{x}' -- ./solve
err| error: each point runs in a folder of its own (runs/{x}), and there is no ./solve in it
err|
err| hint: name it from where you are: {workdir}/solve
exit 3
$ hpcjob sweep --grid x=1,2 --input in.nml.j2 -- /bin/solve
err| error: there is no input file in.nml.j2
err|
err| hint: write --input FILE, or --input FILE:NAME
exit 6
$ hpcjob sweep --grid x=1,2 --result drag -- ./solve
err| error: result 'drag' is neither a JSON, CSV or TSV file nor NAME=REGEX
err|
err| hint: write out.json, out.csv, out.tsv, 'drag=Cd: (\S+)' or 'drag=log.txt:/Cd: (\S+)/'
exit 2
$ hpcjob sweep --grid x=1,2 --result 'drag=drag=(.*' -- ./solve
err| error: result 'drag=drag=(.*': 'drag=(.*' is no regex: missing ), unterminated subpattern at position 5
err|
err| hint: write it as in Python; before a character that is meant as it is stands a \, as in \(
exit 2
$ hpcjob sweep --grid x=1,2 --result 'x=x=(.*)' -- ./solve
err| error: result 'x=x=(.*)': the table has a column x already
err|
err| hint: choose another name: x_result=…
exit 2
$ hpcjob sweep --grid x=1,2 -N 9 -- ./solve
err| error: partition debug has 4 nodes for one job, and 9 are needed
err|
err| hint: -N 4 is the most there
exit 3
$ hpcjob sweep --grid x=1,2 -t 2h -- ./solve
err| error: partition debug allows 01:00:00, and 02:00:00 were asked for
err|
err| hint: -t 01:00:00 is the most there
exit 3
$ hpcjob sweep --grid 'x=range(0,32)' --pack 32 --workers 4 -t 20 -- ./solve
err| error: a pack of 32 points of 00:20:00, 4 at a time, may take 02:40:00, and 01:00:00 is the most there
err|
err| hint: --pack 12
exit 3
$ hpcjob sweep --grid 'x=range(0,32)' --pack 32 --workers 9 -- ./solve
err| error: a node has room for 8 points at a time, and --workers asks for 9
err|
err| hint: --workers 8
exit 3
$ hpcjob sweep --grid x=1,2 --timeout 5 -- ./solve
err| error: --timeout is about --wait, which is not there
err|
err| hint: add --wait, or leave out --timeout
exit 2
$ hpcjob sweep --grid x=1,2 --max-running -2 -- ./solve
err| error: --max-running: less than one is not possible
err|
err| hint: write --max-running 1, or more
exit 2
""")


# ------------------------------------------------------------------------------------- to look at one


def test_status_of_studies_and_points(study: Session) -> None:
    study.check(r"""
$ hpcjob status s1
out| s1 drag  2/6 done, 1 failed, 1 running, 2 pending
out|   [###############...............]  50%  2.6/min, 1m left
$ hpcjob status sweep:s1
out| s1 drag  2/6 done, 1 failed, 1 running, 2 pending
out|   [###############...............]  50%  2.6/min, 1m left
$ hpcjob status 's1[1-3,5]'
out| POINT	JOB	STATE	EXIT	TIME	TRIES	PARAMETERS
out| s1[1]	j1[1]	done	-	1:05	1	re=100 dt=0.3333333333333333
out| s1[2]	j1[2]	failed	exit 3	1:05	1	re=200 dt=0.1
out| s1[3]	j1[3]	running	-	-	1	re=200 dt=0.3333333333333333
out| s1[5]	j1[5]	pending	-	-	1	re=400 dt=0.3333333333333333
$ hpcjob status 's1[failed]'
out| POINT	JOB	STATE	EXIT	TIME	TRIES	PARAMETERS
out| s1[2]	j1[2]	failed	exit 3	1:05	1	re=200 dt=0.1
$ hpcjob status 's1[cancelled]'
err| error: no point of s1 is cancelled
err|
err| hint: hpcjob status s1
exit 6
$ hpcjob status 's1[fialed]'
err| error: 'fialed' is no state of a point
err|
err| hint: did you mean failed?
exit 2
$ hpcjob status 's1[6]'
err| error: s1 has no point 6
err|
err| hint: its points are 0-5: s1[5]
exit 6
$ hpcjob status s2
err| error: there is no study s2
err|
err| hint: hpcjob sweep list shows those there are
exit 6
$ hpcjob status s1 j1
err| error: j1 is no study, and the others are
err|
err| hint: name jobs and studies apart
exit 2
""")


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_six_digits(study: Session) -> None:
    study.check(r"""
$ hpcjob status s1
out| s1 drag  2/6 done, 1 failed, 1 running, 2 pending
out|   [###############...............]  50%  2.6/min, 1m left
$ hpcjob status 's1[0-5]'
out| POINT  JOB    STATE    EXIT    TIME  TRIES  PARAMETERS
out| s1[0]  j1[0]  done     -       1:05  1      re=100 dt=0.1
out| s1[1]  j1[1]  done     -       1:05  1      re=100 dt=0.333333
out| s1[2]  j1[2]  failed   exit 3  1:05  1      re=200 dt=0.1
out| s1[3]  j1[3]  running  -       -     1      re=200 dt=0.333333
out| s1[4]  j1[4]  pending  -       -     1      re=400 dt=0.1
out| s1[5]  j1[5]  pending  -       -     1      re=400 dt=0.333333
$ hpcjob sweep list
out| ID  NAME  STATE                                  SITE     CREATED     PARAMETERS
out| s1  drag  2/6 done, 1 failed, 1 running, 2 pen…  cluster  2023-11-14  re dt
$ hpcjob sweep summary s1
out| parameter  value     points  failed  median s  mean s  max s  states
out| all        -         6       1       65        65      65     2 done, 1 failed,…
out| re         100       2       0       65        65      65     2 done
out| re         200       2       1       -         -       -      1 failed, 1 runni…
out| re         400       2       0       -         -       -      2 pending
out| dt         0.1       3       1       65        65      65     1 done, 1 failed,…
out| dt         0.333333  3       0       65        65      65     1 done, 1 pending…
$ hpcjob sweep results s1
out| point  re   dt        state    exit_code  seconds  attempts  drag
out| 0      100  0.1       done     0          65.0     1         0.0
out| 1      100  0.333333  done     0          65.0     1         0.1
out| 2      200  0.1       failed   3          65.0     1         -
out| 3      200  0.333333  running  -          -        1         -
out| 4      400  0.1       pending  -          -        1         -
out| 5      400  0.333333  pending  -          -        1         -
err| 4 points of 6 not done: 2/6 done, 1 failed, 1 running, 2 pending
$ hpcjob status
out| ID  NAME  STATE                       NODES  TIME/LIMIT  SITE     NATIVE  REASON
out| s1  drag  2/6 done, 1 failed, 1 run…  1(1)   -/10:00     cluster  1       -
""")


def test_a_study_is_one_row_among_jobs(study: Session) -> None:
    study.slurm.max_array = 3
    study.run("hpcjob sweep --grid x=1,2,3,4,5 --site-file .hpcjobs/sites/cluster.yaml -- ./solve")
    study.run("hpcjob submit -J alone -- ./solve")
    study.check(r"""
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j6	alone	pending	1(1)	-/30:00	cluster	5	Priority
out| s1	drag	2/6 done, 1 failed, 1 running, 2 pending	1(1)	-/10:00	cluster	1	-
out| s2	solve	5 pending	1(1)	-/30:00	cluster	2 +2	Priority
$ hpcjob history
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j6	alone	pending	1(1)	-/30:00	cluster	5	Priority
err| besides 2 studies: hpcjob sweep list
$ hpcjob history -n 1
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j6	alone	pending	1(1)	-/30:00	cluster	5	Priority
err| besides 2 studies: hpcjob sweep list
""")
    answer = json.loads(study.run("hpcjob status --json").splitlines()[1].removeprefix("out| "))
    assert {job["study"] for job in answer["jobs"]} == {"s1", "s2", None}
    assert [each["id"] for each in answer["studies"]] == ["s1", "s2"]


def test_watch_without_a_selector_shows_a_study_in_a_row(study: Session) -> None:
    study.meanwhile(lambda: end(study, 3), lambda: end(study, 4, 5))
    study.check(r"""
$ hpcjob watch
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| s1	drag	2/6 done, 1 failed, 1 running, 2 pending	1(1)	-/10:00	cluster	1	-
out| s1	drag	3/6 done, 1 failed, 2 pending	1(1)	-/10:00	cluster	1	Priority
out| s1	drag	5/6 done, 1 failed	1(1)	-/10:00	cluster	1	-
""")


def test_colours_of_studies(ended: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[31m4/6 done, 2 failed" in ended.run("hpcjob status s1 --color always")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[31m4/6 done, 2 failed" in ended.run("hpcjob sweep list --color always")
    assert "\x1b[31m4/6 done, 2 failed" in ended.run("hpcjob status --color always")
    assert "\x1b[31mfailed" in ended.run("hpcjob status 's1[2]' --color always")


def test_list_and_show(ended: Session) -> None:
    ended.check(r"""
$ hpcjob sweep list
out| ID	NAME	STATE	SITE	CREATED	PARAMETERS
out| s1	drag	4/6 done, 2 failed	cluster	2023-11-14	re dt
$ hpcjob sweep show s1
out| s1 drag  4/6 done, 2 failed
out|   [##############################] 100%
out|   command     ./solve '{re}' '{dt}'
out|   parameters  re dt
out|   seed        0
out|   results     drag=drag=(.*)
out|   site        cluster
out|   workdir     ~/work
out|   files       ~/data/jobs/2023-11-14-drag-000000000001
out| rounds
out|   1  design             points 0-5, j1
err|   failed    hpcjob status 's1[failed]'
err|   again     hpcjob resubmit s1 --failed
err|   results   hpcjob sweep results s1
$ hpcjob sweep show last
out| s1 drag  4/6 done, 2 failed
out|   [##############################] 100%
out|   command     ./solve '{re}' '{dt}'
out|   parameters  re dt
out|   seed        0
out|   results     drag=drag=(.*)
out|   site        cluster
out|   workdir     ~/work
out|   files       ~/data/jobs/2023-11-14-drag-000000000001
out| rounds
out|   1  design             points 0-5, j1
err|   failed    hpcjob status 's1[failed]'
err|   again     hpcjob resubmit s1 --failed
err|   results   hpcjob sweep results s1
$ hpcjob show 's1[1,2]'
out| s1[1] drag: done
out|   parameters  re=100 dt=0.3333333333333333
out|   job         j1, task 1
out|   time        1:05
out|   tries       1
out|   folder      ~/work
out|   output      ~/data/jobs/2023-11-14-drag-000000000001/log/0/1.log
out|   why         it ended well
out|
out| s1[2] drag: failed
out|   parameters  re=200 dt=0.1
out|   job         j1, task 2
out|   time        1:05
out|   tries       1
out|   folder      ~/work
out|   output      ~/data/jobs/2023-11-14-drag-000000000001/log/0/2.log
out|   why         the program returned exit code 3
out|     reading
out|     no such mesh
err| hint: hpcjob logs 's1[2]' shows what it wrote
$ hpcjob sweep show s2
err| error: there is no study s2
err|
err| hint: hpcjob sweep list shows those there are
exit 6
$ hpcjob sweep show j1
err| error: 'j1' is not a study
err|
err| hint: write s4, or s4[17]; hpcjob sweep list shows them
exit 2
""")
    assert ended.run("hpcjob show s1").replace("show", "sweep show") == ended.run("hpcjob sweep show s1")


def test_without_any_study(session: Session) -> None:
    session.check(r"""
$ hpcjob sweep list
err| there is no study
err| hint: hpcjob sweep run --help makes one
$ hpcjob sweep show last
err| error: there is no study
err|
err| hint: hpcjob sweep run --help makes one
exit 6
$ hpcjob status s1
err| error: there is no study s1
err|
err| hint: hpcjob sweep list shows those there are
exit 6
""")


def test_explain(ended: Session) -> None:
    ended.run("hpcjob sweep --grid x=1,2 -- ./solve")
    ended.slurm.start("2", 1)
    ended.check(r"""
$ hpcjob explain s1
out| s1 drag is ended: 4/6 done, 2 failed
err| hint: hpcjob status 's1[failed]'
$ hpcjob explain 's1[0,2,5]'
out| s1[0] drag is done: it ended well
out| s1[2] drag is failed: the program returned exit code 3
out| s1[5] drag is failed: the program was ended by signal 9 (SIGKILL)
err| hint: hpcjob logs 's1[2]' shows what it wrote
err| hint: often too little memory: ask for more with --mem
$ hpcjob explain s2
out| s2 solve is running: 0/2 done, 1 running, 1 pending
$ hpcjob explain 's2[0,1]'
out| s2[0] solve is pending: its turn comes yet: others of j2 run
out| s2[1] solve is running: it runs, in task 1 of j2
err| hint: hpcjob logs -f 's2[1]'
""")


def test_logs_of_a_point(study: Session) -> None:
    study.check(r"""
$ hpcjob logs 's1[2]'
out| reading
out| no such mesh
$ hpcjob logs -n 1 's1[2]'
out| no such mesh
$ hpcjob logs 's1[5]'
err| s1[5] is pending and has written nothing yet
err| hint: hpcjob logs -f 's1[5]' waits for it
$ hpcjob logs s1
err| error: s1 is many points, and each has a log of its own
err|
err| hint: name one: hpcjob logs 's1[0]'
exit 2
$ hpcjob logs 's1[1,2]'
err| error: s1[1,2] is many points, and each has a log of its own
err|
err| hint: name one: hpcjob logs 's1[1]'
exit 2
$ hpcjob logs 'j1[2]'
err| error: j1[2] runs points of s1, and they write files of their own
err|
err| hint: hpcjob logs 's1[2]'
exit 6
""")
    study.meanwhile(lambda: end(study, 3, log="drag=3\n"))
    study.check(r"""
$ hpcjob logs -f 's1[3]'
out| drag=3
err| s1[3] drag: done
""")


def test_a_job_of_a_study(ended: Session) -> None:
    ended.check(r"""
$ hpcjob status j1
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| j1	drag	4/6 done, 2 failed	1(1)	2:10/10:00	cluster	1	-
$ hpcjob show j1
out| j1 drag: 4/6 done, 2 failed
out|   command   ./solve '{re}' '{dt}'
out|   study     s1: hpcjob show s1
out|   site      cluster (slurm, id 1)
out|   shape     1 node, 1 rank, array 0-5
out|   nodes     n1
out|   time      2:10 of 10:00
out|   submitted 2023-11-14 22:13:20
out|   started   2023-11-14 22:13:20
out|   ended     2023-11-14 22:15:30
out|   workdir   ~/work
out|   script    ~/data/jobs/2023-11-14-drag-000000000001/c0001/job.sh
out|   output    ~/data/jobs/2023-11-14-drag-000000000001/c0001/task.%a.log
out| why it ended so
out|   of its 6 tasks, 2 failed
err| hint: hpcjob resubmit s1 --failed runs those again
$ hpcjob explain j1
out| j1 drag is failed: of its 6 tasks, 2 failed
err| hint: hpcjob resubmit s1 --failed runs those again
$ hpcjob wait j1
err| error: j1 failed: of its 6 tasks, 2 failed
err|
err| hint: hpcjob resubmit s1 --failed runs those again
exit 1
$ hpcjob resubmit j1
err| error: j1 runs points of the study s1, which are resubmitted with it
err|
err| hint: hpcjob resubmit s1 --failed, --missing, or 's1[17]'
exit 2
$ hpcjob resubmit 'j1[failed]'
err| error: j1 runs points of the study s1, which are resubmitted with it
err|
err| hint: hpcjob resubmit s1 --failed, --missing, or 's1[17]'
exit 2
""")


def test_results_as_text_and_as_files(ended: Session) -> None:
    ended.check(r"""
$ hpcjob sweep results s1
out| point	re	dt	state	exit_code	seconds	attempts	drag
out| 0	100	0.1	done	0	65.0	1	0.0
out| 1	100	0.3333333333333333	done	0	65.0	1	0.1
out| 2	200	0.1	failed	3	65.0	1	-
out| 3	200	0.3333333333333333	done	0	65.0	1	0.3
out| 4	400	0.1	done	0	65.0	1	0.4
out| 5	400	0.3333333333333333	failed	137	65.0	1	-
err| 2 points of 6 not done: 4/6 done, 2 failed
$ hpcjob sweep results s1 --to table.csv
err| table.csv: 6 rows, 8 columns
err| 2 points of 6 not done: 4/6 done, 2 failed
$ hpcjob sweep results s1 --to table.json
err| table.json: 6 rows, 8 columns
err| 2 points of 6 not done: 4/6 done, 2 failed
$ hpcjob sweep results s1 --to table.parquet
err| table.parquet: 6 rows, 8 columns
err| 2 points of 6 not done: 4/6 done, 2 failed
$ hpcjob sweep results s1 --to table.xls
err| error: table.xls: .xls names no kind of table
err|
err| hint: let it end in .csv, .tsv, .json, .jsonl or .parquet
exit 2
$ hpcjob sweep results s1 --to nowhere/table.csv
err| error: nowhere/table.csv cannot be written: No such file or directory
err|
err| hint: see: ls -ld nowhere
exit 7
""")
    work = ended.home / "work"
    assert (work / "table.csv").read_text().splitlines()[:3] == [
        "point,re,dt,state,exit_code,seconds,attempts,drag",
        "0,100,0.1,done,0,65.0,1,0.0",
        "1,100,0.3333333333333333,done,0,65.0,1,0.1",
    ]
    assert json.loads((work / "table.json").read_text())[2]["drag"] is None
    assert (work / "table.parquet").read_bytes()[:4] == b"PAR1"


@pytest.mark.usefixtures("terminal")
def test_results_of_many_columns_fit_a_terminal(session: Session) -> None:
    wide = " ".join(f"--grid parameter{letter}=0.123456789" for letter in "abcde")
    session.run(f"hpcjob sweep {wide} --result 'y=y=(.*)' -- ./solve")
    end(session, 0, log="y=1\n")
    wider = " ".join(f"--grid p{number}=1" for number in range(12))
    session.run(f"hpcjob sweep {wider} -- ./solve")
    session.check(r"""
$ hpcjob sweep results s1
out| point  parametera  parameterb  parameterc  parameterd  parametere  state  y
out| 0      0.123457    0.123457    0.123457    0.123457    0.123457    done   1
err| 3 columns left out: --to table.csv has all
$ hpcjob sweep results s2
out| point  p0  p1  p2  p3  p4  p5  p6  p7  p8  p9  p10  p11  state    seconds
out| 0      1   1   1   1   1   1   1   1   1   1   1    1    pending  -
err| 2 columns left out: --to table.csv has all
err| 1 point of 1 not done: 1 pending
""")


def test_garbage_for_a_result_is_told_of(session: Session) -> None:
    session.run("hpcjob sweep --grid x=1,2 --result out.json -- /bin/solve {x}")
    end(session, 0, 1)
    for point, text in enumerate(['{"y": 1e999}', "{"]):
        studies.log_of_one(Service(), f"s1[{point}]").with_name("out.json").write_text(text)
    session.check(r"""
$ hpcjob sweep results s1
out| point	x	state	exit_code	seconds	attempts	y	problem
out| 0	1	done	0	65.0	1	inf	-
out| 1	2	done	0	65.0	1	-	out.json: it is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)
err| warning: the results of 1 point cannot be read, such as: out.json: it is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)
exit 1
$ hpcjob sweep results s1 --json
out| {"version": 1, "study": "s1", "columns": {"point": [0, 1], "x": [1, 2], "state": ["done", "done"], "exit_code": [0, 0], "seconds": [65.0, 65.0], "attempts": [1, 1], "y": [null, null], "problem": [null, "out.json: it is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"]}}
exit 1
""")


def test_summary(ended: Session) -> None:
    ended.check(r"""
$ hpcjob sweep summary s1
out| parameter	value	points	failed	median s	mean s	max s	states
out| all	-	6	2	65	65	65	4 done, 2 failed
out| re	100	2	0	65	65	65	2 done
out| re	200	2	1	65	65	65	1 done, 1 failed
out| re	400	2	1	65	65	65	1 done, 1 failed
out| dt	0.1	3	1	65	65	65	2 done, 1 failed
out| dt	0.3333333333333333	3	1	65	65	65	2 done, 1 failed
""")


def test_plot(done: Session) -> None:
    done.check(r"""
$ hpcjob sweep plot s1
err| error: what shall be drawn?
err|
err| hint: hpcjob sweep plot s1 --x PARAMETER --y RESULT
exit 2
$ hpcjob sweep plot s1 --x x --y z
err| error: the table has no column 'z'
err|
err| hint: there are attempts, exit_code, point, seconds, state, x, y
exit 2
$ hpcjob sweep plot s1 --x x --y y --to y.svg
err| y.svg: y over x
$ hpcjob sweep plot s1 --x x --y y --to y.png
err| y.png: y over x
$ hpcjob sweep plot s1 --x x --y y --to y.gif
err| error: y.gif: .gif names no kind of picture
err|
err| hint: end it in .png or .svg
exit 2
""")
    done.run("hpcjob sweep extend s1 --grid x=0.123456789")
    assert "err| 1 point without a number that can be drawn\n" in done.run("hpcjob sweep plot s1 --x x --y y")
    assert "out|   x x=0.123457\n" in done.run("hpcjob sweep plot s1 --x x --y point --by x")
    work = done.home / "work"
    assert (work / "y.svg").read_text().startswith("<?xml")
    assert (work / "y.png").read_bytes()[1:4] == b"PNG"
    drawn = done.run("hpcjob sweep plot s1 --x x --y y --log-x").splitlines()
    assert max(map(len, drawn)) <= 5 + 80
    assert len(drawn) > 10


# -------------------------------------------------------------------------------------- to finish one


def test_wait_tells_a_line_a_change(study: Session) -> None:
    study.meanwhile(lambda: end(study, 3, 4), lambda: end(study, 5))
    study.check(r"""
$ hpcjob wait s1
err| s1 2/6 done, 1 failed, 1 running, 2 pending
err| s1 4/6 done, 1 failed, 1 pending
err| s1 5/6 done, 1 failed
err|   failed    hpcjob status 's1[failed]'
err|   again     hpcjob resubmit s1 --failed
err|   results   hpcjob sweep results s1
exit 1
$ hpcjob wait 's1[3]'
err| error: hpcjob wait takes a study, not points of it
err|
err| hint: hpcjob wait s1
exit 2
""")


def test_wait_for_a_study_that_ends_well(done: Session) -> None:
    done.check(r"""
$ hpcjob wait s1
err| s1 3/3 done
err|   results   hpcjob sweep results s1
""")


def test_json_of_a_wait(done: Session) -> None:
    text = done.run("hpcjob wait s1 --json")
    (study,) = json.loads(text.splitlines()[1].removeprefix("out| "))["studies"]
    assert (study["state"], study["states"]) == ("done", {"done": 3})


def test_wait_gives_up_after_a_time(study: Session) -> None:
    study.check(r"""
$ hpcjob wait s1 --timeout 5m
err| s1 2/6 done, 1 failed, 1 running, 2 pending
err| error: s1 has not ended after 300 s: 3 of 6 points have
err|
err| hint: it goes on: hpcjob wait s1
exit 124
$ hpcjob sweep --grid x=1,2 --wait --timeout 10 -- ./solve
out| s2
err| s2 solve: 2 points, on cluster
err|   jobs    j2 (slurm 2)
err|   points  ~/data/jobs/2023-11-14-solve-000000000006/points-1.tsv
err| s2 2 pending
err| error: s2 has not ended after 10 s: 0 of 2 points have
err|
err| hint: it goes on: hpcjob wait s2
exit 124
""")


@pytest.mark.usefixtures("terminal")
def test_wait_draws_a_bar_on_a_terminal(study: Session) -> None:
    study.meanwhile(lambda: end(study, 3, 4), lambda: end(study, 5))
    drawn = [line.partition("\x1b[K")[0] for line in study.run("hpcjob wait s1").split("\r")[1:]]
    assert drawn == [
        "s1 [####.....]  50%  2.6/min, 1m left  2/6 done, 1 failed, 1 running, 2 pending",
        "s1 [###############....]  83%  2.2/min, 27s left  4/6 done, 1 failed, 1 pending",
        "s1 [##############################] 100%  5/6 done, 1 failed",
    ]
    assert max(map(len, drawn)) < 80


@pytest.mark.parametrize("line", ["wait s1", "watch s1", "logs -f 's1[3]'"])
def test_ctrl_c_says_that_the_study_goes_on(study: Session, line: str) -> None:
    study.interrupt()
    text = study.run(f"hpcjob {line}")
    assert text.endswith(
        "err|\nerr| s1 goes on\nerr| hint: hpcjob wait s1 waits again, hpcjob cancel s1 ends it\nexit 130\n"
    )


def test_watch(study: Session) -> None:
    study.meanwhile(lambda: end(study, 3, 4), lambda: end(study, 5))
    study.check(r"""
$ hpcjob watch s1
out| s1 drag  2/6 done, 1 failed, 1 running, 2 pending
out|   [###############...............]  50%  2.6/min, 1m left
out| s1 drag  4/6 done, 1 failed, 1 pending
out|   [#########################.....]  83%  2.2/min, 27s left
out| s1 drag  5/6 done, 1 failed
out|   [##############################] 100%
""")


def test_cancel_and_what_is_left(study: Session) -> None:
    study.check(r"""
$ hpcjob cancel 's1[0,4-5]'
err| cancelled 2 points of s1
$ hpcjob cancel 's1[0]'
err| cancelled no point of s1: they have ended
$ hpcjob status 's1[3-5]'
out| POINT	JOB	STATE	EXIT	TIME	TRIES	PARAMETERS
out| s1[3]	j1[3]	running	-	-	1	re=200 dt=0.3333333333333333
out| s1[4]	j1[4]	cancelled	-	-	1	re=400 dt=0.1
out| s1[5]	j1[5]	cancelled	-	-	1	re=400 dt=0.3333333333333333
$ hpcjob cancel s1
err| cancelled s1
$ hpcjob status s1
out| s1 drag  2/6 done, 1 failed, 3 cancelled
out|   [##############################] 100%
err|   failed    hpcjob status 's1[failed]'
err|   again     hpcjob resubmit s1 --failed
err|   cancelled hpcjob resubmit s1 --missing
err|   results   hpcjob sweep results s1
$ hpcjob explain 's1[4]'
out| s1[4] drag is cancelled: it was cancelled
err| hint: hpcjob resubmit 's1[4]' runs it again
$ hpcjob cancel s1 --json
out| {"version": 1, "cancelled": [{"study": "s1", "points": null}], "problems": []}
$ hpcjob resubmit s1 --missing
out| s1
err| s1: 3 points again
err|   jobs    j2 (slurm 2)
$ hpcjob status 's1[3-5]'
out| POINT	JOB	STATE	EXIT	TIME	TRIES	PARAMETERS
out| s1[3]	j2[0]	pending	-	-	2	re=200 dt=0.3333333333333333
out| s1[4]	j2[1]	pending	-	-	2	re=400 dt=0.1
out| s1[5]	j2[2]	pending	-	-	2	re=400 dt=0.3333333333333333
""")


def test_what_was_not_sent_of_a_cancelled_study_stays_so(session: Session) -> None:
    session.slurm.max_submit = 4
    session.run("hpcjob sweep --grid 'x=range(0,6)' -o 'out-{x}.log' -- ./solve {x}")
    session.check(r"""
$ hpcjob explain s1 's1[5]'
out| s1 solve is pending (Priority): 0/6 done, 4 pending, 2 unsent; j1: other jobs are before it in the queue
out| s1[5] solve is unsent: it is in no queue
err| hint: wait; a shorter -t may let it fill a gap
err| hint: hpcjob sweep resume s1 sends it
$ hpcjob cancel s1
err| cancelled s1
$ hpcjob status s1
out| s1 solve  0/6 done, 4 cancelled, 2 unsent
out|   [####################..........]  67%
err|   cancelled hpcjob resubmit s1 --missing
$ hpcjob sweep list
out| ID	NAME	STATE	SITE	CREATED	PARAMETERS
out| s1	solve	0/6 done, 4 cancelled, 2 unsent	cluster	2023-11-14	x
$ hpcjob sweep resume s1
out| s1 solve  0/6 done, 4 cancelled, 2 unsent
out|   [####################..........]  67%
err| s1 was cancelled: what is not sent stays so
err| hint: hpcjob resubmit s1 --missing sends it all the same
err|   cancelled hpcjob resubmit s1 --missing
$ hpcjob wait s1
err| s1 0/6 done, 4 cancelled, 2 unsent
err|   cancelled hpcjob resubmit s1 --missing
exit 1
$ hpcjob resubmit s1 --missing
out| s1
err| s1: 4 points again
err|   jobs    j2-j3 (slurm 2 to 3)
err| warning: 2 points not sent: the queue takes no more jobs of yours now
err| hint: hpcjob wait s1 sends them as the queue empties, and so does hpcjob sweep resume
$ hpcjob show 's1[5]'
out| s1[5] solve: pending
out|   parameters  x=5
out|   job         j2, task 1
out|   time        -
out|   tries       1
out|   folder      ~/work
out|   output      ~/work/out-5.log
out|   why         other jobs are before it in the queue
err| hint: wait; a shorter -t may let it fill a gap
""")


def test_a_point_of_a_pack_that_runs_beside_others_is_not_ended(session: Session) -> None:
    session.run("hpcjob sweep --grid x=1,2,3,4 --pack 4 --workers 2 -- ./solve")
    session.slurm.start("1", 0)
    service = Service()
    (job,) = service.store.jobs_of(1)
    _append(paths.StudyFolder(Path(service.store.study(1).folder)).ends / "n1", f"b {job.tag} 0 1700000000\n")
    session.check(r"""
$ hpcjob cancel 's1[0,3]'
err| cancelled 1 point of s1
err| error: s1[0]: not ended, since what shares its task would end too
exit 4
$ hpcjob cancel 's1[0,3]' --json
out| {"version": 1, "cancelled": [{"study": "s1", "points": []}], "problems": ["s1[0]: not ended, since what shares its task would end too"]}
exit 4
$ hpcjob status 's1[0-3]'
out| POINT	JOB	STATE	EXIT	TIME	TRIES	PARAMETERS
out| s1[0]	j1[0]	running	-	-	1	x=1
out| s1[1]	j1[0]	pending	-	-	1	x=2
out| s1[2]	j1[0]	pending	-	-	1	x=3
out| s1[3]	j1[0]	cancelled	-	-	1	x=4
""")


def test_hold_and_release(session: Session) -> None:
    session.run("hpcjob sweep --grid x=1,2 -- ./solve")
    session.check(r"""
$ hpcjob hold s1
err| held j1
$ hpcjob status s1
out| s1 solve  2 held
out|   [..............................]   0%
$ hpcjob release s1
err| released j1
$ hpcjob status s1
out| s1 solve  2 pending
out|   [..............................]   0%
""")


def test_resubmit(ended: Session) -> None:
    ended.check(r"""
$ hpcjob resubmit s1
err| error: which points of s1 shall run again?
err|
err| hint: hpcjob resubmit s1 --failed, --missing, or 's1[17]'
exit 2
$ hpcjob resubmit s1 --missing
err| error: no point of s1 is missing
err|
err| hint: hpcjob status s1
exit 6
$ hpcjob resubmit s1 --failed --time soon
err| error: 'soon' is not a time
err|
err| hint: write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 (days-hours:minutes:seconds)
exit 2
$ hpcjob resubmit s1 --failed --time 2h
err| error: partition debug allows 01:00:00, and 02:00:00 were asked for
err|
err| hint: -t 01:00:00 is the most there
exit 3
$ hpcjob resubmit s1 --failed --time x2
out| s1
err| s1: 2 points again
err|   jobs    j2 (slurm 2)
$ hpcjob resubmit 's1[2]'
err| error: s1[2] is pending
err|
err| hint: wait for its end, or cancel it: hpcjob cancel 's1[2]'
exit 2
$ hpcjob resubmit 's1[0]'
out| s1
err| s1: 1 point again
err|   jobs    j3 (slurm 3)
$ hpcjob sweep show s1
out| s1 drag  3/6 done, 3 pending
out|   [###############...............]  50%  0.9/min, 3m left
out|   command     ./solve '{re}' '{dt}'
out|   parameters  re dt
out|   seed        0
out|   results     drag=drag=(.*)
out|   site        cluster
out|   workdir     ~/work
out|   files       ~/data/jobs/2023-11-14-drag-000000000001
out| rounds
out|   1  design             points 0-5, j1
out|   2  failed             points 2,5, j2
out|   3  chosen             points 0, j3
$ hpcjob resubmit j1 --failed
err| error: --failed, --missing, --time and --mem are about points of a study
err|
err| hint: name one: hpcjob resubmit s4 --failed; of an array the failed tasks are 'j12[failed]'
exit 2
""")
    script = Path(Service().store.jobs_of(1)[1].folder, "job.sh").read_text()
    assert "#SBATCH --time=00:20:00\n" in script


def test_extend(done: Session) -> None:
    done.check(r"""
$ hpcjob sweep extend s1 --grid x=3,4,5
out| s1
err| s1 has 1 of these points already
err| s1: 2 points more, 5 in all
err|   jobs    j2 (slurm 2)
$ hpcjob sweep extend s1 --grid x=3,4,5
out| s1
err| s1 has 3 of these points already
err| s1: 0 points more, 5 in all
$ hpcjob sweep extend s1 --grid y=1
err| error: s1 has the parameters x, and these points have y
err|
err| hint: give all of the study's parameters, and no others
exit 2
$ hpcjob sweep extend s1
err| error: there are no points
err|
err| hint: add --grid re=100,200,400 (or --table, --lhs, --zip)
exit 2
$ hpcjob status 's1[2-4]'
out| POINT	JOB	STATE	EXIT	TIME	TRIES	PARAMETERS
out| s1[2]	j1[2]	done	-	1:05	1	x=3
out| s1[3]	j2[0]	pending	-	-	1	x=4
out| s1[4]	j2[1]	pending	-	-	1	x=5
""")


def test_a_scheduler_that_does_not_answer(study: Session) -> None:
    study.slurm.down = True
    study.check(r"""
$ hpcjob status s1
out| s1 drag  2/6 done, 1 failed, 3 pending
out|   [###############...............]  50%  2.6/min, 1m left
err| error: squeue: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
$ hpcjob status
out| ID	NAME	STATE	NODES	TIME/LIMIT	SITE	NATIVE	REASON
out| s1	drag	2/6 done, 1 failed, 3 pending	1(1)	-/10:00	cluster	1	Priority
err| error: squeue: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
$ hpcjob sweep list
out| ID	NAME	STATE	SITE	CREATED	PARAMETERS
out| s1	drag	2/6 done, 1 failed, 3 pending	cluster	2023-11-14	re dt
err| error: squeue: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
$ hpcjob sweep resume s1
out| s1 drag  2/6 done, 1 failed, 3 pending
out|   [###############...............]  50%  2.6/min, 1m left
err| error: squeue: Unable to contact slurm controller (connect failure)
err|
err| hint: Slurm's controller is down or busy: nothing was changed; try again in a minute
exit 5
""")


# ------------------------------------------------------------------------------------- beside the verbs


def test_completion_offers_studies(study: Session) -> None:
    assert complete.jobs("s") == ["s1"]
    assert complete.jobs("") == ["j1", "s1", *complete.GROUPS]
    assert complete.jobs("j") == ["j1"]
    assert complete.studies("") == ["last", "s1"]


def test_help_of_the_group(session: Session) -> None:
    session.check(r"""
$ hpcjob sweep
out| Usage: hpcjob sweep [OPTIONS] COMMAND [ARGS]...
out|
out|   Run a job at many points of a space of parameters.
out|
out|   hpcjob sweep --grid re=100,200,400 -- ./solve {re} is short for hpcjob sweep
out|   run ...; its options are told by hpcjob sweep run --help.
out|
out| Options:
out|   -v, --verbose  Show every scheduler command and its time; -vv: its answer
out|                  too.
out|   --color WHEN   auto, always or never; NO_COLOR is heeded.
out|   -h, --help     Show this message and exit.
out|
out| Commands:
out|   run      Run a job at many points of a space of parameters.
out|   list     List studies, the newest last.
out|   show     Show everything about a study.
out|   results  Gather what points left into one table with their parameters.
out|   plot     Draw a result over a parameter, here or as a picture.
out|   summary  Count failures and times by the values of parameters.
out|   extend   Add points to a study.
out|   resume   Send what is not sent yet, and run again what --retry says.
""")


def test_the_python_api_takes_studies(study: Session) -> None:
    (job,) = api.status("s1")
    assert (job.study, job.label) == (1, "j1")
    assert api.logs("s1[2]") == "reading\nno such mesh\n"
    assert api.logs("s1[5]") == ""
    with pytest.raises(UsageError, match="many points"):
        api.logs("s1")
    with pytest.raises(UsageError, match="resubmitted with it"):
        api.resubmit("s1")
    with pytest.raises(WaitTimeoutError, match="3 of 6 points have"):
        api.wait("s1", timeout=10)
    study.meanwhile(lambda: end(study, 3, 4, 5))
    assert [job.state.value for job in api.wait("s1", timeout=100)] == ["failed"]
    assert api.cancel("s1") == {"j1": "it has ended (failed)"}
    assert Service().store.study(1).stopped
