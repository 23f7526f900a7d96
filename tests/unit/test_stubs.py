"""The stub programs of tests/stubs: what they take, and what they refuse as the real ones do."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.images import facts as images
from hpcjobs.images import sif
from tests.stubs import tinytoml
from tests.stubs.grammar import PFLAG, Grammar, Refusal, flags, valued
from tests.stubs.install import PROGRAMS, install
from tests.stubs.programs import docker, enroot, podman_hpc, sarus, shifter, shifterimg, singularity, srun

Main = Callable[[list[str], Mapping[str, str]], int]
NOTHING: Mapping[str, str] = {}
DIGEST = "sha256:" + "ab" * 32


class Stub:
    """Runs stubs in a folder that has the folder /data's stand-in `d`, the file `f`, and images."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.environ: dict[str, str] = {"HOME": str(folder), "SCRATCH": str(folder)}
        (folder / "d").mkdir()
        (folder / "f").write_text("A=1\n", "utf-8")
        (folder / "x.sqsh").write_bytes(b"hsqs")

    def words(self, line: str) -> list[str]:
        return [word.replace("@@", str(self.folder)) for word in line.split()]

    def run(self, main: Main, line: str, **environ: str) -> tuple[int, str, str]:
        code = main(self.words(line), {**self.environ, **environ})
        out, err = self._capsys.readouterr()
        return code, out, err

    def accepts(self, main: Main, line: str, **environ: str) -> dict[str, Any]:
        code, out, err = self.run(main, line, **environ)
        assert (code, err) == (0, "")
        assert out.count("\n") == 1
        return dict(json.loads(out))

    def refuses(self, main: Main, line: str, said: str, code: int = 1, has: Mapping[str, str] = NOTHING) -> None:
        got, out, err = self.run(main, line, **has)
        assert (got, out) == (code, ""), err
        assert said in err


@pytest.fixture
def stub(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Stub:
    monkeypatch.chdir(tmp_path)
    return Stub(tmp_path, capsys)


# ------------------------------------------------------------------------------------ the parser

GRAMMAR = Grammar((*valued("--env,-e --number,-n", repeat=True), *flags("--all,-a --quiet,-q")))


def test_the_parser_stops_at_the_first_word_that_is_no_option() -> None:
    found = GRAMMAR.parse(["-aqn4", "--env", "-x", "--nu=5", "prog", "--all", "-n"])
    assert found.values == {"all": ["true"], "quiet": ["true"], "number": ["4", "5"], "env": ["-x"]}
    assert found.rest == ["prog", "--all", "-n"]


@pytest.mark.parametrize("words", [["--all=1"], ["--env"], ["-z"], ["--zz"], ["-az"]])
def test_the_parser_refuses(words: list[str]) -> None:
    with pytest.raises(Refusal):
        GRAMMAR.parse(words)


def test_pflag_takes_booleans_and_no_prefixes() -> None:
    found = Grammar(GRAMMAR.options, PFLAG).parse(["--all=false", "-n=4", "--", "-q"])
    assert (found.has("all"), found.values["number"], found.rest) == (False, ["4"], ["-q"])
    with pytest.raises(Refusal, match="unknown flag: --num"):
        Grammar(GRAMMAR.options, PFLAG).parse(["--num=4"])
    with pytest.raises(Refusal, match="maybe"):
        Grammar(GRAMMAR.options, PFLAG).parse(["--all=maybe"])


# ------------------------------------------------------------------------------------ Shifter


def test_shifter(stub: Stub) -> None:
    line = "--image=docker:ubuntu:24.04 --volume=@@/d:/data:ro -V @@:/out --workdir=/w -e A=1 -m mpich,gpu ./app -n 2"
    options = stub.accepts(shifter.main, line)["options"]
    assert options["mounts"][0] == {"source": f"{stub.folder}/d", "target": "/data", "flags": "ro"}
    assert (options["image"], options["workdir"]) == ("docker:ubuntu:24.04", "/w")
    assert (options["env"], options["modules"]) == ({"A": "1"}, ["mpich", "gpu"])


def test_shifter_takes_an_image_of_no_type_for_docker_s(stub: Stub) -> None:
    assert stub.accepts(shifter.main, "--image=ubuntu:24.04 ./app")["options"] == {"image": "docker:ubuntu:24.04"}
    assert stub.accepts(shifter.main, f"--image=id:{'a' * 64} ./app")["command"] == ["./app"]


def test_shifter_takes_what_the_header_of_the_job_said(stub: Stub) -> None:
    job = srun.header(f"#!/bin/bash\n#SBATCH --image=ubuntu:24.04 --volume={stub.folder}/d:/data\n./x\n", stub.environ)
    options = stub.accepts(shifter.main, "./app", **job)["options"]
    assert (options["image"], options["mounts"][0]["target"]) == ("docker:ubuntu:24.04", "/data")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--image=ubuntu --mount=/a:/b ./app", "unrecognized option '--mount'"),
        ("./app", "No image specified"),
        ("--image=ubuntu --volume=@@/none:/data ./app", "FAILED to find real path"),
        ("--image=ubuntu --volume=@@/f:/data ./app", "location is not directory"),
        ("--image=ubuntu --volume=@@/d:/etc/x ./app", "not allowed"),
        ("--image=ubuntu --volume=@@/d:/var/x ./app", "not allowed"),
        ("--image=ubuntu --volume=@@/d:/opt ./app", "not allowed"),
        ("--image=ubuntu --volume=@@/d:/dev/shm ./app", "already mounted"),
        ("--image=ubuntu --volume=d:/data ./app", "relative path"),
        ("--image=ubuntu --volume=@@/d:/x/../etc ./app", "relative path"),
        ("--image=ubuntu --volume=@@/d ./app", "relative path"),
        ("--image=ubuntu --volume=@@/d:/data:rw ./app", "Unknown flag: rw"),
        ("--image=ubuntu --volume=@@/d:/data:rec ./app", "not allowed"),
        ("--image=ubuntu --env=A ./app", "Improperly formatted"),
        ("--image=ubuntu --env=A= ./app", "Improperly formatted"),
        ("--image=ubuntu --env-file=@@/none ./app", "environment file"),
        ("--image=docker://ubuntu ./app", "FAILED to lookup docker image //ubuntu"),
        ("--image=ubuntu:22.04 ./app", "FAILED to lookup"),
        ("--image=ubuntu --module=mpi/ch ./app", "Invalid shifter module"),
    ],
)
def test_shifter_refuses(stub: Stub, line: str, said: str) -> None:
    stub.refuses(shifter.main, line, said, has={"STUB_IMAGES": '["ubuntu"]'})


