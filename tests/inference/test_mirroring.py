"""Flips, ensembles and whole volumes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.inference.ensemble import averaged_predictor
from brainjax.inference.mirroring import FLIPS, mirror_average
from brainjax.inference.whole_volume import WholeVolumeOptions, predict_whole_volume


def blur(_, volume):
    """Mean over the 3x3x3 neighbourhood: the same for a mirrored input."""
    total = jax.lax.reduce_window(volume, 0.0, jax.lax.add, (1, 3, 3, 3, 1), (1,) * 5, "SAME")
    return total / 27


def shift(_, volume):
    """Moves everything by one voxel on each axis: not the same when mirrored."""
    return jnp.roll(volume, (1, 1, 1), axis=(1, 2, 3))


def test_there_are_eight_different_flips():
    assert len(FLIPS) == len(set(FLIPS)) == 8
    assert FLIPS[0] == ()
    assert FLIPS[-1] == (1, 2, 3)


def test_mirroring_leaves_an_equivariant_function_alone(rng):
    patches = jnp.asarray(rng.normal(size=(2, 5, 6, 7, 3)), jnp.float32)
    plain = blur(None, patches)
    mirrored = mirror_average(lambda x: blur(None, x), patches)
    np.testing.assert_allclose(mirrored, plain, atol=1e-6)


def test_mirroring_averages_all_eight_flips(rng):
    patches = jnp.asarray(rng.normal(size=(1, 4, 5, 6, 1)), jnp.float32)
    mirrored = mirror_average(lambda x: shift(None, x), patches)
    expected = np.mean(
        [
            np.roll(patches, (a, b, c), axis=(1, 2, 3))
            for a in (1, -1)
            for b in (1, -1)
            for c in (1, -1)
        ],
        axis=0,
    )
    np.testing.assert_allclose(mirrored, expected, atol=1e-6)


def test_ensemble_averages_probabilities_not_parameters(rng):
    def predict(scale, patches):
        return jax.nn.softmax(patches * scale, axis=-1)

    patches = jnp.asarray(rng.normal(size=(1, 2, 2, 2, 3)), jnp.float32)
    mean = averaged_predictor(predict, [1.0, 5.0])(patches)
    np.testing.assert_allclose(mean, (predict(1.0, patches) + predict(5.0, patches)) / 2, atol=1e-6)
    assert not np.allclose(mean, predict(3.0, patches), atol=1e-3)


def test_low_precision_probabilities_are_averaged_in_float32():
    def predict(value, patches):
        return jnp.full(patches.shape, value, jnp.bfloat16)

    patches = jnp.zeros((1, 1, 1, 1, 1))
    mean = averaged_predictor(predict, [1.0, 1.0078125, 1.0], mirror=True)(patches)
    assert mean.dtype == jnp.float32
    np.testing.assert_allclose(mean, 1 + 0.0078125 / 3, rtol=1e-6)


def test_whole_volume_is_padded_at_the_end_run_once_and_cropped(rng):
    shapes = []

    def predict(scale, patches):
        shapes.append(patches.shape)
        padding_seen = jnp.abs(patches[:, :, :, 13:]).sum()
        return jax.nn.softmax(patches * scale, axis=-1) + padding_seen

    image = rng.normal(size=(16, 9, 13, 2)).astype(np.float16)
    result = predict_whole_volume(predict, [2.0, 2.0], image)
    assert shapes == [(1, 16, 16, 16, 2)]
    assert result.dtype == np.float32
    expected = jax.nn.softmax(image.astype(np.float32) * 2, axis=-1)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_whole_volume_pads_155_slices_to_160():
    def predict(_, patches):
        return jnp.full((*patches.shape[:4], 1), patches.shape[3], jnp.float32)

    result = predict_whole_volume(predict, [0.0], np.ones((8, 8, 155, 1), np.float32))
    assert result.shape == (8, 8, 155, 1)
    assert np.all(result == 160)


def test_whole_volume_with_mirroring_and_brain_crop(rng):
    image = np.zeros((20, 18, 16, 2), np.float32)
    image[3:11, 5:13, 4:12] = rng.normal(size=(8, 8, 8, 2)) + 4
    options = WholeVolumeOptions(mirror=True, crop_to_brain=True)
    seen = []
    result = predict_whole_volume(
        blur, [0.0], image, options, progress=lambda *now: seen.append(now)
    )
    np.testing.assert_allclose(
        result[3:11, 5:13, 4:12], blur(None, image[None])[0, 3:11, 5:13, 4:12], atol=1e-6
    )
    np.testing.assert_array_equal(result[0, 0, 0], [1, 0])
    assert seen == [(1, 1)]


def test_wrong_multiple_and_image_are_named():
    with pytest.raises(InputError, match="multiple"):
        WholeVolumeOptions(multiple=0)
    with pytest.raises(InputError, match=r"\[D, H, W, C\]"):
        predict_whole_volume(blur, [0.0], np.zeros((8, 8, 8), np.float32))
