"""Hosts and images as they really are, for tests of what is decided for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from hpcjobs.mpi.decide import Question
from hpcjobs.mpi.facts import (
    Family,
    Flavour,
    Folder,
    HostLauncher,
    HostMpi,
    ImageMpi,
    Interface,
    Library,
    MpiHost,
    MpiImage,
    Program,
)  # fmt: skip

LIB = "/usr/lib/x86_64-linux-gnu"
WHEEL = "/opt/mpich-5.0.1"
INTEL = "/opt/intel/mpi/2021.19"
CRAY = "/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3"
SPACK = "/opt/openmpi-5.0.11"

C = ("MPI_Allreduce", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Finalize", "MPI_Init", "MPI_Send")
FORTRAN = ("mpi_init_", "mpi_send_")
OMPI_DATA = ("ompi_mpi_comm_world", "ompi_mpi_int")


def lib(path: str, name: str = "", glibc: str = "2.34", **more: Any) -> Library:
    """A file with a build-id."""
    build_id = more.pop("build_id", "8a" * 20)
    needs = {"GLIBC": glibc, **more.pop("needs", {})}
    return Library(
        name=name or path.rpartition("/")[2], path=path, size=1000, build_id=build_id, build_at=624, needs=needs, **more
    )


def _interface(
    path: str, family: Family = "mpich", role: Literal["c", "fortran", "cxx"] = "c", soname: str = ""
) -> Interface:
    return Interface(role=role, soname=soname or path.rpartition("/")[2], path=path, family=family)


DEBIAN_FILES = (
    lib(f"{LIB}/libmpich.so.12.2.2", "libmpich.so.12"), lib(f"{LIB}/libmpichfort.so.12.2.2", "libmpichfort.so.12"),
    lib(f"{LIB}/libucp.so.0.0.0", "libucp.so.0"), lib(f"{LIB}/libfabric.so.1.17.3", "libfabric.so.1"),
    lib(f"{LIB}/libhwloc.so.15.6.0", "libhwloc.so.15"), lib(f"{LIB}/libcrypto.so.3", "libcrypto.so.3"),
    lib(f"{LIB}/libstdc++.so.6.0.30", "libstdc++.so.6", needs={"GCC": "3.3"}),
    lib(f"{LIB}/libgcc_s.so.1", "libgcc_s.so.1"),
)  # fmt: skip
# Debian 12: among the system's libraries, and not called libmpi.so.12.
DEBIAN = HostMpi(
    name="mpich-4.0.2", family="mpich", product="MPICH", version="4.0.2",
    interfaces=(
        _interface(f"{LIB}/libmpich.so.12.2.2", soname="libmpich.so.12"),
        _interface(f"{LIB}/libmpichfort.so.12.2.2", role="fortran", soname="libmpichfort.so.12"),
    ),
    exports=(*C, *FORTRAN), libraries=tuple(each.path for each in DEBIAN_FILES), wires=("pmi1",),
)  # fmt: skip

WHEEL_FILES = (
    lib(f"{WHEEL}/lib/libmpi.so.12", glibc="2.17"), lib(f"{WHEEL}/lib/libmpi_abi.so.0", glibc="2.17"),
    lib(f"{WHEEL}/lib/mpich/libfabric.so.1", glibc="2.17"), lib(f"{WHEEL}/lib/mpich/libucp.so.0", glibc="2.17"),
)  # fmt: skip
# PyPI's, whose RUNPATH is $ORIGIN:$ORIGIN/mpich.
MPICH5 = HostMpi(
    name="mpich-5.0.1", family="mpich", product="MPICH", version="5.0.1", prefix=WHEEL,
    interfaces=(
        _interface(f"{WHEEL}/lib/libmpi.so.12"), _interface(f"{WHEEL}/lib/libmpi_abi.so.0", "abi"),
    ),
    exports=(*C, *FORTRAN), abi_exports=C, libraries=tuple(each.path for each in WHEEL_FILES),
    folders=(Folder(path=WHEEL),), wires=("pmi1", "pmi2"),
)  # fmt: skip

INTEL_FILES = (
    lib(f"{INTEL}/lib/libmpi.so.12.0.0", "libmpi.so.12", "2.14", build_id="", sha256="5e" * 32),
    lib(f"{INTEL}/lib/libmpi_abi.so.1", glibc="2.14"), lib(f"{INTEL}/lib/libmpifort.so.12", glibc="2.14"),
    lib(f"{INTEL}/opt/mpi/libfabric/lib/libfabric.so.1", glibc="2.14"),
)  # fmt: skip
INTEL_MPI = HostMpi(
    name="intel-mpi-2021.19", family="mpich", product="Intel MPI", version="2021.19", prefix=INTEL,
    modules=("intel-mpi/2021.19",),
    interfaces=(
        _interface(f"{INTEL}/lib/libmpi.so.12.0.0", soname="libmpi.so.12"),
        _interface(f"{INTEL}/lib/libmpifort.so.12", role="fortran"), _interface(f"{INTEL}/lib/libmpi_abi.so.1", "abi"),
    ),
    exports=(*C, *FORTRAN), abi_exports=C, libraries=tuple(each.path for each in INTEL_FILES),
    folders=(Folder(path=INTEL, variables=("I_MPI_ROOT",)),), wires=("pmi1", "pmi2"),
)  # fmt: skip

CRAY_FILES = (
    lib(f"{CRAY}/lib/libmpi_gnu_123.so.12.0.0", "libmpi_gnu_123.so.12", "2.17"),
    lib("/opt/cray/pe/lib64/libpmi.so.0", glibc="2.4"), lib("/opt/cray/pe/lib64/libpals.so.0", glibc="2.4"),
    lib("/opt/cray/libfabric/1.20/lib64/libfabric.so.1", glibc="2.15"), lib("/usr/lib64/libcxi.so.1", glibc="2.14"),
)  # fmt: skip
CRAY_MPICH = HostMpi(
    name="cray-mpich-8.1.27", family="mpich", product="Cray MPICH", version="8.1.27", prefix=CRAY,
    modules=("cray-mpich/8.1.27",),
    interfaces=(_interface(f"{CRAY}/lib/libmpi_gnu_123.so.12.0.0", soname="libmpi_gnu_123.so.12"),),
    exports=C, libraries=tuple(each.path for each in CRAY_FILES), folders=(Folder(path=CRAY),),
    env={"MPICH_OFI_NIC_POLICY": "NUMA"}, wires=("pals", "pmi1", "pmi2"),
)  # fmt: skip

OMPI4_FILES = (
    lib(f"{LIB}/libmpi.so.40.30.4", "libmpi.so.40"), lib(f"{LIB}/libopen-pal.so.40.30.3", "libopen-pal.so.40"),
)  # fmt: skip
OMPI4 = HostMpi(
    name="openmpi-4.1.4", family="openmpi", product="Open MPI", version="4.1.4",
    interfaces=(_interface(f"{LIB}/libmpi.so.40.30.4", "openmpi", soname="libmpi.so.40"),),
    exports=(*C, *OMPI_DATA), libraries=tuple(each.path for each in OMPI4_FILES),
    folders=(
        Folder(path=f"{LIB}/openmpi/lib/openmpi3", variables=("OPAL_PKGLIBDIR",), needs={"GLIBC": "2.34"}),
        Folder(path="/usr/share/openmpi", variables=("OPAL_PKGDATADIR",)),
    ),
    wires=("pmix",),
)  # fmt: skip
OMPI5_FILES = (
    lib(f"{SPACK}/lib/libmpi.so.40", glibc="2.17"), lib(f"{SPACK}/lib/libopen-pal.so.80", glibc="2.17"),
)  # fmt: skip
OMPI5 = HostMpi(
    name="openmpi-5.0.11", family="openmpi", product="Open MPI", version="5.0.11", prefix=SPACK,
    interfaces=(_interface(f"{SPACK}/lib/libmpi.so.40", "openmpi"),),
    exports=(*C, *OMPI_DATA), libraries=tuple(each.path for each in OMPI5_FILES),
    folders=(Folder(path=SPACK, variables=("OPAL_PREFIX", "PMIX_PREFIX")),), wires=("pmix",),
)  # fmt: skip

FILES = (*DEBIAN_FILES, *WHEEL_FILES, *INTEL_FILES, *CRAY_FILES, *OMPI4_FILES, *OMPI5_FILES)


def srun(*types: str, default: str = "") -> HostLauncher:
    """Slurm's, with the kinds that it offers."""
    return HostLauncher(
        kind="srun", command="/usr/bin/srun", flavour="slurm", version="22.05.8", types=types, default=default
    )


