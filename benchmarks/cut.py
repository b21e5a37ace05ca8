"""What each kind of target and each recipe needs outside its own files: lines of the package's code that know it.

A line knows a kind if it says one of its words; comments and docstrings do not count, blocks that are named after it
count whole, and its line in ``pyproject.toml`` counts too. The aim is none: every line is a place that a plugin of the
same kind could not reach.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Table
from benchmarks.place import Place
from benchmarks.processes import ROOT
from benchmarks.results import Section

__all__ = ["Kind", "known_by", "measure"]

_PACKAGE = ROOT / "src" / "topwork"
_MOST_PLACES = 6


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of target or a recipe: the words that only it goes by, as a pattern, and the files that are its own."""

    name: str
    words: str
    own: tuple[str, ...]


_TARGETS = (
    Kind(
        "classification",
        r"classification|softmax|has_classes|Softmax",
        ("tasks/classification.py", "evaluation/classification.py", "training/probe.py"),
    ),
    Kind(
        "multilabel",
        r"multilabel|label_sets?|sigmoid|Sigmoid",
        ("tasks/multilabel.py", "tasks/label_sets.py", "evaluation/multilabel.py", "training/sigmoid.py"),
    ),
    Kind(
        "ordinal",
        r"ordinal|thresholds|cumulative|Cumulative|of_ranks|exceeded",
        ("tasks/ordinal.py", "evaluation/ordinal.py", "training/thresholds.py"),
    ),
    Kind(
        "regression",
        r"regression|\"identity\"|IdentitySolver|ridge|of_numbers|squared_error",
        (
            "tasks/regression.py",
            "tasks/numbers.py",
            "evaluation/regression.py",
            "evaluation/conformal.py",
            "training/ridge.py",
        ),
    ),
    Kind(
        "survival",
        r"survival|hazard|Hazard|with_events|lifetimes|\bevent\b|durations",
        (
            "tasks/survival.py",
            "tasks/durations.py",
            "steps/events.py",
            "evaluation/survival.py",
            "evaluation/lifetimes.py",
            "training/cox.py",
        ),
    ),
)
_RECIPES = (
    Kind("full", r"recipes\.full|FullRecipe", ("recipes/full.py",)),
    Kind("head", r"recipes\.head|HeadRecipe", ("recipes/head.py",)),
    Kind("hyperrule", r"hyperrule|HYPERRULE", ("recipes/hyperrule.py",)),
    Kind(
        "gradual",
        r"gradual|GRADUAL|masked_words|text_masking",
        ("recipes/gradual.py", "training/masked_words.py", "inputs/text_masking.py"),
    ),
    Kind("lora", r"\blora\b|\bLORA\b|adapters", ("recipes/lora.py", "recipes/adapters.py")),
)


def measure(place: Place) -> Section:
    """Count; nothing is timed."""
    del place
    head = ("", "lines in its own files", "lines outside", "where")
    return Section(
        name="cut",
        title="What a kind of target and a recipe need outside their own files",
        goals=(),
        tables=(
            Table(("target", *head[1:]), [_row(one) for one in _TARGETS]),
            Table(("recipe", *head[1:]), [_row(one) for one in _RECIPES]),
        ),
        notes=(
            "Lines of code that say a word of the kind, and blocks named after it; without comments and docstrings. "
            "Words that several kinds share, such as those for numbers, count for the one that they were written for.",
            "What was made general for the sake of a kind, such as rows without a label for `gradual`, names no kind "
            "and is not counted.",
        ),
    )


def _row(kind: Kind) -> tuple[str, ...]:
    own = sum(len(_code_lines(_PACKAGE / name)) for name in kind.own)
    outside = {
        str(path.relative_to(_PACKAGE)): known_by(path.read_text(encoding="utf-8"), kind.words)
        for path in sorted(_PACKAGE.rglob("*.py"))
        if str(path.relative_to(_PACKAGE)) not in kind.own
    }
    found = sorted(((n, name) for name, n in outside.items() if n), reverse=True)
    places = ", ".join(f"{name} {n}" for n, name in found[:_MOST_PLACES])
    further = f" and {len(found) - _MOST_PLACES} more" if len(found) > _MOST_PLACES else ""
    return kind.name, str(own), str(sum(outside.values()) + 1), f"pyproject.toml 1, {places}{further}"


def known_by(source: str, words: str) -> int:
    """Return how many lines of code know a kind by its words, a pattern."""
    pattern, lines = re.compile(words), source.splitlines()
    code = _code_of(source)
    said = {number for number in code if pattern.search(lines[number - 1].split("  # ")[0])}
    whole = {number for block in _named(ast.parse(source), pattern) for number in block if number in code}
    return len(said | whole)


def _code_lines(path: Path) -> set[int]:
    return _code_of(path.read_text(encoding="utf-8"))


def _code_of(source: str) -> set[int]:
    """Return the numbers of lines that hold code: no blank lines, comments or texts that stand alone."""
    texts = {number for block in _texts(ast.parse(source)) for number in block}
    lines = enumerate(source.splitlines(), start=1)
    return {number for number, line in lines if line.strip() and not line.strip().startswith("#")} - texts


def _texts(tree: ast.AST) -> Iterator[Sequence[int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _named(tree: ast.AST, pattern: re.Pattern[str]) -> Iterator[Sequence[int]]:
    """Yield the lines of functions and classes whose names say a word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and pattern.search(node.name):
            yield range(node.lineno, (node.end_lineno or node.lineno) + 1)
