"""mpi, and the options of submit that are about MPI."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from hpcjobs.cli import schemas
from hpcjobs.mpi import fabric
from hpcjobs.mpi.closure import library
from hpcjobs.mpi.facts import HostLauncher, HostMpi, Interface, Library, MpiHost
from hpcjobs.mpi.tree import Tree
from hpcjobs.service import Service
from hpcjobs.site import mpilock
from tests import mpi_facts
from tests.cli.conftest import SITE
from tests.cli.test_image import RUNTIMES, answer, install
from tests.mpi_elf import build
from tests.unit.test_mpi_image import INTERP, LIB, MPICH, OPEN_MPI, app, tree

if TYPE_CHECKING:
    from tests.cli.session import Session

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the images made here are for x86_64")
LAUNCHERS = "launchers: [{kind: mpiexec}]\n"
SRUN = mpi_facts.srun("none", "pmi2")
HOST = mpi_facts.host(
    mpi_facts.DEBIAN, mpi_facts.INTEL_MPI,
    launchers=(SRUN, HostLauncher(kind="mpiexec", command="/usr/bin/mpiexec", flavour="hydra", version="4.0.2", mpi="mpich-4.0.2")),
    fabric="verbs", devices=("/dev/infiniband/uverbs0",),
    notes=("libucx.so.0 is not found, which plug-in /opt/x.so needs",),
)  # fmt: skip


class Machine:
    """The host, and how often it was looked at."""

    def __init__(self) -> None:
        self.host = HOST
        self.asked: list[dict[str, Any]] = []

    def probe(self, _: object, **asked: Any) -> MpiHost:
        self.asked.append(asked)
        return self.host


@pytest.fixture(autouse=True)
def machine(session: Session, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A site with Apptainer, a host with MPIs, and images."""
    (session.home / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE + RUNTIMES + LAUNCHERS)
    (session.home / "bin").mkdir()
    monkeypatch.setenv("PATH", str(session.home / "bin"))
    install(session, "apptainer")
    answer(session, monkeypatch)
    made = Machine()
    monkeypatch.setattr("hpcjobs.mpi.host.probe", made.probe)
    # Or each new canary would change the names of folders.
    monkeypatch.setattr("hpcjobs.mpi.wiring.key", lambda _: "3fa85f6457174562")
    return made


@pytest.fixture
def mpich(session: Session) -> Path:
    """An image with MPICH and a program."""
    return tree(session.home / "work/mpich", {
        f"{LIB}/libmpi.so.12.2.2": MPICH, f"{LIB}/libmpi.so.12": "libmpi.so.12.2.2", "opt/solve": app("libmpi.so.12", undefined=["MPI_Init"]),
        "usr/bin/mpiexec.hydra": build(interp=INTERP), "opt/plain": app(undefined=[]), "opt/run.sh": b"#!/bin/sh\n",
        "opt/rpath": app("libmpi.so.12", undefined=["MPI_Init"], rpath=f"/{LIB}"),
    })  # fmt: skip


@pytest.fixture
def openmpi(session: Session) -> Path:
    """An image with Open MPI, that speaks PMIx, and a program."""
    pal = build(soname="libopen-pal.so.40", extra=b"\0mca_pmix_pmix3x_component\0")
    return tree(session.home / "work/ompi", {
        f"{LIB}/libmpi.so.40": OPEN_MPI, f"{LIB}/libopen-pal.so.40": pal,
        "opt/solve": app("libmpi.so.40", undefined=["MPI_Init", "ompi_mpi_comm_world"]),
    })  # fmt: skip


# -------------------------------------------------------------------------------------- mpi host


def test_host(session: Session) -> None:
    session.check(r"""
$ hpcjob mpi host
out| node          n1: x86_64, glibc 2.36
out| network       verbs (/dev/infiniband/uverbs0)
out|
out| mpi           mpich-4.0.2: MPICH 4.0.2
out| libraries     libmpich.so.12, libmpichfort.so.12
out| speaks        pmi1
out| needs         8 files, glibc 2.34
out|
out| mpi           intel-mpi-2021.19: Intel MPI 2021.19
out| modules       intel-mpi/2021.19
out| prefix        /opt/intel/mpi/2021.19
out| libraries     libmpi.so.12, libmpifort.so.12, libmpi_abi.so.1
out| speaks        pmi1 pmi2
out| needs         4 files, glibc 2.14
out| folders       /opt/intel/mpi/2021.19
out|
out| launcher      srun /usr/bin/srun (slurm 22.05.8): none pmi2
out| launcher      mpiexec /usr/bin/mpiexec (hydra 4.0.2 of mpich-4.0.2)
out| note          libucx.so.0 is not found, which plug-in /opt/x.so needs
err| hint: to plan by it: hpcjob mpi host -o ~/work/.hpcjobs/sites/cluster.mpi.lock.yaml
""")


def test_a_host_without_mpi(session: Session, machine: Machine) -> None:
    machine.host = replace(HOST, mpis=(), launchers=(), fabric="none", devices=(), notes=(), libraries=())
    session.check(r"""
$ hpcjob mpi host
out| node          n1: x86_64, glibc 2.36
out| network       none
out| mpi           none was found
err| hint: to plan by it: hpcjob mpi host -o ~/work/.hpcjobs/sites/cluster.mpi.lock.yaml
""")


def test_host_asks_with_modules(session: Session, machine: Machine) -> None:
    session.run("hpcjob mpi host --module intel-mpi --module ucx")
    assert machine.asked[0]["modules"] == ("intel-mpi", "ucx")


