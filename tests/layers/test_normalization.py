"""Group and batch norm against PyTorch and against their definition."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.layers import BatchNorm, ConvBlock, GroupNorm, InstanceNorm
from brainjax.layers.normalization import channel_moments, normalize


def to_torch(x):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.moveaxis(np.array(x), -1, 1).copy())


def from_torch(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


@pytest.mark.parametrize("spatial", [(5, 6), (3, 5, 4)])
@pytest.mark.parametrize("relu", [False, True])
def test_group_norm_and_its_gradients_equal_pytorch(spatial, relu, rng):
    torch = pytest.importorskip("torch")
    x = (3 * rng.normal(size=(2, *spatial, 16)) + 2).astype(np.float32)
    scale, bias = rng.normal(size=(2, 16)).astype(np.float32)
    weight = rng.normal(size=x.shape).astype(np.float32)
    layer = GroupNorm(4, relu=relu)

    def loss(x, scale, bias):
        y = layer.apply({"params": {"scale": scale, "bias": bias}}, x)
        return jnp.sum(y * weight), y

    differentiate = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    (_, y), gradients = differentiate(jnp.array(x), jnp.array(scale), jnp.array(bias))
    theirs = torch.nn.GroupNorm(4, 16)
    theirs.weight.data, theirs.bias.data = torch.from_numpy(scale), torch.from_numpy(bias)
    x_torch = to_torch(x).requires_grad_()
    y_torch = theirs(x_torch)
    y_torch = torch.relu(y_torch) if relu else y_torch
    (y_torch * to_torch(weight)).sum().backward()
    np.testing.assert_allclose(y, from_torch(y_torch), atol=2e-5)
    np.testing.assert_allclose(gradients[0], from_torch(x_torch.grad), atol=2e-5)
    np.testing.assert_allclose(gradients[1], theirs.weight.grad, atol=1e-4)
    np.testing.assert_allclose(gradients[2], theirs.bias.grad, atol=1e-4)


def test_batch_norm_trains_and_predicts_as_pytorch(rng):
    torch = pytest.importorskip("torch")
    layer, theirs = BatchNorm(), torch.nn.BatchNorm3d(6)
    variables = layer.init(jax.random.key(0), jnp.zeros((2, 3, 4, 5, 6)), train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1.0)  # init moves nothing
    run = jax.jit(lambda v, x: layer.apply(v, x, train=True, mutable=["batch_stats"]))
    for _ in range(3):
        x = (2 * rng.normal(size=(2, 3, 4, 5, 6)) - 1).astype(np.float32)
        y, changed = run(variables, jnp.array(x))
        np.testing.assert_allclose(y, from_torch(theirs(to_torch(x))), atol=2e-5)
        variables = {**variables, **changed}
    statistics = variables["batch_stats"]
    np.testing.assert_allclose(statistics["mean"], theirs.running_mean, rtol=1e-5)
    np.testing.assert_allclose(statistics["var"], theirs.running_var, rtol=1e-5)
    y = layer.apply(variables, jnp.array(x), train=False)
    np.testing.assert_allclose(y, from_torch(theirs.eval()(to_torch(x))), atol=2e-5)


def test_variance_keeps_its_digits_far_from_zero(rng):
    x = (1e4 + rng.normal(size=(1, 8, 8, 8, 2))).astype(np.float32)
    _, variance = channel_moments(jnp.array(x))
    expected = x.astype(np.float64).var(axis=(1, 2, 3))
    np.testing.assert_allclose(variance, expected, rtol=1e-3)


def test_moments_differentiate_twice(rng):
    x = jnp.array(rng.normal(size=(1, 5, 3)), jnp.float32)

    def ours(x):
        mean, variance = channel_moments(x)
        return jnp.sum(jnp.sin(mean) * variance**2)

    def plain(x):
        return jnp.sum(jnp.sin(jnp.mean(x, 1)) * jnp.var(x, 1) ** 2)

    np.testing.assert_allclose(jax.grad(ours)(x), jax.grad(plain)(x), atol=1e-6)
    np.testing.assert_allclose(jax.hessian(ours)(x), jax.hessian(plain)(x), atol=1e-5)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("norm", ["batch", "group", "instance", "none"])
def test_an_offset_is_added_first(norm, train, rng):
    class Normalize(nn.Module):
        @nn.compact
        def __call__(self, x, offset=None):
            return normalize(x, norm, train=train, name="norm", offset=offset, groups=2, relu=True)

    x = jnp.array(rng.normal(size=(2, 4, 3, 6)), jnp.float32)
    offset = jnp.array(3 * rng.normal(size=6), jnp.float32)
    weight = jnp.array(rng.normal(size=x.shape), jnp.float32)
    variables = Normalize().init(jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.sin(jnp.arange(6.0)), variables)

    def run(x, offset, later):
        x, rest = (x, offset) if later else (x + jnp.broadcast_to(offset, x.shape), None)
        y, changed = Normalize().apply(variables, x, rest, mutable=["batch_stats"])
        return jnp.sum(weight * y), (y, changed)

    def differentiated(later):
        run_one = jax.value_and_grad(run, argnums=(0, 1), has_aux=True)
        return jax.tree.leaves(jax.jit(run_one, static_argnums=2)(x, offset, later))

    for one, other in zip(differentiated(False), differentiated(True), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_constant_input_gives_the_bias():
    layer = GroupNorm(2)
    x = jnp.full((1, 4, 4, 4), 3.7)
    variables = {"params": {"scale": jnp.ones(4), "bias": jnp.arange(4.0)}}
    np.testing.assert_allclose(layer.apply(variables, x)[0, 2, 2], np.arange(4.0), atol=1e-5)
    gradient = jax.grad(lambda x: jnp.sum(layer.apply(variables, x) ** 2))(x)
    assert np.isfinite(gradient).all()


def test_statistics_of_bfloat16_input_are_float32(rng):
    # A bf16 sum of 4096 ones would stop at 256.
    x = jnp.array(1 + 0.1 * rng.normal(size=(1, 16, 16, 16, 8)), jnp.bfloat16)
    layer = GroupNorm(8)
    variables = layer.init(jax.random.key(0), x)
    y = layer.apply(variables, x)
    assert y.dtype == jnp.bfloat16
    expected = layer.apply(variables, x.astype(jnp.float32))
    np.testing.assert_allclose(y.astype(jnp.float32), expected, atol=0.02, rtol=0.01)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="8 groups do not divide 12 channels"):
        GroupNorm(8).init(jax.random.key(0), jnp.zeros((1, 4, 4, 12)))


def test_instance_norm_is_group_norm_of_single_channels(rng):
    x = jnp.array(3 * rng.normal(size=(2, 3, 4, 5, 6)) + 2, jnp.float32)
    scale, bias = jnp.array(rng.normal(size=(2, 6)), jnp.float32)
    variables = {"params": {"scale": scale, "bias": bias}}
    expected = GroupNorm(6).apply(variables, x)
    np.testing.assert_allclose(InstanceNorm().apply(variables, x), expected, atol=1e-6)
    leaky = InstanceNorm(relu=True, negative_slope=0.01).apply(variables, x)
    np.testing.assert_allclose(leaky, np.where(expected > 0, expected, 0.01 * expected), atol=1e-6)
    assert (np.asarray(expected) < 0).any()


def test_prelu_s_slope_is_learned_for_each_channel():
    block = ConvBlock(2, 1, norm="none", activation="prelu")
    x = jnp.array([[[[-1.0], [2.0]]]])
    params = {
        "conv": {"kernel": jnp.ones((1, 1, 1, 2)), "bias": jnp.zeros(2)},
        "prelu": {"slope": jnp.array([0.5, 0.0])},
    }
    y = block.apply({"params": params}, x)
    np.testing.assert_array_equal(y[0, 0], [[-0.5, 0.0], [2.0, 2.0]])
    with pytest.raises(ValueError, match=r"activation is 'relu', .* not 'swish'"):
        ConvBlock(2, activation="swish").init(jax.random.key(0), x)
