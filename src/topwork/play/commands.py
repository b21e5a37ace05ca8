"""What stands behind a slash: the commands, how one is read, and what each of them does. It knows no story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from topwork.errors import UsageError

__all__ = ["COMMANDS", "HELP", "Command", "command_of"]

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "revert": ("[N]", "take the last turn back, or the last N"),
    "retry": ("", "have the last turn told another way"),
    "alter": ("TEXT", "put TEXT in the place of the last result"),
    "remember": ("TEXT", "never forget TEXT"),
    "forget": ("[N | all]", "forget what was last remembered, or the Nth, or all"),
    "context": ("", "show what is remembered, and how much of the story the model sees"),
    "save": ("[NAME]", "save the story"),
    "load": ("[NAME]", "load a story; without a name, list them"),
    "print": ("", "show the whole story"),
    "set": ("[NAME VALUE]", "change a setting; without one, list them"),
    "new": ("[GENRE | TEXT]", "begin another story, of a genre or with your own words"),
    "help": ("", "show this"),
    "quit": ("", "leave; the story is saved"),
}

_PLAYING: Final = """\
take the lamp        do something
"Who is there?"      say something; so is  say "Who is there?"
!The door falls shut. tell a part of the story yourself
                     an empty line has the story go on"""


@dataclass(frozen=True, slots=True)
class Command:
    """One of `COMMANDS`, and what stands behind it."""

    name: str
    rest: str


def command_of(line: str) -> Command:
    """Read a line that begins with a slash.

    Raises
    ------
    UsageError
        There is no such command.
    """
    name, _, rest = line.strip().removeprefix("/").partition(" ")
    if name.lower() not in COMMANDS:
        near = get_close_matches(name.lower(), COMMANDS, 1)
        raise UsageError(
            f"There is no command /{name[:40]}.",
            next_step=f"Did you mean /{near[0]}?" if near else "/help lists them.",
        )
    return Command(name.lower(), rest.strip())


def _help() -> str:
    rows = [(f"/{name} {takes}".strip(), does) for name, (takes, does) in COMMANDS.items()]
    return _PLAYING + "\n" + "\n".join(f"{left:<21}{does}" for left, does in rows)


HELP: Final = _help()
