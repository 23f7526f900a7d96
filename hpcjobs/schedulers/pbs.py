"""PBS, by its commands: OpenPBS and PBS Professional, TORQUE, and Slurm's look-alikes of TORQUE's commands.

Which of them this is, is asked for (`identify`) and kept with each job. The parsers are functions from text to values.
Sources: qsub(1B), qstat(1B), qselect(1B), qdel(1B) and pbs_job_attributes(7B) of OpenPBS 23.06, job.h and qstat.c
there, the manual of TORQUE 6.1, and what real servers answered (tests/data/pbs).
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import paths, shell
from hpcjobs.errors import PlanError, RefusedError, UnreachableError
from hpcjobs.record import JobState, JobStatus, Tasks
from hpcjobs.schedulers import LOGINS, Diagnosis, Explanation
from hpcjobs.schedulers.api import Library, asked_for, diagnosed
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE, WRAPPER, arrange, spell
from hpcjobs.schedulers.pbs_words import (
    FINISHED_JOB,
    NO_HISTORY,
    OPENPBS_ENDS,
    TORQUE_ENDS,
    UNKNOWN_JOB,
    after_waiting,
    explain_status,
    message,
    nothing_sent,
    per_id,
    refusal_hint,
    unreachable,
    unreachable_hint,
)
from hpcjobs.units import Duration, Memory, format_indices

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hpcjobs.model import NodeShape, Partition, Plan
    from hpcjobs.process import Completed, Runner
    from hpcjobs.record import JobRecord

# What stands between attributes in `qstat -F dsv`: no name and no value has it.
_UNIT = "\x1f"
# Variables of a job that this one is submitted from, and such as would bend the commands; those that say where the
# server is are kept.
_SCRUB = ("PBS_", "SBATCH_", "SLURM_", "SRUN_", "SALLOC_", "PMI_", "PMIX_")
_KEEP = {"PBS_SERVER", "PBS_DEFAULT", "PBS_CONF_FILE", "PBS_EXEC", "PBS_HOME", "PBS_AUTH_METHOD", "SLURM_CONF"}
# qdel of an array of 10,000 took 17 s, and a client that finds no reserved port waits for 61 s.
_PATIENCE = 120.0
# More ids in one dependency crashed a server (300 did), and sites limit the length.
_MOST_PARENTS = 100
# TORQUE's server said "cannot locate new job" to each script of 64 kB and more (bytes).
_LONGEST = 60_000
# Slurm's qstat ends so, without a word, where there is none of the jobs.
_NONE_FOUND = 153
_ID = re.compile(r"(\d{1,18})(\[(\d{0,18})\])?(?:\.[\w.-]+)?", re.ASCII)
_GONE = "PBS no longer has it in its queues"
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

Attributes = dict[str, str]
Key = tuple[int, "int | None"]
"""A job, or a task of an array: the number, and the index that PBS gave it."""


class Pbs:
    """The PBS of this machine; `options` are the site's `scheduler` section.

    `options["extra"]` may hold `dialect` (else the commands are asked), `chunk` (what each chunk of a `select` gets,
    such as `system=polaris`) and `account` (the option that names it, -A or -P).
    """

    name = "pbs"

    def __init__(self, options: Mapping[str, Any], runner: Runner) -> None:
        self._commands = runner
        self._timeout = float(options.get("timeout", 30))
        self._submit_timeout = float(options.get("submit_timeout", 60))
        self._accounting = bool(options.get("accounting", True))
        self._extra = dict(options.get("extra") or {})
        self._known = str(self._extra.get("dialect") or "").replace("pbspro", OPENPBS)
        self._api = asked_for(options)
        self._run = self._library() or runner

    # ------------------------------------------------------------------------------------ commands

    def _ask(self, *argv: str, timeout: float = 0) -> Completed:
        told = self._run(argv, timeout=timeout or self._timeout, env={**environment(os.environ), "TZ": "UTC"})
        answer = after_waiting(told)
        if answer.code and (problem := unreachable(answer.err + answer.out)):
            raise UnreachableError(f"{argv[0]}: {problem}", hint=unreachable_hint(answer.err))
        return answer

    @property
    def _dialect(self) -> str:
        if not self._known:
            self._known = self._identify()
        return self._known

    def _library(self) -> Library | None:
        """What answers instead of the commands, if the site wants it and it loads."""
        if not self._api or self._extra.get("api") != "":
            return None
        return _libraries(self._commands).get(self._known)

    @property
    def identified(self) -> bool:
        """Whether the dialect is known, and whether the library loads, if the site wants it."""
        return bool(self._known) and (not self._api or "api" in self._extra)

    def identify(self) -> dict[str, Any]:
        """Which PBS this is (`qstat --version`); with `driver: api`, why its library is not used (empty: it is)."""
        dialect = self._known or self._identify()
        if not self._api:
            return {"dialect": dialect}
        library = _libraries(self._commands).get(dialect)
        problem = (
            library.problem(timeout=self._timeout, env=environment(os.environ))
            if library
            else "Slurm's look-alike of TORQUE has none: kind: slurm has"
        )
        return {"dialect": dialect, "api": problem}

    def _identify(self) -> str:
        answer = self._ask("qstat", "--version")
        dialect = parse_version(answer.out + answer.err)
        if not dialect:
            raise UnreachableError(
                f"which PBS this is cannot be told: qstat --version said {message(answer.out + answer.err)!r}",
                hint="the site file may say it: scheduler: {extra: {dialect: openpbs}} (or torque)",
            )
        return dialect

    def spell(self, plan: Plan) -> dict[str, Any]:
        """What the template writes of the plan in this dialect."""
        chunk, account = str(self._extra.get("chunk", "")), str(self._extra.get("account", "-A"))
        return spell(plan, self._dialect, chunk=chunk, account=account)

    def submit(self, script: Path, *, tag: str, record: JobRecord, keep_fds: Sequence[int] = ()) -> str:
        """`qsub`; the tag stands in the script's path, which PBS keeps with the job (or in the name, for Slurm's)."""
        del tag
        argv = self._submission(script)
        told = self._run(argv, timeout=self._submit_timeout, env=environment(os.environ), keep_fds=keep_fds)
        answer = after_waiting(told)
        if answer.code == 0:
            if native_id := parse_submit(answer.out):
                return native_id
            raise UnreachableError(
                f"qsub succeeded but named no job: {message(answer.out + answer.err) or 'no output'}",
                hint=f"{record.label} is kept; the next hpcjob command looks for it in the queue",
                maybe_done=True,
            )
        text = answer.err + answer.out if self._dialect == WRAPPER else answer.err
        problem = message(text)
        if cause := unreachable(text):
            raise UnreachableError(f"qsub: {cause}", hint=unreachable_hint(text), maybe_done=not nothing_sent(text))
        if answer.code < 0 or not problem:
            raise UnreachableError(
                f"qsub ended with code {answer.code} and without a word", hint=unreachable_hint(""), maybe_done=True
            )
        # TORQUE numbers its errors otherwise, and Slurm's commands do not.
        code = answer.code if self._dialect == OPENPBS else 0
        raise RefusedError(f"PBS refused the job: {problem}", hint=refusal_hint(code, problem))

    def _submission(self, script: Path) -> tuple[str, ...]:
        if self._dialect == OPENPBS:
            # Without -f, a qsub in the background answers for the next ones too, with the words of the last one.
            return "qsub", "-f", str(script)
        if self._dialect == TORQUE:
            return "qsub", str(_handed_over(script))
        if not re.fullmatch(r"[\w./+@%,:-]+", str(script), re.ASCII):
            raise RefusedError(
                f"Slurm's qsub cannot submit {script}: it takes a path with blanks for several",
                hint="choose a folder without: export HPCJOBS_HOME=/a/folder, or jobs_folder in the site file",
            )
        # It gives the files names of its own choice otherwise, which win over those in the script.
        return "qsub", "-j", "oe", "-o", "/dev/null", str(script)

    def poll(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """One `qstat` for all of them; jobs that have ended are left out, but by TORQUE for a while."""
        found = self._status(jobs, history=False)
        return _gather(found, jobs, self._dialect)

    def accounting(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """The server's job history (`qstat -x`), where it has one: OpenPBS keeps none unless told to."""
        if not self._accounting or self._dialect != OPENPBS:
            return {}
        return _gather(self._status(jobs, history=True), jobs, self._dialect)

    def _status(self, jobs: Sequence[JobRecord], *, history: bool) -> dict[Key, Attributes]:
        ids = list(dict.fromkeys(job.native_id for job in jobs))
        arrays = any("[" in native_id for native_id in ids)
        tasks = ("-t",) if arrays and self._dialect != WRAPPER else ()
        if self._dialect == OPENPBS:
            # -E: one request for all, and unknown ids are left out without a word.
            past = ("-x",) if history else ()
            answer = self._ask("qstat", "-E", *past, *tasks, "-f", "-F", "dsv", "-D", _UNIT, *ids)
            if NO_HISTORY in answer.err:
                return {}
            found = parse_dsv(answer.out)
        else:
            # Slurm's lists tasks that have begun as jobs of their own: the array's name tells which.
            everything = self._dialect == WRAPPER and any(job.array for job in jobs)
            answer = self._ask("qstat", "-f", *tasks, *(() if everything else ids))
            found = parse_text(answer.out)
            if self._dialect == WRAPPER and answer.code == _NONE_FOUND:
                return {}
        if answer.code:
            lines = answer.err.splitlines()
            if complaint := message("\n".join(line for line in lines if not _absent(line))):
                raise RefusedError(f"qstat: {complaint}", hint="hpcjob doctor looks closer")
            if answer.code < 0 or not lines:  # what is not listed is not known to be gone
                raise UnreachableError(
                    f"qstat ended with code {answer.code} and without a word", hint=unreachable_hint("")
                )
        return found

    def target(self, record: JobRecord, indices: Sequence[int]) -> str:
        """The words for qdel; of an array, tasks as PBS counts them."""
        if not indices:
            return record.native_id
        number, dot, server = record.native_id.partition(".")
        number = number.removesuffix("[]")
        if "[]" not in record.native_id and self._dialect == OPENPBS:
            return record.native_id  # an array of one task is no array to PBS
        places = [record.indices().index(index) for index in indices]
        wanted = [arrange(record.indices())[1][place] for place in places] if self._dialect == OPENPBS else [*indices]
        runs = format_indices(wanted).split(",") if self._dialect == OPENPBS else [str(index) for index in wanted]
        return " ".join(f"{number}[{run}]{dot}{server}" for run in runs)

    def cancel(self, targets: Sequence[str]) -> dict[str, str]:
        """One `qdel` for all that PBS knows: an unknown id at the end of the list crashed a server (OpenPBS, 2026)."""
        if self._dialect == WRAPPER and any("[" in target for target in targets):
            raise RefusedError(
                "Slurm's qdel cancels an array as a whole only", hint="leave out the [tasks], or use scancel"
            )
        known = self._known_numbers(targets)
        numbers = {target: target.partition(".")[0].partition("[")[0] for target in targets}
        alive = [target for target in targets if numbers[target] in known]
        alive.sort(key=lambda target: known[numbers[target]] in _WAITING)  # last what does not end by itself meanwhile
        problems = {target: "" if target in alive else _GONE for target in targets}
        if alive:
            words = [word for target in alive for word in target.split()]
            answer = self._ask("qdel", *words, timeout=max(self._timeout, _PATIENCE))
            if self._dialect == WRAPPER and answer.code > 0 and not message(answer.err + answer.out):
                # It says nothing of jobs that have ended, and has cancelled the others.
                problems.update({target: _GONE for target in alive if known[numbers[target]] in _OVER})
            else:
                problems.update(per_id(alive, answer))
        return problems

    def _known_numbers(self, targets: Sequence[str]) -> dict[str, str]:
        """The jobs among the targets that are in a queue, and their letters."""
        names = [re.sub(r"\[[^]]+\]", "[]", target.split()[0]) for target in targets]
        if self._dialect == OPENPBS:
            found = parse_dsv(self._ask("qstat", "-E", "-f", "-F", "dsv", "-D", _UNIT, *names).out)
        else:
            # Without -t, TORQUE lists all jobs when it is asked for an array.
            tasks = ("-t",) if self._dialect == TORQUE and any("[" in name for name in names) else ()
            found = parse_text(self._ask("qstat", "-f", *tasks, *names).out)
        return {str(number): attributes.get("job_state", "") for (number, _), attributes in found.items()}

    def hold(self, targets: Sequence[str]) -> dict[str, str]:
        """`qhold`."""
        return per_id(targets, self._ask("qhold", *targets))

    def release(self, targets: Sequence[str]) -> dict[str, str]:
        """`qrls`."""
        return per_id(targets, self._ask("qrls", *targets))

    def requeue(self, targets: Sequence[str]) -> dict[str, str]:
        """`qrerun`, which most sites leave to their operators."""
        if self._dialect == WRAPPER:
            return dict.fromkeys(targets, "Slurm's qrerun does not work: use scontrol requeue")
        return per_id(targets, self._ask("qrerun", *targets))

    def find(self, tags: Mapping[str, float]) -> dict[str, str]:
        """By the path of the script among the arguments of the submission: one `qselect`, one `qstat`."""
        if self._dialect != OPENPBS:
            return parse_tags(self._ask("qstat", "-f").out, tags)
        user = pwd.getpwuid(os.getuid()).pw_name
        ids = self._ask("qselect", "-x", "-u", user)
        if NO_HISTORY in ids.err:
            ids = self._ask("qselect", "-u", user)
        if ids.code:
            raise RefusedError(f"qselect: {message(ids.err)}", hint="hpcjob doctor looks closer")
        if not ids.out.split():
            return {}
        answer = self._ask("qstat", "-E", "-x", "-f", "-F", "dsv", "-D", _UNIT, *ids.out.split())
        if NO_HISTORY in answer.err:
            answer = self._ask("qstat", "-E", "-f", "-F", "dsv", "-D", _UNIT, *ids.out.split())
        return parse_tags(answer.out, tags)

    def explain(self, job: JobRecord) -> Explanation:
        """The queue's own comment, in words."""
        status = self.poll([job]).get(job.native_id)
        if status is None:
            return Explanation("", "PBS no longer knows the job", f"hpcjob status {job.label} finds its end")
        if self._dialect == WRAPPER and status.state is JobState.PENDING:
            return Explanation("", "Slurm's qstat does not say why it waits", f"squeue -j {job.native_id} does")
        return explain_status(status)

    def dependency(self, kind: str, native_ids: Sequence[str]) -> str:
        """PBS's own syntax; TORQUE has words of its own for arrays."""
        if kind in {"singleton", "aftercorr"}:
            raise PlanError(f"PBS has no dependency {kind}", hint="use afterok:JOB or afterany:JOB")
        if len(native_ids) > _MOST_PARENTS:
            raise PlanError(
                f"{len(native_ids)} jobs to wait for are too many for PBS: long lists have crashed servers",
                hint=f"make them one array (-a), or wait for at most {_MOST_PARENTS}",
            )
        if self._dialect != TORQUE:
            return ":".join((kind, *native_ids))
        single = [native_id for native_id in native_ids if "[" not in native_id]
        arrays = [native_id for native_id in native_ids if "[" in native_id]
        whole = kind.replace("after", "afterstart", 1) if kind == "after" else kind
        clauses = ((kind, single), (f"{whole}array", arrays))
        return ",".join(":".join((word, *found)) for word, found in clauses if found)

    def partitions(self) -> dict[str, Partition]:
        """The queues and their limits, and the largest node: which queue has which nodes, PBS does not say."""
        if self._dialect == OPENPBS:
            queues = _lines_of(self._ask("qstat", "-Q", "-f", "-F", "dsv", "-D", _UNIT).out, "Queue: ")
            nodes = _lines_of(self._ask("pbsnodes", "-a", "-F", "dsv", "-D", _UNIT).out, "Name=")
        else:
            queues = _blocks_of(self._ask("qstat", "-Q", "-f").out, "Queue:")
            nodes = parse_nodes(self._ask("pbsnodes", "-a").out)
        return parse_queues(queues, nodes, self._server()[1].get("default_queue", ""))

    def _server(self) -> tuple[str, Attributes]:
        """The server's name and settings; Slurm has none."""
        if self._dialect == WRAPPER:
            return "", {}
        if self._dialect == OPENPBS:
            found = _lines_of(self._ask("qstat", "-B", "-f", "-F", "dsv", "-D", _UNIT).out, "Server: ")
        else:
            found = _blocks_of(self._ask("qstat", "-B", "-f").out, "Server:")
        return next(iter(found.items()), ("", {}))

    def diagnose(self) -> Diagnosis:
        """What the server says of itself, and whether its library is used."""
        diagnosis = self._diagnose()
        return diagnosed(diagnosis, self.identify()["api"]) if self._api else diagnosis

    def _diagnose(self) -> Diagnosis:
        if self._dialect == WRAPPER:
            self._ask("qstat", "-Q")
            return Diagnosis("Slurm's look-alike of TORQUE", {"dialect": self._dialect})
        server, settings = self._server()
        wanted = ("default_queue", "scheduling", "job_history_enable", "max_array_size", "max_job_array_size")
        details = {key: settings[key] for key in wanted if key in settings}
        return Diagnosis(settings.get("pbs_version", ""), {"dialect": self._dialect, "server": server, **details})


