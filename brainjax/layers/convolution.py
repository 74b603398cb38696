"""Convolution over two or three spatial axes, channels last, padded as PyTorch pads.

The layer pads ``k // 2`` voxels of zeros on both sides of every axis. For a stride
of two on an even size this differs from XLA's ``"SAME"``, which pads on one side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

DIMENSIONS = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Sequence[tuple[int, int]] | None = None,
) -> jax.Array:
    """Convolution of ``x`` [B, *spatial, Cin] with ``kernel`` [*k, Cin, Cout]."""
    rank = x.ndim - 2
    strides = (strides,) * rank if isinstance(strides, int) else tuple(strides)
    if padding is None:
        padding = tuple((k // 2, k // 2) for k in kernel.shape[:rank])
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=DIMENSIONS[rank]
    )


class Conv(nn.Module):
    """A convolution with ``k // 2`` zeros on both sides: [B, *spatial, Cin] to Cout."""

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    bias_init: Callable[..., jax.Array] = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the convolution of ``x`` [B, *spatial, Cin], [B, *out, features]."""
        rank = x.ndim - 2
        size = self.kernel_size
        size = (size,) * rank if isinstance(size, int) else tuple(size)
        shape = (*size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolve(x, kernel, strides=self.strides)
        return y if bias is None else y + jnp.reshape(bias, (1,) * (rank + 1) + (-1,))
