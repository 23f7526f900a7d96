from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import process
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, UnreachableError
from hpcjobs.images import contents as inside
from hpcjobs.images import report as images
from hpcjobs.images.report import Library, Report
from hpcjobs.process import Completed

# The CI machine has them; elsewhere the reason shows up in pytest's summary (-ra).
squashed = pytest.mark.skipif(
    not (shutil.which("mksquashfs") and shutil.which("unsquashfs")),
    reason="NEEDS squashfs-tools: mksquashfs, unsquashfs",
)
OS_RELEASE = 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
ELF_ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00"
HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def no_program(argv: Sequence[str], **_: Any) -> Completed:
    raise UnreachableError(f"{argv[0]} cannot be run here: No such file or directory")


def forbidden(argv: Sequence[str], **_: Any) -> Completed:
    raise AssertionError(argv)


def tree(root: Path, files: Mapping[str, str | bytes], links: Mapping[str, str] = {}) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for name, target in links.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    return root


def debian(root: Path) -> Path:
    """An image with merged /usr, Open MPI, CUDA, and Apptainer's files."""
    lib = "usr/lib/x86_64-linux-gnu"
    files: dict[str, str | bytes] = {
        "usr/lib/os-release": OS_RELEASE,
        "usr/bin/dash": b"\x7fELF",
        f"{lib}/libmpi.so.40.30.1": b"",
        f"{lib}/libfabric.so.1.17.0": b"",
        f"{lib}/libc.so.6": b"..GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
        f"{lib}/ld-linux-x86-64.so.2": b"",
        "opt/conda/sysroot/lib64/libc-2.17.so": b"",
        "usr/local/cuda-12.4/lib64/libcudart.so.12.4.99": b"",
        "scif/apps/solve/scif/runscript": "",
        ".singularity.d/labels.json": '{"version": "7"}',
        ".singularity.d/env/10-docker2singularity.sh": 'export A="${A:-"docker \\"x\\""}"\nexport P="/bin"\n',
        ".singularity.d/env/90-environment.sh": "export P=/opt/bin:$P\n",
        ".singularity.d/env/99-base.sh": "export NOT=mine\n",
        ".singularity.d/runscript": '#!/bin/sh\nOCI_ENTRYPOINT=\'"python3" "-m"\'\nOCI_CMD=\'"x y"\'\n',
    }
    links = {
        "lib": "usr/lib",
        "bin": "usr/bin",
        "etc/os-release": "../usr/lib/os-release",
        "bin/sh": "dash",
        f"{lib}/libmpi.so.40": "libmpi.so.40.30.1",
        f"{lib}/libmpi.so": "/etc/alternatives/libmpi.so",
    }
    return tree(root, files, links)


def check_debian(seen: Report) -> None:
    lib = "/usr/lib/x86_64-linux-gnu"
    assert (seen.os, seen.arch) == ("Debian GNU/Linux 12 (bookworm)", "x86_64")
    assert (seen.libc, seen.libc_version) == ("glibc", "2.36")
    assert seen.mpi == [Library("libmpi.so.40", f"{lib}/libmpi.so.40.30.1", "openmpi")]
    assert seen.gpu == [Library("libcudart.so.12", "/usr/local/cuda-12.4/lib64/libcudart.so.12.4.99", "cuda")]
    assert seen.fabric == [Library("libfabric.so.1", f"{lib}/libfabric.so.1.17.0", "libfabric")]
    assert seen.apps == ["solve"]
    assert seen.labels == {"version": "7"}
    assert seen.environment == {"A": 'docker "x"', "P": "/opt/bin:$P"}
    assert (seen.entrypoint, seen.cmd, seen.runscript) == ("python3 -m", "'x y'", True)
    assert seen.complete


def squash(root: Path, image: Path) -> bytes:
    subprocess.run(["mksquashfs", root, image, "-quiet", "-no-progress", "-noappend"], check=True, capture_output=True)
    return image.read_bytes()


