"""What a bundle knows of its training data, said beside its answers: is an input like them, is an answer sure enough.

It knows no task beyond its link, and no engine: scores and features come to it. A bundle that holds no such statistics,
as those of earlier versions, says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np

from topwork.contracts import Array, Json, Profile, Reference, Target
from topwork.engines.grafting import FEATURES
from topwork.errors import BundleError
from topwork.training.domain import LEVEL, Domain
from topwork.training.profile import profile_of

__all__ = ["ABSTAINS", "ANSWER_FROM", "IN_DOMAIN", "Familiarity"]

IN_DOMAIN: Final = "in_domain"
ABSTAINS: Final = "abstains"
ANSWER_FROM: Final = "answer_from"
"""Name, behind that of a target, of the probability from which on to answer."""

_ABOUT_DOMAIN: Final = (
    "Whether the input is like those that the model was fitted on; of such inputs about "
    f"{LEVEL:.0%} are called false all the same."
)
_ABOUT_ABSTAINS: Final = "Whether asking a person costs less than the errors among answers that are no surer."


class Familiarity:
    """Says of an input whether it is like the training data, and of an answer whether it is better not given.

    Parameters
    ----------
    statistics
        Of a bundle.
    targets
        Those that are answered for.
    outputs
        Names of the outputs of the bundle's graph.

    Raises
    ------
    BundleError
        The statistics do not fit together.
    """

    def __init__(
        self, statistics: Mapping[str, Array], targets: Mapping[str, Target], outputs: Collection[str]
    ) -> None:
        is_free = not {IN_DOMAIN, FEATURES}.intersection(targets)  # else a target is called so
        self._domain = Domain.of(statistics) if FEATURES in outputs and is_free else None
        if self._domain is not None:
            _check(self._domain)
        keys = {name: f"{name}.{ANSWER_FROM}" for name, one in targets.items() if one.link == "softmax"}
        self._answer_from = {name: float(statistics[key]) for name, key in keys.items() if key in statistics}
        self._profiles = _profiles(statistics, targets)

    @property
    def needs_features(self) -> bool:
        """Whether the features of an input are looked at."""
        return self._domain is not None

    @property
    def reference(self) -> Reference | None:
        """What inputs and answers of today are held against; None where nothing is known of those of the fit."""
        domain = self._domain
        if domain is None:
            none = np.zeros((0, 101), np.float32)
            return Reference(self._profiles, none, (), None) if self._profiles else None
        return Reference(self._profiles, domain.traits, tuple(domain.n_rows.tolist()), LEVEL)

    def schema(self, schemas: Mapping[str, Mapping[str, Json]]) -> Mapping[str, Json]:
        """Return the schema of an answer, of the schemas that the targets' own answers have."""
        judged = {
            name: _with(one, ABSTAINS, _ABOUT_ABSTAINS) if name in self._answer_from else one
            for name, one in schemas.items()
        }
        several: Mapping[str, Json] = {"type": "object", "properties": judged, "required": list(judged)}
        whole = next(iter(judged.values())) if len(judged) == 1 else several
        return whole if self._domain is None else _with(whole, IN_DOMAIN, _ABOUT_DOMAIN)

    def said(
        self, answers: Mapping[str, Mapping[str, Json]], scores: Mapping[str, Array]
    ) -> tuple[Mapping[str, Json], tuple[float, ...]]:
        """Return what a client sees of one input, and its traits.

        Parameters
        ----------
        answers
            Of the targets, by name.
        scores
            Those of the targets, and the features where they are looked at.
        """
        judged = {name: self._judged(name, one, scores) for name, one in answers.items()}
        whole: Mapping[str, Json] = next(iter(judged.values())) if len(judged) == 1 else judged
        if self._domain is None or FEATURES not in scores:
            return whole, ()
        distances, traits = self._domain.look(scores[FEATURES][None])
        return {**whole, IN_DOMAIN: self._domain.holds(float(distances[0]))}, tuple(traits[0].tolist())

    def _judged(
        self, name: str, answer: Mapping[str, Json], scores: Mapping[str, Array]
    ) -> Mapping[str, Json]:
        if (answer_from := self._answer_from.get(name)) is None:
            return answer
        odds = np.exp(scores[name].astype(np.float64) - scores[name].max())
        return {**answer, ABSTAINS: bool(1 / odds.sum() < answer_from)}


def _profiles(statistics: Mapping[str, Array], targets: Mapping[str, Target]) -> dict[str, Profile]:
    found = {name: profile_of(statistics, name, target.labels) for name, target in targets.items()}
    known = {name: one for name, one in found.items() if one is not None}
    if known and len(targets) == 1:
        return {"": next(iter(known.values()))}
    return known


def _with(schema: Mapping[str, Json], word: str, about: str) -> Mapping[str, Json]:
    """Return the schema of an object with a word more, which is true or false."""
    properties, required = schema.get("properties"), schema.get("required")
    inner = dict(properties) if isinstance(properties, Mapping) else {}
    needed = list(required) if isinstance(required, list | tuple) else []
    word_schema: Json = {"type": "boolean", "description": about}
    return {**schema, "properties": {**inner, word: word_schema}, "required": [*needed, word]}


def _check(domain: Domain) -> None:
    """Refuse arrays that were edited, before a server fails on the first input."""
    n_axes, n_features = domain.axes.shape if domain.axes.ndim == 2 else (-1, -1)
    expected = {
        "mean": (n_features,),
        "scale": (n_features,),
        "whitening": (n_axes, n_axes),
        "centres": (len(domain.centres), n_axes),
        "parts": (2,),
        "threshold": (),
        "traits": (len(domain.traits), 101),
        "n_rows": (len(domain.traits),),
    }
    for name, shape in expected.items():
        found = getattr(domain, name)
        if found.shape != shape or not np.isfinite(found).all() or n_axes < 1:
            raise BundleError(
                f"The statistics of the training features hold a {name} {list(found.shape)} that is not the "
                f"{list(shape)} finite numbers that belong to axes {list(domain.axes.shape)}.",
                next_step="Get the file again from where it comes.",
            )
