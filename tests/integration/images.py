"""Real images, a real registry, and a proxy in front of it that breaks: for the tests of `hpcjob image`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CLUSTER = Path(__file__).parent.parent / "cluster"
# Made once, kept between sessions; everyone may read it.
IMAGES = Path("/var/tmp/hpcjobs-test-images")
# Without it ch-run refuses to start.
USER = {"USER": "root"}


def tool(*args: str | Path, **env: str) -> str:
    """Run a program that has to succeed; its output."""
    done = subprocess.run(
        args, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **USER, **env}
    )
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


def run_image(image: str | Path, *command: str) -> str:
    """Run a command in an image, by the runtime that takes it: SIF by Apptainer, the others by Charliecloud."""
    if str(image).endswith(".sif"):
        # Root may lack capabilities in a VM or container; in a user namespace it needs none.
        return tool("apptainer", "exec", "--userns", image, *command)
    return tool("ch-run", image, "--", *command)


@pytest.fixture(scope="session")
def made(slurm: Callable[..., str]) -> Path:
    """What tests/cluster/images makes. It wants the user hpc, whom the test cluster brings."""
    tool(CLUSTER / "images", IMAGES)
    return IMAGES


@pytest.fixture(scope="session")
def small(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small image in each form, made by tools other than hpcjobs: it converts in a moment."""
    folder = tmp_path_factory.mktemp("small")
    tree = folder / "small"
    for name in ("bin", "dev", "proc", "sys", "tmp", "etc", "run", "home", "root", "mnt", "usr", "var/tmp", "ch"):
        (tree / name).mkdir(parents=True)
    tool("cp", "-a", made / "app/bin/busybox", tree / "bin/busybox")
    for name in ("sh", "echo", "cat", "ls", "sleep", "hostname"):
        (tree / "bin" / name).symlink_to("busybox")
    for name in ("hosts", "resolv.conf", "passwd", "group", "localtime"):
        (tree / "etc" / name).touch()
    (tree / "marker").write_text("small\n")
    tool("mksquashfs", tree, folder / "small.sqfs", "-quiet", "-no-progress")
    tool("apptainer", "build", folder / "small.sif", tree)
    tool("skopeo", "copy", "--quiet", f"docker-archive:{made}/other.docker.tar", f"oci:{folder}/small.oci:1.0")
    return folder


def _two_free_ports() -> int:
    """The first of two ports in a row that nobody has."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


class Registries:
    """The two of tests/cluster/registry: `open`, and `login` for user ada."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _two_free_ports()
        self.open = f"127.0.0.1:{self.port}"
        self.login = f"127.0.0.1:{self.port + 1}"

    def up(self) -> None:
        self._run("up", self.folder)

    def down(self) -> None:
        self._run("down", self.folder)

    def fill(self) -> None:
        self._run("fill", self.folder, IMAGES)

    def _run(self, *args: str | Path) -> None:
        tool(CLUSTER / "registry", *args, HPCJOBS_TESTBED_REGISTRY_PORT=str(self.port))

    def push(self, source: str, name: str) -> None:
        """Copy what Skopeo can read to a repository of the open registry."""
        tool("skopeo", "copy", "--quiet", "--all", "--src-tls-verify=false", "--dest-tls-verify=false",
             source, f"docker://{self.open}/{name}")  # fmt: skip

    def digest(self, name: str) -> str:
        """The digest that the registry has for `REPOSITORY:TAG`."""
        return f"sha256:{hashlib.sha256(self._manifest(name).encode()).hexdigest()}"

    def layers(self, name: str) -> list[str]:
        """The digests of its layers."""
        return [layer["digest"] for layer in json.loads(self._manifest(name))["layers"]]

    def _manifest(self, name: str) -> str:
        return tool("skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{self.open}/{name}")


@pytest.fixture(scope="session")
def registries(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registries]:
    """Both registries, filled."""
    found = Registries(tmp_path_factory.mktemp("registry"))
    found.up()
    try:
        found.fill()
        yield found
    finally:
        found.down()


@pytest.fixture
def registry(registries: Registries) -> Registries:
    """Both registries, up, whatever the test before did to them."""
    registries.up()
    return registries


class Proxy:
    """tests/cluster/flaky_proxy.py in front of a registry; `name` is how it is asked."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._news = threading.Condition()
        self.port = 0
        self.log: list[str] = []

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        """Start, or start anew on the same port with an empty log."""
        self.stop()
        self.log.clear()
        command = (sys.executable, str(CLUSTER / "flaky_proxy.py"), str(self.port), str(self._upstream), *options)
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.await_line("listening on"))
        assert found
        self.port = int(found[1])

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr
        for line in process.stderr:
            with self._news:
                self.log.append(line)
                self._news.notify_all()

    def await_line(self, text: str) -> str:
        """The first line with that text, once it is there."""
        with self._news:
            found = self._news.wait_for(lambda: [line for line in self.log if text in line], timeout=60)
        assert found, f"no {text!r} in the log of the proxy: {self.log}"
        return found[0]

    def stop(self) -> None:
        """Kill it: connections end at once."""
        if self._process:
            self._process.kill()
            self._process.wait()
            assert self._reader
            self._reader.join()  # all that it wrote was read
            assert self._process.stderr
            self._process.stderr.close()
            self._process = None

    def downloads(self, digest: str) -> list[str]:
        """The GET requests of a blob."""
        return [line for line in self.log if line.startswith("GET ") and f"/blobs/{digest} " in line]


@pytest.fixture
def proxy(registry: Registries) -> Iterator[Proxy]:
    """A proxy in front of the open registry, not started yet."""
    found = Proxy(registry.port)
    yield found
    found.stop()


class Started:
    """`hpcjob` in the background."""

    def __init__(self, *args: str, cwd: Path, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpcjobs", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=cwd, env={**os.environ, **env}, start_new_session=True,
        )  # fmt: skip

    def end(self) -> tuple[int, str, str]:
        """Wait for it: exit code, output, errors."""
        out, err = self.process.communicate(timeout=120)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """With all that it started, as a node that goes down does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=60)


def images_in(folder: Path) -> list[str]:
    """The names of whole images in a folder of pulled ones."""
    return sorted(path.name for path in folder.glob("*") if path.suffix in {".sif", ".sqfs"} and path.name[0] != ".")


def left_in(folder: Path) -> list[str]:
    """What unfinished pulls have left there."""
    return sorted(path.name for path in folder.glob(".pull-*"))


def sidecar(image: str | Path) -> dict[str, Any]:
    """What lies beside a pulled image."""
    return dict(json.loads(Path(f"{image}.json").read_text()))
