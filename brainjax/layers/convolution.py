"""Convolution over two or three spatial axes, channels last, padded as PyTorch pads.

The layer pads ``k // 2`` zeros on both sides of every axis. For a stride of two on an
even size this differs from XLA's ``"SAME"``, which pads on one side only.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from brainjax.layers import (
    cpu_convolution,
    gpu_convolution,
    lowered_convolution,
    plain_convolution,
)
from brainjax.layers.manual_axes import vary_alike
from brainjax.layers.window import Window


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Sequence[int] = 1,
    padding: Sequence[tuple[int, int]] | None = None,
) -> jax.Array:
    """Convolves a batch of images or volumes: ``y[o] = sum_t x[s * o + t - p] kernel[t]``.

    This is the fastest way that is safe for the platform and the shapes (see
    ``choose_lowering`` of ``cpu_convolution`` and ``gpu_convolution``), equal to XLA's own
    within rounding, values and gradients.

    Args:
      x: input [B, *spatial, Cin] with two or three spatial axes.
      kernel: weights [*k, Cin, Cout] of the same type.
      strides: voxels between outputs, one number or one for each axis.
      padding: zeros before and after each axis; ``k // 2`` on both sides by default.

    Returns:
      [B, *out, Cout] with ``out = (n + before + after - k) // stride + 1``.

    Raises:
      ValueError: the shapes or types do not fit.

    >>> convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), strides=2)[0, :, :, 0]
    Array([[4., 6.],
           [6., 9.]], dtype=float32)
    """
    rank = x.ndim - 2
    if rank not in (2, 3) or kernel.ndim != x.ndim or kernel.shape[rank] != x.shape[-1]:
        raise ValueError(f"kernel {kernel.shape} does not fit the input {x.shape}")
    if x.dtype != kernel.dtype:
        raise ValueError(f"the input is {x.dtype} and the kernel {kernel.dtype}")
    window = Window(
        size=x.shape[1:-1],
        kernel=kernel.shape[:rank],
        strides=_per_axis(strides, rank),
        padding=tuple((k // 2, k // 2) for k in kernel.shape[:rank])
        if padding is None
        else tuple((int(low), int(high)) for low, high in padding),
    )
    platform = jax.default_backend()
    lowering = "plain"
    if 0 not in (*x.shape, *kernel.shape):
        if platform == "cpu":
            lowering = cpu_convolution.choose_lowering(window, x.dtype)
        elif platform == "gpu":
            lowering = gpu_convolution.choose_lowering(window, x, kernel)
    slow = lowering == "onednn" and x.dtype == jnp.bfloat16  # XLA's product on a CPU
    if window.is_product and not slow:
        steps = (1, *window.strides, 1)
        x = lax.slice(x, (0,) * x.ndim, x.shape, steps)
        if platform == "cpu":
            x = lax.optimization_barrier(x)  # XLA would take what makes it into the product
        return jnp.matmul(x, kernel[(0,) * rank])
    if lowering == "plain":
        return plain_convolution.forward(window, x, kernel)
    x, kernel = vary_alike(x, kernel), vary_alike(kernel, x)
    return lowered_convolution.convolve(window, lowering, x, kernel)


class Conv(nn.Module):
    """A convolution, by default with ``k // 2`` zeros on both sides of every axis.

    Parameters: ``kernel`` [*k, Cin, features] and ``bias`` [features].

    Attributes:
      features: channels of the output.
      kernel_size: one number or one for each spatial axis.
      strides: one number or one for each spatial axis.
      padding: zeros on both sides of every axis, in place of ``k // 2``.
      use_bias: whether to add a bias.
      dtype: type to compute in; the promoted type of input and parameters by default.
      param_dtype: type of the parameters.
      kernel_init: initial values of the kernel.
      bias_init: initial values of the bias.
    """

    features: int
    kernel_size: int | Sequence[int]
    strides: int | Sequence[int] = 1
    padding: int | None = None
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Callable[..., jax.Array] = nn.initializers.lecun_normal()
    bias_init: Callable[..., jax.Array] = nn.initializers.zeros_init()

    def __call__(self, x: jax.Array, *more: jax.Array) -> jax.Array:
        """Convolves ``x`` [B, *spatial, Cin] into [B, *out, features].

        Args:
          x: the input.
          *more: inputs of the same size whose channels follow those of ``x``. A kernel of
            one voxel is applied to each by itself, which spares joining them in memory.
        """
        return add_bias(*self.without_bias(x, *more))

    def without_bias(self, x: jax.Array, *more: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """The result before the bias, and the bias [features] if there is one.

        A norm that follows takes both (its ``offset``) and so spares a pass over memory.

        Args:
          x: as in a call.
          *more: as in a call.
        """
        rank = x.ndim - 2
        channels = [part.shape[-1] for part in (x, *more)]
        kernel, bias = self.parameters(rank, sum(channels))
        kernel, bias, *parts = nn.dtypes.promote_dtype(kernel, bias, x, *more, dtype=self.dtype)
        padding = None if self.padding is None else ((self.padding, self.padding),) * rank
        if max(kernel.shape[:rank]) > 1:
            parts, channels = [jnp.concatenate(parts, axis=-1)], [sum(channels)]
        kernels = jnp.split(kernel, list(itertools.accumulate(channels))[:-1], axis=-2)
        products = [
            convolve(part, own, strides=self.strides, padding=padding)
            for part, own in zip(parts, kernels, strict=True)
        ]
        return functools.reduce(jnp.add, products), bias

    @nn.compact
    def parameters(self, rank: int, channels: int) -> tuple[jax.Array, jax.Array | None]:
        """Kernel [*k, channels, features] and bias [features] for ``rank`` spatial axes."""
        shape = (*_per_axis(self.kernel_size, rank), channels, self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        if not self.use_bias:
            return kernel, None
        return kernel, self.param("bias", self.bias_init, (self.features,), self.param_dtype)


def add_bias(y: jax.Array, bias: jax.Array | None) -> jax.Array:
    """``y`` [B, *spatial, C] and a bias [C], if there is one."""
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)


def _per_axis(value: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """One number for each of ``rank`` axes, as Python integers.

    Raises:
      ValueError: as many numbers as axes are needed.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(int(v) for v in value)
    if len(values) != rank:
        raise ValueError(f"expected one number or {rank}, found {values}")
    return values
