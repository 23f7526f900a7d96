"""Images as commands: scripts that run a program of an image as somebody at the site would by hand, and modulefiles."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import destination, launchers, paths, plan, render, wrapper
from hpcjobs.errors import PlanError, UsageError
from hpcjobs.image_service import QUIET, Images
from hpcjobs.model import Shape
from hpcjobs.mpi import settle
from hpcjobs.mpi_service import Mpi, place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcjobs.image_service import Telling
    from hpcjobs.model import ImageFacts, JobSpec, Launcher, LauncherConfig, Runtime
    from hpcjobs.mpi.settle import Settled
    from hpcjobs.process import Runner
    from hpcjobs.site import LoadedSite
    from hpcjobs.wrapper import Call, Wrapper

# What a command may be called: a file of that name is made.
_COMMAND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]*", re.ASCII)
# Ranks for which MPI is settled: a command that somebody starts with srun has several.
_RANKS = Shape(nodes=1, ntasks=2, ntasks_per_node=2)
# What the head of a file that hpcjob wrote says, and no other does.
_OWN = "written by hpcjob"


class Wrapping:
    """Makes scripts of one site."""

    def __init__(
        self, loaded: LoadedSite, runner: Runner, *, jobs_folder: Path, telling: Telling = QUIET, site_file: str = ""
    ) -> None:
        self._site_file = site_file
        self._loaded = loaded
        self._site = loaded.site
        self._runner = runner
        self._telling = telling
        self._mpi_folder = jobs_folder / ".mpi"

    @property
    def site(self) -> str:
        """The name of the site."""
        return self._site.name

    @property
    def site_file(self) -> str:
        """Its file, if it was given as one."""
        return self._site_file

    def prepared(self, spec: JobSpec) -> tuple[JobSpec, ImageFacts, Runtime]:
        """The request with absolute paths, its image and the runtime; an image of a registry is pulled.

        Raises:
            NotFoundError: there is no such image.
            PlanError: the site has no runtime for it.
        """
        if not spec.image:
            raise UsageError("there is no image", hint="name one: app.sif, app.sqfs, docker://alpine:3.20")
        spec = destination.with_defaults(spec, self._site)
        spec = replace(spec, workdir=paths.absolute(spec.workdir or "."), image=paths.absolute_image(spec.image))
        # Its digest, for which a large image is read as a whole, is of no use here.
        asked = replace(spec, image_changed="ignore")
        image, runtime = Images(self._site, self._runner, self._telling).choose(asked, final=True)
        return spec, image, runtime

    def wrapper(self, spec: JobSpec, *, call: Call | None = None, mpi: bool = False) -> Wrapper:
        """What runs the program of the request; with `mpi` as a rank that a launcher starts.

        Raises:
            NotFoundError: there is no such image.
            PlanError: it cannot be run at the prompt.
        """
        spec, image, runtime = self.prepared(spec)
        settled, _ = self._settled(spec, image, runtime) if mpi else (None, None)
        if settled:
            self._tell(settled, set())
        return self.of(spec, image, runtime, call=call, settled=settled)

    def of(
        self,
        spec: JobSpec,
        image: ImageFacts,
        runtime: Runtime,
        *,
        call: Call | None = None,
        settled: Settled | None = None,
    ) -> Wrapper:
        """The same of what `prepared` found."""
        key = Images(self._site, self._runner).key(spec)
        made = wrapper.wrap(
            spec, self._site, image, runtime=runtime, call=call, settled=settled, key=key, workdir=spec.workdir
        )
        if settled:
            place(settled.plan)
        for note in made.notes:
            self._telling.say(note)
        return made

    def rank(self, spec: JobSpec) -> tuple[Launcher, str, str]:
        """What starts ranks, the script that each of them runs, and the launcher's kind of MPI.

        Raises:
            PlanError: the ranks would not find each other.
        """
        spec, image, runtime = self.prepared(spec)
        settled, launcher = self._settled(spec, image, runtime)
        kind = settled.plan.type if settled and settled.plan.mode else plan.mpi_kind(spec, self._site, launcher.kind)
        made = replace(self.of(spec, image, runtime, settled=settled), arguments=())
        return launchers.get(launcher), render.render_wrapper(made), kind

    def _settled(self, spec: JobSpec, image: ImageFacts, runtime: Runtime) -> tuple[Settled | None, LauncherConfig]:
        """How MPI runs in a rank of the program, and the site's launcher."""
        # A command is run too often for the program that shows whether ranks find each other.
        spec = replace(spec, ntasks=spec.ntasks or _RANKS.ntasks, mpi_check="never")
        launcher = plan.choose_launcher(spec, self._site)
        mpi = Mpi(self._site, self._loaded.file, self._runner, self._telling)
        known, why = mpi.known(spec, image, self._mpi_folder, runtime.config, elsewhere=False)
        if known is None:
            if why:
                self._telling.say(f"MPI is left to the launcher: {why}")
            return None, launcher
        if known.host:
            launcher = settle.understanding(launcher, known.host)
        job = settle.Job(spec, self._site, image, runtime, launcher, _RANKS, even=False)
        try:
            settled = settle.settle(job, known)
        except PlanError as error:
            error.hint += "; or for one process alone: --mpi none"
            raise
        return settled, launcher

    def _tell(self, settled: Settled, told: set[str]) -> None:
        """How a command that is written is to be started, and who can; of several commands once."""
        made, lines = settled.plan, []
        if made.mode not in ("", "none"):
            kind = f", to be started with srun --mpi={made.type}" if made.type else ""
            lines.append(f"mpi: {made.mode}{kind} ({made.why})")
        if made.folder:
            lines.append(f"it needs {made.folder}, which others can only use where you let them in")
        for line in lines:
            if line not in told:
                self._telling.say(line)
        told.update(lines)

    # -------------------------------------------------------------------------------- commands as files

    def entrypoint(self, spec: JobSpec, *, mpi: bool = False) -> dict[str, str]:
        """The script of what the image runs by itself: by the name of its file, which is the image's."""
        name = command_name(spec.image)
        return {name: render.render_wrapper(self.wrapper(replace(spec, entrypoint=True), mpi=mpi))}

    def commands(self, spec: JobSpec, names: Iterable[str], *, mpi: bool = False) -> dict[str, str]:
        """A script for each command: by the name of its file."""
        spec, image, runtime = self.prepared(spec)
        found: dict[str, str] = {}
        told: set[str] = set()
        for name in names:
            of_file = Path(name).name
            if not _COMMAND.fullmatch(of_file):
                raise UsageError(f"{name!r} cannot be the name of a command", hint="write --command samtools")
            if of_file in found:
                raise UsageError(f"two commands would be called {of_file}", hint="leave out one of them")
            asked = replace(spec, command=(name,))
            settled, _ = self._settled(asked, image, runtime) if mpi else (None, None)
            if settled:
                self._tell(settled, told)
            found[of_file] = render.render_wrapper(self.of(asked, image, runtime, settled=settled))
        return found


