"""Which partitions there are, which one is chosen, and what a person's limits refuse: as whole transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.session import Session

SITE = """\
description: a cluster for tests
detect: {}
scheduler: {kind: slurm, poll_interval: 0}
partitions:
  debug: {default: true, nodes: 4, max_time: 1h, node: {cores: 8, memory: 16G}}
  long: {nodes: 16, max_time: 2d, node: {cores: 8, memory: 16G}}
  a100: {queue: gpu, nodes: 2, max_time: 1d, node: {cores: 8, memory: 16G, gpus: 4}}
  old: {nodes: 1, max_time: 1d, node: {cores: 8}}
defaults: {time: 30m}
gpu: {kind: nvidia}
launcher: {kind: srun}
"""
FREE = """\
debug|up|idle|1|0/8/0/8|gpu:0|(null)|1:00:00|
debug|up|mixed|1|6/2/0/8|gpu:0|(null)|1:00:00|
debug|up|allocated|2|16/0/0/16|gpu:0|(null)|1:00:00|
long|up|allocated|16|128/0/0/128|gpu:0|(null)|2-00:00:00|
gpu|up|mixed|2|8/8/0/16|gpu:a100:3(IDX:0-2)|gpu:a100:4|1-00:00:00|
old|down|idle|1|0/8/0/8|gpu:0|(null)|1-00:00:00|
"""


@pytest.fixture
def session(session: Session) -> Session:
    (session.home / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE)
    session.slurm.free = FREE
    session.slurm.starts = {"debug": 1500.0, "long": 200_000.0}
    return session


@pytest.fixture
def limited(session: Session) -> Session:
    """Two accounts, two QOSs."""
    slurm = session.slurm
    slurm.enforced = "associations,limits,qos"
    slurm.users = "chem|chem||normal,quick|normal||||||\nchem|phys||normal||02:00:00|||||3\n"
    slurm.accounts = "root||||\nchem|root|node=2|\nphys|root||\n".replace("||||", "|||")
    slurm.qos = "normal|||||||||\nquick||00:10:00|||||||\n"
    slurm.partitions = "".join(
        f"PartitionName={name} AllowAccounts={accounts} AllowQos=ALL Default={default} QoS=N/A\n"
        for name, accounts, default in (("debug", "ALL", "YES"), ("long", "phys", "NO"), ("gpu", "ALL", "NO"))
    )
    return session


def test_what_is_free(session: Session) -> None:
    session.check(r"""
$ hpcjob site partitions
out| PARTITION	STATE	IDLE/MIX/ALL	CORES	GPUS	TIME
out| debug*	up	1/1/4	10	-	01:00:00
out| long	up	0/0/16	0	-	2-00:00:00
out| a100	up	0/2/2	8	2/8	1-00:00:00
out| old	down	1/0/1	8	-	1-00:00:00
""")


def test_where_a_job_would_start_first(session: Session) -> None:
    session.check(r"""
$ hpcjob site partitions -N 2
out| PARTITION	STATE	IDLE/MIX/ALL	CORES	GPUS	TIME	START
out| a100	up	0/2/2	8	2/8	1-00:00:00	now
out| debug*	up	1/1/4	10	-	01:00:00	in 25m (22:38)
out| long	up	0/0/16	0	-	2-00:00:00	in 2d (11-17 05:46)
out| old	down	1/0/1	8	-	1-00:00:00	refused: partition old has 1 nodes for one job, and 2 are needed
$ hpcjob site partitions -N 2 -t 2h
out| PARTITION	STATE	IDLE/MIX/ALL	CORES	GPUS	TIME	START
out| a100	up	0/2/2	8	2/8	1-00:00:00	now
out| long	up	0/0/16	0	-	2-00:00:00	in 2d (11-17 05:46)
out| debug*	up	1/1/4	10	-	01:00:00	refused: partition debug allows 01:00:00, and 02:00:00 were asked for
out| old	down	1/0/1	8	-	1-00:00:00	refused: partition old has 1 nodes for one job, and 2 are needed
$ hpcjob site partitions --gpus-per-node 4
out| PARTITION	STATE	IDLE/MIX/ALL	CORES	GPUS	TIME	START
out| a100	up	0/2/2	8	2/8	1-00:00:00	now
out| debug*	up	1/1/4	10	-	01:00:00	refused: partition debug has no GPUs
out| long	up	0/0/16	0	-	2-00:00:00	refused: partition long has no GPUs
out| old	down	1/0/1	8	-	1-00:00:00	refused: partition old has no GPUs
""")
    assert session.slurm.count("sbatch") == len(session.slurm.scripts)
    assert not session.slurm.jobs


@pytest.mark.usefixtures("terminal")
def test_it_fits_a_terminal(session: Session) -> None:
    session.check(r"""
