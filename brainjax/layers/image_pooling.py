"""Pooling of images, channels last, as PyTorch defines it.

The gradient of a maximum goes to the first of equal values, row by row, as PyTorch's
does. XLA's own gradient of a maximum over windows is several times slower on a CPU.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision


def max_pool(x: jax.Array, size: int, *, strides: int | None = None, padding: int = 0) -> jax.Array:
    """The largest value in each window; what is padded never wins.

    Args:
      x: images [B, H, W, C].
      size: rows and columns of a window.
      strides: pixels between windows; ``size`` by default.
      padding: pixels added on every side, at most half of ``size``.

    Returns:
      [B, H', W', C] with ``H' = (H + 2 * padding - size) // strides + 1``.

    Raises:
      ValueError: the image is smaller than a window, or the padding too wide.

    >>> max_pool(jnp.arange(25.0).reshape(1, 5, 5, 1), 2)[0, :, :, 0]
    Array([[ 6.,  8.],
           [16., 18.]], dtype=float32)
    >>> max_pool(-jnp.ones((1, 4, 4, 1)), 3, strides=2, padding=1)[0, :, :, 0]
    Array([[-1., -1.],
           [-1., -1.]], dtype=float32)
    """
    strides = strides or size
    if not 0 <= 2 * padding <= size:
        raise ValueError(f"padding {padding} is more than half of the window {size}")
    _check_size(x, size - 2 * padding)
    return _max_pool(x, size, strides, padding)


def average_pool(x: jax.Array, size: int) -> jax.Array:
    """The mean of each of the windows that tile the image; what remains is left out.

    Args:
      x: images [B, H, W, C].
      size: rows and columns of a window.

    Returns:
      [B, H // size, W // size, C].

    Raises:
      ValueError: the image is smaller than a window.

    >>> average_pool(jnp.arange(25.0).reshape(1, 5, 5, 1), 2)[0, :, :, 0]
    Array([[ 3.,  5.],
           [13., 15.]], dtype=float32)
    """
    _check_size(x, size)
    batch, rows, columns, channels = x.shape[0], x.shape[1] // size, x.shape[2] // size, x.shape[3]
    x = x[:, : rows * size, : columns * size]
    windows = x.reshape(batch, rows, size, columns, size, channels)
    return jnp.mean(windows, axis=(2, 4))


def adaptive_average_pool(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """The mean over ``size`` windows that cover the image, whatever its size.

    Window ``i`` of ``n`` reaches from ``floor(i H / n)`` to ``ceil((i + 1) H / n)``, so
    that windows overlap where ``n`` does not divide ``H``, and repeat where ``n > H``.

    Args:
      x: images [B, H, W, C].
      size: rows and columns of the result.

    Returns:
      [B, *size, C].

    >>> adaptive_average_pool(jnp.arange(3.0).reshape(1, 1, 3, 1), (1, 2))[0, 0, :, 0]
    Array([0.5, 1.5], dtype=float32)
    """
    rows, columns = size
    if x.shape[1] != rows:
        weights = jnp.asarray(_adaptive_weights(x.shape[1], rows), x.dtype)
        x = jnp.einsum("oh,bhwc->bowc", weights, x, precision=Precision.HIGHEST)
    if x.shape[2] != columns:
        weights = jnp.asarray(_adaptive_weights(x.shape[2], columns), x.dtype)
        x = jnp.einsum("ow,bhwc->bhoc", weights, x, precision=Precision.HIGHEST)
    return x


def global_average_pool(x: jax.Array) -> jax.Array:
    """The mean over all pixels, [B, H, W, C] to [B, C], summed in f32.

    >>> float(global_average_pool(jnp.arange(4.0).reshape(1, 2, 2, 1))[0, 0])
    1.5
    """
    return jnp.mean(x, axis=(1, 2), dtype=jnp.float32).astype(x.dtype)


def _check_size(x: jax.Array, needed: int) -> None:
    if min(x.shape[1:3]) < max(needed, 1):
        raise ValueError(f"an image of {x.shape[1]}x{x.shape[2]} is too small to be pooled")


def _adaptive_weights(size: int, windows: int) -> np.ndarray:
    """The means as a matrix [windows, size]."""
    weights = np.zeros((windows, size))
    for i in range(windows):
        start, end = i * size // windows, -(-(i + 1) * size // windows)
        weights[i, start:end] = 1.0 / (end - start)
    return weights


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _max_pool(x: jax.Array, size: int, strides: int, padding: int) -> jax.Array:
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, size, size, 1),
        (1, strides, strides, 1),
        ((0, 0), (padding, padding), (padding, padding), (0, 0)),
    )


def _max_pool_forward(
    x: jax.Array, size: int, strides: int, padding: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The maxima, which of its window's pixels each was, and an array as wide as ``x``."""
    height, width = ((n + 2 * padding - size) // strides + 1 for n in x.shape[1:3])
    edge = (padding, padding, 0)
    spread = lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), edge, edge, (0, 0, 0)))

    def at(row: int, column: int) -> jax.Array:
        ends = (row + strides * (height - 1) + 1, column + strides * (width - 1) + 1)
        limits = (x.shape[0], *ends, x.shape[3])
        return lax.slice(spread, (0, row, column, 0), limits, (1, strides, strides, 1))

    best = at(0, 0)
    where = jnp.zeros(best.shape, jnp.int16)
    for tap in range(1, size * size):
        value = at(*divmod(tap, size))
        better = (value > best) | jnp.isnan(value)
        best = jnp.where(better, value, best)
        where = jnp.where(better, jnp.int16(tap), where)
    return best, (where, x[:0])


def _max_pool_backward(
    size: int,
    strides: int,
    padding: int,
    saved: tuple[jax.Array, jax.Array],
    g: jax.Array,
) -> tuple[jax.Array]:
    """Sends each window's gradient to its maximum.

    Pixel ``s * a + r`` of the padded image is tap ``r + s * d`` of window ``a - d``, so
    each remainder ``r`` is a sum of shifted arrays, and the remainders are interleaved.
    """
    where, like = saved
    batch, *windows, channels = g.shape
    sizes = like.shape[1:3]
    reach = -(-size // strides) - 1
    cells = [-(-(n + 2 * padding) // strides) for n in sizes]
    edges = [(reach, max(0, a - n)) for a, n in zip(cells, windows, strict=True)]
    g = jnp.pad(g, ((0, 0), *edges, (0, 0)))
    where = jnp.pad(where, ((0, 0), *edges, (0, 0)), constant_values=-1)

    def part(row: int, column: int) -> jax.Array:
        top, left = reach - row // strides, reach - column // strides
        window = (slice(None), slice(top, top + cells[0]), slice(left, left + cells[1]))
        return jnp.where(where[window] == row * size + column, g[window], 0)

    def phase(row: int, column: int) -> jax.Array:
        parts = [
            part(i, j) for i in range(row, size, strides) for j in range(column, size, strides)
        ]
        return functools.reduce(jnp.add, parts, jnp.zeros((batch, *cells, channels), g.dtype))

    rows = [jnp.stack([phase(i, j) for j in range(strides)], 3) for i in range(strides)]
    pixels = jnp.stack(rows, 2).reshape(batch, *(a * strides for a in cells), channels)
    top, left = (slice(padding, padding + n) for n in sizes)
    return (pixels[:, top, left],)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)
