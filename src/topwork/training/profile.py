"""What answers are like as a whole: how often each label is given, and how numbers are spread.

The same few words of an answer are read at the time of the fit and by a server: ``label``, ``labels``, ``value``,
``risk``, and as ``confidence`` the highest of its ``probabilities``. It knows no task: what an answer does not have is
not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from topwork.contracts import Array, Profile

__all__ = ["labels_of", "numbers_of", "profile_of", "to_statistics"]

_LABELS: Final = ("label", "labels")
_NUMBERS: Final = ("value", "risk", "confidence")
_QUANTILES = np.linspace(0, 1, 101)


def labels_of(answer: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the labels that an answer gives, by the word under which it gives them."""
    found = {word: answer[word] for word in _LABELS if word in answer}
    return {word: (one,) if isinstance(one, str) else tuple(map(str, one)) for word, one in found.items()}


def numbers_of(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers that an answer gives, by their words; with a single label also how sure it is of it."""
    found = {word: float(answer[word]) for word in _NUMBERS if isinstance(answer.get(word), float | int)}
    if "label" in answer and (shares := answer.get("probabilities")):
        found["confidence"] = float(max(shares.values()))
    return found


def to_statistics(answers: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> dict[str, Array]:
    """Return what a bundle keeps of answers of one target: counts of labels, percentiles of numbers.

    Returns
    -------
    dict
        ``said.n int64 []``, how many answers; ``said.label`` or ``said.labels int64 [k]``, how many give each label;
        and ``said.value``, ``said.risk`` or ``said.confidence float32 [101]``, percentiles.
    """
    if not answers:
        return {}
    found: dict[str, Array] = {"said.n": np.array(len(answers), np.int64)}
    for word in labels_of(answers[0]):
        counts = Counter(label for one in answers for label in labels_of(one)[word])
        found[f"said.{word}"] = np.array([counts[label] for label in labels], np.int64)
    for word in numbers_of(answers[0]):
        spread = np.quantile([numbers_of(one)[word] for one in answers], _QUANTILES)
        found[f"said.{word}"] = spread.astype(np.float32)
    return found


def profile_of(statistics: Mapping[str, Array], target: str, labels: Sequence[str]) -> Profile | None:
    """Return what was kept of the answers of a target; None where nothing was."""
    if (n := statistics.get(f"{target}.said.n")) is None:
        return None
    counts = {word: statistics.get(f"{target}.said.{word}") for word in _LABELS}
    spreads = {word: statistics.get(f"{target}.said.{word}") for word in _NUMBERS}
    return Profile(
        int(n),
        {
            word: dict(zip(labels, one.tolist(), strict=True))
            for word, one in counts.items()
            if one is not None and len(one) == len(labels)
        },
        {word: one for word, one in spreads.items() if one is not None},
    )
