"""`TopworkClassifier` and `TopworkRegressor`: a fit and its bundle as scikit-learn's estimators.

What scikit-learn asks of an estimator stands here, and nothing else: how inputs are told apart is in `data.memory`, how
they are fitted in `fitting`. Importing this module imports scikit-learn, so no other module of topwork does.

The classes inherit from scikit-learn's and one deeper than this house has it elsewhere: its tools read the parameters
off `BaseEstimator`, and what is a classifier off the mixin.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np

from topwork.contracts import Array, Modality
from topwork.data.memory import dataset_of, items_of, kind_of_items
from topwork.errors import DataError, DecodeError, MissingExtraError
from topwork.evaluation.classification import softmax
from topwork.inputs import VECTOR
from topwork.progress import Quiet
from topwork.steps.options import FitOptions, Surroundings
from topwork.verbs.fitting import fit
from topwork.verbs.model import Model

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import assert_all_finite, check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise MissingExtraError(
        "The estimators need scikit-learn, 1.6 or newer.",
        next_step="Install topwork with its extra sklearn, or run: pip install 'scikit-learn>=1.6'",
    ) from error

__all__ = ["TopworkClassifier", "TopworkRegressor"]

_TARGET = "label"
_LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Given:
    """Inputs one by one, what kind they are, and the truth ``[n]``."""

    items: Sequence[object] | Array
    kind: Modality
    truth: Array


class _Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn comes without types
    """What both estimators do alike."""

    def __init__(
        self,
        trunk: str | None = None,
        recipe: str = "probe",
        *,
        budget: str | float | None = None,
        random_state: Any = None,
        options: FitOptions | None = None,
        around: Surroundings | None = None,
    ) -> None:
        self.trunk = trunk
        self.recipe = recipe
        self.budget = budget
        self.random_state = random_state
        self.options = options
        self.around = around

    def __sklearn_tags__(self) -> Any:
        """Say that arrays of pictures are taken besides rows of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Tell whether there is a model."""
        return hasattr(self, "model_")

    def save(self, path: str | Path) -> Path:
        """Copy the bundle to ``path``, whole or not at all, and return where it is.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Nothing was fitted yet.
        StorageError
            It cannot be written there.
        """
        check_is_fitted(self)
        model: Model = self.model_
        return model.save(path)

    def _given(self, X: Any, y: Any) -> _Given:
        """Take inputs and truth; scikit-learn itself holds rows of numbers against its rules."""
        for name in ("n_features_in_", "feature_names_in_"):  # of an earlier fit on rows of numbers
            self.__dict__.pop(name, None)
        items = items_of(X)
        if items is None:
            numeric = isinstance(self, RegressorMixin)
            rows, truth = validate_data(self, X, y, y_numeric=numeric, ensure_min_samples=2)
            return _Given(rows, VECTOR, truth)
        if y is None:
            raise DataError(f"This {type(self).__name__} requires y to be passed, but the target y is None.")
        truth = column_or_1d(y, warn=True)
        assert_all_finite(truth, input_name="y")
        return _Given(items, kind_of_items(items), truth)

    def _fit(self, given: _Given, raw: Sequence[str], task: str) -> None:
        options = self.options or FitOptions(proof="none", test_fraction=0.0)
        self.model_ = fit(
            dataset_of(given.items, {_TARGET: raw}, given.kind),
            trunk=self.trunk,
            recipe=self.recipe,
            budget=self.budget,
            seed=_seed(self.random_state),
            options=replace(options, task=task),
            around=self.around or Surroundings(progress=Quiet()),
        )
        _warn_of_rejected(self.model_, type(self).__name__)

    def _scores(self, X: Any) -> Array:
        """Return the network's scores ``float64 [n, k]``.

        Raises
        ------
        DataError
            The inputs are of another kind than those of the fit.
        DecodeError
            An input cannot be read: an answer cannot be left out.
        """
        check_is_fitted(self)
        servable = self.model_.servable
        items: Any = items_of(X)
        if items is None and servable.modality.name == VECTOR.name:
            items = validate_data(self, X, reset=False)
        if items is None:
            raise DataError(
                f"Received {type(X).__name__}; this model was fitted on {servable.wire.noun}s.",
                next_step="Give a list with at least one of them.",
            )
        scores: list[Array] = []
        for one in servable.score_rows(range(len(items)), lambda row: servable.modality.encode(items[row])):
            if one.scores is None:
                raise DecodeError(f"Input {one.row} of {len(items):,} (from 0): {one.problem}")
            scores.append(one.scores[_TARGET])
        return np.array(scores, dtype=np.float64)


class TopworkClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]  # scikit-learn comes without types
    """Tells texts, pictures or rows of numbers apart, by a pretrained network with a fitted head.

    Parameters
    ----------
    trunk
        Pretrained network, as for `topwork.fit`; None takes the default for the kind of inputs. Rows of numbers are
        somebody's features already, so their trunk passes them on.
    recipe
        How it is fitted. The default fits a linear head, which is quick and the same every time.
    budget
        Longest time for fitting, such as ``90s``; None for no limit, for what time decides is not the same every time.
    random_state
        Of folds and of everything else that is drawn at random: a number from 0, or a `numpy.random.RandomState`;
        None is 0.
    options
        Rarer choices; its task is set here. None fits on all rows, without a test and a proof: scikit-learn has held
        back its own.
    around
        What stands around the fit: caches, progress, engine, device. None shows nothing.

    Attributes
    ----------
    classes_
        What ``y`` held, sorted, ``[k]``.
    model_
        The `topwork.Model`; `save` keeps its bundle.
    n_features_in_, feature_names_in_
        Of rows of numbers only: how many each row has, and their names where X was a data frame.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on inputs and their classes.

        Parameters
        ----------
        X
            Rows of numbers ``[n, d]``; a list (array, pandas Series) of texts, of `pathlib.Path`, or of pictures; or an
            array of pictures ``[n, height, width, 3]``. Strings that all end in a suffix of pictures are paths.
        y
            ``[n]``, numbers or strings.

        Raises
        ------
        ValueError
            X or y is not what scikit-learn's rules ask for.
        DataError
            Too little can be used: there must be 10 inputs, and two of each of two classes.
        """
        given = self._given(X, y)
        check_classification_targets(given.truth)
        self.classes_, numbers = np.unique(given.truth, return_inverse=True)
        if len(self.classes_) < 2:
            raise DataError(
                f"y holds 1 class, {self.classes_[0]}; telling things apart needs at least 2 classes.",
                next_step="Give examples of what it is not.",
            )
        names = self._names()
        self._fit(given, [names[number] for number in numbers], "classification")
        return self

    def predict(self, X: Any) -> Array:
        """Return the likeliest class of each input, ``[n]``."""
        likeliest = self._by_class(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    def predict_proba(self, X: Any) -> Array:
        """Return calibrated probabilities ``float64 [n, k]`` in the order of ``classes_``."""
        return softmax(self._by_class(X))

    def decision_function(self, X: Any) -> Array:
        """Return the scores ``float64 [n, k]``; of two classes the log odds of the second, ``[n]``."""
        scores = self._by_class(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _names(self) -> list[str]:
        return [str(one) for one in self.classes_]

    def _by_class(self, X: Any) -> Array:
        """Return scores in the order of ``classes_``; one whose examples could not be read has no chance."""
        scores = self._scores(X)
        places = {label: i for i, label in enumerate(self.model_.servable.targets[_TARGET].labels)}
        none = np.full(len(scores), -np.inf)
        return np.stack([scores[:, places[n]] if n in places else none for n in self._names()], axis=1)


class TopworkRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]  # scikit-learn comes without types
    """Predicts a number from texts, pictures or rows of numbers, by a pretrained network with a fitted head.

    Parameters and attributes are those of `TopworkClassifier`, but for ``classes_``.
    """

    def fit(self, X: Any, y: Any) -> Self:
        """Fit on inputs, as for `TopworkClassifier.fit`, and their numbers ``[n]``.

        Raises
        ------
        ValueError
            X or y is not what scikit-learn's rules ask for.
        DataError
            Fewer than 10 inputs can be used, or all numbers are the same.
        """
        given = self._given(X, y)
        self._fit(given, [repr(float(one)) for one in given.truth], "regression")
        return self

    def predict(self, X: Any) -> Array:
        """Return the number for each input, ``float64 [n]``."""
        return self._told(X, "value")[:, 0]

    def predict_interval(self, X: Any) -> Array:
        """Return between which bounds each number lies in 90 % of new inputs, ``float64 [n, 2]``; NaN if not known."""
        return self._told(X, "low", "high")

    def _told(self, X: Any, *names: str) -> Array:
        scores = self._scores(X)
        target = self.model_.servable.targets[_TARGET]
        answers = [target.answer(one) for one in scores]
        return np.array([[one[name] for name in names] for one in answers], dtype=np.float64)


def _seed(random_state: Any) -> int:
    if random_state is None:
        return 0
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(_LARGEST_SEED))


def _warn_of_rejected(model: Model, name: str) -> None:
    """Warn of inputs that could not be read: the fit goes on without them."""
    data = model.record.data
    if data.rejected:
        first = data.rejected[0]
        warnings.warn(
            f"{name} was fitted without {len(data.rejected):,} of {data.n_listed:,} inputs that cannot be read, such "
            f"as {first.key}: {first.reason}",
            UserWarning,
            stacklevel=4,
        )
