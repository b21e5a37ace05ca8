"""Going on with one of several trunks: the choice is made, kept for a fit that is killed, and told.

The data are read, checked and split once, with the first candidate. Where another one is taken, the rows keep their
sides, and only their features are read again. How candidates are compared stands in `steps.trying`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from topwork.bundle.jsontext import decode_object, encode_json
from topwork.bundle.structure import from_json, to_json
from topwork.contracts import Estimate, Json, Section, Table, TriedTrunk, Trunk, TrunkChoice
from topwork.errors import BundleError, StorageError
from topwork.steps.order import Order, Rows
from topwork.steps.reading import read_rows, require_still_there
from topwork.steps.recording import metrics_json
from topwork.steps.speeds import row_s_of
from topwork.steps.transfer import Preparation
from topwork.steps.trying import PUT_BACK, choose
from topwork.storage import write_atomically

__all__ = ["KEPT", "Settled", "choice_json", "settle", "told_of"]

KEPT = "trunk.json"
"""The choice of an unfinished fit, so that it is gone on with on the same trunk."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A fit's order, rows and preparation, all of the trunk that it goes on with; ``choice`` where it chose it."""

    order: Order
    rows: Rows
    preparation: Preparation
    choice: TrunkChoice | None = None


def settle(order: Order, rows: Rows, preparation: Preparation, kept: Path | None = None) -> Settled:
    """Choose from the order's candidates, where it has any, and read the rows again where another one is taken.

    Parameters
    ----------
    rows
        As read with the order's trunk; their sides stay what they are.
    kept
        Folder of the unfinished fit. The choice is written there, and with ``options.resume`` taken from there.

    Raises
    ------
    DataError
        Inputs vanished meanwhile.
    WeightsError
        The weights of a candidate that the caller named cannot be had.
    """
    if not order.candidates:
        return Settled(order, rows, preparation)
    trunk, choice = _found_again(order, kept) or choose(order, rows, preparation.choice)
    order.around.progress.say(choice.why)
    if kept is not None:
        with suppress(
            StorageError
        ):  # without it a fit that is killed chooses again, and most likely the same
            write_atomically(kept / KEPT, encode_json(to_json(choice)))
    if trunk.identity == order.trunk.identity:
        return Settled(order, rows, preparation, choice)
    order = replace(order, trunk=trunk)
    preparation = Preparation(trunk, order.modality, order.around)
    return Settled(order, _read_again(order, rows, preparation), preparation, choice)


def told_of(choice: TrunkChoice | None) -> tuple[Section, ...]:
    """Return the table of a report; none where there was nothing to choose from."""
    if choice is None or not choice.tried:
        return ()
    columns = ("trunk", choice.loss_name, "score", "LogME", "H-score", "tried in", "inputs/s", "parameters")
    caption = (
        f"{choice.why} Tried on {choice.n_rows:,} training inputs: the loss of a probe on held-out ones decides, of "
        "LogME and H-score more is better. No test input was looked at."
    )
    return (Table("Trunks that were tried", columns, tuple(map(_cells, choice.tried)), caption),)


def choice_json(choice: TrunkChoice | None) -> dict[str, Json]:
    """Return the part of the result that tells of the choice, for `--json`; empty where there was none."""
    if choice is None:
        return {}
    tried = [asdict(one) | _loss_json(one.loss) for one in choice.tried]
    return {"trunk_choice": asdict(choice) | {"tried": tried}}


def _loss_json(loss: Estimate | None) -> dict[str, Json]:
    return {} if loss is None else {"loss": metrics_json({"loss": loss})["loss"]}


def _cells(one: TriedTrunk) -> tuple[str | Estimate, ...]:
    figures = (_figure(value) for value in (one.score, one.log_me, one.h_score))
    speed = "" if one.items_per_s is None else f"{one.items_per_s:.0f}"
    loss = one.note if one.loss is None else one.loss
    return one.name, loss, *figures, f"{one.seconds:.1f} s", speed, f"{one.n_parameters / 1e6:.1f} M"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _found_again(order: Order, kept: Path | None) -> tuple[Trunk, TrunkChoice] | None:
    """Return what the unfinished fit chose that is to be gone on with, where it is still there to choose."""
    if kept is None or not order.options.resume:
        return None
    try:
        choice = from_json(decode_object((kept / KEPT).read_bytes(), KEPT), TrunkChoice, KEPT)
    except (OSError, BundleError):
        return None
    found = [one for one in order.candidates if one.card.name == choice.chosen]
    return (found[0], choice) if found else None


def _read_again(order: Order, rows: Rows, preparation: Preparation) -> Rows:
    """Return the same rows with the features of another trunk."""
    wanted = np.concatenate([rows.fit_rows, rows.split.test])
    again = read_rows(order, preparation, wanted)
    require_still_there(order, wanted, again, next_step=PUT_BACK)
    n = len(rows.fit_rows)
    return replace(
        rows,
        fit_features=again.features[:n],
        test_features=again.features[n:],
        n_cached=again.n_cached,
        row_s=row_s_of(again),
    )
