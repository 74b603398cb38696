"""Pooling of images against PyTorch, values and gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.layers.image_pooling import (
    adaptive_average_pool,
    average_pool,
    global_average_pool,
    max_pool,
)

WINDOWS = [(2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 0), (2, 3, 0), (3, 2, 0), (5, 2, 2)]


def to_torch(x):
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.moveaxis(np.array(x), -1, 1).copy())


def assert_equals_torch(ours, theirs, x, g_key=0):
    """Values, and gradients with respect to ``x``, of two functions of an image."""
    x_torch = to_torch(x).requires_grad_()
    y_torch = theirs(x_torch)
    y, pull = jax.vjp(jax.jit(ours), jnp.array(x))
    g = np.random.default_rng(g_key).normal(size=y.shape).astype(np.float32)
    y_torch.backward(to_torch(g))
    np.testing.assert_allclose(y, np.moveaxis(y_torch.detach().numpy(), 1, -1), atol=1e-6)
    np.testing.assert_allclose(pull(g)[0], np.moveaxis(x_torch.grad.numpy(), 1, -1), atol=2e-6)
    np.testing.assert_array_equal(y, ours(jnp.array(x)))  # without a gradient: another program


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 6)])
@pytest.mark.parametrize(("window", "strides", "padding"), WINDOWS)
def test_max_pool_equals_pytorch_where_values_tie(size, window, strides, padding, rng):
    torch = pytest.importorskip("torch")
    x = rng.integers(-2, 2, size=(2, *size, 3)).astype(np.float32)  # most windows have ties
    assert_equals_torch(
        lambda x: max_pool(x, window, strides=strides, padding=padding),
        lambda x: torch.nn.functional.max_pool2d(x, window, strides, padding),
        x,
    )


def test_max_pool_hands_on_what_is_not_a_number():
    x = jnp.zeros((1, 4, 4, 1)).at[0, 1, 1, 0].set(jnp.nan)
    for y in (max_pool(x, 2), jax.vjp(lambda x: max_pool(x, 2), x)[0]):
        np.testing.assert_array_equal(np.isnan(y[0, :, :, 0]), [[True, False], [False, False]])


def test_max_pool_in_bfloat16_under_vmap_and_differentiated_twice(rng):
    x = jnp.array(rng.normal(size=(3, 2, 6, 7, 2)), jnp.float32)

    def total(x):
        return jnp.sum(max_pool(x, 3, strides=2, padding=1) ** 3)

    slope = jax.jit(jax.grad(total))
    one_by_one = jnp.stack([slope(image) for image in x])
    np.testing.assert_allclose(jax.jit(jax.vmap(slope))(x), one_by_one, rtol=1e-6)
    twice = jax.jit(jax.grad(lambda x: jnp.sum(slope(x))))(x[0])
    y, where = jax.vjp(lambda x: max_pool(x, 3, strides=2, padding=1), x[0])
    np.testing.assert_allclose(twice, where(6 * y)[0], rtol=1e-5)  # (y^3)'' where y came from
    rough = max_pool(x[0].astype(jnp.bfloat16), 2)
    np.testing.assert_array_equal(rough, max_pool(x[0], 2).astype(jnp.bfloat16))


@pytest.mark.parametrize("size", [(8, 8), (7, 9)])
def test_average_pool_equals_pytorch(size, rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    theirs = torch.nn.functional.avg_pool2d
    assert_equals_torch(lambda x: average_pool(x, 2), lambda x: theirs(x, 2), x)
    assert_equals_torch(global_average_pool, lambda x: x.mean((2, 3)), x)


@pytest.mark.parametrize("size", [(14, 7), (10, 3), (1, 16)])
def test_adaptive_average_pool_equals_pytorch(size, rng):
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    theirs = torch.nn.functional.adaptive_avg_pool2d
    assert_equals_torch(lambda x: adaptive_average_pool(x, (7, 7)), lambda x: theirs(x, 7), x)


def test_windows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="an image of 1x4 is too small to be pooled"):
        max_pool(jnp.zeros((1, 1, 4, 1)), 2)
    with pytest.raises(ValueError, match="too small"):
        average_pool(jnp.zeros((1, 4, 1, 1)), 2)
    with pytest.raises(ValueError, match="padding 2 is more than half of the window 3"):
        max_pool(jnp.zeros((1, 4, 4, 1)), 3, padding=2)
