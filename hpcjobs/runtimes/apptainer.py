"""Apptainer 1.x and Singularity 3.x/4.x.

Their `--env` splits values at commas, so variables for the program go through the environment of the runtime
(`APPTAINERENV_NAME`), byte for byte; they win over those of the image (apptainer(1), "Environment and Metadata").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hpcjobs import shell
from hpcjobs.errors import PlanError
from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import entered
from hpcjobs.units import version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import ContainerRequest, ImageKey, Overlay
    from hpcjobs.shell import Shell

# Intel GPUs need none: they are device files, and /dev is there by default.
_SHARENS = (1, 3)
_GPU = {"nvidia": ("--nv",), "amd": ("--rocm",)}


@dataclass(frozen=True)
class Apptainer:
    """`apptainer exec`."""

    config: RuntimeConfig
    name: ClassVar[str] = "apptainer"
    program: ClassVar[str] = "apptainer"

    @property
    def prefix(self) -> str:
        """What its own variables begin with."""
        return "APPTAINER"

    @property
    def shares(self) -> bool:
        """Whether the ranks of a node can have one user namespace, since 1.3; by its version, if that is known."""
        return "apptainer" in self.config.version and version(self.config.version) >= _SHARENS

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The image is entered in the job's working directory, which is bound explicitly.

        Apptainer binds the current directory by itself only where no link leads to it and no option forbids it.
        """
        if "HOME" in request.env:
            raise PlanError(
                f"{self.name} sets HOME itself, and refuses another",
                hint=f"the site can change it: runtimes: [{{kind: {self.name}, options: [--home, /opt]}}]",
            )
        command = self.config.command or self.program
        verb = ("instance", "start") if request.instance else ("run" if request.entrypoint else "exec",)
        name = (request.instance,) if request.instance else ()
        instance = shell.concat("instance://", request.instance)
        return Invocation(
            argv=(command, *verb, *self._options(request), request.image.path, *name),
            program=request.program,
            env=self._environment(request) | self._key(request.key),
            setup=tuple(self._make(command, overlay) for overlay in request.overlays if not overlay.readonly),
            stop=(command, "instance", "stop", request.instance) if request.instance else (),
            enter=(command, "exec", instance) if request.instance else (),
        )

    def _options(self, request: ContainerRequest) -> Iterator[str | Shell]:
        # Not for copies of a program that is no MPI's: one that comes when the first has ended finds nothing to join.
        if request.together and request.ntasks_per_node > 1 and self.shares and not request.instance:
            yield "--sharens"
        yield from _GPU.get(request.gpu, ())
        for bind in request.binds:
            yield from _path(bind.source, bind.target, readonly=bind.readonly, expand=bind.expand)
        shown = any((bind.target, bind.expand) == (request.workdir, request.prompt) for bind in request.binds)
        if not shown:
            yield from _path(request.workdir, request.workdir)
        if not request.instance:
            yield from ("--pwd", entered(request))
        if request.writable:
            yield "--writable-tmpfs"
        for overlay in request.overlays:
            yield from ("--overlay", overlay.path + (":ro" if overlay.readonly else ""))
        if request.app:
            yield from ("--app", request.app)
        yield from self.config.options

    def _environment(self, request: ContainerRequest) -> dict[str, str | Shell]:
        found: dict[str, str | Shell] = {f"{self.prefix}ENV_{key}": value for key, value in request.env.items()}
        # It hands values, and the arguments of images from Docker, to a shell that expands $NAME and runs `commands`.
        if request.entrypoint or any(char in value for value in request.env.values() for char in "$`"):
            found[f"{self.prefix}_NO_EVAL"] = "1"
        return found

    def _key(self, key: ImageKey | None) -> dict[str, str | Shell]:
        if key is None:
            return {}
        if key.kind == "pem":
            return {f"{self.prefix}_ENCRYPTION_PEM_PATH": key.file}
        # Read on the node: the script has the name of the file or variable only.
        if key.file:
            value = f"$(<{shell.quote(key.file)})"
        else:
            value = f"${{{key.variable}:?it is to hold the passphrase of the image}}"
        return {f"{self.prefix}_ENCRYPTION_PASSPHRASE": shell.Shell(f'"{value}"')}

    def _make(self, command: str, overlay: Overlay) -> Shell:
        """What makes the layer if it is missing."""
        path = shell.quote(overlay.path)
        if overlay.is_folder:
            return shell.Shell(f"mkdir -p {path}")
        if overlay.size is None:
            return shell.Shell(f"[[ -w {path} ]] || hpcjob_stop 66 there is no overlay {path} to write to")
        size = str(max(64, overlay.size >> 20))  # MiB; apptainer makes none below 64
        create = shell.join((command, "overlay", "create", "--sparse", "--size", size, overlay.path))
        return shell.Shell(f"[[ -e {path} ]] || {create}")


@dataclass(frozen=True)
class Singularity(Apptainer):
    """`singularity exec`: the same by another name, or Apptainer itself under its old name."""

    name: ClassVar[str] = "singularity"
    program: ClassVar[str] = "singularity"

    @property
    def prefix(self) -> str:
        """SingularityCE does not read APPTAINER's variables; Apptainer reads both, and warns of the old ones."""
        return "APPTAINER" if self.config.version.startswith("apptainer") else "SINGULARITY"


def _path(source: str, target: str, *, readonly: bool = False, expand: bool = False) -> list[str | Shell]:
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
