"""Real container runtimes under the real Slurm, as an ordinary user: what a job asks of its container, it gets."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration import images
from tests.integration import person as people
from tests.integration.conftest import Cli
from tests.integration.images import CLUSTER, Registries, tool
from tests.integration.person import Done, Installed, Person

pytestmark = pytest.mark.integration
made, registries = images.made, images.registries
installed, person = people.installed, people.person

PODMAN_HPC = Path("/var/tmp/hpcjobs-test-podman-hpc")  # made once, kept between sessions
TWO_BY_TWO = ("-N", "2", "--ntasks-per-node", "2")
SITE = """\
extends: testbed
env: {{CONTAINERS_REGISTRIES_CONF: {registries}}}
gpu: {{kind: nvidia}}
runtimes:
  - {{kind: apptainer}}
  - {{kind: charliecloud}}
  - {{kind: podman}}
  - {{kind: podman-hpc, command: {podman_hpc}/bin/podman-hpc}}
"""
PLACES = {
    "apptainer-sif": "app.sif",
    "apptainer-squashfs": "app.sqfs",
    "apptainer-directory": "app",
    "charliecloud-squashfs": "app.sqfs",
    "charliecloud-directory": "app",
    "podman-directory": "own",
    "podman-reference": "",
    "podman-hpc-reference": "",
}


def submit(person: Person, *args: str | Path, site: Path, code: int | None = 0, **env: Any) -> Done:
    return person("submit", "--site-file", site, "--wait", *args, code=code, **env)


def record(person: Person, job: str = "last") -> dict[str, object]:
    (found,) = json.loads(person("show", job, "--json").stdout)["jobs"]
    return dict(found)


def output(person: Person, done: Done) -> list[str]:
    """The lines of the job's standard output, which its id leads to."""
    return person("logs", done.stdout.strip()).stdout.splitlines()


def assert_four_ranks(lines: list[str]) -> None:
    found = sorted(re.findall(r"^rank (\d) of 4 on (n\d), .*, sum 10$", "\n".join(lines), re.MULTILINE))
    assert [rank for rank, _ in found] == ["0", "1", "2", "3"], lines
    assert [found[0][1], found[2][1]] == [found[1][1], found[3][1]] != [found[2][1], found[0][1]], lines


def at_once(*calls: Callable[[], Done]) -> list[Done]:
    """What they return; a job takes two seconds, and the cluster has room for several."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda call: call(), calls))


def until(condition: Callable[[], object]) -> None:
    """Wait for it, a minute at the most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def sleeping(mark: str) -> list[str]:
    """The processes `sleep MARK`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found += (
                [path.name]
                if path.joinpath("cmdline").read_bytes().split(b"\0")[-3:-1] == [b"sleep", mark.encode()]
                else []
            )
    return found


# ------------------------------------------------------------------------------- the world of a job


@dataclass(frozen=True)
class World:
    """What jobs of the session find: images, and settings of Podman."""

    folder: Path
    images: Path
    registries: Registries

    @property
    def reference(self) -> str:
        return f"docker://{self.registries.open}/hpcjobs/app:1.0"


@pytest.fixture(scope="session")
def world(installed: Installed, made: Path, registries: Registries) -> Iterator[World]:
    """A folder image of hpc's own (Podman writes into it), a registry without encryption, and podman-hpc."""
    tool("cp", "-a", made / "app", installed.folder / "own")
    tool("chown", "-R", "hpc:", installed.folder / "own")
    insecure = f'[[registry]]\nlocation = "{registries.open}"\ninsecure = true\n'
    (installed.folder / "registries.conf").write_text(insecure)
    tool(CLUSTER / "podman-hpc-setup", PODMAN_HPC)
    yield World(installed.folder, made, registries)
    pulled = f"{registries.open}/hpcjobs/app@{registries.digest('hpcjobs/app:1.0')}"
    tool(CLUSTER / "podman", "hpc", "sh", "-c", 'podman rmi --force "$1" || true', "sh", pulled)  # if it was pulled


@pytest.fixture
def site(person: Person, world: World) -> Path:
    return person.write("site.yaml", SITE.format(registries=world.folder / "registries.conf", podman_hpc=PODMAN_HPC))


