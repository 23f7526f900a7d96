"""`hpcjob wrap` and `hpcjob module`, and those verbs of `hpcjob image` that run something of an image here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hpcjobs import process
from hpcjobs.cli import out, progress
from hpcjobs.cli.like import like
from hpcjobs.errors import PlanError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcjobs.cli.options import (
        App,
        Binds,
        Command,
        Commands,
        CommandsFolder,
        CpusPerTask,
        Env,
        Force,
        ImageKey,
        ImageName,
        Json,
        ModuleName,
        Modules,
        ModulesFolder,
        Mpi,
        Nodes,
        Ntasks,
        RuntimeName,
        SiteFile,
        SiteName,
    )
    from hpcjobs.model import JobSpec
    from hpcjobs.wrapping import Wrapping


def _about(
    image: ImageName,
    *,
    env: Env = None,
    bind: Binds = None,
    modules: Modules = None,
    runtime: RuntimeName = "",
    mpi: Mpi = "",
    app: App = "",
    image_key: ImageKey = "",
    force: Force = False,
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> None:
    """The options of all."""


def _wrap_options(image: ImageName, *, commands: Commands = None, to: CommandsFolder = ".") -> None:
    """What `wrap` has besides."""


def _module_options(
    image: ImageName, *, commands: Commands = None, name: ModuleName = "", to: ModulesFolder = ""
) -> None:
    """What `module` has besides."""


def _words(image: ImageName, command: Command = None) -> None:
    """What those have besides that run something."""


def _mpi_options(*, nodes: Nodes = None, ntasks: Ntasks = None, cpus_per_task: CpusPerTask = None) -> None:
    """What `image mpi` has besides."""


# Options of those alone that write something.
_WRITING = frozenset({"modules", "force", "json"})


def wrap(**asked: Any) -> int:
    """Make a program of an image a command.

    An executable is written that runs the program in the image, with the site's binds and the folder in which it is
    called. Arguments, input, output, exit code and signals go through as they are. Without --command it runs what the
    image runs by itself (its entrypoint or runscript).

    hpcjob wrap samtools.sif --command samtools --command bgzip --to ~/bin
    """
    files = _scripts(asked)
    from hpcjobs.paths import absolute
    from hpcjobs.wrapping import write_command

    folder = Path(absolute(asked["to"]))
    written = [write_command(folder, name, text, force=asked["force"]) for name, text in files.items()]
    _tell_written(written, json=asked["json"])
    if not asked["json"] and not _on_path(written[0].parent):
        command = written[0].name if len(written) == 1 else "them"
        out.tell(f"to call {command} by name: export PATH={out.short(str(written[0].parent))}:$PATH")
    return 0


def module(**asked: Any) -> int:
    """Make programs of an image commands of a module.

    A modulefile for Lmod (Lua) and one for Environment Modules (Tcl) are written, and the commands that they bring.

    hpcjob module samtools-1.20.sif --command samtools --command bgzip --to ~/modules
    """
    from hpcjobs import wrapping
    from hpcjobs.paths import absolute, absolute_image

    folder = Path(absolute(asked["to"] or "~/modulefiles"))
    named = wrapping.module_name(asked["name"], asked["image"])
    files = _scripts(asked)
    force = asked["force"]
    written = [
        wrapping.write_command(wrapping.module_commands(named, folder), command, text, force=force)
        for command, text in files.items()
    ]
    for path, text in wrapping.modulefiles(named, folder, absolute_image(asked["image"]), files).items():
        written.append(wrapping.write_file(path, text, force=force))
    _tell_written(written, json=asked["json"])
    if not asked["json"]:
        out.tell(f"to load it: module use {out.short(str(folder))}; module load {named}")
    return 0


def run(**asked: Any) -> None:
    """Run what an image runs by itself, here.

    Its entrypoint (runscript), with the words after -- as arguments.

    hpcjob image run blast.sif -- -version
    """
    with _named_instead(f"name a program of it: hpcjob image exec {asked['image']} -- PROGRAM"):
        _become(asked, spec_of(asked, entrypoint=True), tuple(asked["command"] or ()))


def exec_(**asked: Any) -> None:
    """Run a program of an image, here.

    In the folder that you are in, with the site's binds. Input, output, exit code and signals are the program's.

    hpcjob image exec samtools.sif -- samtools view in.bam | head
    """
    if not (command := asked["command"]):
        raise UsageError(
            "there is no program to run", hint=f"hpcjob image exec {asked['image']} -- PROGRAM; or hpcjob image run"
        )
    _become(asked, spec_of(asked, command=(command[0],)), tuple(command[1:]))


def shell(**asked: Any) -> None:
    """Open a shell in an image, here.

    `hpcjob shell` opens one on a node.
    """
    from hpcjobs.wrapper import SHELL

    _become(asked, spec_of(asked, command=SHELL), ())


def mpi(**asked: Any) -> None:
    """Run an MPI program of an image, here or in the job that this shell is in.

    The site's launcher starts the ranks, and MPI runs as in a job that is submitted: hpcjob mpi plan tells how.

    hpcjob image mpi -n 4 app.sif -- ./solve in.nml
    """
    if not asked["command"]:
        raise UsageError("there is no program to run", hint=f"hpcjob image mpi -n 4 {asked['image']} -- ./solve")
    from hpcjobs.wrapping import launched

    made = wrapping_of(asked["site"], asked["site_file"])
    shape = {name: asked[name] for name in ("nodes", "ntasks", "cpus_per_task")}
    spec = spec_of(asked, command=tuple(asked["command"]), **shape)
    process.become(launched(made, spec, os.environ))


wrap.__wrapped__ = like(_wrap_options, _about)  # type: ignore[attr-defined]
module.__wrapped__ = like(_module_options, _about)  # type: ignore[attr-defined]
run.__wrapped__ = exec_.__wrapped__ = like(_words, _about, without=_WRITING | {"mpi"})  # type: ignore[attr-defined]
shell.__wrapped__ = like(_about, without=_WRITING | {"mpi"})  # type: ignore[attr-defined]
mpi.__wrapped__ = like(_words, _mpi_options, _about, without=_WRITING)  # type: ignore[attr-defined]


def spec_of(asked: Mapping[str, Any], **more: Any) -> JobSpec:
    from hpcjobs.cli.submit import environment
    from hpcjobs.model import JobSpec

    given: dict[str, Any] = {
        "image": asked["image"],
        "env": environment(asked["env"] or ()),
        "bind": tuple(asked["bind"] or ()),
        "modules": tuple(asked.get("modules") or ()),
        "runtime": asked["runtime"],
        "app": asked["app"],
        "image_key": asked["image_key"],
        "mpi": asked.get("mpi") or "auto",
    }
    return JobSpec(**{**given, **more})


def _scripts(asked: Mapping[str, Any]) -> dict[str, str]:
    """The scripts of `wrap` and `module`, by the name of the command."""
    made = wrapping_of(asked["site"], asked["site_file"])
    if asked["commands"]:
        return made.commands(spec_of(asked), asked["commands"], mpi=asked["mpi"] != "none")
    with _named_instead("name a program of it: --command NAME"):
        return made.entrypoint(spec_of(asked), mpi=asked["mpi"] not in ("", "none"))


def wrapping_of(site: str, site_file: str) -> Wrapping:
    """What makes scripts of the site."""
    from hpcjobs import site as sites
    from hpcjobs.service import Service
    from hpcjobs.wrapping import Wrapping

    loaded = sites.choose(site, site_file, cached=True)
    folder = Service().jobs_folder(loaded.site)
    own_file = str(loaded.file) if site_file else ""
    return Wrapping(loaded, process.run, jobs_folder=folder, telling=progress.telling(), site_file=own_file)


def _become(asked: Mapping[str, Any], spec: JobSpec, arguments: Sequence[str]) -> NoReturn:
    from hpcjobs import render

    text = render.render_wrapper(wrapping_of(asked["site"], asked["site_file"]).wrapper(spec))
    process.become(("bash", "-c", text, "hpcjob", *arguments))


@contextmanager
def _named_instead(hint: str) -> Iterator[None]:
    """What to type for an image that runs nothing by itself; nobody has typed --entrypoint."""
    try:
        yield
    except PlanError as error:
        if "--entrypoint" in error.hint:
            error.hint = hint
        raise


def _tell_written(written: Sequence[Path], *, json: bool) -> None:
    if json:
        out.dump(files=[str(path) for path in written])
        return
    for path in written:
        out.say(str(path))


def _on_path(folder: Path) -> bool:
    return str(folder) in os.environ.get("PATH", "").split(os.pathsep)
