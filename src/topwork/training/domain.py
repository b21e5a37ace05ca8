"""Whether an input is like those that a model was fitted on, told from the features that its trunk gives of it.

Arrays in, arrays out: it knows no file, no label name and no network. What it keeps of the training rows are sums over
at least `LEAST_ROWS` of them: a mean and a deviation of each feature, principal axes, a covariance, and a centre of
each class that has so many rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil
from typing import Final, TypeAlias

import numpy as np

from topwork.contracts import Array, Fold
from topwork.training.moments import CHUNK_ROWS, moments

__all__ = ["LEAST_ROWS", "LEVEL", "Domain", "learn"]

LEVEL: Final = 0.05
"""Share of inputs like the training data that are taken for strange ones all the same."""
LEAST_ROWS: Final = 5
"""Rows that any kept sum goes over, and rows for each principal axis."""

_MOST_AXES: Final = 64
_FEWEST_AXES: Final = 2
_MOST_ROWS: Final = 5_000
"""Beyond so many rows an even choice of them is looked at: sums hardly change any more, and a fit waits for them."""
_N_TRAITS: Final = 8
_LEAST_SHOWN: Final = 50
"""Fewer held-out rows of one part do not show how coordinates are spread; then the rows that it was learnt on do."""
_NOTHING: Final = 1e-4
"""Part of the variance that counts as none."""
_Space: TypeAlias = tuple[Array, Array, Array, Array, Array]
"""Mean, scale, axes, whitening and centres."""
_QUANTILES = np.linspace(0, 1, 101)
_PREFIX: Final = "features.domain."


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Where the features of training rows lie, and how far away is too far.

    The distance of an input has two parts: within the space of the principal axes the squared Mahalanobis distance to
    the nearest class centre, with a covariance that all classes share (Lee et al., 2018, arXiv 1807.03888); and the
    squared length of what stands outside of that space (as in virtual-logit matching, Wang et al., 2022, arXiv
    2203.10807). Each is divided by what it is on average on held-out rows, and weighs as many directions as it goes
    over, as in the likelihood of a Gaussian that is round outside of its axes (Tipping & Bishop, 1999). The average
    distance of held-out rows is 1.

    Attributes
    ----------
    mean, scale
        Of each feature, ``float32 [d]``; the scale is one over the deviation, 0 for what never varies.
    axes
        Principal axes of the standardised features, ``float32 [r, d]``, orthonormal.
    whitening
        ``float32 [r, r]``: makes the covariance within a class the identity.
    centres
        Of the classes, whitened, ``float32 [c, r]``; a single one where there are no classes.
    parts
        By what each part of the distance is divided, ``float32 [2]``; 0 for a part that there is not.
    threshold
        The distance beyond which an input is out of the domain; of held-out rows at most `LEVEL` lie beyond it.
    traits
        Percentiles of what `look` gives of held-out rows, ``float32 [t, 101]``.
    n_rows
        Over how many rows each, ``int64 [t]``.
    """

    mean: Array
    scale: Array
    axes: Array
    whitening: Array
    centres: Array
    parts: Array
    threshold: Array
    traits: Array
    n_rows: Array

    @classmethod
    def of(cls, statistics: Mapping[str, Array]) -> Domain | None:
        """Return what a bundle's statistics hold of it; None where they hold nothing, as in older bundles."""
        names = {one.name: _PREFIX + one.name for one in fields(cls)}
        if any(key not in statistics for key in names.values()):
            return None
        return cls(**{name: statistics[key] for name, key in names.items()})

    def to_statistics(self) -> dict[str, Array]:
        """Return it as named arrays, which `of` reads."""
        return {_PREFIX + one.name: np.asarray(getattr(self, one.name)) for one in fields(self)}

    def look(self, features: Array) -> tuple[Array, Array]:
        """Return the distances ``[n]`` of features ``float32 [n, d]``, and the traits ``[n, t]`` that are watched.

        The traits are the coordinates along the first principal axes, and last the distance.
        """
        inside, outside, coordinates = _parts(self, features)
        distances = inside / self.parts[0] + (outside / self.parts[1] if self.parts[1] > 0 else 0)
        return distances, np.column_stack([coordinates[:, :_N_TRAITS], distances])

    def holds(self, distance: float) -> bool:
        """Tell whether an input at this distance is like the training data."""
        return bool(distance <= self.threshold)


