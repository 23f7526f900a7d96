"""Apptainer 1.x and Singularity 3.x/4.x.

Their `--env` splits values at commas, so variables for the program go through the environment of the runtime
(`APPTAINERENV_NAME`), byte for byte; they win over those of the image (apptainer(1), "Environment and Metadata").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs import shell
from hpcjobs.model import Invocation, RuntimeConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import Bind, ContainerRequest

# Intel GPUs need none: they are device files, and /dev is there by default.
_GPU = {"nvidia": ("--nv",), "amd": ("--rocm",)}


@dataclass(frozen=True)
class Apptainer:
    """`apptainer exec`."""

    config: RuntimeConfig
    name: ClassVar[str] = "apptainer"
    program: ClassVar[str] = "apptainer"
    prefix: ClassVar[str] = "APPTAINERENV_"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The image is entered in the job's working directory, which is bound explicitly.

        Apptainer binds the current directory by itself only where no link leads to it and no option forbids it.
        """
        binds = [word for bind in request.binds for word in _bind(bind)]
        if all((bind.target, bind.expand) != (request.workdir, False) for bind in request.binds):
            binds += _path(request.workdir, request.workdir)
        return Invocation(
            argv=(
                self.config.command or self.program,
                "exec",
                *_GPU.get(request.gpu, ()),
                *binds,
                "--pwd",
                request.workdir,
                *self.config.options,
                request.image.path,
            ),
            program=request.program,
            env={self.prefix + name: value for name, value in request.env.items()},
        )


@dataclass(frozen=True)
class Singularity(Apptainer):
    """`singularity exec`: the same by another name."""

    name: ClassVar[str] = "singularity"
    program: ClassVar[str] = "singularity"
    prefix: ClassVar[str] = "SINGULARITYENV_"


def _bind(bind: Bind) -> Iterator[str | shell.Shell]:
    yield from _path(bind.source, bind.target, readonly=bind.readonly, expand=bind.expand)


def _path(source: str, target: str, *, readonly: bool = False, expand: bool = False) -> list[str | shell.Shell]:
    """`--bind`, or `--mount` for paths with a `,` or `:`, which `--bind` would split at."""
    if any(char in source + target for char in ',:"'):
        fields = ["type=bind", f"source={source}", f"destination={target}", *(["ro"] if readonly else [])]
        option, text = "--mount", ",".join(_csv(field) for field in fields)
    else:
        option = "--bind"
        text = source if source == target and not readonly else f"{source}:{target}" + (":ro" if readonly else "")
    return [option, shell.expand(text) if expand else text]


def _csv(field: str) -> str:
    """A field of RFC 4180, which `--mount` is read as."""
    return '"' + field.replace('"', '""') + '"' if any(char in field for char in ',"\n') else field
