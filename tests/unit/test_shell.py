from __future__ import annotations

import pytest

from hpcjobs import shell
from hpcjobs.errors import PlanError
from hpcjobs.shell import Shell


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("", "''"),
        ("plain-1.0/x", "plain-1.0/x"),
        ("a b", "'a b'"),
        ("a\nb", "'a\nb'"),
        ("a\r\nb", "'a'$'\\015''\nb'"),
        (4, "4"),
        (Shell("$(date)"), "$(date)"),
    ],
)
def test_quote(value: object, word: str) -> None:
    assert shell.quote(value) == word


@pytest.mark.parametrize(
    ("value", "message"),
    [("a\0b", "NUL"), ("\ud800", "half of a character"), ("x" * 131_071, "131071 bytes"), ("é" * 65_536, "131072")],
)
def test_quote_refuses_what_no_program_can_receive(value: str, message: str) -> None:
    with pytest.raises(PlanError, match=message) as caught:
        shell.quote(value)
    assert caught.value.hint


def test_longest_value_is_quoted() -> None:
    assert shell.quote("x" * 131_070) == "x" * 131_070


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a b", '"a b"'),
        ('say "x" \\ #1', '"say \\"x\\" \\\\ #1"'),
        ("0-9%2", "0-9%2"),
        ("$HOME", '"$HOME"'),
    ],
)
def test_directive(value: str, text: str) -> None:
    assert shell.directive(value) == text


def test_line_is_left_as_it_is() -> None:
    assert shell.line("source /etc/profile && true") == "source /etc/profile && true"


def test_line_refuses_several() -> None:
    with pytest.raises(PlanError, match="a line of shell cannot hold"):
        shell.line("a\nb")


def test_refusal_names_the_thing() -> None:
    with pytest.raises(PlanError, match=r"name \(-J\) cannot hold the character '\\n'"):
        shell.refuse_control("a\nb", "name (-J)")


def test_lines_are_broken_only_if_long() -> None:
    assert shell.lines(("srun", "-n", 2), (), ("./app", "a b")) == "srun -n 2 ./app 'a b'"
    assert shell.lines(("srun",), ("x" * 90,)) == "srun \\\n    " + "x" * 90
    long = ("run", "--env=" + "x" * 98, "--bind", "y" * 60, "--rm", "i", "z" * 120)
    assert shell.lines(long) == f"run {long[1]} \\\n      --bind {long[3]} --rm i \\\n      {long[6]}"
    assert shell.lines(("srun",), ("a\nb",)) == "srun \\\n    'a\nb'"


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("/scratch", "/scratch"),
        ("/scratch/$USER", '"/scratch/$USER"'),
        ("${A}-b c", '"${A}-b c"'),
        ("$(id)`x`", "'$(id)`x`'"),
        ('$A "$(id)" \\', '"$A \\"\\$(id)\\" \\\\"'),
        ("$$A", '"\\$$A"'),
    ],
)
def test_expand(value: str, word: str) -> None:
    assert shell.expand(value) == word


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "é", "A\n"])
def test_variable_name_refuses(name: str) -> None:
    with pytest.raises(PlanError, match="cannot be the name"):
        shell.variable_name(name)


def test_variable_name() -> None:
    assert shell.variable_name("_A1") == "_A1"


def test_program_that_bash_would_run_itself_gets_env() -> None:
    assert shell.program(("exit", "3")) == ("env", "exit", "3")
    assert shell.program(("./exit", "3")) == ("./exit", "3")
    assert shell.program(()) == ()


def test_shell_passes_an_engine_that_escapes() -> None:
    text = Shell("'a'")
    assert text.__html__() is text
