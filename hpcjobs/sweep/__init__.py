"""Parameter studies: points out of designs, the script that runs them, their states and results.

    from hpcjobs import Job
    from hpcjobs.sweep import Grid, Study, StudySpec

    job = Job(image="app.sif", command=("solve", "--re", "{re}"))
    study = Study.submit(StudySpec(job=job, design=Grid({"re": [100, 200]}), results=("out.json",)))
    for point in study.tell():
        print(point.parameters, point.state, point.results)

The names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcjobs.sweep.design import Chain, Grid, LatinHypercube, Product, Random, Sobol, Table, Zip, ZipOf
    from hpcjobs.sweep.distributions import parse_distribution
    from hpcjobs.sweep.spec import StudySpec
    from hpcjobs.sweep.study import Study, Told

_DESIGNS = ("Chain", "Grid", "LatinHypercube", "Product", "Random", "Sobol", "Table", "Zip", "ZipOf")
_HOMES = {
    **dict.fromkeys(_DESIGNS, "hpcjobs.sweep.design"),
    "Study": "hpcjobs.sweep.study",
    "StudySpec": "hpcjobs.sweep.spec",
    "Told": "hpcjobs.sweep.study",
    "parse_distribution": "hpcjobs.sweep.distributions",
}

__all__ = [
    "Chain",
    "Grid",
    "LatinHypercube",
    "Product",
    "Random",
    "Sobol",
    "Study",
    "StudySpec",
    "Table",
    "Told",
    "Zip",
    "ZipOf",
    "parse_distribution",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpcjobs.sweep' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
