"""Images as programs: wrap, module, image run|exec|shell|mpi, kernel, jupyter, serve, shell, and notebooks."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from hpcjobs import process, webapps
from hpcjobs.cli import out
from hpcjobs.cli.app import _parameters
from hpcjobs.errors import PlanError
from hpcjobs.image_service import Images
from hpcjobs.process import Completed
from hpcjobs.service import Service
from hpcjobs.webapps import App
from tests.cli.conftest import SITE
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cli.session import Session

RUNTIMES = "runtimes: [{kind: apptainer, version: 1.4.5}]\nbind: [/scratch]\n"
NOTEBOOK = {"cells": [{"cell_type": "code"}], "metadata": {}}


@pytest.fixture(autouse=True)
def programs(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, str]]:
    """An image, a notebook, and what images answer when they are asked; what a process becomes is told."""
    (session.home / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE + RUNTIMES)
    (session.home / "work/app.sif").write_bytes(sif(b"02"))
    (session.home / "work/fit.ipynb").write_text(json.dumps(NOTEBOOK))
    (session.home / "work/my-kernel.sif").write_bytes(sif(b"02"))
    monkeypatch.setenv("PATH", str(session.home / "bin"))
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setattr("os.uname", lambda: os.uname_result(("Linux", "login1", "6", "1", "x86_64")))
    for name in ("JUPYTER_DATA_DIR", "XDG_DATA_HOME", "SLURM_JOB_ID", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    answers = [(0, "0 python3 3.11.2 6.29.5 message\n", "")]

    def run(argv: Sequence[str], **more: Any) -> Completed:
        if argv[0] == "bash":
            return Completed(tuple(argv), *answers[-1])
        return session.slurm(argv, **more)

    def become(argv: Sequence[str]) -> NoReturn:
        out.say("becomes: " + " ".join(shlex.quote(_last(word)) for word in argv))
        raise SystemExit(0)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(process, "become", become)
    return answers


def _last(word: str) -> str:
    """Of a script the command that it becomes."""
    return re.sub(r"\s*\\\n\s*", " ", f"...{word.rpartition(chr(10) + 'exec ')[2].strip()}") if "\n" in word else word


# --------------------------------------------------------------------------------- wrap and module


def test_programs_of_an_image_are_commands(session: Session) -> None:
    session.check(r"""
$ hpcjob wrap app.sif --command solve --command /opt/bin/post.py --to ../bin
out| /home/bin/solve
out| /home/bin/post.py
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
$ hpcjob wrap app.sif --command solve
out| /home/work/solve
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| to call solve by name: export PATH=~/work:$PATH
$ hpcjob wrap app.sif --command solve --to new --json
out| {"version": 1, "files": ["/home/work/new/solve"]}
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
$ hpcjob wrap app.sif
out| /home/work/app
err| to call app by name: export PATH=~/work:$PATH
""")
    text = (session.home / "bin/solve").read_text()
    assert subprocess.run(["/bin/bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_commands_that_cannot_be_written(session: Session) -> None:
    (session.home / "work/solve").write_text("#!/bin/sh\n")
    session.check(r"""
$ hpcjob wrap app.sif --command solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| error: there is a file /home/work/solve that hpcjob did not write
err|
err| hint: choose another place, or --force
exit 3
$ hpcjob wrap app.sif --command solve --force
out| /home/work/solve
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| to call solve by name: export PATH=~/work:$PATH
$ hpcjob wrap app.sif --command 'a b'
err| error: 'a b' cannot be the name of a command
err|
err| hint: write --command samtools
exit 2
$ hpcjob wrap app.sif --command solve --command /opt/solve
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| error: two commands would be called solve
err|
err| hint: leave out one of them
exit 2
$ hpcjob wrap gone.sif --command solve
err| error: there is no image /home/work/gone.sif
err|
err| hint: in /home/work: there are .hpcjobs, app.sif, fit.ipynb, my-kernel.sif, solve
exit 6
$ hpcjob wrap app.sif --command a --to app.sif
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| error: /home/work/app.sif/a cannot be written: File exists
err|
err| hint: choose another place with --to
exit 3
$ hpcjob wrap app.sif --command a --runtime podman
err| error: site cluster has no runtime 'podman'
err|
err| hint: there is apptainer
exit 3
""")
    assert (session.home / "work/solve").read_text().startswith("#!/bin/bash\n# A program of a container image")


def test_programs_of_an_image_are_a_module(session: Session) -> None:
    session.check(r"""
