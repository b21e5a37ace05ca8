"""A language model on OpenVINO with keys and values in blocks, so that texts of any lengths go through it together.

It takes a `Graph` that `topwork.engines.decoder_export` made, in which attention is only marked, and puts OpenVINO's
paged attention there. It knows no tokeniser, and does not choose tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import numpy as np

from topwork.contracts import Array, Attention, Graph, Precision
from topwork.engines.choice import has_fast_bf16
from topwork.engines.graphs import assemble, parse
from topwork.engines.joined_layers import join_layers
from topwork.engines.low_rank import Bank, layers_with_room
from topwork.engines.machine import survey
from topwork.engines.mapped import laid_out
from topwork.engines.openvino import NUMBERS, compiled, library
from topwork.engines.paging import BlockPool
from topwork.engines.sampling import log_probabilities
from topwork.engines.weight_compression import compress_weights
from topwork.errors import BundleError, StorageError, TopworkError, UsageError

__all__ = ["ATTENTION", "MARK", "Decoder", "PagedEngine", "Part", "WritingEngine", "said_by"]

ATTENTION: Final = "topwork.attention"
"""Key in the topology's metadata: of each mark, by its name, what `Attention` holds."""
MARK: Final = "attention_mark"
"""Name of the module that stands where attention belongs; its node is named by the way to it."""

_KEYS, _VALUES = "keys.", "values."
_CACHE_BYTES: Final = 1 << 30
_LEAST_BLOCKS: Final = 16


@dataclass(frozen=True, slots=True)
class Part:
    """What one text adds in one run.

    Attributes
    ----------
    tokens
        Its next ones, at least one.
    n_before
        How many tokens of it are in the cache.
    blocks
        Numbers of its blocks, enough for all of these.
    n_wanted
        Scores are wanted after so many of the last tokens; 0 where more tokens are to come first.
    adapter
        Name of the one that it is computed with; empty for none.
    """

    tokens: Sequence[int]
    n_before: int
    blocks: Sequence[int]
    n_wanted: int = 1
    adapter: str = ""


class Decoder(Protocol):
    """What runs tokens."""

    @property
    def pool(self) -> BlockPool:
        """The blocks of its cache; what they hold of one call is there in the next."""
        ...

    def run(self, parts: Sequence[Part]) -> Array:
        """Return the scores that are wanted, part by part; they hold until the next call."""
        ...


class WritingEngine(Decoder, Protocol):
    """A decoder of a whole language model."""

    @property
    def name(self) -> str:
        """What runs it."""
        ...

    @property
    def version(self) -> str:
        """Of that."""
        ...

    @property
    def precision(self) -> Precision:
        """What it computes in."""
        ...

    @property
    def bank(self) -> Bank | None:
        """Its adapters; None without room for any."""
        ...

    def said(self, tokens: Sequence[int], adapter: str = "") -> Array:
        """Return the log probability of each token but the first, ``float64 [t - 1]``, in nats."""
        ...


