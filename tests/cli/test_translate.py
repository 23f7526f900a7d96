"""translate."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from hpcjobs.cli import complete

if TYPE_CHECKING:
    from tests.cli.session import Session

SCRIPT = """\
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=4
#SBATCH --time=1-00
#SBATCH --qos=high
srun ./solve
"""


@pytest.fixture(autouse=True)
def script(session: Session) -> None:
    (session.home / "work/job.sh").write_text(SCRIPT)


def test_translate(session: Session) -> None:
    session.check(r"""
$ hpcjob translate job.sh --to pbs
out| #!/bin/bash
out| #PBS -l select=2:ncpus=4:mpiprocs=4:ompthreads=1
out| #PBS -l place=scatter
out| #PBS -l walltime=24:00:00
out| # hpcjob translate: no equivalent: #SBATCH --qos=high
out| #PBS -j oe
out| #PBS -V
out| cd "$PBS_O_WORKDIR"
out| srun ./solve
err| line 4: #SBATCH --qos=high
err|     no equivalent: sites have a queue for it (-q), or a resource of their own: ask the site
err| line 5: srun ./solve
err|     not the same: srun: mpirun or mpiexec of your MPI, -np RANKS (one rank a node: --map-by node); if it was not built with PBS, --hostfile "$PBS_NODEFILE"
""")


def test_mistakes_say_what_to_type(session: Session) -> None:
    (session.home / "work/bad.sh").write_text("#!/bin/bash\n#SBATCH -t 2h\n")
    session.check(r"""
$ hpcjob translate job.sh
err| error: missing option '--to'
err|
err| hint: hpcjob translate --help says what there is
exit 2
$ hpcjob translate job.sh --to psb
err| error: --to psb: there is no such target
err|
err| hint: did you mean pbs?
exit 2
$ hpcjob translate job.sh --to pbs --dialect torq
err| error: --dialect torq: there is no such dialect of PBS
err|
err| hint: did you mean torque?
exit 2
$ hpcjob translate job.sh --to slurm
err| error: the script has #SBATCH lines already, and no #PBS
err|
err| hint: to translate it to PBS: --to pbs
exit 2
$ hpcjob translate nothing.sh --to slurm
err| error: nothing.sh: No such file or directory
err|
err| hint: give a batch script, or - for standard input
exit 6
$ hpcjob translate . --to slurm
err| error: .: Is a directory
err|
err| hint: give a batch script, or - for standard input
exit 6
$ hpcjob translate bad.sh --to pbs
err| error: line 2: #SBATCH -t 2h: '2h' is not a time
err|
err| hint: write 30 (minutes), 02:00:00 or 1-12:00:00
exit 2
$ hpcjob translate bad.sh --to pbs --json
out| {"version": 1, "error": {"message": "line 2: #SBATCH -t 2h: '2h' is not a time", "hint": "write 30 (minutes), 02:00:00 or 1-12:00:00", "code": 2}}
exit 2
""")


def test_standard_input_and_bytes_that_are_no_text(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"#PBS -V\ncd $PBS_O_WORKDIR\necho '\xff \xc3\xa9'\n"
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    session.capsys.readouterr()
    with monkeypatch.context() as patched:
        written = io.BytesIO()
        patched.setattr(sys, "stdout", io.TextIOWrapper(written))
        session.run("hpcjob translate - --to slurm")
        sys.stdout.flush()
        found = written.getvalue()
    assert found.endswith(b"cd $SLURM_SUBMIT_DIR\necho '\xff \xc3\xa9'\n")


@pytest.mark.parametrize(("begin", "found"), [("", ["pbs", "slurm"]), ("s", ["slurm"])])
def test_completion_of_targets(begin: str, found: list[str]) -> None:
    assert complete.targets(begin) == found


@pytest.mark.parametrize(("begin", "found"), [("", ["openpbs", "torque"]), ("t", ["torque"])])
def test_completion_of_dialects(begin: str, found: list[str]) -> None:
    assert complete.dialects(begin) == found
