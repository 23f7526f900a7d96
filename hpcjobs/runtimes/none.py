"""The bare host: the program runs as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs.errors import PlanError
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
        """The program itself. The site's binds mean nothing here; the job's own are refused."""
        if asked := next((bind for bind in request.binds if not bind.expand), None):
            raise PlanError(
                f"there is no container to show {asked.source} in", hint="leave out --bind, or give an --image"
            )
        return Invocation(argv=(), program=request.program, env=dict(request.env))
