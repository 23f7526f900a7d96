"""Notebooks as commands."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import notebooks, process
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, UnreachableError, UsageError
from hpcjobs.image_service import Telling
from hpcjobs.model import JobSpec, Note, RuntimeConfig, Site
from hpcjobs.process import Completed
from hpcjobs.service import Service
from hpcjobs.wrapping import Wrapping
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SITE = Site(name="cluster", runtimes=(RuntimeConfig(kind="apptainer", version="1.4.5"),))
OLD = replace(SITE, runtimes=(RuntimeConfig(kind="charliecloud", version="0.31"),))
CODE = {"cell_type": "code", "source": "1"}


class Lab:
    """A folder with a notebook and an image, of whose Python `answer` is said."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[str] = []
        self.calls: list[Sequence[str]] = []
        self.answer: tuple[int, str, str] | UnreachableError = (0, "3 11 1 1\n", "")
        self.pip: tuple[int, str, str] | UnreachableError = (0, "", "")
        self.meanwhile: Callable[[], object] = lambda: None
        (home / "app.sif").write_bytes(sif(b"02"))
        self.write()
        self.spec = JobSpec(notebook="fit.ipynb", image="app.sif", workdir=str(home))

    def write(self, content: object = None, *, name: str = "fit.ipynb", **metadata: object) -> None:
        told = {"cells": [CODE], "metadata": metadata} if content is None else content
        (self.home / name).write_text(told if isinstance(told, str) else json.dumps(told))

    def run(self, argv: Sequence[str], **_: object) -> Completed:
        self.calls.append(argv)
        answer = self.pip if "pip" in argv else self.answer
        if "pip" in argv and answer == (0, "", ""):
            Path(argv[argv.index("--target") + 1]).mkdir()
            self.meanwhile()
        if isinstance(answer, UnreachableError):
            raise answer
        return Completed(tuple(argv), *answer)

    def prepared(
        self, *, final: bool = True, site: Site = SITE, names: Sequence[str] = (), **asked: Any
    ) -> tuple[JobSpec, list[Note]]:
        loaded: Any = SimpleNamespace(site=site, file=self.home / "cluster.yaml")
        wrapping = Wrapping(loaded, self.run, jobs_folder=self.home / "jobs")
        telling = Telling(lambda *_: None, self.said.append)
        return notebooks.prepared(replace(self.spec, **asked), wrapping, self.run, telling, final=final, names=names)


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


# ------------------------------------------------------------------------------ what makes no sense


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"command": ("a",)}, "a notebook and a command are two programs | leave out one; parameters are given by -p x=1"),
        ({"nodes": 2}, "a notebook runs once, not on several ranks | leave out -N, -n; cores are given by -c"),
        ({"ntasks": 2}, "a notebook runs once, not on several ranks | leave out -N, -n; cores are given by -c"),
        ({"ntasks_per_node": 2}, "a notebook runs once, not on several ranks | leave out -N, -n; cores are given by -c"),
        ({"parameters": {"a": "1", "a b": "2"}}, "'a b' cannot be the name of a parameter | -p alpha=0.5"),
        ({"parameters": {"1a": "1"}}, "'1a' cannot be the name of a parameter | -p alpha=0.5"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_for_a_notebook(lab: Lab, asked: dict[str, Any], said: str) -> None:
    assert refused(lambda: lab.prepared(**asked), UsageError) == said
    assert lab.calls == []


def test_a_notebook_that_is_not_there(lab: Lab) -> None:
    found = refused(lambda: lab.prepared(notebook="fti.ipynb"), NotFoundError)
    assert found == "there is no notebook fti.ipynb | is its name right?"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ({"worksheets": []}, "'cells'"),
        ([1], "list indices must be integers or slices, not str"),
        ({"cells": ["x"]}, "'str' object has no attribute 'get'"),
        ({"cells": None}, "'NoneType' object is not iterable"),
        ({"cells": [CODE], "metadata": "x"}, "'str' object has no attribute 'get'"),
    ],
)
def test_a_file_that_is_no_notebook(lab: Lab, content: object, why: str) -> None:
    lab.write(content)
    found = refused(lab.prepared, PlanError)
    assert found == f"fit.ipynb is no notebook that can be run: {why} | open and save it in Jupyter (nbformat 4)"


