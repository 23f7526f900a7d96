"""Unpacking images, honest and hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import PlanError, StoreError
from hpcjobs.images.flatten import environment, flatten, read_docker_archive, read_oci_layout
from hpcjobs.process import Completed, run

WHEN = 1_000_000_000
# (name, what): text is a file's content, None a folder, ("->", target) a link, ("=", target) a hard link.
Entry = tuple[str, "str | tuple[str, str] | bytes | None"]


def tar_of(*entries: Entry, mode: int = 0o644) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, what in entries:
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = mode, WHEN
            if isinstance(what, str):
                member.size = len(what.encode())
                tar.addfile(member, io.BytesIO(what.encode()))
                continue
            if isinstance(what, bytes):
                member.type = what
            elif what is None:
                member.type = tarfile.DIRTYPE
            else:
                member.type, member.linkname = (tarfile.SYMTYPE if what[0] == "->" else tarfile.LNKTYPE), what[1]
            tar.addfile(member)
    return out.getvalue()


def apply(tmp_path: Path, *layers: bytes, **more: Any) -> Path:
    paths = []
    for number, content in enumerate(layers):
        paths.append(tmp_path / f"layer{number}")
        paths[-1].write_bytes(content)
    flatten(paths, tmp_path / "root", **more)
    return tmp_path / "root"


def tree(root: Path) -> dict[str, str | None]:
    """Files with their text, links with `-> target`, folders with None."""
    found: dict[str, str | None] = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            what: str | None = f"-> {path.readlink()}"
        else:
            what = path.read_text() if path.is_file() else None
        found[str(path.relative_to(root))] = what
    return found


def test_applies_layers_in_order(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        tar_of(("./", None), ("./etc/", None), ("etc/a", "1"), ("bin/sh", "sh"), ("lib", ("->", "usr/lib"))),
        tar_of(("etc/a", "2"), ("/etc/b", "3"), ("hard", ("=", "etc/a"))),
    )
    expected = {"bin": None, "bin/sh": "sh", "etc": None, "etc/a": "2", "etc/b": "3", "hard": "2", "lib": "-> usr/lib"}
    assert tree(root) == expected
    assert (root / "hard").stat().st_ino == (root / "etc/a").stat().st_ino
    assert (root / "etc/a").stat().st_mtime == WHEN


def test_modes(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        tar_of(("su", "x"), mode=0o6755),
        tar_of(("shadow", "x"), ("locked", None), ("locked/in", "x"), mode=0),
        tar_of(("tmp", None), mode=0o1777),
        tar_of(("locked/later", "x")),
    )
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in root.iterdir()}
    assert modes == {"su": "0o755", "shadow": "0o400", "locked": "0o700", "tmp": "0o1777"}
    assert (root / "locked/later").exists()


def test_devices_and_pipes_are_left_out(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        tar_of(("dev/null", tarfile.CHRTYPE), ("dev/sda", tarfile.BLKTYPE), ("pipe", tarfile.FIFOTYPE), ("x", "1")),
        tar_of(("x", tarfile.CHRTYPE)),
    )
    assert tree(root) == {"dev": None}


# --- whiteouts

LOWER = tar_of(("a/b", "1"), ("a/c/d", "2"), ("a/link", ("->", "b")), ("e", "3"))


@pytest.mark.parametrize(
    ("upper", "left"),
    [
        ([("a/.wh.b", "")], ["a", "a/c", "a/c/d", "a/link", "e"]),
        ([(".wh.a", "")], ["e"]),
        ([("a/.wh.c", ""), ("a/.wh.link", "")], ["a", "a/b", "e"]),
        ([("a/.wh..wh..opq", "")], ["a", "e"]),
        ([("a/new", "x"), ("a/.wh..wh..opq", "")], ["a", "a/new", "e"]),
        ([("a/.wh..wh..opq", ""), ("a/new", "x")], ["a", "a/new", "e"]),
        ([("a/c/new", "x"), ("a/.wh..wh..opq", "")], ["a", "a/c", "a/c/new", "e"]),
        ([("a/c", None), ("a/c/new", "x"), ("a/.wh.c", "")], ["a", "a/b", "a/c", "a/c/new", "a/link", "e"]),
        ([("e", "new"), (".wh.e", "")], ["a", "a/b", "a/c", "a/c/d", "a/link", "e"]),
        ([(".wh..wh..opq", "")], []),
        (
            [(".wh.none", ""), ("none/.wh.x", ""), ("none/.wh..wh..opq", "")],
            ["a", "a/b", "a/c", "a/c/d", "a/link", "e"],
        ),
        ([(".wh..wh.plnk", None), (".wh..wh.aufs", "")], ["a", "a/b", "a/c", "a/c/d", "a/link", "e"]),
    ],
)
def test_whiteouts(tmp_path: Path, upper: list[Entry], left: list[str]) -> None:
    assert list(tree(apply(tmp_path, LOWER, tar_of(*upper)))) == left


# --- replacements


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        ([("x/y", "1")], [("x", "2")], {"x": "2"}),
        ([("x", "1")], [("x", None)], {"x": None}),
        ([("x", "1")], [("x/y", "2")], {"x": None, "x/y": "2"}),
        ([("x/y", "1")], [("x", ("->", "z"))], {"x": "-> z"}),
        ([("x", ("->", "z"))], [("x", "2")], {"x": "2"}),
        ([("z/y", "1"), ("x", ("->", "z"))], [("x", None)], {"x": None, "z": None, "z/y": "1"}),
        ([("x/y", "1")], [("x", None)], {"x": None, "x/y": "1"}),
        ([("x", "1"), ("h", ("=", "x"))], [("x", "2")], {"h": "1", "x": "2"}),
        ([("x", "1")], [("x", ("=", "x"))], {"x": "1"}),
        ([("l", ("->", "x"))], [("h", ("=", "l")), ("l", ("=", "l"))], {"h": "-> x", "l": "-> x"}),
        ([("usr/lib/a", "1"), ("lib", ("->", "usr/lib"))], [("lib/b", "2")], {"lib": "-> usr/lib", "usr": None, "usr/lib": None, "usr/lib/a": "1", "usr/lib/b": "2"}),
        ([("usr/lib/a", "1"), ("lib", ("->", "/usr/lib"))], [("lib/.wh.a", "")], {"lib": "-> /usr/lib", "usr": None, "usr/lib": None}),
    ],
)  # fmt: skip
def test_replacements(tmp_path: Path, first: list[Entry], second: list[Entry], result: dict[str, str | None]) -> None:
    assert tree(apply(tmp_path, tar_of(*first), tar_of(*second))) == result


def test_without_hard_links_it_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(os, "link", none)
    assert tree(apply(tmp_path, tar_of(("x", "1"), ("h", ("=", "x"))))) == {"h": "1", "x": "1"}


# --- hostile layers


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", "x")],
        [("a/../../evil", "x")],
        [("/../evil", "x")],
        [("a", "x"), ("h", ("=", "../outside/secret"))],
        [("a/.wh...", "")],
        [("a/keep", "x"), ("a/.wh...", "")],
        [("a/keep", "x"), ("a/.wh..", "")],
        [(".wh.", "")],
        [("a", ("->", ""))],
        [("loop", ("->", "loop")), ("loop/x", "1")],
        [("a", ("->", "b")), ("b", ("->", "a")), ("a/x", "1")],
    ],
)
def test_refuses(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("secret")
    with pytest.raises(PlanError, match="layer0 holds an entry that no honest image has"):
        apply(tmp_path, tar_of(*entries))
    assert tree(tmp_path / "outside") == {"secret": "secret"}
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "entries",
    [
        [("/abs/evil", "x")],
        [("l", ("->", "{outside}")), ("l/evil", "x")],
        [("l", ("->", "../../../../..")), ("l/evil", "x")],
        [("l", ("->", "../outside")), ("l/evil", "x"), ("l/.wh.secret", ""), ("l/.wh..wh..opq", "")],
        [("l", ("->", "{outside}")), ("l/.wh.secret", ""), ("l/.wh..wh..opq", "")],
        [("l", ("->", "{outside}/secret")), ("l", "overwritten")],
        [("l", ("->", "{outside}/secret")), ("h", ("=", "l")), ("h", "overwritten")],
        [("m", ("->", "l")), ("l", ("->", "{outside}")), ("m/evil", "x"), ("m", None), ("m/evil", "y")],
        [("l", ("->", "{outside}")), ("l", None), ("l/evil", "x")],
        [("d/l", ("->", "{outside}")), (".wh.d", ""), ("d", "x")],
    ],
)
def test_contains(tmp_path: Path, entries: list[tuple[str, Any]]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    filled = [
        (name, (what[0], what[1].format(outside=outside)) if isinstance(what, tuple) else what)
        for name, what in entries
    ]
    apply(tmp_path, tar_of(*filled), tar_of(("d", "y")))
    assert tree(outside) == {"secret": "secret"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer0", "layer1", "outside", "root"]


def test_a_hard_link_in_the_place_of_its_target(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="d replaces the folder of d/x"):
        apply(tmp_path, tar_of(("d/x", "1"), ("d", ("=", "d/x"))))


def test_a_hard_link_reads_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(PlanError, match="h is a link to l/secret, which is not there"):
        apply(tmp_path, tar_of(("l", ("->", str(tmp_path))), ("h", ("=", "l/secret"))))
    with pytest.raises(PlanError, match="which is not there"):
        apply(tmp_path, tar_of(("h", ("=", "/"))))


# --- damaged layers and compression


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a tar file" * 100,
        LOWER[:700],
        LOWER[:1024] + b"\1" * 512 + LOWER[1536:],
        LOWER[:1200],
        gzip.compress(LOWER)[:-20],
        gzip.compress(LOWER)[:-8] + b"\0" * 8,
        gzip.compress(LOWER)[:40] + b"\xff" * 40 + gzip.compress(LOWER)[80:],
    ],
)
def test_a_damaged_layer_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PlanError, match=f"the layer {tmp_path}/layer0 is damaged: "):
        apply(tmp_path, content)


def test_an_entry_of_negative_size(tmp_path: Path) -> None:
    header = bytearray(tar_of(("x", "1")))
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    with pytest.raises(PlanError, match=r"damaged: .*(an entry has -\d+ bytes|invalid offset)"):
        apply(tmp_path, bytes(header))


def test_a_strange_time(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, when in (("a", "nan"), ("b", "inf"), ("c", "-5")):
            member = tarfile.TarInfo(name)
            member.pax_headers = {"mtime": when}
            tar.addfile(member)
    root = apply(tmp_path, out.getvalue())
    assert [(root / name).stat().st_mtime for name in "abc"] == [0, 2**32 - 1, 0]


def test_a_header_that_makes_no_sense(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"GNU.sparse.map": "x,y", "GNU.sparse.name": "a", "GNU.sparse.size": "9"}
        tar.addfile(member)
    with pytest.raises(PlanError, match="layer0 is damaged: "):
        apply(tmp_path, out.getvalue())


def test_what_follows_the_end_is_read_for_its_checksum(tmp_path: Path) -> None:
    assert list(tree(apply(tmp_path, gzip.compress(tar_of(("x", "1")) + bytes(3_000_000))))) == ["x"]


def test_a_missing_layer(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="gone cannot be read: No such file"):
        flatten([tmp_path / "gone"], tmp_path / "root")


def test_gzip(tmp_path: Path) -> None:
    assert tree(apply(tmp_path, gzip.compress(tar_of(("x", "1"))))) == {"x": "1"}


def no_module(name: str) -> Any:
    raise ImportError(name)


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd program")
def test_zstd_by_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", no_module)
    packed = subprocess.run(["zstd", "-qc"], input=tar_of(("x", "1")), capture_output=True, check=True).stdout
    assert tree(apply(tmp_path, packed, runner=run)) == {"x": "1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer0", "root"]
    with pytest.raises(PlanError, match="layer0 is damaged: "):
        apply(tmp_path, packed[:-4], runner=run)
    with pytest.raises(PlanError, match="compressed with zstd, and nothing here can") as caught:
        apply(tmp_path, packed)
    assert "install zstd" in caught.value.hint


class FakeZstd:
    """Python 3.14's module, near enough."""

    class ZstdError(Exception):
        pass

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def open(self, path: Path, mode: str) -> Any:
        assert (path.name, mode) == ("layer0", "rb")
        return io.BytesIO(self.content) if self.content else Failing(self.ZstdError("corrupt"))


