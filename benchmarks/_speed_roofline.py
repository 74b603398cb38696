"""How fast a device multiplies matrices and copies memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

TURNS, CALLS = 3, 10


def multiplication_rate(dtype: Any, *, size: int = 8192) -> float:
    """Operations per second of a product of two square matrices, two for each MAC.

    f32 is multiplied as JAX does by default, which is TF32 on NVIDIA cards that have it:
    what convolutions of f32 do there as well.
    """
    keys = jax.random.split(jax.random.key(0), 2)
    a, b = (jax.random.normal(key, (size, size), dtype) for key in keys)
    return 2 * size**3 / _seconds(jax.jit(jnp.matmul), a, b)


def copy_rate(*, megabytes: int = 1024) -> float:
    """Bytes per second, read and written ones, of adding one to a large array."""
    array = jnp.zeros((megabytes * 2**18,), jnp.float32)
    return 2 * array.nbytes / _seconds(jax.jit(lambda x: x + 1), array)


def _seconds(function: Callable[..., jax.Array], *arguments: jax.Array) -> float:
    """The least mean of a few turns; calls of a turn follow each other without waiting."""
    jax.block_until_ready(function(*arguments))
    turns = []
    for _ in range(TURNS):
        begun = time.perf_counter()
        for _ in range(CALLS):
            result = function(*arguments)
        jax.block_until_ready(result)
        turns.append((time.perf_counter() - begun) / CALLS)
    return min(turns)
