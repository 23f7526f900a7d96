"""image, and the options of submit that are about images."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcjobs import process
from hpcjobs.cli import progress
from hpcjobs.errors import StoreError
from hpcjobs.images import registry
from hpcjobs.process import Completed
from tests.cli.conftest import SITE
from tests.unit.test_image_service import SQUASHFS, Hub
from tests.unit.test_images import sif

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.cli.session import Session

RUNTIMES = "runtimes: [{kind: apptainer}, {kind: charliecloud}]\n"


@pytest.fixture(autouse=True)
def hub(session: Session, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A site with runtimes, a registry in memory, and no tools but those that a test installs."""
    (session.home / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE + RUNTIMES)
    (session.home / "bin").mkdir()
    monkeypatch.setenv("PATH", str(session.home / "bin"))
    made = Hub()
    monkeypatch.setattr(registry, "Registry", made)
    monkeypatch.setattr(registry, "credentials", lambda *_, **__: None)

    real = tempfile.mkdtemp

    def work_folder(suffix: str | None = None, prefix: str | None = None, dir: Any = None) -> str:  # noqa: A002 - its own
        if prefix and prefix.startswith(".app"):
            (dir / f"{prefix}1").mkdir()
            return str(dir / f"{prefix}1")
        return real(suffix, prefix, dir)

    monkeypatch.setattr(tempfile, "mkdtemp", work_folder)
    return made


def install(session: Session, *names: str) -> None:
    for name in names:
        (session.home / "bin" / name).write_text("#!/bin/sh\n")
        (session.home / "bin" / name).chmod(0o755)


def answer(session: Session, monkeypatch: pytest.MonkeyPatch, code: int = 0, out: str = "", err: str = "") -> None:
    """What every program says but Slurm's."""

    def run(argv: Sequence[str], **more: object) -> Completed:
        name = argv[0].rpartition("/")[2]
        if name not in ("apptainer", "mksquashfs", "unsquashfs"):
            return session.slurm(argv, **more)  # type: ignore[arg-type]
        return Completed(
            tuple(argv), *((0, "apptainer version 1.4.5\n", "") if "--version" in argv else (code, out, err))
        )

    monkeypatch.setattr(process, "run", run)


def folder(session: Session) -> Path:
    root = session.home / "work/app"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text('PRETTY_NAME="Alpine Linux v3.20"\n')
    (root / "ch").mkdir()
    (root / "ch/environment").write_text("GREETING=hello\n")
    return root


def kept(session: Session, name: str, pulled: float, source: str) -> None:
    images = session.home / "data/images"
    images.mkdir(parents=True, exist_ok=True)
    (images / name).write_bytes(bytes(3_000_000))
    notes = {"path": "", "source": source, "digest": "sha256:12", "size": 5, "pulled": pulled, "by": "ada"}
    (images / f"{name}.json").write_text(json.dumps(notes))
    os.utime(images / name, (pulled, pulled))


def test_inspect(session: Session) -> None:
    folder(session)
    (session.home / "work/in.nml").write_text("&run /\n")
    session.check(r"""
$ hpcjob image inspect app
out| image       app
out| format      directory
out| os          Alpine Linux v3.20
out| env         GREETING=hello
out| note        a folder has no digest and no size: its files can change one by one
$ hpcjob image inspect ap
err| error: there is no image ap
err|
err| hint: in .: did you mean app?
exit 6
$ hpcjob image inspect in.nml
err| error: in.nml is not a container image: its first bytes are of no known kind
err|
err| hint: images are .sif files, squashfs files, and directories
exit 3
$ hpcjob image inspect docker://alpine:3.20
out| image       docker://docker.io/library/alpine:3.20@sha256:2814ba1ae47e21f6f49e55683952d32eecba42333f12c643494aa1abcc173a0a
out| format      registry
out| size        0.0 MB
out| digest      sha256:2814ba1ae47e21f6f49e55683952d32eecba42333f12c643494aa1abcc173a0a
out| env         A=1
out| note        what is in its layers can be seen once it is pulled
$ hpcjob image inspect library://a/b/c
err| error: a library:// image cannot be looked into from afar
err|
err| hint: hpcjob image pull library://a/b/c
exit 3
$ hpcjob image inspect
err| error: missing argument 'IMAGE'
err|
err| hint: hpcjob image inspect --help says what there is
exit 2
""")


