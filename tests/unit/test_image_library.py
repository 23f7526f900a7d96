"""The folder of pulled images: each is there whole or not at all, and is made once."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pwd
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hpcjobs.errors import PlanError, StoreError
from hpcjobs.images import library
from hpcjobs.images.library import Folder

NAME = "alpine-3.20-sha256-0123456789ab.sif"
WHAT: Any = {"source": "docker://docker.io/library/alpine:3.20@sha256:01", "digest": "sha256:01"}


def never(*_: object) -> None:
    raise AssertionError("this was not to be called")


def write(work: Path, target: Path) -> None:
    assert work.stat().st_mode & 0o777 == 0o700
    target.write_bytes(b"image")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "images")


def test_an_image_is_made_once(folder: Folder) -> None:
    path = folder.get(NAME, **WHAT, make=write, waiting=never)
    assert path == folder.place(NAME)
    assert path.read_bytes() == b"image"
    assert folder.get(NAME, **WHAT, make=never, waiting=never) == path
    assert sorted(entry.name for entry in folder.root.iterdir()) == sorted(
        [f".lock-{NAME}", f".used-{NAME}", NAME, f"{NAME}.json"]
    )


def test_it_is_listed_with_where_it_came_from(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcjobs.images.library.time.time", lambda: 1000.0)
    path = folder.get(NAME, **WHAT, make=write, waiting=never)
    me = pwd.getpwuid(os.getuid()).pw_name
    assert folder.images() == [library.Kept(str(path), WHAT["source"], "sha256:01", 5, 1000.0, me)]


@pytest.mark.parametrize(("folder_mode", "mode"), [(0o755, 0o644), (0o750, 0o640), (0o700, 0o600), (0o2777, 0o644)])
def test_who_may_look_into_the_folder_may_read_it(folder: Folder, folder_mode: int, mode: int) -> None:
    folder.root.mkdir()
    folder.root.chmod(folder_mode)
    before = os.umask(0o077)
    try:
        path = folder.get(NAME, **WHAT, make=write, waiting=never)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode
    assert path.with_name(f"{NAME}.json").stat().st_mode & 0o777 == mode


def test_what_hpcjobs_did_not_put_there_is_not_run(folder: Folder) -> None:
    folder.root.mkdir()
    folder.place(NAME).write_bytes(b"of somebody else")
    with pytest.raises(StoreError, match="is in the way") as caught:
        folder.get(NAME, **WHAT, make=never, waiting=never)
    assert caught.value.hint.endswith(f"rm {folder.place(NAME)} {folder.place(NAME)}.json")
    assert folder.images() == []


def test_another_image_of_the_same_name_is_not_run(folder: Folder) -> None:
    folder.get(NAME, **WHAT, make=write, waiting=never)
    with pytest.raises(StoreError, match="is in the way: it is not the image sha256:02"):
        folder.get(NAME, source="s", digest="sha256:02", make=never, waiting=never)


def test_a_use_is_remembered(folder: Folder) -> None:
    path = folder.get(NAME, **WHAT, make=write, waiting=never)
    mark = folder.root / f".used-{NAME}"
    (kept,) = folder.images()
    os.utime(mark, (1, 1))
    assert folder.last_used(kept) == kept.pulled
    folder.get(NAME, **WHAT, make=never, waiting=never)
    assert folder.last_used(kept) >= kept.pulled
    assert mark.stat().st_mtime > 1
    mark.unlink()
    assert folder.last_used(kept) == kept.pulled
    folder.remove(path)
    assert folder.left_over(1e12) == [folder.root / f".lock-{NAME}"]


def test_a_lock_can_be_taken_by_anybody_who_pulls_the_same(folder: Folder) -> None:
    folder.get(NAME, **WHAT, make=write, waiting=never)
    assert (folder.root / f".lock-{NAME}").stat().st_mode & 0o777 == 0o666


def test_what_a_failed_pull_has_left_is_there_the_next_time(folder: Folder) -> None:
    def fail(work: Path, target: Path) -> None:
        (work / "layer.part").write_bytes(b"half")
        target.with_suffix(".part").write_bytes(b"ima")
        raise PlanError("the registry broke off")

    def finish(work: Path, target: Path) -> None:
        assert (work / "layer.part").read_bytes() == b"half"
        assert not target.exists()
        write(work, target)

    with pytest.raises(PlanError, match="broke off"):
        folder.get(NAME, **WHAT, make=fail, waiting=never)
    assert not folder.place(NAME).exists()
    assert folder.images() == []
    folder.get(NAME, **WHAT, make=finish, waiting=never)
    assert not list(folder.root.glob(".pull-*"))


def test_two_threads_make_it_once(folder: Folder) -> None:
    waits = threading.Event()
    found: list[Path] = []

    def second() -> None:
        found.append(folder.get(NAME, **WHAT, make=never, waiting=waits.set))

    thread = threading.Thread(target=second)

    def make(work: Path, target: Path) -> None:
        thread.start()
        assert waits.wait(60)
        write(work, target)

    folder.get(NAME, **WHAT, make=make, waiting=never)
    thread.join(60)
    assert found == [folder.place(NAME)]


SECOND = """
import sys
from pathlib import Path
from hpcjobs.images.library import Folder

