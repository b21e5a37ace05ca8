"""What a ``config.json`` belongs to: timm's say ``architecture``, transformers' say ``model_type``.

Of the latter, those of networks that write texts say so by the name of their class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from topwork.contracts import LanguageModel, Trunk
from topwork.errors import WeightsError
from topwork.trunks.origin import Companion, Origin, read_object

__all__ = ["Opened", "open_config", "open_either"]

T = TypeVar("T")
_WRITES: Final = ("ForCausalLM", "LMHeadModel")
"""How the names of classes of transformers end that write texts."""
Opened: TypeAlias = Callable[[str, str, Companion, Callable[[], Origin]], T]
"""Makes a trunk of the text of a ``config.json``, the name of that, the files beside it and an origin."""


def open_config(text: str, where: str, companion: Companion, origin: Callable[[], Origin]) -> Trunk:
    """Make a trunk of a ``config.json``, the files beside it and an origin; ``where`` names it in errors.

    Where the weights come from is asked for last: a configuration that is no good costs no download.

    Raises
    ------
    WeightsError
        A file is of neither library, or not what it should be.
    UsageError
        The library has no such network.
    """
    config = read_object(text, where)
    if "architecture" in config:
        from topwork.trunks import timm_config

        of_timm = timm_config.parse(config, where)
        return timm_config.assemble(of_timm, origin())
    if "model_type" in config:
        from topwork.trunks import encoder_config

        of_transformers = encoder_config.parse(config, companion, where)
        return encoder_config.assemble(of_transformers, origin())
    raise WeightsError(
        f'{where} has neither "architecture" nor "model_type".',
        next_step="Give a network of timm or an encoder of transformers, as these libraries write them.",
    )


def open_either(
    text: str, where: str, companion: Companion, origin: Callable[[], Origin]
) -> Trunk | LanguageModel:
    """Make a language model where the class that a ``config.json`` names is one, else a trunk; see `open_config`.

    Raises
    ------
    WeightsError, UsageError
        As of `open_config`.
    """
    named = read_object(text, where).get("architectures")
    if isinstance(named, list) and any(isinstance(one, str) and one.endswith(_WRITES) for one in named):
        from topwork.trunks.causal_config import open_writer

        return open_writer(text, where, companion, origin)
    return open_config(text, where, companion, origin)
