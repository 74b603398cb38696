"""What the CGA U-Net's supervised attention module does with an image, voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from brainjax.layers.attention import class_mask


def attention_step(
    variables: Any,
    image: jax.Array,
    *,
    model: nn.Module,
    mask: Literal["soft", "hard"],
    channels: Sequence[int],
) -> jax.Array:
    """Everything that the module's pictures show, on the image's own grid.

    Args:
      variables: of the network.
      image: [B, *spatial, Cin], normalised.
      model: a network with supervised attention.
      mask: how its variant turns the map into weights, see ``class_mask``.
      channels: S of the features to give.

    Returns:
      [B, *spatial, 3 K + 2 S], f32: class probabilities, attention map, the weight with
      which each class's prototype is written back, and the channels before and after that.
    """
    output: Any = model.apply(variables, image, train=False)
    probabilities = jax.nn.softmax(output.logits.astype(jnp.float32), axis=-1)
    chosen = jnp.array(tuple(channels), jnp.int32)
    coarse = jnp.concatenate(
        [
            output.attention,
            class_mask(output.attention, kind=mask),
            output.features_before[..., chosen].astype(jnp.float32),
            output.features_after[..., chosen].astype(jnp.float32),
        ],
        axis=-1,
    )
    return jnp.concatenate([probabilities, upsample_strided(coarse, image.shape[1:-1])], axis=-1)


def channel_variances(variables: Any, image: jax.Array, *, model: nn.Module) -> jax.Array:
    """How much each channel of the deepest features varies over an image before the update.

    Args:
      variables: of the network.
      image: [B, *spatial, Cin], normalised.
      model: a network with supervised attention.

    Returns:
      [C], f32.
    """
    output: Any = model.apply(variables, image, train=False)
    features = output.features_before.astype(jnp.float32)
    return jnp.var(features.reshape(-1, features.shape[-1]), axis=0)


def upsample_strided(coarse: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Linear interpolation of features back onto the grid that strides took them from.

    Convolutions of stride two that pad on both sides centre feature i on voxel
    ``i * rate``, and so does the attention map's target; the last feature holds on to the end.

    Args:
      coarse: [B, *spatial / rate, C], f32.
      shape: the spatial shape wanted, multiples of the coarse one.

    Returns:
      [B, *shape, C].

    >>> upsample_strided(jnp.array([[[0.0], [4.0]]]), (4,))[0, :, 0].tolist()
    [0.0, 2.0, 4.0, 4.0]
    """
    for axis, size in enumerate(shape, start=1):
        length = coarse.shape[axis]
        place = np.arange(size) * length / size
        lower = place.astype(int)
        upper = np.minimum(lower + 1, length - 1)
        share = (place - lower)[:, None]
        eye = np.eye(length)
        matrix = (1 - share) * eye[lower] + share * eye[upper]  # [size, length]
        product = jnp.tensordot(
            jnp.asarray(matrix, jnp.float32), coarse, axes=(1, axis), precision=Precision.HIGHEST
        )
        coarse = jnp.moveaxis(product, 0, axis)
    return coarse
