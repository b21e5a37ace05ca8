"""Features as linear models are fitted on them: centred, scaled, along their principal axes.

It knows no target.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from topwork.contracts import Array, LinearHead
from topwork.training.moments import CHUNK_ROWS, moments

__all__ = ["Axes", "quiet_blas"]

_SMALL = 1000  # rows or features below which products are too small to share among threads
_CONSTANT = 1e-6  # a feature that varies less than this says nothing


@dataclass(frozen=True, slots=True)
class Axes:
    """Principal axes of centred and scaled features.

    Attributes
    ----------
    features
        ``float32 [n, d]`` as they came, or their coordinates ``[n, r]`` when that is the smaller matrix.
    project
        ``float32 [d, r]``: takes ``features - mean`` to coordinates.
    mean
        ``float32 [d]``.
    variance
        ``float64 [r]``: mean square of each coordinate.
    reduced
        Whether ``features`` already holds coordinates.
    """

    features: Array
    project: Array
    mean: Array
    variance: Array
    reduced: bool

    @classmethod
    def of(cls, features: Array, *, own_units: bool = True) -> Axes:
        """Find the axes of ``float32 [n, d]`` features; costs ``min(n, d)² max(n, d)`` operations.

        Parameters
        ----------
        own_units
            Whether each feature has a unit of its own, so that it must be standardised.
        """
        n, d = features.shape
        mean, deviation = moments(features)
        scale = _scale(deviation, own_units=own_units)
        if n < d:
            z = (features - mean) * scale
            values, vectors = np.linalg.eigh((z @ z.T).astype(np.float64) / n)
            keep = values > 1e-7 * max(values[-1], 1e-12)
            axes = z.T @ (vectors[:, keep] / np.sqrt(n * values[keep])).astype(np.float32)
            project = (scale[:, None] * axes).astype(np.float32)
            return cls((z @ axes).astype(np.float32), project, mean, values[keep], True)
        values, vectors = np.linalg.eigh(_covariance(features, mean, scale))
        keep = values > 1e-7 * max(values[-1], 1e-12)
        project = (scale[:, None] * vectors[:, keep]).astype(np.float32)
        return cls(features, project, mean, values[keep], False)

    def __len__(self) -> int:
        return len(self.features)

    def head(self, weight: Array, bias: Array) -> LinearHead:
        """Turn a solution ``[r, k]`` and ``[k]`` along the axes into a head on the features as they came."""
        back = self.project.astype(np.float64) @ weight
        return LinearHead(back.T.astype(np.float32), (bias - self.mean @ back).astype(np.float32))

    def chunks(self, weight: Array) -> Iterator[tuple[slice, Array, Array]]:
        """Yield ``rows, block, scores``: a block of features and its product with ``weight [r, m]``, no bias."""
        if not self.reduced:
            weight = self.project @ weight
            offset = self.mean @ weight
        for start in range(0, len(self), CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, len(self)))
            block = self.features[rows]
            yield rows, block, block @ weight if self.reduced else block @ weight - offset

    def gather(self, product: Array, total: Array) -> Array:
        """Turn ``Σ blockᵀ g`` and ``Σ g`` into the gradient ``[r, m]`` along the axes."""
        return product if self.reduced else self.project.T @ (product - np.outer(self.mean, total))


def _scale(deviation: Array, *, own_units: bool) -> Array:
    """Return what each centred feature is multiplied by, so that the mean variance of those that vary is 1."""
    varies = deviation > _CONSTANT
    inverse = np.where(varies, 1 / np.maximum(deviation, _CONSTANT), 0)
    if own_units or not varies.any():
        return np.asarray(inverse)
    return np.asarray(np.sqrt(inverse / deviation[varies].mean()), dtype=deviation.dtype)


def _covariance(features: Array, mean: Array, scale: Array) -> Array:
    total = np.zeros((features.shape[1],) * 2)
    for start in range(0, len(features), CHUNK_ROWS):
        z = (features[start : start + CHUNK_ROWS] - mean) * scale
        total += z.T @ z
    return total / len(features)


def quiet_blas(features: Array) -> AbstractContextManager[object]:
    """Keep matrix products on one thread while the matrices are small.

    Waking threads for a product of a millisecond costs more than it saves, and several times the product itself
    where another process wants the same cores.
    """
    from threadpoolctl import threadpool_limits

    quiet: AbstractContextManager[object] = threadpool_limits(
        limits=1 if min(features.shape) < _SMALL else None, user_api="blas"
    )
    return quiet
