"""From a reading to rows that are checked, each on its side of the split and with its labels.

It knows no recipe and no network: what it goes by are inspections, raw values and how rows are to be split.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topwork.contracts import Fold
from topwork.data.check import examine, require_enough
from topwork.data.split import make_folds, make_split
from topwork.steps.duplicates import near_pairs
from topwork.steps.kinds import encoded, learned, strata_for, uncounted, understood
from topwork.steps.onward import BundleTrunk, forgotten, keep_sides
from topwork.steps.order import Order, Rows
from topwork.training.reading import Reading, partition

__all__ = ["assign"]


def assign(order: Order, reading: Reading) -> Rows:
    """Check the data, and give every usable row its side and its labels."""
    dataset = order.dataset
    pairs = near_pairs(reading, order.modality)
    findings = examine(
        dataset, reading.inspections, pairs, uncounted(order.tasks), remarks=order.modality.remarks
    )
    for line in findings.lines:
        order.around.progress.say(line)
    require_enough(findings, dataset)
    how = order.options.splitting(order.seed)
    coarse = learned(order.tasks, dataset.targets, findings.usable)
    strata = strata_for(encoded(coarse, dataset.targets))
    split = make_split(dataset, findings, strata, how)
    if isinstance(order.trunk, BundleTrunk):
        split = keep_sides(split, reading.inspections, order.trunk.bundle)
    fit_rows = np.sort(np.concatenate([split.train, split.valid]))
    targets = learned(order.tasks, dataset.targets, fit_rows)
    told = understood(targets)
    for line in told:
        order.around.progress.say(line)
    findings = replace(findings, lines=(*findings.lines, *told))
    if isinstance(order.trunk, BundleTrunk):
        for line in forgotten(order.trunk.bundle, targets):
            order.around.progress.say(line)
    truth = encoded(targets, dataset.targets)
    folds = tuple(
        Fold(np.searchsorted(fit_rows, fold.train), np.searchsorted(fit_rows, fold.valid))
        for fold in make_folds(split, strata, how)
    )
    known = [np.flatnonzero(reading.known[part]) for part in (fit_rows, split.test)]
    is_whole = len(known[0]) == len(fit_rows) and len(known[1]) == len(split.test)
    features = partition(reading.features, fit_rows, split.test)
    return Rows(
        inspections=reading.inspections,
        n_cached=reading.n_cached,
        fit_features=features[0],
        test_features=features[1],
        findings=findings,
        split=split,
        targets=targets,
        truth=truth,
        fit_rows=fit_rows,
        folds=folds,
        pairs=pairs,
        fit_known=None if is_whole else known[0],
        test_known=None if is_whole else known[1],
    )
