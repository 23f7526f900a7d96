"""What `hpcjob image` does to images: convert, build, sign, prune."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs.errors import PlanError, StoreError
from hpcjobs.image_service import Images, check_key
from hpcjobs.images.facts import inspect

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from hpcjobs.images.convert import Form

_DAY = 86400.0
_KEY_HINT = "a key of your own: apptainer key newpair; or a PEM key: hpcjob image sign --key FILE"


@dataclass(frozen=True)
class Removed:
    """What `prune` removed, or why not. `size` is bytes."""

    path: str
    size: int
    problem: str = ""


class ImageTools(Images):
    """The images of a site, and what makes others of them."""

    def sign(self, path: str, options: Sequence[str], foreground: Callable[[Sequence[str]], int]) -> None:
        """Sign a SIF file; the tool may ask for the passphrase of the key.

        Raises:
            PlanError: it could not be signed.
        """
        from hpcjobs.images import convert

        if inspect(path).kind != "sif":
            raise PlanError(f"only SIF images can be signed, not {path}", hint=f"hpcjob image convert {path} app.sif")
        check_key(options)
        command = (convert.Tools(self._runner).apptainer("SIF images are signed"), "sign", *options, path)
        if code := foreground(command):
            raise PlanError(f"{path} was not signed: {command[0]} ended with exit code {code}", hint=_KEY_HINT)

    def convert(self, source: str, target: str, *, force: bool = False) -> Path:
        """Make the SIF or squashfs file, or the folder, `target` (by its name) from an image file.

        Raises:
            NotFoundError, PlanError, StoreError: as of the image and the tools.
        """
        from hpcjobs.images import convert

        form = self._form(source)
        if convert.form_of(target) == "docker-archive":
            raise PlanError(
                f"archives like {target} are not written", hint="write app.sif, app.sqfs, or a folder's name"
            )
        return self._make(
            target,
            lambda made, work: convert.convert(
                source, form, made, work, convert.Tools(self._runner), arch=os.uname().machine
            ),
            force=force,
        )

    def _form(self, source: str) -> Form:
        if "://" in source:
            raise PlanError(f"{source} is in a registry", hint=f"hpcjob image pull {source}; then convert its file")
        form = self.report(source).format
        if form == "oci-archive":
            raise PlanError(
                f"{source} is an OCI archive", hint=f"unpack it: mkdir app.oci; tar -C app.oci -xf {source}"
            )
        return form  # type: ignore[return-value]  # the others are the same words

    def build(
        self,
        source: str,
        target: str,
        foreground: Callable[[Sequence[str]], int],
        *,
        fakeroot: bool = False,
        force: bool = False,
    ) -> Path:
        """Build `target` from a .def file or Dockerfile, here.

        Raises:
            NotFoundError, PlanError, StoreError: the site forbids it, a tool is missing, or it failed.
        """
        from hpcjobs.images import build, convert

        self._may_build()
        tools = convert.Tools(self._runner)

        def make(made: Path, work: Path) -> None:
            recipe = build.recipe(source, target, str(work), tools, fakeroot=fakeroot)
            for command in recipe.commands:
                if code := foreground(command):
                    raise PlanError(
                        f"{command[0]} {command[1]} ended with exit code {code}", hint="its words are above"
                    )
            if recipe.form == "sif":
                Path(recipe.made).replace(made)
            else:
                convert.convert(recipe.made, recipe.form, made, work, tools, arch=os.uname().machine)

        return self._make(target, make, force=force)

    def build_command(
        self, source: str, target: str, *, fakeroot: bool = False, force: bool = False
    ) -> tuple[str, ...]:
        """The command of a job that builds a SIF image on a node.

        Raises:
            NotFoundError, PlanError: as of `build`.
        """
        from hpcjobs import shell
        from hpcjobs.images import build, convert

        self._may_build()
        _check_target(Path(target), force=force)
        if convert.form_of(target) != "sif":
            raise PlanError(f"a job builds a SIF image, not {target}", hint="write -o app.sif, then convert it")
        work = str(Path(target).with_name(f".{Path(target).name}.building"))
        recipe = build.recipe(source, target, work, convert.Tools(self._runner), fakeroot=fakeroot)
        # What an earlier job has left there podman would not write over.
        commands: list[tuple[str, ...]] = [("rm", "-rf", work), ("mkdir", "-p", work), *recipe.commands]
        if recipe.form != "sif":
            kind = {"docker-archive": "docker-archive:"}.get(recipe.form, "")
            tool = convert.Tools(self._runner).apptainer()
            commands.append((tool, "build", "--force", f"{work}/made.sif", f"{kind}{recipe.made}"))
        made = recipe.made if recipe.form == "sif" else f"{work}/made.sif"
        commands += [("mv", "-f", made, target), ("rm", "-rf", work)]
        return ("bash", "-euc", "\n".join(map(shell.join, commands)))

    def _may_build(self) -> None:
        if reason := self._site.image.build:
            raise PlanError(
                f"images cannot be built on {self._site.name}: {reason}",
                hint="build it elsewhere, push it to a registry, then: hpcjob image pull docker://…",
            )

    def _make(self, target: str, make: Callable[[Path, Path], None], *, force: bool) -> Path:
        """`make(file to write, work folder)`, beside the target, which is whole or as it was."""
        from tempfile import mkdtemp

        path = Path(target).absolute()
        _check_target(path, force=force)
        try:
            work = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise StoreError(
                f"{path.parent} cannot be written: {error.strerror}", hint=f"see: ls -ld {path.parent}"
            ) from error
        try:
            made = work / "made" / path.name  # by its name, which the tools' errors tell
            made.parent.mkdir()
            make(made, work)
            if made.is_dir():
                path.unlink(missing_ok=True)  # a folder takes the place of a folder only
            made.replace(path)
        finally:
            _remove_tree(work)
        return path

    def prune(self, unused_since: float, in_use: Collection[str], *, dry_run: bool) -> list[Removed]:
        """Remove images of one's own that no active job needs (`in_use`), pulled or used last before `unused_since`.

        Used by anybody who shares the folder. Also what interrupted pulls of one's own have left there for a day. What
        cannot be removed is told with its reason.
        """
        found = [
            Removed(kept.path, kept.size)
            for kept in self.folder.images()
            if kept.path not in in_use and self.folder.last_used(kept) < unused_since and _is_own(kept.path)
        ]
        left = filter(_is_own, map(str, self.folder.left_over(time.time() - _DAY)))
        found += [Removed(path, _size(Path(path))) for path in left]
        return found if dry_run else [self._removed(one) for one in found]

    def _removed(self, one: Removed) -> Removed:
        try:
            self.folder.remove(Path(one.path))
        except StoreError as error:
            return replace(one, problem=error.message)
        return one


def _check_target(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise PlanError(f"{path} is a folder that is there already", hint="choose another name, or remove it yourself")
    if path.exists() and not force:
        raise PlanError(f"{path} exists already", hint="choose another name, or add --force")


def _is_own(path: str) -> bool:
    try:
        return Path(path).stat().st_uid == os.getuid()
    except OSError:
        return False


def _size(path: Path) -> int:
    size = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with suppress(FileNotFoundError):  # its maker is at work again, or another prune
            size += file.lstat().st_size
    return size


def _remove_tree(folder: Path) -> None:
    """Also folders of an image that nobody may write to."""
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
