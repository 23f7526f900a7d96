"""Single directives and lines, and what is refused; whole scripts are in tests/golden/translate."""

from __future__ import annotations

import pytest

from hpcjobs.errors import UsageError
from hpcjobs.translate import Translation, translate

SLURM_DEFAULTS = ["#PBS -j oe", "#PBS -V"]
PBS_DEFAULTS = ["#SBATCH --output=%x.o%j", "#SBATCH --error=%x.e%j"]


def to_pbs(*directives: str, dialect: str = "") -> Translation:
    text = "".join(f"#SBATCH {each}\n" for each in directives)
    return translate(f"#!/bin/bash\n{text}cd $SLURM_SUBMIT_DIR\n", "pbs", dialect)


def to_slurm(*directives: str) -> Translation:
    text = "".join(f"#PBS {each}\n" for each in [*directives, "-V"])
    return translate(f"#!/bin/bash\n{text}cd $PBS_O_WORKDIR\n", "slurm")


def told(found: Translation) -> list[tuple[int, str]]:
    return [(note.line, note.kind) for note in found.notes]


def written(found: Translation) -> list[str]:
    """The directives, without those that are always added."""
    always = {*SLURM_DEFAULTS, *PBS_DEFAULTS, "#SBATCH --export=ALL"}
    return [line for line in found.script.splitlines()[1:-1] if line not in always]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--time=90", ["-l walltime=01:30:00"]),
        ("-t 3-4", ["-l walltime=76:00:00"]),
        ("--job a", ["-N a"]),  # sbatch takes what it can tell apart
        ("-HWk", ["-h", "-W block=true"]),
        ("-H", ["-h"]),
        ("-N2 -n3 -c2", ["-l select=1:ncpus=4:mpiprocs=2:ompthreads=2+1:ncpus=2", "-l place=scatter"]),
        ("-N 4 -n 2", ["-l select=2:ncpus=1", "-l place=scatter"]),
        ("-n 8 --ntasks-per-node=4", ["-l select=2:ncpus=4:mpiprocs=4:ompthreads=1", "-l place=scatter"]),
        ("--tasks-per-node=2", ["-l select=1:ncpus=2:mpiprocs=2:ompthreads=1"]),
        ("-n 4 --gpus-per-task=2", ["-l select=4:ncpus=1:ngpus=2"]),
        ("-N 2 --gpus=4", ["-l select=2:ncpus=1:ngpus=2", "-l place=scatter"]),
        ("-N 1 --gpus=2 --mem-per-gpu=10G", ["-l select=1:ncpus=1:mem=20gb:ngpus=2"]),
        ("-N 1 --mem=1500M", ["-l select=1:ncpus=1:mem=1500mb"]),
        ("--exclusive -c 4", ["-l select=1:ncpus=4", "-l place=excl"]),
        ("--begin=14:30", ["-a 1430"]),
        ("--begin=noon", ["-a 1200"]),
        ("--begin=12/24", ["-a 12240000"]),
        ("--begin=12/24/26-08:00", ["-a 202612240800"]),
        ("--mail-user=ada", ["-M ada", "-m n"]),
        ("--mail-type=ALL", ["-m abe"]),
        ("--mail-type=END,ARRAY_TASKS", ["-m je"]),
        ("--mail-type=ARRAY_TASKS", ["-m n"]),
        ("-o out/%j.OU -e out/%j.ER", ["-o out/", "-e out/"]),
        ("-J a -o %x.o%j", ["-N a"]),
        ("-J a -o %x.o%j -e %x.e%j", ["-N a"]),
        ("-o 100%%.txt", ["-o 100%.txt"]),
        ("-o 'a b.txt'", ['-o "a b.txt"']),
        ("-d 12", ["-W depend=afterany:12"]),
        ("--nice", ["-p -100"]),
        ("--export=ALL,A=1", ["-v A=1"]),
        ("-a 1-9:4", ["-J 1-9:4"]),
    ],
)
def test_slurm_to_openpbs(options: str, expected: list[str]) -> None:
    found = written(to_pbs(*options.split(" , ")))
    assert [line for line in found if not line.startswith("# ")] == [f"#PBS {each}" for each in expected]


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ("-k", ["lost"]),
        ("-t 0", ["near"]),
        ("-p a,b", ["near"]),
        ("-N 2-4", ["near"]),
        ("-N 2 --gpus=3", ["near"]),
        ("-n 2 --mem=4G", ["near"]),
        ("--mem=0", ["near"]),
        ("--exclusive=user -c 2", ["near"]),
        ("--exclusive", ["near"]),  # one core is asked for
        ("--gres=nvme:1", ["lost"]),
        ("-C 'a|b'", ["lost"]),
        ("-d singleton", ["lost"]),
        ("-d 'afterok:1?afterok:2'", ["lost"]),
        ("-d afterok:1_2", ["lost"]),
        ("--begin=tomorrow", ["lost"]),
        ("--export='A=a b'", ["near"]),
        ("-a 5", ["lost"]),
        ("-x node1", ["lost"]),
        ("--hint=compute_bound", ["lost"]),
        ("--bb=x", ["lost"]),
        ("--no-such", ["lost"]),
        ("-t 1 -t 2", ["near"]),
    ],
)
def test_what_openpbs_has_not(options: str, kinds: list[str]) -> None:
    found = to_pbs(options)
    assert [note.kind for note in found.notes] == kinds
    assert ("# hpcjob translate: no equivalent:" in found.script) == ("lost" in kinds)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-l walltime=90", ["--time=00:01:30"]),
        ("-l walltime=1.5", ["--time=00:00:02"]),
        ("-lwalltime=10:30 -Nx", ["--time=00:10:30", "--job-name=x"]),
        ("-l max_walltime=2:00:00,min_walltime=1:00:00", ["--time-min=01:00:00", "--time=02:00:00"]),
        ("-l ncpus=1", ["--nodes=1", "--ntasks-per-node=1"]),
        ("-l procs=6", ["--ntasks=6"]),
        ("-l select=6:mem=100mb", ["--ntasks=6", "--mem-per-cpu=100M"]),
        ("-l select=3:ncpus=2:ngpus=1", ["--ntasks=3", "--cpus-per-task=2", "--gpus-per-task=1"]),
        ("-l select=ncpus=2:mem=1048576kb", ["--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=2", "--mem=1G"]),
        ("-l select=2:mem=1gw -l place=pack:exclhost", ["--nodes=1", "--ntasks-per-node=2", "--mem=16G", "--exclusive"]),
        ("-l select=1:ncpus=2:mpiprocs=2+2:ncpus=1 -l place=scatter:shared", ["--nodes=3", "--ntasks=4"]),
        ("-l nodes=2:ppn=2#excl", ["--nodes=2", "--ntasks-per-node=2", "--exclusive"]),
        ("-l ncpus=2,ngpus=1 -l place=excl", ["--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=2", "--gpus-per-node=1", "--exclusive"]),
        ("-a 1430.15", ["--begin=14:30:15"]),
        ("-a 12241430", ["--begin=12/24-14:30"]),
        ("-a 2612241430", ["--begin=2026-12-24T14:30"]),
        ("-m n", ["--mail-type=NONE"]),
        ("-M ada", ["--mail-type=FAIL", "--mail-user=ada"]),
        ("-m jabe", ["--mail-type=BEGIN,END,FAIL,ARRAY_TASKS"]),
        ("-A a -r y -Wblock=true", ["--account=a", "--requeue", "--wait"]),
        ("-p 0", []),
        ("-N \"a 'b'\"", ["--job-name=\"a 'b'\""]),
    ],
)  # fmt: skip
def test_pbs_to_slurm(options: str, expected: list[str]) -> None:
    found = [line for line in written(to_slurm(options)) if not line.startswith(("# ", "export "))]
    assert sorted(found) == sorted(f"#SBATCH {each}" for each in expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-r n", ["--output=%x.o%j", "--error=%x.e%j"]),
        ("-joe", ["--output=%x.o%j"]),
        ("-jeo", ["--output=%x.e%j"]),
        ("-o a% -j oe", ["--output=a%%"]),
        ("-o :a -e /b -j n", ["--output=a", "--error=/b"]),
        ("-o out/ -e b -j eo", ["--output=b"]),
        ("-o out/", ["--output=out/%j.OU", "--error=%x.e%j"]),
        ("-J 1-2", ["--output=%x.o%A.%a", "--error=%x.e%A.%a"]),
        ("-o out/ -t 1-2", ["--output=out/%x.o%A-%a", "--error=%x.e%A-%a"]),
    ],
)
def test_where_output_of_pbs_goes(options: str, expected: list[str]) -> None:
    found = [line.removeprefix("#SBATCH ") for line in to_slurm(options).script.splitlines()]
    assert [line for line in found if line.startswith(("--output", "--error"))] == expected


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ("-P a", ["near"]),
        ("-P a -A b", ["lost"]),
        ("-q a@b", ["near"]),
        ("-a 241430", ["lost"]),
        ("-W depend=on:2", ["lost"]),
        ("-W depend=beforeok:2", ["lost"]),
        ("-W block=false", ["lost"]),
        ("-W x=y", ["lost"]),
        ("-l select=1:ncpus=5:mpiprocs=2", ["near"]),
        ("-l select=1:ncpus=1:mpiprocs=0", ["near"]),
        ("-l select=1:ncpus=4:mpiprocs=2:ompthreads=4", ["near"]),
        ("-l select=2:ncpus=2:mpiprocs=2", ["near"]),
        ("-l select=2 -l place=vscatter", ["near"]),
        ("-l select=1:host=n1", ["lost"]),
        ("-l place=excl", ["lost"]),
        ("-l naccesspolicy=shared", ["lost"]),
        ("-l fs=home", ["lost"]),
        ("-o host:a", ["near"]),
        ("-o a.$USER", ["near"]),
        ("-k o", ["lost"]),
        ("-k n", ["near"]),
        ("-Q", None),
        ("-l pmem=1gb", ["lost"]),
    ],
)
def test_what_slurm_has_not(options: str, kinds: list[str] | None) -> None:
    if kinds is None:
        with pytest.raises(UsageError, match="is no option of qsub"):
            to_slurm(options)
        return
    found = to_slurm(options)
    assert [note.kind for note in found.notes] == kinds
    assert ("# hpcjob translate: no equivalent:" in found.script) == ("lost" in kinds)