def learn(features: Array, classes: Array | None, parts: Sequence[Fold]) -> Domain | None:
    """Learn where features lie; None where there are too few rows to tell.

    Parameters
    ----------
    features
        ``float32 [n, d]``.
    classes
        ``int64 [n]``, -1 where it is not known; None where there are no classes.
    parts
        How rows were held out: `Fold.valid` is judged by what `Fold.train` shows. The threshold is chosen on all rows
        that were judged so, and the domain is that of the first part: one of all rows would lie closer to new rows than
        the parts did to those that were held out, and neither the threshold nor the percentiles would fit it.
    """
    from threadpoolctl import threadpool_limits

    # The products are small; threads that wait for each other where somebody else wants the cores cost a hundredfold.
    with threadpool_limits(limits=1, user_api="blas"):
        return _learn(features, classes, [Fold(_even(one.train), _even(one.valid)) for one in parts])


def _learn(features: Array, classes: Array | None, parts: Sequence[Fold]) -> Domain | None:
    judged = [found for part in parts if (found := _judged(features, classes, part)) is not None]
    if len(judged) < len(parts) or not judged:
        return None
    space = judged[0][0]
    inside, outside = (np.concatenate([one[i] for one in judged]) for i in (1, 2))
    # Where the axes hold all that varies, what is left outside of them is rounding.
    left = outside.mean() if outside.mean() > _NOTHING * features.shape[1] else 0.0
    n_axes, n_features = len(space[2]), int((space[1] > 0).sum())
    per_direction = [inside.mean() / n_axes, left / max(1, n_features - n_axes)]
    means = np.array(per_direction, np.float32) * n_features
    threshold = _threshold((inside, outside), means) if means[0] > 0 else None
    if threshold is None:
        return None
    empty = np.zeros((0, len(_QUANTILES)), np.float32)
    bare = Domain(*space, means, np.array(threshold, np.float32), empty, empty)
    shown = parts[0].valid if len(parts[0].valid) >= _LEAST_SHOWN else parts[0].train
    traits = np.concatenate([bare.look(some)[1] for some in _chunks(features[shown])])
    percentiles = np.quantile(traits, _QUANTILES, axis=0).T.astype(np.float32)
    percentiles[-1] = np.quantile(_weighed((inside, outside), means), _QUANTILES)
    n_rows = np.array([*[len(shown)] * (len(percentiles) - 1), len(inside)], np.int64)
    return Domain(*space, means, bare.threshold, percentiles, n_rows)


def _threshold(held_out: tuple[Array, Array], means: Array) -> float | None:
    """Return the distance that all but `LEVEL` of new rows keep within; None where so few rows cannot say.

    The rank is that of split conformal prediction (Vovk et al., *Algorithmic Learning in a Random World*, 2005).
    """
    distances = np.sort(_weighed(held_out, means))
    rank = ceil((len(distances) + 1) * (1 - LEVEL))
    return float(distances[rank - 1]) if rank <= len(distances) else None


def _weighed(held_out: tuple[Array, Array], means: Array) -> Array:
    inside, outside = held_out
    return np.asarray(inside / means[0] + (outside / means[1] if means[1] > 0 else 0))


def _judged(features: Array, classes: Array | None, part: Fold) -> tuple[_Space, Array, Array] | None:
    """Return what some rows show, and both parts of the distances of others by it; None where they are too few."""
    space = _space(features[part.train], None if classes is None else classes[part.train])
    if space is None or not len(part.valid):
        return None
    nothing = np.zeros(0, np.float32)
    bare = Domain(*space, nothing, nothing, nothing, nothing)
    found = [_parts(bare, some)[:2] for some in _chunks(features[part.valid])]
    inside, outside = (np.concatenate(column) for column in zip(*found, strict=True))
    return space, inside, outside


