"""A plan and a template become a batch script. The only module that knows jinja2.

Quoting is structural. Every value that a template writes is quoted for bash (`finalize`); text passes as it is
only if it is `Shell`, made in shell.py, or the output of another block. The doors that lead there: `| expand` for
fields that may hold `$NAME`, `| directive` for the scheduler's own options, `| line` for the one line of shell
that a site file may give (`module_init`), and values that are `Shell` already.
What would defeat that (`~`, methods of safe text, a value between quotes or in a comment) is refused on loading.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import traceback
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    TemplateNotFound,
    TemplateSyntaxError,
    Undefined,
    nodes,
    pass_context,
)
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from hpcjobs import paths, shell
from hpcjobs.errors import NotFoundError, PlanError, TemplateError, UsageError
from hpcjobs.model import Note, Plan, Script, Shape
from hpcjobs.sweep.pointscript import PointFile, PointScript
from hpcjobs.units import Duration, Memory, nearest
from hpcjobs.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from hpcjobs.sweep.values import Value

SUFFIX = ".sh.j2"
_BUILT_IN = "builtin/"
# Filters of jinja2 that return values; those that return or touch text marked as safe are left out.
_FILTERS = (
    "abs", "batch", "count", "d", "default", "dictsort", "first", "int", "items", "last", "length", "list", "lower",
    "map", "max", "min", "reject", "rejectattr", "select", "selectattr", "slice", "sort", "unique", "upper",
)  # fmt: skip


def render(plan: Plan, *, template: str = "") -> Script:
    """The batch script of `plan`, by `template` (a name or a file) or else the plan's own.

    Raises:
        NotFoundError: there is no such template.
        TemplateError: it does not load or render; says in which file and line.
        PlanError: a value cannot stand in a script, or the template refuses the plan.
    """
    _, path = find_template(template or plan.template)
    return Script(_render(path, plan=plan), str(path))


def render_points(script: PointScript) -> str:
    """What runs the points of a round of a study on the node, by the template `point`.

    Raises:
        NotFoundError, TemplateError, PlanError: as `render`.
    """
    return _render(find_template("point")[1], script=script)


def render_wrapper(wrapper: Wrapper) -> str:
    """The script that runs a program of an image at the prompt, by the template `wrapper`.

    Raises:
        NotFoundError, TemplateError, PlanError: as `render`.
    """
    return _render(find_template("wrapper")[1], wrapper=wrapper)


def find_template(name: str) -> tuple[str, Path]:
    """Who put the template there (project, environment, user, system, built-in, file), and its path.

    A name with a `/` is a file, another is looked up; `slurm` is short for `slurm.sh.j2`.

    Raises:
        NotFoundError: there is none; the hint names one like it.
    """
    if "/" in name and not name.startswith(_BUILT_IN):
        if not Path(name).is_file():
            raise NotFoundError(f"there is no template file {name}", hint="hpcjob template list shows those with names")
        return "file", Path(name).absolute()
    folders = paths.template_folders()
    if name.startswith(_BUILT_IN):
        folders, name = folders[-1:], name.removeprefix(_BUILT_IN)
    name = name if name.endswith(SUFFIX) else name + SUFFIX
    for origin, folder in folders:
        if (folder / name).is_file():
            return origin, folder / name
    short = name.removesuffix(SUFFIX)
    raise NotFoundError(f"there is no template {short!r}", hint=nearest(short, (n for n, _, _ in list_templates())))


def list_templates() -> list[tuple[str, str, Path]]:
    """Every template that can be named: (name, who put it there, file), sorted; the nearest of each name."""
    found: dict[str, tuple[str, str, Path]] = {}
    for origin, folder in paths.template_folders():
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            name = path.name.removesuffix(SUFFIX)
            found.setdefault(name, (name, origin, path))
    return sorted(found.values())


def check_template(path: str | Path) -> list[str]:
    """What is wrong with a template file, a line each (`FILE:LINE: what`); empty if it can be used.

    Checks the syntax, the quoting, and that it renders for a plan with everything and for one with nothing.
    """
    file = Path(path)
    try:
        problems = [f"{file}:{line}: {text}" for line, text in _lint(file.read_text("utf-8"))]
    except (OSError, UnicodeDecodeError) as error:
        return [f"{file}: {error}"]
    tried = () if problems else (_problem(file, full=True), _problem(file, full=False))
    return problems or list(dict.fromkeys(filter(None, tried)))


def _problem(file: Path, *, full: bool) -> str:
    try:
        _render(file, plan=sample_plan(full=full), script=sample_points(full=full), wrapper=sample_wrapper(full=full))
    except _RefusalError:
        return ""  # the sample is not for it, as a template may say
    except (TemplateError, NotFoundError, PlanError) as error:
        return error.message
    return ""


def sample_plan(*, full: bool = True) -> Plan:
    """A plan to try templates with: one that asks for everything, or for nothing."""
    least = Plan(
        tag="3f9c2a71b2c4", name="solve", site="sample", scheduler="slurm", template="slurm.sh.j2",
        folder="/home/u/.local/share/hpcjobs/solve", workdir="/home/u/run", output="/home/u/run/out.log",
        error="/home/u/run/out.log", shape=Shape(), launch=(("./solve", "in.nml"),), command=("./solve", "in.nml"),
        native={"options": (("-N", "solve"),), "dialect": "openpbs", "indices": (), "index": "", "output": "",
                "error": ""},
    )  # fmt: skip
    if not full:
        return least
    return Plan(**{
        **vars(least), "error": "/home/u/run/err.log", "shape": Shape(4, 8, 2, 4, 2), "image": "/home/u/app.sif",
        "runtime": "apptainer", "launcher": "srun", "mpi": "pmix", "mem": Memory.parse("8G"),
        "mem_per_cpu": Memory.parse("2G"), "time": Duration.parse("2h"), "partition": "gpu", "account": "project",
        "qos": "normal", "constraint": "a100", "reservation": "course", "licenses": "scratch", "gpu_kind": "nvidia",
        "gpu_type": "a100", "exclusive": True, "hold": True, "requeue": True, "array": "0-9", "array_limit": 2,
        "dependency": "afterok:12", "export": "none", "directives": ("--switches=1",),
        "module_init": "source /etc/profile.d/modules.sh", "modules": ("gcc/13",), "site_env": {"A": "$HOME"},
        "env": {"OMP_NUM_THREADS": "4"}, "scratch": "/scratch/$USER", "setup": (shell.Shell("true"),),
        "notes": (Note("ranks", "2 on each node", "one for each GPU"),),
    })  # fmt: skip


def sample_points(*, full: bool = True) -> PointScript:
    """A study's points to try templates with: with everything, or with nothing."""
    least = PointScript(
        folder="/home/u/jobs/s", workdir="/home/u/run", launch=(("./solve", "in.nml"),),
    )  # fmt: skip
    if not full:
        return least
    re = shell.Shell('"${hpcjob_values[1]}"')
    files = (PointFile("in.nml", ("re = ", re, "\n")), PointFile("mesh.dat", link="/home/u/mesh.dat"))
    return replace(least, env={"re": re}, place=shell.concat("re", re), files=files, pack=32, limited=True)


