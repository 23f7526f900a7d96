"""Scripts of a site's images, and modulefiles, which the real Lua and Tcl read here."""

from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcjobs import mpi_service, wrapping
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, UsageError
from hpcjobs.image_service import Telling
from hpcjobs.model import JobSpec, LauncherConfig, MpiConfig, RuntimeConfig, SchedulerConfig, Site
from hpcjobs.mpi.settle import Known
from hpcjobs.process import Completed
from hpcjobs.wrapping import Wrapping, launched, module_name, modulefiles, write_command, write_file
from tests import mpi_facts
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SITE = Site(
    name="cluster",
    scheduler=SchedulerConfig(kind="slurm"),
    launcher=LauncherConfig(kind="srun"),
    launchers=(LauncherConfig(kind="mpiexec"),),
    runtimes=(RuntimeConfig(kind="apptainer", version="1.4.5"), RuntimeConfig(kind="shifter")),
    mpi=MpiConfig(default="pmi2"),
)


class Lab:
    """A folder with an image, and all that was said."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[str] = []
        self.image = home / "app-1.2.sif"
        self.image.write_bytes(sif(b"02"))
        self.spec = JobSpec(command=("solve",), image="app-1.2.sif")

    def wrapping(self, site: Site = SITE) -> Wrapping:
        loaded: Any = SimpleNamespace(site=site, file=self.home / "cluster.yaml")
        telling = Telling(lambda *_: None, self.said.append)
        return Wrapping(loaded, self.run, jobs_folder=self.home / "jobs", telling=telling, site_file="cluster.yaml")

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        raise AssertionError(argv)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)


def refused(call: Callable[[], object], kind: type[HpcjobError]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return f"{caught.value.message} | {caught.value.hint}"


def known(monkeypatch: pytest.MonkeyPatch, found: tuple[Known | None, str]) -> list[JobSpec]:
    """Let that be known of MPI; the requests that are asked about."""
    asked = []

    def know(_: object, spec: JobSpec, *__: object, **___: object) -> tuple[Known | None, str]:
        asked.append(spec)
        return found

    monkeypatch.setattr(mpi_service.Mpi, "known", know)
    return asked


# -------------------------------------------------------------------------------------- the wrappers


def test_a_wrapping_is_of_a_site(lab: Lab) -> None:
    assert (lab.wrapping().site, lab.wrapping().site_file) == ("cluster", "cluster.yaml")


def test_paths_are_from_the_root_in_a_script_that_is_called_elsewhere(lab: Lab) -> None:
    spec, image, runtime = lab.wrapping().prepared(lab.spec)
    assert (spec.workdir, spec.image) == (str(lab.home), str(lab.image))
    assert (image.path, runtime.name) == (str(lab.image), "apptainer")
    made = lab.wrapping().wrapper(replace(lab.spec, bind=("ref:/in",)))
    assert made.image == str(lab.image)
    assert f"{lab.home}/ref:/in" in made.launch[0]
    assert made.launch[1] == ("solve",)


def test_there_must_be_an_image(lab: Lab) -> None:
    assert refused(lambda: lab.wrapping().prepared(JobSpec(command=("a",))), UsageError) == (
        "there is no image | name one: app.sif, app.sqfs, docker://alpine:3.20"
    )
    missing = replace(lab.spec, image="gone.sif")
    assert refused(lambda: lab.wrapping().prepared(missing), NotFoundError).startswith("there is no image ")


def test_notes_of_the_runtime_are_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lab.wrapping().prepared(lab.spec)
    monkeypatch.setattr("hpcjobs.wrapper.wrap", lambda *_, **__: SimpleNamespace(notes=("a doubt", "another")))
    lab.wrapping().of(*found)
    assert lab.said == ["a doubt", "another"]


def test_commands_are_files_by_the_names_of_the_programs(lab: Lab) -> None:
    scripts = lab.wrapping().commands(replace(lab.spec, command=()), ["solve", "/opt/app/bin/post.py"])
    assert list(scripts) == ["solve", "post.py"]
    assert [text.splitlines()[-1].strip() for text in scripts.values()] == ['solve "$@"', '/opt/app/bin/post.py "$@"']


@pytest.mark.parametrize("name", ["", ".", "/", "..", "-n", "a b", "bin/é", ".hidden", "a;b"])
def test_names_that_no_command_can_have(lab: Lab, name: str) -> None:
    found = refused(lambda: lab.wrapping().commands(lab.spec, ["solve", name]), UsageError)
    assert found == f"{Path(name).name!r} cannot be the name of a command | write --command samtools".replace(
        repr(Path(name).name), repr(name)
    )


def test_two_commands_of_one_name(lab: Lab) -> None:
    found = refused(lambda: lab.wrapping().commands(lab.spec, ["solve", "/opt/solve"]), UsageError)
    assert found == "two commands would be called solve | leave out one of them"


def test_a_command_of_mpi_is_wired_as_a_rank(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    host = mpi_facts.host(mpi_facts.DEBIAN, launchers=(mpi_facts.srun("none", "pmi2"),))
    asked = known(monkeypatch, (Known(mpi_facts.TRIXIE, host, folder=str(lab.home / "links")), ""))
    (text,) = lab.wrapping().commands(replace(lab.spec, command=()), ["solve"], mpi=True).values()
    assert [(spec.command, spec.ntasks, spec.mpi_check) for spec in asked] == [(("solve",), 2, "never")]
    assert "\nexport APPTAINERENV_LD_LIBRARY_PATH=/hpcjob/mpi/front:" in text
    how, where = lab.said
    assert how.startswith("mpi: bind, to be started with srun --mpi=pmi2 (")
    assert where.startswith(f"it needs {lab.home}/links/")
    (links,) = (lab.home / "links").iterdir()
    assert (links / "front/libmpi.so.12").readlink() == Path(f"/hpcjob/host{mpi_facts.DEBIAN.interfaces[0].path}")


@pytest.mark.parametrize(("why", "said"), [("", []), ("no one looked", ["MPI is left to the launcher: no one looked"])])
def test_a_command_of_which_nothing_is_known_is_as_without_mpi(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, why: str, said: list[str]
) -> None:
    known(monkeypatch, (None, why))
    assert lab.wrapping().wrapper(lab.spec, mpi=True) == lab.wrapping().wrapper(lab.spec)
    assert lab.said == said


@pytest.mark.parametrize("site", [SITE, replace(SITE, mpi=MpiConfig())], ids=["pmi2", "no kind"])
def test_mpi_of_the_image_itself_needs_the_launcher_s_kind(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, site: Site
) -> None:
    known(monkeypatch, (Known(replace(mpi_facts.TRIXIE, mpis=(), program=None), None, folder=str(lab.home)), ""))
    assert lab.wrapping(site).wrapper(lab.spec, mpi=True).env == {}
    kind = ", to be started with srun --mpi=pmi2" if site is SITE else ""
    assert [line.partition(" (")[0] for line in lab.said] == [f"mpi: hybrid{kind}"]


def test_mpi_that_cannot_be_may_be_left_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (Known(mpi_facts.TRIXIE, None, folder=str(lab.home)), ""))
    found = refused(lambda: lab.wrapping().wrapper(replace(lab.spec, mpi="bind"), mpi=True), PlanError)
    assert found.endswith("; or for one process alone: --mpi none")


def test_nothing_is_said_of_a_program_that_is_to_have_no_mpi(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (Known(mpi_facts.TRIXIE, None, folder=str(lab.home)), ""))
    assert lab.wrapping().wrapper(replace(lab.spec, mpi="none"), mpi=True).env == {}
    assert lab.said == []


# ------------------------------------------------------------------------------------------ ranks


def ranks(lab: Lab, site: Site = SITE, environ: dict[str, str] | None = None, **asked: Any) -> tuple[str, ...]:
    return launched(lab.wrapping(site), replace(lab.spec, **asked), environ or {})


def test_srun_starts_ranks_in_a_job_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (None, ""))
    assert refused(lambda: ranks(lab, nodes=2), PlanError) == (
        "srun starts ranks in a job, and this shell is in none | hpcjob shell -N 2 gives one; or send a job: "
        "hpcjob submit --image app-1.2.sif …"
    )


def test_ranks_are_started_by_the_launcher_of_the_site(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (None, ""))
    words = ranks(lab, environ={"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}, ntasks=4, cpus_per_task=3)
    own, (bash, dash, text, name) = words[:-4], words[-4:]
    assert (bash, dash, name) == ("bash", "-c", "hpcjob")
    assert own == ("srun", "--ntasks=4", "--cpus-per-task=3", "--cpu-bind=cores", "--mpi=pmi2")
    assert text.splitlines()[-1].strip() == "solve", "without the arguments of a command"


def test_ranks_are_by_default_one_a_node(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (None, ""))
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "3"}
    assert ranks(lab, environ=job)[:2] == ("srun", "--ntasks=3")


def test_nodes_that_are_named_are_fewer_than_the_job_s(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (None, ""))
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "3"}
    words = ranks(lab, environ=job, nodes=1, ntasks=4)
    assert {"--nodes=1", "--ntasks=4"} <= set(words)


def test_other_launchers_start_ranks_without_a_job(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (None, ""))
    site = replace(SITE, mpi=MpiConfig())
    assert ranks(lab, site, launcher="mpiexec", ntasks=2)[:3] == ("mpiexec", "-n", "2")


def test_fewer_ranks_than_nodes_are_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, (None, ""))
    found = refused(lambda: ranks(lab, environ={"SLURM_JOB_ID": "7"}, nodes=3, ntasks=2), UsageError)
    assert found == "2 ranks cannot be on 3 nodes | -N 2, or more ranks: -n 3"


def test_the_kind_of_mpi_is_the_one_that_was_settled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    host = mpi_facts.host(mpi_facts.DEBIAN, launchers=(mpi_facts.srun("none", "pmi2"),))
    known(monkeypatch, (Known(mpi_facts.TRIXIE, host, folder=str(lab.home / "links")), ""))
    site = replace(SITE, mpi=MpiConfig())
    launcher, text, kind = lab.wrapping(site).rank(replace(lab.spec, ntasks=2))
    assert (launcher.name, kind) == ("srun", "pmi2")
    assert "/hpcjob/mpi/front" in text


def test_variables_of_the_launcher_are_set_for_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    rank = SimpleNamespace(
        name="mine", command=lambda *_, **__: SimpleNamespace(env={"A": "1 2"}, argv=("mine", "-n", "1"))
    )
    made = lab.wrapping()
    monkeypatch.setattr(made, "rank", lambda _: (rank, "text", ""))
    assert launched(made, lab.spec, {}) == ("env", "A=1 2", "mine", "-n", "1", "bash", "-c", "text", "hpcjob")


# ------------------------------------------------------------------------------------------ files

OWN = "#!/bin/bash\n# written by hpcjob\n"


@pytest.fixture
def umask() -> Any:
    old = os.umask(0o027)
    yield
    os.umask(old)


@pytest.mark.usefixtures("umask")
def test_files_have_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    command = write_command(tmp_path / "new/bin", "solve", OWN)
    file = write_file(tmp_path / "new/1.0.lua", "text \udcff")
    assert stat.S_IMODE(command.stat().st_mode) == 0o750
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (command.read_text(), file.read_bytes()) == (OWN, b"text \xff")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["1.0.lua", "bin"]


def test_a_file_that_hpcjob_wrote_is_written_anew(tmp_path: Path) -> None:
    write_command(tmp_path, "solve", OWN)
    assert write_command(tmp_path, "solve", f"{OWN}more").read_text() == f"{OWN}more"


def test_a_file_of_somebody_else_is_left_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "solve").write_text("#!/bin/sh\n")
    found = refused(lambda: write_command(tmp_path, "solve", OWN), PlanError)
    assert found == f"there is a file {tmp_path}/solve that hpcjob did not write | choose another place, or --force"
    assert (tmp_path / "solve").read_text() == "#!/bin/sh\n"
    assert write_command(tmp_path, "solve", OWN, force=True).read_text() == OWN


@pytest.mark.parametrize(
    ("place", "why"),
    [("file/solve", "File exists"), ("file/more/solve", "Not a directory"), (f"{'x' * 300}", "File name too long")],
)
@pytest.mark.parametrize("force", [True, False])
def test_a_place_where_nothing_can_be_written(tmp_path: Path, place: str, why: str, force: bool) -> None:
    (tmp_path / "file").touch()
    found = refused(lambda: write_file(tmp_path / place, OWN, force=force), PlanError)
    assert found == f"{tmp_path / place} cannot be written: {why} | choose another place with --to"


def test_a_folder_is_no_file_that_could_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "solve").mkdir()
    for call in (partial(write_file, force=False), partial(write_file, force=True)):
        found = refused(partial(call, tmp_path / "solve", OWN), PlanError)
        assert found.startswith(f"{tmp_path}/solve cannot be written: Is a directory")
    assert list(tmp_path.iterdir()) == [tmp_path / "solve"], "what was begun is gone"


# ---------------------------------------------------------------------------------------- modules


@pytest.mark.parametrize(
    ("name", "image", "made"),
    [
        ("", "samtools-1.20.sif", "samtools/1.20"),
        ("", "/images/samtools_1.20.sqfs", "samtools/1.20"),
        ("", "docker://quay.io/biocontainers/samtools:1.20--h50ea8bc_0", "samtools/1.20--h50ea8bc_0"),
        ("", "docker://alpine", "alpine/latest"),
        ("", "docker://alpine:3.20@sha256:12ab", "alpine/3.20"),
        ("", "images/app.squashfs", "app/latest"),
        ("", "images/openfoam-v2312/", "openfoam/v2312"),
        ("", "gcc-toolset-13.sqsh", "gcc-toolset/13"),
        ("tools", "app.sif", "tools/latest"),
        ("tools/2", "app.sif", "tools/2"),
    ],
)
def test_a_module_is_named_after_its_image(name: str, image: str, made: str) -> None:
    assert module_name(name, image) == made


@pytest.mark.parametrize("name", ["a/b/c", "/1", "a/", "a b", ".a/1", "a/.1", "../x", "-a/1", "é", "a/1\n"])
def test_names_that_no_module_can_have(name: str) -> None:
    assert "cannot be the name of a module | give one: --name samtools/1.20" in refused(
        lambda: module_name(name, "app.sif"), UsageError
    )


def test_an_image_whose_name_cannot_be_a_module_s() -> None:
    found = refused(lambda: module_name("", "my app.sif"), UsageError)
    assert found == "'my app/latest' cannot be the name of a module | give one: --name samtools/1.20"


def test_a_modulefile_for_each_module_system() -> None:
    found = modulefiles("samtools/1.20", Path("/m"), "docker://samtools:1.20", ["samtools", "bgzip"])
    assert found == {
        Path("/m/samtools/1.20.lua"): (
            "-- written by hpcjob\n"
            'help("samtools 1.20 in a container: bgzip samtools\\010Image: docker://samtools:1.20")\n'
            'whatis("Name: samtools")\n'
            'whatis("Version: 1.20")\n'
            'whatis("Description: samtools 1.20 in a container: bgzip samtools")\n'
            'prepend_path("PATH", "/m/.commands/samtools/1.20")\n'
        ),
        Path("/m/samtools/1.20"): (
            "#%Module1.0\n# written by hpcjob\n"
            "proc ModulesHelp {} { "
            'puts stderr "samtools 1.20 in a container: bgzip samtools\\; image: docker://samtools:1.20" }\n'
            'module-whatis "samtools 1.20 in a container: bgzip samtools"\n'
            'prepend-path PATH "/m/.commands/samtools/1.20"\n'
        ),
    }
    assert wrapping.module_commands("samtools/1.20", Path("/m")) == Path("/m/.commands/samtools/1.20")


# Any path: no NUL, and of the surrogates those that stand for single bytes.
TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
    | st.sampled_from("'\"\\$`[]{};#%~^ \t\n\r\x01\x7f0123456789abcux"),
    min_size=1,
    max_size=40,
)
# What the functions of a module system are for the tests: the path, between two zeros.
LUA = 'function help() end; whatis = help; function prepend_path(_, text) io.write("\\0", text, "\\0") end\n'
TCL = r"""
fconfigure stdout -encoding iso8859-1 -translation lf
proc module-whatis {text} {}
proc prepend-path {_ text} { puts -nonewline "\0$text\0" }
"""


def read(tool: Sequence[str], before: str, file: Path, after: str = "") -> list[bytes]:
    """What the tool says between zeros, when it has read the file of a module."""
    script = file.with_name("script")
    script.write_bytes(before.encode() + file.read_bytes() + after.encode())
    done = subprocess.run([*tool, script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    assert done.stderr.count(b"\n") == 0 or after
    return [*done.stdout.split(b"\0")[1::2], *done.stderr.splitlines()[-1:]]


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT)
@example('[exit 3]$env(HOME)}{"; exit 3 #', "a}\n{\\")
@example("\\\udcff\x011", "%s ]]--[[")
@example("a\\", "b\\")
def test_lua_and_tcl_read_each_path_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, path: str, image: str
) -> None:
    folder = tmp_path_factory.mktemp("m")
    texts = modulefiles("tools/1", Path("/m", path), image, ["tool"])
    lua, tcl = (write_file(folder / name, text) for name, text in zip(("lua", "tcl"), texts.values(), strict=True))
    expected = os.fsencode(f"{Path('/m', path)}/.commands/tools/1")
    assert read(["lua5.3"], LUA, lua) == [expected]
    assert read(["tclsh", "-encoding", "iso8859-1"], TCL, tcl) == [expected]


def test_help_of_the_modulefiles_names_the_image(tmp_path: Path) -> None:
    image = 'docker://a}b{"c"[d]$e\\'
    texts = list(modulefiles("tools/1", Path("/m"), image, ["tool"]).values())
    lua, tcl = (write_file(tmp_path / name, text) for name, text in zip(("lua", "tcl"), texts, strict=True))
    shown = "function whatis() end; prepend_path = whatis; function help(text) io.write(text) end\n"
    (tmp_path / "shown.lua").write_text(shown + lua.read_text())
    done = subprocess.run(["lua5.3", tmp_path / "shown.lua"], capture_output=True, text=True, check=True)
    assert done.stdout == f"tools 1 in a container: tool\nImage: {image}"
    (tmp_path / "shown.tcl").write_text(f"{TCL}{tcl.read_text()}ModulesHelp\n")
    done = subprocess.run(["tclsh", tmp_path / "shown.tcl"], capture_output=True, text=True, check=True)
    assert done.stderr == f"tools 1 in a container: tool; image: {image}\n"
