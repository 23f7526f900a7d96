"""The command lines of runtimes that cannot be installed here, read by stubs with the grammar of their documents."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import capabilities, launchers, plan, render, runtimes, shell
from hpcjobs.errors import PlanError
from hpcjobs.model import (
    GpuConfig,
    HostFacts,
    ImageFacts,
    JobSpec,
    LauncherConfig,
    Plan,
    RuntimeConfig,
    SchedulerConfig,
    Site,
)
from tests.stubs.install import install
from tests.stubs.programs import srun

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "ab" * 32
HOSTILE = 'it\'s "$HOME" `id` ; & | * # %j ümläut'
NAMED = ("shifter", "sarus", "podman-hpc", "docker")
FILES = ("pyxis", "ce", "singularity")


class Machine:
    """Folders and files to bind, images, and the stubs on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        install(folder / "bin")
        for name in ("run", "data", "job"):
            (folder / name).mkdir()
        (folder / "file").write_text("x\n")
        (folder / "app.sqsh").write_bytes(b"hsqs" + bytes(100))

    def image(self, kind: str) -> ImageFacts:
        if kind in NAMED:
            name = "docker.io/library/alpine"
            return ImageFacts(f"docker://{name}@{DIGEST}", "reference", source=f"docker://{name}:3.20@{DIGEST}")
        return ImageFacts(str(self.folder / "app.sqsh"), "squashfs")

    def plan(self, kind: str, **fields: Any) -> Plan:
        launcher = LauncherConfig(kind="none" if kind == "docker" else "srun")
        site = Site(
            name="s",
            scheduler=SchedulerConfig(kind="slurm"),
            launcher=launcher,
            runtimes=(RuntimeConfig(kind=kind),),
            gpu=GpuConfig(kind="nvidia"),
            bind=() if kind == "shifter" else (f"{self.folder}/$SUB:/site",),
        )
        ranks = {} if kind == "docker" else {"nodes": 2, "ntasks_per_node": 2}
        spec = JobSpec(
            command=("./app", HOSTILE, "--flag", ""), workdir=str(self.folder / "run"), **{**ranks, **fields}
        )
        files = frozenset({str(self.folder / "file")})
        config = plan.choose_runtime(spec, site, self.image(kind), files=files)
        return plan.resolve(
            spec,
            site,
            self.image(kind),
            HostFacts(str(self.folder / "run"), folder=str(self.folder / "job"), files=files),
            runtime=runtimes.get(config),
            launcher=launchers.get(plan.choose_launcher(spec, site)),
        )

    def understood(self, made: Plan) -> dict[str, Any]:
        """What the stubs understand of the script: its header, then its launch line."""
        for name, text in made.files.items():
            (self.folder / "job" / name).write_text(text, "utf-8")
        script = render.render(made, template="builtin/slurm").text
        environ = {**os.environ, "PATH": f"{self.folder}/bin:/usr/bin:/bin", "SUB": "data", "HOME": str(self.folder)}
        environ.update(srun.header(script, environ))
        exports = "".join(f"export {name}={shell.quote(value)}\n" for name, value in made.env.items())
        line = f"cd {self.folder}/run\n{exports}{shell.lines(*made.launch)}"
        done = subprocess.run(["bash", "-euc", line], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


ALL = [*NAMED, *FILES]


def innermost(answer: dict[str, Any]) -> dict[str, Any]:
    """What the runtime understood; srun is asked for Pyxis and the Container Engine."""
    found: dict[str, Any] = answer["options"].get("inner", answer)
    return found


def mounts(answer: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    found = innermost(answer)["options"].get("mounts", answer["options"].get("volumes", []))
    return {one["target"]: (one["source"], one.get("flags") in ("ro", "readonly")) for one in found}


@pytest.mark.parametrize("kind", ALL)
def test_image_program_and_folder_arrive(machine: Machine, kind: str) -> None:
    answer = innermost(machine.understood(machine.plan(kind)))
    assert answer["command"] == ["./app", HOSTILE, "--flag", ""]
    image = answer["options"]["image"]
    assert (str(machine.folder / "app.sqsh") if kind in FILES else "library/alpine") in image
    # Shifter's gateway knows names by tag, the others run what the tag stood for.
    assert (DIGEST in image) == (kind in NAMED and kind != "shifter")
    assert answer["options"]["workdir"] == str(machine.folder / "run")


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "shifter"])
def test_the_site_s_binds_are_expanded_on_the_node(machine: Machine, kind: str) -> None:
    run = str(machine.folder / "run")
    answer = machine.understood(machine.plan(kind))
    assert mounts(answer) == {"/site": (str(machine.folder / "data"), False), run: (run, False)}


