"""The table of machines in the documentation is what their site files say."""

from __future__ import annotations

import re
from pathlib import Path

from hpcjobs.model import DetectConfig, GpuConfig, LauncherConfig, NodeShape, Partition, Site
from hpcjobs.site import machines
from tests.golden import test_sites as golden

PAGE = Path(__file__).parents[2] / "docs/reference/machines.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text("utf-8") == machines.reference(), "stale; run: python -m hpcjobs.site.machines docs/reference"


def test_each_machine_has_one_line_and_no_other_file_has() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", machines.reference(), re.MULTILINE)
    assert sorted(rows) == golden.names()


def test_retired_machines_stand_apart() -> None:
    live, _, gone = machines.reference().partition("## Retired")
    assert "| `lumi` |" in live
    assert "Frontier came after it" in gone
    assert "| `summit` |" not in live


def test_a_line_tells_what_the_file_says() -> None:
    site = Site(
        name="ada",
        description="Ada | of old",
        launcher=LauncherConfig(kind="auto"),
        launchers=(LauncherConfig(kind="mpirun"), LauncherConfig(kind="none")),
        gpu=GpuConfig(kind="amd"),
        partitions={"a": Partition(node=NodeShape(gpus=8)), "b": Partition(node=NodeShape(gpus=4)), "c": Partition()},
        detect=DetectConfig(hostname="ada.*", env={"CENTRE": "ada"}),
        checked="2026-11-22",
        unverified=("scratch",),
    )
    assert machines._live(site) == (
        "`ada`", "Ada | of old", "local", "mpirun", "none", "4 or 8 amd", "`$CENTRE`, host name", "2026-11-22", "1"
    )  # fmt: skip
    assert "Ada \\| of old" in machines._table(("a",), [("Ada | of old",)])
