"""From the words of a command line to an exit code: dispatch, and every error in one place."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from hpcjobs.cli import PLAIN, VERBS, out
from hpcjobs.errors import HpcjobError

if TYPE_CHECKING:
    from collections.abc import Sequence

_BUG, _INTERRUPTED = 70, 130


def run(words: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    out.settings = out.Settings()
    for stream in (sys.stdout, sys.stderr):
        # A name that this terminal cannot show must not end the command.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if os.environ.get("HPCJOBS_LOG"):
            from hpcjobs.cli import log

            log.to_file(os.environ["HPCJOBS_LOG"])
        code = dispatch(list(words))
        sys.stdout.flush()
    except HpcjobError as error:
        code = _report(error, words)
    except KeyboardInterrupt as interrupt:
        if not interrupt.args:  # nobody has said anything about it yet
            out.tell("interrupted")
        code = _INTERRUPTED
    except BrokenPipeError:
        raise  # the caller's affair
    except Exception as error:  # noqa: BLE001 - the last line of defence
        code = _report_bug(error, words)
    finally:
        if "hpcjobs.cli.log" in sys.modules:
            sys.modules["hpcjobs.cli.log"].close()
    return code


def dispatch(words: list[str]) -> int:
    """Call the verb, through the parser only if there is something to parse."""
    if words[:2] == ["image", "inspect"] and [word for word in words if word.startswith("-")] in ([], ["--json"]):
        files = [word for word in words[2:] if word != "--json"]
        if len(files) == 1 and "_HPCJOB_COMPLETE" not in os.environ:
            found: int = load("hpcjobs.cli.inspect:inspect")(files[0], json="--json" in words)
            return found
    names = [word for word in words[1:] if word != "--json"]
    plain = words[:1] and words[0] in PLAIN and not any(word.startswith("-") for word in names)
    if plain and "_HPCJOB_COMPLETE" not in os.environ:
        code: int = load(VERBS[words[0]])(names, json="--json" in words)
        return code
    from hpcjobs.cli import app

    return app.run(words)


def load(target: str) -> Any:
    """What `module:attribute` names, imported now."""
    from importlib import import_module

    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _report(error: HpcjobError, words: Sequence[str]) -> int:
    own = words[: list(words).index("--")] if "--" in words else words
    if "--json" in own:
        out.dump(error=out.error_json(error))
    else:
        out.error(error)
    return error.exit_code


def _report_bug(error: Exception, words: Sequence[str]) -> int:
    import logging
    import traceback

    trace = "".join(traceback.format_exception(error))
    bug = HpcjobError(f"this is a bug in hpcjobs: {type(error).__name__}: {error}")
    if logging.getLogger("hpcjobs").isEnabledFor(logging.DEBUG):
        out.tell(trace)
        bug.hint = "please report it together with the lines above"
    else:
        bug.hint = f"please report it together with {_keep(trace)}"
    _report(bug, words)
    return _BUG


def _keep(trace: str) -> str:
    """Write the trace to a file of its own; the file's name, or what -vv does if it cannot be written."""
    from hpcjobs import paths

    file = paths.data_home() / "log" / f"bug-{int(out.now())}-{os.getpid()}.txt"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        paths.write_private(file, trace)
    except OSError:
        return "the output of the same command with -vv"
    return str(file)
