"""site, template, doctor, completion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Session


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
$ hpcjob site detect
$ hpcjob site show
$ hpcjob site show cluster --origin
$ hpcjob site validate
$ hpcjob site validate cluster
$ hpcjob site validate cluster --json
$ hpcjob site show clutser
$ hpcjob site lst
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
""")


def test_templates(session: Session) -> None:
    folder = session.home / "work/.hpcjobs/templates"
    folder.mkdir()
    (folder / "mine.sh.j2").write_text('{% extends "builtin/slurm.sh.j2" %}\n')
    (folder / "wrong.sh.j2").write_text('echo "{{ plan.name }}"\n')
    session.check(r"""
$ hpcjob template show mine
$ hpcjob template check mine slurm
$ hpcjob template check wrong
$ hpcjob template check wrong --json
$ hpcjob template show nine
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


def test_doctor_rebuilds(session: Session) -> None:
    session.run("hpcjob submit -- ./solve")
    (session.home / "data/jobs.sqlite3").write_text("not a database, for certain; not one at all")
    session.check(r"""
$ hpcjob status
""")
    assert "made anew from 1 job folders" in session.run("hpcjob doctor --rebuild")
    assert "out| j1\tsolve\tpending\t" in session.run("hpcjob status")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(session: Session, shell: str) -> None:
    assert f"_HPCJOB_COMPLETE=complete_{shell}" in session.run(f"hpcjob completion {shell}")


def test_completion_of_another_shell(session: Session) -> None:
    session.check(r"""
$ hpcjob completion csh
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
