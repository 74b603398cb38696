from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from brainjax.errors import InputError
from brainjax.evaluation.classification import (
    ClassificationScores,
    classification_curves,
    confusion_matrix,
    score_classification,
)
from brainjax.evaluation.probabilities import check_probabilities, number_groups

NAMES = ("glioma", "meningioma", "pituitary")


def made_up(
    seed: int, cases: int = 60, classes: int = 3, *, decimals: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities better than chance, rounded so that some tie, and labels with every class."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, cases - classes)]
    counts = rng.integers(1, 10, (cases, classes)).astype(np.float64)
    counts[np.arange(cases), labels] += 4
    probabilities = np.round(counts / counts.sum(axis=1, keepdims=True), decimals)
    probabilities[:, 0] = 1 - probabilities[:, 1:].sum(axis=1)
    return probabilities, labels


# Six cases: 3 of glioma (2 right, 1 called meningioma), 2 of meningioma (both right), 1 of
# pituitary (called glioma).
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.2, 0.5, 0.3],
        [0.1, 0.7, 0.2],
        [0.3, 0.5, 0.2],
        [0.6, 0.2, 0.2],
    ]
)
LABELS = np.array([0, 0, 0, 1, 1, 2])


def test_scores_worked_out_by_hand() -> None:
    scores = score_classification(PROBABILITIES, LABELS, NAMES)
    assert scores.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert scores.counts.tolist() == scores.support.tolist() == [3, 2, 1]
    assert scores.cases == 6
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.balanced_accuracy == pytest.approx((2 / 3 + 1 + 0) / 3)
    # Nobody predicts pituitary, which counts as 0 since there is a case of it.
    np.testing.assert_allclose(scores.precision, [2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(scores.recall, [2 / 3, 1, 0])
    np.testing.assert_allclose(scores.f1, [2 / 3, 4 / 5, 0])
    assert scores.macro("precision") == pytest.approx(4 / 9)
    assert scores.weighted("f1") == pytest.approx((3 * 2 / 3 + 2 * 4 / 5) / 6)
    # Glioma: .8 beats 3, .6 beats 2 and ties with 1, .2 beats 1, of 9 pairs.
    # Meningioma: .7 beats 4; .5 beats 3 and ties with 1; of 8. Pituitary: .2 beats 2, ties 2, of 5.
    np.testing.assert_allclose(scores.auroc, [6.5 / 9, 7.5 / 8, 3 / 5])
    # Glioma, thresholds .8 (1 of 1), .6 (2 of 3), .2 (3 of 5): each gains a third of recall.
    # Meningioma .7 (1 of 1), .5 (2 of 3). Pituitary .2 (1 of 4).
    expected = [(1 + 2 / 3 + 3 / 5) / 3, (1 + 2 / 3) / 2, 1 / 4]
    np.testing.assert_allclose(scores.average_precision, expected)
    truths = [0.8, 0.6, 0.2, 0.7, 0.5, 0.2]
    assert scores.log_loss == pytest.approx(-sum(math.log(p) for p in truths) / 6)
    squares = [0.06, 0.26, 0.64 + 0.25 + 0.09, 0.14, 0.09 + 0.25 + 0.04, 0.36 + 0.04 + 0.64]
    assert scores.brier == pytest.approx(sum(squares) / 6)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_equal_those_of_scikit_learn(classes: int, dtype: type) -> None:
    probabilities, labels = made_up(classes, 200, classes)
    probabilities = probabilities.astype(dtype)
    scores = score_classification(probabilities, labels, [f"c{k}" for k in range(classes)])
    predicted = probabilities.argmax(axis=1)
    assert 0.5 < scores.accuracy < 1
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    balanced = metrics.balanced_accuracy_score(labels, predicted)
    assert scores.balanced_accuracy == pytest.approx(balanced)
    assert np.array_equal(scores.confusion, metrics.confusion_matrix(labels, predicted))
    for average in (None, "macro", "weighted"):
        wanted = metrics.precision_recall_fscore_support(labels, predicted, average=average)[:3]
        for name, value in zip(("precision", "recall", "f1"), wanted, strict=True):
            found = getattr(scores, name) if average is None else getattr(scores, average)(name)
            np.testing.assert_allclose(found, value)
    for k in range(classes):
        area = metrics.roc_auc_score(labels == k, probabilities[:, k])
        mean = metrics.average_precision_score(labels == k, probabilities[:, k])
        assert scores.auroc[k] == pytest.approx(area)
        assert scores.average_precision[k] == pytest.approx(mean)
    assert scores.macro("auroc") == pytest.approx(scores.auroc.mean())
    assert scores.log_loss == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-5)


def test_numbers_have_flat_names() -> None:
    scores = score_classification(PROBABILITIES, LABELS, NAMES)
    numbers = scores.numbers("test")
    assert all(type(value) is float for value in numbers.values())
    assert numbers["test/accuracy"] == scores.accuracy
    assert numbers["test/recall/meningioma"] == 1.0
    assert numbers["test/recall/macro"] == numbers["test/balanced_accuracy"]
    assert numbers["test/recall/weighted"] == pytest.approx(numbers["test/accuracy"])
    assert numbers["test/auroc/glioma"] == scores.auroc[0]
    assert (numbers["test/cases"], numbers["test/cases/glioma"]) == (6.0, 3.0)
    assert numbers["test/ece"] == scores.ece
    expected = {"test/" + name for name in ("accuracy", "balanced_accuracy", "log_loss", "brier")}
    expected |= {"test/ece", "test/cases"} | {f"test/cases/{name}" for name in NAMES}
    for metric in ("precision", "recall", "f1", "auroc", "average_precision"):
        expected |= {f"test/{metric}/{name}" for name in (*NAMES, "macro")}
    expected |= {f"test/{metric}/weighted" for metric in ("precision", "recall", "f1")}
    assert set(numbers) == expected


def test_a_class_without_cases_has_no_value_and_is_in_no_average() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1]])
    scores = score_classification(probabilities, np.array([0, 1, 0]), NAMES)
    for values in (scores.precision, scores.recall, scores.f1, scores.auroc):
        assert np.isnan(values).tolist() == [False, False, True]
    assert math.isnan(scores.average_precision[2])
    assert scores.balanced_accuracy == scores.macro("recall") == pytest.approx(0.75)
    assert scores.macro("auroc") == pytest.approx(1.0)
    assert math.isnan(scores.numbers("test")["test/auroc/pituitary"])
    # Predicted although never there: its precision is 0, and the averages leave it out.
    wrong = score_classification(probabilities[:, ::-1], np.array([0, 1, 0]), NAMES)
    assert wrong.precision[2] == 0
    assert math.isnan(wrong.recall[2])
    assert wrong.macro("precision") == pytest.approx((0 + 0.5) / 2)