def test_a_notebook_that_cannot_be_read(lab: Lab) -> None:
    (lab.home / "folder.ipynb").mkdir()
    assert "is no notebook that can be run: [Errno 21] Is a directory" in refused(
        lambda: lab.prepared(notebook="folder.ipynb"), PlanError
    )


@pytest.mark.parametrize("cells", [[], [{"cell_type": "markdown"}, {}]])
def test_a_notebook_without_code(lab: Lab, cells: list[object]) -> None:
    lab.write({"cells": cells})
    assert refused(lab.prepared, PlanError) == "fit.ipynb has no cell with code | is it saved?"


# ----------------------------------------------------------------------------------- the command


def words(spec: JobSpec) -> tuple[str, ...]:
    """What papermill is given."""
    assert spec.command[:2] == ("sh", "-c")
    assert spec.command[3] == "papermill"
    return spec.command[4:]


def test_a_notebook_is_run_by_the_papermill_of_its_image(lab: Lab) -> None:
    spec, notes = lab.prepared(parameters={"alpha": "0.5", "name": "a b"})
    assert words(spec) == ("fit.ipynb", "-k", "python3", "-p", "alpha", "0.5", "-p", "name", "a b")
    assert "exec python3 -m papermill " in spec.command[2]
    assert (spec.name, spec.notebook, spec.parameters, spec.ntasks, notes) == ("fit", "", {}, 1, [])
    assert (spec.image, spec.bind) == ("app.sif", ())
    assert lab.said == []
    (call,) = lab.calls
    assert " python3 -c 'import sys, importlib.util as u; " in call[2]


@pytest.mark.parametrize(
    ("metadata", "kernel"),
    [
        ({}, ("-k", "python3")),
        ({"kernelspec": {"name": "torch", "language": "python"}}, ("-k", "python3")),
        ({"kernelspec": None, "language_info": {"name": "Python"}}, ("-k", "python3")),
        ({"kernelspec": {"name": "ir", "language": "R"}}, ()),
        ({"kernelspec": {"name": "ir"}, "language_info": {"name": "R"}}, ()),
    ],
)
def test_a_notebook_of_another_language_keeps_its_kernel(
    lab: Lab, metadata: dict[str, object], kernel: tuple[str, ...]
) -> None:
    lab.write({"cells": [CODE], "metadata": metadata})
    assert words(lab.prepared()[0]) == ("fit.ipynb", *kernel)


SETS = "alpha: float = 1\nn, (m, *rest) = 1, (2, 3)\nfor i in []: pass\n"


@pytest.mark.parametrize(
    ("source", "tags", "language", "strange"),
    [
        (SETS, ["parameters"], "python", "beta, gamma"),
        (SETS.splitlines(keepends=True), ["x", "parameters"], "python", "beta, gamma"),
        (None, ["parameters"], "python", "alpha, rest, beta, gamma"),
        (SETS, [], "python", ""),
        (SETS, None, "python", ""),
        ("%matplotlib inline\nalpha = 1", ["parameters"], "python", ""),
        (SETS, ["parameters"], "R", ""),
    ],
)
def test_a_parameter_that_the_notebook_does_not_set_is_told(
    lab: Lab, source: object, tags: object, language: str, strange: str
) -> None:
    cell = {**CODE, "source": source, "metadata": {"tags": tags}}
    lab.write({"cells": [CODE, cell], "metadata": {"language_info": {"name": language}}})
    lab.prepared(parameters=dict.fromkeys(("alpha", "rest", "beta", "gamma"), "1"))
    said = f"warning: the cell tagged parameters of fit.ipynb sets no {strange}"
    assert lab.said == ([said] if strange else [])


def test_nothing_is_told_of_parameters_that_the_notebook_sets(lab: Lab) -> None:
    lab.write({"cells": [{**CODE, "source": SETS, "metadata": {"tags": ["parameters"]}}]})
    lab.prepared(parameters={"alpha": "2", "m": "3"})
    assert lab.said == []


def test_parameters_of_a_study_are_placeholders_that_one_s_own_win_over(lab: Lab) -> None:
    spec, _ = lab.prepared(names=("re", "dt"), parameters={"dt": "0.1"})
    assert words(spec)[3:] == ("-p", "re", "{re}", "-p", "dt", "0.1")


