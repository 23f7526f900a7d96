"""Unpack container images without being root, and read the archives and layouts that hold them.

Sources: the OCI image spec (layer.md: "Whiteouts", "Applying Changesets"; image-layout.md), and docker's image
archive (github.com/moby/docker-image-spec, spec.md, "Combined Image JSON + Filesystem Changeset Format").
"""

# Made for every file of an image, a Path would cost half of the time.
# ruff: noqa: PTH101, PTH102, PTH108, PTH112, PTH113, PTH114, PTH115, PTH118, PTH120, PTH123, PTH208, PTH211

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from hpcjobs.errors import PlanError
from hpcjobs.images.registry import PLATFORMS, choose, read_blob
from hpcjobs.images.storing import storing

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from typing_extensions import Self

    from hpcjobs.process import Runner

_AnyMember = TypeVar("_AnyMember", bound=tarfile.TarInfo)
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
# What AUFS keeps for itself in a layer (layer.md allows nothing else to begin so).
_AUFS = ".wh..wh."
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_CHUNK = 1 << 20
# Links in one path, as of Linux (path_resolution(7)).
_MAX_LINKS = 40
# Seconds for `zstd` to decompress one layer.
_ZSTD_TIMEOUT = 3600.0
_LATEST = 2**32 - 1


def flatten(layers: Sequence[Path], root: Path, *, runner: Runner | None = None) -> None:
    """Apply layers, lowest first, to the folder `root`, which is made if need be.

    Nothing outside of `root` is written, whatever a layer says. The files belong to the user; devices and pipes are
    left out, set-id bits dropped, every folder is made rwx and every file readable for the user. Times of files are
    kept. Layers are tar files, plain or compressed with gzip or zstd; the latter needs Python 3.14, or `zstd` and a
    `runner`.

    Raises:
        PlanError: a layer is damaged, hostile, or cannot be decompressed here; names it.
        StoreError: `root` cannot be written, for want of space perhaps.
    """
    with storing(root):
        root.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        with _damaged(layer), ExitStack() as stack:
            stream = _open(layer, root.parent, runner, stack)
            with storing(root):
                _Changes(root.resolve(), layer).apply(stream)


@contextmanager
def _damaged(layer: Path) -> Generator[None, None, None]:
    try:
        yield
    except (tarfile.TarError, RecursionError) as error:
        raise PlanError(
            f"the layer {layer} is damaged: {error}", hint="remove it, and fetch or save the image again"
        ) from None


class _ReadError(tarfile.ReadError):
    """A layer that cannot be read; no OSError, which would be taken for one of writing."""


