"""Transposed convolution with overlapping taps, as a convolution without holes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from brainjax.layers.convolution import convolve
from brainjax.layers.window import Window, crop, depth_to_space, gradient_as_convolution


def transposed_convolve(x: jax.Array, kernel: jax.Array, *, strides: int = 2) -> jax.Array:
    """Transposes ``convolve(y, ..., strides)``, whose padding is ``k // 2``: the way back up.

    XLA would put ``strides - 1`` zeros between the inputs and multiply by them. The same
    sums are one convolution of stride one to ``strides^s`` times the channels, which are
    then interleaved.

    Args:
      x: [B, *n, Cin].
      kernel: [*k, Cin, Cout], PyTorch's ``(in, out, *k)`` transposed.
      strides: factor of the size, the same along each axis.

    Returns:
      [B, *(strides * n), Cout]: PyTorch's ``padding=k // 2, output_padding=strides - 1`` of
      an odd kernel.

    >>> transposed_convolve(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0]
    Array([[1., 2., 1., 1.],
           [2., 4., 2., 2.],
           [1., 2., 1., 1.],
           [1., 2., 1., 1.]], dtype=float32)
    """
    rank = x.ndim - 2
    down = Window(
        size=tuple(strides * n for n in x.shape[1:-1]),
        kernel=kernel.shape[:rank],
        strides=(strides,) * rank,
        padding=tuple((k // 2, k // 2) for k in kernel.shape[:rank]),
    )
    kernel, up = gradient_as_convolution(down, jnp.swapaxes(kernel, -1, -2))
    y = convolve(x, kernel, padding=up.padding)
    return crop(depth_to_space(y, down.strides), down.size)


class TransposedConv(nn.Module):
    """Enlarges every spatial axis: [B, *n, Cin] to [B, *(strides * n), features].

    Attributes:
      features: channels of the output.
      kernel_size: rows and columns (and slices) of the kernel, an odd number.
      strides: the factor.
      dtype: type to compute in; the promoted type of input and parameters by default.
      kernel_init: initial values of the kernel, which has no bias.
    """

    features: int
    kernel_size: int = 3
    strides: int = 2
    dtype: Any = None
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the enlarged ``x``."""
        shape = (*(self.kernel_size,) * (x.ndim - 2), x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return transposed_convolve(x, kernel, strides=self.strides)
