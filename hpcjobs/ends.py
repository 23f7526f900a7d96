"""How jobs end: what the scheduler, the exit files and the accounting say, put together; and that in words.

The order of trust: the queue while it knows the job; the exit file that the job wrote; the accounting; then
`unknown`. The scheduler knows why a job was ended (walltime, memory, node), the job its own exit code.
"""

from __future__ import annotations

import re
import signal as signals
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths
from hpcjobs.record import JobRecord, JobState, JobStatus, Tasks, read_exit_file
from hpcjobs.units import Duration, age, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hpcjobs.sweep.state import Ends

# Seconds for which a wait goes on for a job that left the queue without a word (a late exit file on NFS).
_LOST = 600.0
# Seconds that an exit file, or the line of a point, may come after its job has left the queue.
LATE = 30.0


def written_by_studies(records: Iterable[JobRecord]) -> dict[str, Ends]:
    """What the tasks of studies wrote when they ended, by the tags of jobs; each study's files are read once."""
    tags: dict[Path, set[str]] = {}
    for record in records:
        if record.study:
            tags.setdefault(Path(record.folder).parent, set()).add(record.tag)
    found: dict[str, Ends] = {}
    for folder, wanted in tags.items():
        from hpcjobs.sweep.state import TASKS, read_ends

        found.update(read_ends(paths.StudyFolder(folder).ends, TASKS, wanted))
    return found


def settle(record: JobRecord, told: JobStatus | None, study: Ends | None = None) -> JobStatus:
    """What a job's status is, from what the scheduler told (None: it no longer knows it) and the exit files.

    The tasks of a study write no exit files; `study` is what they wrote instead.
    """
    if record.array:
        return _settle_array(record, told, study)
    if told is not None and not told.state.final:
        return told
    written = read_exit_file(paths.JobFolder(Path(record.folder)).exit_file(), record.native_id)
    if told is None:
        return written or _begun(record)
    if written is None:
        return told
    # The scheduler knows why it ended (walltime, memory, node), the job knows its own exit code.
    return replace(
        told,
        exit_code=written.exit_code,
        signal=written.signal,
        started=written.started,
        ended=written.ended,
        nodes=told.nodes or written.nodes,
    )


def _begun(record: JobRecord) -> JobStatus:
    """What a job that its scheduler forgot, and that wrote no end, wrote when it began."""
    try:
        text = paths.JobFolder(Path(record.folder)).start_file().read_text("utf-8", "replace")
    except OSError:
        text = ""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    start = values.get("start", "")
    return JobStatus(JobState.UNKNOWN, started=float(start) if start.isdecimal() else 0.0, nodes=values.get("host", ""))


def _settle_array(record: JobRecord, told: JobStatus | None, ends: Ends | None) -> JobStatus:
    before = record.tasks.each() if record.tasks else {}
    codes = {int(index): code for index, code in (record.tasks.codes if record.tasks else {}).items()}
    states = {index: state for index, state in before.items() if state.final}
    if told and told.tasks:
        states.update(told.tasks.each())
        codes.update((int(index), code) for index, code in told.tasks.codes.items())
    folder = paths.JobFolder(Path(record.folder))
    some = parse_indices(record.cancelled_tasks) if record.cancelled_tasks else ()
    unwanted = set(record.indices() if record.cancelled else some)
    for index in record.indices():
        state = states.get(index)
        if state is not None and (not state.final or state is JobState.DONE or state is before.get(index)):
            continue
        if record.study:
            written = ends.task(index) if ends else None
        else:
            written = read_exit_file(folder.exit_file(index), record.native_id)
        if written:
            codes[index] = written.exit_code or 0
        # A program that is told to end may end with any code; times of ends are whole seconds.
        by_request = bool(written and written.exit_code and 0 < record.cancelled <= written.ended + 1)
        if state is None and index in unwanted and (not written or written.signal or by_request):
            # Slurm drops a task that was cancelled before its start from the queue at once.
            states[index] = JobState.CANCELLED
        elif state is JobState.FAILED and by_request:
            states[index] = JobState.CANCELLED
        elif state is None:
            states[index] = written.state if written else JobState.UNKNOWN
    tasks = Tasks.build(states, codes)
    base = told or JobStatus(JobState.UNKNOWN)
    return replace(base, state=tasks.overall(), exit_code=max(codes.values(), default=None), tasks=tasks)