def test_the_lock_file_is_written(session: Session, machine: Machine) -> None:
    session.check(r"""
$ hpcjob mpi host -o locks/here.yaml
out| node          n1: x86_64, glibc 2.36
out| network       verbs (/dev/infiniband/uverbs0)
out|
out| mpi           mpich-4.0.2: MPICH 4.0.2
out| libraries     libmpich.so.12, libmpichfort.so.12
out| speaks        pmi1
out| needs         8 files, glibc 2.34
out|
out| mpi           intel-mpi-2021.19: Intel MPI 2021.19
out| modules       intel-mpi/2021.19
out| prefix        /opt/intel/mpi/2021.19
out| libraries     libmpi.so.12, libmpifort.so.12, libmpi_abi.so.1
out| speaks        pmi1 pmi2
out| needs         4 files, glibc 2.14
out| folders       /opt/intel/mpi/2021.19
out|
out| launcher      srun /usr/bin/srun (slurm 22.05.8): none pmi2
out| launcher      mpiexec /usr/bin/mpiexec (hydra 4.0.2 of mpich-4.0.2)
out| note          libucx.so.0 is not found, which plug-in /opt/x.so needs
err| wrote locks/here.yaml
$ hpcjob mpi host --json -o locks/other.yaml
out| {"version": 1, "host": {"made": "2026-11-21T12:00:00Z", "node": "n1", "arch": "x86_64", "glibc": "2.36", "fabric": "verbs", "devices": ["/dev/infiniband/uverbs0"], "launchers": [{"kind": "srun", "command": "/usr/bin/srun", "flavour": "slurm", "version": "22.05.8", "types": ["none", "pmi2"], "default": "", "mpi": ""}, {"kind": "mpiexec", "command": "/usr/bin/mpiexec", "flavour": "hydra", "version": "4.0.2", "types": [], "default": "", "mpi": "mpich-4.0.2"}], "mpis": [{"name": "mpich-4.0.2", "family": "mpich", "product": "MPICH", "version": "4.0.2", "prefix": "", "modules": [], "found": [], "interfaces": [{"role": "c", "soname": "libmpich.so.12", "path": "/usr/lib/x86_64-linux-gnu/libmpich.so.12.2.2", "family": "mpich"}, {"role": "fortran", "soname": "libmpichfort.so.12", "path": "/usr/lib/x86_64-linux-gnu/libmpichfort.so.12.2.2", "family": "mpich"}], "exports": ["MPI_Allreduce", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Finalize", "MPI_Init", "MPI_Send", "mpi_init_", "mpi_send_"], "abi_exports": [], "libraries": ["/usr/lib/x86_64-linux-gnu/libmpich.so.12.2.2", "/usr/lib/x86_64-linux-gnu/libmpichfort.so.12.2.2", "/usr/lib/x86_64-linux-gnu/libucp.so.0.0.0", "/usr/lib/x86_64-linux-gnu/libfabric.so.1.17.3", "/usr/lib/x86_64-linux-gnu/libhwloc.so.15.6.0", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1"], "optional": [], "folders": [], "env": {}, "gpu_libraries": {}, "wires": ["pmi1"]}, {"name": "intel-mpi-2021.19", "family": "mpich", "product": "Intel MPI", "version": "2021.19", "prefix": "/opt/intel/mpi/2021.19", "modules": ["intel-mpi/2021.19"], "found": [], "interfaces": [{"role": "c", "soname": "libmpi.so.12", "path": "/opt/intel/mpi/2021.19/lib/libmpi.so.12.0.0", "family": "mpich"}, {"role": "fortran", "soname": "libmpifort.so.12", "path": "/opt/intel/mpi/2021.19/lib/libmpifort.so.12", "family": "mpich"}, {"role": "c", "soname": "libmpi_abi.so.1", "path": "/opt/intel/mpi/2021.19/lib/libmpi_abi.so.1", "family": "abi"}], "exports": ["MPI_Allreduce", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Finalize", "MPI_Init", "MPI_Send", "mpi_init_", "mpi_send_"], "abi_exports": ["MPI_Allreduce", "MPI_Comm_rank", "MPI_Comm_size", "MPI_Finalize", "MPI_Init", "MPI_Send"], "libraries": ["/opt/intel/mpi/2021.19/lib/libmpi.so.12.0.0", "/opt/intel/mpi/2021.19/lib/libmpi_abi.so.1", "/opt/intel/mpi/2021.19/lib/libmpifort.so.12", "/opt/intel/mpi/2021.19/opt/mpi/libfabric/lib/libfabric.so.1"], "optional": [], "folders": [{"path": "/opt/intel/mpi/2021.19", "variables": ["I_MPI_ROOT"], "same_place": false, "needs": {}, "digest": ""}], "env": {}, "gpu_libraries": {}, "wires": ["pmi1", "pmi2"]}], "libraries": [{"name": "libmpich.so.12", "path": "/usr/lib/x86_64-linux-gnu/libmpich.so.12.2.2", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libmpichfort.so.12", "path": "/usr/lib/x86_64-linux-gnu/libmpichfort.so.12.2.2", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libucp.so.0", "path": "/usr/lib/x86_64-linux-gnu/libucp.so.0.0.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libfabric.so.1", "path": "/usr/lib/x86_64-linux-gnu/libfabric.so.1.17.3", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libhwloc.so.15", "path": "/usr/lib/x86_64-linux-gnu/libhwloc.so.15.6.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libcrypto.so.3", "path": "/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libstdc++.so.6", "path": "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34", "GCC": "3.3"}}, {"name": "libgcc_s.so.1", "path": "/usr/lib/x86_64-linux-gnu/libgcc_s.so.1", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libmpi.so.12", "path": "/opt/mpich-5.0.1/lib/libmpi.so.12", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}, {"name": "libmpi_abi.so.0", "path": "/opt/mpich-5.0.1/lib/libmpi_abi.so.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}, {"name": "libfabric.so.1", "path": "/opt/mpich-5.0.1/lib/mpich/libfabric.so.1", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}, {"name": "libucp.so.0", "path": "/opt/mpich-5.0.1/lib/mpich/libucp.so.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}, {"name": "libmpi.so.12", "path": "/opt/intel/mpi/2021.19/lib/libmpi.so.12.0.0", "size": 1000, "build_id": "", "build_at": 624, "sha256": "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e", "needs": {"GLIBC": "2.14"}}, {"name": "libmpi_abi.so.1", "path": "/opt/intel/mpi/2021.19/lib/libmpi_abi.so.1", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.14"}}, {"name": "libmpifort.so.12", "path": "/opt/intel/mpi/2021.19/lib/libmpifort.so.12", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.14"}}, {"name": "libfabric.so.1", "path": "/opt/intel/mpi/2021.19/opt/mpi/libfabric/lib/libfabric.so.1", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.14"}}, {"name": "libmpi_gnu_123.so.12", "path": "/opt/cray/pe/mpich/8.1.27/ofi/gnu/12.3/lib/libmpi_gnu_123.so.12.0.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}, {"name": "libpmi.so.0", "path": "/opt/cray/pe/lib64/libpmi.so.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.4"}}, {"name": "libpals.so.0", "path": "/opt/cray/pe/lib64/libpals.so.0", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.4"}}, {"name": "libfabric.so.1", "path": "/opt/cray/libfabric/1.20/lib64/libfabric.so.1", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.15"}}, {"name": "libcxi.so.1", "path": "/usr/lib64/libcxi.so.1", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.14"}}, {"name": "libmpi.so.40", "path": "/usr/lib/x86_64-linux-gnu/libmpi.so.40.30.4", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libopen-pal.so.40", "path": "/usr/lib/x86_64-linux-gnu/libopen-pal.so.40.30.3", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.34"}}, {"name": "libmpi.so.40", "path": "/opt/openmpi-5.0.11/lib/libmpi.so.40", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}, {"name": "libopen-pal.so.80", "path": "/opt/openmpi-5.0.11/lib/libopen-pal.so.80", "size": 1000, "build_id": "8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a8a", "build_at": 624, "sha256": "", "needs": {"GLIBC": "2.17"}}], "data": [], "notes": ["libucx.so.0 is not found, which plug-in /opt/x.so needs"]}}
err| wrote locks/other.yaml
$ hpcjob mpi host -o locks
err| error: locks cannot be written: Is a directory
err|
err| hint: choose another: -o FILE
exit 7
""")
    file = session.home / "work/locks/here.yaml"
    assert mpilock.load(file.read_text(), "here") == HOST
    assert sorted(each.name for each in file.parent.iterdir()) == ["here.yaml", "other.yaml"]


