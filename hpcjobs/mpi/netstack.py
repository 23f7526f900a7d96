"""The host's MPI in a container: what is shown there, under which names, and what tells the loader. Pure.

The container sees whole folders of the host (binds), and one folder of links into them:

    front/    the host's libraries by the names that programs ask for: libmpich.so.12 -> …/libmpi.so.12.5.0
    tail/     what they need besides, for images that do not have it

and LD_LIBRARY_PATH says: front, the folders of the host's prefix, what the image says itself, tail. Whole folders
keep $ORIGIN and plug-ins working; links keep libc, and all else of a system's folder, out of the program's way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hpcjobs.mpi import decide
from hpcjobs.mpi.facts import Folder, interface, is_libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from hpcjobs.mpi.facts import HostMpi, Library, MpiHost, MpiImage

# Where the host's folders are shown in containers whose runtime can make such places.
HOST = "/hpcjob/host"
LINKS = "/hpcjob/mpi"
# What many programs use besides MPI: the image's own is the better one for them.
_COMMON = re.compile(
    r"lib(?:ssl|crypto|curl|krb5\w*|k5crypto|gssapi_krb5|com_err|keyutils|selinux|systemd|udev|z|zstd|lzma|bz2|lz4"
    r"|xml2|icu\w+|pcre2?\w*-?\d*|cap|mount|blkid|uuid|gcrypt|gpg-error|gmp|ffi|expat|tinfo|ncursesw?|idn2|unistring"
    r"|nghttp2|psl|ssh2?|ldap\w*|lber\w*|brotli\w+|jansson|json-c|numa|bsd|md|X\w+|xcb\w*|nvidia-ml|OpenCL|cuda)"
    r"(?:-[\d.]+)?\.so(?:\.[\d.]+)?"
)
# The folders of the system itself, for which no prefix stands.
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc", "/opt", "/var", "/home", "/root", "/")


@dataclass(frozen=True)
class Mount:
    """A folder of the host and its place in the container."""

    source: str
    target: str
    readonly: bool = False
    expand: bool = False  # whether $NAME is expanded on the node


@dataclass(frozen=True)
class NetStack:
    """Everything that brings a host's MPI into a container."""

    mounts: tuple[Mount, ...] = ()
    links: dict[str, str] = field(default_factory=dict)  # below the folder of links: front/NAME -> path inside
    folder: str = LINKS  # of the links, inside
    env: dict[str, str] = field(default_factory=dict)
    files: tuple[Library, ...] = ()  # to be found on the node as they were
    needed: tuple[str, ...] = ()  # other files and folders that must be there


class NoPlaceError(ValueError):
    """The image has too few places for what is to be shown."""


