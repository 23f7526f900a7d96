"""Services beside real jobs: there before the program, gone after it, whatever ended it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration import images
from tests.integration import person as people
from tests.integration import test_runtimes as runtimes
from tests.integration.person import Done, Person
from tests.integration.test_runtimes import World, output, record, sleeping, until

pytestmark = pytest.mark.integration
made, registries = images.made, images.registries
installed, person, world, site = people.installed, people.person, runtimes.world, runtimes.site

SERVE = 'echo "up on $HOSTNAME as $COLOUR"; trap "echo bye; exit" TERM; touch {ready}; while true; do sleep 0.1; done'


@dataclass(frozen=True)
class Submit:
    """Writes a job file and submits it."""

    person: Person
    site: Path
    image: Path

    def __call__(self, *options: str, code: int | None = 0, **job: Any) -> Done:
        file = self.person.write("job.yaml", json.dumps({"image": str(self.image), "ntasks": 1, **job}))
        return self.person("submit", file, "--site-file", self.site, *options, code=code)

    def log(self, name: str) -> list[str]:
        """The lines of a service's log."""
        return Path(str(record(self.person)["script"])).with_name(f"service-{name}.log").read_text().splitlines()


@pytest.fixture
def submit(person: Person, world: World, site: Path) -> Submit:
    return Submit(person, site, world.images / "app.sif")


def sh(text: str) -> list[str]:
    return ["sh", "-c", text]


