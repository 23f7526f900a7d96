"""Finds out what an image has that decides how MPI runs in it. Nothing is executed.

    with open_files("app.sif", run) as files:
        found = probe(files, "app.sif", program=ProgramName(command=("./solve",), cwd="/home/ada"), environment={})

`environment` is what the image sets by itself (`images.report`). The result goes to JSON by `asdict`, and comes back by
`facts.restore`. What the bytes of MPI libraries say was found by reading MPICH 3.4 to 5.0, Open MPI 4.1 and 5.0 and
Intel MPI 2021, as distributions and wheels have them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcjobs.images.contents import libraries
from hpcjobs.mpi import facts, linking, naming
from hpcjobs.mpi.facts import ImageMpi, MpiImage
from hpcjobs.mpi.files import Files, FolderFiles, RuntimeFiles, SquashFiles, open_files
from hpcjobs.mpi.linking import View
from hpcjobs.mpi.program import ProgramName, identify
from hpcjobs.units import version as version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from hpcjobs.mpi.elf import Elf
    from hpcjobs.mpi.facts import Family

__all__ = ["Files", "FolderFiles", "ProgramName", "RuntimeFiles", "SquashFiles", "open_files", "probe"]

# Where an image has its own libc, and not that of a compiler's or conda's sysroot.
_SYSTEM = (
    "/lib64", "/usr/lib64", *(f"{lib}/{name}" for name in linking.TRIPLETS.values() for lib in ("/lib", "/usr/lib")),
    "/lib", "/usr/lib",
)  # fmt: skip
_MUSL = re.compile(r"/(?:usr/)?lib/ld-musl-[^/]+\.so\.1")
_APK = "/lib/apk/db/installed"
_RUNTIME = ("libstdc++.so.6", "libgcc_s.so.1", "libgfortran.so.5")
_MPI = re.compile(r"lib(?:mpi|mpich)(?:_(?!cxx|f77|f90|mpifh|usempi|java|ilp64)[a-z]+)?(?:_\d+)?\.so[.\d]*")
# Open MPI's own parts, in which its PMIx and its transports are.
_PARTS = re.compile(r"libopen-(?:pal|rte)\.so[.\d]*")
_FABRIC = re.compile(r"lib(?:fabric|ucp|ucs|pmix|pmi2)(?:-[0-9a-f]+)?\.so[.\d]*")
_PLUGIN = re.compile(r"mca_(?:pmix_\w+|pml_ucx)\.so")
_LAUNCHERS = ("mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun")
_GPU = ("cuda", "rocm", "level-zero")
# Of Intel MPI there are four builds of each library; what is beyond that is looked at in no reasonable time.
_MOST_MPIS = 12


def probe(files: Files, image: str, *, program: ProgramName | None, environment: Mapping[str, str]) -> MpiImage:
    """What an image has; with `program`, what that links to.

    Raises:
        PlanError, UnreachableError: as of the files' `read_many`.
    """
    view = View(files, program.all_binds if program else ())
    parts = _Parts(files)
    view.fetch((*linking.configuration(files), parts.libc, _APK, *parts.mpis, *parts.others, *parts.standard))
    kind, version = _libc(view, parts)
    read = view.elf(parts.libc)
    mpis, notes = _mpis(view, parts)
    arch = read.arch if read else ""
    made = identify(view, program, environment, mpis, arch) if program else None
    if made and made.program.kind == "missing" and not files.names:
        made = None  # where nothing is seen, nothing is missing
    return MpiImage(
        path=image,
        arch=arch or (made.arch if made else ""),
        libc=kind,
        libc_version=version,
        provides=_provided(view, (parts.libc, *parts.standard)),
        mpis=mpis,
        mpirun=_mpirun(files, environment, mpis),
        libfabric=_version(view, parts, "libfabric", naming.NUMBER) or _fabric_abi(view, parts),
        ucx=_version(view, parts, "libucs", _UCX) or _version(view, parts, "libucp", _UCX),
        pmix=_version(view, parts, "libpmix", _PMIX)
        or _version(view, parts, "libpmix", naming.NUMBER)
        or _inner_pmix(view, parts),
        pmi2=bool(parts.named("libpmi2")),
        gpu=tuple(sorted({each.family for each in libraries(files.names) if each.family in _GPU})),
        ld_library_path=environment.get("LD_LIBRARY_PATH", ""),
        program=made.program if made else None,
        notes=(*files.notes, *notes, *(made.notes if made else ())),
    )


class _Parts:
    """The files of an image from which all that is not about the program is known."""

    def __init__(self, files: Files) -> None:
        names = sorted(files.names, key=lambda name: ("debug" in name, name))
        self.mpis = _distinct([name for name in names if _MPI.fullmatch(_base(name))])
        self.more = self.mpis[_MOST_MPIS:]
        del self.mpis[_MOST_MPIS:]
        self.others = [name for name in names if _FABRIC.fullmatch(_base(name)) or _PARTS.fullmatch(_base(name))]
        self.plugins = [name for name in names if _PLUGIN.fullmatch(_base(name))]
        self.glibc = next((f"{folder}/libc.so.6" for folder in _SYSTEM if files.has(f"{folder}/libc.so.6")), "")
        self.musl = next((path for path in (*files.names, *files.links) if _MUSL.fullmatch(path)), "")
        self.libc = self.glibc or self.musl
        folders = _SYSTEM if self.libc else ()
        found = ((f"{folder}/{name}" for folder in folders if files.has(f"{folder}/{name}")) for name in _RUNTIME)
        self.standard = [path for paths in found for path in list(paths)[:1]]

    def named(self, stem: str) -> list[str]:
        return [name for name in self.others if re.match(rf"{stem}[.-]", _base(name))]


def _distinct(names: list[str]) -> list[str]:
    """One file for each library: whoever copied a folder without its links has each of them three times."""
    found: dict[tuple[str, str], str] = {}
    for name in names:
        stem, _, number = name.rpartition(".so")
        key = stem, number.split(".")[1] if number else ""
        if key not in found or len(name) < len(found[key]):
            found[key] = name
    numbered = {stem for stem, number in found if number}
    return [name for (stem, number), name in found.items() if number or stem not in numbered]


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _libc(view: View, parts: _Parts) -> tuple[Literal["", "glibc", "musl"], str]:
    if parts.glibc:
        version = re.search(rb"GNU C Library [^\n]*version (\d+\.\d+)", view.data(parts.glibc) or b"")
        return "glibc", version[1].decode() if version else ""
    if parts.musl:
        installed = (view.data(_APK) or b"").decode(errors="replace")
        known = re.search(r"^P:musl\nV:([\d.]+)", installed, re.MULTILINE)
        if known:
            return "musl", known[1]
        text = re.search(rb"\0(1\.\d\.\d{1,2})\0", view.data(parts.musl) or b"")
        return "musl", text[1].decode() if text else ""
    return "", ""


def _provided(view: View, paths: Iterable[str]) -> dict[str, str]:
    """The newest version of each family of symbols."""
    found: dict[str, str] = {}
    for path in paths:
        read = view.elf(path) if path else None
        for family, number in read.provides.items() if read else ():
            if version_key(number) > version_key(found.get(family, "")):
                found[family] = number
    return found


def _mpirun(files: Files, environment: Mapping[str, str], mpis: Sequence[ImageMpi]) -> str:
    """A launcher: on PATH, else beside an MPI."""
    folders = (environment.get("PATH") or "/usr/local/bin:/usr/bin:/bin").split(":")
    beside = [each.path.rpartition("/lib")[0] + "/bin" for each in mpis]
    paths = (f"{folder}/{name}" for folder in (*folders, *beside) for name in _LAUNCHERS if folder.startswith("/"))
    return next((path for path in paths if files.has(path)), "")


# Versions. A library that is stripped still has the texts that it prints.

# Between other texts, as compilers lay them out.
_UCX = re.compile(rb"(?<![\d.])(1\.\d{1,2}\.\d{1,2})\0")
_PMIX = re.compile(rb"PMIx (\d+\.\d+[\w.]*)")
_INNER_PMIX = re.compile(rb"\0(?:Open)?PMIx (\d+\.\d+[\w.]*)|\0([23]\.\d\.\d+(?:a\d+|rc\d+)?)\0")


def _version(view: View, parts: _Parts, stem: str, pattern: re.Pattern[bytes]) -> str:
    """The newest version of those libraries that the image has."""
    found = (pattern.findall(view.data(name) or b"") for name in parts.named(stem))
    texts = {numbers[0].decode() for numbers in found if numbers}
    return max(texts, key=version_key, default="")


def _fabric_abi(view: View, parts: _Parts) -> str:
    """Of a libfabric that does not say its version, the newest version of its symbols."""
    read = [found for name in parts.named("libfabric") if (found := view.elf(name))]
    return max((each.provides.get("FABRIC", "") for each in read), key=version_key, default="")


def _inner_pmix(view: View, parts: _Parts) -> str:
    """Of the PMIx that Open MPI up to 4 brings inside of its own libraries."""
    for name in parts.others:
        data = (view.data(name) or b"") if _base(name).startswith("libopen-pal") else b""
        if _has_pmix(data) and (found := _INNER_PMIX.search(data)):
            return (found[1] or found[2]).decode()
    return ""


# MPI libraries.


def _mpis(view: View, parts: _Parts) -> tuple[tuple[ImageMpi, ...], list[str]]:
    found, notes = [], [f"{path} is one MPI library too many: it was not looked at" for path in parts.more]
    for path in parts.mpis:
        read = view.elf(path)
        if not read:
            # Development packages have texts for the linker under names without a number.
            if not path.endswith(".so"):
                notes.append(f"{path} is no library that can be read")
            continue
        soname = read.soname or _base(path)
        named = facts.interface(soname)
        if not named or named[1] != "c":
            continue
        data = view.data(path) or b""
        family = _family(read, named[0])
        product, version = naming.named(data, family)
        ompi = product == "Open MPI"
        wires, ucx = _openmpi(view, parts, path, read, data) if ompi else _mpich(read, data, product)
        found.append(
            ImageMpi(family=family, product=product, version=version, soname=soname, path=path, wires=wires, ucx=ucx)
        )
    return tuple(found), notes


def _family(read: Elf, named: Family) -> Family:
    if named == "abi":
        return named
    # Open MPI 1.10's library was called libmpi.so.12, as MPICH's is.
    return "openmpi" if "ompi_mpi_comm_world" in read.exports else "mpich"


def _mpich(read: Elf, data: bytes, product: str) -> tuple[tuple[str, ...], bool]:
    """How MPICH and its kin find the other ranks.

    Without a library for it they speak PMI-1 themselves; so does srun --mpi=pmi2, and MPICH from 4.1 speaks PMI-2 too.
    Intel MPI loads a libpmi2 or libpmix if I_MPI_PMI_LIBRARY names one, which is the site's to say.
    """
    stems = {name.partition(".so")[0] for name in read.needed}
    wires = []
    if "libpmi" in stems or (b"PMI_FD" in data and (b"cmd=init pmi_version" in data or b"fullinit" in data)):
        wires.append("pmi1")
    if "libpmi2" in stems or (b"fullinit" in data and product != "Intel MPI"):
        wires.append("pmi2")
    if "libpmix" in stems:
        wires.append("pmix")
    return tuple(wires), "libucp" in stems


def _openmpi(view: View, parts: _Parts, path: str, read: Elf, data: bytes) -> tuple[tuple[str, ...], bool]:
    """How Open MPI finds the other ranks: by PMIx, which may be inside, beside, or a plug-in; up to 4 also by PMI-2."""
    folder = path.rpartition("/")[0]
    own = [name for name in parts.others if name.startswith(f"{folder}/libopen-")]
    plugins = {_base(name) for name in _beside(parts.plugins, folder)}
    needed = {*read.needed, *(soname for name in own if (part := view.elf(name)) for soname in part.needed)}
    stems = {name.partition(".so")[0] for name in needed}
    texts = [data, *(view.data(name) or b"" for name in own)]
    wires = []
    if (
        "libpmix" in stems
        or any(map(_has_pmix, texts))
        or any(re.match("mca_pmix_(?:pmix|ext)", each) for each in plugins)
    ):
        wires.append("pmix")
    if "libpmi2" in stems or "mca_pmix_s2.so" in plugins or any(b"mca_pmix_s2_component" in text for text in texts):
        wires.append("pmi2")
    return tuple(wires), "libucp" in stems or "mca_pml_ucx.so" in plugins


def _beside(plugins: Iterable[str], folder: str) -> Iterator[str]:
    """Plug-ins of the MPI in that folder: in lib/openmpi, or where Debian has them, lib/openmpi/lib/openmpi3."""
    return (name for name in plugins if name.startswith(f"{folder}/openmpi"))


def _has_pmix(data: bytes) -> bool:
    return bool(re.search(rb"mca_pmix_(?:pmix|ext)\w*_component", data))
