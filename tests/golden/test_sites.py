"""The scripts of the real machines that come with hpcjob: one file for each machine and kind of job.

What is asked for is what people would type on any of them: the number of nodes, cores a rank, GPUs, an image. So a
machine whose file cannot make a job of that fails here.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import capabilities, destination, paths
from hpcjobs import site as sites
from hpcjobs.model import ImageFacts, JobSpec, Partition, Site
from hpcjobs.mpi.facts import MpiImage
from hpcjobs.mpi.settle import runtime_option
from hpcjobs.units import Duration
from tests import mpi_facts
from tests.golden.test_golden import only_built_in_templates, script

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcjobs.mpi.facts import MpiHost

__all__ = ["only_built_in_templates"]  # a fixture
HERE = Path(__file__).parent / "sites"
# They describe no machine, or this one.
GENERIC = {"local", "slurm", "pbs", "testbed"}
ASKED: dict[str, Any] = {"command": ("./solve", "in.nml"), "account": "ab12", "time": Duration(1800)}
IMAGES = {
    "sif": ImageFacts("/images/app.sif", "sif", "x86_64"),
    "squashfs": ImageFacts("/images/app.sqfs", "squashfs", missing=()),
    "reference": ImageFacts("docker://registry.example.org/app:1.0", "reference", source="docker://registry.example.org/app:1.0"),
}  # fmt: skip


def _host(*mpis: Any, launchers: tuple[Any, ...]) -> MpiHost:
    return mpi_facts.host(*mpis, launchers=launchers)


# What `hpcjob mpi host` would have found there, by the file that the machine's extends, and an image that fits.
GTL = {
    f"libmpi_gtl_{kind}.so.0": f"/opt/cray/pe/mpich/8.1.27/gtl/lib/libmpi_gtl_{kind}.so.0.0.0"
    for kind in ("cuda", "hsa", "ze")
}
CRAY_MPICH = replace(mpi_facts.CRAY_MPICH, gpu_libraries=GTL)
CRAY = (mpi_facts.TRIXIE, _host(CRAY_MPICH, launchers=(mpi_facts.CRAY_SRUN,)))
PALS = (mpi_facts.TRIXIE, _host(CRAY_MPICH, launchers=(mpi_facts.PALS,)))
OPEN_MPI = (
    mpi_facts.TRIXIE_OMPI,
    _host(mpi_facts.OMPI5, launchers=(mpi_facts.SRUN, mpi_facts.starter("mpirun", "openmpi", "openmpi-5.0.11", "5.0.11"))),
)  # fmt: skip


HYDRA = (mpi_facts.TRIXIE, _host(mpi_facts.INTEL_MPI, launchers=(mpi_facts.HYDRA,)))


@dataclass(frozen=True)
class Machine:
    """A machine's site, and what its MPI would be."""

    site: Site
    extends: tuple[str, ...]

    @property
    def mpi(self) -> tuple[MpiImage, MpiHost]:
        found = CRAY if "_slingshot-cray" in self.extends else PALS if "_pals-pbs" in self.extends else OPEN_MPI
        if self.site.launcher.kind == "mpiexec":
            found = HYDRA
        types = self.site.mpi.types
        launchers = tuple(
            replace(one, types=types) if types and one.kind == "srun" else one for one in found[1].launchers
        )
        return found[0], replace(found[1], launchers=launchers)


def names() -> list[str]:
    """The machines that come with hpcjob."""
    found = {path.stem for path in paths.packaged("sites").glob("[!_]*.yaml")}
    return sorted(found - GENERIC)


@cache
def machine(name: str) -> Machine:
    """The site with all programs that it names on PATH."""
    loaded = sites.load(name)
    site = sites.settle(loaded.site, lambda program: f"/usr/bin/{program}")
    if site.scheduler.kind == "pbs":
        site = replace(site, scheduler=replace(site.scheduler, extra={"dialect": "openpbs", **site.scheduler.extra}))
    return Machine(site, tuple(found.name for found in loaded.layers.files))


