"""The JSON that `--json` prints, as JSON schemas (draft 2020-12): docs/reference/json/ is made from this.

Within version 1 keys are only added. Times are ISO 8601 in UTC, durations seconds, null what is not known.
"""

from __future__ import annotations

from typing import Any

from hpcjobs.cli.out import JSON_VERSION
from hpcjobs.record import JobState

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
STATE: Schema = {"enum": [state.value for state in JobState]}


def _or_null(schema: Schema) -> Schema:
    kinds = schema["type"]
    return {**schema, "type": [*([kinds] if isinstance(kinds, str) else kinds), "null"]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


ID: Schema = {"type": "string", "pattern": "^j[0-9]+$"}
STUDY_ID: Schema = {"type": "string", "pattern": "^s[0-9]+$"}
ANY_ID: Schema = {"type": "string", "pattern": r"^(j[0-9]+|s[0-9]+(\[[0-9]+\])?)$"}
TIME = _or_null({"type": "string", "format": "date-time", "pattern": "Z$"})
SECONDS = _or_null({"type": "number", "minimum": 0})
WORD = _or_null(TEXT)

ERROR = _object(message=TEXT, hint=TEXT, code=NUMBER)

JOB = _object(
    id=ID,
    native_id=WORD,
    name=TEXT,
    state=STATE,
    final=FLAG,
    scheduler_state=WORD,
    reason=WORD,
    exit_code=_or_null(NUMBER),
    signal=_or_null(NUMBER),
    study=_or_null(STUDY_ID),
    site=TEXT,
    scheduler=TEXT,
    partition=WORD,
    nodes=NUMBER,
    ntasks=NUMBER,
    node_list=WORD,
    time_limit=SECONDS,
    elapsed=SECONDS,
    restarts=NUMBER,
    array=WORD,
    tasks=_or_null(_object(states=_map(TEXT), exit_codes=_map(NUMBER))),
    created=TIME,
    submitted=TIME,
    started=TIME,
    ended=TIME,
    seen=TIME,
    image=WORD,
    image_digest=WORD,
    command=_list(TEXT),
    workdir=TEXT,
    folder=TEXT,
    output=TEXT,
    error=TEXT,
)
FAILURE = _or_null(_object(words=TEXT, advice=TEXT, tail=_list(TEXT), file=WORD))
SHOWN = _object(**JOB["properties"], script=TEXT, plan=_or_null({"type": "object"}), failure=FAILURE)
PROBLEM = _object(
    level={"enum": ["error", "warning", "advice"]},
    path=WORD,
    message=TEXT,
    hint=WORD,
    file=WORD,
    line=_or_null(NUMBER),
)
EXPLANATION = _object(id=ANY_ID, state=TEXT, reason=WORD, words=TEXT, advice=WORD, expected_start=TIME)
OUTCOME = _object(id=ID, state=STATE, problem=WORD)
FINDING = _object(level={"enum": ["ok", "warning", "error"]}, subject=TEXT, message=TEXT, hint=TEXT)
SITE = _object(name=TEXT, description=TEXT, origin=TEXT, file=TEXT, shadowed=FLAG, problem=WORD)
MATCH = _object(name=TEXT, matches=FLAG, origin=TEXT, file=TEXT, why=TEXT)
SETTING = _object(path=TEXT, value={}, origin=TEXT, verified=FLAG)
# What the scheduler does not tell is null; `start` and `refused` are about a request.
PARTITION = _object(
    name=TEXT,
    default=FLAG,
    state=WORD,
    nodes=_or_null(NUMBER),
    idle=_or_null(NUMBER),
    mixed=_or_null(NUMBER),
    free_cores=_or_null(NUMBER),
    gpus=_or_null(NUMBER),
    free_gpus=_or_null(NUMBER),
    max_time=SECONDS,
    start=TIME,
    start_nodes=WORD,
    refused=WORD,
)
NOTE = _object(line=NUMBER, text=TEXT, kind={"enum": ["lost", "near"]}, advice=TEXT)
TEMPLATE = _object(name=TEXT, origin=TEXT, file=TEXT)

LIBRARY = _object(name=TEXT, path=TEXT, family=TEXT)
# Empty is what is not known; `notes` says why.
IMAGE = _object(
    path=TEXT,
    format=TEXT,
    arch=TEXT,
    os=TEXT,
    size=NUMBER,
    digest=TEXT,
    created=TEXT,
    labels=_map(TEXT),
    environment=_map(TEXT),
    entrypoint=TEXT,
    cmd=TEXT,
    workdir=TEXT,
    runscript=FLAG,
    apps=_list(TEXT),
    encrypted=FLAG,
    signatures=_list(_map(TEXT)),
    mpi=_list(LIBRARY),
    gpu=_list(LIBRARY),
    fabric=_list(LIBRARY),
    libc=TEXT,
    libc_version=TEXT,
    notes=_list(TEXT),
)
# A value of a parameter or a result; of infinity and NaN JSON has no numbers, and they are null.
VALUE: Schema = {"type": ["string", "number", "boolean", "null"]}
STUDY = _object(
    id=STUDY_ID,
    name=TEXT,
    state={"enum": ["unsent", "pending", "running", "stopped", "done", "ended"]},
    points=NUMBER,
    states=_map(NUMBER),
    parameters=_list(TEXT),
    pack=NUMBER,
    workers=NUMBER,
    site=TEXT,
    rate={"type": "number"},
    jobs=_list(ID),
    rounds=_list(_object(why=TEXT, points=TEXT, created=TIME)),
    seed=NUMBER,
    created=TIME,
    folder=TEXT,
    workdir=TEXT,
    command=_list(TEXT),
)
POINT = _object(
    id=ANY_ID,
    point=NUMBER,
    state={"enum": ["unsent", *(state.value for state in JobState if state is not JobState.CREATED)]},
    final=FLAG,
    exit_code=_or_null(NUMBER),
    seconds=SECONDS,
    attempts=NUMBER,
    job=_or_null(ID),
    task=_or_null(NUMBER),
    parameters=_map(VALUE),
    log=TEXT,
    folder=TEXT,
)
SUMMARY = _object(
    parameter=WORD,
    value=WORD,
    points=NUMBER,
    states=_map(NUMBER),
    failures=NUMBER,
    median=SECONDS,
    mean=SECONDS,
    longest=SECONDS,
)
SWEEP_PLAN = {
    "points": NUMBER,
    "jobs": NUMBER,
    "tasks": NUMBER,
    "node_hours": SECONDS,
    "notes": _list(TEXT),
    "sample": _list(_map(VALUE)),
    "script": TEXT,
    "point_script": TEXT,
}

KEPT = _object(path=TEXT, source=TEXT, digest=TEXT, size=NUMBER, pulled=TIME, by=TEXT)
REMOVED = _object(path=TEXT, size=NUMBER, problem=TEXT)

INTERFACE = _object(role=TEXT, soname=TEXT, path=TEXT, family=TEXT)
FOLDER = _object(path=TEXT, variables=_list(TEXT), same_place=FLAG, needs=_map(TEXT), digest=TEXT)
HOST_MPI = _object(
    name=TEXT,
    family=TEXT,
    product=TEXT,
    version=TEXT,
    prefix=TEXT,
    modules=_list(TEXT),
    found=_list(TEXT),
    interfaces=_list(INTERFACE),
    exports=_list(TEXT),
    abi_exports=_list(TEXT),
    libraries=_list(TEXT),
    optional=_list(TEXT),
    folders=_list(FOLDER),
    env=_map(TEXT),
    gpu_libraries=_map(TEXT),
    wires=_list(TEXT),
)
MPI_HOST = _object(
    made={"type": "string", "format": "date-time", "pattern": "Z$"},
    node=TEXT,
    arch=TEXT,
    glibc=TEXT,
    fabric=TEXT,
    devices=_list(TEXT),
    launchers=_list(
        _object(kind=TEXT, command=TEXT, flavour=TEXT, version=TEXT, types=_list(TEXT), default=TEXT, mpi=TEXT)
    ),
    mpis=_list(HOST_MPI),
    libraries=_list(
        _object(name=TEXT, path=TEXT, size=NUMBER, build_id=TEXT, build_at=NUMBER, sha256=TEXT, needs=_map(TEXT))
    ),
    data=_list(TEXT),
    notes=_list(TEXT),
)
CHANGE = _object(what=TEXT, text=TEXT, mpis=_list(TEXT))
PROGRAM = _object(
    path=TEXT,
    where={"enum": ["image", "host"]},
    kind={"enum": ["program", "python", "script", "missing"]},
    needed=_list(TEXT),
    symbols=_list(TEXT),
    rpath=_list(TEXT),
    static=FLAG,
    family=TEXT,
    libc=TEXT,
    either=FLAG,
)
MPI_IMAGE = _object(
    path=TEXT,
    arch=TEXT,
    libc=TEXT,
    libc_version=TEXT,
    provides=_map(TEXT),
    mpis=_list(_object(family=TEXT, product=TEXT, version=TEXT, soname=TEXT, path=TEXT, wires=_list(TEXT), ucx=FLAG)),
    mpirun=TEXT,
    libfabric=TEXT,
    ucx=TEXT,
    pmix=TEXT,
    pmi2=FLAG,
    gpu=_list(TEXT),
    ld_library_path=TEXT,
    program=_or_null(PROGRAM),
    notes=_list(TEXT),
)
CANARY = _object(arch=TEXT, soname=TEXT, loader=TEXT, family=TEXT, rpath=TEXT, runpath=TEXT, pattern=TEXT, planned=TEXT)
# Where no ranks look for each other, `mode` is empty, and so is the rest.
MPI_PLAN = _object(
    mode={"enum": ["", "bind", "hybrid", "site", "translate", "container", "none"]},
    type=TEXT,
    why=TEXT,
    host=TEXT,
    others=_map(TEXT),
    advice=_list(TEXT),
    warnings=_list(TEXT),
    folder=TEXT,
    links=_map(TEXT),
    checks=_list(TEXT),
    binds=_list(_object(source=TEXT, target=TEXT, readonly=FLAG, expand=FLAG, optional=FLAG)),
    env=_map(TEXT),
    canary=_or_null(CANARY),
    launch=_list(_list(TEXT)),
    proven=TEXT,
    alone=FLAG,
)

KERNEL = _object(name=TEXT, title=TEXT, folder=TEXT, language=TEXT, image=TEXT, runtime=TEXT, site=TEXT)
# Why it does not start here; empty if it does.
CHECKED_KERNEL = _object(**KERNEL["properties"], problem=TEXT)
_APP = {"job": ID, "host": TEXT, "port": NUMBER, "address": TEXT, "tunnel": TEXT, "token": TEXT}

_JOBS = {"jobs": _list(JOB)}
_SCRIPT: dict[str, Schema] = {"script": TEXT, "template": TEXT, "plan": {"type": "object"}}
_OUTCOMES = {"jobs": _list(OUTCOME)}
_STUDIES = {"studies": _list(STUDY)}
_POINTS = {**_STUDIES, "points": _list(POINT)}
OUTPUTS: dict[str, dict[str, Schema]] = {
    "submit": _JOBS,
    "resubmit": _JOBS,
    "status": _JOBS,
    "history": _JOBS,
    "wait": _JOBS,
    "show": {"jobs": _list(SHOWN)},
    "render": _SCRIPT,
    "sweep-run": _STUDIES,
    "sweep-list": _STUDIES,
    "sweep-show": _STUDIES,
    "sweep-results": {"study": STUDY_ID, "columns": _map(_list(VALUE))},
    "sweep-summary": {"study": STUDY_ID, "summary": _list(SUMMARY)},
    "sweep-extend": _STUDIES,
    "sweep-resume": _STUDIES,
    "translate": {
        "script": TEXT,
        "source": {"enum": ["slurm", "pbs"]},
        "target": {"enum": ["slurm", "openpbs", "torque"]},
        "notes": _list(NOTE),
    },
    "wrap": {"files": _list(TEXT)},
    "module": {"files": _list(TEXT)},
    "kernel-install": {"kernel": KERNEL},
    "kernel-list": {"folder": TEXT, "kernels": _list(KERNEL)},
    "kernel-check": {"kernels": _list(CHECKED_KERNEL)},
    "kernel-remove": {"removed": _list(TEXT)},
    "jupyter": _APP,
    "serve": _APP,
    "explain": {"explanations": _list(EXPLANATION)},
    "cancel": _OUTCOMES,
    "hold": _OUTCOMES,
    "release": _OUTCOMES,
    "requeue": _OUTCOMES,
    "doctor": {"findings": _list(FINDING)},
    "site-list": {"sites": _list(SITE)},
    "site-detect": {"sites": _list(MATCH)},
    "site-partitions": {"site": TEXT, "partitions": _list(PARTITION)},
    "site-show": {"name": TEXT, "file": TEXT, "origin": TEXT, "settings": _list(SETTING)},
    "site-init": {"name": TEXT, "file": TEXT, "unanswered": _list(TEXT)},
    "site-validate": {"checked": _list(TEXT), "compared": _list(TEXT), "problems": _list(PROBLEM)},
    "image-inspect": {"image": IMAGE},
    "image-pull": {"path": TEXT, "digest": TEXT},
    "image-convert": {"path": TEXT},
    "image-verify": {"path": TEXT, "said": TEXT},
    "image-sign": {"path": TEXT},
    "image-list": {"folder": TEXT, "images": _list(KEPT)},
    "image-prune": {"removed": _list(REMOVED)},
    "mpi-host": {"host": MPI_HOST},
    "mpi-image": {"image": MPI_IMAGE},
    "mpi-plan": {"mpi": MPI_PLAN, "site": TEXT},
    "template-list": {"templates": _list(TEMPLATE)},
    "template-check": {"checked": _list(TEXT), "problems": _list(TEXT)},
}
# What a verb prints instead: with some options (--check, --on-node, --dry-run), of studies, of points.
_INSTEAD: dict[str, tuple[dict[str, Schema], ...]] = {
    "mpi-host": ({"lock": TEXT, "changes": _list(CHANGE)}, _JOBS),
    "status": ({**_JOBS, **_STUDIES}, _STUDIES, _POINTS),
    "show": (_STUDIES, _POINTS),
    "wait": (_STUDIES,),
    "resubmit": (_STUDIES,),
    "cancel": ({"cancelled": _list(_object(study=STUDY_ID, points=_or_null(_list(NUMBER)))), "problems": _list(TEXT)},),
    "sweep-run": (SWEEP_PLAN,),
    "jupyter": (_JOBS, _SCRIPT),
    "serve": (_JOBS, _SCRIPT),
}
# They print what they know although a scheduler did not answer.
_PARTIAL = {
    "status",
    "show",
    "wait",
    "resubmit",
    "sweep-run",
    "sweep-list",
    "sweep-show",
    "sweep-extend",
    "sweep-resume",
}


def answers(output: str) -> list[dict[str, Schema]]:
    """The keys that `hpcjob OUTPUT --json` prints, one set or another."""
    return [OUTPUTS[output], *_INSTEAD.get(output, ())]


def schema(output: str) -> Schema:
    """The schema of what `hpcjob OUTPUT --json` prints: the answer, or an error (for some verbs, both)."""
    version = {"const": JSON_VERSION}
    printed = [_object(version=version, **keys) for keys in answers(output)]
    if output in _PARTIAL:
        for answer in printed:
            answer["properties"]["error"] = ERROR
    verb = output.replace("-", " ")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"hpcjob {verb} --json",
        "oneOf": [*printed, _object(version=version, error=ERROR)],
    }
