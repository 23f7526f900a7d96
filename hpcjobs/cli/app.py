"""The parser: typer, with verbs that are imported when they are called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from typer._click.exceptions import ClickException, NoSuchOption  # re-exported by no public module
from typer.completion import get_completion_inspect_parameters
from typer.core import TyperCommand, TyperGroup

from hpcjobs.cli import VERBS, options
from hpcjobs.cli.main import load
from hpcjobs.errors import UsageError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROGRAM = "hpcjob"


class Verb(TyperCommand):
    """A command whose options are shown under the headings (`panel`) that they were declared with."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each panel's options."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                name = "Arguments" if param.param_type_name == "argument" else getattr(param, "rich_help_panel", "")
                panels.setdefault(name or "Options", []).append(record)
        common = panels.pop("Options", [])
        for name, records in {**panels, "Options": common}.items():
            with formatter.section(name):
                formatter.write_dl(records)


class Verbs(TyperGroup):
    """A group whose commands are built when they are asked for; `targets` maps a verb to a function or a group."""

    targets: Mapping[str, Any]

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, without importing anything."""
        return list(self.targets)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, imported and built now; None if there is none."""
        return build(cmd_name, self.targets[cmd_name]) if cmd_name in self.targets else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names.

        Raises:
            UsageError: there is none.
        """
        if args[0] in self.targets or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        raise UsageError(f"{ctx.command_path} has no command {args[0]!r}", hint=nearest(args[0], self.targets))


def build(name: str, target: Any) -> Any:
    """The command for a function, or the group for a dictionary of functions."""
    found = load(target) if isinstance(target, str) else target
    if isinstance(found, dict):
        return _group(name, found, f"Look at {name}s.")
    return _command(name, found)


def _command(name: str, function: Callable[..., Any]) -> Any:
    """The command whose parameters are annotated with the names of options.py."""
    function.__annotations__ = get_type_hints(function, localns=vars(options), include_extras=True)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=getattr(function, "command_class", Verb))(function)
    command = typer.main.get_command(app)
    if function is not options.common:
        command.params += _command("common", options.common).params
    return command


def _group(name: str, targets: Mapping[str, Any], text: str) -> Verbs:
    group = Verbs(name=name, help=text, rich_markup_mode=None, params=_command("common", options.common).params)
    group.targets = targets
    group.no_args_is_help = True
    return group


def root() -> Verbs:
    """The whole command line."""
    group = _group(PROGRAM, VERBS, "Run a container image on any HPC machine.")
    group.context_settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    return group


def run(words: Sequence[str]) -> int:
    """Parse the words and call the verb; its exit code.

    Raises:
        UsageError: they cannot be understood.
    """
    group = root()
    if "_HPCJOB_COMPLETE" in os.environ:
        get_completion_inspect_parameters()  # registers the shells
        group.main(list(words), prog_name=PROGRAM)
    try:
        with group.make_context(PROGRAM, list(words)) as context:
            code: int = group.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except ClickException as error:
        raise _usage(error) from None
    return code


def _usage(error: ClickException) -> UsageError:
    """The parser's complaint in the form that all errors have."""
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path if context else PROGRAM} --help says what there is"
    if isinstance(error, NoSuchOption):
        close = nearest(error.option_name, error.possibilities or [])
        return UsageError(f"there is no option {error.option_name}", hint=close if error.possibilities else hint)
    text = error.format_message().rstrip(".")
    return UsageError(text[:1].lower() + text[1:], hint=hint)
