"""Golden texts of a language model: what it cost it to say them when it was fitted, and the proof that it still does.

A golden text is a text, its tokens, and the logarithm of the probability of each after those before it, in fp32. It
knows no library of networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from topwork.bundle.contents import Bundle
from topwork.bundle.goldens import Golden
from topwork.contracts import Precision
from topwork.engines.paged import PagedEngine, WritingEngine
from topwork.errors import BundleError, ProofError, UsageError
from topwork.inputs.vocabulary import WRITING, Vocabulary

__all__ = ["golden_texts", "prove_writing", "vocabulary_of"]

_OUTPUT: Final = "scores"
_MOST_TOKENS: Final = 64
_TOLERANCE: Final[Mapping[Precision, float]] = MappingProxyType(
    {"fp32": 1e-3, "fp16": 0.5, "bf16": 0.5, "int8": 0.6}
)
"""Root mean square of the differences of log probabilities over a text, in nats.

Measured on SmolLM2-135M and 20 beginnings of film reviews of 64 tokens each, beside transformers in fp32, the largest
were 1.5e-5 in fp32, 0.16 in bf16 and 0.21 with weights in eight bits.
"""
_AGAIN: Final = "Fit the bundle again, or use the version of topwork that wrote it."


def golden_texts(
    texts: Sequence[tuple[str, str]], vocabulary: Vocabulary, engine: PagedEngine
) -> tuple[Golden, ...]:
    """Keep what it costs to say the beginnings of texts, given with their names.

    Raises
    ------
    UsageError
        The engine is not exact.
    """
    if engine.precision != "fp32":
        raise UsageError(f"Golden texts need an engine in fp32; this one computes in {engine.precision}.")
    found = []
    for key, text in texts:
        tokens = np.array(vocabulary.opening(text)[:_MOST_TOKENS], np.int64)
        begun = vocabulary.decode(tokens.tolist())
        if len(tokens) > 1 and vocabulary.opening(begun) == tokens.tolist():
            outputs = {_OUTPUT: engine.said(tokens.tolist()).astype(np.float32)}
            found.append(Golden(key, begun.encode("utf-8"), tokens, outputs))
    return tuple(found)


def prove_writing(
    bundle: Bundle, vocabulary: Vocabulary, engine: WritingEngine, *, adapter: str = ""
) -> None:
    """Say the golden texts again, with one of the engine's adapters where it is named.

    Raises
    ------
    ProofError
        They become other tokens, or are said with other probabilities.
    """
    for golden in bundle.goldens():
        tokens = vocabulary.opening(golden.encoded.decode("utf-8"))
        if tokens != golden.tensor.tolist():
            raise ProofError(
                f"{bundle.path}: the golden text {golden.key} becomes other tokens than at the time of the fit.",
                next_step=_AGAIN,
            )
        found = engine.said(tokens, adapter)
        off = float(np.sqrt(np.mean((found - golden.outputs[_OUTPUT]) ** 2)))
        if not off <= _TOLERANCE[engine.precision]:
            raise ProofError(
                f"{bundle.path}: the golden text {golden.key} is said with other probabilities than at the time of the "
                f"fit: {off:.2g} nats off, at most {_TOLERANCE[engine.precision]:g} is allowed in {engine.precision}.",
                next_step=_AGAIN,
            )


def vocabulary_of(bundle: Bundle) -> Vocabulary:
    """Return the vocabulary of a bundle.

    Raises
    ------
    BundleError
        It holds no language model.
    """
    manifest = bundle.manifest
    if manifest.modality != WRITING:
        raise BundleError(
            f"{bundle.path} takes inputs of the kind {manifest.modality!r} and answers them; it writes nothing.",
            next_step="`topwork predict` asks it.",
        )
    try:
        return Vocabulary.from_json(manifest.preprocessing)
    except UsageError as error:
        raise BundleError(f"{bundle.path}: {error.problem}") from error