def build(
    mpi: HostMpi,
    host: MpiHost,
    image: MpiImage,
    *,
    spare: Sequence[str] | None = None,
    preload: bool = False,
    gpu_preload: str = "",
    library_path: str = "",
    also: Sequence[str] = (),
) -> NetStack:
    """The net stack of `mpi` for the program of `image`.

    `spare` are folders that the image has for binds; None where the runtime can make any. With `preload` the
    host's MPI is loaded before the program's own search begins; `gpu_preload` is the library that lets it take GPU
    memory (GTL). `library_path` stands in the place of the image's own LD_LIBRARY_PATH; `also` are more folders.

    Raises:
        NoPlaceError: there are fewer spare folders than are needed.
    """
    dropped = decide.left_out(host, mpi, image)
    found = tuple(
        each
        for each in decide.libraries(host, mpi)
        if not is_libc(each.name) and each not in dropped and not decide.brought(each, host, mpi, image)
    )
    front, tail = _sort(found, image)
    inside_prefix = _inside("" if _is_shared(mpi.prefix, found) else mpi.prefix)
    linked = [each for each in (*front, *tail) if not inside_prefix(each.path)]
    names = _names(mpi, image)
    wanted = [*names.values(), *(each.path for each in linked), *([gpu_preload] if gpu_preload else [])]
    places = _Places(_folders(mpi, wanted, also), shadowed=_shadowed(image), spare=spare)
    links = {f"front/{name}": places(path) for name, path in names.items()}
    links |= {f"front/{each.name}": places(each.path) for each in front if not inside_prefix(each.path)}
    links |= {f"tail/{each.name}": places(each.path) for each in tail if not inside_prefix(each.path)}
    own = dict.fromkeys(str(PurePosixPath(each.path).parent) for each in found if inside_prefix(each.path))
    between = filter(None, (library_path or image.ld_library_path,))
    path = [f"{places.links}/front", *(places(folder) for folder in own), *between, f"{places.links}/tail"]
    env = {name: places(folder.path) for folder in mpi.folders for name in folder.variables}
    env |= {**mpi.env, "LD_LIBRARY_PATH": ":".join(path)}
    first = list(_first(mpi, image, places)) if preload else []
    if first := first + ([places(gpu_preload)] if gpu_preload else []):
        env["LD_PRELOAD"] = ":".join(first)
    return NetStack(
        mounts=places.mounts,
        links=dict(sorted(links.items())),
        folder=places.links,
        env=env,
        files=found,
        needed=tuple(dict.fromkeys((*(folder.path for folder in mpi.folders), *filter(None, (gpu_preload,))))),
    )


def _sort(found: Iterable[Library], image: MpiImage) -> tuple[list[Library], list[Library]]:
    """What comes before the image's own libraries, and what after."""
    front: list[Library] = []
    tail: list[Library] = []
    for each in found:
        family = decide.COMPILER.get(each.name)
        if family:
            # The image's, if it has one, is too old, or this one would not be here.
            (front if family in image.provides else tail).append(each)
        else:
            (tail if _COMMON.fullmatch(each.name) else front).append(each)
    return front, tail


def _names(mpi: HostMpi, image: MpiImage) -> dict[str, str]:
    """The names that programs may ask for, and the host's file that answers to each."""
    asked = [each.soname for each in mpi.interfaces]
    if mpi.family == "mpich":
        asked += ["libmpi.so.12", "libmpich.so.12", "libmpifort.so.12", "libmpichfort.so.12", "libmpicxx.so.12"]
    asked += ["libmpi_abi.so.0", "libmpi_abi.so.1"]
    asked += [each.soname for each in image.mpis]
    asked += image.program.needed if image.program else ()
    found = {name: decide.provider(mpi, name) for name in asked if interface(name)}
    return {name: each.path for name, each in found.items() if each}


def _first(mpi: HostMpi, image: MpiImage, places: _Places) -> Iterator[str]:
    """What the program needs, loaded before its own folders are looked into (ld.so(8), LD_PRELOAD)."""
    for name in image.program.needed if image.program else ():
        if decide.provider(mpi, name):
            yield f"{places.links}/front/{name}"


def _is_shared(prefix: str, found: Iterable[Library]) -> bool:
    """Whether a prefix holds more than its MPI, as a conda environment or a view of Spack does.

    Then single files of it are linked, so that the rest stays out of the program's way.
    """
    inside = _inside(prefix)
    return any(inside(each.path) and (each.name in decide.COMPILER or _COMMON.fullmatch(each.name)) for each in found)


def _inside(prefix: str) -> Callable[[str], bool]:
    above = f"{prefix.rstrip('/')}/"
    return lambda path: bool(prefix) and path.startswith(above)


