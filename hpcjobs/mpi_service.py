"""The use cases around MPI: what planning needs to know of host and image, and what a job's container sees of it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import containers, destination, paths
from hpcjobs.errors import HpcjobError, PlanError, SiteError, StoreError
from hpcjobs.mpi import facts
from hpcjobs.mpi.decide import family
from hpcjobs.mpi.facts import MpiHost, MpiImage
from hpcjobs.mpi.settle import Known, runtime_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcjobs.image_service import Telling
    from hpcjobs.model import ImageFacts, JobSpec, MpiPlan, RuntimeConfig, Site
    from hpcjobs.process import Runner

LOCK_SUFFIX = ".mpi.lock.yaml"
# What a cache file must say to be believed; to be raised when the probes find more than before.
_VERSION = 2
# Variables by which the MPI of a shell is chosen: with others, the host is looked at anew.
_CHOOSING = (
    "PATH", "LD_LIBRARY_PATH", "LOADEDMODULES", "MPI_HOME", "MPI_ROOT", "I_MPI_ROOT", "CRAY_MPICH_DIR", "OPAL_PREFIX",
    "MPICH_DIR", "OMPI_HOME", "OPENMPI_HOME", "SLURM_CONF",
)  # fmt: skip


class Mpi:
    """MPI of one site's jobs."""

    def __init__(self, site: Site, site_file: Path | None, runner: Runner, telling: Telling) -> None:
        self._site = site
        self._file = site_file
        self._runner = runner
        self._telling = telling

    @property
    def name(self) -> str:
        """The site's."""
        return self._site.name

    # -------------------------------------------------------------------------------------- the host

    @property
    def lock_file(self) -> Path:
        """The site's lock file, whether it is there or not; for a site that comes with hpcjob, among the user's own."""
        built_in = not self._file or self._file.parent == paths.packaged("sites")
        folder = paths.config_home() / "sites" if built_in or not self._file else self._file.parent
        if self._site.mpi.lock:
            return folder / os.path.expandvars(self._site.mpi.lock)
        return folder / f"{self._site.name}{LOCK_SUFFIX}"

    def locked(self) -> MpiHost | None:
        """What the site's lock file says; None if there is none.

        Raises:
            PlanError: it cannot be read, or it is named and not there.
            SiteError: it is damaged.
        """
        file = self.lock_file
        try:
            seen = file.stat()
        except OSError:
            if self._site.mpi.lock:
                raise PlanError(
                    f"there is no lock file {file}, which site {self._site.name} names",
                    hint=f"hpcjob mpi host -o {file}",
                ) from None
            return None
        # YAML takes its time to be read: as JSON it is kept.
        kept = _cached("lock", str(file), seen.st_ino, seen.st_size, seen.st_mtime_ns)
        known: MpiHost | None = _recall(MpiHost, kept)
        if known:
            return known
        from hpcjobs.site import mpilock

        try:
            text = file.read_text("utf-8", errors="replace")
        except OSError as error:
            hint = f"see: ls -ld {file}"
            raise PlanError(f"the lock file {file} cannot be read: {error.strerror}", hint=hint) from None
        try:
            found = mpilock.load(text, str(file))
        except SiteError as error:
            error.hint = f"hpcjob mpi host -o {file} writes it anew"
            raise
        _keep(kept, asdict(found))
        return found

    def host(self, modules: Sequence[str] = ()) -> MpiHost:
        """What is known of the host: the site's lock file, or what was found here for this environment.

        Raises:
            PlanError, SiteError: as of `locked`.
        """
        if found := self.locked():
            return found
        from hpcjobs.mpi import lock

        told = [os.environ.get(name, "") for name in _CHOOSING]
        kept = _cached(
            "host", os.uname().nodename, self._site.name, *self._all(modules), *self._site.mpi.prefixes, *told
        )
        known: MpiHost | None = _recall(MpiHost, kept)
        if known and not lock.stale(known):
            return known
        self._telling.say("looking at the MPI of this machine, once: hpcjob mpi host tells what there is")
        made = self.probe(modules)
        _keep(kept, asdict(made))
        return made

    def probe(self, modules: Sequence[str] = ()) -> MpiHost:
        """Look at the host now."""
        from hpcjobs.mpi import host

        site = self._site
        configs = (site.launcher, *site.launchers)
        return host.probe(
            self._runner,
            environment=os.environ,
            modules=self._all(modules),
            module_init=site.module_init,
            prefixes=site.mpi.prefixes,
            launchers=[(each.kind, each.command) for each in configs if each.command],
        )

    def _all(self, modules: Sequence[str]) -> tuple[str, ...]:
        return (*self._site.modules, *modules)

    # ------------------------------------------------------------------------------------- the image

    def image(self, spec: JobSpec, image: ImageFacts, *, digest: str = "") -> MpiImage:
        """What an image file or folder has, and what the job's program links to; looked into once.

        Raises:
            NotFoundError, PlanError, UnreachableError: as of the image and the tools.
        """
        from hpcjobs.images import report
        from hpcjobs.mpi import image as probe

        name = probe.ProgramName(
            command=spec.command,
            cwd=spec.workdir,
            workdir=spec.container_workdir,
            binds=tuple((each.source, each.target) for each in self._binds(spec)),
        )
        file = digest or image.digest or image.path
        kept = _cached("image", file, image.stamp, *_deciding(spec.command), name.cwd, name.workdir, name.binds)
        known = _recall_image(kept) if image.stamp else None
        if known:
            return replace(known, path=image.path)
        told = report.report(image.path, runner=self._runner, cache=paths.cache_home() / "images")
        with probe.open_files(image.path, self._runner) as files:
            found = probe.probe(files, image.path, program=name if spec.command else None, environment=told.environment)
            seen = bool(files.names)
        # Before the next submission unsquashfs may be installed, and a program made on the host that is not there yet.
        if image.stamp and seen and not (found.program and found.program.kind == "missing"):
            _keep(kept, {"image": asdict(found), "program": _signature(found)})
        return found

    def through(self, prefix: Sequence[str], spec: JobSpec, name: str) -> MpiImage:
        """The same of an image that only a runtime has: `prefix` runs a program in it.

        Raises:
            PlanError, UnreachableError: the runtime does not run it, or it has no shell.
        """
        from hpcjobs.mpi import image as probe

        asked = probe.ProgramName(command=spec.command, cwd=spec.workdir, workdir=spec.container_workdir)
        files = probe.RuntimeFiles(prefix, self._runner)
        return probe.probe(files, name, program=asked if spec.command else None, environment={})

    def _binds(self, spec: JobSpec) -> Iterator[Any]:
        for bind in containers.binds(self._site, spec.bind, spec.workdir):
            source, target = os.path.expandvars(bind.source), os.path.expandvars(bind.target)
            if "$" not in source + target:
                yield replace(bind, source=source, target=target)

    # ------------------------------------------------------------------------------ for a submission

    def known(
        self, spec: JobSpec, image: ImageFacts, folder: Path, runtime: RuntimeConfig, *, elsewhere: bool = False
    ) -> tuple[Known | None, str]:
        """What planning needs to know, and if it cannot, why not; `folder` is where links are kept.

        Nothing is looked at for a job without an image. Of one of a single rank, that says no more, the host is not:
        the image may have Open MPI, which under srun would ask for the other ranks, and end.

        Raises:
            PlanError, SiteError: as of `locked`.
        """
        if image.kind == "none" or spec.mpi == "none":
            return None, ""
        if not _many(spec):
            return self._of_one_rank(spec, image, folder), ""
        brought = runtime_option(self._site, runtime, gpus=bool(spec.gpus_per_node))
        if image.kind == "reference" and brought:
            return Known(MpiImage(path=image.path), None, str(folder)), ""
        if image.kind == "reference" or image.encrypted:
            what = "in the runtime's own store" if image.kind == "reference" else "encrypted"
            return None, f"the image is {what}, so that its MPI was not looked at"
        locked = self.locked()  # a lock file that is damaged is no reason to do without one
        try:
            seen = self.image(spec, image)
            of_partition = destination.partition_of(spec, self._site).modules
            if elsewhere and not locked:
                return Known(
                    seen, None, str(folder)
                ), f"this machine is not {self._site.name}: its MPI is not known here"
            host = locked or self.host((*of_partition, *runtime.modules, *spec.modules))
        except HpcjobError as error:
            return None, f"{error.message}; {error.hint}" if error.hint else error.message
        proven = frozenset(entry.name for entry in _entries(folder) if entry.name.startswith("proven-"))
        return Known(seen, host, str(folder), proven), ""

    def _of_one_rank(self, spec: JobSpec, image: ImageFacts, folder: Path) -> Known | None:
        if spec.launcher or self._site.launcher.kind != "srun" or image.kind == "reference" or image.encrypted:
            return None
        try:
            seen = self.image(spec, image)
        except HpcjobError:  # most jobs of one rank have no MPI, and lack nothing
            return None
        return Known(seen, None, str(folder)) if family(seen) == "openmpi" else None


