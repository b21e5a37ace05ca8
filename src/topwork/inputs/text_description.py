"""Describing a text by its words: the classical baseline that no pretrained network is in.

Words and pairs of neighbouring words, weighed by how rare they are (TF-IDF: Salton & Buckley 1988, with sublinear
counts). scikit-learn counts them. It knows no label and no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from topwork.errors import MissingExtraError

__all__ = ["weigh_words"]

_MOST_TERMS = 200_000
_LEAST_TEXTS = 2
"""A word of a single text tells nothing of others; with few texts every word is kept."""
_FEW_TEXTS = 500


def weigh_words(fitted: Sequence[str], tested: Sequence[str]) -> tuple[Any, Any]:
    """Return TF-IDF of clean texts as SciPy's CSR ``float32 [n, m]``; which words there are comes from ``fitted``.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError(
            "Weighing words needs scikit-learn, which is not installed.",
            next_step="Install topwork with its extra text.",
        ) from error
    counter = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, 2),
        min_df=_LEAST_TEXTS if len(fitted) > _FEW_TEXTS else 1,
        max_features=_MOST_TERMS,
        strip_accents="unicode",
        token_pattern=r"(?u)\b\w+\b|[^\w\s]",  # noqa: S106 - of words, not of passwords
        dtype=np.float32,
    )
    return counter.fit_transform(fitted), counter.transform(tested)
