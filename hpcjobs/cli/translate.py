"""`hpcjob translate`: a batch script of Slurm for PBS, or the other way round."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.cli import out
from hpcjobs.errors import NotFoundError

if TYPE_CHECKING:
    from hpcjobs.cli.options import Dialect, Json, ScriptFile, WriteFor

_KINDS = {"lost": "no equivalent", "near": "not the same"}


def translate(script: ScriptFile, *, to: WriteFor, dialect: Dialect = "", json: Json = False) -> int:
    """Translate a batch script of Slurm to PBS, or of PBS to Slurm.

    The new script is printed; on standard error stands what has no equivalent, or not quite, with its line and what
    to do. Such a directive stays in the script as a comment.
    """
    from hpcjobs.translate import translate

    found = translate(_read(script), to, dialect)
    if json:
        out.dump(
            script=found.script, source=found.source, target=found.target, notes=[asdict(note) for note in found.notes]
        )
        return 0
    out.data(found.script)
    for note in found.notes:
        out.tell(f"line {note.line}: {out.clean(note.text)}")
        out.tell(f"    {_KINDS[note.kind]}: {out.clean(note.advice)}")
    return 0


def _read(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise NotFoundError(f"{name}: {error.strerror}", hint="give a batch script, or - for standard input") from None
    return data.decode("utf-8", "surrogateescape")
