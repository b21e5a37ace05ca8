"""Going on from one's own bundle: its network is the trunk of the next fit, and its test rows stay test rows.

What the network was tuned on may never be tested on again, so every input that the bundle knows keeps its side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from topwork import plugins
from topwork.bundle.contents import Bundle, open_bundle
from topwork.contracts import (
    Graph,
    Inspection,
    Preprocessing,
    Progress,
    Rates,
    ResizableTrunk,
    Split,
    Stage,
    Target,
    TextTrunk,
    Trunk,
    TrunkCard,
    Words,
)
from topwork.errors import DataError, UsageError
from topwork.trunks import resolve

if TYPE_CHECKING:
    import torch

__all__ = ["BundleTrunk", "forgotten", "keep_sides", "trunk_of"]


@dataclass(frozen=True, eq=False)
class BundleTrunk:
    """A trunk whose weights are those of a bundle; see `topwork.contracts.Trunk`."""

    base: Trunk
    bundle: Bundle

    @property
    def card(self) -> TrunkCard:
        """The base's card."""
        return self.base.card

    @property
    def preprocessing(self) -> Preprocessing:
        """What the bundle was fitted with."""
        return self.base.preprocessing

    @property
    def identity(self) -> str:
        """The base's identity, and a hash of the weights that stand in for its own."""
        found = sha256()
        for name, array in sorted(self.bundle.graph().weights.items()):
            found.update(name.encode() + array.tobytes())
        return f"{self.base.identity}:{found.hexdigest()}"

    @property
    def rates(self) -> Rates:
        """Return the base's rates."""
        return self.base.rates

    def fetch(self, cache_dir: Path, progress: Progress) -> Path:
        """Bring the base's weights, in which the bundle's are put."""
        return self.base.fetch(cache_dir, progress)

    def graph(self, weights: Path) -> Graph | None:
        """Return the base's graph with the bundle's weights, where the base has one ready."""
        found = self.base.graph(weights)
        if found is None:
            return None
        own = self.bundle.graph().weights
        return replace(found, weights={name: own[name] for name in found.weights})

    def load(self, weights: Path) -> torch.nn.Module:
        """Build the base's network and put the bundle's weights in."""
        import torch

        network = self.base.load(weights)
        own = self.bundle.graph().weights
        state = network.state_dict()
        network.load_state_dict(
            {k: torch.from_numpy(own[k].copy()) if k in own else v for k, v in state.items()}
        )
        return network

    def stages(self, module: torch.nn.Module) -> tuple[Stage, ...]:
        """Return the base's stages."""
        return self.base.stages(module)


class _TextBase(Trunk, TextTrunk, Protocol):
    """A trunk that has tokens."""


@dataclass(frozen=True, eq=False)
class TextBundleTrunk(BundleTrunk):
    """The same where the base has tokens; see `topwork.contracts.TextTrunk`."""

    base: _TextBase

    def words(self, module: torch.nn.Module) -> Words | None:
        """Return the network token by token, where the base can."""
        return self.base.words(module)

    def pooled(self, how: str) -> Trunk:
        """Return the same with the base's tokens pooled otherwise."""
        return replace(self, base=cast("_TextBase", self.base.pooled(how)))

    def with_word_scores(self, n: int) -> Trunk:
        """Return the same with scores of words beside the base's features."""
        return replace(self, base=cast("_TextBase", self.base.with_word_scores(n)))


def trunk_of(path: Path, trunk: str | None) -> BundleTrunk:
    """Open a bundle to go on from.

    Parameters
    ----------
    trunk
        The trunk that it was made from, where its name alone does not lead there, as for one in a folder; None where
        none was given.

    Raises
    ------
    BundleError
        The file is no bundle, or damaged.
    UsageError
        The trunk that it was made from is not known here, or another one is given; or its weights are of eight bits.
    """
    bundle = open_bundle(path)
    _require_trainable(bundle)
    made_from = bundle.record().trunk
    base = resolve(trunk or made_from.name, plugins.trunks())
    if base.card.weights_sha256 != made_from.weights_sha256:
        raise UsageError(
            f"{path} was made from the trunk {made_from.name!r}; {base.card.name!r} has other weights.",
            next_step="Give the same trunk with --trunk, or leave it out.",
        )
    if isinstance(base, ResizableTrunk) and made_from.input_size != base.card.input_size:
        base = base.of_side(made_from.input_size[0])
    if isinstance(base, TextTrunk):
        return TextBundleTrunk(cast("_TextBase", base), bundle)
    return BundleTrunk(base, bundle)


def _require_trainable(bundle: Bundle) -> None:
    made = bundle.manifest.optimized
    if made is not None and made.precision == "int8":
        raise UsageError(
            f"{bundle.path} was optimised to eight bits; its weights cannot be trained.",
            next_step=f"Go on from the bundle that it was made from, whose identity is {made.original}.",
        )


def keep_sides(split: Split, seen: Sequence[Inspection], bundle: Bundle) -> Split:
    """Put every input that the bundle knows, and what must not be separated from it, on the side that it had.

    Raises
    ------
    DataError
        Nothing is left to test on.
    """
    known = bundle.sides()
    fitted: set[int] = set()
    tested: set[int] = set()
    n_known = 0
    rows = np.concatenate([split.train, split.valid, split.test])
    for row in rows.tolist():
        side = known.get(seen[row].content.hex())
        n_known += side is not None
        if side is not None:
            (tested if side == "test" else fitted).add(int(split.units[row]))
    in_fit = np.isin(split.units, sorted(fitted))
    in_test = np.isin(split.units, sorted(tested)) & ~in_fit
    in_test[split.test] |= ~in_fit[split.test]
    test = np.sort(rows[in_test[rows]])
    valid = split.valid[~in_test[split.valid] & ~in_fit[split.valid]]
    train = np.setdiff1d(rows, np.concatenate([test, valid]))
    if not len(test):
        raise DataError(
            "The bundle was fitted on all of these inputs; nothing is left to test on.",
            next_step="Add labelled inputs that it has not seen, or fit without --from.",
        )
    note = f"{n_known} inputs are known to {bundle.path.name} and keep the side that they had there."
    return replace(split, train=train, valid=valid, test=test, notes=(*split.notes, note))


def forgotten(bundle: Bundle, targets: Mapping[str, Target]) -> tuple[str, ...]:
    """Say which labels the bundle knew that the new data have no example of."""
    found = []
    for name, target in targets.items():
        old = bundle.targets.get(name)
        if old is not None and (gone := [label for label in old.labels if label not in target.labels]):
            found.append(f"{name}: no example of {', '.join(gone)}; the new model will not know it.")
        if old is not None and (new := [label for label in target.labels if label not in old.labels]):
            found.append(f"{name}: new since the bundle: {', '.join(new)}.")
    return tuple(found)
