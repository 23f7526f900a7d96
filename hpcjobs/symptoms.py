"""What runtimes and MPI say when something is wrong, and what helps: matched against the last lines of a failed job.

The messages were seen from Apptainer 1.4.5, ch-run 0.31, Podman 4.3 and MPICH 4.0 on Debian 12.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_SYMPTOMS: tuple[tuple[str, str], ...] = (
    (
        r"user namespace.*(disabled|not permitted|failed|exceeded)|can't init user\+mount namespaces"
        r"|cannot clone: (Operation|No space)",
        "containers of ordinary users are switched off on that node (user namespaces): tell the support staff",
    ),
    (r"/dev/fuse: Permission denied", "/dev/fuse is closed on that node; a folder needs none: hpcjob image convert"),
    (
        r"mount source (\S+) doesn't exist|can't bind: source not found: (\S+)",
        "that folder is not on the node: bind one that nodes see, or leave out --bind",
    ),
    (
        r"could not open image|can't stat: \S+: No such file",
        "the image is not there on one of the nodes: keep it on a file system that all of them see",
    ),
    (r"--passphrase or --pem-path missing", "the image is encrypted: --image-key FILE"),
    (
        r"server gave HTTP response to HTTPS client",
        "that registry speaks plain http: the support staff can allow it in registries.conf",
    ),
    (r"Password incorrect|failed to decrypt|unable to decrypt", "the key does not open the image: --image-key"),
    (r"failed to set working directory", "the image has no such folder: --container-workdir"),
    (r"Could not locate the container application", "hpcjob image inspect tells the apps of the image"),
    (r"[Ee]xec format error", "the image or the program is made for another CPU: hpcjob image inspect"),
    (r"version `GLIBC_[\d.]+' not found", "the program or a library needs a newer system than the image: rebuild it"),
    (
        r"executable file (\S+ )?not found in \$PATH|can't execve\(2\): \S+: No such file"
        r"|FATAL: +stat \S+: no such file",
        "the program is not in the image under that name: give its path inside",
    ),
    (r"[Rr]ead-only file system", "the image cannot be written to: write to a bound folder, or add --writable"),
    (r"No space left on device", "a disk is full there: quota, /tmp of the node, or the --writable layer (64 MB)"),
)


# What the batch script itself ends with, before the program began (docs/reference/templates.md), and what helps.
_OF_SCRIPT = {
    65: "submit it again; or let it run all the same: --image-changed warn",
    66: "keep it on a file system that the nodes see",
    69: "the lines above tell more",
    76: "hpcjob mpi plan tells what was planned, why, and which other ways there are (--mpi)",
    78: "hpcjob mpi host --check tells what has changed, and hpcjob mpi host -o FILE writes the lock file anew",
    72: "was the folder removed, or is it on a file system that the nodes do not see?",
}


def of_script(code: int | None, lines: Iterable[str]) -> tuple[str, str] | None:
    """Why the script ended before the program began, in words, and what helps; None if it did not."""
    told = [line.partition("hpcjob: ")[2] for line in lines if line.startswith("hpcjob: ")]
    said = [text for text in told if not text.startswith("warning:")]
    if code not in _OF_SCRIPT or not said:
        return None
    return f"it ended before the program began: {said[-1]}", _OF_SCRIPT[code]


def service_log(text: str) -> str:
    """The log of the service that a message is about, in the job's folder; empty if it is about none."""
    match = re.search(r"\bservice (\w+) (?:ended|did|was) ", text)
    return f"service-{match[1]}.log" if match else ""


def advice(lines: Iterable[str]) -> str:
    """What helps against the first symptom in the lines; empty if none is known."""
    text = "\n".join(lines)
    return next((help_ for pattern, help_ in _SYMPTOMS if re.search(pattern, text)), "")
