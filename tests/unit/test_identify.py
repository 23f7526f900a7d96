"""Which program a runtime's command is: asked once, and again when it changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import paths, runtimes
from hpcjobs.errors import UnreachableError
from hpcjobs.model import ContainerRequest, ImageFacts, RuntimeConfig
from hpcjobs.process import Completed
from hpcjobs.runtimes.identify import identify, words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Machine:
    """One program, and what it answers to `--version`."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "program"
        self.program.write_text("")
        self.out = self.err = ""
        self.silent = False
        self.code = 0
        self.asked: list[tuple[str, ...]] = []
        self.wanted: list[str] = []

    def run(self, argv: Sequence[str], **_: Any) -> Completed:
        self.asked.append(tuple(argv))
        if self.silent:
            raise UnreachableError("it did not answer within 10 s")
        return Completed(tuple(argv), self.code, self.out, self.err)

    def which(self, name: str) -> str:
        self.wanted.append(name)
        return str(self.program)

    def identify(self, kind: str, **config: Any) -> RuntimeConfig:
        return identify(RuntimeConfig(kind=kind, **config), self.run, self.which)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "cache"))
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("kind", "answer", "version", "prefix"),
    [
        ("apptainer", ("apptainer version 1.4.5-2.el9\n", ""), "apptainer 1.4.5-2.el9", "APPTAINER"),
        ("singularity", ("apptainer version 1.3.0\n", ""), "apptainer 1.3.0", "APPTAINER"),
        ("singularity", ("singularity-ce version 4.1.2-jammy\n", ""), "singularity-ce 4.1.2-jammy", "SINGULARITY"),
        ("singularity", ("singularity version 3.8.7+dirty\n", ""), "singularity 3.8.7+dirty", "SINGULARITY"),
        (
            "singularity",
            ("SingularityPRO version 4.1.3-1.el8\n", ""),
            "SingularityPRO 4.1.3-1.el8",
            "SINGULARITY",
        ),
        ("singularity", ("singularity-pro version 3.11-10\n", ""), "singularity-pro 3.11-10", "SINGULARITY"),
        ("charliecloud", ("", "0.31\n"), "0.31", ""),
        ("charliecloud", ("0.38\n", ""), "0.38", ""),
    ],
)
def test_answers(machine: Machine, kind: str, answer: tuple[str, str], version: str, prefix: str) -> None:
    machine.out, machine.err = answer
    found = machine.identify(kind)
    assert found == RuntimeConfig(kind=kind, version=version)
    request = ContainerRequest(ImageFacts("/i", "sif"), ("x",), "/w", env={"A": "1"})
    assert runtimes.get(found).wrap(request).env == {f"{prefix}ENV_A" if prefix else "A": "1"}


def test_an_error_is_no_version(machine: Machine) -> None:
    machine.err = "ch-run[18142]: error: $USER not set (ch-run.c:122)\n"
    assert machine.identify("charliecloud").version == ""


def test_what_a_module_brings_is_not_asked_of_another(machine: Machine) -> None:
    machine.out = "apptainer version 1.4.5\n"
    assert machine.identify("singularity", modules=("singularity",)).version == ""
    assert machine.asked == []


@pytest.mark.parametrize(
    ("text", "version"), [("", ""), ("\n \n", ""), ("0.38\nbuilt today\n", "0.38"), ("usage: x", "")]
)
def test_the_first_line_tells(text: str, version: str) -> None:
    assert words(text) == version


def test_it_is_asked_once_and_again_when_it_changed(machine: Machine) -> None:
    machine.out = "apptainer version 1.4.5\n"
    for _ in range(2):
        assert machine.identify("apptainer").version == "apptainer 1.4.5"
    assert machine.asked == [(str(machine.program), "--version")]
    machine.out = "apptainer version 1.5.0\n"
    os.utime(machine.program, (1, 1))
    assert machine.identify("apptainer").version == "apptainer 1.5.0"
    assert len(machine.asked) == 2


def test_what_did_not_answer_is_asked_again(machine: Machine) -> None:
    machine.silent = True
    assert machine.identify("apptainer").version == ""
    machine.silent, machine.out = False, "apptainer version 1.4.5\n"
    assert machine.identify("apptainer").version == "apptainer 1.4.5"


def test_what_is_told_with_an_error_is_no_version(machine: Machine) -> None:
    machine.code, machine.err = 1, "0.31 cannot be run\n"
    assert machine.identify("charliecloud").version == ""


def test_what_the_site_says_is_believed(machine: Machine) -> None:
    assert machine.identify("charliecloud", version="0.38").version == "0.38"
    assert machine.identify("podman") == RuntimeConfig(kind="podman")
    on_the_nodes = RuntimeConfig(kind="apptainer", modules=("apptainer/1.4",))
    assert machine.identify("apptainer", modules=("apptainer/1.4",)) == on_the_nodes
    assert (machine.asked, machine.wanted) == ([], [])


def test_the_command_of_the_site_is_asked(machine: Machine) -> None:
    machine.identify("apptainer", command="/opt/apptainer/bin/apptainer")
    assert machine.wanted == ["/opt/apptainer/bin/apptainer"]


def test_a_program_that_is_not_here_stays_unknown(machine: Machine) -> None:
    config = RuntimeConfig(kind="apptainer")
    assert identify(config, machine.run, lambda _: None) is config
    assert machine.asked == []


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", '"x"'])
def test_a_damaged_memory_is_made_anew(machine: Machine, text: str) -> None:
    machine.out = "apptainer version 1.4.5\n"
    paths.make_private(paths.cache_home())
    (paths.cache_home() / "runtimes.json").write_text(text)
    assert [machine.identify("apptainer").version for _ in range(2)] == ["apptainer 1.4.5"] * 2
    assert len(machine.asked) == 1


def test_without_a_place_to_remember_it_is_asked_each_time(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HPCJOBS_HOME", str(tmp_path / "file"))
    machine.out = "apptainer version 1.4.5\n"
    assert [machine.identify("apptainer").version for _ in range(2)] == ["apptainer 1.4.5"] * 2
    assert len(machine.asked) == 2
