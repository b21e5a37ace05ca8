"""The entry of every command: errors become a few lines and an exit status, never a traceback unasked."""

from __future__ import annotations

import os
import sys

from topwork.errors import TopworkError

__all__ = ["main"]

_FAILED, _INTERNAL, _INTERRUPTED = 1, 70, 130


def main() -> None:
    """Run the command in ``sys.argv`` and exit with its status.

    Status 0 is success, 1 an error that says what to do, 2 a mistake on the command line, 70 a fault of
    topwork's own, 130 Ctrl-C. With ``TOPWORK_TRACEBACK`` set, an error shows where it arose.
    """
    from topwork.cli.app import app

    try:
        app()
    except TopworkError as error:
        _end(f"Error: {error}", _FAILED, error)
    except KeyboardInterrupt as error:
        _end("Stopped.", _INTERRUPTED, error)
    except BrokenPipeError:
        # Whoever read the output has left; that is theirs to decide. The stream must not be flushed again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)
    except Exception as error:
        text = f"Error: topwork itself failed: {type(error).__name__}: {error}"
        _end(
            f"{text}\nSet TOPWORK_TRACEBACK=1 and run it again to see where, and please report it.",
            _INTERNAL,
            error,
        )


def _end(text: str, status: int, error: BaseException) -> None:
    if os.environ.get("TOPWORK_TRACEBACK"):
        raise error
    print(text, file=sys.stderr)
    sys.exit(status)
