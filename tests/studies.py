"""A study's folder as a job finds it, and its points run by a real bash."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpcjobs import render
from hpcjobs.sweep import command
from hpcjobs.sweep.pointscript import PointScript
from hpcjobs.sweep.values import escape

TAG = "3f9c2a71b2c4"


class Study:
    """A round of points of the parameters `names`; `rows` are their texts, without the number."""

    def __init__(self, folder: Path, names: Sequence[str], rows: Sequence[Sequence[str]], **script: Any) -> None:
        self.folder, self.work = folder / "study", folder / "work"
        for each in (self.folder / "ends", self.folder / "skip", self.work, folder / "claims"):
            each.mkdir(parents=True, exist_ok=True)
        self.claims = folder / "claims"
        self.table = self.folder / "points-1.tsv"
        lines = [("point", *names), *((str(number), *map(escape, row)) for number, row in enumerate(rows))]
        text = "".join("\t".join(line) + "\n" for line in lines)
        self.table.write_bytes(text.encode("utf-8", "surrogateescape"))
        self.script = self.folder / "point-1.sh"
        env = {name: command.value(place) for place, name in enumerate(names, 1)}
        values = {"env": env, "launch": (("true",),), **script}
        points = PointScript(folder=str(self.folder), workdir=str(self.work), **values)
        self.script.write_text(render.render_points(points), "utf-8", "surrogateescape")

    def line(self, first: int, count: int, *more: str) -> list[str]:
        """As a scheduler starts it: a signal that is ignored here is not ignored there."""
        return ["env", "--default-signal", "bash", str(self.script), str(self.table), str(first), str(count), *more]

    def environ(self, **given: str) -> dict[str, str]:
        return {
            **os.environ,
            "HPCJOB_TAG": TAG,
            "HPCJOB_STUDY": "s4",
            "HPCJOB_LIMIT": "60",
            "HPCJOB_CLAIMS": str(self.claims),
            **given,
        }

    def run(self, first: int = 0, count: int = 1, *more: str, **given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(first, count, *more), env=self.environ(**given), capture_output=True, text=True, check=False
        )

    @property
    def ends(self) -> Path:
        return self.folder / "ends" / Path("/proc/sys/kernel/hostname").read_text().strip()

    def ended(self) -> list[tuple[int, str]]:
        """Points that ended, in that order, and their codes."""
        lines = [line.split(" ") for line in self.ends.read_text().splitlines()] if self.ends.exists() else []
        return [(int(fields[2]), fields[3]) for fields in lines if fields[0] == "p"]

    def log(self, point: int) -> str:
        return (self.folder / "log" / str(point // 1000) / f"{point}.log").read_text()


def values(*names: str, workdir: str = "/w") -> Any:
    """What turns a text with placeholders into a word of the script."""

    def word(text: str) -> str:
        (found,), hidden = command.words([text], names, workdir=workdir)
        assert not hidden
        return found

    return word


def small(**fields: Any) -> PointScript:
    """The least that a script is rendered from."""
    return replace(render.sample_points(full=False), **fields)
