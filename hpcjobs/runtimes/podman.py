"""Podman, Docker and podman-hpc: images in a store of the runtime's own, and nothing of the host but what is asked for.

podman-run(1), docker-run(1), and podman-hpc's README ("shared-run"). Variables are named (`--env NAME`) and
exported by the script, so that values need no quoting of a second kind and stand in no process list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from hpcjobs import capabilities, shell
from hpcjobs.errors import PlanError
from hpcjobs.model import Invocation, RuntimeConfig
from hpcjobs.runtimes import IS_TERMINAL, LAUNCHER_VARIABLES, entered, store_name, terminal, with_workdir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import ContainerRequest
    from hpcjobs.shell import Shell

# Devices by hand, where no hook and no CDI file shows them.
_DEVICES = {"amd": ("--device", "/dev/kfd", "--device", "/dev/dri"), "intel": ("--device", "/dev/dri")}
# PMI-1 and PMI-2 talk through an open file descriptor whose number is in PMI_FD; Podman passes on those from 3 on.
# What ends a job may end this process or the `podman run` that it started, and not the container: `podman run` starts
# another of itself, which may miss the signal, and returns 0; and the container is a child of init, which the scheduler
# may not know. So a process that is out of the job's reach too waits for the end of this one, looks whether the
# container is gone, hands the signal on where it is not, and kills what is left half a minute later.
# By the driver "passthrough" the program has this process's own streams. By the others conmon copies them, which lost
# all that `echo` said in 2 of 1,600 runs (4.3.1, a busy machine), against 0 of 1,600; but Podman hands on no terminal
# by it, and Open MPI's mpirun gives one to its ranks.
_START = """  local command=$1 name=hpcjob-$HOSTNAME-$BASHPID streams=passthrough code ended out watch
  shift 2
"""
_RUN = """  if [[ -t 0 || -t 1 || -t 2 ]]; then streams=none; fi
  if [[ -n ${PMI_FD:-} ]]; then exec 3<&"$PMI_FD"; PMI_FD=3; else exec 3</dev/null; fi
  # Whatever ends this process: one that is out of the job's reach sees to it that the container ends too.
  exec {watch}> >(
    cd /
    exec >/dev/null 2>&1 3>&-
    exec setsid --fork bash -c 'read -r && sleep 1 && ! "$1" container exists "$2" ||
      for _ in {1..9}; do "$1" stop --time 30 "$2" && break; sleep 1; done' hpcjob "$command" "$name"
  )
  trap '"$command" kill --signal=HUP "$name" >/dev/null 2>&1' HUP
  trap '"$command" kill --signal=USR1 "$name" >/dev/null 2>&1' USR1
  trap '"$command" kill --signal=USR2 "$name" >/dev/null 2>&1' USR2
  trap '[[ -z $watch ]] || exec {watch}>&-; watch=' TERM INT
  # Its end comes through a pipe: bash's wait may lose it when a signal is near.
  exec {out}>&1
  exec {ended}< <(
    exec {watch}>&-
    trap : HUP INT QUIT TERM USR1 USR2
    "$command" run --name "$name" --log-driver="$streams" --preserve-fds=1 "$@" <&0 >&"$out" {out}>&-
    echo "$?"
  )
  exec {out}>&-
  until read -r -u "$ended" code || (($? < 128)); do :; done
  trap '' TERM INT PIPE
  [[ -z $watch ]] || echo 1>&"$watch" 2>/dev/null
  exit "${code:-255}\""""
# Not by --env-host: the host's PATH would take the place of the image's, and with it --unsetenv does nothing (4.3.1).
_ALL = """  # The environment of this process; but PATH is the image's own.
  local variable
  for variable in $(compgen -e); do
    [[ $variable == @(PATH|LD_LIBRARY_PATH) ]] || set -- "--env=$variable" "$@"
  done
"""
_DOCKER_REMOVE = '"$0" ps --all --quiet --filter "$1" | xargs --no-run-if-empty "$0" rm --force'
# The kind of MPI and podman-hpc's module for it (github.com/NERSC/podman-hpc, modules.d).
_HPC_MODULE = {"pmi2": "--openmpi-pmi2", "pmix": "--openmpi-pmix", "cray_shasta": "--mpi"}


