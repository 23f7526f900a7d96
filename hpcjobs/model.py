"""The values that the program is about: a request, a site, a plan, a script.

Plain frozen dataclasses. `site/` checks them with pydantic where files are read (and makes the JSON schema
from the docstrings below each field); nothing here imports anything slow. Names are Slurm's where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hpcjobs.shell import Shell

# For pydantic: unknown keys are refused.
_STRICT: dict[str, Any] = {"extra": "forbid"}


# ---------------------------------------------------------------------------------------- the request


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """A program that runs beside the job's own: a database, a scheduler of workers."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    """Its name: letters, digits and _. The program finds its host in HPCJOB_SERVICE_NAME."""
    image: str = ""
    """Container image; by default the job's."""
    command: tuple[str, ...] = ()
    """What it runs; empty means the image's start script, as an instance (Apptainer, Singularity)."""
    per: Literal["job", "node"] = "job"
    """One in the job, on its first node; or one on each node."""
    ready: tuple[str, ...] = ()
    """A command that ends well once the service can be used, run in its instance or in another container of its image;
    the program waits for that, at most five minutes."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables for it."""
    bind: tuple[str, ...] = ()
    """Folders or files to show in its container, besides the site's: SRC, SRC:DST or SRC:DST:ro."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What a person asks for: the options of `hpcjob submit`, the keys of a job file, the arguments of `Job`."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    command: tuple[str, ...] = ()
    """The program and its arguments; each rank runs it."""
    notebook: str = ""
    """A Jupyter notebook to run instead of a command, in the image, by papermill; as it was run it is kept in the
    working directory, also when a cell fails."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Parameters of the notebook: {alpha: 0.5}."""
    image: str = ""
    """Container image: a .sif or squashfs file, an image directory, or a name in a registry (docker://alpine:3.20,
    oras://…), which is pulled once at submission. Empty runs on the bare host."""
    app: str = ""
    """SCIF app of the image to run the command in (apptainer --app)."""
    entrypoint: bool = False
    """Run the image's entrypoint (runscript), with the command as its arguments, instead of the command itself."""
    clean_env: bool = False
    """Show the program no variables but those of the job, the site, the image, and what launcher and runtime need."""
    container_workdir: str = ""
    """Working directory inside the container; by default the job's, which is shown there."""
    writable: bool = False
    """A writable layer over the image, in memory, that is thrown away at the end."""
    overlay: tuple[str, ...] = ()
    """Writable layers that are kept: a folder, or an image file with its size if it is to be made; FOLDER,
    FILE.img:2G; with :ro they may be shared by many ranks."""
    verify: Literal["", "required"] = ""
    """Refuse an image without a valid signature; by default what the site says (`image.verify`)."""
    image_key: str = ""
    """Key of an encrypted image: a file that holds the private key (PEM) or the passphrase, or env:NAME for a
    passphrase in a variable of the job. It is never written to the script or the database."""
    image_changed: Literal["", "refuse", "warn", "ignore"] = ""
    """What the job does if the image is no longer the one it was submitted with; by default what the site says."""
    services: tuple[ServiceSpec, ...] = ()
    """Programs that are started before the job's own and stopped after it, also when it fails."""
    name: str = ""
    """Job name; by default the program's name."""
    nodes: int | None = None
    """Number of nodes. With it and no `ntasks`, ranks fill the nodes where the site says how large they are."""
    ntasks: int | None = None
    """Number of ranks in all."""
    ntasks_per_node: int | None = None
    """Number of ranks on each node."""
    cpus_per_task: int | None = None
    """Cores (threads) of each rank; OMP_NUM_THREADS follows it."""
    gpus_per_node: int | None = None
    """GPUs on each node."""
    gpu_type: str = ""
    """Kind of GPU, where a site has several (a100, mi250x)."""
    mem: Memory | None = None
    """Memory on each node: 4G, 512M."""
    mem_per_cpu: Memory | None = None
    """Memory for each core; instead of `mem`."""
    time: Duration | None = None
    """Walltime limit: 30 (minutes), 2h, 02:00:00, 1-12:00:00."""
    partition: str = ""
    """Partition (queue); auto: the one where it would start first."""
    account: str = ""
    """Account (project) that pays."""
    qos: str = ""
    """Quality of service."""
    constraint: str = ""
    """Node features that are needed."""
    reservation: str = ""
    """Reservation to run in."""
    licenses: str = ""
    """Licences that are needed, also file systems at some sites: scratch,cfs."""
    exclusive: bool = False
    """Whole nodes, shared with nobody."""
    hold: bool = False
    """Submit held; `hpcjob release` lets it go."""
    requeue: bool | None = None
    """Whether the scheduler may start the job again after a node failure or preemption."""
    array: str = ""
    """Indices of a job array, with a limit of tasks at once if wanted: 0-99%10."""
    dependency: str = ""
    """When to start: afterok:j12, afterany:j12:j13, singleton; several joined by commas."""
    workdir: str = ""
    """Working directory; by default the one of the submission."""
    output: str = ""
    """File for standard output; %j %A %a %x as in Slurm. By default in the job's own folder."""
    error: str = ""
    """File for standard error; with `output` alone, both go there."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables for the program, in the container too."""
    bind: tuple[str, ...] = ()
    """Folders or files of the host to show in the container: SRC, SRC:DST or SRC:DST:ro."""
    modules: tuple[str, ...] = ()
    """Modules to load, after the site's own, and commands as after `module`: [purge, use $HOME/modules, gcc/13.2,
    swap gcc intel, unload darshan, restore mine]."""
    runtime: str = ""
    """Container runtime, or `none`; by default the site's."""
    launcher: str = ""
    """Program that starts the ranks (srun, mpirun, mpiexec, pals, none); by default the site's."""
    mpi: str = "auto"
    """How MPI runs in the image: auto decides by host and image; bind (the host's MPI), hybrid (the image's own),
    a kind of the launcher's (pmi2, pmix), container (a launcher in the image, one node), or none."""
    mpi_check: Literal["", "first", "always", "never"] = ""
    """When a moment's run before the program shows that its ranks find each other; by default what the site says."""
    port: str = ""
    """Port of a web application that the program is: a number, or auto for a free one. The program finds it in
    HPCJOB_PORT, the address to listen on in HPCJOB_ADDRESS, and in HPCJOB_TOKEN a secret."""
    idle: Duration | None = None
    """End the application when nobody was connected to its port for so long."""
    template: str = ""
    """A template file to use instead of the site's."""
    directives: tuple[str, ...] = ()
    """More options for the scheduler, as it spells them: --switches=1."""


