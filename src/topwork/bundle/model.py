"""A bundle with an engine under it: the servable that all of topwork predicts with.

It knows no task and no kind of input: the modality decodes, the engine runs, each target turns its scores
into an answer. Memory is bounded by the few chunks that are under way, however many inputs there are.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

import numpy as np

from topwork.bundle.archive import naming
from topwork.bundle.contents import Bundle
from topwork.bundle.familiarity import Familiarity
from topwork.bundle.goldens import Golden, replay
from topwork.bundle.introduction import about, closed, explanation_schema_of
from topwork.contracts import (
    Allowance,
    Answer,
    Array,
    Engine,
    Intake,
    Json,
    Link,
    Modality,
    Preprocessing,
    Reference,
    Target,
    Wire,
    by_shape,
    decoding_within,
)
from topwork.engines.grafting import FEATURES
from topwork.errors import BundleError, DecodeError, ProofError
from topwork.training.occlusion import ahead, warmth

__all__ = ["BundleModel", "Scored", "scores_output"]

CHUNK: Final = 16
"""Inputs that are decoded and run together: enough to keep an engine busy, few enough to answer soon."""

_WHOLE: Final = 1_000_000
"""For `Modality.overlay`: whoever asks for an explanation gets all of it."""

Read: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """What the network said of one input.

    Attributes
    ----------
    row
        The number that the caller gave the input.
    scores
        Target name to its scores, ``float32 [k]``, and under ``features`` what the trunk gives where the bundle knows
        what that was of its training data; None where the input could not be used.
    problem
        Why it could not, in words for a person; None where it could.
    """

    row: int
    scores: Mapping[str, Array] | None
    problem: str | None = None


class BundleModel:
    """A bundle, the modality that decodes for it and an engine that runs its graph; safe from several threads.

    Parameters
    ----------
    bundle
        What was fitted.
    modality
        Kind of input, named by the bundle's manifest.
    engine
        The bundle's graph, compiled.
    n_workers
        Threads that decode and run chunks at once, where there is more than one chunk.
    exact
        Starts the same network in full precision, for when the proof fails in a shorter number format.
    name
        Name in the API; by default the stem of the bundle's file.
    """

    def __init__(
        self,
        bundle: Bundle,
        modality: Modality,
        engine: Engine,
        *,
        n_workers: int = 2,
        exact: Callable[[], Engine] | None = None,
        name: str | None = None,
    ) -> None:
        self._bundle = bundle
        self._name = name or bundle.path.stem
        self._like: BundleModel | None = None
        """What it was made from by `called`; it lives as long as this does, for whoever looks it up to share it."""
        self._modality = modality
        self._engine, self._exact = engine, exact
        self._n_workers = max(1, n_workers)
        self._preprocessing = _restore_preprocessing(bundle, modality)
        self._about = about(bundle, engine)
        with naming(bundle.path):
            self._familiarity = Familiarity(bundle.statistics(), bundle.targets, bundle.outputs)
        _check_outputs(bundle)

    @property
    def name(self) -> str:
        """Name in the API."""
        return self._name

    def called(self, name: str | None) -> BundleModel:
        """Return the same model under another name, or that of its file; both have the one network."""
        other = copy.copy(self)
        other._name, other._like = name or self._bundle.path.stem, self
        return other

    def decode_within(self, allowance: Allowance) -> None:
        """Ask for memory before an input is decoded, from now on."""
        self._modality = decoding_within(self._modality, allowance)

    @property
    def bundle(self) -> Bundle:
        """The bundle behind the model."""
        return self._bundle

    @property
    def engine(self) -> Engine:
        """The engine under the model."""
        return self._engine

    @property
    def modality(self) -> Modality:
        """Kind of input that the model takes."""
        return self._modality

    @property
    def preprocessing(self) -> Preprocessing:
        """How an input is decoded."""
        return self._preprocessing

    @property
    def targets(self) -> Mapping[str, Target]:
        """What is predicted."""
        return self._bundle.targets

    @property
    def wire(self) -> Wire:
        """How an input travels."""
        return self._modality.wire

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """JSON Schema of the value of an answer."""
        return self._familiarity.schema(
            {name: target.answer_schema() for name, target in self.targets.items()}
        )

    @property
    def reference(self) -> Reference | None:
        """What inputs and answers of today are held against; None in a bundle that knows nothing of its own."""
        return self._familiarity.reference

    @property
    def explanation_schema(self) -> Mapping[str, Json] | None:
        """JSON Schema of what `explain` tells; None where inputs have no parts that could be taken away."""
        if self._modality.parts(self._bundle.goldens()[0].tensor) is None:
            return None
        schemas = {
            name: explanation_schema_of(self._familiarity.schema({name: target.answer_schema()}))
            for name, target in self.targets.items()
        }
        return next(iter(schemas.values())) if len(schemas) == 1 else closed(schemas)

    @property
    def about(self) -> Mapping[str, Json]:
        """Trunk, targets with their test scores, data, engine, and when it was fitted; valid as JSON."""
        return self._about

    def prove(self) -> None:
        """Replay the golden examples, which warms the engine up as well.

        A network whose answers do not survive a short number format runs in full precision from here on.

        Raises
        ------
        ProofError
            Decoder or network differ from those at the time of the fit.
        BundleError
            The golden examples or the labels are not those of the network.
        """
        goldens = self._bundle.goldens()
        with naming(self._bundle.path):
            _check_widths(goldens[0], self.targets)
            try:
                replay(goldens, self._modality, self._preprocessing, self._engine)
            except ProofError:
                if self._exact is None:
                    raise
                exact, self._exact = self._exact(), None
                replay(goldens, self._modality, self._preprocessing, exact)
                self._engine, self._about = exact, about(self._bundle, exact)

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer encoded inputs in their order; a bad one gets a problem, the others their answer."""
        for scored in self.scores(inputs):
            yield self._told(scored)

    def samples(self) -> Sequence[Array]:
        """Return the tensors of the golden examples."""
        return [golden.tensor for golden in self._bundle.goldens()]

    def rehearse(self) -> None:
        """Answer a golden example in this thread; see `topwork.contracts.Batchable`."""
        for _ in self.submit([self._bundle.goldens()[0].encoded]):
            pass

    def prepare(self, encoded: bytes) -> Array:
        """Decode one input; see `topwork.contracts.Batchable`."""
        return self._modality.decode(encoded, self._preprocessing).tensor

    def key(self, prepared: Array) -> tuple[int, ...]:
        """Return the shape: inputs of one shape are run as one batch."""
        return prepared.shape

    def compute(self, prepared: Sequence[Array], intake: Intake) -> Iterator[Answer]:  # noqa: ARG002
        """Answer decoded inputs of one shape; one pass of the network is too short for newcomers."""
        for place, scores in enumerate(self._run(prepared)):
            if len(prepared) > 1 and not _is_finite(scores):  # Another input may have spoilt it.
                (scores,) = self._run(prepared[place : place + 1])
            yield self._told(_scored(place, scores, None))

    def finish(self, answer: Answer) -> Answer:
        """Return the answer as it is."""
        return answer

    def _told(self, scored: Scored) -> Answer:
        if scored.scores is None:
            return Answer(scored.row, None, scored.problem)
        value, traits = self._said(scored.scores)
        return Answer(scored.row, value, traits=traits)

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Tell which parts of each input spoke for the answer, and which against; see `training.occlusion`."""
        for index, encoded in enumerate(inputs):
            try:
                told = {name: self._explained(encoded, name, target) for name, target in self.targets.items()}
            except DecodeError as error:
                yield Answer(index, None, str(error))
            else:
                yield Answer(index, next(iter(told.values())) if len(told) == 1 else told)

    def _explained(self, encoded: bytes, name: str, target: Target) -> Mapping[str, Json]:
        tensor = self._modality.decode(encoded, self._preprocessing).tensor
        parts = self._modality.parts(tensor)
        assert parts is not None
        output = scores_output(name)
        outputs = self._engine.run(tensor[None])
        scores = {key: outputs[one][0] for key, one in self._wanted([name]).items()}
        answer, _ = self._familiarity.said({name: target.answer(scores[name])}, scores)
        said = int(scores[name].argmax())
        lead = _LEADS.get(target.link, _mean)
        heat = warmth(lambda batch: lead(self._engine.run(batch)[output], said), tensor, parts)
        shown = self._modality.overlay(encoded, heat, self._preprocessing, _WHOLE)
        pieces: list[Json] = [{"text": one.text, "heat": round(one.heat, 4)} for one in shown.pieces]
        towards = _TOWARDS.get(target.link) or target.labels[said]
        return {"answer": answer, "towards": towards, "pieces": pieces}

    def answer(self, scores: Mapping[str, Array]) -> Mapping[str, Json]:
        """Turn the scores of one input into what a client sees; several targets answer under their names."""
        return self._said(scores)[0]

    def _said(self, scores: Mapping[str, Array]) -> tuple[Mapping[str, Json], tuple[float, ...]]:
        answers = {name: target.answer(scores[name]) for name, target in self.targets.items()}
        return self._familiarity.said(answers, scores)

    def scores(self, inputs: Sequence[bytes]) -> Iterator[Scored]:
        """Score encoded inputs in their order."""
        return self.score_rows(range(len(inputs)), inputs.__getitem__)

    def score_rows(self, rows: Iterable[int], read: Read) -> Iterator[Scored]:
        """Score rows in their order, each read only when its turn comes.

        Parameters
        ----------
        rows
            Numbers to call ``read`` with.
        read
            Gives the encoded input of a row, called from several threads; `DecodeError` makes it a bad one.
        """
        chunks = _chunks(rows)
        first, second = next(chunks, ()), next(chunks, ())
        if not second:  # What a server mostly gets is not worth a pool of threads.
            yield from self._score(first, read)
            return
        with ThreadPoolExecutor(self._n_workers, thread_name_prefix="topwork-score") as pool:
            yield from self._score_ahead(_joined(first, second, chunks), read, pool)

    def _score_ahead(
        self, chunks: Iterable[tuple[int, ...]], read: Read, pool: ThreadPoolExecutor
    ) -> Iterator[Scored]:
        """Keep each worker and one more chunk busy ahead of the caller, and no more."""
        waiting: deque[Future[list[Scored]]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(self._score, chunk, read))
                if len(waiting) > self._n_workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _score(self, chunk: tuple[int, ...], read: Read) -> list[Scored]:
        """Decode a chunk, run what could be decoded as one batch, and put the results in order."""
        tensors: dict[int, Array] = {}
        problems: dict[int, str] = {}
        for place, row in enumerate(chunk):
            try:
                tensors[place] = self.prepare(read(row))
            except DecodeError as error:
                problems[place] = str(error)
        scores = dict(zip(tensors, self._run(tensors.values()), strict=True))
        return [_scored(row, scores.get(place), problems.get(place)) for place, row in enumerate(chunk)]

    def _run(self, tensors: Iterable[Array]) -> list[Mapping[str, Array]]:
        """Run tensors, those of one shape as one batch, and give each its own scores by target."""
        several = list(tensors)
        wanted = self._wanted(self.targets)
        scores: list[Mapping[str, Array]] = [{}] * len(several)
        for places, batch in by_shape(several):
            outputs = self._engine.run(batch)
            for i, place in enumerate(places):
                scores[place] = {name: outputs[output][i] for name, output in wanted.items()}
        return scores

    def _wanted(self, targets: Iterable[str]) -> dict[str, str]:
        """Return the outputs of the graph that answers of some targets need, by what they are called in `Scored`."""
        features = {FEATURES: FEATURES} if self._familiarity.needs_features else {}
        return {**{name: scores_output(name) for name in targets}, **features}


def scores_output(target: str) -> str:
    """Return the name of the graph's output that holds the scores of a target."""
    return f"scores.{target}"


