"""`hpcjob mpi`: the MPI of hosts and images, and how they go together."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import process
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out, progress
from hpcjobs.cli.submit import request, submit
from hpcjobs.errors import NotFoundError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from hpcjobs.cli.options import (
        Account,
        Binds,
        Check,
        Command,
        ImageName,
        Json,
        LockOutput,
        Modules,
        MpiOnNode,
        PartitionName,
        RuntimeName,
        SiteFile,
        SiteName,
        Time,
    )
    from hpcjobs.model import MpiPlan
    from hpcjobs.mpi.facts import MpiHost, MpiImage
    from hpcjobs.mpi_service import Mpi
    from hpcjobs.service import Prepared

_SHOWN = 12  # of a list that may have hundreds
_COLUMN = 13  # of the keys: not container


# -------------------------------------------------------------------------------------------- host


def host(
    *,
    output: LockOutput = "",
    check: Check = False,
    on_node: MpiOnNode = False,
    modules: Modules = None,
    partition: PartitionName = "",
    account: Account = "",
    time: Time = "",
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Look at the MPI of this machine.

    Every MPI that modules, PATH, compiler wrappers, variables or the library cache lead to; launchers, network, and
    what a container needs of them. Libraries are read, not run. The lock file goes with the site: hpcjob plans by it,
    and --check tells what an update of the system has changed.
    """
    asked = dict(locals())
    if check and (output or on_node):
        option = "-o" if output else "--on-node"
        raise UsageError(f"{option} is about a new lock file, and --check writes none", hint=f"leave out {option}")
    if json and output == "-":
        raise UsageError("-o - and --json both print to the terminal", hint="leave out one, or give a file: -o FILE")
    service = _service(site, site_file)
    if on_node:
        if output == "-":
            raise UsageError("-o - is this terminal, which a job has not", hint="give a file: -o FILE")
        named = ("--site-file", os.path.abspath(site_file)) if site_file else ("--site", service.name)  # noqa: PTH100
        return _on_node(os.path.abspath(output or service.lock_file), named, asked, json=json)  # noqa: PTH100
    if given := [option for option, value in (("-p", partition), ("-A", account), ("-t", time)) if value]:
        raise UsageError(f"{given[0]} is about a job, and this machine is looked at", hint="add --on-node")
    if check:
        return _check(service, json=json)
    found = service.probe(modules or ())
    if output:
        _write(output, found)
    if json:
        out.dump(host=asdict(found))
        return 0
    if output != "-":
        for line in _host_lines(found):
            out.say(line)
        if not output:
            out.hint(f"to plan by it: hpcjob mpi host -o {out.short(str(service.lock_file))}")
    return 0


