"""The trunk of vectors: it passes them on as they came, for they are somebody's features already.

It has no weights and nothing to train. Its graph is one node, so a bundle, a server and a head on it work as on any
other trunk. It knows no label and no engine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.contracts import Graph, Preprocessing, Progress, Rates, Stage, TrunkCard
from topwork.errors import UsageError
from topwork.inputs.vector_preprocessing import MOST_NUMBERS, VectorPreprocessing

if TYPE_CHECKING:
    import torch

__all__ = ["IDENTITY", "IdentityTrunk", "identity_trunk"]

IDENTITY = "identity"
_OPSET = 17
_IR = 8


@dataclass(frozen=True, slots=True)
class IdentityTrunk:
    """Passes vectors of one length on; see `topwork.contracts.Trunk`.

    Attributes
    ----------
    n_numbers
        Length of the vectors; 0 where it is still left to the data.
    """

    n_numbers: int = 0

    @property
    def card(self) -> TrunkCard:
        """Return what there is to say of a network that does nothing."""
        return TrunkCard(
            name=f"{IDENTITY}/{self.n_numbers}" if self.n_numbers else IDENTITY,
            modality="vector",
            summary="vectors as they come; the default for vectors",
            n_parameters=0,
            n_features=self.n_numbers,
            input_size=(self.n_numbers,),
            source="topwork",
            licence="none needed",
            commercial=True,
            offline=True,
            offers=frozenset({"pooled"}),
            weights_sha256=hashlib.sha256(b"").hexdigest(),
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """Return how long a vector must be."""
        return VectorPreprocessing(self.n_numbers)

    @property
    def rates(self) -> Rates:
        """Return the rate of a head; there is nothing else to train."""
        return Rates(lowest=1e-3, highest=1e-3, head=1e-3)

    @property
    def identity(self) -> str:
        """Return the name: nothing else decides the features."""
        return self.card.name

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Return the folder: there are no weights to bring."""
        del progress
        return cache_dir

    def graph(self, weights: Path) -> Graph:
        """Return the network of one node."""
        from onnx import TensorProto, helper

        del weights
        ends = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", self.n_numbers])
            for name in ("input", "features")
        )
        given, features = ends
        node = helper.make_node("Identity", ["input"], ["features"], name="identity")
        drawn = helper.make_graph([node], IDENTITY, [given], [features])
        model = helper.make_model(drawn, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
        return Graph(model.SerializeToString(deterministic=True), {}, ("features",))

    def load(self, weights: Path) -> torch.nn.Module:
        """Build the network that does nothing."""
        import torch

        del weights
        return torch.nn.Identity().eval()

    def stages(self, module: torch.nn.Module) -> tuple[Stage, ...]:
        """Return none: nothing in it can be trained."""
        del module
        return ()

    def of_length(self, n_numbers: int) -> IdentityTrunk:
        """Return the trunk for vectors of this length, unless it has one of its own already."""
        return self if self.n_numbers else IdentityTrunk(n_numbers)


def identity_trunk(name: str) -> IdentityTrunk:
    """Return the trunk called ``identity``, or ``identity/N`` for vectors of N numbers.

    Raises
    ------
    UsageError
        N is no number of numbers.
    """
    _, _, length = name.partition("/")
    if not length:
        return IdentityTrunk()
    if not (length.isascii() and length.isdecimal() and 0 < int(length) <= MOST_NUMBERS):
        raise UsageError(
            f"There is no trunk named {name!r}; expected {IDENTITY}/N with N from 1 to {MOST_NUMBERS}.",
            next_step=f"Give {IDENTITY} alone to take the length from the data.",
        )
    return IdentityTrunk(int(length))
