"""The commands of a script: variables with an equivalent are renamed, everything else is listed, never guessed.

Sources: sbatch(1), OUTPUT ENVIRONMENT VARIABLES; qsub(1B), ENVIRONMENT VARIABLES; the manual of TORQUE 6.1, "Exported
batch environment variables".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hpcjobs.schedulers.pbs_request import OPENPBS, TORQUE
from hpcjobs.translate.job import LOST, NEAR, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hpcjobs.translate.job import Chunk, Job
    from hpcjobs.translate.script import Script

# Name, its equivalent, and what is different.
_NUMBER = "the number alone in Slurm, 12.server in PBS (a task: 12[3].server); ${PBS_JOBID%%[.[]*} is the number"
_TO_SLURM = {
    "PBS_JOBID": ("SLURM_JOB_ID", _NUMBER),
    "PBS_JOBNAME": ("SLURM_JOB_NAME", ""),
    "PBS_QUEUE": ("SLURM_JOB_PARTITION", ""),
    "PBS_O_QUEUE": ("SLURM_JOB_PARTITION", "the partition that the job runs in"),
    "PBS_O_WORKDIR": ("SLURM_SUBMIT_DIR", ""),
    "PBS_O_INITDIR": ("PWD", "the folder that the job starts in"),
    "PBS_O_HOST": ("SLURM_SUBMIT_HOST", ""),
    "PBS_O_HOME": ("HOME", ""),
    "PBS_O_LOGNAME": ("LOGNAME", ""),
    "PBS_O_PATH": ("PATH", "the job's own: Slurm keeps no copy of the one at submission"),
    "PBS_ARRAY_INDEX": ("SLURM_ARRAY_TASK_ID", ""),
    "PBS_ARRAYID": ("SLURM_ARRAY_TASK_ID", ""),
    "PBS_ARRAY_ID": ("SLURM_ARRAY_JOB_ID", "the number alone in Slurm, 12[].server in PBS"),
    "PBS_NUM_NODES": ("SLURM_JOB_NUM_NODES", ""),
    "PBS_NUM_PPN": ("SLURM_NTASKS_PER_NODE", "ranks of a node; cores are SLURM_CPUS_ON_NODE"),
    "PBS_NP": ("SLURM_NTASKS", "ranks"),
    "NCPUS": ("SLURM_CPUS_PER_TASK", "Slurm sets it only where --cpus-per-task is said"),
}
_TO_PBS = {
    "SLURM_JOB_ID": ("PBS_JOBID", _NUMBER),
    "SLURM_JOBID": ("PBS_JOBID", _NUMBER),
    "SLURM_JOB_NAME": ("PBS_JOBNAME", ""),
    "SLURM_JOB_PARTITION": ("PBS_QUEUE", ""),
    "SLURM_SUBMIT_DIR": ("PBS_O_WORKDIR", ""),
    "SLURM_SUBMIT_HOST": ("PBS_O_HOST", ""),
    "SLURM_ARRAY_TASK_ID": ("PBS_ARRAY_INDEX", ""),
    "SLURM_ARRAY_JOB_ID": ("PBS_ARRAY_ID", "the number alone in Slurm, 12[].server in PBS"),
    "SLURM_CPUS_PER_TASK": ("NCPUS", ""),
}
_TO_TORQUE = {
    **{name: found for name, found in _TO_PBS.items() if found[0] not in {"PBS_ARRAY_ID", "NCPUS"}},
    "SLURM_ARRAY_TASK_ID": ("PBS_ARRAYID", ""),
    "SLURM_JOB_NUM_NODES": ("PBS_NUM_NODES", ""),
    "SLURM_NNODES": ("PBS_NUM_NODES", ""),
    "SLURM_NTASKS": ("PBS_NP", ""),
    "SLURM_NPROCS": ("PBS_NP", ""),
    "SLURM_NTASKS_PER_NODE": ("PBS_NUM_PPN", ""),
}
_IN_RANKS = {"SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE"}
# Those whose value a shell can work out: OpenPBS has one line for each rank in the file.
_RANKS, _HOSTS = '$(wc -l <"$PBS_NODEFILE")', '$(sort -u "$PBS_NODEFILE" | wc -l)'
_COUNTS = {"SLURM_NTASKS": _RANKS, "SLURM_NPROCS": _RANKS, "SLURM_JOB_NUM_NODES": _HOSTS, "SLURM_NNODES": _HOSTS}

_FILE = r'"?\$\{?PBS_NODEFILE\}?"?'
_UNIQUE = (
    rf"(?:sort\s+-u\s+{_FILE}|cat\s+{_FILE}\s*\|\s*sort\s+-u|(?:sort|cat|uniq)\s+{_FILE}(?:\s*\|\s*(?:sort|uniq))+)"
)
_LINES = (
    rf"(?:wc\s+-l\s*<\s*{_FILE}|cat\s+{_FILE}\s*\|\s*wc\s+-l|{_UNIQUE}\s*\|\s*wc\s+-l|uniq\s+{_FILE}\s*\|\s*wc\s+-l)"
)
_COUNTED = re.compile(rf"\$\(\s*({_LINES})\s*\)|`\s*({_LINES})\s*`")
_LISTED = re.compile(_UNIQUE)
_NAMES = re.compile(r'scontrol\s+show\s+hostnames?(?:\s+"?\$\{?SLURM_(?:JOB_)?NODELIST\}?"?)?')

_ADVICE = {
    "PBS_NODEFILE": "srun needs no list of nodes; scontrol show hostnames prints one, a line a node, not a rank",
    "PBS_GPUFILE": "CUDA_VISIBLE_DEVICES holds the GPUs",
    "PBS_JOBDIR": "the job starts in the folder of the submission",
    "PBS_ENVIRONMENT": "SLURM_JOB_ID is set in every job",
    "PBS_WALLTIME": "squeue -h -j $SLURM_JOB_ID -o %l prints it",
    "PBS_NODENUM": "SLURM_NODEID, in what srun starts",
    "PBS_TASKNUM": "SLURM_PROCID, in what srun starts",
    "SLURM_JOB_NODELIST": 'sort -u "$PBS_NODEFILE" prints the nodes, one a line',
    "SLURM_NODELIST": 'sort -u "$PBS_NODEFILE" prints the nodes, one a line',
    "SLURM_PROCID": "the launcher's own: OMPI_COMM_WORLD_RANK, PMI_RANK",
    "SLURM_LOCALID": "the launcher's own: OMPI_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID",
    "SLURM_NODEID": "PBS_NODENUM, in what pbsdsh starts",
    "SLURM_ARRAY_JOB_ID": "${PBS_JOBID%%[.[]*}",
    "SLURM_NTASKS_PER_NODE": "write the number, as in mpiprocs",
    "SLURM_TASKS_PER_NODE": 'uniq -c "$PBS_NODEFILE" prints the ranks of each node',
    "SLURM_CPUS_ON_NODE": "nproc prints the cores that the job may use, where the site's PBS binds jobs",
    "SLURM_CPUS_PER_TASK": "write the number",
    "SLURM_RESTART_COUNT": "qstat -f shows run_count",
}
_COMMANDS_TO_PBS = {
    "srun": "mpirun or mpiexec of your MPI, -np RANKS (one rank a node: --map-by node); if it was not built with PBS, "
    '--hostfile "$PBS_NODEFILE"',
    "mpirun": 'an MPI that was not built with PBS needs --hostfile "$PBS_NODEFILE", and a way to the other nodes',
    "mpiexec": 'an MPI that was not built with PBS needs --hostfile "$PBS_NODEFILE", and a way to the other nodes',
    "sbatch": "qsub; options differ, and a script takes no arguments: -v NAME=VALUE",
    "scancel": "qdel",
    "squeue": "qstat",
    "sacct": "qstat -x -f, where the server keeps history",
    "scontrol": "qstat -f, qalter, qhold or qrls",
    "sbcast": "pbsdsh cp, or a file system that all nodes see",
    "sattach": "qstat; output goes to a file",
    "sstat": "qstat -f shows resources_used",
}
_COMMANDS_TO_SLURM = {
    "mpirun": "srun, if the MPI knows Slurm's PMI; else look that -np and the list of hosts are right here",
    "mpiexec": "srun, if the MPI knows Slurm's PMI; else look that -np and the list of hosts are right here",
    "aprun": "srun",
    "pbsdsh": "srun --ntasks-per-node=1",
    "pbs_tmrsh": "srun --nodes=1 --nodelist=NODE",
    "mpiprun": "srun",
    "qsub": "sbatch --parsable; -W depend= is --dependency=",
    "qdel": "scancel",
    "qstat": "squeue",
    "qalter": "scontrol update",
    "qhold": "scontrol hold",
    "qrls": "scontrol release",
    "qrerun": "scontrol requeue",
    "qsig": "scancel --signal=NAME",
    "pbsnodes": "sinfo -N -l",
    "tracejob": "sacct -j",
}


def translate(script: Script, job: Job, target: str) -> tuple[list[str], list[Note]]:
    """The lines from the first command on, for `slurm`, `openpbs` or `torque`."""
    lines, first = script.lines[script.body - 1 :], script.body
    body = _Body("\n".join(lines), script.shell, target, job.chunks)
    return [body.line(number, line) for number, line in enumerate(lines, first)], body.notes


class _Body:
    """Goes through the lines; tells each variable and each command once."""

    def __init__(self, text: str, shell: str, target: str, chunks: Sequence[Chunk]) -> None:
        self._shell, self._target = shell, target
        self._renamed = {"slurm": _TO_SLURM, OPENPBS: _TO_PBS}.get(target, _TO_TORQUE)
        self._advice = dict(_ADVICE)
        if target == TORQUE and any(chunk.threads > 1 for chunk in chunks):  # its variables count cores
            ranks = sum(chunk.count * chunk.ranks for chunk in chunks)
            self._advice |= dict.fromkeys(("SLURM_NTASKS", "SLURM_NPROCS"), f"write the number, {ranks}")
            self._renamed = {name: found for name, found in self._renamed.items() if name not in _IN_RANKS}
        self._commands = _COMMANDS_TO_SLURM if target == "slurm" else _COMMANDS_TO_PBS
        families = r"PBS_\w+|NCPUS" if target == "slurm" else r"(?:SLURM|SBATCH|SRUN)_\w+"
        self._names = re.compile(rf"(?<!\w)(?:{families})(?!\w)", re.ASCII)
        # What the script sets by itself is its own affair.
        self._own = set(re.findall(rf"(?<![\w$])({families})=", text, re.ASCII))
        self._told: set[str] = set()
        self._line, self._number = "", 0
        self.notes: list[Note] = []

    def line(self, number: int, line: str) -> str:
        """The line in the other dialect."""
        self._line, self._number = line, number
        if line.lstrip().startswith("#"):
            return line
        for command, advice in self._commands.items():
            if re.search(rf"(?<![\w./$={{-]){command}(?![\w=.-])", _NAMES.sub("", line)):
                self._note(command, NEAR, f"{command}: {advice}")
        if self._target == "slurm" and re.search(r"\$\{?TMPDIR\b", line):
            self._note(
                "TMPDIR", NEAR, "TMPDIR: PBS makes a folder for each job and removes it; few Slurms do: see the site"
            )
        changed = self._counted(line) if self._shell == "sh" else line
        # What was put in stands between NUL characters, and stays as it is.
        parts = changed.split("\0")
        return "".join(part if at % 2 else self._names.sub(self._rename, part) for at, part in enumerate(parts))

    def _note(self, word: str, kind: str, advice: str) -> None:
        if word not in self._told:
            self._told.add(word)
            self.notes.append(Note(self._number, self._line.strip(), kind, advice))

    def _rename(self, match: re.Match[str]) -> str:
        name = match[0]
        if name in self._own:
            return name
        new, difference = self._renamed.get(name, ("", ""))
        if not new:
            self._note(name, LOST, f"{name}: {self._advice.get(name, 'nothing sets it there')}")
        elif difference:
            self._note(name, NEAR, f"{name} is {new} now: {difference}")
        return new or name

    def _counted(self, line: str) -> str:
        """The line with what a shell works out."""
        if self._target == "slurm":
            return _LISTED.sub("\0scontrol show hostnames\0", _COUNTED.sub(_count, line))
        if _NAMES.search(line):
            self._note("hostnames", NEAR, "the nodes are in $PBS_NODEFILE, by the names that PBS has for them")
            line = _NAMES.sub('\0sort -u "$PBS_NODEFILE"\0', line)
        for name, words in _COUNTS.items() if self._target == OPENPBS else ():
            reference = re.compile(rf"\$(?:{name}(?!\w)|\{{{name}(?::?-[^{{}}]*)?\}})")
            if name not in self._own and reference.search(line):
                self._note(name, NEAR, f"{name} is counted now: $PBS_NODEFILE has a line for each rank")
                line = reference.sub(f"\0{words}\0", line)
        return line


def _count(match: re.Match[str]) -> str:
    hosts = re.search(r"sort|uniq", match[1] or match[2])
    return "\0${SLURM_JOB_NUM_NODES:-1}\0" if hosts else "\0${SLURM_NTASKS:-1}\0"
