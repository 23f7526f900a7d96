"""Finding and reading site files: search order, `extends`, who set what.

A site file is looked for by name in the folders of `paths.site_folders()`, nearest first, then among the
entry points `hpcjobs.sites`: a package whose folder holds `NAME.yaml`. Mappings of a file are merged into those
of the file it extends, anything else replaces, and `null` takes an inherited value away.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hpcjobs import paths
from hpcjobs.errors import HpcjobError, NotFoundError, SiteError
from hpcjobs.model import JobSpec, Site
from hpcjobs.site import yamlfile
from hpcjobs.site.problems import ANY_NAME, LEVELS, Finding, Known, Place, Problem, as_error, build, check_site
from hpcjobs.site.yamlfile import Document, Loc, dotted
from hpcjobs.units import Duration, Memory, nearest

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# A file of this name is no machine: it holds what several extend.
_SHARED = "_"
_MAX_FILES = 8
# The origin of what `choose` settled.
_SETTLED = "what is on PATH here"
_NAMED = ("name",)
# They say which machine the file itself is about, so a file that extends it does not get them.
_OWN_KEYS = frozenset({"name", "description", "detect", "extends"})


@dataclass(frozen=True)
class Found:
    """A site file and who put it there: project, environment, user, system, built-in, plug-in or file."""

    who: str
    path: Path

    @property
    def name(self) -> str:
        """The site's name, which is the file's."""
        return self.path.stem

    @property
    def is_shared(self) -> bool:
        """Whether it is no machine, but what several files extend."""
        return self.name.startswith(_SHARED)


@dataclass(frozen=True)
class Available:
    """One line of `hpcjob site list`."""

    name: str
    description: str
    who: str
    path: Path
    shadowed: bool = False  # a nearer file has the same name
    problem: str = ""  # why it cannot be read; empty = it can


@dataclass(frozen=True)
class Setting:
    """One value of a site and who set it."""

    path: str  # partitions.debug.max_time
    value: Any  # as JSON and YAML have it
    origin: str  # "FILE:LINE (who)", or "default"
    doubtful: bool = False  # whether the file says that no document backs it


@dataclass
class Layers:
    """The merged data of a file and those that it extends, and which of them gave each key."""

    data: dict[str, Any] = field(default_factory=dict)
    givers: dict[Loc, tuple[Found, Document]] = field(default_factory=dict)
    files: list[Found] = field(default_factory=list)  # the nearest last
    # Empty values of the nearest file that take nothing away, since nothing is inherited there.
    idle: list[Loc] = field(default_factory=list)

    def add(self, found: Found, document: Document) -> None:
        """Put a nearer file on top."""
        self.files.append(found)
        self.idle.clear()
        self._merge(self.data, document.data, (found, document), ())

    def _merge(self, below: dict[str, Any], above: dict[str, Any], giver: tuple[Found, Document], at: Loc) -> None:
        for key, value in above.items():
            loc = (*at, key)
            if value is None and key not in below:
                self.idle.append(loc)
            both = isinstance(value, dict) and isinstance(below.get(key), dict)
            if not both:
                self._forget(loc)
                below.pop(key, None)
            if value is None:
                continue
            self.givers[loc] = giver
            if isinstance(value, dict):
                self._merge(below.setdefault(key, {}), value, giver, loc)
            else:
                below[key] = value

    def _forget(self, loc: Loc) -> None:
        for known in [known for known in self.givers if known[: len(loc)] == loc]:
            del self.givers[known]

    def inherits(self, loc: Loc) -> bool:
        """Whether it is not the nearest file that gave it."""
        return loc in self.givers and self.givers[loc][0] != self.files[-1]

    def is_nearer(self, loc: Loc, other: Loc) -> bool:
        """Whether a nearer file gave the one than the other."""
        if loc not in self.givers or other not in self.givers:
            return False
        return self.files.index(self.givers[loc][0]) > self.files.index(self.givers[other][0])

    def place(self, loc: Loc) -> Place:
        """File and line of the key, or of the nearest one around it."""
        around = [loc[:length] for length in range(len(loc), 0, -1) if loc[:length] in self.givers]
        if not around:
            return self.files[-1].path, 0
        found, document = self.givers[around[0]]
        return found.path, document.line(loc)

    def origin(self, loc: Loc) -> str:
        """`FILE:LINE (who)`, or `default`."""
        if loc not in self.givers:
            return "default"
        found, document = self.givers[loc]
        return f"{document.where(loc)} ({found.who})"


@dataclass(frozen=True)
class LoadedSite:
    """A valid site and where it comes from."""

    site: Site
    file: Path
    who: str
    layers: Layers = field(repr=False, compare=False)
    chosen: str = ""  # why this one: "--site", "detected: command sbatch is on PATH"

    @cached_property
    def settings(self) -> list[Setting]:
        """Every value of the site with its origin, in the order of the model."""
        return [
            Setting(
                dotted(loc),
                value,
                _SETTLED if loc in self._settled else self.layers.origin(loc),
                self._doubtful(loc),
            )
            for loc, value in _leaves(plain(self.site), ())
        ]

    def _doubtful(self, loc: Loc) -> bool:
        """Whether the file that gave it, or one that extends that, says that no document backs it."""
        said = any(f"{dotted(loc)}.".startswith(f"{path}.") for path in self.site.unverified)
        return said and not self.layers.is_nearer(loc, ("unverified",))

    @cached_property
    def _settled(self) -> set[Loc]:
        """The values that are not the files', but were decided by what this machine has."""
        written, _ = _build(self.layers, Found(self.who, self.file), ANY_NAME)
        before = dict(_leaves(plain(written), ()))
        return {loc for loc, value in _leaves(plain(self.site), ()) if before.get(loc) != value}

    @property
    def origins(self) -> dict[str, str]:
        """Who set each value: {"partitions.debug.max_time": "FILE:LINE (who)", "qos": "default"}."""
        return {setting.path: setting.origin for setting in self.settings}

    def to_yaml(self, *, defaults: bool = False) -> str:
        """The site as one YAML file that extends nothing; with or without the values that nobody set."""
        import yaml

        data = plain(self.site) if defaults else self._given(plain(self.site), ())
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)

    def _given(self, value: Any, loc: Loc) -> Any:
        if not isinstance(value, dict):
            return value
        inside = {(*loc, key): item for key, item in value.items()}
        wanted = {*self.layers.givers, *self._settled, _NAMED}
        return {at[-1]: self._given(item, at) for at, item in inside.items() if at in wanted}