def sample_wrapper(*, full: bool = True) -> Wrapper:
    """A program at the prompt to try templates with: with everything, or with nothing."""
    least = Wrapper(launch=(("apptainer", "exec", "/home/u/app.sif"), ("samtools",)))
    if not full:
        return least
    return replace(
        least, image="/home/u/app.sif", gpu_device="/dev/nvidiactl", gpu=("--nv",), ranks=("--sharens",),
        modules=("apptainer",), site_env={"A": "$HOME"}, env={"B": "2"}, setup=(shell.Shell("true"),),
        serves_files=True,
    )  # fmt: skip


# ------------------------------------------------------------------------------- the environment


def _render(path: Path, **context: Plan | PointScript | Wrapper) -> str:
    environment = _environment()
    with _errors_of_templates(environment.loaded):
        text = environment.get_template(str(path)).render(**context)
    return text if text.endswith("\n") else text + "\n"


class _Loader(BaseLoader):
    """Templates by name along the search path, by `builtin/NAME`, or by path; each is linted on loading."""

    def get_source(self, environment: _Environment, template: str) -> tuple[str, str, Callable[[], bool]]:  # type: ignore[override]
        path = find_template(template)[1]
        stamp = path.stat().st_mtime_ns
        source = path.read_text("utf-8")
        environment.loaded.add(str(path))
        for line, text in _lint(source):
            raise TemplateError(f"{path}:{line}: {text}", hint=_LINT_HINT)
        return source, str(path), lambda: find_template(template)[1] == path and path.stat().st_mtime_ns == stamp


