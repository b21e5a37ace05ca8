"""A settings file, read strictly: YAML whose every key is known, stands once, and holds a value of its kind.

What a plain word means is what JSON would say: ``no`` is a text, ``010`` no number. It knows no setting by name; what
there is, it reads off the classes in `settings`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from topwork.errors import UsageError
from topwork.serving.extra import missing
from topwork.serving.settings.declared import ServerSettings, Setting, settings_of
from topwork.serving.settings.kinds import Kind, Part, Scalar, Section, Sections, Several
from topwork.storage import explain

if TYPE_CHECKING:
    from yaml.nodes import Node

    from topwork.contracts import Json

__all__ = ["read_settings"]

MAX_BYTES = 2**20
DEEPEST = 20
"""Levels of a part of an answer; no answer has as many."""
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}
"""What everything has that was given no tag."""

WORDS: dict[str, Scalar] = {"": None, "null": None, "~": None, "true": True, "false": False}


def read_settings(path: Path) -> ServerSettings:
    """Read a settings file; paths in it that are relative are meant from its folder.

    Raises
    ------
    UsageError
        It says what it may not say; the message names the line.
    StorageError
        It cannot be read.
    MissingExtraError
        There is no reader for YAML here.
    """
    page = _Page(path)
    node = page.compose(_text_of(path))
    settings = ServerSettings() if node is None else page.group(node, ServerSettings, "the file")
    assert isinstance(settings, ServerSettings)
    return settings


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise explain(error, path, doing="read") from error
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{path} has more than {MAX_BYTES:,} bytes, the most that a settings file may have.",
            next_step="Give a settings file; a bundle is given as an argument.",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(
            f"{path}, line {line}: this is no text in UTF-8.", next_step="Save it as UTF-8."
        ) from error


@dataclass(frozen=True, slots=True)
class _Page:
    """The file while it is read: it knows its name, for whoever has to mend it."""

    path: Path

    def wrong(self, node: Node, problem: str, step: str = "") -> UsageError:
        return UsageError(f"{self.path}, line {node.start_mark.line + 1}: {problem}", next_step=step)

    def compose(self, text: str) -> Node | None:
        """Return the tree of the file, in which every scalar is still text."""
        try:
            import yaml
        except ImportError as error:
            raise missing(error) from error
        try:
            # This loader only takes YAML apart; it makes no objects, whatever a tag asks for.
            return yaml.compose(text, yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise UsageError(
                f"{self.path}, line {line}: this is no YAML: {error.problem}.",
                next_step="Look at the indentation of that line and of the one before it.",
            ) from error
        except yaml.YAMLError as error:
            raise UsageError(f"{self.path} is no YAML: {error}.") from error
        except RecursionError:
            raise UsageError(f"{self.path} is nested more deeply than any settings are.") from None

    # --- what there may be ------------------------------------------------------------------------------

    def group(self, node: Node, cls: type, where: str) -> Any:
        """Read a group of settings."""
        known = {one.key: one for one in settings_of(cls)}
        values: dict[str, object] = {}
        for key, line, value in self._pairs(node, known, where):
            setting = known[key.value]
            if setting.field in values:
                raise self.wrong(
                    key, f"{setting.key} stands here a second time.", f"The first is on line {line}."
                )
            values[setting.field] = self._value(value, setting)
        for one in known.values():
            if one.default is MISSING and one.field not in values:
                raise self.wrong(node, f"{where} has no {one.key}.", f"Add {one.key}: {one.kind.about}")
        try:
            return cls(**values)
        except UsageError as error:
            raise self.wrong(node, error.problem, error.next_step) from error

    def _pairs(self, node: Node, known: dict[str, Setting], where: str) -> Iterator[tuple[Node, int, Node]]:
        """Yield each key, the line where a key of its name stood first, and its value."""
        self._require_no_tag(node)
        if node.id != "mapping" and not self._is_nothing(node):
            raise self.wrong(node, f"{where} is {_shown(node)}; expected settings, one NAME: VALUE a line.")
        first: dict[str, int] = {}
        for key, value in node.value if node.id == "mapping" else ():
            if key.id != "scalar" or key.value not in known:
                raise self._unknown(key, known, where)
            yield key, first.setdefault(key.value, key.start_mark.line + 1), value

    def _require_no_tag(self, node: Node) -> None:
        if node.tag not in TAGS:
            raise self.wrong(node, f"the tag {node.tag} is not taken here.", "Leave it out.")

    def _is_nothing(self, node: Node) -> bool:
        return node.id == "scalar" and self._scalar(node) is None

    def _unknown(self, key: Node, known: dict[str, Setting], where: str) -> UsageError:
        close = difflib.get_close_matches(key.value, known, n=1) if key.id == "scalar" else []
        return self.wrong(
            key,
            f"{where} has no setting {_shown(key)}; it has {', '.join(known)}.",
            f"Did you mean {close[0]}?" if close else "`topwork serve --schema` describes them all.",
        )

    def _value(self, node: Node, setting: Setting) -> object:
        if setting.holds is not None and isinstance(setting.kind, Section):
            return self.group(node, setting.holds, setting.key)
        if setting.holds is not None and isinstance(setting.kind, Sections):
            items = enumerate(self._items(node, setting), start=1)
            return tuple(self.group(item, setting.holds, f"entry {n} of {setting.key}") for n, item in items)
        if isinstance(setting.kind, Several):
            kind = setting.kind.item
            return tuple(
                self._one(item, kind, f"an entry of {setting.key}") for item in self._items(node, setting)
            )
        if isinstance(setting.kind, Part):
            return self._part(node, setting.key)
        assert not isinstance(setting.kind, Section | Sections)
        return self._one(node, setting.kind, setting.key)

    def _part(self, node: Node, where: str, depth: int = 0) -> dict[str, Json]:
        """Read a group whose keys nobody knows here, as JSON would have it."""
        self._require_no_tag(node)
        step = "Write it like {detector: {label: plate}}, with quotes around what is meant as text."
        if node.id != "mapping":
            raise self.wrong(node, f"{where} is {_shown(node)}; expected a group.", step)
        part: dict[str, Json] = {}
        for key, value in node.value:
            if key.id != "scalar" or key.value in part:
                raise self.wrong(key, f"{where} has the key {_shown(key)} twice, or it is no text.", step)
            part[key.value] = self._free(value, f"{where}.{key.value}", depth)
        return part

    def _free(self, node: Node, where: str, depth: int) -> Json:
        if depth > DEEPEST:  # an alias may stand for what it lies in
            raise self.wrong(node, f"{where[:80]}… is nested too deeply.", "Write a part of an answer.")
        if node.id == "mapping":
            return self._part(node, where, depth + 1)
        if node.id == "sequence":
            self._require_no_tag(node)
            return [self._free(item, where, depth + 1) for item in node.value]
        return self._scalar(node)

    def _items(self, node: Node, setting: Setting) -> list[Node]:
        self._require_no_tag(node)
        if node.id != "sequence":
            raise self.wrong(
                node,
                f"{setting.key} is {_shown(node)}; expected a list.",
                "Write [A, B], or each entry on a line of its own that begins with a dash.",
            )
        return list(node.value)

    def _one(self, node: Node, kind: Kind, where: str) -> object:
        self._require_no_tag(node)
        if node.id != "scalar":
            raise self.wrong(node, f"{where} is {_shown(node)}; expected {kind.expected}.")
        given = self._scalar(node)
        try:
            value = kind.read(given)
        except (ValueError, OverflowError) as error:
            step = "A number is a text in quotes." if kind.expected == "a text" else ""
            raise self.wrong(node, f"{where} is {_shown(node)}; expected {kind.expected}.", step) from error
        return self.path.parent / value if isinstance(value, Path) else value

    def _scalar(self, node: Node) -> Scalar:
        """Return what a scalar means: in quotes a text, else as JSON has it, and where that has nothing a text."""
        text: str = node.value
        if getattr(node, "style", None) is not None:
            return text
        if text in WORDS:
            return WORDS[text]
        if NUMBER.fullmatch(text) is None or len(text) > 100:
            return text
        number: int | float = json.loads(text)
        return number


def _shown(node: Node) -> str:
    """Return a piece of a file as part of a sentence."""
    if node.id != "scalar":
        return {"sequence": "a list", "mapping": "a group"}[node.id]
    text = node.value if len(node.value) <= 80 else f"{node.value[:80]}…"
    return repr(text) if node.style is not None or not text.isprintable() else text or "empty"
