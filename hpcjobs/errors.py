"""Every error that reaches a user, in one tree.

    HpcjobError
    ├── JobFailedError       1    a job ended badly
    ├── UsageError           2    the request is malformed
    ├── SiteError            3    a site file is wrong, or no site fits
    ├── PlanError            3    the job cannot run on that site
    ├── TemplateError        3    a template is wrong
    ├── RefusedError         4    the scheduler said no
    ├── UnreachableError     5    the scheduler could not be asked (transient)
    ├── NotFoundError        6    no such job, site or template
    ├── StoreError           7    the job database or a job folder
    └── WaitTimeoutError   124    the wait ended before the job

An error carries what happened (`message`), what to do about it (`hint`), the exit code of the
command line (sysexits' 70 for a bug) and whether the same call may succeed later (`transient`).
"""

from __future__ import annotations

from typing import ClassVar


class HpcjobError(Exception):
    """Base of every error of hpcjobs."""

    exit_code: ClassVar[int] = 70
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class JobFailedError(HpcjobError):
    """A job that was waited for ended in any state but done."""

    exit_code = 1


class UsageError(HpcjobError):
    """An option, selector or value that cannot be understood."""

    exit_code = 2


class SiteError(HpcjobError):
    """A site file that is wrong, or a machine that no site file describes."""

    exit_code = 3


class PlanError(HpcjobError):
    """A job that cannot run on its site; found before anything was queued."""

    exit_code = 3


class TemplateError(HpcjobError):
    """A batch-script template that does not load or render."""

    exit_code = 3


class RefusedError(HpcjobError):
    """The scheduler was asked and said no: nothing was changed."""

    exit_code = 4


class UnreachableError(HpcjobError):
    """The scheduler did not answer.

    `maybe_done` says whether the request may have arrived all the same (a submission that
    timed out): then the job must be looked for before anything is sent again.
    """

    exit_code = 5
    transient = True

    def __init__(self, message: str, *, hint: str = "", maybe_done: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.maybe_done = maybe_done


class NotFoundError(HpcjobError):
    """A job, site, template or file that does not exist."""

    exit_code = 6


class StoreError(HpcjobError):
    """The job database or a job's folder cannot be read or written."""

    exit_code = 7


class WaitTimeoutError(HpcjobError):
    """The time given to a wait is over; the jobs go on."""

    exit_code = 124
