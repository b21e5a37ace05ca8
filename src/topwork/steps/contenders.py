"""What a bundle could run with on the machine at hand, started one by one: engines, and number formats of each.

It decides nothing: which of them is taken is for `topwork.steps.election`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from topwork.contracts import (
    WORD_WEIGHTS,
    Array,
    Engine,
    Exportable,
    Graph,
    Metrics,
    Precision,
    TextTrunk,
    Trunk,
)
from topwork.engines.choice import EngineChoice, EngineName, build, has_fast_bf16
from topwork.engines.machine import Machine
from topwork.engines.pace import Pace
from topwork.errors import MissingExtraError, UsageError
from topwork.steps.onward import trunk_of
from topwork.steps.options import Surroundings

if TYPE_CHECKING:
    from topwork.bundle.contents import Bundle

__all__ = ["Contender", "Graphs", "Tried", "module_of", "planned", "start"]


_ENGINES: Final[tuple[EngineName, ...]] = ("openvino", "onnxruntime", "torch")


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine, the number format it computes in, and where."""

    engine: EngineName
    precision: Precision
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.engine} {self.precision}{' on the GPU' if self.device == 'cuda' else ''}"

    @property
    def is_servable(self) -> bool:
        """Whether a bundle can run with it: bundles hold graphs, and torch runs modules."""
        return self.engine != "torch"


@dataclass(frozen=True, slots=True, eq=False)
class Graphs:
    """A network as it was fitted, and in eight bits where that could be made; ``problem`` says why it could not."""

    exact: Graph
    quantized: Graph | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """What was found out of a contender.

    Attributes
    ----------
    pace
        How fast it was; None where it was not timed.
    golden_error
        The largest difference of its golden outputs, as `topwork.bundle.TOLERANCE` has it; None where it did not run.
    n_same
        Golden examples that it answers as the fitted network does; None where answers are numbers.
    metrics, difference
        Of labelled rows by target: its own, and its own minus those of the reference; empty without such rows.
    problem
        Why it cannot be chosen whatever it showed; empty where it can.
    """

    contender: Contender
    pace: Pace | None = None
    golden_error: float | None = None
    n_same: int | None = None
    metrics: Mapping[str, Metrics] = field(default_factory=dict)
    difference: Mapping[str, Metrics] = field(default_factory=dict)
    problem: str = ""


def planned(machine: Machine) -> tuple[Contender, ...]:
    """Return what there is to try on a machine, the most exact first; the first of all is what others are held against.

    What the processor would only emulate is left out: it is slower than what it stands for.
    """
    here = [name for name in _ENGINES if name in machine.engines]
    found = [Contender(name, "fp32") for name in here]
    if has_fast_bf16(machine):
        found += [
            Contender(name, "bf16") for name in here if name != "onnxruntime"
        ]  # which runs graphs as they are
    if machine.has_cuda and "torch" in here:
        found.append(Contender("torch", "bf16" if machine.has_cuda_bf16 else "fp16", "cuda"))
    return (*found, *(Contender(name, "int8") for name in here if name != "torch"))


def start(contender: Contender, graphs: Graphs, module: Callable[[], Exportable], *, n_cores: int) -> Engine:
    """Start a contender as a server would.

    Raises
    ------
    UsageError
        It wants eight bits and there are none.
    TopworkError
        Its library refuses the network.
    """
    if contender.engine == "torch":
        return _start_module(contender, module())
    graph = graphs.quantized if contender.precision == "int8" else graphs.exact
    if graph is None:
        raise UsageError(graphs.problem)
    choice = EngineChoice(contender.engine, contender.precision)
    return build(choice, graph, n_threads=n_cores, n_streams=n_cores)


def _start_module(contender: Contender, exportable: Exportable) -> Engine:
    """Start torch; on a GPU with recorded work and autocast."""
    if contender.device == "cuda":
        from topwork.engines.cuda_graphs import CudaGraphEngine

        return CudaGraphEngine(exportable, contender.precision)
    from topwork.engines.torch import TorchEngine

    return TorchEngine(exportable, "cpu", contender.precision)


def module_of(bundle: Bundle, graph: Graph, example: Array, around: Surroundings) -> Exportable:
    """Build the network of a bundle in torch: its trunk's architecture with the bundle's weights and heads.

    Parameters
    ----------
    example
        A batch.

    Raises
    ------
    UsageError
        The trunk is not known here.
    WeightsError
        The trunk's files cannot be had.
    MissingExtraError
        What builds the trunk is not installed.
    """
    trunk: Trunk = trunk_of(bundle.path, None)
    if (words := graph.weights.get(WORD_WEIGHTS)) is not None and isinstance(trunk, TextTrunk):
        trunk = trunk.with_word_scores(words.shape[1])
    try:
        from topwork.engines.headed import Headed

        network = trunk.load(trunk.fetch(around.cache_dir, around.progress))
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(
            f"What builds the trunk {bundle.manifest.trunk.name!r} is not installed: {error}.",
            next_step="Install topwork with its extra fit, or text for texts.",
        ) from error
    return Exportable(Headed(network, graph.weights, graph.output_names), example, graph.output_names)
