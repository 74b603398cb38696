"""A 3D convolution from 2D ones and matrix products, in plain JAX.

XLA's 3D convolution on a CPU is several times slower than its 2D one. With the depth
folded into the batch, ``y[d] = sum_k conv2d(x[s * d + k - p], w[k])`` is the same sum.
"""

from __future__ import annotations

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
    total = None
    for tap in range(window.kernel[0]):
        planes = lax.slice_in_dim(x, tap, tap + step * (depth - 1) + 1, step, axis=1)
        part = lax.conv_general_dilated(
            planes.reshape(batch * depth, height, width, cin),
            kernel[tap],
            window.strides[1:],
            window.padding[1:],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            preferred_element_type=jnp.float32,
        )
        total = part if total is None else total + part
    return jnp.reshape(total, (batch, *window.output, -1)).astype(x.dtype)


def input_gradient(window: Window, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Gradient [B, *size, Cin] with respect to the input, from ``g`` [B, *output, Cout]."""
    kernel, shifted = gradient_as_convolution(window, kernel)
    y = forward(shifted, g, kernel)
    return crop(depth_to_space(y, window.strides), window.size)


def weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """Gradient [*k, Cin, Cout] with respect to the kernel, for strides of one.

    A scan over slabs of slices, each one matrix product [kd * Cin, K] x [K, kh * kw * Cout]
    over the K voxels of the slab: the taps along depth are joined on the input's side,
    those in the plane on the gradient's.
    """
    batch, depth, *_, cout = g.shape
    cin = x.shape[-1]
    taps, rows, columns = window.kernel
    height, width = window.size[1:]
    slab = min(depth, max(1, SLAB_ELEMENTS // (batch * height * width * max(cin, cout))))
    slabs = -(-depth // slab)
    low = window.padding[0][0]
    high = slab * slabs + taps - 1 - low - x.shape[1]
    x = jnp.pad(x, ((0, 0), (low, high), (0, 0), (0, 0), (0, 0)))
    spread = [(k - 1 - p, k - 1 - q) for k, (p, q) in zip(window.kernel, window.padding)][1:]
    g = jnp.pad(g, ((0, 0), (0, slab * slabs - depth), *spread, (0, 0)))

    def product(start: jax.Array) -> jax.Array:
        x_slab = lax.dynamic_slice_in_dim(x, start, slab + taps - 1, 1).astype(jnp.float32)
        g_slab = lax.dynamic_slice_in_dim(g, start, slab, 1).astype(jnp.float32)
        left = [x_slab[:, t : t + slab] for t in range(taps)]
        right = [
            g_slab[:, :, rows - 1 - i :, columns - 1 - j :][:, :, :height, :width]
            for i in range(rows)
            for j in range(columns)
        ]
        return lax.dot_general(
            jnp.concatenate(left, -1).reshape(-1, taps * cin),
            jnp.concatenate(right, -1).reshape(-1, rows * columns * cout),
            (((0,), (0,)), ((), ())),
        )

    total = jnp.sum(lax.map(product, slab * jnp.arange(slabs)), axis=0)
    total = total.reshape(taps, cin, rows, columns, cout).transpose(0, 2, 3, 1, 4)
    return total.astype(x.dtype)
