"""`hpcjob template`: the templates of batch scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcjobs.cli import out
from hpcjobs.errors import NotFoundError

if TYPE_CHECKING:
    from hpcjobs.cli.options import Json, TemplateName, TemplateNames


def list_(*, json: Json = False) -> int:
    """List the templates there are."""
    from hpcjobs import render

    found = render.list_templates()
    if json:
        out.dump(templates=[{"name": name, "origin": origin, "file": str(file)} for name, origin, file in found])
    else:
        out.table(("NAME", "ORIGIN", "FILE"), [(name, origin, str(file)) for name, origin, file in found])
    return 0


def show(name: TemplateName) -> int:
    """Print a template."""
    from hpcjobs import render

    _, file = render.find_template(name)
    try:
        text = file.read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise NotFoundError(f"{file}: {error.strerror}", hint="hpcjob template list shows those there are") from error
    out.data(text)
    return 0


def check(names: TemplateNames = None, *, json: Json = False) -> int:
    """Check templates.

    Syntax, quoting, and that they render. They are given as files or by name; by default, all
    there are. The exit code is 1 if one is wrong.
    """
    from hpcjobs import render

    files = [render.find_template(name)[1] for name in names or [name for name, _, _ in render.list_templates()]]
    problems = [problem for file in files for problem in render.check_template(file)]
    if json:
        out.dump(checked=[str(file) for file in files], problems=problems)
    else:
        for problem in problems:
            out.say(problem)
        if not problems:
            out.tell(f"nothing is wrong with {len(files)} template{'s' if len(files) > 1 else ''}")
    return int(bool(problems))


COMMANDS = {"list": list_, "show": show, "check": check}
