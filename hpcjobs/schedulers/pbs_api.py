"""qstat, qsub and qdel once more, by PBS's library: `driver: api`.

A program of its own (`python -I -S pbs_api.py libpbs qstat -E -f -F dsv -D SEPARATOR ID...`), since a call of a C
library can neither be given a time limit nor be kept from taking its process with it. It takes the words that
`hpcjobs.schedulers.pbs` gives the commands and answers in their format, with their exit status, so that states and
errors are read in one place. It imports nothing of hpcjobs, which keeps its start short.

Sources: pbs_submit(3B), pbs_statjob(3B), pbs_deljob(3B), pbs_geterrmsg(3B), pbs_ifl.h and qsub.c of OpenPBS 23.06;
pbs.py of pbs_python 4.4 for TORQUE.
"""

from __future__ import annotations

import ctypes
import getopt
import os
import shlex
import sys
from ctypes import POINTER, c_char_p, c_int, c_void_p
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

UNUSABLE = "the library is not used: "
"""How the one line begins that is written to stderr when the command has to do it."""

_UNKNOWN_ATTRIBUTE, _UNKNOWN_JOB = 15002, 15001  # pbs_error.h: PBSE_NOATTR, PBSE_UNKJOBID
_USAGE = 2  # what qsub ends with when a value is illegal


class UnusableError(Exception):
    """The library does not load, or what was asked for is the command's alone."""


