"""A network without any head, as a servable: an input in, its features out.

The network is a trunk that nothing was fitted on, or that of a bundle. It knows no label and no HTTP.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from topwork import plugins
from topwork.bundle.compiling import open_model
from topwork.bundle.contents import Bundle
from topwork.bundle.goldens import Golden, make_goldens, replay
from topwork.bundle.structure import to_json
from topwork.contracts import (
    Allowance,
    Answer,
    Array,
    CountsTokens,
    Engine,
    Intake,
    Json,
    Modality,
    Preprocessing,
    Trunk,
    Wire,
    by_shape,
    decoding_within,
)
from topwork.engines.choice import build, reference
from topwork.engines.grafting import FEATURES
from topwork.errors import BundleError, DecodeError, ProofError, UsageError
from topwork.inputs import modality as modality_named
from topwork.steps.options import Surroundings
from topwork.steps.transfer import Preparation
from topwork.training.reading import BATCH
from topwork.trunks import resolve

__all__ = ["SUFFIX", "Embedder", "Network", "TrunkNetwork", "open_embedder", "trunk_embedder", "unit_length"]

SUFFIX: Final = ".topwork"
"""How a bundle's path ends."""

N_PROVEN: Final = 8
"""Synthetic inputs by which a trunk is proven; as many as a bundle holds golden examples."""


class Network(Protocol):
    """What gives features; a `topwork.bundle.model.BundleModel` is one."""

    @property
    def name(self) -> str:
        """Name in the API."""
        ...

    @property
    def about(self) -> Mapping[str, Json]:
        """What a person may want to know of it."""
        ...

    @property
    def modality(self) -> Modality:
        """Kind of input."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How an input is decoded."""
        ...

    @property
    def engine(self) -> Engine:
        """What runs it; one of its outputs is called ``features``."""
        ...

    def prove(self) -> None:
        """Find out whether it gives what it should; see `topwork.contracts.Servable`."""
        ...

    def decode_within(self, allowance: Allowance) -> None:
        """Ask for memory before an input is decoded, from now on."""
        ...


class TrunkNetwork:
    """A trunk on the engine that suits this machine; see `Network`.

    Raises
    ------
    WeightsError
        The weights cannot be had.
    UsageError
        The trunk leaves the length of its inputs to data, and there are none.
    """

    def __init__(self, trunk: Trunk, around: Surroundings) -> None:
        self._card = trunk.card
        if not self._card.n_features:
            raise UsageError(
                f"The trunk {self._card.name!r} takes its length from the data, and here are none.",
                next_step=f"Say the length, such as {self._card.name}/384.",
            )
        self.modality, self.preprocessing = modality_named(self._card.modality), trunk.preprocessing
        self._preparation = Preparation(trunk, self.modality, around)
        self.engine = self._preparation.engine()

    @property
    def name(self) -> str:
        """Name of the trunk."""
        return self._card.name

    def decode_within(self, allowance: Allowance) -> None:
        """Ask for memory before an input is decoded, from now on."""
        self.modality = decoding_within(self.modality, allowance)

    @property
    def about(self) -> Mapping[str, Json]:
        """The trunk's card and the engine."""
        card: dict[str, Any] = to_json(self._card)
        told = ("name", "summary", "n_parameters", "source", "licence", "commercial", "weights_sha256")
        engine = {key: getattr(self.engine, key) for key in ("name", "precision", "version")}
        return {
            "name": self.name,
            "modality": self.modality.name,
            "trunk": {key: card[key] for key in told},
            "engine": engine,
        }

    def prove(self) -> None:
        """Compare with an exact engine on synthetic inputs, each alone and all together.

        A network whose features do not survive a short number format runs in full precision from here on.

        Raises
        ------
        ProofError
            They differ by more than a bundle's may.
        """
        n_cores = self._preparation.machine.n_cores
        exact = build(reference(), self._preparation.graph(), n_threads=n_cores, n_streams=n_cores)
        goldens = self._goldens(exact)
        try:
            replay(goldens, self.modality, self.preprocessing, self.engine)
        except ProofError:
            if self.engine.precision == "fp32":
                raise
            replay(goldens, self.modality, self.preprocessing, exact)
            self.engine = exact

    def _goldens(self, exact: Engine) -> tuple[Golden, ...]:
        made = self.modality.synthetic(N_PROVEN, 0, self.preprocessing)
        named = [(f"synthetic {number}", one) for number, one in enumerate(made)]
        goldens = make_goldens(named, self.modality, self.preprocessing, exact)
        if (width := goldens[0].outputs[FEATURES].shape) != (self._card.n_features,):
            raise ProofError(
                f"The trunk {self.name!r} gives {list(width)} features; its card says {self._card.n_features}.",
                next_step="Choose another trunk, and report this.",
            )
        return goldens


