"""Jupyter kernels whose language lives in an image.

A kernel is a folder with kernel.json, which names a program by its path from the root (Jupyter expands neither `~` nor
variables there), and that program beside it: a wrapper of the image. Sources: "Making kernels for Jupyter" and "Kernel
specs" of jupyter_client's documentation (jupyter-client.readthedocs.io), "Common Directories" of Jupyter's
(docs.jupyter.org), which says where kernels are looked for.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import __version__, render
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, UsageError
from hpcjobs.model import Bind
from hpcjobs.service import spec_from_json, spec_to_json
from hpcjobs.shell import Shell
from hpcjobs.units import nearest
from hpcjobs.wrapper import Call
from hpcjobs.wrapping import write_command, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.model import ImageFacts, JobSpec, Runtime
    from hpcjobs.process import Runner
    from hpcjobs.wrapping import Wrapping

# jupyter_client, kernelspec.py: what a kernel may be called; and `..` is a folder already.
_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*", re.ASCII)
_SPEC, _LAUNCH = "kernel.json", "launch"
# What `look` reads: number of the language, program, version, version of the package, interrupt.
_FOUND = re.compile(r"^(\d) (.+) (\d\S*) (\S+) (signal|message|-)$", re.MULTILINE)
# Seconds for a first start of an interpreter from a cold file system.
_PROBE_TIMEOUT = 180.0


@dataclass(frozen=True)
class Language:
    """How a kernel of a language is found and started."""

    name: str  # as Jupyter spells it
    title: str
    programs: tuple[str, ...]
    package: str
    probe: tuple[str, ...]  # arguments that print "VERSION PACKAGE-VERSION INTERRUPT"; "-" without the package
    start: tuple[str, ...]  # arguments before the connection file
    add: str  # what installs the package


LANGUAGES = (
    Language(
        "python", "Python", ("python3", "python"), "ipykernel",
        (
            "-c",
            "import sys\nv = '%d.%d.%d' % sys.version_info[:3]\n"
            "try:\n"
            "    import ipykernel, ipykernel.kernelbase as base\n"
            "    how = 'message' if hasattr(base.Kernel, 'interrupt_request') else 'signal'\n"
            "    print(' '.join((v, ipykernel.__version__, how)))\n"  # as Python 2 reads it too
            "except ImportError:\n"
            "    print(v + ' - -')\n",
        ),
        ("-m", "ipykernel_launcher", "-f"),
        "pip install ipykernel",
    ),
    Language(
        "R", "R", ("R",), "IRkernel",
        (
            "--vanilla", "--slave", "-e",
            "v <- tryCatch(as.character(packageVersion('IRkernel')), error = function(e) '-'); "
            "cat(as.character(getRversion()), v, 'signal\\n')",
        ),
        ("--slave", "-e", "IRkernel::main()", "--args"),
        "R -e \"install.packages('IRkernel')\"",
    ),
    Language(
        "julia", "Julia", ("julia",), "IJulia",
        (
            "--startup-file=no", "-e",
            'v = try; using IJulia; string(pkgversion(IJulia)); catch; "-"; end; '
            'println(VERSION, " ", v, " signal")',
        ),
        ("-i", "--color=yes", "-e", "import IJulia; IJulia.run_kernel()"),
        "julia -e 'using Pkg; Pkg.add(\"IJulia\")'",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """An interpreter of an image."""

    language: Language
    program: str
    version: str
    package: str  # version of the package with the kernel; "-" = there is none
    interrupt: str  # signal or message


@dataclass(frozen=True)
class Kernel:
    """A kernel that hpcjob has installed."""

    name: str
    folder: Path
    title: str
    site: str
    site_file: str
    runtime: str
    language: str
    program: str
    request: dict[str, Any] = field(default_factory=dict)  # as `spec_to_json` writes it

    @property
    def image(self) -> str:
        """The image."""
        return str(self.request.get("image", ""))

    @property
    def launch(self) -> Path:
        """The program that starts it."""
        return self.folder / _LAUNCH


# ------------------------------------------------------------------------------------------ places


def place(*, prefix: str = "", sys_prefix: bool = False) -> Path:
    """The folder of kernels: the person's, that of a prefix, or that of the Python that runs hpcjob.

    Raises:
        UsageError: two places are named.
    """
    if prefix and sys_prefix:
        raise UsageError("--prefix and --sys-prefix are two places", hint="leave out one of them")
    if prefix or sys_prefix:
        return Path(prefix or sys.prefix).expanduser().absolute() / "share/jupyter/kernels"
    data = os.environ.get("JUPYTER_DATA_DIR")
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data or f"{base}/jupyter").absolute() / "kernels"


def name_of(title: str, name: str = "") -> str:
    """What the kernel's folder is called.

    Raises:
        UsageError: Jupyter would not find a kernel of that name.
    """
    made = name or re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-.")
    if not _NAME.fullmatch(made):
        raise UsageError(
            f"{name or title!r} cannot be the name of a kernel", hint="give one: --kernel-name pytorch-2.7"
        )
    return made


def installed(folder: Path) -> Iterator[Kernel]:
    """The kernels in a folder that hpcjob has installed."""
    for spec in sorted(folder.glob(f"*/{_SPEC}")):
        try:
            told = json.loads(spec.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # Jupyter's own list tells of it
        metadata = told.get("metadata") if isinstance(told, dict) else None
        own = metadata.get("hpcjobs") if isinstance(metadata, dict) else None
        if isinstance(own, dict):
            words = {key: str(own.get(key, "")) for key in ("site", "site_file", "runtime", "language", "program")}
            yield Kernel(
                name=spec.parent.name,
                folder=spec.parent,
                title=str(told.get("display_name", "")),
                request=own.get("request") or {},
                **words,
            )


def find(folder: Path, name: str) -> Kernel:
    """The kernel of that name.

    Raises:
        NotFoundError: hpcjob has installed none of that name there.
    """
    there = {kernel.name: kernel for kernel in installed(folder)}
    if name not in there:
        raise NotFoundError(f"there is no kernel {name!r} of hpcjob's in {folder}", hint=nearest(name, there))
    return there[name]


def remove(kernel: Kernel) -> None:
    """Remove its folder.

    Raises:
        PlanError: it cannot be removed.
    """
    try:
        shutil.rmtree(kernel.folder)
    except OSError as error:
        raise PlanError(
            f"{kernel.folder} cannot be removed: {error.strerror}", hint="is it another person's?"
        ) from error


# ----------------------------------------------------------------------------------- installation


def look(
    wrapping: Wrapping, spec: JobSpec, image: ImageFacts, runtime: Runtime, runner: Runner, *, program: str = ""
) -> list[Found]:
    """The interpreters of the image, asked in it as the kernel will be started.

    Raises:
        PlanError: the image does not start here.
    """
    questions = [
        f"command -v {_for_sh(each)} >/dev/null && said=$({_for_sh(each, *language.probe)}) && "
        f'echo {number} {_for_sh(each)} "$said"'
        for number, language in enumerate(LANGUAGES)
        for each in ([program] if program else language.programs)
    ]
    made = wrapping.of(replace(spec, command=("sh", "-c", "\n".join([*questions, "true"]))), image, runtime)
    done = runner(("bash", "-c", render.render_wrapper(made), "hpcjob"), timeout=_PROBE_TIMEOUT)
    if done.code:
        raise PlanError(
            f"the image {spec.image} does not start here: {_last(done.err) or f'exit code {done.code}'}",
            hint=f"see: hpcjob image exec {spec.image} -- true",
        )
    return [
        Found(LANGUAGES[int(number)], name, version, package, interrupt)
        for number, name, version, package, interrupt in _FOUND.findall(done.out)
    ]


def choose(found: Sequence[Found], language: str, image: str) -> Found:
    """The interpreter with a kernel, of that language if one is named.

    Raises:
        UsageError: there is no such language.
        PlanError: there is none; says how to add it.
    """
    names = {each.name.lower(): each for each in LANGUAGES}
    if language and language.lower() not in names:
        raise UsageError(f"--language {language!r} is not known", hint=nearest(language, [e.name for e in LANGUAGES]))
    fitting = [each for each in found if not language or each.language is names[language.lower()]]
    if not fitting:
        wanted = names[language.lower()].title if language else "Python, R or Julia"
        raise PlanError(
            f"there is no {wanted} on the PATH of the image {image}", hint="name it: --program /opt/conda/bin/python"
        )
    able = [each for each in fitting if each.package != "-"]
    if not able:
        one = fitting[0]
        raise PlanError(
            f"the image {image} has {one.language.title} {one.version} without {one.language.package}, the kernel",
            hint=f"add it where the image is made: RUN {one.language.add}",
        )
    return able[0]


def install(
    wrapping: Wrapping,
    spec: JobSpec,
    folder: Path,
    *,
    title: str,
    name: str = "",
    language: str = "",
    program: str = "",
    runner: Runner,
    force: bool = False,
) -> tuple[Kernel, Found]:
    """Look into the image, and write kernel.json and the program that it names.

    Raises:
        UsageError: a name is not understood.
        PlanError: the image has no kernel, or the folder cannot be written.
    """
    own = name_of(title, name)
    spec, image, runtime = wrapping.prepared(spec)
    found = choose(look(wrapping, spec, image, runtime, runner, program=program), language, spec.image)
    target = folder / own
    if (target / _SPEC).exists() and not force and own not in {each.name for each in installed(folder)}:
        raise PlanError(
            f"there is a kernel {own} that hpcjob did not install", hint="choose another --name, or --force"
        )
    kernel = Kernel(
        own, target, title, wrapping.site, wrapping.site_file, runtime.name, found.language.name, found.program,
        spec_to_json(spec),
    )  # fmt: skip
    text = _script(wrapping, spec, image, runtime, found)
    write_command(target, _LAUNCH, text, force=True)
    write_file(target / _SPEC, _kernel_json(kernel, found), force=True)
    return kernel, found


def _script(wrapping: Wrapping, spec: JobSpec, image: ImageFacts, runtime: Runtime, found: Found) -> str:
    command = replace(spec, command=(found.program, *found.language.start))
    return render.render_wrapper(wrapping.of(command, image, runtime, call=_call(image, runtime)))


def _kernel_json(kernel: Kernel, found: Found) -> str:
    own = {"version": __version__, **asdict(kernel)}
    told: dict[str, Any] = {
        "argv": [str(kernel.launch), "{connection_file}"],
        "display_name": kernel.title,
        "language": kernel.language,
        "interrupt_mode": found.interrupt,
        "metadata": {
            "debugger": kernel.language == "python",
            "hpcjobs": {name: value for name, value in own.items() if name not in ("name", "folder", "title")},
        },
    }
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


# Of the connection file, which is the one argument of the launch script: its folder on the host.
_FOLDER = "$hpcjob_connection"


def _call(image: ImageFacts, runtime: Runtime) -> Call:
    """The connection file is shown in the container; Jupyter puts it into a folder that only the script knows."""
    places = getattr(runtime, "spare", lambda _: None)(image)
    setup = (Shell("hpcjob_connection=${1%/*}"),)
    if places is None:
        return Call((Bind(_FOLDER, _FOLDER, expand=True),), setup, (Shell('"$1"'),))
    if not places:
        raise PlanError(
            f"the image {image.path} has no place for a folder of Jupyter's, and {runtime.name} can make none",
            hint="make one in the image: mkdir -p /mnt/1",
        )
    return Call((Bind(_FOLDER, places[-1], expand=True),), setup, (Shell(f'{places[-1]}/"${{1##*/}}"'),))


def _for_sh(*words: str) -> str:
    """Words for the sh of the image, which knows nothing of bash's own quotes."""
    return " ".join(map(shlex.quote, words))


def _last(text: str) -> str:
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines() if line.strip()]
    return lines[-1] if lines else ""


# ------------------------------------------------------------------------------------------- check


def check(kernel: Kernel, wrapping: Wrapping, runner: Runner) -> str:
    """Why the kernel does not start here, or is not what it would be now; empty if all is well."""
    again = f"install it again: hpcjob kernel install {kernel.image} --name {kernel.title!r}"
    try:
        told = json.loads((kernel.folder / _SPEC).read_text("utf-8"))
        text = kernel.launch.read_text("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        return f"its files cannot be read: {error}; {again}"
    if told.get("argv", [""])[0] != str(kernel.launch) or not os.access(kernel.launch, os.X_OK):
        return f"{_SPEC} does not name {kernel.launch}, or that is no program: was it moved? {again}"
    try:
        spec, image, runtime = wrapping.prepared(spec_from_json(kernel.request))
        look_again = look(wrapping, spec, image, runtime, runner, program=kernel.program)
        found = choose(look_again, kernel.language, spec.image)
        now = _script(wrapping, spec, image, runtime, found)
    except HpcjobError as error:
        return error.message
    return "" if now == text else f"the site or hpcjob would write it otherwise now; {again}"
