"""The bare host: the program runs as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.model import Invocation, RuntimeConfig

if TYPE_CHECKING:
    from hpcjobs.model import ContainerRequest


@dataclass(frozen=True)
class Bare:
    """No container."""

    config: RuntimeConfig
    name: ClassVar[str] = "none"
    program: ClassVar[str] = ""

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The program itself. The site's binds mean nothing here; what only a container has was refused before."""
        return Invocation(argv=(), program=request.program, env=dict(request.env))