@pytest.mark.parametrize("kind", ALL)
def test_binds_of_the_job(machine: Machine, kind: str) -> None:
    answer = machine.understood(machine.plan(kind, bind=(f"{machine.folder}/data:/in:ro",)))
    assert mounts(answer)["/in"] == (str(machine.folder / "data"), True)


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "shifter"])
def test_binds_of_files(machine: Machine, kind: str) -> None:
    answer = machine.understood(machine.plan(kind, bind=(f"{machine.folder}/file:/in/file",)))
    assert mounts(answer)["/in/file"] == (str(machine.folder / "file"), False)


def test_shifter_refuses_what_its_plugin_would(machine: Machine) -> None:
    for bind, message in (
        (f"{machine.folder}/file:/in", "binds of single files"),
        (f"{machine.folder}/data:/etc/x", "cannot bind anything to /etc/x"),
        (f"{machine.folder}/data:/etcetera", "cannot bind anything to /etcetera"),
        (f"{machine.folder}/data:/opt", "cannot bind anything to /opt"),
        ("/a;b:/in", "with a : or ; in it"),
    ):
        with pytest.raises(PlanError, match=message) as caught:
            machine.plan("shifter", bind=(bind,))
        assert caught.value.hint


@pytest.mark.parametrize("kind", ALL)
def test_variables_arrive_byte_for_byte(machine: Machine, kind: str) -> None:
    values = {"PLAIN": "1", "SPACED": "a b", "HOSTILE": HOSTILE, "COMMA": "a,b=c"}
    made = machine.plan(kind, env=values)
    if kind == "singularity":  # through its own environment
        prefix = "SINGULARITYENV_"
        passed = {name.removeprefix(prefix): value for name, value in made.env.items() if name.startswith(prefix)}
        assert passed == {"OMP_NUM_THREADS": "1", **values}
        assert made.env["SINGULARITY_NO_EVAL"] == "1"
    else:
        assert innermost(machine.understood(made))["options"]["env"] == {"OMP_NUM_THREADS": "1", **values}


@pytest.mark.parametrize("kind", ALL)
def test_a_working_directory_of_its_own(machine: Machine, kind: str) -> None:
    answer = innermost(machine.understood(machine.plan(kind, container_workdir="/opt/a b")))
    assert answer["options"]["workdir"] == "/opt/a b"


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind != "singularity"])
def test_entrypoint_only_when_it_is_asked_for(machine: Machine, kind: str) -> None:
    with_it, without = machine.plan(kind, entrypoint=True), machine.plan(kind)
    assert innermost(machine.understood(with_it))["command"] == innermost(machine.understood(without))["command"]
    assert (with_it.launch, with_it.files) != (without.launch, without.files)


@pytest.mark.parametrize("kind", ALL)
def test_gpus(machine: Machine, kind: str) -> None:
    made = machine.plan(kind, gpus_per_node=1)
    machine.understood(made)
    assert capabilities.TABLE[kind]["nvidia"].split(" ")[0] in (
        *(str(word) for group in made.launch for word in group), *made.directives, "by",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["pyxis", "ce", "singularity"])
def test_a_writable_layer(machine: Machine, kind: str) -> None:
    assert machine.understood(machine.plan(kind, writable=True)) != machine.understood(machine.plan(kind))


def test_docker_runs_one_rank(machine: Machine) -> None:
    with pytest.raises(PlanError, match="docker cannot do what -n asks for: several ranks") as caught:
        machine.plan("docker", ntasks=2)
    assert "mpirun" in caught.value.hint


@pytest.mark.parametrize("kind", ["podman-hpc"])
def test_options_of_the_program_stay_the_program_s(machine: Machine, kind: str) -> None:
    made = machine.plan(kind, nodes=1, ntasks_per_node=1)
    words = [word for group in made.launch for word in group]
    assert words.index("--") < words.index("./app")
