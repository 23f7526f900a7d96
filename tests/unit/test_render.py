from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from hpcjobs import paths, render
from hpcjobs.errors import NotFoundError, PlanError, TemplateError, UsageError
from hpcjobs.shell import Shell
from hpcjobs.sweep.values import Value

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "a'b\" $(id) `id`"


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project's own template folder, and no other but the built-in one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCJOBS_TEMPLATE_PATH", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / ".hpcjobs/templates"
    folder.mkdir(parents=True)
    return folder


def text_of(folder: Path, source: str, **fields: object) -> str:
    (folder / "t.sh.j2").write_text(source, "utf-8")
    plan = replace(render.sample_plan(full=False), name=HOSTILE, **fields)  # type: ignore[arg-type]
    return render.render(plan, template="t").text


# ----------------------------------------------------------------------------------------- finding


def test_nearest_template_wins(project: Path) -> None:
    assert render.find_template("slurm") == ("built-in", paths.packaged("templates") / "slurm.sh.j2")
    (project / "slurm.sh.j2").touch()
    assert render.find_template("slurm.sh.j2") == ("project", project / "slurm.sh.j2")
    assert render.find_template("builtin/slurm") == ("built-in", paths.packaged("templates") / "slurm.sh.j2")


def test_template_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.j2"
    file.write_text("{{ plan.tag }}")
    assert render.find_template(str(file)) == ("file", file)
    script = render.render(render.sample_plan(), template=str(file))
    assert (script.text, script.template) == ("3f9c2a71b2c4\n", str(file))


@pytest.mark.parametrize(("name", "hint"), [("slrum", "did you mean slurm?"), ("./no.j2", "hpcjob template list")])
def test_no_such_template(name: str, hint: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        render.find_template(name)
    assert hint in caught.value.hint


def test_list(project: Path) -> None:
    (project / "slurm.sh.j2").touch()
    (project / "mine.sh.j2").touch()
    found = {name: origin for name, origin, _ in render.list_templates()}
    built_in = dict.fromkeys(("base", "local", "lsf", "pbs", "point", "wrapper"), "built-in")
    assert found == {**built_in, "mine": "project", "slurm": "project"}


def test_override_by_block(project: Path) -> None:
    (project / "slurm.sh.j2").write_text(
        '{% extends "builtin/slurm.sh.j2" %}\n{% block epilogue %}\necho {{ plan.name }}\n{% endblock %}\n'
        "{% block setup %}\n{{ super() }}\numask 022\n{% endblock %}\n"
    )
    text = render.render(replace(render.sample_plan(), name=HOSTILE)).text
    assert text.endswith("""\necho 'a'"'"'b" $(id) `id`'\n""")
    assert "\ncd /home/u/run || hpcjob_stop 72" in text
    assert "\numask 022\n" in text


# ----------------------------------------------------------------------------------------- quoting


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("x {{ plan.name }}", """x 'a'"'"'b" $(id) `id`'"""),
        ("{{ plan.name + '/x' }}", """'a'"'"'b" $(id) `id`/x'"""),
        ("{{ plan.command }}", "./solve in.nml"),
        ("{{ plan.launch }}", "./solve in.nml"),
        ("{{ plan.modules }}", ""),
        ("{{ plan.name | upper }}", """'A'"'"'B" $(ID) `ID`'"""),
        ("{{ plan.shape.nodes }}", "1"),
        ("{{ 'a b' }}", "'a b'"),
        ("{{ '$HOME/x' | expand }}", '"$HOME/x"'),
        ("#SBATCH --x={{ plan.name | directive }}", '#SBATCH --x="a\'b\\" $(id) `id`"'),
        ("{% set x %}{{ plan.name }}{% endset %}{{ x }}", """'a'"'"'b" $(id) `id`'"""),
        ("{% macro m(v) %}-{{ v }}{% endmacro %}{{ m(plan.name) }}", """-'a'"'"'b" $(id) `id`'"""),
        ("{% autoescape false %}{{ plan.name }}{% endautoescape %}", """'a'"'"'b" $(id) `id`'"""),
        ("{{ (plan.name | directive) + plan.name }}", """'"a'"'"'b\\" $(id) `id`"a'"'"'b" $(id) `id`'"""),
        ("{{ 2 * 3 }}", "6"),
    ],
)
def test_values_are_quoted(project: Path, source: str, text: str) -> None:
    assert text_of(project, source) == text + "\n"