def test_the_lock_file_on_stdout(session: Session, machine: Machine) -> None:
    machine.host = replace(HOST, mpis=(), launchers=(), libraries=(), notes=())
    session.check(r"""
$ hpcjob mpi host -o -
out| # The MPIs of n1 as `hpcjob mpi host` found them on 2026-11-21T12:00:00Z: which libraries they are and
out| # what they need, with build-ids, so that a job ends with words where a node has others. `mpi_init*` of the exports
out| # stands for the four names that compilers give a procedure of Fortran.
out| # Not to be edited. `hpcjob mpi host --check` says what has changed since; `hpcjob mpi host -o FILE` writes it anew.
out| format: 1
out| made: '2026-11-21T12:00:00Z'
out| node: n1
out| arch: x86_64
out| glibc: '2.36'
out| fabric: verbs
out| devices: [/dev/infiniband/uverbs0]
""")


def lock(session: Session, host: MpiHost, name: str = "cluster.mpi.lock.yaml") -> Path:
    file = session.home / "work/.hpcjobs/sites" / name
    file.write_text(mpilock.dump(host))
    return file


def here(session: Session) -> MpiHost:
    """A host like this machine, with an MPI in the home."""
    file = session.home / "m/lib/libmpi.so.12"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(build(soname="libmpi.so.12", exports=["MPI_Init"], build_id="8a" * 20))
    found = library(Tree(Path("/")), str(file))
    assert isinstance(found, Library)
    mpi = HostMpi(
        name="mpich-4.3", family="mpich", product="MPICH", version="4.3", libraries=(str(file),),
        interfaces=(Interface(role="c", soname="libmpi.so.12", path=str(file), family="mpich"),),
    )  # fmt: skip
    return MpiHost(
        made="2026-11-21T12:00:00Z", node="n1", arch=os.uname().machine, glibc="", mpis=(mpi,), libraries=(found,),
        fabric=fabric.fabric(Tree(Path("/"))),
    )  # fmt: skip


def test_check_without_a_lock_file(session: Session) -> None:
    session.check(r"""
$ hpcjob mpi host --check
err| error: there is no lock file /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml
err|
err| hint: hpcjob mpi host -o ~/work/.hpcjobs/sites/cluster.mpi.lock.yaml
exit 6
""")


def test_check_with_nothing_changed(session: Session) -> None:
    lock(session, here(session))
    session.check(r"""
$ hpcjob mpi host --check
err| no changes since 2026-11-21T12:00:00Z
$ hpcjob mpi host --check --json
out| {"version": 1, "lock": "/home/work/.hpcjobs/sites/cluster.mpi.lock.yaml", "changes": []}
""")


