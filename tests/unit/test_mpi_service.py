"""The use cases around MPI: what is known of host and image, where it is kept, and what is made for a container."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import mpi_service, paths
from hpcjobs.errors import HpcjobError, PlanError, SiteError, StoreError
from hpcjobs.image_service import Telling
from hpcjobs.model import Canary, ImageFacts, JobSpec, LauncherConfig, MpiConfig, MpiPlan, RuntimeConfig, Site
from hpcjobs.mpi.facts import Library, MpiHost
from hpcjobs.mpi_service import Mpi, enter, place
from hpcjobs.process import Completed
from hpcjobs.site import mpilock
from tests import mpi_facts
from tests.mpi_elf import build
from tests.unit.test_mpi_image import LIB, MPICH, OPEN_MPI, app, tree

HOST = mpi_facts.host(mpi_facts.DEBIAN)
TWO = JobSpec(command=("/opt/solve",), image="app", ntasks=2)


class Lab:
    """A site, a home, and a host whose probes are counted."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.told: list[str] = []
        self.probes: list[dict[str, Any]] = []
        self.found = HOST
        self.folder = home / "sites"
        self.folder.mkdir()
        (home / "work").mkdir()

    def probe(self, runner: object, **asked: Any) -> MpiHost:
        assert runner == self.run
        self.probes.append(asked)
        return self.found

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        return Completed(tuple(argv), 0, "", "")

    def mpi(self, file: Path | None = None, **site: Any) -> Mpi:
        telling = Telling(lambda *_: None, self.told.append)
        return Mpi(Site(**{"name": "alps", **site}), file or self.folder / "alps.yaml", self.run, telling)

    def lock(self, name: str = "alps.mpi.lock.yaml", host: MpiHost = HOST) -> Path:
        (self.folder / name).write_text(mpilock.dump(host))
        return self.folder / name

    def image(self, **contents: bytes | str) -> Path:
        """An image folder with MPICH and a program; beside it, a file that stands for it."""
        root = tree(self.home / "image", {f"{LIB}/libmpi.so.12": MPICH, "opt/solve": app("libmpi.so.12"), **contents})
        (self.home / "app.sif").write_bytes(b"SIF")
        return root

    def kept(self, kind: str) -> list[str]:
        return [file.name for file in (self.home / "data/cache").glob(f"mpi-{kind}-*.json")]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in set(mpi_service._CHOOSING) - {"PATH"}:
        monkeypatch.setenv(name, "")
    made = Lab(tmp_path)
    monkeypatch.setattr("hpcjobs.mpi.host.probe", made.probe)
    return made


