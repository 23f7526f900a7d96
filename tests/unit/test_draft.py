"""The site files that `site init` writes: whole, as a person reads them; and whatever a machine says, they load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcjobs import launchers, runtimes, schedulers
from hpcjobs import site as sites
from hpcjobs.model import NodeShape, Partition, Qos, RuntimeConfig, Site
from hpcjobs.seen import NodeKind, SeenMachine, SeenScheduler
from hpcjobs.site import Known, draft
from hpcjobs.units import Duration, Memory

KNOWN = Known(schedulers.names(), launchers.names(), runtimes.names(), ())
HOUR = 3600


def loaded(text: str) -> Site:
    """The site that the text describes, after it was checked."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "aurora.yaml")
        file.write_text(text, "utf-8")
        assert [str(one) for one in sites.check(file=str(file), known=KNOWN) if one.level == "error"] == []
        return sites.load(file=str(file), known=KNOWN).site


CPU = NodeShape(cores=64, memory=Memory(256 << 30))
PLAIN = SeenMachine(
    name="aurora", day="2026-11-22", host="login1.centre.org", detect={"cluster": "aurora"}, launchers=("srun",),
    scheduler=SeenScheduler(
        kind="slurm", version="23.02.7", cluster="aurora", mpi_default="pmix",
        partitions={
            "debug": Partition(default=True, max_time=Duration(HOUR), nodes=2, min_nodes=1, node=CPU),
            "long": Partition(max_time=Duration(72 * HOUR), nodes=100, max_nodes=64, min_nodes=2, node=CPU),
        },
        kinds={"debug": (NodeKind(count=2, node=CPU),), "long": (NodeKind(count=100, node=CPU),)},
        remarks={"debug": (), "long": ()},
    ),
)  # fmt: skip


def test_a_plain_slurm() -> None:
    text = draft.write(PLAIN)
    assert text == PLAIN_TEXT
    site = loaded(text)
    seen = PLAIN.scheduler.partitions
    assert site.partitions == {"debug": replace(seen["debug"], min_nodes=0), "long": seen["long"]}
    assert (site.scheduler.limits, site.launcher.kind, site.runtimes) == ("site", "srun", ())


PLAIN_TEXT = """\
# aurora, as hpcjob saw it on 2026-11-22 from login1.centre.org. Look through it: comments say where a
# value comes from and what is open. `hpcjob site validate` compares it with the scheduler at any time.
extends: slurm
description: aurora (Slurm 23.02.7)
checked: 2026-11-22

detect: {cluster: aurora}

scheduler:
  limits: site   # those below; `ask` lets each user's hpcjob ask the scheduler, once an hour

partitions:
  debug:
    default: true
    max_time: 01:00:00
    nodes: 2
    node: {cores: 64, memory: 256G}
  long:
    max_time: 3-00:00:00
    nodes: 100
    min_nodes: 2
    max_nodes: 64
    node: {cores: 64, memory: 256G}

launcher: {kind: srun}

# No container runtime was found on this node; the compute nodes may have one.
runtimes: []

# hpcjob looks at it when the first MPI job is submitted; `hpcjob mpi host --on-node` looks at a compute node,
# once for all users.
"""


