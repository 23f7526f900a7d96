"""Real module systems: scripts of jobs under Debian's Lmod and Environment Modules, in shells that are none of a login."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import pytest

from hpcjobs import process, render
from hpcjobs.mpi import search
from tests.integration.conftest import CLUSTER, Cli

pytestmark = pytest.mark.integration

TESTBED = Path(os.environ.get("HPCJOBS_TESTBED", "/var/lib/hpcjobs-testbed"))
LMOD = TESTBED / "lmod"
MODULES = {
    "modules/gcc/12.1": "setenv GCC 12.1",
    "modules/gcc/13.2": "setenv GCC 13.2",
    "modules/gcc/.version": 'set ModulesVersion "12.1"',
    "modules/tools/1": "setenv TOOLS first",
    "modules/broken/1": 'puts stderr "no licence is left"\nexit 1',
    "more/tools/1": "setenv TOOLS second",
    "more/extra/1": "setenv EXTRA yes",
    "more/openmpi/5.0": "setenv MPI_HOME /sw/openmpi",
}
# Each says "sticky" in its own way.
STICKY = {
    "lmod": ("base/1.lua", 'setenv("BASE", "yes")\nadd_property("lmod", "sticky")\n'),
    "modules": ("base/1", "#%Module\nmodule-tag sticky base/1\nsetenv BASE yes\n"),
}
FOUND = ("GCC", "TOOLS", "EXTRA", "BASE", "HIDDEN")


@dataclass(frozen=True)
class System:
    """One of the two, as the only one of a machine whose files for logins are at `profile`."""

    name: str
    profile: Path
    folder: Path

    @property
    def init(self) -> str:
        """The line with which a login shell learns of it."""
        return f". {quote(str(next(self.profile.glob('*mod*.sh'))))}"

    def bash(self, *words: str, profile: Path | None = None) -> subprocess.CompletedProcess[str]:
        """A bash with an empty environment, on a machine with those files for logins."""
        mount = 'mount --bind "$0" /etc/profile.d && exec "$@"'
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        enter = ["unshare", *user, "--mount", "sh", "-c", mount, str(profile or self.profile)]
        home = [f"HOME={self.folder}/home", "PATH=/usr/bin:/bin", "USER=ada", "STARTED=yes"]
        return subprocess.run(
            [*enter, "env", "-i", *home, "bash", *words], capture_output=True, text=True, timeout=60, check=False
        )

    def script(self, *items: str, init: str = "", kept_env: tuple[str, ...] | None = None) -> str:
        """The file of a job's script with these modules."""
        show = "; ".join(f'echo "{name}=${{{name}-}}"' for name in FOUND)
        plan = replace(
            render.sample_plan(full=False),
            template="builtin/local", folder=str(self.folder), workdir=str(self.folder), module_init=init,
            modules=items, kept_env=kept_env, launch=(("sh", "-c", f"{show}; echo umask=$(umask)"),),
        )  # fmt: skip
        file = self.folder / "job.sh"
        file.write_text(render.render(plan).text)
        return str(file)

    def job(self, *items: str, code: int = 0, before: str = "") -> tuple[dict[str, str], str]:
        """What the program of a job finds in its environment, and stderr; `before` is run by the shell that submits."""
        script = self.script(f"use {self.folder}/modules", *items)
        done = self.bash("-c", f"umask 077; {before or ':'}; exec bash {script}")
        assert done.returncode == code, done.stdout + done.stderr
        lines = dict(line.split("=") for line in done.stdout.splitlines())
        if code == 0:
            assert lines.pop("umask") == "0077"
        return {name: value for name, value in lines.items() if value}, done.stderr