def _chunks(rows: Iterable[int]) -> Iterator[tuple[int, ...]]:
    waiting = iter(rows)
    while chunk := tuple(islice(waiting, CHUNK)):
        yield chunk


def _joined(
    first: tuple[int, ...], second: tuple[int, ...], others: Iterator[tuple[int, ...]]
) -> Iterator[tuple[int, ...]]:
    yield first
    yield second
    yield from others


def _is_finite(scores: Mapping[str, Array]) -> bool:
    return all(np.isfinite(values).all() for values in scores.values())


def _scored(row: int, scores: Mapping[str, Array] | None, problem: str | None) -> Scored:
    if scores is not None and not _is_finite(scores):
        return Scored(row, None, "The network gave no finite score for this input.")
    return Scored(row, scores, problem)


# --- what is checked and said once, when a model opens --------------------------------------------------


def _restore_preprocessing(bundle: Bundle, modality: Modality) -> Preprocessing:
    with naming(bundle.path):
        try:
            return modality.preprocessing(bundle.manifest.preprocessing)
        except Exception as error:  # Whatever a modality makes of what a file says.
            raise BundleError(
                f"Its preprocessing is not one of the modality {modality.name}: {error}."
            ) from error


def _check_outputs(bundle: Bundle) -> None:
    expected = {scores_output(name) for name in bundle.targets}
    if missing := sorted(expected - set(bundle.manifest.outputs)):
        raise BundleError(f"{bundle.path}: the graph has no output {', '.join(missing):.200}.")


def _check_widths(golden: Golden, targets: Mapping[str, Target]) -> None:
    for name, target in targets.items():
        found = golden.outputs[scores_output(name)].shape
        if found != (target.n_outputs,):
            raise BundleError(
                f"The network gives {list(found)} scores for {name!r}, which has {target.n_outputs} labels."
            )


def _own(scores: Array, output: int) -> Array:
    return np.asarray(scores[:, output])


def _mean(scores: Array, _: int) -> Array:
    return np.asarray(scores.mean(axis=1))


_LEADS: Mapping[Link, Callable[[Array, int], Array]] = {"softmax": ahead, "sigmoid": _own}
"""What parts of an input are held against, of the likeliest output; of other links the mean of all outputs.

Several labels may be given at once: what speaks for one of them says nothing against the others.
"""
_TOWARDS: Mapping[Link, str] = {
    "cumulative": "a higher class",
    "identity": "a higher value",
    "hazard": "a higher risk",
}
"""What parts of an input speak for, where it is not a label."""
