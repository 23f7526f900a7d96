"""What a SIF image says about itself: its header and its table of data objects.

Reads a few kilobytes and starts nothing. The format: github.com/apptainer/sif, `pkg/sif/sif.go` (header and the
numbers of types), `pkg/sif/descriptor.go` (the table), `pkg/sif/arch.go`. All integers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import NotFoundError, PlanError

if TYPE_CHECKING:
    from typing import Any, BinaryIO

# Launch script, magic, version, architecture, UUID, created, modified; descriptors: free, total, offset, size;
# data: offset, size.
_HEADER = struct.Struct("<32s10s3s3s16s8q")
# Type, used, id, group, link; offset, size, padded size, created, modified, uid, gid; name, extra.
_DESCRIPTOR = struct.Struct("<iBIII7q128s384s")
_MAGIC = b"SIF_MAGIC\0"
# The reference implementation writes 48; a table larger than this is a damaged header and not an image.
_MOST_DESCRIPTORS = 65536
_MOST_DATA = 16 << 20
# The mark of a number that names a group (descrGroupMask).
_GROUP = 0xF0000000
_FINGERPRINT = 20

ARCHES = {
    "01": "i686", "02": "x86_64", "03": "armv7l", "04": "aarch64", "05": "ppc64", "06": "ppc64le", "07": "mips",
    "08": "mipsel", "09": "mips64", "10": "mips64el", "11": "s390x", "12": "riscv64", "13": "loongarch64",
}  # fmt: skip
"""SIF's architecture codes, as `uname -m` says them."""

_KINDS = {
    0x4001: "deffile", 0x4002: "environment", 0x4003: "labels", 0x4004: "partition", 0x4005: "signature",
    0x4006: "json", 0x4007: "raw", 0x4008: "cryptographic message", 0x4009: "sbom", 0x400A: "oci root index",
    0x400B: "oci blob",
}  # fmt: skip
_FILESYSTEMS = {
    1: "squashfs", 2: "ext3", 3: "archive", 4: "raw", 5: "encrypted squashfs", 6: "gocryptfs squashfs",
}  # fmt: skip
_ENCRYPTED = ("encrypted squashfs", "gocryptfs squashfs")
_PARTITIONS = {1: "system", 2: "primsys", 3: "data", 4: "overlay"}
_HASHES = {1: "sha256", 2: "sha384", 3: "sha512", 4: "blake2s-256", 5: "blake2b-256"}
_MESSAGES = {1: "openpgp", 2: "pem"}
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Descriptor:
    """One data object. What its kind does not have is empty; what the format does not know is `unknown`.

    `offset` and `size` are bytes, `created` is Unix seconds; `group` and `link` are 0 for none.
    """

    id: int
    kind: str
    group: int
    link: int
    link_is_group: bool
    offset: int
    size: int
    created: int
    name: str
    filesystem: str = ""  # of a partition
    partition: str = ""  # system, primsys, data, overlay
    arch: str = ""  # of a partition, as `uname -m` says it
    hash: str = ""  # of a signature
    fingerprint: str = ""  # of a PGP signature: the key, upper-case hex
    format: str = ""  # of a signature: pgp, dsse; of a cryptographic message: openpgp, pem


@dataclass(frozen=True)
class Sif:
    """A SIF file. `size` is bytes, `created` and `modified` are Unix seconds."""

    path: str
    size: int
    arch: str
    id: str
    version: str
    created: int
    modified: int
    launch: str
    descriptors: tuple[Descriptor, ...]

    @property
    def primary(self) -> Descriptor | None:
        """The partition that holds the operating system; None for an image of data only, or of OCI blobs."""
        return next((entry for entry in self.descriptors if entry.partition == "primsys"), None)

    @property
    def encrypted(self) -> bool:
        """Whether the operating system can only be read with a key."""
        return self.primary is not None and self.primary.filesystem in _ENCRYPTED

    @property
    def signatures(self) -> tuple[Descriptor, ...]:
        """The signatures, which are listed here and not verified."""
        return self.of_kind("signature")

    @property
    def has_overlay(self) -> bool:
        """Whether a writable layer is inside."""
        return any(entry.partition == "overlay" for entry in self.descriptors)

    def of_kind(self, kind: str) -> tuple[Descriptor, ...]:
        """The data objects of that kind, in the file's order."""
        return tuple(entry for entry in self.descriptors if entry.kind == kind)


