"""The papers' optimisers and learning-rate schedules as optax chains."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import optax

SCHEDULES = ("constant", "polynomial")
ALGORITHMS = ("adam", "amsgrad")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """How parameters are updated.

    Attributes:
      algorithm: ``adam`` (the CGA paper) or ``amsgrad`` (its released code).
      learning_rate: at the start.
      schedule: ``constant``, or ``polynomial``: ``learning_rate * (1 - epoch /
        epochs) ** power``, constant within an epoch as in the released code.
      power: exponent of the polynomial schedule.
      warmup_steps: linear rise from 0 before the schedule; 0 for none.
      l2: L2 penalty's factor, added to the gradient before the moments
        (PyTorch's ``weight_decay`` of Adam), not decoupled.
      clip_norm: gradients with a larger global norm are scaled to it; 0 is off.
      average_decay: decay of the moving average of the parameters; 0 is off.
    """

    algorithm: str
    learning_rate: float
    schedule: str
    power: float
    warmup_steps: int
    l2: float
    clip_norm: float
    average_decay: float

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"optimizer.algorithm {self.algorithm!r} is not one of {ALGORITHMS}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"optimizer.schedule {self.schedule!r} is not one of {SCHEDULES}")
        for name in ("learning_rate", "power", "warmup_steps", "l2", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"optimizer.{name} {getattr(self, name)}: expected 0 or more")
        if not 0 <= self.average_decay < 1:
            raise ValueError(
                f"optimizer.average_decay {self.average_decay} is outside [0, 1): 0.999 is usual"
            )


def learning_rate_schedule(
    options: OptimizerOptions, *, steps: int, steps_per_epoch: int
) -> optax.Schedule:
    """Learning rate as a function of the step.

    >>> options = OptimizerOptions(algorithm="adam", learning_rate=1.0, schedule="polynomial",
    ...     power=1.0, warmup_steps=0, l2=0.0, clip_norm=0.0, average_decay=0.0)
    >>> rate = learning_rate_schedule(options, steps=40, steps_per_epoch=10)
    >>> [round(float(rate(step)), 2) for step in (0, 9, 10, 39)]
    [1.0, 1.0, 0.75, 0.25]
    """
    epochs = max(1, -(-steps // steps_per_epoch))

    def rate(step):
        factor = jnp.asarray(1.0, jnp.float32)
        if options.schedule == "polynomial":
            epoch = jnp.minimum(step // steps_per_epoch, epochs)
            factor = (1.0 - epoch / epochs) ** options.power
        if options.warmup_steps:
            factor = factor * jnp.minimum(1.0, (step + 1) / options.warmup_steps)
        return options.learning_rate * factor

    return rate


def make_optimizer(
    options: OptimizerOptions, *, steps: int, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Clipping, then L2, then the moments, then the learning rate."""
    parts = []
    if options.clip_norm:
        parts.append(optax.clip_by_global_norm(options.clip_norm))
    if options.l2:
        parts.append(optax.add_decayed_weights(options.l2))
    parts.append(
        optax.scale_by_amsgrad() if options.algorithm == "amsgrad" else optax.scale_by_adam()
    )
    rate = learning_rate_schedule(options, steps=steps, steps_per_epoch=steps_per_epoch)
    parts.append(optax.scale_by_learning_rate(rate))
    return optax.chain(*parts)
