"""What a job asks of a container, from text to values."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs import containers, modules, runtimes, shell
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
    SchedulerConfig,
    ServicePlan,
    ServiceSpec,
    Site,
)
from hpcjobs.units import Memory

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("path", ["/a,b.img", "/a:b.img"])
def test_an_overlay_s_path_must_be_one_word_of_the_runtime(path: str) -> None:
    with pytest.raises(PlanError) as caught:
        containers.check_overlays(spec(), (Overlay(path, readonly=True),), 1)
    assert said(caught) == f"an overlay with a comma or colon in its path: {path} | use another folder"


@pytest.mark.parametrize("name", ["/o.sif", "/o.sqfs", "/o.squashfs", "/o.sqsh"])
def test_what_cannot_be_written_is_a_layer_for_reading(name: str) -> None:
    containers.check_overlays(spec(), (Overlay(name, readonly=True),), 4)
    with pytest.raises(PlanError) as caught:
        containers.check_overlays(spec(), (Overlay(name),), 1)
    assert said(caught) == f"{name} cannot be written to | --overlay {name}:ro"


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


@pytest.mark.parametrize("words", [{"command": ("x", ":")}, {"command": ("x",), "ready": ("y", ":", "z")}])
def test_words_of_a_service_that_srun_reads_itself(words: dict[str, Any]) -> None:
    with pytest.raises(PlanError) as caught:
        containers.check_services([ServiceSpec(name="db", **words)])
    assert said(caught) == (
        "service db: srun reads the argument ':' as the beginning of another program | pass a plain ':' by a script of yours"
    )


REQUEST = ContainerRequest(SIF, ("./app",), "/w", folder="/jobs/1")
SLURM = Site(name="s", scheduler=SchedulerConfig(kind="slurm"))
ONE_MACHINE = Site(name="here")
REDIS = ("redis-server",)


def contained(
    *services: ServiceSpec,
    kind: str = "apptainer",
    image: ImageFacts = SIF,
    site: Site = SLURM,
    array: bool = False,
    request: ContainerRequest = REQUEST,
) -> containers.Contained:
    runtime = runtimes.get(RuntimeConfig(kind=kind, modules=(f"{kind}/1",)))
    request = replace(request, image=image)
    return containers.contain(request, runtime, [(one, image, runtime) for one in services], site, array=array)


def service(*, command: tuple[str, ...] = REDIS, nodes: int = 1, **fields: Any) -> ServicePlan:
    of_service = {name: fields.pop(name) for name in ("per", "ready", "env", "bind") if name in fields}
    one = ServiceSpec(name="db", command=command, **of_service)
    (found,) = contained(one, request=replace(REQUEST, nodes=nodes), **fields).services
    return found


def step(nodes: str = '"$SLURM_JOB_NUM_NODES"', *more: str) -> str:
    where = f"--nodes={nodes} --ntasks={nodes} --ntasks-per-node=1"
    return " ".join(("srun --overlap --mem=0", where, "--cpu-bind=none --mpi=none", *more))


EXEC = ("apptainer", "exec", "--bind", "/w", "--pwd", "/w", "/i/app.sif")
SERVE = containers._SERVE
OF_ITSELF = SERVE.format(end="kill $p")
OF_ITS_CHILD = SERVE.format(end="pkill -P $p")


def test_a_service_is_a_process_of_the_batch_node() -> None:
    found = ServicePlan(name="db", start=(EXEC, REDIS), log="/jobs/1/service-db.log", env={"APPTAINERENV_A": "1"})
    assert service(env={"A": "1"}) == found
    assert service(env={"A": "1"}, nodes=3) == found
    assert service(env={"A": "1"}, site=ONE_MACHINE, per="node") == found, "on one machine there is one node"


def test_a_task_of_an_array_has_a_log_of_its_own() -> None:
    assert shell.join([service(array=True).log]) == '/jobs/1/service-db".$HPCJOB_ARRAY_INDEX".log'


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_service_on_each_node_is_a_step(nodes: int) -> None:
    found = service(per="node", nodes=nodes)
    assert found.step
    assert shell.join(found.start[0]) == step()
    assert found.start[1:] == (("sh", "-c", OF_ITSELF, "hpcjob"), EXEC, REDIS)


def test_a_machine_has_no_steps_on_other_nodes() -> None:
    with pytest.raises(PlanError) as caught:
        service(per="node", nodes=3, site=ONE_MACHINE)
    assert said(caught) == "local cannot start a service on each node | write `per: job`"


def test_a_service_asks_whether_it_is_ready_in_its_container() -> None:
    assert service(ready=("redis-cli", "ping")).ready == (*EXEC, "redis-cli", "ping")
    assert service().ready == ()


INSTANCE = '"hpcjob_${HPCJOB_NATIVE_ID}_${HPCJOB_ARRAY_INDEX:-0}_db"'


def test_an_instance_is_stopped_and_entered_by_its_name() -> None:
    found = service(command=(), ready=("redis-cli", "ping"))
    assert shell.join(found.start[0]) == f"apptainer instance start --bind /w /i/app.sif {INSTANCE}"
    assert shell.join(found.stop) == f"apptainer instance stop {INSTANCE}"
    assert found.ready[:2] == ("apptainer", "exec")
    assert found.ready[3:] == ("redis-cli", "ping")
    assert (len(found.start), found.step) == (1, False)


def test_an_instance_on_each_node_stops_itself() -> None:
    found = service(command=(), per="node", nodes=2)
    assert (found.step, found.stop) == (True, ())
    keeper = found.start[1]
    assert keeper[:4] == ("sh", "-c", containers._HOLD, "apptainer")
    assert shell.join(keeper[4:]) == INSTANCE
    assert shell.join(found.start[2]) == f"apptainer instance start --bind /w /i/app.sif {INSTANCE}"


@pytest.mark.parametrize("kind", ["pyxis", "ce"])
def test_a_service_of_a_runtime_that_is_options_of_srun_is_a_step_also_on_one_node(kind: str) -> None:
    found = service(kind=kind, image=ImageFacts("/i/app.sqsh", "squashfs"), ready=("redis-cli", "ping"))
    assert found.step
    assert shell.join(found.start[0]).startswith(step("1") + " --")
    assert {"--container-image=/i/app.sqsh", "--environment=/jobs/1/container-db.toml"} & set(found.start[0])
    assert found.start[1:] == (("sh", "-c", OF_ITSELF, "hpcjob"), REDIS)
    assert found.ready == (*found.start[0], "redis-cli", "ping"), "it is asked by a step of its own"


def test_what_serves_files_is_not_told_to_end_but_its_child() -> None:
    image = ImageFacts("/i/app.sqfs", "squashfs")
    assert service(kind="charliecloud", image=image).start[0] == ("sh", "-c", containers._TELL_CHILD, "hpcjob")
    assert service(kind="charliecloud", image=image, per="node").start[1] == ("sh", "-c", OF_ITS_CHILD, "hpcjob")
    folder = ImageFacts("/i/app", "directory")
    assert service(kind="charliecloud", image=folder).start[0][0] == "ch-run"


SERVER = """import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(open("told", "a").write("told\\n") and 0))
print("ready", flush=True)
signal.pause()"""


@pytest.mark.parametrize(
    ("keeper", "parent"), [(OF_ITSELF, ()), (OF_ITS_CHILD, ("sh", "-c", '"$@" || echo it failed; exit', "parent"))]
)
def test_what_keeps_a_service_ends_it_when_its_input_is_closed(
    tmp_path: Path, keeper: str, parent: tuple[str, ...]
) -> None:
    argv = ("sh", "-c", keeper, "hpcjob", *parent, sys.executable, "-c", SERVER)
    with subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"ready\n"
        process.stdin.close()
        assert process.stdout.read() == b""
        process.wait()
    assert (tmp_path / "told").read_text() == "told\n"


@pytest.mark.parametrize("keeper", [OF_ITSELF, OF_ITS_CHILD, containers._TELL_CHILD])
def test_what_keeps_a_service_ends_with_it(tmp_path: Path, keeper: str) -> None:
    argv = ("sh", "-c", keeper, "hpcjob", "sh", "-c", "echo served")
    with subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"served\n"
        process.wait()


def test_the_child_of_what_serves_files_is_told(tmp_path: Path) -> None:
    parent = ("sh", "-c", '"$@" || echo it failed; exit', "parent")
    argv = ("sh", "-c", containers._TELL_CHILD, "hpcjob", *parent, sys.executable, "-c", SERVER)
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b""
        process.wait()
    assert (tmp_path / "told").read_text() == "told\n"


def test_what_holds_an_instance_stops_it_when_its_input_is_closed(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    hold = ("sh", "-c", containers._HOLD, str(tool), "db_1")
    argv = (*hold, str(tool), "instance", "start", "app.sif", "db_1")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"instance start app.sif db_1\n"
        process.stdin.close()
        assert process.stdout.read() == b"instance stop db_1\n"
        process.wait()
    assert subprocess.run((*hold, "false"), stdin=subprocess.PIPE, capture_output=True, check=False).returncode == 1


# ------------------------------------------------------------------------------- all of it together


@dataclass(frozen=True)
class Fancy:
    """A runtime with all that an invocation may have."""

    config: RuntimeConfig
    name: str = "fancy"

    def wrap(self, request: ContainerRequest) -> Invocation:
        return Invocation(
            argv=("fancy", "--entry") if request.entrypoint else ("fancy",),
            program=request.program,
            env=dict(request.env),
            setup=(shell.Shell("prepare"),),
            functions={f"of_{self.config.kind}": shell.Shell("  true")},
            node_setup=(("get", request.image.path),),
            files={f"{request.service or 'job'}.toml": "x"},
            cleanup=("remove", self.config.kind),
        )


def fancy(kind: str = "fancy", *modules: str) -> Fancy:
    return Fancy(RuntimeConfig(kind=kind, modules=modules))


GET = " >/dev/null || hpcjob_stop 69 the image could not be got"


def test_what_the_containers_of_a_job_need_is_there_once() -> None:
    services = [(one, replace(SIF, path="/i/db.sif"), fancy("other", "m/1", "m/2")) for one in named("db", "web")]
    found = containers.contain(REQUEST, fancy("fancy", "m/1"), services, ONE_MACHINE, array=False)
    assert found.invocation.program == ("./app",)
    assert [one.name for one in found.services] == ["db", "web"]
    # Whole lists of runtimes: of commands (`purge`, `use`) the second is not always one too many.
    assert found.modules == ("m/1", "m/1", "m/2")
    assert modules.commands(found.modules) == (("module", "load", "m/1", "m/2"),)
    assert found.setup == ("prepare", f"get /i/app.sif{GET}", f"get /i/db.sif{GET}")
    assert found.functions == {"of_fancy": "  true", "of_other": "  true"}
    assert found.files == {"job.toml": "x", "db.toml": "x", "web.toml": "x"}
    assert found.cleanup == (("remove", "fancy"), ("remove", "other"))


def test_images_are_got_on_each_node_of_slurm() -> None:
    request = replace(REQUEST, nodes=2)
    on_all = 'srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --mpi=none'
    assert (
        containers.contain(request, fancy(), (), SLURM, array=False).setup[1] == f"{on_all} \\\n    get /i/app.sif{GET}"
    )
    assert containers.contain(request, fancy(), (), ONE_MACHINE, array=False).setup[1] == f"get /i/app.sif{GET}"
    assert containers.contain(REQUEST, fancy(), (), SLURM, array=False).setup[1] == f"get /i/app.sif{GET}"


def test_a_container_that_needs_nothing() -> None:
    found = contained(kind="apptainer")
    assert (found.setup, found.functions, found.files, found.cleanup) == ((), {}, {}, ())
    assert (found.modules, found.services) == (("apptainer/1",), ())


OF_THE_HOST = ("PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "BASH_ENV", "ENV", "SLURM_HINT", "SLURMD_X", "SRUN_DEBUG")


@pytest.mark.parametrize("name", OF_THE_HOST)
def test_variables_that_the_host_s_tools_would_heed_are_set_inside(name: str) -> None:
    request = replace(REQUEST, env={"A": "1", name: "x y"})
    found = containers.wrap(fancy(), request)
    assert (found.program, found.env) == (("env", f"{name}=x y", "./app"), {"A": "1"})
    prefixed = containers.wrap(runtimes.get(RuntimeConfig(kind="apptainer")), request)
    assert prefixed.program == ("./app",)
    assert prefixed.env == {"APPTAINERENV_A": "1", f"APPTAINERENV_{name}": "x y"}


@pytest.mark.parametrize("name", ["XPATH", "PATHS", "MY_LD_X", "ENVIRONMENT", "LD", "SRUN"])
def test_other_variables_are_exported(name: str) -> None:
    found = containers.wrap(fancy(), replace(REQUEST, env={name: "1"}))
    assert (found.program, found.env) == (("./app",), {name: "1"})


def test_an_entrypoint_has_no_place_for_variables_of_the_host() -> None:
    request = replace(REQUEST, env={"PATH": "/x"}, entrypoint=True)
    with pytest.raises(PlanError) as caught:
        containers.wrap(fancy(), request)
    assert said(caught) == (
        "PATH cannot be set for the entrypoint of an image by fancy | "
        "name the program that the entrypoint runs, or use --runtime apptainer"
    )
    assert containers.wrap(fancy(), replace(request, env={"A": "1"})).argv == ("fancy", "--entry")


def test_a_service_s_variables_are_set_inside_too() -> None:
    one = ServiceSpec(name="db", command=REDIS, ready=("ping",), env={"PATH": "/x", "B": "2"})
    (found,) = containers.contain(REQUEST, fancy(), [(one, SIF, fancy())], SLURM, array=False).services
    assert found.start == (("fancy",), ("env", "PATH=/x", "redis-server"))
    assert found.ready == ("fancy", "env", "PATH=/x", "ping")
    assert found.env == {"B": "2"}
