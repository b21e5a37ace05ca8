"""A language model as a servable: an order in, a text out, whole or piece by piece; see `topwork.inputs.orders`.

All orders that are open are written in one batch, which newcomers join at every token. It knows no HTTP and no
protocol.
"""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from types import MappingProxyType
from typing import Final, cast
from weakref import WeakValueDictionary

import numpy as np

from topwork.bundle.contents import Bundle
from topwork.bundle.introduction import about, closed
from topwork.bundle.structure import to_json
from topwork.bundle.writing import prove_writing, vocabulary_of
from topwork.contracts import (
    Allowance,
    Answer,
    Clock,
    Graph,
    Intake,
    Json,
    LanguageModel,
    NobodyElse,
    Sampling,
    Wire,
    Written,
)
from topwork.engines.paged import PagedEngine, WritingEngine
from topwork.engines.sampling import require
from topwork.engines.scribe import Desk, Scribe
from topwork.engines.writing import Opening, write
from topwork.errors import DecodeError, ProofError, UsageError
from topwork.inputs.drafts import Draft
from topwork.inputs.grammars import JsonGrammar, require_schema
from topwork.inputs.orders import WIRE, Order, opening_of, read_order
from topwork.inputs.vocabulary import WRITING, Spelling, Vocabulary
from topwork.steps.options import Surroundings
from topwork.steps.writers import engine_on, graph_of

__all__ = ["SCHEMA", "Bases", "ServedWriter", "served_bundle", "served_writer"]

