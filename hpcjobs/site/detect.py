"""Which site this machine is, and which of its programs are here.

Starts nothing, and asks no network but for the full host name: only where a site file wants it and the short one
does not do.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from shutil import which as find_program
from typing import TYPE_CHECKING

from hpcjobs.errors import HpcjobError, SiteError
from hpcjobs.model import DetectConfig, LauncherConfig, Site
from hpcjobs.paths import config_home
from hpcjobs.site import cache, yamlfile
from hpcjobs.site.loading import Found, Layers, LoadedSite, detect_section, files, find, load
from hpcjobs.site.problems import ANY_NAME, Finding, Known, as_error, build
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# The program that tells that a launcher or runtime is here. Both Open MPI and MPICH install `mpirun` and
# `mpiexec`, with different options; these two names are each one's own.
EVIDENCE = {
    "mpirun": "ompi_info", "mpiexec": "mpiexec.hydra", "pals": "palstat",
    "charliecloud": "ch-run", "pyxis": "enroot", "ce": "sarusctl",
}  # fmt: skip


# Where Slurm's packages put its configuration, and slurmd what a configless node was sent.
_SLURM_CONF = (
    "/etc/slurm/slurm.conf",
    "/run/slurm/conf/slurm.conf",
    "/opt/slurm/etc/slurm.conf",
    "/etc/slurm-llnl/slurm.conf",
)
_SLURM_NAME = re.compile(r"^\s*ClusterName\s*=\s*([^\s#]+)", re.IGNORECASE | re.MULTILINE)
_PBS_NAME = re.compile(r"^\s*PBS_SERVER\s*=\s*([^\s#]+)", re.MULTILINE)
_MOST = 1 << 20  # bytes of a configuration


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MOST).decode("utf-8", "replace")
    except OSError:  # not there, or not for us
        return ""


@dataclass(frozen=True)
class Machine:
    """What is looked at to recognise a machine; a test hands in another."""

    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    which: Callable[[str], str | None] = find_program
    exists: Callable[[str], bool] = os.path.exists
    hostname: str = field(default_factory=lambda: os.uname().nodename)
    read: Callable[[str], str] = _text

    @cached_property
    def full_hostname(self) -> str:
        """The name with its domain, if it can be learnt; a name server is asked once a month."""
        if "." in self.hostname:
            return self.hostname
        for line in self.read("/etc/hosts").splitlines():
            names = line.partition("#")[0].split()[1:]
            full = next((name for name in names if name.startswith(f"{self.hostname}.")), "")
            if self.hostname in names and full:
                return full
        return cache.full_hostname(self.hostname)

    @cached_property
    def cluster(self) -> str:
        """The name of the cluster as the scheduler's configuration here has it; empty if that cannot be read.

        Slurm: ClusterName of slurm.conf(5), where its client commands look for it; PBS: the server's name in pbs.conf.
        """
        places = [(self.env.get("SLURM_CONF", ""), _SLURM_NAME), *((path, _SLURM_NAME) for path in _SLURM_CONF)]
        places += [(self.env.get("PBS_CONF_FILE", ""), _PBS_NAME), ("/etc/pbs.conf", _PBS_NAME)]
        for path, pattern in places:
            if path and (found := pattern.search(self.read(path))):
                return found[1]
        return ""


HERE = Machine()  # reads the environment each time it is asked


@dataclass(frozen=True)
class Match:
    """Whether a site file describes this machine, and why (not)."""

    name: str
    who: str
    path: Path
    matched: bool
    why: str
    # How many keys tell this very machine (hostname, env, cluster, file), and whether a program of it was asked for.
    specific: tuple[int, int] = (0, 0)


# ------------------------------------------------------------------------------------------ choosing


def choose(
    name: str = "",
    file: str = "",
    *,
    known: Known = ANY_NAME,
    machine: Machine = HERE,
    cached: bool = False,
) -> LoadedSite:
    """The site to use: the one named, else `$HPCJOBS_SITE`, else the user's `config.yaml`, else the one detected.

    Where the site leaves it to the machine, the launcher and the order of the runtimes are settled (`settle`).
    A `cached` site may come without its origins.

    Raises:
        SiteError: its file is wrong, or two sites fit this machine equally well.
        NotFoundError: there is no such site.
    """
    chosen = "--site-file" if file else "--site" if name else ""
    if not chosen and (name := machine.env.get("HPCJOBS_SITE", "")):
        chosen = "$HPCJOBS_SITE"
    if not chosen and (name := configured()):
        chosen = str(config_home() / "config.yaml")
    if not chosen:
        match = detect(machine, cached=cached)
        name, chosen = match.name, f"detected: {match.why}"
    loaded = _load_cached(name, file, chosen) if cached else load(name, file, known=known, chosen=chosen)
    return replace(loaded, site=settle(loaded.site, machine.which))


def _load_cached(name: str, file: str, chosen: str) -> LoadedSite:
    found = Found("file", Path(file).absolute()) if file else find(name)
    around = [each.path for each in files()]
    if site := cache.recall(found.path, around):
        return LoadedSite(site, found.path, found.who, Layers(), chosen)
    loaded = load(name, file, chosen=chosen)
    cache.keep(loaded.file, loaded.site, [each.path for each in loaded.layers.files], around)
    return loaded


def configured() -> str:
    """The site that the user's `config.yaml` names; empty if there is none.

    Raises:
        SiteError: the file is wrong.
    """
    path = config_home() / "config.yaml"
    if not path.is_file():
        return ""
    document = yamlfile.read(path, SiteError, empty=True)
    for key, value in document.data.items():
        if key != "site" or not isinstance(value, str):
            raise SiteError(f"{document.where((key,))}: {key}: not understood", hint="write one line: site: NAME")
    return str(document.data.get("site", ""))


def detect(machine: Machine, *, cached: bool = False) -> Match:
    """The site that fits this machine best.

    One that tells this very machine comes first, and of those somebody's own before a built-in one; then the one with
    most keys, then the nearest in the search order.

    Raises:
        SiteError: none fits, or two of the same folder fit equally well.
    """
    matches = [match for match in explain_detection(machine, cached=cached) if match.matched]
    if not matches:
        names = sorted({found.name for found in files() if not found.is_shared})
        raise SiteError("no site file describes this machine", hint=f"type --site NAME: {nearest('', names)}")
    best = max(matches, key=_rank)  # the first of equals, which is the nearest
    for other in matches:
        equal = _rank(other) == _rank(best) and other.path.parent == best.path.parent
        if equal and other is not best:
            raise SiteError(
                f"both {best.path} ({best.why}) and {other.path} ({other.why}) describe this machine",
                hint=f"type --site {best.name}, or make `detect` of one of them more specific",
            )
    return best


def _rank(match: Match) -> tuple[bool, bool, tuple[int, int]]:
    return match.specific[0] > 0, match.who != "built-in", match.specific


def explain_detection(machine: Machine = HERE, *, cached: bool = False) -> list[Match]:
    """For each site, nearest first, whether it describes this machine and why (not). Plug-ins must be named."""
    around = [found for found in files() if not found.is_shared]  # `detect` is not inherited
    known = cache.recall_detection([found.path for found in around]) if cached else {}
    sections: dict[Path, DetectConfig | None] = {}
    explained: dict[str, Match] = {}
    for found in around:
        try:
            sections[found.path] = known[found.path] if known else _detect_section(found)
        except HpcjobError as error:
            match = Match(found.name, found.who, found.path, matched=False, why=error.message)
        else:
            match = _explain(found, sections[found.path], machine)
        explained.setdefault(found.name, match)  # a nearer one of the same name hides it
    if cached and not known and len(sections) == len(around):  # a file that is wrong is read again, to say so
        cache.keep_detection(sections)
    return list(explained.values())


def matches(config: DetectConfig, machine: Machine) -> str:
    """Why that is another machine; empty if it is this one."""
    return ", ".join(why for passed, why in _tests(config, machine) if not passed)


def _explain(found: Found, config: DetectConfig | None, machine: Machine) -> Match:
    if config is None:
        return Match(found.name, found.who, found.path, matched=False, why="has no `detect`")
    tests = list(_tests(config, machine))
    failed = [why for passed, why in tests if not passed]
    specific = (len(tests) - bool(config.command), int(bool(config.command)))
    why = ", ".join(failed or [why for _, why in tests]) or "fits everywhere"
    return Match(found.name, found.who, found.path, not failed, why, specific)


def _detect_section(found: Found) -> DetectConfig | None:
    section, found, document = detect_section(found)
    if section is None:
        return None
    findings: list[Finding] = []
    config = build(DetectConfig, section, findings, ("detect",))
    if config is None:
        problems = [each.at((found.path, document.line(each.loc))) for each in findings]
        raise as_error(problems, SiteError, then=f"hpcjob site validate {found.path}")
    return config


def _tests(config: DetectConfig, machine: Machine) -> Iterator[tuple[bool, str]]:
    """Each key given: whether it fits, and words for that."""
    if config.hostname:
        passed = _fits(config.hostname, machine.hostname) or _fits(config.hostname, machine.full_hostname)
        name = machine.hostname if passed else machine.full_hostname
        yield passed, f"the host name {name} {_is(passed)} {config.hostname}"
    for name, pattern in config.env.items():
        passed = name in machine.env and _fits(pattern, machine.env[name])
        value = f"${name} ({machine.env[name]})" if name in machine.env else f"${name} (not set)"
        yield passed, f"{value} {_is(passed)} {pattern}"
    if config.cluster:
        passed = _fits(config.cluster, machine.cluster)
        yield passed, f"the cluster {machine.cluster or '(not known)'} {_is(passed)} {config.cluster}"
    if config.file:
        passed = machine.exists(config.file)
        yield passed, f"{config.file} {'exists' if passed else 'does not exist'}"
    if config.command:
        passed = bool(machine.which(config.command))
        yield passed, f"{config.command} {'is' if passed else 'is not'} on PATH"


def is_here(site: Site, machine: Machine = HERE) -> bool:
    """Whether the site's own `detect` fits this machine."""
    return site.detect is not None and all(passed for passed, _ in _tests(site.detect, machine))


def _fits(pattern: str, text: str) -> bool:
    try:
        return bool(re.fullmatch(pattern, text))
    except re.error:
        return False


def _is(passed: bool) -> str:  # noqa: FBT001 - one word for one fact
    return "fits" if passed else "does not fit"


# ------------------------------------------------------------------------------------------ settling


def settle(site: Site, which: Callable[[str], str | None]) -> Site:
    """The site with what it leaves to the machine decided by what is on PATH here.

    `launcher: {kind: auto}` becomes the first of `launchers` whose program is here, else none. Runtimes whose
    program is not here go last, unless the file says where they come from (`command` or `modules`).
    """
    launcher = site.launcher
    if launcher.kind == "auto":
        launcher = next((one for one in site.launchers if _here(one.kind, one.command, which)), LauncherConfig())
    runtimes = sorted(
        site.runtimes,
        key=lambda one: not (one.command or one.modules or _here(one.kind, "", which)),
    )
    return replace(site, launcher=launcher, runtimes=tuple(runtimes))


def _here(kind: str, command: str, which: Callable[[str], str | None]) -> bool:
    return kind == "none" or bool(which(command or EVIDENCE.get(kind, kind)))