def test_shifter_takes_a_folder_behind_workdir_for_the_program(stub: Stub) -> None:
    stub.refuses(shifter.main, "--image=ubuntu --workdir @@/d ./app", "Permission denied", 127)


def test_shifterimg(stub: Stub) -> None:
    has = {"STUB_STORE": str(stub.folder / "store"), "STUB_IMAGES": '["debian"]', "STUB_REGISTRY": '["ubuntu:24.04"]'}
    stub.refuses(shifterimg.main, "lookup docker:ubuntu:24.04", "FAILED to lookup", has=has)
    assert "status: READY" in stub.run(shifterimg.main, "pull docker:ubuntu:24.04", **has)[1]
    assert len(stub.run(shifterimg.main, "lookup docker:ubuntu:24.04", **has)[1]) == 65
    assert "library/ubuntu:24.04" in stub.run(shifterimg.main, "images", **has)[1]
    assert stub.accepts(shifter.main, "--image=ubuntu:24.04 ./app", **has)["command"] == ["./app"]
    code, out, _ = stub.run(shifterimg.main, "pull docker:alpine", **has)
    assert (code, "FAILURE" in out) == (0, True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--bogus pull ubuntu", "unrecognized"),
        ("-u me pull ubuntu", "unrecognized"),
        ("fetch ubuntu", "Invalid mode"),
        ("", "Must specify mode"),
        ("pull", "image descriptor"),
    ],
)
def test_shifterimg_refuses(stub: Stub, line: str, said: str) -> None:
    stub.refuses(shifterimg.main, line, said)


# ------------------------------------------------------------------------------------ Sarus


def test_sarus(stub: Stub) -> None:
    line = (
        "run --mpi --mount=type=bind,source=@@/d,destination=/data,readonly --mount=type=bind,src=@@/f,dst=/f "
        "-w /data -e A=1,2 --env=B=x=y --device=/dev/fuse:rw ethcscs/mpich:ub1804 ./app -t"
    )
    said = stub.accepts(sarus.main, line)
    assert said["command"] == ["./app", "-t"]
    assert said["options"]["mounts"][0] == {"source": f"{stub.folder}/d", "target": "/data", "flags": "readonly"}
    assert said["options"]["env"] == {"A": "1,2", "B": "x=y"}
    assert said["options"]["mpi"] is True
    assert stub.accepts(sarus.main, f"run ubuntu@{DIGEST} true")["options"]["image"] == f"ubuntu@{DIGEST}"


