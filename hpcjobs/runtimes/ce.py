"""The Container Engine of CSCS (docs.cscs.ch): a TOML file (EDF) that `srun --environment` reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import with_workdir
from hpcjobs.runtimes.pyxis import mount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import Bind, ContainerRequest

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
            env=dict(request.env),
            files={file: "\n".join(_edf(request)) + "\n"},
        )


def _edf(request: ContainerRequest) -> Iterator[str]:
    yield f"image = {_text(request.image.path)}"
    yield f"workdir = {_text(request.container_workdir or request.workdir)}"
    yield f"mounts = [{', '.join(map(_mount, with_workdir(request)))}]"
    yield f"entrypoint = {json.dumps(request.entrypoint)}"
    if request.writable:
        yield "writable = true"
    if request.env:
        yield ""
        yield "[env]"
        yield from (f"{name} = {_text(value)}" for name, value in request.env.items())


def _mount(bind: Bind) -> str:
    text = mount(bind)
    return json.dumps(_VARIABLE.sub(r"${\1}", text), ensure_ascii=False) if bind.expand else _text(text)


def _text(value: str) -> str:
    """A string of TOML that the engine expands nothing in: it reads `$${` as `${`."""
    # JSON escapes as TOML does, but for DEL.
    return json.dumps(value.replace("${", "$${"), ensure_ascii=False).replace("\x7f", "\\u007f")