@dataclass(frozen=True)
class Place:
    """A runtime with a form of image."""

    person: Person
    site: Path
    runtime: str
    image: str

    def __call__(self, *args: str | Path, code: int | None = 0, **env: Any) -> Done:
        """`submit --wait` there."""
        more: dict[str, Any] = {
            **env,
            "CONTAINERS_REGISTRIES_CONF": str(self.person.installed.folder / "registries.conf"),
        }
        under = (CLUSTER / "podman", "hpc") if self.runtime == "podman-hpc" else ()  # it pulls at submission
        options = ("--site-file", self.site, "--runtime", self.runtime, "--image", self.image)
        return self.person("submit", *options, "--wait", *args, code=code, under=under, **more)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, person: Person, world: World, site: Path) -> Place:
    runtime, _, _ = str(request.param).rpartition("-")
    name = PLACES[request.param]
    image = {"": world.reference, "own": str(world.folder / "own")}.get(name, str(world.images / name))
    return Place(person, site, runtime, image)


# ------------------------------------------------------------------------------------ on every one


def test_ranks_find_each_other(place: Place) -> None:
    show = ("sh", "-c", 'echo "own=${OWN-none} job=${JOB-none}"; exec /opt/mpihello')

    def run(*options: str) -> Done:
        return place(*TWO_BY_TWO, *options, "--env", "JOB=set", "--", *show, OWN="mine")

    usual, clean = at_once(run, lambda: run("--clean-env"))
    for done, own in ((usual, "none" if place.runtime == "podman-hpc" else "mine"), (clean, "none")):
        lines = output(place.person, done)
        assert lines.count(f"own={own} job=set") == 4, done.stderr
        assert_four_ranks(lines)


PROBE = """\
cat /data/file.txt /etc/localtime
printf %s "$ODD" >/data/odd
echo "workdir=$PWD"
if (echo x >/srv/new) 2>/dev/null; then echo wrote; fi
cat /srv/kept.txt
(echo x >/opt/x; echo x >/x) 2>/dev/null
exit 7
"""
ODD = "a b,c 'd' \"e\" $HOME `id` \\ *\nsecond: line=é;#"


def test_what_the_container_sees(place: Place) -> None:
    folder = place.person.write('it\'s a "folder"/file.txt', "in the folder\n").parent
    file = place.person.write("one file.txt", "the file\n")
    kept = place.person.write("kept/kept.txt", "kept\n").parent
    readonly = "" if place.runtime == "charliecloud" else ":ro"
    done = place(
        "-n", "1", "--bind", f"{folder}:/data", "--bind", f"{file}:/etc/localtime", "--bind", f"{kept}:/srv{readonly}",
        "--env", f"ODD={ODD}", "--container-workdir", "/mnt/3", "--", "sh", "-c", PROBE, code=1,
    )  # fmt: skip
    wrote = ["wrote"] if place.runtime == "charliecloud" else []
    assert output(place.person, done) == ["in the folder", "the file", "workdir=/mnt/3", *wrote, "kept"], done.stderr
    assert (folder / "odd").read_text() == ODD
    assert (folder / "odd").stat().st_uid == pwd.getpwnam("hpc").pw_uid
    assert (kept / "new").exists() is bool(wrote)
    assert record(place.person)["exit_code"] == 7
    # Whoever may write to the folder of an image: its jobs do not.
    assert not [path for path in ("opt/x", "x") if Path(place.image, path).exists()]


def test_an_image_folder_of_another_user_is_refused_for_podman(person: Person, world: World, site: Path) -> None:
    done = submit(person, "--runtime", "podman", "--image", world.images / "app", "--", "true", site=site, code=3)
    assert f"Podman cannot run the image folder {world.images}/app, which belongs to another user" in done.stderr
    assert "cp -r" in done.stderr


def test_charliecloud_refuses_what_it_cannot_do(person: Person, world: World, site: Path) -> None:
    image = ("--runtime", "charliecloud", "--image", world.images / "app.sqfs")
    done = submit(person, *image, "--bind", "/etc:/srv:ro", "--", "true", site=site, code=3)
    assert "charliecloud cannot do what --bind /etc:/srv:ro asks for: read-only binds" in done.stderr
    assert "use --runtime apptainer, which can" in done.stderr


