"""`fit` on texts to write like: a language model that is fine-tuned, proven and put into a bundle.

The steps stand in `fit_writer` in the order in which they happen.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from topwork import __version__
from topwork.bundle.base import Omission
from topwork.bundle.contents import Contents, save
from topwork.bundle.writing import golden_texts
from topwork.contracts import (
    Afterwards,
    Array,
    Budget,
    Comparison,
    DataSummary,
    FitJob,
    FitRecord,
    Sampling,
    SplitSummary,
    Table,
    TargetResult,
    Workplace,
)
from topwork.data.corpus_check import CorpusFinding, examine_corpus
from topwork.data.reading import name_of
from topwork.engines.paged import PagedEngine
from topwork.evaluation.ngrams import NgramModel, copied_share
from topwork.evaluation.perplexity import perplexity, perplexity_difference
from topwork.inputs.vocabulary import Vocabulary
from topwork.recipes.writing import TEXT, Rewritten, goals_of, rewrite
from topwork.report.html import render_html
from topwork.steps.options import DEFAULT_BUDGET, FitOptions, Surroundings, duration_s
from topwork.steps.places import Place
from topwork.steps.recording import moment, platform_settings
from topwork.steps.transfer import packages
from topwork.steps.writers import engine_on, graph_of
from topwork.steps.writing_order import WritingOrder, WritingRows, look_up_texts
from topwork.steps.writing_rows import Sides, tokenised
from topwork.storage import write_atomically
from topwork.training.draws import drawn_by
from topwork.training.packing import Packed
from topwork.trunks.causal import states_of
from topwork.trunks.causal_attention import TRAINED
from topwork.verbs.writing import Writer, open_writer_bundle

__all__ = ["DEFAULT_WRITING_RECIPE", "fit_writer"]

DEFAULT_WRITING_RECIPE: Final = "lora"

_N_GOLDENS = 4
_N_WRITTEN, _WRITTEN_TOKENS = 8, 120
_SHOWN_TOKENS = 24
"""Of what the model writes after each look; transformers takes some two seconds for them."""
_ENOUGH_TEXTS = 20
"""Of fewer test texts an interval would say little; their pieces are drawn again then, though neighbours are alike."""
_MOST_COUNTED = 400_000
"""Tokens that the n-gram model counts at most: it is a rival of minutes, not of hours."""


@dataclass(frozen=True, slots=True, eq=False)
class _Learned:
    """What came of training, and what test texts cost before and after: nats and tokens of each."""

    found: Rewritten
    before: tuple[Array, Array]
    after: tuple[Array, Array]


def fit_writer(
    data: str | Path,
    out: str | Path | None = None,
    *,
    trunk: str | None = None,
    recipe: str = DEFAULT_WRITING_RECIPE,
    budget: str | float | None = DEFAULT_BUDGET,
    seed: int = 0,
    options: FitOptions | None = None,
    around: Surroundings | None = None,
) -> Writer:
    """Fine-tune a language model on texts to write like.

    Parameters
    ----------
    data
        As `topwork.data.corpus.read_corpus` takes it.
    out
        Where the bundle goes; the report is written beside it.
    trunk
        A name of the catalogue, ``hf/ORG/NAME``, or a folder; by default SmolLM2-135M.
    recipe
        ``lora`` trains adapters, ``full`` all weights.
    budget, seed, options, around
        As `fit` has them.

    Raises
    ------
    DataError
        There are no texts, or too little.
    UsageError
        A name or a setting that cannot work.
    WeightsError
        The model's weights cannot be had.
    StorageError
        The bundle cannot be written.
    """
    around, options = around or Surroundings(), options or FitOptions()
    began_s = around.clock() if around.began_s is None else around.began_s
    deadline = Budget(around.clock, began_s + duration_s(budget))
    place = Place.of(name_of(data), out)
    order = look_up_texts(data, trunk, recipe, budget=budget, seed=seed, options=options, around=around)
    rows, vocabulary = order.rows, order.vocabulary
    learned = _learn(order, deadline, place.unfinished)
    record = _record(order, learned, place.bundle.stem, began_s)
    contents = _contents(order, learned.found, record)
    if options.proof != "none":
        on_processor = replace(around, device="auto")
        writer = Writer(record.name, vocabulary, engine_on(contents.graph, None, on_processor), around)
        proven = replace(record, sections=(*record.sections, _written(writer, rows, seed)))
        contents = replace(contents, record=proven)
    return _delivered(place, contents, around)


def _learn(order: WritingOrder, deadline: Budget, unfinished: Path) -> _Learned:
    """Read the test with the model as it is, train, and read it again."""
    import torch

    torch.set_num_threads(order.machine.n_cores)
    around, rows = order.around, order.rows
    network = order.model.load(order.model.fetch(around.cache_dir, around.progress), attention=TRAINED)
    before = _test_costs(order, network, "Reading the test as it is")
    goals, fold = goals_of(rows.train, rows.valid)
    job = FitJob(
        features=np.zeros((len(rows.train) + len(rows.valid), 1), np.float32),
        goals=goals,
        folds=(fold,),
        seed=order.seed,
        budget=deadline,
        progress=around.progress,
        workplace=Workplace(unfinished, order.options.resume, around.should_stop),
        n_steps=order.options.steps,
        afterwards=Afterwards(len(rows.test), None, order.delivery_s),
    )
    show = partial(_show, order, network)
    found = rewrite(
        job,
        network,
        (rows.train, rows.valid),
        order.settings,
        bf16=order.bf16,
        device=order.device,
        show=show,
    )
    after = _test_costs(order, network, "Reading the test") if found.weights else before
    return _Learned(found, before, after)


def _show(order: WritingOrder, network: Any) -> None:
    """Say how the model writes as it is now; torch's random state is left alone."""
    import torch

    tokens = torch.tensor([order.vocabulary.opening("")], device=order.device)
    with torch.inference_mode(), drawn_by(order.seed, order.device):
        written = network.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=_SHOWN_TOKENS,
            do_sample=True,
            pad_token_id=0,
        )
    text = order.vocabulary.decode(written[0, tokens.shape[1] :].tolist())
    order.around.progress.say(f"It writes: {' '.join(text.split())}")