@pytest.mark.parametrize(
    ("directive", "problem"),
    [
        ("#SBATCH --time=2h", "line 2: #SBATCH --time=2h: '2h' is not a time"),
        ("#SBATCH -t 1:2:3:4", "line 2: #SBATCH -t 1:2:3:4: '1:2:3:4' is not a time"),
        ("#SBATCH -n many", "line 2: #SBATCH -n many: 'many' is not a whole number from 1 on"),
        ("#SBATCH --nice=low", "line 2: #SBATCH --nice=low: 'low' is not a whole number"),
        ("#SBATCH --mem=1X", "line 2: #SBATCH --mem=1X: '1X' is not an amount of memory"),
        ("#SBATCH -a x", "line 2: #SBATCH -a x: 'x' is not a set of indices"),
        ("#SBATCH -N", "line 2: #SBATCH -N: the value is missing"),
        ("#SBATCH --nodes", "line 2: #SBATCH --nodes: the value is missing"),
        ("#SBATCH two nodes", "line 2: 'two' is no option of sbatch"),
        ('#SBATCH -J "a', 'line 2: #SBATCH -J "a: a quote is opened and not closed'),
        ("#SBATCH hetjob", "line 2: a heterogeneous job is several jobs in one script, and cannot be translated"),
        ("#PBS -l walltime=1h", "line 2: #PBS -l walltime=1h: '1h' is not a time"),
        ("#PBS -l mem=1.5gb,ncpus=1", "line 2: #PBS -l mem=1.5gb: '1.5gb' is not an amount of memory"),
        ("#PBS -l select=1:mem=x", "line 2: #PBS -l select=1:mem=x: 'x' is not an amount of memory"),
        ("#PBS -J 1-", "line 2: #PBS -J 1-: '1-' is not a set of indices"),
        ("#PBS -a 1", "line 2: #PBS -a 1: '1' is not a time"),
        ("#PBS -m x", "line 2: #PBS -m x: 'x' is not n or some of a, b, e"),
        ("#PBS -p high", "line 2: #PBS -p high: 'high' is not a whole number"),
        ("#PBS -j both", "line 2: #PBS -j both: 'both' is not oe, eo or n"),
        ("#PBS -N", "line 2: #PBS -N: the value is missing"),
        ("#PBS -N a # comment", "line 2: '#' is no option of qsub"),
    ],
)
def test_a_directive_that_is_refused_anyway_is_an_error(directive: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        translate(f"#!/bin/sh\n{directive}\ntrue\n", "slurm" if directive.startswith("#PBS") else "pbs")
    assert caught.value.message == problem
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "to", "dialect", "problem"),
    [
        ("true\n", "lsf", "", "--to lsf: there is no such target"),
        ("true\n", "pbs", "pro", "--dialect pro: there is no such dialect of PBS"),
        ("true\n", "slurm", "torque", "--dialect is for --to pbs: Slurm has one"),
        (" \n", "slurm", "", "this is no batch script"),
        ("a\0", "slurm", "", "this is no batch script"),
        ("#PBS -h\n", "pbs", "", "the script has #PBS lines already, and no #SBATCH"),
        ("#SBATCH -H\n", "slurm", "", "the script has #SBATCH lines already, and no #PBS"),
        ("#SBATCH -H\n#PBS -h\n", "pbs", "", "line 2: the script has directives of both, #SBATCH and #PBS"),
    ],
)
def test_what_cannot_be_translated_at_all(text: str, to: str, dialect: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        translate(text, to, dialect)
    assert caught.value.message == problem
    assert caught.value.hint


def test_a_comment_behind_a_directive_never_becomes_one() -> None:
    assert written(to_pbs("-t 10 #PBS -N x", "#SBATCH -H")) == [
        "# PBS -N x",
        "#PBS -l walltime=00:10:00",
        "# SBATCH -H",
        "#",
    ]


def test_an_environment_that_is_not_passed_on() -> None:
    assert to_pbs("--export=NONE").script == "#!/bin/bash\n#PBS -j oe\ncd $PBS_O_WORKDIR\n"


def test_mail_of_torque() -> None:
    assert written(to_pbs("--mail-type=FAIL,ARRAY_TASKS", dialect="torque")) == ["#PBS -m af"]


def test_a_number_sign_in_quotes_begins_no_comment() -> None:
    assert written(to_pbs('-J "a#b" -t 1 # "c"')) == ['# "c"', "#PBS -N a_b", "#PBS -l walltime=00:01:00"]


def test_a_name_that_torque_takes() -> None:
    found = to_pbs("--job-name=2nd-run-of-the-channel", dialect="torque")
    assert written(found) == ["#PBS -N j2nd-run-of-the"]
    assert told(found) == [(2, "near")]


@pytest.mark.parametrize(
    ("shebang", "start", "kinds"),
    [
        ("#!/bin/bash", ["cd # PBS begins at home"], []),
        ("#!/usr/bin/env zsh", ["cd # PBS begins at home"], []),
        ("#!/usr/bin/perl", [], ["near"]),
    ],
)
def test_a_job_of_pbs_begins_at_home(shebang: str, start: list[str], kinds: list[str]) -> None:
    found = translate(f"{shebang}\n#PBS -V\n./solve\n", "slurm")
    assert found.script.splitlines()[2:] == ["#SBATCH --output=%x.o%j", "#SBATCH --error=%x.e%j", *start, "./solve"]
    assert [note.kind for note in found.notes] == kinds


@pytest.mark.parametrize("first", ["cd /scratch", "cd", "cd ~/run", 'cd "$HOME/run"'])
def test_a_job_that_goes_elsewhere_first_is_left_alone(first: str) -> None:
    assert translate(f"#PBS -V\n{first}\n./solve\n", "slurm").script.endswith(f"=%x.e%j\n{first}\n./solve\n")


def test_torque_can_begin_in_another_folder() -> None:
    assert to_slurm("-d run/a").script.endswith('\ncd "$SLURM_SUBMIT_DIR"/run/a\ncd $SLURM_SUBMIT_DIR\n')


def test_a_shell_of_its_own() -> None:
    found = to_slurm("-S /bin/zsh@host")
    assert found.script.startswith("#!/bin/bash\n")
    assert told(found) == [(2, "near")]
    assert translate("#PBS -VS /bin/zsh\ncd\n", "slurm").script.startswith("#!/bin/zsh\n#SBATCH")


def test_directives_without_a_command() -> None:
    assert (
        translate("#!/bin/sh\n#SBATCH -t 1\n", "pbs").script
        == "#!/bin/sh\n#PBS -l walltime=00:01:00\n#PBS -j oe\n#PBS -V\n"
    )


@pytest.mark.parametrize(
    ("line", "expected", "kinds"),
    [
        ("echo $SLURM_JOB_NAME ${SLURM_JOB_PARTITION}", "echo $PBS_JOBNAME ${PBS_QUEUE}", []),
        ("echo $MY_SLURM_JOB_NAME SLURM", "echo $MY_SLURM_JOB_NAME SLURM", []),
        ("# $SLURM_JOB_NAME", "# $SLURM_JOB_NAME", []),
        ("echo $SLURM_NTASKS_TOTAL", "echo $SLURM_NTASKS_TOTAL", ["lost"]),
        ("n=$((SLURM_NTASKS * 2))", "n=$((SLURM_NTASKS * 2))", ["lost"]),
        ('n="${SLURM_NTASKS:-${n}}"', 'n="${SLURM_NTASKS:-${n}}"', ["lost"]),
        ("SLURM_NTASKS=4; echo $SLURM_NTASKS", "SLURM_NTASKS=4; echo $SLURM_NTASKS", []),
        (
            "echo $SLURM_NNODES$SLURM_NNODES",
            'echo $(sort -u "$PBS_NODEFILE" | wc -l)' + '$(sort -u "$PBS_NODEFILE" | wc -l)',
            ["near"],
        ),
        ("mpirun --launcher=srun a; ./srun b", "mpirun --launcher=srun a; ./srun b", ["near"]),
    ],
)
def test_a_line_for_pbs(line: str, expected: str, kinds: list[str]) -> None:
    found = translate(f"#!/bin/sh\n{line}\n", "pbs")
    assert found.script.splitlines()[-1] == expected
    assert [note.kind for note in found.notes] == kinds


@pytest.mark.parametrize(
    ("line", "expected", "kinds"),
    [
        ("n=`wc -l <$PBS_NODEFILE`", "n=${SLURM_NTASKS:-1}", []),
        ('n=$(cat "$PBS_NODEFILE" | sort -u | wc -l)', "n=${SLURM_JOB_NUM_NODES:-1}", []),
        ("n=$(uniq ${PBS_NODEFILE} | wc -l)", "n=${SLURM_JOB_NUM_NODES:-1}", []),
        ("sort -u $PBS_NODEFILE >hosts", "scontrol show hostnames >hosts", []),
        ("head -1 $PBS_NODEFILE", "head -1 $PBS_NODEFILE", ["lost"]),
        ("NCPUS=4; make -j $NCPUS", "NCPUS=4; make -j $NCPUS", []),
        ("make -j $NCPUS", "make -j $SLURM_CPUS_PER_TASK", ["near"]),
    ],
)
def test_a_line_for_slurm(line: str, expected: str, kinds: list[str]) -> None:
    found = translate(f"#!/bin/sh\n#PBS -V\ncd $PBS_O_WORKDIR; {line}\n", "slurm")
    assert found.script.splitlines()[-1] == f"cd $SLURM_SUBMIT_DIR; {expected}"
    assert [note.kind for note in found.notes] == kinds


def test_a_c_shell_counts_nothing() -> None:
    threads = translate("#!/bin/csh\n#PBS -l ncpus=4 -V\ncd\n", "slurm")
    assert threads.script.endswith("--error=%x.e%j\ncd\n")
    found = translate("#!/bin/csh\necho $SLURM_NTASKS\n", "pbs")
    assert found.script.endswith('cd "$PBS_O_WORKDIR"\necho $SLURM_NTASKS\n')
    assert told(found) == [(2, "lost")]