class RefusedError(Exception):
    """The server, or the library, said no: the number (pbs_error.h) and the words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Attribute(NamedTuple):
    """One that a job is submitted with."""

    name: str
    value: str
    resource: str = ""


Record = tuple[str, list[tuple[str, str]]]
"""What the server knows of a job: its id; names and values."""


# ------------------------------------------------------------------------------------- OpenPBS: libpbs


class _Attribute(ctypes.Structure):
    """`struct attrl`, which `struct attropl` is too."""


_Attribute._fields_ = [
    ("next", POINTER(_Attribute)),
    ("name", c_char_p),
    ("resource", c_char_p),
    ("value", c_void_p),  # the library frees some of them, and puts others there
    ("op", c_int),
]


class _Status(ctypes.Structure):
    """`struct batch_status`."""


_Status._fields_ = [
    ("next", POINTER(_Status)),
    ("name", c_char_p),
    ("attribs", POINTER(_Attribute)),
    ("text", c_char_p),
]


class _Fault(ctypes.Structure):
    """`struct ecl_attrerr`."""

    _fields_: ClassVar = [("attribute", POINTER(_Attribute)), ("code", c_int), ("text", c_char_p)]


class _Faults(ctypes.Structure):
    """`struct ecl_attribute_errors`."""

    _fields_: ClassVar = [("count", c_int), ("first", POINTER(_Fault))]


# Those that hpcjobs.schedulers.pbs reads: an array of 10,000 tasks has 17 MB with all others.
WANTED = (
    "job_state", "substate", "Exit_status", "comment", "Hold_Types", "run_count", "exec_host", "stime",
    "obittime", "mtime", "array", "depend", "Submit_arguments",
)  # fmt: skip


class Libpbs:
    """OpenPBS's and PBS Professional's own library."""

    def __init__(self) -> None:
        self._lib = _load()
        self._connection = -1
        try:
            self._declare()
        except AttributeError as error:
            raise UnusableError(f"the PBS library is another one: {error}") from error

    def _declare(self) -> None:
        lib, attributes, status = self._lib, POINTER(_Attribute), POINTER(_Status)
        self._errno = getattr(lib, "__pbs_errno_location")
        self._errno.restype = POINTER(c_int)
        for name, result, *arguments in (
            ("pbs_default", c_char_p),
            ("pbs_connect", c_int, c_char_p),
            ("pbs_disconnect", c_int, c_int),
            ("pbs_geterrmsg", c_char_p, c_int),
            ("pbse_to_txt", c_char_p, c_int),
            ("pbs_get_attributes_in_error", POINTER(_Faults), c_int),
            ("pbs_statjob", status, c_int, c_char_p, attributes, c_char_p),
            ("pbs_statserver", status, c_int, attributes, c_char_p),
            ("pbs_statfree", None, status),
            ("pbs_submit", c_void_p, c_int, attributes, c_char_p, c_char_p, c_char_p),
            ("pbs_deljob", c_int, c_int, c_char_p, c_char_p),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments

    def connect(self, server: str = "") -> None:
        """To that server, by default the one that pbs.conf or PBS_SERVER names."""
        default = os.fsdecode(self._lib.pbs_default() or b"")
        own = server in {"", default}
        self._connection = self._lib.pbs_connect(None if own else os.fsencode(server))
        if self._connection < 0:
            code = self._errno()[0]
            # In qsub's words: nothing was sent.
            raise RefusedError(code, f"cannot connect to server {server or default} (errno={code})")

    def disconnect(self) -> None:
        """Give the server its connection back."""
        if self._connection >= 0:
            self._lib.pbs_disconnect(self._connection)

    def status(self, ids: Sequence[str], extend: str) -> list[Record]:
        """All in one request; unknown ids are left out, unless all are."""
        joined = os.fsencode(",".join(ids))
        try:
            return self._status(joined, WANTED, extend)
        except RefusedError as refusal:
            if refusal.code == _UNKNOWN_ATTRIBUTE:  # an older server
                return self._status(joined, (), extend)
            if refusal.code == _UNKNOWN_JOB:
                raise RefusedError(refusal.code, f"{refusal} {' '.join(ids)}") from None
            raise

    def _status(self, ids: bytes, wanted: Sequence[str], extend: str) -> list[Record]:
        return self._read(self._lib.pbs_statjob(self._connection, ids, _chain(wanted), extend.encode() or None))

    def _read(self, first: Any) -> list[Record]:
        if not first:
            if self._errno()[0]:
                raise self._refusal()
            return []
        records = [
            (os.fsdecode(record.name), [_pair(attribute) for attribute in _each(record.attribs)])
            for record in _each(first)
        ]
        self._lib.pbs_statfree(first)
        return records

    def submit(self, attributes: Sequence[Attribute], script: str, queue: str) -> str:
        """As `qsub` does it; the id."""
        (found, *_) = self._read(
            self._lib.pbs_statserver(self._connection, _chain(["default_qsub_arguments"]), None)
        ) or [("", [])]
        if any(value for _, value in found[1]):
            raise UnusableError("the server has default_qsub_arguments, which qsub reads")
        native_id = self._lib.pbs_submit(
            self._connection, _chain(attributes), os.fsencode(script), os.fsencode(queue), None
        )
        if not native_id:
            raise self._refusal(submission=True)
        text = ctypes.string_at(native_id)
        _LIBC.free(native_id)
        return os.fsdecode(text)

    def delete(self, native_id: str) -> None:
        """One job, array or range of tasks."""
        if self._lib.pbs_deljob(self._connection, os.fsencode(native_id), None):
            raise self._refusal()

    def _refusal(self, *, submission: bool = False) -> RefusedError:
        code = self._errno()[0]
        faults = self._lib.pbs_get_attributes_in_error(self._connection) if submission else None
        if faults and faults.contents.count:
            fault = faults.contents.first[0]
            name = os.fsdecode(fault.attribute.contents.name)
            if name == "Resource_List":
                return RefusedError(fault.code, os.fsdecode(fault.text))
            return RefusedError(_USAGE, f"illegal {_FLAGS.get(name, '-W')} value")
        text = self._lib.pbs_geterrmsg(self._connection) or self._lib.pbse_to_txt(code)
        return RefusedError(code, os.fsdecode(text) if text else f"Error ({code})")


_LIBC = ctypes.CDLL(None)
_LIBC.strdup.restype, _LIBC.strdup.argtypes = c_void_p, [c_char_p]
_LIBC.free.restype, _LIBC.free.argtypes = None, [c_void_p]


def _load() -> ctypes.CDLL:
    problem = ""
    for name in _places():
        try:
            return ctypes.CDLL(name)
        except OSError as error:  # noqa: PERF203 - the first that loads
            problem = problem or str(error)
    raise UnusableError(f"the PBS library does not load: {problem}")


def _places() -> Iterator[str]:
    if folder := os.environ.get("PBS_EXEC") or _configured("PBS_EXEC"):
        yield f"{folder}/lib/libpbs.so.0"
    yield "libpbs.so.0"
    try:
        import_module("_pbs_ifl")  # OpenPBS's own module is linked with it
    except ImportError:
        return
    yield "libpbs.so.0"


def _configured(name: str) -> str:
    file = Path(os.environ.get("PBS_CONF_FILE", "/etc/pbs.conf"))
    text = file.read_text("utf-8", "surrogateescape") if file.is_file() else ""
    return next((line.partition("=")[2].strip() for line in text.splitlines() if line.startswith(f"{name}=")), "")


def _chain(attributes: Sequence[Attribute | str]) -> Any:
    """A list of `struct attropl`; values are malloc'ed, for pbs_submit frees what it replaces."""
    first = None
    for given in reversed(attributes):
        one = Attribute(given, "") if isinstance(given, str) else given
        resource = os.fsencode(one.resource) if one.resource else None
        value = _LIBC.strdup(os.fsencode(one.value))
        first = ctypes.pointer(_Attribute(first, os.fsencode(one.name), resource, value, 0))
    return first


