"""What real PBS servers answered: tests/data/pbs, see README.md there."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

DATA = Path(__file__).parent / "data/pbs"


@dataclass(frozen=True)
class Recording:
    """One command, and what came of it."""

    case: str
    theme: str  # the file's name
    command: str
    out: str  # bytes that are no UTF-8 stand as lone surrogates, as `process.run` gives them
    err: str
    code: int
    note: str = ""
    files: dict[str, str] = field(default_factory=dict)  # scripts that the command was given


@functools.cache
def recordings(server: str = "openpbs") -> dict[str, Recording]:
    """All of one server, by case."""
    found: dict[str, Recording] = {}
    for file in sorted((DATA / server).glob("*.txt")):
        for recording in _read(file):
            assert recording.case not in found, recording.case
            found[recording.case] = recording
    assert found, f"no recordings of {server}"
    return found


def recording(case: str, server: str = "openpbs") -> Recording:
    """The recording of that name."""
    return recordings(server)[case]


_STREAM = re.compile(rb"--- (stdout|stderr) \((\d+) bytes\)\n")
_CUT = b"\n<no newline at end>\n"
_EXIT = re.compile(rb"--- exit (-?\d+)[^\n]*\n")


def _read(file: Path) -> list[Recording]:
    data, at, found = file.read_bytes(), 0, []
    while at < len(data):
        stream = _STREAM.search(data, at)
        assert stream, f"{file}: byte {at}"
        head = data[at : stream.start()].decode()
        streams = {}
        at = stream.start()
        while stream := _STREAM.match(data, at):
            at = stream.end() + int(stream[2])
            streams[stream[1].decode()] = data[stream.end() : at].decode("utf-8", "surrogateescape")
            if data.startswith(_CUT, at):
                at += len(_CUT)
        end = _EXIT.match(data, at)
        assert end, f"{file}: byte {at}"
        at = end.end()
        found.append(_recording(file.stem, head, streams, int(end[1])))
    return found


def _recording(theme: str, head: str, streams: dict[str, str], code: int) -> Recording:
    about, _, command = head.partition("\n$ ")
    fields = dict(re.findall(r"^# (case|note): (.*)$", about, re.MULTILINE))
    files = {
        name: "".join(line + "\n" for line in re.findall(r"^#   \| (.*)$", body, re.MULTILINE))
        for name, body in re.findall(r"^# file (.+):\n((?:#   \|.*\n?)*)", about, re.MULTILINE)
    }
    return Recording(
        fields["case"], theme, command.rstrip("\n"), streams["stdout"], streams["stderr"], code,
        note=fields.get("note", ""), files=files,
    )  # fmt: skip
