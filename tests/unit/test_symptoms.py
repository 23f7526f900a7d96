"""Messages as the runtimes printed them, and what is said about each."""

from __future__ import annotations

import pytest

from hpcjobs import symptoms


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("FATAL:   stat /nosuch: no such file or directory", "not in the image"),
        ('FATAL:   "nosuch": executable file not found in $PATH', "not in the image"),
        (
            "ch-run[23264]: error: can't execve(2): nosuch: No such file or directory (ch_core.c:410 2)",
            "not in the image",
        ),
        (
            "Error: crun: executable file `nosuch` not found in $PATH: No such file or directory: OCI",
            "not in the image",
        ),
        (
            "FATAL:   container creation failed: mount hook function failure: mount /nonexist->/nonexist error: while "
            "mounting /nonexist: mount source /nonexist doesn't exist",
            "not on the node",
        ),
        ("ch-run[23269]: error: can't bind: source not found: /nonexist (ch_core.c:104)", "not on the node"),
        (
            "FATAL:   While checking container encryption: could not open image /nosuch.sif: failed to retrieve path for "
            "/nosuch.sif: lstat /nosuch.sif: no such file or directory",
            "all of them see",
        ),
        (
            "ch-run[23266]: error: can't stat: /nosuch.sqfs: No such file or directory (ch_core.c:255 2)",
            "all of them see",
        ),
        ("touch: /x: Read-only file system", "--writable"),
        ("Could not locate the container application: nosuch", "image inspect"),
        (
            "FATAL:   While checking container encryption: required option --passphrase or --pem-path missing",
            "--image-key",
        ),
        (
            "image driver squashfuse_ll instance exited with error: fuse: failed to open /dev/fuse: Permission denied",
            "image convert",
        ),
        ("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /app)", "newer system"),
        ("sh: /app: Exec format error", "another CPU"),
        ("write error: No space left on device", "a disk is full"),
    ],
)
def test_what_helps(line: str, words: str) -> None:
    assert words in symptoms.advice(["something before", line, "srun: error: n1: task 0: Exited with exit code 1"])


def test_nothing_is_said_of_what_is_not_known() -> None:
    assert symptoms.advice(["reading in.nml", "no such file: in.nml"]) == ""
