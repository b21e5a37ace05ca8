"""The protocols and frozen values that every room speaks.

It knows no modality, no network library and no file format; it imports NumPy for the type of an array
and nothing else. Read it once and the signatures of the whole house make sense:

- *data*: a :class:`Dataset` is read, each item :class:`Inspection`-ed, the rows :class:`Split`;
- *transfer*: a :class:`Trunk` is exported to a :class:`Graph`, which an :class:`Engine` runs;
- *fitting*: a :class:`Recipe` turns a :class:`FitJob` into :class:`Fitted` heads for :class:`Target`-s;
- *results*: a :class:`FitRecord` is all that a report renders, a :class:`Servable` all that a server sees.

Everything that names results is keyed by target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

Array: TypeAlias = npt.NDArray[Any]
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

# --- values that many rooms pass on -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured value with its 95 % interval, all three in the metric's own unit."""

    value: float
    low: float
    high: float


Metrics: TypeAlias = Mapping[str, Estimate]
"""Metric name, such as ``accuracy``, to its estimate."""


class Progress(Protocol):
    """How long work tells that it is alive; the terminal, a log or nothing stands behind it."""

    def say(self, line: str) -> None:
        """Show one line of plain words."""
        ...

    def track(self, title: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar over ``total`` units; what it gives is called with the number of units just done."""
        ...


Clock: TypeAlias = Callable[[], float]
"""Seconds since some fixed moment, never going back (``time.perf_counter``)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a fit may take: ``deadline_s`` is a reading of ``clock``; infinite means no limit."""

    clock: Clock
    deadline_s: float = float("inf")

    def remaining_s(self) -> float:
        """Return the seconds left; negative when it is overdrawn."""
        return self.deadline_s - self.clock()


# --- inputs: one modality -----------------------------------------------------------------------------


class Preprocessing(Protocol):
    """A frozen specification of how an encoded input becomes a tensor; proposed by the trunk, kept in the bundle."""

    @property
    def modality(self) -> str:
        """Name of the modality that executes it."""
        ...

    def to_json(self) -> Mapping[str, Json]:
        """Return what `Modality.preprocessing` reads back."""
        ...


@dataclass(frozen=True, slots=True)
class Decoded:
    """One input after decoding.

    Attributes
    ----------
    tensor
        What the network is given; for an image ``uint8 [height, width, 3]``, RGB.
    fingerprint
        ``uint8 [m]``, ``m`` fixed per modality; near duplicates have near fingerprints.
    facts
        What can be said of the original without a model, such as ``width`` in pixels.
    """

    tensor: Array
    fingerprint: Array
    facts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Wire:
    """How one input travels over HTTP and what the form shows; a server needs nothing else of a modality.

    ``in_json`` says how the bytes stand in a JSON string: ``base64``, or ``text`` for plain UTF-8.
    """

    in_json: Literal["base64", "text"]
    media_types: tuple[str, ...]
    widget: Literal["file", "textarea"]
    max_bytes: int
    noun: str


class Modality(Protocol):
    """One kind of input. An *encoded* input is always bytes: a photo's file, a text's UTF-8."""

    @property
    def name(self) -> str:
        """Return the name, such as ``image``."""
        ...

    @property
    def suffixes(self) -> frozenset[str]:
        """File suffixes that a folder reader picks up; lower case with the dot."""
        ...

    @property
    def wire(self) -> Wire:
        """How an input travels over HTTP."""
        ...

    @property
    def decoder(self) -> str:
        """Name and version of what decodes; text that differs whenever tensors may differ."""
        ...

    def encode(self, item: object) -> bytes:
        """Turn what a Python caller has (a path, bytes, an object, an array) into an encoded input."""
        ...

    def decode(self, encoded: bytes, preprocessing: Preprocessing) -> Decoded:
        """Decode within limits.

        Raises
        ------
        DecodeError
            The input is broken, empty, of another kind, or over a limit.
        """
        ...

    def preprocessing(self, stored: Mapping[str, Json]) -> Preprocessing:
        """Read a specification that `Preprocessing.to_json` wrote; an unknown key is an error."""
        ...

    def inspection_preprocessing(self) -> Preprocessing:
        """Return a cheap specification for looking at data when no trunk is chosen."""
        ...

    def near_duplicates(self, fingerprints: Array) -> Array:
        """Return ``int64 [p, 2]``: pairs of rows of ``uint8 [n, m]`` that show the same thing; first < second."""
        ...

    def thumbnail(self, encoded: bytes, side_px: int) -> bytes:
        """Return a small JPEG for a person to look at, its longer side at most ``side_px``."""
        ...

    def synthetic(self, n: int, seed: int) -> tuple[bytes, ...]:
        """Make ``n`` encoded inputs out of nobody's data, for proofs that may hold no training data."""
        ...


# --- data ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rejected:
    """One input or row that was left out, and why, in words for a person."""

    key: str
    reason: str


Side: TypeAlias = Literal["train", "valid", "test"]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled inputs that have been listed, not yet read.

    Attributes
    ----------
    modality
        Name of the modality of every input.
    keys
        ``n`` unique names, such as paths below the data set's folder.
    read
        Gives the encoded input of a row; called from several threads. Raises `DecodeError` for a row
        whose file is gone or not readable.
    targets
        Target name to ``n`` raw labels as text; None where a label is missing.
    given
        ``n`` sides that the layout itself fixed; None where it fixed none.
    columns
        Other columns of a table, ``n`` values each.
    layout
        One line: what kind of data set this was taken for.
    understood
        Further lines: which column was taken for what, and how to override it.
    rejected
        Rows that could not even be listed (no file name, no label, a path outside the folder).
    """

    modality: str
    keys: tuple[str, ...]
    read: Callable[[int], bytes]
    targets: Mapping[str, tuple[str | None, ...]]
    given: tuple[Side | None, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    layout: str = ""
    understood: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What reading one row showed; ``problem`` is None and ``fingerprint`` set where it could be decoded.

    ``content`` is the SHA-256 of the encoded input, 32 bytes; empty where not even that could be read.
    """

    content: bytes
    fingerprint: Array | None
    facts: Mapping[str, float]
    problem: str | None


@dataclass(frozen=True, slots=True)
class Split:
    """Which row of a data set is on which side.

    Attributes
    ----------
    train, valid, test
        Row numbers, ``int64``, ascending, disjoint. ``valid`` is empty where validation is by folds.
    units
        ``int64 [n]``: rows of one unit (near duplicates, one patient) must never be separated.
    method
        One line for a person: how it was made.
    notes
        What a reader of the result must know of it (a leak, a validation folder used as the test).
    """

    train: Array
    valid: Array
    test: Array
    units: Array
    method: str
    seed: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fold:
    """One way to hold rows out: fit on ``train``, score on ``valid`` (row numbers, ``int64``)."""

    train: Array
    valid: Array


# --- trunks and engines -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TrunkCard:
    """What is said of a pretrained network before it is loaded.

    ``n_parameters`` counts the trunk without its old head; ``input_size`` is in the modality's own unit
    (pixels high and wide); ``offers`` holds words such as ``pooled``, ``feature_map``, ``stages``.
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


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the consecutive parts of a trainable trunk, from input to output."""

    name: str
    modules: tuple[torch.nn.Module, ...]


class Trunk(Protocol):
    """A pretrained network that may not be on this machine yet. It knows nothing of labels."""

    @property
    def card(self) -> TrunkCard:
        """What is known before loading."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What its inputs must look like."""
        ...

    @property
    def identity(self) -> str:
        """Text that differs whenever the features differ: it covers weights, architecture and normalisation."""
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

    def load(self, weights: Path) -> torch.nn.Module:
        """Build the network in evaluation mode; it maps a raw batch to pooled features ``[n, n_features]``."""
        ...

    def stages(self, module: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the stages of what `load` built; together they hold every parameter exactly once."""
        ...


@dataclass(frozen=True, slots=True)
class Exportable:
    """A module in evaluation mode, an example batch for it, and names for what it gives."""

    module: torch.nn.Module
    example: Array
    output_names: tuple[str, ...]


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
    """``scores = features @ weight.T + bias``; ``weight float32 [k, d]``, ``bias float32 [k]``, calibrated."""

    weight: Array
    bias: Array


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


# --- tasks and recipes --------------------------------------------------------------------------------

Link: TypeAlias = Literal["softmax"]
"""How scores become predictions; a probe solver exists for each. It grows with the tasks that need one."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts of truth (rows) against prediction (columns)."""

    title: str
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of cells that are already text, or estimates that a report draws with their interval."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Estimate, ...], ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """One item of a gallery; ``jpeg_base64`` is empty where pictures of the data are not to be kept."""

    key: str
    caption: str
    jpeg_base64: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Examples worth looking at."""

    title: str
    pictures: tuple[Picture, ...]
    caption: str = ""


Section: TypeAlias = Matrix | Table | Gallery
"""What a task contributes to a report; a report renders each kind and knows no task."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test row that the model got most confidently wrong."""

    row: int
    caption: str


class Target(Protocol):
    """One column to predict, its labels fixed by the training data."""

    @property
    def task(self) -> str:
        """Name of the task that made it."""
        ...

    @property
    def link(self) -> Link:
        """How its scores become predictions."""
        ...

    @property
    def n_outputs(self) -> int:
        """Return k, the number of scores for one input."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the k scores, in their order."""
        ...

    @property
    def main_metric(self) -> str:
        """Name of the metric by which a person compares models."""
        ...

    def state(self) -> Mapping[str, Json]:
        """Return what `Task.restore` reads back."""
        ...

    def encode(self, raw: Sequence[str | None]) -> Array:
        """Turn raw labels into what the loss takes; ``int64 [n]`` with -1 for missing or unknown labels."""
        ...

    def evaluate(self, truth: Array, scores: Array, seed: int) -> Metrics:
        """Compare encoded truth ``[n]`` with scores ``[n, k]``, each metric with its interval."""
        ...

    def baselines(self, truth_train: Array, truth_test: Array, seed: int) -> Mapping[str, Metrics]:
        """Return what a model that ignores its input would score."""
        ...

    def sections(self, truth: Array, scores: Array, seed: int) -> tuple[Section, ...]:
        """Tables and matrices for the report."""
        ...

    def mistakes(self, truth: Array, scores: Array, limit: int) -> tuple[Mistake, ...]:
        """Return the most confidently wrong rows first; ``row`` counts from 0 within ``truth``."""
        ...

    def answer(self, scores: Array) -> Mapping[str, Json]:
        """Turn the scores ``[k]`` of one input into the prediction that a client sees."""
        ...

    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of `answer`."""
        ...


class Task(Protocol):
    """What for: a kind of target. It knows nothing of schedules or trunks."""

    @property
    def name(self) -> str:
        """Return the name, such as ``classification``."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What a trunk must offer for it."""
        ...

    def learn(self, raw: Sequence[str | None]) -> Target:
        """Fix the labels from training values.

        Raises
        ------
        DataError
            There is nothing to learn, such as a single class.
        """
        ...

    def restore(self, state: Mapping[str, Json]) -> Target:
        """Rebuild a target from `Target.state`."""
        ...


@dataclass(frozen=True, slots=True)
class Goal:
    """One target as a recipe sees it: encoded truth ``int64 [n]`` (-1 where missing), link and width."""

    truth: Array
    link: Link
    n_outputs: int


@dataclass(frozen=True, slots=True)
class FitJob:
    """All that a recipe may use. Nothing of the test side is in it.

    ``features`` is ``float32 [n, d]`` over the rows of ``goals``; folds and units count the same rows.
    """

    features: Array
    goals: Mapping[str, Goal]
    folds: tuple[Fold, ...]
    seed: int
    budget: Budget
    progress: Progress


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a fit: what it cost and what validation said.

    ``validation`` is the main metric of the targets, averaged where there are several.
    """

    name: str
    seconds: float
    validation: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a recipe gives back: a calibrated head per target, and held-out scores ``[n, k]``.

    A row of ``held_out`` that no fold held out is NaN.
    """

    heads: Mapping[str, LinearHead]
    held_out: Mapping[str, Array]
    notes: tuple[str, ...] = ()


class Recipe(Protocol):
    """*How* it is fitted: one short function that reads top to bottom. It imports no task."""

    @property
    def name(self) -> str:
        """Return the name, such as ``probe``."""
        ...

    @property
    def requires(self) -> frozenset[str]:
        """What a trunk must offer for it."""
        ...

    def __call__(self, job: FitJob) -> Fitted:
        """Fit; stop early, with the best so far, when the budget ends."""
        ...


# --- the fit record: all that a report renders --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DataSummary:
    """What was read. ``findings`` are plain sentences: duplicates, leaks, imbalance, tiny classes."""

    name: str
    modality: str
    layout: str
    understood: tuple[str, ...]
    n_listed: int
    n_used: int
    rejected: tuple[Rejected, ...]
    findings: tuple[str, ...]
    class_counts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """How many rows stood where, and how that came about."""

    method: str
    seed: int
    n_train: int
    n_valid: int
    n_test: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How good one target's predictions are on rows that nothing was chosen on."""

    task: str
    labels: tuple[str, ...]
    main_metric: str
    validation: Metrics
    test: Metrics
    baselines: Mapping[str, Metrics]
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class FitRecord:
    """Everything about one fit or one evaluation that is worth telling; stored as JSON in the bundle.

    Attributes
    ----------
    kind
        ``fit``, or ``evaluation`` of a bundle on other data.
    created
        Moment it began, ISO 8601 in UTC.
    command
        The command that makes it again.
    seconds, seconds_to_first_model
        Since the process began, as far as that is known.
    settings
        Every choice that changes the result: seed, budget, engine, precision, threads, versions.
    """

    kind: Literal["fit", "evaluation"]
    name: str
    created: str
    topwork: str
    command: str
    data: DataSummary
    split: SplitSummary
    trunk: TrunkCard
    recipe: str
    settings: Mapping[str, str]
    targets: Mapping[str, TargetResult]
    rungs: tuple[Rung, ...]
    seconds: float
    seconds_to_first_model: float
    n_cached: int
    notes: tuple[str, ...] = ()
    schema: int = 1


# --- serving ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, or one piece of a streamed answer, for the input at ``index`` of a request.

    Exactly one of ``value`` and ``problem`` is set; ``last`` is False where more pieces follow.
    """

    index: int
    value: Mapping[str, Json] | None
    problem: str | None = None
    last: bool = True


@runtime_checkable
class Servable(Protocol):
    """A model as a server sees it: bytes in, JSON out, whatever the task and the modality."""

    @property
    def name(self) -> str:
        """Name in the API; the stem of the bundle's file."""
        ...

    @property
    def wire(self) -> Wire:
        """How an input travels."""
        ...

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of the ``value`` of an answer."""
        ...

    @property
    def about(self) -> Mapping[str, Json]:
        """What a person may want to know: trunk, task, labels, test score, engine, when it was fitted."""
        ...

    def prove(self) -> None:
        """Replay the golden examples and warm up.

        Raises
        ------
        ProofError
            The answers differ from those at the time of the fit.
        """
        ...

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer encoded inputs; a bad one gets a problem, the others their answer. Safe from several threads."""
        ...


def row_numbers(mask: Array) -> Array:
    """Return the positions at which ``mask`` is true, ``int64`` ascending."""
    return np.flatnonzero(mask).astype(np.int64)