class _Environment(SandboxedEnvironment):
    """Quotes whatever is written, and lets nothing be made out of text that is already safe."""

    intercepted_binops = frozenset({"+", "*", "%"})

    def __init__(self) -> None:
        super().__init__(
            loader=_Loader(),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self.loaded: set[str] = set()
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.filters.update(expand=shell.expand, directive=shell.directive, line=shell.line)
        self.globals = {"range": self.globals["range"], "refuse": _refuse}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, Markup) or isinstance(right, Markup):
            raise PlanError(f"{operator} with the output of a block", hint="write the two side by side")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, (Markup, shell.Shell)):  # its `format`, say, would make more of it
            return self.unsafe_undefined(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, (Markup, shell.Shell)):
            return self.unsafe_undefined(obj, str(argument))
        return super().getitem(obj, argument)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for mix in tree.find_all(nodes.Concat):
            raise TemplateSyntaxError("~ would mix safe text with other; use +", mix.lineno, name, filename)
        for node in tree.find_all(nodes.Extends):
            parent = node.template.value if isinstance(node.template, nodes.Const) else ""
            if filename and str(find_template(parent)[1]) == filename:
                raise TemplateSyntaxError(
                    f"it extends itself; the built-in one is {_BUILT_IN}{parent}", node.lineno, name, filename
                )
        return tree


@cache
def _environment() -> _Environment:
    """The only one: a study renders a hundred scripts of one template, which is compiled once."""
    return _Environment()


@pass_context
def _finalize(_: object, value: object) -> object:
    """What `{{ value }}` writes. Asks for the context so that constants come here too, and not as HTML."""
    if isinstance(value, (Markup, Undefined)):
        return value  # the output of a block, quoted already; or a name that is not defined, which raises by itself
    if isinstance(value, (list, tuple)):
        return shell.lines(*value) if value and isinstance(value[0], (list, tuple)) else shell.lines(value)
    if value is None or isinstance(value, (bool, dict)):
        raise PlanError(f"{value!r} has no text to stand in a script", hint="test it with {% if %}, or loop over it")
    return shell.quote(value)


class _RefusalError(PlanError):
    """A template's own word that a plan is not for it."""


def _refuse(message: str, hint: str = "") -> None:
    """`{{ refuse("…", "…") }}` in a template: this plan is not for it."""
    raise _RefusalError(message, hint=hint)


@contextmanager
def _errors_of_templates(loaded: set[str]) -> Iterator[None]:
    try:
        yield
    except TemplateSyntaxError as error:
        raise TemplateError(
            f"{error.filename or error.name}:{error.lineno}: {error.message}",
            hint="hpcjob template check FILE finds more",
        ) from error
    except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise TemplateError(
            f"{_where(error, loaded)}: {error}", hint="see: hpcjob template check FILE, hpcjob template show slurm"
        ) from error
    except OSError as error:
        raise TemplateError(f"{error.filename}: {error.strerror}", hint="see: hpcjob template list") from error


def _where(error: BaseException, loaded: set[str]) -> str:
    """`FILE:LINE` of the innermost template; jinja2 puts templates' own lines into the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if f.filename in loaded), "template")


# -------------------------------------------------------------------------------------- input files


class InputTemplate:
    """An input file of a study as a jinja2 template: all of the language, nothing quoted, includes from beside it."""

    def __init__(self, path: str | Path) -> None:
        """Load it.

        Raises:
            TemplateError: it cannot be read, or is no template; says the line.
        """
        self._path = Path(path)
        self._loader = _InputLoader(self._path.parent)
        environment = SandboxedEnvironment(
            loader=self._loader,
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
            finalize=lambda value: str(value).lower() if isinstance(value, bool) else value,
        )
        with self._errors():
            self._template = environment.get_template(self._path.name)

    def render(self, values: Mapping[str, object]) -> str:
        """The text for one point.

        Raises:
            TemplateError: a name is not defined, or an expression fails; says the line.
        """
        with self._errors():
            return self._template.render(values)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        hint = "it is a template of jinja2, where {{ name }} is a parameter and {{ point }} the number of the point"
        try:
            yield
        except TemplateNotFound as error:
            raise TemplateError(f"there is no {self._path.parent / str(error)}", hint="is its name right?") from error
        except TemplateSyntaxError as error:
            raise TemplateError(f"{error.filename or self._path}:{error.lineno}: {error.message}", hint=hint) from error
        except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise TemplateError(f"{_where(error, self._loader.loaded)}: {error}", hint=hint) from error
        except OSError as error:
            raise TemplateError(f"{error.filename}: {error.strerror}", hint="is its name right?") from error


class _InputLoader(BaseLoader):
    """Files of a folder, also such as are no UTF-8; the ends of their lines stay as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.loaded: set[str] = set()

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        path = self._folder / template
        if not path.is_file():
            raise TemplateNotFound(template)
        self.loaded.add(str(path))
        source = path.read_bytes().decode("utf-8", "surrogateescape")
        # jinja2 makes all ends of lines the same.
        environment.newline_sequence = "\r\n" if "\r\n" in source else "\n"
        return source, str(path), lambda: True