def sif(*entries: tuple[int, bytes, bytes, bytes]) -> bytes:
    """A SIF of (type, extra, name, data)."""
    rows, content = b"", b""
    for number, (kind, extra, name, data) in enumerate(entries, 1):
        numbers = (kind, 1, number, 0xF0000001, 0, 8192 + len(content), len(data), len(data), 0, 0, 0, 0)
        rows += struct.pack("<iBIII7q128s384s", *numbers, name, extra)
        content += data
    header = (1795246067, 1795246067, 0, len(entries), 128, len(rows), 8192, len(content))
    head = struct.pack("<32s10s3s3s16s8q", b"#!\n", b"SIF_MAGIC\0", b"01\0", b"02\0", bytes(16), *header)
    return (head + rows).ljust(8192, b"\0") + content


def partition(content: bytes, filesystem: int = 1) -> tuple[int, bytes, bytes, bytes]:
    return (0x4004, struct.pack("<ii3s", filesystem, 2, b"02\0"), b"", content)


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


# Folders


def test_folder(tmp_path: Path) -> None:
    seen = images.report(str(debian(tmp_path / "image")), runner=forbidden, cache=tmp_path / "cache")
    check_debian(seen)
    assert (seen.format, seen.digest, seen.size) == ("directory", "", 0)
    assert seen.notes == ["a folder has no digest and no size: its files can change one by one"]
    assert not (tmp_path / "cache").exists()


def test_alpine(tmp_path: Path) -> None:
    files = {
        "etc/os-release": "NAME='Alpine Linux'\n",
        "lib/ld-musl-x86_64.so.1": "",
        "lib/apk/db/installed": "P:zlib\nV:1.3-r0\n\nC:Q1\nP:musl\nV:1.2.4-r2\n",
    }
    seen = images.report(str(tree(tmp_path / "a", {**files, "bin/sh": ""})), runner=forbidden, cache=None)
    assert (seen.os, seen.arch, seen.libc, seen.libc_version) == ("Alpine Linux", "x86_64", "musl", "1.2.4")


@pytest.mark.parametrize(
    ("files", "libc", "arch"),
    [
        ({"lib64/libc-2.17.so": ""}, ("glibc", "2.17"), ""),
        ({"lib64/libc.so.6": "?"}, ("glibc", ""), ""),
        ({"lib/ld-musl-armhf.so.1": ""}, ("musl", ""), "armv7l"),
        ({"lib/ld-linux-aarch64.so.1": ""}, ("", ""), "aarch64"),
        ({"bin/sh": ELF_ARM}, ("", ""), "aarch64"),
        ({"bin/sh": "#!"}, ("", ""), ""),
    ],
)
def test_libc_and_cpu(tmp_path: Path, files: dict[str, str | bytes], libc: tuple[str, str], arch: str) -> None:
    seen = images.report(str(tree(tmp_path, {"usr/x": "", "bin/x": "", **files})), runner=forbidden, cache=None)
    assert ((seen.libc, seen.libc_version), seen.arch) == (libc, arch)


def test_charliecloud(tmp_path: Path) -> None:
    metadata = {"arch": "amd64", "cwd": "/work", "env": {"A": "1", "B": "2"}, "labels": {"l": "v"}}
    files = {"ch/environment": "A='one'\n\nC=3\n", "ch/metadata.json": json.dumps(metadata)}
    seen = images.report(str(tree(tmp_path, files)), runner=forbidden, cache=None)
    assert (seen.environment, seen.workdir) == ({"A": "one", "B": "2", "C": "3"}, "/work")
    assert seen.labels == {"l": "v"}


