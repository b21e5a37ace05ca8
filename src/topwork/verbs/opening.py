"""From the settings of a model to what is served: a bundle, a trunk or a chain of these, with a user's code around it.

Here, or in worker processes that open it by the same settings. It reads no settings and starts no server.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from topwork.bundle.model import open_model
from topwork.contracts import Servable
from topwork.engines.machine import survey
from topwork.engines.memory import keep_memory, rest_while_waiting, sum_in_order
from topwork.serving.autoscaling import Policy
from topwork.serving.chains import Chain, Link
from topwork.serving.fleet import Recipe
from topwork.serving.hooks import Hooked, load_hooks
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.replicas import Replicas
from topwork.serving.settings import LinkSettings, ModelSettings, NetworkSettings
from topwork.steps.embedding import open_embedder
from topwork.steps.options import Surroundings

__all__ = ["ModelOpener", "open_in_process"]


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
        """Open a model, in worker processes where it is to have any.

        Raises
        ------
        TopworkError
            A file, a name or a user's code cannot be used.
        """
        if chosen.replicas.n_most:
            replicas = self._replicated(chosen)
            return Hosted(replicas, limits, replicas.n_at_once)
        servable, n_at_once = self.opened(chosen)
        return Hosted(servable, limits, n_at_once)

    def opened(self, chosen: ModelSettings) -> tuple[Servable, int]:
        """Open a model in this process; return it, and how many inputs it can well work on at once.

        Raises
        ------
        TopworkError
            As of a call.
        """
        return self._chain(chosen) if chosen.chain else self._network(chosen)

    def _replicated(self, chosen: ModelSettings) -> Replicas:
        """Let worker processes open a model; each has its share of the cores, however many there are at the moment.

        An engine is built for its share, so another share would need another engine: it is the one that it has when there
        are as many processes as there may be.
        """
        n_cores = max(1, survey().n_cores // chosen.replicas.n_most)
        alone = replace(chosen, replicas=Policy())
        arguments = pickle.dumps((alone, self._around.cache_dir, self._around.engine, self._folder, n_cores))
        return Replicas(Recipe("topwork.verbs.opening:open_in_process", arguments, n_cores), chosen.replicas)

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
            )
            return self._with_app(model, chosen.app), model.engine.n_streams
        around = replace(self._around, engine=cast("Any", chosen.engine))
        embedder = open_embedder(str(chosen.trunk), around, name=chosen.name, normalized=chosen.normalize)
        return self._with_app(embedder, chosen.app), embedder.network.engine.n_streams

    def _with_app(self, servable: Servable, app: str | None) -> Servable:
        return servable if app is None else Hooked(servable, load_hooks(app, self._folder))


def open_in_process(arguments: bytes) -> tuple[Servable, int]:
    """Open a model in a worker process, by what the server's own process has written.

    Raises
    ------
    TopworkError
        As of `ModelOpener`.
    """
    keep_memory()
    rest_while_waiting()
    sum_in_order()
    # Written by our own parent and read from a socket that nobody else has; nothing of a client is in it.
    chosen, cache_dir, engine, folder, n_cores = pickle.loads(arguments)  # noqa: S301
    around = Surroundings(cache_dir=cache_dir, engine=engine, n_cores=n_cores)
    return ModelOpener(around, folder).opened(chosen)


def _link(servable: Servable, chosen: LinkSettings) -> Link:
    takes = next(((model, str(key)) for model, key in chosen.takes.items()), None)
    return Link(servable, chosen.when, takes)