@pytest.mark.parametrize(
    ("asked", "name", "ntasks"),
    [
        ({"name": "mine", "ntasks": 1}, "mine", 1),
        ({"ntasks_per_node": 1}, "fit", None),
        ({"nodes": 1}, "fit", 1),
    ],
)
def test_a_notebook_is_one_program(lab: Lab, asked: dict[str, Any], name: str, ntasks: int | None) -> None:
    spec, _ = lab.prepared(**asked)
    assert (spec.name, spec.ntasks) == (name, ntasks)


def test_a_notebook_without_an_image_is_run_by_the_papermill_of_the_host(lab: Lab) -> None:
    spec, notes = lab.prepared(image="")
    assert "exec python3 -m papermill " in spec.command[2]
    assert (notes, lab.calls) == ([], [])


PAPERMILL = """#!/bin/sh
printf '%s|' "$@"
"""


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"HPCJOB_NATIVE_ID": "4711"}, "fit run-4711"),
        ({"HPCJOB_NATIVE_ID": "4711.pbs01.example.org"}, "fit run-4711"),
        ({"HPCJOB_NATIVE_ID": "4711[].pbs01", "HPCJOB_ARRAY_INDEX": "3"}, "fit run-4711_3"),
        ({"HPCJOB_NATIVE_ID": "4711", "HPCJOB_ARRAY_INDEX": "0", "HPCJOB_POINT": "12"}, "fit run-12"),
    ],
)
def test_what_was_run_is_named_after_the_job_or_the_point(
    lab: Lab, tmp_path: Path, env: dict[str, str], name: str
) -> None:
    (tmp_path / "python3").write_text(PAPERMILL)
    (tmp_path / "python3").chmod(0o755)
    lab.write(name="fit run.ipynb")
    spec, _ = lab.prepared(notebook=f"{lab.home}/fit run.ipynb", parameters={"x": "$HOME 'q'"})
    done = subprocess.run(
        ["/bin/sh", *spec.command[1:]], env={"PATH": str(tmp_path), **env}, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"-m|papermill|--stdout-file|-|--log-output|--no-progress-bar|-k|python3|-p|x|$HOME 'q'|{lab.home}/fit run.ipynb|{name}.ipynb|"
    )


# ----------------------------------------------------------------------------- the image's Python


def test_an_image_without_python(lab: Lab) -> None:
    lab.answer = (255, "", 'FATAL: "python3": executable file not found in $PATH\n')
    assert refused(lab.prepared, PlanError) == (
        f"there is no python3 in the image {lab.home}/app.sif | papermill, which runs notebooks, needs one"
    )


def test_an_image_without_ipykernel(lab: Lab) -> None:
    lab.answer = (0, "3 9 1 0\n", "")
    assert refused(lab.prepared, PlanError) == (
        f"the image {lab.home}/app.sif has Python 3.9 without ipykernel, in which notebooks run | "
        "add it where the image is made: RUN pip install ipykernel papermill"
    )


def test_a_notebook_of_r_needs_no_ipykernel(lab: Lab) -> None:
    lab.write(kernelspec={"language": "R"})
    lab.answer = (0, "3 9 1 0\n", "")
    assert words(lab.prepared()[0]) == ("fit.ipynb",)


@pytest.mark.parametrize(
    "answer",
    [UnreachableError("apptainer cannot be run here"), (1, "", "FATAL: no user namespaces\n"), (0, "hello\n", "")],
)
def test_an_image_that_cannot_be_run_here_is_trusted(lab: Lab, answer: Any) -> None:
    lab.answer = answer
    spec, notes = lab.prepared()
    assert "exec python3 -m papermill " in spec.command[2]
    assert notes == [Note("notebook", "papermill of the image", "on trust: the image cannot be run on this machine")]


def test_the_question_is_one_that_a_real_python_answers() -> None:
    done = process.run((sys.executable, "-S", "-c", notebooks._PROBE), timeout=60)
    assert notebooks._FOUND.search(f"a banner\n{done.out}")
    assert done.out == f"{sys.version_info[0]} {sys.version_info[1]} 0 0\n"


# --------------------------------------------------------------------------- papermill is shown


def place(lab: Lab, version: str = "3.11") -> Path:
    return lab.home / f"data/papermill/python{version}-{os.uname().machine}"


