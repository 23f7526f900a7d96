"""What the shell offers after a Tab."""

from __future__ import annotations

GROUPS = ("last", "active", "failed", "all")
# More than a screen of jobs helps nobody.
_MOST = 50


def jobs(incomplete: str) -> list[str]:
    """Selectors that begin so: the newest jobs, and the groups. Asks no scheduler."""
    from hpcjobs.service import Service

    labels = [record.label for record in Service().history(limit=_MOST)]
    return [word for word in (*labels, *GROUPS) if word.startswith(incomplete)]


def sites(incomplete: str) -> list[str]:
    """Names of sites that begin so."""
    from hpcjobs import site

    return sorted({found.name for found in site.available() if found.name.startswith(incomplete)})


def shells(incomplete: str) -> list[str]:
    """Shells there is completion for."""
    return [shell for shell in ("bash", "zsh", "fish") if shell.startswith(incomplete)]


def targets(incomplete: str) -> list[str]:
    """What `translate` writes."""
    from hpcjobs.translate import TARGETS

    return [name for name in TARGETS if name.startswith(incomplete)]


def dialects(incomplete: str) -> list[str]:
    """The dialects of PBS that `translate` writes."""
    from hpcjobs.translate import DIALECTS

    return [name for name in DIALECTS if name.startswith(incomplete)]