def test_check_after_an_update(session: Session) -> None:
    lock(session, replace(here(session), glibc="2.1"), "cluster.mpi.lock.yaml")
    (session.home / "m/lib/libmpi.so.12").write_bytes(build(soname="libmpi.so.12", build_id="8b" * 20))
    text = session.run("hpcjob mpi host --check")
    # The glibc is that of the machine that runs the test.
    lock(session, here(session))
    (session.home / "m/lib/libmpi.so.12").write_bytes(build(soname="libmpi.so.12", build_id="8b" * 20))
    assert "out| glibc: glibc is newer: " in text
    assert "err| 2 changes since 2026-11-21T12:00:00Z\n" in text
    session.check(r"""
$ hpcjob mpi host --check
out| /home/m/lib/libmpi.so.12: /home/m/lib/libmpi.so.12 is another build
err| 1 change since 2026-11-21T12:00:00Z
err| hint: hpcjob mpi host -o ~/work/.hpcjobs/sites/cluster.mpi.lock.yaml
exit 1
$ hpcjob mpi host --check --json
out| {"version": 1, "lock": "/home/work/.hpcjobs/sites/cluster.mpi.lock.yaml", "changes": [{"what": "/home/m/lib/libmpi.so.12", "text": "/home/m/lib/libmpi.so.12 is another build", "mpis": ["mpich-4.3"]}]}
exit 1
""")


def test_check_with_a_lock_file_that_is_named_or_damaged(session: Session) -> None:
    site = session.home / "work/.hpcjobs/sites/cluster.yaml"
    text = site.read_text()
    site.write_text(text + "mpi: {lock: ours.yaml}\n")
    session.check(r"""
$ hpcjob mpi host --check
err| error: there is no lock file /home/work/.hpcjobs/sites/ours.yaml, which site cluster names
err|
err| hint: hpcjob mpi host -o /home/work/.hpcjobs/sites/ours.yaml
exit 3
$ hpcjob submit -n 2 --image mpich -- /opt/solve
err| error: there is no image /home/work/mpich
err|
err| hint: in /home/work: there is .hpcjobs
exit 6
""")


def test_damaged_lock_files(session: Session, mpich: Path) -> None:
    lock(session, HOST).write_text("format: 1\nmpis: 3\n")
    session.check(r"""
$ hpcjob mpi host --check
err| error: /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml: the lock file is damaged: 'int' object is not iterable
err|
err| hint: hpcjob mpi host -o /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml writes it anew
exit 3
$ hpcjob submit -n 2 --image mpich -- /opt/solve
err| error: /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml: the lock file is damaged: 'int' object is not iterable
err|
err| hint: hpcjob mpi host -o /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml writes it anew
exit 3
$ hpcjob mpi plan -n 2 --image mpich -- /opt/solve
err| error: /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml: the lock file is damaged: 'int' object is not iterable
err|
err| hint: hpcjob mpi host -o /home/work/.hpcjobs/sites/cluster.mpi.lock.yaml writes it anew
exit 3
""")


def test_a_host_is_looked_at_by_a_job(session: Session) -> None:
    session.check(r"""
$ hpcjob mpi host --on-node -p debug -t 5 --module mpich
out| j1
err| j1 writes ~/work/.hpcjobs/sites/cluster.mpi.lock.yaml; wait for it: hpcjob wait j1
""")
    (record,) = Service().history()
    assert record.command == (
        sys.executable, "-m", "hpcjobs", "mpi", "host", "-o",
        str(session.home / "work/.hpcjobs/sites/cluster.mpi.lock.yaml"), "--site", "cluster", "--module", "mpich",
    )  # fmt: skip
    assert (record.partition, record.nodes, record.ntasks, record.time_limit) == ("debug", 1, 1, 300)


def test_what_the_job_writes_is_where_the_site_is(session: Session) -> None:
    (session.home / "work/mine.yaml").write_text(SITE)
    for line in ("-o a.yaml", "--site-file mine.yaml"):
        session.run(f"hpcjob mpi host --on-node {line}")
    commands = [record.command[5:] for record in reversed(Service().history())]
    work = session.home / "work"
    assert sorted(commands) == sorted([
        ("-o", str(work / "a.yaml"), "--site", "cluster"),
        ("-o", str(work / "mine.mpi.lock.yaml"), "--site-file", str(work / "mine.yaml")),
    ])  # fmt: skip


def test_mistakes_with_host(session: Session) -> None:
    session.check(r"""
$ hpcjob mpi host --on-node -o -
err| error: -o - is this terminal, which a job has not
err|
err| hint: give a file: -o FILE
exit 2
$ hpcjob mpi host -p debug
err| error: -p is about a job, and this machine is looked at
err|
err| hint: add --on-node
exit 2
$ hpcjob mpi host --check --on-node
err| error: --on-node is about a new lock file, and --check writes none
err|
err| hint: leave out --on-node
exit 2
$ hpcjob mpi host --check -o lock.yaml
err| error: -o is about a new lock file, and --check writes none
err|
err| hint: leave out -o
exit 2
$ hpcjob mpi host -o - --json
out| {"version": 1, "error": {"message": "-o - and --json both print to the terminal", "hint": "leave out one, or give a file: -o FILE", "code": 2}}
exit 2
$ hpcjob mpi host --site clutser
err| error: there is no site 'clutser'
err|
err| hint: did you mean cluster? (see them with: hpcjob site list)
exit 6
""")


# ------------------------------------------------------------------------------------- mpi image


def test_image(session: Session, mpich: Path, openmpi: Path) -> None:
    session.check(r"""
$ hpcjob mpi image mpich -- /opt/solve
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
out| program       /opt/solve (in the image)
out| links to      libmpi.so.12
out| family        mpich
out| uses          1 of MPI's functions and constants
$ hpcjob mpi image ompi -- /opt/solve
out| image         ~/work/ompi
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           Open MPI 4.1.4 (libmpi.so.40, /usr/lib/x86_64-linux-gnu/libmpi.so.40, speaks pmix)
out| program       /opt/solve (in the image)
out| links to      libmpi.so.40
out| family        openmpi
out| uses          2 of MPI's functions and constants
$ hpcjob mpi image mpich
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
""")


