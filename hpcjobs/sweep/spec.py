"""What a person asks of a study: the options of `hpcjob sweep`, the keys of a study file, the arguments of `Study`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcjobs.model import JobSpec
    from hpcjobs.sweep.design import Design


@dataclass(frozen=True, kw_only=True)
class StudySpec:
    """One job, and a space of parameters for it."""

    job: JobSpec
    """The job of one point; `{name}` in its command stands for a value."""
    design: Design
    """Where the points come from."""
    derive: dict[str, str] = field(default_factory=dict)
    """Parameters computed of others: name and expression."""
    where: tuple[str, ...] = ()
    """Expressions that must hold; other points are left out."""
    seed: int = 0
    """What random designs begin with: the same seed gives the same points."""
    name: str = ""
    """Name of the study; by default the job's."""
    pack: int = 1
    """Points in each task of the scheduler."""
    workers: int = 0
    """Points of a pack that run at the same time; by default as many as a node has room for."""
    max_running: int = 0
    """Tasks that may run at once; 0 = as many as the scheduler lets."""
    retry: dict[str, int] = field(default_factory=dict)
    """How often a point is run again by itself, by the cause of its end: {node_fail: 3, timeout: 1}."""
    results: tuple[str, ...] = ()
    """Where the results of a point are: out.json, out.csv, NAME=REGEX, NAME=FILE:/REGEX/."""
    inputs: tuple[str, ...] = ()
    """Input files of a point: templates (FILE.j2[:NAME]), and others, which are linked (FILE[:NAME])."""
    folder: str = ""
    """A point's own folder below the working directory, such as runs/{point}; by default there is one where there are
    input or result files."""