def _record(order: WritingOrder, learned: _Learned, name: str, began_s: float) -> FitRecord:
    around, sides = order.around, order.sides
    rungs, target = learned.found.rungs, _judged(order, learned)
    call = f"topwork.fit_writer({str(order.data)!r}, recipe={order.recipe!r}, seed={order.seed})"
    return FitRecord(
        kind="fit",
        name=name,
        created=moment(around.wall_clock()),
        topwork=__version__,
        command=around.command or call,
        data=_summary(order),
        split=SplitSummary(
            sides.method, order.seed, len(sides.train), len(sides.valid), len(sides.test), sides.notes
        ),
        trunk=order.model.card,
        recipe=order.recipe,
        settings=_told_settings(order),
        targets={TEXT: target},
        rungs=rungs,
        seconds=around.clock() - began_s,
        seconds_to_first_model=rungs[0].seconds,
        n_cached=0,
        notes=tuple(note for rung in rungs for note in rung.notes),
    )


def _contents(order: WritingOrder, found: Rewritten, record: FitRecord) -> Contents:
    """Put together what goes into the bundle, the golden texts said in fp32."""
    rows, base = order.rows, graph_of(order.model, order.around)
    graph = replace(base, weights={**base.weights, **found.weights})
    exact = PagedEngine(graph, "fp32", n_threads=order.machine.n_cores, cache_bytes=1)
    return Contents(
        name=record.name,
        graph=graph,
        preprocessing=order.vocabulary,
        trunk=order.model.card,
        targets={},
        sides=order.sides.keys(),
        statistics={"tokens": np.array([rows.train.n_said, rows.valid.n_said, rows.test.n_said], np.float32)},
        record=record,
        omitted=Omission(order.model, base.weights, found.products) if order.options.adapter_only else None,
        goldens=golden_texts(_beginnings(order.sides, order.vocabulary), order.vocabulary, exact),
    )


def _test_costs(order: WritingOrder, network: Any, title: str) -> tuple[Array, Array]:
    """Return what each test text costs in nats, and how many tokens it says; of few texts, what each piece does."""
    from topwork.training.saying import Speaker, costs_of_pieces

    test = order.rows.test
    network.to(order.device)
    speaker = Speaker(states_of(network), network.get_output_embeddings())
    with order.around.progress.track(title, len(test), "rows") as advance:
        costs, counts = costs_of_pieces(speaker, test, advance, bf16=order.bf16, device=order.device)
    return _by_unit(costs, test), _by_unit(counts, test)


def _by_unit(values: Array, test: Packed) -> Array:
    """Sum what pieces have up by text, where there are enough texts to tell how they differ."""
    texts, of = np.unique(test.documents, return_inverse=True)
    return values if len(texts) < _ENOUGH_TEXTS else np.bincount(of, values)


def _ngrams(order: WritingOrder) -> Array:
    """Return what the test costs an n-gram model of the training texts."""
    taken, n, rows = [], 0, order.rows
    for text in rows.texts["train"]:
        taken.append(text.tokens.tolist())
        n += len(text.tokens)
        if n >= _MOST_COUNTED:
            break
    model = NgramModel(len(order.vocabulary)).fit(taken)
    costs = [model.cost(one.tokens.tolist(), one.is_learned.tolist()) for one in rows.tested]
    return _by_unit(np.array(costs), rows.test)


