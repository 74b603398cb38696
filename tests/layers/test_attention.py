"""The supervised attention module and the two that it is compared with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.layers import (
    ContextPrior,
    SelfAttention,
    SupervisedAttention,
    class_affinity,
    class_mask,
    masked_average_pool,
)


def count(module, *shapes):
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    variables = jax.eval_shape(lambda *x: module.init(jax.random.key(0), *x), *inputs)
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


def start(module, *inputs):
    """Output and variables, in one compiled call."""
    return jax.jit(module.init_with_output)(jax.random.key(0), *inputs)


@pytest.mark.parametrize(
    ("rate", "weights", "biases"), [(8, 10368, 36), (4, 34560, 68), (2, 10368, 36)]
)
def test_parameters_of_supervised_attention(rate, weights, biases):
    small = 128 // rate
    shapes = (1, 128, 128, 128, 4), (1, small, small, small, 128)
    assert count(SupervisedAttention(rate=rate), *shapes) == weights + biases


def test_parameters_of_the_compared_modules():
    shape = (1, 16, 16, 16, 128)
    assert count(SelfAttention(), shape) == 49_152
    assert count(ContextPrior(), shape) == 32_768
    assert count(ContextPrior(prior_channels=4096), shape) == 128 * (4096 + 128)


@pytest.mark.parametrize("rate", [2, 4, 8])
@pytest.mark.parametrize("rank", [2, 3])
def test_supervised_attention_in_each_rate_and_rank(rate, rank, rng):
    image = jnp.array(rng.normal(size=(2, *(16, 8, 24)[:rank], 3)), jnp.float32)
    spatial = tuple(size // rate for size in image.shape[1:-1])
    features = jnp.array(rng.normal(size=(2, *spatial, 5)), jnp.float32)
    module = SupervisedAttention(num_classes=3, rate=rate)
    (updated, attention, prototypes), _ = start(module, image, features)
    assert attention.shape == (2, *spatial, 3)
    assert prototypes.shape == (2, 3, 5)
    mask = class_mask(attention, kind="soft")
    expected = masked_average_pool(features, mask, epsilon=0.1)
    np.testing.assert_allclose(prototypes, expected, rtol=1e-5)
    by_hand = features + sum(
        mask[..., k : k + 1] * prototypes[:, k].reshape(2, *(1,) * rank, 5) for k in range(3)
    )
    np.testing.assert_allclose(updated, by_hand, rtol=1e-4, atol=1e-5)


def test_hard_mask_passes_no_gradient_to_the_attention_path(rng):
    image = jnp.array(rng.normal(size=(1, 16, 16, 4)), jnp.float32)
    features = jnp.array(rng.normal(size=(1, 2, 2, 6)), jnp.float32)
    _, variables = start(SupervisedAttention(), image, features)

    @jax.jit
    def largest(variables):
        def loss(variables, kind):
            updated, _, _ = SupervisedAttention(mask=kind).apply(variables, image, features)
            return jnp.sum(updated**2)

        return [
            jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(jax.grad(loss)(v, kind))])
            for v, kind in ((variables, "hard"), (variables, "soft"))
        ]

    hard, soft = largest(variables)
    np.testing.assert_array_equal(hard, 0.0)
    assert (soft > 0).all()


def test_soft_mask_is_never_negative_and_its_prototypes_are_bounded(rng):
    attention = jnp.array(rng.normal(size=(1, 4, 4, 4, 3)) - 2.5, jnp.float32)
    features = jnp.array(rng.uniform(-1, 1, size=(1, 4, 4, 4, 5)), jnp.float32)
    mask = class_mask(attention, kind="soft")
    assert float(mask.min()) == 0.0
    assert float(mask.max()) <= 1.0
    assert float(jnp.abs(masked_average_pool(features, mask, epsilon=0.1)).max()) <= 1.0


def test_without_update_features_come_back_untouched(rng):
    image = jnp.array(rng.normal(size=(1, 8, 8, 1)), jnp.float32)
    features = jnp.array(rng.normal(size=(1, 1, 1, 2)), jnp.float32)
    (updated, _, _), _ = start(SupervisedAttention(update=False), image, features)
    np.testing.assert_array_equal(updated, features)


def test_map_from_features_is_a_single_convolution():
    module = SupervisedAttention(source="features")
    assert count(module, (1, 32, 32, 32, 4), (1, 4, 4, 4, 128)) == 128 * 4 + 4


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"rate": 3}, (1, 2, 2, 2), "rate is one of"),
        ({"rate": 8}, (1, 3, 2, 2), "divided by the rate 8"),
        ({"source": "labels"}, (1, 2, 2, 2), "source is 'image' or 'features'"),
        ({"mask": "warm"}, (1, 2, 2, 2), "mask is 'soft' or 'hard'"),
    ],
)
def test_what_does_not_fit_is_refused(options, shape, message):
    with pytest.raises(ValueError, match=message):
        count(SupervisedAttention(**options), (1, 16, 16, 4), shape)


def test_self_attention_is_equations_1_to_3(rng):
    x = rng.normal(size=(1, 2, 3, 4)).astype(np.float32)
    y, variables = start(SelfAttention(), jnp.array(x))
    voxels = x.reshape(6, 4).astype(np.float64)
    query, key, value = (
        voxels @ np.asarray(variables["params"][name]["kernel"]).reshape(4, 4)
        for name in ("query", "key", "value")
    )
    similarity = np.exp(query @ key.T)
    expected = similarity / similarity.sum(axis=1, keepdims=True) @ value + voxels
    np.testing.assert_allclose(np.asarray(y).reshape(6, 4), expected, rtol=1e-4, atol=1e-5)


def test_context_prior_averages_the_values_under_the_prior(rng):
    x = rng.normal(size=(1, 2, 2, 2, 4)).astype(np.float32)  # 8 voxels, two per channel
    (y, prior), variables = start(ContextPrior(), jnp.array(x))
    voxels = x.reshape(8, 4).astype(np.float64)
    kernel = {k: np.asarray(v["kernel"]).reshape(4, 4) for k, v in variables["params"].items()}
    expected_prior = 1 / (1 + np.exp(-(voxels @ kernel["prior"])))
    expected_prior = np.repeat(expected_prior, 2, axis=1)
    np.testing.assert_allclose(prior[0], expected_prior, rtol=1e-4)
    weights = expected_prior / expected_prior.sum(axis=1, keepdims=True)
    expected = weights @ (voxels @ kernel["value"]) + voxels
    np.testing.assert_allclose(np.asarray(y).reshape(8, 4), expected, rtol=1e-4, atol=1e-5)


def test_class_affinity_is_1_within_a_class(rng):
    labels = rng.integers(0, 4, size=(2, 3, 4))
    affinity = class_affinity(jax.nn.one_hot(labels, 4))
    flat = labels.reshape(2, -1)
    np.testing.assert_array_equal(affinity, flat[:, :, None] == flat[:, None, :])
