"""What `hpcjob image inspect` prints: the report on an image, and where it is kept for the next time.

A known image must answer at once, so that what looks into images (`contents`) is imported for new ones only.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError

if TYPE_CHECKING:
    from typing import Any

    from hpcjobs.process import Runner

_CHUNK = 2 << 20
# What a cache file must say to be believed; to be raised when a report says more than before.
_VERSION = 1


@dataclass(frozen=True)
class Library:
    """A library that decides where an image can run. `path` is the one in the image."""

    name: str  # the soname, as far as the file's name tells: libmpi.so.40
    path: str
    family: str  # openmpi, mpich, intel, abi; cuda, rocm, level-zero; libfabric, ucx


@dataclass
class Report:
    """What an image says. What is not known is empty, and `notes` says why.

    `size` is bytes: of the file; of configuration and layers for an OCI layout; 0 for a folder.
    `digest` is that of the file; of the manifest for OCI; the image id for a docker archive without manifest.
    """

    path: str
    format: str  # sif, squashfs, directory, docker-archive, oci-layout, oci-archive
    arch: str = ""  # as `uname -m` says it
    os: str = ""
    size: int = 0
    digest: str = ""
    created: str = ""  # RFC 3339, UTC
    labels: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: str = ""  # quoted for a shell
    cmd: str = ""  # quoted for a shell
    workdir: str = ""
    runscript: bool = False
    apps: list[str] = field(default_factory=list)
    encrypted: bool = False
    signatures: list[dict[str, str]] = field(default_factory=list)  # fingerprint, hash, format; not verified
    mpi: list[Library] = field(default_factory=list)
    gpu: list[Library] = field(default_factory=list)
    fabric: list[Library] = field(default_factory=list)
    libc: str = ""  # glibc, musl
    libc_version: str = ""
    notes: list[str] = field(default_factory=list)
    complete: bool = True  # False: what failed this time may work the next, so that it is not kept


def report(image: str, *, runner: Runner, cache: Path | None) -> Report:
    """Look into the image file or folder `image`; with `cache`, a folder, an unchanged file is looked into once.

    Without `unsquashfs` (squashfs-tools 4.4 or newer) the contents of SIF and squashfs stay unknown, and a note
    says so.

    Raises:
        NotFoundError: there is no such file; the hint names one like it.
        PlanError: it cannot be read, is no image, is cut short, or changed meanwhile.
    """
    path = Path(image)
    key = _key(path) if path.is_file() else ""
    if key and (known := _revive(_load(cache, f"{key}.report.json"), image)):
        return known
    from hpcjobs.images import contents

    made = contents.look(image, runner, cache)
    if key and made.complete and _key(path) == key:
        _save(cache, f"{key}.report.json", asdict(made))
    return made


def digest(path: str | Path, *, cache: Path | None) -> str:
    """`sha256:…` of a file; with `cache`, a folder, an unchanged file is read once.

    Unchanged means: the same absolute path, size, time of change and inode.

    Raises:
        NotFoundError: there is no such file.
        PlanError: it cannot be read, or changed meanwhile.
    """
    path = Path(path)
    key = _key(path)
    known = _load(cache, f"{key}.digest.json")
    if isinstance(known, str) and re.fullmatch("sha256:[0-9a-f]{64}", known):
        return known
    try:
        found = _sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    if _key(path) != key:
        raise PlanError(f"the image {path} changed while it was read", hint="is it still being copied? wait for that")
    _save(cache, f"{key}.digest.json", found)
    return found


def _unreadable(path: Path, error: OSError) -> HpcjobError:
    kind = NotFoundError if isinstance(error, FileNotFoundError) else PlanError
    return kind(f"the image {path} cannot be read: {error.strerror}", hint=f"see: ls -ld {path.parent} {path}")


def _sha256(path: Path) -> str:
    from concurrent.futures import ThreadPoolExecutor
    from hashlib import sha256

    found = sha256()
    # The next part is read while this one is hashed: neither holds the interpreter's lock.
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as ahead:
        chunk = file.read(_CHUNK)
        while chunk:
            following = ahead.submit(file.read, _CHUNK)
            found.update(chunk)
            chunk = following.result()
    return f"sha256:{found.hexdigest()}"


def _key(path: Path) -> str:
    """The same for the same file under the same name; cheaper than a checksum, whose module takes its time to load."""
    from zlib import crc32

    try:
        seen = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    name = crc32(os.path.abspath(path).encode(errors="surrogateescape"))  # noqa: PTH100
    return f"{_VERSION}-{name:08x}-{seen.st_ino:x}-{seen.st_size:x}-{seen.st_mtime_ns:x}"


def _load(cache: Path | None, name: str) -> Any:
    """What was saved under that name; None if nothing was, or if it is damaged."""
    if not cache:
        return None
    try:
        return json.loads((cache / name).read_bytes())
    except (OSError, ValueError):
        return None


def _save(cache: Path | None, name: str, value: object) -> None:
    if not cache:
        return
    # What cannot be kept is found again the next time: a full disk costs time here, and nothing else.
    with contextlib.suppress(OSError):
        paths.make_private(cache)
        paths.write_private(cache / name, json.dumps(value))


def _revive(saved: Any, path: str) -> Report | None:
    """A report from its JSON; None if that is not what was saved."""
    if not isinstance(saved, dict) or set(saved) != {each.name for each in fields(Report)}:
        return None
    try:
        libraries = {kind: [Library(**each) for each in saved[kind]] for kind in ("mpi", "gpu", "fabric")}
    except TypeError:
        return None
    # The same file by the same absolute path may have been named otherwise.
    return Report(**{**saved, **libraries, "path": path})