def needs_accounting(record: JobRecord, told: Mapping[str, JobStatus], status: JobStatus) -> bool:
    """Whether neither the queue nor the job's own exit file says all: no end at all, or a bad one without a cause."""
    if record.array:
        return bool(_doubtful(record, told.get(record.native_id), status))
    if record.native_id in told:
        return status.state is JobState.FAILED and status.exit_code is None
    return status.state is not JobState.DONE


def _doubtful(record: JobRecord, told: JobStatus | None, status: JobStatus) -> set[int]:
    """The tasks that left the queue since the last poll and did not end well."""
    before = record.tasks.each() if record.tasks else {}
    queued = told.tasks.each() if told and told.tasks else {}
    now = status.tasks.each() if status.tasks else {}
    return {
        index
        for index, state in now.items()
        if index not in queued
        and state is not JobState.DONE
        and not (before[index].final if index in before else False)
    }


def settle_lost(record: JobRecord, status: JobStatus, remembered: Mapping[str, JobStatus], now: float) -> JobStatus:
    """The same for a job that left the queue without a clean end, with what the accounting remembers."""
    memory = remembered.get(record.native_id)
    if record.array and status.tasks:
        states = status.tasks.each()
        known = memory.tasks.each() if memory and memory.tasks else {}
        before = record.tasks.each() if record.tasks else {}
        for index, state in states.items():
            open_end = state is JobState.UNKNOWN or (state.final and state is not JobState.DONE)
            ended_before = index in before and before[index].final
            cancelled = state is JobState.CANCELLED and known.get(index) is JobState.FAILED
            if open_end and not ended_before and index in known and known[index].final and not cancelled:
                states[index] = known[index]
        tasks = Tasks.build(states, {int(index): code for index, code in status.tasks.codes.items()})
        return replace(status, state=tasks.overall(), tasks=tasks)
    if memory and memory.state.final:
        if status.exit_code is None:
            return memory
        return replace(memory, exit_code=status.exit_code, signal=status.signal or memory.signal, ended=status.ended)
    never_ran = status.state is JobState.UNKNOWN and not (record.started or status.started)
    # One that had to be killed writes no end; a late exit file is waited for.
    killed = status.state is JobState.UNKNOWN and now - record.cancelled > LATE
    if record.cancelled and (status.signal or never_ran or killed):
        return replace(status, state=JobState.CANCELLED)
    # A job that was told to end (SIGTERM) when its time was over, on a cluster without accounting.
    full = record.time_limit and status.ended - status.started >= record.time_limit
    return replace(status, state=JobState.TIMEOUT) if status.signal and full else status


def clean_end(record: JobRecord) -> JobStatus | None:
    """The end that a single job wrote, if it is a good one: that needs no word from the scheduler."""
    if record.array:
        return None
    written = read_exit_file(paths.JobFolder(Path(record.folder)).exit_file(), record.native_id)
    return written if written and written.state is JobState.DONE else None


def id_in_its_files(record: JobRecord) -> str:
    """The native id that a job wrote when it began or ended; empty if it has not."""
    folder = paths.JobFolder(Path(record.folder))
    if record.study and (ends := written_by_studies([record]).get(record.tag)):
        return ends.native_id
    tasks = [sorted(folder.root.glob(pattern))[:1] for pattern in ("exit.*", "start.*")]
    for file in (folder.exit_file(), folder.start_file(), *tasks[0], *tasks[1]):
        try:
            match = re.search(r"^id=([\w.\[\]-]+)$", file.read_text("utf-8", "replace"), re.MULTILINE | re.ASCII)
        except OSError:
            continue
        if match:
            return match[1]
    return ""


