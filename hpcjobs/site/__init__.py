"""Site files (stand-in)."""

from __future__ import annotations

from hpcjobs.site.loading import LoadedSite, load


def choose(name: str = "", file: str = "") -> LoadedSite:
    """Stand-in."""
    return load(name or ("" if file else "testbed"), file)
