"""What is learnt of a machine that nobody described: from Slurm, from PBS, from mounts, modules and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcjobs import survey
from hpcjobs.errors import NotFoundError, UnreachableError
from hpcjobs.limits import Access, Association, Caps, QosRules, Rules
from hpcjobs.model import DetectConfig, NodeShape, Partition, Qos
from hpcjobs.mpi.facts import HostLauncher, HostMpi, MpiHost
from hpcjobs.process import Completed
from hpcjobs.schedulers import pbs_status, slurm
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.slurm_survey import (
    REQUESTS,
    described,
    first_host,
    gpu_script,
    largest,
    parse_gpus,
    parse_nodes,
    parse_reserved,
    qualities,
    without_reserved,
)
from hpcjobs.seen import NodeKind, SeenScheduler, remarks
from hpcjobs.site import Machine
from hpcjobs.site.detect import matches
from hpcjobs.units import Duration, Memory
from tests.pbs_answers import US, Script

GIGABYTE = 1 << 30


def machine(*programs: str, hostname: str = "login1.centre.org", conf: str = "") -> Machine:
    def which(name: str) -> str | None:
        return f"/nowhere/{name}" if name in programs else None

    def read(path: str) -> str:
        return conf if path == "/etc/slurm/slurm.conf" else ""

    return Machine(env={}, which=which, exists=lambda _: False, hostname=hostname, read=read)


# ------------------------------------------------------------------------------------------- nodes of Slurm


@pytest.mark.parametrize(
    ("line", "node"),
    [
        # sinfo's %z is sockets, cores and threads; its %c the CPUs, which are threads where Slurm counts those.
        ("cpu|4|2:64:1|128|257000|(null)|(null)|n[1-4]", NodeShape(cores=128, memory=Memory(257000 << 20))),
        ("cpu|4|2:64:2|256|0|(null)|(null)|n[1-4]", NodeShape(cores=128, threads=2)),
        ("cpu|4|2:64:2|128|0|(null)|(null)|n[1-4]", NodeShape(cores=128)),
        ("cpu|4|1:68:4|272|0|(null)|knl|n[1-4]", NodeShape(cores=68, threads=4)),
        ("cpu|4|1:8:0|16|0|(null)|(null)|n[1-4]", NodeShape(cores=16)),
        ("cpu|4|?|16|0|(null)|(null)|n[1-4]", NodeShape(cores=16)),
        ("gpu|4|1:64:2|128|0|gpu:a100:4(S:0-3)|(null)|n[1-4]",
         NodeShape(cores=64, threads=2, gpus=4, gpu_type="a100", gpu_cores=16)),
        ("gpu|1|1:9:1|9|0|gpu:2|(null)|n1", NodeShape(cores=9, gpus=2, gpu_cores=4)),
    ],
)  # fmt: skip
def test_the_shape_of_a_node(line: str, node: NodeShape) -> None:
    assert parse_nodes(line)[line.partition("|")[0]][0].node == node


def test_kinds_of_nodes_the_commonest_first() -> None:
    found = parse_nodes(
        "debug*|2|1:4:1|4|1000|(null)|(null)|n[1-2]\n"
        "long|1|1:8:1|8|1000|(null)|big,fast|m1\n"
        "long|7|1:4:1|4|1000|(null)|(null)|n[1-7]\n"
        "slurm_load_partitions: a line of other shape\n"
    )
    assert list(found) == ["debug", "long"]
    assert [(kind.count, kind.features, kind.first) for kind in found["long"]] == [(7, "", "n1"), (1, "big,fast", "m1")]


@pytest.mark.parametrize(
    ("names", "first"),
    [
        ("n1", "n1"), ("n1,m1", "n1"), ("n[1-4]", "n1"), ("n[001-010,12],m1", "n001"), ("n[7,9]-ib,m1", "n7-ib"),
        ("r[1-2]n[01-10]", "r1n01"), ("nid[001000-001023,001044]", "nid001000"), ("cpu-dy-hpc7a-[1-4]", "cpu-dy-hpc7a-1"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_first_of_a_hostlist(names: str, first: str) -> None:
    assert first_host(names) == first


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", (0, "")), ("", (0, "")), ("gpu:4", (4, "")), ("gpu:a100:4", (4, "a100")), ("gpu:0", (0, "")),
        ("gpu:a100:4(S:0-1),nvme:1", (4, "a100")), ("nvme:1,gpu:v100-32gb:2(S:0,1)", (2, "v100-32gb")),
        ("gpu:a100:4,gpu:v100:2", (6, "")), ("gpu:a100:4,gpu:a100:2", (6, "a100")), ("mps:400,shard:8", (0, "")),
        # A type may begin with a digit; these are no 2080 GPUs, and no 1.
        ("gpu:2080ti:8", (8, "2080ti")), ("gpu:1g.10gb:7(S:0)", (7, "1g.10gb")), ("gpu:1g.10gb+me:1", (1, "1g.10gb+me")),
        ("gpu:(null):2(IDX:0-1)", (2, "")),
    ],
)  # fmt: skip
def test_gpus_of_gres(gres: str, gpus: tuple[int, str]) -> None:
    assert parse_gpus(gres) == gpus


def test_what_the_system_keeps_is_not_for_jobs() -> None:
    text = (
        "NodeName=n1 Arch=x86_64 CoreSpecCount=8 CPUSpecList=0-7 MemSpecLimit=4096 OS=Linux 5.14 #1 SMP\n"
        "NodeName=m1 Arch=x86_64 Sockets=1\n"
    )
    reserved = parse_reserved(text)
    assert reserved == {"n1": (8, 4096), "m1": (0, 0)}
    node = NodeShape(cores=64, threads=2, memory=Memory(512 * GIGABYTE), gpus=8, gpu_cores=8)
    (kind,) = without_reserved({"gpu": (NodeKind(count=2, node=node, first="n1"),)}, reserved)["gpu"]
    assert kind.reserved == (8, 4096)
    assert kind.node == replace(node, cores=56, memory=Memory(508 * GIGABYTE), gpu_cores=7)
    # Nodes that nothing was told of are left as they are.
    other = {"gpu": (NodeKind(count=2, node=node, first="x9"),)}
    assert without_reserved(other, reserved) == other


def test_the_largest_node_refuses_nothing_that_fits_one() -> None:
    small = NodeShape(cores=32, memory=Memory(GIGABYTE), gpus=4, gpu_type="a100", gpu_cores=8)
    big = NodeShape(cores=64, threads=2, memory=Memory(9 * GIGABYTE), gpus=2, gpu_type="h100", gpu_cores=32)
    plain = NodeShape(cores=96)
    kinds = tuple(NodeKind(node=node) for node in (small, big, plain))
    assert largest(kinds) == NodeShape(
        cores=96, threads=2, memory=Memory(9 * GIGABYTE), gpus=4, gpu_type="", gpu_cores=8
    )
    assert largest((kinds[0], kinds[2])).gpu_type == "a100"
    assert largest(()) == NodeShape()
    assert described({"a": Partition(nodes=3), "b": Partition()}, {"a": kinds[2:]}) == {
        "a": Partition(nodes=3, node=plain), "b": Partition(),
    }  # fmt: skip


def test_only_qualities_that_the_person_has_are_listed() -> None:
    rules = Rules(
        associations=(Association(account="a", qos=("normal", "long")), Association(account="b", qos=("wide",))),
        qos={
            "normal": QosRules(),
            "long": QosRules(caps=Caps(time=3600)),
            "wide": QosRules(caps=Caps(job={"node": 64, "cpu": 1}, least={"node": 8})),
            "others": QosRules(caps=Caps(time=1)),
        },
    )
    assert qualities(rules) == {
        "normal": Qos(), "long": Qos(max_time=Duration(3600)), "wide": Qos(max_nodes=64, min_nodes=8),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("access", "words"),
    [
        (Access(), []),
        (Access(accounts=("a", "b"), qos="part"), ["only accounts a, b", "its jobs are limited by the QOS part"]),
        (Access(groups=("g",), allowed_qos=("q",)), ["only groups g", "only QOS q"]),
        (Access(closed="it takes no jobs"), ["it takes no jobs"]),
    ],
)
def test_who_may_use_a_partition(access: Access, words: list[str]) -> None:
    assert list(remarks(access)) == words


# --------------------------------------------------------------------------------------- all that Slurm says


class Answers:
    """A Slurm with one partition of GPUs; `refused` are words in scripts that it refuses."""

    def __init__(self, refused: Sequence[str] = (), *, silent: Sequence[str] = ()) -> None:
        self.refused, self.silent = refused, silent
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], *, stdin: str = "", **_: Any) -> Completed:
        line = " ".join(argv)
        self.asked.append(line)
        if argv[0] in self.silent:
            raise UnreachableError(f"{argv[0]} did not answer within 10 s")
        if argv[0] == "sbatch":
            said = "Invalid generic resource (gres) specification"
            bad = any(word in stdin for word in self.refused)
            text = (
                f"allocation failure: {said}\n"
                if bad
                else "sbatch: Job 1 to start at 1700000000 using 1 processors on nodes n1 in partition gpu\n"
            )
            return Completed(tuple(argv), int(bad), "", text)
        answers = {
            "scontrol show config": "ClusterName = centre\nSLURM_VERSION = 23.02.7\nMpiDefault = (null)\n"
            "AccountingStorageType = accounting_storage/slurmdbd\nAccountingStorageEnforce = associations,limits,qos\n",
            "scontrol --oneliner show node": "NodeName=n1 CoreSpecCount=4 MemSpecLimit=1024\n",
            "scontrol --oneliner show partition": "PartitionName=gpu AllowAccounts=ab12 Default=NO QoS=N/A\n",
            "sinfo --noheader --exact --format=%P|%D|": "gpu|2|1:64:2|128|257024|gpu:a100:4|(null)|n[1-2]\n",
            "sinfo": "gpu|1-00:00:00|2|128|257024|gpu:a100:4|1-infinite\n",
            "sacctmgr --noheader --parsable2 --readonly show user": "|ab12||normal|||||||\n",
            "sacctmgr --noheader --parsable2 --readonly show qos": "normal||04:00:00|||||||\n",
        }
        return Completed(tuple(argv), 0, next((out for head, out in answers.items() if line.startswith(head)), ""), "")


def test_a_survey_of_slurm() -> None:
    node = NodeShape(cores=60, threads=2, memory=Memory(250 * GIGABYTE), gpus=4, gpu_type="a100", gpu_cores=15)
    kind = NodeKind(count=2, node=node, first="n1", reserved=(4, 1024))
    assert slurm.Slurm({}, Answers(["--gpus-per-node"])).survey() == SeenScheduler(
        kind="slurm", version="23.02.7", cluster="centre",
        partitions={"gpu": Partition(max_time=Duration(86400), nodes=2, min_nodes=1, node=node)},
        kinds={"gpu": (kind,)}, remarks={"gpu": ("only accounts ab12",)},
        qos={"normal": Qos(max_time=Duration(4 * 3600))}, accounts=("ab12",), account_needed=True, gpu_request="gres",
    )  # fmt: skip


def test_what_slurm_does_not_say_is_told() -> None:
    why = "Invalid generic resource (gres) specification"
    seen = slurm.Slurm({}, Answers(["--"])).survey()
    assert (seen.gpu_request, seen.unanswered) == ("", (f"which request for GPUs it takes: {why}",))
    seen = slurm.Slurm({}, Answers(silent=["sbatch", "sacctmgr"])).survey()
    assert seen.unanswered == (
        "sacctmgr did not answer within 10 s",
        "which request for GPUs it takes: sbatch did not answer within 10 s",
    )
    assert list(seen.partitions) == ["gpu"]


@pytest.mark.parametrize(
    ("setting", "keeps"),
    [("accounting_storage/slurmdbd", True), ("accounting_storage/none", False), ("(null)", False)],
)
def test_whether_slurm_keeps_a_history(setting: str, keeps: bool) -> None:
    def run(argv: Sequence[str], **_: Any) -> Completed:
        text = f"AccountingStorageType = {setting}\n" if argv[-1] == "config" else ""
        return Completed(tuple(argv), 0, text, "")

    assert slurm.Slurm({}, run).survey().accounting is keeps


def test_each_request_for_gpus_is_asked_about() -> None:
    head = "#!/bin/bash\n#SBATCH --partition=gpu --nodes=1 --time=1 "
    assert {each: gpu_script("gpu", each) for each in REQUESTS} == {
        "gpus-per-node": f"{head}--gpus-per-node=1\ntrue\n",
        "gres": f"{head}--gres=gpu:1\ntrue\n",
        "gpus-per-task": f"{head}--ntasks=1 --gpus-per-task=1\ntrue\n",
    }


# ----------------------------------------------------------------------------------------------------- PBS


def test_hosts_of_pbs_are_counted_by_kind() -> None:
    nodes = {
        "n1": {"resources_available.host": "n1", "resources_available.ncpus": "64", "resources_available.mem": "256gb"},
        "n2": {"resources_available.host": "n2", "resources_available.ncpus": "64", "resources_available.mem": "256gb"},
        # Parts of one host.
        "g1": {"resources_available.host": "g1", "resources_available.ncpus": "0"},
        "g1[0]": {
            "resources_available.host": "g1",
            "resources_available.ncpus": "32",
            "resources_available.ngpus": "2",
        },
        "g1[1]": {
            "resources_available.host": "g1",
            "resources_available.ncpus": "32",
            "resources_available.ngpus": "2",
        },
        "old": {"np": "4", "gpus": "1", "status": "rectime=1,physmem=3072000kb,ncpus=4"},
    }
    assert pbs_status.parse_kinds(nodes) == (
        NodeKind(count=2, node=NodeShape(cores=64, memory=Memory(256 * GIGABYTE))),
        NodeKind(count=1, node=NodeShape(cores=64, gpus=4)),
        NodeKind(count=1, node=NodeShape(cores=4, memory=Memory(3072000 << 10), gpus=1)),
    )
    assert pbs_status.parse_kinds({}) == ()


def test_a_survey_of_pbs() -> None:
    def run(argv: Sequence[str], **_: Any) -> Completed:
        answers = {
            "qstat --version": "pbs_version = 23.06.06\n",
            "qstat -B": US.join(("Server: pbshead", "default_queue=workq", "pbs_version=23.06.06")) + "\n",
            "qstat -Q": US.join(("Queue: workq", "enabled=True", "resources_max.walltime=24:00:00")) + "\n",
            "pbsnodes": US.join(("Name=n1", "resources_available.host=n1", "resources_available.ncpus=8")) + "\n",
        }
        line = " ".join(argv)
        return Completed(tuple(argv), 0, next((out for head, out in answers.items() if line.startswith(head)), ""), "")

    seen = Pbs({}, run).survey()
    node = NodeShape(cores=8)
    assert seen == SeenScheduler(
        kind="pbs", version=seen.version, cluster="pbshead",
        partitions={"workq": Partition(default=True, max_time=Duration(86400), nodes=1, node=node)},
        kinds={"": (NodeKind(count=1, node=node),)}, remarks={"workq": ()}, extra={"dialect": "openpbs"},
    )  # fmt: skip
    assert "23.06.06" in seen.version


# ---------------------------------------------------------------------------------------------------- GPUs


def maker(*types: str, tools: Sequence[str] = ()) -> str:
    partitions = {name: Partition(node=NodeShape(gpus=1, gpu_type=name)) for name in types}
    return survey.gpu_maker(SeenScheduler(kind="slurm", partitions=partitions), machine(*tools))[0]


NVIDIA = [
    "a100", "A100", "h100", "h200", "b200", "gb200", "gh200", "gh100", "a800", "v100", "v100s", "p100", "a2", "a10",
    "a10g", "a16", "a30", "a40", "l4", "l40", "l40s", "t4", "k80", "k20x", "m60", "p40", "h20", "h100nvl", "h100_80gb",
    "h100-sxm5", "a100-sxm4-80gb", "a100_3g.20gb", "1g.10gb", "3g.20gb", "1g.10gb+me", "tesla_v100-pcie-32gb",
    "tesla_v100s", "nvidia_a100-sxm4-80gb", "nvidia_h100_80gb_hbm3", "rtx6000", "rtx_a6000", "rtx_6000_ada", "a6000",
    "a5000", "a4500", "gtx1080ti", "1080ti", "2080ti", "3090", "4090", "geforce_rtx_2080_ti", "titan", "titanv",
    "quadro_rtx_8000", "grace_gh200", "a100_amd", "h100-intel", "dgx-a100",
]  # fmt: skip
AMD = ["mi50", "mi100", "mi210", "mi250", "mi250x", "mi300a", "mi300x", "mi355x", "MI250X", "amd_instinct_mi250x",
       "instinct", "gfx90a", "radeon", "amd", "amdgpu"]  # fmt: skip
INTEL = ["pvc", "PVC", "max1100", "max1550", "intel_max_1550", "gpu_max_1100", "ponte_vecchio", "flex170", "arc_a770",
         "intel"]  # fmt: skip
# Names that say nothing, or nothing that is known.
UNKNOWN = ["gpu", "big", "fhl1", "small1", "node1", "b1", "h1", "x100", "v620", "a1", "ml4", "mi", "mi1", "emi100", "cloud4",
           "80gb", "max", "xa1", "pvcs", "p1", "rack40", "t40", "l400", "m40gb", "fake"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "made_by"),
    [
        *[(name, "nvidia") for name in NVIDIA], *[(name, "amd") for name in AMD],
        *[(name, "intel") for name in INTEL], *[(name, "none") for name in UNKNOWN],
    ],
)  # fmt: skip
def test_who_made_a_gpu_is_in_its_name(name: str, made_by: str) -> None:
    assert maker(name) == made_by


def test_a_tool_tells_who_made_gpus_without_a_name() -> None:
    seen = SeenScheduler(kind="slurm", partitions={"gpu": Partition(node=NodeShape(gpus=1))})
    assert survey.gpu_maker(seen, machine("rocm-smi")) == ("amd", "as rocm-smi is here")
    assert survey.gpu_maker(seen, machine("nvidia-smi")) == ("nvidia", "as nvidia-smi is here")
    assert survey.gpu_maker(seen, machine())[1].startswith("not known: write nvidia, amd or intel")
    assert maker("fake", tools=["xpu-smi"]) == "intel"
    # A name is better than a tool, which may be that of the login node.
    assert maker("big", "mi300a", tools=["nvidia-smi"]) == "amd"
    assert survey.gpu_maker(SeenScheduler(kind="slurm"), machine("nvidia-smi")) == ("none", "")


def test_kinds_of_nodes_have_names_where_the_partition_has_none() -> None:
    kinds = {"gpu": tuple(NodeKind(node=NodeShape(gpus=1, gpu_type=name)) for name in ("h100", "a100"))}
    seen = SeenScheduler(kind="slurm", partitions={"gpu": Partition(node=NodeShape(gpus=1))}, kinds=kinds)
    assert survey.gpu_maker(seen, machine()) == ("nvidia", "as the scheduler calls them h100")


# ------------------------------------------------------------------------------------------ folders, modules

MOUNTS = r"""
sysfs /sys sysfs rw 0 0
/dev/sda1 / ext4 rw 0 0
server:/root / nfs rw 0 0
server:/home /home nfs4 rw 0 0
server:/ada /home/ada nfs4 rw 0 0
server:/opt /opt nfs rw 0 0
10.0.0.1@o2ib:/work /work lustre rw 0 0
beegfs_nodev /data beegfs_nodev rw 0 0
ceph-fuse /ceph fuse.ceph-fuse rw 0 0
weka /weka wekafs rw 0 0
server:/mine /my\040files nfs rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
nfsd /proc/fs/nfsd nfsd rw 0 0
a line
"""


def test_folders_of_the_network_but_those_of_the_system() -> None:
    assert survey.network_folders(MOUNTS) == [
        ("/ceph", "fuse.ceph-fuse"), ("/data", "beegfs_nodev"), ("/home", "nfs4"), ("/my files", "nfs"),
        ("/weka", "wekafs"), ("/work", "lustre"),
    ]  # fmt: skip
    assert survey.network_folders("") == []


MODULES = """
/apps/modules/all:
apptainer/1.3.4
apptainer/
gcc/13.2
openmpi/4.1.6(default)
openmpi/5.0.3 <L>
OpenMPI/5.0.3-GCC-13.3.0
openmpi4/4.1.5
mpi/hpcx-mt-ompi
cray-mpich-abi/8.1.28
intel-oneapi-mpi/2021.12
impi
singularity-ce/4.1
mpi4py/3.1
libmpich-doc/1
Lmod has detected the following error: openmpi/4 is not there
/usr/share/lmod/openmpi/modulefiles:
-f/openmpi
openmpi/4.1.6
"""


def test_modules_of_containers_and_mpi() -> None:
    assert survey.modules_of_interest(MODULES) == [
        "apptainer/1.3.4", "openmpi/4.1.6", "openmpi/5.0.3", "OpenMPI/5.0.3-GCC-13.3.0", "openmpi4/4.1.5",
        "mpi/hpcx-mt-ompi", "cray-mpich-abi/8.1.28", "intel-oneapi-mpi/2021.12", "impi", "singularity-ce/4.1",
    ]  # fmt: skip


def test_runtimes_on_path_come_before_those_of_modules(tmp_path: Path) -> None:
    (tmp_path / "apptainer").write_text("")
    (tmp_path / "singularity").symlink_to("apptainer")  # which is itself
    paths = {name: str(tmp_path / name) for name in ("apptainer", "singularity", "enroot")}
    here = replace(machine(), which=paths.get)

    def run(argv: Sequence[str], **_: Any) -> Completed:
        return Completed(tuple(argv), 0, "no such options", "")

    found = list(survey._runtimes(here, run, ["charliecloud/0.38", "charliecloud/0.40", "apptainer/1.3"]))
    assert [(one.kind, one.modules, why) for one, why in found] == [
        ("apptainer", (), str(tmp_path / "apptainer")), ("charliecloud", ("charliecloud/0.40",), "module avail"),
    ]  # fmt: skip


def test_modules_cannot_be_told_without_a_shell() -> None:
    def run(argv: Sequence[str], **_: Any) -> Completed:
        raise UnreachableError(f"{argv[0]} cannot be run here")

    assert list(survey._modules(run)) == []
    assert survey._takes_containers(run) is False


@pytest.mark.parametrize(
    ("scheduler", "flavours", "kinds"),
    [
        ("slurm", [], ["srun"]), ("slurm", ["slurm", "openmpi", "hydra"], ["srun", "mpirun", "mpiexec"]),
        ("pbs", [], []), ("pbs", ["hydra", "prrte", "pals"], ["pals", "mpirun", "mpiexec"]), ("pbs", ["intel"], ["mpiexec"]),
    ],
)  # fmt: skip
def test_launchers_the_site_s_own_first(scheduler: str, flavours: list[Any], kinds: list[str]) -> None:
    host = MpiHost(
        made="", node="n1", arch="x86_64", glibc="2.36",
        launchers=tuple(HostLauncher(kind="", command="", flavour=flavour) for flavour in flavours),
    )  # fmt: skip
    assert list(survey._launchers(scheduler, host)) == kinds


def test_mpis_in_words() -> None:
    some: dict[str, Any] = {"name": "m", "family": "mpich", "product": "MPICH", "version": "4.2"}
    mpis = (HostMpi(**some), HostMpi(**some, prefix="/opt/m"), HostMpi(**some, prefix="/opt/m", modules=("gcc", "m/4")))
    host = MpiHost(made="", node="n1", arch="x86_64", glibc="2.36", mpis=mpis)
    assert list(survey._words(host)) == ["MPICH 4.2", "MPICH 4.2 in /opt/m", "MPICH 4.2 (module gcc m/4)"]


# ------------------------------------------------------------------------------------------- name, detection


@pytest.mark.parametrize(
    ("cluster", "host", "conf", "detect"),
    [
        ("aurora", "login1.centre.org", "ClusterName=aurora", {"cluster": "aurora"}),
        ("c-1.x", "login1.centre.org", "ClusterName=c-1.x", {"cluster": r"c-1\.x"}),
        # Where a site file would not find the name, it is not asked for.
        ("aurora", "login1.centre.org", "", {"hostname": r"login\d+\.centre\.org"}),
        ("aurora", "uan-01.x2go.org", "ClusterName=old", {"hostname": r"uan-\d+\.x\d+go\.org"}),
        ("", "login#1.a", "", {"hostname": r"login\#\d+\.a"}),
    ],
)
def test_how_the_machine_will_be_recognised(cluster: str, host: str, conf: str, detect: dict[str, str]) -> None:
    here = machine(hostname=host, conf=conf)
    assert survey._detection(SeenScheduler(kind="slurm", cluster=cluster), here) == detect
    assert matches(DetectConfig(**detect), here) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cluster", "host", "name"),
    [
        ("Aurora", "login1", "aurora"), ("pbshead.centre.org", "x", "pbshead"), ("my_cluster 2", "x", "my-cluster-2"),
        ("", "login-01.centre.org", "login"), ("", "12", "mine"), ("???", "x", "mine"),
    ],
)  # fmt: skip
def test_the_name_of_the_site(cluster: str, host: str, name: str) -> None:
    assert survey._name(SeenScheduler(kind="slurm", cluster=cluster), machine(hostname=host)) == name


def test_without_a_scheduler_there_is_nothing_to_see() -> None:
    with pytest.raises(NotFoundError, match="there is no scheduler here: neither sbatch") as caught:
        survey.look(Script(), machine("qstat"), telling=None)  # type: ignore[arg-type]
    assert "the site `local` serves" in caught.value.hint