def test_programs_of_an_image(session: Session, mpich: Path) -> None:
    (session.home / "work/mine").write_bytes(app("libmpi.so.12"))
    session.check(r"""
$ hpcjob mpi image mpich -- /opt/rpath
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
out| program       /opt/rpath (in the image)
out| links to      libmpi.so.12
out| family        mpich
out| uses          1 of MPI's functions and constants
out| rpath         /usr/lib/x86_64-linux-gnu (DT_RPATH: no LD_LIBRARY_PATH beats it)
$ hpcjob mpi image mpich -- /opt/plain
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
out| program       /opt/plain (in the image)
out| links to      no MPI
$ hpcjob mpi image mpich -- /opt/run.sh
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
out| program       /opt/run.sh (a script: what it runs is not known)
$ hpcjob mpi image mpich -- ./mine
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
out| program       /home/work/mine (on the host)
out| links to      libmpi.so.12
out| family        mpich
out| uses          2 of MPI's functions and constants
$ hpcjob mpi image mpich -- /opt/nothing
out| image         ~/work/mpich
out| cpu           x86_64
out| libc          glibc 2.36
out| newest        GLIBC 2.36
out| mpi           MPICH 4.0.2 (libmpi.so.12, /usr/lib/x86_64-linux-gnu/libmpi.so.12.2.2, speaks pmi1)
out| mpirun        /usr/bin/mpiexec.hydra
out| program       /opt/nothing (not found)
""")


def test_mistakes_with_image(session: Session, mpich: Path) -> None:
    session.check(r"""
$ hpcjob mpi image mpihc
err| error: there is no image /home/work/mpihc
err|
err| hint: in /home/work: did you mean mpich?
exit 6
$ hpcjob mpi image docker://alpine:3.20
err| error: no runtime of site cluster keeps images by name
err|
err| hint: hpcjob image pull docker://alpine:3.20; then look at its file
exit 3
$ hpcjob mpi image --runtime podman docker://alpine:3.20
err| error: site cluster has no runtime podman that keeps images by name
err|
err| hint: hpcjob image pull docker://alpine:3.20; then look at its file
exit 3
$ hpcjob mpi image --runtime podman mpich
err| error: --runtime is for images by name, and this is a file
err|
err| hint: leave out --runtime
exit 2
$ hpcjob mpi image .hpcjobs/sites/cluster.yaml
err| error: /home/work/.hpcjobs/sites/cluster.yaml is not a container image: its first bytes are of no known kind
err|
err| hint: images are .sif files, squashfs files, and directories
exit 3
$ hpcjob mpi image
err| error: missing argument 'IMAGE'
err|
err| hint: hpcjob mpi image --help says what there is
exit 2
""")


# -------------------------------------------------------------------------------------- mpi plan


def test_plan_to_bind(session: Session, mpich: Path) -> None:
    session.check(r"""
$ hpcjob mpi plan -N 2 --ntasks-per-node 2 --image mpich -- /opt/solve
out| site          cluster
out| mode          bind (srun --mpi=pmi2)
out| why           MPICH 4.0.2 of the host takes the place of the image's MPICH 4.0.2: it has all 1 function that the program uses and the image's glibc suffices
out| not hybrid    it would work too: MPICH 4.0.2 of the image and srun both speak pmi2
out| not container a launcher in the image reaches one node, not 2
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| bind          /usr/lib/x86_64-linux-gnu at /hpcjob/host/usr/lib/x86_64-linux-gnu
out| set           LD_LIBRARY_PATH=/hpcjob/mpi/front:/hpcjob/mpi/tail
out| links         libfabric.so.1, libhwloc.so.15, libmpi.so.12, libmpich.so.12, libmpichfort.so.12, libmpifort.so.12, libucp.so.0
out| on nodes      8 files and folders of the host are looked at before the job starts
out| check         each time, before the program: that all ranks find each other, on all nodes, that they run MPICH 4.0.2
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
$ hpcjob mpi plan -n 2 --image mpich --mpi-check never -- /opt/rpath
out| site          cluster
out| mode          bind (srun --mpi=pmi2)
out| why           MPICH 4.0.2 of the host takes the place of the image's MPICH 4.0.2: it has all 1 function that the program uses and the image's glibc suffices
out| not hybrid    it would work too: MPICH 4.0.2 of the image and srun both speak pmi2
out| not container it is taken only if asked for
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| bind          /usr/lib/x86_64-linux-gnu at /hpcjob/host/usr/lib/x86_64-linux-gnu
out| set           LD_LIBRARY_PATH=/hpcjob/mpi/front:/hpcjob/mpi/tail
out| set           LD_PRELOAD=/hpcjob/mpi/front/libmpi.so.12
out| links         libfabric.so.1, libhwloc.so.15, libmpi.so.12, libmpich.so.12, libmpichfort.so.12, libmpifort.so.12, libucp.so.0
out| on nodes      8 files and folders of the host are looked at before the job starts
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
""")


def test_plan_for_the_image_s_own(session: Session, mpich: Path, machine: Machine) -> None:
    machine.host = replace(HOST, mpis=())
    session.check(r"""
$ hpcjob mpi plan -N 2 --image mpich -- /opt/solve
out| site          cluster
out| mode          hybrid (srun --mpi=pmi2)
out| why           MPICH 4.0.2 of the image and srun both speak pmi2
out| not bind      the host has no MPICH, which the program is built with
out| not container a launcher in the image reaches one node, not 2
out| warning       the image's own network library is used, not the host's
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| check         each time, before the program: that all ranks find each other, on all nodes, that they run MPICH 4.0.2
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
$ hpcjob mpi plan -n 2 --launcher mpiexec --image mpich -- /opt/solve
out| site          cluster
out| mode          hybrid
out| why           MPICH 4.0.2 of the image and mpiexec of hydra 4.0.2 speak PMI-1
out| not bind      mpiexec of hydra 4.0.2 starts no MPICH, which the program is built with
out| not container it is taken only if asked for
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| check         each time, before the program: that all ranks find each other, on all nodes, that they run MPICH 4.0.2
""")


