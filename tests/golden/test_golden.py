"""The scripts of several sites, as text to read: one file a case, written by `pytest --bless`.

Each is what a careful expert of that site would have written, passes `bash -n`, and shellcheck has nothing to say.
"""

from __future__ import annotations

import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import launchers, plan, render, runtimes, schedulers, wrapper
from hpcjobs.model import (
    GpuConfig,
    HostFacts,
    ImageFacts,
    ImageKey,
    JobSpec,
    LauncherConfig,
    MpiConfig,
    NodeShape,
    Partition,
    RuntimeConfig,
    SchedulerConfig,
    Script,
    ServiceSpec,
    Site,
    StudyPart,
)
from hpcjobs.mpi.facts import MpiImage
from hpcjobs.mpi.settle import Known
from hpcjobs.sweep import command
from hpcjobs.sweep.pointscript import BELOW, PointFile, PointScript, launch_words
from hpcjobs.units import Duration, Memory
from tests import mpi_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpcjobs.mpi.facts import MpiHost

HERE = Path(__file__).parent

CLUSTER = Site(
    name="cluster",
    scheduler=SchedulerConfig(kind="slurm"),
    partitions={
        "debug": Partition(default=True, nodes=4, max_time=Duration(3600), node=NodeShape(cores=4)),
        "gpu": Partition(nodes=8, node=NodeShape(cores=64, gpus=4, memory=Memory.parse("512G"))),
    },
    gpu=GpuConfig(kind="nvidia"),
    launcher=LauncherConfig(kind="srun"),
    launchers=(LauncherConfig(kind="mpirun"), LauncherConfig(kind="mpiexec")),
    runtimes=(RuntimeConfig(kind="apptainer"), RuntimeConfig(kind="charliecloud", version="0.31")),
)
CENTRE = Site(
    name="centre",
    scheduler=SchedulerConfig(kind="slurm", export="none"),
    require=("account",),
    directives=("--switches=1",),
    module_init="source /etc/profile.d/modules.sh",
    modules=("PrgEnv-gnu",),
    env={"MPICH_OFI_CXI_COUNTER_REPORT": "1", "TMPDIR": "/scratch/$USER"},
    gpu=GpuConfig(kind="amd", request="gres"),
    launcher=LauncherConfig(kind="srun", options=("--distribution=block:block",)),
    runtimes=(RuntimeConfig(kind="singularity", modules=("singularity/4.1",)),),
    mpi=MpiConfig(default="pmi2", types=("pmi2", "cray_shasta")),
    bind=("/opt/cray", "/scratch/$USER:/scratch"),
    scratch="/scratch/$USER/$SLURM_JOB_ID",
)
LOCAL = Site(
    name="local",
    launcher=LauncherConfig(kind="none"),
    launchers=(LauncherConfig(kind="mpiexec"),),
    runtimes=(RuntimeConfig(kind="charliecloud"),),
)


def of_pbs(dialect: str, **site: Any) -> Site:
    """A machine with that PBS."""
    extra = {"dialect": dialect, **site.pop("extra", {})}
    return Site(
        name="pbs",
        scheduler=SchedulerConfig(kind="pbs", extra=extra),
        bind=("$PBS_NODEFILE::optional",),
        **{
            "launcher": LauncherConfig(kind="mpiexec", single=False),
            "runtimes": (RuntimeConfig(kind="apptainer"),),
            "gpu": GpuConfig(kind="nvidia"),
            "partitions": {"workq": Partition(default=True, nodes=8, node=NodeShape(cores=64, gpus=4))},
            **site,
        },
    )


OPENPBS, TORQUE, WRAPPER = (of_pbs(dialect) for dialect in ("openpbs", "torque", "slurm-torque"))
# As Polaris and Aurora want it.
PALS = of_pbs(
    "openpbs",
    extra={"chunk": "system=polaris"},
    launcher=LauncherConfig(kind="pals"),
    directives=("-l filesystems=home:eagle",),
    modules=("apptainer",),
)


