"""The Python API: the command line's use cases as functions.

    from hpcjobs import Job, submit, wait, logs

    job = submit(Job(image="app.sif", nodes=4, command=("./solve", "in.nml")))
    (job,) = wait(job)
    print(job.state, logs(job))

Every function raises the errors of `hpcjobs.errors`. A job is given as the `JobRecord` that `submit` returned,
or as a selector (`"j12"`, `"last"`). A study (`"s4"`) stands for its jobs; `hpcjobs.sweep.Study` knows its points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hpcjobs import studies
from hpcjobs.record import JobRecord
from hpcjobs.service import Selected, Service

if TYPE_CHECKING:
    from hpcjobs.images.report import Report
    from hpcjobs.model import JobSpec, MpiPlan
    from hpcjobs.sweep.record import StudyRecord


def dry_run(job: JobSpec, *, site: str = "", site_file: str = "") -> str:
    """The batch script that `submit` would hand over; nothing is written or queued."""
    return Service().prepare(job, site=site, site_file=site_file).script.text


def mpi_plan(job: JobSpec, *, site: str = "", site_file: str = "") -> MpiPlan:
    """How MPI would run in the job's image, and why; nothing is written or queued. Its `mode` is empty without one.

    Raises:
        PlanError: the ranks would not find each other, or the job cannot run there for another reason.
    """
    return Service().prepare(job, site=site, site_file=site_file).plan.mpi_plan


def submit(job: JobSpec, *, site: str = "", site_file: str = "") -> JobRecord:
    """Submit a job to a site (by default the one that this machine is).

    Raises:
        PlanError: it cannot run there; nothing was queued.
        RefusedError: the scheduler said no; nothing is left behind.
        UnreachableError: the scheduler did not answer.
    """
    return Service().submit(job, site=site, site_file=site_file)


def resubmit(*jobs: JobRecord | str) -> list[JobRecord]:
    """Submit jobs again from their stored requests; `"j12[failed]"` takes the failed tasks of an array."""
    service = Service()
    return service.resubmit(_selected(service, jobs))


def jobs(*, since: float = 0.0) -> list[JobRecord]:
    """All jobs created after `since` (Unix seconds), newest first, as last known: nothing is asked."""
    return Service().history(since=since)


def status(*jobs: JobRecord | str) -> list[JobRecord]:
    """Jobs as they are now: one scheduler command a cluster, whatever their number.

    Raises:
        UnreachableError: a scheduler did not answer.
    """
    service = Service()
    found = service.refresh([chosen.record for chosen in _selected(service, jobs)])
    for error in found.errors:
        raise error
    return found.records


def wait(*jobs: JobRecord | str, timeout: float | None = None) -> list[JobRecord]:
    """Wait until jobs have ended, at most `timeout` seconds; the jobs as they ended, in the order given.

    Of a study, what the queue had no room for is sent meanwhile, and points are run again as they are to be.

    Raises:
        WaitTimeoutError: the time is over; the jobs go on.
    """
    service = Service()
    begin = service.now()

    def left() -> float | None:
        return None if timeout is None else max(0.0, begin + timeout - service.now())

    for study in _studies(service, jobs):
        from hpcjobs.sweep_service import Sweeps

        Sweeps(service).wait(study, timeout=left())
    return service.wait([chosen.record for chosen in _selected(service, jobs)], timeout=left())


def cancel(*jobs: JobRecord | str) -> dict[str, str]:
    """Cancel jobs: {"j12": "" or why not}. Of a study, what was not sent yet stays so."""
    service = Service()
    for study in _studies(service, jobs):
        service.store.stop_study(study.id, stopped=True)
    return {outcome.record.label: outcome.problem for outcome in service.cancel(_selected(service, jobs))}


def logs(job: JobRecord | str, *, stream: Literal["output", "error"] = "output", index: int | None = None) -> str:
    """What a job (of an array: task `index`) or a point (`"s4[17]"`) has written so far; empty before it starts."""
    service = Service()
    if isinstance(job, str) and studies.is_study(job):
        file = studies.log_of_one(service, job)
        return file.read_text("utf-8", "replace") if file.exists() else ""
    (chosen,) = _selected(service, (job,))
    file = service.log_file(chosen.record, stream, index)
    return file.read_text("utf-8", "replace") if file.exists() else ""


def pull_image(name: str, *, site: str = "", form: Literal["", "sif", "squashfs"] = "") -> str:
    """Download an image (`docker://…`, `oras://…`, `library://…`) into the site's folder; its path.

    By default in the form that the site's runtime takes; if that keeps images in a store of its own, it is pulled
    there, and what comes back is its name with the digest.

    Raises:
        NotFoundError: there is no such image.
        PlanError: it needs a login, or is not for this CPU.
        UnreachableError: the registry did not answer.
    """
    from hpcjobs import process
    from hpcjobs import site as sites
    from hpcjobs.image_service import Images
    from hpcjobs.images import reference

    images, asked = Images(sites.choose(site).site, process.run), reference.parse(name)
    return str((images.pull(asked, form) if form else images.pull_for_site(asked))[0])


def inspect_image(image: str) -> Report:
    """What an image file or folder is and what is in it, without running it.

    Raises:
        NotFoundError: there is none.
        PlanError: it is no image, or is cut short.
    """
    from hpcjobs import paths, process
    from hpcjobs.images import report

    return report.report(image, runner=process.run, cache=paths.cache_home() / "images")


def _selected(service: Service, jobs: tuple[JobRecord | str, ...]) -> list[Selected]:
    found: list[Selected] = []
    for job in jobs:
        if isinstance(job, JobRecord):
            found.append(Selected(service.store.get(job.id)))
        else:
            found += studies.jobs_of(service, job) if studies.is_study(job) else service.select([job])
    return found


def _studies(service: Service, jobs: tuple[JobRecord | str, ...]) -> list[StudyRecord]:
    """The studies that are named as a whole."""
    chosen = [studies.select(service, job) for job in jobs if isinstance(job, str) and studies.is_study(job)]
    return [each.study for each in chosen if not each.numbers]
