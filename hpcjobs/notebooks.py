"""A notebook as a job: papermill (papermill.readthedocs.io) runs it in the image and keeps it as it was run.

papermill is the image's own, or one that is shown to it: got once by pip for the image's Python, kept beside the job
database, and looked at only after all that the image has, so that the notebook finds what it found in Jupyter.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths, render
from hpcjobs.errors import NotFoundError, PlanError, UnreachableError, UsageError
from hpcjobs.model import Note

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcjobs.image_service import Telling
    from hpcjobs.model import JobSpec
    from hpcjobs.process import Runner
    from hpcjobs.wrapping import Wrapping

# The executed notebook is in the working directory, by the number of the point, or the id of the job and its task.
_RUN = (
    "in=$1 id=${HPCJOB_NATIVE_ID%%[.[]*}; out=${in##*/}; shift; "
    "out=${out%.ipynb}-${HPCJOB_POINT:-$id${HPCJOB_ARRAY_INDEX:+_$HPCJOB_ARRAY_INDEX}}.ipynb; "
    'exec python3 PAPERMILL --stdout-file - --log-output --no-progress-bar "$@" "$in" "$out"'
)
_PROGRAM = "PAPERMILL"
_PROBE = (
    "import sys, importlib.util as u; "
    "print(*sys.version_info[:2], *(int(u.find_spec(name) is not None) for name in ('papermill', 'ipykernel')))"
)
_FOUND = re.compile(r"^(\d+) (\d+) ([01]) ([01])$", re.MULTILINE)
_PROBE_TIMEOUT = 180.0
_PIP_TIMEOUT = 900.0
_NAME = re.compile(r"[A-Za-z_]\w*")
# Put beside the packages: the folder of a script is the first that Python looks into, and is to be the last.
_LAST = """\
import sys
sys.path.append(sys.path.pop(0))
from papermill.cli import papermill
papermill(prog_name="papermill")
"""
_SCRIPT = "run_papermill.py"


@dataclass(frozen=True)
class _Python:
    """The Python of an image."""

    version: str  # 3.11
    papermill: bool
    ipykernel: bool


def prepared(
    spec: JobSpec, wrapping: Wrapping, runner: Runner, telling: Telling, *, final: bool, names: Iterable[str] = ()
) -> tuple[JobSpec, list[Note]]:
    """The request with the command that runs its notebook, and what was found out; `names` are parameters of a study.

    Raises:
        UsageError: what is asked makes no sense for a notebook.
        NotFoundError: there is no such notebook.
        PlanError: the image cannot run it.
    """
    spec = replace(spec, notebook=str(Path(spec.notebook).expanduser()))
    language, known = _check(spec)
    if known is not None and (strange := [name for name in spec.parameters if name not in known]):
        telling.say(f"warning: the cell tagged parameters of {spec.notebook} sets no {', '.join(strange)}")
    asked, image, runtime = wrapping.prepared(spec) if spec.image else (spec, None, None)
    module, note = "-m papermill", []
    if image is not None and runtime is not None:
        made = wrapping.of(replace(asked, command=("python3", "-c", _PROBE)), image, runtime)
        found = _python(render.render_wrapper(made), asked.image, runner)
        if found is None:
            note = [Note("notebook", "papermill of the image", "on trust: the image cannot be run on this machine")]
        else:
            _check_kernel(found, language, asked.image)
        if found and not found.papermill:
            folder = _papermill(found.version, runner, telling, final=final)
            places = getattr(runtime, "spare", lambda _: None)(image)
            inside = str(folder) if places is None else places[-1]
            spec = replace(spec, bind=(*spec.bind, f"{folder}:{inside}"))
            module = f"{inside}/{_SCRIPT}"
            note = [Note("notebook", "papermill is shown to the image", f"it has none: {folder}")]
    return as_command(spec, module, language, names), note


def as_command(spec: JobSpec, module: str, language: str, names: Iterable[str] = ()) -> JobSpec:
    """The same request with a command instead of the notebook."""
    # Notebooks name the kernel that they were last run with, which may be one of another machine, or of an image.
    kernel = ("-k", "python3") if language == "python" else ()
    parameters = {**{name: f"{{{name}}}" for name in names}, **spec.parameters}
    given = (word for name, value in parameters.items() for word in ("-p", name, value))
    stem = Path(spec.notebook).name.removesuffix(".ipynb")
    return replace(
        spec,
        command=("sh", "-c", _RUN.replace(_PROGRAM, module), "papermill", spec.notebook, *kernel, *given),
        name=spec.name or stem,
        notebook="",
        parameters={},
        # One program, which is no rank of MPI.
        ntasks=spec.ntasks or (None if spec.ntasks_per_node else 1),
    )


def _check(spec: JobSpec) -> tuple[str, set[str] | None]:
    """The language of the notebook, and the names that its cell of parameters sets, if that can be told.

    Raises:
        UsageError, NotFoundError: as `prepared`.
    """
    if spec.command:
        raise UsageError(
            "a notebook and a command are two programs", hint="leave out one; parameters are given by -p x=1"
        )
    if (spec.nodes or 1) > 1 or (spec.ntasks or 1) > 1 or (spec.ntasks_per_node or 1) > 1:
        raise UsageError("a notebook runs once, not on several ranks", hint="leave out -N, -n; cores are given by -c")
    if wrong := [name for name in spec.parameters if not _NAME.fullmatch(name)]:
        raise UsageError(f"{wrong[0]!r} cannot be the name of a parameter", hint="-p alpha=0.5")
    path = Path(spec.workdir or ".", spec.notebook)
    try:
        told = json.loads(path.read_text("utf-8"))
        code = [cell for cell in told["cells"] if cell.get("cell_type") == "code"]
        metadata = told.get("metadata") or {}
        kernel, info = metadata.get("kernelspec") or {}, metadata.get("language_info") or {}
        language = str(kernel.get("language") or info.get("name") or "python").lower()
    except FileNotFoundError:
        raise NotFoundError(f"there is no notebook {spec.notebook}", hint="is its name right?") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlanError(
            f"{spec.notebook} is no notebook that can be run: {error}", hint="open and save it in Jupyter (nbformat 4)"
        ) from error
    if not code:
        raise PlanError(f"{spec.notebook} has no cell with code", hint="is it saved?")
    return language, _parameters(code) if language == "python" else None


def _parameters(cells: Sequence[Mapping[str, Any]]) -> set[str] | None:
    """What the cell with papermill's tag sets; None where there is no such cell, or it is not plain Python."""
    tagged = [cell for cell in cells if "parameters" in ((cell.get("metadata") or {}).get("tags") or ())]
    try:
        trees = [ast.parse("".join(cell.get("source") or "")) for cell in tagged]
    except SyntaxError:
        return None
    stored = {node.id for tree in trees for node in ast.walk(tree)
              if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}  # fmt: skip
    return stored if tagged else None


