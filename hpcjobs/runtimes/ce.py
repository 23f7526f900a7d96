"""The Container Engine of CSCS (docs.cscs.ch): a TOML file (EDF) that `srun --environment` reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import entered, with_workdir
from hpcjobs.runtimes.pyxis import mount
from hpcjobs.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import Bind, ContainerRequest

_PASSED = "HPCJOB_ENV_"
_BARE = re.compile(r"[A-Za-z0-9_-]+")  # what a key of TOML may be without quotes
_VARIABLE = re.compile(r"\$(\w+)", re.ASCII)


@dataclass(frozen=True)
class ContainerEngine:
    """`srun --environment=FILE`; the file is written to the job's folder."""

    config: RuntimeConfig
    name: ClassVar[str] = "ce"
    program: ClassVar[str] = ""

    def wrap(self, request: ContainerRequest) -> Invocation:
        """Hooks for GPUs and the network are the site's, and on by default there."""
        file = f"container-{request.service}.toml" if request.service else "container.toml"
        return Invocation(
            argv=(),
            program=request.program,
            launcher_args=(f"--environment={request.folder}/{file}", *self.config.options),
            env=request.env | {_PASSED + name: one for name, one in request.env.items() if isinstance(one, Shell)},
            files={file: "\n".join((*_edf(request), *_annotations(self.config))) + "\n"},
        )


def _edf(request: ContainerRequest) -> Iterator[str]:
    yield f"image = {_text(request.image.path)}"
    yield f"workdir = {_workdir(request)}"
    yield f"mounts = [{', '.join(map(_mount, with_workdir(request)))}]"
    yield f"entrypoint = {json.dumps(request.entrypoint)}"
    if request.writable:
        yield "writable = true"
    # The engine shows the driver to images that say so, as NVIDIA's do.
    driver = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "all"} if request.gpu == "nvidia" else {}
    if env := {**driver, **request.env}:
        yield ""
        yield "[env]"
        yield from (f"{name} = {_value(name, value)}" for name, value in env.items())


def _annotations(config: RuntimeConfig) -> Iterator[str]:
    if config.annotations:
        yield ""
        yield "[annotations]"
        # Dots make tables in tables, as CSCS writes them.
        yield from (f"{_key(name)} = {_text(value)}" for name, value in config.annotations.items())


def _key(name: str) -> str:
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in name.split("."))


def _mount(bind: Bind) -> str:
    text = mount(bind)
    return json.dumps(_VARIABLE.sub(r"${\1}", text), ensure_ascii=False) if bind.expand else _text(text)


def _workdir(request: ContainerRequest) -> str:
    if request.container_workdir or not isinstance(request.below, Shell):
        return _text(entered(request))
    return f'{_text(request.workdir)[:-1]}/${{HPCJOB_FOLDER}}"'


def _value(name: str, value: str | Shell) -> str:
    """What only the script knows is expanded from a variable that no image has: an image's own would win."""
    return f'"${{{_PASSED}{name}}}"' if isinstance(value, Shell) else _text(value)


def _text(value: str) -> str:
    """A string of TOML that the engine expands nothing in: it reads `$${` as `${`."""
    # JSON escapes as TOML does, but for DEL.
    return json.dumps(value.replace("${", "$${"), ensure_ascii=False).replace("\x7f", "\\u007f")