class Failing(io.BytesIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, size: int | None = -1) -> bytes:  # noqa: ARG002
        raise self.error


def test_zstd_by_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeZstd(tar_of(("x", "1")))
    monkeypatch.setattr(importlib, "import_module", lambda _: fake)
    assert tree(apply(tmp_path, b"\x28\xb5\x2f\xfd")) == {"x": "1"}
    fake.content = None
    with pytest.raises(PlanError, match="damaged: corrupt"):
        apply(tmp_path, b"\x28\xb5\x2f\xfd")


def test_a_bug_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeZstd(b"")
    monkeypatch.setattr(fake, "open", lambda *_: Failing(AssertionError("bug")))
    monkeypatch.setattr(importlib, "import_module", lambda _: fake)
    with pytest.raises(AssertionError, match="bug"):
        apply(tmp_path, b"\x28\xb5\x2f\xfd")


def test_zstd_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        keep_fds: Sequence[int] = (),
    ) -> Completed:
        return Completed(tuple(argv), 3, "", "")

    monkeypatch.setattr(importlib, "import_module", no_module)
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/zstd")
    with pytest.raises(PlanError, match="zstd ended with 3"):
        apply(tmp_path, b"\x28\xb5\x2f\xfd", runner=silent)


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    with pytest.raises(StoreError, match="root cannot be written"):
        apply(tmp_path)


