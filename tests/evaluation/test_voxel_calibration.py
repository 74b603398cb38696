"""Calibration of voxels: hand-derived temperatures and errors, and what must always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brainjax.errors import InputError
from brainjax.evaluation import (
    VoxelSample,
    apply_temperature,
    draw_voxels,
    error_detection,
    event_reliability,
    fit_voxel_temperature,
    region_reliability,
    reliability_bins,
    scale_probabilities,
)

REGIONS = {"ET": (3,), "WT": (1, 2, 3), "TC": (1, 3)}


def sample(probabilities, reference, doubts=None, case_id="case") -> VoxelSample:
    probabilities = np.asarray(probabilities, np.float32)
    return VoxelSample(
        case_id=case_id,
        probabilities=probabilities,
        reference=np.asarray(reference),
        predicted=probabilities.argmax(axis=1),
        doubts=doubts or {},
    )


def test_the_temperature_by_hand() -> None:
    """All say p = 0.9 and three of four are right: T brings 0.9 to 0.75.

    logit(0.75) = logit(0.9) / T, so T = ln 9 / ln 3 = 2. Two cases count together.
    """
    first = sample([[0.9, 0.1]] * 2, [0, 0])
    second = sample([[0.1, 0.9]] * 2, [1, 0])
    assert fit_voxel_temperature([first, second]) == pytest.approx(2.0, rel=1e-4)
    scaled = scale_probabilities(first.probabilities, 2.0)
    np.testing.assert_allclose(scaled[0], [0.75, 0.25], rtol=1e-6)
    (found,) = region_reliability([first, second], {"tumour": (1,)}, 2.0)
    # Said before: 0.1 twice (never there), 0.9 twice (once there): (2 * 0.1 + 2 * 0.4) / 4.
    assert found.before.expected_calibration_error == pytest.approx(0.25)
    # After: 0.25 twice, 0.75 twice: (2 * 0.25 + 2 * 0.25) / 4.
    assert found.after.expected_calibration_error == pytest.approx(0.25)


def test_a_region_s_probability_is_the_sum_of_its_classes() -> None:
    voxels = sample([[0.2, 0.3, 0.1, 0.4], [0.7, 0.1, 0.1, 0.1]], [3, 0])
    errors = {
        one.region: one.before.expected_calibration_error
        for one in region_reliability([voxels], REGIONS, 1.0)
    }
    assert errors == pytest.approx(
        {
            "ET": ((1 - 0.4) + 0.1) / 2,
            "WT": ((1 - 0.8) + 0.3) / 2,
            "TC": ((1 - 0.7) + 0.2) / 2,
        }
    )


def test_events_of_a_classifier_are_its_right_predictions() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 200)
    labels = rng.integers(0, 4, 200)
    bins = reliability_bins(probabilities, labels)
    again = event_reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    np.testing.assert_array_equal(bins.counts, again.counts)
    assert bins.expected_calibration_error == again.expected_calibration_error
    with pytest.raises(InputError, match="bins"):
        event_reliability(np.array([0.5]), np.array([True]), bins=0)


@given(
    logits=hnp.arrays(np.float32, (7, 4), elements=st.floats(-30, 30, width=32)),
    temperature=st.floats(0.05, 100),
)
@settings(max_examples=60, deadline=None)
def test_scaling_volumes_is_scaling_rows(logits, temperature) -> None:
    probabilities = apply_temperature(logits, 1.0).astype(np.float32)
    with np.errstate(divide="ignore"):
        expected = apply_temperature(np.log(probabilities), temperature)
    found = scale_probabilities(probabilities.reshape(7, 1, 4), temperature)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(7, 4), expected, atol=2e-5)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_a_positive_number(temperature) -> None:
    with pytest.raises(InputError, match="positive"):
        scale_probabilities(np.array([0.5, 0.5]), temperature)


def test_doubts_that_find_errors_and_doubts_that_do_not() -> None:
    probabilities = [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.7, 0.3]]
    doubts = {
        "good": np.array([0.1, 0.2, 0.9, 0.3]),  # highest where it is wrong
        "bad": np.array([0.9, 0.8, 0.1, 0.7]),
        "same": np.full(4, 0.5),
    }
    one = sample(probabilities, [0, 0, 1, 0], doubts)
    right = sample(probabilities, [0, 0, 0, 0], doubts)  # nothing to find: left out
    assert error_detection([one, right]) == {"good": 1.0, "bad": 0.0, "same": 0.5}
    assert error_detection([right]) == {}


def test_voxels_are_drawn_from_the_brain_always_the_same() -> None:
    rng = np.random.default_rng(0)
    brain = rng.random((6, 5, 4)) < 0.5
    inputs = {
        "probabilities": rng.dirichlet(np.ones(3), brain.shape).astype(np.float32),
        "reference": rng.integers(0, 3, brain.shape),
        "predicted": rng.integers(0, 3, brain.shape),
        "doubts": {"entropy": np.where(brain, 1.0, -1.0)},
    }
    drawn = draw_voxels(case_id="a", brain=brain, count=20, **inputs)
    again = draw_voxels(case_id="a", brain=brain, count=20, **inputs)
    other = draw_voxels(case_id="b", brain=brain, count=20, **inputs)
    assert drawn.probabilities.shape == (20, 3)
    np.testing.assert_array_equal(drawn.probabilities, again.probabilities)
    assert not np.array_equal(drawn.probabilities, other.probabilities)
    assert (drawn.doubts["entropy"] == 1).all()
    whole = draw_voxels(case_id="a", brain=brain, **inputs)
    np.testing.assert_array_equal(whole.reference, inputs["reference"][brain])


def test_without_voxels_there_is_no_temperature() -> None:
    empty = sample(np.zeros((0, 2)), np.zeros(0, int))
    with pytest.raises(InputError, match="found none"):
        fit_voxel_temperature([empty])
