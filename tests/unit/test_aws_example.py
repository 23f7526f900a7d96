"""What the how-to of AWS ParallelCluster and its example files say holds, as far as that shows without AWS."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import string
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpcjobs import process
from hpcjobs.__main__ import main
from hpcjobs.cli.app import Verbs, root
from hpcjobs.site import detect
from hpcjobs.site.loading import load
from hpcjobs.testing import FakeSlurm
from tests.stubs import images

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "examples/aws-parallelcluster"
PAGE = ROOT / "docs/how-to/run-on-aws-parallelcluster.md"
SITE = ROOT / "site-configs/aws-parallelcluster.yaml"
KEYS = ROOT / "tests/data/aws/parallelcluster-3.16.1.json"
FILES = sorted(path for path in EXAMPLE.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".sh"]
VALUES = {
    "REGION": "us-east-2", "HEAD_SUBNET": "subnet-head", "COMPUTE_SUBNET": "subnet-compute", "KEY_NAME": "lab",
    "ALLOWED_IPS": "192.0.2.0/24", "BUCKET": "lab-bucket", "PARENT_IMAGE": "ami-official",
}  # fmt: skip
# The hosts that a user really needs.
HOSTS = {"efa-installer.amazonaws.com"}


def name_of(path: Path) -> str:
    return str(path.relative_to(EXAMPLE))


def commands(first: str) -> list[str]:
    """The lines of the page's consoles that begin with that program."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return re.findall(rf"^\$ ({first} .*)$", "\n".join(blocks), re.MULTILINE)


def filled(name: str) -> Any:
    """A configuration as envsubst would fill it in."""
    return yaml.safe_load(string.Template((EXAMPLE / name).read_text("utf-8")).substitute(VALUES))


def unknown(value: Any, keys: dict[str, Any], path: str = "") -> list[str]:
    """The keys of a configuration that ParallelCluster does not know."""
    if isinstance(value, list):
        return [wrong for each in value for wrong in unknown(each, keys, path)]
    if not isinstance(value, dict):
        return []
    found = [f"{path}/{key}" for key in value if key not in keys]
    return found + [wrong for key in value if key in keys for wrong in unknown(value[key], keys[key], f"{path}/{key}")]


# ---------------------------------------------------------------------------------- configurations


@pytest.mark.parametrize(
    ("name", "verb"),
    [("cluster.yaml", "create-cluster"), ("cluster-pyxis.yaml", "create-cluster"), ("ami.yaml", "build-image")],
)
def test_parallelcluster_knows_every_key(name: str, verb: str) -> None:
    keys = json.loads(KEYS.read_text("utf-8"))[verb]
    assert unknown(filled(name), keys) == []
    assert unknown({"HeadNode": {"Iam": [{"Nmae": 1}]}}, {"HeadNode": {"Iam": {"Name": {}}}}) == ["/HeadNode/Iam/Nmae"]


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster-pyxis.yaml"])
def test_the_clusters_have_what_the_page_says(name: str) -> None:
    cluster = filled(name)
    queues = {queue["Name"]: queue for queue in cluster["Scheduling"]["SlurmQueues"]}
    assert list(queues) == ["cpu", "gpu"]
    assert all(resource["Efa"]["Enabled"] for resource in queues["cpu"]["ComputeResources"])
    assert queues["cpu"]["Networking"]["PlacementGroup"]["Enabled"]
    assert [storage["MountDir"] for storage in cluster["SharedStorage"]] == ["/shared", "/fsx"]
    policies = [policy["Policy"] for policy in cluster["HeadNode"]["Iam"]["AdditionalIamPolicies"]]
    assert policies == ["arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"]


def test_the_page_gives_every_variable_and_uploads_every_script() -> None:
    page = PAGE.read_text("utf-8")
    for path in (EXAMPLE / "cluster.yaml", EXAMPLE / "cluster-pyxis.yaml", EXAMPLE / "ami.yaml"):
        text = path.read_text("utf-8")
        for variable in re.findall(r"\$(\w+)", text):
            assert f"{variable}=" in page, (path.name, variable)
        for script in re.findall(r"s3://\$BUCKET/(\S+)", text):
            assert (EXAMPLE / script).is_file()
            assert f'aws s3 cp {script} "s3://$BUCKET/"' in page
    for path in FILES:
        assert path.name in page or path.parent.name in page, path


