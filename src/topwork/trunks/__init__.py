"""What is transferred: pretrained networks, and where their weights come from.

`resolve` turns what a user calls a trunk into one. It does not know which trunks are installed: the
catalogue is given to it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar, cast

from topwork.contracts import LanguageModel, Trunk, TrunkCard
from topwork.errors import UsageError
from topwork.trunks.identity import IDENTITY, IdentityTrunk, identity_trunk
from topwork.trunks.speeds import recall, remember

if TYPE_CHECKING:
    from topwork.trunks.kinds import Opened

__all__ = [
    "DEFAULTS",
    "DEFAULT_WRITER",
    "IdentityTrunk",
    "is_here",
    "recall",
    "remember",
    "resolve",
    "resolve_either",
    "resolve_writer",
]

DEFAULTS = MappingProxyType({"image": "efficientnet-lite0", "text": "all-minilm-l6-v2", "vector": IDENTITY})
"""Name of the trunk that is taken where none is asked for, by the modality of the data."""
T = TypeVar("T")
DEFAULT_WRITER: Final = "smollm2-135m"
"""Name of the language model that is taken where none is asked for."""


def resolve(name: str, catalogue: Mapping[str, Trunk]) -> Trunk:
    """Find a trunk by its name in the catalogue, ``timm/NAME``, ``hf/OWNER/NAME``, ``identity/N``, or a path.

    Raises
    ------
    UsageError
        The name means nothing; close matches are listed.
    WeightsError
        A folder or a repository is not what it should be, or cannot be had.
    """
    from topwork.trunks.kinds import open_config

    return cast("Trunk", _found(name, catalogue, open_config))


def resolve_either(
    name: str, catalogue: Mapping[str, Trunk], writers: Mapping[str, LanguageModel]
) -> Trunk | LanguageModel:
    """Find a trunk as `resolve` does, or a language model by its name in ``writers``, ``hf/OWNER/NAME`` or a path.

    Raises
    ------
    UsageError
        The name means nothing; close matches are listed.
    WeightsError
        A folder or a repository is not what it should be, or cannot be had.
    """
    from topwork.trunks.kinds import open_either

    return _found(name, {**catalogue, **writers}, open_either)


def resolve_writer(name: str, catalogue: Mapping[str, LanguageModel]) -> LanguageModel:
    """Find a language model by its name in the catalogue, ``hf/OWNER/NAME``, or a path.

    Raises
    ------
    UsageError
        The name means nothing; close matches are listed.
    WeightsError
        A folder or a repository is not what it should be, or cannot be had.
    """
    from topwork.trunks.causal_config import open_writer

    if name in catalogue:
        return catalogue[name]
    if (found := _elsewhere(name, open_writer)) is not None:
        return found
    close = get_close_matches(name, catalogue, n=3, cutoff=0.4)
    raise UsageError(
        f"There is no language model named {name!r}; there are {', '.join(sorted(catalogue))}.",
        next_step=(f"Did you mean {' or '.join(close)}? " if close else "")
        + "Or give hf/OWNER/NAME, or a folder that transformers' save_pretrained has written.",
    )


def is_here(card: TrunkCard, cache_dir: Path) -> bool:
    """Tell whether a trunk can be used without a network."""
    from topwork.trunks.wheels import kept_at

    return card.offline or kept_at(cache_dir, card.weights_sha256).is_file()


def _found(
    name: str,
    catalogue: Mapping[str, Trunk | LanguageModel],
    opened: Opened[Trunk] | Opened[Trunk | LanguageModel],
) -> Trunk | LanguageModel:
    if name in catalogue:
        return catalogue[name]
    if name.partition("/")[0] == IDENTITY:
        return identity_trunk(name)
    if (found := _elsewhere(name, opened)) is None:
        raise _unknown(name, catalogue)
    return found


def _elsewhere(name: str, opened: Opened[T]) -> T | None:
    """Open what a hub or a folder has; None where the name can mean neither."""
    if repository := _repository(name):
        from topwork.trunks.hub import Hub, repository_as

        return repository_as(name, repository, Hub(), opened)
    if _is_path(name):
        from topwork.trunks.folder import folder_as

        return folder_as(Path(name), opened)
    return None


def _repository(name: str) -> str:
    """Return ``owner/model`` for a name on the hub, else an empty text."""
    place, _, rest = name.partition("/")
    if place == "timm" and rest:
        return name
    return rest if place == "hf" and rest.count("/") == 1 else ""


def _is_path(name: str) -> bool:
    """Return whether a name can only be meant as a path, or is one; a name too long for the system is none."""
    is_there = os.path.exists(name)  # noqa: PTH110 - `Path.exists` raises for such a name
    return is_there or name.startswith(("~", ".")) or "/" in name or os.sep in name


def _unknown(name: str, catalogue: Collection[str]) -> UsageError:
    close = get_close_matches(name, catalogue, n=3, cutoff=0.4)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"There is no trunk named {name!r}; there are {', '.join(sorted(catalogue))}.",
        next_step=f"{guess}Or give timm/NAME, hf/OWNER/NAME, or a folder with config.json and model.safetensors.",
    )