$ hpcjob module app.sif --command solve
out| /home/modulefiles/.commands/app/latest/solve
out| /home/modulefiles/app/latest.lua
out| /home/modulefiles/app/latest
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| to load it: module use ~/modulefiles; module load app/latest
$ hpcjob module app.sif --command solve --name tools/1.0 --to mods
out| /home/work/mods/.commands/tools/1.0/solve
out| /home/work/mods/tools/1.0.lua
out| /home/work/mods/tools/1.0
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
err| to load it: module use ~/work/mods; module load tools/1.0
$ hpcjob module app.sif --command solve --name tools/1.0 --to mods --json
out| {"version": 1, "files": ["/home/work/mods/.commands/tools/1.0/solve", "/home/work/mods/tools/1.0.lua", "/home/work/mods/tools/1.0"]}
err| mpi: hybrid (the way of the site's launcher: the program's MPI could not be seen)
$ hpcjob module app.sif --command solve --name a/b/c
err| error: 'a/b/c' cannot be the name of a module
err|
err| hint: give one: --name samtools/1.20
exit 2
""")


# ------------------------------------------------------------------------------------- image verbs


def test_an_image_runs_here(session: Session) -> None:
    session.check(r"""
$ hpcjob image run app.sif -- -v 'a b'
out| becomes: bash -c '...apptainer run --bind /scratch --bind "$hpcjob_here" --pwd "$hpcjob_here" /home/work/app.sif "$@"' hpcjob -v 'a b'
$ hpcjob image exec app.sif --bind /data:/in:ro -- samtools view 'a b'
out| becomes: bash -c '...apptainer exec --bind /scratch --bind /data:/in:ro --bind "$hpcjob_here" --pwd "$hpcjob_here" /home/work/app.sif samtools "$@"' hpcjob view 'a b'
err| warning: /data is not here; the job will need it on its nodes
$ hpcjob image exec app.sif
err| error: there is no program to run
err|
err| hint: hpcjob image exec app.sif -- PROGRAM; or hpcjob image run
exit 2
$ hpcjob image shell app.sif
out| becomes: bash -c '...apptainer exec --bind /scratch --bind "$hpcjob_here" --pwd "$hpcjob_here" /home/work/app.sif sh -c '"'"'if command -v bash >/dev/null; then exec bash; else exec sh; fi'"'"' "$@"' hpcjob
$ hpcjob image exec gone.sif -- a
err| error: there is no image /home/work/gone.sif
err|
err| hint: in /home/work: there are .hpcjobs, app.sif, fit.ipynb, my-kernel.sif
exit 6
""")


def test_ranks_of_an_image(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.check(r"""
$ hpcjob image mpi app.sif
err| error: there is no program to run
err|
err| hint: hpcjob image mpi -n 4 app.sif -- ./solve
exit 2
$ hpcjob image mpi -N 2 --mpi none app.sif -- ./solve
err| error: srun starts ranks in a job, and this shell is in none
err|
err| hint: hpcjob shell -N 2 gives one; or send a job: hpcjob submit --image app.sif …
exit 3
""")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    words = session.run("hpcjob image mpi -n 4 --mpi none app.sif -- ./solve in.nml")
    assert "out| becomes: srun --ntasks=4 --cpu-bind=cores --mpi=none bash -c " in words
    assert words.endswith("/home/work/app.sif ./solve in.nml' hpcjob\n")


# ---------------------------------------------------------------------------------------- kernels


def test_kernels(session: Session) -> None:
    session.check(r"""