def test_sarus_takes_no_entrypoint_as_a_word_of_its_own(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    assert sarus.main(["run", "--entrypoint", "", "ubuntu", "true"], {}) == 0
    assert json.loads(capsys.readouterr().out)["options"]["entrypoint"] == "(none)"


def test_sarus_keeps_images(stub: Stub) -> None:
    has = {"STUB_STORE": str(stub.folder / "store"), "STUB_IMAGES": "[]", "STUB_REGISTRY": '["ubuntu:24.04"]'}
    assert stub.run(sarus.main, "pull ubuntu:24.04", **has)[0] == 0
    assert "library/ubuntu   24.04" in stub.run(sarus.main, "images", **has)[1]
    assert stub.accepts(sarus.main, "run ubuntu:24.04 true", **has)["command"] == ["true"]
    assert stub.run(sarus.main, "load @@/f me/app:1", **has)[0] == 0
    assert stub.accepts(sarus.main, "run load/me/app:1 true", **has)["command"] == ["true"]
    assert stub.run(sarus.main, "rmi ubuntu:24.04", **has)[0] == 0
    stub.refuses(sarus.main, "run ubuntu:24.04 true", "is not available", has=has)
    stub.refuses(sarus.main, "pull alpine", "Failed to pull", has=has)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run --bogus ubuntu true", "unrecognised option '--bogus'"),
        ("run docker://ubuntu true", "Invalid image reference"),
        ("run docker:ubuntu:24.04 true", "Invalid image reference"),
        ("run Ubuntu true", "Invalid image reference"),
        ("run ../x true", "'..'"),
        ("run --mount=type=bind,source=@@/none,destination=/data ubuntu true", "Failed to find real path"),
        ("run --mount=type=bind,destination=/data ubuntu true", "no source specified"),
        ("run --mount=type=bind,source=@@/d ubuntu true", "no destination specified"),
        ("run --mount=source=@@/d,destination=/data ubuntu true", "'type' must be specified"),
        ("run --mount=type=bind,source=d,destination=/data ubuntu true", "absolute path"),
        ("run --mount=type=bind,source=@@/d,destination=/data,ro ubuntu true", "'ro' is not a valid"),
        ("run --mount=type=bind,source=@@/d,destination=/x,bind-propagation=slave ubuntu true", "is not a valid"),
        ("run --mount=type=bind,source=@@/d,destination=/etc/x ubuntu true", "destination cannot be"),
        ("run --mount=type=bind,source=@@/d,destination=/variable ubuntu true", "destination cannot be"),
        ("run --mount=type=bind,source=@@/a=b,destination=/x ubuntu true", "Invalid key-value pair"),
        ("run -w data ubuntu true", "needs to be an absolute path"),
        ("run --entrypoint= ubuntu true", "is missing"),
        ("run --workdir=/a --workdir=/b ubuntu true", "more than once"),
        ("run -e =x ubuntu true", "key is empty"),
        ("run --device=fuse ubuntu true", "must be absolute"),
        ("run --ssh --pid=host ubuntu true", "incompatible"),
        ("run", "Too few arguments"),
        ("images x", "Too many arguments"),
        ("exec ubuntu", "is not a Sarus command"),
        ("load @@/none x", "does not exist"),
    ],
)
def test_sarus_refuses(stub: Stub, line: str, said: str) -> None:
    stub.refuses(sarus.main, line, said)


# ------------------------------------------------------------------------------------ srun, Pyxis


def test_srun(stub: Stub) -> None:
    said = stub.accepts(srun.main, "--ntasks=4 -N2 --cpu-bind=verbose,map_cpu:0,1 --mpi=pmix --overlap ./app --mpi=x")
    assert said["command"] == ["./app", "--mpi=x"]
    assert said["options"]["slurm"] == {
        "ntasks": "4", "nodes": "2", "cpu-bind": "verbose,map_cpu:0,1", "mpi": "pmix", "overlap": "",
    }  # fmt: skip
    assert stub.accepts(srun.main, "--export=ALL,A='1,2' ./app")["options"]["export"] == ["ALL", "A='1,2'"]
    assert stub.run(srun.main, "--version")[1] == "slurm-wlm 22.05.8\n"


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ("--bogus ./app", "srun: unrecognized option '--bogus'", 255),
        ("--ntasks", "requires an argument", 255),
        ("--over ./app", "ambiguous", 255),
        ("--ntasks=x ./app", 'Invalid numeric value "x" for --ntasks', 1),
        ("--nodes=2-x ./app", "is not a valid node count", 1),
        ("--cpu-bind=bogus ./app", "unrecognized --cpu-bind", 1),
        ("--mpi=bogus ./app", "Invalid MPI type 'bogus'", 1),
        ("--gpus-per-node=a:b ./app", "generic resource", 1),
        ("--kill-on-bad-exit=x ./app", "Invalid numeric value", 1),
        ("-n 2", "No command given", 1),
    ],
)
def test_srun_refuses(stub: Stub, line: str, said: str, code: int) -> None:
    stub.refuses(srun.main, line, said, code)


def test_srun_asks_the_program_that_it_starts(stub: Stub) -> None:
    said = stub.accepts(srun.main, "-n 2 --image=ubuntu --volume=@@/d:/data shifter ./app")
    assert said["options"]["inner"]["options"]["mounts"][0]["target"] == "/data"
    stub.refuses(srun.main, "-n 2 --image=ubuntu --volume=@@/f:/data shifter ./app", "not directory")
    stub.refuses(srun.main, "sarus run docker://ubuntu true", "Invalid image reference")
    stub.refuses(srun.main, "docker run --bogus ubuntu", "task 0: Exited with exit code 125", 125)