def test_plan_that_is_refused(session: Session, openmpi: Path) -> None:
    session.check(r"""
$ hpcjob mpi plan -N 2 --image ompi -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: 16 copies of the program would run, each as rank 0 of 1, and end with exit code 0: srun 22.05.8 and the program's Open MPI do not speak the same
err|   hybrid:    srun offers pmi2, and Open MPI 4.1.4 speaks pmix
err|   bind:      the host has no Open MPI, which the program is built with
err|   container: a launcher in the image reaches one node, not 2
err|
err| hint: a Slurm with --mpi=pmix, or rebuild the image with MPICH; or rebuild the image with MPICH
exit 3
$ hpcjob submit -N 2 --image ompi -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: 16 copies of the program would run, each as rank 0 of 1, and end with exit code 0: srun 22.05.8 and the program's Open MPI do not speak the same
err|   hybrid:    srun offers pmi2, and Open MPI 4.1.4 speaks pmix
err|   bind:      the host has no Open MPI, which the program is built with
err|   container: a launcher in the image reaches one node, not 2
err|
err| hint: a Slurm with --mpi=pmix, or rebuild the image with MPICH; or rebuild the image with MPICH
exit 3
$ hpcjob mpi plan -N 2 --image ompi --mpi pmi2 -- /opt/solve
out| site          cluster
out| mode          hybrid (srun --mpi=pmi2)
out| why           asked for
out| not bind      the host has no Open MPI, which the program is built with
out| not container a launcher in the image reaches one node, not 2
out| warning       srun offers pmi2, and Open MPI 4.1.4 speaks pmix
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| check         each time, before the program: that all ranks find each other, on all nodes, that they run Open MPI 4.1.4
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
""")


def test_plan_inside(session: Session, mpich: Path) -> None:
    session.check(r"""
$ hpcjob mpi plan -n 2 --image mpich --mpi container -- /opt/solve
out| site          cluster
out| mode          container
out| why           asked for
out| not bind      it would work too: MPICH 4.0.2 of the host takes the place of the image's MPICH 4.0.2: it has all 1 function that the program uses and the image's glibc suffices
out| not hybrid    it would work too: MPICH 4.0.2 of the image and srun both speak pmi2
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
$ hpcjob mpi plan -N 2 --image mpich --mpi container -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: a launcher in the image reaches one node
err|
err| hint: -N 1, or another --mpi
exit 3
""")


def test_plan_without_a_program_or_with_one_that_has_no_mpi(session: Session, mpich: Path) -> None:
    session.check(r"""
$ hpcjob mpi plan -N 2 --image mpich
out| site          cluster
out| mode          bind (srun --mpi=pmi2)
out| why           MPICH 4.0.2 of the host takes the place of the image's MPICH 4.0.2: it has all that is known to be needed and the image's glibc suffices
out| not hybrid    it would work too: MPICH 4.0.2 of the image and srun both speak pmi2
out| not container a launcher in the image reaches one node, not 2
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| bind          /usr/lib/x86_64-linux-gnu at /hpcjob/host/usr/lib/x86_64-linux-gnu
out| set           LD_LIBRARY_PATH=/hpcjob/mpi/front:/hpcjob/mpi/tail
out| links         libfabric.so.1, libhwloc.so.15, libmpi.so.12, libmpich.so.12, libmpichfort.so.12, libmpifort.so.12, libucp.so.0
out| on nodes      8 files and folders of the host are looked at before the job starts
out| check         each time, before the program: that all ranks find each other, on all nodes, that they run MPICH 4.0.2
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
$ hpcjob mpi plan -N 2 --image mpich -- /opt/plain
out| site          cluster
out| mode          none
out| why           the program has no MPI
out| warning       the program has no MPI: 16 copies of it run
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
$ hpcjob mpi plan -N 2 --image mpich -- /opt/nothing
out| site          cluster
out| mode          bind (srun --mpi=pmi2)
out| why           MPICH 4.0.2 of the host takes the place of the image's MPICH 4.0.2: it has all that is known to be needed and the image's glibc suffices
out| not hybrid    it would work too: MPICH 4.0.2 of the image and srun both speak pmi2
out| not container a launcher in the image reaches one node, not 2
out| warning       /opt/nothing is not found in the image or in what is shown there: planned by the image's own MPI
out| bind          ~/data/jobs/.mpi/3fa85f6457174562 at /hpcjob/mpi
out| bind          /usr/lib/x86_64-linux-gnu at /hpcjob/host/usr/lib/x86_64-linux-gnu
out| set           LD_LIBRARY_PATH=/hpcjob/mpi/front:/hpcjob/mpi/tail
out| links         libfabric.so.1, libhwloc.so.15, libmpi.so.12, libmpich.so.12, libmpichfort.so.12, libmpifort.so.12, libucp.so.0
out| on nodes      8 files and folders of the host are looked at before the job starts
out| check         each time, before the program: that all ranks find each other, on all nodes, that they run MPICH 4.0.2
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
""")


def test_plan_of_what_needs_none(session: Session, mpich: Path) -> None:
    session.check(r"""
$ hpcjob mpi plan --image mpich -- /opt/solve
out| mode          left to srun
out| why           one rank needs nobody to find the others
$ hpcjob mpi plan -N 2 --image mpich --mpi none -- /opt/solve
out| mode          left to srun
out| why           no MPI was asked for
$ hpcjob mpi plan -N 2 -- ./solve
err| error: mpi plan is about an image, and none was given
err|
err| hint: add --image app.sif
exit 2
""")


