"""Which rows tell what a bundle says of strange inputs: those that neither trunk nor head was fitted on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from tiny_bundle import TinyTarget
from topwork.contracts import Array, Fitted, Fold, Split, Table
from topwork.steps.monitoring import domain_of, told_of_domain
from topwork.steps.order import Rows
from topwork.training.domain import Domain, learn


def rows(n: int = 200, n_test: int = 100) -> Rows:
    rng = np.random.default_rng(0)
    every = np.arange(n)
    return Rows(
        inspections=(),
        n_cached=0,
        fit_features=rng.normal(size=(n, 12)).astype(np.float32),
        test_features=rng.normal(size=(n_test, 12)).astype(np.float32),
        findings=cast("Any", None),
        split=Split(every, every[:0], np.arange(n, n + n_test), np.arange(n + n_test), "", 0),
        targets={"label": TinyTarget()},
        truth={"label": rng.integers(0, 3, n + n_test)},
        fit_rows=every,
        folds=tuple(Fold(every[every % 4 != i], every[every % 4 == i]) for i in range(4)),
        pairs=np.zeros((0, 2), np.int64),
    )


def fitted(**weights: Array) -> Fitted:
    return Fitted({}, {}, weights=weights)


def same(a: Domain | None, b: Domain | None) -> bool:
    assert a is not None
    assert b is not None
    return all(np.array_equal(one, b.to_statistics()[name]) for name, one in a.to_statistics().items())


def test_a_trunk_that_was_trained_leaves_one_part_to_judge() -> None:
    known, classes = rows(), rows().truth["label"][:200]
    frozen, trained = domain_of(known, fitted()), domain_of(known, fitted(stem=np.zeros(1)))
    assert same(frozen, learn(known.fit_features, classes, known.folds))
    assert same(trained, learn(known.fit_features, classes, known.folds[:1]))
    assert not same(frozen, trained)


def test_rows_without_features_tell_nothing() -> None:
    known = rows()
    some = np.arange(0, 200, 2)
    blank = np.zeros_like(known.fit_features)
    blank[some] = known.fit_features[some]
    found = domain_of(replace(known, fit_features=blank, fit_known=some), fitted())
    folds = [Fold(np.intersect1d(one.train, some), np.intersect1d(one.valid, some)) for one in known.folds]
    folds = [one for one in folds if len(one.valid)]
    assert len(folds) == 2
    assert same(found, learn(blank, known.truth["label"][:200], folds))


def test_test_rows_are_counted_and_none_are_none() -> None:
    known = rows()
    domain = domain_of(known, fitted())
    (table,) = told_of_domain(domain, known)
    assert isinstance(table, Table)
    assert table.rows[0][1].value <= 0.15  # type: ignore[union-attr]
    assert told_of_domain(None, known) == ()
    nothing = replace(known, split=replace(known.split, test=np.zeros(0, np.int64)))
    assert told_of_domain(domain, nothing) == ()