def _deciding(command: Sequence[str]) -> Sequence[str]:
    """The words that say which program it is: not its arguments, of which every job may have others."""
    return command if command and Path(command[0]).name == "env" else command[:1]


def _many(spec: JobSpec) -> bool:
    return spec.nodes is not None or max(spec.ntasks or 1, spec.ntasks_per_node or 1) > 1 or spec.mpi != "auto"


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


# How a program is run, here, in an image of a runtime's own store.
_ENTER = {
    "podman": ("run", "--rm", "--network=none", "--entrypoint="),
    "podman-hpc": ("run", "--rm", "--entrypoint="),
    "docker": ("run", "--rm", "--network=none", "--entrypoint="),
    "sarus": ("run", "--entrypoint", ""),
    "shifter": (),
}


def enter(site: Site, name: str, runtime: str) -> tuple[str, ...]:
    """The words that run a program in an image by name.

    Raises:
        PlanError: the site has no runtime that keeps images by name.
    """
    configs = [each for each in site.runtimes if each.kind in _ENTER and runtime in ("", each.kind)]
    if not configs:
        raise PlanError(
            f"site {site.name} has no runtime {runtime} that keeps images by name"
            if runtime
            else f"no runtime of site {site.name} keeps images by name",
            hint=f"hpcjob image pull {name}; then look at its file",
        )
    kind, command = configs[0].kind, configs[0].command or configs[0].kind
    stored = name.partition("://")[2]
    return (command, f"--image=docker:{stored}") if kind == "shifter" else (command, *_ENTER[kind], stored)


