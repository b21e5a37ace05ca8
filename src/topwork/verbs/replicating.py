"""Models in worker processes: what these open, and for which share of the machine. `serving.replicas` keeps them."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Final

from topwork.engines.machine import survey
from topwork.engines.mapped import forget
from topwork.engines.memory import give_back, keep_memory, rest_while_waiting, sum_in_order
from topwork.errors import TopworkError
from topwork.serving.hosting import Hosted
from topwork.serving.limits import Limits
from topwork.serving.replicas.autoscaling import Policy
from topwork.serving.replicas.fleet import Recipe
from topwork.serving.replicas.frames import Opened
from topwork.serving.replicas.manned import Replicas
from topwork.serving.settings.declared import ModelSettings
from topwork.steps.options import Surroundings
from topwork.verbs.opening import ModelOpener

__all__ = ["StaffedOpener", "open_in_process"]

LOG = logging.getLogger("topwork.serving")
FACTORY: Final = "topwork.verbs.replicating:open_in_process"
SHELF: Final = "mapped"
"""Folder of the cache in which networks lie as files that worker processes map."""

KEPT_S: Final = 30 * 86_400.0
"""How long such files are kept that no server asks for."""


class StaffedOpener:
    """Opens models by their settings, in worker processes where they are to have any, else in this one.

    Parameters
    ----------
    around, folder
        As of `topwork.verbs.opening.ModelOpener`.
    """

    def __init__(self, around: Surroundings, folder: Path) -> None:
        self._around, self._folder = around, folder
        self._here = ModelOpener(around, folder)

    def __call__(self, chosen: ModelSettings, limits: Limits) -> Hosted:
        """Open a model.

        Raises
        ------
        TopworkError
            A file, a name or a user's code cannot be used.
        """
        if not chosen.replicas.n_most:
            return self._here(chosen, limits)
        replicas = Replicas(self._recipe(chosen, limits), chosen.replicas)
        return Hosted(replicas, limits, replicas.n_at_once, made_of=replicas.made_of)

    def take(self, limits: Limits) -> None:
        """Decode within these bounds from now on; worker processes keep those with which they were opened."""
        self._here.take(limits)

    def _recipe(self, chosen: ModelSettings, limits: Limits) -> Recipe:
        """Say what a worker process opens: the model, for a share of the cores, however many there are at the moment.

        An engine is built for its share, so another one would need another engine: it is the share that it has when
        there are as many processes as there may be.
        """
        n_cores = max(1, survey().n_cores // chosen.replicas.n_most)
        shelf = self._around.cache_dir / SHELF
        forget(shelf, older_than_s=KEPT_S, now_s=self._around.wall_clock())
        alone = replace(chosen, replicas=Policy())
        given = {"cache_dir": self._around.cache_dir, "engine": self._around.engine}
        order = (alone, {**given, "n_cores": n_cores, "shelf": shelf}, self._folder, limits)
        return Recipe(FACTORY, pickle.dumps(order), n_cores, limits)


def open_in_process(arguments: bytes) -> Opened:
    """Open a model in a worker process, by what the server has written.

    Raises
    ------
    TopworkError
        As of `StaffedOpener`.
    """
    keep_memory()
    rest_while_waiting()
    sum_in_order()
    # Written by our own parent and read from a socket that nobody else has; nothing of a client is in it.
    chosen, around, folder, limits = pickle.loads(arguments)  # noqa: S301
    opener = ModelOpener(Surroundings(**around), folder)
    try:
        opened = opener(chosen, limits)
    except TopworkError as error:
        # Should it be the files alone that cannot be had, the model can do without; else this raises what is wrong.
        opener = ModelOpener(Surroundings(**{**around, "shelf": None}), folder)
        opened = opener(chosen, limits)
        LOG.warning("the weights of %s are in memory once for each process: %s", opened.servable.name, error)
    opener.take(limits)
    give_back()  # what reading and packing the weights took
    return Opened(opened.servable, opened.n_at_once, opened.made_of)
