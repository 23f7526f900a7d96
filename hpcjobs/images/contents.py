"""Looks into container images without running them: what is in SIF, squashfs, folders, and archives.

Files are read and `unsquashfs` is asked; no container starts and nothing is verified. Sources: squashfs superblock:
kernel docs, `filesystems/squashfs`; `/.singularity.d`: apptainer.org/docs/user, "Appendix"; `/ch`: Charliecloud's
ch-image(1) and ch-run(1); OCI layout, index, manifest and config: github.com/opencontainers/image-spec; SCIF:
sci-f.github.io.
"""

from __future__ import annotations

import json
import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import HpcjobError, PlanError
from hpcjobs.images import facts, sif
from hpcjobs.images.facts import LOADERS, elf_arch
from hpcjobs.images.report import Library, Report, digest

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from hpcjobs.process import Runner

# Files of an image that are read whole; the largest one that matters is libc (2 MB).
_MOST = 8 << 20
# Seconds. Listing 50,000 files takes 0.2.
_TIMEOUT = 120.0
_HOPS = 40  # Linux's own limit of symbolic links in one path (path_resolution(7))

_LIBRARIES = {
    "mpich": "mpich", "mpi_abi": "abi", "mpi_cray": "mpich", "mpi_gnu": "mpich", "mpi_intel": "mpich",
    "mpi_nvidia": "mpich", "mpi_amd": "mpich", "mpi_aocc": "mpich", "mpi": "",
    "cudart": "cuda", "amdhip64": "rocm", "ze_loader": "level-zero", "fabric": "libfabric", "ucp": "ucx",
}  # fmt: skip
_GPU = ("cuda", "rocm", "level-zero")
_FABRIC = ("libfabric", "ucx")
# libmpi_gnu_123.so.12 is Cray's for GCC 12.3, libcudart-d0da41ae.so.11.0 that of a Python wheel.
_LIBRARY = re.compile(rf"lib({'|'.join(_LIBRARIES)})(?:_\d+|-[0-9a-f]+)?\.so(\.\d+)?[.\d]*")
# The image's own libc, and not one of a compiler's or conda's sysroot.
_SYSTEM = re.compile(r"/(?:usr/)?lib(?:64)?/(?:[\w-]+-linux-[\w-]+/)?[^/]+")
_PROGRAMS = ("/bin/sh", "/usr/bin/env", "/bin/busybox", "/usr/bin/bash", "/bin/cat")
_READ = ("/etc/os-release", "/usr/lib/os-release", "/lib/apk/db/installed", "/ch/environment", "/ch/metadata.json")
_LABELS = "/.singularity.d/labels.json"
_RUNSCRIPT = "/.singularity.d/runscript"
# The files there that hold the image's own variables; the others are Apptainer's.
_ENVIRONMENT = re.compile(r"/\.singularity\.d/env/(?:10-docker\w*|90-environment|91-environment)\.sh")
# The names worth keeping of an image's million.
_WORTH = (
    rf"(?:[^\n]*/(?:lib(?:{'|'.join(_LIBRARIES)})(?:_\d+|-[0-9a-f]+)?\.so[.\d]*|libopen-(?:pal|rte)\.so[.\d]*"
    r"|ld-linux[^/\n]*|ld64\.so\.\d|ld-musl-[^/\n]*|libc[-.][.\d]*so[.\d]*|bin/(?:sh|dash|bash|busybox|env|cat))"
    r"|/etc/os-release|/usr/lib/os-release|/(?:usr/)?lib/apk/db/installed|/ch/[^/\n]+|/scif/apps/[^/\n]+"
    r"|/\.singularity\.d/(?:env/)?[^/\n]+)"
)
_WORTH_PATH = re.compile(_WORTH)
# `-rwxr-xr-x 0/0    555 2026-11-21 07:27 /bin/sh` and `lrwxrwxrwx 0/0  7 2026-11-21 07:27 /bin -> usr/bin`:
# unsquashfs(1), -lln.
_LISTED = re.compile(rf"^[d-]\S{{9}} \S+ +(\d+) \S+ \S+ ({_WORTH})$", re.MULTILINE)
_LINKED = re.compile(r"^l\S{9} \S+ +\d+ \S+ \S+ (/.*) -> (.*)$", re.MULTILINE)
# Names that mean something else to unsquashfs, which takes patterns, are not asked for.
_PLAIN = re.compile(r"[\w./+-]+")
# Folders of an unpacked image in which nothing of the above is, and which may be large or not files at all.
_SKIPPED = frozenset((
    "proc", "sys", "dev", "run", "tmp", "home", "root", "mnt", "media", "work", "scratch", "data",
    "share", "include", "src", "doc", "man", "locale", "__pycache__",
))  # fmt: skip
_DEPTH = 9
_MANY = 200_000


