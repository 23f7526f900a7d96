"""What a host's MPIs are, from a fake tree of tiny ELF files and from recorded answers of real tools."""

from __future__ import annotations

import os
import platform
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import process
from hpcjobs.errors import UnreachableError
from hpcjobs.mpi import fabric, host, search, starters
from hpcjobs.mpi.closure import Loader, Wanted, read_cache
from hpcjobs.mpi.facts import Folder, HostMpi, MpiHost
from hpcjobs.mpi.tree import Tree
from hpcjobs.process import Completed
from tests.mpi_elf import build

DATA = Path(__file__).parent.parent / "data" / "mpi"
MPICH = ["MPI_Init", "PMPI_Init", "MPI_Send", "mpi_init_", "MPIR_Err_return_comm", "MPI_UNWEIGHTED"]
OMPI = ["MPI_Init", "MPI_Send", "ompi_mpi_comm_world"]
LIB = "/usr/lib/x86_64-linux-gnu"
PATH = {"PATH": "/usr/bin:/bin"}

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the fake host has this architecture")


def recorded(name: str) -> str:
    return (DATA / f"{name}.txt").read_text("utf-8")


@dataclass
class Tools:
    """A `Runner` that answers as was recorded; what is not known does not exist."""

    answers: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    hang: tuple[str, ...] = ()
    calls: list[tuple[str, ...]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        stdin: str = "",  # noqa: ARG002
        keep_fds: Sequence[int] = (),  # noqa: ARG002
    ) -> Completed:
        argv = tuple(argv)
        self.calls.append(argv)
        self.paths.append((env or {}).get("PATH", ""))
        if argv[0] in self.hang:
            raise UnreachableError(f"{argv[0]} did not answer within {timeout:g} s")
        if argv in self.answers:
            return Completed(argv, 0, self.answers[argv], "")
        if argv[0] == "bash":
            return Completed(argv, 3, "", "")
        raise UnreachableError(f"{argv[0]} cannot be run here: No such file or directory")