$ hpcjob kernel list
err| 0 kernels of hpcjob's in ~/.local/share/jupyter/kernels
$ hpcjob kernel install my-kernel.sif --name "My Python"
out| /home/.local/share/jupyter/kernels/my-python
err| My Python: Python 3.11.2, ipykernel 6.29.5, by apptainer
err|   start it: choose it in Jupyter, or: jupyter console --kernel my-python
$ hpcjob kernel install my-kernel.sif --name Two --kernel-name other --prefix env --json
out| {"version": 1, "kernel": {"name": "other", "title": "Two", "folder": "/home/work/env/share/jupyter/kernels/other", "language": "python", "image": "/home/work/my-kernel.sif", "runtime": "apptainer", "site": "cluster"}}
$ hpcjob kernel list
out| NAME	TITLE	RUNTIME	IMAGE
out| my-python	My Python	apptainer	~/work/my-kernel.sif
err| 1 kernel of hpcjob's in ~/.local/share/jupyter/kernels
$ hpcjob kernel list --json --prefix env
out| {"version": 1, "folder": "/home/work/env/share/jupyter/kernels", "kernels": [{"name": "other", "title": "Two", "folder": "/home/work/env/share/jupyter/kernels/other", "language": "python", "image": "/home/work/my-kernel.sif", "runtime": "apptainer", "site": "cluster"}]}
$ hpcjob kernel check
out| my-python: well
$ hpcjob kernel check my-python --json
out| {"version": 1, "kernels": [{"name": "my-python", "title": "My Python", "folder": "/home/.local/share/jupyter/kernels/my-python", "language": "python", "image": "/home/work/my-kernel.sif", "runtime": "apptainer", "site": "cluster", "problem": ""}]}
$ hpcjob kernel check --prefix env/none
err| there is no kernel of hpcjob's in ~/work/env/none/share/jupyter/kernels
$ hpcjob kernel remove my-python
out| /home/.local/share/jupyter/kernels/my-python
$ hpcjob kernel remove other --prefix env --json
out| {"version": 1, "removed": ["/home/work/env/share/jupyter/kernels/other"]}
$ hpcjob kernel list
err| 0 kernels of hpcjob's in ~/.local/share/jupyter/kernels
""")


def test_kernels_that_cannot_be(session: Session, programs: list[tuple[int, str, str]]) -> None:
    session.check(r"""
$ hpcjob kernel install my-kernel.sif
err| error: the kernel has no name
err|
err| hint: hpcjob kernel install my-kernel.sif --name "PyTorch 2.7"
exit 2
$ hpcjob kernel install my-kernel.sif --name '...'
err| error: '...' cannot be the name of a kernel
err|
err| hint: give one: --kernel-name pytorch-2.7
exit 2
$ hpcjob kernel install my-kernel.sif --name A --kernel-name ..
err| error: '..' cannot be the name of a kernel
err|
err| hint: give one: --kernel-name pytorch-2.7
exit 2
$ hpcjob kernel install my-kernel.sif --name A --language perl
err| error: --language 'perl' is not known
err|
err| hint: there are R, julia, python
exit 2
$ hpcjob kernel install my-kernel.sif --name A --language julia
err| error: there is no Julia on the PATH of the image /home/work/my-kernel.sif
err|
err| hint: name it: --program /opt/conda/bin/python
exit 3
$ hpcjob kernel install my-kernel.sif --name A --prefix /x --sys-prefix
err| error: --prefix and --sys-prefix are two places
err|
err| hint: leave out one of them
exit 2
$ hpcjob kernel remove
err| error: no kernel is named
err|
err| hint: hpcjob kernel list shows those there are
exit 2
$ hpcjob kernel remove nothing
err| error: there is no kernel 'nothing' of hpcjob's in /home/.local/share/jupyter/kernels
err|
err| hint: there is none
exit 6
$ hpcjob kernel check nothing
err| error: there is no kernel 'nothing' of hpcjob's in /home/.local/share/jupyter/kernels
err|
err| hint: there is none
exit 6
""")
    programs.append((0, "0 python3 3.11.2 - -\n", ""))
    assert "has Python 3.11.2 without ipykernel, the kernel" in session.run(
        "hpcjob kernel install my-kernel.sif --name A"
    )
    programs.append((1, "", "FATAL: it does not\n"))
    assert "does not start here: FATAL: it does not" in session.run("hpcjob kernel install my-kernel.sif --name A")


def test_a_kernel_that_is_not_well_any_more(session: Session) -> None:
    session.run("hpcjob kernel install my-kernel.sif --name A")
    (session.home / ".local/share/jupyter/kernels/a/launch").write_text("#!/bin/bash\n")
    (session.home / "work/my-kernel.sif").rename(session.home / "work/gone.sif")
    session.check(r"""
