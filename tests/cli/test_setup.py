"""site, template, doctor, completion."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import process, survey
from hpcjobs.process import Completed
from hpcjobs.site import Machine

if TYPE_CHECKING:
    from tests.cli.session import Session


@pytest.fixture(autouse=True)
def only_own_sites(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the built-in sites and templates, which have tests of their own."""
    from hpcjobs import paths

    folders = [("project", session.home / "work/.hpcjobs/sites"), ("user", session.home / "config/hpcjobs/sites")]
    monkeypatch.delenv("HPCJOBS_SITE")
    monkeypatch.setattr(paths, "site_folders", lambda: folders)
    # No scheduler but those that a test puts here.
    (session.home / "bin").mkdir()
    monkeypatch.setenv("PATH", str(session.home / "bin"))


def test_sites(session: Session) -> None:
    user = session.home / "config/hpcjobs/sites"
    user.mkdir(parents=True)
    (user / "cluster.yaml").write_text("description: shadowed\n")
    (user / "broken.yaml").write_text("description: [\n")
    session.check(r"""
$ hpcjob site list
out| NAME	ORIGIN	DESCRIPTION
out| cluster	project	a cluster for tests
out| broken	user	/home/config/hpcjobs/sites/broken.yaml:2: while parsing a flow node, did not find expected node content
out| cluster	user, shadowed	shadowed
$ hpcjob site detect
out| NAME	MATCHES	WHY
out| cluster	yes	fits everywhere
out| broken	no	/home/config/hpcjobs/sites/broken.yaml:2: while parsing a flow node, did not find expected node content
err| cluster is used (detected: fits everywhere)
$ hpcjob site show
out| # /home/work/.hpcjobs/sites/cluster.yaml
out| name: cluster
out| description: a cluster for tests
out| detect: {}
out| scheduler:
out|   kind: slurm
out|   poll_interval: 0.0
out| partitions:
out|   debug:
out|     default: true
out|     max_time: 01:00:00
out|     nodes: 4
out|     node:
out|       cores: 8
out|       memory: 16G
out| defaults:
out|   time: 00:30:00
out| launcher:
out|   kind: srun
$ hpcjob site show cluster --origin
out| VALUE OF	IS	SET BY
out| description	"a cluster for tests"	/home/work/.hpcjobs/sites/cluster.yaml:1 (project)
out| scheduler.kind	"slurm"	/home/work/.hpcjobs/sites/cluster.yaml:3 (project)
out| scheduler.poll_interval	0.0	/home/work/.hpcjobs/sites/cluster.yaml:3 (project)
out| partitions.debug.default	true	/home/work/.hpcjobs/sites/cluster.yaml:5 (project)
out| partitions.debug.max_time	"01:00:00"	/home/work/.hpcjobs/sites/cluster.yaml:5 (project)
out| partitions.debug.nodes	4	/home/work/.hpcjobs/sites/cluster.yaml:5 (project)
out| partitions.debug.node.cores	8	/home/work/.hpcjobs/sites/cluster.yaml:5 (project)
out| partitions.debug.node.memory	"16G"	/home/work/.hpcjobs/sites/cluster.yaml:5 (project)
out| defaults.time	"00:30:00"	/home/work/.hpcjobs/sites/cluster.yaml:6 (project)
out| launcher.kind	"srun"	/home/work/.hpcjobs/sites/cluster.yaml:7 (project)
$ hpcjob site validate
out| advice: /home/work/.hpcjobs/sites/cluster.yaml: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
out| error: /home/config/hpcjobs/sites/broken.yaml:2: while parsing a flow node, did not find expected node content
out|     hint: check indentation, colons and quotes on this line and the one before
out| advice: /home/config/hpcjobs/sites/cluster.yaml: detect: not detected
out|     hint: tell how to recognise the machine, or people must type --site
out| advice: /home/config/hpcjobs/sites/cluster.yaml: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
err| /home/work/.hpcjobs/sites/cluster.yaml was not compared with a scheduler: sbatch is not here
err| /home/config/hpcjobs/sites/cluster.yaml was not compared with a scheduler: local tells no limits
exit 1
$ hpcjob site validate cluster
out| advice: /home/work/.hpcjobs/sites/cluster.yaml: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
err| cluster was not compared with a scheduler: sbatch is not here
$ hpcjob site validate cluster --json
out| {"version": 1, "checked": ["cluster"], "compared": [], "problems": [{"level": "advice", "path": "runtimes", "message": "no container runtime", "hint": "list what is installed, the preferred first", "file": "/home/work/.hpcjobs/sites/cluster.yaml", "line": null}]}
$ hpcjob site show clutser
err| error: there is no site 'clutser'
err|
err| hint: did you mean cluster? (see them with: hpcjob site list)
exit 6
$ hpcjob site lst
err| error: hpcjob site has no command 'lst'
err|
err| hint: did you mean list?
exit 2
""")


