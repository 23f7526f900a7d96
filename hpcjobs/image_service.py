"""The use cases around images: what a submission needs of one, and what `hpcjob image` does."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs import capabilities, containers, paths, plan, runtimes
from hpcjobs.errors import NotFoundError, PlanError
from hpcjobs.images.facts import inspect
from hpcjobs.model import ImageFacts, ImageKey
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hpcjobs.images.library import Folder
    from hpcjobs.images.reference import Reference
    from hpcjobs.images.registry import Manifest, Registry
    from hpcjobs.images.report import Report
    from hpcjobs.model import JobSpec, Runtime, RuntimeConfig, ServiceSpec, Site
    from hpcjobs.process import Completed, Runner

# How runtimes with a store of their own get an image, on the login node. Podman's store is on each node, so that a
# job does it itself.
_STORE_PULL = {
    "podman-hpc": ("podman-hpc", "pull"),
    "shifter": ("shifterimg", "pull"),
    "sarus": ("sarus", "pull"),
    "docker": ("docker", "pull"),
}
# Bytes of a file whose digest is taken for a dry run too: a tenth of a second.
_SMALL = 100_000_000
_LONGEST_CONFIG = 16 << 20
_PULL_TIMEOUT = 3600.0
_VERIFY_TIMEOUT = 300.0


@dataclass(frozen=True)
class Telling:
    """How work that takes a while is told of."""

    progress: Callable[[str, int, int], None]  # what, bytes done, bytes in all
    say: Callable[[str], None]


def _nothing(*_: object) -> None:
    pass


QUIET = Telling(_nothing, _nothing)


def images_folder(site: Site | None) -> Path:
    """Where pulled images are kept.

    Raises:
        PlanError: the site names a folder with a variable that is not set here.
    """
    named = site.image.folder if site else ""
    if not named:
        return paths.data_home() / "images"
    folder = os.path.expandvars(named)
    if "$" in folder:
        raise PlanError(
            f"image.folder of site {site.name if site else ''} is {named}, and a variable in it is not set here",
            hint="set it (export NAME=…) or change the site file",
        )
    return Path(folder)


class Images:
    """The images of jobs on one site."""

    def __init__(self, site: Site, runner: Runner, telling: Telling = QUIET) -> None:
        self._site = site
        self._runner = runner
        self._telling = telling

    @property
    def folder(self) -> Folder:
        """The folder of pulled images."""
        from hpcjobs.images.library import Folder

        return Folder(images_folder(self._site))

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that bring the site's runtime."""
        return next((runtime.modules for runtime in self._site.runtimes), ())

    # ------------------------------------------------------------------------------ for a submission

    def choose(self, spec: JobSpec, *, final: bool) -> tuple[ImageFacts, Runtime]:
        """The job's image and the runtime for it; `final` also pulls it, takes its digest and verifies it.

        Raises:
            NotFoundError: there is no such image.
            PlanError: it cannot run here, or is not signed where it must be.
            UnreachableError: the registry did not answer.
        """
        facts = self._facts(spec)
        files = self.bind_files(spec)
        config = plan.choose_runtime(spec, self._site, facts, files=files)
        if facts.kind == "reference":
            facts = self._from_registry(spec, config, final=final)
        _check_owner(facts, config)
        self._check_paths(spec)
        config = runtimes_identified(config, self._runner)
        required = "required" in (spec.verify, self._site.image.verify)
        changed = "refuse" if required else spec.image_changed or self._site.image.changed
        if facts.stamp and changed != "ignore" and (final or int(facts.stamp.partition(".")[0]) < _SMALL):
            facts = replace(facts, digest=self._digest(facts))
        # After the digest: what is exchanged between the two is then not what the job finds.
        if facts.kind != "none" and required:
            self._need_signature(facts, config)
        if facts.stamp and (spec.app or spec.entrypoint):
            self._check_inside(spec, facts.path)
        return facts, runtimes.get(config)

    def _check_paths(self, spec: JobSpec) -> None:
        """Refuse overlays that cannot be; warn of binds that are not here, since they may be on the nodes.

        Raises:
            PlanError: says which overlay, and why.
        """
        for overlay in containers.overlays(spec, spec.workdir):
            path = Path(overlay.path)
            if not path.exists() and (overlay.readonly or not (overlay.size or overlay.is_folder)):
                hint = f"to make it: --overlay {path}:2G" if not overlay.readonly else "is its name right?"
                raise PlanError(f"there is no overlay {path}", hint=hint)
            if not path.parent.is_dir():
                raise PlanError(f"there is no folder {path.parent} for the overlay", hint=f"mkdir -p {path.parent}")
        for text in spec.bind:
            source = containers.parse_bind(text, spec.workdir, expand=False).source
            if not Path(source).exists():
                self._telling.say(f"warning: {source} is not here; the job will need it on its nodes")

    def _check_inside(self, spec: JobSpec, path: str) -> None:
        """Refuse an app or an entrypoint that the image does not have.

        Raises:
            PlanError: names those that it has.
        """
        from hpcjobs.images import sif

        seen = self.report(path)
        primary = sif.read(path).primary if seen.format == "sif" else None
        if not seen.complete or (seen.format == "sif" and not (primary and primary.filesystem == "squashfs")):
            return  # nobody looked into it: encrypted, of another file system, or without unsquashfs
        if spec.app and spec.app not in seen.apps:
            hint = nearest(spec.app, seen.apps) if seen.apps else "hpcjob image inspect tells what is in it"
            raise PlanError(f"the image {path} has no app {spec.app!r}", hint=hint)
        # What starts other files, is what the runtime makes of them (Enroot's /etc/rc).
        if spec.entrypoint and not spec.app and primary and not (seen.runscript or seen.entrypoint):
            raise PlanError(f"the image {path} has no entrypoint", hint="leave out --entrypoint, and name the program")

    def for_service(
        self, service: ServiceSpec, spec: JobSpec, image: ImageFacts, runtime: Runtime, *, final: bool
    ) -> tuple[ImageFacts, Runtime]:
        """The same for a service; without an image of its own it has the job's."""
        if not service.image:
            return image, runtime
        typed = os.path.expanduser(service.image)  # noqa: PTH111 - text of a plan
        absolute = typed if "://" in typed else containers.below(spec.workdir, typed)
        # As if it were the image of the job: then the runtime must be able to run a service.
        alone = replace(
            spec, image=absolute, bind=service.bind, app="", entrypoint=False, writable=False, overlay=(),
            image_key="", services=(replace(service, image=""),), container_workdir="", gpus_per_node=None, ntasks=None,
            ntasks_per_node=None,
        )  # fmt: skip
        return self.choose(alone, final=final)

    def pinned(self, image: str, facts: ImageFacts) -> str:
        """The image as it is remembered: a reference with the digest that it stood for, or else the file it became."""
        if "://" not in image or not facts.source:
            return image
        return facts.source if "@" in facts.source else facts.path

    def bind_files(self, spec: JobSpec) -> frozenset[str]:
        """The sources of the job's binds that are files."""
        sources = (containers.parse_bind(text, spec.workdir, expand=False).source for text in spec.bind)
        return frozenset(source for source in sources if os.path.isfile(source))  # noqa: PTH113 - text of a plan

    def key(self, spec: JobSpec) -> ImageKey | None:
        """Where the key of an encrypted image is.

        Raises:
            PlanError: it is not there, or others can read it.
        """
        if not spec.image_key:
            return None
        kind, _, name = spec.image_key.partition(":")
        if kind == "env":
            from hpcjobs.shell import variable_name

            if variable_name(name) not in os.environ:
                raise PlanError(f"--image-key env:{name}: it is not set here", hint=f"export {name}, then submit")
            return ImageKey("passphrase", variable=name)
        return _key_file(Path(containers.below(spec.workdir, os.path.expanduser(spec.image_key))))  # noqa: PTH111

    def _facts(self, spec: JobSpec) -> ImageFacts:
        return inspect(spec.image, targets=plan.image_targets(spec, self._site, spec.workdir), runner=self._runner)

    def _digest(self, facts: ImageFacts) -> str:
        from hpcjobs.images import report

        return report.digest(facts.path, cache=paths.cache_home() / "images")

    # ------------------------------------------------------------------------------- from a registry

    def _from_registry(self, spec: JobSpec, config: RuntimeConfig, *, final: bool) -> ImageFacts:
        from hpcjobs.images import reference

        asked = reference.parse(spec.image)
        form = capabilities.PULLED_TO.get(config.kind)
        if form:
            path, digest = self.pull(asked, form) if final else self.expected(asked, form)
            source = str(asked if asked.scheme == "library" else asked.pinned(digest))
            if path.is_file():
                return replace(self._facts(replace(spec, image=str(path))), source=source)
            return ImageFacts(str(path), "sif" if form == "sif" else "squashfs", source=source)
        if asked.scheme != "docker":
            raise PlanError(
                f"{config.kind} gets images from docker:// only, not {asked.scheme}://", hint=f"docker://{asked.name}"
            )
        manifest = self._fitting(asked, "")
        if manifest.digest == manifest.platform_digest:  # no index, which would have told the CPU
            self._check_machine(asked, manifest)
        if config.kind == "shifter" and asked.digest:
            self._check_tag(asked)
        pinned = asked.pinned(manifest.digest)
        if final and config.kind in _STORE_PULL:
            self._store_pull(config, pinned)
        return ImageFacts(pinned.exact, "reference", digest=manifest.digest, source=str(pinned))

    def _check_tag(self, asked: Reference) -> None:
        """Shifter's gateway knows images by tag: refuse a digest that its tag no longer stands for."""
        if asked.tag and self._resolve(replace(asked, digest="")).digest != asked.digest:
            raise PlanError(
                f"Shifter runs what the tag {asked.tag} stands for, and that is no longer {asked.digest[:19]}…",
                hint=f"give the new one: {asked.scheme}://{asked.path}:{asked.tag}; or use another runtime",
            )

    def pull_for_site(self, asked: Reference) -> tuple[str, str]:
        """What a submission would pull for the site's first runtime: the path of a file, or a name in its store.

        And the digest of what the name stands for.

        Raises:
            PlanError: no runtime of the site takes images of a registry.
        """
        for config in self._site.runtimes:
            if form := capabilities.PULLED_TO.get(config.kind):
                path, digest = self.pull(asked, form)
                return str(path), digest
            if config.kind in _STORE_PULL:
                pinned = asked.pinned(self._resolve(asked).digest)
                self._store_pull(config, pinned)
                return pinned.exact, pinned.digest
        raise PlanError(
            f"no runtime of site {self._site.name} keeps images that are pulled here", hint="give --format sif"
        )

    def expected(self, asked: Reference, form: str) -> tuple[Path, str]:
        """Where `pull` would put it, and the digest that it has now; nothing is downloaded.

        Raises:
            UnreachableError: the registry did not answer.
        """
        from hpcjobs.images import library

        if asked.scheme == "library":
            return self.folder.place(f"{asked.slug}{library.suffix(form)}"), asked.digest
        digest = asked.digest or self._fitting(asked, form).digest
        return self.folder.place(_file_name(asked, digest, form)), digest

    def pull(self, asked: Reference, form: str) -> tuple[Path, str]:
        """Download an image into the folder, as a `sif` or `squashfs` file; its path and the digest it is pinned to.

        Several processes that pull the same one share the work; what was cut short is continued.

        Raises:
            NotFoundError, PlanError, UnreachableError, StoreError: as of the registry and the tools.
        """
        if asked.scheme == "library":
            return self._library_pull(asked)
        # One that is pinned and there needs no registry; one that is nowhere makes no folder.
        there = asked.digest and self.folder.place(_file_name(asked, asked.digest, form)).is_file()
        known = None if there else self._fitting(asked, form)
        digest = known.digest if known else asked.digest

        def make(work: Path, target: Path) -> None:
            self._fetch(asked, known or self._fitting(asked, form), work, target)

        return self._keep(asked, digest, make, form), digest

    def _fitting(self, asked: Reference, form: str) -> Manifest:
        manifest = self._resolve(asked)
        if manifest.is_sif and form != "sif":
            raise PlanError(
                f"{asked.name} is a SIF file, which this runtime cannot run", hint="use --runtime apptainer"
            )
        return manifest

    def _fetch(self, asked: Reference, manifest: Manifest, work: Path, target: Path) -> None:
        from hpcjobs.images import convert
        from hpcjobs.images.registry import fetch_layout

        registry = self._registry(asked)

        def progress(done: int) -> None:
            self._telling.progress(asked.name, done, manifest.size)

        if manifest.is_sif:
            (blob,) = manifest.layers
            registry.download(asked, blob, target, progress)
            return
        self._check_machine(asked, manifest)
        layout = fetch_layout(registry, asked, manifest, work / "layout", progress)
        self._telling.say(f"making {target.name}")
        source = layout.removeprefix("oci:")
        convert.convert(source, "oci-layout", target, work, convert.Tools(self._runner), arch=os.uname().machine)

    def _check_machine(self, asked: Reference, manifest: Manifest) -> None:
        from hpcjobs.images import flatten

        flatten.check_machine(self._config(asked, manifest), os.uname().machine, asked.name)

    def _library_pull(self, asked: Reference) -> tuple[Path, str]:
        """By Apptainer, which alone speaks to libraries; a name without a digest gets that of the file."""
        from hpcjobs.images import convert, report

        tools = convert.Tools(self._runner)

        def fetch(work: Path, target: Path) -> None:
            self._telling.say(f"pulling {asked.name}")
            tools.run(
                (tools.apptainer("library:// is read"), "pull", "--disable-cache", str(target), asked.exact),
                f"pulling {asked}",
                work,
            )

        if asked.digest:
            return self._keep(asked, asked.digest, fetch), asked.digest
        with self.folder.scratch(asked.slug) as work:
            fetched = work / "pulled.sif"
            fetch(work, fetched)
            digest = report.digest(fetched, cache=None)

            def move(_: Path, target: Path) -> None:
                fetched.replace(target)

            return self._keep(asked, digest, move), digest

    def _keep(self, asked: Reference, digest: str, make: Callable[[Path, Path], None], form: str = "sif") -> Path:
        return self.folder.get(
            _file_name(asked, digest, form),
            # The digest of a file says nothing to a library.
            source=str(asked if asked.scheme == "library" else asked.pinned(digest)),
            digest=digest,
            make=make,
            waiting=lambda: self._telling.say(f"somebody else is pulling {asked.name}: waiting for it"),
        )

    def _resolve(self, asked: Reference) -> Manifest:
        return self._registry(asked).resolve(asked, os.uname().machine)

    def _registry(self, asked: Reference) -> Registry:
        from hpcjobs.images.registry import Registry, credentials

        login = credentials(asked.registry, os.environ, Path.home(), runner=self._runner)
        return Registry(asked.registry, credentials=login)

    def _store_pull(self, config: RuntimeConfig, pinned: Reference) -> None:
        from hpcjobs.runtimes.shifter import gateway_name

        name = pinned.exact.partition("://")[2]
        program, verb = _STORE_PULL[config.kind]
        command = (
            program if config.kind == "shifter" else config.command or program,
            verb,
            f"docker:{gateway_name(str(pinned))}" if config.kind == "shifter" else name,
        )
        self._telling.say(f"pulling {name} with {command[0]}")
        done = self._runner(command, timeout=_PULL_TIMEOUT)
        if _failed(done):  # these clients give up at the first broken connection
            done = self._runner(command, timeout=_PULL_TIMEOUT)
        if _failed(done):
            words = (done.err or done.out).strip().splitlines()
            raise PlanError(
                f"{command[0]} could not pull {name}: {words[-1] if words else f'exit code {done.code}'}",
                hint=f"try it by hand: {' '.join(command)}",
            )

    # -------------------------------------------------------------------------------------- trust

    def _need_signature(self, facts: ImageFacts, config: RuntimeConfig) -> None:
        kinds = [runtime.kind for runtime in self._site.runtimes]
        capabilities.refuse(config.kind, {"verify": "the signature that is required"}, kinds)
        if facts.kind != "sif":
            raise PlanError(
                f"only SIF images can be signed, and {facts.path} is a {facts.kind}",
                hint=f"hpcjob image convert {facts.path} app.sif, then: hpcjob image sign app.sif",
            )
        if Path(facts.path).is_file():  # which an image that a dry run would pull is not
            self.verify(facts.path)

    def verify(self, path: str) -> str:
        """What the tool says of the valid signature of a SIF file.

        Raises:
            PlanError: it is not signed, the signature is not valid, or its key is not known.
        """
        from hpcjobs.images import convert

        if inspect(path).kind != "sif":
            raise PlanError(f"only SIF images can be signed, not {path}", hint=f"hpcjob image convert {path} app.sif")
        tool = convert.Tools(self._runner).apptainer("signatures are checked")
        check_key(self._site.image.verify_options)
        done = self._runner((tool, "verify", *self._site.image.verify_options, path), timeout=_VERIFY_TIMEOUT)
        if done.code == 0:
            return (done.out + done.err).strip()
        words = [line for line in done.err.splitlines() if "FATAL" in line or "ERROR" in line] or [done.err.strip()]
        unsigned = "signature not found" in done.err
        raise PlanError(
            f"the image {path} is not signed"
            if unsigned
            else f"the signature of {path} is not valid: {words[-1].partition(':')[2].strip() or words[-1]}",
            hint=f"sign it: hpcjob image sign {path}"
            if unsigned
            else "get the signer's key: apptainer key import FILE; or for a PEM key, --key PUBLIC.pem",
        )

    def report(self, image: str) -> Report:
        """Everything that can be seen of an image file, or of an image in a registry.

        Raises:
            NotFoundError, PlanError, UnreachableError: as of the file or the registry.
        """
        from hpcjobs.images import contents, reference, report

        cache = paths.cache_home() / "images"
        if "://" not in image:
            return report.report(image, runner=self._runner, cache=cache)
        asked = reference.parse(image)
        if asked.scheme == "library":
            raise PlanError("a library:// image cannot be looked into from afar", hint=f"hpcjob image pull {image}")
        manifest = self._resolve(asked)
        name = str(asked.pinned(manifest.digest))
        config = {} if manifest.is_sif else self._config(asked, manifest)
        return contents.of_registry(name, manifest.digest, manifest.size, config)

    def _config(self, asked: Reference, manifest: Manifest) -> dict[str, Any]:
        from tempfile import TemporaryDirectory

        from hpcjobs.images import flatten

        with TemporaryDirectory(prefix="hpcjob-") as folder:
            file = Path(folder) / "config"
            if manifest.config.size > _LONGEST_CONFIG:
                size = manifest.config.size
                raise PlanError(f"the configuration of {asked.name} has {size} bytes", hint="it is no image")
            self._registry(asked).download(asked, manifest.config, file)
            try:
                return flatten.checked_config(json.loads(file.read_bytes() or b"{}"))
            except (TypeError, ValueError) as error:
                raise PlanError(f"{asked.name} is damaged, or no image: {error}", hint="push the image again") from None