def _write(output: str, found: MpiHost) -> None:
    from hpcjobs.site import mpilock

    text = mpilock.dump(found)
    if output == "-":
        out.data(text)
        return
    file = Path(output)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, "utf-8")
        temporary.replace(file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{file} cannot be written: {error.strerror}", hint="choose another: -o FILE") from error
    out.tell(f"wrote {out.short(str(file))}")


def _check(service: Mpi, *, json: bool) -> int:
    """What is no longer as the lock file says."""
    from hpcjobs.mpi import lock

    locked = service.locked()
    if locked is None:
        raise NotFoundError(
            f"there is no lock file {service.lock_file}", hint=f"hpcjob mpi host -o {out.short(str(service.lock_file))}"
        )
    changes = lock.check(locked, runner=process.run)
    if json:
        out.dump(lock=str(service.lock_file), changes=[asdict(change) for change in changes])
    else:
        for change in changes:
            out.say(out.clean(f"{change.what}: {change.text}"))
        out.tell(f"{len(changes) or 'no'} change{'s' * (len(changes) != 1)} since {locked.made}")
        if changes:
            out.hint(f"hpcjob mpi host -o {out.short(str(service.lock_file))}")
    return int(bool(changes))


def _on_node(target: str, words_of_site: tuple[str, ...], asked: Mapping[str, Any], *, json: bool) -> int:
    """The same by a job on one node, where libraries and devices may be others than here."""
    from hpcjobs.model import JobSpec
    from hpcjobs.service import Service
    from hpcjobs.units import Duration

    more = [word for module in asked["modules"] or () for word in ("--module", module)]
    spec = JobSpec(
        command=(sys.executable, "-m", "hpcjobs", "mpi", "host", "-o", target, *words_of_site, *more),
        name="mpi-host",
        launcher="none",
        partition=asked["partition"],
        account=asked["account"],
        time=Duration.parse(asked["time"]) if asked["time"] else None,
    )
    record = Service().submit(spec, site=asked["site"], site_file=asked["site_file"])
    if json:
        words.dump([record])
        return 0
    out.say(record.label)
    out.tell(f"{record.label} writes {out.short(target)}; wait for it: hpcjob wait {record.label}")
    return 0


def _host_lines(found: MpiHost) -> Iterator[str]:
    yield from _pairs((("node", f"{found.node}: {found.arch}, glibc {found.glibc}"), ("network", _network(found))))
    if not found.mpis:
        yield from _pairs((("mpi", "none was found"),))
    for mpi in found.mpis:
        sonames = ", ".join(dict.fromkeys(each.soname for each in mpi.interfaces))
        yield ""
        yield from _pairs((
            ("mpi", f"{mpi.name}: {mpi.product} {mpi.version}"),
            ("found by", "; ".join(mpi.found)),
            ("modules", " ".join(mpi.modules)),
            ("prefix", mpi.prefix),
            ("libraries", sonames),
            ("speaks", " ".join(mpi.wires)),
            ("needs", f"{len(mpi.libraries)} files, glibc {_newest(found, mpi.libraries)}"),
            ("folders", " ".join(folder.path for folder in mpi.folders)),
        ))  # fmt: skip
    if found.launchers or found.notes:
        yield ""
    for launcher in found.launchers:
        types = f": {' '.join(launcher.types)}" if launcher.types else ""
        whose = f" of {launcher.mpi}" if launcher.mpi else ""
        text = f"{launcher.kind} {launcher.command} ({launcher.flavour or 'unknown'} {launcher.version}{whose}){types}"
        yield from _pairs((("launcher", text),))
    yield from _pairs(("note", note) for note in found.notes)


def _newest(found: MpiHost, paths: Iterable[str]) -> str:
    from hpcjobs.units import version

    wanted = set(paths)
    needs = (each.needs.get("GLIBC", "") for each in found.libraries if each.path in wanted)
    return max(needs, key=version, default="")


def _network(found: MpiHost) -> str:
    return found.fabric + (f" ({' '.join(found.devices[:_SHOWN])})" if found.devices else "")


# ------------------------------------------------------------------------------------------- image


def image(
    image: ImageName,
    command: Command = None,
    *,
    bind: Binds = None,
    runtime: RuntimeName = "",
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Look at the MPI of an image, and at what a program in it links to.

    Without running MPI. A name in a registry is looked into through the site's runtime, which must have it.

    hpcjob mpi image app.sif -- ./solve
    """
    from hpcjobs.model import JobSpec, Site
    from hpcjobs.mpi_service import Mpi
    from hpcjobs.paths import absolute

    spec = JobSpec(command=tuple(command or ()), image=image, bind=tuple(bind or ()), workdir=absolute("."))
    if "://" in image:
        service = _service(site, site_file)
        found = service.through(_enter(image, runtime, site, site_file), spec, image)
    else:
        if runtime:
            raise UsageError("--runtime is for images by name, and this is a file", hint="leave out --runtime")
        from hpcjobs import paths
        from hpcjobs.images import facts, report

        chosen = Site(name="") if not (site or site_file) else _site(site, site_file)
        seen = facts.inspect(absolute(image))
        digest = "" if seen.kind == "directory" else report.digest(seen.path, cache=paths.cache_home() / "images")
        found = Mpi(chosen, None, process.run, progress.telling()).image(spec, seen, digest=digest)
    if json:
        out.dump(image=asdict(found))
        return 0
    for line in _image_lines(found):
        out.say(line)
    return 0


def _enter(image: str, runtime: str, site: str, site_file: str) -> tuple[str, ...]:
    """The words that run a program in an image of the runtime's own store."""
    from hpcjobs.mpi_service import enter

    return enter(_site(site, site_file), image, runtime)


def _image_lines(found: MpiImage) -> Iterator[str]:
    libc = f"{found.libc} {found.libc_version}".strip()
    yield from _pairs((
        ("image", out.short(found.path)),
        ("cpu", found.arch),
        ("libc", libc),
        ("newest", ", ".join(f"{family} {number}" for family, number in found.provides.items())),
    ))  # fmt: skip
    for mpi in found.mpis:
        speaks = f", speaks {' '.join(mpi.wires)}" if mpi.wires else ""
        yield from _pairs((("mpi", f"{mpi.product} {mpi.version} ({mpi.soname}, {mpi.path}{speaks})"),))
    yield from _pairs((
        ("libfabric", found.libfabric),
        ("ucx", found.ucx),
        ("pmix", found.pmix),
        ("libpmi2", "yes" if found.pmi2 else ""),
        ("gpu", ", ".join(found.gpu)),
        ("mpirun", found.mpirun),
        ("library path", found.ld_library_path),
    ))  # fmt: skip
    if found.program:
        yield from _program_lines(found)
    yield from _pairs(("note", note) for note in found.notes)


def _program_lines(found: MpiImage) -> Iterator[str]:
    program = found.program
    if not program:
        return
    kinds = {
        "program": f"{program.path} ({'on the host' if program.where == 'host' else 'in the image'})",
        "python": f"{program.path} (Python: what mpi4py links to)",
        "script": f"{program.path} (a script: what it runs is not known)",
        "missing": f"{program.path} (not found)",
    }
    inside = "inside the program (static)" if program.static else ""
    nothing = "" if program.kind in ("missing", "script") else "no MPI"
    yield from _pairs((
        ("program", kinds[program.kind]),
        ("links to", ", ".join(program.needed) or inside or nothing),
        ("family", program.family),
        ("uses", f"{len(program.symbols)} of MPI's functions and constants" if program.symbols else ""),
        ("rpath", f"{':'.join(program.rpath)} (DT_RPATH: no LD_LIBRARY_PATH beats it)" if program.rpath else ""),
    ))  # fmt: skip


# -------------------------------------------------------------------------------------------- plan


def plan(**options: Any) -> int:
    """Say how MPI would run in an image here, and why.

    The host's library bound into the container, the image's own, or not at all; what is bound, which variables are
    set, why not otherwise, and what to rebuild. With the options of submit; nothing is submitted.

    hpcjob mpi plan --image app.sif --nodes 4 -- ./solve in.nml
    """
    from hpcjobs.service import Service

    spec, own_site = request(options, need_command=False)
    if not spec.image:
        raise UsageError("mpi plan is about an image, and none was given", hint="add --image app.sif")
    site, file = options.get("site", "") or ("" if options.get("site_file") else own_site), options.get("site_file", "")
    service = Service(telling=progress.telling())
    prepared = service.prepare(spec, site=site, site_file=file)
    if options.get("json"):
        out.dump(mpi=asdict(prepared.plan.mpi_plan), site=prepared.site.name)
        return 0
    for line in _plan_lines(prepared):
        out.say(line)
    return 0


# The options are submit's, without those that are about a submission.
plan.__wrapped__ = submit  # type: ignore[attr-defined]
plan.without = {"wait", "timeout", "dry_run", "hold", "dependency", "array"}  # type: ignore[attr-defined]


def _plan_lines(prepared: Prepared) -> Iterator[str]:
    decided = prepared.plan.mpi_plan
    if not decided.mode:
        asked = "no MPI was asked for" if prepared.spec.mpi == "none" else "one rank needs nobody to find the others"
        why = next((note.why for note in prepared.plan.notes if note.subject == "mpi"), asked)
        yield from _pairs((("mode", f"left to {prepared.plan.launcher}"), ("why", why)))
        return
    kind = f" (srun --mpi={decided.type})" if decided.type else ""
    yield from _pairs((
        ("site", prepared.site.name),
        ("mode", f"{decided.mode}{kind}"),
        ("why", decided.why),
        *((f"not {mode}", why) for mode, why in decided.others.items()),
        *(("warning", text) for text in decided.warnings),
        *((("or", text) for text in decided.advice) if decided.mode == "none" else ()),
        *(("bind", _bound(one.source, one.target)) for one in decided.binds),
        *(("set", f"{name}={value}") for name, value in decided.env.items()),
        ("links", _links(decided)),
        ("on nodes", _compared(decided)),
        ("check", _checked(prepared)),
    ))  # fmt: skip


def _bound(source: str, target: str) -> str:
    return out.short(source) if source == target else f"{out.short(source)} at {target}"


def _links(decided: MpiPlan) -> str:
    front = [name.partition("/")[2] for name in decided.links if name.startswith("front/")]
    more = f" and {len(front) - _SHOWN} more" if len(front) > _SHOWN else ""
    return ", ".join(front[:_SHOWN]) + more


def _compared(decided: MpiPlan) -> str:
    number = len(decided.checks)
    files = "a file of the host is" if number == 1 else f"{number} files and folders of the host are"
    return f"{files} looked at before the job starts" if number else ""


def _checked(prepared: Prepared) -> str:
    decided = prepared.plan.mpi_plan
    if not decided.canary:
        none = next((f"none: {note.why}" for note in prepared.plan.notes if note.subject == "check"), "")
        alone = prepared.plan.shape.ntasks == 1 or decided.mode in ("none", "container")
        off = prepared.spec.mpi_check == "never" or prepared.site.mpi.check == "never"
        return none or ("" if alone or off else "none: it was seen to work before")
    once = "once" if decided.proven else "each time"
    planned = f", that they run {decided.canary.planned}" if decided.canary.planned else ""
    return f"{once}, before the program: that all ranks find each other, on all nodes{planned}"


def _pairs(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """`key  value` lines; on a terminal long values are folded below themselves."""
    from textwrap import wrap

    room = max(30, out.width() - _COLUMN - 1) if sys.stdout.isatty() else 0
    for key, value in pairs:
        if not value:
            continue
        text = out.clean(value)
        lines = wrap(text, room, break_long_words=False, break_on_hyphens=False) if room else [text]
        yield from (f"{key if not i else '':<{_COLUMN}} {line}" for i, line in enumerate(lines))


def _site(name: str, file: str) -> Any:
    from hpcjobs import site as sites

    return sites.choose(name, file, cached=True).site


def _service(name: str, file: str) -> Mpi:
    from hpcjobs import site as sites
    from hpcjobs.mpi_service import Mpi

    loaded = sites.choose(name, file, cached=True)
    return Mpi(loaded.site, loaded.file, process.run, progress.telling())


COMMANDS: dict[str, Any] = {"host": host, "image": image, "plan": plan}