def put(session: Session, program: str) -> None:
    """A program that is on PATH from now on."""
    (session.home / "bin" / program).write_text("#!/bin/sh\n")
    (session.home / "bin" / program).chmod(0o755)


def test_validate_compares_a_file_with_its_scheduler(session: Session) -> None:
    put(session, "sbatch")
    session.slurm.nodes = "debug*|4|1:8:2|16|16384|(null)|(null)|n[1-4]\n"
    file = session.home / "work/.hpcjobs/sites/cluster.yaml"
    text = file.read_text().replace("launcher:", "runtimes: [{kind: apptainer}]\nlauncher:")
    file.write_text(text.replace("detect: {}", "detect: {command: sbatch}"))
    changed = text.replace("max_time: 1h", "max_time: 2h").replace("cores: 8", "cores: 4")
    (session.home / "work/changed.yaml").write_text(changed)
    (session.home / "work/other.yaml").write_text(text.replace("detect: {}", r"detect: {hostname: 'login\d+\.x'}"))
    (session.home / "work/local.yaml").write_text("description: x\ndetect: {}\nruntimes: [{kind: apptainer}]\n")
    (session.home / "work/gone.yaml").write_text(text + "retired: since 2024; aurora came after it\n")
    session.monkeypatch.setattr("hpcjobs.site.HERE", Machine(hostname="node.y"))
    session.check(r"""
$ hpcjob site validate cluster
err| nothing is wrong with cluster
err| cluster was compared with the scheduler
$ hpcjob site validate --offline cluster
err| nothing is wrong with cluster
$ hpcjob site validate cluster --offline --json
out| {"version": 1, "checked": ["cluster"], "compared": [], "problems": []}
$ hpcjob site validate changed.yaml
out| error: /home/work/changed.yaml:5: partitions.debug.max_time: the file says 02:00:00, and the scheduler 01:00:00
out|     hint: write 01:00:00
out| advice: /home/work/changed.yaml:5: partitions.debug.node.cores: the file says 4, and the scheduler 8
out|     hint: write 8, unless it is meant to be less
err| changed.yaml was compared with the scheduler
exit 1
$ hpcjob site validate changed.yaml --offline
err| nothing is wrong with changed.yaml
$ hpcjob site validate other.yaml local.yaml gone.yaml
err| nothing is wrong with other.yaml local.yaml gone.yaml
err| other.yaml was not compared with a scheduler: this machine is not other: the host name node.y does not fit login\d+\.x
err| local.yaml was not compared with a scheduler: local tells no limits
err| gone.yaml was not compared with a scheduler: it is retired since 2024; aurora came after it
$ hpcjob site validate cluster other.yaml --json
out| {"version": 1, "checked": ["cluster", "other.yaml"], "compared": ["cluster"], "problems": []}
""")


def test_validate_tells_that_a_scheduler_does_not_answer(session: Session) -> None:
    put(session, "sbatch")
    session.slurm.down = True
    session.check(r"""
$ hpcjob site validate cluster
out| advice: /home/work/.hpcjobs/sites/cluster.yaml: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
err| cluster was not compared with a scheduler: scontrol: Unable to contact slurm controller (connect failure)
""")


