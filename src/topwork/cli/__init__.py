"""The commands: words in, calls out; no logic.

Nothing heavy is imported here or in the modules below until a command that needs it runs, so that
``topwork --help`` is there at once.
"""

from topwork.cli.entry import main

__all__ = ["main"]
