"""Trunks, graphs and engines: what is transferred, and what runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias, runtime_checkable

from topwork.contracts.inputs import Preprocessing
from topwork.contracts.values import Array, Progress

if TYPE_CHECKING:
    import torch

__all__ = [
    "WORD_WEIGHTS",
    "Divisible",
    "Engine",
    "Exportable",
    "Graph",
    "LinearHead",
    "LowRank",
    "Precision",
    "Pretrained",
    "Rates",
    "ResizableTrunk",
    "Stage",
    "TextTrunk",
    "Trunk",
    "TrunkCard",
    "Words",
]


@dataclass(frozen=True, slots=True)
class TrunkCard:
    """What is said of a pretrained network before it is loaded.

    ``n_parameters`` counts the trunk without its old head; ``input_size`` is in the modality's own unit
    (pixels high and wide); ``offers`` holds words such as ``pooled``, ``feature_map``, ``stages``; ``languages``
    are the codes (ISO 639-1) of those it was trained on, none where that means nothing or is not known.
    """

    name: str
    modality: str
    summary: str
    n_parameters: int
    n_features: int
    input_size: tuple[int, ...]
    source: str
    licence: str
    commercial: bool
    offline: bool
    offers: frozenset[str]
    weights_sha256: str
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the consecutive parts of a trainable trunk, from input to output."""

    name: str
    modules: tuple[torch.nn.Module, ...]


@runtime_checkable
class Divisible(Protocol):
    """A network that can be computed in two parts, where watching it from outside would not do.

    What it takes comes in several sizes: a state ``[d]`` belongs to each place of an input, and is 0 where the input
    is filled up.
    """

    def below(self, batch: torch.Tensor, first: torch.nn.Module) -> torch.Tensor:
        """Map a raw batch to what the module ``first`` is given; its leading axes are those of the batch."""
        ...

    def above(
        self, states: torch.Tensor, first: torch.nn.Module, lower: Sequence[torch.nn.Module]
    ) -> torch.Tensor:
        """Map what `below` gave to features ``[n, n_features]``; ``lower`` are the modules before ``first``."""
        ...


@dataclass(frozen=True, slots=True)
class Rates:
    """Peak learning rates of AdamW: of a network's lowest stage, of its highest, and of a head on it."""

    lowest: float
    highest: float
    head: float