@pytest.fixture(params=["lmod", "modules"])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    """A system, with modules to load. Where the packages are not installed, that is a failure."""
    subprocess.run([CLUSTER / "lmod", LMOD], check=True, capture_output=True, timeout=120)
    for name, text in MODULES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#%Module\n{text}\n")
    name, text = STICKY[request.param]
    (tmp_path / "modules" / name).parent.mkdir()
    (tmp_path / "modules" / name).write_text(text)
    (tmp_path / "home").mkdir()
    profile = LMOD / "etc/profile.d" if request.param == "lmod" else Path("/etc/profile.d")
    return System(request.param, profile, tmp_path)


@pytest.mark.parametrize(
    ("items", "found"),
    [
        (["gcc"], {"GCC": "12.1"}),
        (["gcc/13.2"], {"GCC": "13.2"}),
        (["load gcc/13.2 tools", "gcc/13.2"], {"GCC": "13.2", "TOOLS": "first"}),
        (["gcc/13.2", "tools", "unload gcc"], {"TOOLS": "first"}),
        (["unload gcc", "tools"], {"TOOLS": "first"}),
        (["gcc/13.2", "swap gcc/13.2 gcc/12.1"], {"GCC": "12.1"}),
        (["gcc/13.2", "swap gcc/12.1"], {"GCC": "12.1"}),
        (["gcc/13.2", "purge", "tools"], {"TOOLS": "first"}),
        (["use $HOME/../more", "extra", "tools"], {"EXTRA": "yes", "TOOLS": "second"}),
        (["use --append $HOME/../more", "extra", "tools"], {"EXTRA": "yes", "TOOLS": "first"}),
        (["use -a ${HOME}/../more", "extra"], {"EXTRA": "yes"}),
        (["base", "tools", "purge --force"], {}),
        (["base", "tools", "--force purge"], {}),
    ],
)
def test_a_batch_shell_does_what_a_login_shell_would(system: System, items: list[str], found: dict[str, str]) -> None:
    assert system.job(*items)[0] == found


def test_collections(system: System) -> None:
    save = f"{system.init}; module use {system.folder}/modules; module load gcc/13.2 tools; module save mine"
    done = system.bash("-c", save)
    assert done.returncode == 0, done.stderr
    assert system.job("gcc/12.1", "restore mine")[0] == {"GCC": "13.2", "TOOLS": "first"}
    _, told = system.job("restore yours", code=69)
    assert "hpcjob: module restore yours failed on node" in told
    assert re.search(r"yours.*(not\s+exist|cannot be found)", told, re.DOTALL)


def test_sticky_modules_stay(system: System) -> None:
    """Lmod says so and goes on; for Environment Modules it is an error, and so it is for the job."""
    if system.name == "lmod":
        found, told = system.job("base", "purge", "gcc")
        assert found == {"BASE": "yes", "GCC": "12.1"}
        assert 'Use "module --force purge" to unload all' in told
    else:
        _, told = system.job("base", "purge", "gcc", code=69)
        assert "Unload of sticky module skipped" in told
        assert "hpcjob: module purge failed on node" in told


@pytest.mark.parametrize(
    ("items", "command"),
    [
        (["gcc/13.2", "nothing/1"], "load gcc/13.2 nothing/1"),
        (["gcc/99"], "load gcc/99"),
        (["gcc", "swap gcc nothing/1"], "swap gcc nothing/1"),
        (["use $HOME/nowhere", "extra"], "load extra"),
    ],
)
def test_what_does_not_load_ends_the_job(system: System, items: list[str], command: str) -> None:
    found, told = system.job(*items, code=69)
    assert found == {}
    assert f"hpcjob: module {command} failed on node" in told
    assert re.search(r"unknown|Unable to locate a modulefile", told)
    assert command.rpartition(" ")[2] in told
    assert "code=69\n" in (system.folder / "exit").read_text()