$ hpcjob kernel check
out| a: there is no image /home/work/my-kernel.sif
exit 1
""")


# ---------------------------------------------------------------------------------------- notebooks


def test_a_notebook_is_a_job(session: Session, programs: list[tuple[int, str, str]]) -> None:
    programs.append((0, "3 11 1 1\n", ""))
    text = session.run(
        "hpcjob submit --dry-run --image app.sif --notebook fit.ipynb -p debug -p alpha=0.5 --parameter name=a"
    )
    assert "out| #SBATCH --job-name=fit\n" in text
    assert "out| #SBATCH --partition=debug\n" in text
    assert "papermill fit.ipynb -k python3 -p alpha 0.5 -p name a" in text


def test_notebooks_that_are_refused(session: Session) -> None:
    (session.home / "work/bad.ipynb").write_text("no notebook")
    session.check(r"""
$ hpcjob submit --image app.sif --notebook gone.ipynb
err| error: there is no notebook gone.ipynb
err|
err| hint: is its name right?
exit 6
$ hpcjob submit --image app.sif --notebook bad.ipynb
err| error: bad.ipynb is no notebook that can be run: Expecting value: line 1 column 1 (char 0)
err|
err| hint: open and save it in Jupyter (nbformat 4)
exit 3
$ hpcjob submit --image app.sif --notebook fit.ipynb -- ./solve
err| error: a notebook and a command are two programs
err|
err| hint: leave out one; parameters are given by -p x=1
exit 2
$ hpcjob submit --image app.sif --notebook fit.ipynb -n 2
err| error: a notebook runs once, not on several ranks
err|
err| hint: leave out -N, -n; cores are given by -c
exit 2
$ hpcjob submit --image app.sif --notebook fit.ipynb -p 1a=2
err| error: '1a' cannot be the name of a parameter
err|
err| hint: -p alpha=0.5
exit 2
$ hpcjob submit --image app.sif --notebook fit.ipynb --parameter =2
err| error: --parameter '=2' is not understood
err|
err| hint: write --parameter alpha=0.5
exit 2
$ hpcjob submit -p a=1 -- ./solve
err| error: parameters are for a notebook, and there is none
err|
err| hint: add --notebook nb.ipynb
exit 2
""")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-p", "debug"], ["-p", "debug"]),
        (["-p", "a=1", "-p", "debug"], ["--parameter", "a=1", "-p", "debug"]),
        (["-p"], ["-p"]),
        (["x", "-p", "a="], ["x", "--parameter", "a="]),
        ([], []),
        (["--env", "-p", "a=b"], ["--env", "--parameter", "a=b"]),
    ],
)
def test_a_partition_has_no_equals_sign_in_its_name(words: list[str], found: list[str]) -> None:
    assert list(_parameters(words)) == found


# ------------------------------------------------------------------------------------- GPUs in all


def test_gpus_of_all_nodes(session: Session) -> None:
    site = (SITE + RUNTIMES).replace("cores: 8,", "cores: 8, gpus: 4,") + "gpu: {kind: nvidia}\n"
    (session.home / "work/.hpcjobs/sites/cluster.yaml").write_text(site)
    assert "out| #SBATCH --gpus-per-node=a100:2\n" in session.run(
        "hpcjob submit --dry-run -N 2 --gpus a100:4 -- ./solve"
    )
    assert "out| #SBATCH --gpus-per-node=1\n" in session.run("hpcjob submit --dry-run --gpus 1 -- ./solve")
    session.check(r"""
