"""The lock file of a site's MPIs, `mpi.lock.yaml`: text to value and back."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from hpcjobs.errors import SiteError
from hpcjobs.mpi.facts import MpiHost, restore

FORMAT = 1
_HEAD = """\
# The MPIs of {node} as `hpcjob mpi host` found them on {made}: which libraries they are and
# what they need, with build-ids, so that a job ends with words where a node has others. `mpi_init*` of the exports
# stands for the four names that compilers give a procedure of Fortran.
# Not to be edited. `hpcjob mpi host --check` says what has changed since; `hpcjob mpi host -o FILE` writes it anew.
"""
# Thousands of names, which nobody reads one by one.
_NAMES = ("exports", "abi_exports")
_WIDTH = 100
_SHORT = 80
_RENEW = "hpcjob mpi host -o FILE writes it anew"


def dump(host: MpiHost) -> str:
    """The text of a lock file."""
    import yaml

    base: type = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    dumper: Any = type("Dumper", (base,), {"ignore_aliases": lambda *_: True})
    dumper.add_representer(_Row, _row)
    dumper.add_representer(_Words, _words)
    data = {"format": FORMAT, **_plain(host)}
    text = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False)
    return _HEAD.format(node=host.node, made=host.made) + text


class _Row(dict[str, Any]):
    """A mapping that stands on one line."""


class _Words(list[Any]):
    """A list that stands on one line."""


def _row(dumper: Any, data: _Row) -> Any:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)


def _words(dumper: Any, data: _Words) -> Any:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


def _forms(base: str) -> tuple[str, ...]:
    """The names that compilers give a Fortran procedure."""
    return (base, f"{base}_", f"{base}__", base.upper())


def _packed(names: tuple[str, ...]) -> list[str]:
    """`mpi_init*` for each procedure of Fortran that has all its forms."""
    there = set(names)
    whole = {name for name in names if name == name.lower() and all(form in there for form in _forms(name))}
    hidden = {form for name in whole for form in _forms(name)}
    return sorted([*(there - hidden), *(f"{name}*" for name in whole)])


def _unpacked(text: str) -> list[str]:
    found: list[str] = []
    for name in text.split():
        found += _forms(name[:-1]) if name.endswith("*") else (name,)
    return sorted(found)


def _plain(value: Any) -> Any:
    """What YAML knows of a value; what is as it would be anyway is left out."""
    if is_dataclass(value):
        found = {}
        for each in fields(value):
            item = getattr(value, each.name)
            if item != _default(each):
                found[each.name] = " ".join(_packed(item)) if each.name in _NAMES else _plain(item)
        return found
    if isinstance(value, dict):
        return _Row(value)
    if isinstance(value, (tuple, list)):
        items = [_plain(item) for item in value]
        short = all(isinstance(item, str) for item in items) and sum(map(len, items)) < _SHORT
        return _Words(items) if short else items
    return value


def _default(each: Any) -> Any:
    if each.default_factory is not MISSING:
        return each.default_factory()
    return each.default


def load(text: str, name: str) -> MpiHost:
    """The value of a lock file's text; `name` is the file's, for errors.

    Raises:
        SiteError: it is damaged, or of another version of hpcjob.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = name if line is None else f"{name}:{line + 1}"
        raise SiteError(f"{where}: the lock file is damaged: not YAML", hint=_RENEW) from None
    if not isinstance(data, dict):
        raise SiteError(f"{name}: the lock file is damaged: no mapping", hint=_RENEW)
    number = data.pop("format", None)
    if number != FORMAT:
        raise SiteError(f"{name}: the lock file has format {number!r}, and this hpcjob reads {FORMAT}", hint=_RENEW)
    try:
        return restore(MpiHost, {**data, "mpis": [_split(mpi) for mpi in data.get("mpis", [])]})
    except (ValueError, TypeError, AttributeError) as error:
        raise SiteError(f"{name}: the lock file is damaged: {error}", hint=_RENEW) from None


def _split(mpi: Any) -> Any:
    if not isinstance(mpi, dict):
        raise ValueError(f"{mpi!r} is no MPI")  # noqa: TRY004 - what a damaged file raises is one error
    names = {key: _unpacked(value) for key in _NAMES if isinstance(value := mpi.get(key), str)}
    return {**mpi, **names}
