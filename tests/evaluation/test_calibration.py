from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainjax.errors import InputError
from brainjax.evaluation.calibration import (
    MAX_TEMPERATURE,
    apply_temperature,
    expected_calibration_error,
    fit_temperature,
    reliability_bins,
)
from brainjax.evaluation.classification import score_classification


def two(*confidences: float) -> np.ndarray:
    """Probabilities of two classes, the first being predicted."""
    return np.array([[one, 1 - one] for one in confidences])


def test_ece_worked_out_by_hand() -> None:
    probabilities = two(0.55, 0.65, 0.85, 0.95, 0.95)
    labels = np.array([1, 0, 0, 0, 1])
    # Bins of a fifth: .55 alone and wrong, .65 alone and right, two of the other three right.
    bins = reliability_bins(probabilities, labels, 5)
    assert bins.counts.tolist() == [0, 0, 1, 1, 3]
    np.testing.assert_allclose(bins.edges, [0, 0.2, 0.4, 0.6, 0.8, 1])
    np.testing.assert_allclose(bins.confidence, [np.nan, np.nan, 0.55, 0.65, 2.75 / 3])
    np.testing.assert_allclose(bins.accuracy, [np.nan, np.nan, 0, 1, 2 / 3])
    wanted = (0.55 + 0.35 + 3 * (2.75 / 3 - 2 / 3)) / 5
    assert expected_calibration_error(probabilities, labels, 5) == pytest.approx(wanted)
    assert bins.expected_calibration_error == pytest.approx(wanted)
    # In one bin only the means count: 3.95 / 5 against 3 / 5.
    assert expected_calibration_error(probabilities, labels, 1) == pytest.approx(0.19)


def test_bins_hold_their_upper_limits() -> None:
    bins = reliability_bins(two(1.0, 0.75, 0.5), np.array([0, 0, 0]), 4)
    assert bins.counts.tolist() == [0, 1, 1, 1]


def test_fifteen_bins_are_the_default() -> None:
    assert len(reliability_bins(two(0.9), np.array([0])).counts) == 15
    probabilities, labels = two(0.6, 0.7, 0.7, 0.9), np.array([0, 1, 0, 0])
    wanted = expected_calibration_error(probabilities, labels, 15)
    assert score_classification(probabilities, labels, ("a", "b")).ece == pytest.approx(wanted)


def test_ece_of_honest_probabilities_is_small_and_of_others_is_not(
    rng: np.random.Generator,
) -> None:
    confidence = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > confidence).astype(int)
    assert expected_calibration_error(np.c_[confidence, 1 - confidence], labels) < 0.02
    sure = np.c_[np.ones(20_000), np.zeros(20_000)]
    assert expected_calibration_error(sure, labels) == pytest.approx(0.25, abs=0.01)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), bins=st.integers(1, 20))
def test_ece_does_not_depend_on_the_order_and_is_at_least_that_of_one_bin(
    seed: int, bins: int
) -> None:
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet((1, 1, 1), 30), rng.integers(0, 3, 30)
    error = expected_calibration_error(probabilities, labels, bins)
    order = rng.permutation(30)
    again = expected_calibration_error(probabilities[order], labels[order], bins)
    assert again == pytest.approx(error)
    assert error >= expected_calibration_error(probabilities, labels, 1) - 1e-12
    assert 0 <= error <= 1


