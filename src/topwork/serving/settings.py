"""Every setting of a server: frozen values, each field with its kind and a sentence of what it is for.

The file, the flags of the command line and the published schema are all read off these classes. It reads no file, and
knows no model but by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias, get_args, get_type_hints

from topwork.errors import UsageError
from topwork.serving.access import Access
from topwork.serving.autoscaling import Policy
from topwork.serving.kinds import (
    Choice,
    Count,
    Kind,
    Origin,
    Part,
    Place,
    Section,
    Sections,
    Several,
    Switch,
    Word,
)
from topwork.serving.limits import Limits

__all__ = [
    "LinkSettings",
    "ModelSettings",
    "NetworkSettings",
    "ServerSettings",
    "Setting",
    "checked",
    "settings_of",
]

ENGINES = ("auto", "openvino", "onnxruntime")
UNITS = ("_bytes", "_s")
"""Ends of fields; a file and a flag leave them out, for there a value may say its own unit."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What there is to say of a model that has a network of its own."""

    sources: ClassVar[tuple[str, ...]] = ("bundle", "trunk")
    """What it may be made of: exactly one of these is given."""

    bundle: Annotated[Path | None, Place("A .topwork file, as a fit writes it.", "BUNDLE")] = None
    name: Annotated[
        str | None,
        Word(
            "Name of the model in the API; by default its file's without the suffix, or its trunk's.", "NAME"
        ),
    ] = None
    only: Annotated[tuple[str, ...], Several(Word("Targets to answer for, in place of all.", "TARGET"))] = ()
    engine: Annotated[str, Choice("What runs the network.", ENGINES)] = "auto"
    trunk: Annotated[
        str | Path | None,
        Origin("A pretrained network, or a bundle's, without a head: its features are the answers.", "NAME"),
    ] = None
    normalize: Annotated[bool, Switch("Such features are divided by their length (L2), so that it is 1.")] = (
        False
    )
    app: Annotated[
        str | None,
        Word("Own code before and after the model: functions before, after or both.", "MODULE[:ATTRIBUTE]"),
    ] = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files and folders that it is made of."""
        return tuple(one for one in (self.bundle, self.trunk) if isinstance(one, Path))

    def __post_init__(self) -> None:
        _require_one(self)


@dataclass(frozen=True, slots=True)
class LinkSettings(NetworkSettings):
    """One model of a chain."""

    when: Annotated[
        Mapping[str, Any],
        Part("Models before it, each with what must stand in its answer for this one to be asked."),
    ] = field(default_factory=dict)
    takes: Annotated[
        Mapping[str, Any],
        Part(
            "A model before it, and the key of its answer that is the input here; else the input is the request's."
        ),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_one(self)
        if len(self.takes) > 1 or not all(isinstance(key, str) for key in self.takes.values()):
            raise UsageError(
                "takes names more than one model, or no key; expected one of each.",
                next_step="Write it like takes: {detector: embedding}.",
            )


@dataclass(frozen=True, slots=True)
class ModelSettings(NetworkSettings):
    """One model of a server."""

    sources: ClassVar[tuple[str, ...]] = ("bundle", "trunk", "chain")

    chain: Annotated[
        tuple[LinkSettings, ...], Sections("Several models in place of one, asked one after the other.")
    ] = ()
    replicas: Annotated[
        Policy, Section("Worker processes that answer for the model in place of the server.")
    ] = field(default_factory=Policy)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files and folders that it, or its chain, is made of."""
        own = tuple(one for one in (self.bundle, self.trunk) if isinstance(one, Path))
        return own + tuple(path for link in self.chain for path in link.paths)

    def __post_init__(self) -> None:
        _require_one(self)
        if self.chain and self.name is None:
            raise UsageError("The chain has no name.", next_step="Add name: Name of the chain in the API.")


def _require_one(settings: NetworkSettings) -> None:
    """Refuse a model that is nothing or two things, and settings that it has no use for."""
    sources = settings.sources
    given = [word for word in sources if getattr(settings, word)]
    if len(given) != 1:
        found = " and ".join(given) or f"no {' and no '.join(sources)}"
        raise UsageError(
            f"The model has {found}; expected one of {', '.join(sources)}.",
            next_step="Give a bundle to predict with, or a trunk for its features.",
        )
    if settings.only and settings.bundle is None:
        raise UsageError("only chooses targets of a bundle; this model is none.", next_step="Leave it out.")
    if settings.normalize and settings.trunk is None:
        raise UsageError(
            "normalize is for the features of a trunk; this model gives others.", next_step="Leave it out."
        )


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
    allow_host: Annotated[
        tuple[str, ...],
        Several(
            Word(
                "Names under which the server may be asked, besides those of this machine for itself.", "NAME"
            )
        ),
    ] = ()
    limits: Annotated[Limits, Section("How much is taken on before it is refused.")] = field(
        default_factory=Limits
    )

    @property
    def access(self) -> Access:
        """Who may ask."""
        return Access(self.keys, self.no_keys, self.allow_origin, self.allow_host)


AnyKind: TypeAlias = Kind | Several | Section | Sections | Part


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
        for path in one.paths:
            _require_below(path, settings.below)
    return settings


def _require_below(path: Path, folders: tuple[Path, ...]) -> None:
    real = path.resolve()
    if folders and not any(real.is_relative_to(folder.resolve()) for folder in folders):
        to = "" if real == path.absolute() else f", which leads to {real},"
        raise UsageError(
            f"{path}{to} does not lie below {' or '.join(map(str, folders))}.",
            next_step="Move it there, or name its folder in below.",
        )
