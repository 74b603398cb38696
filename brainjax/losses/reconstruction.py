"""The loss of an autoencoder."""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp

from brainjax.layers.manual_axes import batch_mean


class _Output(Protocol):
    @property
    def image(self) -> jax.Array: ...


def reconstruction_loss(
    output: _Output, image: jax.Array, step: jax.Array | int
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean squared error over all pixels and channels, in the form that the step calls.

    Args:
      output: of the network, with ``image`` [B, H, W, C].
      image: what it should be, [B, H, W, C].
      step: not used.

    Returns:
      The error, an f32 scalar, and the same by its name ``loss``.
    """
    del step
    error = batch_mean(jnp.mean((output.image - image.astype(jnp.float32)) ** 2))
    return error, {"loss": error}