def _each(link: Any) -> Iterator[Any]:
    while link:
        yield link.contents
        link = link.contents.next


def _pair(attribute: _Attribute) -> tuple[str, str]:
    name = b".".join(filter(None, (attribute.name, attribute.resource)))
    return os.fsdecode(name), os.fsdecode(ctypes.string_at(attribute.value)) if attribute.value else ""


# ----------------------------------------------------------------------------------------- what qsub does

_ATTRIBUTES = {
    "-A": "Account_Name", "-N": "Job_Name", "-P": "project", "-e": "Error_Path", "-h": "Hold_Types", "-j": "Join_Path",
    "-k": "Keep_Files", "-m": "Mail_Points", "-M": "Mail_Users", "-o": "Output_Path", "-p": "Priority",
    "-r": "Rerunable",
}  # fmt: skip
_FLAGS = {
    **{name: flag for flag, name in _ATTRIBUTES.items()},
    "array_indices_submitted": "-J",
    "max_run_subjobs": "-J",
    "Resource_List": "-l",
}
_EXTENDED = {"depend", "group_list", "umask"}  # -W
_DEFAULTS = {
    "Checkpoint": "u", "Hold_Types": "n", "Join_Path": "n", "Keep_Files": "n", "Mail_Points": "a", "Priority": "0",
    "Rerunable": "TRUE",
}  # fmt: skip
# From qsub's own environment, as PBS_O_….
_CARRIED = ("HOME", "LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ")


def request(text: str) -> tuple[list[Attribute], str]:
    """What the `#PBS` lines of a script ask for, and the queue.

    Raises:
        UnusableError: something in them is qsub's alone, or could be understood in two ways.
    """
    if "\r" in text:
        raise UnusableError("a script with CR is for qsub to refuse")
    found: dict[tuple[str, str], str] = {}
    for line in _directives(text):
        for flag, value in _options(line):
            for name, resource, given in _meaning(flag, value):
                if (name, resource) in found:
                    raise UnusableError(f"{flag} stands twice in the script")
                found[name, resource] = given
    if found.get(("Rerunable", "")) == "n" and ("array_indices_submitted", "") in found:
        raise UnusableError("an array that may not be run again is for qsub to refuse")
    queue = found.pop(("destination", ""), "")
    missing = {(name, ""): value for name, value in _DEFAULTS.items() if (name, "") not in found}
    return [Attribute(name, value, resource) for (name, resource), value in {**found, **missing}.items()], queue


