"""Which MPIs a host has, and all that each needs to run in a container: `hpcjob mpi host`.

ELF files are read, never executed; the only programs that run are compiler wrappers (`-show`), launchers
(`--version`, `--mpi=list`), `scontrol show config` and `module`, each with a timeout.
"""

from __future__ import annotations

import os
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.mpi import fabric, plugins, product, search, starters
from hpcjobs.mpi.closure import Loader, library
from hpcjobs.mpi.facts import Folder, HostMpi, Interface, MpiHost, interface, is_mpi_symbol
from hpcjobs.mpi.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from hpcjobs.mpi.closure import Closure
    from hpcjobs.mpi.facts import HostLauncher, Library
    from hpcjobs.mpi.product import Product
    from hpcjobs.process import Runner

# External commands that run at once: login nodes are others' too.
_AT_ONCE = 6
_ROUNDS = 3
_INTERFACE_FILE = re.compile(r"lib\w*mpi\w*(?:[-+]\w+)*\.so(?:\.[\d.]+)?")
# What of a library's folder is not its prefix.
_LIBRARY_FOLDER = re.compile(r"(.+?)/(?:intel64/)?(?:lib|lib64|lib-abi-mpich)(?:/(?:release|debug)(?:_mt)?)?")
_SLUGS = {"MPICH": "mpich", "Open MPI": "openmpi", "Intel MPI": "impi", "Cray MPICH": "cray-mpich"}
# Intel MPI opens libfabric by name; setvars.sh puts these folders on LD_LIBRARY_PATH.
_INTEL_FABRIC = ("lib", "opt/mpi/libfabric/lib", "libfabric/lib", "intel64/libfabric/lib")


def probe(
    runner: Runner,
    *,
    environment: Mapping[str, str],
    modules: Sequence[str] = (),
    module_init: str = "",
    prefixes: Sequence[str] = (),
    launchers: Sequence[tuple[str, str]] = (),
    root: Path = Path("/"),
) -> MpiHost:
    """All MPIs of this host and what they need.

    `modules` are those that the site loads, `module_init` the shell's line that defines `module`; `prefixes` and
    `launchers` (kind, path) are what the site names besides. What cannot be read or does not answer becomes a note.
    """
    tree = Tree(root)
    arch, glibc = system(tree)
    work = _Probe(runner, tree, Loader(tree, arch), environment)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        loading = pool.submit(search.modules, runner, environment, module_init, modules)
        wrappers = list(search.programs(tree, environment, search.WRAPPERS))
        shown = [pool.submit(search.show, runner, path, how, environment) for path, how in wrappers]
        on_path = [path for path, _ in search.programs(tree, environment, starters.ON_PATH)]
        asked = {
            each: pool.submit(starters.ask, runner, *each, environment)
            for each in starters.candidates(tree, on_path, prefixes, launchers)
        }
        leads = [search.Lead(f"the site's {prefix}", search.below(prefix)) for prefix in prefixes]
        leads += search.leads(tree, environment)
        for lead, note in (each.result() for each in shown):
            leads += [lead] if lead else []
            work.notes += [note] if note else []
        work.find(leads)
        loaded, notes = loading.result()
        work.notes += notes
        for names, made in loaded.items():
            work.environments[names] = made
            leads += search.module_leads(tree, names, made, environment)
        work.find(leads)
        for each in starters.candidates(tree, (), [mpi.prefix for mpi in work.mpis if mpi.prefix], ()):
            if not any(tree.real(each[1]) == tree.real(other) and each[0] == kind for kind, other in asked):
                asked[each] = pool.submit(starters.ask, runner, *each, work.environment_of(each[1]))
        answers = [future.result() for future in asked.values()]
    started = [replace(each, mpi=starters.owner(tree, each, work.mpis)) for each, _ in answers if each]
    work.notes += [note for _, notes in answers for note in notes]
    mpis, known = _versioned(work.mpis, started)
    kind = fabric.fabric(tree)
    return MpiHost(
        made=datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z"),
        node=os.uname().nodename,
        arch=arch,
        glibc=glibc,
        fabric=kind,
        devices=fabric.devices(tree),
        launchers=known,
        mpis=mpis,
        libraries=tuple(sorted(work.libraries.values(), key=lambda each: each.path)),
        data=fabric.data(tree, kind, {each.flavour for each in started}, work.verbs),
        notes=tuple(dict.fromkeys(work.notes)),
    )


def system(tree: Tree) -> tuple[str, str]:
    """The architecture and glibc's version: the newest symbol version that libc.so.6 has."""
    machine = os.uname().machine
    loader = Loader(tree, machine)
    for path in (*loader.cache.get("libc.so.6", ()), *(f"{folder}/libc.so.6" for folder in loader.system)):
        found = tree.elf(path)
        if found and found.provides.get("GLIBC"):
            return found.arch, found.provides["GLIBC"]
    return machine, ""