def drawn(
    rng: np.random.Generator, cases: int, classes: int, spread: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax."""
    logits = rng.normal(0, spread, (cases, classes))
    chances = np.cumsum(apply_temperature(logits, 1.0), axis=1)
    return logits, (rng.random((cases, 1)) > chances[:, :-1]).sum(axis=1)


@pytest.mark.parametrize("known", [0.4, 1.0, 3.0, 12.0])
def test_a_known_temperature_is_found(rng: np.random.Generator, known: float) -> None:
    logits, labels = drawn(rng, 20_000, 4)
    assert fit_temperature(logits * known, labels) == pytest.approx(known, rel=0.04)
    shifted = logits * known + rng.normal(0, 5, (20_000, 1))  # a softmax does not see it
    found = fit_temperature(shifted, labels)
    assert found == pytest.approx(fit_temperature(logits * known, labels), rel=1e-4)
    log_probabilities = np.log(apply_temperature(logits * known, 1.0))
    assert fit_temperature(log_probabilities, labels) == pytest.approx(found, rel=1e-3)


def test_the_temperature_found_is_the_best_and_mends_the_calibration(
    rng: np.random.Generator,
) -> None:
    logits, labels = drawn(rng, 3000, 3)
    logits = (logits * 4).astype(np.float32)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        probabilities = apply_temperature(logits, temperature)
        return score_classification(probabilities, labels, ("a", "b", "c")).log_loss

    assert loss(found) < min(loss(found * 1.02), loss(found / 1.02))
    before = expected_calibration_error(apply_temperature(logits, 1.0), labels)
    after = expected_calibration_error(apply_temperature(logits, found), labels)
    assert after < before / 3


def test_data_that_say_nothing_leave_the_temperature_at_1() -> None:
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    assert fit_temperature(logits, np.array([0, 1])) == 1.0  # all right
    assert fit_temperature(logits[:1], np.array([0])) == 1.0  # all right, one class
    assert fit_temperature(np.zeros((4, 3)), np.array([0, 1, 2, 0])) == 1.0  # no differences
    assert fit_temperature(np.zeros((4, 1)), np.zeros(4, int)) == 1.0  # nothing to choose


def test_one_class_among_wrong_and_right_predictions() -> None:
    # Margins of 4, 4 and -4: the best probability of being right is 2/3, so T = 4 / log 2.
    logits = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    found = fit_temperature(logits, np.array([0, 0, 0]))
    assert found == pytest.approx(4 / np.log(2), rel=1e-5)


def test_worse_than_chance_becomes_as_unsure_as_it_can() -> None:
    logits = np.array([[4.0, 0.0], [0.0, 4.0]])
    found = fit_temperature(logits, np.array([1, 0]))
    assert found == pytest.approx(MAX_TEMPERATURE, rel=1e-3)


def test_log_of_a_probability_of_zero_can_be_used() -> None:
    logits = np.array([[0.0, -np.inf], [0.0, -np.inf], [0.0, -np.inf]])
    found = fit_temperature(logits, np.array([0, 0, 1]))
    assert 1 < found < MAX_TEMPERATURE + 1
    np.testing.assert_array_equal(apply_temperature(logits, 1.0) > 0.5, np.isfinite(logits))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), temperature=st.floats(0.1, 50))
def test_temperature_keeps_the_order_of_classes(seed: int, temperature: float) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (10, 4))
    probabilities = apply_temperature(logits, temperature)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.array_equal(probabilities.argmax(axis=1), logits.argmax(axis=1))
    sharper = apply_temperature(logits, temperature / 2).max(axis=1)
    assert np.all(sharper >= probabilities.max(axis=1))


def test_wrong_input_is_refused() -> None:
    good, labels = np.array([[1.0, 0.0]]), np.array([0])
    for logits, message in (
        (np.array([[np.nan, 0.0]]), "expected finite numbers, found .* in row 0"),
        (np.array([[np.inf, 0.0]]), "expected finite numbers"),
        (np.array([[-np.inf, -np.inf]]), "expected finite numbers"),
        (np.array([1.0, 0.0]), r"expected floats \[cases, classes\]"),
        (np.array([[1, 0]]), "expected floats .* found int64"),
        (good[:0], "expected floats"),
    ):
        with pytest.raises(InputError, match=message):
            fit_temperature(logits, labels)
        with pytest.raises(InputError, match=message):
            apply_temperature(logits, 1.0)
    with pytest.raises(InputError, match="labels: expected classes from 0 to 1, found 2"):
        fit_temperature(good, np.array([2]))
    for temperature in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="temperature: expected a positive number"):
            apply_temperature(good, temperature)
    with pytest.raises(InputError, match="bins: expected at least 1"):
        reliability_bins(good, labels, 0)
    with pytest.raises(InputError, match="sum to 1"):
        expected_calibration_error(good * 2, labels)
