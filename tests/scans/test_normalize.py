"""The z-score over the brain, as the paper defines it."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.scans.normalize import brain_box, brain_mask, zscore


def head(rng: np.random.Generator) -> np.ndarray:
    """Background 0 around a brain with four intensities, some of them negative."""
    image = np.zeros((8, 9, 10, 4), np.float32)
    image[2:7, 3:8, 1:9] = rng.normal((900, 500, 40, 300), (50, 90, 30, 20), (5, 5, 8, 4))
    return image


def test_brain_has_mean_0_and_deviation_1_and_background_is_0(rng: np.random.Generator) -> None:
    image = head(rng)
    result = zscore(image)
    brain = image.sum(-1) > 0
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[brain].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(result[brain].std(0), 1, atol=1e-5)
    assert not result[~brain].any()


def test_equals_the_definition(rng: np.random.Generator) -> None:
    image = head(rng)
    brain = image.sum(-1) > 0
    expected = np.zeros(image.shape)
    for channel in range(4):
        values = image[..., channel][brain].astype(np.float64)
        expected[..., channel][brain] = (values - values.mean()) / values.std()
    np.testing.assert_allclose(zscore(image), expected, atol=1e-5)


def test_a_voxel_is_brain_by_the_sum_of_its_modalities() -> None:
    image = np.zeros((4, 1, 1, 2), np.float32)
    image[:, 0, 0, 0] = (5, 5, 0, 9)
    image[:, 0, 0, 1] = (-5, -4, 0, 1)
    np.testing.assert_array_equal(brain_mask(image).ravel(), [False, True, False, True])
    assert not zscore(image)[0].any()


def test_the_argument_stays_as_it_was(rng: np.random.Generator) -> None:
    image = head(rng)
    before = image.copy()
    zscore(image)
    np.testing.assert_array_equal(image, before)


def test_integers_and_large_offsets(rng: np.random.Generator) -> None:
    image = rng.integers(1, 1000, (6, 6, 6, 2)).astype(np.int16)
    np.testing.assert_allclose(zscore(image), zscore(image.astype(np.float32)), atol=1e-6)
    shifted = image.astype(np.float32) + 60000
    np.testing.assert_allclose(zscore(shifted), zscore(image), atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.1])
def test_a_constant_modality_is_named(rng: np.random.Generator, value: float) -> None:
    image = head(rng)
    image[..., 2] = np.where(brain_mask(image), value, 0)
    with pytest.raises(InputError, match=rf"case7: modality t1 has the one value {value:g}"):
        zscore(image, modalities=("flair", "t1ce", "t1", "t2"), case_id="case7")


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_an_image_without_brain_is_refused(value: float) -> None:
    image = np.full((3, 3, 3, 4), value, np.float32)
    with pytest.raises(InputError, match="no brain"):
        zscore(image)
    with pytest.raises(InputError, match="no brain"):
        brain_box(image)


def test_brain_box_is_tight(rng: np.random.Generator) -> None:
    image = head(rng)
    assert brain_box(image) == (slice(2, 7), slice(3, 8), slice(1, 9))
    image[0, 0, 0] = image[-1, -1, -1] = 1
    assert brain_box(image) == (slice(0, 8), slice(0, 9), slice(0, 10))