def plain(value: Any) -> Any:
    """A value of the model as JSON and YAML have it: mappings, lists, `01:00:00`, `4G`."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_brief(item) for item in value]
    return str(value) if isinstance(value, (Duration, Memory)) else value


def _brief(item: Any) -> Any:
    """An item of a list; a launcher or runtime with only what is special about it."""
    if not dataclasses.is_dataclass(item):
        return plain(item)
    usual = {f.name: plain(f.default) for f in dataclasses.fields(item) if f.name != "kind"}
    return {key: value for key, value in plain(item).items() if key not in usual or value != usual[key]}


def _leaves(value: Any, loc: Loc) -> list[tuple[Loc, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*loc, key))]
    return [(loc, value)]


# ------------------------------------------------------------------------------------------- finding


def is_name(text: str) -> bool:
    """Whether it can be the name of a machine's file."""
    return bool(_NAME.fullmatch(text)) and not text.startswith(_SHARED)


def find(name: str, *, skip: frozenset[Path] = frozenset()) -> Found:
    """The nearest file of that name that is not in `skip`.

    Raises:
        NotFoundError: there is none; SiteError: that cannot be the name of a site.
    """
    if not _NAME.fullmatch(name):
        raise SiteError(f"{name!r} cannot be the name of a site", hint="for a file, type: --site-file FILE")
    for who, folder in paths.site_folders():
        path = folder / f"{name}.yaml"
        if path not in skip and path.is_file():
            return Found(who, path)
    for found in _plugins():
        if found.name == name and found.path not in skip:
            return found
    names = {found.name for found in files() if not found.is_shared}
    raise NotFoundError(f"there is no site {name!r}", hint=f"{nearest(name, names)} (see them with: hpcjob site list)")


