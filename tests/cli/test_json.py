"""What `--json` prints is what the schemas in docs/reference/json say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from hpcjobs import process
from hpcjobs.cli.schemas import OUTPUTS
from hpcjobs.images import registry
from hpcjobs.process import Completed
from tests.unit.test_image_service import Hub
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cli.session import Session

SCHEMAS = Path(__file__).parents[2] / "docs/reference/json"

# Every output, in a home with one job that is done, a failed array and a job that waits.
LINES = [
    "submit -- ./solve",
    "submit -N 9 -- ./solve",
    "resubmit j1",
    "translate job.sh --to pbs",
    "translate job.sh --to slurm",
    "resubmit j99",
    "status",
    "status j99",
    "history",
    "wait j1",
    "wait j3 --timeout 1",
    "show j1 j2 j3",
    "render -N 2 -- ./solve",
    "explain j1 j2 j3",
    "cancel j1 j3",
    "hold j3",
    "release j3",
    "requeue j3",
    "doctor",
    "site list",
    "site detect",
    "site show",
    "site validate cluster",
    "site validate nothing",
    "image inspect app",
    "image inspect nothing",
    "image pull oras://ghcr.io/a/app:1",
    "image pull app",
    "image convert app app.sqfs",
    "image convert app app.gz",
    "image verify app.sif",
    "image verify app",
    "image sign app.sif",
    "image sign app",
    "image list",
    "image prune --older-than 1d",
    "mpi host",
    "mpi host --check",
    "mpi host --on-node",
    "mpi image app",
    "mpi plan -n 2 --image app -- /bin/solve",
    "template list",
    "template check",
]
GROUPS = ("image", "mpi", "site", "template")


@pytest.fixture
def jobs(session: Session) -> Session:
    (session.home / "work/job.sh").write_text("#!/bin/sh\n#SBATCH --qos=high\nsrun ./solve\n")
    for more in ("", "-a 0-1", ""):
        session.run(f"hpcjob submit {more} -- ./solve")
    session.finish("1")
    session.finish("2", index=0)
    session.finish("2", 1, index=1, error="oops\n")
    (session.home / "work/app/bin").mkdir(parents=True)
    images = session.home / "data/images"
    images.mkdir()
    for name in ("a.sif", "b.sqfs"):
        (images / name).write_bytes(b"x")
        notes = {"source": "docker://a", "digest": "sha256:12", "pulled": 1, "by": "ada"}
        (images / f"{name}.json").write_text(json.dumps(notes))
        os.utime(images / name, (1, 1))
    return session


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with one SIF file."""
    hub = Hub()
    hub.sif()
    monkeypatch.setattr(registry, "Registry", hub)
    monkeypatch.setattr(registry, "credentials", lambda *_, **__: None)


@pytest.fixture(autouse=True)
def tools(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools that make images, and find them signed; and an image file."""
    (session.home / "bin").mkdir()
    for name in ("apptainer", "mksquashfs"):
        (session.home / "bin" / name).write_text("#!/bin/sh\n")
        (session.home / "bin" / name).chmod(0o755)
    (session.home / "work/app.sif").write_bytes(sif(b"02"))
    monkeypatch.setenv("PATH", str(session.home / "bin"))

    def run(argv: Sequence[str], **more: Any) -> Completed:
        name = Path(argv[0]).name
        if name == "mksquashfs":
            Path(argv[2]).write_bytes(b"hsqs")
        elif name != "apptainer":
            return session.slurm(argv, **more)
        return Completed(tuple(argv), 0, "signed by Ada\n", "")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(process, "foreground", lambda _: 0)


def _answer(session: Session, line: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the line prints, and the schema of that."""
    head, dashes, command = line.partition(" -- ")
    text = session.run(f"hpcjob {head} --json{dashes}{command}")
    printed = [each.removeprefix("out| ") for each in text.splitlines() if each.startswith("out| ")]
    words = line.split()
    output = "-".join(words[: 1 + (words[0] in GROUPS)])
    assert len(printed) == 1, "exactly one value"
    assert "err| " not in text
    return json.loads(printed[0]), json.loads((SCHEMAS / f"{output}.schema.json").read_text("utf-8"))


@pytest.mark.parametrize("line", LINES)
def test_the_output_is_as_its_schema_says(jobs: Session, line: str) -> None:
    answer, schema = _answer(jobs, line)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(answer)


@pytest.mark.parametrize("line", ["status", "show j3", "cancel j3", "explain j3", "submit -- ./solve"])
def test_a_scheduler_that_does_not_answer(jobs: Session, line: str) -> None:
    jobs.slurm.down = True
    answer, schema = _answer(jobs, line)
    jsonschema.Draft202012Validator(schema).validate(answer)
    assert answer["error"]["code"] == 5


def test_every_output_is_looked_at() -> None:
    assert {"-".join(line.split()[: 1 + line.startswith(GROUPS)]) for line in LINES} == set(OUTPUTS)
