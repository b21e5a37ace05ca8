"""What is asked of a fit on texts to write like, and what there is to learn: model, settings, sides, rows of tokens.

It trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from topwork import plugins
from topwork.contracts import LanguageModel, Resources
from topwork.data.corpus import Corpus, read_corpus
from topwork.data.corpus_check import prompted
from topwork.data.prompt_endings import common_ending
from topwork.engines.machine import Machine, limited_to, shared, survey
from topwork.errors import DataError, UsageError
from topwork.inputs.vocabulary import Vocabulary
from topwork.recipes.writing import WritingSettings
from topwork.steps.material import resources_of
from topwork.steps.options import FitOptions, Surroundings
from topwork.steps.settings import settings_with
from topwork.steps.speeds import DELIVERY_S
from topwork.steps.writing_rows import Sides, split_texts, tokenised
from topwork.training.packing import Packed, Tokenised, cut, pack
from topwork.trunks import DEFAULT_WRITER, resolve_writer

__all__ = ["WritingOrder", "WritingRows", "look_up_texts"]

_RECIPES: Mapping[str, WritingSettings] = {"lora": WritingSettings(), "full": WritingSettings(rank=0)}
_LOOKED_TOKENS, _TESTED_TOKENS = 4_096, 16_384
"""Of held-out texts: SmolLM2 reads some 800 tokens in a second on two cores, the test twice, validation seven times."""
_DELIVERY_S_PER_PARAMETER = 1.5e-7


@dataclass(frozen=True, slots=True, eq=False)
class WritingRows:
    """Texts of each side as tokens, and as rows; of what is held out only so much as is looked at."""

    train: Packed
    valid: Packed
    test: Packed
    texts: Mapping[str, list[Tokenised]]
    tested: list[Tokenised]


@dataclass(frozen=True, slots=True, eq=False)
class WritingOrder:
    """What was asked for, and what there is to learn."""

    data: str | Path
    model: LanguageModel
    vocabulary: Vocabulary
    recipe: str
    settings: WritingSettings
    budget: str | float | None
    seed: int
    options: FitOptions
    around: Surroundings
    machine: Machine
    resources: Resources
    corpus: Corpus
    sides: Sides
    rows: WritingRows

    @property
    def bf16(self) -> bool:
        """Whether what trains computes in bf16."""
        return self.resources.has_fast_bf16

    @property
    def device(self) -> str:
        """Where it is trained, as torch names it."""
        return self.resources.device

    @property
    def delivery_s(self) -> float:
        """Seconds of what comes after the test: counting n-grams, golden and other texts, the bundle."""
        return DELIVERY_S + _DELIVERY_S_PER_PARAMETER * self.model.card.n_parameters


def look_up_texts(
    data: str | Path,
    trunk: str | None,
    recipe: str,
    *,
    budget: str | float | None,
    seed: int,
    options: FitOptions,
    around: Surroundings,
) -> WritingOrder:
    """Read the texts, find the model, and make rows of them; the arguments are those of `topwork.fit_writer`."""
    settings = _settings_of(recipe, options)
    model = resolve_writer(trunk or DEFAULT_WRITER, plugins.writers())
    machine = shared(limited_to(survey(), around.device), around.n_cores)
    corpus = read_corpus(data, options.input)
    for line in (corpus.layout, *corpus.notes):
        around.progress.say(line)
    ending = common_ending([one.pieces[0].text for one in prompted(corpus)])
    vocabulary: Vocabulary = replace(model.vocabulary(), columns=corpus.columns, prompt_ending=ending)
    settings = replace(settings, length=min(settings.length, vocabulary.window))
    sides = split_texts(corpus, seed)
    rows = _rows(sides, vocabulary, settings.length, seed)
    return WritingOrder(
        data,
        model,
        vocabulary,
        recipe,
        settings,
        budget,
        seed,
        options,
        around,
        machine,
        resources_of(machine, around.device),
        corpus,
        sides,
        rows,
    )


def _settings_of(recipe: str, options: FitOptions) -> WritingSettings:
    if recipe not in _RECIPES:
        raise UsageError(
            f"There is no recipe {recipe!r} for texts to write like.",
            next_step=f"Give one of {', '.join(_RECIPES)}.",
        )
    return settings_with(recipe, _RECIPES[recipe], options.recipe_settings)


def _rows(sides: Sides, vocabulary: Vocabulary, length: int, seed: int) -> WritingRows:
    texts = {
        name: tokenised(documents, vocabulary)
        for name, documents in (("train", sides.train), ("valid", sides.valid), ("test", sides.test))
    }
    pieces = {name: cut(own, length) for name, own in texts.items()}
    for name, own in pieces.items():
        if not own:
            raise DataError(
                f"Nothing is to be learned of the texts of the side {name!r}.",
                next_step="Give more texts, or another --seed.",
            )
    valid = _some(pieces["valid"], _LOOKED_TOKENS, seed)
    tested = _some(pieces["test"], _TESTED_TOKENS, seed)
    train, looked, test = (pack(own, length) for own in (pieces["train"], valid, tested))
    return WritingRows(train, looked, test, texts, tested)


def _some(pieces: list[Tokenised], n_tokens: int, seed: int) -> list[Tokenised]:
    """Return pieces drawn by the seed, in their order, until they have so many tokens; all where there are no more."""
    order = np.random.default_rng(seed).permutation(len(pieces))
    upto = np.cumsum([len(pieces[i].tokens) for i in order])
    n_taken = int(np.searchsorted(upto, n_tokens)) + 1
    return [pieces[i] for i in np.sort(order[:n_taken])]
