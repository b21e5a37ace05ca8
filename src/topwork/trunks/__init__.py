"""What is transferred: pretrained networks, and where their weights come from.

`resolve` turns what a user calls a trunk into one. It does not know which trunks are installed: the
catalogue is given to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Final

from topwork.contracts import LanguageModel, Trunk, TrunkCard
from topwork.errors import UsageError
from topwork.trunks.identity import IDENTITY, IdentityTrunk, identity_trunk
from topwork.trunks.speeds import recall, remember

__all__ = [
    "DEFAULTS",
    "DEFAULT_WRITER",
    "IdentityTrunk",
    "is_here",
    "recall",
    "remember",
    "resolve",
    "resolve_writer",
]

DEFAULTS = MappingProxyType({"image": "efficientnet-lite0", "text": "all-minilm-l6-v2", "vector": IDENTITY})
"""Name of the trunk that is taken where none is asked for, by the modality of the data."""
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
    if name in catalogue:
        return catalogue[name]
    if name.partition("/")[0] == IDENTITY:
        return identity_trunk(name)
    repository = _repository(name)
    if repository:
        from topwork.trunks.hub import Hub, open_repository

        return open_repository(name, repository, Hub())
    if _is_path(name):
        from topwork.trunks.folder import open_folder

        return open_folder(Path(name))
    raise _unknown(name, catalogue)


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
    if name.startswith("hf/") and (repository := _repository(name)):
        from topwork.trunks.hub import Hub, repository_as

        return repository_as(name, repository, Hub(), open_writer)
    if _is_path(name):
        from topwork.trunks.folder import folder_as

        return folder_as(Path(name), open_writer)
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


def _unknown(name: str, catalogue: Mapping[str, Trunk]) -> UsageError:
    close = get_close_matches(name, catalogue, n=3, cutoff=0.4)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    return UsageError(
        f"There is no trunk named {name!r}; there are {', '.join(sorted(catalogue))}.",
        next_step=f"{guess}Or give timm/NAME, hf/OWNER/NAME, or a folder with config.json and model.safetensors.",
    )
