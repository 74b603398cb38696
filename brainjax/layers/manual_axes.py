"""Types of arrays inside ``shard_map``: over which mesh axes a value varies."""

from __future__ import annotations

import jax
from jax import lax


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
