"""A bundle so small that any test may make one: 4 × 4 pixels in, three classes out, all in NumPy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from topwork.bundle import Contents, make_goldens
from topwork.contracts import (
    Array,
    DataSummary,
    Decoded,
    Estimate,
    FitRecord,
    Gallery,
    Graph,
    Json,
    Link,
    Matrix,
    Metrics,
    Mistake,
    Picture,
    Precision,
    Preprocessing,
    Rejected,
    Remark,
    Rung,
    Section,
    Shown,
    SplitSummary,
    Table,
    Target,
    TargetResult,
    TrunkCard,
    Wire,
)
from topwork.engines.graphs import split
from topwork.errors import DecodeError

SIDE_PX = 4
N_BYTES = SIDE_PX * SIDE_PX * 3
N_FEATURES = 8
LABELS = ("ash", "beech", "cedar")


@dataclass(frozen=True, slots=True)
class TinyPreprocessing:
    """Nothing but an offset in levels, so that a test can make a decoder differ."""

    offset: int = 0

    @property
    def modality(self) -> str:
        return "grid"

    def to_json(self) -> Mapping[str, Json]:
        return {"offset": self.offset}

    def describe(self) -> str:
        return f"offset {self.offset}"


@dataclass(frozen=True, slots=True)
class TinyModality:
    """48 bytes are a picture; anything else cannot be read."""

    @property
    def name(self) -> str:
        return "grid"

    @property
    def suffixes(self) -> frozenset[str]:
        return frozenset({".grid"})

    @property
    def wire(self) -> Wire:
        return Wire("base64", ("application/octet-stream",), "file", 1000, "grid")

    @property
    def decoder(self) -> str:
        return "tiny 1"

    def encode(self, item: object) -> bytes:
        assert isinstance(item, bytes)
        return item

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        assert isinstance(preprocessing, TinyPreprocessing)
        if len(encoded) != N_BYTES:
            raise DecodeError(f"Got {len(encoded)} bytes; {N_BYTES} were expected.")
        levels = np.frombuffer(encoded, np.uint8).reshape(SIDE_PX, SIDE_PX, 3)
        shifted = np.clip(levels.astype(np.int16) + preprocessing.offset, 0, 255).astype(np.uint8)
        return Decoded(shifted, shifted.reshape(-1), {})

    def preprocessing(self, stored: Mapping[str, Json]) -> Preprocessing:
        offset = stored["offset"]
        if set(stored) != {"offset"} or not isinstance(offset, int) or abs(offset) > 255:
            raise ValueError(f"expected an offset, got {stored}")
        return TinyPreprocessing(offset)

    def inspection_preprocessing(self) -> Preprocessing:
        return TinyPreprocessing()

    def canvas(self, preprocessing: Preprocessing) -> Preprocessing:
        return preprocessing

    def vary(self, canvas: Array, preprocessing: Preprocessing, draw: np.random.Generator) -> Array:
        return canvas if draw.random() < 0.5 else canvas[:, ::-1]

    def overlay(self, encoded: bytes, heat: Array, preprocessing: Preprocessing, side_px: int) -> Shown:
        return self.show(encoded, side_px)

    def parts(self, tensor: Array) -> None:
        return

    def languages(self, encoded: Iterable[bytes]) -> Mapping[str, float]:
        return {}

    @property
    def described_by(self) -> str:
        return "levels"

    def tabulate(self, fitted: Sequence[Array | str], tested: Sequence[Array | str]) -> tuple[Array, Array]:
        return np.array(fitted), np.array(tested)

    def classical(self, encoded: bytes) -> Array:
        return np.frombuffer(encoded, np.uint8).astype(np.float32)

    @property
    def remarks(self) -> tuple[Remark, ...]:
        return ()

    def near_duplicates(self, fingerprints: Array) -> Array:
        return np.zeros((0, 2), np.int64)

    def show(self, encoded: bytes, side_px: int) -> Shown:
        return Shown()

    def synthetic(self, n: int, seed: int, preprocessing: Preprocessing | None = None) -> tuple[bytes, ...]:
        rng = np.random.default_rng(seed)
        return tuple(rng.integers(0, 200, N_BYTES, np.uint8).tobytes() for _ in range(n))


@dataclass(frozen=True, slots=True)
class TinyTarget:
    """One of the given labels."""

    labels: tuple[str, ...] = LABELS

    @property
    def task(self) -> str:
        return "tiny"

    @property
    def link(self) -> Link:
        return "softmax"

    @property
    def n_outputs(self) -> int:
        return len(self.labels)

    @property
    def main_metric(self) -> str:
        return "accuracy"

    def state(self) -> Mapping[str, Json]:
        return {"labels": list(self.labels)}

    def encode(self, raw: Sequence[str | None]) -> Array:
        return np.array([self.labels.index(label) if label in self.labels else -1 for label in raw])

    @property
    def understood(self) -> tuple[str, ...]:
        return ()

    def calibrated(self, truth: Array, held_out: Array) -> TinyTarget:
        return self

    def joint(self, other: Target) -> TinyTarget:
        return self

    def adopt(self, other: Target, scores: Array) -> Array:
        return scores

    def said(self, scores: Array) -> Array:
        return np.asarray(scores.argmax(axis=1))

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        share = float(np.mean(scores.argmax(axis=1) == truth))
        return {"accuracy": Estimate(share, share, share)}

    def compare(self, truth: Array, scores: Array, others: Array, seed: int) -> Metrics:
        return {}

    def differences(self, truth: Array, scores: Array, others: Array, rival: str) -> tuple[Section, ...]:
        return ()

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        return {}

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        return ()

    @property
    def about_mistakes(self) -> tuple[str, str]:
        return "Mistakes", ""

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        return ()

    def errors(self, truth: Array, scores: Array) -> Array:
        return np.where(truth >= 0, scores.argmax(axis=1) != truth, np.nan)

    def spell(self, truth: float) -> str:
        return self.labels[int(truth)]

    def answer(self, scores: Array) -> Mapping[str, Json]:
        return {"label": self.labels[int(scores.argmax())], "scores": [float(score) for score in scores]}

    def answer_schema(self) -> Mapping[str, Json]:
        return {"type": "object", "properties": {"label": {"enum": list(self.labels)}}}


@dataclass(slots=True)
class NumpyEngine:
    """Runs the tiny network, from the weights alone; ``batches`` holds the size of each batch."""

    weights: Mapping[str, Array]
    precision: Precision = "fp32"
    name: str = "numpy"
    version: str = "1"
    n_streams: int = 2

    def run(self, batch: Array) -> Mapping[str, Array]:
        w = self.weights
        pixels = batch.reshape(len(batch), -1).astype(np.float32) / 255
        features = np.maximum(pixels @ w["trunk.weight"].T + w["trunk.bias"], 0)
        heads = sorted(
            name.split(".")[1] for name in w if name.startswith("heads.") and name.endswith("weight")
        )
        scores = {
            f"scores.{head}": features @ w[f"heads.{head}.weight"].T + w[f"heads.{head}.bias"]
            for head in heads
        }
        return {"features": features, **scores}


def restore_tiny(task: str, state: Mapping[str, Json]) -> TinyTarget:
    """Make the target again, strictly."""
    if task != "tiny":
        raise LookupError(f"no task {task}")
    labels = state["labels"]
    if not isinstance(labels, list):
        raise TypeError(f"expected a list of labels, got {labels}")
    return TinyTarget(tuple(str(label) for label in labels))


def tiny_weights(heads: Sequence[str] = ("label",), seed: int = 0) -> dict[str, Array]:
    """Seeded random weights of a trunk and of one head per target."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"trunk.weight": (N_FEATURES, N_BYTES), "trunk.bias": (N_FEATURES,)}
    for head in heads:
        shapes |= {f"heads.{head}.weight": (len(LABELS), N_FEATURES), f"heads.{head}.bias": (len(LABELS),)}
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def tiny_graph(heads: Sequence[str] = ("label",), seed: int = 0) -> Graph:
    """Return the network as ONNX whose weights live outside."""
    from onnx import TensorProto, helper, numpy_helper

    weights = tiny_weights(heads, seed)
    nodes = [
        helper.make_node("Cast", ["input"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["levels"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["pixels"]),
        helper.make_node("Gemm", ["pixels", "trunk.weight", "trunk.bias"], ["linear"], transB=1),
        helper.make_node("Relu", ["linear"], ["features"]),
        *(
            helper.make_node(
                "Gemm", ["features", f"heads.{h}.weight", f"heads.{h}.bias"], [f"scores.{h}"], transB=1
            )
            for h in heads
        ),
    ]
    widths = {"features": N_FEATURES, **{f"scores.{h}": len(LABELS) for h in heads}}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.UINT8, ["n", SIDE_PX, SIDE_PX, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in widths.items()],
        [
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
            *(numpy_helper.from_array(w, n) for n, w in weights.items()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return split(model.SerializeToString(), frozenset(weights), tuple(widths))


def tiny_card() -> TrunkCard:
    """Return the card of a trunk that nobody trained."""
    return TrunkCard(
        name="tiny",
        modality="grid",
        summary="one layer",
        n_parameters=N_BYTES * N_FEATURES + N_FEATURES,
        n_features=N_FEATURES,
        input_size=(SIDE_PX, SIDE_PX),
        source="nowhere",
        licence="Apache-2.0",
        commercial=True,
        offline=True,
        offers=frozenset({"pooled", "feature_map"}),
        weights_sha256="0" * 64,
    )


def tiny_record(heads: Sequence[str] = ("label",)) -> FitRecord:
    """Return a record that uses every kind of value that a record may hold."""
    estimate = Estimate(0.75, 0.5, 0.875)
    unknown = Estimate(float("nan"), float("-inf"), float("inf"))
    result = TargetResult(
        task="tiny",
        labels=LABELS,
        main_metric="accuracy",
        validation={"accuracy": estimate},
        test={"accuracy": estimate, "log_loss": unknown},
        baselines={"majority class": {"accuracy": Estimate(0.25, 0.125, 0.5)}},
        sections=(
            Matrix("Confusion", LABELS, LABELS, ((3, 0, 1), (0, 4, 0), (1, 1, 2))),
            Table("By class", ("class", "recall"), (("ash", estimate), ("<b>", unknown)), "caption"),
            Gallery("Mistakes", (Picture("a/1.grid", "ash taken for cedar", "/9j/"),)),
        ),
    )
    data = DataSummary(
        name="trees | <wood>",
        modality="grid",
        layout="folders",
        understood=("folders are labels",),
        n_listed=13,
        n_used=12,
        rejected=(Rejected("b/\udcff.grid", "empty"),),
        findings=("2 duplicates",),
        class_counts={"label": dict.fromkeys(LABELS, 4)},
    )
    return FitRecord(
        kind="fit",
        name="trees",
        created="2026-01-02T03:04:05Z",
        topwork="0.1.0",
        command="topwork fit trees",
        data=data,
        split=SplitSummary("stratified", 0, 8, 0, 4, ("no validation side",)),
        trunk=tiny_card(),
        recipe="probe",
        settings={"seed": "0"},
        targets=dict.fromkeys(heads, result),
        rungs=(Rung("probe", 1.5, 0.75, ("C = 1",)),),
        seconds=3.25,
        seconds_to_first_model=2.5,
        n_cached=0,
    )


def tiny_contents(heads: Sequence[str] = ("label",), seed: int = 0) -> Contents:
    """Return everything that a bundle holds, with four golden examples."""
    graph = tiny_graph(heads, seed)
    inputs = [(f"{i}.grid", encoded) for i, encoded in enumerate(TinyModality().synthetic(4, seed=1))]
    goldens = make_goldens(inputs, TinyModality(), TinyPreprocessing(), NumpyEngine(graph.weights))
    return Contents(
        name="trees",
        graph=graph,
        preprocessing=TinyPreprocessing(),
        trunk=tiny_card(),
        targets={head: TinyTarget() for head in heads},
        sides={"a/1.grid": "train", "ü/2.grid": "test", "b/\udcff.grid": "train"},
        statistics={"mean": np.arange(N_FEATURES, dtype=np.float32), "n": np.array(12)},
        record=tiny_record(heads),
        goldens=goldens,
    )


def disturbed(graph: Graph, name: str, *, factor: float = 1.0, shift: float = 0.0) -> Graph:
    """Return a graph of which one tensor was scaled, or shifted in its first number."""
    tensor = graph.weights[name] * np.float32(factor)
    tensor.flat[0] += shift
    return replace(graph, weights={**graph.weights, name: tensor})
