"""`hpcjob doctor`: look at everything a job needs, heal what a crash left, and say what is wrong."""

from __future__ import annotations

import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import disk_usage, which
from typing import TYPE_CHECKING, Literal

from hpcjobs import schedulers
from hpcjobs.errors import HpcjobError, StoreError
from hpcjobs.image_service import images_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.model import Site
    from hpcjobs.service import Service

# Less free space than this, and job folders and logs may not be written.
_LITTLE_SPACE = 100 << 20
# What an ordinary user's containers are made of: namespaces(7).
_NAMESPACES = Path("/proc/sys/user/max_user_namespaces")
_ROOTLESS = ("apptainer", "charliecloud", "podman", "podman-hpc")


@dataclass(frozen=True)
class Finding:
    """One line of `doctor`."""

    level: Literal["ok", "warning", "error"]
    subject: str
    message: str
    hint: str = ""


def examine(service: Service, *, site: str = "", site_file: str = "") -> list[Finding]:
    """Check the database, the folders, the site, its scheduler, launcher and runtimes."""
    findings = [*_database(service), *_folders(service)]
    found, line = _site(site, site_file)
    findings.append(line)
    if found:
        findings += [*_scheduler(service, found), *_programs(found), *_images(found)]
    return findings


def rebuild(service: Service) -> list[Finding]:
    """Make the database anew from the job folders (`doctor --rebuild`)."""
    aside, count = service.store.rebuild()
    where = f"; the old one is {aside}" if aside else ""
    return [Finding("ok", "database", f"made anew from {count} job folders{where}")]


def _problem(subject: str, error: HpcjobError) -> Finding:
    return Finding("error", subject, error.message, error.hint)


def _database(service: Service) -> Iterator[Finding]:
    try:
        problems = service.store.check()
        count = len(service.active())
    except StoreError as error:
        yield _problem("database", error)
        return
    if problems:
        yield Finding("error", "database", f"{service.store.path}: {problems[0]}", "hpcjob doctor --rebuild")
        return
    yield Finding("ok", "database", f"{service.store.path}, {count} active jobs")
    try:
        healed = service.reconcile()
    except HpcjobError as error:
        yield _problem("reservations", error)
        return
    for record in healed:
        yield Finding("warning", "reservations", f"{record.label}, left by a crash, is {record.state}")
    if left := service.store.reserved():
        labels = ", ".join(record.label for record in left)
        yield Finding("warning", "reservations", f"not confirmed yet: {labels}", "run hpcjob doctor in half a minute")


def _folders(service: Service) -> Iterator[Finding]:
    home = service.store.path.parent
    if not home.is_dir():
        return
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        yield Finding("warning", "folders", f"{home} can be read by others", f"chmod 700 {home}")
    if not os.access(home, os.W_OK):
        yield Finding("error", "folders", f"{home} is not writable", "export HPCJOBS_HOME=/a/folder/of/yours")
    free = disk_usage(home).free
    level: Literal["ok", "warning"] = "warning" if free < _LITTLE_SPACE else "ok"
    yield Finding(level, "folders", f"{free >> 20} MiB free for job folders")
    known = {Path(record.folder).name for record in service.history()}
    strays = [entry for entry in (home / "jobs").glob("*-*") if entry.name not in known]
    if strays:
        yield Finding(
            "warning", "folders", f"{len(strays)} job folders that no job knows, e.g. {strays[0]}", "remove them"
        )


def _site(name: str, file: str) -> tuple[Site | None, Finding]:
    from hpcjobs import site as sites

    try:
        loaded = sites.choose(name, file)
    except HpcjobError as error:
        return None, _problem("site", error)
    return loaded.site, Finding("ok", "site", f"{loaded.site.name} ({loaded.file})")


def _scheduler(service: Service, site: Site) -> Iterator[Finding]:
    try:
        answer = schedulers.get(site.scheduler.kind, asdict(site.scheduler), service.runner).diagnose()
    except HpcjobError as error:
        yield _problem("scheduler", error)
        return
    details = ", ".join(f"{key} {value}" for key, value in answer.details.items())
    yield Finding("ok", "scheduler", " ".join(filter(None, (site.scheduler.kind, answer.version, details))))
    if answer.warning:
        hint = "what hpcjob does is the same; scheduler: {driver: command} in the site file ends this warning"
        yield Finding("warning", "scheduler", answer.warning, hint)


def _programs(site: Site) -> Iterator[Finding]:
    from hpcjobs import launchers, modules, runtimes

    chosen = [site.launcher, *site.launchers]
    loaded = bool(modules.brought(site.modules))
    commands = [(one.kind, one.command or launchers.program(one), loaded) for one in chosen]
    yield from _some("launcher", commands)
    commands = [(one.kind, one.command or runtimes.program(one), loaded or bool(one.modules)) for one in site.runtimes]
    yield from _some("runtime", commands)


def _images(site: Site) -> Iterator[Finding]:
    """Where images go, and what containers of ordinary users need, as far as this machine tells of it."""
    try:
        folder = images_folder(site)
    except HpcjobError as error:
        yield _problem("images", error)
        return
    above = next(path for path in (folder, *folder.parents) if path.is_dir())
    if os.access(above, os.W_OK):
        yield Finding("ok", "images", f"{folder}, {disk_usage(above).free >> 20} MiB free")
    else:
        yield Finding("warning", "images", f"{folder} cannot be written", "docker://… cannot be pulled to there")
    if any(one.kind in _ROOTLESS for one in site.runtimes) and _NAMESPACES.exists():
        most = int(_NAMESPACES.read_text("ascii"))
        if not most:
            hint = "if the nodes are like this machine, only a runtime with set-id root works"
            yield Finding("warning", "images", f"user namespaces are off ({_NAMESPACES} is 0)", hint)


def _some(subject: str, commands: list[tuple[str, str, bool]]) -> Iterator[Finding]:
    """One of the programs must be here; `commands` are kind, program, and whether a module may bring it."""
    here = {
        kind: which(command) or "nothing to start" for kind, command, _ in commands if not command or which(command)
    }
    found = ", ".join(f"{kind} ({path})" for kind, path in here.items())
    loaded = [kind for kind, _, module in commands if module and kind not in here]
    absent = [command for kind, command, module in commands if kind not in here and not module]
    if found or loaded:
        words = [found, f"from modules: {', '.join(loaded)}" if loaded else ""]
        words.append(f"not here: {', '.join(absent)}" if absent else "")
        yield Finding("ok", subject, "; ".join(filter(None, words)))
    elif absent:
        hint = "they may still be there on the nodes of the site"
        yield Finding("warning", subject, f"not on PATH here: {', '.join(absent)}", hint)