# ------------------------------------------------------------------------------------------- the site


@dataclass(frozen=True, kw_only=True)
class NodeShape:
    """What one node of a partition offers to jobs."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    cores: int = 0
    """Cores that jobs may use; 0 = not known."""
    threads: int = 1
    """Hardware threads of a core, where Slurm counts each as a CPU; `cores` and -c count cores all the same."""
    memory: Memory | None = None
    """Memory that jobs may use."""
    gpus: int = 0
    """GPUs."""
    gpu_type: str = ""
    """Kind of GPU as the scheduler spells it."""
    gpu_cores: int = 0
    """Cores that go with each GPU: where a job does not say how many, its ranks share them out."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """One partition (queue) and its limits; what is not given is not checked."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    default: bool = False
    """Whether the scheduler uses it when none is named."""
    description: str = ""
    """What it is for, in a few words."""
    max_time: Duration | None = None
    """Longest walltime."""
    nodes: int = 0
    """Nodes there are; 0 = not known."""
    min_nodes: int = 0
    """Fewest nodes of a job."""
    max_nodes: int = 0
    """Most nodes of a job; 0 = all of them."""
    node: NodeShape = field(default_factory=NodeShape)
    """Shape of its nodes."""
    require: tuple[str, ...] = ()
    """Fields that a job must give here, besides the site's own."""
    queue: str | None = None
    """What the scheduler calls it, if not by its name here: two kinds of nodes in one queue. Empty where no partition
    is named to the scheduler, which goes by the fields in `defaults`."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Fields of a job used here when it does not give them, before the site's: {constraint: gpu, qos: regular}."""
    account_suffix: str = ""
    """What the name of the account ends with here; added where it does not."""
    max_tasks: int = 0
    """Most tasks of a job array; 0 = no limit of its own."""
    whole: bool = False
    """Whether jobs get whole nodes: PBS is asked for all their cores, and what is smaller than a node goes elsewhere in
    the `partition_order`, if it can."""
    time_by_nodes: dict[int, Duration] = field(default_factory=dict)
    """Longest walltime of jobs of up to so many nodes: {16: 2-00:00:00, 64: 36h}."""
    modules: tuple[str, ...] = ()
    """Modules that jobs load here, after the site's."""
    directives: tuple[str, ...] = ()
    """Directives that scripts get here, after the site's."""


