"""Finding tasks, trunks, recipes and language models through entry points; the built-in ones enter by the same door.

A package adds one by naming an object in its metadata::

    [project.entry-points."topwork.tasks"]
    counting = "my_package:COUNTING"

Nothing is imported until a name is asked for. This module knows the groups and the protocol that each
must keep, and nothing of what is behind them.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Protocol, cast

from topwork.contracts import LanguageModel, Recipe, Task, Trunk
from topwork.errors import PluginError, UsageError

__all__ = [
    "GROUPS",
    "Plugin",
    "discover",
    "load",
    "recipe",
    "recipes",
    "task",
    "tasks",
    "trunk",
    "trunks",
    "writers",
]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "tasks": ("name", "needs", "learn", "restore", "link"),
    "trunks": ("card", "preprocessing", "identity", "fetch", "graph", "load", "stages"),
    "recipes": ("name", "requires", "__call__"),
    "writers": ("card", "vocabulary", "identity", "fetch", "graph", "load"),
}
"""Kind of plugin to the attributes that its protocol asks for."""


class _Distribution(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point: its kind, its name, the object it points to and the package that brought it."""

    kind: str
    name: str
    value: str
    package: str
    version: str
    entry: EntryPoint


def discover(kind: str, entries: Iterable[EntryPoint] | None = None) -> Mapping[str, Plugin]:
    """Return the plugins of a kind by name, without importing them; by default those that are installed.

    What is installed is read once, and again for another `sys.path`.

    Raises
    ------
    PluginError
        Two packages bring the same name.
    """
    return _installed(kind, tuple(sys.path)) if entries is None else _by_name(kind, entries)


@cache
def _installed(kind: str, path: tuple[str, ...]) -> Mapping[str, Plugin]:
    """Return what is found on a path, which is that of the process: reading it takes longer than all else here."""
    del path
    return _by_name(kind, entry_points(group=f"topwork.{kind}"))


def _by_name(kind: str, entries: Iterable[EntryPoint]) -> Mapping[str, Plugin]:
    found: dict[str, Plugin] = {}
    for entry in entries:
        plugin = _describe(kind, entry)
        other = found.setdefault(plugin.name, plugin)
        if (other.value, other.package) != (plugin.value, plugin.package):
            raise PluginError(
                f"Two packages bring {kind[:-1]} {plugin.name!r}: {other.package} ({other.value}) and "
                f"{plugin.package} ({plugin.value}).",
                next_step="Uninstall one of them.",
            )
    return MappingProxyType(dict(sorted(found.items())))


def _describe(kind: str, entry: EntryPoint) -> Plugin:
    source = cast("_Distribution | None", entry.dist)
    package, version = (source.name, source.version) if source else ("?", "?")
    return Plugin(kind, entry.name, entry.value, package, version, entry)


def load(plugin: Plugin) -> object:
    """Import what a plugin points to and hold it against its protocol.

    Raises
    ------
    PluginError
        It does not import, or lacks something that its protocol asks for.
    """
    try:
        thing = plugin.entry.load()
    except Exception as error:
        raise PluginError(
            f"The {plugin.kind[:-1]} {plugin.name!r} of package {plugin.package} does not load from "
            f"{plugin.value}: {type(error).__name__}: {error}.",
            next_step=f"Update or uninstall {plugin.package}.",
        ) from error
    missing = [name for name in GROUPS[plugin.kind] if not hasattr(thing, name)]
    if missing:
        raise PluginError(
            f"The {plugin.kind[:-1]} {plugin.name!r} of package {plugin.package} ({plugin.value}) lacks "
            f"{', '.join(missing)}.",
            next_step="See docs/plugins.md for what a plugin must offer.",
        )
    return thing


def _named(kind: str, name: str) -> object:
    found = discover(kind)
    if name not in found:  # it may have been installed since
        _installed.cache_clear()
        found = discover(kind)
    if name not in found:
        close = difflib.get_close_matches(name, found, n=1)
        raise UsageError(
            f"There is no {kind[:-1]} {name!r}; installed: {', '.join(found) or 'none'}.",
            next_step=f"Did you mean {close[0]!r}?"
            if close
            else "`topwork plugins` lists what is installed.",
        )
    return load(found[name])


def task(name: str) -> Task:
    """Return the task of that name."""
    return cast("Task", _named("tasks", name))


def recipe(name: str) -> Recipe:
    """Return the recipe of that name."""
    return cast("Recipe", _named("recipes", name))


def trunk(name: str) -> Trunk:
    """Return the trunk of the catalogue that has this name."""
    return cast("Trunk", _named("trunks", name))


def tasks() -> Mapping[str, Task]:
    """Return every task by name."""
    return {name: cast("Task", load(p)) for name, p in discover("tasks").items()}


def recipes() -> Mapping[str, Recipe]:
    """Return every recipe by name."""
    return {name: cast("Recipe", load(p)) for name, p in discover("recipes").items()}


def trunks() -> Mapping[str, Trunk]:
    """Return every trunk of the catalogue by name."""
    return {name: cast("Trunk", load(p)) for name, p in discover("trunks").items()}


def writers() -> Mapping[str, LanguageModel]:
    """Return every language model of the catalogue by name."""
    return {name: cast("LanguageModel", load(p)) for name, p in discover("writers").items()}
