"""The canary under real MPIs: real launchers, real libraries of each family, real images; and what is said of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hpcjobs.mpi import canary
from tests.integration.conftest import CLUSTER

pytestmark = pytest.mark.integration

# Made once, kept between sessions.
HOSTS = Path("/var/tmp/hpcjobs-mpi-hosts")
IMAGES = Path("/var/tmp/hpcjobs-mpi-images")
RANKS = 3


@pytest.fixture(scope="session")
def hosts() -> Path:
    """The MPIs of tests/cluster/mpi. In CI their absence is a failure, never a skip."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("the canary is NOT TESTED with real MPIs: they are made by root (tests/cluster/mpi)")
    subprocess.run([CLUSTER / "mpi", "hosts", HOSTS], check=True, capture_output=True, timeout=600)
    return HOSTS


@pytest.fixture(scope="session")
def images(hosts: Path) -> Path:
    subprocess.run([CLUSTER / "mpi", "images", IMAGES], check=True, capture_output=True, timeout=1200)
    return IMAGES


class Trial:
    """One folder: the canary in it, what it wrote, what the judge says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "canary"

    def make(self, soname: str, *, libc: str = "glibc", family: canary.Family = "", runpath: str = "") -> Path:
        loader = canary.LOADERS["x86_64", libc]
        self.program.write_bytes(canary.make("x86_64", soname, loader, family=family, runpath=runpath))
        self.program.chmod(0o755)
        return self.program

    def run(self, *command: str | Path, **env: str) -> int:
        """Start it; output goes to files, as in a job: then no left process can hold a pipe that a launcher reads."""
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            return subprocess.run(
                # An MPI that aborts, or MPICH with UCX in MPI_Finalize, may wait for ever.
                ["timeout", "-k", "5", "20", *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False,
                env={**os.environ, "USER": "root", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **env},
            ).returncode  # fmt: skip

    def judged(self, pattern: str = "", tasks: int = RANKS) -> str:
        text = f'set -eu\n{canary.judge_text()}\nif hpcjob_judge "$@"; then echo fine; fi\n'
        return subprocess.run(
            ["bash", "-c", text, "bash", self.folder / "out", self.folder / "err", str(tasks), "1", pattern],
            capture_output=True, text=True, check=True,
        ).stdout.rstrip("\n")  # fmt: skip

    def said(self) -> str:
        return (self.folder / "out").read_text() + (self.folder / "err").read_text()


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path)


def start(host: Path) -> tuple[str | Path, ...]:
    """The launcher of an MPI, for more ranks than this machine may have cores."""
    more = ("--oversubscribe",) if host.name.startswith("openmpi") else ()
    return (host / "bin/mpiexec", *more, "-n", str(RANKS))


@pytest.mark.parametrize(
    ("host", "soname", "words"),
    [
        ("mpich-4.3", "libmpi.so.12", "MPICH Version: 4.3*"),
        ("mpich-5.0", "libmpi.so.12", "MPICH Version: 5.0*"),
        ("mpich-5.0", "libmpi_abi.so.1", "MPICH Version: 5.0*"),
        ("impi", "libmpi.so.12", "Intel(R) MPI Library 2021*"),
        ("impi", "libmpi_abi.so.1", "Intel(R) MPI Library 2021*"),
        ("openmpi-4.1", "libmpi.so.40", "Open MPI v4.1*"),
        ("openmpi-5.0", "libmpi.so.40", "Open MPI v5.0*"),
    ],
)
def test_the_ranks_find_each_other_with(hosts: Path, trial: Trial, host: str, soname: str, words: str) -> None:
    program = trial.make(soname)
    done = trial.run(*start(hosts / host), program, LD_LIBRARY_PATH=str(hosts / host / "lib"))
    assert trial.judged(words) == "fine", trial.said()
    assert done == 0, trial.said()


def test_debians_mpich_by_the_loaders_own_cache(hosts: Path, trial: Trial) -> None:
    assert trial.run("mpiexec.mpich", "-n", str(RANKS), trial.make("libmpich.so.12")) == 0, trial.said()
    assert trial.judged("MPICH Version: *") == "fine", trial.said()


def test_the_environment_chooses_the_library_and_the_runpath_when_it_does_not(hosts: Path, trial: Trial) -> None:
    program = trial.make("libmpi.so.12", runpath=str(hosts / "mpich-4.3/lib"))
    assert trial.run(program) == 0, trial.said()
    assert trial.judged("MPICH Version: 4.3*", tasks=1) == "fine", trial.said()
    assert trial.run(program, LD_LIBRARY_PATH=str(hosts / "mpich-5.0/lib")) == 0, trial.said()
    assert trial.judged("MPICH Version: 4.3*", tasks=1).startswith("the MPI in the container is 'MPICH Version: 5.0")


def test_the_launcher_of_another_family_is_found_out(hosts: Path, trial: Trial) -> None:
    program = trial.make("libmpich.so.12")
    # All of them end well, and each has nobody to talk to.
    assert trial.run(*start(hosts / "openmpi-5.0"), program) == 0, trial.said()
    assert trial.judged().startswith(
        f"the ranks did not find each other: {RANKS} programs each say that they are rank 0"
    )


def test_a_rank_that_is_alone_stays_while_others_join_its_namespaces(trial: Trial) -> None:
    with subprocess.Popen([trial.make("libmpich.so.12")], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert b" rank=0 size=1 " in process.stdout.readline()
        # proc(5): the system call that a process is in; 35 is nanosleep(2).
        while not Path(f"/proc/{process.pid}/syscall").read_text().startswith("35 "):
            assert process.poll() is None, "it has ended"
        process.kill()


@pytest.mark.parametrize(
    ("name", "host", "library", "words"),
    [
        ("libmpich.so.12", "openmpi-5.0", "libmpi.so.40", "Open MPI v5.0"),
        ("libmpi.so.40", "mpich-5.0", "libmpi.so.12", "MPICH Version: 5.0"),
    ],
)
def test_a_library_of_another_family_under_the_programs_name(
    *, hosts: Path, trial: Trial, name: str, host: str, library: str, words: str
) -> None:
    lib = hosts / host / "lib"
    (trial.folder / name).symlink_to(lib / library)
    # A library found by a link has its $ORIGIN where the link is, so its own libraries are named here.
    path = f"{trial.folder}:{lib}:{lib / 'openmpi'}:{lib / 'mpich'}"
    assert trial.run(trial.make(name), LD_LIBRARY_PATH=path) == 1, trial.said()
    assert trial.judged(tasks=1).startswith("the program was built for another family of MPI than the one that it gets")
    assert words in trial.judged(tasks=1)


@pytest.mark.parametrize(
    ("image", "soname", "launcher", "words"),
    [
        ("bullseye-mpich", "libmpich.so.12", "mpich-4.3", "MPICH Version: 3.4*"),
        ("bookworm-mpich", "libmpich.so.12", "mpich-4.3", "MPICH Version: 4.0*"),
        ("trixie-mpich", "libmpich.so.12", "mpich-5.0", "MPICH Version: 4.2*"),
        ("bullseye-openmpi", "libmpi.so.40", "openmpi-4.1", "Open MPI v4.1.0"),
        ("bookworm-openmpi", "libmpi.so.40", "openmpi-4.1", "Open MPI v4.1.4"),
        ("trixie-openmpi", "libmpi.so.40", "openmpi-5.0", "Open MPI v5.0*"),
    ],
)
def test_in_an_image_with_the_images_own_mpi(
    *, images: Path, hosts: Path, trial: Trial, image: str, soname: str, launcher: str, words: str
) -> None:
    program = trial.make(soname)
    # Each rank has a user namespace of its own, so UCX may neither look into /proc of another nor read its memory.
    trial.run(
        *start(hosts / launcher), "env", "-u", "OPAL_PREFIX", "-u", "PMIX_PREFIX", "-u", "PRTE_PREFIX", "UCX_POSIX_USE_PROC_LINK=n", "UCX_TLS=^cma",
        "apptainer", "--silent", "exec", "--userns", "-B", trial.folder, images / image, program,
    )  # fmt: skip
    assert trial.judged(words) == "fine", trial.said()


def test_what_only_long_messages_show_is_found_out(images: Path, hosts: Path, trial: Trial) -> None:
    """Short messages between user namespaces pass; long ones need process_vm_readv(2), which the kernel refuses."""
    program = trial.make("libmpich.so.12")
    trial.run(
        *start(hosts / "mpich-4.3"), "env", "UCX_POSIX_USE_PROC_LINK=n", "apptainer", "--silent", "exec", "--userns",
        "-B", trial.folder, images / "bookworm-mpich", program,
    )  # fmt: skip
    words = trial.judged()
    assert "could start MPI and report: " in words
    assert "process_vm_readv" in words, trial.said()


def test_the_loader_of_musl_takes_it_up_to_the_library_that_is_not_there(images: Path, trial: Trial) -> None:
    program = trial.make("libmpich.so.12", libc="musl")
    assert trial.run("apptainer", "--silent", "exec", "--userns", "-B", trial.folder, images / "musl", program) == 127
    assert "Error loading shared library libmpich.so.12: No such file or directory" in trial.judged(tasks=1)


def test_with_musl_the_constructors_of_libraries_are_run_before_it_speaks(images: Path, trial: Trial) -> None:
    """There is no MPI for musl at Debian, so this one is a stand-in with one rank; it wants its libc to be ready."""
    source = trial.folder / "mpi.c"
    source.write_text(FAKE)
    subprocess.run(["musl-gcc", "-shared", "-fPIC", "-o", trial.folder / "libmpich.so.12", source], check=True)
    program = trial.make("libmpich.so.12", libc="musl")
    assert trial.run(program, LD_LIBRARY_PATH=str(trial.folder)) == 0, trial.said()
    assert trial.judged("Fake MPI 1.5", tasks=1) == "fine", trial.said()
    assert "the end" in trial.said()


FAKE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char *heap;
__attribute__((constructor)) static void begin(void) { heap = malloc(100000); }
__attribute__((destructor)) static void end(void) { fputs("the end\n", stderr); }
int MPI_Init(int *c, char ***v) { return !heap || !getenv("PATH"); }
int MPI_Comm_rank(void *c, int *rank) { *rank = 0; return (long)c != 0x44000000; }
int MPI_Comm_size(void *c, int *size) { *size = 1; return 0; }
int MPI_Barrier(void *c) { return 0; }
int MPI_Allreduce(const void *a, void *b, int n, void *t, void *o, void *c) { memcpy(b, a, 4 * n); return 0; }
int MPI_Sendrecv(const void *a, int n, void *t, int to, int g, void *b, int m, void *u, int from, int h, void *c, void *s) {
    memcpy(b, a, 4 * n);
    return 0;
}
int MPI_Finalize(void) { return 0; }
int MPI_Get_library_version(char *to, int *n) { *n = sprintf(to, "Fake\t\tMPI  %.1f , and more\n", 1.5); return 0; }
"""