@pytest.mark.parametrize("place", ["podman-directory", "podman-hpc-reference"], indirect=True)
def test_a_cancelled_job_leaves_no_container(place: Place) -> None:
    person, mark = place.person, f"{6 if place.runtime == 'podman' else 7}543{os.getpid()}"
    under = (CLUSTER / "podman", "hpc")
    registries = str(person.installed.folder / "registries.conf")
    options = ("--site-file", place.site, "--runtime", place.runtime, "--image", place.image)
    command = ("sh", "-c", f'touch "started.$PMI_RANK"; exec sleep {mark}')
    person("submit", *options, *TWO_BY_TWO, "--", *command, under=under, CONTAINERS_REGISTRIES_CONF=registries)
    until(lambda: len(list(person.folder.glob("started.*"))) == 4)
    until(lambda: len(sleeping(mark)) == 4)  # a moment later
    list_own = f"{'podman' if place.runtime == 'podman' else PODMAN_HPC / 'bin/podman-hpc'} ps --all --quiet --filter"
    own = (*list_own.split(), f"label=hpcjob={Path(str(record(person)['script'])).parent.name}.")
    assert person.run(*own, under=under).stdout
    person("cancel", "last")
    person("wait", "last", code=1)
    until(lambda: not sleeping(mark))
    until(lambda: not person.run(*own, under=under).stdout)


# ------------------------------------------------------------------------------------- Apptainer


@pytest.fixture
def sif(person: Person, world: World, site: Path) -> Callable[..., Done]:
    """`submit --wait -n 1 --image FILE.sif` with Apptainer."""

    def run(name: str | Path, *args: str | Path, code: int | None = 0, site: Path = site, **env: Any) -> Done:
        options = ("--runtime", "apptainer", "-n", "1", "--image", world.images / name)
        return submit(person, *options, *args, code=code, site=site, **env)

    return run


Sif = Callable[..., Done]


def test_entrypoint_and_apps(person: Person, sif: Sif) -> None:
    show = ("sh", "-c", "echo $COUNT_ENV $GREETING")
    run, hello, count, nosuch = at_once(
        lambda: sif("scif.sif", "--entrypoint", "--", "a b", "$HOME"),
        lambda: sif("scif.sif", "--app", "hello", "--entrypoint", "--", "a b"),
        lambda: sif("scif.sif", "--app", "count", "--env", "GREETING=mine", "--", *show),
        lambda: sif("scif.sif", "--app", "nosuch", "--", "true", code=3),
    )
    assert output(person, run) == ["runscript: a b $HOME"]
    assert output(person, hello) == ["hello: a b (world, from-image)"]
    assert output(person, count) == ["set mine"]
    assert "scif.sif has no app 'nosuch'\n\nhint: there are count, hello\n" in nosuch.stderr
    none = sif("app.sif", "--entrypoint", "--", "a", code=3)
    assert "app.sif has no entrypoint" in none.stderr


def test_the_entrypoint_of_an_image_from_a_registry(person: Person, world: World, site: Path) -> None:
    def run(*options: str) -> Done:
        env: dict[str, Any] = {"CONTAINERS_REGISTRIES_CONF": str(world.folder / "registries.conf")}
        image = ("-n", "1", "--image", world.reference)
        return submit(person, *options, *image, "--", "echo", "a b", "$HOME", site=site, **env)

    dones = at_once(
        lambda: run("--runtime", "podman"),
        lambda: run("--runtime", "podman", "--entrypoint"),
        lambda: run("--runtime", "apptainer", "--entrypoint"),
    )
    assert [output(person, done) for done in dones] == 3 * [["a b $HOME"]], [done.stderr for done in dones]
    assert ["entrypoint: echo a b $HOME" in done.stderr for done in dones] == [False, True, True]


def test_podman_s_images_keep_their_own_path(person: Person, world: World, site: Path) -> None:
    env: dict[str, Any] = {"CONTAINERS_REGISTRIES_CONF": str(world.folder / "registries.conf")}
    env |= {"LD_LIBRARY_PATH": "/of/the/host", "NOTE": "two words"}
    options = ("--runtime", "podman", "-n", "1", "--image", world.reference, "--env", "MINE=1")
    show = ("sh", "-c", 'echo "$PATH ${LD_LIBRARY_PATH-none} $NOTE $MINE"')
    done = submit(person, *options, "--", *show, site=site, **env)
    assert output(person, done) == ["/usr/bin:/bin:/opt none two words 1"]