def running(runtime: str, **site: Any) -> Site:
    """The cluster with this runtime."""
    return replace(CLUSTER, runtimes=(RuntimeConfig(kind=runtime),), **site)


WITH_MODULES = replace(
    CLUSTER,
    modules=("purge", "use $HOME/modules", "use --append /soft/modules", "gcc/13.2", "load gcc/13.2"),
    runtimes=(RuntimeConfig(kind="apptainer", modules=("apptainer/1.3",)),),
)
ONE_HOST = replace(CLUSTER, launcher=LauncherConfig(kind="none"), runtimes=(RuntimeConfig(kind="docker"),))

SIF = ImageFacts("/images/app.sif", "sif", "x86_64")
SQUASHFS = ImageFacts("/images/app.sqfs", "squashfs", missing=("/home/ada/run",))
FOLDER = ImageFacts("/images/app", "directory", "x86_64", missing=())
DIGEST = "sha256:" + "1f" * 32
PULLED = ImageFacts(
    f"docker://docker.io/library/app@{DIGEST}",
    "reference",
    digest=DIGEST,
    source=f"docker://docker.io/library/app:24.04@{DIGEST}",
)
SEEN = replace(SIF, digest=DIGEST, stamp="104857600.1700000000")
APP = ("./solve", "in.nml")
ON_GPUS: dict[str, Any] = {"nodes": 2, "gpus_per_node": 4, "partition": "gpu", "ntasks_per_node": 4}
IN_BINDS: dict[str, Any] = {"bind": ("/data/in:/in:ro",), "env": {"MODE": "fast, and 'safe'"}}
REDIS = ServiceSpec(
    name="db", command=("redis-server", "--port", "6379"), ready=("redis-cli", "ping"), env={"LOG": "a b"}
)
HOSTILE = 'it\'s "$HOME" `id` $(id) \\ ; & | * ? ~ # %j !x ümläut 你好\ttab\nline'