# --------------------------------------------------------------------------------------- the lint

_LINT_HINT = "values are quoted by themselves: write {{ value }} outside of quotes; for files, use printf"
_TOKEN = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|\\.|['\"]|(?:^|(?<=\s))#.*|<<-?\s*[\\'\"]?(\w+)|.", re.DOTALL)
_OPTION_LINE = re.compile(r"#[A-Z]+ ")


def _lint(source: str) -> Iterator[tuple[int, str]]:
    """Places where a quoted value would not stand as a word of its own: (line, what is wrong)."""
    here_document = ""
    for number, line in enumerate(source.splitlines(), 1):
        if here_document:
            if "{{" in line:
                yield number, "a value in a here-document"
            here_document = "" if line.strip() == here_document else here_document
            continue
        problem, here_document = _lint_line(line)
        if problem:
            yield number, problem


def _lint_line(line: str) -> tuple[str, str]:
    """What is wrong with one line, and the end mark of the here-document that it begins."""
    inside, end = "", ""
    if _OPTION_LINE.match(line):
        values = re.findall(r"\{\{(.*?)\}\}", line)
        bad = any(not re.search(r"\|\s*directive\b", value) for value in values)
        return ("a directive's value without | directive" if bad else "", "")
    for match in _TOKEN.finditer(line):
        part = match.group()
        if part.startswith("{{") and inside:
            return f"a value between {inside} and {inside}", ""
        if part.startswith("#") and not inside and "{{" in part:
            return "a value in a comment", ""
        if inside == "'" and part == "\\'":
            inside = ""  # between single quotes a backslash is nothing special
        elif part in ("'", '"'):
            inside = "" if inside == part else inside or part
        elif match[1] and not inside:
            end = match[1]
    return "", end


# ----------------------------------------------------------------------------------- expressions

_LONGEST_EXPRESSION = 1000
_EXPRESSION_HINT = "write it as in Python: re*dt < 1 and solver in ('cg', 'gmres')"
# Python's operators and jinja2's: what is not here, no expression can hold.
_OPERATORS: dict[type[ast.AST], type[nodes.BinExpr]] = {
    ast.Add: nodes.Add, ast.Sub: nodes.Sub, ast.Mult: nodes.Mul, ast.Div: nodes.Div, ast.FloorDiv: nodes.FloorDiv,
    ast.Mod: nodes.Mod, ast.Pow: nodes.Pow, ast.And: nodes.And, ast.Or: nodes.Or,
}  # fmt: skip
_SIGNS: dict[type[ast.AST], type[nodes.UnaryExpr]] = {ast.Not: nodes.Not, ast.USub: nodes.Neg, ast.UAdd: nodes.Pos}
_COMPARISONS: dict[type[ast.AST], str] = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "lteq", ast.Gt: "gt", ast.GtE: "gteq", ast.In: "in",
    ast.NotIn: "notin",
}  # fmt: skip
_CONSTANTS = {"pi": math.pi, "e": math.e, "true": True, "false": False}
_FAILURES = (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError)


def compile_expression(text: str, names: Collection[str]) -> Callable[[Mapping[str, Value]], Value]:
    """The function that an expression of parameters is: from the values of a point to its value.

    It is read as Python, for which -x**2 is what it is in mathematics (for jinja2 it is (-x)**2), and run by jinja2's
    sandbox. The function raises UsageError where the expression has no value.

    Raises:
        UsageError: it is no expression, or names what is neither a parameter nor a function.
    """
    text = text.strip()
    if len(text) > _LONGEST_EXPRESSION:
        raise UsageError(f"the expression {text[:40]}… is too long", hint="derive parameters from its parts first")
    try:
        run = _Calculator().compile_tree(_translated(ast.parse(text, mode="eval").body, names))
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        cause = error.msg if isinstance(error, SyntaxError) else error
        raise UsageError(f"{text!r} is not an expression: {cause}", hint=_syntax_hint(text, names)) from None

    def evaluate(values: Mapping[str, Value]) -> Value:
        try:
            return run(values)
        except _FAILURES as error:
            raise UsageError(str(error), hint="an expression may avoid that: 1/dt if dt > 0 else 0") from None

    return evaluate


