"""PBS, by its commands: OpenPBS and PBS Professional, TORQUE, and Slurm's look-alikes of TORQUE's commands.

Which of them this is, is asked for (`identify`) and kept with each job. What is written for a job is in `pbs_request`,
what the answers mean in `pbs_status` and `pbs_words`. Sources: qsub(1B), qstat(1B), qselect(1B) and qdel(1B) of OpenPBS
23.06, the manual of TORQUE 6.1, and what real servers answered (tests/data/pbs).
"""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hpcjobs import paths, shell
from hpcjobs.errors import PlanError, RefusedError, UnreachableError
from hpcjobs.record import JobState, JobStatus
from hpcjobs.schedulers import LOGINS, Diagnosis, Explanation, Limits
from hpcjobs.schedulers.api import Library, asked_for, diagnosed
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE, WRAPPER, Custom, arrange, spell
from hpcjobs.schedulers.pbs_status import (
    OVER,
    UNIT,
    WAITING,
    Attributes,
    Key,
    blocks_of,
    gather,
    lines_of,
    parse_dsv,
    parse_kinds,
    parse_nodes,
    parse_queues,
    parse_submit,
    parse_tags,
    parse_text,
    parse_version,
)
from hpcjobs.schedulers.pbs_words import (
    FINISHED_JOB,
    NO_HISTORY,
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
from hpcjobs.seen import SeenScheduler, remarks
from hpcjobs.units import format_indices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hpcjobs.limits import Rules
    from hpcjobs.model import Partition, Plan
    from hpcjobs.process import Completed, Runner
    from hpcjobs.record import JobRecord
    from hpcjobs.schedulers import Forecast, Free

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
# The longest array where the server does not say: OpenPBS's default; what TORQUE makes in a few seconds, one task after
# the other; what Slurm has by default.
_USUAL_ARRAY = {OPENPBS: 10_000, TORQUE: 1_000, WRAPPER: 1_001}
_GONE = "PBS no longer has it in its queues"


class Pbs:
    """The PBS of this machine; `options` are the site's `scheduler` section.

    `options["extra"]` may hold `dialect` (else the commands are asked), `chunk` (what each chunk of a `select` gets,
    such as `system=polaris`), `account` (the option that names it, -A or -P) and `request` (select, or totals: ncpus,
    mem and ngpus of the whole job).
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
        # Slurm's commands complain on stdout, where others have the jobs, with words of anybody's in them.
        said = answer.err + (answer.out if self._known == WRAPPER else "")
        if answer.code and (problem := unreachable(said)):
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
        request = str(self._extra.get("request", "select"))
        if request not in ("select", "totals"):
            raise PlanError(f"scheduler.extra.request is {request!r} in the site file", hint="write select or totals")
        custom = Custom(
            chunk=str(self._extra.get("chunk", "")),
            account=str(self._extra.get("account", "-A")),
            totals=request == "totals",
        )
        return spell(plan, self._dialect, custom)

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
        return gather(found, jobs, self._dialect)

    def accounting(self, jobs: Sequence[JobRecord]) -> dict[str, JobStatus]:
        """The server's job history (`qstat -x`), where it has one: OpenPBS keeps none unless told to."""
        if not self._accounting or self._dialect != OPENPBS:
            return {}
        return gather(self._status(jobs, history=True), jobs, self._dialect)

    def _status(self, jobs: Sequence[JobRecord], *, history: bool) -> dict[Key, Attributes]:
        ids = list(dict.fromkeys(job.native_id for job in jobs))
        arrays = any("[" in native_id for native_id in ids)
        tasks = ("-t",) if arrays and self._dialect != WRAPPER else ()
        if self._dialect == OPENPBS:
            # -E: one request for all, and unknown ids are left out without a word.
            past = ("-x",) if history else ()
            answer = self._listing("qstat", "-E", *past, *tasks, "-f", "-F", "dsv", "-D", UNIT, *ids)
            return {} if NO_HISTORY in answer.err else parse_dsv(answer.out)
        # Slurm's lists tasks that have begun as jobs of their own: the array's name tells which.
        everything = self._dialect == WRAPPER and any(job.array for job in jobs)
        return parse_text(self._listing("qstat", "-f", *tasks, *(() if everything else ids)).out)

    def _listing(self, *argv: str) -> Completed:
        """The answer of qstat or qselect, if it is a whole one: what it does not name, is not there."""
        answer = self._ask(*argv)
        if not answer.code or (self._dialect == WRAPPER and answer.code == _NONE_FOUND):
            return answer
        lines = answer.err.splitlines()
        if complaint := message("\n".join(line for line in lines if not _absent(line))):
            raise RefusedError(f"{argv[0]}: {complaint}", hint="hpcjob doctor looks closer")
        if answer.code < 0 or not lines:
            raise UnreachableError(
                f"{argv[0]} ended with code {answer.code} and without a word", hint=unreachable_hint("")
            )
        return answer

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
        alive.sort(key=lambda target: known[numbers[target]] in WAITING)  # last what does not end by itself meanwhile
        problems = {target: "" if target in alive else _GONE for target in targets}
        if alive:
            words = [word for target in alive for word in target.split()]
            answer = self._ask("qdel", *words, timeout=max(self._timeout, _PATIENCE))
            if self._dialect == WRAPPER and answer.code > 0 and not message(answer.err + answer.out):
                # It says nothing of jobs that have ended, and has cancelled the others.
                problems.update({target: _GONE for target in alive if known[numbers[target]] in OVER})
            else:
                problems.update(per_id(alive, answer))
        return problems

    def _known_numbers(self, targets: Sequence[str]) -> dict[str, str]:
        """The jobs among the targets that are in a queue, and their letters."""
        names = [re.sub(r"\[[^]]+\]", "[]", target.split()[0]) for target in targets]
        if self._dialect == OPENPBS:
            found = parse_dsv(self._listing("qstat", "-E", "-f", "-F", "dsv", "-D", UNIT, *names).out)
        else:
            # Without -t, TORQUE lists all jobs when it is asked for an array.
            tasks = ("-t",) if self._dialect == TORQUE and any("[" in name for name in names) else ()
            found = parse_text(self._listing("qstat", "-f", *tasks, *names).out)
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
            return parse_tags(self._listing("qstat", "-f").out, tags)
        user = pwd.getpwuid(os.getuid()).pw_name
        ids = self._listing("qselect", "-x", "-u", user)
        if NO_HISTORY in ids.err:
            ids = self._listing("qselect", "-u", user)
        if not ids.out.split():
            return {}
        answer = self._listing("qstat", "-E", "-x", "-f", "-F", "dsv", "-D", UNIT, *ids.out.split())
        if NO_HISTORY in answer.err:
            answer = self._listing("qstat", "-E", "-f", "-F", "dsv", "-D", UNIT, *ids.out.split())
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
        return parse_queues(self._queues(), self._nodes(), self._server()[1].get("default_queue", ""))

    def survey(self) -> SeenScheduler:
        """What a site file can say of the queues and nodes."""
        name, rules = self._server()[0], self.rules()
        return SeenScheduler(
            kind=self.name,
            version=self.diagnose().version,
            cluster=name,
            partitions=self.partitions(),
            kinds={"": parse_kinds(self._nodes())},
            remarks={queue: tuple(remarks(access)) for queue, access in rules.partitions.items()},
            extra={"dialect": self._dialect},
            unanswered=tuple(filter(None, (rules.unknown,))),
        )

    def _queues(self) -> dict[str, Attributes]:
        if self._dialect == OPENPBS:
            return lines_of(self._ask("qstat", "-Q", "-f", "-F", "dsv", "-D", UNIT).out, "Queue: ")
        return blocks_of(self._ask("qstat", "-Q", "-f").out, "Queue:")

    def _nodes(self) -> dict[str, Attributes]:
        if self._dialect == OPENPBS:
            return lines_of(self._ask("pbsnodes", "-a", "-F", "dsv", "-D", UNIT).out, "Name=")
        return parse_nodes(self._ask("pbsnodes", "-a").out)

    def _server(self) -> tuple[str, Attributes]:
        """The server's name and settings; Slurm has none."""
        if self._dialect == WRAPPER:
            return "", {}
        if self._dialect == OPENPBS:
            found = lines_of(self._ask("qstat", "-B", "-f", "-F", "dsv", "-D", UNIT).out, "Server: ")
        else:
            found = blocks_of(self._ask("qstat", "-B", "-f").out, "Server:")
        return next(iter(found.items()), ("", {}))

    def limits(self) -> Limits:
        """The server's max_array_size and max_queued (pbs_server_attributes(7B)), or TORQUE's max_job_array_size."""
        settings = self._server()[1]
        size = settings.get("max_array_size") or settings.get("max_job_array_size") or ""
        queued = re.search(r"\[u:PBS_GENERIC=(\d+)\]", settings.get("max_queued", ""), re.ASCII)
        return Limits(int(size) if size.isdecimal() else _USUAL_ARRAY[self._dialect], int(queued[1]) if queued else 0)

    def rules(self) -> Rules:
        """The limits of queues and server that PBS would refuse by, or never start for, and who may use which queue."""
        from hpcjobs.limits import Rules
        from hpcjobs.schedulers.pbs_limits import Person, parse_rules

        person = Person(pwd.getpwuid(os.getuid()).pw_name, _groups())
        try:
            server = self._server()[1]
            return parse_rules(self._queues(), server, person, default=server.get("default_queue", ""))
        except (UnreachableError, RefusedError) as error:
            return Rules(unknown=error.message)

    def free(self) -> dict[str, Free]:
        """Queues and nodes, in two commands."""
        from hpcjobs.schedulers.pbs_limits import parse_free

        return parse_free(self._queues(), self._nodes())

    def forecast(self, script: str) -> Forecast:
        """PBS estimates no starts before a job is in the queue."""
        from hpcjobs.schedulers import Forecast

        del script
        return Forecast(why="PBS does not say")

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


def _groups() -> tuple[str, ...]:
    """The names of the groups of this process."""
    names = []
    for number in {os.getgid(), *os.getgroups()}:
        with suppress(KeyError):  # a number without a name
            names.append(grp.getgrgid(number).gr_name)
    return tuple(sorted(names))


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
    return any(words in line for words in (UNKNOWN_JOB, FINISHED_JOB, NO_HISTORY))