class Embedder:
    """The features of a network as answers; see `topwork.contracts.Servable`.

    Parameters
    ----------
    n_features
        Length of a vector.
    normalized
        Whether a vector is brought to length 1, so that the product of two is the cosine of the angle between them.
    name
        Name in the API; by default the network's.
    """

    def __init__(
        self, network: Network, n_features: int, *, normalized: bool = False, name: str | None = None
    ) -> None:
        self._network, self._normalized = network, normalized
        self._name = name or network.name
        self.n_features = n_features
        self._like: Embedder | None = None
        """What it was made from by `called`; it lives as long as this does, for whoever looks it up to share it."""

    def called(self, name: str | None) -> Embedder:
        """Return the same features under another name, or the network's; both have the one network."""
        other = copy.copy(self)
        other._name, other._like = name or self._network.name, self
        return other

    def decode_within(self, allowance: Allowance) -> None:
        """Ask for memory before an input is decoded, from now on."""
        self._network.decode_within(allowance)

    @property
    def name(self) -> str:
        """Name in the API."""
        return self._name

    @property
    def wire(self) -> Wire:
        """How an input travels."""
        return self._network.modality.wire

    @property
    def network(self) -> Network:
        """What gives the features."""
        return self._network

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """An object with a list of numbers, of which it says how many; of texts it tells how many tokens they had."""
        length = "its length is 1 (L2)" if self._normalized else "as the network gives them, of any length"
        vector: Mapping[str, Json] = {
            "type": "array",
            "items": {"type": "number"},
            "minItems": self.n_features,
            "maxItems": self.n_features,
            "description": f"{self.n_features} features of {self._network.name}; {length}.",
        }
        tokens: Mapping[str, Json] = {
            "type": "integer",
            "minimum": 0,
            "description": "Tokens that the network read.",
        }
        properties = {"embedding": vector} | ({"tokens": tokens} if self._counts else {})
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    @property
    def explanation_schema(self) -> None:
        """Return nothing: features are not for or against anything."""
        return

    @property
    def about(self) -> Mapping[str, Json]:
        """What the network says of itself, and what its vectors are."""
        kept = {key: one for key, one in self._network.about.items() if key != "targets"}
        return {**kept, "n_features": self.n_features, "normalized": self._normalized}

    def prove(self) -> None:
        """Prove the network."""
        self._network.prove()

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer encoded inputs in their order; a bad one gets a problem, the others their vector."""
        for start in range(0, len(inputs), BATCH):
            yield from self._answers(start, inputs[start : start + BATCH])

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:  # noqa: ARG002
        """Explain nothing; it is not asked to, see `explanation_schema`."""
        raise UsageError(f"{self.name!r} gives features, which have no explanation.")

    def samples(self) -> Sequence[Array]:
        """Return synthetic inputs, decoded."""
        return [self.prepare(one) for one in self._synthetic(N_PROVEN)]

    def rehearse(self) -> None:
        """Answer a synthetic input in this thread; see `topwork.contracts.Batchable`."""
        for _ in self.submit(self._synthetic(1)):
            pass

    def _synthetic(self, n: int) -> Sequence[bytes]:
        return self._network.modality.synthetic(n, 0, self._network.preprocessing)

    def prepare(self, encoded: bytes) -> Array:
        """Decode one input; see `topwork.contracts.Batchable`."""
        return self._network.modality.decode(encoded, self._network.preprocessing).tensor

    def key(self, prepared: Array) -> tuple[int, ...]:
        """Return the shape: inputs of one shape are run as one batch."""
        return prepared.shape

    def compute(self, prepared: Sequence[Array], intake: Intake) -> Iterator[Answer]:  # noqa: ARG002
        """Answer decoded inputs of one shape."""
        yield from map(self._answer, count(), prepared, self._vectors(np.stack(prepared)))

    def finish(self, answer: Answer) -> Answer:
        """Return the answer as it is."""
        return answer

    def _answers(self, start: int, inputs: Sequence[bytes]) -> Iterator[Answer]:
        tensors: dict[int, Array] = {}
        answers: dict[int, Answer] = {}
        for index, encoded in enumerate(inputs, start):
            try:
                tensors[index] = self.prepare(encoded)
            except DecodeError as error:
                answers[index] = Answer(index, None, str(error))
        several = list(tensors)
        for places, batch in by_shape(list(tensors.values())):
            for place, vector in zip(places, self._vectors(batch), strict=True):
                answers[several[place]] = self._answer(several[place], tensors[several[place]], vector)
        yield from (answers[index] for index in sorted(answers))

    @property
    def _counts(self) -> bool:
        return isinstance(self._network.modality, CountsTokens)

    def _answer(self, index: int, tensor: Array, vector: Array) -> Answer:
        if not np.isfinite(vector).all():
            return Answer(index, None, "The network gave no finite number for this input.")
        modality, found = self._network.modality, {"embedding": vector.tolist()}
        if isinstance(modality, CountsTokens):
            found["tokens"] = modality.n_tokens(tensor)
        return Answer(index, found)

    def _vectors(self, batch: Array) -> Array:
        features = self._network.engine.run(batch)[FEATURES]
        return unit_length(features) if self._normalized else features


def open_embedder(
    network: str, around: Surroundings, *, normalized: bool = False, name: str | None = None
) -> Embedder:
    """Open a trunk by its name, or the network of a bundle by its path, which ends in ``.topwork``.

    Parameters
    ----------
    normalized, name
        As of `Embedder`.

    Raises
    ------
    UsageError
        There is no such trunk, or no such file.
    WeightsError
        The weights cannot be had.
    BundleError
        The bundle is damaged, or its network gives no features.
    """
    if network.endswith(SUFFIX):
        model = open_model(
            Path(network).expanduser(), engine=around.engine, n_cores=around.n_cores, shelf=around.shelf
        )
        return Embedder(model, _width(model.bundle), normalized=normalized, name=name)
    return trunk_embedder(resolve(network, plugins.trunks()), around, normalized=normalized, name=name)


def trunk_embedder(
    trunk: Trunk, around: Surroundings, *, normalized: bool = False, name: str | None = None
) -> Embedder:
    """Make an embedder of a trunk; see `open_embedder`.

    Raises
    ------
    WeightsError
        The weights cannot be had.
    """
    return Embedder(TrunkNetwork(trunk, around), trunk.card.n_features, normalized=normalized, name=name)


def _width(bundle: Bundle) -> int:
    if FEATURES not in bundle.outputs:
        raise BundleError(
            f"The network of {bundle.path} gives {', '.join(bundle.outputs)}, and no features.",
            next_step="Fit it again with this version of topwork.",
        )
    return len(bundle.goldens()[0].outputs[FEATURES])


def unit_length(vectors: Array) -> Array:
    """Return vectors ``float32 [n, d]`` divided by their length (L2); one of zeros stays as it is."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Array = vectors / np.where(lengths > 0, lengths, 1)
    return found