def _folders(mpi: HostMpi, files: Iterable[str], also: Iterable[str]) -> list[Folder]:
    """The folders to show: those of the MPI, and those of the files that none of them holds."""
    found = {each.path.rstrip("/"): each for each in mpi.folders}
    if mpi.prefix:
        found.setdefault(mpi.prefix.rstrip("/"), Folder(path=mpi.prefix))
    found |= {path.rstrip("/"): Folder(path=path.rstrip("/")) for path in also}
    for file in files:
        parent = str(PurePosixPath(file).parent)
        if not any(parent == path or parent.startswith(f"{path}/") for path in found):
            found[parent] = Folder(path=parent)
    same = {path for path, each in found.items() if each.same_place}

    def held(path: str) -> bool:
        return path not in same and any(path.startswith(f"{other}/") for other in found if other not in same)

    return [found[path] for path in sorted(found) if not held(path)]


def _shadowed(image: MpiImage) -> tuple[str, ...]:
    """What of the image must stay visible."""
    program = (image.program.path,) if image.program and image.program.where == "image" else ()
    return (*program, *(each.path for each in image.mpis))


class _Places:
    """Where each folder of the host is in the container."""

    def __init__(self, folders: Sequence[Folder], *, shadowed: Sequence[str], spare: Sequence[str] | None) -> None:
        self._spare = None if spare is None else list(spare)
        self._shadowed = shadowed
        self.links = self._next(LINKS)
        self.mounts = tuple(Mount(each.path, self._place(each)) for each in folders)

    def _place(self, folder: Folder) -> str:
        if folder.same_place:
            return folder.path
        hides = any(path.startswith(f"{folder.path.rstrip('/')}/") for path in self._shadowed)
        is_system = folder.path.rstrip("/") in _SYSTEM or folder.path.startswith(("/usr/", "/lib", "/etc/", "/var/"))
        if hides or is_system or self._spare is not None:
            return self._next(f"{HOST}{folder.path}")
        return folder.path

    def _next(self, wanted: str) -> str:
        if self._spare is None:
            return wanted
        if not self._spare:
            raise NoPlaceError
        return self._spare.pop(0)

    def __call__(self, path: str) -> str:
        """Where a file or folder of the host is inside."""
        fitting = [each for each in self.mounts if path == each.source or path.startswith(f"{each.source}/")]
        mount = max(fitting, key=lambda each: len(each.source))
        return mount.target + path[len(mount.source) :]


# ------------------------------------------------------------------------------------- on the node

_CHECK_HEAD = """\
#!/bin/bash
# Is the host's MPI on this node what it was when hpcjob looked at it? Build-ids stand at known places of the files.
# The arguments are other files that must be there.
bad() {
  printf 'hpcjob: %s on node %s\\n' "$2" "${SLURMD_NODENAME:-$HOSTNAME}" >&2
  exit "$1"
}
for path; do
  [[ -r $path ]] || bad 66 "there is no $path"
done
while read -r kind at value path; do
  # A folder of the batch system may be closed to people.
  [[ -r $path || ($kind == there && -e $path) ]] || bad 78 "there is no $path, which the host's MPI needs,"
  case $kind in
    id) found=$(od -An -v -tx1 -j "$at" -N "$((${#value} / 2))" "$path") found=${found//[[:space:]]/} ;;
    sha256) found=$(sha256sum <"$path") found=${found%% *} ;;
    *) found=$value ;;
  esac
  [[ $found == "$value" ]] || bad 78 "$path is another build than hpcjob mpi host saw"
done <<'END'
"""


def checks(stack: NetStack) -> tuple[str, ...]:
    """What is looked at on each node: how, at which byte, for what, in which file."""
    return (*(_checked(each) for each in stack.files), *(f"there - - {path}" for path in stack.needed))


def check_script(lines: Iterable[str]) -> str:
    """A script of bash and coreutils that ends with 78 where a file of `checks` is missing, or another build."""
    return _CHECK_HEAD + "\n".join(lines) + "\nEND\n"


def _checked(library: Library) -> str:
    if library.build_id:
        return f"id {library.build_at} {library.build_id} {library.path}"
    return f"sha256 - {library.sha256} {library.path}" if library.sha256 else f"there - - {library.path}"
