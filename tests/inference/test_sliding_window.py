"""Sliding window: coverage, weights, batching, padding and compilation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.inference.sliding_window import (
    SlidingWindowOptions,
    axis_weights,
    estimate_cost,
    predict_volume,
    window_starts,
)


def pointwise(scale, patches):
    """A softmax of two channels at every voxel: no window can change it."""
    return jax.nn.softmax(patches * scale, axis=-1)


def position_dependent(scale, patches):
    """Probabilities that depend on where in its patch a voxel lies."""
    ramp = jnp.arange(patches.shape[1] * patches.shape[2] * patches.shape[3], dtype=jnp.float32)
    ramp = ramp.reshape(1, *patches.shape[1:4], 1) / ramp.size
    return jax.nn.softmax(patches * scale + jnp.concatenate([ramp, -ramp], axis=-1), axis=-1)


def options(**overrides):
    return SlidingWindowOptions(**{"patch_shape": (8, 8, 8), "crop_to_brain": False, **overrides})


@pytest.mark.parametrize(
    ("shape", "overlap"),
    [
        ((17, 9, 23), 0.5),
        ((8, 8, 8), 0.5),
        ((21, 13, 8), 0.0),
        ((11, 30, 19), 0.75),
        ((9, 8, 10), 0.25),
    ],
)
def test_pointwise_function_is_reproduced(rng, shape, overlap):
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    result = predict_volume(pointwise, [2.0], image, options(overlap=overlap))
    assert result.shape == (*shape, 2)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, pointwise(2.0, image), atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5, 7), (5, 20, 8), (1, 1, 1)])
def test_volume_smaller_than_the_patch_is_padded_with_zeros(rng, shape):
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    result = predict_volume(pointwise, [1.0], image, options())
    np.testing.assert_allclose(result, pointwise(1.0, image), atol=1e-6)


def test_padding_lies_on_both_sides():
    def where_signal_is(_, patches):
        index = jnp.arange(8, dtype=jnp.float32)[None, :, None, None, None]
        return jnp.broadcast_to(index, (*patches.shape[:4], 1))

    image = np.ones((4, 8, 8, 1), np.float32)
    result = predict_volume(where_signal_is, [0.0], image, options())
    np.testing.assert_array_equal(result[:, 0, 0, 0], [2, 3, 4, 5])


@pytest.mark.parametrize("patch_batch", [2, 4, 5])
def test_patch_batch_does_not_change_the_result(rng, patch_batch):
    image = rng.normal(size=(19, 8, 27, 2)).astype(np.float32)
    one = predict_volume(position_dependent, [1.0], image, options(patch_batch=1))
    many = predict_volume(position_dependent, [1.0], image, options(patch_batch=patch_batch))
    np.testing.assert_allclose(many, one, atol=1e-6)
    np.testing.assert_allclose(one.sum(-1), 1, atol=1e-6)


def test_equals_a_plain_weighted_mean(rng):
    image = rng.normal(size=(13, 9, 8, 2)).astype(np.float32)
    result = predict_volume(position_dependent, [1.0], image, options(overlap=0.5))

    offset = np.arange(8) - 3.5
    gaussian = np.exp(-0.5 * offset**2)  # sigma: one voxel, an eighth of the patch
    weight = gaussian[:, None, None] * gaussian[:, None] * gaussian
    total, weights = np.zeros(image.shape), np.zeros((*image.shape[:3], 1))
    # 5 voxels beyond the patch at a step of at most 4 take three windows; 1 takes two.
    for i in (0, 2, 5):
        for j in (0, 1):
            patch = image[i : i + 8, j : j + 8]
            total[i : i + 8, j : j + 8] += weight[..., None] * np.asarray(
                position_dependent(1.0, patch[None])[0]
            )
            weights[i : i + 8, j : j + 8] += weight[..., None]
    np.testing.assert_allclose(result, total / weights, atol=1e-6)


def test_float16_images_and_negative_values(rng):
    image = rng.normal(size=(10, 9, 8, 2)).astype(np.float16)
    result = predict_volume(pointwise, [1.0], image, options())
    np.testing.assert_allclose(result, pointwise(1.0, image.astype(np.float32)), atol=1e-6)


def test_ensemble_is_the_mean_of_its_members(rng):
    image = rng.normal(size=(12, 8, 9, 2)).astype(np.float32)
    members = [1.0, 3.0, -0.5]
    single = [predict_volume(position_dependent, [each], image, options()) for each in members]
    together = predict_volume(position_dependent, members, image, options())
    np.testing.assert_allclose(together, np.mean(single, axis=0), atol=1e-6)
    assert np.abs(single[0] - single[1]).max() > 0.1


def test_network_is_traced_once_per_patch_shape(rng):
    traces = []

    def counted(variables, patches):
        traces.append(patches.shape)
        return jax.nn.softmax(patches @ variables["kernel"])

    checkpoints = [
        {"kernel": rng.normal(size=(2, 3)).astype(np.float32)},
        {"kernel": jnp.ones((2, 3))},
    ]
    for shape in [(8, 8, 8), (13, 9, 21), (5, 40, 11), (30, 8, 8)]:
        image = rng.normal(size=(*shape, 2)).astype(np.float32)
        predict_volume(counted, checkpoints, image, options(patch_batch=3, mirror=True))
    assert traces == [(3, 8, 8, 8, 2)]


def test_crop_to_brain_forces_background_outside_and_agrees_inside(rng):
    image = np.zeros((30, 25, 21, 2), np.float32)
    image[6:20, 3:15, 9:18] = rng.normal(size=(14, 12, 9, 2)) + 5
    whole = predict_volume(pointwise, [1.0], image, options())
    cropped = predict_volume(pointwise, [1.0], image, options(crop_to_brain=True))
    np.testing.assert_allclose(cropped[6:20, 3:15, 9:18], whole[6:20, 3:15, 9:18], atol=1e-6)
    outside = np.ones(image.shape[:3], bool)
    outside[6:20, 3:15, 9:18] = False
    np.testing.assert_array_equal(cropped[outside], np.tile([1.0, 0.0], (outside.sum(), 1)))
    np.testing.assert_allclose(whole[outside], 0.5, atol=1e-6)


def test_an_empty_volume_is_predicted_whole():
    image = np.zeros((9, 8, 8, 2), np.float32)
    result = predict_volume(pointwise, [1.0], image, options(crop_to_brain=True))
    np.testing.assert_allclose(result, 0.5, atol=1e-6)


@pytest.mark.parametrize("size", [8, 9, 15, 16, 17, 55, 155])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.9])
def test_windows_cover_the_axis_evenly_and_weights_sum_to_one(size, overlap):
    starts = window_starts(size, 8, overlap)
    steps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] == size - 8
    assert len(set(starts)) == len(starts)
    if len(starts) > 1:
        assert steps.max() <= np.ceil(8 * (1 - overlap))
        assert steps.max() - steps.min() <= 1
    weights = axis_weights(starts, size, 8, 0.125)
    total = np.zeros(size)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + 8] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert weights.dtype == np.float32


def test_weights_survive_a_large_patch():
    weights = axis_weights((0, 56, 112), 240, 128, 0.125)
    assert weights[0][0] == 1  # only the first window covers the first voxel
    assert np.all(weights > 0)
    assert weights[1].argmax() in (63, 64)


def test_cost_counts_windows_flips_checkpoints_and_filling():
    cost = estimate_cost(
        (240, 240, 155),
        SlidingWindowOptions(patch_shape=(128, 128, 128), patch_batch=4, mirror=True),
        channels=4,
        classes=4,
        checkpoints=2,
    )
    assert cost.windows == 3 * 3 * 2
    assert cost.network_patches == 20 * 8 * 2
    buffers = 240 * 240 * 160 * 8 + 2 * 4 * 128**3 * 8 + 240 * 240 * 155 * 4
    assert cost.memory_bytes == 4 * buffers
    assert "18 windows" in str(cost)


def test_progress_ends_at_the_number_of_windows(rng):
    seen = []
    image = rng.normal(size=(17, 8, 8, 2)).astype(np.float32)
    predict_volume(
        pointwise, [1.0], image, options(patch_batch=3), progress=lambda *now: seen.append(now)
    )
    assert seen == [(3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"patch_shape": (8, 0, 8)}, "patch_shape"),
        ({"patch_shape": (8, 8)}, "patch_shape"),
        ({"overlap": 1.0}, "overlap"),
        ({"overlap": -0.1}, "overlap"),
        ({"patch_batch": -1}, "patch_batch"),
        ({"sigma": 0.0}, "sigma"),
    ],
)
def test_wrong_options_are_named(change, named):
    with pytest.raises(InputError, match=named) as error:
        options(**change)
    assert "\n" not in str(error.value)


def test_wrong_image_and_missing_checkpoint_are_named():
    with pytest.raises(InputError, match=r"\[D, H, W, C\]"):
        predict_volume(pointwise, [1.0], np.zeros((8, 8, 8), np.float32), options())
    with pytest.raises(InputError, match="at least one checkpoint"):
        predict_volume(pointwise, [], np.zeros((8, 8, 8, 2), np.float32), options())
