"""Language models of the transformers library: built without weights, filled, and with their attention marked.

It knows how transformers describes and calls a network that writes. It does not know where weights come from. No code
that a model brings along is ever run: only networks that the library itself has are built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.contracts import Array, Attention, Json
from topwork.errors import UsageError
from topwork.trunks.causal_attention import TRAINED, register_trained
from topwork.trunks.encoders import OF_OTHERS, stored_tensors, transformers_library

if TYPE_CHECKING:
    import torch

__all__ = ["Marked", "attended", "build", "built", "count", "fill", "marked", "states_of"]

_MARKED, _ATTENDED = "topwork_marked", "topwork_attended"
"""What the library calls our attentions: one that is marked, and one that is computed by whoever runs the network."""
_PLAIN = frozenset(
    {"dropout", "is_causal", "position_ids", "sliding_window", "use_cache", "output_attentions"}
)
"""What the library tells an attention that changes nothing of it, or is seen to."""
_NEXT = "Give a model such as Llama, Qwen, GPT-2 or SmolLM."


def build(config: Mapping[str, Json], *, attention: str = "sdpa") -> Any:
    """Build a language model with random weights, in evaluation mode; the global random state is left alone.

    Parameters
    ----------
    config
        Fields of its ``config.json``.

    Raises
    ------
    UsageError
        transformers has no such network, it writes nothing, or it does not take these fields.
    MissingExtraError
        transformers is not installed.
    """
    import torch

    library, kind = transformers_library(), str(config.get("model_type", ""))
    if attention == TRAINED:
        register_trained()
    own = {key: value for key, value in config.items() if key not in OF_OTHERS and key != "model_type"}
    try:
        made = library.AutoConfig.for_model(kind, **own)
        with torch.random.fork_rng(devices=[]):
            network: Any = library.AutoModelForCausalLM.from_config(
                made, trust_remote_code=False, attn_implementation=attention
            )
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"transformers {library.__version__} cannot build a language model of kind {kind!r}: {error}",
            next_step=_NEXT,
        ) from error
    return network.eval()


def count(config: Mapping[str, Json]) -> int:
    """Count the parameters of a network; nothing is allocated."""
    import torch

    with torch.device("meta"):
        network = build(config)
    return sum(p.numel() for p in network.parameters())


def fill(network: Any, weights: Path) -> Any:
    """Put the weights in.

    Raises
    ------
    WeightsError
        The file is damaged, or a tensor is missing or has another shape than the network's.
    """
    tied = getattr(network, "all_tied_weights_keys", None) or ()
    network.load_state_dict(stored_tensors(network, weights, may_lack=tied), strict=False)
    network.tie_weights()
    return network.eval()


def built(config: Mapping[str, Json], weights: Mapping[str, Array]) -> Any:
    """Build a language model with weights by their names in the library's network; what the head shares may be missing.

    Raises
    ------
    UsageError
        As of `build`, or a weight is missing.
    """
    import torch

    from topwork.trunks.undrawn import Undrawn

    with Undrawn():
        network = build(config)
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    state = {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in weights.items()}
    missing, _ = network.load_state_dict(state, strict=False)
    if lacking := [name for name in missing if name not in tied]:
        raise UsageError(f"The network has a weight {lacking[0]!r}, which is not there.", next_step=_NEXT)
    network.tie_weights()
    return network.eval()


def attended(network: Any, attend: Callable[..., torch.Tensor]) -> torch.nn.Module:
    """Return a network and its head as `Marked.module` is, its attention computed by ``attend``.

    That is given the layer's number, queries ``[t, heads, size]``, keys and values ``[t, kv_heads, size]`` and the
    `Attention`, and returns ``[t, heads, value_size]``.
    """
    module = _writer(network)
    _register_attended()
    network.set_attn_implementation(_ATTENDED)
    for layer in network.modules():
        layer.topwork_attend = attend
    return module


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """A network whose attention is marked, to be exported.

    Attributes
    ----------
    module
        Maps ``tokens [t]`` at ``positions [t]`` to scores ``[n, v]`` after the ``wanted [n]`` ones of them. Its tensors
        have the names that they have in the library's network.
    attentions
        Of each mark, by the name of its module.
    """

    module: torch.nn.Module
    attentions: dict[str, Attention]


def states_of(network: Any) -> torch.nn.Module:
    """Return what a network that `build` made computes below its head, as a module to be trained.

    It maps ``tokens int64 [n, t]`` at ``positions int64 [n, t]`` to states ``[n, t, d]``. Where positions begin again,
    another text begins, and neither sees anything of the other. Its tensors have the names of the library's network.
    """
    import torch

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, network.base_model_prefix, network.base_model)

        def forward(self, tokens: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
            found: torch.Tensor = getattr(self, network.base_model_prefix)(
                input_ids=tokens, position_ids=positions, use_cache=False
            ).last_hidden_state
            return found

    return States().eval()


def marked(network: Any, name: str) -> Marked:
    """Return a network that `build` made with a module called ``name`` wherever it attends.

    The module joins queries, keys and values ``[t, heads * size]``; what it returns begins with what takes their place.

    Raises
    ------
    UsageError
        The network attends in a way that cannot be marked.
    """
    import torch

    module = _writer(network)
    _register_marked(name)
    network.set_attn_implementation(_MARKED)
    with torch.inference_mode():
        module(torch.zeros(2, dtype=torch.int64), torch.arange(2), torch.tensor([1]))
    found = {
        f"{path}.{name}": one.topwork_attention
        for path, one in module.named_modules()
        if hasattr(one, "topwork_attention")
    }
    if not found:
        raise UsageError(
            f"A network of kind {network.config.model_type!r} does not let others compute its attention.",
            next_step=_NEXT,
        )
    return Marked(module, found)


def _writer(network: Any) -> torch.nn.Module:
    """Return network and head as one module of a row of tokens, their tensors named as in the library's network."""
    import torch

    class Writer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, network.base_model_prefix, network.base_model)
            self.lm_head = network.get_output_embeddings()

        def forward(
            self, tokens: torch.Tensor, positions: torch.Tensor, wanted: torch.Tensor
        ) -> torch.Tensor:
            states = getattr(self, network.base_model_prefix)(
                input_ids=tokens[None], position_ids=positions[None], use_cache=False
            ).last_hidden_state
            scores: torch.Tensor = self.lm_head(states[0][wanted])
            return scores

    return Writer().eval()


