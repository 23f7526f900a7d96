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


@pytest.mark.parametrize(
    ("code", "said", "help_"),
    [
        (65, "the image /i/app.sif was changed since the submission on node n1", "--image-changed warn"),
        (66, "no image /i/app.sif on node n1", "a file system that the nodes see"),
        (69, "service db did not start on node n1", "the lines above tell more"),
        (72, "no folder /w on node n1", "was the folder removed"),
    ],
)
def test_what_the_script_itself_ended_with(code: int, said: str, help_: str) -> None:
    lines = ["from a module", "hpcjob: warning: something else", f"hpcjob: {said}", "hpcjob: warning: and more"]
    found = symptoms.of_script(code, lines)
    assert found
    assert found[0] == f"it ended before the program began: {said}"
    assert help_ in found[1]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (1, "hpcjob: there is no image /i/app.sif on node n1"),
        (None, "hpcjob: there is no image /i/app.sif on node n1"),
        (66, "the program's own: no input"),
        (66, "hpcjob: warning: the image /i/app.sif was changed since the submission"),
    ],
)
def test_a_program_may_end_with_the_same_code(code: int | None, line: str) -> None:
    assert symptoms.of_script(code, [line]) is None


def test_the_log_of_a_service_that_did_not_start() -> None:
    assert symptoms.service_log("service db ended before it was ready on node n1") == "service-db.log"
    assert symptoms.service_log("no image /i/app.sif on node n1") == ""
