"""A study whose points come one after the other: an optimiser proposes some, learns what they gave, proposes more.

    study = Study(Job(image="app.sif", command=("solve", "--x", "{x}")), results=["out.json"])
    for _ in range(20):
        trials = [optimiser.ask(space) for _ in range(8)]
        numbers = study.ask(*(trial.params for trial in trials))
        told = {point.number: point for point in study.tell()}
        for trial, number in zip(trials, numbers):
            optimiser.tell(trial, told[number].results["drag"])

`ask` is a question to the machine, `tell` its answer. Each call of `ask` is a round of the study, sent as a job array;
what was asked before is not run again. All other commands (`hpcjob status s4`, …) work beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths, studies
from hpcjobs.errors import UsageError, WaitTimeoutError
from hpcjobs.record import JobState
from hpcjobs.service import Service
from hpcjobs.sweep import table
from hpcjobs.sweep.design import Table
from hpcjobs.sweep.points import Points
from hpcjobs.sweep.record import NEW
from hpcjobs.sweep.results import gather, parse_result, read_results
from hpcjobs.sweep.spec import StudySpec
from hpcjobs.sweep_service import Sweeps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hpcjobs.model import JobSpec
    from hpcjobs.sweep.record import StudyRecord
    from hpcjobs.sweep.values import Value

_PAUSE = 1.0  # seconds between two looks


@dataclass(frozen=True)
class Told:
    """What a point gave."""

    number: int
    parameters: Mapping[str, Value]
    state: JobState
    exit_code: int | None
    seconds: float | None
    results: Mapping[str, Value | None] = field(default_factory=dict)
    problems: tuple[str, ...] = ()  # what of its results could not be read

    @property
    def done(self) -> bool:
        """Whether it ended well, and all of its results could be read."""
        return self.state is JobState.DONE and not self.problems


class Study:
    """A study of one job; it is made by the first `ask`, or was made before (`Study.open`)."""

    def __init__(
        self,
        job: JobSpec,
        *,
        results: Sequence[str] = (),
        inputs: Sequence[str] = (),
        folder: str = "",
        name: str = "",
        pack: int = 1,
        workers: int = 0,
        max_running: int = 0,
        site: str = "",
        site_file: str = "",
        service: Service | None = None,
    ) -> None:
        """Nothing is run or written yet; the arguments are the options of `hpcjob sweep`."""
        self._spec = partial(
            StudySpec,
            job=job,
            name=name,
            pack=pack,
            workers=workers,
            max_running=max_running,
            results=tuple(results),
            inputs=tuple(inputs),
            folder=folder,
        )
        self._site, self._site_file = site, site_file
        self._service = service or Service()
        self._sweeps = Sweeps(self._service)
        self._record: StudyRecord | None = None
        self._numbers: dict[str, int] = {}
        self._asked: dict[int, None] = {}

    @classmethod
    def open(cls, label: str, *, service: Service | None = None) -> Study:
        """A study that exists (`s4`), also one of `hpcjob sweep`.

        Raises:
            NotFoundError: there is none.
        """
        from hpcjobs.service import spec_from_json

        own = service or Service()
        record = studies.select(own, label).study
        study = cls(spec_from_json(record.spec), results=record.results, service=own)
        study._know(record)
        return study

    @classmethod
    def submit(cls, spec: StudySpec, *, site: str = "", site_file: str = "", service: Service | None = None) -> Study:
        """A whole design at once, as `hpcjob sweep` sends it; `tell` gives all of its points.

        Raises:
            UsageError: the design is wrong, or no point is left.
            PlanError: a point cannot run on that site; nothing was queued.
            RefusedError: the scheduler took none of them; nothing is left behind.
        """
        study = cls(spec.job, results=spec.results, service=service)
        record, _ = study._sweeps.submit(spec, site=site, site_file=site_file)
        study._know(record)
        study._asked = dict.fromkeys(range(record.points))
        return study

    def results(self) -> dict[str, list[Value | None]]:
        """All points with their parameters, states and results, column by column: what `hpcjob sweep results` writes.

        Empty before the first `ask`.
        """
        if self._record is None:
            return {}
        now = studies.known(self._service, self._record)
        specs = [parse_result(text, self._record.names) for text in self._record.results]
        return gather(studies.infos(now), specs).columns

    @property
    def label(self) -> str:
        """`s4`; empty before the first `ask`."""
        return self._record.label if self._record else ""

    def ask(self, *points: Mapping[str, Value]) -> list[int]:
        """Have points run; their numbers, in the order given. Points that were asked before keep their number.

        Raises:
            UsageError: the points have not all the same parameters.
            RefusedError: the scheduler took none of them.
        """
        if not points:
            raise UsageError("there is nothing to ask", hint="study.ask({'x': 1.5}, {'x': 2.5})")
        names = self._record.names if self._record else tuple(points[0])
        for point in points:
            if set(point) != set(names):
                raise UsageError(
                    f"a point with the parameters {', '.join(point)}, where {', '.join(names)} are asked for",
                    hint="give each point the same parameters",
                )
        columns = {name: [point[name] for point in points] for name in names}
        spec = self._spec(design=Table(columns))
        if self._record is None:
            record, _ = self._sweeps.submit(spec, site=self._site, site_file=self._site_file)
        else:
            record, _, _ = self._sweeps.extend(self._record, spec, why="ask")
        self._know(record)
        numbers = [self._numbers[line] for line in Points(columns).lines()]
        self._asked.update(dict.fromkeys(numbers))
        return numbers

    def tell(self, *, timeout: float | None = None) -> Iterator[Told]:
        """What was asked and not yet told, as it ends; waits for it, and sends what the queue had no room for.

        Raises:
            WaitTimeoutError: `timeout` seconds are over; what was not told will be by the next call.
        """
        begin = self._service.now()
        while self._asked and self._record:
            now, _ = self._sweeps.tend(self._record)
            time = self._service.now()
            ended = [number for number in self._asked if studies.comes_to_nothing(now, number, time)]
            for number, parameters in table.values(self._record, ended).items():
                del self._asked[number]
                yield self._told(now, number, parameters)
            if not self._asked:
                return
            if timeout is not None and self._service.now() - begin >= timeout:
                raise WaitTimeoutError(
                    f"{len(self._asked)} points of {self.label} have not ended after {timeout:g} s",
                    hint=f"they go on: hpcjob status {self.label}",
                )
            if not ended:
                self._service.sleep(_PAUSE)

    def _told(self, now: studies.Known, number: int, parameters: Mapping[str, Value]) -> Told:
        record, points = now.study, now.points
        specs = [parse_result(text, record.names) for text in record.results]
        folder = studies.folder_of(record, number, parameters)
        log = studies.log_of(record, number, parameters)
        found = read_results(specs, folder, log, {**parameters, "point": number})
        return Told(
            number=number,
            parameters=parameters,
            state=points.states[number],
            exit_code=points.exit_code(number),
            seconds=points.seconds(number),
            results=found.rows[0] if found.rows else {},
            problems=found.problems,
        )

    def _know(self, record: StudyRecord) -> None:
        """Learn the numbers of its points."""
        folder = paths.StudyFolder(Path(record.folder))
        known = len(self._record.rounds) if self._record else 0
        for place, each in enumerate(record.rounds[known:], known + 1):
            if each.why in NEW:
                for line in table.read(folder.table(place))[1:]:
                    number, *fields = line.split("\t")[: 1 + len(record.names)]
                    self._numbers["\t".join(fields)] = int(number)
        self._record = record
