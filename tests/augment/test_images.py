"""Augmentation of labelled images: geometry in pixels, grey values, mixing."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from brainjax.augment.examples import for_each_example
from brainjax.augment.images import ImageAugmentOptions, augment_images
from brainjax.augment.photometric import (
    add_noise,
    adjust_contrast,
    adjust_gamma,
    blur_gaussian,
    random_box,
)
from brainjax.augment.warp import affine_matrix, warp_affine
from brainjax.errors import InputError

KEY = jax.random.key(0)
compiled = jax.jit(augment_images, static_argnums=3)

GEOMETRY = ImageAugmentOptions(
    flip_left_right=0.5, flip_up_down=0.5, rotation_degrees=20, shift=0.1, zoom=(0.8, 1.2),
    stretch=(0.9, 1.1), shear_degrees=10,
)  # fmt: skip
GREY_VALUES = ImageAugmentOptions(
    contrast=(0.5, 1.5), brightness=0.3, gamma=(0.5, 2.0), blur=(0.0, 1.0), noise_sd=0.1,
    cutout_probability=0.5,
)  # fmt: skip
MIXING = ImageAugmentOptions(mixup_alpha=0.4, cutmix_alpha=1.0, num_classes=4)
BRIEF = ImageAugmentOptions(contrast=(0.5, 1.5), noise_sd=0.1, cutout_probability=0.5)
ALL = dataclasses.replace(
    GEOMETRY,
    **{
        field.name: getattr(options, field.name)
        for options in (GREY_VALUES, MIXING)
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != field.default
    },
)


def make_batch(
    size: int = 6, shape: tuple[int, int] = (8, 10), channels: int = 1
) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    image = rng.uniform(size=(size, *shape, channels)).astype(np.float32)
    return jnp.asarray(image), jnp.asarray(np.arange(size) % 4, jnp.int32)


def warp_by(
    image: np.ndarray,
    *,
    flip: tuple[float, float] = (1, 1),
    degrees: float = 0.0,
    shear: float = 0.0,
    zoom: tuple[float, float] = (1, 1),
    shift: tuple[float, float] = (0, 0),
    outside: str = "zero",
) -> np.ndarray:
    """One plane [H, W] through a matrix made of these."""
    matrix = affine_matrix(
        flip=jnp.array(flip, jnp.float32),
        rotation=math.radians(degrees),
        shear=math.radians(shear),
        zoom=jnp.array(zoom, jnp.float32),
        shift=jnp.array(shift, jnp.float32),
    )
    batch = jnp.asarray(image, jnp.float32)[None, :, :, None]
    return np.asarray(warp_affine(batch, matrix[None], outside=outside))[0, :, :, 0]  # type: ignore[arg-type]


def test_by_default_nothing_changes() -> None:
    image, labels = make_batch()
    for function in (augment_images, compiled):
        new_image, targets = function(KEY, image, labels, ImageAugmentOptions())
        np.testing.assert_array_equal(new_image, image)
        np.testing.assert_array_equal(targets, labels)
        assert targets.dtype == labels.dtype


@pytest.mark.parametrize("shape", [(5, 5), (6, 6)])
def test_a_quarter_turn_is_counter_clockwise(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).uniform(size=shape)
    np.testing.assert_allclose(warp_by(image, degrees=90), np.rot90(image), atol=1e-5)
    np.testing.assert_allclose(warp_by(image, degrees=-90), np.rot90(image, -1), atol=1e-5)


def test_flips_are_exact() -> None:
    image = np.random.default_rng(0).uniform(size=(5, 8)).astype(np.float32)
    np.testing.assert_array_equal(warp_by(image, flip=(-1, 1)), image[::-1])
    np.testing.assert_array_equal(warp_by(image, flip=(1, -1)), image[:, ::-1])
    np.testing.assert_array_equal(warp_by(image, flip=(1, 1)), image)


def test_a_shift_moves_the_picture_down_and_to_the_right_by_pixels() -> None:
    image = np.random.default_rng(0).uniform(size=(6, 7)).astype(np.float32)
    moved = np.zeros_like(image)
    moved[2:, 1:] = image[:-2, :-1]
    np.testing.assert_allclose(warp_by(image, shift=(2, 1)), moved, atol=1e-6)
    half = warp_by(image, shift=(0, 0.5))
    np.testing.assert_allclose(half[:, 1:], (image[:, 1:] + image[:, :-1]) / 2, atol=1e-6)
    np.testing.assert_allclose(half[:, 0], image[:, 0] / 2, atol=1e-6)


def test_what_comes_in_from_outside() -> None:
    image = np.random.default_rng(0).uniform(size=(6, 7)).astype(np.float32)
    assert not warp_by(image, shift=(60, 0)).any()
    np.testing.assert_allclose(
        warp_by(image, shift=(60, 0), outside="edge"), np.tile(image[:1], (6, 1)), atol=1e-6
    )
    np.testing.assert_allclose(
        warp_by(image, shift=(0, -60), outside="edge"), np.tile(image[:, -1:], (1, 7)), atol=1e-6
    )


def test_zoom_enlarges_about_the_centre() -> None:
    ramp = np.broadcast_to(np.arange(9.0) - 4, (9, 9))
    np.testing.assert_allclose(warp_by(ramp, zoom=(1, 2)), ramp / 2, atol=1e-6)
    np.testing.assert_allclose(warp_by(ramp.T, zoom=(2, 1)), ramp.T / 2, atol=1e-6)
    np.testing.assert_allclose(warp_by(ramp.T, zoom=(1, 2)), ramp.T, atol=1e-6)
    square = np.pad(np.ones((8, 8)), 12)
    assert warp_by(square, zoom=(1.5, 1.5)).sum() == pytest.approx(12 * 12, rel=0.02)
    assert warp_by(square, zoom=(0.5, 0.5)).sum() == pytest.approx(4 * 4, rel=0.02)


def test_shear_moves_the_top_to_the_right_and_keeps_areas() -> None:
    line = np.zeros((9, 9))
    line[:, 4] = 1
    leaning = warp_by(line, shear=45)
    np.testing.assert_allclose(leaning, np.eye(9)[::-1], atol=1e-5)


def test_rotation_follows_the_shear_and_the_shift_comes_last() -> None:
    line = np.zeros((9, 9))
    line[:, 4] = 1
    leaning = np.rot90(np.eye(9)[::-1])
    expected = np.zeros((9, 9))
    expected[1:] = leaning[:-1]
    np.testing.assert_allclose(
        warp_by(line, shear=45, degrees=90, shift=(1, 0)), expected, atol=1e-5
    )


def test_the_warp_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    image = rng.uniform(size=(3, 11, 8, 2)).astype(np.float32)
    matrix = rng.normal(size=(3, 2, 3)).astype(np.float32)
    found = warp_affine(jnp.asarray(image), jnp.asarray(matrix))
    centre = np.array([5.0, 3.5])
    for n in range(3):
        linear, offset = matrix[n, :, :2], matrix[n, :, 2]
        for channel in range(2):
            expected = ndimage.affine_transform(
                np.pad(image[n, :, :, channel], 1), linear, order=1, output_shape=(11, 8),
                offset=centre + 1 + offset - linear @ centre, mode="constant",
            )  # fmt: skip
            np.testing.assert_allclose(found[n, :, :, channel], expected, atol=1e-4)


def test_drawn_geometry_stays_within_its_limits() -> None:
    spot = jnp.zeros((400, 41, 41, 1)).at[:, 20, 20].set(1.0)
    labels = jnp.zeros(400, jnp.int32)
    image, _ = compiled(KEY, spot, labels, ImageAugmentOptions(shift=0.25))
    weight = np.asarray(image)[..., 0]
    place = np.arange(41) - 20
    down = (weight.sum(2) * place[None]).sum(1) / weight.sum((1, 2))
    right = (weight.sum(1) * place[None]).sum(1) / weight.sum((1, 2))
    for move in (down, right):
        assert -10.26 < move.min() < -9.5
        assert 9.5 < move.max() < 10.26
        assert abs(move.mean()) < 1
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.15


def test_flips_come_as_often_as_said() -> None:
    image, _ = make_batch(1)
    many = jnp.repeat(image, 600, axis=0)
    labels = jnp.zeros(600, jnp.int32)
    options = ImageAugmentOptions(flip_left_right=0.25, flip_up_down=0.5)
    flipped, _ = compiled(KEY, many, labels, options)
    first = np.asarray(image[0])
    upside_down = (np.asarray(flipped) == first[::-1]).all((1, 2, 3)) | (
        np.asarray(flipped) == first[::-1, ::-1]
    ).all((1, 2, 3))
    mirrored = (np.asarray(flipped) == first[:, ::-1]).all((1, 2, 3)) | (
        np.asarray(flipped) == first[::-1, ::-1]
    ).all((1, 2, 3))
    assert upside_down.mean() == pytest.approx(0.5, abs=0.07)
    assert mirrored.mean() == pytest.approx(0.25, abs=0.06)


def test_contrast_keeps_each_channels_mean() -> None:
    image, _ = make_batch(channels=3)
    changed = adjust_contrast(image[0], 0.5)
    np.testing.assert_allclose(changed.mean((0, 1)), image[0].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(changed.std((0, 1)), 0.5 * image[0].std((0, 1)), rtol=1e-5)


def test_gamma_of_extremes_is_finite_with_its_gradient() -> None:
    image = jnp.array([0.0, 1e-12, 0.25, 1.0])
    np.testing.assert_allclose(adjust_gamma(image, 0.5)[2:], [0.5, 1.0], rtol=1e-5)
    assert float(adjust_gamma(image, 0.5)[0]) == 0
    assert np.isfinite(jax.grad(lambda g: adjust_gamma(image, g).sum())(0.5))
    assert np.isfinite(jax.grad(lambda x: adjust_gamma(x, 0.5).sum())(image)).all()


def test_blur_agrees_with_scipy_and_zero_changes_nothing() -> None:
    image, _ = make_batch(3, (9, 12))
    blurred = blur_gaussian(image, jnp.array([0.0, 0.7, 1.0]), largest=1.0)
    np.testing.assert_array_equal(blurred[0], image[0])
    for n, sigma in ((1, 0.7), (2, 1.0)):
        expected = ndimage.gaussian_filter(
            np.asarray(image[n, :, :, 0], np.float64), sigma, mode="nearest", radius=3
        )
        np.testing.assert_allclose(blurred[n, :, :, 0], expected, atol=1e-5)


def test_noise_has_the_given_deviation_and_differs_between_examples() -> None:
    noise = np.asarray(add_noise(KEY, jnp.zeros((3, 40, 40, 1)), jnp.array([0.0, 0.1, 0.2])))
    np.testing.assert_allclose(noise.std((1, 2, 3)), [0.0, 0.1, 0.2], rtol=0.05)
    assert abs(np.corrcoef(noise[1].ravel(), noise[2].ravel())[0, 1]) < 0.1


def test_a_box_has_its_size_where_nothing_is_cut_off() -> None:
    sizes = [
        int(random_box(jax.random.key(n), (20, 40), jnp.array([0.25, 0.25])).sum())
        for n in range(20)
    ]
    assert max(sizes) in (50, 55, 60, 66)  # 5 x 10, one more where an edge meets a centre
    assert min(sizes) > 0


def test_cutout_zeroes_one_box_in_a_share_of_the_examples() -> None:
    image = jnp.ones((400, 16, 16, 2))
    options = ImageAugmentOptions(cutout_probability=0.5, cutout_size=(0.25, 0.5))
    changed = np.asarray(compiled(KEY, image, jnp.zeros(400, jnp.int32), options)[0])
    assert set(np.unique(changed)) == {0.0, 1.0}
    np.testing.assert_array_equal(changed[..., 0], changed[..., 1])
    share = (changed == 0).mean((1, 2, 3))
    assert (share > 0).mean() == pytest.approx(0.5, abs=0.08)
    assert share.max() <= 0.5 * 0.5 + 0.1


def test_values_stay_finite_and_within_0_and_1() -> None:
    for image in (make_batch()[0], jnp.zeros((6, 8, 10, 1)), jnp.ones((6, 8, 10, 1))):
        for seed in range(4):
            changed, targets = compiled(jax.random.key(seed), image, make_batch()[1], ALL)
            assert changed.dtype == jnp.float32
            assert np.isfinite(changed).all()
            assert float(changed.min()) >= 0
            assert float(changed.max()) <= 1 + 1e-6
            np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(("options", "channels"), [(BRIEF, 1), (GEOMETRY, 3)])
def test_compiled_equals_eager(options: ImageAugmentOptions, channels: int) -> None:
    image, labels = make_batch(channels=channels)
    eager, fast = augment_images(KEY, image, labels, options), compiled(KEY, image, labels, options)
    assert eager[0].shape == fast[0].shape == image.shape
    np.testing.assert_allclose(eager[0], fast[0], atol=1e-4)
    np.testing.assert_allclose(eager[1], fast[1], atol=1e-5)


def test_the_key_decides_and_examples_differ() -> None:
    image, labels = make_batch(1)
    image, labels = jnp.repeat(image, 6, axis=0), jnp.repeat(labels, 6)
    first, again = (compiled(KEY, image, labels, ALL)[0] for _ in range(2))
    other = compiled(jax.random.key(1), image, labels, ALL)[0]
    np.testing.assert_array_equal(first, again)
    assert len({np.asarray(each).tobytes() for each in (*first, *other)}) == 12


def test_examples_do_not_touch_each_other_unless_mixed() -> None:
    options = dataclasses.replace(ALL, mixup_alpha=0.0, cutmix_alpha=0.0)
    image, labels = make_batch()
    other = image.at[1:].set(0.5)
    first, _ = compiled(KEY, image, labels, options)
    second, _ = compiled(KEY, other, labels, options)
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])
    smaller, _ = compiled(KEY, image[:3], labels[:3], options)
    np.testing.assert_allclose(smaller, first[:3], atol=1e-6)


@pytest.mark.parametrize("name", ["mixup_alpha", "cutmix_alpha"])
def test_targets_are_mixed_as_the_images_are(name: str) -> None:
    """Images that are their class: constant, and one channel per class."""
    labels = jnp.asarray(np.arange(64) % 4, jnp.int32)
    image = jnp.broadcast_to(jax.nn.one_hot(labels, 4)[:, None, None], (64, 12, 12, 4))
    options = ImageAugmentOptions(**{name: 1.0}, num_classes=4)  # type: ignore[arg-type]
    mixed, targets = compiled(KEY, image, labels, options)
    np.testing.assert_allclose(mixed.mean((1, 2)), targets, atol=1e-5)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    own, partner = targets[np.arange(64), labels], targets[np.arange(64), (labels + 1) % 4]
    np.testing.assert_allclose(own + partner, 1, atol=1e-5)
    assert np.unique(np.round(own, 4)).size > 15  # a share for each example
    assert 0.25 < float(own.mean()) < 0.75
    pure = np.isclose(mixed, 0, atol=1e-6) | np.isclose(mixed, 1, atol=1e-6)
    assert pure.all() == (name == "cutmix_alpha")


def test_mixup_shares_follow_beta() -> None:
    options = ImageAugmentOptions(mixup_alpha=0.4, num_classes=4)
    labels = jnp.asarray(np.arange(2000) % 4, jnp.int32)
    _, targets = compiled(KEY, jnp.zeros((2000, 1, 1, 1)), labels, options)
    own = np.asarray(targets[np.arange(2000), labels])
    assert own.mean() == pytest.approx(0.5, abs=0.03)
    assert own.var() == pytest.approx(1 / (4 * 1.8), rel=0.07)  # of Beta(0.4, 0.4)


def test_a_share_of_the_examples_stays_as_it_is() -> None:
    image = jnp.full((400, 4, 4, 1), 0.5)
    options = ImageAugmentOptions(untouched=0.25, brightness=0.4, noise_sd=0.1)
    changed, labels = compiled(KEY, image, jnp.arange(400) % 4, options)
    same = np.asarray((changed == image).all((1, 2, 3)))
    assert same.mean() == pytest.approx(0.25, abs=0.06)
    every, _ = compiled(KEY, image, labels, dataclasses.replace(options, untouched=0.0))
    np.testing.assert_array_equal(changed[~same], every[~same])


def test_only_a_share_of_the_examples_is_mixed() -> None:
    options = dataclasses.replace(MIXING, cutmix_alpha=0.0, mix_probability=0.25)
    labels = jnp.asarray(np.arange(800) % 4, jnp.int32)
    _, targets = compiled(KEY, jnp.zeros((800, 2, 2, 1)), labels, options)
    assert float((targets.max(1) == 1).mean()) == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("options", [ImageAugmentOptions(), ImageAugmentOptions(shift=0.1)])
def test_half_precision_becomes_float32(options: ImageAugmentOptions) -> None:
    image, labels = make_batch()
    assert compiled(KEY, image.astype(jnp.float16), labels, options)[0].dtype == jnp.float32


def test_is_compiled_once() -> None:
    image, labels = make_batch(2)
    options = ImageAugmentOptions(shift=0.1)
    step = jax.jit(lambda key, image, labels: augment_images(key, image, labels, options))
    for seed in range(3):
        step(jax.random.key(seed), image, labels)
    assert step._cache_size() == 1


def test_the_loop_over_examples_equals_vmap() -> None:
    x, y = jnp.arange(12.0).reshape(4, 3), jnp.arange(4.0)

    def function(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.cumsum(x) * y

    np.testing.assert_array_equal(for_each_example(function, x, y), jax.vmap(function)(x, y))


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip_left_right": 1.5},
        {"rotation_degrees": -1},
        {"zoom": (0, 1)},
        {"contrast": (1.2, 0.8)},
        {"blur": (0,)},
        {"outside": "mirror"},
        {"shear_degrees": 90},
        {"mixup_alpha": math.nan},
        {"num_classes": 0, "mixup_alpha": 0.2},
    ],
)
def test_refuses_options_by_name(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))}: expected"):
        ImageAugmentOptions(**wrong)


def test_options_from_a_config_can_be_static() -> None:
    options = ImageAugmentOptions(zoom=[0.9, 1.1], blur=[0, 1])  # type: ignore[arg-type]
    assert hash(options) == hash(ImageAugmentOptions(zoom=(0.9, 1.1), blur=(0, 1)))
