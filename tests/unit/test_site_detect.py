"""Which site a machine is, and what a site leaves to the machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import paths, site
from hpcjobs.errors import NotFoundError, SiteError
from hpcjobs.model import LauncherConfig, RuntimeConfig, Site
from hpcjobs.site import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a site file into the user's or the project's folder."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HPCJOBS_SITE_PATH", raising=False)
    monkeypatch.chdir(tmp_path)

    def make(name: str, text: str, layer: str = "user") -> Path:
        folder = tmp_path / {"user": "config/hpcjobs/sites", "project": ".hpcjobs/sites"}[layer]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.yaml"
        file.write_text(text, "utf-8")
        return file

    return make


@pytest.fixture(autouse=True)
def generic_sites(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sites that come with hpcjob, those that are no machine of somebody's."""
    real = paths.packaged
    folder = tmp_path_factory.mktemp("built-in")
    for name in ("local", "pbs", "slurm", "testbed"):
        shutil.copy(real("sites") / f"{name}.yaml", folder)
    monkeypatch.setattr(paths, "packaged", lambda kind: folder if kind == "sites" else real(kind))
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path_factory.mktemp("home")))


def machine(
    *programs: str,
    hostname: str = "login1.example.org",
    files: tuple[str, ...] = (),
    texts: Mapping[str, str] = MappingProxyType({}),
    **env: str,
) -> Machine:
    def which(name: str) -> str | None:
        return f"/usr/bin/{name}" if name in programs else None

    return Machine(
        env=env,
        which=which,
        exists=lambda path: path in files,
        hostname=hostname,
        read=lambda path: texts.get(path, ""),
    )


def chosen(here: Machine) -> str:
    return site.choose(machine=here).site.name


def test_a_machine_without_a_batch_system_is_local(write: Write) -> None:
    loaded = site.choose(machine=machine())
    assert (loaded.site.name, loaded.chosen) == ("local", "detected: fits everywhere")


def test_a_machine_with_sbatch_is_slurm(write: Write) -> None:
    loaded = site.choose(machine=machine("sbatch"))
    assert (loaded.site.name, loaded.chosen) == ("slurm", "detected: sbatch is on PATH")


def test_the_test_cluster_is_known_by_its_file(write: Write) -> None:
    assert chosen(machine("sbatch", files=("/var/lib/hpcjobs-testbed/etc/slurm.conf",))) == "testbed"
    assert chosen(machine(files=("/var/lib/hpcjobs-testbed/etc/slurm.conf",))) == "local"


def test_what_tells_this_machine_beats_what_tells_its_kind(write: Write) -> None:
    write("centre", r"detect: {hostname: 'login\d\.example\.org'}")
    assert chosen(machine("sbatch")) == "centre"
    assert chosen(machine("sbatch", hostname="login1.example.org.evil.net")) == "slurm"


def test_more_keys_beat_fewer(write: Write) -> None:
    write("centre", r"detect: {hostname: 'login.*'}")
    write("part", r"detect: {hostname: 'login.*', env: {PART: gpu|fpga}}")
    assert chosen(machine(PART="gpu")) == "part"
    assert chosen(machine(PART="gpus")) == "centre"
    assert chosen(machine()) == "centre"


def test_of_equals_the_nearest_wins(write: Write) -> None:
    write("far", "detect: {hostname: 'login.*'}")
    write("near", "detect: {hostname: 'login.*'}", layer="project")
    assert chosen(machine()) == "near"


def test_equals_in_one_folder_are_an_error_that_names_both(write: Write) -> None:
    one = write("one", "detect: {hostname: 'login.*'}")
    two = write("two", "detect: {env: {CENTRE: x}}")
    with pytest.raises(SiteError) as caught:
        site.choose(machine=machine(CENTRE="x"))
    assert caught.value.message == (
        f"both {one} (the host name login1.example.org fits login.*) and {two} ($CENTRE (x) fits x) "
        "describe this machine"
    )
    assert caught.value.hint == "type --site one, or make `detect` of one of them more specific"


def test_a_hidden_file_is_not_asked(write: Write) -> None:
    write("local", "detect: {command: nothing}")
    write("slurm", "description: without detect")
    with pytest.raises(SiteError) as caught:
        site.choose(machine=machine("sbatch"))
    assert caught.value.message == "no site file describes this machine"
    assert caught.value.hint == "type --site NAME: there are local, pbs, slurm, testbed"