def test_pyxis(stub: Stub) -> None:
    line = (
        "-n 2 --container-image=nvcr.io#nvidia/pytorch:24.01-py3 --container-mounts=@@/d:/data:ro+rprivate,@@/f "
        "--container-workdir=/data --container-env=A,B --no-container-mount-home --container-writable ./app"
    )
    options = stub.accepts(srun.main, line, A="1")["options"]
    assert options["mounts"][0] == {"source": f"{stub.folder}/d", "target": "/data", "flags": "ro+rprivate"}
    assert options["mounts"][1]["target"] == f"{stub.folder}/f"
    assert (options["env"], options["workdir"]) == ({"A": "1", "B": ""}, "/data")
    for image in ("@@/x.sqsh", "./x.sqsh", "docker://ubuntu", "me@ghcr.io#a/b:1", "localhost:5000/a/b:1"):
        assert stub.accepts(srun.main, f"--container-image={image} true")["options"]["image"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--container-mounts=data:/data", "mount source must be"),
        ("--container-mounts=@@/d:data", "mount target must be"),
        ("--container-mounts=@@/none:/data", "source path does not exist"),
        ("--container-mounts=@@/d:", "invalid format"),
        ("--container-mounts=", "argument required"),
        ("--container-mounts=@@/d:/data:ro:rprivate", "unknown mount option"),
        ("--container-mounts=@@/d:/data:readonly", "unknown mount option"),
        ("--container-mounts=@@/d:/data,", "invalid format"),
        ("--container-env=A,", "invalid format"),
        ("--container-writable --container-readonly", "both --container-writable"),
        ("--container-name=a/b", "Invalid argument"),
        ("--container-name=a:bogus", "flag must be"),
        ("--container-save=/tmp/", "target is a directory"),
        ("--container-workdir=", "argument required"),
        ("--container-unshare=pid", "unknown namespace"),
        ("--container-image=debian", "specified multiple times"),
    ],
)
def test_pyxis_refuses(stub: Stub, line: str, said: str) -> None:
    stub.refuses(srun.main, f"--container-image=ubuntu {line} ./app", said)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("@@/none.sqsh", "No such file"),
        ("@@/f", "Invalid image format"),
        ("x.sqsh", "failed to import"),
        ("Ubuntu", "Invalid image reference"),
        ("a#b#c", "Invalid image reference"),
        ("", "argument required"),
    ],
)
def test_pyxis_refuses_an_image(stub: Stub, image: str, said: str) -> None:
    stub.refuses(srun.main, f"--container-image={image} ./app", said)


def test_options_of_a_plugin_that_the_site_lacks_are_unknown(stub: Stub) -> None:
    stub.refuses(srun.main, "--container-image=ubuntu ./app", "unrecognized option", 255, {"STUB_SPANK": ""})
    stub.refuses(srun.main, "--container-bogus ./app", "unrecognized option", 255)


def test_an_image_of_enroot_in_a_header_needs_a_backslash(stub: Stub) -> None:
    assert srun.header("#!/bin/sh\n#SBATCH --container-image nvcr.io\\#nvidia/x:1\nsrun true\n", stub.environ)
    with pytest.raises(Refusal, match="unrecognized option '--bogus'"):
        srun.header("#!/bin/sh\n#SBATCH --bogus\n", {})
    with pytest.raises(Refusal, match="Invalid directive: x"):
        srun.header("#!/bin/sh\n#SBATCH -n 2 x\n", {})


# ------------------------------------------------------------------------------------ Container Engine

EDF = """# comment
image = "nvcr.io#nvidia/pytorch:24.01-py3"
mounts = [
    "${SCRATCH}/d:/data:ro+private",  # one
    "${SCRATCH}/x.sqsh:/x:sqsh",
]
workdir = "/data"
entrypoint = false
writable = true

[env]
A = "1"
B = "$${HOME} ${NONE:-x}"

[annotations.com.hooks.ssh]
enabled = "true"
[annotations]
com.hooks.cxi.enabled = "false"
"""


