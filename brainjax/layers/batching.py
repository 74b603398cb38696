"""What ``jax.vmap`` does with calls of two arrays that it cannot batch by itself."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax import lax


def under_vmap(
    function: Callable[[jax.Array, jax.Array], jax.Array], *, joins: bool
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """``function`` of two arrays, which under ``vmap`` is called for one entry after the other.

    Args:
      function: what to call.
      joins: whether an axis that only the first array has joins that array's first axis,
        in one call, as is right for a batch.
    """

    @jax.custom_batching.custom_vmap
    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        return function(a, b)

    @run.def_vmap
    def batched(
        size: int, in_batched: list[bool], a: jax.Array, b: jax.Array
    ) -> tuple[jax.Array, bool]:
        if joins and not in_batched[1]:
            y = run(a.reshape(-1, *a.shape[2:]), b)
            return y.reshape(size, -1, *y.shape[1:]), True
        if all(in_batched):
            return lax.map(lambda pair: run(*pair), (a, b)), True
        if in_batched[0]:
            return lax.map(lambda one: run(one, b), a), True
        return lax.map(lambda one: run(a, one), b), True

    return run
