"""Real images are probed, and the answers compared with what the loader in the image says, and with its MPI."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from hpcjobs.mpi import facts
from hpcjobs.mpi.facts import ImageMpi, MpiImage
from hpcjobs.mpi.files import Files, RuntimeFiles, open_files
from hpcjobs.mpi.image import probe
from hpcjobs.mpi.program import ProgramName
from hpcjobs.process import run
from tests.integration import images as made_images
from tests.integration.images import CLUSTER, run_image, tool

pytestmark = pytest.mark.integration
made = made_images.made
IMAGES = Path("/var/tmp/hpcjobs-mpi-images")
DEBIAN = "/usr/lib/x86_64-linux-gnu"
# libc, MPI, PMI, UCX below, its version; PMIx
KNOWN = {
    "trixie-mpich": ("2.41", "MPICH", "4.2.1", ("pmi1", "pmi2"), True, ""),
    "trixie-openmpi": ("2.41", "Open MPI", "5.0.7", ("pmix",), True, "5.0.7"),
    "bookworm-mpich": ("2.36", "MPICH", "4.0.2", ("pmi1",), True, ""),
    "bookworm-openmpi": ("2.36", "Open MPI", "4.1.4", ("pmix",), True, "4.2.2"),
    "bullseye-mpich": ("2.31", "MPICH", "3.4.1", ("pmi1",), False, ""),
    "bullseye-openmpi": ("2.31", "Open MPI", "4.1.0", ("pmix",), True, "4.0.0"),
}


@pytest.fixture(scope="session")
def images() -> Path:
    """What tests/cluster/mpi-images makes; kept between sessions."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("real MPI images are NOT TESTED: making them needs root (see tests/cluster/README.md)")
    tool(CLUSTER / "mpi-images", IMAGES)
    return IMAGES


def probed(image: Path, *command: str) -> MpiImage:
    with open_files(str(image), run) as files:
        return asked(files, image, *command)


def asked(files: Files, image: Path, *command: str) -> MpiImage:
    return probe(files, str(image), program=ProgramName(command=command), environment={})


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_what_a_distribution_has(images: Path, name: str) -> None:
    libc, product, version, wires, ucx, pmix = KNOWN[name]
    found = probed(images / f"{name}.sif", "/opt/mpihello")
    assert (found.arch, found.libc, found.libc_version, found.notes) == ("x86_64", "glibc", libc, ())
    (mpi,) = found.mpis
    assert isinstance(mpi, ImageMpi)
    assert (mpi.product, mpi.version, mpi.wires, mpi.ucx) == (product, version, wires, ucx)
    assert found.pmix.startswith(pmix)
    assert bool(found.pmix) == bool(pmix)
    assert found.mpirun in ("/usr/bin/mpirun", "/usr/bin/mpiexec")
    assert found.program
    assert found.program.needed == (mpi.soname,)
    assert {"MPI_Init", "MPI_Comm_size"} <= set(found.program.symbols)
    # The folder and the file have the same.
    folder = probed(images / name, "/opt/mpihello")
    assert (folder.mpis, folder.program, folder.provides) == (found.mpis, found.program, found.provides)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_loader_in_the_image_finds_the_same(images: Path, name: str) -> None:
    listed = run_image(images / name, "/lib64/ld-linux-x86-64.so.2", "--list", "/opt/mpihello")
    loaded = {soname: path for soname, path in re.findall(r"(\S+) => (\S+)", listed) if facts.interface(soname)}
    found = probed(images / name, "/opt/mpihello")
    assert found.program
    assert set(found.program.needed) == set(loaded)
    assert {mpi.path for mpi in found.mpis if mpi.soname in loaded} == {
        f"/{Path(os.path.realpath(f'{images / name}{path}')).relative_to(images / name)}" for path in loaded.values()
    }


@pytest.mark.parametrize("name", ["trixie-mpich", "trixie-openmpi"])
def test_dt_rpath_is_a_trap(images: Path, name: str) -> None:
    found = probed(images / f"{name}.sif", "/opt/mpihello-rpath").program
    assert found
    assert found.rpath == (DEBIAN,)


def test_fortran_links_by_another_library(images: Path) -> None:
    found = probed(images / "bookworm-mpich.sif", "/opt/fhello")
    assert found.program
    assert (found.program.needed, found.program.family) == (("libmpichfort.so.12",), "mpich")
    assert "mpi_init_" in found.program.symbols
    assert found.provides["GFORTRAN"]


def test_the_standard_abi_needs_no_mpi_in_the_image(images: Path) -> None:
    found = probed(images / "abi.sif", "/opt/mpihello")
    assert found.program
    assert (found.mpis, found.program.needed, found.program.family) == ((), ("libmpi_abi.so.1",), "abi")


def test_a_static_mpi_is_seen_stripped_too(images: Path, tmp_path: Path) -> None:
    found = probed(images / "static.sif", "/opt/mpihello").program
    assert found
    assert (found.static, found.family, found.needed) == (True, "mpich", ())
    shutil.copy(images / "static/opt/mpihello", tmp_path / "app")
    tool("strip", tmp_path / "app")
    with open_files(str(images / "nompi"), run) as files:
        name = ProgramName(command=("./app",), cwd=str(tmp_path))
        stripped = probe(files, "nompi", program=name, environment={}).program
    assert stripped
    assert (stripped.where, stripped.static, stripped.family) == ("host", True, "mpich")


def test_images_without_mpi(images: Path) -> None:
    for name, libc in (("nompi", "glibc"), ("musl", "musl")):
        found = probed(images / f"{name}.sif", "/opt/hello")
        assert found.program
        assert (found.libc, found.mpis, found.program.kind, found.program.needed) == (libc, (), "program", ())
        assert not found.program.static


@pytest.mark.parametrize("name", ["trixie-openmpi", "bullseye-mpich", "musl"])
def test_a_runtime_shows_the_same(images: Path, name: str) -> None:
    program = "/opt/hello" if name == "musl" else "/opt/mpihello"
    # Root may lack capabilities in a VM or container; in a user namespace it needs none.
    prefix = ("apptainer", "--silent", "exec", "--userns", f"{images / name}.sif")
    found, own = asked(RuntimeFiles(prefix, run), images, program), probed(images / f"{name}.sif", program)
    assert (found.libc, found.libc_version, found.mpis) == (own.libc, own.libc_version, own.mpis)
    assert (found.program, found.mpirun) == (own.program, own.mpirun)


def test_a_probe_is_quick(images: Path) -> None:
    begin = time.monotonic()
    probed(images / "bookworm-openmpi.sif", "/opt/mpihello")
    assert time.monotonic() - begin < 1.5


def test_encrypted_images_are_not_seen_into(made: Path) -> None:
    found = probed(made / "encrypted-pem.sif", "/opt/mpihello")
    assert (found.mpis, found.program, found.libc) == ((), None, "")
    assert "gocryptfs" in found.notes[0]


def test_a_squashfs_image(made: Path) -> None:
    found = probed(made / "app.sqfs", "/opt/mpihello").program
    assert found
    assert (found.needed, found.family) == (("libmpich.so.12",), "mpich")