def is_over(record: JobRecord, now: float) -> bool:
    """Whether a wait for the job may end: it has ended, or left without a word a good while ago."""
    lost = record.state is JobState.UNKNOWN and now - (record.seen or record.created) > _LOST
    return record.state.final or lost


# bash(1), EXIT STATUS; a script whose output cannot be opened ends with 1.
_NO_REDIRECTION, _NOT_EXECUTABLE, _NOT_FOUND = 1, 126, 127


def describe_end(record: JobRecord) -> tuple[str, str]:
    """A bad end in words, and what to do about it."""
    limit = str(Duration(record.time_limit)) if record.time_limit else "its limit"
    whole = f"s{record.study} --failed" if record.study else ""
    again = f"hpcjob resubmit {whole or record.label} runs it again"
    if record.raw == "NOT_SUBMITTED":
        return "it never reached the scheduler: its submission was interrupted", again
    if record.state is JobState.UNKNOWN:
        seen = age(time.time() - (record.seen or record.created))
        return (
            f"it left the queue without a word; last seen {seen} ago",
            "look at its files: hpcjob show " + record.label,
        )
    if record.state is JobState.TIMEOUT:
        return f"it was ended when its walltime was over ({limit})", "ask for more with -t, or let it save and restart"
    if record.state is JobState.OOM:
        return "it was killed for using more memory than it asked for", "ask for more with --mem"
    if record.state is JobState.NODE_FAIL:
        return f"a node failed under it ({record.node_list or 'not known which'})", again
    if record.state is JobState.CANCELLED and record.reason == "Dependency":
        return "the job that it waited for did not end as asked", "hpcjob show " + record.label + " tells which"
    if record.state is JobState.CANCELLED:
        asked = record.cancelled or record.cancelled_tasks
        return ("it was cancelled" if asked else f"it was cancelled by the scheduler ({record.raw})"), again
    if record.array and record.tasks:
        bad = {state: n for state, n in record.tasks.counts().items() if state is not JobState.DONE}
        words = ", ".join(f"{count} {state}" for state, count in bad.items())
        failed = whole or f"'{record.label}[failed]'"
        return f"of its {len(record.indices())} tasks, {words}", f"hpcjob resubmit {failed} runs those again"
    folder = Path(paths.expand_pattern(record.output, native_id=record.native_id, name=record.name)).parent
    if record.exit_code == _NO_REDIRECTION and not folder.is_dir():
        return f"the folder for its output is not there: {folder}", f"make it anew; {again}"
    if record.exit_code is None and record.reason:  # the scheduler ended it, or could not start it
        return record.reason, again
    return describe_exit(record.exit_code, record.signal)


_SIGNAL_ADVICE = {
    "SIGKILL": "often too little memory: ask for more with --mem",
    "SIGSEGV": "the program crashed: run it under a debugger, or check that image and data fit together",
    "SIGILL": "the program was built for another CPU: rebuild it for this machine",
}


def describe_exit(code: int | None, number: int) -> tuple[str, str]:
    """An exit status in words (bash(1), EXIT STATUS) and what to do about it."""
    if number:
        name = signals.Signals(number).name if number in set(signals.Signals) else "?"
        advice = _SIGNAL_ADVICE.get(name, "")
        return f"the program was ended by signal {number} ({name})", advice
    if code == _NOT_FOUND:
        return "exit code 127: the program, or a library of it, was not found", "check the path inside the image"
    if code == _NOT_EXECUTABLE:
        return "exit code 126: the program is not executable", "chmod +x it, or check that it is built for this CPU"
    if not code:  # of a job that failed, the accounting may say 0
        return "it failed, and its exit code is not known", ""
    return f"the program returned exit code {code}", ""
