"""The texts that are made from the command line itself: `help.txt` and the pages of docs/reference.

`pytest --bless tests/cli/test_reference.py` writes them, and the same tests fail when they are out of date.
"""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from hpcjobs import errors
from hpcjobs.cli import GROUPS, VERBS, app, schemas
from hpcjobs.record import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 80


def help_text() -> str:
    """What `hpcjob --help` prints."""
    lines = ["Usage: hpcjob [-v] VERB ...", "", "  Run a container image on any HPC machine.", ""]
    for title, verbs in GROUPS.items():
        lines.append(f"{title}:")
        lines += [f"  {verb:<11} {_first_line(app.build(verb, target))}" for verb, target in verbs.items()]
        lines.append("")
    return "\n".join([*lines, *_COMMON, ""])


_COMMON = (
    "Everywhere:",
    "  -v, --verbose  Show every scheduler command and its time; -vv: its answer too",
    "  --color WHEN   auto, always or never; NO_COLOR is heeded",
    "  --json         Print JSON",
    "  -h, --help     Help, also after a verb: hpcjob submit --help",
    "  --version      Print the version",
    "",
    "Jobs are named j12, j3-j9, j12[0-4], j12[failed], by the scheduler's own id,",
    "or last, active, failed, all; studies s4, and their points s4[17].",
    "",
    "  hpcjob submit --image app.sif --nodes 4 -- ./solve in.nml",
    "  hpcjob status",
    "  hpcjob logs -f last",
)


def _first_line(command: Any) -> str:
    text: str = inspect.cleandoc(command.help).splitlines()[0]
    return text.rstrip(".")


def cli_page() -> str:
    """docs/reference/cli.md: the help text of every verb."""
    parts = [
        "# Command line\n\nMade from the program (`pytest --bless tests/cli/test_reference.py`); do not edit.\n",
        f"```text\n{help_text()}```\n",
    ]
    parts += [f"## hpcjob {name}\n\n```text\n{text}\n```\n" for name, text in _all_helps()]
    return "\n".join(parts)


def _all_helps() -> Iterator[tuple[str, str]]:
    root = app.root()
    top = root.context_class(root, info_name=app.PROGRAM, terminal_width=_WIDTH, **root.context_settings)
    for verb in VERBS:
        command = root.get_command(top, verb)
        context = command.context_class(command, info_name=verb, parent=top)
        yield verb, command.get_help(context)
        for name in getattr(command, "targets", ()):
            inner = command.get_command(context, name)
            yield f"{verb} {name}", inner.get_help(inner.context_class(inner, info_name=name, parent=context))


def exit_codes_page() -> str:
    """docs/reference/exit-codes.md: the error tree as a table."""
    rows = [
        ("0", "", "All went well."),
        *sorted((str(e.exit_code), e.__name__, _meaning(e)) for e in errors.HpcjobError.__subclasses__()),
        ("70", "", "A bug in hpcjobs. The message names a file with the details, or prints them with `-vv`."),
        ("130", "", "Ctrl-C. Jobs that were waited for go on."),
        ("141", "", "The reader of the output went away (`hpcjob history | head`)."),
    ]
    rows.sort(key=lambda row: int(row[0]))
    table = [f"| {code} | {f'`{name}`' if name else ''} | {text} |" for code, name, text in rows]
    return "\n".join([*_EXIT_CODES, *table, ""])


_EXIT_CODES = (
    "# Exit codes",
    "",
    "Made from `hpcjobs/errors.py` (`pytest --bless tests/cli/test_reference.py`); do not edit.",
    "",
    "An error is printed on stderr as `error: what happened`, an empty line and `hint: what to do`; with `--json`,",
    'on stdout as `{"version": 1, "error": {"message": …, "hint": …, "code": …}}`. The Python API raises it as',
    "the class.",
    "",
    "| code | class | meaning |",
    "|---|---|---|",
)


def json_page() -> str:
    """docs/reference/json.md: which verb prints what."""
    rows = []
    for output in schemas.OUTPUTS:
        names = "; or ".join(", ".join(f"`{key}`" for key in keys) for keys in schemas.answers(output))
        rows.append(f"| `hpcjob {output.replace('-', ' ')}` | {names} | [schema](json/{output}.schema.json) |")
    return "\n".join([*_JSON, *rows, ""])


_JSON = (
    "# JSON",
    "",
    "Made from `hpcjobs/cli/schemas.py` (`pytest --bless tests/cli/test_reference.py`); do not edit.",
    "",
    "With `--json` a command prints exactly one JSON value on stdout, with the exit code that it has without. It is an",
    "object with `version`, which is 1, and either what the table says or `error`: `{message, hint, code}`, where",
    "`code` is the exit code. Commands that ask how jobs and studies are print both if a scheduler did not answer:",
    "what was last known, and the error.",
    "",
    "Commands that take jobs print `studies` instead of `jobs` for a study (`s4`), and `points` too for points of it",
    "(`s4[17]`).",
    "",
    "Within a version keys are only added. Times are ISO 8601 in UTC, durations are seconds, and what is not known is",
    "null. The states of a job are `" + "`, `".join(state.value for state in JobState) + "`.",
    "",
    "| command | keys | |",
    "|---|---|---|",
)


def files() -> dict[str, str]:
    """Every file that is made from the program: its path in the project, and its text."""
    made = {
        "hpcjobs/cli/help.txt": help_text(),
        "docs/reference/cli.md": cli_page(),
        "docs/reference/exit-codes.md": exit_codes_page(),
        "docs/reference/json.md": json_page(),
    }
    for output in schemas.OUTPUTS:
        made[f"docs/reference/json/{output}.schema.json"] = json.dumps(schemas.schema(output), indent=1) + "\n"
    return made


def _meaning(error: type[errors.HpcjobError]) -> str:
    return inspect.cleandoc(error.__doc__ or "").splitlines()[0]