@cache
def cases(name: str) -> dict[str, tuple[JobSpec, ImageFacts, tuple[MpiImage, MpiHost | None] | None]]:
    """The jobs that people ask for on every machine."""
    found = machine(name)
    site, bare = found.site, ImageFacts("")
    first = 1 if site.scheduler.kind == "lsf" else 0
    made: dict[str, tuple[JobSpec, ImageFacts, Any]] = {
        "serial": (JobSpec(**ASKED), bare, None),
        "mpi": (JobSpec(**ASKED, nodes=4), bare, None),
        "hybrid": (JobSpec(**ASKED, nodes=4, cpus_per_task=8), bare, None),
        "array": (JobSpec(**ASKED, array=f"{first}-{first + 9}"), bare, None),
    }
    if site.gpu.kind != "none":
        made["gpu"] = (JobSpec(**ASKED, nodes=2, gpus_per_node=gpus(site)), bare, None)
    for place, runtime in enumerate(site.runtimes):
        form = next(form for form in IMAGES if not capabilities.lacks(runtime.kind, [form]))
        nodes = 1 if capabilities.lacks(runtime.kind, ["nodes"]) else 4
        image = IMAGES[form]
        what, host = found.mpi
        known = (
            (MpiImage(path=image.path), None)
            if runtime_option(site, runtime, gpus=False)
            else (replace(what, path=image.path), host)
        )
        made[f"container-{runtime.kind}"] = (JobSpec(**ASKED, nodes=nodes, runtime=runtime.kind), image, known)
        if site.gpu.kind != "none" and place == 0:
            asked = JobSpec(**ASKED, nodes=min(nodes, 2), runtime=runtime.kind, gpus_per_node=gpus(site))
            made["container-gpu"] = (asked, image, known)
    return made


def gpus(site: Site) -> int:
    """The GPUs of a node where jobs with GPUs go."""
    asked = JobSpec(**ASKED, nodes=2, gpus_per_node=1)
    found = destination.partition_of(asked, site) if site.partitions else Partition()
    return found.node.gpus or 2


def text_of(name: str, case: str) -> str:
    """The script of that job there."""
    spec, image, mpi = cases(name)[case]
    return script(spec=spec, site=machine(name).site, image=image, mpi=mpi).text


ALL = [(name, case) for name in names() for case in cases(name)]


@pytest.mark.parametrize(("name", "case"), ALL, ids=[f"{name}-{case}" for name, case in ALL])
def test_script_is_as_blessed(name: str, case: str, golden: Callable[[Path, str], None]) -> None:
    golden(HERE / name / f"{case}.sh", text_of(name, case))


@pytest.mark.parametrize("name", names())
def test_scripts_pass_bash_and_shellcheck(name: str) -> None:
    files = sorted(str(file) for file in (HERE / name).glob("*.sh"))
    # SC1091: files of the nodes.
    calls = [["shellcheck", "--exclude=SC1091,SC2016", *files], *(["bash", "-n", file] for file in files)]
    done: list[Any] = [subprocess.run(call, capture_output=True, text=True, check=False) for call in calls]
    assert files
    assert [(d.returncode, d.stdout, d.stderr) for d in done] == [(0, "", "")] * len(calls)


def test_every_golden_file_has_a_case(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--bless"):
        for file in HERE.glob("*/*.sh"):
            if (file.parent.name, file.stem) not in ALL:
                file.unlink()
    written = sorted(file.relative_to(HERE).with_suffix("").parts for file in HERE.glob("*/*.sh"))
    assert written == sorted(ALL)


@pytest.mark.parametrize("name", names())
def test_a_file_is_short_and_says_where_it_has_its_values_from(name: str) -> None:
    site = machine(name).site
    text = (paths.packaged("sites") / f"{name}.yaml").read_text("utf-8")
    assert len(text.splitlines()) <= 60
    assert site.sources
    assert site.checked
    assert bool(site.retired) != bool(site.detect)