def _register_marked(name: str) -> None:
    """Let the library find our mark. It needs no mask: what takes its place knows where texts begin."""
    import torch

    class Mark(torch.nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return torch.cat([query, key, value], dim=-1)

    def mark(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        told: Callable[[], Attention],
    ) -> torch.Tensor:
        if not hasattr(module, name):
            setattr(module, name, Mark())
            module.topwork_attention = told()
        flat = [states[0].transpose(0, 1).flatten(1) for states in (query, key, value)]
        n_heads, size = query.shape[1], value.shape[-1]
        joined: torch.Tensor = getattr(module, name)(*flat)
        # Not `unflatten`, which would fix the number of tokens when the network is exported.
        return joined[:, : n_heads * size].reshape(1, -1, n_heads, size)

    _register(_MARKED, mark)


def _register_attended() -> None:
    def attend(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        told: Callable[[], Attention],
    ) -> torch.Tensor:
        states = (one[0].transpose(0, 1) for one in (query, key, value))
        found: torch.Tensor = module.topwork_attend(int(module.layer_idx), *states, told())
        return found[None]

    _register(_ATTENDED, attend)


def _register(name: str, attend: Callable[..., torch.Tensor]) -> None:
    """Let the library find an attention that needs no mask.

    It is given the module, queries, keys and values ``[1, heads, t, size]``, and what gives the `Attention`; it returns
    ``[1, t, heads, size]``.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    def called(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,  # noqa: ARG001
        scaling: float | None = None,
        **further: Any,
    ) -> tuple[torch.Tensor, None]:
        told = partial(_attention, query, key, value, scaling, further)
        return attend(module, query, key, value, told), None

    AttentionInterface.register(name, called)
    AttentionMaskInterface.register(name, lambda *_, **__: None)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    further: Mapping[str, Any],
) -> Attention:
    """Return what the library says of an attention.

    Raises
    ------
    UsageError
        It says something that no engine here heeds.
    """
    strange = [name for name, value in further.items() if name not in _PLAIN and value is not None]
    if strange:
        raise UsageError(
            f"The network's attention has {strange[0]!r}, which is not known here.", next_step=_NEXT
        )
    size = key.shape[-1]
    return Attention(
        n_heads=query.shape[1],
        n_kv_heads=key.shape[1],
        head_size=size,
        value_size=value.shape[-1],
        scale=float(size**-0.5 if scaling is None else scaling),
        window=int(further.get("sliding_window") or 0),
    )
