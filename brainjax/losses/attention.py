"""Losses of the CGA U-Net's attention map and of its prototypes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from brainjax.layers.manual_axes import batch_mean, batch_sum

# The released form grows without bound where prototypes coincide; below this distance
# its value and gradient stop growing.
SMALLEST_DISTANCE = 1e-3


def sample_labels_down(labels: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Nearest labels on a coarser grid, as PyTorch's ``nearest``: index ``floor(i * scale)``.

    Args:
      labels: [B, *spatial].
      shape: the spatial shape wanted.

    Returns:
      [B, *shape], of the same type.

    >>> sample_labels_down(jnp.array([[5, 6, 7, 8, 9]]), (2,)).tolist()
    [[5, 7]]
    """
    if labels.shape[1:] == tuple(shape):
        return labels
    for axis, size in enumerate(shape, start=1):
        index = np.arange(size) * labels.shape[axis] // size
        labels = jnp.take(labels, index, axis=axis)
    return labels


def attention_loss(attention: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean squared error between the attention map and the one-hot labels sampled down.

    Args:
      attention: the map S, [B, *spatial / rate, K].
      labels: classes [B, *spatial], integers.

    Returns:
      f32 scalar, the mean over batch, voxels and classes.

    >>> attention = jnp.array([[[1.0, 0.0], [0.5, 0.5]]])  # [B=1, N=2, K=2]
    >>> float(attention_loss(attention, jnp.array([[0, 0, 1, 1]])))
    0.125
    """
    nearest = sample_labels_down(labels, attention.shape[1:-1])
    target = jax.nn.one_hot(nearest, attention.shape[-1])
    return batch_mean(jnp.mean((attention.astype(jnp.float32) - target) ** 2))


def inter_class_loss(
    distance: jax.Array, *, form: Literal["paper", "released"] = "paper"
) -> jax.Array:
    """Loss that falls as the prototypes move apart.

    Args:
      distance: D of each example, [B], not negative.
      form: ``"paper"``, the mean over the batch of ``log(1 / (1 + D))`` (equation 10);
        ``"released"``, ``10 log(1 + 100 / D)`` of the batch's sum of D, as in the
        authors' code.

    Returns:
      f32 scalar, finite at D = 0.

    >>> round(float(inter_class_loss(jnp.array([3.0]))), 4)  # -log(4)
    -1.3863
    >>> round(float(inter_class_loss(jnp.array([40.0, 60.0]), form="released")), 4)
    6.9315
    """
    distance = distance.astype(jnp.float32)
    if form == "paper":
        return -batch_mean(jnp.mean(jnp.log1p(distance)))
    if form == "released":
        return 10.0 * jnp.log1p(
            100.0 / jnp.maximum(batch_sum(jnp.sum(distance)), SMALLEST_DISTANCE)
        )
    raise ValueError(f"form is 'paper' or 'released', not {form!r}")
