"""The estimators in scikit-learn's tools, on texts, pictures and rows of numbers."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import topwork
from tiny_text_trunk import write_tiny_text_trunk
from topwork import (
    DataError,
    DecodeError,
    FitOptions,
    MissingExtraError,
    Surroundings,
    TopworkClassifier,
    TopworkRegressor,
    UsageError,
)
from topwork.contracts import Array
from toy_photos import COLOURS, photo
from toy_texts import LABELS, toy_texts


@pytest.fixture(scope="module")
def text_trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny_text_trunk(tmp_path_factory.mktemp("trunk") / "tiny-bert"))


@pytest.fixture(scope="module")
def of_texts(text_trunk: str, around: Surroundings) -> TopworkClassifier:
    return TopworkClassifier(text_trunk, around=around).fit(*toy_texts(120))


def pictures(n_per_class: int = 8) -> tuple[Array, list[str]]:
    """Return photos ``uint8 [n, 40, 48, 3]`` and their colours."""
    made = [
        (photo(c, 100 * i + k), name)
        for i, (name, c) in enumerate(COLOURS.items())
        for k in range(n_per_class)
    ]
    return np.stack([np.asarray(one) for one, _ in made]), [name for _, name in made]


def shouted(texts: Sequence[str]) -> list[str]:
    return [text.upper() for text in texts]


# --- texts ------------------------------------------------------------------------------------------------


def test_texts_are_told_apart(of_texts: TopworkClassifier) -> None:
    texts, labels = toy_texts(40, seed=9)
    assert of_texts.classes_.tolist() == list(LABELS)
    assert of_texts.score(texts, labels) >= 0.8
    shares = of_texts.predict_proba(texts)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(of_texts.decision_function(texts) > 0, shares[:, 1] > 0.5)
    assert not hasattr(of_texts, "n_features_in_")


def test_every_row_is_fitted_on_unless_options_say_otherwise(
    of_texts: TopworkClassifier, text_trunk: str, around: Surroundings
) -> None:
    split = of_texts.model_.record.split
    assert (split.n_train, split.n_valid, split.n_test) == (120, 0, 0)
    options = FitOptions(proof="none", test_fraction=0.25)
    other = TopworkClassifier(text_trunk, options=options, around=around).fit(*toy_texts(120))
    assert other.model_.record.split.n_test == 30
    assert other.model_.record.targets["label"].test["accuracy"].is_known


def test_it_is_saved_as_a_bundle_that_answers_the_same(of_texts: TopworkClassifier, tmp_path: Path) -> None:
    texts, _ = toy_texts(20, seed=9)
    model = topwork.load(of_texts.save(tmp_path / "texts.topwork"))
    shares = of_texts.predict_proba(texts)
    for one, row, label in zip(model.predict(texts), shares, of_texts.predict(texts), strict=True):
        assert one.label == label
        assert [one.probabilities[name] for name in LABELS] == pytest.approx(row.tolist(), abs=1e-6)


def test_the_bundle_travels_inside_a_pickle(of_texts: TopworkClassifier) -> None:
    texts, _ = toy_texts(20, seed=9)
    again = pickle.loads(pickle.dumps(of_texts))
    np.testing.assert_allclose(again.predict_proba(texts), of_texts.predict_proba(texts), atol=1e-6)


def test_it_stands_at_the_end_of_a_pipeline(text_trunk: str, around: Surroundings) -> None:
    texts, labels = toy_texts(60)
    classifier = TopworkClassifier(text_trunk, around=around)
    pipeline = make_pipeline(FunctionTransformer(shouted), classifier).fit(texts, labels)
    told = pipeline[-1].model_.record.targets["label"]
    assert told.validation["accuracy"].value > 0.7
    alone = clone(classifier).fit(shouted(texts), labels)
    np.testing.assert_array_equal(pipeline.predict_proba(texts), alone.predict_proba(shouted(texts)))


def test_a_grid_is_searched_over_recipes(text_trunk: str, around: Surroundings) -> None:
    texts, labels = toy_texts(60)
    grid = {"recipe": ["probe", "head"], "random_state": [3]}
    search = GridSearchCV(TopworkClassifier(text_trunk, around=around), grid, cv=2, error_score="raise")
    search.fit(texts, labels)
    assert len(search.cv_results_["params"]) == 2
    assert search.best_score_ > 0.7
    best = search.best_estimator_
    assert best.model_.record.recipe == search.best_params_["recipe"]
    assert best.model_.record.settings["seed"] == "3"


@pytest.mark.slow
def test_a_grid_is_searched_over_trunks(text_trunk: str, around: Surroundings, tmp_path: Path) -> None:
    texts, labels = toy_texts(60)
    other = str(write_tiny_text_trunk(tmp_path / "another-bert", seed=1))
    grid = {"trunk": [text_trunk, other]}
    search = GridSearchCV(TopworkClassifier(around=around), grid, cv=2, error_score="raise")
    search.fit(texts, labels)
    assert [params["trunk"] for params in search.cv_results_["params"]] == [text_trunk, other]
    best = search.best_estimator_
    assert search.best_score_ > 0.7
    assert best.model_.record.trunk.name == Path(search.best_params_["trunk"]).name


def test_a_series_of_pandas_will_do(
    text_trunk: str, around: Surroundings, of_texts: TopworkClassifier
) -> None:
    pandas = pytest.importorskip("pandas")
    texts, labels = toy_texts(120)
    frame = pandas.DataFrame({"text": texts, "label": labels}, index=range(200, 320))
    found = TopworkClassifier(text_trunk, around=around).fit(frame["text"], frame["label"])
    np.testing.assert_array_equal(found.predict(frame["text"]), of_texts.predict(texts))


def test_files_of_texts_are_given_as_paths(of_texts: TopworkClassifier, tmp_path: Path) -> None:
    texts, _ = toy_texts(4, seed=9)
    files = [tmp_path / f"{i}.txt" for i in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(of_texts.predict(files), of_texts.predict(texts))


def test_an_unreadable_input_warns_in_a_fit_and_stops_a_prediction(
    text_trunk: str, around: Surroundings
) -> None:
    texts, labels = toy_texts(40)
    texts[7] = "   "
    with pytest.warns(UserWarning, match=r"fitted without 1 of 40 inputs .* as row 8: There is no text"):
        found = TopworkClassifier(text_trunk, around=around).fit(texts, labels)
    with pytest.raises(DecodeError, match=r"Input 7 of 40 \(from 0\): There is no text"):
        found.predict(texts)


# --- pictures ---------------------------------------------------------------------------------------------


def test_arrays_of_pictures_are_cross_validated(tiny_trunk: Path, around: Surroundings) -> None:
    images, labels = pictures()
    classifier = TopworkClassifier(str(tiny_trunk), around=around)
    scores = cross_val_score(classifier, images, labels, cv=2, error_score="raise")
    assert scores.shape == (2,)
    assert scores.mean() > 0.6


def test_paths_arrays_and_pil_images_are_the_same_pictures(
    tiny_trunk: Path, around: Surroundings, tmp_path: Path
) -> None:
    from PIL import Image

    images, labels = pictures(5)
    files = [tmp_path / f"{i:02}.png" for i in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    fitted = TopworkClassifier(str(tiny_trunk), around=around).fit([str(file) for file in files], labels)
    expected = fitted.predict_proba(files)
    opened = [Image.open(file) for file in files]
    for same in (images, list(images), [str(file) for file in files], opened):
        np.testing.assert_allclose(fitted.predict_proba(same), expected, atol=1e-6)


# --- rows of numbers --------------------------------------------------------------------------------------


def rows_and_prices(n: int = 80) -> tuple[Array, Array]:
    draw = np.random.default_rng(4)
    rows = draw.normal(size=(n, 3))
    return rows, 50 + rows @ [10, -5, 0] + draw.normal(size=n)


def test_numbers_have_intervals() -> None:
    rows, prices = rows_and_prices(200)
    fitted = TopworkRegressor().fit(rows[:100], prices[:100])
    assert fitted.score(rows[100:], prices[100:]) > 0.9
    bounds = fitted.predict_interval(rows[100:])
    inside = (bounds[:, 0] < prices[100:]) & (prices[100:] < bounds[:, 1])
    assert 0.75 < inside.mean() < 1
    np.testing.assert_allclose(bounds.mean(axis=1), fitted.predict(rows[100:]), rtol=1e-6)


def test_names_of_a_data_frame_are_kept() -> None:
    pandas = pytest.importorskip("pandas")
    rows, prices = rows_and_prices()
    frame = pandas.DataFrame(rows, columns=["size", "age", "floor"])
    fitted = TopworkRegressor().fit(frame, prices)
    assert fitted.feature_names_in_.tolist() == ["size", "age", "floor"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[["age", "size", "floor"]])


def test_classes_are_given_back_as_they_were() -> None:
    rows, prices = rows_and_prices()
    grade = np.searchsorted(np.quantile(prices, [0.3, 0.6]), prices) * 5 + 5  # 5, 10, 15: not sorted as names
    fitted = TopworkClassifier().fit(rows, grade)
    assert fitted.classes_.tolist() == [5, 10, 15]
    assert fitted.model_.servable.targets["label"].labels == ("10", "15", "5")
    said = fitted.predict(rows)
    assert said.dtype == grade.dtype
    assert (said == grade).mean() > 0.8
    np.testing.assert_array_equal(fitted.classes_[fitted.predict_proba(rows).argmax(axis=1)], said)
    assert fitted.decision_function(rows).shape == (80, 3)


def test_a_seed_may_be_a_random_state() -> None:
    rows, prices = rows_and_prices()
    seeds = []
    for state in (None, 7, np.int64(7), np.random.RandomState(7)):
        fitted = TopworkRegressor(random_state=state).fit(rows, prices)
        seeds.append(fitted.model_.record.settings["seed"])
    assert seeds[:3] == ["0", "7", "7"]
    assert seeds[3] not in ("0", "7")


# --- what an estimator keeps to ---------------------------------------------------------------------------


def test_a_clone_has_the_parameters_and_no_model(of_texts: TopworkClassifier) -> None:
    other = clone(of_texts)
    assert other.get_params(deep=False).keys() == of_texts.get_params(deep=False).keys()
    assert (other.trunk, other.recipe) == (of_texts.trunk, of_texts.recipe)
    for call in (other.predict, other.predict_proba, other.decision_function):
        with pytest.raises(NotFittedError):
            call(["late"])
    with pytest.raises(NotFittedError):
        other.save("never.topwork")


def test_what_was_learned_of_rows_is_forgotten_with_the_next_fit(
    text_trunk: str, around: Surroundings
) -> None:
    rows, prices = rows_and_prices()
    one = TopworkClassifier(around=around).fit(rows, prices > 50)
    assert one.n_features_in_ == 3
    assert one.classes_.tolist() == [False, True]
    one.set_params(trunk=text_trunk).fit(*toy_texts(40))
    assert not hasattr(one, "n_features_in_")
    assert one.classes_.tolist() == list(LABELS)


@pytest.mark.parametrize(
    ("inputs", "y", "error", "complaint"),
    [
        (["late", "soon"] * 10, None, DataError, "requires y to be passed"),
        (["late", "soon"] * 10, ["a"] * 20, DataError, "holds 1 class, a"),
        (["late", "soon"] * 10, ["a", "b"] * 9, DataError, "20 inputs and 18 values"),
        (["late", "soon"] * 10, [0.5, np.nan] * 10, ValueError, "contains NaN"),
        (["late", "soon"] * 10, [0.5, 0.7] * 10, ValueError, "continuous"),
        ([b"late", b"soon"] * 10, ["a", "b"] * 10, DataError, "bytes"),
        ([[1, 2], [3, 4]], ["a", "b"], DataError, "at least 10 are needed"),
        (
            ["one.jpg", "two.jpg"] * 10,
            ["a", "b"] * 10,
            UsageError,
            "kind 'text'; the data were taken for 'image'",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(
    inputs: Any, y: Any, error: type[Exception], complaint: str, text_trunk: str, around: Surroundings
) -> None:
    trunk = None if isinstance(inputs[0], list) else text_trunk
    with pytest.raises(error, match=complaint):
        TopworkClassifier(trunk, around=around).fit(inputs, y)


def test_inputs_of_another_kind_are_refused(of_texts: TopworkClassifier) -> None:
    with pytest.raises(DataError, match=r"Received list; this model was fitted on texts"):
        of_texts.predict([[1.0, 2.0]])


def test_without_scikit_learn_it_says_what_to_install() -> None:
    script = (
        "import sys\nsys.modules['sklearn'] = None\nimport topwork\n"
        "try:\n    topwork.TopworkClassifier\n"
        "except topwork.MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "scikit-learn, 1.6 or newer" in done.stdout
    assert issubclass(MissingExtraError, ImportError)