def _parts(domain: Domain, features: Array) -> tuple[Array, Array, Array]:
    """Return squared distances within the axes' space and outside of it ``[n]``, and coordinates ``[n, r]``."""
    standard = (features - domain.mean) * domain.scale
    coordinates = standard @ domain.axes.T
    outside = np.maximum((standard**2).sum(axis=1) - (coordinates**2).sum(axis=1), 0)
    white = coordinates @ domain.whitening.T
    products = (
        (white**2).sum(axis=1)[:, None] - 2 * white @ domain.centres.T + (domain.centres**2).sum(axis=1)
    )
    return np.maximum(products.min(axis=1), 0), outside, coordinates


# --- what is kept -----------------------------------------------------------------------------------------


def _space(features: Array, classes: Array | None) -> _Space | None:
    """Return mean, scale, axes, whitening and centres of training rows; None where they are too few or all alike."""
    n, d = features.shape
    n_axes = min(_MOST_AXES, d, n // LEAST_ROWS)
    if n_axes < min(_FEWEST_AXES, d):
        return None
    mean, deviation = moments(features)
    scale = np.where(deviation > 0, 1 / np.maximum(deviation, 1e-12), 0).astype(np.float32)
    standard = (features - mean) * scale
    axes = _principal_axes(standard, n_axes)
    if axes is None:
        return None
    coordinates = standard @ axes.T
    owners, centres = _centres(coordinates, classes)
    whitening = _whitening(coordinates - centres[owners])
    return mean, scale, axes, whitening, (centres @ whitening.T).astype(np.float32)


def _principal_axes(standard: Array, n_axes: int) -> Array | None:
    """Return the first principal axes by a randomised range finder (Halko et al., 2011, arXiv 0909.4061)."""
    draw = np.random.default_rng(0)
    width = min(n_axes + 8, *standard.shape)
    basis = draw.standard_normal((standard.shape[1], width)).astype(np.float32)
    for _ in range(4):
        basis = np.linalg.qr(standard.T @ (standard @ basis))[0]
    _, sizes, turned = np.linalg.svd(standard @ basis, full_matrices=False)
    n_real = int((sizes > 1e-5 * max(1.0, float(sizes[0]))).sum())
    if not n_real:
        return None
    axes = (basis @ turned[: min(n_axes, n_real)].T).T
    # The sign of an axis is arbitrary; the same rows are to give the same bytes wherever it is computed.
    strongest = np.abs(axes).argmax(axis=1)
    return np.asarray(axes * np.sign(axes[np.arange(len(axes)), strongest])[:, None], np.float32)


def _centres(coordinates: Array, classes: Array | None) -> tuple[Array, Array]:
    """Return which centre each row belongs to ``[n]``, and the centres; classes of few rows share the first one."""
    whole = coordinates.mean(axis=0, keepdims=True)
    owners = np.zeros(len(coordinates), np.int64)
    if classes is None:
        return owners, whole
    numbers, counts = np.unique(classes[classes >= 0], return_counts=True)
    kept = numbers[counts >= LEAST_ROWS]
    own = [coordinates[classes == number].mean(axis=0) for number in kept]
    for place, number in enumerate(kept, 1):
        owners[classes == number] = place
    left = coordinates[owners == 0]
    if not len(left) and own:
        return owners - 1, np.array(own)
    return owners, np.concatenate([whole, np.array(own).reshape(len(own), whole.shape[1])])


def _whitening(residuals: Array) -> Array:
    """Return what makes the covariance of residuals the identity; a direction that hardly varies is not blown up."""
    values, vectors = np.linalg.eigh(residuals.T.astype(np.float64) @ residuals / len(residuals))
    floor = max(1e-4 * float(values.max()), 1e-12)
    return np.asarray((vectors / np.sqrt(np.maximum(values, floor))).T, np.float32)


def _even(rows: Array) -> Array:
    """Return the rows, or where they are many an even choice of them."""
    if len(rows) <= _MOST_ROWS:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.int64)])


def _chunks(features: Array) -> Iterator[Array]:
    return (features[start : start + CHUNK_ROWS] for start in range(0, len(features), CHUNK_ROWS))