CASES: dict[tuple[str, str], tuple[Site, JobSpec, ImageFacts]] = {
    ("cluster", "minimal"): (CLUSTER, JobSpec(command=APP), ImageFacts("")),
    ("cluster", "nodes"): (CLUSTER, JobSpec(command=APP, nodes=4), SIF),
    ("cluster", "hybrid"): (CLUSTER, JobSpec(command=APP, nodes=2, cpus_per_task=2, time=Duration(1800)), SIF),
    ("cluster", "charliecloud"): (CLUSTER, JobSpec(command=APP, nodes=4, ntasks=8, runtime="charliecloud"), SQUASHFS),
    ("cluster", "array"): (
        CLUSTER,
        JobSpec(command=("python3", "fit.py"), array="0-99%10", output="fit-%A_%a.log", requeue=True),
        ImageFacts(""),
    ),
    ("cluster", "array-own-logs"): (CLUSTER, JobSpec(command=APP, array="0-9"), ImageFacts("")),
    ("cluster", "uneven"): (CLUSTER, JobSpec(command=APP, nodes=2, ntasks=3), SIF),
    ("cluster", "gpus"): (
        CLUSTER,
        JobSpec(command=APP, nodes=2, gpus_per_node=4, cpus_per_task=16, gpu_type="a100", partition="gpu"),
        SIF,
    ),
    ("cluster", "mpirun"): (
        CLUSTER,
        JobSpec(command=APP, nodes=2, cpus_per_task=2, launcher="mpirun"),
        ImageFacts(""),
    ),
    ("cluster", "mpiexec"): (
        CLUSTER,
        JobSpec(command=APP, ntasks=6, launcher="mpiexec", runtime="charliecloud"),
        SQUASHFS,
    ),
    ("cluster", "everything"): (
        CLUSTER,
        JobSpec(
            command=APP,
            name="all of it",
            nodes=2,
            mem=Memory.parse("8G"),
            partition="gpu",
            account="ab12",
            qos="high",
            constraint="a|b",
            reservation="course",
            licenses="matlab:2",
            exclusive=True,
            hold=True,
            requeue=False,
            dependency="afterok:j3",
            directives=("--switches=1", "--mail-type=END"),
            time=Duration(90000),
        ),
        ImageFacts(""),
    ),
    ("cluster", "hostile"): (
        CLUSTER,
        JobSpec(
            command=("./so lve", HOSTILE, "--flag", ""),
            name='a "name" of #1 \\ it\'s',
            env={"TEXT": HOSTILE},
            workdir="/data/it's 100%/$HOME",
            bind=("/data/it's here:/data:ro",),
            partition="debug",
        ),
        replace(SIF, path="/images/an 'app'.sif"),
    ),
    ("cluster", "image-changed-warn"): (CLUSTER, JobSpec(command=APP), SEEN),
    ("cluster", "image-everything"): (
        CLUSTER,
        JobSpec(
            command=APP,
            app="solve",
            overlay=("/data/base.img:ro", "/data/mine.img:2G"),
            image_key="/home/ada/key.pem",
            clean_env=True,
            entrypoint=True,
            container_workdir="/opt/run",
            image_changed="refuse",
            **IN_BINDS,
        ),
        replace(SEEN, encrypted=True),
    ),
    ("cluster", "image-writable"): (
        CLUSTER,
        JobSpec(command=APP, nodes=2, writable=True, overlay=("/data/base:ro",), clean_env=True),
        SIF,
    ),
    ("cluster", "overlay-folder"): (
        running("singularity"),
        JobSpec(command=APP, overlay=("/data/layer",), image_key="/home/ada/key.pem"),
        SIF,
    ),
    ("cluster", "service"): (CLUSTER, JobSpec(command=APP, services=(REDIS,), nodes=2), SIF),
    ("cluster", "service-per-node"): (
        CLUSTER,
        JobSpec(command=APP, services=(replace(REDIS, per="node", ready=()),), nodes=2),
        SIF,
    ),
    ("cluster", "service-instance"): (
        CLUSTER,
        JobSpec(command=APP, services=(ServiceSpec(name="db", ready=("redis-cli", "ping")),), array="0-3"),
        SIF,
    ),
    ("cluster", "service-instances-per-node"): (
        CLUSTER,
        JobSpec(command=APP, services=(ServiceSpec(name="cache", per="node"), REDIS), nodes=2),
        SIF,
    ),
    ("cluster", "singularity"): (running("singularity"), JobSpec(command=APP, **ON_GPUS, **IN_BINDS), SIF),
    ("cluster", "podman"): (running("podman"), JobSpec(command=APP, **ON_GPUS, **IN_BINDS), PULLED),
    ("cluster", "podman-folder"): (running("podman"), JobSpec(command=APP, clean_env=True, entrypoint=True), FOLDER),
    ("cluster", "podman-hpc"): (running("podman-hpc"), JobSpec(command=APP, **ON_GPUS, **IN_BINDS), PULLED),
    ("cluster", "shifter"): (running("shifter"), JobSpec(command=APP, **ON_GPUS, **IN_BINDS), PULLED),
    ("cluster", "sarus"): (running("sarus"), JobSpec(command=APP, **ON_GPUS, **IN_BINDS), PULLED),
    ("cluster", "pyxis"): (
        running("pyxis"),
        JobSpec(command=APP, services=(REDIS,), writable=True, **ON_GPUS, **IN_BINDS),
        replace(SQUASHFS, missing=()),
    ),
    ("cluster", "ce"): (running("ce"), JobSpec(command=APP, **ON_GPUS, **IN_BINDS), replace(SQUASHFS, missing=())),
    ("cluster", "docker"): (ONE_HOST, JobSpec(command=APP, gpus_per_node=1, partition="gpu", **IN_BINDS), PULLED),
    ("centre", "container"): (CENTRE, JobSpec(command=APP, nodes=2, ntasks=16, account="ab12"), SIF),
    ("centre", "gpus"): (
        CENTRE,
        JobSpec(command=APP, nodes=1, ntasks_per_node=2, gpus_per_node=8, account="ab12", env={"NCCL_DEBUG": "INFO"}),
        SIF,
    ),
    ("cluster", "modules"): (
        WITH_MODULES,
        JobSpec(
            command=APP,
            modules=(
                "fftw/3.3.10",
                "swap gcc gcc/12.1",
                "unload darshan xalt",
                "restore mine",
                "reset",
                "--force purge",
                "it's",
            ),
        ),
        SIF,
    ),
    ("cluster", "web-application"): (
        CLUSTER,
        JobSpec(command=("./dashboard",), port="auto", idle=Duration(3600), gpus_per_node=1, partition="gpu"),
        SIF,
    ),
    ("local", "minimal"): (LOCAL, JobSpec(command=APP), ImageFacts("")),
    ("local", "array"): (LOCAL, JobSpec(command=("echo", "hello"), array="1,3,5"), ImageFacts("")),
    ("local", "container"): (
        LOCAL,
        JobSpec(command=APP, ntasks=2, launcher="mpiexec"),
        replace(SQUASHFS, missing=(), environment=True),
    ),
}


