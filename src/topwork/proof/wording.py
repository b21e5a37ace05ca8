"""What drives each class of texts: words that raise its score wherever they stand.

A word counts by how much warmer it is than the text around it, on average over the texts that speak most for the
class, so that a word that happens to stand beside a telling one once does not rise. It knows no tokens.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from topwork.contracts import LinearHead, Piece, Table
from topwork.proof.occluding import Occluder
from topwork.proof.regions import TITLE, most_frequent, wanted
from topwork.steps.order import Rows
from topwork.training.heatmaps import contrast

__all__ = ["telling_words", "words_of"]

_PER_LABEL = 8
"""Words shown of each class, and texts looked at for it."""


def words_of(occluder: Occluder, rows: Rows, name: str, head: LinearHead, most_labels: int) -> Table | None:
    """List the words that speak most for each label of a target, in validation and test texts.

    Returns
    -------
    None where training data are not to be kept, where the user stops it, or where no word speaks for anything.
    """
    if not occluder.order.options.keep_training_data:
        return None
    labels = most_frequent(rows.truth[name], most_labels)
    pairs = [
        (row, label) for row, own in sorted(wanted(rows, head, labels, _PER_LABEL).items()) for label in own
    ]
    shown_of = occluder.shown([(row, contrast(head.weight, label)) for row, label in pairs])
    if occluder.order.around.should_stop():
        return None
    seen: dict[int, list[Sequence[Piece]]] = {label: [] for label in labels}
    for (_, label), one in zip(pairs, shown_of, strict=True):
        seen[label].append(() if one is None else one.pieces)
    names = rows.targets[name].labels
    told = ((names[label], _listed(telling_words(texts)[:_PER_LABEL])) for label, texts in seen.items())
    shown = tuple((label, listed) for label, listed in told if listed)
    cut = f" The {len(labels)} most frequent of {len(names)} classes." if len(labels) < len(names) else ""
    return Table(TITLE, ("class", "words, the most telling first"), shown, _CAPTION + cut) if shown else None


_CAPTION = (
    f"Words by which the score of a class falls most when they are taken away, more than by the words around them, "
    f"over the {_PER_LABEL} validation and test texts that speak most for it; in parentheses in how many of these."
)


def telling_words(texts: Iterable[Sequence[Piece]]) -> list[tuple[str, int]]:
    """Return words, the most telling first, and in how many of the texts each stands.

    Parameters
    ----------
    texts
        Each in pieces of a word or of what stands between words, with its heat.
    """
    warmer: dict[str, list[float]] = defaultdict(list)
    for text in texts:
        for word, heat in _over_its_text(text).items():
            warmer[word].append(heat)
    total = {word: sum(heats) for word, heats in warmer.items()}
    return [
        (word, len(warmer[word])) for word in sorted(total, key=lambda w: (-total[w], w)) if total[word] > 0
    ]


def _over_its_text(text: Sequence[Piece]) -> Mapping[str, float]:
    """Return by how much each word of a text is warmer than its words are on average."""
    heats: dict[str, list[float]] = defaultdict(list)
    for piece in text:
        if word := _bare(piece.text):
            heats[word].append(piece.heat)
    own = {word: sum(several) / len(several) for word, several in heats.items()}
    mean = sum(own.values()) / max(1, len(own))
    return {word: heat - mean for word, heat in own.items()}


def _bare(text: str) -> str:
    """Return a word without what stands around it, in lower case; empty where no letter is in it."""
    bare = text.strip().strip("\"'`.,;:!?()[]{}<>…„“”‘’«»-–—*/").casefold()
    return bare if any(one.isalpha() for one in bare) else ""


def _listed(words: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{word} ({n})" for word, n in words)
