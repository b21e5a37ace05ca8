"""Weights on the Hugging Face hub: ``config.json`` as timm or transformers write it, and safetensors.

``huggingface_hub`` does the talking, so its own settings apply (``HF_ENDPOINT``, ``HF_HUB_OFFLINE``,
``HF_HOME``, a token), and the file stays in the hub's own cache, where every other program finds it. Only
safetensors is ever asked for; no pickle, no code. A repository is pinned to the commit that its
configuration was read from. It knows nothing of networks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from topwork.contracts import Progress, Trunk
from topwork.errors import MissingExtraError, WeightsError
from topwork.trunks.folder import CONFIG, WEIGHTS
from topwork.trunks.kinds import Opened, open_config
from topwork.trunks.origin import Origin
from topwork.trunks.shards import INDEX, seal_of, sealed, shards_in
from topwork.trunks.tensors import sha256_of

__all__ = ["Hub", "HubWeights", "open_repository", "repository_as"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hub:
    """Where a hub answers and where its files are kept; None leaves it to ``huggingface_hub``'s settings."""

    endpoint: str | None = None
    cache_dir: Path | None = None

    def download(self, repository: str, name: str, revision: str | None) -> Path:
        """Bring one file into the hub's cache, or find it there.

        Raises
        ------
        MissingExtraError
            ``huggingface_hub`` is not installed.
        WeightsError
            There is no such repository or file, no access to it, or no network.
        """
        library = _library()
        place = {"revision": revision, "cache_dir": self.cache_dir, "endpoint": self.endpoint}
        return Path(_asking(repository, name, lambda: library.hf_hub_download(repository, name, **place)))

    def companion(self, repository: str, revision: str, name: str) -> str | None:
        """Return the text of a small file beside the weights; None where the repository has none of that name.

        Raises
        ------
        WeightsError
            It cannot be had for another reason, such as no network.
        """
        try:
            return self.download(repository, name, revision).read_text(encoding="utf-8")
        except WeightsError as error:
            if _is_missing(error):
                return None
            raise

    def sha256(self, repository: str, name: str, revision: str) -> str:
        """Return a file's SHA-256: from the file where it is cached, else as the hub states it.

        The hub states it for large files only; a small one is downloaded to be hashed.
        """
        library = _library()
        cached = library.try_to_load_from_cache(repository, name, cache_dir=self.cache_dir, revision=revision)
        if isinstance(cached, str):
            return sha256_of(Path(cached))
        url = library.hf_hub_url(repository, name, revision=revision, endpoint=self.endpoint)
        stated = _asking(repository, name, lambda: library.get_hf_file_metadata(url, endpoint=self.endpoint))
        if re.fullmatch("[0-9a-f]{64}", stated.etag or ""):
            return str(stated.etag)
        return sha256_of(self.download(repository, name, revision))


@dataclass(frozen=True, slots=True)
class HubWeights:
    """One repository's weights at one commit, and the hash that they must have.

    ``name`` is that of the one file, or of the index of ``shards``.
    """

    hub: Hub
    repository: str
    revision: str
    sha256: str
    name: str = WEIGHTS
    shards: tuple[str, ...] = ()

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:  # noqa: ARG002
        """Bring the files into the hub's own cache and check them; nothing is written below ``cache_dir``.

        Raises
        ------
        WeightsError
            A file cannot be had, or is not the one that the hub promised.
        """
        progress.say(f"Fetching pretrained weights: {self.repository} at {self.revision[:8]}")
        path = self.hub.download(self.repository, self.name, self.revision)
        for shard in self.shards:
            self.hub.download(self.repository, shard, self.revision)
        found = sealed(path)
        if found != self.sha256:
            raise WeightsError(
                f"{path} is damaged: its SHA-256 is {found}, the hub promised {self.sha256}.",
                next_step="Delete the file and try again.",
            )
        return path


def open_repository(name: str, repository: str, hub: Hub) -> Trunk:
    """Make a trunk of a repository; see `repository_as`."""
    return repository_as(name, repository, hub, open_config)


def repository_as(name: str, repository: str, hub: Hub, opened: Opened[T]) -> T:
    """Return what ``opened`` makes of a repository ``owner/model``, or ``owner/model@revision``.

    ``name`` goes on its card.

    Only the configuration is downloaded, a few kilobytes.

    Raises
    ------
    WeightsError
        The repository cannot be had, holds no safetensors, or is of neither library.
    MissingExtraError
        ``huggingface_hub`` is not installed.
    """
    repository, _, revision = repository.partition("@")
    path = hub.download(repository, CONFIG, revision or None)
    commit = path.parent.name  # the hub's cache keeps a folder for each commit
    config = path.read_text(encoding="utf-8")
    companion = partial(hub.companion, repository, commit)
    return opened(
        config, f"{repository}/{CONFIG}", companion, partial(_origin, name, repository, commit, hub)
    )


def _origin(name: str, repository: str, commit: str, hub: Hub) -> Origin:
    weights = _weights(repository, commit, hub)
    return Origin(
        name=name,
        description=f"hub:{repository}@{commit}",
        weights=weights,
        weights_sha256=weights.sha256,
        offline=False,
    )


def _weights(repository: str, commit: str, hub: Hub) -> HubWeights:
    try:
        return HubWeights(hub, repository, commit, hub.sha256(repository, WEIGHTS, commit))
    except WeightsError as error:
        index = hub.companion(repository, commit, INDEX) if _is_missing(error) else None
        if index is None:
            raise
    names = shards_in(index, f"{repository}/{INDEX}")
    seal = seal_of({name: hub.sha256(repository, name, commit) for name in names})
    return HubWeights(hub, repository, commit, seal, INDEX, names)


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError(
            "Weights from the hub need huggingface_hub, which is not installed.",
            next_step="Install topwork with its extra hub.",
        ) from error
    return huggingface_hub


def _is_missing(error: WeightsError) -> bool:
    """Tell whether the repository is there, and has no such file."""
    from huggingface_hub.errors import EntryNotFoundError

    return isinstance(error.__cause__, EntryNotFoundError)


def _asking(repository: str, name: str, request: Callable[[], Any]) -> Any:
    try:
        return request()
    except Exception as error:  # of the library, of its HTTP client, of the system: they have no common root
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise WeightsError(
            f"Cannot get {name} of {repository} from the hub: {type(error).__name__}: {reason}",
            next_step="Check the name, the network and your access, or give a local folder with --trunk DIR.",
        ) from error
