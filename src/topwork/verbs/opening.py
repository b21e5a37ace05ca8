"""From the settings of a model to what is served: a bundle, a trunk or a chain of these, with a user's code around it.

It reads no settings and starts no server.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from topwork.bundle.model import open_model
from topwork.contracts import Servable
from topwork.serving.chains import Chain, Link
from topwork.serving.hooks import hooked, load_hooks
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.settings import LinkSettings, ModelSettings, NetworkSettings
from topwork.steps.embedding import open_embedder
from topwork.steps.options import Surroundings

__all__ = ["ModelOpener"]


class ModelOpener:
    """Opens models by their settings.

    Parameters
    ----------
    around
        Where weights are kept, and how bringing them is told of; a model's own engine goes before that of here.
    folder
        Where a user's code is looked for beside the installed packages.
    """

    def __init__(self, around: Surroundings, folder: Path) -> None:
        self._around, self._folder = around, folder

    def __call__(self, chosen: ModelSettings, limits: Limits) -> Hosted:
        """Open a model.

        Raises
        ------
        TopworkError
            A file, a name or a user's code cannot be used.
        """
        servable, n_at_once = self._chain(chosen) if chosen.chain else self._network(chosen)
        return Hosted(servable, limits, n_at_once)

    def _chain(self, chosen: ModelSettings) -> tuple[Servable, int]:
        opened = [self._network(one) for one in chosen.chain]
        links = [_link(servable, one) for (servable, _), one in zip(opened, chosen.chain, strict=True)]
        chain = Chain(str(chosen.name), links)
        return self._with_app(chain, chosen.app), max(n for _, n in opened)

    def _network(self, chosen: NetworkSettings) -> tuple[Servable, int]:
        """Return a model, and how many inputs its engine works on at once."""
        if chosen.bundle is not None:
            model = open_model(
                chosen.bundle,
                engine=chosen.engine,
                only=chosen.only,
                name=chosen.name,
                n_cores=self._around.n_cores,
                shelf=self._around.shelf,
            )
            return self._with_app(model, chosen.app), model.engine.n_streams
        around = replace(self._around, engine=cast("Any", chosen.engine))
        embedder = open_embedder(str(chosen.trunk), around, name=chosen.name, normalized=chosen.normalize)
        return self._with_app(embedder, chosen.app), embedder.network.engine.n_streams

    def _with_app(self, servable: Servable, app: str | None) -> Servable:
        return servable if app is None else hooked(servable, load_hooks(app, self._folder))


def _link(servable: Servable, chosen: LinkSettings) -> Link:
    takes = next(((model, str(key)) for model, key in chosen.takes.items()), None)
    return Link(servable, chosen.when, takes)