_N_TOGETHER: Final = 64
_NUMBERS: Final = count(1)
_PATIENCE_S: Final = 0.2
"""Without a token, until it is looked who has come and gone."""
_TRIAL: Final = Order(prompt="Once upon a time", n_most=4)
_TOKEN: Final[Mapping[str, Json]] = closed(
    {"token": {"type": "string"}, "log_probability": {"type": "number"}}
)
_NO_PROBABILITY: Final = "Null for the first token of a text that is echoed."
SCHEMA: Final[Mapping[str, Json]] = closed(
    {
        "text": {
            "type": "string",
            "description": "What was written, without what it goes on from where that is not asked for.",
        },
        "ending": {
            "enum": ["stop", "length", None],
            "description": "Why it ended: by an end or words to stop at, or by its length; null where more follows.",
        },
        "n_prompt_tokens": {"type": "integer", "minimum": 0},
        "n_tokens": {"type": "integer", "minimum": 0, "description": "Written so far."},
        "tokens": {
            "type": "array",
            "description": "Each token and the likeliest ones in its place, where they are asked for.",
            "items": closed(
                {
                    "token": {"type": "string"},
                    "log_probability": {"type": ["number", "null"], "description": _NO_PROBABILITY},
                    "likeliest": {"type": "array", "items": _TOKEN},
                }
            ),
        },
    }
)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An order as the engine takes it."""

    order: Order
    opening: Opening


class ServedWriter:
    """A language model; see `topwork.contracts.Servable` and `topwork.contracts.Batchable`.

    Parameters
    ----------
    name
        Name in the API.
    told
        What a person may want to know of it, where it is of no bundle.
    bundle
        Where it comes from, where that is one.
    adapter
        Name of the engine's adapter that it writes with; empty for none.

    Attributes
    ----------
    scribe
        What writes, for all models of one engine.
    bundle
        As given.
    n_together
        Texts that are written at once.
    """

    n_together = _N_TOGETHER

    def __init__(
        self,
        name: str,
        vocabulary: Vocabulary,
        scribe: Scribe,
        *,
        told: Mapping[str, Json] = MappingProxyType({}),
        bundle: Bundle | None = None,
        adapter: str = "",
    ) -> None:
        self._name, self._vocabulary, self.scribe, self.bundle = name, vocabulary, scribe, bundle
        self._told = dict(told) if bundle is None else dict(about(bundle, self.engine))
        self._adapter = adapter
        self._like: ServedWriter | None = None

    def called(self, name: str | None) -> ServedWriter:
        """Return the same model under another name; both have the one engine."""
        other = copy.copy(self)
        other._name, other._like = name or self._name, self
        return other

    def decode_within(self, allowance: Allowance) -> None:
        """Do without: a text takes about as much memory as it has bytes."""

    @property
    def name(self) -> str:
        """Name in the API."""
        return self._name

    @property
    def wire(self) -> Wire:
        """How an order travels: as a text to go on from."""
        return WIRE

    @property
    def answer_schema(self) -> Mapping[str, Json]:
        """A text, why it ended, and how many tokens that took."""
        return SCHEMA

    @property
    def explanation_schema(self) -> None:
        """Return nothing: what was written stands for itself."""
        return

    @property
    def about(self) -> Mapping[str, Json]:
        """Where it comes from, how much of a text it sees, and what runs it."""
        engine = {key: getattr(self.engine, key) for key in ("name", "precision", "version")}
        known = self._vocabulary
        writes: Mapping[str, Json] = {
            "window": self._n_room,
            "chats": bool(known.chat_template),
            "prompt_ending": known.prompt_ending,
        }
        return {**self._told, "name": self._name, "writes": writes, "engine": engine}

    @property
    def engine(self) -> WritingEngine:
        """What runs it."""
        return cast("WritingEngine", self.scribe.decoder)

    @property
    def _n_room(self) -> int:
        pool = self.engine.pool
        return min(self._vocabulary.window, pool.n_blocks * pool.n_tokens)

    def prove(self) -> None:
        """Say the golden texts again, where there are some, and write a little, which warms the engine up.

        Raises
        ------
        ProofError
            It says them with other probabilities than at the time of the fit, or with none.
        """
        with self.scribe.alone():
            if self.bundle is not None:
                prove_writing(self.bundle, self._vocabulary, self.engine, adapter=self._adapter)
            found = [one.log_probability for one in write(self.engine, [self._prepared(_TRIAL).opening])]
        if not np.isfinite(found).all():
            raise ProofError(f"{self._name} writes tokens that have no probability.")

    def explain(self, inputs: Sequence[bytes]) -> Iterator[Answer]:  # noqa: ARG002
        """Explain nothing; it is not asked to, see `explanation_schema`."""
        raise UsageError(f"{self._name!r} writes texts, which have no explanation.")

    def submit(self, inputs: Sequence[bytes]) -> Iterator[Answer]:
        """Answer orders together; a bad one gets a problem."""
        places, ready = [], []
        for index, encoded in enumerate(inputs):
            try:
                ready.append(self.prepare(encoded))
                places.append(index)
            except DecodeError as error:
                yield Answer(index, None, str(error))
        for answer in self.compute(ready, NobodyElse()) if ready else ():
            yield Answer(places[answer.index], answer.value, last=answer.last)

    # --- several together -------------------------------------------------------------------------------

    def samples(self) -> Sequence[_Prepared]:
        """Return a short order."""
        return [self._prepared(_TRIAL)]

    def rehearse(self) -> None:
        """Read an order in this thread: what is written is computed in the engine's own."""
        self.prepare(_TRIAL.encoded())

    def prepare(self, encoded: bytes) -> _Prepared:
        """Read an order, and find out whether it can be carried out; see `topwork.contracts.Batchable`."""
        return self._prepared(read_order(encoded))

    def _prepared(self, order: Order) -> _Prepared:
        vocabulary, grammar = self._vocabulary, None
        tokens, n_most = opening_of(order, vocabulary, self._n_room)
        tells_given = order.echoes and order.n_likeliest is not None
        try:
            if order.schema is not None:
                require_schema(order.schema, vocabulary)
                grammar = partial(JsonGrammar, order.schema, vocabulary)
            ends = frozenset(vocabulary.ends)
            n_likeliest = order.n_likeliest or 0
            sampling = self._sampling(order)
            opening = Opening(
                tokens, max(1, n_most), sampling, ends, n_likeliest, grammar, self._adapter, tells_given
            )
        except UsageError as error:
            raise DecodeError(error.problem, next_step=error.next_step) from error
        return _Prepared(order, opening)

    def _sampling(self, order: Order) -> Sampling:
        usual = self._vocabulary.sampling
        return require(replace(order.sampling, **{name: getattr(usual, name) for name in order.unsaid}))

    def key(self, prepared: _Prepared) -> str:  # noqa: ARG002
        """Return the same for all: whatever is asked is written together."""
        return "text"

    def compute(self, prepared: Sequence[_Prepared], intake: Intake) -> Iterator[Answer]:
        """Write texts together, and take newcomers in at every token."""
        table = _Table(self._vocabulary, intake)
        with closing(Desk(self.scribe)) as desk:
            desk.ask(table.open(prepared))
            while table.sheets:
                one = desk.take(_PATIENCE_S)
                if one is not None and (answer := table.answer(one)) is not None:
                    yield answer
                desk.give_up(table.gone())
                desk.ask(table.open(intake.admit()))

    def finish(self, answer: Answer) -> Answer:
        """Return the answer as it is."""
        return answer


