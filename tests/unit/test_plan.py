from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcjobs import containers, launchers, plan, runtimes
from hpcjobs.errors import PlanError
from hpcjobs.model import (
    Bind,
    GpuConfig,
    HostFacts,
    ImageCheck,
    ImageConfig,
    ImageFacts,
    ImageKey,
    JobSpec,
    LauncherConfig,
    MpiConfig,
    NodeShape,
    Note,
    Partition,
    Plan,
    RuntimeConfig,
    SchedulerConfig,
    ServiceSpec,
    Shape,
    Site,
)
from hpcjobs.mpi.settle import Known
from hpcjobs.units import Duration, Memory
from tests import mpi_facts

HOST = HostFacts(cwd="/work", home="/home/u", user="u", arch="x86_64", folder="/jobs/1", tag="abc")
BARE = ImageFacts("")
SIF = ImageFacts("/i/app.sif", "sif", "x86_64")
SQUASHFS = ImageFacts("/i/app.sqfs", "squashfs")
REFERENCE = ImageFacts("docker://ubuntu:24.04", "reference")

SITE = Site(
    name="alps",
    scheduler=SchedulerConfig(kind="slurm"),
    partitions={
        "debug": Partition(
            default=True,
            nodes=4,
            max_time=Duration(3600),
            node=NodeShape(cores=8, memory=Memory.parse("16G")),
        ),
        "long": Partition(
            nodes=100,
            max_nodes=50,
            min_nodes=2,
            max_time=Duration(86_400),
            node=NodeShape(cores=16, memory=Memory.parse("64G")),
            require=("account",),
        ),
        "gpu": Partition(nodes=2, node=NodeShape(cores=32, gpus=4, gpu_type="a100")),
    },
    gpu=GpuConfig(kind="nvidia"),
    launcher=LauncherConfig(kind="srun"),
    launchers=(LauncherConfig(kind="mpirun"),),
    runtimes=(RuntimeConfig(kind="charliecloud"), RuntimeConfig(kind="apptainer", modules=("apptainer/1.4",))),
    mpi=MpiConfig(default="pmix", types=("pmi2", "pmix")),
)
PLAIN = Site(name="plain", scheduler=SchedulerConfig(kind="slurm"), launcher=LauncherConfig(kind="srun"))
LOCAL = Site(name="local")


def resolve(
    site: Site = SITE, image: ImageFacts = BARE, host: HostFacts = HOST, seen: Known | None = None, **asked: Any
) -> Plan:
    spec = JobSpec(**{"command": ("./app", "x"), **asked})
    return plan.resolve(
        spec,
        site,
        image,
        host,
        runtime=runtimes.get(plan.choose_runtime(spec, site, image)),
        launcher=launchers.get(plan.choose_launcher(spec, site)),
        dependency=spec.dependency.replace("j1", "77"),
        mpi=seen,
    )


def refused(site: Site = SITE, image: ImageFacts = BARE, host: HostFacts = HOST, **asked: Any) -> str:
    """The refusal and its hint, as one text."""
    with pytest.raises(PlanError) as caught:
        resolve(site, image, host, **asked)
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


# ------------------------------------------------------------------------------------- what is decided


def test_least() -> None:
    made = resolve(LOCAL)
    assert made == Plan(
        tag="abc",
        name="app",
        site="local",
        scheduler="local",
        template="local.sh.j2",
        folder="/jobs/1",
        workdir="/work",
        output="/jobs/1/stdout.log",
        error="/jobs/1/stderr.log",
        shape=Shape(),
        launch=(("./app", "x"),),
        command=("./app", "x"),
        nodes_asked=False,
        env={"OMP_NUM_THREADS": "1"},
    )


def test_launch_is_launcher_runtime_program() -> None:
    made = resolve(image=SIF, nodes=2)
    assert made.launch == (
        ("srun", "--ntasks=16", "--cpu-bind=cores", "--mpi=pmix"),
        ("apptainer", "exec", "--bind", "/work", "--pwd", "/work", "/i/app.sif"),
        ("./app", "x"),
    )
    assert (made.image, made.runtime, made.launcher, made.mpi) == ("/i/app.sif", "apptainer", "srun", "pmix")


def test_one_rank_of_open_mpi_is_started_without_srun_but_where_srun_has_the_container() -> None:
    seen = Known(mpi_facts.BOOKWORM_OMPI, None, "/jobs/.mpi")
    alone = resolve(both("apptainer"), SIF, seen=seen)
    assert [group[0] for group in alone.launch][-1] == "./app"
    assert not [word for group in alone.launch for word in group if "srun" in word or "--mpi" in word]
    assert (alone.mpi, alone.mpi_plan.binds) == ("", ())
    assert alone.notes[-2:] == (
        Note("mpi", "hybrid", "one rank needs nobody to find the others"),
        Note("srun", "not used: Open MPI would ask it for other ranks, and end", ""),
    )
    assert resolve(both("pyxis"), SQUASHFS, seen=seen).launch[0][:2] == ("srun", "--ntasks=1")
    assert "--mpi=pmix" in resolve(both("pyxis"), SQUASHFS, seen=seen).launch[0]


