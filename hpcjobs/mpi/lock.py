"""Whether a host is still what its lock file says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.mpi.facts import is_libc, version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hpcjobs.mpi.facts import HostMpi, Library, MpiHost
    from hpcjobs.mpi.tree import Tree
    from hpcjobs.process import Runner


@dataclass(frozen=True)
class Change:
    """Something of a host that is not as it was; `mpis` are the names of those that it touches."""

    what: str  # a path, or glibc
    text: str
    mpis: tuple[str, ...] = ()


def check(lock: MpiHost, *, runner: Runner | None = None, root: Path = Path("/")) -> list[Change]:
    """What has changed since the lock file was made; nothing is started without a `runner`, which asks launchers."""
    from hpcjobs.mpi.tree import Tree

    tree = Tree(root)
    changes = [*_glibc(lock, tree), *_libraries(lock, tree), *_folders(lock, tree), *_rest(lock, tree)]
    return [*changes, *_launchers(lock, tree, runner)]


def _glibc(lock: MpiHost, tree: Tree) -> Iterator[Change]:
    from hpcjobs.mpi.host import system

    arch, number = system(tree)
    if arch != lock.arch:
        yield Change("arch", f"this machine is {arch}, and the lock file is for {lock.arch}")
    elif number and lock.glibc and number != lock.glibc:
        kind = "newer" if version(number) > version(lock.glibc) else "older"
        yield Change("glibc", f"glibc is {kind}: {number}, was {lock.glibc}")


def _libraries(lock: MpiHost, tree: Tree) -> Iterator[Change]:
    for each in lock.libraries:
        if text := _library(each, tree):
            yield Change(each.path, text, tuple(mpi.name for mpi in lock.mpis if each.path in mpi.libraries))
    for path in sorted({path for mpi in lock.mpis for path in mpi.gpu_libraries.values()}):
        if not tree.is_file(path):
            users = tuple(mpi.name for mpi in lock.mpis if path in mpi.gpu_libraries.values())
            yield Change(path, f"{path} is gone", users)


def _library(was: Library, tree: Tree) -> str:
    from hpcjobs.mpi.closure import library

    if not tree.is_file(was.path):
        return f"{was.path} is gone"
    now = library(tree, was.path)
    if now is None:
        return f"{was.path} cannot be read, or is no library any more"
    if (now.build_id, now.sha256) == (was.build_id, was.sha256):
        return "" if now.size == was.size else f"{was.path} has {now.size} bytes, had {was.size}"
    newer = ", ".join(
        f"{family}_{number} instead of {was.needs.get(family, 'none')}"
        for family, number in now.needs.items()
        if version(number) > version(was.needs.get(family, ""))
    )
    return f"{was.path} is another build" + (f", which needs {newer}" if newer else "")


def _folders(lock: MpiHost, tree: Tree) -> Iterator[Change]:
    from hpcjobs.mpi.plugins import digest

    seen: set[str] = set()
    for mpi in lock.mpis:
        for folder in mpi.folders:
            if folder.path in seen:
                continue
            seen.add(folder.path)
            users = _users(lock, folder.path)
            if not tree.is_dir(folder.path):
                yield Change(folder.path, f"{folder.path} is gone", users)
            elif folder.digest and digest(tree, folder.path) != folder.digest:
                yield Change(folder.path, f"{folder.path} has other plug-ins", users)


def _users(lock: MpiHost, folder: str) -> tuple[str, ...]:
    return tuple(mpi.name for mpi in lock.mpis if any(each.path == folder for each in mpi.folders))


def _rest(lock: MpiHost, tree: Tree) -> Iterator[Change]:
    from hpcjobs.mpi import fabric

    for path in (*lock.devices, *lock.data):
        if not tree.exists(path):
            yield Change(path, f"{path} is gone")
    if (now := fabric.fabric(tree)) != lock.fabric:
        yield Change("fabric", f"the fabric is {now}, was {lock.fabric}")


def _launchers(lock: MpiHost, tree: Tree, runner: Runner | None) -> Iterator[Change]:
    from hpcjobs.mpi import starters

    for was in lock.launchers:
        users = (was.mpi,) if was.mpi else ()
        if not tree.executable(was.command):
            yield Change(was.command, f"{was.command} is gone", users)
            continue
        now, notes = starters.ask(runner, was.kind, was.command, os.environ) if runner else (was, [])
        if now is None:
            yield Change(was.command, f"{was.command} does not answer: {'; '.join(notes)}", users)
        elif (now.flavour, now.version) != (was.flavour, was.version):
            yield Change(was.command, f"{was.command} is {_shown(now)}, was {_shown(was)}", users)
        elif now.types != was.types and now.types:
            yield Change(was.command, f"{was.command} offers {_listed(now.types)}, offered {_listed(was.types)}", users)


def _shown(launcher: object) -> str:
    return f"{getattr(launcher, 'flavour', '') or 'unknown'} {getattr(launcher, 'version', '')}".strip()


def _listed(types: tuple[str, ...]) -> str:
    return ", ".join(types) or "nothing"


def stale(lock: MpiHost, mpi: HostMpi | None = None) -> bool:
    """Whether an interface library of an MPI (of all, without one) is gone or another build.

    Reads a few bytes of some files, so that each submission can ask.
    """
    wanted = {each.path for one in ((mpi,) if mpi else lock.mpis) for each in one.interfaces}
    return any(_differs(each) for each in lock.libraries if each.path in wanted and not is_libc(each.name))


def _differs(library: Library) -> bool:
    try:
        with Path(library.path).open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != library.size:
                return True
            if not library.build_id:
                return False
            file.seek(library.build_at)
            return file.read(len(library.build_id) // 2).hex() != library.build_id
    except OSError:
        return True
