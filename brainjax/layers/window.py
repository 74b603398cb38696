"""The geometry of one convolution, and the rearrangements that strides need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True, kw_only=True)
class Window:
    """Where the taps of a convolution fall: one entry for each spatial axis.

    Output ``o`` of an axis reads the inputs ``strides * o + t - padding[0]`` for the
    taps ``0 <= t < kernel``; inputs outside ``0 <= i < size`` are zero.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]

    @property
    def output(self) -> tuple[int, ...]:
        """Size of the output.

        >>> Window(size=(8,), kernel=(3,), strides=(2,), padding=((1, 1),)).output
        (4,)
        """
        axes = zip(self.size, self.kernel, self.strides, self.padding, strict=True)
        return tuple((n + low + high - k) // s + 1 for n, k, s, (low, high) in axes)

    @property
    def is_product(self) -> bool:
        """Whether each output reads one input only, so that a matrix product does it."""
        return all(k == 1 for k in self.kernel) and all(p == (0, 0) for p in self.padding)

    @property
    def is_ordinary(self) -> bool:
        """Whether sizes are positive and no padding reaches beyond the kernel."""
        axes = zip(self.kernel, self.padding, strict=True)
        return min(*self.size, *self.output) > 0 and all(
            0 <= low < k and 0 <= high < k for k, (low, high) in axes
        )


def depth_to_space(y: jax.Array, strides: Sequence[int]) -> jax.Array:
    """Interleaves channels into space: [B, *n, prod(s) * C] to [B, *(n * s), C].

    Channel ``(r1, .., rk, c)``, the last fastest, of position ``j`` becomes channel
    ``c`` of position ``s * j + r``.

    >>> depth_to_space(jnp.arange(4).reshape(1, 1, 1, 4), (2, 2))[0, :, :, 0].tolist()
    [[0, 1], [2, 3]]
    """
    rank = len(strides)
    batch, *size, channels = y.shape
    y = y.reshape(batch, *size, *strides, channels // math.prod(strides))
    order = [a for axis in range(rank) for a in (1 + axis, 1 + rank + axis)]
    y = y.transpose(0, *order, 1 + 2 * rank)
    return y.reshape(batch, *(n * s for n, s in zip(size, strides, strict=True)), -1)


def gradient_as_convolution(window: Window, kernel: jax.Array) -> tuple[jax.Array, Window]:
    """The gradient with respect to the input as a convolution with stride one.

    The input ``i = s * j + r`` of an axis took part in the outputs ``o = j + d`` through
    the taps ``t = r + p - s * d``. For each offset ``d`` and remainder ``r`` there is at
    most one tap, so a kernel over ``d`` with ``prod(s) * Cin`` output channels, followed
    by ``depth_to_space``, gives the gradient without any dilation by zeros.

    Args:
      window: geometry of the convolution to differentiate; must be ordinary.
      kernel: its kernel [*k, Cin, Cout].

    Returns:
      The kernel [*offsets, Cout, prod(s) * Cin] and the window of the convolution that
      takes the output's gradient to [B, *ceil(size / s), prod(s) * Cin].
    """
    rank = len(window.kernel)
    pads, offsets, padding = [], [], []
    axes = zip(
        window.size, window.output, window.kernel, window.strides, window.padding, strict=True
    )
    for size, output, k, s, (low, _) in axes:
        last = (s - 1 + low) // s
        first = -((k - 1 - low) // s)
        pads.append((s * last - low, s - 1 + low - s * first - (k - 1)))
        offsets.append(last - first + 1)
        padding.append((-first, -(-size // s) - 1 + last - (output - 1)))
    kernel = jnp.pad(kernel, (*pads, (0, 0), (0, 0)))
    split = [n for pair in zip(offsets, window.strides, strict=True) for n in pair]
    kernel = jnp.flip(kernel.reshape(*split, *kernel.shape[-2:]), range(0, 2 * rank, 2))
    taps, remainders = range(0, 2 * rank, 2), range(1, 2 * rank, 2)
    kernel = kernel.transpose(*taps, 2 * rank + 1, *remainders, 2 * rank)
    kernel = kernel.reshape(*offsets, kernel.shape[rank], -1)
    return kernel, Window(
        size=window.output, kernel=tuple(offsets), strides=(1,) * rank, padding=tuple(padding)
    )


def crop(x: jax.Array, size: Sequence[int]) -> jax.Array:
    """The first ``size`` voxels of [B, *spatial, C] along each spatial axis."""
    return x[(slice(None), *(slice(n) for n in size))]
