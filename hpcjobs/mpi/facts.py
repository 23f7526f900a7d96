"""What is known of the MPI of a host and of an image: what the probes write, and planning reads. Plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hpcjobs.units import version as version  # noqa: PLC0414 - for those who read facts

if TYPE_CHECKING:
    from collections.abc import Mapping

Family = Literal["mpich", "openmpi", "abi"]
# The part of MPI that a library is: its C functions, the Fortran ones, the old C++ ones.
Role = Literal["c", "fortran", "cxx"]


# ------------------------------------------------------------------------------------------ the host


@dataclass(frozen=True, kw_only=True)
class Library:
    """A file of the host as it was when it was probed. `size` is bytes."""

    name: str  # its SONAME: what those who need it call it
    path: str  # the file itself, links resolved
    size: int
    build_id: str = ""  # hexadecimal, and where it stands in the file, so that a shell can compare it without ELF
    build_at: int = 0
    sha256: str = ""  # of files without a build-id
    needs: dict[str, str] = field(default_factory=dict)  # newest symbol version of each family: {GLIBC: "2.34"}


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A library that programs link to."""

    role: Role
    soname: str
    path: str  # the file itself
    family: Family  # `abi` for libmpi_abi of the MPI 5 standard ABI, whichever MPI it comes with


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of the host that goes into the container whole: a prefix, plug-ins, data."""

    path: str
    variables: tuple[str, ...] = ()  # that tell the MPI where it is in the container
    same_place: bool = False  # whether it must be at its own path, since nothing can tell where else it is
    needs: dict[str, str] = field(default_factory=dict)  # of the plug-ins in it, as in `Library`
    digest: str = ""  # of the names and sizes of the plug-ins in it


@dataclass(frozen=True, kw_only=True)
class HostMpi:
    """An MPI of the host."""

    name: str  # mpich-4.0.2; unlike that of any other in the lock
    family: Literal["mpich", "openmpi"]
    product: str  # MPICH, Intel MPI, Cray MPICH, MVAPICH, Open MPI
    version: str
    prefix: str = ""  # where it is installed by itself; empty for one among the system's own libraries
    modules: tuple[str, ...] = ()  # that bring it
    found: tuple[str, ...] = ()  # how it was found, in words
    interfaces: tuple[Interface, ...] = ()
    exports: tuple[str, ...] = ()  # the MPI functions and constants of its interfaces, those of `abi` left out
    abi_exports: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()  # paths of all that it loads, plug-ins' needs included, libc's family left out
    optional: tuple[str, ...] = ()  # those of them that only plug-ins need, and that are not in the prefix
    folders: tuple[Folder, ...] = ()
    env: dict[str, str] = field(default_factory=dict)  # more that it wants set
    gpu_libraries: dict[str, str] = field(default_factory=dict)  # that let it take GPU memory: name and the file itself
    wires: tuple[str, ...] = ()  # how its library finds the other ranks: pmi1, pmi2, pmix, pals


Flavour = Literal["slurm", "hydra", "intel", "openmpi", "prrte", "pals", ""]


@dataclass(frozen=True, kw_only=True)
class HostLauncher:
    """A program that starts ranks."""

    kind: str  # srun, mpirun, mpiexec
    command: str  # its path
    flavour: Flavour  # whose it is: that decides which wire its ranks get
    version: str = ""
    types: tuple[str, ...] = ()  # of srun --mpi=list
    default: str = ""  # of them, the one that srun uses by itself (MpiDefault)
    mpi: str = ""  # name of the HostMpi that it belongs to


@dataclass(frozen=True, kw_only=True)
class MpiHost:
    """What a host has: the lock file of a site (`mpi.lock.yaml`)."""

    made: str  # RFC 3339, UTC
    node: str
    arch: str  # as `uname -m` says it
    glibc: str
    fabric: Literal["none", "verbs", "cxi", "efa", "psm2"] = "none"
    devices: tuple[str, ...] = ()
    launchers: tuple[HostLauncher, ...] = ()
    mpis: tuple[HostMpi, ...] = ()
    libraries: tuple[Library, ...] = ()
    data: tuple[str, ...] = ()  # other files and folders that the fabric needs at their own place: /etc/libibverbs.d
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------ the image


@dataclass(frozen=True, kw_only=True)
class ImageMpi:
    """An MPI library of an image."""

    family: Family
    product: str
    version: str
    soname: str
    path: str
    wires: tuple[str, ...] = ()  # pmi1, pmi2, pmix: how it can find the other ranks
    ucx: bool = False  # whether it needs UCX, whose shared memory user namespaces of their own break


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the job runs, and what it really links to, through all that it needs."""

    path: str  # the file, in the image or on the host
    where: Literal["image", "host"] = "image"
    kind: Literal["program", "python", "script", "missing"] = "program"
    needed: tuple[str, ...] = ()  # SONAMEs of MPI libraries
    symbols: tuple[str, ...] = ()  # MPI functions and constants that it takes from them
    rpath: tuple[str, ...] = ()  # folders of DT_RPATH, which LD_LIBRARY_PATH does not beat, with an MPI library in them
    static: bool = False  # has an MPI inside
    family: Literal["", "mpich", "openmpi", "abi"] = ""  # of what it needs or has inside
    libc: Literal["", "glibc", "musl"] = ""  # by its interpreter
    either: bool = False  # whether one of `needed` is enough: mpi4py's wheels have a module for each family