# What is known of image and host, in cases of MPI.
SRUN = mpi_facts.srun("none", "pmi2", "pmix")
DEBIAN = mpi_facts.host(mpi_facts.DEBIAN, launchers=(SRUN,))
INSIDE = replace(mpi_facts.TRIXIE, mpirun="/usr/bin/mpiexec")
RPATH = mpi_facts.host(mpi_facts.MPICH5, launchers=(SRUN,), data=("/etc/libibverbs.d",))
PROVEN = replace(SEEN, path=INSIDE.path)
DEEP = replace(SQUASHFS, missing=(), digest=DIGEST, stamp=SEEN.stamp)
MPI: dict[tuple[str, str], tuple[MpiImage, MpiHost | None]] = {
    ("cluster", "mpi-bind"): (mpi_facts.TRIXIE, DEBIAN),
    ("cluster", "mpi-bind-charliecloud"): (mpi_facts.TRIXIE, DEBIAN),
    ("cluster", "mpi-bind-rpath"): (mpi_facts.RPATH, RPATH),
    ("cluster", "mpi-one-node"): (mpi_facts.TRIXIE, DEBIAN),
    ("cluster", "mpi-array"): (mpi_facts.TRIXIE, DEBIAN),
    ("cluster", "mpi-hybrid-podman"): (mpi_facts.TRIXIE_OMPI, DEBIAN),
    ("cluster", "mpi-shifter"): (MpiImage(path=PULLED.path), None),
    ("cluster", "mpi-shifter-gpus"): (MpiImage(path=PULLED.path), None),
    ("cluster", "mpi-sarus"): (MpiImage(path=PULLED.path), None),
    ("cluster", "mpi-recipe"): (mpi_facts.TRIXIE, DEBIAN),
    ("cluster", "mpi-unchecked"): (mpi_facts.TRIXIE, DEBIAN),
    ("local", "mpi-container"): (INSIDE, DEBIAN),
}
SHIFTER = RuntimeConfig(kind="shifter", mpi_option="--module=mpich", mpi_gpu_option="--module=cuda-mpich")
SOLVE = ("/opt/app/solve", "in.nml")
FOUR: dict[str, Any] = {"command": SOLVE, "nodes": 2, "ntasks_per_node": 2}
RECIPE = MpiConfig(
    bind=("/usr/lib/x86_64-linux-gnu:/host/lib:ro", "/var/spool/slurmd"), env={"LD_LIBRARY_PATH": "/host/lib"}
)
CASES |= {
    ("cluster", "mpi-bind"): (CLUSTER, JobSpec(**FOUR), PROVEN),
    ("cluster", "mpi-bind-charliecloud"): (CLUSTER, JobSpec(**FOUR, runtime="charliecloud"), DEEP),
    ("cluster", "mpi-bind-rpath"): (CLUSTER, JobSpec(**FOUR, env={"LD_LIBRARY_PATH": "/mine"}), SIF),
    ("cluster", "mpi-one-node"): (CLUSTER, JobSpec(command=SOLVE, nodes=1, ntasks_per_node=4), SIF),
    ("cluster", "mpi-array"): (CLUSTER, JobSpec(**FOUR, array="0-3"), PROVEN),
    ("cluster", "mpi-hybrid-podman"): (running("podman"), JobSpec(**FOUR), FOLDER),
    ("cluster", "mpi-shifter"): (
        running("shifter", mpi=MpiConfig(runtime_option="--module=mpich")), JobSpec(**FOUR), PULLED,
    ),
    ("cluster", "mpi-shifter-gpus"): (
        replace(CLUSTER, runtimes=(SHIFTER,), gpu=GpuConfig(kind="nvidia", request="none")),
        JobSpec(command=APP, **ON_GPUS, bind=("/data/in:/in:ro", "/data/out:/out")), PULLED,
    ),
    ("cluster", "mpi-sarus"): (running("sarus", mpi=MpiConfig(runtime_option="--mpi")), JobSpec(**FOUR), PULLED),
    ("cluster", "mpi-recipe"): (replace(CLUSTER, mpi=RECIPE), JobSpec(**FOUR), SIF),
    ("cluster", "mpi-unchecked"): (CLUSTER, JobSpec(**FOUR, mpi_check="never"), SIF),
    ("local", "mpi-container"): (
        LOCAL, JobSpec(command=SOLVE, ntasks=2, mpi="container"), replace(SQUASHFS, missing=(), environment=True),
    ),
}  # fmt: skip