def test_one_class_only_can_be_scored() -> None:
    scores = score_classification(PROBABILITIES[:2], np.array([0, 0]), NAMES)
    assert scores.accuracy == scores.balanced_accuracy == 1.0
    assert np.isnan(scores.auroc).all()
    assert math.isnan(scores.macro("auroc"))
    assert scores.average_precision[0] == 1.0


def test_a_probability_of_zero_has_a_finite_log_loss() -> None:
    for dtype, resolution in ((np.float32, 2**-23), (np.float64, 2**-52)):
        sure = np.array([[1.0, 0.0]], dtype)
        scores = score_classification(sure, np.array([1]), ("no", "yes"))
        assert scores.log_loss == pytest.approx(-math.log(resolution))


def same(one: ClassificationScores, other: ClassificationScores) -> None:
    for field in dataclasses.fields(ClassificationScores):
        if field.name != "class_names":
            found, wanted = getattr(one, field.name), getattr(other, field.name)
            np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12, err_msg=field.name)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cases=st.integers(3, 40))
def test_the_order_of_cases_and_of_classes_does_not_matter(seed: int, cases: int) -> None:
    probabilities, labels = made_up(seed, cases, decimals=1)
    # Where two classes are equally probable the first one wins, which their order decides.
    highest = probabilities.max(axis=1, keepdims=True)
    alone = np.sum(np.isclose(probabilities, highest), axis=1) == 1
    probabilities, labels = probabilities[alone], labels[alone]
    if not len(labels):
        return
    scores = score_classification(probabilities, labels, NAMES)
    rows = np.random.default_rng(seed).permutation(len(labels))
    same(scores, score_classification(probabilities[rows], labels[rows], NAMES))
    columns = np.array([2, 0, 1])
    turned = score_classification(probabilities[:, columns], np.argsort(columns)[labels], NAMES)
    np.testing.assert_allclose(turned.auroc, scores.auroc[columns])
    np.testing.assert_allclose(turned.f1, scores.f1[columns])
    assert turned.accuracy == scores.accuracy
    for value in (scores.accuracy, scores.ece, scores.brier / 2, *scores.recall, *scores.auroc):
        assert math.isnan(value) or 0 <= value <= 1 + 1e-12


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_auroc_ranks_and_knows_the_opposite(seed: int) -> None:
    probabilities, labels = made_up(seed, 30, 2)
    scores = score_classification(probabilities, labels, ("no", "yes"))
    assert scores.auroc[0] == pytest.approx(scores.auroc[1])
    opposite = score_classification(probabilities[:, ::-1], labels, ("no", "yes"))
    assert opposite.auroc[0] == pytest.approx(1 - scores.auroc[0])
    halves = np.stack([1 - probabilities[:, 1] / 2, probabilities[:, 1] / 2], axis=1)
    assert score_classification(halves, labels, ("no", "yes")).auroc[1] == scores.auroc[1]