A100 = NodeShape(cores=60, threads=2, memory=Memory(500 << 30), gpus=4, gpu_type="1g.10gb", gpu_cores=15)
H100 = replace(A100, gpus=8, gpu_type="h100", gpu_cores=7)
HARD = SeenMachine(
    name="aurora", day="2026-11-22", host="login1.centre.org", detect={"hostname": r"login\d+\.centre\.org"},
    gpu_kind="nvidia", gpu_why="as the scheduler calls them 1g.10gb", launchers=("srun", "mpirun"),
    runtimes=(
        (RuntimeConfig(kind="apptainer"), "/usr/bin/apptainer"),
        (RuntimeConfig(kind="charliecloud", modules=("charliecloud/0.40",)), "module avail"),
    ),
    modules=("charliecloud/0.40", "openmpi/5.0.3"), mpis=("Open MPI 5.0.3 (module openmpi/5.0.3)",),
    mpi_types=("none", "pmix"), folders=(("/my: files", "nfs"), ("/work", "lustre")), scratch="SCRATCH",
    unanswered=("the MPI of\nthis machine",),
    scheduler=SeenScheduler(
        kind="slurm", version="22.05.8", cluster="aurora", accounts=("ab12", "cd34"), account_needed=True,
        accounting=False, gpu_request="gres", mpi_default="none",
        partitions={
            "cpu.big": Partition(max_time=Duration(HOUR), nodes=4, max_nodes=9, min_nodes=5, node=CPU),
            "with space": Partition(nodes=1),
            "null": Partition(node=CPU),
            "on": Partition(node=CPU),
            "<<": Partition(node=CPU),
            'a "quote"': Partition(max_time=Duration(90), nodes=3, node=replace(H100, gpu_type="")),
        },
        kinds={
            'a "quote"': (
                NodeKind(count=2, node=A100, features="ib,a100", reserved=(4, 1024)), NodeKind(count=1, node=H100),
            ),
        },
        remarks={"on": ("only accounts 'ab12', \"cd34\" # and: others",), "null": ("it takes\nno: jobs\x07",)},
        qos={"normal": Qos(), "long": Qos(max_time=Duration(96 * HOUR), max_nodes=2), "off": Qos(min_nodes=4)},
    ),
)  # fmt: skip


def test_a_slurm_with_all_that_makes_it_hard() -> None:
    text = draft.write(HARD)
    assert text == HARD_TEXT
    site = loaded(text)
    seen = HARD.scheduler.partitions
    # Limits beyond the number of nodes are comments.
    assert site.partitions == {**seen, "cpu.big": replace(seen["cpu.big"], min_nodes=0, max_nodes=0)}
    assert site.qos == HARD.scheduler.qos
    assert site.require == ("account", "partition")
    assert (site.gpu.kind, site.gpu.request, site.gpu.defaults) == ("nvidia", "gres", {"partition": 'a "quote"'})
    assert [one.kind for one in site.launchers] == ["mpirun"]
    assert [(one.kind, one.modules) for one in site.runtimes] == [
        ("apptainer", ()), ("charliecloud", ("charliecloud/0.40",)),
    ]  # fmt: skip
    assert (site.bind, site.scratch, site.mpi.default) == (("/work",), "$SCRATCH", "pmix")
    assert site.detect is not None
    assert site.detect.hostname == r"login\d+\.centre\.org"


HARD_TEXT = r"""# aurora, as hpcjob saw it on 2026-11-22 from login1.centre.org. Look through it: comments say where a
# value comes from and what is open. `hpcjob site validate` compares it with the scheduler at any time.
# Not learnt: the MPI of this machine
extends: slurm
description: aurora (Slurm 22.05.8)
checked: 2026-11-22

detect: {hostname: "login\\d+\\.centre\\.org"}

scheduler:
  limits: site   # those below; `ask` lets each user's hpcjob ask the scheduler, once an hour
  accounting: false   # the scheduler keeps no history

# Accounts of the person who made this file: ab12, cd34.
# The scheduler has no default partition; `defaults: {partition: NAME}` would give it one.
require: [account, partition]

partitions:
  cpu.big:
    max_time: 01:00:00
    nodes: 4
    # min_nodes: 5, and there are 4
    # max_nodes: 9, and there are 4
    node: {cores: 64, memory: 256G}
  with space:
    nodes: 1
    node: {}   # not known
  "null":
    # it takes no: jobs�
    node: {cores: 64, memory: 256G}
  "on":
    # only accounts 'ab12', "cd34" # and: others
    node: {cores: 64, memory: 256G}
  "<<":
    node: {cores: 64, memory: 256G}
  "a \"quote\"":
    # unlike nodes: 2 with 60 cores, 500G, 4 GPUs 1g.10gb (ib,a100); 1 with 60 cores, 500G, 8 GPUs h100
    # what the system keeps of the nodes for itself is left out
    max_time: 00:01:30
    nodes: 3
    node: {cores: 60, threads: 2, memory: 500G, gpus: 8, gpu_cores: 7}

# Those that the person who made this file may use, with what they allow one job.
qos:
  normal: {}
  long: {max_time: "4-00:00:00", max_nodes: 2}
  "off": {min_nodes: 4}

gpu:
  kind: nvidia   # as the scheduler calls them 1g.10gb
  request: gres   # the scheduler took it
  defaults: {partition: "a \"quote\""}   # where jobs with GPUs go

launcher: {kind: srun}
launchers:
  - {kind: mpirun, single: false}

# The first that takes the image is used.
runtimes:
  - {kind: apptainer}   # /usr/bin/apptainer
  - {kind: charliecloud, modules: [charliecloud/0.40]}   # module avail
# Modules of containers and MPI: charliecloud/0.40, openmpi/5.0.3.

# MPI of this node: Open MPI 5.0.3 (module openmpi/5.0.3).
# hpcjob looks at it when the first MPI job is submitted; `hpcjob mpi host --on-node` looks at a compute node,
# once for all users.
mpi:
  default: pmix
  types: [none, pmix]

# File systems of the network, which containers should see:
#   /my: files (nfs)
#   /work (lustre)
bind: [/work]
scratch: $SCRATCH
"""