def make(work, target):
    target.write_bytes(b"of the second process")

path = Folder(Path(sys.argv[1])).get(
    sys.argv[2], source="s", digest="sha256:01", make=make, waiting=lambda: print("waits", flush=True)
)
print(path.read_text())
"""


@pytest.mark.parametrize(("fails", "text"), [(False, "image"), (True, "of the second process")])
def test_two_processes_make_it_once_and_the_second_takes_over(folder: Folder, fails: bool, text: str) -> None:
    processes: list[subprocess.Popen[str]] = []

    def make(work: Path, target: Path) -> None:
        command = [sys.executable, "-c", SECOND, str(folder.root), NAME]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout
        assert process.stdout.readline() == "waits\n"
        if fails:
            raise PlanError("no")
        write(work, target)

    try:
        folder.get(NAME, **WHAT, make=make, waiting=never)
    except PlanError:
        assert fails
    out, _ = processes[0].communicate(timeout=60)
    assert (processes[0].returncode, out) == (0, f"{text}\n")


def test_without_locks_each_makes_it_whole(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def make(work: Path, target: Path) -> None:
        assert str(os.getpid()) in work.name, "nobody else works there"
        write(work, target)

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    assert folder.get(NAME, **WHAT, make=make, waiting=never).read_bytes() == b"image"


def test_what_another_process_made_meanwhile_is_taken(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def taken_at_first(descriptor: int, how: int) -> None:
        asked.append((descriptor, how))
        if how & fcntl.LOCK_NB:
            raise BlockingIOError
        folder.place(NAME).write_bytes(b"of another")
        notes = {**WHAT, "pulled": 1.0, "by": "another"}
        folder.place(f"{NAME}.json").write_text(json.dumps(notes))

    told: list[bool] = []
    monkeypatch.setattr(fcntl, "lockf", taken_at_first)
    path = folder.get(NAME, **WHAT, make=never, waiting=lambda: told.append(True))
    assert path.read_bytes() == b"of another"
    assert (told, [how & fcntl.LOCK_NB for _, how in asked]) == ([True], [fcntl.LOCK_NB, 0])


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written: Not a directory") as caught:
        Folder(tmp_path / "file/images").get(NAME, **WHAT, make=never, waiting=never)
    assert caught.value.hint.startswith("see: ls -ld")


@pytest.mark.parametrize(
    "notes",
    ["", "{", "[]", "3", "{}", '{"source": "s"}', '{"source": "s", "digest": "d", "pulled": null, "by": ""}',
     '{"source": "s", "digest": "d", "pulled": "soon", "by": ""}', b"\xff"],
)  # fmt: skip
def test_an_image_whose_notes_are_damaged_is_not_believed(folder: Folder, notes: str | bytes) -> None:
    path = folder.get(NAME, **WHAT, make=write, waiting=never)
    path.with_name(f"{NAME}.json").write_bytes(notes if isinstance(notes, bytes) else notes.encode())
    other = folder.get("b.sqfs", **WHAT, make=write, waiting=never)
    assert [kept.path for kept in folder.images()] == [str(other)]
    with pytest.raises(StoreError, match="is in the way"):
        folder.get(NAME, **WHAT, make=never, waiting=never)


def test_two_who_make_the_lock_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.root.mkdir()
    lock = folder.root / f".lock-{NAME}"
    real, calls = os.open, []

    def another_was_first(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if path == lock and flags & os.O_CREAT:
            calls.append(flags)
            os.close(real(lock, os.O_RDWR | os.O_CREAT, 0o666))
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", another_was_first)
    assert folder.get(NAME, **WHAT, make=write, waiting=never).read_bytes() == b"image"
    assert len(calls) == 1


def test_other_things_in_the_folder_are_no_images(folder: Folder) -> None:
    assert folder.images() == []
    folder.root.mkdir()
    (folder.root / "notes.txt").write_text("")
    (folder.root / ".hidden.sif").write_text("")
    (folder.root / "folder.sif").mkdir()
    (folder.root / "gone.sif").symlink_to("/nowhere/gone.sif")
    assert folder.images() == []


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be read: Not a directory") as caught:
        Folder(tmp_path / "file").images()
    assert caught.value.hint == f"see: ls -ld {tmp_path}/file"


def test_what_is_left_over_is_what_nobody_has_touched(folder: Folder) -> None:
    assert folder.left_over(1e12) == []
    folder.get(NAME, **WHAT, make=write, waiting=never)
    for name, when in ((".pull-0-old", 100), (".pull-0-new", 300), (f".lock-{NAME}", 100)):
        (folder.root / name).mkdir(exist_ok=True) if "pull" in name else None
        os.utime(folder.root / name, (when, when))
    assert folder.left_over(200) == [folder.root / f".lock-{NAME}", folder.root / ".pull-0-old"]


def test_a_lock_that_is_used_again_is_not_left_over(folder: Folder) -> None:
    def touched(work: Path, target: Path) -> None:
        assert folder.left_over(before) == []
        write(work, target)

    folder.root.mkdir()
    lock = folder.root / f".lock-{NAME}"
    lock.touch()
    before = lock.stat().st_mtime - 10
    os.utime(lock, (before - 10, before - 10))
    folder.get(NAME, **WHAT, make=touched, waiting=never)


def test_a_work_folder_for_a_while(folder: Folder) -> None:
    with folder.scratch("app") as work:
        assert work.parent == folder.root
        assert folder.left_over(1e12) == [work]
        (work / "file").write_text("")
    assert list(folder.root.iterdir()) == []


def test_removing(folder: Folder) -> None:
    path = folder.get(NAME, **WHAT, make=write, waiting=never)
    folder.remove(path)
    folder.remove(path)
    work = folder.root / ".pull-0-x"
    (work / "layout").mkdir(parents=True)
    folder.remove(work)
    assert [entry.name for entry in folder.root.iterdir()] == [f".lock-{NAME}"]


def test_what_cannot_be_removed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder.get(NAME, **WHAT, make=write, waiting=never)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError, match=f"{path} cannot be removed: Permission denied") as caught:
        folder.remove(path)
    assert str(folder.root) in caught.value.hint


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert library._user() == str(os.getuid())


def test_what_has_gone_meanwhile_is_not_left_over(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.root.mkdir()
    monkeypatch.setattr(Path, "iterdir", lambda self: iter([self / ".pull-1-a"]))
    monkeypatch.setattr("hpcjobs.images.library.time.time", lambda: 1000.0)
    assert folder.left_over(1000.0) == []
    assert folder.left_over(1001.0) == [folder.root / ".pull-1-a"]


def test_who_waits_for_a_thread_and_a_process_is_told_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.root.mkdir()
    busy = True

    class Lock:
        """Held by another thread, until it is waited for."""

        def locked(self) -> bool:
            return True

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    def taken_at_first(_: int, how: int) -> None:
        nonlocal busy
        if busy and how & fcntl.LOCK_NB:
            busy = False
            raise BlockingIOError

    monkeypatch.setitem(library._THREADS, str(folder.root / f".lock-{NAME}"), Lock())
    monkeypatch.setattr(fcntl, "lockf", taken_at_first)
    told: list[bool] = []
    folder.get(NAME, **WHAT, make=write, waiting=lambda: told.append(True))
    assert (told, busy) == ([True], False)


def test_notes_are_json_with_all_that_is_known(folder: Folder) -> None:
    path = folder.get(NAME, **WHAT, make=write, waiting=never)
    notes = json.loads(path.with_name(f"{NAME}.json").read_text())
    assert {key: notes[key] for key in WHAT} == WHAT
    assert library.suffix("squashfs") == ".sqfs"