def test_papermill_is_got_once_and_shown_to_an_image_without_it(lab: Lab) -> None:
    lab.answer = (0, "3 11 0 1\n", "")
    spec, notes = lab.prepared(bind=("/data",))
    folder = place(lab)
    assert spec.bind == ("/data", f"{folder}:{folder}")
    assert f"exec python3 {folder}/run_papermill.py " in spec.command[2]
    assert notes == [Note("notebook", "papermill is shown to the image", f"it has none: {folder}")]
    assert lab.said == ["getting papermill for Python 3.11, once: the image has none"]
    pip = lab.calls[-1]
    assert pip[:4] == (sys.executable, "-m", "pip", "install")
    assert ("--python-version", "3.11") in itertools.pairwise(pip)
    assert pip[-1] == "papermill"
    lab.prepared()
    assert sum("pip" in call for call in lab.calls) == 1


def test_what_is_shown_is_looked_at_after_all_that_the_image_has(lab: Lab) -> None:
    lab.answer = (0, "3 11 0 1\n", "")
    lab.prepared()
    (place(lab) / "papermill").mkdir()
    (place(lab) / "papermill/__init__.py").touch()
    (place(lab) / "papermill/cli.py").write_text(
        "import sys\ndef papermill(prog_name): print(prog_name, sys.path[-1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", place(lab) / "run_papermill.py"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"papermill {place(lab)}\n"


def test_a_dry_run_gets_nothing(lab: Lab) -> None:
    lab.answer = (0, "3 11 0 1\n", "")
    spec, _ = lab.prepared(final=False)
    assert spec.bind == (f"{place(lab)}:{place(lab)}",)
    assert (lab.said, place(lab).exists()) == ([], False)


def test_an_old_charliecloud_is_shown_it_in_a_place_that_the_image_has(lab: Lab) -> None:
    lab.answer = (0, "3 11 0 1\n", "")
    for each in ("bin", *(f"mnt/{number}" for number in range(4))):
        (lab.home / "app" / each).mkdir(parents=True)
    spec, _ = lab.prepared(site=OLD, image=str(lab.home / "app"))
    assert spec.bind == (f"{place(lab)}:/mnt/3",)
    assert "exec python3 /mnt/3/run_papermill.py " in spec.command[2]


@pytest.mark.parametrize(
    ("pip", "why"),
    [
        (
            (1, "", "WARNING: x\nERROR: No matching distribution found\nERROR: more\n"),
            "ERROR: No matching distribution found",
        ),
        ((1, "", "no network\n"), "no network"),
        ((1, "", ""), "pip failed"),
        (UnreachableError("python did not answer within 900 s"), "python did not answer within 900 s"),
    ],
)
def test_papermill_that_cannot_be_got(lab: Lab, pip: Any, why: str) -> None:
    lab.answer, lab.pip = (0, "3 11 0 1\n", ""), pip
    assert refused(lab.prepared, PlanError) == (
        f"papermill cannot be got: {why} | add it where the image is made: RUN pip install papermill"
    )
    assert list(place(lab).parent.iterdir()) == []


def test_another_submission_may_have_been_faster(lab: Lab) -> None:
    lab.answer = (0, "3 11 0 1\n", "")

    def other() -> None:
        place(lab).mkdir()
        (place(lab) / "papermill").touch()

    lab.meanwhile = other
    spec, _ = lab.prepared()
    assert spec.bind == (f"{place(lab)}:{place(lab)}",)
    assert [file.name for file in place(lab).iterdir()] == ["papermill"]
    assert list(place(lab).parent.iterdir()) == [place(lab)], "what was got in vain is gone"


def test_a_file_in_the_place_of_the_packages(lab: Lab) -> None:
    lab.answer = (0, "3 11 0 1\n", "")
    place(lab).parent.mkdir(parents=True)
    place(lab).touch()
    assert refused(lab.prepared, PlanError).startswith("papermill cannot be got: ")


# ------------------------------------------------------------------------------------ the service


def test_parameters_without_a_notebook(lab: Lab) -> None:
    service = Service(runner=lab.run)
    found = refused(lambda: service.with_notebook(JobSpec(command=("a",), parameters={"x": "1"})), UsageError)
    assert found == "parameters are for a notebook, and there is none | add --notebook nb.ipynb"
    assert service.with_notebook(JobSpec(command=("a",))) == (JobSpec(command=("a",)), [])
