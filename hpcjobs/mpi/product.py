"""Whose MPI a library is, and which: by what it exports and the text in it. It is not executed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

if TYPE_CHECKING:
    import mmap

    from hpcjobs.mpi.elf import Elf
    from hpcjobs.mpi.tree import Tree

# Communicators of Open MPI are data of the library, those of MPICH numbers: the symbol is in each Open MPI, and in
# the programs that were compiled with it.
_OPEN_MPI = "ompi_mpi_comm_world"
# src/binding/c/version_impl.c of MPICH, before 4.0 src/mpi/errhan; ompi/include/ompi/version.h.
_VERSION_SYMBOLS = ("MPII_Version_string", "MPIR_Version_string", "ompi_version_string")
_NUMBER = rb"\d+\.\d+(?:\.\d+)*(?:(?:a|b|rc|p)\d+)?"
# Where MPICH hides that symbol, file names of its assertions say it, or else the text itself, which has its NULs.
_MPICH_SOURCE = re.compile(rb"/mpich-(" + _NUMBER + rb")/src/")
_BARE = re.compile(rb"\0([3-9]\.\d+(?:\.\d+)?(?:(?:a|b|rc|p)\d+)?)(?=\0)")
_INTEL = re.compile(rb"\0(20\d\d\.\d+(?:\.\d+)*)\0|Intel\(R\) MPI Library(?:,? Version)? (20\d\d[\d.]*)")
_CRAY = re.compile(rb"CRAY MPICH version (\d[\d.]*)")
_OMPI_TEXT = re.compile(rb"Open MPI v(" + _NUMBER + rb")|MCA component version (" + _NUMBER + rb")")
_MPICH_TEXTS = (b"MPICH Version", b"MPICH2 Version", b"MPIR_")
_MOST_SYMBOLS = 200_000


@dataclass(frozen=True)
class Product:
    """Which MPI it is; `version` is empty where the library does not tell."""

    family: Literal["mpich", "openmpi"]
    name: str
    version: str


def identify(tree: Tree, path: str) -> Product | None:
    """The MPI of a library; None if it is none."""
    found = tree.elf(path, symbols=True)
    if not found or not _is_mpi(found):
        return None
    with tree.mapped(path) as data:
        if _OPEN_MPI in found.exports or data.find(b"Open MPI v") >= 0:
            return Product("openmpi", "Open MPI", _symbol(tree, path) or _first(_OMPI_TEXT, data))
        return _mpich(tree, path, data)


def _is_mpi(found: Elf) -> bool:
    return bool(found.exports & {"MPI_Init", "PMPI_Init", "mpi_init_", "mpi_init", "MPI_INIT"})


def _mpich(tree: Tree, path: str, data: mmap.mmap | bytes) -> Product:
    # Intel's and Cray's are MPICH inside, and have its version string too.
    if data.find(b"Intel(R) MPI Library") >= 0:
        return Product("mpich", "Intel MPI", _first(_INTEL, data))
    if data.find(b"CRAY MPICH") >= 0:
        return Product("mpich", "Cray MPICH", _first(_CRAY, data))
    number = _symbol(tree, path) or _first(_MPICH_SOURCE, data) or _only(_BARE, data)
    name = "MVAPICH" if data.find(b"MVAPICH") >= 0 and data.find(b"MVAPICH_VERSION") < 0 else "MPICH"
    return Product("mpich", name, number)


def _first(pattern: re.Pattern[bytes], data: mmap.mmap | bytes) -> str:
    match = pattern.search(data)
    return next((group.decode() for group in match.groups() if group), "").rstrip(".") if match else ""


def _only(pattern: re.Pattern[bytes], data: mmap.mmap | bytes) -> str:
    found = {match[1].decode() for match in pattern.finditer(data)}
    return found.pop() if len(found) == 1 else ""


def _symbol(tree: Tree, path: str) -> str:
    """The version that stands behind a symbol of data."""
    found = tree.elf(path, symbols=True)
    name = next((name for name in _VERSION_SYMBOLS if found and name in found.exports), "")
    if not name:
        return ""
    with tree.opened(path) as file:
        try:
            text = _data_of(file, name) if file else b""
        except Exception:  # noqa: BLE001 - pyelftools fails in any way on a damaged file
            return ""
    match = re.match(rb"[\w.+-]*", text)
    return match[0].decode() if match and match[0][:1].isdigit() else ""


def _data_of(file: BinaryIO, name: str) -> bytes:
    from elftools.elf.elffile import ELFFile

    elf: Any = ELFFile(file)
    table = elf.get_section_by_name(".dynsym")
    symbols = table.iter_symbols() if table else ()
    symbol = next((each for _, each in zip(range(_MOST_SYMBOLS), symbols, strict=False) if each.name == name), None)
    if symbol is None:
        return b""
    at = symbol["st_value"]
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_vaddr"] <= at < segment["p_vaddr"] + segment["p_filesz"]:
            file.seek(at - segment["p_vaddr"] + segment["p_offset"])
            return file.read(40).split(b"\0")[0]
    return b""


def wires(tree: Tree, path: str, product: Product, loaded: set[str], plugins: list[str]) -> tuple[str, ...]:
    """How the ranks of the library find each other; `loaded` are the SONAMEs of all that it loads."""
    if product.family == "openmpi":
        slurm = any(re.search(r"mca_(?:opal_)?pmix_s[12]\.so", plugin) for plugin in plugins)
        return ("pmix", "pmi2") if slurm else ("pmix",)
    found = tree.elf(path, symbols=True)
    symbols = (found.undefined | found.exports) if found else frozenset()
    kinds = {
        "pals": any(name.startswith("libpals.so") for name in loaded),
        "pmi1": _has(tree, path, b"PMI_FD") or "PMI_Init" in symbols or "libpmi.so.0" in loaded,
        "pmi2": "PMI2_Init" in symbols or any(name.startswith("libpmi2.so") for name in loaded),
        "pmix": "PMIx_Init" in symbols or any(name.startswith("libpmix.so") for name in loaded),
    }
    if product.name == "Intel MPI":
        # It loads the library that I_MPI_PMI_LIBRARY names, and has both protocols inside (I_MPI_PMI).
        kinds |= {"pmi1": True, "pmi2": True}
    return tuple(kind for kind, is_there in kinds.items() if is_there)


def _has(tree: Tree, path: str, text: bytes) -> bool:
    with tree.mapped(path) as data:
        return data.find(text) >= 0
