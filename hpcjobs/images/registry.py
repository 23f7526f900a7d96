"""Pull images from a registry: the reading half of the OCI distribution API, over urllib.

Sources: the OCI distribution spec (github.com/opencontainers/distribution-spec, spec.md), the OCI image spec
(manifest.md, image-index.md, image-layout.md), docker's token authentication
(distribution.github.io/distribution/spec/auth/token), its credential helpers
(github.com/docker/docker-credential-helpers) and containers-auth.json(5).

No message, log or repr holds a password or token: errors name hosts, never the address of a redirect, for it may be
signed.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hpcjobs import __version__
from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, UnreachableError, UsageError
from hpcjobs.images.reference import DOCKER_HUB, check_digest
from hpcjobs.images.storing import storing
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from email.message import Message

    from typing_extensions import Self

    from hpcjobs.images.reference import Reference
    from hpcjobs.process import Runner

    Answer = http.client.HTTPResponse | urllib.error.HTTPError

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEXES = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_SIF_LAYER = "application/vnd.sylabs.sif.layer.v1.sif"
_REF_NAME = "org.opencontainers.image.ref.name"
# What registries take at most (distribution-spec, "Pushing Manifests": at least 4 MiB).
_LARGEST_MANIFEST = 16 << 20
_CHUNK = 1 << 20
# Tries of a download that brought nothing new.
_TRIES = 4
_HELPER_TIMEOUT = 60.0
# `uname -m` to GOARCH, and the variants that run there, best first (image-index.md, "Platform Variants").
PLATFORMS = {
    "x86_64": ("amd64", ("", "v1")),
    "aarch64": ("arm64", ("v8", "")),
    "armv7l": ("arm", ("v7", "", "v6", "v5")),
    "i686": ("386", ("",)),
}
_HUB_API = "registry-1.docker.io"
# The name under which docker login keeps Docker Hub.
_HUB_KEY = "https://index.docker.io/v1/"
_ECR = re.compile(r"\d+\.dkr\.ecr(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
# What docker's helpers answer as user when the secret is an identity token.
_TOKEN_USER = "<token>"  # noqa: S105 - a user's name


# --- logins -----------------------------------------------------------------------------------------------------------


def credentials(
    registry: str, environ: Mapping[str, str], home: Path, *, runner: Runner | None = None
) -> tuple[str, str] | None:
    """User and password for a registry, from the first place that has them; None if none has.

    Looked at, in order: `HPCJOBS_REGISTRY_USER` and `_PASSWORD`, `APPTAINER_DOCKER_USERNAME` and `_PASSWORD`,
    `SINGULARITY_DOCKER_…` (these hold for every registry); the files of `docker login`, `podman login` and
    `apptainer registry login`, with the helpers they name; `aws` for hosts of Amazon's ECR. Helpers are asked through
    `runner` only. The user `<token>` stands for an identity token.

    Raises:
        PlanError: a file of logins cannot be read.
    """
    for prefix in ("HPCJOBS_REGISTRY_USER", "APPTAINER_DOCKER_USERNAME", "SINGULARITY_DOCKER_USERNAME"):
        user, password = environ.get(prefix), environ.get(prefix.rpartition("_")[0] + "_PASSWORD")
        if user and password:
            return user, password
    for file in _login_files(environ, home):
        if found := _stored(file, registry, environ, runner):
            return found
    return _ecr(registry, environ, runner)


def _login_files(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    if named := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers/auth.json"
    yield home / ".apptainer/docker-config.json"
    yield home / ".singularity/docker-config.json"


def _stored(file: Path, registry: str, environ: Mapping[str, str], runner: Runner | None) -> tuple[str, str] | None:
    try:
        content = json.loads(file.read_bytes())
        auths, helpers = dict(content.get("auths") or {}), dict(content.get("credHelpers") or {})
        store = content.get("credsStore")
        for key in _keys(registry):
            helper = helpers.get(key) or store
            if helper and (found := _from_helper(str(helper), key, environ, runner)):
                return found
            if key in auths and (found := _from_entry(auths[key])):
                return found
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PlanError(f"the logins in {file} cannot be read: {error.strerror}", hint=f"see: ls -l {file}") from None
    except (ValueError, TypeError, AttributeError):
        # The cause would show the file's text.
        raise PlanError(
            f"the logins in {file} cannot be understood",
            hint="it is JSON, written by docker login: repair or remove it",
        ) from None
    return None


def _keys(registry: str) -> tuple[str, ...]:
    """The names under which logins of a registry are kept, by the many programs that keep them."""
    hosts = ("index.docker.io", DOCKER_HUB, _HUB_API) if registry == DOCKER_HUB else (registry,)
    first = (_HUB_KEY,) if registry == DOCKER_HUB else ()
    forms = ("{}", "https://{}", "https://{}/", "https://{}/v1/", "https://{}/v2/", "http://{}")
    return (*first, *(form.format(host) for host in hosts for form in forms))


def _from_entry(entry: Mapping[str, str]) -> tuple[str, str] | None:
    if token := entry.get("identitytoken"):
        return _TOKEN_USER, token
    if auth := entry.get("auth"):
        user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
        return user, password.rstrip("\0")
    if (name := entry.get("username")) and (secret := entry.get("password")):
        return name, secret
    return None


def _from_helper(name: str, key: str, environ: Mapping[str, str], runner: Runner | None) -> tuple[str, str] | None:
    if not runner or not re.fullmatch(r"[\w.-]+", name):
        return None
    if not shutil.which(f"docker-credential-{name}", path=environ.get("PATH")):
        return None
    out = _secretly(runner, (f"docker-credential-{name}", "get"), environ, stdin=key)
    if not out:
        return None
    answer = json.loads(out)
    user, secret = answer.get("Username"), answer.get("Secret")
    return (user, secret) if user and secret else None


def _ecr(registry: str, environ: Mapping[str, str], runner: Runner | None) -> tuple[str, str] | None:
    match = _ECR.fullmatch(registry)
    if not match or not runner or not shutil.which("aws", path=environ.get("PATH")):
        return None
    out = _secretly(runner, ("aws", "ecr", "get-login-password", "--region", match[1]), environ)
    return ("AWS", out.strip()) if out.strip() else None


def _secretly(runner: Runner, argv: Sequence[str], environ: Mapping[str, str], *, stdin: str = "") -> str:
    """What a program prints; empty if it fails, for a public image needs no login."""
    log = logging.getLogger("hpcjobs.process")
    before = log.disabled
    # The runner logs what a program answers.
    log.disabled = True
    try:
        done = runner(argv, timeout=_HELPER_TIMEOUT, env=environ, stdin=stdin)
    except UnreachableError:
        return ""
    finally:
        log.disabled = before
    return "" if done.code else done.out


# --- manifests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blob:
    """A file in a registry (OCI image spec, descriptor.md). `size` in bytes."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True)