@dataclass(frozen=True, kw_only=True)
class Qos:
    """One quality of service and its limits; what is not given is not checked."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    description: str = ""
    """What it is for, in a few words."""
    partitions: tuple[str, ...] = ()
    """Partitions that it is for; empty = any."""
    max_time: Duration | None = None
    """Longest walltime; it may be longer than the partition's."""
    min_nodes: int = 0
    """Fewest nodes of a job."""
    max_nodes: int = 0
    """Most nodes of a job; 0 = no limit of its own."""


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """The batch system and how to talk to it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: str = "local"
    """slurm, pbs or local; lsf for scripts that are only looked at; plug-ins may add more."""
    driver: Literal["command", "api"] = "command"
    """How it is talked to: by its commands, or by its library, where that loads (the commands do the rest)."""
    timeout: float = 30
    """Seconds after which a query that got no answer is given up."""
    submit_timeout: float = 60
    """The same for a submission."""
    poll_interval: float = 5
    """Least seconds between two polls, however many terminals ask."""
    accounting: bool = True
    """Whether the accounting database may be asked (Slurm: sacct, sacctmgr)."""
    export: Literal["", "all", "none"] = ""
    """Whether the environment of the submission reaches the job (sbatch --export, qsub -V); by default as users of that
    scheduler know it: all with Slurm and local, none with PBS."""
    max_array: int = 0
    """Most tasks of a job array; by default the scheduler is asked."""
    max_submit: int = 0
    """Most jobs of a user in the queue, each task of an array counted; by default the scheduler is asked."""
    limits: Literal["site", "ask"] = "site"
    """Where partitions and limits come from: this file, or the scheduler (asked at most once an hour)."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Options of this kind of scheduler; its reference page lists them."""

    @property
    def exported(self) -> str:
        """`export`, decided."""
        return self.export or ("none" if self.kind == "pbs" else "all")


@dataclass(frozen=True, kw_only=True)
class GpuConfig:
    """The GPUs of a site and how its scheduler wants them asked for."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: Literal["none", "nvidia", "amd", "intel"] = "none"
    """Maker, which decides the runtime's GPU flag."""
    request: Literal["gpus-per-node", "gres", "gpus-per-task", "gpus", "none"] = "gpus-per-node"
    """Directive that asks for them; `gpus` counts those of all nodes; none where the partition brings them."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Fields of jobs with GPUs, used when they do not give them: {partition: gpu, gpu_type: a100}."""
    rank_options: tuple[str, ...] = ()
    """Options of the launcher where each rank has a GPU of its own: [--gpus-per-task=1, --gpu-bind=closest]."""
    node_options: tuple[str, ...] = ()
    """More of them where such ranks use all GPUs of their nodes, each with the cores that go with its GPU:
    [--cpu-bind=mask_cpu:…]."""
    rank_env: dict[str, str] = field(default_factory=dict)
    """Variables of such ranks; $NAME is expanded in each rank: {ROCR_VISIBLE_DEVICES: $SLURM_LOCALID}."""
    ranks: Literal["directives", "launcher"] = "directives"
    """Who is told how many ranks and cores jobs with GPUs have: the scheduler too, or srun alone, where the scheduler
    wants nodes and GPUs only."""


