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
from hpcjobs.paths import StudyFolder
from hpcjobs.process import Completed
from hpcjobs.service import Service
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
    "site partitions",
    "site partitions -N 2",
    "site partitions -N 9",
    "site init",
    "site init -o -",
    "site init -o job.sh",
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
    "wrap app.sif --command solve",
    "module app --command solve",
    "kernel install app --name App",
    "kernel list",
    "kernel check",
    "kernel remove mine",
    "jupyter --no-wait --image app",
    "serve --no-wait -- ./app",
    "serve --dry-run -- ./app",
    "serve --job j3",
    "mpi host",
    "mpi host --check",
    "mpi host --on-node",
    "mpi image app",
    "mpi plan -n 2 --image app -- /bin/solve",
    "template list",
    "template check",
]
# The same with a study, of whose points one is done, one failed and one waits.
OF_STUDIES = [
    "sweep --grid x=1,2 -- ./solve",
    "sweep run --dry-run --grid x=1,inf -- ./solve",
    "sweep run --dry-run --pack 2 --grid x=1,2 --site local -- ./solve",
    "sweep run -- ./solve",
    "sweep run --wait --timeout 1 --grid x=1 -- ./solve",
    "sweep list",
    "sweep show s1",
    "sweep show s2",
    "sweep results s1",
    "sweep summary s1",
    "sweep extend s1 --grid x=1,inf",
    "sweep resume s1",
    "status",
    "status s1",
    "status s1[0-2]",
    "status s1[9]",
    "show s1",
    "show s1[1]",
    "show j4",
    "history",
    "explain s1 s1[0-2]",
    "wait s1 --timeout 1",
    "resubmit s1 --failed --time x2",
    "resubmit s1",
    "resubmit j4",
    "hold s1",
    "cancel s1[2]",
    "cancel s1",
]
GROUPS = ("image", "kernel", "mpi", "site", "sweep", "template")


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
    for name in ("apptainer", "mksquashfs", "sbatch"):
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
    output = _output(line)
    assert len(printed) == 1, "exactly one value"
    assert "err| " not in text
    return json.loads(printed[0], parse_constant=pytest.fail), json.loads(
        (SCHEMAS / f"{output}.schema.json").read_text("utf-8")
    )


def _output(line: str) -> str:
    """The name of what the line prints: `sweep` alone is `sweep run`."""
    words = line.split()
    if words[0] == "sweep" and words[1].startswith("-"):
        words.insert(1, "run")
    return "-".join(words[: 1 + (words[0] in GROUPS)])


@pytest.fixture
def study(jobs: Session) -> Session:
    jobs.run("hpcjob sweep --grid x=1,2,3 --result 'y=y=(.*)' -- ./solve")
    (job,) = Service().store.jobs_of(1)
    ends = StudyFolder(Path(Service().store.study(1).folder)).ends
    for index, code in ((0, 0), (1, 3)):
        jobs.slurm.finish(job.native_id, "FAILED" if code else "COMPLETED", index=index, code=f"{code}:0")
        with (ends / "n1").open("a") as file:
            file.write(f"p {job.tag} {index} {code} 1700000000 1700000065.5\n")
            file.write(f"t {job.tag} {index} {code} 0 1700000000 1700000066 0 {job.native_id}\n")
    return jobs


@pytest.mark.parametrize("line", OF_STUDIES)
def test_the_output_about_studies_is_as_its_schema_says(study: Session, line: str) -> None:
    answer, schema = _answer(study, line)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(answer)


@pytest.mark.parametrize("line", ["status s1", "sweep list", "sweep show s1", "sweep resume s1", "explain s1"])
def test_a_scheduler_that_does_not_answer_about_studies(study: Session, line: str) -> None:
    study.slurm.down = True
    answer, schema = _answer(study, line)
    jsonschema.Draft202012Validator(schema).validate(answer)
    assert answer["error"]["code"] == 5


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
    assert {_output(line) for line in (*LINES, *OF_STUDIES)} == set(OUTPUTS)
