"""`hpcjob kernel`: Jupyter kernels whose language lives in an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcjobs import process
from hpcjobs.cli import out
from hpcjobs.cli.wrap import spec_of, wrapping_of
from hpcjobs.errors import HpcjobError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from hpcjobs.cli.options import (
        Binds,
        Env,
        Force,
        ImageKey,
        ImageName,
        Json,
        KernelLanguage,
        KernelName,
        KernelNames,
        KernelProgram,
        KernelTitle,
        Modules,
        Prefix,
        RuntimeName,
        SiteFile,
        SiteName,
        SysPrefix,
    )
    from hpcjobs.kernels import Kernel


def install(
    image: ImageName,
    *,
    name: KernelTitle = "",
    kernel_name: KernelName = "",
    language: KernelLanguage = "",
    program: KernelProgram = "",
    env: Env = None,
    bind: Binds = None,
    modules: Modules = None,
    runtime: RuntimeName = "",
    image_key: ImageKey = "",
    prefix: Prefix = "",
    sys_prefix: SysPrefix = False,
    force: Force = False,
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Make the Python, R or Julia of an image a kernel of Jupyter.

    A kernel.json is written, and the program that it names, with the site's modules, GPU options and binds. The image
    must have ipykernel, IRkernel or IJulia; it is started once to see that.

    hpcjob kernel install pytorch.sif --name "PyTorch 2.7"
    """
    from hpcjobs import kernels

    asked = {"image": image, "env": env, "bind": bind, "modules": modules, "runtime": runtime, "app": "",
             "image_key": image_key}  # fmt: skip
    if not name:
        raise UsageError("the kernel has no name", hint=f'hpcjob kernel install {image} --name "PyTorch 2.7"')
    kernel, found = kernels.install(
        wrapping_of(site, site_file),
        spec_of(asked),
        kernels.place(prefix=prefix, sys_prefix=sys_prefix),
        title=name,
        name=kernel_name,
        language=language,
        program=program,
        runner=process.run,
        force=force,
    )
    if json:
        out.dump(kernel=_as_json(kernel))
        return 0
    out.say(str(kernel.folder))
    of = found.language
    out.tell(f"{out.clean(name)}: {of.title} {found.version}, {of.package} {found.package}, by {kernel.runtime}")
    out.tell(f"  start it: choose it in Jupyter, or: jupyter console --kernel {kernel.name}")
    return 0


def list_(*, prefix: Prefix = "", sys_prefix: SysPrefix = False, json: Json = False) -> int:
    """List the kernels that were installed."""
    from hpcjobs import kernels

    folder = kernels.place(prefix=prefix, sys_prefix=sys_prefix)
    found = list(kernels.installed(folder))
    if json:
        out.dump(folder=str(folder), kernels=[_as_json(kernel) for kernel in found])
        return 0
    if found:
        rows = [(kernel.name, kernel.title, kernel.runtime, out.short(kernel.image)) for kernel in found]
        out.table(("NAME", "TITLE", "RUNTIME", "IMAGE"), rows)
    out.tell(f"{len(found)} kernel{'s' * (len(found) != 1)} of hpcjob's in {out.short(str(folder))}")
    return 0


def check(names: KernelNames = None, *, prefix: Prefix = "", sys_prefix: SysPrefix = False, json: Json = False) -> int:
    """Tell whether kernels start here; by default all.

    And whether their files are still what the site would want. The exit code is 1 if one is not well.
    """
    from hpcjobs import kernels

    folder = kernels.place(prefix=prefix, sys_prefix=sys_prefix)
    chosen = list(_named(folder, names or ()))
    told = [(one, _problem(one)) for one in chosen]
    if json:
        out.dump(kernels=[{**_as_json(kernel), "problem": problem} for kernel, problem in told])
    else:
        for kernel, problem in told:
            out.say(f"{kernel.name}: {out.clean(problem) if problem else 'well'}")
        if not told:
            out.tell(f"there is no kernel of hpcjob's in {out.short(str(folder))}")
    return int(any(problem for _, problem in told))


def remove(names: KernelNames = None, *, prefix: Prefix = "", sys_prefix: SysPrefix = False, json: Json = False) -> int:
    """Remove kernels that were installed."""
    from hpcjobs import kernels

    if not names:
        raise UsageError("no kernel is named", hint="hpcjob kernel list shows those there are")
    chosen = list(_named(kernels.place(prefix=prefix, sys_prefix=sys_prefix), names))
    for kernel in chosen:
        kernels.remove(kernel)
        if not json:
            out.say(str(kernel.folder))
    if json:
        out.dump(removed=[str(kernel.folder) for kernel in chosen])
    return 0


def _problem(kernel: Kernel) -> str:
    from hpcjobs import kernels

    try:
        wrapping = wrapping_of("" if kernel.site_file else kernel.site, kernel.site_file)
    except HpcjobError as error:
        return error.message
    return kernels.check(kernel, wrapping, process.run)


def _named(folder: os.PathLike[str], names: Sequence[str]) -> Iterator[Kernel]:
    from pathlib import Path

    from hpcjobs import kernels

    if not names:
        return kernels.installed(Path(folder))
    return iter([kernels.find(Path(folder), name) for name in names])


def _as_json(kernel: Kernel) -> dict[str, str]:
    return {
        "name": kernel.name,
        "title": kernel.title,
        "folder": str(kernel.folder),
        "language": kernel.language,
        "image": kernel.image,
        "runtime": kernel.runtime,
        "site": kernel.site,
    }


COMMANDS = {"install": install, "list": list_, "check": check, "remove": remove}
