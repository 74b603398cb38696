"""Up-sampling by two: the transposed convolution without holes.

A transposed convolution whose stride equals its kernel never overlaps itself, so
it is exactly a product of every voxel's channels with ``2^s`` matrices, followed by
an interleaving of the results (depth to space). The form that XLA would dilate is
many times slower.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.lax import Precision

from brainjax.layers.convolution import Conv, add_bias, convolve
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

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the up-sampled ``x``."""
        kernel, bias = self.parameters(x.ndim - 2, x.shape[-1])
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return upsample_by_2(x, kernel, bias)

    @nn.compact
    def parameters(self, rank: int, channels: int) -> tuple[jax.Array, jax.Array | None]:
        """Kernel [*2, channels, features] and bias [features] for ``rank`` spatial axes."""
        shape = (*(2,) * rank, channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", self.bias_init, (self.features,), self.param_dtype)


def upsample_and_merge(
    x: jax.Array, skip: jax.Array, up: UpConv, merge: Conv
) -> tuple[jax.Array, jax.Array | None]:
    """``merge.without_bias(skip, up(x))`` in one product less at the finer size.

    With nothing between them an up-sampling and a kernel of one voxel are one linear map,
    so their kernels are multiplied first: ``merge(skip, up(x)) = S skip + (M U) x`` with
    ``merge``'s kernel in the parts S and M. The features that ``up`` makes never exist.

    Args:
      x: [B, *spatial, Cin].
      skip: [B, *2 spatial, Cskip].
      up: the up-sampling, bound to a parent.
      merge: a convolution with a kernel of one voxel and a stride of one.

    Returns:
      [B, *2 spatial, features] without a bias, and the bias [features] if there is one.
    """
    rank, width = x.ndim - 2, skip.shape[-1]
    kernel, bias = merge.parameters(rank, width + up.features)
    own, through = kernel[..., :width, :], kernel[(0,) * rank][width:]
    up_kernel, up_bias = up.parameters(rank, x.shape[-1])
    times = functools.partial(jnp.matmul, precision=Precision.HIGHEST)
    up_kernel = times(up_kernel, through)
    if up_bias is not None:
        up_bias = times(up_bias, through)
        bias = up_bias if bias is None else bias + up_bias
    x, skip, own, up_kernel, bias = nn.dtypes.promote_dtype(
        x, skip, own, up_kernel, bias, dtype=merge.dtype
    )
    y = convolve(skip, own) + upsample_by_2(x, up_kernel)
    if jax.default_backend() == "cpu":
        y = lax.optimization_barrier(y)  # XLA would work the sum out for each of its readers
    return y, bias
