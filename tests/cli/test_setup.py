"""site, template, doctor, completion."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import process
from hpcjobs.process import Completed

if TYPE_CHECKING:
    from tests.cli.session import Session


@pytest.fixture(autouse=True)
def only_own_sites(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the built-in sites and templates, which have tests of their own."""
    from hpcjobs import paths

    folders = [("project", session.home / "work/.hpcjobs/sites"), ("user", session.home / "config/hpcjobs/sites")]
    monkeypatch.delenv("HPCJOBS_SITE")
    monkeypatch.setattr(paths, "site_folders", lambda: folders)


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
exit 1
$ hpcjob site validate cluster
out| advice: /home/work/.hpcjobs/sites/cluster.yaml: runtimes: no container runtime
out|     hint: list what is installed, the preferred first
$ hpcjob site validate cluster --json
out| {"version": 1, "checked": ["cluster"], "problems": [{"level": "advice", "path": "runtimes", "message": "no container runtime", "hint": "list what is installed, the preferred first", "file": "/home/work/.hpcjobs/sites/cluster.yaml", "line": null}]}
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