def starter(kind: str, flavour: Flavour, mpi: str = "", version: str = "") -> HostLauncher:
    """A launcher of an MPI: mpirun or mpiexec."""
    return HostLauncher(kind=kind, command=f"/usr/bin/{kind}", flavour=flavour, version=version, mpi=mpi)


SRUN = srun("none", "pmi2", "pmix", "pmix_v4")
CRAY_SRUN = srun("none", "cray_shasta", "pmi2")
HYDRA = starter("mpiexec", "hydra", version="4.0.2")
PALS = starter("mpiexec", "pals", version="1.3.4")


def host(*mpis: HostMpi, launchers: Sequence[HostLauncher] = (SRUN,), **more: Any) -> MpiHost:
    """A host with those MPIs."""
    return MpiHost(
        made="2026-11-21T12:00:00Z", node="n1", arch="x86_64", glibc="2.36", mpis=mpis, launchers=tuple(launchers),
        libraries=FILES, **more,
    )  # fmt: skip


MPICH42 = ImageMpi(
    family="mpich", product="MPICH", version="4.2.1", soname="libmpich.so.12", path=f"{LIB}/libmpich.so.12.4.1",
    wires=("pmi1", "pmi2"), ucx=True,
)  # fmt: skip
IMAGE_OMPI4 = ImageMpi(
    family="openmpi", product="Open MPI", version="4.1.4", soname="libmpi.so.40", path=f"{LIB}/libmpi.so.40.30.4",
    wires=("pmix",),
)  # fmt: skip
IMAGE_OMPI5 = replace(IMAGE_OMPI4, version="5.0.7", path=f"{LIB}/libmpi.so.40.40.7")
IMAGE_ABI = ImageMpi(
    family="abi", product="MPICH", version="5.0.1", soname="libmpi_abi.so.1", path="/opt/abi/lib/libmpi_abi.so.1",
    wires=("pmi1",),
)  # fmt: skip