def _syntax_hint(text: str, names: Collection[str]) -> str:
    for name in names:
        if keyword.iskeyword(name) and re.search(rf"\b{name}\b", text):
            return f"{name} is a word of the language of expressions: give the parameter another name"
    return _EXPRESSION_HINT


class _Calculator(SandboxedEnvironment):
    """Runs expressions. Powers are the same on every machine; what could fill the memory is refused."""

    intercepted_binops = frozenset({"*", "%", "**"})

    def __init__(self) -> None:
        # The optimizer would write an infinite constant as a name.
        super().__init__(undefined=StrictUndefined, optimized=False)
        self.globals = {**_CONSTANTS, **_functions()}

    def compile_tree(self, tree: nodes.Expr) -> Callable[[Mapping[str, Value]], Value]:
        """As compile_expression of the base class, which takes text only and is slower to call."""
        tree.set_environment(self)
        template = self.from_string(nodes.Template([nodes.Assign(nodes.Name("result", "store"), tree)], lineno=1))

        def run(values: Mapping[str, Value]) -> Value:
            context = template.new_context({**self.globals, **values}, shared=True)
            deque(template.root_render_func(context), maxlen=0)
            return cast("Value", context.vars["result"])

        return run

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if not (isinstance(left, (int, float)) and isinstance(right, (int, float))):
            raise TypeError(f"{operator} of {left!r} and {right!r}")
        if operator == "**":
            return _functions()["power"](left, right)
        return super().call_binop(context, operator, left, right)


@cache
def _functions() -> dict[str, Callable[..., Any]]:
    from hpcjobs.sweep import portable, values

    return {
        "sqrt": math.sqrt, "exp": portable.exp, "log": portable.log, "log10": portable.log10, "log2": portable.log2,
        "sin": portable.sin, "cos": portable.cos, "tan": portable.tan, "power": portable.power, "floor": math.floor,
        "ceil": math.ceil, "abs": abs, "min": min, "max": max, "round": _round, "int": int, "float": float,
        "str": values.text, "len": len,
    }  # fmt: skip


def _round(number: float, digits: int | None = None) -> float:
    # Python's works out 10**digits.
    return round(number, digits if digits is None else min(max(digits, -400), 400))


def _translated(node: ast.expr, names: Collection[str]) -> nodes.Expr:
    """Python's syntax tree as jinja2's, if there is but arithmetic in it."""

    def inner(part: ast.expr) -> nodes.Expr:
        return _translated(part, names)

    match node:
        case ast.Constant(value=int() | float() | str() as value) if value != math.inf:
            return nodes.Const(value)
        case ast.Name(id=name):
            return _name(name, names)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return nodes.List([inner(part) for part in parts])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](inner(left), inner(right))
        case ast.BoolOp(op=op, values=parts):
            return reduce(_OPERATORS[type(op)], map(inner, parts))
        case ast.UnaryOp(op=op, operand=part) if type(op) in _SIGNS:
            return _SIGNS[type(op)](inner(part))
        case ast.Compare(left=left, ops=ops, comparators=parts) if all(type(op) in _COMPARISONS for op in ops):
            others = [nodes.Operand(_COMPARISONS[type(op)], inner(part)) for op, part in zip(ops, parts, strict=True)]
            return nodes.Compare(inner(left), others)
        case ast.IfExp(test=test, body=left, orelse=right):
            return nodes.CondExpr(inner(test), inner(left), inner(right))
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]):
            return nodes.Call(_function(name, names), [inner(part) for part in parts], [], None, None)
        case _:
            raise UsageError(f"{ast.unparse(node)!r} cannot stand in an expression", hint=_EXPRESSION_HINT)


def _name(name: str, names: Collection[str]) -> nodes.Expr:
    if name == "self":
        raise UsageError("jinja2 has another self", hint="give the parameter another name")
    if name not in names and name not in _CONSTANTS:
        raise UsageError(f"an expression names {name!r}, which is no parameter", hint=nearest(name, names))
    return nodes.Name(name, "load")


def _function(name: str, names: Collection[str]) -> nodes.Expr:
    if name not in _functions() or name in names:
        raise UsageError(f"an expression calls {name}, which is no function", hint=nearest(name, _functions()))
    return nodes.Name(name, "load")
