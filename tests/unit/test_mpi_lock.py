"""The lock file of a site's MPIs: to text and back, and what has changed since."""

from __future__ import annotations

import platform
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcjobs.errors import SiteError
from hpcjobs.mpi import host, lock
from hpcjobs.mpi.facts import Folder, HostLauncher, HostMpi, Interface, Library, MpiHost
from hpcjobs.process import Completed
from hpcjobs.site import mpilock
from tests.mpi_elf import build

FORTRAN = ("MPI_INIT", "mpi_init", "mpi_init_", "mpi_init__")
LIBRARY = Library(
    name="libmpi.so.12", path="/opt/m/lib/libmpi.so.12", size=1234, build_id="12" * 20, build_at=568,
    needs={"GLIBC": "2.34", "GCC": "3.0"},
)  # fmt: skip
MPI = HostMpi(
    name="mpich-4.0.2", family="mpich", product="MPICH", version="4.0", prefix="/opt/m", modules=("mpich/4.0",),
    found=("mpicc on PATH", "the site's /opt/ä b: #x"),
    interfaces=(Interface(role="c", soname="libmpi.so.12", path=LIBRARY.path, family="mpich"),),
    exports=tuple(sorted([*FORTRAN, "MPI_Init", "mpi_lonely_", *(f"MPI_X{n}" for n in range(500))])),
    abi_exports=("MPI_Init",), libraries=(LIBRARY.path,),
    folders=(Folder(path="/opt/m", variables=("I_MPI_ROOT",), needs={"GLIBC": "2.3"}, digest="0123456789012345"),),
    env={"A": "no", "B": "1e3"}, wires=("pmi1", "pmi2"),
)  # fmt: skip
HOST = MpiHost(
    made="2026-11-21T12:00:00Z", node="login1", arch="x86_64", glibc="2.40", fabric="verbs", devices=("/dev/knem",),
    launchers=(
        HostLauncher(kind="srun", command="/usr/bin/srun", flavour="slurm", version="24.11", types=("pmix",), default="none"),
    ),
    mpis=(MPI,), libraries=(LIBRARY,), data=("/etc/libibverbs.d",), notes=("x: y", "- z"),
)  # fmt: skip


def test_there_and_back() -> None:
    assert mpilock.load(mpilock.dump(HOST), "x") == HOST


def test_there_and_back_of_almost_nothing() -> None:
    bare = MpiHost(made="", node="", arch="", glibc="")
    assert mpilock.load(mpilock.dump(bare), "x") == bare


def test_it_can_be_read_by_people() -> None:
    text = mpilock.dump(HOST)
    lines = text.splitlines()
    assert lines[0].startswith("# The MPIs of login1 as `hpcjob mpi host` found them on 2026-11-21T12:00:00Z")
    assert "hpcjob mpi host --check" in text
    assert max(map(len, lines)) <= 125
    assert len(lines) < 140
    assert "  wires: [pmi1, pmi2]" in lines
    assert "  needs: {GLIBC: '2.34', GCC: '3.0'}" in lines
    assert "mpi_init*" in text
    assert "mpi_init__" not in text


def test_other_yaml_readers_see_the_same() -> None:
    assert yaml.safe_load(mpilock.dump(HOST))["libraries"][0]["build_id"] == "12" * 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no mapping"),
        ("- a", "no mapping"),
        ("a: [", "not YAML"),
        ("a: !!python/object:os.system {}", "not YAML"),
        ("format: 2\nmade: x", "format 2"),
        ("made: x", "format None"),
        ("format: 1", "missing"),
        ("format: 1\nmade: x\nnode: y\narch: z\nglibc: 2.36", "2.36 is no str"),
        ("format: 1\nmade: x\nnode: y\narch: z\nglibc: a\nmpis: [3]", "no MPI"),
        ("format: 1\nmade: x\nnode: y\narch: z\nglibc: a\nmpis: 3", "damaged"),
        ("format: 1\nmade: x\nnode: y\narch: z\nglibc: a\nextra: 3", "no MpiHost"),
        ("format: 1\n" + "[" * 3000, "damaged"),
    ],
)
def test_damaged_lock_files(text: str, complaint: str) -> None:
    with pytest.raises(SiteError) as caught:
        mpilock.load(text, "sites/here/mpi.lock.yaml")
    assert caught.value.message.startswith("sites/here/mpi.lock.yaml")
    assert complaint in caught.value.message
    assert caught.value.hint == "hpcjob mpi host -o FILE writes it anew"