@dataclass(frozen=True, kw_only=True)
class MpiImage:
    """What an image has, as far as it decides how MPI runs in it."""

    path: str
    arch: str = ""
    libc: Literal["", "glibc", "musl"] = ""
    libc_version: str = ""
    provides: dict[str, str] = field(default_factory=dict)  # newest symbol version: {GLIBC: "2.31", GLIBCXX: "3.4.28"}
    mpis: tuple[ImageMpi, ...] = ()
    mpirun: str = ""  # a launcher inside, for `--mpi container`
    libfabric: str = ""  # versions; empty = there is none
    ucx: str = ""
    pmix: str = ""
    pmi2: bool = False
    gpu: tuple[str, ...] = ()
    ld_library_path: str = ""  # that the image sets by itself
    program: Program | None = None
    notes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------- names

# What a library is, by its name: whose interface, and which part of it. Debian's MPICH is called libmpich; Cray's has
# the compiler in its name (libmpi_gnu_123.so.12), and libmpich_gnu_71.so.3 was its name before the common ABI.
_COMPILERS = r"(?:_(?:cray|gnu|intel|nvidia|amd|aocc|pgi)(?:_\d+)?)?"
_NAMES: tuple[tuple[re.Pattern[str], Family, Role], ...] = (
    (re.compile(r"libmpi_abi\.so\.\d+"), "abi", "c"),
    (re.compile(r"libmpifort_abi\.so\.\d+"), "abi", "fortran"),
    (re.compile(rf"libmpi(?:ch)?{_COMPILERS}\.so\.(?:12|3)"), "mpich", "c"),
    (re.compile(rf"lib(?:mpi|mpich)?f(?:ort|mpich){_COMPILERS}\.so\.(?:12|3)"), "mpich", "fortran"),
    (re.compile(rf"libmpi(?:ch)?cxx{_COMPILERS}\.so\.(?:12|3)"), "mpich", "cxx"),
    (re.compile(r"libmpi\.so\.(?:1|20|40|41)"), "openmpi", "c"),
    (re.compile(r"libmpi_(?:mpifh|f77|f90|usempi\w*)\.so\.\d+"), "openmpi", "fortran"),
    (re.compile(r"libmpi_cxx\.so\.\d+"), "openmpi", "cxx"),
)  # fmt: skip


def interface(soname: str) -> tuple[Family, Role] | None:
    """Whose interface a library of that SONAME is, and which part; None if it is no MPI's.

    The name alone says nothing sure of the family: libmpi.so.12 was Open MPI 1.10's too.
    """
    return next(((family, role) for pattern, family, role in _NAMES if pattern.fullmatch(soname)), None)


_SYMBOL = re.compile(r"P?MPIX?_\w+|p?mpix?_\w+|ompi_mpi_\w+|MPI_F_?\w+|MPIR_F\w+|mpifcmb\w+", re.ASCII)


def is_mpi_symbol(name: str) -> bool:
    """Whether a symbol is of MPI's interface, in C or Fortran, as a program uses it."""
    return bool(_SYMBOL.fullmatch(name))


# libc and what is one with it: never taken from the host (ld.so(8); a mix of two glibcs does not even start).
_LIBC = re.compile(
    r"(?:ld-linux[\w-]*|ld64|ld-musl[\w-]*|lib(?:c|m|dl|rt|pthread|util|resolv|nsl|nss_\w+|anl|mvec|crypt|thread_db"
    r"|BrokenLocale|c_malloc_debug|pcprofile|memusage))(?:-[\d.]+)?\.so(?:\.[\d.]+)?"
)


def is_libc(soname: str) -> bool:
    """Whether a library belongs to libc, which always is the image's own."""
    return bool(_LIBC.fullmatch(soname))


# ------------------------------------------------------------------------------------- from JSON, back

T = TypeVar("T")


def restore(cls: type[T], data: Mapping[str, Any]) -> T:
    """A value of these classes from what `asdict` and JSON or YAML made of it.

    Raises:
        ValueError: it is not of that form.
    """
    known = {each.name: str(each.type) for each in fields(cls)}  # type: ignore[arg-type]  # a dataclass
    if not isinstance(data, dict) or not data.keys() <= known.keys():
        raise ValueError(f"no {cls.__name__}")
    try:
        return cls(**{name: _value(known[name], value) for name, value in data.items()})
    except TypeError as error:
        raise ValueError(str(error)) from None


_SIMPLE: dict[str, type] = {"str": str, "int": int, "bool": bool}


def _value(annotation: str, value: Any) -> Any:
    if made := next((made for name, made in _MADE.items() if re.search(rf"\b{name}\b", annotation)), None):
        if annotation.startswith("tuple["):
            return tuple(restore(made, item) for item in _listed(value))
        return None if value is None else restore(made, value)
    if annotation.startswith("tuple["):
        return tuple(_checked(item, str) for item in _listed(value))
    if annotation.startswith("dict["):
        return {_checked(key, str): _checked(item, str) for key, item in _checked(value, dict).items()}
    return _checked(value, _SIMPLE.get(annotation, str))  # the rest are Literals


def _listed(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{value!r} is no list")  # noqa: TRY004 - what a damaged file raises is one error
    return value


def _checked(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is no {kind.__name__}")  # noqa: TRY004
    return value


_MADE: dict[str, type] = {
    made.__name__: made
    for made in (Library, Interface, Folder, HostLauncher, HostMpi, MpiHost, ImageMpi, Program, MpiImage)
}
