"""What an MPI opens by itself while it runs: plug-ins, and the folders that it looks for them in.

Which variable moves which folder was found out by experiment (docs and `strings` name more than work): Open MPI 4.1.4
and PMIx 4.2.2 of Debian 12, Open MPI 4.1.8 and 5.0.11, UCX 1.13.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import TYPE_CHECKING

from hpcjobs.mpi.closure import newest
from hpcjobs.mpi.facts import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hpcjobs.mpi.tree import Tree

_PLUGIN = re.compile(r"[\w.+-]*\.so(?:\.\d+)*")
# Plug-ins of hwloc for displays and GPUs bring half a desktop with them; hwloc goes on in silence without.
_NOT_NEEDED = re.compile(r"hwloc_(?:gl|opencl|cuda|nvml|rsmi|levelzero)\.so")
_LIBEXEC = re.compile(r"mca_\w+\.so")
# Open MPI with a PMIx of its own refuses an OPAL_PREFIX that is not also PMIX_INSTALL_PREFIX, and mpirun sets both;
# PMIx 4 and newer by itself reads PMIX_PREFIX.
_PMIX_PREFIX = ("PMIX_PREFIX", "PMIX_INSTALL_PREFIX")
_DEPTH = 3
_LIBRARY = re.compile(r"lib[\w+-]+\.so(?:\.\d+)*")
# From the prefix of a Cray MPICH, …/mpich/8.1.27/ofi/gnu/12.3, up to where its gtl/lib is.
_UP = 4


def gpu(tree: Tree, prefix: str) -> dict[str, str]:
    """The libraries that let a Cray MPICH take GPU memory (GTL), by name: `$CRAY_MPICH_ROOTDIR/gtl/lib`."""
    for _ in range(_UP if prefix else 0):
        folder = f"{prefix}/gtl/lib"
        files = [name for name in tree.names(folder) if _LIBRARY.fullmatch(name) and tree.is_file(f"{folder}/{name}")]
        if files:
            return {name: tree.real(f"{folder}/{name}") for name in files}
        prefix = posixpath.dirname(prefix)
    return {}


def open_mpi(tree: Tree, library: str, prefix: str, loaded: Mapping[str, str]) -> Iterator[Folder]:
    """The folders of an Open MPI; `loaded` are the libraries that it loads, by name."""
    pmix = next((path for name, path in loaded.items() if name.startswith("libpmix.so.")), "")
    if prefix:
        own = not pmix or pmix.startswith(f"{prefix}/")
        yield Folder(path=prefix, variables=("OPAL_PREFIX", *(_PMIX_PREFIX if own else ())))
    else:
        for folder in _with(tree, f"{posixpath.dirname(library)}/openmpi", _LIBEXEC):
            yield Folder(path=folder, variables=("OPAL_PKGLIBDIR",))
        for folder, variable in (("/usr/share/openmpi", "OPAL_PKGDATADIR"), ("/etc/openmpi", "OPAL_SYSCONFDIR")):
            if tree.is_dir(folder):
                yield Folder(path=folder, variables=(variable,))
    if pmix and not (prefix and pmix.startswith(f"{prefix}/")):
        yield from _pmix(tree, pmix)


def _pmix(tree: Tree, library: str) -> Iterator[Folder]:
    folder = posixpath.dirname(library)
    if not library.startswith(("/usr/", "/lib")):
        yield Folder(path=posixpath.dirname(folder), variables=_PMIX_PREFIX)
        return
    # The prefix of Debian's PMIx moves nothing: its folders are set each by itself.
    pairs = (
        (f"{folder}/pmix", "PMIX_PKGLIBDIR"),
        (f"{posixpath.dirname(folder)}/share/pmix", "PMIX_PKGDATADIR"),
        ("/usr/share/pmix", "PMIX_PKGDATADIR"),
    )
    seen: set[str] = set()
    for path, variable in pairs:
        if variable not in seen and tree.is_dir(path):
            seen.add(variable)
            yield Folder(path=path, variables=(variable,))


def _with(tree: Tree, folder: str, pattern: re.Pattern[str], depth: int = _DEPTH) -> Iterator[str]:
    """The first folders, from one downward, that hold a file of that name."""
    names = tree.names(folder)
    if any(pattern.fullmatch(name) for name in names):
        yield folder
    elif depth:
        for name in names:
            if not tree.link(f"{folder}/{name}") and tree.is_dir(f"{folder}/{name}"):
                yield from _with(tree, f"{folder}/{name}", pattern, depth - 1)


# The library that looks for plug-ins, the folder beside it, and the variable that says another.
_BESIDE = (
    (re.compile(r"libuct\.so\.\d+"), "ucx", ("UCX_MODULE_DIR",)),
    (re.compile(r"libfabric\.so\.\d+"), "libfabric", ("FI_PROVIDER_PATH",)),
    (re.compile(r"libfabric\.so\.\d+"), "prov", ("FI_PROVIDER_PATH",)),
    (re.compile(r"libhwloc\.so\.\d+"), "hwloc", ("HWLOC_PLUGINS_PATH",)),
)


def others(tree: Tree, loaded: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[Folder]:
    """The folders of UCX, libfabric, hwloc and HCOLL, where those are loaded."""
    if (providers := environment.get("FI_PROVIDER_PATH", "")) and tree.is_dir(providers):
        yield Folder(path=posixpath.normpath(providers), variables=("FI_PROVIDER_PATH",))
    for name, path in loaded.items():
        for pattern, below, variables in _BESIDE:
            folder = f"{posixpath.dirname(path)}/{below}"
            if pattern.fullmatch(name) and files(tree, folder):
                yield Folder(path=folder, variables=variables)
        if name.startswith("libhcoll.so") and tree.is_dir(folder := f"{posixpath.dirname(path)}/hcoll"):
            yield Folder(path=folder, same_place=True)


def verbs(tree: Tree, loaded: Mapping[str, str]) -> tuple[str, ...]:
    """The folder of libibverbs' providers, where that is loaded."""
    path = loaded.get("libibverbs.so.1", "")
    folder = f"{posixpath.dirname(path)}/libibverbs"
    return (folder,) if path and tree.is_dir(folder) else ()


def files(tree: Tree, folder: str) -> list[str]:
    """The plug-ins in a folder, each file once."""
    found = (f"{folder}/{name}" for name in tree.names(folder) if _PLUGIN.fullmatch(name))
    return list(dict.fromkeys(tree.real(path) for path in found if tree.is_file(path)))


def needed(tree: Tree, folder: str) -> list[str]:
    """The plug-ins of a folder whose libraries must be there."""
    return [path for path in files(tree, folder) if not _NOT_NEEDED.fullmatch(posixpath.basename(path))]


def described(tree: Tree, folder: Folder) -> Folder:
    """The folder with what its plug-ins need and are."""
    plugins = files(tree, folder.path)
    if not plugins:
        return folder
    needs = newest(found.needs for path in plugins if (found := tree.elf(path)))
    return Folder(
        path=folder.path,
        variables=folder.variables,
        same_place=folder.same_place,
        needs=needs,
        digest=digest(tree, folder.path),
    )


def digest(tree: Tree, folder: str) -> str:
    """Of the names and sizes of the plug-ins in a folder."""
    text = "".join(f"{posixpath.basename(path)} {tree.size(path)}\n" for path in files(tree, folder))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16] if text else ""
