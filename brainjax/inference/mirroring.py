"""Test-time mirroring: the mean over the eight flips of a patch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp

Axes = tuple[int, ...]

FLIPS: tuple[Axes, ...] = tuple(
    axes for count in range(4) for axes in itertools.combinations((1, 2, 3), count)
)
"""The spatial axes of `[N, d, h, w, C]` that each of the eight flips turns round."""


def mirror_average(
    predict_patches: Callable[[jax.Array], jax.Array], patches: jax.Array
) -> jax.Array:
    """Averages the predictions for all eight mirror images, each flipped back.

    The flips are made outside ``predict_patches``, one after the other: the
    network is compiled once and only one flip's activations are alive.

    Args:
      predict_patches: compiled function from patches `[N, d, h, w, C]` to
        probabilities `[N, d, h, w, K]`.
      patches: `[N, d, h, w, C]`.

    Returns:
      Probabilities `[N, d, h, w, K]`, float32.
    """
    total = predict_patches(patches).astype(jnp.float32)
    for axes in FLIPS[1:]:
        total = _add_flipped(total, predict_patches(_flip(patches, axes)), axes)
    return total / len(FLIPS)


@functools.partial(jax.jit, static_argnames="axes")
def _flip(patches: jax.Array, axes: Axes) -> jax.Array:
    return jnp.flip(patches, axes)


@functools.partial(jax.jit, static_argnames="axes")
def _add_flipped(total: jax.Array, probabilities: jax.Array, axes: Axes) -> jax.Array:
    return total + jnp.flip(probabilities, axes).astype(jnp.float32)
