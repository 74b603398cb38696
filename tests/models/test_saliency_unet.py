"""Paper 2's U-Net: parameters by hand, shapes, and the frozen path."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.errors import InputError
from brainjax.models import SaliencyEncoder, SaliencyUNet

DOWN = 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256)
UP = 9 * (256 * 128 + 128 * 64 + 64 * 32 + 32 * 3) + 2 * (128 + 64 + 32 + 3)


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def shapes(model, size=(64, 48), channels=3):
    image = jax.ShapeDtypeStruct((2, *size, channels), jnp.float32)
    return jax.eval_shape(model.init_with_output, jax.random.key(0), image)


def test_parameters_of_the_autoencoder_by_hand() -> None:
    _, variables = shapes(SaliencyUNet())
    assert count(variables["params"]["encoder"]) == DOWN == 388_896
    assert count(variables["params"]["decoder"]) == UP == 388_390
    assert set(variables["params"]) == {"encoder", "decoder"}
    # Three weights to one channel, and a mean and a variance of each normalised channel.
    assert variables["batch_stats"]["location"]["kernel"].shape == (1, 1, 3, 1)
    assert count(variables["batch_stats"]) == 3 + 2 * (480 + 227)


def test_parameters_of_the_classifier_by_hand() -> None:
    _, variables = shapes(SaliencyEncoder(num_classes=3))
    assert count(variables["params"]["body"]) == DOWN
    assert count(variables["params"]["head"]) == (64 // 16) * (48 // 16) * 256 * 3 + 3


def test_the_classifier_s_body_is_the_autoencoder_s_encoder() -> None:
    _, autoencoder = shapes(SaliencyUNet())
    _, classifier = shapes(SaliencyEncoder(num_classes=3))
    for kind in ("params", "batch_stats"):
        assert autoencoder[kind]["encoder"] == classifier[kind]["body"]


@pytest.mark.parametrize("channels", [1, 3])
def test_shapes(channels: int) -> None:
    output, _ = shapes(SaliencyUNet(widths=(4, 8)), size=(12, 20), channels=channels)
    assert output.image.shape == output.left.shape == (2, 12, 20, channels)
    assert output.right.shape == (2, 12, 20, 1)
    assert output.image.dtype == jnp.float32


def test_the_output_is_the_sum_of_both_sides(rng) -> None:
    model = SaliencyUNet(widths=(4,))
    image = jnp.array(rng.random((2, 4, 4, 3)), jnp.float32)
    output, variables = model.init_with_output(jax.random.key(0), image)
    kernel = np.asarray(variables["batch_stats"]["location"]["kernel"])[0, 0, :, 0]
    np.testing.assert_allclose(output.right[..., 0], np.asarray(image) @ kernel, rtol=1e-5)
    np.testing.assert_allclose(output.image, output.left + np.asarray(output.right), rtol=1e-6)


def test_the_location_path_is_drawn_anew_with_another_key() -> None:
    model, image = SaliencyUNet(widths=(4,)), jnp.zeros((1, 4, 4, 3))
    kernels = [
        np.asarray(model.init(jax.random.key(seed), image)["batch_stats"]["location"]["kernel"])
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize("model", [SaliencyUNet(), SaliencyEncoder(num_classes=3)])
def test_sizes_that_cannot_be_halved_are_refused(model) -> None:
    with pytest.raises(InputError, match=r"72x64 does not divide by 16.*try 64x64"):
        shapes(model, size=(72, 64))