def _judged(order: WritingOrder, learned: _Learned) -> TargetResult:
    began_s, seed = order.around.clock(), order.seed
    rival = _ngrams(order)
    took_s = order.around.clock() - began_s
    costs, counts = learned.after
    others = (
        ("base model", "The same model before it was trained.", learned.before[0], 0.0),
        (
            "n-gram model",
            "Kneser-Ney over three tokens of the training texts, all that it knows.",
            rival,
            took_s,
        ),
    )
    return TargetResult(
        task="writing",
        labels=(),
        main_metric="perplexity",
        validation={},
        test={"perplexity": perplexity(costs, counts, seed=seed)},
        baselines={},
        sections=(),
        n_test=len(counts),
        comparisons=tuple(
            Comparison(
                name,
                how,
                {"perplexity": perplexity(theirs, counts, seed=seed)},
                {"perplexity": perplexity_difference(costs, theirs, counts, seed=seed)},
                seconds,
            )
            for name, how, theirs, seconds in others
        ),
    )


def _beginnings(sides: Sides, vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Return the beginnings of some training texts, for the goldens."""
    found = []
    for one in sides.train[: 4 * _N_GOLDENS]:
        text = "".join(piece.text for piece in one.pieces)[:400]
        if len(vocabulary.encode(text)) > 1:
            found.append((one.where, text))
    return found[:_N_GOLDENS]


def _summary(order: WritingOrder) -> DataSummary:
    rows, corpus = order.rows, order.corpus
    counts = [len(one.tokens) for one in tokenised(corpus.documents, order.vocabulary)]
    odd = examine_corpus(corpus, counts, order.settings.length)
    said = (
        f"{rows.train.n_said:,} to learn, {rows.valid.n_said:,} to validate by, {rows.test.n_said:,} to test"
    )
    return DataSummary(
        name=name_of(order.data).name,
        modality="text",
        layout=corpus.layout,
        understood=(),
        n_listed=len(corpus.documents) + len(corpus.rejected),
        n_used=len(corpus.documents),
        rejected=corpus.rejected,
        findings=(
            f"{sum(counts):,} tokens: {said}.",
            *(f"{one.what} {one.remedy}" for one in odd),
            *_mendable(odd, name_of(order.data).name),
        ),
        class_counts={},
    )


def _mendable(found: Sequence[CorpusFinding], name: str) -> tuple[str, ...]:
    """Say how what is recommended can be had in a copy of the texts, where it can."""
    if not any(one.mending == "offered" and one.kind == "recommended" for one in found):
        return ()
    return (f"`topwork data check {name} --mend FILE.jsonl` writes a copy in which that is mended.",)


def _told_settings(order: WritingOrder) -> dict[str, str]:
    names = ("rank", "alpha", "peak", "length", "batch")
    return {
        "seed": str(order.seed),
        "budget": "none" if order.budget is None else str(order.budget),
        "precision of training": "bf16" if order.bf16 else "fp32",
        "threads": str(order.machine.n_cores),
        "device": order.device,
        "preprocessing": order.vocabulary.describe(),
        "trunk identity": order.model.identity,
        "packages": packages(),
        **{f"recipe's {name}": str(getattr(order.settings, name)) for name in names},
        **platform_settings(),
    }


def _written(writer: Writer, rows: WritingRows, seed: int) -> Table:
    """Have some texts written, and tell how much of them is copied."""
    passages = writer.passages("", length=_WRITTEN_TOKENS, n_samples=_N_WRITTEN, sampling=Sampling(seed=seed))
    sources = [one.tokens.tolist() for one in rows.texts["train"]]
    share = copied_share([one.tokens for one in passages], sources)
    return Table(
        "What it writes",
        ("number", "text"),
        tuple((str(number), one.text) for number, one in enumerate(passages, start=1)),
        f"Of {sum(len(one.tokens) for one in passages):,} tokens that it wrote by itself at temperature 0.7, "
        f"{share:.1%} stand in runs of 12 or more that are in the training texts word for word.",
    )


def _delivered(place: Place, contents: Contents, around: Surroundings) -> Writer:
    """Write bundle and report, open the bundle and let it prove itself."""
    save(place.bundle, contents)
    write_atomically(place.report, render_html(contents.record).encode("utf-8"))
    shutil.rmtree(place.unfinished, ignore_errors=True)
    on_processor = replace(around, device="auto")
    return replace(open_writer_bundle(place.bundle, None, on_processor), folder=place.folder)
