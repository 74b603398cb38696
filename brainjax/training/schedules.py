"""Learning rates as functions of the step, and of validation scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Factor = Callable[[jax.Array], jax.Array]

SCHEDULES = (
    "constant",
    "polynomial",
    "step",
    "exponential_after",
    "cosine",
    "cyclical",
    "plateau",
)


def schedule_factor(
    schedule: str,
    *,
    steps: int,
    steps_per_epoch: int,
    power: float,
    constant_epochs: int,
    decay_epochs: int,
    decay_factor: float,
    final_fraction: float,
    cycle_epochs: float,
) -> Factor:
    """Factor of the learning rate as a function of the step.

    ``constant`` and ``plateau`` are 1 (see ``plateau_factor``). Constant within an epoch
    are ``polynomial``, ``(1 - epoch / epochs) ** power``; ``step``, ``decay_factor **
    (epoch // decay_epochs)`` (paper 1: 7 epochs, 0.1); and ``exponential_after``, 1 for
    ``constant_epochs`` and then ``decay_factor`` less every epoch (paper 4: 7 epochs).
    ``cosine`` falls to ``final_fraction`` over the whole run (Loshchilov and Hutter 2017);
    ``cyclical`` goes up from ``final_fraction`` to 1 and down again within
    ``cycle_epochs`` (Smith 2017, triangular).

    Args:
      schedule: one of ``SCHEDULES``.
      steps: of the whole run.
      steps_per_epoch: batches that make one pass.
      power: of ``polynomial``.
      constant_epochs: of ``exponential_after``.
      decay_epochs: of ``step``.
      decay_factor: of ``step`` and ``exponential_after``.
      final_fraction: of ``cosine`` and ``cyclical``.
      cycle_epochs: of ``cyclical``.
    """
    epochs = max(1, -(-steps // steps_per_epoch))
    cycle = max(1, round(steps_per_epoch * cycle_epochs))

    def polynomial(step: jax.Array) -> jax.Array:
        return (1.0 - jnp.minimum(step // steps_per_epoch, epochs) / epochs) ** power

    def by_steps(step: jax.Array) -> jax.Array:
        return decay_factor ** (step // steps_per_epoch // decay_epochs).astype(jnp.float32)

    def exponential_after(step: jax.Array) -> jax.Array:
        epoch = step // steps_per_epoch
        return decay_factor ** jnp.maximum(epoch - (constant_epochs - 1), 0).astype(jnp.float32)

    def cosine(step: jax.Array) -> jax.Array:
        done = jnp.clip(step / steps, 0.0, 1.0)
        return final_fraction + (1.0 - final_fraction) * 0.5 * (1.0 + jnp.cos(math.pi * done))

    def cyclical(step: jax.Array) -> jax.Array:
        place = step % cycle / cycle
        return final_fraction + (1.0 - final_fraction) * (1.0 - jnp.abs(2.0 * place - 1.0))

    factors: dict[str, Factor] = {
        "polynomial": polynomial,
        "step": by_steps,
        "exponential_after": exponential_after,
        "cosine": cosine,
        "cyclical": cyclical,
    }
    return factors.get(schedule, lambda step: jnp.asarray(1.0, jnp.float32))


def plateau_factor(
    scores: Sequence[float], *, patience: int, factor: float, minimum: float, threshold: float
) -> float:
    """Factor of the learning rate that falls when validation scores stop rising.

    As Keras' ``ReduceLROnPlateau``: after ``patience`` validations in a row that do not
    beat the best by more than ``threshold``, the factor is multiplied and the count
    begins anew. A pure function of all scores, so that nothing has to be saved.

    Args:
      scores: of the validations so far, higher is better.
      patience: 1 or more.
      factor: at each reduction, below 1.
      minimum: least value.
      threshold: by how much a score has to beat the best.

    >>> plateau_factor([0.5, 0.6, 0.6, 0.6], patience=2, factor=0.1, minimum=0, threshold=0)
    0.1
    """
    found, best, waited = 1.0, -math.inf, 0
    for score in scores:
        if score > best + threshold:
            best, waited = score, 0
            continue
        waited += 1
        if waited >= patience:
            found, waited = max(found * factor, minimum), 0
    return found
