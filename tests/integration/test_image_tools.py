"""Images looked into, converted, built, signed and thrown away, by the real tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.service import Service
from tests.integration import images
from tests.integration.conftest import CLUSTER, Cli
from tests.integration.images import Registries, run_image, sidecar, tool
from tests.integration.test_image_pull import HPC, SITE

pytestmark = pytest.mark.integration
made, small, registries, registry = images.made, images.small, images.registries, images.registry


@pytest.fixture
def site(slurm: Callable[..., str], home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("USER", "root")
    # Root may lack capabilities in a VM or container, and building wants them all: in a user namespace it has them.
    shim(home, "apptainer", f"unshare --user --map-root-user {shutil.which('apptainer')}", monkeypatch)
    file = home / "both.yaml"
    file.write_text(SITE.format(folder=home / "images"))
    return str(file)


def shim(home: Path, name: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program on PATH that runs that command."""
    file = home / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    file.chmod(0o755)
    if str(file.parent) not in os.environ["PATH"]:
        monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")


def left(home: Path, *besides: str) -> list[str]:
    """What lies in the folder, but for what fixtures made."""
    return sorted({path.name for path in home.iterdir()} - {"bin", "both.yaml", "home", *besides})


# -------------------------------------------------------------------------------------------- inspect


def inspected(cli: Cli, image: str | Path) -> dict[str, Any]:
    found = json.loads(cli("image", "inspect", "--json", str(image)).stdout)["image"]
    text = cli("image", "inspect", str(image)).stdout
    assert f"format      {found['format']}\n" in text
    assert found["path"] in text
    return dict(found)


def test_an_image_in_each_form_tells_what_it_is(cli: Cli, made: Path, registry: Registries) -> None:
    app = ("x86_64", "libmpich.so.12", "glibc")
    for name, form in (("app.sif", "sif"), ("app.sqfs", "squashfs"), ("app", "directory")):
        found = inspected(cli, made / name)
        assert found["format"] == form
        assert (found["arch"], found["mpi"][0]["name"], found["libc"]) == app
        if form != "directory":
            assert found["digest"] == f"sha256:{tool('sha256sum', made / name).split()[0]}"
            assert found["size"] == (made / name).stat().st_size
    remote = f"docker://{registry.open}/hpcjobs/app:1.0"
    for image, form in ((made / "app.docker.tar", "docker-archive"), (made / "app.oci", "oci-layout"), (remote, "")):
        found = inspected(cli, image)
        assert found["format"] == (form or "registry")
        assert found["arch"] == "x86_64"
        assert found["entrypoint"] == "/opt/entrypoint"
        assert found["cmd"] == "echo 'default command'"
        assert found["workdir"] == "/data"
        assert found["environment"]["GREETING"] == "from image"
        assert found["labels"]["org.hpcjobs.purpose"] == "tests"
    assert found["digest"] == registry.digest("hpcjobs/app:1.0")
    assert found["path"] == f"{remote}@{found['digest']}"


def test_a_sif_file_tells_of_apps_signatures_and_encryption(cli: Cli, made: Path) -> None:
    scif = inspected(cli, made / "scif.sif")
    assert scif["apps"] == ["count", "hello"]
    assert scif["runscript"]
    assert scif["labels"]["Maintainer"] == "hpcjobs tests"
    assert scif["environment"]["GREETING"] == "from-image"
    (signature,) = inspected(cli, made / "signed.sif")["signatures"]
    assert re.fullmatch("[0-9A-F]{40}", signature["fingerprint"])
    assert signature["fingerprint"] in cli("image", "inspect", str(made / "signed.sif")).stdout
    assert not inspected(cli, made / "app.sif")["signatures"]
    secret = inspected(cli, made / "encrypted-pem.sif")
    assert secret["encrypted"]
    assert "encrypted" in secret["notes"][0]
    assert "cut short" in cli("image", "inspect", str(made / "truncated.sif"), code=3).stderr


# -------------------------------------------------------------------------------------------- convert