def test_a_plan_on_a_terminal_is_folded(session: Session, mpich: Path, terminal: None) -> None:
    text = session.run("hpcjob mpi plan -N 2 --image mpich -- /opt/solve")
    lines = [line.removeprefix("out| ") for line in text.splitlines() if line.startswith("out| ")]
    assert max(len(line) for line in lines if not line.startswith("set")) <= 80


# ---------------------------------------------------------------------------------------- submit


@pytest.mark.parametrize("mode", ["auto", "bind", "hybrid", "container", "none", "pmi2"])
def test_submit(session: Session, mpich: Path, mode: str) -> None:
    session.run(f"hpcjob submit -n 2 --mpi {mode} --image mpich -- /opt/solve")
    (record,) = Service().history()
    script = (Path(record.folder) / "job.sh").read_text()
    launches = [line for line in script.splitlines() if line.startswith("srun --ntasks=2")]
    binds, kind = {"auto": (5, "pmi2"), "bind": (5, "pmi2"), "hybrid": (2, "pmi2"), "pmi2": (2, "pmi2"),
                   "none": (0, "none"), "container": (0, "")}[mode]  # fmt: skip
    assert script.count(":/hpcjob/") == binds
    assert [f"--mpi={kind}" in line for line in launches] == ([True] if kind else [])
    assert ("/usr/bin/mpiexec.hydra -n 2 /opt/solve" in script) is (mode == "container")
    folders = [path.name for path in (session.home / "data/jobs/.mpi").glob("*")]
    assert folders == ([] if mode in ("container", "none") else ["3fa85f6457174562"])


def test_submit_tells(session: Session, mpich: Path, openmpi: Path) -> None:
    session.check(r"""
$ hpcjob submit -N 2 --image mpich -- /opt/solve
out| j1
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   2 nodes, 16 ranks, 00:30:00
err|   mpi     bind of mpich-4.0.2, srun --mpi=pmi2
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err|   follow  hpcjob logs -f j1
$ hpcjob submit -N 2 --image ompi --mpi hybrid -- /opt/solve
out| j2
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| j2 solve: submitted to cluster as slurm job 2
err|   shape   2 nodes, 16 ranks, 00:30:00
err|   mpi     hybrid
err|   script  ~/data/jobs/2023-11-14-solve-000000000002/job.sh
err|   follow  hpcjob logs -f j2
err| warning: srun offers pmi2, and Open MPI 4.1.4 speaks pmix
$ hpcjob submit -n 2 --mpi none --image mpich -- /opt/solve
out| j3
err| j3 solve: submitted to cluster as slurm job 3
err|   shape   1 node, 2 ranks, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000003/job.sh
err|   follow  hpcjob logs -f j3
""")


def test_mistakes_with_mpi(session: Session, mpich: Path) -> None:
    session.check(r"""
$ hpcjob submit -N 2 --image mpich --mpi-check sometimes -- /opt/solve
err| error: --mpi-check 'sometimes' is not known
err|
err| hint: there are always, first, never
exit 2
$ hpcjob submit -N 2 --image mpich --mpi site -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: site cluster names no option of apptainer for MPI
err|
err| hint: choose another --mpi
exit 3
$ hpcjob submit -N 2 --image mpich --mpi translate -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: the site has no Wi4MPI
err|   bind:      it would work too: MPICH 4.0.2 of the host takes the place of the image's MPICH 4.0.2: it has all 1 function that the program uses and the image's glibc suffices
err|   hybrid:    it would work too: MPICH 4.0.2 of the image and srun both speak pmi2
err|   container: a launcher in the image reaches one node, not 2
err|
err| hint: mpi.wi4mpi in the site's file
exit 3
$ hpcjob submit -n 2 --image mpich --mpi container --launcher mpiexec -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: --mpi container uses the launcher in the image, not mpiexec
err|
err| hint: leave out --launcher
exit 3
$ hpcjob submit -N 2 --mpi bind -- ./solve
err| error: --mpi bind is about the MPI of an image, and there is none
err|
err| hint: leave out --mpi, or name a kind of the launcher's: --mpi pmi2
exit 3
$ hpcjob submit -N 2 --image mpich --mpi bnid -- /opt/solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: srun has no MPI of kind 'bnid'
err|
err| hint: did you mean bind?
exit 3
""")


def test_check_always_or_never(session: Session, mpich: Path) -> None:
    for when, guarded in (("always", True), ("never", False), ("first", True)):
        session.run(f"hpcjob submit -n 2 --mpi-check {when} --image mpich -- /opt/solve")
        record = max(Service().history(), key=lambda each: each.id)
        script = (Path(record.folder) / "job.sh").read_text()
        assert ("hpcjob_canary" in script) is guarded


def test_the_host_is_looked_at_once_with_words(session: Session, mpich: Path, machine: Machine) -> None:
    machine.host = replace(HOST, mpis=(), libraries=())
    told = [session.run("hpcjob submit -n 2 --image mpich -- /opt/solve") for _ in range(2)]
    words = "err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is\n"
    assert [words in text for text in told] == [True, False]
    lock(session, HOST)
    session.run("hpcjob submit -n 2 --image mpich -- /opt/solve")
    assert len(machine.asked) == 1


# ----------------------------------------------------------------------------------- help and JSON


