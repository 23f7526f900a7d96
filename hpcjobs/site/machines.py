"""The table of the machines that come with hpcjob, made from their site files.

`python -m hpcjobs.site.machines docs/reference` writes it again; a test says when that is due.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hpcjobs import paths
from hpcjobs.site.loading import load

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hpcjobs.model import Site

_SCHEDULERS = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF"}
_LIVE = (
    "--site",
    "machine",
    "scheduler",
    "launcher",
    "containers",
    "GPUs a node",
    "recognised by",
    "checked",
    "undocumented",
)
_GONE = ("--site", "machine", "retired", "scheduler", "checked", "undocumented")
_GENERATED = "<!-- Written by `python -m hpcjobs.site.machines docs/reference`; edit the site files. -->"


def machines() -> list[Site]:
    """The built-in sites of real machines, by name: those whose values come from documents."""
    files = sorted(paths.packaged("sites").glob("[!_]*.yaml"))
    return [site for site in (load(file=str(file)).site for file in files) if site.sources]


def reference() -> str:
    """docs/reference/machines.md."""
    sites = machines()
    return "\n\n".join(
        [
            "# Machines",
            _GENERATED,
            _CLAIM,
            _table(_LIVE, (_live(site) for site in sites if not site.retired)),
            _LEGEND,
            _WRONG,
            "## Retired",
            _RETIRED,
            _table(_GONE, (_gone(site) for site in sites if site.retired)),
        ]
    ) + "\n"  # fmt: skip


_CLAIM = """\
hpcjob brings a file for each of these machines. On one that it recognises you type nothing; elsewhere `hpcjob submit
--dry-run --site lumi …` shows the script that would go there. `hpcjob site show lumi --origin` shows each value.

**None of these files was tried on its machine by us.** They were written from the documents that stand under
`sources` in each, as those were on the day under *checked*; where only copies of a page could be read, the file says
so. The scripts that come of them were compared by eye with the machines' documented ones
([what differs, and why](../../tests/golden/sites/lumi/REVIEW.md), here LUMI's), and bash and shellcheck read them.
For machines with Slurm a real Slurm 22.05 with partitions like those in the file says to each script that it would
take it (`sbatch --test-only`), options of the machine's own plug-ins left out; for PBS and LSF there is no such
test. None of that shows a job running. So begin with a small one, and with
`hpcjob site validate NAME`, which on the machine compares the file with the scheduler."""
_LEGEND = """\
*Launcher* and *containers*: the preferred first. *Recognised by*: what tells hpcjob that it is there; the cluster is
the name that the scheduler's configuration gives it. *Undocumented*: how many entries `unverified` has, values that
no document backs; one may stand for a whole section, and `site show --origin` marks all of them."""
_WRONG = """\
**Something is wrong?** Tell us, with the machine's document if there is one: an issue, or a change of
`site-configs/NAME.yaml` ([how](../../CONTRIBUTING.md)). Until then [a file of your own that extends
it](../how-to/add-a-site.md#change-one-that-is-known) says what is right; it wins over the built-in one. A machine
that is not here: [add your site](../how-to/add-a-site.md)."""
_RETIRED = """\
They are switched off, or were to be by that day, and are not recognised. `submit --dry-run --site NAME` still writes
their scripts, to look at and to translate; nothing is submitted."""


def _live(site: Site) -> tuple[str, ...]:
    return (
        f"`{site.name}`",
        site.description,
        _scheduler(site),
        ", ".join(_launchers(site)),
        ", ".join(runtime.kind for runtime in site.runtimes) or "none",
        _gpus(site),
        _detection(site),
        site.checked,
        str(len(site.unverified)),
    )


def _gone(site: Site) -> tuple[str, ...]:
    return (
        f"`{site.name}`", site.description, site.retired, _scheduler(site), site.checked, str(len(site.unverified))
    )  # fmt: skip


def _scheduler(site: Site) -> str:
    kind = site.scheduler.kind
    return _SCHEDULERS.get(kind, kind)


def _launchers(site: Site) -> list[str]:
    kinds = (site.launcher.kind, *(one.kind for one in site.launchers))
    return list(dict.fromkeys(kind for kind in kinds if kind not in ("auto", "none"))) or ["none"]


def _gpus(site: Site) -> str:
    if site.gpu.kind == "none":
        return "none"
    counts = sorted({partition.node.gpus for partition in site.partitions.values() if partition.node.gpus})
    return " ".join(filter(None, (" or ".join(map(str, counts)), site.gpu.kind)))


def _detection(site: Site) -> str:
    if site.detect is None:
        return "its name only"
    found = [f"`${name}`" for name in site.detect.env]
    found += ["host name"] if site.detect.hostname else []
    found += ["cluster"] if site.detect.cluster else []
    found += [f"`{site.detect.file}`"] if site.detect.file else []
    found += [f"`{site.detect.command}` on PATH"] if site.detect.command else []
    return ", ".join(found)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(heads), "|".join("-" * len(heads))]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" if index != 1 else f"|{line}|" for index, line in enumerate(lines))


if __name__ == "__main__":
    (Path(sys.argv[1]) / "machines.md").write_text(reference(), "utf-8")
