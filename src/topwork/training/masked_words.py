"""Learning to guess masked words: a text network is adapted to texts of a field, without any label.

Devlin et al., *BERT: Pre-training of Deep Bidirectional Transformers*, arXiv 1810.04805, section 3.1: of 15 % of the
words, 80 % are hidden, 10 % are replaced by any word, and 10 % stay; the network says which they were. What it says is
decoded by the embeddings of its own words. It knows no tokeniser and no file; a text is windows of numbered tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from topwork.contracts import Array, Words
from topwork.training.folding import precision_of
from topwork.training.schedules import one_cycle
from topwork.training.trainee import put
from topwork.training.trial import seconds_of

__all__ = ["Guesses", "WordPlan", "guess_words", "hide", "seconds_of_step"]

_SHARE, _HIDDEN, _REPLACED = 0.15, 0.8, 0.9
_MOST_HELD, _HELD_PART = 500, 10
_DECAY, _LONGEST_GRADIENT = 0.01, 1.0


@dataclass(frozen=True, slots=True)
class WordPlan:
    """How long and how gently: steps, texts in a step, and peak rates of each stage from the lowest up."""

    n_steps: int
    batch: int
    rates: tuple[float, ...]
    warmup: float
    bf16: bool = False


@dataclass(frozen=True, slots=True)
class Guesses:
    """What came of it: mean loss in nats of masked words in texts that were not learnt from, and how it went.

    The decoder begins anew, so a part of what was gained is its own. ``kept`` tells whether the network was left as it
    was adapted; where the loss did not fall, it is what it was before.
    """

    before: float
    after: float
    n_steps: int
    n_texts: int
    n_held: int
    kept: bool


def hide(windows: Array, words: Words, draw: np.random.Generator) -> tuple[Array, Array]:
    """Hide words in windows ``int32 [n, w]`` (number of a token plus 1, 0 for none).

    Returns
    -------
    tuple
        The windows as the network is to see them, and which tokens it is to guess, ``bool [n, w]``.
    """
    is_word = (windows > 0) & ~np.isin(windows - 1, words.special)
    asked = is_word & (draw.random(windows.shape) < _SHARE)
    if not asked.any():
        asked.flat[np.flatnonzero(is_word)[:1]] = True
    fate = draw.random(windows.shape)
    ordinary = np.setdiff1d(np.arange(words.embedding.num_embeddings), words.special)
    seen = np.where(asked & (fate < _HIDDEN), words.mask + 1, windows)
    replaced = asked & (fate >= _HIDDEN) & (fate < _REPLACED)
    seen = np.where(replaced, draw.choice(ordinary, windows.shape) + 1, seen)
    return seen.astype(np.int32), asked


def guess_words(
    words: Words,
    stages: Sequence[Mapping[str, torch.nn.Parameter]],
    texts: Sequence[Callable[[], Array]],
    plan: WordPlan,
    *,
    seed: int,
    tell: Callable[[int], bool],
) -> Guesses:
    """Train a network to guess masked words, in place.

    Parameters
    ----------
    stages
        Its parameters by name, lowest stage first.
    texts
        Give windows ``int32 [k, w]`` of a text each; some of them are held out.
    tell
        Told after every step of how many texts it was; false where it is to stop.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(texts))
    n_held = min(_MOST_HELD, max(1, len(texts) // _HELD_PART))
    held, learnt = order[:n_held], order[n_held:]
    parameters = {name: p for stage in stages for name, p in stage.items()}
    start = {name: p.detach().clone() for name, p in parameters.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        guesser = _Guesser(words, _Decoder(words.n_features, words.embedding), texts, plan.bf16)
    before = guesser.mean_loss(held, plan.batch, seed)
    groups = [*(list(stage.values()) for stage in stages), list(guesser.decoder.parameters())]
    n_done = _train(guesser, groups, learnt, plan, seed=seed, tell=tell)
    after = guesser.mean_loss(held, plan.batch, seed)
    kept = n_done > 0 and after < before
    if not kept:
        put(parameters, start)
    return Guesses(before, after, n_done, len(learnt), n_held, kept)


def seconds_of_step(
    words: Words,
    stages: Sequence[Mapping[str, torch.nn.Parameter]],
    texts: Sequence[Callable[[], Array]],
    plan: WordPlan,
) -> float:
    """Time a step on the first texts; it changes no weight."""
    with torch.random.fork_rng(devices=[]):
        guesser = _Guesser(words, _Decoder(words.n_features, words.embedding), texts, plan.bf16)
    rows = np.arange(plan.batch)

    def step() -> None:
        guesser.losses(rows, np.random.default_rng(0)).mean().backward()  # type: ignore[no-untyped-call]

    taken_s = seconds_of(step, words.embedding.weight.device)
    for p in (p for stage in stages for p in stage.values()):
        p.grad = None
    return taken_s


class _Decoder(torch.nn.Module):
    """From states to scores of all tokens, by their own embeddings; at first states are only brought to one length."""

    def __init__(self, n_features: int, embedding: torch.nn.Embedding) -> None:
        super().__init__()
        self.embedding = [embedding]  # in a list, so that it is none of the decoder's own parameters
        width, device = embedding.embedding_dim, embedding.weight.device
        self.dense = torch.nn.Linear(n_features, width).to(device)
        if n_features == width:
            torch.nn.init.eye_(self.dense.weight)
        self.norm = torch.nn.LayerNorm(width).to(device)
        self.bias = torch.nn.Parameter(torch.zeros(embedding.num_embeddings, device=device))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = torch.nn.functional.linear(
            self.norm(self.dense(states)), self.embedding[0].weight, self.bias
        )
        return scores


@dataclass(frozen=True, eq=False)
class _Guesser:
    """A network with a decoder, and texts to guess words of."""

    words: Words
    decoder: _Decoder
    texts: Sequence[Callable[[], Array]]
    bf16: bool

    def losses(self, rows: Array, draw: np.random.Generator) -> torch.Tensor:
        """Return the loss of each masked word in a window of each of these texts."""
        windows = _padded([_one_of(self.texts[row](), draw) for row in rows])
        seen, asked = hide(windows, self.words, draw)
        device = self.words.embedding.weight.device
        places = torch.from_numpy(asked).to(device)
        truth = torch.from_numpy(windows[asked].astype(np.int64) - 1).to(device)
        with precision_of(bf16=self.bf16, device=device.type):
            states = self.words.states(torch.from_numpy(seen).to(device))[places]
        return torch.nn.functional.cross_entropy(self.decoder(states.float()), truth, reduction="none")

    def mean_loss(self, rows: Array, batch: int, seed: int) -> float:
        """Return the mean loss of texts, whose words are masked the same each time."""
        draw = np.random.default_rng([seed, 1])
        with torch.no_grad():
            parts = [self.losses(rows[i : i + batch], draw).cpu() for i in range(0, len(rows), batch)]
        return float(torch.cat(parts).mean())


def _train(
    guesser: _Guesser,
    groups: Sequence[Sequence[torch.nn.Parameter]],
    rows: Array,
    plan: WordPlan,
    *,
    seed: int,
    tell: Callable[[int], bool],
) -> int:
    """Take the planned steps, or as many as there is time for; return how many they were."""
    rates = (*plan.rates, plan.rates[-1])  # the decoder learns at the rate of the stage below it
    optimiser = torch.optim.AdamW(
        [{"params": group, "peak": rate} for group, rate in zip(groups, rates, strict=True)],
        weight_decay=_DECAY,
    )
    parameters = [p for group in groups for p in group]
    for step, batch in zip(range(plan.n_steps), _batches(rows, plan.batch, seed), strict=False):
        share = one_cycle(step / plan.n_steps, warmup=plan.warmup)
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
        optimiser.zero_grad(set_to_none=True)
        guesser.losses(batch, np.random.default_rng([seed, 2, step])).mean().backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(parameters, _LONGEST_GRADIENT)
        if not bool(torch.isfinite(norm)):
            return step
        optimiser.step()
        if not tell(len(batch)):
            return step + 1
    return plan.n_steps


def _batches(rows: Array, batch: int, seed: int) -> Iterator[Array]:
    """Yield batches without end; each epoch is a shuffle of its own."""
    epoch = 0
    while True:
        epoch += 1
        shuffled = np.random.default_rng([seed, 3, epoch]).permutation(rows)
        for start in range(0, max(1, len(rows) - batch + 1), batch):
            yield shuffled[start : start + batch]


def _one_of(windows: Array, draw: np.random.Generator) -> Array:
    """Return one window of a text."""
    chosen: Array = windows[draw.integers(len(windows))]
    return chosen


def _padded(windows: Sequence[Array]) -> Array:
    """Return windows as ``int32 [n, w]``, as wide as the longest has tokens."""
    lengths = [int((one > 0).sum()) for one in windows]
    batch = np.zeros((len(windows), max(lengths)), dtype=np.int32)
    for row, one, length in zip(batch, windows, lengths, strict=True):
        row[:length] = one[:length]
    return batch