def test_the_container_engine(stub: Stub) -> None:
    (stub.folder / ".edf").mkdir()
    (stub.folder / ".edf" / "torch.toml").write_text(EDF, "utf-8")
    (stub.folder / "mine.toml").write_text('base_environment = "torch"\nmounts = ["./d:/more"]\n', "utf-8")
    options = stub.accepts(srun.main, "-n 2 --environment=torch ./app")["options"]
    assert options["mounts"][0] == {"source": f"{stub.folder}/d", "target": "/data", "flags": "ro+private"}
    assert options["env"] == {"A": "1", "B": "${HOME} x"}
    assert (options["workdir"], options["flags"]) == ("/data", ["writable"])
    options = stub.accepts(srun.main, "--environment=./mine.toml ./app")["options"]
    assert [mount["target"] for mount in options["mounts"]] == ["/data", "/x", "/more"]
    stub.refuses(srun.main, "--environment=torch.toml ./app", "not found in the search path")
    stub.refuses(srun.main, "--environment=sub/torch ./app", "neither an absolute path")
    stub.refuses(srun.main, "--environment=/none.toml ./app", "no such file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('imag = "ubuntu"', "unknown key 'imag'"),
        ('image = "ubuntu"\nwritable = "yes"', "writable must be of type bool"),
        ('image = "ubuntu"\nmounts = "/a:/b"', "mounts must be of type list"),
        ('image = "ubuntu"\nmounts = [1]', "mounts must hold strings"),
        ('image = "ubuntu"\nmounts = ["${SCRATCH}/none:/data"]', "does not exist"),
        ('image = "ubuntu"\nmounts = ["$SCRATCH/d:/data"]', "must be absolute"),
        ('image = "ubuntu"\nmounts = ["${NONE}/d:/data"]', "variable NONE is not set"),
        ('image = "ubuntu"\nmounts = ["${SCRATCH}/d"]', "is not SOURCE:DESTINATION"),
        ('image = "ubuntu"\nmounts = ["${SCRATCH}/d:/data:ro:private"]', "is not SOURCE:DESTINATION"),
        ('image = "ubuntu"\nmounts = ["${SCRATCH}/d:/data:readonly"]', "unknown flag"),
        ('image = "ubuntu"\nmounts = ["${SCRATCH}/d:/data:sqsh"]', "does not exist"),
        ('image = "ubuntu"\nmounts = ["${SCRATCH}/x.sqsh:/data:sqsh+ro"]', "only flag"),
        ('image = "/none.sqsh"', "No such file"),
        ('image = "docker://ubuntu"', "is not [USER@]"),
        ('image = "ubuntu"\nworkdir = "data"', "must be absolute"),
        ('image = "ubuntu"\n[env]\nA = 1', "env.A must be a string"),
        ('image = "ubuntu"\n[annotations]\ncom.x = true', "annotations.com.x must be a string"),
        ("image = ubuntu", "bad.toml:"),
        ('base_environment = "./bad.toml"', "more than 10 levels"),
    ],
)
def test_the_container_engine_refuses(stub: Stub, text: str, said: str) -> None:
    (stub.folder / "bad.toml").write_text(f"{text}\n", "utf-8")
    stub.refuses(srun.main, "--environment=./bad.toml ./app", said)


def test_the_tiny_reader_of_toml_reads_what_python_s_does() -> None:
    assert tinytoml.tiny(EDF) == tinytoml.loads(EDF)
    text = 'a = [1, 2.5, true, \'x\\\', "\\u00e9\\"", []]\n"b c".d = -3\n[t.u]\nv = "#" # w\n'
    assert tinytoml.tiny(text) == tinytoml.loads(text)
    for wrong in ("a = b", "a", "a = 1 b = 2", "a = [1", "[a", "a = 1\na = 2", "a = 1\n[a]", "= 1", "a = [1 2]"):
        with pytest.raises(tinytoml.TOMLError):
            tinytoml.tiny(wrong)
        with pytest.raises(tinytoml.TOMLError):
            tinytoml.loads(wrong)


# ------------------------------------------------------------------------------------ Enroot


def test_enroot(stub: Stub) -> None:
    assert stub.run(enroot.main, "import -o @@/app.sqsh docker://nvcr.io#nvidia/cuda:12.0")[0] == 0
    assert images.inspect(f"{stub.folder}/app.sqsh").kind == "squashfs"
    line = "start --rw -m @@/d:/data -m @@/f:/f:ro --env A=1 @@/app.sqsh ./app -x"
    said = stub.accepts(enroot.main, line)
    assert said["command"] == ["./app", "-x"]
    assert [mount["target"] for mount in said["options"]["mounts"]] == ["/data", "/f"]
    assert said["options"]["env"] == {"A": "1"}


def test_enroot_keeps_containers(stub: Stub) -> None:
    has = {"STUB_STORE": str(stub.folder / "store")}
    stub.refuses(enroot.main, "start x true", "No such file", has=has)
    assert stub.run(enroot.main, "create @@/x.sqsh", **has)[0] == 0
    stub.refuses(enroot.main, "create @@/x.sqsh", "already exists", has=has)
    assert stub.run(enroot.main, "list", **has)[1] == "x\n"
    assert stub.accepts(enroot.main, "start x true", **has)["options"]["image"] == "x"
    assert stub.accepts(srun.main, "--container-name=x true", **has)["options"]["name"] == "x"
    assert stub.run(enroot.main, "remove -f x", **has)[0] == 0
    stub.refuses(enroot.main, "remove x", "No such file", has=has)
    stub.refuses(srun.main, "--container-name=x true", "does not exist", has=has)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("start --bogus @@/x.sqsh true", "Usage: enroot start"),
        ("start -rw @@/x.sqsh true", "Usage: enroot start"),
        ("start --env= @@/x.sqsh true", "Usage: enroot start"),
        ("start -m @@/none:/data @@/x.sqsh true", "No such file or directory"),
        ("start -m @@/d:/data:readonly @@/x.sqsh true", "invalid mount options"),
        ("start -m @@/d: @@/x.sqsh true", "Invalid argument"),
        ("start -m @@/d:/data:none:ro,bogus @@/x.sqsh true", "invalid mount options"),
        ("start --env 1A=2 @@/x.sqsh true", "Invalid argument: 1A=2"),
        ("start @@/f true", "Invalid argument"),
        ("import nvcr.io#nvidia/cuda", "Invalid argument"),
        ("import docker://Nvidia", "Invalid image reference"),
        ("import -o @@/f docker://ubuntu", "File already exists"),
        ("import -o @@/none/f docker://ubuntu", "No such file"),
        ("create @@/f", "Invalid image format"),
        ("create @@/none", "No such file"),
        ("bogus", "Usage"),
        ("import", "Usage: enroot import"),
    ],
)
def test_enroot_refuses(stub: Stub, line: str, said: str) -> None:
    stub.refuses(enroot.main, line, said)


