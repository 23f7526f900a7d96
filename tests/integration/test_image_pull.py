"""Images from a real registry: pulled by hand and for jobs, through everything that may break on the way."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import images
from tests.integration.conftest import Cli
from tests.integration.images import Proxy, Registries, Started, images_in, left_in, run_image, sidecar, tool
from tests.integration.test_disk import ORDINARY

pytestmark = pytest.mark.integration
made, small, registries, registry, proxy = (
    images.made, images.small, images.registries, images.registry, images.proxy
)  # fmt: skip

ADA = {"HPCJOBS_REGISTRY_USER": "ada", "HPCJOBS_REGISTRY_PASSWORD": "s3cret pass"}
# Another user, who can read this project wherever it lies and no more than that.
HPC = (
    "setpriv", "--reuid=hpc", "--regid=hpc", "--clear-groups",
    "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip
SITE = """\
extends: testbed
runtimes:
  # Root may lack capabilities in a VM or container; in a user namespace it needs none.
  - {{kind: apptainer, options: [--userns]}}
  - {{kind: charliecloud}}
image: {{folder: {folder}}}
"""


@pytest.fixture
def folder(home: Path) -> Path:
    """Where pulled images go."""
    return home / "images"


@pytest.fixture
def site(slurm: Callable[..., str], home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a site with both kinds of runtimes; and nobody is logged in to a registry."""
    monkeypatch.setenv("HOME", str(home))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", *ADA):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("USER", "root")
    file = home / "both.yaml"
    file.write_text(SITE.format(folder=folder))
    return str(file)