@dataclass
class Fake:
    """A root folder with a host in it."""

    root: Path

    def put(self, path: str, data: bytes | str = b"", *, program: bool = False) -> str:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        file.chmod(0o755 if program else 0o644)
        return path

    def link(self, path: str, target: str) -> None:
        file = Path(f"{self.root}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(target)

    def library(self, path: str, **what: Any) -> str:
        soname = what.pop("soname", path.rpartition("/")[2])
        return self.put(path, build(soname=soname, build_id=what.pop("build_id", "ab" * 20), **what))

    def cache(self, *paths: str) -> None:
        self.put("/etc/ld.so.cache", cache([(path.rpartition("/")[2], path) for path in paths]))

    def probe(self, tools: Tools | None = None, **given: Any) -> MpiHost:
        given.setdefault("environment", PATH)
        return host.probe(tools or Tools(), root=self.root, **given)


def cache(entries: Sequence[tuple[str, str]], *, old: bool = False, hwcap: int = 0) -> bytes:
    """An ld.so.cache as glibc 2.36 writes it; `old` with what glibc before 2.32 has in front."""
    head = 48 + 24 * len(entries)
    rows, text = b"", b"\0"
    for name, path in entries:
        key = head + len(text)
        text += name.encode() + b"\0"
        rows += struct.pack("<iIIIQ", 0x303, key, head + len(text), 0, hwcap)
        text += path.encode() + b"\0"
    new = b"glibc-ld.so.cache1.1" + struct.pack("<IIB3xI12x", len(entries), len(text), 2, 0) + rows + text
    return (b"ld.so-1.7.0\0" + struct.pack("<I", 0) if old else b"") + new


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A host with glibc 2.36 and nothing else."""
    made = Fake(tmp_path)
    made.library(f"{LIB}/libc.so.6", provides=["GLIBC_2.2.5", "GLIBC_2.36"])
    return made


def mpich(made: Fake, folder: str = LIB, name: str = "libmpich.so.12", version: str = "4.0.2", **what: Any) -> str:
    extra = b"\0MPICH Version:\t%s\0PMI_FD\0/build/mpich-" + version.encode() + b"/src/binding/c/x.c\0"
    return made.library(f"{folder}/{name}", exports=what.pop("exports", MPICH), extra=extra, **what)


def openmpi(made: Fake, folder: str = LIB, version: str = "4.1.4", **what: Any) -> str:
    extra = b"\0Open MPI v" + version.encode() + b"\0"
    return made.library(f"{folder}/libmpi.so.40", exports=OMPI, extra=extra, **what)


def only(found: MpiHost) -> HostMpi:
    assert len(found.mpis) == 1, found
    return found.mpis[0]


# ------------------------------------------------------------------------------------- finding


def test_a_bare_host_has_no_mpi(fake: Fake) -> None:
    found = fake.probe()
    assert (found.mpis, found.launchers, found.glibc, found.arch) == ((), (), "2.36", "x86_64")
    assert (found.fabric, found.devices, found.data, found.notes) == ("none", (), (), ())


def test_debians_mpich_is_found_in_the_cache(fake: Fake) -> None:
    mpich(fake, name="libmpich.so.12.2.2", soname="libmpich.so.12", needs={"libc.so.6": ["GLIBC_2.17", "GLIBC_2.34"]})
    fake.link(f"{LIB}/libmpich.so.12", "libmpich.so.12.2.2")
    fake.link("/lib", "usr/lib")
    fake.cache("/lib/x86_64-linux-gnu/libmpich.so.12")
    found = fake.probe()
    mpi = only(found)
    assert (mpi.name, mpi.family, mpi.product, mpi.version) == ("mpich-4.0.2", "mpich", "MPICH", "4.0.2")
    assert (mpi.prefix, mpi.found, mpi.wires) == ("", ("ld.so.cache",), ("pmi1",))
    assert [each.path for each in mpi.interfaces] == [f"{LIB}/libmpich.so.12.2.2"]
    assert set(mpi.exports) == {"MPI_Init", "MPI_Send", "mpi_init_", "MPI_UNWEIGHTED"}
    (library,) = found.libraries
    assert (library.name, library.needs, library.build_id) == ("libmpich.so.12", {"GLIBC": "2.34"}, "ab" * 20)
    data = Path(f"{fake.root}{library.path}").read_bytes()
    assert data[library.build_at : library.build_at + 20].hex() == library.build_id


def test_a_family_is_told_by_symbols_not_by_the_name(fake: Fake) -> None:
    # Open MPI 1.10's library is called as MPICH's is.
    fake.library("/opt/old/lib/libmpi.so.12", exports=OMPI, extra=b"\0Open MPI v1.10.7\0")
    mpi = only(fake.probe(prefixes=["/opt/old"]))
    assert (mpi.family, mpi.version, mpi.prefix) == ("openmpi", "1.10.7", "/opt/old")
    assert [each.family for each in mpi.interfaces] == ["openmpi"]


def test_a_library_without_mpi_in_it_is_no_mpi(fake: Fake) -> None:
    fake.library("/opt/x/lib/libmpi.so.12", exports=["hello"])
    found = fake.probe(prefixes=["/opt/x"])
    assert found.mpis == ()
    assert found.notes == ("/opt/x/lib/libmpi.so.12 has an MPI's name and no MPI in it",)


@pytest.mark.parametrize(
    ("text", "product", "version"),
    [
        (b"\0Intel(R) MPI Library, Version %s\0Intel(R) MPI Library %s for Linux* OS\0" b"2021.18.1\0", "Intel MPI", "2021.18.1"),
        (b"MPI VERSION    : CRAY MPICH version 8.1.28.29 (ANL base 3.4a2)\n\0MPICH Version\0", "Cray MPICH", "8.1.28.29"),
        (b"\0MPICH Version: %s\0" b"3.3.2\0", "MPICH", "3.3.2"),
        (b"\0MVAPICH2 Version: %s\0" b"/x/mpich-3.2.1/src/y\0", "MVAPICH", "3.2.1"),
        (b"\0" b"3.3.2\0" b"4.1.1\0", "MPICH", ""),
    ],
)  # fmt: skip
def test_products(fake: Fake, text: bytes, product: str, version: str) -> None:
    fake.library("/opt/x/lib/libmpi.so.12", exports=MPICH, extra=text)
    mpi = only(fake.probe(prefixes=["/opt/x"]))
    assert (mpi.product, mpi.version) == (product, version)


def test_a_library_that_hides_its_version_has_that_of_its_launcher(fake: Fake) -> None:
    fake.library("/opt/x/lib/libmpi.so.12", exports=MPICH)
    fake.put("/opt/x/bin/mpiexec", program=True)
    tools = Tools({("/opt/x/bin/mpiexec", "--version"): recorded("mpiexec-mpich-5.0.2")})
    found = fake.probe(tools, prefixes=["/opt/x"])
    assert only(found).version == "5.0.2"
    assert [(each.flavour, each.mpi) for each in found.launchers] == [("hydra", only(found).name)]


def test_the_standard_abi_belongs_to_the_mpi_beside_it(fake: Fake) -> None:
    mpich(fake, "/opt/m/lib", "libmpi.so.12", "5.0.2")
    mpich(fake, "/opt/m/lib", "libmpi_abi.so.1", "5.0.2", exports=["MPI_Init", "MPI_Abi_get_version"])
    mpi = only(fake.probe(prefixes=["/opt/m"]))
    assert [(each.family, each.soname) for each in mpi.interfaces] == [
        ("mpich", "libmpi.so.12"), ("abi", "libmpi_abi.so.1"),
    ]  # fmt: skip
    assert mpi.abi_exports == ("MPI_Abi_get_version", "MPI_Init")
    assert "MPI_Abi_get_version" not in mpi.exports


def test_two_mpis_of_one_folder_keep_apart(fake: Fake) -> None:
    first, second = mpich(fake), openmpi(fake)
    fake.library(f"{LIB}/libmpi_mpifh.so.40", exports=["mpi_send_"])
    fake.library(f"{LIB}/libmpichfort.so.12", exports=["mpi_recv_"])
    fake.cache(first, second)
    found = fake.probe()
    assert {mpi.name: [each.soname for each in mpi.interfaces] for mpi in found.mpis} == {
        "mpich-4.0.2": ["libmpich.so.12", "libmpichfort.so.12"],
        "openmpi-4.1.4": ["libmpi.so.40", "libmpi_mpifh.so.40"],
    }


def test_crays_library_for_the_common_abi_is_preferred(fake: Fake) -> None:
    prefix = "/opt/cray/pe/mpich/8.1.28/ofi/gnu/12.3"
    extra = b"CRAY MPICH version 8.1.28.29 (ANL base 3.4a2)\n"
    fake.library(f"{prefix}/lib/libmpi_gnu_123.so.12", exports=MPICH, extra=extra)
    fake.library(f"{prefix}/lib-abi-mpich/libmpi.so.12", exports=MPICH, extra=extra, needed=["libpals.so.0"])
    fake.library("/opt/cray/pe/lib64/libpals.so.0")
    gtl = "/opt/cray/pe/mpich/8.1.28/gtl/lib"
    fake.library(f"{gtl}/libmpi_gtl_hsa.so.0.0.0")
    fake.link(f"{gtl}/libmpi_gtl_hsa.so.0", "libmpi_gtl_hsa.so.0.0.0")
    environment = {
        **PATH,
        "CRAY_MPICH_DIR": prefix,
        "CRAY_LD_LIBRARY_PATH": f"{prefix}/lib",
        "LD_LIBRARY_PATH": "/opt/cray/pe/lib64",
    }
    mpi = only(fake.probe(environment=environment))
    assert (mpi.name, mpi.prefix) == ("cray-mpich-8.1.28.29", prefix)
    assert [each.soname for each in mpi.interfaces] == ["libmpi.so.12", "libmpi_gnu_123.so.12"]
    assert mpi.found == ("$CRAY_MPICH_DIR", "CRAY_LD_LIBRARY_PATH")
    assert "pals" in mpi.wires
    real = f"{gtl}/libmpi_gtl_hsa.so.0.0.0"
    assert mpi.gpu_libraries == {"libmpi_gtl_hsa.so.0": real, "libmpi_gtl_hsa.so.0.0.0": real}


def test_copies_in_place_of_links_count_once(fake: Fake) -> None:
    for name in ("libmpi.so", "libmpi.so.12", "libmpi.so.12.0"):
        mpich(fake, "/opt/i/lib", name, soname="libmpi.so.12")
    assert [each.path for each in only(fake.probe(prefixes=["/opt/i"])).interfaces] == ["/opt/i/lib/libmpi.so.12"]


def test_a_linkers_script_leads_to_the_library(fake: Fake) -> None:
    mpich(fake, "/opt/m/real", "libmpi.so.12")
    fake.put("/opt/m/lib/libmpi.so", "/* GNU ld script */\nINPUT(../real/libmpi.so.12)\n")
    fake.put("/opt/w/mpicc", program=True)
    tools = Tools({("/opt/w/mpicc", "-show"): "gcc -I/opt/m/include -L/opt/m/lib -lmpi\n"})
    mpi = only(fake.probe(tools, environment={"PATH": "/opt/w"}))
    assert (mpi.found, mpi.interfaces[0].path) == (("mpicc on PATH",), "/opt/m/real/libmpi.so.12")


@pytest.mark.parametrize(
    ("name", "folders", "names"),
    [
        ("mpicc-show-mpich-4.0.2", (LIB,), ("mpich",)),
        ("mpicc-show-mpich-5.0.2", ("/opt/mpich-5.0/lib",), ("mpi",)),
        ("mpicc-show-openmpi-5.0.11", ("/opt/openmpi-5.0/lib",), ("mpi",)),
    ],
)
def test_what_wrappers_show(name: str, folders: tuple[str, ...], names: tuple[str, ...]) -> None:
    lead = search.parse_show(recorded(name), "it")
    assert lead is not None
    assert (lead.folders, lead.names) == (folders, names)


def test_wrappers_that_show_nothing_lead_nowhere() -> None:
    assert search.parse_show("", "it") is None
    assert search.parse_show("gcc -lm 'unfinished", "it") is None
    assert search.parse_show("usage: mpicc FILE", "it") is None
    lead = search.parse_show("icx -Xlinker --rpath=/a /opt/x/lib/libmpi.so", "it")
    assert lead is not None
    assert (lead.folders, lead.names) == (("/a", "/opt/x/lib"), ("mpi",))


# ------------------------------------------------------------------------------------- modules


def test_modules_bring_mpis(fake: Fake) -> None:
    mpich(fake, "/sw/mpich/lib", "libmpi.so.12", "4.3.2")
    openmpi(fake, "/sw/ompi/lib", "5.0.7")
    # The lines come from a real bash; only `module` is not one of a real system.
    init = """module() {
      case "$*" in
        '-t avail') printf '%s\\n' /sw/modules: openmpi/ 'openmpi/5.0.7(default)' mpich/4.3.2 gcc/13 mpiblast/1.0 >&2 ;;
        'load openmpi/5.0.7') export PATH=/sw/ompi/bin:$PATH MPI_HOME=/sw/ompi ;;
        'load mpich/4.3.2') export LD_LIBRARY_PATH=/sw/mpich/lib ;;
        *) return 1 ;;
      esac
    }"""
    found = host.probe(process.run, environment={"PATH": os.environ["PATH"]}, module_init=init, root=fake.root)
    assert {mpi.name: (mpi.found, mpi.modules) for mpi in found.mpis} == {
        "openmpi-5.0.7": (("module openmpi/5.0.7",), ("openmpi/5.0.7",)),
        "mpich-4.3.2": (("module mpich/4.3.2",), ("mpich/4.3.2",)),
    }


def test_commands_of_the_site_s_modules_are_run_before(fake: Fake) -> None:
    mpich(fake, "/sw/mpich/lib", "libmpi.so.12", "4.3.2")
    openmpi(fake, "/sw/ompi/lib", "5.0.7")
    init = """module() {
      case "$*" in
        'use /sw/modules') used=yes ;;
        '-t avail') [[ $used ]] && echo mpich/4.3.2 ;;
        'load mpich/4.3.2') [[ $used ]] && export MPI_HOME=/sw/mpich ;;
        'load gcc impi') loaded=yes ;;
        'swap impi openmpi') [[ $loaded ]] && export MPI_HOME=/sw/ompi ;;
        *) return 1 ;;
      esac
    }"""
    found = host.probe(
        process.run, environment={"PATH": os.environ["PATH"]}, module_init=init, root=fake.root,
        modules=["use /sw/modules", "gcc", "impi", "swap impi openmpi"],
    )  # fmt: skip
    assert found.notes == ()
    assert {mpi.name: mpi.modules for mpi in found.mpis} == {
        "openmpi-5.0.7": ("gcc", "openmpi"),
        "mpich-4.3.2": ("mpich/4.3.2",),
    }


def test_what_is_there_without_a_module_needs_none(fake: Fake) -> None:
    mpich(fake, "/sw/mpich/lib", "libmpi.so.12", "4.3.2")
    init = "module() { [[ $1 == -t ]] && echo mpich/4.3.2; [[ $1 == load ]] && export MPI_HOME=/sw/mpich; }"
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": "/sw/mpich/lib"}
    mpi = only(host.probe(process.run, environment=environment, module_init=init, root=fake.root))
    assert (mpi.modules, mpi.found) == ((), ("LD_LIBRARY_PATH", "module mpich/4.3.2"))


def test_a_site_whose_modules_do_not_load_says_so(fake: Fake) -> None:
    init = "module() { [[ $1 == -t ]] || return 1; }"
    found = host.probe(
        process.run, environment={"PATH": os.environ["PATH"]}, module_init=init, modules=["gcc", "impi"], root=fake.root
    )
    assert found.notes == ("module gcc impi does not load",)


def test_a_module_that_hangs_is_a_note(fake: Fake) -> None:
    mpich(fake, "/opt/m/lib", "libmpi.so.12")
    found = fake.probe(Tools(hang=("bash",)), prefixes=["/opt/m"])
    assert only(found).name == "mpich-4.0.2"
    assert found.notes == ("modules: bash did not answer within 40 s",)


def test_which_modules_look_like_an_mpi() -> None:
    listed = """/apps/modules:
mpi/openmpi-x86_64
openmpi/4.1.5
openmpi/4.1.6 (default)
cray-mpich/8.1.28
cray-mpich-abi/8.1.28(D)
intel-oneapi-mpi/2021.11.0-gcc-12.3
hpcx/2.18
mpi4py/3.1.5
mpifileutils/0.11
impi/2021.9.0 <L>
; rm -rf /
"""
    assert search.likely(listed) == [
        "mpi/openmpi-x86_64", "openmpi/4.1.6", "cray-mpich/8.1.28", "cray-mpich-abi/8.1.28",
        "intel-oneapi-mpi/2021.11.0-gcc-12.3", "hpcx/2.18", "impi/2021.9.0", "openmpi/4.1.5",
    ]  # fmt: skip
    assert len(search.likely("\n".join(f"openmpi/{n}" for n in range(100)))) == 12


# ------------------------------------------------------------------------------------- launchers


@pytest.mark.parametrize(
    ("name", "flavour", "version"),
    [
        ("mpiexec-mpich-4.0.2", "hydra", "4.0.2"),
        ("mpiexec-mpich-5.0.2", "hydra", "5.0.2"),
        ("mpirun-openmpi-4.1.4", "openmpi", "4.1.4"),
        ("mpiexec-openmpi-4.1.8", "openmpi", "4.1.8"),
        ("mpirun-openmpi-5.0.11", "prrte", "5.0.11"),
        ("mpiexec-impi-2021.18", "intel", "2021.18.1"),
        ("srun-version-22.05.8", "slurm", "22.05.8"),
    ],
)
def test_whose_a_launcher_is(name: str, flavour: str, version: str) -> None:
    assert starters.parse_version(recorded(name)) == (flavour, version)


def test_launchers_that_were_not_at_hand_or_say_nothing() -> None:
    assert starters.parse_version("mpiexec version 1.7.1 revision abc\n") == ("pals", "1.7.1")
    assert starters.parse_version("prterun (PRRTE) 3.0.6\n") == ("prrte", "3.0.6")
    assert starters.parse_version("slurm 24.11.5\n") == ("slurm", "24.11.5")
    assert starters.parse_version("") == ("", "")
    assert starters.parse_version("\0\x01 usage: mpiexec") == ("", "")


def test_the_kinds_of_srun() -> None:
    assert starters.parse_types(recorded("srun-list-22.05.8")) == ("pmix", "none", "cray_shasta", "pmi2", "pmix_v4")
    # Slurm 19.05 writes to stderr.
    older = "srun: MPI types are...\nsrun: none\nsrun: openmpi\nsrun: pmi2\nsrun: pmix_v3\nsrun: pmix\n"
    assert starters.parse_types(older) == ("none", "openmpi", "pmi2", "pmix_v3", "pmix")
    broken = "MPI plugin types are...\n\tnone\nsrun: error: MPI: Unable to load any plugin\nsrun: fatal: x\n"
    assert starters.parse_types(broken) == ("none",)
    assert starters.parse_types("srun: fatal: Could not establish a configuration source\nsrun\n") == ()


def test_srun_with_its_kinds_and_default(fake: Fake) -> None:
    fake.put("/usr/bin/srun", program=True)
    Path(f"{fake.root}/run/munge").mkdir(parents=True)
    tools = Tools({
        ("/usr/bin/srun", "--version"): recorded("srun-version-22.05.8"),
        ("/usr/bin/srun", "--mpi=list"): recorded("srun-list-22.05.8"),
        ("/usr/bin/scontrol", "show", "config"): recorded("scontrol-22.05.8"),
    })  # fmt: skip
    found = fake.probe(tools)
    (srun,) = found.launchers
    assert (srun.kind, srun.flavour, srun.version, srun.default) == ("srun", "slurm", "22.05.8", "none")
    assert "pmix_v4" in srun.types
    assert found.data == ("/run/munge",)


def test_srun_that_cannot_say_its_kinds_is_a_note(fake: Fake) -> None:
    fake.put("/usr/bin/srun", program=True)
    tools = Tools({
        ("/usr/bin/srun", "--version"): "slurm 24.11.5\n",
        ("/usr/bin/srun", "--mpi=list"): "srun: fatal: Could not establish a configuration source\n",
    })  # fmt: skip
    found = fake.probe(tools)
    assert found.launchers[0].types == ()
    assert found.notes == (
        "/usr/bin/srun --mpi=list names no kind: srun: fatal: Could not establish a configuration source",
    )


def test_a_launcher_belongs_to_the_mpi_in_whose_prefix_it_is(fake: Fake) -> None:
    mpich(fake, "/opt/m/lib", "libmpi.so.12", "5.0.2")
    fake.cache(mpich(fake), openmpi(fake))
    for path in ("/opt/m/bin/mpiexec", "/usr/bin/mpiexec.mpich", "/usr/bin/mpirun.openmpi"):
        fake.put(path, program=True)
    fake.link("/usr/bin/mpiexec", "../../etc/alternatives/mpiexec")
    fake.link("/etc/alternatives/mpiexec", "/usr/bin/mpiexec.mpich")
    tools = Tools({
        ("/opt/m/bin/mpiexec", "--version"): recorded("mpiexec-mpich-5.0.2"),
        ("/usr/bin/mpiexec", "--version"): recorded("mpiexec-mpich-4.0.2"),
        ("/usr/bin/mpirun.openmpi", "--version"): recorded("mpirun-openmpi-4.1.4"),
    })  # fmt: skip
    found = fake.probe(tools, prefixes=["/opt/m"])
    assert {each.command: each.mpi for each in found.launchers} == {
        "/opt/m/bin/mpiexec": "mpich-5.0.2",
        "/usr/bin/mpiexec": "mpich-4.0.2",
        "/usr/bin/mpirun.openmpi": "openmpi-4.1.4",
    }
    # Intel's mpirun starts what PATH has first.
    at = tools.calls.index(("/opt/m/bin/mpiexec", "--version"))
    assert tools.paths[at].startswith("/opt/m/bin:")


def test_tools_that_hang_are_notes(fake: Fake) -> None:
    for name in ("mpicc", "mpiexec"):
        fake.put(f"/usr/bin/{name}", program=True)
    found = fake.probe(Tools(hang=("/usr/bin/mpicc", "/usr/bin/mpiexec")))
    assert found.launchers == ()
    assert found.notes == (
        "/usr/bin/mpicc did not answer within 10 s", "/usr/bin/mpiexec did not answer within 15 s",
    )  # fmt: skip


# ------------------------------------------------------------------------------------- the closure


def closed(made: Fake, seed: str, library_path: Sequence[str] = ()) -> dict[str, str]:
    return Loader(Tree(made.root), "x86_64").closure([seed], library_path).names


def test_rpath_is_inherited_and_runpath_is_not(fake: Fake) -> None:
    fake.library("/a/libtop.so", needed=["libmid.so"], rpath="$ORIGIN/x")
    fake.library("/a/x/libmid.so", needed=["liblow.so", "libc.so.6"])
    fake.library("/a/x/liblow.so")
    assert closed(fake, "/a/libtop.so")["liblow.so"] == "/a/x/liblow.so"
    fake.library("/b/libtop.so", needed=["libmid.so"], runpath="${ORIGIN}/x")
    fake.library("/b/x/libmid.so", needed=["liblow.so"])
    fake.library("/b/x/liblow.so")
    assert "liblow.so" not in closed(fake, "/b/libtop.so")


def test_library_path_beats_runpath_but_not_rpath(fake: Fake) -> None:
    for folder in ("/own", "/env"):
        fake.library(f"{folder}/liblow.so")
    fake.library("/a/librun.so", needed=["liblow.so"], runpath="/own")
    fake.library("/a/libr.so", needed=["liblow.so"], rpath="/own")
    assert closed(fake, "/a/librun.so", ["/env"])["liblow.so"] == "/env/liblow.so"
    assert closed(fake, "/a/libr.so", ["/env"])["liblow.so"] == "/own/liblow.so"


def test_libraries_for_another_machine_are_passed_over(fake: Fake) -> None:
    fake.library("/env/liblow.so", arch="i686")
    fake.put("/env2/liblow.so", b"no library")
    fake.library(f"{LIB}/liblow.so")
    fake.library("/a/libtop.so", needed=["liblow.so"])
    assert closed(fake, "/a/libtop.so", ["/env", "/env2"])["liblow.so"] == f"{LIB}/liblow.so"


def test_libraries_that_need_each_other_end(fake: Fake) -> None:
    fake.library(f"{LIB}/liba.so", needed=["libb.so"])
    fake.library(f"{LIB}/libb.so", needed=["liba.so", "libgone.so"])
    result = Loader(Tree(fake.root), "x86_64").closure([f"{LIB}/liba.so"])
    assert result.paths == [f"{LIB}/liba.so", f"{LIB}/libb.so"]
    assert result.missing == {"libgone.so": [f"{LIB}/libb.so"]}


@pytest.mark.parametrize("old", [False, True])
def test_the_loaders_cache(old: bool) -> None:
    assert read_cache(cache([("libx.so.1", "/opt/libx.so.1")], old=old)) == {"libx.so.1": ("/opt/libx.so.1",)}


def test_this_machines_cache_is_what_ldconfig_prints() -> None:
    done = process.run(("/sbin/ldconfig", "-p"), timeout=20)
    lines = [line.split(" => ") for line in done.out.splitlines() if " => " in line]
    found = read_cache(Path("/etc/ld.so.cache").read_bytes())
    assert {(line[0].split()[0], line[1]) for line in lines} == {
        (n, path) for n, paths in found.items() for path in paths
    }


def test_a_cache_for_better_cpus_comes_last() -> None:
    both = bytearray(cache([("libx.so", "/v3/libx.so"), ("libx.so", "/libx.so")]))
    struct.pack_into("<Q", both, 48 + 16, 1 << 62)
    assert read_cache(bytes(both)) == {"libx.so": ("/libx.so", "/v3/libx.so")}


def test_damaged_caches_are_none() -> None:
    good = cache([("libx.so.1", "/opt/libx.so.1")])
    assert read_cache(b"") == {}
    assert read_cache(b"x" * 100) == {}
    for size in range(len(good) - 1):
        assert read_cache(good[:size]) in ({}, {"libx.so.1": ("/opt/libx.so.1",)})
    assert read_cache(good[:20] + b"\xff" * 8 + good[28:]) in ({}, {"libx.so.1": ("/opt/libx.so.1",)})


def test_a_library_that_is_missing_is_a_note(fake: Fake) -> None:
    mpich(fake, "/opt/m/lib", "libmpi.so.12", needed=["libnowhere.so.3"])
    found = fake.probe(prefixes=["/opt/m"])
    assert found.notes == ("libnowhere.so.3 is not found, which /opt/m/lib/libmpi.so.12 needs",)


def test_only_the_names_of_the_loader_are_found_by_a_slash(fake: Fake) -> None:
    fake.library("/opt/x/libx.so")
    loader = Loader(Tree(fake.root), "x86_64")
    assert loader.find(Wanted("/opt/x/libx.so", "it")) == "/opt/x/libx.so"
    assert loader.find(Wanted("/opt/x/liby.so", "it")) == ""


# ------------------------------------------------------------------------------------- plug-ins


def test_what_debians_open_mpi_opens(fake: Fake) -> None:
    fake.cache(
        openmpi(fake, needed=["libopen-pal.so.40"]),
        fake.library(f"{LIB}/libopen-pal.so.40", needed=["libhwloc.so.15"]),
        fake.library(f"{LIB}/libhwloc.so.15"), fake.library(f"{LIB}/libuct.so.0"), fake.library(f"{LIB}/libmlx5.so.1"),
    )  # fmt: skip
    fake.library(f"{LIB}/pmix2/lib/libpmix.so.2")
    fake.link(f"{LIB}/libpmix.so.2", "pmix2/lib/libpmix.so.2")
    plugins = f"{LIB}/openmpi/lib/openmpi3"
    fake.library(f"{plugins}/mca_pmix_ext3x.so", needed=["libpmix.so.2"], needs={"libc.so.6": ["GLIBC_2.35"]})
    fake.library(f"{plugins}/mca_pml_ucx.so", needed=["libuct.so.0", "libgone.so.1"])
    fake.library(f"{LIB}/pmix2/lib/pmix/pmix_mca_gds_hash.so")
    fake.library(f"{LIB}/ucx/libuct_ib.so.0.0.0", soname="libuct_ib.so.0", needed=["libmlx5.so.1"])
    fake.link(f"{LIB}/ucx/libuct_ib.so", "libuct_ib.so.0.0.0")
    fake.library(f"{LIB}/hwloc/hwloc_gl.so", needed=["libX11.so.6"])
    fake.put("/usr/share/openmpi/help-x.txt")
    fake.put("/etc/openmpi/openmpi-mca-params.conf")
    found = fake.probe()
    mpi = only(found)
    assert {each.path: each.variables for each in mpi.folders} == {
        plugins: ("OPAL_PKGLIBDIR",),
        "/usr/share/openmpi": ("OPAL_PKGDATADIR",),
        "/etc/openmpi": ("OPAL_SYSCONFDIR",),
        f"{LIB}/pmix2/lib/pmix": ("PMIX_PKGLIBDIR",),
        f"{LIB}/ucx": ("UCX_MODULE_DIR",),
        f"{LIB}/hwloc": ("HWLOC_PLUGINS_PATH",),
    }
    assert next(each.needs for each in mpi.folders if each.path == plugins) == {"GLIBC": "2.35"}
    # What plug-ins need is in, they themselves are not: their folder is shown whole.
    assert sorted(path.rpartition("/")[2] for path in mpi.libraries) == [
        "libhwloc.so.15", "libmlx5.so.1", "libmpi.so.40", "libopen-pal.so.40", "libpmix.so.2", "libuct.so.0",
    ]  # fmt: skip
    assert found.notes == (f"libgone.so.1 is not found, which plug-in {plugins}/mca_pml_ucx.so needs",)


def test_a_prefix_is_moved_as_a_whole(fake: Fake) -> None:
    openmpi(fake, "/opt/o/lib", "5.0.11", needed=["libpmix.so.2"], runpath="$ORIGIN/openmpi")
    fake.library("/opt/o/lib/openmpi/libpmix.so.2")
    fake.library("/opt/o/lib/openmpi/mca_btl_x.so", needed=["libnl-3.so.200"])
    fake.cache(fake.library(f"{LIB}/libnl-3.so.200"))
    mpi = only(fake.probe(prefixes=["/opt/o"]))
    assert mpi.folders == (Folder(path="/opt/o", variables=("OPAL_PREFIX", "PMIX_PREFIX", "PMIX_INSTALL_PREFIX")),)
    assert f"{LIB}/libnl-3.so.200" in mpi.libraries


def test_a_pmix_of_its_own_prefix_is_moved_by_itself(fake: Fake) -> None:
    openmpi(fake, "/sw/ompi/lib", "5.0.7", needed=["libpmix.so.2"], runpath="/sw/pmix/lib")
    fake.library("/sw/pmix/lib/libpmix.so.2")
    mpi = only(fake.probe(prefixes=["/sw/ompi"]))
    assert mpi.folders == (
        Folder(path="/sw/ompi", variables=("OPAL_PREFIX",)),
        Folder(path="/sw/pmix", variables=("PMIX_PREFIX", "PMIX_INSTALL_PREFIX")),
    )


def test_intels_fabric_is_found_where_it_is_opened(fake: Fake) -> None:
    extra = b"Intel(R) MPI Library 2021.5 for Linux* OS\0"
    fake.library("/opt/intel/mpi/2021.5/lib/release/libmpi.so.12", exports=MPICH, extra=extra)
    fake.library("/opt/intel/mpi/2021.5/libfabric/lib/libfabric.so.1", needed=["libefa.so.1"])
    fake.library("/opt/intel/mpi/2021.5/libfabric/lib/prov/libmlx-fi.so", needed=["libucp.so.0"])
    fake.cache(fake.library(f"{LIB}/libefa.so.1"), fake.library(f"{LIB}/libucp.so.0"))
    mpi = only(fake.probe(environment={**PATH, "I_MPI_ROOT": "/opt/intel/mpi/2021.5"}))
    assert (mpi.name, mpi.prefix, mpi.wires) == ("impi-2021.5", "/opt/intel/mpi/2021.5", ("pmi1", "pmi2"))
    assert [(each.path, each.variables) for each in mpi.folders] == [("/opt/intel/mpi/2021.5", ("I_MPI_ROOT",))]
    assert {f"{LIB}/libefa.so.1", f"{LIB}/libucp.so.0"} < set(mpi.libraries)


# ------------------------------------------------------------------------------------- the fabric


def touched(made: Fake, *paths: str) -> Tree:
    for path in paths:
        made.put(path)
    return Tree(made.root)


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["/sys/class/infiniband/mlx5_0/x"], "verbs"),
        (["/sys/class/infiniband/hfi1_0/x", "/sys/class/infiniband/mlx5_0/x"], "psm2"),
        (["/sys/class/infiniband/efa_0/x"], "efa"),
        (["/sys/class/cxi/cxi0", "/sys/class/infiniband/mlx5_0/x"], "cxi"),
        (["/dev/cxi0"], "cxi"),
        ([], "none"),
    ],
)
def test_fabrics(fake: Fake, paths: list[str], wanted: str) -> None:
    assert fabric.fabric(touched(fake, *paths)) == wanted


def test_efa_is_known_by_its_driver(fake: Fake) -> None:
    fake.put("/sys/bus/pci/drivers/efa/x")
    fake.link("/sys/class/infiniband/rdmap0s6/device/driver", "../../../../bus/pci/drivers/efa")
    assert fabric.fabric(Tree(fake.root)) == "efa"


def test_devices_and_data_of_infiniband(fake: Fake) -> None:
    fake.cache(mpich(fake, needed=["libibverbs.so.1"]), fake.library(f"{LIB}/libibverbs.so.1"))
    fake.library(f"{LIB}/libibverbs/libmlx5-rdmav34.so", needed=["libmlx5.so.1"])
    fake.library(f"{LIB}/libmlx5.so.1")
    for path in ("/sys/class/infiniband/mlx5_0/x", "/etc/libibverbs.d/mlx5.driver", "/dev/knem", "/dev/null"):
        fake.put(path)
    for name in ("uverbs0", "rdma_cm", "by-path"):
        fake.put(f"/dev/infiniband/{name}")
    found = fake.probe()
    assert found.devices == ("/dev/infiniband/rdma_cm", "/dev/infiniband/uverbs0", "/dev/knem")
    assert found.data == ("/etc/libibverbs.d", f"{LIB}/libibverbs")
    assert f"{LIB}/libmlx5.so.1" in only(found).libraries


# ------------------------------------------------------------------------------------- foreign data


def test_garbage_ends_nothing(fake: Fake) -> None:
    good = build(soname="libmpi.so.12", exports=MPICH)
    for size in range(0, len(good), 97):
        fake.put(f"/opt/g{size}/lib/libmpi.so.12", good[:size])
    fake.link("/opt/loop/lib", "lib")
    fake.link("/opt/loop2/lib/libmpi.so.12", "libmpi.so.12")
    fake.put("/etc/ld.so.cache", b"glibc-ld.so.cache1.1\xff\xff\xff\xff" + bytes(50))
    os.mkfifo(fake.root / "opt/g0/lib/libmpich.so.12")
    prefixes = [
        "/opt/loop",
        "/opt/loop2",
        "/nowhere",
        "not absolute",
        "/a\0b",
        *(f"/opt/g{n}" for n in range(0, len(good), 97)),
    ]
    begin = time.monotonic()
    # One that lacks only the end of its table of sections can still be read.
    assert len(fake.probe(prefixes=prefixes).mpis) <= 1
    assert time.monotonic() - begin < 20


def test_links_lead_nowhere_out_of_the_root(fake: Fake) -> None:
    fake.link("/opt/x", "../../../../../../../../../../../../etc")
    assert Tree(fake.root).real("/opt/x/passwd") == "/etc/passwd"
    assert not Tree(fake.root).is_file("/opt/x/passwd")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_folders_that_cannot_be_read_are_empty(fake: Fake) -> None:
    mpich(fake, "/opt/m/lib", "libmpi.so.12")
    Path(f"{fake.root}/opt/m/lib").chmod(0)
    try:
        assert fake.probe(prefixes=["/opt/m"]).mpis == ()
    finally:
        Path(f"{fake.root}/opt/m/lib").chmod(0o755)