$ hpcjob site partitions
out| PARTITION  STATE  IDLE/MIX/ALL  CORES  GPUS  TIME
out| debug*     up     1/1/4         10     -     01:00:00
out| long       up     0/0/16        0      -     2-00:00:00
out| a100       up     0/2/2         8      2/8   1-00:00:00
out| old        down   1/0/1         8      -     1-00:00:00
$ hpcjob site partitions -N 3 -t 90m
out| PARTITION  STATE  IDLE/MIX/ALL  CORES  GPUS  TIME        START
out| long       up     0/0/16        0      -     2-00:00:00  in 2d (11-17 05:46)
out| debug*     up     1/1/4         10     -     01:00:00    refused
out| a100       up     0/2/2         8      2/8   1-00:00:00  refused
out| old        down   1/0/1         8      -     1-00:00:00  refused
err| debug: partition debug allows 01:00:00, and 01:30:00 were asked for
err| a100: partition a100 has 2 nodes for one job, and 3 are needed
err| old: partition old has 1 nodes for one job, and 3 are needed
""")


def test_auto_takes_the_first(session: Session) -> None:
    session.check(r"""
$ hpcjob submit -p auto -N 2 -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   2 nodes, 16 ranks, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000005/job.sh
err|   follow  hpcjob logs -f j1
err|   queue   a100 (would start now; debug in 25m; long in 2d)
$ hpcjob submit -p auto -N 2 -t 1d -a 0-3 -- ./solve
out| j2
err| j2 solve: submitted to cluster as slurm job 2
err|   shape   2 nodes, 16 ranks, array 0-3, 1-00:00:00
err|   script  ~/data/jobs/2023-11-14-solve-00000000000a/job.sh
err|   follow  hpcjob watch j2
err|   queue   a100 (would start now; long in 2d)
$ hpcjob submit -p auto -N 20 -- ./solve
err| error: no partition of site cluster takes the job: partition debug has 4 nodes for one job, and 20 are needed; partition long has 16 nodes for one job, and 20 are needed; partition a100 has 2 nodes for one job, and 20 are needed; partition old has 1 nodes for one job, and 20 are needed
err|
err| hint: ask for less, or choose one with -p
exit 3
$ hpcjob sweep -p auto --grid x=1,2 -- ./solve
out| s1
err| s1 solve: 2 points, on cluster
err|   jobs    j3 (slurm 3)
err|   points  ~/data/jobs/2023-11-14-solve-00000000000f/points-1.tsv
err|   follow  hpcjob watch s1
""")


def test_auto_in_a_dry_run(session: Session) -> None:
    text = session.run("hpcjob submit -p auto -N 2 --dry-run -- ./solve")
    assert "#SBATCH --partition=gpu\n" in text, "as the scheduler calls it"
    assert "partition a100 (would start now; debug in 25m; long in 2d)" in text
    assert not session.slurm.jobs


def test_auto_in_a_job_file(session: Session) -> None:
    (session.home / "work/job.yaml").write_text("command: [./solve]\npartition: auto\nnodes: 2\n")
    session.check(r"""
$ hpcjob submit job.yaml
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   2 nodes, 16 ranks, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000005/job.sh
err|   follow  hpcjob logs -f j1
err|   queue   a100 (would start now; debug in 25m; long in 2d)
""")


def test_of_equal_starts_the_default_is_taken(session: Session) -> None:
    session.slurm.starts = {"long": 5.0, "debug": 20.0, "gpu": 3000.0}
    assert "queue   debug (would start now; long now; a100 in 50m)" in session.run("hpcjob submit -p auto -- ./solve")


def test_what_the_scheduler_would_not_take(session: Session) -> None:
    session.slurm.starts = dict.fromkeys(("debug", "long", "gpu"), "Requested node configuration is not available")
    session.check(r"""
