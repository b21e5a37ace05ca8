"""Text encoders of the transformers library: built without weights, filled, measured, and cut into stages.

It knows how transformers describes a network. It does not know where weights come from. No code that a model brings
along is ever run: only networks that the library itself has are built.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from topwork.contracts import Json, Stage
from topwork.errors import MissingExtraError, UsageError, WeightsError
from topwork.trunks.shards import read_tensors
from topwork.trunks.torchvision_guard import import_torchvision

if TYPE_CHECKING:
    import torch

__all__ = [
    "OF_OTHERS",
    "Encoder",
    "EncoderMeasurements",
    "Pooling",
    "build",
    "fill",
    "measure",
    "names_of",
    "stages",
    "stored_tensors",
    "transformers_library",
]

Pooling: TypeAlias = Literal["mean", "first", "concat"]
"""Of all tokens of a text, of the first token of its windows, or first, maximum and mean side by side."""

OF_OTHERS: Final = frozenset({"_name_or_path", "auto_map", "transformers_version", "torch_dtype", "dtype"})
"""Fields of a ``config.json`` that name files or code, or say how somebody else stored the weights."""
_AGREEMENT = 1e-4


@dataclass(frozen=True, slots=True)
class Encoder:
    """A network of the transformers library: the fields of its ``config.json``, and how its tokens are pooled.

    ``n_word_scores`` are features besides, of what the words say by themselves.
    """

    config: Mapping[str, Json]
    pooling: Pooling = "mean"
    n_word_scores: int = 0

    @property
    def kind(self) -> str:
        """Return what transformers calls this kind of network, such as ``bert``."""
        return str(self.config.get("model_type", ""))

    def to_text(self) -> str:
        """Return a text that differs whenever the network does."""
        besides = {"word_scores": self.n_word_scores} if self.n_word_scores else {}
        return json.dumps({"config": self.config, "pooling": self.pooling, **besides}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class EncoderMeasurements:
    """What an encoder is; ``staged`` tells whether `stages` can cut it."""

    n_parameters: int
    n_features: int
    staged: bool


def build(encoder: Encoder) -> torch.nn.Module:
    """Build a network without a head and with random weights; the global random state is left alone.

    Raises
    ------
    UsageError
        transformers has no such network, it is no encoder, or it does not take these fields.
    MissingExtraError
        transformers is not installed.
    """
    import torch

    library = transformers_library()
    own = {
        key: value for key, value in encoder.config.items() if key not in OF_OTHERS and key != "model_type"
    }
    try:
        config = library.AutoConfig.for_model(encoder.kind, **own)
        with torch.random.fork_rng(devices=[]):
            network: Any = library.AutoModel.from_config(config, trust_remote_code=False)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"transformers {library.__version__} cannot build a network of kind {encoder.kind!r}: {error}",
            next_step="Give an encoder such as BERT, RoBERTa, DistilBERT or MPNet.",
        ) from error
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
        raise UsageError(
            f"A network of kind {encoder.kind!r} writes texts; expected an encoder.",
            next_step="Give an encoder such as BERT, RoBERTa, DistilBERT or MPNet.",
        )
    if getattr(network, "pooler", None) is not None:
        network.pooler = None  # trained for another task, and no part of the features
    built: torch.nn.Module = network.eval()
    return built


def fill(network: torch.nn.Module, encoder: Encoder, weights: Path) -> torch.nn.Module:
    """Put the weights in; heads that the file holds beside the encoder are left out.

    Raises
    ------
    WeightsError
        The file is damaged, or a tensor is missing or has another shape than the network's.
    UsageError
        The network does not leave out what it is told to.
    """
    network.load_state_dict(stored_tensors(network, weights))
    _require_masks(network, encoder)
    return network.eval()


def stored_tensors(network: Any, weights: Path, may_lack: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """Return a network's tensors out of a file, ``float32``, by their names in the network.

    Raises
    ------
    WeightsError
        The file is damaged, or a tensor is missing or has another shape than the network's.
    """
    stored = read_tensors(weights)
    tensors = names_of(network, tuple(stored))
    wrong = [
        name
        for name, value in network.state_dict().items()
        if (stored[tensors[name]].shape != value.shape if name in tensors else name not in may_lack)
    ]
    if wrong:
        raise WeightsError(
            f"The weights in {weights} are not those of its config.json: {len(wrong)} tensors are missing or have "
            f"another shape, such as {wrong[0]}.",
            next_step="Check that config.json and the weights belong together.",
        )
    return {name: stored[theirs].float() for name, theirs in tensors.items()}


def names_of(network: Any, stored: tuple[str, ...]) -> dict[str, str]:
    """Return the network's tensors with their names in a file, which may set the kind of network before them."""
    there = set(stored)
    prefix = f"{getattr(network, 'base_model_prefix', '')}."
    found = {}
    for name in network.state_dict():
        if theirs := next((one for one in (name, prefix + name) if one in there), None):
            found[name] = theirs
    return found


