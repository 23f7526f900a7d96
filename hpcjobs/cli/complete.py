"""What the shell offers after a Tab."""

from __future__ import annotations

GROUPS = ("last", "active", "failed", "all")
# More than a screen of jobs helps nobody.
_MOST = 50


def jobs(incomplete: str) -> list[str]:
    """Selectors that begin so: the newest jobs and studies, and the groups. Asks no scheduler."""
    from hpcjobs.service import Service

    service = Service()
    labels = [record.label for record in service.history(limit=_MOST)]
    if "s".startswith(incomplete[:1]):
        labels += [study.label for study in service.store.studies()][: -_MOST - 1 : -1]
    return [word for word in (*labels, *GROUPS) if word.startswith(incomplete)]


def studies(incomplete: str) -> list[str]:
    """Studies that begin so, the newest first."""
    from hpcjobs.service import Service

    labels = [study.label for study in Service().store.studies()][: -_MOST - 1 : -1]
    return [word for word in ("last", *labels) if word.startswith(incomplete)]


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
