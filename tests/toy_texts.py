"""Texts that are easy to tell apart, and a small tokeniser that knows their words."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

__all__ = [
    "LABELS",
    "SPECIAL",
    "TELLING",
    "toy_texts",
    "toy_tokenizer",
    "write_text_folders",
    "write_text_table",
]

LABELS = ("complaint", "praise")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
"""Special tokens of the toy tokeniser, numbered from 0."""

_THINGS = ("parcel", "chair", "lamp", "ticket", "meal", "room", "phone", "answer", "driver", "garden")
TELLING = {
    "complaint": ("broken", "late", "awful", "cold", "rude", "missing"),
    "praise": ("lovely", "quick", "perfect", "warm", "friendly", "bright"),
}
"""One of these words stands in every text of a label."""
_FRAMES = (
    "The {0} from {3} was {1} and the {2} too.",
    "My {0}: {1}! I told {3} about the {2}.",
    "{3} sent a {1} {0}, number {4}, with a {2}.",
    "After {4} days the {2} came. It was {1}, and so was the {0}.",
)
_NAMES = ("Anna", "Bo", "Chidi", "Dora", "Emil", "Fatou", "Gus", "Hana", "Igor", "Jun", "Kofi", "Lena")


def toy_texts(n: int = 60, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return ``n`` texts that all differ, and the label of each, by turns one of `LABELS`."""
    draw = random.Random(seed)
    labels = [LABELS[i % len(LABELS)] for i in range(n)]
    return [f"{_text(draw, label)} Order {i}." for i, label in enumerate(labels)], labels


def write_text_table(
    path: Path, n: int = 60, seed: int = 0, columns: Sequence[str] = ("text", "label")
) -> Path:
    """Write toy texts as a CSV file."""
    import csv

    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([columns, *zip(*toy_texts(n, seed), strict=True)])
    return path


def write_text_folders(root: Path, n: int = 60, seed: int = 0) -> Path:
    """Write toy texts as one file each, in one folder per label."""
    for i, (text, label) in enumerate(zip(*toy_texts(n, seed), strict=True)):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{i:04d}.txt").write_text(text, encoding="utf-8")
    return root


@cache
def toy_tokenizer(vocabulary: int = 300) -> str:
    """Return the content of a ``tokenizer.json``: WordPiece over the words of toy texts, with [CLS] and [SEP]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocab=_vocabulary(vocabulary), unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    return str(tokenizer.to_str())


def _vocabulary(size: int) -> dict[str, int]:
    """Return the pieces and their numbers: characters, then the most frequent words.

    The library's own trainer breaks ties at random, so that each process would have another tokeniser.
    """
    words = Counter(re.findall(r"\w+|[^\w\s]", " ".join(toy_texts(400, seed=1)[0]).lower()))
    characters = sorted(set("".join(words)))
    pieces = [*SPECIAL, *characters, *(f"##{one}" for one in characters if one.isalnum())]
    by_count = sorted((word for word in words if len(word) > 1), key=lambda word: (-words[word], word))
    return {piece: i for i, piece in enumerate([*pieces, *by_count][:size])}


def _text(draw: random.Random, label: str) -> str:
    parts = (
        draw.choice(_THINGS),
        draw.choice(TELLING[label]),
        draw.choice(_THINGS),
        draw.choice(_NAMES),
        draw.randint(2, 99),
    )
    return draw.choice(_FRAMES).format(*parts)
