"""The options of the command line, each declared once.

Verbs name these types in their signatures. The module is imported when a command line has options to parse.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpcjobs.cli import complete, out
from hpcjobs.errors import UsageError


def option(*names: str, metavar: str | None = None, panel: str | None = None, **more: Any) -> Any:
    """An option without a default in its help."""
    return typer.Option(*names, metavar=metavar, rich_help_panel=panel, show_default=False, **more)


def _verbose(value: int) -> None:
    if value:
        from hpcjobs.cli import log

        log.to_stderr(value)


def _color(value: str) -> None:
    if value not in {"auto", "always", "never"}:
        raise UsageError(f"--color {value!r} is not known", hint="write auto, always or never")
    if value != "auto":
        out.settings.color = value


Verbose = Annotated[
    int,
    option(
        "-v",
        "--verbose",
        count=True,
        callback=_verbose,
        expose_value=False,
        help="Show every scheduler command and its time; -vv: its answer too.",
    ),
]
Color = Annotated[
    str,
    option(
        "--color",
        metavar="WHEN",
        callback=_color,
        expose_value=False,
        help="auto, always or never; NO_COLOR is heeded.",
    ),
]


def common(verbose: Verbose = 0, color: Color = "auto") -> None:
    """The options that every verb has, and that may stand before it too."""


_SELECTORS = (
    "Jobs: j12, j3-j9, j12[0-4], j12[failed], the scheduler's own id, last, active, failed, all; "
    "studies and their points: s4, s4[17], s4[failed]."
)

Selectors = Annotated[
    list[str] | None,
    typer.Argument(metavar="JOB...", help=_SELECTORS, show_default=False, autocompletion=complete.jobs),
]
Selector = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="A job: j12, j12[7], the scheduler's own id, last; a point: s4[17].",
        autocompletion=complete.jobs,
    ),
]
Json = Annotated[bool, option("--json", help="Print JSON (docs: reference/json).")]
SiteName = Annotated[
    str,
    option(
        "--site",
        metavar="NAME",
        panel="Where",
        help="Site to use; by default the one that this machine is.",
        autocompletion=complete.sites,
    ),
]
SiteFile = Annotated[str, option("--site-file", metavar="FILE", panel="Where", help="Site file to use.")]
Timeout = Annotated[
    str,
    option("--timeout", metavar="TIME", help="Give up waiting after this time: 90 (seconds), 5m, 1h; exit code 124."),
]

# ------------------------------------------------------------------------------------------------- submit

_SHAPE, _LIMITS, _QUEUE, _PROGRAM, _IMAGE, _FILES, _WHERE = (
    "Nodes and ranks",
    "Memory and time",
    "Queue",
    "Container and environment",
    "More about the container",
    "Files",
    "Where",
)

Nodes = Annotated[int | None, option("-N", "--nodes", metavar="N", panel=_SHAPE, help="Number of nodes.")]
Ntasks = Annotated[int | None, option("-n", "--ntasks", metavar="N", panel=_SHAPE, help="Number of ranks in all.")]
NtasksPerNode = Annotated[
    int | None, option("--ntasks-per-node", metavar="N", panel=_SHAPE, help="Number of ranks on each node.")
]
CpusPerTask = Annotated[
    int | None,
    option("-c", "--cpus-per-task", metavar="N", panel=_SHAPE, help="Cores of each rank; OMP_NUM_THREADS follows."),
]
Gpus = Annotated[str, option("--gpus-per-node", metavar="[TYPE:]N", panel=_SHAPE, help="GPUs on each node: 4, a100:4.")]
GpusInAll = Annotated[str, option("--gpus", metavar="[TYPE:]N", panel=_SHAPE, help="GPUs on all nodes together.")]
Exclusive = Annotated[bool, option("--exclusive", panel=_SHAPE, help="Whole nodes, shared with nobody.")]

Mem = Annotated[str, option("--mem", metavar="SIZE", panel=_LIMITS, help="Memory on each node: 4G, 512M.")]
MemPerCpu = Annotated[str, option("--mem-per-cpu", metavar="SIZE", panel=_LIMITS, help="Memory for each core.")]
Time = Annotated[
    str,
    option("-t", "--time", metavar="TIME", panel=_LIMITS, help="Walltime: 30 (minutes), 2h, 02:00:00, 1-12:00:00."),
]

PartitionName = Annotated[
    str,
    option("-p", "--partition", metavar="NAME", panel=_QUEUE, help="Partition (queue); auto: where it starts first."),
]
Account = Annotated[str, option("-A", "--account", metavar="NAME", panel=_QUEUE, help="Account (project) that pays.")]
Qos = Annotated[str, option("-q", "--qos", metavar="NAME", panel=_QUEUE, help="Quality of service.")]
Constraint = Annotated[
    str, option("-C", "--constraint", metavar="LIST", panel=_QUEUE, help="Node features that are needed.")
]
Reservation = Annotated[str, option("--reservation", metavar="NAME", panel=_QUEUE, help="Reservation to run in.")]
Licenses = Annotated[str, option("-L", "--licenses", metavar="LIST", panel=_QUEUE, help="Licences that are needed.")]
Hold = Annotated[bool, option("-H", "--hold", panel=_QUEUE, help="Submit held; hpcjob release lets it go.")]
Requeue = Annotated[
    bool | None,
    option("--requeue/--no-requeue", panel=_QUEUE, help="Whether it may start again after a node failure."),
]
Array = Annotated[
    str, option("-a", "--array", metavar="INDICES", panel=_QUEUE, help="Job array: 0-99, 0-99%10 (ten at once).")
]
Dependency = Annotated[
    str, option("-d", "--dependency", metavar="LIST", panel=_QUEUE, help="When to start: afterok:j12, singleton.")
]
Directives = Annotated[
    list[str] | None,
    option("--directive", metavar="OPTION", panel=_QUEUE, help="Another option of the scheduler, repeatable."),
]

Image = Annotated[
    str,
    option(
        "--image",
        metavar="IMAGE",
        panel=_PROGRAM,
        help="Container image: .sif, squashfs or folder; docker://NAME is pulled once.",
    ),
]
App = Annotated[str, option("--app", metavar="NAME", panel=_IMAGE, help="SCIF app of the image to run in.")]
Entrypoint = Annotated[
    bool, option("--entrypoint", panel=_IMAGE, help="Run the image's entrypoint (runscript) with the command's words.")
]
CleanEnv = Annotated[
    bool, option("--clean-env", panel=_IMAGE, help="No variables of yours, but what launcher and runtime need.")
]
ContainerWorkdir = Annotated[
    str,
    option(
        "--container-workdir",
        metavar="DIR",
        panel=_IMAGE,
        help="Working directory in the container; by default the job's.",
    ),
]
Writable = Annotated[
    bool, option("--writable", panel=_IMAGE, help="A writable layer in memory, thrown away at the end.")
]
Overlays = Annotated[
    list[str] | None,
    option(
        "--overlay",
        metavar="PATH[:SIZE|:ro]",
        panel=_IMAGE,
        help="A layer that keeps what is written: a folder, or FILE.img:2G (made if missing).",
    ),
]
Verify = Annotated[bool, option("--verify", panel=_IMAGE, help="Refuse an image without a valid signature.")]
ImageKey = Annotated[
    str,
    option(
        "--image-key",
        metavar="FILE|env:NAME",
        panel=_IMAGE,
        help="Key of an encrypted image: a private key, or a passphrase.",
    ),
]
ImageChanged = Annotated[
    str,
    option(
        "--image-changed",
        metavar="WHAT",
        panel=_IMAGE,
        help="If the image changes before the job starts: refuse, warn or ignore.",
    ),
]
Services = Annotated[
    list[str] | None,
    option(
        "--service",
        metavar="NAME=IMAGE",
        panel=_IMAGE,
        help="Start this image beside the job, and stop it after; job files can say more.",
    ),
]
RuntimeName = Annotated[
    str, option("--runtime", metavar="NAME", panel=_PROGRAM, help="Container runtime, or none for the bare host.")
]
LauncherName = Annotated[
    str,
    option(
        "--launcher", metavar="NAME", panel=_PROGRAM, help="What starts the ranks: srun, mpirun, mpiexec, pals, none."
    ),
]
Mpi = Annotated[
    str,
    option("--mpi", metavar="MODE", panel=_PROGRAM, help="auto, bind, hybrid, container, none, or a kind: pmi2, pmix."),
]
MpiCheck = Annotated[
    str,
    option("--mpi-check", metavar="WHEN", panel=_PROGRAM, help="See that ranks find each other: first, always, never."),
]
Env = Annotated[
    list[str] | None,
    option(
        "--env", metavar="K[=V]", panel=_PROGRAM, help="Environment variable, repeatable; K alone takes your value."
    ),
]
Binds = Annotated[
    list[str] | None,
    option("--bind", metavar="SRC[:DST[:ro]]", panel=_PROGRAM, help="Folder to show in the container, repeatable."),
]
Modules = Annotated[
    list[str] | None,
    option(
        "--module",
        metavar="NAME",
        panel=_PROGRAM,
        help="Module to load after the site's own, or a command: 'swap A B'; repeatable.",
    ),
]

JobName = Annotated[
    str, option("-J", "--job-name", "--name", metavar="NAME", panel=_FILES, help="Job name; by default the program's.")
]
Workdir = Annotated[str, option("-D", "--chdir", metavar="DIR", panel=_FILES, help="Working directory.")]
Output = Annotated[
    str, option("-o", "--output", metavar="FILE", panel=_FILES, help="Standard output; %j %A %a %x as in sbatch.")
]
Error = Annotated[str, option("-e", "--error", metavar="FILE", panel=_FILES, help="Standard error.")]

TemplateFile = Annotated[
    str, option("--template", metavar="FILE", panel=_WHERE, help="Template of the batch script, instead of the site's.")
]
JobFile = Annotated[
    str, typer.Argument(metavar="[JOB.yaml]", help="Job file; options override it.", show_default=False)
]
Command = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- COMMAND...]", help="The program and its arguments.", show_default=False),
]
Notebook = Annotated[
    str,
    option(
        "--notebook", metavar="FILE.ipynb", panel=_PROGRAM, help="Notebook to run in the image; kept as it was run."
    ),
]
Parameters = Annotated[
    list[str] | None,
    option("--parameter", metavar="K=V", panel=_PROGRAM, help="Parameter of the notebook, repeatable; short: -p K=V."),
]
Port = Annotated[
    str,
    option(
        "--port",
        metavar="N",
        panel=_PROGRAM,
        help="Port that it listens on; by default a free one, in HPCJOB_PORT.",
    ),
]
NoWait = Annotated[bool, option("--no-wait", help="Submit it, and do not wait until it answers.")]
ServedJob = Annotated[
    str, option("--job", metavar="JOB", help="Submit nothing: say where this job is.", autocompletion=complete.jobs)
]
Idle = Annotated[
    str, option("--idle", metavar="TIME", panel=_PROGRAM, help="End it when it was not used for so long: 30m, 1h.")
]
Wait = Annotated[
    bool, option("--wait", help="Show the output while the job runs; exit code 0 if it ends well, else 1.")
]
DryRun = Annotated[bool, option("--dry-run", help="Print the batch script and submit nothing.")]

# ------------------------------------------------------------------------------------------- other verbs

Follow = Annotated[bool, option("-f", "--follow", help="Go on until the job ends.")]
ErrorFile = Annotated[bool, option("-e", "--error", help="Standard error instead of standard output.")]
Lines = Annotated[int | None, option("-n", "--lines", metavar="N", help="Only the last N lines.")]
Limit = Annotated[int, option("-n", "--limit", metavar="N", help="Only the newest N jobs.")]
Since = Annotated[str, option("--since", metavar="TIME", help="Only jobs submitted since: 2h, 3d, 2026-11-21.")]
Interval = Annotated[float, option("-n", "--interval", metavar="SECONDS", help="Time between two looks.")]
ShowScript = Annotated[bool, option("--script", help="Only the batch script, as submitted.")]
ShowPlan = Annotated[bool, option("--plan", help="Only the plan, as JSON.")]
Rebuild = Annotated[bool, option("--rebuild", help="Make the job database anew from the job folders.")]
Shell = Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=complete.shells)]
SiteArgument = Annotated[
    str,
    typer.Argument(
        metavar="[NAME]",
        help="Site; by default the one that this machine is.",
        show_default=False,
        autocompletion=complete.sites,
    ),
]
Origin = Annotated[bool, option("--origin", help="Say which file set each value.")]
SiteFiles = Annotated[
    list[str] | None, typer.Argument(metavar="FILE|NAME...", help="Site files, or names of sites.", show_default=False)
]
Offline = Annotated[bool, option("--offline", help="Look at the files alone, not at the scheduler.")]
NewSite = Annotated[
    str, typer.Argument(metavar="[NAME]", help="Name of the site; by default the cluster's.", show_default=False)
]
NewSiteOutput = Annotated[
    str,
    option("-o", "--output", metavar="FILE", help="Where it is written; - prints it. By default your own site NAME."),
]
SchemaKind = Annotated[str, typer.Argument(metavar="[site|job]", help="Schema of site files or of job files.")]
TemplateName = Annotated[str, typer.Argument(metavar="NAME", help="Template: slurm, local or a file.")]
TemplateNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Templates, by default all.", show_default=False)
]

ScriptFile = Annotated[str, typer.Argument(metavar="SCRIPT", help="Batch script; - reads standard input.")]
WriteFor = Annotated[
    str, option("--to", metavar="NAME", help="pbs or slurm: what to write.", autocompletion=complete.targets)
]
Dialect = Annotated[
    str,
    option(
        "--dialect",
        metavar="NAME",
        help="PBS to write: openpbs (PBS Professional too) or torque; by default openpbs.",
        autocompletion=complete.dialects,
    ),
]

# ------------------------------------------------------------------------------------------ studies

_DESIGN, _POINTS, _PACKING = "Points", "What a point gets and leaves", "Packing and limits"

StudyFile = Annotated[
    str, typer.Argument(metavar="[STUDY.yaml]", help="Study file; options override it.", show_default=False)
]
Grid = Annotated[
    list[str] | None,
    option(
        "--grid",
        metavar="NAME=VALUES",
        panel=_DESIGN,
        help="re=100,200,400; i=range(0,1000); x=linspace(0,1,11); y=logspace(1,100,5). All combinations.",
    ),
]
Zip = Annotated[
    list[str] | None,
    option("--zip", metavar="NAME=VALUES", panel=_DESIGN, help="The same, but value by value, in step."),
]
TableFiles = Annotated[
    list[str] | None,
    option("--table", metavar="FILE", panel=_DESIGN, help="A point a row: CSV, TSV, JSON, JSONL or Parquet."),
]
_SPACE = "x=uniform(0,1); loguniform, normal, lognormal, integers, choice, exponential, triangular."
# Each takes two words (`app` sees to it): typer knows no lists of pairs.
RandomDesign = Annotated[
    list[str] | None,
    option("--random", metavar="N NAME=DISTRIBUTION", panel=_DESIGN, help=f"N random points: {_SPACE}"),
]
LatinHypercube = Annotated[
    list[str] | None,
    option("--lhs", metavar="N NAME=DISTRIBUTION", panel=_DESIGN, help="A Latin hypercube of N points."),
]
SobolDesign = Annotated[
    list[str] | None,
    option("--sobol", metavar="N NAME=DISTRIBUTION", panel=_DESIGN, help="A Sobol sequence of N points (SciPy)."),
]
Derive = Annotated[
    list[str] | None,
    option("--derive", metavar="NAME=EXPRESSION", panel=_DESIGN, help="A parameter computed of others: dt=0.1/re."),
]
Where = Annotated[
    list[str] | None,
    option("--where", metavar="EXPRESSION", panel=_DESIGN, help="Only points for which it holds: re*dt < 1."),
]
Seed = Annotated[
    int | None, option("--seed", metavar="N", panel=_DESIGN, help="Of random designs: the same seed, the same points.")
]
InputFiles = Annotated[
    list[str] | None,
    option(
        "--input",
        metavar="FILE[:NAME]",
        panel=_POINTS,
        help="A file in each point's folder: a template of jinja2 (FILE.j2), else a link.",
    ),
]
ResultFiles = Annotated[
    list[str] | None,
    option(
        "--result",
        metavar="SPEC",
        panel=_POINTS,
        help="What a point leaves: out.json, out.csv, NAME=REGEX (of its output), NAME=FILE:/REGEX/.",
    ),
]
PointFolder = Annotated[
    str, option("--folder", metavar="PATTERN", panel=_POINTS, help="Each point's own folder: runs/{re}-{point:04d}.")
]
PointLog = Annotated[
    str, option("-o", "--output", metavar="PATTERN", panel=_POINTS, help="Each point's output: out-{point}.log.")
]
Pack = Annotated[
    int | None, option("--pack", metavar="N", panel=_PACKING, help="Points in each task of the scheduler.")
]
Workers = Annotated[
    int | None,
    option("--workers", metavar="N", panel=_PACKING, help="Points of a pack at once; by default what a node holds."),
]
MaxRunning = Annotated[
    int | None, option("--max-running", metavar="N", panel=_PACKING, help="Tasks that may run at once.")
]
Retry = Annotated[
    str,
    option(
        "--retry",
        metavar="CAUSE=N,...",
        panel=_PACKING,
        help="Run points again by themselves: node_fail=3,preempted=3,timeout=1.",
    ),
]
WaitForStudy = Annotated[bool, option("--wait", help="Wait for its end, sending what the queue takes.")]
StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A study: s4, or last.", autocompletion=complete.studies)
]
To = Annotated[
    str, option("--to", metavar="FILE", help="Write it: the ending says how (csv, tsv, json, jsonl, parquet).")
]
Picture = Annotated[str, option("--to", metavar="FILE", help="Write a picture (.png, .svg) instead of drawing here.")]
PlotX = Annotated[str, option("--x", metavar="NAME", help="The column along the axis.")]
PlotY = Annotated[str, option("--y", metavar="NAME", help="The column up.")]
PlotBy = Annotated[str, option("--by", metavar="NAME", help="A series for each value of this column.")]
LogX = Annotated[bool, option("--log-x", help="A logarithmic axis.")]
LogY = Annotated[bool, option("--log-y", help="The same, up.")]
FailedPoints = Annotated[bool, option("--failed", help="Of a study: the points that failed.")]
MissingPoints = Annotated[bool, option("--missing", help="Of a study: the points without an end that wait nowhere.")]
MoreTime = Annotated[str, option("-t", "--time", metavar="TIME", help="Of a study: with this walltime; x2 doubles it.")]
MoreMem = Annotated[str, option("--mem", metavar="SIZE", help="Of a study: with this memory; x2 doubles it.")]

# ------------------------------------------------------------------------------------------- images

ImageName = Annotated[
    str, typer.Argument(metavar="IMAGE", help="Image file or folder, or a name in a registry: docker://alpine:3.20.")
]
Reference = Annotated[
    str, typer.Argument(metavar="NAME", help="docker://alpine:3.20, oras://…, library://…; @sha256:… pins it.")
]
ImageFile = Annotated[str, typer.Argument(metavar="FILE", help="A SIF file.")]
Source = Annotated[str, typer.Argument(metavar="IMAGE", help="SIF, squashfs, folder, docker archive or OCI layout.")]
Target = Annotated[str, typer.Argument(metavar="NEW", help="app.sif, app.sqfs, or the name of a folder.")]
RecipeFile = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A .def file, a Dockerfile, or the folder of a Dockerfile.")
]
BuildOutput = Annotated[
    str, option("-o", "--output", metavar="FILE", help="The image to make; by default RECIPE.sif, here.")
]
ImageForm = Annotated[
    str, option("--format", metavar="FORM", help="sif or squashfs; by default what the site's runtime takes.")
]
Force = Annotated[bool, option("--force", help="Overwrite what is there.")]
Fakeroot = Annotated[bool, option("--fakeroot", help="Build as root of a user namespace.")]
OnNode = Annotated[bool, option("--on-node", help="Build in a job on one node, and print its id.")]
SigningKey = Annotated[str, option("--key", metavar="FILE", help="Private key (PEM); by default your own PGP key.")]
VerifyingKey = Annotated[str, option("--key", metavar="FILE", help="Public key (PEM); by default what the site says.")]
OlderThan = Annotated[
    str, option("--older-than", metavar="TIME", help="Only what was not used for this time; by default 30d.")
]
PruneDryRun = Annotated[bool, option("--dry-run", help="Only tell what would be removed.")]

# ---------------------------------------------------------------------------------- images as programs

Commands = Annotated[
    list[str] | None,
    option("--command", metavar="NAME", help="A program of the image, by name or path; repeatable."),
]
CommandsFolder = Annotated[str, option("--to", metavar="DIR", help="Where they are written; by default here.")]
ModulesFolder = Annotated[
    str, option("--to", metavar="DIR", help="Folder of modulefiles to write to; by default ~/modulefiles.")
]
ModuleName = Annotated[
    str, option("--name", metavar="NAME/VERSION", help="Name of the module; by default made of the image's.")
]

KernelTitle = Annotated[str, option("--name", metavar="TEXT", help='What Jupyter shows: "PyTorch 2.7".')]
KernelName = Annotated[
    str, option("--kernel-name", metavar="NAME", help="Name of its folder; by default made of --name: pytorch-2.7.")
]
KernelLanguage = Annotated[
    str, option("--language", metavar="NAME", help="python, R or julia; by default the first with a kernel.")
]
KernelProgram = Annotated[
    str, option("--program", metavar="PATH", help="The interpreter in the image, where it is not on PATH.")
]
KernelNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Kernels, by name.", show_default=False)
]
Prefix = Annotated[
    str, option("--prefix", metavar="DIR", help="In DIR/share/jupyter/kernels, instead of your own folder.")
]
SysPrefix = Annotated[
    bool, option("--sys-prefix", help="For all who use the Python (virtual environment) that hpcjob is in.")
]

# --------------------------------------------------------------------------------------------- MPI

LockOutput = Annotated[str, option("-o", "--output", metavar="FILE", help="Write the lock file; - prints it.")]
Check = Annotated[bool, option("--check", help="Tell what has changed since the lock file was written.")]
MpiOnNode = Annotated[bool, option("--on-node", help="Look at a node, by a job, and print its id.")]
