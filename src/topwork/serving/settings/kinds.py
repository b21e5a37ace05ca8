"""Kinds of settings: a size, a duration, a count, a number, a word, a path, and lists and groups of these.

A kind reads a value as a file has it, or a word as a command line has it, says what it expects, and describes itself
in JSON Schema. It knows no setting by name, no file and no command.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = [
    "Choice",
    "Count",
    "Duration",
    "Kind",
    "Number",
    "Origin",
    "Part",
    "Place",
    "Scalar",
    "Section",
    "Sections",
    "Several",
    "Size",
    "Switch",
    "Word",
]

Scalar: TypeAlias = str | int | float | bool | None
"""A value of a file that is no list and no group."""

Object: TypeAlias = "dict[str, Json]"

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_SIZE = rf"^({_NUMBER}) ?(B|kB|MB|GB|KiB|MiB|GiB)?$"
_DURATION = rf"^(?:({_NUMBER})h)?(?:({_NUMBER})m(?!s))?(?:({_NUMBER})(?:s|$))?(?:({_NUMBER})ms)?$"
_BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SECONDS = (3600.0, 60.0, 1.0, 0.001)
_LONGEST_S = 86_400.0


class Kind(Protocol):
    """What a setting may be."""

    @property
    def about(self) -> str:
        """What the setting is for, in a sentence."""
        ...

    @property
    def metavar(self) -> str:
        """What stands for a value in a help text."""
        ...

    @property
    def expected(self) -> str:
        """What a value must be, to end the words "expected …"."""
        ...

    def read(self, given: Scalar) -> object:
        """Return the value; ValueError says that it is none."""
        ...

    def read_word(self, word: str) -> object:
        """Return the value that a word of a command line stands for; ValueError says that it is none."""
        ...

    def show(self, value: object) -> str:
        """Return the value as it would be written."""
        ...

    def schema(self) -> Object:
        """Return the JSON Schema of what a file may hold."""
        ...


class _Written:
    """A kind that is written on a command line as in a file, by default as a text."""

    __slots__ = ()

    def read(self, given: Scalar) -> object:
        """Return the value."""
        return _text(given)

    def read_word(self, word: str) -> object:
        """Return the value."""
        return self.read(word)

    def show(self, value: object) -> str:
        """Return it as it is."""
        return str(value)

    def schema(self) -> Object:
        """Return the schema of a text."""
        return {"type": "string", "pattern": r"\S"}


def _text(given: Scalar) -> str:
    """Return a text of one line that is not empty; a number without quotes is none."""
    if not isinstance(given, str) or not given.strip() or not given.isprintable():
        raise ValueError(given)
    return given


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number between two bounds, both included."""

    about: str
    least: int = 1
    most: int | None = None
    metavar: str = "N"

    @property
    def expected(self) -> str:
        """What it must be."""
        upwards = f"of at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"
        return f"a whole number {upwards}"

    def read(self, given: Scalar) -> int:
        """Return the number."""
        if isinstance(given, bool) or not isinstance(given, int) or not self._holds(given):
            raise ValueError(given)
        return given

    def _holds(self, number: int) -> bool:
        return self.least <= number and (self.most is None or number <= self.most)

    def read_word(self, word: str) -> int:
        """Return the number that is written in digits."""
        return self.read(int(word))

    def show(self, value: object) -> str:
        """Return its digits."""
        return str(value)

    def schema(self) -> Object:
        """Return the schema of an integer."""
        upper: Object = {} if self.most is None else {"maximum": self.most}
        return {"type": "integer", "minimum": self.least, **upper}


@dataclass(frozen=True, slots=True)
class Number(_Written):
    """A number between two bounds, both included, with or without a fraction."""

    about: str
    least: float
    most: float | None = None
    metavar: str = "NUMBER"

    @property
    def expected(self) -> str:
        """What it must be."""
        upwards = (
            f"of at least {self.least:g}" if self.most is None else f"from {self.least:g} to {self.most:g}"
        )
        return f"a number {upwards}"

    def read(self, given: Scalar) -> float:
        """Return the number."""
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise ValueError(given)  # noqa: TRY004 - as of every kind
        number = float(given)
        if not self.least <= number <= (math.inf if self.most is None else self.most) or math.isinf(number):
            raise ValueError(given)
        return number

    def read_word(self, word: str) -> float:
        """Return the number that is written in digits."""
        return self.read(float(word))

    def show(self, value: object) -> str:
        """Return it as short as it can be."""
        assert isinstance(value, int | float)
        return f"{value:g}"

    def schema(self) -> Object:
        """Return the schema of a number."""
        upper: Object = {} if self.most is None else {"maximum": self.most}
        return {"type": "number", "minimum": self.least, **upper}


