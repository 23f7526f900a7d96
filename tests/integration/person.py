"""An ordinary person who runs `hpcjob`: the user `hpc`, with a database, settings and files of their own.

The repository, its virtual environment and even the interpreter may lie where only root may go, so that what the
program needs is copied once to where everybody may read it.
"""

from __future__ import annotations

import compileall
import os
import pwd
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
CLUSTER = REPOSITORY / "tests/cluster"
NAME = "hpc"
Done: TypeAlias = "subprocess.CompletedProcess[str]"


def _closure(name: str, found: dict[str, metadata.Distribution]) -> None:
    """The distribution and all that it needs, without extras."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    try:
        found[key] = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return  # of another system or version of Python, by its marker
    for line in found[key].requires or ():
        if "extra ==" not in line:
            _closure(re.split(r"[^\w.-]", line)[0], found)


def _copy(target: Path) -> None:
    for folder in ("hpcjobs", "templates", "site-configs"):
        shutil.copytree(REPOSITORY / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))
    found: dict[str, metadata.Distribution] = {}
    _closure("hpcjobs", found)
    del found["hpcjobs"]
    _copy_packages(found, target)


def _copy_packages(found: dict[str, metadata.Distribution], target: Path) -> None:
    packages = Path(sysconfig.get_path("purelib"))
    for distribution in found.values():
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if packages in source.parents and source.is_file():  # scripts are elsewhere
                copied = target / source.relative_to(packages)
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copied)
    for each in (target, *target.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)


def _interpreter() -> str:
    """One that hpc may run and that loads the compiled packages of this one."""
    tried = []
    for candidate in dict.fromkeys((os.path.realpath(sys.executable), "/usr/bin/python3")):
        done = subprocess.run(
            ["runuser", "-u", NAME, "--", candidate, "-c", "import sys; print(*sys.version_info[:2])"],
            check=False, capture_output=True, text=True, cwd="/",
        )  # fmt: skip
        if done.stdout.split() == [str(number) for number in sys.version_info[:2]]:
            return candidate
        tried.append(f"{candidate}: {done.stdout.strip() or done.stderr.strip()}")
    wanted = ".".join(map(str, sys.version_info[:2]))
    raise RuntimeError(f"user {NAME} needs a Python {wanted} outside of root's home; " + "; ".join(tried))


@dataclass(frozen=True)
class Installed:
    """The program where everybody may run it."""

    python: str
    folder: Path


@pytest.fixture(scope="session")
def installed(slurm: Callable[..., str]) -> Iterator[Installed]:
    """A copy of the program for the session; hpc exists once Slurm is up."""
    top = Path(tempfile.mkdtemp(prefix="hpcjobs-tests.", dir="/var/tmp"))
    top.chmod(0o755)
    try:
        python = _interpreter()
        _copy(top / "lib")
        compileall.compile_dir(top / "lib", quiet=2)
        yield Installed(python, top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def add(installed: Installed, *names: str) -> None:
    """Install packages beside it that only some of its verbs need."""
    found: dict[str, metadata.Distribution] = {}
    for name in names:
        _closure(name, found)
    if not (installed.folder / "lib" / names[0]).exists():
        _copy_packages(found, installed.folder / "lib")


@dataclass(frozen=True)
class Person:
    """Runs programs as hpc, in a folder of their own."""

    installed: Installed
    folder: Path  # working folder
    env: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Where the database and the folders of jobs are."""
        return self.folder / "hpcjobs"

    def __call__(
        self,
        *args: str | Path,
        code: int | None = 0,
        timeout: float = 120,
        under: Sequence[str | Path] = (),
        **env: str,
    ) -> Done:
        """`hpcjob ARGS`; `under` is a program to run it under, as root."""
        return self.run(
            self.installed.python, "-m", "hpcjobs", *args, code=code, timeout=timeout, under=under,
            PYTHONPATH=str(self.installed.folder / "lib"), **env,
        )  # fmt: skip

    def run(
        self,
        *args: str | Path,
        code: int | None = 0,
        timeout: float = 120,
        under: Sequence[str | Path] = (),
        **env: str,
    ) -> Done:
        """Any program."""
        clean = [f"{name}={value}" for name, value in {**self.env, **env}.items()]
        done = subprocess.run(
            [*(under or ("runuser", "-u", NAME, "--")), "env", "-i", *clean, *args],
            check=False, capture_output=True, text=True, timeout=timeout, cwd=self.folder, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert code is None or done.returncode == code, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file of theirs in the working folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        user = pwd.getpwnam(NAME)
        for each in (path, *path.parents):
            if each == self.folder:
                break
            os.chown(each, user.pw_uid, user.pw_gid)
        return path


@pytest.fixture
def person(installed: Installed, request: pytest.FixtureRequest) -> Iterator[Person]:
    """The user hpc with a fresh database; their jobs are cancelled at the end."""
    user = pwd.getpwnam(NAME)
    folder = Path(tempfile.mkdtemp(prefix="person.", dir=installed.folder))
    folder.chmod(0o755)
    (folder / "config/apptainer").mkdir(parents=True)  # or it says that it has found one of Singularity
    for each in (folder, folder / "config", folder / "config/apptainer"):
        os.chown(each, user.pw_uid, user.pw_gid)
    env = {
        "HOME": user.pw_dir, "USER": NAME, "LOGNAME": NAME, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
        "SLURM_CONF": os.environ["SLURM_CONF"], "HPCJOBS_HOME": str(folder / "hpcjobs"),
        "XDG_CONFIG_HOME": str(folder / "config"), "APPTAINER_CONFIGDIR": str(folder / "config/apptainer"),
    }  # fmt: skip
    someone = Person(installed, folder, env)
    yield someone
    someone("cancel", "active", code=None)
    shutil.rmtree(folder, ignore_errors=True)
