"""What an image has for MPI is found without running it, whatever is in it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpcjobs import process
from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.mpi import facts, files, image, linking
from hpcjobs.mpi.facts import MpiImage, Program
from hpcjobs.mpi.files import FolderFiles, RuntimeFiles, SquashFiles, open_files
from hpcjobs.mpi.program import ProgramName
from hpcjobs.process import Completed
from tests.mpi_elf import build

LIB = "usr/lib/x86_64-linux-gnu"
INTERP = "/lib64/ld-linux-x86-64.so.2"
GLIBC = build(
    soname="libc.so.6", provides=["GLIBC_2.2.5", "GLIBC_2.36"], extra=b"GNU C Library (Debian) release version 2.36.\n"
)
MPICH = build(
    soname="libmpi.so.12", exports=["MPI_Init", "MPI_Send"], needed=["libucp.so.0", "libc.so.6"],
    extra=b"\0MPICH Version:\t%s\0PMI_FD\0cmd=init pmi_version=%d\00014:2:2\0\0Thu Apr  7 12:34:45 2022\0004.0.2\0\0000.13.99\0",
)  # fmt: skip
OPEN_MPI = build(
    soname="libmpi.so.40", exports=["MPI_Init", "ompi_mpi_comm_world"], needed=["libopen-pal.so.40"],
    extra=b"\0Open MPI v%d.%d.%d\0004.1.4\0",
)  # fmt: skip


def app(
    *needed: str, undefined: Sequence[str] = ("MPI_Init", "MPI_Comm_size"), rpath: str = "", runpath: str = ""
) -> bytes:
    return build(
        interp=INTERP, needed=[*needed, "libc.so.6"], undefined=[*undefined, "printf"], weak=["MPI_Weak"],
        rpath=rpath, runpath=runpath,
    )  # fmt: skip


Content = bytes | str  # a file; where a link leads


def tree(root: Path, contents: Mapping[str, Content]) -> Path:
    base: dict[str, Content] = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", f"{LIB}/libc.so.6": GLIBC,
            "usr/lib64/ld-linux-x86-64.so.2": build(), "usr/bin/sh": "dash", "usr/bin/dash": build(interp=INTERP)}  # fmt: skip
    for name, content in {**base, **contents}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
    return root


def probed(root: Path, *command: str, name: ProgramName | None = None, **environment: str) -> MpiImage:
    program = name or (ProgramName(command=command) if command else None)
    found = image.probe(FolderFiles(root), str(root), program=program, environment=environment)
    assert facts.restore(MpiImage, json.loads(json.dumps(asdict(found)))) == found
    return found


def programmed(root: Path, *command: str, name: ProgramName | None = None, **environment: str) -> Program:
    found = probed(root, *command, name=name, **environment).program
    assert found
    return found


# The program.


def test_an_mpich_image(tmp_path: Path) -> None:
    found = probed(tree(tmp_path, {
        f"{LIB}/libmpi.so.12.2.2": MPICH, f"{LIB}/libmpi.so.12": "libmpi.so.12.2.2", "opt/hello": app("libmpi.so.12"),
        f"{LIB}/libucp.so.0": build(soname="libucp.so.0"), f"{LIB}/libucs.so.0": build(extra=b"A1.13.1\0"),
        f"{LIB}/libstdc++.so.6.0.30": build(provides=["GLIBCXX_3.4.30", "CXXABI_1.3.13"]),
        f"{LIB}/libstdc++.so.6": "libstdc++.so.6.0.30", "usr/bin/mpiexec.hydra": build(interp=INTERP),
        f"{LIB}/libcudart.so.12": build(),
    }), "/opt/hello", LD_LIBRARY_PATH="/opt/x/lib")  # fmt: skip
    assert (found.arch, found.libc, found.libc_version) == ("x86_64", "glibc", "2.36")
    assert found.provides == {"GLIBC": "2.36", "GLIBCXX": "3.4.30", "CXXABI": "1.3.13"}
    assert found.mpis == (facts.ImageMpi(
        family="mpich", product="MPICH", version="4.0.2", soname="libmpi.so.12", path=f"/{LIB}/libmpi.so.12.2.2",
        wires=("pmi1",), ucx=True,
    ),)  # fmt: skip
    assert (found.mpirun, found.ucx, found.gpu) == ("/usr/bin/mpiexec.hydra", "1.13.1", ("cuda",))
    assert found.ld_library_path == "/opt/x/lib"
    assert found.program == Program(
        path="/opt/hello", needed=("libmpi.so.12",), symbols=("MPI_Comm_size", "MPI_Init"), family="mpich", libc="glibc"
    )
    assert not found.notes


def test_what_a_library_of_the_program_needs_counts(tmp_path: Path) -> None:
    hdf5 = build(
        soname="libhdf5.so.1", needed=["libmpi.so.12"], undefined=["MPI_File_open", "mine_"], exports=["mpi_own_"]
    )
    root = tree(tmp_path, {
        f"{LIB}/libmpi.so.12": MPICH, "opt/h/libhdf5.so.1": hdf5, "etc/ld.so.conf": b"include ld.so.conf.d/*.conf\n",
        "etc/ld.so.conf.d/h.conf": b"# HDF5\n/opt/h\n", "usr/bin/solve": app("libhdf5.so.1", undefined=["mpi_own_"]),
    })  # fmt: skip
    found = programmed(root, "solve")
    assert (found.needed, found.symbols) == (("libmpi.so.12",), ("MPI_File_open",))


def test_a_library_that_is_not_there_counts_as_needed(tmp_path: Path) -> None:
    root = tree(tmp_path, {"opt/a": app("libmpi_abi.so.1"), "opt/b": app("libmpi.so.12", "libgone.so.3")})
    assert (programmed(root, "/opt/a").needed, programmed(root, "/opt/a").family) == (("libmpi_abi.so.1",), "abi")
    assert (programmed(root, "/opt/b").needed, programmed(root, "/opt/b").family) == (("libmpi.so.12",), "mpich")


def test_open_mpi_1_10_is_known_by_its_symbols(tmp_path: Path) -> None:
    old = build(soname="libmpi.so.12", exports=["ompi_mpi_comm_world"], extra=b"Open MPI v1.10.7, package")
    c, fortran = app("libmpi.so.12", undefined=["ompi_mpi_comm_world"]), app("libmpi.so.12", undefined=["mpi_init_"])
    root = tree(tmp_path, {f"{LIB}/libmpi.so.12": old, "opt/c": c, "opt/f": fortran})
    assert programmed(root, "/opt/c").family == programmed(root, "/opt/f").family == "openmpi"
    assert [(each.product, each.version) for each in probed(root).mpis] == [("Open MPI", "1.10.7")]


@pytest.mark.parametrize(
    ("rpath", "runpath", "variable", "trap"),
    [
        ("/opt/m/lib", "", "", ("/opt/m/lib",)),
        ("$ORIGIN/../m/lib", "", "", ("/opt/m/lib",)),
        ("${ORIGIN}/../m/$LIB", "", "", ("/opt/m/lib",)),
        ("/opt/none:/opt/m/lib", "", "/opt/other", ("/opt/m/lib",)),
        ("", "/opt/m/lib", "", ()),
        ("/opt/m/lib", "/opt/m/lib", "", ()),
        ("/opt/none", "", "/opt/m/lib", ()),
    ],
)
def test_folders_of_dt_rpath_are_traps(
    tmp_path: Path, rpath: str, runpath: str, variable: str, trap: tuple[str, ...]
) -> None:
    root = tree(
        tmp_path, {"opt/m/lib/libmpi.so.12": MPICH, "opt/b/app": app("libmpi.so.12", rpath=rpath, runpath=runpath)}
    )
    assert programmed(root, "/opt/b/app", LD_LIBRARY_PATH=variable).rpath == trap


def test_dt_rpath_of_the_program_is_for_its_libraries_too(tmp_path: Path) -> None:
    contents: dict[str, Content] = {"opt/l/libmpi.so.12": MPICH, "opt/app": app("liba.so", rpath="/opt/l"),
                "opt/l/liba.so": build(needed=["libmpi.so.12"])}  # fmt: skip
    assert programmed(tree(tmp_path / "1", contents), "/opt/app").rpath == ("/opt/l",)
    contents["opt/l/liba.so"] = build(needed=["libmpi.so.12"], runpath="/opt/l")
    assert programmed(tree(tmp_path / "2", contents), "/opt/app").rpath == ()


def test_a_library_for_another_cpu_is_passed_over(tmp_path: Path) -> None:
    other, own = build(arch="aarch64"), build(needed=["libmpi.so.12"])
    root = tree(
        tmp_path, {"opt/1/liba.so": other, "opt/2/liba.so": own, "opt/app": app("liba.so", runpath="/opt/1:/opt/2")}
    )
    assert programmed(root, "/opt/app").needed == ("libmpi.so.12",)


def test_musl_looks_elsewhere(tmp_path: Path) -> None:
    program = build(interp="/lib/ld-musl-x86_64.so.1", needed=["liba.so"])
    root = tmp_path
    contents: dict[str, bytes] = {
        "lib/ld-musl-x86_64.so.1": build(extra=b"\0001.2.3\0"), "etc/ld-musl-x86_64.path": b"/opt/a\n/lib",
        "opt/a/liba.so": build(needed=["libmpi.so.12"]), "bin/app": program,
        "lib/apk/db/installed": b"P:musl\nV:1.2.5-r0\n",
    }  # fmt: skip
    for name, data in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    found = probed(root, "app")
    assert (found.arch, found.libc, found.libc_version) == ("x86_64", "musl", "1.2.5")
    assert found.program
    assert (found.program.libc, found.program.needed) == ("musl", ("libmpi.so.12",))


@pytest.mark.parametrize(
    ("data", "static", "family"),
    [
        (build(dynamic=False, symtab=["MPI_Init"], extra=b"MPICH Version:"), True, "mpich"),
        (build(dynamic=False, symtab=["MPI_Init", "ompi_mpi_init"]), True, "openmpi"),
        (build(interp=INTERP, exports=["MPI_Init"], extra=b"MPICH"), True, "mpich"),
        (build(dynamic=False, extra=b"MPICH Version:\t%s"), True, "mpich"),
        (build(dynamic=False, extra=b"\0Open MPI v%d.%d"), True, "openmpi"),
        (build(dynamic=False, symtab=["main"], extra=b"MPICH Version:"), False, ""),
        (build(interp=INTERP), False, ""),
    ],
)
def test_an_mpi_inside_of_the_program(tmp_path: Path, data: bytes, static: bool, family: str) -> None:
    found = programmed(tree(tmp_path, {"opt/app": data}), "/opt/app")
    assert (found.static, found.family, found.needed) == (static, family, ())


def test_the_program_and_its_libraries_may_be_the_hosts(tmp_path: Path) -> None:
    root = tree(tmp_path / "image", {f"{LIB}/libmpi.so.12": MPICH})
    work = tmp_path / "work"
    (work / "lib").mkdir(parents=True)
    (work / "solve").write_bytes(app("liba.so", rpath="$ORIGIN/lib"))
    (work / "lib/liba.so").write_bytes(build(needed=["libmpi.so.12"]))
    (work / "here").symlink_to("solve")
    for name in (
        ProgramName(command=("./solve",), cwd=str(work)),
        ProgramName(command=("/work/solve",), binds=((str(work), "/work"),)),
        ProgramName(command=("env", "A=1", "./here", "x"), workdir="/work", binds=((str(work), "/work"),)),
        ProgramName(command=("solve",), cwd=str(work), binds=((str(work), "/usr/local/bin"),)),
    ):
        found = programmed(root, name=name)
        assert (found.path, found.where, found.kind) == (str(work / "solve"), "host", "program")
        assert found.needed == ("libmpi.so.12",)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (("sh", "-c", "./solve"), "script"), (("run.sh",), "script"), (("gone",), "missing"), (("/opt/gone",), "missing"),
        (("./gone",), "missing"), ((), "missing"), (("env", "-u", "A"), "missing"), (("numactl", "-l", "x"), "script"),
        (("text",), "script"),
    ],
)  # fmt: skip
def test_what_cannot_be_known(tmp_path: Path, command: tuple[str, ...], kind: str) -> None:
    root = tree(tmp_path, {"usr/bin/run.sh": b"#!/bin/sh\nmpihello\n", "usr/bin/numactl": build(interp=INTERP),
                           "usr/bin/text": b"hello"})  # fmt: skip
    assert programmed(root, name=ProgramName(command=command)).kind == kind


# Python.

PYTHON: dict[str, Content] = {
    "usr/bin/python3": "python3.11",
    "usr/bin/python3.11": build(interp=INTERP),
    f"{LIB}/libmpi.so.12": MPICH,
}


@pytest.mark.parametrize(
    "command", [("python3", "run.py"), ("/opt/run.py",), ("/usr/bin/env", "python3"), ("/opt/env.py",)]
)
def test_python_links_through_mpi4py(tmp_path: Path, command: tuple[str, ...]) -> None:
    root = tree(tmp_path, {**PYTHON, "opt/run.py": b"#!/usr/bin/python3 -u\n", "opt/env.py": b"#!/usr/bin/env -S python3\n",
        "usr/lib/python3/dist-packages/mpi4py/MPI.cpython-311-x86_64-linux-gnu.so": app("libmpi.so.12"),
        "usr/lib/python3/dist-packages/mpi4py/MPI.cpython-312-x86_64-linux-gnu.so": app("libmpi.so.40"),
        "opt/conda/lib/python3.11/site-packages/mpi4py/MPI.so": app("libmpi.so.40")})  # fmt: skip
    found = programmed(root, *command)
    assert (found.kind, found.needed, found.family, found.either) == ("python", ("libmpi.so.12",), "mpich", False)


def test_a_virtual_environment_has_its_own(tmp_path: Path) -> None:
    root = tree(tmp_path, {**PYTHON, "opt/v/bin/python": "python3", "opt/v/bin/python3": "/usr/bin/python3",
                           "opt/v/lib/python3.11/site-packages/mpi4py/MPI.abi3.so": app("libmpi_abi.so.1")})  # fmt: skip
    assert programmed(root, "/opt/v/bin/python", "x.py").needed == ("libmpi_abi.so.1",)
    assert programmed(root, "python3", "x.py").needed == ()
    assert programmed(root, "python3", PYTHONPATH="/opt/v/lib/python3.11/site-packages").family == "abi"


def test_wheels_of_mpi4py_take_either_mpi(tmp_path: Path) -> None:
    packages = "usr/local/lib/python3.11/site-packages/mpi4py"
    root = tree(tmp_path, {**PYTHON, f"{packages}/MPI.mpich.cpython-311-x86_64-linux-gnu.so": app("libmpi.so.12"),
                           f"{packages}/MPI.openmpi.cpython-311-x86_64-linux-gnu.so": app("libmpi.so.40")})  # fmt: skip
    found = programmed(root, "python3")
    assert (found.needed, found.family, found.either) == (("libmpi.so.12", "libmpi.so.40"), "mpich", True)


def test_mpi4py_of_a_bound_folder(tmp_path: Path) -> None:
    packages = tmp_path / "home/packages/mpi4py"
    packages.mkdir(parents=True)
    (packages / "MPI.so").write_bytes(app("libmpi.so.40"))
    root = tree(tmp_path / "image", PYTHON)
    name = ProgramName(command=("python3",), cwd=str(tmp_path / "home"))
    assert programmed(root, name=name, PYTHONPATH=str(packages.parent)).needed == ("libmpi.so.40",)


# The image's MPIs.


@pytest.mark.parametrize(
    ("library", "product", "version", "wires"),
    [
        (build(soname="libmpi.so.12", extra=b"\0Intel(R) MPI Library %s for Linux* OS\n\0002021.18.1\0PMI_FD\0cmd=init pmi_version"),
         "Intel MPI", "2021.18.1", ("pmi1",)),
        (build(soname="libmpi_gnu_123.so.12", needed=["libpmi.so.0", "libpmi2.so.0"], extra=b"CRAY MPICH version 8.1.29.31 (ANL base"),
         "Cray MPICH", "8.1.29.31", ("pmi1", "pmi2")),
        (build(soname="libmpi.so.12", extra=b"MVAPICH2 Version:\t2.3.7\0PMI_FD\0fullinit\0MPICH"), "MVAPICH", "2.3.7", ("pmi1", "pmi2")),
        (build(soname="libmpich.so.12", needed=["libpmix.so.2"], extra=b"MPICH Version:\t3.4.1\0"), "MPICH", "3.4.1", ("pmix",)),
        (build(soname="libmpi_abi.so.1", extra=b"MPICH Version:      %s\00018:2:6\0\0Fri Sep 25 2026\0005.0.2\0"), "MPICH", "5.0.2", ()),
        (build(soname="libmpi.so.12", extra=b"\0"), "MPICH", "", ()),
        (build(soname="libmpi.so.40", exports=["ompi_mpi_comm_world"], needed=["libpmix.so.2"],
               extra=b"\0v5.0.11rc1\0Open MPI v%d.%d.%d\0 filename tells 5.0.11 to dump all\0"), "Open MPI", "5.0.11", ("pmix",)),
    ],
)  # fmt: skip
def test_products_say_who_they_are(
    tmp_path: Path, library: bytes, product: str, version: str, wires: tuple[str, ...]
) -> None:
    soname = re.search(rb"libmpi[\w.]*\.so\.\d+", library)
    assert soname
    (found,) = probed(tree(tmp_path, {f"opt/mpi/lib/{soname[0].decode()}": library})).mpis
    assert (found.product, found.version, found.wires) == (product, version, wires)


@pytest.mark.parametrize(
    ("more", "wires", "ucx"),
    [
        ({f"{LIB}/openmpi/lib/openmpi3/mca_pmix_ext3x.so": b"", f"{LIB}/openmpi/lib/openmpi3/mca_pml_ucx.so": b""}, ("pmix",), True),
        ({f"{LIB}/openmpi/mca_pmix_s2.so": b""}, ("pmi2",), False),
        ({f"{LIB}/libopen-pal.so.40": build(needed=["libpmix.so.2", "libucp.so.0"])}, ("pmix",), True),
        ({f"{LIB}/libopen-pal.so.40": build(extra=b"mca_pmix_pmix3x_component\0PMIx 3.2.5\0")}, ("pmix",), False),
        ({"opt/else/lib/openmpi/mca_pml_ucx.so": b""}, (), False),
    ],
)  # fmt: skip
def test_open_mpi_finds_ranks_by_what_lies_beside_it(
    tmp_path: Path, more: Mapping[str, Content], wires: tuple[str, ...], ucx: bool
) -> None:
    (found,) = probed(tree(tmp_path, {f"{LIB}/libmpi.so.40": OPEN_MPI, **more})).mpis
    assert (found.family, found.product, found.version) == ("openmpi", "Open MPI", "4.1.4")
    assert (found.wires, found.ucx) == (wires, ucx)


def test_copies_of_a_library_are_one(tmp_path: Path) -> None:
    names = ("libmpi.so", "libmpi.so.12", "libmpi.so.12.0.0", "libmpi.so.40.1", "libmpi_abi.so")
    found = probed(tree(tmp_path, {**{f"opt/lib/{name}": MPICH for name in names}, "opt/x/libmpi.so": MPICH}))
    assert [each.path for each in found.mpis] == [
        "/opt/lib/libmpi.so.12", "/opt/lib/libmpi.so.40.1", "/opt/lib/libmpi_abi.so", "/opt/x/libmpi.so",
    ]  # fmt: skip


def test_more_mpis_than_anyone_needs_are_told(tmp_path: Path) -> None:
    found = probed(tree(tmp_path, {f"opt/{number:02}/libmpi.so.12": MPICH for number in range(14)}))
    assert len(found.mpis) == 12
    assert found.notes[0] == "/opt/12/libmpi.so.12 is one MPI library too many: it was not looked at"


def test_versions_of_what_lies_below(tmp_path: Path) -> None:
    found = probed(tree(tmp_path, {
        f"{LIB}/libfabric.so.1": build(provides=["FABRIC_1.0", "FABRIC_1.6"]), f"{LIB}/libpmi2.so.0": build(),
        f"{LIB}/pmix2/lib/libpmix.so.2.6.2": build(extra=b"\0002.9.0\0OpenPMIx 4.2.2rc2 (PMIx Standard: 4.2"),
    }))  # fmt: skip
    assert (found.libfabric, found.pmix, found.pmi2) == ("1.6", "4.2.2rc2", True)
    (tmp_path / f"{LIB}/libfabric.so.1").write_bytes(build(extra=b"\0001.17.0\0"))
    assert probed(tmp_path).libfabric == "1.17.0"


# Foreign data.


def test_nothing_outside_of_the_image_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "libmpi.so.12").write_bytes(MPICH)
    (secret / "app").write_bytes(app("libmpi.so.12"))
    root = tree(tmp_path / "image", {
        "opt/app": str(secret / "app"), "opt/up": "../../secret/app", f"{LIB}/libmpi.so.12": str(secret / "libmpi.so.12"),
        "opt/folder": str(secret), "opt/own": app("libmpi.so.12", rpath="/opt/folder:/opt/../../secret"),
    })  # fmt: skip
    for path in ("/opt/app", "/opt/up", "/opt/folder/app", "/../secret/app"):
        assert programmed(root, path).kind == "missing"
    found = probed(root, "/opt/own")
    assert found.mpis == ()
    assert found.program
    assert found.program.rpath == ()
    assert FolderFiles(root).read_many(["/opt/folder/app", "/../../etc/passwd"]) == {}


def test_a_folder_that_becomes_a_link_leads_nowhere(tmp_path: Path) -> None:
    root = tree(tmp_path / "image", {"opt/a/libmpi.so.12": MPICH})
    seen = FolderFiles(root)
    assert seen.has("/opt/a/libmpi.so.12")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/libmpi.so.12").write_bytes(b"secret")
    (root / "opt/a").rename(root / "opt/b")
    (root / "opt/a").symlink_to(tmp_path / "secret")
    assert seen.read_many(["/opt/a/libmpi.so.12"]) == {}


def test_an_image_may_hold_anything(tmp_path: Path) -> None:
    root = tree(tmp_path, {
        "opt/loop": "loop", "opt/1": "2", "opt/2": "1/x", f"{LIB}/libmpi.so.40": b"\x7fELF damaged", "opt/empty": b"",
        "opt/a\nb/libmpi.so.12": MPICH, "opt/a b/libmpi.so.12": MPICH, f"{LIB}/libmpi.so": b"/* GNU ld script */",
        "opt/app": app("libmpi.so.12", "../evil.so", "", rpath="relative:$NONE:"), "usr/bin/link": "/opt/loop",
    })  # fmt: skip
    os.mkfifo(root / LIB / "libmpi.so.12")
    os.mkfifo(root / "opt/pipe")
    with (root / LIB / "libmpich.so.12").open("wb") as huge:
        huge.truncate(1 << 40)
    found = probed(root, "/opt/app")
    assert [each.path for each in found.mpis] == ["/opt/a b/libmpi.so.12"]
    assert found.notes == (
        f"/{LIB}/libmpi.so.40 is no library that can be read", f"/{LIB}/libmpich.so.12 is no library that can be read",
    )  # fmt: skip
    for path in (
        "/opt/loop",
        "/opt/1",
        "/opt/pipe",
        "link",
        "/opt",
        "/",
        "/opt/a\0b",
        "/" + "x/" * 3000,
        "/proc/1/exe",
    ):
        assert programmed(root, path).kind == "missing"


def test_an_unreadable_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, {"opt/x/libmpi.so.12": MPICH})
    scan = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("/opt/x"):
            raise PermissionError(13, "no")
        return scan(path)

    monkeypatch.setattr("os.scandir", refuse)
    assert probed(root).mpis == ()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["libmpi.so.12", "libc.so.6", "app", "liba.so"]),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=20),
)
def test_damaged_files_are_no_reason_to_end(tmp_path: Path, name: str, changes: list[tuple[int, int]]) -> None:
    contents = {
        "libmpi.so.12": MPICH,
        "libc.so.6": GLIBC,
        "app": app("liba.so"),
        "liba.so": build(needed=["libmpi.so.12"]),
    }
    data = bytearray(contents[name])
    for at, value in changes:
        data[at % len(data)] = value
    root = tmp_path / "image"
    if not root.exists():
        tree(root, {})
    for each, content in {**contents, name: bytes(data)}.items():
        (root / LIB / each).write_bytes(content)
    probed(root, f"/{LIB}/app")


# The readers.


class Squash:
    """A runner that is `unsquashfs` of the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, argv: Sequence[str], **_: object) -> Completed:
        self.calls.append(tuple(argv))
        if "-lln" in argv:
            return Completed(tuple(argv), 0, "\n".join(self._listed()) + "\n", "")
        target = Path(argv[argv.index("-d") + 1])
        for name in argv[argv.index("-d") + 5 :]:
            assert not (self.root / name).is_symlink()
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes((self.root / name).read_bytes())
        return Completed(tuple(argv), 0, "", "")

    def _listed(self) -> list[str]:
        lines = []
        for path in sorted(self.root.rglob("*")):
            name = f"/{path.relative_to(self.root)}"
            if path.is_symlink():
                lines.append(f"lrwxrwxrwx 0/0 {7:16} 2026-11-21 07:27 {name} -> {path.readlink()}")
            elif path.is_file():
                lines.append(f"-rw-r--r-- 0/0 {path.stat().st_size:16} 2026-11-21 07:27 {name}")
        return lines


