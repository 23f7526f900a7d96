from __future__ import annotations

import struct
from pathlib import Path

import pytest

from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.images import sif

UUID = bytes.fromhex("798492ec7e1247698aa9ea83e53782b1")
SQUASHFS, EXT3, ENCRYPTED, GOCRYPTFS = 1, 2, 5, 6
SYSTEM, PRIMSYS, DATA, OVERLAY = 1, 2, 3, 4
START = 4096
TABLE = 128


def partition(filesystem: int, kind: int, arch: bytes = b"02\0") -> bytes:
    return struct.pack("<ii3s", filesystem, kind, arch)


def image(
    *entries: tuple[int, bytes, bytes], arch: bytes = b"02\0", total: int | None = None, table: int = TABLE
) -> bytes:
    """A SIF of (type, extra, data), as pkg/sif/create.go lays it out, with one unused row at the end."""
    rows, content = b"", b""
    for number, (kind, extra, data) in enumerate(entries, 1):
        group, link = (0xF0000000, 0xF0000001) if kind == 0x4005 else (0xF0000001, 0)
        numbers = (kind, 1, number, group, link, START + len(content), len(data), len(data), 1795246067, 0, 0, 0)
        rows += struct.pack("<iBIII7q128s384s", *numbers, b"name%d" % number, extra)
        content += data
    rows += bytes(585)
    total = len(entries) + 1 if total is None else total
    header = (1795246067, 1795246068, 1, total, table, len(rows), START, len(content))
    head = struct.pack(
        "<32s10s3s3s16s8q", b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0", b"01\0", arch, UUID, *header
    )
    return (head + rows).ljust(START, b"\0") + content


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.sif"


def test_header(path: Path) -> None:
    path.write_bytes(image((0x4001, b"", b"from: x")))
    seen = sif.read(path)
    assert (seen.arch, seen.id, seen.version) == ("x86_64", "798492ec-7e12-4769-8aa9-ea83e53782b1", "01")
    assert (seen.created, seen.modified) == (1795246067, 1795246068)
    assert (seen.launch, seen.size, seen.path) == ("#!/usr/bin/env run-singularity", START + 7, str(path))


def test_an_image_of_data_has_no_primary_partition(path: Path) -> None:
    path.write_bytes(image((0x4004, partition(EXT3, DATA), b"x"), arch=b"00\0"))
    seen = sif.read(path)
    assert (seen.primary, seen.encrypted, seen.has_overlay, seen.signatures, seen.arch) == (None, False, False, (), "")


def test_unused_rows_are_no_objects(path: Path) -> None:
    path.write_bytes(image())
    assert sif.read(path).descriptors == ()


@pytest.mark.parametrize(("filesystem", "name", "encrypted"), [
    (SQUASHFS, "squashfs", False), (EXT3, "ext3", False), (3, "archive", False), (4, "raw", False),
    (ENCRYPTED, "encrypted squashfs", True), (GOCRYPTFS, "gocryptfs squashfs", True), (99, "unknown", False),
])  # fmt: skip
def test_primary_partition(path: Path, filesystem: int, name: str, encrypted: bool) -> None:
    path.write_bytes(
        image(
            (0x4004, partition(SQUASHFS, SYSTEM), b"a"),
            (0x4004, partition(filesystem, PRIMSYS), b"bcd"),
            (0x4004, partition(EXT3, OVERLAY), b"e"),
        )
    )
    seen = sif.read(path)
    assert seen.primary
    assert (seen.primary.id, seen.primary.name, seen.primary.filesystem) == (2, "name2", name)
    assert (seen.primary.offset, seen.primary.size, seen.primary.group) == (START + 1, 3, 1)
    assert (seen.encrypted, seen.has_overlay) == (encrypted, True)
    assert [each.partition for each in seen.descriptors] == ["system", "primsys", "overlay"]


def test_arch_of_the_partition_counts_where_the_header_has_none(path: Path) -> None:
    path.write_bytes(image((0x4004, partition(SQUASHFS, PRIMSYS, b"04\0"), b""), arch=b"00\0"))
    assert sif.read(path).arch == "aarch64"


