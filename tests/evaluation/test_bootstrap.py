from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn import metrics

from brainjax.errors import InputError
from brainjax.evaluation.bootstrap import (
    PERMUTATION_STATISTICS,
    auroc_of_ranks,
    bootstrap_intervals,
    interval_numbers,
    permutation_p_value,
)
from brainjax.evaluation.classification import score_classification
from brainjax.evaluation.ranking import rank_scores, ranking_scores


def made_up(
    rng: np.random.Generator, cases: int, classes: int = 3, *, skill: float = 1.5
) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.permutation(np.arange(cases) % classes)
    logits = rng.normal(size=(cases, classes))
    logits[np.arange(cases), labels] += skill
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("ties", [False, True])
def test_weights_are_copies_of_cases(rng: np.random.Generator, ties: bool) -> None:
    scores = rng.random(25)
    scores = np.round(scores, 1) if ties else scores
    positive = rng.random(25) < 0.4
    weights = rng.integers(0, 4, (25, 6))
    auroc, average_precision = ranking_scores(rank_scores(scores), positive, weights)
    for sample, counts in enumerate(weights.T):
        rows = np.repeat(np.arange(25), counts)
        wanted = metrics.roc_auc_score(positive[rows], scores[rows])
        assert auroc[sample] == pytest.approx(wanted)
        wanted = metrics.average_precision_score(positive[rows], scores[rows])
        assert average_precision[sample] == pytest.approx(wanted)


def test_a_weighting_without_positives_or_negatives_has_no_score() -> None:
    weights = np.array([[1, 0, 1], [0, 1, 1]])
    auroc, average_precision = ranking_scores(
        rank_scores(np.array([0.9, 0.1])), np.array([True, False]), weights
    )
    np.testing.assert_array_equal(auroc, [np.nan, np.nan, 1])
    np.testing.assert_array_equal(average_precision, [1, np.nan, 1])


def test_intervals_are_those_of_a_plain_bootstrap(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 150)
    found = bootstrap_intervals(probabilities, labels, class_names=("a", "b", "c"), samples=4000)
    drawn = []
    for _ in range(600):
        rows = rng.integers(0, 150, 150)
        scores = score_classification(probabilities[rows], labels[rows], ("a", "b", "c"))
        drawn.append(scores.numbers("test"))
    assert set(found) == {
        *("accuracy", "balanced_accuracy"),
        *(f"{metric}/{name}" for metric in ("auroc", "average_precision")
          for name in ("a", "b", "c", "macro")),
    }  # fmt: skip
    for name, limits in found.items():
        values = [one[f"test/{name}"] for one in drawn]
        width = limits[1] - limits[0]
        assert width > 0.02
        np.testing.assert_allclose(limits, np.quantile(values, (0.025, 0.975)), atol=width / 7)


def test_intervals_hold_the_score_and_widen_with_confidence(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 90)
    numbers = score_classification(probabilities, labels, ("0", "1", "2")).numbers("test")
    narrow = bootstrap_intervals(probabilities, labels, samples=300, confidence=0.5)
    wide = bootstrap_intervals(probabilities, labels, samples=300, confidence=0.99)
    for name in wide:
        assert wide[name][0] < narrow[name][0] < numbers[f"test/{name}"] < narrow[name][1]
        assert narrow[name][1] < wide[name][1]


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    probabilities, labels = made_up(rng, 60_000, 2)
    truth = score_classification(probabilities, labels, ("0", "1")).numbers("test")
    covered = {"accuracy": 0, "auroc/1": 0, "average_precision/1": 0}
    for trial in range(200):
        rows = rng.integers(0, 60_000, 120)
        found = bootstrap_intervals(
            probabilities[rows], labels[rows], samples=200, confidence=0.9, seed=trial
        )
        for name in covered:
            covered[name] += found[name][0] <= truth[f"test/{name}"] <= found[name][1]
    for name, times in covered.items():  # 180 expected, standard deviation 4
        assert 164 <= times <= 194, name


