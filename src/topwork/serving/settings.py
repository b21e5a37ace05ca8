"""Every setting of a server: frozen values, each field with its kind and a sentence of what it is for.

The file, the flags of the command line and the published schema are all read off these classes. It reads no file, and
knows no model but by its path.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args, get_type_hints

from topwork.errors import UsageError
from topwork.serving.access import Access
from topwork.serving.kinds import Choice, Count, Kind, Place, Section, Sections, Several, Switch, Word
from topwork.serving.limits import Limits

__all__ = ["ModelSettings", "ServerSettings", "Setting", "checked", "settings_of"]

ENGINES = ("auto", "openvino", "onnxruntime")
UNITS = ("_bytes", "_s")
"""Ends of fields; a file and a flag leave them out, for there a value may say its own unit."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model of a server."""

    bundle: Annotated[Path, Place("A .topwork file, as a fit writes it.", "BUNDLE")]
    name: Annotated[
        str | None, Word("Name of the model in the API; by default its file's, without the suffix.", "NAME")
    ] = None
    only: Annotated[tuple[str, ...], Several(Word("Targets to answer for, in place of all.", "TARGET"))] = ()
    engine: Annotated[str, Choice("What runs the network.", ENGINES)] = "auto"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """A whole server; `checked` says whether it can be one."""

    models: Annotated[
        tuple[ModelSettings, ...], Sections("The models; the first is the one that /predict asks.")
    ] = ()
    host: Annotated[str, Word("Where to listen; 0.0.0.0 opens it to every network.", "ADDRESS")] = "127.0.0.1"
    port: Annotated[int, Count("0 takes a free one.", least=0, most=65535, metavar="PORT")] = 8000
    below: Annotated[
        tuple[Path, ...],
        Several(Place("Folders that bundles must lie in or below; by default any.", "FOLDER")),
    ] = ()
    keys: Annotated[
        Path | None,
        Place(
            "File of API keys; by default none on this machine alone, the user's own on another address.",
            "FILE",
        ),
    ] = None
    no_keys: Annotated[bool, Switch("Ask for no keys, whoever can reach the address.")] = False
    allow_origin: Annotated[
        tuple[str, ...], Several(Word("Origins whose pages may ask, such as https://example.org.", "ORIGIN"))
    ] = ()
    limits: Annotated[Limits, Section("How much is taken on before it is refused.")] = field(
        default_factory=Limits
    )

    @property
    def access(self) -> Access:
        """Who may ask."""
        return Access(self.keys, self.no_keys, self.allow_origin)


AnyKind: TypeAlias = Kind | Several | Section | Sections


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes
    ----------
    field
        Name of its field.
    key
        Name in a file: the field's without a unit.
    kind
        What it may be.
    holds
        The dataclass of a group, or of each group of a list; None for anything else.
    default
        Its value where it is left out; MISSING where it must be given.
    """

    field: str
    key: str
    kind: AnyKind
    holds: type | None
    default: object


@cache
def settings_of(group: type) -> tuple[Setting, ...]:
    """Return the settings of a group, in its order."""
    hints = get_type_hints(group, include_extras=True)
    return tuple(_setting(one, hints[one.name]) for one in fields(group))


def _setting(one: Any, hint: Any) -> Setting:
    type_, kind = get_args(hint)
    holds = {Section: type_, Sections: next(iter(get_args(type_)), None)}.get(type(kind))
    unit = next((unit for unit in UNITS if one.name.endswith(unit)), "")
    default = one.default if one.default_factory is MISSING else one.default_factory()
    return Setting(one.name, one.name.removesuffix(unit), kind, holds, default)


def checked(settings: ServerSettings) -> ServerSettings:
    """Return the settings where they have a model and every file lies where files may lie.

    Raises
    ------
    UsageError
        There is no model, or a bundle lies outside the folders; links count as what they lead to.
    """
    if not settings.models:
        raise UsageError(
            "There is no model to serve.", next_step="Give a bundle, or a settings file that lists models."
        )
    for one in settings.models:
        _require_below(one.bundle, settings.below)
    return settings


def _require_below(path: Path, folders: tuple[Path, ...]) -> None:
    real = path.resolve()
    if folders and not any(real.is_relative_to(folder.resolve()) for folder in folders):
        to = "" if real == path.absolute() else f", which leads to {real},"
        raise UsageError(
            f"{path}{to} does not lie below {' or '.join(map(str, folders))}.",
            next_step="Move it there, or name its folder in below.",
        )
