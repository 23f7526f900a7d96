"""Reading YAML that people write: safely, with line numbers, and without YAML's guesses.

A scalar without quotes stays text (`Plain`) until the model says what it must be: `time: 1:00:00`, `account: 0042`,
`version: 1.10` and `export: no` are never changed on the way. Only an empty value, `null` and `~` mean "nothing".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hpcjobs.errors import HpcjobError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# A path into a document: ("partitions", "debug", "max_time"), ("runtimes", 0, "kind").
Loc = tuple[str | int, ...]

MAX_BYTES = 1 << 20
MAX_NODES = 20_000  # with every alias counted as what it stands for
MAX_DEPTH = 30

_TEXT_TAG = "tag:yaml.org,2002:str"
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
# YAML 1.2.2, 10.3.2 "Core Schema": what an unquoted scalar is where no model says it.
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class Plain(str):
    """A scalar that was written without quotes."""

    __slots__ = ()


@dataclass(frozen=True)
class Document:
    """A YAML mapping and the line of every key and list item in it."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[Loc, int]

    def line(self, loc: Loc) -> int:
        """The line of the place, or of the nearest one around it; 0 for the whole file."""
        while loc and loc not in self.lines:
            loc = loc[:-1]
        return self.lines.get(loc, 0)

    def where(self, loc: Loc = ()) -> str:
        """`FILE:LINE` of the place, or of the nearest one around it."""
        line = self.line(loc)
        return f"{self.path}:{line}" if line else str(self.path)


def dotted(loc: Loc) -> str:
    """`partitions.debug.max_time`, `runtimes[0].kind`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def inside(data: Any, loc: Loc) -> Any:
    """What stands at that place of the data; None if there is no such place."""
    for part in loc:
        data = data.get(part) if isinstance(data, dict) else None
    return data


def native(value: Any) -> Any:
    """The value with every unquoted scalar resolved as YAML 1.2 does, for fields of any type."""
    if isinstance(value, dict):
        return {str(key): native(item) for key, item in value.items()}
    if isinstance(value, list):
        return [native(item) for item in value]
    if not isinstance(value, Plain):
        return value
    if value in _BOOLEANS:
        return _BOOLEANS[value]
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _NUMBER.fullmatch(value) else str(value)


def read(path: Path, error: type[HpcjobError], *, empty: bool = False) -> Document:
    """Read a YAML file whose top level is a mapping; with `empty`, one that says nothing will do.

    Raises:
        NotFoundError: there is no such file.
        HpcjobError: of the given type: it cannot be read or is no such YAML; names file and line.
    """
    try:
        if path.is_dir() or (path.exists() and not path.is_file()):
            raise error(f"{path} is not a file", hint="give the path of a YAML file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}", hint="check the path") from None
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise error(f"{path} cannot be read: {reason}", hint="check the path and its permissions") from None
    if len(raw) > MAX_BYTES:
        raise error(f"{path} is larger than 1 MiB", hint="is this the right file?")
    return parse(path, raw, error, empty=empty)


def parse(path: Path, raw: bytes, error: type[HpcjobError], *, empty: bool = False) -> Document:
    """Read YAML from bytes; `path` is for messages only. Raises as `read`."""
    import yaml

    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise error(f"{path}:{line}: not UTF-8 text", hint="save the file as UTF-8") from None
    builder = _Builder(path, error, empty=empty)
    try:
        data = builder.document(yaml.parse(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader)))
    except yaml.YAMLError as problem:
        raise _syntax_error(path, text, problem, error) from None
    return Document(path, data, builder.lines)


def _syntax_error(path: Path, text: str, problem: Any, error: type[HpcjobError]) -> HpcjobError:
    if mark := getattr(problem, "problem_mark", None):
        line, what = mark.line + 1, ", ".join(filter(None, (problem.context, problem.problem)))
    else:
        line, what = text.count("\n", 0, problem.position) + 1, "a control character"
    source = (text.splitlines() or [""])[min(line, len(text.splitlines())) - 1]
    if "\t" in source[: len(source) - len(source.lstrip())] or "\\t" in what:
        return error(f"{path}:{line}: a tab", hint="indent YAML with spaces")
    return error(f"{path}:{line}: {what}", hint="check indentation, colons and quotes on this line and the one before")


class _Builder:
    """Makes values of the parser's events, so that depth and size are checked before anything is built."""

    def __init__(self, path: Path, error: type[HpcjobError], *, empty: bool) -> None:
        self.path = path
        self.error = error
        self.empty = empty
        self.lines: dict[Loc, int] = {}
        self.nodes = 0
        self.anchors: dict[str, tuple[Any, int]] = {}  # the value and how many nodes it stands for

    def fail(self, event: Any, message: str, hint: str) -> HpcjobError:
        return self.error(f"{self.path}:{event.start_mark.line + 1}: {message}", hint=hint)

    def document(self, events: Iterator[Any]) -> dict[str, Any]:
        import yaml

        data: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.fail(event, "a second document", "keep one document to a file: remove this ---")
            elif isinstance(event, yaml.NodeEvent):
                data = self.node(event, events, ())
        if data is None and self.empty:
            return {}
        if data is None:
            raise self.error(f"{self.path} is empty", hint="write at least one line of `key: value`")
        if not isinstance(data, dict):
            raise self.error(f"{self.path} is not a mapping", hint="write lines of `key: value`")
        return data

    def node(self, event: Any, events: Iterator[Any], loc: Loc) -> Any:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.tag not in {None, "!", _TEXT_TAG}:
            raise self.fail(event, f"the tag {event.tag!r}", "remove it: tags are not supported")
        if len(loc) > MAX_DEPTH:
            raise self.fail(event, f"nested more than {MAX_DEPTH} deep", "is this the right file?")
        before = self.nodes
        self.count(event, 1)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(events, loc)
        else:
            value = self.mapping(events, loc)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.fail(event, f"more than {MAX_NODES} values", "aliases count as what they stand for")

    def alias(self, event: Any) -> Any:
        # An anchor is known only after its node, so a node cannot hold itself.
        if event.anchor not in self.anchors:
            raise self.fail(event, f"*{event.anchor} is not defined before this line", "define it with & above")
        value, nodes = self.anchors[event.anchor]
        self.count(event, nodes)
        return value

    @staticmethod
    def scalar(event: Any) -> str | None:
        if event.style:
            return str(event.value)
        return None if event.value in _NOTHING else Plain(event.value)

    def sequence(self, events: Iterator[Any], loc: Loc) -> list[Any]:
        import yaml

        values: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            at = (*loc, len(values))
            self.lines[at] = event.start_mark.line + 1
            values.append(self.node(event, events, at))
        return values

    def mapping(self, events: Iterator[Any], loc: Loc) -> dict[str, Any]:
        import yaml

        values: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.key(event, events, loc)
            at = (*loc, key)
            if key in values:
                raise self.fail(
                    event, f"{dotted(at)} is given twice, first in line {self.lines[at]}", "keep one of the two"
                )
            self.lines[at] = event.start_mark.line + 1
            values[key] = self.node(next(events), events, at)
        return values

    def key(self, event: Any, events: Iterator[Any], loc: Loc) -> str:
        key = self.node(event, events, (*loc, "key"))
        if isinstance(key, Plain) and key == "<<":
            raise self.fail(event, "<< (merge) is not supported", "use an alias for the whole value, or `extends`")
        if not isinstance(key, str):
            raise self.fail(event, "a key that is not a word", "write `key: value`")
        return str(key)