$ hpcjob submit --gpus 3 -N 2 -- ./solve
err| error: --gpus 3: that many GPUs cannot be shared out to 2 nodes
err|
err| hint: write --gpus-per-node 4
exit 2
$ hpcjob submit --gpus many -- ./solve
err| error: --gpus many: that many GPUs cannot be shared out to 1 node
err|
err| hint: write --gpus-per-node 4
exit 2
$ hpcjob submit --gpus 2 --gpus-per-node 1 -- ./solve
err| error: --gpus and --gpus-per-node say the same thing twice
err|
err| hint: leave out one of them
exit 2
""")


# ---------------------------------------------------------------------------- jupyter, serve, shell


def answering(session: Session) -> None:
    """The next job starts, and its application answers."""

    def answer() -> None:
        (record,) = (each for each in Service().history() if not each.state.final)
        session.slurm.start(record.native_id)
        Path(record.folder, "app").write_text("host=n1\nport=23456\n")

    session.meanwhile(answer)


def test_jupyterlab_in_a_job(session: Session) -> None:
    answering(session)
    session.check(r"""
$ hpcjob jupyter --image app.sif --idle 1h
out| j1
err| j1 jupyter: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-jupyter-000000000001/job.sh
err| j1 jupyter: running
err|   tunnel  ssh -N -L 23456:n1:23456 ada@login1
err|           (type that on your own computer, and leave it open)
err|   open    http://localhost:23456/lab
err|   token   cat ~/data/jobs/2023-11-14-jupyter-000000000001/token
err|   end     hpcjob cancel j1
$ hpcjob jupyter --job last
err|   tunnel  ssh -N -L 23456:n1:23456 ada@login1
err|           (type that on your own computer, and leave it open)
err|   open    http://localhost:23456/lab
err|   token   cat ~/data/jobs/2023-11-14-jupyter-000000000001/token
err|   end     hpcjob cancel j1
$ hpcjob jupyter --job last --json
out| {"version": 1, "job": "j1", "host": "n1", "port": 23456, "address": "http://localhost:23456/lab", "tunnel": "ssh -N -L 23456:n1:23456 ada@login1", "token": "/home/data/jobs/2023-11-14-jupyter-000000000001/token"}
""")
    script = next((session.home / "data/jobs").glob("*/job.sh")).read_text()
    assert 'exec jupyter-lab "$@"' in script


def test_a_web_application_in_a_job(session: Session) -> None:
    answering(session)
    session.check(r"""
