"""`hpcjob image`: container images, looked into, pulled, made and trusted."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import process
from hpcjobs.cli import jobs as words
from hpcjobs.cli import out, progress
from hpcjobs.errors import UsageError
from hpcjobs.image_tools import ImageTools, Removed
from hpcjobs.units import Duration, nearest

if TYPE_CHECKING:
    from hpcjobs.cli.options import (
        Account,
        BuildOutput,
        Fakeroot,
        Force,
        ImageFile,
        ImageForm,
        Json,
        OlderThan,
        OnNode,
        PartitionName,
        PruneDryRun,
        RecipeFile,
        Reference,
        SigningKey,
        SiteFile,
        SiteName,
        Source,
        Target,
        Time,
        VerifyingKey,
    )
    from hpcjobs.image_service import Telling
    from hpcjobs.images.library import Kept
    from hpcjobs.model import Site

_MB = 1_000_000


def pull(
    name: Reference, *, form: ImageForm = "", site: SiteName = "", site_file: SiteFile = "", json: Json = False
) -> int:
    """Pull an image from a registry.

    Into the site's folder; its path is printed. `submit --image docker://…` does it by itself. The file's name holds
    the digest; people who pull the same one at once share the work, and an interrupted pull goes on where it was.
    """
    from hpcjobs.images import reference

    images = _images(_site(site, site_file), progress.telling())
    asked = reference.parse(name)
    if form not in ("", "sif", "squashfs"):
        raise UsageError(f"--format {form!r} is not known", hint=nearest(form, ("sif", "squashfs")))
    path, digest = images.pull(asked, form) if form else images.pull_for_site(asked)
    if json:
        out.dump(path=str(path), digest=digest)
    else:
        out.say(str(path))
    return 0


def convert(source: Source, target: Target, *, force: Force = False, json: Json = False) -> int:
    """Convert an image into another form.

    SIF, squashfs or a folder, from each other or from a docker archive or OCI layout.

    hpcjob image convert app.tar app.sif
    """
    _tell(str(_images(_site(), progress.telling()).convert(source, target, force=force)), json=json)
    return 0


def build(
    recipe: RecipeFile,
    *,
    output: BuildOutput = "",
    fakeroot: Fakeroot = False,
    force: Force = False,
    on_node: OnNode = False,
    partition: PartitionName = "",
    account: Account = "",
    time: Time = "",
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Build an image from a recipe.

    That is a .def file or a Dockerfile; here, or in a job on a node.

    hpcjob image build app.def -o app.sif
    """
    target = os.path.abspath(output or f"{Path(recipe).resolve().stem.lower()}.sif")  # noqa: PTH100 - keeps links
    recipe = os.path.abspath(recipe)  # noqa: PTH100
    images = _images(_site(site, site_file), progress.telling())
    if not on_node:
        if given := [option for option, value in (("-p", partition), ("-A", account), ("-t", time)) if value]:
            raise UsageError(f"{given[0]} is about a job, and the image is built here", hint="add --on-node")
        _tell(str(images.build(recipe, target, process.foreground, fakeroot=fakeroot, force=force)), json=json)
        return 0
    from hpcjobs.model import JobSpec
    from hpcjobs.service import Service

    spec = JobSpec(
        command=images.build_command(recipe, target, fakeroot=fakeroot, force=force),
        name=f"build-{Path(target).name}",
        launcher="none",
        modules=images.modules,
        partition=partition,
        account=account,
        time=Duration.parse(time) if time else None,
    )
    record = Service().submit(spec, site=site, site_file=site_file)
    if json:
        words.dump([record])
        return 0
    out.say(record.label)
    out.tell(f"{record.label} builds {out.short(target)} on {record.site}; follow it: hpcjob logs -f {record.label}")
    return 0


def verify(
    image: ImageFile,
    *,
    key: VerifyingKey = "",
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Check the signature of a SIF file."""
    chosen = _site(site, site_file)
    if key:
        chosen = replace(chosen, image=replace(chosen.image, verify_options=("--key", key)))
    said = _images(chosen).verify(image)
    if json:
        out.dump(path=image, said=said)
    else:
        out.tell(said)
    return 0


def sign(image: ImageFile, *, key: SigningKey = "", json: Json = False) -> int:
    """Sign a SIF file, with your own key or with a PEM key."""
    _images(_site()).sign(image, ("--key", key) if key else (), process.foreground)
    if json:
        out.dump(path=image)
    return 0


def list_(*, site: SiteName = "", site_file: SiteFile = "", json: Json = False) -> int:
    """List the images that were pulled."""
    images = _images(_site(site, site_file))
    found = images.folder.images()
    if json:
        out.dump(folder=str(images.folder.root), images=[{**asdict(k), "pulled": out.iso(k.pulled)} for k in found])
        return 0

    def source(kept: Kept) -> str:
        # A terminal has no room for the digest, of which the name has the beginning.
        return kept.source.partition("@")[0] if sys.stdout.isatty() else kept.source

    rows = [(Path(kept.path).name, f"{kept.size / _MB:.0f} MB", out.local(kept.pulled), source(kept)) for kept in found]
    if rows:
        out.table(("IMAGE", "SIZE", "PULLED", "FROM"), rows)
    out.tell(f"{len(found)} image{'s' * (len(found) != 1)} in {out.short(str(images.folder.root))}")
    return 0


def prune(
    *,
    older_than: OlderThan = "30d",
    dry_run: PruneDryRun = False,
    site: SiteName = "",
    site_file: SiteFile = "",
    json: Json = False,
) -> int:
    """Remove pulled images that are not used.

    Those that no active job needs and nobody has used for a while; and what interrupted pulls have left.
    """
    from hpcjobs.service import Service

    if older_than.isdigit():  # which elsewhere are minutes
        raise UsageError(f"--older-than {older_than}: of what?", hint=f"write {older_than}d, or 12h")
    images = _images(_site(site, site_file))
    in_use = Service().images_in_use(kept.path for kept in images.folder.images())
    removed = images.prune(out.now() - Duration.parse(older_than), in_use, dry_run=dry_run)
    if json:
        out.dump(removed=[asdict(one) for one in removed])
    else:
        _tell_removed(removed, dry_run=dry_run)
    return int(any(one.problem for one in removed))


def _tell(path: str, *, json: bool) -> None:
    if json:
        out.dump(path=path)
    else:
        out.say(path)


def _tell_removed(removed: list[Removed], *, dry_run: bool) -> None:
    for one in removed:
        if one.problem:
            out.warn(one.problem)
        else:
            out.say(one.path)
    size = sum(one.size for one in removed if not one.problem) / _MB
    out.tell(f"{'would free' if dry_run else 'freed'} {size:.0f} MB")


def _site(name: str = "", file: str = "") -> Site:
    from hpcjobs import site as sites

    return sites.choose(name, file, cached=True).site


def _images(site: Site, telling: Telling | None = None) -> ImageTools:
    return ImageTools(site, process.run, telling) if telling else ImageTools(site, process.run)


COMMANDS: dict[str, Any] = {
    "inspect": "hpcjobs.cli.inspect:inspect",
    "run": "hpcjobs.cli.wrap:run",
    "exec": "hpcjobs.cli.wrap:exec_",
    "shell": "hpcjobs.cli.wrap:shell",
    "mpi": "hpcjobs.cli.wrap:mpi",
    "pull": pull,
    "convert": convert,
    "build": build,
    "verify": verify,
    "sign": sign,
    "list": list_,
    "prune": prune,
}
