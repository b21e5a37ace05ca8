"""Story trees: a beginning, what a player may do, what comes of it, and so on; each way through one is a text.

``{"first_story_block": …, "action_results": [{"action": …, "result": …, "action_results": […]}]}``. It knows no tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from topwork.data.player_words import MARK, as_action, marked
from topwork.errors import DataError

__all__ = ["FIRST", "Deed", "StoryTree", "Way", "read_story_tree", "ways_through"]

FIRST: Final = "first_story_block"
"""Key by which such a file is known."""

_NEXT: Final = "action_results"
_MOST_NODES: Final = 100_000
_MOST_DEEP: Final = 200
_MOST_LETTERS: Final = 200_000_000
_KEYS: Final = {"root": {FIRST, _NEXT, "tree_id", "context"}, "node": {"action", "result", _NEXT}}


@dataclass(frozen=True, slots=True)
class Deed:
    """An action as the game writes it, what came of it, and the number of the deed that it follows; -1 for none."""

    action: str
    result: str
    after: int
    where: str


@dataclass(frozen=True, slots=True)
class StoryTree:
    """A beginning, and deeds in an order in which each stands behind the one that it follows."""

    first: str
    deeds: tuple[Deed, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """A way from the beginning to an end.

    Attributes
    ----------
    pieces
        Parts of its text, each with whether it is to be learned here: what another way has taught already is not, and
        no action is, for that is the player's.
    where
        Its last node.
    """

    pieces: tuple[tuple[str, bool], ...]
    where: str


def read_story_tree(name: str, content: bytes) -> StoryTree:
    """Read a tree out of a file's bytes.

    Raises
    ------
    DataError
        It is no JSON, no such tree, or larger than any that a person wrote; the node is named.
    """
    root = _parsed(name, content)
    first = _text(root, FIRST, f"{name}, the root")
    _require_keys(root, "root", f"{name}, the root")
    if context := root.get("context"):
        first = f"{_said(context, 'context', name)}\n\n{first}"
    deeds: list[Deed] = []
    waiting = [(node, -1, 1) for node in reversed(_nodes(root, name, "root"))]
    while waiting:
        (where, node), after, depth = waiting.pop()
        if depth > _MOST_DEEP or len(deeds) >= _MOST_NODES:
            raise DataError(
                f"{where}: the tree has more than {_MOST_DEEP:,} turns on a way or {_MOST_NODES:,} nodes.",
                next_step="Part it into several trees.",
            )
        deeds.append(_deed(node, after, where))
        place = len(deeds) - 1
        waiting += [(one, place, depth + 1) for one in reversed(_nodes(node, where, "node"))]
    return StoryTree(first, tuple(deeds))


def ways_through(tree: StoryTree, name: str) -> Iterator[Way]:
    """Give each way from the beginning to an end; every passage is learned on the first way that it stands on.

    Raises
    ------
    DataError
        All ways together are too long.
    """
    has_more = {one.after for one in tree.deeds}
    taught: set[int] = set()
    n_letters = 0
    for place, deed in enumerate(tree.deeds):
        if place in has_more:
            continue
        way = _way(tree, place)
        pieces = [_passage(tree.first, -1, taught, is_last=False)]
        for one in way:
            pieces.append((marked(tree.deeds[one].action).removeprefix(MARK), False))
            pieces.append(_passage(tree.deeds[one].result, one, taught, is_last=one == place))
        n_letters += sum(len(text) for text, _ in pieces)
        if n_letters > _MOST_LETTERS:
            raise DataError(
                f"All ways through {name} together have more than {_MOST_LETTERS:,} letters.",
                next_step="Part the tree into several.",
            )
        yield Way(tuple(pieces), deed.where)
    if not tree.deeds:
        yield Way(((tree.first, True),), name)


# --- small parts ------------------------------------------------------------------------------------------


def _passage(text: str, place: int, taught: set[int], *, is_last: bool) -> tuple[str, bool]:
    """Return what the model writes, with the mark by which it leaves the next action to the player."""
    is_new = place not in taught
    taught.add(place)
    return (text if is_last else text + MARK), is_new


def _way(tree: StoryTree, place: int) -> list[int]:
    way = []
    while place >= 0:
        way.append(place)
        place = tree.deeds[place].after
    return way[::-1]


def _parsed(name: str, content: bytes) -> Mapping[str, Any]:
    try:
        root = json.loads(content)
    except RecursionError:
        raise DataError(
            f"{name} is nested too deeply; a story tree has at most {_MOST_DEEP:,} turns on a way.",
            next_step="Part it into several trees.",
        ) from None
    except ValueError as error:
        raise DataError(f"{name} is no JSON: {error}.", next_step="Look at it with an editor.") from None
    if not isinstance(root, dict) or FIRST not in root:
        raise DataError(
            f"{name} is no story tree: it has no {FIRST!r}.",
            next_step='Expected {"first_story_block": …, "action_results": [{"action": …, "result": …}]}.',
        )
    return root


def _nodes(node: Mapping[str, Any], where: str, kind: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = node.get(_NEXT, [])
    if found is None:
        return []
    if not isinstance(found, list):
        raise _wrong(where, _NEXT, "a list", found)
    prefix = f"{where}, " if kind == "root" else f"{where}."
    named = [(f"{prefix}{_NEXT}[{number}]", one) for number, one in enumerate(found)]
    for path, one in named:
        if not isinstance(one, dict):
            raise DataError(f"{path} is {_kind(one)}; expected an object with an action and a result.")
    return named


def _deed(node: Mapping[str, Any], after: int, where: str) -> Deed:
    _require_keys(node, "node", where)
    action = as_action(_text(node, "action", where))
    return Deed(action, _text(node, "result", where), after, where)


def _require_keys(node: Mapping[str, Any], kind: str, where: str) -> None:
    if unknown := sorted(set(node) - _KEYS[kind]):
        raise DataError(
            f"{where} has the key {unknown[0]!r:.60}; expected {', '.join(sorted(_KEYS[kind]))}.",
            next_step="Look for a slip of the pen, or leave the key out.",
        )


def _text(node: Mapping[str, Any], key: str, where: str) -> str:
    if key not in node:
        raise DataError(f"{where} has no {key!r}.", next_step="Give it one, or take the node out.")
    return _said(node[key], key, where)


def _said(value: object, key: str, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(where, key, "a text", value)
    if not value.strip(" \n\t>"):
        raise DataError(f"{where}: {key!r} is empty.", next_step="Give it a text, or take the node out.")
    return value.strip()


def _wrong(where: str, key: str, expected: str, value: object) -> DataError:
    return DataError(f"{where}: {key!r} is {_kind(value)}; expected {expected}.")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
