"""Jupyter's kernels of images, found by programs that stand for interpreters, and by those of this machine."""

from __future__ import annotations

import json
import os
import shlex
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import kernels, process
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, UsageError
from hpcjobs.kernels import LANGUAGES, Found, Kernel
from hpcjobs.model import ImageFacts, JobSpec, RuntimeConfig, Site
from hpcjobs.process import Completed
from hpcjobs.wrapping import Wrapping
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PYTHON, R, JULIA = LANGUAGES
IPYKERNEL = Found(PYTHON, "python3", "3.11.2", "6.29.5", "message")
SITE = Site(name="cluster", runtimes=(RuntimeConfig(kind="apptainer", version="1.4.5"),))
OLD = replace(SITE, runtimes=(RuntimeConfig(kind="charliecloud", version="0.31"),))
NEW = replace(SITE, runtimes=(RuntimeConfig(kind="charliecloud", version="0.40"),))


class Lab:
    """A folder with an image of which `out` is said, and a folder of kernels."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.kernels = home / "kernels"
        (home / "app.sif").write_bytes(sif(b"02"))
        self.spec = JobSpec(image="app.sif")
        self.answer = (0, "0 python3 3.11.2 6.29.5 message\n", "")
        self.calls: list[Sequence[str]] = []

    def wrapping(self, site: Site = SITE) -> Wrapping:
        loaded: Any = SimpleNamespace(site=site, file=self.home / "cluster.yaml")
        return Wrapping(loaded, self.run, jobs_folder=self.home / "jobs")

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        self.calls.append(argv)
        return Completed(tuple(argv), *self.answer)

    def install(self, title: str = "My Python", *, site: Site = SITE, **asked: Any) -> tuple[Kernel, Found]:
        spec = replace(self.spec, **{name: asked.pop(name) for name in ("image", "env") if name in asked})
        return kernels.install(self.wrapping(site), spec, self.kernels, title=title, runner=self.run, **asked)

    def folder(self) -> Path:
        """An image folder such as ch-convert makes."""
        root = self.home / "app"
        for place in ("bin", *(f"mnt/{number}" for number in range(10))):
            (root / place).mkdir(parents=True)
        return root


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


# ----------------------------------------------------------------------------------------- places


@pytest.mark.parametrize(
    ("env", "asked", "folder"),
    [
        ({}, {}, "/home/ada/.local/share/jupyter/kernels"),
        ({"XDG_DATA_HOME": "/data"}, {}, "/data/jupyter/kernels"),
        ({"XDG_DATA_HOME": "/data", "JUPYTER_DATA_DIR": "/j"}, {}, "/j/kernels"),
        ({"JUPYTER_DATA_DIR": "/j"}, {"prefix": "/opt/jupyter"}, "/opt/jupyter/share/jupyter/kernels"),
        ({}, {"prefix": "~/env"}, "/home/ada/env/share/jupyter/kernels"),
        ({}, {"sys_prefix": True}, f"{sys.prefix}/share/jupyter/kernels"),
    ],
)
def test_kernels_are_where_jupyter_looks_for_them(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str], asked: dict[str, Any], folder: str
) -> None:
    for name in ("JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **env}.items():
        monkeypatch.setenv(name, value)
    assert str(kernels.place(**asked)) == folder


def test_two_places_are_one_too_many() -> None:
    found = refused(lambda: kernels.place(prefix="/a", sys_prefix=True), UsageError)
    assert found == "--prefix and --sys-prefix are two places | leave out one of them"


@pytest.mark.parametrize(
    ("title", "name", "made"),
    [
        ("PyTorch 2.7", "", "pytorch-2.7"),
        ("  R (bio) ", "", "r-bio"),
        ("你好 x", "", "x"),
        ("...a...", "", "a"),
        ("PyTorch", "torch_1", "torch_1"),
    ],
)
def test_a_kernel_s_folder_is_named_after_its_title(title: str, name: str, made: str) -> None:
    assert kernels.name_of(title, name) == made


@pytest.mark.parametrize(
    ("title", "name"),
    [("你好", ""), ("...", ""), ("x", "Torch"), ("x", "a b"), ("x", ".."), ("x", "."), ("x", "a/b"), ("x", "é")],
)
def test_names_that_no_kernel_can_have(title: str, name: str) -> None:
    found = refused(lambda: kernels.name_of(title, name), UsageError)
    assert found == f"{name or title!r} cannot be the name of a kernel | give one: --kernel-name pytorch-2.7"


# --------------------------------------------------------------------------------- what is found out


def test_interpreters_are_asked_in_the_image(lab: Lab) -> None:
    lab.answer = (
        0,
        "0 python3 3.11.2 - -\n1 R 4.2.2 1.3.2 signal\nhello\n2 /opt/my julia/bin/julia 1.11.1 - signal\n",
        "",
    )
    spec, image, runtime = lab.wrapping().prepared(lab.spec)
    assert kernels.look(lab.wrapping(), spec, image, runtime, lab.run) == [
        Found(PYTHON, "python3", "3.11.2", "-", "-"),
        Found(R, "R", "4.2.2", "1.3.2", "signal"),
        Found(JULIA, "/opt/my julia/bin/julia", "1.11.1", "-", "signal"),
    ]
    (call,) = lab.calls
    assert (call[0], call[1], call[3]) == ("bash", "-c", "hpcjob")
    assert "exec apptainer exec " in call[2]
    assert [name in call[2] for name in ("command -v python3 ", "command -v python ", "command -v R ")] == [True] * 3


def test_an_image_that_does_not_start(lab: Lab) -> None:
    lab.answer = (255, "", "\x1b[31mFATAL:   no such image\x1b[0m\n\n \n")
    assert refused(lab.install, PlanError) == (
        f"the image {lab.home}/app.sif does not start here: FATAL:   no such image | "
        f"see: hpcjob image exec {lab.home}/app.sif -- true"
    )
    lab.answer = (139, "", "\n")
    assert " does not start here: exit code 139 | " in refused(lab.install, PlanError)


# Stand for the runtime: the program is run here, with the interpreters of one folder.
APPTAINER = """#!/bin/bash
while [[ $1 != *.sif ]]; do shift; done
shift
PATH=${0%/*}/inside
exec "$@"
"""


def really(lab: Lab, monkeypatch: pytest.MonkeyPatch, *, program: str = "", **interpreters: str) -> list[Found]:
    """What is found where a real sh asks interpreters: their texts, by name."""
    inside = lab.home / "bin/inside"
    inside.mkdir(parents=True)
    for file, text in {
        "apptainer": APPTAINER,
        **{f"inside/{name}": text for name, text in interpreters.items()},
    }.items():
        (lab.home / "bin" / file).write_text(text)
        (lab.home / "bin" / file).chmod(0o755)
    (inside / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", f"{lab.home}/bin:/usr/bin:/bin")
    spec, image, runtime = lab.wrapping().prepared(lab.spec)
    return kernels.look(lab.wrapping(), spec, image, runtime, process.run, program=program)


def python(packages: Path, **files: str) -> str:
    """A python3 that has these packages and no others."""
    packages.mkdir()
    for name, text in files.items():
        (packages / f"{name}.py").write_text(text)
    return f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(packages))} exec {sys.executable} -S "$@"\n'


VERSION = "{}.{}.{}".format(*sys.version_info[:3])


@pytest.mark.parametrize(("body", "how"), [("pass", "signal"), ("interrupt_request = 1", "message")])
def test_a_real_python_tells_its_kernel(lab: Lab, monkeypatch: pytest.MonkeyPatch, body: str, how: str) -> None:
    text = python(lab.home / "packages")
    package = lab.home / "packages/ipykernel"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '6.1'\n")
    (package / "kernelbase.py").write_text(f"class Kernel:\n    {body}\n")
    found = really(lab, monkeypatch, python3=text, R="#!/bin/sh\nexit 2\n")
    assert found == [Found(PYTHON, "python3", VERSION, "6.1", how)]


def test_a_real_python_without_a_kernel(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = really(lab, monkeypatch, python=python(lab.home / "packages"))
    assert found == [Found(PYTHON, "python", VERSION, "-", "-")]


def test_a_program_that_is_named_is_asked_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    program = lab.home / "my python"
    program.write_text(python(lab.home / "packages"))
    program.chmod(0o755)
    assert really(lab, monkeypatch, program=str(program), python3="#!/bin/sh\nexit 1\n") == [
        Found(PYTHON, str(program), VERSION, "-", "-")
    ]


def test_nothing_is_found_in_an_image_without_interpreters(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert really(lab, monkeypatch) == []


def test_a_question_that_python_2_understands_too() -> None:
    # In which `print(a, b)` would show a tuple, that looked like an interpreter with a kernel.
    assert all(line.count(",") == 0 for line in PYTHON.probe[1].splitlines() if "print(v" in line)


@pytest.mark.parametrize("language", ["", "python", "Python", "PYTHON"])
def test_the_first_interpreter_with_a_kernel_is_chosen(language: str) -> None:
    without = replace(IPYKERNEL, package="-")
    other = Found(R, "R", "4.2", "1.3", "signal")
    assert kernels.choose([without, IPYKERNEL, other], language, "a.sif") is IPYKERNEL


def test_a_language_may_be_asked_for() -> None:
    other = Found(R, "R", "4.2", "1.3", "signal")
    assert kernels.choose([IPYKERNEL, other], "r", "a.sif") is other


@pytest.mark.parametrize(
    ("found", "language", "kind", "said"),
    [
        ([IPYKERNEL], "perl", UsageError, "--language 'perl' is not known | there are R, julia, python"),
        ([IPYKERNEL], "pyton", UsageError, "--language 'pyton' is not known | did you mean python?"),
        ([], "", PlanError, "there is no Python, R or Julia on the PATH of the image a.sif | name it: --program /opt/conda/bin/python"),
        ([IPYKERNEL], "julia", PlanError, "there is no Julia on the PATH of the image a.sif | name it: --program /opt/conda/bin/python"),
        (
            [replace(IPYKERNEL, package="-")], "", PlanError,
            "the image a.sif has Python 3.11.2 without ipykernel, the kernel | "
            "add it where the image is made: RUN pip install ipykernel",
        ),
        (
            [IPYKERNEL, Found(R, "R", "4.2", "-", "signal")], "R", PlanError,
            "the image a.sif has R 4.2 without IRkernel, the kernel | "
            "add it where the image is made: RUN R -e \"install.packages('IRkernel')\"",
        ),
    ],
)  # fmt: skip
def test_kernels_that_are_not_there(found: list[Found], language: str, kind: type[HpcjobError], said: str) -> None:
    assert refused(lambda: kernels.choose(found, language, "a.sif"), kind) == said


# ----------------------------------------------------------------------------------- installation


def test_a_kernel_is_a_folder_with_what_jupyter_starts(lab: Lab) -> None:
    kernel, found = lab.install("PyTorch 2.7", env={"A": "ü"})
    folder = lab.kernels / "pytorch-2.7"
    assert (kernel.folder, kernel.launch, kernel.image, found) == (
        folder, folder / "launch", str(lab.home / "app.sif"), IPYKERNEL,
    )  # fmt: skip
    text = (folder / "kernel.json").read_text("utf-8")
    told = json.loads(text)
    own = told["metadata"].pop("hpcjobs")
    assert told == {
        "argv": [str(folder / "launch"), "{connection_file}"],
        "display_name": "PyTorch 2.7",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"debugger": True},
    }
    assert (own["site"], own["runtime"], own["program"], own["request"]["env"]) == (
        "cluster", "apptainer", "python3", {"A": "ü"},
    )  # fmt: skip
    assert stat.S_IMODE((folder / "launch").stat().st_mode) & 0o111
    assert list(kernels.installed(lab.kernels)) == [kernel]
    assert kernels.find(lab.kernels, "pytorch-2.7") == kernel


def test_a_kernel_of_another_language(lab: Lab) -> None:
    lab.answer = (0, "0 python3 3.11.2 6.29.5 message\n1 R 4.2.2 1.3.2 signal\n", "")
    kernel, _ = lab.install("R 4", name="r", language="R")
    told = json.loads((kernel.folder / "kernel.json").read_text())
    assert (told["language"], told["interrupt_mode"], told["metadata"]["debugger"]) == ("R", "signal", False)
    assert "-e 'IRkernel::main()' --args \"$1\"" in kernel.launch.read_text()


# Stands for a runtime: it says what it was told.
TOLD = "#!/bin/bash\nprintf '%s\\n' \"$@\"\n"


def started(lab: Lab, kernel: Kernel, tool: str, connection: str) -> list[str]:
    """What the runtime is told when Jupyter starts the kernel."""
    (lab.home / "bin").mkdir(exist_ok=True)
    (lab.home / "bin" / tool).write_text(TOLD)
    (lab.home / "bin" / tool).chmod(0o755)
    env = {"PATH": f"{lab.home}/bin:/usr/bin:/bin", "USER": "ada"}
    done = subprocess.run(
        [kernel.launch, connection],
        capture_output=True,
        text=True,
        check=True,
        env=env,
        cwd=lab.home,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(("site", "tool"), [(SITE, "apptainer"), (NEW, "ch-run")], ids=["apptainer", "ch-run 0.40"])
def test_the_connection_file_is_shown_in_its_place(lab: Lab, site: Site, tool: str) -> None:
    image = "app.sif" if tool == "apptainer" else str(lab.folder())
    kernel, _ = lab.install(site=site, image=image)
    words = started(lab, kernel, tool, "/run/user/1000/a b/kernel-1.json")
    bind = "/run/user/1000/a b" + (":/run/user/1000/a b" if tool == "ch-run" else "")
    assert bind in words
    assert words[-5:] == ["python3", "-m", "ipykernel_launcher", "-f", "/run/user/1000/a b/kernel-1.json"]


def test_an_old_charliecloud_shows_it_in_a_place_that_the_image_has(lab: Lab) -> None:
    kernel, _ = lab.install(site=OLD, image=str(lab.folder()))
    words = started(lab, kernel, "ch-run", "/run/user/1000/kernel-1.json")
    assert "/run/user/1000:/mnt/9" in words
    assert words[-2:] == ["-f", "/mnt/9/kernel-1.json"]


def test_an_image_without_a_place_for_it(lab: Lab) -> None:
    root = lab.home / "bare"
    (root / "bin").mkdir(parents=True)
    assert refused(lambda: lab.install(site=OLD, image=str(root)), PlanError) == (
        f"the image {root} has no place for a folder of Jupyter's, and charliecloud can make none | "
        "make one in the image: mkdir -p /mnt/1"
    )
    assert kernels._call(ImageFacts("/i/app", "directory"), lab.wrapping(SITE).prepared(lab.spec)[2]).arguments == (
        '"$1"',
    )


def test_a_kernel_that_hpcjob_did_not_install_stays(lab: Lab) -> None:
    (lab.kernels / "mine").mkdir(parents=True)
    (lab.kernels / "mine/kernel.json").write_text("{}")
    assert refused(lambda: lab.install(name="mine"), PlanError) == (
        "there is a kernel mine that hpcjob did not install | choose another --name, or --force"
    )
    assert (lab.kernels / "mine/kernel.json").read_text() == "{}"
    lab.install(name="mine", force=True)
    assert kernels.find(lab.kernels, "mine").title == "My Python"


def test_one_s_own_kernel_is_installed_anew(lab: Lab) -> None:
    lab.install(name="mine")
    lab.install("Another title", name="mine")
    assert [kernel.title for kernel in kernels.installed(lab.kernels)] == ["Another title"]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "null", "{}", '{"metadata": null}', '{"metadata": []}', '{"metadata": {"hpcjobs": 1}}']
)
def test_kernels_of_others_are_passed_over(lab: Lab, text: str) -> None:
    (lab.kernels / "other").mkdir(parents=True)
    (lab.kernels / "other/kernel.json").write_text(text)
    (lab.kernels / "folder/kernel.json").mkdir(parents=True)
    kernel, _ = lab.install()
    assert list(kernels.installed(lab.kernels)) == [kernel]


def test_what_is_missing_in_a_kernel_is_empty(lab: Lab) -> None:
    (lab.kernels / "old").mkdir(parents=True)
    (lab.kernels / "old/kernel.json").write_text('{"metadata": {"hpcjobs": {}}}')
    assert list(kernels.installed(lab.kernels)) == [
        Kernel("old", lab.kernels / "old", "", "", "", "", "", "")
    ]  # fmt: skip
    assert kernels.find(lab.kernels, "old").image == ""


def test_a_kernel_that_is_not_there(lab: Lab) -> None:
    lab.install("torch")
    assert refused(lambda: kernels.find(lab.kernels, "tork"), NotFoundError) == (
        f"there is no kernel 'tork' of hpcjob's in {lab.kernels} | did you mean torch?"
    )


def test_a_kernel_is_removed(lab: Lab) -> None:
    kernel, _ = lab.install()
    kernels.remove(kernel)
    assert list(lab.kernels.iterdir()) == []
    assert refused(lambda: kernels.remove(kernel), PlanError) == (
        f"{kernel.folder} cannot be removed: No such file or directory | is it another person's?"
    )


# ------------------------------------------------------------------------------------------- check


def problem(lab: Lab, kernel: Kernel, site: Site = SITE) -> str:
    return kernels.check(kernel, lab.wrapping(site), lab.run)


AGAIN = "install it again: hpcjob kernel install {image} --name 'My Python'"


def test_a_kernel_that_is_well(lab: Lab) -> None:
    lab.install()
    assert problem(lab, kernels.find(lab.kernels, "my-python")) == ""


def test_a_kernel_that_was_moved(lab: Lab) -> None:
    kernel, _ = lab.install()
    again = AGAIN.format(image=kernel.image)
    moved = replace(kernel, folder=kernel.folder.rename(lab.kernels / "moved"))
    said = f"kernel.json does not name {moved.launch}, or that is no program: was it moved? {again}"
    assert problem(lab, moved) == said


def test_a_kernel_whose_program_cannot_be_started(lab: Lab) -> None:
    kernel, _ = lab.install()
    kernel.launch.chmod(0o644)
    assert problem(lab, kernel).startswith(f"kernel.json does not name {kernel.launch}, or that is no program")


def test_a_kernel_whose_program_is_gone(lab: Lab) -> None:
    kernel, _ = lab.install()
    kernel.launch.unlink()
    said = problem(lab, kernel)
    assert said.startswith("its files cannot be read: [Errno 2] No such file or directory")
    assert said.endswith(AGAIN.format(image=kernel.image))


def test_a_kernel_whose_image_is_gone(lab: Lab) -> None:
    kernel, _ = lab.install()
    (lab.home / "app.sif").unlink()
    assert problem(lab, kernel) == f"there is no image {kernel.image}"


def test_a_kernel_whose_image_has_lost_its_package(lab: Lab) -> None:
    kernel, _ = lab.install()
    lab.answer = (0, "0 python3 3.11.2 - -\n", "")
    assert problem(lab, kernel) == f"the image {kernel.image} has Python 3.11.2 without ipykernel, the kernel"


def test_a_kernel_that_the_site_would_write_otherwise_now(lab: Lab) -> None:
    kernel, _ = lab.install()
    assert problem(lab, kernel, replace(SITE, modules=("gcc",))) == (
        f"the site or hpcjob would write it otherwise now; {AGAIN.format(image=kernel.image)}"
    )


def test_a_program_that_was_named_is_the_one_that_is_checked(lab: Lab) -> None:
    lab.answer = (0, "0 /opt/conda/bin/python 3.12.1 6.30 signal\n", "")
    kernel, _ = lab.install(program="/opt/conda/bin/python")
    lab.calls.clear()
    assert problem(lab, kernel) == ""
    assert "command -v /opt/conda/bin/python " in lab.calls[0][2]
    assert "command -v python3 " not in lab.calls[0][2]


def test_jupyter_s_own_reader_takes_the_kernel(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    jupyter = pytest.importorskip("jupyter_client.kernelspec")
    kernel, _ = lab.install("PyTorch 2.7")
    read = jupyter.KernelSpecManager(kernel_dirs=[str(lab.kernels)], ensure_native_kernel=False)
    spec = read.get_kernel_spec("pytorch-2.7")
    assert (spec.argv, spec.display_name, spec.interrupt_mode) == (
        [str(kernel.launch), "{connection_file}"], "PyTorch 2.7", "message",
    )  # fmt: skip
    assert os.access(spec.argv[0], os.X_OK)
