"""Inside ``shard_map`` or ``pmap``: types of arrays, and a batch that is split over devices.

Under ``jax.jit`` a program sees the whole batch, however it is sharded, and nothing here does
anything. Where each device runs a program of its own, what belongs to the whole batch (sums,
statistics, random numbers) goes through these functions, so that the result is the same.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

BATCH_AXIS = "data"
"""The mesh axis that a batch is split over, in blocks of neighbouring examples."""


def varying_axes(x: jax.Array) -> frozenset[str]:
    """The mesh axes of an enclosing ``shard_map`` over which ``x`` may differ.

    >>> sorted(varying_axes(jax.numpy.ones(3)))
    []
    """
    axes = getattr(jax.typeof(x), "manual_axis_type", None)
    return frozenset() if axes is None else axes.varying


def vary_alike(x: jax.Array, *others: jax.Array) -> jax.Array:
    """``x``, marked as varying over the mesh axes over which any of ``others`` does."""
    wanted: frozenset[str] = frozenset().union(*map(varying_axes, others))
    missing = tuple(sorted(wanted - varying_axes(x)))
    return lax.pcast(x, missing, to="varying") if missing else x


def batch_parts() -> int:
    """Over how many devices an enclosing ``shard_map`` or ``pmap`` splits the batch.

    >>> batch_parts()
    1
    """
    try:
        return lax.axis_size(BATCH_AXIS)
    except NameError:  # no enclosing function names the axis
        return 1


def batch_sum(x: jax.Array) -> jax.Array:
    """The sum over the devices of sums over their examples."""
    return lax.psum(x, BATCH_AXIS) if batch_parts() > 1 else x


def batch_mean(x: jax.Array) -> jax.Array:
    """The mean over the devices of means over their examples, which are equally many."""
    return lax.pmean(x, BATCH_AXIS) if batch_parts() > 1 else x


def own_rows(x: jax.Array) -> jax.Array:
    """This device's examples [B / parts, ...] of what is known of all, [B, ...]."""
    parts = batch_parts()
    if parts == 1:
        return x
    size = x.shape[0] // parts
    return lax.dynamic_slice_in_dim(x, lax.axis_index(BATCH_AXIS) * size, size)


def example_keys(key: jax.Array, number: int) -> jax.Array:
    """A random key for each of this device's ``number`` examples, by place in the whole batch.

    >>> example_keys(jax.random.key(0), 3).shape
    (3,)
    """
    return own_rows(jax.random.split(key, number * batch_parts()))


def next_examples(x: jax.Array) -> jax.Array:
    """For each example of [B, ...] the next one of the whole batch; for the last, the first.

    >>> next_examples(jnp.arange(3)).tolist()
    [1, 2, 0]
    """
    parts = batch_parts()
    if parts == 1:
        return jnp.roll(x, -1, axis=0)
    around = [(device, (device - 1) % parts) for device in range(parts)]
    return jnp.concatenate([x[1:], lax.ppermute(x[:1], BATCH_AXIS, around)])
