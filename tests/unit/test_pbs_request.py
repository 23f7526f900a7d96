"""How a plan is asked for in PBS: resources, files, names, and what is refused with a hint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpcjobs import render, shell
from hpcjobs.errors import PlanError, UnreachableError
from hpcjobs.model import NodeShape, Shape
from hpcjobs.process import Completed, run
from hpcjobs.schedulers.pbs import Pbs
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE, WRAPPER, Custom, spell
from hpcjobs.units import Duration, Memory
from tests.pbs_answers import Script, job

PLAN = replace(render.sample_plan(full=False), scheduler="pbs", export="none")
GIGABYTE = Memory.parse("1G")


def options(dialect: str = OPENPBS, *, chunk: str = "", **asked: Any) -> list[tuple[str, str]]:
    """The directives but the name and where PBS's own output goes, which is nowhere."""
    native = spell(replace(PLAN, **asked), dialect, Custom(chunk=chunk))
    assert native["dialect"] == dialect
    rest: list[tuple[str, str]]
    name, *rest = native["options"]
    assert name[0] == "-N"
    for nowhere in (("-j", "oe"), ("-o", "/dev/null")):
        rest.remove(nowhere)
    return rest


# ------------------------------------------------------------------------------------------------ resources


@pytest.mark.parametrize(
    ("shape", "select", "place"),
    [
        (Shape(), "1:ncpus=1:mpiprocs=1:ompthreads=1", "pack"),
        (Shape(2, 8, 4), "2:ncpus=4:mpiprocs=4:ompthreads=1", "scatter"),
        (Shape(4, 8, 2, 8, 2), "4:ncpus=16:mpiprocs=2:ompthreads=8:ngpus=2", "scatter"),
        # As srun fills nodes: one full, the rest, and one rank at the least on each.
        (
            Shape(3, 7, 4),
            "1:ncpus=4:mpiprocs=4:ompthreads=1+1:ncpus=2:mpiprocs=2:ompthreads=1+1:ncpus=1:mpiprocs=1:ompthreads=1",
            "scatter",
        ),
        (Shape(3, 9, 4), "2:ncpus=4:mpiprocs=4:ompthreads=1+1:ncpus=1:mpiprocs=1:ompthreads=1", "scatter"),
        (Shape(2, 3, 2), "1:ncpus=2:mpiprocs=2:ompthreads=1+1:ncpus=1:mpiprocs=1:ompthreads=1", "scatter"),
    ],
)
def test_chunks_are_nodes(shape: Shape, select: str, place: str) -> None:
    assert options(shape=shape) == [("-l", f"select={select}"), ("-l", f"place={place}")]


def test_ranks_without_nodes_are_chunks_that_go_anywhere() -> None:
    asked = options(shape=Shape(2, 5, 3, 2), nodes_asked=False)
    assert asked == [("-l", "select=5:ncpus=2:mpiprocs=1:ompthreads=2"), ("-l", "place=free")]


@pytest.mark.parametrize(
    ("asked", "shape", "each"),
    [({"mem": GIGABYTE}, Shape(2, 4, 2), "mem=1024mb"), ({}, Shape(2, 4, 2, 1, 2), "ngpus=2")],
)
def test_what_each_node_gives_makes_chunks_nodes(asked: dict[str, Any], shape: Shape, each: str) -> None:
    assert options(shape=shape, nodes_asked=False, **asked) == [
        ("-l", f"select=2:ncpus=2:mpiprocs=2:ompthreads=1:{each}"), ("-l", "place=scatter"),
    ]  # fmt: skip


def test_whole_nodes() -> None:
    assert options(exclusive=True)[1] == ("-l", "place=pack:excl")
    assert options(exclusive=True, shape=Shape(2, 2))[1] == ("-l", "place=scatter:excl")
    assert options(exclusive=True, nodes_asked=False)[1] == ("-l", "place=free:excl")
    assert options(TORQUE, exclusive=True)[1:] == [("-n", "")]
    assert options(WRAPPER, exclusive=True)[1:] == [("--exclusive", "")]


NODE = NodeShape(cores=48, gpus=4)


