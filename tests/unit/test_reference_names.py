"""Names of images in registries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs.errors import UsageError
from hpcjobs.images.reference import Reference, parse

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "parts", "name"),
    [
        ("docker://ubuntu", ("docker.io", "library/ubuntu", "latest", ""), "docker.io/library/ubuntu:latest"),
        ("docker://ubuntu:24.04", ("docker.io", "library/ubuntu", "24.04", ""), "docker.io/library/ubuntu:24.04"),
        ("docker://me/app", ("docker.io", "me/app", "latest", ""), "docker.io/me/app:latest"),
        ("docker://docker.io/ubuntu", ("docker.io", "library/ubuntu", "latest", ""), "docker.io/library/ubuntu:latest"),
        ("docker://index.docker.io/a/b:1", ("docker.io", "a/b", "1", ""), "docker.io/a/b:1"),
        ("docker://ghcr.io/o/p/q:v1", ("ghcr.io", "o/p/q", "v1", ""), "ghcr.io/o/p/q:v1"),
        ("docker://localhost/a", ("localhost", "a", "latest", ""), "localhost/a:latest"),
        ("docker://localhost:5000/a:2", ("localhost:5000", "a", "2", ""), "localhost:5000/a:2"),
        ("docker://HOST/a", ("HOST", "a", "latest", ""), "HOST/a:latest"),
        ("docker://[::1]:5000/a__b/c---d:x", ("[::1]:5000", "a__b/c---d", "x", ""), "[::1]:5000/a__b/c---d:x"),
        ("docker://a@" + DIGEST, ("docker.io", "library/a", "", DIGEST), f"docker.io/library/a@{DIGEST}"),
        ("docker://a:1@" + DIGEST, ("docker.io", "library/a", "1", DIGEST), f"docker.io/library/a:1@{DIGEST}"),
        ("oras://ghcr.io/o/sif:1", ("ghcr.io", "o/sif", "1", ""), "ghcr.io/o/sif:1"),
        ("library://lolcow", ("", "lolcow", "latest", ""), "lolcow:latest"),
        ("library://Me/coll/lolcow:1", ("", "Me/coll/lolcow", "1", ""), "Me/coll/lolcow:1"),
        ("library:///me/coll/lolcow", ("", "me/coll/lolcow", "latest", ""), "me/coll/lolcow:latest"),
        ("library://h.org/me/c/l:1", ("h.org", "me/c/l", "1", ""), "h.org/me/c/l:1"),
        ("library://h:80/l:1", ("h:80", "l", "1", ""), "h:80/l:1"),
        (f"library://me/c/l:sha256.{HEX}", ("", "me/c/l", "", DIGEST), f"me/c/l:sha256.{HEX}"),
    ],
)
def test_parses(text: str, parts: tuple[str, str, str, str], name: str) -> None:
    reference = parse(text)
    assert reference == Reference(text.partition(":")[0], *parts)
    assert reference.name == name
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("ubuntu:24.04", "does not say where", "docker://ubuntu:24.04"),
        ("", "does not say where", "docker://ubuntu:24.04"),
        ("https://ghcr.io/a/b", "https:// is no kind", "without https://"),
        ("docker://", "names no image", "docker://HOST/REPOSITORY:TAG"),
        ("library:///", "names no image", "library://HOST"),
        ("docker://ghcr.io/", "'' cannot be part", "letters"),
        ("docker://Ubuntu", "upper-case", "type docker://ubuntu"),
        ("docker://ghcr.io/Org/App:V1", "upper-case", "type docker://ghcr.io/org/app:V1"),
        ("docker://a b", "'a b' cannot be part", "letters"),
        ("docker://a//b", "'' cannot be part", "letters"),
        ("docker://a/../b", "'..' cannot be part", "letters"),
        ("docker://a/b.", "'b.' cannot be part", "letters"),
        ("docker://a\n", "cannot be part", "letters"),
        ("docker://a:", "'' is not a tag", "128"),
        ("docker://a:-x", "'-x' is not a tag", "128"),
        ("docker://a:" + "x" * 129, "is not a tag", "128"),
        ("docker://a:x:y", "'x:y' is not a tag", "128"),
        ("docker://a@", "'' is not a digest", "64"),
        ("docker://a@sha256:12", "is not a digest", "64"),
        ("docker://a@sha256:" + HEX.upper(), "is not a digest", "lower case"),
        ("docker://-h.org/a", "'-h.org' is not a host", "HOST:PORT"),
        ("docker://u:p@h.org/a", "is not a digest", "64"),
        ("docker://h.org:x/a", "'h.org:x' is not a host", "HOST:PORT"),
        ("docker://h.org/" + "a/" * 128 + "a", "257 characters", "255"),
        ("library://me/c/l:sha256.12", "is not a digest", "64"),
        ("library://me/c/l:,", "',' is not a tag", "128"),
        ("library://me/c$/l", "cannot be part", "letters"),
    ],
)
def test_refuses(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_pins() -> None:
    reference = parse("docker://ubuntu:24.04")
    pinned = reference.pinned(DIGEST)
    assert str(pinned) == f"docker://docker.io/library/ubuntu:24.04@{DIGEST}"
    assert pinned.exact == f"docker://docker.io/library/ubuntu@{DIGEST}"
    assert reference.exact == str(reference)
    assert parse(str(pinned)) == pinned
    with pytest.raises(UsageError, match="'sha256:1' is not a digest"):
        reference.pinned("sha256:1")


def test_pins_in_a_library() -> None:
    pinned = parse("library://me/c/l:1").pinned(DIGEST)
    assert str(pinned) == pinned.exact == f"library://me/c/l:sha256.{HEX}"
    assert parse(str(pinned)) == pinned


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("docker://ubuntu:24.04", "ubuntu-24.04"),
        ("docker://ghcr.io/org/app", "app-latest"),
        (f"docker://a/b@{DIGEST}", "b"),
        ("docker://a:" + "x" * 128, "a-" + "x" * 98),
    ],
)
def test_slugs(text: str, slug: str) -> None:
    assert parse(text).slug == slug


def test_file_name() -> None:
    assert parse("docker://ubuntu:24.04").file_name(DIGEST, ".sif") == "ubuntu-24.04-sha256-0123456789ab.sif"
    with pytest.raises(UsageError, match="is not a digest"):
        parse("docker://ubuntu").file_name("../x", ".sif")


@given(st.text(alphabet="aZ0./:@-_ [],\n", max_size=30), st.sampled_from(["docker", "oras", "library"]))
def test_any_text_parses_to_what_it_writes_or_is_refused(text: str, scheme: str) -> None:
    try:
        reference = parse(f"{scheme}://{text}")
    except UsageError as error:
        assert error.hint  # noqa: PT017 - most texts raise, some do not
        return
    assert parse(str(reference)) == reference
    assert "/" not in reference.slug
    assert not reference.slug.startswith((".", "-"))
