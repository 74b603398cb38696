"""Uncertainty: bounds, worked numbers, and the same prediction as without it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brainjax.inference import (
    SlidingWindowOptions,
    WholeVolumeOptions,
    predict_volume,
    predict_whole_volume,
    predict_with_uncertainty,
    uncertainty,
    voxel_entropy,
)


def network(variables, patches):
    """Sees the places of voxels, so that mirror images differ: a weighted running sum."""
    logits = jnp.cumsum(patches @ variables, axis=1) + jnp.cumsum(patches @ variables, axis=3)
    return jax.nn.softmax(logits, axis=-1)


@pytest.fixture
def case(rng):
    image = rng.normal(size=(9, 8, 10, 2)).astype(np.float32)
    image[:1] = 0
    members = [rng.normal(size=(2, 3)).astype(np.float32) for _ in range(2)]
    return image, members


WINDOW = SlidingWindowOptions(patch_shape=(6, 6, 6), patch_batch=1, crop_to_brain=True)
WHOLE = WholeVolumeOptions(multiple=4)


@pytest.mark.parametrize("options", [WINDOW, WHOLE], ids=["window", "whole"])
@pytest.mark.parametrize("mirror", [False, True], ids=["plain", "mirrored"])
@pytest.mark.parametrize("checkpoints", [1, 2])
def test_the_prediction_is_that_without_uncertainty(case, options, mirror, checkpoints) -> None:
    image, members = case
    options = type(options)(**{**vars(options), "mirror": mirror})
    predict = predict_volume if isinstance(options, SlidingWindowOptions) else predict_whole_volume
    expected = predict(network, members[:checkpoints], image, options)
    told: list[tuple[int, int]] = []
    found, doubt = predict_with_uncertainty(
        network, members[:checkpoints], image, options, progress=lambda *of: told.append(of)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(doubt.entropy, voxel_entropy(found), atol=1e-6)
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    if not mirror and checkpoints == 1:
        assert doubt.mutual_information is None
        return
    information = doubt.mutual_information
    assert information is not None
    assert (information >= 0).all()
    assert (information <= doubt.entropy + 1e-6).all()
    assert information.max() > 0.01


def test_mutual_information_by_hand() -> None:
    """Makers that are sure of different classes: one bit of entropy, all of it disagreement."""
    image = np.ones((4, 4, 4, 1), np.float32)
    sure = [np.array([[60.0, -60.0]], np.float32), np.array([[-60.0, 60.0]], np.float32)]
    predict = lambda weights, patches: jax.nn.softmax(patches @ weights, axis=-1)  # noqa: E731
    options = WholeVolumeOptions(multiple=1)
    _, doubt = predict_with_uncertainty(predict, sure, image, options)
    np.testing.assert_allclose(doubt.entropy, 1, atol=1e-6)
    np.testing.assert_allclose(doubt.mutual_information, 1, atol=1e-6)
    _, agreed = predict_with_uncertainty(predict, [0 * sure[0]] * 2, image, options)
    np.testing.assert_allclose(agreed.entropy, 1, atol=1e-6)  # unsure, but of one mind
    np.testing.assert_allclose(agreed.mutual_information, 0, atol=1e-6)


def test_entropy_by_hand() -> None:
    probabilities = np.array([[0.25] * 4, [1, 0, 0, 0], [0.5, 0.5, 0, 0]], np.float32)
    np.testing.assert_allclose(voxel_entropy(probabilities), [1, 0, 0.5], atol=1e-6)


@given(
    weights=hnp.arrays(
        np.float32, st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(2, 5)),
        elements=st.floats(0, 1, width=32),
    )
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_bounds_hold_for_any_makers(weights) -> None:
    """0 <= information <= entropy <= 1, by Jensen's inequality."""
    makers = weights + np.float32(1e-6)
    makers /= makers.sum(axis=-1, keepdims=True)  # [makers, voxels, K]
    mean = makers.mean(axis=0)
    entropy = voxel_entropy(mean)
    information = entropy - voxel_entropy(makers).mean(axis=0)
    assert (entropy >= 0).all()
    assert (entropy <= 1).all()
    assert (information >= -1e-5).all()
    assert math.isfinite(float(information.sum()))


def test_mirror_images_share_one_program(case) -> None:
    assert uncertainty._flipped(network) is uncertainty._flipped(network)