def _failed(done: Completed) -> bool:
    """Whether a pull did: shifterimg ends with 0 also when its gateway could not."""
    return bool(done.code) or "FAILURE" in done.out


def _file_name(asked: Reference, digest: str, form: str) -> str:
    """The name of a pulled image; its CPU is in it where that is not the one that most machines have."""
    from hpcjobs.images import library

    machine = os.uname().machine
    return asked.file_name(digest, ("" if machine == "x86_64" else f".{machine}") + library.suffix(form))


def check_key(options: Sequence[str]) -> None:
    """Refuse a key file that is not there, before a tool does in its own words.

    Raises:
        NotFoundError: names it.
    """
    for option, value in itertools.pairwise(options):
        if option == "--key" and not Path(value).is_file():
            raise NotFoundError(f"there is no key {value}", hint="give the file of a PEM key")


def runtimes_identified(config: RuntimeConfig, runner: Runner) -> RuntimeConfig:
    """The runtime with its version, as far as it can be asked here."""
    from hpcjobs.runtimes.identify import identify

    return identify(config, runner, shutil.which)


def _check_owner(facts: ImageFacts, config: RuntimeConfig) -> None:
    """Podman without root prepares files in a folder image, which it cannot where the folder is another user's."""
    me = os.geteuid()
    if (config.kind, facts.kind) == ("podman", "directory") and me not in (0, Path(facts.path).stat().st_uid):
        raise PlanError(
            f"Podman cannot run the image folder {facts.path}, which belongs to another user",
            hint="use a copy of your own: cp -r",
        )


def _key_file(file: Path) -> ImageKey:
    try:
        mode = file.stat().st_mode
        with file.open("rb") as stream:
            head = stream.read(32)
    except FileNotFoundError:
        raise NotFoundError(f"there is no key {file}", hint="--image-key FILE, or --image-key env:NAME") from None
    except OSError as error:
        raise PlanError(f"the key {file} cannot be read: {error.strerror}", hint=f"see: ls -l {file}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO) and b"PUBLIC" not in head:
        raise PlanError(f"the key {file} can be read by others", hint=f"chmod 600 {file}")
    return ImageKey("pem" if head.startswith(b"-----BEGIN") else "passphrase", file=str(file))
