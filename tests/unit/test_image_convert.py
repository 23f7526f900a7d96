"""Images from one form into another: the tools' command lines, and real squashfs files of a small tree."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import process
from hpcjobs.errors import PlanError, StoreError
from hpcjobs.images import convert, sif
from hpcjobs.images.convert import Tools, form_of, unpack
from hpcjobs.process import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

ARCH = os.uname().machine
squashfs_tools = pytest.mark.skipif(not shutil.which("mksquashfs"), reason="no squashfs-tools")


class Programs:
    """Answers of tools, and the command lines that they were given."""

    def __init__(self, *there: str) -> None:
        self.there = there or ("apptainer", "mksquashfs", "unsquashfs")
        self.code, self.out, self.err = 0, "", ""
        self.calls: list[tuple[str, ...]] = []
        self.env: dict[str, str] = {}

    def run(self, argv: Sequence[str], **options: Any) -> Completed:
        self.calls.append(tuple(argv))
        self.env = dict(options["env"])
        return Completed(tuple(argv), self.code, self.out, self.err)

    @property
    def tools(self) -> Tools:
        return Tools(self.run, lambda name: f"/bin/{name}" if name in self.there else None, {"A": "1"})


def real() -> Tools:
    return Tools(process.run)


def tree(root: Path) -> Path:
    (root / "bin").mkdir(parents=True)
    (root / "bin/sh").write_text("#!shell\n")
    (root / "bin/sh").chmod(0o755)
    (root / "bin/bash").symlink_to("sh")
    return root


def layer(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size, member.mode = len(text), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


CONFIG = {"config": {"Env": ["PATH=/bin", "GREETING=a 'b' $c", "TWO=a\nb"]}, "rootfs": {}}


def docker_archive(file: Path) -> Path:
    parts = {
        "l1/layer.tar": layer(bin__sh="#!shell\n"),
        "config.json": json.dumps(CONFIG).encode(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["l1/layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(file, "w") as tar:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def oci_layout(folder: Path) -> Path:
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digits = hashlib.sha256(content).hexdigest()
        (blobs / digits).write_bytes(content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digits}", "size": len(content)}

    config = blob(json.dumps(CONFIG).encode(), "config.v1+json")
    layers = [blob(gzip.compress(layer(bin__sh="#!shell\n")), "layer.v1.tar+gzip")]
    manifest = blob(json.dumps({"config": config, "layers": layers}).encode(), "manifest.v1+json")
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return folder


# -------------------------------------------------------------------------------------------- tools


@pytest.mark.parametrize(
    ("path", "form"),
    [("a.sif", "sif"), ("/x/a.sqfs", "squashfs"), ("a.sqsh", "squashfs"), ("a.squashfs", "squashfs"),
     ("a.tar", "docker-archive"), ("app", "directory"), ("app.d", "directory")],
)  # fmt: skip
def test_the_form_is_told_by_the_name(path: str, form: str) -> None:
    assert form_of(path) == form


def test_apptainer_or_singularity() -> None:
    assert Programs("apptainer", "singularity").tools.apptainer() == "/bin/apptainer"
    assert Programs("singularity").tools.apptainer() == "/bin/singularity"
    with pytest.raises(PlanError, match="neither is on PATH") as caught:
        Programs("podman").tools.apptainer()
    assert "load its module" in caught.value.hint
    with pytest.raises(PlanError, match="signatures are checked by apptainer or singularity"):
        Programs("podman").tools.apptainer("signatures are checked")


def test_a_tool_that_is_not_here_is_named() -> None:
    Programs().tools.need("mksquashfs", "unsquashfs")
    with pytest.raises(PlanError, match="unsquashfs is not on PATH") as caught:
        Programs("mksquashfs").tools.need("mksquashfs", "unsquashfs")
    assert "squashfs-tools" in caught.value.hint


def test_a_tool_is_run_with_the_environment_and_more(tmp_path: Path) -> None:
    programs = Programs()
    programs.out = "done\n"
    assert programs.tools.run(("x", "y"), "making", tmp_path, B="2") == "done\n"
    assert (programs.calls, programs.env) == ([("x", "y")], {"A": "1", "B": "2"})
    Tools(programs.run).run(("x",), "making", tmp_path)
    assert programs.env["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("out", "err", "told"),
    [
        ("", "INFO: begin\n\nFATAL: one\nFATAL: two\n", "making a.sif: x failed: FATAL: one | FATAL: two"),
        ("said on stdout\n", "", "x failed: said on stdout"),
        ("", "", "x failed: exit code 3"),
        ("", "\x1b[31mFATAL:\x1b[0m  red\n", "x failed: FATAL:  red"),
    ],
)
def test_a_tool_that_fails_tells_its_last_words(tmp_path: Path, out: str, err: str, told: str) -> None:
    programs = Programs()
    programs.code, programs.out, programs.err = 3, out, err
    with pytest.raises(PlanError) as caught:
        programs.tools.run(("/bin/x", "y"), "making a.sif", tmp_path)
    assert told in caught.value.message
    assert caught.value.hint == "with -vv it tells all that it said"


@pytest.mark.parametrize(
    "words", ["write: No space left on device", "write a: no space left on device", "Disk quota exceeded"]
)
def test_a_full_disk_is_told_as_such(tmp_path: Path, words: str) -> None:
    programs = Programs()
    programs.code, programs.err = 1, words
    with pytest.raises(StoreError, match=rf"no space left for making a in {tmp_path} \([0-9.]+ GB free\)") as caught:
        programs.tools.run(("x",), "making a", tmp_path)
    assert "hpcjob image prune" in caught.value.hint


# ------------------------------------------------------------------------------------------- to SIF


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("docker-archive", "/bin/apptainer build --force --disable-cache {t}/a.sif docker-archive:SRC"),
        ("oci-layout", "/bin/apptainer build --force --disable-cache {t}/a.sif oci:SRC"),
        ("squashfs", "/bin/apptainer build --force {t}/a.sif SRC"),
        ("directory", "/bin/apptainer build --force {t}/a.sif SRC"),
    ],
)
def test_sif_is_made_by_apptainer(tmp_path: Path, form: Any, line: str) -> None:
    programs = Programs()
    convert.convert("SRC", form, tmp_path / "a.sif", tmp_path / "work", programs.tools, arch=ARCH)
    assert programs.calls == [tuple(line.format(t=tmp_path).split())]
    # Or it would unpack the image below /tmp, which is memory on many login nodes.
    assert programs.env["APPTAINER_TMPDIR"] == programs.env["SINGULARITY_TMPDIR"] == str(tmp_path / "work")


def test_an_archive_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"a\.tar cannot be made: docker-archive") as caught:
        convert.convert("SRC", "sif", tmp_path / "a.tar", tmp_path, Programs().tools, arch=ARCH)
    assert "write app.sif, app.sqfs" in caught.value.hint


def test_squashfs_needs_its_tool_before_anything_is_unpacked(tmp_path: Path) -> None:
    programs = Programs("apptainer")
    with pytest.raises(PlanError, match="mksquashfs is not on PATH"):
        convert.convert("SRC", "oci-layout", tmp_path / "a.sqfs", tmp_path, programs.tools, arch=ARCH)
    assert programs.calls == []


# ------------------------------------------------------------------------------ to and from squashfs


@squashfs_tools
def test_a_folder_to_squashfs_and_back(tmp_path: Path) -> None:
    source = tree(tmp_path / "app")
    target = tmp_path / "app.sqfs"
    convert.convert(str(source), "directory", target, tmp_path / "work", real(), arch=ARCH)
    assert target.read_bytes()[:4] == b"hsqs"
    assert (source / "bin/sh").is_file(), "the source is as it was"
    convert.convert(str(target), "squashfs", tmp_path / "again", tmp_path, real(), arch=ARCH)
    assert (tmp_path / "again/bin/sh").read_text() == "#!shell\n"
    assert (tmp_path / "again/bin/bash").readlink() == Path("sh")


@squashfs_tools
@pytest.mark.parametrize("form", ["docker-archive", "oci-layout"])
def test_layers_to_squashfs(tmp_path: Path, form: Any) -> None:
    source = docker_archive(tmp_path / "a.tar") if form == "docker-archive" else oci_layout(tmp_path / "layout")
    work = tmp_path / "work"
    (work / "root/of-an-earlier-pull").mkdir(parents=True)
    convert.convert(str(source), form, tmp_path / "a.sqfs", work, real(), arch=ARCH)
    assert not (work / "root").exists(), "what lay between is gone"
    unpack(str(tmp_path / "a.sqfs"), "squashfs", tmp_path / "out", tmp_path, real(), arch=ARCH)
    assert (tmp_path / "out/bin/sh").read_text() == "#!shell\n"
    assert not (tmp_path / "out/of-an-earlier-pull").exists()


@pytest.mark.parametrize("form", ["docker-archive", "oci-layout"])
def test_layers_to_a_folder_that_any_runtime_can_enter(tmp_path: Path, form: Any) -> None:
    source = docker_archive(tmp_path / "a.tar") if form == "docker-archive" else oci_layout(tmp_path / "layout")
    root = tmp_path / "app"
    convert.convert(str(source), form, root, tmp_path / "work", Programs().tools, arch=ARCH)
    assert {name for name in ("proc", "sys", "dev", "tmp", "mnt/0", "mnt/9") if (root / name).is_dir()} == {
        "proc", "sys", "dev", "tmp", "mnt/0", "mnt/9",
    }  # fmt: skip
    assert (root / "etc/resolv.conf").read_text() == ""
    # A value of two lines cannot stand in Charliecloud's file.
    assert (root / "ch/environment").read_text() == "PATH=/bin\nGREETING=a 'b' $c\n"


def test_places_that_are_links_stay_links(tmp_path: Path) -> None:
    root = tree(tmp_path / "app")
    (root / "tmp").symlink_to("/var/tmp")
    (root / "etc").mkdir()
    (root / "etc/localtime").symlink_to("/nowhere")
    (root / "etc/hosts").write_text("its own\n")
    convert._finish(root, {})
    assert (root / "tmp").readlink() == Path("/var/tmp")
    assert (root / "etc/localtime").readlink() == Path("/nowhere")
    assert (root / "etc/hosts").read_text() == "its own\n"
    assert (root / "ch/environment").read_text() == ""


def test_a_folder_is_copied(tmp_path: Path) -> None:
    convert.convert(str(tree(tmp_path / "app")), "directory", tmp_path / "copy", tmp_path, Programs().tools, arch=ARCH)
    assert (tmp_path / "copy/bin/bash").readlink() == Path("sh")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = str(tree(tmp_path / "app"))
    with pytest.raises(StoreError, match="cannot be written: Not a directory"):
        unpack(source, "directory", tmp_path / "file/x", tmp_path, Programs().tools, arch=ARCH)


# ----------------------------------------------------------------------------------------- from SIF


class Found:
    """What `sif.read` says of a file."""

    def __init__(self, *, encrypted: bool = False, filesystem: str = "squashfs", offset: int = 4096) -> None:
        self.encrypted = encrypted
        self.primary: Any = None
        if filesystem:
            self.primary = type("Primary", (), {"filesystem": filesystem, "offset": offset})


def test_sif_is_opened_where_its_file_system_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcjobs.images.convert.sif.read", lambda _: Found(offset=12288))
    programs = Programs()
    convert.convert("/i/a.sif", "sif", tmp_path / "out", tmp_path, programs.tools, arch=ARCH)
    assert programs.calls == [
        ("unsquashfs", "-n", "-no-xattrs", "-f", "-o", "12288", "-d", str(tmp_path / "out"), "/i/a.sif")
    ]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Found(encrypted=True), "/i/a.sif is encrypted"),
        (Found(filesystem=""), "holds no squashfs file system"),
        (Found(filesystem="ext3"), "holds no squashfs file system"),
    ],
)
def test_sif_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: Found, message: str) -> None:
    monkeypatch.setattr("hpcjobs.images.convert.sif.read", lambda _: found)
    with pytest.raises(PlanError, match=message) as caught:
        unpack("/i/a.sif", "sif", tmp_path / "out", tmp_path, Programs().tools, arch=ARCH)
    assert "apptainer build" in caught.value.hint or "build it anew" in caught.value.hint


@pytest.mark.parametrize("form", ["sif", "squashfs"])
def test_opening_needs_unsquashfs(tmp_path: Path, form: Any) -> None:
    with pytest.raises(PlanError, match="unsquashfs is not on PATH"):
        unpack("/i/a", form, tmp_path / "out", tmp_path, Programs("apptainer").tools, arch=ARCH)


@pytest.mark.parametrize("ending", ["img", "ext3", "gz", "tgz", "xz", "zst", "zip", "iso", "GZ"])
def test_endings_of_files_that_are_not_made_are_no_folders(ending: str) -> None:
    with pytest.raises(PlanError) as caught:
        form_of(f"/a/app.{ending}")
    assert caught.value.message == f"/a/app.{ending} cannot be made: its name ends in .{ending.lower()}"
    assert caught.value.hint == "write app.sif, app.sqfs, or a folder"
    assert (form_of("/a/app"), form_of("/a/app.SIF"), form_of("/a/app-1.2")) == ("directory", "sif", "directory")


def test_a_sif_file_is_made_of_another_unless_it_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, encrypted = Programs(), False
    monkeypatch.setattr(sif, "read", lambda _: SimpleNamespace(encrypted=encrypted))

    def make() -> None:
        convert.convert("a.sif", "sif", tmp_path / "b.sif", tmp_path, programs.tools, arch="x86_64")

    make()
    assert programs.calls[0][1:] == ("build", "--force", str(tmp_path / "b.sif"), "a.sif")
    encrypted = True
    with pytest.raises(PlanError, match=r"a\.sif is encrypted"):
        make()


def test_links_of_an_image_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/rc").symlink_to(tmp_path / "secret")
    convert._finish(tmp_path / "root", {})
    assert (tmp_path / "secret").read_text() == "mine"
    assert (tmp_path / "root/etc/environment").is_file()


@pytest.mark.parametrize(
    ("config", "arguments", "said"),
    [
        ({"Entrypoint": ["echo", "a b"], "Cmd": ["c"]}, (), "a b c"),
        ({"Entrypoint": ["echo", "a b"], "Cmd": ["c"]}, ("x  y",), "a b x  y"),
        ({"Cmd": ["echo", "it's"]}, (), "it's"),
        ({"Cmd": ["echo", "it's"]}, ("echo", "other"), "other"),
        ({"Entrypoint": ["pwd"], "WorkingDir": "W/new folder"}, (), "W/new folder"),
        ({}, ("echo", "x"), "x"),
    ],
)
def test_enroot_starts_what_the_image_starts(
    tmp_path: Path, config: dict[str, Any], arguments: tuple[str, ...], said: str
) -> None:
    text = json.dumps(config).replace("W/", f"{tmp_path}/")
    (tmp_path / "rc").write_text(convert._start({"config": json.loads(text)}))
    done = subprocess.run(["sh", str(tmp_path / "rc"), *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == said.replace("W/", f"{tmp_path}/") + "\n"


@pytest.mark.parametrize("name", ["etc", "ch", "mnt", "etc/hosts", "etc/rc"])
def test_a_link_of_the_image_leads_nothing_out_of_it(tmp_path: Path, name: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    link = root / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if "/" not in name else outside / "file")
    convert._finish(root, {"config": {"Env": ["A=1"]}})
    assert list(outside.iterdir()) == []
    assert link.is_symlink()
    assert (root / "home").is_dir()
