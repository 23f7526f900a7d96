"""What PBS tells of limits and of what is free: from recordings, and from the attributes that its manual lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpcjobs import limits
from hpcjobs.errors import PlanError
from hpcjobs.limits import Access, Caps, Rules
from hpcjobs.model import Shape
from hpcjobs.process import Completed
from hpcjobs.schedulers import Forecast, Free
from hpcjobs.schedulers.pbs_limits import Person, parse_free, parse_rules
from hpcjobs.units import Duration
from tests.pbs_answers import Script, as_dsv, pbs
from tests.unit.test_limits import PLAN

PAT = Person("pat", ("users",))
NOTHING = Caps()


def rules(queue: dict[str, str], server: dict[str, str] | None = None, person: Person = PAT) -> Rules:
    return parse_rules({"work": queue}, server or {}, person, default="work")


def script() -> Script:
    """The recorded server."""
    return Script(
        qstat=Completed(("qstat",), 0, as_dsv("qstat_Q_json", "Queue", "Queue: "), ""),
        pbsnodes=Completed(("pbsnodes",), 0, as_dsv("pbsnodes_json", "nodes", "Name="), ""),
    )


def test_queues_of_a_real_server() -> None:
    found = pbs(script()).rules()
    assert set(found.partitions) == {"workq", "shortq", "stoppedq", "disabledq", "aclq", "routeq"}
    assert found.partitions["workq"] == Access()
    assert found.partitions["shortq"].caps == Caps(time=3600)
    assert found.partitions["aclq"].users == ("quinn",)
    assert found.enforced == ("limits",)


def test_what_is_free_on_a_real_server() -> None:
    free = pbs(script()).free()
    assert set(free) == {"workq", "shortq", "stoppedq", "aclq", "routeq"}, "but the disabled one"
    assert free["workq"] == Free("up", 3, 3, 0, 12, 2, 2, 0)
    assert free["shortq"].max_time == 3600
    assert free["stoppedq"].state == "stopped"
    assert pbs(script()).forecast("") == Forecast(why="PBS does not say")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, NOTHING),
        ({"resources_max.walltime": "24:00:00"}, Caps(time=86400)),
        (
            {"resources_max.ncpus": "64", "resources_max.nodect": "4", "resources_max.mem": "512gb", "resources_max.ngpus": "8"},
            Caps(job={"cpu": 64, "node": 4, "mem": 512 << 30, "gres/gpu": 8}),
        ),
        ({"resources_min.nodect": "2", "resources_min.ncpus": "x"}, Caps(least={"node": 2})),
        ({"max_run_res.ncpus": "[u:PBS_GENERIC=8]"}, Caps(user={"cpu": 8})),
        ({"max_run_res.ncpus": "[u:PBS_GENERIC=8], [u:pat=16]"}, Caps(user={"cpu": 16})),
        ({"max_run_res.ncpus": "[u:quinn=16]"}, NOTHING),
        ({"max_run_res.mem": "[o:PBS_ALL=64gb]"}, Caps(group={"mem": 64 << 30})),
        ({"max_queued": "[u:PBS_GENERIC=2],[o:PBS_ALL=100]"}, Caps(tasks=2, group_tasks=100)),
        ({"max_user_queuable": "5"}, Caps(tasks=5)),  # TORQUE
        ({"max_run": "[u:PBS_GENERIC=2]"}, NOTHING),  # of jobs at once: they wait for each other
    ],
)  # fmt: skip
def test_limits_of_queues(settings: dict[str, str], expected: Caps) -> None:
    assert rules(settings).partitions["work"].caps == expected


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({"acl_users": "quinn"}, ""),  # not enabled
        ({"acl_user_enable": "True", "acl_users": "quinn,ada"}, "queue work is for quinn, ada, and not for you"),
        ({"acl_user_enable": "True", "acl_users": "quinn,pat@*"}, ""),
        ({"acl_user_enable": "True", "acl_users": "+pat,-quinn"}, ""),
        ({"acl_group_enable": "True", "acl_groups": "chem"}, "queue work is for the groups chem, and you are in none"),
        ({"acl_group_enable": "True", "acl_groups": "chem,users"}, ""),
        ({"from_route_only": "True"}, "queue work takes no jobs from you: it is filled by routing queues alone"),
        ({"resources_max.walltime": "00:10:00"}, "queue work has resources_max.walltime 00:10:00, and 00:20:00 were asked for"),
        ({"resources_max.ncpus": "2"}, "queue work has resources_max ncpus=2, and the job needs 4: it would never start"),
        ({"resources_max.nodect": "1"}, "queue work has resources_max nodect=1, and the job needs 2: it would never start"),
        ({"resources_min.nodect": "3"}, "queue work has resources_min nodect=3, and the job asks for 2"),
        ({"max_run_res.ncpus": "[u:PBS_GENERIC=3]"}, "queue work has max_run_res ncpus=3, and the job needs 4: it would never start"),
        ({"max_queued": "[u:PBS_GENERIC=0]"}, "queue work has max_queued 0, and the job has 1 task"),
    ],
)  # fmt: skip
def test_what_pbs_would_refuse_or_never_start(settings: dict[str, str], refused: str) -> None:
    job = replace(PLAN, shape=Shape(2, 4, 2), time=Duration(1200), scheduler="pbs")
    if not refused:
        limits.check(job, rules(settings))
        return
    with pytest.raises(PlanError) as caught:
        limits.check(job, rules(settings))
    assert caught.value.message == refused


def test_the_servers_limits_hold_in_all_queues_but_where_the_queue_has_its_own() -> None:
    job = replace(PLAN, time=Duration(1200))
    server = {"resources_max.walltime": "00:10:00"}
    with pytest.raises(PlanError, match=r"the server has resources_max.walltime 00:10:00"):
        limits.check(job, rules({}, server))
    limits.check(job, rules({"resources_max.walltime": "01:00:00"}, server))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"state": "free", "resources_available.ncpus": "4"}, (1, 0, 4)),
        ({"state": "free", "resources_available.ncpus": "4", "resources_assigned.ncpus": "1"}, (0, 1, 3)),
        ({"state": "job-exclusive", "resources_available.ncpus": "4"}, (0, 0, 0)),
        ({"state": "down,offline", "resources_available.ncpus": "4"}, (0, 0, 0)),
        ({"state": "free", "np": "4"}, (1, 0, 4)),
        ({"state": "free", "np": "4", "jobs": "0/12.thead, 2-3/13.thead"}, (0, 1, 1)),
        ({"state": "free", "np": "2", "status": "slurmstate=alloc,ncpus=2"}, (0, 0, 0)),
        ({"state": "free", "np": "2", "status": "slurmstate=idle,ncpus=2"}, (1, 0, 2)),
        ({"state": "free", "np": "2", "queue": "other"}, (0, 0, None)),
    ],
)
def test_nodes(node: dict[str, str], expected: tuple[int, int, int | None]) -> None:
    free = parse_free({"work": {}}, {"n1": node})["work"]
    assert (free.idle, free.mixed, free.cores) == expected


def test_a_server_that_does_not_answer_keeps_nobody_from_submitting() -> None:
    silent = Completed(
        ("qstat",), 255, "", "Connection refused\nqstat: cannot connect to server pbshead (errno=15010)\n"
    )
    found = pbs(Script(qstat=silent)).rules()
    assert found.unknown
    assert not found.enforced