def _versioned(
    mpis: Iterable[HostMpi], started: Sequence[HostLauncher]
) -> tuple[tuple[HostMpi, ...], tuple[HostLauncher, ...]]:
    """MPIs and launchers, with the launcher's version for MPIs whose library does not tell its own."""
    versions = {each.mpi: each.version for each in started if each.mpi}
    names: dict[str, str] = {}
    found: list[HostMpi] = []
    for mpi in mpis:
        version = mpi.version or versions.get(mpi.name, "")
        names[mpi.name] = mpi.name if mpi.version else _name(replace(mpi, version=version), list(names.values()))
        found.append(replace(mpi, name=names[mpi.name], version=version))
    return tuple(found), tuple(replace(each, mpi=names.get(each.mpi, "")) for each in started)


@dataclass
class _Probe:
    """The work of one probe, and what it has found so far."""

    runner: Runner
    tree: Tree
    loader: Loader
    environment: Mapping[str, str]
    mpis: list[HostMpi] = field(default_factory=list)
    libraries: dict[str, Library] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    verbs: tuple[str, ...] = ()
    environments: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    done: dict[str, HostMpi] = field(default_factory=dict)

    def find(self, leads: Sequence[search.Lead]) -> None:
        """Look where the leads lead to; an MPI that is known already only learns of one more way to it."""
        found = search.resolve(self.tree, self.loader, leads)
        whole = [each for each in found if not self._is_abi(each.path)]
        groups: dict[tuple[str, str, str], search.Found] = {}
        for each in (*whole, *(other for other in found if other not in whole)):
            what = product.identify(self.tree, each.path)
            if not what:
                self.notes.append(f"{each.path} has an MPI's name and no MPI in it")
                continue
            prefix = self._prefix(each.path)
            # A library of the standard ABI, and one for debugging, belong to the MPI that they lie beside.
            key = (prefix or posixpath.dirname(each.path), what.name, what.version)
            if key not in groups:
                groups[key] = each
            else:
                _join(groups[key], each)
        names: list[str] = []
        self.mpis = []
        for each in groups.values():
            mpi = self.done.get(each.path) or self._describe(each)
            self.done[each.path] = mpi
            name = _name(mpi, names)
            names.append(name)
            modules = () if each.bare else each.modules
            self.mpis.append(replace(mpi, name=name, found=tuple(each.how), modules=modules))

    def environment_of(self, command: str) -> dict[str, str]:
        """The environment for a prefix's own launcher: that of its module, and its libraries."""
        real = self.tree.real(command)
        owner = next((mpi for mpi in self.mpis if mpi.prefix and real.startswith(f"{mpi.prefix}/")), None)
        base = dict(self.environments.get(owner.modules, self.environment) if owner else self.environment)
        if owner:
            folders = [posixpath.dirname(each.path) for each in owner.interfaces]
            old = base.get("LD_LIBRARY_PATH", "")
            base["LD_LIBRARY_PATH"] = ":".join(filter(None, (*dict.fromkeys(folders), old)))
        return base

    def _is_abi(self, path: str) -> bool:
        found = self.tree.elf(path)
        return bool(found) and (interface(found.soname) or ("",))[0] == "abi" if found else False

    def _prefix(self, path: str) -> str:
        folder = posixpath.dirname(path)
        if self.loader.is_system(folder):
            return ""
        match = _LIBRARY_FOLDER.fullmatch(folder)
        prefix = match[1] if match else folder
        return "" if prefix in ("/usr", "") else prefix

    def _describe(self, found: search.Found) -> HostMpi:
        what = product.identify(self.tree, found.path)
        if what is None:
            raise AssertionError(found.path)
        prefix = self._prefix(found.path)
        interfaces = tuple(self._interfaces(found, what))
        environment = self.environments.get(found.modules, self.environment)
        folders, closure, opened, least = self._needs(found, what, prefix, interfaces, environment)
        paths = [path for path in closure.paths if path not in opened]
        for path in paths:
            if path not in self.libraries and (each := library(self.tree, path)):
                self.libraries[path] = each
        self._miss(closure, opened)
        return HostMpi(
            name="",
            family=what.family,
            product=what.name,
            version=what.version,
            prefix=prefix,
            interfaces=interfaces,
            exports=self._exports(each.path for each in interfaces if each.family != "abi"),
            abi_exports=self._exports(each.path for each in interfaces if each.family == "abi"),
            libraries=tuple(paths),
            optional=tuple(path for path in paths if path not in least and not path.startswith(f"{prefix or '/'}/")),
            folders=tuple(plugins.described(self.tree, each) for each in folders),
            gpu_libraries=plugins.gpu(self.tree, prefix) if what.name == "Cray MPICH" else {},
            wires=product.wires(self.tree, found.path, what, set(closure.names), sorted(opened)),
        )

    def _interfaces(self, found: search.Found, what: Product) -> Iterator[Interface]:
        folder = posixpath.dirname(found.path)
        beside = [folder, *found.folders]
        if posixpath.basename(folder) == "lib-abi-mpich":
            beside.append(f"{posixpath.dirname(folder)}/lib")
        seen: dict[str, Interface] = {}
        for path in dict.fromkeys([found.path, *(path for each in beside for path in self._files(each))]):
            elf = self.loader.find_at(path)
            kind = interface(elf.soname) if elf else None
            if not elf or not kind or (elf.soname in seen and posixpath.basename(path) != elf.soname):
                continue
            family, role = kind
            if path == found.path and family != "abi":
                family = what.family
            if family == "abi" and role == "c" and self._product(path) != what.name:
                continue
            if family in ("abi", what.family) and not (elf.soname in seen and seen[elf.soname].path == found.path):
                seen[elf.soname] = Interface(role=role, soname=elf.soname, path=path, family=family)
        yield from seen.values()

    def _product(self, path: str) -> str:
        found = product.identify(self.tree, path)
        return found.name if found else ""

    def _files(self, folder: str) -> Iterator[str]:
        for name in self.tree.names(folder):
            if _INTERFACE_FILE.fullmatch(name):
                yield self.tree.linked(f"{folder}/{name}")

    def _needs(
        self,
        found: search.Found,
        what: Product,
        prefix: str,
        interfaces: Sequence[Interface],
        environment: Mapping[str, str],
    ) -> tuple[list[Folder], Closure, set[str], set[str]]:
        """The folders, all that is loaded, the plug-ins among that, and what is loaded without them.

        Each plug-in may bring the next library.
        """
        seeds = [each.path for each in interfaces]
        if what.name == "Intel MPI":
            near = (f"{prefix}/{folder}/libfabric.so.1" for folder in _INTEL_FABRIC)
            seeds += [self.tree.real(path) for path in near if self.loader.find_at(path)][:1]
        folders: list[Folder] = []
        opened: list[str] = []
        closure = self.loader.closure(seeds, found.library_path)
        # The C++ interface is of MPI-2: who still uses it brings libstdc++ along.
        old = {each.path for each in interfaces if each.role == "cxx"}
        least = set(self.loader.closure([path for path in seeds if path not in old], found.library_path).paths)
        for _ in range(_ROUNDS):
            folders = list(self._folders(found.path, what, prefix, closure.names, environment))
            inside = [f"{prefix}/lib/openmpi", f"{prefix}/lib64/openmpi", f"{prefix}/lib/pmix"] if prefix else []
            places = [*(each.path for each in folders if each.path != prefix), *inside]
            if fabric.fabric(self.tree) in ("verbs", "efa", "psm2"):
                self.verbs = tuple(dict.fromkeys((*self.verbs, *plugins.verbs(self.tree, closure.names))))
                places += self.verbs
            now = list(dict.fromkeys(path for place in places for path in plugins.needed(self.tree, place)))
            own = set(closure.paths) - set(opened)
            now = [path for path in now if path not in own]
            if now == opened:
                break
            opened = now
            closure = self.loader.closure([*seeds, *opened], found.library_path)
        outside = [
            each for each in folders if each.path == prefix or not (prefix and each.path.startswith(f"{prefix}/"))
        ]
        return outside, closure, set(opened), least

    def _folders(
        self, path: str, what: Product, prefix: str, loaded: Mapping[str, str], environment: Mapping[str, str]
    ) -> Iterator[Folder]:
        if what.family == "openmpi":
            yield from plugins.open_mpi(self.tree, path, prefix, loaded)
        elif prefix:
            yield Folder(path=prefix, variables=("I_MPI_ROOT",) if what.name == "Intel MPI" else ())
        seen: set[str] = set()
        for each in plugins.others(self.tree, loaded, environment):
            if not seen & set(each.variables) or each.same_place:
                seen |= set(each.variables)
                yield each

    def _miss(self, closure: Closure, opened: set[str]) -> None:
        for name, by in closure.missing.items():
            kind = "plug-in " if by[0] in opened else ""
            self.notes.append(f"{name} is not found, which {kind}{by[0]} needs")

    def _exports(self, paths: Iterable[str]) -> tuple[str, ...]:
        names: set[str] = set()
        for path in paths:
            if found := self.tree.elf(path, symbols=True):
                names |= {name for name in found.exports if is_mpi_symbol(name)}
        return tuple(sorted(name for name in names if not (name[:1] in "Pp" and name[1:] in names)))


def _join(known: search.Found, other: search.Found) -> None:
    known.how += [how for how in other.how if how not in known.how]
    known.folders += [folder for folder in other.folders if folder not in known.folders]
    known.bare |= other.bare


def _name(mpi: HostMpi, taken: Sequence[str]) -> str:
    slug = _SLUGS.get(mpi.product) or re.sub(r"\W+", "-", mpi.product.lower())
    name = f"{slug}-{mpi.version}" if mpi.version else slug
    numbers = (f"{name}-{number}" for number in range(2, 1000))
    return name if name not in taken else next(each for each in numbers if each not in taken)