def test_decisions_are_noted() -> None:
    assert resolve(nodes=2).notes == (
        Note("ranks", "8 on each node", "they fill the nodes"),
        Note("mpi", "pmix", "the default of site alps"),
    )
    notes = resolve(image=replace(SQUASHFS, missing=("/work",)), nodes=1, ntasks=1).notes
    assert Note("charliecloud", "the working directory is /mnt/0 in the container, which has no /work", "") in notes


def test_modules_are_the_site_s_the_runtime_s_and_the_job_s() -> None:
    assert resolve(replace(SITE, modules=("base",)), SIF, modules=("mine",)).modules == (
        "base",
        "apptainer/1.4",
        "mine",
    )


def test_commands_of_modules_keep_their_order_and_the_job_s_come_last() -> None:
    site = replace(
        SITE,
        modules=("purge", "use /soft", "gcc"),
        runtimes=(RuntimeConfig(kind="apptainer", modules=("use /soft", "apptainer/1.4")),),
    )
    made = resolve(
        site, SIF, services=(ServiceSpec(name="db", command=("serve",)),), modules=("swap gcc intel", "fftw")
    )
    assert made.module_commands == (
        ("module", "purge"),
        ("module", "use", "/soft"),
        ("module", "load", "gcc"),
        ("module", "use", "/soft"),
        ("module", "load", "apptainer/1.4"),
        ("module", "swap", "gcc", "intel"),
        ("module", "load", "fftw"),
    )


def test_fields_of_the_request_reach_the_plan() -> None:
    asked: dict[str, Any] = {
        "name": "my job", "account": "a", "qos": "q", "constraint": "c", "reservation": "r", "licenses": "l",
        "partition": "gpu", "gpu_type": "a100", "exclusive": True, "hold": True, "requeue": False,
        "time": Duration(60), "mem": Memory(1 << 30),
    }  # fmt: skip
    made = resolve(gpus_per_node=2, nodes=1, dependency="afterok:j1", directives=("--switches=1",), **asked)
    assert {name: getattr(made, name) for name in asked} == asked
    assert (made.dependency, made.directives, made.gpu_kind) == ("afterok:77", ("--switches=1",), "nvidia")


def test_site_s_defaults_fill_what_is_not_asked() -> None:
    site = replace(SITE, defaults={"partition": "gpu", "time": Duration(60), "env": {"A": "site", "B": "site"}})
    made = resolve(site, time=Duration(120), env={"A": "mine"})
    assert (made.partition, made.time, made.env) == (
        "gpu",
        120,
        {"OMP_NUM_THREADS": "1", "A": "mine", "B": "site"},
    )


def test_template_is_the_job_s_or_the_site_s_or_the_scheduler_s() -> None:
    assert resolve().template == "slurm.sh.j2"
    assert resolve(replace(SITE, template="mine")).template == "mine"
    assert resolve(replace(SITE, template="mine"), template="./t.j2").template == "./t.j2"


@pytest.mark.parametrize(
    ("site_env", "asked", "threads"),
    [
        ({}, {"cpus_per_task": 4}, "4"),
        ({}, {}, "1"),
        ({}, {"env": {"OMP_NUM_THREADS": "2"}, "cpus_per_task": 4}, "2"),
        ({"OMP_NUM_THREADS": "3"}, {"cpus_per_task": 4}, None),
        ({}, {"exclusive": True}, None),
        ({}, {"exclusive": True, "cpus_per_task": 4}, "4"),
    ],
)
def test_threads_follow_cpus_per_task(site_env: dict[str, str], asked: dict[str, Any], threads: str | None) -> None:
    assert resolve(replace(SITE, env=site_env), **asked).env.get("OMP_NUM_THREADS") == threads


def test_a_word_of_bash_is_started_as_a_program() -> None:
    assert resolve(LOCAL, command=("exit", "3")).launch == (("env", "exit", "3"),)
    assert resolve(command=("exit", "3")).launch[1] == ("exit", "3")


@pytest.mark.parametrize(
    ("command", "name"),
    [(("/usr/bin/python3", "x"), "python3"), (("./",), "job"), (("a\nb",), "a_b"), (("x" * 300,), "x" * 50)],
)
def test_name_is_the_program_s(command: tuple[str, ...], name: str) -> None:
    assert resolve(LOCAL, command=command).name == name


@pytest.mark.parametrize(
    ("array", "indices", "limit"), [("0-9", "0-9", 0), ("0-9%2", "0-9", 2), ("1, 4,7", "1,4,7", 0), ("", "", 0)]
)
def test_array(array: str, indices: str, limit: int) -> None:
    made = resolve(array=array)
    assert (made.array, made.array_limit) == (indices, limit)