def files() -> list[Found]:
    """Every site file in the search folders, nearest first; plug-ins are not asked."""
    return [
        Found(who, path)
        for who, folder in paths.site_folders()
        if folder.is_dir()
        for path in sorted(folder.glob("*.yaml"))
    ]


def _plugins() -> list[Found]:
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    found = []
    for point in entry_points(group="hpcjobs.sites"):
        try:
            spec = find_spec(point.module)
        except ImportError:  # what is left of a package that was removed
            continue
        folders = list(spec.submodule_search_locations or ()) if spec else []
        found += [Found("plug-in", Path(folder) / f"{point.name}.yaml") for folder in folders]
    return [each for each in found if each.path.is_file()]


def available() -> list[Available]:
    """Every site there is, nearest first; one that cannot be read is listed with its problem."""
    listed: list[Available] = []
    for found in [*files(), *_plugins()]:
        if found.is_shared:
            continue
        shadowed = any(other.name == found.name for other in listed)
        try:
            data = yamlfile.read(found.path, SiteError).data
            retired = "retired: " if data.get("retired") else ""
            description = retired + str(data.get("description") or "")
        except HpcjobError as error:
            listed.append(Available(found.name, "", found.who, found.path, shadowed, error.message))
        else:
            listed.append(Available(found.name, description, found.who, found.path, shadowed))
    return listed


# ------------------------------------------------------------------------------------------- reading


def load(name: str = "", file: str = "", *, known: Known = ANY_NAME, chosen: str = "") -> LoadedSite:
    """The site of that name, or in that file.

    Raises:
        SiteError: it is wrong; tells all problems, with file and line.
        NotFoundError: there is none.
    """
    found = Found("file", Path(file).absolute()) if file else find(name)
    layers = _read(found)
    site, findings = _build(layers, found, known)
    problems = [finding.at(layers.place(finding.loc)) for finding in findings if finding.level == "error"]
    if problems or site is None:
        raise as_error(problems, SiteError, then=f"hpcjob site validate {found.path}")
    return LoadedSite(site, found.path, found.who, layers, chosen)


def check(name: str = "", file: str = "", *, known: Known = ANY_NAME) -> list[Problem]:
    """Everything that is wrong with a site file or could be better: errors, warnings, then advice.

    Raises:
        NotFoundError: there is no such site or file.
    """
    found = Found("file", Path(file).absolute()) if file else find(name)
    try:
        layers = _read(found)
    except SiteError as error:
        return [Problem("error", "", error.message, error.hint)]
    _, findings = _build(layers, found, known)
    return [finding.at(layers.place(finding.loc)) for finding in findings]


def _read(found: Found) -> Layers:
    chain: list[tuple[Found, Document]] = []
    while True:
        document = yamlfile.read(found.path, SiteError)
        _check_name(found, document)
        chain.append((found, document))
        if not (parent := document.data.get("extends")):
            break
        found = _parent(parent, chain)
    layers = Layers()
    for each, document in reversed(chain):
        # A file that extends the one it hides is about the same machine.
        hidden = {"extends"} if each.name == chain[0][0].name else _OWN_KEYS
        layers.add(each, replace(document, data={k: v for k, v in document.data.items() if k not in hidden}))
    return layers


def _check_name(found: Found, document: Document) -> None:
    name = document.data.get("name")
    if name not in (None, found.name):
        raise SiteError(
            f"{document.where(('name',))}: the name {name!r} is not the file's",
            hint=f"remove the line, or rename the file to {name}.yaml",
        )