def test_what_came_along_is_used(system: System) -> None:
    """The function of a bash; only its variables, of a zsh or csh; and what was loaded there."""
    begin = f"{system.init}; module use {system.folder}/modules; module load gcc/13.2"
    for before in (begin, f"{begin}; unset -f module ml _module_raw; unset BASH_ENV"):
        found, _ = system.job("tools", before=before)
        assert found == {"GCC": "13.2", "TOOLS": "first"}
        assert system.job("swap gcc gcc/12.1", before=before)[0] == {"GCC": "12.1"}


def test_a_clean_environment_has_the_site_s_modules(system: System) -> None:
    """That one was loaded where the job was submitted is forgotten with what it had set."""
    begin = f"{system.init}; module use {system.folder}/modules; module load gcc/13.2 tools; export HIDDEN=yes"
    script = system.script("gcc/13.2", kept_env=())
    for before in (begin, f"{begin}; unset -f module ml _module_raw; unset BASH_ENV"):
        done = system.bash("-c", f"{before}; exec bash {script}")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[:-1] == ["GCC=13.2", "TOOLS=", "EXTRA=", "BASE=", "HIDDEN="]


def test_the_site_s_line_comes_first(system: System, tmp_path: Path) -> None:
    """Where there is one, nothing else is looked for: this machine's login shells have another `gcc`."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "it.sh").write_text("module() { export GCC=wrong; }\n")
    (tmp_path / "init.sh").write_bytes(Path(system.init.split()[1]).read_bytes())
    script = system.script(f"use {system.folder}/modules", "gcc", init=f". {tmp_path}/init.sh")
    assert "GCC=12.1\n" in system.bash(script, profile=other).stdout


@pytest.mark.parametrize("init", ["", "true"])
def test_a_machine_without_modules(system: System, tmp_path: Path, init: str) -> None:
    (tmp_path / "bare").mkdir()
    done = system.bash(system.script("gcc", init=init), profile=tmp_path / "bare")
    assert (done.returncode, done.stdout) == (69, "")
    assert "hpcjob: bash knows no command module, which module_init of the site can define, on node" in done.stderr


def test_mpis_are_looked_for_where_the_site_says(system: System) -> None:
    wanted = [f"use {system.folder}/more", "gcc/13.2"]
    environment = {"HOME": str(system.folder / "home"), "PATH": "/usr/bin:/bin", "USER": "ada"}
    init = f"{system.init}; module use {system.folder}/modules"
    found, notes = search.modules(process.run, environment, init, wanted)
    assert notes == []
    assert {names: (env.get("GCC"), env.get("MPI_HOME")) for names, env in found.items()} == {
        ("gcc/13.2",): ("13.2", None),
        ("openmpi/5.0",): (None, "/sw/openmpi"),
    }


def submitted(cli: Cli, file: Path, options: Sequence[str]) -> str:
    cli(
        "submit",
        "--site-file",
        str(file),
        "--wait",
        *options,
        "--",
        "sh",
        "-c",
        "echo GCC=$GCC TOOLS=$TOOLS",
        code=None,
    )
    return cli("logs", "last", code=None).stdout + cli("show", "last").stdout


@pytest.mark.parametrize("export", ["none", "all"])
def test_a_job_of_slurm(
    slurm: Callable[..., str], cli: Cli, system: System, monkeypatch: pytest.MonkeyPatch, export: str
) -> None:
    # The nodes are this machine, whose login shells know the other.
    init = f"module_init: {system.init}\n" if system.name == "lmod" else ""
    file = system.folder / "its.yaml"
    folder = f"{system.folder}/modules"
    file.write_text(
        f"extends: testbed\nscheduler: {{export: {export}}}\n{init}modules: [purge, 'use {folder}', gcc/13.2, tools]\n"
    )
    monkeypatch.setenv("GCC", "of the submission")
    assert "GCC=12.1 TOOLS=first" in submitted(cli, file, ["--module", "swap gcc gcc/12.1"])
    failed = submitted(cli, file, ["--module", "nothing/1"])
    assert "it ended before the program began: module load gcc/13.2 tools nothing/1 failed on node n" in failed