# --- archives and layouts

CONFIG = {"architecture": "amd64", "config": {"Env": ["A=1", "B=x=y", "C=", "odd"]}}


def test_environment() -> None:
    assert environment(CONFIG) == {"A": "1", "B": "x=y", "C": ""}
    assert environment({}) == environment({"config": None}) == environment({"config": {"Env": None}}) == {}


def archive(tmp_path: Path, *entries: Entry, compress: bool = False) -> Path:
    path = tmp_path / "saved.tar"
    content = tar_of(*entries)
    path.write_bytes(gzip.compress(content) if compress else content)
    return path


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_reads_a_docker_archive(tmp_path: Path, compress: bool, prefix: str) -> None:
    manifest = [{"Config": "c.json", "Layers": ["b/layer.tar", "a/layer.tar", "d/layer.tar"], "RepoTags": None}]
    saved = archive(
        tmp_path,
        (prefix + "a/layer.tar", "aaa"),
        (prefix + "b/layer.tar", "bbb"),
        (prefix + "d/layer.tar", ("->", "../b/layer.tar")),
        (prefix + "c.json", json.dumps(CONFIG)),
        (prefix + "manifest.json", json.dumps(manifest)),
        compress=compress,
    )
    config, layers = read_docker_archive(saved, tmp_path / "out")
    assert config == CONFIG
    assert [layer.read_text() for layer in layers] == ["bbb", "aaa", "bbb"]
    assert all(layer.parent == tmp_path / "out" for layer in layers)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("x", "")], "manifest.json"),
        ([("manifest.json", "{")], "is no docker archive"),
        ([("manifest.json", None)], "manifest.json is not a file"),
        ([("manifest.json", '[{"RepoTags":["a:1"]},{"RepoTags":["b:1"]}]')], "has 2 images: a:1, b:1"),
        ([("manifest.json", "[]")], "has 0 images"),
        ([("manifest.json", "[{}]")], "is no docker archive: 'Config'"),
        ([("manifest.json", '[{"Config":"c","Layers":["gone"]}]'), ("c", "{}")], "gone"),
    ],
)
def test_refuses_other_archives(tmp_path: Path, entries: list[Entry], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        read_docker_archive(archive(tmp_path, *entries), tmp_path / "out")


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ([], "its configuration is no mapping"),
        ({"config": ["a"]}, "its configuration is no mapping"),
        ({"architecture": ["amd64"]}, "architecture of its configuration is no text"),
        ({"config": {"WorkingDir": 1}}, "WorkingDir of its configuration is no text"),
        ({"config": {"Env": {"A": "1"}}}, "Env of its configuration is no list of texts"),
        ({"config": {"Entrypoint": "sh -c"}}, "Entrypoint of its configuration is no list of texts"),
        ({"config": {"Cmd": ["a", 1]}}, "Cmd of its configuration is no list of texts"),
    ],
)
def test_refuses_configurations_that_are_none(tmp_path: Path, config: object, what: str) -> None:
    manifest = json.dumps([{"Config": "c", "Layers": []}])
    saved = archive(tmp_path, ("manifest.json", manifest), ("c", json.dumps(config)))
    with pytest.raises(PlanError, match=f"is no docker archive: {what}"):
        read_docker_archive(saved, tmp_path / "out")
    layout(tmp_path / "layout", config)
    with pytest.raises(PlanError, match=f"is damaged: .*{what}"):
        read_oci_layout(tmp_path / "layout", "x86_64")


