"""Making a language model ready to write: weights fetched, its network exported where need be, an engine started."""

from __future__ import annotations

from topwork.contracts import Graph, LanguageModel, Precision
from topwork.engines.choice import has_fast_bf16
from topwork.engines.decoder_export import export_decoder
from topwork.engines.machine import Machine, shared, survey
from topwork.engines.paged import MARK, PagedEngine
from topwork.errors import UsageError
from topwork.steps.options import Surroundings
from topwork.trunks.causal import marked

__all__ = ["engine_on", "graph_of"]


def graph_of(model: LanguageModel, around: Surroundings) -> Graph:
    """Return a language model as `PagedEngine` runs it.

    Raises
    ------
    WeightsError
        Its weights cannot be had, or are not those of its network.
    UsageError
        transformers has no such network, or it attends in a way that is not known here.
    """
    weights = model.fetch(around.cache_dir, around.progress)
    if (graph := model.graph(weights)) is not None:
        return graph
    around.progress.say(f"Exporting {model.card.name}")
    made = marked(model.load(weights), MARK)
    return export_decoder(made.module, made.attentions)


def engine_on(
    graph: Graph, precision: Precision | None, around: Surroundings, *, adapts: bool = False
) -> PagedEngine:
    """Start an engine; without a precision the shortest that this machine computes in, but no eight bits."""
    machine = _machine_of(around)
    shortest: Precision = "bf16" if has_fast_bf16(machine) else "fp32"
    return PagedEngine(graph, precision or shortest, n_threads=machine.n_cores, adapts=adapts)


def _machine_of(around: Surroundings) -> Machine:
    """Return what of the machine there is to write with: its processor, so far.

    Raises
    ------
    UsageError
        A GPU is asked for.
    """
    if around.device == "cuda":
        raise UsageError(
            "Language models are run on the processor so far; only a fit of one takes a GPU.",
            next_step="Leave --device out.",
        )
    return shared(survey(), around.n_cores)
