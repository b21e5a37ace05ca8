"""The sentences say what the record holds, and no more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from records import (
    beaten_record,
    chess_record,
    comparisons,
    evaluation_record,
    hostile_record,
    plain_record,
    two_target_record,
    unmeasured_record,
    wide_record,
)
from topwork.contracts import Estimate, FitRecord, Gallery, Matrix, Table
from topwork.report.verdicts import ALONE
from topwork.report.words import (
    about_target,
    about_the_run,
    baseline_title,
    cautions,
    headline,
    largest_confusion,
    n_label_issues,
    n_test_of,
    proof_total_s,
    summary,
    topics,
    validation_metric,
)


def told(record: FitRecord, name: str = "label") -> str:
    return " ".join(summary(record, name)).replace("\u00a0", " ")


def warned(record: FitRecord) -> str:
    return "\n".join(cautions(record)).replace("\u00a0", " ")


def with_test(record: FitRecord, **metrics: Estimate) -> FitRecord:
    result = record.targets["label"]
    return replace(record, targets={"label": replace(result, test={**result.test, **metrics})})


def changed(record: FitRecord, name: str = "label", **fields: Any) -> FitRecord:
    return replace(record, targets={**record.targets, name: replace(record.targets[name], **fields)})


def with_matrix(counts: tuple[tuple[int, ...], ...]) -> FitRecord:
    record, labels = plain_record(), ("cat", "dog")
    result = replace(record.targets["label"], sections=(Matrix("Confusion", labels, labels, counts),))
    data = replace(record.data, class_counts={"label": {"cat": 40, "dog": 1234}})
    return replace(record, targets={"label": result}, data=data)


# --- summary --------------------------------------------------------------------------------------------


def test_the_summary_of_a_fit_says_the_five_things() -> None:
    text = told(plain_record())
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
    assert len(summary(plain_record(), "label")) == 6


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
    assert validation_metric(replace(record, targets={**record.targets, "colour": other})) == "skill"


def test_perfect_and_nearly_perfect_matrices_name_no_pair() -> None:
    assert "It confused no two classes on the test examples." in told(with_matrix(((9, 0), (0, 9))))
    assert "took no class for the same other one more than once" in told(with_matrix(((8, 1), (0, 9))))
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


def test_a_proof_adds_what_other_models_labels_and_growth_say() -> None:
    text = told(chess_record())
    assert (
        "By accuracy on the same examples it is better than the classical baseline (by 29.7 points, 20.1 to 39.1); "
        "not shown to be better or worse than the frozen network (1.8 points, −2.7 to 6.3); "
        "and better than the same network trained from scratch (by 53.1 points, 42.0 to 63.0)." in text
    )
    assert "What would help first is cheap: go through the 4 labels that look wrong." in text
    few = replace(chess_record(), data=replace(chess_record().data, n_used=39))
    assert (
        "go through the first of the 4 labels that look wrong; of so many most will be right, and the model "
        "mistaken." in told(few)
    )
    assert "Twice the labelled examples (880 instead of 440) would help" in text
    assert "The weakest class is “King”: of its 15 test examples 9 were right (60.0 %)" in text
    assert "The first thing to try" not in text, "what is cheaper comes first"
    assert "the proof, which is not fitting, took another 87.0 s" in text
    assert proof_total_s(chess_record()) == pytest.approx(87.04)


def test_the_sentences_answer_a_readers_five_questions_in_order() -> None:
    found = topics(chess_record(), "label")
    assert [topic.title for topic in found] == [
        "What it can do",
        "How sure that is",
        "What it confuses",
        "What would help most",
    ]
    assert about_the_run(chess_record())[0].startswith("Fitting took")
    assert [s for topic in found for s in topic.sentences] == list(about_target(chess_record(), "label"))
    assert "What it confuses" not in [topic.title for topic in topics(unmeasured_record(), "label")]


def test_a_comparison_that_is_worse_or_equal_is_said_so() -> None:
    first, frozen, *_ = chess_record().targets["label"].comparisons
    worse = replace(first, difference={"accuracy": Estimate(-0.1, -0.15, -0.05)})
    equal = replace(frozen, difference={"accuracy": Estimate(0.0, 0.0, 0.0)})
    text = told(changed(chess_record(), comparisons=(worse, equal)))
    assert "it is worse than the classical baseline (by 10.0 points, 5.0 to 15.0) and not shown" in text
    assert "better or worse than the frozen network (the same score)." in text
    assert "classical" not in told(changed(chess_record(), comparisons=()))


def test_labels_that_look_wrong_are_counted_in_tables_and_galleries_of_that_title() -> None:
    table = Table("Labels that look wrong: colour", ("key",), (("a",), ("b",), ("c",)))
    assert n_label_issues((table,)) == 3
    assert n_label_issues((Gallery("Labels that look wrong", ()), table)) == 3
    assert n_label_issues((replace(table, title="Each class"),)) == 0
    cut = Gallery("Labels that look wrong", (), "1,250 labels by confident learning. The worst are shown.")
    assert n_label_issues((cut, table)) == 1250, "a gallery shows only the worst of them"
    assert n_label_issues((replace(cut, caption="Some of 1,250 labels"), table)) == 3
    one = replace(table, rows=(("a",),))
    text = told(changed(chess_record(), sections=(one,)))
    assert "go through the 1 label that looks wrong." in text


def test_rows_without_a_label_are_not_counted_as_tested() -> None:
    record = changed(chess_record(), n_test=37)
    assert n_test_of(record, record.targets["label"]) == 37
    assert n_test_of(plain_record(), plain_record().targets["label"]) == 111
    assert "measured on 37 test examples" in told(record)
    assert "The test has only 37 examples, so" in warned(record)


# --- confusion ------------------------------------------------------------------------------------------


def test_the_largest_confusion_is_the_first_largest_off_the_diagonal() -> None:
    found = largest_confusion(
        Matrix("", ("a", "b", "c"), ("a", "b", "c"), ((90, 3, 1), (0, 80, 4), (4, 0, 70)))
    )
    assert found is not None
    assert (found.truth, found.predicted, found.count, found.n_true) == ("b", "c", 4, 84)
    assert largest_confusion(Matrix("", ("a",), ("a",), ((5,),))) is None


def pairs(*rows: tuple[str, ...]) -> FitRecord:
    """Return a record of many classes, whose confusions are listed."""
    columns = ("true label", "taken for", "times", "of test rows")[: max(map(len, rows), default=4)]
    base = wide_record()
    result = replace(base.targets["label"], sections=(Table("Most frequent confusions", columns, rows),))
    return replace(base, targets={"label": result})


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ((("elm", "oak", "1,007", "2,000"), ("a", "b", "5", "9")), "“elm”, which it took for “oak” in 1,007 of 2,000"),
        ((("elm", "oak", "7"),), "“elm”, which it took for “oak” in 7 cases."),
        ((("elm", "oak", "1", "9"), ("a", "b", "1", "9")), "took no class for the same other one more than once"),
        ((), "It confused no two classes on the test examples."),
    ],
)  # fmt: skip
def test_of_many_classes_the_pair_confused_most_is_told_too(
    rows: tuple[tuple[str, ...], ...], told: str
) -> None:
    """Within the first five sentences; records of old do not say of how many."""
    assert told in " ".join(summary(pairs(*rows), "label")[:5]).replace("\u00a0", " ")


def test_without_a_test_row_nothing_is_said_of_confusions() -> None:
    record = pairs()
    record = replace(record, targets={"label": replace(record.targets["label"], n_test=0)})
    assert not any("confuse" in sentence for sentence in summary(record, "label"))


# --- cautions -------------------------------------------------------------------------------------------


def test_a_good_fit_on_enough_rows_needs_no_caution() -> None:
    assert cautions(chess_record()) == ()


@pytest.mark.parametrize(("n", "warns"), [(1, True), (99, True), (100, False)])
def test_few_test_rows_are_the_first_thing_said(n: int, warns: bool) -> None:
    record = plain_record()
    record = replace(record, split=replace(record.split, n_test=n, notes=("a note",)))
    assert (f"only {n} example" in warned(record).split("\n")[0]) is warns


def test_no_test_row_is_said_plainly() -> None:
    assert "There was no test example" in warned(unmeasured_record())


def test_an_interval_that_reaches_the_baseline_is_not_better_than_guessing() -> None:
    text = warned(evaluation_record())
    assert "It is not shown to be better than guessing" in text
    assert "accuracy, 11.2 to 46.9 %, reaches 18.9 %, which always answering the most frequent class" in text
    just_above = with_test(plain_record(), accuracy=Estimate(0.3, 0.19, 0.4))
    assert cautions(just_above) == ()


def test_for_a_loss_it_is_the_upper_end_that_counts() -> None:
    record = plain_record()
    result = replace(record.targets["label"], main_metric="log_loss")
    for high, warns in ((1.70, False), (1.79, True)):
        poor = replace(result, test={**result.test, "log_loss": Estimate(1.6, 1.5, high)})
        text = warned(replace(record, targets={"label": poor}))
        assert ("its log loss, 1.500 to" in text) is warns


def test_every_baseline_is_compared_with() -> None:
    record = plain_record()
    result = record.targets["label"]
    strong = {**result.baselines, "colour_histogram": {"accuracy": Estimate(0.8, 0.7, 0.9)}}
    text = warned(replace(record, targets={"label": replace(result, baselines=strong)}))
    assert "not shown to be better than colour histogram" in text
    assert "guessing" not in text
    assert baseline_title("colour_histogram") == "colour histogram"


def test_the_target_is_named_where_there_are_several() -> None:
    record = two_target_record()
    poor = replace(record.targets["colour"], test={"accuracy": Estimate(0.2, 0.1, 0.3)}, comparisons=())
    text = warned(replace(record, targets={**record.targets, "colour": poor}))
    assert "better than guessing for “colour”" in text


def test_notes_of_the_split_and_a_licence_without_commerce_are_repeated() -> None:
    assert "valid/ was used as the test" in warned(evaluation_record())
    record = chess_record()
    text = warned(replace(record, trunk=replace(record.trunk, commercial=False, licence="CC-BY-NC-4.0")))
    assert "excludes commercial use (CC-BY-NC-4.0)" in text


def test_each_target_has_its_own_count_of_test_rows() -> None:
    record = changed(two_target_record(), "colour", n_test=12)
    assert "The test has only 12 examples for “colour”, so" in warned(record)
    assert "for “piece”" not in warned(record)


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (Estimate(0.009, -0.0512, 0.0689), "not shown to be better than the classical baseline"),
        (Estimate(0.05, 0.0, 0.1), "not shown to be better than the classical baseline"),
        (Estimate(-0.09, -0.15, -0.03), "worse than the classical baseline"),
        (Estimate(0.05, 0.001, 0.1), ""),
    ],
)
def test_a_classical_baseline_that_is_as_good_is_the_first_caution(difference: Estimate, says: str) -> None:
    record = chess_record()
    first, *others = record.targets["label"].comparisons
    rival = replace(first, difference={"accuracy": difference})
    record = changed(record, comparisons=(rival, *others), n_test=20)
    assert says in cautions(record)[0]
    assert ("classical baseline" in warned(record)) is bool(says)
    assert cautions(record)[1 if says else 0].startswith("The test has only")


def test_other_rivals_are_no_caution() -> None:
    assert len(cautions(beaten_record())) == 1
    assert "frozen" not in warned(beaten_record())


def test_a_paired_comparison_with_guessing_counts_before_the_interval_alone() -> None:
    weak = changed(chess_record(), test={"accuracy": Estimate(0.25, 0.18, 0.33)})
    assert cautions(weak) == (), "row by row it is better, though the intervals touch"
    *others, guess = weak.targets["label"].comparisons
    tied = replace(guess, difference={"accuracy": Estimate(0.02, -0.03, 0.07)})
    text = warned(changed(weak, comparisons=(*others, tied)))
    assert (
        "not shown to be better than guessing: by accuracy, no difference shown: 2.0 points, −3.0 to 7.0"
        in text
    )


# --- several targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "says"),
    [
        (
            Estimate(0.08, 0.02, 0.14),
            "helped: against a model trained for it alone its accuracy is better by 8.0",
        ),
        (
            Estimate(-0.08, -0.14, -0.02),
            "harmed: against a model trained for it alone its accuracy is worse by 8.0",
        ),
        (
            Estimate(0.01, -0.02, 0.04),
            "is not shown to help or to harm: the difference in accuracy to a model trained",
        ),
    ],
)
def test_it_is_told_whether_training_together_helped(difference: Estimate, says: str) -> None:
    record = two_target_record()
    name = next(iter(record.targets))
    alone = replace(comparisons()[-1], name=ALONE, difference={"accuracy": difference})
    topic = next(
        one for one in topics(changed(record, name, comparisons=(alone,)), name) if "alone" in one.title
    )
    assert says in topic.sentences[0].replace("\u00a0", " ")
    assert ("Fit this target alone." in topic.sentences[0]) == (difference.high < 0)
    # It is not told a second time among the other models.
    words = " ".join(about_target(changed(record, name, comparisons=(alone,)), name))
    assert words.count("trained for it alone") == 1


def test_of_what_was_not_trained_alone_nothing_is_said() -> None:
    record = two_target_record()
    assert not [one for name in record.targets for one in topics(record, name) if "alone" in one.title]
