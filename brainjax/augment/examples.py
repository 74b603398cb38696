"""One function for each example of a batch, in the way that the platform likes best."""

from __future__ import annotations

from collections.abc import Callable

import jax


def for_each_example(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Like ``jax.vmap(function)(*arrays)``, but on a CPU one example after the other.

    There XLA would fuse the function into whatever reads its result and work it out once
    for every reader: a resampling followed by contrast, blur and mixing took 220 ms a batch
    instead of 20. A loop's result is stored, and its examples fit into the cache.

    >>> for_each_example(lambda x: 2 * x, jax.numpy.arange(3)).tolist()
    [0, 2, 4]
    """
    return jax.lax.platform_dependent(
        *arrays,
        cpu=lambda *arrays: jax.lax.map(lambda each: function(*each), arrays),
        default=jax.vmap(function),
    )