def test_enroot_refuses_what_no_registry_has(stub: Stub) -> None:
    stub.refuses(enroot.main, "import docker://ubuntu", "401", has={"STUB_REGISTRY": "[]"})


# ------------------------------------------------------------------------------------ Docker


def test_docker(stub: Stub) -> None:
    line = (
        "run --rm --gpus all --network=host --ipc=host --ulimit memlock=-1 --device=/dev/infiniband -v @@/d:/data:ro "
        "--mount type=bind,source=@@/f,target=/f,readonly -w /data -e A=1 -e B -e C --env-file @@/f --user 1:1 "
        "ubuntu:24.04 ./app --rm"
    )
    said = stub.accepts(docker.main, line, B="2")
    assert said["command"] == ["./app", "--rm"]
    assert said["options"]["mounts"][0] == {"source": f"{stub.folder}/d", "target": "/data", "flags": "ro"}
    assert said["options"]["env"] == {"A": "1", "B": "2"}
    assert stub.accepts(docker.main, f"run ubuntu@{DIGEST} true")["command"] == ["true"]


def test_docker_makes_what_v_does_not_find(stub: Stub) -> None:
    mounts = stub.accepts(docker.main, "run -v @@/none:/data -v name:/x ubuntu")["options"]["mounts"]
    assert [mount.get("created", mount.get("type")) for mount in mounts] == ["folder", "volume"]


def test_docker_pulls_saves_and_loads(stub: Stub) -> None:
    has = {"STUB_STORE": str(stub.folder / "s"), "STUB_IMAGES": '["debian"]', "STUB_REGISTRY": '["ubuntu", "alpine"]'}
    assert stub.accepts(docker.main, "run alpine true", **has)["options"]["pulled"] is True
    assert "pulled" not in stub.accepts(docker.main, "run debian:latest true", **has)["options"]
    stub.refuses(docker.main, "run --pull=never ubuntu true", "No such image", 125, has=has)
    stub.refuses(docker.main, "run busybox true", "pull access denied", 125, has=has)
    stub.refuses(docker.main, "save -o @@/u.tar ubuntu", "No such image", has=has)
    assert stub.run(docker.main, "pull ubuntu", **has)[1] == "docker.io/library/ubuntu:latest\n"
    assert stub.run(docker.main, "save -o @@/u.tar ubuntu", **has)[0] == 0
    with tarfile.open(stub.folder / "u.tar") as archive:
        assert archive.getnames() == ["manifest.json", "config.json"]
    has["STUB_STORE"] = str(stub.folder / "other")
    assert stub.run(docker.main, "load -i @@/u.tar", **has)[1] == "Loaded image: ubuntu\n"
    assert json.loads(stub.run(docker.main, "image inspect ubuntu", **has)[1])[0]["RepoTags"] == ["ubuntu:latest"]
    assert "docker.io/library/ubuntu:latest" in stub.run(docker.main, "images", **has)[1]
    stub.refuses(docker.main, "pull busybox", "manifest unknown", has=has)


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ("run --bogus ubuntu", "unknown flag: --bogus", 125),
        ("run --vol=/a:/b ubuntu", "unknown flag: --vol", 125),
        ("run", "requires at least 1 arg", 125),
        ("run -e", "flag needs an argument", 125),
        ("run --rm=maybe ubuntu", 'invalid argument "maybe"', 125),
        ("run docker://ubuntu", "invalid reference format", 125),
        ("run Ubuntu", "must be lowercase", 125),
        ("run --mount type=bind,src=@@/none,dst=/a ubuntu", "bind source path does not exist", 125),
        ("run --mount type=bind,src=@@/d,dst=/a,bogus=1 ubuntu", "unexpected key 'bogus'", 125),
        ("run --mount type=bind,src=d,dst=/a ubuntu", "must be absolute", 125),
        ("run -v @@/d:data ubuntu", "mount path must be absolute", 125),
        ("run -v ~/d:/data ubuntu", "invalid characters for a local volume name", 125),
        ("run -v d/e:/data ubuntu", "invalid characters for a local volume name", 125),
        ("run -v @@/d:/data:bogus ubuntu", "invalid mode", 125),
        ("run -v @@/d:/data:ro:z ubuntu", "invalid volume specification", 125),
        ("run -v @@/d:/data -v @@/f:/data ubuntu", "Duplicate mount point", 125),
        ("run -w data ubuntu", "needs to be an absolute path", 125),
        ("run -e =x ubuntu", "invalid environment variable: =x", 125),
        ("run --env-file @@/none ubuntu", "no such file", 125),
        ("run --ulimit memlock ubuntu", "invalid ulimit argument", 125),
        ("run --gpus x,y ubuntu", "invalid count", 125),
        ("run --device fuse ubuntu", "bad format for path", 125),
        ("pull a b", "requires 1 argument", 1),
        ("save", "requires at least 1 argument", 1),
        ("save ubuntu", "cowardly", 1),
        ("bogus", "unknown command", 1),
        ("load -i @@/f", "no such file", 1),
    ],
)
def test_docker_refuses(stub: Stub, line: str, said: str, code: int) -> None:
    stub.refuses(docker.main, line, said, code)