class Bases:
    """Networks that several adapters are written with, each of them once; none lives longer than who writes with it."""

    def __init__(self) -> None:
        self._scribes: WeakValueDictionary[tuple[str, bytes], Scribe] = WeakValueDictionary()

    def adapted(self, bundle: Bundle, around: Surroundings) -> tuple[Scribe, str] | None:
        """Return what writes with a bundle's base, and the name of its adapter there; None where it has none alone."""
        base = bundle.manifest.base
        if base is None or (apart := bundle.apart()) is None:
            return None
        graph, products = apart
        key = (base.weights_sha256, graph.topology)
        scribe = self._scribes.get(key) or Scribe(engine_on(graph, None, around, adapts=True))
        self._scribes[key] = scribe
        assert isinstance(scribe.decoder, PagedEngine)
        bank = scribe.decoder.bank
        assert bank is not None
        name = f"{bundle.identity} {next(_NUMBERS)}"
        with scribe.alone():
            bank.add(name, products)
        return scribe, name

    def plain(self, weights_sha256: str, graph: Graph) -> Scribe | None:
        """Return what writes with a network and adapters of it; None where there are none: their room costs time."""
        return self._scribes.get((weights_sha256, graph.topology))


def served_bundle(
    bundle: Bundle, around: Surroundings, name: str | None = None, *, bases: Bases | None = None
) -> ServedWriter:
    """Start what a bundle writes with; where that is an adapter alone, with its base among others.

    Raises
    ------
    BundleError
        It holds no language model.
    WeightsError
        Its base cannot be had.
    """
    vocabulary, title = vocabulary_of(bundle), name or bundle.path.stem
    if bases is not None and (shared := bases.adapted(bundle, around)) is not None:
        scribe, adapter = shared
        made = ServedWriter(title, vocabulary, scribe, bundle=bundle, adapter=adapter)
        assert made.engine.bank is not None
        weakref.finalize(made, made.engine.bank.give_back, adapter)
        return made
    scribe = Scribe(engine_on(bundle.graph(), None, around, config=vocabulary.config))
    return ServedWriter(title, vocabulary, scribe, bundle=bundle)


def served_writer(
    model: LanguageModel, around: Surroundings, name: str | None = None, *, bases: Bases | None = None
) -> ServedWriter:
    """Start a language model that nothing was fitted on, or take the one among ``bases`` that others' adapters are for.

    Raises
    ------
    WeightsError
        Its weights cannot be had.
    """
    card: dict[str, Json] = to_json(model.card)
    told = ("name", "summary", "n_parameters", "source", "licence", "commercial", "weights_sha256")
    about: dict[str, Json] = {"modality": WRITING, "trunk": {key: card[key] for key in told}}
    graph = graph_of(model, around)
    vocabulary: Vocabulary = model.vocabulary()
    shared = bases.plain(model.card.weights_sha256, graph) if bases is not None else None
    scribe = shared or Scribe(engine_on(graph, None, around, config=vocabulary.config))
    return ServedWriter(name or model.card.name, vocabulary, scribe, told=about)