def test_a_squashfs_image_is_seen_as_its_folder_is(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {
        f"{LIB}/libmpi.so.12.2.2": MPICH, f"{LIB}/libmpi.so.12": "libmpi.so.12.2.2", "opt/hello": app("libmpi.so.12"),
        f"{LIB}/-option.so": build(), f"{LIB}/libmpi*.so.12": MPICH,
    })  # fmt: skip
    runner = Squash(root)
    seen = SquashFiles("app.sqfs", 4096, runner)
    found = image.probe(seen, "app.sqfs", program=ProgramName(command=("/opt/hello",)), environment={})
    assert found.program == programmed(root, "/opt/hello")
    assert [each.path for each in found.mpis] == [f"/{LIB}/libmpi.so.12.2.2"]
    assert runner.calls[0][-3:] == ("-o", "4096", str(Path.cwd() / "app.sqfs"))
    assert len(runner.calls) <= 4
    assert not any("*" in word for call in runner.calls for word in call)
    assert seen.read_many(["/gone", f"/{LIB}/libmpi*.so.12"]) == {}


def test_files_that_are_too_large_stay_in_the_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runner = Squash(tree(tmp_path, {f"{LIB}/libmpi.so.12": MPICH}))
    monkeypatch.setattr(files, "MOST", len(MPICH) - 1)
    assert SquashFiles("app.sqfs", 0, runner).read_many([f"/{LIB}/libmpi.so.12"]) == {}


