"""MPI in containers under the real Slurm, with real MPIs: what was planned runs, and what does not fit is stopped."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration import images as made_images
from tests.integration import person as people
from tests.integration.conftest import Cli
from tests.integration.images import CLUSTER, Registries, tool
from tests.integration.mpi_matrix import HOSTS, IMAGES
from tests.integration.person import Done, Installed, Person

pytestmark = pytest.mark.integration
made, registries = made_images.made, made_images.registries
installed, person = people.installed, people.person

TWO_BY_TWO = ("-N", "2", "--ntasks-per-node", "2")
HELLO = "/opt/mpihello"
APPTAINER = "extends: testbed\nruntimes: [{kind: apptainer}]\n"
_RANK = re.compile(r"rank (\d+) of (\d+) on (n\d), (.*), sum (\d+)")


@pytest.fixture(scope="session")
def images(slurm: Callable[..., str]) -> Path:
    """The images of tests/cluster/mpi; those and the hosts' MPIs are kept between sessions."""
    tool(CLUSTER / "mpi", "hosts", HOSTS)
    tool(CLUSTER / "mpi", "images", IMAGES)
    return IMAGES


@pytest.fixture(scope="session")
def looked_at(installed: Installed, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lock file of this machine, as `mpi host` writes it."""
    file = installed.folder / "testbed.mpi.lock.yaml"
    home = tmp_path_factory.mktemp("host")
    command = (sys.executable, "-m", "hpcjobs", "mpi", "host", "-o", file, "--site", "testbed")
    tool(*command, HPCJOBS_HOME=str(home), XDG_CONFIG_HOME=str(home))
    file.chmod(0o644)
    return file


@dataclass(frozen=True)
class World:
    """A person with a site whose MPIs are known."""

    person: Person
    site: Path
    images: Path

    def submit(self, image: str, *args: str | Path, code: int | None = 0, **env: Any) -> Done:
        """`submit --wait` of an image."""
        named = ("--site-file", self.site, "--image", self.images / f"{image}.sif")
        return self.person("submit", *named, "--wait", *args, code=code, **env)

    def runs(self, image: str, *args: str | Path, **env: Any) -> list[str]:
        """The lines that the job prints."""
        return self.output(self.submit(image, *args, **env))

    def output(self, done: Done) -> list[str]:
        return self.person("logs", done.stdout.strip()).stdout.splitlines()

    def record(self, job: str = "last") -> dict[str, Any]:
        (found,) = json.loads(self.person("show", job, "--json").stdout)["jobs"]
        return dict(found)

    def folder(self, job: str = "last") -> Path:
        return Path(self.record(job)["script"]).parent

    def planned(self, image: str, *args: str | Path) -> dict[str, Any]:
        """What `mpi plan --json` says."""
        named = ("--site-file", self.site, "--image", self.images / f"{image}.sif")
        done = self.person("mpi", "plan", *named, "--json", *args)
        return dict(json.loads(done.stdout)["mpi"])


@pytest.fixture
def world(person: Person, images: Path, looked_at: Path) -> World:
    return World(person, person.write("site.yaml", f"{APPTAINER}mpi: {{lock: {looked_at}}}\n"), images)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What they return; a job takes seconds, and the cluster has room for two."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda call: call(), calls))


def assert_found_each_other(lines: list[str], library: str, ranks: int = 4, nodes: int = 2) -> None:
    found = [match.groups() for match in map(_RANK.fullmatch, lines) if match]
    assert sorted(int(rank) for rank, *_ in found) == list(range(ranks)), lines
    assert {(size, total) for _, size, *_, total in found} == {(str(ranks), str(ranks * (ranks + 1) // 2))}
    assert len({host for *_, host, _, _ in found}) == nodes
    assert {re.sub(r"\s+", " ", text) for *_, text, _ in found} == {library}


HOSTS_OWN = "MPICH Version: 4.0.2"
TRIXIE = "MPICH Version: 4.2.1"


# --------------------------------------------------------------------------------- what is planned


def test_the_host_s_mpich_takes_the_place_of_the_image_s(world: World) -> None:
    assert_found_each_other(world.runs("trixie-mpich", *TWO_BY_TWO, "--", HELLO), HOSTS_OWN)
    first = world.folder()
    assert "hpcjob_canary" in (first / "job.sh").read_text()
    said = (first / "canary.out").read_text()
    assert sorted(re.findall(r"hpcjob-canary rank=(\d) size=4 host=n\d ok=1 lib=MPICH", said)) == ["0", "1", "2", "3"]
    # It was seen to work: the second job starts at once.
    assert_found_each_other(world.runs("trixie-mpich", *TWO_BY_TWO, "--", HELLO), HOSTS_OWN)
    second = world.folder()
    assert second != first
    assert "hpcjob_canary" not in (second / "job.sh").read_text()
    assert not list(second.glob("canary*"))
    always = world.submit("trixie-mpich", *TWO_BY_TWO, "--mpi-check", "always", "--", HELLO)
    assert_found_each_other(world.output(always), HOSTS_OWN)
    assert list(world.folder().glob("canary*"))


def test_without_a_lock_file_this_machine_is_looked_at(world: World) -> None:
    world.person.write("site.yaml", APPTAINER)
    done = world.submit("trixie-mpich", "-N", "2", "-n", "2", "--", HELLO)
    assert "looking at the MPI of this machine, once" in done.stderr
    assert_found_each_other(world.output(done), HOSTS_OWN, ranks=2)


def test_one_rank_needs_no_options(world: World) -> None:
    mpich, open_mpi = at_once(
        lambda: world.runs("bookworm-mpich", "--", HELLO),
        lambda: world.runs("bookworm-openmpi", "--", HELLO),
    )
    assert [line.partition(" on ")[0] for line in mpich + open_mpi] == ["rank 0 of 1"] * 2


def test_ways_that_are_asked_for(world: World) -> None:
    hybrid, inside, none = at_once(
        lambda: world.submit("trixie-mpich", *TWO_BY_TWO, "--mpi", "hybrid", "--", HELLO),
        lambda: world.submit("trixie-mpich", "-n", "2", "--mpi", "container", "--", HELLO),
        lambda: world.submit("trixie-mpich", "-n", "2", "--mpi", "none", "--", HELLO),
    )
    assert_found_each_other(world.output(hybrid), TRIXIE)
    assert_found_each_other(world.output(inside), TRIXIE, ranks=2, nodes=1)
    assert [line.partition(" on ")[0] for line in world.output(none)] == ["rank 0 of 1"] * 2


def test_a_program_on_the_host(world: World) -> None:
    source = world.person.write("hello.c", (CLUSTER / "mpihello.c").read_text())
    world.person.run("mpicc.mpich", "-o", "hello", source)
    assert_found_each_other(world.runs("trixie-mpich", *TWO_BY_TWO, "--", "./hello"), HOSTS_OWN)
    assert world.planned("trixie-mpich", "-N", "2", "--", "./hello")["mode"] == "bind"


def test_a_program_that_is_compiled_after_the_first_try(world: World) -> None:
    source = world.person.write("hello.c", (CLUSTER / "mpihello.c").read_text())
    warnings = world.planned("trixie-mpich", "-N", "2", "--", "./hello")["warnings"]
    assert [text for text in warnings if "./hello is not found" in text]
    world.person.run("mpicc.mpich", "-o", "hello", source)
    assert world.planned("trixie-mpich", "-N", "2", "--", "./hello")["warnings"] == []


def test_a_dt_rpath_and_fortran(world: World) -> None:
    rpath, fortran = at_once(
        lambda: world.runs("trixie-mpich", *TWO_BY_TWO, "--", "/opt/mpihello-rpath"),
        lambda: world.runs("bookworm-mpich", *TWO_BY_TWO, "--", "/opt/fhello"),
    )
    assert_found_each_other(rpath, HOSTS_OWN)
    assert_found_each_other(fortran, HOSTS_OWN)
    assert world.planned("bookworm-mpich", "-N", "2", "--", "/opt/fhello")["mode"] == "bind"


def test_an_mpi_inside_the_program(world: World) -> None:
    done = world.submit("static", *TWO_BY_TWO, "--", HELLO)
    assert_found_each_other(world.output(done), HOSTS_OWN)
    assert world.record()["plan"]["mpi_plan"]["mode"] == "hybrid"
    assert not list(world.folder().glob("canary*"))


@pytest.mark.parametrize("image", ["nompi", "musl"])
def test_programs_without_mpi_are_copies(world: World, image: str) -> None:
    done = world.submit(image, *TWO_BY_TWO, "--", "/opt/hello")
    assert [re.sub(r"n\d", "n", line) for line in world.output(done)] == ["hello from n"] * 4
    assert "the program has no MPI: 4 copies of it run" in done.stderr


def test_an_array_is_guarded_task_by_task(world: World) -> None:
    world.submit("trixie-mpich", "-a", "0-1", *TWO_BY_TWO, "--mpi-check", "always", "--", HELLO)
    found = sorted(path.name for path in world.folder().glob("canary*"))
    assert found == ["canary.0.err", "canary.0.out", "canary.1.err", "canary.1.out"]
    for index in "01":
        lines = world.person("logs", f"last[{index}]").stdout.splitlines()
        assert_found_each_other(lines, HOSTS_OWN)


def test_as_root(cli: Cli, home: Path, images: Path, looked_at: Path) -> None:
    text = APPTAINER.replace("apptainer}", "apptainer, options: [--userns]}")
    (home / "site.yaml").write_text(f"{text}mpi: {{lock: {looked_at}}}\n")
    image = ("--site-file", "site.yaml", "--image", str(images / "trixie-mpich.sif"))
    done = cli("submit", *image, *TWO_BY_TWO, "--wait", "--", HELLO)
    assert_found_each_other(cli("logs", done.stdout.strip()).stdout.splitlines(), HOSTS_OWN)


# --------------------------------------------------------------------------------------- the guard


@pytest.mark.parametrize(
    ("image", "mode"), [("trixie-openmpi", "hybrid"), ("trixie-openmpi", "pmi2"), ("trixie-mpich", "none")]
)
def test_ranks_that_would_not_find_each_other_are_stopped(world: World, image: str, mode: str) -> None:
    if mode == "none":
        # srun's kind is said to be one that wires up nobody.
        text = world.site.read_text().replace("mpi: {", "mpi: {default: none, types: [none], ")
        world.person.write("site.yaml", text)
        options = ("--mpi", "hybrid")
    else:
        options = ("--mpi", mode)
    program = ("sh", "-c", f"touch ran; exec {HELLO}")
    done = world.submit(image, *TWO_BY_TWO, *options, "--", *program, code=1)
    record = world.record()
    assert record["exit_code"] == 76, done.stderr
    assert not (world.person.folder / "ran").exists()
    assert world.output(done) == []
    words = "hpcjob: the ranks did not find each other: 4 programs each say that they are rank 0 of 1"
    assert words in done.stderr
    explained = world.person("explain", "last").stdout
    assert "did not find each other" in explained
    assert "did not find each other" in world.person("show", "last").stdout


def test_what_cannot_work_is_refused(world: World) -> None:
    done = world.submit("trixie-openmpi", *TWO_BY_TWO, "--", HELLO, code=3)
    assert "each as rank 0 of 1" in done.stderr
    assert re.search(r"^  hybrid: +srun offers pmi2, and Open MPI 5\.0\.7 speaks pmix$", done.stderr, re.MULTILINE)
    assert json.loads(world.person("history", "--json").stdout)["jobs"] == []


# ----------------------------------------------------------------------------------- other nodes


DEBIANS = Path(os.path.realpath("/usr/lib/x86_64-linux-gnu/libmpich.so.12"))


@dataclass(frozen=True)
class Prefix:
    """An MPI in a folder that login node, n1 and n2 have each for themselves."""

    folder: Path
    library: Path
    words: str  # of the library
    nodes: dict[str, tuple[str, ...]]

    def on(self, node: str, *command: str | Path) -> None:
        tool(*self.nodes[node], *command)


@pytest.fixture(params=["debian", "mpich-4.3"])
def prefix(request: pytest.FixtureRequest, slurm: Callable[..., str], images: Path) -> Iterator[Prefix]:
    """A library of Debian's, that has a build-id, and one of PyPI's, that has none."""
    nodes = {node: ("nsenter", "--mount", "--target", slurm("pid", node).strip()) for node in ("n1", "n2")}
    folder = Path("/dev/shm") / f"hpcjobs-test-mpi-{os.getpid()}"
    name, words = (
        ("libmpich.so.12", HOSTS_OWN) if request.param == "debian" else ("libmpi.so.12", "MPICH Version: 4.3.2")
    )
    found = Prefix(folder, folder / "lib" / name, words, {"": (), **nodes})
    try:
        for node in found.nodes:
            found.on(node, "mkdir", "-p", folder)
            if request.param == "debian":
                found.on(node, "install", "-D", "-m", "755", DEBIANS, found.library)
            else:
                found.on(node, "cp", "-a", HOSTS / request.param / "lib", folder)
            found.on(node, "chmod", "-R", "a+rX", folder)
        yield found
    finally:
        for node in found.nodes:
            found.on(node, "rm", "-rf", folder)


@pytest.fixture
def elsewhere(person: Person, images: Path, prefix: Prefix) -> World:
    """A site whose MPI is that one, in a lock file beside it."""
    site = person.write("site.yaml", f"{APPTAINER}mpi: {{prefixes: [{prefix.folder}], host: mpich-4}}\n")
    person("mpi", "host", "--site-file", site, "-o", person.folder / "site.mpi.lock.yaml")
    return World(person, site, images)


def test_a_node_whose_library_is_another_or_missing(elsewhere: World, prefix: Prefix) -> None:
    on_both = (*TWO_BY_TWO, "--directive=--nodelist=n1,n2", "--", "sh", "-c", f"touch ran; exec {HELLO}")
    ran = elsewhere.person.folder / "ran"
    assert_found_each_other(elsewhere.runs("trixie-mpich", *on_both), prefix.words)
    ran.unlink()
    assert elsewhere.person("mpi", "host", "--check", "--site-file", elsewhere.site).stdout == ""
    check = Path(elsewhere.record()["plan"]["mpi_plan"]["folder"]) / "check"
    begin = time.monotonic()
    subprocess.run(["bash", check], check=True)
    took = time.monotonic() - begin
    print(f"{took:.3f} s a node for {check.read_text().count(chr(10))} lines")  # noqa: T201

    # Another build on the second node: one byte is another.
    (row,) = re.findall(rf"^(id|sha256) (\S+) \w+ {prefix.library}$", check.read_text(), re.MULTILINE)
    assert row[0] == ("id" if prefix.words == HOSTS_OWN else "sha256")
    at = row[1] if row[0] == "id" else prefix.library.stat().st_size - 1
    byte = f"printf '\\377' | dd of={shlex.quote(str(prefix.library))} bs=1 seek={at} conv=notrunc status=none"
    prefix.on("n2", "sh", "-c", byte)
    done = elsewhere.submit("trixie-mpich", *on_both, code=1)
    assert f"hpcjob: {prefix.library} is another build than hpcjob mpi host saw on node n2" in done.stderr
    assert elsewhere.record()["exit_code"] == 78
    assert not ran.exists()
    assert f"{prefix.library} is another build" in elsewhere.person("explain", "last").stdout

    prefix.on("n2", "rm", prefix.library)
    missing = f"hpcjob: there is no {prefix.library}, which the host's MPI needs, on node n2"
    done = elsewhere.submit("trixie-mpich", *on_both, code=1)
    assert missing in done.stderr
    assert elsewhere.record()["exit_code"] == 78
    assert not ran.exists()

    # And the same on one node alone, where no srun looks.
    one = ("-N", "1", "--ntasks-per-node", "2", "--directive=--nodelist=n2", "--", HELLO)
    done = elsewhere.submit("trixie-mpich", *one, code=1)
    assert missing in done.stderr
    assert elsewhere.record()["exit_code"] == 78

    # An update of the login node is told of.
    prefix.on("", "sh", "-c", byte)
    done = elsewhere.person("mpi", "host", "--check", "--site-file", elsewhere.site, code=1)
    assert f"{prefix.library} is another build" in done.stdout


def test_a_node_writes_the_lock_file(person: Person, images: Path) -> None:
    site = person.write("site.yaml", APPTAINER)
    person("mpi", "host", "--on-node", "--site-file", site, "-p", "debug", "-t", "5")
    person("wait", "last")
    file = person.folder / "site.mpi.lock.yaml"
    assert re.search(r"^node: n\d$", file.read_text(), re.MULTILINE)
    done = person(
        "mpi", "plan", "--site-file", site, "-N", "2", "--image", images / "trixie-mpich.sif", "--json", "--", HELLO
    )
    assert json.loads(done.stdout)["mpi"]["host"] == "mpich-4.0.2"
    assert "looking at" not in done.stderr


# ---------------------------------------------------------------------- an image of Podman's own


def test_an_image_by_name_is_looked_into_by_its_runtime(person: Person, made: Path, registries: Registries) -> None:
    insecure = person.write("registries.conf", f'[[registry]]\nlocation = "{registries.open}"\ninsecure = true\n')
    site = person.write("site.yaml", "extends: testbed\nruntimes: [{kind: podman}]\n")
    name = f"docker://{registries.open}/hpcjobs/app:1.0"
    # hpc's Podman is shared: nothing here may stop or migrate what others have started with it.
    under = (CLUSTER / "podman", "hpc")
    done = person(
        "mpi", "image", "--site-file", site, "--json", name, "--", HELLO,
        under=under, CONTAINERS_REGISTRIES_CONF=str(insecure),
    )  # fmt: skip
    found = json.loads(done.stdout)["image"]
    assert (found["path"], found["program"]["needed"]) == (name, ["libmpich.so.12"])
    assert [mpi["product"] for mpi in found["mpis"]] == ["MPICH"]
    person.run("podman", "rmi", name.removeprefix("docker://"), under=under, code=None)