def test_kinds(path: Path) -> None:
    path.write_bytes(image(*((0x4001 + number, bytes(11), b"") for number in range(12))))
    assert [each.kind for each in sif.read(path).descriptors] == [
        "deffile", "environment", "labels", "partition", "signature", "json", "raw", "cryptographic message", "sbom",
        "oci root index", "oci blob", "unknown",
    ]  # fmt: skip


@pytest.mark.parametrize(("content", "form"), [
    (b"-----BEGIN PGP SIGNED MESSAGE-----\n", "pgp"), (b'{"payloadType":1}', "dsse"), (b"?", "unknown"), (b"", "unknown"),
])  # fmt: skip
def test_signature_format(path: Path, content: bytes, form: str) -> None:
    path.write_bytes(image((0x4005, struct.pack("<i", 1), content)))
    (signature,) = sif.read(path).signatures
    assert (signature.format, signature.hash, signature.fingerprint) == (form, "sha256", "")
    assert (signature.link, signature.link_is_group, signature.group) == (1, True, 0)


@pytest.mark.parametrize(("number", "name"), [(1, "sha256"), (2, "sha384"), (5, "blake2b-256"), (77, "unknown")])
def test_signature_hash_and_key(path: Path, number: int, name: str) -> None:
    key = bytes.fromhex("3370A2C0F8B5F73A258E1B72A38D8C88DF543218")
    path.write_bytes(image((0x4005, struct.pack("<i256s", number, key), b"-----BEGIN PGP")))
    (signature,) = sif.read(path).signatures
    assert (signature.hash, signature.fingerprint) == (name, "3370A2C0F8B5F73A258E1B72A38D8C88DF543218")


@pytest.mark.parametrize(("number", "name"), [(1, "openpgp"), (2, "pem"), (3, "unknown")])
def test_cryptographic_message(path: Path, number: int, name: str) -> None:
    path.write_bytes(image((0x4008, struct.pack("<ii", number, 0x200), b"-----BEGIN MESSAGE-----")))
    assert sif.read(path).of_kind("cryptographic message")[0].format == name


def test_data_of_an_object(path: Path) -> None:
    path.write_bytes(image((0x4001, b"", b"from: x"), (0x4003, b"", b'{"a":"b"}')))
    (labels,) = sif.read(path).of_kind("labels")
    assert sif.data(path, labels) == b'{"a":"b"}'


@pytest.mark.parametrize("keep", [100, TABLE + 10, START + 50])
def test_cut_short(path: Path, keep: int) -> None:
    whole = image((0x4004, partition(SQUASHFS, PRIMSYS), bytes(100)))
    path.write_bytes(whole[:keep])
    needed = {100: 128, TABLE + 10: TABLE + 2 * 585, START + 50: len(whole)}[keep]
    with pytest.raises(PlanError, match=f"app.sif is cut short: {keep} of {needed} bytes") as caught:
        sif.read(path)
    assert "copy or pull it again" in caught.value.hint


@pytest.mark.parametrize(("total", "table"), [(-1, TABLE), (1 << 40, TABLE), (1, -8), (1, 5)])
def test_damaged_header(path: Path, total: int, table: int) -> None:
    path.write_bytes(image((0x4001, b"", b"x"), total=total, table=table))
    with pytest.raises(PlanError, match=f"is damaged: its header says {total} descriptors at byte {table}"):
        sif.read(path)


@pytest.mark.parametrize("field", [17, 25])
def test_damaged_row(path: Path, field: int) -> None:
    content = bytearray(image((0x4001, b"", b"x")))
    struct.pack_into("<q", content, TABLE + field, -5)
    path.write_bytes(content)
    with pytest.raises(PlanError, match="is damaged: its header says object 1"):
        sif.read(path)


def test_not_a_sif(path: Path) -> None:
    path.write_bytes(b"hsqs")
    with pytest.raises(PlanError, match="is not a SIF image") as caught:
        sif.read(path)
    assert f"hpcjob image inspect {path}" in caught.value.hint


def test_absent(path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no image"):
        sif.read(path)


def test_unreadable(path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: Is a directory"):
        sif.read(path.parent)
    path.write_bytes(image((0x4001, b"", b"x")))
    (entry,) = sif.read(path).descriptors
    with pytest.raises(PlanError, match="cannot be read: Is a directory"):
        sif.data(path.parent, entry)