def refused(call: Callable[[], object], kind: type[HpcjobError] = PlanError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


# -------------------------------------------------------------------------------------- the lock file


def test_the_lock_file_is_beside_the_site_s_or_where_it_says(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKS", "/apps/locks")
    assert lab.mpi().lock_file == lab.folder / "alps.mpi.lock.yaml"
    assert lab.mpi(mpi=MpiConfig(lock="ours.yaml")).lock_file == lab.folder / "ours.yaml"
    assert lab.mpi(mpi=MpiConfig(lock="$LOCKS/a.yaml")).lock_file == Path("/apps/locks/a.yaml")
    # What comes with the program is no place to write to.
    own = lab.home / "config/hpcjobs/sites"
    assert lab.mpi(paths.packaged("sites") / "local.yaml", name="local").lock_file == own / "local.mpi.lock.yaml"
    assert Mpi(Site(name="x"), None, lab.run, Telling(print, print)).lock_file == own / "x.mpi.lock.yaml"


def test_the_lock_file_is_read_once_until_it_changes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.mpi().locked() is None
    file = lab.lock()
    assert lab.mpi().locked() == HOST
    with monkeypatch.context() as without_yaml:
        without_yaml.setattr(mpilock, "load", None)
        assert lab.mpi().locked() == HOST
    lab.lock(host=replace(HOST, node="n9"))
    found = lab.mpi().locked()
    assert found
    assert found.node == "n9"
    file.unlink()
    assert lab.mpi().locked() is None


def test_a_cache_that_is_damaged_or_of_another_version_is_not_believed(lab: Lab) -> None:
    lab.lock()
    lab.mpi().locked()
    (name,) = lab.kept("lock")
    for text in ("", "{", "[]", '"x"', '{"node": 3}', '{"from": "the future"}'):
        (lab.home / "data/cache" / name).write_text(text)
        assert lab.mpi().locked() == HOST


def test_what_cannot_be_kept_is_found_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(paths, "write_private", full)
    lab.lock()
    assert lab.mpi().locked() == lab.mpi().locked() == HOST


def test_a_lock_file_that_is_named_and_missing(lab: Lab) -> None:
    named = lab.mpi(mpi=MpiConfig(lock="ours.yaml"))
    text = refused(named.locked)
    file = lab.folder / "ours.yaml"
    assert text == f"there is no lock file {file}, which site alps names | hpcjob mpi host -o {file}"
    assert refused(named.host) == text


@pytest.mark.parametrize("text", ["format: 1\nmpis: [3]\n", "a: [", "", "format: 7\n"])
def test_a_lock_file_that_is_damaged_is_no_reason_to_do_without(lab: Lab, text: str) -> None:
    (lab.folder / "alps.mpi.lock.yaml").write_text(text)
    lab.image()
    for call in (lab.mpi().locked, lab.mpi().host, lambda: known(lab)):
        assert f"{lab.folder}/alps.mpi.lock.yaml" in refused(call, SiteError)
    assert not lab.probes


def test_a_lock_file_that_cannot_be_read(lab: Lab) -> None:
    (lab.folder / "alps.mpi.lock.yaml").mkdir()
    assert f"{lab.folder}/alps.mpi.lock.yaml cannot be read" in refused(lab.mpi().locked)
    (lab.folder / "alps.mpi.lock.yaml").rmdir()
    (lab.folder / "alps.mpi.lock.yaml").write_bytes(b"\xff\xfe\0")
    assert f"{lab.folder}/alps.mpi.lock.yaml" in refused(lab.mpi().locked, SiteError)


# ------------------------------------------------------------------------------------------- the host


def test_a_host_with_a_lock_file_is_not_looked_at(lab: Lab) -> None:
    lab.lock()
    assert lab.mpi().host() == HOST
    assert not lab.probes
    assert not lab.told


def test_the_host_is_looked_at_once_for_each_environment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.found = replace(HOST, libraries=(), mpis=())
    for _ in range(2):
        assert lab.mpi().host() == lab.found
    assert len(lab.probes) == 1
    assert lab.told == ["looking at the MPI of this machine, once: hpcjob mpi host tells what there is"]
    lab.mpi().host(("mpich",))
    lab.mpi(modules=("PrgEnv",)).host()
    lab.mpi(mpi=MpiConfig(prefixes=("/opt/m",))).host()
    lab.mpi(name="other").host()
    assert len(lab.probes) == 5
    monkeypatch.setenv("LOADEDMODULES", "intel-mpi/2021")
    lab.mpi().host()
    assert len(lab.probes) == 6
    monkeypatch.setenv("LOADEDMODULES", "")
    lab.mpi().host()
    assert len(lab.probes) == 6


def test_the_host_is_looked_at_again_when_a_library_is_another(lab: Lab) -> None:
    file = lab.home / "libmpi.so.12"
    file.write_bytes(build(soname="libmpi.so.12", build_id="8a" * 20))
    data = file.read_bytes()
    at = data.index(b"\x8a" * 20)
    known = Library(name="libmpi.so.12", path=str(file), size=len(data), build_id="8a" * 20, build_at=at)
    mpi = replace(mpi_facts.DEBIAN, interfaces=(mpi_facts._interface(str(file)),), libraries=(str(file),))
    lab.found = replace(HOST, mpis=(mpi,), libraries=(known,))
    for _ in range(2):
        lab.mpi().host()
    assert len(lab.probes) == 1
    file.write_bytes(data[:at] + b"\x8b" + data[at + 1 :])
    lab.mpi().host()
    assert len(lab.probes) == 2
    file.unlink()
    lab.mpi().host()
    assert len(lab.probes) == 3


def test_a_probe_knows_what_the_site_says(lab: Lab) -> None:
    mpi = lab.mpi(
        modules=("PrgEnv",),
        module_init="source /m",
        mpi=MpiConfig(prefixes=("/opt/m",)),
        launcher=LauncherConfig(kind="srun"),
        launchers=(LauncherConfig(kind="mpiexec", command="/opt/m/bin/mpiexec"),),
    )
    mpi.probe(("mpich",))
    assert mpi.name == "alps"
    assert lab.probes == [
        {
            "environment": os.environ,
            "modules": ("PrgEnv", "mpich"),
            "module_init": "source /m",
            "prefixes": ("/opt/m",),
            "launchers": [("mpiexec", "/opt/m/bin/mpiexec")],
        }
    ]


# ------------------------------------------------------------------------------------------ the image


def facts_of(lab: Lab, **more: Any) -> ImageFacts:
    """An image that is a folder, and known by digest and stamp as if it were a file."""
    return ImageFacts(**{"path": str(lab.home / "image"), "kind": "directory", "stamp": "1.1", **more})


@pytest.fixture
def looks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that were looked into."""
    from hpcjobs.mpi import image

    lab.image()
    seen: list[str] = []
    real = image.probe

    def probe(files: Any, name: str, **more: Any) -> Any:
        seen.append(name)
        return real(files, name, **more)

    monkeypatch.setattr(image, "probe", probe)
    return seen


def test_an_image_is_looked_into_once(lab: Lab, looks: list[str]) -> None:
    mpi, facts = lab.mpi(), facts_of(lab, digest="sha256:1")
    found = mpi.image(TWO, facts)
    assert found.program
    assert (found.program.needed, found.program.where) == (("libmpi.so.12",), "image")
    assert mpi.image(TWO, facts) == found
    assert len(looks) == 1
    # Other arguments are no other program.
    assert mpi.image(replace(TWO, command=("/opt/solve", "b.nml")), facts) == found
    assert len(looks) == 1
    # The same content at another place is the same image.
    shutil.copytree(lab.home / "image", lab.home / "copy", symlinks=True)
    copy = mpi.image(TWO, replace(facts, path=str(lab.home / "copy")))
    assert copy == replace(found, path=str(lab.home / "copy"))
    assert len(looks) == 1


def test_another_image_or_program_is_looked_into(lab: Lab, looks: list[str]) -> None:
    mpi, facts = lab.mpi(), facts_of(lab, digest="sha256:1")
    mpi.image(TWO, facts)
    for number, (spec, other) in enumerate(
        (
            (TWO, replace(facts, digest="sha256:2")),
            (TWO, replace(facts, stamp="1.2")),
            (replace(TWO, command=("/opt/other",)), facts),
            (replace(TWO, command=("env", "A=1", "/opt/solve")), facts),
            (replace(TWO, workdir="/data"), facts),
            (replace(TWO, bind=("/data:/opt",)), facts),
            (replace(TWO, command=()), facts),
        ),
        2,
    ):
        mpi.image(spec, other)
        assert len(looks) == number


def test_a_folder_that_may_change_unseen_is_looked_into_each_time(lab: Lab, looks: list[str]) -> None:
    for _ in range(2):
        lab.mpi().image(TWO, facts_of(lab, stamp=""))
    assert len(looks) == 2
    assert lab.kept("image") == []


def test_a_program_on_the_host_is_looked_at_again_when_it_changes(lab: Lab, looks: list[str]) -> None:
    file = lab.home / "work/solve"
    file.write_bytes(app("libmpi.so.12"))
    spec, facts = replace(TWO, command=("./solve",), workdir=str(lab.home / "work")), facts_of(lab, digest="sha256:1")
    for _ in range(2):
        found = lab.mpi().image(spec, facts).program
        assert found
        assert (found.path, found.where, found.needed) == (str(file), "host", ("libmpi.so.12",))
    assert len(looks) == 1
    file.write_bytes(app("libmpi.so.40"))
    os.utime(file, ns=(1, 1))
    found = lab.mpi().image(spec, facts).program
    assert found
    assert found.needed == ("libmpi.so.40",)
    file.unlink()
    found = lab.mpi().image(spec, facts).program
    assert found
    assert found.kind == "missing"


def test_a_bound_program_is_looked_at_where_the_host_has_it(lab: Lab, looks: list[str]) -> None:
    (lab.home / "work/solve").write_bytes(app("libmpi.so.12"))
    spec = replace(TWO, command=("/app/solve",), bind=(f"{lab.home}/work:/app",), workdir="/")
    for runs in ("libmpi.so.12", "libmpi.so.40"):
        (lab.home / "work/solve").write_bytes(app(runs, runpath=f"/{runs}"))
        found = lab.mpi().image(spec, facts_of(lab, digest="sha256:1")).program
        assert found
        assert (found.where, found.needed) == ("host", (runs,))


def test_a_program_that_was_not_there_yet_is_looked_for_again(lab: Lab, looks: list[str]) -> None:
    spec, facts = replace(TWO, command=("./solve",), workdir=str(lab.home / "work")), facts_of(lab, digest="sha256:1")
    found = lab.mpi().image(spec, facts).program
    assert found
    assert found.kind == "missing"
    (lab.home / "work/solve").write_bytes(app("libmpi.so.12"))
    found = lab.mpi().image(spec, facts).program
    assert found
    assert (found.kind, found.where) == ("program", "host")


def test_variables_in_binds_are_expanded_or_left_out(
    lab: Lab, looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.home / "work/solve").write_bytes(app("libmpi.so.12"))
    monkeypatch.setenv("APPS", str(lab.home / "work"))
    mpi = lab.mpi(bind=("$APPS:/app", "$NOT_SET_HERE:/x"))
    found = mpi.image(replace(TWO, command=("/app/solve",), workdir="/"), facts_of(lab)).program
    assert found
    assert (found.path, found.where) == (str(lab.home / "work/solve"), "host")


def test_an_image_is_looked_into_through_a_runtime(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def run(argv: Sequence[str], **_: Any) -> Completed:
        asked.append(tuple(argv))
        return Completed(tuple(argv), 0, " done\n", "")

    mpi = Mpi(Site(name="s"), None, run, Telling(print, print))
    found = mpi.through(("enter", "app"), replace(TWO, workdir=str(lab.home)), "docker://app")
    assert (found.path, found.mpis) == ("docker://app", ())
    assert {call[:4] for call in asked} == {("enter", "app", "sh", "-c")}
    broken = Mpi(
        Site(name="s"),
        None,
        lambda argv, **_: Completed(tuple(argv), 125, "", "no such image\n"),
        Telling(print, print),
    )
    text = refused(lambda: broken.through(("enter", "app"), TWO, "docker://app"))
    assert text.startswith("the image cannot be looked into: no such image | ")


# -------------------------------------------------------------------------------- for a submission


def known(
    lab: Lab, spec: JobSpec = TWO, mpi: Mpi | None = None, *, runtime: str = "apptainer", **image: Any
) -> tuple[Any, str]:
    config = RuntimeConfig(kind=runtime)
    return (mpi or lab.mpi()).known(spec, facts_of(lab, **image), lab.home / "data/jobs/.mpi", config)


def test_a_submission_knows_image_and_host(lab: Lab, looks: list[str]) -> None:
    folder = lab.home / "data/jobs/.mpi"
    found, why = known(lab)
    assert why == ""
    assert found.host == HOST
    assert found.image.program.needed == ("libmpi.so.12",)
    assert (found.folder, found.proven) == (str(folder), frozenset())
    folder.mkdir(parents=True)
    for name in ("proven-1", "proven-2", "12ab", ".12ab.7.c0ffee"):
        (folder / name).touch()
    assert known(lab)[0].proven == {"proven-1", "proven-2"}


@pytest.mark.parametrize(
    "spec",
    [
        replace(TWO, ntasks=None),
        replace(TWO, ntasks=1),
        replace(TWO, ntasks=None, ntasks_per_node=1),
        replace(TWO, mpi="none"),
        replace(TWO, nodes=4, mpi="none"),
    ],
)
def test_nothing_is_looked_at_where_no_ranks_look_for_each_other(lab: Lab, looks: list[str], spec: JobSpec) -> None:
    (lab.folder / "alps.mpi.lock.yaml").write_text("damaged")
    assert known(lab, spec) == (None, "")
    assert (looks, lab.probes) == ([], [])


def test_nothing_is_looked_at_without_an_image(lab: Lab, looks: list[str]) -> None:
    assert known(lab, kind="none", path="") == (None, "")
    assert (looks, lab.probes) == ([], [])


@pytest.mark.parametrize("spec", [replace(TWO, ntasks=None, nodes=2), replace(TWO, ntasks=1, mpi="hybrid")])
def test_nodes_or_a_way_that_was_asked_for_are_reason_enough(lab: Lab, looks: list[str], spec: JobSpec) -> None:
    assert known(lab, spec)[0]
    assert (len(looks), len(lab.probes)) == (1, 1)


def test_one_rank_of_open_mpi_is_planned_where_srun_would_start_it(lab: Lab, looks: list[str]) -> None:
    one, srun = replace(TWO, ntasks=None), lab.mpi(launcher=LauncherConfig(kind="srun"))
    assert known(lab, one, srun) == (None, "")
    assert (len(looks), lab.probes) == (1, []), "MPICH finds itself"
    (lab.home / "image" / LIB / "libmpi.so.40").write_bytes(OPEN_MPI)
    (lab.home / "image/opt/solve").write_bytes(app("libmpi.so.40"))
    found, why = known(lab, one, srun, stamp="2.2")
    assert (found.image.program.family, found.host, why) == ("openmpi", None, "")
    assert lab.probes == []
    assert known(lab, replace(one, launcher="srun"), srun, stamp="2.2") == (None, ""), "it is asked for"
    assert known(lab, replace(one, launcher="none"), srun) == (None, "")
    assert known(lab, one, srun, encrypted=True) == (None, "")


def test_what_cannot_be_seen_is_left_to_the_launcher(lab: Lab, looks: list[str]) -> None:
    words = "so that its MPI was not looked at"
    assert known(lab, encrypted=True) == (None, f"the image is encrypted, {words}")
    reference: dict[str, Any] = {"path": "docker://alpine@sha256:1", "kind": "reference"}
    assert known(lab, **reference) == (None, f"the image is in the runtime's own store, {words}")
    assert (looks, lab.probes) == ([], [])
    # The runtime brings MPI, whatever the image has.
    shifter = lab.mpi(mpi=MpiConfig(runtime_option="--module=mpich"))
    found, why = known(lab, mpi=shifter, runtime="shifter", **reference)
    assert (found.image.path, found.host, why) == ("docker://alpine@sha256:1", None, "")
    # The option is none of another's.
    assert known(lab, mpi=shifter, runtime="podman", **reference)[0] is None
    assert (looks, lab.probes) == ([], [])


def test_an_image_that_breaks_the_probe_is_left_to_the_launcher(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found, why = known(lab, path=str(lab.home / "nothing"))
    assert found is None
    assert f"{lab.home}/nothing" in why

    def fails(*_: object, **__: object) -> MpiHost:
        raise PlanError("the probe fails", hint="do this")

    lab.image()
    monkeypatch.setattr("hpcjobs.mpi.host.probe", fails)
    assert known(lab) == (None, "the probe fails; do this")


# ----------------------------------------------------------------------- images of a runtime's own


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("podman", "podman run --rm --network=none --entrypoint= alpine:3"),
        ("podman-hpc", "podman-hpc run --rm --entrypoint= alpine:3"),
        ("docker", "docker run --rm --network=none --entrypoint= alpine:3"),
        ("shifter", "shifter --image=docker:alpine:3"),
    ],
)
def test_a_program_is_run_in_an_image_by_name(kind: str, words: str) -> None:
    assert " ".join(enter(of(kind), "docker://alpine:3", "")) == words


def of(*kinds: str) -> Site:
    return Site(name="s", runtimes=tuple(RuntimeConfig(kind=kind) for kind in kinds))


def test_the_runtime_by_name_or_the_first_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    site = of("apptainer", "sarus", "podman")
    assert enter(site, "docker://a", "") == ("sarus", "run", "--entrypoint", "", "a")
    assert enter(site, "docker://a", "podman")[0] == "podman"
    placed = replace(site, runtimes=(RuntimeConfig(kind="podman", command="/opt/podman"),))
    assert enter(placed, "docker://a", "")[0] == "/opt/podman"


def test_a_runtime_that_keeps_no_images() -> None:
    pull = "hpcjob image pull docker://a; then look at its file"
    text = refused(lambda: enter(of("apptainer"), "docker://a", ""))
    assert text == f"no runtime of site s keeps images by name | {pull}"
    for asked in ("apptainer", "docker"):
        text = refused(lambda: enter(of("apptainer", "podman"), "docker://a", asked))  # noqa: B023 - called at once
        assert text == f"site s has no runtime {asked} that keeps images by name | {pull}"


# ---------------------------------------------------------------------- the folder of a container


def planned(lab: Lab, **more: Any) -> MpiPlan:
    made = {
        "mode": "bind",
        "folder": str(lab.home / "data/jobs/.mpi/12ab"),
        "links": {"front/libmpi.so.12": "/opt/m/lib/libmpi.so.12", "tail/libucp.so.0": "/opt/m/lib/libucp.so.0"},
        "checks": ("there - - /opt/m",),
        "canary": Canary("x86_64", "libmpi.so.12", "/lib64/ld-linux-x86-64.so.2", "mpich"),
    }
    return MpiPlan(**{**made, **more})


def test_a_plan_without_a_folder_needs_none(lab: Lab) -> None:
    place(MpiPlan())
    assert not (lab.home / "data").exists()


def test_the_folder_has_links_and_what_guards(lab: Lab) -> None:
    plan = planned(lab)
    place(plan)
    folder = Path(plan.folder)
    assert sorted(entry.name for entry in folder.iterdir()) == ["canary", "check", "front", "judge", "tail"]
    assert {f"{path.parent.name}/{path.name}": str(path.readlink()) for path in folder.glob("*/*")} == plan.links
    assert (folder / "canary").read_bytes()[:4] == b"\x7fELF"
    for name in ("canary", "check", "judge"):
        assert (folder / name).stat().st_mode & 0o777 == 0o755
    for name in ("check", "judge"):
        subprocess.run(["bash", "-n", folder / name], check=True)
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    # It is there: nothing is done again.
    inode = folder.stat().st_ino
    place(plan)
    assert folder.stat().st_ino == inode


def test_only_what_is_needed_is_made(lab: Lab) -> None:
    plan = planned(lab, links={}, checks=())
    place(plan)
    assert sorted(entry.name for entry in Path(plan.folder).iterdir()) == ["canary", "front", "judge", "tail"]
    other = planned(lab, canary=None, folder=str(lab.home / "data/jobs/.mpi/34cd"))
    place(other)
    assert sorted(entry.name for entry in Path(other.folder).iterdir()) == ["check", "front", "tail"]


def test_two_submissions_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, real = planned(lab), Path.rename

    def rename(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", real)
        place(plan)  # the other one, just before
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    place(plan)
    assert [entry.name for entry in Path(plan.folder).parent.iterdir()] == ["12ab"]
    assert (Path(plan.folder) / "front/libmpi.so.12").is_symlink()


@pytest.mark.parametrize("step", ["mkdir", "symlink_to", "write_bytes", "chmod", "rename"])
def test_on_a_full_disk_nothing_half_is_left(lab: Lab, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    plan, real = planned(lab), getattr(Path, step)
    parent = Path(plan.folder).parent
    paths.make_private(parent)

    def full(self: Path, *args: Any, **more: Any) -> Any:
        if ".12ab." in str(self):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *args, **more)

    monkeypatch.setattr(Path, step, full)
    text = refused(lambda: place(plan), StoreError)
    assert text == f"{plan.folder} cannot be written: No space left on device | is the disk full, or over quota?"
    assert list(parent.iterdir()) == []
    monkeypatch.setattr(Path, step, real)
    place(plan)
    assert [entry.name for entry in parent.iterdir()] == ["12ab"]


def test_a_submission_that_is_interrupted_leaves_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupted)
    plan = planned(lab)
    with pytest.raises(KeyboardInterrupt):
        place(plan)
    assert list(Path(plan.folder).parent.iterdir()) == []


def test_the_cache_is_of_plain_json(lab: Lab, looks: list[str]) -> None:
    known(lab, digest="sha256:1")
    (name,) = lab.kept("image")
    data = json.loads((lab.home / "data/cache" / name).read_text())
    assert data["image"]["program"]["path"] == "/opt/solve"
    assert data["program"] == []
