"""How fast trunks ran in fits on this machine, from files to features."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from topwork import plugins
from topwork.engines.choice import EngineChoice
from topwork.engines.machine import limited_to, survey
from topwork.errors import StorageError
from topwork.steps.options import Surroundings
from topwork.steps.transfer import Preparation, choice_for
from topwork.training.reading import Reading
from topwork.trunks import speeds

__all__ = ["DELIVERY_S", "known_speeds", "remember_speed", "row_s_of", "speed_of"]

DELIVERY_S = 1.5
"""Judging, writing, opening and proving a bundle, and a report: about the same for every data set."""

_ENOUGH = 100
"""Inputs below which starting up would count for more than running."""


def known_speeds(around: Surroundings) -> Mapping[str, float]:
    """Return items per second of those trunks of the catalogue that have run here with the engine of choice."""
    choice = choice_for(limited_to(survey(), around.device), around.engine)
    found = {name: speed_of(name, choice, around) for name in plugins.discover("trunks")}
    return {name: speed for name, speed in found.items() if speed is not None}


def speed_of(trunk: str, choice: EngineChoice, around: Surroundings) -> float | None:
    """Return the items per second that a trunk last read and ran here with an engine; None where it has not."""
    return speeds.recall(around.cache_dir, trunk, engine=choice.name, precision=choice.precision)


def remember_speed(reading: Reading, trunk: str, preparation: Preparation, around: Surroundings) -> None:
    """Keep what a reading pass measured, where it ran enough inputs to mean something."""
    if reading.n_computed < _ENOUGH:
        return
    engine, precision = preparation.choice.name, preparation.choice.precision
    with suppress(StorageError):  # a convenience; the fit goes on without it
        speeds.remember(
            around.cache_dir, trunk, engine=engine, precision=precision, items_per_s=reading.items_per_s
        )


def row_s_of(reading: Reading) -> float | None:
    """Return what a row took from its file to its features in seconds; None where too few were run to tell.

    What is remembered of fits before is not asked: the machine may be busier now.
    """
    return 1 / reading.items_per_s if reading.n_computed >= _ENOUGH and reading.items_per_s else None
