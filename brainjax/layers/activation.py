"""The ReLU as a layer of its own, which can be given another gradient from outside."""

from __future__ import annotations

import flax.linen as nn
import jax


class ReLU(nn.Module):
    """max(x, 0); every network here uses it, so that ``nn.intercept_methods`` meets each one.

    Without parameters, it adds nothing to a network's variables.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns ``x`` of any shape with what is below 0 set to 0."""
        return nn.relu(x)
