"""Changes of brightness and contrast."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def scale_and_shift_randomly(
    key: jax.Array,
    image: jax.Array,
    *,
    scale: tuple[float, float],
    shift: tuple[float, float],
    per_row: bool,
) -> jax.Array:
    """Multiplies each modality of one example by a random factor and adds a random offset.

    The whole array is changed, so the background becomes the offset instead of
    0. The paper (CGA U-Net, section 4.2) names the ranges only; its released
    code works on the whole array, after padding, and draws anew for each row
    of the second spatial axis, which makes stripes: ``per_row=True``.

    Args:
      key: the example's random key.
      image: [*spatial, C], z-scored.
      scale: least and greatest factor.
      shift: least and greatest offset, in standard deviations of the brain.
      per_row: one draw per modality and row of the second axis, not per modality.

    Returns:
      The image, of the same shape and type.
    """
    shape = [1] * (image.ndim - 1) + [image.shape[-1]]
    if per_row:
        shape[1] = image.shape[1]
    scale_key, shift_key = jax.random.split(key)
    factor = jax.random.uniform(scale_key, shape, image.dtype, minval=scale[0], maxval=scale[1])
    offset = jax.random.uniform(shift_key, shape, image.dtype, minval=shift[0], maxval=shift[1])
    return image * factor + offset


def drop_modalities_randomly(key: jax.Array, image: jax.Array, *, probability: float) -> jax.Array:
    """Sets each modality of one example to 0 by chance, and always keeps one of them.

    What is 0 is the brain's mean, as images are z-scored, and what evaluation under missing
    modalities gives the network in their place.

    Args:
      key: the example's random key.
      image: [*spatial, C], z-scored.
      probability: chance of each modality to be dropped; where chance would drop all, one
        drawn evenly stays.

    Returns:
      The image, of the same shape and type.
    """
    drop_key, keep_key = jax.random.split(key)
    count = image.shape[-1]
    dropped = jax.random.bernoulli(drop_key, probability, (count,))
    spared = jnp.arange(count) == jax.random.randint(keep_key, (), 0, count)
    kept = ~dropped | (dropped.all() & spared)
    return image * kept.reshape((1,) * (image.ndim - 1) + (count,)).astype(image.dtype)
