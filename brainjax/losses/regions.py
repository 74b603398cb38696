"""Region-wise training: overlapping regions as independent yes-or-no questions."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from brainjax.layers.manual_axes import batch_mean
from brainjax.losses.dice import dice_of_masks


def region_targets(labels: jax.Array, regions: Sequence[Sequence[int]]) -> jax.Array:
    """Where each region is.

    Args:
      labels: classes [B, *spatial], integers.
      regions: the classes that each region unites, R of them.

    Returns:
      [B, *spatial, R], boolean.

    >>> region_targets(jnp.array([[0, 1, 2, 3]]), ((1, 2, 3), (1, 3), (3,)))[0].astype(int).tolist()
    [[0, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 1]]
    """
    masks = [
        functools.reduce(jnp.logical_or, [labels == each for each in classes])
        for classes in regions
    ]
    return jnp.stack(masks, axis=-1)


def region_dice_loss(
    logits: jax.Array,
    labels: jax.Array,
    regions: Sequence[Sequence[int]],
    *,
    over: Literal["batch", "example"] = "batch",
    epsilon: float = 1e-5,
) -> jax.Array:
    """``soft_dice_loss`` of the sigmoid of each region's logits, summed over the regions.

    Args:
      logits: [B, *spatial, R].
      labels: classes [B, *spatial], integers.
      regions: the classes that each region unites, R of them.
      over: see ``soft_dice_loss``.
      epsilon: see ``soft_dice_loss``.

    Returns:
      f32 scalar, between 0 and R.

    >>> loss = region_dice_loss(jnp.array([[[0.0], [60.0]]]), jnp.array([[0, 2]]), ((1, 2),))
    >>> round(float(loss), 3)  # p = 1/2 and 1: 1 - 2 * 1 / (1.5 + 1)
    0.2
    """
    predicted = jax.nn.sigmoid(logits.astype(jnp.float32))
    return dice_of_masks(predicted, region_targets(labels, regions), over=over, epsilon=epsilon)


def region_cross_entropy_loss(
    logits: jax.Array, labels: jax.Array, regions: Sequence[Sequence[int]]
) -> jax.Array:
    """Mean over voxels and regions of the binary cross-entropy, from logits [B, *spatial, R].

    >>> loss = region_cross_entropy_loss(jnp.zeros((1, 2, 1)), jnp.array([[0, 1]]), ((1,),))
    >>> round(float(loss), 4)  # ln 2
    0.6931
    """
    logits = logits.astype(jnp.float32)
    truth = region_targets(labels, regions)
    return batch_mean(jnp.mean(jax.nn.softplus(logits) - jnp.where(truth, logits, 0.0)))
