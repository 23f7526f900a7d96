"""What both systems can express survives the way there and back; and no text is too odd to be answered."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hpcjobs.errors import UsageError
from hpcjobs.translate import pbs, slurm, translate
from hpcjobs.translate.job import Job, Reading
from hpcjobs.translate.script import PBS, SLURM, read

WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_.+-]{0,20}", fullmatch=True)
NUMBERS = st.integers(1, 300)
PATHS = st.from_regex(r"/?([a-z0-9_.%-]{1,8}/){0,2}[a-z0-9_.%-]{1,8}", fullmatch=True)


def job_of(text: str, prefix: str) -> Job:
    module = pbs if prefix == PBS else slurm
    reading = Reading(list(module.options(read(text, prefix).directives)))
    module.read(reading)
    return reading.job


@st.composite
def selects(draw: st.DrawFn) -> list[str]:
    """Alike chunks on nodes of their own, on one node, or (one rank each) anywhere."""
    count, ranks, cores = draw(st.integers(1, 8)), draw(st.integers(1, 64)), draw(st.integers(1, 16))
    text = f"select={count}:ncpus={ranks * cores}:mpiprocs={ranks}:ompthreads={cores}"
    if mem := draw(st.integers(0, 500)):
        # A core's memory is whole megabytes in Slurm.
        text += f":mem={mem * cores}mb"
    if gpus := draw(st.integers(0, 8)):
        text += f":ngpus={gpus}"
    places = ["scatter"] if count > 1 and ranks > 1 else ["free", "scatter"] if count > 1 else ["free"]
    place = [word for word in (draw(st.sampled_from(places)),) if word != "free"]
    place += draw(st.sampled_from([[], ["excl"]]))
    return [f"-l {text}"] + ([f"-l place={':'.join(place)}"] if place else [])


@st.composite
def arrays(draw: st.DrawFn) -> list[str]:
    first, step, more = draw(st.integers(0, 50)), draw(st.integers(1, 9)), draw(st.integers(1, 50))
    limit = draw(st.sampled_from(["", "%3"]))
    task = draw(st.sampled_from([[], ["-o out/^array_index^.txt"], ["-e errors/"]]))
    return [f"-J {first}-{first + step * more}{f':{step}' if step > 1 else ''}{limit}", *task]


@st.composite
def pbs_scripts(draw: st.DrawFn) -> str:
    seconds = draw(st.integers(1, 10**6))
    optional = [
        [f"-N {draw(WORDS)}"],
        [f"-q {draw(WORDS)}"],
        [f"-A {draw(WORDS)}"],
        draw(selects()),
        [f"-l walltime={seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"],
        draw(st.one_of(arrays(), st.sampled_from([["-r n"], ["-o out/"], ["-o a.log", "-e b.log"], ["-r y"]]))),
        ["-h"],
        [f"-m {draw(st.sampled_from(['n', 'a', 'b', 'e', 'abe', 'be']))}"],
        ["-M ada@example.org"],
        ["-a 202701040600", "-p -10"],
        [f"-W depend=afterok:{draw(NUMBERS)}:{draw(NUMBERS)},afterany:{draw(NUMBERS)}"],
        ["-j oe"],
        ["-v CASE=wing,HOME"],
    ]
    lines = [line for lines in optional if draw(st.booleans()) for line in lines]
    return "#!/bin/bash\n" + "".join(f"#PBS {line}\n" for line in [*lines, "-V"]) + 'cd "$PBS_O_WORKDIR"\n./solve\n'


@given(pbs_scripts())
@settings(max_examples=300, deadline=None)
def test_pbs_survives_slurm(text: str) -> None:
    there = translate(text, "slurm")
    back = translate(there.script, "pbs")
    assert job_of(back.script, PBS) == job_of(text, PBS)
    assert [note for note in (*there.notes, *back.notes) if note.kind == "lost"] == []


@st.composite
def slurm_scripts(draw: st.DrawFn) -> str:
    nodes, per_node, cores = draw(st.integers(1, 9)), draw(st.integers(1, 64)), draw(st.integers(1, 9))
    shape = [f"--nodes={nodes}", f"--ntasks-per-node={per_node}", f"--cpus-per-task={cores}"]
    shape += draw(st.sampled_from([[], ["--mem=3G"], ["--mem=1500M"], ["--gpus-per-node=2"], ["--exclusive"]]))
    optional = [
        [f"--job-name={draw(WORDS)}"],
        [f"--partition={draw(WORDS)}"],
        shape,
        [f"--time={draw(st.integers(1, 9))}-{draw(st.integers(0, 23)):02d}"],
        [f"--output={draw(PATHS).replace('%', '%%')}"],
        [f"--error={draw(PATHS).replace('%', '%%')}"],
        ["--array=0-9%2"],
        ["--mail-type=BEGIN,END,FAIL"],
        ["--hold"],
        ["--requeue"],
    ]
    lines = [line for lines in optional if draw(st.booleans()) for line in lines]
    return "#!/bin/bash\n" + "".join(f"#SBATCH {line}\n" for line in lines) + "./solve\n"


@given(slurm_scripts())
@settings(max_examples=300, deadline=None)
def test_slurm_survives_pbs(text: str) -> None:
    there = translate(text, "pbs")
    before, after = job_of(text, SLURM), job_of(translate(there.script, "slurm").script, SLURM)
    # Where nothing is said each has its own name for the file: that of PBS is said aloud afterwards.
    before.output = before.output or after.output
    assert after == before
    assert [note for note in there.notes if note.kind == "lost"] == []


PIECES = st.sampled_from([
    "#SBATCH", "#PBS", " ", "\n", "\n", "-l", "-N", "=", "select=", "1:", "ncpus=2", "+", "place=scatter", "nodes=2:ppn=",
    "--time=", "--mem", "10", "0", "-1", "%", "%j", "'", '"', "\\", "#", ":", "-J", "-a", "--array=1-4", "--gres=gpu:",
    "--depend=after", "--nice", "-W", "depend=", "-o", "$PBS_JOBID", "${SLURM_NTASKS}", "`cat $PBS_NODEFILE|wc -l`", "\0",
    "\r", "\udcff", "é", "--export=", "-m", "abe", "--begin=12:00", "-t", "1-3", "-", "#!/bin/tcsh\n", "walltime=1:2:3:4",
])  # fmt: skip


OPTIONS = [
    *(f"--{name}" for name in slurm._KIND),
    *(f"-{letter}" for letter in "aACcDJNnpqtlmMorSVvWk"),
    "-l select=",
    "-l nodes=",
]
LINES = st.tuples(
    st.sampled_from(["#SBATCH ", "#PBS ", ""]),
    st.sampled_from(OPTIONS),
    st.sampled_from(["", " ", "="]),
    PIECES,
    PIECES,
)
TEXTS = st.one_of(st.lists(PIECES, max_size=30), st.lists(LINES.map(lambda line: "".join(line) + "\n"), max_size=6))


@given(TEXTS.map("".join), st.sampled_from(["slurm", "openpbs", "torque"]))
@settings(max_examples=1000, deadline=None)
def test_any_text_is_translated_or_refused(text: str, target: str) -> None:
    try:
        script, hint = translate(text, *(("slurm",) if target == "slurm" else ("pbs", target))).script, "none is needed"
    except UsageError as error:
        script, hint = "", error.hint
    assert hint
    assert read(script, PBS if target == "slurm" else SLURM).directives == (), "none is left untranslated"