class Manifest:
    """An image of one platform.

    `digest` is of what the name points to, an index perhaps, and is what a user pins; `platform_digest`, `media_type`
    and `raw` are of the manifest of the one platform.
    """

    digest: str
    platform_digest: str
    media_type: str
    config: Blob
    layers: tuple[Blob, ...]
    annotations: Mapping[str, str]
    raw: bytes = field(repr=False)

    @property
    def is_sif(self) -> bool:
        """Whether the one layer is a SIF file, as `apptainer push oras://…` stores it."""
        return [layer.media_type for layer in self.layers] == [_SIF_LAYER]

    @property
    def size(self) -> int:
        """Bytes to download, each blob once."""
        return sum({blob.digest: blob.size for blob in (self.config, *self.layers)}.values())


def choose(entries: Sequence[Mapping[str, Any]], arch: str, what: str) -> Mapping[str, Any]:
    """The entry of an image index that runs on `arch` (as of `uname -m`) under Linux; `what` names the image.

    An entry that names no platform is taken if it is the only one.

    Raises:
        PlanError: none fits; names the platforms there are.
    """
    if len(entries) == 1 and not entries[0].get("platform"):
        return entries[0]
    machine, variants = PLATFORMS.get(arch, (arch, ("",)))
    for variant in variants:
        for entry in entries:
            if _platform(entry) == "/".join(filter(None, ("linux", machine, variant))):
                return entry
    there = sorted({name for name in map(_platform, entries) if not name.startswith("unknown")})
    raise PlanError(
        f"{what} has no image for linux/{machine}",
        hint=f"it has {', '.join(there) or 'none'}: choose another tag, or nodes of such a CPU",
    )


def _platform(entry: Mapping[str, Any]) -> str:
    platform = entry.get("platform") or {}
    names = (platform.get("os") or "unknown", platform.get("architecture") or "unknown", platform.get("variant"))
    return "/".join(str(name) for name in names if name)


