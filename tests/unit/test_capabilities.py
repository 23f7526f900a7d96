"""The table of what runtimes can do is whole, and a refusal by it names what can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcjobs import capabilities, runtimes
from hpcjobs.capabilities import FEATURES, PULLED_TO, TABLE, lacks, markdown, refuse
from hpcjobs.errors import PlanError


def refusal(kind: str, wanted: dict[str, str], *others: str) -> str:
    with pytest.raises(PlanError) as caught:
        refuse(kind, wanted, others)
    return f"{caught.value.message} | {caught.value.hint}"


def test_the_table_has_a_row_for_every_runtime_and_only_known_features() -> None:
    assert set(TABLE) == set(runtimes.BUILT_IN)
    assert {feature for row in TABLE.values() for feature in row} == set(FEATURES)
    assert all(text for row in TABLE.values() for text in row.values())


def test_one_runtime_can_do_everything_so_that_a_refusal_can_always_name_one() -> None:
    assert lacks("apptainer", FEATURES) == []


def test_what_a_pulled_image_becomes_can_be_run() -> None:
    assert [kind for kind, form in PULLED_TO.items() if lacks(kind, [form, "reference"])] == []
    # The others have a store of their own.
    assert {kind for kind in TABLE if not lacks(kind, ["reference"])} - set(PULLED_TO) == {
        "podman", "podman-hpc", "shifter", "sarus", "docker",
    }  # fmt: skip


def test_nothing_is_refused_that_is_there() -> None:
    refuse("podman", {"bind": "--bind /a", "writable": "--writable"}, ())
    refuse("charliecloud", {}, ())


def test_what_the_table_does_not_know_refuses_by_itself() -> None:
    assert lacks("udocker", FEATURES) == []
    refuse("udocker", {"instance": "the service db"}, ())


@pytest.mark.parametrize(
    ("kind", "wanted", "others", "expected"),
    [
        (
            "charliecloud", {"bind-readonly": "--bind /a:/b:ro"}, ("none", "charliecloud", "podman", "apptainer"),
            "charliecloud cannot do what --bind /a:/b:ro asks for: read-only binds | use --runtime podman, which can",
        ),
        (
            "charliecloud", {"bind-readonly": "--bind /a:/b:ro", "instance": "the service db"}, ("podman", "singularity"),
            "charliecloud cannot do what --bind /a:/b:ro asks for: read-only binds | use --runtime singularity, which can",
        ),
        ("docker", {"ranks": "-n"}, (), "docker cannot do what -n asks for: several ranks"
         " | start the ranks inside the container: -n 1 ... -- mpirun -n 4 ./app"),
        ("docker", {"nodes": "-N 2"}, ("docker",), "several nodes | leave out -N"),
        ("shifter", {"bind-file": "--bind /f"}, (), "binds of single files | bind the folder that the file is in"),
        ("pyxis", {"sif": "--image a.sif"}, ("ce",), "SIF images | convert it: hpcjob image convert"),
        ("podman", {"instance": "the service db"}, (), "start script | give it a command, in a job file: services:"),
        ("charliecloud", {"entrypoint": "--entrypoint"}, (), "| name the program that the entrypoint runs"),
        ("podman", {"key": "--image-key"}, ("docker",), "podman cannot do what --image-key asks for: encrypted images"
         " | leave it out; apptainer, singularity can, and this site has none of them"),
        ("charliecloud", {"nvidia": "--gpus-per-node"}, (),
         "NVIDIA GPUs | leave it out; apptainer, singularity, podman can, and this site has none of them"),
        ("none", {"writable": "--writable"}, ("apptainer",),
         "there is no container for --writable | leave it out, or give an --image"),
    ],
)  # fmt: skip
def test_refusals_name_the_nearest_that_can(
    kind: str, wanted: dict[str, str], others: tuple[str, ...], expected: str
) -> None:
    assert expected in refusal(kind, wanted, *others)


@given(
    st.sampled_from(sorted(TABLE)),
    st.dictionaries(st.sampled_from(sorted(FEATURES)), st.just("--x"), min_size=1),
    st.lists(st.sampled_from([*sorted(TABLE), "udocker"])),
)
def test_every_refusal_says_what_to_do_and_every_runtime_it_names_can(
    kind: str, wanted: dict[str, str], others: list[str]
) -> None:
    if not lacks(kind, wanted):
        refuse(kind, wanted, others)
        return
    with pytest.raises(PlanError) as caught:
        refuse(kind, wanted, others)
    hint = caught.value.hint
    assert hint
    if hint.startswith("use --runtime "):
        named = hint.split()[2].rstrip(",")
        assert named in others
        assert lacks(named, wanted) == []


def test_the_table_for_the_docs_has_a_line_a_feature_and_a_column_a_runtime() -> None:
    head, rule, *lines = markdown().splitlines()
    kinds = [cell.strip() for cell in head.strip("|").split("|")][1:]
    assert set(kinds) == set(TABLE) - {"none", "singularity"}
    assert rule == "|-" * (len(kinds) + 1) + "|"
    assert len(lines) == len(FEATURES)
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines}
    assert rows["SCIF apps"][kinds.index("apptainer")] == "--app"
    assert rows["SCIF apps"][kinds.index("docker")] == "no"
    assert {len(cells) for cells in rows.values()} == {len(kinds)}


def test_a_bar_in_a_cell_is_no_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(capabilities.TABLE, "docker", {"app": "a|b"})
    assert r"| a\|b |" in markdown()
