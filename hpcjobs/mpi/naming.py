"""Which MPI a library is, and which version, by the text in its bytes: in a host and in an image alike.

The patterns were found by reading MPICH 3.4 to 5.0, Open MPI 4.1 and 5.0 and Intel MPI 2021, as distributions and
wheels have them; those of Cray MPICH and MVAPICH are from their documentation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmap import mmap

    from hpcjobs.mpi.facts import Family

    Text = bytes | mmap

NUMBER = re.compile(rb"\0v?([1-9]\d{0,3}\.\d{1,2}(?:\.\d{1,2})?(?:rc\d+|[ab]\d+)?)\0")
# MPICH keeps its ABI's version, its date and its version beside each other.
_MPICH = re.compile(rb"\0\d+:\d+:\d+\0+[^\0]{8,60}\0+(\d+\.\d+[\w.]*)\0")
_SOURCE = re.compile(rb"/mpich-(\d+\.\d+[\w.]*)/src/")  # file names of its assertions
_FILLED = re.compile(rb"MPICH Version:\s*(\d+\.\d+[\w.]*)")
_PRODUCTS: tuple[tuple[str, bytes, tuple[re.Pattern[bytes], ...]], ...] = (
    ("Intel MPI", b"Intel(R) MPI Library", (
        re.compile(rb"Intel\(R\) MPI Library (?:%s for Linux\* OS\s*\0)?(20\d\d(?:\.\d+)+)"),
        re.compile(rb"\0(20\d\d\.\d+(?:\.\d+)?)\0"),
    )),
    ("Cray MPICH", b"CRAY MPICH", (re.compile(rb"CRAY MPICH version (\d+\.\d+[\w.]*)"),)),
    ("MVAPICH", b"MVAPICH", (re.compile(rb"MVAPICH2?(?:-\w+)? [Vv]ersion\s*:?\s*(\d+\.\d+[\w.]*)"), _MPICH, _SOURCE)),
    ("Open MPI", b"Open MPI v", (
        re.compile(rb"Open MPI v(\d+\.\d+\.\d+\w*)"),
        # The help of mpi_show_mca_params_file. What stands alone may be the version of its PMIx.
        re.compile(rb" tells (?:Open MPI )?v?(\d+\.\d+\.\d+\w*) to dump "),
        NUMBER,
    )),
    ("MPICH", b"MPICH", (_FILLED, _MPICH, _SOURCE, NUMBER)),
)  # fmt: skip


def named(data: Text, family: Family) -> tuple[str, str]:
    """Product and version of a library of that family, as its bytes tell; the version is empty where they do not."""
    for product, mark, patterns in _PRODUCTS:
        if data.find(mark) >= 0 and (family == "abi" or (product == "Open MPI") == (family == "openmpi")):
            version = next((match[1] for pattern in patterns if (match := pattern.search(data))), b"")
            return product, version.decode()
    return {"openmpi": "Open MPI", "mpich": "MPICH", "abi": ""}[family], ""
