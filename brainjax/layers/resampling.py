"""Coarser and finer grids without parameters: pooling by two, linear interpolation.

Voxels are cells, as for PyTorch's ``align_corners=False``: the centre of a coarse voxel is
that of the block of fine ones that it stands for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.layers.window import depth_to_space


def max_pool_by_2(x: jax.Array) -> jax.Array:
    """The largest of each block of two voxels an axis, [B, *spatial, C] to half the size.

    The gradient goes to the first of equal values, as PyTorch's does.

    Raises:
      ValueError: an axis is odd.

    >>> max_pool_by_2(jnp.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[[[3.0]]]]
    """
    return _max_pool(x)


def average_pool_by_2(x: jax.Array) -> jax.Array:
    """The mean of each block of two voxels an axis, [B, *spatial, C] to half the size.

    Raises:
      ValueError: an axis is odd.

    >>> average_pool_by_2(jnp.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[[[1.5]]]]
    """
    blocks, within = _blocks(x, 2)
    return jnp.mean(blocks, axis=within, dtype=jnp.float32).astype(x.dtype)


def interpolate_down(x: jax.Array, factor: int) -> jax.Array:
    """Linear interpolation at the centre of each block of ``factor`` voxels an axis.

    As PyTorch's ``interpolate`` without smoothing: for an even factor the mean of the two
    voxels in the middle, whatever the others hold.

    Args:
      x: [B, *spatial, C].
      factor: even; has to divide every axis.

    Returns:
      [B, *spatial / factor, C].

    Raises:
      ValueError: the factor is odd or does not divide an axis.

    >>> interpolate_down(jnp.arange(8.0).reshape(1, 8, 1), 4)[0, :, 0].tolist()
    [1.5, 5.5]
    """
    if factor % 2:
        raise ValueError(f"factor {factor}: expected an even number")
    blocks, within = _blocks(x, factor)
    for axis in within:
        middle = jax.lax.slice_in_dim(blocks, factor // 2 - 1, factor // 2 + 1, axis=axis)
        blocks = jnp.mean(middle, axis=axis, keepdims=True, dtype=jnp.float32).astype(x.dtype)
    return jnp.squeeze(blocks, within)


def interpolate_up(x: jax.Array, factor: int) -> jax.Array:
    """Linear interpolation to ``factor`` times the voxels an axis; edges are repeated.

    Args:
      x: [B, *spatial, C].
      factor: 1 or more.

    Returns:
      [B, *factor spatial, C].

    >>> interpolate_up(jnp.array([[[0.0], [4.0]]]), 2)[0, :, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    place = (np.arange(factor) + 0.5) / factor - 0.5  # of the fine voxels, from the coarse one's
    weights = (np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0))
    for axis in range(1, x.ndim - 1):
        size = x.shape[axis]
        first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
        before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
        after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
        spread = (*(1,) * (axis + 1), factor, *(1,) * (x.ndim - axis - 1))
        y = sum(
            jnp.expand_dims(part, axis + 1) * jnp.asarray(weight, x.dtype).reshape(spread)
            for part, weight in zip((before, x, after), weights, strict=True)
        )
        x = jnp.reshape(y, (*x.shape[:axis], factor * size, *x.shape[axis + 1 :]))
    return x


def _blocks(x: jax.Array, factor: int) -> tuple[jax.Array, Sequence[int]]:
    """[B, n1, f, n2, f, .., C] of [B, n1 * f, n2 * f, .., C], and the axes of the ``f``."""
    spatial = x.shape[1:-1]
    if any(size % factor for size in spatial):
        raise ValueError(f"the spatial shape {spatial} does not divide by {factor}")
    split = [part for size in spatial for part in (size // factor, factor)]
    blocks = jnp.reshape(x, (x.shape[0], *split, x.shape[-1]))
    return blocks, range(2, 1 + len(split), 2)


@jax.custom_vjp
def _max_pool(x: jax.Array) -> jax.Array:
    return _max_and_place(x)[0]


def _max_and_place(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The maxima, and which of its block's voxels each was.

    XLA's own gradient of a maximum compares the input with it once more. Fused code may
    have rounded the two differently; then it finds none, and divides by zero.
    """
    blocks, within = _blocks(x, 2)
    taps = []
    for offsets in itertools.product((0, 1), repeat=len(within)):
        index: list[slice | int] = [slice(None)] * blocks.ndim
        for axis, offset in zip(within, offsets, strict=True):
            index[axis] = offset
        taps.append(blocks[tuple(index)])
    best, place = taps[0], jnp.zeros(taps[0].shape, jnp.int8)
    for number, value in enumerate(taps[1:], start=1):
        better = (value > best) | jnp.isnan(value)
        best = jnp.where(better, value, best)
        place = jnp.where(better, jnp.int8(number), place)
    return best, place


def _max_pool_backward(place: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    rank = g.ndim - 2
    parts = [jnp.where(place == number, g, 0) for number in range(2**rank)]
    return (depth_to_space(jnp.concatenate(parts, axis=-1), (2,) * rank),)


_max_pool.defvjp(_max_and_place, _max_pool_backward)