@pytest.fixture
def pull(cli: Cli, site: str) -> Callable[..., Any]:
    """`hpcjob image pull`."""

    def run(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return cli("image", "pull", "--site-file", site, *args, **more)

    return run


# ------------------------------------------------------------------------------------------- by hand


def test_a_pulled_image_is_a_file_named_by_its_digest(
    cli: Cli, pull: Cli, site: str, folder: Path, registry: Registries
) -> None:
    digest = registry.digest("hpcjobs/other:1.0")
    name = f"docker://{registry.open}/hpcjobs/other:1.0"
    path = folder / f"other-1.0-sha256-{digest.partition(':')[2][:12]}.sif"
    assert pull(name).stdout == f"{path}\n"
    assert run_image(path, "/bin/echo", "hello") == "hello\n"
    kept = sidecar(path)
    assert kept["source"] == f"{name}@{digest}"
    assert kept["digest"] == digest
    assert kept["size"] == path.stat().st_size
    listed = json.loads(cli("image", "list", "--json", "--site-file", site).stdout)
    assert [(one["path"], one["digest"]) for one in listed["images"]] == [(str(path), digest)]
    assert f"{name}@{digest}" in cli("image", "list", "--site-file", site).stdout
    assert left_in(folder) == []

    before = path.stat()
    assert pull(name).stdout == f"{path}\n"
    assert path.stat() == before
    registry.down()
    assert pull(f"{name}@{digest}").stdout == f"{path}\n"
    assert json.loads(pull(f"{name}@{digest}", "--json").stdout) == {"version": 1, "path": str(path), "digest": digest}
    refused = pull(name, code=5)
    assert f"{registry.open} cannot be reached" in refused.stderr
    assert not refused.stdout


def test_a_pulled_squashfs_image_runs(pull: Cli, folder: Path, registry: Registries) -> None:
    path = pull("--format", "squashfs", f"docker://{registry.open}/hpcjobs/app:1.0").stdout.strip()
    assert path.endswith(".sqfs")
    assert run_image(path, "cat", "/opt/added.txt") == "in the second layer\n"
    assert "removed.txt" not in run_image(path, "ls", "/opt")
    assert "GREETING=from image" in tool("ch-run", "--set-env", path, "--", "/bin/busybox", "env")
    assert images_in(folder) == [Path(path).name]


def test_a_sif_file_in_a_registry_comes_as_it_is(pull: Cli, folder: Path, registry: Registries, made: Path) -> None:
    path = Path(pull(f"oras://{registry.open}/hpcjobs/sif:1.0").stdout.strip())
    assert path.read_bytes() == (made / "app.sif").read_bytes()
    assert sidecar(path)["digest"] == registry.digest("hpcjobs/sif:1.0")
    refused = pull("--format", "squashfs", f"oras://{registry.open}/hpcjobs/sif:1.0", code=3)
    assert "is a SIF file" in refused.stderr
    assert images_in(folder) == [path.name]


def _docker_config(home: Path, registry: Registries) -> dict[str, str]:
    auth = base64.b64encode(b"ada:s3cret pass").decode()
    (home / "docker").mkdir()
    (home / "docker/config.json").write_text(json.dumps({"auths": {registry.login: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(home / "docker")}


def _apptainer_login(home: Path, registry: Registries) -> dict[str, str]:
    command = ("apptainer", "registry", "login", "--username", "ada", "--password-stdin", f"oras://{registry.login}")
    subprocess.run(command, input="s3cret pass", text=True, check=True, capture_output=True)
    assert list((home / ".apptainer").iterdir())  # in this test's home
    return {}


@pytest.mark.parametrize(
    "login",
    [
        pytest.param(lambda *_: ADA, id="variables"),
        pytest.param(_docker_config, id="docker"),
        pytest.param(_apptainer_login, id="apptainer"),
        pytest.param(lambda _, registry: {"REGISTRY_AUTH_FILE": str(registry.folder / "auth.json")}, id="containers"),
    ],
)
def test_logins_are_those_of_the_users_other_tools(
    login: Callable[[Path, Registries], dict[str, str]], pull: Cli, home: Path, folder: Path, registry: Registries
) -> None:
    name = f"docker://{registry.login}/hpcjobs/other:1.0"
    refused = pull(name, code=3)
    assert "needs a login" in refused.stderr
    assert "apptainer registry login" in refused.stderr
    assert "HPCJOBS_REGISTRY_USER" in refused.stderr
    path = pull(name, **login(home, registry)).stdout.strip()
    assert run_image(path, "/bin/echo", "hello") == "hello\n"
    assert images_in(folder) == [Path(path).name]
    assert all("s3cret" not in file.read_text() for file in folder.glob("*.json"))


def test_a_wrong_password_is_told_and_not_shown(pull: Cli, registry: Registries) -> None:
    name = f"docker://{registry.login}/hpcjobs/other:1.0"
    refused = pull(name, "-vv", code=3, **{**ADA, "HPCJOBS_REGISTRY_PASSWORD": "mistyped-7"})
    assert "with the login of ada" in refused.stderr
    assert "mistyped-7" not in refused.stderr
    assert base64.b64encode(b"ada:mistyped-7").decode() not in refused.stderr


def test_what_a_registry_does_not_have(pull: Cli, folder: Path, registry: Registries) -> None:
    tag = pull(f"docker://{registry.open}/hpcjobs/app:9.9", code=6)
    assert "hpcjobs/app:9.9" in tag.stderr
    assert "1.0, latest" in tag.stderr
    assert "hpcjobs/nothing" in pull(f"docker://{registry.open}/hpcjobs/nothing:1.0", code=6).stderr
    pinned = f"docker://{registry.open}/hpcjobs/app@sha256:{'0' * 64}"
    assert "0000" in pull(pinned, code=6).stderr
    assert not folder.exists()


def _pushed(registry: Registries, folder: Path, layer: bytes, *arches: str, index: bool) -> str:
    """An image of one layer, for each of the CPUs, in the registry; with `index`, its tag is an index of them."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def document(content: dict[str, Any], kind: str) -> dict[str, Any]:
        return blob(json.dumps({"schemaVersion": 2, **content}).encode(), kind)

    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    entries = []
    for arch in arches:
        described = {"architecture": arch, "os": "linux", "rootfs": rootfs, "config": {}}
        layers = [blob(gzip.compress(layer, 1, mtime=0), "layer.v1.tar+gzip")]
        manifest = {"config": document(described, "config.v1+json"), "layers": layers}
        entry = document(manifest, "manifest.v1+json")
        entries.append({**entry, "platform": {"os": "linux", "architecture": arch}} if index else entry)
    (top,) = [document({"manifests": entries}, "index.v1+json")] if index else entries
    top["annotations"] = {"org.opencontainers.image.ref.name": "1.0"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    name = f"hpcjobs/{'-'.join(arches)}-{'index' if index else 'image'}:1.0"
    registry.push(f"oci:{folder}:1.0", name)
    return f"docker://{registry.open}/{name}"


@pytest.fixture
def layer(home: Path, small: Path) -> bytes:
    """The small image as a layer."""
    tool("tar", "-C", small / "small", "-cf", home / "layer.tar", ".")
    return (home / "layer.tar").read_bytes()


HERE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


@pytest.mark.parametrize("index", [True, False], ids=["index", "image"])
def test_an_image_for_another_cpu_is_refused(
    *, index: bool, pull: Cli, home: Path, folder: Path, registry: Registries, layer: bytes
) -> None:
    name = _pushed(registry, home / "layout", layer, "s390x", index=index)
    for form in ("sif", "squashfs"):
        assert "s390x" in pull("--format", form, name, code=3).stderr
    assert images_in(folder) == []


def test_of_an_index_comes_the_image_for_this_cpu(
    pull: Cli, home: Path, folder: Path, registry: Registries, layer: bytes
) -> None:
    name = _pushed(registry, home / "layout", layer, "s390x", HERE, index=True)
    path = pull("--format", "squashfs", name).stdout.strip()
    assert run_image(path, "cat", "/marker") == "small\n"
    # Pinned to the index, of which others pull what is theirs.
    assert sidecar(path)["digest"] == registry.digest(name.partition(f"{registry.open}/")[2])


def test_what_is_not_as_its_digest_says_is_thrown_away(
    pull: Cli, home: Path, folder: Path, registry: Registries, layer: bytes
) -> None:
    name = _pushed(registry, home / "layout", layer + bytes(10240), HERE, index=False)
    (digest,) = registry.layers(f"hpcjobs/{HERE}-image:1.0")
    algorithm, _, digits = digest.partition(":")
    blob = registry.folder / f"open/docker/registry/v2/blobs/{algorithm}/{digits[:2]}/{digits}/data"
    right = blob.read_bytes()
    middle = len(right) // 2
    blob.write_bytes(right[:middle] + bytes([right[middle] ^ 1]) + right[middle + 1 :])
    refused = pull("--format", "squashfs", name, code=3)
    assert f"{digest} of {registry.open} came as something else" in refused.stderr
    assert images_in(folder) == []
    blob.write_bytes(right)
    assert run_image(pull("--format", "squashfs", name).stdout.strip(), "cat", "/marker") == "small\n"


def test_a_folder_whose_name_has_a_colon(pull: Cli, home: Path, folder: Path, registry: Registries) -> None:
    """A colon ends the path of a layout for many a tool."""
    strange = home / "a b:c"
    site = home / "strange.yaml"
    site.write_text(SITE.format(folder=json.dumps(str(strange))))
    for form in ("sif", "squashfs"):
        pull("--site-file", str(site), "--format", form, f"docker://{registry.open}/hpcjobs/other:1.0")
    assert len(images_in(strange)) == 2


# ------------------------------------------------------------------------------ on a bad connection


def test_a_download_that_breaks_off_goes_on_where_it_was(
    pull: Cli, folder: Path, registry: Registries, proxy: Proxy
) -> None:
    (layer,) = registry.layers("hpcjobs/other:1.0")
    proxy.start("--cut-after", "200000", "--times", "2")
    path = pull(f"docker://{proxy.name}/hpcjobs/other:1.0").stdout.strip()
    first, second, third = proxy.downloads(layer)
    assert "Range" not in first
    assert "Range=bytes=200000-" in second
    assert "Range=bytes=400000-" in third
    assert "CUT" not in third
    assert run_image(path, "/bin/echo", "hello") == "hello\n"


def _await_a_cut(proxy: Proxy, *args: str, cwd: Path) -> Started:
    """A pull that is in the middle of a layer, of which it gets a little with each request."""
    proxy.start("--cut-after", "1000", "--times", "1000000")
    started = Started("image", "pull", *args, f"docker://{proxy.name}/hpcjobs/other:1.0", cwd=cwd)
    proxy.await_line("Range=bytes=2000-")
    return started


@pytest.mark.parametrize("what", ["registry", "process"])
def test_what_ended_in_the_middle_is_continued_by_the_next_pull(
    *, what: str, cli: Cli, pull: Cli, site: str, home: Path, folder: Path, registry: Registries, proxy: Proxy
) -> None:
    proxy.start()
    started = _await_a_cut(proxy, "--site-file", site, cwd=home)
    if what == "registry":
        proxy.stop()
        code, out, err = started.end()
        assert (code, out) == (5, "")
        assert f"{proxy.name} cannot be reached" in err
    else:
        started.kill()
    assert images_in(folder) == []
    (work,) = left_in(folder)
    (part,) = (folder / work).rglob("*.part")
    there = part.stat().st_size
    assert there >= 2000
    proxy.start()
    path = pull(f"docker://{proxy.name}/hpcjobs/other:1.0").stdout.strip()
    assert [line for line in proxy.log if f"Range=bytes={there}-" in line and "-> 206" in line]
    assert images_in(folder) == [Path(path).name]
    assert left_in(folder) == []
    assert run_image(path, "/bin/echo", "hello") == "hello\n"


def test_an_image_that_was_half_made_is_made_anew(
    *, cli: Cli, pull: Cli, site: str, home: Path, folder: Path, registry: Registries
) -> None:
    """All downloaded, then killed while the file was made."""
    shim = home / "bin/mksquashfs"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nhead -c 5000 /dev/zero >"$2"\n: >{home}/began\nexec sleep 600\n')
    shim.chmod(0o755)
    name = f"docker://{registry.open}/hpcjobs/other:1.0"
    path = f"{shim.parent}:{os.environ['PATH']}"
    started = Started("image", "pull", "--site-file", site, "--format", "squashfs", name, cwd=home, PATH=path)
    while not (home / "began").exists():
        assert started.process.poll() is None
    started.kill()
    assert images_in(folder) == []
    assert left_in(folder)
    image = pull("--format", "squashfs", name).stdout.strip()
    assert run_image(image, "/bin/echo", "hello") == "hello\n"
    assert left_in(folder) == []


def test_twenty_who_pull_at_once_share_the_work(
    *, cli: Cli, site: str, home: Path, folder: Path, registry: Registries, proxy: Proxy
) -> None:
    proxy.start()
    name = f"docker://{proxy.name}/hpcjobs/other:1.0"
    started = [Started("image", "pull", "--site-file", site, name, cwd=home) for _ in range(20)]
    ends = [one.end() for one in started]
    assert {code for code, _, _ in ends} == {0}, ends
    (out,) = {out for _, out, _ in ends}
    assert images_in(folder) == [Path(out.strip()).name]
    assert left_in(folder) == []
    for layer in registry.layers("hpcjobs/other:1.0"):
        assert len(proxy.downloads(layer)) == 1
    assert run_image(out.strip(), "/bin/echo", "hello") == "hello\n"


def test_two_users_pull_into_one_folder(
    *, cli: Cli, pull: Cli, site: str, home: Path, folder: Path, registry: Registries, proxy: Proxy
) -> None:
    """What the first has locked and left behind, the second can neither write nor needs to."""
    folder.mkdir()
    folder.chmod(0o1777)
    _await_a_cut(proxy, "--site-file", site, "--format", "squashfs", cwd=home).kill()
    proxy.start()
    own = home / "own"
    own.mkdir()
    own.chmod(0o777)
    asked = ("--format", "squashfs", f"docker://{proxy.name}/hpcjobs/other:1.0")
    done = pull(*asked, under=HPC, HPCJOBS_HOME=str(own), USER="hpc")
    assert Path(done.stdout.strip()).owner() == "hpc"
    assert pull(*asked).stdout == done.stdout


# --------------------------------------------------------------------------------------- on a bad disk


@pytest.fixture
def full(folder: Path) -> Iterator[Path]:
    """The folder of images, on a file system of two megabytes."""
    folder.mkdir()
    tool("mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs", folder)
    yield folder
    tool("umount", "--lazy", folder)


@pytest.mark.parametrize("form", ["sif", "squashfs"])
@pytest.mark.parametrize("image", ["app", "other"], ids=["download", "making"])
def test_a_full_disk_leaves_no_half_image(
    *, form: str, image: str, cli: Cli, pull: Cli, site: str, full: Path, registry: Registries
) -> None:
    """The large image is too large to download, the small one to unpack."""
    name = f"docker://{registry.open}/hpcjobs/{image}:1.0"
    refused = pull("--format", form, name, code=7)
    assert "no space left" in refused.stderr
    assert str(full) in refused.stderr
    assert not refused.stdout
    assert images_in(full) == []
    left = left_in(full)
    assert len(left) == 1
    prune = ("image", "prune", "--site-file", site)
    assert not cli(*prune).stdout  # somebody may be about to continue it
    for path in full.glob(".*"):
        os.utime(path, (0, 0))
    assert str(full / left[0]) in cli(*prune, "--dry-run").stdout
    assert left_in(full) == left
    assert str(full / left[0]) in cli(*prune).stdout
    assert list(full.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(pull: Cli, folder: Path, registry: Registries) -> None:
    folder.mkdir()
    folder.chmod(0o500)
    refused = pull(f"docker://{registry.open}/hpcjobs/other:1.0", code=7, under=ORDINARY)
    assert str(folder) in refused.stderr
    assert "ermission denied" in refused.stderr
    assert list(folder.iterdir()) == []


# -------------------------------------------------------------------------------------------- for jobs


@pytest.fixture
def submit(cli: Cli, site: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`hpcjob submit` to that site."""

    def run(*args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return cli("submit", "--site-file", site, *args, **more)

    return run


def shown(cli: Cli, job: str = "j1") -> dict[str, Any]:
    (found,) = json.loads(cli("show", "--json", job).stdout)["jobs"]
    return dict(found)


@pytest.mark.parametrize(("runtime", "suffix"), [("apptainer", ".sif"), ("charliecloud", ".sqfs")])
def test_a_job_has_its_image_pulled_once_and_pinned(
    *, runtime: str, suffix: str, cli: Cli, submit: Cli, folder: Path, registry: Registries, proxy: Proxy
) -> None:
    proxy.start()
    name = f"docker://{proxy.name}/hpcjobs/other:1.0"
    rank = "echo $SLURM_PROCID of $SLURM_NTASKS on $SLURMD_NODENAME"
    options = ("--runtime", runtime, "--image", name, "-N2", "-n4", "--", "/bin/sh", "-c", rank)
    digest = registry.digest("hpcjobs/other:1.0")
    dry = submit("--dry-run", "--json", *options)
    planned = json.loads(dry.stdout)["plan"]
    assert planned["image_source"] == f"{name}@{digest}"
    assert not folder.exists()
    assert not [line for line in proxy.log if "/blobs/" in line]

    done = submit("--wait", *options)
    for layer in registry.layers("hpcjobs/other:1.0"):
        assert len(proxy.downloads(layer)) == 1
    job = shown(cli)
    assert job["state"] == "done"
    assert job["image_digest"] == digest
    assert job["plan"]["image_source"] == f"{name}@{digest}"
    assert job["plan"]["image"] == planned["image"]
    assert images_in(folder) == [Path(job["plan"]["image"]).name]
    assert job["plan"]["image"].endswith(suffix)
    output = cli("logs", "j1").stdout
    ranks = sorted(line.split(" on ") for line in output.splitlines())
    assert [rank for rank, _ in ranks] == ["0 of 4", "1 of 4", "2 of 4", "3 of 4"], output
    assert len({node for _, node in ranks}) == 2
    assert done.stdout == "j1\n"


def test_resubmit_runs_what_ran_before_though_the_tag_has_moved(
    cli: Cli, submit: Cli, folder: Path, registry: Registries, made: Path
) -> None:
    registry.push(f"docker-archive:{made}/other.docker.tar", "hpcjobs/moving:1.0")
    name = f"docker://{registry.open}/hpcjobs/moving:1.0"
    submit("--hold", "-n1", "--runtime", "apptainer", "--image", name, "--", "/bin/sh", "-c", "ls /opt")
    old = shown(cli)["image_digest"]
    cli("cancel", "j1")
    registry.push(f"docker-archive:{made}/app.docker.tar", "hpcjobs/moving:1.0")
    assert registry.digest("hpcjobs/moving:1.0") != old
    for path in folder.iterdir():  # it has to be asked for again
        path.unlink()
    cli("resubmit", "j1")
    again = shown(cli, "j2")
    assert again["image_digest"] == old
    assert again["plan"]["image_source"] == f"{name}@{old}"
    cli("wait", "j2", code=1)  # that image has no /opt and no ls
    assert sidecar(again["plan"]["image"])["digest"] == old


def test_resubmit_runs_the_same_services(
    *, cli: Cli, submit: Cli, home: Path, registry: Registries, made: Path, small: Path
) -> None:
    registry.push(f"docker-archive:{made}/other.docker.tar", "hpcjobs/service:1.0")
    old = registry.digest("hpcjobs/service:1.0")
    service = {"name": "db", "image": f"docker://{registry.open}/hpcjobs/service:1.0", "command": ["sleep", "600"]}
    job = {
        "image": f"{small}/small.sif",
        "ntasks": 1,
        "hold": True,
        "command": ["cat", "/marker"],
        "services": [service],
    }
    (home / "job.yaml").write_text(json.dumps(job))
    submit("job.yaml")
    registry.push(f"docker-archive:{made}/app.docker.tar", "hpcjobs/service:1.0")
    cli("resubmit", "j1")
    scripts = [cli("show", "--script", job).stdout for job in ("j1", "j2")]
    assert all(f"/service-1.0-sha256-{old[7:19]}.sif" in script for script in scripts), scripts


# What becomes of a local image between submission and start.


def _replace_image(image: Path) -> None:
    """The same files, in an image of other bytes."""
    tree = image.with_name("tree")
    tool("unsquashfs", "-quiet", "-no-progress", "-d", tree, image)
    (tree / "added").touch()
    tool("mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress")
    os.utime(image, (1, 1))


def test_an_image_that_is_not_what_it_was_at_the_submission(cli: Cli, submit: Cli, home: Path, small: Path) -> None:
    names = ("refused", "told", "same", "gone")
    refused, told, same, gone = files = [home / f"{name}.sqfs" for name in names]
    for image, what in zip(files, ("refuse", "warn", "refuse", "ignore"), strict=True):
        image.write_bytes((small / "small.sqfs").read_bytes())
        options = ("--hold", "-n1", "--runtime", "charliecloud", "--image-changed", what, "--image", str(image))
        submit(*options, "--", "cat", "/marker")
    _replace_image(refused)
    told.write_bytes(refused.read_bytes())
    os.utime(told, (1, 1))
    os.utime(same, (1, 1))
    gone.unlink()
    jobs = ("j1", "j2", "j3", "j4")
    cli("release", *jobs)
    cli("wait", *jobs, code=1)
    ends = [(shown(cli, job)["state"], shown(cli, job)["exit_code"]) for job in jobs]
    assert ends == [("failed", 65), ("done", 0), ("done", 0), ("failed", 66)]
    outputs = [cli("logs", job).stdout for job in jobs]
    assert outputs == ["", "small\n", "small\n", ""]
    words = [cli("logs", "--error", job).stdout for job in jobs]
    assert f"the image {refused} was changed since the submission" in words[0]
    assert f"warning: the image {told} was changed since the submission" in words[1]
    assert "changed" not in words[2]
    assert f"no image {gone}" in words[3]
