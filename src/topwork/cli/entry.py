"""The entry of every command: errors become a few lines and an exit status, never a traceback unasked."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from topwork.errors import TopworkError

__all__ = ["guarded", "main"]

_FAILED, _INTERNAL = 1, 70


def main(words: Sequence[str] | None = None) -> None:
    """Run the command in ``words``, by default those of the command line, and exit with its status.

    Status 0 is success, 1 an error that says what to do, 2 a mistake on the command line, 70 a fault of
    topwork's own, 130 Ctrl-C. With ``TOPWORK_TRACEBACK`` set, an error shows where it arose.
    """
    guarded(partial(_run, sys.argv[1:] if words is None else words))


def guarded(run: Callable[[], None]) -> None:
    """Call ``run``; whatever it raises becomes a few lines and an exit status, as `main` says."""
    from topwork.cli.interruption import STATUS, Interruption

    with Interruption() as interruption:
        try:
            run()
        except KeyboardInterrupt:
            sys.exit(STATUS)
        except SystemExit as end:
            # What parses the command line may have turned the interruption into a status of its own.
            raise SystemExit(STATUS if interruption.happened and end.code else end.code) from None
        except BrokenPipeError:
            # Whoever read the output has left; that is theirs to decide. The stream must not be flushed again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_FAILED)
        except Exception as error:
            _end(error)


def _run(words: Sequence[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name need not be text in any encoding; it is better shown escaped than not at all.
        sys.stdout.reconfigure(errors="backslashreplace")
    from topwork.cli.app import app

    app(args=list(words), prog_name="topwork", obj=tuple(words))


def _end(error: Exception) -> None:
    if os.environ.get("TOPWORK_TRACEBACK"):
        raise error
    text, status = _in_words(error)
    print(f"Error: {text}", file=sys.stderr)
    sys.exit(status)


def _in_words(error: Exception) -> tuple[str, int]:
    """Return what to tell and the exit status: our own errors and the system's are for the user to act on."""
    from topwork.storage import explain

    if isinstance(error, TopworkError):
        return str(error), _FAILED
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return str(explain(error, Path(error.filename), doing="use")), _FAILED
    text = f"topwork itself failed: {type(error).__name__}: {error}"
    return f"{text}\nSet TOPWORK_TRACEBACK=1 and run it again to see where, and please report it.", _INTERNAL
