from __future__ import annotations

import pytest

from hpcjobs.errors import UsageError
from hpcjobs.sweep import command
from hpcjobs.sweep.values import Value

NAMES = ("re", "dt")


def words(*texts: str, **more: object) -> tuple[tuple[str, ...], command.Hidden]:
    return command.words(texts, NAMES, workdir="/w d", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", ""),
        ("plain $HOME", "plain $HOME"),
        ("{re}", '"${hpcjob_values[1]}"'),
        ("--x={dt} y", """--x="${hpcjob_values[2]}"' y'"""),
        ("{point}", '"${hpcjob_values[0]}"'),
        ("{re:}", '"${hpcjob_values[1]}"'),
        ("{re:.3f}", '"${hpcjob_values[3]}"'),
        ("{workdir}/app", "/w d/app"),
        ("{workdir}/{re}", """'/w d'/"${hpcjob_values[1]}\""""),
        ("{{re}}", "{re}"),
        ("{{nothing:x}}", "{nothing:x}"),
        ("{{{re}}}", """'{'"${hpcjob_values[1]}"'}'"""),
        ("{{{{re}}}}", "{{re}}"),
        ('{"a":{re}}', """'{"a":'"${hpcjob_values[1]}"'}'"""),
        ("{{re},1}", """'{'"${hpcjob_values[1]}"',1}'"""),
        ("{print $1}", "{print $1}"),
        ('{"a": 1}', '{"a": 1}'),
        ("{}", "{}"),
        ("{1..3}", "{1..3}"),
        ("{re", "{re"),
        ("${re} ${HOME}", "${re} ${HOME}"),
    ],
)
def test_placeholders(text: str, word: str) -> None:
    assert words(text)[0] == (word,)
    assert command.varies(words(text)[0][0]) == ("hpcjob_values" in word)


def test_formats_are_columns_of_their_own_and_shared() -> None:
    found, hidden = words("{re:05d}", "{dt:.1e}", "{re:05d}{re}")
    assert hidden == (("re", "05d"), ("dt", ".1e"))
    assert found[0] == '"${hpcjob_values[3]}"'
    assert found[2] == '"${hpcjob_values[3]}""${hpcjob_values[1]}"'
    more, all_of_them = words("{point:03d}", "{dt:.1e}", hidden=hidden)
    assert all_of_them == (*hidden, ("point", "03d"))
    assert more == ('"${hpcjob_values[5]}"', '"${hpcjob_values[4]}"')


@pytest.mark.parametrize(
    ("name", "nearest"), [("res", "did you mean re?"), ("HOME", "there are dt, point, re, workdir")]
)
def test_what_is_no_parameter_is_refused(name: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        words("{print $1}", f"x{{{name}}}")
    assert caught.value.message == f"the command names {{{name}}}, and there is no such parameter"
    assert caught.value.hint == f"{nearest}; write {{{{{name}}}}} for the text {{{name}}}"


def test_a_text_for_one_point() -> None:
    values = {"point": 7, "re": 100, "dt": 0.25, "fast": True}
    text = "{workdir}/re{re:05d}-{dt:.1f}-{point} {fast} {{re}} {}"
    assert command.fill(text, values, workdir="/w") == "/w/re00100-0.2-7 true {re} {}"


@pytest.mark.parametrize(
    ("value", "text"), [(1, "1"), (0.1, "0.1"), (1e300, "1e+300"), (False, "false"), ("a b", "a b")]
)
def test_values_as_text(value: Value, text: str) -> None:
    assert command.format_value(value, "", "x") == text


@pytest.mark.parametrize(
    ("value", "spec", "why"),
    [
        (1.5, "d", "Unknown format code 'd' for object of type 'float'"),
        ("a", ".3f", "Unknown format code 'f' for object of type 'str'"),
        (10**400, ".1e", "int too large to convert to float"),
    ],
)
def test_a_format_that_does_not_fit(value: Value, spec: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        command.format_column("re", spec, [value])
    assert caught.value.message == f"{{re:{spec}}}: the value {value!r} cannot be written so: {why}"
    assert "{re:05d} for whole numbers" in caught.value.hint


def test_a_column_of_formatted_values() -> None:
    assert command.format_column("re", "03d", [1, 20]) == ["001", "020"]


@pytest.mark.parametrize("pattern", ["runs/{point}", "p{point:04d}", "{point}-{re:.1f}"])
def test_a_number_tells_points_apart(pattern: str) -> None:
    assert command.is_numbered(pattern, NAMES)


@pytest.mark.parametrize("pattern", ["runs", "re{re}", "{{point}}", "{point:.1e}", "{point:g}"])
def test_other_things_may_not(pattern: str) -> None:
    assert not command.is_numbered(pattern, NAMES)


@pytest.mark.parametrize("pattern", ["/runs/{point}", "../{point}", "a/../{point}", "{workdir}/{point}"])
def test_folders_that_lead_elsewhere_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="is not below the working directory") as caught:
        command.check_folder(pattern)
    assert caught.value.hint == "write it relative to that, as runs/{point}; -D changes the working directory"


def test_folders_of_points() -> None:
    command.check_folder("runs/{point}")
    command.check_folders(["a/1", "a/2"])
    command.check_apart(["a/1", "a/2"], "folder", "--folder")
    with pytest.raises(UsageError, match="two points have the folder a/1") as caught:
        command.check_apart(["a/1", "a/2", "a/1"], "folder", "--folder")
    assert caught.value.hint == "add {point} to --folder"
    for folder in ("/etc", "a/../../b"):
        with pytest.raises(UsageError, match=f"the folder {folder} of a point is not below the working directory"):
            command.check_folders([folder])
