"""The gradient of a batch from that of its micro-batches, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from brainjax.errors import InputError

Gradient = tuple[jax.Array, dict[str, jax.Array], Any]
"""Flat gradient [P], the objective's parts, and the running statistics afterwards."""


def check_micro_batches(batch_size: int, number: int) -> None:
    """Refuses a batch that does not split into ``number`` micro-batches of one size.

    Raises:
      InputError: names both, and the numbers that work.

    >>> check_micro_batches(8, 4)
    """
    if not isinstance(number, int) or number < 1:
        raise InputError(f"batches.accumulate {number!r}: expected a whole number, 1 or more")
    if batch_size % number:
        fitting = [str(n) for n in range(1, batch_size + 1) if batch_size % n == 0]
        raise InputError(
            f"batches.batch_size {batch_size} does not divide by batches.accumulate {number}; "
            f"try accumulate {', '.join(fitting)}"
        )


def accumulate_gradients(
    gradient_of: Callable[[jax.Array, dict[str, Any], jax.Array, Any], Gradient],
    key: jax.Array,
    inputs: dict[str, jax.Array],
    labels: jax.Array,
    batch_stats: Any,
    *,
    number: int,
    size: int,
) -> Gradient:
    """Mean gradient over the micro-batches of a batch, of which one at a time is in memory.

    Micro-batch m of M holds the examples m, m + M, m + 2 M and so on, so that where a
    batch is split over devices, each takes a share of every micro-batch and no example
    moves.

    With a loss that is a mean over examples, no dropout and no batch norm, this is the
    gradient of the whole batch within rounding. Otherwise it is that of its micro-batches:
    a loss that divides sums over the batch (the Dice over ``"batch"``, a mean weighted by
    the classes) divides those of each micro-batch, dropout draws anew for each, and batch
    norm takes each one's statistics and moves the running ones once for each, in turn.

    Args:
      gradient_of: ``(key, inputs, labels, batch_stats)`` of a micro-batch to its gradient.
      key: random key of the batch's dropout.
      inputs: of the network by name, each [B, ...].
      labels: [B, ...].
      batch_stats: running statistics before the step.
      number: M; with 1 ``gradient_of`` gets everything as it is.
      size: P.

    Raises:
      InputError: B does not divide by M.
    """
    if number == 1:
        return gradient_of(key, inputs, labels, batch_stats)
    check_micro_batches(labels.shape[0], number)

    def micro_batch(array: jax.Array, index: jax.Array) -> jax.Array:
        rows = array.reshape(-1, number, *array.shape[1:])  # [B / M, M, ...]
        return lax.dynamic_index_in_dim(rows, index, axis=1, keepdims=False)

    def add(carry: tuple[jax.Array, Any], index: jax.Array) -> tuple[tuple[jax.Array, Any], Any]:
        total, batch_stats = carry
        gradient, parts, batch_stats = gradient_of(
            jax.random.fold_in(key, index),
            {name: micro_batch(array, index) for name, array in inputs.items()},
            micro_batch(labels, index),
            batch_stats,
        )
        return (total + gradient, batch_stats), parts

    nothing = jnp.zeros(size, jnp.float32)
    (total, batch_stats), parts = lax.scan(add, (nothing, batch_stats), jnp.arange(number))
    means = {name: jnp.mean(values, axis=0) for name, values in parts.items()}
    return total / number, means, batch_stats
