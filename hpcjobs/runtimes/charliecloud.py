"""Charliecloud, 0.31 (Debian 12) and later; ch-run(1).

Nothing of the host is there but /dev, /proc, /sys, /tmp and what is bound; before 0.38 the place for a bind must
exist in the image. The environment of the host passes through.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from hpcjobs import shell
from hpcjobs.containers import only_inside
from hpcjobs.errors import PlanError
from hpcjobs.model import Bind, Invocation, RuntimeConfig
from hpcjobs.runtimes import covers, entered
from hpcjobs.units import version

if TYPE_CHECKING:
    from hpcjobs.model import ContainerRequest, ImageFacts

# The first version that can make the place of a bind, in a layer over the image (-W).
_OVERLAY = (0, 38)
# What ch-run itself shares with the host.
_SHARED = ("/tmp", "/dev", "/proc", "/sys")  # noqa: S108 - ch-run(1), default bind mounts
# Folders of the host's MPI, which no image has.
_OWN = "/hpcjob/"
# What a program at the prompt gets of an image that says nothing of it: by the host's, a command that is wrapped would
# find itself where its folder is shown.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A place for a bind that images made by ch-convert have.
_SPARE = "/mnt/0"
# ch-run 0.31 ends with an error where it is not set, as after --export=NONE.
_USER = shell.Shell('export USER="${USER:-$(id -un)}"')
# The folder of the container in which a program of a prompt begins.
_INSIDE = "$hpcjob_inside"


@dataclass(frozen=True)
class Charliecloud:
    """`ch-run`."""

    config: RuntimeConfig
    name: ClassVar[str] = "charliecloud"
    program: ClassVar[str] = "ch-run"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """The image is entered in the working directory, or in /mnt/0 where the image has no place for it."""
        missing = frozenset(request.image.missing or ())
        binds = [bind for bind in request.binds if bind.expand or not covers(_SHARED, bind.target)]
        binds = [bind for bind in binds if not (bind.optional and self._cannot_place(bind, missing))]
        inside, notes, setup = request.workdir, [], [_USER]
        if request.prompt and not self._can_make:
            # Which folder it will be is not known here, and whether a squashfs image has it, not there either.
            inside = _INSIDE
            binds = [replace(bind, target=inside) if bind.target == request.workdir else bind for bind in binds]
            setup.append(_inside(request))
        if request.writable and not self._can_make:
            raise PlanError(
                f"ch-run {self.config.version or 'before 0.38'} has no writable layer",
                hint="use --runtime apptainer, or write to a folder that is bound",
            )
        if not covers((*_SHARED, *(bind.target for bind in binds)), inside):
            if inside in missing and not self._can_make and _SPARE not in missing:
                notes = [f"the working directory is {_SPARE} in the container, which has no {inside}"]
                inside = _SPARE
            binds.append(Bind(request.workdir, inside))
        if request.ntasks_per_node > 1 and not (request.even or request.apart or request.prompt):
            notes.append("each rank has a container of its own, since nodes may get unlike numbers of ranks: add -N")
        argv = [word for bind in binds for word in self._bind(bind, missing)]
        if request.writable or any(bind.target in missing or bind.target.startswith(_OWN) for bind in binds):
            argv.insert(0, "-W")
        return Invocation(
            argv=(
                self.config.command or self.program,
                *argv,
                "-c",
                entered(request, inside),
                # A copy of a program without MPI that comes when the first has ended finds nothing to join.
                *_join(request.ntasks_per_node if request.even and not request.apart else 1, canary=request.canary),
                *_environment(request),
                *self.config.options,
                request.image.path,
                "--",
            ),
            program=request.program,
            env={name: value for name, value in request.env.items() if not only_inside(name, request)},
            setup=tuple(setup),
            serves_files=request.image.kind == "squashfs",
            notes=tuple(notes),
        )

    def spare(self, image: ImageFacts) -> tuple[str, ...] | None:
        """Folders of the image to which others can be bound; None where any can be made. /mnt/0 is the job's own."""
        if self._can_make:
            return None
        return tuple(
            place for place in (f"/mnt/{number}" for number in range(1, 10)) if place not in (image.missing or ())
        )

    @property
    def _can_make(self) -> bool:
        return version(self.config.version) >= _OVERLAY

    def _cannot_place(self, bind: Bind, missing: frozenset[str]) -> bool:
        """ch-run makes folders from 0.38 on, and no place for a file; what $NAME stands for was not looked for."""
        return bind.expand or (bind.target in missing and not self._can_make)

    def _bind(self, bind: Bind, missing: frozenset[str]) -> list[str | shell.Shell]:
        if bind.readonly:
            raise PlanError(
                f"Charliecloud cannot bind {bind.source} read-only", hint=f"write {bind.source}:{bind.target}"
            )
        if ":" in bind.source + bind.target:
            raise PlanError(
                f"Charliecloud cannot bind a path with a colon: {bind.source}",
                hint="use another folder, or --runtime apptainer",
            )
        if bind.target in missing and not self._can_make:
            raise PlanError(
                f"the image has no {bind.target} to bind {bind.source} to, and ch-run before 0.38 cannot make it",
                hint=f"bind it to a place that the image has ({bind.source}:{_SPARE}), or make {bind.target} in it",
            )
        text = f"{bind.source}:{bind.target}"
        return ["-b", shell.expand(text) if bind.expand else text]


def _inside(request: ContainerRequest) -> shell.Shell:
    """The line that finds where the caller's folder can be shown: in its place, if the image has that."""
    there = shell.concat(request.image.path, shell.expand(request.workdir))
    has = f" || -d {there}" if request.image.kind == "directory" else ""
    here = shell.expand(request.workdir)
    return shell.Shell(f"hpcjob_inside={here}; [[ {here}/ == /tmp/*{has} ]] || hpcjob_inside={_SPARE}")


def _join(ranks: int, *, canary: bool) -> list[str | shell.Shell]:
    """One container a node for all its ranks.

    Ranks in user namespaces of their own may not open each other's shared memory, and MPI fails or is slow
    (charliecloud(7), FAQ on --join). The tag sets apart jobs that share a node: Charliecloud's own, the step's
    number, is 0 in all of them. ch-run waits for exactly that many ranks.
    """
    if ranks == 1:
        return []
    # What a run that was killed leaves behind, the next one of the same tag would try to join.
    tag = "hpcjob.$HPCJOB_NATIVE_ID.${HPCJOB_ARRAY_INDEX:-}" + (".canary" if canary else "")
    return [f"--join-ct={ranks}", shell.Shell(f'--join-tag="{tag}"')]


def _environment(request: ContainerRequest) -> list[str | shell.Shell]:
    """No library path of the host, then the image's own environment if it has one, then the job's again."""
    options: list[str | shell.Shell] = [] if "LD_LIBRARY_PATH" in request.env else ["--unset-env=LD_LIBRARY_PATH"]
    if request.image.environment:
        options.append("--set-env")
    elif request.prompt and "PATH" not in request.env:
        options.append(f"--set-env=PATH={_PATH}")
    # A value between single quotes is taken as it is, once `$` is not expanded.
    # The others reach the program by the script's environment.
    given = {n: v for n, v in request.env.items() if request.image.environment or only_inside(n, request)}
    if given:
        options += ["--env-no-expand", *(_variable(name, value) for name, value in given.items())]
    return options


def _variable(name: str, value: str | shell.Shell) -> str | shell.Shell:
    parts = (f"--set-env={name}='", value, "'")
    return shell.concat(*parts) if isinstance(value, shell.Shell) else "".join(parts)