def test_layers(person: Person, sif: Sif) -> None:
    write = ("--", "sh", "-c", "echo one >>/layer && cat /layer")

    def twice(*options: str) -> Done:
        assert output(person, sif("app.sif", *options, *write)) == ["one"]
        return sif("app.sif", *options, *write)

    _, memory, file, folder = at_once(
        lambda: sif("app.sif", *write, code=1),
        lambda: twice("--writable"),
        lambda: twice("--overlay", "kept.img:80M"),
        lambda: twice("--overlay", "folder"),
    )
    assert output(person, memory) == ["one"]
    assert output(person, file) == output(person, folder) == ["one", "one"]
    assert (person.folder / "kept.img").stat().st_size == 80 << 20
    assert (person.folder / "folder").is_dir()
    two = ("-n", "2")  # the later one counts
    done = sif("app.sif", *two, "--overlay", "kept.img", *write, code=3)
    assert "2 ranks cannot write to the one overlay" in done.stderr
    assert "kept.img:ro" in done.stderr
    done = sif("app.sif", *two, "--overlay", "kept.img:ro", "--", "cat", "/layer")
    assert output(person, done) == ["one"] * 4


def test_a_layer_without_a_size_is_not_made(person: Person, sif: Sif) -> None:
    done = sif("app.sif", "--overlay", "none.img", "--", "true", code=3)
    assert f"there is no overlay {person.folder}/none.img\n\nhint: to make it: " in done.stderr


def test_signed_images(person: Person, world: World, site: Path, sif: Sif) -> None:
    key = world.images / "keys/sign-pub.pem"
    text = site.read_text() + f"image: {{verify: required, verify_options: [--key, {key}]}}\n"
    strict = person.write("strict.yaml", text)
    assert output(person, sif("signed-pem.sif", "--", "echo", "ran", site=strict)) == ["ran"]
    for name in ("app.sif", "signed.sif"):  # not signed; signed with another key
        done = sif(name, "--", "true", site=strict, code=3)
        assert f"{world.images / name}" in done.stderr
        assert "sign" in done.stderr
    done = sif("app.sif", "--verify", "--", "true", code=3)
    assert "is not signed" in done.stderr
    assert len(json.loads(person("history", "--json").stdout)["jobs"]) == 1
    # A key ring of one's own, without any option of the site.
    person.run("apptainer", "key", "import", world.images / "keys/sign-pub.asc")
    assert output(person, sif("signed.sif", "--verify", "--", "echo", "ran")) == ["ran"]


def bytes_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_encrypted_images(person: Person, world: World, site: Path, sif: Sif) -> None:
    secret = (world.images / "keys/passphrase").read_text()
    assert "no key was given" in sif("encrypted-pem.sif", "--", "true", code=3).stderr
    ours = person.write("passphrase", secret, 0o600)
    pem = person.write("key.pem", (world.images / "keys/rsa.pem").read_text(), 0o600)
    echo = ("--", "echo", "ran")
    wrong = person.write("wrong", "wrong", 0o600)
    by_passphrase = "encrypted-passphrase.sif"
    *runs, _ = at_once(
        lambda: sif("encrypted-pem.sif", "--image-key", pem, *echo),
        lambda: sif(by_passphrase, "--image-key", ours, *echo),
        lambda: sif(by_passphrase, "--image-key", "env:MY_KEY", *echo, MY_KEY=secret),
        lambda: sif(by_passphrase, "--image-key", wrong, *echo, code=1),
    )
    assert [output(person, done) for done in runs] == 3 * [["ran"]]
    kept = bytes_of(person.home)
    assert person.home / "jobs.sqlite3" in kept
    assert sum(path.name == "job.sh" for path in kept) == 4
    assert [path for path, text in kept.items() if secret.encode() in text or b"PRIVATE KEY" in text] == []
    assert "it is not set here" in sif(by_passphrase, "--image-key", "env:MY_KEY", *echo, code=3).stderr
    closed = person.write("closed.yaml", site.read_text() + "scheduler: {export: none}\n")
    done = sif(by_passphrase, "--image-key", "env:MY_KEY", *echo, code=3, site=closed, MY_KEY=secret)
    assert "no variable of yours reaches the job" in done.stderr
    ours.chmod(0o640)
    done = sif(by_passphrase, "--image-key", ours, *echo, code=3)
    assert f"the key {ours} can be read by others" in done.stderr


def test_options_of_the_site(person: Person, world: World, site: Path, sif: Sif) -> None:
    """And GPUs on nodes that only count them: --nv finds no driver and says nothing."""
    mark = Path(pwd.getpwnam("hpc").pw_dir) / f".hpcjobs-test-{os.getpid()}"
    mark.touch()
    try:
        look = ("--", "sh", "-c", f"test -e {mark} && echo there; echo $CUDA_VISIBLE_DEVICES")
        gpus = ("-p", "gpu", "--gpus-per-node", "2")
        assert output(person, sif("app.sif", *gpus, *look)) == ["there", "0,1"]
        assert " --nv " in person("show", "last", "--script").stdout
        bare = person.write("bare.yaml", site.read_text().replace("apptainer}", "apptainer, options: [--no-home]}"))
        assert output(person, sif("app.sif", *look, site=bare)) == [""]
    finally:
        mark.unlink()


