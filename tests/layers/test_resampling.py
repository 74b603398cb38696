"""Pooling by two and linear interpolation against PyTorch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.layers import average_pool_by_2, interpolate_down, interpolate_up, max_pool_by_2

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def linear(factor):
    return lambda x: functional.interpolate(
        x, scale_factor=factor, mode={4: "bilinear", 5: "trilinear"}[x.ndim]
    )


def pooled(kind):
    return lambda x: getattr(functional, f"{kind}_pool{x.ndim - 2}d")(x, 2)


CASES = {
    "max": (max_pool_by_2, pooled("max")),
    "average": (average_pool_by_2, pooled("avg")),
    "down_by_4": (lambda x: interpolate_down(x, 4), linear(0.25)),
    "up_by_2": (lambda x: interpolate_up(x, 2), linear(2)),
    "up_by_3": (lambda x: interpolate_up(x, 3), linear(3)),
    "up_by_8": (lambda x: interpolate_up(x, 8), linear(8)),
}


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_pytorch(name, rank, rng):
    ours, theirs = CASES[name]
    x = rng.integers(-3, 4, size=(2, *(8, 4, 12)[:rank], 3)).astype(np.float32)  # ties, too
    volume = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
    expected = theirs(volume)
    g = rng.normal(size=tuple(expected.shape)).astype(np.float32)
    expected.backward(torch.from_numpy(g))
    found, pullback = jax.vjp(jax.jit(ours), jnp.array(x))
    np.testing.assert_allclose(found, np.moveaxis(expected.detach().numpy(), 1, -1), atol=1e-5)
    gradient = np.moveaxis(volume.grad.numpy(), 1, -1)
    np.testing.assert_allclose(pullback(jnp.moveaxis(g, 1, -1))[0], gradient, atol=1e-4)


def test_one_voxel_can_be_enlarged():
    np.testing.assert_array_equal(interpolate_up(jnp.ones((1, 1, 2, 1)), 4), 1.0)


def test_maximum_of_a_computed_input_has_a_finite_gradient(rng):
    x = jnp.array(rng.normal(size=(1, 8, 8, 4)), jnp.float32)
    step = jax.jit(jax.grad(lambda x: jnp.sum(max_pool_by_2(jnp.tanh(1.7 * x + 0.3) * x) ** 2)))
    assert np.isfinite(step(x)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: max_pool_by_2(x), r"\(6, 5\) does not divide by 2"),
        (lambda x: interpolate_down(x, 4), r"\(6, 5\) does not divide by 4"),
        (lambda x: interpolate_down(x, 3), "factor 3: expected an even number"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.ones((1, 6, 5, 1)))
