"""Whose MPI a library is, and which: by what it exports and the text in it. It is not executed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from hpcjobs.mpi import naming

if TYPE_CHECKING:
    from hpcjobs.mpi.elf import Elf
    from hpcjobs.mpi.tree import Tree

# Communicators of Open MPI are data of the library, those of MPICH numbers: the symbol is in each Open MPI, and in
# the programs that were compiled with it.
_OPEN_MPI = "ompi_mpi_comm_world"
# src/binding/c/version_impl.c of MPICH, before 4.0 src/mpi/errhan; ompi/include/ompi/version.h.
_VERSION_SYMBOLS = ("MPII_Version_string", "MPIR_Version_string", "ompi_version_string")
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
        family: Literal["mpich", "openmpi"] = "mpich"
        if _OPEN_MPI in found.exports or data.find(b"Open MPI v") >= 0:
            family = "openmpi"
        name, version = naming.named(data, family)
    # Intel's and Cray's are MPICH inside, and have its version under that symbol.
    own = _symbol(tree, path) if name in ("MPICH", "Open MPI") else ""
    return Product(family, name, own or version)


def _is_mpi(found: Elf) -> bool:
    return bool(found.exports & {"MPI_Init", "PMPI_Init", "mpi_init_", "mpi_init", "MPI_INIT"})


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