@dataclass(slots=True)
class _Sheet:
    """A text on its way: ``text`` and ``tokens`` of it are yet to be told, and when something was told last."""

    prepared: _Prepared
    draft: Draft
    told_s: float
    text: str = ""
    tokens: list[Json] = field(default_factory=list)

    def is_due(self, now_s: float) -> bool:
        """Tell whether a piece is to be told now."""
        every_s = self.prepared.order.every_s
        if self.draft.ending is not None:
            return True
        return every_s is not None and bool(self.text) and now_s >= self.told_s + every_s


@dataclass(slots=True)
class _Table:
    """The texts of one model that are being written, and what is answered of them."""

    vocabulary: Vocabulary
    intake: Intake
    clock: Clock = time.monotonic
    sheets: dict[int, _Sheet] = field(default_factory=dict)
    n_come: int = 0
    ended: set[int] = field(default_factory=set)

    def open(self, prepared: Sequence[_Prepared]) -> list[Opening]:
        """Take texts in."""
        for number, one in enumerate(prepared, self.n_come):
            draft = Draft(Spelling(self.vocabulary, one.order.stops))
            self.sheets[number] = self._begun(_Sheet(one, draft, self.clock()))
        self.n_come += len(prepared)
        return [one.opening for one in prepared]

    def _begun(self, sheet: _Sheet) -> _Sheet:
        """Put down what the text begins with, where that is to be told: its first token comes from nobody."""
        order, tokens = sheet.prepared.order, sheet.prepared.opening.tokens
        if order.echoes:
            sheet.text = self.vocabulary.decode(order.tokens, plain=False) if order.tokens else order.prompt
            if order.n_likeliest is not None and not self._hides_first(order):
                sheet.tokens.append(
                    {"token": self._spelled(tokens[0]), "log_probability": None, "likeliest": []}
                )
        return sheet

    def _hides_first(self, order: Order) -> bool:
        """Tell whether the first token is one that the vocabulary has put before the text."""
        return not order.tokens and (self.vocabulary.begin is not None or not order.prompt)

    def gone(self) -> Collection[int]:
        """Return the numbers of texts that nobody waits for any more, or that ended by their letters."""
        lost = {*self.intake.gone(), *self.ended}
        self.ended = set()
        for number in lost:
            self.sheets.pop(number, None)
        return lost

    def answer(self, one: Written) -> Answer | None:
        """Return what is to be told now that a text has another token."""
        sheet, now_s = self.sheets[one.number], self.clock()
        self._put_down(sheet, one)
        if not sheet.is_due(now_s):
            return None
        is_last = sheet.draft.ending is not None
        if is_last:
            del self.sheets[one.number]
            if one.ending is None:
                self.ended.add(one.number)
        value: dict[str, Json] = {
            "text": sheet.text,
            "ending": sheet.draft.ending,
            "n_prompt_tokens": len(sheet.prepared.opening.tokens),
            "n_tokens": len(sheet.draft.written),
            "tokens": sheet.tokens,
        }
        sheet.text, sheet.tokens, sheet.told_s = "", [], now_s
        return Answer(one.number, value, last=is_last)

    def _put_down(self, sheet: _Sheet, one: Written) -> None:
        order, draft = sheet.prepared.order, sheet.draft
        if not one.is_given and order.n_most == 0:
            draft.ending = "length"
            return
        n_before = len(draft.written)
        if not one.is_given:
            sheet.text += draft.take(one)
        if order.n_likeliest is not None and (one.is_given or len(draft.written) > n_before):
            likeliest: list[Json] = [self._likely(token, found) for token, found in one.likeliest]
            sheet.tokens.append({**self._likely(one.token, one.log_probability), "likeliest": likeliest})

    def _likely(self, token: int, log_probability: float) -> dict[str, Json]:
        return {"token": self._spelled(token), "log_probability": log_probability}

    def _spelled(self, token: int) -> str:
        return self.vocabulary.decode([token], plain=False)
