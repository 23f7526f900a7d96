"""An existing batch script in the other dialect: Slurm's `#SBATCH` and PBS's `#PBS`. Pure functions.

The script is changed as little as possible, and nothing is dropped without a word: what has no equivalent stays as a
comment and is a `Note`.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcjobs import shell
from hpcjobs.errors import UsageError
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE
from hpcjobs.translate import body, pbs, slurm
from hpcjobs.translate.job import LOST, NEAR, Note, Reading
from hpcjobs.translate.script import PBS, SLURM, Script, read
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcjobs.translate.job import Job

TARGETS = ("pbs", "slurm")
DIALECTS = (OPENPBS, TORQUE)


@dataclass(frozen=True)
class Translation:
    """The script in the other dialect, and what is not quite the same, in the order of the lines."""

    script: str
    source: str  # slurm or pbs
    target: str  # slurm, openpbs or torque
    notes: tuple[Note, ...]


def translate(text: str, to: str, dialect: str = "") -> Translation:
    """Translate a batch script to `slurm`, or to `pbs` in one of its dialects, openpbs (the default) or torque.

    Raises:
        UsageError: `to` or `dialect` is unknown; the text is no script, has directives of both, or one that the batch
            system itself would refuse (the message names the line).
    """
    _check(to, dialect)
    notes = []
    if "\r\n" in text:
        notes.append(Note(1, "CR LF", NEAR, "nothing to do: the lines ended as on Windows, which both refuse; mended"))
        text = text.replace("\r\n", "\n")
    script = _read(text, to)
    reading = Reading(list((pbs if to == "slurm" else slurm).options(script.directives)))
    (pbs if to == "slurm" else slurm).read(reading)
    target = "slurm" if to == "slurm" else dialect or OPENPBS
    directives = _directives(script, reading, target)
    after, told = body.translate(script, reading.job, target)
    notes += [*reading.notes, *_late(script), *told]
    before = _start(script, reading.job, target, notes)
    head = [*_head(script, reading.job, target, notes), *directives]
    return Translation(
        "\n".join([*head, *before, *after]) + "\n",
        "pbs" if to == "slurm" else "slurm",
        target,
        tuple(sorted(notes, key=lambda note: note.line)),
    )


def _check(to: str, dialect: str) -> None:
    if to not in TARGETS:
        raise UsageError(f"--to {to}: there is no such target", hint=nearest(to, TARGETS))
    if dialect and dialect not in DIALECTS:
        raise UsageError(f"--dialect {dialect}: there is no such dialect of PBS", hint=nearest(dialect, DIALECTS))
    if dialect and to == "slurm":
        raise UsageError(
            "--dialect is for --to pbs: Slurm has one", hint="leave --dialect out: both PBS are understood"
        )


def _read(text: str, to: str) -> Script:
    if not text.strip() or "\0" in text:
        raise UsageError("this is no batch script", hint="give the file that you submit with sbatch or qsub")
    source, target = (PBS, SLURM) if to == "slurm" else (SLURM, PBS)
    script, other = read(text, source), read(text, target)
    if other.directives and not script.directives:
        raise UsageError(f"the script has {target} lines already, and no {source}", hint=_OTHER_WAY[to])
    if other.directives:
        line = other.directives[0].first
        raise UsageError(
            f"line {line}: the script has directives of both, {source} and {target}",
            hint=f"take one kind out: the {target} lines, to have the {source} lines translated",
        )
    return script


_OTHER_WAY = {"pbs": "to translate it to Slurm: --to slurm", "slurm": "to translate it to PBS: --to pbs"}


# ---------------------------------------------------------------------------------------------- the head


def _head(script: Script, job: Job, target: str, notes: list[Note]) -> Iterable[str]:
    """The first line, which Slurm needs."""
    first = script.lines[0]
    said = job.at.get("shell")
    if target == "slurm" and not first.startswith("#!"):
        return (f"#!{job.shell or '/bin/bash'}",)
    if said and not re.match(rf"#!\s*{re.escape(job.shell)}(\s|$)", first):
        notes.append(Note(said.line, said.text, NEAR, f"Slurm goes by the first line: {first}"))
    return ()


def _directives(script: Script, reading: Reading, target: str) -> list[str]:
    """The lines before the first command, with the directives translated in place, and those that are added last."""
    job = reading.job
    written = list(slurm.write(job, reading.notes) if target == "slurm" else pbs.write(job, reading.notes, target))
    advise = pbs.advice if target == "slurm" else slurm.advice
    for option in reading.left.values():
        reading.lost(option, advise(option))
    at: dict[int, list[str]] = {}
    added = []
    for field, text in written:
        if said := job.at.get(field):
            at.setdefault(said.line, []).append(text)
        else:
            added.append(text)
    for note in reading.notes:
        if note.kind == LOST:
            at.setdefault(note.line, []).append(f"# hpcjob translate: no equivalent: {note.text}")
    return list(_placed(script, at, added))


def _placed(script: Script, at: dict[int, list[str]], added: list[str]) -> Iterable[str]:
    """The lines; `added` stand behind the last directive, or behind the first line of a script without one."""
    directives = {each.first: each for each in script.directives}
    skip = {line for each in script.directives for line in range(each.first + 1, each.last + 1)}
    end = max(directives, default=1 if script.lines[0].startswith("#!") else 0)
    if not end:
        yield from added
    for number, line in enumerate(script.lines[: script.body - 1], 1):
        found = directives.get(number)
        if found and found.comment:
            yield f"# {found.comment.lstrip('# ')}"  # which must not look like a directive
        if found:
            yield from at.get(number, () if found.words else ("#",))
        elif number not in skip:
            yield line
        if number == end:
            yield from added


def _late(script: Script) -> Iterable[Note]:
    for number in script.late:
        text = script.lines[number - 1].strip()
        yield Note(
            number, text, NEAR, "it stands behind the first command, where it is a comment to both: left as it is"
        )


# ------------------------------------------------------------------------------------------ where it starts


def _start(script: Script, job: Job, target: str, notes: list[Note]) -> list[str]:
    """What makes the commands start as they did: the folder, and the number of threads."""
    if script.body > len(script.lines):
        return []
    text = "\n".join(script.lines[script.body - 1 :])
    if target == "slurm":
        return _start_as_pbs(script, job, text, notes)
    if script.shell not in {"sh", "csh"}:
        notes.append(
            Note(1, script.lines[0], NEAR, f"{script.shell} begins in the home folder: go to $PBS_O_WORKDIR first")
        )
        return []
    if job.chdir:
        return [_cd(job.chdir, "$PBS_O_WORKDIR")]
    return [] if re.search(_CD.format("SLURM_SUBMIT_DIR"), text, re.MULTILINE) else ['cd "$PBS_O_WORKDIR"']


_CD = r"^\s*(?:cd|pushd)\s+[\"']?\$\{{?{}"


def _cd(folder: str, below: str) -> str:
    return f"cd {shell.quote(folder)}" if posixpath.isabs(folder) else f'cd "{below}"/{shell.quote(folder)}'


def _start_as_pbs(script: Script, job: Job, text: str, notes: list[Note]) -> list[str]:
    if not job.export:
        notes.append(
            Note(
                1, "environment", NEAR,
                "without -V PBS begins with the environment of a login, Slurm with that of the submission: "
                "--export=NONE, and export SLURM_EXPORT_ENV=ALL in the script, come nearest",
            )
        )  # fmt: skip
    if script.shell not in {"sh", "csh"}:
        notes.append(Note(1, script.lines[0], NEAR, "Slurm begins in the folder of the submission, PBS at home"))
        return []
    lines = []
    first = script.lines[script.body - 1].strip()
    if job.chdir:  # not --chdir, from where output is counted too
        lines.append(_cd(job.chdir, "$SLURM_SUBMIT_DIR"))
    elif not re.search(_CD.format("PBS_O_WORKDIR"), text, re.MULTILINE):
        lines += [] if re.match(r"cd(\s+[\"']?[/~$]|$)", first) else ["cd # PBS begins at home"]
    if not job.chunks or job.chunks[0].threads == 1:
        return lines
    if script.shell == "sh" and not re.search(r"^\s*(?:export\s+)?OMP_NUM_THREADS=", text, re.MULTILINE):
        lines.append(f"export OMP_NUM_THREADS={job.chunks[0].threads} # as PBS sets it")
    if job.chunks[0].ranks == 1 and re.search(r"^\s*(mpirun|mpiexec|aprun)\b", text, re.MULTILINE):
        said, cores = job.at["chunks"], job.chunks[0].cpus
        advice = f"without mpiprocs it is one rank; for one on each core: --ntasks-per-node={cores}, no --cpus-per-task"
        notes.append(Note(said.line, said.text, NEAR, advice))
    return lines