def test_convert(session: Session) -> None:
    folder(session)
    (session.home / "work/there.sqfs").write_bytes(SQUASHFS)
    session.check(r"""
$ hpcjob image convert app app.sif
err| error: SIF images are made by apptainer or singularity, and neither is on PATH
err|
err| hint: load its module (module avail), or do it on a machine that has it
exit 3
$ hpcjob image convert app app.sqfs
err| error: mksquashfs is not on PATH
err|
err| hint: install squashfs-tools, or load their module
exit 3
$ hpcjob image convert app app.tar
err| error: archives like app.tar are not written
err|
err| hint: write app.sif, app.sqfs, or a folder's name
exit 3
$ hpcjob image convert app app.sif.gz
err| error: app.sif.gz cannot be made: its name ends in .gz
err|
err| hint: write app.sif, app.sqfs, or a folder
exit 3
$ hpcjob image convert app there.sqfs
err| error: /home/work/there.sqfs exists already
err|
err| hint: choose another name, or add --force
exit 3
$ hpcjob image convert nothing app.sif
err| error: there is no image nothing
err|
err| hint: in .: there are .hpcjobs, app, there.sqfs
exit 6
$ hpcjob image convert app copy
out| /home/work/copy
$ hpcjob image convert app again --json
out| {"version": 1, "path": "/home/work/again"}
$ hpcjob image convert app copy
err| error: /home/work/copy is a folder that is there already
err|
err| hint: choose another name, or remove it yourself
exit 3
$ hpcjob image convert app copy --force
err| error: /home/work/copy is a folder that is there already
err|
err| hint: choose another name, or remove it yourself
exit 3
""")
    assert (session.home / "work/copy/etc/os-release").is_file()


