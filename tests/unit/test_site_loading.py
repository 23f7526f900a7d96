"""Finding, inheriting and checking site files."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from hpcjobs import launchers, paths, runtimes, schedulers, site
from hpcjobs.errors import NotFoundError, SiteError
from hpcjobs.model import LauncherConfig, NodeShape, Partition, RuntimeConfig, Site, restore
from hpcjobs.units import Duration, Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[..., Path]

BUILT_IN = sorted(path.stem for path in paths.packaged("sites").glob("*.yaml"))
KNOWN = site.Known(
    schedulers=schedulers.BUILT_IN,
    launchers=launchers.BUILT_IN,
    runtimes=runtimes.BUILT_IN,
    templates=("local", "slurm"),
)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a site file into a layer of the search order (user, project, environment)."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCJOBS_SITE_PATH", str(tmp_path / "environment"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    folders = {
        "user": tmp_path / "config/hpcjobs/sites",
        "environment": tmp_path / "environment",
        "project": tmp_path / "cwd/.hpcjobs/sites",
    }

    def make(name: str, text: str, layer: str = "user") -> Path:
        file = folders[layer] / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), "utf-8")
        return file

    return make


def refusal(name: str = "", file: str = "") -> tuple[str, str]:
    with pytest.raises(SiteError) as caught:
        site.load(name, file)
    return caught.value.message, caught.value.hint


# ---------------------------------------------------------------------------------- the built-in ones


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_site_has_no_fault(name: str) -> None:
    # A machine may have partitions of which no document says how large they are.
    assert [problem for problem in site.check(name, known=KNOWN) if problem.level != "advice"] == []


def test_the_test_cluster() -> None:
    testbed = site.load("testbed").site
    shape = NodeShape(cores=2, memory=Memory.parse("3000M"))
    assert testbed.partitions["debug"] == Partition(
        default=True, description="short jobs", max_time=Duration(3600), nodes=4, node=shape
    )
    assert testbed.partitions["gpu"].node == NodeShape(cores=2, memory=shape.memory, gpus=2, gpu_type="fake")
    assert testbed.launcher == LauncherConfig(kind="srun")
    assert testbed.runtimes == tuple(RuntimeConfig(kind=kind) for kind in ("charliecloud", "apptainer", "podman"))
    assert (testbed.scheduler.kind, testbed.scheduler.limits, testbed.mpi.default) == ("slurm", "site", "pmi2")


def test_the_test_cluster_is_as_its_script_makes_it() -> None:
    script = (Path(__file__).parents[1] / "cluster/slurm").read_text()
    testbed = site.load("testbed").site
    for name, partition in testbed.partitions.items():
        hosts = f"n[{5 - partition.nodes}-4]"
        default = " Default=YES" if partition.default else ""
        limit = str(partition.max_time).replace("01:00:00", "1:00:00")
        assert f"PartitionName={name} Nodes={hosts}{default} MaxTime={limit} State=UP\n" in script
        assert partition.node.memory
        assert f"CoresPerSocket={partition.node.cores} " in script
        assert f"RealMemory={partition.node.memory.mebibytes}'" in script
    assert "Gres=gpu:fake:2'" in script


# ---------------------------------------------------------------------------------------- inheritance


def test_mappings_merge_lists_replace_and_null_takes_away(write: Write) -> None:
    write("base", """
        description: the base
        detect: {command: sbatch}
        partitions:
          debug: {max_time: 30m, nodes: 4, node: {cores: 8}}
          long: {max_time: 1-0}
        modules: [gcc, openmpi]
        env: {A: "1", B: "2"}
        scratch: /scratch
    """)  # fmt: skip
    write("child", """
        extends: base
        partitions:
          debug: {max_time: 1h, node: {cores: null, gpus: 2}}
          long: null
        modules: [clang]
        env: {B: "3"}
        scratch:
    """)  # fmt: skip
    child = site.load("child").site
    assert child.partitions == {
        "debug": Partition(max_time=Duration(3600), nodes=4, node=NodeShape(gpus=2)),
    }
    assert child.modules == ("clang",)
    assert child.env == {"A": "1", "B": "3"}
    assert child.scratch == ""
    assert (child.name, child.description, child.detect) == ("child", "", None)


def test_each_value_tells_who_set_it(write: Write) -> None:
    base = write("base", "modules: [gcc]\npartitions:\n  debug:\n    max_time: 30m\n    nodes: 4\n")
    child = write("child", "extends: base\npartitions:\n  debug: {max_time: 1h}\n", layer="project")
    origins = site.load("child").origins
    assert {path: origin for path, origin in origins.items() if origin != "default"} == {
        "partitions.debug.max_time": f"{child}:3 (project)",
        "partitions.debug.nodes": f"{base}:5 (user)",
        "modules": f"{base}:1 (user)",
    }
    assert origins["partitions.debug.min_nodes"] == "default"


def test_a_value_taken_away_is_the_default_again(write: Write) -> None:
    write("base", "scratch: /scratch\nscheduler: {timeout: 9}\n")
    write("child", "extends: base\nscratch: null\nscheduler: null\n")
    loaded = site.load("child")
    assert loaded.origins["scratch"] == loaded.origins["scheduler.timeout"] == "default"
    assert loaded.site.scheduler.timeout == 30


def test_the_merged_site_is_a_site_file_again(write: Write, tmp_path: Path) -> None:
    write(
        "base",
        "description: x\npartitions: {debug: {max_time: 1-0, node: {memory: 3000M}}}\nlaunchers: [{kind: mpirun}]\n",
    )
    write("child", "extends: base\ndetect: {}\ndefaults: {time: 1h}\n")
    loaded = site.load("child")
    copy = tmp_path / "child.yaml"
    copy.write_text(loaded.to_yaml())
    assert loaded.to_yaml() == dedent("""
        name: child
        detect: {}
        partitions:
          debug:
            max_time: 1-00:00:00
            node:
              memory: 3000M
        defaults:
          time: 01:00:00
        launchers:
        - kind: mpirun
    """).lstrip("\n")  # fmt: skip
    assert site.load(file=str(copy)).site == loaded.site
    copy.write_text(loaded.to_yaml(defaults=True))
    assert site.load(file=str(copy)).site == loaded.site


def test_a_file_may_extend_the_one_that_it_hides(write: Write) -> None:
    write("testbed", "extends: testbed\nscheduler: {poll_interval: 9}\n")
    loaded = site.load("testbed")
    assert (loaded.who, loaded.site.scheduler.poll_interval, loaded.site.launcher.kind) == ("user", 9, "srun")


def test_a_path_is_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    write("base", "scratch: /scratch\n", layer="environment")
    file = tmp_path / "mine.yaml"
    file.write_text("extends: environment/base.yaml\n")
    assert site.load(file=str(file)).site.scratch == "/scratch"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "extends: b", "b": "extends: a"}, "b.yaml:1: extends: a → b → a goes in a circle or too deep"),
        ({"a": "extends: a"}, "a.yaml:1: extends: a → a goes in a circle or too deep"),
        ({"a": "extends: ./a.yaml"}, "a.yaml:1: extends: a → a goes in a circle or too deep"),
        (
            {"a": "extends: a1"} | {f"a{n}": f"extends: a{n + 1}" for n in range(1, 20)},
            "a7.yaml:1: extends: a → a1 → a2 → a3 → a4 → a5 → a6 → a7 → a8 goes in a circle or too deep",
        ),
        ({"a": "extends: slrum"}, "a.yaml:1: extends: there is no site 'slrum'"),
        ({"a": "extends: [b]"}, "a.yaml:1: extends: not the name of one site"),
    ],
)
def test_what_cannot_be_extended(write: Write, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        folder = write(name, text + "\n").parent
    found, hint = refusal("a")
    assert found == f"{folder}/{message}"
    assert hint


# --------------------------------------------------------------------------------------- search order


def test_the_nearest_file_wins(write: Write) -> None:
    for layer in ("user", "environment", "project"):
        write("slurm", f"description: of the {layer}\n", layer=layer)
        assert site.load("slurm").site.description == f"of the {layer}"
    shown = [(one.who, one.description, one.shadowed) for one in site.available() if one.name == "slurm"]
    assert shown == [
        ("project", "of the project", False),
        ("environment", "of the environment", True),
        ("user", "of the user", True),
        ("built-in", "any Slurm cluster", True),
    ]


def test_a_broken_file_is_listed_with_its_problem(write: Write) -> None:
    file = write("broken", "a: b: c\n")
    broken = next(one for one in site.available() if one.name == "broken")
    assert broken.problem.startswith(f"{file}:1: ")
    machines = {name for name in BUILT_IN if not name.startswith("_")}
    assert {one.name for one in site.available()} == {"broken", *machines}


def test_an_unknown_name_gets_the_nearest(write: Write) -> None:
    with pytest.raises(NotFoundError) as caught:
        site.load("slrum")
    assert caught.value.message == "there is no site 'slrum'"
    assert caught.value.hint == "did you mean slurm? (see them with: hpcjob site list)"


def test_a_path_is_not_a_name() -> None:
    assert refusal("../slurm") == (
        "'../slurm' cannot be the name of a site", "for a file, type: --site-file FILE",
    )  # fmt: skip


def test_the_name_is_the_files(write: Write) -> None:
    file = write("mine", "name: yours\n")
    assert refusal("mine") == (
        f"{file}:1: the name 'yours' is not the file's", "remove the line, or rename the file to yours.yaml",
    )  # fmt: skip
    write("mine", "name: mine\n")
    assert site.load("mine").site.name == "mine"


def test_a_package_can_bring_sites(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "plugin/centre_sites"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('no code of it is run')\n")
    (package / "centre.yaml").write_text("extends: slurm\ndescription: of a package\n")
    info = tmp_path / "plugin/centre-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: centre\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hpcjobs.sites]\ncentre = centre_sites\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "plugin"), *sys.path])
    loaded = site.load("centre")
    assert (loaded.who, loaded.site.description, loaded.site.launcher.kind) == ("plug-in", "of a package", "srun")
    assert "centre" in [one.name for one in site.available()]


# ------------------------------------------------------------------------------------------- messages


def test_all_problems_are_told_at_once(write: Write) -> None:
    file = write("bad", """
        extends: testbed
        partitions:
          debug: {max_tim: 3, max_time: soon, default: maybe}
        modules: gcc
        gpu: {kind: no}
        detect: 3
        runtimes: [{kin: apptainer}]
        launcher: []
        scheduler: {timeout: x, export: no}
        defaults: {partitio: debug, nodes: two}
        env: {A: [1]}
        mpi: {types: [pmi2, ~]}
    """)  # fmt: skip
    message, hint = refusal("bad")
    assert message.replace(str(file), "bad.yaml") == dedent("""
        14 problems:
          bad.yaml:3: partitions.debug.default: 'maybe' is neither true nor false; write true or false
          bad.yaml:3: partitions.debug.max_time: 'soon' is not a time; write 30 (minutes), 2h, 1h30m, 02:00:00 or 1-12:00:00 (days-hours:minutes:seconds)
          bad.yaml:3: partitions.debug.max_tim: there is no such key; did you mean max_time?
          bad.yaml:4: modules: 'gcc' is not a list; write [gcc]
          bad.yaml:5: gpu.kind: 'no' is none of none, nvidia, amd, intel; did you mean none?
          bad.yaml:6: detect: '3' is not a mapping; write `key: value` lines below it (hostname, env, file, cluster)
          bad.yaml:7: runtimes[0].kin: there is no such key; did you mean kind?
          bad.yaml:8: launcher: a list is not a mapping; write `key: value` lines below it (kind, command, options, cpu_bind)
          bad.yaml:9: scheduler.timeout: 'x' is not a number; write, say, 30 or 0.5
          bad.yaml:9: scheduler.export: 'no' is none of all, none; did you mean none?
          bad.yaml:10: defaults.nodes: 'two' is not a whole number; write digits only: 4
          bad.yaml:10: defaults.partitio: there is no such key; did you mean partition?
          bad.yaml:11: env.A: a list is not a single value; write one value
          bad.yaml:12: mpi.types[1]: nothing is not text; write a value; in quotes, if it is the word null
    """).strip()  # fmt: skip
    assert hint == f"correct them, then: hpcjob site validate {file}"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("schedular: {kind: slurm}", "1: schedular: there is no such key", "did you mean scheduler?"),
        ("scheduler: {timeout: -1}", "1: scheduler.timeout: -1.0 is not possible", "write 0 or more"),
        ("scheduler: {timeout: inf}", "1: scheduler.timeout: inf is not possible", "write 0 or more"),
        ("scheduler:\n  export: no", "2: scheduler.export: 'no' is none of all, none", "did you mean none?"),
        ("require: [tim]", "1: require[0]: 'tim' is not a field of a job", "did you mean time?"),
        ("partitions:\n  a: {require: [nod]}", "2: partitions.a.require[0]: 'nod' is not a field of a job",
         "did you mean nodes?"),
        ("partitions:\n  a: {default: true}\n  b: {default: true}", "3: partitions.b.default: a is the default already",
         "keep one of the two"),
        ("partitions:\n  a: {nodes: 4, max_nodes: 8}", "2: partitions.a.max_nodes: 8 is more than the 4 nodes there are",
         "write 4"),
        ("partitions:\n  a: {min_nodes: 8, max_nodes: 4}", "2: partitions.a.min_nodes: 8 is more than the most, 4",
         "write a smaller number"),
        ("partitions: {debug: {}}\ndefaults: {partition: debgu}", "2: defaults.partition: there is no partition 'debgu'",
         "did you mean debug?"),
        ("env: {1A: x}", "1: env.1A: '1A' cannot be the name of an environment variable",
         "use letters, digits and _, and no digit first"),
        ("mpi: {env: {1A: x}}", "1: mpi.env.1A: '1A' cannot be the name of an environment variable",
         "use letters, digits and _, and no digit first"),
        ("mpi: {gpu_library: gtl/libx.so}", "1: mpi.gpu_library: 'gtl/libx.so' is not a path from the root",
         "write /gtl/libx.so, or $HOME/gtl/libx.so"),
        ("mpi: {gpu_library: libmpi_gtl_hsa.so.0}", None, None),
        ("runtimes: [{kind: apptainer, mpi_option: --mpi}]", "1: runtimes[0].mpi_option: apptainer has none",
         "leave it out: it is for shifter, sarus, podman-hpc"),
        ("runtimes: [{kind: shifter, mpi_option: --module=mpich, mpi_gpu_option: --module=cuda-mpich}]", None, None),
        ("detect: {hostname: '('}",
         "1: detect.hostname: '(' is not a regular expression: missing ), unterminated subpattern at position 0",
         r"write, say, login\d+\.example"),
        ("launcher: {kind: auto}", "1: launcher.kind: auto has nothing to choose from", "list them under `launchers`"),
        ("mpi: {default: pmx, types: [pmix]}", "1: mpi.default: 'pmx' is not among the types", "did you mean pmix?"),
        ("gpu: nvidia", "1: gpu: 'nvidia' is not a mapping", "write `key: value` lines below it (kind, request, defaults, rank_options)"),
        ("bind: [/a:/b:rx]", "1: bind[0]: bind '/a:/b:rx' is not understood", "write SRC, SRC:DST or SRC:DST:ro"),
        ("bind: [/a, '/a:b']", "1: bind[1]: bind '/a:b': b is not a path from the root", "write /a:/b"),
        ("scheduler: {kind: slurm}\ndirectives: [mem=1G]", "2: directives[0]: the directive 'mem=1G' is not understood",
         "write --name or --name=value"),
        ("scheduler: {kind: slurm}\ndirectives: [--comment=x]", "2: directives[0]: hpcjob needs --comment for itself",
         "leave it out"),
        ("scheduler: {kind: slurm}\ndirectives: [--qos=low]",
         "2: directives[0]: the directive --qos=low is written by hpcjob itself", "write it under `defaults`: {qos: low}"),
        ('module_init: "a\\nb"', "1: module_init: a line of shell cannot hold the character '\\n': 'a\\nb'",
         "write it on one line, without control characters"),
        ("modules: [gcc, laod fftw]", "1: modules[1]: the module command 'laod fftw' is not known", "did you mean load?"),
        ("partitions: {gpu: {modules: ['use soft']}}", "1: partitions.gpu.modules[0]: 'soft' is not a path from the root",
         "write use /soft"),
        ("runtimes: [{kind: apptainer, modules: [-x]}]",
         "1: runtimes[0].modules[0]: '-x' would be an option of `module load`", "write load NAME"),
        ("modules: [purge, use $HOME/m, gcc/13.2, swap gcc intel, unload darshan, restore mine]", None, None),
        ("bind: [$HOME/a:/b:ro]\nscheduler: {kind: slurm}\ndirectives: [--switches=1]", None, None),
        ("env: {A: }\nmodules:", None, None),
        ("env: {OMP_NUM_THREADS: 4, DEBUG: true}\nmodules: [gcc/13]", None, None),
    ],
)  # fmt: skip
def test_one_problem_is_one_line(write: Write, text: str, message: str | None, hint: str | None) -> None:
    file = write("bad", text + "\n")
    if message is None:
        assert site.load("bad").site.name == "bad"
    else:
        assert refusal("bad") == (f"{file}:{message}", hint)


def test_a_fault_of_the_extended_file_names_that_file(write: Write) -> None:
    base = write("base", "scratch: /scratch\nmodules: gcc\n")
    write("child", "extends: base\nscratch: /other\n")
    assert refusal("child") == (f"{base}:2: modules: 'gcc' is not a list", "write [gcc]")


def test_text_arrives_as_it_was_written_and_options_of_a_scheduler_as_yaml_has_them(write: Write) -> None:
    write("mine", """
        env: {VERSION: 1.10, ACCOUNT: 0042, TIME: 1:00:00, FLAG: no, N: 4}
        scheduler: {extra: {cores: 4, share: 0.5, strict: true, name: "4"}}
        defaults: {time: 90, mem: 4G, account: 0042, nodes: 2}
    """)  # fmt: skip
    mine = site.load("mine").site
    assert mine.env == {"VERSION": "1.10", "ACCOUNT": "0042", "TIME": "1:00:00", "FLAG": "no", "N": "4"}
    assert mine.scheduler.extra == {"cores": 4, "share": 0.5, "strict": True, "name": "4"}
    assert mine.defaults == {"time": Duration(5400), "mem": Memory(4 << 30), "account": "0042", "nodes": 2}
    assert [type(value) for value in mine.defaults.values()] == [Duration, Memory, str, int]


def test_names_that_this_installation_does_not_know(write: Write) -> None:
    file = write("mine", """
        scheduler: {kind: slrum}
        launcher: {kind: srunn}
        launchers: [{kind: mpiru}]
        runtimes: [{kind: charlycloud}]
        template: slurmm
    """)  # fmt: skip
    problems = [(str(one), one.hint) for one in site.check("mine", known=KNOWN) if one.level == "error"]
    assert problems == [
        (f"{file}:1: scheduler.kind: 'slrum' is not known", "did you mean slurm?"),
        (f"{file}:2: launcher.kind: 'srunn' is not known", "did you mean srun?"),
        (f"{file}:5: template: 'slurmm' is not known", "did you mean slurm?"),
        (f"{file}:3: launchers[0].kind: 'mpiru' is not known", "did you mean mpirun?"),
        (f"{file}:4: runtimes[0].kind: 'charlycloud' is not known", "did you mean charliecloud?"),
    ]


def test_warnings_and_advice(write: Write) -> None:
    file = write("mine", """
        scheduler: {kind: slurm}
        partitions:
          gpu: {node: {gpus: 4}}
    """)  # fmt: skip
    assert [(one.level, str(one).removeprefix(str(file))) for one in site.check("mine")] == [
        ("warning", ": gpu.kind: partition gpu has GPUs, but their kind is not given"),
        ("warning", ": launcher.kind: no launcher: every job runs one rank"),
        ("advice", ": description: no description"),
        ("advice", ": detect: not detected"),
        ("advice", ": runtimes: no container runtime"),
        ("advice", ":3: partitions.gpu: no node.cores and no max_time"),
    ]


def test_what_a_file_states_is_not_warned_of(write: Write) -> None:
    write("mine", "scheduler: {kind: slurm}\nlauncher: {kind: none}\n")
    assert "warning" not in {one.level for one in site.check("mine")}


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("detect:\n", "detect", 0),
        ("name:\n", "name", 0),
        ("extends: slurm\npartitions:\n  debug:\n", "partitions.debug", 3),
        ("extends: slurm\ndefaults: {account: a,\n  qos: ~}\n", "defaults.qos", 3),
    ],
)
def test_an_empty_value_that_takes_nothing_away(write: Write, text: str, path: str, line: int) -> None:
    file = write("mine", text)
    (problem,) = [one for one in site.check("mine", known=KNOWN) if one.level != "advice" and one.path == path]
    assert (problem.level, problem.file, problem.line) == ("warning", str(file), line)
    assert problem.message == "empty, and there is nothing inherited to take away"


def test_an_empty_value_that_takes_something_away_is_not_warned_of(write: Write) -> None:
    write("base", "extends: slurm\ndefaults: {qos: high}\n")
    write("mine", "extends: base\ndefaults: {qos: null}\n")
    assert [one.path for one in site.check("mine") if one.level == "warning"] == []


@pytest.mark.parametrize("key", ["scratch", "jobs_folder"])
def test_a_folder_is_named_from_the_root(write: Write, key: str) -> None:
    file = write("mine", f"{key}: jobs\n")
    assert refusal("mine") == (
        f"{file}:1: {key}: 'jobs' is not a path from the root", "write /jobs, or $HOME/jobs"
    )  # fmt: skip
    write("mine", f"{key}: $WORK/jobs\n")
    assert getattr(site.load("mine").site, key) == "$WORK/jobs"


def test_a_package_that_is_gone_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "centre-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: centre\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[hpcjobs.sites]\ncentre = centre_that_is_gone.sites\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert {"local", "slurm"} <= {one.name for one in site.available()}
    with pytest.raises(NotFoundError, match="there is no site 'centre'"):
        site.load("centre")


def test_a_working_folder_that_was_removed(write: Write, tmp_path: Path) -> None:
    (tmp_path / "cwd").rmdir()
    assert site.load("slurm").who == "built-in"


def test_a_file_that_is_no_yaml_is_one_problem(write: Write) -> None:
    file = write("mine", "a: b: c\n")
    (problem,) = site.check("mine")
    assert (problem.level, str(problem)) == ("error", f"{file}:1: mapping values are not allowed in this context")


# --------------------------------------------------------------------- what a file says of its own values


def test_values_that_no_document_backs_are_marked(write: Write) -> None:
    write("centre", "extends: slurm\nsources: [x]\nunverified: [partitions.gpu, mpi.types]\nmpi: {types: [pmi2]}\n"
          "partitions: {gpu: {nodes: 4}, cpu: {nodes: 8}}")  # fmt: skip
    doubtful = {setting.path for setting in site.load("centre").settings if setting.doubtful}
    assert {"partitions.gpu.nodes", "partitions.gpu.max_time", "mpi.types"} <= doubtful
    assert not {path for path in doubtful if path.startswith("partitions.cpu")}


def test_a_value_of_one_s_own_is_in_no_doubt(write: Write) -> None:
    write("centre", "extends: slurm\nunverified: [partitions.gpu.nodes, mpi.types]\nmpi: {types: [pmi2]}\n"
          "partitions: {gpu: {nodes: 4}}")  # fmt: skip
    write(
        "mine",
        "extends: centre\ndescription: x\npartitions: {gpu: {nodes: 5}}\nmpi: {types: null}\ndetect: {env: {A: b}}",
    )
    assert [setting.path for setting in site.load("mine").settings if setting.doubtful] == ["mpi.types"]
    assert [problem for problem in site.check("mine") if problem.level != "advice"] == []


@pytest.mark.parametrize("path", ["partitions.gpu.nodez", "partition", "mpi.types"])
def test_a_doubt_about_nothing_is_told(path: str, write: Write) -> None:
    write("centre", f"extends: slurm\nunverified: ['{path}']\npartitions: {{gpu: {{nodes: 4}}}}")
    (problem,) = [problem for problem in site.check("centre") if problem.path == "unverified[0]"]
    assert (problem.level, problem.message) == ("warning", f"there is no value {path!r}")


def test_fields_of_jobs_are_checked_wherever_they_are_defaults(write: Write) -> None:
    file = write("centre", "gpu:\n  defaults: {partitio: x}\npartitions:\n  a:\n    defaults: {time: soon}")
    message, _ = refusal("centre")
    assert f"{file}:2: gpu.defaults.partitio: there is no such key" in message
    assert f"{file}:5: partitions.a.defaults.time: 'soon' is not a time" in message
    write("centre", "partitions:\n  a: {defaults: {time: 2h}, time_by_nodes: {16: 2h}}\ngpu: {defaults: {mem: 4G}}")
    loaded = site.load("centre")
    assert loaded.site.partitions["a"].defaults == {"time": Duration(7200)}
    assert loaded.site.gpu.defaults == {"mem": Memory.parse("4G")}
    assert restore(Site, json.loads(json.dumps(asdict(loaded.site)))) == loaded.site
    again = write("again", loaded.to_yaml().replace("name: centre\n", ""))
    assert replace(site.load(file=str(again)).site, name="centre") == loaded.site
