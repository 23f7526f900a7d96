"""A stub of `shifter`, and of its options of srun and sbatch.

Grammar: NERSC/shifter 84b7d34 (2026-06, 22.02 and later): options of src/shifter.c and its help text, image names
of src/ImageData.c, volumes of src/VolumeMap.c and src/shifter_core.c, variables that the SPANK plugin sets;
doc/wlm/slurm.rst for `#SBATCH --image`. `STUB_MODULES` is a JSON list of the site's modules.
Not known here, so not refused: mount points that the image lacks, and those below a path of the site.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.stubs import images
from tests.stubs.grammar import GETOPT, Grammar, Option, Parsed, Refusal, accept, flags, guard, run, valued

_USAGE = "Usage: shifter [-h|--help] [-v|--verbose] [--image=<imageType>:<imageTag>] ..."


def improper(text: str) -> None:
    """shifter.c wants a name before the first =, and something behind it."""
    if not text.partition("=")[0] or not text.partition("=")[2] or text.index("=") == len(text) - 1:
        raise Refusal(f"Improperly formatted environment variable: {text}")


GRAMMAR = Grammar(
    (
        *flags("--help,-h --verbose,-v --clearenv,-E -n"),
        *valued("--volume,-V --image,-i --module,-m --env-file"),
        *valued("--env,-e", check=improper),
        Option(("--entrypoint", "--entry"), "maybe"),
        Option(("--workdir", "-w"), "maybe"),
    ),
    GETOPT,
)
TYPES = ("docker", "custom", "id", "local")
# Beginnings of a path, not folders: /etcetera is refused as well (strncmp in _validateVolumeMap).
_FORBIDDEN = ("/etc", "/var", "/opt/udiImage")
_TAKEN = ("/dev", "/proc")


def image(name: str) -> tuple[str, str]:
    """The type and the tag; docker if no known type stands before the colon."""
    kind, colon, tag = name.partition(":")
    if not colon or kind not in TYPES:
        kind, tag = "docker", name
    if not tag or not re.fullmatch(r"[\w.:+/@-]+", tag, re.ASCII):
        raise Refusal('Incorrect format for image identifier: need "image_type:image_desc", e.g., docker:ubuntu:17.10')
    return kind, tag


def present(kind: str, tag: str, environ: Mapping[str, str]) -> bool:
    """Whether the gateway, or the disk, has it; an identifier is not looked up."""
    if kind == "local":
        return Path(tag).is_dir()
    if kind == "id":
        return True
    known = kind == "custom" or bool(images.REFERENCE.fullmatch(tag))
    return known and any(images.has(environ, "shifter", name) for name in {f"{kind}:{tag}", _plain(kind, tag)})


def _plain(kind: str, tag: str) -> str:
    return tag if kind == "docker" else f"{kind}:{tag}"


def volumes(text: str) -> list[dict[str, str]]:
    """The volumes that are asked for: FROM:TO[:FLAG]..., between semicolons."""
    return [volume(part) for part in text.split(";") if part]


def volume(text: str) -> dict[str, str]:
    source, _, rest = text.partition(":")
    target, _, flag = rest.partition(":")
    cached = _flags(text, flag)
    if not source.startswith("/") or not target.startswith("/") or ".." in source or ".." in target:
        raise Refusal(f"Invalid Volume Map: {text}, aborting! relative path\nFailed to parse volume map options")
    if target != "/var/tmp" and (target.startswith(_FORBIDDEN) or target.rstrip("/") == "/opt"):
        raise Refusal(f"Invalid Volume Map: {text}, aborting! not allowed\nFailed to parse volume map options")
    if any(target == path or target.startswith(f"{path}/") for path in _TAKEN):
        raise Refusal(f"{target} was already mounted, not allowed to unmount existing, fail.\nFAILED to setup image.")
    if not cached:
        _folder(source)
    return {"source": source, "target": target, **({"flags": flag} if flag else {})}


def _flags(text: str, given: str) -> bool:
    """Check the flags; whether the volume is a cache of the node, which has no folder outside."""
    names = [flag.partition("=")[0].lower() for flag in given.split(":") if flag]
    for flag in names:
        if flag not in {"ro", "rec", "slave", "private", "pernodecache"}:
            raise Refusal(f"Unknown flag: {flag}\nFailed to parse volume map options")
        if flag not in {"ro", "pernodecache"}:
            raise Refusal(f"Invalid Volume Map: {text}, aborting! not allowed\nFailed to parse volume map options")
    if len(set(names)) != len(names):
        raise Refusal(f"Invalid Volume Map: {text}, aborting! flag given twice")
    return "pernodecache" in names


def _folder(source: str) -> None:
    if not Path(source).exists():
        raise Refusal(f'FAILED to find real path for volume "from": {source}\nFAILED to setup image.')
    if not Path(source).is_dir():
        raise Refusal(f'FAILED "from" location is not directory: {source}\nFAILED to setup image.')


def modules(text: str, environ: Mapping[str, str]) -> list[str]:
    """The site's modules, or none of them."""
    names = [] if text.strip().lower() in {"", "none"} else text.split(",")
    known = json.loads(environ.get("STUB_MODULES", "null"))
    if any(not re.fullmatch(r"[\w-]+", name) or (known is not None and name not in known) for name in names):
        raise Refusal(f"Invalid shifter module selection: {text}\n{_USAGE}")
    return names


