"""What start-up imports: sets of modules, not milliseconds, so that the tests say the same on any machine.

docs/adr/0003 tells what each of them costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hpcjobs.site import mpilock
from tests import mpi_facts
from tests.mpi_elf import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Everything that takes more than a few milliseconds, and what drags it in.
SLOW = {
    "argparse", "asyncio", "click", "elftools", "email", "hashlib", "http", "importlib.metadata", "jinja2", "json", "logging",
    "markupsafe", "matplotlib", "numpy", "pyarrow", "pydantic", "pydantic_core", "scipy", "rich", "secrets", "shellingham", "socket", "sqlite3", "ssl",
    "subprocess", "tarfile", "tempfile", "typer", "urllib.request", "yaml",
}  # fmt: skip
OWN = {
    "hpcjobs.cli.main", "hpcjobs.model", "hpcjobs.plan", "hpcjobs.render", "hpcjobs.service", "hpcjobs.site",
    "hpcjobs.studies", "hpcjobs.sweep.build", "hpcjobs.sweep.state",
}  # fmt: skip


def loaded(home: Path, *words: str, site: str = "local") -> set[str]:
    """The slow modules and the own ones that a command line loads; without `site`, it is detected."""
    program = (
        "import sys; from hpcjobs.__main__ import main; code = main(sys.argv[1:]); sys.stdout.flush();"
        "sys.stderr.write('\\n' + ' '.join(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env={**os.environ, "HPCJOBS_HOME": str(home), "HOME": str(home), "HPCJOBS_SITE": site},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.rpartition("\n")[2].split()) & (SLOW | OWN)


@pytest.mark.parametrize("words", [(), ("--help",), ("--version",)])
def test_help_and_version_import_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded(tmp_path, *words) == set()


STATUS = {"hpcjobs.cli.main", "hpcjobs.service", "json", "sqlite3"}
PARSER = {"typer", "subprocess", "shellingham"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with one job of the local scheduler, whose supervisor goes when the job does."""
    loaded(tmp_path, "submit", "--runtime", "none", "--hold", "--", "true")
    yield tmp_path
    loaded(tmp_path, "cancel", "all")


@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("history",)])
def test_status_without_a_job_has_no_parser_and_starts_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded(tmp_path, *words) == STATUS


@pytest.mark.parametrize("words", [("status",), ("show", "j1"), ("hold", "j1"), ("cancel", "j1"), ("explain", "j1")])
def test_asking_the_scheduler_adds_what_starts_programs(home: Path, words: tuple[str, ...]) -> None:
    # The local scheduler plans with nodes, and is a program of its own.
    assert loaded(home, *words) <= STATUS | {"logging", "subprocess", "hpcjobs.model"}


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Path]:
    """A home with one study of the local scheduler."""
    loaded(tmp_path, "sweep", "--grid", "x=1,2", "--runtime", "none", "--hold", "--", "true")
    yield tmp_path
    loaded(tmp_path, "cancel", "s1")


def test_a_study_adds_neither_parser_nor_templates_nor_numbers(study: Path) -> None:
    allowed = STATUS | {"logging", "subprocess", "hpcjobs.model", "hpcjobs.studies", "hpcjobs.sweep.state"}
    for line in (
        "status",
        "status s1",
        "status s1[0]",
        "show s1",
        "explain s1[0]",
        "hold s1",
        "cancel s1[0]",
        "cancel s1",
    ):
        assert loaded(study, *line.split()) <= allowed, line


@pytest.mark.parametrize("words", [("status", "--color", "auto"), ("logs", "j1"), ("history", "-n", "1")])
def test_options_add_the_parser_and_no_more(home: Path, words: tuple[str, ...]) -> None:
    assert loaded(home, *words) <= STATUS | PARSER | {"logging", "hpcjobs.model"}


@pytest.mark.parametrize("site", ["local", ""], ids=["named", "detected"])
def test_a_dry_run_reads_yaml_once_and_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # or a batch system that is here would be detected
    words = ("submit", "--dry-run", "--runtime", "none", "--", "true")
    first, second = loaded(tmp_path, *words, site=site), loaded(tmp_path, *words, site=site)
    assert first >= {"yaml", "pydantic", "jinja2", "typer"}
    assert first & {"argparse", "asyncio", "click", "http", "rich", "ssl"} == set()
    assert second >= {"jinja2", "typer"}
    assert second & {"pydantic", "pydantic_core", "yaml", "importlib.metadata", "email"} == set()


def test_translating_needs_the_parser_alone(tmp_path: Path) -> None:
    (tmp_path / "job.sh").write_text("#!/bin/sh\n#SBATCH -t 1\n")
    assert loaded(tmp_path, "translate", "job.sh", "--to", "pbs") <= PARSER | {"hpcjobs.cli.main", "json"}