def test_each_cluster_runs_its_script_on_all_nodes() -> None:
    def scripts(name: str) -> list[tuple[str, str]]:
        cluster = filled(name)
        parts = [cluster["HeadNode"], *cluster["Scheduling"]["SlurmQueues"]]
        return [(when, what["Script"]) for part in parts for when, what in part["CustomActions"].items()]

    apptainer, pyxis = "s3://lab-bucket/install-apptainer.sh", "s3://lab-bucket/enable-pyxis.sh"
    assert scripts("cluster.yaml") == [("OnNodeConfigured", apptainer)] * 3
    # ParallelCluster's own instructions: before slurmd begins, and on the head node when Slurm is there.
    assert scripts("cluster-pyxis.yaml") == [("OnNodeConfigured", pyxis), *[("OnNodeStart", pyxis)] * 2]


# ----------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_scripts_are_right(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert script.read_text("utf-8").startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", script], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", script], check=True)


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A folder that is all of PATH; what is called is written into `called` beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "sleep", 'echo "sleep $*" >>"${0%/*}"/../called')
    return folder


def install(node: Path) -> tuple[int, list[str]]:
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, EXAMPLE / "install-apptainer.sh"], env={"PATH": str(node)}, capture_output=True, check=False
    )
    called = node.parent / "called"
    return done.returncode, called.read_text().splitlines() if called.exists() else []


def test_apptainer_is_installed_once(node: Path) -> None:
    log = 'here=${0%/*}; echo "${0##*/} $*" >>"$here"/../called'
    # The first answer of a busy mirror is none.
    program(node, "add-apt-repository", f'{log}; [[ -e $here/../busy ]] || {{ : >"$here"/../busy; exit 1; }}')
    apptainer = node.parent / "apptainer"
    program(node.parent, "apptainer", ":")
    program(node, "apt-get", f'{log}; [[ $* != *install* ]] || {shutil.which("ln")} -s {apptainer} "$here"/apptainer')
    code, called = install(node)
    assert code == 0
    assert called == [
        "add-apt-repository --yes --no-update ppa:apptainer/ppa",
        "sleep 5",
        "add-apt-repository --yes --no-update ppa:apptainer/ppa",
        "apt-get --quiet --yes -o DPkg::Lock::Timeout=300 update",
        "apt-get --quiet --yes -o DPkg::Lock::Timeout=300 install apptainer",
    ]
    assert install(node) == (0, called)


def test_a_node_whose_apptainer_cannot_be_installed_does_not_start(node: Path) -> None:
    assert install(node) == (1, [])
    program(node, "add-apt-repository", "exit 1")
    assert install(node) == (1, ["sleep 5", "sleep 20", "sleep 60"])


# ------------------------------------------------------------------------------------------ images


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.debian"])
def test_dockerfiles(name: str) -> None:
    text = (EXAMPLE / "image" / name).read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    steps = "\n".join(lines).replace("\\\n", " ").splitlines()
    words = [step.split() for step in steps]
    assert words[0][0] == "FROM"
    assert {each[0] for each in words} <= {"FROM", "ARG", "RUN", "ENV", "COPY"}
    for copy in (each for each in words if each[0] == "COPY"):
        assert (EXAMPLE / "image" / copy[1]).is_file()
    for run in (step for step in steps if step.startswith("RUN")):
        subprocess.run(["bash", "-n", "-c", run.removeprefix("RUN ")], check=True)
    assert f"docker build -t app {'' if name == 'Dockerfile' else f'-f image/{name} '}image" in text


@pytest.mark.skipif(not shutil.which("mpicc.mpich"), reason="needs a compiler for MPI")
def test_the_program_measures(tmp_path: Path) -> None:
    source = EXAMPLE / "image/pingpong.c"
    subprocess.run(["mpicc.mpich", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "pingpong", source], check=True)
    alone = subprocess.run([tmp_path / "pingpong"], capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stderr) == (2, "pingpong: two ranks are needed, there is 1\n")


