"""The options of qsub, of OpenPBS and of TORQUE: read into a `Job`, and written from one.

Sources: qsub(1B) and pbs_resources(7B) of OpenPBS 23.06, qsub(1) of TORQUE 6.1, and what a real OpenPBS took.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError
from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE, arrange, job_name, walltime
from hpcjobs.translate.job import LOST, NEAR, Chunk, Note, Option, Reading, bad, parsed, whole
from hpcjobs.translate.script import PBS
from hpcjobs.units import Duration, Memory, format_indices, parse_indices

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.translate.job import Job
    from hpcjobs.translate.script import Directive

# All letters of both: none needs a value in the one and has none in the other.
_VALUE = frozenset("aAbcCdDeijJkKlLmMNopPqrRStTuvwW")
_NONE = frozenset("fhInVxXz")
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def options(directives: Sequence[Directive]) -> Iterator[Option]:
    """The options of all directives; resources and attributes one by one: `-l walltime`, `-W depend`.

    Raises:
        UsageError: a word is no option, or an option has no value.
    """
    for found in directives:
        words = list(found.words)
        while words:
            word = words.pop(0)
            letter, rest = word[1:2], word[2:]
            if word[0] != "-" or letter not in _VALUE | _NONE:
                raise UsageError(f"line {found.first}: {word!r} is no option of qsub", hint=_NO_OPTION)
            if letter in _NONE:
                words[:0] = [f"-{rest}"] if rest else []
                yield Option(f"-{letter}", "", found.first, f"{PBS} -{letter}")
            elif rest or words:
                yield from _split(letter, rest or words.pop(0), found.first)
            else:
                raise UsageError(f"line {found.first}: {PBS} {word}: the value is missing", hint=f"write {word} VALUE")


_NO_OPTION = "qsub takes no comment behind an option, and a value with blanks needs quotes"


def _split(letter: str, value: str, line: int) -> Iterator[Option]:
    if letter not in "lW":
        yield Option(f"-{letter}", value, line, f"{PBS} -{letter} {quoted(value)}")
        return
    # A list of jobs has commas too: what begins a part is a name and an equals sign.
    for part in re.split(r",(?=[A-Za-z_]\w*=)", value):
        name, _, text = part.strip().partition("=")
        yield Option(f"-{letter} {name.strip()}", text.strip(), line, f"{PBS} -{letter} {quoted(part.strip())}")


def quoted(text: str) -> str:
    """A word of a directive as qsub reads it."""
    if not re.search(r"[\s\"']", text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


# ------------------------------------------------------------------------------------------------- reading


def read(reading: Reading) -> None:
    """Fill the job.

    Raises:
        UsageError: a value cannot be meant so; names the line.
    """
    job = reading.job
    job.name, job.account = reading.text("name", "-N"), reading.text("account", "-A")
    job.chdir, job.mail_user = reading.text("chdir", "-d"), reading.text("mail_user", "-M")
    job.variables, job.shell = reading.text("export", "-v"), reading.text("shell", "-S").partition("@")[0]
    job.export, job.hold = bool(reading.take("export", "-V")), bool(reading.take("hold", "-h"))
    job.time, job.time_min = _time(reading, "time", "-l walltime"), _time(reading, "time_min", "-l min_walltime")
    if "time_min" in job.at:
        job.time = _time(reading, "time", "-l max_walltime") or job.time
    if rerun := reading.take("requeue", "-r"):
        job.requeue = rerun.value == "y"
    if (block := reading.left.get("-W block")) and block.value.lower() in {"true", "t", "y", "1"}:
        reading.take("wait", "-W block")
        job.wait = True
    for step in (_queue, _project, _begin, _array, _dependency, _mail, _priority, _chunks, _output):
        step(reading)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(?:(?:(?:(\d+):)?(\d+):)?(\d+):)?(\d+)(\.\d+)?", text, re.ASCII)
    if not match:
        raise UsageError(f"{text!r} is not a time", hint="write seconds, or HH:MM:SS")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds + bool(match[5])


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)([kmgtp]?)([bw]?)", text.lower(), re.ASCII)
    if not match:
        raise UsageError(f"{text!r} is not an amount of memory", hint="write a whole number and kb, mb, gb or tb")
    return (int(match[1]) << _UNITS[match[2]]) * (8 if match[3] == "w" else 1)


def _time(reading: Reading, into: str, name: str) -> int:
    option = reading.take(into, name)
    return parsed(option, _seconds) if option and option.value else 0


def _queue(reading: Reading) -> None:
    if option := reading.take("queue", "-q"):
        reading.job.queue, _, server = option.value.partition("@")
        if server:
            reading.near(option, f"Slurm is asked for a partition alone; the server {server} may be a cluster: -M")


def _project(reading: Reading) -> None:
    option = reading.left.get("-P")
    if option and not reading.job.account:
        reading.near(option, "what a site charges is the account in Slurm")
        reading.take("account", "-P")
        reading.job.account = option.value


def _begin(reading: Reading) -> None:
    option = reading.left.get("-a")
    if not option:
        return
    digits, _, seconds = option.value.partition(".")
    if not re.fullmatch(r"(\d\d){2,6}(\.\d\d)?", option.value, re.ASCII):
        raise bad(option, f"{option.value!r} is not a time", "write CCYYMMDDhhmm, or hhmm")
    if len(digits) == len("DDhhmm"):
        reading.left.pop("-a")
        reading.lost(option, "Slurm takes no day without its month: --begin=2026-12-31T10:00")
        return
    reading.take("begin", "-a")
    century = "20" if len(digits) == len("YYMMDDhhmm") else ""
    reading.job.begin = century + digits + (f".{seconds}" if seconds else "")


def _array(reading: Reading) -> None:
    if option := reading.take("array", "-J") or reading.take("array", "-t"):
        reading.array(option)


_KINDS = ("after", "afterany", "afterok", "afternotok")


def _dependency(reading: Reading) -> None:
    option = reading.left.get("-W depend")
    if not option:
        return
    found = []
    for part in option.value.split(","):
        kind, *ids = part.split(":")
        kind = re.sub(r"start(?=array)|array$", "", kind).removesuffix("array")
        numbers = [re.fullmatch(r"(\d+)(\[\d*\])?(\.[\w.-]+)?(@[\w.-]+)?", one, re.ASCII) for one in ids]
        if kind not in _KINDS or not ids or not all(numbers):
            reading.left.pop("-W depend")
            reading.lost(option, f"Slurm knows {', '.join(_KINDS)} and singleton, with numbers of jobs")
            return
        found.append((kind, tuple(match[1] for match in numbers if match)))
    reading.take("dependency", "-W depend")
    reading.near(option, "the ids are those of the other machine")
    reading.job.dependency = tuple(found)


_MAIL = {"a": "fail", "b": "begin", "e": "end", "f": "fail", "j": "array"}


def _mail(reading: Reading) -> None:
    option = reading.take("mail", "-m")
    if option and not re.fullmatch(r"[np]|[abefj]+", option.value):
        raise bad(option, f"{option.value!r} is not n or some of a, b, e")
    if option:
        reading.job.mail = frozenset(_MAIL[letter] for letter in option.value if letter in _MAIL)
    elif reading.job.mail_user:  # PBS sends mail about aborted jobs unless told otherwise
        reading.job.mail = frozenset({"fail"})


def _priority(reading: Reading) -> None:
    option = reading.left.get("-p")
    if not option:
        return
    if not re.fullmatch(r"[+-]?\d+", option.value, re.ASCII):
        raise bad(option, f"{option.value!r} is not a whole number")
    if int(option.value) > 0:
        return
    reading.take("nice", "-p")
    reading.near(option, "the scales differ: qsub -p has -1024 to 1023, sbatch --nice millions")
    reading.job.nice = -int(option.value)


# ------------------------------------------------------------------------------ what is asked for: reading


def _chunks(reading: Reading) -> None:
    job = reading.job
    for name, yes in (("-n", ""), ("-l naccesspolicy", "singlejob")):
        if reading.left.get(name, Option("", "-", 0, "")).value == yes:
            job.exclusive = bool(reading.take("exclusive", name))
    if option := reading.take("chunks", "-l select"):
        job.chunks = tuple(_chunk(reading, option, text) for text in option.value.split("+"))
        _place(reading)
    elif option := reading.take("chunks", "-l nodes"):
        job.chunks = tuple(_node(reading, option, text) for text in option.value.split("+"))
        job.place = "scatter" if sum(chunk.count for chunk in job.chunks) > 1 else "free"
    elif option := reading.take("chunks", "-l procs"):
        job.chunks = (Chunk(whole(option, option.value)),)
    elif {"-l ncpus", "-l mem", "-l ngpus", "-l mpiprocs"} & set(reading.left):
        cpus, ranks = reading.number("chunks", "-l ncpus") or 1, reading.number("chunks", "-l mpiprocs") or 1
        job.chunks = (Chunk(1, cpus, ranks, gpus=reading.number("chunks", "-l ngpus")),)
        _place(reading)
    _job_memory(reading)


def _chunk(reading: Reading, option: Option, text: str) -> Chunk:
    """One of a select: `2:ncpus=4:mem=8gb`."""
    words = text.split(":")
    count = whole(option, words.pop(0)) if words[0].isdigit() else 1
    wanted = dict(word.partition("=")[::2] for word in words)
    cpus = whole(option, wanted.pop("ncpus", "1"))
    ranks = whole(option, wanted.pop("mpiprocs", "1"), 0)
    threads = whole(option, wanted.pop("ompthreads", str(-(-cpus // max(1, ranks)))))
    chunk = Chunk(
        count,
        cpus,
        ranks or 1,
        _of(option, wanted.pop("mem", "0")),
        whole(option, wanted.pop("ngpus", "0"), 0),
    )
    if chunk.threads * chunk.ranks != cpus or threads != chunk.threads or not ranks:
        reading.near(
            option,
            f"Slurm gives a rank whole cores, {chunk.threads} here: look at mpiprocs, ompthreads and --cpus-per-task",
        )
    for name, value in wanted.items():
        part = f"{name}={value}"
        reading.notes.append(Note(option.line, f"{part} of {PBS} -l select", LOST, _CHUNK.get(name, _FEATURE)))
    return chunk


_FEATURE = "a feature of nodes (-C NAME), a partition or a licence (-L NAME) may be the site's word for it"
_CHUNK = {
    "host": "--nodelist=NAME asks for hosts by name",
    "vnode": "--nodelist=NAME asks for hosts by name",
    "vmem": "Slurm limits what is resident: --mem",
}


def _of(option: Option, text: str) -> int:
    try:
        return _bytes(text)
    except UsageError as error:
        raise bad(option, error.message, error.hint) from None


def _node(reading: Reading, option: Option, text: str) -> Chunk:
    """One of `nodes=`: `2:ppn=4:gpus=1:property`, or a host's name."""
    text, _, flag = text.partition("#")
    head, *words = text.split(":")
    count = whole(option, head) if head.isdigit() else 1
    if not head.isdigit():
        words.insert(0, f"host={head}")
    wanted = dict(word.partition("=")[::2] for word in words)
    ppn, gpus = whole(option, wanted.pop("ppn", "1")), whole(option, wanted.pop("gpus", "0"), 0)
    for name, value in wanted.items():
        if not value:
            reading.job.at.setdefault("features", option)
            reading.job.features = tuple(dict.fromkeys((*reading.job.features, name)))
            reading.near(option, f"{name} is a property of TORQUE's nodes: sinfo -o '%N %f' shows Slurm's features")
        else:
            reading.notes.append(
                Note(option.line, f"{name}={value} of {PBS} -l nodes", LOST, _CHUNK.get(name, _FEATURE))
            )
    if flag == "excl":
        reading.job.exclusive = True
        reading.job.at.setdefault("exclusive", option)
    return Chunk(count, ppn, ppn, gpus=gpus)