def test_help(session: Session) -> None:
    session.check(r"""
$ hpcjob mpi --help
out| Usage: hpcjob mpi [OPTIONS] COMMAND [ARGS]...
out|
out|   Look at the MPI of hosts and images, and how they go together.
out|
out| Options:
out|   -v, --verbose  Show every scheduler command and its time; -vv: its answer
out|                  too.
out|   --color WHEN   auto, always or never; NO_COLOR is heeded.
out|   -h, --help     Show this message and exit.
out|
out| Commands:
out|   host   Look at the MPI of this machine.
out|   image  Look at the MPI of an image, and at what a program in it links to.
out|   plan   Say how MPI would run in an image here, and why.
$ hpcjob mpi host --help
out| Usage: hpcjob mpi host [OPTIONS]
out|
out|   Look at the MPI of this machine.
out|
out|   Every MPI that modules, PATH, compiler wrappers, variables or the library
out|   cache lead to; launchers, network, and what a container needs of them.
out|   Libraries are read, not run. The lock file goes with the site: hpcjob plans
out|   by it, and --check tells what an update of the system has changed.
out|
out| Container and environment:
out|   --module NAME  Module to load after the site's own, or a command: 'swap A
out|                  B'; repeatable.
out|
out| Queue:
out|   -p, --partition NAME  Partition (queue); auto: where it starts first.
out|   -A, --account NAME    Account (project) that pays.
out|
out| Memory and time:
out|   -t, --time TIME  Walltime: 30 (minutes), 2h, 02:00:00, 1-12:00:00.
out|
out| Where:
out|   --site NAME       Site to use; by default the one that this machine is.
out|   --site-file FILE  Site file to use.
out|
out| Options:
out|   -o, --output FILE  Write the lock file; - prints it.
out|   --check            Tell what has changed since the lock file was written.
out|   --on-node          Look at a node, by a job, and print its id.
out|   --json             Print JSON (docs: reference/json).
out|   -v, --verbose      Show every scheduler command and its time; -vv: its
out|                      answer too.
out|   --color WHEN       auto, always or never; NO_COLOR is heeded.
out|   -h, --help         Show this message and exit.
$ hpcjob mpi image --help
out| Usage: hpcjob mpi image [OPTIONS] {IMAGE} [-- COMMAND...]
out|
out|   Look at the MPI of an image, and at what a program in it links to.
out|
out|   Without running MPI. A name in a registry is looked into through the site's
out|   runtime, which must have it.
out|
out|   hpcjob mpi image app.sif -- ./solve
out|
out| Arguments:
out|   IMAGE            Image file or folder, or a name in a registry:
out|                    docker://alpine:3.20.  [required]
out|   [-- COMMAND...]  The program and its arguments.
out|
out| Container and environment:
out|   --bind SRC[:DST[:ro]]  Folder to show in the container, repeatable.
out|   --runtime NAME         Container runtime, or none for the bare host.
out|
out| Where:
out|   --site NAME       Site to use; by default the one that this machine is.
out|   --site-file FILE  Site file to use.
out|
out| Options:
out|   --json         Print JSON (docs: reference/json).
out|   -v, --verbose  Show every scheduler command and its time; -vv: its answer
out|                  too.
out|   --color WHEN   auto, always or never; NO_COLOR is heeded.
out|   -h, --help     Show this message and exit.
$ hpcjob mpi
out| Usage: hpcjob mpi [OPTIONS] COMMAND [ARGS]...
out|
out|   Look at the MPI of hosts and images, and how they go together.
out|
out| Options:
out|   -v, --verbose  Show every scheduler command and its time; -vv: its answer
out|                  too.
out|   --color WHEN   auto, always or never; NO_COLOR is heeded.
out|   -h, --help     Show this message and exit.
out|
out| Commands:
out|   host   Look at the MPI of this machine.
out|   image  Look at the MPI of an image, and at what a program in it links to.
out|   plan   Say how MPI would run in an image here, and why.
$ hpcjob mpi hots
err| error: hpcjob mpi has no command 'hots'
err|
err| hint: did you mean host?
exit 2
""")


def test_plan_has_submit_s_options_without_those_of_a_submission(session: Session) -> None:
    text = session.run("hpcjob mpi plan --help")
    assert "--ntasks-per-node" in text
    assert "--mpi" in text
    for name in ("--wait", "--dry-run", "--dependency", "--hold", "--array"):
        assert name not in text


@pytest.mark.parametrize(
    "line",
    [
        "mpi host", "mpi host -o l.yaml", "mpi host --check", "mpi host --on-node", "mpi host -p x",
        "mpi image mpich", "mpi image mpich -- /opt/solve", "mpi image mpich -- /opt/nothing", "mpi image nothing",
        "mpi plan -N 2 --image mpich -- /opt/solve", "mpi plan --image mpich -- /opt/solve",
        "mpi plan -n 2 --mpi container --image mpich -- /opt/solve", "mpi plan -N 2 --image ompi -- /opt/solve",
    ],
)  # fmt: skip
def test_json(session: Session, mpich: Path, openmpi: Path, line: str) -> None:
    words = line.split()
    text = session.run(" ".join(["hpcjob", *words[:2], "--json", *words[2:]]))
    printed = [each for each in text.splitlines() if each[:5] == "out| "]
    assert len(printed) == 1, "exactly one value"
    name = "-".join(words[:2])
    jsonschema.Draft202012Validator(schemas.schema(name)).validate(json.loads(printed[0][5:]))


def test_json_of_changes(session: Session) -> None:
    lock(session, here(session))
    Path(session.home / "m/lib/libmpi.so.12").unlink()
    (printed,) = [each for each in session.run("hpcjob mpi host --check --json").splitlines() if each[:5] == "out| "]
    data = json.loads(printed[5:])
    jsonschema.Draft202012Validator(schemas.schema("mpi-host")).validate(data)
    assert [change["mpis"] for change in data["changes"]] == [["mpich-4.3"]]
