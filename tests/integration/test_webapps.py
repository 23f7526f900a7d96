"""JupyterLab and another web application in jobs of the real Slurm: who has the token gets in, and nobody else."""

from __future__ import annotations

import json
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration import person as people
from tests.integration.images import CLUSTER, tool
from tests.integration.person import Person

pytestmark = pytest.mark.integration
installed, person = people.installed, people.person
IMAGES = Path("/var/tmp/hpcjobs-jupyter-images")


@pytest.fixture(scope="session")
def images(slurm: Callable[..., str]) -> Path:
    """The images; they are kept between sessions."""
    tool(CLUSTER / "jupyter-images", IMAGES)
    return IMAGES


def get(port: int, path: str, token: str = "") -> int:
    """The status of an answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"token {token}"} if token else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own http
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def command_lines() -> str:
    done = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("image", ["lab.sif", "lab"])
def test_jupyterlab_answers_who_has_the_token(person: Person, images: Path, image: str) -> None:
    tool("chown", "hpc:", person.folder)
    done = person("jupyter", "--image", images / image, "-t", "10", "--timeout", "90")
    label = done.stdout.strip()
    app = json.loads(person("jupyter", "--job", label, "--json").stdout)
    port, token_file = app["port"], Path(app["token"])
    assert f"ssh -N -L {port}:{app['host']}:{port} hpc@" in done.stderr
    assert f"http://localhost:{port}/lab" in done.stderr
    token = token_file.read_text()
    assert len(token) == 48
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    assert get(port, "/api/contents", token) == 200
    assert get(port, "/api/contents") == 403
    assert get(port, "/api/contents", "f" * 48) == 403
    assert token not in command_lines()
    person("cancel", label)
    person("wait", label, code=None)
    with pytest.raises(OSError):
        get(port, "/api/contents", token)
    written = [file for file in token_file.parent.rglob("*") if file.is_file() and file != token_file]
    assert {file.name for file in written} >= {"job.sh", "stdout.log", "stderr.log", "plan.json"}
    assert [file.name for file in written if token in file.read_text("utf-8", "replace")] == []
    assert token not in done.stdout + done.stderr


def test_jupyterlab_that_nobody_uses_ends(person: Person, images: Path) -> None:
    tool("chown", "hpc:", person.folder)
    done = person("jupyter", "--image", images / "lab.sif", "-t", "10", "--idle", "00:00:05", "--timeout", "90")
    person("wait", done.stdout.strip(), "--timeout", "90")


SERVER = """\
import http.server, os
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/" + os.environ["HPCJOB_TOKEN"] else 404)
        self.end_headers()
http.server.HTTPServer((os.environ["HPCJOB_ADDRESS"], int(os.environ["HPCJOB_PORT"])), Hello).serve_forever()
"""


def test_any_web_application(person: Person, images: Path) -> None:
    person.write("server.py", SERVER)
    tool("chown", "hpc:", person.folder)
    options = ("--image", images / "python.sif", "-t", "10", "--idle", "00:00:04", "--json")
    app = json.loads(person("serve", *options, "--", "python3", "server.py").stdout)
    token = Path(app["token"]).read_text()
    assert (get(app["port"], f"/{token}"), get(app["port"], "/")) == (200, 404)
    person("wait", app["job"], "--timeout", "60")  # idle, it ends well
    assert "nobody was connected" in person("logs", "--error", app["job"]).stdout


def test_an_image_without_jupyterlab_is_refused(person: Person, images: Path) -> None:
    tool("chown", "hpc:", person.folder)
    done = person("jupyter", "--image", images / "kernel.sif", "-t", "10", code=3)
    assert "there is no JupyterLab in the image" in done.stderr
    assert person("status", code=None).stdout == ""
