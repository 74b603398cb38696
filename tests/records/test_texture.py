"""Grey-level co-occurrence, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.records.texture import TEXTURE_FEATURES, glcm_energy, texture_features

#: Haralick's own example (1973, figure 3), levels 0 to 3 as the middle of four bins.
HARALICK = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]], np.uint8) * 64

#: His matrices of distance 1 at 0, 45, 90 and 135 degrees.
MATRICES = (
    [[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]],
    [[4, 1, 0, 0], [1, 2, 2, 0], [0, 2, 4, 1], [0, 0, 1, 0]],
    [[6, 0, 2, 0], [0, 4, 2, 0], [2, 2, 2, 2], [0, 0, 2, 0]],
    [[2, 1, 3, 0], [1, 2, 1, 0], [3, 1, 0, 2], [0, 0, 2, 0]],
)


def test_agrees_with_haralicks_example() -> None:
    wanted = [np.sqrt(np.sum((np.array(matrix) / np.sum(matrix)) ** 2)) for matrix in MATRICES]
    np.testing.assert_allclose(glcm_energy(HARALICK, levels=4, distances=(1,)), wanted, rtol=1e-6)


def test_distances_and_angles_by_hand() -> None:
    # Columns 0, 255, 0, 255: at 0 degrees and distance 1 only unlike pairs (p = 1/2, 1/2),
    # at distance 2 as many pairs of dark as of bright ones, along columns the same.
    image = np.tile(np.array([0, 255, 0, 255], np.uint8), (4, 1))
    energies = glcm_energy(image, distances=(1, 2)).reshape(2, 4)
    np.testing.assert_allclose(energies, np.sqrt(0.5), rtol=1e-6)
    # One bright pixel of three, distance 2 along the row: a single pair of unlike ones.
    row = np.array([[0, 0, 255]] * 3, np.uint8)
    np.testing.assert_allclose(
        glcm_energy(row, distances=(1, 2), angles=1), [np.sqrt(0.375), np.sqrt(0.5)], rtol=1e-6
    )


def test_uniform_images_have_energy_one_and_noise_little(rng: np.random.Generator) -> None:
    np.testing.assert_array_equal(glcm_energy(np.full((9, 9, 1), 77, np.uint8)), 1.0)
    noise = glcm_energy(rng.integers(0, 256, (128, 128, 1), dtype=np.uint8))
    np.testing.assert_allclose(noise, 1 / 32, rtol=0.05)


def test_turning_the_image_turns_the_angles(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (20, 20), dtype=np.uint8)
    first = glcm_energy(image, levels=8, distances=(2,))
    turned = glcm_energy(np.rot90(image), levels=8, distances=(2,))
    np.testing.assert_allclose(turned, first[[2, 3, 0, 1]], rtol=1e-6)


def test_equal_channels_are_one(rng: np.random.Generator) -> None:
    grey = rng.integers(0, 256, (12, 12, 1), dtype=np.uint8)
    np.testing.assert_array_equal(glcm_energy(np.repeat(grey, 3, axis=-1)), glcm_energy(grey))


def test_features_of_many_images(rng: np.random.Generator) -> None:
    images = rng.integers(0, 256, (3, 10, 11, 1), dtype=np.uint8)
    features = texture_features(images)
    assert features.shape == (3, TEXTURE_FEATURES)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[1], glcm_energy(images[1]))


@pytest.mark.parametrize(
    "options", [{"levels": 1}, {"levels": 300}, {"angles": 0}, {"angles": 5}, {"distances": (4,)},
                {"distances": (0,)}, {"distances": ()}],
)  # fmt: skip
def test_refuses_options_by_name(options: dict[str, object]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=f"{name}: expected"):
        glcm_energy(np.zeros((4, 6), np.uint8), **options)  # type: ignore[arg-type]