# ------------------------------------------------------------------------------------ podman-hpc


def test_podman_hpc(stub: Stub) -> None:
    line = "run --rm --gpu --mpi -v @@/d:/data:ro -w /data -e A=1 -e SLURM_* --userns keep-id ubuntu:24.04 ./app"
    options = stub.accepts(podman_hpc.main, line, SLURM_PROCID="0")["options"]
    assert (options["modules"], options["shared"]) == (["gpu", "mpi"], True)
    assert options["env"] == {"A": "1", "SLURM_PROCID": "0"}
    options = stub.accepts(podman_hpc.main, "run --openmpi-pmix localhost/app:1 ./app")["options"]
    assert "shared" not in options
    assert stub.accepts(podman_hpc.main, "shared-run --rm ubuntu ./app")["options"]["shared"] is True


def test_podman_hpc_takes_the_flags_of_modules_from_the_program(stub: Stub) -> None:
    assert stub.accepts(podman_hpc.main, "run ubuntu ./app --gpu")["command"] == ["./app"]
    assert stub.accepts(podman_hpc.main, "run -- ubuntu ./app --gpu -- x")["command"] == ["./app", "--gpu", "--", "x"]
    assert stub.accepts(podman_hpc.main, "run ubuntu ./app -- --gpu")["command"] == ["./app", "--gpu"]
    assert "Usage" in stub.run(podman_hpc.main, "run ubuntu ./app --help")[1]
    code, _, err = stub.run(podman_hpc.main, "run --mpi --cuda-mpi ubuntu ./app")
    assert (code, "cannot be used together" in err) == (0, True)


def test_podman_hpc_keeps_images(stub: Stub) -> None:
    has = {"STUB_STORE": str(stub.folder / "s"), "STUB_IMAGES": '["debian"]', "STUB_REGISTRY": '["ubuntu"]'}
    assert "Migrating" in stub.run(podman_hpc.main, "pull ubuntu", **has)[1]
    assert "docker.io/library/ubuntu  latest" in stub.run(podman_hpc.main, "images", **has)[1]
    assert stub.run(podman_hpc.main, "rmsqi ubuntu", **has)[0] == 0
    stub.refuses(podman_hpc.main, "migrate alpine", "not found", has=has)
    stub.refuses(podman_hpc.main, "pull alpine", "Pull failed", 125, has=has)
    (stub.folder / "d" / "Containerfile").write_text("FROM ubuntu\n", "utf-8")
    assert stub.run(podman_hpc.main, "build -t app:1 @@/d", **has)[0] == 0
    assert stub.run(podman_hpc.main, "migrate localhost/app:1", **has)[0] == 0


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ("run --bogus ubuntu", "unknown flag: --bogus", 125),
        ("run --gpus=all ubuntu", "unknown flag: --gpus", 125),
        ("run -v @@/none:/data ubuntu", "statfs", 125),
        ("run -v @@/d:data ubuntu", "must be absolute", 125),
        ("run -v @@/d:/data:bogus ubuntu", "invalid mode", 125),
        ("run --mount type=bind,src=@@/none,dst=/a ubuntu", "does not exist", 125),
        ("run -e =x ubuntu", "invalid environment variable", 125),
        ("run Ubuntu", "must be lowercase", 125),
        ("run", "requires at least 1 arg", 125),
        ("bogus", "unrecognized command", 125),
        ("migrate", "Missing argument", 2),
        ("build @@/d", "no Containerfile", 125),
    ],
)
def test_podman_hpc_refuses(stub: Stub, line: str, said: str, code: int) -> None:
    stub.refuses(podman_hpc.main, line, said, code)


# ------------------------------------------------------------------------------------ SingularityCE


