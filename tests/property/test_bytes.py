"""Whatever a person types arrives in the program byte for byte, or is refused: shown with a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcjobs import render, shell
from hpcjobs.errors import PlanError

# Any text that a program can receive: no NUL, and of the surrogates only those that stand for single bytes.
CHARACTERS = st.one_of(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    st.sampled_from("'\"\\$`!*?#%;&|<>(){}[]~=^ \t\n\r\x01\x7f-"),
)
TEXT = st.text(CHARACTERS, max_size=30)
# No blanks and nothing that does not print; made so, since most of TEXT would be thrown away.
WORD = st.text(
    st.sampled_from("'\"$`\\;&|<>()*?[]{}~#!%-=+") | st.characters(exclude_categories=("C", "Z")), min_size=1
)
NAMES = st.from_regex(r"T_[A-Za-z0-9_]{1,20}", fullmatch=True)
NASTY = [
    "",
    "-n",
    "--",
    "$(touch /nowhere)",
    "`id`",
    "a\nb",
    "a\r\nb",
    "\\",
    "it's",
    '"',
    "${HOME}",
    "é",
    "\udcff",
    "!!",
]

DUMP = "import os,sys; w=sys.stdout.buffer.write; [w(os.fsencode(a)+b'\\0') for a in sys.argv[1:]]; w(b'\\0')"
DUMP_ENVIRONMENT = "[w(k+b'='+v+b'\\0') for k,v in sorted(os.environb.items()) if k.startswith(b'T_')]"
PROGRAM = (sys.executable, "-S", "-c", f"{DUMP}; {DUMP_ENVIRONMENT}; w(os.getcwdb())")


def run(command: tuple[str, ...], env: dict[str, str], workdir: str) -> bytes:
    with TemporaryDirectory() as folder:
        plan = replace(
            render.sample_plan(full=False),
            template="builtin/local",
            folder=folder,
            workdir=workdir,
            launch=(command,),
            env=dict(env),
        )
        script = Path(folder, "job.sh")
        script.write_text(render.render(plan).text, "utf-8", errors="surrogateescape")
        return subprocess.run(["bash", script], capture_output=True, check=True).stdout


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=6), st.dictionaries(NAMES, TEXT, max_size=4))
@example(NASTY, {"T_A": "a\nb\r\n$(id)", "T_B": "\udcff\udc80", "T_C": "\x01\x7f'"})
@example(["x" * 100_000], {"T_LONG": "é'" * 33_000})
def test_arguments_and_variables_arrive(arguments: list[str], env: dict[str, str]) -> None:
    expected = b"".join(os.fsencode(a) + b"\0" for a in arguments) + b"\0"
    expected += b"".join(os.fsencode(f"{k}={env[k]}") + b"\0" for k in sorted(env))
    assert run((*PROGRAM, *arguments), env, "/") == expected + b"/"


@settings(max_examples=30, deadline=None)
@given(st.text(CHARACTERS.filter(lambda c: c != "/"), min_size=1, max_size=20))
@example("-")
@example("a b'c\"d$(id)\n#")
def test_working_directory_arrives(name: str) -> None:
    with TemporaryDirectory() as folder:
        workdir = os.path.join(os.path.realpath(folder), f"d{name}")  # noqa: PTH118 - bytes that are no UTF-8
        os.mkdir(workdir)  # noqa: PTH102
        assert run(PROGRAM, {}, workdir) == b"\0" + os.fsencode(workdir)


@settings(max_examples=40, deadline=None)
@given(st.text(CHARACTERS.filter(lambda c: c != "/"), min_size=1, max_size=20))
def test_program_with_any_name_is_started(name: str) -> None:
    with TemporaryDirectory() as folder:
        program = os.path.join(folder, name if name not in (".", "..") else "dots")  # noqa: PTH118
        os.symlink("/bin/echo", program)  # noqa: PTH211
        assert run((program, "here"), {}, folder) == b"here\n"


@pytest.mark.parametrize("word", ["echo", "test", "exit", "if", "time", "true", "["])
def test_words_of_bash_start_programs(word: str, tmp_path: Path) -> None:
    program = tmp_path / word
    program.write_text("#!/bin/sh\nprintf %s started\n")
    program.chmod(0o755)
    command = shell.program((word, "x"))
    assert run(("env", f"PATH={tmp_path}:/bin", *command), {}, "/") == b"started"


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("abc$HOME{}_'\"\\`( )\n%")))
def test_expand_expands_variables_and_nothing_else(text: str) -> None:
    try:
        word = shell.expand(text)
    except PlanError:
        return
    out = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {word}"], capture_output=True, check=True, env={"HOME": "/h", "HOMEa": "?"}
    ).stdout
    # What stands for a variable is replaced; all other text is as it was.
    pieces = shell._VARIABLE.split(text)
    assert out.count(b"\0") == 1
    position = 0
    for piece in pieces:
        found = out.find(piece.encode(), position)
        assert found >= position
        position = found + len(piece.encode())


def sbatch_arguments(line: str) -> list[str]:
    """How sbatch reads the rest of an `#SBATCH` line: get_argument of Slurm 22.05, src/sbatch/opt.c."""
    arguments, word, quoted, started, position = [], "", "", False, 0
    while position < len(line):
        char = line[position]
        position += 1
        if char == "\\":
            word, started, position = word + line[position : position + 1], True, position + 1
        elif quoted:
            quoted, word = ("", word) if char == quoted else (quoted, word + char)
        elif char in "'\"":
            quoted, started = char, True
        elif char == "#":
            break
        elif char.isspace():
            arguments += [word] if started else []
            word, started = "", False
        else:
            word, started = word + char, True
    assert not quoted
    return arguments + ([word] if started else [])


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
@example("# no comment")
@example("\\")
@example('"it\'s"')
@example("")
def test_directives_arrive_in_sbatch(value: str) -> None:
    assert sbatch_arguments(f"--job-name={shell.directive(value)}") == [f"--job-name={value}"]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\t", "\x7f", "\0"])
def test_directives_refuse_control_characters(value: str) -> None:
    with pytest.raises(PlanError, match="cannot hold"):
        shell.directive(value)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORD, min_size=1, max_size=5))
@example(["it's", "$HOME", "`id`", "a;b", "gcc/13.2(default)", "+x", "~a", "é"])
def test_names_of_modules_arrive(names: list[str]) -> None:
    items = [f"load {name}" for name in names]
    plan = replace(
        render.sample_plan(full=False),
        template="builtin/local",
        workdir="/",
        module_init="module() { printf '%s\\0' \"$@\"; }",
        modules=tuple(items),
        launch=(("true",),),
    )
    if any(name.startswith("-") for name in names):
        with pytest.raises(PlanError, match="would be an option"):
            render.render(plan)
        return
    with TemporaryDirectory() as folder:
        script = Path(folder, "job.sh")
        script.write_text(render.render(replace(plan, folder=folder)).text, "utf-8", errors="surrogateescape")
        done = subprocess.run(["bash", script], capture_output=True, check=True)
    assert [os.fsdecode(word) for word in done.stdout.split(b"\0")[1:-1]] == list(dict.fromkeys(names))
