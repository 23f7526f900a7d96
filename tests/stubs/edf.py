"""The option --environment that CSCS' Container Engine adds to srun, and its files (EDF).

Grammar: eth-cscs/cscs-docs 80abed1 (2026-08), docs/software/container-engine/{run,edf}.md; `devices` of
sarus-suite/user-guide.md. That unknown keys are refused is not said there; a typing error should not pass a test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.stubs import pyxis, tinytoml
from tests.stubs.grammar import Option, Refusal, valued
from tests.stubs.programs import enroot

OPTIONS: tuple[Option, ...] = valued("--environment")
_TYPES: dict[str, tuple[type, ...]] = {
    "base_environment": (str, list),
    "image": (str,),
    "workdir": (str,),
    "entrypoint": (bool,),
    "writable": (bool,),
    "mounts": (list,),
    "devices": (list,),
    "env": (dict,),
    "annotations": (dict,),
}
_DEPTH = 10


def error(message: str) -> Refusal:
    """What the plugin says; its true words are not documented."""
    return Refusal(f"container-engine: {message}")


def find(name: str, environ: Mapping[str, str]) -> Path:
    """A path that begins with / or ./, or the name, without .toml, of a file in the search path."""
    if name.startswith(("/", "./")):
        file = Path(name)
        if not file.is_file():
            raise error(f"cannot open EDF {name}: no such file")
        return file
    if "/" in name or not name:
        raise error(f"EDF {name!r} is neither an absolute path, nor one that begins with ./, nor a name")
    home = environ.get("HOME", "")
    for folder in environ.get("EDF_PATH", f"{home}/.edf").split(":"):
        if (Path(folder) / f"{name}.toml").is_file():
            return Path(folder) / f"{name}.toml"
    raise error(f"EDF {name!r} is not found in the search path")


def expand(value: Any, environ: Mapping[str, str]) -> Any:
    """${VAR}, ${VAR:-default}; $${VAR} stays as ${VAR}; a variable that is not set is an error."""
    if isinstance(value, list):
        return [expand(item, environ) for item in value]
    if isinstance(value, dict):
        return {key: expand(item, environ) for key, item in value.items()}
    if not isinstance(value, str):
        return value

    def put(matched: re.Match[str]) -> str:
        if matched[0].startswith("$$"):
            return matched[0][1:]
        if matched[1] not in environ and matched[2] is None:
            raise error(f"variable {matched[1]} is not set, in {value!r}")
        return environ.get(matched[1]) or matched[2] or ""

    return re.sub(r"\$?\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}", put, value)


def check(edf: dict[str, Any]) -> None:
    """Only known keys, of the right types."""
    for key, value in edf.items():
        if key not in _TYPES:
            raise error(f"unknown key {key!r} in EDF")
        if not isinstance(value, _TYPES[key]):
            raise error(f"{key} must be of type {_TYPES[key][0].__name__}, in EDF")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise error(f"{key} must hold strings, in EDF")
    for key, value in edf.get("env", {}).items():
        if not isinstance(value, str):
            raise error(f"env.{key} must be a string, in EDF")
    _strings(edf.get("annotations", {}), "annotations")


def _strings(table: dict[str, Any], path: str) -> None:
    for key, value in table.items():
        if isinstance(value, dict):
            _strings(value, f"{path}.{key}")
        elif not isinstance(value, str):
            raise error(f"{path}.{key} must be a string, in EDF")


def load(name: str, environ: Mapping[str, str], depth: int = 0) -> dict[str, Any]:
    """The file with all that it inherits: mounts are joined, tables overlaid, the rest replaced."""
    if depth > _DEPTH:
        raise error("base_environment: more than 10 levels")
    try:
        edf = tinytoml.loads(find(name, environ).read_text("utf-8"))
    except tinytoml.TOMLError as problem:
        raise error(f"{name}: {problem}") from None
    check(edf)
    bases = edf.pop("base_environment", [])
    whole: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        whole = _over(whole, load(base, environ, depth + 1))
    return _over(whole, edf)


def _over(base: dict[str, Any], edf: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **edf}
    for key in ("mounts", "devices"):
        merged[key] = [*base.get(key, []), *edf.get(key, [])]
    for key in ("env", "annotations"):
        merged[key] = {**base.get(key, {}), **edf.get(key, {})}
    return merged


def mount(text: str) -> dict[str, str]:
    """SOURCE:DESTINATION[:FLAG+FLAG...]; the flag sqsh, alone, mounts a squashfs file."""
    parts = text.split(":")
    if len(parts) not in {2, 3} or not all(parts[:2]):
        raise error(f"mounts: {text!r} is not SOURCE:DESTINATION[:FLAGS]")
    source, target = parts[:2]
    given = parts[2].split("+") if len(parts) > 2 else []
    if not source.startswith(("/", "./")) or not target.startswith("/"):
        raise error(f"mounts: {text!r}: paths must be absolute, or begin with ./")
    if "sqsh" in given and len(given) > 1:
        raise error(f"mounts: {text!r}: sqsh must be the only flag")
    if not os.path.exists(source) or ("sqsh" in given and not os.path.isfile(source)):  # noqa: PTH110, PTH113
        raise error(f"mounts: source {source} does not exist")
    if set(given) - enroot.FLAGS - {"sqsh"}:
        raise error(f"mounts: {text!r}: unknown flag")
    return {"source": source, "target": target, **({"flags": parts[2]} if given else {})}


def image(name: str, environ: Mapping[str, str]) -> str:
    """A file, or [USER@][REGISTRY#]IMAGE[:TAG]; some examples write REGISTRY/IMAGE, none has a scheme."""
    if "://" in name:
        raise error(f"image: {name!r} is not [USER@][REGISTRY#]IMAGE[:TAG], nor a path")
    return pyxis.image(name, environ)


def read(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The container that the environment describes; none, if it names no image."""
    edf = expand(load(name, environ), environ)
    workdir = edf.get("workdir", "")
    if workdir and not workdir.startswith(("/", "./")):
        raise error(f"workdir: {workdir!r} must be absolute, or begin with ./")
    mounts = [mount(text) for text in edf["mounts"]]
    if not edf.get("image"):
        return {"plugin": "container-engine", "mounts": mounts}
    return {
        "plugin": "container-engine",
        "image": image(edf["image"], environ),
        "mounts": mounts,
        "workdir": workdir,
        "env": edf["env"],
        "devices": edf["devices"],
        "annotations": edf["annotations"],
        "flags": [key for key in ("entrypoint", "writable") if edf.get(key)],
    }