def test_text_that_is_shell_already_passes(project: Path) -> None:
    assert text_of(project, "{{ plan.setup[0] }}", setup=(Shell("a | b"),)) == "a | b\n"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('echo "{{ plan.name }}"', '1: a value between " and "'),
        ("echo 'x {{ plan.name }}'", "1: a value between ' and '"),
        ('\necho "\\" {{ plan.name }}"', '2: a value between " and "'),
        ("echo 'a\\' \"{{ plan.name }}\"", '1: a value between " and "'),
        ("true # {{ plan.name }}", "1: a value in a comment"),
        ("cat <<'END'\n{{ plan.name }}\nEND", "2: a value in a here-document"),
        ("#SBATCH -J {{ plan.name }}", "1: a directive's value without | directive"),
        ("{{ 'x' ~ plan.name }}", "1: ~ would mix safe text with other"),
        ("{{ plan.nmae }}", "1: 'hpcjobs.model.Plan object' has no attribute 'nmae'"),
        ("\n{{ nothing }}", "2: 'nothing' is undefined"),
        ("{{ plan.name | safe }}", "1: No filter named 'safe'"),
        ("{{ plan.name", "1: unexpected end of template"),
        ("${#x}", "1: Missing end of comment tag"),
        ("{% if %}", "1: Expected an expression"),
        ("{{ (plan.name | directive).format(plan.name) }}", "1: access to attribute 'format' of"),
        ("{{ (plan.name | directive)['format'](plan.name) }}", "1: access to attribute 'format' of"),
        ("{% set x %}%s{% endset %}{{ x % plan.name }}", "% with the output of a block"),
        ("{% set x %}a{% endset %}{{ plan.name + x }}", "+ with the output of a block"),
        ("{{ plan.name.__class__ }}", "access to attribute '__class__'"),
        ("{{ plan.shape.nodes // 0 }}", "1: integer division or modulo by zero"),
        ('{% extends "t.sh.j2" %}', "1: it extends itself; the built-in one is builtin/t.sh.j2"),
        ('{% extends "nope" %}', "there is no template 'nope'"),
        ("{{ plan.mem }}", "None has no text"),
        ("{{ plan.hold }}", "False has no text"),
        ("{{ plan.env }}", "{} has no text"),
        ("{{ refuse('no GPUs here', 'use another') }}", "no GPUs here"),
    ],
)
def test_wrong_templates_are_refused(project: Path, source: str, message: str) -> None:
    with pytest.raises((TemplateError, PlanError, NotFoundError)) as caught:
        text_of(project, source)
    assert message in caught.value.message
    assert caught.value.hint
    if message[0].isdigit():
        assert caught.value.message.startswith(f"{project}/t.sh.j2:{message}")


def test_quotes_in_comments_and_templates_are_no_quotes(project: Path) -> None:
    source = (
        "# don't\necho {# ' #}{{ plan.tag }} {% if 'a' == \"a\" %}x{% endif %} \\' {{ plan.tag }} 'a'{{ plan.tag }}"
    )
    assert text_of(project, source).count("3f9c2a71b2c4") == 3


def test_here_document_ends(project: Path) -> None:
    assert text_of(project, "cat <<-END\n\tx\n\tEND\n{{ plan.tag }}").endswith("3f9c2a71b2c4\n")


# ---------------------------------------------------------------------------------------- checking