def _handed_over(script: Path) -> Path:
    """The script, or where it is too long for TORQUE's server, one that runs it."""
    if script.stat().st_size < _LONGEST:
        return script
    lines = script.read_text("utf-8", "surrogateescape").splitlines()
    head = itertools.takewhile(lambda line: line.startswith("#"), lines)
    short = script.with_name("submit.sh")
    paths.write_private(short, "\n".join((*head, "", f"exec bash {shell.quote(str(script))}", "")))
    return short


def _libraries(commands: Runner) -> dict[str, Library]:
    """What can answer instead of the commands, by dialect."""
    return {
        OPENPBS: Library(commands, "pbs_api.py", "libpbs", answers=("qstat", "qsub", "qdel")),
        # Its qsub runs the site's submit filter, which no library does.
        TORQUE: Library(commands, "pbs_api.py", "pbs-python", answers=("qstat", "qdel")),
    }


def environment(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would bend qsub and qstat, or belongs to a job that this is called from."""
    own = {key: value for key, value in caller.items() if key in _KEEP or not key.startswith(_SCRUB)}
    return {key: value for key, value in own.items() if key not in LOGINS}


def _absent(line: str) -> bool:
    return UNKNOWN_JOB in line or FINISHED_JOB in line


# -------------------------------------------------------------------------------------------- parsers


def parse_version(text: str) -> str:
    """The dialect, from what `qstat --version` wrote; empty if it is none that is known."""
    if "pbs_version" in text:
        return OPENPBS
    if "Unknown option: version" in text:
        return WRAPPER
    return TORQUE if re.search(r"^version: ", text, re.MULTILINE | re.IGNORECASE) else ""


def parse_submit(text: str) -> str:
    """The id in qsub's answer (`12.server`, `12[].server`, `12`), which may stand below a banner; empty if none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines and _ID.fullmatch(lines[-1]) else ""


def parse_key(native_id: str) -> Key | None:
    """`12.server` -> (12, None), `12[3].server` -> (12, 3), `12[].server` -> (12, None); None if it is no id."""
    match = _ID.fullmatch(native_id)
    return (int(match[1]), int(match[3]) if match[3] else None) if match else None


def parse_dsv(text: str) -> dict[Key, Attributes]:
    """Read `qstat -f -F dsv -D US`: a line a job, every value a string."""
    return _by_key(_lines_of(text, "Job Id: "))


def _lines_of(text: str, head: str) -> dict[str, Attributes]:
    found = {}
    for line in text.split("\n"):
        if line.startswith(head):
            name, *parts = line.removeprefix(head).split(_UNIT)
            found[name] = dict(part.partition("=")[::2] for part in parts)
    return found


def parse_text(text: str) -> dict[Key, Attributes]:
    """Read `qstat -f`: an attribute a line, continued on lines that begin with a tab (Slurm's: all begin with one)."""
    return _by_key(_blocks_of(text, "Job Id:"))


def _blocks_of(text: str, head: str) -> dict[str, Attributes]:
    found: dict[str, Attributes] = {}
    block: Attributes = {}
    last, tabs = "", False
    for line in text.split("\n"):
        if line.startswith(head):
            tabs = line.startswith(head + "\t")
            block = found.setdefault(line.removeprefix(head).strip(), {})
        elif line.startswith("\t") and not tabs:
            if last:
                block[last] += line[1:]
        elif match := re.match(r"\s+([\w.]+) = (.*)", line, re.ASCII):
            last = match[1]
            block[last] = match[2]
    return found


def _by_key(found: Mapping[str, Attributes]) -> dict[Key, Attributes]:
    keyed = ((parse_key(native_id), attributes) for native_id, attributes in found.items())
    return {key: attributes for key, attributes in keyed if key}


def parse_tags(text: str, tags: Iterable[str]) -> dict[str, str]:
    """Which of the tags stand in which job's record; a record begins with its id."""
    wanted = set(tags)
    found: dict[str, str] = {}
    for record in re.split(r"^Job Id:\s*", text, flags=re.MULTILINE)[1:]:
        native_id = re.split(rf"[\s{_UNIT}]", record, maxsplit=1)[0]
        # A value may be broken anywhere, and goes on in the next line.
        for tag in re.findall(r"(?<![0-9a-f])[0-9a-f]{12}(?![0-9a-f])", record.replace("\n\t", "")):
            if tag in wanted and parse_key(native_id):
                # Of a Slurm array's tasks, which all have the tag, the first has the array's id.
                found[tag] = min(found.get(tag, native_id), native_id, key=lambda one: (parse_key(one) or (0, None))[0])
    return found


# ---------------------------------------------------------------------------------------------- states

# qstat(1B): the letters of job_state; E, F, X and C are looked at more closely.
_STATES = {
    "Q": JobState.PENDING,
    "W": JobState.PENDING,  # for its time (-a)
    "T": JobState.PENDING,  # on its way to another queue or server
    "H": JobState.HELD,
    "R": JobState.RUNNING,
    "B": JobState.RUNNING,  # an array with tasks that have begun
    "S": JobState.RUNNING,  # suspended, which keeps its nodes
    "U": JobState.RUNNING,  # suspended while somebody works at the machine
    "E": JobState.COMPLETING,
}
_OVER = {"F", "X", "C"}
_WAITING = {"Q", "H", "W"}
_OVER_IN_SLURM = {"C", "U"}  # it has no letter for some ends (out of memory, deadline)
# job.h: JOB_SUBSTATE_DEPNHOLD, _FINISHED, _FAILED, _TERMINATED.
_WAITS_FOR_JOB, _FINISHED, _FAILED, _TERMINATED = "22", "92", "93", "91"
_WAITS = re.compile(r"(^|,)(after|syncwith|on:)")  # TORQUE shows no substate
_OF_ARRAYS = {_FINISHED: JobState.DONE, _FAILED: JobState.FAILED, _TERMINATED: JobState.CANCELLED}
_OF_OPENPBS = {
    -29: JobState.TIMEOUT,
    -28: JobState.TIMEOUT,
    -27: JobState.OOM,
    -26: JobState.OOM,
    -20: JobState.NODE_FAIL,
}
_OF_TORQUE = {-12: JobState.TIMEOUT, -11: JobState.TIMEOUT, -10: JobState.OOM}
# A job's process that was ended by a signal leaves 256 and its number, its shell 128 (pbs_job_attributes(7B)).
_BY_SIGNAL, _BY_SHELL, _SIGNALS = 256, 128, 64
_TERM = _BY_SIGNAL + 15


def read_status(attributes: Attributes, dialect: str = OPENPBS) -> JobStatus:
    """What the attributes of a job, or of a task of an array, say; an unknown word becomes `unknown` with the word."""
    letter = attributes.get("job_state", "")
    if dialect == WRAPPER and letter == "Q" and attributes.get("Priority") == "0":
        letter = "H"  # it has no letter for held jobs; Slurm gives them this priority
    comment = attributes.get("comment", "")
    runs = _number(attributes.get("run_count", "")) or 0
    nodes = _nodes(attributes.get("exec_host", ""))
    started = _time(_first(attributes, *(("mtime",) if dialect == WRAPPER else ("stime", "start_time"))))
    if letter in (_OVER_IN_SLURM if dialect == WRAPPER else _OVER):
        ended = _time(_first(attributes, "obittime", "comp_time", "mtime"))
        end = _read_end(attributes, dialect)
        return replace(end, started=started if nodes else 0.0, ended=ended, nodes=nodes, restarts=max(runs - 1, 0))
    state = _STATES.get(letter, JobState.UNKNOWN)
    begun = state in {JobState.RUNNING, JobState.COMPLETING}
    reason, raw = "" if begun else comment, letter
    if letter == "H":
        holds = attributes.get("Hold_Types", "")
        raw = f"H {holds}".strip()
        if attributes.get("substate") == _WAITS_FOR_JOB or (
            holds == "s" and _WAITS.search(attributes.get("depend", ""))
        ):
            state, reason = JobState.PENDING, "Dependency"
    return JobStatus(
        state,
        raw=raw,
        reason=reason,
        started=started if begun else 0.0,
        nodes=nodes if begun else "",
        # A job that waits after a run has begun that often.
        restarts=max(runs - 1, 0) if begun else runs,
    )


def _read_end(attributes: Attributes, dialect: str) -> JobStatus:
    letter, substate = attributes.get("job_state", ""), attributes.get("substate", "")
    code = _number(_first(attributes, "Exit_status", "exit_status"))
    ran = bool(attributes.get("exec_host") or attributes.get("run_count"))
    if attributes.get("array") == "True" and code is not None:
        # An array shows the exit status of the task that ended last.
        return JobStatus(_OF_ARRAYS.get(substate, JobState.UNKNOWN), raw=f"{letter} {substate}".strip())
    if dialect == OPENPBS:
        # A task that was deleted before it ran shows the exit status and the substate of the whole array.
        if substate == _TERMINATED or not ran:
            never = "" if ran else "it never began"
            reason = "Dependency" if code is None and substate == _FINISHED and not ran else never
            return JobStatus(JobState.CANCELLED, raw=f"{letter} {substate}".strip(), reason=reason)
        known, words = _OF_OPENPBS, OPENPBS_ENDS
    else:
        if code is None and dialect == WRAPPER:  # which never tells
            return JobStatus(JobState.UNKNOWN, raw=letter)
        if code is None or code == _TERM:
            parent = "as result of dependency" in attributes.get("comment", "")
            return JobStatus(JobState.CANCELLED, raw=f"{letter} {code}", reason="Dependency" if parent else "")
        known, words = _OF_TORQUE, TORQUE_ENDS
    if code is None:
        return JobStatus(JobState.FAILED, raw=f"{letter} {substate}".strip())
    raw = f"{letter} {code}"
    if code < 0:
        return JobStatus(known.get(code, JobState.FAILED), raw=raw, reason=words.get(code, f"PBS says {code}"))
    signal = _signal(code)
    code = _BY_SHELL + signal if signal else code
    return JobStatus(JobState.FAILED if code else JobState.DONE, raw=raw, exit_code=code, signal=signal)


def _first(attributes: Attributes, *names: str) -> str:
    return next((attributes[name] for name in names if attributes.get(name)), "")


def _signal(code: int) -> int:
    if code > _BY_SIGNAL:
        return code - _BY_SIGNAL
    return code - _BY_SHELL if _BY_SHELL < code <= _BY_SHELL + _SIGNALS else 0


def _gather(found: Mapping[Key, Attributes], jobs: Sequence[JobRecord], dialect: str) -> dict[str, JobStatus]:
    statuses = {}
    for job in jobs:
        key = parse_key(job.native_id)
        if dialect == WRAPPER:
            single = _of_slurm(found, job, key)
        elif key and any(number == key[0] for number, _ in found):
            single = read_status(found[key], dialect) if key in found else JobStatus(JobState.UNKNOWN)
        else:
            single = None
        if key and single:
            statuses[job.native_id] = _array_status(found, job, key[0], single, dialect) if job.array else single
    return statuses


def _of_slurm(found: Mapping[Key, Attributes], job: JobRecord, key: Key | None) -> JobStatus | None:
    """What Slurm's look-alike says of a job, or of what is left of an array; it does not say how one ended."""
    name = f".{job.tag}"
    of_job = [
        read_status(attributes, WRAPPER)
        for one, attributes in found.items()
        if one == key or (job.array and attributes.get("Job_Name", "").endswith(name))
    ]
    left = [status for status in of_job if status.raw not in _OVER_IN_SLURM]
    # The tasks that have begun are known from their files.
    return next((status for status in left if status.state is not JobState.RUNNING), left[0] if left else None)


def _array_status(
    found: Mapping[Key, Attributes], job: JobRecord, number: int, whole: JobStatus, dialect: str
) -> JobStatus:
    indices = job.indices()
    places = arrange(indices)[1] if dialect == OPENPBS else indices
    each = {
        index: read_status(found[number, place], dialect)
        for index, place in zip(indices, places, strict=True)
        if (number, place) in found
    }
    if dialect == OPENPBS and whole.state in {JobState.HELD, JobState.PENDING}:
        # The tasks of a held array are queued, each by itself.
        each = {index: whole if status.state is JobState.PENDING else status for index, status in each.items()}
    if not each:
        each = {index: _unlisted(job, index, whole) for index in _not_ended(job)}
    tasks = Tasks.build(
        {index: status.state for index, status in each.items()},
        {index: status.exit_code or 0 for index, status in each.items()},
    )
    overall = tasks.overall() if each else whole.state
    shown = next((status for status in each.values() if status.state is overall), whole)
    return replace(
        shown,
        state=overall,
        started=min((status.started for status in each.values() if status.started), default=0.0),
        ended=max((status.ended for status in each.values()), default=0.0) if overall.final else 0.0,
        restarts=0,
        tasks=tasks,
    )


def _not_ended(job: JobRecord) -> list[int]:
    folder = paths.JobFolder(Path(job.folder))
    return [index for index in job.indices() if not folder.exit_file(index).exists()]


def _unlisted(job: JobRecord, index: int, whole: JobStatus) -> JobStatus:
    """A task that PBS does not list (Slurm's look-alike lists none by its index): its start file tells."""
    if len(job.indices()) > 1 and paths.JobFolder(Path(job.folder)).start_file(index).exists():
        return replace(whole, state=JobState.RUNNING, reason="")
    return whole


def _nodes(exec_host: str) -> str:
    """`n1/0*2+n2/1*2` -> `n1,n2`."""
    return ",".join(dict.fromkeys(part.partition("/")[0] for part in exec_host.split("+") if part))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else None


def _time(text: str) -> float:
    """Unix seconds of `Fri Nov 20 23:59:37 2026` in UTC, or of a number; 0 for anything else."""
    import calendar

    match = re.fullmatch(r"\w{3} (\w{3}) +(\d\d?) (\d\d):(\d\d):(\d\d) ([1-9]\d{3})", text.strip(), re.ASCII)
    if match and match[1] in _MONTHS:
        day, hour, minute, second = (int(match[i]) for i in range(2, 6))
        return float(calendar.timegm((int(match[6]), _MONTHS.index(match[1]) + 1, day, hour, minute, second)))
    return float(max(_number(text) or 0, 0))


def parse_nodes(text: str) -> dict[str, Attributes]:
    """Read TORQUE's `pbsnodes -a`: a name, then lines `key = value`."""
    found: dict[str, Attributes] = {}
    block: Attributes = {}
    for line in text.splitlines():
        if line and not line[0].isspace():
            block = found.setdefault(line.strip(), {})
        elif match := re.match(r"\s+([\w.]+) = (.*)", line, re.ASCII):
            block[match[1]] = match[2]
    return found


def _hosts(nodes: Mapping[str, Attributes]) -> list[NodeShape]:
    """What each host has; OpenPBS may count parts of one as nodes of their own."""
    from hpcjobs.model import NodeShape

    hosts: dict[str, NodeShape] = {}
    for name, node in nodes.items():
        key = node.get("resources_available.host", name)
        one, known = _shape(node), hosts.get(key, NodeShape())
        memory = Memory((known.memory or 0) + (one.memory or 0)) or None
        hosts[key] = NodeShape(cores=known.cores + one.cores, memory=memory, gpus=known.gpus + one.gpus)
    return list(hosts.values())


def _shape(node: Attributes) -> NodeShape:
    from hpcjobs.model import NodeShape

    available = {key.rpartition(".")[2]: value for key, value in node.items() if key.startswith("resources_available.")}
    # TORQUE: `np = 4`, `gpus = 1`, and `status = …,physmem=3072000kb,…`.
    physical = re.search(r"\bphysmem=(\w+)", node.get("status", ""))
    return NodeShape(
        cores=_number(available.get("ncpus", "") or node.get("np", "")) or 0,
        memory=_memory(available.get("mem", "") or (physical[1] if physical else "")),
        gpus=_number(available.get("ngpus", "") or node.get("gpus", "")) or 0,
    )


def _memory(text: str) -> Memory | None:
    match = re.fullmatch(r"(\d{1,18})([kmgt]?)b?", text.lower(), re.ASCII)
    return Memory(int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2]]) if match else None


def parse_queues(
    found: Mapping[str, Attributes], nodes: Mapping[str, Attributes], default: str = ""
) -> dict[str, Partition]:
    """The queues that take jobs, with the limits that they have themselves, and what no host has more of."""
    from hpcjobs.model import NodeShape, Partition

    hosts = _hosts(nodes)
    largest = NodeShape(
        cores=max((host.cores for host in hosts), default=0),
        memory=max((host.memory for host in hosts if host.memory), default=None),
        gpus=max((host.gpus for host in hosts), default=0),
    )
    queues = {}
    for name, settings in found.items():
        if settings.get("enabled", "True").lower() not in {"true", "yes"}:
            continue
        queues[name] = Partition(
            default=name == default,
            max_time=_walltime(settings.get("resources_max.walltime", "")),
            max_nodes=_number(settings.get("resources_max.nodect", "")) or 0,
            nodes=len(hosts),
            node=largest,
        )
    return queues


def _walltime(text: str) -> Duration | None:
    seconds = 0
    for part in text.split(":"):
        number = _number(part)
        if number is None:
            return None
        seconds = seconds * 60 + number
    return Duration(seconds)
