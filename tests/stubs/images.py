"""The images that stub runtimes have, and the grammar of their names.

Variables of the environment say what there is; each unset one means that every image is there.
    STUB_IMAGES    JSON list: the images in the runtime's own store
    STUB_REGISTRY  JSON list: the images that can be pulled
    STUB_STORE     a folder where pulled images are kept from one call to the next
Names are compared as registries do: `ubuntu` is `docker.io/library/ubuntu:latest`.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# github.com/distribution/reference, grammar at the head of reference.go (v0.6); written anew.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9A-Fa-f]{32,}"
REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<path>{_PART}(?:/{_PART})*)"
    rf"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>{_DIGEST}))?"
)
# enroot 4.0, doc/cmd/import.md: [USER@][REGISTRY#]IMAGE[:TAG]; src/docker.sh of 4.0 takes REGISTRY/IMAGE, if there is
# a dot or a colon in REGISTRY, and digests; 3.x looks for such an image on Docker Hub.
ENROOT = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_.!~*'()%;:&=+$,@-]+)@)?(?:(?P<registry>[^/#]+)#|(?P<host>[^/#@]+[.:][^/#@]*)/)?"
    r"(?P<image>[a-z0-9/._-]+)(?::(?P<tag>[A-Za-z0-9._:-]+))?(?:@(?P<digest>sha256:[A-Za-z0-9]+))?"
)


def normal(name: str) -> str:
    """The full name of an image: host, path, tag or digest."""
    matched = REFERENCE.fullmatch(name.replace("#", "/", 1))
    if not matched:
        return name
    host, path, tag, digest = matched["host"], matched["path"], matched["tag"], matched["digest"]
    if host and not (set(host) & {".", ":"} or host in {"localhost", "load"} or host != host.lower()):
        host, path = None, f"{host}/{path}"
    host = {"registry-1.docker.io": None, "index.docker.io": None}.get(host or "", host) or "docker.io"
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    return f"{host}/{path}@{digest}" if digest else f"{host}/{path}:{tag or 'latest'}"


def _list(environ: Mapping[str, str], variable: str) -> set[str] | None:
    text = environ.get(variable, "")
    return {normal(name) for name in json.loads(text)} if text else None


def _record(environ: Mapping[str, str], program: str) -> Path | None:
    folder = environ.get("STUB_STORE", "")
    return Path(folder) / f"{program}.json" if folder else None


def recorded(environ: Mapping[str, str], program: str) -> set[str]:
    """What `record` kept for the program."""
    file = _record(environ, program)
    return set(json.loads(file.read_text("utf-8"))) if file and file.exists() else set()


def record(environ: Mapping[str, str], program: str, name: str, *, present: bool = True) -> None:
    """Keep a name, or forget it, if there is a folder for that."""
    file = _record(environ, program)
    if file:
        names = recorded(environ, program) - {name} | ({name} if present else set())
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(sorted(names)), "utf-8")


def stored(environ: Mapping[str, str], program: str) -> set[str]:
    """The full names of the images in the store."""
    return (_list(environ, "STUB_IMAGES") or set()) | {normal(name) for name in recorded(environ, program)}


def has(environ: Mapping[str, str], program: str, name: str) -> bool:
    """Whether the store of the program has the image."""
    return not environ.get("STUB_IMAGES") or normal(name) in stored(environ, program)


def pullable(environ: Mapping[str, str], name: str) -> bool:
    """Whether a registry has the image."""
    known = _list(environ, "STUB_REGISTRY")
    return known is None or normal(name) in known


def write_squashfs(path: Path, name: str) -> None:
    """A file that begins as a squashfs image does, and says which image it stands for."""
    path.write_bytes(b"hsqs" + name.encode())


# github.com/sylabs/sif, pkg/sif: launch script, magic, version, architecture, UUID, two times, the table of
# descriptors (free, total, offset, size), the data (offset, size); a descriptor: type, used, id, group, link, four
# places and times, owner and group, name, extra.
_HEADER = struct.Struct("<32s10s3s3s16s8q")
_ROW = struct.Struct("<iBIII7q128s384s")
_PARTITION, _SIGNATURE = 0x4004, 0x4005
_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----\n"


def write_sif(path: Path, name: str, *, encrypted: bool = False) -> None:
    """A small SIF of x86_64 whose data says which image it stands for; its signature is there, but not in use."""
    data = b"hsqs" + name.encode()
    start = _HEADER.size + 2 * _ROW.size
    head = _HEADER.pack(
        *(b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0", b"01\0", b"02\0", bytes(16), 0, 0),
        *(1, 2, _HEADER.size, 2 * _ROW.size, start, len(data) + len(_SIGNED)),
    )
    what = struct.pack("<ii3s", 5 if encrypted else 1, 2, b"02\0")
    rows = _row(_PARTITION, 1, start, len(data), what) + _row(
        _SIGNATURE, 0, start + len(data), len(_SIGNED), struct.pack("<i", 1) + b"\xab" * 20
    )
    path.write_bytes(head + rows + data + _SIGNED)


def _row(kind: int, used: int, offset: int, size: int, extra: bytes) -> bytes:
    number = 1 if kind == _PARTITION else 2
    return _ROW.pack(kind, used, number, 0xF0000001, 0, offset, size, size, 0, 0, 0, 0, b"stub", extra)


def _signatures(data: bytes) -> list[tuple[int, bool]]:
    """Where the rows of signatures begin, and whether they are in use."""
    head = _HEADER.unpack_from(data)
    places = range(head[9], head[9] + head[8] * _ROW.size, _ROW.size)
    rows = [(at, *_ROW.unpack_from(data, at)[:2]) for at in places]
    return [(at, bool(used)) for at, kind, used in rows if kind == _SIGNATURE]


def signed(data: bytes) -> bool:
    """Whether the SIF has a signature."""
    return any(used for _, used in _signatures(data))


def sign(path: Path) -> bool:
    """Take the signature that `write_sif` left into use; whether there is one."""
    data = bytearray(path.read_bytes())
    places = [at for at, _ in _signatures(bytes(data))]
    for at in places:
        data[at + 4] = 1
    path.write_bytes(bytes(data))
    return bool(places)