@pytest.mark.parametrize(
    ("asked", "chunk"),
    [
        ({"shape": Shape(2, 8, 4)}, "2:ncpus=48:mpiprocs=4:ompthreads=1"),
        ({"shape": Shape(2, 8, 4, 6)}, "2:ncpus=48:mpiprocs=4:ompthreads=6"),
        ({"shape": Shape(1, 96, 96)}, "1:ncpus=96:mpiprocs=96:ompthreads=1"),  # hardware threads
        # Memory of a core is that of those that were asked for.
        ({"shape": Shape(1, 4, 4), "mem_per_cpu": GIGABYTE}, "1:ncpus=48:mpiprocs=4:ompthreads=1:mem=4096mb"),
        ({"shape": Shape(1, 8, 8), "nodes_asked": False}, "8:ncpus=1:mpiprocs=1:ompthreads=1"),
        ({"shape": Shape(2, 8, 4), "whole_nodes": False}, "2:ncpus=4:mpiprocs=4:ompthreads=1"),
    ],
)
def test_where_jobs_get_whole_nodes_all_cores_are_asked_for(asked: dict[str, Any], chunk: str) -> None:
    assert options(**{"whole_nodes": True, "node": NODE, **asked})[0] == ("-l", f"select={chunk}")


def totals(**asked: Any) -> list[str]:
    """The resources of a job, where the site has no select."""
    native = spell(replace(PLAN, **{"node": NODE, **asked}), OPENPBS, Custom(totals=True))
    return [value for flag, value in native["options"] if flag == "-l"]


@pytest.mark.parametrize(
    ("asked", "resources"),
    [
        ({"node": NodeShape(cores=48), "shape": Shape(1, 4, 4, 2)}, ["ncpus=8"]),
        # Several nodes are whole, and so are those of nobody else.
        ({"shape": Shape(3, 12, 4, 2)}, ["ncpus=144"]),
        ({"shape": Shape(1, 4, 4), "exclusive": True}, ["ncpus=48"]),
        ({"shape": Shape(2, 128, 64), "node": NodeShape()}, ["ncpus=128"]),
        # GPUs come with their share of the cores.
        ({"shape": Shape(1, 1, 1, 1, 1)}, ["ncpus=12", "ngpus=1"]),
        ({"shape": Shape(2, 8, 4, 1, 4)}, ["ncpus=96", "ngpus=8"]),
        ({"shape": Shape(1, 2, 2, 1, 2), "gpu_request": "none"}, ["ncpus=24"]),
        ({"shape": Shape(2, 4, 2), "mem": GIGABYTE}, ["ncpus=96", "mem=2048mb"]),
        # Memory of a core is that of those that were asked for.
        ({"shape": Shape(2, 4, 2, 3), "mem_per_cpu": GIGABYTE}, ["ncpus=96", "mem=12288mb"]),
        ({"time": Duration(60), "licenses": "scratch"}, ["ncpus=1", "scratch=1", "walltime=00:01:00"]),
    ],
)
def test_a_site_without_select_gets_totals(asked: dict[str, Any], resources: list[str]) -> None:
    assert totals(**asked) == resources


def test_what_is_said_of_single_nodes_is_refused_where_totals_are_asked_for() -> None:
    for asked, words in (
        ({"constraint": "big"}, "without features, and big was asked for"),
        ({"gpu_type": "a100", "shape": Shape(1, 1, 1, 1, 1)}, "without a kind of GPU, and a100 was asked for"),
    ):
        with pytest.raises(PlanError, match=words) as caught:
            totals(**asked)
        assert "-p QUEUE" in caught.value.hint


def test_memory() -> None:
    two = Shape(2, 4, 2, 3)
    chunk = "select=2:ncpus=6:mpiprocs=2:ompthreads=3:mem="
    assert options(shape=two, mem=GIGABYTE)[0] == ("-l", f"{chunk}1024mb")
    assert options(shape=two, mem_per_cpu=GIGABYTE)[0] == ("-l", f"{chunk}6144mb")
    assert options(mem=Memory(1))[0][1].endswith(":mem=1mb")
    # TORQUE's mem is that of the whole job.
    assert options(TORQUE, shape=two, mem=GIGABYTE)[1:] == [("-l", "mem=2048mb")]
    assert options(TORQUE, shape=two, mem_per_cpu=GIGABYTE)[1:] == [("-l", "pmem=1024mb")]
    assert options(WRAPPER, shape=Shape(2, 4, 2), mem=GIGABYTE)[1:] == [("-l", "mem=1024mb")]


