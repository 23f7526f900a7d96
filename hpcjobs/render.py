"""A plan and a template become a batch script. The only module that knows jinja2.

Quoting is structural. Every value that a template writes is quoted for bash (`finalize`); text passes as it is
only if it is `Shell`, made in shell.py, or the output of another block. The doors that lead there: `| expand` for
fields that may hold `$NAME`, `| directive` for the scheduler's own options, `| line` for the one line of shell
that a site file may give (`module_init`), and values that are `Shell` already.
What would defeat that (`~`, methods of safe text, a value between quotes or in a comment) is refused on loading.
"""

from __future__ import annotations

import re
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import BaseLoader, StrictUndefined, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from hpcjobs import paths, shell
from hpcjobs.errors import NotFoundError, PlanError, TemplateError
from hpcjobs.model import Note, Plan, Script, Shape
from hpcjobs.units import Duration, Memory, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    return Script(_render(plan, path), str(path))


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
    tried = () if problems else (_problem(file, sample_plan()), _problem(file, sample_plan(full=False)))
    return problems or list(dict.fromkeys(filter(None, tried)))


def _problem(file: Path, plan: Plan) -> str:
    try:
        _render(plan, file)
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


# ------------------------------------------------------------------------------- the environment


def _render(plan: Plan, path: Path) -> str:
    environment = _environment()
    with _errors_of_templates(environment.loaded):
        text = environment.get_template(str(path)).render(plan=plan)
    return text if text.endswith("\n") else text + "\n"


class _Loader(BaseLoader):
    """Templates by name along the search path, by `builtin/NAME`, or by path; each is linted on loading."""

    def get_source(self, environment: _Environment, template: str) -> tuple[str, str, Callable[[], bool]]:  # type: ignore[override]
        path = find_template(template)[1]
        source = path.read_text("utf-8")
        environment.loaded.add(str(path))
        for line, text in _lint(source):
            raise TemplateError(f"{path}:{line}: {text}", hint=_LINT_HINT)
        return source, str(path), lambda: True


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


def _environment() -> _Environment:
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