def test_init_without_a_scheduler(session: Session) -> None:
    session.check(r"""
$ hpcjob site init
err| error: there is no scheduler here: neither sbatch (Slurm) nor qselect (PBS) is on PATH
err|
err| hint: run this on a login node; on a machine without one, the site `local` serves
exit 6
$ hpcjob site init mine --json
out| {"version": 1, "error": {"message": "there is no scheduler here: neither sbatch (Slurm) nor qselect (PBS) is on PATH", "hint": "run this on a login node; on a machine without one, the site `local` serves", "code": 6}}
exit 6
$ hpcjob site init -o - --json
out| {"version": 1, "error": {"message": "-o - and --json both print to the terminal", "hint": "leave out one, or give a file: -o FILE", "code": 2}}
exit 2
$ hpcjob site init a/b
err| error: 'a/b' cannot be the name of a site
err|
err| hint: write letters, digits, _, . and -; or -o FILE
exit 2
$ hpcjob site init _shared
err| error: '_shared' cannot be the name of a site
err|
err| hint: write letters, digits, _, . and -; or -o FILE
exit 2
""")
    assert not (session.home / "config").exists()


@pytest.fixture
def slurm(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A cluster that nobody described, with nothing but Slurm."""
    put(session, "sbatch")
    session.slurm.nodes = "debug*|4|1:8:2|16|16384|gpu:mi250x:8|(null)|n[1-4]\n"
    session.slurm.enforced = "associations,limits,qos"
    session.slurm.users = "ab12|ab12||normal|||||||\n"
    session.slurm.starts = {"debug": 60.0}
    monkeypatch.setattr("hpcjobs.site.HERE", Machine(hostname="login1.x", read=lambda _: ""))
    monkeypatch.setattr(survey, "_mounts", lambda: "server:/work /work nfs4 rw 0 0\n")
    monkeypatch.setattr(survey, "_mpi", lambda *_: (None, "the MPI of this machine: nobody looked"))
    monkeypatch.setattr(survey, "datetime", SimpleNamespace(now=lambda _: datetime(2026, 11, 22, tzinfo=timezone.utc)))
    return session


def test_init(slurm: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpcjobs import paths

    folders = [*paths.site_folders(), ("built-in", paths.packaged("sites"))]
    monkeypatch.setattr(paths, "site_folders", lambda: folders)
    slurm.check(r"""
$ hpcjob site init -o -
out| # fake, as hpcjob saw it on 2026-11-22 from login1.x. Look through it: comments say where a
out| # value comes from and what is open. `hpcjob site validate` compares it with the scheduler at any time.
out| # Not learnt: the MPI of this machine: nobody looked
out| extends: slurm
out| description: fake (Slurm 22.05.8)
out| checked: 2026-11-22
out|
out| detect: {hostname: "login\\d+\\.x"}
out|
out| scheduler:
out|   limits: site   # those below; `ask` lets each user's hpcjob ask the scheduler, once an hour
out|   accounting: false   # the scheduler keeps no history
out|
out| # Accounts of the person who made this file: ab12.
out| # require: [account]   # if people should always say which account pays
out|
out| partitions:
out|   debug:
out|     default: true
out|     max_time: 01:00:00
out|     nodes: 4
out|     node: {cores: 8, threads: 2, memory: 16G, gpus: 8, gpu_type: mi250x, gpu_cores: 1}
out|
out| gpu:
out|   kind: amd   # as the scheduler calls them mi250x
out|   request: gpus-per-node   # the scheduler took it
out|
out| launcher: {kind: srun}
out|
out| # No container runtime was found on this node; the compute nodes may have one.
out| runtimes: []
out|
out| # hpcjob looks at it when the first MPI job is submitted; `hpcjob mpi host --on-node` looks at a compute node,
out| # once for all users.
out|
out| # File systems of the network, which containers should see:
out| #   /work (nfs4)
out| bind: [/work]
err| asking slurm
err| looking at the MPI of this machine
$ hpcjob site init
out| /home/config/hpcjobs/sites/fake.yaml
err| asking slurm
err| looking at the MPI of this machine
err| warning: not learnt: the MPI of this machine: nobody looked
err| hint: look through it, then: hpcjob site validate ~/config/hpcjobs/sites/fake.yaml
$ hpcjob site init
err| asking slurm
err| looking at the MPI of this machine
err| error: there is a file /home/config/hpcjobs/sites/fake.yaml
err|
err| hint: --force overwrites it; -o FILE writes another
exit 2
$ hpcjob site validate fake
out| advice: /home/config/hpcjobs/sites/fake.yaml:31: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
err| fake was compared with the scheduler
$ hpcjob site init fake
err| error: there is a file /home/config/hpcjobs/sites/fake.yaml
err|
err| hint: --force overwrites it; -o FILE writes another
exit 2
$ hpcjob site init --force --json
out| {"version": 1, "name": "fake", "file": "/home/config/hpcjobs/sites/fake.yaml", "unanswered": ["the MPI of this machine: nobody looked"]}
$ hpcjob site init mine -o folder/new.yaml
out| /home/work/folder/new.yaml
err| asking slurm
err| looking at the MPI of this machine
err| warning: not learnt: the MPI of this machine: nobody looked
err| hint: look through it, then: hpcjob site validate ~/work/folder/new.yaml
""")
    (written,) = (slurm.home / "config/hpcjobs/sites").iterdir()
    assert written.name == "fake.yaml"


def test_nothing_is_asked_before_it_is_known_that_the_file_can_be_written(slurm: Session) -> None:
    (slurm.home / "work/there.yaml").write_text("mine\n")
    (slurm.home / "work/file").write_text("mine\n")
    slurm.check(r"""
$ hpcjob site init -o there.yaml
err| error: there is a file /home/work/there.yaml
err|
err| hint: --force overwrites it; -o FILE writes another
exit 2
""")
    assert slurm.slurm.calls == []
    assert (slurm.home / "work/there.yaml").read_text() == "mine\n"
    assert "file/new.yaml cannot be written: " in slurm.run("hpcjob site init -o file/new.yaml")


def test_a_kind_that_is_not_installed_is_found_by_validate(session: Session) -> None:
    file = session.home / "work/odd.yaml"
    file.write_text("scheduler: {kind: slrum}\n")
    session.check(r"""
$ hpcjob site validate odd.yaml
out| error: /home/work/odd.yaml:1: scheduler.kind: 'slrum' is not known
out|     hint: did you mean slurm?
out| advice: /home/work/odd.yaml: description: no description
out|     hint: one line for `hpcjob site list`
out| advice: /home/work/odd.yaml: detect: not detected
out|     hint: tell how to recognise the machine, or people must type --site
out| advice: /home/work/odd.yaml: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
exit 1
""")


def test_site_json(session: Session) -> None:
    assert json.loads(session.run("hpcjob site list --json").partition("out| ")[2])["sites"][0]["name"] == "cluster"
    shown = json.loads(session.run("hpcjob site show --json").partition("out| ")[2])
    assert {
        "path": "launcher.kind",
        "value": "srun",
        "origin": "/home/work/.hpcjobs/sites/cluster.yaml:7 (project)",
        "verified": True,
    } in shown["settings"]


@pytest.mark.parametrize("kind", ["site", "job"])
def test_site_schema(session: Session, kind: str) -> None:
    text = session.run(f"hpcjob site schema {kind}")
    schema = json.loads(text.partition("\n")[2].replace("out| ", ""))
    assert schema["additionalProperties"] is False


def test_site_schema_of_nothing(session: Session) -> None:
    session.check(r"""
$ hpcjob site schema jbo
err| error: there is no schema 'jbo'
err|
err| hint: did you mean job?
exit 2
""")


def test_templates(session: Session) -> None:
    folder = session.home / "work/.hpcjobs/templates"
    folder.mkdir()
    (folder / "mine.sh.j2").write_text('{% extends "builtin/slurm.sh.j2" %}\n')
    (folder / "wrong.sh.j2").write_text('echo "{{ plan.name }}"\n')
    session.check(r"""
$ hpcjob template show mine
out| {% extends "builtin/slurm.sh.j2" %}
$ hpcjob template check mine slurm
err| nothing is wrong with 2 templates
$ hpcjob template check wrong
out| /home/work/.hpcjobs/templates/wrong.sh.j2:1: a value between " and "
exit 1
$ hpcjob template check wrong --json
out| {"version": 1, "checked": ["/home/work/.hpcjobs/templates/wrong.sh.j2"], "problems": ["/home/work/.hpcjobs/templates/wrong.sh.j2:1: a value between \" and \""]}
exit 1
$ hpcjob template show nine
err| error: there is no template 'nine'
err|
err| hint: did you mean mine?
exit 6
""")
    assert "out| mine\tproject\t/home/work/.hpcjobs/templates/mine.sh.j2\n" in session.run("hpcjob template list")
    assert '{"name": "mine", "origin": "project", ' in session.run("hpcjob template list --json")


def test_doctor_finds_errors(session: Session) -> None:
    session.slurm.down = True
    text = session.run("hpcjob doctor")
    assert "out| ok       database     /home/data/jobs.sqlite3, 0 active jobs\n" in text
    assert "out| error    scheduler    " in text
    assert text.endswith("exit 1\n")
    assert '"findings": [{"level": "ok", "subject": "database"' in session.run("hpcjob doctor --json")


def test_a_library_that_does_not_load_is_told_of(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    file = session.home / "work/.hpcjobs/sites/cluster.yaml"
    file.write_text(file.read_text().replace("kind: slurm", "kind: slurm, driver: api"))
    why = "pyslurm does not load: ModuleNotFoundError: No module named 'pyslurm'"

    def run(argv: Sequence[str], **more: Any) -> Completed:
        if argv[0] == sys.executable:
            return Completed(tuple(argv), 1, "", f"the library is not used: {why}\n")
        return session.slurm(argv, **more)

    monkeypatch.setattr(process, "run", run)
    text = session.run("hpcjob doctor")
    assert "out| ok       scheduler    slurm 22.05.8 ClusterName fake, MaxArraySize 100001, driver commands\n" in text
    assert f"out| warning  scheduler    the commands are used: {why}\n" in text
    assert f"err|   driver    commands ({why})\n" in session.run("hpcjob submit --dry-run -- true")
    session.run("hpcjob submit --hold -- true")
    assert f"out|   driver    commands ({why})\n" in session.run("hpcjob show j1")
    assert session.run("hpcjob status").startswith("$ hpcjob status\nout| ID\t")


def test_doctor_rebuilds(session: Session) -> None:
    session.run("hpcjob submit -- ./solve")
    (session.home / "data/jobs.sqlite3").write_text("not a database, for certain; not one at all")
    session.check(r"""
$ hpcjob status
err| error: /home/data/jobs.sqlite3: file is not a database
err|
err| hint: hpcjob doctor --rebuild puts it aside and makes a new one from the job folders; no job is lost
exit 7
""")
    assert "made anew from 1 job folders" in session.run("hpcjob doctor --rebuild")
    assert "out| j1\tsolve\tpending\t" in session.run("hpcjob status")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(session: Session, shell: str) -> None:
    assert f"_HPCJOB_COMPLETE=complete_{shell}" in session.run(f"hpcjob completion {shell}")


def test_completion_of_another_shell(session: Session) -> None:
    session.check(r"""
$ hpcjob completion csh
err| error: there is no completion for 'csh'
err|
err| hint: did you mean zsh?
exit 2
""")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("hpcjob st", ["status"]),
        ("hpcjob status ", ["j2", "j1", "last", "active", "failed", "all"]),
        ("hpcjob cancel j", ["j2", "j1"]),
        ("hpcjob submit --site cl", ["cluster"]),
        ("hpcjob submit --site=cl", ["cluster"]),
        ("hpcjob submit --nt", ["--ntasks", "--ntasks-per-node"]),
        ("hpcjob site sh", ["show"]),
        ("hpcjob site show ", ["cluster"]),
        ("hpcjob completion ", ["bash", "zsh", "fish"]),
    ],
)
def test_the_shell_completes(
    session: Session, words: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        session.run("hpcjob submit -- ./solve")
    monkeypatch.setenv("_HPCJOB_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    assert session.run("hpcjob") == "$ hpcjob\n" + "".join(f"out| {word}\n" for word in expected)