@dataclass(frozen=True, slots=True)
class Size(_Written):
    """A number of bytes, at least one: ``1000``, ``500kB``, ``32MiB``."""

    about: str
    metavar: str = "SIZE"

    @property
    def expected(self) -> str:
        """What it must be."""
        return "a size such as 500kB or 32MiB"

    def read(self, given: Scalar) -> int:
        """Return the number of bytes."""
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        parts = re.fullmatch(_SIZE, given) if isinstance(given, str) else None
        if parts is None or not math.isfinite(float(parts[1])):
            raise ValueError(given)
        n_bytes = round(float(parts[1]) * _BYTES[parts[2] or ""])
        if n_bytes < 1:
            raise ValueError(given)
        return n_bytes

    def show(self, value: object) -> str:
        """Return it in the largest unit in which it is whole."""
        assert isinstance(value, int)
        unit = next((name for name in ("GiB", "MiB", "KiB") if value % _BYTES[name] == 0), "B")
        return f"{value // _BYTES[unit]}{unit}"

    def schema(self) -> Object:
        """Return the schema of a number of bytes, or of a text with a unit."""
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": _SIZE}]}


@dataclass(frozen=True, slots=True)
class Duration(_Written):
    """A time in seconds, more than none and at most a day: ``30``, ``500ms``, ``90s``, ``1m30s``."""

    about: str
    metavar: str = "TIME"

    @property
    def expected(self) -> str:
        """What it must be."""
        return "a duration such as 500ms, 30s or 2m, at most 24h"

    def read(self, given: Scalar) -> float:
        """Return the seconds."""
        if isinstance(given, bool) or given is None:
            raise ValueError(given)
        seconds = _seconds(given) if isinstance(given, str) else float(given)
        if not 0 < seconds <= _LONGEST_S:
            raise ValueError(given)
        return seconds

    def show(self, value: object) -> str:
        """Return it in seconds."""
        assert isinstance(value, float)
        return f"{value:g}s"

    def schema(self) -> Object:
        """Return the schema of a number of seconds, or of a text with units."""
        number: Object = {"type": "number", "exclusiveMinimum": 0, "maximum": _LONGEST_S}
        return {"anyOf": [number, {"type": "string", "minLength": 1, "pattern": _DURATION}]}


def _seconds(text: str) -> float:
    parts = re.fullmatch(_DURATION, text)
    if parts is None:
        raise ValueError(text)
    return sum(float(amount) * unit for amount, unit in zip(parts.groups(), _SECONDS, strict=True) if amount)


@dataclass(frozen=True, slots=True)
class Word(_Written):
    """A text of one line that is not empty."""

    about: str
    metavar: str = "WORD"

    @property
    def expected(self) -> str:
        """What it must be."""
        return "a text"

    def read(self, given: Scalar) -> str:
        """Return the text."""
        return _text(given)


@dataclass(frozen=True, slots=True)
class Place(_Written):
    """A path; one that is relative is meant from where it is written."""

    about: str
    metavar: str = "PATH"

    @property
    def expected(self) -> str:
        """What it must be."""
        return "a path"

    def read(self, given: Scalar) -> Path:
        """Return the path, relative where it is written so."""
        return Path(_text(given))


@dataclass(frozen=True, slots=True)
class Origin(_Written):
    """A name, or a path where it begins with ``.``, ``/`` or ``~`` or ends like a bundle's."""

    about: str
    metavar: str = "NAME"

    @property
    def expected(self) -> str:
        """What it must be."""
        return "a name or a path"

    def read(self, given: Scalar) -> str | Path:
        """Return the name or the path, relative where it is written so."""
        word = _text(given)
        return (
            Path(word).expanduser() if word.startswith((".", "/", "~")) or word.endswith(".topwork") else word
        )


@dataclass(frozen=True, slots=True)
class Choice(_Written):
    """One of a few words."""

    about: str
    words: tuple[str, ...]

    @property
    def metavar(self) -> str:
        """The words themselves."""
        return f"[{'|'.join(self.words)}]"

    @property
    def expected(self) -> str:
        """What it must be."""
        return f"one of {', '.join(self.words)}"

    def read(self, given: Scalar) -> str:
        """Return the word."""
        if given not in self.words:
            raise ValueError(given)
        return str(given)

    def schema(self) -> Object:
        """Return the schema of the words."""
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Switch:
    """True or false; on a command line a flag without a word after it."""

    about: str

    @property
    def metavar(self) -> str:
        """Nothing: there is no word."""
        return ""

    @property
    def expected(self) -> str:
        """What it must be."""
        return "true or false"

    def read(self, given: Scalar) -> bool:
        """Return the truth."""
        if isinstance(given, bool):
            return given
        raise ValueError(given)

    def read_word(self, word: str) -> bool:
        """Return the truth that is spelt as in a file."""
        return self.read({"true": True, "false": False}.get(word))

    def show(self, value: object) -> str:
        """Return it as a file has it."""
        return "true" if value else "false"

    def schema(self) -> Object:
        """Return the schema of a truth."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Several:
    """A list, each item of one kind."""

    item: Kind

    @property
    def about(self) -> str:
        """What the setting is for."""
        return self.item.about


@dataclass(frozen=True, slots=True)
class Section:
    """A group of settings, which are the fields of a dataclass."""

    about: str


@dataclass(frozen=True, slots=True)
class Sections:
    """A list of such groups."""

    about: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of what a model answers, as JSON has it: a group of any keys and values."""

    about: str

    def schema(self) -> Object:
        """Return the schema of any group."""
        return {"type": "object"}