ON_FOUR: dict[str, Any] = {"command": APP, "nodes": 4, "ntasks_per_node": 8, "cpus_per_task": 4}
ALL_OF_PBS: dict[str, Any] = {
    "command": APP, "name": "all of it", "nodes": 2, "ntasks": 6, "mem": Memory.parse("8G"), "partition": "workq",
    "account": "ab12", "constraint": "cpu&host=n7", "licenses": "matlab:2", "exclusive": True, "hold": True,
    "requeue": True, "dependency": "afterok:j3", "directives": ("-m e", "-l job_priority=premium"),
    "time": Duration(90000), "output": "out of %x/%j.log",
}  # fmt: skip
CASES |= {
    ("pbs", "minimal"): (OPENPBS, JobSpec(command=APP), ImageFacts("")),
    ("pbs", "mpi"): (OPENPBS, JobSpec(**ON_FOUR, time=Duration(1800)), SIF),
    ("pbs", "charliecloud"): (
        replace(OPENPBS, runtimes=(RuntimeConfig(kind="charliecloud", version="0.31"),)),
        JobSpec(**ON_FOUR),
        replace(SQUASHFS, missing=()),
    ),
    ("pbs", "gpus"): (OPENPBS, JobSpec(command=APP, nodes=2, gpus_per_node=4, ntasks_per_node=4), SIF),
    ("pbs", "array"): (OPENPBS, JobSpec(command=APP, array="0-99%10", output="fit-%A_%a.log"), ImageFacts("")),
    ("pbs", "array-with-gaps"): (OPENPBS, JobSpec(command=APP, array="1,5,7-9"), SIF),
    ("pbs", "array-of-one"): (OPENPBS, JobSpec(command=APP, array="7"), ImageFacts("")),
    ("pbs", "everything"): (OPENPBS, JobSpec(**ALL_OF_PBS), ImageFacts("")),
    ("pbs", "pals"): (PALS, JobSpec(**ON_FOUR, account="ab12", time=Duration(1800)), SIF),
    ("pbs", "torque-mpi"): (TORQUE, JobSpec(**ON_FOUR, mem=Memory.parse("8G"), time=Duration(1800)), SIF),
    ("pbs", "torque-array"): (TORQUE, JobSpec(command=APP, array="1,5,7-9%2"), ImageFacts("")),
    ("pbs", "slurm-torque-mpi"): (WRAPPER, JobSpec(**ON_FOUR, mem=Memory.parse("8G")), SIF),
    ("pbs", "slurm-torque-array"): (WRAPPER, JobSpec(command=APP, array="0-9", requeue=False), ImageFacts("")),
}


