"""Errors of files that are written, for images, which fill disks."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hpcjobs.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextmanager
def storing(folder: Path) -> Generator[None, None, None]:
    """Errors of what is written below a folder, as of hpcjobs.

    Raises:
        StoreError: names the folder, and its free space in bytes if that is what it lacks.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StoreError(
                f"{error.filename or folder} cannot be written: {error.strerror}", hint=f"see: ls -ld {folder}"
            ) from None
        try:
            free = f"{shutil.disk_usage(folder).free / 1e9:.1f} GB free"
        except OSError:
            free = "free space unknown"
        raise StoreError(
            f"no space left in {folder} ({free}): {error.strerror}",
            hint="your quota may be less than what is free: remove what is old there, or choose another folder",
        ) from None
