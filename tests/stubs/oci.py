"""What the command lines of Docker and Podman share: the options of `run`, volumes, mounts, variables.

Grammar: `docker run --help` 28.2.2 and docs.docker.com/reference/cli/docker/container/run; `podman run --help` 4.3.1
and podman-run(1). Whether a device is there is not asked: the machine of a test has none.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.stubs import images
from tests.stubs.grammar import PFLAG, Grammar, Option, Parsed, Refusal, accept, assignment, flags, valued

_BOTH = (
    *flags(
        "--detach,-d --disable-content-trust --init --interactive,-i --no-healthcheck --oom-kill-disable --privileged "
        "--publish-all,-P --quiet,-q --read-only --rm --sig-proxy --tty,-t --help"
    ),
    *valued(
        "--add-host --annotation --attach,-a --blkio-weight --blkio-weight-device --cap-add --cap-drop --cgroup-parent "
        "--cgroupns --cidfile --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime --cpu-shares,-c --cpus "
        "--cpuset-cpus --cpuset-mems --detach-keys --device --device-cgroup-rule --device-read-bps --device-read-iops "
        "--device-write-bps --device-write-iops --dns --dns-option --dns-search --entrypoint --env,-e --env-file "
        "--expose --group-add --health-cmd --health-interval --health-retries --health-start-period --health-timeout "
        "--hostname,-h --ip --ip6 --ipc --label,-l --label-file --link-local-ip --log-driver --log-opt --mac-address "
        "--memory,-m --memory-reservation --memory-swap --memory-swappiness --mount --name --network,--net "
        "--network-alias --oom-score-adj --pid --pids-limit --platform --publish,-p --restart --security-opt "
        "--shm-size --stop-signal --stop-timeout --sysctl --tmpfs --ulimit --user,-u --userns --uts --volume,-v "
        "--volumes-from --workdir,-w"
    ),
)
DOCKER_RUN: tuple[Option, ...] = (
    *_BOTH,
    *flags("--use-api-socket"),
    *valued(
        "--cpu-count --cpu-percent --domainname --gpus --health-start-interval --io-maxbandwidth --io-maxiops "
        "--isolation --kernel-memory --link --runtime --storage-opt --volume-driver"
    ),
    Option(("--pull",), only=("always", "missing", "never")),
)
PODMAN_RUN: tuple[Option, ...] = (
    *_BOTH,
    *flags(
        "--env-host --http-proxy --no-hosts --passwd --read-only-tmpfs --replace --rmi --rootfs --tls-verify "
        "--unsetenv-all"
    ),
    *valued(
        "--arch --authfile --cgroup-conf --cgroups --chrootdirs --conmon-pidfile --env-merge --gidmap "
        "--health-on-failure --hostuser --image-volume --init-path --os --passwd-entry --personality --pidfile --pod "
        "--pod-id-file --preserve-fds --requires --sdnotify --seccomp-policy --secret --subgidname --subuidname "
        "--systemd --timeout --tz --uidmap --umask --unsetenv --variant"
    ),
    Option(("--pull",), only=("always", "missing", "never", "newer")),
)
_NAMED = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_SPREAD = {"shared", "rshared", "slave", "rslave", "private", "rprivate"}
_DOCKER_FLAGS = {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent", *_SPREAD}
_PODMAN_FLAGS = {
    *{"ro", "rw", "z", "Z", "O", "U", "copy", "nocopy", "dev", "nodev", "exec", "noexec", "suid", "nosuid"},
    *{"bind", "rbind", "idmap", "unbindable", "runbindable", *_SPREAD},
}
_MOUNT_KEYS = {
    *{"type", "source", "src", "destination", "dst", "target", "readonly", "ro", "bind-propagation", "consistency"},
    *{"volume-nocopy", "volume-opt", "volume-driver", "volume-label", "volume-subpath", "tmpfs-size", "tmpfs-mode"},
}
_ONLY_DOCKER = {"bind-recursive", "bind-create-src", "image-subpath"}
_ONLY_PODMAN = {"relabel", "U", "chown", "rw", "bind-nonrecursive", "idmap", "notmpcopyup", "tmpcopyup"}


@dataclass(frozen=True)
class Engine:
    """Docker or Podman: where they differ."""

    podman: bool

    @property
    def program(self) -> str:
        return "podman-hpc" if self.podman else "docker"

    def refuse(self, message: str) -> Refusal:
        return Refusal(f"Error: {message}" if self.podman else f"docker: {message}", 125)

    def run(self, given: Parsed, environ: Mapping[str, str], **more: object) -> int:
        """Start a container, as far as one can see."""
        if not given.rest:
            raise self.refuse("requires at least 1 arg(s), only received 0")
        name, command = given.rest[0], given.rest[1:]
        self.reference(name)
        self._words(given)
        mounts = [self.volume(text) for text in given.all("volume")]
        mounts += [self.mount(text) for text in given.all("mount")]
        self._distinct(mounts)
        return accept(
            self.program,
            command,
            image=name,
            mounts=mounts,
            env=self.env(given, environ),
            workdir=given.last("workdir"),
            entrypoint=given.last("entrypoint"),
            pulled=self.fetch(name, given.last("pull", "missing"), environ),
            devices=given.all("device"),
            gpus=given.last("gpus"),
            user=given.last("user"),
            network=given.last("network"),
            flags=[key for key in ("rm", "tty", "interactive", "detach", "init", "privileged") if given.has(key)],
            **more,
        )

    def reference(self, name: str) -> None:
        """The name of an image; Docker and Podman want it in small letters, and without a scheme."""
        matched = images.REFERENCE.fullmatch(name)
        if matched and (self.podman or "://" not in name):
            return
        if self.podman and re.fullmatch(r"(docker|oci-archive|docker-archive|oci|dir)://?.+|[0-9a-f]{12,64}", name):
            return
        if name != name.lower():
            raise self.refuse(f"invalid reference format: repository name ({name}) must be lowercase")
        raise self.refuse("invalid reference format")

    def fetch(self, name: str, policy: str, environ: Mapping[str, str]) -> bool:
        """Whether the image had to be pulled first."""
        if policy == "never" and not images.has(environ, self.program, name):
            gone = f"{name}: image not known" if self.podman else f"Error response from daemon: No such image: {name}"
            raise self.refuse(gone)
        if policy == "never" or (policy != "always" and images.has(environ, self.program, name)):
            return False
        if not images.pullable(environ, name):
            raise self.refuse(f"Error response from daemon: pull access denied for {name}")
        images.record(environ, self.program, name)
        return True

    def volume(self, text: str) -> dict[str, str]:
        """[SOURCE:]TARGET[:FLAG,...]. Docker makes a folder of a source that is not there; Podman refuses it."""
        parts = text.split(":")
        if not 1 <= len(parts) <= 3 or not all(parts[:2]):
            raise self.refuse(f"invalid volume specification: '{text}'")
        source, target = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
        if not target.startswith("/"):
            raise self.refuse(f"invalid volume specification: '{text}': mount path must be absolute")
        unknown = {flag for part in parts[2:] for flag in part.split(",")} - self._flags()
        if unknown:
            raise self.refuse(f"invalid mode: {parts[2]}")
        return {"source": source, "target": target, **self._source(text, source), **_optional(parts[2:])}

    def _flags(self) -> set[str]:
        return _PODMAN_FLAGS if self.podman else _DOCKER_FLAGS

    def _source(self, text: str, source: str) -> dict[str, str]:
        if not source or not source.startswith(("/", ".")):
            if source and not _NAMED.fullmatch(source):
                raise self.refuse(
                    f'"{source}" includes invalid characters for a local volume name, in {text}: '
                    "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
                )
            return {"type": "volume"}
        if os.path.exists(source):  # noqa: PTH110 - a path is text here
            return {}
        if self.podman:
            raise self.refuse(f"statfs {source}: no such file or directory")
        return {"created": "folder"}

    def mount(self, text: str) -> dict[str, str]:
        """type=bind,source=S,target=T[,readonly]; a bind's source must be there."""
        fields = [field.partition("=") for field in next(csv.reader([text]))]
        keys = {key: value for key, _, value in fields}
        known = _MOUNT_KEYS | (_ONLY_PODMAN if self.podman else _ONLY_DOCKER)
        unknown = sorted(set(keys) - known)
        if unknown:
            raise self.refuse(f'invalid argument "{text}" for "--mount" flag: unexpected key \'{unknown[0]}\'')
        target = next((keys[key] for key in ("target", "dst", "destination") if key in keys), "")
        source = next((keys[key] for key in ("source", "src") if key in keys), "")
        kind = keys.get("type", "volume")
        if kind not in {"bind", "volume", "tmpfs", "image", "npipe", "cluster", "devpts", "glob"}:
            raise self.refuse(f"mount type unknown: {kind!r}")
        if not target.startswith("/"):
            raise self.refuse(
                f"invalid mount config for type {kind!r}: invalid mount path: {target!r} must be absolute"
            )
        if kind == "bind" and not (source.startswith("/") or self.podman):
            raise self.refuse(f"invalid mount config for type 'bind': invalid mount path: {source!r} must be absolute")
        if kind == "bind" and not os.path.exists(source):  # noqa: PTH110
            raise self.refuse(f"invalid mount config for type 'bind': bind source path does not exist: {source}")
        readonly = "ro" if {"readonly", "ro"} & set(keys) else ""
        return {"type": kind, "source": source, "target": target, **_optional([readonly])}

    def _distinct(self, mounts: list[dict[str, str]]) -> None:
        targets = [mount["target"].rstrip("/") for mount in mounts]
        twice = next((target for target in targets if targets.count(target) > 1), None)
        if twice is not None:
            raise self.refuse(f"Duplicate mount point: {twice}")

    def env(self, given: Parsed, environ: Mapping[str, str]) -> dict[str, str]:
        """--env-file, then --env; a bare name takes the host's value, in Podman a bare NAME* several."""
        env: dict[str, str] = {}
        lines = [line for path in given.all("env-file") for line in self._lines(path)]
        for text in (*lines, *given.all("env")):
            if self.podman and text.endswith("*") and "=" not in text:
                env |= {key: value for key, value in environ.items() if key.startswith(text[:-1])}
                continue
            wrong = self.refuse(f'invalid argument "{text}" for "-e, --env" flag: invalid environment variable: {text}')
            env |= assignment(text, environ, wrong)
        return env

    def _lines(self, path: str) -> list[str]:
        try:
            lines = Path(path).read_text("utf-8").splitlines()
        except OSError:
            raise self.refuse(f"open {path}: no such file or directory") from None
        return [line for line in lines if line.strip() and not line.startswith("#")]

    def _words(self, given: Parsed) -> None:
        workdir = given.last("workdir")
        if workdir and not workdir.startswith("/"):
            raise self.refuse(f"the working directory '{workdir}' is invalid, it needs to be an absolute path")
        for text in given.all("ulimit"):
            if text != "host" and not re.fullmatch(r"[a-z]+=-?\d+(:-?\d+)?", text):
                raise self.refuse(f'invalid argument "{text}" for "--ulimit" flag: invalid ulimit argument: {text}')
        gpus = given.last("gpus", "all")
        if not re.fullmatch(r'all|-?\d+|"?(device|count|driver|capabilities|options)=.+', gpus):
            raise self.refuse(f'invalid argument "{gpus}" for "--gpus" flag: invalid count ({gpus})')
        for text in given.all("device"):
            parts = text.split(":")
            if "=" not in text and (not text.startswith("/") or len(parts) > 3):
                raise self.refuse(f"bad format for path: {text}")


def _optional(flags_: list[str]) -> dict[str, str]:
    return {"flags": flags_[0]} if flags_ and flags_[0] else {}


def inspected(names: list[str]) -> str:
    """What `image inspect` says, in part."""
    described = [
        {
            "Id": "sha256:" + "0" * 64,
            "RepoTags": [images.normal(name).removeprefix("docker.io/library/")],
            "Architecture": "amd64",
            "Os": "linux",
            "Config": {"Env": ["PATH=/usr/bin:/bin"], "Entrypoint": None, "Cmd": ["/bin/sh"], "WorkingDir": ""},
        }
        for name in names
    ]
    return json.dumps(described, indent=4)


def grammar(options: tuple[Option, ...], usage: str, code: int = 125) -> Grammar:
    """The options of a subcommand, read by pflag."""
    return Grammar(options, replace(PFLAG, code=code, usage=usage, wrong='invalid argument "{1}" for "{0}" flag'))
