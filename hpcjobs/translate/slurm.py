"""Slurm's options: read into a `Job`, and written from one.

Source: sbatch(1) of Slurm 22.05 and 24.11, and what that sbatch took when it was tried.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcjobs.errors import UsageError
from hpcjobs.shell import directive
from hpcjobs.translate.job import LOST, NEAR, Chunk, Note, Option, Reading, bad, parsed, whole
from hpcjobs.translate.script import SLURM
from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.translate.job import Job
    from hpcjobs.translate.script import Directive

# A letter stands before the colon where there is one; what follows needs a value (first group), may have one after
# an equals sign (second), or has none.
_VALUE = """
A:account acctg-freq a:array batch bb bbf b:begin D:chdir cluster-constraint M:clusters comment C:constraint container
S:core-spec cores-per-socket cpu-freq cpus-per-gpu c:cpus-per-task deadline delay-boot d:dependency m:distribution
e:error x:exclude export export-file B:extra-node-info gid gpu-bind gpu-freq G:gpus gpus-per-node gpus-per-socket
gpus-per-task gres gres-flags hint i:input J:job-name kill-on-invalid-dep L:licenses mail-type mail-user mcs-label mem
mem-bind mem-per-cpu mem-per-gpu mincpus network F:nodefile w:nodelist N:nodes n:ntasks ntasks-per-core ntasks-per-gpu
ntasks-per-node ntasks-per-socket open-mode o:output p:partition power prefer priority profile q:qos reservation signal
sockets-per-node switches thread-spec threads-per-core t:time time-min tmp uid wait-all-nodes wckey wrap
tasks-per-node workdir tres-bind tres-per-task
"""
_MAYBE = "exclusive nice get-user-env k:no-kill propagate resv-ports"
_NONE = """
contiguous H:hold ignore-pbs no-requeue O:overcommit s:oversubscribe parsable Q:quiet reboot requeue spread-job
test-only use-min-nodes v:verbose W:wait usage share
"""
_OLD = {"tasks-per-node": "ntasks-per-node", "workdir": "chdir", "share": "oversubscribe"}
_LETTERS = {word[0]: word[2:] for word in f"{_VALUE} {_MAYBE} {_NONE}".split() if word[1:2] == ":"}
_KIND = {
    word.rpartition(":")[2]: kind
    for kind, words in (("value", _VALUE), ("maybe", _MAYBE), ("none", _NONE))
    for word in words.split()
}


def options(directives: Sequence[Directive]) -> Iterator[Option]:
    """The options of all directives, each by its long name.

    Raises:
        UsageError: a word is no option, an option has no value, or the job is heterogeneous.
    """
    for found in directives:
        words = list(found.words)
        while words:
            word = words.pop(0)
            if word in {"hetjob", "packjob", ":"}:
                raise UsageError(
                    f"line {found.first}: a heterogeneous job is several jobs in one script, and cannot be translated",
                    hint="translate each part by itself; a select of PBS joins chunks with +",
                )
            if word.startswith("--"):
                yield _long(word, words, found.first)
            elif word.startswith("-") and len(word) > 1:
                yield _short(word, words, found.first)
            else:
                raise UsageError(
                    f"line {found.first}: {word!r} is no option of sbatch", hint="write it as --NAME=VALUE, or quote it"
                )


def _long(word: str, words: list[str], line: int) -> Option:
    typed, equals, value = word[2:].partition("=")
    close = [name for name in _KIND if name.startswith(typed)]
    name = typed if typed in _KIND else close[0] if len(close) == 1 else ""
    name = _OLD.get(name, name)
    if not name:  # of a plug-in, or of another version
        return Option(f"--{typed}", value, line, f"{SLURM} {word}")
    if _KIND[name] == "value" and not equals:
        value = _next(words, word, line)
        return Option(f"--{name}", value, line, f"{SLURM} {word} {directive(value)}")
    return Option(f"--{name}", value, line, f"{SLURM} --{typed}" + (f"={directive(value)}" if equals else ""))


def _short(word: str, words: list[str], line: int) -> Option:
    """One letter; the rest of the word is its value, or goes back as a word of its own."""
    letter, rest = word[1], word[2:]
    name = _LETTERS.get(letter, "")
    if _KIND.get(name, "none") != "none":
        value = rest or (_next(words, word, line) if _KIND[name] == "value" else "")
        between = "" if rest or not value else " "
        return Option(f"--{name}", value, line, f"{SLURM} -{letter}{between}{directive(value)}")
    if rest:
        words.insert(0, f"-{rest}")
    return Option(f"--{name}" if name else f"-{letter}", "", line, f"{SLURM} -{letter}")


def _next(words: list[str], word: str, line: int) -> str:
    if not words:
        raise UsageError(f"line {line}: {SLURM} {word}: the value is missing", hint=f"write {word} VALUE")
    return words.pop(0)


# ------------------------------------------------------------------------------------------------- reading


def read(reading: Reading) -> None:
    """Fill the job.

    Raises:
        UsageError: a value cannot be meant so; names the line.
    """
    job = reading.job
    job.name, job.account = reading.text("name", "--job-name"), reading.text("account", "--account")
    job.chdir, job.mail_user = reading.text("chdir", "--chdir"), reading.text("mail_user", "--mail-user")
    job.output, job.error = reading.text("output", "--output"), reading.text("error", "--error")
    if job.error == job.output:
        job.error = ""
    job.hold, job.wait = bool(reading.take("hold", "--hold")), bool(reading.take("wait", "--wait"))
    for name, value in (("--requeue", True), ("--no-requeue", False)):
        job.requeue = value if reading.take("requeue", name) else job.requeue
    job.time, job.time_min = _time(reading, "time", "--time"), _time(reading, "time_min", "--time-min")
    for step in (_queue, _begin, _array, _dependency, _mail, _environment, _nice, _licenses, _features, _shape):
        step(reading)


def _time(reading: Reading, into: str, name: str) -> int:
    option = reading.take(into, name)
    if not option:
        return 0
    if option.value.upper() in {"0", "-1", "UNLIMITED", "INFINITE"}:
        reading.near(option, "no walltime is written: the limit is the queue's own")
        return 0
    if not re.fullmatch(r"[\d:-]+", option.value):
        raise bad(option, f"{option.value!r} is not a time", "write 30 (minutes), 02:00:00 or 1-12:00:00")
    return parsed(option, Duration.parse)


def _queue(reading: Reading) -> None:
    option = reading.take("queue", "--partition")
    if not option:
        return
    reading.job.queue, _, others = option.value.partition(",")
    if others:
        reading.near(option, f"a job of PBS goes to one queue: {reading.job.queue}, not {others}")


_HOURS = {"midnight": "0000", "noon": "1200", "fika": "1500", "teatime": "1600"}


def _begin(reading: Reading) -> None:
    """Days and hours; what counts from now on has no equivalent."""
    option = reading.left.get("--begin")
    if not option:
        return
    if option.value in _HOURS:
        digits = _HOURS[option.value]
    elif match := re.fullmatch(
        r"(?:(\d{4})-(\d\d)-(\d\d)(?:T|$)|(\d\d)/(\d\d)(?:/(\d\d))?(?:-|$))?(?:(\d\d):(\d\d)(?::(\d\d))?)?",
        option.value,
    ):
        year = match[1] or (f"20{match[6]}" if match[6] else "")
        day = year + (match[2] or match[4] or "") + (match[3] or match[5] or "")
        digits = day + (match[7] or "00") + (match[8] or "00") + (f".{match[9]}" if match[9] else "")
    else:
        reading.left.pop("--begin")
        reading.lost(option, "reckon it at submission: qsub -a \"$(date -d '1 hour' +%Y%m%d%H%M)\"")
        return
    reading.take("begin", "--begin")
    reading.job.begin = digits


def _array(reading: Reading) -> None:
    if option := reading.take("array", "--array"):
        reading.array(option)


_KINDS = ("after", "afterany", "afterok", "afternotok")


def _dependency(reading: Reading) -> None:
    option = reading.left.get("--dependency")
    if not option:
        return
    found = []
    for part in option.value.split(","):
        kind, _, ids = part.partition(":") if not part.isdigit() else ("afterany", ":", part)
        if kind not in _KINDS or not re.fullmatch(r"\d+(:\d+)*", ids):
            reading.left.pop("--dependency")
            reading.lost(option, f"PBS knows {', '.join(_KINDS)} with ids of jobs, and all of them must hold")
            return
        found.append((kind, tuple(ids.split(":"))))
    reading.take("dependency", "--dependency")
    reading.near(option, "the ids are those of the other machine; PBS deletes a job that waits for an unknown id")
    reading.job.dependency = tuple(found)


_MAIL = {"NONE": (), "BEGIN": ("begin",), "END": ("end",), "FAIL": ("fail",), "ARRAY_TASKS": ("array",)}


def _mail(reading: Reading) -> None:
    option = reading.take("mail", "--mail-type")
    if not option:
        if reading.job.mail_user:  # Slurm sends nothing then, PBS does
            reading.job.mail = frozenset()
        return
    words = option.value.upper().split(",")
    found = {"begin", "end", "fail"} if "ALL" in words else {event for word in words for event in _MAIL.get(word, ())}
    if gone := [word for word in words if word not in _MAIL and word != "ALL"]:
        reading.near(option, f"PBS sends no mail at {', '.join(gone)}")
    reading.job.mail = frozenset(found)


def _environment(reading: Reading) -> None:
    option = reading.take("export", "--export")
    words = option.value.split(",") if option else ["ALL"]
    if [word.upper() for word in words] == ["NONE"]:
        return
    reading.job.export = words[0].upper() == "ALL"
    reading.job.variables = ",".join(words[reading.job.export :])
    if option and re.search(r"[^\w./:=@+,-]", reading.job.variables, re.ASCII):
        reading.near(option, "PBS changes quotes, backslashes and blanks in values: set the variable in the script")


def _nice(reading: Reading) -> None:
    if option := reading.take("nice", "--nice"):
        value = int(option.value or 100) if re.fullmatch(r"-?\d*", option.value) and option.value != "-" else None
        if value is None:
            raise bad(option, f"{option.value!r} is not a whole number")
        reading.near(option, "the scales differ: qsub -p has -1024 to 1023, sbatch --nice millions")
        reading.job.nice = max(-1023, min(1024, value))


def _licenses(reading: Reading) -> None:
    if option := reading.take("licenses", "--licenses"):
        reading.near(option, "a licence of PBS is a resource with a name of the site's own: qstat -Bf, or ask the site")
        reading.job.licenses = option.value


def _features(reading: Reading) -> None:
    if option := reading.take("features", "--constraint"):
        if re.fullmatch(r"[\w-]+(&[\w-]+)*", option.value, re.ASCII):
            reading.job.features = tuple(option.value.split("&"))
        else:
            reading.lost(option, "PBS has neither alternatives nor counts of features: ask for one that all nodes have")


def _shape(reading: Reading) -> None:
    """Nodes, ranks, cores, memory and GPUs, which PBS asks for in one place."""
    job = reading.job
    exclusive = reading.take("exclusive", "--exclusive")
    if exclusive:
        job.exclusive = True
        if exclusive.value:
            reading.near(exclusive, "PBS gives a node to one job alone, or shares it with all")
    nodes, ntasks = _nodes(reading), reading.number("chunks", "--ntasks")
    per_node, cpus = reading.number("chunks", "--ntasks-per-node"), reading.number("chunks", "--cpus-per-task") or 1
    if not nodes and per_node:
        nodes = -(-ntasks // per_node) if ntasks else 1
    if not nodes and (of_node := [reading.left[name] for name in _OF_NODE if name in reading.left]):
        nodes = 1
        if ntasks > 1:
            reading.near(of_node[0], "it is for each node, and without -N their number is not known: one is taken")
    # With -n, --ntasks-per-node is only a maximum.
    ranks = ntasks or (nodes or 1) * (per_node or 1)
    nodes = min(nodes, ranks)
    job.place = "scatter" if nodes > 1 else "free"
    gpus, of_rank = _gpus(reading, nodes)
    mem, of_cpu, of_gpu = _memory(reading)
    if "chunks" in job.at:
        job.chunks = tuple(
            Chunk(count, each * cpus, each, mem or of_cpu * each * cpus or of_gpu * got, got)
            for count, each in (_spread(ranks, nodes) if nodes else [(ranks, 1)])
            for got in [gpus or of_rank * each]
        )


# They are counted by the node.
_OF_NODE = ("--mem", "--gpus-per-node", "--gres", "--gpus")


def _spread(ranks: int, nodes: int) -> list[tuple[int, int]]:
    """Nodes, and ranks on each: as evenly as it goes, the fuller ones first, as sbatch does."""
    each, more = divmod(ranks, nodes)
    return [(count, size) for count, size in ((more, each + 1), (nodes - more, each)) if count]


def _nodes(reading: Reading) -> int:
    option = reading.take("chunks", "--nodes")
    if not option:
        return 0
    least, _, most = option.value.partition("-")
    if most and most != least:
        reading.near(option, f"PBS takes no range of nodes: {least} are asked for")
    return whole(option, least)


def _gpus(reading: Reading, nodes: int) -> tuple[int, int]:
    """GPUs of a node, and those of a rank; one of them is 0."""
    per_node = of_rank = 0
    for name in ("--gpus-per-node", "--gres", "--gpus", "--gpus-per-task"):
        option = reading.take("chunks", name)
        count = _gpu_count(reading, option) if option else 0
        if option and name == "--gpus" and count % nodes:
            reading.near(option, f"PBS gives each of the {nodes} nodes as many: {-(-count // nodes)}")
        if name == "--gpus-per-task":
            of_rank = count
        elif count:
            per_node = -(-count // nodes) if name == "--gpus" else count
    return per_node, (0 if per_node else of_rank)


def _gpu_count(reading: Reading, option: Option) -> int:
    """The number in `4`, `a100:4` or `gpu:a100:4,nvme:1`."""
    count = 0
    for part in option.value.split(","):
        words = re.sub(r"\(.*\)", "", part).split(":")
        if option.name == "--gres" and words.pop(0) != "gpu":
            text = f"{part} of {option.text}"
            reading.notes.append(Note(option.line, text, LOST, "a resource of the site's in each chunk: ask the site"))
            continue
        number = words.pop() if words and words[-1].isdigit() else "1"
        count += whole(option, number, 0)
        if words and words[0]:
            text = f"{words[0]} of {option.text}"
            reading.notes.append(Note(option.line, text, LOST, _GPU))
    return count


_GPU = "sites have a resource of their own for each chunk, such as gpu_type=, or a queue: ask the site"


def _memory(reading: Reading) -> tuple[int, int, int]:
    """Bytes of each node, of each core and of each GPU; at most one is not 0."""
    found = []
    for name in ("--mem", "--mem-per-cpu", "--mem-per-gpu"):
        option = reading.take("chunks", name)
        if option and re.fullmatch(r"0[kmgt]?", option.value, re.IGNORECASE):
            reading.near(option, "PBS has no word for all memory of a node: write mem=SIZE into each chunk")
            option = None
        found.append(int(parsed(option, Memory.parse)) if option else 0)
    return found[0], found[1], found[2]


_LOST = {
    "--qos": "sites have a queue for it (-q), or a resource of their own: ask the site",
    "--reservation": "a reservation of PBS is a queue: -q with the name that pbs_rstat shows",
    "--nodelist": "name hosts in chunks: select=1:ncpus=4:host=NAME+1:ncpus=4:host=OTHER",
    "--nodefile": "name hosts in chunks: select=1:ncpus=4:host=NAME+1:ncpus=4:host=OTHER",
    "--exclude": "PBS cannot leave out hosts: a site's resource may tell good ones",
    "--comment": "PBS keeps comments for itself: -P or -A may hold a word",
    "--signal": "PBS sends TERM at the end of the walltime and KILL some seconds later: trap TERM in the script",
    "--open-mode": "PBS overwrites: write to another name, or append in the script: exec >>FILE 2>&1",
    "--input": "nothing is on standard input: begin the script with exec <FILE",
    "--tmp": "a site's resource may tell the size of local disks: ask the site",
    "--oversubscribe": "nothing to do: PBS shares nodes if nobody asks for more",
    "--kill-on-invalid-dep": "nothing to do: PBS always deletes a job that waits in vain",
    "--get-user-env": "nothing to do: PBS starts a login shell",
    "--parsable": "nothing to do: qsub prints the id alone",
    "--quiet": "nothing to do: qsub prints the id alone",
    "--verbose": "nothing to do",
    "--ignore-pbs": "nothing to do",
    "--priority": "only administrators set it; qsub -p orders your own jobs",
    "--wckey": "-P NAME, the project, is the nearest",
    "--switches": "place=group=RESOURCE keeps chunks near each other: ask the site for the resource",
    "--contiguous": "place=group=RESOURCE keeps chunks near each other: ask the site for the resource",
    "--overcommit": "let mpiprocs be more than ncpus in the select",
    "--no-kill": "PBS ends a job that loses a node",
    "--propagate": "set limits in the script: ulimit",
    "--export-file": "read the file in the script",
    "--mincpus": "let ncpus in the select be at least that",
    "--ntasks-per-gpu": "set mpiprocs and ngpus in the select",
    "--cpus-per-gpu": "set ncpus and ngpus in the select",
    "--gpus-per-socket": "set ngpus in the select",
}
_LAUNCHER = "an affair of the program that starts the ranks: give it to mpirun or mpiexec"
_LOST |= dict.fromkeys(
    ("--distribution", "--hint", "--mem-bind", "--gpu-bind", "--tres-bind", "--ntasks-per-socket", "--ntasks-per-core",
     "--cores-per-socket", "--sockets-per-node", "--threads-per-core", "--extra-node-info"),
    _LAUNCHER,
)  # fmt: skip


def advice(option: Option) -> str:
    """What to do about an option that PBS does not have."""
    if option.name[2:] not in _KIND:
        return "hpcjob does not know the option (of a plug-in?): ask the site what it has instead"
    return _LOST.get(option.name, "PBS has nothing like it: ask the site what it has instead")


# ------------------------------------------------------------------------------------------------- writing


def write(job: Job, notes: list[Note]) -> Iterator[tuple[str, str]]:
    """The directives, each with the field of the job that it comes from."""
    for name, value in _pairs(job, notes):
        field, _, option = name.rpartition(" ")
        yield field, f"{SLURM} {option}" + (f"={directive(value)}" if value else "")


def _pairs(job: Job, notes: list[Note]) -> Iterator[tuple[str, str]]:
    plain = {
        "name --job-name": job.name,
        "queue --partition": job.queue,
        "account --account": job.account,
        "time --time": str(Duration(job.time)) if job.time else "",
        "time_min --time-min": str(Duration(job.time_min)) if job.time_min else "",
        "begin --begin": _moment(job.begin),
        "array --array": job.array + (f"%{job.limit}" if job.limit else ""),
        "dependency --dependency": ",".join(":".join((kind, *ids)) for kind, ids in job.dependency),
        "output --output": job.output,
        "error --error": job.error,
        "mail --mail-type": _events(job.mail),
        "mail_user --mail-user": job.mail_user,
        "nice --nice": str(job.nice) if job.nice else "",
        "licenses --licenses": job.licenses,
        "features --constraint": "&".join(job.features),
    }
    yield from ((name, value) for name, value in plain.items() if value)
    if job.requeue is not None:
        yield "requeue --requeue" if job.requeue else "requeue --no-requeue", ""
    flags = {"hold --hold": job.hold, "wait --wait": job.wait, "exclusive --exclusive": job.exclusive}
    yield from ((name, "") for name, asked in flags.items() if asked)
    if job.variables or "export" in job.at:
        yield "export --export", ",".join(word for word in ("ALL", job.variables) if word)
    for option, value in _resources(job, notes):
        yield f"chunks {option}", value


def _events(mail: frozenset[str] | None) -> str:
    if mail is None:
        return ""
    return ",".join(word for word, events in _MAIL.items() if events and events[0] in mail) or "NONE"


def _moment(digits: str) -> str:
    """`2026-12-31T10:00` of `202612311000`."""
    if not digits:
        return ""
    main, _, seconds = digits.partition(".")
    day, clock = main[:-4], main[-4:]
    text = f"{clock[:2]}:{clock[2:]}" + (f":{seconds}" if seconds else "")
    if len(day) == 8:  # noqa: PLR2004 - CCYYMMDD
        return f"{day[:4]}-{day[4:6]}-{day[6:]}T{text}"
    return f"{day[:2]}/{day[2:]}-{text}" if day else text


def _resources(job: Job, notes: list[Note]) -> Iterator[tuple[str, str]]:
    chunks = job.chunks
    if not chunks:
        return
    count, ranks = sum(chunk.count for chunk in chunks), sum(chunk.count * chunk.ranks for chunk in chunks)
    if job.place == "pack" and count > 1:
        cpus, mem, gpus = (
            sum(chunk.count * value for chunk, value in zip(chunks, values, strict=True))
            for values in zip(*((chunk.cpus, chunk.mem, chunk.gpus) for chunk in chunks), strict=True)
        )
        yield from _on_nodes(job, Chunk(1, cpus, ranks, mem, gpus), ranks, notes)
    elif job.place == "free" and count > 1 and len(chunks) == 1 and chunks[0].ranks == 1:
        yield from _anywhere(chunks[0])
    else:
        largest = (
            max(chunk.cpus for chunk in chunks),
            max(chunk.ranks for chunk in chunks),
            max(chunk.mem for chunk in chunks),
            max(chunk.gpus for chunk in chunks),
        )
        yield from _on_nodes(job, Chunk(count, *largest), ranks, notes)


def _anywhere(chunk: Chunk) -> Iterator[tuple[str, str]]:
    yield "--ntasks", str(chunk.count)
    yield from _cores(chunk.cpus)
    if chunk.mem:
        yield "--mem-per-cpu", f"{Memory(-(-chunk.mem // chunk.cpus)).mebibytes}M"
    if chunk.gpus:
        yield "--gpus-per-task", str(chunk.gpus)


def _on_nodes(job: Job, node: Chunk, ranks: int, notes: list[Note]) -> Iterator[tuple[str, str]]:
    """As many nodes as `node` counts, each with what it has."""
    said = job.at["chunks"]
    yield "--nodes", str(node.count)
    threads = {chunk.threads for chunk in job.chunks}
    if len(threads) > 1:  # then cores are asked for, and the launcher must make of them what it can
        yield "--ntasks-per-node", str(node.cpus)
    elif len(job.chunks) == 1 or node.count == 1:
        yield "--ntasks-per-node", str(node.ranks)
    else:
        yield "--ntasks", str(ranks)
    if node.count > 1 and len(job.chunks) > 1 and len({(each.threads, each.mem, each.gpus) for each in job.chunks}) > 1:
        text = "each node gets what the largest chunk has; jobs of unlike parts are heterogeneous ones in Slurm: hetjob"
        notes.append(Note(said.line, said.text, NEAR, text))
    elif len(threads) > 1:
        notes.append(
            Note(said.line, said.text, NEAR, f"{node.cpus} cores are asked for: say the {ranks} ranks to srun")
        )
    if job.place == "free" and node.count > 1:
        text = "without place=scatter PBS may put chunks on one host; --nodes means as many hosts"
        notes.append(Note(said.line, said.text, NEAR, text))
    yield from _cores(threads.pop() if len(threads) == 1 else 1)
    if node.mem:
        yield "--mem", str(Memory(node.mem))
    if node.gpus:
        yield "--gpus-per-node", str(node.gpus)


def _cores(threads: int) -> Iterator[tuple[str, str]]:
    if threads > 1:
        yield "--cpus-per-task", str(threads)