NETWORK = {"email", "http", "socket", "ssl", "urllib.request"}
# What an image that is there needs no more than a site that was read before.
NEVER = NETWORK | {
    "argparse",
    "asyncio",
    "click",
    "importlib.metadata",
    "pydantic",
    "rich",
    "secrets",
    "tarfile",
    "yaml",
}


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image folder; and the site was read before."""
    (tmp_path / "app/bin").mkdir(parents=True)
    monkeypatch.setenv("PATH", "/nowhere")
    loaded(tmp_path, "submit", "--dry-run", "--runtime", "none", "--", "true")
    return str(tmp_path / "app")


@pytest.mark.parametrize("words", [("image", "--help"), ("image", "list", "--help"), ("image", "pull", "--help")])
def test_help_of_images_loads_the_verbs_and_no_tool(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded(tmp_path, *words) & (NEVER | {"hashlib", "jinja2", "sqlite3", "tempfile"}) == set()


def test_listing_images_opens_neither_database_nor_network(tmp_path: Path, image: str) -> None:
    found = loaded(tmp_path, "image", "list")
    assert found >= {"typer", "json"}
    assert found & (NEVER | {"jinja2", "sqlite3", "tempfile"}) == set()


def test_pruning_images_opens_no_network(tmp_path: Path, image: str) -> None:
    found = loaded(tmp_path, "image", "prune", "--dry-run")
    assert found >= {"sqlite3"}
    assert found & (NEVER | {"jinja2", "tempfile"}) == set()


def test_inspecting_a_known_image_has_no_parser(tmp_path: Path, image: str) -> None:
    assert loaded(tmp_path, "image", "inspect", image) & (NEVER | PARSER | {"hashlib", "sqlite3", "tempfile"}) == set()


@pytest.mark.parametrize("runtime", ["apptainer", "charliecloud", "podman"])
def test_a_job_of_a_local_image_asks_no_registry(tmp_path: Path, image: str, runtime: str) -> None:
    found = loaded(tmp_path, "submit", "--dry-run", "--image", image, "--runtime", runtime, "--", "true")
    assert found >= {"jinja2", "typer"}
    assert found & NEVER == set()


ELF = {"elftools"}


@pytest.mark.parametrize(
    "words", [("mpi", "--help"), ("mpi", "host", "--help"), ("mpi", "image", "--help"), ("mpi", "plan", "--help")]
)
def test_help_of_mpi_loads_no_reader(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert loaded(tmp_path, *words) & (NEVER | ELF | {"hashlib", "jinja2", "tempfile"}) == set()


@pytest.fixture
def two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What plans two ranks in a squashfs image with an MPI."""
    lib = "usr/lib/x86_64-linux-gnu/libmpi.so.12"
    contents = {
        "opt/solve": build(interp="/lib64/ld-linux-x86-64.so.2", needed=["libmpi.so.12"], undefined=["MPI_Init"]),
        lib: build(soname="libmpi.so.12", exports=["MPI_Init"], extra=b"\0MPICH Version:\0PMI_FD\0fullinit\0"),
    }
    rows = []
    for name, data in contents.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True)
        (tmp_path / "tree" / name).write_bytes(data)
        rows.append(f"-rwxr-xr-x 0/0 {len(data)} 2026-01-01 00:00 /{name}\n")
    (tmp_path / "rows").write_text("".join(rows))
    (tmp_path / "app.sqfs").write_bytes(b"hsqs" + bytes(36) + (96).to_bytes(8, "little") + bytes(48))
    for name, text in (
        ("unsquashfs", f'[ "$1" = -lln ] && exec /bin/cat {tmp_path}/rows\nexec /bin/cp -r {tmp_path}/tree "$4"\n'),
        ("apptainer", "echo apptainer version 1.4.5\n"),
    ):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    words = ["--image", str(tmp_path / "app.sqfs"), "--runtime", "apptainer", "-n", "2"]
    return [*words, "--mpi", "container", "--", "/opt/solve"]


@pytest.mark.parametrize("verb", [("submit", "--dry-run"), ("mpi", "plan")], ids=["submit", "plan"])
def test_an_image_whose_mpi_is_known_is_not_read(tmp_path: Path, two_ranks: list[str], verb: tuple[str, ...]) -> None:
    first, second = loaded(tmp_path, *verb, *two_ranks), loaded(tmp_path, *verb, *two_ranks)
    assert first >= ELF
    assert second & (ELF | NEVER) == set()


def test_a_lock_file_is_yaml_once(tmp_path: Path, two_ranks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config/hpcjobs/sites").mkdir(parents=True)
    host = mpi_facts.host(mpi_facts.DEBIAN)
    (tmp_path / "config/hpcjobs/sites/local.mpi.lock.yaml").write_text(mpilock.dump(host))
    loaded(tmp_path, "submit", "--dry-run", *two_ranks)
    assert loaded(tmp_path, "submit", "--dry-run", *two_ranks) & (ELF | NEVER) == set()