def test_binds_of_site_and_job_reach_the_container() -> None:
    site = replace(SITE, bind=("/scratch/$USER", "$STORE/x:/store:ro"))
    argv = resolve(site, SIF, bind=("data", "/a:/b:rw", "$X:/x")).launch[1]
    assert argv[2:14:2] == ("--bind",) * 6
    assert argv[3:14:2] == (
        '"/scratch/$USER"', '"$STORE/x:/store:ro"', "/work/data", "/a:/b", "/work/$X:/x", "/work",
    )  # fmt: skip


def test_image_targets_are_what_should_be_there() -> None:
    site = replace(SITE, bind=("/scratch/$USER", "/opt:/o"))
    spec = JobSpec(command=("x",), bind=("data:/d",))
    assert plan.image_targets(spec, site, "/work") == ("/o", "/d", "/work", *(f"/mnt/{n}" for n in range(10)))


def test_working_directory_is_the_submission_s_or_below() -> None:
    assert resolve(workdir="run/../x").workdir == "/work/x"
    assert resolve(workdir="/data").workdir == "/data"


@pytest.mark.parametrize(
    ("asked", "output", "error"),
    [
        ({}, "/jobs/1/stdout.log", "/jobs/1/stderr.log"),
        ({"array": "0-3"}, "/jobs/1/stdout.%a.log", "/jobs/1/stderr.%a.log"),
        ({"output": "out.%j"}, "/work/out.%j", "/work/out.%j"),
        ({"output": "/o/%x", "error": "e"}, "/o/%x", "/work/e"),
        ({"error": "e"}, "/jobs/1/stdout.log", "/work/e"),
        ({"output": "o-%A_%a", "array": "1"}, "/work/o-%A_%a", "/work/o-%A_%a"),
        ({"workdir": "/100%", "output": "o"}, "/100%%/o", "/100%%/o"),
    ],
)
def test_log_files(asked: dict[str, Any], output: str, error: str) -> None:
    made = resolve(**asked)
    assert (made.output, made.error) == (output, error)


def test_percent_in_the_folder_is_no_pattern() -> None:
    assert resolve(host=replace(HOST, folder="/a%j")).output == "/a%%j/stdout.log"


def test_launchers_that_place_ranks_get_exactly_the_nodes() -> None:
    assert not resolve(ntasks=12).nodes_asked
    assert resolve(ntasks=12, launcher="mpirun").nodes_asked


def test_launchers_that_place_ranks_must_know_the_nodes() -> None:
    site = replace(PLAIN, launcher=LauncherConfig(kind="mpirun"))
    assert "add -N" in refused(site, ntasks=12)
    assert resolve(site).nodes_asked
    assert resolve(replace(LOCAL, launcher=LauncherConfig(kind="mpirun")), ntasks=2).nodes_asked


def test_one_machine_has_no_use_for_queue_and_account() -> None:
    notes = resolve(LOCAL, partition="gpu", account="a").notes
    assert [(note.subject, note.decision) for note in notes] == [
        ("partition", "gpu is not used"),
        ("account", "a is not used"),
    ]


# -------------------------------------------------------------------------------------- the choices


@pytest.mark.parametrize(
    ("image", "asked", "kind"),
    [(BARE, "", "none"), (BARE, "none", "none"), (SIF, "", "apptainer"), (SQUASHFS, "", "charliecloud"),
     (SQUASHFS, "apptainer", "apptainer")],
)  # fmt: skip
def test_runtime_is_the_first_that_takes_the_image(image: ImageFacts, asked: str, kind: str) -> None:
    assert plan.choose_runtime(JobSpec(runtime=asked), SITE, image).kind == kind


@pytest.mark.parametrize(
    ("image", "asked", "site", "refusal"),
    [
        (BARE, "apptainer", SITE, "there is no image to run with apptainer | name one: --image FILE"),
        (SIF, "none", SITE, "--runtime none runs on the bare host, and the image /i/app.sif was given | leave out one"),
        (SIF, "podman", SITE, "site alps has no runtime 'podman' | there are apptainer, charliecloud"),
        (
            SIF,
            "charliecloud",
            SITE,
            "charliecloud cannot run the sif image /i/app.sif | leave out --runtime: apptainer runs it; or convert it: "
            "hpcjob image convert /i/app.sif app.sqfs",
        ),
        (SIF, "", PLAIN, "no runtime of site plain runs the sif image /i/app.sif | add a runtime to the site file"),
        (REFERENCE, "charliecloud", PLAIN, "site plain has no runtime 'charliecloud'"),
    ],
)
def test_runtime_refusals(image: ImageFacts, asked: str, site: Site, refusal: str) -> None:
    assert refusal in refused(site, image, runtime=asked)


def test_launcher_is_the_site_s_or_one_of_its_others() -> None:
    assert plan.choose_launcher(JobSpec(), SITE) is SITE.launcher
    assert plan.choose_launcher(JobSpec(launcher="mpirun"), SITE) is SITE.launchers[0]
    assert plan.choose_launcher(JobSpec(launcher="none"), SITE).kind == "none"