class PagedEngine:
    """A compiled language model and the blocks that its texts stand in; for one thread.

    Parameters
    ----------
    graph
        What to run.
    precision
        ``fp32``, ``bf16`` or ``fp16``; keys and values are kept in the same. With ``int8`` weights are kept in eight
        bits, see `topwork.engines.weight_compression`, and the rest is computed as OpenVINO finds best here; where that
        is ``bf16``, keys and values are kept in it, which takes less time than to pack and unpack them.
    n_threads
        For one run.
    cache_bytes
        What blocks may take together; there are at least a few.
    adapts
        Whether there is to be room for adapters, which make each layer somewhat slower.

    Attributes
    ----------
    bank
        The adapters; None without room for any.

    Raises
    ------
    BundleError
        The graph has no marks.
    MissingExtraError
        OpenVINO is not installed.
    TopworkError
        It cannot read or compile the graph.
    """

    name = "openvino"

    def __init__(
        self,
        graph: Graph,
        precision: Precision = "fp32",
        *,
        n_threads: int,
        cache_bytes: int = _CACHE_BYTES,
        adapts: bool = False,
    ) -> None:
        self.precision: Precision = precision
        self.bank: Bank | None = None
        change = partial(self._change, attentions_of(graph), adapts=adapts)
        network = _compiled(graph, _settings(precision, n_threads), change)
        self.version = str(library().__version__).split("-")[0]
        self._request = network.create_infer_request()
        caches = [port for port in network.inputs if port.get_any_name().startswith((_KEYS, _VALUES))]
        block_bytes = sum(_block_bytes(port) for port in caches)
        n_blocks = max(_LEAST_BLOCKS, cache_bytes // block_bytes)
        self.pool = BlockPool(n_blocks, int(_cache_shape(caches[1], 1)[2]))
        self.n_scores = int(network.output(0).get_partial_shape()[1].get_length())
        self._caches = [self._cache(port, n_blocks) for port in caches]

    def _change(self, attentions: Mapping[str, Attention], model: Any, *, adapts: bool) -> None:
        _put_in(model, attentions)
        if adapts:
            self.bank = Bank(layers_with_room(model))
        join_layers(model)
        if self.precision == "int8":
            compress_weights(model)

    def run(self, parts: Sequence[Part]) -> Array:
        """Run texts together; return the scores that they want, ``float32 [sum of n_wanted, n_scores]``, in order.

        They are the engine's own, and hold until the next run.
        """
        if self.bank is not None:
            self._adapt(self.bank, parts)
        for name, values in _inputs_of(parts).items():
            self._request.set_tensor(name, library().Tensor(values))
        self._request.infer()
        found: Array = self._request.get_output_tensor(0).data
        return found

    def _adapt(self, bank: Bank, parts: Sequence[Part]) -> None:
        bank.settle()
        for name, values in bank.tensors() if bank.is_changed else ():
            self._request.set_tensor(name, library().Tensor(values))
        name, mask = bank.mask([(part.adapter, len(part.tokens)) for part in parts])
        self._request.set_tensor(name, library().Tensor(mask))

    def said(self, tokens: Sequence[int], adapter: str = "") -> Array:
        """Return the log probability of each token but the first after those before it, ``float64 [t - 1]``, in nats.

        Raises
        ------
        UsageError
            The text does not fit into the cache.
        """
        return said_by(self, tokens, adapter)

    def _cache(self, port: Any, n_blocks: int) -> Any:
        tensor = library().Tensor(port.get_element_type(), library().Shape(_cache_shape(port, n_blocks)))
        self._request.set_tensor(port.get_any_name(), tensor)
        return tensor


def said_by(decoder: Decoder, tokens: Sequence[int], adapter: str) -> Array:
    """Return what `PagedEngine.said` does, of any decoder.

    Raises
    ------
    UsageError
        The text does not fit into the cache.
    """
    # Under a root of its own, so that nothing of it is taken as known: scores are wanted after every token.
    lease = decoder.pool.take(tokens, root="said")
    if lease is None:
        raise UsageError(f"A text of {len(tokens):,} tokens does not fit into the cache.")
    try:
        scores = decoder.run([Part(tokens, 0, lease.blocks, len(tokens), adapter)])
    finally:
        decoder.pool.release(lease)
    return log_probabilities(scores[:-1], tokens[1:])


def attentions_of(graph: Graph) -> dict[str, Attention]:
    """Return the attention of each mark by the mark's name.

    Raises
    ------
    BundleError
        The topology tells of none.
    """
    told = {one.key: one.value for one in parse(graph.topology).metadata_props}.get(ATTENTION)
    if told is None:
        raise BundleError(
            "The network's graph does not say where it attends: it is not one that writes texts.",
            next_step="Give a bundle that was fitted on texts to write like.",
        )
    try:
        return {name: Attention(**fields) for name, fields in json.loads(told).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BundleError(
            f"What the network's graph says of its attention cannot be read: {error}."
        ) from error


def _inputs_of(parts: Sequence[Part]) -> dict[str, Array]:
    lengths = [len(part.tokens) for part in parts]
    begins = np.cumsum([0, *lengths])
    tokens = [token for part in parts for token in part.tokens]
    positions = [np.arange(part.n_before, part.n_before + len(part.tokens)) for part in parts]
    wanted = [
        np.arange(end - part.n_wanted, end) for part, end in zip(parts, begins[1:].tolist(), strict=True)
    ]
    return {
        "tokens": np.array(tokens, np.int64),
        "positions": np.concatenate(positions).astype(np.int64),
        "wanted": np.concatenate(wanted).astype(np.int64),
        "n_before": np.array([part.n_before for part in parts], np.int32),
        "begins": begins.astype(np.int32),
        "blocks": np.array([block for part in parts for block in part.blocks], np.int32),
        "block_begins": np.cumsum([0, *(len(part.blocks) for part in parts)]).astype(np.int32),
        "longest": np.array(max(part.n_before + len(part.tokens) for part in parts), np.int32),
    }


def _compiled(graph: Graph, settings: Mapping[str, Any], change: Callable[[Any], None]) -> Any:
    """Compile a graph whose weights are mapped from a file meanwhile, which takes half the time and memory."""
    with TemporaryDirectory(prefix="topwork-", ignore_cleanup_errors=True) as folder:
        try:
            source: Path | bytes = laid_out(graph, Path(folder) / "network")
        except StorageError:  # there is no room for it
            source = assemble(graph)
        return compiled(source, settings, change)


def _settings(precision: Precision, n_threads: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": n_threads,
    }
    if precision == "int8":
        return {**found, "KV_CACHE_PRECISION": NUMBERS["bf16"]} if has_fast_bf16(survey()) else found
    return {**found, "INFERENCE_PRECISION_HINT": NUMBERS[precision], "KV_CACHE_PRECISION": NUMBERS[precision]}


# --- the graph --------------------------------------------------------------------------------------------


def _put_in(model: Any, attentions: Mapping[str, Attention]) -> None:
    """Put paged attention where the marks are.

    Raises
    ------
    BundleError
        A mark is missing.
    """
    nodes = {name: node for node in model.get_ordered_ops() for name in _names_of(node) if name in attentions}
    if missing := [name for name in attentions if name not in nodes]:
        raise BundleError(
            f"{len(missing)} of {len(attentions)} layers do not attend in the network's graph, such as {missing[0]}.",
            next_step="Get the file again from where it comes.",
        )
    whole = {
        name: _parameter(name, np.int32, [-1]) for name in ("n_before", "begins", "blocks", "block_begins")
    }
    whole["longest"] = _parameter("longest", np.int32, [])
    parameters = list(whole.values())
    for number, (name, attention) in enumerate(attentions.items()):
        heads, dynamic = attention.n_kv_heads, library().Type.dynamic
        caches = (
            _parameter(f"{_KEYS}{number}", dynamic, [-1, heads, -1, attention.head_size]),
            _parameter(f"{_VALUES}{number}", dynamic, [-1, heads, -1, attention.value_size]),
        )
        parameters += caches
        own = _paged([nodes[name].input_value(i) for i in range(3)], caches, whole, attention)
        for user in list(nodes[name].output(0).get_target_inputs()):
            user.replace_source_output(own)
    model.add_parameters(parameters)
    model.validate_nodes_and_infer_types()


def _names_of(node: Any) -> Iterator[str]:
    if node.get_type_name() == "Concat":
        yield node.get_friendly_name().removesuffix("_output_0")


def _parameter(name: str, numbers: Any, shape: Sequence[int]) -> Any:
    from openvino import opset13

    parameter = opset13.parameter(library().PartialShape(list(shape)), numbers)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _paged(
    states: Sequence[Any], caches: Sequence[Any], whole: Mapping[str, Any], attention: Attention
) -> Any:
    """Return the output of OpenVINO's own operator, whose inputs beyond the thirteenth are of no use here."""
    from openvino import opset13
    from openvino.op import _PagedAttentionExtension

    def constant(value: Any, numbers: Any = np.int32) -> Any:
        return opset13.constant(np.array(value, numbers)).output(0)

    none, empty = constant([]), constant([], np.float32)
    inputs = [
        *states,
        *(cache.output(0) for cache in caches),
        *(whole[name].output(0) for name in ("n_before", "begins", "blocks", "block_begins")),
        constant(attention.scale, np.float32),
        constant(attention.window),
        empty,  # slopes of ALiBi
        whole["longest"].output(0),
        none,  # of how many tokens scores are summed up
        none, constant(np.zeros((0, 0))), constant(np.zeros((0, 0)), np.float32),  # blocks that are rotated
        empty, constant(64), constant(16),  # attention to some blocks only
        empty,  # sinks
        constant(0), none, none, none,  # blocks that are given up
        none,  # types of tokens
        constant([], np.uint8), none,  # what queries see of each other
    ]  # fmt: skip
    try:
        node = _PagedAttentionExtension(inputs)
    except RuntimeError as error:
        raise TopworkError(
            f"The attention of OpenVINO {library().__version__} takes other inputs: {error}",
            next_step="Install the version of OpenVINO that constraints.txt of topwork names.",
        ) from error
    known = node.get_rt_info()
    known["num_k_heads"], known["num_v_heads"] = attention.n_kv_heads, attention.n_kv_heads
    known["k_head_size"], known["v_head_size"] = attention.head_size, attention.value_size
    return node.output(0)


def _cache_shape(port: Any, n_blocks: int) -> list[int]:
    axes = list(port.get_partial_shape())
    if any(not axis.is_static for axis in axes[1:]):
        raise UsageError("OpenVINO does not say how large a block of the cache is on this device.")
    return [n_blocks, *(axis.get_length() for axis in axes[1:])]


def _block_bytes(port: Any) -> int:
    return int(np.prod(_cache_shape(port, 1))) * int(port.get_element_type().size)
