"""What the pictures of the attention show, against the network's own arithmetic."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.explain.attention import attention_step, channel_variances, upsample_strided
from brainjax.layers import Conv, SupervisedAttention, intra_class_update
from brainjax.models import SegmentationOutput

CHANNELS = (5, 0, 3)


class Network(nn.Module):
    """The attention module on strided convolutions, with logits straight from the image."""

    mask: str

    @nn.compact
    def __call__(self, image, *, train):
        features = image
        for _ in range(3):
            features = Conv(6, 3, strides=2)(features)
        updated, attention, prototypes = SupervisedAttention(num_classes=4, mask=self.mask)(
            image, features
        )
        return SegmentationOutput(
            logits=Conv(4, 1)(image),
            attention=attention,
            prototypes=prototypes,
            features_before=features,
            features_after=updated,
        )


@pytest.fixture(scope="module", params=["soft", "hard"])
def case(request):
    model = Network(mask=request.param)
    image = jax.random.normal(jax.random.key(1), (2, 16, 24, 8, 4))
    variables = model.init(jax.random.key(0), image, train=False)
    return model, variables, image, model.apply(variables, image, train=False)


def test_step_shows_what_the_network_did(case):
    model, variables, image, output = case
    step = functools.partial(attention_step, model=model, mask=model.mask, channels=CHANNELS)
    found = np.asarray(step(variables, image))
    assert found.shape == (2, 16, 24, 8, 3 * 4 + 2 * 3)
    probabilities, attention, weights, before, after = np.split(found, [4, 8, 12, 15], axis=-1)
    np.testing.assert_allclose(probabilities, jax.nn.softmax(output.logits), atol=1e-5)
    # A feature is of the voxel that its strided convolutions are centred on.
    at = (slice(None), *(slice(None, None, 8),) * 3)
    np.testing.assert_allclose(attention[at], output.attention, atol=1e-5)
    if model.mask == "hard":
        expected = np.eye(4)[np.argmax(np.asarray(output.attention), axis=-1)]
    else:
        expected = np.clip(output.attention, 0, 1)
    np.testing.assert_allclose(weights[at], expected, atol=1e-5)
    np.testing.assert_allclose(before[at], output.features_before[..., list(CHANNELS)], atol=1e-5)
    written = intra_class_update(output.prototypes, jnp.asarray(expected))[..., list(CHANNELS)]
    np.testing.assert_allclose((after - before)[at], written, atol=1e-4)
    assert np.abs(written).max() > 0.01


def test_features_lie_where_the_image_that_made_them_does():
    """A bright voxel on a feature's centre lights that feature more than its neighbours."""
    model = Network(mask="soft")
    image = jnp.zeros((1, 32, 8, 8, 4)).at[0, 16, 4, 4].set(1.0)
    variables = jax.tree.map(
        lambda leaf: jnp.ones_like(leaf) if leaf.ndim > 1 else jnp.zeros_like(leaf),
        model.init(jax.random.key(0), image, train=False),
    )
    found = attention_step(variables, image, model=model, mask="soft", channels=(0,))
    assert int(np.argmax(found[0, :, 0, 0, 12])) == 16


def test_variances_are_those_of_the_features_before_the_update(case):
    model, variables, image, output = case
    np.testing.assert_allclose(
        channel_variances(variables, image, model=model),
        np.var(output.features_before, axis=(0, 1, 2, 3)),
        rtol=1e-4,
    )


def test_upsampling_keeps_what_is_linear_and_its_axes_apart():
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0), indexing="ij"), axis=-1)
    found = np.asarray(upsample_strided(jnp.asarray(grid[None], jnp.float32), (16, 6)))[0]
    np.testing.assert_allclose(
        found[..., 0], np.minimum(np.arange(16) / 4, 3)[:, None] + 0 * found[..., 0]
    )
    np.testing.assert_allclose(
        found[..., 1], np.minimum(np.arange(6) / 2, 2)[None] + 0 * found[..., 1]
    )