@dataclass(frozen=True, kw_only=True)
class LauncherConfig:
    """The program that starts the ranks."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: str = "none"
    """srun, mpirun (Open MPI), mpiexec (hydra), pals (HPE), jsrun (IBM), none; or auto: the first of `launchers` that
    is there."""
    command: str = ""
    """Its path, if it is not on PATH by its own name."""
    options: tuple[str, ...] = ()
    """More options, put after hpcjob's own."""
    cpu_bind: str = "cores"
    """What each rank is bound to: cores, threads, sockets or none; empty leaves it to srun, and to its --hint."""
    single: bool = True
    """Whether a job of one rank is started by it too."""


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """A container runtime of the site."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    kind: str = "none"
    """apptainer, singularity, charliecloud, podman, podman-hpc, shifter, sarus, pyxis (Enroot), ce (CSCS Container
    Engine), docker or none."""
    command: str = ""
    """Its path, if it is not on PATH by its own name."""
    version: str = ""
    """Its version on the compute nodes, as `--version` says it; by default that of the login node is asked."""
    modules: tuple[str, ...] = ()
    """Modules that bring it."""
    options: tuple[str, ...] = ()
    """More options, put before the image."""
    mpi_option: str = ""
    """Option of this runtime that brings the host's MPI; instead of the site's `mpi.runtime_option`. For Shifter,
    Sarus and podman-hpc."""
    mpi_gpu_option: str = ""
    """The same in jobs with GPUs, whose MPI is to take GPU memory: --module=cuda-mpich (Shifter), --cuda-mpi
    (podman-hpc)."""
    directives: tuple[str, ...] = ()
    """Directives of jobs with an image."""
    annotations: dict[str, str] = field(default_factory=dict)
    """Annotations of the container, which switch the engine's hooks (ce): {com.hooks.aws_ofi_nccl.enabled: "true"}."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """How container images are kept and trusted."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    folder: str = ""
    """Where pulled images go, on a file system that the nodes see; $NAME is expanded at submission. By default below
    $HPCJOBS_HOME."""
    verify: Literal["", "required"] = ""
    """`required`: jobs with an image that has no valid signature are refused."""
    verify_options: tuple[str, ...] = ()
    """Options of `apptainer verify`: [--local], or [--key, /apps/keys/site.pem]."""
    changed: Literal["refuse", "warn", "ignore"] = "warn"
    """What a job does if its image is no longer the one it was submitted with."""
    build: str = ""
    """Why images cannot be built here, and where they can; empty if they can."""


@dataclass(frozen=True, kw_only=True)
class MpiConfig:
    """How MPI programs are wired up."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    default: str = ""
    """Kind of the launcher's that is taken where several would do, or where nothing is known of host or image."""
    types: tuple[str, ...] = ()
    """Kinds the launcher offers (srun --mpi=list); empty = not known, so not checked."""
    lock: str = ""
    """What `hpcjob mpi host` found here (a file, relative to this one); by default NAME.mpi.lock.yaml beside this file.
    Without one, the machine is looked at when the first MPI job is submitted."""
    prefer: Literal["", "host", "image"] = ""
    """Whose MPI runs where both could: the host's, bound into the container, or the image's own. By default the host's;
    with Open MPI, whose versions find each other, the image's."""
    prefixes: tuple[str, ...] = ()
    """Folders of MPIs that no module, PATH or library cache leads to."""
    host: str = ""
    """The host's MPI to bind, by name or its beginning (mpich, impi-2021); by default the launcher's or the loaded
    one."""
    bind: tuple[str, ...] = ()
    """What the site's own recipe binds for its MPI: SRC, SRC:DST or SRC:DST:ro; taken instead of what hpcjob finds,
    and checked."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables that programs in containers get with the host's MPI, whether hpcjob finds it or `bind` has it, and
    that others do not: {MPICH_SMP_SINGLE_COPY_MODE: NONE}. They win over hpcjob's own; LD_PRELOAD is joined, and so is
    LD_LIBRARY_PATH, which is all of it with `bind`."""
    runtime_option: str = ""
    """Option of the container runtime that brings the host's MPI: --module=mpich (Shifter), --mpi (Sarus,
    podman-hpc). One runtime's own is `mpi_option` there."""
    gpu_library: str = ""
    """Library to load first in GPU jobs, so that MPI takes GPU memory. Its name is looked up beside the Cray MPICH that
    is bound, in its gtl/lib (libmpi_gtl_cuda.so.0, libmpi_gtl_hsa.so.0); a path is taken as it is."""
    wi4mpi: str = ""
    """Folder of Wi4MPI, which translates between MPICH and Open MPI; used where nothing else works."""
    check: Literal["first", "always", "never"] = "first"
    """When a moment's run before the program shows that its ranks find each other: once for each image, way and
    launcher; always; or never."""


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """How a machine is recognised; every key given must match."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    hostname: str = ""
    """Regular expression that the whole host name fits, with or without its domain."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables, and for each a regular expression that its whole value fits."""
    file: str = ""
    """A file that exists there."""
    cluster: str = ""
    """Regular expression that the cluster's name fits: Slurm's ClusterName, the server of PBS."""
    command: str = ""
    """A program that is on PATH there."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """One machine: a YAML file. Everything has a default, so a file says only what is special."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    """Name for --site; the file's name."""
    description: str = ""
    """One line for people."""
    sources: tuple[str, ...] = ()
    """Documents that the values come from. Where there are any, jobs may go to partitions that are not listed, too."""
    checked: str = ""
    """Day on which they were read: 2026-11-22."""
    unverified: tuple[str, ...] = ()
    """Values that no document backs, by their paths: [gpu.kind, partitions.gpu]; a path stands for all below it."""
    retired: str = ""
    """Since when the machine is gone, and what came after it. Its scripts can be written, and nothing is submitted."""
    notes: tuple[str, ...] = ()
    """What people must know or do here that hpcjob cannot do for them."""
    detect: DetectConfig | None = None
    """How to recognise the machine; without it the site must be named."""
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    """The batch system."""
    partitions: dict[str, Partition] = field(default_factory=dict)
    """Partitions by name; empty = not checked."""
    partition_order: tuple[str, ...] = ()
    """Partitions for jobs that name none; the first that takes the job: [standard, parallel]."""
    qos: dict[str, Qos] = field(default_factory=dict)
    """Limits of qualities of service, by name; those that are not listed are not checked."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Fields of a job used when it does not give them: {partition: debug, time: 1h}."""
    require: tuple[str, ...] = ()
    """Fields that every job must give: [account, time]."""
    directives: tuple[str, ...] = ()
    """Directives that every script gets, as the scheduler spells them; {account} in one is the job's account."""
    modules: tuple[str, ...] = ()
    """Modules that every job loads, and commands as after `module`: [purge, use /apps/modules, gcc/13.2,
    swap gcc intel, unload darshan, restore standard]; $NAME in a `use` is expanded on the node."""
    module_init: str = ""
    """Line that makes `module` known in a batch shell; by default $MODULESHOME/init/bash or /etc/profile is read where
    bash does not know it."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment of every job; $NAME is expanded on the node."""
    gpu: GpuConfig = field(default_factory=GpuConfig)
    """GPUs."""
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    """The launcher used by default."""
    launchers: tuple[LauncherConfig, ...] = ()
    """Others that may be chosen."""
    runtimes: tuple[RuntimeConfig, ...] = ()
    """Container runtimes, the preferred first."""
    image: ImageConfig = field(default_factory=ImageConfig)
    """Container images."""
    mpi: MpiConfig = field(default_factory=MpiConfig)
    """MPI."""
    bind: tuple[str, ...] = ()
    """Folders shown in every container: SRC, SRC:DST, SRC:DST:ro, or SRC:DST:optional (left out where the runtime
    cannot make the place); $NAME is expanded on the node."""
    scratch: str = ""
    """Fast folder of a job; $NAME is expanded on the node. Exported as HPCJOB_SCRATCH."""
    jobs_folder: str = ""
    """Where job folders are kept, if the home is not visible on the nodes; $NAME is expanded at submission."""
    template: str = ""
    """Template to use; by default the scheduler's own."""