def place(plan: MpiPlan) -> None:
    """Make the folder that the job's container sees: links into the host's folders, the canary, what checks them.

    Several submissions may make the same one at once; it is whole or not there.

    Raises:
        StoreError: it cannot be written.
    """
    from hpcjobs.mpi import wiring

    if not plan.folder or Path(plan.folder).is_dir():
        return
    target = Path(plan.folder)
    work = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(3).hex()}")
    try:
        paths.make_private(target.parent)
        for name in ("front", "tail"):
            (work / name).mkdir(parents=True)
        for name, path in plan.links.items():
            (work / name).symlink_to(path)
        for name, data in wiring.files(plan).items():
            (work / name).write_bytes(data)
            (work / name).chmod(0o755)
        work.rename(target)
    except BaseException as error:
        _remove(work)
        if not isinstance(error, OSError):
            raise
        if target.is_dir():  # another submission was faster
            return
        raise StoreError(
            f"{target} cannot be written: {error.strerror}", hint="is the disk full, or over quota?"
        ) from error


def _remove(folder: Path) -> None:
    from shutil import rmtree

    rmtree(folder, ignore_errors=True)


# -------------------------------------------------------------------------------------------- cache


def _cached(kind: str, *told: object) -> Path:
    from hpcjobs.mpi.wiring import short_hash

    key = short_hash("\0".join([str(_VERSION), *map(str, told)]).encode(errors="surrogateescape"))
    return paths.cache_home() / f"mpi-{kind}-{key}.json"


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def _recall(cls: Any, file: Path) -> Any:
    """What was kept; None if nothing was, or it is damaged or of another version."""
    data = _load(file)
    try:
        return facts.restore(cls, data) if data else None
    except ValueError:
        return None


def _recall_image(file: Path) -> MpiImage | None:
    """The same, unless the program, on the host, is another one now."""
    data = _load(file)
    try:
        known = facts.restore(MpiImage, data["image"])
        return known if data["program"] == _signature(known) else None
    except (ValueError, KeyError, TypeError):
        return None


def _signature(image: MpiImage) -> list[int]:
    """Size and time of a program on the host; nothing for one in the image."""
    if not image.program or image.program.where == "image":
        return []
    try:
        seen = Path(image.program.path).stat()
    except OSError:
        return [0]
    return [seen.st_size, seen.st_mtime_ns]


def _keep(file: Path, data: Mapping[str, Any]) -> None:
    # What cannot be kept is found again the next time: a full disk costs time here, and nothing else.
    try:
        paths.make_private(file.parent)
        paths.write_private(file, json.dumps(data))
    except OSError:
        return


def now() -> str:
    """RFC 3339, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