@pytest.mark.parametrize("name", ["base", "slurm", "local", "point", "pbs", "lsf", "wrapper"])
def test_built_in_templates_are_right(name: str) -> None:
    assert render.check_template(render.find_template(f"builtin/{name}")[1]) == []


def test_check_lists_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "x.sh.j2"
    file.write_text('a "{{ plan.name }}"\nb\nc "{{ plan.name }}"\n')
    assert render.check_template(file) == [
        f'{file}:1: a value between " and "',
        f'{file}:3: a value between " and "',
    ]


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ plan.x }}", "1: 'hpcjobs.model.Plan object' has no attribute 'x'"),
        ("{% if not plan.time %}\n{{ plan.mem }}\n{% endif %}", "None has no text to stand in a script"),
        ("{% for %}", "1: Expected an expression"),
    ],
)
def test_check_renders(tmp_path: Path, source: str, problem: str) -> None:
    file = tmp_path / "x.sh.j2"
    file.write_text(source)
    (found,) = render.check_template(file)
    assert problem in found


def test_check_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    assert "No such file" in render.check_template(tmp_path / "absent")[0]
    assert "utf-8" in render.check_template(tmp_path / "bytes")[0]


def test_template_that_is_no_text(project: Path) -> None:
    (project / "t.sh.j2").write_bytes(b"\xff")
    with pytest.raises(TemplateError, match="utf-8"):
        render.render(render.sample_plan(), template="t")


def test_template_that_cannot_be_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    (project / "t.sh.j2").touch()
    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    with pytest.raises(TemplateError, match=r"t\.sh\.j2: Permission denied"):
        render.render(render.sample_plan(), template="t")


def test_a_template_may_refuse_the_sample_plan(tmp_path: Path) -> None:
    file = tmp_path / "t.sh.j2"
    file.write_text('{% extends "slurm.sh.j2" %}{% block setup %}{{ refuse("not here") }}{% endblock %}')
    assert render.check_template(file) == []


