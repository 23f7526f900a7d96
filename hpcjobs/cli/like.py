"""Verbs that take the options of others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def like(*functions: Callable[..., Any], without: frozenset[str] = frozenset()) -> Callable[..., Any]:
    """A function with the options of all of these, of which the first has an option's say."""
    found: dict[str, inspect.Parameter] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if name not in without:
                found.setdefault(name, parameter)

    def declared(**_: Any) -> None: ...

    positional = [each for each in found.values() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    named = [each for each in found.values() if each.kind is inspect.Parameter.KEYWORD_ONLY]
    declared.__signature__ = inspect.Signature([*positional, *named])  # type: ignore[attr-defined]
    declared.__annotations__ = {name: each.annotation for name, each in found.items()}
    return declared
