"""A text trunk: what every trunk has, and a tokeniser with its windows and an encoder.

It knows how they meet, and nothing more of any of them. No weight is read and no library imported before
`EncoderTrunk.load`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Preprocessing, Rates, Stage
from topwork.inputs.text_preprocessing import TextPreprocessing
from topwork.trunks import encoders
from topwork.trunks.encoders import Encoder
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
        return Rates(lowest=2e-5, highest=1e-4, head=1e-3)

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

        network = encoders.fill(encoders.build(self.encoder), self.encoder, weights)
        return TokenNetwork(network, self.encoder.pooling).eval()

    def cut(self, network: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of the encoder."""
        return encoders.stages(network)