# Jobs of a parameter study, and what runs its points.
PART = StudyPart("/home/ada/jobs/drag", number=4, first=100, pack=32, rows=70)
CASES |= {
    ("study", "job"): (CLUSTER, JobSpec(command=APP, array="0-2%2", output="/home/ada/jobs/3f9c2a/task.%a.log"), SIF),
    ("study", "job-local"): (
        LOCAL, JobSpec(command=APP, array="0-69", output="/home/ada/jobs/3f9c2a/task.%a.log"), ImageFacts(""),
    ),
}  # fmt: skip
STUDIES = {("study", "job"): PART, ("study", "job-local"): replace(PART, pack=1)}
NAMES = ("re", "dt", "label")
(RE, PLACE, LOG), _ = command.words(
    ("{re:.1f}", "runs/{re}-{point}", "logs/{label}.log"), NAMES, workdir="/home/ada/run"
)
STUDY = PointScript(
    folder="/home/ada/jobs/drag",
    workdir="/home/ada/run",
    launch=(("./solve", "--re", RE),),
    env={name: command.value(place) for place, name in enumerate(NAMES, 1)},
)
POINTS: dict[tuple[str, str], PointScript] = {
    ("study", "point"): STUDY,
    ("study", "point-in-its-folder"): replace(
        STUDY,
        launch=(
            ("srun", "--ntasks=4"),
            ("apptainer", "exec", "--pwd", BELOW, "/images/app.sif"),
            ("./solve", "in.nml"),
        ),
        place=PLACE,
        log=LOG,
        files=(
            PointFile("in.nml", ("&flow\n  name = 'drag'\n", command.value(5), "\n/\n")),
            PointFile("data/mesh.h5", link="/home/ada/my mesh.h5"),
        ),
    ),
    ("study", "pack"): replace(STUDY, pack=32, limited=True),
}


# Programs of images as commands of the prompt.
PROMPT = replace(
    WITH_MODULES, env={"CACHE": "/scratch/$USER"}, bind=("/opt/cray", "/scratch/$USER:/scratch", "/gpfs::optional")
)
WRAPPERS: dict[tuple[str, str], tuple[Site, JobSpec, ImageFacts]] = {
    ("prompt", "apptainer"): (PROMPT, JobSpec(command=("samtools",), modules=("pigz",), **IN_BINDS), SIF),
    ("prompt", "charliecloud-squashfs"): (
        replace(CLUSTER, runtimes=(RuntimeConfig(kind="charliecloud", version="0.40"),)),
        JobSpec(command=("samtools",)),
        replace(SQUASHFS, missing=()),
    ),
    ("prompt", "charliecloud-old"): (
        replace(CLUSTER, runtimes=(RuntimeConfig(kind="charliecloud", version="0.31"),)),
        JobSpec(command=("samtools",), bind=("/data:/mnt/1",)),
        FOLDER,
    ),
    ("prompt", "podman"): (running("podman"), JobSpec(command=("samtools",), env={"MODE": "fast"}), PULLED),
    ("prompt", "entrypoint"): (CLUSTER, JobSpec(entrypoint=True), SIF),
}


