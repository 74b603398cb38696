"""Mirror flips."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def flip_randomly(
    key: jax.Array, image: jax.Array, labels: jax.Array, *, probability: float
) -> tuple[jax.Array, jax.Array]:
    """Mirrors one example along each spatial axis, independently and with equal probability.

    Args:
      key: the example's random key.
      image: [*spatial, C].
      labels: [*spatial]; mirrored as the image is.
      probability: chance of a flip, of each axis.

    Returns:
      Image and labels of the same shapes and types.
    """
    flips = jax.random.bernoulli(key, probability, (labels.ndim,))  # [spatial axes]
    for axis in range(labels.ndim):
        image = jnp.where(flips[axis], jnp.flip(image, axis), image)
        labels = jnp.where(flips[axis], jnp.flip(labels, axis), labels)
    return image, labels