def test_launcher_refusal() -> None:
    assert "site alps has no launcher 'mpirum' | did you mean mpirun?" in refused(launcher="mpirum")


@pytest.mark.parametrize(
    ("asked", "launcher", "mpi"),
    [("auto", "", "pmix"), ("auto", "mpirun", ""), ("none", "", "none"), ("pmi2", "", "pmi2")],
)
def test_mpi(asked: str, launcher: str, mpi: str) -> None:
    assert resolve(mpi=asked, launcher=launcher).mpi == mpi


# ------------------------------------------------------------------------------------- the refusals


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"command": ()}, "there is no command to run | put it after --"),
        ({"command": ("",)}, "there is no command"),
        ({"command": ("-x",)}, "the program '-x' would be read as an option | write ./-x"),
        ({"command": ("A=1", "./x")}, "would be read as an assignment to A, not as a program | set variables with --env"),
        ({"command": ("./a", ":", "./b")}, "srun reads the argument ':' as the beginning of another program"),
        ({"name": "a\nb"}, r"name (-J) cannot hold the character '\n'"),
        ({"account": "a\rb"}, "account (-A) cannot hold"),
        ({"workdir": "/a\nb"}, "workdir (-D) cannot hold"),
        ({"qos": "a\udcff"}, "qos (--qos) is not UTF-8"),
        ({"name": "é" * 101}, "the job name has 202 bytes"),
        ({"modules": ("a\nb",)}, "a module name cannot hold"),
        ({"modules": ("gcc", "swap a b c")}, "the module command 'swap a b c' has 3 words after swap | write swap OLD NEW"),
        ({"env": {"A B": ""}}, "'A B' cannot be the name of an environment variable"),
        ({"env": {"UID": "0"}}, "the variable UID is not free to set"),
        ({"env": {"BASH_XTRACEFD": "1"}}, "BASH_XTRACEFD is not free"),
        ({"env": {"HPCJOB_NATIVE_ID": "1"}}, "HPCJOB_NATIVE_ID is not free"),
        ({"array": "9-0"}, "array '9-0'"),
        ({"array": "0-9%x"}, "array '0-9%x': 'x' is not a number of tasks | write 0-9%10"),
        ({"array": "0-9%0"}, "'0' is not a number of tasks"),
        ({"output": "a\\b"}, "-o: Slurm expands no %j in a path with a backslash"),
        ({"output": "%N"}, "-o: %N is not known: /work/%N | %j is the job"),
        ({"error": "50%"}, "-e: % is not known"),
        ({"output": "%j", "array": "1"}, "-o: the %j of an array's task cannot be known: /work/%j | write %A_%a"),
        ({"output": "o", "array": "1"}, "-o: all tasks of the array would write to /work/o | add %a"),
        ({"output": "%a"}, "-o: %A and %a are for arrays: /work/%a | write %j"),
        ({"output": "%x", "name": "a/b"}, "the job name a/b holds a / and would be a folder"),
        ({"bind": ("",)}, "bind '' is not understood | write SRC, SRC:DST or SRC:DST:ro"),
        ({"bind": ("/a:/b:rx",)}, "bind '/a:/b:rx' is not understood"),
        ({"bind": ("/a:/b:ro:x",)}, "is not understood"),
        ({"bind": ("/a:b",)}, "bind '/a:b': b is not a path from the root | write /a:/b"),
        ({"directives": ("--output=x",)}, "the directive --output=x is written by hpcjob itself | use -o"),
        ({"directives": ("--outp=x",)}, "is written by hpcjob itself | use -o"),
        ({"directives": ("--comment=x",)}, "hpcjob needs --comment for itself | leave it out"),
        ({"directives": ("--gres=gpu:2",)}, "use --gpus-per-node"),
        ({"directives": ("-N 4",)}, "the directive '-N 4' is not understood | write --name or --name=value"),
        ({"directives": ("",)}, "the directive '' is not understood"),
        ({"directives": ("--a=b\nc",)}, "a directive cannot hold"),
        ({"directives": ("hetjob",)}, "heterogeneous jobs are not in this version | submit one job for each"),
        ({"partition": "debgu"}, "site alps has no partition 'debgu' | did you mean debug?"),
        ({"partition": "long", "nodes": 2}, "partition long needs account, and none was given | add -A ACCOUNT"),
        ({"partition": "long", "account": "a", "nodes": 51}, "partition long has 50 nodes for one job, and 51 are needed"
         " | -N 50 is the most there"),
        ({"partition": "long", "account": "a", "nodes": 1, "ntasks": 16}, "takes jobs of at least 2 nodes, and this has 1"
         " | -N 2 is the least there"),
        ({"ntasks": 900}, "partition debug has 4 nodes for one job, and 113 are needed | -n 32 is the most there"),
        ({"nodes": 40, "account": "a"}, "-N 4 is the most there; or -p long, which takes it"),
        ({"nodes": 40}, "partition debug has 4 nodes for one job, and 40 are needed | -N 4 is the most there"),  # long needs more
        ({"nodes": 1, "ntasks_per_node": 9, "partition": "debug"}, "partition debug: a node has 8 cores, and 9 ranks"),
        ({"nodes": 3, "ntasks": 2}, "2 ranks cannot use 3 nodes | -N 2"),
        ({"time": Duration(90_000), "partition": "long", "account": "a", "nodes": 2},
         "partition long allows 1-00:00:00, and 1-01:00:00 were asked for | -t 1-00:00:00 is the most there"),
        ({"mem": Memory.parse("100G"), "nodes": 3}, "a node has 16G of memory, and 100G are needed | --mem 16G is the most"),
        ({"mem_per_cpu": Memory.parse("9G"), "ntasks_per_node": 8, "nodes": 4},
         "and 72G are needed | --mem-per-cpu 2G is the most"),
        ({"mem": Memory(1), "mem_per_cpu": Memory(1)}, "both --mem and --mem-per-cpu"),
        ({"gpu_type": "a100"}, "a kind of GPU (a100) without a number | add --gpus-per-node 1"),
        ({"gpus_per_node": 1}, "partition debug has no GPUs | leave out --gpus-per-node; or -p gpu, which takes it"),
        ({"gpus_per_node": 8, "partition": "gpu"}, "partition gpu: a node has 4 GPUs, and 8 were asked for"),
        ({"gpus_per_node": 1, "partition": "gpu", "gpu_type": "h100"}, "has GPUs of kind a100, not h100"),
        ({"mpi": "bind"}, "--mpi bind is about the MPI of an image, and there is none | leave out --mpi"),
        ({"mpi": "pmi22"}, "site alps has no MPI of kind 'pmi22' | did you mean pmi2?"),
    ],
)  # fmt: skip
def test_refusals(asked: dict[str, Any], refusal: str) -> None:
    assert refusal in refused(**asked)


