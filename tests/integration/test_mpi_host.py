"""Real MPIs: Debian's and those of tests/cluster/mpi, as `hpcjobs.mpi.host` finds them; held against ldd(1) and bash."""

from __future__ import annotations

import os
import re
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from hpcjobs.mpi import host, lock
from hpcjobs.mpi.closure import Loader
from hpcjobs.mpi.facts import HostMpi, MpiHost, MpiImage, is_libc
from hpcjobs.mpi.netstack import build, check_script, checks
from hpcjobs.mpi.tree import Tree
from hpcjobs.process import run
from hpcjobs.site import mpilock

pytestmark = pytest.mark.integration

CLUSTER = Path(__file__).parent.parent / "cluster"
PREFIXES = Path(os.environ.get("HPCJOBS_MPI_HOSTS", "/var/tmp/hpcjobs-mpi-hosts"))
NAMES = ("mpich-4.3", "mpich-5.0", "openmpi-4.1", "openmpi-5.0", "impi")


@cache
def prefixes() -> tuple[str, ...]:
    if not all((PREFIXES / name / "lib").is_dir() for name in NAMES):
        if os.geteuid() != 0 and not os.environ.get("CI"):
            pytest.skip("real MPIs are NOT TESTED: tests/cluster/mpi hosts makes them, as root")
        subprocess.run([CLUSTER / "mpi", "hosts", PREFIXES], check=True, capture_output=True, timeout=600)
    return tuple(str(PREFIXES / name) for name in NAMES)


@cache
def probed() -> MpiHost:
    return host.probe(run, environment=dict(os.environ), prefixes=prefixes())


def of(prefix: str = "", family: str = "") -> HostMpi:
    wanted = str(PREFIXES / prefix) if prefix else ""
    return next(mpi for mpi in probed().mpis if mpi.prefix == wanted and family in ("", mpi.family))


def sonames(mpi: HostMpi) -> list[str]:
    return sorted(each.soname for each in mpi.interfaces)


@pytest.mark.parametrize(
    ("prefix", "family", "product", "version", "names", "wires"),
    [
        ("mpich-4.3", "mpich", "MPICH", "4.3", ["libmpi.so.12"], ("pmi1",)),
        ("mpich-5.0", "mpich", "MPICH", "5.0", ["libmpi.so.12", "libmpi_abi.so.*"], ("pmi1",)),
        ("openmpi-4.1", "openmpi", "Open MPI", "4.1.8", ["libmpi.so.40"], ("pmix",)),
        ("openmpi-5.0", "openmpi", "Open MPI", "5.0", ["libmpi.so.40"], ("pmix",)),
        (
            "impi", "mpich", "Intel MPI", "2021",
            ["libmpi.so.12", "libmpi_abi.so.1", "libmpicxx.so.12", "libmpifort.so.12", "libmpifort_abi.so.1"],
            ("pmi1", "pmi2"),
        ),
    ],
)  # fmt: skip
def test_mpis_of_a_prefix(  # noqa: PLR0917 - a row of the table
    prefix: str,
    family: str,
    product: str,
    version: str,
    names: list[str],
    wires: tuple[str, ...],
) -> None:
    mpi = of(prefix)
    assert (mpi.family, mpi.product, mpi.wires) == (family, product, wires)
    assert mpi.version.startswith(version)
    assert len(mpi.interfaces) == len(names)
    assert all(re.fullmatch(name, found) for name, found in zip(names, sonames(mpi), strict=True))
    assert {"MPI_Init", "MPI_Comm_size"} < set(mpi.exports)
    assert f"the site's {PREFIXES / prefix}" in mpi.found
    own = [each for each in probed().launchers if each.mpi == mpi.name]
    assert {each.kind for each in own} == {"mpiexec", "mpirun"}
    flavours = {"mpich": "hydra", "impi": "intel", "openmpi-4.1": "openmpi", "openmpi-5.0": "prrte"}
    assert {each.flavour for each in own} == {flavours.get(prefix) or flavours["mpich"]}
    assert {each.version for each in own} == {mpi.version}