def _parent(value: Any, chain: list[tuple[Found, Document]]) -> Found:
    child, document = chain[-1]
    where = document.where(("extends",))
    if not isinstance(value, str):
        raise SiteError(f"{where}: extends: not the name of one site", hint="write the name of one site, or a path")
    seen = frozenset(found.path for found, _ in chain)
    if "/" in value or value.endswith(".yaml"):
        parent = Found(child.who, (child.path.parent / value).absolute())
    else:
        parent = _named_parent(value, seen, where)
    if parent.path.resolve() in {path.resolve() for path in seen} or len(chain) >= _MAX_FILES:
        names = " → ".join([*(found.name for found, _ in chain), parent.name])
        raise SiteError(
            f"{where}: extends: {names} goes in a circle or too deep", hint="let one of them extend nothing"
        )
    return parent


def detect_section(found: Found) -> tuple[Any, Found, Document]:
    """The `detect` of a site file, or of the one that it hides and extends; and the file that has it."""
    seen = frozenset({found.path})
    while True:
        document = yamlfile.read(found.path, SiteError)
        section = document.data.get("detect")
        if section is not None or "detect" in document.data or document.data.get("extends") != found.name:
            return section, found, document
        try:
            parent = find(found.name, skip=seen)
        except NotFoundError:
            return section, found, document
        found, seen = parent, seen | {parent.path}


def _named_parent(name: str, seen: frozenset[Path], where: str) -> Found:
    try:
        # A file may extend the one that it shadows: a user's `slurm`, the built-in `slurm`.
        return find(name, skip=seen)
    except NotFoundError as error:
        if again := [path for path in seen if path.stem == name]:
            return Found("", again[0])
        raise SiteError(f"{where}: extends: {error.message}", hint=error.hint) from None


def _build(layers: Layers, found: Found, known: Known) -> tuple[Site | None, list[Finding]]:
    findings: list[Finding] = []
    data = {**layers.data, "name": found.name}
    scheduler = data.get("scheduler")
    if isinstance(scheduler, dict) and "extra" in scheduler:
        data["scheduler"] = {**scheduler, "extra": yamlfile.native(scheduler["extra"])}
    site = build(Site, data, findings)
    for at in _default_sections(data):
        given = yamlfile.inside(data, at)
        job = build(JobSpec, given, findings, at)
        if site and job:
            site = _with_defaults(site, at, {key: getattr(job, key) for key in given})
    if site and not findings:
        # What a file states is meant: only what nobody said is warned of.
        said = [f for f in check_site(site, known) if f.level != "warning" or f.loc not in layers.givers]
        if layers.inherits(("unverified",)):  # what it doubts may have been replaced or taken away
            said = [finding for finding in said if finding.loc[:1] != ("unverified",)]
        if found.is_shared:  # it is no machine
            said = [finding for finding in said if finding.level != "advice"]
        findings += sorted([*said, *map(_idle, layers.idle)], key=lambda finding: LEVELS.index(finding.level))
    return site, findings


def _default_sections(data: dict[str, Any]) -> list[Loc]:
    """Where the file gives fields of a job."""
    partitions = data.get("partitions")
    names = partitions if isinstance(partitions, dict) else ()
    places: list[Loc] = [("defaults",), ("gpu", "defaults"), *(("partitions", name, "defaults") for name in names)]
    return [place for place in places if isinstance(yamlfile.inside(data, place), dict)]


def _with_defaults(site: Site, at: Loc, given: dict[str, Any]) -> Site:
    if at == ("defaults",):
        return replace(site, defaults=given)
    if at[0] == "gpu":
        return replace(site, gpu=replace(site.gpu, defaults=given))
    changed = replace(site.partitions[str(at[1])], defaults=given)
    return replace(site, partitions={**site.partitions, str(at[1]): changed})


def _idle(loc: Loc) -> Finding:
    hint = "write {} for an entry that has only defaults, or remove the line"
    return Finding(loc, "empty, and there is nothing inherited to take away", hint, "warning")
