"""A text trunk: what every trunk has, and a tokeniser with its windows and an encoder.

It knows how they meet, and nothing more of any of them. No weight is read and no library imported before
`EncoderTrunk.load`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from topwork.contracts import Preprocessing, Rates, Stage, Trunk, Words
from topwork.errors import UsageError
from topwork.inputs.text_masking import masking_of
from topwork.inputs.text_preprocessing import TextPreprocessing
from topwork.trunks import encoders
from topwork.trunks.encoders import Encoder, Pooling
from topwork.trunks.network_trunk import NetworkTrunk

if TYPE_CHECKING:
    import torch

__all__ = ["EncoderTrunk"]


@dataclass(frozen=True, slots=True)
class EncoderTrunk(NetworkTrunk):
    """A pretrained text encoder of the transformers library; see `topwork.contracts.Trunk`.

    Attributes
    ----------
    tokenizer
        Gives the content of a ``tokenizer.json``; asked only once a text is to be read.
    """

    tokenizer: Callable[[], str]
    encoder: Encoder

    @property
    def preprocessing(self) -> Preprocessing:
        """Return how a text is cut into windows of tokens."""
        return TextPreprocessing(self.tokenizer(), self.card.input_size[0])

    @property
    def identity(self) -> str:
        """Return the hash of the weights, and the network spelled out."""
        return f"{self.card.weights_sha256}:{self.encoder.to_text()}"

    @property
    def rates(self) -> Rates:
        """Return the peak rates at which AdamW tunes it without losing what it knows."""
        return Rates(lowest=5e-5, highest=2e-4, head=1e-3)

    def load(self, weights: Path) -> torch.nn.Module:
        """Build the network: ``int32 [n, k, w]`` to features ``float32 [n, n_features]``.

        Raises
        ------
        WeightsError
            The file is damaged, or its tensors are not those of this encoder.
        UsageError
            transformers cannot build it.
        """
        from topwork.trunks.token_network import TokenNetwork
        from topwork.trunks.undrawn import Undrawn

        with Undrawn():
            blank = encoders.build(self.encoder)
        network = encoders.fill(blank, self.encoder, weights)
        return TokenNetwork(network, self.encoder.pooling, self.encoder.n_word_scores).eval()

    def cut(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of the encoder."""
        return encoders.stages(network)

    def words(self, module: torch.nn.Module) -> Words | None:
        """Return what `load` built token by token; None where the tokeniser has no token for hidden words."""
        from topwork.trunks.token_network import TokenNetwork

        masking = masking_of(self.tokenizer())
        if masking is None or not isinstance(module, TokenNetwork):
            return None
        network: Any = module.trunk
        width = int(network.config.hidden_size)
        return Words(module.states, network.get_input_embeddings(), width, masking.mask, masking.special)

    def with_word_scores(self, n: int) -> Trunk:
        """Return the same encoder with so many features more: scores of the words by themselves, all 0 yet."""
        card = replace(self.card, n_features=self.card.n_features - self.encoder.n_word_scores + n)
        return replace(self, card=card, encoder=replace(self.encoder, n_word_scores=n), topology="")

    def pooled(self, how: str) -> Trunk:
        """Return the same encoder with another pooling: ``concat`` gives three times as many features.

        Raises
        ------
        UsageError
            There is no such pooling.
        """
        if how not in get_args(Pooling):
            raise UsageError(
                f"There is no pooling {how!r}.", next_step=f"Give one of {', '.join(get_args(Pooling))}."
            )
        if how == self.encoder.pooling:
            return self
        pooling = cast("Pooling", how)
        n_before = 3 if self.encoder.pooling == "concat" else 1
        n_features = self.card.n_features // n_before * (3 if pooling == "concat" else 1)
        encoder = replace(self.encoder, pooling=pooling)
        return replace(self, card=replace(self.card, n_features=n_features), encoder=encoder, topology="")
