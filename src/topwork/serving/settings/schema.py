"""The JSON Schema of a settings file, made from the classes in `settings`; editors complete and check by it.

What only a running server can know (whether a bundle is there, whether two models share a name) is not in it.
"""

from __future__ import annotations

import json
from dataclasses import MISSING
from typing import TYPE_CHECKING

from topwork.serving.settings.declared import ServerSettings, Setting, settings_of
from topwork.serving.settings.kinds import Part, Section, Sections, Several

if TYPE_CHECKING:
    from topwork.contracts import Json

__all__ = ["schema", "text"]

Object = dict[str, "Json"]


def schema() -> Object:
    """Return the whole schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "topwork.yaml",
        "description": "Settings of `topwork serve -c topwork.yaml`.",
        **_group(ServerSettings),
        "type": ["object", "null"],
    }


def text() -> str:
    """Return the schema as the text of a file."""
    return json.dumps(schema(), indent=2) + "\n"


def _group(cls: type) -> Object:
    settings = settings_of(cls)
    required: list[Json] = [one.key for one in settings if one.default is MISSING]
    return {
        "type": "object",
        "properties": {one.key: _setting(one) for one in settings},
        **({"required": required} if required else {}),
        **_either(cls),
        "additionalProperties": False,
    }


def _either(cls: type) -> Object:
    """Return that exactly one of some settings is given, where a group has such."""
    sources: tuple[str, ...] = getattr(cls, "sources", ())
    return {"oneOf": [{"required": [word]} for word in sources]} if sources else {}


def _setting(setting: Setting) -> Object:
    described: Object = {"description": setting.kind.about, **_kind(setting)}
    if isinstance(setting.kind, Section | Sections | Several | Part) or setting.default in (MISSING, None):
        return described
    return {
        **described,
        "default": setting.kind.show(setting.default) if _has_unit(setting) else _plain(setting),
    }


def _kind(setting: Setting) -> Object:
    kind = setting.kind
    if isinstance(kind, Section) and setting.holds is not None:
        return {**_group(setting.holds), "type": ["object", "null"]}
    if isinstance(kind, Sections) and setting.holds is not None:
        return {"type": "array", "items": _group(setting.holds)}
    if isinstance(kind, Several):
        return {"type": "array", "items": kind.item.schema()}
    assert not isinstance(kind, Section | Sections)
    return kind.schema()


def _has_unit(setting: Setting) -> bool:
    return setting.field != setting.key


def _plain(setting: Setting) -> Json:
    assert isinstance(setting.default, str | int | float)
    return setting.default