# ------------------------------------------------------------------------------------------- sites


def test_the_site_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    cluster = detect.Machine(
        env={},
        which=lambda name: f"/opt/slurm/bin/{name}" if name == "sbatch" else None,
        exists=lambda path: path == "/etc/parallelcluster/cfnconfig",
        hostname="ip-10-0-0-7",
        read=lambda _: "",
    )
    assert detect.detect(cluster).name == "aws-parallelcluster"
    # Installed as the page says, the lab's own hides it.
    own = tmp_path / "hpcjobs/sites/aws-parallelcluster.yaml"
    own.parent.mkdir(parents=True)
    shutil.copy(EXAMPLE / "site.yaml", own)
    assert detect.detect(cluster).path == own


@pytest.mark.parametrize(("name", "runtime"), [("site.yaml", "apptainer"), ("site-pyxis.yaml", "pyxis")])
def test_the_sites_of_the_lab(name: str, runtime: str) -> None:
    site, inherited = load(file=str(EXAMPLE / name)).site, load(file=str(SITE)).site
    assert site.runtimes[0].kind == runtime
    assert site.mpi.default == "pmix"
    assert site.scheduler.limits == "ask"
    # A list replaces what is inherited: what ranks need for PMIx must be in it again; Enroot shows it by itself.
    assert (set(inherited.bind) <= set(site.bind)) == (runtime == "apptainer")
    mounts = {storage["MountDir"] for storage in filled("cluster.yaml")["SharedStorage"]}
    assert mounts <= set(site.bind)


# ---------------------------------------------------------------------------------------- commands


class Cloud(FakeSlurm):
    """A Slurm with the queues of `cluster.yaml`."""

    @staticmethod
    def _sinfo(_: list[str]) -> tuple[int, str, str]:
        nodes = "cpu*|infinite|8|192|747110|(null)|1-infinite\ngpu|infinite|8|48|186777|gpu:l4:4|1-infinite\n"
        return 0, nodes, ""


@pytest.mark.parametrize("line", commands("hpcjob"))
def test_commands_of_the_page_are_understood(line: str) -> None:
    verb: Any = root()
    words = shlex.split(line)[1:]
    while isinstance(verb, Verbs):
        verb = verb.get_command(None, words.pop(0))
    verb.make_context("verb", words)


@pytest.mark.parametrize("line", [line for line in commands("hpcjob") if " submit " in line])
def test_jobs_of_the_page_can_run(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HPCJOBS_SITE", "HPCJOBS_SITE_PATH", "HPCJOBS_LOG", "SLURM_CONF"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, "run", Cloud())
    images.write_sif(tmp_path / "app.sif", "app")
    words = shlex.split(re.sub(r"docker://\S+", "app.sif", line))[1:]
    words = [word for word in words if word != "--wait"]
    code = main([words[0], "--dry-run", f"--site-file={EXAMPLE / 'site.yaml'}", *words[1:]])
    script, told = capsys.readouterr()
    assert code == 0, told
    gpus = "--gpus-per-node" in words
    assert f"#SBATCH --partition={'gpu' if gpus else 'cpu'}\n" in script
    assert ("#SBATCH --gpus-per-node=4\n" in script) == gpus
    assert "--bind /var/spool/slurmd --bind /fsx --bind /shared" in script
    if "--nodes" in words and "hybrid" not in words:  # that goes by the image's MPI, and this image has none
        assert "--mpi=pmix" in script
    for each in re.findall(r"--env (\w+)=", line):
        assert f"APPTAINERENV_{each}=" in script


# ------------------------------------------------------------------------------------ what is absent


@pytest.mark.parametrize("path", [*FILES, PAGE, SITE], ids=lambda path: path.name)
def test_nothing_of_anybody_is_in_the_files(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.findall(r"\b\d{12}\b", text) == [], "an account"
    assert re.findall(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", text) == [], "a key"
    assert re.findall(r"\b(?:subnet|ami|vpc|sg|fs|i)-[0-9a-f]{8,17}\b", text) == [], "something that belongs to someone"
    if path.is_relative_to(EXAMPLE):
        assert set(re.findall(r"https?://([^/\s\"]+)", text)) <= HOSTS