def test_refuses_damaged_archives(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="there is no archive"):
        read_docker_archive(tmp_path / "gone", tmp_path / "out")
    manifest = json.dumps([{"Config": "c", "Layers": ["a"]}])
    saved = archive(tmp_path, ("manifest.json", manifest), ("c", "{}"), ("a", "x" * 100_000))
    saved.write_bytes(saved.read_bytes()[:50_000])
    with pytest.raises(PlanError, match="is no docker archive, or is damaged"):
        read_docker_archive(saved, tmp_path / "out")


def put(folder: Path, content: bytes, platform: str = "") -> dict[str, Any]:
    name = hashlib.sha256(content).hexdigest()
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs/sha256" / name).write_bytes(content)
    made_for = {"platform": {"os": "linux", "architecture": platform}} if platform else {}
    return {"digest": f"sha256:{name}", "size": len(content), **made_for}


def layout(folder: Path, config: object = CONFIG) -> dict[str, Any]:
    layers = [put(folder, b"one"), put(folder, b"two")]
    body = {"config": put(folder, json.dumps(config).encode()), "layers": layers}
    manifest = put(folder, json.dumps(body).encode())
    (folder / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    return manifest


def test_reads_a_layout(tmp_path: Path) -> None:
    manifest = layout(tmp_path)
    config, layers = read_oci_layout(tmp_path, "x86_64")
    assert config == CONFIG
    assert [layer.read_bytes() for layer in layers] == [b"one", b"two"]
    for_amd = {**manifest, "platform": {"os": "linux", "architecture": "amd64"}}
    inner = put(tmp_path, json.dumps({"manifests": [put(tmp_path, b"{}", "arm64"), for_amd]}).encode())
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [inner]}))
    assert read_oci_layout(tmp_path, "x86_64") == (config, layers)
    with pytest.raises(PlanError, match="has no image for linux/s390x"):
        read_oci_layout(tmp_path, "s390x")


