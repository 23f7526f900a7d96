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


def advice(lines: Iterable[str]) -> str:
    """What helps against the first symptom in the lines; empty if none is known."""
    text = "\n".join(lines)
    return next((help_ for pattern, help_ in _SYMPTOMS if re.search(pattern, text)), "")