@dataclass(frozen=True)
class Podman:
    """`podman run`, a container for each rank that shares network, processes and memory with the others."""

    config: RuntimeConfig
    name: ClassVar[str] = "podman"
    program: ClassVar[str] = "podman"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """As the user, with the host's namespaces, so that ranks find each other."""
        command = self.config.command or self.program
        image = request.image
        pulled: tuple[str | Shell, ...] = ()
        if image.kind == "reference":
            pulled = (command, "pull", "--quiet", store_name(image))
        # "O": what is written goes to a layer that is thrown away.
        where = ("--rootfs", f"{image.path}:O") if image.kind == "directory" else (store_name(image),)
        return Invocation(
            argv=(
                *("bash", "-c", 'hpcjob_podman "$@"', "hpcjob"),
                *(command, "run", "--rm", *_label(request), *terminal(request)),
                *("--network=host", "--pid=host", "--ipc=host", "--userns=keep-id"),
                *(("--device", "nvidia.com/gpu=all") if request.gpu == "nvidia" else _DEVICES.get(request.gpu, ())),
                *_paths(request),
                *self._environment(request),
                *(() if request.entrypoint else ("--entrypoint=",)),
                *self.config.options,
                *where,
            ),
            program=request.program,
            env=dict(request.env),
            functions={"hpcjob_podman": shell.Shell(_START + ("" if request.clean_env else _ALL) + _RUN)},
            setup=_setup(request),
            node_setup=(pulled,) if pulled else (),
            cleanup=_remove(command, request),
        )

    def _environment(self, request: ContainerRequest) -> Iterator[str]:
        if request.clean_env:
            yield from (f"--env={pattern}" for pattern in (*LAUNCHER_VARIABLES, "HPCJOB_*"))
            yield from (f"--env={name}" for name in request.passed if not name.startswith("HPCJOB_"))
        yield from (f"--env={name}" for name in request.env)


@dataclass(frozen=True)
class PodmanHpc:
    """`podman-hpc run`; for several ranks a node `podman-hpc shared-run`, one container for all of them."""

    config: RuntimeConfig
    name: ClassVar[str] = "podman-hpc"
    program: ClassVar[str] = "podman-hpc"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """Which variables reach the program is said by its modules."""
        ranks = request.ntasks > 1 and request.launcher != "none"
        module = request.mpi_option or _HPC_MODULE.get(request.mpi, "--openmpi-pmi2" if ranks else "")
        command = self.config.command or self.program
        return Invocation(
            argv=(
                command,
                "shared-run" if ranks else "run",
                "--rm",
                *_label(request),
                *terminal(request),
                *((module,) if ranks else ()),
                *(("--gpu",) if request.gpu == "nvidia" else _DEVICES.get(request.gpu, ())),
                *_paths(request),
                *(f"--env={name}" for name in (*request.passed, *request.env)),
                *(() if request.entrypoint else ("--entrypoint=",)),
                *self.config.options,
                # Or it takes options of the program (--gpu, --help) for its own.
                *(() if ranks else ("--",)),
                store_name(request.image),
            ),
            program=request.program,
            env=dict(request.env),
            setup=_setup(request),
            cleanup=_remove(command, request),
        )


@dataclass(frozen=True)
class Docker:
    """`docker run`, on one machine, as the user who submits."""

    config: RuntimeConfig
    name: ClassVar[str] = "docker"
    program: ClassVar[str] = "docker"

    def wrap(self, request: ContainerRequest) -> Invocation:
        """Docker's server knows nothing of the job's environment: only the named variables reach the program."""
        if request.ntasks > 1:
            capabilities.refuse(self.name, {"ranks": f"{request.ntasks} ranks"}, ())
        command = self.config.command or self.program
        return Invocation(
            argv=(
                *(command, "run", "--rm", "--init", "--network=host", "--ipc=host", *_label(request)),
                *terminal(request),
                *("--user", shell.Shell('"$(id -u):$(id -g)"')),
                *(("--gpus", "all") if request.gpu == "nvidia" else _DEVICES.get(request.gpu, ())),
                *_paths(request),
                *(f"--env={name}" for name in (*request.passed, *request.env)),
                *(() if request.entrypoint else ("--entrypoint=",)),
                *self.config.options,
                store_name(request.image),
            ),
            program=request.program,
            env=dict(request.env),
            setup=_setup(request),
            # The container is a child of Docker's server, and outlives whoever asked for it.
            cleanup=("sh", "-c", _DOCKER_REMOVE, command, shell.concat("label=", _owner(request))),
        )


def _owner(request: ContainerRequest) -> Shell:
    return shell.concat(f"hpcjob={PurePosixPath(request.folder).name}", shell.Shell('".${HPCJOB_ARRAY_INDEX:-}"'))


def _label(request: ContainerRequest) -> tuple[Shell, ...]:
    """By it what is left of a job is found."""
    return () if request.prompt else (shell.concat("--label=", _owner(request)),)


def _setup(request: ContainerRequest) -> tuple[Shell, ...]:
    return (IS_TERMINAL,) if request.prompt else ()


def _remove(command: str, request: ContainerRequest) -> tuple[str | Shell, ...]:
    """What removes containers of the job that have outlived it."""
    return (command, "rm", "--force", "--time=2", "--filter", shell.concat("label=", _owner(request)))


def _paths(request: ContainerRequest) -> Iterator[str | Shell]:
    for bind in with_workdir(request):
        if ":" in bind.source + bind.target:
            raise PlanError(f"a path with a colon cannot be bound: {bind.source}", hint="use another folder")
        text = f"{bind.source}:{bind.target}" + (":ro" if bind.readonly else "")
        yield from ("-v", shell.expand(text) if bind.expand else text)
    yield from ("-w", entered(request))