def _asked(given: Parsed, environ: Mapping[str, str]) -> tuple[str, str]:
    """The image of the command line, else of the environment."""
    if given.has("image"):
        return image(given.last("image"))
    for prefix in ("SHIFTER_", "SLURM_SPANK_SHIFTER_"):
        if environ.get(f"{prefix}IMAGE") and environ.get(f"{prefix}IMAGETYPE"):
            return environ[f"{prefix}IMAGETYPE"], environ[f"{prefix}IMAGE"]
        if environ.get(f"{prefix}IMAGEREQUEST"):
            return image(environ[f"{prefix}IMAGEREQUEST"])
    raise Refusal(f"No image specified, or specified incorrectly!\n{_USAGE}")


def spank(given: Parsed, environ: Mapping[str, str]) -> dict[str, str]:
    """What the options of srun or sbatch hand to the `shifter` of the job, once they are found good."""
    told: dict[str, str] = {}
    if given.has("image"):
        kind, tag = image(given.last("image"))
        if not present(kind, tag, environ):
            raise Refusal(f"FAILED to lookup {kind} image {tag}")
        told |= {"SLURM_SPANK_SHIFTER_IMAGETYPE": kind, "SLURM_SPANK_SHIFTER_IMAGE": tag}
    if given.has("volume"):
        told["SLURM_SPANK_SHIFTER_VOLUME"] = ";".join(given.all("volume"))
        volumes(told["SLURM_SPANK_SHIFTER_VOLUME"])
    if given.has("module"):
        modules(given.last("module"), environ)
        told["SLURM_SPANK_SHIFTER_MODULE"] = given.last("module")
    return told


def _body(argv: list[str], environ: Mapping[str, str]) -> int:
    given = GRAMMAR.parse(argv)
    kind, tag = _asked(given, environ)
    if not present(kind, tag, environ):
        raise Refusal(f"FAILED to lookup {kind} image {tag}\n{_USAGE}")
    inherited = environ.get("SHIFTER_VOLUME", environ.get("SLURM_SPANK_SHIFTER_VOLUME", ""))
    chosen = given.last("module", environ.get("SHIFTER_MODULE", environ.get("SLURM_SPANK_SHIFTER_MODULE", "")))
    if given.has("env-file") and not Path(given.last("env-file")).is_file():
        raise Refusal(f"FAILED to read environment file {given.last('env-file')}")
    if given.rest and Path(given.rest[0]).is_dir():
        # --workdir and --entrypoint take their value after = only; one word on, it is the program.
        raise Refusal(f"shifter: {given.rest[0]}: Permission denied", 127)
    return accept(
        "shifter",
        given.rest,
        image=f"{kind}:{tag}",
        mounts=volumes(";".join(given.all("volume")) or inherited),
        env=dict(text.split("=", 1) for text in given.all("env")),
        workdir=given.last("workdir"),
        entrypoint=given.last("entrypoint", "") or given.has("entrypoint"),
        modules=modules(chosen, environ),
        clearenv=given.has("clearenv"),
    )


def main(argv: list[str], environ: Mapping[str, str]) -> int:
    """Be shifter."""
    return guard(_body, argv, environ)


if __name__ == "__main__":
    run(main)