def _python(script: str, image: str, runner: Runner) -> _Python | None:
    """What the image's Python has; None if the image cannot be run on this machine.

    Raises:
        PlanError: it has no Python.
    """
    try:
        done = runner(("bash", "-c", script, "hpcjob"), timeout=_PROBE_TIMEOUT)
    except UnreachableError:
        return None
    if found := _FOUND.search(done.out):
        return _Python(f"{found[1]}.{found[2]}", papermill=found[3] == "1", ipykernel=found[4] == "1")
    if "python3" in done.err and re.search(r"not found|No such file", done.err):
        raise PlanError(f"there is no python3 in the image {image}", hint="papermill, which runs notebooks, needs one")
    return None


def _check_kernel(found: _Python, language: str, image: str) -> None:
    if language == "python" and not found.ipykernel:
        raise PlanError(
            f"the image {image} has Python {found.version} without ipykernel, in which notebooks run",
            hint="add it where the image is made: RUN pip install ipykernel papermill",
        )


def _papermill(version: str, runner: Runner, telling: Telling, *, final: bool) -> Path:
    """The folder with papermill for that Python; made now if the job is to be sent.

    Raises:
        PlanError: it cannot be got here.
    """
    folder = paths.data_home() / "papermill" / f"python{version}-{os.uname().machine}"
    if folder.is_dir() or not final:
        return folder
    telling.say(f"getting papermill for Python {version}, once: the image has none")
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    paths.make_private(work.parent)
    hint = "add it where the image is made: RUN pip install papermill"
    try:
        done = runner(_pip(version, work), timeout=_PIP_TIMEOUT)
        if done.code:
            said = [line for line in done.err.splitlines() if line.startswith("ERROR")] or done.err.splitlines()
            raise PlanError(f"papermill cannot be got: {said[0] if said else 'pip failed'}", hint=hint)
        (work / _SCRIPT).write_text(_LAST)
        work.rename(folder)
    except UnreachableError as error:
        raise PlanError(f"papermill cannot be got: {error.message}", hint=hint) from error
    except OSError as error:
        if not folder.is_dir():  # else another was faster
            raise PlanError(f"papermill cannot be got: {error}", hint=hint) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _pip(version: str, folder: Path) -> Sequence[str]:
    return (
        sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile",
        "--only-binary=:all:", "--python-version", version, "--target", str(folder), "papermill",
    )  # fmt: skip
