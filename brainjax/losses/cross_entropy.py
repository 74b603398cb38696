"""Cross-entropy of segmentations."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from brainjax.layers.manual_axes import batch_mean


def cross_entropy_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean over voxels of ``log sum_k exp(z_k) - z_t``.

    The true class's logit is found by comparison, fused into the sum: taking it by
    index would make the gradient a scatter, which is slow everywhere.

    Args:
      logits: [B, *spatial, K].
      labels: classes [B, *spatial], integers.

    Returns:
      f32 scalar.

    >>> round(float(cross_entropy_loss(jnp.zeros((1, 2, 4)), jnp.array([[0, 3]]))), 4)  # ln 4
    1.3863
    """
    number = logits.shape[-1]
    flat = logits.astype(jnp.float32).reshape(-1, number)
    numbers = jnp.arange(number, dtype=jnp.int32)[None]
    truth = labels.astype(jnp.int32).reshape(-1, 1) == numbers
    chosen = jnp.sum(jnp.where(truth, flat, 0.0), axis=-1)
    return batch_mean(jnp.mean(jax.nn.logsumexp(flat, axis=-1) - chosen))