def test_links_stay_inside_the_image(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("PRETTY_NAME=secret\n")
    links = {"etc/os-release": "../../secret", "usr/lib/os-release": str(tmp_path / "secret"), "bin/sh": "sh"}
    seen = images.report(str(tree(tmp_path / "image", {"bin/x": ""}, links)), runner=forbidden, cache=None)
    assert seen.os == ""


def test_named_pipe_and_unreadable_folder_do_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree(tmp_path, {"bin/x": "", "opt/x": ""}) / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/os-release")
    scandir = os.scandir

    def refuse(folder: str) -> Any:
        if folder.endswith("/opt"):
            raise PermissionError(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    assert images.report(str(tmp_path), runner=forbidden, cache=None).os == ""


def test_a_folder_of_many_files_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_MANY", 2)
    seen = images.report(str(debian(tmp_path)), runner=forbidden, cache=None)
    assert seen.notes[1] == "only the first 2 names of the folder were looked at"


# SIF and squashfs


@squashed
def test_squashfs(tmp_path: Path) -> None:
    content = squash(debian(tmp_path / "root"), tmp_path / "app.sqfs")
    seen = images.report(str(tmp_path / "app.sqfs"), runner=process.run, cache=None)
    check_debian(seen)
    assert (seen.format, seen.size, seen.digest, seen.notes) == ("squashfs", len(content), sha256(content), [])
    assert abs(time.mktime(time.strptime(seen.created, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time()) < 3600


@squashed
def test_sif(tmp_path: Path) -> None:
    inner = squash(debian(tmp_path / "root"), tmp_path / "app.sqfs")
    signature = (0x4005, struct.pack("<i20s", 1, b"\xab" * 20), b"", b"-----BEGIN PGP")
    content = sif((0x4001, b"", b"", b"x"), partition(inner), signature)
    image = tmp_path / "app.sif"
    image.write_bytes(content)
    seen = images.report(str(image), runner=process.run, cache=None)
    check_debian(seen)
    assert (seen.format, seen.size, seen.digest) == ("sif", len(content), sha256(content))
    assert (seen.created, seen.encrypted) == ("2026-11-21T07:27:47Z", False)
    assert seen.signatures == [{"fingerprint": "AB" * 20, "hash": "sha256", "format": "pgp"}]


@squashed
def test_an_image_without_any_telling_file_is_not_unpacked(tmp_path: Path) -> None:
    squash(tree(tmp_path / "root", {"x": "", "y[1]": ""}), tmp_path / "app.sqfs")
    calls = []

    def runner(argv: Sequence[str], **kwargs: Any) -> Completed:
        calls.append(argv)
        return process.run(argv, **kwargs)

    seen = images.report(str(tmp_path / "app.sqfs"), runner=runner, cache=None)
    assert (seen.os, seen.complete, len(calls)) == ("", True, 1)


def test_sif_header_tells_what_the_image_hides(tmp_path: Path) -> None:
    attributes = {
        "labels": {"a": "b"},
        "apps": {"solve": {}},
        "environment": {
            "/.singularity.d/env/90-environment.sh": "export P=/opt",
            "/.singularity.d/env/99-base.sh": "export X=1",
        },
        "runscript": "#!/bin/sh\necho hi",
    }
    config = {
        "Env": ["P=/bin", "Q=1=2"],
        "Entrypoint": ["a b"],
        "Cmd": ["c"],
        "WorkingDir": "/w",
        "Labels": {"a": "z", "c": "d"},
    }
    image = tmp_path / "app.sif"
    image.write_bytes(
        sif(
            (0x4006, b"", b"inspect-metadata.json", json.dumps({"data": {"attributes": attributes}}).encode()),
            (0x4006, b"", b"oci-config.json", json.dumps(config).encode()),
            (0x4006, b"", b"other.json", b"{"),
            (0x4006, b"", b"odd.json", b'{"data": []}'),
            (0x4003, b"", b"", b'{"e": "f"}'),
            partition(b"secret", filesystem=6),
        )
    )
    seen = images.report(str(image), runner=forbidden, cache=None)
    assert seen.encrypted
    assert seen.notes == [
        "the image is encrypted (gocryptfs squashfs): its contents are not seen, only what its header says"
    ]
    assert seen.labels == {"a": "b", "c": "d", "e": "f"}
    assert seen.environment == {"P": "/opt", "Q": "1=2"}
    assert (seen.entrypoint, seen.cmd, seen.workdir, seen.apps) == ("'a b'", "c", "/w", ["solve"])
    assert seen.runscript
    assert seen.digest == sha256(image.read_bytes())


@pytest.mark.parametrize("odd", [None, True, 1, "x", [1], [["a"]], {"a": 1}, {"a": None}])
def test_metadata_that_is_not_what_it_should_be_tells_nothing(tmp_path: Path, odd: object) -> None:
    keys = ("labels", "apps", "environment", "runscript")
    metadata = [{"data": odd}, {"data": {"attributes": odd}}, {"data": {"attributes": dict.fromkeys(keys, odd)}}]
    config = [
        odd,
        {"config": odd},
        {"config": dict.fromkeys(("Env", "Entrypoint", "Cmd", "WorkingDir", "Labels"), odd)},
    ]
    image = tmp_path / "app.sif"
    image.write_bytes(
        sif(
            *((0x4006, b"", b"inspect-metadata.json", json.dumps(one).encode()) for one in metadata),
            *((0x4006, b"", b"oci-config.json", json.dumps(one).encode()) for one in config),
            partition(b"secret", filesystem=6),
        )
    )
    seen = images.report(str(image), runner=forbidden, cache=None)
    assert (seen.format, seen.encrypted, seen.digest) == ("sif", True, sha256(image.read_bytes()))


@pytest.mark.parametrize(("entries", "note"), [
    ([], "the image has no partition with an operating system"),
    ([partition(b"x", filesystem=2)], "the image's file system is ext3, which is not looked into"),
])  # fmt: skip
def test_sif_that_is_not_looked_into(tmp_path: Path, entries: list[tuple[int, bytes, bytes, bytes]], note: str) -> None:
    (tmp_path / "app.sif").write_bytes(sif(*entries))
    seen = images.report(str(tmp_path / "app.sif"), runner=forbidden, cache=None)
    assert seen.notes[0].startswith(note)


def test_without_unsquashfs_a_note_says_what_to_install(tmp_path: Path) -> None:
    image = tmp_path / "app.sif"
    image.write_bytes(sif(partition(b"hsqs")))
    seen = images.report(str(image), runner=no_program, cache=tmp_path / "cache")
    assert (seen.arch, seen.digest) == ("x86_64", sha256(image.read_bytes()))
    assert "unsquashfs cannot be run here" in seen.notes[0]
    assert "dnf install squashfs-tools" in seen.notes[0]
    assert not seen.complete
    # Installed since then: a report that was not whole is not kept.
    again = images.report(
        str(image), runner=answers("-rw-r--r-- 0/0 3 2026-11-21 07:27 /ch/environment\n"), cache=tmp_path / "cache"
    )
    assert again.complete


def answers(listing: str, code: int = 0, err: str = "") -> Callable[..., Completed]:
    return lambda argv, **_: Completed(tuple(argv), code, listing, err)


def test_what_unsquashfs_says_is_passed_on(tmp_path: Path) -> None:
    image = tmp_path / "app.sif"
    image.write_bytes(sif(partition(b"hsqs")))
    runner = answers("", 1, "FATAL ERROR: Can't find a valid SQUASHFS superblock\nmore\n")
    seen = images.report(str(image), runner=runner, cache=None)
    assert "not seen: FATAL ERROR: Can't find a valid SQUASHFS superblock;" in seen.notes[0]


def test_without_a_temporary_folder_a_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    (tmp_path / "app.sif").write_bytes(sif(partition(b"hsqs")))
    seen = images.report(str(tmp_path / "app.sif"), runner=forbidden, cache=None)
    assert seen.notes == [
        "the contents are not seen: no temporary folder: No such file or directory; try: export TMPDIR=…"
    ]
    assert (seen.complete, bool(seen.digest)) == (False, True)


def test_listing() -> None:
    text = (
        "drwxr-xr-x 0/0                     299 2026-11-21 07:27 \n"
        "drwxr-xr-x 0/0                      27 2026-11-21 07:27 /scif/apps/solve\n"
        "drwxr-xr-x 0/0                      27 2026-11-21 07:27 /scif/apps/solve/scif\n"
        "lrwxrwxrwx 0/0                       7 2026-11-21 07:27 /bin -> usr/bin\n"
        "lrwxrwxrwx 0/0                       7 2026-11-21 07:27 /a b -> c d\n"
        "crw-rw-rw- 0/0                  1,   3 2026-11-21 07:27 /dev/libmpi.so\n"
        "-rwsr-xr-t 1000/1000           1265648 2026-11-21 07:27 /bin/sh\n"
        "-rw-r--r-- 0/0                       5 2026-11-21 07:27 /usr/lib/libmpi.so.12.2.2\n"
        "-rw-r--r-- 0/0                       5 2026-11-21 07:27 /usr/lib/libmpi.so.12.2.2-gdb.py\n"
    )
    contents = inside.parse_listing(text, Path("/nowhere"))
    assert contents.links == {"/bin": "usr/bin", "/a b": "c d"}
    assert contents.sizes == {"/scif/apps/solve": 27, "/bin/sh": 1265648, "/usr/lib/libmpi.so.12.2.2": 5}


def test_large_and_odd_names_are_not_taken_out() -> None:
    sizes = {"/etc/os-release": 1 << 40, "/lib/apk/db/installed": 5, "/a*/libc.so.6": 5}
    assert list(inside.parse_listing("", Path()).wanted()) == []
    contents = inside._Contents(Path("/nowhere"), sizes, {})
    assert list(contents.wanted()) == ["/lib/apk/db/installed"]
    assert contents.read("/lib/apk/db/installed") == b""


def test_squashfs_cut_short(tmp_path: Path) -> None:
    image = tmp_path / "app.sqfs"
    image.write_bytes(b"hsqs" + bytes(36) + struct.pack("<Q", 5000) + bytes(100))
    with pytest.raises(PlanError, match=r"app\.sqfs is cut short: .*148 of 5000 bytes"):
        images.report(str(image), runner=forbidden, cache=None)
    image.write_bytes(b"hsqs")
    seen = images.report(str(image), runner=answers("", 1, "FATAL ERROR: read\n"), cache=None)
    assert (seen.created, seen.complete) == ("", False)


# What is no image


@pytest.mark.parametrize("name", ["", "docker://ubuntu:24.04"])
def test_what_is_no_file(name: str) -> None:
    with pytest.raises(PlanError, match="is no file here"):
        images.report(name, runner=forbidden, cache=None)


def test_errors_are_those_of_planning(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no image"):
        images.report(str(tmp_path / "none"), runner=forbidden, cache=None)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(PlanError, match="is not a container image"):
        images.report(str(tmp_path / "text"), runner=forbidden, cache=None)


# Cache and digest


def test_cached_report_needs_no_program(tmp_path: Path) -> None:
    image, cache = tmp_path / "app.sif", tmp_path / "cache"
    image.write_bytes(sif(partition(b"hsqs")))
    listing = "-rw-r--r-- 0/0 3 2026-11-21 07:27 /opt/openmpi/lib/libmpi.so.40.1.2\n"
    first = images.report(str(image), runner=answers(listing), cache=cache)
    assert first.mpi
    assert images.report(str(image), runner=forbidden, cache=cache) == first
    assert {each.stat().st_mode & 0o777 for each in cache.iterdir()} == {0o600}
    os.utime(image, ns=(1, 1))
    assert images.report(str(image), runner=answers(""), cache=cache).mpi == []


def test_cached_report_bears_the_name_it_was_asked_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.sif").write_bytes(sif())
    images.report(str(tmp_path / "app.sif"), runner=forbidden, cache=tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert images.report("app.sif", runner=forbidden, cache=tmp_path / "cache").path == "app.sif"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"path": 1}', "wrong libraries", '"sha256:0"'])
def test_damaged_cache_is_written_anew(tmp_path: Path, damage: str) -> None:
    image, cache = tmp_path / "app.sif", tmp_path / "cache"
    image.write_bytes(sif())
    first = images.report(str(image), runner=forbidden, cache=cache)
    whole = {each: each.read_text() for each in cache.iterdir()}
    assert len(whole) == 2
    for each, text in whole.items():
        each.write_text(text.replace('"mpi": []', '"mpi": [{"x": 1}]') if damage == "wrong libraries" else damage)
    assert images.report(str(image), runner=forbidden, cache=cache) == first
    assert {each: each.read_text() for each in cache.iterdir()} == whole


def test_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    (tmp_path / "app.sif").write_bytes(sif())
    seen = images.report(str(tmp_path / "app.sif"), runner=forbidden, cache=tmp_path / "cache")
    assert seen.digest


@pytest.mark.parametrize("size", [0, 1, images._CHUNK, 2 * images._CHUNK + 5])
def test_digest(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "x").write_bytes(content)
    assert images.digest(tmp_path / "x", cache=None) == sha256(content)


def test_digest_is_cached_by_name_size_time_and_inode(tmp_path: Path) -> None:
    file, cache = tmp_path / "x", tmp_path / "cache"
    file.write_bytes(b"a")
    os.utime(file, ns=(5, 5))
    assert images.digest(str(file), cache=cache) == sha256(b"a")
    file.write_bytes(b"b")
    os.utime(file, ns=(5, 5))
    assert images.digest(file, cache=cache) == sha256(b"a")  # nothing that is looked at changed
    (tmp_path / "y").write_bytes(b"b")
    os.utime(tmp_path / "y", ns=(5, 5))
    (tmp_path / "y").rename(file)
    assert images.digest(file, cache=cache) == sha256(b"b")


def test_digest_of_a_file_that_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"a")

    def grow(path: Path) -> str:
        path.write_bytes(b"ab")
        return sha256(b"a")

    monkeypatch.setattr(images, "_sha256", grow)
    with pytest.raises(PlanError, match="changed while it was read"):
        images.digest(file, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_digest_of_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot be read"):
        images.digest(tmp_path / "none", cache=None)
    with pytest.raises(PlanError, match="cannot be read: Is a directory"):
        images.digest(tmp_path, cache=None)


# Archives

CONFIG = {
    "architecture": HERE, "os": "linux", "created": "2026-11-21T07:34:11Z",
    "config": {"Env": ["A=1"], "Labels": {"l": "v"}, "Entrypoint": ["run"], "Cmd": None, "WorkingDir": "/w"},
}  # fmt: skip


def blobs(*, nested: bool = False) -> dict[str, bytes]:
    """The files of an OCI layout with an attestation and an image for another CPU beside the image."""

    def blob(value: object) -> dict[str, Any]:
        content = json.dumps(value).encode()
        files[f"blobs/sha256/{sha256(content)[7:]}"] = content
        return {"digest": sha256(content), "size": len(content)}

    files = {"oci-layout": b"{}"}
    manifest = blob({"config": blob(CONFIG), "layers": [{"digest": "sha256:0", "size": 1000}, "odd"]})
    images_ = [
        {**blob({}), "platform": {"architecture": "unknown"}},
        {**blob({"x": 1}), "platform": {"architecture": "mips"}},
        {**manifest, "platform": {"architecture": HERE}},
    ]
    index = {"manifests": images_}
    files["index.json"] = json.dumps({"manifests": [blob(index)]} if nested else index).encode()
    return files


def tar(path: Path, files: Mapping[str, bytes], *, before: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(before + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def check_config(seen: Report) -> None:
    assert (seen.arch, seen.created) == (os.uname().machine, "2026-11-21T07:34:11Z")
    assert (seen.environment, seen.labels) == ({"A": "1"}, {"l": "v"})
    assert (seen.entrypoint, seen.cmd, seen.workdir) == ("run", "", "/w")
    assert "layers are not unpacked" in seen.notes[-1]


@pytest.mark.parametrize("nested", [False, True])
def test_oci_layout(tmp_path: Path, nested: bool) -> None:
    files = blobs(nested=nested)
    seen = images.report(str(tree(tmp_path, files)), runner=forbidden, cache=None)
    check_config(seen)
    manifest = next(text for text in files.values() if b'"layers"' in text)
    assert (seen.format, seen.digest) == ("oci-layout", sha256(manifest))
    assert seen.size == len(json.dumps(CONFIG)) + 1000
    assert seen.notes[0] == "there are 2 images inside; this is one of them"


def test_indexes_without_end(tmp_path: Path) -> None:
    files = {"oci-layout": b"{}", "index.json": json.dumps(CONFIG).encode()}
    for _ in range(5):
        content = files["index.json"]
        files[f"blobs/sha256/{sha256(content)[7:]}"] = content
        files["index.json"] = json.dumps({"manifests": [{"digest": sha256(content)}]}).encode()
    assert images.report(str(tree(tmp_path, files)), runner=forbidden, cache=None).arch == ""


def test_oci_archive(tmp_path: Path) -> None:
    path = tar(tmp_path / "o.tar", blobs(), before="./")
    seen = images.report(str(path), runner=forbidden, cache=tmp_path / "cache")
    check_config(seen)
    assert (seen.format, seen.size) == ("oci-archive", path.stat().st_size)
    assert images.report(str(path), runner=forbidden, cache=tmp_path / "cache") == seen


@pytest.mark.parametrize("packed", [False, True])
def test_docker_archive(tmp_path: Path, packed: bool) -> None:
    config = json.dumps(CONFIG).encode()
    files = {"manifest.json": json.dumps([{"Config": "c.json", "Layers": []}]).encode(), "c.json": config}
    path = tar(tmp_path / "d.tar", files)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    seen = images.report(str(path), runner=forbidden, cache=None)
    check_config(seen)
    assert (seen.format, seen.digest) == ("docker-archive", sha256(config))
    assert seen.notes[0] == "the digest is the image id: a docker archive does not keep the manifest's"


def test_docker_archive_with_an_index_has_the_manifests_digest(tmp_path: Path) -> None:
    files = blobs()
    seen = images.report(str(tar(tmp_path / "d.tar", {"manifest.json": b"[]", **files})), runner=forbidden, cache=None)
    check_config(seen)
    assert seen.format == "docker-archive"
    assert seen.digest == sha256(next(text for text in files.values() if b'"layers"' in text))
    assert seen.size == (tmp_path / "d.tar").stat().st_size


@pytest.mark.parametrize(
    "index", [b"", b"[]", b'{"manifests": 5}', b'{"manifests": [5]}', b'{"manifests": [{"digest": "../../x"}]}']
)
def test_layout_that_says_nothing(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "index.json").write_bytes(index)
    (tmp_path / "oci-layout").write_bytes(b"{}")
    seen = images.report(str(tmp_path), runner=forbidden, cache=None)
    assert (seen.arch, seen.size) == ("", 0)


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[5]", b'[{"Config": "none"}]'])
def test_docker_archive_that_says_nothing(tmp_path: Path, manifest: bytes) -> None:
    seen = images.report(str(tar(tmp_path / "d.tar", {"manifest.json": manifest})), runner=forbidden, cache=None)
    assert (seen.digest, seen.arch) == ("", "")


def test_other_archives(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is a tar archive without an image"):
        images.report(str(tar(tmp_path / "x.tar", {"bin/sh": b""})), runner=forbidden, cache=None)
    (tmp_path / "x.gz").write_bytes(
        gzip.compress(tar(tmp_path / "y.tar", {"a": os.urandom(50000)}).read_bytes())[:9000]
    )
    with pytest.raises(PlanError, match="cannot be read") as caught:
        images.report(str(tmp_path / "x.gz"), runner=forbidden, cache=None)
    assert "cut short" in caught.value.hint


# Texts


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["/usr/lib/libmpi.so.40.30.1"], [("libmpi.so.40", "openmpi")]),
        (["/usr/lib/libmpi.so", "/usr/lib/libmpi.so.40", "/usr/lib/libmpi.so.40.30.1"], [("libmpi.so.40", "openmpi")]),
        (["/usr/lib/libmpi.so"], [("libmpi.so", "mpich")]),
        (["/usr/lib/libmpich.so.12.2.2"], [("libmpich.so.12", "mpich")]),
        (["/opt/mpich/lib/libmpi.so.12.2.2"], [("libmpi.so.12", "mpich")]),
        (["/opt/x/lib/libmpi.so.12", "/opt/x/lib/libopen-pal.so.13"], [("libmpi.so.12", "openmpi")]),
        (["/usr/lib64/openmpi/lib/libmpi.so.12"], [("libmpi.so.12", "openmpi")]),
        (["/opt/intel/oneapi/mpi/2021.11/lib/libmpi.so.12.0.0"], [("libmpi.so.12", "intel")]),
        (["/usr/lib/libmpi_abi.so.1.0.0"], [("libmpi_abi.so.1", "abi")]),
        (["/opt/cray/lib/libmpi_gnu_123.so.12"], [("libmpi_gnu_123.so.12", "mpich")]),
        (["/w/torch/lib/libcudart-d0da41ae.so.11.0"], [("libcudart-d0da41ae.so.11", "cuda")]),
        (["/l/libcudart.so.11", "/l/libcudart.so.12"], [("libcudart.so.11", "cuda"), ("libcudart.so.12", "cuda")]),
        (["/opt/rocm/lib/libamdhip64.so.6.0"], [("libamdhip64.so.6", "rocm")]),
        (["/usr/lib/libze_loader.so.1"], [("libze_loader.so.1", "level-zero")]),
        (["/usr/lib/libucp.so.0.0.0"], [("libucp.so.0", "ucx")]),
        (["/usr/lib/libmpifort.so.40", "/usr/lib/libmpi.a", "/usr/lib/libmpich.so.12.debug"], []),
    ],
)
def test_libraries(names: list[str], expected: list[tuple[str, str]]) -> None:
    assert [(each.name, each.family) for each in inside.libraries(names)] == expected


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('export X="${X:-"a b"}"', "a b"),
        ('export X="${X:-"cost \\$5 \\"q\\""}"', 'cost $5 "q"'),
        ("export X=plain", "plain"),
        ('  export X="a \\"b\\" $HOME"', 'a "b" $HOME'),
        ("export X='a b'", "a b"),
        ("export X=", ""),
        ("export X=a:$X; true", "a:$X; true"),
    ],
)
def test_exports(line: str, value: str) -> None:
    assert inside.exports(f"#!/bin/sh\n{line}\nY=1\n# export Z=1\n") == {"X": value}


def test_pretty_name() -> None:
    assert inside.pretty_name(OS_RELEASE) == "Debian GNU/Linux 12 (bookworm)"
    assert inside.pretty_name("NAME=Void\n") == "Void"
    assert inside.pretty_name("") == ""


@pytest.mark.parametrize(("text", "expected"), [
    ("", (False, "", "")),
    ('#!/bin/sh\necho "There is no runscript defined for this container\\n";', (False, "", "")),
    ("OCI_ENTRYPOINT=''\nOCI_CMD='\"bash\"'\n", (True, "", "bash")),
    ("OCI_CMD='\"it'\"'\"'s\"'\n", (True, "", "'it'\"'\"'s'")),
    ("OCI_ENTRYPOINT='\"odd'\n", (True, "'\"odd'", "")),
])  # fmt: skip
def test_runscript(text: str, expected: tuple[bool, str, str]) -> None:
    seen = Report("x", "sif")
    inside.apply_runscript(seen, text)
    assert (seen.runscript, seen.entrypoint, seen.cmd) == expected


def test_links_in_a_circle_end() -> None:
    contents = inside._Contents(Path("/"), {}, {"/a": "b", "/b": "a", "/c": "/d/../e/./f"})
    assert contents.resolve("/a/x") in {"/a/x", "/b/x"}
    assert contents.resolve("/c/g") == "/e/f/g"
    assert contents.resolve("/../../x") == "/x"


def test_archive_that_vanishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "d.tar", {"manifest.json": b"[]"})
    monkeypatch.setattr(inside, "_is_tar", lambda path: path.unlink() or True)
    with pytest.raises(HpcjobError, match="cannot be read"):
        images.report(str(path), runner=forbidden, cache=None)