def look(image: str, runner: Runner, cache: Path | None) -> Report:
    """The report on an image file or folder, made anew; digests are kept in the folder `cache`.

    Raises:
        NotFoundError, PlanError: as of `report.report`.
    """
    path = Path(image)
    if (path / "oci-layout").is_file():
        return _layout(path)
    if _is_tar(path):
        return _archive(path)
    kind = facts.inspect(image).kind
    if kind == "directory":
        return _folder(path)
    if kind == "sif":
        return _sif(path, runner, cache)
    if kind == "squashfs":
        return _squashfs(path, runner, cache)
    raise PlanError(f"{image or 'an empty name'} is no file here", hint=f"to ask a registry: skopeo inspect {image}")


# SIF, squashfs and folders: what is in them.


@dataclass(frozen=True)
class _Contents:
    """Files of an image: `sizes` of those worth knowing, all `links`, and a folder from which they can be read."""

    root: Path
    sizes: Mapping[str, int]
    links: Mapping[str, str]

    def resolve(self, path: str) -> str:
        """Where `path` leads to inside the image, whose links never lead out of it."""
        ahead, done, hops = path.split("/")[::-1], list[str](), 0
        while ahead:
            part = ahead.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            target = self.links.get("/" + "/".join([*done, part]))
            if target and hops < _HOPS:
                hops += 1
                done = [] if target.startswith("/") else done
                ahead += target.split("/")[::-1]
            else:
                done.append(part)
        return "/" + "/".join(done)

    def read(self, path: str, most: int = _MOST) -> bytes:
        """The start of a file; nothing if it is not there, or is no file that this user may read."""
        real = self.resolve(path)
        if real not in self.sizes:
            return b""
        try:
            # The last part of the path is no link, whoever changes a folder image meanwhile.
            with open(os.open(f"{self.root}{real}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
                return file.read(most)
        except OSError:
            return b""

    def wanted(self) -> Iterator[str]:
        """The files whose text tells something."""
        libc = [path for path in self.sizes if path.endswith("/libc.so.6")]
        environment = [path for path in self.sizes if _ENVIRONMENT.fullmatch(path)]
        for path in (*_READ, _LABELS, _RUNSCRIPT, *_PROGRAMS, *environment, *libc):
            real = self.resolve(path)
            if self.sizes.get(real, _MOST + 1) <= _MOST and _PLAIN.fullmatch(real):
                yield real


def _sif(path: Path, runner: Runner, cache: Path | None) -> Report:
    header = sif.read(path)
    found = Report(str(path), "sif", arch=header.arch, size=header.size, created=_time(header.created))
    found.encrypted = header.encrypted
    found.signatures = [
        {"fingerprint": each.fingerprint, "hash": each.hash, "format": each.format} for each in header.signatures
    ]
    for entry in header.of_kind("json"):
        apply_metadata(found, entry.name, sif.data(path, entry).decode(errors="replace"))
    for entry in header.of_kind("labels"):
        found.labels |= string_map(_json(sif.data(path, entry)))
    primary = header.primary
    if primary and primary.filesystem == "squashfs":
        _look_and_hash(found, primary.offset, runner, cache)
        return found
    found.notes.append(_why_not(primary))
    found.digest = digest(path, cache=cache)
    return found


def _why_not(primary: sif.Descriptor | None) -> str:
    if not primary:
        return "the image has no partition with an operating system: its contents are not seen"
    if "squashfs" in primary.filesystem:
        return f"the image is encrypted ({primary.filesystem}): its contents are not seen, only what its header says"
    return f"the image's file system is {primary.filesystem}, which is not looked into: its contents are not seen"


def _squashfs(path: Path, runner: Runner, cache: Path | None) -> Report:
    with path.open("rb") as file:
        changed = int.from_bytes(file.read(12)[8:], "little")  # of the superblock
    found = Report(str(path), "squashfs", size=path.stat().st_size, created=_time(changed))
    _look_and_hash(found, 0, runner, cache)
    return found


def _look_and_hash(found: Report, offset: int, runner: Runner, cache: Path | None) -> None:
    from concurrent.futures import ThreadPoolExecutor

    # Hashing is what takes long, and happens here, where ^C ends it at once.
    with ThreadPoolExecutor(1) as beside:
        looking = beside.submit(_look_into, found, offset, runner)
        found.digest = digest(found.path, cache=cache)
        looking.result()


def _look_into(found: Report, offset: int, runner: Runner) -> None:
    """Describe the squashfs at `offset` bytes of the file; a note says why, if that cannot be done here."""
    from tempfile import TemporaryDirectory

    try:
        # An image may hold folders that cannot be removed.
        with TemporaryDirectory(prefix="hpcjob-", ignore_cleanup_errors=True) as folder:
            contents = _list(found, offset, Path(folder, "root"), runner)
            _take_out(found, offset, contents, runner)
            _describe(found, contents)
    except HpcjobError as error:
        found.notes.append(
            f"the contents are not seen: {error.message}; it takes unsquashfs of squashfs-tools 4.4 or newer: "
            "dnf install squashfs-tools"
        )
        found.complete = False
    except OSError as error:
        found.notes.append(f"the contents are not seen: no temporary folder: {error.strerror}; try: export TMPDIR=…")
        found.complete = False


def _list(found: Report, offset: int, root: Path, runner: Runner) -> _Contents:
    # -lln, since -ll looks up the owner of every file by name, which takes four times as long.
    source = ("-o", str(offset), os.path.abspath(found.path))  # noqa: PTH100
    listed = runner(("unsquashfs", "-lln", "-n", "-d", "", *source), timeout=_TIMEOUT)
    if listed.code:
        raise PlanError(listed.err.strip().partition("\n")[0] or f"unsquashfs ended with {listed.code}")
    return parse_listing(listed.out, root)


def _take_out(found: Report, offset: int, contents: _Contents, runner: Runner) -> None:
    """Copy the telling files to the contents' root. Unlike -cat (4.5), this is one call, and RHEL 9 has it."""
    wanted = sorted({path[1:] for path in contents.wanted()})
    if not wanted:  # without a name it would take out everything
        return
    source = ("-o", str(offset), "-d", str(contents.root), os.path.abspath(found.path))  # noqa: PTH100
    # What it could not take out is missing in what is read, so that its exit code says nothing more.
    runner(("unsquashfs", "-n", "-no-xattrs", *source, *wanted), timeout=_TIMEOUT)


def parse_listing(text: str, root: Path) -> _Contents:
    """What `unsquashfs -lln -d ""` printed; the files are to be found in `root`."""
    sizes = {path: int(size) for size, path in _LISTED.findall(text)}
    return _Contents(root, sizes, dict(_LINKED.findall(text)))


def _folder(path: Path) -> Report:
    found = Report(str(path), "directory")
    found.notes.append("a folder has no digest and no size: its files can change one by one")
    contents, whole = _walk(path)
    if not whole:
        found.notes.append(f"only the first {_MANY} names of the folder were looked at")
    _describe(found, contents)
    return found


def _walk(root: Path) -> tuple[_Contents, bool]:
    """The worthwhile names of an unpacked image, the upper ones first, and whether all were seen."""
    sizes, links, seen = dict[str, int](), dict[str, str](), 0
    ahead = deque([("", 0)])
    while ahead and seen < _MANY:
        folder, depth = ahead.popleft()
        for entry in _entries(f"{root}{folder}"):
            seen += 1
            name = f"{folder}/{entry.name}"
            if entry.is_symlink():
                links[name] = os.readlink(entry.path)  # noqa: PTH115
                continue
            if _WORTH_PATH.fullmatch(name):
                sizes[name] = 0
            if depth < _DEPTH and entry.name not in _SKIPPED and entry.is_dir(follow_symlinks=False):
                ahead.append((name, depth + 1))
    return _Contents(root, sizes, links), not ahead


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:  # a folder that this user may not read has nothing that the job could read
        return []


def _describe(found: Report, contents: _Contents) -> None:
    """Add what the files say. What the image's header said stays."""

    def text(path: str) -> str:
        return contents.read(path).decode(errors="replace")

    found.labels = string_map(_json(text(_LABELS))) | found.labels
    environment: dict[str, str] = {}
    for path in sorted(path for path in contents.sizes if _ENVIRONMENT.fullmatch(path)):
        environment |= exports(text(path))  # the later one wins, as in the container
    found.environment = environment | found.environment
    apply_runscript(found, text(_RUNSCRIPT))
    _charliecloud(found, text("/ch/environment"), _json(text("/ch/metadata.json")))
    found.os = pretty_name(text("/etc/os-release") or text("/usr/lib/os-release"))
    found.apps = sorted({path[11:] for path in contents.sizes if path.startswith("/scif/apps/")} | {*found.apps})
    for library in libraries(contents.sizes):
        group = found.gpu if library.family in _GPU else found.fabric if library.family in _FABRIC else found.mpi
        group.append(library)
    found.libc, found.libc_version = _libc(contents)
    found.arch = found.arch or _arch(contents)


def _charliecloud(found: Report, environment: str, metadata: Any) -> None:
    if isinstance(metadata, dict):
        found.labels = string_map(metadata.get("labels")) | found.labels
        found.environment = string_map(metadata.get("env")) | found.environment
        found.workdir = found.workdir or str(metadata.get("cwd") or "")
    found.environment |= settings(environment)


def _libc(contents: _Contents) -> tuple[str, str]:
    system = [path for path in contents.sizes if _SYSTEM.fullmatch(path)]
    for path in system:
        if match := re.search(r"/libc-(\d+\.\d+)\.so$", path):
            return "glibc", match[1]
        if path.endswith("/libc.so.6"):
            version = re.search(rb"GNU C Library [^\n]*version (\d+\.\d+)", contents.read(path))
            return "glibc", version[1].decode() if version else ""
    if any("/ld-musl-" in path for path in system):
        installed = contents.read("/lib/apk/db/installed").decode(errors="replace")
        match = re.search(r"^P:musl\nV:([\d.]+)", installed, re.MULTILINE)
        return "musl", match[1] if match else ""
    return "", ""


def _arch(contents: _Contents) -> str:
    """The CPU, by the dynamic loader's name, else by the first program that tells."""
    for path in filter(_SYSTEM.fullmatch, contents.sizes):
        name = path.rpartition("/")[2]
        if name in LOADERS:
            return LOADERS[name]
    return next(filter(None, (elf_arch(contents.read(program, 20)) for program in _PROGRAMS)), "")


# Texts.


def pretty_name(text: str) -> str:
    """PRETTY_NAME of an os-release(5), else NAME; empty if it has neither."""
    known = settings(text)
    return known.get("PRETTY_NAME") or known.get("NAME", "")


def settings(text: str) -> dict[str, str]:
    """Lines `NAME=value`, as in os-release(5) and in Charliecloud's `/ch/environment`; quotes around are taken off."""
    found = re.findall(r"^([A-Za-z_]\w*)=(.*)$", text, re.MULTILINE)
    return {name: re.sub(r"""^(["'])(.*)\1$""", r"\2", value.strip()) for name, value in found}


def exports(text: str) -> dict[str, str]:
    """Lines `export NAME=value` of a shell script; a default, `"${NAME:-"value"}"`, counts as the value.

    What a shell would compute stays as it is written.
    """
    found = re.findall(r"^\s*export\s+([A-Za-z_]\w*)=(.*)$", text, re.MULTILINE)
    return {name: _unquote(value.strip()) for name, value in found}


def _unquote(value: str) -> str:
    if default := re.fullmatch(r'"\$\{\w+:-"?(.*?)"?\}"', value):
        return re.sub(r"\\(.)", r"\1", default[1])
    if double := re.fullmatch(r'"((?:[^"\\]|\\.)*)"', value):
        return re.sub(r'\\(["$`\\])', r"\1", double[1])
    single = re.fullmatch(r"'([^']*)'", value)
    return single[1] if single else value


def apply_metadata(found: Report, name: str, text: str) -> None:
    """Add what a JSON object of a SIF says: Apptainer's `inspect-metadata.json` or `oci-config.json`."""
    known = _json(text)
    if not isinstance(known, dict):
        return
    if name == "oci-config.json":
        _config(found, known)
        return
    data = known.get("data")
    attributes = data.get("attributes") if isinstance(data, dict) else None
    if not isinstance(attributes, dict):
        return
    found.labels |= string_map(attributes.get("labels"))
    found.apps = sorted({*found.apps, *string_map(attributes.get("apps"))})
    for path, script in sorted(string_map(attributes.get("environment")).items()):
        found.environment |= exports(script) if _ENVIRONMENT.fullmatch(path) else {}
    apply_runscript(found, str(attributes.get("runscript") or ""))


def apply_runscript(found: Report, text: str) -> None:
    """Add what Apptainer's `runscript` says; the one that it makes for an image without any is none."""
    found.runscript = found.runscript or (bool(text.strip()) and "There is no runscript defined" not in text)
    for line in re.findall(r"^(OCI_(?:ENTRYPOINT|CMD)=.+)$", text, re.MULTILINE):
        name, _, value = line.partition("=")
        words = _requote(value.strip())
        if name == "OCI_CMD":
            found.cmd = found.cmd or words
        else:
            found.entrypoint = found.entrypoint or words


def _requote(value: str) -> str:
    """Words that were quoted for a shell twice, quoted once and as little as needed."""
    import shlex

    try:
        return shlex.join(shlex.split("".join(shlex.split(value))))
    except ValueError:  # no shell would take it either
        return value


def string_map(value: Any) -> dict[str, str]:
    """A JSON object as text to text; of anything else, nothing."""
    return {str(key): str(each) for key, each in value.items()} if isinstance(value, dict) else {}


def _strings(value: Any) -> list[str]:
    """A JSON list as texts; of anything else, nothing."""
    return [str(each) for each in value] if isinstance(value, list) else []


def libraries(names: Iterable[str]) -> list[Library]:
    """The libraries of MPI, GPU and network among the paths of an image's files.

    Which MPI a `libmpi.so.12` is, its folder tells: it is MPICH's name, Intel's, and that of old Open MPI.
    """
    names = sorted(names, key=lambda name: (name.endswith(".so"), len(name), name))
    own = {name.rpartition("/")[0] for name in names if "/libopen-" in name}
    found: dict[str, Library] = {}
    for path in names:
        folder, _, name = path.rpartition("/")
        match = _LIBRARY.fullmatch(name)
        if not match:
            continue
        stem, number = name.partition(".so")[0] + ".so", match[2] or ""
        # libmpi.so, libmpi.so.40 and libmpi.so.40.30.1 may be three files; the soname is what programs ask for.
        if any(known.startswith(f"{folder}/{stem}{number}") for known in found):
            continue
        family = _LIBRARIES[match[1]] or _family(path, number, own=folder in own)
        found[f"{folder}/{stem}{number}"] = Library(stem + number, path, family)
    return sorted(found.values(), key=lambda library: library.path)


def _family(path: str, number: str, *, own: bool) -> str:
    """Who made a `libmpi.so`; `own`: libraries of Open MPI lie beside it."""
    if own or "openmpi" in path or number in (".20", ".40", ".80"):
        return "openmpi"
    return "intel" if re.search(r"/(?:intel|oneapi|impi)", path) else "mpich"


def _time(seconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)) if 0 < seconds < 1 << 40 else ""


def _json(text: str | bytes) -> Any:
    """The value; None for what is not JSON, which an image may well hold."""
    try:
        return json.loads(text)
    except ValueError:
        return None


# OCI layouts and archives, and docker archives.


def _is_tar(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError:  # facts.inspect says what is wrong
        return False
    return head[257:262] == b"ustar" or head[:2] == b"\x1f\x8b"


def _layout(path: Path) -> Report:
    def member(name: str) -> bytes:
        try:
            with (path / name).open("rb") as file:
                return file.read(_MOST)
        except OSError:
            return b""

    found = Report(str(path), "oci-layout")
    _image(found, member)
    return found


def _archive(path: Path) -> Report:
    """An image in a tar archive."""
    import tarfile
    import zlib

    try:
        with tarfile.open(path) as archive:
            members = {each.name.removeprefix("./"): each for each in archive}

            def member(name: str) -> bytes:
                return _member(archive, members.get(name))

            if "manifest.json" in members:
                found = Report(str(path), "docker-archive")
                _docker(found, member)
            elif "index.json" in members:
                found = Report(str(path), "oci-archive")
                _image(found, member)
            else:
                raise PlanError(
                    f"{path} is a tar archive without an image: it has no manifest.json and no index.json",
                    hint="is it an image's root folder? unpack it, then: apptainer build app.sif FOLDER",
                )
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise PlanError(
            f"the archive {path} cannot be read: {error}", hint="was the copy cut short? copy it again, or: tar tf FILE"
        ) from None
    found.size = path.stat().st_size
    return found


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo | None) -> bytes:
    file = archive.extractfile(member) if member and member.isfile() else None
    return file.read(_MOST) if file else b""


def _docker(found: Report, member: Callable[[str], bytes]) -> None:
    """`docker save` or `podman save`; since Docker 25 there is an OCI index beside, which has the real digest."""
    from hashlib import sha256

    if member("index.json"):
        _image(found, member)
        return
    listed = _json(member("manifest.json"))
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    config = member(str(first.get("Config")))
    found.digest = f"sha256:{sha256(config).hexdigest()}" if config else ""
    found.notes.append("the digest is the image id: a docker archive does not keep the manifest's")
    _config(found, _json(config))
    _not_unpacked(found)


def _image(found: Report, member: Callable[[str], bytes]) -> None:
    """An OCI layout: index, manifest, configuration. Of several images the first for this CPU counts."""
    index = _json(member("index.json"))
    manifest: Any = {}
    # An index may list an index (image-index.md); more than two deep is no image that a tool writes.
    for _ in range(3):
        chosen = _choose(found, index)
        found.digest = str(chosen.get("digest", ""))
        manifest = index = _json(member(_blob(found.digest)))
        if not isinstance(manifest, dict) or "manifests" not in manifest:
            break
    manifest = manifest if isinstance(manifest, dict) else {}
    config = manifest.get("config") if isinstance(manifest.get("config"), dict) else {}
    layers = manifest.get("layers") if isinstance(manifest.get("layers"), list) else []
    sizes = [part.get("size") for part in (config, *layers) if isinstance(part, dict)]
    found.size = sum(size for size in sizes if isinstance(size, int))
    _config(found, _json(member(_blob(str(config.get("digest"))))))
    _not_unpacked(found)


def _choose(found: Report, index: Any) -> dict[str, Any]:
    listed = index.get("manifests") if isinstance(index, dict) else None
    listed = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    # BuildKit lists its attestations beside the images, as for a CPU "unknown".
    images = [each for each in listed if _machine(string_map(each.get("platform"))) != "unknown"]
    if len(images) > 1:
        found.notes.append(f"there are {len(images)} images inside; this is one of them")
    here = os.uname().machine
    return next((each for each in images if _machine(string_map(each.get("platform"))) == here), (images or [{}])[0])


def _blob(digest: str) -> str:
    """Where a layout keeps the bytes of that digest; a digest that is none names no file."""
    match = re.fullmatch(r"(sha256|sha512):([0-9a-f]{64,128})", digest)
    return f"blobs/{match[1]}/{match[2]}" if match else "blobs/none"


def _machine(platform: Mapping[str, str]) -> str:
    """Go's name of a CPU, which OCI uses, as `uname -m` says it."""
    known = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7l", "loong64": "loongarch64"}
    name = platform.get("architecture", "")
    return known.get(name, name)


def of_registry(name: str, digest: str, size: int, config: Mapping[str, Any]) -> Report:
    """What a registry tells of an image: its digest, the bytes of its layers, and its OCI configuration."""
    found = Report(name, "registry", digest=digest, size=size)
    _config(found, config)
    found.notes.append("what is in its layers can be seen once it is pulled")
    return found


def _config(found: Report, config: Any) -> None:
    """Add an OCI image configuration (image-spec, config.md), or only the `config` part of it, which a SIF keeps."""
    import shlex

    if not isinstance(config, dict):
        return
    inner: dict[str, Any] = config["config"] if isinstance(config.get("config"), dict) else config
    found.arch = found.arch or _machine(string_map(config))
    found.created = found.created or str(config.get("created") or "")
    found.labels = string_map(inner.get("Labels")) | found.labels
    # What a SIF's own scripts set comes later than what it inherited.
    found.environment = dict(each.partition("=")[::2] for each in _strings(inner.get("Env"))) | found.environment
    found.entrypoint = shlex.join(_strings(inner.get("Entrypoint")))
    found.cmd = shlex.join(_strings(inner.get("Cmd")))
    found.workdir = str(inner.get("WorkingDir") or "")


def _not_unpacked(found: Report) -> None:
    found.notes.append("the layers are not unpacked, so that operating system and libraries are not seen")
