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
from topwork.serving.http.access import Access
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.settings.kinds import (
    Choice,
    Count,
    Duration,
    Kind,
    Number,
    Origin,
    Part,
    Place,
    Section,
    Sections,
    Several,
    Switch,
    Word,
)
from topwork.serving.watching.logs import FORMATS

__all__ = [
    "LinkSettings",
    "ModelSettings",
    "NetworkSettings",
    "ServerSettings",
    "Setting",
    "VersionSettings",
    "checked",
    "require_below",
    "settings_of",
]

ENGINES = ("auto", "openvino", "onnxruntime")
DEVICES = ("auto", "cuda")
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
    device: Annotated[
        str, Choice("Where a language model writes: on the processor, or with cuda on a GPU.", DEVICES)
    ] = "auto"
    trunk: Annotated[
        str | Path | None,
        Origin(
            "A pretrained network, or a bundle's, without a head: its features are the answers; or a language model.",
            "NAME",
        ),
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
class VersionSettings(NetworkSettings):
    """One version of a model."""

    name: Annotated[
        str | None,
        Word("Name of the version; by default its file's without the suffix, or its trunk's.", "NAME"),
    ] = None
    weight: Annotated[
        float, Number("What it gets of the requests beside the other versions' weights.", 0.0)
    ] = 1.0
    canary: Annotated[
        float | None,
        Number("Share of all requests that it has on trial; then it has all of them or none.", 0.001, 1.0),
    ] = None
    promote_after: Annotated[int, Count("Fewest requests that a canary answers before it is promoted.")] = (
        1000
    )
    watch_s: Annotated[
        float | None, Duration("Shortest time before a canary is promoted; by default none.")
    ] = None
    most_errors: Annotated[
        float, Number("By how much a canary's share of failed requests may exceed the others'.", 0.0, 1.0)
    ] = 0.01
    most_slower: Annotated[
        float, Number("By which share of the others' time a canary's may exceed it.", 0.0)
    ] = 0.25
    shadow: Annotated[
        bool, Switch("It is asked beside the others, while there is time, and its answers are only compared.")
    ] = False
    replicas: Annotated[
        Policy, Section("Worker processes that answer for the version in place of the server.")
    ] = field(default_factory=Policy)
    agrees_within: Annotated[
        float, Number("By how much a shadow's numbers may differ, or by that share of those above 1.", 0.0)
    ] = 0.05

    def __post_init__(self) -> None:
        _require_one(self)
        if self.shadow and self.canary is not None:
            raise UsageError(
                "The version is a shadow and a canary; expected one of them.",
                next_step="Look at the shadow's comparisons first, then make it a canary.",
            )

    @property
    def title(self) -> str:
        """Name of the version."""
        source = self.bundle or self.trunk
        return self.name or (source.stem if isinstance(source, Path) else str(source))

    def as_model(self, name: str) -> ModelSettings:
        """Return it as a model by itself."""
        same = {
            one: getattr(self, one)
            for one in ("bundle", "only", "engine", "device", "trunk", "normalize", "app", "replicas")
        }
        return ModelSettings(**same, name=name)


@dataclass(frozen=True, slots=True)
class ModelSettings(NetworkSettings):
    """One model of a server."""

    sources: ClassVar[tuple[str, ...]] = ("bundle", "trunk", "chain", "versions")

    chain: Annotated[
        tuple[LinkSettings, ...], Sections("Several models in place of one, asked one after the other.")
    ] = ()
    versions: Annotated[
        tuple[VersionSettings, ...],
        Sections("Several models in place of one, of which each request gets one."),
    ] = ()
    replicas: Annotated[
        Policy, Section("Worker processes that answer for the model in place of the server.")
    ] = field(default_factory=Policy)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files and folders that it, or its chain or versions, are made of."""
        own = tuple(one for one in (self.bundle, self.trunk) if isinstance(one, Path))
        return own + tuple(path for part in (*self.chain, *self.versions) for path in part.paths)

    def __post_init__(self) -> None:
        _require_one(self)
        if self.chain and self.name is None:
            raise UsageError("The chain has no name.", next_step="Add name: Name of the chain in the API.")
        if self.versions:
            _require_versions(self.name, self.versions)
        if self.versions and self.replicas != Policy():
            raise UsageError(
                "The model with versions has replicas of its own.", next_step="Give them to its versions."
            )


def _require_versions(name: str | None, versions: tuple[VersionSettings, ...]) -> None:
    """Refuse versions that are no model together."""
    titles = [one.title for one in versions]
    canaries = [one.title for one in versions if one.canary is not None]
    problem = ""
    if name is None:
        problem = "The model with versions has no name."
    elif len(set(titles)) < len(titles):
        problem = f"The versions are called {', '.join(titles)}; expected names that differ."
    elif len(canaries) > 1:
        problem = f"The versions {' and '.join(canaries)} are canaries; expected one at most."
    elif not any(one.weight > 0 and not one.shadow and one.canary is None for one in versions):
        problem = "Every version is a shadow, a canary or without weight; expected one that answers."
    if problem:
        raise UsageError(
            problem, next_step="Write each version like {name: v1, bundle: a.topwork, weight: 1}."
        )


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
    log_format: Annotated[
        str,
        Choice(
            "How the log is written: json is a line of JSON for each event, and for each request.", FORMATS
        ),
    ] = "text"
    allow_host: Annotated[
        tuple[str, ...],
        Several(
            Word(
                "Names under which the server may be asked, besides those of this machine for itself.", "NAME"
            )
        ),
    ] = ()
    jobs: Annotated[
        Path | None,
        Place("File of the jobs that are answered later; without it the server takes none.", "FILE"),
    ] = None
    batches_below: Annotated[
        tuple[Path, ...],
        Several(
            Place("Folders that files of batches must lie in or below; without any none are taken.", "FOLDER")
        ),
    ] = ()
    allow_webhook: Annotated[
        tuple[str, ...],
        Several(Word("Hosts that may be told of the end of a job, such as hooks.example.org.", "HOST")),
    ] = ()
    webhook_secret: Annotated[
        Path | None, Place("File with the secret by which what they are told is signed.", "FILE")
    ] = None
    verdicts: Annotated[
        Path | None,
        Place(
            "File that keeps how trials of canaries ended; without it they begin anew with the server.",
            "FILE",
        ),
    ] = None
    models_dir: Annotated[
        Path | None,
        Place("Folder of further models: every bundle in or below it, also those that come later.", "FOLDER"),
    ] = None
    models_poll_s: Annotated[
        float, Duration("How often that folder is looked at, and how long a file in it must be at rest.")
    ] = 2.0
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
    if not settings.models and settings.models_dir is None:
        raise UsageError(
            "There is no model to serve.", next_step="Give a bundle, or a settings file that lists models."
        )
    for one in settings.models:
        for path in one.paths:
            require_below(path, settings.below)
    return settings


def require_below(path: Path, folders: tuple[Path, ...]) -> None:
    """Refuse a file that does not lie below one of some folders, where there are any.

    Raises
    ------
    UsageError
        It does not; links count as what they lead to.
    """
    real = path.resolve()
    if folders and not any(real.is_relative_to(folder.resolve()) for folder in folders):
        to = "" if real == path.absolute() else f", which leads to {real},"
        raise UsageError(
            f"{path}{to} does not lie below {' or '.join(map(str, folders))}.",
            next_step="Move it there, or name its folder in below.",
        )