def read(path: str | Path) -> Sif:
    """Header and table of the SIF file `path`.

    Raises:
        NotFoundError: there is no such file.
        PlanError: it cannot be read, is not SIF, is damaged, or is shorter than its table says.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(str(path), file)
    except FileNotFoundError:
        raise NotFoundError(f"there is no image {path}", hint=f"see: ls {Path(path).parent}") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def data(path: str | Path, entry: Descriptor) -> bytes:
    """The bytes of one data object, at most 16 MiB of it.

    Raises:
        PlanError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return _at(file, entry.offset, min(entry.size, _MOST_DATA))
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | Path, error: OSError) -> PlanError:
    return PlanError(f"the image {path} cannot be read: {error.strerror}", hint=f"see: ls -ld {path}")


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _read(path: str, file: BinaryIO) -> Sif:
    size = file.seek(0, 2)
    head = _at(file, 0, _HEADER.size)
    if head[32:42] != _MAGIC:
        raise PlanError(f"{path} is not a SIF image", hint=f"what is it? hpcjob image inspect {path}")
    _check_length(path, size, _HEADER.size)
    launch, _, version, arch, identity, created, modified, _, total, offset, _, _, _ = _HEADER.unpack(head)
    table = _table(path, file, size, offset, total)
    descriptors = tuple(_descriptor(row, file) for row in table)
    return Sif(
        path=path,
        size=size,
        arch=ARCHES.get(_text(arch), "") or next((d.arch for d in descriptors if d.partition == "primsys"), ""),
        id=_uuid(identity.hex()),
        version=_text(version),
        created=created,
        modified=modified,
        launch=_text(launch).strip(),
        descriptors=descriptors,
    )


def _table(path: str, file: BinaryIO, size: int, offset: int, total: int) -> list[tuple[Any, ...]]:
    """The used rows of the table of descriptors; all that they name is in the file."""
    if not 0 <= total <= _MOST_DESCRIPTORS or offset < _HEADER.size:
        raise _damaged(path, f"{total} descriptors at byte {offset}")
    length = total * _DESCRIPTOR.size
    _check_length(path, size, offset + length)
    rows = [row for row in _DESCRIPTOR.iter_unpack(_at(file, offset, length)) if row[1]]
    for row in rows:
        if row[5] < 0 or row[6] < 0:
            raise _damaged(path, f"object {row[2]} has {row[6]} bytes at byte {row[5]}")
    _check_length(path, size, max((row[5] + row[6] for row in rows), default=0))
    return rows


def _check_length(path: str, size: int, needed: int) -> None:
    if size < needed:
        raise PlanError(
            f"the image {path} is cut short: {size} of {needed} bytes",
            hint="was the disk full, or is the copy still under way? copy or pull it again, then compare: sha256sum",
        )


def _damaged(path: str, what: str) -> PlanError:
    return PlanError(
        f"the image {path} is damaged: its header says {what}", hint="copy or pull it again, then compare: sha256sum"
    )


def _uuid(digits: str) -> str:
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode(errors="replace")


def _descriptor(row: tuple[Any, ...], file: BinaryIO) -> Descriptor:
    number, _, identity, group, link, offset, size, _, created, _, _, _, name, extra = row
    kind = _KINDS.get(number, _UNKNOWN)
    return Descriptor(
        id=identity,
        kind=kind,
        group=group & ~_GROUP,
        link=link & ~_GROUP,
        link_is_group=link & _GROUP == _GROUP,
        offset=offset,
        size=size,
        created=created,
        name=_text(name),
        **_extra(kind, extra, _at(file, offset, min(size, 16))),
    )


def _extra(kind: str, extra: bytes, start: bytes) -> dict[str, str]:
    """What a descriptor of that kind says besides; `start` is how its data begins."""
    first, second = struct.unpack_from("<ii", extra)
    if kind == "partition":
        return {
            "filesystem": _FILESYSTEMS.get(first, _UNKNOWN),
            "partition": _PARTITIONS.get(second, _UNKNOWN),
            "arch": ARCHES.get(_text(extra[8:11]), ""),
        }
    if kind == "signature":
        entity = extra[4 : 4 + _FINGERPRINT]
        return {
            "hash": _HASHES.get(first, _UNKNOWN),
            "fingerprint": entity.hex().upper() if any(entity) else "",
            # pkg/integrity: a clear-signed PGP message, or a DSSE envelope, which is JSON.
            "format": "dsse" if start.startswith(b"{") else "pgp" if start.startswith(b"-----BEGIN PGP") else _UNKNOWN,
        }
    if kind == "cryptographic message":
        return {"format": _MESSAGES.get(first, _UNKNOWN)}
    return {}