def measure(encoder: Encoder) -> EncoderMeasurements:
    """Count the parameters and features of a network; nothing is allocated."""
    import torch

    with torch.device("meta"):
        network: Any = build(encoder)
    n_parameters = sum(p.numel() for p in network.parameters())
    return EncoderMeasurements(n_parameters, int(network.config.hidden_size), len(stages(network)) > 1)


def stages(network: torch.nn.Module) -> tuple[Stage, ...]:
    """Cut a network into what stands before its layers, and its layers; what follows belongs to the last of them.

    A network without a list of layers, or with parameters outside its modules, is one stage.
    """
    path = _path_of_layers(network)
    parents = list(_parents(network, path)) if path else []
    if not path or any(next(parent.parameters(recurse=False), None) is not None for parent, _ in parents):
        return (Stage("all", (network,)),)
    before: list[torch.nn.Module] = []
    after: list[torch.nn.Module] = []
    for parent, name in parents:
        children = dict(parent.named_children())
        place = list(children).index(name)
        before += [child for child in list(children.values())[:place] if _has_parameters(child)]
        after += [child for child in list(children.values())[place + 1 :] if _has_parameters(child)]
    layers = list(network.get_submodule(path).children())
    own = [Stage(f"layer {number}", (layer,)) for number, layer in enumerate(layers, start=1)]
    own[-1] = Stage(own[-1].name, (layers[-1], *after))
    return (Stage("embeddings", tuple(before)), *own) if before else tuple(own)


def _path_of_layers(network: torch.nn.Module) -> str:
    """Return the name of the list that holds most of the parameters, and at least two modules of one kind."""
    import torch

    found = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) > 1 and len({type(m) for m in module}) == 1
    }
    return max(found, key=lambda name: found[name], default="")


def _parents(network: torch.nn.Module, path: str) -> Iterator[tuple[torch.nn.Module, str]]:
    module = network
    for name in path.split("."):
        yield module, name
        module = module.get_submodule(name)


def _has_parameters(module: torch.nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _require_masks(network: Any, encoder: Encoder) -> None:
    """Refuse a network to which padding is no padding: some kinds do not take the mask as it is given here.

    Raises
    ------
    UsageError
        Its answer changes when a text is filled up.
    """
    import torch

    from topwork.trunks.token_network import TokenNetwork

    tokens = torch.arange(1, 9, dtype=torch.int32).reshape(1, 1, 8)
    longer = torch.cat([tokens, torch.zeros_like(tokens)], dim=2)
    around = TokenNetwork(network, "first" if encoder.pooling == "first" else "mean").eval()
    with torch.inference_mode():
        alone, filled = around(tokens), _as_exported(around, longer)
    if not torch.allclose(alone, filled, rtol=_AGREEMENT, atol=_AGREEMENT * float(alone.abs().max())):
        raise UsageError(
            f"A network of kind {encoder.kind!r} looks at padding in spite of its mask.",
            next_step="Give an encoder such as BERT, RoBERTa, DistilBERT or MPNet.",
        )


def _as_exported(around: Any, tokens: torch.Tensor) -> torch.Tensor:
    """Compute as an exported copy does: padding is not cut off."""
    total, count = around.summed(tokens.flatten(0, 1))
    features: torch.Tensor = total / count
    return features


def transformers_library() -> Any:
    """Return the package.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    with suppress(MissingExtraError):
        import_torchvision()  # transformers imports it, and only behind this guard does it always load
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "Networks for texts need transformers, which is not installed.",
            next_step="Install topwork with its extra text.",
        ) from error
    return transformers