$ hpcjob serve --port 8050 --name viz -- ./dashboard
out| j1
err| j1 viz: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-viz-000000000001/job.sh
err| j1 viz: running
err|   tunnel  ssh -N -L 23456:n1:23456 ada@login1
err|           (type that on your own computer, and leave it open)
err|   open    http://localhost:23456/
err|   token   cat ~/data/jobs/2023-11-14-viz-000000000001/token
err|   end     hpcjob cancel j1
$ hpcjob serve --no-wait -- ./dashboard
out| j2
err| j2 dashboard: submitted to cluster as slurm job 2
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-dashboard-000000000002/job.sh
err|   follow  hpcjob logs -f j2
err| hint: hpcjob serve --job j2 says where it is
$ hpcjob serve --no-wait --json -- ./dashboard
out| {"version": 1, "jobs": [{"id": "j3", "native_id": "3", "name": "dashboard", "state": "pending", "final": false, "scheduler_state": null, "reason": null, "exit_code": null, "signal": null, "study": null, "site": "cluster", "scheduler": "slurm", "partition": null, "nodes": 1, "ntasks": 1, "node_list": null, "time_limit": 1800.0, "elapsed": null, "restarts": 0, "array": null, "tasks": null, "created": "2023-11-14T22:13:20Z", "submitted": "2023-11-14T22:13:20Z", "started": null, "ended": null, "seen": "2023-11-14T22:13:20Z", "image": null, "image_digest": null, "command": ["./dashboard"], "workdir": "/home/work", "folder": "/home/data/jobs/2023-11-14-dashboard-000000000003", "output": "/home/data/jobs/2023-11-14-dashboard-000000000003/stdout.log", "error": "/home/data/jobs/2023-11-14-dashboard-000000000003/stderr.log"}]}
$ hpcjob serve --job j1
err|   tunnel  ssh -N -L 23456:n1:23456 ada@login1
err|           (type that on your own computer, and leave it open)
err|   open    http://localhost:23456/
err|   token   cat ~/data/jobs/2023-11-14-viz-000000000001/token
err|   end     hpcjob cancel j1
""")


def test_a_job_file_of_several_ranks_is_no_application(session: Session) -> None:
    (session.home / "work/job.yaml").write_text("{ntasks: 4, command: [./dashboard]}")
    session.check(r"""
$ hpcjob serve job.yaml --no-wait
err| error: a web application is one program, not 4 ranks
err|
err| hint: leave out -a, -N and -n
exit 3
""")


def test_applications_that_are_refused(session: Session, programs: list[tuple[int, str, str]]) -> None:
    session.run("hpcjob submit -- ./solve")
    programs.append((44, "", ""))
    session.check(r"""
$ hpcjob serve
err| error: there is no application to run
err|
err| hint: hpcjob serve --image viz.sif -- ./dashboard
exit 2
$ hpcjob serve --port 80 -- ./dashboard
err| error: --port '80' is no port
err|
err| hint: write --port auto, or a number from 1024 to 65535
exit 3
$ hpcjob serve --idle soon -- ./dashboard
err| error: 'soon' is not a time
err|
err| hint: write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 (days-hours:minutes:seconds)
exit 2
$ hpcjob jupyter
err| error: there is no image with JupyterLab
err|
err| hint: hpcjob jupyter --image lab.sif
exit 2
$ hpcjob jupyter --image app.sif
err| error: there is no JupyterLab in the image /home/work/app.sif
err|
err| hint: add it where the image is made: RUN pip install jupyterlab
exit 3
$ hpcjob serve --job j1
err| error: j1 is no web application
err|
err| hint: hpcjob serve --port auto -- PROGRAM
exit 2
$ hpcjob serve --job j9
err| error: there is no job j9
err|
err| hint: hpcjob history lists all jobs
exit 6
$ hpcjob serve -n 4 -- ./dashboard
err| error: there is no option -n
err|
err| hint: hpcjob serve --help says what there is
exit 2
""")


def test_a_job_whose_folder_is_gone_is_no_application(session: Session) -> None:
    session.run("hpcjob serve --no-wait -- ./dashboard")
    (folder,) = (session.home / "data/jobs").iterdir()
    shutil.rmtree(folder)
    assert "err| error: j1 is no web application\n" in session.run("hpcjob serve --job j1")


def test_a_dry_run_of_jupyterlab_looks_into_no_image(session: Session, programs: list[tuple[int, str, str]]) -> None:
    programs.append((44, "", ""))
    text = session.run("hpcjob jupyter --image app.sif --port 8888 --dry-run")
    assert "out| export HPCJOB_ADDRESS=0.0.0.0 HPCJOB_PORT=8888 HPCJOB_TOKEN\n" in text


def test_an_application_of_this_machine_needs_no_tunnel(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.run("hpcjob serve --no-wait -- ./dashboard")
    monkeypatch.setattr(webapps, "wait", lambda *_, **__: App("login1", 23456, Path("/jobs/1/token")))
    monkeypatch.setattr(webapps, "tunnel", lambda *_, **__: "")
    session.check(r"""