@pytest.mark.parametrize(
    ("source", "targets"),
    # Of an OCI layout a pull makes the other two, with the same layers (test_image_pull.py).
    [("app.docker.tar", ["out", "out.sif", "out.sqfs"]), ("app.oci", ["out"])],
)
def test_layers_become_one_image(
    *, source: str, targets: list[str], cli: Cli, home: Path, site: str, made: Path
) -> None:
    for target in targets:
        done = cli("image", "convert", str(made / source), target)
        assert done.stdout == f"{home / target}\n"
        assert run_image(home / target, "cat", "/opt/added.txt") == "in the second layer\n"
        # The second layer removes it.
        assert "removed.txt" not in run_image(home / target, "ls", "/opt").split()
    assert left(home) == targets


@pytest.mark.parametrize("source", ["small.sif", "small.sqfs", "small", "small.oci"])
def test_each_form_becomes_each_other(source: str, cli: Cli, home: Path, site: str, small: Path) -> None:
    command = ("/bin/echo", "small") if source == "small.oci" else ("cat", "/marker")
    targets = ["out", "out.sif", "out.sqfs"]
    for target in targets:
        cli("image", "convert", str(small / source), target)
        assert run_image(home / target, *command) == "small\n"
    assert left(home) == targets


@pytest.mark.parametrize(("source", "why"), [("encrypted-pem.sif", "is encrypted"), ("truncated.sif", "cut short")])
def test_what_cannot_be_converted_is_refused(source: str, why: str, cli: Cli, home: Path, made: Path) -> None:
    for target in ("out.sif", "out.sqfs", "out"):
        done = cli("image", "convert", str(made / source), target, code=3)
        assert why in done.stderr
        assert not done.stdout
    assert left(home) == []


def test_what_is_in_a_registry_is_pulled_first(cli: Cli, home: Path, registry: Registries) -> None:
    name = f"docker://{registry.open}/hpcjobs/other:1.0"
    for target in ("out.sif", "out.sqfs", "out"):
        assert f"hpcjob image pull {name}" in cli("image", "convert", name, target, code=3).stderr
    assert left(home) == []
    missing = cli("image", "convert", "nothing.sif", "out.sif", code=6)
    assert ".out.sif" not in missing.stderr  # a folder of its own is no image like it


def test_a_target_is_kept_unless_a_conversion_succeeds(cli: Cli, home: Path, small: Path, made: Path) -> None:
    target = home / "out.sqfs"
    target.write_text("precious")
    source = str(small / "small.sif")
    refused = cli("image", "convert", source, "out.sqfs", code=3)
    assert "exists already" in refused.stderr
    assert "--force" in refused.stderr
    broken = home / "broken.sqfs"
    whole = (small / "small.sqfs").read_bytes()
    broken.write_bytes(whole[:4096] + bytes(len(whole) - 8192) + whole[-4096:])
    for image in (made / "encrypted-pem.sif", broken, home / "nothing.sif"):
        assert cli("image", "convert", "--force", str(image), "out.sqfs", code=None).returncode in {3, 6}
        assert target.read_text() == "precious"
    folder = home / "out"
    folder.mkdir()
    (folder / "precious").touch()
    # A folder may hold anything: it is never replaced.
    assert "is a folder" in cli("image", "convert", "--force", source, "out", code=3).stderr
    assert (folder / "precious").exists()
    cli("image", "convert", "--force", source, "out.sqfs")
    assert run_image(target, "cat", "/marker") == "small\n"
    cli("image", "convert", str(broken), "new", code=3)
    assert left(home) == ["broken.sqfs", "out", "out.sqfs"]


# ---------------------------------------------------------------------------------------------- build


@pytest.fixture
def definition(home: Path, small: Path) -> Path:
    """A recipe for which no program has to run as root."""
    file = home / "app.def"
    file.write_text(f"Bootstrap: localimage\nFrom: {small}/small.sif\n%environment\n    export GREETING=built\n")
    return file


def greeting(image: Path) -> str:
    return run_image(image, "/bin/sh", "-c", "echo $GREETING")


def test_an_image_is_built_from_a_definition(cli: Cli, home: Path, site: str, definition: Path) -> None:
    build = ("image", "build", "--site-file", site, "app.def")
    assert cli(*build).stdout == f"{home}/app.sif\n"
    assert greeting(home / "app.sif") == "built\n"
    assert "exists already" in cli(*build, code=3).stderr
    definition.write_text("Bootstrap: localimage\nFrom: /nothing.sif\n")
    failed = cli(*build, "--force", code=3)
    assert "apptainer build ended with exit code 255" in failed.stderr
    assert "/nothing.sif" in failed.stderr  # the tool's own words
    assert greeting(home / "app.sif") == "built\n"
    assert "builds a SIF image" in cli(*build, "-o", "app.sqfs", code=3).stderr
    assert left(home) == ["app.def", "app.sif"]