def service(name: str, script: str, ready: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": sh(script), **({"ready": sh(ready)} if ready else {}), **more}


def instances(person: Person) -> list[dict[str, Any]]:
    """What Apptainer knows of instances of the person, on all nodes."""
    found = (person.folder / "config/apptainer/instances").rglob("*.json")
    return [{"name": path.stem, **json.loads(path.read_text())} for path in found if path.stat().st_size]


# ---------------------------------------------------------------------------------- with a command


@pytest.mark.parametrize("runtime", ["apptainer", "charliecloud", "podman"])
def test_one_in_the_job(submit: Submit, world: World, runtime: str) -> None:
    image = {"apptainer": "app.sif", "charliecloud": "app.sqfs"}.get(runtime)
    slow = f"sleep 0.5; {SERVE.format(ready='is-ready')}"
    done = submit(
        "--wait", code=1, runtime=runtime, image=str(world.images / image if image else world.folder / "own"),
        services=[service("db", slow, "test -e is-ready", env={"COLOUR": "red 'one'"})],
        command=sh('test -e is-ready && echo "db is on $HPCJOB_SERVICE_DB, ${COLOUR-none}"; exit 3'),
    )  # fmt: skip
    found = record(submit.person)
    assert found["exit_code"] == 3
    (node,) = [line.removeprefix("db is on ").removesuffix(", none") for line in output(submit.person, done)]
    assert node in {"n1", "n2", "n3", "n4"}
    assert submit.log("db") == [f"up on {node} as red 'one'", "bye"]


def test_one_on_each_node(submit: Submit) -> None:
    both = "test -e up.n1 && test -e up.n2"
    done = submit(
        "--wait", "--directive=--nodelist=n1,n2", ntasks=None, nodes=2, ntasks_per_node=1,
        services=[service("web", SERVE.format(ready="up.$(hostname)"), both, per="node", env={"COLOUR": "blue"})],
        command=sh('echo "$(hostname) $HPCJOB_SERVICE_WEB"; ls up.*'),
    )  # fmt: skip
    assert sorted(output(submit.person, done)) == ["n1 n1", "n2 n1", *2 * ["up.n1"], *2 * ["up.n2"]]
    assert sorted(submit.log("web"))[:2] == ["bye", "bye"]


def test_ready_at_last(submit: Submit) -> None:
    """The question is asked until it ends well: here the third time."""
    asked = "echo x >>asked; test $(wc -l <asked) = 3"
    submit("--wait", services=[service("db", "exec sleep 1000", asked)], command=["true"])
    assert (submit.person.folder / "asked").read_text() == "x\n" * 3


def test_one_that_ends_before_it_is_ready(submit: Submit) -> None:
    done = submit("--wait", code=1, services=[service("db", "echo no disk; exit 4", "false")], command=["touch", "ran"])
    assert record(submit.person)["exit_code"] == 69
    assert "service db ended before it was ready" in done.stderr
    assert submit.log("db") == ["no disk"]
    assert not (submit.person.folder / "ran").exists()


def test_of_an_array_each_task_has_its_own(submit: Submit) -> None:
    serve = 'touch "ready.$HPCJOB_ARRAY_INDEX"; echo "up for $HPCJOB_ARRAY_INDEX"; exec sleep 1000'
    submit(
        "--wait", array="1-2", services=[
            service("db", serve, 'test -e "ready.$HPCJOB_ARRAY_INDEX"'),
            {"name": "inst", "image": str(submit.image.with_name("scif.sif"))},
        ],
        command=sh('test -e "ready.$HPCJOB_ARRAY_INDEX"'),
    )  # fmt: skip
    assert [submit.log(f"db.{index}") for index in (1, 2)] == [["up for 1"], ["up for 2"]]
    assert instances(submit.person) == []


# --------------------------------------------------------------------------------------- instances


def test_instances(submit: Submit) -> None:
    """One of the job, and one on each node; both from the start script of their image."""
    scif = str(submit.image.with_name("scif.sif"))
    submit(
        "--directive=--nodelist=n1,n2", ntasks=None, nodes=2, ntasks_per_node=1,
        services=[
            {"name": "inst", "image": scif, "ready": sh("echo $GREETING >greeting")},
            {"name": "each", "image": scif, "per": "node"},
        ],
        command=sh("while test ! -e go; do sleep 0.1; done"),
    )  # fmt: skip
    until(lambda: len(instances(submit.person)) == 3)
    found = instances(submit.person)
    assert sorted(one["name"].partition("_0_")[2] for one in found) == ["each", "each", "inst"]
    pids = [int(one["pid"]) for one in found]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    submit.person.write("go", "")
    submit.person("wait", "last")
    assert (submit.person.folder / "greeting").read_text() == "from-image\n"
    until(lambda: not instances(submit.person))
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert submit.person.run("apptainer", "instance", "list").stdout.splitlines()[1:] == []


# ---------------------------------------------------------------------------------- however it ends


def test_cancelled_in_the_middle(submit: Submit) -> None:
    mark = f"7654{os.getpid()}"
    submit(
        "--directive=--nodelist=n1,n2", ntasks=None, nodes=2, ntasks_per_node=1,
        services=[
            service("job", f"touch up.job; exec sleep {mark}"),
            service("node", f"touch up.$(hostname); exec sleep {mark}", per="node"),
            {"name": "inst", "image": str(submit.image.with_name("scif.sif"))},
        ],
        command=sh("touch up.main; exec sleep 1000"),
    )  # fmt: skip
    until(lambda: len(list(submit.person.folder.glob("up.*"))) == 4)
    assert len(sleeping(mark)) == 3
    pids = [int(one["pid"]) for one in instances(submit.person)]
    assert len(pids) == 1
    submit.person("cancel", "last")
    submit.person("wait", "last", code=1)
    until(lambda: not sleeping(mark))
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


@pytest.mark.parametrize("end", ["itself", "cancel"])
def test_on_this_machine(submit: Submit, person: Person, end: str) -> None:
    mark = f"8765{os.getpid()}"
    local = person.write("local.yaml", "extends: local\nruntimes: [{kind: apptainer}]\n")
    here = Submit(person, local, submit.image)
    here(
        services=[
            service("db", f"touch is-ready; exec sleep {mark}", "test -e is-ready"),
            {"name": "inst", "image": str(submit.image.with_name("scif.sif"))},
        ],
        command=sh('echo "$HPCJOB_SERVICE_DB" >main; while test ! -e go; do sleep 0.1; done; exit 5'),
    )  # fmt: skip
    until((person.folder / "main").exists)
    pids = [int(one["pid"]) for one in instances(person)]
    assert len(sleeping(mark)) == len(pids) == 1
    if end == "cancel":
        person("cancel", "last")
    else:
        person.write("go", "")
    person("wait", "last", code=1)
    assert record(person)["state"] == ("cancelled" if end == "cancel" else "failed")
    assert (person.folder / "main").read_text() == f"{os.uname().nodename}\n"
    until(lambda: not sleeping(mark) and not any(Path(f"/proc/{pid}").exists() for pid in pids))
    until(lambda: not instances(person))
