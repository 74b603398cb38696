"""The joined U-Net and its controls are made of the pieces that they are said to be made of."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.explain import (
    brightness_map,
    change_map,
    compiled_reconstruct,
    join_classifier,
    keep_left,
    keep_right,
)
from brainjax.losses import reconstruction_loss
from brainjax.models import ReconstructionOutput, SaliencyEncoder, SaliencyUNet
from brainjax.models.saliency_unet import Decoder

WIDTHS = (4, 6)
UNET, CLASSIFIER = SaliencyUNet(widths=WIDTHS), SaliencyEncoder(num_classes=3, widths=WIDTHS)


@pytest.fixture(scope="module")
def drawn():
    """Variables of three U-Nets' worth of random numbers, and of a classifier."""
    draw = np.random.default_rng(3).uniform
    image = jnp.zeros((1, 8, 8, 3))

    def make(model):
        shapes = jax.eval_shape(model.init, jax.random.key(0), image)
        return jax.tree.map(lambda leaf: jnp.array(draw(0.5, 1.5, leaf.shape), leaf.dtype), shapes)

    return make(UNET), make(UNET), make(CLASSIFIER)


@pytest.fixture
def bytes_image(rng):
    return rng.integers(0, 256, (2, 8, 8, 3), np.uint8)


def test_the_joined_network_equals_its_pieces(drawn, bytes_image) -> None:
    autoencoder, _, classifier = drawn
    joined = join_classifier(autoencoder, classifier)
    output = compiled_reconstruct(UNET)(joined, bytes_image)
    image = jnp.array(bytes_image, jnp.float32) / 255
    latent = CLASSIFIER.apply(classifier, image).features
    decoder = {kind: autoencoder[kind]["decoder"] for kind in ("params", "batch_stats")}
    left = Decoder((4, 3)).apply(decoder, latent, train=False)
    kernel = autoencoder["batch_stats"]["location"]["kernel"]
    right = jnp.tensordot(image, kernel[0, 0, :, 0], 1)[..., None]
    np.testing.assert_allclose(output.left, left, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(output.image, left + np.asarray(right), rtol=1e-4, atol=1e-4)
    assert jax.tree.structure(joined) == jax.tree.structure(autoencoder)


def test_an_autoencoder_joined_with_its_own_encoder_is_itself(drawn) -> None:
    autoencoder, _, _ = drawn
    own = {kind: {"body": values["encoder"]} for kind, values in autoencoder.items()}
    joined = join_classifier(autoencoder, own)
    jax.tree.map(np.testing.assert_array_equal, joined, autoencoder)


def test_each_control_keeps_its_side_only(drawn, bytes_image) -> None:
    autoencoder, fresh, _ = drawn
    reconstruct = compiled_reconstruct(UNET)
    whole, new, left, right = (
        reconstruct(variables, bytes_image)
        for variables in (
            autoencoder, fresh, keep_left(autoencoder, fresh), keep_right(autoencoder, fresh)
        )
    )  # fmt: skip
    np.testing.assert_array_equal(left.left, whole.left)
    np.testing.assert_array_equal(left.right, new.right)
    np.testing.assert_array_equal(right.left, new.left)
    np.testing.assert_array_equal(right.right, whole.right)
    assert not np.allclose(whole.left, new.left)
    assert not np.allclose(whole.right, new.right)


def test_maps_are_means_over_channels() -> None:
    first = jnp.array([[[[0.0, 1.0], [-3.0, 1.0]]]])
    assert brightness_map(first).tolist() == [[[0.5, 0.0]]]
    assert change_map(first, jnp.zeros_like(first)).tolist() == [[[0.5, 2.0]]]


def test_the_loss_is_the_mean_squared_error() -> None:
    image = jnp.array([[[[0.0], [1.0]]]])
    output = ReconstructionOutput(image=image + 0.5, left=image, right=image)
    total, parts = reconstruction_loss(output, image, step=0)
    assert float(total) == float(parts["loss"]) == 0.25
