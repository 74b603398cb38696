"""How kernels are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def uniform_fan_in(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Draws a kernel as PyTorch does by default: uniform in ``+-1 / sqrt(fan_in)``.

    That is its kaiming uniform with ``a = sqrt(5)``. Biases start at zero here, where
    PyTorch draws them from the same interval. The numbers are drawn in one row, since
    XLA takes several times longer to compile draws of many axes.

    Args:
      key: random key.
      shape: of the kernel, [*sizes, Cin, Cout].
      dtype: of the kernel.

    Returns:
      The kernel.

    >>> kernel = uniform_fan_in(jax.random.key(0), (3, 3, 4, 8))
    >>> kernel.shape, bool(abs(kernel).max() <= 1 / 6)
    ((3, 3, 4, 8), True)
    """
    bound = 1.0 / math.sqrt(math.prod(shape[:-1]))
    row = jax.random.uniform(key, (math.prod(shape),), dtype, -bound, bound)
    return row.reshape(shape)


def he_normal_fan_out(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Draws a kernel [*k, Cin, Cout] with variance ``2 / (prod(k) * Cout)``."""
    return _normal(key, shape, 2.0 / (math.prod(shape[:-2]) * shape[-1]), dtype)


def he_normal_fan_in(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Draws a kernel [*k, Cin, Cout] with variance ``2 / (prod(k) * Cin)``."""
    return _normal(key, shape, 2.0 / math.prod(shape[:-1]), dtype)


def _normal(key: jax.Array, shape: Sequence[int], variance: float, dtype: Any) -> jax.Array:
    """Normal numbers drawn in one row: XLA takes twice as long to compile draws of many axes."""
    row = jax.random.normal(key, (math.prod(shape),), dtype)
    return math.sqrt(variance) * row.reshape(shape)