def test_backslash_in_the_job_folder_is_refused() -> None:
    assert "$HPCJOBS_HOME" in refused(host=replace(HOST, folder="/a\\b"))


def test_plain_colon_is_no_problem_without_a_launcher() -> None:
    assert resolve(LOCAL, command=("echo", ":")).command == ("echo", ":")


def test_gpus_by_rank_must_be_shared_out() -> None:
    site = replace(SITE, gpu=GpuConfig(kind="nvidia", request="gpus-per-task"))
    text = refused(site, gpus_per_node=4, nodes=1, ntasks_per_node=3, partition="gpu")
    assert "4 cannot be shared out to 3 ranks a node | --gpus-per-node 3, or --ntasks-per-node 4" in text
    assert resolve(site, gpus_per_node=4, nodes=1, partition="gpu").shape.ntasks == 4


def test_a_runtime_without_an_option_for_mpi_is_told_with_its_name() -> None:
    seen = Known(mpi_facts.TRIXIE, mpi_facts.host(mpi_facts.DEBIAN), "/jobs/.mpi")
    sif, by_name = ImageFacts("/a.sif", "sif"), ImageFacts("docker://a:1", "reference", source="docker://a:1")
    for kind, image, hint in (
        ("apptainer", sif, "choose another --mpi"),
        ("shifter", by_name, "add mpi_option to shifter in the site's file, or choose another --mpi"),
    ):
        site = replace(SITE, runtimes=(RuntimeConfig(kind=kind),))
        with pytest.raises(PlanError, match=f"names no option of {kind} for MPI") as caught:
            resolve(site, image, seen=seen, mpi="site", nodes=2)
        assert caught.value.hint == hint


def test_gpus_that_the_partition_brings_are_of_its_kind() -> None:
    site = replace(SITE, gpu=GpuConfig(kind="nvidia", request="none"))
    made = resolve(site, gpus_per_node=4, nodes=1, partition="gpu", gpu_type="a100")
    assert (made.gpu_request, made.gpu_kind, made.shape.gpus_per_node) == ("none", "nvidia", 4)
    plain = replace(PLAIN, gpu=GpuConfig(kind="nvidia", request="none"))
    text = refused(plain, gpus_per_node=1, gpu_type="h100")
    assert "site plain brings the GPUs that it has, and h100 was asked for | leave out the kind" in text


def test_site_without_gpus() -> None:
    assert "site plain has no GPUs | leave out --gpus-per-node" in refused(PLAIN, gpus_per_node=1)


def test_gpus_of_nodes_that_are_not_described_are_not_checked() -> None:
    site = replace(PLAIN, gpu=GpuConfig(kind="amd"))
    assert resolve(site, gpus_per_node=2, gpu_type="mi250").shape.gpus_per_node == 2


def test_site_requires() -> None:
    assert "site alps needs ntasks per node, and none was given | add --ntasks-per-node" in refused(
        replace(SITE, require=("ntasks_per_node",))
    )


def test_image_for_another_cpu() -> None:
    text = refused(image=replace(SIF, arch="aarch64"))
    assert "made for aarch64, and this machine is x86_64 | build or pull it for x86_64" in text