def test_singularity(stub: Stub) -> None:
    assert stub.run(singularity.main, "--version")[1] == "singularity-ce version 4.1.2\n"
    assert stub.run(singularity.main, "--silent pull @@/x.sif docker://ubuntu:24.04")[0] == 0
    assert images.inspect(f"{stub.folder}/x.sif").arch == "x86_64"
    line = (
        "--silent exec --nv -B @@/d:/data:ro,@@/f --mount type=bind,source=@@/d,destination=/m,ro --pwd /data "
        "--env A=1,2 --env B=1,C=2 @@/x.sif ./app --nv"
    )
    said = stub.accepts(singularity.main, line)
    assert said["command"] == ["./app", "--nv"]
    assert said["options"]["env"] == {"A": "1,2", "B": "1", "C": "2"}
    assert [mount["target"] for mount in said["options"]["mounts"]] == ["/data", f"{stub.folder}/f", "/m"]
    assert said["options"]["mounts"][0]["flags"] == "ro"


def test_singularity_s_images(stub: Stub) -> None:
    assert stub.run(singularity.main, "build @@/a.sif docker-archive:@@/f")[0] == 0
    assert not sif.read(stub.folder / "a.sif").signatures
    stub.refuses(singularity.main, "build @@/a.sif docker-archive:@@/f", "will not overwrite", 255)
    stub.refuses(singularity.main, "verify @@/a.sif", "signature not found", 255)
    assert stub.run(singularity.main, "sign @@/a.sif")[0] == 0
    assert stub.run(singularity.main, "verify @@/a.sif")[0] == 0
    assert len(sif.read(stub.folder / "a.sif").signatures) == 1
    assert stub.run(singularity.main, "build --encrypt --pem-path @@/f @@/e.sif @@/a.sif")[0] == 0
    assert sif.read(stub.folder / "e.sif").encrypted
    assert stub.run(singularity.main, "overlay create --size 128 @@/o.img")[0] == 0
    assert stub.accepts(singularity.main, "run --overlay @@/o.img:ro @@/a.sif")["options"]["overlay"]
    assert stub.run(singularity.main, "inspect --json @@/a.sif")[0] == 0
    has = {"STUB_STORE": str(stub.folder / "s")}
    assert stub.accepts(singularity.main, "instance start @@/a.sif db", **has)["options"]["instance"] == "db"
    assert stub.accepts(singularity.main, "exec instance://db true", **has)["command"] == ["true"]
    assert "db" in stub.run(singularity.main, "instance list", **has)[1]
    assert stub.run(singularity.main, "instance stop db", **has)[0] == 0
    stub.refuses(singularity.main, "exec instance://db true", "no instance found", 255, has=has)
    stub.refuses(singularity.main, "instance stop db", "no instance found", 255, has=has)


@pytest.mark.parametrize(
    ("line", "said", "code"),
    [
        ("exec --bogus @@/d true", "unknown flag: --bogus", 1),
        ("exec --sharens @@/d true", "unknown flag: --sharens", 1),
        ("exec @@/d", "requires at least 2 arg", 1),
        ("exec @@/none.sif true", "could not open image", 255),
        ("exec -B @@/none:/data @@/d true", "doesn't exist", 255),
        ("exec -B @@/d:/data:bogus @@/d true", "is not a valid bind option", 255),
        ("exec --mount type=bind,src=@@/d,dst=/a,bogus=1 @@/d true", "invalid key", 255),
        ("exec --mount type=tmpfs,dst=/a @@/d true", "unsupported mount type", 255),
        ("exec --mount type=bind,src=@@/d @@/d true", "must specify a source and a destination", 255),
        ("exec --env A @@/d true", "must be formatted as key=value", 1),
        ("exec --overlay @@/none @@/d true", "failed to open overlay", 255),
        ("exec docker://Ubuntu true", "invalid reference", 255),
        ("pull ubuntu", "unsupported transport", 255),
        ("build @@/x.sif docker-archive:@@/none", "no such file", 255),
        ("verify @@/f", "invalid SIF magic", 255),
        ("overlay create --size 1 @@/o", "64 MiB", 255),
        ("bogus", "unknown command", 1),
    ],
)
def test_singularity_refuses(stub: Stub, line: str, said: str, code: int) -> None:
    stub.refuses(singularity.main, line, said, code)


# ------------------------------------------------------------------------------------ as programs


def test_they_are_programs(stub: Stub) -> None:
    install(stub.folder / "bin")
    assert sorted(path.name for path in (stub.folder / "bin").iterdir()) == sorted(PROGRAMS)
    line = [str(stub.folder / "bin" / "srun"), "-n2", "podman-hpc", "run", "--rm", "--gpu", "ubuntu", "./a b"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["options"]["inner"]["command"] == ["./a b"]
    done = subprocess.run([line[0], "--bogus"], capture_output=True, text=True, check=False, env={})
    assert (done.returncode, done.stdout) == (255, "")


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_each_is_a_program(stub: Stub, program: str) -> None:
    install(stub.folder / "bin")
    line = [str(stub.folder / "bin" / program), "--bogus"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env={})
    assert done.returncode
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
