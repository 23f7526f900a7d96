"""A site that nobody described: `site init` on the real Slurm and on PBSs gives a file with which jobs run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from hpcjobs import site as sites
from hpcjobs.model import NodeShape
from hpcjobs.units import Duration, Memory
from tests.integration import person as people
from tests.integration import test_mpi
from tests.integration.conftest import Cli, FakePbsMaker
from tests.integration.person import Person

pytestmark = pytest.mark.integration
images, installed, person = test_mpi.images, people.installed, people.person


def init(person: Person) -> str:
    """The site file that the person's `site init` wrote."""
    done = person("site", "init", "mine")
    return Path(done.stdout.strip()).read_text("utf-8")


def test_the_file_describes_the_cluster(person: Person) -> None:
    text = init(person)
    file = person.write("mine.yaml", text)
    made = sites.load(file=str(file)).site
    assert list(made.partitions) == ["debug", "long", "gpu"]
    assert made.partitions["debug"].default
    assert made.partitions["long"].max_time == Duration(86400)
    shape = NodeShape(cores=2, memory=Memory.parse("3000M"), gpus=2, gpu_type="fake", gpu_cores=1)
    assert made.partitions["gpu"].node == shape
    assert made.gpu.request == "gpus-per-node"
    assert made.detect is not None
    assert made.detect.cluster == "testbed"
    assert {runtime.kind for runtime in made.runtimes} >= {"apptainer", "charliecloud"}
    assert {"pmi2", "none"} <= set(made.mpi.types)
    assert "Accounts of the person who made this file: test" in text
    assert "MPI of this node: " in text


def test_the_main_job_runs_with_it_unchanged(person: Person, images: Path) -> None:
    init(person)
    submitted = person("submit", "--image", images / "trixie-mpich.sif", "--nodes", "4", "--wait", "--", test_mpi.HELLO)
    lines = person("logs", submitted.stdout.strip()).stdout.splitlines()
    ranks = [match for match in map(test_mpi._RANK.fullmatch, lines) if match]
    assert len(ranks) == 8, lines
    assert {match[2] for match in ranks} == {"8"}
    assert {match[3] for match in ranks} == {"n1", "n2", "n3", "n4"}
    assert "(detected: the cluster testbed fits testbed" in person("site", "detect").stderr


def test_validate_says_what_has_changed_since(person: Person) -> None:
    file = person.write("mine.yaml", init(person))
    same = person("site", "validate", file)
    assert "was compared with the scheduler" in same.stderr
    text = file.read_text("utf-8")
    text = text.replace("max_time: 1-00:00:00", "max_time: 2-00:00:00").replace(
        "  gpu:\n    max_time", "  old:\n    max_time"
    )
    text = text.replace("partition: gpu", "partition: old").replace(
        "cores: 2, memory: 3000M", "cores: 4, memory: 3000M"
    )
    file.write_text(text, "utf-8")
    changed = person("site", "validate", file, code=1)
    said = re.sub(r"^(error|warning|advice): \S+: ", r"\1: ", changed.stdout, flags=re.MULTILINE)
    assert "error: partitions.long.max_time: the file says 2-00:00:00, and the scheduler 1-00:00:00" in said
    assert "error: partitions.old: the scheduler has no partition old (for you)" in said
    assert "advice: partitions: the scheduler has a partition gpu too" in said
    assert "error: partitions.debug.node.cores: the file says 4, and the scheduler 2" in said
    assert person("site", "validate", "--offline", file).returncode == 0


def test_nothing_is_overwritten(person: Person) -> None:
    file = Path(person("site", "init", "mine").stdout.strip())
    file.write_text("extends: slurm\n", "utf-8")
    refused = person("site", "init", "mine", code=2)
    assert f"error: there is a file {file}" in refused.stderr
    assert file.read_text("utf-8") == "extends: slurm\n"
    person("site", "init", "mine", "--force")
    assert "partitions:" in file.read_text("utf-8")


@pytest.mark.parametrize("dialect", ["openpbs", "torque"])
def test_a_pbs(
    dialect: str, make_fake_pbs: FakePbsMaker, cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_fake_pbs(dialect)
    # sbatch, which this machine has too, would say that it is a Slurm.
    tools = home / "tools"
    tools.mkdir()
    for name in ("bash", "env", "python3", "sh", "cat", "sleep", "uname", "id", "grep", "sed"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", f"{home}/pbs/bin:{tools}")
    text = cli("site", "init", "mine", "-o", "-").stdout
    (home / ".hpcjobs/sites/mine.yaml").write_text(text)
    made = sites.load(file=str(home / ".hpcjobs/sites/mine.yaml")).site
    assert made.scheduler.kind == "pbs"
    assert made.scheduler.extra == {"dialect": dialect}
    assert made.partitions
    job = cli("submit", "--site", "mine", "-n", "1", "--wait", "--", "echo", "hello").stdout.strip()
    assert cli("logs", job).stdout == "hello\n"


def test_without_a_scheduler(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    refused = cli("site", "init", code=6)
    assert refused.stderr.startswith("error: there is no scheduler here: neither sbatch (Slurm) nor qselect (PBS)")