class _Stream:
    """A decompressed layer, whose errors cannot be taken for those of the files that are written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise _ReadError(str(error)) from None
        except Exception as error:
            # compression.zstd.ZstdError, a class that older Pythons do not have.
            if type(error).__name__ != "ZstdError":
                raise
            raise _ReadError(str(error)) from None


def _open(layer: Path, scratch: Path, runner: Runner | None, stack: ExitStack) -> _Stream:
    try:
        file = stack.enter_context(layer.open("rb"))
        magic = file.read(4)
        file.seek(0)
    except OSError as error:
        raise PlanError(f"the layer {layer} cannot be read: {error.strerror}", hint=f"see: ls -l {layer}") from None
    if magic.startswith(_GZIP):
        return _Stream(cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file))))
    if magic == _ZSTD:
        return _Stream(_zstd(layer, scratch, runner, stack))
    return _Stream(file)


def _zstd(layer: Path, scratch: Path, runner: Runner | None, stack: ExitStack) -> IO[bytes]:
    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        pass
    else:
        return cast("IO[bytes]", stack.enter_context(module.open(layer, "rb")))
    if not runner or not shutil.which("zstd"):
        raise PlanError(
            f"the layer {layer} is compressed with zstd, and nothing here can decompress it",
            hint="install zstd (type: module avail zstd), or use Python 3.14 or later",
        )
    with storing(scratch):
        plain = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".zstd-", dir=scratch))) / "layer.tar"
    # A runner's output is text.
    done = runner(("zstd", "-dqf", str(layer), "-o", str(plain)), timeout=_ZSTD_TIMEOUT)
    if done.code:
        raise _ReadError(done.err.strip().replace("\n", "; ") or f"zstd ended with {done.code}")
    return stack.enter_context(plain.open("rb"))


def _sound(member: _AnyMember) -> _AnyMember:
    # tarfile goes back to an earlier entry then, for ever (CVE-2025-8194).
    if member.size < 0:
        raise _ReadError(f"an entry has {member.size} bytes")
    # tarfile reads them whole, and they hold names.
    if member.type in _HEADERS and member.size > _LONGEST_HEADER:
        raise _ReadError(f"the name of an entry has {member.size} bytes")
    return member


_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LONGEST_HEADER = 1 << 20


# `_Member.fromtarfile` has a parameter that hides the module.
_HeaderError = tarfile.HeaderError


class _Member(tarfile.TarInfo):
    """An entry of a tar file, where a damaged one is an error: tarfile takes it for the end."""

    def _proc_member(self, tarfile: tarfile.TarFile) -> tarfile.TarInfo:
        # The step that all releases take between a header and what it describes; not all take `frombuf`.
        _sound(self)
        return super()._proc_member(tarfile)  # type: ignore[misc,no-any-return]

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return _sound(super().fromtarfile(tarfile))
        except _HeaderError as error:
            if type(error).__name__ not in {"InvalidHeaderError", "TruncatedHeaderError"}:
                raise
            raise _ReadError(f"at byte {tarfile.offset}: {error}") from None
        except ValueError as error:
            raise _ReadError(f"at byte {tarfile.offset}: {error}") from None


class _Changes:
    """One layer on its way into a root folder."""

    def __init__(self, root: Path, layer: Path) -> None:
        self._root, self._layer = str(root), layer
        # What this layer brought: whiteouts are of lower layers only, wherever in the layer they stand.
        self._fresh = {self._root}

    def apply(self, stream: _Stream) -> None:
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", tarinfo=_Member) as tar:
            while member := tar.next():
                # Images have hundreds of thousands of files, and tarfile remembers them all.
                tar.members.clear()  # type: ignore[attr-defined]
                self._member(tar, member)
        # The checksum of gzip stands behind what tarfile reads.
        while stream.read(_CHUNK):
            pass

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = self._parts(member.name)
        if not parts:
            return
        name = parts[-1]
        if name.startswith(_WHITEOUT):
            self._white_out(parts[:-1], name)
            return
        path = os.path.join(self._folder(parts[:-1]), name)
        if member.isdir():
            self._make_folder(path, member.mode)
        elif member.islnk():
            self._link(path, member)
        elif member.issym():
            self._remove(path)
            os.symlink(self._checked(member.linkname), path)
        elif member.issparse():
            # No builder of images writes them, and some bytes of a layer would be a disk full of zeros.
            raise self._hostile(f"{member.name} (a sparse file)")
        elif member.isfile():
            self._write(path, tar, member)
        else:
            self._remove(path)
            return
        self._brought(path)

    def _checked(self, name: str) -> str:
        if "\0" in name or not name:
            raise self._hostile(name)
        return name

    def _parts(self, name: str) -> list[str]:
        parts = [part for part in self._checked(name).split("/") if part not in {"", "."}]
        if ".." in parts:
            raise self._hostile(name)
        return parts

    def _hostile(self, name: str) -> PlanError:
        return PlanError(
            f"the layer {self._layer} holds an entry that no honest image has: {name!r}",
            hint="do not use this image, or ask who made it",
        )

    def _folder(self, parts: Sequence[str], *, make: bool = True) -> str:
        """The folder that a path within the image stands for, its links followed as if `root` were /.

        With `make`, it is made, in the place of files that are in its way.
        """
        path, left, links = self._root, list(reversed(parts)), 0
        while left:
            part = left.pop()
            if part == "..":
                path = path if path == self._root else os.path.dirname(path)
                continue
            below = f"{path}/{part}"
            if os.path.islink(below):
                links += 1
                if links > _MAX_LINKS:
                    raise self._hostile("/".join(parts))
                target = os.readlink(below)
                path = self._root if target.startswith("/") else path
                left += [piece for piece in reversed(target.split("/")) if piece not in {"", "."}]
                continue
            if make and not os.path.isdir(below):
                self._make_folder(below, 0o755)
            path = below
        return path

    def _brought(self, path: str) -> None:
        while path not in self._fresh:
            self._fresh.add(path)
            path = os.path.dirname(path)

    def _make_folder(self, path: str, mode: int) -> None:
        if os.path.islink(path) or not os.path.isdir(path):
            self._remove(path)
            os.mkdir(path)
        os.chmod(path, mode & 0o1777 | 0o700)

    def _write(self, path: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        # Writing into what is there would change every hard link of it.
        self._remove(path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as out:
            source = tar.extractfile(member)
            while source and (chunk := source.read(_CHUNK)):
                out.write(chunk)
            os.fchmod(out.fileno(), member.mode & 0o777 | 0o400)
        # Python takes a compiled module for old if its source has another time.
        when = int(min(max(0.0, member.mtime), _LATEST))
        os.utime(path, (when, when))

    def _link(self, path: str, member: tarfile.TarInfo) -> None:
        parts = self._parts(member.linkname)
        target = f"{self._folder(parts[:-1], make=False)}/{parts[-1]}" if parts else self._root
        if os.path.islink(target):
            text = os.readlink(target)
            if target != path:
                self._remove(path)
                os.symlink(text, path)
            return
        if not os.path.isfile(target):
            raise tarfile.ReadError(f"{member.name} is a link to {member.linkname}, which is not there")
        if target == path:
            return
        if target.startswith(f"{path}/"):
            raise tarfile.ReadError(f"{member.name} replaces the folder of {member.linkname}, which it links to")
        self._remove(path)
        try:
            os.link(target, path, follow_symlinks=False)
        except OSError:
            # Some parallel file systems have no hard links, or none between folders.
            shutil.copy2(target, path, follow_symlinks=False)

    def _white_out(self, parts: Sequence[str], name: str) -> None:
        hidden = name[len(_WHITEOUT) :]
        if hidden in {"", ".", ".."}:
            raise self._hostile("/".join((*parts, name)))
        folder = self._folder(parts, make=False)
        if not os.path.isdir(folder):
            return
        if name == _OPAQUE:
            self._prune(folder)
        elif not name.startswith(_AUFS):
            self._hide(f"{folder}/{hidden}")

    def _hide(self, path: str) -> None:
        """Remove what lower layers have there."""
        if path not in self._fresh:
            self._remove(path)
        elif os.path.isdir(path) and not os.path.islink(path):
            self._prune(path)

    def _prune(self, folder: str) -> None:
        for name in os.listdir(folder):
            self._hide(f"{folder}/{name}")

    def _remove(self, path: str) -> None:
        """Remove a file, link or tree, if it is there."""
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif os.path.lexists(path):
            os.unlink(path)


# --- archives and layouts ---------------------------------------------------------------------------------------------


def read_docker_archive(tar: Path, folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """The config and the layers, lowest first, of what `docker save` or `skopeo copy … docker-archive:` wrote.

    The layers are written into `folder`.

    Raises:
        PlanError: it is no such archive, is damaged, or has several images.
        StoreError: the folder cannot be written.
    """
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(tar, "r:*", tarinfo=_Member) as archive:
            members = {member.name.removeprefix("./"): member for member in archive}
            images = json.loads(_content(archive, members["manifest.json"]).read())
            if len(images) != 1:
                names = ", ".join(name for image in images for name in image.get("RepoTags") or ["?"])
                raise PlanError(f"{tar} has {len(images)} images: {names}", hint="type: docker save -o FILE ONE_IMAGE")
            config = checked_config(json.loads(_content(archive, members[images[0]["Config"]]).read()))
            return config, _extract(archive, [members[name] for name in images[0]["Layers"]], folder)
    except FileNotFoundError:
        raise PlanError(f"there is no archive {tar}", hint=f"see: ls -l {tar.parent}") from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise PlanError(f"{tar} is no docker archive, or is damaged: {error}", hint=_ARCHIVE_HINT) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{tar} is no docker archive: {error}", hint=_ARCHIVE_HINT) from None


_ARCHIVE_HINT = "such archives are made by: docker save -o FILE IMAGE"


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    if not file:
        raise tarfile.ReadError(f"{member.name} is not a file")
    return file


def _extract(archive: tarfile.TarFile, layers: Sequence[tarfile.TarInfo], folder: Path) -> list[Path]:
    paths = [folder / f"{number:04}.tar" for number in range(len(layers))]
    # Going back in a compressed archive means to start at its beginning.
    for layer, path in sorted(zip(layers, paths, strict=True), key=lambda pair: pair[0].offset):
        source = _content(archive, layer)
        with storing(folder), path.open("wb") as out:
            for chunk in iter(lambda source=source: _checked_read(source), b""):  # type: ignore[misc]
                out.write(chunk)
    return paths


def _checked_read(source: IO[bytes]) -> bytes:
    return _Stream(source).read(_CHUNK)


def read_oci_layout(folder: Path, arch: str) -> tuple[dict[str, Any], list[Path]]:
    """The config and the layers, lowest first, of an OCI image layout, for a CPU (as of `uname -m`).

    Raises:
        PlanError: it is no layout, is not whole, or has no image for that CPU.
    """
    try:
        body = json.loads((folder / "index.json").read_bytes())
        while "manifests" in body:
            body = _json(folder, choose(body["manifests"], arch, str(folder)))
        config = checked_config(_json(folder, body["config"]))
        layers = [_blob(folder, entry) for entry in body["layers"]]
    except OSError as error:
        raise PlanError(
            f"{folder} is no whole OCI layout: {error.filename}: {error.strerror}", hint=_LAYOUT_HINT
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"the OCI layout {folder} is damaged: {error!r}", hint=_LAYOUT_HINT) from None
    check_machine(config, arch, f"the image in {folder}")
    return config, layers


def checked_config(config: Any) -> dict[str, Any]:
    """An image's configuration (OCI image spec, config.md) whose parts are what they should be, or not there.

    Raises:
        TypeError: one of them is something else.
    """
    inner = (config.get("config") or {}) if isinstance(config, dict) else None
    if not isinstance(inner, dict):
        raise TypeError("its configuration is no mapping")
    for name, value in (("architecture", config.get("architecture")), ("WorkingDir", inner.get("WorkingDir"))):
        if not isinstance(value, (str, type(None))):
            raise TypeError(f"{name} of its configuration is no text")
    for name in ("Env", "Entrypoint", "Cmd"):
        words = inner.get(name) or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise TypeError(f"{name} of its configuration is no list of texts")
    return dict(config)


def check_machine(config: Mapping[str, Any], arch: str, what: str) -> None:
    """Refuse an image whose config says that it is for another CPU than `arch` (as of `uname -m`).

    Raises:
        PlanError: names both, and the image as `what`.
    """
    made_for = config.get("architecture")
    if made_for and made_for not in {arch, PLATFORMS.get(arch, (arch,))[0]}:
        raise PlanError(f"{what} is for {made_for}, not {arch}", hint="choose another tag, or nodes of such a CPU")


_LAYOUT_HINT = "such folders are made by: skopeo copy docker://IMAGE oci:FOLDER:TAG"


def _blob(folder: Path, entry: Mapping[str, Any]) -> Path:
    blob = read_blob(entry)
    path = folder / "blobs/sha256" / blob.digest.partition(":")[2]
    if path.stat().st_size != blob.size:
        raise ValueError(f"{path} has not {blob.size} bytes")
    return path


def _json(folder: Path, entry: Mapping[str, Any]) -> Any:
    path = _blob(folder, entry)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.name:
        raise ValueError(f"{path} is not what its name says")
    return json.loads(content)


def environment(config: Mapping[str, Any]) -> dict[str, str]:
    """The variables that an image's config sets (OCI image spec, config.md, `Env`)."""
    entries = (config.get("config") or {}).get("Env") or ()
    return dict(str(entry).split("=", 1) for entry in entries if "=" in entry)