def test_mpi_kinds_that_are_not_known_are_not_checked() -> None:
    assert resolve(PLAIN, mpi="pmi9").mpi == "pmi9"


def test_directives_of_the_site() -> None:
    site = replace(SITE, directives=("--switches=1", "--gpus=1"))
    assert resolve(site).directives == ("--switches=1", "--gpus=1")
    # Written last, it would beat what the job asks for.
    assert "| write it under `defaults`: {licenses: scratch}" in refused(
        replace(SITE, directives=("--licenses=scratch",))
    )
    assert "hpcjob needs --comment" in refused(replace(SITE, directives=("--comment=x",)))


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        ({"constraint": "x"}, "the local scheduler has no constraint | leave out constraint"),
        ({"directives": ("--x",)}, "the local scheduler has no directives"),
        ({"nodes": 2}, "site local is one machine, and 2 nodes were asked for | -N 1"),
    ],
)
def test_one_machine_refuses(asked: dict[str, Any], refusal: str) -> None:
    assert refusal in refused(LOCAL, **asked)


def test_binds_are_read() -> None:
    assert containers.parse_bind("/a:/b:ro", "/w", expand=False) == Bind("/a", "/b", readonly=True)
    assert containers.parse_bind("a", "/w", expand=False) == Bind("/w/a", "/w/a")


# ------------------------------------------------------------------------------- images and services


def both(*kinds: str) -> Site:
    return replace(SITE, runtimes=tuple(RuntimeConfig(kind=kind) for kind in kinds))


def test_what_only_a_container_has_is_refused_without_one() -> None:
    assert refused(bind=("/a",)) == "there is no container for --bind /a | leave out --bind, or give an --image"
    assert refused(writable=True) == "there is no container for --writable | leave it out, or give an --image"


def test_runtime_is_the_first_that_can_do_what_the_job_needs() -> None:
    site = both("charliecloud", "apptainer")
    folder = ImageFacts("/i/app", "directory")
    assert plan.choose_runtime(JobSpec(), site, folder).kind == "charliecloud"
    assert plan.choose_runtime(JobSpec(bind=("/a:/b:ro",)), site, folder).kind == "apptainer"
    shifter = both("shifter", "podman-hpc")
    bind_file = JobSpec(bind=("/f",))
    assert plan.choose_runtime(bind_file, shifter, REFERENCE).kind == "shifter"
    assert plan.choose_runtime(bind_file, shifter, REFERENCE, files=frozenset({"/f"})).kind == "podman-hpc"


def test_a_runtime_that_was_named_is_not_exchanged_silently() -> None:
    text = refused(both("charliecloud", "apptainer"), SQUASHFS, runtime="charliecloud", writable=True, overlay=("/o",))
    assert (
        text
        == "charliecloud cannot do what --overlay /o asks for: overlay folders | use --runtime apptainer, which can"
    )


def test_a_runtime_of_a_plug_in_takes_any_image() -> None:
    site = replace(SITE, runtimes=(RuntimeConfig(kind="udocker"),))
    assert plan.choose_runtime(JobSpec(app="x"), site, SIF).kind == "udocker"


def test_runtimes_that_run_no_files() -> None:
    text = refused(both("shifter", "podman"), SIF)
    assert (
        text
        == "no runtime of site alps runs the sif image /i/app.sif | convert it: hpcjob image convert /i/app.sif app"
    )
    spaced = refused(both("shifter", "podman"), replace(SIF, path="/i/my app.sif"))
    assert spaced.endswith("| convert it: hpcjob image convert '/i/my app.sif' app")
    assert refused(both("shifter"), SIF).endswith("| push it to a registry, and give its name: docker://…")
    assert refused(both("shifter", "apptainer"), SIF, runtime="shifter") == (
        "shifter cannot run the sif image /i/app.sif | leave out --runtime: apptainer runs it"
    )
    assert refused(both("apptainer", "podman"), ImageFacts("/i/app.sqfs", "squashfs"), runtime="podman").startswith(
        "podman cannot run the squashfs image /i/app.sqfs | leave out --runtime: apptainer runs it; or convert it: "
    )


def test_an_encrypted_image_needs_its_key() -> None:
    locked = replace(SIF, encrypted=True)
    assert "is encrypted, and no key was given | add --image-key FILE" in refused(image=locked)
    key = replace(HOST, key=ImageKey("pem", file="/k.pem"))
    made = resolve(image=locked, host=key)
    assert made.env["APPTAINER_ENCRYPTION_PEM_PATH"] == "/k.pem"
    assert made.needed == ("/k.pem",)


def test_a_key_in_a_variable_must_reach_the_job() -> None:
    host = replace(HOST, key=ImageKey("passphrase", variable="PHRASE"))
    closed = replace(SITE, scheduler=SchedulerConfig(kind="slurm", export="none"))
    assert "--image-key env:PHRASE: on site alps no variable of yours reaches the job | put the passphrase into a file" \
        in refused(closed, SIF, host)  # fmt: skip
    assert "PHRASE" in str(resolve(SITE, SIF, host).env["APPTAINER_ENCRYPTION_PASSPHRASE"])
    in_file = replace(HOST, key=ImageKey("passphrase", file="/p"))
    assert resolve(closed, SIF, in_file).env["APPTAINER_ENCRYPTION_PASSPHRASE"] == '"$(</p)"'