def test_licences_are_resources_of_the_job() -> None:
    asked = {"licenses": "matlab:2,scratch"}
    assert options(**asked)[2:] == [("-l", "matlab=2"), ("-l", "scratch=1")]
    assert options(TORQUE, **asked)[1:] == [("-l", "matlab=2"), ("-l", "scratch=1")]
    assert options(WRAPPER, **asked)[1:] == [("--licenses", "matlab:2,scratch")]


def test_what_nodes_must_be() -> None:
    asked: dict[str, Any] = {"constraint": "big&vendor=x", "shape": Shape(1, 1, 1, 1, 1)}
    chunk = "select=1:ncpus=1:mpiprocs=1:ompthreads=1:ngpus=1"
    assert options(**asked)[0] == ("-l", f"{chunk}:big=True:vendor=x")
    assert options(gpu_type="a100", **asked)[0] == ("-l", f"{chunk}:gpu_type=a100:big=True:vendor=x")
    assert options(chunk="system=polaris", **asked)[0] == ("-l", f"{chunk}:system=polaris:big=True:vendor=x")
    assert options(TORQUE, **asked) == [("-l", "nodes=1:ppn=1:gpus=1:big:vendor=x")]
    assert options(WRAPPER, **asked)[1:] == [("--gpus-per-node", "1"), ("--constraint", "big&vendor=x")]


@pytest.mark.parametrize("dialect", [OPENPBS, TORQUE, WRAPPER])
def test_gpus_that_the_queue_brings_are_not_asked_for(dialect: str) -> None:
    asked: dict[str, Any] = {"gpu_request": "none", "gpu_type": "a100" if dialect != TORQUE else ""}
    assert "gpu" not in str(options(dialect, shape=Shape(2, 4, 2, 1, 2), **asked))
    assert "gpu" in str(options(dialect, shape=Shape(2, 4, 2, 1, 2)))
    totals = spell(replace(PLAN, shape=Shape(2, 4, 2, 1, 2), **asked), OPENPBS, Custom(totals=True))["options"]
    assert "gpu" not in str(totals)


def test_the_others() -> None:
    asked = options(
        time=Duration.parse("2-03:04:05"), partition="workq", account="proj", hold=True, requeue=True, export="all",
        dependency="afterok:12.pbshead", directives=("-m n", "-l  filesystems=home:eagle", "-P proj2", "-c"),
    )  # fmt: skip
    assert asked == [
        ("-q", "workq"), ("-A", "proj"), ("-l", "select=1:ncpus=1:mpiprocs=1:ompthreads=1"), ("-l", "place=pack"),
        ("-l", "walltime=51:04:05"), ("-h", ""), ("-r", "y"), ("-W", "depend=afterok:12.pbshead"), ("-V", ""),
        ("-m", "n"), ("-l", "filesystems=home:eagle"), ("-P", "proj2"), ("-c", ""),
    ]  # fmt: skip


def test_whether_a_job_may_start_again() -> None:
    for requeue, letter, word in ((True, "y", "--requeue"), (False, "n", "--no-requeue")):
        assert ("-r", letter) in options(requeue=requeue)
        assert ("-r", letter) in options(TORQUE, requeue=requeue)
        assert (word, "") in options(WRAPPER, requeue=requeue)
    assert not {"-r", "--requeue", "--no-requeue"} & {flag for flag, _ in options()}


def test_arrays_may_start_again_whatever_a_server_made_of_them() -> None:
    assert [one for one in options(array="0-3") if one[0] in "-r-J"] == [("-r", "y"), ("-J", "0-3")]
    # One task is no array to PBS, and others start their tasks again as they were told.
    assert "-r" not in dict(options(array="3"))
    assert "-r" not in dict(options(TORQUE, array="0-3"))
    assert "-r" not in dict(options(WRAPPER, array="0-3"))
    assert [one for one in options(array="0-3", requeue=True) if one[0] == "-r"] == [("-r", "y")]


