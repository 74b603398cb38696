"""Winograd's convolution along the first spatial axis, from oneDNN's over the others.

Winograd (1980), as Lavin and Gray (2016) apply it to networks: ``m`` outputs of a filter
``g`` of ``r`` taps are ``A ((G g) * (B d))`` for the ``n = m + r - 1`` inputs ``d`` that they
read, ``n`` products for ``m r``. Here one of those products is a convolution over the other
axes with all channels, so that a kernel of 3 x 3 x 3 needs half the multiplications:
``n = 6`` for ``m = 4``. It pays where there are so many channels that the sums before and
after, which have to pass through memory, cost less.

The map is exact; its points are 0, infinity, +-1/sqrt(2) and +-sqrt(2), with which rounding
in f32 is 1.4 times that of oneDNN's plain sum (the usual 0, +-1 and +-2 round half as much
again).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from brainjax.layers import onednn
from brainjax.layers.window import Window, gradient_as_convolution

TAPS = 3
OUTPUTS = 4  # of one tile
POINTS = (0.0, math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2.0), -math.sqrt(2.0))  # and infinity
WASTE = 1.15  # largest ratio of the outputs worked out to those wanted

# Channels, and channels times voxels, from which it was measured to be faster, for two and
# for three axes.
FORWARD_PAYS = {2: (128, 600_000), 3: (32, 200_000)}
WEIGHT_GRADIENT_PAYS = {2: (128, 400_000), 3: (32, 60_000)}


def supports(window: Window, dtype: jnp.dtype) -> bool:
    """Whether the geometry and type can be taken this way."""
    return (
        dtype == jnp.float32
        and onednn.supports(window, dtype)
        and set(window.strides) == {1}
        and (window.kernel[0], window.padding[0]) == (TAPS, (1, 1))
    )


def forward(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of ``x`` [B, *size, Cin] with ``kernel`` [*k, Cin, Cout]."""
    if not _pays(window, x.shape[0], kernel.shape[-2:], FORWARD_PAYS):
        return onednn.forward(window, x, kernel)
    return transformed_forward(window, x, kernel)


def input_gradient(window: Window, g: jax.Array, kernel: jax.Array) -> jax.Array:
    """Gradient [B, *size, Cin] with respect to the input, from ``g`` [B, *output, Cout]."""
    kernel, window = gradient_as_convolution(window, kernel)
    return forward(window, g, kernel)


def weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """Gradient [*k, Cin, Cout] with respect to the kernel, from input and output gradient."""
    if not _pays(window, x.shape[0], (x.shape[-1], g.shape[-1]), WEIGHT_GRADIENT_PAYS):
        return onednn.weight_gradient(window, x, g)
    return transformed_weight_gradient(window, x, g)


def _pays(
    window: Window, batch: int, shape: Sequence[int], least: dict[int, tuple[int, int]]
) -> bool:
    """Whether this is faster than the plain sum.

    The multiplications that are saved go with the product of the channels and the sums
    with their sum, so it is their harmonic mean that counts.
    """
    cin, cout = shape
    channels = 2 * cin * cout / (cin + cout)
    wanted = window.output[0]
    least_channels, least_values = least[len(window.size)]
    return (
        channels >= least_channels
        and channels * batch * math.prod(window.output) >= least_values
        and OUTPUTS * -(-wanted // OUTPUTS) <= WASTE * wanted
    )


def transformed_forward(window: Window, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """``forward`` by tiles whatever the shapes."""
    outputs, taps, inputs = (matrix.astype(np.float32) for matrix in transforms())
    own = _window_of_tiles(window)
    filters = jnp.tensordot(taps, kernel, 1)[:, None]  # [n, 1, *k[1:], Cin, Cout]
    rows = _every_fourth(_pad_to_tiles(window, x, 1), OUTPUTS + TAPS - 1, own.size[0])
    products = [
        onednn.forward(own, _combine(weights, rows), tap)
        for weights, tap in zip(inputs, filters, strict=True)
    ]
    y = jnp.stack([_combine(weights, products) for weights in outputs], axis=2)
    y = y.reshape(x.shape[0], -1, *window.output[1:], kernel.shape[-1])
    return lax.slice_in_dim(y, 0, window.output[0], axis=1)


def transformed_weight_gradient(window: Window, x: jax.Array, g: jax.Array) -> jax.Array:
    """``weight_gradient`` by tiles whatever the shapes: the transpose of ``forward``'s map."""
    outputs, taps, inputs = (matrix.astype(np.float32) for matrix in transforms())
    own = _window_of_tiles(window)
    rows = _every_fourth(_pad_to_tiles(window, x, 1), OUTPUTS + TAPS - 1, own.size[0])
    columns = _every_fourth(_pad_to_tiles(window, g, 0), OUTPUTS, own.size[0])
    filters = [
        onednn.weight_gradient(own, _combine(weights, rows), _combine(spread, columns))[0]
        for weights, spread in zip(inputs, outputs.T, strict=True)
    ]
    return jnp.tensordot(taps.T, jnp.stack(filters), 1)


@functools.cache
def transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matrices A [m, n], G [n, r] and B [n, n] in f64, after Toom and Cook.

    A and G evaluate polynomials at the points; B holds the polynomials that vanish at all
    points but one. Rows of B are scaled to at most 1, and those of G the other way.
    """
    points = np.array(POINTS)
    n = len(points) + 1
    others = [np.delete(points, i) for i in range(n - 1)]
    slopes = np.array([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    at_infinity = np.eye(1, n)[0, ::-1]
    outputs = np.vander(points, OUTPUTS, increasing=True)
    taps = np.vander(points, TAPS, increasing=True) / slopes[:, None]
    inputs = [np.append(np.poly(rest)[::-1], 0.0) for rest in others]
    outputs = np.vstack([outputs, at_infinity[-OUTPUTS:]])
    taps = np.vstack([taps, at_infinity[-TAPS:]])
    matrix = np.vstack([*inputs, np.poly(points)[::-1]])
    matrix[np.abs(matrix) < 1e-12] = 0.0
    scale = np.abs(matrix).max(axis=1, keepdims=True)
    return outputs.T, taps * scale, matrix / scale


def _window_of_tiles(window: Window) -> Window:
    """The convolution over the other axes, with the tiles along the first."""
    tiles = -(-window.output[0] // OUTPUTS)
    return replace(
        window,
        size=(tiles, *window.size[1:]),
        kernel=(1, *window.kernel[1:]),
        padding=((0, 0), *window.padding[1:]),
    )


def _pad_to_tiles(window: Window, x: jax.Array, low: int) -> jax.Array:
    """``x`` [B, D, ...] with ``low`` zeros before and enough after for whole tiles."""
    high = OUTPUTS * -(-window.output[0] // OUTPUTS) + low - x.shape[1]
    return jnp.pad(x, ((0, 0), (low, high), *((0, 0),) * (x.ndim - 2)))


def _every_fourth(x: jax.Array, count: int, tiles: int) -> list[jax.Array]:
    """The first, second, .. of the ``count`` slices of every tile: each [B, tiles, ...]."""
    last = OUTPUTS * (tiles - 1) + 1
    return [lax.slice_in_dim(x, i, i + last, OUTPUTS, axis=1) for i in range(count)]


def _combine(weights: np.ndarray, parts: Sequence[jax.Array]) -> jax.Array:
    """``sum_i weights[i] * parts[i]``, without those that count for nothing."""
    terms = [
        part if weight == 1 else weight * part
        for weight, part in zip(weights.tolist(), parts, strict=True)
        if weight
    ]
    return functools.reduce(jnp.add, terms)