def test_copies_of_a_patient_do_not_narrow_the_intervals(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 80)
    patients = [f"p{number:02}" for number in range(80)]
    alone = bootstrap_intervals(probabilities, labels, samples=400, seed=4)
    copied = bootstrap_intervals(
        np.repeat(probabilities, 9, axis=0),
        np.repeat(labels, 9),
        groups=np.repeat(patients, 9),
        samples=400,
        seed=4,
    )
    ignored = bootstrap_intervals(
        np.repeat(probabilities, 9, axis=0), np.repeat(labels, 9), samples=400, seed=4
    )
    for name in alone:
        assert copied[name] == pytest.approx(alone[name])
        assert np.ptp(ignored[name]) < 0.6 * np.ptp(copied[name])


def test_the_order_of_cases_does_not_matter_where_patients_are_known(
    rng: np.random.Generator,
) -> None:
    probabilities, labels = made_up(rng, 60)
    patients = np.array([f"p{label}{number % 7}" for number, label in enumerate(labels)])
    rows = rng.permutation(60)
    first = bootstrap_intervals(probabilities, labels, groups=patients, samples=80)
    second = bootstrap_intervals(
        probabilities[rows], labels[rows], groups=patients[rows], samples=80
    )
    assert interval_numbers(first, "") == pytest.approx(interval_numbers(second, ""))
    p = permutation_p_value(probabilities, labels, groups=patients, permutations=50)
    again = permutation_p_value(
        probabilities[rows], labels[rows], groups=patients[rows], permutations=50
    )
    assert again == p


def test_cases_without_an_id_are_drawn_one_by_one(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 40)
    alone = bootstrap_intervals(probabilities, labels, samples=50)
    assert bootstrap_intervals(probabilities, labels, groups=[""] * 40, samples=50) == alone


def test_the_seed_decides(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 40)
    first = bootstrap_intervals(probabilities, labels, samples=50, seed=1)
    assert bootstrap_intervals(probabilities, labels, samples=50, seed=1) == first
    assert bootstrap_intervals(probabilities, labels, samples=50, seed=2) != first


def test_scores_without_a_value_have_no_interval(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 40)
    found = bootstrap_intervals(probabilities, np.minimum(labels, 1), samples=60)
    for name in ("auroc/2", "average_precision/2"):
        assert all(math.isnan(limit) for limit in found[name])
    for name in ("auroc/macro", "balanced_accuracy", "average_precision/macro"):
        assert 0 < found[name][0] < found[name][1] < 1
    single = bootstrap_intervals(probabilities, np.zeros(40, int), samples=60)
    assert all(math.isnan(limit) for limit in single["auroc/macro"])
    assert single["average_precision/0"] == (1.0, 1.0)
    rare = np.zeros(40, int)
    rare[0] = 1  # in about two samples of three; the others say nothing of its AUROC
    assert not math.isnan(bootstrap_intervals(probabilities, rare, samples=60)["auroc/macro"][0])


def test_interval_numbers() -> None:
    limits = {"accuracy": (0.7, 0.8), "auroc/a/b": (0.5, math.nan)}
    numbers = interval_numbers(limits, "test")
    assert list(numbers) == [
        "test/accuracy_low",
        "test/accuracy_high",
        "test/auroc_low/a/b",
        "test/auroc_high/a/b",
    ]
    assert numbers["test/accuracy_high"] == 0.8
    assert interval_numbers({}, "val", permutation_p=0.5) == {"val/permutation_p": 0.5}


def test_auroc_of_ranks_equals_that_of_scikit_learn(rng: np.random.Generator) -> None:
    scores, positive = np.round(rng.random(30), 1), rng.random((5, 30)) < 0.4
    wanted = [metrics.roc_auc_score(row, scores) for row in positive]
    np.testing.assert_allclose(auroc_of_ranks(positive, rankdata(scores)), wanted)
    assert np.isnan(auroc_of_ranks(np.array([[True, True]]), np.array([1.0, 2.0]))).all()


