"""From the settings of a model to what is served: a bundle, a trunk or a chain of these, with a user's code around it.

It reads no settings and starts no server.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from topwork import plugins
from topwork.bundle.compiling import model_of
from topwork.bundle.contents import Bundle, open_bundle
from topwork.bundle.model import BundleModel
from topwork.contracts import LanguageModel, Servable, Trunk
from topwork.errors import UsageError
from topwork.inputs.allowance import SharedAllowance
from topwork.inputs.vocabulary import WRITING
from topwork.serving.batching.gathering import gathering_within
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.settings.declared import LinkSettings, ModelSettings, NetworkSettings
from topwork.serving.traffic.marks import Mark, mark_of
from topwork.serving.wrapping.chains import Chain, Link
from topwork.serving.wrapping.hooks import hooked, load_hooks
from topwork.steps.embedding import SUFFIX, Embedder, open_embedder, trunk_embedder
from topwork.steps.options import Surroundings
from topwork.steps.served_writing import Bases, ServedWriter, served_bundle, served_writer
from topwork.trunks import resolve_either

__all__ = ["ModelOpener"]

Network: TypeAlias = BundleModel | Embedder | ServedWriter


@dataclass(frozen=True, slots=True)
class _Opened:
    """A model, how many inputs its engine works on at once, and what it needed besides the files of its settings."""

    servable: Servable
    n_at_once: int
    made_of: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Writing:
    """What a language model is opened with, and the bases that it may share; None where it shares none."""

    around: Surroundings
    bases: Bases | None


class ModelOpener:
    """Opens models by their settings; what stands there several times has one network.

    Parameters
    ----------
    around
        Where weights are kept, and how bringing them is told of; a model's own engine goes before that of here.
    folder
        Where a user's code is looked for beside the installed packages.
    """

    def __init__(self, around: Surroundings, folder: Path) -> None:
        self._around, self._folder = around, folder
        # Held weakly: a network lives as long as a model that is served.
        self._networks: WeakValueDictionary[tuple[NetworkSettings, Mark], Network] = WeakValueDictionary()
        self._beside: WeakKeyDictionary[Network, Mark] = WeakKeyDictionary()
        self._bases = Bases()
        limits = Limits()
        self._allowance = SharedAllowance(limits.max_decoded_bytes, limits.max_decoding_bytes)

    def take(self, limits: Limits) -> None:
        """Decode within these bounds from now on, with all models that were opened here."""
        self._allowance.resize(limits.max_decoded_bytes, limits.max_decoding_bytes)

    def __call__(self, chosen: ModelSettings, limits: Limits) -> Hosted:
        """Open a model.

        Raises
        ------
        TopworkError
            A file, a name or a user's code cannot be used.
        """
        opened = self._chain(chosen, limits) if chosen.chain else self._link(chosen)
        return Hosted(opened.servable, limits, opened.n_at_once, made_of=opened.made_of)

    def _chain(self, chosen: ModelSettings, limits: Limits) -> _Opened:
        opened = [self._link(one) for one in chosen.chain]
        links = [
            _link(gathering_within(one.servable, one.n_at_once, limits), settings)
            for one, settings in zip(opened, chosen.chain, strict=True)
        ]
        chain = self._with_app(Chain(str(chosen.name), links), chosen.app)
        made_of = tuple(path for one in opened for path in one.made_of)
        return _Opened(chain, max(one.n_at_once for one in opened), made_of)

    def _link(self, chosen: NetworkSettings) -> _Opened:
        network = self._network(chosen)
        return _Opened(self._with_app(network, chosen.app), _n_at_once(network), _borrowed(network))

    def _network(self, chosen: NetworkSettings) -> Network:
        """Open a network, or take the one that there is of the same settings and files; the name may be another."""
        # Before the files are opened, so that a change meanwhile is seen the next time.
        sight = (_without_names(chosen), mark_of(chosen.paths))
        found = self._networks.get(sight)
        if found is not None and self._beside[found] == mark_of(_borrowed(found)):
            return found.called(chosen.name)
        network = self._fresh(chosen)
        network.decode_within(self._allowance)
        self._networks[sight], self._beside[network] = network, mark_of(_borrowed(network))
        return network

    def _fresh(self, chosen: NetworkSettings) -> Network:
        if chosen.bundle is not None:
            return self._of_bundle(open_bundle(chosen.bundle), chosen)
        around = replace(self._around, engine=cast("Any", chosen.engine))
        title = str(chosen.trunk)
        if title.endswith(SUFFIX):
            _require_no_device(chosen, title)
            return open_embedder(title, around, name=chosen.name, normalized=chosen.normalize)
        found = resolve_either(title, plugins.trunks(), plugins.writers())
        if "writes" in found.card.offers:
            written = self._written_by(chosen)
            return served_writer(
                cast("LanguageModel", found), written.around, chosen.name, bases=written.bases
            )
        _require_no_device(chosen, title)
        return trunk_embedder(cast("Trunk", found), around, name=chosen.name, normalized=chosen.normalize)

    def _of_bundle(self, bundle: Bundle, chosen: NetworkSettings) -> Network:
        if bundle.manifest.modality == WRITING:
            written = self._written_by(chosen)
            return served_bundle(bundle, written.around, chosen.name, bases=written.bases)
        _require_no_device(chosen, str(bundle.path))
        return model_of(
            bundle,
            engine=chosen.engine,
            only=chosen.only,
            name=chosen.name,
            n_cores=self._around.n_cores,
            shelf=self._around.shelf,
        )

    def _written_by(self, chosen: NetworkSettings) -> _Writing:
        """Return where a language model writes; on a GPU adapters are merged, for only a processor's share a base."""
        if chosen.device == "auto":
            return _Writing(self._around, self._bases)
        return _Writing(replace(self._around, device=cast("Any", chosen.device)), None)

    def _with_app(self, servable: Servable, app: str | None) -> Servable:
        return servable if app is None else hooked(servable, load_hooks(app, self._folder))


def _require_no_device(chosen: NetworkSettings, title: str) -> None:
    if chosen.device != "auto":
        raise UsageError(
            f"The device {chosen.device} is for language models, and {title} is none.",
            next_step="Leave it out; `topwork bundle optimize` finds what runs a bundle fastest, a GPU included.",
        )


def _without_names(chosen: NetworkSettings) -> NetworkSettings:
    return NetworkSettings(
        bundle=chosen.bundle,
        only=chosen.only,
        engine=chosen.engine,
        device=chosen.device,
        trunk=chosen.trunk,
        normalize=chosen.normalize,
    )


def _borrowed(network: Network) -> tuple[Path, ...]:
    """Return what a network takes weights from that stands beside its bundle."""
    inner = network.network if isinstance(network, Embedder) else network
    return inner.bundle.borrowed if isinstance(inner, BundleModel) else ()


def _n_at_once(network: Network) -> int:
    """Return how many batches its engine works on at once; all texts of a language model are one batch."""
    if isinstance(network, ServedWriter):
        return 1
    return network.network.engine.n_streams if isinstance(network, Embedder) else network.engine.n_streams


def _link(servable: Servable, chosen: LinkSettings) -> Link:
    takes = next(((model, str(key)) for model, key in chosen.takes.items()), None)
    return Link(servable, chosen.when, takes)