$ hpcjob serve --job j1
err|   open    http://localhost:23456/
err|   token   cat /jobs/1/token
err|   end     hpcjob cancel j1
""")


def test_an_image_that_runs_nothing_by_itself(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*_: object, **__: object) -> NoReturn:
        raise PlanError("the image app.sif has no entrypoint", hint="leave out --entrypoint, and name the program")

    monkeypatch.setattr(Images, "choose", choose)
    session.check(r"""
$ hpcjob image run app.sif
err| error: the image app.sif has no entrypoint
err|
err| hint: name a program of it: hpcjob image exec app.sif -- PROGRAM
exit 3
$ hpcjob wrap app.sif
err| error: the image app.sif has no entrypoint
err|
err| hint: name a program of it: --command NAME
exit 3
""")


def test_an_application_that_ends_before_it_answers(session: Session) -> None:
    session.meanwhile(lambda: session.finish("1", 3))
    session.check(r"""
$ hpcjob serve -- ./dashboard
out| j1
err| j1 dashboard: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-dashboard-000000000001/job.sh
err| j1 dashboard: failed
err| error: j1 does not answer: it is failed
err|
err| hint: see: hpcjob logs j1
exit 1
""")


def test_a_shell_on_a_node(session: Session) -> None:
    session.check(r"""
$ hpcjob shell -N 2 -t 1h
out| becomes: salloc --job-name=shell --nodes=2 --ntasks-per-node=1 --time=01:00:00 --chdir=/home/work srun --pty --overlap --mem=0 --nodes=1 --ntasks=1 --mpi=none --cpu-bind=none bash -c '...exec bash'
$ hpcjob shell -N 9
err| error: partition debug has 4 nodes for one job, and 9 are needed
err|
err| hint: -N 4 is the most there
exit 3
$ hpcjob shell -a 0-3
err| error: there is no option -a
err|
err| hint: hpcjob shell --help says what there is
exit 2
""")


def test_a_shell_in_an_image_on_a_node_is_shown_first(session: Session) -> None:
    text = session.run("hpcjob shell --image app.sif --dry-run")
    # Where lines are folded depends on the length of paths.
    whole = re.sub(r"\s*\\\nout\|\s*", " ", text)
    assert (
        "out| salloc --job-name=shell --nodes=1 --ntasks-per-node=1 --time=00:30:00 --chdir=/home/work srun " in whole
    )
    assert ' --pwd "$hpcjob_here" /home/work/app.sif sh -c ' in whole
    assert "err| " not in text


def test_a_shell_of_pbs_is_typed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (session.home / "work/pbs.yaml").write_text(
        "description: x\nscheduler: {kind: pbs, extra: {dialect: openpbs}}\nlauncher: {kind: none}\n"
        "partitions: {workq: {default: true, nodes: 4, node: {cores: 8}}}\n"
    )
    typed: dict[str, Any] = {}

    def in_terminal(argv: Sequence[str], **more: Any) -> int:
        (file,) = (session.home / "data/shells").iterdir()
        typed.update(argv=argv, text=file.read_text(), file=str(file), **more)
        return 5

    monkeypatch.setattr(process, "in_terminal", in_terminal)
    session.check(r"""
$ hpcjob shell --site-file pbs.yaml --dry-run -t 1h
out| qsub -I -N shell -l select=1:ncpus=1:mpiprocs=1:ompthreads=1 -l place=pack -l walltime=01:00:00
err| and there: cd /home/work && exec bash /home/data/shells/000000000001.sh
$ hpcjob shell --site-file pbs.yaml -t 1h
exit 5
""")
    assert typed["argv"][:2] == ("qsub", "-I")
    assert typed["text"] == "exec bash\n"
    assert typed["typed"].endswith(f"/work && exec bash {typed['file']}\n")
    assert list((session.home / "data/shells").iterdir()) == []