def text_of(where: str, case: str) -> str:
    if command := WRAPPERS.get((where, case)):
        return wrapper_text(*command)
    if points := POINTS.get((where, case)):
        return render.render_points(points)
    return script(*CASES[where, case], MPI.get((where, case)), STUDIES.get((where, case))).text


def script(
    site: Site,
    spec: JobSpec,
    image: ImageFacts,
    mpi: tuple[MpiImage, MpiHost | None] | None = None,
    study: StudyPart | None = None,
) -> Script:
    host = HostFacts(
        cwd="/home/ada/run",
        home="/home/ada",
        user="ada",
        arch="x86_64",
        folder="/home/ada/jobs/3f9c2a",
        umask="0022",
        tag="3f9c2a7d41be",
        key=ImageKey("pem", file=spec.image_key) if spec.image_key else None,
    )
    runtime = runtimes.get(plan.choose_runtime(spec, site, image))
    made = plan.resolve(
        spec,
        site,
        image,
        host,
        runtime=runtime,
        launcher=launchers.get(plan.choose_launcher(spec, site)),
        services=[(service, image, runtime) for service in spec.services],
        dependency=spec.dependency.replace("j3", "4711"),
        mpi=Known(*mpi, folder="/home/ada/jobs/.mpi") if mpi else None,
    )
    if study:
        launch = launch_words(
            "/home/ada/jobs/drag/point-1.sh", "/home/ada/jobs/drag/points-1.tsv", study,
            workers=8 if study.pack > 1 else 0,
        )  # fmt: skip
        made = replace(made, launch=(launch,), study=study)
    scheduler = schedulers.get(site.scheduler.kind, asdict(site.scheduler), nothing_to_ask)
    return render.render(replace(made, native=scheduler.spell(made)))


def wrapper_text(site: Site, spec: JobSpec, image: ImageFacts) -> str:
    runtime = runtimes.get(plan.choose_runtime(spec, site, image))
    return render.render_wrapper(wrapper.wrap(spec, site, image, runtime=runtime, workdir="/home/ada/run"))


def nothing_to_ask(*_: object, **__: object) -> Any:
    """What a script says, is known without asking anybody."""
    raise AssertionError


@pytest.fixture(autouse=True)
def only_built_in_templates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCJOBS_TEMPLATE_PATH", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    # Or each new canary, and each new setting, would change the names of folders.
    monkeypatch.setattr("hpcjobs.mpi.wiring.short_hash", lambda _: "3fa85f6457174562")


ALL = (*CASES, *POINTS, *WRAPPERS)


@pytest.mark.parametrize(("where", "case"), ALL, ids=["-".join(key) for key in ALL])
def test_script_is_as_blessed(where: str, case: str, golden: Callable[[Path, str], None]) -> None:
    golden(HERE / where / f"{case}.sh", text_of(where, case))


@pytest.mark.parametrize("command", [("bash", "-n"), ("shellcheck", "--exclude=SC1091,SC2016")], ids=lambda c: c[0])
def test_scripts_pass(command: tuple[str, ...], tmp_path: Path) -> None:
    # SC1091: the site's module_init is a file of the nodes. SC2016: a `$` of the user's stays one, on purpose.
    files = []
    for where, case in ALL:
        file = tmp_path / f"{where}-{case}.sh"
        file.write_text(text_of(where, case), "utf-8")
        files.append(str(file))
    calls = [[*command, *files]] if command[0] != "bash" else [[*command, file] for file in files]
    done: list[Any] = [subprocess.run(call, capture_output=True, text=True, check=False) for call in calls]
    assert [(d.returncode, d.stdout, d.stderr) for d in done] == [(0, "", "")] * len(calls)


def test_every_golden_file_has_a_case() -> None:
    assert sorted(file.relative_to(HERE).with_suffix("").parts for file in HERE.glob("*/*.sh")) == sorted(ALL)