@pytest.mark.parametrize(
    ("asked", "site", "check"),
    [
        ({}, {}, ("12", "1.2", False)),
        ({}, {"changed": "refuse"}, ("12", "1.2", True)),
        ({"image_changed": "ignore"}, {"changed": "refuse"}, ("", "", False)),
        # What was verified is read again, whatever its time says.
        ({"verify": "required", "image_changed": "ignore"}, {}, ("12", "", True)),
        ({"image_changed": "ignore"}, {"verify": "required"}, ("12", "", True)),
    ],
)
def test_what_a_job_does_if_its_image_was_changed(
    asked: dict[str, Any], site: dict[str, Any], check: tuple[str, str, bool]
) -> None:
    image = replace(SIF, stamp="1.2", digest="sha256:12")
    made = resolve(replace(SITE, image=ImageConfig(**site)), image, **asked)
    assert made.image_digest == "sha256:12"
    assert made.images == (ImageCheck("/i/app.sif", *check[:2], refuse=check[2]),)


def test_without_a_digest_there_is_nothing_to_compare() -> None:
    assert resolve(image=replace(SIF, stamp="1.2")).images == (ImageCheck("/i/app.sif"),)


def test_images_that_are_no_files_are_not_looked_at() -> None:
    assert resolve(both("podman"), ImageFacts("docker://a@sha256:12", "reference"), ntasks=1).images == ()
    assert resolve(image=BARE).images == ()


@pytest.mark.parametrize("runtime", ["none", "apptainer", "charliecloud", "pyxis", "ce", "shifter", "sarus"])
def test_a_clean_environment_is_made_by_the_script(runtime: str) -> None:
    host = replace(HOST, key=ImageKey("passphrase", variable="PHRASE"))
    image = {"none": BARE, "shifter": REFERENCE, "sarus": REFERENCE, "apptainer": SIF}.get(runtime, SQUASHFS)
    site = both(*({runtime} - {"none"}))
    assert resolve(site, image, clean_env=True).kept_env == ()
    assert resolve(site, image).kept_env is None
    if runtime == "apptainer":
        assert resolve(site, image, host, clean_env=True).kept_env == ("PHRASE",)
        in_file = replace(HOST, key=ImageKey("pem", file="/k"))
        assert resolve(site, image, in_file, clean_env=True).kept_env == ()


@pytest.mark.parametrize("runtime", ["podman", "docker", "podman-hpc"])
def test_a_clean_environment_is_a_matter_of_runtimes_that_pass_on_what_is_named(runtime: str) -> None:
    assert resolve(both(runtime), REFERENCE, ntasks=1, clean_env=True).kept_env is None


def test_what_hpcjob_and_the_site_say_reaches_containers_that_see_only_what_is_named() -> None:
    site = replace(both("docker"), env={"LICENCE": "x"}, scratch="/s/$USER")
    named = [word for word in resolve(site, REFERENCE, ntasks=1, nodes=1, array="0-3", env={"A": "1"}).launch[1]
             if str(word).startswith("--env=")]  # fmt: skip
    assert named == [
        f"--env={name}"
        for name in ("HPCJOB_NATIVE_ID", "HPCJOB_RESTARTS", "HPCJOB_ARRAY_INDEX", "HPCJOB_SCRATCH", "LICENCE",
                     "OMP_NUM_THREADS", "A")
    ]  # fmt: skip
    made = with_services(replace(DB, bind=(), env={}), site=both("docker"), image=REFERENCE, nodes=1, ntasks=1)
    assert "--env=HPCJOB_SERVICE_DB" in made.launch[1]
    assert "--env=HPCJOB_SCRATCH" not in made.launch[1]


def test_variables_of_the_host_s_tools_are_set_inside() -> None:
    bare = resolve(env={"PATH": "/x", "A": "1"})
    assert bare.launch[-1][:3] == ("env", "PATH=/x", "./app")
    assert "PATH" not in bare.env
    assert bare.env["A"] == "1"


def test_a_folder_of_the_container_is_a_path_from_its_root() -> None:
    assert refused(image=SIF, container_workdir="opt/app") == (
        "opt/app is not a path from the root of the container | --container-workdir /opt/app"
    )


def test_an_overlay_has_one_writer() -> None:
    assert "8 ranks cannot write to the one overlay /work/o" in refused(image=SIF, nodes=1, overlay=("o",))
    assert resolve(image=SIF, ntasks=1, overlay=("o",)).setup == ("mkdir -p /work/o",)
    assert resolve(image=SIF, nodes=1, overlay=("o:ro",)).needed == ("/work/o",)


