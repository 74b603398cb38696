"""A 3D convolution from 2D ones and matrix products, in plain JAX.

XLA's 3D convolution on a CPU is several times slower than its 2D one. With the depth
folded into the batch, ``y[d] = sum_k conv2d(x[s * d + k - p], w[k])`` is the same sum.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from brainjax.layers.window import Window, crop, depth_to_space, gradient_as_convolution

SLAB_ELEMENTS = 2**17


def supports(window: Window) -> bool:
    """Whether ``forward`` and ``input_gradient`` handle this geometry."""
    return len(window.size) == 3 and window.is_ordinary


def forward(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of ``x`` [B, D, H, W, Cin] with ``kernel`` [kd, kh, kw, Cin, Cout]."""
    batch, _, height, width, cin = x.shape
    depth = window.output[0]
    step = window.strides[0]
    x = jnp.pad(x, ((0, 0), window.padding[0], (0, 0), (0, 0), (0, 0)))

    def part(tap: int) -> jax.Array:
        planes = lax.slice_in_dim(x, tap, tap + step * (depth - 1) + 1, step, axis=1)
        return lax.conv_general_dilated(
            planes.reshape(batch * depth, height, width, cin),
            kernel[tap],
            window.strides[1:],
            window.padding[1:],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            preferred_element_type=jnp.float32,
        )

    total = functools.reduce(jnp.add, map(part, range(window.kernel[0])))
    return total.reshape(batch, *window.output, -1).astype(x.dtype)


def input_gradient(window: Window, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Gradient [B, *size, Cin] with respect to the input, from ``g`` [B, *output, Cout]."""
    kernel, shifted = gradient_as_convolution(window, kernel)
    y = forward(shifted, g, kernel)
    return crop(depth_to_space(y, window.strides), window.size)


def weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """Gradient [*k, Cin, Cout] with respect to the kernel.

    A scan over slabs of slices, each one matrix product over the slab's voxels. With a
    stride of one the taps along depth are joined on the input's side and those in the
    plane on the gradient's, [kd * Cin, K] x [K, kh * kw * Cout]; otherwise all taps are
    joined on the input's side.

    Args:
      window: the convolution's geometry.
      x: its input [B, D, H, W, Cin].
      g: gradient of its output [B, *output, Cout].
    """
    batch, depth, *_, cout = g.shape
    cin = x.shape[-1]
    step = window.strides[0]
    taps, rows, columns = window.kernel
    plane = [(i, j) for i in range(rows) for j in range(columns)]
    joins_gradient = window.strides == (1, 1, 1)
    height, width = window.size[1:] if joins_gradient else window.output[1:]
    slab = min(depth, max(1, SLAB_ELEMENTS // (batch * height * width * max(cin, cout))))
    slabs = -(-depth // slab)
    reach = step * (slab - 1) + taps
    low = window.padding[0][0]
    high = max(0, step * slab * (slabs - 1) + reach - low - x.shape[1])
    in_plane = zip(window.kernel[1:], window.padding[1:], strict=True)
    spread = [(k - 1 - before, k - 1 - after) for k, (before, after) in in_plane]
    none = [(0, 0), (0, 0)]
    x = jnp.pad(x, ((0, 0), (low, high), *(none if joins_gradient else window.padding[1:]), (0, 0)))
    g = jnp.pad(
        g, ((0, 0), (0, slab * slabs - depth), *(spread if joins_gradient else none), (0, 0))
    )

    def at(a: jax.Array, tap: tuple[int, int, int], strides: tuple[int, ...]) -> jax.Array:
        size = (slab, height, width)
        ends = [t + s * (n - 1) + 1 for t, n, s in zip(tap, size, strides, strict=True)]
        return lax.slice(a, (0, *tap, 0), (batch, *ends, a.shape[-1]), (1, *strides, 1))

    def product(start: jax.Array) -> jax.Array:
        x_slab = lax.dynamic_slice_in_dim(x, step * start, reach, 1).astype(jnp.float32)
        g_slab = lax.dynamic_slice_in_dim(g, start, slab, 1).astype(jnp.float32)
        if joins_gradient:
            left = [at(x_slab, (t, 0, 0), (1, 1, 1)) for t in range(taps)]
            right = [at(g_slab, (0, rows - 1 - i, columns - 1 - j), (1, 1, 1)) for i, j in plane]
        else:
            left = [at(x_slab, (t, i, j), window.strides) for t in range(taps) for i, j in plane]
            right = [g_slab]
        return lax.dot_general(
            jnp.concatenate(left, -1).reshape(-1, len(left) * cin),
            jnp.concatenate(right, -1).reshape(-1, len(right) * cout),
            (((0,), (0,)), ((), ())),
        )

    total = jnp.sum(lax.map(product, slab * jnp.arange(slabs)), axis=0)
    if joins_gradient:
        total = total.reshape(taps, cin, rows, columns, cout).transpose(0, 2, 3, 1, 4)
    return total.reshape(*window.kernel, cin, cout).astype(x.dtype)
