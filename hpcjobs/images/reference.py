"""Names of images in registries: `docker://ubuntu:24.04`, taken apart and put together.

The grammar is that of github.com/distribution/reference (reference.go, normalize.go), and for `library://` that of
github.com/apptainer/container-library-client (client/ref.go), where a digest stands in the place of the tag.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hpcjobs.errors import UsageError

SCHEMES = ("docker", "oras", "library")
DOCKER_HUB = "docker.io"
_HUB_ALIASES = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_DEFAULT_TAG = "latest"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PART = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_LIBRARY_PART = re.compile(r"[a-zA-Z0-9_]+(?:[._-]+[a-zA-Z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_LIBRARY_DIGEST = "sha256."
# What normalize.go allows a repository, host excluded.
_LONGEST = 255
# A file name may have 255 bytes, of which the digest, the suffix and `.part` need some.
_LONGEST_SLUG = 100
# library://HOST/ENTITY/COLLECTION/CONTAINER
_LIBRARY_DEPTH = 3


@dataclass(frozen=True)
class Reference:
    """An image in a registry; `parse` makes checked ones.

    `registry` is `host[:port]` (empty for a `library://` without host); `digest` is `sha256:…`, or empty if not
    pinned; `tag` is empty only if the reference was given by digest alone.
    """

    scheme: str
    registry: str
    repository: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}"

    @property
    def path(self) -> str:
        """Registry and repository: `docker.io/library/ubuntu`."""
        return "/".join(filter(None, (self.registry, self.repository)))

    @property
    def name(self) -> str:
        """The canonical name without scheme: `docker.io/library/ubuntu:24.04@sha256:…`."""
        if self.scheme == "library" and self.digest:
            return f"{self.path}:{self.digest.replace(':', '.')}"
        return self.path + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def exact(self) -> str:
        """The URI for apptainer, skopeo and the like, which refuse a name that has both a tag and a digest."""
        return str(replace(self, tag="") if self.digest else self)

    @property
    def slug(self) -> str:
        """A short name, safe in file names: `ubuntu-24.04`."""
        return "-".join(filter(None, (self.repository.rpartition("/")[2], self.tag)))[:_LONGEST_SLUG]

    def pinned(self, digest: str) -> Reference:
        """The same image, held to a digest (`sha256:` and 64 hexadecimal digits).

        Raises:
            UsageError: that is no such digest.
        """
        return replace(self, digest=check_digest(digest), tag="" if self.scheme == "library" else self.tag)

    def file_name(self, digest: str, suffix: str) -> str:
        """`ubuntu-24.04-sha256-0123456789ab.sif`: what it is, and which one; `suffix` is `.sif`, say.

        Raises:
            UsageError: that is no digest.
        """
        algorithm, _, digits = check_digest(digest).partition(":")
        return f"{self.slug}-{algorithm}-{digits[:12]}{suffix}"


def check_digest(digest: str) -> str:
    """The digest itself, if it is `sha256:` and 64 hexadecimal digits (OCI image spec, descriptor.md).

    Raises:
        UsageError: it is not.
    """
    if not _DIGEST.fullmatch(digest):
        raise UsageError(
            f"{digest!r} is not a digest of an image",
            hint="a digest is sha256: and 64 hexadecimal digits in lower case, as `skopeo inspect` prints it",
        )
    return digest


def parse(text: str) -> Reference:
    """Take `docker://[HOST[:PORT]/]REPOSITORY[:TAG][@sha256:…]` apart; so `oras://…` and `library://…`.

    What is left out is filled in as docker does: Docker Hub, its `library/`, the tag `latest`.

    Raises:
        UsageError: it is malformed; the hint says what to type instead.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        name = re.sub(r"^docker:/*", "", text)
        is_file = text.startswith(("/", ".")) or not name
        hint = "files need no pull; names are docker://ubuntu:24.04" if is_file else f"type docker://{name}"
        raise UsageError(f"{text!r} does not say where the image is", hint=hint)
    if scheme not in SCHEMES:
        raise UsageError(
            f"{scheme}:// is no kind of image reference (in {text})",
            hint="type docker://…, oras://… or library://…, without https://",
        )
    if not rest.strip("/"):
        raise UsageError(f"{text} names no image", hint=f"type {scheme}://HOST/REPOSITORY:TAG")
    return _library(text, rest) if scheme == "library" else _docker(text, scheme, rest)


def _docker(text: str, scheme: str, rest: str) -> Reference:
    rest, at, digest = rest.partition("@")
    if at:
        check_digest(digest)
    registry, path = _split_host(rest)
    repository, colon, tag = path.partition(":")
    if colon or not at:
        tag = _checked_tag(text, tag if colon else _DEFAULT_TAG)
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    _check(text, registry, repository, _PART)
    return Reference(scheme, registry, repository, tag, digest)


def _split_host(rest: str) -> tuple[str, str]:
    """Host and path. A first part is a host if it could be no part of a repository's name (splitDockerDomain)."""
    first, slash, path = rest.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        return (DOCKER_HUB if first.lower() in _HUB_ALIASES else first), path
    return DOCKER_HUB, rest


def _library(text: str, rest: str) -> Reference:
    registry, path = "", rest.lstrip("/")
    if path == rest and (path.count("/") >= _LIBRARY_DEPTH or (":" in path.partition("/")[0] and "/" in path)):
        registry, _, path = path.partition("/")
    repository, colon, tag = path.partition(":")
    tag = _checked_tag(text, tag if colon else _DEFAULT_TAG)
    _check(text, registry, repository, _LIBRARY_PART)
    if tag.startswith(_LIBRARY_DIGEST):
        return Reference("library", registry, repository, "", check_digest(tag.replace(".", ":", 1)))
    return Reference("library", registry, repository, tag)


def _checked_tag(text: str, tag: str) -> str:
    if not _TAG.fullmatch(tag):
        raise UsageError(
            f"{tag!r} is not a tag (in {text})",
            hint="a tag has at most 128 letters, digits, '_', '.' and '-', and starts with none of the last two",
        )
    return tag


def _check(text: str, registry: str, repository: str, part: re.Pattern[str]) -> None:
    if registry and not _HOST.fullmatch(registry):
        raise UsageError(f"{registry!r} is not a host (in {text})", hint="type HOST or HOST:PORT before the first /")
    bad = [name for name in repository.split("/") if not part.fullmatch(name)]
    if bad and part.fullmatch(bad[0].lower()):
        typed = repository.removeprefix("library/")
        raise UsageError(
            f"the repository {repository} has upper-case letters (in {text})",
            hint=f"repositories are in lower case: type {text.replace(typed, typed.lower(), 1)}",
        )
    if bad:
        raise UsageError(
            f"{bad[0]!r} cannot be part of a repository's name (in {text})",
            hint="its parts have letters and digits, with single '.' or '_', or '-', between; '/' parts them",
        )
    if len(repository) > _LONGEST:
        raise UsageError(
            f"the repository {repository[:40]}… has {len(repository)} characters",
            hint=f"at most {_LONGEST} are allowed",
        )