def test_images_are_got_on_every_node_by_a_runtime_with_a_store_on_each() -> None:
    site, image = both("podman"), ImageFacts("docker://a@sha256:12", "reference")
    stop = " >/dev/null || hpcjob_stop 69 the image could not be got"
    pull = "podman pull --quiet a@sha256:12"
    assert resolve(site, image, ntasks=1).setup == (pull + stop,)
    assert resolve(site, image, nodes=3).setup == (
        'srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --mpi=none \\\n    '
        f"{pull}{stop}",
    )


DB = ServiceSpec(name="db", command=("redis",), ready=("redis-cli", "ping"), env={"B": "2"}, bind=("data",))


def with_services(*services: ServiceSpec, site: Site = SITE, image: ImageFacts = SIF, **asked: Any) -> Plan:
    spec = JobSpec(**{"command": ("./app",), "services": services, **asked})
    runtime = runtimes.get(plan.choose_runtime(spec, site, image))
    return plan.resolve(
        spec,
        site,
        image,
        HOST,
        runtime=runtime,
        launcher=launchers.get(plan.choose_launcher(spec, site)),
        services=[(service, image, runtime) for service in services],
    )


def test_a_service_has_binds_and_variables_of_its_own_and_nothing_of_the_job_s() -> None:
    made = with_services(
        DB, env={"A": "1"}, bind=("mine",), app="solve", gpus_per_node=1, partition="gpu", nodes=1, ntasks=4,
        container_workdir="/opt", entrypoint=True,
    )  # fmt: skip
    (service,) = made.services
    container = ("apptainer", "exec", "--bind", "/work/data", "--bind", "/work", "--pwd", "/work", "/i/app.sif")
    assert service.start == (container, ("redis",))
    assert service.ready == (*container, "redis-cli", "ping")
    assert service.env == {"APPTAINERENV_B": "2"}
    assert service.log == "/jobs/1/service-db.log"
    assert made.launch[1][-3:-1] == ("--app", "solve")


def test_an_instance_is_named_for_the_job_and_its_task() -> None:
    (service,) = with_services(ServiceSpec(name="db"), array="0-3").services
    assert service.stop[-1] == '"hpcjob_${HPCJOB_NATIVE_ID}_${HPCJOB_ARRAY_INDEX:-0}_db"'
    assert str(service.log) == '/jobs/1/service-db".$HPCJOB_ARRAY_INDEX".log'


def test_a_service_on_each_node_is_a_step_of_slurm() -> None:
    per_node = replace(DB, per="node")
    (service,) = with_services(per_node, nodes=2).services
    assert service.step
    assert service.start[0][:4] == ("srun", "--overlap", "--mem=0", '--nodes="$SLURM_JOB_NUM_NODES"')
    other = replace(SITE, scheduler=SchedulerConfig(kind="pbs"))
    with pytest.raises(PlanError, match="pbs cannot start a service on each node") as caught:
        with_services(per_node, site=other, nodes=2)
    assert caught.value.hint == "write `per: job`"
    (service,) = with_services(per_node, site=other, nodes=1).services
    assert not service.step


def test_names_of_services_are_checked() -> None:
    with pytest.raises(PlanError, match="'2 db' cannot be the name of a service"):
        with_services(ServiceSpec(name="2 db"))


def test_a_service_s_container_is_its_own_also_where_files_or_the_header_describe_containers() -> None:
    image = ImageFacts("/i/app.sqsh", "squashfs")
    made = with_services(DB, site=both("ce"), image=image, nodes=1, ntasks=1)
    assert set(made.files) == {"container.toml", "container-db.toml"}
    assert 'B = "2"' in made.files["container-db.toml"]
    assert 'B = "2"' not in made.files["container.toml"]
    assert "--environment=/jobs/1/container-db.toml" in made.services[0].start[0]
    tagged = ImageFacts("docker://a/b@sha256:1", "reference", source="docker://a/b:2@sha256:1")
    made = with_services(replace(DB, bind=("/s",), ready=()), site=both("shifter"), image=tagged, nodes=1, ntasks=1)
    assert made.directives == ("--image=docker:a/b:2",)
    assert made.services[0].start[0][:3] == ("shifter", "--image=docker:a/b:2", "--volume=/s:/s")


def test_what_a_service_s_runtime_needs_is_set_up_once() -> None:
    job, service = runtimes.get(RuntimeConfig(kind="apptainer")), runtimes.get(RuntimeConfig(kind="charliecloud"))
    spec = JobSpec(command=("./app",), services=(DB, replace(DB, name="other")), nodes=1, ntasks=1)
    made = plan.resolve(
        spec,
        SITE,
        SIF,
        HOST,
        runtime=job,
        launcher=launchers.get(SITE.launcher),
        services=[(one, SQUASHFS, service) for one in spec.services],
    )
    assert made.setup == ('export USER="${USER:-$(id -un)}"',)
    assert made.images == (ImageCheck("/i/app.sif"), ImageCheck("/i/app.sqfs"))