def program(*needed: str, family: Literal["", "mpich", "openmpi", "abi"] = "mpich", **more: Any) -> Program:
    """A program that links to those libraries."""
    symbols = more.pop("symbols", ("MPI_Init", "MPI_Send", *(OMPI_DATA[:1] if family == "openmpi" else ())))
    return Program(path="/opt/app/solve", needed=needed, family=family, symbols=symbols, libc="glibc", **more)


def image(*mpis: ImageMpi, runs: Program | None = None, glibc: str = "2.41", **more: Any) -> MpiImage:
    """An image of a Debian with that glibc."""
    provides = {"GLIBC": glibc, "GLIBCXX": "3.4.33", "GCC": "14.0.0"} | more.pop("provides", {})
    return MpiImage(
        path="/images/app.sif", arch="x86_64", libc="glibc", libc_version=glibc, mpis=mpis, program=runs,
        provides=provides, **more,
    )  # fmt: skip


TRIXIE = image(MPICH42, runs=program("libmpich.so.12"))
BOOKWORM = image(replace(MPICH42, version="4.0.2", wires=("pmi1",)), runs=program("libmpich.so.12"), glibc="2.36")
BULLSEYE = image(replace(MPICH42, version="3.4.1", wires=("pmi1",)), runs=program("libmpich.so.12"), glibc="2.31")
TRIXIE_OMPI = image(IMAGE_OMPI5, runs=program("libmpi.so.40", family="openmpi"))
BOOKWORM_OMPI = image(IMAGE_OMPI4, runs=program("libmpi.so.40", family="openmpi"), glibc="2.36")
ABI = image(IMAGE_ABI, runs=program("libmpi_abi.so.1", family="abi"))
MUSL = replace(
    image(replace(MPICH42, soname="libmpi.so.12"), runs=replace(program("libmpi.so.12"), libc="musl")),
    libc="musl", libc_version="1.2.5", provides={},
)  # fmt: skip
STATIC = image(runs=program(static=True))
RPATH = image(
    replace(MPICH42, soname="libmpi.so.12", path="/opt/mpich/lib/libmpi.so.12.4.1"),
    runs=program("libmpi.so.12", rpath=("/opt/mpich/lib",)),
)  # fmt: skip
SCRIPT = image(MPICH42, runs=Program(path="/usr/bin/dash", kind="script"))
PYTHON = image(MPICH42, runs=replace(program("libmpich.so.12"), path="/usr/bin/python3.13", kind="python"))


def ask(what: MpiImage, on: MpiHost | None = None, **more: Any) -> Question:
    """What to do with an image on a host, for eight ranks on two nodes."""
    return Question(**{"image": what, "host": on, "nodes": 2, "ntasks": 8, **more})