def test_the_short_host_name_will_do(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> str:
        raise AssertionError("no name server is asked")

    write("centre", "detect: {hostname: login1}")
    monkeypatch.setattr("socket.getfqdn", refuse)
    assert chosen(machine(hostname="login1")) == "centre"


def test_the_domain_is_asked_for_where_the_short_name_does_not_do(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("centre", r"detect: {hostname: login1\.example\.org}")
    monkeypatch.setattr("socket.getfqdn", lambda name: f"{name}.example.org")
    assert chosen(machine(hostname="login1")) == "centre"


def test_the_domain_is_in_the_hosts_file_or_asked_for_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("centre", r"detect: {hostname: 'login1\.centre\.org'}")
    asked = []

    def ask(name: str) -> str:
        asked.append(name)
        return f"{name}.centre.org"

    monkeypatch.setattr("socket.getfqdn", ask)
    hosts = {"/etc/hosts": "127.0.0.1 localhost\n10.0.0.1 login1.centre.org login1 # us\n"}
    assert chosen(machine(hostname="login1", texts=hosts)) == "centre"
    assert asked == []
    assert [chosen(machine(hostname="login1")) for _ in range(3)] == ["centre"] * 3
    assert asked == ["login1"]


@pytest.mark.parametrize(
    ("file", "text", "env"),
    [
        ("/etc/slurm/slurm.conf", "# ClusterName=old\nClusterName=aurora # ours\n", {}),
        ("/opt/conf", "clustername = aurora\n", {"SLURM_CONF": "/opt/conf"}),
        ("/etc/pbs.conf", "PBS_EXEC=/opt/pbs\nPBS_SERVER=aurora\n", {}),
    ],
)
def test_the_cluster_s_name_is_in_the_scheduler_s_configuration(
    file: str, text: str, env: dict[str, str], write: Write
) -> None:
    write("centre", "detect: {cluster: aurora}")
    here = replace(machine("sbatch", texts={file: text}), env=env)
    assert chosen(here) == "centre"
    matches = {match.name: match.why for match in site.explain_detection(here)}
    assert matches["centre"] == "the cluster aurora fits aurora"
    elsewhere = site.explain_detection(machine("sbatch"))
    assert "the cluster (not known) does not fit aurora" in [match.why for match in elsewhere]


def test_a_file_that_extends_the_one_it_hides_is_about_the_same_machine(write: Write) -> None:
    conf = "/var/lib/hpcjobs-testbed/etc/slurm.conf"
    write("testbed", "extends: testbed\ndefaults: {time: 5m}")
    here = machine("sbatch", files=(conf,))
    loaded = site.choose(machine=here)
    assert (loaded.site.name, loaded.who) == ("testbed", "user")
    assert loaded.site.detect is not None
    assert loaded.site.description == "four-node Slurm for the tests and the demo"
    write("testbed", "extends: testbed\ndetect:")
    assert chosen(here) == "slurm"
    write("other", "extends: testbed")
    assert site.load("other").site.detect is None


def test_somebody_s_own_file_is_preferred_to_a_built_in_one_that_says_more(write: Write, tmp_path: Path) -> None:
    write("mine", "detect: {cluster: testbed}")
    conf = "/var/lib/hpcjobs-testbed/etc/slurm.conf"
    here = machine("sbatch", files=(conf,), texts={"/etc/slurm/slurm.conf": "ClusterName=testbed"})
    assert chosen(here) == "mine"
    write("mine", "detect: {command: sbatch}")  # that tells no machine
    assert chosen(here) == "testbed"


def test_every_site_says_why_it_fits_or_not(write: Write) -> None:
    write("centre", "detect: {hostname: 'aurora.*', env: {LMOD: '.*'}, file: /etc/aurora, command: qsub}")
    write("pattern", "detect: {hostname: '('}")
    broken = write("broken", "detect: {host: x}")
    write("silent", "description: x")
    explained = {match.name: (match.matched, match.why) for match in site.explain_detection(machine("sbatch"))}
    assert explained == {
        "broken": (False, f"{broken}:1: detect.host: there is no such key"),
        "centre": (
            False,
            (
                "the host name login1.example.org does not fit aurora.*, $LMOD (not set) does not fit .*, "
                "/etc/aurora does not exist, qsub is not on PATH"
            ),
        ),
        "local": (True, "fits everywhere"),
        "pbs": (False, "qselect is not on PATH"),
        "pattern": (False, "the host name login1.example.org does not fit ("),
        "silent": (False, "has no `detect`"),
        "slurm": (True, "sbatch is on PATH"),
        "testbed": (False, "/var/lib/hpcjobs-testbed/etc/slurm.conf does not exist"),
    }


def test_who_decides(write: Write, tmp_path: Path) -> None:
    for name in ("named", "exported", "configured"):
        write(name, "description: x")
    config = tmp_path / "config/hpcjobs/config.yaml"
    config.write_text("site: configured\n")
    exported = machine(HPCJOBS_SITE="exported")
    file = write("filed", "description: x")
    for loaded, expected in [
        (site.choose(file=str(file), machine=exported), ("filed", "--site-file")),
        (site.choose("named", machine=exported), ("named", "--site")),
        (site.choose(machine=exported), ("exported", "$HPCJOBS_SITE")),
        (site.choose(machine=machine()), ("configured", str(config))),
    ]:
        assert (loaded.site.name, loaded.chosen) == expected


def test_a_variable_that_names_no_site(write: Write) -> None:
    with pytest.raises(NotFoundError, match="there is no site 'gone'"):
        site.choose(machine=machine(HPCJOBS_SITE="gone"))


@pytest.mark.parametrize("text", ["sites: x\n", "site: [x]\n", "site:\n"])
def test_a_wrong_config_names_its_line(write: Write, tmp_path: Path, text: str) -> None:
    write("x", "description: x")
    config = tmp_path / "config/hpcjobs/config.yaml"
    config.write_text(text)
    with pytest.raises(SiteError) as caught:
        site.choose(machine=machine())
    assert caught.value.message == f"{config}:1: {text.partition(':')[0]}: not understood"
    assert caught.value.hint == "write one line: site: NAME"


@pytest.mark.parametrize("text", ["", "# site: x\n", "---\n"])
def test_a_config_that_says_nothing_decides_nothing(write: Write, tmp_path: Path, text: str) -> None:
    write("x", "description: x")
    (tmp_path / "config/hpcjobs/config.yaml").write_text(text)
    assert chosen(machine("sbatch")) == "slurm"


# ------------------------------------------------------------------------------------------- settling

AUTO = Site(
    name="auto",
    launcher=LauncherConfig(kind="auto"),
    launchers=(
        LauncherConfig(kind="mpirun"),
        LauncherConfig(kind="mpiexec", command="mpiexec.hydra"),
        LauncherConfig(kind="none"),
    ),
)


@pytest.mark.parametrize(
    ("programs", "kind"),
    [
        ((), "none"),
        (("mpirun", "mpiexec"), "none"),  # whose they are is not known
        (("mpirun", "mpiexec", "ompi_info"), "mpirun"),
        (("mpirun", "mpiexec", "mpiexec.hydra"), "mpiexec"),
        (("mpirun", "mpiexec", "ompi_info", "mpiexec.hydra"), "mpirun"),
    ],
)
def test_the_first_launcher_that_is_installed(programs: tuple[str, ...], kind: str) -> None:
    assert site.settle(AUTO, machine(*programs).which).launcher.kind == kind


def test_a_named_launcher_stays() -> None:
    named = Site(name="x", launcher=LauncherConfig(kind="srun"))
    assert site.settle(named, machine().which) == named


RUNTIMES: dict[str, Any] = {
    "apptainer": RuntimeConfig(kind="apptainer"),
    "by-module": RuntimeConfig(kind="apptainer", modules=("apptainer",)),
    "by-path": RuntimeConfig(kind="singularity", command="/opt/bin/singularity"),
    "charliecloud": RuntimeConfig(kind="charliecloud"),
}


@pytest.mark.parametrize(
    ("programs", "listed", "order"),
    [
        (("ch-run",), ["apptainer", "charliecloud"], ["charliecloud", "apptainer"]),
        (("ch-run", "apptainer"), ["apptainer", "charliecloud"], ["apptainer", "charliecloud"]),
        ((), ["apptainer", "charliecloud"], ["apptainer", "charliecloud"]),
        (("ch-run",), ["by-module", "charliecloud"], ["by-module", "charliecloud"]),
        ((), ["apptainer", "by-path"], ["by-path", "apptainer"]),
    ],
)
def test_runtimes_that_are_not_here_go_last(programs: tuple[str, ...], listed: list[str], order: list[str]) -> None:
    before = Site(name="x", runtimes=tuple(RUNTIMES[name] for name in listed))
    after = site.settle(before, machine(*programs).which)
    assert after.runtimes == tuple(RUNTIMES[name] for name in order)


def test_the_chosen_site_is_settled(write: Write) -> None:
    loaded = site.choose("local", machine=machine("ompi_info", "ch-run"))
    assert loaded.site.launcher.kind == "mpirun"
    assert [one.kind for one in loaded.site.runtimes] == [
        "charliecloud", "apptainer", "singularity", "podman", "docker",
    ]  # fmt: skip


def test_what_was_settled_is_shown_and_is_not_said_to_be_the_files(write: Write) -> None:
    loaded = site.choose("local", machine=machine("mpiexec.hydra", "ch-run"))
    origins = loaded.origins
    settled = ("launcher.kind", "launcher.command", "launcher.single", "runtimes")
    assert {origins[key] for key in settled} == {"what is on PATH here"}
    assert origins["launcher.cpu_bind"] == "default"
    assert origins["scheduler.kind"].endswith("local.yaml:8 (built-in)")
    file = write("again", loaded.to_yaml().replace("name: local\n", ""))
    assert site.load(file=str(file)).site.launcher == loaded.site.launcher


# -------------------------------------------------------------------------------------------- caching


@pytest.fixture
def chain(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site kept in the cache: it extends a file elsewhere, of which nothing is left in it."""
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    (tmp_path / "shared.yaml").write_text("extends: slurm\nscratch: /a\n")
    write("mine", f"extends: {tmp_path}/shared.yaml\nscratch: /b\ndefaults: {{time: 1h, mem: 4G}}\n")
    kept = site.choose("mine", machine=machine(), cached=True)
    with monkeypatch.context() as patch:
        patch.setattr("hpcjobs.site.detect.load", None)  # it is not read again
        assert site.choose("mine", machine=machine(), cached=True).site == kept.site
    return tmp_path


def test_a_change_of_the_file_is_seen(chain: Path, write: Write) -> None:
    write("mine", "scratch: /changed")
    assert site.choose("mine", machine=machine(), cached=True).site.scratch == "/changed"


def test_a_change_of_an_extended_file_is_seen(chain: Path) -> None:
    (chain / "shared.yaml").write_text("extends: slurm\nmodules: [gcc]\n")
    assert site.choose("mine", machine=machine(), cached=True).site.modules == ("gcc",)


def test_a_new_file_that_hides_an_extended_one_is_seen(chain: Path, write: Write) -> None:
    write("slurm", "modules: [gcc]", "project")
    assert site.choose("mine", machine=machine(), cached=True).site.modules == ("gcc",)


def test_a_cache_that_is_half_written_is_not_believed(chain: Path) -> None:
    (entry,) = (chain / "home/cache").glob("site-mine-*.json")
    entry.write_text(entry.read_text()[:-20])
    assert site.choose("mine", machine=machine(), cached=True).site.scratch == "/b"


# ------------------------------------------------------------------------- detection, from the cache


@pytest.fixture
def detected(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that one of two sites describes, which is kept in the cache."""
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HPCJOBS_SITE", raising=False)
    write("mine", "detect: {hostname: here}")
    write("other", "detect: {hostname: there}")
    this = machine(hostname="here")
    assert site.choose(machine=this, cached=True).site.name == "mine"
    return this


def test_a_detection_that_was_kept_reads_no_file(detected: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcjobs.site.yamlfile.read", None)
    assert site.choose(machine=detected, cached=True).chosen == "detected: the host name here fits here"
    elsewhere = replace(detected, hostname="there")
    assert site.detect.detect(elsewhere, cached=True).name == "other"


def test_a_changed_detection_is_seen(detected: Machine, write: Write) -> None:
    write("mine", "detect: {hostname: elsewhere}")
    write("other", "detect: {hostname: here}")
    assert site.choose(machine=detected, cached=True).site.name == "other"


def test_a_site_that_cannot_be_read_is_read_again_each_time(detected: Machine, write: Write, tmp_path: Path) -> None:
    wrong = write("wrong", "detect: {hostnam: here}")
    for _ in range(2):
        why = {match.name: match.why for match in site.explain_detection(detected, cached=True)}
        assert "hostnam" in why["wrong"]
    wrong.unlink()
    assert "wrong" not in {match.name for match in site.explain_detection(detected, cached=True)}
