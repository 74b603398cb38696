"""Augmentation: flips and intensities, eager and compiled."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.augment import (
    AugmentOptions,
    augment_batch,
    flip_randomly,
    scale_and_shift_randomly,
)
from brainjax.errors import InputError

KEY = jax.random.key(0)
STILL = AugmentOptions(flip_probability=0.0, intensity_scale=(1.0, 1.0), intensity_shift=(0.0, 0.0))
FLIPS_ONLY = AugmentOptions(intensity_scale=(1.0, 1.0), intensity_shift=(0.0, 0.0))
INTENSITY_ONLY = AugmentOptions(flip_probability=0.0)
compiled = jax.jit(augment_batch, static_argnums=3)


def make_batch(size: int, spatial: tuple[int, ...] = (4, 6, 5)) -> tuple[jax.Array, jax.Array]:
    """Images whose first channel equals the labels and whose second numbers the voxels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (size, *spatial)).astype(np.uint8)
    number = np.broadcast_to(np.arange(np.prod(spatial)).reshape(spatial), labels.shape)
    return jnp.asarray(np.stack([labels, number], axis=-1), jnp.float32), jnp.asarray(labels)


@pytest.mark.parametrize("spatial", [(4, 6, 5), (6, 5)])
@pytest.mark.parametrize("options", [AugmentOptions(), AugmentOptions(intensity_per_row=True)])
def test_compiled_equals_eager(spatial: tuple[int, ...], options: AugmentOptions) -> None:
    image, labels = make_batch(3, spatial)
    eager = augment_batch(KEY, image, labels, options)
    fast = compiled(KEY, image, labels, options)
    np.testing.assert_allclose(eager[0], fast[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(eager[1], fast[1])
    assert fast[0].shape == image.shape
    assert fast[1].dtype == jnp.uint8


def test_without_chance_nothing_changes() -> None:
    image, labels = make_batch(3)
    new_image, new_labels = compiled(KEY, image, labels, STILL)
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_labels, labels)


def test_float16_from_the_host_becomes_float32() -> None:
    image, labels = make_batch(2)
    new_image, _ = compiled(KEY, image.astype(jnp.float16), labels, STILL)
    assert new_image.dtype == jnp.float32
    np.testing.assert_array_equal(new_image, image)


def test_labels_follow_the_image() -> None:
    image, labels = make_batch(40)
    new_image, new_labels = compiled(KEY, image, labels, FLIPS_ONLY)
    np.testing.assert_array_equal(new_image[..., 0], new_labels)


def test_each_of_the_eight_mirror_images_comes_up_equally_often() -> None:
    image, labels = make_batch(1)
    many = 1600
    images, _ = compiled(
        KEY, jnp.repeat(image, many, axis=0), jnp.repeat(labels, many, axis=0), FLIPS_ONLY
    )
    corners = np.asarray(images[:, 0, 0, 0, 1]).astype(int)  # the voxel that lies first now
    found, counts = np.unique(corners, return_counts=True)
    number = np.arange(4 * 6 * 5).reshape(4, 6, 5)
    assert found.tolist() == sorted(number[::3, ::5, ::4].ravel().tolist())
    assert counts.min() > 0.75 * many / 8
    mirrored = images[np.flatnonzero(corners == number[-1, 0, -1])[0]]
    np.testing.assert_array_equal(mirrored, image[0, ::-1, :, ::-1])


def test_certain_flips_mirror_every_axis() -> None:
    image, labels = make_batch(1)
    new_image, new_labels = flip_randomly(KEY, image[0], labels[0], probability=1.0)
    np.testing.assert_array_equal(new_image, image[0, ::-1, ::-1, ::-1])
    np.testing.assert_array_equal(new_labels, labels[0, ::-1, ::-1, ::-1])


def test_intensity_draws_are_uniform_per_example_and_modality() -> None:
    zeros, ones = jnp.zeros((500, 2, 2, 2, 2)), jnp.ones((500, 2, 2, 2, 2))
    labels = jnp.zeros((500, 2, 2, 2), jnp.uint8)
    shift, _ = compiled(KEY, zeros, labels, INTENSITY_ONLY)
    scaled, _ = compiled(KEY, ones, labels, INTENSITY_ONLY)
    scale = np.asarray(scaled - shift)
    for draw, low, high in ((np.asarray(shift), -0.1, 0.1), (scale, 0.9, 1.1)):
        np.testing.assert_allclose(
            draw, np.broadcast_to(draw[:, :1, :1, :1], draw.shape), atol=1e-6
        )
        flat = draw[:, 0, 0, 0, :].ravel()
        assert low - 1e-6 <= flat.min() < low + 0.005
        assert high - 0.005 < flat.max() <= high + 1e-6
        assert flat.mean() == pytest.approx((low + high) / 2, abs=0.01)
        assert flat.std() == pytest.approx(0.2 / np.sqrt(12), rel=0.05)
        assert len(np.unique(flat)) > 950
    factor, offset = scale[:, 0, 0, 0, 0], np.asarray(shift)[:, 0, 0, 0, 0]
    assert abs(np.corrcoef(factor, offset)[0, 1]) < 0.15


def test_rows_of_the_second_axis_have_draws_of_their_own_on_request() -> None:
    image = scale_and_shift_randomly(
        KEY, jnp.ones((3, 4, 5, 2)), scale=(0.9, 1.1), shift=(-0.1, 0.1), per_row=True
    )
    rows = np.asarray(image)[0, :, 0, :]
    assert len(np.unique(rows)) == 8
    np.testing.assert_array_equal(image, np.broadcast_to(rows[None, :, None, :], image.shape))


def test_the_background_is_shifted_too() -> None:
    image, labels = jnp.zeros((1, 2, 2, 2, 4)), jnp.zeros((1, 2, 2, 2), jnp.uint8)
    new_image, _ = augment_batch(KEY, image, labels, AugmentOptions())
    assert np.asarray(new_image).all()


def test_another_key_gives_another_batch_and_examples_differ() -> None:
    image, labels = make_batch(1)
    image, labels = jnp.repeat(image, 4, axis=0), jnp.repeat(labels, 4, axis=0)
    first, _ = compiled(KEY, image, labels, AugmentOptions())
    again, _ = compiled(KEY, image, labels, AugmentOptions())
    other, _ = compiled(jax.random.key(1), image, labels, AugmentOptions())
    np.testing.assert_array_equal(first, again)
    assert len({np.asarray(x).tobytes() for x in (*first, *other)}) == 8


def test_is_compiled_once() -> None:
    image, labels = make_batch(2)
    step = jax.jit(functools.partial(augment_batch, options=AugmentOptions()))
    for seed in range(3):
        step(jax.random.key(seed), image, labels)
    assert step._cache_size() == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flip_probability", -0.1),
        ("flip_probability", 1.1),
        ("intensity_scale", (1.1, 0.9)),
        ("intensity_shift", (0.1,)),
    ],
)
def test_refuses_options_by_name(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name}: expected"):
        AugmentOptions(**{name: value})  # type: ignore[arg-type]


def test_options_from_a_config_can_be_static() -> None:
    options = AugmentOptions(intensity_scale=[0.9, 1.1], intensity_shift=[-0.1, 0.1])  # type: ignore[arg-type]
    assert hash(options) == hash(AugmentOptions())