def test_a_tool_that_fails(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(session)
    install(session, "apptainer")
    answer(session, monkeypatch, 255, "", "INFO:    Starting build\nFATAL:   no subuid ranges\n")
    session.check(r"""
$ hpcjob image convert app app.sif
err| error: making app.sif: apptainer failed: INFO:    Starting build | FATAL:   no subuid ranges
err|
err| hint: with -vv it tells all that it said
exit 3
""")
    assert sorted(entry.name for entry in (session.home / "work").iterdir()) == [".hpcjobs", "app"]


def test_list_and_prune(session: Session) -> None:
    session.check(r"""
$ hpcjob image list
err| 0 images in ~/data/images
$ hpcjob image prune
err| freed 0 MB
""")
    now = session.slurm.clock()
    kept(
        session,
        "alpine-3.20-sha256-0123456789ab.sif",
        now - 40 * 86400,
        "docker://docker.io/library/alpine:3.20@sha256:01",
    )
    kept(session, "app-1-sha256-ba9876543210.sqfs", now - 86400, "oras://ghcr.io/a/app:1@sha256:ba")
    session.check(r"""
$ hpcjob image list
out| IMAGE	SIZE	PULLED	FROM
out| alpine-3.20-sha256-0123456789ab.sif	3 MB	2023-10-05 22:13:20	docker://docker.io/library/alpine:3.20@sha256:01
out| app-1-sha256-ba9876543210.sqfs	3 MB	2023-11-13 22:13:20	oras://ghcr.io/a/app:1@sha256:ba
err| 2 images in ~/data/images
$ hpcjob image prune --dry-run
out| /home/data/images/alpine-3.20-sha256-0123456789ab.sif
err| would free 3 MB
$ hpcjob image prune
out| /home/data/images/alpine-3.20-sha256-0123456789ab.sif
err| freed 3 MB
$ hpcjob image prune --older-than soon
err| error: 'soon' is not a time
err|
err| hint: write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 (days-hours:minutes:seconds)
exit 2
$ hpcjob image prune --older-than 30
err| error: --older-than 30: of what?
err|
err| hint: write 30d, or 12h
exit 2
$ hpcjob image list
out| IMAGE	SIZE	PULLED	FROM
out| app-1-sha256-ba9876543210.sqfs	3 MB	2023-11-13 22:13:20	oras://ghcr.io/a/app:1@sha256:ba
err| 1 image in ~/data/images
""")


def test_a_list_on_a_terminal_has_no_digests(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(session, "alpine-3.20-sha256-0123456789ab.sif", session.slurm.clock(), "docker://alpine:3.20@sha256:01")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "@sha256" not in session.run("hpcjob image list")
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    assert "docker://alpine:3.20@sha256:01" in session.run("hpcjob image list")


def test_services_of_a_job_are_shown_with_their_output(session: Session) -> None:
    (session.home / "work/app.sif").write_bytes(sif(b"02"))
    session.run("hpcjob submit --image app.sif --service db=app.sif -- ./solve")
    folder = "2023-11-14-solve-000000000001"
    assert f"out|   service   db, its output in ~/data/jobs/{folder}/service-db.log\n" in session.run("hpcjob show j1")


def test_what_an_active_job_needs_is_not_pruned(session: Session) -> None:
    kept(session, "app.sqfs", session.slurm.clock() - 40 * 86400, "docker://a")
    image = session.home / "data/images/app.sqfs"
    image.write_bytes(SQUASHFS)
    os.utime(image, (1, 1))
    session.run(f"hpcjob submit --image {image} --runtime charliecloud -- ./solve")
    os.utime(image, (1, 1))
    assert session.run("hpcjob image prune") == "$ hpcjob image prune\nerr| freed 0 MB\n"
    session.finish("1")
    session.run("hpcjob status")
    assert f"out| {image}".replace(str(session.home), "/home") in session.run("hpcjob image prune")


def test_pull(session: Session, hub: Hub) -> None:
    hub.sif()
    session.check(r"""
$ hpcjob image pull oras://ghcr.io/a/app:1
out| /home/data/images/app-1-sha256-f3cc87384ba6.sif
$ hpcjob image pull oras://ghcr.io/a/app:1 --json
out| {"version": 1, "path": "/home/data/images/app-1-sha256-f3cc87384ba6.sif", "digest": "sha256:f3cc87384ba6aae19bb6db36d0d43f36232a39245cc4fb53e0ca6f854098390a"}
$ hpcjob image pull ubuntu
err| error: 'ubuntu' does not say where the image is
err|
err| hint: type docker://ubuntu
exit 2
$ hpcjob image pull docker://Ubuntu
err| error: the repository library/Ubuntu has upper-case letters (in docker://Ubuntu)
err|
err| hint: repositories are in lower case: type docker://ubuntu
exit 2
$ hpcjob image pull https://ghcr.io/a/app
err| error: https:// is no kind of image reference (in https://ghcr.io/a/app)
err|
err| hint: type docker://…, oras://… or library://…, without https://
exit 2
$ hpcjob image pull docker://ubuntu --format sfi
err| error: --format 'sfi' is not known
err|
err| hint: did you mean sif?
exit 2
$ hpcjob image pull oras://ghcr.io/a/app:1 --format squashfs
err| error: ghcr.io/a/app:1 is a SIF file, which this runtime cannot run
err|
err| hint: use --runtime apptainer
exit 3
""")


def test_a_registry_that_does_not_answer(session: Session, hub: Hub) -> None:
    hub.down = True
    session.check(r"""
$ hpcjob image pull docker://ubuntu:24.04
err| error: the registry did not answer
exit 5
$ hpcjob submit --image docker://ubuntu:24.04 -- ./solve
err| error: the registry did not answer
exit 5
""")
    assert session.slurm.jobs == []


def test_progress_of_a_pull_is_drawn_on_a_terminal(
    session: Session, monkeypatch: pytest.MonkeyPatch, terminal: None, capsys: pytest.CaptureFixture[str]
) -> None:
    bar = progress.Bar()
    for done, seconds in ((0, 1.0), (1_000_000, 0.05), (3_000_000, 1.0), (4_000_000, 0.01)):
        session.slurm.clock.sleep(seconds)
        bar.progress("ghcr.io/a/app:1", done, 4_000_000)
    session.slurm.clock.sleep(1.0)
    bar.progress("ghcr.io/a/lib:2", 1_000_000, 4_000_000)
    bar.say("making it")
    drawn = capsys.readouterr().err
    # What comes within a tenth of a second is not drawn, but the end always is.
    assert drawn.replace("\r", "|").replace("\x1b[K", "").splitlines() == [
        "|app:1 [........................]   0% 0/4 MB 0 MB/s"
        "|app:1 [##################......]  75% 3/4 MB 3 MB/s 0 s left"
        "|app:1 [########################] 100% 4/4 MB 4 MB/s",
        "|lib:2 [######..................]  25% 1/4 MB 0 MB/s",
        "making it",
    ]
    assert bar.line("x", 0, 0, 0).startswith("x [########################] 100% 0/0 MB")


def test_progress_is_silent_where_nobody_sees_it(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    telling = progress.telling()
    telling.progress("a", 1, 2)
    telling.say("making it")
    assert capsys.readouterr().err == "making it\n"


def test_verify_and_sign(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (session.home / "work/app.sif").write_bytes(sif(b"02"))
    (session.home / "work/app.sqfs").write_bytes(SQUASHFS)
    session.check(r"""
$ hpcjob image verify app.sif
err| error: signatures are checked by apptainer or singularity, and neither is on PATH
err|
err| hint: load its module (module avail), or do it on a machine that has it
exit 3
$ hpcjob image sign app.sif
err| error: SIF images are signed by apptainer or singularity, and neither is on PATH
err|
err| hint: load its module (module avail), or do it on a machine that has it
exit 3
$ hpcjob image sign app.sqfs
err| error: only SIF images can be signed, not app.sqfs
err|
err| hint: hpcjob image convert app.sqfs app.sif
exit 3
""")
    install(session, "apptainer")
    answer(session, monkeypatch, 255, "", "FATAL:   Failed to verify container: integrity: signature not found\n")
    session.check(r"""
$ hpcjob image verify app.sif
err| error: the image app.sif is not signed
err|
err| hint: sign it: hpcjob image sign app.sif
exit 3
$ hpcjob submit --image app.sif --verify -- ./solve
err| error: the image /home/work/app.sif is not signed
err|
err| hint: sign it: hpcjob image sign /home/work/app.sif
exit 3
""")
    answer(session, monkeypatch, 0, "[LOCAL]  Signing entity: Ada\n", "INFO:    Verified signature(s)\n")
    session.check(r"""
$ hpcjob image verify app.sif --key site.pem
err| error: there is no key site.pem
err|
err| hint: give the file of a PEM key
exit 6
""")
    (session.home / "work/site.pem").write_text("PUBLIC")
    session.check(r"""
$ hpcjob image verify app.sif --key site.pem
err| [LOCAL]  Signing entity: Ada
err| INFO:    Verified signature(s)
$ hpcjob image verify app.sif --json
out| {"version": 1, "path": "app.sif", "said": "[LOCAL]  Signing entity: Ada\nINFO:    Verified signature(s)"}
""")
    monkeypatch.setattr(process, "foreground", lambda argv: 255 if "--key" in argv else 0)
    session.check(r"""
$ hpcjob image sign app.sif --key k.pem
err| error: there is no key k.pem
err|
err| hint: give the file of a PEM key
exit 6
$ hpcjob image sign app.sif --key site.pem
err| error: app.sif was not signed: /home/bin/apptainer ended with exit code 255
err|
err| hint: a key of your own: apptainer key newpair; or a PEM key: hpcjob image sign --key FILE
exit 3
$ hpcjob image sign app.sif
$ hpcjob image sign app.sif --json
out| {"version": 1, "path": "app.sif"}
""")


def test_build(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (session.home / "work/App.def").write_text("Bootstrap: docker\n")
    session.check(r"""
$ hpcjob image build nothing.def
err| error: there is no recipe /home/work/nothing.def
err|
err| hint: give app.def, a Dockerfile, or a folder with one
exit 6
$ hpcjob image build App.def
err| error: a .def file is built by apptainer or singularity, and neither is on PATH
err|
err| hint: load its module (module avail), or do it on a machine that has it
exit 3
""")
    install(session, "apptainer")
    monkeypatch.setattr(process, "foreground", lambda _: 255)
    session.check(r"""
$ hpcjob image build App.def
err| error: /home/bin/apptainer build ended with exit code 255
err|
err| hint: its words are above
exit 3
$ hpcjob image build App.def -o app.sqfs
err| error: a .def file builds a SIF image, not /home/work/app.sqfs
err|
err| hint: write -o app.sif, then convert it
exit 3
$ hpcjob image build App.def --on-node --time 10
out| j1
err| j1 builds ~/work/app.sif on cluster; follow it: hpcjob logs -f j1
""")
    script = (session.home / "data/jobs").glob("*/job.sh")
    assert "apptainer build" in next(script).read_text()
    site = session.home / "work/.hpcjobs/sites/cluster.yaml"
    site.write_text(SITE + RUNTIMES + "image: {build: use the build farm}\n")
    session.check(r"""
$ hpcjob image build App.def --on-node
err| error: images cannot be built on cluster: use the build farm
err|
err| hint: build it elsewhere, push it to a registry, then: hpcjob image pull docker://…
exit 3
""")


def test_submit_with_options_that_are_wrong(session: Session) -> None:
    (session.home / "work/app.sif").write_bytes(sif(b"02"))
    (session.home / "work/app.sqfs").write_bytes(SQUASHFS)
    (session.home / "work/key.pem").write_text("secret")
    (session.home / "work/key.pem").chmod(0o644)
    session.check(r"""
$ hpcjob submit --image app.sif --overlay o.img:much -- ./solve
err| error: overlay 'o.img:much': 'much' is not an amount of memory
err|
err| hint: write o.img:2G
exit 3
$ hpcjob submit --image app.sif --overlay a:b:c -- ./solve
err| error: overlay 'a:b:c' is not understood
err|
err| hint: write FOLDER, FILE.img:2G (made if missing) or FILE.img:ro
exit 3
$ hpcjob submit --image app.sif -n 4 --overlay mine -- ./solve
err| looking at the MPI of this machine, once: hpcjob mpi host tells what there is
err| error: 4 ranks cannot write to the one overlay /home/work/mine
err|
err| hint: share it for reading: --overlay /home/work/mine:ro; or --writable, a layer for each in memory
exit 3
$ hpcjob submit --image app.sif --overlay mine --writable -- ./solve
err| error: --writable is one layer to write to, and /home/work/mine another
err|
err| hint: leave out one of them
exit 3
$ hpcjob submit --image app.sqfs --runtime charliecloud --overlay mine -- ./solve
err| error: charliecloud cannot do what --overlay mine asks for: overlay folders
err|
err| hint: use --runtime apptainer, which can
exit 3
$ hpcjob submit --image app.sif --service redis.sif -- ./solve
err| error: --service 'redis.sif' is not understood
err|
err| hint: write --service db=redis.sif
exit 2
$ hpcjob submit --image app.sif --service =redis.sif -- ./solve
err| error: --service '=redis.sif' is not understood
err|
err| hint: write --service db=redis.sif
exit 2
$ hpcjob submit --image app.sif --service db=redis.sif -- ./solve
err| error: there is no image /home/work/redis.sif
err|
err| hint: in /home/work: there are .hpcjobs, app.sif, app.sqfs, key.pem
exit 6
$ hpcjob submit --image app.sif --service 2db=app.sif -- ./solve
err| error: '2db' cannot be the name of a service
err|
err| hint: use letters, digits and _: db
exit 3
$ hpcjob submit --image app.sif --image-changed warm -- ./solve
err| error: --image-changed 'warm' is not known
err|
err| hint: did you mean warn?
exit 2
$ hpcjob submit --image app.sif --image-key nothing.pem -- ./solve
err| error: there is no key /home/work/nothing.pem
err|
err| hint: --image-key FILE, or --image-key env:NAME
exit 6
$ hpcjob submit --image app.sif --image-key key.pem -- ./solve
err| error: the key /home/work/key.pem can be read by others
err|
err| hint: chmod 600 /home/work/key.pem
exit 3
$ hpcjob submit --image app.sif --image-key env:NOT_SET_HERE -- ./solve
err| error: --image-key env:NOT_SET_HERE: it is not set here
err|
err| hint: export NOT_SET_HERE, then submit
exit 3
$ hpcjob submit --image app.sqfs --verify -- ./solve
err| error: only SIF images can be signed, and /home/work/app.sqfs is a squashfs
err|
err| hint: hpcjob image convert /home/work/app.sqfs app.sif, then: hpcjob image sign app.sif
exit 3
$ hpcjob submit --overlay mine -- ./solve
err| error: there is no container for --overlay mine
err|
err| hint: leave it out, or give an --image
exit 3
$ hpcjob submit --image app.sqfs --app solve --runtime charliecloud -- ./solve
err| error: charliecloud cannot do what --app solve asks for: SCIF apps
err|
err| hint: use --runtime apptainer, which can
exit 3
$ hpcjob submit --image app.sqsf -- ./solve
err| error: there is no image /home/work/app.sqsf
err|
err| hint: in /home/work: did you mean app.sqfs?
exit 6
""")
    assert session.slurm.jobs == []


def test_submit_with_all_of_them(session: Session) -> None:
    (session.home / "work/app.sif").write_bytes(sif(b"02"))
    (session.home / "work/key").write_text("secret")
    (session.home / "work/key").chmod(0o600)
    text = session.run(
        "hpcjob render --image app.sif --overlay mine --image-key key --image-changed refuse --app solve --clean-env "
        "--container-workdir /opt --service db=app.sif -n 1 -- ./solve"
    )
    assert "exit" not in text.splitlines()[-1]
    assert "secret" not in text
    for line in (
        "out| srun --ntasks=1 --cpu-bind=cores apptainer exec --bind /home/work --pwd /opt --overlay /home/work/mine "
        "--app solve /home/work/app.sif ./solve || hpcjob_status=$?",
        "out| mkdir -p /home/work/mine",
        'out| export APPTAINER_ENCRYPTION_PASSPHRASE="$(</home/work/key)"',
        "out|   hpcjob_stop 65 the image /home/work/app.sif was changed since the submission",
        "out| export HPCJOB_SERVICE_DB=$HOSTNAME",
    ):
        assert line in re.sub(r" \\\nout\| +", " ", text).splitlines()


def test_a_job_from_a_registry_is_remembered_by_digest(session: Session, hub: Hub) -> None:
    hub.sif()
    session.check(r"""
$ hpcjob submit --dry-run --image oras://ghcr.io/a/app:1 --runtime charliecloud -- ./solve
err| error: ghcr.io/a/app:1 is a SIF file, which this runtime cannot run
err|
err| hint: use --runtime apptainer
exit 3
$ hpcjob submit --image oras://ghcr.io/a/app:1 -- ./solve
out| j1
err| j1 solve: submitted to cluster as slurm job 1
err|   shape   1 node, 1 rank, 00:30:00
err|   script  ~/data/jobs/2023-11-14-solve-000000000001/job.sh
err|   follow  hpcjob logs -f j1
""")
    shown = json.loads(session.run("hpcjob show j1 --json").partition("out| ")[2])
    assert (shown["jobs"][0]["image_digest"], shown["jobs"][0]["image"]) == (
        hub.manifest.digest,
        str(session.home / "data/images" / f"app-1-sha256-{hub.manifest.digest[7:19]}.sif").replace(
            str(session.home), "/home"
        ),
    )
    hub.down = True
    assert "out| j2\n" in session.run("hpcjob resubmit j1")


def test_a_build_here_prints_the_path(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (session.home / "work/App.def").write_text("Bootstrap: docker\n")
    install(session, "apptainer")

    def build(argv: Sequence[str]) -> int:
        Path(argv[-2]).write_bytes(sif(b"02"))
        return 0

    monkeypatch.setattr(process, "foreground", build)
    session.check(r"""
$ hpcjob image build App.def
out| /home/work/app.sif
$ hpcjob image build App.def --force --json
out| {"version": 1, "path": "/home/work/app.sif"}
$ hpcjob image build app.sif -o new.sif
err| error: /home/work/app.sif is an image, and no recipe
err|
err| hint: hpcjob image convert /home/work/app.sif /home/work/new.sif
exit 3
$ hpcjob image build App.def -p debug
err| error: -p is about a job, and the image is built here
err|
err| hint: add --on-node
exit 2
$ hpcjob image build App.def -A project
err| error: -A is about a job, and the image is built here
err|
err| hint: add --on-node
exit 2
$ hpcjob image build App.def --time 10
err| error: -t is about a job, and the image is built here
err|
err| hint: add --on-node
exit 2
""")
    assert (session.home / "work/app.sif").read_bytes() == sif(b"02")
    shown = json.loads(session.run("hpcjob image build App.def --force --on-node --json").partition("out| ")[2])
    assert [job["name"] for job in shown["jobs"]] == ["build-app.sif"]


def test_pull_for_a_runtime_with_a_store_of_its_own(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    site = session.home / "work/.hpcjobs/sites/cluster.yaml"
    site.write_text(SITE + "runtimes: [{kind: docker}]\n")
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], **_: object) -> Completed:
        ran.append(argv)
        return Completed(tuple(argv), 0, "", "")

    monkeypatch.setattr(process, "run", run)
    session.check(r"""
$ hpcjob image pull docker://alpine:3.20
out| docker://docker.io/library/alpine@sha256:2814ba1ae47e21f6f49e55683952d32eecba42333f12c643494aa1abcc173a0a
err| pulling docker.io/library/alpine@sha256:2814ba1ae47e21f6f49e55683952d32eecba42333f12c643494aa1abcc173a0a with docker
""")
    assert [call[:2] for call in ran] == [("docker", "pull")]
    site.write_text(SITE + "runtimes: [{kind: podman}]\n")
    session.check(r"""
$ hpcjob image pull docker://alpine:3.20
err| error: no runtime of site cluster keeps images that are pulled here
err|
err| hint: give --format sif
exit 3
""")


def test_a_pull_that_is_ended_by_a_signal_ends_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)
    progress.telling()
    assert set(handlers) == {signal.SIGTERM, signal.SIGHUP}
    with pytest.raises(SystemExit) as caught:
        handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert caught.value.code == 143


def test_under_nohup_the_end_of_a_terminal_is_ignored_still(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        progress.telling()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_cannot_be_pruned_is_told(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(session, "app.sif", 1, "docker://a")

    def refuse(self: object, path: Path) -> None:
        raise StoreError(f"{path} cannot be removed: Permission denied")

    monkeypatch.setattr("hpcjobs.images.library.Folder.remove", refuse)
    session.check(r"""
$ hpcjob image prune
err| warning: /home/data/images/app.sif cannot be removed: Permission denied
err| freed 0 MB
exit 1
""")


def test_gpus_that_are_no_number_and_files_beside_the_script(session: Session) -> None:
    (session.home / "work/app.sqfs").write_bytes(SQUASHFS)
    (session.home / "work/.hpcjobs/sites/cluster.yaml").write_text(SITE + "runtimes: [{kind: ce}]\n")
    text = session.run("hpcjob render --image app.sqfs -- ./solve")
    assert 'err| beside it, container.toml:\nerr| image = "/home/work/app.sqfs"\n' in text
    assert "--gpus-per-node 'many' is not a number of GPUs" in session.run(
        "hpcjob submit --gpus-per-node many -- ./solve"
    )