class Pretrained(Protocol):
    """A pretrained network of any kind, which may not be on this machine yet."""

    @property
    def card(self) -> TrunkCard:
        """What is known before loading."""
        ...

    @property
    def identity(self) -> str:
        """Text that differs whenever what it gives differs: it covers weights, architecture and normalisation."""
        ...

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Bring the weights here as one safetensors file below ``cache_dir``, once, hash checked.

        Raises
        ------
        WeightsError
            They cannot be had, or are not what they claim to be.
        """
        ...

    def graph(self, weights: Path) -> Graph | None:
        """Return the exported network, where one came with the trunk, so that nothing need be built or exported."""
        ...


class Trunk(Pretrained, Protocol):
    """A pretrained network that gives features. It knows nothing of labels."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What its inputs must look like."""
        ...

    @property
    def rates(self) -> Rates:
        """Learning rates that suit it; those of the stages between go geometrically from lowest to highest."""
        ...

    def load(self, weights: Path) -> torch.nn.Module:
        """Build the network in evaluation mode; it maps a raw batch to pooled features ``[n, n_features]``."""
        ...

    def stages(self, module: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of what `load` built; together they hold every parameter exactly once."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A text network token by token, as whoever guesses masked words needs it.

    Attributes
    ----------
    states
        Maps windows ``int32 [n, w]`` (the number of a token plus 1, 0 where none is) to ``float [n, w, n_features]``.
    embedding
        Of the tokens.
    mask
        Number of the token that stands for a hidden one.
    special
        Numbers of the tokens that are no words.
    further
        Give windows ``int32 [k, w]`` of one text each, beside the rows that have labels.
    """

    states: Callable[[torch.Tensor], torch.Tensor]
    embedding: torch.nn.Embedding
    n_features: int
    mask: int
    special: tuple[int, ...]
    further: tuple[Callable[[], Array], ...] = ()


WORD_WEIGHTS: Final = "words.weight"
"""The tensor of `TextTrunk.with_word_scores`."""


@runtime_checkable
class TextTrunk(Protocol):
    """What a trunk of texts may offer besides: its tokens, and other poolings of them."""

    def words(self, module: torch.nn.Module) -> Words | None:
        """Return what `load` built token by token; None where the tokeniser has no token for hidden words."""
        ...

    def pooled(self, how: str) -> Trunk:
        """Return the same network with another pooling of its tokens, such as ``concat``.

        Raises
        ------
        UsageError
            There is no such pooling.
        """
        ...

    def with_word_scores(self, n: int) -> Trunk:
        """Return the same network with ``n`` features more: scores of a text's words by themselves.

        They stand behind its own, and are the products of the tensor `WORD_WEIGHTS`, ``float32 [m, n]``, which is 0 in
        what `load` builds, with what `topwork.inputs.word_buckets` finds in a text.
        """
        ...


@runtime_checkable
class ResizableTrunk(Protocol):
    """What a trunk of pictures may offer besides: that it takes them in another size."""

    def of_side(self, side_px: int) -> Trunk:
        """Return the same network for square pictures of so many pixels a side.

        Raises
        ------
        UsageError
            The network takes one size only.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exportable:
    """A module in evaluation mode, an example batch for it, and names for what it gives.

    ``ragged`` tells whether inputs may be of other sizes than the example's, filled up with zeros.
    """

    module: torch.nn.Module
    example: Array
    output_names: tuple[str, ...]
    ragged: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """A network as data: an ONNX model without its weights, and the weights by initialiser name.

    The single input is called ``input``, its first axis the batch, of any size.
    """

    topology: bytes
    weights: Mapping[str, Array]
    output_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinearHead:
    """``scores = features @ weight.T + bias``; ``weight float32 [k, d]``, ``bias float32 [k]``, calibrated.

    Where there are ``hidden`` layers, the first of them takes the features, each the one before it, what is below zero
    becomes zero after each, and ``weight`` takes the last. Then the scores are no longer linear in the features.
    """

    weight: Array
    bias: Array
    hidden: tuple[LinearHead, ...] = ()

    @property
    def is_linear(self) -> bool:
        """Tell whether the scores are linear in the features, so that each feature has a share of a score."""
        return not self.hidden

    def scores(self, features: Array) -> Array:
        """Return the scores ``[n, k]`` of features ``[n, d]``."""
        for layer in self.hidden:
            features = (features @ layer.weight.T + layer.bias).clip(min=0)
        scores: Array = features @ self.weight.T + self.bias
        return scores


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """A change of a tensor ``[n, ...]``: ``up float32 [n, r]`` times ``down float32 [r, ...]``."""

    up: Array
    down: Array

    def added_to(self, tensor: Array) -> Array:
        """Return the tensor with the change."""
        change = self.up @ self.down.reshape(len(self.down), -1)
        changed: Array = tensor + change.reshape(tensor.shape)
        return changed


Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int8"]


class Engine(Protocol):
    """A frozen network, ready to run; safe to call from ``n_streams`` threads at once."""

    @property
    def name(self) -> str:
        """Return the name, such as ``openvino``."""
        ...

    @property
    def precision(self) -> Precision:
        """Number format of the arithmetic."""
        ...

    @property
    def version(self) -> str:
        """Version of the library behind it; part of the key of cached features."""
        ...

    @property
    def n_streams(self) -> int:
        """How many calls make progress at once."""
        ...

    def run(self, batch: Array) -> Mapping[str, Array]:
        """Run a raw batch ``[n, ...]``; return each output ``float32 [n, ...]`` by name."""
        ...
