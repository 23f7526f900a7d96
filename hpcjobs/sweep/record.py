"""What is kept of a study: a row of the database, and `study.json` in its folder.

Points are derived: a study has rounds (the design, each extension, resubmission or retry), a round has a table with a
row a point, and each job of the study runs some rows of one round.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hpcjobs.units import parse_indices

if TYPE_CHECKING:
    from collections.abc import Mapping

# Rounds that bring points of their own; the others run points again.
NEW = frozenset({"design", "extend", "ask"})


@dataclass(frozen=True)
class Round:
    """Points that are run together, a row of `points-R.tsv` each, in ascending order."""

    points: str  # their numbers: 0-99,120
    why: str  # design, extend, ask; failed, missing, chosen; retry timeout, …
    created: float
    time: int = 0  # seconds that a point has in it; 0 = what the study's request says
    mem: int = 0  # bytes; likewise
    mem_per_cpu: int = 0  # bytes; likewise
    script: int = 0  # the round whose script runs its points; 0 = its own

    def numbers(self) -> tuple[int, ...]:
        """The numbers of its points; those of all but a few rounds are one range."""
        return parse_indices(self.points)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self._runs)

    @cached_property
    def _runs(self) -> list[tuple[int, int]]:
        ends = (part.partition("-") for part in self.points.split(","))
        return [(int(first), int(last or first)) for first, _, last in ends]


@dataclass(frozen=True)
class StudyRecord:
    """One study, shown as s4."""

    id: int
    tag: str
    name: str
    site: str
    site_file: str
    folder: str
    workdir: str
    created: float
    names: tuple[str, ...]  # of the parameters
    kinds: tuple[str, ...]  # int, float, bool, str or mixed: of each parameter's values
    points: int
    spec: dict[str, Any]  # the request of one point, as `resubmit` reads it
    rounds: tuple[Round, ...] = ()
    pack: int = 1
    workers: int = 1
    max_running: int = 0
    retry: dict[str, int] = field(default_factory=dict)  # cause: how often
    results: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    place: str = ""  # pattern of a point's own folder below the working directory; empty = it runs there itself
    log: str = ""  # pattern of a point's log; empty = hpcjob's own
    derive: dict[str, str] = field(default_factory=dict)
    where: tuple[str, ...] = ()
    seed: int = 0
    stopped: bool = False  # cancelled: what was not sent is not sent by itself

    @property
    def label(self) -> str:
        """The name people type: `s4`."""
        return f"s{self.id}"

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StudyRecord:
        """The inverse of `to_json`; keys of a newer version are ignored."""
        values = _known(cls, data)
        for key in ("names", "kinds", "results", "inputs", "where"):
            values[key] = tuple(values.get(key, ()))
        values["rounds"] = tuple(Round(**_known(Round, each)) for each in values.get("rounds", ()))
        return cls(**values)


def _known(kind: type[Round | StudyRecord], data: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    return {key: value for key, value in data.items() if key in known}