def test_a_lock_file_cut_off_is_damaged_or_shorter_never_a_crash() -> None:
    text = mpilock.dump(HOST)
    for size in range(0, len(text), 211):
        with suppress(SiteError):
            mpilock.load(text[:size], "x")


def test_reading_is_quick() -> None:
    many = tuple(replace(LIBRARY, path=f"/usr/lib/lib{n}.so") for n in range(60))
    mpis = tuple(replace(MPI, name=f"m{n}", libraries=tuple(each.path for each in many)) for n in range(2))
    text = mpilock.dump(replace(HOST, libraries=many, mpis=mpis))

    def once() -> float:
        begin = time.perf_counter()
        mpilock.load(text, "x")
        return time.perf_counter() - begin

    assert min(once() for _ in range(5)) < 0.05


# ------------------------------------------------------------------------------------- what has changed


def no_tools(argv: Any, **_: Any) -> Completed:
    """A `Runner`: `module` is not there."""
    return Completed(tuple(argv), 3, "", "")


class Machine:
    """A host with one MPI, its lock, and ways to change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.libc("2.36")
        self.mpi("2.17")
        self.plugin("libuct_a.so")
        self.program("/opt/m/bin/mpiexec")
        self.put("/dev/knem", b"")
        self.lock = host.probe(
            lambda argv, **_: Completed(tuple(argv), 0, "HYDRA build details:\n    Version:  4.3.2\n", "")
            if argv[0] != "bash"
            else no_tools(argv),
            environment={"PATH": "/usr/bin"}, prefixes=["/opt/m"], root=root,
        )  # fmt: skip
        assert [mpi.name for mpi in self.lock.mpis] == ["mpich-4.3.2"]

    def put(self, path: str, data: bytes) -> Path:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def libc(self, number: str) -> None:
        self.put("/usr/lib64/libc.so.6", build(soname="libc.so.6", provides=[f"GLIBC_{number}"]))

    def mpi(self, needs: str, build_id: str = "ab" * 20, extra: bytes = b"MPICH Version") -> None:
        data = build(
            soname="libmpi.so.12", exports=["MPI_Init"], needed=["libuct.so.0"], build_id=build_id,
            needs={"libc.so.6": [f"GLIBC_{needs}"]}, extra=extra,
        )  # fmt: skip
        self.put("/opt/m/lib/libmpi.so.12", data)
        self.put("/usr/lib64/libuct.so.0", build(soname="libuct.so.0"))

    def plugin(self, name: str) -> None:
        self.put(f"/usr/lib64/ucx/{name}", build(soname=name))

    def program(self, path: str) -> None:
        self.put(path, b"").chmod(0o755)

    def changes(self, **given: Any) -> list[tuple[str, tuple[str, ...]]]:
        return [(each.text, each.mpis) for each in lock.check(self.lock, root=self.root, **given)]

    def here(self) -> MpiHost:
        """The lock as if the root were /."""
        libraries = tuple(replace(each, path=f"{self.root}{each.path}") for each in self.lock.libraries)
        (mpi,) = self.lock.mpis
        interfaces = tuple(replace(each, path=f"{self.root}{each.path}") for each in mpi.interfaces)
        return replace(self.lock, libraries=libraries, mpis=(replace(mpi, interfaces=interfaces),))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    if platform.machine() != "x86_64":
        pytest.skip("the fake host has this architecture")
    return Machine(tmp_path)


def test_nothing_changes_by_itself(machine: Machine) -> None:
    assert machine.changes() == []
    assert not lock.stale(machine.here())


def test_an_update_is_seen_with_what_it_needs(machine: Machine) -> None:
    machine.mpi("2.38", "cd" * 20)
    assert machine.changes() == [
        ("/opt/m/lib/libmpi.so.12 is another build, which needs GLIBC_2.38 instead of 2.17", ("mpich-4.3.2",)),
    ]
    assert lock.stale(machine.here())


def test_an_update_of_the_same_size_is_seen(machine: Machine) -> None:
    size = Path(f"{machine.root}/opt/m/lib/libmpi.so.12").stat().st_size
    machine.mpi("2.17", "cd" * 20)
    assert Path(f"{machine.root}/opt/m/lib/libmpi.so.12").stat().st_size == size
    assert lock.stale(machine.here())
    assert machine.changes() == [("/opt/m/lib/libmpi.so.12 is another build", ("mpich-4.3.2",))]


def test_a_library_without_a_build_id_is_known_by_its_bytes(machine: Machine) -> None:
    machine.put("/usr/lib64/libuct.so.0", build(soname="libuct.so.0", extra=b"x"))
    assert machine.changes() == [("/usr/lib64/libuct.so.0 is another build", ("mpich-4.3.2",))]
    assert not lock.stale(machine.here())


def test_what_is_gone_is_named(machine: Machine) -> None:
    for path in ("/opt/m/lib/libmpi.so.12", "/dev/knem", "/opt/m/bin/mpiexec"):
        Path(f"{machine.root}{path}").unlink()
    assert [text for text, _ in machine.changes()] == [
        "/opt/m/lib/libmpi.so.12 is gone", "/dev/knem is gone", "/opt/m/bin/mpiexec is gone",
    ]  # fmt: skip
    assert lock.stale(machine.here())


def test_a_library_for_gpu_memory_that_is_gone_is_named(machine: Machine) -> None:
    libraries = {"libgtl.so.0": "/opt/gtl/libgtl.so.0.0", "libgtl.so": "/opt/m/lib/libmpi.so.12"}
    mpis = tuple(replace(each, gpu_libraries=libraries) for each in machine.lock.mpis)
    changes = lock.check(replace(machine.lock, mpis=mpis), root=machine.root)
    assert [(each.text, each.mpis) for each in changes] == [("/opt/gtl/libgtl.so.0.0 is gone", ("mpich-4.3.2",))]


def test_a_file_that_is_no_library_any_more(machine: Machine) -> None:
    machine.put("/opt/m/lib/libmpi.so.12", b"garbage")
    assert [text for text, _ in machine.changes()] == [
        "/opt/m/lib/libmpi.so.12 cannot be read, or is no library any more"
    ]


def test_other_plugins_a_new_glibc_and_a_fabric(machine: Machine) -> None:
    machine.plugin("libuct_b.so")
    machine.libc("2.41")
    machine.put("/sys/class/cxi/cxi0", b"")
    assert [text for text, _ in machine.changes()] == [
        "glibc is newer: 2.41, was 2.36", "/usr/lib64/ucx has other plug-ins", "the fabric is cxi, was none",
    ]  # fmt: skip


def test_an_older_glibc_and_another_machine(machine: Machine) -> None:
    machine.libc("2.31")
    assert [text for text, _ in machine.changes()] == ["glibc is older: 2.31, was 2.36"]
    machine.lock = replace(machine.lock, arch="aarch64")
    assert machine.changes()[0][0] == "this machine is x86_64, and the lock file is for aarch64"


def test_launchers_are_asked_only_with_a_runner(machine: Machine) -> None:
    def newer(argv: Any, **_: Any) -> Completed:
        return Completed(tuple(argv), 0, "HYDRA build details:\n    Version:  5.0.2\n", "")

    assert machine.changes() == []
    assert machine.changes(runner=newer) == [
        ("/opt/m/bin/mpiexec is hydra 5.0.2, was hydra 4.3.2", ("mpich-4.3.2",)),
    ]


def test_asking_at_each_submission_is_quick(machine: Machine) -> None:
    here = machine.here()
    begin = time.perf_counter()
    lock.stale(here)
    assert time.perf_counter() - begin < 0.05


def test_a_host_without_mpis_is_never_stale() -> None:
    assert not lock.stale(MpiHost(made="", node="", arch="", glibc=""))