PBS = SeenMachine(
    name="aurora", day="2026-11-22", host="pbshead", detect={"cluster": "pbshead"}, launchers=("pals",),
    scheduler=SeenScheduler(
        kind="pbs", version="23.06.06", cluster="pbshead", extra={"dialect": "openpbs"},
        partitions={
            "workq": Partition(default=True, nodes=3, node=replace(A100, threads=1, gpu_type="", gpu_cores=0)),
            "R12": Partition(max_time=Duration(86400), max_nodes=2, nodes=3, node=CPU),
        },
        kinds={"": (NodeKind(count=2, node=CPU), NodeKind(count=1, node=replace(A100, gpu_type="")))},
        remarks={"R12": ("only groups hpc",)}, unanswered=("limits",),
    ),
    gpu_why="not known: write nvidia, amd or intel, or containers will not see them", folders=(("/work", "lustre"),),
)  # fmt: skip


def test_a_pbs() -> None:
    text = draft.write(PBS)
    assert text == PBS_TEXT
    site = loaded(text)
    assert site.partitions == PBS.scheduler.partitions
    assert (site.scheduler.kind, site.scheduler.extra, site.require) == ("pbs", {"dialect": "openpbs"}, ())
    # What the file of all PBSs has in this list stays.
    assert set(sites.load("pbs").site.bind) < set(site.bind) == {"$PBS_NODEFILE::optional", "/work"}


PBS_TEXT = r"""# aurora, as hpcjob saw it on 2026-11-22 from pbshead. Look through it: comments say where a
# value comes from and what is open. `hpcjob site validate` compares it with the scheduler at any time.
extends: pbs
description: aurora (PBS 23.06.06)
checked: 2026-11-22

detect: {cluster: pbshead}

scheduler:
  limits: site   # those below; `ask` lets each user's hpcjob ask the scheduler, once an hour
  extra: {dialect: openpbs}

# PBS does not say which queue has which nodes. There are 2 with 64 cores, 256G; 1 with 60 cores, 500G, 4
# GPUs.
partitions:
  workq:
    default: true
    nodes: 3
    node: {cores: 60, memory: 500G, gpus: 4}
  R12:
    # only groups hpc
    max_time: 1-00:00:00
    nodes: 3
    max_nodes: 2
    node: {cores: 64, memory: 256G}

gpu: {}
  # kind:   # not known: write nvidia, amd or intel, or containers will not see them

launcher: {kind: pals}

# No container runtime was found on this node; the compute nodes may have one.
runtimes: []

# hpcjob looks at it when the first MPI job is submitted; `hpcjob mpi host --on-node` looks at a compute node,
# once for all users.

# File systems of the network, which containers should see:
#   /work (lustre)
bind: ["$PBS_NODEFILE::optional", /work]
"""