def test_an_image_that_unsquashfs_does_not_read_has_a_note(tmp_path: Path) -> None:
    def runner(argv: Sequence[str], **_: object) -> Completed:
        return Completed(tuple(argv), 1, "", "FATAL ERROR: zstd compression is not supported\n")

    path = tmp_path / "a.sqfs"
    path.write_bytes(b"hsqs".ljust(96, b"\0"))
    with open_files(str(path), runner) as seen:
        found = image.probe(seen, "a.sqfs", program=ProgramName(command=("app",)), environment={})
    assert "zstd compression is not supported" in found.notes[0]
    # Whether the program is there is not known either.
    assert (found.arch, found.mpis, found.program) == ("", (), None)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(NotFoundError), open_files("/nowhere/app.sif", process.run):
        pass
    with pytest.raises(PlanError), open_files("docker://alpine", process.run):
        pass


def test_a_runtime_is_asked_for_what_only_it_has(tmp_path: Path) -> None:
    root = tree(
        tmp_path, {f"{LIB}/libmpi.so.12": MPICH, "opt/hello": app("libmpi.so.12"), "usr/bin/hello": "../../opt/hello"}
    )

    def runner(argv: Sequence[str], *, timeout: float, **_: object) -> Completed:
        assert tuple(argv[:2]) == ("podman", "run")
        script, args = argv[4], argv[6:]
        if not args:
            listed = FolderFiles(root)
            links = [
                f"lrwxrwxrwx 1 root root 7 Nov 21 07:27 {path} -> {target}" for path, target in listed.links.items()
            ]
            return Completed(tuple(argv), 0, "\n".join([*listed.names, *links, "# done", ""]), "")
        paths = (f"{root}{path}" for path in args[1:])
        return process.run(("sh", "-c", script, "sh", args[0], *paths), timeout=timeout)

    seen = RuntimeFiles(("podman", "run"), runner)
    found = image.probe(seen, "app", program=ProgramName(command=("hello",)), environment={})
    assert found.program == programmed(root, "hello")
    assert found.mpis == probed(root).mpis


