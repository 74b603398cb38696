"""Shares of confidence by hand."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.evaluation import confidence_shares


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_border_belongs_to_the_interval_above(dtype):
    values = np.array([0.0, 0.05, 0.1, 0.5, 0.89, 0.9, 1.0, 1.0], dtype)
    np.testing.assert_array_equal(confidence_shares(values) * 8, [2, 1, 2, 3])


def test_rounding_outside_zero_and_one_counts_at_the_ends():
    np.testing.assert_array_equal(
        confidence_shares(np.array([-1e-7, 1 + 1e-7]), (0, 0.5, 1)), [0.5, 0.5]
    )


def test_any_shape_and_edges_sum_to_one():
    values = np.random.default_rng(0).uniform(size=(3, 4, 5))
    shares = confidence_shares(values, np.linspace(0, 1, 11))
    assert shares.shape == (10,)
    assert shares.sum() == pytest.approx(1)


def test_no_probability_is_nan():
    assert np.isnan(confidence_shares(np.zeros(0))).all()