# ------------------------------------------------------------------------------------------ the facts


@dataclass(frozen=True)
class ImageFacts:
    """What was seen of an image without running it."""

    path: str  # absolute; empty for the bare host
    kind: Literal["none", "sif", "squashfs", "directory", "reference"] = "none"
    arch: str = ""  # as `uname -m` says it; empty = not known
    # Folders asked about (bind targets) that the image does not have; None = could not be seen.
    missing: tuple[str, ...] | None = None
    environment: bool = False  # has /ch/environment, where Charliecloud keeps the image's variables
    encrypted: bool = False
    digest: str = ""  # sha256:…, of the file; for a reference of what it stood for at the submission
    stamp: str = ""  # size and modification time of the file (`stat -c %s.%Y`), to see at once that it is the same
    source: str = ""  # the reference that it was pulled from


@dataclass(frozen=True)
class ImageKey:
    """Where the key of an encrypted image is; never the key itself."""

    kind: Literal["pem", "passphrase"]
    file: str = ""
    variable: str = ""  # instead of a file


@dataclass(frozen=True)
class HostFacts:
    """What planning needs to know of the machine and the person that submit."""

    cwd: str
    home: str = ""
    user: str = ""
    arch: str = ""
    folder: str = ""  # of the job; absolute
    tag: str = ""
    files: frozenset[str] = frozenset()  # sources of the job's binds that are files
    absent: frozenset[str] = frozenset()  # those that are not there
    key: ImageKey | None = None
    umask: str = ""  # octal, of the process that submits
    below: str | Shell = ""  # the folder below the working directory in which the program begins


# ------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Shape:
    """Where ranks go. All are counts of at least 1, `gpus_per_node` of at least 0."""

    nodes: int = 1
    ntasks: int = 1
    ntasks_per_node: int = 1  # on the fullest node
    cpus_per_task: int = 1
    gpus_per_node: int = 0