def test_an_image_without_a_shell_cannot_be_asked() -> None:
    def runner(argv: Sequence[str], **_: object) -> Completed:
        return Completed(tuple(argv), 127, "", "Error: crun: executable file `sh` not found in $PATH\n")

    with pytest.raises(PlanError, match="`sh` not found") as caught:
        RuntimeFiles(("podman", "run", "app"), runner)
    assert "podman run app sh -c true" in caught.value.hint


@pytest.mark.parametrize("tools", [("base64",), ("od",), ("base64-less", "od"), ("hexdump",), ()])
def test_the_shell_takes_what_the_image_has(tmp_path: Path, tools: tuple[str, ...]) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "wc", *(tool for tool in tools if "-" not in tool)):
        # A busybox of that name is the same tool.
        if found := shutil.which(name) or shutil.which("busybox"):
            (folder / name).symlink_to(found)
    if "base64-less" in tools:
        (folder / "base64").write_text("#!/bin/sh\nexit 127\n")
        (folder / "base64").chmod(0o755)
    data = bytes(range(256)) * 3
    (tmp_path / "libmpi.so.12").write_bytes(data)

    def runner(argv: Sequence[str], *, timeout: float, **_: object) -> Completed:
        if len(argv) < 7:
            return Completed(tuple(argv), 0, f"{tmp_path}/libmpi.so.12\n# done\n", "")
        return process.run((str(folder / "sh"), *argv[3:]), timeout=timeout, env={"PATH": str(folder)})

    seen = RuntimeFiles(("podman", "run"), runner)
    wanted = f"{tmp_path}/libmpi.so.12"
    if tools:
        assert seen.read_many([wanted, "/gone"]) == {wanted: data}
    else:
        with pytest.raises(PlanError, match="no base64"):
            seen.read_many([wanted])


def test_what_od_printed_is_read_too() -> None:
    assert files._decoded("x\n 7f 45 4c\n 46\n") == b"\x7fELF"
    assert files._decoded("x\n 7f 4") is None


def test_a_configuration_that_includes_itself_ends(tmp_path: Path) -> None:
    root = tree(tmp_path, {"etc/ld.so.conf": b"include /etc/ld.so.conf\n/opt/x\n"})
    assert "/opt/x" in linking.system(linking.View(FolderFiles(root)), "x86_64", musl=False, library_path="").folders