@pytest.mark.parametrize(("made_for", "arch"), [("s390x", "s390x"), ("arm64", "aarch64"), ("", "x86_64")])
def test_a_layout_for_a_cpu(tmp_path: Path, made_for: str, arch: str) -> None:
    layout(tmp_path, {"architecture": made_for})
    assert read_oci_layout(tmp_path, arch)[0] == {"architecture": made_for}
    if made_for:
        with pytest.raises(PlanError, match=f"is for {made_for}, not riscv64"):
            read_oci_layout(tmp_path, "riscv64")


def test_refuses_other_folders(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"is no whole OCI layout: .*index\.json: No such file"):
        read_oci_layout(tmp_path, "x86_64")
    manifest = layout(tmp_path)
    path = tmp_path / "blobs/sha256" / manifest["digest"][7:]
    path.write_bytes(path.read_bytes().replace(b"config", b"gifnoc"))
    with pytest.raises(PlanError, match="is not what its name says"):
        read_oci_layout(tmp_path, "x86_64")
    path.write_bytes(b"")
    with pytest.raises(PlanError, match="has not"):
        read_oci_layout(tmp_path, "x86_64")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    subprocess.run(["truncate", "-s", "3G", "hole"], cwd=tmp_path, check=True)
    subprocess.run(["tar", "--sparse", "-cf", "layer.tar", "hole"], cwd=tmp_path, check=True)
    with pytest.raises(PlanError, match="no honest image has: 'hole \\(a sparse file\\)'"):
        flatten([tmp_path / "layer.tar"], tmp_path / "root")


def test_a_name_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 30
    (tmp_path / "layer.tar").write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
    with pytest.raises(PlanError, match=f"the name of an entry has {1 << 30} bytes"):
        flatten([tmp_path / "layer.tar"], tmp_path / "root")
