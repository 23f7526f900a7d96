"""Items of `modules`: names of modules, and commands of the module system as one types them after `module`. Pure.

What both Lmod and Environment Modules (since 4) take is taken, and nothing else: module(1) of each.
"""

from __future__ import annotations

from itertools import chain, groupby
from typing import TYPE_CHECKING

from hpcjobs import shell
from hpcjobs.errors import PlanError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcjobs.shell import Shell

# How each command is written, and the fewest and most words behind it.
_COMMANDS = {
    "load": ("load NAME", 1, 99),
    "unload": ("unload NAME", 1, 99),
    "swap": ("swap OLD NEW", 1, 2),
    "purge": ("purge, or purge --force", 0, 0),
    "use": ("use /FOLDER, or use --append /FOLDER", 1, 1),
    "restore": ("restore COLLECTION", 0, 1),
    "reset": ("reset", 0, 0),
}
_OPTIONS = {"purge": {"--force": "--force", "-f": "--force"}, "use": {"--append": "--append", "-a": "--append"}}
# Other names of the same, which only one of the systems knows, or which are harder to read.
_ALSO = {
    "add": "load", "switch": "swap", "sw": "swap", "rm": "unload", "del": "unload", "delete": "unload",
    "remove": "unload",
}  # fmt: skip


def parse(item: str) -> tuple[str, ...]:
    """The command that an item stands for: its name, its options, its words.

    Raises:
        PlanError: it is neither the name of a module nor such a command; the hint says what to type.
    """
    shell.refuse_control(item, "a module name")
    words = item.split()
    if not words:
        raise PlanError("a module name is empty", hint="leave it out")
    if len(words) == 1 and words[0] not in _COMMANDS:
        words.insert(0, "load")
    if words[0].startswith("-") and words[1:] == ["purge"]:  # `module --force purge` is how both print it
        words.reverse()
    verb, *rest = words
    if verb not in _COMMANDS:
        raise PlanError(f"the module command {item[:60]!r} is not known", hint=_instead(words))
    known = _OPTIONS.get(verb, {})
    options = [known[word] for word in rest if word in known]
    names = [word for word in rest if word not in known]
    _check(item, verb, names)
    return verb, *options, *names


def _instead(words: list[str]) -> str:
    verb, *rest = words
    if verb in ("module", "ml"):
        return f"write {' '.join(rest)}"
    if verb in _ALSO:
        return f"write {' '.join([_ALSO[verb], *rest])}"
    found = nearest(verb, _COMMANDS)
    if found.startswith("did you mean"):
        return found
    return f"an item for each module: {', '.join(words)}; commands are {', '.join(_COMMANDS)}"


def _check(item: str, verb: str, names: list[str]) -> None:
    usage, least, most = _COMMANDS[verb]
    if not least <= len(names) <= most:
        raise PlanError(f"the module command {item[:60]!r} has {len(names)} words after {verb}", hint=f"write {usage}")
    if option := next((name for name in names if name.startswith("-")), ""):
        raise PlanError(f"{option[:60]!r} would be an option of `module {verb}`", hint=f"write {usage}")
    if verb == "use" and not names[0].startswith(("/", "$")):
        path = "$HOME" + names[0][1:] if names[0].startswith("~/") else "/" + names[0]
        raise PlanError(f"{names[0][:60]!r} is not a path from the root", hint=f"write use {path}")


def commands(items: Iterable[str]) -> tuple[tuple[str | Shell, ...], ...]:
    """The lines of a script: loads that follow each other are one, where a module that is named twice stands once.

    Raises:
        PlanError: as `parse`.
    """
    lines: list[tuple[str | Shell, ...]] = []
    for loads, group in groupby((parse(item) for item in items), lambda command: command[0] == "load"):
        if loads:
            names = dict.fromkeys(command[1:] for command in group)
            lines.append(("module", "load", *chain.from_iterable(names)))
        else:
            lines += [_line(*command) for command in group]
    return tuple(lines)


def _line(verb: str, *words: str) -> tuple[str | Shell, ...]:
    if verb == "use":
        return "module", verb, *(shell.expand(word) for word in words)
    return ("module", *words, verb) if verb == "purge" else ("module", verb, *words)


def brought(items: Iterable[str]) -> tuple[str, ...]:
    """The modules that are loaded in the end, as far as their names tell; a collection is `restore NAME`.

    Raises:
        PlanError: as `parse`.
    """
    loaded: dict[str, None] = {}
    for verb, *names in map(parse, items):
        if verb in ("purge", "restore", "reset"):
            loaded.clear()
        if verb == "restore":
            loaded[" ".join((verb, *names))] = None
        for gone in _taken(verb, names):
            loaded = {name: None for name in loaded if not f"{name}/".startswith(f"{gone}/")}
        if verb in ("load", "swap"):
            loaded |= dict.fromkeys(names if verb == "load" else names[-1:])
    return tuple(loaded)


def _taken(verb: str, names: list[str]) -> list[str]:
    """What a command takes away; `swap gcc/12.1` whatever version of gcc there is."""
    if verb == "swap":
        return names[:1] if names[1:] else [names[0].rpartition("/")[0] or names[0]]
    return names if verb == "unload" else []


def folders(items: Iterable[str]) -> tuple[str, ...]:
    """The items that only say where modules are.

    Raises:
        PlanError: as `parse`.
    """
    return tuple(item for item in items if parse(item)[0] == "use")
