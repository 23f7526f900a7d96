"""Job files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs.errors import NotFoundError, UsageError
from hpcjobs.site.jobfile import load_job
from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, text: str) -> dict[str, Any]:
    (folder / "job.yaml").write_text(text, "utf-8")
    return load_job(folder / "job.yaml")


def refusal(folder: Path, text: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    return caught.value.message.replace(f"{folder}/", ""), caught.value.hint.replace(f"{folder}/", "")


def test_only_what_the_file_gives_is_returned(tmp_path: Path) -> None:
    assert load(tmp_path, "command: [./solve, in.nml]\nnodes: 4\n") == {"command": ("./solve", "in.nml"), "nodes": 4}


def test_every_kind_of_value(tmp_path: Path) -> None:
    text = """
command: [./solve, --tolerance, 1.10, --steps, 1e5, --restart, no, --seed, 0042]
image: app.sif
time: 1:00:00
mem: 4G
account: 0042
exclusive: true
requeue: false
env: {OMP_PROC_BIND: true, N: 4}
bind: [/scratch, data:/data]
site: testbed
"""
    assert load(tmp_path, text) == {
        "command": ("./solve", "--tolerance", "1.10", "--steps", "1e5", "--restart", "no", "--seed", "0042"),
        "image": "app.sif",
        "time": Duration(3600),
        "mem": Memory(4 << 30),
        "account": "0042",
        "exclusive": True,
        "requeue": False,
        "env": {"OMP_PROC_BIND": "true", "N": "4"},
        "bind": ("/scratch", "data:/data"),
        "site": "testbed",
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 5400), ("2h", 7200), ("1:00:00", 3600), ("1-12", 129600), ("'30:00'", 1800)]
)
def test_times(tmp_path: Path, text: str, seconds: int) -> None:
    assert load(tmp_path, f"time: {text}\n") == {"time": Duration(seconds)}


def test_an_empty_value_is_not_given(tmp_path: Path) -> None:
    assert load(tmp_path, "account:\nsite: null\nnodes: 2\n") == {"nodes": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("./solve in.nml", ("./solve", "in.nml")),
        ("./solve 'a b' \"c d\" e\\ f", ("./solve", "a b", "c d", "e f")),
        ("./solve '$HOME' 'a|b' 'x*' \"a;b\"", ("./solve", "$HOME", "a|b", "x*", "a;b")),
        ("./solve a#b x~y k={1} [0]", ("./solve", "a#b", "x~y", "k={1}", "[0]")),
        (">\n  ./solve\n  in.nml\n", ("./solve", "in.nml")),
    ],
)
def test_a_command_in_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    assert load(tmp_path, f"command: {text}\n")["command"] == words


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("./a | ./b", "|"), ("./a && ./b", "&"), ("./a; ./b", ";"), ("./a > out", ">"), ("./a < in", "<"),
        ("./a $HOME", "$"), ('./a "$HOME"', "$"), ("./a `date`", "`"), ("./a *.nml", "*"), ("./a ~/in", "~"),
        ("./a '$x' $y", "$"), ("|\n  ./a\n  ./b\n", "a second line"),
    ],
)  # fmt: skip
def test_a_command_that_needs_a_shell_is_refused(tmp_path: Path, text: str, sign: str) -> None:
    assert refusal(tmp_path, f"command: {text}\n") == (
        f"job.yaml:1: command: {sign} has no meaning here, since no shell reads the command",
        "write it as a list; for a shell's work: [bash, -c, 'a | b']",
    )


@pytest.mark.parametrize("text", ["OMP_NUM_THREADS=2 ./a", '" X=  ./a"'])
def test_an_assignment_before_the_command_is_refused(tmp_path: Path, text: str) -> None:
    name = text.strip('" ').partition("=")[0]
    message, hint = refusal(tmp_path, f"command: {text}\n")
    assert message.startswith(f"job.yaml:1: command: {name}=")
    assert message.endswith(" has no meaning here, since no shell reads the command")
    assert hint == f"write it under `env`: {{{name}: …}}"


def test_an_argument_may_hold_an_equals_sign(tmp_path: Path) -> None:
    assert load(tmp_path, "command: ./a n=2 --x=3\n")["command"] == ("./a", "n=2", "--x=3")


def test_an_open_quote(tmp_path: Path) -> None:
    assert refusal(tmp_path, 'command: ./a "b\n') == (
        "job.yaml:1: command: no closing quotation", "close the quotes, or write the command as a list",
    )  # fmt: skip


def test_all_problems_are_told_with_their_lines(tmp_path: Path) -> None:
    text = """\
comand: ./solve
nodes: four
ntasks-per-node: 2
time: soon
site: [a]
modules: gcc
nodes_: 1
mem: true
"""
    assert refusal(tmp_path, text) == (
        """\
8 problems:
  job.yaml:1: comand: there is no such key; did you mean command?
  job.yaml:2: nodes: 'four' is not a whole number; write digits only: 4
  job.yaml:3: ntasks-per-node: there is no such key; did you mean ntasks_per_node?
  job.yaml:4: time: 'soon' is not a time; write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 \
(days-hours:minutes:seconds)
  job.yaml:5: site: not the name of a site; see them with: hpcjob site list
  job.yaml:6: modules: 'gcc' is not a list; write [gcc]
  job.yaml:7: nodes_: there is no such key; did you mean nodes?
  job.yaml:8: mem: 'true' is not an amount of memory; write 512M, 4G or 1.5T (powers of 1024)""",
        "correct them, then: hpcjob submit job.yaml",
    )


def test_yaml_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    assert refusal(tmp_path, "nodes: 1\nnodes: 2\n") == (
        "job.yaml:2: nodes is given twice, first in line 1", "keep one of the two",
    )  # fmt: skip


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file .*job\.yaml"):
        load_job(tmp_path / "job.yaml")
