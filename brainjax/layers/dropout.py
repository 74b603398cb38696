"""Dropout whose mask does not depend on how many devices share the batch."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from brainjax.layers.manual_axes import batch_parts, own_rows


class Dropout(nn.Module):
    """Sets a share of the values to zero in training and scales up the others.

    The same numbers as ``flax.linen.Dropout``, from the random key ``dropout``; where a
    batch is split by hand (see ``manual_axes``), each device draws its part of the mask
    of the whole batch.

    Attributes:
      rate: share that is dropped.
      broadcast_dims: axes along which one draw holds.
      deterministic: whether nothing is dropped.
    """

    rate: float
    broadcast_dims: Sequence[int] = ()
    deterministic: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Drops values of ``x`` [B, ...]."""
        if self.deterministic or self.rate == 0:
            return x
        shape = [1 if axis in self.broadcast_dims else size for axis, size in enumerate(x.shape)]
        shape[0] *= batch_parts()
        keep = 1.0 - self.rate
        mask = own_rows(jax.random.bernoulli(self.make_rng("dropout"), keep, tuple(shape)))
        return lax.select(jnp.broadcast_to(mask, x.shape), x / keep, jnp.zeros_like(x))
