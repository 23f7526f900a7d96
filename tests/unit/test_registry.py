"""Pulling from a registry, which is a real HTTP server here that can be told to misbehave."""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import io
import json
import logging
import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import HpcjobError, NotFoundError, PlanError, StoreError, UnreachableError
from hpcjobs.images import registry as module
from hpcjobs.images.reference import Reference, parse
from hpcjobs.images.registry import (
    OCI_INDEX,
    OCI_MANIFEST,
    Blob,
    Registry,
    choose,
    credentials,
    fetch_layout,
)
from hpcjobs.images.storing import storing
from hpcjobs.process import Completed

SECRET = "s3cr3t-password"
LAYER = bytes(range(256)) * 1200


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class FakeRegistry(ThreadingHTTPServer):
    """Serves `manifests` and `blobs`; `auth` is bearer, basic or nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server_port}"
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.auth = ""
        self.needs_password = False
        self.realm = f"http://{self.host}/token?x=1"
        self.token = "the-token"
        self.tokens: dict[str, Any] = {"token": self.token}
        self.ranges = True
        self.cuts: list[int] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.redirect = ""
        self.redirect_code = 307
        self.seen: list[tuple[str, dict[str, str]]] = []

    def add_blob(self, content: bytes) -> dict[str, Any]:
        self.blobs[digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content), "mediaType": "application/octet-stream"}

    def add(self, tag: str, body: Mapping[str, Any], media_type: str) -> bytes:
        raw = json.dumps(body).encode()
        self.manifests[tag] = self.manifests[digest_of(raw)] = (media_type, raw)
        return raw

    def add_image(self, tag: str, **more: Any) -> bytes:
        config = self.add_blob(b'{"architecture":"amd64"}')
        body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [self.add_blob(LAYER)]}
        return self.add(tag, {**body, **more}, OCI_MANIFEST)

    def header(self, name: str) -> list[str]:
        return [headers.get(name, "") for _, headers in self.seen]


class Handler(BaseHTTPRequestHandler):
    server: FakeRegistry

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        good = "grant_type=refresh_token" in form and f"refresh_token={SECRET}" in form
        self.answer(200 if good else 401, {}, json.dumps({"access_token": self.server.token}).encode())

    def do_GET(self) -> None:
        server = self.server
        server.seen.append((self.path, dict(self.headers)))
        kind, _, name = self.path.rpartition("/")
        login = self.headers.get("Authorization", "")
        basic = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
        if (fixed := server.answers.get(self.path.partition("?")[0])) is not None:
            self.answer(*fixed)
        elif self.path.startswith("/token"):
            wrong = (login or server.needs_password) and login != basic
            self.answer(401 if wrong else 200, {}, json.dumps(server.tokens).encode())
        elif server.auth == "bearer" and login != f"Bearer {server.token}":
            scope = f"repository:{kind[4:].rpartition('/')[0]}:pull"
            self.answer(401, {"WWW-Authenticate": f'Bearer realm="{server.realm}",service="svc",scope="{scope}"'})
        elif server.auth == "basic" and login != basic:
            self.answer(401, {"WWW-Authenticate": 'Basic realm="here"'})
        elif kind.endswith("/manifests") and name in server.manifests:
            media_type, raw = server.manifests[name]
            self.answer(200, {"Content-Type": media_type, "Docker-Content-Digest": digest_of(raw)}, raw)
        elif kind.endswith("/blobs") and server.redirect:
            self.answer(server.redirect_code, {"Location": server.redirect + self.path})
        elif kind.endswith("/blobs") and name in server.blobs:
            self.blob(server.blobs[name])
        else:
            self.answer(404, {}, b'{"errors":[{"code":"NAME_UNKNOWN"}]}')

    def blob(self, content: bytes) -> None:
        start = 0
        if self.server.ranges and (asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start = int(asked[1])
        code, headers = 200, {"Content-Length": str(len(content) - start)}
        if start:
            code, headers["Content-Range"] = 206, f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.server.cuts.pop(0) if self.server.cuts else len(content)
        self.answer(code, headers, content[start : start + cut])
        self.close_connection = True


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with serving() as one:
        yield one


class serving:  # noqa: N801 - a context manager
    def __enter__(self) -> FakeRegistry:
        self.server = FakeRegistry()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def client(server: FakeRegistry, login: tuple[str, str] | None = None, **more: Any) -> Registry:
    return Registry(server.host, credentials=login, timeout=5, **{"sleep": lambda _: None, **more})


def reference(server: FakeRegistry, rest: str = "org/app:1") -> Reference:
    return parse(f"docker://{server.host}/{rest}")


def layer() -> Blob:
    return Blob(digest_of(LAYER), len(LAYER), "application/octet-stream")


# --- manifests


def test_resolves_a_manifest(server: FakeRegistry) -> None:
    raw = server.add_image("1", annotations={"a": "b"})
    manifest = client(server).resolve(reference(server), "x86_64")
    assert (manifest.digest, manifest.platform_digest, manifest.raw) == (digest_of(raw), digest_of(raw), raw)
    assert manifest.layers == (layer(),)
    assert manifest.annotations == {"a": "b"}
    assert manifest.size == len(LAYER) + manifest.config.size
    assert not manifest.is_sif
    assert OCI_INDEX in server.header("Accept")[0]
    assert client(server).resolve(reference(server).pinned(digest_of(raw)), "x86_64") == manifest


def test_resolves_a_sif(server: FakeRegistry) -> None:
    sif = {**server.add_blob(b"sif"), "mediaType": "application/vnd.sylabs.sif.layer.v1.sif"}
    server.add_image("1", layers=[sif])
    assert client(server).resolve(reference(server), "x86_64").is_sif


def entry(platform: str, digest: str = "") -> dict[str, Any]:
    names = ("os", "architecture", "variant")
    return {"digest": digest or digest_of(platform.encode()), "size": 1, "platform": dict(zip(names, platform.split("/"), strict=False))}  # fmt: skip


def test_resolves_an_index(server: FakeRegistry) -> None:
    raw = server.add_image("ignored")
    index = {"manifests": [entry("unknown/unknown"), entry("linux/arm64/v8"), entry("linux/amd64", digest_of(raw))]}
    whole = server.add("1", index, OCI_INDEX)
    manifest = client(server).resolve(reference(server), "x86_64")
    assert (manifest.digest, manifest.platform_digest) == (digest_of(whole), digest_of(raw))
    with pytest.raises(PlanError, match="no image for linux/s390x") as caught:
        client(server).resolve(reference(server), "s390x")
    assert "it has linux/amd64, linux/arm64/v8:" in caught.value.hint


@pytest.mark.parametrize(
    ("arch", "platforms", "chosen"),
    [
        ("x86_64", ["linux/amd64/v3", "windows/amd64", "linux/amd64"], "linux/amd64"),
        ("aarch64", ["linux/arm64", "linux/arm64/v8"], "linux/arm64/v8"),
        ("aarch64", ["linux/arm64"], "linux/arm64"),
        ("armv7l", ["linux/arm/v5", "linux/arm/v7"], "linux/arm/v7"),
        ("armv7l", ["linux/arm/v5", "linux/arm/v6"], "linux/arm/v6"),
        ("ppc64le", ["linux/ppc64le"], "linux/ppc64le"),
        ("riscv64", ["linux/amd64", "linux/riscv64"], "linux/riscv64"),
    ],
)
def test_chooses_a_platform(arch: str, platforms: list[str], chosen: str) -> None:
    assert choose([entry(platform) for platform in platforms], arch, "it") == entry(chosen)


def test_the_only_entry_needs_no_platform() -> None:
    assert choose([{"digest": "d"}], "x86_64", "it") == {"digest": "d"}
    with pytest.raises(PlanError) as caught:
        choose([], "x86_64", "it")
    assert "it has none" in caught.value.hint


def test_a_forged_manifest_is_refused(server: FakeRegistry) -> None:
    asked = "sha256:" + "0" * 64
    server.manifests[asked] = (OCI_MANIFEST, b"{}")
    with pytest.raises(PlanError, match=f"is not what its digest says: sha256:44136.* instead of {asked}"):
        client(server).resolve(reference(server).pinned(asked), "x86_64")
    headers = {"Docker-Content-Digest": asked}
    server.answers["/v2/org/app/manifests/1"] = (200, headers, b"{}")
    with pytest.raises(PlanError, match="is not what its digest says"):
        client(server).resolve(reference(server), "x86_64")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "no manifest of"),
        (b"[]", "no manifest of"),
        (b"{}", "of a kind that cannot be run: text/plain"),
        (json.dumps({"mediaType": OCI_MANIFEST}).encode(), "is damaged: KeyError"),
        (json.dumps({"mediaType": OCI_INDEX, "manifests": 1}).encode(), "is damaged: TypeError"),
        (
            json.dumps({"mediaType": OCI_MANIFEST, "layers": [{"digest": "sha256:../x", "size": 1}]}).encode(),
            "is damaged",
        ),
        (
            json.dumps({"mediaType": OCI_MANIFEST, "layers": [{"digest": "sha256:" + "0" * 64, "size": -1}]}).encode(),
            "negative size",
        ),
    ],
)
def test_a_damaged_manifest_is_named(server: FakeRegistry, body: bytes, message: str) -> None:
    server.answers["/v2/org/app/manifests/1"] = (200, {}, body)
    with pytest.raises(PlanError, match=message):
        client(server).resolve(reference(server), "x86_64")


# --- logins


def test_gets_a_token_without_login_once(server: FakeRegistry, tmp_path: Path) -> None:
    server.auth = "bearer"
    server.add_image("1")
    registry = client(server)
    registry.resolve(reference(server), "x86_64")
    registry.download(reference(server), layer(), tmp_path / "layer")
    paths = [path for path, _ in server.seen]
    assert [path.partition("?")[0] for path in paths] == [
        "/v2/org/app/manifests/1",
        "/token",
        "/v2/org/app/manifests/1",
        f"/v2/org/app/blobs/{digest_of(LAYER)}",
    ]
    assert paths[1] == "/token?x=1&scope=repository%3Aorg%2Fapp%3Apull&service=svc"


def test_logs_in_for_a_token(server: FakeRegistry) -> None:
    server.auth, server.needs_password, server.tokens = "bearer", True, {"access_token": server.token}
    server.add_image("1")
    client(server, ("me", SECRET)).resolve(reference(server), "x86_64")
    assert server.header("Authorization")[-1] == "Bearer the-token"


def test_logs_in_with_an_identity_token(server: FakeRegistry) -> None:
    server.auth = "bearer"
    server.add_image("1")
    client(server, ("<token>", SECRET)).resolve(reference(server), "x86_64")
    assert server.header("Authorization")[-1] == "Bearer the-token"


def test_logs_in_with_a_password(server: FakeRegistry) -> None:
    server.auth = "basic"
    server.add_image("1")
    client(server, ("me", SECRET)).resolve(reference(server), "x86_64")
    assert server.header("Authorization")[0] == ""


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize("login", [None, ("me", "wrong-" + SECRET)])
def test_says_that_it_needs_a_login(server: FakeRegistry, auth: str, login: tuple[str, str] | None) -> None:
    server.auth, server.needs_password = auth, True
    with pytest.raises(PlanError, match="with the login of me" if login else "needs a login") as caught:
        client(server, login).resolve(reference(server), "x86_64")
    assert f"apptainer registry login --username U docker://{server.host}" in caught.value.hint
    assert SECRET not in caught.value.message + caught.value.hint + repr(client(server, login).__class__)
    assert caught.value.__cause__ is None


def test_ecr_is_told_its_own_command() -> None:
    hint = module._login_hint("1234.dkr.ecr.eu-west-1.amazonaws.com")
    assert hint.startswith("type: aws ecr get-login-password --region eu-west-1 | apptainer")


@pytest.mark.parametrize("realm", ["ftp://x/token", "", "file:///etc/passwd"])
def test_a_login_is_not_sent_in_the_clear(server: FakeRegistry, realm: str) -> None:
    server.auth, server.realm = "bearer", realm
    with pytest.raises(PlanError, match="wants logins to be sent unencrypted"):
        client(server, ("me", SECRET)).resolve(reference(server), "x86_64")


@pytest.mark.parametrize("tokens", [{}, [], {"token": ""}])
def test_a_token_service_without_token(server: FakeRegistry, tokens: Any) -> None:
    server.auth, server.tokens = "bearer", tokens
    with pytest.raises(PlanError, match="gave no token"):
        client(server).resolve(reference(server), "x86_64")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_elsewhere_carries_no_login(server: FakeRegistry, tmp_path: Path, code: int) -> None:
    server.auth, server.redirect_code = "bearer", code
    server.add_image("1")
    with serving() as storage:
        storage.add_blob(LAYER)
        storage.cuts = [1000]
        server.redirect = f"http://{storage.host}"
        client(server).download(reference(server), layer(), tmp_path / "layer")
        assert storage.header("Authorization") == ["", ""]
        assert storage.header("Range") == ["", "bytes=1000-"]
    assert "Bearer the-token" in server.header("Authorization")
    assert (tmp_path / "layer").read_bytes() == LAYER


def test_a_redirect_at_home_keeps_the_login(server: FakeRegistry, tmp_path: Path) -> None:
    server.auth = "basic"
    server.add_blob(LAYER)
    path = f"/v2/org/app/blobs/{digest_of(LAYER)}"
    server.answers[path] = (307, {"Location": f"/v2/library/app/blobs/{digest_of(LAYER)}"}, b"")
    registry = client(server, ("me", SECRET))
    registry._logins["org/app"] = module._basic(("me", SECRET))
    registry.download(reference(server), layer(), tmp_path / "layer")
    assert server.header("Authorization")[0] == server.header("Authorization")[1] != ""


def test_storage_cannot_ask_for_the_password(server: FakeRegistry, tmp_path: Path) -> None:
    with serving() as storage:
        storage.auth, storage.needs_password = "bearer", True
        server.redirect = f"http://{storage.host}"
        with pytest.raises(UnreachableError, match=f"{storage.host}, to which .* redirects, answered 401"):
            client(server, ("me", SECRET)).download(reference(server), layer(), tmp_path / "layer")
        assert set(storage.header("Authorization")) == {""}


def test_storage_that_refuses_is_no_missing_login(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    with serving() as storage:
        storage.answers[f"/v2/org/app/blobs/{digest_of(LAYER)}"] = (403, {}, b"")
        server.redirect = f"http://{storage.host}"
        with pytest.raises(UnreachableError, match=f"{storage.host}, to which .* redirects, answered 403"):
            client(server).download(reference(server), layer(), tmp_path / "layer")


def test_no_redirect_from_https_to_http() -> None:
    request = urllib.request.Request("https://a/x")
    with pytest.raises(urllib.error.URLError, match="from https to http"):
        module._Redirects().redirect_request(request, io.BytesIO(), 302, "", {}, "http://a/x")  # type: ignore[arg-type]


# --- downloads


def test_downloads(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    told: list[int] = []
    client(server).download(reference(server), layer(), tmp_path / "new/layer", told.append)
    assert (tmp_path / "new/layer").read_bytes() == LAYER
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["layer"]
    assert told[0] == 0
    assert told[-1] == len(LAYER)


def test_continues_when_cut_off(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    server.cuts = [1000, 0, 0, 0, 2000, 0, 0, 0]
    slept: list[float] = []
    told: list[int] = []
    client(server, sleep=slept.append).download(reference(server), layer(), tmp_path / "layer", told.append)
    assert (tmp_path / "layer").read_bytes() == LAYER
    assert server.header("Range")[:6] == ["", *["bytes=1000-"] * 4, "bytes=3000-"]
    assert told == sorted(told)
    assert max(slept) <= 1


def test_gives_up_but_keeps_what_came(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    server.cuts = [1000] + [0] * 20
    with pytest.raises(UnreachableError, match=f"broke off after 1000 of {len(LAYER)} bytes"):
        client(server).download(reference(server), layer(), tmp_path / "layer")
    assert [path.name for path in tmp_path.iterdir()] == ["layer.part"]
    server.cuts.clear()
    client(server).download(reference(server), layer(), tmp_path / "layer")
    assert server.header("Range")[-1] == "bytes=1000-"
    assert (tmp_path / "layer").read_bytes() == LAYER


def test_continues_after_a_reset(server: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_image("1")
    read, failures = http.client.HTTPResponse.read, [ConnectionResetError(), http.client.IncompleteRead(b"")]

    def reset(self: http.client.HTTPResponse, amount: int | None = None) -> bytes:
        if failures:
            raise failures.pop()
        return read(self, amount)

    monkeypatch.setattr(http.client.HTTPResponse, "read", reset)
    client(server).download(reference(server), layer(), tmp_path / "layer")
    assert (tmp_path / "layer").read_bytes() == LAYER


def test_a_server_without_ranges_starts_again(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    server.ranges = False
    server.cuts = [1000, 500]
    client(server).download(reference(server), layer(), tmp_path / "layer")
    assert (tmp_path / "layer").read_bytes() == LAYER


def test_a_server_without_ranges_is_not_asked_forever(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    server.ranges = False
    server.cuts = [1000, 500] * 20
    with pytest.raises(UnreachableError, match="broke off"):
        client(server).download(reference(server), layer(), tmp_path / "layer")


def test_starts_again_if_the_range_is_refused(server: FakeRegistry, tmp_path: Path) -> None:
    path = f"/v2/org/app/blobs/{digest_of(LAYER)}"
    server.add_image("1")
    server.answers[path] = (416, {}, b"")
    (tmp_path / "layer.part").write_bytes(LAYER[:10])
    client(server, sleep=lambda _: server.answers.clear()).download(reference(server), layer(), tmp_path / "layer")
    assert server.header("Range") == ["bytes=10-", ""]


@pytest.mark.parametrize("kept", [LAYER, LAYER + b"x"])
def test_a_part_of_an_earlier_run(server: FakeRegistry, tmp_path: Path, kept: bytes) -> None:
    server.add_image("1")
    (tmp_path / "layer.part").write_bytes(kept)
    client(server).download(reference(server), layer(), tmp_path / "layer")
    assert (tmp_path / "layer").read_bytes() == LAYER
    assert len(server.seen) == (kept != LAYER)


@pytest.mark.parametrize("instead", [LAYER[:-1] + b"?", LAYER + b"x" * 2_000_000])
def test_what_is_not_as_its_digest_says_is_removed(server: FakeRegistry, tmp_path: Path, instead: bytes) -> None:
    server.blobs[digest_of(LAYER)] = instead
    with pytest.raises(PlanError, match="came as something else"):
        client(server).download(reference(server), layer(), tmp_path / "layer")
    assert not list(tmp_path.iterdir())


def test_an_empty_blob_needs_no_request(server: FakeRegistry, tmp_path: Path) -> None:
    client(server).download(reference(server), Blob(digest_of(b""), 0, ""), tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""
    assert not server.seen


def test_a_full_disk(server: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_image("1")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=rf"no space left in {tmp_path} \([\d.]+ GB free\)"):
        client(server).download(reference(server), layer(), tmp_path / "layer")
    assert not (tmp_path / "layer").exists()


def test_a_folder_that_cannot_be_written(server: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file cannot be written: "):
        client(server).download(reference(server), layer(), tmp_path / "file/layer")


def test_free_space_may_be_unknown(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="free space unknown"), storing(tmp_path / "gone"):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")


# --- errors


def test_a_missing_tag_names_others(server: FakeRegistry) -> None:
    server.answers["/v2/org/app/tags/list"] = (200, {}, b'{"tags":["1.1","2"]}')
    with pytest.raises(NotFoundError, match=f"there is no image {server.host}/org/app:1.0") as caught:
        client(server).resolve(reference(server, "org/app:1.0"), "x86_64")
    assert caught.value.hint == "of the tags: did you mean 1.1?"


def test_a_missing_repository(server: FakeRegistry) -> None:
    with pytest.raises(NotFoundError) as caught:
        client(server).resolve(reference(server), "x86_64")
    assert caught.value.hint.startswith("look for the name in the pages of ")


def test_a_missing_blob(server: FakeRegistry, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"{digest_of(LAYER)} of {server.host}/org/app") as caught:
        client(server).download(reference(server), layer(), tmp_path / "layer")
    assert "deleted" in caught.value.hint


def test_too_many_downloads(server: FakeRegistry, tmp_path: Path) -> None:
    server.answers["/v2/org/app/manifests/1"] = (429, {"Retry-After": "60"}, b"")
    with pytest.raises(UnreachableError, match=r"no more downloads for now \(429\): try again in 60 s") as caught:
        client(server).resolve(reference(server), "x86_64")
    assert "100 in 6 hours" in caught.value.hint
    server.answers["/v2/org/app/blobs/" + digest_of(LAYER)] = (429, {}, b"")
    seen = len(server.seen)
    with pytest.raises(UnreachableError, match=r"\(429\)$"):
        client(server).download(reference(server), layer(), tmp_path / "layer")
    assert len(server.seen) == seen + 1


def test_a_registry_in_trouble_is_asked_again(server: FakeRegistry, tmp_path: Path) -> None:
    server.add_image("1")
    server.answers[f"/v2/org/app/blobs/{digest_of(LAYER)}"] = (503, {}, b"")
    with pytest.raises(UnreachableError, match="answered 503"):
        client(server).download(reference(server), layer(), tmp_path / "layer")
    assert len(server.seen) == 4
    client(server, sleep=lambda _: server.answers.clear()).download(reference(server), layer(), tmp_path / "layer")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"errors":[{"message":"bad \\u001b[31m name"}]}', r"bad \?\[31m name"),
        (b'{"errors":[{"code":"UNSUPPORTED"}]}', "UNSUPPORTED"),
        (b"<html>", "it does not say why"),
    ],
)
def test_other_answers_are_quoted(server: FakeRegistry, body: bytes, said: str) -> None:
    server.answers["/v2/org/app/manifests/1"] = (400, {}, body)
    with pytest.raises(PlanError, match=f"answered 400 to the request for .*: {said}$"):
        client(server).resolve(reference(server), "x86_64")


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=f"{host} cannot be reached: .*refused"):
            Registry(host, credentials=None).resolve(parse(f"docker://{host}/a:1"), "x86_64")


def test_nobody_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"did not answer within 0.05 s"):
            Registry(host, credentials=None, timeout=0.05).resolve(parse(f"docker://{host}/a:1"), "x86_64")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ssl.SSLCertVerificationError("x"), "certificate of h"),
        (ssl.SSLError("x"), "h cannot be asked over TLS"),
        (socket.gaierror(-2, "x"), "its name is not known here"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_other_ways_not_to_connect(error: OSError, message: str) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed"
    assert message in module._unreachable("h", urllib.error.URLError(error), 1).message


def test_addresses() -> None:
    assert Registry("docker.io", credentials=None)._address == "registry-1.docker.io"
    for host, plain in [("localhost", True), ("[::1]:5000", True), ("127.0.0.1:80", True), ("localhost.org", False)]:
        assert Registry(host, credentials=None)._plain is plain
    assert Registry("h:5000", credentials=None, insecure=True)._plain


# --- layouts


def test_fetches_a_layout(server: FakeRegistry, tmp_path: Path) -> None:
    raw = server.add_image("1")
    registry = client(server)
    manifest = registry.resolve(reference(server), "x86_64")
    told: list[int] = []
    assert fetch_layout(registry, reference(server), manifest, tmp_path / "l", told.append) == f"oci:{tmp_path}/l"
    assert told == sorted(told)
    assert told[-1] == manifest.size
    blobs = tmp_path / "l/blobs/sha256"
    for blob in blobs.iterdir():
        assert digest_of(blob.read_bytes()) == f"sha256:{blob.name}"
    index = json.loads((tmp_path / "l/index.json").read_text())
    assert index["manifests"][0]["digest"] == digest_of(raw)
    assert index["manifests"][0]["annotations"] == {"org.opencontainers.image.ref.name": "1"}
    server.seen.clear()
    (blobs / manifest.config.digest[7:]).unlink()
    fetch_layout(registry, reference(server), manifest, tmp_path / "l")
    assert [path.rpartition("/")[2] for path, _ in server.seen] == [manifest.config.digest]


# --- stored logins


def auths(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def login(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{SECRET}:x".encode()).decode()}


class Helper:
    """A `Runner` that answers as credential helpers do, and logs what it answers as the real one does."""

    def __init__(self, out: str = "", code: int = 0, *, fails: bool = False) -> None:
        self.out, self.code, self.fails, self.calls = out, code, fails, list[tuple[tuple[str, ...], str]]()

    def __call__(
        self,
        argv: Sequence[str],
        *,
        timeout: float,  # noqa: ARG002
        env: Mapping[str, str] | None = None,  # noqa: ARG002
        stdin: str = "",
        keep_fds: Sequence[int] = (),  # noqa: ARG002
    ) -> Completed:
        self.calls.append((tuple(argv), stdin))
        if self.fails:
            raise UnreachableError("no")
        logging.getLogger("hpcjobs.process").warning("out %s", self.out)
        return Completed(tuple(argv), self.code, self.out, "")


@pytest.mark.parametrize(
    "prefix", ["HPCJOBS_REGISTRY_USER", "APPTAINER_DOCKER_USERNAME", "SINGULARITY_DOCKER_USERNAME"]
)
def test_a_login_of_the_environment(tmp_path: Path, prefix: str) -> None:
    environ = {prefix: "me", prefix.rpartition("_")[0] + "_PASSWORD": SECRET}
    auths(tmp_path / ".docker/config.json", {"auths": {"h.org": login("other")}})
    assert credentials("h.org", environ, tmp_path) == ("me", SECRET)
    assert credentials("x.org", {prefix: "me"}, tmp_path) is None


@pytest.mark.parametrize(
    "file",
    [
        "named",
        ".docker/config.json",
        "run/containers/auth.json",
        ".apptainer/docker-config.json",
        ".singularity/docker-config.json",
    ],
)
def test_a_login_of_a_file(tmp_path: Path, file: str) -> None:
    environ = {"REGISTRY_AUTH_FILE": str(tmp_path / "named"), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    auths(tmp_path / file, {"auths": {"https://h.org": login("me")}})
    assert credentials("h.org", environ, tmp_path) == ("me", f"{SECRET}:x")
    assert credentials("g.org", environ, tmp_path) is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_the_names_of_docker_hub(tmp_path: Path, key: str) -> None:
    auths(tmp_path / "config.json", {"auths": {"x": {}, key: login("me")}})
    assert credentials("docker.io", {"DOCKER_CONFIG": str(tmp_path)}, Path("/nonexistent")) == ("me", f"{SECRET}:x")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"identitytoken": SECRET, "auth": "eDp5"}, ("<token>", SECRET)),
        ({"username": "me", "password": SECRET}, ("me", SECRET)),
        ({}, None),
    ],
)
def test_forms_of_a_stored_login(tmp_path: Path, entry: object, expected: object) -> None:
    auths(tmp_path / ".docker/config.json", {"auths": {"h.org": entry}})
    assert credentials("h.org", {}, tmp_path) == expected


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": 3}', '{"auths": {"h.org": {"auth": "!"}}}', '{"auths": {"h.org": 1}}']
)
def test_a_damaged_file_of_logins(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    with pytest.raises(PlanError, match=r"\.docker/config\.json cannot be understood"):
        credentials("h.org", {}, tmp_path)


def test_an_unreadable_file_of_logins(tmp_path: Path) -> None:
    (tmp_path / ".docker/config.json").mkdir(parents=True)
    with pytest.raises(PlanError, match="cannot be read: Is a directory"):
        credentials("h.org", {}, tmp_path)


def programs(folder: Path, *names: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    "content", [{"credHelpers": {"h.org": "pass"}}, {"credsStore": "pass", "auths": {"h.org": {}}}]
)
def test_a_helper_is_asked(tmp_path: Path, content: object, caplog: pytest.LogCaptureFixture) -> None:
    environ = programs(tmp_path / "bin", "docker-credential-pass")
    auths(tmp_path / ".docker/config.json", content)
    helper = Helper(json.dumps({"Username": "me", "Secret": SECRET}))
    assert credentials("h.org", environ, tmp_path, runner=helper) == ("me", SECRET)
    assert helper.calls == [(("docker-credential-pass", "get"), "h.org")]
    assert SECRET not in caplog.text
    logging.getLogger("hpcjobs.process").warning("heard again")
    assert "heard again" in caplog.text


@pytest.mark.parametrize(
    "helper", [None, Helper("credentials not found", 1), Helper(fails=True), Helper('{"Username":"","Secret":""}')]
)
def test_a_helper_that_has_nothing(tmp_path: Path, helper: Helper | None) -> None:
    environ = programs(tmp_path / "bin", "docker-credential-pass")
    auths(tmp_path / ".docker/config.json", {"credsStore": "pass", "auths": {"h.org": login("me")}})
    assert credentials("h.org", environ, tmp_path, runner=helper) == ("me", f"{SECRET}:x")
    assert credentials("h.org", {"PATH": ""}, tmp_path, runner=helper) == ("me", f"{SECRET}:x")


def test_a_helper_is_a_plain_name(tmp_path: Path) -> None:
    auths(tmp_path / ".docker/config.json", {"credsStore": "../../x"})
    assert credentials("h.org", {}, tmp_path, runner=Helper("{}")) is None


def test_ecr_is_logged_in_by_aws(tmp_path: Path) -> None:
    host = "1234.dkr.ecr.eu-west-1.amazonaws.com"
    environ = programs(tmp_path / "bin", "aws")
    helper = Helper(f"{SECRET}\n")
    assert credentials(host, environ, tmp_path, runner=helper) == ("AWS", SECRET)
    assert helper.calls == [(("aws", "ecr", "get-login-password", "--region", "eu-west-1"), "")]
    assert credentials(host, environ, tmp_path, runner=Helper("", 255)) is None
    assert credentials(host, environ, tmp_path) is None
    assert credentials(host, {"PATH": ""}, tmp_path, runner=helper) is None
    assert credentials("x" + host, environ, tmp_path, runner=helper) is None


def test_errors_are_of_hpcjobs() -> None:
    assert issubclass(module._BrokenError, HpcjobError)
    assert module._BrokenError("x").transient
