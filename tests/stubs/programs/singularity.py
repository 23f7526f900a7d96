"""A stub of SingularityCE's `singularity`.

Grammar: sylabs/singularity v4.1.2: flags of cmd/internal/cli/*.go, binds of pkg/util/bind, and the user guide of 4.1
(docs.sylabs.io/guides/4.1). What only Apptainer has (--sharens, --unsquash, --nvccli's kin) is unknown here.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images
from tests.stubs.grammar import PFLAG, Grammar, Option, Parsed, Refusal, accept, assignment, flags, guard, run, valued

VERSION = "singularity-ce version 4.1.2"
_OUTER = (
    *flags("--debug,-d --nocolor --silent,-s --quiet,-q --verbose,-v --version --help,-h"),
    *valued("--config,-c"),
)
_REGISTRY = (
    *flags("--docker-login --no-https --nohttps --disable-cache"),
    *valued("--docker-host --docker-username --docker-password --authfile --tmpdir"),
)
_KEYS = (*flags("--passphrase"), *valued("--pem-path"))
_ACTION = (
    *_REGISTRY,
    *_KEYS,
    *valued(
        "--app --bind,-B --mount --home,-H --overlay,-o --scratch,-S --workdir,-W --cwd --pwd --hostname --network"
    ),
    *valued("--network-args --dns --security --apply-cgroups --containlibs --fusemount --add-caps --drop-caps --env"),
    *valued("--env-file --no-mount --blkio-weight --blkio-weight-device --cpu-shares --cpus --cpuset-cpus"),
    *valued("--cpuset-mems --memory --memory-reservation --memory-swap --pids-limit --proot --device --cdi-dirs"),
    *valued("--arch --platform"),
    *flags("--boot --fakeroot,-f --no-setgroups --cleanenv,-e --compat --no-compat --contain,-c --containall,-C --nv"),
    *flags("--nvccli --rocm --writable,-w --writable-tmpfs --no-home --no-init --no-nv --no-rocm --pid,-p --no-pid"),
    *flags("--ipc,-i --net,-n --uts --userns,-u --keep-privs --no-privs --allow-setuid --no-umask --no-eval"),
    *flags("--oom-kill-disable --sif-fuse --oci --no-oci --keep-layers --tmp-sandbox --no-tmp-sandbox"),
)
_BUILD = (
    *_REGISTRY,
    *_KEYS,
    *flags("--sandbox,-s --json --update,-u --notest,-T --remote,-r --detached,-d --no-cleanup --fakeroot,-f"),
    *flags("--no-setgroups --encrypt,-e --fix-perms --nv --nvccli --rocm --writable-tmpfs --force,-F --oci"),
    *valued("--section --arch --builder --library --bind,-B --mount --build-arg --build-arg-file"),
)
_INSPECT = flags(
    "--labels,-l --deffile,-d --json,-j --list-apps --runscript,-r --startscript,-s --test,-t --environment,-e "
    "--helpfile,-H --all"
)
COMMANDS: dict[str, tuple[Option, ...]] = {
    "exec": _ACTION,
    "run": _ACTION,
    "instance start": (*_ACTION, *valued("--pid-file")),
    "instance run": (*_ACTION, *valued("--pid-file")),
    "instance stop": (*flags("--all,-a --force,-F"), *valued("--signal,-s --timeout,-t --user,-u")),
    "instance list": (*flags("--json,-j --logs,-l"), *valued("--user,-u")),
    "pull": (
        *_REGISTRY,
        *flags("--force,-F --allow-unsigned,-U --allow-unauthenticated --no-cleanup --oci --no-oci --keep-layers"),
        *valued("--library --name --dir --arch --platform"),
    ),
    "build": _BUILD,
    "verify": (
        *flags("--ocsp-verify --local,-l --json,-j --all,-a --legacy-insecure"),
        *valued(
            "--url,-u --group-id,-g --sif-id,-i --certificate --certificate-intermediates --certificate-roots --key"
        ),
    ),
    "sign": (*flags("--all,-a"), *valued("--group-id,-g --sif-id,-i --key --keyidx,-k")),
    "overlay create": (*flags("--sparse"), *valued("--size,-s --create-dir")),
    "inspect": (*_INSPECT, *valued("--app")),
}
_COUNTS = {
    "exec": (2, None),
    "run": (1, None),
    "instance start": (2, None),
    "instance run": (2, None),
    "instance stop": (0, 1),
    "instance list": (0, 1),
    "pull": (1, 2),
    "build": (2, 2),
    "verify": (1, 1),
    "sign": (1, 1),
    "overlay create": (1, 1),
    "inspect": (1, 1),
}
_URI = re.compile(r"(docker|library|oras|shub|https?|oci|oci-archive|docker-archive|docker-daemon|instance):(//)?(.+)")


def fatal(message: str) -> Refusal:
    """What singularity says once the options are read."""
    return Refusal(f"FATAL:   {message}", 255)


def binds(text: str) -> list[dict[str, str]]:
    """SOURCE[:TARGET[:FLAGS]], between commas; a flag may stand behind a comma as well."""
    found: list[dict[str, str]] = []
    for word in re.split(r"(?<!\\),", text):
        if found and "flags" in found[-1] and re.fullmatch(r"ro|rw|(image-src|id)=.+", word):
            found[-1]["flags"] += f",{word}"
            continue
        source, *rest = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", word)]
        if not source or len(rest) > 2:
            raise fatal(f"While setting bind mount configuration: while parsing bind path: invalid bind spec {word!r}")
        if len(rest) > 1 and not re.fullmatch(r"ro|rw|(image-src|id)=.+", rest[1]):
            raise fatal(
                "While setting bind mount configuration: while parsing bind path: while getting bind path: "
                f"{rest[1]} is not a valid bind option"
            )
        target = rest[0] if rest else source
        found.append(_there({"source": source, "target": target, **({"flags": rest[1]} if len(rest) > 1 else {})}))
    return found


def mount(text: str) -> dict[str, str]:
    """type=bind,source=S,destination=D[,ro], written as CSV."""
    known = {"source": "source", "src": "source", "destination": "target", "dst": "target", "target": "target"}
    found: dict[str, str] = {}
    for field in next(csv.reader([text], strict=True)):
        key, _, value = field.partition("=")
        if key in known and value:
            found[known[key]] = value
        elif key in {"ro", "readonly"}:
            found["flags"] = "ro"
        elif key == "type" and value != "bind":
            raise _mount_error(text, f"unsupported mount type {value!r}, only 'bind' is supported")
        elif key not in {"type", "image-src", "id"} or not value:
            raise _mount_error(text, f'invalid key "{key}" in mount specification')
    if not {"source", "target"} <= set(found):
        raise _mount_error(text, "mounts must specify a source and a destination")
    return _there(found)


def _mount_error(text: str, what: str) -> Refusal:
    return fatal(f'While setting bind mount configuration: while parsing mount "{text}": {what}')


def _there(found: dict[str, str]) -> dict[str, str]:
    source = found["source"]
    if not Path(source).exists():
        raise fatal(
            f"container creation failed: mount {source}->{found['target']} error: while mounting {source}: "
            f"mount source {source} doesn't exist"
        )
    return found


def env(texts: list[str]) -> dict[str, str]:
    """K=V; with more than one = in it, pflag reads a text as CSV of several."""
    pairs: dict[str, str] = {}
    for text in texts:
        fields = next(csv.reader([text])) if text.count("=") > 1 else [text.strip('"')]
        for field in fields:
            wrong = Refusal(f'invalid argument "{text}" for "--env" flag: {field} must be formatted as key=value')
            pairs |= assignment(field, None, wrong)
    return pairs


def image(name: str, environ: Mapping[str, str]) -> str:
    """A file, a folder, or an address; in STUB_REGISTRY the addresses stand without their scheme."""
    matched = _URI.fullmatch(name)
    if not matched:
        if not Path(name).exists():
            raise fatal(f"could not open image {name}: failed to retrieve path for {name}: lstat {name}: no such file")
        return name
    scheme, _, rest = matched.groups()
    if scheme == "instance" and environ.get("STUB_STORE") and rest not in images.recorded(environ, "instances"):
        raise fatal(f"While setting image/instance: no instance found with name {rest}")
    if scheme in {"oci", "oci-archive", "docker-archive"} and not Path(rest.partition(":")[0]).exists():
        raise fatal(f"Unable to handle {name} uri: unable to check {rest}: no such file or directory")
    if scheme in {"docker", "docker-daemon"} and not images.REFERENCE.fullmatch(rest):
        raise fatal(f"Unable to handle {name} uri: invalid reference format")
    if scheme in {"docker", "library", "oras", "shub"} and not images.pullable(environ, rest):
        raise fatal(f"Unable to handle {name} uri: failed to get checksum: manifest unknown")
    return name


def _action(command: str, given: Parsed, environ: Mapping[str, str]) -> int:
    name = image(given.rest[0], environ)
    named = command.startswith("instance")
    for path in given.all("pem-path") + given.all("env-file"):
        if not Path(path).is_file():
            raise fatal(f"open {path}: no such file or directory")
    mounts = [bind for text in given.all("bind") for bind in binds(text)]
    mounts += [mount(text) for text in given.all("mount")]
    if named:
        images.record(environ, "instances", given.rest[1])
    return accept(
        "singularity",
        given.rest[2 if named else 1 :],
        action=command,
        image=name,
        instance=given.rest[1] if named else "",
        mounts=mounts,
        env=env(given.all("env")),
        workdir=given.last("cwd") or given.last("pwd"),
        overlay=_overlays(given),
        flags=sorted(o.key for o in _ACTION if o.value == "none" and given.has(o.key)),
        app=given.last("app"),
    )


def _overlays(given: Parsed) -> list[str]:
    overlays = [part for text in given.all("overlay") for part in text.split(",")]
    for text in overlays:
        if not Path(text.removesuffix(":ro")).exists():
            raise fatal(f"container creation failed: failed to open overlay image {text}: no such file or directory")
    return overlays


def _pull(given: Parsed, environ: Mapping[str, str]) -> int:
    uri = given.rest[-1]
    matched = _URI.fullmatch(uri)
    if not matched or matched[1] in {"instance", "docker-archive", "oci", "oci-archive"}:
        raise fatal(f"unsupported transport type: {uri}")
    name = given.rest[0] if len(given.rest) > 1 else given.last("name")
    tagged = matched[3].rpartition("/")[2].replace(":", "_")
    output = Path(given.last("dir")) / (name or f"{tagged}{'' if '_' in tagged else '_latest'}.sif")
    image(uri, environ)
    return _write(output, uri, force=given.has("force"))


def _write(output: Path, source: str, *, force: bool, encrypted: bool = False) -> int:
    if output.exists() and not force:
        raise fatal(f'Image file already exists: "{output}" - will not overwrite')
    if not output.absolute().parent.is_dir():
        raise fatal(f"While creating {output}: no such file or directory")
    images.write_sif(output, source, encrypted=encrypted)
    return 0


def _build(given: Parsed, environ: Mapping[str, str]) -> int:
    output, source = given.rest
    image(source, environ)
    if given.has("encrypt") and not (given.has("pem-path") or given.has("passphrase")):
        raise fatal("Unable to encrypt container: no key or passphrase was given")
    if given.has("sandbox"):
        (Path(output) / "bin").mkdir(parents=True, exist_ok=True)
        return 0
    return _write(Path(output), source, force=given.has("force"), encrypted=given.has("encrypt"))


def _sif(path: str) -> bytes:
    try:
        data = Path(path).read_bytes()
    except OSError:
        raise fatal(f"Failed to open {path}: no such file or directory") from None
    if data[32:41] != b"SIF_MAGIC":
        raise fatal(f"Failed to load SIF: {path}: invalid SIF magic")
    return data


def _sign(given: Parsed, environ: Mapping[str, str]) -> int:
    _sif(given.rest[0])
    if not images.sign(Path(given.rest[0])):
        raise fatal("Failed to sign container: the stub signs only images that it made")
    return 0


def _verify(given: Parsed, environ: Mapping[str, str]) -> int:
    if not images.signed(_sif(given.rest[0])):
        raise fatal("Failed to verify container: integrity: signature not found for object group 1")
    return 0


def _overlay(given: Parsed, environ: Mapping[str, str]) -> int:
    size, output = given.last("size", "64"), Path(given.rest[0])
    if not size.isdigit() or int(size) < 64:
        raise fatal("while creating overlay: image size must be equal or greater than 64 MiB")
    if output.exists() and not (output.is_file() and output.read_bytes()[32:41] == b"SIF_MAGIC"):
        raise fatal(f"while creating overlay: {output} already exists")
    if not output.exists():
        output.write_bytes(b"\0" * 1080 + b"\x53\xef")
    return 0


def _inspect(given: Parsed, environ: Mapping[str, str]) -> int:
    image(given.rest[0], environ)
    sys.stdout.write('{"data": {"attributes": {"labels": {}}}, "type": "container"}\n')
    return 0


def _instances(command: str, given: Parsed, environ: Mapping[str, str]) -> int:
    known = sorted(images.recorded(environ, "instances"))
    if command == "instance list":
        sys.stdout.write("INSTANCE NAME    PID    IP    IMAGE\n" + "".join(f"{name}    1\n" for name in known))
        return 0
    if not given.rest and not given.has("all"):
        raise Refusal('Error for command "stop": invalid command')
    for name in given.rest or known:
        if environ.get("STUB_STORE") and name not in known:
            raise fatal(f"no instance found with name {name}")
        images.record(environ, "instances", name, present=False)
    return 0


_STEPS: dict[str, Callable[[Parsed, Mapping[str, str]], int]] = {
    "pull": _pull,
    "build": _build,
    "sign": _sign,
    "verify": _verify,
    "overlay create": _overlay,
    "inspect": _inspect,
}


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    outer = Grammar(_OUTER, PFLAG).parse(argv)
    if outer.has("version") or outer.rest[:1] == ["version"]:
        sys.stdout.write(f"{VERSION}\n" if outer.has("version") else "4.1.2\n")
        return 0
    words = outer.rest[:2] if outer.rest[:1] in (["instance"], ["overlay"]) else outer.rest[:1]
    command, last = " ".join(words), (words or [""])[-1]
    if command not in COMMANDS:
        raise Refusal(f'Error for command "singularity": unknown command "{command}" for "singularity"')
    usage = f"Run 'singularity {command} --help' for more detailed usage information."
    style = replace(PFLAG, unknown=f'Error for command "{last}": unknown flag: {{0}}', usage=usage)
    given = Grammar(COMMANDS[command], style).parse(outer.rest[len(words) :])
    least, most = _COUNTS[command]
    if len(given.rest) < least or (most is not None and len(given.rest) > most):
        raise Refusal(
            f'Error for command "{last}": requires at least {least} arg(s), received {len(given.rest)}\n{usage}'
        )
    if command in {"instance stop", "instance list"}:
        return _instances(command, given, environ)
    if command in _STEPS:
        return _STEPS[command](given, environ)
    return _action(command, given, environ)


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be singularity."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
