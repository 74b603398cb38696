"""Up-sampling by two: the transposed convolution without holes.

A transposed convolution whose stride equals its kernel never overlaps itself, so
it is exactly a product of every voxel's channels with ``2^s`` matrices, followed by
an interleaving of the results (depth to space). The form that XLA would dilate is
many times slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.layers.convolution import add_bias, convolve
from brainjax.layers.window import depth_to_space


def upsample_by_2(x: jax.Array, kernel: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """Transposed convolution with kernel and stride 2 over all spatial axes.

    Args:
      x: [B, *spatial, Cin].
      kernel: [2, 2, (2,) Cin, Cout]; entry ``[i, j, k]`` makes the voxel at offset
        ``(i, j, k)`` of each block, PyTorch's kernel ``(in, out, d, h, w)`` transposed.
      bias: [Cout] or None.

    Returns:
      [B, *2 spatial, Cout].

    >>> x = jnp.ones((1, 3, 3, 2))
    >>> upsample_by_2(x, jnp.ones((2, 2, 2, 5))).shape
    (1, 6, 6, 5)
    """
    rank = x.ndim - 2
    matrix = jnp.moveaxis(kernel, rank, 0).reshape(*(1,) * rank, x.shape[-1], -1)
    y = depth_to_space(convolve(x, matrix), (2,) * rank)
    return add_bias(y, bias)


class UpConv(nn.Module):
    """Doubles every spatial axis: [B, *spatial, Cin] to [B, *2 spatial, features]."""

    features: int
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    bias_init: Callable[..., jax.Array] = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the up-sampled ``x``."""
        shape = (*(2,) * (x.ndim - 2), x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return upsample_by_2(x, kernel, bias)
