"""Making a language model ready to write: weights fetched, its network exported where need be, an engine started."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from topwork.contracts import Graph, LanguageModel, Precision
from topwork.engines.choice import has_fast_bf16
from topwork.engines.decoder_export import export_decoder
from topwork.engines.machine import limited_to, shared, survey
from topwork.engines.paged import MARK, PagedEngine, WritingEngine
from topwork.errors import UsageError
from topwork.steps.options import Surroundings
from topwork.trunks.causal import attended, built, marked

if TYPE_CHECKING:
    import torch

    from topwork.engines.torch_writing import Attend, TorchWriter

__all__ = ["engine_on", "graph_of", "torch_writer"]


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
    graph: Graph,
    precision: Precision | None,
    around: Surroundings,
    *,
    adapts: bool = False,
    config: str = "",
) -> WritingEngine:
    """Start an engine: on a GPU where that is asked for, else on the processor.

    Parameters
    ----------
    precision
        None for the shortest that the device computes in, but no eight bits.
    adapts
        Whether there is to be room for adapters, which only the processor's engine has.
    config
        Content of the network's ``config.json``, by which transformers builds it for a GPU.

    Raises
    ------
    UsageError
        A GPU is asked for, and torch sees none, or nothing says how the network is built.
    """
    machine = shared(limited_to(survey(), around.device), around.n_cores)
    if around.device == "cuda" and not adapts:
        return torch_writer(graph, config, precision or ("bf16" if machine.has_cuda_bf16 else "fp16"), "cuda")
    shortest: Precision = "bf16" if has_fast_bf16(machine) else "fp32"
    return PagedEngine(graph, precision or shortest, n_threads=machine.n_cores, adapts=adapts)


def torch_writer(graph: Graph, config: str, precision: Precision, device: str) -> TorchWriter:
    """Start a language model on torch, its network built by transformers.

    Raises
    ------
    UsageError
        Nothing says how the network is built, or the precision is eight bits.
    """
    if not config:
        raise UsageError(
            "The language model does not say by which settings transformers builds it, which a GPU needs.",
            next_step="Fit it again with this version of topwork, or leave --device out.",
        )
    from topwork.engines.torch_writing import TorchWriter

    def network(attend: Attend) -> torch.nn.Module:
        return attended(built(json.loads(config), graph.weights), attend)

    return TorchWriter(network, precision, device=device)
