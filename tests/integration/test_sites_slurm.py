"""The scripts of the machines with Slurm, as a real Slurm with their partitions sees them: it would take them.

What is not tested so: whether the machine's partitions are as its file says. That is what the file's sources are for,
and on the machine itself `hpcjob site validate`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.golden import test_sites as golden
from tests.integration.site_slurm import controller

pytestmark = pytest.mark.integration
# Options that Slurm gets from a plug-in of the site's.
_PLUGGED_IN = re.compile(r"^#SBATCH --(image|module|volume|entrypoint|environment|container-\w+)\b.*\n", re.MULTILINE)
ON_SLURM = [name for name in golden.names() if golden.machine(name).site.scheduler.kind == "slurm"]


@pytest.fixture(scope="module")
def munge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a munge of its own."""
    if os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("a Slurm with the machines' partitions is NOT TESTED: starting it needs root")
    folder = Path("/run/hpcjobs-sites-munge")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    subprocess.run(["chown", "-R", "munge", folder], check=True)
    words = [f"--{name}={folder}/{file}" for name, file in {
        "key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}.items()]  # fmt: skip
    command = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "--foreground", *words]
    with subprocess.Popen(command) as daemon:
        yield folder
        daemon.terminate()
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ON_SLURM)
def test_slurm_would_take_the_scripts(name: str, munge: Path) -> None:
    site = golden.machine(name).site
    top = munge / name
    answers = {}
    with controller(site, top, munge) as env:
        for case in golden.cases(name):
            script = _PLUGGED_IN.sub("", golden.text_of(name, case))
            # The folders of the person in the scripts are on no machine.
            script = script.replace("/home/ada/run", "/tmp").replace("/home/ada/jobs/3f9c2a", "/tmp")
            done = subprocess.run(
                ["sbatch", "--test-only"], input=script, env=env, capture_output=True, text=True, check=False
            )
            answers[case] = "taken" if done.returncode == 0 and "to start at" in done.stderr else done.stderr
    assert answers == dict.fromkeys(golden.cases(name), "taken")
