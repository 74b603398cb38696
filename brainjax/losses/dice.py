"""Soft Dice loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from brainjax.layers.manual_axes import batch_mean, batch_sum


def soft_dice_loss(
    probabilities: jax.Array,
    labels: jax.Array,
    *,
    classes: Sequence[int] = (1, 2, 3),
    over: Literal["batch", "example"] = "batch",
    epsilon: float = 1e-5,
) -> jax.Array:
    """Sum over classes of ``1 - 2 sum(p t) / (sum(p) + sum(t) + epsilon)``.

    As in the CGA U-Net's released code, there is no square in the denominator, the
    classes are summed, not averaged, and the background is left out. A class that is
    absent contributes 1 and no gradient.

    Args:
      probabilities: softmax output [B, *spatial, K].
      labels: classes [B, *spatial], integers.
      classes: those that count.
      over: ``"batch"`` takes the sums over the whole batch, as the released code does;
        ``"example"`` over each example, and the mean of the examples.
      epsilon: added to the denominator.

    Returns:
      f32 scalar, between 0 and the number of classes.

    >>> probabilities = jnp.array([[[0.5, 0.5], [0.0, 1.0]]])  # [B=1, N=2, K=2]
    >>> loss = soft_dice_loss(probabilities, jnp.array([[0, 1]]), classes=(1,))
    >>> round(float(loss), 3)  # 1 - 2 * 1 / (1.5 + 1)
    0.2
    """
    batch, number = probabilities.shape[0], probabilities.shape[-1]
    numbers = jnp.arange(number, dtype=jnp.int32)[None, None]
    truth = labels.astype(jnp.int32).reshape(batch, -1, 1) == numbers  # fused, never stored
    return dice_of_masks(probabilities, truth, chosen=classes, over=over, epsilon=epsilon)


def dice_of_masks(
    probabilities: jax.Array,
    truth: jax.Array,
    *,
    chosen: Sequence[int] | None = None,
    over: Literal["batch", "example"] = "batch",
    epsilon: float = 1e-5,
) -> jax.Array:
    """``soft_dice_loss`` of masks that may overlap.

    Args:
      probabilities: [B, *spatial, K].
      truth: [B, *spatial, K], boolean.
      chosen: the channels that count; all by default.
      over: as for ``soft_dice_loss``.
      epsilon: added to the denominator.

    Returns:
      f32 scalar, between 0 and the number of channels that count.
    """
    if over not in ("batch", "example"):
        raise ValueError(f"over is 'batch' or 'example', not {over!r}")
    batch, number = probabilities.shape[0], probabilities.shape[-1]
    predicted = probabilities.astype(jnp.float32).reshape(batch, -1, number)
    truth = truth.reshape(batch, -1, number)
    shared = jnp.sum(jnp.where(truth, predicted, 0.0), axis=1)  # [B, K]
    total = jnp.sum(predicted, axis=1) + jnp.sum(truth, axis=1)
    if chosen is not None:
        index = jnp.array(tuple(chosen), jnp.int32)
        shared, total = shared[:, index], total[:, index]
    if over == "batch":
        shared, total = (batch_sum(jnp.sum(v, axis=0, keepdims=True)) for v in (shared, total))
    losses = 1.0 - 2.0 * shared / (total + epsilon)
    return batch_mean(jnp.mean(jnp.sum(losses, axis=1)))
