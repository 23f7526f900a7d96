"""`hpcjob site`: the machines there are site files for."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcjobs.cli import out
from hpcjobs.errors import UsageError
from hpcjobs.units import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hpcjobs.cli.options import Json, Origin, SchemaKind, SiteArgument, SiteFile, SiteFiles
    from hpcjobs.site import LoadedSite, Problem

_COLOURS = {"error": "red", "warning": "yellow", "advice": "cyan"}


def list_(*, json: Json = False) -> int:
    """List the sites there are, and which file each comes from."""
    from hpcjobs import site as sites

    found = sites.available()
    if json:
        out.dump(
            sites=[
                {
                    "name": one.name,
                    "description": one.description,
                    "origin": one.who,
                    "file": str(one.path),
                    "shadowed": one.shadowed,
                    "problem": one.problem or None,
                }
                for one in found
            ]
        )
        return 0
    rows = [(one.name, one.who + (", shadowed" if one.shadowed else ""), one.problem or one.description) for one in found]
    out.table(("NAME", "ORIGIN", "DESCRIPTION"), rows, ["red" if one.problem else "" for one in found])
    return 0


def show(name: SiteArgument = "", *, site_file: SiteFile = "", origin: Origin = False, json: Json = False) -> int:
    """Show a site with all that it inherits, as one YAML file; --origin says which file set each value."""
    from hpcjobs import site as sites

    loaded = sites.choose(name, site_file)
    if json:
        settings = [{"path": s.path, "value": s.value, "origin": s.origin} for s in loaded.settings]
        out.dump(name=loaded.site.name, file=str(loaded.file), origin=loaded.who, settings=settings)
    elif origin:
        rows = [(s.path, json_module.dumps(s.value, ensure_ascii=False), s.origin) for s in loaded.settings]
        out.table(("VALUE OF", "IS", "SET BY"), [row for row in rows if row[2] != "default"])
    else:
        out.say(f"# {loaded.file}")
        out.say(loaded.to_yaml().rstrip("\n"))
    return 0
