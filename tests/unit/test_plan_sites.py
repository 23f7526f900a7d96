"""What site files of real machines need of planning: where jobs go, and what they get there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcjobs import render
from hpcjobs.destination import with_defaults
from hpcjobs.limits import wanted
from hpcjobs.model import (
    GpuConfig,
    JobSpec,
    LauncherConfig,
    NodeShape,
    Note,
    Partition,
    Plan,
    Qos,
    RuntimeConfig,
    SchedulerConfig,
    Site,
)
from hpcjobs.units import Duration, Memory
from tests.unit.test_plan import PLAIN, SIF, refused, resolve

HOUR = 3600
CPU = NodeShape(cores=128, memory=Memory.parse("240G"))
GPU = NodeShape(cores=56, memory=Memory.parse("480G"), gpus=8, gpu_cores=7)
ALPS = Site(
    name="alps",
    scheduler=SchedulerConfig(kind="slurm"),
    partitions={
        "whole": Partition(nodes=100, max_time=Duration(24 * HOUR), whole=True, node=CPU),
        "parts": Partition(nodes=20, max_nodes=2, max_time=Duration(72 * HOUR), node=CPU),
        "gpu": Partition(
            nodes=50, max_time=Duration(24 * HOUR), node=GPU, account_suffix="-gpu", defaults={"qos": "normal"},
            modules=("arch/gpu",), directives=("--switches=1",),
        ),
        "tools": Partition(account_suffix="-cpu", nodes=1, max_nodes=1, node=NodeShape(cores=4), require=("mem",)),
    },
    partition_order=("whole", "parts"),
    qos={
        "normal": Qos(),
        "debug": Qos(partitions=("whole", "gpu"), max_time=Duration(HOUR // 2), max_nodes=4),
        "big": Qos(partitions=("whole",), min_nodes=101, max_nodes=0),
        "long": Qos(max_time=Duration(96 * HOUR)),
    },
    defaults={"time": Duration(HOUR), "constraint": "lustre"},
    gpu=GpuConfig(kind="amd", defaults={"partition": "gpu"}),
    launcher=LauncherConfig(kind="srun"),
    runtimes=(RuntimeConfig(kind="apptainer", directives=("--comment-file=x",)),),
)  # fmt: skip


def launch(made: Plan) -> tuple[Any, ...]:
    return made.launch[0]


def directives(made: Plan) -> list[str]:
    lines = render.render(made).text.splitlines()
    return [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]


# ---------------------------------------------------------------------------------- where a job goes


@pytest.mark.parametrize(
    ("asked", "partition"),
    [
        ({"nodes": 4}, "whole"),
        ({"nodes": 1}, "whole"),
        ({"ntasks": 128}, "whole"),
        ({"ntasks": 1}, "parts"),  # a whole node would be wasted
        ({"ntasks": 16, "cpus_per_task": 8}, "whole"),
        ({"ntasks": 1, "exclusive": True}, "whole"),
        ({"ntasks": 200, "time": Duration(48 * HOUR)}, "parts"),
        ({"nodes": 2, "time": Duration(48 * HOUR)}, "parts"),
        ({"nodes": 2, "gpus_per_node": 8}, "gpu"),
        ({"nodes": 2, "partition": "parts"}, "parts"),
        ({"ntasks": 1, "partition": "whole"}, "whole"),
    ],
)
def test_a_job_goes_to_the_first_partition_that_takes_it(asked: dict[str, Any], partition: str) -> None:
    assert resolve(ALPS, **asked).partition == partition


def test_why_it_goes_there_is_told() -> None:
    assert Note("partition", "parts", "whole gives whole nodes") in resolve(ALPS, ntasks=1).notes
    longer = resolve(ALPS, nodes=2, time=Duration(48 * HOUR))
    assert Note("partition", "parts", "whole does not take the job") in longer.notes
    assert Note("partition", "gpu", "where jobs with GPUs go on alps") in resolve(ALPS, nodes=1, gpus_per_node=8).notes
    assert not [note for note in resolve(ALPS, nodes=4).notes if note.subject == "partition"]


def test_what_none_takes_is_refused_by_the_one_that_would_take_most_of_it() -> None:
    assert "partition whole allows 1-00:00:00" in refused(ALPS, nodes=4, time=Duration(80 * HOUR))
    assert "partition whole has 100 nodes for one job" in refused(ALPS, nodes=101)
    assert "partition parts allows 3-00:00:00" in refused(ALPS, nodes=1, time=Duration(200 * HOUR))


def test_a_partition_that_requires_more_is_passed_over() -> None:
    order = replace(ALPS, partition_order=("tools", "parts"))
    assert resolve(order, ntasks=1).partition == "parts"
    assert resolve(order, ntasks=1, mem=Memory.parse("1G")).partition == "tools"


# ------------------------------------------------------------------------------------- what it gets


def test_defaults_are_the_request_s_then_the_partition_s_then_those_of_gpus_then_the_site_s() -> None:
    site = replace(
        ALPS,
        gpu=replace(ALPS.gpu, defaults={"partition": "gpu", "gpu_type": "mi250", "constraint": "gpu", "qos": "other"}),
    )
    got = with_defaults(JobSpec(gpus_per_node=1, time=Duration(60)), site)
    assert (got.partition, got.qos, got.gpu_type, got.constraint) == ("gpu", "normal", "mi250", "gpu")
    assert got.time == Duration(60)
    # Another partition may have other GPUs.
    elsewhere = with_defaults(JobSpec(gpus_per_node=1, partition="whole"), site)
    assert (elsewhere.gpu_type, elsewhere.constraint) == ("", "lustre")
    assert with_defaults(got, site) == got


def test_memory_of_a_node_and_of_a_core_exclude_each_other_as_defaults_too() -> None:
    site = replace(ALPS, defaults={"mem_per_cpu": Memory.parse("2G")})
    assert with_defaults(JobSpec(mem=Memory.parse("8G")), site).mem_per_cpu is None
    assert with_defaults(JobSpec(), site).mem_per_cpu == Memory.parse("2G")


def test_a_way_for_images_is_no_default_of_a_job_without_one() -> None:
    site = replace(ALPS, defaults={"mpi": "hybrid"})
    assert with_defaults(JobSpec(image="a.sif"), site).mpi == "hybrid"
    assert with_defaults(JobSpec(), site).mpi == "auto"


@pytest.mark.parametrize(
    ("given", "written"), [("ab12", "ab12-gpu"), ("ab12-gpu", "ab12-gpu"), ("ab12-cpu", "ab12-gpu")]
)
def test_the_account_ends_as_the_partition_wants_it(given: str, written: str) -> None:
    made = resolve(ALPS, nodes=1, gpus_per_node=8, account=given)
    assert made.account == written
    assert (Note("account", written, "partition gpu wants this ending") in made.notes) is (given != written)
    assert resolve(ALPS, nodes=1, account=given).account == given


def test_a_partition_brings_modules_and_directives() -> None:
    site = replace(ALPS, modules=("base",), directives=("--mail-type=NONE",))
    made = resolve(site, SIF, nodes=1, gpus_per_node=8, modules=("mine",), directives=("--nice=1",))
    assert made.modules == ("base", "arch/gpu", "mine")
    assert made.directives == ("--mail-type=NONE", "--switches=1", "--comment-file=x", "--nice=1")


def test_the_account_can_stand_in_a_directive() -> None:
    site = replace(PLAIN, directives=("--bb=scratch/{account}",))
    assert resolve(site, account="ab12").directives == ("--bb=scratch/ab12",)
    assert (
        refused(site)
        == "site plain writes the account into --bb=scratch/{account}, and none was given | add -A ACCOUNT"
    )


@pytest.mark.parametrize(("queue", "written"), [(None, "--partition=cpu"), ("main", "--partition=main"), ("", "")])
def test_the_scheduler_may_know_a_partition_by_another_name_or_none(queue: str | None, written: str) -> None:
    site = replace(PLAIN, partitions={"cpu": Partition(queue=queue, defaults={"constraint": "cpu"})})
    found = directives(resolve(site, partition="cpu"))
    assert [each for each in found if each.startswith("--partition")] == [written] * bool(written)
    assert "--constraint=cpu" in found


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"nodes": 8, "qos": "debug"}, "has 4 nodes for one job, and 8 are needed | -N 4 is the most there"),
        ({"nodes": 1, "qos": "debug", "time": Duration(HOUR)},
         "partition whole allows 00:30:00 with qos debug, and 01:00:00 were asked for | -t 00:30:00 is the most there"),
        ({"nodes": 1, "qos": "debug", "partition": "parts"},
         "qos debug is for partition whole or gpu, and the job goes to parts | -p whole; or --qos normal, which takes it"),
        ({"nodes": 9, "qos": "big", "partition": "whole"}, "takes jobs of at least 101 nodes, and this has 9"),
        ({"nodes": 1, "time": Duration(90 * HOUR), "partition": "whole"}, "; or --qos long, which takes it"),
    ],
)  # fmt: skip
def test_limits_of_a_qos(asked: dict[str, Any], expected: str) -> None:
    assert expected in refused(ALPS, **asked)


def test_a_qos_may_allow_more_than_the_partition_and_one_of_which_nothing_is_said_is_not_checked() -> None:
    resolve(ALPS, nodes=1, time=Duration(90 * HOUR), qos="long")
    resolve(ALPS, nodes=1, qos="special")


BINS = replace(
    PLAIN,
    partitions={
        "batch": Partition(
            default=True, nodes=9000, max_time=Duration(24 * HOUR), node=NodeShape(cores=56), max_tasks=3,
            time_by_nodes={183: Duration(6 * HOUR), 91: Duration(2 * HOUR), 8000: Duration(12 * HOUR)},
        )
    },
)  # fmt: skip


@pytest.mark.parametrize(("nodes", "hours"), [(1, 2), (91, 2), (92, 6), (183, 6), (184, 12), (8000, 12), (8001, 24)])
def test_the_longest_walltime_may_depend_on_the_number_of_nodes(nodes: int, hours: int) -> None:
    resolve(BINS, nodes=nodes, time=Duration(hours * HOUR))
    longer = refused(BINS, nodes=nodes, time=Duration(hours * HOUR + 1))
    assert f"{Duration(hours * HOUR)} is the most there" in longer
    assert (f"to a job of {nodes} nodes" in longer) is (nodes <= 8000)


def test_a_partition_may_take_short_arrays_only() -> None:
    resolve(BINS, array="1-3")
    assert refused(BINS, array="0-9") == (
        "partition batch takes 3 tasks of an array at once, and 0-9 has more | split the array, or choose another partition: -p"
    )


def test_partitions_that_documents_do_not_name_are_left_to_the_scheduler() -> None:
    assert "has no partition 'special'" in refused(BINS, partition="special")
    made = resolve(replace(BINS, sources=("https://docs.example.org",)), partition="special", nodes=99999)
    assert made.partition == "special"
    assert made.notes[0] == Note("partition", "special", "not in the file of site plain: its limits are not checked")


def test_a_limit_that_no_document_backs_says_so() -> None:
    doubt = "(not all limits in the file of site plain are documented: hpcjob site show plain)"
    for path in ("partitions", "partitions.batch", "partitions.batch.nodes"):
        assert refused(replace(BINS, unverified=(path,)), nodes=9999).endswith(doubt)
    for path in ("partitions.batch2", "gpu"):
        assert doubt not in refused(replace(BINS, unverified=(path,)), nodes=9999)


# --------------------------------------------------------------------------------------------- GPUs


def on_gpus(nodes: int | None = 2, *, config: dict[str, Any] | None = None, **asked: Any) -> Plan:
    site = replace(ALPS, gpu=replace(ALPS.gpu, **(config or {})))
    wanted: dict[str, Any] = {"nodes": nodes, "gpus_per_node": 8, **asked}
    return resolve(site, **wanted)


@pytest.mark.parametrize(
    ("asked", "cores"),
    [
        ({"nodes": 2, "gpus_per_node": 8}, 7),
        ({"nodes": 1, "gpus_per_node": 2, "ntasks_per_node": 4}, 3),
        ({"nodes": 1, "gpus_per_node": 8, "ntasks": 1}, 56),
        ({"gpus_per_node": 2}, 14),  # one rank
        ({"gpus_per_node": 8, "ntasks": 16}, 7),
        ({"nodes": 2, "gpus_per_node": 8, "cpus_per_task": 2}, 2),
    ],
)
def test_ranks_share_the_cores_that_go_with_their_gpus(asked: dict[str, Any], cores: int) -> None:
    made = resolve(ALPS, **asked)
    assert made.shape.cpus_per_task == cores
    assert made.env["OMP_NUM_THREADS"] == str(cores)


def test_options_of_ranks_with_a_gpu_each() -> None:
    config: dict[str, Any] = {"rank_options": ("--gpu-bind=closest",), "node_options": ("--cpu-bind=mask_cpu:0xfe",)}
    assert launch(on_gpus(config=config)) == (
        "srun", "--ntasks=16", "--cpus-per-task=7", "--gpu-bind=closest", "--cpu-bind=mask_cpu:0xfe",
    )  # fmt: skip
    half = on_gpus(gpus_per_node=4, config=config)  # a mask of all cores would not fit
    assert launch(half)[3:] == ("--cpu-bind=cores", "--gpu-bind=closest")
    assert "--gpu-bind=closest" not in launch(on_gpus(ntasks_per_node=4, config=config))
    assert "--gpu-bind=closest" not in launch(resolve(replace(ALPS, gpu=replace(ALPS.gpu, **config)), nodes=2))


def test_variables_of_ranks_are_made_in_each_rank() -> None:
    config: dict[str, Any] = {"rank_env": {"ROCR_VISIBLE_DEVICES": "$SLURM_LOCALID", "PLAIN": "it's"}}
    made = on_gpus(config=config)
    command = 'ROCR_VISIBLE_DEVICES="$SLURM_LOCALID" PLAIN=\'it\'"\'"\'s\' exec "$@"'
    assert made.launch[1:] == (("bash", "-c", command, "rank"), ("./app", "x"))
    assert on_gpus(ntasks_per_node=4, config=config).launch[1:] == (("./app", "x"),)
    alone = replace(ALPS, launcher=LauncherConfig(kind="none"), gpu=replace(ALPS.gpu, **config))
    assert resolve(alone, ntasks=1, nodes=1, gpus_per_node=1).launch == (("./app", "x"),)


def test_the_scheduler_may_want_to_hear_of_nodes_and_gpus_only() -> None:
    told: dict[str, Any] = {"ranks": "launcher", "request": "gpus"}
    asked = [each for each in directives(on_gpus(config=told)) if re_shape(each)]
    assert asked == ["--nodes=2", "--gpus=16"]
    assert launch(on_gpus(config=told)) == (
        "srun", "--ntasks=16", "--cpus-per-task=7", "--cpu-bind=cores", "--nodes=2", "--ntasks-per-node=8",
    )  # fmt: skip
    # Without nodes asked for, they must be told all the same.
    assert "--nodes=2" in directives(on_gpus(nodes=None, ntasks=16, config=told))
    cpus = directives(resolve(replace(ALPS, gpu=replace(ALPS.gpu, **told)), nodes=2))
    assert "--ntasks-per-node=128" in cpus


def re_shape(directive: str) -> bool:
    return directive.startswith(("--nodes", "--ntasks", "--cpus", "--gpus", "--gres"))


def test_threads_of_cores_are_counted_for_slurm_alone() -> None:
    node = NodeShape(cores=64, threads=2, gpus=4, gpu_cores=16)
    site = replace(PLAIN, partitions={"gpu": Partition(default=True, node=node)}, gpu=GpuConfig(kind="nvidia"))
    made = resolve(site, nodes=2)
    assert [each for each in directives(made) if re_shape(each)] == [
        "--nodes=2", "--ntasks-per-node=64", "--cpus-per-task=2",
    ]  # fmt: skip
    assert launch(made)[:3] == ("srun", "--ntasks=128", "--cpus-per-task=2")
    assert made.env["OMP_NUM_THREADS"] == "1"
    assert wanted(made)[0] == {"node": 2, "cpu": 256}  # as limits count
    tight = replace(site, partitions={"gpu": Partition(default=True, node=replace(node, memory=Memory.parse("128G")))})
    resolve(tight, nodes=1, mem_per_cpu=Memory.parse("1G"))
    assert "256G are needed | --mem-per-cpu 1G is the most" in refused(tight, nodes=1, mem_per_cpu=Memory.parse("2G"))
    one_each = resolve(site, nodes=1, gpus_per_node=4)
    assert "--cpus-per-task=32" in directives(one_each)
    assert one_each.env["OMP_NUM_THREADS"] == "16"


# ---------------------------------------------------------------------------------- what people are told


def test_notes_of_the_site_and_that_it_is_retired() -> None:
    site = replace(PLAIN, notes=("images belong on /work",), retired="since 2024; its successor is Frontier")
    assert resolve(site).notes[:2] == (
        Note("site", "plain is retired", "since 2024; its successor is Frontier"),
        Note("site", "images belong on /work", ""),
    )
