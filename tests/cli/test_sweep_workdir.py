from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.session import Session

_SWEEP = "hpcjob sweep --grid x=1,2 -- sh {workdir}/run.sh {x}"


def _script(session: Session) -> str:
    (file,) = session.home.glob("data/jobs/*/point-1.sh")
    return file.read_text("utf-8")


def test_workdir_stands_for_the_folder_of_the_submission(session: Session) -> None:
    session.run(_SWEEP)
    assert f"sh {session.home}/work/run.sh " in _script(session)


def test_workdir_stands_for_the_default_of_the_site(session: Session) -> None:
    elsewhere = session.home / "elsewhere"
    elsewhere.mkdir()
    site = session.home / "work/.hpcjobs/sites/cluster.yaml"
    site.write_text(site.read_text("utf-8").replace("{time: 30m}", f"{{time: 30m, workdir: {elsewhere}}}"), "utf-8")
    session.run(_SWEEP)
    assert f"sh {elsewhere}/run.sh " in _script(session)