def _place(reading: Reading) -> None:
    """`place=scatter:excl`, for a select."""
    option = reading.take("chunks", "-l place")
    for word in option.value.split(":") if option else ():
        if word in {"free", "pack", "scatter"}:
            reading.job.place = word
        elif word == "vscatter" and option:
            reading.job.place = "scatter"
            reading.near(option, "Slurm's nodes are hosts, not vnodes")
        elif word in {"excl", "exclhost"} and option:
            reading.job.exclusive = True
            reading.job.at.setdefault("exclusive", option)
        elif word != "shared" and option:
            reading.notes.append(
                Note(option.line, f"{PBS} -l place={word}", LOST, "--switches=1 keeps nodes near each other")
            )


def _job_memory(reading: Reading) -> None:
    """`mem` of a whole job is shared among its nodes, `pmem` is a core's."""
    whole_job, core = reading.left.get("-l mem"), reading.left.get("-l pmem")
    count = sum(chunk.count for chunk in reading.job.chunks)
    for option, name in ((whole_job, "-l mem"), (core, "-l pmem")):
        if not option or not count:
            continue
        reading.take("chunks", name)
        size = parsed(option, _bytes)
        if name == "-l mem" and count > 1:
            reading.near(option, f"it is the whole job's, and Slurm's --mem a node's: shared among {count}")
        reading.job.chunks = tuple(
            Chunk(
                each.count,
                each.cpus,
                each.ranks,
                max(each.mem, size * each.cpus if option is core else -(-size // count)),
                each.gpus,
            )
            for each in reading.job.chunks
        )


# ------------------------------------------------------------------------------------------ files: reading


def _output(reading: Reading) -> None:
    """Where output goes by PBS's rules, said in Slurm's words: also where nothing was said."""
    job = reading.job
    torque = "-t" in (option.text.split()[1] for option in [job.at["array"]]) if "array" in job.at else False
    task = ("-%a" if torque else ".%a") if job.array else ""
    number = "%A" if job.array else "%j"
    paths = {}
    for letter, suffix, into in (("-o", "OU", "output"), ("-e", "ER", "error")):
        option = reading.take(into, letter)
        usual = f"%x.{letter[1]}{number}{task}"
        path = _pattern(reading, option) if option else usual
        paths[into] = path + (usual if torque else f"%j.{suffix}") if path.endswith("/") else path
    join = reading.take("error", "-j")
    joined = join.value if join else "n"
    if joined not in {"oe", "eo", "n"}:
        raise bad(join or Option("-j", "", 0, ""), f"{joined!r} is not oe, eo or n")
    if join:
        job.at.setdefault("output", join)
    job.output = paths["error"] if joined == "eo" else paths["output"]
    job.error = paths["error"] if joined == "n" else ""
    if (keep := reading.left.get("-k")) and (keep.value == "n" or "d" in keep.value):
        reading.left.pop("-k")
        reading.near(keep, "nothing to do: Slurm writes output to its place while the job runs")


def _pattern(reading: Reading, option: Option) -> str:
    host, colon, path = option.value.partition(":")
    if not colon or "/" in host:
        host, path = "", option.value
    if host:
        reading.near(option, f"Slurm writes where the job runs: {host} must see the same files")
    path = path.replace("%", "%%").replace("^array_index^", "%a")
    found = re.sub(r"\$\{?(PBS_JOBID|PBS_ARRAY_?ID|PBS_ARRAY_INDEX|PBS_JOBNAME)\}?", lambda m: _MEANT[m[1]], path)
    if "$" in found:
        reading.near(option, "Slurm puts no variables into the name: %j is the job, %a the task, %u the user")
    return found


_MEANT = {"PBS_JOBID": "%j", "PBS_ARRAYID": "%a", "PBS_ARRAY_ID": "%A", "PBS_ARRAY_INDEX": "%a", "PBS_JOBNAME": "%x"}

_LOST = {
    "-p": "only administrators raise priorities in Slurm: ask the site for a QOS (-q)",
    "-P": "the account is said by -A; --wckey=NAME may hold the project",
    "-c": "Slurm has no checkpoints of its own: the program must write them",
    "-k": "Slurm keeps no output on nodes: it is written to its place while the job runs",
    "-R": "--output=/dev/null throws output away",
    "-u": "Slurm runs jobs as who submits them",
    "-C": "Slurm knows #SBATCH alone",
    "-I": "an interactive job is srun --pty bash, or salloc",
    "-X": "srun --x11 shows windows",
    "-x": "an interactive job is srun --pty bash, or salloc",
    "-z": "sbatch --quiet prints nothing",
    "-f": "nothing to do: Slurm's commands leave nothing in the background",
    "-D": "Slurm has no root folder for jobs",
    "-K": "Slurm's pause between TERM and KILL is the site's: KillWait",
    "-b": "nothing to do: sbatch waits for its server by itself",
    "-i": "--array=0-99%10 limits how many tasks run at once",
    "-w": "--chdir=FOLDER sets where the job starts",
    "-T": "call your prologue and epilogue in the script",
    "-L": "write nodes and tasks: --nodes, --ntasks-per-node, --cpus-per-task",
    "-W umask": "Slurm keeps the umask of the submission: write umask into the script",
    "-W group_list": "Slurm runs jobs with your groups; newgrp before sbatch changes the first",
    "-W stagein": "copy the files in the script; sbcast brings one to all nodes",
    "-W stageout": "copy the files at the end of the script",
    "-W sandbox": 'make a folder in the script: cd "$(mktemp -d)"',
    "-W block": "nothing to do: sbatch does not wait unless told to",
    "-l cput": "Slurm limits the walltime alone",
    "-l pcput": "Slurm limits the walltime alone",
    "-l vmem": "Slurm limits what is resident: --mem",
    "-l pvmem": "Slurm limits what is resident: --mem-per-cpu",
    "-l file": "write ulimit -f into the script",
    "-l nice": "write nice before the program",
    "-l place": "--exclusive, --nodes and --ntasks-per-node say it in Slurm",
    "-l qos": "--qos=NAME, if the site has one of that name",
    "-l advres": "--reservation=NAME, if the site has one of that name",
    "-l feature": "--constraint=NAME, if nodes have one of that name",
    "-l software": "--licenses=NAME:1, if the site counts one of that name",
}


def advice(option: Option) -> str:
    """What to do about an option that Slurm does not have."""
    if option.name.startswith("-l "):
        return _LOST.get(option.name, f"a resource of the site's: {_FEATURE}")
    return _LOST.get(option.name, "Slurm has nothing like it: ask the site what it has instead")


# ------------------------------------------------------------------------------------------------- writing


def write(job: Job, notes: list[Note], dialect: str) -> Iterator[tuple[str, str]]:
    """The directives, each with the field of the job that it comes from; what cannot be written is noted."""
    for field, flag, value in _pairs(job, notes, dialect):
        yield field, f"{PBS} {flag}" + (f" {quoted(value)}" if value else "")


def _pairs(job: Job, notes: list[Note], dialect: str) -> Iterator[tuple[str, str, str]]:
    plain = {
        "name -N": _name(job, notes, dialect),
        "queue -q": job.queue,
        "account -A": job.account,
        "begin -a": job.begin,
        "mail -m": _events(job, notes, dialect),
        "mail_user -M": job.mail_user,
        "nice -p": str(-job.nice) if job.nice else "",
        "export -v": job.variables,
    }
    yield from ((*key.split(), value) for key, value in plain.items() if value)  # type: ignore[misc]
    yield from (("chunks", "-l", value) for value in _resources(job, notes, dialect))
    yield from _times(job, notes, dialect)
    yield from (("licenses", "-l", "=".join(_license(part))) for part in job.licenses.split(",") if part)
    if job.hold:
        yield "hold", "-h", ""
    yield from _tasks(job, notes, dialect)
    if job.dependency:
        yield "dependency", "-W", "depend=" + ",".join(":".join((kind, *ids)) for kind, ids in job.dependency)
    if job.wait and dialect == OPENPBS:
        yield "wait", "-W", "block=true"
    elif job.wait:
        _lose(job, notes, "wait", "TORQUE's qsub does not wait: qstat tells the state")
    yield from _files(job, notes, dialect)
    if job.export:
        yield "export", "-V", ""


def _lose(job: Job, notes: list[Note], field: str, what: str, kind: str = LOST) -> None:
    option = job.at[field]
    notes.append(Note(option.line, option.text, kind, what))


def _name(job: Job, notes: list[Note], dialect: str) -> str:
    name = job_name(job.name, dialect) if job.name else ""
    if name != job.name:
        most = "230 of A-Z a-z 0-9 _ . + -" if dialect == OPENPBS else "15 characters, a letter first"
        _lose(job, notes, "name", f"PBS takes at most {most}: it is {name} now", NEAR)
    return name


def _events(job: Job, notes: list[Note], dialect: str) -> str:
    if job.mail is None:
        return ""
    letters = {"fail": "a" if dialect == OPENPBS else "af", "begin": "b", "end": "e", "array": "j"}
    if dialect == TORQUE and "array" in job.mail:
        letters["array"] = ""
    if "fail" in job.mail and dialect == OPENPBS and "end" not in job.mail:
        _lose(job, notes, "mail", "PBS tells that it ended a job, not that a program failed: e tells every end", NEAR)
    if job.mail == {"array"}:
        return "n"
    return "".join(letters[event] for event in ("array", "fail", "begin", "end") if event in job.mail) or "n"


def _times(job: Job, notes: list[Note], dialect: str) -> Iterator[tuple[str, str, str]]:
    if job.time_min and dialect == OPENPBS:
        yield "time_min", "-l", f"min_walltime={walltime(Duration(job.time_min))}"
    elif job.time_min:
        _lose(job, notes, "time_min", "TORQUE takes one walltime")
    if job.time:
        name = "max_walltime" if job.time_min and dialect == OPENPBS else "walltime"
        yield "time", "-l", f"{name}={walltime(Duration(job.time))}"


def _license(part: str) -> tuple[str, str]:
    name, _, count = part.partition(":")
    return name, count or "1"


def _tasks(job: Job, notes: list[Note], dialect: str) -> Iterator[tuple[str, str, str]]:
    """The array, and whether it may start again, which all arrays of OpenPBS may."""
    limit = f"%{job.limit}" if job.limit else ""
    indices = parse_indices(job.array) if job.array else ()
    if indices and dialect == TORQUE:
        yield "array", "-t", format_indices(indices) + limit
    elif indices:
        text, counted = arrange(indices)
        if text and counted == indices:
            yield "array", "-J", text + limit
        else:
            _lose(job, notes, "array", _LIST.format(len(indices) - 1, " ".join(map(str, indices[:8]))))
    if job.requeue is False and indices and dialect == OPENPBS:
        _lose(job, notes, "requeue", "tasks of an array of PBS may always start again")
    elif job.requeue is not None:
        yield "requeue", "-r", "y" if job.requeue else "n"


_LIST = "OpenPBS takes one range of two or more: -J 0-{}, and in the script tasks=({}) and ${{tasks[PBS_ARRAY_INDEX]}}"


# ------------------------------------------------------------------------------ what is asked for: writing


def _resources(job: Job, notes: list[Note], dialect: str) -> Iterator[str]:
    alone = Chunk(1, 1, 1)
    chunks = job.chunks or ((alone,) if job.exclusive else ())
    if chunks and dialect == OPENPBS:
        yield "select=" + "+".join(map(_select, chunks))
        place = [job.place] if job.place != "free" else []
        place += ["excl"] if job.exclusive else []
        if place:
            yield "place=" + ":".join(place)
    elif chunks:
        yield from _nodes(job, chunks, notes)
    if job.features and dialect == OPENPBS:
        _lose(
            job, notes, "features", "add the site's own resource to each chunk of the select: pbsnodes -av shows them"
        )
    if job.exclusive and dialect == OPENPBS and all(chunk.cpus == 1 for chunk in chunks):
        _lose(
            job,
            notes,
            "exclusive",
            "the nodes are yours alone; let ncpus be their cores if the job is to use them",
            NEAR,
        )


def _select(chunk: Chunk) -> str:
    words = [str(chunk.count), f"ncpus={chunk.cpus}"]
    if chunk.ranks > 1:  # else PBS means the same without
        words += [f"mpiprocs={chunk.ranks}", f"ompthreads={chunk.threads}"]
    words += [f"mem={_size(chunk.mem)}"] if chunk.mem else []
    words += [f"ngpus={chunk.gpus}"] if chunk.gpus else []
    return ":".join(words)


def _size(amount: int) -> str:
    """PBS takes no fractions."""
    mebibytes = Memory(amount).mebibytes
    return f"{mebibytes}mb" if mebibytes % 1024 else f"{mebibytes // 1024}gb"


def _nodes(job: Job, chunks: Sequence[Chunk], notes: list[Note]) -> Iterator[str]:
    parts = []
    for chunk in chunks:
        words = [str(chunk.count), f"ppn={chunk.cpus}"]
        words += [f"gpus={chunk.gpus}"] if chunk.gpus else []
        parts.append(":".join([*words, *job.features]))
    yield "nodes=" + "+".join(parts)
    if mem := sum(chunk.count * chunk.mem for chunk in chunks):
        yield f"mem={_size(mem)}"  # of the whole job
    if any(chunk.threads > 1 for chunk in chunks):
        _lose(job, notes, "chunks", "ppn counts cores, not ranks: say the number of ranks to mpirun, -np", NEAR)
    if job.place == "free" and sum(chunk.count for chunk in chunks) > 1:
        _lose(job, notes, "chunks", "some sites take nodes= for hosts: there say nodes=1:ppn=N, or procs=N", NEAR)
    if job.exclusive:
        yield "naccesspolicy=singlejob"
        _lose(
            job, notes, "exclusive", "only Moab and Maui know naccesspolicy; else let ppn be all cores of a node", NEAR
        )


# ------------------------------------------------------------------------------------------ files: writing


def _files(job: Job, notes: list[Note], dialect: str) -> Iterator[tuple[str, str, str]]:
    for field, letter, pattern in (("output", "-o", job.output), ("error", "-e", job.error)):
        if pattern:
            path = _path(job, notes, field, pattern, dialect)
            if path:
                yield field, letter, path
    if not job.error:
        yield "output", "-j", "oe"


def _path(job: Job, notes: list[Note], field: str, pattern: str, dialect: str) -> str:
    """The name that PBS can write, which has neither the job's number nor variables; empty for its own choice."""
    letter = field[0]
    usual = {f"%x.{letter}%j", f"%x.{letter}%A.%a", f"%x.{letter}%A-%a", f"{job.name}.{letter}%j"}
    if pattern in usual:
        return ""
    if job.chdir:
        pattern = posixpath.join(job.chdir, pattern)
    suffix = ".OU" if letter == "o" else ".ER"
    if pattern.endswith(f"/%j{suffix}"):
        return pattern[: -len(f"%j{suffix}")]
    known = {"x": job.name or "%x", "%": "\0"}
    known |= {"a": "^array_index^"} if dialect == OPENPBS and job.array else {}
    path = re.sub(r"%(\d*)(.)", lambda match: known.get(match[2], match[0]), pattern)
    if "%" not in path:
        return path.replace("\0", "%")
    folder = posixpath.dirname(path)
    folder = f"{folder}/" if folder and "%" not in folder else ""
    where = f"to a file of PBS's choice in {folder}" if folder else f"to NAME.{letter}NUMBER where qsub was typed"
    stream = ">" if letter == "o" else "2>"
    both = " 2>&1" if letter == "o" and not job.error else ""
    _lose(
        job, notes, field,
        f"PBS puts no number of the job into a name: it goes {where}; to keep the name, write into the script: "
        f'exec {stream}"{_expanded(pattern, dialect)}"{both}', NEAR,
    )  # fmt: skip
    return folder.replace("\0", "%")


def _expanded(pattern: str, dialect: str) -> str:
    """The pattern as a word of the shell."""
    number = "${PBS_JOBID%%[.[]*}"
    words = {
        "j": number,
        "A": number,
        "J": number,
        "a": "$PBS_ARRAY_INDEX" if dialect == OPENPBS else "$PBS_ARRAYID",
        "x": "$PBS_JOBNAME",
        "u": "$USER",
        "N": "$HOSTNAME",
        "%": "%",
    }
    return re.sub(r"%\d*(.)", lambda match: words.get(match[1], "0"), pattern)