def read_blob(entry: Mapping[str, Any]) -> Blob:
    """A descriptor of a manifest.

    Raises:
        ValueError, TypeError, KeyError: it is none, or not of sha256.
    """
    try:
        digest = check_digest(entry["digest"])
    except UsageError as error:
        raise ValueError(error.message) from None
    if int(entry["size"]) < 0:
        raise ValueError("negative size")
    return Blob(digest, int(entry["size"]), str(entry.get("mediaType", "")))


# --- http -------------------------------------------------------------------------------------------------------------


class _BrokenError(UnreachableError):
    """A connection that broke or was not made: another try may help at once."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps a login to the host it is for, and what began encrypted encrypted."""

    # Python 3.10 does not know it.
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302

    def redirect_request(  # noqa: PLR0917 - urllib's
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        seen_as = 307 if code == http.HTTPStatus.PERMANENT_REDIRECT else code
        new = super().redirect_request(req, fp, seen_as, msg, headers, newurl)  # type: ignore[arg-type]
        if not new:
            return None
        # A request's own `host` is that of the proxy, if there is one.
        before, after = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(new.full_url)
        if before.scheme == "https" != after.scheme:
            raise urllib.error.URLError("it redirects from https to http")
        # An unredirected header is dropped by urllib, on every redirect.
        if before[:2] == after[:2] and (login := req.get_header("Authorization")):
            new.add_unredirected_header("Authorization", login)
        return new


def _new_opener(*, proxies: bool) -> urllib.request.OpenerDirector:
    """Only http and https: urllib's own opener follows redirects to ftp, too."""
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", f"hpcjobs/{__version__}")]
    for handler in (
        urllib.request.ProxyHandler(None if proxies else {}),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _challenges(headers: Message) -> dict[str, dict[str, str]]:
    """`Bearer realm="…",service="…",scope="…"` by its scheme (RFC 9110, 11.6.1)."""
    found = {}
    for header in headers.get_all("WWW-Authenticate") or []:
        for challenge in re.split(r",\s*(?=(?:bearer|basic)\b)", header, flags=re.IGNORECASE):
            scheme, _, parameters = challenge.strip().partition(" ")
            found[scheme.lower()] = {key.lower(): value for key, value in re.findall(r'(\w+)="([^"]*)"', parameters)}
    return found


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()


def _unreachable(host: str, error: Exception, timeout: float) -> _BrokenError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _BrokenError(
            f"the certificate of {host} cannot be verified: {reason.verify_message}",
            hint="set SSL_CERT_FILE to the file of certificates that your site trusts",
        )
    if isinstance(reason, ssl.SSLError):
        return _BrokenError(f"{host} cannot be asked over TLS: {reason}", hint="does it speak plain http only?")
    if isinstance(reason, TimeoutError):
        return _BrokenError(f"{host} did not answer within {timeout:g} s", hint="try again in a minute")
    if isinstance(reason, socket.gaierror):
        reason = "its name is not known here"
    return _BrokenError(
        f"{host} cannot be reached: {str(reason) or type(reason).__name__}",
        hint="has this machine a network? behind a proxy: export HTTPS_PROXY=http://PROXY:PORT",
    )


def _login_hint(host: str) -> str:
    if match := _ECR.fullmatch(host):
        return (
            f"type: aws ecr get-login-password --region {match[1]} | "
            f"apptainer registry login --username AWS --password-stdin docker://{host}"
        )
    return (
        f"type: apptainer registry login --username U docker://{host}   or: docker login {host}   "
        "or set HPCJOBS_REGISTRY_USER and HPCJOBS_REGISTRY_PASSWORD"
    )


def _silent(_: int) -> None:
    """Tell nobody of the progress."""


class Registry:
    """One registry, read only.

    Hosts of this machine (localhost, 127.0.0.1, [::1]) and `insecure` ones are asked over plain http, without proxy
    for the former. `timeout` is of each network operation, in seconds; `opener` and `sleep` are for tests.
    """

    def __init__(
        self,
        host: str,
        *,
        credentials: tuple[str, str] | None,
        insecure: bool = False,
        timeout: float = 30.0,
        opener: urllib.request.OpenerDirector | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        local = re.fullmatch(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", host) is not None
        self.host = host
        self._credentials = credentials
        self._plain = local or insecure
        self._address = _HUB_API if host == DOCKER_HUB else host
        self._timeout = timeout
        self._opener = opener or _new_opener(proxies=not local)
        self._sleep = sleep
        # The Authorization header that worked, by repository.
        self._logins: dict[str, str] = {}

    def resolve(self, reference: Reference, arch: str) -> Manifest:
        """What a reference points to, for a CPU (as of `uname -m`).

        Raises:
            NotFoundError: no such repository or tag.
            PlanError: it needs a login, has no image for that CPU, or is not what its digest says.
            UnreachableError: the registry did not answer, or allows no more downloads for now.
        """
        digest, media_type, body, raw = self._manifest(reference, reference.digest or reference.tag)
        platform_digest = digest
        try:
            if media_type in _INDEXES:
                entry = choose(body["manifests"], arch, reference.name)
                platform_digest, media_type, body, raw = self._manifest(reference, read_blob(entry).digest)
            if media_type not in _MANIFESTS:
                raise PlanError(
                    f"{reference.name} is of a kind that cannot be run: {media_type}",
                    hint="it is no image, or of a format before 2016: push it again with a current docker or skopeo",
                )
            layers = tuple(map(read_blob, body["layers"]))
            notes = {str(key): str(value) for key, value in (body.get("annotations") or {}).items()}
            return Manifest(digest, platform_digest, media_type, read_blob(body["config"]), layers, notes, raw)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PlanError(
                f"the manifest of {reference.name} is damaged: {error!r}", hint="push the image again"
            ) from None

    def download(
        self,
        reference: Reference,
        blob: Blob,
        target: Path,
        progress: Callable[[int], None] = _silent,
    ) -> None:
        """Download a blob of an image into the file `target`, which is whole or absent.

        What is there of it is kept in `target`.part, also after a crash, and continued from (HTTP Range). `progress`
        is given the bytes of the blob that are there, which grow unless the server makes it start again. One
        process at a time may download to a target: that is for the caller to see to.

        Raises:
            NotFoundError, PlanError, UnreachableError: as of `resolve`; PlanError also if what came is not
                what its digest says.
            StoreError: the file cannot be written, for want of space perhaps.
        """
        with _Part(target, blob) as part:
            progress(part.size)
            best, left = part.size, _TRIES
            while part.size < blob.size:
                try:
                    self._continue(reference, blob, part, progress)
                except _BrokenError:  # noqa: PERF203 - to try again is what the loop is for
                    best, left = max(best, part.size), _TRIES if part.size > best else left - 1
                    if not left:
                        raise
                    self._sleep(1 - left / _TRIES)
            part.finish(self.host)

    def _continue(self, reference: Reference, blob: Blob, part: _Part, progress: Callable[[int], None]) -> None:
        headers = {"Range": f"bytes={part.size}-"} if part.size else {}
        with self._get(reference, f"blobs/{blob.digest}", headers, blob.digest) as answer:
            if part.size and not str(answer.headers.get("Content-Range")).startswith(f"bytes {part.size}-"):
                part.restart()
            while answer.status != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.size <= blob.size:
                chunk = self._read(answer, _CHUNK)
                if not chunk:
                    break
                part.write(chunk)
                progress(part.size)
        if part.size < blob.size:
            raise _BrokenError(
                f"{self.host} broke off after {part.size} of {blob.size} bytes", hint="try again: what is there is kept"
            )

    def _manifest(self, reference: Reference, wanted: str) -> tuple[str, str, dict[str, Any], bytes]:
        """Digest, media type, content and bytes of a manifest or index, by tag or digest."""
        headers = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
        with self._get(reference, f"manifests/{wanted}", headers, "") as answer:
            raw = self._read(answer, _LARGEST_MANIFEST)
            content_type, said = answer.headers.get_content_type(), answer.headers.get("Docker-Content-Digest") or ""
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        for other in (wanted, said):
            if other.startswith("sha256:") and other != digest:
                raise PlanError(
                    f"the manifest of {reference.name} is not what its digest says: {digest} instead of {other}",
                    hint="it was damaged on its way, or forged: try again, and tell who keeps the registry",
                )
        try:
            body = json.loads(raw)
            return digest, body.get("mediaType") or content_type, body, raw
        except (ValueError, AttributeError):
            raise PlanError(
                f"{self.host} answered with something that is no manifest of {reference.name}",
                hint="is it a registry? the host is what stands before the first / of the name",
            ) from None

    def _tags(self, reference: Reference) -> list[str]:
        try:
            with self._get(reference, "tags/list?n=200", {}, "tags") as answer:
                return [str(tag) for tag in json.loads(self._read(answer, _LARGEST_MANIFEST))["tags"]]
        except (HpcjobError, ValueError, TypeError, KeyError):
            return []

    def _get(self, reference: Reference, path: str, headers: Mapping[str, str], blob: str) -> Answer:
        """An answer of 200, 206 or 416; logs in if it must. `blob` is what of the image is asked for, in messages."""
        repository = reference.repository
        url = f"{'http' if self._plain else 'https'}://{self._address}/v2/{repository}/{path}"
        answer = self._open(url, headers, self._logins.get(repository, ""))
        # Storage that is redirected to has no say in where a password is sent.
        if answer.status == http.HTTPStatus.UNAUTHORIZED and _host_of(answer) == self._address:
            with answer:
                login = self._log_in(reference, _challenges(answer.headers))
                if not login:
                    raise self._error(reference, answer, blob)
            self._logins[repository] = login
            answer = self._open(url, headers, login)
        if answer.status in {200, 206, 416}:
            return answer
        with answer:
            raise self._error(reference, answer, blob)

    def _open(self, url: str, headers: Mapping[str, str], login: str = "", data: bytes | None = None) -> Answer:
        request = urllib.request.Request(url, data=data, headers=dict(headers))  # noqa: S310 - see _new_opener
        if login:
            request.add_unredirected_header("Authorization", login)
        try:
            answer: Answer = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            return error
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(urllib.parse.urlsplit(url).netloc, error, self._timeout) from None
        return answer

    def _read(self, answer: Answer, most: int) -> bytes:
        try:
            return answer.read(most)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self.host, error, self._timeout) from None

    def _log_in(self, reference: Reference, challenges: Mapping[str, Mapping[str, str]]) -> str:
        """The Authorization header that answers a 401; empty if there is none to try."""
        if "bearer" in challenges:
            return "Bearer " + self._token(reference, challenges["bearer"])
        return _basic(self._credentials) if "basic" in challenges and self._credentials else ""

    def _token(self, reference: Reference, challenge: Mapping[str, str]) -> str:
        realm = urllib.parse.urlsplit(challenge.get("realm", ""))
        if realm.scheme != "https" and not (self._plain and realm.scheme == "http"):
            raise PlanError(
                f"{self.host} wants logins to be sent unencrypted, to {realm.netloc or 'nowhere'}",
                hint="ask who keeps the registry to give it a token service with https",
            )
        query = {"scope": challenge.get("scope") or f"repository:{reference.repository}:pull"}
        query |= {"service": challenge["service"]} if "service" in challenge else {}
        with self._ask_token(realm, query) as answer:
            if answer.status != http.HTTPStatus.OK:
                raise self._error(reference, answer, "", from_realm=True)
            raw = self._read(answer, _CHUNK)
        try:
            body = json.loads(raw)
            return str(body.get("token") or body["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise PlanError(
                f"the token service of {self.host}, {realm.netloc}, gave no token", hint=_login_hint(self.host)
            ) from None

    def _ask_token(self, realm: urllib.parse.SplitResult, query: Mapping[str, str]) -> Answer:
        if self._credentials and self._credentials[0] == _TOKEN_USER:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials[1],
                "client_id": "hpcjobs",
                **query,
            }
            return self._open(realm.geturl(), {}, data=urllib.parse.urlencode(form).encode())
        joined = "&".join(filter(None, (realm.query, urllib.parse.urlencode(query))))
        login = _basic(self._credentials) if self._credentials else ""
        return self._open(realm._replace(query=joined).geturl(), {}, login)

    def _error(self, reference: Reference, answer: Answer, blob: str, *, from_realm: bool = False) -> HpcjobError:
        code = answer.status or 0
        answering = _host_of(answer)
        name = f"{blob} of {reference.path}" if blob else reference.name
        if code == http.HTTPStatus.TOO_MANY_REQUESTS:
            return self._limited(answer)
        if code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            return _BrokenError(f"{answering} answered {code}", hint="the registry is in trouble: try again later")
        if answering != self._address and not from_realm:
            # Storage that a registry redirects to says so of an address that is too old.
            return _BrokenError(f"{answering}, to which {self.host} redirects, answered {code}", hint="try again")
        if code in {http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN}:
            return self._denied(name)
        if code == http.HTTPStatus.NOT_FOUND and not from_realm:
            return self._absent(reference, blob, name)
        return PlanError(
            f"{answering} answered {code} to the request for {name}: {_said(answer)}", hint="is the name right?"
        )

    def _denied(self, name: str) -> PlanError:
        if self._credentials:
            message = f"{name} may not be read with the login of {self._credentials[0]}, or does not exist"
            return PlanError(message, hint=f"is the name right, and the login not too old? {_login_hint(self.host)}")
        return PlanError(f"{name} needs a login, or does not exist", hint=_login_hint(self.host))

    def _absent(self, reference: Reference, blob: str, name: str) -> NotFoundError:
        tags = [] if blob else self._tags(reference)
        if tags:
            hint = f"of the tags: {nearest(reference.tag, tags)}"
        elif reference.digest or blob:
            hint = "it was deleted, perhaps: try its tag again"
        else:
            hint = f"look for the name in the pages of {self.host}; private images may hide without a login"
        return NotFoundError(f"there is no image {name}", hint=hint)

    def _limited(self, answer: Answer) -> UnreachableError:
        wait = answer.headers.get("Retry-After")
        return UnreachableError(
            f"{self.host} allows no more downloads for now (429)"
            + (f": try again in {wait} s" if wait and wait.isdigit() else ""),
            hint="Docker Hub counts downloads by address, which a whole cluster may share: 100 in 6 hours without "
            f"login, 200 with a free one. {_login_hint(self.host)}",
        )


def _host_of(answer: Answer) -> str:
    return urllib.parse.urlsplit(answer.url or "").netloc


def _said(answer: Answer) -> str:
    """What the registry says about an error (distribution-spec, "Error Codes"), in one line."""
    try:
        errors = json.loads(answer.read(_CHUNK))["errors"]
        text = "; ".join(str(error.get("message") or error["code"]) for error in errors)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return "it does not say why"
    return re.sub(r"[^\x20-\x7e]", "?", text)[:300]


# --- files ------------------------------------------------------------------------------------------------------------


class _Part:
    """The beginning of a blob in a file, and its running checksum."""

    def __init__(self, target: Path, blob: Blob) -> None:
        self._target, self._blob = target, blob
        self._path = target.with_name(f"{target.name}.part")
        self.size = 0
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        with storing(self._target.parent):
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
            self._file.seek(0)
            while chunk := self._file.read(_CHUNK):
                self._hash.update(chunk)
                self.size += len(chunk)
        if self.size > self._blob.size:
            self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        with storing(self._target.parent):
            self._file.close()

    def restart(self) -> None:
        with storing(self._target.parent):
            self._file.truncate(0)
        self.size, self._hash = 0, hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        with storing(self._target.parent):
            self._file.write(chunk)
            self._file.flush()
        self._hash.update(chunk)
        self.size += len(chunk)

    def finish(self, host: str) -> None:
        got = f"sha256:{self._hash.hexdigest()}"
        if self.size != self._blob.size or got != self._blob.digest:
            self._path.unlink(missing_ok=True)
            raise PlanError(
                f"{self._blob.digest} of {host} came as something else: {self.size} bytes with {got}",
                hint="it was removed: try again; if that does not help, the registry or a proxy damages files",
            )
        with storing(self._target.parent):
            os.fsync(self._file.fileno())
            self._path.replace(self._target)


def fetch_layout(
    registry: Registry,
    reference: Reference,
    manifest: Manifest,
    folder: Path,
    progress: Callable[[int], None] = _silent,
) -> str:
    """Download an image into an OCI image layout (image-layout.md), and return `oci:FOLDER`, to build it from.

    That names no tag: the layout has one image, and Apptainer 1.4 takes `:TAG` for a part of the folder's name.

    Blobs that are there are kept, so that it can be called again after a crash. `progress` is given the bytes that
    are there of `manifest.size`.

    Raises:
        HpcjobError: as of `Registry.download`.
    """
    blobs = folder / "blobs/sha256"
    done = 0
    for blob in {blob.digest: blob for blob in (manifest.config, *manifest.layers)}.values():
        target = blobs / blob.digest.partition(":")[2]
        before = done
        with storing(blobs):
            whole = target.is_file() and target.stat().st_size == blob.size
        if not whole:
            registry.download(reference, blob, target, lambda size, before=before: progress(before + size))  # type: ignore[misc]
        done += blob.size
        progress(done)
    described = {
        "mediaType": manifest.media_type,
        "digest": manifest.platform_digest,
        "size": len(manifest.raw),
        "annotations": {_REF_NAME: reference.tag or "latest"},
    }
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [described]}
    _write(blobs / manifest.platform_digest.partition(":")[2], manifest.raw)
    _write(folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    _write(folder / "index.json", json.dumps(index).encode())
    return f"oci:{folder}"


def _write(path: Path, content: bytes) -> None:
    """Whole or absent, also after a crash."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with storing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