def test_debians_own() -> None:
    if not Path("/usr/bin/mpiexec.openmpi").exists():
        pytest.skip("Debian's Open MPI is NOT TESTED: tests/cluster/install brings it")
    mpich, openmpi = of("", "mpich"), of("", "openmpi")
    assert "libmpich.so.12" in sonames(mpich)
    assert "libmpi.so.12" not in sonames(mpich)
    assert {"libmpi.so.40", "libmpi_mpifh.so.40", "libmpi_usempif08.so.40"} <= set(sonames(openmpi))
    moved = {variable for each in openmpi.folders for variable in each.variables}
    assert {"OPAL_PKGLIBDIR", "OPAL_PKGDATADIR", "OPAL_SYSCONFDIR", "PMIX_PKGLIBDIR"} <= moved
    assert any(path.rpartition("/")[2].startswith("libpmix.so.") for path in openmpi.libraries)
    owners = {each.command: each.mpi for each in probed().launchers}
    assert (owners["/usr/bin/mpiexec"], owners["/usr/bin/mpirun.openmpi"]) == (mpich.name, openmpi.name)


def test_versions_are_those_that_the_libraries_say() -> None:
    """The one place that does run the libraries, to hold what was read against what they say."""
    for mpi in probed().mpis:
        path = next(each.path for each in mpi.interfaces if each.role == "c" and each.family != "abi")
        code = f"import ctypes; b = ctypes.create_string_buffer(9000); ctypes.CDLL({path!r}).MPI_Get_library_version(b, ctypes.byref(ctypes.c_int())); print(b.value.decode())"
        env = {**os.environ, "I_MPI_ROOT": mpi.prefix, "LD_LIBRARY_PATH": str(Path(path).parent)}
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code], capture_output=True, text=True, env=env, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert mpi.version in done.stdout
        assert {"Intel MPI": "Intel(R) MPI"}.get(mpi.product, mpi.product) in done.stdout


def test_the_closure_is_what_ldd_says() -> None:
    tree = Tree(Path("/"))
    loader = Loader(tree, probed().arch)
    checked = 0
    for mpi in probed().mpis:
        for each in mpi.interfaces:
            done = subprocess.run(["ldd", each.path], capture_output=True, text=True, timeout=60, check=False)
            lines = re.findall(r"^\s*(\S+) => (/\S+)", done.stdout, re.MULTILINE)
            wanted = {name: os.path.realpath(path) for name, path in lines if not is_libc(name)}
            found = loader.closure([each.path]).names
            found.pop(each.soname, None)
            assert found == wanted, each.path
            checked += len(wanted)
    assert checked > 50


def test_build_ids_stand_where_the_lock_says() -> None:
    assert len(probed().libraries) > 40
    for each in probed().libraries:
        data = Path(each.path).read_bytes()
        assert len(data) == each.size
        assert bool(each.build_id) != bool(each.sha256)
        assert data[each.build_at :][: len(each.build_id) // 2].hex() == each.build_id


def test_a_lock_file_holds_on_the_machine_that_it_was_made_on() -> None:
    found = mpilock.load(mpilock.dump(probed()), "x")
    assert found == probed()
    assert lock.check(found, runner=run) == []
    assert not lock.stale(found)


def test_bash_finds_the_same_build_ids() -> None:
    for mpi in probed().mpis:
        script = check_script(checks(build(mpi, probed(), MpiImage(path="x"))))
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), mpi.name


def test_mpis_on_path_without_the_sites_word() -> None:
    folder = str(Path(prefixes()[0]) / "bin")
    found = host.probe(run, environment={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
    first = next(mpi for mpi in found.mpis if mpi.prefix == str(PREFIXES / "mpich-4.3"))
    assert "mpicc on PATH" in first.found
    assert first.modules == ()


def test_modules_of_environment_modules(tmp_path: Path) -> None:
    init = next(
        (path for path in ("/usr/share/modules/init/bash", "/usr/share/lmod/lmod/init/bash") if Path(path).exists()), ""
    )
    if not init:
        pytest.skip("real modules are NOT TESTED: neither environment-modules nor Lmod is installed")
    (tmp_path / "openmpi").mkdir()
    (tmp_path / "openmpi" / "5.0").write_text(f"#%Module\nprepend-path PATH {PREFIXES}/openmpi-5.0/bin\n")
    (tmp_path / "gcc").write_text("#%Module\n")
    prefixes()
    found = host.probe(run, environment=dict(os.environ), module_init=f". {init}; module use {tmp_path}")
    mpi = next(mpi for mpi in found.mpis if mpi.prefix)
    assert (mpi.modules, mpi.found, mpi.family) == (("openmpi/5.0",), ("module openmpi/5.0",), "openmpi")


def test_a_probe_takes_no_more_than_a_breath() -> None:
    begin = time.monotonic()
    host.probe(run, environment=dict(os.environ))
    # 1 to 2 s on two cores; more only where something hangs.
    assert time.monotonic() - begin < 15
