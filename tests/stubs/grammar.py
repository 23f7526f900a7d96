"""How the stub programs read a command line: a table of options, one strict parser, refusals with exit codes.

The runtimes read their options with five parsers that differ in what they let pass; `Style` says how. What a
stub refuses is a `Refusal`, which `run` turns into a message on stderr and the exit code of the real program.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

Body = Callable[[list[str], Mapping[str, str]], int]
Value = Literal["none", "one", "maybe"]


class Refusal(Exception):  # noqa: N818 - it is what the program says, not what went wrong in the stub
    """The real program would end here."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Option:
    """One option; its first name without dashes is the name of its values."""

    names: tuple[str, ...]
    value: Value = "one"
    repeat: bool = True
    only: tuple[str, ...] = ()
    check: Callable[[str], None] | None = None

    @property
    def key(self) -> str:
        return self.names[0].lstrip("-")


@dataclass(frozen=True)
class Style:
    """What a parser lets pass, and what it says and returns otherwise; `{0}` is the option, `{1}` the value."""

    code: int = 1
    unknown: str = "unknown option: {0}"
    missing: str = "option needs an argument: {0}"
    surplus: str = "option takes no argument: {0}"
    repeated: str = "option given twice: {0}"
    wrong: str = 'invalid argument "{1}" for {0}'
    usage: str = ""
    prefixes: bool = False  # getopt_long: --vol for --volume
    sticky: bool = True  # -ab for -a -b, and -n4 for -n 4
    equals: bool = False  # pflag: -n=4 for -n 4, --rm=false
    dashed: bool = True  # --env -x takes -x as the value
    empty: bool = True  # --env= is an empty value

    def refuse(self, message: str, *parts: str) -> NoReturn:
        text = message.format(*parts)
        raise Refusal(f"{text}\n{self.usage}" if self.usage else text, self.code)


GETOPT = Style(
    unknown="unrecognized option '{0}'",
    missing="option '{0}' requires an argument",
    surplus="option '{0}' doesn't allow an argument",
    prefixes=True,
)
PFLAG = Style(unknown="unknown flag: {0}", missing="flag needs an argument: {0}", equals=True)


def valued(names: str, **more: object) -> tuple[Option, ...]:
    """Options that take a value: "--env,-e --volume,-v"."""
    return _table(names, "one", more)


def flags(names: str, **more: object) -> tuple[Option, ...]:
    """Options that take none."""
    return _table(names, "none", more)


def _table(names: str, value: Value, more: dict[str, object]) -> tuple[Option, ...]:
    return tuple(Option(tuple(word.split(",")), value, **more) for word in names.split())  # type: ignore[arg-type]


@dataclass
class Parsed:
    """The values of the options, and what stood after them."""

    values: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)

    def all(self, key: str) -> list[str]:
        return self.values.get(key, [])

    def last(self, key: str, default: str = "") -> str:
        return (self.values.get(key) or [default])[-1]

    def has(self, key: str) -> bool:
        return key in self.values


@dataclass(frozen=True)
class Grammar:
    """Options, and the parser that reads them up to the first word that is none."""

    options: tuple[Option, ...]
    style: Style = GETOPT

    def parse(self, argv: Sequence[str]) -> Parsed:
        found = Parsed(rest=list(argv))
        while found.rest:
            word = found.rest[0]
            if word == "--":
                found.rest.pop(0)
                break
            if word == "-" or not word.startswith("-"):
                break
            found.rest.pop(0)
            self._long(word, found) if word.startswith("--") else self._short(word, found)
        return found

    def _long(self, word: str, found: Parsed) -> None:
        name, equals, value = word.partition("=")
        option = self._named(name)
        if not equals:
            self._take(option, name, found)
        elif option.value == "none" and not self.style.equals:
            self.style.refuse(self.style.surplus, name)
        elif not value and not self.style.empty:
            self.style.refuse(self.style.missing, name)
        else:
            self._store(option, name, value, found)

    def _named(self, name: str) -> Option:
        exact = [option for option in self.options if name in option.names]
        near = {o.key: o for o in self.options for n in o.names if n.startswith("--") and n.startswith(name)}
        if not exact and self.style.prefixes and len(near) > 1:
            self.style.refuse("option '{0}' is ambiguous; possibilities: {1}", name, " ".join(sorted(near)))
        if not exact and (not self.style.prefixes or not near):
            self.style.refuse(self.style.unknown, name)
        return exact[0] if exact else next(iter(near.values()))

    def _short(self, word: str, found: Parsed) -> None:
        name, tail = word[:2], word[2:]
        option = next((o for o in self.options if name in o.names), None)
        if option is None or (tail and not self.style.sticky):
            self.style.refuse(self.style.unknown, word)
        if not tail:
            self._take(option, name, found)
        elif option.value == "none":
            self._store(option, name, "true", found)
            self._short(f"-{tail}", found)
        else:
            self._store(option, name, tail[1:] if self.style.equals and tail[0] == "=" else tail, found)

    def _take(self, option: Option, name: str, found: Parsed) -> None:
        """The value is in the next word, if the option takes one."""
        if option.value != "one":
            self._store(option, name, "true" if option.value == "none" else "", found)
            return
        if not found.rest or (found.rest[0].startswith("-") and not self.style.dashed):
            self.style.refuse(self.style.missing, name)
        if not found.rest[0] and not self.style.empty and self.style.dashed:
            self.style.refuse(self.style.missing, name)
        self._store(option, name, found.rest.pop(0), found)

    def _store(self, option: Option, name: str, value: str, found: Parsed) -> None:
        if option.value == "none" and value.lower() not in {"true", "false", "1", "0", "t", "f"}:
            self.style.refuse(self.style.wrong, name, value)
        if option.only and value not in option.only:
            self.style.refuse(self.style.wrong, name, value)
        if not option.repeat and option.key in found.values:
            self.style.refuse(self.style.repeated, name)
        if option.check:
            option.check(value)
        if option.value == "none" and value.lower() in {"false", "0", "f"}:
            found.values.pop(option.key, None)
            return
        found.values.setdefault(option.key, []).append(value)


def accept(program: str, command: Sequence[str], **options: object) -> int:
    """Say in one line of JSON what was understood."""
    known = {key: value for key, value in options.items() if value not in (None, "", [], {}, False)}
    sys.stdout.write(
        json.dumps({"program": program, "command": list(command), "options": known}, sort_keys=True) + "\n"
    )
    return 0


def guard(body: Body, argv: list[str], environ: Mapping[str, str], prefix: str = "") -> int:
    """Run `body`; a refusal becomes a message on stderr and its exit code."""
    try:
        return body(list(argv), environ)
    except Refusal as refusal:
        sys.stderr.write(f"{prefix}{refusal}\n")
        return refusal.code


def run(main: Body) -> NoReturn:
    """Be a program."""
    sys.exit(main(sys.argv[1:], os.environ))


def assignment(text: str, environ: Mapping[str, str] | None, wrong: Refusal) -> dict[str, str]:
    """`K=V`; with the host's environment, `K` takes the value it has there, if any."""
    key, equals, value = text.partition("=")
    if not key or not (equals or environ is not None):
        raise wrong
    if equals:
        return {key: value}
    return {key: environ[key]} if environ and key in environ else {}


def squashfs(path: str) -> bool:
    """Whether it is a file that begins as a squashfs image does."""
    try:
        with Path(path).open("rb") as file:
            return file.read(4) == b"hsqs"
    except OSError:
        return False