@pytest.fixture
def podman(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman, in a mount namespace in which it works on a bare machine too."""
    shim(home, "podman", f"{CLUSTER}/podman root podman", monkeypatch)


@pytest.mark.parametrize("target", ["out.sif", "out.sqfs"])
def test_an_image_is_built_from_a_dockerfile(
    *, target: str, cli: Cli, home: Path, site: str, small: Path, podman: None
) -> None:
    context = home / "context"
    context.mkdir()
    tool("cp", "-a", small / "small", context / "tree")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY tree /\nRUN echo made >/made\nENV GREETING=docker\n")
    done = cli("image", "build", "--site-file", site, "context", "-o", target)
    assert run_image(home / target, "cat", "/made") == "made\n"
    if target == "out.sif":
        assert greeting(home / target) == "docker\n"
    assert done.stdout == f"{home}/{target}\n"
    assert "STEP" in done.stderr
    assert "hpcjob-build" not in tool("podman", "images")


def test_a_dockerfile_that_fails_leaves_what_there_was(cli: Cli, home: Path, site: str, podman: None) -> None:
    (home / "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n")
    (home / "out.sif").write_text("precious")
    failed = cli("image", "build", "--force", "--site-file", site, "Dockerfile", "-o", "out.sif", code=3)
    assert "podman build ended with" in failed.stderr
    assert (home / "out.sif").read_text() == "precious"
    assert left(home) == ["Dockerfile", "out.sif"]


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that other users reach."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hpcjobs-test-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


def test_an_ordinary_user_builds_with_fakeroot(cli: Cli, site: str, small: Path, public: Path) -> None:
    (public / "small.sif").write_bytes((small / "small.sif").read_bytes())
    file = public / "app.def"
    file.write_text(f"Bootstrap: localimage\nFrom: {public}/small.sif\n%post\n    busybox id -u >/made\n")
    cli(
        "image", "build", "--fakeroot", "--site", "local", str(file), "-o", str(public / "out.sif"),
        under=("env", f"--chdir={public}", *HPC), HOME=str(public), HPCJOBS_HOME=str(public / "home"), USER="hpc",
    )  # fmt: skip
    assert run_image(public / "out.sif", "cat", "/made") == "0\n"
    assert (public / "out.sif").owner() == "hpc"


def test_an_image_is_built_on_a_node(cli: Cli, home: Path, site: str, definition: Path) -> None:
    build = ("image", "build", "--on-node", "--site-file", site, "app.def", "-o", "out.sif")
    half = home / ".out.sif.building"  # of a job that was killed
    half.mkdir()
    (half / "out.sif").write_text("half")
    done = cli(*build)
    assert done.stdout == "j1\n"
    cli("wait", "j1")
    assert greeting(home / "out.sif") == "built\n"
    assert not half.exists()
    assert "exists already" in cli(*build, code=3).stderr
    definition.write_text("Bootstrap: localimage\nFrom: /nothing.sif\n")
    cli(*build, "--force")
    cli("wait", "j2", code=1)
    assert "/nothing.sif" in cli("logs", "--error", "j2").stdout
    assert greeting(home / "out.sif") == "built\n"


def test_a_node_makes_no_squashfs_under_another_name(cli: Cli, home: Path, site: str, podman: None) -> None:
    (home / "Dockerfile").write_text("FROM scratch\n")
    build = ("image", "build", "--on-node", "--site-file", site, "Dockerfile", "-o", "out.sqfs")
    assert "SIF" in cli(*build, code=3).stderr
    assert not Service().history()


def test_a_site_that_allows_no_builds_says_why(cli: Cli, home: Path, definition: Path) -> None:
    site = home / "strict.yaml"
    site.write_text('extends: testbed\nimage: {build: "user namespaces are off; see docs.example.org/build"}\n')
    for options in ((), ("--on-node",)):
        refused = cli("image", "build", *options, "--site-file", str(site), "app.def", code=3)
        assert "user namespaces are off; see docs.example.org/build" in refused.stderr
    assert not (home / "app.sif").exists()


# ----------------------------------------------------------------------------------------------- trust


def test_signed_unsigned_and_tampered(cli: Cli, home: Path, small: Path) -> None:
    image = home / "app.sif"
    image.write_bytes((small / "small.sif").read_bytes())
    for name in ("key", "other"):
        tool("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", home / name)
        tool("openssl", "pkey", "-in", home / name, "-pubout", "-out", home / f"{name}.pub")
    verify = ("image", "verify", str(image), "--key", "key.pub")
    assert "is not signed" in cli(*verify, code=3).stderr
    assert "only SIF images" in cli("image", "verify", str(small / "small.sqfs"), code=3).stderr
    assert "there is no image" in cli("image", "verify", "nothing.sif", code=6).stderr
    site = home / "strict.yaml"
    site.write_text(
        "extends: testbed\nruntimes: [{kind: apptainer, options: [--userns]}]\n"
        f"image: {{verify: required, verify_options: [--key, {home}/key.pub]}}\n"
    )
    submit = ("submit", "--site-file", str(site), "-n1", "--image", str(image), "--", "cat", "/marker")
    assert "is not signed" in cli(*submit, code=3).stderr
    cli("image", "sign", str(image), "--key", "key")
    cli(*verify)
    cli(*submit)
    cli("wait", "j1")
    assert cli("logs", "j1").stdout == "small\n"
    assert "not valid" in cli("image", "verify", str(image), "--key", "other.pub", code=3).stderr
    with image.open("r+b") as file:
        file.seek(image.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    assert "not valid" in cli(*verify, code=3).stderr
    assert "not valid" in cli(*submit, code=3).stderr
    assert [record.label for record in Service().history()] == ["j1"]


# ----------------------------------------------------------------------------------------------- prune


def _age(image: Path) -> None:
    """Pulled and used last in 2001."""
    notes = Path(f"{image}.json")
    notes.write_text(json.dumps({**sidecar(image), "pulled": 1e9}))
    for path in (image, *image.parent.glob(f".used-{image.name}")):
        os.utime(path, (1e9, 1e9))


def test_prune_removes_what_nobody_needs(cli: Cli, home: Path, site: str, registry: Registries, made: Path) -> None:
    registry.push(f"docker-archive:{made}/other.docker.tar", "hpcjobs/serving:1.0")
    other = f"docker://{registry.open}/hpcjobs/other:1.0"
    needed, serving, unused = (
        Path(cli("image", "pull", "--site-file", site, *options).stdout.strip())
        for options in ((other,), (f"docker://{registry.open}/hpcjobs/serving:1.0",), ("--format", "squashfs", other))
    )
    job = home / "job.yaml"
    job.write_text(
        f"image: {other}\nntasks: 1\nhold: true\ncommand: [sleep, '60']\n"
        f"services: [{{name: db, image: 'docker://{registry.open}/hpcjobs/serving:1.0', command: [sleep, '60']}}]\n"
    )
    cli("submit", "--site-file", site, str(job))
    prune = ("image", "prune", "--site-file", site)
    assert cli(*prune).stdout == ""
    foreign = home / "images/mine.sif"  # put there by hand
    foreign.write_bytes(needed.read_bytes())
    os.utime(foreign, (1e9, 1e9))
    for image in (needed, serving, unused):
        _age(image)
    assert cli(*prune, "--older-than", "100000d").stdout == ""
    assert cli(*prune, "--dry-run").stdout == f"{unused}\n"
    assert unused.exists()
    (removed,) = json.loads(cli(*prune, "--json").stdout)["removed"]
    assert removed["path"] == str(unused)
    assert not unused.exists()
    assert not Path(f"{unused}.json").exists()
    assert cli(*prune).stdout == ""
    assert {needed, serving} <= set((home / "images").iterdir())
    cli("cancel", "j1")
    cli("wait", "j1", code=1)
    assert sorted(cli(*prune).stdout.splitlines()) == sorted([str(needed), str(serving)])
    assert [path for path in (home / "images").iterdir() if path.name[0] != "."] == [foreign]