def command_name(image: str) -> str:
    """What a command is called that has the name of its image: samtools of docker://quay.io/x/samtools:1.20.

    Raises:
        UsageError: that cannot be the name of a command.
    """
    name = _stem(image).partition(":")[0]
    if not _COMMAND.fullmatch(name):
        raise UsageError(f"{name!r}, the image's name, cannot be that of a command", hint="add --command NAME")
    return name


def _stem(image: str) -> str:
    """The name of the image's file, or of it in a registry with its tag."""
    return re.sub(r"\.(sif|sqfs|squashfs|sqsh)$", "", image.rstrip("/").rpartition("/")[2].partition("@")[0])


def write_command(folder: Path, name: str, text: str, *, force: bool = False) -> Path:
    """Write an executable; one that hpcjob wrote is replaced.

    Raises:
        PlanError: there is another file of that name, or it cannot be written.
    """
    return write_file(folder / name, text, 0o777, force=force)


def write_file(path: Path, text: str, mode: int = 0o666, *, force: bool = False) -> Path:
    """Write a file of the user's, with the mode that their umask leaves of `mode`; whole or not at all.

    Raises:
        PlanError: there is another file of that name, or it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not force and path.exists() and _OWN not in _head(path):
            raise PlanError(
                f"there is a file {path} that hpcjob did not write", hint="choose another place, or --force"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # as where it could not be made
            temporary.unlink()
        raise PlanError(f"{path} cannot be written: {error.strerror}", hint="choose another place with --to") from error
    return path


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(300).decode("utf-8", "replace")


def launched(wrapping: Wrapping, spec: JobSpec, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The command that starts the ranks of a program here, or in the job that `environ` is of.

    Raises:
        PlanError: the launcher starts none outside of a job.
    """
    launcher, text, kind = wrapping.rank(spec)
    inside = "SLURM_JOB_ID" in environ
    if launcher.name == "srun" and not inside:
        raise PlanError(
            "srun starts ranks in a job, and this shell is in none",
            hint=f"hpcjob shell -N {spec.nodes or 1} gives one; or send a job: hpcjob submit --image {spec.image} …",
        )
    nodes = spec.nodes or int(environ.get("SLURM_JOB_NUM_NODES", "1"))
    ntasks = spec.ntasks or nodes
    if ntasks < nodes:
        raise UsageError(f"{ntasks} ranks cannot be on {nodes} nodes", hint=f"-N {ntasks}, or more ranks: -n {nodes}")
    shape = Shape(nodes, ntasks, -(-ntasks // nodes), spec.cpus_per_task or 1)
    # Without it srun uses all nodes of the job.
    extra = (f"--nodes={nodes}",) if launcher.name == "srun" and spec.nodes else ()
    launch = launcher.command(shape, mpi=kind, extra=extra)
    given = ("env", *(f"{name}={value}" for name, value in launch.env.items())) if launch.env else ()
    return (*given, *map(str, launch.argv), "bash", "-c", text, "hpcjob")


# ------------------------------------------------------------------------------------------ modules

# A modulefile is found by its place below MODULEPATH: FOLDER/NAME/VERSION, and FOLDER/NAME/VERSION.lua for Lmod.
_MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*/[A-Za-z0-9_][A-Za-z0-9_.+-]*", re.ASCII)
# Hidden from both module systems, which list what has no dot before its name.
_COMMANDS = ".commands"


def module_name(text: str, image: str) -> str:
    """`NAME/VERSION`: as it is given, or made from the name of the image: samtools-1.20.sif is samtools/1.20.

    Raises:
        UsageError: it cannot be the name of a module.
    """
    if not text:
        stem = _stem(image)
        match = re.fullmatch(r"(.+?)[-_:](v?\d[\w.+-]*)", stem)
        text = f"{match[1]}/{match[2]}" if match else f"{stem}/latest"
    elif "/" not in text:
        text = f"{text}/latest"
    if not _MODULE.fullmatch(text):
        raise UsageError(f"{text!r} cannot be the name of a module", hint="give one: --name samtools/1.20")
    return text


def modulefiles(name: str, folder: Path, image: str, commands: Iterable[str]) -> dict[Path, str]:
    """The two modulefiles, by their paths: for Lmod and for Environment Modules (Tcl, which Lmod reads as well).

    Sources: Lmod's guide (lmod.readthedocs.io, "Lua modulefile functions"), modulefile(4).
    """
    bin_folder = folder / _COMMANDS / name
    family, _, version = name.partition("/")
    what = f"{family} {version} in a container: {' '.join(sorted(commands))}"
    lua = (
        f"-- {_OWN}\n"
        f"help({_lua(f'{what}{chr(10)}Image: {image}')})\n"
        f"whatis({_lua(f'Name: {family}')})\n"
        f"whatis({_lua(f'Version: {version}')})\n"
        f"whatis({_lua(f'Description: {what}')})\n"
        f'prepend_path("PATH", {_lua(str(bin_folder))})\n'
    )
    tcl = (
        f"#%Module1.0\n# {_OWN}\n"
        f"proc ModulesHelp {{}} {{ puts stderr {_tcl(f'{what}; image: {image}')} }}\n"
        f"module-whatis {_tcl(what)}\n"
        f"prepend-path PATH {_tcl(str(bin_folder))}\n"
    )
    return {folder / f"{name}.lua": lua, folder / name: tcl}


def module_commands(name: str, folder: Path) -> Path:
    """Where the commands of a module are."""
    return folder / _COMMANDS / name


def _lua(text: str) -> str:
    """A string of Lua, byte for byte but for control characters."""
    escaped = re.sub(r'[\\"]', lambda found: "\\" + found[0], text)
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\{ord(found[0]):03d}", escaped) + '"'


def _tcl(text: str) -> str:
    """A word of Tcl: what would be substituted, or would end it, is escaped."""
    escaped = re.sub(r'[\\"$\[\]{};]', lambda found: "\\" + found[0], text)
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\{ord(found[0]):03o}", escaped) + '"'
