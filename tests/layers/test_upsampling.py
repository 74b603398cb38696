from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainjax.layers.convolution import Conv, add_bias
from brainjax.layers.upsampling import UpConv, upsample_and_merge, upsample_by_2


@pytest.mark.parametrize("rank", [2, 3])
def test_equals_torch_transposed_convolution(rank: int, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, *(3, 4, 5)[:rank], 3)).astype(np.float32)
    kernel = rng.standard_normal((*(2,) * rank, 3, 4)).astype(np.float32)
    bias = rng.standard_normal(4).astype(np.float32)
    g = rng.standard_normal((2, *(6, 8, 10)[:rank], 4)).astype(np.float32)
    found, pullback = jax.vjp(upsample_by_2, x, kernel, bias)
    gradients = pullback(jnp.asarray(g))

    peer = getattr(torch.nn, f"ConvTranspose{rank}d")(3, 4, 2, 2)
    volume = torch.from_numpy(np.moveaxis(x, -1, 1).copy()).requires_grad_()
    with torch.no_grad():
        peer.weight.copy_(torch.from_numpy(np.moveaxis(kernel, (-2, -1), (0, 1)).copy()))
        peer.bias.copy_(torch.from_numpy(bias))
    expected = peer(volume)
    expected.backward(torch.from_numpy(np.moveaxis(g, -1, 1).copy()))

    def last(tensor: torch.Tensor) -> np.ndarray:
        return np.moveaxis(tensor.detach().numpy(), 1, -1)

    np.testing.assert_allclose(found, last(expected), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gradients[0], last(volume.grad), rtol=1e-5, atol=1e-5)
    weights = np.moveaxis(peer.weight.grad.numpy(), (0, 1), (-2, -1))
    np.testing.assert_allclose(gradients[1], weights, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradients[2], peer.bias.grad.numpy(), rtol=1e-5, atol=1e-4)


def test_each_voxel_becomes_its_own_block() -> None:
    x = jnp.zeros((1, 3, 3, 3, 1)).at[0, 1, 2, 0, 0].set(1.0)
    kernel = jnp.arange(1.0, 9.0).reshape(2, 2, 2, 1, 1)
    y = upsample_by_2(x, kernel)
    np.testing.assert_array_equal(y[0, 2:4, 4:6, 0:2, 0], kernel[..., 0, 0])
    assert jnp.sum(y != 0) == 8


def test_program_has_no_convolution() -> None:
    layer = UpConv(4, dtype=jnp.bfloat16)
    x = jnp.ones((1, 2, 2, 2, 3))
    variables = layer.init(jax.random.key(0), x)
    assert variables["params"]["kernel"].shape == (2, 2, 2, 3, 4)
    step = jax.jit(jax.grad(lambda v: jnp.sum(layer.apply(v, x).astype(jnp.float32) ** 2)))
    text = step.lower(variables).as_text()
    assert "stablehlo.convolution" not in text
    assert "stablehlo.dot_general" in text
    assert layer.apply(variables, x).dtype == jnp.bfloat16


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("use_bias", [True, False])
def test_joined_with_the_merge_equals_one_after_the_other(
    rank: int, use_bias: bool, rng: np.random.Generator
) -> None:
    x = jnp.asarray(rng.standard_normal((2, *(3, 4, 5)[:rank], 6)), jnp.float32)
    skip = jnp.asarray(rng.standard_normal((2, *(6, 8, 10)[:rank], 7)), jnp.float32)

    class Both(nn.Module):
        joined: bool

        @nn.compact
        def __call__(self, x: jax.Array, skip: jax.Array) -> jax.Array:
            bias_init = nn.initializers.normal()
            up = UpConv(4, use_bias=use_bias, bias_init=bias_init, name="up")
            merge = Conv(5, 1, use_bias=use_bias, bias_init=bias_init, name="merge")
            if self.joined:
                return add_bias(*upsample_and_merge(x, skip, up, merge))
            return merge(skip, up(x))

    variables = Both(joined=False).init(jax.random.key(0), x, skip)

    def run(joined: bool) -> Any:
        def total(variables: Any, x: jax.Array, skip: jax.Array) -> tuple[jax.Array, jax.Array]:
            y = Both(joined=joined).apply(variables, x, skip)
            return jnp.sum(jnp.sin(y)), y

        return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(variables, x, skip)

    made = Both(joined=True).init(jax.random.key(0), x, skip)
    jax.tree.map(np.testing.assert_array_equal, made, variables)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-5), run(True), run(False)
    )