# ------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("re*dt", {"re": 100, "dt": 0.5}, 50.0),
        (" -x**2 ", {"x": 3}, -9),
        ("2**3**2", {}, 512),
        ("x**0.5", {"x": 2}, 1.4142135623730951),
        ("x % 3 + x // 2 - +x / 2", {"x": 7}, 0.5),
        ("a <= b < c != d", {"a": 1, "b": 1, "c": 2, "d": 3}, True),
        ("x == 1 and y > 2 and not z", {"x": 1, "y": 3, "z": False}, True),
        ("x >= 2 or y", {"x": 1, "y": True}, True),
        ("solver in ('cg', 'gmres') and n not in [1, 2]", {"solver": "cg", "n": 3}, True),
        ("restart == true", {"restart": True}, True),
        ("False or restart == false", {"restart": False}, True),
        ("1/dt if dt > 0 else 0", {"dt": 0}, 0),
        ("'r' + str(x) + str(y)", {"x": 0.1, "y": True}, "r0.1true"),
        ("sqrt(16) + exp(0) + log(1) + log10(100) + log2(8) + sin(0) + cos(0) + tan(0)", {}, 11.0),
        ("floor(2.5) + ceil(2.5) + abs(-1) + min(x, 2) + max([x, 5]) + int('3') + len('abc')", {"x": 3}, 19),
        ("float(x)", {"x": 1}, 1.0),
        ("round(2.567, 2)", {}, 2.57),
        ("round(x)", {"x": 2.6}, 3),
        ("round(x, -10**9)", {"x": 2}, 0),
        ("power(2, 3)", {}, 8),
        ("pi", {}, 3.141592653589793),
        ("e", {}, 2.718281828459045),
        ("e * min", {"e": 2, "min": 3}, 6),
        ("result + context", {"result": 1, "context": 2}, 3),
        ("1e308 + x", {"x": 1e308}, float("inf")),
        ("'{{ x }}{% y %}'", {}, "{{ x }}{% y %}"),
    ],
)
def test_expressions(text: str, values: dict[str, Value], result: Value) -> None:
    found = render.compile_expression(text, values)(values)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("rey < 1", "an expression names 'rey', which is no parameter", "did you mean re?"),
        ("sqrt", "an expression names 'sqrt', which is no parameter", "there are"),
        ("sqr(re)", "an expression calls sqr, which is no function", "did you mean sqrt?"),
        ("re(1)", "an expression calls re, which is no function", "there are abs"),
        ("open('x')", "an expression calls open, which is no function", "there are abs"),
        ("self", "jinja2 has another self", "give the parameter another name"),
        ("", "'' is not an expression: ", "write it as in Python"),
        ("re = 1", "'re = 1' is not an expression: ", "write it as in Python"),
        ("re < 1 &&", "'re < 1 &&' is not an expression: ", "write it as in Python"),
        ("re\0", "'re\\x00' is not an expression: source code", "write it as in Python"),
        ("lambda < 1", "'lambda < 1' is not an expression: ", "lambda is a word of the language of expressions"),
        ("+".join(["re"] * 330), "is not an expression: ", "write it as in Python"),
        ("-" * 990 + "re", "is not an expression: ", "write it as in Python"),
        ("re + " * 200 + "re", "the expression re + re + re", "derive parameters from its parts first"),
        ("re.real", "'re.real' cannot stand in an expression", "write it as in Python"),
        ("''.join", "\"''.join\" cannot stand in an expression", "write it as in Python"),
        ("'%c'.format(re)", "\"'%c'.format(re)\" cannot stand in an expression", "write it as in Python"),
        ("re[0]", "'re[0]' cannot stand in an expression", "write it as in Python"),
        ("[x for x in re]", "'[x for x in re]' cannot stand in an expression", "write it as in Python"),
        ("re | re", "'re | re' cannot stand in an expression", "write it as in Python"),
        ("~re", "'~re' cannot stand in an expression", "write it as in Python"),
        ("re is None", "'re is None' cannot stand in an expression", "write it as in Python"),
        ("None", "'None' cannot stand in an expression", "write it as in Python"),
        ("1j", "'1j' cannot stand in an expression", "write it as in Python"),
        ("b'x'", "\"b'x'\" cannot stand in an expression", "write it as in Python"),
        ("1e999", "'1e309' cannot stand in an expression", "write it as in Python"),
        ("max(*re)", "'*re' cannot stand in an expression", "write it as in Python"),
        ("max(re, key=1)", "'max(re, key=1)' cannot stand in an expression", "write it as in Python"),
        ("f'{re}'", "cannot stand in an expression", "write it as in Python"),
    ],
)
def test_what_is_no_expression(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        render.compile_expression(text, ["re", "dt", "lambda", "self"])
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1/x", "division by zero"),
        ("x // 0", "by zero"),
        ("x < 'a'", "'<' not supported between instances of 'int' and 'str'"),
        ("'a' * 10**8", "* of 'a' and 100000000"),
        ("[1] * 10**8", "* of [1] and 100000000"),
        ("'%1000000000d' % 1", "% of '%1000000000d' and 1"),
        ("9**9**9", "the power has too many digits"),
        ("(0 - 8)**0.5", "-8 has no power 0.5, since it is negative"),
        ("sqrt(-1)", "math domain error"),
        ("log(x)", "0 has no logarithm"),
        ("exp(1000)", "the result is too large"),
        ("int('a')", "invalid literal for int() with base 10: 'a'"),
        ("str(float('nan'))", "NaN is not a value"),
    ],
)
def test_expressions_without_a_value(text: str, message: str) -> None:
    evaluate = render.compile_expression(text, ["x"])
    with pytest.raises(UsageError) as caught:
        evaluate({"x": 0})
    assert message in caught.value.message
    assert caught.value.hint