@dataclass(frozen=True)
class Bind:
    """A folder or file of the host, shown in the container. May hold `$NAME` if `expand` is set."""

    source: str
    target: str
    readonly: bool = False
    expand: bool = False
    optional: bool = False  # left out where the runtime cannot make the place for it


@dataclass(frozen=True)
class Overlay:
    """A layer over the image that keeps what is written. An image file with a size is made when it is missing."""

    path: str
    is_folder: bool = False
    readonly: bool = False
    size: Memory | None = None


@dataclass(frozen=True)
class ContainerRequest:
    """What a runtime is asked to wrap."""

    image: ImageFacts
    program: tuple[str, ...]
    workdir: str  # of the host
    binds: tuple[Bind, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    inside: frozenset[str] = frozenset()  # names in it that launcher and runtime must not see
    gpu: str = "none"  # kind of GPU that the job asked for
    mpi: str = ""
    nodes: int = 1
    ntasks: int = 1
    ntasks_per_node: int = 1
    even: bool = True  # whether every node is sure to get as many ranks
    container_workdir: str = ""  # empty = the host's, shown in the container
    clean_env: bool = False
    entrypoint: bool = False
    writable: bool = False
    overlays: tuple[Overlay, ...] = ()
    app: str = ""
    key: ImageKey | None = None
    instance: str | Shell = ""  # name of an instance to start, instead of the program
    service: str = ""  # its name, if it runs beside the job's own program
    mpi_option: str = ""  # of the runtime, that brings the host's MPI
    canary: bool = False  # whether it is not the job's program that is wrapped, but what is run before it
    together: bool = False  # whether its ranks wait for each other, as those of MPI do
    apart: bool = False  # whether its ranks are known to be copies of a program without MPI
    passed: tuple[str, ...] = ()  # variables of the script that the program is to see, besides `env`
    folder: str = ""  # of the job
    launcher: str = "none"  # its kind
    # The folder below the working directory in which the program begins; a Shell is `$HPCJOB_FOLDER`.
    below: str | Shell = ""
    # Whether it runs at a person's prompt: in no job, with their terminal; `workdir` is then $NAME of the script.
    prompt: bool = False


@dataclass(frozen=True)
class Invocation:
    """How a rank's program is started inside a container: not always a prefix.

    Pyxis is options of srun (`launcher_args`), Shifter wants directives in the header, Apptainer an argv.
    """

    argv: tuple[str | Shell, ...]  # runtime and its options, without the program
    program: tuple[str | Shell, ...]  # the program, as the runtime wants it named
    launcher_args: tuple[str | Shell, ...] = ()
    directives: tuple[str, ...] = ()
    env: dict[str, str | Shell] = field(default_factory=dict)
    setup: tuple[Shell, ...] = ()  # lines run once on the batch node, before the launch
    functions: dict[str, Shell] = field(default_factory=dict)  # of bash, that argv calls: name and body
    node_setup: tuple[tuple[str | Shell, ...], ...] = ()  # commands run once on each node, before the launch
    stop: tuple[str | Shell, ...] = ()  # what ends an instance
    enter: tuple[str | Shell, ...] = ()  # what runs a command in it
    # Whether what is started serves the image's files to the program, its child, which alone is to be told to end.
    serves_files: bool = False
    cleanup: tuple[str | Shell, ...] = ()  # run at the job's end on the batch node: ends what the runtime left there
    files: dict[str, str] = field(default_factory=dict)  # written to the job's folder at submission
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Launch:
    """How the ranks are started: the launcher's argv and the environment it needs."""

    argv: tuple[str | Shell, ...]
    env: dict[str, str | Shell] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Runtime(Protocol):
    """A container runtime. Stateless; its constructor takes the site's `RuntimeConfig` and runs nothing."""

    @property
    def name(self) -> str:
        """Its kind."""

    @property
    def config(self) -> RuntimeConfig:
        """What the site says of it."""

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The invocation for one rank.

        Raises:
            PlanError: the runtime cannot do what is asked; names the nearest thing that can.
        """


class Launcher(Protocol):
    """A launcher. Stateless; its constructor takes the site's `LauncherConfig` and runs nothing."""

    @property
    def name(self) -> str:
        """Its kind."""

    @property
    def config(self) -> LauncherConfig:
        """What the site says of it."""

    def command(self, shape: Shape, *, mpi: str, extra: tuple[str | Shell, ...] = ()) -> Launch:
        """The command line that starts `shape.ntasks` ranks; `extra` are the runtime's `launcher_args`.

        `mpi` is "" for the launcher's own default.

        Raises:
            PlanError: the launcher cannot place ranks so.
        """


@dataclass(frozen=True)
class Note:
    """One decision of the plan and why it fell so; `explain` and the summary print it."""

    subject: str
    decision: str
    why: str


@dataclass(frozen=True)
class ImageCheck:
    """An image file that the script looks at before it starts anything."""

    path: str
    digest: str = ""  # 64 hexadecimal digits; empty = only that it can be read
    stamp: str = ""  # with this size and time (`stat -c %s.%Y`) the digest is not computed; empty = it always is
    refuse: bool = False  # what happens if the digest is another: the job ends, or it warns


@dataclass(frozen=True)
class ServicePlan:
    """A service, decided: what starts it beside the job, tells that it is ready, and stops it."""

    name: str
    start: tuple[tuple[str | Shell, ...], ...]
    log: str | Shell
    ready: tuple[str | Shell, ...] = ()
    # An instance, whose starter ends at once, is stopped by this; the process of any other is ended.
    stop: tuple[str | Shell, ...] = ()
    env: dict[str, str | Shell] = field(default_factory=dict)
    step: bool = False  # whether it is a step of the scheduler, which stops when its input is closed


@dataclass(frozen=True)
class Canary:
    """The program that shows that ranks find each other, and what it must say."""

    arch: str
    soname: str  # of the MPI library
    loader: str
    family: Literal["", "mpich", "openmpi", "abi"]
    rpath: str = ""  # of the program, with an MPI library in its folders
    runpath: str = ""  # the folder of the image's own MPI
    pattern: str = ""  # of bash, that the library's words fit; empty = any
    planned: str = ""  # the library in words


@dataclass(frozen=True)
class MpiPlan:
    """How MPI runs in the image, and why. Empty where no image is used."""

    mode: str = ""  # bind, hybrid, site, translate, container, none
    type: str = ""  # srun --mpi=TYPE; empty = the launcher's own
    why: str = ""
    host: str = ""  # the host's MPI: mpich-4.0.2
    others: dict[str, str] = field(default_factory=dict)  # the ways that were not taken, and why
    advice: tuple[str, ...] = ()  # what would open them
    warnings: tuple[str, ...] = ()
    folder: str = ""  # of links, canary and checks, on the host
    links: dict[str, str] = field(default_factory=dict)  # in it
    checks: tuple[str, ...] = ()  # what of the host's files is looked at on each node
    binds: tuple[Bind, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    canary: Canary | None = None
    launch: tuple[tuple[str | Shell, ...], ...] = ()  # that starts the canary
    proven: str = ""  # the file that says that this was seen to work; empty = it is looked at each time
    alone: bool = False  # the one rank is started without the launcher, which it could not talk to


@dataclass(frozen=True)
class StudyPart:
    """What a job is of a parameter study: some rows of its table, shared out to the tasks of an array."""

    folder: str  # of the study
    number: int  # of the study: 4 of s4
    first: int  # row, counted from 0
    pack: int  # rows of a task
    rows: int  # in all
    limit: int = 0  # seconds that a point of a pack has; 0 = no time of its own


@dataclass(frozen=True)
class AppPlan:
    """A web application: where it listens, and when it ends."""

    port: int  # 0 = one that is free
    address: str
    idle: int = 0  # seconds; 0 = for ever


@dataclass(frozen=True)
class Plan:
    """Everything decided: the only thing a template sees. Empty means not asked for."""

    tag: str
    name: str
    site: str
    scheduler: str
    template: str
    folder: str
    workdir: str
    output: str  # Slurm's filename patterns (%j %A %a %x %%) stand in it
    error: str
    shape: Shape
    launch: tuple[tuple[str | Shell, ...], ...]  # launcher, runtime, program: a line each
    image: str = ""
    image_digest: str = ""  # sha256:…; of the image itself, or of what a registry's name stood for
    image_source: str = ""  # the reference that it was pulled from
    images: tuple[ImageCheck, ...] = ()  # the job's, and those of its services
    needed: tuple[str, ...] = ()  # files and folders without which the job cannot begin
    runtime: str = "none"
    launcher: str = "none"
    mpi: str = ""
    mpi_plan: MpiPlan = field(default_factory=MpiPlan)
    command: tuple[str, ...] = ()
    # Whether the request fixed the shape, or it was filled in: -n without -N leaves the nodes to the scheduler.
    nodes_asked: bool = True
    node: NodeShape = field(default_factory=NodeShape)  # of the partition, as far as it is known
    mem: Memory | None = None
    mem_per_cpu: Memory | None = None
    time: Duration | None = None
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    licenses: str = ""
    gpu_kind: str = "none"
    gpu_type: str = ""
    gpu_request: str = "gpus-per-node"
    whole_nodes: bool = False
    ranks_told: bool = True  # whether the scheduler is told how many ranks and cores there are
    exclusive: bool = False
    hold: bool = False
    requeue: bool | None = None
    array: str = ""
    array_limit: int = 0
    dependency: str = ""  # in the scheduler's own ids
    export: str = "all"
    umask: str = ""  # of the process that submits
    each_node: tuple[str | Shell, ...] = ()  # what starts one process on each node; empty on one
    # What the scheduler's module spells for its template.
    native: dict[str, Any] = field(default_factory=dict)
    directives: tuple[str, ...] = ()
    module_init: str = ""
    modules: tuple[str, ...] = ()
    site_env: dict[str, str] = field(default_factory=dict)  # $NAME is expanded on the node
    env: dict[str, str | Shell] = field(default_factory=dict)  # literal, but for Shell values
    scratch: str = ""
    # What is kept of the submission's environment, where the script cleans it; None where it does not.
    kept_env: tuple[str, ...] | None = None
    setup: tuple[Shell, ...] = ()
    functions: dict[str, Shell] = field(default_factory=dict)
    services: tuple[ServicePlan, ...] = ()
    cleanup: tuple[tuple[str | Shell, ...], ...] = ()  # commands run at the end, whatever ended it
    files: dict[str, str] = field(default_factory=dict)  # of the job's folder, besides hpcjob's own
    study: StudyPart | None = None
    app: AppPlan | None = None
    notes: tuple[Note, ...] = ()

    @property
    def module_commands(self) -> tuple[tuple[str | Shell, ...], ...]:
        """What the script runs for `modules`, a line each."""
        from hpcjobs import modules

        return modules.commands(self.modules)

    @property
    def private_logs(self) -> dict[int, str]:
        """The log files in the job's own folder: file descriptor (1, 2) and name, with its %a."""
        logs = {1: PurePosixPath(self.output), 2: PurePosixPath(self.error)}
        return {fd: log.name for fd, log in logs.items() if str(log.parent).replace("%%", "%") == self.folder}


@dataclass(frozen=True)
class Script:
    """A rendered batch script."""

    text: str
    template: str  # the file it came from


# -------------------------------------------------------------------------------------- from JSON, back

T = TypeVar("T")


def restore(cls: type[T], data: Mapping[str, Any]) -> T:
    """A value of the model from what `json` makes of its `asdict`, or of a part of it.

    For data of our own that was checked before it was written; keys of a newer version are left out.
    """
    known = {f.name: f.type for f in fields(cls)}  # type: ignore[arg-type]  # a dataclass
    values = {key: _restored(key, str(known[key]), value) for key, value in data.items() if key in known}
    return cls(**values)


def _restored(key: str, annotation: str, value: Any) -> Any:
    if value is None:
        return None
    if key == "defaults":  # of a site, a partition, GPUs
        return {name: _restored(name, _JOB_TYPES.get(name, ""), item) for name, item in value.items()}
    for name, made in _MADE.items():
        if name not in annotation:
            continue
        if annotation.startswith("dict["):
            return {part: restore(made, item) for part, item in value.items()}
        if annotation.startswith("tuple["):
            return tuple(restore(made, item) for item in value)
        return restore(made, value)
    if annotation == "dict[int, Duration]":  # JSON has no numbers as keys
        return {int(part): Duration(item) for part, item in value.items()}
    if "Duration" in annotation:
        return Duration(value)
    if "Memory" in annotation:
        return Memory(value)
    return tuple(value) if annotation.startswith("tuple[") else value


_MADE: dict[str, type] = {
    made.__name__: made
    for made in (
        NodeShape,
        Partition,
        Qos,
        SchedulerConfig,
        GpuConfig,
        LauncherConfig,
        RuntimeConfig,
        ImageConfig,
        MpiConfig,
        DetectConfig,
        ServiceSpec,
    )
}
_JOB_TYPES = {f.name: str(f.type) for f in fields(JobSpec)}