@pytest.mark.parametrize(
    ("option", "written"),
    [("-A", ("-A", "proj")), ("-P", ("-P", "proj")), ("-W group_list=", ("-W", "group_list=proj"))],
)
def test_the_option_that_names_the_account_is_the_sites(option: str, written: tuple[str, str]) -> None:
    for dialect in (OPENPBS, TORQUE, WRAPPER):
        native = spell(replace(PLAN, account="proj"), dialect, Custom(account=option))
        assert native["options"][1] == written


@pytest.mark.parametrize(
    ("given", "written"),
    [
        # The site's come first, and PBS would take the first of each resource.
        (("-l filesystems=home", "-l filesystems=home:eagle"), [("-l", "filesystems=home:eagle")]),
        (("-l a=1", "-l b=1", "-l a=2"), [("-l", "b=1"), ("-l", "a=2")]),
        (("-W umask=027", "-W stagein=x", "-W umask=022"), [("-W", "stagein=x"), ("-W", "umask=022")]),
        (("-P one", "-P two", "-P one"), [("-P", "two"), ("-P", "one")]),
        (("-m n", "-M a@b.c"), [("-m", "n"), ("-M", "a@b.c")]),
    ],
)
def test_the_last_of_each_directive_counts(given: tuple[str, ...], written: list[tuple[str, str]]) -> None:
    assert options(directives=given)[2:] == written


# ------------------------------------------------------------------------------------------------ arrays, names


def test_tasks_that_pbs_counts_otherwise_are_listed_for_the_script() -> None:
    for array, listed in (("1,3,7", (1, 3, 7)), ("5", (5,)), ("0-0", (0,)), ("0-8:2", ()), ("", ())):
        assert spell(replace(PLAN, array=array), OPENPBS)["indices"] == listed
    for dialect in (TORQUE, WRAPPER):
        assert spell(replace(PLAN, array="1,3,7"), dialect)["indices"] == ()
    assert ("-J", "0-2%2") in options(array="1,3,7", array_limit=2)
    assert ("-t", "1,3,7%2") in options(WRAPPER, array="1,3,7", array_limit=2)
    assert "-J" not in dict(options(array="5", array_limit=2))


def test_a_name_that_is_none() -> None:
    for dialect, written in ((OPENPBS, "job"), (TORQUE, "job"), (WRAPPER, "job.3f9c2a71b2c4")):
        assert spell(replace(PLAN, name=""), dialect)["options"][0] == ("-N", written)
    assert spell(replace(PLAN, name="_é"), TORQUE)["options"][0] == ("-N", "j__")


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("pattern", "native_id", "index", "path"),
    [
        ("/r/out.log", "12.head", "", "/r/out.log"),
        ("/r/%x-%j.out", "12.head", "", "/r/my 'job'-12.out"),
        ("/r/%5j.out", "12.head", "", "/r/00012.out"),
        ("/r/%A_%a.out", "12[].head", "7", "/r/12_7.out"),
        ("/r/%4a", "12[].head", "7", "/r/0007"),
        ("/r/%a", "12", "", "/r/0"),
        ("/r/100%%/$(id) %j", "12", "", "/r/100%/$(id) 12"),
    ],
)
def test_a_file_is_a_word_that_the_script_completes(pattern: str, native_id: str, index: str, path: str) -> None:
    native = spell(replace(PLAN, name="my 'job'", output=pattern, error=pattern), OPENPBS)
    assert native["output"] == native["error"]
    known = {"PATH": "/usr/bin:/bin", "HPCJOB_NATIVE_ID": native_id, **({"HPCJOB_ARRAY_INDEX": index} if index else {})}
    answer = run(["bash", "-c", f"printf %s {shell.quote(native['output'])}"], timeout=20, env=known)
    assert (answer.code, answer.out, answer.err) == (0, path, "")