@pytest.mark.parametrize(
    ("mpis", "types", "default", "written"),
    [
        (("Open MPI 5.0",), ("pmix", "pmi2"), "none", "pmix"),
        (("Cray MPICH 8.1", "MPICH 4"), ("pmix", "pmi2"), "", "pmi2"),
        (("Open MPI 5.0", "MPICH 4"), ("pmix", "pmi2"), "", ""),  # which one a program is of is not known
        (("Open MPI 5.0",), ("pmi2",), "", ""),
        (("Open MPI 5.0",), ("pmix", "pmi2"), "pmi2", ""),  # srun has one
        ((), ("pmix",), "", ""),
    ],
)  # fmt: skip
def test_the_kind_of_mpi_that_srun_is_given(
    mpis: tuple[str, ...], types: tuple[str, ...], default: str, written: str
) -> None:
    scheduler = replace(PLAIN.scheduler, mpi_default=default)
    site = loaded(draft.write(replace(PLAIN, scheduler=scheduler, mpis=mpis, mpi_types=types)))
    assert (site.mpi.default, site.mpi.types) == (written, types)


def test_qualities_without_limits_are_told_of_only() -> None:
    scheduler = replace(PLAIN.scheduler, qos={"normal": Qos(), "on": Qos()})
    text = draft.write(replace(PLAIN, scheduler=scheduler))
    assert "# QOS of the person who made this file, without limits for one job: normal, on.\n" in text
    assert loaded(text).qos == {}


def test_the_default_partition_has_the_gpus() -> None:
    gpu = Partition(default=True, node=A100)
    text = draft.write(replace(PLAIN, scheduler=replace(PLAIN.scheduler, partitions={"gpu": gpu}), gpu_kind="amd"))
    assert "where jobs with GPUs go" not in text
    assert loaded(text).gpu.defaults == {}


def test_a_kind_of_gpus_that_is_not_known_is_warned_of_later(tmp_path: Path) -> None:
    partitions = {"cpu": Partition(default=True), "gpu": Partition(node=NodeShape(gpus=1))}
    for there in ({"gpu": partitions["gpu"]}, partitions):
        seen = replace(PLAIN, scheduler=replace(PLAIN.scheduler, partitions=there))
        file = tmp_path / "aurora.yaml"
        file.write_text(draft.write(seen), "utf-8")
        found = [one.path for one in sites.check(file=str(file), known=KNOWN) if one.level == "warning"]
        assert found == ["gpu.kind"]


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    text = draft.write(replace(PLAIN, host="h\udcff", modules=("m/\udcff",), folders=(("/w\udcff", "nfs"),)))
    assert loaded(text).bind == ("/w\ufffd",)


# Whatever stands in a name that sinfo prints; in remarks, lines too.
LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
NAMES = st.text(LETTERS, min_size=1, max_size=12)
REMARKS = st.text(st.one_of(LETTERS, st.sampled_from("\n\r\t\x00\x07\x7f\x85\u2028#:'\"")), max_size=200)


@settings(deadline=None, max_examples=100)
@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True), remark=REMARKS, features=REMARKS)
@example(
    names=["null", "~", "<<", "on", "...", "---", "12", "1e3", "- a", "? b", "&c", "*d", "!e", "%f", "@g"],
    remark="",
    features="",
)
@example(
    names=["a: b", "a #b", "{", "[", "'", '"', "\\", " ", "a\u2028b", "\ufeff", "\U0001f600", "é"],
    remark="\n#",
    features="\r- x",
)
def test_whatever_a_machine_says_the_file_loads_with_the_same_names(
    names: list[str], remark: str, features: str
) -> None:
    kinds = (NodeKind(count=1, node=CPU, features=features), NodeKind(count=1, node=A100, features=features))
    scheduler = SeenScheduler(
        kind="slurm", version=remark, cluster=remark, unanswered=(remark,), accounts=(remark,),
        partitions={name: Partition(nodes=2, node=replace(A100, gpu_type=name)) for name in names},
        kinds=dict.fromkeys(names, kinds), remarks=dict.fromkeys(names, (remark, features)),
        qos={name: Qos(max_nodes=1) for name in names},
    )  # fmt: skip
    seen = replace(
        HARD, name=names[0], host=remark, scheduler=scheduler, gpu_why=remark, modules=(features,), mpis=(remark,),
        mpi_types=tuple(names), runtimes=((RuntimeConfig(kind="apptainer"), remark),),
        unanswered=(features,),
    )  # fmt: skip
    site = loaded(draft.write(seen))
    assert site.partitions == scheduler.partitions
    assert site.qos == scheduler.qos
    assert site.mpi.types == tuple(names)
    assert site.gpu.defaults == {"partition": names[0]}