# ------------------------------------------------------------------------------ what goes wrong


def test_images_that_cannot_run_are_refused(world: World, sif: Sif) -> None:
    done = sif("truncated.sif", "--", "true", code=3)
    assert f"{world.images}/truncated.sif is cut short" in done.stderr
    done = sif("arm64.sif", "--", "true", code=3)
    assert f"{world.images}/arm64.sif is made for aarch64, and this machine is {os.uname().machine}" in done.stderr


@pytest.fixture
def shm(slurm: Callable[..., str], world: World) -> Iterator[Path]:
    """A folder in memory that the login node and n1 have, each its own with an image in it, and n2 has not."""
    folder = Path("/dev/shm") / f"hpcjobs-test-{os.getpid()}"
    on_n1 = ("nsenter", "--mount", "--target", slurm("pid", "n1").strip())
    try:
        for enter in ((), on_n1):
            tool(*enter, "install", "-d", "-m", "755", folder)
            tool(*enter, "cp", "--preserve=timestamps", world.images / "app.sif", folder)
        yield folder
    finally:
        for enter in ((), on_n1):
            tool(*enter, "rm", "-rf", folder)


def test_an_image_that_a_later_node_does_not_have(person: Person, shm: Path, site: Path) -> None:
    options = ("--runtime", "apptainer", "--image", shm / "app.sif", "--directive=--nodelist=n1,n2")
    done = submit(person, *TWO_BY_TWO, *options, "--", "/opt/mpihello", site=site, code=1)
    assert f"hpcjob: there is no {shm}/app.sif on node n2" in done.stderr
    assert "keep it on a file system that the nodes see" in done.stderr
    assert record(person)["exit_code"] == 66


def test_what_the_node_does_not_have(person: Person, shm: Path, world: World, site: Path) -> None:
    on_n2 = ("-n", "1", "--runtime", "apptainer", "--directive=--nodelist=n2")
    done = submit(person, *on_n2, "--image", shm / "app.sif", "--", "true", site=site, code=1)
    assert f"hpcjob: there is no image {shm}/app.sif on node n2" in done.stderr
    assert record(person)["exit_code"] == 66
    options = ("--image", world.images / "app.sif", "--bind", f"{shm}:/data", "--", "true")
    done = submit(person, *on_n2, *options, site=site, code=1)
    assert f"hpcjob: there is no {shm} on node n2" in done.stderr
    assert record(person)["exit_code"] == 66


NO_NAMESPACES = """\
#!/bin/sh
# Only here, and not on the whole machine: in a namespace that may have none below it.
exec unshare --user --map-current-user --keep-caps sh -c '
  echo 0 >/proc/sys/user/max_user_namespaces
  exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all "$@"' sh PROGRAM "$@"
"""


def test_without_user_namespaces(person: Person, world: World, site: Path) -> None:
    text = site.read_text()
    for kind, program in (("apptainer", "apptainer"), ("charliecloud", "ch-run")):
        command = person.write(program, NO_NAMESPACES.replace("PROGRAM", program), 0o755)
        text = text.replace(f"kind: {kind}}}", f"kind: {kind}, command: {command}}}")
    poor = person.write("poor.yaml", text)

    def run(kind: str) -> Done:
        options = ("-n", "1", "--runtime", kind, "--image", world.images / "app")
        return submit(person, *options, "--", "true", site=poor, code=1)

    for done in at_once(lambda: run("apptainer"), lambda: run("charliecloud")):
        assert "hint: containers of ordinary users are switched off on that node" in done.stderr


# ------------------------------------------------------------------------------------------ root


@pytest.mark.parametrize(
    ("runtime", "name"), [("apptainer, options: [--userns]", "app.sif"), ("charliecloud", "app.sqfs")]
)
def test_as_root(cli: Cli, home: Path, made: Path, runtime: str, name: str) -> None:
    (home / "site.yaml").write_text(f"extends: testbed\nruntimes: [{{kind: {runtime}}}]\n")
    options = ("--site-file", "site.yaml", "--image", str(made / name), *TWO_BY_TWO)
    done = cli("submit", *options, "--wait", "--", "/opt/mpihello")
    assert_four_ranks(cli("logs", done.stdout.strip()).stdout.splitlines())