def _directives(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        words = line.strip()
        if words.startswith("#PBS"):
            yield words.removeprefix("#PBS")
        elif words and words[0] not in "#:":
            return


def _options(line: str) -> list[tuple[str, str]]:
    if "\\" in line:
        raise UnusableError(f"#PBS{line} is for qsub: a backslash")
    try:
        options, rest = getopt.getopt(shlex.split(line), "A:J:M:N:P:W:e:hj:k:l:m:o:p:q:r:")
    except (ValueError, getopt.GetoptError) as error:
        raise UnusableError(f"#PBS{line} is for qsub: {error}") from error
    if rest:
        raise UnusableError(f"#PBS{line} is for qsub: {rest[0]}")
    return options


def _meaning(flag: str, value: str) -> Iterator[tuple[str, str, str]]:
    """The attributes, resources and values that an option of qsub stands for."""
    if flag == "-l":
        for part in value.split(","):
            resource, equals, amount = part.partition("=")
            if not equals:
                raise UnusableError(f"-l {value} is for qsub")
            yield "Resource_List", resource, amount
    elif flag == "-W":
        name, _, given = value.partition("=")
        if name not in _EXTENDED or not given or "=" in given:
            raise UnusableError(f"-W {value} is for qsub")
        yield name, "", given
    elif flag == "-J":
        indices, percent, most = value.partition("%")
        yield "array_indices_submitted", "", indices
        if percent:
            yield "max_run_subjobs", "", most
    elif flag == "-q":
        yield "destination", "", value
    else:
        yield _ATTRIBUTES[flag], "", "u" if flag == "-h" else value


def origin(environ: Mapping[str, str], folder: str) -> str:
    """The variables that qsub gives each job to tell where it was submitted."""
    pairs = [("HOME", environ.get("HOME", "/"))]
    pairs += [(name, environ[name]) for name in _CARRIED[1:] if name in environ]
    pairs += [("WORKDIR", folder), ("SYSTEM", os.uname().sysname)]
    return ",".join(f"PBS_O_{name}={value}".replace(",", "\\,") for name, value in pairs)


def _folder() -> str:
    """Where this was started, by the name that the shell has for it."""
    named = os.environ.get("PWD", "")
    try:
        return named if named and Path(named).is_dir() and Path(named).samefile(".") else str(Path.cwd())
    except OSError:
        raise UnusableError("the current folder is gone") from None


def _argument(word: str) -> str:
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        word = word.replace(plain, entity)
    return f"<jsdl-hpcpa:Argument>{word}</jsdl-hpcpa:Argument>"


# ------------------------------------------------------------------------------------ TORQUE: pbs-python


class PbsPython:
    """TORQUE's library, wrapped by the package pbs-python."""

    def __init__(self) -> None:
        try:
            self._pbs = import_module("pbs")
        except Exception as error:  # its code is for Python 2 in parts, and may stumble anywhere
            raise UnusableError(f"pbs-python does not load: {type(error).__name__}: {error}") from error
        if not hasattr(self._pbs, "pbs_statjob"):
            raise UnusableError(f"the module pbs is another one than pbs-python's: {self._pbs.__file__}")
        self._connection = -1

    def connect(self, server: str = "") -> None:
        """To that server, by default the one that TORQUE's server_name or PBS_DEFAULT names."""
        server = server or self._pbs.pbs_default()
        self._connection = self._pbs.pbs_connect(server)
        if self._connection < 0:
            code, text = self._pbs.error()
            raise RefusedError(code, f"cannot connect to server {server} (errno={code}) {text}")

    def disconnect(self) -> None:
        """Give the server its connection back."""
        if self._connection >= 0:
            self._pbs.pbs_disconnect(self._connection)

    def status(self, ids: Sequence[str], extend: str) -> list[Record]:
        """One request for each id, all jobs without; unknown ones are left out."""
        del extend  # tasks are shown unless a summary is asked for
        return [record for native_id in ids or ["NULL"] for record in self._status(native_id)]

    def _status(self, native_id: str) -> Iterator[Record]:
        found = self._pbs.pbs_statjob(self._connection, native_id, "NULL", "NULL")
        code, text = (0, "") if found else self._pbs.error()
        if code not in {0, _UNKNOWN_JOB}:
            raise RefusedError(code, f"{text} {native_id}")
        for job in found or ():
            yield job.name, [(".".join(filter(None, (one.name, one.resource))), one.value) for one in job.attribs]

    def delete(self, native_id: str) -> None:
        """One job, array or task."""
        if self._pbs.pbs_deljob(self._connection, native_id, "NULL"):
            raise RefusedError(*self._pbs.error())


# ------------------------------------------------------------------------------------------ the commands


def _qstat(library: Libpbs | PbsPython, words: Sequence[str]) -> int:
    try:
        options, ids = getopt.getopt([*words], "D:EF:ftx")
    except getopt.GetoptError as error:
        raise UnusableError(f"qstat: {error}") from error
    given = dict(options)
    library.connect(_server(ids))
    records = library.status(ids, "".join(letter for letter in "tx" if f"-{letter}" in given))
    _write("".join(_dsv(record, given["-D"]) if "-D" in given else _text(record) for record in records))
    return 0


def _server(ids: Sequence[str]) -> str:
    """The server that the ids name."""
    found = {native_id.partition(".")[2] for native_id in ids} - {""}
    if len(found) > 1:
        raise UnusableError(f"several servers are asked: {' '.join(sorted(found))}")
    return next(iter(found), "")


def _dsv(record: Record, separator: str) -> str:
    native_id, attributes = record
    pairs = (f"{name}={value}".replace("\\", "\\\\").replace("\n", "\\n") for name, value in attributes)
    return f"Job Id: {separator.join((native_id, *pairs))}\n"


def _text(record: Record) -> str:
    native_id, attributes = record
    lines = (f"    {name} = {value}\n".replace("\n", "\n\t", value.count("\n")) for name, value in attributes)
    return f"Job Id: {native_id}\n{''.join(lines)}\n"


def _qsub(library: Libpbs | PbsPython, words: Sequence[str]) -> int:
    if not isinstance(library, Libpbs):
        raise UnusableError("TORQUE's qsub runs the site's submit filter")
    script = words[-1]
    try:
        attributes, queue = request(Path(script).read_text("utf-8", "surrogateescape"))
    except OSError as error:
        raise UnusableError(f"{script}: {error.strerror}") from error
    attributes += [
        Attribute("Variable_List", origin(os.environ, _folder())),
        Attribute("Submit_arguments", "".join(_argument(word) for word in words)),
    ]
    library.connect()
    _write(f"{library.submit(attributes, script, queue)}\n")
    return 0


def _qdel(library: Libpbs | PbsPython, words: Sequence[str]) -> int:
    # A request for each id: the one for a list, which qdel sends, crashed a server that did not know the last of them.
    code = 0
    library.connect(_server(words))
    for native_id in words:
        try:
            library.delete(native_id)
        except RefusedError as refusal:  # noqa: PERF203 - the others are deleted all the same
            code = _code(refusal)
            sys.stderr.write(f"qdel: {refusal} {native_id}\n")
    return code


def _write(text: str) -> None:
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.flush()


def _code(refusal: RefusedError) -> int:
    """A client's exit status: the number, cut to eight bits."""
    return refusal.code & 255 or 1


_LIBRARIES: dict[str, type[Libpbs | PbsPython]] = {"libpbs": Libpbs, "pbs-python": PbsPython}
_COMMANDS = {"qstat": _qstat, "qsub": _qsub, "qdel": _qdel}


def main(words: Sequence[str]) -> int:
    """`libpbs|pbs-python load|qstat|qsub|qdel WORD...`; the exit status."""
    name, command, *rest = words
    try:
        library = _LIBRARIES[name]()
        return 0 if command == "load" else _answer(library, command, rest)
    except UnusableError as why:
        sys.stderr.write(f"{UNUSABLE}{why}\n")
    except RefusedError as refusal:
        sys.stderr.write(f"{command}: {refusal}\n")
        return _code(refusal)
    return 1


def _answer(library: Libpbs | PbsPython, command: str, words: Sequence[str]) -> int:
    try:
        return _COMMANDS[command](library, words)
    finally:
        library.disconnect()


if __name__ == "__main__":
    sys.path[:] = os.environ.pop("HPCJOBS_SYS_PATH", "").split(os.pathsep)
    sys.exit(main(sys.argv[1:]))