$ hpcjob submit -p auto -- ./solve
err| error: no partition of site cluster takes the job: partition old is down; Requested node configuration is not available
err|
err| hint: ask for less, or choose one with -p
exit 3
""")


def test_limits_of_the_person(limited: Session) -> None:
    limited.check(r"""
$ hpcjob submit -A chemm -- ./solve
err| error: you are not in account chemm
err|
err| hint: -A: did you mean chem?
exit 3
$ hpcjob submit -q long -- ./solve
err| error: account chem may not use QOS long, which does not exist
err|
err| hint: -q: there are normal, quick
exit 3
$ hpcjob submit -q quick -- ./solve
err| error: QOS quick has MaxWall 00:10:00, and 00:30:00 were asked for
err|
err| hint: -t 00:10:00 is the most there; or -q normal, which takes it
exit 3
$ hpcjob submit -N 3 -- ./solve
err| error: account chem has GrpTRES node=2, and the job needs 3: it would never start
err|
err| hint: ask for less: -N; or -A phys, which takes it
exit 3
$ hpcjob submit -p long -- ./solve
err| error: partition long is closed to account chem (it is for phys)
err|
err| hint: -A phys, or another -p
exit 3
$ hpcjob submit -A phys -p long -t 3h -- ./solve
err| error: account phys has MaxWall 02:00:00, and 03:00:00 were asked for
err|
err| hint: -t 02:00:00 is the most there
exit 3
$ hpcjob submit -A phys -a 0-3 -- ./solve
err| error: account phys has MaxSubmitJobs 3, and the job has 4 tasks
err|
err| hint: send fewer at a time (-a), or a study, which is sent as there is room; or -A chem, which takes it
exit 3
$ hpcjob submit -A phys -p long -N 3 -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   3 nodes, 24 ranks, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000008/job.sh
err|   follow  hpcjob logs -f j1
""")


def test_auto_keeps_to_the_limits(limited: Session) -> None:
    limited.slurm.starts = {"debug": 900.0, "gpu": 9000.0}
    limited.check(r"""
$ hpcjob submit -p auto -A chem -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000005/job.sh
err|   follow  hpcjob logs -f j1
err|   queue   debug (would start in 15m; a100 in 2h)
$ hpcjob submit -p auto -A phys -- ./solve
out| j2
err| j2 solve: submitted to cluster as slurm job 2
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-00000000000a/job.sh
err|   follow  hpcjob logs -f j2
err|   queue   long (would start now; debug in 15m; a100 in 2h)
""")


def test_what_was_true_an_hour_ago_refuses_nothing(limited: Session) -> None:
    assert "you are not in account bio" in limited.run("hpcjob submit -A bio -- ./solve")
    limited.slurm.users += "chem|bio||normal|normal||||||\n"
    limited.slurm.clock.sleep(60)
    assert "submitted" in limited.run("hpcjob submit -A bio -- ./solve")


def test_a_silent_database_keeps_nobody_from_submitting(limited: Session) -> None:
    limited.slurm.accounting_down = True
    assert "submitted" in limited.run("hpcjob submit -A chemm -- ./solve")
    asked = limited.slurm.count("sacctmgr")
    limited.run("hpcjob submit -A chemm -- ./solve")
    assert limited.slurm.count("sacctmgr") == asked, "within a minute it is not asked again"
    limited.slurm.accounting_down = False
    limited.slurm.clock.sleep(100)
    assert "you are not in account chemm" in limited.run("hpcjob submit -A chemm -- ./solve")


def test_on_this_machine_there_is_one_queue(session: Session) -> None:
    text = session.run("hpcjob submit --site local -p auto --dry-run -- true")
    assert "not used (this machine has one queue" in text
    assert "local" in session.run("hpcjob site partitions --site local")
