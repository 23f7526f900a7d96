"""What a job asks of a container, from text to values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs import containers, runtimes, shell
from hpcjobs.errors import PlanError
from hpcjobs.model import (
    Bind,
    ContainerRequest,
    HostFacts,
    ImageFacts,
    ImageKey,
    Invocation,
    JobSpec,
    Overlay,
    RuntimeConfig,
    ServicePlan,
    ServiceSpec,
    Shape,
    Site,
)
from hpcjobs.units import Memory

SIF = ImageFacts("/i/app.sif", "sif")
BARE = ImageFacts("")
FOLDER_NAMES = st.text(st.characters(exclude_characters=":\0"), min_size=1).filter(
    lambda text: not text.endswith((".img", ".ext3", ".sif", ".sqfs", ".squashfs", ".sqsh"))
)


def spec(**fields: Any) -> JobSpec:
    return JobSpec(command=("./app",), **fields)


def wanted(image: ImageFacts = SIF, gpu: str = "none", files: frozenset[str] = frozenset(), **fields: Any) -> Any:
    return containers.wanted(spec(**fields), gpu, image, files)


def said(error: pytest.ExceptionInfo[PlanError]) -> str:
    assert error.value.hint
    return f"{error.value.message} | {error.value.hint}"


# --------------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, {}),
        ({"bind": ("/a",)}, {"bind": "--bind /a"}),
        ({"bind": ("/a:/b:ro",)}, {"bind": "--bind /a:/b:ro", "bind-readonly": "--bind /a:/b:ro"}),
        ({"bind": ("/f:/g",)}, {"bind": "--bind /f:/g", "bind-file": "--bind /f:/g"}),
        ({"bind": ("g:/g",), "workdir": "/w"}, {"bind": "--bind g:/g", "bind-file": "--bind g:/g"}),
        ({"overlay": ("d",)}, {"overlay-folder": "--overlay d"}),
        ({"overlay": ("/o.img:2G",)}, {"overlay-image": "--overlay /o.img:2G"}),
        ({"app": "solve"}, {"app": "--app solve"}),
        ({"entrypoint": True}, {"entrypoint": "--entrypoint"}),
        ({"container_workdir": "/opt"}, {"workdir": "--container-workdir /opt"}),
        ({"writable": True}, {"writable": "--writable"}),
        ({"image_key": "k.pem"}, {"key": "--image-key"}),
        ({"verify": "required"}, {"verify": "the signature that is required"}),
        ({"services": (ServiceSpec(name="db"),)}, {"instance": "the service db"}),
        ({"services": (ServiceSpec(name="db", command=("redis",)),)}, {"service": "the service db"}),
        ({"ntasks": 1, "nodes": 1}, {}),
        ({"ntasks": 4}, {"ranks": "-n"}),
        ({"ntasks_per_node": 4}, {"ranks": "--ntasks-per-node"}),
        ({"nodes": 2}, {"nodes": "-N 2"}),
    ],
)
def test_features_that_a_job_needs(fields: dict[str, Any], asked: dict[str, str]) -> None:
    assert wanted(files=frozenset({"/f", "/w/g"}), **fields) == {"sif": "--image /i/app.sif", **asked}


def test_gpus_are_a_matter_of_the_container_only_if_there_is_one() -> None:
    assert wanted(gpu="nvidia")["nvidia"] == "--gpus-per-node"
    assert wanted(BARE, gpu="nvidia") == {}


# ---------------------------------------------------------------------------------- binds and layers


@pytest.mark.parametrize(
    ("text", "expand", "bind"),
    [
        ("/a", False, Bind("/a", "/a")),
        ("a/../b", False, Bind("/w/b", "/w/b")),
        ("a:/b", False, Bind("/w/a", "/b")),
        ("a:/b:rw", False, Bind("/w/a", "/b")),
        ("/a:/b:ro", False, Bind("/a", "/b", readonly=True)),
        ("/a::ro", False, Bind("/a", "/a", readonly=True)),
        ("$X/a", False, Bind("/w/$X/a", "/w/$X/a")),
        ("$X/a", True, Bind("$X/a", "$X/a", expand=True)),
        ("/s/$USER:$HOME", True, Bind("/s/$USER", "$HOME", expand=True)),
    ],
)
def test_binds(text: str, expand: bool, bind: Bind) -> None:
    assert containers.parse_bind(text, "/w", expand=expand) == bind


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "bind '' is not understood | write SRC, SRC:DST or SRC:DST:ro"),
        (":/b", "is not understood"),
        ("/a:/b:rx", "is not understood"),
        ("/a:/b:ro:x", "is not understood"),
        ("/a:b", "bind '/a:b': b is not a path from the root | write /a:/b"),
    ],
)
def test_binds_that_are_refused(text: str, refusal: str) -> None:
    with pytest.raises(PlanError) as caught:
        containers.parse_bind(text, "/w", expand=False)
    assert refusal in said(caught)


def test_binds_of_site_and_job() -> None:
    site = Site(name="s", bind=("/s/$USER",))
    assert containers.binds(site, ("d",), "/w") == (Bind("/s/$USER", "/s/$USER", expand=True), Bind("/w/d", "/w/d"))


@pytest.mark.parametrize(
    ("text", "overlay"),
    [
        ("layer", Overlay("/w/layer", is_folder=True)),
        ("layer:ro", Overlay("/w/layer", is_folder=True, readonly=True)),
        ("/o.img", Overlay("/o.img")),
        ("/o.img:ro", Overlay("/o.img", readonly=True)),
        ("o.ext3:512M", Overlay("/w/o.ext3", size=Memory.parse("512M"))),
        ("o.sqfs:ro", Overlay("/w/o.sqfs", readonly=True)),
    ],
)
def test_overlays(text: str, overlay: Overlay) -> None:
    assert containers.overlays(spec(overlay=(text,)), "/w") == (overlay,)


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "overlay '' is not understood | write FOLDER, FILE.img:2G (made if missing) or FILE.img:ro"),
        ("layer:2G", "is not understood"),
        ("o.img:2G:ro", "is not understood"),
        ("o.img:ro:2G", "is not understood"),
        ("o.img:ro:ro", "is not understood"),
        ("o.img:2G:3G", "is not understood"),
        ("o.img:much", "overlay 'o.img:much': "),
        ("o.img:much", " | write o.img:2G"),
    ],
)
def test_overlays_that_are_refused(text: str, refusal: str) -> None:
    with pytest.raises(PlanError) as caught:
        containers.overlays(spec(overlay=(text,)), "/w")
    assert refusal in said(caught)


@given(FOLDER_NAMES, st.booleans())
def test_any_other_name_is_a_folder_below_the_working_directory(name: str, readonly: bool) -> None:
    (found,) = containers.overlays(spec(overlay=(name + ":ro" * readonly,)), "/w")
    assert found == Overlay(containers.below("/w", name), is_folder=True, readonly=readonly)


@given(st.text(alphabet="abro2G.img:/"))
def test_an_overlay_is_read_or_refused_with_a_hint(text: str) -> None:
    hints = [""]
    found: tuple[Overlay, ...] = ()
    try:
        found = containers.overlays(spec(overlay=(text,)), "/w")
    except PlanError as error:
        hints = [error.hint]
    assert [bool(hint) for hint in hints] == [not found]
    for overlay in found:
        assert ":" not in overlay.path
        assert not (overlay.size and (overlay.readonly or overlay.is_folder))


def test_a_layer_has_one_writer() -> None:
    mine, shared = Overlay("/o.img"), Overlay("/s.img", readonly=True)
    containers.check_overlays(spec(), (mine, shared), 1)
    containers.check_overlays(spec(array="0-9"), (shared,), 4)
    with pytest.raises(PlanError) as caught:
        containers.check_overlays(spec(), (shared, mine), 4)
    assert said(caught).startswith(
        "4 ranks cannot write to the one overlay /o.img | share it for reading: --overlay /o"
    )
    with pytest.raises(PlanError, match="tasks of an array cannot write"):
        containers.check_overlays(spec(array="0-9"), (mine,), 1)


def test_a_container_writes_to_one_layer() -> None:
    mine, other = Overlay("/o.img"), Overlay("/d", is_folder=True)
    with pytest.raises(PlanError) as caught:
        containers.check_overlays(spec(), (mine, other), 1)
    assert said(caught) == (
        "a container writes to one overlay, and there are /o.img and /d | add :ro to all but one: --overlay /o.img:ro"
    )
    with pytest.raises(PlanError) as caught:
        containers.check_overlays(spec(writable=True), (mine,), 1)
    assert said(caught) == "--writable is one layer to write to, and /o.img another | leave out one of them"
    containers.check_overlays(spec(writable=True), (replace(mine, readonly=True),), 4)


def test_what_must_be_there_when_the_job_begins() -> None:
    job = spec(bind=("d", "/e:/f", "d:/g"), overlay=("new.img:2G", "base.img:ro"))
    host = HostFacts("/w", key=ImageKey("pem", file="/k.pem"))
    assert containers.needed(job, host, SIF, "/w") == ("/w/d", "/e", "/k.pem", "/w/base.img")
    in_variable = replace(host, key=ImageKey("passphrase", variable="P"))
    assert containers.needed(spec(), in_variable, SIF, "/w") == ()
    assert containers.needed(job, host, BARE, "/w") == ()


# ------------------------------------------------------------------------------------------ services


def named(*names: str) -> list[ServiceSpec]:
    return [ServiceSpec(name=name, command=("x",)) for name in names]


def test_names_of_services() -> None:
    containers.check_services(named("db", "Web_2", "a" * 31))
    for name in ("", "2db", "a-b", "a.b", "ä", "a" * 32, "a\n"):
        with pytest.raises(PlanError) as caught:
            containers.check_services(named(name))
        assert said(caught) == f"{name!r} cannot be the name of a service | use letters, digits and _: db"


@pytest.mark.parametrize("names", [("db", "db"), ("db", "DB")])
def test_services_that_would_share_a_variable(names: tuple[str, str]) -> None:
    with pytest.raises(PlanError) as caught:
        containers.check_services(named(*names))
    assert said(caught) == "two services are called db | give each a name of its own"


REQUEST = ContainerRequest(SIF, ("redis-server",), "/w", folder="/jobs/1", env={"A": "1"})


def service(
    kind: str = "apptainer",
    *,
    nodes: int = 1,
    slurm: bool = True,
    array: bool = False,
    request: ContainerRequest = REQUEST,
    **fields: Any,
) -> ServicePlan:
    return containers.service_plan(
        ServiceSpec(**{"name": "db", "command": request.program, **fields}),
        request,
        runtimes.get(RuntimeConfig(kind=kind)),
        shape=Shape(nodes=nodes),
        slurm=slurm,
        array=array,
    )


STEP_OF_3 = (
    "srun", "--overlap", "--mem=0", "--nodes=3", "--ntasks=3", "--ntasks-per-node=1", "--cpu-bind=none", "--mpi=none",
)  # fmt: skip
EXEC = ("apptainer", "exec", "--bind", "/w", "--pwd", "/w", "/i/app.sif")


def test_a_service_is_a_process_of_the_batch_node() -> None:
    assert service() == ServicePlan(
        name="db",
        start=(EXEC, ("redis-server",)),
        log="/jobs/1/service-db.log",
        env={"APPTAINERENV_A": "1"},
    )
    assert service(per="node").start == service().start, "on one node it is the same"
    assert service(nodes=3).start == service().start


def test_a_task_of_an_array_has_a_log_of_its_own() -> None:
    assert shell.join([service(array=True).log]) == '/jobs/1/service-db".$HPCJOB_ARRAY_INDEX".log'


def test_a_service_on_each_node_is_a_step() -> None:
    found = service(per="node", nodes=3)
    assert found.step
    assert found.start == (
        STEP_OF_3,
        ("bash", "-c", 'hpcjob_serve "$@"', "hpcjob", "--"),
        EXEC,
        ("redis-server",),
    )
    assert not service(per="node", nodes=3, slurm=False).step


def test_a_service_asks_whether_it_is_ready_in_its_container() -> None:
    assert service(ready=("redis-cli", "ping")).ready == (*EXEC, "redis-cli", "ping")
    assert service().ready == ()


INSTANCE = replace(REQUEST, program=(), instance="db_1")


def test_an_instance_is_stopped_and_entered_by_its_name() -> None:
    found = service(request=INSTANCE, command=(), ready=("redis-cli", "ping"))
    assert found.start == (("apptainer", "instance", "start", "--bind", "/w", "/i/app.sif", "db_1"),)
    assert found.stop == ("apptainer", "instance", "stop", "db_1")
    assert found.ready == ("apptainer", "exec", "instance://db_1", "redis-cli", "ping")
    assert not found.step


def test_an_instance_on_each_node_stops_itself() -> None:
    found = service(request=INSTANCE, command=(), per="node", nodes=2)
    assert found.step
    assert found.stop == ()
    assert found.start[1] == (
        "bash", "-c", 'hpcjob_serve "$@"', "hpcjob", "apptainer", "instance", "stop", "db_1", "--",
    )  # fmt: skip


@dataclass(frozen=True)
class Steps:
    """A runtime that is options of srun."""

    config: RuntimeConfig
    name: str = "steps"

    def wrap(self, request: ContainerRequest) -> Invocation:
        return Invocation(argv=(), program=request.program, launcher_args=("--container",))


def test_a_service_of_a_runtime_that_is_options_of_srun_is_a_step_also_on_one_node() -> None:
    found = containers.service_plan(
        ServiceSpec(name="db", command=("redis-server",), ready=("redis-cli", "ping")),
        REQUEST,
        Steps(RuntimeConfig(kind="steps")),
        shape=Shape(),
        slurm=True,
        array=False,
    )
    step = (
        "srun", "--overlap", "--mem=0", "--nodes=1", "--ntasks=1", "--ntasks-per-node=1", "--cpu-bind=none", "--mpi=none",
        "--container",
    )  # fmt: skip
    assert found.step
    assert found.start == (step, ("bash", "-c", 'hpcjob_serve "$@"', "hpcjob", "--"), ("redis-server",))
    assert found.ready == (*step, "redis-cli", "ping")