@pytest.mark.parametrize("statistic", PERMUTATION_STATISTICS)
def test_p_of_good_predictions_is_the_smallest(rng: np.random.Generator, statistic: str) -> None:
    probabilities, labels = made_up(rng, 60)
    p = permutation_p_value(probabilities, labels, statistic=statistic, permutations=99)
    assert p == 1 / 100
    worst = permutation_p_value(
        probabilities, (labels + 1) % 3, statistic=statistic, permutations=99
    )
    assert worst > 0.9


@pytest.mark.parametrize(("statistic", "wins"), [("auroc macro", 1), ("accuracy", 1)])
def test_p_counts_the_permutations_that_are_as_good(statistic: str, wins: int) -> None:
    """Of the 6 orders of two labels of each kind, the observed one alone is perfect."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    p = permutation_p_value(
        probabilities, np.array([0, 0, 1, 1]), statistic=statistic, permutations=6000
    )
    assert p == pytest.approx(wins / 6, abs=0.015)


@pytest.mark.parametrize("grouped", [False, True])
def test_p_of_chance_is_uniform(grouped: bool) -> None:
    rng = np.random.default_rng(5)
    found = []
    for trial in range(200):
        of_patient = rng.permutation(np.arange(30) % 2)
        patients = np.arange(30)
        rows = rng.random((30, 1))
        if grouped:  # the slices of a patient are much alike, and patients have 1 to 8
            patients = np.repeat(patients, rng.integers(1, 9, 30))
        scores = np.clip(rows[patients] + rng.normal(0, 0.02, (len(patients), 1)), 0, 1)
        p = permutation_p_value(
            np.c_[1 - scores, scores],
            of_patient[patients],
            permutations=99,
            seed=trial,
            groups=[f"p{number}" for number in patients],
        )
        found.append(p)
    for level in (0.1, 0.25, 0.5, 0.75):
        spread = math.sqrt(level * (1 - level) / 200)
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=3.5 * spread)


def test_ignoring_patients_makes_p_too_small() -> None:
    rng = np.random.default_rng(6)
    of_patient, scores = np.arange(12) % 2, rng.random((12, 1))
    patients = np.repeat(np.arange(12), 30)
    rows = np.c_[1 - scores, scores][patients]
    labels = of_patient[patients]
    if score_classification(rows, labels, ("0", "1")).auroc[1] < 0.5:
        labels = 1 - labels
    slices = permutation_p_value(rows, labels, permutations=199)
    grouped = permutation_p_value(rows, labels, permutations=199, groups=patients)
    assert slices < 0.1 < grouped


def test_p_has_no_value_for_one_class(rng: np.random.Generator) -> None:
    probabilities, _ = made_up(rng, 10)
    labels = np.zeros(10, int)
    assert math.isnan(permutation_p_value(probabilities, labels, permutations=9))
    p = permutation_p_value(probabilities, labels, statistic="accuracy", permutations=9)
    assert p == 1.0


def test_wrong_options_are_refused(rng: np.random.Generator) -> None:
    probabilities, labels = made_up(rng, 12)
    for options, message in (
        ({"samples": 0}, "samples: expected at least 1"),
        ({"confidence": 95}, "confidence: expected a number between 0 and 1, found 95"),
        ({"class_names": ("a",)}, "class_names: expected 3 names"),
        ({"groups": ["a"]}, "groups: expected 12 patient ids, found 1"),
    ):
        with pytest.raises(InputError, match=message):
            bootstrap_intervals(probabilities, labels, **options)
    for options, message in (
        ({"statistic": "f1"}, "statistic: expected one of .*, found 'f1'"),
        ({"permutations": 0}, "permutations: expected at least 1"),
        ({"groups": ["a"] * 12}, "groups: expected one label per patient"),
    ):
        with pytest.raises(InputError, match=message):
            permutation_p_value(probabilities, labels, **options)
    for function in (bootstrap_intervals, permutation_p_value):
        with pytest.raises(InputError, match="sum to 1"):
            function(probabilities * 2, labels)
        with pytest.raises(InputError, match="labels: expected classes from 0 to 2"):
            function(probabilities, labels + 1)
