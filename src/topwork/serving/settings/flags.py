"""The settings of a server as flags: which there are, and settings with those that were given put in place.

It knows no command line; whoever has one makes its options from `flags`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from topwork.errors import UsageError
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.settings.declared import ModelSettings, ServerSettings, Setting, settings_of
from topwork.serving.settings.kinds import Kind, Part, Section, Sections, Several

__all__ = ["Flag", "flags", "with_flags"]

ARGUMENTS = {"bundle"}
"""What a command takes without a flag."""


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes
    ----------
    name
        The flag's word with underscores: ``max_body`` is given as ``--max-body``.
    group
        The class whose field it sets.
    kind
        What a word after it may be.
    several
        Whether it may be given several times.
    """

    name: str
    group: type
    setting: Setting
    kind: Kind
    several: bool

    @property
    def default(self) -> str | None:
        """What holds without it, as a person writes it; None where that goes without saying."""
        value = self.setting.default
        return None if self.several or value is None else self.kind.show(value)


@cache
def flags() -> tuple[Flag, ...]:
    """Return the flags of all settings: the server's, each model's, its worker processes, the limits."""
    groups = (ServerSettings, ModelSettings, Policy, Limits)
    return tuple(
        _flag(group, one)
        for group in groups
        for one in settings_of(group)
        if one.holds is None and one.key not in ARGUMENTS
    )


def _flag(group: type, setting: Setting) -> Flag:
    kind = setting.kind
    assert not isinstance(kind, Section | Sections | Part)
    several = isinstance(kind, Several)
    return Flag(setting.key, group, setting, kind.item if isinstance(kind, Several) else kind, several)


def with_flags(
    settings: ServerSettings, bundles: Sequence[Path] = (), given: Mapping[str, Any] | None = None
) -> ServerSettings:
    """Return the settings with what was given in place of what they had.

    Parameters
    ----------
    bundles
        Models, in place of those of the settings; none leaves these as they are.
    given
        Values by the names of flags; that of a model's setting goes for every model.

    Raises
    ------
    UsageError
        A limit is none, or a model's setting is given where no model is.
    """
    chosen: dict[type, dict[str, Any]] = {ServerSettings: {}, ModelSettings: {}, Policy: {}, Limits: {}}
    for flag in flags():
        if given and flag.name in given:
            chosen[flag.group][flag.setting.field] = given[flag.name]
    trunk = chosen[ModelSettings].get("trunk")
    alone = () if bundles or trunk is None else (ModelSettings(trunk=trunk),)
    models = tuple(ModelSettings(bundle) for bundle in bundles) or alone or settings.models
    if not models and (of_models := [*chosen[ModelSettings], *chosen[Policy]]):
        raise UsageError(
            f"{', '.join(of_models)} is for models that are named; those of a folder are as they are.",
            next_step="Name the bundle, or write it into a settings file.",
        )
    return replace(
        settings,
        models=tuple(_staffed(_changed(one, chosen[ModelSettings]), chosen[Policy]) for one in models),
        limits=replace(settings.limits, **chosen[Limits]),
        **chosen[ServerSettings],
    )


def _staffed(model: ModelSettings, given: Mapping[str, Any]) -> ModelSettings:
    """Put what was given of every model's worker processes in place."""
    if model.versions and given:
        staffed = tuple(replace(one, replicas=replace(one.replicas, **given)) for one in model.versions)
        return replace(model, versions=staffed)
    return replace(model, replicas=replace(model.replicas, **given)) if given else model


def _changed(model: ModelSettings, given: Mapping[str, Any]) -> ModelSettings:
    """Put what was given for every model in place; of a chain, in its models, but for the name and its own code."""
    if model.versions:
        own = {name: given[name] for name in given if name == "name"}
        rest = {name: given[name] for name in given if name not in own}
        return replace(model, **own, versions=tuple(replace(one, **rest) for one in model.versions))
    if not model.chain:
        return replace(model, **given)
    own = {name: given[name] for name in given if name in ("name", "app")}
    links = {name: given[name] for name in given if name not in own}
    return replace(model, **own, chain=tuple(replace(one, **links) for one in model.chain))
