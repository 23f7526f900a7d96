"""Every file and folder that hpcjobs reads or writes, by name."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from hpcjobs.errors import PlanError

PACKAGE = Path(__file__).resolve().parent


def data_home() -> Path:
    """Where the database and the job folders live: `$HPCJOBS_HOME`, else below `$XDG_DATA_HOME`."""
    if home := os.environ.get("HPCJOBS_HOME"):
        return Path(home).absolute()
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(base) / "hpcjobs"


def database() -> Path:
    """The job database."""
    return data_home() / "jobs.sqlite3"


def config_home() -> Path:
    """The user's own sites and templates."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "hpcjobs"


def cache_home() -> Path:
    """What can be asked again: a cluster's partitions, say."""
    return data_home() / "cache"


def packaged(kind: str) -> Path:
    """The folder of built-in `templates` or `sites`, in a wheel and in a checkout alike."""
    inside = PACKAGE / "_data" / kind
    return inside if inside.is_dir() else PACKAGE.parent / {"sites": "site-configs"}.get(kind, kind)


def _project(kind: str) -> list[tuple[str, Path]]:
    try:
        return [("project", Path.cwd() / ".hpcjobs" / kind)]
    except FileNotFoundError:  # the working folder was removed
        return []


def _layers(kind: str, variable: str) -> list[tuple[str, Path]]:
    named = [("environment", Path(p)) for p in os.environ.get(variable, "").split(os.pathsep) if p]
    return [
        *_project(kind),
        *named,
        ("user", config_home() / kind),
        ("system", Path("/etc/hpcjobs") / kind),
        ("built-in", packaged(kind)),
    ]


def site_folders() -> list[tuple[str, Path]]:
    """Where site files are looked for, nearest first: (who put it there, folder)."""
    return _layers("sites", "HPCJOBS_SITE_PATH")


def template_folders() -> list[tuple[str, Path]]:
    """Where templates are looked for, nearest first: (who put it there, folder)."""
    return _layers("templates", "HPCJOBS_TEMPLATE_PATH")


def new_tag() -> str:
    """A name for a job that no other job has: 48 random bits."""
    return os.urandom(6).hex()


def folder_name(tag: str, name: str, when: float) -> str:
    """`2026-11-21-solve-3f9c2a71b2c4`: sorts by day, says what it was, unique by its tag."""
    return "-".join(filter(None, (time.strftime("%Y-%m-%d", time.gmtime(when)), slug(name), tag)))


def slug(name: str) -> str:
    """What of a name can stand in the name of any folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:30]


_PATTERN = re.compile(r"%(\d{0,2})([%jAaxu])")


def expand_pattern(pattern: str, *, native_id: str, index: int | None = None, name: str = "") -> str:
    """The file that a name with Slurm's patterns stands for (sbatch(1), FILENAME PATTERN).

    `%j` and `%A` are the job's id, `%a` the array index (0 for a job that is no array), `%x` its name, `%u` the
    user, `%%` a percent sign; a number between pads with zeros (`%4a`).
    """
    # PBS's ids are 12.server and 12[].server.
    number = re.split(r"[\[.]", native_id, maxsplit=1)[0]
    values = {
        "%": "%",
        "j": number,
        "A": number,
        "a": str(index or 0),
        "x": name,
        "u": os.environ.get("USER", ""),
    }
    return _PATTERN.sub(lambda match: values[match[2]].zfill(int(match[1] or 0)), pattern)


@dataclass(frozen=True)
class JobFolder:
    """The files of one job. The folder is 0700, its files 0600."""

    root: Path

    @property
    def spec(self) -> Path:
        """The request, as JSON: what `resubmit` reads."""
        return self.root / "spec.json"

    @property
    def plan(self) -> Path:
        """Everything decided, as JSON: what `show` prints."""
        return self.root / "plan.json"

    @property
    def record(self) -> Path:
        """A copy of the database row, from which the database can be rebuilt."""
        return self.root / "record.json"

    @property
    def script(self) -> Path:
        """The batch script as submitted."""
        return self.root / "job.sh"

    @property
    def submit_lock(self) -> Path:
        """Locked while a submission of this job is under way, by hpcjob or by the command it started."""
        return self.root / "submit.lock"

    def exit_file(self, index: int | None = None) -> Path:
        """Where the job writes its end; one file a task for arrays."""
        return self.root / ("exit" if index is None else f"exit.{index}")

    def start_file(self, index: int | None = None) -> Path:
        """Where a job of PBS writes that it began: the server may keep no history."""
        return self.root / ("start" if index is None else f"start.{index}")


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study. The folder is 0700, its files 0600."""

    root: Path

    @property
    def record(self) -> Path:
        """What was asked, and the rounds: a copy of the database row, from which that can be rebuilt."""
        return self.root / "study.json"

    @property
    def design(self) -> Path:
        """What the first points were made from."""
        return self.root / "design.json"

    @property
    def lock(self) -> Path:
        """Locked while somebody sends jobs of the study."""
        return self.root / "study.lock"

    @property
    def ends(self) -> Path:
        """A file a node, to which points and tasks add a line when they end."""
        return self.root / "ends"

    @property
    def skip(self) -> Path:
        """An empty file for each point that is not to be begun any more."""
        return self.root / "skip"

    def table(self, number: int) -> Path:
        """The parameters of a round's points, a line each."""
        return self.root / f"points-{number}.tsv"

    def script(self, number: int) -> Path:
        """What runs a point of a round on the node."""
        return self.root / f"point-{number}.sh"

    def job(self, number: int) -> Path:
        """The folder of the study's job of that number, from 1."""
        return self.root / f"c{number:04d}"

    def log(self, point: int) -> Path:
        """What a point writes, if nobody asked for another place."""
        return self.root / "log" / str(point // 1000) / f"{point}.log"


def absolute_image(image: str) -> str:
    """The path of an image from the root; the name of one in a registry as it is."""
    return image if not image or "://" in image else absolute(image)


def absolute(path: str) -> str:
    """The path from the root, with symbolic links kept: `/home/u` often is one that only the login node resolves.

    Raises:
        PlanError: the current folder was removed.
    """
    try:
        return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - resolve() would follow the links
    except FileNotFoundError:
        raise PlanError("the current folder is gone", hint="go to another one: cd") from None


def umask() -> str:
    """The mode bits that new files do not get, octal; asking the kernel for them would change them: see proc(5)."""
    match = re.search(r"^Umask:\s*(\d+)", Path("/proc/self/status").read_text("utf-8", "replace"), re.MULTILINE)
    return match[1] if match else "0077"


def make_private(folder: Path) -> None:
    """Make a folder below the data home that only its owner may enter, and the data home like it."""
    home = data_home()
    if home in folder.parents:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a file of mode 0600 that is whole or absent, also on a full disk and, with `sync`, after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(3).hex()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a write that fails names no file
        raise