# ------------------------------------------------------------------------------------------------ refused

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (OPENPBS, {"qos": "high"}, "PBS has no quality of service, and high was asked for", "leave out -q"),
    (OPENPBS, {"reservation": "R12"}, "a reservation of PBS is a queue: R12", "-p R12 instead of --reservation"),
    (TORQUE, {"gpu_type": "a100"}, "TORQUE knows no kinds of GPUs, and a100 was asked for", "-C FEATURE"),
    (OPENPBS, {"requeue": False, "array": "0-3"}, "whose tasks must not start again", "leave out --no-requeue, or -a"),
    *[
        (
            dialect,
            {"constraint": text},
            f"features that are all wanted, and {text} was asked for",
            "-C 'cpu_type=milan&big'",
        )
        for dialect in (OPENPBS, TORQUE)
        for text in ("a|b", "[a*2&b*2]", "a&", "a:ncpus=64", "a b", "a,b", "a+1")
    ],
    (OPENPBS, {"directives": ("--foo",)}, "the directive '--foo' is not understood", "-l NAME=VALUE, -P NAME"),
    (OPENPBS, {"directives": ("-N x",)}, "the directive -N x is written by hpcjob itself", "use -J NAME"),
    (OPENPBS, {"directives": ("-l select=2",)}, "-l select=2 is written by hpcjob itself", "use -N, -n, -c, --mem"),
    (OPENPBS, {"directives": ("-l a=1,walltime=1",)}, "is written by hpcjob itself", "use -t TIME"),
    (OPENPBS, {"directives": ("-W umask=2,depend=afterok:1",)}, "is written by hpcjob itself", "use -d"),
    (OPENPBS, {"directives": ("-C X",)}, "the directive -C X is written by hpcjob itself", "leave it out"),
    (TORQUE, {"directives": ("-n",)}, "the directive -n is written by hpcjob itself", "use --exclusive"),
]


@pytest.mark.parametrize(("dialect", "asked", "words", "hint"), REFUSED)
def test_what_pbs_cannot_do_is_refused_with_what_can_be_done(
    dialect: str, asked: dict[str, Any], words: str, hint: str
) -> None:
    with pytest.raises(PlanError) as caught:
        options(dialect, **asked)
    assert words in caught.value.message
    assert hint in caught.value.hint


# ------------------------------------------------------------------------------------------------ the dialect


def test_the_dialect_is_asked_for_once() -> None:
    script = Script(qstat=Completed(("qstat",), 0, "pbs_version = 23.06.06\n", ""))
    scheduler = Pbs({}, script)
    assert not scheduler.identified
    assert scheduler.dependency("afterok", ["12[].head"]) == "afterok:12[].head"
    assert scheduler.identified
    assert scheduler.identify() == {"dialect": "openpbs"}
    assert script.calls == [("qstat", "--version")]


def test_the_site_may_say_the_dialect() -> None:
    script = Script()
    assert Pbs({"extra": {"dialect": "pbspro"}}, script).identify() == {"dialect": "openpbs"}
    native = Pbs({"extra": {"dialect": "openpbs", "chunk": "system=x", "account": "-P"}}, script).spell(
        replace(PLAN, account="proj")
    )
    assert native["options"][1:3] == (("-P", "proj"), ("-l", "select=1:ncpus=1:mpiprocs=1:ompthreads=1:system=x"))
    assert script.calls == []


def test_another_program_of_that_name_is_no_pbs() -> None:
    scheduler = Pbs({}, Script(qstat=Completed(("qstat",), 1, "", "qstat: no cell\n")))
    with pytest.raises(UnreachableError, match=r"which PBS this is cannot be told: .* said 'no cell'") as caught:
        scheduler.identify()
    assert "dialect: openpbs" in caught.value.hint


def test_a_task_of_an_array_of_one_is_a_job() -> None:
    scheduler = Pbs({"extra": {"dialect": "openpbs"}}, Script())
    assert scheduler.target(job("12.head", array="5"), (5,)) == "12.head"
    assert scheduler.target(job("12[].head", array="1,3,7"), (3, 7)) == "12[1-2].head"
