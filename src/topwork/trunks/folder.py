"""Weights in a local folder: ``config.json`` as timm or transformers write it, and safetensors.

The weights are used where they lie, nothing is copied. Code in the folder is never run and a pickle in it
is never opened. It knows nothing of networks and downloads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from topwork.contracts import Progress, Trunk
from topwork.errors import WeightsError
from topwork.storage import explain
from topwork.trunks.kinds import Opened, open_config
from topwork.trunks.origin import Origin
from topwork.trunks.shards import INDEX, sealed

__all__ = ["CONFIG", "WEIGHTS", "FolderWeights", "folder_as", "open_folder"]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
T = TypeVar("T")
_PICKLES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


@dataclass(frozen=True, slots=True)
class FolderWeights:
    """Weights that somebody put on this machine, and the hash that they had when they were opened.

    ``path`` is a safetensors file, or the index of several.
    """

    path: Path
    sha256: str

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:  # noqa: ARG002
        """Return the file itself; nothing is written below ``cache_dir``.

        Raises
        ------
        WeightsError
            The file is gone, or is not the one that was opened.
        """
        if not self.path.is_file():
            raise WeightsError(
                f"The weights are gone: there is no file {self.path}.", next_step="Put the file back."
            )
        if sealed(self.path) != self.sha256:
            raise WeightsError(
                f"{self.path} has changed since it was opened.", next_step="Start again with the new weights."
            )
        return self.path


def open_folder(folder: Path) -> Trunk:
    """Make a trunk of a local folder; see `folder_as`."""
    return folder_as(folder, open_config)


def folder_as(folder: Path, opened: Opened[T]) -> T:
    """Return what ``opened`` makes of the files in a local folder.

    Raises
    ------
    WeightsError
        A file is missing or not what it should be, or the weights are a pickle.
    UsageError
        The library that the configuration belongs to has no such network.
    """
    folder = folder.expanduser().resolve()
    if folder.is_file():
        raise WeightsError(
            f"{folder} is a file; a trunk is a folder with {CONFIG} and {WEIGHTS}, as timm and transformers write it.",
            next_step="Save it with timm's save_for_hf or transformers' save_pretrained. A .pth or .bin file is a "
            "pickle and never opened.",
        )
    if not folder.is_dir():
        raise WeightsError(
            f"There is no folder {folder}.", next_step="Give a folder, or a name from `topwork trunks list`."
        )
    config = _read(folder / CONFIG)
    return opened(config, str(folder / CONFIG), partial(_companion, folder), partial(_origin, folder))


def _origin(folder: Path) -> Origin:
    weights = _weights(folder)
    return Origin(
        name=folder.name,
        description="local folder",
        weights=weights,
        weights_sha256=weights.sha256,
        offline=True,
    )


def _companion(folder: Path, name: str) -> str | None:
    return _read(folder / name) if (folder / name).is_file() else None


def _read(path: Path) -> str:
    if not path.is_file():
        raise WeightsError(
            f"{path.parent} holds no {path.name}; expected {CONFIG} and {WEIGHTS} as timm or transformers write them.",
            next_step="Give a folder that timm's save_for_hf or transformers' save_pretrained has written.",
        )
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise explain(error, path, doing="read") from error
    except UnicodeDecodeError as error:
        raise WeightsError(f"{path} is not UTF-8 text.", next_step="Copy the file again.") from error


def _weights(folder: Path) -> FolderWeights:
    path = next((folder / name for name in (WEIGHTS, INDEX) if (folder / name).is_file()), None)
    if path is None:
        raise _no_weights(folder)
    try:
        return FolderWeights(path, sealed(path))
    except WeightsError:  # which is one, too
        raise
    except OSError as error:
        raise explain(error, path, doing="read") from error


def _no_weights(folder: Path) -> WeightsError:
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in _PICKLES)
    if not pickles:
        return WeightsError(f"{folder} holds no {WEIGHTS}.", next_step=f"Put the weights there as {WEIGHTS}.")
    return WeightsError(
        f"{folder} holds its weights as a pickle ({pickles[0]}); a pickle can run any code, so it is not opened.",
        next_step="If you trust it, convert it once: safetensors.torch.save_file("
        f"torch.load({pickles[0]!r}, weights_only=True), {WEIGHTS!r}).",
    )
