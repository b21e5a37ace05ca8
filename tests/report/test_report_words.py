"""The sentences say what the record holds, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from records import (
    chess_record,
    evaluation_record,
    hostile_record,
    two_target_record,
    unmeasured_record,
    wide_record,
)
from topwork.contracts import Estimate, FitRecord, Matrix
from topwork.report.words import (
    about_target,
    about_the_run,
    baseline_title,
    cautions,
    headline,
    largest_confusion,
    summary,
    validation_metric,
)


def told(record: FitRecord, name: str = "label") -> str:
    return " ".join(summary(record, name)).replace("\u00a0", " ")


def warned(record: FitRecord) -> str:
    return "\n".join(cautions(record)).replace("\u00a0", " ")


def with_test(record: FitRecord, **metrics: Estimate) -> FitRecord:
    result = record.targets["label"]
    return replace(record, targets={"label": replace(result, test={**result.test, **metrics})})


def with_matrix(counts: tuple[tuple[int, ...], ...]) -> FitRecord:
    record, labels = chess_record(), ("cat", "dog")
    result = replace(record.targets["label"], sections=(Matrix("Confusion", labels, labels, counts),))
    data = replace(record.data, class_counts={"label": {"cat": 40, "dog": 1234}})
    return replace(record, targets={"label": result}, data=data)


# --- summary --------------------------------------------------------------------------------------------


def test_the_summary_of_a_fit_says_the_five_things() -> None:
    text = told(chess_record())
    assert (
        "it is right 81.1 % of the time; always answering the most frequent class would score 18.9 %" in text
    )
    assert "measured on 111 test examples; with 95 % confidence" in text
    assert "within 72.8 to 87.3 % (Wilson's interval)" in text
    assert "What it confuses most is “King”, which it took for “Queen” in 5 of 15 cases." in text
    assert "more examples of “King”: of its 15 test examples 9 were right (60.0 %)" in text
    assert "the data has 76 examples of it" in text
    assert "5 inputs of 556 could not be used" in text
    assert "Fitting took 9.4 s in 1 step (probe); the first model stood after 8.9 s." in text
    assert len(summary(chess_record(), "label")) <= 7


def test_an_evaluation_does_not_pretend_to_have_fitted() -> None:
    text = told(evaluation_record())
    assert "Evaluating it took 9.4 s; nothing was fitted." in text
    assert "first model" not in text
    assert "the data has" not in text, "class counts of other data say nothing of what it learned from"


def test_another_metric_leads_where_there_is_no_accuracy() -> None:
    record = chess_record()
    result = replace(
        record.targets["label"], main_metric="log_loss", test={"log_loss": Estimate(0.5, 0.4, 0.6)}
    )
    assert headline(result) == "log_loss"
    text = told(replace(record, targets={"label": result}))
    assert "its log loss is 0.500; always answering the most frequent class would score 1.782" in text
    assert "within 0.400 to 0.600 (by bootstrap)" in text


def test_a_fit_without_test_rows_claims_nothing() -> None:
    text = told(unmeasured_record())
    assert "How good it is could not be measured." in text
    assert "confidence" not in text
    assert "confused" not in text
    assert "The class with the fewest examples is “King”, with 76." in text


def test_every_target_has_its_own_words() -> None:
    record = two_target_record()
    assert "“white”, which it took for “black” in 7 of 57 cases" in told(record, "colour")
    assert "“white”: of its 57 test examples 50 were right" in told(record, "colour")
    assert "“Queen”" in told(record, "piece")
    assert summary(record, "piece") == (*about_target(record, "piece"), *about_the_run(record))


def test_steps_are_compared_by_the_metric_that_all_targets_share() -> None:
    record = two_target_record()
    assert validation_metric(record) == "accuracy"
    other = replace(record.targets["colour"], main_metric="log_loss")
    assert validation_metric(replace(record, targets={**record.targets, "colour": other})) == ""


def test_perfect_and_nearly_perfect_matrices_name_no_pair() -> None:
    assert "It confused no two classes on the test examples." in told(with_matrix(((9, 0), (0, 9))))
    assert "no two classes with each other more than once" in told(with_matrix(((8, 1), (0, 9))))
    assert "The class with the fewest examples is “cat”, with 40." in told(with_matrix(((9, 0), (0, 9))))


def test_a_class_of_hardly_any_test_rows_is_not_called_the_weakest() -> None:
    assert "more examples of “dog”" in told(with_matrix(((0, 2), (4, 9))))
    assert "more examples of" not in told(with_matrix(((0, 2), (0, 9))))


def test_what_was_not_rejected_is_not_mentioned() -> None:
    record = chess_record()
    assert "could not be used" not in told(replace(record, data=replace(record.data, rejected=())))


def test_very_long_labels_do_not_drown_a_sentence() -> None:
    for name in hostile_record().targets:
        assert all(len(sentence) < 1200 for sentence in summary(hostile_record(), name))
    assert max(map(len, summary(wide_record(), "label"))) < 300


# --- confusion ------------------------------------------------------------------------------------------


def test_the_largest_confusion_is_the_first_largest_off_the_diagonal() -> None:
    found = largest_confusion(
        Matrix("", ("a", "b", "c"), ("a", "b", "c"), ((90, 3, 1), (0, 80, 4), (4, 0, 70)))
    )
    assert found is not None
    assert (found.truth, found.predicted, found.count, found.n_true) == ("b", "c", 4, 84)
    assert largest_confusion(Matrix("", ("a",), ("a",), ((5,),))) is None


# --- cautions -------------------------------------------------------------------------------------------


def test_a_good_fit_on_enough_rows_needs_no_caution() -> None:
    assert cautions(chess_record()) == ()


@pytest.mark.parametrize(("n", "warns"), [(1, True), (99, True), (100, False)])
def test_few_test_rows_are_the_first_thing_said(n: int, warns: bool) -> None:
    record = chess_record()
    record = replace(record, split=replace(record.split, n_test=n, notes=("a note",)))
    assert (f"only {n} example" in warned(record).split("\n")[0]) is warns


def test_no_test_row_is_said_plainly() -> None:
    assert "There was no test example" in warned(unmeasured_record())


def test_an_interval_that_reaches_the_baseline_is_not_better_than_guessing() -> None:
    text = warned(evaluation_record())
    assert "It is not shown to be better than guessing" in text
    assert "accuracy, 11.2 to 46.9 %, reaches 18.9 %, which always answering the most frequent class" in text
    just_above = with_test(chess_record(), accuracy=Estimate(0.3, 0.19, 0.4))
    assert cautions(just_above) == ()


def test_for_a_loss_it_is_the_upper_end_that_counts() -> None:
    record = chess_record()
    result = replace(record.targets["label"], main_metric="log_loss")
    for high, warns in ((1.70, False), (1.79, True)):
        poor = replace(result, test={**result.test, "log_loss": Estimate(1.6, 1.5, high)})
        text = warned(replace(record, targets={"label": poor}))
        assert ("its log loss, 1.500 to" in text) is warns


def test_every_baseline_is_compared_with() -> None:
    record = chess_record()
    result = record.targets["label"]
    strong = {**result.baselines, "colour_histogram": {"accuracy": Estimate(0.8, 0.7, 0.9)}}
    text = warned(replace(record, targets={"label": replace(result, baselines=strong)}))
    assert "not shown to be better than colour histogram" in text
    assert "guessing" not in text
    assert baseline_title("colour_histogram") == "colour histogram"


def test_the_target_is_named_where_there_are_several() -> None:
    record = two_target_record()
    poor = replace(record.targets["colour"], test={"accuracy": Estimate(0.2, 0.1, 0.3)})
    text = warned(replace(record, targets={**record.targets, "colour": poor}))
    assert "better than guessing for “colour”" in text


def test_notes_of_the_split_and_a_licence_without_commerce_are_repeated() -> None:
    assert "valid/ was used as the test" in warned(evaluation_record())
    record = chess_record()
    text = warned(replace(record, trunk=replace(record.trunk, commercial=False, licence="CC-BY-NC-4.0")))
    assert "excludes commercial use (CC-BY-NC-4.0)" in text
