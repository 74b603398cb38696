"""Artefacts: strength 0 is the image, the same seed the same artefact, and worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from brainjax.scans import ACQUIRED, NORMALISED, STRENGTHS, artefact_generator, present_subsets
from brainjax.scans.artefacts import add_ghosts, lower_resolution

EVERY = {**ACQUIRED, **NORMALISED}


def generator(case_id: str = "case") -> np.random.Generator:
    return artefact_generator(0, "noise", case_id)


@pytest.fixture(params=[(9, 8, 7, 2), (10, 12, 1)], ids=["volume", "slice"])
def image(request, rng) -> np.ndarray:
    drawn = rng.uniform(0, 2, request.param).astype(np.float32)
    drawn[:2] = 0
    return drawn


@pytest.mark.parametrize("name", sorted(EVERY))
def test_strength_0_is_the_image_itself(name, image) -> None:
    before = image.copy()
    found = EVERY[name](image, 0.0, generator())
    np.testing.assert_array_equal(found, image)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_the_same_case_has_the_same_artefact_at_every_call(name, image) -> None:
    before = image.copy()
    first = [EVERY[name](image, strength, generator()) for strength in STRENGTHS[name]]
    again = [EVERY[name](image, strength, generator()) for strength in STRENGTHS[name]]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, before)
    away = [float(np.abs(found - image).mean()) for found in first]
    signed = [(abs(s), far) for s, far in zip(STRENGTHS[name], away, strict=True) if s > 0]
    assert all(far > 0 for far in away)
    if name != "ghosting":  # far moves of a random image are all alike
        assert sorted(signed, key=lambda pair: pair[1]) == signed  # stronger is worse
    assert all(found.shape == image.shape and np.isfinite(found).all() for found in first)


def test_other_cases_have_other_noise(image) -> None:
    one, other = (ACQUIRED["noise"](image, 0.5, generator(case)) for case in "ab")
    assert not np.array_equal(one, other)


def test_noise_is_rician() -> None:
    """Its square is A^2 + 2 sd^2 on average (Gudbjartsson and Patz 1995), over half of A = 0."""
    image = np.zeros((64, 64, 8, 1), np.float32)
    image[32:, :, :4] = 2.0
    image[32:, :, 4:] = 4.0  # deviation of what is above 0: 1
    found = ACQUIRED["noise"](image, 0.5, generator())
    for amplitude, part in ((0, found[:32]), (2, found[32:, :, :4]), (4, found[32:, :, 4:])):
        assert np.mean(part**2) == pytest.approx(amplitude**2 + 2 * 0.5**2, rel=0.02)
    assert (found >= 0).all()


def test_ghosting_by_hand() -> None:
    """Even lines hold half of the point and of its copy half the field away, odd ones the moved."""
    seed = next(seed for seed in range(9) if np.random.default_rng(seed).integers(2) == 0)
    point = np.zeros((8, 1, 1), np.float32)
    point[0] = 1
    found = add_ghosts(point, 1.0, np.random.default_rng(seed)).ravel()  # along the first axis
    np.testing.assert_allclose(found, [0.5, 0.5, 0, 0, 0.5, 0.5, 0, 0], atol=1e-6)


def test_ghosting_keeps_the_mean(image) -> None:
    smooth = image + 3  # stays positive, so that the magnitude is the signal
    found = add_ghosts(smooth, 2.0, generator())
    np.testing.assert_allclose(found.mean(), smooth.mean(), rtol=2e-3)


@pytest.mark.parametrize("strength", STRENGTHS["bias_field"])
def test_a_bias_field_stays_in_its_limits_and_is_alike_in_all_channels(strength) -> None:
    field = ACQUIRED["bias_field"](np.ones((12, 10, 8, 2), np.float32), strength, generator())
    logarithm = np.log(field)
    assert np.abs(logarithm).max() == pytest.approx(strength, rel=1e-4)
    np.testing.assert_array_equal(field[..., 0], field[..., 1])
    assert np.abs(np.diff(logarithm, axis=0)).max() < strength  # smooth


def test_lower_resolution_by_hand() -> None:
    """Pairs are averaged, and interpolated between the middles of the pairs."""
    image = np.array([0, 4, 0, 0, 8, 6], np.float32).reshape(6, 1, 1)
    found = lower_resolution(image, 1.0, generator()).ravel()
    np.testing.assert_allclose(found, np.interp(np.arange(6), [0.5, 2.5, 4.5], [2, 0, 7]))
    found = lower_resolution(image[:5], 2.0, generator()).ravel()  # three, and the two left over
    np.testing.assert_allclose(found, np.interp(np.arange(5), [1, 3.5], [4 / 3, 4]), rtol=1e-6)


def test_lower_resolution_keeps_a_constant_and_thin_axes() -> None:
    image = np.full((7, 2, 1, 1), 5, np.float32)
    for strength in (0.5, 1.0, 3.0, 20.0):
        np.testing.assert_allclose(lower_resolution(image, strength, generator()), image, rtol=1e-6)


def test_four_modalities_have_fifteen_subsets() -> None:
    subsets = present_subsets(("flair", "t1ce", "t1", "t2"))
    assert len(subsets) == len(set(subsets)) == 15
    assert subsets[0] == ("flair", "t1ce", "t1", "t2")
    assert all(subsets)
