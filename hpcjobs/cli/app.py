"""The parser: typer, with verbs that are imported when they are called."""

from __future__ import annotations

import inspect
import os
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import typer
from typer._click.exceptions import ClickException, NoSuchOption  # re-exported by no public module
from typer._click.types import INT, STRING, Tuple
from typer.completion import get_completion_inspect_parameters
from typer.core import TyperCommand, TyperGroup

from hpcjobs import shell
from hpcjobs.cli import VERBS, options
from hpcjobs.cli.main import load
from hpcjobs.errors import UsageError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROGRAM = "hpcjob"
_YAML = (".yaml", ".yml")
# Arguments that are such files.
_FILES = ("job_file", "study_file")
# What groups of verbs are about, where they do more than to look.
_GROUPS = {
    "image": "Pull, look into, convert, build and sign images.",
    "kernel": "Make the Python, R or Julia of an image a kernel of Jupyter.",
    "mpi": "Look at the MPI of hosts and images, and how they go together.",
    "sweep": "Run a job at many points of a space of parameters.\n\n"
    "hpcjob sweep --grid re=100,200,400 -- ./solve {re} is short for hpcjob sweep run ...; its options are told by "
    "hpcjob sweep run --help.",
}
# The verb of a group that is meant where none is named.
_DEFAULTS = {"sweep": "run"}


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


class VerbWithCommand(Verb):
    """A verb that takes a job file, options, and after `--` a command, which is nobody's business but the job's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before `--`; the rest becomes the parameter `command`, byte for byte."""
        head, command = _split(args)
        if any(param.name == "parameters" for param in self.params):
            head = list(_parameters(head))
        if any(param.name in _FILES for param in self.params) and not ctx.resilient_parsing:
            head = self._file_last(ctx, head, command)
        rest: list[str] = super().parse_args(ctx, head)
        if (early := ctx.params.get("command")) and not ctx.resilient_parsing:
            typed = [*head[: -len(early)], "--", *early, *command]
            raise UsageError(
                f"the command begins with {early[0]!r}, before --",
                hint=f"type: {ctx.command_path} {shell.join(typed)}",
            )
        ctx.params["command"] = tuple(command)
        return rest

    def _file_last(self, ctx: Any, head: list[str], command: list[str]) -> list[str]:
        """The options, then the job file or study file.

        Raises:
            UsageError: a word is neither: the command began before `--`.
        """
        begin = len(head) - self._positionals(ctx, head)
        options, file, rest = head[:begin], head[begin : begin + 1], head[begin + 1 :]
        if file and file[0].endswith(_YAML):
            end = len(rest) - self._positionals(ctx, rest)
            options, rest = [*options, *rest[:end]], rest[end:]
        else:
            rest, file = [*file, *rest], []
        if rest:
            typed = [*options, *file, "--", *rest, *command]
            raise UsageError(
                f"the command begins with {rest[0]!r}, before --",
                hint=f"type: {ctx.command_path} {shell.join(typed)}",
            )
        return [*options, *file]

    def _positionals(self, ctx: Any, words: list[str]) -> int:
        """How many words are left from the first one on that is no option and no option's value."""
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        values, _, _ = parser.parse_args(list(words))
        return len(values.get("command") or ()) + any(values.get(name) is not None for name in _FILES)


def _parameters(words: list[str]) -> Iterator[str]:
    """`-p K=V` is papermill's for a parameter, and no partition: their names have no `=`."""
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        yield "--parameter" if word == "-p" and "=" in after else word


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first `--`, and what after it."""
    cut = words.index("--") if "--" in words else len(words)
    return words[:cut], words[cut + 1 :]


class Verbs(TyperGroup):
    """A group whose commands are built when they are asked for; `targets` maps a verb to a function or a group."""

    targets: Mapping[str, Any]
    default: str = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what stands before the verb; nothing at all is a cry for help."""
        if self.default and args and args[0] not in {*self.targets, "-h", "--help"}:
            args = [self.default, *args]
        rest: list[str] = super().parse_args(ctx, args or ["--help"])
        return rest

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """The names, without importing anything."""
        return list(self.targets)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
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
        group = _group(name, found, _GROUPS.get(name, f"Look at {name}s."))
        group.default = _DEFAULTS.get(name, "")
        return group
    return _command(name, found)


def _command(name: str, function: Callable[..., Any]) -> Any:
    """The command whose parameters are annotated with the names of options.py."""
    declared = inspect.unwrap(function)  # whose parameters are the options
    # Not typing.get_type_hints: before Python 3.11 it would wrap what defaults to None once more.
    declared.__annotations__ = inspect.get_annotations(declared, locals=vars(options), eval_str=True)
    if isinstance(signature := getattr(declared, "__signature__", None), inspect.Signature):
        known = declared.__annotations__
        parameters = [each.replace(annotation=known[each.name]) for each in signature.parameters.values()]
        declared.__signature__ = signature.replace(parameters=parameters)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=VerbWithCommand if "command" in declared.__annotations__ else Verb)(function)
    command = typer.main.get_command(app)
    command.params = [param for param in command.params if param.name not in getattr(function, "without", ())]
    for param in command.params:
        if param.name in getattr(function, "hidden", ()):
            vars(param)["hidden"] = True  # arguments have no such attribute
        if (param.metavar or "").startswith("N NAME"):
            param.nargs, param.type = 2, Tuple([INT, STRING])
    if function is not options.common:
        command.params += _command("common", options.common).params
    return command


def _group(name: str, targets: Mapping[str, Any], text: str) -> Verbs:
    group = Verbs(name=name, help=text, rich_markup_mode=None, params=_command("common", options.common).params)
    group.targets = targets
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
        raise _usage(error, words) from None
    return code


def _usage(error: ClickException, words: Sequence[str]) -> UsageError:
    """The parser's complaint in the form that all errors have."""
    context = getattr(error, "ctx", None)
    verb = [word for word in words[:1] if word in VERBS]
    path = (
        context.command_path if context else " ".join([PROGRAM, *verb, *(_DEFAULTS[v] for v in verb if v in _DEFAULTS)])
    )
    hint = f"{path} --help says what there is"
    if isinstance(error, NoSuchOption):
        close = nearest(error.option_name, error.possibilities or [])
        return UsageError(f"there is no option {error.option_name}", hint=close if error.possibilities else hint)
    text = error.format_message().rstrip(".").replace("a valid int", "a whole number")
    return UsageError(text[:1].lower() + text[1:], hint=hint)
