"""The transposed convolution against PyTorch's and as the transpose of the convolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from brainjax.layers.convolution import convolve
from brainjax.layers.transposed_convolution import transposed_convolve


@pytest.mark.parametrize(("size", "strides"), [((4, 6), 2), ((5, 3), 2), ((3, 4), 3)])
def test_equals_pytorch_values_and_gradients(rng, size, strides) -> None:
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, 5)).astype(np.float32)
    theirs = [torch.tensor(a).requires_grad_() for a in (x, kernel)]
    y = torch.nn.functional.conv_transpose2d(
        theirs[0].permute(0, 3, 1, 2), theirs[1].permute(2, 3, 0, 1),
        stride=strides, padding=1, output_padding=strides - 1,
    ).permute(0, 2, 3, 1)  # fmt: skip
    (y**2).sum().backward()
    ours, gradients = jax.value_and_grad(
        lambda x, k: jnp.sum(transposed_convolve(x, k, strides=strides) ** 2), argnums=(0, 1)
    )(jnp.array(x), jnp.array(kernel))
    np.testing.assert_allclose(ours, y.detach().pow(2).sum(), rtol=1e-5)
    np.testing.assert_allclose(
        transposed_convolve(jnp.array(x), jnp.array(kernel), strides=strides),
        y.detach(), atol=1e-5,
    )  # fmt: skip
    for gradient, tensor in zip(gradients, theirs, strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(gradient, tensor.grad, rtol=1e-4, atol=1e-3)


def test_is_the_transpose_of_the_strided_convolution(rng) -> None:
    x, y = (jnp.array(rng.normal(size=s), jnp.float32) for s in ((1, 8, 6, 2), (1, 4, 3, 5)))
    kernel = jnp.array(rng.normal(size=(3, 3, 2, 5)), jnp.float32)
    down = convolve(x, kernel, strides=2)
    up = transposed_convolve(y, jnp.swapaxes(kernel, 2, 3))
    np.testing.assert_allclose(jnp.vdot(down, y), jnp.vdot(x, up), rtol=1e-4)


def test_volumes_are_enlarged_too(rng) -> None:
    x = jnp.array(rng.normal(size=(1, 2, 3, 2, 2)), jnp.float32)
    kernel = jnp.array(rng.normal(size=(3, 3, 3, 2, 4)), jnp.float32)
    theirs = torch.nn.functional.conv_transpose3d(
        torch.tensor(np.asarray(x)).permute(0, 4, 1, 2, 3),
        torch.tensor(np.asarray(kernel)).permute(3, 4, 0, 1, 2),
        stride=2, padding=1, output_padding=1,
    )  # fmt: skip
    np.testing.assert_allclose(
        transposed_convolve(x, kernel), theirs.permute(0, 2, 3, 4, 1), atol=1e-5
    )