def test_curves_equal_those_of_scikit_learn_and_enclose_the_scores() -> None:
    probabilities, labels = made_up(5, 80)
    scores = score_classification(probabilities, labels, NAMES)
    curves = classification_curves(probabilities, labels, NAMES)
    assert list(curves) == list(NAMES)
    for k, curve in enumerate(curves.values()):
        column = probabilities[:, k]
        fpr, tpr, thresholds = metrics.roc_curve(labels == k, column, drop_intermediate=False)
        np.testing.assert_allclose(curve.fpr, fpr)
        np.testing.assert_allclose(curve.tpr, tpr)
        np.testing.assert_allclose(curve.thresholds, thresholds)
        precision, recall, _ = metrics.precision_recall_curve(labels == k, column)
        np.testing.assert_allclose(curve.precision, precision[::-1])
        np.testing.assert_allclose(curve.recall, recall[::-1])
        assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(scores.auroc[k])
        area = np.sum(np.diff(curve.recall) * curve.precision[1:])
        assert area == pytest.approx(scores.average_precision[k])


def test_curves_of_a_class_without_cases() -> None:
    curves = classification_curves(PROBABILITIES[:5], LABELS[:5], NAMES)
    assert np.isnan(curves["pituitary"].tpr).all()
    assert curves["pituitary"].fpr[[0, -1]].tolist() == [0.0, 1.0]
    assert np.isnan(classification_curves(PROBABILITIES[:1], LABELS[:1], NAMES)["glioma"].fpr).all()


def test_confusion_matrix_has_a_row_per_true_class() -> None:
    predicted, labels = np.array([1, 1, 0], np.uint8), np.array([0, 0, 1], np.uint8)
    assert confusion_matrix(predicted, labels, 3).tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (np.array([[0.5, np.nan, 0.5]] * 6), "expected finite numbers, found .* in row 0"),
        (np.array([[2.0, -1.0, 0.0]] * 6), "sum to 1, found .* in row 0; apply softmax"),
        (PROBABILITIES * 1.01, "sum to 1, found .* in row 0; apply softmax"),
        (PROBABILITIES[0], r"expected floats \[cases, classes\], found float64 \(3,\)"),
        (np.eye(3, dtype=int)[LABELS], "expected floats .* found int64"),
        (PROBABILITIES[:0], "at least one case and one class"),
        (PROBABILITIES[:4], "expected 4 integers, one per case"),
    ],
)
def test_wrong_probabilities_are_refused(probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_classification(probabilities, LABELS, NAMES)
    with pytest.raises(InputError, match=message):
        classification_curves(probabilities, LABELS, NAMES)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 0, 0, 1, 1, 3]), "from 0 to 2, found 3 in row 5"),
        (np.array([0, -1, 0, 1, 1, 2]), "from 0 to 2, found -1 in row 1; leave unlabelled"),
        (LABELS.astype(float), "expected 6 integers, one per case, found float64"),
        (LABELS[None], "expected 6 integers"),
    ],
)
def test_wrong_labels_are_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_classification(PROBABILITIES, labels, NAMES)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b"), "expected 3 names, found 2"),
        (("a", "b", "a"), "expected names that differ"),
        (("a", "b", "macro"), "'macro' is the name of an average"),
    ],
)
def test_wrong_class_names_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        score_classification(PROBABILITIES, LABELS, names)


def test_rounding_errors_of_a_softmax_are_borne() -> None:
    almost = np.array([[1.0 + 1e-7, -1e-7], [0.5004, 0.5]])
    checked = check_probabilities(almost)
    assert checked.tolist() == [[1.0, 0.0], [0.5004, 0.5]]


def test_cases_without_a_patient_id_are_patients_of_their_own() -> None:
    assert number_groups(None, 3).tolist() == [0, 1, 2]
    assert number_groups(["", "", ""], 3).tolist() == [0, 1, 2]
    assert number_groups(np.array(["p2", "p1", "p2"]), 3).tolist() == [1, 0, 1]
    with pytest.raises(InputError, match="expected 3 patient ids, found 2"):
        number_groups(["a", "b"], 3)
