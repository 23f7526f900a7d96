"""TOML: tomllib where Python has it (3.11), else a reader of what an EDF needs (toml.io, v1.0.0)."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

_KEY = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.)?""")
_TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|true\b|false\b|[+-]?\d+(?:\.\d+)?|[][,])""")
_GAP = re.compile(r"(?:\s|#[^\n]*)*")


class TOMLError(ValueError):
    """It is not TOML, or not of the part that is read here."""


def loads(text: str) -> dict[str, Any]:
    """The table that the text says."""
    if sys.version_info >= (3, 11):
        import tomllib

        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise TOMLError(str(error)) from None
    return tiny(text)


def tiny(text: str) -> dict[str, Any]:
    """Tables, dotted keys, strings, numbers, booleans, arrays; nothing else."""
    root: dict[str, Any] = {}
    table, at = root, _skip(text, 0)
    while at < len(text):
        if text[at] == "[":
            keys, at = _keys(text, at + 1)
            at = _expect(text, at, "]")
            table = _descend(root, keys)
        else:
            keys, at = _keys(text, at)
            value, at = _value(text, _expect(text, at, "="))
            inner = _descend(table, keys[:-1])
            if keys[-1] in inner:
                raise TOMLError(f"{keys[-1]} is given twice")
            inner[keys[-1]] = value
        at = _line_end(text, at)
    return root


def _skip(text: str, at: int) -> int:
    matched = _GAP.match(text, at)
    return matched.end() if matched else at


def _expect(text: str, at: int, wanted: str) -> int:
    if text[at : at + 1] != wanted:
        raise TOMLError(f"expected {wanted} at character {at}")
    return at + 1


def _line_end(text: str, at: int) -> int:
    line = text[at:].partition("\n")[0]
    if line.strip() and not line.strip().startswith("#"):
        raise TOMLError(f"expected the end of the line at character {at}")
    return _skip(text, at + len(line))


def _keys(text: str, at: int) -> tuple[list[str], int]:
    keys = []
    while True:
        matched = _KEY.match(text, at)
        if not matched:
            raise TOMLError(f"expected a key at character {at}")
        keys.append(next(group for group in matched.groups()[:3] if group is not None))
        at = matched.end()
        if not matched[4]:
            return keys, at


def _descend(table: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    for key in keys:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise TOMLError(f"{key} is not a table")
    return table


def _value(text: str, at: int) -> tuple[Any, int]:
    matched = _TOKEN.match(text, at)
    if not matched:
        raise TOMLError(f"expected a value at character {at}")
    token, at = matched[1], matched.end()
    if token == "[":
        return _array(text, at)
    if token in {"]", ","}:
        raise TOMLError(f"unexpected {token} at character {at}")
    return (token[1:-1] if token[0] == "'" else json.loads(token.lstrip("+"))), at


def _array(text: str, at: int) -> tuple[list[Any], int]:
    items: list[Any] = []
    at = _skip(text, at)
    while text[at : at + 1] != "]":
        value, at = _value(text, at)
        items.append(value)
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] != "]":
            raise TOMLError(f"expected , or ] at character {at}")
    return items, at + 1
