"""The use cases around images, with a registry and tools in memory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import capabilities
from hpcjobs.errors import NotFoundError, PlanError, StoreError, UnreachableError
from hpcjobs.image_service import Telling, images_folder
from hpcjobs.image_tools import ImageTools, Removed
from hpcjobs.images import reference, registry
from hpcjobs.images import sif as image_sif
from hpcjobs.images.registry import Blob, Manifest
from hpcjobs.images.report import Report
from hpcjobs.model import ImageConfig, ImageFacts, ImageKey, JobSpec, RuntimeConfig, ServiceSpec, Site
from hpcjobs.process import Completed
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcjobs.images.reference import Reference

ARCH = os.uname().machine
SQUASHFS = b"hsqs" + bytes(36) + (96).to_bytes(8, "little") + bytes(48)
ALPINE = "docker://alpine:3.20"
NAME = "docker.io/library/alpine"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def layer() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("bin/sh")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"sh\n"))
    return out.getvalue()


class Hub:
    """A registry in memory; `Registry` is exchanged for it."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.resolved: list[str] = []
        self.downloads: list[str] = []
        self.down = False
        self.manifest = self.image()

    def blob(self, content: bytes, kind: str) -> Blob:
        self.blobs[digest(content)] = content
        return Blob(digest(content), len(content), kind)

    def image(self, arch: str = "") -> Manifest:
        config = self.blob(json.dumps({"architecture": arch, "config": {"Env": ["A=1"]}}).encode(), "config")
        tar = self.blob(layer(), "application/vnd.oci.image.layer.v1.tar")
        described: list[dict[str, Any]] = [
            {"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in (config, tar)
        ]
        raw = json.dumps({"config": described[0], "layers": described[1:]}).encode()
        manifest = "application/vnd.oci.image.manifest.v1+json"
        return Manifest(digest(b"the index"), digest(raw), manifest, config, (tar,), {}, raw)

    def sif(self) -> None:
        blob = self.blob(sif(b"02"), registry._SIF_LAYER)
        config = self.blob(b"{}", "config")
        self.manifest = Manifest(digest(b"oras"), digest(b"oras"), "m", config, (blob,), {}, b"{}")

    def __call__(self, host: str, *, credentials: object) -> Hub:
        assert credentials is None
        self.host = host
        return self

    def resolve(self, asked: Reference, arch: str) -> Manifest:
        assert arch == ARCH
        self.resolved.append(asked.name)
        if self.down:
            raise UnreachableError("the registry did not answer")
        return self.manifest

    def download(self, asked: Reference, blob: Blob, target: Path, progress: Any = lambda _: None) -> None:
        assert asked.registry == self.host
        self.downloads.append(blob.media_type)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(self.blobs[blob.digest])
        progress(blob.size)


class Lab:
    """Tools, a registry, folders."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.hub = Hub()
        self.calls: list[tuple[str, ...]] = []
        self.answers: dict[str, Completed] = {}
        self.told: list[str] = []
        self.progress: list[tuple[str, int, int]] = []
        self.work = home / "work"
        self.work.mkdir()
        self.bin = home / "bin"
        self.bin.mkdir()
        self.install("apptainer", "mksquashfs", "unsquashfs")

    def install(self, *names: str) -> None:
        for name in names:
            (self.bin / name).write_text("#!/bin/sh\n")
            (self.bin / name).chmod(0o755)

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        name = Path(argv[0]).name
        self.calls.append((name, *argv[1:]))
        if name in self.answers:
            return replace(self.answers[name], argv=tuple(argv))
        if argv[1:] == ("--version",):
            return Completed(tuple(argv), 0, "apptainer version 1.4.5\n", "")
        if name == "mksquashfs":
            Path(argv[2]).write_bytes(SQUASHFS)
        elif name == "apptainer" and argv[1] in ("build", "pull"):
            Path(argv[-2]).write_bytes(sif(b"02"))
        elif name == "unsquashfs":
            return Completed(tuple(argv), 1, "", "cannot be listed")
        return Completed(tuple(argv), 0, "", "")

    def fails(self, name: str, err: str = "", *, out: str = "", code: int = 1) -> None:
        self.answers[name] = Completed((), code, out, err)

    def called(self, name: str) -> list[tuple[str, ...]]:
        return [call for call in self.calls if call[0] == name and call[1:] != ("--version",)]

    def images(self, *kinds: str, **image: Any) -> ImageTools:
        site = Site(
            name="s",
            runtimes=tuple(RuntimeConfig(kind=kind) for kind in kinds or ("apptainer",)),
            image=ImageConfig(**{"folder": str(self.home / "images"), **image}),
        )
        telling = Telling(lambda *what: self.progress.append(what), self.told.append)
        return ImageTools(site, self.run, telling)

    def spec(self, image: str = "", **fields: Any) -> JobSpec:
        return JobSpec(command=("x",), image=image, workdir=str(self.work), **fields)

    def sif(self, name: str = "app.sif") -> str:
        (self.work / name).write_bytes(sif(b"02"))
        return str(self.work / name)

    def squashfs(self, name: str = "app.sqfs") -> str:
        (self.work / name).write_bytes(SQUASHFS)
        return str(self.work / name)

    def folder(self, name: str = "app") -> str:
        (self.work / name / "bin").mkdir(parents=True)
        return str(self.work / name)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    made = Lab(tmp_path)
    monkeypatch.setattr(registry, "Registry", made.hub)
    monkeypatch.setattr(registry, "credentials", lambda *_, **__: None)
    return made


def refused(call: Callable[[], object]) -> str:
    with pytest.raises((PlanError, NotFoundError, StoreError)) as caught:
        call()
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


# ------------------------------------------------------------------------------ the folder of images


def test_pulled_images_are_kept_below_the_home_or_where_the_site_says(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", "/store")
    assert images_folder(None) == images_folder(Site(name="s")) == lab.home / "data/images"
    assert images_folder(Site(name="s", image=ImageConfig(folder="$STORE/i"))) == Path("/store/i")
    text = refused(lambda: images_folder(Site(name="s", image=ImageConfig(folder="$NOT_SET_HERE/i"))))
    assert text.startswith("image.folder of site s is $NOT_SET_HERE/i, and a variable in it is not set here | set it")


# ---------------------------------------------------------------------------------- choose: files


@pytest.mark.parametrize(
    ("kinds", "make", "kind", "runtime"),
    [
        (("charliecloud", "apptainer"), Lab.sif, "sif", "apptainer"),
        (("apptainer", "charliecloud"), Lab.sif, "sif", "apptainer"),
        (("podman", "charliecloud"), Lab.squashfs, "squashfs", "charliecloud"),
        (("shifter", "pyxis"), Lab.squashfs, "squashfs", "pyxis"),
        (("ce",), Lab.squashfs, "squashfs", "ce"),
        (("sarus", "podman"), Lab.folder, "directory", "podman"),
        (("docker", "singularity"), Lab.sif, "sif", "singularity"),
    ],
)
def test_an_image_file_gets_the_first_runtime_that_takes_it(
    lab: Lab, kinds: tuple[str, ...], make: Callable[[Lab], str], kind: str, runtime: str
) -> None:
    facts, chosen = lab.images(*kinds).choose(lab.spec(make(lab)), final=True)
    assert (facts.kind, chosen.name) == (kind, runtime)


def test_the_bare_host(lab: Lab) -> None:
    facts, runtime = lab.images(verify="required").choose(lab.spec(), final=True)
    assert (facts, runtime.name, lab.calls) == (ImageFacts(""), "none", [])


def test_the_runtime_is_asked_for_its_version(lab: Lab) -> None:
    _, runtime = lab.images().choose(lab.spec(lab.sif()), final=False)
    assert runtime.config.version == "apptainer 1.4.5"


def test_a_file_that_is_bound_needs_a_runtime_that_binds_files(lab: Lab) -> None:
    (lab.work / "f").write_text("")
    images = lab.images("shifter", "podman-hpc")
    _, runtime = images.choose(lab.spec(ALPINE, bind=("f:/f",)), final=False)
    assert runtime.name == "podman-hpc"
    assert images.bind_files(lab.spec(bind=("f:/f", "nothing", "/"))) == {str(lab.work / "f")}


@pytest.mark.parametrize(
    ("how", "size", "known"),
    [((True, "warn"), "", True), ((False, "warn"), "", True), ((False, "warn"), "large", False),
     ((True, "warn"), "large", True), ((True, "ignore"), "", False)],
)  # fmt: skip
def test_the_digest_of_a_file_is_taken_unless_it_takes_long_or_nobody_asks(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, size: str, how: tuple[bool, str], known: bool
) -> None:
    final, changed = how
    if size:
        monkeypatch.setattr("hpcjobs.image_service._SMALL", 10)
    file = lab.sif()
    facts, _ = lab.images(changed=changed).choose(lab.spec(file), final=final)
    assert facts.digest == (digest(Path(file).read_bytes()) if known else "")
    assert facts.stamp == f"713.{int(Path(file).stat().st_mtime)}"


def test_the_job_says_what_the_site_would_do(lab: Lab) -> None:
    file = lab.sif()
    assert lab.images(changed="ignore").choose(lab.spec(file, image_changed="refuse"), final=True)[0].digest
    assert not lab.images(changed="refuse").choose(lab.spec(file, image_changed="ignore"), final=True)[0].digest
    signed = lab.images(changed="ignore").choose(lab.spec(file, verify="required"), final=True)
    assert signed[0].digest, "what was verified is what must run"


def test_podman_cannot_run_a_folder_of_somebody_else(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lab.folder()
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    text = refused(lambda: lab.images("podman").choose(lab.spec(folder), final=False))
    assert (
        text
        == f"Podman cannot run the image folder {folder}, which belongs to another user | use a copy of your own: cp -r"
    )
    monkeypatch.setattr(os, "geteuid", lambda: Path(folder).stat().st_uid)
    assert lab.images("podman").choose(lab.spec(folder), final=False)[1].name == "podman"


# ----------------------------------------------------------------------------- choose: references


@pytest.mark.parametrize("kind", sorted(capabilities.PULLED_TO))
def test_a_dry_run_pulls_nothing_and_says_where_the_image_would_be(lab: Lab, kind: str) -> None:
    facts, runtime = lab.images(kind).choose(lab.spec(ALPINE), final=False)
    suffix = {"sif": ".sif", "squashfs": ".sqfs"}[capabilities.PULLED_TO[kind]]
    pinned = lab.hub.manifest.digest
    assert runtime.name == kind
    assert facts == ImageFacts(
        str(lab.home / f"images/alpine-3.20-sha256-{pinned[7:19]}{suffix}"),
        capabilities.PULLED_TO[kind],  # type: ignore[arg-type]
        source=f"docker://{NAME}:3.20@{pinned}",
    )
    assert (lab.hub.downloads, (lab.home / "images").exists()) == ([], False)
    assert [call for call in lab.calls if call[1:] != ("--version",)] == []


@pytest.mark.parametrize("kind", sorted(capabilities.PULLED_TO))
def test_a_submission_pulls_the_image_to_a_file(lab: Lab, kind: str) -> None:
    images = lab.images(kind)
    facts, _ = images.choose(lab.spec(ALPINE), final=True)
    assert Path(facts.path).is_file()
    assert facts.kind == capabilities.PULLED_TO[kind]
    assert facts.source == f"docker://{NAME}:3.20@{lab.hub.manifest.digest}"
    assert facts.digest == digest(Path(facts.path).read_bytes())
    assert lab.hub.host == "docker.io"
    assert lab.told == [f"making {Path(facts.path).name}"]
    assert lab.progress[-1] == (f"{NAME}:3.20", lab.hub.manifest.size, lab.hub.manifest.size)
    # Then it is there, for a dry run too.
    downloads = [*lab.hub.downloads]
    again, _ = images.choose(lab.spec(ALPINE), final=True)
    planned, _ = images.choose(lab.spec(ALPINE), final=False)
    assert again == planned == facts
    assert lab.hub.downloads == downloads


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("podman-hpc", f"podman-hpc pull {NAME}@DIGEST"),
        ("shifter", "shifterimg pull docker:library/alpine:3.20"),
        ("sarus", f"sarus pull {NAME}@DIGEST"),
        ("docker", f"docker pull {NAME}@DIGEST"),
        ("podman", ""),  # on each node, by the job
    ],
)
def test_runtimes_with_a_store_pull_into_it(lab: Lab, kind: str, command: str) -> None:
    pinned = lab.hub.manifest.digest
    expected = ImageFacts(
        f"docker://{NAME}@{pinned}", "reference", digest=pinned, source=f"docker://{NAME}:3.20@{pinned}"
    )
    assert lab.images(kind).choose(lab.spec(ALPINE), final=False)[0] == expected
    assert lab.calls == []
    assert lab.images(kind).choose(lab.spec(ALPINE), final=True)[0] == expected
    assert lab.calls == ([tuple(command.replace("DIGEST", pinned).split())] if command else [])
    assert lab.hub.downloads == []


@pytest.mark.parametrize("kind", ["podman", "shifter", "docker"])
def test_a_store_gets_no_image_for_another_cpu(lab: Lab, kind: str) -> None:
    alone = lab.hub.image("sparc")
    lab.hub.manifest = replace(alone, digest=alone.platform_digest)
    text = refused(lambda: lab.images(kind).choose(lab.spec(ALPINE), final=False))
    assert f"{NAME}:3.20 is for sparc, not {ARCH}" in text
    lab.hub.sif()
    assert "is a SIF file" in refused(lambda: lab.images(kind).choose(lab.spec(ALPINE), final=False))
    assert lab.calls == []


def test_the_command_of_the_site_pulls(lab: Lab) -> None:
    images = lab.images("sarus")
    images._site = replace(images._site, runtimes=(RuntimeConfig(kind="sarus", command="/opt/sarus"),))
    images.choose(lab.spec(ALPINE), final=True)
    assert lab.calls[0][:2] == ("sarus", "pull")


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("shifter", (0, "2026 Pulling Image: docker:a, status: FAILURE\n", ""), "shifterimg could not pull"),
        ("shifter", (0, "x\nstatus: FAILURE\n", ""), ": status: FAILURE | try it by hand: shifterimg pull docker:lib"),
        ("sarus", (1, "", "warning\nFailed to pull: no\n"), ": Failed to pull: no | try it by hand: sarus pull "),
        ("docker", (125, "", ""), ": exit code 125 | try it by hand: docker pull "),
    ],
)
def test_a_pull_that_failed_is_told(lab: Lab, kind: str, answer: tuple[int, str, str], told: str) -> None:
    code, out, err = answer
    lab.fails("shifterimg" if kind == "shifter" else kind, err, out=out, code=code)
    assert told in refused(lambda: lab.images(kind).choose(lab.spec(ALPINE), final=True))


def test_shifter_knows_no_digests(lab: Lab) -> None:
    asked = f"docker://{NAME}@{digest(b'x')}"
    text = refused(lambda: lab.images("shifter").choose(lab.spec(asked), final=True))
    assert text.startswith(f"Shifter gets images by tag, and docker://{NAME}@sha256:")
    assert f"add it: docker://{NAME}:TAG@…" in text
    assert lab.calls == []


@pytest.mark.parametrize("kind", ["podman", "docker", "shifter", "sarus", "podman-hpc"])
@pytest.mark.parametrize("name", ["oras://ghcr.io/a/b:1", "library://a/b/c:1"])
def test_stores_get_images_from_docker_registries_only(lab: Lab, kind: str, name: str) -> None:
    text = refused(lambda: lab.images(kind).choose(lab.spec(name), final=False))
    assert f"{kind} gets images from docker:// only, not {name.partition(':')[0]}:// | docker://" in text


def test_a_name_that_is_none(lab: Lab) -> None:
    with pytest.raises(Exception, match="upper-case"):
        lab.images().choose(lab.spec("docker://Alpine"), final=False)


def test_shifter_runs_what_a_tag_stands_for(lab: Lab) -> None:
    now, old = lab.hub.manifest.digest, digest(b"old")
    facts, _ = lab.images("shifter").choose(lab.spec(f"{ALPINE}@{now}"), final=False)
    assert facts.digest == now
    text = refused(lambda: lab.images("shifter").choose(lab.spec(f"{ALPINE}@{old}"), final=True))
    assert text == (
        f"Shifter runs what the tag 3.20 stands for, and that is no longer {old[:19]}… | "
        f"give the new one: docker://{NAME}:3.20; or use another runtime"
    )
    assert lab.calls == []


# ---------------------------------------------------------------------------- pulled for the site


def test_what_the_site_s_first_runtime_that_pulls_would_get(lab: Lab) -> None:
    asked, manifest = reference.parse(ALPINE), lab.hub.manifest
    path, got = lab.images("charliecloud", "apptainer").pull_for_site(asked)
    assert (Path(path).suffix, Path(path).parent, got) == (".sqfs", lab.home / "images", manifest.digest)
    assert Path(path).is_file()
    assert lab.images("apptainer", "docker").pull_for_site(asked)[0].endswith(".sif")
    lab.calls.clear()
    name, got = lab.images("podman", "docker").pull_for_site(asked)
    assert (name, got) == (f"docker://{NAME}@{manifest.digest}", manifest.digest)
    assert lab.calls == [("docker", "pull", f"{NAME}@{manifest.digest}")]


def test_a_site_that_keeps_no_images(lab: Lab) -> None:
    assert refused(lambda: lab.images("podman").pull_for_site(reference.parse(ALPINE))) == (
        "no runtime of site s keeps images that are pulled here | give --format sif"
    )


def test_a_configuration_that_is_none(lab: Lab) -> None:
    manifest = lab.hub.manifest
    lab.hub.manifest = replace(manifest, config=replace(manifest.config, size=1 << 30))
    assert refused(lambda: lab.images().report(ALPINE)) == (
        f"the configuration of {NAME}:3.20 has {1 << 30} bytes | it is no image"
    )
    assert lab.hub.downloads == []


def test_a_file_s_name_tells_its_cpu_where_it_is_not_the_usual_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, images = reference.parse(ALPINE), lab.images()
    lab.hub.resolve = lambda *_: lab.hub.manifest  # type: ignore[method-assign]
    for machine, ending in (("x86_64", ".sif"), ("aarch64", ".aarch64.sif")):
        monkeypatch.setattr(os, "uname", partial(SimpleNamespace, machine=machine))
        short = lab.hub.manifest.digest[7:19]
        assert images.expected(asked, "sif")[0].name == f"alpine-3.20-sha256-{short}{ending}"


# --------------------------------------------------------------------------- what a job asks for


@pytest.mark.parametrize("text", ["layer", "new.img:2G", "there.img", "there.img:ro", "there:ro"])
def test_overlays_that_are_there_or_are_made(lab: Lab, text: str) -> None:
    (lab.work / "there.img").write_bytes(b"x")
    (lab.work / "there").mkdir()
    facts, _ = lab.images().choose(lab.spec(lab.sif(), overlay=(text,)), final=True)
    assert facts.kind == "sif"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no.img", "there is no overlay WORK/no.img | to make it: --overlay WORK/no.img:2G"),
        ("no.img:ro", "there is no overlay WORK/no.img | is its name right?"),
        ("no:ro", "there is no overlay WORK/no | is its name right?"),
        ("no/layer", "there is no folder WORK/no for the overlay | mkdir -p WORK/no"),
        ("no/new.img:2G", "there is no folder WORK/no for the overlay | mkdir -p WORK/no"),
    ],
)
def test_overlays_that_are_not_there(lab: Lab, text: str, told: str) -> None:
    spec = lab.spec(lab.sif(), overlay=(text,))
    assert refused(lambda: lab.images().choose(spec, final=False)) == told.replace("WORK", str(lab.work))


def test_a_bind_that_is_not_here_may_be_on_the_nodes(lab: Lab) -> None:
    lab.images().choose(lab.spec(lab.sif(), bind=("gone:/g", ".:/here")), final=False)
    assert lab.told == [f"warning: {lab.work}/gone is not here; the job will need it on its nodes"]


def looked_into(monkeypatch: pytest.MonkeyPatch, file_system: str = "squashfs", **fields: Any) -> None:
    """ImageTools have this inside, as far as it can be seen."""
    monkeypatch.setattr(
        ImageTools, "report", lambda _, path: Report(path, **{"format": path.rpartition(".")[2], **fields})
    )
    header = SimpleNamespace(arch="", encrypted=False, primary=SimpleNamespace(filesystem=file_system))
    monkeypatch.setattr(image_sif, "read", lambda _: header)


def test_an_app_that_the_image_has_or_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lab.sif()
    looked_into(monkeypatch, apps=["solve", "mesh"])
    assert lab.images().choose(lab.spec(file, app="solve", entrypoint=True), final=False)[0].path == file
    choose = partial(lab.images().choose, lab.spec(file, app="solv"), final=False)
    assert refused(choose) == f"the image {file} has no app 'solv' | did you mean solve?"
    looked_into(monkeypatch)
    assert refused(choose) == f"the image {file} has no app 'solv' | hpcjob image inspect tells what is in it"


def test_an_entrypoint_that_the_image_has_or_not(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lab.sif()

    def choose() -> str:
        return lab.images().choose(lab.spec(file, entrypoint=True), final=False)[0].path

    for fields in ({"runscript": True}, {"entrypoint": "/run.sh"}):
        looked_into(monkeypatch, **fields)
        assert choose() == file
    looked_into(monkeypatch)
    assert refused(choose) == f"the image {file} has no entrypoint | leave out --entrypoint, and name the program"
    # Enroot starts its /etc/rc, which all images have that it or hpcjob made.
    squashed = lab.squashfs()
    spec = lab.spec(squashed, entrypoint=True)
    assert lab.images("pyxis").choose(spec, final=False)[0].path == squashed


@pytest.mark.parametrize(
    ("file_system", "fields"),
    [("gocryptfs squashfs", {"encrypted": True}), ("ext3", {}), ("squashfs", {"complete": False})],
)
def test_what_nobody_can_see_is_not_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, file_system: str, fields: dict[str, Any]
) -> None:
    file = lab.sif()
    looked_into(monkeypatch, file_system, **fields)
    for asked in ({"app": "x"}, {"entrypoint": True}):
        assert lab.images().choose(lab.spec(file, **asked), final=False)[0].path == file


# --------------------------------------------------------------------------------- pinned, resubmit


def test_a_job_remembers_the_digest_that_a_name_stood_for(lab: Lab) -> None:
    images = lab.images()
    facts, _ = images.choose(lab.spec(ALPINE), final=True)
    pinned = images.pinned(ALPINE, facts)
    assert pinned == f"docker://{NAME}:3.20@{lab.hub.manifest.digest}"
    # A resubmission needs no registry while the file is there, and the tag may have moved on.
    lab.hub.down = True
    again, _ = images.choose(lab.spec(pinned), final=True)
    assert (again.path, again.digest) == (facts.path, facts.digest)
    assert images.pinned("/i/app.sif", ImageFacts("/i/app.sif", "sif")) == "/i/app.sif"


def test_a_library_image_without_a_digest_is_remembered_as_its_file(lab: Lab) -> None:
    images = lab.images()
    facts, _ = images.choose(lab.spec("library://sylabs/examples/lolcow:1"), final=True)
    content = digest(sif(b"02"))
    assert Path(facts.path).name == f"lolcow-1-sha256-{content[7:19]}.sif"
    assert facts.source == "library://sylabs/examples/lolcow:1"
    assert images.pinned("library://sylabs/examples/lolcow:1", facts) == facts.path
    (pull,) = lab.called("apptainer")
    assert (pull[1:3], pull[-1]) == (("pull", "--disable-cache"), "library://sylabs/examples/lolcow:1")
    assert lab.told == ["pulling sylabs/examples/lolcow:1"]
    assert not list((lab.home / "images").glob(".pull-*"))


def test_a_library_image_with_a_digest_is_pulled_once(lab: Lab) -> None:
    name = f"library://a/b/c:sha256.{'1' * 64}"
    images = lab.images()
    for _ in range(2):
        facts, _ = images.choose(lab.spec(name), final=True)
    assert Path(facts.path).name == "c-sha256-111111111111.sif"
    assert len(lab.called("apptainer")) == 1


def test_a_dry_run_with_a_library_image(lab: Lab) -> None:
    facts, _ = lab.images().choose(lab.spec("library://a/b/c:1"), final=False)
    assert (Path(facts.path).parent, facts.kind) == (lab.home / "images", "sif")
    assert lab.called("apptainer") == []


# --------------------------------------------------------------------------------------------- pull


def test_a_sif_file_in_a_registry_is_taken_as_it_is(lab: Lab) -> None:
    lab.hub.sif()
    asked = reference.parse("oras://ghcr.io/a/app:1")
    path, found = lab.images().pull(asked, "sif")
    assert path.read_bytes() == sif(b"02")
    assert (found, lab.hub.host, lab.calls) == (lab.hub.manifest.digest, "ghcr.io", [])
    text = refused(lambda: lab.images("charliecloud").pull(asked, "squashfs"))
    assert text == "ghcr.io/a/app:1 is a SIF file, which this runtime cannot run | use --runtime apptainer"
    spec = lab.spec("oras://ghcr.io/a/app:1")
    assert text == refused(lambda: lab.images("charliecloud").choose(spec, final=False)), "a dry run says so too"


def test_a_pull_by_digest_that_is_there_asks_nobody(lab: Lab) -> None:
    asked = reference.parse(ALPINE)
    path, found = lab.images().pull(asked, "sif")
    lab.hub.resolved.clear()
    assert lab.images().pull(asked.pinned(found), "sif") == (path, found)
    assert lab.images().expected(asked.pinned(found), "sif") == (path, found)
    assert lab.hub.resolved == []


def test_a_pull_by_digest_of_what_is_nowhere_makes_no_folder(lab: Lab) -> None:
    lab.hub.down = True
    nowhere = reference.parse(ALPINE).pinned(f"sha256:{'0' * 64}")
    with pytest.raises(UnreachableError):
        lab.images().pull(nowhere, "sif")
    assert not lab.images().folder.root.exists()


def test_what_was_downloaded_is_kept_when_making_the_file_fails(lab: Lab) -> None:
    images, asked = lab.images("charliecloud"), reference.parse(ALPINE)
    lab.fails("mksquashfs", "FATAL ERROR: something")
    assert "making alpine" in refused(lambda: images.pull(asked, "squashfs"))
    assert images.folder.images() == []
    layers = lab.hub.downloads.count("application/vnd.oci.image.layer.v1.tar")
    del lab.answers["mksquashfs"]
    path, _ = images.pull(asked, "squashfs")
    assert path.is_file()
    assert lab.hub.downloads.count("application/vnd.oci.image.layer.v1.tar") == layers == 1


@pytest.mark.parametrize("config", [b"\xff", b"[]", b'{"config": {"Env": 1}}'])
def test_what_has_no_configuration_of_an_image_is_refused(lab: Lab, config: bytes) -> None:
    lab.hub.manifest = replace(lab.hub.manifest, config=lab.hub.blob(config, "config"))
    asked = reference.parse(ALPINE)
    for call in (lambda: lab.images().pull(asked, "sif"), lambda: lab.images().report(ALPINE)):
        assert refused(call).startswith(f"{NAME}:3.20 is damaged, or no image: ")


def test_an_image_for_another_cpu_is_not_downloaded(lab: Lab) -> None:
    lab.hub.manifest = lab.hub.image("sparc")
    text = refused(lambda: lab.images().pull(reference.parse(ALPINE), "sif"))
    assert f"{NAME}:3.20 is for sparc, not {ARCH}" in text
    assert lab.hub.downloads == ["config"]


# ------------------------------------------------------------------------------------------ services


def test_a_service_has_the_job_s_image_or_one_of_its_own(lab: Lab) -> None:
    images = lab.images("charliecloud", "apptainer")
    spec = lab.spec(lab.squashfs(), app="", writable=False, ntasks=4, nodes=2)
    facts, runtime = images.choose(spec, final=False)
    same = images.for_service(ServiceSpec(name="a", command=("x",)), spec, facts, runtime, final=False)
    assert same == (facts, runtime)
    lab.sif("db.sif")
    own, other = images.for_service(ServiceSpec(name="db", image="db.sif"), spec, facts, runtime, final=False)
    assert (own.path, other.name) == (str(lab.work / "db.sif"), "apptainer")
    at_home, _ = images.for_service(ServiceSpec(name="db", image="~/work/db.sif"), spec, facts, runtime, final=False)
    assert at_home.path == str(lab.work / "db.sif")
    pulled, _ = images.for_service(ServiceSpec(name="db", image=ALPINE), spec, facts, runtime, final=False)
    assert pulled.source.startswith(f"docker://{NAME}:3.20@sha256:")


def test_what_the_job_asks_of_its_container_is_not_asked_of_a_service_s(lab: Lab) -> None:
    images = lab.images("apptainer", "charliecloud")
    spec = lab.spec(
        lab.sif(), app="x", overlay=("o",), entrypoint=True, writable=True, image_key="k", bind=("a:/b:ro",)
    )
    facts, runtime = images.choose(spec, final=False)
    lab.squashfs("db.sqfs")
    service = ServiceSpec(name="db", image="db.sqfs", command=("x",))
    _, other = images.for_service(service, replace(spec, runtime="charliecloud"), facts, runtime, final=False)
    assert other.name == "charliecloud"


# --------------------------------------------------------------------------------------------- keys


def key_file(lab: Lab, content: bytes = b"secret\n", mode: int = 0o600) -> str:
    file = lab.work / "key"
    file.write_bytes(content)
    file.chmod(mode)
    return str(file)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"-----BEGIN RSA PRIVATE KEY-----\n", "pem"), (b"secret\n", "passphrase"), (b"", "passphrase")],
)
def test_a_key_is_a_pem_file_or_a_passphrase(lab: Lab, content: bytes, kind: Any) -> None:
    file = key_file(lab, content)
    assert lab.images().key(lab.spec(image_key="key")) == ImageKey(kind, file=file)
    assert lab.images().key(lab.spec(image_key=file)) == ImageKey(kind, file=file)
    assert lab.images().key(lab.spec()) is None


def test_a_key_in_the_home(lab: Lab) -> None:
    (lab.home / "k").write_text("x")
    (lab.home / "k").chmod(0o600)
    assert lab.images().key(lab.spec(image_key="~/k")) == ImageKey("passphrase", file=str(lab.home / "k"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610])
def test_a_key_that_others_can_read_is_refused_unless_it_is_public(lab: Lab, mode: int) -> None:
    file = key_file(lab, mode=mode)
    assert refused(lambda: lab.images().key(lab.spec(image_key=file))) == (
        f"the key {file} can be read by others | chmod 600 {file}"
    )
    key_file(lab, b"-----BEGIN RSA PUBLIC KEY-----\n", mode)
    assert lab.images().key(lab.spec(image_key=file)) == ImageKey("pem", file=file)


def test_a_key_that_is_not_there(lab: Lab) -> None:
    with pytest.raises(NotFoundError, match=f"there is no key {lab.work}/nothing"):
        lab.images().key(lab.spec(image_key="nothing"))
    (lab.work / "folder").mkdir()
    assert "folder cannot be read: Is a directory | see: ls -l" in refused(
        lambda: lab.images().key(lab.spec(image_key="folder"))
    )


def test_a_passphrase_in_a_variable(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASE", "")
    assert lab.images().key(lab.spec(image_key="env:PHRASE")) == ImageKey("passphrase", variable="PHRASE")
    monkeypatch.delenv("PHRASE")
    assert refused(lambda: lab.images().key(lab.spec(image_key="env:PHRASE"))) == (
        "--image-key env:PHRASE: it is not set here | export PHRASE, then submit"
    )
    assert "cannot be the name" in refused(lambda: lab.images().key(lab.spec(image_key="env:A B")))


# -------------------------------------------------------------------------------------------- trust


def test_a_signature_that_is_required_is_verified_by_a_dry_run_too(lab: Lab) -> None:
    images = lab.images(verify="required", verify_options=("--local",))
    file = lab.sif()
    for final in (False, True):
        lab.calls.clear()
        images.choose(lab.spec(file), final=final)
        assert lab.called("apptainer") == [("apptainer", "verify", "--local", file)]
    lab.calls.clear()
    images.choose(lab.spec(ALPINE), final=False)
    assert lab.called("apptainer") == [], "what it would pull is not there to be verified"


def test_what_is_verified_is_what_the_digest_is_of(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    file, images = lab.sif(), lab.images(verify="required")
    before = digest(Path(file).read_bytes())

    def exchange(path: str) -> str:
        Path(path).write_bytes(b"another")
        return ""

    monkeypatch.setattr(images, "verify", exchange)
    assert images.choose(lab.spec(file), final=True)[0].digest == before


@pytest.mark.parametrize(
    ("err", "told"),
    [
        ("FATAL:   Failed to verify container: signature not found", "is not signed | sign it: hpcjob image sign /"),
        ("INFO: a\nERROR:   key 12 is not known\n", "is not valid: key 12 is not known | get the signer's key"),
        ("it went wrong", "is not valid: it went wrong | get the signer's key"),
        ("", "is not valid"),
    ],
)
def test_a_signature_that_is_not_there_or_not_valid(lab: Lab, err: str, told: str) -> None:
    file = lab.sif()
    lab.fails("apptainer", err)
    assert told in refused(lambda: lab.images().verify(file))
    assert file in refused(lambda: lab.images().choose(lab.spec(file, verify="required"), final=True))


def test_what_the_tool_says_of_a_valid_signature(lab: Lab) -> None:
    lab.fails("apptainer", "", out="[LOCAL] Ada\n", code=0)
    assert lab.images().verify(lab.sif()) == "[LOCAL] Ada"


def test_only_sif_can_be_signed(lab: Lab) -> None:
    images = lab.images(verify="required")
    folder = lab.folder()
    text = refused(lambda: images.choose(lab.spec(folder), final=False))
    assert text == (
        f"only SIF images can be signed, and {folder} is a directory | "
        f"hpcjob image convert {folder} app.sif, then: hpcjob image sign app.sif"
    )
    assert "signed images | use --runtime apptainer, which can" in refused(
        lambda: lab.images("charliecloud", "apptainer", verify="required").choose(
            lab.spec(lab.squashfs(), runtime="charliecloud"), final=False
        )
    )


def test_signing(lab: Lab) -> None:
    file, codes = lab.sif(), [0, 2]
    ran: list[tuple[str, ...]] = []

    def foreground(argv: Sequence[str]) -> int:
        ran.append((Path(argv[0]).name, *argv[1:]))
        return codes.pop(0)

    key = key_file(lab)
    lab.images().sign(file, ("--key", key), foreground)
    assert ran == [("apptainer", "sign", "--key", key, file)]
    text = refused(lambda: lab.images().sign(file, (), foreground))
    assert "was not signed: " in text
    assert "ended with exit code 2 | a key of your own: apptainer key newpair" in text
    assert "only SIF images can be signed" in refused(lambda: lab.images().sign(lab.squashfs(), (), foreground))
    assert "only SIF images can be signed" in refused(lambda: lab.images().verify(lab.squashfs()))


def test_a_key_to_sign_or_verify_with_must_be_there(lab: Lab) -> None:
    file, nothing = lab.sif(), str(lab.work / "k.pem")
    told = f"there is no key {nothing} | give the file of a PEM key"
    assert refused(lambda: lab.images().sign(file, ("--key", nothing), lambda _: 0)) == told
    images = lab.images(verify_options=("--local", "--key", nothing))
    assert refused(lambda: images.verify(file)) == told
    assert lab.calls == []
    key = key_file(lab)
    lab.images(verify_options=("--key", key)).verify(file)
    assert lab.calls == [("apptainer", "verify", "--key", key, file)]


# ------------------------------------------------------------------------------------------- report


def test_a_report_of_a_file_and_of_an_image_in_a_registry(lab: Lab) -> None:
    assert lab.images().report(lab.sif()).format == "sif"
    found = lab.images().report(ALPINE)
    assert (found.digest, found.environment) == (lab.hub.manifest.digest, {"A": "1"})
    assert found.path == f"docker://{NAME}:3.20@{lab.hub.manifest.digest}"
    lab.hub.sif()
    assert lab.images().report("oras://ghcr.io/a/b").environment == {}
    assert lab.hub.downloads == ["config"]
    assert "cannot be looked into from afar | hpcjob image pull library://a/b/c" in refused(
        lambda: lab.images().report("library://a/b/c")
    )


# ------------------------------------------------------------------------------------------ convert


def test_converting_writes_whole_files(lab: Lab) -> None:
    source = lab.folder()
    assert lab.images().convert(source, str(lab.work / "a.sqfs")) == lab.work / "a.sqfs"
    assert (lab.work / "a.sqfs").read_bytes() == SQUASHFS
    assert sorted(entry.name for entry in lab.work.iterdir()) == ["a.sqfs", "app"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_target_is_as_it_was_when_converting_fails(lab: Lab, before: bytes | None) -> None:
    source, target = lab.folder(), lab.work / "a.sqfs"
    if before:
        target.write_bytes(before)
    lab.fails("mksquashfs", "FATAL ERROR: something")
    assert "mksquashfs failed" in refused(lambda: lab.images().convert(source, str(target), force=True))
    assert (target.read_bytes() if target.exists() else None) == before
    assert not list(lab.work.glob(".a.sqfs.*"))


def test_a_target_that_exists_is_replaced_only_by_force(lab: Lab) -> None:
    source, target = lab.folder(), lab.work / "a.sqfs"
    target.write_bytes(b"old")
    assert refused(lambda: lab.images().convert(source, str(target))) == (
        f"{target} exists already | choose another name, or add --force"
    )
    lab.images().convert(source, str(target), force=True)
    assert target.read_bytes() == SQUASHFS


def test_a_folder_takes_the_place_of_a_file_by_force(lab: Lab) -> None:
    source, target = lab.folder(), lab.work / "out"
    target.write_bytes(b"old")
    lab.images().convert(source, str(target), force=True)
    assert [entry.name for entry in target.iterdir()] == ["bin"]


@pytest.mark.parametrize("there", ["folder", "link", "home"])
def test_no_folder_is_ever_overwritten(lab: Lab, there: str) -> None:
    target = lab.work / "out"
    (lab.work / "elsewhere").mkdir()
    (lab.work / "elsewhere/data.txt").write_text("precious")
    if there == "link":
        target.symlink_to(lab.work / "elsewhere")
    else:
        target = lab.work / "elsewhere" if there == "folder" else lab.work
    text = refused(lambda: lab.images().convert(lab.folder(), str(target), force=True))
    assert text == f"{target} is a folder that is there already | choose another name, or remove it yourself"
    assert (lab.work / "elsewhere/data.txt").read_text() == "precious"


def test_a_place_that_cannot_be_written(lab: Lab) -> None:
    text = refused(lambda: lab.images().convert(lab.folder(), str(lab.work / "nowhere/a.sqfs")))
    assert f"{lab.work}/nowhere cannot be written: No such file or directory | see: ls -ld" in text


def test_a_name_in_a_registry_is_to_be_pulled_first(lab: Lab) -> None:
    text = refused(lambda: lab.images().convert(ALPINE, str(lab.work / "a.sif")))
    assert text == f"{ALPINE} is in a registry | hpcjob image pull {ALPINE}; then convert its file"


def test_archives_are_not_written(lab: Lab) -> None:
    text = refused(lambda: lab.images().convert(lab.folder(), str(lab.work / "a.tar")))
    assert text == f"archives like {lab.work}/a.tar are not written | write app.sif, app.sqfs, or a folder's name"


def test_an_oci_archive_is_to_be_unpacked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageTools, "report", lambda *_: Report("/a.tar", "oci-archive"))
    assert "a.tar is an OCI archive | unpack it: mkdir app.oci; tar -C app.oci -xf a.tar" in refused(
        lambda: lab.images().convert("a.tar", str(lab.work / "a.sif"))
    )


# -------------------------------------------------------------------------------------------- build


class Terminal:
    """What is run at the terminal; `made` is written by a build."""

    def __init__(self, *codes: int) -> None:
        self.codes = [*codes]
        self.ran: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str]) -> int:
        self.ran.append((Path(argv[0]).name, *argv[1:]))
        code = self.codes.pop(0) if self.codes else 0
        if not code and self.ran[-1][:2] == ("apptainer", "build"):
            Path(argv[-2]).write_bytes(b"built")
        if not code and "--output" in argv:
            Path(argv[argv.index("--output") + 1]).write_bytes(b"tar")
        return code


def definition(lab: Lab, name: str = "app.def") -> str:
    (lab.work / name).write_text("Bootstrap: docker\n")
    return str(lab.work / name)


def test_building_from_a_definition(lab: Lab) -> None:
    terminal = Terminal()
    target = lab.work / "out.sif"
    assert lab.images().build(definition(lab), str(target), terminal, fakeroot=True) == target
    assert target.read_bytes() == b"built"
    assert terminal.ran[0][:3] == ("apptainer", "build", "--fakeroot")
    assert sorted(entry.name for entry in lab.work.iterdir()) == ["app.def", "out.sif"]


def test_building_from_a_dockerfile_ends_in_a_sif_file(lab: Lab) -> None:
    lab.install("podman")
    terminal = Terminal()
    target = lab.work / "out.sif"
    lab.images().build(definition(lab, "Dockerfile"), str(target), terminal)
    assert [ran[:2] for ran in terminal.ran] == [("podman", "build"), ("podman", "save"), ("podman", "rmi")]
    (build,) = lab.called("apptainer")
    assert build[-1].startswith("docker-archive:")
    assert target.is_file()


def test_a_build_that_fails_leaves_nothing(lab: Lab) -> None:
    lab.install("podman")
    text = refused(lambda: lab.images().build(definition(lab, "Dockerfile"), str(lab.work / "o.sif"), Terminal(0, 7)))
    assert text == "podman save ended with exit code 7 | its words are above"
    assert [entry.name for entry in lab.work.iterdir()] == ["Dockerfile"]


def test_a_site_may_forbid_building(lab: Lab) -> None:
    images = lab.images(build="use build.example.org")
    for call in (
        lambda: images.build(definition(lab), str(lab.work / "o.sif"), Terminal()),
        lambda: images.build_command(definition(lab), str(lab.work / "o.sif")),
    ):
        assert refused(call).startswith("images cannot be built on s: use build.example.org | build it elsewhere")


@pytest.mark.parametrize("recipe", ["app.def", "Dockerfile", "ch-image"])
def test_the_command_of_a_job_that_builds_is_bash(lab: Lab, recipe: str) -> None:
    lab.install(*({"Dockerfile": ["podman"], "ch-image": ["ch-image", "ch-convert"]}.get(recipe, [])))
    source = definition(lab, "app.def" if recipe == "app.def" else "Dockerfile")
    target = lab.work / "it's an app.sif"
    bash, options, script = lab.images().build_command(source, str(target))
    assert (bash, options) == ("bash", "-euc")
    subprocess.run(["/bin/bash", "-n", "-c", script], check=True)
    assert not list(lab.work.glob(".*")), "nothing is done yet"


def test_a_job_that_builds_leaves_the_image_and_nothing_else(lab: Lab) -> None:
    log = lab.home / "log"
    lab.install("apptainer", "podman")
    (lab.bin / "apptainer").write_text(
        f'#!/bin/sh\necho "apptainer $1" >>{log}\neval "t=\\${{$(($# - 1))}}"\necho sif >"$t"\n'
    )
    (lab.bin / "podman").write_text(f'#!/bin/sh\necho "podman $1" >>{log}\n[ "$1" != save ] || echo tar >"$5"\n')
    target = lab.work / "it's an app.sif"
    stale = lab.work / ".it's an app.sif.building"
    stale.mkdir()
    (stale / "image.tar").write_text("of an earlier job")
    command = lab.images().build_command(definition(lab, "Dockerfile"), str(target))
    subprocess.run(command, check=True, env={"PATH": f"{lab.bin}:/usr/bin:/bin"})
    assert target.read_text() == "sif\n"
    assert log.read_text() == "podman build\npodman save\npodman rmi\napptainer build\n"
    assert sorted(entry.name for entry in lab.work.iterdir()) == ["Dockerfile", target.name]


def test_a_job_builds_sif_only(lab: Lab) -> None:
    lab.install("podman")
    text = refused(lambda: lab.images().build_command(definition(lab, "Dockerfile"), str(lab.work / "o.sqfs")))
    assert text == f"a job builds a SIF image, not {lab.work}/o.sqfs | write -o app.sif, then convert it"
    (lab.work / "o.sif").write_text("")
    assert "exists already" in refused(lambda: lab.images().build_command("app.def", str(lab.work / "o.sif")))


def test_an_image_that_vanishes_while_it_is_looked_at(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    old = kept(lab, "old.sif", pulled=1, read=1)
    real = Path.stat

    def gone(self: Path, **more: Any) -> os.stat_result:
        if str(self) == old and looked:
            raise FileNotFoundError(2, "No such file or directory", old)
        return real(self, **more)

    images = lab.images()
    (found,) = images.folder.images()
    looked = [True]
    monkeypatch.setattr("hpcjobs.images.library.Folder.images", lambda _: [found])
    monkeypatch.setattr(Path, "stat", gone)
    assert old not in [one.path for one in images.prune(30 * DAY, (), dry_run=True)]


def test_without_anybody_to_tell_it_is_silent(lab: Lab) -> None:
    quiet = ImageTools(lab.images()._site, lab.run)
    path, _ = quiet.pull(reference.parse(ALPINE), "sif")
    assert path.is_file()
    assert (lab.told, lab.progress) == ([], [])


def test_modules_of_the_site_s_first_runtime(lab: Lab) -> None:
    site = Site(
        name="s", runtimes=(RuntimeConfig(kind="apptainer", modules=("apptainer/1",)), RuntimeConfig(kind="podman"))
    )
    assert ImageTools(site, lab.run).modules == ("apptainer/1",)
    assert ImageTools(Site(name="s"), lab.run).modules == ()


# -------------------------------------------------------------------------------------------- prune


DAY = 86400.0


def kept(lab: Lab, name: str, *, pulled: float, read: float) -> str:
    folder = lab.home / "images"
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"12345")
    (folder / f"{name}.json").write_text(json.dumps({"source": "s", "digest": "d", "pulled": pulled, "by": "ada"}))
    (folder / f".used-{name}").touch()
    os.utime(folder / f".used-{name}", (read, read))
    return str(folder / name)


def test_pruning_takes_what_nobody_has_used_for_long(lab: Lab) -> None:
    old = kept(lab, "old.sif", pulled=10 * DAY, read=20 * DAY)
    needed = kept(lab, "needed.sif", pulled=10 * DAY, read=20 * DAY)
    read = kept(lab, "read.sif", pulled=10 * DAY, read=40 * DAY)
    new = kept(lab, "new.sqfs", pulled=40 * DAY, read=10 * DAY)
    left = lab.home / "images/.pull-0-x"
    (left / "layout").mkdir(parents=True)
    (left / "layout/part").write_bytes(b"123")
    os.utime(left, (1, 1))
    images = lab.images()
    size = sum(file.lstat().st_size for file in left.rglob("*"))
    found = [Removed(old, 5), Removed(str(left), size)]
    assert images.prune(30 * DAY, {needed}, dry_run=True) == found
    assert Path(old).exists()
    assert images.prune(30 * DAY, {needed}, dry_run=False) == found
    assert [Path(one.path).name for one in images.folder.images()] == ["needed.sif", "read.sif", "new.sqfs"]
    assert not left.exists()
    assert not Path(f"{old}.json").exists()
    assert {read, new} < {one.path for one in images.folder.images()}


def test_what_interrupted_pulls_of_others_have_left_is_theirs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    left = lab.home / "images/.pull-0-x"
    left.mkdir(parents=True)
    os.utime(left, (1, 1))
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert lab.images().prune(30 * DAY, (), dry_run=False) == []
    assert left.exists()


def test_what_goes_away_while_it_is_measured_counts_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    left = lab.home / "images/.pull-0-x"
    left.mkdir(parents=True)
    os.utime(left, (1, 1))
    monkeypatch.setattr(Path, "rglob", lambda self, _: [self / "gone"])
    assert lab.images().prune(30 * DAY, (), dry_run=True) == [Removed(str(left), 0)]


def test_what_cannot_be_removed_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    old = kept(lab, "old.sif", pulled=1, read=1)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    (found,) = lab.images().prune(30 * DAY, (), dry_run=False)
    assert found == Removed(old, 5, f"{old} cannot be removed: Permission denied")
